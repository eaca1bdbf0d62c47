// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Moves
 *
 * Owns the way of a page from one memory to another. The unit is a *move*: up to a
 * block of pages of one VMA, through migrate_vma_setup(), one copy batch,
 * migrate_vma_pages() and migrate_vma_finalize(). A move that was begun is always
 * ended; what can't be copied is left where it was. Pages of a move under way are
 * locked and unmapped, so with one under way nothing may be waited for but its copy:
 * no page fault, no eviction.
 *
 * Resources are only tried for.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/migrate.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "move.h"

/**
 * uvm_move_alloc() - room for moves
 * @max: pages that it takes, at most a block
 *
 * Return: the room, or NULL.
 */
struct uvm_move *uvm_move_alloc(unsigned int max)
{
	struct uvm_move *mv;

	mv = kvzalloc(sizeof(*mv) +
		      max * (3 * sizeof(unsigned long) + sizeof(dma_addr_t) +
			     sizeof(struct uvm_gpu_segment)), GFP_KERNEL);
	if (!mv)
		return NULL;
	mv->max = max;
	mv->seg = (void *)(mv + 1);
	mv->dma = (void *)(mv->seg + max);
	mv->src = (void *)(mv->dma + max);
	mv->dst = mv->src + max;
	mv->index = mv->dst + max;
	return mv;
}

void uvm_move_free(struct uvm_move *mv)
{
	if (mv && !mv->lost)
		kvfree(mv);
}

/* A new set of pages: nothing moved yet. */
void uvm_move_reset(struct uvm_move *mv, unsigned long start,
			   unsigned long end)
{
	mv->base = start;
	mv->npages = (end - start) >> PAGE_SHIFT;
	mv->other_gpu = false;
	bitmap_zero(mv->moved, UVM_BLOCK_PAGES);
	bitmap_zero(mv->starved, UVM_BLOCK_PAGES);
}

static unsigned long uvm_move_bit(const struct uvm_move *mv, unsigned long i)
{
	return ((mv->args.start - mv->base) >> PAGE_SHIFT) + i;
}

static unsigned long uvm_move_addr(const struct uvm_move *mv, unsigned long i)
{
	return mv->args.start + (i << PAGE_SHIFT);
}

/*
 * May the page move in this pass? Only anonymous memory can go to a device, and
 * moving anything else buys nobody anything. A page that KSM merged stays: it may be
 * mapped many times in one window, and core takes the page of a CPU fault once for
 * each mapping, so it would never come home. One that is being written to swap stays
 * too: core takes that for a bug of its caller, and with the page locked it can't
 * begin any more. One pass uses the engine of one GPU: that of the destination, or of
 * the fault page, or of the first device page it meets.
 */
static bool uvm_move_wants(struct uvm_move *mv, unsigned long i,
			   const struct uvm_target *dest)
{
	struct page *page = migrate_pfn_to_page(mv->src[i]);
	struct uvm_gpu *gpu;

	if (!(mv->src[i] & MIGRATE_PFN_MIGRATE))
		return false;
	if (!page)
		return dest->gpu;
	if (uvm_page_is_ours(page)) {
		gpu = uvm_gpu_of_page(page);
		if (dest->gpu)
			return uvm_is_peer(dest->gpu, gpu);
		if (dest->from != UVM_ANY_GPU && dest->from != gpu->id)
			return false;
		if (!mv->gpu)
			mv->gpu = gpu;
		if (mv->gpu == gpu)
			return true;
		mv->other_gpu = true;
		return false;
	}
	if (!PageAnon(page) || folio_test_ksm(page_folio(page)) ||
	    folio_test_writeback(page_folio(page)))
		return false;
	return dest->gpu || dest->renew ||
	       (dest->node != NUMA_NO_NODE &&
			     dest->node != page_to_nid(page));
}

static struct page *uvm_alloc_system_page(struct uvm_move *mv, unsigned long i,
					  const struct uvm_target *dest)
{
	struct page *page;

	if (dest->node == NUMA_NO_NODE)
		page = alloc_page_vma(GFP_HIGHUSER_MOVABLE, mv->args.vma,
				      uvm_move_addr(mv, i));
	else
		page = alloc_pages_node(dest->node, GFP_HIGHUSER_MOVABLE |
					__GFP_THISNODE | __GFP_NOWARN |
					__GFP_NORETRY, 0);
	if (!page)
		return NULL;
	lock_page(page);
	/*
	 * What the GPU wrote is in no CPU page table's dirty bit, and a clean page
	 * under MADV_FREE may be dropped.
	 */
	folio_mark_dirty(page_folio(page));
	return page;
}

