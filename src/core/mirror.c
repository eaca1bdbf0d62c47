// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Mirroring the CPU's page tables
 *
 * Owns what a GPU has mapped of an address space: its page tables, through the
 * backend, and the DMA addresses in them.
 *
 * The CPU page table is the truth. look.c reads it, an interval notifier says when it
 * changed. A span of 1 GiB has a notifier of its own, so that a change far away costs
 * nobody a retry. uvm_mirror_block() follows the one order that is right: take the
 * sequence number, read the CPU page table, take the notifier lock, check the number,
 * write GPU entries. The notifier takes the same lock, bumps the number and clears the
 * entries; when it returns, no access through them is under way, and their DMA mappings
 * are gone.
 *
 * The fault work of the GPU space is the only one who adds spans, DMA blocks and
 * entries; the notifier only takes away.
 */
#include "mirror.h"

#include <linux/dma-mapping.h>
#include <linux/hmm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

/* How often a block is tried anew when the address space changes under it. */
#define UVM_MIRROR_TRIES	64

/*
 * CPU and GPU use a mapped page at the same time, and several GPUs may: there is no
 * moment to sync, so the mapping must not need one.
 */
#define UVM_DMA_ATTRS		DMA_ATTR_SKIP_CPU_SYNC

struct uvm_mirror_request *uvm_mirror_request_alloc(void)
{
	return kvzalloc(sizeof(struct uvm_mirror_request), GFP_KERNEL);
}

void uvm_mirror_request_free(struct uvm_mirror_request *req)
{
	kvfree(req);
}

static enum dma_data_direction uvm_dma_dir(bool write)
{
	return write ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
}

static size_t uvm_dma_size(dma_addr_t map)
{
	return uvm_dma_is_huge(map) ? UVM_BLOCK_SIZE : PAGE_SIZE;
}

/*
 * Maps a page, or with UVM_DMA_HUGE in @flags the block that begins with it. Returns
 * UVM_DMA_NONE if it can't be mapped.
 */
dma_addr_t uvm_dma_map(struct uvm_gpu *gpu, struct page *page,
			      dma_addr_t flags)
{
	dma_addr_t addr = dma_map_page_attrs(gpu->desc.dev, page, 0,
					     uvm_dma_size(flags),
					     uvm_dma_dir(flags & UVM_DMA_WRITE),
					     UVM_DMA_ATTRS);

	if (dma_mapping_error(gpu->desc.dev, addr))
		return UVM_DMA_NONE;
	return addr | flags;
}

void uvm_dma_unmap(struct uvm_gpu *gpu, dma_addr_t *map)
{
	if (*map == UVM_DMA_NONE)
		return;
	dma_unmap_page_attrs(gpu->desc.dev, *map & ~UVM_DMA_FLAGS,
			     uvm_dma_size(*map),
			     uvm_dma_dir(*map & UVM_DMA_WRITE), UVM_DMA_ATTRS);
	*map = UVM_DMA_NONE;
}

/* Gives up the DMA mappings of [start, end), which no GPU entry uses any more. */
static void uvm_span_dma_unmap(struct uvm_span *span, unsigned long start,
			       unsigned long end)
{
	struct uvm_dma_block *block;
	unsigned long addr;

	for (addr = start; addr < end; addr += PAGE_SIZE) {
		block = span->blocks[uvm_span_block(addr)];
		if (!block) {
			addr = ALIGN(addr + 1, UVM_BLOCK_SIZE) - PAGE_SIZE;
			continue;
		}
		uvm_dma_unmap(span->gs->gpu,
			      &block->map[(addr >> PAGE_SHIFT) %
					   UVM_BLOCK_PAGES]);
	}
}

static bool uvm_span_is_huge(const struct uvm_span *span, unsigned long addr)
{
	const struct uvm_dma_block *block = span->blocks[uvm_span_block(addr)];

	return block && uvm_dma_is_huge(block->map[0]);
}

/*
 * A large entry goes as a whole, so the TLB is told about whole blocks. Without a
 * valid entry there is nothing that a TLB could hold.
 */
