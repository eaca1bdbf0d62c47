// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Discard
 *
 * Owns UVM_DISCARD: a process says that it doesn't need what its memory holds.
 *
 * A page in private memory stays where it is, with a bit in &uvm_lru.discarded. No GPU
 * maps it, nor can the CPU without a fault, so nobody uses it behind our back. The bit
 * spares the copy when the page moves: its new place is zeroed. Whoever maps the page for
 * a GPU takes the bit away: it is a page like any other again. Eager, the page moves home
 * at once in the same way, and so can one in coherent memory, where the CPU's stores
 * would not be seen.
 *
 * What is written after the command returned is never lost:
 *
 * - A bit is set only while core keeps the page to itself, between the two halves of a
 *   move that leads nowhere (&uvm_target.mark). The notifier of the first half has taken
 *   the page from all GPUs, whatever VA space they map it in, also one that goes down.
 *   Until the second half the CPU's page table has a migration entry, which nobody maps:
 *   who looked before sees by the sequence number that he looked in vain. So no page with
 *   the bit is mapped by a GPU, and the page is the one at that address, not one that
 *   took its place.
 * - A GPU's entry is written under &uvm_gpu_space.notifier_lock, with a sequence number
 *   that proves the page to be there. The bit is taken away there, before the entry is
 *   written. A move that wants the page has to take that lock in its notifier: either
 *   the entry comes first, and the move finds no bit, or it is not written.
 * - A move looks at the bit when the page is its own: nobody can map it, so the bit stays
 *   what it is. If the page isn't moved after all, it keeps it.
 * - The bit goes with the page, when that is freed: before it can be taken again.
 *
 * Only pages that the mm alone has, and may write, are discarded: what is shared since a
 * fork is the other's, too. Since mmap_lock is held, there is no fork in between. One
 * that comes later shares a discarded page: zeros, or what it held, for both.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/hmm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "move.h"
#include "residency.h"

/* So often a block is gone through, for pages that somebody had just then. */
#define UVM_DISCARD_TRIES	2

/**
 * struct uvm_discarding - a UVM_DISCARD under way
 * @vs: VA space; its mm is retained
 * @cmd: the argument; its counts are filled in
 * @mv: a move
 * @pfns: room for a snapshot
 * @want: pages of the part of a block at hand that are to be discarded, and were not yet
 * @mark: the same, of the whole block
 */
