// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Residents
 *
 * Owns who uses a GPU's memory, by process and by block of its addresses, and when they
 * did last. Where a page is only the CPU's page table knows; this is for eviction, which
 * needs a place to look for pages, and an order. A *resident* stands for the pages of an
 * mm that came to the GPU for one block; each page in use points to its resident, so it
 * lasts exactly as long as one of them is there. A *tenant* stands for all residents of
 * an mm, and for what it may use.
 *
 * The clock counts pages that came to the GPU. What was used is younger than what came
 * since; how that is known, evict.c tells. Time without pages that come isn't counted,
 * but while pages are mapped in place for want of room a work lets it go on.
 *
 * &uvm_lru.lock is irq-safe, since pages are freed from any context; nothing is taken
 * under it. &uvm_tenant.lock and the lock of &uvm_tenant.blocks are taken before it.
 *
 * Invariants, under &uvm_lru.lock: &uvm_resident.pages is the number of entries of
 * &uvm_lru.of that point to it. One with pages is in &uvm_tenant.lru, or if @stray in
 * &uvm_lru.strays. One without is in &uvm_lru.ghosts if it remembers something and its
 * mm still has a GPU space; else, if it has no users, in &uvm_lru.idle or in the hands of
 * the work that frees it; else in none. &uvm_tenant.pages is what its residents have, and
 * what moves have taken. &uvm_resident.discarded is the number of its pages that are in
 * &uvm_lru.discarded, where there is none that is free.
 */
#include "core.h"

#include <linux/sched/mm.h>
#include <linux/slab.h>

static_assert(UVM_RESIDENT_PAGES == UVM_BLOCK_PAGES);

/* So many ghosts for each block of memory: what was evicted longer ago is no refault. */
#define UVM_GHOSTS_PER_BLOCK	2
#define UVM_GHOSTS_MIN		64UL

static struct uvm_lru *uvm_resident_lru(const struct uvm_resident *res)
{
	return &res->tenant->gpu->lru;
}

static bool uvm_resident_remembers(const struct uvm_resident *res)
{
	return res->tenant->spaces &&
	       (!list_empty(&res->stay) ||
		!bitmap_empty(res->evicted, UVM_BLOCK_PAGES));
}

static void uvm_resident_forget(struct uvm_resident *res)
{
	list_del_init(&res->stay);
	bitmap_zero(res->evicted, UVM_BLOCK_PAGES);
}

/* Takes it out of its list. */
void uvm_resident_unlist(struct uvm_lru *lru, struct uvm_resident *res)
{
	lockdep_assert_held(&lru->lock);
	if (res->ghost)
		lru->nr_ghosts--;
	res->ghost = false;
	list_del_init(&res->link);
}

/* The oldest ghosts are one too many. */
static void uvm_lru_lay_ghosts(struct uvm_lru *lru)
{
	unsigned long max = UVM_GHOSTS_PER_BLOCK * lru->nr_pages / UVM_BLOCK_PAGES;
	struct uvm_resident *res;

	lockdep_assert_held(&lru->lock);
	while (lru->nr_ghosts > max(max, UVM_GHOSTS_MIN)) {
		res = list_first_entry(&lru->ghosts, struct uvm_resident, link);
		uvm_resident_forget(res);
		uvm_resident_rest(lru, res);
	}
}

/* Puts one that has no pages where it belongs. */
void uvm_resident_rest(struct uvm_lru *lru, struct uvm_resident *res)
{
	lockdep_assert_held(&lru->lock);
	uvm_resident_unlist(lru, res);
	res->stray = false;
	if (uvm_resident_remembers(res)) {
		res->ghost = true;
		lru->nr_ghosts++;
		list_add_tail(&res->link, &lru->ghosts);
		return;
	}
	uvm_resident_forget(res);
	if (!res->users) {
		list_add_tail(&res->link, &lru->idle);
		queue_work(uvm_evacuate_wq, &lru->reap);
	}
}

