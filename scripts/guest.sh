#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Boot a kernel with an initramfs in QEMU and run it to its end:
#	guest.sh [-qi] [-t SECONDS] [-a KERNEL-ARGUMENTS] BZIMAGE INITRAMFS LOG
#
# -i: emulated, with one CPU that takes 1 ns of the guest's time for each
# instruction; when it is idle the time jumps to the next timer.
#
# LOG.kernel gets the kernel's log, LOG.result what the guest's /run printed
# (also shown as it comes, unless -q). The exit status is that of /run; 124
# says that the time limit ended it, 125 that the guest died.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# The guest machine, in one place. The CPU model is pinned, because it picks
# the kernel's and the C library's copy routines. Nodes 0 and 1 have a CPU and
# memory each, node 2 memory only. The two ivshmem devices' BAR 2 are the
# memory of the coherent software GPUs.
CPU=qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq,+fsgsbase
CPU+=,+smep,+smap,+erms,+rdrand
# shellcheck disable=SC2054  # the commas are QEMU's
MACHINE=(
	-machine pc -cpu "$CPU,enforce" -smp 2,sockets=2 -m 2560M
	-object memory-backend-ram,id=n0,size=1G
	-object memory-backend-ram,id=n1,size=1G
	-object memory-backend-ram,id=n2,size=512M
	-numa node,nodeid=0,cpus=0,memdev=n0
	-numa node,nodeid=1,cpus=1,memdev=n1
	-numa node,nodeid=2,memdev=n2
	-object memory-backend-ram,id=gpu0,size=128M,share=on
	-object memory-backend-ram,id=gpu1,size=128M,share=on
	-device ivshmem-plain,memdev=gpu0
	-device ivshmem-plain,memdev=gpu1
	-nodefaults -no-user-config -display none -no-reboot
)
# A dead guest ends at once (-no-reboot); a warning does not, so that all of
# them are seen.
APPEND="console=ttyS0,115200 loglevel=7 panic=-1 oops=panic"
APPEND+=" random.trust_cpu=on no_timer_check tsc=reliable kunit.enable=1"

# run_qemu ACCELERATOR SECONDS LOG INITRAMFS: results on stdout
run_qemu() {
	timeout -s KILL "$2" qemu-system-x86_64 -accel "$1" "${MACHINE[@]}" \
		-serial "file:$3.kernel" \
		-chardev stdio,id=result,signal=off -serial chardev:result \
		-kernel "$kernel" -initrd "$4" -append "$APPEND" \
		</dev/null 2>"$3.qemu"
}

# Neither the device node nor a few instructions prove that KVM works (nested,
# it may run a boot sector and hang in a kernel): it has to boot this one.
kvm_works() {
	local dir ok=1
	[ -w /dev/kvm ] || return 1
	dir=$(mktemp -d)
	echo "exit 33" >"$dir/run"
	"$TOP/scripts/image.sh" "$dir/initrd" /run="$dir/run"
	run_qemu kvm 15 "$dir/log" "$dir/initrd" 2>/dev/null |
		grep -q '^GUEST-EXIT 33$' && ok=0
	rm -rf "$dir"
	return $ok
}

# Tried once per boot of this machine.
accelerator() {
	local memo
	memo=$CACHE/accel-$(cat /proc/sys/kernel/random/boot_id)
	if [ ! -e "$memo" ]; then
		mkdir -p "$CACHE"
		rm -f "$CACHE"/accel-*
		if kvm_works; then
			echo kvm >"$memo"
		else
			echo tcg,thread=multi,tb-size=512 >"$memo"
		fi
	fi
	cat "$memo"
}

quiet=
limit=120
accel=
while getopts qit:a: opt; do
	case $opt in
	q) quiet=1 ;;
	i)
		accel=tcg,thread=single,tb-size=512
		MACHINE+=(-smp "1,maxcpus=2,sockets=2")
		MACHINE+=(-icount "shift=0,sleep=off")
		APPEND+=" nokaslr clocksource=tsc tsc_early_khz=1000000"
		;;
	t) limit=$OPTARG ;;
	a) APPEND+=" $OPTARG" ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
kernel=${1:?usage: guest.sh [-qi] [-t SECONDS] [-a ARGS] BZIMAGE INITRAMFS LOG}
initrd=${2:?no initramfs given}
log=${3:?no log given}
mkdir -p "$(dirname "$log")"
: >"$log.kernel"
: >"$log.result"

[ -n "$accel" ] || accel=$(accelerator)
boot() {
	rc=0
	run_qemu "$accel" "$limit" "$log" "$initrd" |
		if [ -n "$quiet" ]; then
			cat >"$log.result"
		else
			tee "$log.result"
		fi || rc=$?
}

# An emulator that crashes (QEMU 7.2 does so once in a few hundred boots, while
# the kernel sets up PCI) says nothing about its guest. Nor does one that stands
# still (rarer still) before the kernel's first process, and all that is ours, runs.
flawed() {
	case $rc in
	139) echo "QEMU crashed" ;;
	137) grep -q 'Run /init as init process' "$log.kernel" ||
		echo "the kernel did not come as far as /init in $limit s" ;;
	esac
}
boot
flaw=$(flawed)
if [ -n "$flaw" ]; then
	say "$flaw: once more"
	tail -n 3 "$log.kernel" >&2
	boot
fi

status=$(sed -n 's/^GUEST-EXIT \([0-9]*\)$/\1/p' "$log.result" | tail -n 1)
[ -z "$status" ] || exit "$status"

if [ "$rc" = 137 ]; then
	why="stopped after its time limit of $limit s"
	status=124
else
	why="died"
	status=125
fi
{
	echo "--- the guest $why; its last results:"
	tail -n 15 "$log.result"
	echo "--- the last of the kernel's log ($log.kernel):"
	tail -n 30 "$log.kernel"
	cat "$log.qemu"
	echo "---"
} >&2
exit $status
