#!/bin/sh
# SPDX-License-Identifier: MIT
# Do the documentation and the shared library say what the headers say? Run by
# `make check` here.
#	docs.sh ROOT CC LIBUVM.SO
set -eu
export LC_ALL=C

root=$1
cc=$2
lib=$3
status=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

complain()
{
	echo "docs.sh: $*" >&2
	status=1
}

doc=$root/docs/uapi.md
uapi=$root/include/uapi/linux/uvm.h
sim=$root/include/uapi/linux/uvm_sim.h

# Values: every `NAME` (N) of the page, and the table of command numbers.
{
	echo '#include <linux/uvm.h>'
	echo '#include <linux/uvm_sim.h>'
	grep -oE '`UVM_[A-Z0-9_]+` \([0-9]+\)' "$doc" |
	sed -E 's/`(.*)` \((.*)\)/_Static_assert(\1 == \2, "\1");/'
	sed -nE 's/^\| `(UVM_[A-Z_]+)` \| (0x[0-9a-f]+) .*/_Static_assert(_IOC_NR(\1) == \2, "\1");/p' "$doc"
} >"$tmp/values.c"
[ "$(grep -c assert "$tmp/values.c")" -gt 40 ] || complain "found too few values in $doc"
$cc -std=c11 -fsyntax-only -I"$root/include/uapi" "$tmp/values.c" ||
	complain "$doc has wrong values"

# Completeness: constants, structures and members; the rings and page tables of
# the software GPU are none of an application's business.
{
	grep -oE '^	?(#define )?UVM_[A-Z0-9_]+' "$uapi" |
		grep -oE 'UVM_.*' | grep -vE '^UVM_(CMD_|TYPE$|UUID_LEN|NAME_LEN|SKIP_NR|SKIP_SLOTS)'
	grep -oE '^	UVM_SIM_[A-Z0-9]+(_ADD)? =' "$sim" | grep -oE 'UVM_[A-Z0-9_]+'
	grep -oE '^struct uvm_[a-z_]+' "$uapi" | grep -oE 'uvm_.*'
	sed -nE 's/^	__[a-z0-9_]+ ([a-z_]+)(\[.*\])?;$/\1/p' "$uapi"
} | sort -u >"$tmp/names"
while read -r name; do
	grep -qw -- "$name" "$doc" || complain "$doc says nothing of $name"
done <"$tmp/names"

# The example in the page is the one that is built.
sed -n '/^```c$/,/^```$/p' "$doc" | sed '1d;$d' >"$tmp/page.c"
sed 1d "$root/docs/examples/hello_uvm.c" >"$tmp/built.c"
cmp -s "$tmp/page.c" "$tmp/built.c" ||
	complain "the program in $doc isn't docs/examples/hello_uvm.c"

# So is the one in the README.
sed -n '/^```c$/,/^```$/p' "$root/README.md" | sed '1d;$d' >"$tmp/page.c"
sed 1d "$root/docs/examples/fill_uvm.c" >"$tmp/built.c"
cmp -s "$tmp/page.c" "$tmp/built.c" ||
	complain "the program in README.md isn't docs/examples/fill_uvm.c"

# Every function of the library has its place in the manual.
grep -oE '\buvm_[a-z_]+\(' "$root/include/libuvm/uvm.h" | tr -d '(' | sort -u >"$tmp/functions"
while read -r name; do
	grep -q "^\.Fn $name \"" "$root/man/libuvm.3" ||
		complain "man/libuvm.3 has no synopsis of $name"
done <"$tmp/functions"

# And the library exports them, and nothing else.
nm -D --defined-only "$lib" | awk '{ print $3 }' | sort >"$tmp/exported"
cmp -s "$tmp/functions" "$tmp/exported" || {
	diff "$tmp/functions" "$tmp/exported" >&2 || :
	complain "$lib doesn't export what its header declares"
}

# The table of mutations is whole.
for patch in "$root"/tests/mutations/*.patch; do
	name=$(basename "$patch" .patch)
	grep -q "^| \`$name\` |" "$root/docs/testing.md" ||
		complain "docs/testing.md says nothing of the mutation $name"
done

if command -v mandoc >/dev/null; then
	mandoc -Tlint -W warning "$root"/man/*.[38] || complain "manual pages are malformed"
fi

[ $status -ne 0 ] || echo "documentation and library agree with the headers"
exit $status
