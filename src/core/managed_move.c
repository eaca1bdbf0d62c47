// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Moves of managed memory
 *
 * Owns the way of a managed page from one holder to another: &struct uvm_range_ops for
 * what move.c begins and ends. A move is about pages of one block, in one mapping, and
 * goes one way: from the CPU, or from one GPU, or from nobody, as zeros. In this order:
 *
 * 1. Under the lock of the block the pages are chosen, and made busy. From here on nobody
 *    is given them: faults of the CPU wait, what a GPU maps is without them. They are the
 *    mover's until he makes them idle, and nobody else changes what is known of them.
 * 2. They get destinations (managed_dest.c), which nobody else knows yet. Those for which
 *    there is none stay where they are.
 * 3. A CPU that was given a page before that has it locked until it is mapped. So each is
 *    locked, and unlocked, once, also a coherent GPU's, which the CPU uses in place.
 * 4. The pages are unmapped everywhere (uvm_block_unmap()).
 * 5. A page of these that anybody else has a reference to stays where it is: it may
 *    be read or written at any time, also by devices. Nobody gets one later than that,
 *    since there is no entry to get it from.
 * 6. They are copied (move_copy.c).
 * 7. Under the lock of the block they have their new holder, or if the copy failed still
 *    the old one; and they are idle. What is used no more is freed.
 *
 * From 1 to 7 mmap_lock is held, so no mapping ends meanwhile. The mover waits for page
 * locks that core holds for moments, for memory, and for engines, whose time is limited;
 * never with the lock of the block held, and never for another mover: what that has is
 * left to him.
 *
 * A destination that an engine may still write to, or a source that it may still read, is
 * not given back: &uvm_gpu.lost then says so. The source is still the page.
 */
#include "managed.h"

#include <linux/migrate.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "move.h"

/* The page of the block that page @i of the move is. */
static unsigned int uvm_managed_at(const struct uvm_move *mv, unsigned long i)
{
	return uvm_block_index(mv->args.start) + i;
}

/* ---- what move_copy.c asks ---- */

/* What is in &uvm_move.src or &uvm_move.dst: a page frame, or a number in that GPU. */
static struct uvm_place uvm_managed_place(struct uvm_gpu *gpu, unsigned long what)
{
	struct uvm_place place = { 0 };

	if (gpu && what) {
		place.gpu = gpu;
		place.index = what >> MIGRATE_PFN_SHIFT;
	} else {
		place.page = migrate_pfn_to_page(what);
	}
	return place;
}

struct uvm_place uvm_managed_src(const struct uvm_move *mv, unsigned long i)
{
	return uvm_managed_place(mv->from, mv->src[i]);
}

struct uvm_place uvm_managed_dst(const struct uvm_move *mv, unsigned long i,
				 const struct uvm_target *dest)
{
	return uvm_managed_place(dest->gpu, mv->dst[i]);
}

/* Its page that others may have references to, NULL if the CPU can't get at it. */
static struct page *uvm_managed_src_page(const struct uvm_move *mv, unsigned long i)
{
	struct uvm_place src = uvm_managed_src(mv, i);

	if (src.gpu)
		return uvm_gpu_is_coherent(src.gpu) ?
		       pfn_to_page(src.gpu->base_pfn + src.index) : NULL;
	return src.page;
}

/* ---- which pages ---- */

static bool uvm_managed_here(struct uvm_block *block, unsigned int at,
			     const struct uvm_gpu *gpu)
{
	struct uvm_block_gpu *bg = uvm_block_gpu_find(block, gpu);

	return bg && test_bit(at, bg->here);
}

/*
 * Does the page go, from the CPU or from nobody? What a GPU has as well goes from the CPU
 * to another node like any other.
 */
static bool uvm_managed_wants_system(struct uvm_move *mv, unsigned long i,
				     const struct uvm_target *dest)
{
	struct uvm_block *block = mv->block;
	unsigned int at = uvm_managed_at(mv, i);
	bool cpu = test_bit(at, block->cpu);

	mv->src[i] = cpu ? migrate_pfn(page_to_pfn(block->page[at])) : 0;
	if (dest->gpu)
		return !uvm_managed_here(block, at, dest->gpu) &&
		       (cpu || !uvm_block_gpu_of_page(block, at, NULL));
	return cpu && dest->node != NUMA_NO_NODE &&
	       page_to_nid(block->page[at]) != dest->node;
}

