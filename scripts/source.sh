#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Unpack Debian's source of one kernel version into the cache and print its
# directory: source.sh newest | X.Y
#
# Debian 12 carries 6.1 and 6.12. Whatever is newer comes from the backports
# suite of the next release, through a private set of package lists: the
# machine's own configuration is read (for its mirror) but never changed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

SUITE_NEWEST=trixie-backports
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The first archive URI of the machine's own sources that serves its Debian
# main suite, in either format of the sources files.
mirror() {
	local f
	for f in /etc/apt/sources.list.d/*.sources; do
		[ -e "$f" ] || continue
		awk '/^URIs:/ { uri = $2 } /^Suites:/ { suites = $0 }
		     /^$/ { if (suites ~ / bookworm( |$)/ && uri) exit; uri = "" }
		     END { if (suites ~ / bookworm( |$)/ && uri) print uri }' "$f"
	done
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -e "$f" ] || continue
		sed 's/\[[^]]*\]//' "$f" |
			awk '$1 == "deb" && $3 == "bookworm" { print $2; exit }'
	done
}

APT_PRIVATE=$CACHE/apt
private_apt() {
	local cmd=$1
	shift
	"$cmd" -q -o Dir::Etc::SourceList="$APT_PRIVATE/newest.sources" \
		-o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null \
		-o Dir::Etc::PreferencesParts=/dev/null \
		-o Dir::State::Lists="$APT_PRIVATE/lists" \
		-o Dir::Cache="$APT_PRIVATE/cache" \
		-o APT::Sandbox::User=root "$@"
}

private_update() {
	local uri
	# a day is fresh enough, and lets a machine without network work on
	[ -z "$(find "$APT_PRIVATE/stamp" -mmin -1440 2>/dev/null)" ] || return 0
	uri=$(mirror | sed -n 1p)
	[ -n "$uri" ] || die "no Debian mirror found in the machine's apt sources"
	mkdir -p "$APT_PRIVATE/lists/partial" "$APT_PRIVATE/cache/archives/partial"
	cat >"$APT_PRIVATE/newest.sources" <<-END
		Types: deb
		URIs: $uri
		Suites: $SUITE_NEWEST
		Components: main
		Signed-By: $KEYRING
	END
	if private_apt apt-get update >"$APT_PRIVATE/log" 2>&1; then
		touch "$APT_PRIVATE/stamp"
	elif [ ! -e "$APT_PRIVATE/stamp" ]; then
		tail -n 5 "$APT_PRIVATE/log" >&2
		die "cannot read the package lists of $SUITE_NEWEST"
	fi
}

newest() {
	locked apt private_update
	private_apt apt-cache search '^linux-source-[0-9.]+$' |
		sed -n 's/^linux-source-\([0-9.]*\) .*/\1/p' | sort -V | tail -n 1
}

# candidate APT-CACHE-COMMAND… PACKAGE: its newest version, if it has one
candidate() {
	"$@" 2>/dev/null | sed -n 's/^ *Candidate: \([^(].*\)/\1/p'
}

unpack() {
	local pkg=$1 dir=$2 fetch=$3 tmp=$2.tmp
	[ ! -d "$dir" ] || return 0
	say "fetching and unpacking $pkg"
	rm -rf "$tmp"
	mkdir -p "$tmp"
	(cd "$tmp" && logged "$dir.log" $fetch apt-get download "$pkg")
	dpkg-deb --fsys-tarfile "$tmp"/*.deb |
		tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		tar -xJ -C "$tmp" --strip-components=1
	rm "$tmp"/*.deb
	mv "$tmp" "$dir"
}

version=${1:?usage: source.sh newest|X.Y}
[ "$version" != newest ] || version=$(newest)
[ -n "$version" ] || die "no linux-source package in $SUITE_NEWEST"
pkg=linux-source-$version

fetch=
refresh_lists
deb=$(candidate apt-cache policy "$pkg")
if [ -z "$deb" ]; then
	locked apt private_update
	fetch=private_apt
	deb=$(candidate private_apt apt-cache policy "$pkg")
fi
[ -n "$deb" ] || die "no package $pkg, neither here nor in $SUITE_NEWEST"

dir=$CACHE/source/$version-${deb//[^A-Za-z0-9.+~-]/_}
mkdir -p "$CACHE/source"
locked "source-$version" unpack "$pkg=$deb" "$dir" "$fetch"
echo "$dir"
