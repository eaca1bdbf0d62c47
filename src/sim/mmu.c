// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: Page tables
 *
 * Owns the address spaces and their page tables, in the format of
 * <linux/uvm_sim.h>: the walker (sim_walk()) reads nothing but that. Beside each
 * table the driver keeps its children (struct sim_pt), because a huge leaf at
 * level 1 takes the place of the pointer to the level 0 table, which must not be
 * lost: it was prepared, and will be needed without allocating.
 *
 * Invariants
 *
 * - A table lives until the address space is destroyed, so a walker needs no
 *   lock, and may at worst read an old translation: the TLB invalidate that
 *   follows waits for it.
 * - sim_map_prepare() only adds tables. It publishes a child with its content,
 *   and never touches a level 1 entry, which belongs to sim_map() and
 *   sim_unmap(). So it runs beside them.
 * - A level 0 table that isn't linked into its level 1 entry is all zero.
 * - sim_map() and sim_unmap() are serialized by the core, for each address space;
 *   only the walker, which sets accessed and dirty, changes entries beside them.
 *   Therefore leaves change by atomic exchange.
 * - What a TLB may hold has its accessed bit set, or had it taken by sim_harvest(),
 *   which is serialized with sim_map() and sim_unmap(), and after which the core
 *   invalidates. So a leaf hands its bit on to what takes its place.
 */

#include <linux/bitmap.h>
#include <linux/bug.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/minmax.h>
#include <linux/slab.h>

#include "sim.h"

#define SIM_PT_MASK	(UVM_SIM_PT_ENTRIES - 1)
#define SIM_ROOT_LEVEL	(UVM_SIM_PT_LEVELS - 1)

static unsigned int level_shift(unsigned int level)
{
	return UVM_SIM_PAGE_SHIFT + level * UVM_SIM_PT_SHIFT;
}

static unsigned int index_of(u64 va, unsigned int level)
{
	return va >> level_shift(level) & SIM_PT_MASK;
}

static u64 table_entry(const struct sim_pt *pt)
{
	return virt_to_phys(pt->entries) | UVM_SIM_PTE_VALID;
}

static struct sim_pt *child_of(struct sim_pt *pt, unsigned int i)
{
	/* Pairs with pt_grow(): the child's content is there. */
	return smp_load_acquire(&pt->child[i]);
}

static struct sim_pt *pt_alloc(unsigned int level)
{
	struct sim_pt *pt;

	pt = kzalloc(struct_size(pt, child, level ? UVM_SIM_PT_ENTRIES : 0),
		     GFP_KERNEL_ACCOUNT);
	if (!pt)
		return NULL;
	pt->entries = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!pt->entries) {
		kfree(pt);
		return NULL;
	}
	return pt;
}

/* Recursion ends at UVM_SIM_PT_LEVELS. */
static void pt_free(struct sim_pt *pt, unsigned int level)
{
	unsigned int i;

	for (i = 0; level && i < UVM_SIM_PT_ENTRIES; i++)
		if (pt->child[i])
			pt_free(pt->child[i], level - 1);
	free_page((unsigned long)pt->entries);
	kfree(pt);
}

struct uvm_gpu_as *sim_as_create(struct uvm_gpu *core, u64 id)
{
	struct sim_as *as;

	as = kzalloc(sizeof(*as), GFP_KERNEL_ACCOUNT);
	if (!as)
		return ERR_PTR(-ENOMEM);
	as->root = pt_alloc(SIM_ROOT_LEVEL);
	if (!as->root) {
		kfree(as);
		return ERR_PTR(-ENOMEM);
	}
	as->base.id = id;
	as->gpu = uvm_gpu_priv(core);
	mutex_init(&as->prepare_lock);
	spin_lock_init(&as->channels_lock);
	INIT_LIST_HEAD(&as->channels);
	return &as->base;
}

void sim_as_destroy(struct uvm_gpu_as *base)
{
	struct sim_as *as = to_sim_as(base);

	WARN_ON_ONCE(!list_empty(&as->channels));
	sim_counters_forget(as->gpu, as->base.id);
	pt_free(as->root, SIM_ROOT_LEVEL);
	mutex_destroy(&as->prepare_lock);
	kfree(as);
}

/* The table of @level below @pt at @va, made if there is none. */
static struct sim_pt *pt_grow(struct sim_pt *pt, u64 va, unsigned int level)
{
	unsigned int i = index_of(va, level + 1);
	struct sim_pt *child = pt->child[i];

	if (child)
		return child;
	child = pt_alloc(level);
	if (!child)
		return NULL;
	if (level) {
		/* The walker's dependent read must find the child zeroed. */
		smp_store_release(&pt->entries[i], table_entry(child));
	}
	/* Pairs with child_of(). */
	smp_store_release(&pt->child[i], child);
	return child;
}

