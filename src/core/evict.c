// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Eviction
 *
 * Owns how a GPU's memory becomes free for somebody else: pages that weren't used for
 * long go home, a block at most at a time. Always by the way of UVM_MIGRATE, through the
 * page table of an mm whose mmap_lock is held: by page frame, core mm can be made to
 * look at an anon_vma that an exit has freed. mmap_lock is tried for, and a resident
 * whose mm is busy is left for the next time. The caller holds no mmap_lock and no page,
 * so nothing that it waits for here waits for it: engines, and memory.
 *
 * Who was used when: a page that comes is used then. Later uses only the GPU's page
 * tables know, so a *sweep* harvests their accessed bits each time that an eighth of the
 * memory was served anew, and so does the last look at a victim. The first use of what
 * came since the last sweep shows as well, but that is no second use: the sweep gives it
 * the same age. A part of a block that was used in none of the last sweeps leaves alone,
 * if the rest is in use.
 *
 * Progress. A victim is one of those whose pages are where their resident says, and each
 * attempt either frees memory, or puts the resident last, or makes it a stray; so the
 * attempts of one call are bounded, and each call tries others than the one before.
 * What it takes: room for a move, of which there is a spare one, and system memory. If
 * there is none, nothing is evicted, and the caller has its other ways: a fault maps the
 * page where it is, UVM_MIGRATE counts NO_MEMORY. A GPU space that goes down waits for
 * evictions under way: for their copies, a sweep, and a second at most of a search for
 * strays.
 *
 * Whose: what others reserved isn't taken from them. Who has more than his share of the
 * memory takes nothing from those who have less, unless it is cold.
 */
#include "core.h"

#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "harvest.h"
#include "move.h"
#include "trace.h"

/* Attempts in a row that free nothing. */
#define UVM_EVICT_TRIES		16

/* So often, some tenths of a millisecond, one call waits for mmap_locks. */
#define UVM_EVICT_WAITS		20

/* The memory over this has to be served anew before a sweep. */
#define UVM_EVICT_SWEEPS	8

/* So many sweeps without being used make a page cold. */
#define UVM_EVICT_COLD_SWEEPS	4

/* So often in a row none of its pages was found, before a resident is a stray. */
#define UVM_EVICT_VAIN		3

/* Blocks that are evicted ahead of a stream. */
#define UVM_EVICT_AHEAD		3

/* From one revisit of what is mapped in place to the next. */
#define UVM_REVISIT_MIN_MS	100U
#define UVM_REVISIT_MAX_MS	3200U

/* Blocks that a revisit looks at. */
#define UVM_REVISIT_MAX		4096UL

/* After a search for strays that found none, the next waits, longer and longer. */
#define UVM_SEARCH_MIN		(HZ / 10)
#define UVM_SEARCH_MAX		(30UL * HZ)

/* ---- who was used ---- */

static unsigned long uvm_lru_sweep_pages(const struct uvm_lru *lru)
{
	return lru->nr_pages / UVM_EVICT_SWEEPS;
}

static bool uvm_resident_is_cold(const struct uvm_lru *lru,
				 const struct uvm_resident *res)
{
	return res->discarded == res->pages ||
	       lru->clock - res->used >= UVM_EVICT_COLD_SWEEPS * uvm_lru_sweep_pages(lru);
}

static bool uvm_granule_is_quiet(const struct uvm_resident *res, unsigned int g)
{
	return res->quiet[g] >= UVM_EVICT_COLD_SWEEPS && res->quiet[g] != UVM_QUIET_GONE;
}

/* The granules that a sweep found unused again and again. */
static u32 uvm_resident_quiet(const struct uvm_resident *res)
{
	unsigned int g;
	u32 mask = 0;

	for (g = 0; g < UVM_GRANULES; g++)
		if (uvm_granule_is_quiet(res, g))
			mask |= BIT(g);
	return mask;
}