/*
 * Frees one that was idle, unless somebody wants it again. Who used it meanwhile was not
 * its last user, so he left it to us if it remembers something now.
 */
static void uvm_resident_reap(struct uvm_lru *lru, struct uvm_resident *res)
{
	struct uvm_tenant *tenant = res->tenant;
	bool gone;

	mutex_lock(&tenant->lock);
	spin_lock_irq(&lru->lock);
	gone = !--res->users && !res->pages;
	if (gone && uvm_resident_remembers(res)) {
		uvm_resident_rest(lru, res);
		gone = false;
	}
	spin_unlock_irq(&lru->lock);
	if (gone)
		xa_erase(&tenant->blocks, res->base >> UVM_BLOCK_SHIFT);
	mutex_unlock(&tenant->lock);
	if (!gone)
		return;
	kfree(res);
	uvm_tenant_put(tenant);
}

static void uvm_lru_reap(struct work_struct *work)
{
	struct uvm_lru *lru = container_of(work, struct uvm_lru, reap);
	struct uvm_resident *res;

	do {
		spin_lock_irq(&lru->lock);
		res = list_first_entry_or_null(&lru->idle, struct uvm_resident, link);
		if (res) {
			list_del_init(&res->link);
			res->users++;
		}
		spin_unlock_irq(&lru->lock);
		if (res)
			uvm_resident_reap(lru, res);
		cond_resched();
	} while (res);
}

/**
 * uvm_lru_init() - nobody uses the memory
 * @lru: the object
 * @npages: pages of the memory
 *
 * Return: 0 or -ENOMEM.
 */
int uvm_lru_init(struct uvm_lru *lru, unsigned long npages)
{
	spin_lock_init(&lru->lock);
	INIT_LIST_HEAD(&lru->tenants);
	INIT_LIST_HEAD(&lru->strays);
	INIT_LIST_HEAD(&lru->ghosts);
	INIT_LIST_HEAD(&lru->idle);
	INIT_LIST_HEAD(&lru->stayed);
	INIT_WORK(&lru->reap, uvm_lru_reap);
	lru->nr_pages = npages;
	lru->of = kvcalloc(npages, sizeof(*lru->of), GFP_KERNEL);
	lru->discarded = kvcalloc(BITS_TO_LONGS(npages), sizeof(long), GFP_KERNEL);
	if (lru->of && lru->discarded)
		return 0;
	kvfree(lru->discarded);
	kvfree(lru->of);
	return -ENOMEM;
}

/**
 * uvm_lru_fini() - undo uvm_lru_init()
 * @lru: no page is in use, and no GPU space is left
 */
void uvm_lru_fini(struct uvm_lru *lru)
{
	flush_work(&lru->reap);
	WARN_ON(!list_empty(&lru->tenants));
	kvfree(lru->discarded);
	kvfree(lru->of);
	lru->of = NULL;
}

/* ---- tenants ---- */

static struct uvm_tenant *uvm_tenant_alloc(struct uvm_gpu *gpu, struct mm_struct *mm)
{
	struct uvm_tenant *tenant = kzalloc(sizeof(*tenant), GFP_KERNEL_ACCOUNT);

	if (!tenant)
		return NULL;
	kref_init(&tenant->ref);
	tenant->gpu = gpu;
	tenant->mm = mm;
	mmgrab(mm);
	mutex_init(&tenant->lock);
	xa_init(&tenant->blocks);
	INIT_LIST_HEAD(&tenant->lru);
	INIT_LIST_HEAD(&tenant->link);
	return tenant;
}

static void uvm_tenant_free(struct uvm_tenant *tenant)
{
	xa_destroy(&tenant->blocks);
	mutex_destroy(&tenant->lock);
	mmdrop(tenant->mm);
	kfree(tenant);
}

static struct uvm_tenant *uvm_tenant_find(struct uvm_lru *lru,
					  const struct mm_struct *mm)
{
	struct uvm_tenant *tenant;

	lockdep_assert_held(&lru->lock);
	list_for_each_entry(tenant, &lru->tenants, link)
		if (tenant->mm == mm && kref_get_unless_zero(&tenant->ref))
			return tenant;
	return NULL;
}