struct uvm_discarding {
	struct uvm_va_space *vs;
	struct uvm_discard *cmd;
	struct uvm_move *mv;
	unsigned long pfns[UVM_BLOCK_PAGES];
	DECLARE_BITMAP(want, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(mark, UVM_BLOCK_PAGES);
};

static bool uvm_discard_is_eager(const struct uvm_discarding *d)
{
	return d->cmd->flags & UVM_DISCARD_EAGER;
}

/* Why the page can't be discarded; UVM_DISCARD_SKIP_NR if it can. */
static enum uvm_discard_skip uvm_discard_reason(const struct uvm_discarding *d,
						unsigned long hmm_pfn)
{
	struct uvm_gpu *gpu = NULL;
	struct uvm_residency res;

	uvm_residency_of(hmm_pfn, &res);
	if (res.where != UVM_WHERE_GPU)
		return UVM_DISCARD_SKIP_NOT_ON_GPU;
	if (hmm_pfn & HMM_PFN_VALID)
		gpu = uvm_gpu_of_hmm(hmm_pfn);
	if (!gpu || (gpu->desc.memory_kind != UVM_MEMORY_PRIVATE && !uvm_discard_is_eager(d)))
		return UVM_DISCARD_SKIP_MEMORY_KIND;
	if (!(hmm_pfn & HMM_PFN_WRITE))
		return UVM_DISCARD_SKIP_SHARED;
	return UVM_DISCARD_SKIP_NR;
}

/* What is to be discarded of a part of a block. The others are counted. */
static void uvm_discard_look(struct uvm_discarding *d, unsigned long addr,
			     unsigned long npages)
{
	enum uvm_discard_skip reason;
	unsigned long i;
	int srcu;

	bitmap_zero(d->want, UVM_BLOCK_PAGES);
	srcu = uvm_mirror_look_begin();
	if (uvm_mirror_snapshot(d->vs, addr, npages, d->pfns, NULL))
		memset(d->pfns, 0, sizeof(d->pfns));
	for (i = 0; i < npages; i++) {
		reason = uvm_discard_reason(d, d->pfns[i]);
		if (reason == UVM_DISCARD_SKIP_NR)
			__set_bit(i, d->want);
		else
			d->cmd->out_skipped[reason]++;
	}
	uvm_mirror_look_end(srcu);
}

/*
 * Notes that nobody needs the pages. A huge page is taken as a whole, also for a part of
 * it: so it stays one.
 */
static void uvm_discard_lazily(struct uvm_discarding *d, struct vm_area_struct *vma,
			       unsigned long start, unsigned long end)
{
	const struct uvm_target nowhere = {
		.node = NUMA_NO_NODE,
		.from = UVM_ANY_GPU,
		.mark = d->mark,
	};
	unsigned long shift = 0;

	if (hmm_pfn_to_map_order(d->pfns[find_first_bit(d->want, UVM_BLOCK_PAGES)]) >=
	    UVM_BLOCK_SHIFT - PAGE_SHIFT) {
		shift = (start % UVM_BLOCK_SIZE) >> PAGE_SHIFT;
		start = ALIGN_DOWN(start, UVM_BLOCK_SIZE);
		end = start + UVM_BLOCK_SIZE;
	}
	bitmap_shift_left(d->mark, d->want, shift, UVM_BLOCK_PAGES);
	uvm_move_reset(d->mv, start, end);
	if (uvm_move_sync(d->mv, vma, start, end, MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
			  &nowhere))
		return;
	bitmap_shift_right(d->mark, d->mv->discarded, shift, UVM_BLOCK_PAGES);
	bitmap_andnot(d->want, d->want, d->mark, UVM_BLOCK_PAGES);
}

/* Has the pages move home, with nothing in them, run by run. */
static void uvm_discard_eagerly(struct uvm_discarding *d, struct vm_area_struct *vma,
				unsigned long start, unsigned long end)
{
	const struct uvm_target home = {
		.node = NUMA_NO_NODE,
		.from = UVM_ANY_GPU,
		.discard = true,
	};
	unsigned int first, last;

	uvm_move_reset(d->mv, start, end);
	for_each_set_bitrange(first, last, d->want, UVM_BLOCK_PAGES)
		uvm_move_from_gpus(d->mv, vma, start + first * PAGE_SIZE,
				   start + last * PAGE_SIZE, &home);
	bitmap_andnot(d->want, d->want, d->mv->moved, UVM_BLOCK_PAGES);
}

/* A block, or a part of one, in one VMA. */
static void uvm_discard_block(struct uvm_discarding *d, struct vm_area_struct *vma,
			      unsigned long start, unsigned long end)
{
	unsigned long nr, left, starved = 0;
	int tries = UVM_DISCARD_TRIES;

	uvm_discard_look(d, start, (end - start) >> PAGE_SHIFT);
	nr = bitmap_weight(d->want, UVM_BLOCK_PAGES);
	while (tries-- && !bitmap_empty(d->want, UVM_BLOCK_PAGES)) {
		if (uvm_discard_is_eager(d))
			uvm_discard_eagerly(d, vma, start, end);
		else
			uvm_discard_lazily(d, vma, start, end);
	}
	left = bitmap_weight(d->want, UVM_BLOCK_PAGES);
	if (left && uvm_discard_is_eager(d)) {
		bitmap_and(d->want, d->want, d->mv->starved, UVM_BLOCK_PAGES);
		starved = bitmap_weight(d->want, UVM_BLOCK_PAGES);
	}
	d->cmd->out_discarded += nr - left;
	d->cmd->out_skipped[UVM_DISCARD_SKIP_NO_MEMORY] += starved;
	d->cmd->out_skipped[UVM_DISCARD_SKIP_BUSY] += left - starved;
}

/* The next block of the VMA, as far as there is one policy. Returns where it ends. */
static unsigned long uvm_discard_next(struct uvm_discarding *d, struct vm_area_struct *vma,
				      unsigned long addr, unsigned long end)
{
	unsigned long last;

	end = min3(end, vma->vm_end, ALIGN(addr + 1, UVM_BLOCK_SIZE));
	last = end - 1;
	if (uvm_discard_is_eager(d) && !uvm_advise_allows(vma->vm_mm, addr, &last))
		d->cmd->out_skipped[UVM_DISCARD_SKIP_POLICY] += (last + 1 - addr) >> PAGE_SHIFT;
	else if (uvm_vma_moves_for(d->vs, vma))
		uvm_discard_block(d, vma, addr, last + 1);
	else
		d->cmd->out_skipped[UVM_DISCARD_SKIP_NOT_ON_GPU] += (last + 1 - addr) >> PAGE_SHIFT;
	return last + 1;
}

/* As far as it goes without a pause. mmap_lock is held. */
static int uvm_discard_some(struct uvm_discarding *d, unsigned long end)
{
	struct mm_struct *mm = d->vs->mm;
	struct vm_area_struct *vma;
	unsigned long addr;

	do {
		addr = d->cmd->base + d->cmd->out_done;
		vma = vma_lookup(mm, addr);
		if (!vma || !uvm_vma_accessible(vma))
			return -EFAULT;
		addr = uvm_discard_next(d, vma, addr, end);
		d->cmd->out_done = addr - d->cmd->base;
	} while (addr < end && !need_resched() && !mmap_lock_is_contended(mm) &&
		 !fatal_signal_pending(current) && !uvm_mm_releasing(d->vs));
	return 0;
}

static int uvm_discard_run(struct uvm_discarding *d)
{
	unsigned long start = d->cmd->base, end = start + d->cmd->length;
	struct mm_struct *mm = d->vs->mm;
	int ret;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	ret = uvm_check_mapped(mm, start, end);
	mmap_read_unlock(mm);
	while (!ret && d->cmd->out_done < d->cmd->length) {
		if (uvm_mm_releasing(d->vs))
			return -ESRCH;
		cond_resched();
		if (fatal_signal_pending(current) || mmap_read_lock_killable(mm))
			return -EINTR;
		ret = uvm_discard_some(d, end);
		mmap_read_unlock(mm);
	}
	return ret;
}

/**
 * uvm_discard_ioctl() - UVM_DISCARD
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -EINVAL, -EFAULT, -EINTR, -ESRCH, -ENOMEM.
 */
int uvm_discard_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_discard *cmd = ucmd->cmd;
	struct uvm_discarding *d;
	int ret;

	cmd->out_discarded = 0;
	memset(cmd->out_skipped, 0, sizeof(cmd->out_skipped));
	cmd->out_done = 0;
	ret = uvm_check_range(cmd->base, cmd->length);
	if (ret)
		return ret;
	d = kvzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return -ENOMEM;
	d->vs = ucmd->vs;
	d->cmd = cmd;
	d->mv = uvm_move_alloc(UVM_BLOCK_PAGES);
	ret = d->mv ? uvm_discard_run(d) : -ENOMEM;
	uvm_move_free(d->mv);
	kvfree(d);
	return ret;
}
