/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_RESIDENT_H
#define _UVM_RESIDENT_H

#include <linux/bitmap.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

struct uvm_evacuation;
struct uvm_gpu;
struct uvm_move;

#define UVM_RESIDENT_PAGES	512

/* Parts of a block that have an age of their own. */
#define UVM_GRANULE_SHIFT	4
#define UVM_GRANULES		(UVM_RESIDENT_PAGES >> UVM_GRANULE_SHIFT)

/* &uvm_resident.quiet of what isn't there */
#define UVM_QUIET_GONE		U8_MAX

/**
 * struct uvm_tenant - what an mm has in a GPU's memory
 * @ref: GPU spaces of the mm, its residents, and whoever works with it
 * @link: in &uvm_lru.tenants
 * @gpu: the GPU, which outlives it
 * @mm: mmgrab()bed
 * @lock: protects @blocks; may be held while memory is allocated
 * @blocks: its residents, by number of the block
 * @lru: those with pages, the one that was used longest ago first
 * @spaces: GPU spaces of the mm
 * @pages: of the GPU's memory, those included that a move has just taken
 * @limit: it takes no more than that; 0 if there is none
 * @reserved: so many are not evicted for the sake of others
 * @trusted: who reserved them may reserve all of the memory
 * @evicted: pages that eviction brought home
 * @refaulted: those of them that came back soon
 * @busy_in: the last round of eviction that could not get its mmap_lock
 *
 * All from @lru on, and @link, are protected by &uvm_lru.lock.
 */
struct uvm_tenant {
	struct kref ref;
	struct list_head link;
	struct uvm_gpu *gpu;
	struct mm_struct *mm;
	struct mutex lock;
	struct xarray blocks;
	struct list_head lru;
	unsigned int spaces;
	unsigned long pages;
	unsigned long limit;
	unsigned long reserved;
	bool trusted;
	u64 evicted;
	u64 refaulted;
	u64 busy_in;
};

/**
 * struct uvm_resident - what an mm has in a GPU's memory of a block of addresses
 * @link: in &uvm_tenant.lru, or in one of the lists of &struct uvm_lru
 * @tenant: whose; holds a reference
 * @base: where the pages were when they came. Where they are, the mm's page table
 *	tells; mremap() and fork() don't tell us
 * @pages: so many pages of the GPU point here
 * @discarded: so many of them hold what nobody needs
 * @users: moves and evictions that work with it
 * @used: &uvm_lru.clock when it was used last, as far as is known
 * @fixed_in: the last round of eviction which found that its pages have to stay
 * @vain: so often in a row eviction found none of its pages at @base
 * @evicting: somebody brings it home
 * @stray: its pages are elsewhere
 * @ghost: it is in &uvm_lru.ghosts
 * @stay: in &uvm_lru.stayed, if a GPU maps pages of the block where they are, for want
 *	of room
 * @quiet: by granule, sweeps since it was used, or UVM_QUIET_GONE
 * @evicted: pages that eviction brought home and that did not come back yet
 */
struct uvm_resident {
	struct list_head link;
	struct uvm_tenant *tenant;
	unsigned long base;
	unsigned int pages;
	unsigned int discarded;
	unsigned int users;
	u64 used;
	u64 fixed_in;
	u8 vain;
	bool evicting;
	bool stray;
	bool ghost;
	struct list_head stay;
	u8 quiet[UVM_GRANULES];
	DECLARE_BITMAP(evicted, UVM_RESIDENT_PAGES);
};

/**
 * struct uvm_lru - who uses a GPU's memory, and when they did last
 * @lock: protects the rest; irq-safe, since pages are freed from any context
 * @of: by page: its resident; NULL while it is free, or taken but not given to anybody
 * @nr_pages: pages of the memory
 * @discarded: by page: nobody needs what it holds, see discard.c
 * @nr_discarded: how many
 * @tenants: all tenants
 * @strays: residents whose pages are not where they were
 * @ghosts: residents without pages that remember what was evicted, or what is mapped in
 *	place, oldest first
 * @nr_ghosts: their number
 * @stayed: residents of blocks of which pages are mapped in place for want of room, by
 *	&uvm_resident.stay
 * @idle: residents that nobody needs any more
 * @reap: frees those
 * @clock: pages that came so far, see DOC: Residents
 * @swept: @clock at the last sweep
 * @evicted: pages that eviction brought home
 * @refaulted: those of them that came back soon
 * @served: pages that came since the last sweep
 * @again: those of them that had been evicted
 * @thrash: of pages that came lately, how many in a thousand had been evicted
 * @stray_pages: of residents in @strays
 * @rounds: of eviction
 * @sweep_lock: one sweep at a time
 * @search_lock: one search for strays at a time
 * @search: the last one, or NULL; see uvm_evacuate_strays()
 * @search_after: not before
 * @search_wait: so long after the last one, jiffies
 * @ahead: makes room before it is wanted
 * @ahead_for: for whom; holds a reference
 * @revisit: looks again at what is mapped in place for want of room
 * @revisit_ms: so long after it was mapped
 * @revisit_evicted: &evicted at the last revisit
 * @spare: room for a move, for when there is no memory
 *
 * From @rounds on they are evict.c's, and not protected by @lock.
 */