/**
 * uvm_tenant_join() - an mm is about to use a GPU's memory
 * @gpu: the GPU
 * @mm: the mm
 *
 * Return: its tenant, with a reference, to be given back by uvm_tenant_leave(); or NULL
 * for want of memory.
 */
struct uvm_tenant *uvm_tenant_join(struct uvm_gpu *gpu, struct mm_struct *mm)
{
	struct uvm_tenant *fresh = uvm_tenant_alloc(gpu, mm), *tenant;
	struct uvm_lru *lru = &gpu->lru;

	if (!fresh)
		return NULL;
	spin_lock_irq(&lru->lock);
	tenant = uvm_tenant_find(lru, mm);
	if (!tenant) {
		list_add(&fresh->link, &lru->tenants);
		swap(tenant, fresh);
	}
	tenant->spaces++;
	spin_unlock_irq(&lru->lock);
	if (fresh)
		uvm_tenant_free(fresh);
	return tenant;
}

struct uvm_tenant *uvm_tenant_get(struct uvm_tenant *tenant)
{
	kref_get(&tenant->ref);
	return tenant;
}

static void uvm_tenant_release(struct kref *ref)
{
	struct uvm_tenant *tenant = container_of(ref, struct uvm_tenant, ref);
	struct uvm_lru *lru = &tenant->gpu->lru;

	spin_lock_irq(&lru->lock);
	list_del(&tenant->link);
	spin_unlock_irq(&lru->lock);
	uvm_tenant_free(tenant);
}

void uvm_tenant_put(struct uvm_tenant *tenant)
{
	kref_put(&tenant->ref, uvm_tenant_release);
}

/* What is in the table is there as long as its lock is held, and so is its tenant. */
static void uvm_resident_clear(struct uvm_lru *lru, struct uvm_resident *res,
			       unsigned long first, unsigned long npages)
{
	unsigned long flags;

	lockdep_assert_held(&res->tenant->blocks.xa_lock);
	spin_lock_irqsave(&lru->lock, flags);
	bitmap_clear(res->evicted, first, npages);
	if (!res->tenant->spaces)
		list_del_init(&res->stay);
	if (res->ghost && !uvm_resident_remembers(res))
		uvm_resident_rest(lru, res);
	spin_unlock_irqrestore(&lru->lock, flags);
}

/* Nothing of it will come any more. */
static void uvm_tenant_forget(struct uvm_lru *lru, struct uvm_tenant *tenant)
{
	XA_STATE(xas, &tenant->blocks, 0);
	struct uvm_resident *res;

	xas_lock(&xas);
	xas_for_each(&xas, res, ULONG_MAX)
		uvm_resident_clear(lru, res, 0, UVM_BLOCK_PAGES);
	xas_unlock(&xas);
}

/**
 * uvm_tenant_unmapped() - nothing is mapped at some addresses any more
 * @tenant: whose addresses
 * @start: the first one
 * @end: the one after the last one
 *
 * What is mapped there next is new: that it comes to the GPU is no refault of what was
 * evicted. For notifiers: doesn't sleep, and takes as long as the tenant has residents
 * between the two.
 */
void uvm_tenant_unmapped(struct uvm_tenant *tenant, unsigned long start,
			 unsigned long end)
{
	XA_STATE(xas, &tenant->blocks, start >> UVM_BLOCK_SHIFT);
	unsigned long first, last;
	struct uvm_resident *res;

	xas_lock(&xas);
	xas_for_each(&xas, res, (end - 1) >> UVM_BLOCK_SHIFT) {
		first = max(start, res->base);
		last = min(end, res->base + UVM_BLOCK_SIZE);
		uvm_resident_clear(&tenant->gpu->lru, res,
				   (first - res->base) >> PAGE_SHIFT,
				   (last - first) >> PAGE_SHIFT);
	}
	xas_unlock(&xas);
}

