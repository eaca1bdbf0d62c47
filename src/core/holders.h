/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_HOLDERS_H
#define _UVM_HOLDERS_H

#include <linux/types.h>

/* The CPU; GPU number n, by id, of those that a block knows is 1 + n. */
#define UVM_HOLDER_CPU	0U
#define UVM_HOLDERS_MAX	64U

/**
 * struct uvm_holders - who has a page
 * @all: mask of holders
 * @lost: mask of those of them from whom nothing can be had any more
 */
struct uvm_holders {
	u64 all;
	u64 lost;
};

/**
 * enum uvm_holders_event - what becomes of a page
 * @UVM_HOLDERS_COPY_TO: it was copied, or filled, and one more has it
 * @UVM_HOLDERS_MOVE_FROM: the one that it was copied from needn't keep it
 * @UVM_HOLDERS_DROP: the memory of one who has it is wanted
 * @UVM_HOLDERS_COLLAPSE: one is to be left, of several
 */
enum uvm_holders_event {
	UVM_HOLDERS_COPY_TO,
	UVM_HOLDERS_MOVE_FROM,
	UVM_HOLDERS_DROP,
	UVM_HOLDERS_COLLAPSE,
};

bool uvm_holders_shared(const struct uvm_holders *h);
unsigned int uvm_holders_pick(const struct uvm_holders *h, unsigned int near);
bool uvm_holders_can_give(const struct uvm_holders *h, unsigned int who);
bool uvm_holders_keep_source(bool read_mostly, bool write);
u64 uvm_holders_next(const struct uvm_holders *h, enum uvm_holders_event event,
		     unsigned int who, bool pinned);

#endif /* _UVM_HOLDERS_H */
