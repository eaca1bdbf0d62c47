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
 * A move of a whole block to or from private memory takes a huge page as one folio,
 * where the kernel can (UVM_HUGE_MOVES) and there is one for it on the other side. Core
 * splits it if it is given single pages; but not for a CPU fault, see cpu_fault.c.
 *
 * Memory that isn't ordinary has ways of its own, &struct uvm_range_ops: what begins, and
 * ends, here is a move of either kind.
 *
 * Resources are only tried for. How pages are copied is move_copy.c's.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/highmem.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/slab.h>

#include "managed.h"
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

	mv = kvmalloc(sizeof(*mv) +
		      max * (3 * sizeof(unsigned long) + sizeof(*mv->runs) +
			     sizeof(struct uvm_gpu_segment)), GFP_KERNEL);
	if (!mv)
		return NULL;
	memset(mv, 0, sizeof(*mv));
	mv->max = max;
	mv->engines = -1;
	mv->seg = (void *)(mv + 1);
	mv->runs = (void *)(mv->seg + max);
	mv->src = (void *)(mv->runs + max);
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
		if (dest->discard && !(mv->src[i] & MIGRATE_PFN_WRITE))
			return false;
		if (dest->strays &&
		    !uvm_resident_is_stray(gpu, page_to_pfn(page) - gpu->base_pfn))
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

/* Nobody is killed for it. */
#define UVM_GFP_GENTLE	(GFP_HIGHUSER_MOVABLE | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* So many pages are allocated at once, 64 KiB: they are one piece for the engine. */
#define UVM_STASH_ORDER	4

/* The pages of a stash are where the task wants memory, so not if the VMA says where. */
static bool uvm_move_fill_stash(struct uvm_move *mv, const struct uvm_target *dest)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_NOWARN | __GFP_NORETRY;
	struct page *page;

	if (dest->node != NUMA_NO_NODE)
		page = alloc_pages_node(dest->node, gfp | __GFP_THISNODE,
					UVM_STASH_ORDER);
	else if (vma_policy(mv->args.vma))
		page = NULL;
	else
		page = alloc_pages(gfp, UVM_STASH_ORDER);
	if (!page)
		return false;
	split_page(page, UVM_STASH_ORDER);
	mv->stash = page;
	mv->stashed = 1U << UVM_STASH_ORDER;
	return true;
}

static void uvm_move_empty_stash(struct uvm_move *mv)
{
	for (; mv->stashed; mv->stashed--)
		__free_page(mv->stash++);
}

/* A page for @i, of @left that are still to come. */
static struct page *uvm_alloc_system_page(struct uvm_move *mv, unsigned long i,
					  const struct uvm_target *dest,
					  unsigned long left)
{
	if (mv->stashed || (left >= 1U << UVM_STASH_ORDER &&
			    uvm_move_fill_stash(mv, dest))) {
		mv->stashed--;
		return mv->stash++;
	}
	if (dest->node == NUMA_NO_NODE)
		return alloc_page_vma(dest->gentle ? UVM_GFP_GENTLE : GFP_HIGHUSER_MOVABLE,
				      mv->args.vma, uvm_move_addr(mv, i));
	return alloc_pages_node(dest->node, GFP_HIGHUSER_MOVABLE | __GFP_THISNODE |
				__GFP_NOWARN | __GFP_NORETRY, 0);
}

/*
 * A system page becomes a destination. What the GPU wrote is in no CPU page table's
 * dirty bit, and a clean page under MADV_FREE may be dropped.
 */
static void uvm_move_prepare_system_page(struct page *page)
{
	lock_page(page);
	folio_mark_dirty(page_folio(page));
}

