// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Huge private pages on their way, and who unmaps them
 *
 * Owns that nobody unmaps a huge page of private memory in an mm while it is on its way.
 * Core (7.3, zap_huge_pmd_folio()) takes its migration entry for that of a page that is
 * mapped and gives up a mapping and a reference that aren't there. What holds mmap_lock
 * for writing can't come to that, but MADV_DONTNEED, the OOM reaper and the like hold it
 * for reading, as a move does, or the lock of the VMA only.
 *
 * They tell notifiers before and after: first the interval notifiers, then the plain ones.
 * So whoever comes after the move began waits in the notifier until it ended, which it
 * does when the engine has, and finds the page elsewhere; or is told to try later, if he
 * can't wait. Whoever came before makes the move a move of single pages
 * (uvm_zaps_bar() says no): it never waits, as it may have another one under way.
 *
 * Unmappings are counted by the plain notifier of &struct uvm_mm. That is exact: it is
 * registered with all locks of the mm taken (mm_take_all_locks(): mmap_lock, and those of
 * the VMAs, of files' mappings and of anon_vmas), one of which everybody has who unmaps,
 * from before the first notifier to after the last; so none is under way then. And of what
 * is refused by an interval notifier it hears neither start nor end; of what is refused by
 * a plain one, both.
 *
 * Waiting is the interval notifier's, since a plain one has SRCU locked that every exit
 * may wait for. A move that sets off between the two is waited for in the plain one all
 * the same.
 *
 * What is not blockable is an mm that is being killed: it has no huge moves any more from
 * when the interval notifier hears of that. So the plain one, which couldn't refuse, never
 * meets any.
 */
#include "core.h"

#include <linux/hashtable.h>

#include "move.h"

static DEFINE_SPINLOCK(uvm_zaps_lock);
static DEFINE_HASHTABLE(uvm_zaps_table, 6);

static bool uvm_zaps_concern(const struct mmu_notifier_range *range)
{
	return range->event == MMU_NOTIFY_CLEAR || range->event == MMU_NOTIFY_UNMAP;
}

/* Is somebody else's huge page of the range on its way? */
static bool uvm_zaps_meet(const struct uvm_zaps *zaps, unsigned long start,
			  unsigned long end)
{
	const struct uvm_move *mv;

	lockdep_assert_held(&zaps->lock);
	list_for_each_entry(mv, &zaps->moves, zaps_link)
		if (mv->mover != current && mv->args.start < end && mv->args.end > start)
			return true;
	return false;
}

/* As core's KVM does: all that is under way, as one range. */
static void uvm_zaps_add(struct uvm_zaps *zaps, const struct mmu_notifier_range *range)
{
	lockdep_assert_held(&zaps->lock);
	if (!zaps->active++) {
		zaps->start = range->start;
		zaps->end = range->end;
	}
	zaps->start = min(zaps->start, range->start);
	zaps->end = max(zaps->end, range->end);
}

static bool uvm_zaps_may_go_on(struct uvm_zaps *zaps,
			       const struct mmu_notifier_range *range)
{
	bool meets;

	spin_lock(&zaps->lock);
	meets = uvm_zaps_meet(zaps, range->start, range->end);
	spin_unlock(&zaps->lock);
	return !meets;
}

/**
 * uvm_zaps_began() - an unmapping is about to begin
 * @zaps: of its mm
 * @range: what it is about
 *
 * Waits for moves under way, if it may. No other one sets off until uvm_zaps_ended().
 */
void uvm_zaps_began(struct uvm_zaps *zaps, const struct mmu_notifier_range *range)
{
	if (!UVM_HUGE_MOVES || !uvm_zaps_concern(range))
		return;
	spin_lock(&zaps->lock);
	uvm_zaps_add(zaps, range);
	spin_unlock(&zaps->lock);
	if (mmu_notifier_range_blockable(range))
		wait_event(zaps->moved, uvm_zaps_may_go_on(zaps, range));
}

/**
 * uvm_zaps_ended() - an unmapping is over
 * @zaps: of its mm
 * @range: as uvm_zaps_began() had it
 */
void uvm_zaps_ended(struct uvm_zaps *zaps, const struct mmu_notifier_range *range)
{
	if (!UVM_HUGE_MOVES || !uvm_zaps_concern(range))
		return;
	spin_lock(&zaps->lock);
	if (!WARN_ON_ONCE(!zaps->active))
		zaps->active--;
	spin_unlock(&zaps->lock);
}

static bool uvm_zaps_may_reap(struct uvm_zaps *zaps,
			      const struct mmu_notifier_range *range)
{
	spin_lock(&zaps->lock);
	zaps->reaped = true;
	spin_unlock(&zaps->lock);
	return uvm_zaps_may_go_on(zaps, range);
}

static bool uvm_zaps_invalidate(struct mmu_interval_notifier *mni,
				const struct mmu_notifier_range *range,
				unsigned long cur_seq)
{
	struct uvm_zaps *zaps = container_of(mni, struct uvm_zaps, mni);

	mmu_interval_set_seq(mni, cur_seq);
	if (!uvm_zaps_concern(range))
		return true;
	if (!mmu_notifier_range_blockable(range))
		return uvm_zaps_may_reap(zaps, range);
	if (!uvm_zaps_may_go_on(zaps, range)) {
		/* Counted meanwhile, or it might wait for one move after the other. */
		uvm_zaps_began(zaps, range);
		uvm_zaps_ended(zaps, range);
	}
	return true;
}

static const struct mmu_interval_notifier_ops uvm_zaps_ops = {
	.invalidate = uvm_zaps_invalidate,
};

void uvm_zaps_init(struct uvm_zaps *zaps)
{
	spin_lock_init(&zaps->lock);
	INIT_LIST_HEAD(&zaps->moves);
	init_waitqueue_head(&zaps->moved);
}

/**
 * uvm_zaps_watch() - from now on huge private pages of an mm may move as one
 * @zaps: not watched
 * @mm: the mm; it has an interval notifier already, so no mmap_lock is waited for
 *
 * Waits for invalidations under way, of which the interval notifier didn't hear: one that
 * can't wait might meet a move.
 *
 * Return: 0, or what mmu_interval_notifier_insert() says.
 */
int uvm_zaps_watch(struct uvm_zaps *zaps, struct mm_struct *mm)
{
	int ret;

	if (!UVM_HUGE_MOVES)
		return 0;
	ret = mmu_interval_notifier_insert(&zaps->mni, mm, 0, ULONG_MAX, &uvm_zaps_ops);
	if (ret)
		return ret;
	mmu_interval_read_begin(&zaps->mni);
	zaps->mm = mm;
	spin_lock(&uvm_zaps_lock);
	hash_add(uvm_zaps_table, &zaps->node, (unsigned long)mm);
	spin_unlock(&uvm_zaps_lock);
	return 0;
}

/**
 * uvm_zaps_unwatch() - undo uvm_zaps_watch()
 * @zaps: watched
 *
 * Waits for moves under way, and so for engines, and for unmappings under way.
 */
void uvm_zaps_unwatch(struct uvm_zaps *zaps)
{
	if (!UVM_HUGE_MOVES)
		return;
	spin_lock(&uvm_zaps_lock);
	hash_del(&zaps->node);
	spin_unlock(&uvm_zaps_lock);
	wait_event(zaps->moved, list_empty_careful(&zaps->moves));
	/* The last uvm_zaps_allow() may still be inside the lock. */
	spin_lock(&zaps->lock);
	spin_unlock(&zaps->lock);
	mmu_interval_notifier_remove(&zaps->mni);
}

static struct uvm_zaps *uvm_zaps_find(const struct mm_struct *mm)
{
	struct uvm_zaps *zaps;

	lockdep_assert_held(&uvm_zaps_lock);
	hash_for_each_possible(uvm_zaps_table, zaps, node, (unsigned long)mm)
		if (zaps->mm == mm)
			return zaps;
	return NULL;
}

static bool uvm_zaps_forbid(const struct uvm_zaps *zaps, unsigned long start,
			    unsigned long end)
{
	lockdep_assert_held(&zaps->lock);
	return zaps->reaped ||
	       (zaps->active && start < zaps->end && end > zaps->start);
}

/**
 * uvm_zaps_bar() - let nobody unmap a block
 * @mm: whose mmap_lock is held
 * @base: address of the block
 * @mv: a move of it that is about to begin, or NULL to just ask
 *
 * Until uvm_zaps_allow(), by the same task. Doesn't sleep.
 *
 * Return: false if that can't be, since somebody is at it, or the mm isn't watched.
 */
bool uvm_zaps_bar(struct mm_struct *mm, unsigned long base, struct uvm_move *mv)
{
	struct uvm_zaps *zaps;
	bool bar = false;

	lockdep_assert_held(&mm->mmap_lock);
	spin_lock(&uvm_zaps_lock);
	zaps = uvm_zaps_find(mm);
	if (zaps) {
		spin_lock(&zaps->lock);
		bar = !uvm_zaps_forbid(zaps, base, base + UVM_BLOCK_SIZE);
		if (bar && mv) {
			mv->zaps = zaps;
			mv->mover = current;
			list_add(&mv->zaps_link, &zaps->moves);
		}
		spin_unlock(&zaps->lock);
	}
	spin_unlock(&uvm_zaps_lock);
	return bar;
}

/**
 * uvm_zaps_allow() - whoever waits may unmap the block
 * @mv: over, or not begun; uvm_zaps_bar() may have said no
 */
void uvm_zaps_allow(struct uvm_move *mv)
{
	struct uvm_zaps *zaps = mv->zaps;

	if (!zaps)
		return;
	mv->zaps = NULL;
	spin_lock(&zaps->lock);
	list_del(&mv->zaps_link);
	/* With the lock, as uvm_zaps_unwatch() relies on. */
	wake_up_all(&zaps->moved);
	spin_unlock(&zaps->lock);
}
