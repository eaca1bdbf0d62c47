#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Look for complaints in a guest's kernel log: scan-log.sh KERNEL-LOG
# Prints each with its context and fails if there are any. What the kernel
# said before the test began is not ours.
set -euo pipefail

bad='WARNING: |BUG: |BUG at |Oops|general protection fault|Kernel panic'
bad+='|invalid opcode|unable to handle|cut here'
bad+='|possible (recursive|circular) lock|possible irq lock inversion'
bad+='|inconsistent lock state|suspicious RCU|[Ii]nvalid wait context|lock held when returning'
bad+='|bad unlock balance|held lock freed|turning off the locking correctness'
bad+='|KASAN: |UBSAN: |KCSAN: |KFENCE: |KMSAN: |kmemleak: .*new suspected'
bad+='|detected stall|self-detected stall|soft lockup|hard LOCKUP|workqueue lockup'
bad+='|blocked for more than|hung_task'
bad+='|DMA-API: [^ ]+ [^ ]+: |Bad page (state|map)|[Bb]ad rss-counter|bad p[mug4]d'
bad+='|ODEBUG: |refcount_t: |list_(add|del) corruption|[Cc]orrupted'
bad+='|pagealloc: |page_poison|sleeping function called|scheduling while atomic'
bad+='|VM_BUG|VM_WARN|non-zero pgtables_bytes|Unregister_netdevice|trying to .*free'

log=${1:?usage: scan-log.sh KERNEL-LOG}
if grep -q 'uvm-check: begin' "$log"; then
	text=$(sed -n '/uvm-check: begin/,$p' "$log")
else
	text=$(cat "$log")
fi
# the command line and the help of a report name checkers too
text=$(grep -vE 'Command line:|"echo 0 >.*hung_task' <<<"$text" || true)
if grep -qE "$bad" <<<"$text"; then
	grep -E -B 5 -A 45 -m 3 "$bad" <<<"$text" | head -n 150
	exit 1
fi