static void uvm_span_unmap(struct uvm_span *span, unsigned long start,
			   unsigned long end)
{
	const struct uvm_gpu_ops *ops = span->gs->gpu->desc.ops;
	struct uvm_gpu_as *as = span->gs->as;
	unsigned long first = ALIGN_DOWN(start, UVM_BLOCK_SIZE);
	unsigned long last = ALIGN(end, UVM_BLOCK_SIZE);

	lockdep_assert_held(&span->gs->notifier_lock);
	/* A DMA mapping of a whole block goes as a whole, with all that uses it. */
	if (uvm_span_is_huge(span, start))
		start = first;
	if (uvm_span_is_huge(span, end - 1))
		end = last;
	if (ops->unmap(as, start, end - start))
		ops->tlb_invalidate(as, first, last - first);
	uvm_span_dma_unmap(span, start, end);
}

/**
 * uvm_mirror_unmap() - take entries away, to see who wants them
 * @gs: GPU space that the caller entered
 * @start: first byte
 * @end: the byte after the last one, in the same span
 */
void uvm_mirror_unmap(struct uvm_gpu_space *gs, unsigned long start,
		      unsigned long end)
{
	struct uvm_span *span = xa_load(&gs->spans, start >> UVM_SPAN_SHIFT);

	if (!span)
		return;
	mutex_lock(&gs->notifier_lock);
	uvm_span_unmap(span, start, end);
	mutex_unlock(&gs->notifier_lock);
}

/**
 * uvm_mirror_unmap_all() - take all entries away, to be asked for anew
 * @gs: GPU space that isn't unmapped for good, nor will be meanwhile
 */
void uvm_mirror_unmap_all(struct uvm_gpu_space *gs)
{
	struct uvm_span *span;
	unsigned long index, start;

	xa_for_each(&gs->spans, index, span) {
		start = index << UVM_SPAN_SHIFT;
		mutex_lock(&gs->notifier_lock);
		uvm_span_unmap(span, start, start + UVM_SPAN_SIZE);
		mutex_unlock(&gs->notifier_lock);
	}
}

static bool uvm_span_invalidate(struct mmu_interval_notifier *mni,
				const struct mmu_notifier_range *range,
				unsigned long cur_seq)
{
	struct uvm_span *span = container_of(mni, struct uvm_span, mni);
	unsigned long start = max(range->start, mni->interval_tree.start);
	unsigned long end = min(range->end - 1, mni->interval_tree.last) + 1;

	/* It is ours: see uvm_mirror_take_exclusive(). */
	if (range->event == MMU_NOTIFY_EXCLUSIVE && range->owner == span->gs)
		return true;
	if (mmu_notifier_range_blockable(range))
		mutex_lock(&span->gs->notifier_lock);
	else if (!mutex_trylock(&span->gs->notifier_lock))
		return false;
	mmu_interval_set_seq(mni, cur_seq);
	uvm_span_unmap(span, start, end);
	if (range->event == MMU_NOTIFY_UNMAP && span->gs->tenant)
		uvm_tenant_unmapped(span->gs->tenant, start, end);
	mutex_unlock(&span->gs->notifier_lock);
	return true;
}

static const struct mmu_interval_notifier_ops uvm_span_ops = {
	.invalidate = uvm_span_invalidate,
};

/*
 * The span around @addr. The mm has interval notifiers already, so the insertion waits
 * for no mmap_lock.
 */
static struct uvm_span *uvm_span_get(struct uvm_gpu_space *gs, unsigned long addr)
{
	unsigned long index = addr >> UVM_SPAN_SHIFT;
	struct uvm_span *span = xa_load(&gs->spans, index);
	int ret;