struct uvm_lru {
	spinlock_t lock;
	struct uvm_resident **of;
	unsigned long nr_pages;
	unsigned long *discarded;
	unsigned long nr_discarded;
	struct list_head tenants;
	struct list_head strays;
	struct list_head ghosts;
	unsigned long nr_ghosts;
	struct list_head stayed;
	struct list_head idle;
	struct work_struct reap;
	u64 clock;
	u64 swept;
	u64 evicted;
	u64 refaulted;
	unsigned long served;
	unsigned long again;
	unsigned int thrash;
	unsigned long stray_pages;
	atomic64_t rounds;
	struct mutex sweep_lock;
	struct mutex search_lock;
	struct uvm_evacuation *search;
	unsigned long search_after;
	unsigned long search_wait;
	struct work_struct ahead;
	struct uvm_tenant *ahead_for;
	struct delayed_work revisit;
	unsigned int revisit_ms;
	u64 revisit_evicted;
	struct uvm_move *spare;
};

/**
 * struct uvm_memory_numbers - what people want to know; pages, but for @thrash
 * @used: of the GPU's memory
 * @free: of it
 * @largest_free: the largest piece of it that is free
 * @evictable: of those that are used, how many eviction can bring home, as far as is
 *	known
 * @pinned: the others
 * @evicted: pages that eviction brought home since the GPU is there
 * @refaulted: those of them that came back soon
 * @mine: those used by the tenant
 * @limit: of the tenant, 0 if it has none
 * @reserved: of the tenant
 * @my_evicted: of the tenant's pages
 * @my_refaulted: of the tenant's pages
 * @thrash: of pages that came lately, how many in a thousand had been evicted
 */
struct uvm_memory_numbers {
	u64 used;
	u64 free;
	u64 largest_free;
	u64 evictable;
	u64 pinned;
	u64 evicted;
	u64 refaulted;
	u64 mine;
	u64 limit;
	u64 reserved;
	u64 my_evicted;
	u64 my_refaulted;
	u32 thrash;
};

int uvm_lru_init(struct uvm_lru *lru, unsigned long npages);
void uvm_lru_fini(struct uvm_lru *lru);

struct uvm_tenant *uvm_tenant_join(struct uvm_gpu *gpu, struct mm_struct *mm);
void uvm_tenant_leave(struct uvm_tenant *tenant);
struct uvm_tenant *uvm_tenant_get(struct uvm_tenant *tenant);
void uvm_tenant_put(struct uvm_tenant *tenant);
unsigned long uvm_tenant_charge(struct uvm_tenant *tenant, unsigned long want);
void uvm_tenant_uncharge(struct uvm_tenant *tenant, unsigned long npages);
unsigned long uvm_tenant_room(struct uvm_tenant *tenant);
unsigned long uvm_tenant_excess(struct uvm_tenant *tenant);
void uvm_tenant_unmapped(struct uvm_tenant *tenant, unsigned long start,
			 unsigned long end);
void uvm_tenant_numbers(struct uvm_tenant *tenant, struct uvm_memory_numbers *n);
int uvm_tenant_set_limit(struct uvm_tenant *tenant, u64 limit, u64 reserved,
			 bool trusted, unsigned int percent);

struct uvm_resident *uvm_resident_get(struct uvm_tenant *tenant, unsigned long base);
void uvm_resident_put(struct uvm_resident *res);
void uvm_resident_add(struct uvm_resident *res, unsigned long index, unsigned int count);
void uvm_resident_arrived(struct uvm_resident *res, unsigned long first,
			  const unsigned long *moved, unsigned long npages);
void uvm_resident_left(struct uvm_resident *res, unsigned long first,
		       const unsigned long *moved, unsigned long npages);
void uvm_resident_free(struct uvm_gpu *gpu, unsigned long index, unsigned int count);
void uvm_resident_stayed(struct uvm_resident *res);
void uvm_resident_discard(struct uvm_gpu *gpu, unsigned long index);
void uvm_resident_revive(struct uvm_gpu *gpu, unsigned long index, unsigned int count);
bool uvm_resident_is_discarded(const struct uvm_gpu *gpu, unsigned long index);
struct uvm_resident *uvm_resident_next_stayed(struct uvm_lru *lru);

/* Under &uvm_lru.lock. */
void uvm_resident_unlist(struct uvm_lru *lru, struct uvm_resident *res);
void uvm_resident_rest(struct uvm_lru *lru, struct uvm_resident *res);
void uvm_resident_touch(struct uvm_lru *lru, struct uvm_resident *res);

bool uvm_resident_is_stray(struct uvm_gpu *gpu, unsigned long index);

#endif /* _UVM_RESIDENT_H */