static void uvm_resident_age(struct uvm_resident *res, const unsigned long *accessed)
{
	unsigned int g;

	for (g = 0; g < UVM_GRANULES; g++) {
		unsigned long first = g << UVM_GRANULE_SHIFT;

		if (res->quiet[g] == UVM_QUIET_GONE)
			continue;
		if (find_next_bit(accessed, first + BIT(UVM_GRANULE_SHIFT), first) <
		    first + BIT(UVM_GRANULE_SHIFT))
			res->quiet[g] = 0;
		else if (res->quiet[g] < UVM_QUIET_GONE - 1)
			res->quiet[g]++;
	}
}

/*
 * Looks at the GPU's entries of the block. Returns true if it was used since the last
 * look. @age: a sweep went by.
 */
static bool uvm_resident_look(struct uvm_gpu *gpu, struct uvm_resident *res, bool age)
{
	DECLARE_BITMAP(accessed, UVM_BLOCK_PAGES);
	struct uvm_lru *lru = &gpu->lru;
	unsigned int nr;

	nr = uvm_harvest(gpu, res->tenant->mm, res->base, accessed);
	spin_lock_irq(&lru->lock);
	if (age)
		uvm_resident_age(res, accessed);
	if (nr && res->pages && !res->stray)
		uvm_resident_touch(lru, res);
	spin_unlock_irq(&lru->lock);
	return nr;
}

/*
 * A place in the list of a tenant. Who looks for a victim passes by it, as by one that
 * somebody else evicts.
 */
static void uvm_sweep_mark_init(struct uvm_resident *mark)
{
	*mark = (struct uvm_resident){ .evicting = true };
	INIT_LIST_HEAD(&mark->link);
}

/* The next resident from @at on, with a user, and @at behind it; NULL at @end. */
static struct uvm_resident *uvm_sweep_next(struct uvm_lru *lru, struct uvm_resident *at,
					   struct uvm_resident *end)
{
	struct uvm_resident *res;

	spin_lock_irq(&lru->lock);
	res = list_next_entry(at, link);
	if (res == end) {
		list_del(&at->link);
		list_del(&end->link);
		res = NULL;
	} else {
		list_move(&at->link, &res->link);
		res->users++;
	}
	spin_unlock_irq(&lru->lock);
	return res;
}

/*
 * Each that was there when it began is looked at once, whatever becomes of the others
 * meanwhile, and wherever they go in the list. What is used, here or by others, goes
 * behind the end, as what comes does: it was looked at just now, or waits for the next
 * sweep.
 */
static void uvm_sweep_tenant(struct uvm_gpu *gpu, struct uvm_tenant *tenant)
{
	struct uvm_resident at, end, *res;
	struct uvm_lru *lru = &gpu->lru;

	uvm_sweep_mark_init(&at);
	uvm_sweep_mark_init(&end);
	spin_lock_irq(&lru->lock);
	list_add(&at.link, &tenant->lru);
	list_add_tail(&end.link, &tenant->lru);
	spin_unlock_irq(&lru->lock);
	while ((res = uvm_sweep_next(lru, &at, &end))) {
		uvm_resident_look(gpu, res, true);
		uvm_resident_put(res);
		cond_resched();
	}
}

/* The tenant after @tenant, with a reference; puts that of @tenant. */
static struct uvm_tenant *uvm_sweep_next_tenant(struct uvm_lru *lru,
						struct uvm_tenant *tenant)
{
	struct uvm_tenant *next;

	spin_lock_irq(&lru->lock);
	next = tenant ? list_next_entry(tenant, link) :
			list_first_entry(&lru->tenants, struct uvm_tenant, link);
	list_for_each_entry_from(next, &lru->tenants, link)
		if (kref_get_unless_zero(&next->ref))
			break;
	if (list_entry_is_head(next, &lru->tenants, link))
		next = NULL;
	spin_unlock_irq(&lru->lock);
	if (tenant)
		uvm_tenant_put(tenant);
	return next;
}

