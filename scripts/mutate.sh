#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# `make mutate`: plant known bugs in the modules, one at a time, and see that
# the tests notice. From the environment:
#	MUTATION	names, default all of tests/mutations/*.patch
#	KERNEL		a lane in place of those that the patches name
#
# Before its diff a patch says, in lines of their own, where it is caught:
#	# lane: stock		as for check.sh; stock if not said
#	# suite: mirror
#	# tests: race_ stale_	parts of tests' names; all tests if not said
#	# iter: 3		for tests that need luck; 1 if not said
#
# Each is applied to a copy of the tree, build/mutations/NAME, and its logs stay
# there. The same tests run without any bug first: only then does a failure mean
# something. The last line is "N caught, N missed".
set -euo pipefail
. "$(dirname "$0")/lib.sh"

patches=$TOP/tests/mutations
work=$BUILD/mutations
base=$work/none

patch_of() { echo "$patches/$1.patch"; }

# field NAME KEY DEFAULT
field() {
	local value
	value=$(sed -n -e '/^diff /q' -e "s/^# $2: *//p" "$(patch_of "$1")")
	echo "${value:-$3}"
}

lane_of() { echo "${KERNEL:-$(field "$1" lane stock)}"; }

applies() {
	patch -d "$1" -p1 -F0 --dry-run -s -f <"$(patch_of "$2")" >/dev/null 2>&1
}

# With the user programs as they are, and with what is known of the kernels.
copy_tree() {
	local dir=$1 header to
	rm -rf "$dir"
	mkdir -p "$dir/build"
	tar -C "$TOP" -cf - --exclude=./build --exclude=./.git . |
		tar -C "$dir" -xf -
	cp -a "$BUILD/user" "$dir/build/"
	for header in "$base"/build/*/mod/generated/uvm_probes.h; do
		if [ "$dir" = "$base" ] || [ ! -e "$header" ]; then continue; fi
		to=$dir${header#"$base"}
		mkdir -p "$(dirname "$to")"
		cp -a "$header" "$to"
	done
}

# run DIR LANE SUITE ITER TESTS: the tests that failed, a line each, are in
# DIR/failed; not to get as far as a test is an error.
run() {
	local dir=$1 results=$1/build/check/results
	rm -f "$results"
	KERNEL=$2 SUITE=$3 ITER=$4 FILTER=$5 RESUME='' \
		"$dir/scripts/check.sh" >"$dir/log" 2>&1 </dev/null || true
	[ -s "$results" ] || return 1
	sed -n 's/^fail\t//p' "$results" >"$dir/failed"
}

# What is asked of the tests must hold without a mutation.
baseline() {
	local name key lane suite words
	local -A tests=() iter=()
	for name; do
		key="$(lane_of "$name") $(field "$name" suite '')"
		# one patch that wants all of a suite's tests wants them for all
		if [ -z "$(field "$name" tests '')" ] ||
			[ "${tests[$key]-}" = all ]; then
			tests[$key]=all
		else
			tests[$key]="${tests[$key]-} $(field "$name" tests '')"
		fi
		[ "${iter[$key]:-1}" -ge "$(field "$name" iter 1)" ] ||
			iter[$key]=$(field "$name" iter 1)
	done
	copy_tree "$base"
	for key in "${!tests[@]}"; do
		read -r lane suite <<<"$key"
		[ "${tests[$key]}" != all ] || tests[$key]=
		read -ra words <<<"${tests[$key]}"
		say "no mutation: $suite on $lane"
		run "$base" "$lane" "$suite" "${iter[$key]:-1}" \
			"$(printf '%s\n' "${words[@]}" | sort -u | xargs)" || {
			tail -n 40 "$base/log" >&2
			die "no test ran ($base/log)"
		}
		[ ! -s "$base/failed" ] || {
			cat "$base/failed" >&2
			die "these fail without a mutation ($base/log)"
		}
	done
}

# Prints a line; succeeds if the mutation is caught.
mutate() {
	local name=$1 dir=$work/$1 start=$SECONDS count
	copy_tree "$dir" || die "cannot copy the tree to $dir"
	patch -d "$dir" -p1 -F0 -s -f <"$(patch_of "$name")" ||
		die "$name: does not apply"
	say "$name: $(field "$name" suite '') on $(lane_of "$name")"
	if ! run "$dir" "$(lane_of "$name")" "$(field "$name" suite '')" \
		"$(field "$name" iter 1)" "$(field "$name" tests '')"; then
		tail -n 20 "$dir/log" >&2
		echo "MISSED $name: no test ran ($dir/log)"
		return 1
	fi
	count=$(wc -l <"$dir/failed")
	if [ "$count" = 0 ]; then
		echo "MISSED $name: no test failed ($dir/log)"
		return 1
	fi
	echo "caught $name: $count failed in $((SECONDS - start)) s," \
		"first $(sed -n '1s/^[^:]*: //p' "$dir/failed")"
}

names=()
if [ -n "${MUTATION:-}" ]; then
	read -ra names <<<"$MUTATION"
else
	for f in "$patches"/*.patch; do
		names+=("$(basename "$f" .patch)")
	done
fi
for name in "${names[@]}"; do
	[ -e "$(patch_of "$name")" ] || die "no mutation '$name' in $patches"
	[ -n "$(field "$name" suite '')" ] || die "$name: names no suite"
	applies "$TOP" "$name" || die "$name: does not apply, bring it up to date"
done

"$TOP/scripts/deps.sh" build guest
logged "$BUILD/user.log" make -C "$TOP" -j"$JOBS" user
baseline "${names[@]}"
caught=0
missed=0
for name in "${names[@]}"; do
	if mutate "$name"; then
		caught=$((caught + 1))
	else
		missed=$((missed + 1))
	fi
done
echo "$caught caught, $missed missed"
[ "$missed" = 0 ]
