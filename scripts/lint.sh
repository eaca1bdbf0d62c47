#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# `make lint`: the newest kernel's checkpatch and kernel-doc, and sparse with
# the newest and the oldest kernel. Fails on any complaint about our code.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

"$TOP/scripts/deps.sh" build kernel lint
src=$("$TOP/scripts/source.sh" newest)
log=$BUILD/lint
mkdir -p "$log"
bad=0
cd "$TOP"

say "checkpatch"
# check_style NAME IGNORED-TYPES FILE…
check_style() {
	local name=$1 ignore=$2
	shift 2
	"$src/scripts/checkpatch.pl" --no-tree --terse --quiet --no-summary \
		--show-types --max-line-length=100 --ignore "$ignore" \
		-f "$@" >"$log/checkpatch-$name" || true
	if grep -E ': (ERROR|WARNING):' "$log/checkpatch-$name" >&2; then bad=1; fi
}

# Advice about files beyond kernel style (Kconfig, MAINTAINERS) does not apply,
# nor about what the oldest kernel lacks (kzalloc_obj()).
ignore=FILE_PATH_CHANGES,LINUX_VERSION_CODE,COMPLEX_MACRO,ALLOC_WITH_SIZEOF
mapfile -t files < <(find src/core src/sim include tests/kunit tests/kbench -name '*.[ch]' | sort)
check_style kernel "$ignore" "${files[@]}"
# User space has a C library in place of the kernel's macros, and volatile to
# touch memory with.
ignore+=,BSD_LICENSE,VOLATILE,ARRAY_SIZE,REPEATED_WORD,CONSTANT_COMPARISON
ignore+=,PREFER_DEFINED_ATTRIBUTE_MACRO,FUNCTION_ARGUMENTS,EMBEDDED_FUNCTION_NAME,MACRO_WITH_FLOW_CONTROL
mapfile -t files < <(find src/libuvm src/uvmctl tests docs -name '*.[ch]' \
	! -path 'tests/kunit/*' ! -path 'tests/kbench/*' | sort)
check_style user "$ignore" "${files[@]}"

say "kernel-doc"
kdoc=$src/scripts/kernel-doc
[ -x "$kdoc" ] || kdoc=$src/tools/docs/kernel-doc
mapfile -t headers < <(find include -name '*.h' | sort)
if ! "$kdoc" -none -Werror "${headers[@]}" >"$log/kernel-doc" 2>&1 ||
	grep -q 'warning:' "$log/kernel-doc"; then
	cat "$log/kernel-doc" >&2
	bad=1
fi

for lane in newest 6.1; do
	dir=$("$TOP/scripts/kernel.sh" "$lane")
	say "sparse with $(cat "$dir/release")"
	# C=2 looks at every file, not only at those being compiled; headers of
	# the kernel are its own affair
	"$TOP/scripts/modules.sh" "$dir/build" "lint-$lane" C=2 W=1 UVM_KBENCH=y \
		>"$log/sparse-$lane" 2>&1 || bad=1
	# Debian 12's sparse does not take the newest MODULE_*() and
	# module_param() for constant
	if grep -v 'error: bad constant expression$' "$log/sparse-$lane" |
		grep -E '^([^ ]*/)?(src/(core|sim)|tests/kunit|tests/kbench|include/(uapi/linux/uvm|uvm))[^ ]*: (warning|error)' >&2; then
		bad=1
	fi
done
[ $bad = 0 ] && say "lint: clean"
exit $bad
