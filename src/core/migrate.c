// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Migration
 *
 * Owns UVM_MIGRATE: it walks the range in blocks and keeps two moves going: while the
 * engine copies one, the next is set up. What the first attempt at a block did not move
 * is looked at only when nothing is under way (uvm_settle()): pages are fetched from
 * other GPUs and from swap, tried again, and finally counted with the reason.
 *
 * Each page ends in exactly one of the counts moved, already there, or skipped for a
 * reason.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/hmm.h>
#include <linux/hugetlb.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "managed.h"
#include "move.h"
#include "residency.h"

/**
 * struct uvm_late - a block that is put off
 * @start: its first byte
 * @end: the byte after its last one
 * @want: pages of it that found no room
 * @moved: pages of it that moved already
 */
struct uvm_late {
	unsigned long start;
	unsigned long end;
	unsigned long want;
	DECLARE_BITMAP(moved, UVM_BLOCK_PAGES);
};

/**
 * struct uvm_migration - a UVM_MIGRATE under way
 * @vs: VA space; its mm is retained
 * @gs: the GPU space that @dest is of, or NULL. Entered while blocks are worked on.
 * @gone: @gs went down
 * @dest: where to
 * @cmd: the argument; its counts are filled in
 * @moves: two blocks, so that one is set up while the other is copied
 * @next: which of @moves the next block takes
 * @alone: pages of the blocks that GPUs had for themselves before
 * @pfns: room for a snapshot
 * @late: blocks that found no room on the GPU, and are tried again once there is some;
 *	by address
 * @lates_now: those that are being tried
 * @nr_late: their number
 * @tries: room was made for them so often
 */
struct uvm_migration {
	struct uvm_va_space *vs;
	struct uvm_gpu_space *gs;
	bool gone;
	struct uvm_target dest;
	struct uvm_migrate *cmd;
	struct uvm_move *moves[2];
	unsigned int next;
	DECLARE_BITMAP(alone[2], UVM_BLOCK_PAGES);
	unsigned long pfns[UVM_BLOCK_PAGES];
	struct uvm_late late[2];
	struct uvm_late lates_now[2];
	unsigned int nr_late;
	unsigned int tries;
};

/* So often room is made for a block, and twice for all of it to be one piece. */
#define UVM_MIGRATE_EVICTIONS	8
#define UVM_MIGRATE_DEFRAGS	2

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

/* May all of its pages move, whatever they are? */
static bool uvm_vma_is_all_ours(struct vm_area_struct *vma)
{
	return vma_is_anonymous(vma) || uvm_vma_is_managed(vma);
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
	    !uvm_vma_is_all_ours(mv->args.vma))
		return UVM_SKIP_VMA_KIND;
	return test_bit(bit, mv->starved) ? UVM_SKIP_NO_MEMORY : UVM_SKIP_BUSY;
}

