#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# `make bench`: our figures against those of the kernel's own test_hmm and of
# memcpy, all from one boot of the newest release kernel; then, from a boot
# with a small GPU, what happens when its memory runs out; then, from a boot
# whose clock counts instructions, what the cheapest calls, GPU faults and moves
# cost. The lines that the guest's program prints after "CSV," go to
# build/bench/results.csv, those after "SWEEP," to build/bench/oversubscription.csv,
# which is drawn in oversubscription.svg beside it. PART= runs one of the three:
# rates, oversubscription, instructions. KERNEL= is a lane instead of the newest release
# kernel; where ordinary memory can't move to a private GPU only managed memory is measured.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

lane=${KERNEL:-newest-release}
out=$BUILD/bench

"$TOP/scripts/deps.sh" build guest
dir=$("$TOP/scripts/kernel.sh" "$lane")
release=$(cat "$dir/release")
[ "${lane#newest}" = "$lane" ] ||
	lane=$(basename "$dir" | sed 's/-.*//')${lane#newest}
managed=
kbench=y
if ! grep -q '^CONFIG_DEVICE_PRIVATE=y' "$dir/build/include/config/auto.conf"; then
	managed=--managed
	kbench=
fi
logged "$BUILD/user.log" make -C "$TOP" -j"$JOBS" user
logged "$BUILD/$lane/modules.log" "$TOP/scripts/modules.sh" \
	"$dir/build" "$lane" W=1 UVM_WERROR=y UVM_KBENCH=$kbench

mkdir -p "$out"
# rates: the GPU has room for the 256 MiB that it faults in, and some.
# oversubscription: the memory of a small one runs out, a large one does the same work
# without; then once more as GPUs that can't tell which pages they used. instructions:
# with what has no user's call.
cat >"$out/run" <<-END
	load() { insmod /lib/modules/uvm_sim.ko "\$@" || exit 1; }
	peer() { [ -n "$managed" ] || insmod /lib/modules/\$1.ko || exit 1; }
	insmod /lib/modules/uvm.ko scrub=0 || exit 1
	case \$PART in
	rates)
		load gpus=1 mem=320
		peer test_hmm
		uvm_bench --lane=$lane $managed
		;;
	oversubscription)
		load gpus=2 mem=64,320
		uvm_bench --lane=$lane --oversubscription || exit
		rmmod uvm_sim || exit 1
		load gpus=2 mem=64,320 accessed=0
		uvm_bench --lane=$lane --hotset
		;;
	instructions)
		load gpus=1 mem=320
		peer test_hmm
		peer uvm_kbench
		uvm_bench --lane=$lane --instructions $managed
		;;
	esac
END
files=("$BUILD/$lane/mod/src/core/uvm.ko" "$BUILD/$lane/mod/src/sim/uvm_sim.ko")
[ -n "$managed" ] || files+=("$BUILD/$lane/mod/tests/kbench/uvm_kbench.ko" \
	"$dir/modules/test_hmm.ko")
"$TOP/scripts/image.sh" "$out/initrd" /run="$out/run" \
	/bin/="$BUILD/user/uvm_bench" "${files[@]/#//lib/modules/=}"

# results TAG FILE HEADER: the lines that begin with "TAG," of all parts
results() {
	echo "$3" >"$out/$2"
	for part in rates oversubscription instructions; do
		[ ! -e "$out/$part.result" ] ||
			sed -n "s/^$1,//p" "$out/$part.result" >>"$out/$2"
	done
}

# bench NAME GUEST-ARGUMENT…
bench() {
	local log=$out/$1 part=$1
	shift
	[ -z "${PART:-}" ] || [ "$PART" = "$part" ] || return 0
	say "booting $release for $part"
	"$TOP/scripts/guest.sh" -q "$@" -a "PART=$part" "$dir/bzImage" \
		"$out/initrd" "$log" || rc=$?
	"$TOP/scripts/scan-log.sh" "$log.kernel" || rc=1
	grep -v -E '^(CSV,|SWEEP,|GUEST-)' "$log.result" || true
	grep -q '^CSV,' "$log.result" || rc=1
}

rc=0
bench rates -t 900
[ -n "$managed" ] || bench oversubscription -t 900
bench instructions -i -t 300
results CSV results.csv "kernel,lane,metric,ours,peer,ratio,unit"
results SWEEP oversubscription.csv \
	"pattern,pages,ratio,mib_per_s,fits_mib_per_s,slowdown,faults,evicted,refaulted"
[ ! -e "$out/oversubscription.result" ] ||
	"$TOP/scripts/plot.sh" "$out/oversubscription.csv" \
		"Slowdown when a GPU's memory runs out (Linux $release, software GPU)" \
		>"$out/oversubscription.svg" || rc=1
exit $rc
