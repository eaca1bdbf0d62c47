// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Ranges
 *
 * Owns UVM_QUERY_RANGE: what memory there is around an address, and where its pages are.
 * A range has no object of its own: it is mappings side by side of the same kind, with one
 * policy (policy.c), and where pages are the CPU's page table tells, and the blocks of
 * managed memory. So what is told is what was found, block by block, while others may
 * change it.
 */
#include "managed.h"

#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "residency.h"

/**
 * struct uvm_range_query - an answer that is being made
 * @cmd: the command
 * @vs: VA space
 * @start: of the range
 * @end: of the range
 * @pages: by &uvm_range_copies.id, an xa_mk_value(): pages that are there
 * @pfns: room for a block
 */
struct uvm_range_query {
	struct uvm_query_range *cmd;
	struct uvm_va_space *vs;
	unsigned long start;
	unsigned long end;
	struct xarray pages;
	unsigned long pfns[UVM_BLOCK_PAGES];
};

static enum uvm_range_kind uvm_range_kind(struct uvm_va_space *vs,
					  const struct vm_area_struct *vma)
{
	if (uvm_vma_is_managed(vma) && uvm_managed_vs(vma) == vs)
		return UVM_RANGE_MANAGED;
	return UVM_RANGE_ORDINARY;
}

/* Mappings side by side that are managed are one range, as core doesn't merge them. */
static void uvm_range_grow(struct uvm_range_query *q, unsigned long first,
			   unsigned long last)
{
	struct vm_area_struct *vma;

	while (q->start > first) {
		vma = vma_lookup(q->vs->mm, q->start - 1);
		if (!vma || uvm_range_kind(q->vs, vma) != UVM_RANGE_MANAGED)
			break;
		q->start = vma->vm_start;
	}
	while (q->end - 1 < last) {
		vma = vma_lookup(q->vs->mm, q->end);
		if (!vma || uvm_range_kind(q->vs, vma) != UVM_RANGE_MANAGED)
			break;
		q->end = vma->vm_end;
	}
}

/* Where there is nothing, as far as that is so. */
static void uvm_range_hole(struct uvm_range_query *q, unsigned long address)
{
	struct vm_area_struct *next = find_vma(q->vs->mm, address), *prev;

	VMA_ITERATOR(vmi, q->vs->mm, address);

	prev = vma_prev(&vmi);
	q->cmd->out_kind = UVM_RANGE_NONE;
	q->start = prev ? prev->vm_end : 0;
	q->end = next ? next->vm_start : TASK_SIZE;
}

static void uvm_range_find(struct uvm_range_query *q)
{
	unsigned long address = q->cmd->address & PAGE_MASK, first, last;
	struct vm_area_struct *vma = vma_lookup(q->vs->mm, address);
	struct uvm_policy policy;

	uvm_policies_lookup(&q->vs->policies, address, &policy, &first, &last);
	q->cmd->out_policy = uvm_policy_switches(&policy);
	if (!vma) {
		uvm_range_hole(q, address);
		return;
	}
	q->start = vma->vm_start;
	q->end = vma->vm_end;
	q->cmd->out_kind = uvm_range_kind(q->vs, vma);
	if (q->cmd->out_kind == UVM_RANGE_MANAGED)
		uvm_range_grow(q, first, last);
	q->start = max(q->start, first);
	q->end = min(q->end - 1, last) + 1;
}

static int uvm_range_add(struct uvm_range_query *q, u32 id, unsigned long nr)
{
	void *entry = xa_load(&q->pages, id);

	if (!nr)
		return 0;
	if (entry)
		nr += xa_to_value(entry);
	return xa_err(xa_store(&q->pages, id, xa_mk_value(nr), GFP_KERNEL));
}

/* A block's part of ordinary memory, or of a managed range. */
static int uvm_range_count_ordinary(struct uvm_range_query *q, unsigned long addr,
				    unsigned long npages)
{
	struct uvm_residency res;
	int ret = 0;

	if (uvm_mirror_snapshot(q->vs, addr, npages, q->pfns, NULL))
		return 0;
	while (npages-- && !ret) {
		uvm_residency_of(q->pfns[npages], &res);
		if (res.where == UVM_WHERE_CPU)
			ret = uvm_range_add(q, UVM_PROCESSOR_CPU, 1);
		else if (res.where == UVM_WHERE_GPU)
			ret = uvm_range_add(q, res.id, 1);
	}
	return ret;
}

/* How many of the pages from @first up to @end? */
static unsigned int uvm_range_weight(const unsigned long *pages, unsigned int first,
				     unsigned int end)
{
	unsigned int nr = 0;

	for (; first < end; first++)
		nr += test_bit(first, pages);
	return nr;
}