	if (span)
		return span;
	span = kvzalloc(sizeof(*span), GFP_KERNEL_ACCOUNT);
	if (!span)
		return ERR_PTR(-ENOMEM);
	span->gs = gs;
	ret = xa_reserve(&gs->spans, index, GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_free;
	ret = mmu_interval_notifier_insert(&span->mni, gs->vs->mm,
					   index << UVM_SPAN_SHIFT,
					   UVM_SPAN_SIZE, &uvm_span_ops);
	if (ret)
		goto err_reserved;
	xa_store(&gs->spans, index, span, GFP_KERNEL);
	return span;

err_reserved:
	xa_release(&gs->spans, index);
err_free:
	kvfree(span);
	return ERR_PTR(ret);
}

static void uvm_span_shutdown(struct uvm_span *span, unsigned long start)
{
	unsigned int i;

	mmu_interval_notifier_remove(&span->mni);
	mutex_lock(&span->gs->notifier_lock);
	uvm_span_unmap(span, start, start + UVM_SPAN_SIZE);
	mutex_unlock(&span->gs->notifier_lock);
	for (i = 0; i < UVM_SPAN_BLOCKS; i++)
		kvfree(span->blocks[i]);
}

/**
 * uvm_mirror_shutdown() - unmap everything, for good
 * @gs: detached GPU space
 *
 * Sleeps; waits for invalidations under way, so no lock of theirs may be held.
 */
void uvm_mirror_shutdown(struct uvm_gpu_space *gs)
{
	struct uvm_span *span;
	unsigned long index;

	xa_for_each(&gs->spans, index, span)
		uvm_span_shutdown(span, index << UVM_SPAN_SHIFT);
}

/**
 * uvm_mirror_free() - free what uvm_mirror_shutdown() left
 * @gs: GPU space that nobody refers to any more
 */
void uvm_mirror_free(struct uvm_gpu_space *gs)
{
	struct uvm_span *span;
	unsigned long index;

	xa_for_each(&gs->spans, index, span)
		kvfree(span);
	xa_destroy(&gs->spans);
}

static struct uvm_dma_block *uvm_dma_block_get(struct uvm_span *span,
					       unsigned long addr)
{
	struct uvm_dma_block **slot = &span->blocks[uvm_span_block(addr)];
	struct uvm_dma_block *block = *slot;

	if (block)
		return block;
	block = kvmalloc(sizeof(*block), GFP_KERNEL_ACCOUNT);
	if (!block)
		return NULL;
	memset(block->map, 0xff, sizeof(block->map));
	mutex_lock(&span->gs->notifier_lock);
	*slot = block;
	mutex_unlock(&span->gs->notifier_lock);
	return block;
}

/* Is all of the block one piece of system memory, and to be mapped? */
static bool uvm_mirror_is_huge(const struct uvm_gpu *gpu, const unsigned long *pfns)
{
	unsigned int i;

	if (!(gpu->desc.page_sizes & UVM_BLOCK_SIZE) || !uvm_mirror_is_whole(pfns) ||
	    uvm_gpu_of_hmm(pfns[0]))
		return false;
	for (i = 1; i < UVM_BLOCK_PAGES; i++)
		if (pfns[i] != pfns[0] + i)
			return false;
	return true;
}

/*
 * Tries for one mapping of the whole block, in place of none or of one that is too
 * weak. Mappings of single pages stay what they are.
 */
static bool uvm_mirror_dma_map_huge(struct uvm_gpu *gpu,
				    const struct uvm_dma_block *block,
				    struct uvm_mirror_request *req)
{
	bool write = req->pfns[0] & HMM_PFN_WRITE;
	bool huge = uvm_dma_is_huge(READ_ONCE(block->map[0]));
	dma_addr_t flags = UVM_DMA_HUGE | (write ? UVM_DMA_WRITE : 0);
	unsigned int i;

	if (huge && uvm_dma_serves(READ_ONCE(block->map[0]), write))
		return true;
	for (i = 0; !huge && i < UVM_BLOCK_PAGES; i++)
		if (READ_ONCE(block->map[i]) != UVM_DMA_NONE)
			return false;
	req->dma[0] = uvm_dma_map(gpu, hmm_pfn_to_page(req->pfns[0]), flags);
	if (IS_ALIGNED(req->dma[0] & ~UVM_DMA_FLAGS, UVM_BLOCK_SIZE))
		return true;
	uvm_dma_unmap(gpu, &req->dma[0]);
	return false;
}

/*
 * DMA-maps the system pages that have no mapping, or one that is too weak. An
 * existing one is for the same page: had the page changed, the notifier would have
 * taken it.
 */
static int uvm_mirror_dma_map_pages(struct uvm_gpu *gpu,
				    const struct uvm_dma_block *block,
				    struct uvm_mirror_request *req, const u8 *access)
{
	struct page *page;
	unsigned int i;
	bool write;

