/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_RESIDENCY_H
#define _UVM_RESIDENCY_H

#include <linux/types.h>

/**
 * struct uvm_residency - where a page is
 * @where: enum uvm_where
 * @id: as &uvm_page_state.id
 * @node: NUMA node of a page in system memory, that of a UVM_MEMORY_NUMA GPU
 *	included; else NUMA_NO_NODE
 * @anon: it is an anonymous page in system memory
 * @zero: it is the zero page, which is nobody's, and in no place that matters
 */
struct uvm_residency {
	u8 where;
	u16 id;
	int node;
	bool anon;
	bool zero;
};

void uvm_residency_of(unsigned long hmm_pfn, struct uvm_residency *res);

#endif /* _UVM_RESIDENCY_H */
