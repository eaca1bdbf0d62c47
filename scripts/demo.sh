#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# `make demo`: boot a kernel in QEMU, load the modules, and let `uvmctl demo`
# move a real file's bytes between CPU and GPU memory. From the environment:
#	KERNEL	stock (default), 6.1, 6.12 or the newest's number
#	GPU	private or coherent: the software GPU's kind of memory
#	FILE	the data; at least 8 MiB by default
set -euo pipefail
. "$(dirname "$0")/lib.sh"

lane=${KERNEL:-stock}
# the newest lane's debug kernel would show the same, slowly
case $lane in
stock | 6.1 | 6.12 | *-release) ;;
*) lane+=-release ;;
esac

# A file that is there wherever a guest can run, or else any.
default_file() {
	local f
	for f in /usr/bin/qemu-system-x86_64 "$(gcc -print-prog-name=cc1)"; do
		[ "$(stat -L -c %s "$f" 2>/dev/null || echo 0)" -ge $((8 << 20)) ] ||
			continue
		echo "$f"
		return
	done
	find /usr/bin /usr/lib -xdev -type f -size +8M -print -quit
}

"$TOP/scripts/deps.sh" build guest
file=${FILE:-$(default_file)}
[ -r "$file" ] || die "cannot read ${file:-any file of at least 8 MiB}"
[ "$(stat -L -c %s "$file")" -lt $((512 << 20)) ] ||
	die "$file is too large for the guest's memory"

dir=$("$TOP/scripts/kernel.sh" "$lane")
say "building for $(cat "$dir/release")"
logged "$BUILD/user.log" make -C "$TOP" -j"$JOBS" user
logged "$BUILD/$lane/modules.log" "$TOP/scripts/modules.sh" \
	"$dir/build" "$lane" W=1 UVM_WERROR=y

# Ordinary memory goes where the CPU cannot address it only if the kernel
# supports that, so the default is the PCI functions' memory elsewhere. Managed
# memory goes there on any kernel: GPU=private shows that.
gpu=${GPU:-private}
if ! grep -q '^CONFIG_DEVICE_PRIVATE=y' "$dir/build/include/config/auto.conf"; then
	gpu=${GPU:-coherent}
fi
case $gpu in
private) params="gpus=1" ;;
coherent) params="gpus=0 pci=1" ;;
*) die "GPU=$gpu is neither private nor coherent" ;;
esac

run=$BUILD/$lane/demo.run
cat >"$run" <<-END
	insmod /lib/modules/uvm.ko || exit 1
	insmod /lib/modules/uvm_sim.ko $params || exit 1
	uvmctl demo "/data/$(basename "$file")"
	rc=\$?
	rmmod uvm_sim || rc=1
	rmmod uvm || rc=1
	exit \$rc
END
"$TOP/scripts/image.sh" "$BUILD/$lane/demo.initrd" /run="$run" /data/="$file" \
	/bin/="$BUILD/user/uvmctl" /lib/modules/="$BUILD/$lane/mod/src/core/uvm.ko" \
	/lib/modules/="$BUILD/$lane/mod/src/sim/uvm_sim.ko"

say "booting $(cat "$dir/release") in QEMU ($file, $(stat -L -c %s "$file") bytes)"
rc=0
"$TOP/scripts/guest.sh" -t 120 "$dir/bzImage" "$BUILD/$lane/demo.initrd" \
	"$BUILD/$lane/demo" | grep --line-buffered -v '^GUEST-' || true
rc=$(sed -n 's/^GUEST-EXIT //p' "$BUILD/$lane/demo.result")
"$TOP/scripts/scan-log.sh" "$BUILD/$lane/demo.kernel" || rc=1
exit "${rc:-1}"