	for (i = 0; i < UVM_BLOCK_PAGES; i++) {
		if (!(req->pfns[i] & HMM_PFN_VALID))
			continue;
		page = hmm_pfn_to_page(req->pfns[i]);
		write = req->pfns[i] & HMM_PFN_WRITE;
		if (uvm_gpu_of_hmm(req->pfns[i]) ||
		    uvm_dma_serves(uvm_dma_of_page(block, i), write))
			continue;
		req->dma[i] = uvm_dma_map(gpu, page, write ? UVM_DMA_WRITE : 0);
		if (req->dma[i] == UVM_DMA_NONE && access[i])
			return -ENOMEM;
	}
	return 0;
}

static bool uvm_mirror_has_system(const unsigned long *pfns)
{
	unsigned int i;

	for (i = 0; i < UVM_BLOCK_PAGES; i++)
		if (pfns[i] & HMM_PFN_VALID && !uvm_gpu_of_hmm(pfns[i]))
			return true;
	return false;
}

static int uvm_mirror_dma_map(struct uvm_gpu_space *gs, struct uvm_span *span,
			      struct uvm_mirror_request *req, unsigned long base,
			      const u8 *access)
{
	struct uvm_dma_block *block;
	dma_addr_t first;

	if (!uvm_mirror_has_system(req->pfns))
		return 0;
	block = uvm_dma_block_get(span, base);
	if (!block)
		return -ENOMEM;
	if (uvm_mirror_is_huge(gs->gpu, req->pfns) &&
	    uvm_mirror_dma_map_huge(gs->gpu, block, req))
		return 0;
	/* What is too weak as a whole would hide what its pages have alone. */
	first = READ_ONCE(block->map[0]);
	if (uvm_dma_is_huge(first) && !(first & UVM_DMA_WRITE))
		uvm_mirror_unmap(gs, base, base + UVM_BLOCK_SIZE);
	return uvm_mirror_dma_map_pages(gs->gpu, block, req, access);
}

/* The address of a page in the GPU's own memory, or in a peer's: @whose it is. */
static bool uvm_mirror_device_entry(struct uvm_gpu *gpu, struct uvm_gpu *whose,
				    unsigned long hmm_pfn, struct uvm_gpu_entry *entry)
{
	unsigned long index = (hmm_pfn & ~HMM_PFN_FLAGS) - whose->base_pfn;

	if (!uvm_mirror_can_use(gpu, whose))
		return false;
	entry->aperture = whose == gpu ? UVM_APERTURE_DEVICE : UVM_APERTURE_PEER;
	entry->peer = whose;
	entry->addr = (u64)index << PAGE_SHIFT;
	/* From here on it may be written. */
	uvm_resident_revive(whose, index, 1U << (entry->shift - PAGE_SHIFT));
	if (entry->flags & UVM_ENTRY_WRITE &&
	    (whose == gpu || gpu->desc.caps & UVM_GPU_CAP_PEER_ATOMICS))
		entry->flags |= UVM_ENTRY_ATOMIC;
	return true;
}

/* Nobody needs what it holds, and nobody asks for it: who does will find it needed. */
static bool uvm_mirror_is_discarded(unsigned long hmm_pfn)
{
	struct uvm_gpu *whose = uvm_gpu_of_hmm(hmm_pfn);

	return whose && uvm_resident_is_discarded(whose, (hmm_pfn & ~HMM_PFN_FLAGS) -
						  whose->base_pfn);
}

/*
 * The address of a page for the GPU; false if it has none. A page that the GPU may
 * write is made dirty here, under the lock and the sequence number that prove it to
 * be mapped: the CPU's entry won't say so, and reclaim drops clean pages. A file
 * system that keeps track of what is dirty has made the page so before it became
 * writable, and takes the right away first: so it isn't called from here, where it
 * must not allocate.
 */
static bool uvm_mirror_entry(struct uvm_gpu_space *gs, struct uvm_dma_block *block,
			     struct uvm_mirror_request *req, unsigned int i,
			     struct uvm_gpu_entry *entry)
{
	bool write = req->pfns[i] & HMM_PFN_WRITE;
	struct uvm_gpu *whose = uvm_gpu_of_hmm(req->pfns[i]);
	struct page *page = hmm_pfn_to_page(req->pfns[i]);
	dma_addr_t map;

