// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: How pages of a move are copied
 *
 * Owns the copy in the middle of a move: what goes into its batch, and what the CPU does
 * itself. Of the pages it knows where they are on either side (&struct uvm_place), which
 * their kind of memory tells, and no more.
 *
 * What nobody needs (discard.c) isn't copied: in system memory the CPU zeroes it, in a
 * GPU's it is filled. No page shows what was in that memory before.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>

#include "move.h"

/* Is there a destination for the page? */
bool uvm_move_has_dst(const struct uvm_move *mv, unsigned long i)
{
	return mv->dst[i] || uvm_move_has_folio(mv);
}

static struct uvm_place uvm_move_src(const struct uvm_move *mv, unsigned long i)
{
	return mv->ops->src(mv, i);
}

static struct uvm_place uvm_move_dst(const struct uvm_move *mv, unsigned long i,
				     const struct uvm_target *dest)
{
	return mv->ops->dst(mv, i, dest);
}

static bool uvm_place_is_none(const struct uvm_place *place)
{
	return !place->page && !place->gpu;
}

/* Its address for the engines of its GPU. */
static u64 uvm_place_addr(const struct uvm_place *place)
{
	return (u64)place->index << PAGE_SHIFT;
}

/* Is there one among those for which @dst isn't 0? */
bool uvm_move_has_holes(const struct uvm_move *mv)
{
	struct uvm_place src;
	unsigned long i;

	for (i = 0; i < mv->args.npages; i++) {
		if (!mv->dst[i])
			continue;
		src = uvm_move_src(mv, i);
		if (uvm_place_is_none(&src))
			return true;
	}
	return false;
}

/**
 * uvm_move_note_discarded() - which pages hold what nobody needs
 * @mv: its pages have destinations
 * @dest: where to
 *
 * They are mapped nowhere, and will not be before the move ended: that doesn't change.
 */
void uvm_move_note_discarded(struct uvm_move *mv, const struct uvm_target *dest)
{
	struct uvm_place src;
	unsigned long i;

	bitmap_zero(mv->discarded, UVM_BLOCK_PAGES);
	if (!(mv->args.flags & UVM_SELECT_OURS))
		return;
	for (i = 0; i < mv->args.npages; i++) {
		if (!uvm_move_has_dst(mv, i))
			continue;
		src = uvm_move_src(mv, i);
		if (src.gpu && (dest->discard ||
				uvm_resident_is_discarded(src.gpu, src.index)))
			__set_bit(i, mv->discarded);
	}
}

/* The page in system memory that the engine reads or writes, or NULL. */
static struct page *uvm_move_system_page(const struct uvm_move *mv, unsigned long i,
					 const struct uvm_target *dest)
{
	return dest->gpu ? uvm_move_src(mv, i).page : uvm_move_dst(mv, i, dest).page;
}

/* How many of the @n pages from @i on are needed, or are not, as the first one is. */
static unsigned long uvm_move_alike(const struct uvm_move *mv, unsigned long i,
				    unsigned long n)
{
	if (test_bit(i, mv->discarded))
		return find_next_zero_bit(mv->discarded, i + n, i) - i;
	return find_next_bit(mv->discarded, i + n, i) - i;
}

/* So many pages from @i on are one piece of system memory; 1 if there is none. */
static unsigned long uvm_move_run(const struct uvm_move *mv, unsigned long i,
				  const struct uvm_target *dest)
{
	size_t max = dma_max_mapping_size(mv->gpu->desc.dev) >> PAGE_SHIFT;
	struct page *first = uvm_move_system_page(mv, i, dest), *page;
	unsigned long n;

	if (uvm_move_has_folio(mv))
		return uvm_move_alike(mv, i, min(max, mv->args.npages - i));
	for (n = 1; first && n < max && i + n < mv->args.npages; n++) {
		if (!uvm_move_has_dst(mv, i + n))
			break;
		page = uvm_move_system_page(mv, i + n, dest);
		if (!page || page_to_pfn(page) != page_to_pfn(first) + n)
			break;
	}
	return uvm_move_alike(mv, i, n);
}

