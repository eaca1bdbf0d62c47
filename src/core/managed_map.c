// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: GPUs map managed memory
 *
 * Owns what mirror.c is told of managed memory: that what a GPU's fault wants is there,
 * and then where it is. HMM isn't asked to make such a page present: to the CPU's page
 * table, a page on a GPU is absent, and a fault of the CPU would bring it home. Nor is what
 * HMM says of it believed: a block knows better.
 *
 * From there on such pages are like any other. The order is the one of mirror.c: the
 * sequence number of the span, the look, the notifier lock, the number again, the entries.
 * It is right for them, too, since whatever changes where a page is, or whose it is, makes
 * the page busy, or has the mapping for itself, and then calls the notifier, by
 * uvm_block_unmap() or as core does it:
 *
 * - Who looks before that finds that the number has changed, or has written entries that
 *   the notifier takes away.
 * - Who looks after that sees that the page is busy, and maps nothing; or that it has come
 *   to another place.
 *
 * Page frames of GPUs without struct pages are names only, see UVM_PSEUDO_PFN.
 */
#include "managed.h"

#include <linux/hmm.h>

/* So often a page that others keep changing is looked at, before mirror.c begins anew. */
#define UVM_MANAGED_MAP_TRIES	4

/**
 * uvm_managed_mask() - which pages of a block are managed
 * @mm: its mmap_lock is held
 * @base: address of the block
 * @mask: receives them: those at their place, of whichever VA space of the mm
 *
 * Return: true if there is one.
 */
bool uvm_managed_mask(struct mm_struct *mm, unsigned long base, unsigned long *mask)
{
	struct vm_area_struct *vma;
	bool any = false;

	VMA_ITERATOR(vmi, mm, base);

	bitmap_zero(mask, UVM_BLOCK_PAGES);
	for_each_vma_range(vmi, vma, base + UVM_BLOCK_SIZE) {
		if (!uvm_vma_is_managed(vma) || !uvm_managed_vs(vma))
			continue;
		bitmap_set(mask, uvm_vma_first(vma, base),
			   uvm_vma_end(vma, base) - uvm_vma_first(vma, base));
		any = true;
	}
	return any;
}

/* ---- what is wanted is there ---- */

/* Its memory is lost, and it isn't there any more to be asked. */
static bool uvm_gpu_is_gone(const struct uvm_gpu *gpu)
{
	return READ_ONCE(gpu->dead) && READ_ONCE(gpu->lost);
}

/* The last GPU that has the page is gone, and nobody else has it. */
static bool uvm_block_lost(struct uvm_block *block, unsigned int i)
{
	struct uvm_block_gpu *bg = uvm_block_gpu_of_page(block, i, NULL);

	return bg && !test_bit(i, block->cpu) && uvm_gpu_is_gone(bg->gpu);
}

/*
 * One look. 0 if somebody has the page, -EFAULT if it is lost, -EBUSY if it is in a move,
 * -ENOENT if nobody has it.
 */
static int uvm_map_look(struct uvm_block *block, unsigned int i)
{
	int ret = 0;

	mutex_lock(&block->lock);
	if (uvm_block_is_busy(block, i, i + 1))
		ret = -EBUSY;
	else if (!uvm_block_pfn(block, i, NULL))
		ret = -ENOENT;
	else if (uvm_block_lost(block, i))
		ret = -EFAULT;
	mutex_unlock(&block->lock);
	return ret;
}

/*
 * A page that nobody has is the CPU's from now on. A move of somebody else is waited for:
 * it needs engines, and no lock that the caller has.
 */
static int uvm_map_make_ready(struct uvm_block *block, unsigned int i,
			      const struct vm_area_struct *vma)
{
	int tries, ret;

	for (tries = 0; tries < UVM_MANAGED_MAP_TRIES; tries++) {
		ret = uvm_map_look(block, i);
		if (ret == -EBUSY)
			uvm_block_wait_idle(block, i, i + 1, false);
		else if (ret != -ENOENT)
			return ret;
		else if (uvm_block_populate_vma(block, i, vma))
			return -ENOMEM;
	}
	return 0;
}

/* May the process itself do all that is wanted there? As HMM says it. */
static int uvm_map_check(const struct vm_area_struct *vma, unsigned int first,
			 unsigned int end, const u8 *access)
{
	unsigned int i;

	for (i = first; i < end; i++) {
		if (access[i] && !(vma->vm_flags & VM_READ))
			return -EFAULT;
		if (access[i] > UVM_ACCESS_READ && !(vma->vm_flags & VM_WRITE))
			return -EPERM;
	}
	return 0;
}

static int uvm_map_make_vma_ready(const struct vm_area_struct *vma, unsigned long base,
				  const u8 *access, const struct uvm_gpu *gpu)
{
	unsigned int i = uvm_vma_first(vma, base), end = uvm_vma_end(vma, base);
	struct uvm_block *block;
	int ret = uvm_map_check(vma, i, end, access);

	while (i < end && !access[i])
		i++;
	if (ret || i == end)
		return ret;
	block = uvm_block_get(uvm_managed_vs(vma), base, true);
	if (!block)
		return -ENOMEM;
	uvm_block_collapse_shared(block, i, end, gpu, access);
	for (; !ret && i < end; i++)
		if (access[i])
			ret = uvm_map_make_ready(block, i, vma);
	uvm_block_put(block);
	return ret;
}

