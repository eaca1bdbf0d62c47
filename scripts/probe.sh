#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Learn by compiling what a kernel's interfaces look like:
#	probe.sh KDIR OUTDIR	writes OUTDIR/uvm_probes.h
#
# probes/foo.c compiles: #define UVM_HAVE_FOO 1. Version numbers would not do,
# because stable kernels take changes from newer ones.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# Without these there is nothing to build on.
REQUIRED="ZONE_DEVICE DEVICE_MIGRATION HMM_MIRROR MMU_NOTIFIER INTERVAL_TREE
	  DMA_SHARED_BUFFER"

kdir=${1:?usage: probe.sh KDIR OUTDIR}
out=${2:?usage: probe.sh KDIR OUTDIR}
probes=$TOP/scripts/probes
header=$out/uvm_probes.h
conf=$kdir/include/config/auto.conf

[ -e "$conf" ] || die "$kdir is not a configured kernel build tree"
missing=
for opt in $REQUIRED; do
	grep -q "^CONFIG_$opt=y" "$conf" || missing+=" CONFIG_$opt"
done
[ -z "$missing" ] ||
	die "this kernel lacks$missing; uvm cannot be built for it ($kdir)"

key=$(cat "$0" "$probes"/* "$conf" "$kdir/include/generated/utsrelease.h" \
	<(gcc --version) <(sha256sum "$kdir/Module.symvers" 2>/dev/null) |
	sha256sum | cut -c1-16)
[ "$(sed -n 1p "$header" 2>/dev/null)" != "/* $key */" ] || exit 0

tmp=$out/probes
rm -rf "$tmp"
mkdir -p "$tmp"
cp "$probes"/* "$tmp/"
# -k: a probe that does not compile is an answer, not an error
make -k -C "$kdir" M="$tmp" -j"$JOBS" CONFIG_DEBUG_INFO_BTF_MODULES= \
	modules >"$tmp/log" 2>&1 </dev/null || true
if [ ! -e "$tmp/base.o" ]; then
	make -C "$kdir" M="$tmp" CONFIG_DEBUG_INFO_BTF_MODULES= \
		base.o >"$tmp/log" 2>&1 </dev/null || true
	grep -E 'error|Error|not found' "$tmp/log" >&2 || tail "$tmp/log" >&2
	die "cannot compile for $kdir at all (whole log: $tmp/log)"
fi

{
	echo "/* $key */"
	echo "/* Made by scripts/probe.sh: what this kernel's interfaces are. */"
	for c in "$probes"/*.c; do
		name=$(basename "$c" .c)
		[ "$name" != base ] || continue
		if [ -e "$tmp/$name.o" ]; then
			echo "#define UVM_HAVE_${name^^} 1"
		else
			echo "/* no ${name^^} */"
		fi
	done
} >"$header.tmp"
mv "$header.tmp" "$header"
