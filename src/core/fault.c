// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: GPU faults
 *
 * Owns the way from the fault buffer to the replay. One worker a GPU fetches a
 * batch, sorts it by address space and address, maps block by block what the
 * faults want, and has the GPU try again. A fault that can't be served stops the
 * channel that caused it, with the reason, and no other.
 *
 * Nothing is lost by dropping a fault: an access that still has no translation
 * after the replay faults anew. So faults of an address space that is going down
 * are dropped, and blocks that keep changing are left to the next batch.
 */
#include "core.h"

#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>

#define UVM_FAULT_BATCH		256

/**
 * struct uvm_fault_batch - the worker's room
 * @faults: as fetched, then sorted
 * @access: by page of a block, what is wanted
 * @req: for uvm_mirror_block()
 */
struct uvm_fault_batch {
	struct uvm_gpu_fault faults[UVM_FAULT_BATCH];
	u8 access[UVM_BLOCK_PAGES];
	struct uvm_mirror_request *req;
};

struct uvm_fault_batch *uvm_fault_batch_alloc(void)
{
	struct uvm_fault_batch *batch = kvzalloc(sizeof(*batch), GFP_KERNEL);

	if (!batch)
		return NULL;
	batch->req = uvm_mirror_request_alloc();
	if (!batch->req) {
		kvfree(batch);
		return NULL;
	}
	return batch;
}

void uvm_fault_batch_free(struct uvm_fault_batch *batch)
{
	uvm_mirror_request_free(batch->req);
	kvfree(batch);
}

static int uvm_fault_cmp(const void *a, const void *b)
{
	const struct uvm_gpu_fault *l = a, *r = b;

	if (l->as_id != r->as_id)
		return l->as_id < r->as_id ? -1 : 1;
	if (l->address != r->address)
		return l->address < r->address ? -1 : 1;
	return 0;
}

static unsigned long uvm_fault_block(const struct uvm_gpu_fault *fault)
{
	return ALIGN_DOWN(fault->address, UVM_BLOCK_SIZE);
}

/* Length of the run at the head of @faults that is in one block of one space. */
static unsigned int uvm_fault_run(const struct uvm_gpu_fault *faults,
				  unsigned int nr)
{
	unsigned int i;

	for (i = 1; i < nr; i++)
		if (faults[i].as_id != faults[0].as_id ||
		    uvm_fault_block(&faults[i]) != uvm_fault_block(&faults[0]))
			break;
	return i;
}

/* Duplicates fall together here; the strongest access of each page counts. */
static void uvm_fault_collect(u8 *access, const struct uvm_gpu_fault *faults,
			      unsigned int nr)
{
	unsigned int i, page;

	memset(access, 0, UVM_BLOCK_PAGES);
	for (i = 0; i < nr; i++) {
		page = (faults[i].address >> PAGE_SHIFT) % UVM_BLOCK_PAGES;
		access[page] = max_t(u8, access[page], faults[i].access);
	}
}

static u32 uvm_fault_reason(struct mm_struct *mm, const struct uvm_gpu_fault *fault,
			    int error)
{
	unsigned long need = fault->access == UVM_ACCESS_READ ? VM_READ : VM_WRITE;
	struct vm_area_struct *vma;
	u32 reason;

	if (error == -ENOMEM)
		return UVM_FAULT_NO_MEMORY;
	mmap_read_lock(mm);
	vma = vma_lookup(mm, fault->address);
	if (!vma)
		reason = UVM_FAULT_NO_MAPPING;
	else if (!(vma->vm_flags & need))
		reason = UVM_FAULT_PERMISSION;
	else
		reason = UVM_FAULT_BUS;
	mmap_read_unlock(mm);
	return reason;
}

static void uvm_fault_cancel(struct uvm_gpu_space *gs,
			     const struct uvm_gpu_fault *fault, int error)
{
	u32 reason = uvm_fault_reason(gs->vs->mm, fault, error);

	uvm_channel_faulted(gs, fault, reason);
	gs->gpu->desc.ops->fault_cancel(gs->gpu, fault);
}

/*
 * Serves @nr faults in one block: together, and if that fails one by one, to find
 * the ones to blame.
 */
static void uvm_fault_serve_block(struct uvm_gpu_space *gs,
				  struct uvm_fault_batch *batch,
				  const struct uvm_gpu_fault *faults,
				  unsigned int nr)
{
	unsigned long base = uvm_fault_block(faults);
	unsigned int i;
	int ret;

	uvm_fault_collect(batch->access, faults, nr);
	ret = uvm_mirror_block(gs, batch->req, base, batch->access);
	if (!ret || ret == -EBUSY)
		return;
	for (i = 0; i < nr; i++) {
		if (nr > 1) {
			uvm_fault_collect(batch->access, &faults[i], 1);
			ret = uvm_mirror_block(gs, batch->req, base,
					       batch->access);
		}
		if (ret && ret != -EBUSY)
			uvm_fault_cancel(gs, &faults[i], ret);
	}
}

static struct uvm_gpu_space *uvm_fault_gpu_space_get(struct uvm_gpu *gpu, u64 id)
{
	struct uvm_gpu_space *gs;

	xa_lock(&gpu->spaces);
	gs = xa_load(&gpu->spaces, id);
	if (gs && !refcount_inc_not_zero(&gs->users))
		gs = NULL;
	xa_unlock(&gpu->spaces);
	return gs;
}

/* What is allocated on the way is charged to the process that wants it. */
static void uvm_fault_serve_charged(struct uvm_gpu_space *gs,
				    struct uvm_fault_batch *batch,
				    const struct uvm_gpu_fault *faults,
				    unsigned int nr)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(gs->vs->mm);
	struct mem_cgroup *old = set_active_memcg(memcg);

	uvm_fault_serve_block(gs, batch, faults, nr);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
}

static void uvm_fault_serve(struct uvm_gpu *gpu, struct uvm_fault_batch *batch,
			    const struct uvm_gpu_fault *faults, unsigned int nr)
{
	struct uvm_gpu_space *gs = uvm_fault_gpu_space_get(gpu, faults->as_id);

	if (!gs)
		return;
	if (!uvm_mm_retain(gs->vs)) {
		uvm_fault_serve_charged(gs, batch, faults, nr);
		uvm_mm_release(gs->vs);
	}
	uvm_gpu_space_put(gs);
}

void uvm_fault_worker(struct work_struct *work)
{
	struct uvm_gpu *gpu = container_of(work, struct uvm_gpu, fault_work);
	const struct uvm_gpu_ops *ops = gpu->desc.ops;
	struct uvm_fault_batch *batch = gpu->fault_batch;
	unsigned int i, n, nr;

	for (;;) {
		nr = ops->fault_fetch(gpu, batch->faults, UVM_FAULT_BATCH);
		if (!nr)
			break;
		sort(batch->faults, nr, sizeof(batch->faults[0]), uvm_fault_cmp,
		     NULL);
		for (i = 0; i < nr; i += n) {
			n = uvm_fault_run(batch->faults + i, nr - i);
			uvm_fault_serve(gpu, batch, batch->faults + i, n);
		}
		ops->fault_replay(gpu);
		cond_resched();
	}
}