static bool bad_range(u64 start, u64 length)
{
	const u64 limit = 1ULL << UVM_SIM_VA_BITS;

	return start >= limit || length > limit - start;
}

int sim_map_prepare(struct uvm_gpu_as *base, u64 start, u64 length)
{
	struct sim_as *as = to_sim_as(base);
	u64 va, end = start + length;
	struct sim_pt *pt;
	int level, ret = 0;

	if (WARN_ON_ONCE(bad_range(start, length)))
		return -EINVAL;
	mutex_lock(&as->prepare_lock);
	for (va = ALIGN_DOWN(start, SIM_HUGE_SIZE); va < end && !ret;
	     va += SIM_HUGE_SIZE) {
		pt = as->root;
		for (level = SIM_ROOT_LEVEL - 1; pt && level >= 0; level--)
			pt = pt_grow(pt, va, level);
		if (!pt)
			ret = -ENOMEM;
	}
	mutex_unlock(&as->prepare_lock);
	return ret;
}

/* The prepared table of level 1 for @va, or NULL. */
static struct sim_pt *level1_of(struct sim_as *as, u64 va)
{
	struct sim_pt *pt = as->root;
	int level;

	for (level = SIM_ROOT_LEVEL; pt && level > 1; level--)
		pt = child_of(pt, index_of(va, level));
	return pt;
}

static unsigned int peer_of(u64 pte)
{
	return (pte & UVM_SIM_PTE_PEER_NUMBER) >> UVM_SIM_PTE_PEER_SHIFT;
}

/* All entries change here, but for accessed and dirty. */
static u64 exchange(u64 *slot, u64 pte)
{
	u64 old;

	if (pte & UVM_SIM_PTE_PEER)
		sim_peer_use(peer_of(pte));
	old = xchg(slot, pte);
	if (old & UVM_SIM_PTE_PEER)
		sim_peer_unuse(peer_of(old));
	return old;
}

/* Clear all of a level 0 table. What was there, or'ed. */
static u64 clear_table(struct sim_pt *pt)
{
	unsigned int i;
	u64 old = 0;

	for (i = 0; i < UVM_SIM_PT_ENTRIES; i++)
		if (READ_ONCE(pt->entries[i]))
			old |= exchange(&pt->entries[i], 0);
	return old;
}

/* Set accessed in a leaf that took the place of @old, if @old had it. */
static void inherit(u64 *slot, u64 old)
{
	u64 pte = READ_ONCE(*slot);

	if (!(old & UVM_SIM_PTE_ACCESSED))
		return;
	do {
		if (pte & UVM_SIM_PTE_ACCESSED)
			return;
	} while (!try_cmpxchg(slot, &pte, pte | UVM_SIM_PTE_ACCESSED));
}

static void map_huge(struct sim_pt *pt, u64 va, u64 pte)
{
	unsigned int i = index_of(va, 1);
	struct sim_pt *child = child_of(pt, i);
	u64 old = exchange(&pt->entries[i], pte | UVM_SIM_PTE_HUGE);

	if (child && old == table_entry(child))
		old = clear_table(child);
	inherit(&pt->entries[i], old);
}

static void map_small(struct sim_pt *pt, u64 va, u64 pte)
{
	unsigned int i = index_of(va, 1);
	struct sim_pt *child = child_of(pt, i);
	u64 old, *slot;

	if (WARN_ONCE(!child, "uvm_sim: map of %#llx, not prepared\n", va))
		return;
	slot = &child->entries[index_of(va, 0)];
	old = exchange(slot, pte);
	if (READ_ONCE(pt->entries[i]) != table_entry(child))
		old |= exchange(&pt->entries[i], table_entry(child));
	inherit(slot, old);
}

static u64 leaf_of(const struct uvm_gpu_entry *entry, unsigned int peer)
{
	u64 pte = entry->addr | UVM_SIM_PTE_VALID;

	if (entry->flags & UVM_ENTRY_WRITE)
		pte |= UVM_SIM_PTE_WRITE;
	if (entry->flags & UVM_ENTRY_ATOMIC)
		pte |= UVM_SIM_PTE_ATOMIC;
	if (entry->aperture == UVM_APERTURE_SYSTEM)
		pte |= UVM_SIM_PTE_SYSTEM;
	if (entry->aperture == UVM_APERTURE_PEER)
		pte |= UVM_SIM_PTE_PEER | (u64)peer << UVM_SIM_PTE_PEER_SHIFT;
	return pte;
}