	entry->shift = PAGE_SHIFT;
	entry->flags = write ? UVM_ENTRY_WRITE : 0;
	if (whose)
		return uvm_mirror_device_entry(gs->gpu, whose, req->pfns[i], entry);
	if (req->dma[i] != UVM_DMA_NONE) {
		req->replaced |= block->map[i] != UVM_DMA_NONE;
		swap(block->map[i], req->dma[i]);
	}
	map = uvm_dma_of_page(block, i);
	if (!uvm_dma_serves(map, write))
		return false;
	entry->aperture = UVM_APERTURE_SYSTEM;
	entry->peer = NULL;
	entry->addr = map & ~UVM_DMA_FLAGS;
	if (write && !folio_test_dirty(page_folio(page)))
		folio_mark_dirty(page_folio(page));
	return true;
}

/* A block that is one piece of memory takes one large entry. */
static void uvm_mirror_merge(const struct uvm_gpu *gpu,
			     struct uvm_mirror_request *req)
{
	struct uvm_gpu_entry *first = &req->entries[0];
	unsigned int i;

	if (req->nr != UVM_BLOCK_PAGES ||
	    !(gpu->desc.page_sizes & UVM_BLOCK_SIZE) ||
	    !IS_ALIGNED(first->addr, UVM_BLOCK_SIZE))
		return;
	for (i = 1; i < req->nr; i++)
		if (req->entries[i].aperture != first->aperture ||
		    req->entries[i].peer != first->peer ||
		    req->entries[i].flags != first->flags ||
		    req->entries[i].addr != first->addr + i * PAGE_SIZE)
			return;
	first->shift = UVM_BLOCK_SHIFT;
	req->nr = 1;
}

static void uvm_mirror_write(struct uvm_gpu_space *gs, struct uvm_span *span,
			     struct uvm_mirror_request *req, unsigned long base,
			     const u8 *access)
{
	struct uvm_dma_block *block = span->blocks[uvm_span_block(base)];
	unsigned int i;
	bool device;

	lockdep_assert_held(&gs->notifier_lock);
	req->nr = 0;
	req->replaced = false;
	bitmap_zero(req->atomic, UVM_BLOCK_PAGES);
	for (i = 0; i < UVM_BLOCK_PAGES; i++) {
		struct uvm_gpu_entry *entry = &req->entries[req->nr];

		if (!(req->pfns[i] & HMM_PFN_VALID))
			continue;
		if (!access[i] && uvm_mirror_is_discarded(req->pfns[i]))
			continue;
		entry->va = base + i * PAGE_SIZE;
		if (!uvm_mirror_entry(gs, block, req, i, entry))
			continue;
		if (access[i] == UVM_ACCESS_ATOMIC &&
		    !(entry->flags & UVM_ENTRY_ATOMIC))
			__set_bit(i, req->atomic);
		device = entry->aperture != UVM_APERTURE_SYSTEM;
		__assign_bit(i, req->device, device);
		/* Of a GPU's there may be no struct page. */
		__assign_bit(i, req->part,
			     !device && PageTail(hmm_pfn_to_page(req->pfns[i])));
		req->nr++;
	}
	uvm_mirror_merge(gs->gpu, req);
	gs->gpu->desc.ops->map(gs->as, req->entries, req->nr);
	if (req->replaced)
		gs->gpu->desc.ops->tlb_invalidate(gs->as, base, UVM_BLOCK_SIZE);
}

/* One large entry, and nothing else to think of. */
static void uvm_mirror_write_whole(struct uvm_gpu_space *gs,
				   struct uvm_mirror_request *req, unsigned long base)
{
	struct uvm_gpu_entry *entry = &req->entries[0];