/* Counts every page of the block that did not move. */
static void uvm_settle_count(struct uvm_migration *mig, struct uvm_move *mv)
{
	struct uvm_migrate *cmd = mig->cmd;
	struct uvm_residency res;
	unsigned long bit;

	if (uvm_mirror_snapshot(mig->vs, mv->base, mv->npages, mig->pfns,
				mig->dest.gpu))
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
	if (!uvm_vma_is_all_ours(mv->args.vma))
		return false;
	if (res.where == UVM_WHERE_NONE)
		return dest->gpu || dest->populate;
	return res.anon || dest->populate || uvm_vma_is_managed(mv->args.vma);
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
static void uvm_settle_populate(struct uvm_migration *mig, struct vm_area_struct *vma,
				unsigned long start, unsigned long npages,
				unsigned long *pfns)
{
	uvm_migration_leave(mig);
	if (uvm_vma_is_managed(vma))
		uvm_managed_populate(vma, start, start + npages * PAGE_SIZE,
				     mig->dest.populate);
	else
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
		uvm_settle_populate(mig, vma, start, last - first,
				    mig->pfns + first);
	if (mig->gone)
		return;
	if (uvm_target_is_any_cpu(dest))
		dest = &near;
	if (uvm_move_sync(mv, vma, start, end, MIGRATE_VMA_SELECT_SYSTEM, dest) == -ENOMEM)
		bitmap_set(mv->starved, first, last - first);
}

/* Tries again, run by run, what deserves it. Returns false if nothing did. */
static bool uvm_settle_round(struct uvm_migration *mig, struct uvm_move *mv)
{
	unsigned long bit, first;
	bool any = false;

	if (mig->gone ||
	    uvm_mirror_snapshot(mig->vs, mv->base, mv->npages, mig->pfns,
				mig->dest.gpu))
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
 * collect it.
 */
static void uvm_settle_take_back(struct uvm_migration *mig, struct uvm_move *mv)
{
	const unsigned long *alone = mig->alone[mv == mig->moves[1]];
	unsigned int first, end;

	if (mig->gone)
		return;
	for_each_set_bitrange(first, end, alone, mv->npages)
		uvm_settle_populate(mig, mv->args.vma, mv->base + first * PAGE_SIZE,
				    end - first, mig->pfns);
}

/*
 * A block of which not all moved. Nothing is under way, so pages may be waited for:
 * what another attempt could move is tried again, and what remains is counted. The
 * second round is for huge pages just populated: where core splits them, it puts the
 * zero page back in place of what is still zero.
 */
static void uvm_settle(struct uvm_migration *mig, struct uvm_move *mv)
{
	unsigned long end = mv->base + mv->npages * PAGE_SIZE;
	struct vm_area_struct *vma = mv->args.vma;

	/* Others may just be bringing them home. */
	if (!mig->dest.gpu && uvm_vma_is_managed(vma))
		uvm_settle_populate(mig, vma, mv->base, mv->npages, mig->pfns);
	if (!mig->dest.gpu)
		uvm_move_from_gpus(mv, vma, mv->base, end, &mig->dest);
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

/* May a block that found no room be tried again? */
static bool uvm_migration_may_put_off(const struct uvm_migration *mig)
{
	return mig->dest.gpu && !mig->gone && mig->tries < UVM_MIGRATE_EVICTIONS &&
	       mig->nr_late < ARRAY_SIZE(mig->late);
}

static void uvm_migration_put_off(struct uvm_migration *mig, const struct uvm_move *mv,
				  unsigned long want)
{
	struct uvm_late *late = &mig->late[mig->nr_late++];

	/* In order: the one before was still under way when this one found no room. */
	for (; late > mig->late && late[-1].start > mv->base; late--)
		*late = late[-1];
	late->start = mv->base;
	late->end = mv->base + mv->npages * PAGE_SIZE;
	late->want = want;
	bitmap_copy(late->moved, mv->moved, UVM_BLOCK_PAGES);
}

/* Pages of the block that are still to come. */
static unsigned long uvm_migration_missing(struct uvm_migration *mig,
					   const struct uvm_move *mv)
{
	return mv->npages - uvm_resident_in_block(mig->vs, mig->pfns, mv->base,
						  mv->npages, mig->dest.gpu_id);
}

/*
 * Is there no room for the block? Core would split a huge page to no avail then. If so
 * it is put off, as long as room may be made.
 */
static bool uvm_migration_lacks_room(struct uvm_migration *mig, const struct uvm_move *mv)
{
	struct uvm_gpu *gpu = mig->dest.gpu;
	unsigned long room, want;
	bool chunk;

	if (!uvm_migration_may_put_off(mig))
		return false;
	chunk = !UVM_HUGE_MOVES || mv->npages < UVM_BLOCK_PAGES ||
		mig->tries >= UVM_MIGRATE_DEFRAGS || uvm_evict_has_chunk(gpu);
	room = uvm_evict_room(gpu, mig->dest.tenant);
	if (room >= mv->npages && chunk)
		return false;
	want = uvm_migration_missing(mig, mv);
	chunk |= want < UVM_BLOCK_PAGES || !uvm_mirror_is_whole(mig->pfns);
	if (want <= room && chunk)
		return false;
	uvm_migration_put_off(mig, mv, want);
	return true;
}

/* Counts the block of an ended move; for an incomplete one nothing is under way. */
static void uvm_migration_account(struct uvm_migration *mig, struct uvm_move *mv)
{
	unsigned long starved = bitmap_weight(mv->starved, mv->npages);

	if (starved && uvm_migration_may_put_off(mig)) {
		uvm_migration_put_off(mig, mv, starved);
		mv->npages = 0;
		return;
	}
	if (!uvm_move_complete(mv))
		uvm_settle(mig, mv);
	mig->cmd->out_moved += bitmap_weight(mv->moved, mv->npages);
	mv->npages = 0;
}

/*
 * The mirror knows no more who has a page alone once the move began, of which it is told
 * as of any change. What goes to a GPU is populated in any case.
 */
static void uvm_migration_note_alone(struct uvm_migration *mig,
				     const struct uvm_move *mv)
{
	unsigned long *alone = mig->alone[mv == mig->moves[1]];

	bitmap_zero(alone, UVM_BLOCK_PAGES);
	if (!mig->dest.gpu)
		uvm_mirror_taken(mig->vs, mv->base, mv->npages, alone);
}

/*
 * Sets one block off while the one before it is still being copied. Of one that was put
 * off, pages may have moved already.
 */
static void uvm_migration_block(struct uvm_migration *mig,
				struct vm_area_struct *vma, unsigned long start,
				unsigned long end, const unsigned long *moved)
{
	struct uvm_move *mv = mig->moves[mig->next];
	struct uvm_move *before = mig->moves[!mig->next];
	unsigned long select = uvm_target_is_any_cpu(&mig->dest) ?
			       UVM_SELECT_OURS : MIGRATE_VMA_SELECT_SYSTEM;

	uvm_move_reset(mv, start, end);
	if (moved)
		bitmap_copy(mv->moved, moved, UVM_BLOCK_PAGES);
	if (uvm_migration_lacks_room(mig, mv)) {
		mv->npages = 0;
		return;
	}
	uvm_migration_note_alone(mig, mv);
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
 * Anonymous pages live in private mappings only; others are ours, at their place. Where
 * the process may not read, HMM doesn't look, so nothing could be told about what happened
 * to the pages.
 */
bool uvm_vma_migratable(const struct vm_area_struct *vma)
{
	if (uvm_vma_is_managed(vma))
		return vma->vm_flags & VM_READ && uvm_managed_vs(vma);
	return !(vma->vm_flags & (VM_SPECIAL | VM_SHARED | VM_HUGETLB)) &&
	       vma->vm_flags & VM_READ && !vma_is_dax(vma);
}

/* Is it also the VA space's to move? Managed memory is that of its own. */
bool uvm_vma_moves_for(struct uvm_va_space *vs, const struct vm_area_struct *vma)
{
	return uvm_vma_migratable(vma) &&
	       (!uvm_vma_is_managed(vma) || uvm_managed_vs(vma) == vs);
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

static bool uvm_migration_takes(const struct uvm_migration *mig,
				const struct vm_area_struct *vma)
{
	return uvm_vma_moves_for(mig->vs, vma) &&
	       (!mig->dest.gpu || uvm_gpu_takes(mig->dest.gpu, vma));
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
	if (!uvm_migration_takes(mig, vma))
		return uvm_migrate_skip(mig, addr, end, UVM_SKIP_VMA_KIND);
	if (!(uvm_policy_switches(&policy) & UVM_POLICY_ALLOW_MIGRATION))
		return uvm_migrate_skip(mig, addr, end, UVM_SKIP_POLICY);
	while (addr < end) {
		next = min(end, ALIGN(addr + 1, UVM_BLOCK_SIZE));
		uvm_migration_block(mig, vma, addr, next, NULL);
		addr = next;
		uvm_delay(UVM_DELAY_MIGRATE);
		if (need_resched() || mmap_lock_is_contended(vma->vm_mm) ||
		    fatal_signal_pending(current) || uvm_migration_stops(mig) ||
		    mig->nr_late)
			break;
	}
	uvm_migration_drain(mig);
	return addr;
}

/*
 * A block that was put off, now that there is room. What it was has changed if the VMA
 * did: then it is walked like any other.
 */
static void uvm_migrate_late(struct uvm_migration *mig, struct vm_area_struct *vma,
			     const struct uvm_late *late)
{
	unsigned long first, last;
	struct uvm_policy policy;

	uvm_policies_lookup(&mig->vs->policies, late->start, &policy, &first, &last);
	if (!uvm_migration_takes(mig, vma)) {
		uvm_migrate_skip(mig, late->start, late->end, UVM_SKIP_VMA_KIND);
	} else if (!(uvm_policy_switches(&policy) & UVM_POLICY_ALLOW_MIGRATION)) {
		uvm_migrate_skip(mig, late->start, late->end, UVM_SKIP_POLICY);
	} else {
		uvm_migration_block(mig, vma, late->start, late->end, late->moved);
		uvm_migration_drain(mig);
	}
}

/*
 * Makes room for what was put off. If none can be made, it isn't put off again. Where
 * there is room, but not in one piece, that is worth no more than what nobody uses.
 */
static void uvm_migration_make_room(struct uvm_migration *mig)
{
	struct uvm_gpu *gpu = mig->dest.gpu;
	unsigned long room, want = 0;
	unsigned int i;
	long nr;

	if (!mig->nr_late || !uvm_migration_enter(mig))
		return;
	for (i = 0; i < mig->nr_late; i++)
		want += mig->late[i].want;
	room = uvm_evict_room(gpu, mig->dest.tenant);
	if (want > room)
		nr = uvm_evict(gpu, mig->dest.tenant, want - room, UVM_EVICT_ANY);
	else
		nr = uvm_evict(gpu, mig->dest.tenant, UVM_BLOCK_PAGES, UVM_EVICT_COLD);
	mig->tries = nr > 0 ? mig->tries + 1 : UVM_MIGRATE_EVICTIONS;
	uvm_migration_leave(mig);
}

/*
 * What was put off, each block by itself. Its VMA may be another one by now, or end
 * within it. Returns -EFAULT if there is none, as the walk does, or why it was stopped;
 * then the first address that wasn't done is in @stop.
 */
static int uvm_migrate_lates(struct uvm_migration *mig, unsigned long *stop)
{
	struct uvm_late *lates = mig->lates_now;
	unsigned int i, nr = mig->nr_late;
	struct vm_area_struct *vma;
	unsigned long end;

	memcpy(lates, mig->late, nr * sizeof(*lates));
	mig->nr_late = 0;
	for (i = 0; i < nr; i++) {
		while (lates[i].start < lates[i].end) {
			*stop = lates[i].start;
			/* The one before may have left the GPU space, and found it gone. */
			if (uvm_migration_stops(mig))
				return uvm_migration_error(mig);
			vma = vma_lookup(mig->vs->mm, lates[i].start);
			if (!vma || !uvm_vma_accessible(vma))
				return -EFAULT;
			end = lates[i].end;
			lates[i].end = min(end, vma->vm_end);
			uvm_migrate_late(mig, vma, &lates[i]);
			bitmap_shift_right(lates[i].moved, lates[i].moved,
					   (lates[i].end - lates[i].start) >> PAGE_SHIFT,
					   UVM_BLOCK_PAGES);
			lates[i].start = lates[i].end;
			lates[i].end = end;
		}
	}
	if (!mig->nr_late)
		mig->tries = 0;
	return 0;
}

/* As far as it goes without a pause. */
static int uvm_migrate_next(struct uvm_migration *mig, unsigned long *addr,
			    unsigned long end)
{
	struct vm_area_struct *vma = vma_lookup(mig->vs->mm, *addr);

	if (!vma || !uvm_vma_accessible(vma))
		return -EFAULT;
	*addr = uvm_migrate_vma(mig, vma, *addr, end);
	return 0;
}

static int uvm_migrate_range(struct uvm_migration *mig, unsigned long addr,
			     unsigned long end)
{
	struct mm_struct *mm = mig->vs->mm;
	unsigned long stop = addr;
	int ret = 0;

	while (!ret && (addr < end || mig->nr_late)) {
		if (uvm_migration_stops(mig))
			return uvm_migration_error(mig);
		cond_resched();
		uvm_migration_make_room(mig);
		if (fatal_signal_pending(current) || mmap_read_lock_killable(mm))
			return -EINTR;
		if (uvm_migration_enter(mig)) {
			ret = mig->nr_late ? uvm_migrate_lates(mig, &stop) :
					     uvm_migrate_next(mig, &addr, end);
			uvm_migration_leave(mig);
		}
		mmap_read_unlock(mm);
		if (mig->nr_late)
			stop = mig->late[0].start;
		else if (!ret)
			stop = addr;
		mig->cmd->out_done = stop - mig->cmd->base;
	}
	return ret;
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
	mig->dest.tenant = gs->tenant;
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
	mig->dest.may_stay = true;
	mig->dest.duplicate = true;
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
