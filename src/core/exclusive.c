// SPDX-License-Identifier: GPL-2.0-only
/*
 * Atomics of a GPU on a page in system memory: the page is the GPU's alone until somebody
 * else touches it.
 */
#include "mirror.h"

#include <linux/delay.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>

#include "managed.h"
#include "move.h"

/*
 * A CPU that uses a page all the time takes it back before the GPU's access has come to
 * it. So when a page had to be taken so often, each time so soon after the last one, it
 * is kept for a moment.
 */
#define UVM_CONTENDED_TIMES	4
#define UVM_CONTENDED_LAPSE_US	(100 * USEC_PER_MSEC)

/* At first, and at most; twice as long each time. */
#define UVM_CONTENDED_HOLD_US	64U
#define UVM_CONTENDED_MAX_US	8192U

/*
 * Writes the entry of a page that the CPU was just kept from. The page's lock keeps
 * others from undoing that; but for whoever gives the page up, which the notifier
 * tells.
 */
static int uvm_mirror_write_atomic(struct uvm_gpu_space *gs, struct uvm_span *span,
				   unsigned long seq, unsigned long addr,
				   struct page *page)
{
	struct uvm_dma_block *block = span->blocks[uvm_span_block(addr)];
	unsigned int i = (addr >> PAGE_SHIFT) % UVM_BLOCK_PAGES;
	struct uvm_gpu_entry entry = {
		.va = addr,
		.shift = PAGE_SHIFT,
		.aperture = UVM_APERTURE_SYSTEM,
		.flags = UVM_ENTRY_WRITE | UVM_ENTRY_ATOMIC,
	};
	dma_addr_t map = UVM_DMA_NONE;
	int ret = -EBUSY;

	if (!uvm_dma_serves(uvm_dma_of_page(block, i), true)) {
		map = uvm_dma_map(gs->gpu, page, UVM_DMA_WRITE);
		if (map == UVM_DMA_NONE)
			return -ENOMEM;
	}
	mutex_lock(&gs->notifier_lock);
	/* Large ones went with the huge page, whose pages alone can be exclusive. */
	if (!mmu_interval_read_retry(&span->mni, seq) &&
	    !uvm_dma_is_huge(block->map[0])) {
		if (map != UVM_DMA_NONE)
			swap(block->map[i], map);
		ret = uvm_dma_serves(block->map[i], true) ? 0 : -EBUSY;
	}
	if (!ret) {
		block->map[i] |= UVM_DMA_ALONE;
		entry.addr = block->map[i] & ~UVM_DMA_FLAGS;
		gs->gpu->desc.ops->map(gs->as, &entry, 1);
		if (map != UVM_DMA_NONE)
			gs->gpu->desc.ops->tlb_invalidate(gs->as, addr, PAGE_SIZE);
		folio_mark_dirty(page_folio(page));
	}
	mutex_unlock(&gs->notifier_lock);
	uvm_dma_unmap(gs->gpu, &map);
	return ret;
}

/* How long the page is to be kept that is taken now, us; 0: not at all. */
static unsigned int uvm_mirror_contended(struct uvm_mirror_request *req,
					 unsigned long addr, u64 now)
{
	unsigned long page = addr >> PAGE_SHIFT;
	struct uvm_contended *slot = &req->contended[page % UVM_CONTENDED_SLOTS];

	if (slot->addr != addr || now - slot->when > UVM_CONTENDED_LAPSE_US)
		slot->times = 0;
	slot->addr = addr;
	slot->when = now;
	slot->times++;
	if (slot->times <= UVM_CONTENDED_TIMES)
		return 0;
	return min(UVM_CONTENDED_HOLD_US <<
		   min(slot->times - UVM_CONTENDED_TIMES - 1, 16U),
		   UVM_CONTENDED_MAX_US);
}

/*
 * Whoever touches the page meanwhile waits for its lock. The GPU's access may go on at
 * once; what others of its accesses report again, for want of an entry, is dropped,
 * and reported after the next replay. mmap_lock stays held, since fork() fails when it
 * comes across an exclusive page that is locked; so who wants to change the address
 * space waits for one step at most.
 *
 * Nothing is right because of the time: page lock and notifier see to that, and a GPU
 * that doesn't come to its access meanwhile faults again. It ends after
 * UVM_CONTENDED_MAX_US and a step.
 */
static void uvm_mirror_keep(struct uvm_gpu_space *gs, unsigned int us)
{
	ktime_t until = ktime_add_us(ktime_get(), us);

	lockdep_assert_held(&gs->vs->mm->mmap_lock);
	uvm_fault_replay(gs);
	while (ktime_before(ktime_get(), until) &&
	       !mmap_lock_is_contended(gs->vs->mm))
		usleep_range(UVM_CONTENDED_HOLD_US, UVM_CONTENDED_HOLD_US * 5 / 4);
}

