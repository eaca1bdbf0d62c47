#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# `make check`: build, boot and test on every kernel. From the environment:
#	KERNEL	lanes, default all of them: stock 6.1 6.12 newest (or its number)
#	SUITE	suites, default all of them (kunit is one)
#	FILTER	parts of tests' names, for suites that are programs: only those run
#	ITER	multiplies the suites' work and time, default 1
#	UVM_ROUNDS	rounds of random schedules; 5000 in `make check-all`
#	UVM_OPS	operations of the model checker; 1000000 in `make check-all`,
#		which does them in PARTS guests
#	UVM_SEED	for the programs: the random numbers of the run that printed it
#	RESUME	`make check-all`: keep what passed already, skip it next time
#
# Each suite has a guest of its own, so a dead kernel costs one suite and every
# line of a log belongs to one. The last line is "N passed, N failed".
set -euo pipefail
. "$(dirname "$0")/lib.sh"

lanes=${KERNEL:-$LANES}
iter=${ITER:-1}
resume=${RESUME:-}
rounds=${UVM_ROUNDS:-${resume:+5000}}
ops=${UVM_OPS:-${resume:+1000000}}
# more than that in one guest takes too long on a slow kernel
parts=${PARTS:-${resume:+10}}
state=$BUILD/check${resume:+-all}
tests=$TOP/tests/selftests

# bits of /proc/sys/kernel/tainted that are no complaint: an out-of-tree
# module, an unsigned one, an in-kernel test
TAINT_OK=$((1 << 12 | 1 << 13 | 1 << 18))

# has DIR OPTION: is it built into that kernel?
has() { grep -q "^CONFIG_$2=[ym]" "$1/build/include/config/auto.conf"; }

# Suites and their variants, a line each: name, then uvm_sim's parameters.
suites() {
	local f name lines
	echo "kunit"
	for f in "$tests"/*.c "$tests"/*.sh; do
		name=$(basename "${f%.*}")
		case $name in
		lib_* | helper_* | '*') continue ;;
		esac
		lines=$(sed -n "s|^\($name\(/[a-z0-9_-]*\)\{0,1\}\): *|\1 |p" \
			"$tests/params" 2>/dev/null || true)
		lines=${lines:-$name gpus=2 mem=64}
		case $name in
		model) in_parts "$lines" ;;
		*) echo "$lines" ;;
		esac
	done
}

# in_parts LINES: each variant as often as there are parts
in_parts() {
	local name params part
	if [ -z "$parts" ]; then
		echo "$1"
		return
	fi
	while read -r name params; do
		for ((part = 1; part <= parts; part++)); do
			echo "$name/$part $params"
		done
	done <<<"$1"
}

wanted() {
	local s
	[ -n "${SUITE:-}" ] || return 0
	for s in $SUITE; do
		# a suite's name asks for all its variants, theirs for all parts
		case $1 in "$s" | "$s"/*) return 0 ;; esac
	done
	return 1
}

# Does this suite make sense on this kernel?
applies() {
	local dir=$1 name=$2
	case $name in
	kunit) has "$dir" KUNIT && [ -e "$mod/tests/kunit/uvm_kunit.ko" ] ;;
	# they break, or delay, what the kernel lets them
	allocations/private | locked/private)
		has "$dir" FAULT_INJECTION && has "$dir" DEVICE_PRIVATE
		;;
	allocations/* | locked/*) has "$dir" FAULT_INJECTION ;;
	*/private | */private/*) has "$dir" DEVICE_PRIVATE ;;
	esac
}

# What 6.1 runs unless asked by name: stock is the same kernel but for private memory, so
# what moves that. The rest of what can be done with it is the same in 6.12.
on_6_1() {
	case $1 in
	kunit | modules | faults/private | lifetime/private | migrate/private | \
		mirror/private | model/* | registration/private | remote/private | \
		unplug/private | victims/private) ;;
	*) return 1 ;;
	esac
}

# Is it left to `make check-all`, since nobody asks for it by name? What these suites do
# depends little on the kind of memory: where there is private memory they do it with that.
# Managed memory is the same on all kernels: most is run over it where ordinary memory
# can't move.
spared() {
	local lane=$1 dir=$2 name=$3
	[ -z "${SUITE:-}$resume" ] || return 1
	[ "$lane" != 6.1 ] || on_6_1 "$name" || return 0
	case $name in
	*/managed-coherent) return 0 ;;
	allocations/managed | model/managed) return 1 ;;
	# takes long there, and sees little that the private one, or the other kernels, don't
	mirror/coherent | remote/coherent | faults/coherent | migrate/shared | \
		registration/shared | registration/mixed)
		has "$dir" PROVE_LOCKING
		;;
	allocations/coherent | copies/coherent | crowds/coherent | discard/coherent | \
		engine/coherent | engine/plain | lifetime/coherent | \
		managed/moves-coherent | memcg/coherent | memory/coherent | model/shared | \
		oversubscription/coherent | schedules/coherent | scrub/coherent | \
		victims/coherent | */managed)
		has "$dir" DEVICE_PRIVATE
		;;
	*) return 1 ;;
	esac
}

