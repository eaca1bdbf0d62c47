// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Thrashing
 *
 * Owns the watch for pages that bounce: a GPU's fault takes one, somebody else takes it
 * back, and the GPU's next fault follows before a *lapse* is over. Moving costs more
 * than such a page is worth. What is said of faults here goes for access counters too,
 * which take what a GPU uses a lot.
 *
 * It costs next to nothing until it happens: a few slots tell which blocks have pages
 * moved again and again. Such a block is then watched page by page. A page that comes
 * back a few times is throttled: its fault is left for a lapse, so that the others can
 * do something with it. If that doesn't help it is pinned: mapped for the GPU where it
 * is, in system memory, for a while. Then the GPU's entry is taken away, and its next
 * fault decides anew.
 *
 * Whoever changes this holds &uvm_thrash.lock. The fault work alone adds blocks; the
 * work that releases frees them.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/hash.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "thrash.h"
#include "trace.h"

/* So many moves of pages of a block, a lapse apart, and it is watched. */
#define UVM_THRASH_SUSPECT	12
/* Blocks that a GPU space watches at most. */
#define UVM_THRASH_BLOCKS	1024
/* A block with nothing to watch is forgotten after this, us. */
#define UVM_THRASH_EPOCH_US	(2 * USEC_PER_SEC)

static unsigned int uvm_thrash_lapse_us = 500;
module_param_named(thrash_lapse_us, uvm_thrash_lapse_us, uint, 0644);
MODULE_PARM_DESC(thrash_lapse_us,
		 "a page that a GPU faults on again so soon after it was moved there bounces; 0: never look (default 500)");

static unsigned int uvm_thrash_threshold = 3;
module_param_named(thrash_threshold, uvm_thrash_threshold, uint, 0644);
MODULE_PARM_DESC(thrash_threshold,
		 "bounces of a page before it is throttled (default 3)");

static unsigned int uvm_thrash_pin_threshold = 10;
module_param_named(thrash_pin_threshold, uvm_thrash_pin_threshold, uint, 0644);
MODULE_PARM_DESC(thrash_pin_threshold,
		 "bounces of a page before it is mapped where it is (default 10)");

static unsigned int uvm_thrash_pin_ms = 300;
module_param_named(thrash_pin_ms, uvm_thrash_pin_ms, uint, 0644);
MODULE_PARM_DESC(thrash_pin_ms,
		 "how long it stays mapped where it is (default 300)");

/**
 * struct uvm_thrash_block - a block whose pages are watched
 * @last: when it was last looked at, us
 * @release: when its pinned pages are released, us; while there are any
 * @pinned: those
 * @waiting: those whose fault was left for later, once
 * @when: by page, when it was moved last; the lower half of us
 * @events: by page, how often it came back within a lapse
 */
struct uvm_thrash_block {
	u64 last;
	u64 release;
	DECLARE_BITMAP(pinned, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(waiting, UVM_BLOCK_PAGES);
	u32 when[UVM_BLOCK_PAGES];
	u8 events[UVM_BLOCK_PAGES];
};

static u64 uvm_thrash_now(void)
{
	return div_u64(ktime_get_ns(), NSEC_PER_USEC);
}

unsigned int uvm_thrash_nap_us(void)
{
	return min_t(unsigned int, READ_ONCE(uvm_thrash_lapse_us), USEC_PER_SEC);
}

static unsigned int uvm_thrash_pin_time(void)
{
	return clamp_t(unsigned int, READ_ONCE(uvm_thrash_pin_ms), 1, 60 * MSEC_PER_SEC);
}

static void uvm_thrash_queue(struct uvm_thrash *thrash)
{
	queue_delayed_work(uvm_gpu_wq, &thrash->work,
			   msecs_to_jiffies(uvm_thrash_pin_time()));
}

/* The GPU faults on these pages the next time, and decides anew. */
static void uvm_thrash_release(struct uvm_thrash *thrash, unsigned long block,
			       struct uvm_thrash_block *tb)
{
	unsigned long base = block << UVM_BLOCK_SHIFT;
	unsigned int first, end;