/*
 * Keeps the CPU and other GPUs from a page in system memory, and lets the GPU do
 * atomics on it, which are reads and writes there. Whoever touches the page afterwards
 * takes it back: the notifier tells. The GPU space is left while user space can make
 * this wait.
 */
static int uvm_mirror_take_exclusive(struct uvm_gpu_space *gs, struct uvm_span *span,
				     struct uvm_mirror_request *req,
				     unsigned long addr)
{
	unsigned long seq = mmu_interval_read_begin(&span->mni);
	struct page *page = ERR_PTR(-EOPNOTSUPP);
	struct mm_struct *mm = gs->vs->mm;
	struct vm_area_struct *vma;
	unsigned int us = 0;
	int ret = -ESRCH;

	uvm_gpu_space_leave(gs);
	mmap_read_lock(mm);
	vma = vma_lookup(mm, addr);
	/* A page of ours can be the GPU's alone where the GPU has it, so it moves. */
	if (vma && uvm_vma_migratable(vma) && !uvm_vma_is_managed(vma))
		page = uvm_make_exclusive(mm, addr, gs);
	if (uvm_gpu_space_enter(gs)) {
		if (IS_ERR(page))
			ret = PTR_ERR(page);
		else if (uvm_page_is_ours(page))
			ret = -EBUSY;
		else
			ret = uvm_mirror_write_atomic(gs, span, seq, addr, page);
	}
	if (!ret)
		us = uvm_mirror_contended(req, addr, ktime_to_us(ktime_get()));
	if (us)
		uvm_mirror_keep(gs, us);
	if (!IS_ERR(page))
		uvm_put_exclusive(page);
	mmap_read_unlock(mm);
	return ret;
}

/*
 * All pages of the block that need it; those that can't be had stay in the map. What is
 * in a peer's memory, where the GPU can't do atomics, has to leave that first.
 */
int uvm_mirror_take_atomics(struct uvm_gpu_space *gs, struct uvm_span *span,
				   struct uvm_mirror_request *req, unsigned long base)
{
	unsigned long i;
	int ret = 0, err;

	if (!(gs->gpu->desc.caps & UVM_GPU_CAP_SYSTEM_ATOMICS) &&
	    !bitmap_empty(req->atomic, UVM_BLOCK_PAGES))
		return -EOPNOTSUPP;
	for_each_set_bit(i, req->atomic, UVM_BLOCK_PAGES) {
		err = -EAGAIN;
		if (!test_bit(i, req->device) &&
		    (UVM_EXCLUSIVE_OF_LARGE || !test_bit(i, req->part)))
			err = uvm_mirror_take_exclusive(gs, span, req,
							base + i * PAGE_SIZE);
		if (!err)
			__clear_bit(i, req->atomic);
		else if (err != -EAGAIN && err != -EOPNOTSUPP)
			return err;
		else if (ret != -EAGAIN)
			ret = err;
	}
	return ret;
}

/* After -EOPNOTSUPP or -EAGAIN of uvm_mirror_block(): the pages that it is about. */
const unsigned long *uvm_mirror_atomics_left(const struct uvm_mirror_request *req)
{
	return req->atomic;
}

static void uvm_block_taken(struct uvm_gpu_space *gs, unsigned long start,
			    unsigned long npages, unsigned long *taken)
{
	struct uvm_span *span = xa_load(&gs->spans, start >> UVM_SPAN_SHIFT);
	unsigned long i, first = (start >> PAGE_SHIFT) % UVM_BLOCK_PAGES;
	struct uvm_dma_block *block;

	if (!span)
		return;
	mutex_lock(&gs->notifier_lock);
	block = span->blocks[uvm_span_block(start)];
	for (i = 0; block && i < npages; i++) {
		dma_addr_t map = block->map[first + i];

		if (map != UVM_DMA_NONE && map & UVM_DMA_ALONE)
			__set_bit(i, taken);
	}
	mutex_unlock(&gs->notifier_lock);
}

/**
 * uvm_mirror_taken() - which pages GPUs have for themselves, for atomics
 * @vs: VA space
 * @start: first address
 * @npages: number of pages, in one block
 * @taken: receives them; the others stay what they are
 *
 * The CPU's page table tells them from absent ones, but HMM doesn't. A hint: the next
 * moment they may be the CPU's again.
 *
 */
void uvm_mirror_taken(struct uvm_va_space *vs, unsigned long start,
		      unsigned long npages, unsigned long *taken)
{
	struct uvm_gpu_space *gs;
	unsigned long id;

	down_read(&vs->lock);
	xa_for_each(&vs->gpu_spaces, id, gs) {
		if (!uvm_gpu_space_enter(gs))
			continue;
		uvm_block_taken(gs, start, npages, taken);
		uvm_gpu_space_leave(gs);
	}
	up_read(&vs->lock);
}
