// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Migration
 *
 * Owns the way of a page from one memory to another. The unit is a *move*: up to a
 * block of pages of one VMA, through migrate_vma_setup(), one copy batch,
 * migrate_vma_pages() and migrate_vma_finalize(). A move that was begun is always
 * ended; what can't be copied is left where it was.
 *
 * UVM_MIGRATE walks the range in blocks and keeps two moves going: while the engine
 * copies one, the next is set up. Pages of a move under way are locked and
 * unmapped, so with one under way nothing may be waited for but its copy: no page
 * fault, no eviction. What the first attempt at a block did not move is looked at
 * only when nothing is under way (uvm_settle()): pages are fetched from
 * other GPUs and from swap, tried again, and finally counted with the reason.
 *
 * Resources are only tried for. Each page ends in exactly one of the counts moved,
 * already there, or skipped for a reason.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/hmm.h>
#include <linux/hugetlb.h>
#include <linux/migrate.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "migrate.h"
#include "residency.h"

/* So often it is tried, if the copy fails, before the process is told. */
#define UVM_CPU_FAULT_TRIES	3

#define UVM_SELECT_OURS \
	(MIGRATE_VMA_SELECT_DEVICE_PRIVATE | MIGRATE_VMA_SELECT_DEVICE_COHERENT)

/**
 * struct uvm_move - pages of one VMA on their way
 * @args: for migrate_vma_*()
 * @copy: the batch, if an engine copies
 * @gpu: whose engine copies; NULL if the CPU does
 * @error: why the copy failed, as uvm_copy_finish() says
 * @base: address of bit 0 of the bitmaps
 * @npages: pages from @base that this is about
 * @other_gpu: there were pages of a GPU other than @gpu: go again
 * @lost: an engine that could not be reset may still read @seg: never used again,
 *	never freed
 * @under_way: between uvm_move_begin() and uvm_move_end() of a migration
 * @moved: pages that arrived
 * @starved: pages for which there was no memory
 * @max: room, in pages
 * @src: for @args
 * @dst: for @args
 * @dma: DMA addresses of the system side
 * @seg: for @copy
 * @index: device memory taken for the move
 */
