// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Where faulting pages go
 *
 * Owns the choice, for the pages of a block that a GPU faults on, between moving them
 * and leaving them where they are; and which others come along. What stays is mapped in
 * place by mirror.c, which comes next in any case: nothing here makes a page
 * accessible, so whatever can't be moved is simply left.
 *
 * The choice follows the policies. A first round moves what can be moved as it is. What
 * a fault wants and that didn't move gets a second one: it is fetched from swap or from
 * another GPU, or unshared after a fork, as for an access of the CPU, and tried again.
 * Pages that are shared after a fork, and the zero page, move only to be written.
 *
 * Works under mmap_lock, in the GPU space, which is left for what user space can delay.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/hmm.h>
#include <linux/memory_hotplug.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "managed.h"
#include "move.h"
#include "prefetch.h"
#include "service.h"
#include "trace.h"

static unsigned int uvm_prefetch_threshold = 51;
module_param_named(prefetch_threshold, uvm_prefetch_threshold, uint, 0644);
MODULE_PARM_DESC(prefetch_threshold,
		 "percent of a part of a block that must be on a GPU, or faulted on, for the rest to come along (default 51, 100 and more: never)");

/**
 * enum uvm_service_mode - why pages of a block are moved
 * @UVM_SERVICE_FAULTS: for faults, or ahead of them
 * @UVM_SERVICE_ATOMICS: for faults that want atomics, which can't be had in place:
 *	those pages only, whatever the policy
 * @UVM_SERVICE_HOT: since the GPU uses them a lot where they are
 */
enum uvm_service_mode {
	UVM_SERVICE_FAULTS,
	UVM_SERVICE_ATOMICS,
	UVM_SERVICE_HOT,
};

/**
 * struct uvm_service - room to choose and move the pages of a block
 * @gs: the GPU space that faults
 * @mv: a move
 * @pfns: the block as the CPU's page table has it
 * @whole: by one entry, for a huge page
 * @room: for looks at parts of it
 * @faults: pages that faults want at their destination, in the part at hand
 * @want: those and what comes along
 * @late: those of @faults that can't move as they are
 * @there: pages of the block in the GPU's memory
 * @other: pages of the block in the memory of another GPU
 * @others: those of @want
 * @may: pages of the part that may come along
 * @hold: pages of the block that aren't to be mapped where they are, since they would
 *	never move then
 * @throttled: some fault was left for later
 * @mode: why pages are moved
 * @atomics: for UVM_SERVICE_ATOMICS: the pages
 * @renew: and those that can't move get new ones, each a folio of its own
 * @again: some are there, or would be, but for somebody who had them just then
 * @first: for UVM_SERVICE_HOT: the first page that is
 * @end: the page after the last one
 * @stream: faults go through memory, block by block
 * @short_of: there was no room on the GPU for so many pages that should move
 * @evictions: room was made for the block so often
 * @stay: what there is no room for stays where it is
 */