/*
 * Takes the entries of what is mapped in place for want of room away, to see who wants it
 * still: who does faults, and is judged anew.
 */
static void uvm_lru_revisit(struct uvm_gpu *gpu)
{
	unsigned long left = UVM_REVISIT_MAX;
	struct uvm_resident *res;

	while (left-- && (res = uvm_resident_next_stayed(&gpu->lru))) {
		uvm_unmap_block(gpu, res->tenant->mm, res->base);
		uvm_resident_put(res);
		cond_resched();
	}
}

/* Notes what was used since the last sweep, if it is time. */
static void uvm_lru_sweep(struct uvm_gpu *gpu)
{
	struct uvm_lru *lru = &gpu->lru;
	struct uvm_tenant *tenant = NULL;
	unsigned int thrash;

	if (READ_ONCE(lru->clock) - READ_ONCE(lru->swept) < uvm_lru_sweep_pages(lru) ||
	    !mutex_trylock(&lru->sweep_lock))
		return;
	spin_lock_irq(&lru->lock);
	lru->swept = lru->clock;
	thrash = lru->served ? lru->again * 1000 / lru->served : 0;
	lru->thrash = (lru->thrash + thrash) / 2;
	lru->served = 0;
	lru->again = 0;
	spin_unlock_irq(&lru->lock);
	if (uvm_can_harvest(gpu))
		while ((tenant = uvm_sweep_next_tenant(lru, tenant)))
			uvm_sweep_tenant(gpu, tenant);
	uvm_lru_revisit(gpu);
	mutex_unlock(&lru->sweep_lock);
}

/* ---- who goes ---- */

/**
 * struct uvm_eviction - room is made
 * @gpu: where
 * @tenant: for whom, or NULL
 * @mode: what may go
 * @own: only what @tenant has, since its limit is reached
 * @share: what each tenant would have if all had the same
 * @tries: attempts that are left
 * @waits: moments that mmap_locks are still waited for
 * @round: number of this one
 */
struct uvm_eviction {
	struct uvm_gpu *gpu;
	struct uvm_tenant *tenant;
	enum uvm_evict_mode mode;
	bool own;
	unsigned long share;
	unsigned int tries;
	unsigned int waits;
	u64 round;
};

static unsigned long uvm_lru_share(const struct uvm_lru *lru)
{
	struct uvm_tenant *tenant;
	unsigned long nr = 0;

	lockdep_assert_held(&lru->lock);
	list_for_each_entry(tenant, &lru->tenants, link)
		nr += tenant->pages || tenant->spaces;
	return lru->nr_pages / max(nr, 1UL);
}

/* Has it all that it reserved without @res? */
static bool uvm_tenant_spares(const struct uvm_tenant *tenant,
			      const struct uvm_resident *res)
{
	return tenant->pages >= tenant->reserved + res->pages;
}

/* May @res of @victim go? */
static bool uvm_eviction_may_take(const struct uvm_eviction *ev,
				  const struct uvm_tenant *victim,
				  const struct uvm_resident *res)
{
	bool cold = uvm_resident_is_cold(&ev->gpu->lru, res);
	bool poor = ev->tenant && ev->tenant->pages < ev->share;

	if (victim == ev->tenant)
		return cold || ev->own || ev->mode == UVM_EVICT_ANY;
	if (ev->own || !uvm_tenant_spares(victim, res))
		return false;
	if (cold)
		return true;
	if (poor)
		return victim->pages > ev->share || ev->mode == UVM_EVICT_ANY;
	return ev->mode == UVM_EVICT_ANY && victim->pages > ev->share;
}

/*
 * The oldest one of @tenant that nobody evicts. This round passes by those of which it
 * saw that they have to stay, and those who are busy with their mappings: they may have
 * so much that it would get to nobody else.
 */
static struct uvm_resident *uvm_tenant_oldest(const struct uvm_eviction *ev,
					      struct uvm_tenant *tenant)
{
	struct uvm_resident *res;