struct uvm_move {
	struct migrate_vma args;
	struct uvm_copy copy;
	struct uvm_gpu *gpu;
	int error;
	unsigned long base;
	unsigned long npages;
	bool other_gpu;
	bool lost;
	bool under_way;
	DECLARE_BITMAP(moved, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(starved, UVM_BLOCK_PAGES);
	unsigned int max;
	unsigned long *src;
	unsigned long *dst;
	dma_addr_t *dma;
	struct uvm_gpu_segment *seg;
	unsigned long *index;
};

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
static void uvm_move_reset(struct uvm_move *mv, unsigned long start,
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
static int uvm_move_begin(struct uvm_move *mv, struct vm_area_struct *vma,
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
static void uvm_move_end(struct uvm_move *mv, const struct uvm_target *dest)
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

static int uvm_move_sync(struct uvm_move *mv, struct vm_area_struct *vma,
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
static void uvm_move_from_gpus(struct uvm_move *mv, struct vm_area_struct *vma,
			       unsigned long start, unsigned long end,
			       const struct uvm_target *dest)
{
	int i;

	for (i = 0; i < UVM_MAX_GPUS; i++)
		if (uvm_move_sync(mv, vma, start, end, UVM_SELECT_OURS, dest) ||
		    !mv->other_gpu)
			break;
}

static const struct uvm_target uvm_target_home = {
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

/*
 * What a CPU fault gets. A page that was not collected, or lost a race, is no
 * error: the fault is taken again if it is still needed. SIGBUS is for a device that
 * can't give the page back, not for the want of memory.
 */
static vm_fault_t uvm_move_fault_result(struct uvm_move *mv, unsigned long address)
{
	unsigned long bit = (address - mv->base) >> PAGE_SHIFT;

	if (test_bit(bit, mv->moved))
		return 0;
	if (test_bit(bit, mv->starved) || mv->error == -ENOMEM)
		return VM_FAULT_OOM;
	return mv->error ? VM_FAULT_SIGBUS : 0;
}

/**
 * uvm_migrate_to_ram() - a CPU touched a private page
 * @vmf: the fault
 *
 * Brings back a window around it. A copy fails also when its engine is reset for
 * the sake of another batch that hangs, and the page is still good: so it is tried
 * again. Takes no lock of ours but those of the copy
 * engine and of the allocators. Called by core mm with mmap_lock held.
 *
 * Return: 0 if the fault should be looked at again, VM_FAULT_OOM, or
 * VM_FAULT_SIGBUS if the device can't give the page back.
 */
vm_fault_t uvm_migrate_to_ram(struct vm_fault *vmf)
{
	struct uvm_gpu *gpu = uvm_gpu_of_page(vmf->page);
	unsigned long start, end, address = vmf->address & PAGE_MASK;
	vm_fault_t ret = VM_FAULT_SIGBUS;
	int tries = UVM_CPU_FAULT_TRIES;
	struct uvm_move *mv;

	uvm_window_get(&gpu->windows, vmf->vma, address, &start, &end);
	uvm_advise_clip(vmf->vma->vm_mm, address, &start, &end);
	mv = uvm_move_alloc((end - start) >> PAGE_SHIFT);
	if (!mv)
		return VM_FAULT_OOM;
	uvm_move_reset(mv, start, end);
	while (tries-- && ret == VM_FAULT_SIGBUS &&
	       !uvm_move_begin(mv, vmf->vma, start, end,
			       MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
			       &uvm_target_home, vmf->page)) {
		uvm_move_end(mv, &uvm_target_home);
		ret = uvm_move_fault_result(mv, address);
	}
	/* Core mm holds the faulting page, and that its GPU. */
	uvm_stats_add(&gpu->stats, UVM_STAT_CPU_FAULTS, 1);
	uvm_stats_add(&gpu->stats, UVM_STAT_CPU_MOVED,
		      bitmap_weight(mv->moved, mv->npages));
	uvm_move_free(mv);
	return ret;
}

/**
 * struct uvm_migration - a UVM_MIGRATE under way
 * @vs: VA space; its mm is retained
 * @gs: the GPU space that @dest is of, or NULL. Entered while blocks are worked on.
 * @gone: @gs went down
 * @dest: where to
 * @cmd: the argument; its counts are filled in
 * @moves: two blocks, so that one is set up while the other is copied
 * @next: which of @moves the next block takes
 * @pfns: room for a snapshot
 */
struct uvm_migration {
	struct uvm_va_space *vs;
	struct uvm_gpu_space *gs;
	bool gone;
	struct uvm_target dest;
	struct uvm_migrate *cmd;
	struct uvm_move *moves[2];
	unsigned int next;
	unsigned long pfns[UVM_BLOCK_PAGES];
};

static bool uvm_target_is_any_cpu(const struct uvm_target *dest)
{
	return !dest->gpu && dest->node == NUMA_NO_NODE;
}

static bool uvm_page_arrived(const struct uvm_target *dest,
			     const struct uvm_residency *res)
{
	if (dest->gpu)
		return res->where == UVM_WHERE_GPU && res->id == dest->gpu_id;
	if (dest->node != NUMA_NO_NODE)
		return res->node == dest->node;
	return res->where == UVM_WHERE_CPU;
}

/* Why a page that did not arrive stayed where it is. */
static enum uvm_skip uvm_skip_reason(const struct uvm_target *dest,
				     const struct uvm_move *mv, unsigned long bit,
				     const struct uvm_residency *res)
{
	if (res->where == UVM_WHERE_OTHER_DEVICE)
		return UVM_SKIP_OTHER_DEVICE;
	if ((res->where == UVM_WHERE_NONE || res->zero) && !dest->gpu &&
	    !dest->populate)
		return UVM_SKIP_HOLE_NOT_POPULATED;
	if (!res->anon && res->where != UVM_WHERE_GPU &&
	    !vma_is_anonymous(mv->args.vma))
		return UVM_SKIP_VMA_KIND;
	return test_bit(bit, mv->starved) ? UVM_SKIP_NO_MEMORY : UVM_SKIP_BUSY;
}

/* Counts every page of the block that did not move. */
static void uvm_settle_count(struct uvm_migration *mig, struct uvm_move *mv)
{
	struct uvm_migrate *cmd = mig->cmd;
	struct uvm_residency res;
	unsigned long bit;

	if (uvm_mirror_snapshot(mig->vs, mv->base, mv->npages, mig->pfns))
		memset(mig->pfns, 0, sizeof(mig->pfns));
	for_each_clear_bit(bit, mv->moved, mv->npages) {
		uvm_residency_of(mig->pfns[bit], &res);
		if (uvm_page_arrived(&mig->dest, &res))
			cmd->out_already++;
		else
			cmd->out_skipped[uvm_skip_reason(&mig->dest, mv, bit,
							 &res)]++;
	}
}

/*
 * Would another attempt, better prepared, have a chance? To a GPU: pages that are
 * on another one, or swapped out; if it is a NUMA node, also absent ones and those
 * that are the zero page. To the CPU: pages on a GPU that is a NUMA node. And pages
 * that were busy: somebody looked at them just then, or another CPU's list of
 * fresh pages still held them.
 */
static bool uvm_settle_wants(struct uvm_migration *mig, struct uvm_move *mv,
			     unsigned long bit)
{
	const struct uvm_target *dest = &mig->dest;
	struct uvm_residency res;

	if (bit >= mv->npages || test_bit(bit, mv->moved) ||
	    test_bit(bit, mv->starved))
		return false;
	uvm_residency_of(mig->pfns[bit], &res);
	if (uvm_page_arrived(dest, &res))
		return false;
	if (res.where == UVM_WHERE_GPU)
		return true;
	if (!vma_is_anonymous(mv->args.vma))
		return false;
	if (res.where == UVM_WHERE_NONE)
		return dest->gpu || dest->populate;
	return res.anon || dest->populate;
}

static bool uvm_migration_enter(struct uvm_migration *mig)
{
	if (mig->gs && !mig->gone)
		mig->gone = !uvm_gpu_space_enter(mig->gs);
	return !mig->gone;
}

static void uvm_migration_leave(struct uvm_migration *mig)
{
	if (mig->gs && !mig->gone)
		uvm_gpu_space_leave(mig->gs);
}

/* It may wait for user space, and so not in the GPU space. */
static void uvm_settle_populate(struct uvm_migration *mig, unsigned long start,
				unsigned long npages, unsigned long *pfns)
{
	uvm_migration_leave(mig);
	uvm_mirror_populate(mig->vs, start, npages, pfns, mig->dest.populate);
	uvm_migration_enter(mig);
}

/* From peers pages come at once, from other GPUs by way of system memory. */
static void uvm_settle_from_gpus(struct uvm_migration *mig, struct uvm_move *mv,
				 unsigned long first, unsigned long last)
{
	struct vm_area_struct *vma = mv->args.vma;
	unsigned int i, end;

	uvm_move_sync(mv, vma, mv->base + first * PAGE_SIZE,
		      mv->base + last * PAGE_SIZE, UVM_SELECT_OURS, &mig->dest);
	i = first;
	for_each_clear_bitrange_from(i, end, mv->moved, last)
		uvm_migrate_home(vma, mv->base + i * PAGE_SIZE,
				 mv->base + end * PAGE_SIZE, UVM_ANY_GPU);
}

static void uvm_settle_run(struct uvm_migration *mig, struct uvm_move *mv,
			   unsigned long first, unsigned long last)
{
	struct uvm_target near = { .node = numa_mem_id(), .from = UVM_ANY_GPU };
	struct vm_area_struct *vma = mv->args.vma;
	unsigned long start = mv->base + first * PAGE_SIZE;
	unsigned long end = mv->base + last * PAGE_SIZE;
	const struct uvm_target *dest = &mig->dest;

	if (dest->gpu)
		uvm_settle_from_gpus(mig, mv, first, last);
	if (dest->gpu || dest->populate)
		uvm_settle_populate(mig, start, last - first,
				    mig->pfns + first);
	if (mig->gone)
		return;
	if (uvm_target_is_any_cpu(dest))
		dest = &near;
	uvm_move_sync(mv, vma, start, end, MIGRATE_VMA_SELECT_SYSTEM, dest);
}

/* Tries again, run by run, what deserves it. Returns false if nothing did. */
static bool uvm_settle_round(struct uvm_migration *mig, struct uvm_move *mv)
{
	unsigned long bit, first;
	bool any = false;

	if (mig->gone ||
	    uvm_mirror_snapshot(mig->vs, mv->base, mv->npages, mig->pfns))
		return false;
	for (bit = 0; bit < mv->npages; bit++) {
		first = bit;
		while (uvm_settle_wants(mig, mv, bit))
			bit++;
		if (bit == first)
			continue;
		uvm_settle_run(mig, mv, first, bit);
		if (mig->gone)
			return false;
		any = true;
	}
	return any;
}

/*
 * Takes back what GPUs have for themselves: HMM shows it as absent, and core doesn't
 * collect it. What goes to a GPU is populated in any case.
 */
static void uvm_settle_take_back(struct uvm_migration *mig, struct uvm_move *mv)
{
	DECLARE_BITMAP(taken, UVM_BLOCK_PAGES) = {};
	unsigned int first, end;

	if (mig->dest.gpu || mig->gone ||
	    !uvm_mirror_taken(mig->vs, mv->base, mv->npages, taken))
		return;
	for_each_set_bitrange(first, end, taken, mv->npages)
		uvm_settle_populate(mig, mv->base + first * PAGE_SIZE, end - first,
				    mig->pfns);
}

/*
 * A block of which not all moved. Nothing is under way, so pages may be waited for:
 * what another attempt could move is tried again, and what remains is counted. The
 * second round is for huge pages just populated: where core splits them, it puts the
 * zero page back in place of what is still zero.
 */
static void uvm_settle(struct uvm_migration *mig, struct uvm_move *mv)
{
	if (!mig->dest.gpu)
		uvm_move_from_gpus(mv, mv->args.vma, mv->base,
				   mv->base + mv->npages * PAGE_SIZE, &mig->dest);
	uvm_settle_take_back(mig, mv);
	if (uvm_settle_round(mig, mv))
		uvm_settle_round(mig, mv);
	uvm_settle_count(mig, mv);
}

static bool uvm_move_complete(const struct uvm_move *mv)
{
	return bitmap_full(mv->moved, mv->npages);
}

static void uvm_migration_end(struct uvm_migration *mig, struct uvm_move *mv)
{
	if (mv->under_way)
		uvm_move_end(mv, &mig->dest);
	mv->under_way = false;
}

/* Counts the block of an ended move; for an incomplete one nothing is under way. */
static void uvm_migration_account(struct uvm_migration *mig, struct uvm_move *mv)
{
	if (!uvm_move_complete(mv))
		uvm_settle(mig, mv);
	mig->cmd->out_moved += bitmap_weight(mv->moved, mv->npages);
	mv->npages = 0;
}

/* Sets one block off while the one before it is still being copied. */
static void uvm_migration_block(struct uvm_migration *mig,
				struct vm_area_struct *vma, unsigned long start,
				unsigned long end)
{
	struct uvm_move *mv = mig->moves[mig->next];
	struct uvm_move *before = mig->moves[!mig->next];
	unsigned long select = uvm_target_is_any_cpu(&mig->dest) ?
			       UVM_SELECT_OURS : MIGRATE_VMA_SELECT_SYSTEM;

	uvm_move_reset(mv, start, end);
	mv->under_way = !uvm_move_begin(mv, vma, start, end, select, &mig->dest,
					NULL);
	uvm_migration_end(mig, before);
	if (!uvm_move_complete(before))
		uvm_migration_end(mig, mv);
	uvm_migration_account(mig, before);
	if (!mv->under_way)
		uvm_migration_account(mig, mv);
	mig->next = !mig->next;
}

static void uvm_migration_drain(struct uvm_migration *mig)
{
	int i;

	for (i = 0; i < 2; i++)
		uvm_migration_end(mig, mig->moves[i]);
	for (i = 0; i < 2; i++)
		uvm_migration_account(mig, mig->moves[i]);
}

/*
 * Anonymous pages live in private mappings only. Where the process may not read, HMM
 * doesn't look, so nothing could be told about what happened to the pages.
 */
bool uvm_vma_migratable(const struct vm_area_struct *vma)
{
	return !(vma->vm_flags & (VM_SPECIAL | VM_SHARED | VM_HUGETLB)) &&
	       vma->vm_flags & VM_READ && !vma_is_dax(vma);
}

/* Is somebody waiting for this to end? */
static bool uvm_migration_stops(struct uvm_migration *mig)
{
	return uvm_mm_releasing(mig->vs) || mig->gone ||
	       (mig->gs && READ_ONCE(mig->gs->dying));
}

static int uvm_migration_error(struct uvm_migration *mig)
{
	if (uvm_mm_releasing(mig->vs))
		return -ESRCH;
	return uvm_gpu_present(mig->cmd->dest_uuid) ? -ENOENT : -ENODEV;
}

static unsigned long uvm_migrate_skip(struct uvm_migration *mig, unsigned long addr,
				      unsigned long end, enum uvm_skip reason)
{
	mig->cmd->out_skipped[reason] += (end - addr) >> PAGE_SHIFT;
	return end;
}

/*
 * Blocks until the end of the VMA or of its policy, or until others should have the
 * lock.
 */
static unsigned long uvm_migrate_vma(struct uvm_migration *mig,
				     struct vm_area_struct *vma,
				     unsigned long addr, unsigned long end)
{
	unsigned long next, first, last;
	struct uvm_policy policy;

	uvm_policies_lookup(&mig->vs->policies, addr, &policy, &first, &last);
	end = min3(end - 1, vma->vm_end - 1, last) + 1;
	if (!uvm_vma_migratable(vma))
		return uvm_migrate_skip(mig, addr, end, UVM_SKIP_VMA_KIND);
	if (!(uvm_policy_switches(&policy) & UVM_POLICY_ALLOW_MIGRATION))
		return uvm_migrate_skip(mig, addr, end, UVM_SKIP_POLICY);
	while (addr < end) {
		next = min(end, ALIGN(addr + 1, UVM_BLOCK_SIZE));
		uvm_migration_block(mig, vma, addr, next);
		addr = next;
		uvm_delay(UVM_DELAY_MIGRATE);
		if (need_resched() || mmap_lock_is_contended(vma->vm_mm) ||
		    fatal_signal_pending(current) || uvm_migration_stops(mig))
			break;
	}
	uvm_migration_drain(mig);
	return addr;
}

static int uvm_migrate_range(struct uvm_migration *mig, unsigned long addr,
			     unsigned long end)
{
	struct mm_struct *mm = mig->vs->mm;
	struct vm_area_struct *vma;

	while (addr < end) {
		if (uvm_migration_stops(mig))
			return uvm_migration_error(mig);
		cond_resched();
		if (fatal_signal_pending(current) || mmap_read_lock_killable(mm))
			return -EINTR;
		vma = vma_lookup(mm, addr);
		if (!vma || !uvm_vma_accessible(vma)) {
			mmap_read_unlock(mm);
			return -EFAULT;
		}
		if (uvm_migration_enter(mig)) {
			addr = uvm_migrate_vma(mig, vma, addr, end);
			uvm_migration_leave(mig);
		}
		mmap_read_unlock(mm);
		mig->cmd->out_done = addr - mig->cmd->base;
	}
	return 0;
}

static int uvm_migration_run(struct uvm_migration *mig)
{
	unsigned long start = mig->cmd->base, end = start + mig->cmd->length;
	int ret = -ENOMEM;

	mig->moves[0] = uvm_move_alloc(UVM_BLOCK_PAGES);
	mig->moves[1] = uvm_move_alloc(UVM_BLOCK_PAGES);
	if (!mig->moves[0] || !mig->moves[1])
		goto out;
	if (mmap_read_lock_killable(mig->vs->mm)) {
		ret = -EINTR;
		goto out;
	}
	ret = uvm_check_mapped(mig->vs->mm, start, end);
	mmap_read_unlock(mig->vs->mm);
	if (!ret)
		ret = uvm_migrate_range(mig, start, end);
out:
	uvm_move_free(mig->moves[1]);
	uvm_move_free(mig->moves[0]);
	return ret;
}

static int uvm_migrate_dest_gpu(struct uvm_migration *mig)
{
	struct uvm_gpu_space *gs;
	struct uvm_gpu *gpu;

	gs = uvm_gpu_space_get(mig->vs, mig->cmd->dest_uuid);
	if (IS_ERR(gs))
		return PTR_ERR(gs);
	gpu = gs->gpu;
	mig->gs = gs;
	mig->dest.gpu_id = gpu->id;
	mig->dest.populate = uvm_gpu_is_numa(gpu);
	if (mig->dest.populate)
		mig->dest.node = gpu->desc.numa_node;
	else
		mig->dest.gpu = gpu;
	uvm_gpu_space_leave(gs);
	return 0;
}

/* Reads the destination out of the argument. */
static int uvm_migrate_dest(struct uvm_migration *mig)
{
	struct uvm_migrate *cmd = mig->cmd;
	int ret;

	ret = uvm_check_dest(cmd->dest_kind, cmd->dest_node, cmd->dest_uuid);
	if (ret || cmd->dest_kind == UVM_DEST_NONE)
		return -EINVAL;
	mig->dest = uvm_target_home;
	if (cmd->dest_kind == UVM_DEST_GPU)
		return uvm_migrate_dest_gpu(mig);
	if (cmd->dest_kind == UVM_DEST_CPU_NODE)
		mig->dest.node = cmd->dest_node;
	return 0;
}

/**
 * uvm_migrate_ioctl() - UVM_MIGRATE
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -EINVAL, -ENODEV, -ENOENT, -EFAULT, -EINTR, -ESRCH, -ENOMEM.
 */
int uvm_migrate_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_migrate *cmd = ucmd->cmd;
	struct uvm_migration *mig;
	int ret;

	cmd->out_moved = 0;
	cmd->out_already = 0;
	cmd->out_done = 0;
	memset(cmd->out_skipped, 0, sizeof(cmd->out_skipped));
	ret = uvm_check_range(cmd->base, cmd->length);
	if (ret)
		return ret;
	mig = kvzalloc(sizeof(*mig), GFP_KERNEL);
	if (!mig)
		return -ENOMEM;
	mig->vs = ucmd->vs;
	mig->cmd = cmd;
	ret = uvm_migrate_dest(mig);
	if (!ret)
		ret = uvm_migration_run(mig);
	if (mig->gs)
		uvm_gpu_space_put(mig->gs);
	kvfree(mig);
	return ret;
}