/**
 * uvm_tenant_leave() - undo uvm_tenant_join()
 * @tenant: the tenant
 *
 * The pages that it has stay, and so do their residents.
 */
void uvm_tenant_leave(struct uvm_tenant *tenant)
{
	struct uvm_lru *lru = &tenant->gpu->lru;
	bool last;

	spin_lock_irq(&lru->lock);
	last = !--tenant->spaces;
	if (last) {
		tenant->limit = 0;
		tenant->reserved = 0;
	}
	spin_unlock_irq(&lru->lock);
	if (last)
		uvm_tenant_forget(lru, tenant);
	uvm_tenant_put(tenant);
}

/**
 * uvm_tenant_charge() - may pages be taken?
 * @tenant: who wants them
 * @want: how many
 *
 * Return: how many may be, as far as the limit goes. They are counted, until
 * uvm_tenant_uncharge(), or until the page is freed if uvm_resident_add() was called.
 */
unsigned long uvm_tenant_charge(struct uvm_tenant *tenant, unsigned long want)
{
	struct uvm_lru *lru = &tenant->gpu->lru;
	unsigned long flags;

	spin_lock_irqsave(&lru->lock, flags);
	if (tenant->limit)
		want = min(want, tenant->limit - min(tenant->limit, tenant->pages));
	tenant->pages += want;
	spin_unlock_irqrestore(&lru->lock, flags);
	return want;
}

void uvm_tenant_uncharge(struct uvm_tenant *tenant, unsigned long npages)
{
	struct uvm_lru *lru = &tenant->gpu->lru;
	unsigned long flags;

	spin_lock_irqsave(&lru->lock, flags);
	tenant->pages -= npages;
	spin_unlock_irqrestore(&lru->lock, flags);
}

/* So many pages more may the tenant have, as far as its limit goes. */
unsigned long uvm_tenant_room(struct uvm_tenant *tenant)
{
	struct uvm_lru *lru = &tenant->gpu->lru;
	unsigned long room = ULONG_MAX;

	spin_lock_irq(&lru->lock);
	if (tenant->limit)
		room = tenant->limit - min(tenant->limit, tenant->pages);
	spin_unlock_irq(&lru->lock);
	return room;
}

/* So many pages more has the tenant than its limit, which it may have got since. */
unsigned long uvm_tenant_excess(struct uvm_tenant *tenant)
{
	struct uvm_lru *lru = &tenant->gpu->lru;
	unsigned long excess = 0;

	spin_lock_irq(&lru->lock);
	if (tenant->limit)
		excess = tenant->pages - min(tenant->limit, tenant->pages);
	spin_unlock_irq(&lru->lock);
	return excess;
}

/* Pages that tenants other than @tenant reserved, all or those who aren't trusted. */
static u64 uvm_lru_reserved(const struct uvm_lru *lru, const struct uvm_tenant *tenant,
			    bool all)
{
	struct uvm_tenant *other;
	u64 sum = 0;

	lockdep_assert_held(&lru->lock);
	list_for_each_entry(other, &lru->tenants, link)
		if (other != tenant && (all || !other->trusted))
			sum += other->reserved;
	return sum;
}

/**
 * uvm_tenant_set_limit() - what a tenant may use
 * @tenant: the tenant
 * @limit: pages, 0 for no limit
 * @reserved: pages that aren't evicted for others
 * @trusted: does the caller reserve as much as there is?
 * @percent: of the memory, what all those may reserve together who don't
 *
 * Who reserves no more than before needs nobody's trust.
 *
 * Return: 0, -ENOSPC if the memory is less than all have reserved, or -EPERM if that is
 * more than those may who aren't trusted.
 */
