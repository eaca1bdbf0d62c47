// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Destinations of managed pages
 *
 * Owns what a move of managed memory takes: page numbers of a GPU's memory, which its
 * tenant is charged for, or pages of system memory, which the memory cgroup of the mm is
 * charged for. A destination is the move's until uvm_managed_end() gives it to the block,
 * or uvm_managed_drop_dst() gives it back.
 *
 * A GPU's memory isn't charged to a memory cgroup, so what comes home may be more than its
 * limit allows. Then nobody is killed for what nobody waits for: it stays, see
 * &uvm_target.may_stay.
 */
#include "managed.h"

#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/sched/mm.h>

#include "move.h"

/**
 * uvm_managed_take_numbers() - pages of a GPU's memory for a move
 * @mv: @dst isn't 0 of those that want one; those that get none are starved
 * @dest: where to
 * @want: how many want one
 */
void uvm_managed_take_numbers(struct uvm_move *mv, const struct uvm_target *dest,
			      unsigned long want)
{
	unsigned long i, used, nr;

	uvm_move_take(mv, dest, want);
	/* All of them are used, and most are in a row. */
	for (i = 0; i < mv->taken; i += nr) {
		for (nr = 1; i + nr < mv->taken && mv->index[i + nr] == mv->index[i] + nr; nr++)
			;
		uvm_resident_add(mv->res, mv->index[i], nr);
		uvm_gpu_take_pages(dest->gpu, mv->index[i], nr);
	}
	used = 0;
	for (i = 0; i < mv->args.npages; i++) {
		if (!mv->dst[i])
			continue;
		mv->dst[i] = 0;
		if (used < mv->taken)
			mv->dst[i] = migrate_pfn(mv->index[used++]);
		assign_bit(uvm_move_bit(mv, i), mv->starved, !mv->dst[i]);
	}
	uvm_memory_taken(dest->gpu);
}

/**
 * struct uvm_managed_room - system memory for pages of a move
 * @dest: where they go
 * @node: the node that is wanted, or NUMA_NO_NODE
 * @last: the last address for which it is
 * @left: so many are still wanted
 * @none: there was no memory: what may stay does
 */
struct uvm_managed_room {
	const struct uvm_target *dest;
	int node;
	unsigned long last;
	unsigned long left;
	bool none;
};

static void uvm_managed_room_look(struct uvm_managed_room *room,
				  struct uvm_va_space *vs, unsigned long addr)
{
	struct uvm_policy policy;
	unsigned long first;

	if (addr <= room->last)
		return;
	uvm_policies_lookup(&vs->policies, addr, &policy, &first, &room->last);
	room->node = policy.dest_kind == UVM_DEST_CPU_NODE ? policy.dest_id : NUMA_NO_NODE;
}

static bool uvm_managed_stash(struct uvm_move *mv, unsigned long addr,
			      const struct uvm_managed_room *room, unsigned int order)
{
	if (room->left < 1UL << order || room->last - addr < (PAGE_SIZE << order) - 1)
		return false;
	mv->stash = uvm_managed_alloc_piece(room->node, order, 0);
	mv->stashed = mv->stash ? 1U << order : 0;
	return mv->stash;
}

/* One piece for the engine, and later for GPUs, if there is one. */
static bool uvm_managed_fill_stash(struct uvm_move *mv, unsigned long addr,
				   const struct uvm_managed_room *room)
{
	return uvm_managed_stash(mv, addr, room, UVM_BLOCK_SHIFT - PAGE_SHIFT) ||
	       uvm_managed_stash(mv, addr, room, UVM_PIECE_ORDER);
}

/* Is somebody killed for it, if it can't be had otherwise? */
static bool uvm_managed_is_needed(const struct uvm_target *dest, unsigned long addr)
{
	return !dest->gentle && (!dest->may_stay || addr == dest->needed);
}

static struct page *uvm_managed_alloc_dst(struct uvm_move *mv, unsigned long addr,
					  struct uvm_managed_room *room)
{
	bool needed = uvm_managed_is_needed(room->dest, addr);

	if (mv->stashed || uvm_managed_fill_stash(mv, addr, room)) {
		mv->stashed--;
		return mv->stash++;
	}
	if (room->dest->node != NUMA_NO_NODE)
		return uvm_managed_alloc_piece(room->node, 0, 0);
	if (needed || !room->none)
		return uvm_managed_alloc_page(room->node, needed ? 0 :
					      __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	return NULL;
}

/**
 * uvm_managed_take_pages() - pages of system memory for a move
 * @mv: as for uvm_managed_take_numbers()
 * @dest: where to
 * @want: how many want one
 *
 * Charged to whose memory it is, whoever the caller is.
 */
void uvm_managed_take_pages(struct uvm_move *mv, const struct uvm_target *dest,
			    unsigned long want)
{
	struct uvm_va_space *vs = mv->block->vs;
	struct mem_cgroup *memcg, *old;
	struct uvm_managed_room room = {
		.dest = dest,
		.node = dest->node,
		.last = dest->node == NUMA_NO_NODE ? 0 : ULONG_MAX,
		.left = want,
	};
	unsigned long i, addr;
	struct page *page;

	memcg = get_mem_cgroup_from_mm(vs->mm);
	old = set_active_memcg(memcg);
	for (i = 0; i < mv->args.npages; i++) {
		if (!mv->dst[i])
			continue;
		addr = mv->args.start + i * PAGE_SIZE;
		uvm_managed_room_look(&room, vs, addr);
		page = uvm_managed_alloc_dst(mv, addr, &room);
		room.left--;
		room.none |= !page;
		mv->dst[i] = page ? migrate_pfn(page_to_pfn(page)) : 0;
		assign_bit(uvm_move_bit(mv, i), mv->starved, !page);
	}
	set_active_memcg(old);
	mem_cgroup_put(memcg);
}

void uvm_managed_drop_dst(struct uvm_move *mv, unsigned long i,
			  const struct uvm_target *dest)
{
	struct uvm_place dst = uvm_managed_dst(mv, i, dest);

	mv->dst[i] = 0;
	if (dst.gpu)
		uvm_gpu_free_pages(dst.gpu, dst.index, 1);
	else
		uvm_managed_free_page(dst.page);
}

/**
 * uvm_managed_populate() - get pages ready for another try to move them
 * @vma: managed, in its place; mmap_lock is held
 * @start: first address, in @vma
 * @end: end address, in @vma, in the same block
 * @populate: the CPU gets those that nobody has
 *
 * Waits for moves of others, so the caller has none under way, unless the task is killed.
 * What can't be had is no error here.
 */
void uvm_managed_populate(struct vm_area_struct *vma, unsigned long start,
			  unsigned long end, bool populate)
{
	unsigned int first = uvm_block_index(start), last = uvm_block_index(end - 1) + 1;
	struct uvm_va_space *vs = uvm_managed_vs(vma);
	struct uvm_block *block = uvm_block_get(vs, start, populate);
	struct mem_cgroup *memcg, *old;

	if (!block)
		return;
	if (!uvm_block_wait_idle(block, first, last, true) && populate) {
		memcg = get_mem_cgroup_from_mm(vs->mm);
		old = set_active_memcg(memcg);
		uvm_block_populate_run(block, first, last);
		set_active_memcg(old);
		mem_cgroup_put(memcg);
	}
	uvm_block_put(block);
}
