// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Residency
 *
 * Owns nothing: the CPU's page table is the only truth about where a page of
 * ordinary memory is, and this reads it out. What a snapshot names may be gone by
 * the time it is looked at, so it is judged by page frame number; struct page is
 * touched only where the memory map can't go away.
 */
#include "managed.h"
#include "residency.h"

#include <linux/hmm.h>
#include <linux/memory_hotplug.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define UVM_QUERY_BATCH		512

/*
 * Only the zero page, small or huge, managed pages and what drivers map have no mapping of
 * their own. The zero page lies where the kernel does, maybe on the node that is a GPU.
 */
static void uvm_residency_system(struct page *page, struct uvm_residency *res)
{
	int node = page_to_nid(page);
	int gpu = uvm_gpu_id_of_node(node);

	res->zero = !page_folio(page)->mapping && !uvm_page_is_managed(page);
	res->anon = PageAnon(page);
	if (!res->zero)
		res->node = node;
	if (gpu < 0 || res->zero) {
		res->where = UVM_WHERE_CPU;
		res->id = node;
	} else {
		res->where = UVM_WHERE_GPU;
		res->id = gpu;
	}
}

/**
 * uvm_residency_of() - read one entry of a snapshot
 * @hmm_pfn: from uvm_mirror_snapshot()
 * @res: the answer
 *
 * May sleep.
 */
void uvm_residency_of(unsigned long hmm_pfn, struct uvm_residency *res)
{
	unsigned long pfn = hmm_pfn & ~HMM_PFN_FLAGS;
	struct page *page;
	int gpu;

	*res = (struct uvm_residency){ .node = NUMA_NO_NODE };
	/*
	 * A page frame that isn't valid is a page which NUMA balancing hides for a
	 * while, to see who wants it: it is there all the same.
	 */
	if (hmm_pfn & HMM_PFN_ERROR || (!(hmm_pfn & HMM_PFN_VALID) && !pfn))
		return;
	gpu = uvm_gpu_id_of_pfn(pfn);
	if (gpu >= 0) {
		res->where = UVM_WHERE_GPU;
		res->id = gpu;
		return;
	}
	page = pfn_to_online_page(pfn);
	if (page)
		uvm_residency_system(page, res);
	else
		res->where = UVM_WHERE_OTHER_DEVICE;
}

static void uvm_page_state_of(unsigned long hmm_pfn, struct uvm_page_state *state)
{
	struct uvm_residency res;

	uvm_residency_of(hmm_pfn, &res);
	state->where = res.where;
	state->id = res.id;
	state->prot = 0;
	if (hmm_pfn & HMM_PFN_VALID)
		state->prot |= UVM_PAGE_READ;
	if (hmm_pfn & HMM_PFN_WRITE)
		state->prot |= UVM_PAGE_WRITE;
}

/**
 * struct uvm_query - room for one batch
 * @pfns: the snapshot
 * @copied: pages of which there are copies
 * @states: the answer
 */
struct uvm_query {
	unsigned long pfns[UVM_QUERY_BATCH];
	DECLARE_BITMAP(copied, UVM_QUERY_BATCH);
	struct uvm_page_state states[UVM_QUERY_BATCH];
};

static int uvm_query_snapshot(struct uvm_va_space *vs, struct uvm_query *query,
			      unsigned long addr, unsigned int nr)
{
	int ret = uvm_mm_retain(vs);

	if (ret)
		return ret;
	ret = mmap_read_lock_killable(vs->mm);
	if (!ret) {
		ret = uvm_mirror_snapshot(vs, addr, nr, query->pfns, NULL);
		uvm_managed_copied(vs->mm, addr, nr, query->copied);
		mmap_read_unlock(vs->mm);
	}
	uvm_mm_release(vs);
	return ret;
}

static int uvm_query_batch(struct uvm_va_space *vs, struct uvm_query *query,
			   unsigned long addr, unsigned int nr, u64 out)
{
	unsigned int i;
	int ret;

	ret = uvm_query_snapshot(vs, query, addr, nr);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		uvm_page_state_of(query->pfns[i], &query->states[i]);
		if (test_bit(i, query->copied))
			query->states[i].prot |= UVM_PAGE_COPIED;
	}
	if (copy_to_user(u64_to_user_ptr(out), query->states,
			 nr * sizeof(query->states[0])))
		return -EFAULT;
	cond_resched();
	return 0;
}