int uvm_tenant_set_limit(struct uvm_tenant *tenant, u64 limit, u64 reserved,
			 bool trusted, unsigned int percent)
{
	struct uvm_lru *lru = &tenant->gpu->lru;
	bool more;
	int ret = 0;

	spin_lock_irq(&lru->lock);
	more = reserved > tenant->reserved;
	if (reserved > lru->nr_pages ||
	    reserved + uvm_lru_reserved(lru, tenant, true) > lru->nr_pages) {
		ret = -ENOSPC;
	} else if (more && !trusted &&
		   (reserved + uvm_lru_reserved(lru, tenant, false)) * 100 >
		   (u64)lru->nr_pages * percent) {
		ret = -EPERM;
	} else {
		tenant->limit = limit;
		tenant->reserved = reserved;
		if (more)
			tenant->trusted = trusted;
	}
	spin_unlock_irq(&lru->lock);
	return ret;
}

/**
 * uvm_tenant_numbers() - what people want to know
 * @tenant: the tenant
 * @n: receives the numbers
 */
void uvm_tenant_numbers(struct uvm_tenant *tenant, struct uvm_memory_numbers *n)
{
	struct uvm_gpu *gpu = tenant->gpu;
	struct uvm_lru *lru = &gpu->lru;
	struct uvm_tenant *each;

	memset(n, 0, sizeof(*n));
	n->largest_free = uvm_devmem_largest_free(&gpu->mem);
	n->used = uvm_devmem_used_pages(&gpu->mem);
	spin_lock_irq(&lru->lock);
	n->free = lru->nr_pages - n->used;
	list_for_each_entry(each, &lru->tenants, link)
		n->evictable += each->pages;
	n->evictable -= lru->stray_pages;
	n->evictable = min(n->evictable, n->used);
	n->pinned = n->used - n->evictable;
	n->evicted = lru->evicted;
	n->refaulted = lru->refaulted;
	n->thrash = lru->thrash;
	n->mine = tenant->pages;
	n->limit = tenant->limit;
	n->reserved = tenant->reserved;
	n->my_evicted = tenant->evicted;
	n->my_refaulted = tenant->refaulted;
	spin_unlock_irq(&lru->lock);
}

/* ---- residents ---- */

static struct uvm_resident *uvm_resident_new(struct uvm_tenant *tenant,
					     unsigned long base)
{
	struct uvm_resident *res = kzalloc(sizeof(*res), GFP_KERNEL_ACCOUNT);

	if (!res)
		return NULL;
	INIT_LIST_HEAD(&res->link);
	INIT_LIST_HEAD(&res->stay);
	res->base = base;
	memset(res->quiet, UVM_QUIET_GONE, sizeof(res->quiet));
	/* The notifier may find it as soon as it is in the table. */
	res->tenant = tenant;
	if (xa_err(xa_store(&tenant->blocks, base >> UVM_BLOCK_SHIFT, res,
			    GFP_KERNEL_ACCOUNT))) {
		kfree(res);
		return NULL;
	}
	uvm_tenant_get(tenant);
	return res;
}

/**
 * uvm_resident_get() - the resident of a block
 * @tenant: whose
 * @base: address of the block
 *
 * May sleep and allocate.
 *
 * Return: it stays until uvm_resident_put(); NULL for want of memory.
 */
struct uvm_resident *uvm_resident_get(struct uvm_tenant *tenant, unsigned long base)
{
	struct uvm_lru *lru = &tenant->gpu->lru;
	struct uvm_resident *res;

	mutex_lock(&tenant->lock);
	res = xa_load(&tenant->blocks, base >> UVM_BLOCK_SHIFT);
	if (!res)
		res = uvm_resident_new(tenant, base);
	if (res) {
		spin_lock_irq(&lru->lock);
		if (!res->pages && !res->ghost)
			uvm_resident_unlist(lru, res);
		res->users++;
		spin_unlock_irq(&lru->lock);
	}
	mutex_unlock(&tenant->lock);
	return res;
}

void uvm_resident_put(struct uvm_resident *res)
{
	struct uvm_lru *lru = uvm_resident_lru(res);
	unsigned long flags;

	spin_lock_irqsave(&lru->lock, flags);
	if (!--res->users && !res->pages)
		uvm_resident_rest(lru, res);
	uvm_lru_lay_ghosts(lru);
	spin_unlock_irqrestore(&lru->lock, flags);
}

