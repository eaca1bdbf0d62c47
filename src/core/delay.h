/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Places where an unlucky moment matters. In kernels with the fault injection
 * framework, delay.c can hold a task up there; elsewhere nothing is left of them.
 */
#ifndef _UVM_DELAY_H
#define _UVM_DELAY_H

#include <linux/bits.h>

struct dentry;

/**
 * enum uvm_delay_point - where
 * @UVM_DELAY_RETAINED: just retained the mm
 * @UVM_DELAY_LINK: UVM_MM_INIT, before the mm file is one
 * @UVM_DELAY_SHUTDOWN: between two steps of a shutdown
 * @UVM_DELAY_REGISTER: a GPU space is made, but not published
 * @UVM_DELAY_UNREGISTER: a GPU space is out of the table, but up
 * @UVM_DELAY_CHANNEL: a channel is made, but not published
 * @UVM_DELAY_SUBMIT: before commands go to the backend
 * @UVM_DELAY_FAULT: before faults are served
 * @UVM_DELAY_MIRROR: page table read, entries not written
 * @UVM_DELAY_MIGRATE: between two blocks
 * @UVM_DELAY_EVACUATE: before pages of a process are brought home
 * @UVM_DELAY_CPU_FAULT: a CPU touched a private page, and nothing is done about it yet
 * @UVM_DELAY_PARK: host copies are made, but not kept yet
 * @UVM_DELAY_MANAGED: a managed page is given to a CPU's fault, but not mapped yet
 */
enum uvm_delay_point {
	UVM_DELAY_RETAINED,
	UVM_DELAY_LINK,
	UVM_DELAY_SHUTDOWN,
	UVM_DELAY_REGISTER,
	UVM_DELAY_UNREGISTER,
	UVM_DELAY_CHANNEL,
	UVM_DELAY_SUBMIT,
	UVM_DELAY_FAULT,
	UVM_DELAY_MIRROR,
	UVM_DELAY_MIGRATE,
	UVM_DELAY_EVACUATE,
	UVM_DELAY_CPU_FAULT,
	UVM_DELAY_PARK,
	UVM_DELAY_MANAGED,
	UVM_DELAY_NR,
};

#if defined(CONFIG_FAULT_INJECTION_DEBUG_FS) && !defined(UVM_KUNIT)
void uvm_delay(enum uvm_delay_point point);
void uvm_delay_init(struct dentry *dir);
#else
static inline void uvm_delay(enum uvm_delay_point point)
{
}

static inline void uvm_delay_init(struct dentry *dir)
{
}
#endif

#endif /* _UVM_DELAY_H */