/* Atomics need the right to store, and beyond its memory a GPU that can do them. */
static bool bad_rights(const struct sim_gpu *gpu,
		       const struct uvm_gpu_entry *entry)
{
	u64 need = 0;

	if (!(entry->flags & UVM_ENTRY_ATOMIC))
		return false;
	if (entry->aperture == UVM_APERTURE_SYSTEM)
		need = UVM_GPU_CAP_SYSTEM_ATOMICS;
	else if (entry->aperture == UVM_APERTURE_PEER)
		need = UVM_GPU_CAP_PEER_ATOMICS;
	return !(entry->flags & UVM_ENTRY_WRITE) ||
	       (gpu->config.caps & need) != need;
}

static bool bad_entry(const struct sim_gpu *gpu,
		      const struct uvm_gpu_entry *entry)
{
	u64 size = 1ULL << entry->shift;

	return (entry->shift != UVM_SIM_PAGE_SHIFT &&
		entry->shift != UVM_SIM_HUGE_SHIFT) ||
	       !IS_ALIGNED(entry->va, size) || !IS_ALIGNED(entry->addr, size) ||
	       bad_range(entry->va, size) || bad_rights(gpu, entry) ||
	       entry->aperture > UVM_APERTURE_PEER;
}

void sim_map(struct uvm_gpu_as *base, const struct uvm_gpu_entry *entries,
	     unsigned int count)
{
	struct sim_as *as = to_sim_as(base);
	const struct uvm_gpu_entry *entry;
	struct sim_pt *pt;
	int peer;

	for (entry = entries; entry < entries + count; entry++) {
		peer = entry->aperture == UVM_APERTURE_PEER ?
		       sim_peer_number(as->gpu, entry->peer) : 0;
		if (WARN_ONCE(peer < 0 || bad_entry(as->gpu, entry),
			      "uvm_sim: bad entry: va %#llx addr %#llx shift %u aperture %u flags %#x\n",
			      entry->va, entry->addr, entry->shift,
			      entry->aperture, entry->flags))
			continue;
		pt = level1_of(as, entry->va);
		if (WARN_ONCE(!pt, "uvm_sim: map of %#llx, not prepared\n",
			      entry->va))
			continue;
		if (entry->shift == UVM_SIM_HUGE_SHIFT)
			map_huge(pt, entry->va, leaf_of(entry, peer));
		else
			map_small(pt, entry->va, leaf_of(entry, peer));
	}
}

static unsigned long unmap_small(struct sim_pt *pt, u64 start, u64 last)
{
	unsigned int i = index_of(start, 0), end = index_of(last, 0);
	unsigned long count = 0;

	for (; i <= end; i++)
		if (READ_ONCE(pt->entries[i]))
			count += !!(exchange(&pt->entries[i], 0) &
				    UVM_SIM_PTE_VALID);
	return count;
}

static unsigned long unmap_level1(struct sim_pt *pt, unsigned int i, u64 start,
				  u64 last)
{
	u64 pte = READ_ONCE(pt->entries[i]);

	if (!pte)
		return 0;
	if (pte & UVM_SIM_PTE_HUGE) {
		exchange(&pt->entries[i], 0);
		return 1;
	}
	return unmap_small(child_of(pt, i), start, last);
}

/* Clear [@start, @last], which @pt of @level covers. Recursion ends at level 1. */
static unsigned long unmap_range(struct sim_pt *pt, unsigned int level,
				 u64 start, u64 last)
{
	u64 mask = (1ULL << level_shift(level)) - 1;
	unsigned long count = 0;
	struct sim_pt *child;
	u64 va, stop;

	for (va = start;; va = stop + 1) {
		unsigned int i = index_of(va, level);

		stop = min(va | mask, last);
		child = child_of(pt, i);
		if (level == 1)
			count += unmap_level1(pt, i, va, stop);
		else if (child)
			count += unmap_range(child, level - 1, va, stop);
		if (stop == last)
			return count;
	}
}

unsigned long sim_unmap(struct uvm_gpu_as *base, u64 start, u64 length)
{
	struct sim_as *as = to_sim_as(base);

	if (!length || WARN_ON_ONCE(bad_range(start, length)))
		return 0;
	return unmap_range(as->root, SIM_ROOT_LEVEL, start, start + length - 1);
}

/* Take the accessed bit of a leaf. Was it set? */
static bool harvest_leaf(u64 *slot)
{
	u64 pte = READ_ONCE(*slot);

	do {
		if (!(pte & UVM_SIM_PTE_ACCESSED))
			return false;
	} while (!try_cmpxchg(slot, &pte, pte & ~UVM_SIM_PTE_ACCESSED));
	return true;
}

/*
 * Take the bits of @nr pages from @va, which one entry of @pt covers. Page 0 is bit @bit
 * of @accessed.
 */
