/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between kernels, all of them. What a kernel has is found by
 * compile probes (scripts/probes), since stable kernels backport and version
 * numbers lie. The rest of the code reads as if only the newest kernel existed.
 */
#ifndef _UVM_COMPAT_H
#define _UVM_COMPAT_H

#include <linux/memremap.h>
#include <linux/mm.h>

#include <uvm_probes.h>

#ifndef VM_SHADOW_STACK
#define VM_SHADOW_STACK	VM_NONE
#endif

#ifndef UVM_HAVE_PAGE_PGMAP
static inline struct dev_pagemap *page_pgmap(const struct page *page)
{
	return page->pgmap;
}
#endif

/*
 * Not page_folio(): a free device page of the newest kernels keeps the compound
 * state of its last life, which page_folio() would follow to a stale head.
 */
static inline void uvm_zone_device_page_init(struct page *page,
					     struct dev_pagemap *pgmap)
{
#ifdef UVM_HAVE_ZONE_DEVICE_PAGE_INIT_PGMAP
	zone_device_page_init(page, pgmap, 0);
#else
	zone_device_page_init(page);
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

#endif /* _UVM_COMPAT_H */