build_lane() {
	local dir=$1
	local -a files=()
	say "$lane: modules"
	logged "$BUILD/$lane/modules.log" "$TOP/scripts/modules.sh" \
		"$dir/build" "$lane" W=1 UVM_WERROR=y
	files+=(/run="$TOP/scripts/run-suite")
	local f
	for f in "$mod"/src/*/*.ko "$mod"/tests/kunit/*.ko "$dir"/modules/*.ko; do
		[ ! -e "$f" ] || files+=("/lib/modules/=$f")
	done
	for f in "$BUILD"/user/selftests/* "$tests"/*.sh; do
		[ ! -f "$f" ] || files+=("/tests/=$f")
	done
	[ ! -e "$BUILD/user/uvmctl" ] || files+=("/bin/=$BUILD/user/uvmctl")
	"$TOP/scripts/image.sh" "$BUILD/$lane/check.initrd" "${files[@]}"
	inputs=$(cat "${files[@]#*=}" | sha256sum)
}

# Results of one run, as lines "pass|fail|skip<TAB>name".
judge() {
	local name=$1 log=$2 rc=$3 taint
	if [ "$name" = kunit ]; then
		awk -v ktap=1 -f "$TOP/scripts/tap.awk" "$log.kernel"
	else
		awk -f "$TOP/scripts/tap.awk" "$log.result"
	fi
	sed -n 's/^HARNESS-FAIL /fail\t/p' "$log.result"
	case $rc in
	0 | 1) ;;
	124) printf 'fail\tthe guest hung and was stopped\n' ;;
	125) printf 'fail\tthe guest died\n' ;;
	*) printf 'fail\tthe guest ended with status %s\n' "$rc" ;;
	esac
	"$TOP/scripts/scan-log.sh" "$log.kernel" >"$log.scan" ||
		printf 'fail\tcomplaints in the kernel log (%s)\n' "$log.scan"
	taint=$(sed -n 's/^GUEST-TAINT //p' "$log.result" | tail -n 1)
	[ $((${taint:-0} & ~TAINT_OK)) = 0 ] ||
		printf 'fail\tthe kernel is tainted: %s\n' "$taint"
}

count() { awk -F'\t' -v w="$1" '$1 == w { n++ } END { print n + 0 }' "${@:2}"; }

# What the tests said about their failures, and the kernel about ours.
explain() {
	local log=$1
	grep '^fail' "$log.tsv" | sed 's/^fail\t/    /' >&2
	awk '/^(ok|1\.\.)/ { n = 0 } /^#/ { said[n++] = $0 }
	     /^not ok/ { for (i = 0; i < n; i++) print "\t" said[i]
			 print "\t" $0; n = 0 }' "$log.result" | head -n 60 >&2
	[ ! -s "$log.scan" ] || head -n 150 "$log.scan" >&2
}

# The library's and the tool's own tests need no guest.
run_unit() {
	local log=$state/host/unit
	mkdir -p "$(dirname "$log")"
	rm -f "$log".*
	say "host: unit"
	CMOCKA_MESSAGE_OUTPUT=tap make -s -C "$TOP/tests/unit" \
		O="$BUILD/user" check >"$log.result" 2>&1 </dev/null ||
		echo "HARNESS-FAIL make -C tests/unit check" >>"$log.result"
	{
		awk -f "$TOP/scripts/tap.awk" "$log.result"
		sed -n 's/^HARNESS-FAIL /fail\t/p' "$log.result"
	} >"$log.tsv"
	[ "$(count fail "$log.tsv")" = 0 ] || tail -n 40 "$log.result" >&2
	sed "s|^\([a-z]*\)\t|\1\thost unit: |" "$log.tsv" >>"$state/results"
}

# Sets what a part does of the whole: other random numbers than the rest do, and the
# first one alone what isn't a matter of numbers.
take_part() {
	local part=${1##*/}
	case $part in
	*[!0-9]*) return ;;
	esac
	ops=$(((ops + parts - 1) / parts))
	[ -z "$seed" ] || seed=$(printf '0x%x' $((seed + part - 1)))
	[ "$part" = 1 ] || filter=${filter:-agrees}
}