/* The last one used. */
void uvm_resident_touch(struct uvm_lru *lru, struct uvm_resident *res)
{
	lockdep_assert_held(&lru->lock);
	uvm_resident_unlist(lru, res);
	if (res->stray)
		lru->stray_pages -= res->pages;
	res->stray = false;
	res->vain = 0;
	res->used = lru->clock;
	list_add_tail(&res->link, &res->tenant->lru);
}

/**
 * uvm_resident_add() - device pages are given to a block
 * @res: that the caller uses
 * @index: the first page, charged by uvm_tenant_charge()
 * @count: how many
 */
void uvm_resident_add(struct uvm_resident *res, unsigned long index, unsigned int count)
{
	struct uvm_lru *lru = uvm_resident_lru(res);
	unsigned long flags, i;

	spin_lock_irqsave(&lru->lock, flags);
	if (!res->pages)
		uvm_resident_touch(lru, res);
	for (i = index; i < index + count; i++)
		lru->of[i] = res;
	res->pages += count;
	if (res->stray)
		lru->stray_pages += count;
	spin_unlock_irqrestore(&lru->lock, flags);
}

static void uvm_resident_del(struct uvm_lru *lru, struct uvm_resident *res)
{
	lockdep_assert_held(&lru->lock);
	res->tenant->pages--;
	if (res->stray)
		lru->stray_pages--;
	if (!--res->pages)
		uvm_resident_rest(lru, res);
}

/* What the page holds, or will, is needed. Returns its resident if it wasn't so far. */
static struct uvm_resident *uvm_resident_need(struct uvm_lru *lru, unsigned long index)
{
	lockdep_assert_held(&lru->lock);
	if (!__test_and_clear_bit(index, lru->discarded))
		return NULL;
	WRITE_ONCE(lru->nr_discarded, lru->nr_discarded - 1);
	lru->of[index]->discarded--;
	return lru->of[index];
}

/**
 * uvm_resident_free() - device pages were freed
 * @gpu: whose
 * @index: the first one
 * @count: how many
 *
 * Any context, before the pages can be taken again.
 */
void uvm_resident_free(struct uvm_gpu *gpu, unsigned long index, unsigned int count)
{
	struct uvm_lru *lru = &gpu->lru;
	unsigned long flags, i;

	spin_lock_irqsave(&lru->lock, flags);
	for (i = index; i < index + count; i++) {
		uvm_resident_need(lru, i);
		if (lru->of[i])
			uvm_resident_del(lru, lru->of[i]);
		lru->of[i] = NULL;
	}
	spin_unlock_irqrestore(&lru->lock, flags);
}

/**
 * uvm_resident_discard() - nobody needs what a page holds
 * @gpu: whose
 * @index: the page, in use, and mapped by no GPU
 *
 * What has nothing else is the first to go.
 */
void uvm_resident_discard(struct uvm_gpu *gpu, unsigned long index)
{
	struct uvm_lru *lru = &gpu->lru;
	struct uvm_resident *res;
	unsigned long flags;

	spin_lock_irqsave(&lru->lock, flags);
	res = lru->of[index];
	if (res && !__test_and_set_bit(index, lru->discarded)) {
		WRITE_ONCE(lru->nr_discarded, lru->nr_discarded + 1);
		if (++res->discarded == res->pages && !res->stray) {
			res->used = 0;
			list_move(&res->link, &res->tenant->lru);
		}
	}
	spin_unlock_irqrestore(&lru->lock, flags);
}

/**
 * uvm_resident_revive() - pages are about to be used
 * @gpu: whose
 * @index: the first one
 * @count: how many
 *
 * Nobody discards them just now.
 */
void uvm_resident_revive(struct uvm_gpu *gpu, unsigned long index, unsigned int count)
{
	unsigned long end = index + count, flags, i;
	struct uvm_lru *lru = &gpu->lru;
	struct uvm_resident *res;

	if (!READ_ONCE(lru->nr_discarded) ||
	    find_next_bit(lru->discarded, end, index) >= end)
		return;
	spin_lock_irqsave(&lru->lock, flags);
	for (i = index; i < end; i++) {
		res = uvm_resident_need(lru, i);
		if (res && !res->used && !res->stray)
			uvm_resident_touch(lru, res);
	}
	spin_unlock_irqrestore(&lru->lock, flags);
}