/* Device memory for @want pages. A whole chunk may have been taken before. */
void uvm_move_take(struct uvm_move *mv, const struct uvm_target *dest, unsigned long want)
{
	struct uvm_devmem *mem = &dest->gpu->mem;

	if (mv->taken && want < UVM_BLOCK_PAGES) {
		uvm_devmem_free(mem, mv->index[0], mv->taken);
		uvm_tenant_uncharge(dest->tenant, mv->taken);
		mv->taken = 0;
	}
	if (mv->taken || !want)
		return;
	want = uvm_tenant_charge(dest->tenant, want);
	mv->taken = uvm_move_has_holes(mv) ?
		    uvm_devmem_alloc_zeroed(mem, mv->index, want) :
		    uvm_devmem_alloc(mem, mv->index, want);
	uvm_tenant_uncharge(dest->tenant, want - mv->taken);
}

/* All of a chunk, which nothing else is in. */
static void uvm_move_take_block(struct uvm_move *mv, const struct uvm_target *dest)
{
	unsigned long want = uvm_tenant_charge(dest->tenant, UVM_BLOCK_PAGES);

	if (want == UVM_BLOCK_PAGES)
		mv->taken = uvm_devmem_alloc_block(&dest->gpu->mem, mv->index);
	uvm_tenant_uncharge(dest->tenant, want - mv->taken);
}

static struct page *uvm_move_device_page(struct uvm_move *mv,
					 const struct uvm_target *dest,
					 unsigned long index, unsigned int order)
{
	uvm_resident_add(mv->res, index, 1U << order);
	return uvm_gpu_alloc_page(dest->gpu, index, order);
}

/* Gives those pages a destination for which @dst isn't 0. */
static void uvm_move_alloc_singles(struct uvm_move *mv, const struct uvm_target *dest,
				   unsigned long want)
{
	unsigned long i, used = 0;
	struct page *page;
	bool none = false;

	if (dest->gpu)
		uvm_move_take(mv, dest, want);
	for (i = 0; i < mv->args.npages; i++) {
		if (!mv->dst[i])
			continue;
		if (!dest->gpu)
			page = none ? NULL :
			       uvm_alloc_system_page(mv, i, dest, want - used++);
		else if (used < mv->taken)
			page = uvm_move_device_page(mv, dest, mv->index[used++], 0);
		else
			page = NULL;
		/* It was tried hard for: the next would be no easier to get. */
		none = !page && dest->gentle;
		if (page && !dest->gpu)
			uvm_move_prepare_system_page(page);
		mv->dst[i] = page ? migrate_pfn(page_to_pfn(page)) : 0;
		assign_bit(uvm_move_bit(mv, i), mv->starved, !page);
	}
	uvm_move_empty_stash(mv);
}

/* A hole may become a huge page, if nobody minds. */
static bool uvm_move_may_be_huge(const struct uvm_move *mv)
{
	return migrate_pfn_to_page(mv->src[0]) ||
	       !(mv->args.vma->vm_flags & VM_NOHUGEPAGE);
}

static struct page *uvm_alloc_huge_dst(struct uvm_move *mv,
				       const struct uvm_target *dest)
{
	struct page *page;

	if (!uvm_move_may_be_huge(mv))
		return NULL;
	if (dest->gpu && !migrate_pfn_to_page(mv->src[0]))
		uvm_devmem_swap_zeroed(&dest->gpu->mem, mv->index);
	if (dest->gpu)
		return uvm_move_device_page(mv, dest, mv->index[0],
					    UVM_BLOCK_SHIFT - PAGE_SHIFT);
	page = uvm_alloc_huge_page(mv->args.vma, mv->args.start, dest->node);
	if (page)
		uvm_move_prepare_system_page(page);
	return page;
}

/*
 * Gives a huge page, or hole, a folio; or else single pages. For a hole those are in the
 * chunk that was taken, so there is one for each, as core expects.
 */
static void uvm_move_alloc_huge(struct uvm_move *mv, const struct uvm_target *dest)
{
	struct page *page = uvm_alloc_huge_dst(mv, dest);
	unsigned long i;

	if (page) {
		mv->dst[0] = migrate_pfn(page_to_pfn(page)) | MIGRATE_PFN_COMPOUND;
	} else if (mv->args.fault_page) {
		mv->dst[0] = 0;
		bitmap_fill(mv->starved, UVM_BLOCK_PAGES);
	} else {
		for (i = 0; i < UVM_BLOCK_PAGES; i++)
			mv->dst[i] = 1;
		uvm_move_alloc_singles(mv, dest, UVM_BLOCK_PAGES);
	}
}

