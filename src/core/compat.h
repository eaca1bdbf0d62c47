/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between kernels, all of them. What a kernel has is found by
 * compile probes (scripts/probes), since stable kernels backport and version
 * numbers lie. The rest of the code reads as if only the newest kernel existed.
 */
#ifndef _UVM_COMPAT_H
#define _UVM_COMPAT_H

#include <linux/eventfd.h>
#include <linux/hugetlb.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include <uvm_probes.h>

#ifndef VM_SHADOW_STACK
#define VM_SHADOW_STACK	VM_NONE
#endif

#ifndef UVM_HAVE_VM_FLAGS_SET
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags &= ~flags;
}
#endif

#ifndef UVM_HAVE_PAGE_PGMAP
static inline struct dev_pagemap *page_pgmap(const struct page *page)
{
	return page->pgmap;
}
#endif

/*
 * Can a huge page be one folio in private memory too, and move there as one? Then
 * migrate_vma_setup() says so in the first of its entries, and the others are 0.
 */
#if defined(UVM_HAVE_MIGRATE_PFN_COMPOUND) && defined(UVM_HAVE_FOLIO_SPLIT) && \
	IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE)
#define UVM_HAVE_HUGE_MOVES
#define UVM_HUGE_MOVES			true
#else
#define UVM_HUGE_MOVES			false
#undef MIGRATE_PFN_COMPOUND
#define MIGRATE_PFN_COMPOUND		0UL
#define MIGRATE_VMA_SELECT_COMPOUND	0UL
#endif

/*
 * Not by page_folio(): a free device page of the newest kernels keeps the compound
 * state of its last life, which page_folio() would follow to a stale head.
 */
static inline void uvm_zone_device_folio_init(struct page *page,
					      struct dev_pagemap *pgmap,
					      unsigned int order)
{
#ifdef UVM_HAVE_ZONE_DEVICE_PAGE_INIT_PGMAP
	zone_device_folio_init((struct folio *)page, pgmap, order);
#else
	zone_device_page_init(page);
#endif
}

/* A huge page of system memory, for @addr or else on @node; NULL if there is none. */
static inline struct page *uvm_alloc_huge_page(struct vm_area_struct *vma,
					       unsigned long addr, int node)
{
#ifdef UVM_HAVE_HUGE_MOVES
	const gfp_t gfp = GFP_TRANSHUGE | __GFP_NORETRY;
	struct folio *folio;

	if (node == NUMA_NO_NODE)
		folio = vma_alloc_folio(gfp, HPAGE_PMD_ORDER, vma, addr);
	else
		folio = __folio_alloc_node(gfp | __GFP_THISNODE, HPAGE_PMD_ORDER,
					   node);
	return folio ? &folio->page : NULL;
#else
	return NULL;
#endif
}

/*
 * The hook that tells of a freed device page, and what it is given:
 * ".UVM_PGMAP_FREE = fn" with "void fn(struct uvm_pgmap_arg *arg)".
 */
#ifdef UVM_HAVE_FOLIO_FREE
#define UVM_PGMAP_FREE	folio_free
#define uvm_pgmap_arg	folio
#else
#define UVM_PGMAP_FREE	page_free
#define uvm_pgmap_arg	page
#endif

static inline struct page *uvm_pgmap_arg_page(struct uvm_pgmap_arg *arg)
{
	return (struct page *)arg;
}

/* How many pages that was. */
static inline unsigned int uvm_pgmap_arg_pages(struct uvm_pgmap_arg *arg)
{
#ifdef UVM_HAVE_FOLIO_FREE
	return folio_nr_pages(arg);
#else
	return 1;
#endif
}

/* Can the kernel give a GPU a page alone that is part of a large folio? */
#ifdef UVM_HAVE_MAKE_DEVICE_EXCLUSIVE
#define UVM_EXCLUSIVE_OF_LARGE	true
#else
#define UVM_EXCLUSIVE_OF_LARGE	false
#endif

/*
 * The page at @addr, of private anonymous memory, locked and with a reference, that
 * from here on no CPU can touch without a notification: only what has @owner isn't told.
 * An ERR_PTR: -EOPNOTSUPP where the kernel has no such thing; -EBUSY; what
 * get_user_pages() says.
 */
static inline struct page *uvm_make_exclusive(struct mm_struct *mm, unsigned long addr,
					      void *owner)
{
#if !IS_ENABLED(CONFIG_DEVICE_PRIVATE)
	return ERR_PTR(-EOPNOTSUPP);
#elif defined(UVM_HAVE_MAKE_DEVICE_EXCLUSIVE)
	struct folio *folio;

	return make_device_exclusive(mm, addr, owner, &folio);
#else
	struct page *page = NULL;
	int ret;

	ret = make_device_exclusive_range(mm, addr, addr + PAGE_SIZE, &page, owner);
	if (ret <= 0)
		return ERR_PTR(ret ? ret : -EFAULT);
	return page ? page : ERR_PTR(-EBUSY);
#endif
}

static inline void uvm_put_exclusive(struct page *page)
{
	unlock_page(page);
	put_page(page);
}

/*
 * Is this the end of a mapping? Old kernels say the same of hugetlb pages whose mapping
 * stays: there the mapping is looked for, which munmap() has taken out before. If
 * somebody is just changing the address space it can't be, and counts as gone.
 */
static inline bool uvm_range_is_unmapped(const struct mmu_notifier_range *range)
{
#ifdef UVM_HAVE_NOTIFIER_RANGE_VMA
	struct vm_area_struct *vma = range->vma;
	bool there;

	if (range->event != MMU_NOTIFY_UNMAP)
		return false;
	if (!vma || !is_vm_hugetlb_page(vma) || !mmap_read_trylock(range->mm))
		return true;
	there = vma_lookup(range->mm, max(range->start, vma->vm_start)) == vma;
	mmap_read_unlock(range->mm);
	return !there;
#else
	return range->event == MMU_NOTIFY_UNMAP;
#endif
}

static inline void uvm_eventfd_signal(struct eventfd_ctx *ctx)
{
#ifdef UVM_HAVE_EVENTFD_SIGNAL_1ARG
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

#endif /* _UVM_COMPAT_H */