/* Gives every page that can move a destination. */
static void uvm_move_alloc_dst(struct uvm_move *mv, const struct uvm_target *dest)
{
	unsigned long i, want = 0, got = 0, used = 0;
	struct page *page;

	for (i = 0; i < mv->args.npages; i++) {
		mv->dst[i] = uvm_move_wants(mv, i, dest);
		want += mv->dst[i];
	}
	if (dest->gpu)
		got = uvm_devmem_alloc(&dest->gpu->mem, mv->index, want);
	for (i = 0; i < mv->args.npages; i++) {
		if (!mv->dst[i])
			continue;
		if (!dest->gpu)
			page = uvm_alloc_system_page(mv, i, dest);
		else if (used < got)
			page = uvm_gpu_alloc_page(dest->gpu, mv->index[used++]);
		else
			page = NULL;
		mv->dst[i] = page ? migrate_pfn(page_to_pfn(page)) : 0;
		assign_bit(uvm_move_bit(mv, i), mv->starved, !page);
	}
}

static void uvm_move_drop_dst(struct uvm_move *mv, unsigned long i)
{
	struct page *page = migrate_pfn_to_page(mv->dst[i]);

	mv->dst[i] = 0;
	unlock_page(page);
	put_page(page);
}

static bool uvm_move_map(struct uvm_move *mv, unsigned long i, struct page *page,
			 enum dma_data_direction dir)
{
	struct device *dev = mv->gpu->desc.dev;

	mv->dma[i] = dma_map_page(dev, page, 0, PAGE_SIZE, dir);
	if (!dma_mapping_error(dev, mv->dma[i]))
		return true;
	mv->dma[i] = DMA_MAPPING_ERROR;
	return false;
}

/* One page into the batch. False if its system side can't be mapped. */
static bool uvm_move_add(struct uvm_move *mv, unsigned long i,
			 const struct uvm_target *dest)
{
	struct page *src = migrate_pfn_to_page(mv->src[i]);
	struct page *dst = migrate_pfn_to_page(mv->dst[i]);
	struct uvm_gpu_segment seg = { .length = PAGE_SIZE };

	if (!src) {
		seg.kind = UVM_COPY_FILL;
		seg.dst = uvm_gpu_page_addr(mv->gpu, dst);
	} else if (dest->gpu && uvm_page_is_ours(src)) {
		seg.peer = uvm_gpu_of_page(src);
		seg.src = uvm_gpu_page_addr(seg.peer, src);
		seg.src_aperture = UVM_APERTURE_PEER;
		seg.dst = uvm_gpu_page_addr(mv->gpu, dst);
	} else if (dest->gpu) {
		if (!uvm_move_map(mv, i, src, DMA_TO_DEVICE))
			return false;
		seg.src = mv->dma[i];
		seg.src_aperture = UVM_APERTURE_SYSTEM;
		seg.dst = uvm_gpu_page_addr(mv->gpu, dst);
	} else {
		if (!uvm_move_map(mv, i, dst, DMA_FROM_DEVICE))
			return false;
		seg.src = uvm_gpu_page_addr(mv->gpu, src);
		seg.dst = mv->dma[i];
		seg.dst_aperture = UVM_APERTURE_SYSTEM;
	}
	uvm_copy_add(&mv->copy, &seg);
	return true;
}

static void uvm_move_start_engine(struct uvm_move *mv, const struct uvm_target *dest)
{
	unsigned long i;

	uvm_copy_init(&mv->copy, mv->gpu, mv->seg, mv->max);
	/* Its device may be gone, too. */
	if (READ_ONCE(mv->gpu->lost)) {
		mv->error = -EIO;
		return;
	}
	for (i = 0; i < mv->args.npages; i++) {
		if (!mv->dst[i] || uvm_move_add(mv, i, dest))
			continue;
		uvm_move_drop_dst(mv, i);
		__set_bit(uvm_move_bit(mv, i), mv->starved);
	}
	mv->error = uvm_copy_start(&mv->copy);
}

/* From system memory to system memory no GPU is needed. */
static void uvm_move_copy_cpu(struct uvm_move *mv)
{
	unsigned long i;

	for (i = 0; i < mv->args.npages; i++)
		if (mv->dst[i])
			copy_highpage(migrate_pfn_to_page(mv->dst[i]),
				      migrate_pfn_to_page(mv->src[i]));
}

/**
 * uvm_move_begin() - set pages off
 * @mv: nothing under way in it
 * @vma: VMA of a mm whose mmap_lock is held until uvm_move_end()
 * @start: first address
 * @end: end address, at most @mv's room away, in @vma
 * @select: MIGRATE_VMA_SELECT_*: the pages to take
 * @dest: where to
 * @fault_page: the page that a CPU fault is about, or NULL
 *
 * Return: 0 if a move is under way, to be ended by uvm_move_end(); -EIO if @mv is
 * lost; or what migrate_vma_setup() says.
 */
int uvm_move_begin(struct uvm_move *mv, struct vm_area_struct *vma,
			  unsigned long start, unsigned long end,
			  unsigned long select, const struct uvm_target *dest,
			  struct page *fault_page)
{
	unsigned long i;
	int ret;