/* Gives every page that can move a destination. */
static void uvm_move_alloc_dst(struct uvm_move *mv, const struct uvm_target *dest)
{
	unsigned long i, want = 0;

	mv->huge = mv->src[0] & MIGRATE_PFN_COMPOUND;
	if (mv->huge && uvm_move_wants(mv, 0, dest)) {
		uvm_move_alloc_huge(mv, dest);
		return;
	}
	for (i = 0; i < mv->args.npages; i++) {
		mv->dst[i] = uvm_move_wants(mv, i, dest);
		want += mv->dst[i];
	}
	uvm_move_alloc_singles(mv, dest, want);
}

static struct page *uvm_move_page(const unsigned long *pfns, bool huge,
				  unsigned long i)
{
	struct page *page = migrate_pfn_to_page(pfns[huge ? 0 : i]);

	return page && huge ? pfn_to_page(page_to_pfn(page) + i) : page;
}

static struct uvm_place uvm_place_of_page(struct page *page)
{
	struct uvm_place place = { 0 };

	if (page && uvm_page_is_ours(page)) {
		place.gpu = uvm_gpu_of_page(page);
		place.index = page_to_pfn(page) - place.gpu->base_pfn;
	} else {
		place.page = page;
	}
	return place;
}

static struct uvm_place uvm_ordinary_src(const struct uvm_move *mv, unsigned long i)
{
	return uvm_place_of_page(uvm_move_page(mv->src, mv->huge, i));
}

/* Of what goes to a GPU, all is that GPU's; of what goes home, all is the system's. */
static struct uvm_place uvm_ordinary_dst(const struct uvm_move *mv, unsigned long i,
					 const struct uvm_target *dest)
{
	struct page *page = uvm_move_page(mv->dst, uvm_move_has_folio(mv), i);

	if (!dest->gpu)
		return (struct uvm_place){ .page = page };
	return (struct uvm_place){
		.gpu = dest->gpu,
		.index = page_to_pfn(page) - dest->gpu->base_pfn,
	};
}

static void uvm_ordinary_drop(struct uvm_move *mv, unsigned long i,
			      const struct uvm_target *dest)
{
	struct page *page = migrate_pfn_to_page(mv->dst[i]);

	mv->dst[i] = 0;
	unlock_page(page);
	put_page(page);
}

/*
 * Nobody needs what these pages hold, of those that the mm alone has, and may write. They
 * are mapped nowhere until the move ends, which puts them back.
 */
static void uvm_move_mark(struct uvm_move *mv, const struct uvm_target *dest)
{
	const unsigned long may = MIGRATE_PFN_MIGRATE | MIGRATE_PFN_WRITE;
	struct uvm_place src;
	unsigned long i;

	mv->huge = mv->src[0] & MIGRATE_PFN_COMPOUND;
	bitmap_zero(mv->discarded, UVM_BLOCK_PAGES);
	for (i = 0; i < mv->args.npages; i++) {
		mv->dst[i] = 0;
		src = uvm_ordinary_src(mv, i);
		if (!src.gpu || (mv->src[mv->huge ? 0 : i] & may) != may ||
		    !test_bit(uvm_move_bit(mv, i), dest->mark))
			continue;
		uvm_resident_discard(src.gpu, src.index);
		__set_bit(i, mv->discarded);
	}
}

static bool uvm_move_is_block(unsigned long start, unsigned long end)
{
	return IS_ALIGNED(start, UVM_BLOCK_SIZE) && end - start == UVM_BLOCK_SIZE;
}

/*
 * May a huge page of the VMA be mapped by another mm, too, since a fork? While the mm has
 * its mmap_lock held, that can only end. The anon_vma of a VMA that was never forked is
 * its only one, and its own child at most.
 */
