/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_HARVEST_H
#define _UVM_HARVEST_H

#include <linux/types.h>

struct mm_struct;
struct uvm_gpu;

bool uvm_can_harvest(const struct uvm_gpu *gpu);
unsigned int uvm_harvest(struct uvm_gpu *gpu, struct mm_struct *mm,
			 unsigned long base, unsigned long *accessed);
void uvm_unmap_block(struct uvm_gpu *gpu, const struct mm_struct *mm, unsigned long base);

#endif /* _UVM_HARVEST_H */
