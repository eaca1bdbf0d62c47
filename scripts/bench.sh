#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# `make bench`: our figures against those of the kernel's own test_hmm and of
# memcpy, all from one boot of the newest release kernel; then, from a boot
# whose clock counts instructions, what the cheapest calls and GPU faults cost.
# The lines that the guest's program prints after "CSV," go to
# build/bench/results.csv.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

lane=${KERNEL:-newest-release}
out=$BUILD/bench

"$TOP/scripts/deps.sh" build guest
dir=$("$TOP/scripts/kernel.sh" "$lane")
release=$(cat "$dir/release")
[ "${lane#newest}" = "$lane" ] ||
	lane=$(basename "$dir" | sed 's/-.*//')${lane#newest}
logged "$BUILD/user.log" make -C "$TOP" -j"$JOBS" user
logged "$BUILD/$lane/modules.log" "$TOP/scripts/modules.sh" \
	"$dir/build" "$lane" W=1 UVM_WERROR=y

mkdir -p "$out"
# the GPU has room for the 256 MiB that it faults in, and some
cat >"$out/run" <<-END
	insmod /lib/modules/uvm.ko || exit 1
	insmod /lib/modules/uvm_sim.ko gpus=1 mem=320 || exit 1
	insmod /lib/modules/test_hmm.ko || exit 1
	uvm_bench --lane=$lane \$BENCH
END
"$TOP/scripts/image.sh" "$out/initrd" /run="$out/run" \
	/bin/="$BUILD/user/uvm_bench" \
	/lib/modules/="$BUILD/$lane/mod/src/core/uvm.ko" \
	/lib/modules/="$BUILD/$lane/mod/src/sim/uvm_sim.ko" \
	/lib/modules/="$dir/modules/test_hmm.ko"
echo "kernel,lane,metric,ours,peer,ratio,unit" >"$out/results.csv"

# bench NAME GUEST-ARGUMENT…
bench() {
	local log=$out/$1
	shift
	"$TOP/scripts/guest.sh" -q "$@" "$dir/bzImage" "$out/initrd" "$log" ||
		rc=$?
	"$TOP/scripts/scan-log.sh" "$log.kernel" || rc=1
	grep -v -E '^(CSV,|GUEST-)' "$log.result" || true
	sed -n 's/^CSV,//p' "$log.result" >>"$out/results.csv"
	grep -q '^CSV,' "$log.result" || rc=1
}

rc=0
say "booting $release for the benchmark"
bench bench -t 900
say "booting $release to count instructions"
bench instructions -i -t 170 -a BENCH=--instructions
exit $rc