static bool uvm_vma_may_share(const struct vm_area_struct *vma)
{
	return vma->anon_vma &&
	       (!list_is_singular(&vma->anon_vma_chain) ||
		READ_ONCE(vma->anon_vma->num_children) > 1);
}

static bool uvm_huge_may_be_shared(const struct vm_area_struct *vma,
				   struct page *fault_page)
{
	if (fault_page)
		return folio_mapcount(page_folio(fault_page)) > 1;
	return uvm_vma_may_share(vma);
}

/**
 * uvm_huge_may_move() - may a huge private page move as one?
 * @vma: its VMA; mmap_lock is held
 * @base: its address
 * @fault_page: the page that a CPU fault is about, if it is in there, or NULL
 * @mv: the move that is about to begin, or NULL to just ask
 *
 * Core (7.3) gives up a reference too many when somebody unmaps a huge page of private
 * memory that is on its way: it takes the migration entry for that of a page that is
 * mapped. What another mm may share is split first; others of this mm wait, see zaps.c.
 *
 * Return: true if it may; others then wait for @mv, until uvm_zaps_allow().
 */
bool uvm_huge_may_move(const struct vm_area_struct *vma, unsigned long base,
		       struct page *fault_page, struct uvm_move *mv)
{
	return UVM_HUGE_MOVES && !uvm_huge_may_be_shared(vma, fault_page) &&
	       uvm_zaps_bar(vma->vm_mm, base, mv);
}

/*
 * Can a huge page move as one? To a GPU only into a chunk of its memory, which is taken
 * before core is asked: what core doesn't split then must find one.
 */
static bool uvm_move_takes_huge(struct uvm_move *mv, const struct uvm_target *dest,
				unsigned long select)
{
	if (!UVM_HUGE_MOVES || !uvm_move_is_block(mv->args.start, mv->args.end))
		return false;
	if (dest->gpu && dest->gpu->desc.memory_kind == UVM_MEMORY_PRIVATE)
		uvm_move_take_block(mv, dest);
	if (dest->gpu && !mv->taken)
		return false;
	if (!(select & MIGRATE_VMA_SELECT_DEVICE_PRIVATE))
		return dest->gpu;
	return uvm_huge_may_move(mv->args.vma, mv->args.start, mv->args.fault_page, mv);
}

static void uvm_move_put_resident(struct uvm_move *mv)
{
	if (mv->res)
		uvm_resident_put(mv->res);
	mv->res = NULL;
}

static int uvm_ordinary_begin(struct uvm_move *mv, struct vm_area_struct *vma,
			      unsigned long start, unsigned long end,
			      unsigned long select, const struct uvm_target *dest,
			      struct page *fault_page)
{
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
	mv->nr_runs = 0;
	mv->taken = 0;
	if (mv->lost)
		return -EIO;
	if (dest->gpu && !dest->gpu->has_pages)
		return -EOPNOTSUPP;
	if (dest->gpu) {
		mv->res = uvm_resident_get(dest->tenant,
					   ALIGN_DOWN(start, UVM_BLOCK_SIZE));
		if (!mv->res)
			return -ENOMEM;
	}
	if (uvm_move_takes_huge(mv, dest, select))
		mv->args.flags |= MIGRATE_VMA_SELECT_COMPOUND;
	ret = migrate_vma_setup(&mv->args);
	if (ret) {
		uvm_zaps_allow(mv);
		if (mv->taken)
			uvm_move_take(mv, dest, 0);
		uvm_move_put_resident(mv);
		return ret;
	}
	if (dest->mark) {
		uvm_move_mark(mv, dest);
		return 0;
	}
	/* To a GPU: from its peers, too. Home: system memory may take its time, so later. */
	if (dest->gpu)
		uvm_move_hold_engines(mv);
	uvm_move_alloc_dst(mv, dest);
	uvm_move_note_discarded(mv, dest);
	if (dest->gpu)
		uvm_memory_taken(dest->gpu);
	uvm_move_start_copy(mv, dest);
	return 0;
}