run_suite() {
	local dir=$1 name=$2 params=$3 budget=45 args= log key start rc=0
	local ops=$ops seed=${UVM_SEED:-} filter=${FILTER:-}
	take_part "$name"
	log=$state/$lane/${name//\//-}
	key="$inputs $dir $iter $params $filter $rounds $ops $seed"
	if [ -n "$resume" ] && [ "$(cat "$log.key" 2>/dev/null)" = "$key" ]; then
		say "$lane: $name passed before"
	else
		mkdir -p "$(dirname "$log")"
		rm -f "$log".*
		if has "$dir" PROVE_LOCKING; then
			budget=120
			args="page_poison=1 UVM_TIME_SCALE=4"
		fi
		case $name in
		*/managed* | managed/moves*) args+=" UVM_MANAGED=1" ;;
		copies/*) ;;
		*) args+=" UVM_MANAGED=0" ;;
		esac
		[ -z "$filter" ] || args+=" FILTER=\"$filter\""
		[ -z "$rounds" ] || args+=" UVM_ROUNDS=$rounds"
		[ -z "$ops" ] || args+=" UVM_OPS=$ops"
		[ -z "$seed" ] || args+=" UVM_SEED=$seed"
		budget=$((budget * iter))
		# a part of check-all that takes longer than this hangs
		[ $budget -le 2400 ] || budget=2400
		say "$lane: $name ($params)"
		start=$SECONDS
		"$TOP/scripts/guest.sh" -q -t $((budget + 90)) -a \
			"SUITE=${name%%/*} PARAMS=\"$params\" BUDGET=$budget UVM_ITER=$iter $args" \
			"$dir/bzImage" "$BUILD/$lane/check.initrd" "$log" || rc=$?
		judge "$name" "$log" $rc >"$log.tsv"
		say "$lane: $name: $(count pass "$log.tsv") passed," \
			"$(count fail "$log.tsv") failed," \
			"$(count skip "$log.tsv") skipped ($((SECONDS - start)) s)"
		if [ "$(count fail "$log.tsv")" = 0 ]; then
			echo "$key" >"$log.key"
		else
			explain "$log"
		fi
	fi
	sed "s|^\([a-z]*\)\t|\1\t$lane $name: |" "$log.tsv" >>"$state/results"
}

"$TOP/scripts/deps.sh" build guest
mkdir -p "$state"
: >"$state/results"
say "user programs"
logged "$BUILD/user.log" make -C "$TOP" -j"$JOBS" user
case " ${SUITE:-unit} " in
*" unit "*) [ -n "${KERNEL:-}" ] || run_unit ;;
esac

for lane in $lanes; do
	dir=$("$TOP/scripts/kernel.sh" "$lane")
	# newest and 7.3 are one lane
	[ "$lane" != newest ] || lane=$(basename "$dir" | sed 's/-.*//')
	mod=$BUILD/$lane/mod
	build_lane "$dir"
	# the list on its own descriptor, since QEMU reads standard input
	while read -r -u 7 name params; do
		wanted "$name" || continue
		applies "$dir" "$name" || continue
		! spared "$lane" "$dir" "$name" || continue
		run_suite "$dir" "$name" "$params"
	done 7< <(suites)
done

passed=$(count pass "$state/results")
failed=$(count fail "$state/results")
skipped=$(count skip "$state/results")
if [ $((passed + failed)) = 0 ]; then
	echo "no test ran" >&2
	failed=1
fi
if [ "$failed" != 0 ]; then
	echo "Failed:"
	sed -n 's/^fail\t/  /p' "$state/results"
fi
line="$passed passed, $failed failed"
[ "$skipped" = 0 ] || line+=", $skipped skipped"
echo "$line"
[ "$failed" = 0 ]