	if (tenant->busy_in == ev->round)
		return NULL;
	list_for_each_entry(res, &tenant->lru, link)
		if (!res->evicting && res->fixed_in != ev->round)
			return res;
	return NULL;
}

/* Is a part of it cold, but not all? */
static bool uvm_resident_is_partly_cold(const struct uvm_resident *res)
{
	u32 quiet = uvm_resident_quiet(res);

	return quiet && quiet != U32_MAX;
}

/* One of which a part is cold, though it is in use. */
static struct uvm_resident *uvm_tenant_partly_cold(const struct uvm_eviction *ev,
						   struct uvm_tenant *tenant)
{
	struct uvm_resident *res;
	unsigned int left = UVM_EVICT_TRIES;

	if (tenant->busy_in == ev->round)
		return NULL;
	list_for_each_entry(res, &tenant->lru, link) {
		if (!left--)
			break;
		if (!res->evicting && res->fixed_in != ev->round &&
		    uvm_resident_is_partly_cold(res))
			return res;
	}
	return NULL;
}

static bool uvm_resident_is_older(const struct uvm_resident *a,
				  const struct uvm_resident *b)
{
	return !b || a->used < b->used;
}

/* The next victim, with a user, and marked; @part receives its granules that go. */
static struct uvm_resident *uvm_eviction_pick(struct uvm_eviction *ev, u32 *part)
{
	struct uvm_lru *lru = &ev->gpu->lru;
	struct uvm_resident *res, *best = NULL;
	struct uvm_tenant *tenant;

	*part = U32_MAX;
	spin_lock_irq(&lru->lock);
	ev->share = uvm_lru_share(lru);
	list_for_each_entry(tenant, &lru->tenants, link) {
		res = uvm_tenant_oldest(ev, tenant);
		if (res && uvm_resident_is_older(res, best) &&
		    uvm_eviction_may_take(ev, tenant, res))
			best = res;
	}
	if (!best || !uvm_resident_is_cold(lru, best)) {
		list_for_each_entry(tenant, &lru->tenants, link) {
			res = uvm_tenant_partly_cold(ev, tenant);
			if (!res)
				continue;
			if (tenant != ev->tenant &&
			    (ev->own || !uvm_tenant_spares(tenant, res)))
				continue;
			best = res;
			*part = uvm_resident_quiet(res);
			break;
		}
	}
	if (best) {
		best->evicting = true;
		best->users++;
	}
	spin_unlock_irq(&lru->lock);
	return best;
}

/* ---- how it goes ---- */

/* Pages of one VMA, and of one policy. */
static void uvm_evict_range(struct uvm_gpu *gpu, struct uvm_resident *res,
			    struct uvm_move *mv, struct vm_area_struct *vma,
			    unsigned long start, unsigned long end)
{
	const struct uvm_target home = {
		.node = NUMA_NO_NODE,
		.from = gpu->id,
		.gentle = true,
		.leave = true,
	};

	uvm_move_reset(mv, start, end);
	uvm_move_from_gpus(mv, vma, start, end, &home);
	uvm_resident_left(res, (start - res->base) >> PAGE_SHIFT, mv->moved, mv->npages);
}

/* Returns pages that left, and sets @fixed if some may not. */
static unsigned long uvm_evict_vma(struct uvm_gpu *gpu, struct uvm_resident *res,
				   struct uvm_move *mv, struct vm_area_struct *vma,
				   unsigned long start, unsigned long end, bool *fixed)
{
	unsigned long last, nr = 0;

	for (; start < end; start = last + 1) {
		last = end - 1;
		if (!uvm_advise_allows(vma->vm_mm, start, &last)) {
			*fixed = true;
			continue;
		}
		uvm_evict_range(gpu, res, mv, vma, start, last + 1);
		nr += bitmap_weight(mv->moved, mv->npages);
		if (!mv->error && !bitmap_empty(mv->starved, mv->npages))
			mv->error = -ENOMEM;
		if (mv->error)
			break;
	}
	return nr;
}

