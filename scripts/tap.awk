# SPDX-License-Identifier: GPL-2.0-only
# TAP, or KTAP in a kernel's log, to lines "pass|fail|skip<TAB>name". With
# ktap=1 the tests are what the suites of the top level contain.
function emit(what, name) { printf "%s\t%s\n", what, name; seen++ }
function close_plan() {
	if (plan != "" && seen != plan)
		printf "fail\t%s\n", where "ran " seen " of " plan " tests"
	plan = ""
}
BEGIN { where = "" }
{ sub(/\r$/, "") }
ktap {
	# "[    1.234567] " or "[    1.234567][   T12] "
	if (!sub(/^(<[0-9]+>)?\[ *[0-9]+\.[0-9]+\](\[ *[TC][0-9]+\])? /, ""))
		next
	if (/^    # Subtest: /) {
		close_plan()
		where = $0
		sub(/.*# Subtest: */, "", where)
		where = where ": "
		seen = 0
		next
	}
	if (!sub(/^    /, ""))
		next
}
/^1\.\.[0-9]+/ {
	# several programs may follow each other
	close_plan()
	plan = substr($1, 4) + 0
	seen = 0
	planned = 1
	next
}
/^(not )?ok( |$)/ {
	what = /^not ok/ ? "fail" : "pass"
	name = $0
	sub(/^(not )?ok *[0-9]* *(- *)?/, "", name)
	if (toupper(name) ~ /# *SKIP/) what = "skip"
	sub(/ +$/, "", name)
	emit(what, where name)
	next
}
/^Bail out!/ { printf "fail\t%s\n", $0 }
END {
	close_plan()
	if (!planned) printf "fail\tno plan: nothing ran\n"
}
