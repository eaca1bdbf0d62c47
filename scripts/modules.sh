#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Build the modules for one kernel: modules.sh KDIR NAME [MAKE-ARGUMENT…]
#
# kbuild puts its objects beside the sources, and several kernels are built
# from one checkout: each gets a mirror of links in build/NAME/mod. The .ko
# files are found there.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

kdir=${1:?usage: modules.sh KDIR NAME [MAKE-ARGUMENT…]}
name=${2:?usage: modules.sh KDIR NAME [MAKE-ARGUMENT…]}
shift 2
mod=$BUILD/$name/mod
mkdir -p "$mod/generated"

"$TOP/scripts/probe.sh" "$kdir" "$mod/generated"

# new sources in, removed ones out
find "$mod" -xtype l -delete
(cd "$TOP" && find Kbuild src/core src/sim tests/kunit tests/kbench include -type f \
	\( -name Kbuild -o -name '*.[chS]' \)) |
	while read -r f; do
		[ ! -L "$mod/$f" ] || continue
		mkdir -p "$mod/$(dirname "$f")"
		ln -s "$TOP/$f" "$mod/$f"
	done

# BTF for modules would need the vmlinux that most header packages lack. And
# without its keyword the newest kernels refuse Debian 12's sparse (for C=1).
make -C "$kdir" M="$mod" -j"$JOBS" CONFIG_DEBUG_INFO_BTF_MODULES= \
	CHECK="sparse -D__typeof_unqual__=__typeof__" \
	"$@" modules >&2