/* Pages of a range within the block. Returns how many left. */
static unsigned long uvm_evict_vmas(struct uvm_gpu *gpu, struct uvm_resident *res,
				    struct uvm_move *mv, unsigned long start,
				    unsigned long end, bool *fixed)
{
	struct vm_area_struct *vma;
	unsigned long nr = 0;

	VMA_ITERATOR(vmi, res->tenant->mm, start);

	for_each_vma_range(vmi, vma, end)
		if (uvm_vma_may_have_pages(vma) && !mv->error)
			nr += uvm_evict_vma(gpu, res, mv, vma, max(start, vma->vm_start),
					    min(end, vma->vm_end), fixed);
	return nr;
}

/* Granules of @part, run by run. mmap_lock is held. */
static unsigned long uvm_evict_part(struct uvm_gpu *gpu, struct uvm_resident *res,
				    struct uvm_move *mv, u32 part, bool *fixed)
{
	const unsigned long shift = UVM_GRANULE_SHIFT + PAGE_SHIFT;
	unsigned long map = part, nr = 0, first, end;

	for_each_set_bitrange(first, end, &map, UVM_GRANULES)
		nr += uvm_evict_vmas(gpu, res, mv, res->base + (first << shift),
				     res->base + (end << shift), fixed);
	return nr;
}

/* Room for a move: there is a spare one, for when there is no memory. */
static struct uvm_move *uvm_evict_move_get(struct uvm_lru *lru)
{
	struct uvm_move *mv = uvm_move_alloc(UVM_BLOCK_PAGES);

	return mv ?: xchg(&lru->spare, NULL);
}

static void uvm_evict_move_put(struct uvm_lru *lru, struct uvm_move *mv)
{
	/* A lost one is the engine's for good. */
	if (!mv->lost && !cmpxchg(&lru->spare, NULL, mv))
		return;
	uvm_move_free(mv);
}

/*
 * Somebody may have it for long, so it isn't waited for but for moments, and not for many
 * in one call of uvm_evict().
 */
static bool uvm_eviction_lock(struct uvm_eviction *ev, struct mm_struct *mm)
{
	while (!mmap_read_trylock(mm)) {
		if (!ev->waits)
			return false;
		ev->waits--;
		usleep_range(200, 500);
	}
	return true;
}

/*
 * What of a resident left; 0 if nothing was there, -EBUSY if somebody has its mm's
 * mmap_lock, -EAGAIN if it can't be done now, -ESRCH if its mm is gone, -ENOMEM if there
 * is no system memory.
 */
static long uvm_evict_resident(struct uvm_eviction *ev, struct uvm_resident *res, u32 part,
			       bool *fixed)
{
	struct mm_struct *mm = res->tenant->mm;
	struct uvm_gpu *gpu = ev->gpu;
	struct uvm_move *mv;
	long nr = -EAGAIN;

	if (!mmget_not_zero(mm))
		return -ESRCH;
	mv = uvm_evict_move_get(&gpu->lru);
	if (mv) {
		nr = -EBUSY;
		if (uvm_eviction_lock(ev, mm)) {
			mv->error = 0;
			nr = uvm_evict_part(gpu, res, mv, part, fixed);
			if (!nr && mv->error)
				nr = mv->error == -ENOMEM ? -ENOMEM : -EAGAIN;
			mmap_read_unlock(mm);
		}
		uvm_evict_move_put(&gpu->lru, mv);
	}
	mmput_async(mm);
	return nr;
}

/* Its pages are elsewhere: nobody looks for them here again. */
static void uvm_resident_stray(struct uvm_lru *lru, struct uvm_resident *res)
{
	lockdep_assert_held(&lru->lock);
	if (!res->pages || res->stray)
		return;
	uvm_resident_unlist(lru, res);
	res->stray = true;
	lru->stray_pages += res->pages;
	list_add_tail(&res->link, &lru->strays);
}