/* May the page leave that GPU? To another one only straight. */
static bool uvm_managed_may_leave(struct uvm_move *mv, const struct uvm_block_gpu *bg,
				  unsigned int at, const struct uvm_target *dest)
{
	if (dest->gpu)
		return uvm_is_peer(dest->gpu, bg->gpu);
	if (dest->from != UVM_ANY_GPU && dest->from != bg->gpu->id)
		return false;
	if (dest->discard && !(mv->args.vma->vm_flags & VM_WRITE))
		return false;
	return !dest->strays || uvm_resident_is_stray(bg->gpu, bg->index[at]);
}

/* Does the page go, from a GPU? Only from one in one move. */
static bool uvm_managed_wants_gpu(struct uvm_move *mv, unsigned long i,
				  const struct uvm_target *dest)
{
	unsigned int at = uvm_managed_at(mv, i), who = UVM_HOLDER_CPU;
	struct uvm_block_gpu *bg;
	struct uvm_holders h;

	/* Of several who have it, the destination may be one. */
	if (test_bit(at, mv->block->cpu) ||
	    (dest->gpu && uvm_managed_here(mv->block, at, dest->gpu)))
		return false;
	uvm_block_holders(mv->block, at, &h);
	list_for_each_entry(bg, &mv->block->gpus, link) {
		if (!uvm_holders_can_give(&h, ++who) ||
		    !uvm_managed_may_leave(mv, bg, at, dest))
			continue;
		if (!mv->from)
			mv->from = bg->gpu;
		if (mv->from == bg->gpu) {
			mv->src[i] = migrate_pfn(bg->index[at]);
			return true;
		}
		mv->other_gpu = true;
	}
	return false;
}

static bool uvm_managed_wants(struct uvm_move *mv, unsigned long i,
			      const struct uvm_target *dest)
{
	mv->src[i] = 0;
	if (test_bit(uvm_managed_at(mv, i), mv->block->busy))
		return false;
	if (mv->args.flags & UVM_SELECT_OURS)
		return uvm_managed_wants_gpu(mv, i, dest);
	return uvm_managed_wants_system(mv, i, dest);
}

/*
 * Can one more GPU become a holder? There are masks of holders, with room for as many again
 * as may be on their way into the block at the same time.
 */
static bool uvm_managed_has_room(struct uvm_block *block)
{
	struct uvm_block_gpu *bg;
	unsigned int nr = 0;

	list_for_each_entry(bg, &block->gpus, link)
		nr++;
	return nr < UVM_HOLDERS_MAX / 2;
}

/* Returns how many. They are busy, and @dst isn't 0. */
static unsigned long uvm_managed_choose(struct uvm_move *mv, const struct uvm_target *dest)
{
	struct uvm_block *block = mv->block;
	unsigned long i, want = 0;
	bool room;

	mutex_lock(&block->lock);
	room = !dest->gpu || uvm_managed_has_room(block);
	for (i = 0; i < mv->args.npages; i++) {
		if (!room || !uvm_managed_wants(mv, i, dest)) {
			mv->src[i] = 0;
			continue;
		}
		mv->dst[i] = 1;
		__set_bit(uvm_managed_at(mv, i), mv->mine);
		want++;
	}
	bitmap_or(block->busy, block->busy, mv->mine, UVM_BLOCK_PAGES);
	mutex_unlock(&block->lock);
	return want;
}

/* ---- nobody else has them ---- */

/* Who was given a page has its lock until it is mapped; and nobody is given it now. */
static void uvm_managed_await_entries(struct uvm_move *mv)
{
	struct page *page;
	unsigned long i;

	for (i = 0; i < mv->args.npages; i++) {
		page = uvm_managed_src_page(mv, i);
		if (!mv->dst[i] || !page)
			continue;
		lock_page(page);
		unlock_page(page);
	}
}