/**
 * uvm_managed_make_ready() - managed pages that a GPU's fault wants are somewhere
 * @mm: its mmap_lock is held, and nothing of a GPU space that is waited for
 * @base: address of the block
 * @access: by page, enum uvm_access of what is wanted, or 0
 * @gpu: who wants it
 *
 * What is to be written has one holder afterwards, the GPU if it has a copy. Waits for
 * moves of others, so the caller has none under way. What is allocated is charged to the
 * active memory cgroup. The pages may be elsewhere the next moment.
 *
 * Return: 0; -EFAULT or -EPERM, as HMM, if the process may not do that, or a page is lost;
 * -ENOMEM.
 */
int uvm_managed_make_ready(struct mm_struct *mm, unsigned long base, const u8 *access,
			   const struct uvm_gpu *gpu)
{
	struct vm_area_struct *vma;
	int ret = 0;

	VMA_ITERATOR(vmi, mm, base);

	lockdep_assert_held(&mm->mmap_lock);
	for_each_vma_range(vmi, vma, base + UVM_BLOCK_SIZE) {
		if (uvm_vma_is_managed(vma) && uvm_managed_vs(vma))
			ret = uvm_map_make_vma_ready(vma, base, access, gpu);
		if (ret)
			break;
	}
	return ret;
}

/* ---- where it is ---- */

/* As HMM would say it, of what may be mapped as it is; else 0. */
static unsigned long uvm_map_pfn(struct uvm_block *block, unsigned int i,
				 unsigned long flags, const struct uvm_gpu *gpu)
{
	unsigned long pfn;

	if (uvm_block_is_busy(block, i, i + 1) || uvm_block_lost(block, i))
		return 0;
	pfn = uvm_block_pfn(block, i, gpu);
	if (!pfn)
		return 0;
	if (uvm_block_is_shared(block, i))
		flags &= ~HMM_PFN_WRITE;
	return pfn | flags;
}

/*
 * Is all of the block in the GPU's memory, nowhere else, and in one piece? Then one large
 * entry does, unless it would make needed what was discarded.
 */
static bool uvm_map_is_whole(struct uvm_block *block, const struct uvm_gpu *gpu)
{
	struct uvm_block_gpu *bg = uvm_block_gpu_find(block, gpu);
	unsigned int i;

	if (!bg || bg->nr != UVM_BLOCK_PAGES || !list_is_singular(&block->gpus) ||
	    !bitmap_empty(block->cpu, UVM_BLOCK_PAGES) ||
	    !bitmap_empty(block->busy, UVM_BLOCK_PAGES) ||
	    !IS_ALIGNED(bg->index[0], UVM_BLOCK_PAGES) ||
	    READ_ONCE(bg->res->discarded) || uvm_gpu_is_gone(gpu))
		return false;
	for (i = 1; i < UVM_BLOCK_PAGES; i++)
		if (bg->index[i] != bg->index[0] + i)
			return false;
	return true;
}

/* As HMM would say it of a huge page. */
static void uvm_map_look_whole(struct uvm_block *block, unsigned long *pfns,
			       unsigned long flags, const struct uvm_gpu *gpu)
{
	unsigned long pfn = uvm_block_pfn(block, 0, gpu) | flags | UVM_HMM_WHOLE;
	unsigned int i;

	for (i = 0; i < UVM_BLOCK_PAGES; i++)
		pfns[i] = pfn + i;
}

static void uvm_map_look_at_vma(const struct vm_area_struct *vma, unsigned long base,
				unsigned long *pfns, const struct uvm_gpu *gpu)
{
	unsigned int i = uvm_vma_first(vma, base), end = uvm_vma_end(vma, base);
	unsigned long flags = HMM_PFN_VALID;
	struct uvm_block *block;

	memset(pfns + i, 0, (end - i) * sizeof(*pfns));
	if (!(vma->vm_flags & VM_READ))
		return;
	if (vma->vm_flags & VM_WRITE)
		flags |= HMM_PFN_WRITE;
	block = uvm_block_get(uvm_managed_vs(vma), base, false);
	if (!block)
		return;
	mutex_lock(&block->lock);
	if (end - i == UVM_BLOCK_PAGES && uvm_map_is_whole(block, gpu))
		uvm_map_look_whole(block, pfns, flags, gpu);
	else
		for (; i < end; i++)
			pfns[i] = uvm_map_pfn(block, i, flags, gpu);
	mutex_unlock(&block->lock);
	uvm_block_put(block);
}

/**
 * uvm_managed_map_look() - where managed pages of a block are, to be mapped there
 * @mm: its mmap_lock is held
 * @base: address of the block
 * @pfns: what HMM said; of managed pages it is replaced by what HMM would say if it knew:
 *	HMM_PFN_WRITE if the page may be written where it is, and nothing at all of one
 *	that is in a move
 * @gpu: who is to map them: of several places its own is meant, or else the CPU's
 *
 * Inside uvm_mirror_look_begin(), and after the sequence number was taken which tells if
 * it is still true.
 */
void uvm_managed_map_look(struct mm_struct *mm, unsigned long base, unsigned long *pfns,
			  const struct uvm_gpu *gpu)
{
	struct vm_area_struct *vma;

	VMA_ITERATOR(vmi, mm, base);

	lockdep_assert_held(&mm->mmap_lock);
	for_each_vma_range(vmi, vma, base + UVM_BLOCK_SIZE)
		if (uvm_vma_is_managed(vma) && uvm_managed_vs(vma))
			uvm_map_look_at_vma(vma, base, pfns, gpu);
}
