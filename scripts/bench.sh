#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# `make bench`: our figures against those of the kernel's own test_hmm and of
# memcpy, all from one boot of the newest release kernel. The lines that the
# guest's program prints after "CSV," go to build/bench/results.csv.
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
cat >"$out/run" <<-END
	insmod /lib/modules/uvm.ko || exit 1
	insmod /lib/modules/uvm_sim.ko gpus=1 mem=256 || exit 1
	insmod /lib/modules/test_hmm.ko || exit 1
	uvm_bench --lane=$lane
END
"$TOP/scripts/image.sh" "$out/initrd" /run="$out/run" \
	/bin/="$BUILD/user/uvm_bench" \
	/lib/modules/="$BUILD/$lane/mod/src/core/uvm.ko" \
	/lib/modules/="$BUILD/$lane/mod/src/sim/uvm_sim.ko" \
	/lib/modules/="$dir/modules/test_hmm.ko"
say "booting $release for the benchmark"
rc=0
"$TOP/scripts/guest.sh" -q -t 600 "$dir/bzImage" "$out/initrd" "$out/bench" ||
	rc=$?
"$TOP/scripts/scan-log.sh" "$out/bench.kernel" || rc=1

{
	echo "kernel,lane,metric,ours,peer,ratio,unit"
	sed -n 's/^CSV,//p' "$out/bench.result"
} >"$out/results.csv"
grep -v -E '^(CSV,|GUEST-)' "$out/bench.result" || true
[ "$(wc -l <"$out/results.csv")" -gt 1 ] || rc=1
exit $rc