/* Those that go are unmapped. The others, also those that are pinned, are idle. */
static void uvm_managed_take_off(struct uvm_move *mv, const struct uvm_target *dest)
{
	struct uvm_block *block = mv->block;
	unsigned int first, end;
	struct page *page;
	unsigned long i;

	mutex_lock(&block->lock);
	bitmap_zero(mv->now, UVM_BLOCK_PAGES);
	for (i = 0; i < mv->args.npages; i++)
		if (mv->dst[i])
			__set_bit(uvm_managed_at(mv, i), mv->now);
	for_each_set_bitrange(first, end, mv->now, UVM_BLOCK_PAGES)
		uvm_block_unmap(block, first, end);
	/*
	 * Pairs with GUP-fast, which takes its reference and then looks at the entry
	 * again: it finds none, or we find the reference.
	 */
	smp_mb();
	for (i = 0; i < mv->args.npages; i++) {
		page = uvm_managed_src_page(mv, i);
		if (!mv->dst[i] || !page || !uvm_managed_is_pinned(page))
			continue;
		uvm_managed_drop_dst(mv, i, dest);
		__clear_bit(uvm_managed_at(mv, i), mv->now);
	}
	bitmap_andnot(mv->mine, mv->mine, mv->now, UVM_BLOCK_PAGES);
	uvm_block_set_idle(block, mv->mine);
	bitmap_copy(mv->mine, mv->now, UVM_BLOCK_PAGES);
	mutex_unlock(&block->lock);
}

/* ---- nobody needs what they hold ---- */

/*
 * Whoever maps the page for a GPU looks under the lock: before this, and has it unmapped,
 * or after, and takes the mark away.
 */
static void uvm_managed_mark(struct uvm_move *mv, const struct uvm_target *dest)
{
	struct uvm_block *block = mv->block;
	unsigned int first, end, at;
	struct uvm_block_gpu *bg;
	unsigned long i;

	if (!(mv->args.vma->vm_flags & VM_WRITE))
		return;
	mutex_lock(&block->lock);
	bitmap_zero(mv->now, UVM_BLOCK_PAGES);
	for (i = 0; i < mv->args.npages; i++) {
		at = uvm_managed_at(mv, i);
		if (!test_bit(uvm_move_bit(mv, i), dest->mark) ||
		    test_bit(at, block->busy) || test_bit(at, block->cpu) ||
		    !uvm_block_gpu_of_page(block, at, NULL))
			continue;
		/* Only one could be marked, and the others would still have its bytes. */
		if (uvm_block_is_shared(block, at))
			uvm_block_collapse(block, at, at + 1, NULL);
		__set_bit(at, mv->now);
		__set_bit(i, mv->discarded);
	}
	for_each_set_bitrange(first, end, mv->now, UVM_BLOCK_PAGES)
		uvm_block_unmap(block, first, end);
	for_each_set_bit(at, mv->now, UVM_BLOCK_PAGES) {
		bg = uvm_block_gpu_of_page(block, at, NULL);
		uvm_resident_discard(bg->gpu, bg->index[at]);
	}
	mutex_unlock(&block->lock);
}

/* ---- begin ---- */

static void uvm_managed_put(struct uvm_move *mv)
{
	uvm_move_release_engines(mv);
	if (mv->res)
		uvm_resident_put(mv->res);
	kfree(mv->fresh);
	if (mv->block)
		uvm_block_put(mv->block);
	mv->res = NULL;
	mv->fresh = NULL;
	mv->block = NULL;
}

/* What can fail, and is needed in the end. Where nobody ever had a page, there is no block. */
static int uvm_managed_get(struct uvm_move *mv, const struct uvm_target *dest)
{
	struct uvm_va_space *vs = uvm_managed_vs(mv->args.vma);

	if (!vs)
		return -EINVAL;
	mv->block = uvm_block_get(vs, mv->args.start, dest->gpu);
	if (!dest->gpu)
		return mv->block ? uvm_block_make_room(mv->block) : 0;
	mv->fresh = kzalloc(sizeof(*mv->fresh), GFP_KERNEL_ACCOUNT);
	mv->res = uvm_resident_get(dest->tenant, ALIGN_DOWN(mv->args.start, UVM_BLOCK_SIZE));
	return mv->block && mv->fresh && mv->res ? 0 : -ENOMEM;
}

/* What is to have a copy is needed as it is: both are equal then. */
static void uvm_managed_revive(struct uvm_move *mv)
{
	struct uvm_place src;
	unsigned long i;

	for (i = 0; i < mv->args.npages; i++) {
		src = uvm_managed_src(mv, i);
		if (mv->dst[i] && src.gpu && test_bit(uvm_managed_at(mv, i), mv->copies))
			uvm_resident_revive(src.gpu, src.index, 1);
	}
}