static unsigned int harvest_level1(struct sim_pt *pt, u64 va, unsigned int nr,
				   unsigned long *accessed, unsigned int bit)
{
	unsigned int i, first = index_of(va, 0), count = 0;
	u64 *slot = &pt->entries[index_of(va, 1)];
	u64 pte = READ_ONCE(*slot);
	struct sim_pt *child;

	if (!pte)
		return 0;
	if (pte & UVM_SIM_PTE_HUGE) {
		if (!harvest_leaf(slot))
			return 0;
		bitmap_set(accessed, bit, nr);
		return nr;
	}
	child = child_of(pt, index_of(va, 1));
	for (i = 0; i < nr; i++) {
		if (!harvest_leaf(&child->entries[first + i]))
			continue;
		__set_bit(bit + i, accessed);
		count++;
	}
	return count;
}

static bool bad_harvest(u64 start, u64 length)
{
	return bad_range(start, length) || length > SIM_HUGE_SIZE ||
	       !IS_ALIGNED(start | length, SIM_PAGE_SIZE);
}

unsigned int sim_harvest(struct uvm_gpu_as *base, u64 start, u64 length,
			 unsigned long *accessed)
{
	struct sim_as *as = to_sim_as(base);
	u64 va, stop, end = start + length;
	unsigned int count = 0;
	struct sim_pt *pt;

	if (WARN_ON_ONCE(bad_harvest(start, length)))
		return 0;
	sim_count(as->gpu, SIM_STAT_HARVESTS, 1);
	for (va = start; va < end; va = stop) {
		stop = min(ALIGN_DOWN(va, SIM_HUGE_SIZE) + SIM_HUGE_SIZE, end);
		pt = level1_of(as, va);
		if (pt)
			count += harvest_level1(pt, va,
						(stop - va) >> UVM_SIM_PAGE_SHIFT,
						accessed,
						(va - start) >> UVM_SIM_PAGE_SHIFT);
	}
	sim_count(as->gpu, SIM_STAT_PAGES_ACCESSED, count);
	return count;
}

static bool grants(u64 pte, u32 access)
{
	u64 need = UVM_SIM_PTE_VALID;

	if (access != UVM_ACCESS_READ)
		need |= UVM_SIM_PTE_WRITE;
	if (access == UVM_ACCESS_ATOMIC)
		need |= UVM_SIM_PTE_ATOMIC;
	return (pte & need) == need;
}

/* Set accessed and dirty in the leaf that held @pte, if it grants the access. */
static u64 use_leaf(u64 *slot, u64 pte, u32 access)
{
	const u64 huge = pte & UVM_SIM_PTE_HUGE;
	u64 new;

	do {
		if ((pte & UVM_SIM_PTE_HUGE) != huge || !grants(pte, access))
			return 0;
		new = pte | UVM_SIM_PTE_ACCESSED;
		if (access != UVM_ACCESS_READ)
			new |= UVM_SIM_PTE_DIRTY;
		if (new == pte)
			return pte;
	} while (!try_cmpxchg(slot, &pte, new));
	return new;
}

/* Where the leaf of @va is, and in @pte the leaf; NULL if there is no valid one. */
static u64 *find_leaf(struct sim_as *as, u64 va, u64 *pte)
{
	u64 *slot, *table = as->root->entries;
	unsigned int level;

	if (va >> UVM_SIM_VA_BITS)
		return NULL;
	for (level = SIM_ROOT_LEVEL;; level--) {
		slot = &table[index_of(va, level)];
		*pte = READ_ONCE(*slot);
		if (!(*pte & UVM_SIM_PTE_VALID))
			return NULL;
		if (!level || *pte & UVM_SIM_PTE_HUGE)
			return slot;
		table = phys_to_virt(*pte & UVM_SIM_PTE_ADDR);
	}
}

/**
 * sim_walk() - the MMU's table walk
 * @as: address space
 * @va: any address
 * @access: enum uvm_access
 *
 * Return: the leaf, accessed (and dirty) set, or 0 if there is none or it doesn't
 * grant the access. Takes no lock.
 */
u64 sim_walk(struct sim_as *as, u64 va, u32 access)
{
	u64 pte, *slot = find_leaf(as, va, &pte);

	return slot ? use_leaf(slot, pte, access) : 0;
}

/**
 * sim_translates() - would an access find its translation?
 * @as: address space
 * @va: any address
 * @access: enum uvm_access
 *
 * Leaves no trace. Takes no lock.
 */
bool sim_translates(struct sim_as *as, u64 va, u32 access)
{
	u64 pte;

	return find_leaf(as, va, &pte) && grants(pte, access);
}