static bool uvm_move_map(struct uvm_move *mv, struct page *page, unsigned long n,
			 enum dma_data_direction dir, dma_addr_t *dma)
{
	struct device *dev = mv->gpu->desc.dev;
	size_t size = n << PAGE_SHIFT;

	*dma = dma_map_page(dev, page, 0, size, dir);
	if (dma_mapping_error(dev, *dma))
		return false;
	mv->runs[mv->nr_runs++] = (struct uvm_move_run){ *dma, size };
	return true;
}

/*
 * @n pages that are one piece on both sides into the batch; @dma is the address of the
 * system side, if it has one.
 */
static void uvm_move_add_piece(struct uvm_move *mv, unsigned long i, unsigned long n,
			       const struct uvm_target *dest, dma_addr_t dma)
{
	struct uvm_place src = uvm_move_src(mv, i), dst = uvm_move_dst(mv, i, dest);
	struct uvm_gpu_segment seg = { .length = n << PAGE_SHIFT };

	if (uvm_place_is_none(&src) || test_bit(i, mv->discarded)) {
		uvm_copy_zero(&mv->copy, uvm_place_addr(&dst), seg.length);
		return;
	}
	if (dest->gpu && src.gpu) {
		seg.peer = src.gpu;
		seg.src = uvm_place_addr(&src);
		seg.src_aperture = UVM_APERTURE_PEER;
		seg.dst = uvm_place_addr(&dst);
	} else if (dest->gpu) {
		seg.src = dma;
		seg.src_aperture = UVM_APERTURE_SYSTEM;
		seg.dst = uvm_place_addr(&dst);
	} else {
		seg.src = uvm_place_addr(&src);
		seg.dst = dma;
		seg.dst_aperture = UVM_APERTURE_SYSTEM;
	}
	uvm_copy_add(&mv->copy, &seg);
}

/* A run of @n pages into the batch. False if its system side can't be mapped. */
static bool uvm_move_add(struct uvm_move *mv, unsigned long i, unsigned long n,
			 const struct uvm_target *dest)
{
	struct page *page = uvm_move_system_page(mv, i, dest);
	unsigned long k, step = uvm_move_has_folio(mv) ? n : 1;
	dma_addr_t dma = 0;

	if (!dest->gpu && test_bit(i, mv->discarded)) {
		for (k = 0; k < n; k++)
			clear_highpage(uvm_move_dst(mv, i + k, dest).page);
		return true;
	}
	if (page && !uvm_move_map(mv, page, n, dest->gpu ? DMA_TO_DEVICE :
						  DMA_FROM_DEVICE, &dma))
		return false;
	for (k = 0; k < n; k += step)
		uvm_move_add_piece(mv, i + k, step, dest, dma + k * PAGE_SIZE);
	return true;
}

/* What can't be mapped doesn't move; of a folio, nothing does. */
static void uvm_move_starve(struct uvm_move *mv, unsigned long i, unsigned long n,
			    const struct uvm_target *dest)
{
	unsigned long k;

	if (uvm_move_has_folio(mv)) {
		mv->ops->drop(mv, 0, dest);
		mv->copy.nr = 0;
		bitmap_fill(mv->starved, UVM_BLOCK_PAGES);
		return;
	}
	for (k = i; k < i + n; k++) {
		mv->ops->drop(mv, k, dest);
		__set_bit(uvm_move_bit(mv, k), mv->starved);
	}
}

/* From memory that is parked to system memory. */
static void uvm_move_copy_parked(struct uvm_move *mv, const struct uvm_target *dest)
{
	unsigned long i;

	for (i = 0; i < mv->args.npages; i++)
		if (uvm_move_has_dst(mv, i) &&
		    uvm_park_read(mv->gpu, uvm_move_src(mv, i).index,
				  uvm_move_dst(mv, i, dest).page))
			mv->error = -EIO;
}