/* After an attempt: where does it stand now? */
static void uvm_eviction_note(struct uvm_eviction *ev, struct uvm_resident *res,
			      u32 part, long nr, bool fixed)
{
	struct uvm_lru *lru = &ev->gpu->lru;
	unsigned int g;

	spin_lock_irq(&lru->lock);
	res->evicting = false;
	if (nr == -EBUSY)
		res->tenant->busy_in = ev->round;
	if (!nr && fixed) {
		/* No attempt: this round doesn't come here again. */
		res->fixed_in = ev->round;
		ev->tries++;
	}
	for (g = 0; g < UVM_GRANULES; g++)
		if (part & BIT(g) && nr > 0)
			res->quiet[g] = UVM_QUIET_GONE;
	/* Of a part nothing may be left, while the rest is where it was. */
	if (nr == -ESRCH || (!nr && !fixed && part == U32_MAX &&
			     ++res->vain >= UVM_EVICT_VAIN)) {
		uvm_resident_stray(lru, res);
	} else if (nr <= 0 && res->pages && !res->stray) {
		/* Others first. */
		for (g = 0; part != U32_MAX && g < UVM_GRANULES; g++)
			if (res->quiet[g] != UVM_QUIET_GONE)
				res->quiet[g] = 0;
		list_move_tail(&res->link, &res->tenant->lru);
		res->used = lru->clock;
	} else if (nr > 0) {
		res->vain = 0;
	}
	spin_unlock_irq(&lru->lock);
}

/*
 * One attempt. Returns pages that left, -ENOENT if there is nobody to try, or -ENOMEM if
 * there is no system memory for anybody.
 */
static long uvm_eviction_step(struct uvm_eviction *ev)
{
	struct uvm_resident *res;
	bool fixed = false;
	long nr = 0;
	u32 part;

	res = uvm_eviction_pick(ev, &part);
	if (!res)
		return -ENOENT;
	/* It may have been used since the last sweep; but somebody has to go in the end. */
	if (part != U32_MAX || (ev->mode == UVM_EVICT_ANY && ev->tries <= UVM_EVICT_TRIES / 2) ||
	    !uvm_resident_look(ev->gpu, res, false)) {
		nr = uvm_evict_resident(ev, res, part, &fixed);
		uvm_eviction_note(ev, res, part, nr, fixed);
		if (nr > 0)
			trace_uvm_evict(ev->gpu->id, res->base, nr, part != U32_MAX);
	} else {
		spin_lock_irq(&ev->gpu->lru.lock);
		res->evicting = false;
		spin_unlock_irq(&ev->gpu->lru.lock);
	}
	uvm_resident_put(res);
	return nr == -ENOMEM ? nr : max(nr, 0L);
}

/* Those that nobody else finds. A search is no small thing, so they are rare. */
static long uvm_evict_strays(struct uvm_gpu *gpu, unsigned long want)
{
	struct uvm_lru *lru = &gpu->lru;
	long nr;

	if (!READ_ONCE(lru->stray_pages) || time_before(jiffies, lru->search_after) ||
	    !mutex_trylock(&lru->search_lock))
		return 0;
	nr = uvm_evacuate_strays(gpu, want);
	if (nr >= 0) {
		lru->search_wait = nr ? UVM_SEARCH_MIN :
					min(2 * lru->search_wait, UVM_SEARCH_MAX);
		lru->search_after = jiffies + lru->search_wait;
	}
	mutex_unlock(&lru->search_lock);
	return max(nr, 0L);
}

/* Nobody asks for more at once: two blocks that UVM_MIGRATE put off. */
#define UVM_EVICT_MOST		(2 * UVM_BLOCK_PAGES)

/*
 * Is it the tenant's limit that leaves him no more? Then what others have is of no use to
 * him. Else it is as far as his limit goes. Returns how many pages are to leave.
 */
