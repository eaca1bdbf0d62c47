/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_STATS_H
#define _UVM_STATS_H

#include <linux/atomic.h>
#include <linux/types.h>

/**
 * enum uvm_stat - what is counted, for each GPU and for each GPU space
 * @UVM_STAT_BATCHES: shares of faults that an address space was given
 * @UVM_STAT_FAULTS: faults in them
 * @UVM_STAT_DUPLICATES: those for a page that another one of the share was for
 * @UVM_STAT_MOVED: pages that faults moved
 * @UVM_STAT_PREFETCHED: pages that came along with them
 * @UVM_STAT_CANCELS: faults that could not be served
 * @UVM_STAT_REPLAYS: replays
 * @UVM_STAT_RETRIES: blocks that kept changing while they were served
 * @UVM_STAT_THROTTLED: faults left for later, since their pages bounce
 * @UVM_STAT_PINNED: pages mapped where they are, since they bounce
 * @UVM_STAT_UNPINNED: those of them that may move again
 * @UVM_STAT_DUPLICATED: managed pages copied to it, or from it, where both were kept
 * @UVM_STAT_COLLAPSED: those that it had a copy of when one holder was left, since they
 *	were written, or their range isn't read mostly any more
 * @UVM_STAT_HOT_MOVED: pages moved since the GPU used them where they were
 * @UVM_STAT_NOTIFICATIONS: access counters that reached their threshold; of a GPU only
 * @UVM_STAT_CPU_FAULTS: CPU faults on private pages; of a GPU only
 * @UVM_STAT_CPU_MOVED: pages that they brought home; of a GPU only
 * @UVM_STAT_NR: number of counters
 */
enum uvm_stat {
	UVM_STAT_BATCHES,
	UVM_STAT_FAULTS,
	UVM_STAT_DUPLICATES,
	UVM_STAT_MOVED,
	UVM_STAT_PREFETCHED,
	UVM_STAT_CANCELS,
	UVM_STAT_REPLAYS,
	UVM_STAT_RETRIES,
	UVM_STAT_THROTTLED,
	UVM_STAT_PINNED,
	UVM_STAT_UNPINNED,
	UVM_STAT_DUPLICATED,
	UVM_STAT_COLLAPSED,
	UVM_STAT_HOT_MOVED,
	UVM_STAT_NOTIFICATIONS,
	UVM_STAT_CPU_FAULTS,
	UVM_STAT_CPU_MOVED,
	UVM_STAT_NR,
};

/* The first of those that only a GPU has. */
#define UVM_STAT_GPU_ONLY	UVM_STAT_NOTIFICATIONS

struct uvm_stats {
	atomic64_t n[UVM_STAT_NR];
};

static inline void uvm_stats_add(struct uvm_stats *stats, enum uvm_stat which,
				 unsigned long n)
{
	atomic64_add(n, &stats->n[which]);
}

#endif /* _UVM_STATS_H */