/* For who keeps the page from being discarded, and from being revived. */
bool uvm_resident_is_discarded(const struct uvm_gpu *gpu, unsigned long index)
{
	return READ_ONCE(gpu->lru.nr_discarded) && test_bit(index, gpu->lru.discarded);
}

/**
 * uvm_resident_arrived() - pages came to the GPU
 * @res: that the caller uses
 * @first: the page of the block that bit 0 of @moved is about
 * @moved: pages that came
 * @npages: bits of @moved
 */
void uvm_resident_arrived(struct uvm_resident *res, unsigned long first,
			  const unsigned long *moved, unsigned long npages)
{
	struct uvm_lru *lru = uvm_resident_lru(res);
	unsigned long bit, nr = 0, again = 0;
	unsigned long flags;

	spin_lock_irqsave(&lru->lock, flags);
	for_each_set_bit(bit, moved, npages) {
		nr++;
		again += __test_and_clear_bit(first + bit, res->evicted);
		res->quiet[(first + bit) >> UVM_GRANULE_SHIFT] = 0;
	}
	if (nr)
		list_del_init(&res->stay);
	lru->clock += nr;
	lru->served += nr;
	lru->again += again;
	lru->refaulted += again;
	res->tenant->refaulted += again;
	if (nr && res->pages)
		uvm_resident_touch(lru, res);
	spin_unlock_irqrestore(&lru->lock, flags);
}

/**
 * uvm_resident_left() - eviction brought pages home
 * @res: that the caller uses
 * @first: the page of the block that bit 0 of @moved is about
 * @moved: pages that left
 * @npages: bits of @moved
 */
void uvm_resident_left(struct uvm_resident *res, unsigned long first,
		       const unsigned long *moved, unsigned long npages)
{
	struct uvm_lru *lru = uvm_resident_lru(res);
	unsigned long flags, bit, nr = 0;

	spin_lock_irqsave(&lru->lock, flags);
	for_each_set_bit(bit, moved, npages) {
		__set_bit(first + bit, res->evicted);
		nr++;
	}
	lru->evicted += nr;
	res->tenant->evicted += nr;
	spin_unlock_irqrestore(&lru->lock, flags);
}

/**
 * uvm_resident_stayed() - a GPU maps pages of a block where they are, for want of room
 * @res: that the caller uses
 */
void uvm_resident_stayed(struct uvm_resident *res)
{
	struct uvm_lru *lru = uvm_resident_lru(res);

	spin_lock_irq(&lru->lock);
	if (res->tenant->spaces)
		list_move_tail(&res->stay, &lru->stayed);
	spin_unlock_irq(&lru->lock);
}

/**
 * uvm_resident_next_stayed() - who was mapped where it is, for want of room
 * @lru: the memory
 *
 * Return: the one for which that is longest ago, with a user; or NULL. It counts as one
 * no longer.
 */
struct uvm_resident *uvm_resident_next_stayed(struct uvm_lru *lru)
{
	struct uvm_resident *res;

	spin_lock_irq(&lru->lock);
	res = list_first_entry_or_null(&lru->stayed, struct uvm_resident, stay);
	if (res) {
		list_del_init(&res->stay);
		res->users++;
	}
	spin_unlock_irq(&lru->lock);
	return res;
}

/* Doesn't its resident know where the page is? */
bool uvm_resident_is_stray(struct uvm_gpu *gpu, unsigned long index)
{
	struct uvm_lru *lru = &gpu->lru;
	unsigned long flags;
	bool stray;

	spin_lock_irqsave(&lru->lock, flags);
	stray = lru->of[index] && lru->of[index]->stray;
	spin_unlock_irqrestore(&lru->lock, flags);
	return stray;
}
