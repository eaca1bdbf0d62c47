#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Find one lane's kernel in the cache, or build it, and print its directory:
#	bzImage		what QEMU boots
#	build		KDIR for external modules (a directory or a link)
#	release		its `uname -r`
#	modules/	the kernel's own modules that guests use
#
# kernel.sh stock		the distribution's kernel and headers
# kernel.sh 6.1 | 6.12		small configuration with KUnit
# kernel.sh newest		the newest there is, as a debug kernel; its
#				version (7.3) names it as well
# kernel.sh newest-release	the same without debugging (or 7.3-release)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# Part of the cache key: raise it when what is kept of a build changes.
FORMAT=1
KCONFIG=$TOP/scripts/kconfig

# The distribution's image is unpacked, never installed: the machine's own
# boot setup is not ours.
unpack_stock() {
	local dir=$1 release=$2 version=$3
	[ ! -e "$dir/release" ] || return 0
	rm -rf "$dir"
	mkdir -p "$dir/modules" "$dir/image"
	say "kernel stock: fetching linux-image-$release"
	cd "$dir/image"
	apt-get download -q "linux-image-$release=$version" \
		>"$dir/log" 2>&1 </dev/null || return 1
	dpkg-deb -x ./*.deb .
	cp "boot/vmlinuz-$release" "$dir/bzImage"
	# a RAM disk to swap on, and what gcm(aes) needs
	find . \( -name 'brd.ko*' -o -name 'gcm.ko*' -o -name 'ghash-generic.ko*' \
		-o -name 'ctr.ko*' -o -name 'gf128mul.ko*' \) \
		-exec cp {} "$dir/modules/" \;
	ln -s "/usr/src/linux-headers-$release" "$dir/build"
	rm -rf "$dir/image"
	echo "$release" >"$dir/release"
}

# Sets release and version, those of the headers.
stock_version() {
	release=$(dpkg-query -W -f '${Depends}' linux-headers-amd64 |
		grep -o 'linux-headers-[0-9][^ ]*' | sed -n 1p)
	version=$(dpkg-query -W -f '${Version}' "$release")
	release=${release#linux-headers-}
	dir=$CACHE/kernel/stock-$release-$version
}

stock() {
	local release version
	stock_version
	if ! locked kernel-stock unpack_stock "$dir" "$release" "$version"; then
		# the archive has moved on: take its headers, then the image
		say "kernel stock: no image as old as the headers, updating those"
		[ "$(id -u)" = 0 ] ||
			die "as root, please run: apt-get update; apt-get install linux-headers-amd64"
		logged "$CACHE/stock.log" apt-get update
		logged "$CACHE/stock.log" env DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -q linux-headers-amd64
		stock_version
		locked kernel-stock unpack_stock "$dir" "$release" "$version" ||
			die "cannot fetch linux-image-$release=$version ($dir/log)"
	fi
	echo "$dir"
}

# Later fragments win.
merge() {
	cat "$@" | sed 's/^# \(CONFIG_[A-Z0-9_]*\) is not set$/\1=n/' |
		awk -F= '/^CONFIG_/ { v[$1] = $0 } END { for (k in v) print v[k] }' |
		sort
}

# A requested option that silently did not take would make a lane test less
# than it says.
verify() {
	local version=$1 wanted=$2 got=$3 line opt bad=()

	case $version in
	6.1 | 6.12) ;;
	*) version=newest ;;
	esac
	while read -r line; do
		opt=${line%%=*}
		grep -qx "$version $opt" "$KCONFIG/absent" && continue
		case $line in
		*=n) grep -q "^$opt=" "$got" && bad+=("$line") ;;
		*) grep -qxF "$line" "$got" || bad+=("$line") ;;
		esac
	done <"$wanted"
	[ ${#bad[@]} -eq 0 ] ||
		die "kernel $version does not take: ${bad[*]} ($got)"
}

# kmake LOG-NAME TARGET…: one phase of a kernel build
kmake() {
	local phase=$1
	shift
	say "kernel $lane: $phase"
	logged "$dir/log.$phase" make -C "$src" O="$out" -j"$JOBS" \
		KBUILD_BUILD_USER=uvm KBUILD_BUILD_HOST=uvm "$@"
}

# Keep what external modules need of the build tree; the rest is large.
prune() {
	find "$1" \( -name scripts -o -name tools \) -prune -o -type f \
		\( -name '*.o' -o -name '*.a' -o -name '.*.cmd' -o -name '*.ko' \) \
		-exec rm -f {} +
	rm -f "$1"/vmlinux* "$1"/.tmp_* "$1"/arch/x86/boot/bzImage
	rm -rf "$1"/arch/x86/boot/compressed
}

# Built in its final place, since the tree knows its own path; "release" is
# written last and says that the build is whole.
build() {
	local out=$dir/build start=$SECONDS
	[ ! -e "$dir/release" ] || return 0
	rm -rf "$dir"
	mkdir -p "$out" "$dir/modules"
	merge "${fragments[@]}" >"$dir/wanted"
	kmake configure KCONFIG_ALLCONFIG="$dir/wanted" allnoconfig
	verify "$version" "$dir/wanted" "$out/.config"
	kmake image bzImage
	kmake modules modules
	kmake prepare modules_prepare
	cp "$out/arch/x86/boot/bzImage" "$dir/"
	find "$out" -name '*.ko' -exec cp {} "$dir/modules/" \;
	prune "$out"
	cp "$out/include/config/kernel.release" "$dir/release"
	say "kernel $lane: built in $((SECONDS - start)) s"
}

lane=${1:?usage: kernel.sh LANE}
mkdir -p "$CACHE/kernel"
if [ "$lane" = stock ]; then
	"$TOP/scripts/deps.sh" build
	stock
	exit 0
fi

"$TOP/scripts/deps.sh" build kernel
version=${lane%-release}
src=$("$TOP/scripts/source.sh" "$version")
[ "$version" != newest ] || version=$(basename "$src" | sed 's/-.*//')
fragments=("$KCONFIG/base.config")
case $lane in
6.1 | 6.12) kind=test ;;
*-release) kind=release ;;
*) kind=debug ;;
esac
fragments+=("$KCONFIG/$kind.config")

key=$({
	echo "$FORMAT $(gcc -dumpfullversion)"
	merge "${fragments[@]}"
} | sha256sum | cut -c1-12)
dir=$CACHE/kernel/$(basename "$src")-$kind-$key
locked "kernel-$version-$kind" build
echo "$dir"