static void uvm_managed_set_off(struct uvm_move *mv, const struct uvm_target *dest)
{
	unsigned long want;

	if (dest->leave)
		uvm_managed_drop_copies(mv, dest);
	/* What is a peer stays one, and isn't parked. */
	if (dest->gpu && mv->args.flags & UVM_SELECT_OURS)
		uvm_move_hold_engines(mv);
	want = uvm_managed_choose(mv, dest);
	if (!want)
		return;
	uvm_managed_note_copies(mv, dest);
	mv->gpu = dest->gpu ?: mv->from;
	if (dest->gpu)
		uvm_managed_take_numbers(mv, dest, want);
	else
		uvm_managed_take_pages(mv, dest, want);
	uvm_managed_await_entries(mv);
	uvm_managed_take_off(mv, dest);
	uvm_managed_revive(mv);
	uvm_move_note_discarded(mv, dest);
	uvm_move_start_copy(mv, dest);
}

/**
 * uvm_managed_begin() - &uvm_range_ops.begin
 * @mv: as for uvm_move_begin()
 * @vma: managed
 * @start: as there
 * @end: as there, in the same block
 * @select: MIGRATE_VMA_SELECT_SYSTEM for what the CPU holds, or nobody; else pages of GPUs
 * @dest: as there
 * @fault_page: NULL
 *
 * Return: 0; -EIO if @mv is lost; -EINVAL if @vma isn't in its place; -ENOMEM.
 */
int uvm_managed_begin(struct uvm_move *mv, struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, unsigned long select,
		      const struct uvm_target *dest, struct page *fault_page)
{
	int ret;

	lockdep_assert_held(&vma->vm_mm->mmap_lock);
	if (mv->lost)
		return -EIO;
	mv->args = (struct migrate_vma) {
		.vma = vma,
		.src = mv->src,
		.dst = mv->dst,
		.start = start,
		.end = end,
		.npages = (end - start) >> PAGE_SHIFT,
		.flags = select,
	};
	mv->gpu = NULL;
	mv->from = NULL;
	mv->huge = false;
	mv->error = 0;
	mv->other_gpu = false;
	mv->nr_runs = 0;
	mv->taken = 0;
	memset(mv->dst, 0, mv->args.npages * sizeof(*mv->dst));
	bitmap_zero(mv->mine, UVM_BLOCK_PAGES);
	bitmap_zero(mv->discarded, UVM_BLOCK_PAGES);
	ret = uvm_managed_get(mv, dest);
	if (ret) {
		uvm_managed_put(mv);
		return ret;
	}
	if (mv->block && dest->mark)
		uvm_managed_mark(mv, dest);
	else if (mv->block)
		uvm_managed_set_off(mv, dest);
	return 0;
}

/* ---- end ---- */

/* Of the GPU that pages go to. Its resident has a user as long as it is there. */
static struct uvm_block_gpu *uvm_managed_gpu_add(struct uvm_move *mv,
						 const struct uvm_target *dest)
{
	struct uvm_block_gpu *bg = uvm_block_gpu_find(mv->block, dest->gpu), *next;

	if (bg)
		return bg;
	bg = mv->fresh;
	mv->fresh = NULL;
	bg->gpu = dest->gpu;
	bg->res = mv->res;
	mv->res = NULL;
	list_for_each_entry(next, &mv->block->gpus, link)
		if (next->gpu->id > bg->gpu->id)
			break;
	list_add_tail(&bg->link, &next->link);
	return bg;
}

static void uvm_managed_arrive(struct uvm_move *mv, struct uvm_block_gpu *bg, unsigned long i)
{
	unsigned int at = uvm_managed_at(mv, i);

	if (bg) {
		/* It wasn't when it was chosen, and nobody else can since it is busy. */
		WARN_ON_ONCE(test_bit(at, bg->here));
		bg->index[at] = mv->dst[i] >> MIGRATE_PFN_SHIFT;
		__set_bit(at, bg->here);
		bg->nr++;
	} else {
		mv->block->page[at] = migrate_pfn_to_page(mv->dst[i]);
		__set_bit(at, mv->block->cpu);
		atomic_long_inc(&mv->block->vs->managed.cpu_pages);
	}
}

