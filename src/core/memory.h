/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_MEMORY_H
#define _UVM_MEMORY_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>

struct eventfd_ctx;

/**
 * struct uvm_memory_event - whom a GPU space tells that its GPU's memory gets scarce
 * @link: in &uvm_memory_events.list, while there is @ctx
 * @ctx: the eventfd, held; or NULL
 * @threshold: in pages: less than that being free is scarce
 * @armed: there was enough since it was told last
 *
 * Protected by &uvm_memory_events.lock.
 */
struct uvm_memory_event {
	struct list_head link;
	struct eventfd_ctx *ctx;
	unsigned long threshold;
	bool armed;
};

/**
 * struct uvm_memory_events - those of all GPU spaces of a GPU
 * @lock: taken in process context only
 * @list: the events; whether there are any may be asked without the lock
 */
struct uvm_memory_events {
	spinlock_t lock;
	struct list_head list;
};

void uvm_memory_events_init(struct uvm_memory_events *events);

#endif /* _UVM_MEMORY_H */
