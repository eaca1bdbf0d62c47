# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What the other scripts share. Sourced, never run.

# shellcheck disable=SC2034  # used by the scripts that source this file
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$TOP/build
CACHE=${UVM_CACHE:-~/.cache/uvm}
JOBS=${JOBS:-$(nproc)}

# Messages go to stderr: several scripts print their result on stdout.
say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Run a command for one result file at a time, whoever else works on it:
# several checkouts of one user share the cache.
locked() {
	local name=$1
	shift
	mkdir -p "$CACHE/lock"
	(
		flock 9
		"$@" 9>&-
	) 9>"$CACHE/lock/$name"
}

# logged FILE COMMAND…: quiet when it works, the end of its output when not.
logged() {
	local log=$1
	shift
	mkdir -p "$(dirname "$log")"
	if ! "$@" >"$log" 2>&1 </dev/null; then
		tail -n 40 "$log" >&2
		die "failed: $* (whole log: $log)"
	fi
}

# Package lists go out of date and then name files that are gone. Once a day is
# enough, and without network the old ones must do.
refresh_lists() {
	local stamp=$CACHE/apt-update.stamp
	[ "$(id -u)" = 0 ] || return 0
	[ -z "$(find "$stamp" -mmin -1440 2>/dev/null)" ] || return 0
	mkdir -p "$CACHE"
	if apt-get update >"$CACHE/apt-update.log" 2>&1 </dev/null; then
		touch "$stamp"
	fi
}

# The lanes in the order `make check` takes them.
LANES="stock 6.1 6.12 newest"
