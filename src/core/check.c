// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Checks of what user space gives
 *
 * Owns what several commands demand of the same kind of argument.
 */
#include "core.h"

#include <linux/nodemask.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/string.h>

/**
 * uvm_check_range() - is this a range of pages?
 * @base: first byte
 * @length: bytes
 *
 * Return: 0, or -EINVAL if it is empty, unaligned, wraps or ends where no process has
 * memory.
 */
int uvm_check_range(u64 base, u64 length)
{
	u64 end;

	if (!length || !PAGE_ALIGNED(base) || !PAGE_ALIGNED(length) ||
	    check_add_overflow(base, length, &end) || end > TASK_SIZE)
		return -EINVAL;
	return 0;
}

bool uvm_vma_accessible(const struct vm_area_struct *vma)
{
	return vma->vm_flags & (VM_READ | VM_WRITE | VM_EXEC);
}

/**
 * uvm_check_mapped() - is every byte of a range mapped, and accessible?
 * @mm: the mm, whose mmap_lock is held
 * @start: first byte
 * @end: the byte after the last one
 *
 * Return: 0 or -EFAULT.
 */
int uvm_check_mapped(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma;

	lockdep_assert_held(&mm->mmap_lock);
	for (; start < end; start = vma->vm_end) {
		cond_resched();
		vma = vma_lookup(mm, start);
		if (!vma || !uvm_vma_accessible(vma))
			return -EFAULT;
	}
	return 0;
}

/**
 * uvm_check_dest() - is this a place for pages?
 * @kind: enum uvm_dest, UVM_DEST_NONE included
 * @node: a node with memory for UVM_DEST_CPU_NODE, else 0
 * @uuid: of any GPU for UVM_DEST_GPU, else 0
 *
 * Return: 0 or -EINVAL.
 */
int uvm_check_dest(u32 kind, s32 node, const u8 *uuid)
{
	if (kind > UVM_DEST_CPU_NODE ||
	    (kind != UVM_DEST_GPU && memchr_inv(uuid, 0, UVM_UUID_LEN)) ||
	    (kind != UVM_DEST_CPU_NODE && node))
		return -EINVAL;
	if (kind == UVM_DEST_CPU_NODE &&
	    (node < 0 || node >= MAX_NUMNODES || !node_state(node, N_MEMORY)))
		return -EINVAL;
	return 0;
}