	lockdep_assert_held(&thrash->lock);
	for_each_set_bitrange(first, end, tb->pinned, UVM_BLOCK_PAGES) {
		uvm_mirror_unmap(thrash->gs, base + first * PAGE_SIZE,
				 base + end * PAGE_SIZE);
		memset(&tb->events[first], 0, end - first);
		trace_uvm_fault_unpin(thrash->gs->vs->id, thrash->gs->gpu->id,
				      base + first * PAGE_SIZE, end - first);
	}
	uvm_gpu_space_count(thrash->gs, UVM_STAT_UNPINNED,
			    bitmap_weight(tb->pinned, UVM_BLOCK_PAGES));
	bitmap_zero(tb->pinned, UVM_BLOCK_PAGES);
}

static void uvm_thrash_work(struct work_struct *work)
{
	struct uvm_thrash *thrash =
		container_of(work, struct uvm_thrash, work.work);
	struct uvm_thrash_block *tb;
	u64 now = uvm_thrash_now();
	unsigned long block;

	if (!uvm_gpu_space_enter(thrash->gs))
		return;
	mutex_lock(&thrash->lock);
	xa_for_each(&thrash->blocks, block, tb) {
		if (!bitmap_empty(tb->pinned, UVM_BLOCK_PAGES)) {
			if (now >= tb->release)
				uvm_thrash_release(thrash, block, tb);
		} else if (now - tb->last > UVM_THRASH_EPOCH_US) {
			xa_erase(&thrash->blocks, block);
			thrash->nr--;
			kvfree(tb);
		}
	}
	if (thrash->nr)
		uvm_thrash_queue(thrash);
	mutex_unlock(&thrash->lock);
	uvm_gpu_space_leave(thrash->gs);
}

void uvm_thrash_init(struct uvm_thrash *thrash, struct uvm_gpu_space *gs)
{
	thrash->gs = gs;
	mutex_init(&thrash->lock);
	xa_init(&thrash->blocks);
	INIT_DELAYED_WORK(&thrash->work, uvm_thrash_work);
}

/* Nobody can enter the GPU space any more, and nobody is in it. */
void uvm_thrash_stop(struct uvm_thrash *thrash)
{
	cancel_delayed_work_sync(&thrash->work);
}

void uvm_thrash_fini(struct uvm_thrash *thrash)
{
	struct uvm_thrash_block *tb;
	unsigned long block;

	xa_for_each(&thrash->blocks, block, tb)
		kvfree(tb);
	xa_destroy(&thrash->blocks);
	mutex_destroy(&thrash->lock);
}

static void uvm_thrash_watch(struct uvm_thrash *thrash, unsigned long block, u64 now)
{
	struct uvm_thrash_block *tb;

	lockdep_assert_held(&thrash->lock);
	if (thrash->nr >= UVM_THRASH_BLOCKS || xa_load(&thrash->blocks, block))
		return;
	tb = kvzalloc(sizeof(*tb), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!tb)
		return;
	tb->last = now;
	if (xa_err(xa_store(&thrash->blocks, block, tb, GFP_KERNEL_ACCOUNT))) {
		kvfree(tb);
		return;
	}
	thrash->nr++;
	uvm_thrash_queue(thrash);
}

/**
 * uvm_thrash_moved() - faults moved pages of a block, or counters did
 * @thrash: of a GPU space that the caller entered
 * @block: number of the block
 *
 * Fault work only.
 */
void uvm_thrash_moved(struct uvm_thrash *thrash, unsigned long block)
{
	struct uvm_thrash_slot *slot =
		&thrash->slots[hash_long(block, ilog2(UVM_THRASH_SLOTS))];
	unsigned int lapse = READ_ONCE(uvm_thrash_lapse_us);
	u64 now = uvm_thrash_now();

	if (!lapse)
		return;
	if (slot->block != block || now - slot->when > lapse)
		slot->events = 0;
	slot->block = block;
	slot->when = now;
	if (++slot->events < UVM_THRASH_SUSPECT)
		return;
	slot->events = 0;
	mutex_lock(&thrash->lock);
	uvm_thrash_watch(thrash, block, now);
	mutex_unlock(&thrash->lock);
}

/**
 * uvm_thrash_find() - is the block watched?
 * @thrash: locked, of a GPU space that the caller entered
 * @block: number of the block
 *
 * Return: what is known of it, until @thrash is unlocked; or NULL.
 */
struct uvm_thrash_block *uvm_thrash_find(struct uvm_thrash *thrash,
					 unsigned long block)
{
	lockdep_assert_held(&thrash->lock);
	return thrash->nr ? xa_load(&thrash->blocks, block) : NULL;
}

bool uvm_thrash_is_pinned(const struct uvm_thrash_block *tb, unsigned int page)
{
	return tb && test_bit(page, tb->pinned);
}

static void uvm_thrash_pin(struct uvm_thrash *thrash, struct uvm_thrash_block *tb,
			   unsigned int page, u64 now)
{
	if (bitmap_empty(tb->pinned, UVM_BLOCK_PAGES))
		tb->release = now + uvm_thrash_pin_time() * USEC_PER_MSEC;
	__set_bit(page, tb->pinned);
	uvm_gpu_space_count(thrash->gs, UVM_STAT_PINNED, 1);
}

/**
 * uvm_thrash_fault() - a fault wants to move a page, or a counter does
 * @thrash: locked, of a GPU space that the caller entered
 * @tb: its block
 * @page: its number in the block; not pinned
 *
 * Return: what to do about it. UVM_THRASH_STAY pins it.
 */
enum uvm_thrash_verdict uvm_thrash_fault(struct uvm_thrash *thrash,
					 struct uvm_thrash_block *tb,
					 unsigned int page)
{
	unsigned int lapse = READ_ONCE(uvm_thrash_lapse_us);
	u64 now = uvm_thrash_now();
	u32 since;

	lockdep_assert_held(&thrash->lock);
	tb->last = now;
	/* It came back within a lapse; or it waited, and so did others. */
	since = (u32)now - tb->when[page];
	if (since > (test_bit(page, tb->waiting) ? 4 : 2) * lapse)
		tb->events[page] = 0;
	if (tb->events[page] >= READ_ONCE(uvm_thrash_pin_threshold)) {
		uvm_thrash_pin(thrash, tb, page, now);
		return UVM_THRASH_STAY;
	}
	if (tb->events[page] >= READ_ONCE(uvm_thrash_threshold) &&
	    !test_and_set_bit(page, tb->waiting)) {
		uvm_gpu_space_count(thrash->gs, UVM_STAT_THROTTLED, 1);
		tb->when[page] = now;
		return UVM_THRASH_WAIT;
	}
	__clear_bit(page, tb->waiting);
	tb->when[page] = now;
	if (tb->events[page] < U8_MAX)
		tb->events[page]++;
	return UVM_THRASH_MOVE;
}
