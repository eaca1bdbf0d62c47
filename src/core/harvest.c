// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Accessed bits
 *
 * Owns the question which pages of an mm a GPU used of late. The GPU notes it in its
 * page tables; whoever asks takes the notes away, so the answer is about the time since
 * it was last asked for, by anybody.
 *
 * A process may have several VA spaces, and each has its own page tables in the GPU: a
 * page was used if it was through any of them. Peers that reach the page in the GPU's
 * memory note it in tables of their own.
 *
 * Bits are taken and the TLB is told under &uvm_gpu_space.notifier_lock, as entries are
 * written. Between the two an access may go unnoticed, through a translation that the
 * TLB still has; but that page is reported as used just then.
 */
#include "core.h"

#include <linux/bitmap.h>

#include "harvest.h"

/**
 * uvm_can_harvest() - does a GPU note what it accesses?
 * @gpu: the GPU
 */
bool uvm_can_harvest(const struct uvm_gpu *gpu)
{
	return gpu->desc.ops->harvest;
}

/* The next GPU space of @mm from *@id on, with a reference and entered; or NULL. */
static struct uvm_gpu_space *uvm_harvest_next(struct uvm_gpu *gpu,
					      const struct mm_struct *mm,
					      unsigned long *id)
{
	struct uvm_gpu_space *gs;

	xa_lock(&gpu->spaces);
	for (gs = xa_find(&gpu->spaces, id, ULONG_MAX, XA_PRESENT); gs;
	     gs = xa_find_after(&gpu->spaces, id, ULONG_MAX, XA_PRESENT)) {
		if (gs->vs->mm != mm || !uvm_gpu_space_enter(gs))
			continue;
		kref_get(&gs->ref);
		break;
	}
	xa_unlock(&gpu->spaces);
	return gs;
}

/* As long as somebody is in it, it has its page tables. */
static void uvm_harvest_space(struct uvm_gpu_space *gs, unsigned long base,
			      unsigned long *accessed)
{
	const struct uvm_gpu_ops *ops = gs->gpu->desc.ops;
	DECLARE_BITMAP(seen, UVM_BLOCK_PAGES);

	bitmap_zero(seen, UVM_BLOCK_PAGES);
	mutex_lock(&gs->notifier_lock);
	if (ops->harvest(gs->as, base, UVM_BLOCK_SIZE, seen))
		ops->tlb_invalidate(gs->as, base, UVM_BLOCK_SIZE);
	mutex_unlock(&gs->notifier_lock);
	bitmap_or(accessed, accessed, seen, UVM_BLOCK_PAGES);
}

/**
 * uvm_harvest() - which pages of a block did a GPU access?
 * @gpu: the GPU, to which the caller holds a reference
 * @mm: whose; compared, never followed
 * @base: address of the block
 * @accessed: UVM_BLOCK_PAGES bits, to be set for pages that were accessed since the
 *	last call for the block
 *
 * What happened before an entry was taken from the GPU is forgotten. May sleep, but
 * waits for engines only; takes &uvm_gpu_space.notifier_lock.
 *
 * Return: number of bits set; 0 also if the GPU can't tell (uvm_can_harvest()), or has
 * nothing of the block.
 */
unsigned int uvm_harvest(struct uvm_gpu *gpu, struct mm_struct *mm,
			 unsigned long base, unsigned long *accessed)
{
	struct uvm_gpu_space *gs;
	unsigned long id = 0;

	bitmap_zero(accessed, UVM_BLOCK_PAGES);
	if (!uvm_can_harvest(gpu) || fls64(base) > gpu->desc.va_bits)
		return 0;
	while ((gs = uvm_harvest_next(gpu, mm, &id))) {
		uvm_harvest_space(gs, base, accessed);
		uvm_gpu_space_leave(gs);
		uvm_gpu_space_put(gs);
		id++;
	}
	return bitmap_weight(accessed, UVM_BLOCK_PAGES);
}

/**
 * uvm_unmap_block() - take a block's entries from a GPU, to see who wants them
 * @gpu: the GPU, to which the caller holds a reference
 * @mm: whose; compared, never followed
 * @base: address of the block
 *
 * May sleep, but waits for engines only; takes &uvm_gpu_space.notifier_lock.
 */
void uvm_unmap_block(struct uvm_gpu *gpu, const struct mm_struct *mm, unsigned long base)
{
	struct uvm_gpu_space *gs;
	unsigned long id = 0;

	while ((gs = uvm_harvest_next(gpu, mm, &id))) {
		uvm_mirror_unmap(gs, base, base + UVM_BLOCK_SIZE);
		uvm_gpu_space_leave(gs);
		uvm_gpu_space_put(gs);
		id++;
	}
}