/* @bg is of the GPU that it comes from, or NULL for the CPU. */
static void uvm_managed_leave(struct uvm_move *mv, struct uvm_block_gpu *bg, unsigned long i)
{
	unsigned int at = uvm_managed_at(mv, i);

	if (bg) {
		__clear_bit(at, bg->here);
		bg->nr--;
	} else {
		mv->block->page[at] = NULL;
		__clear_bit(at, mv->block->cpu);
		atomic_long_dec(&mv->block->vs->managed.cpu_pages);
	}
}

/*
 * Those that have a destination have it for good. What they were before is left in @src
 * if it isn't used any more. Returns how many were copied.
 */
static unsigned long uvm_managed_hand_over(struct uvm_move *mv, const struct uvm_target *dest)
{
	struct uvm_block_gpu *from = NULL, *to = NULL;
	struct uvm_block *block = mv->block;
	unsigned long i, copied = 0;
	long nr = 0;

	if (mv->from)
		from = uvm_block_gpu_find(block, mv->from);
	if (dest->gpu && !bitmap_empty(mv->now, UVM_BLOCK_PAGES))
		to = uvm_managed_gpu_add(mv, dest);
	for (i = 0; i < mv->args.npages; i++) {
		if (!mv->dst[i])
			mv->src[i] = 0;
		/* To another node: nobody has two pages. */
		if (mv->src[i] && (from || to) &&
		    test_bit(uvm_managed_at(mv, i), mv->copies)) {
			mv->src[i] = 0;
			copied++;
		}
		if (mv->src[i]) {
			uvm_managed_leave(mv, from, i);
			nr--;
		}
		if (mv->dst[i]) {
			uvm_managed_arrive(mv, to, i);
			nr++;
		}
	}
	uvm_block_count(block, nr);
	if (to)
		uvm_resident_arrived(to->res, (mv->base % UVM_BLOCK_SIZE) >> PAGE_SHIFT,
				     mv->now, mv->npages);
	if (from && !from->nr) {
		uvm_resident_put(from->res);
		list_del(&from->link);
		kfree(from);
	}
	return copied;
}

/* Page numbers, as many at once as there are in a row. */
static void uvm_managed_free_numbers(struct uvm_move *mv)
{
	unsigned long i, n, first;

	for (i = 0; i < mv->args.npages; i += n) {
		n = 1;
		if (!mv->src[i])
			continue;
		first = mv->src[i] >> MIGRATE_PFN_SHIFT;
		while (i + n < mv->args.npages && (first + n) % UVM_CHUNK_PAGES &&
		       mv->src[i + n] == migrate_pfn(first + n))
			n++;
		/* The GPU may be gone after the last of them. */
		uvm_gpu_free_pages(mv->from, first, n);
	}
}

/* So many pages are given back at once. */
#define UVM_FREE_BATCH	32

static void uvm_managed_free_sources(struct uvm_move *mv)
{
	struct page *batch[UVM_FREE_BATCH];
	unsigned int nr = 0;
	unsigned long i;

	if (mv->from) {
		uvm_managed_free_numbers(mv);
		return;
	}
	for (i = 0; i < mv->args.npages; i++) {
		if (mv->src[i])
			batch[nr++] = migrate_pfn_to_page(mv->src[i]);
		if (nr < UVM_FREE_BATCH && i + 1 < mv->args.npages)
			continue;
		uvm_managed_free_pages(batch, nr);
		nr = 0;
	}
}

/**
 * uvm_managed_end() - &uvm_range_ops.end
 * @mv: begun
 * @dest: as it was begun with
 */
void uvm_managed_end(struct uvm_move *mv, const struct uvm_target *dest)
{
	struct uvm_block *block = mv->block;
	unsigned long i, copied;

	uvm_move_finish_copy(mv, dest);
	bitmap_zero(mv->now, UVM_BLOCK_PAGES);
	for (i = 0; i < mv->args.npages; i++)
		if (mv->dst[i])
			__set_bit(uvm_move_bit(mv, i), mv->now);
	bitmap_or(mv->moved, mv->moved, mv->now, UVM_BLOCK_PAGES);
	if (block && !bitmap_empty(mv->mine, UVM_BLOCK_PAGES)) {
		mutex_lock(&block->lock);
		copied = uvm_managed_hand_over(mv, dest);
		/* As long as nobody can take its pages, it can't go. */
		uvm_managed_note_made(mv, copied);
		uvm_block_set_idle(block, mv->mine);
		mutex_unlock(&block->lock);
		uvm_managed_free_sources(mv);
	}
	uvm_managed_put(mv);
}