/* After migrate_vma_pages(): what core has moved, and split. */
static void uvm_move_note_moved(struct uvm_move *mv)
{
	unsigned long i;

	bitmap_zero(mv->now, UVM_BLOCK_PAGES);
	if (uvm_move_has_folio(mv)) {
		if (mv->src[0] & MIGRATE_PFN_MIGRATE)
			bitmap_fill(mv->now, UVM_BLOCK_PAGES);
	} else {
		for (i = 0; i < mv->args.npages; i++)
			if (mv->dst[i] && mv->src[i] & MIGRATE_PFN_MIGRATE)
				__set_bit(uvm_move_bit(mv, i), mv->now);
	}
	bitmap_or(mv->moved, mv->moved, mv->now, UVM_BLOCK_PAGES);
	if (mv->res)
		uvm_resident_arrived(mv->res, (mv->base % UVM_BLOCK_SIZE) >> PAGE_SHIFT,
				     mv->now, mv->npages);
}

static void uvm_ordinary_end(struct uvm_move *mv, const struct uvm_target *dest)
{
	uvm_move_finish_copy(mv, dest);
	migrate_vma_pages(&mv->args);
	uvm_move_note_moved(mv);
	migrate_vma_finalize(&mv->args);
	uvm_zaps_allow(mv);
	uvm_move_put_resident(mv);
}

static const struct uvm_range_ops uvm_ordinary_ops = {
	.begin = uvm_ordinary_begin,
	.end = uvm_ordinary_end,
	.src = uvm_ordinary_src,
	.dst = uvm_ordinary_dst,
	.drop = uvm_ordinary_drop,
};

static const struct uvm_range_ops uvm_managed_ops = {
	.begin = uvm_managed_begin,
	.end = uvm_managed_end,
	.src = uvm_managed_src,
	.dst = uvm_managed_dst,
	.drop = uvm_managed_drop_dst,
	.look = uvm_managed_look,
};

/* How pages of the VMA move; never NULL. */
const struct uvm_range_ops *uvm_range_ops_of(const struct vm_area_struct *vma)
{
	return uvm_vma_is_managed(vma) ? &uvm_managed_ops : &uvm_ordinary_ops;
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
 * lost; -EOPNOTSUPP if such memory can't go there; or what migrate_vma_setup() says.
 */
int uvm_move_begin(struct uvm_move *mv, struct vm_area_struct *vma,
		   unsigned long start, unsigned long end, unsigned long select,
		   const struct uvm_target *dest, struct page *fault_page)
{
	mv->ops = uvm_range_ops_of(vma);
	return mv->ops->begin(mv, vma, start, end, select, dest, fault_page);
}

/**
 * uvm_move_end() - wait for the copy and give the pages their new place
 * @mv: begun
 * @dest: as it was begun with
 */
void uvm_move_end(struct uvm_move *mv, const struct uvm_target *dest)
{
	mv->ops->end(mv, dest);
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

/* As uvm_migrate_home(), to @dest. */
long uvm_migrate_from(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, const struct uvm_target *dest)
{
	struct uvm_move *mv = uvm_move_alloc((end - start) >> PAGE_SHIFT);
	long moved;

	if (!mv)
		return -ENOMEM;
	uvm_move_reset(mv, start, end);
	uvm_move_from_gpus(mv, vma, start, end, dest);
	moved = bitmap_weight(mv->moved, mv->npages);
	if (!moved)
		moved = mv->error;
	uvm_move_free(mv);
	return moved;
}

/**
 * uvm_migrate_home() - bring device pages back to system memory
 * @vma: mmap_lock is held
 * @start: first address, in @vma
 * @end: end address, in @vma, in the same block
 * @from: the id of the GPU whose pages are wanted, or UVM_ANY_GPU
 *
 * What can't be moved now stays where it is, and what is read mostly stays there, too.
 *
 * Return: pages moved, -ENOMEM, or why the copy failed if none did.
 */
long uvm_migrate_home(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, u32 from)
{
	const struct uvm_target home = {
		.node = NUMA_NO_NODE,
		.from = from,
		.duplicate = true,
	};

	return uvm_migrate_from(vma, start, end, &home);
}