struct uvm_service {
	struct uvm_gpu_space *gs;
	struct uvm_move *mv;
	unsigned long pfns[UVM_BLOCK_PAGES];
	bool whole;
	unsigned long room[UVM_BLOCK_PAGES];
	DECLARE_BITMAP(faults, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(want, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(late, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(there, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(other, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(others, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(may, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(hold, UVM_BLOCK_PAGES);
	bool throttled;
	enum uvm_service_mode mode;
	const unsigned long *atomics;
	bool renew;
	bool again;
	unsigned int first;
	unsigned int end;
	bool stream;
	unsigned long short_of;
	unsigned int evictions;
	bool stay;
};

/* So often room is made for one block, and twice for all of it to be one piece. */
#define UVM_SERVICE_EVICTIONS	4
#define UVM_SERVICE_DEFRAGS	2

/**
 * struct uvm_part - the part of a block that is in one VMA and has one policy
 * @vma: the VMA
 * @base: address of the block
 * @first: its first page in the block
 * @end: the page after its last one
 * @access: as for uvm_service_block(), or NULL if nobody faults there
 * @dest: where its pages go
 * @stay: those that are in system memory don't
 * @home: those go that are on another GPU, to system memory, and no others
 * @prefetch: pages come along
 */
struct uvm_part {
	struct vm_area_struct *vma;
	unsigned long base;
	unsigned int first;
	unsigned int end;
	u8 *access;
	struct uvm_target dest;
	bool stay;
	bool home;
	bool prefetch;
};

struct uvm_service *uvm_service_alloc(struct uvm_gpu_space *gs)
{
	struct uvm_service *svc = kvzalloc(sizeof(*svc), GFP_KERNEL_ACCOUNT);

	if (!svc)
		return NULL;
	svc->gs = gs;
	svc->mv = uvm_move_alloc(UVM_BLOCK_PAGES);
	if (!svc->mv) {
		kvfree(svc);
		return NULL;
	}
	return svc;
}

void uvm_service_free(struct uvm_service *svc)
{
	uvm_move_free(svc->mv);
	kvfree(svc);
}

/* The GPU, if the pages can be in memory of its own. */
static struct uvm_gpu *uvm_part_gpu(const struct uvm_part *part,
				    const struct uvm_gpu_space *gs)
{
	struct uvm_gpu *gpu = gs->gpu;

	return !uvm_gpu_is_numa(gpu) && uvm_gpu_takes(gpu, part->vma) ? gpu : NULL;
}

/* For want of another way, whatever the policy. */
static bool uvm_part_choose_gpu(struct uvm_part *part, const struct uvm_gpu_space *gs)
{
	struct uvm_gpu *gpu = gs->gpu;

	part->dest = (struct uvm_target){
		.gpu = uvm_part_gpu(part, gs),
		.gpu_id = gpu->id,
		.node = NUMA_NO_NODE,
		.tenant = gs->tenant,
		.duplicate = true,
		.access = part->access,
	};
	part->stay = false;
	part->home = false;
	part->prefetch = false;
	return part->dest.gpu;
}

static bool uvm_policy_moves(const struct uvm_policy *policy)
{
	const u32 moves = UVM_POLICY_FAULT_MIGRATION | UVM_POLICY_ALLOW_MIGRATION;

	return (uvm_policy_switches(policy) & moves) == moves;
}

/* Where do pages with this policy go that the GPU faults on? False: nowhere. */
static bool uvm_part_choose_faults(struct uvm_part *part,
				   const struct uvm_gpu_space *gs,
				   const struct uvm_policy *policy)
{
	struct uvm_gpu *gpu = gs->gpu;
	bool preferred = policy->dest_kind == UVM_DEST_GPU &&
			 policy->dest_id == gpu->id;

	part->dest = (struct uvm_target){
		.gpu_id = gpu->id,
		.node = NUMA_NO_NODE,
		.from = UVM_ANY_GPU,
		.tenant = gs->tenant,
		.duplicate = true,
		.access = part->access,
	};
	part->stay = false;
	part->home = policy->dest_kind == UVM_DEST_CPU;
	part->prefetch = uvm_policy_switches(policy) & UVM_POLICY_PREFETCH;
	if (!uvm_policy_moves(policy))
		return false;
	if (part->home)
		return part->access;
	if (policy->dest_kind == UVM_DEST_CPU_NODE) {
		part->dest.node = policy->dest_id;
	} else if (!uvm_gpu_is_numa(gpu)) {
		part->dest.gpu = uvm_part_gpu(part, gs);
		part->stay = !preferred && policy->accessed_by & BIT_ULL(gs->slot);
	} else if (preferred) {
		part->dest.node = gpu->desc.numa_node;
	}
	part->dest.populate = part->dest.node != NUMA_NO_NODE;
	return part->dest.gpu || part->dest.populate;
}

/* Where do those go that it uses a lot? */
static bool uvm_part_choose_hot(struct uvm_part *part, const struct uvm_gpu_space *gs,
				const struct uvm_policy *policy)
{
	struct uvm_gpu *gpu = gs->gpu;

	if (!uvm_policy_moves(policy) || policy->dest_kind == UVM_DEST_CPU ||
	    policy->dest_kind == UVM_DEST_CPU_NODE)
		return false;
	if (uvm_part_choose_gpu(part, gs))
		return true;
	if (!uvm_gpu_is_numa(gpu))
		return false;
	part->dest.node = gpu->desc.numa_node;
	return true;
}

static bool uvm_part_choose(struct uvm_part *part, const struct uvm_service *svc,
			    const struct uvm_policy *policy)
{
	switch (svc->mode) {
	case UVM_SERVICE_ATOMICS:
		return uvm_part_choose_gpu(part, svc->gs) || svc->renew;
	case UVM_SERVICE_HOT:
		return uvm_part_choose_hot(part, svc->gs, policy);
	default:
		return uvm_part_choose_faults(part, svc->gs, policy) &&
		       (part->access || part->prefetch);
	}
}

/*
 * Is it there in a way that a store needs another page? It is shared after a fork, or
 * the zero page.
 */
static bool uvm_part_is_shared(const struct uvm_part *part, unsigned long hmm_pfn)
{
	return hmm_pfn & HMM_PFN_VALID && !(hmm_pfn & HMM_PFN_WRITE) &&
	       part->vma->vm_flags & VM_WRITE;
}

/* Should a page in system memory stay where it is? */
static bool uvm_part_is_at_home(const struct uvm_service *svc,
				const struct uvm_part *part, unsigned int i)
{
	struct page *page;

	if (part->dest.gpu || part->home)
		return part->stay || part->home;
	page = pfn_to_online_page(svc->pfns[i] & ~HMM_PFN_FLAGS);
	return page && page_to_nid(page) == part->dest.node;
}

/* May the page move, for all that is known of it? */
static bool uvm_part_may_move(const struct uvm_service *svc,
			      const struct uvm_part *part,
			      const struct uvm_thrash_block *tb, unsigned int i)
{
	/* A page that NUMA balancing hides isn't valid, but it is there. */
	bool present = svc->pfns[i] & HMM_PFN_VALID ||
		       svc->pfns[i] & ~HMM_PFN_FLAGS;

	if (test_bit(i, svc->there))
		return false;
	switch (svc->mode) {
	case UVM_SERVICE_ATOMICS:
		return test_bit(i, svc->atomics);
	case UVM_SERVICE_HOT:
		return present && i >= svc->first && i < svc->end &&
		       !uvm_thrash_is_pinned(tb, i) &&
		       !uvm_part_is_at_home(svc, part, i);
	default:
		return !uvm_thrash_is_pinned(tb, i) &&
		       !(present && !test_bit(i, svc->other) &&
			 uvm_part_is_at_home(svc, part, i));
	}
}

static void uvm_part_sort_fault(struct uvm_service *svc, const struct uvm_part *part,
				struct uvm_thrash_block *tb, unsigned int i)
{
	struct uvm_thrash *thrash = &svc->gs->thrash;
	bool write = part->access[i] > UVM_ACCESS_READ;
	enum uvm_thrash_verdict verdict = UVM_THRASH_MOVE;

	if (write && !(part->vma->vm_flags & VM_WRITE))
		return;
	if (!write && uvm_part_is_shared(part, svc->pfns[i]))
		return;
	if (tb && svc->mode == UVM_SERVICE_FAULTS)
		verdict = uvm_thrash_fault(thrash, tb, i);
	if (verdict == UVM_THRASH_WAIT) {
		trace_uvm_fault_throttle(svc->gs->vs->id, svc->gs->gpu->id,
					 part->base + i * PAGE_SIZE, 1);
		svc->throttled = true;
		__set_bit(i, svc->hold);
		part->access[i] = 0;
	} else if (verdict == UVM_THRASH_STAY) {
		trace_uvm_fault_pin(svc->gs->vs->id, svc->gs->gpu->id,
				    part->base + i * PAGE_SIZE, 1);
	} else if (uvm_part_is_shared(part, svc->pfns[i])) {
		__set_bit(i, svc->late);
	} else {
		__set_bit(i, svc->faults);
	}
}

/*
 * A page that the GPU uses a lot may bounce like one that it faults on. It is in use
 * where it is, so to wait is to leave it there until it is told of again.
 */
static bool uvm_part_may_move_hot(struct uvm_service *svc, const struct uvm_part *part,
				  struct uvm_thrash_block *tb, unsigned int i)
{
	enum uvm_thrash_verdict verdict;

	if (!tb || svc->mode != UVM_SERVICE_HOT)
		return true;
	verdict = uvm_thrash_fault(&svc->gs->thrash, tb, i);
	if (verdict == UVM_THRASH_STAY)
		trace_uvm_fault_pin(svc->gs->vs->id, svc->gs->gpu->id,
				    part->base + i * PAGE_SIZE, 1);
	return verdict == UVM_THRASH_MOVE;
}

static void uvm_part_sort_page(struct uvm_service *svc, const struct uvm_part *part,
			       struct uvm_thrash_block *tb, unsigned int i)
{
	if (!uvm_part_may_move(svc, part, tb, i))
		return;
	if (part->access && part->access[i])
		uvm_part_sort_fault(svc, part, tb, i);
	else if (!uvm_part_is_shared(part, svc->pfns[i]) &&
		 uvm_part_may_move_hot(svc, part, tb, i))
		__set_bit(i, svc->may);
}

/* Nothing can move to the GPU any more, so all may be mapped where it is. */
static bool uvm_service_is_full(const struct uvm_service *svc)
{
	struct uvm_gpu *gpu = svc->gs->gpu;

	return !uvm_gpu_is_numa(gpu) &&
	       (svc->stay || !uvm_evict_room(gpu, svc->gs->tenant));
}

/*
 * Is there room for @nr pages? Not for a huge page that would have to be split for want
 * of a chunk, as long as one may be made. If not, the caller is to make some, without
 * locks, unless what doesn't fit is to stay.
 */
static bool uvm_part_has_room(struct uvm_service *svc, const struct uvm_part *part,
			      unsigned long nr)
{
	struct uvm_gpu *gpu = part->dest.gpu;

	if (!gpu)
		return true;
	if (uvm_evict_room(gpu, part->dest.tenant) >= nr &&
	    (!svc->whole || nr < UVM_BLOCK_PAGES || uvm_evict_has_chunk(gpu) ||
	     svc->stay || svc->evictions >= UVM_SERVICE_DEFRAGS))
		return true;
	if (!svc->stay)
		svc->short_of = max(svc->short_of, nr);
	return false;
}

/*
 * Is there nothing to sort, since all pages are alike, and of one part? A huge page of
 * system memory that may be written, and whose way to the GPU nothing bars.
 */
static bool uvm_part_is_plain(const struct uvm_service *svc,
			      const struct uvm_part *part)
{
	return svc->whole && part->first == 0 && part->end == UVM_BLOCK_PAGES &&
	       svc->mode == UVM_SERVICE_FAULTS && part->dest.gpu && !part->stay &&
	       !part->home && svc->pfns[0] & HMM_PFN_WRITE &&
	       !test_bit(0, svc->there) && !test_bit(0, svc->other);
}

static void uvm_part_sort_plain(struct uvm_service *svc, const struct uvm_part *part)
{
	unsigned int i;

	bitmap_fill(svc->may, UVM_BLOCK_PAGES);
	for (i = 0; part->access && i < UVM_BLOCK_PAGES; i++)
		if (part->access[i])
			__set_bit(i, svc->faults);
	bitmap_andnot(svc->may, svc->may, svc->faults, UVM_BLOCK_PAGES);
}

/* What moves, of the part: for faults, and along with them. */
static void uvm_part_sort(struct uvm_service *svc, const struct uvm_part *part)
{
	struct uvm_thrash *thrash = &svc->gs->thrash;
	struct uvm_thrash_block *tb;
	unsigned int i;

	bitmap_zero(svc->faults, UVM_BLOCK_PAGES);
	bitmap_zero(svc->late, UVM_BLOCK_PAGES);
	bitmap_zero(svc->may, UVM_BLOCK_PAGES);
	mutex_lock(&thrash->lock);
	tb = uvm_thrash_find(thrash, part->base >> UVM_BLOCK_SHIFT);
	if (!tb && uvm_part_is_plain(svc, part))
		uvm_part_sort_plain(svc, part);
	else
		for (i = part->first; i < part->end; i++)
			uvm_part_sort_page(svc, part, tb, i);
	mutex_unlock(&thrash->lock);
	if (!uvm_service_is_full(svc))
		bitmap_or(svc->hold, svc->hold, svc->may, UVM_BLOCK_PAGES);
	if (part->access && !part->dest.gpu)
		bitmap_zero(svc->may, UVM_BLOCK_PAGES);
}

/* A huge page moves as a whole; and what is one piece, if anything may come along. */
static bool uvm_part_goes_whole(const struct uvm_service *svc, const struct uvm_part *part)
{
	return svc->whole && part->first == 0 && part->end == UVM_BLOCK_PAGES &&
	       (!uvm_vma_is_managed(part->vma) ||
		(part->prefetch && READ_ONCE(uvm_prefetch_threshold) < 100));
}

static void uvm_part_grow(struct uvm_service *svc, const struct uvm_part *part)
{
	bitmap_copy(svc->want, svc->faults, UVM_BLOCK_PAGES);
	if (!part->access || (!bitmap_empty(svc->want, UVM_BLOCK_PAGES) &&
			      uvm_part_goes_whole(svc, part)))
		bitmap_or(svc->want, svc->want, svc->may, UVM_BLOCK_PAGES);
	else if (part->prefetch)
		uvm_prefetch_grow(svc->want, svc->there, svc->may,
				  READ_ONCE(uvm_prefetch_threshold));
}

/*
 * Moves pages of @map, run by run, and takes those that moved out of it. Returns how
 * many moved.
 */
static unsigned int uvm_part_move(struct uvm_service *svc,
				  const struct uvm_part *part, unsigned long *map,
				  bool from_peers)
{
	unsigned int before = bitmap_weight(map, UVM_BLOCK_PAGES);
	unsigned int first, end;

	for_each_set_bitrange(first, end, map, UVM_BLOCK_PAGES) {
		const unsigned long *moved;
		unsigned int i;

		if (!uvm_part_has_room(svc, part, end - first))
			continue;
		moved = uvm_move_to(svc->mv, part->vma, part->base + first * PAGE_SIZE,
				    part->base + end * PAGE_SIZE, &part->dest,
				    from_peers);
		for_each_set_bit(i, moved, end - first)
			__clear_bit(first + i, map);
	}
	svc->again |= before > bitmap_weight(map, UVM_BLOCK_PAGES);
	return before - bitmap_weight(map, UVM_BLOCK_PAGES);
}

/*
 * Takes what is wanted from other GPUs: from peers at once, from others by way of
 * system memory. Returns how many pages moved.
 */
static unsigned int uvm_part_move_others(struct uvm_service *svc,
					 const struct uvm_part *part)
{
	unsigned int first, end, moved = 0;
	unsigned long *others = svc->others;

	bitmap_and(others, svc->want, svc->other, UVM_BLOCK_PAGES);
	bitmap_andnot(svc->want, svc->want, others, UVM_BLOCK_PAGES);
	if (part->dest.gpu)
		moved = uvm_part_move(svc, part, others, true);
	if (svc->short_of)
		return moved;
	for_each_set_bitrange(first, end, others, UVM_BLOCK_PAGES)
		uvm_migrate_home(part->vma, part->base + first * PAGE_SIZE,
				 part->base + end * PAGE_SIZE, UVM_ANY_GPU);
	bitmap_or(svc->want, svc->want, others, UVM_BLOCK_PAGES);
	return moved;
}

/* End of the pages from @first on that are wanted, or not, for the same access. */
static unsigned int uvm_part_late_run(const struct uvm_service *svc,
				      const struct uvm_part *part, unsigned int first)
{
	unsigned int i = first;

	while (++i < UVM_BLOCK_PAGES)
		if (test_bit(i, svc->late) != test_bit(first, svc->late) ||
		    (part->access[i] > UVM_ACCESS_READ) !=
		    (part->access[first] > UVM_ACCESS_READ))
			break;
	return i;
}

/* Returns false if the GPU space went down meanwhile. */
static bool uvm_part_populate_late(struct uvm_service *svc, const struct uvm_part *part)
{
	struct uvm_gpu_space *gs = svc->gs;
	unsigned int first, end;

	uvm_gpu_space_leave(gs);
	for (first = 0; first < UVM_BLOCK_PAGES; first = end) {
		end = uvm_part_late_run(svc, part, first);
		if (!test_bit(first, svc->late))
			continue;
		if (uvm_vma_is_managed(part->vma))
			uvm_managed_populate(part->vma, part->base + first * PAGE_SIZE,
					     part->base + end * PAGE_SIZE, !part->dest.gpu);
		else
			uvm_mirror_populate(gs->vs, part->base + first * PAGE_SIZE,
					    end - first, svc->room,
					    part->access[first] > UVM_ACCESS_READ);
	}
	return uvm_gpu_space_enter(gs);
}

/*
 * What faults want and didn't move, as it was. To system memory it is tried twice: where
 * core splits a huge page just populated, it puts the zero page back in place of what is
 * still zero, and that isn't moved there. Returns false if the GPU space went down
 * meanwhile.
 */
static bool uvm_part_move_late(struct uvm_service *svc, const struct uvm_part *part)
{
	int tries = part->dest.gpu ? 1 : 2;

	while (tries-- && !bitmap_empty(svc->late, UVM_BLOCK_PAGES)) {
		if (!uvm_part_populate_late(svc, part))
			return false;
		uvm_gpu_space_count(svc->gs, UVM_STAT_MOVED,
				    uvm_part_move(svc, part, svc->late, false));
	}
	return true;
}

/* What has to stay in system memory for atomics must not be part of a large folio. */
static void uvm_part_renew(struct uvm_service *svc, const struct uvm_part *part)
{
	struct uvm_part renewed = *part;

	renewed.dest = (struct uvm_target){
		.node = NUMA_NO_NODE,
		.from = UVM_ANY_GPU,
		.renew = true,
	};
	uvm_part_move(svc, &renewed, svc->late, false);
}

/* Returns false if the GPU space went down meanwhile. */
static bool uvm_part_serve_late(struct uvm_service *svc, const struct uvm_part *part)
{
	if (!uvm_part_move_late(svc, part))
		return false;
	if (svc->mode != UVM_SERVICE_ATOMICS)
		return true;
	svc->again |= part->dest.gpu && !bitmap_empty(svc->late, UVM_BLOCK_PAGES) &&
		      !uvm_service_is_full(svc);
	if (svc->renew)
		uvm_part_renew(svc, part);
	return true;
}

static bool uvm_part_serve(struct uvm_service *svc, const struct uvm_part *part)
{
	unsigned int faults, moved;

	uvm_part_sort(svc, part);
	uvm_part_grow(svc, part);
	if (part->home) {
		uvm_part_move_others(svc, part);
		return true;
	}
	faults = bitmap_weight(svc->faults, UVM_BLOCK_PAGES);
	moved = uvm_part_move_others(svc, part);
	moved += uvm_part_move(svc, part, svc->want, false);
	/* What is still in @want didn't move. */
	bitmap_and(svc->faults, svc->faults, svc->want, UVM_BLOCK_PAGES);
	faults -= bitmap_weight(svc->faults, UVM_BLOCK_PAGES);
	uvm_gpu_space_count(svc->gs, UVM_STAT_MOVED, faults);
	uvm_gpu_space_count(svc->gs, svc->mode == UVM_SERVICE_HOT ?
			    UVM_STAT_HOT_MOVED : UVM_STAT_PREFETCHED,
			    moved - faults);
	trace_uvm_fault_migrate(svc->gs->vs->id, svc->gs->gpu->id, part->base,
				faults, moved - faults);
	if (faults || (svc->mode == UVM_SERVICE_HOT && moved))
		uvm_thrash_moved(&svc->gs->thrash, part->base >> UVM_BLOCK_SHIFT);
	if (svc->short_of)
		return true;
	bitmap_or(svc->late, svc->late, svc->faults, UVM_BLOCK_PAGES);
	return bitmap_empty(svc->late, UVM_BLOCK_PAGES) ||
	       uvm_part_serve_late(svc, part);
}

/* All parts of a VMA in the block. */
static bool uvm_service_vma(struct uvm_service *svc, struct vm_area_struct *vma,
			    unsigned long base, u8 *access)
{
	unsigned long addr = max(base, vma->vm_start);
	unsigned long end = min(base + UVM_BLOCK_SIZE, vma->vm_end);
	struct uvm_part part = { .vma = vma, .base = base, .access = access };
	unsigned long first, last;
	struct uvm_policy policy;

	for (; addr < end; addr = last + 1) {
		uvm_policies_lookup(&svc->gs->vs->policies, addr, &policy, &first,
				    &last);
		last = min(last, end - 1);
		part.first = (addr - base) >> PAGE_SHIFT;
		part.end = (last + 1 - base) >> PAGE_SHIFT;
		if (uvm_part_choose(&part, svc, &policy) &&
		    !uvm_part_serve(svc, &part))
			return false;
	}
	return true;
}

/* Where is the page? Of a huge one, this one is for all. */
static void uvm_service_look_at(struct uvm_service *svc, unsigned int i)
{
	unsigned int nr = svc->whole ? UVM_BLOCK_PAGES : 1;
	struct uvm_gpu *whose = NULL;

	if (svc->pfns[i] & HMM_PFN_VALID)
		whose = uvm_gpu_of_hmm(svc->pfns[i]);
	if (whose)
		bitmap_set(whose == svc->gs->gpu ? svc->there : svc->other, i, nr);
}

/* Where the pages of the block are. False if that can't be told now. */
static bool uvm_service_look(struct uvm_service *svc, unsigned long base)
{
	int srcu = uvm_mirror_look_begin();
	unsigned int i;
	int ret;

	bitmap_zero(svc->there, UVM_BLOCK_PAGES);
	bitmap_zero(svc->other, UVM_BLOCK_PAGES);
	ret = uvm_mirror_snapshot(svc->gs->vs, base, UVM_BLOCK_PAGES, svc->pfns,
				  svc->gs->gpu);
	svc->whole = !ret && uvm_mirror_is_whole(svc->pfns);
	for (i = 0; !ret && i < (svc->whole ? 1 : UVM_BLOCK_PAGES); i++)
		uvm_service_look_at(svc, i);
	uvm_mirror_look_end(srcu);
	return !ret;
}

static bool uvm_service_locked(struct uvm_service *svc, unsigned long base,
			       u8 *access)
{
	struct mm_struct *mm = svc->gs->vs->mm;
	struct vm_area_struct *vma;

	VMA_ITERATOR(vmi, mm, base);

	if (!uvm_service_look(svc, base))
		return true;
	for_each_vma_range(vmi, vma, base + UVM_BLOCK_SIZE)
		if (uvm_vma_moves_for(svc->gs->vs, vma) &&
		    !uvm_service_vma(svc, vma, base, access))
			return false;
	return true;
}

/**
 * uvm_service_atomics() - move what atomics can't be had on where it is
 * @svc: as for uvm_service_block()
 * @base: as for uvm_service_block()
 * @access: as for uvm_service_block()
 * @pages: those pages; faults want atomics on all of them
 * @renew: it is enough that they aren't part of a large folio
 *
 * Return: as uvm_service_block().
 */
bool uvm_service_atomics(struct uvm_service *svc, unsigned long base, u8 *access,
			 const unsigned long *pages, bool renew)
{
	bool entered;

	svc->mode = UVM_SERVICE_ATOMICS;
	svc->atomics = pages;
	svc->renew = renew;
	svc->again = false;
	entered = uvm_service_block(svc, base, access);
	svc->again |= bitmap_intersects(svc->there, pages, UVM_BLOCK_PAGES);
	svc->mode = UVM_SERVICE_FAULTS;
	return entered;
}

/*
 * After uvm_service_atomics(): is it worth to look again, though atomics can't be had?
 * Some page moved, and may have been moved back since; or it could have, but for
 * somebody who had it just then.
 */
bool uvm_service_again(const struct uvm_service *svc)
{
	return svc->again;
}

/**
 * uvm_service_hot() - move pages that the GPU uses a lot where they are
 * @svc: as for uvm_service_block()
 * @start: first byte
 * @end: the byte after the last one; what is in the next block stays
 *
 * Return: as uvm_service_block().
 */
bool uvm_service_hot(struct uvm_service *svc, unsigned long start, unsigned long end)
{
	unsigned long base = ALIGN_DOWN(start, UVM_BLOCK_SIZE);
	bool entered;

	svc->mode = UVM_SERVICE_HOT;
	svc->first = (start - base) >> PAGE_SHIFT;
	svc->end = (min(end, base + UVM_BLOCK_SIZE) - base) >> PAGE_SHIFT;
	entered = uvm_service_block(svc, base, NULL);
	svc->mode = UVM_SERVICE_FAULTS;
	return entered;
}

/* The pages of the last block that aren't to be mapped unless the GPU has them. */
const unsigned long *uvm_service_hold(const struct uvm_service *svc)
{
	return svc->hold;
}

/* Was some fault left for later since this was asked last? */
bool uvm_service_throttled(struct uvm_service *svc)
{
	bool throttled = svc->throttled;

	svc->throttled = false;
	return throttled;
}

/* What the next faults are: does it matter that the pages move, though others go? */
void uvm_service_set_stream(struct uvm_service *svc, bool stream)
{
	svc->stream = stream;
}

/* Is there such a block, and memory for more than just it? */
bool uvm_service_wants_ahead(struct uvm_service *svc, unsigned long base)
{
	struct uvm_gpu_space *gs = svc->gs;

	return base < gs->vs->mm->task_size && !uvm_gpu_is_numa(gs->gpu) &&
	       uvm_evict_room(gs->gpu, gs->tenant) >= 2 * UVM_BLOCK_PAGES;
}

/* Returns false if the GPU space went down meanwhile. */
static bool uvm_service_round(struct uvm_service *svc, unsigned long base, u8 *access)
{
	struct uvm_gpu_space *gs = svc->gs;
	bool entered;

	svc->short_of = 0;
	if (svc->mode != UVM_SERVICE_ATOMICS)
		bitmap_zero(svc->hold, UVM_BLOCK_PAGES);
	uvm_gpu_space_leave(gs);
	mmap_read_lock(gs->vs->mm);
	entered = uvm_gpu_space_enter(gs) &&
		  uvm_service_locked(svc, base, access);
	mmap_read_unlock(gs->vs->mm);
	return entered;
}

/*
 * What may go for the sake of a block? What comes for a stream is used once, and soon;
 * and atomics may need it. What else a fault wants can be used where it is, and is worth
 * no more than what is in use: then it is looked at again after a while. Nor is it worth
 * more that a huge page finds room in one piece. Nobody waits for what would come ahead.
 */
static long uvm_service_evict(struct uvm_service *svc, const u8 *access)
{
	struct uvm_gpu_space *gs = svc->gs;
	unsigned long room = uvm_evict_room(gs->gpu, gs->tenant);
	bool any = svc->short_of > room &&
		   (svc->stream || svc->mode == UVM_SERVICE_ATOMICS);
	unsigned long want = UVM_BLOCK_PAGES;

	if ((!access && svc->mode == UVM_SERVICE_FAULTS) ||
	    svc->evictions++ == UVM_SERVICE_EVICTIONS)
		return 0;
	if (svc->short_of > room)
		want = svc->short_of - room;
	return uvm_evict(gs->gpu, gs->tenant, want, any ? UVM_EVICT_ANY : UVM_EVICT_COLD);
}

/* There wasn't room for all that should move. What there is none for then, stays. */
static void uvm_service_make_room(struct uvm_service *svc, const u8 *access)
{
	struct uvm_gpu_space *gs = svc->gs;

	svc->stay = uvm_service_evict(svc, access) <= 0;
	if (!svc->stay && svc->stream)
		uvm_evict_ahead(gs->gpu, gs->tenant);
}

/**
 * uvm_service_block() - move pages of a block to where they are wanted
 * @svc: of a GPU space that the caller entered, and whose mm it retains
 * @base: address of the block, in the address space
 * @access: by page, enum uvm_access of what faults want, or 0; where a fault is to
 *	wait it becomes 0. NULL if there is no fault, but the whole block will be
 *	wanted soon.
 *
 * uvm_service_hold() then tells which pages aren't to be mapped; still those of
 * uvm_service_block(), after uvm_service_atomics().
 *
 * Fault work of the GPU space only. Takes mmap_lock.
 *
 * Return: false if the GPU space went down: then the caller is no longer in it.
 */
bool uvm_service_block(struct uvm_service *svc, unsigned long base, u8 *access)
{
	bool entered;

	if (base >= svc->gs->vs->mm->task_size)
		return true;
	svc->stay = false;
	svc->evictions = 0;
	while ((entered = uvm_service_round(svc, base, access)) && svc->short_of)
		uvm_service_make_room(svc, access);
	/* After the last round: what came in it says nothing about what stays. */
	if (entered && svc->stay && (access || svc->mode == UVM_SERVICE_HOT))
		uvm_evict_stayed(svc->gs->gpu, svc->gs->tenant, base);
	return entered;
}
