// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: CPU faults in private memory
 *
 * Owns what happens when a CPU touches a page that only a GPU can reach: the page comes
 * home, and a window around it.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/migrate.h>

#include "move.h"

/* So often it is tried, if the copy fails, before the process is told. */
#define UVM_CPU_FAULT_TRIES	3

/*
 * What a CPU fault gets. A page that was not collected, or lost a race, is no
 * error: the fault is taken again if it is still needed. SIGBUS is for a device that
 * can't give the page back, not for the want of memory.
 */
static vm_fault_t uvm_move_fault_result(struct uvm_move *mv, unsigned long address)
{
	unsigned long bit = (address - mv->base) >> PAGE_SHIFT;

	if (test_bit(bit, mv->moved))
		return 0;
	if (test_bit(bit, mv->starved) || mv->error == -ENOMEM)
		return VM_FAULT_OOM;
	return mv->error ? VM_FAULT_SIGBUS : 0;
}

/**
 * uvm_migrate_to_ram() - a CPU touched a private page
 * @vmf: the fault
 *
 * Brings back a window around it. A copy fails also when its engine is reset for
 * the sake of another batch that hangs, and the page is still good: so it is tried
 * again. Takes no lock of ours but those of the copy
 * engine and of the allocators. Called by core mm with mmap_lock held.
 *
 * Return: 0 if the fault should be looked at again, VM_FAULT_OOM, or
 * VM_FAULT_SIGBUS if the device can't give the page back.
 */
vm_fault_t uvm_migrate_to_ram(struct vm_fault *vmf)
{
	struct uvm_gpu *gpu = uvm_gpu_of_page(vmf->page);
	unsigned long start, end, address = vmf->address & PAGE_MASK;
	vm_fault_t ret = VM_FAULT_SIGBUS;
	int tries = UVM_CPU_FAULT_TRIES;
	struct uvm_move *mv;

	uvm_window_get(&gpu->windows, vmf->vma, address, &start, &end);
	uvm_advise_clip(vmf->vma->vm_mm, address, &start, &end);
	mv = uvm_move_alloc((end - start) >> PAGE_SHIFT);
	if (!mv)
		return VM_FAULT_OOM;
	uvm_move_reset(mv, start, end);
	while (tries-- && ret == VM_FAULT_SIGBUS &&
	       !uvm_move_begin(mv, vmf->vma, start, end,
			       MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
			       &uvm_target_home, vmf->page)) {
		uvm_move_end(mv, &uvm_target_home);
		ret = uvm_move_fault_result(mv, address);
	}
	/* Core mm holds the faulting page, and that its GPU. */
	uvm_stats_add(&gpu->stats, UVM_STAT_CPU_FAULTS, 1);
	uvm_stats_add(&gpu->stats, UVM_STAT_CPU_MOVED,
		      bitmap_weight(mv->moved, mv->npages));
	uvm_move_free(mv);
	return ret;
}