/**
 * uvm_query_residency_ioctl() - UVM_QUERY_RESIDENCY
 * @ucmd: on a VA space
 *
 * Return: 0, -EINVAL, -EFAULT, -ESRCH, -EBUSY, -EINTR, -ENOMEM.
 */
int uvm_query_residency_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_query_residency *cmd = ucmd->cmd;
	unsigned long done, npages, nr;
	struct uvm_query *query;
	int ret;

	ret = uvm_check_range(cmd->base, cmd->length);
	if (ret)
		return ret;
	npages = cmd->length >> PAGE_SHIFT;
	if (npages > UVM_MAX_QUERY)
		return -EINVAL;
	query = kvmalloc(sizeof(*query), GFP_KERNEL);
	if (!query)
		return -ENOMEM;
	for (done = 0; !ret && done < npages; done += nr) {
		nr = min_t(unsigned long, npages - done, UVM_QUERY_BATCH);
		ret = uvm_query_batch(ucmd->vs, query,
				      cmd->base + done * PAGE_SIZE, nr,
				      cmd->pages +
				      done * sizeof(query->states[0]));
	}
	kvfree(query);
	return ret;
}

/* How many of the @nr pages at @addr are on the GPU, or there, too; up to a block of them. */
long uvm_resident_in_block(struct uvm_va_space *vs, unsigned long *pfns,
			   unsigned long addr, unsigned long nr, u32 gpu_id)
{
	struct uvm_residency res;
	long pages = 0;

	if (uvm_mirror_snapshot(vs, addr, nr, pfns, uvm_gpu_by_id(gpu_id)))
		return 0;
	while (nr--) {
		uvm_residency_of(pfns[nr], &res);
		pages += res.where == UVM_WHERE_GPU && res.id == gpu_id;
	}
	return pages;
}

/* Blocks of a VMA until its end, or until others should have the lock. */
static unsigned long uvm_resident_in_vma(struct uvm_va_space *vs,
					 struct vm_area_struct *vma,
					 unsigned long *pfns, unsigned long addr,
					 u32 gpu_id, long *pages)
{
	unsigned long next;

	addr = max(addr, vma->vm_start);
	while (addr < vma->vm_end) {
		next = min(vma->vm_end, ALIGN(addr + 1, UVM_BLOCK_SIZE));
		*pages += uvm_resident_in_block(vs, pfns, addr,
						(next - addr) >> PAGE_SHIFT,
						gpu_id);
		addr = next;
		if (need_resched() || mmap_lock_is_contended(vma->vm_mm) ||
		    fatal_signal_pending(current))
			break;
	}
	return addr;
}

/**
 * uvm_resident_pages() - how many pages a process has on a GPU
 * @vs: VA space whose mm is retained, or is the caller's
 * @gpu_id: the GPU
 * @pfns: room for a block
 *
 * Looks through all anonymous and managed memory that the process may read.
 *
 * Return: pages; -EINTR; or -ESRCH if the mm of another process is being released.
 */
long uvm_resident_pages(struct uvm_va_space *vs, u32 gpu_id, unsigned long *pfns)
{
	struct vm_area_struct *vma;
	unsigned long addr = 0;
	long pages = 0;

	do {
		if (vs->mm != current->mm && uvm_mm_releasing(vs))
			return -ESRCH;
		if (fatal_signal_pending(current) ||
		    mmap_read_lock_killable(vs->mm))
			return -EINTR;
		vma = find_vma(vs->mm, addr);
		if (vma && uvm_vma_may_have_pages(vma))
			addr = uvm_resident_in_vma(vs, vma, pfns, addr, gpu_id,
						   &pages);
		else if (vma)
			addr = vma->vm_end;
		mmap_read_unlock(vs->mm);
		cond_resched();
	} while (vma);
	return pages;
}