static unsigned long uvm_eviction_limit(struct uvm_eviction *ev, unsigned long want)
{
	unsigned long free = uvm_devmem_free_pages(&ev->gpu->mem);
	unsigned long room = uvm_tenant_room(ev->tenant);

	ev->own = room <= free && room < UVM_EVICT_MOST;
	if (ev->own)
		return want + uvm_tenant_excess(ev->tenant);
	return room > free ? min(want, room - free) : want;
}

/**
 * uvm_evict() - make room
 * @gpu: where; with memory of its own, and not going away before this returns
 * @tenant: for whom; or NULL for anybody
 * @want: so many pages more than uvm_evict_room(), if that is possible
 * @mode: what may go
 *
 * Killable. The caller holds no lock but may have entered a GPU space: waits for
 * engines, and for memory.
 *
 * Return: pages that left; 0 if nothing can now; -EINTR if the caller is killed; -EIO if
 * the GPU can't copy any more.
 */
long uvm_evict(struct uvm_gpu *gpu, struct uvm_tenant *tenant, unsigned long want,
	       enum uvm_evict_mode mode)
{
	struct uvm_eviction ev = {
		.gpu = gpu,
		.tenant = tenant,
		.mode = mode,
		.tries = UVM_EVICT_TRIES,
		.waits = UVM_EVICT_WAITS,
		.round = atomic64_inc_return(&gpu->lru.rounds),
	};
	unsigned long done = 0;
	long nr = 0;

	if (tenant)
		want = uvm_eviction_limit(&ev, want);
	uvm_lru_sweep(gpu);
	while (done < want && ev.tries--) {
		if (fatal_signal_pending(current))
			return done ?: -EINTR;
		if (READ_ONCE(gpu->lost))
			return done ?: -EIO;
		nr = uvm_eviction_step(&ev);
		if (nr < 0)
			break;
		done += nr;
		if (nr)
			ev.tries = UVM_EVICT_TRIES;
		cond_resched();
	}
	if (!done && nr != -ENOMEM)
		done = uvm_evict_strays(gpu, want);
	return done;
}

/* Pages that the tenant could have without eviction. */
unsigned long uvm_evict_room(struct uvm_gpu *gpu, struct uvm_tenant *tenant)
{
	return min(uvm_devmem_free_pages(&gpu->mem), uvm_tenant_room(tenant));
}

/* Is there a piece of memory for a huge page? */
bool uvm_evict_has_chunk(struct uvm_gpu *gpu)
{
	return uvm_devmem_largest_free(&gpu->mem) >= UVM_BLOCK_PAGES;
}

/* ---- ahead of streams ---- */

static unsigned long uvm_evict_ahead_pages(const struct uvm_lru *lru)
{
	return min(UVM_EVICT_AHEAD * UVM_BLOCK_PAGES, lru->nr_pages / 4);
}

static void uvm_evict_ahead_work(struct work_struct *work)
{
	struct uvm_lru *lru = container_of(work, struct uvm_lru, ahead);
	struct uvm_gpu *gpu = container_of(lru, struct uvm_gpu, lru);
	struct uvm_tenant *tenant = xchg(&lru->ahead_for, NULL);
	unsigned long want = uvm_evict_ahead_pages(lru), free;

	free = uvm_devmem_free_pages(&gpu->mem);
	if (free < want)
		uvm_evict(gpu, tenant, want - free, UVM_EVICT_ANY);
	if (tenant)
		uvm_tenant_put(tenant);
}

/**
 * uvm_evict_ahead() - somebody will want more room soon
 * @gpu: where
 * @tenant: for whom
 */
void uvm_evict_ahead(struct uvm_gpu *gpu, struct uvm_tenant *tenant)
{
	struct uvm_lru *lru = &gpu->lru;
	struct uvm_tenant *old;

	if (uvm_devmem_free_pages(&gpu->mem) >= uvm_evict_ahead_pages(lru))
		return;
	old = xchg(&lru->ahead_for, uvm_tenant_get(tenant));
	if (old)
		uvm_tenant_put(old);
	queue_work(uvm_evacuate_wq, &lru->ahead);
}

