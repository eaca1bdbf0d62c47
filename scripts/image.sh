#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Make a guest's initramfs: image.sh OUT.cpio.gz [DESTINATION=]FILE…
#
# A file goes where DESTINATION says (a trailing / keeps its name). /init and
# busybox are always there; "/run=FILE" is what the guest does.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

out=${1:?usage: image.sh OUT [DESTINATION=]FILE…}
shift
root=$out.root
rm -rf "$root"
mkdir -p "$root"/{bin,sbin,dev,proc,sys,tmp,lib/modules}
cp /bin/busybox "$root/bin/"
ln -s busybox "$root/bin/sh"
cp "$TOP/scripts/init" "$root/init"
chmod +x "$root/init"

for arg; do
	file=${arg#*=}
	dst=${arg%%=*}
	[ "$dst" != "$arg" ] || dst=/
	[ "${dst%/}" = "$dst" ] || dst=$dst$(basename "$file")
	mkdir -p "$root/$(dirname "$dst")"
	cp -L "$file" "$root/$dst"
	case $dst in
	# the distribution's headers build with debug info, ten times the code
	*.ko) strip --strip-debug "$root/$dst" ;;
	esac
done

(cd "$root" && find . | LC_ALL=C sort |
	cpio --quiet -o -H newc -R 0:0 | gzip -1 >"$out.tmp")
mv "$out.tmp" "$out"
rm -rf "$root"