/*
 * The first block with pages, from @addr on; those between have nothing to count, however
 * many they are. What is no range any more since it was found has no blocks.
 */
static int uvm_range_count_managed(struct uvm_range_query *q, unsigned long addr,
				   unsigned long *next)
{
	struct uvm_block *block = uvm_block_next(q->vs, &addr, q->end);
	struct uvm_block_gpu *bg;
	unsigned int first, end;
	int ret;

	*next = q->end;
	if (!block)
		return 0;
	*next = min(q->end, block->base + UVM_BLOCK_SIZE);
	first = uvm_block_index(addr);
	end = uvm_block_index(*next - 1) + 1;
	mutex_lock(&block->lock);
	ret = uvm_range_add(q, UVM_PROCESSOR_CPU, uvm_range_weight(block->cpu, first, end));
	list_for_each_entry(bg, &block->gpus, link)
		if (!ret)
			ret = uvm_range_add(q, bg->gpu->id,
					    uvm_range_weight(bg->here, first, end));
	mutex_unlock(&block->lock);
	uvm_block_put(block);
	return ret;
}

/* The part of a block; @next is where the next one begins. */
static int uvm_range_count_block(struct uvm_range_query *q, unsigned long addr,
				 unsigned long *next)
{
	struct vm_area_struct *vma;

	if (q->cmd->out_kind == UVM_RANGE_MANAGED)
		return uvm_range_count_managed(q, addr, next);
	*next = min(q->end, ALIGN_DOWN(addr, UVM_BLOCK_SIZE) + UVM_BLOCK_SIZE);
	vma = vma_lookup(q->vs->mm, addr);
	/* It may have changed since the range was found. */
	if (!vma || uvm_range_kind(q->vs, vma) != q->cmd->out_kind)
		return 0;
	return uvm_range_count_ordinary(q, addr, (*next - addr) >> PAGE_SHIFT);
}

/* Lets others have mmap_lock between blocks. */
static int uvm_range_count(struct uvm_range_query *q)
{
	unsigned long addr, next;
	int ret;

	for (addr = q->start; addr < q->end; addr = next) {
		next = q->end;
		ret = uvm_mm_retain(q->vs);
		if (ret)
			return ret;
		ret = mmap_read_lock_killable(q->vs->mm);
		if (!ret) {
			ret = uvm_range_count_block(q, addr, &next);
			mmap_read_unlock(q->vs->mm);
		}
		uvm_mm_release(q->vs);
		if (ret)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static int uvm_range_tell(struct uvm_range_query *q)
{
	struct uvm_range_copies __user *out = u64_to_user_ptr(q->cmd->copies);
	struct uvm_range_copies copies = { 0 };
	unsigned long id;
	void *entry;

	q->cmd->out_base = q->start;
	q->cmd->out_length = q->end - q->start;
	q->cmd->out_count = 0;
	xa_for_each(&q->pages, id, entry) {
		copies.id = id;
		copies.pages = xa_to_value(entry);
		if (q->cmd->out_count < q->cmd->count &&
		    copy_to_user(out + q->cmd->out_count, &copies, sizeof(copies)))
			return -EFAULT;
		q->cmd->out_count++;
	}
	return 0;
}

static int uvm_range_query(struct uvm_range_query *q)
{
	int ret = uvm_mm_retain(q->vs);

	if (ret)
		return ret;
	ret = mmap_read_lock_killable(q->vs->mm);
	if (!ret) {
		uvm_range_find(q);
		mmap_read_unlock(q->vs->mm);
	}
	uvm_mm_release(q->vs);
	if (!ret && q->cmd->out_kind != UVM_RANGE_NONE)
		ret = uvm_range_count(q);
	return ret ? ret : uvm_range_tell(q);
}

/**
 * uvm_query_range_ioctl() - UVM_QUERY_RANGE
 * @ucmd: on a VA space. Copies to user memory, so the mm isn't retained meanwhile.
 *
 * Return: 0, -EINVAL, -EFAULT, -EOPNOTSUPP, -ESRCH, -EINTR, -ENOMEM.
 */
int uvm_query_range_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_query_range *cmd = ucmd->cmd;
	struct uvm_range_query *q;
	int ret;

	if (!ucmd->vs->mm)
		return -EOPNOTSUPP;
	if (cmd->address >= TASK_SIZE)
		return -EINVAL;
	q = kvzalloc(sizeof(*q), GFP_KERNEL);
	if (!q)
		return -ENOMEM;
	q->cmd = cmd;
	q->vs = ucmd->vs;
	xa_init(&q->pages);
	ret = uvm_range_query(q);
	xa_destroy(&q->pages);
	kvfree(q);
	return ret;
}