	lockdep_assert_held(&gs->notifier_lock);
	bitmap_zero(req->atomic, UVM_BLOCK_PAGES);
	entry->va = base;
	entry->shift = UVM_BLOCK_SHIFT;
	entry->flags = req->pfns[0] & HMM_PFN_WRITE ? UVM_ENTRY_WRITE : 0;
	if (uvm_mirror_device_entry(gs->gpu, gs->gpu, req->pfns[0], entry))
		gs->gpu->desc.ops->map(gs->as, entry, 1);
}

/* If nothing has changed since the look. */
static int uvm_mirror_commit(struct uvm_gpu_space *gs, struct uvm_span *span,
			     struct hmm_range *range, struct uvm_mirror_request *req,
			     unsigned long base, const u8 *access)
{
	int ret = 0;

	uvm_delay(UVM_DELAY_MIRROR);
	mutex_lock(&gs->notifier_lock);
	if (mmu_interval_read_retry(&span->mni, range->notifier_seq))
		ret = -EBUSY;
	else if (req->whole)
		uvm_mirror_write_whole(gs, req, base);
	else
		uvm_mirror_write(gs, span, req, base, access);
	mutex_unlock(&gs->notifier_lock);
	return ret;
}

/* From the look to the write, inside uvm_mirror_look_begin(). Drops mmap_lock. */
static int uvm_mirror_end(struct uvm_gpu_space *gs, struct uvm_span *span,
			  struct hmm_range *range, struct uvm_mirror_request *req,
			  unsigned long base, const u8 *access)
{
	unsigned int i;
	int ret;

	ret = uvm_mirror_look_again(gs, range, req, base, access);
	mmap_read_unlock(gs->vs->mm);
	if (ret)
		return ret;
	if (req->whole)
		return uvm_mirror_commit(gs, span, range, req, base, access);
	memset(req->dma, 0xff, sizeof(req->dma));
	ret = uvm_mirror_dma_map(gs, span, req, base, access);
	if (!ret)
		ret = uvm_mirror_commit(gs, span, range, req, base, access);
	for (i = 0; i < UVM_BLOCK_PAGES; i++)
		uvm_dma_unmap(gs->gpu, &req->dma[i]);
	return ret;
}

static int uvm_mirror_try(struct uvm_gpu_space *gs, struct uvm_span *span,
			  struct uvm_mirror_request *req, unsigned long base,
			  const u8 *access)
{
	struct hmm_range range = {
		.notifier = &span->mni,
		.notifier_seq = mmu_interval_read_begin(&span->mni),
		.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		.dev_private_owner = UVM_PGMAP_OWNER,
	};
	int ret, srcu;

	ret = uvm_mirror_look_first(gs, &range, req, base, access);
	if (ret)
		return ret;
	srcu = uvm_mirror_look_begin();
	ret = uvm_mirror_end(gs, span, &range, req, base, access);
	uvm_mirror_look_end(srcu);
	return ret;
}

/**
 * uvm_mirror_block() - map a block for the GPU
 * @gs: GPU space that the caller entered, and whose mm it retains
 * @req: room
 * @base: address of the block
 * @access: by page, enum uvm_access of what must become possible, or 0. What else
 *	is present in the block is mapped along,
 * @hold: but for these pages, unless they are in the GPU's own memory
 *
 * Fault work of the GPU space only. Takes mmap_lock.
 *
 * Return: 0; -EFAULT or -EPERM if one of the accesses is not allowed or has no
 * memory behind it; -EOPNOTSUPP if atomics can't be had on a page where it is, -EAGAIN
 * if they can't as long as it is part of a large folio, or in a peer's memory; -ENOMEM;
 * -EBUSY if the block kept changing; -ESRCH if the GPU space went down: then the caller
 * is no longer in it.
 */
int uvm_mirror_block(struct uvm_gpu_space *gs, struct uvm_mirror_request *req,
		     unsigned long base, const u8 *access,
		     const unsigned long *hold)
{
	struct uvm_span *span;
	int tries, ret;

	if (base >= gs->vs->mm->task_size ||
	    fls64(base) > gs->gpu->desc.va_bits)
		return -EFAULT;
	span = uvm_span_get(gs, base);
	if (IS_ERR(span))
		return PTR_ERR(span);
	ret = gs->gpu->desc.ops->map_prepare(gs->as, base, UVM_BLOCK_SIZE);
	if (ret)
		return ret;
	req->hold = hold;
	for (tries = 0; tries < UVM_MIRROR_TRIES; tries++) {
		ret = uvm_mirror_try(gs, span, req, base, access);
		if (!ret)
			ret = uvm_mirror_take_atomics(gs, span, req, base);
		if (ret != -EBUSY)
			break;
		cond_resched();
	}
	return ret;
}
