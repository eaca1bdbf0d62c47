#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Install, by package name, what the given parts of the build need and the
# machine lacks: deps.sh [build] [guest] [kernel] [lint]
set -euo pipefail
. "$(dirname "$0")/lib.sh"

declare -A packages=(
	# gcc-12 is what the stock headers were built with
	[build]="build-essential gcc-12 kmod libnuma-dev libcmocka-dev libelf-dev
		pahole linux-headers-amd64"
	[guest]="qemu-system-x86 busybox-static cpio gzip libnuma-dev"
	[kernel]="flex bison bc cpio xz-utils libelf-dev libssl-dev python3 perl"
	[lint]="sparse perl"
)

want=()
for part in "${@:-build}"; do
	[ -n "${packages[$part]:-}" ] || die "unknown part '$part'"
	# a list of words, over several lines
	# shellcheck disable=SC2206
	want+=(${packages[$part]})
done

missing=()
for p in $(printf '%s\n' "${want[@]}" | sort -u); do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
	[ "$status" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0

line="apt-get install --no-install-recommends ${missing[*]}"
if [ "$(id -u)" != 0 ]; then
	echo "As root, please run: $line" >&2
	exit 1
fi

say "installing ${missing[*]}"
install_missing() {
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
		--no-install-recommends "${missing[@]}"
}
# Package lists that are absent or out of date show as a failure: only then
# is it worth fetching them.
mkdir -p "$BUILD"
if ! install_missing >"$BUILD/deps.log" 2>&1 </dev/null; then
	logged "$BUILD/deps.log" apt-get update
	logged "$BUILD/deps.log" install_missing
fi
