/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_MIGRATE_H
#define _UVM_MIGRATE_H

#include <linux/types.h>

struct uvm_gpu;
struct uvm_move;
struct vm_area_struct;

/**
 * struct uvm_target - where pages go
 * @gpu: into this GPU's own memory; NULL for system memory
 * @gpu_id: its id, which may be asked for after it is gone
 * @node: for system memory, the node, or NUMA_NO_NODE for the mm's policy
 * @from: for system memory, the GPU whose pages go there, or UVM_ANY_GPU
 * @renew: in system memory, all pages get new ones, each a folio of its own
 * @populate: absent pages are wanted there too, though @gpu is NULL: the node is a
 *	GPU
 */
struct uvm_target {
	struct uvm_gpu *gpu;
	u32 gpu_id;
	int node;
	u32 from;
	bool renew;
	bool populate;
};

struct uvm_move *uvm_move_alloc(unsigned int max);
void uvm_move_free(struct uvm_move *mv);
const unsigned long *uvm_move_to(struct uvm_move *mv, struct vm_area_struct *vma,
				 unsigned long start, unsigned long end,
				 const struct uvm_target *dest, bool from_peers);
bool uvm_vma_migratable(const struct vm_area_struct *vma);

#endif /* _UVM_MIGRATE_H */