/* ---- what is mapped in place for want of room ---- */

/*
 * Without pages that come there are no sweeps. So what is in the GPU's memory gets older
 * by time, if it can be seen whether somebody uses it.
 */
static void uvm_evict_revisit_work(struct work_struct *work)
{
	struct uvm_lru *lru = container_of(to_delayed_work(work), struct uvm_lru, revisit);
	struct uvm_gpu *gpu = container_of(lru, struct uvm_gpu, lru);
	bool moves;

	if (uvm_can_harvest(gpu)) {
		spin_lock_irq(&lru->lock);
		lru->clock += uvm_lru_sweep_pages(lru);
		spin_unlock_irq(&lru->lock);
		uvm_lru_sweep(gpu);
	}
	uvm_lru_revisit(gpu);
	moves = READ_ONCE(lru->evicted) != lru->revisit_evicted;
	lru->revisit_evicted = READ_ONCE(lru->evicted);
	WRITE_ONCE(lru->revisit_ms, moves ? UVM_REVISIT_MIN_MS :
			min(2 * lru->revisit_ms, UVM_REVISIT_MAX_MS));
	if (!list_empty_careful(&lru->stayed))
		queue_delayed_work(uvm_evacuate_wq, &lru->revisit,
				   msecs_to_jiffies(lru->revisit_ms));
}

/**
 * uvm_evict_stayed() - a block is mapped where it is, for want of room
 * @gpu: by whom
 * @tenant: of it
 * @base: address of the block
 *
 * It is looked at again after a while. Without memory to remember it by it stays until
 * the mapping goes for another reason.
 */
void uvm_evict_stayed(struct uvm_gpu *gpu, struct uvm_tenant *tenant,
		      unsigned long base)
{
	struct uvm_resident *res = uvm_resident_get(tenant, base);

	if (!res)
		return;
	uvm_resident_stayed(res);
	uvm_resident_put(res);
	queue_delayed_work(uvm_evacuate_wq, &gpu->lru.revisit,
			   msecs_to_jiffies(READ_ONCE(gpu->lru.revisit_ms)));
}

/**
 * uvm_evict_init() - for a GPU with memory of its own
 * @gpu: the GPU
 *
 * Return: 0 or -ENOMEM.
 */
int uvm_evict_init(struct uvm_gpu *gpu)
{
	struct uvm_lru *lru = &gpu->lru;

	mutex_init(&lru->sweep_lock);
	mutex_init(&lru->search_lock);
	INIT_WORK(&lru->ahead, uvm_evict_ahead_work);
	INIT_DELAYED_WORK(&lru->revisit, uvm_evict_revisit_work);
	lru->revisit_ms = UVM_REVISIT_MIN_MS;
	lru->search_wait = UVM_SEARCH_MIN;
	lru->search_after = jiffies;
	lru->spare = uvm_move_alloc(UVM_BLOCK_PAGES);
	return lru->spare ? 0 : -ENOMEM;
}

/**
 * uvm_evict_fini() - undo uvm_evict_init()
 * @gpu: nobody is in a GPU space of it any more
 *
 * Waits for engines.
 */
void uvm_evict_fini(struct uvm_gpu *gpu)
{
	struct uvm_lru *lru = &gpu->lru;

	cancel_work_sync(&lru->ahead);
	cancel_delayed_work_sync(&lru->revisit);
	if (lru->ahead_for)
		uvm_tenant_put(lru->ahead_for);
	lru->ahead_for = NULL;
	uvm_evacuate_forget(gpu);
	uvm_move_free(lru->spare);
	lru->spare = NULL;
	mutex_destroy(&lru->sweep_lock);
	mutex_destroy(&lru->search_lock);
}