/* What is copied from peers, too, is so inside this. */
void uvm_move_hold_engines(struct uvm_move *mv)
{
	if (mv->engines < 0)
		mv->engines = uvm_engines_hold();
}

void uvm_move_release_engines(struct uvm_move *mv)
{
	if (mv->engines >= 0)
		uvm_engines_release(mv->engines);
	mv->engines = -1;
}

static void uvm_move_start_engine(struct uvm_move *mv, const struct uvm_target *dest)
{
	unsigned long i, n;

	uvm_copy_init(&mv->copy, mv->gpu, mv->seg, mv->max);
	uvm_move_hold_engines(mv);
	if (uvm_gpu_is_parked(mv->gpu)) {
		uvm_move_copy_parked(mv, dest);
		return;
	}
	/* Its device may be gone, too. */
	if (READ_ONCE(mv->gpu->lost)) {
		mv->error = -EIO;
		return;
	}
	for (i = 0; i < mv->args.npages; i += n) {
		n = 1;
		if (!uvm_move_has_dst(mv, i))
			continue;
		n = uvm_move_run(mv, i, dest);
		if (!uvm_move_add(mv, i, n, dest))
			uvm_move_starve(mv, i, n, dest);
	}
	mv->error = uvm_copy_start(&mv->copy);
}

/* From system memory to system memory no GPU is needed. */
static void uvm_move_copy_cpu(struct uvm_move *mv, const struct uvm_target *dest)
{
	struct uvm_place src, dst;
	unsigned long i;

	for (i = 0; i < mv->args.npages; i++) {
		if (!uvm_move_has_dst(mv, i))
			continue;
		src = uvm_move_src(mv, i);
		dst = uvm_move_dst(mv, i, dest);
		if (src.page)
			copy_highpage(dst.page, src.page);
		else
			clear_highpage(dst.page);
	}
}

/**
 * uvm_move_start_copy() - begin to copy
 * @mv: pages that move have destinations, and nobody has them mapped
 * @dest: where to
 *
 * Those whose destination the engine can't have lose it, and are starved.
 */
void uvm_move_start_copy(struct uvm_move *mv, const struct uvm_target *dest)
{
	if (mv->gpu)
		uvm_move_start_engine(mv, dest);
	else
		uvm_move_copy_cpu(mv, dest);
}

/*
 * The copy failed. The destinations are dropped, and everything stays where it was.
 * If the engine may still write to them they are lost: never unlocked, never
 * freed, their DMA mappings never given back.
 */
static void uvm_move_fail(struct uvm_move *mv, const struct uvm_target *dest)
{
	bool leak = mv->error == -ETIMEDOUT;
	unsigned long i;

	mv->lost = leak;
	for (i = 0; i < mv->args.npages; i++) {
		if (!mv->dst[i])
			continue;
		if (leak)
			mv->dst[i] = 0;
		else
			mv->ops->drop(mv, i, dest);
	}
	if (leak)
		mv->nr_runs = 0;
}

static void uvm_move_unmap(struct uvm_move *mv, enum dma_data_direction dir)
{
	const struct uvm_move_run *run;

	for (run = mv->runs; run < mv->runs + mv->nr_runs; run++)
		dma_unmap_page(mv->gpu->desc.dev, run->dma, run->size, dir);
}

/**
 * uvm_move_finish_copy() - wait until all is copied
 * @mv: after uvm_move_start_copy(), or it has no GPU
 * @dest: as there
 *
 * If that failed, &uvm_move.error says why, and no page has a destination any more.
 */
void uvm_move_finish_copy(struct uvm_move *mv, const struct uvm_target *dest)
{
	if (mv->gpu && !mv->error)
		mv->error = uvm_copy_finish(&mv->copy);
	if (mv->error)
		uvm_move_fail(mv, dest);
	if (mv->gpu)
		uvm_move_unmap(mv, dest->gpu ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
	uvm_move_release_engines(mv);
}
