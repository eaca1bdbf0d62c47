/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_THRASH_H
#define _UVM_THRASH_H

#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

struct uvm_gpu_space;
struct uvm_thrash_block;

/* Blocks that are looked at from afar. */
#define UVM_THRASH_SLOTS	64

/**
 * struct uvm_thrash_slot - a block that faults moved pages of lately
 * @block: its number
 * @when: the last time, us
 * @events: how often, each no longer after the one before than a lapse
 */
struct uvm_thrash_slot {
	unsigned long block;
	u64 when;
	unsigned int events;
};

/**
 * struct uvm_thrash - pages that bounce between a GPU and others
 * @gs: the GPU space
 * @lock: protects the rest but @slots; taken around the notifier lock
 * @blocks: those that are looked at closely, by number
 * @nr: number of @blocks
 * @work: releases pinned pages, and forgets blocks; queued while there are any
 * @slots: of the fault work
 */
struct uvm_thrash {
	struct uvm_gpu_space *gs;
	struct mutex lock;
	struct xarray blocks;
	unsigned int nr;
	struct delayed_work work;
	struct uvm_thrash_slot slots[UVM_THRASH_SLOTS];
};

/**
 * enum uvm_thrash_verdict - what to do about a page that a fault would move
 * @UVM_THRASH_MOVE: move it
 * @UVM_THRASH_WAIT: leave the fault for later: others have the page for a while
 * @UVM_THRASH_STAY: map it where it is
 */
enum uvm_thrash_verdict {
	UVM_THRASH_MOVE,
	UVM_THRASH_WAIT,
	UVM_THRASH_STAY,
};

void uvm_thrash_init(struct uvm_thrash *thrash, struct uvm_gpu_space *gs);
void uvm_thrash_fini(struct uvm_thrash *thrash);
void uvm_thrash_stop(struct uvm_thrash *thrash);
void uvm_thrash_moved(struct uvm_thrash *thrash, unsigned long block);
struct uvm_thrash_block *uvm_thrash_find(struct uvm_thrash *thrash,
					 unsigned long block);
enum uvm_thrash_verdict uvm_thrash_fault(struct uvm_thrash *thrash,
					 struct uvm_thrash_block *tb,
					 unsigned int page);
bool uvm_thrash_is_pinned(const struct uvm_thrash_block *tb, unsigned int page);
unsigned int uvm_thrash_nap_us(void);

#endif /* _UVM_THRASH_H */