	mv->args = (struct migrate_vma) {
		.vma = vma,
		.src = mv->src,
		.dst = mv->dst,
		.start = start,
		.end = end,
		.pgmap_owner = UVM_PGMAP_OWNER,
		.flags = select,
		.fault_page = fault_page,
	};
	mv->gpu = fault_page ? uvm_gpu_of_page(fault_page) : dest->gpu;
	mv->error = 0;
	mv->other_gpu = false;
	if (mv->lost)
		return -EIO;
	ret = migrate_vma_setup(&mv->args);
	if (ret)
		return ret;
	for (i = 0; i < mv->args.npages; i++)
		mv->dma[i] = DMA_MAPPING_ERROR;
	uvm_move_alloc_dst(mv, dest);
	if (mv->gpu)
		uvm_move_start_engine(mv, dest);
	else
		uvm_move_copy_cpu(mv);
	return 0;
}

/*
 * The copy failed. The destinations are dropped, and core puts everything back.
 * If the engine may still write to them they are lost: never unlocked, never
 * freed, their DMA mappings never given back.
 */
static void uvm_move_fail(struct uvm_move *mv)
{
	bool leak = mv->error == -ETIMEDOUT;
	unsigned long i;

	mv->lost = leak;
	for (i = 0; i < mv->args.npages; i++) {
		if (!mv->dst[i])
			continue;
		if (leak) {
			mv->dst[i] = 0;
			mv->dma[i] = DMA_MAPPING_ERROR;
		} else {
			uvm_move_drop_dst(mv, i);
		}
	}
}

static void uvm_move_unmap(struct uvm_move *mv, enum dma_data_direction dir)
{
	unsigned long i;

	for (i = 0; i < mv->args.npages; i++)
		if (mv->dma[i] != DMA_MAPPING_ERROR)
			dma_unmap_page(mv->gpu->desc.dev, mv->dma[i], PAGE_SIZE,
				       dir);
}

/**
 * uvm_move_end() - wait for the copy and give the pages their new place
 * @mv: begun
 * @dest: as it was begun with
 */
void uvm_move_end(struct uvm_move *mv, const struct uvm_target *dest)
{
	unsigned long i;

	if (mv->gpu && !mv->error)
		mv->error = uvm_copy_finish(&mv->copy);
	if (mv->error)
		uvm_move_fail(mv);
	if (mv->gpu)
		uvm_move_unmap(mv, dest->gpu ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
	migrate_vma_pages(&mv->args);
	for (i = 0; i < mv->args.npages; i++)
		if (mv->dst[i] && mv->src[i] & MIGRATE_PFN_MIGRATE)
			__set_bit(uvm_move_bit(mv, i), mv->moved);
	migrate_vma_finalize(&mv->args);
}

int uvm_move_sync(struct uvm_move *mv, struct vm_area_struct *vma,
			 unsigned long start, unsigned long end,
			 unsigned long select, const struct uvm_target *dest)
{
	int ret = uvm_move_begin(mv, vma, start, end, select, dest, NULL);

	if (!ret)
		uvm_move_end(mv, dest);
	return ret;
}

/**
 * uvm_move_to() - move pages from system memory, and absent ones to a GPU
 * @mv: room for as many pages; nothing under way in it
 * @vma: mmap_lock is held
 * @start: first address, in @vma
 * @end: end address, in @vma
 * @dest: where to
 * @from_peers: move to a GPU those instead that are in the memory of its peers
 *
 * What can't be moved now stays where it is.
 *
 * Return: bit n is set if page n from @start moved; valid until @mv is used again.
 */
const unsigned long *uvm_move_to(struct uvm_move *mv, struct vm_area_struct *vma,
				 unsigned long start, unsigned long end,
				 const struct uvm_target *dest, bool from_peers)
{
	uvm_move_reset(mv, start, end);
	uvm_move_sync(mv, vma, start, end, from_peers ? UVM_SELECT_OURS :
						MIGRATE_VMA_SELECT_SYSTEM, dest);
	return mv->moved;
}

/* Every pass empties one GPU at least, so there are no more passes than GPUs. */
void uvm_move_from_gpus(struct uvm_move *mv, struct vm_area_struct *vma,
			       unsigned long start, unsigned long end,
			       const struct uvm_target *dest)
{
	int i;

	for (i = 0; i < UVM_MAX_GPUS; i++)
		if (uvm_move_sync(mv, vma, start, end, UVM_SELECT_OURS, dest) ||
		    !mv->other_gpu)
			break;
}

const struct uvm_target uvm_target_home = {
	.node = NUMA_NO_NODE,
	.from = UVM_ANY_GPU,
};

/**
 * uvm_migrate_home() - bring device pages back to system memory
 * @vma: mmap_lock is held
 * @start: first address, in @vma
 * @end: end address, in @vma, in the same block
 * @from: the id of the GPU whose pages are wanted, or UVM_ANY_GPU
 *
 * What can't be moved now stays where it is.
 *
 * Return: pages moved, or -ENOMEM.
 */
long uvm_migrate_home(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, u32 from)
{
	struct uvm_move *mv = uvm_move_alloc((end - start) >> PAGE_SHIFT);
	struct uvm_target home = { .node = NUMA_NO_NODE, .from = from };
	long moved;

	if (!mv)
		return -ENOMEM;
	uvm_move_reset(mv, start, end);
	uvm_move_from_gpus(mv, vma, start, end, &home);
	moved = bitmap_weight(mv->moved, mv->npages);
	uvm_move_free(mv);
	return moved;
}
