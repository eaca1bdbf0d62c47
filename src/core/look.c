// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Looking at the CPU's page tables
 *
 * Owns how hmm_range_fault() is asked: to make present what a GPU's fault wants, for a
 * look at a whole block that asks for nothing, and for snapshots that promise nothing.
 * What a fault wants and can't be used where it is comes home; what isn't to be mapped
 * is left out. mirror.c turns what was seen into entries, or finds that it has changed.
 *
 * Struct pages that a look names are there from uvm_mirror_look_begin() to
 * uvm_mirror_look_end(), on whatever GPU.
 */
#include "mirror.h"

#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/magic.h>
#include <linux/sched/mm.h>
#include <linux/srcu.h>
#include <linux/userfaultfd_k.h>

#include "managed.h"
#include "move.h"

/* Around a page of another GPU that a fault wants, this much comes home. */
#define UVM_HOME_WINDOW		SZ_64K

/*
 * Held from a look at the CPU's page table to the last look at a struct page that it
 * told of, which another GPU may take away. Nothing in it waits for user space.
 */
DEFINE_STATIC_SRCU(uvm_mirror_srcu);

/**
 * uvm_mirror_look_begin() - struct pages that a snapshot from now on names are there
 *
 * Return: what uvm_mirror_look_end() wants. Nothing waits for user space until then.
 */
int uvm_mirror_look_begin(void)
	__acquires(&uvm_mirror_srcu)
{
	return srcu_read_lock(&uvm_mirror_srcu);
}

void uvm_mirror_look_end(int srcu)
	__releases(&uvm_mirror_srcu)
{
	srcu_read_unlock(&uvm_mirror_srcu, srcu);
}

/**
 * uvm_mirror_sync() - wait until nobody looks at struct pages of a GPU that went
 *
 * No page of it is in any page table any more. Waits for engines at most.
 */
void uvm_mirror_sync(void)
{
	synchronize_srcu(&uvm_mirror_srcu);
}

static bool uvm_mirror_own_page(const struct uvm_gpu *gpu, unsigned long hmm_pfn)
{
	return uvm_gpu_has_pfn(gpu, hmm_pfn & ~HMM_PFN_FLAGS);
}

/* Can the GPU use a page in the memory of a GPU where it is? */
bool uvm_mirror_can_use(struct uvm_gpu *gpu, struct uvm_gpu *whose)
{
	return whose == gpu || uvm_is_peer(gpu, whose);
}

/*
 * A page that the GPU can't use where it is. One is in the memory of another GPU that
 * isn't a peer. Or it is in private memory, shared after a fork, and to be written: HMM
 * doesn't break the sharing of such a page, but it does at home.
 */
static bool uvm_mirror_must_come_home(struct uvm_gpu *gpu, unsigned long pfn,
				      u8 access)
{
	struct uvm_gpu *whose;

	if (!access || !(pfn & HMM_PFN_VALID))
		return false;
	whose = uvm_gpu_of_hmm(pfn);
	if (!whose)
		return false;
	return !uvm_mirror_can_use(gpu, whose) ||
	       (access > UVM_ACCESS_READ && !(pfn & HMM_PFN_WRITE));
}

/*
 * Brings home what must come home before the fault can be served. Returns 0 if there
 * was nothing, -EBUSY if there was: look again; -EPERM for a store that the process may
 * not make.
 */
static int uvm_mirror_bring_home(struct uvm_gpu_space *gs,
				  const unsigned long *pfns, unsigned long base,
				  const u8 *access)
{
	unsigned long addr, start, end;
	struct vm_area_struct *vma;
	unsigned int i;
	int ret = 0;

	lockdep_assert_held(&gs->vs->mm->mmap_lock);
	for (i = 0; i < UVM_BLOCK_PAGES; i++) {
		if (!uvm_mirror_must_come_home(gs->gpu, pfns[i], access[i]))
			continue;
		ret = -EBUSY;
		addr = base + i * PAGE_SIZE;
		vma = vma_lookup(gs->vs->mm, addr);
		if (!vma)
			continue;
		if (access[i] > UVM_ACCESS_READ && !(vma->vm_flags & VM_WRITE))
			return -EPERM;
		start = ALIGN_DOWN(addr, UVM_HOME_WINDOW);
		end = min(start + UVM_HOME_WINDOW, vma->vm_end);
		start = max(start, vma->vm_start);
		uvm_policies_clip(&gs->vs->policies, addr, &start, &end);
		uvm_migrate_home(vma, start, end, UVM_ANY_GPU);
		/* The rest of the window came along. */
		i = (end - base) / PAGE_SIZE - 1;
	}
	return ret;
}

/*
 * Makes the wanted pages of a run present. HMM fills a hole in the page table from
 * end to end, whatever single pages ask for, so it is shown no more than is wanted.
 */
static int uvm_mirror_fault_in(struct hmm_range *range, struct uvm_mirror_request *req,
			       unsigned long base, const u8 *access)
{
	unsigned long *pfns = req->pfns;
	unsigned int i, first;
	int ret = 0;

	for (i = 0; i < UVM_BLOCK_PAGES && !ret; i++) {
		for (first = i; i < UVM_BLOCK_PAGES && access[i] &&
				!test_bit(i, req->managed); i++)
			pfns[i] = HMM_PFN_REQ_FAULT |
				  (access[i] > UVM_ACCESS_READ ?
				   HMM_PFN_REQ_WRITE : 0);
		if (i == first)
			continue;
		range->start = base + first * PAGE_SIZE;
		range->end = base + i * PAGE_SIZE;
		range->hmm_pfns = pfns + first;
		ret = hmm_range_fault(range);
	}
	return ret;
}

static int uvm_mirror_look_block(struct hmm_range *range, unsigned long *pfns,
				 unsigned long base)
{
	memset(pfns, 0, UVM_BLOCK_PAGES * sizeof(*pfns));
	range->start = base;
	range->end = base + UVM_BLOCK_SIZE;
	range->hmm_pfns = pfns;
	range->pfn_flags_mask = 0;
	return hmm_range_fault(range);
}

/*
 * Memory that HMM gives and GUP refuses. Secret memory (memfd_secret()) is for the
 * process's own eyes; the kernel itself has it not mapped. A shadow stack looks
 * writable, but plain stores of the CPU can't write it either.
 */
static bool uvm_vma_is_cpu_only(const struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_SHADOW_STACK)
		return true;
	return vma->vm_file &&
	       file_inode(vma->vm_file)->i_sb->s_magic == SECRETMEM_MAGIC;
}

static int uvm_mirror_drop_cpu_only(struct mm_struct *mm, unsigned long *pfns,
				    unsigned long base, const u8 *access)
{
	struct vm_area_struct *vma;
	unsigned long i, last;

	VMA_ITERATOR(vmi, mm, base);

	for_each_vma_range(vmi, vma, base + UVM_BLOCK_SIZE) {
		if (!uvm_vma_is_cpu_only(vma))
			continue;
		i = (max(vma->vm_start, base) - base) >> PAGE_SHIFT;
		last = (min(vma->vm_end, base + UVM_BLOCK_SIZE) - base) >>
		       PAGE_SHIFT;
		for (; i < last; i++) {
			if (access[i])
				return -EFAULT;
			pfns[i] = 0;
		}
	}
	return 0;
}

/*
 * What isn't to be mapped in system memory, or in another GPU's, is left out: it is to
 * fault, and then to move.
 */
static void uvm_mirror_drop_held(const struct uvm_gpu *gpu, unsigned long *pfns,
				 const unsigned long *hold)
{
	unsigned int i;

	for_each_set_bit(i, hold, UVM_BLOCK_PAGES)
		if (pfns[i] & HMM_PFN_VALID &&
		    !uvm_mirror_own_page(gpu, pfns[i]))
			pfns[i] = 0;
}

/* Does the look at the whole block still show what the fault wants? */
static bool uvm_mirror_satisfied(const unsigned long *pfns, const u8 *access)
{
	unsigned long need;
	unsigned int i;

	for (i = 0; i < UVM_BLOCK_PAGES; i++) {
		if (!access[i])
			continue;
		need = HMM_PFN_VALID;
		if (access[i] > UVM_ACCESS_READ)
			need |= HMM_PFN_WRITE;
		if ((pfns[i] & need) != need)
			return false;
	}
	return true;
}

/**
 * uvm_mirror_is_whole() - is a block mapped by one entry of the CPU's page table?
 * @pfns: what HMM says about it, from its first page to its last one
 *
 * Or of managed memory, could it be, since it is one piece?
 *
 * Return: if so, all pages of the block are those of one huge page, in order, and what
 * is said about the first one holds for the others.
 */
bool uvm_mirror_is_whole(const unsigned long *pfns)
{
	return pfns[0] & HMM_PFN_VALID &&
	       hmm_pfn_to_map_order(pfns[0]) >= UVM_BLOCK_SHIFT - PAGE_SHIFT &&
	       pfns[UVM_BLOCK_PAGES - 1] == pfns[0] + UVM_BLOCK_PAGES - 1;
}

/* Is it in the GPU's own memory, and does it do for what faults want? */
static bool uvm_mirror_serves_whole(struct uvm_gpu *gpu, const unsigned long *pfns,
				    const u8 *access)
{
	unsigned int i;

	if (!(gpu->desc.page_sizes & UVM_BLOCK_SIZE) || !uvm_mirror_is_whole(pfns) ||
	    !uvm_mirror_own_page(gpu, pfns[0]))
		return false;
	for (i = 0; i < UVM_BLOCK_PAGES && !(pfns[0] & HMM_PFN_WRITE); i++)
		if (access[i] > UVM_ACCESS_READ)
			return false;
	return true;
}

/* Looks, with what the fault wants made present. */
int uvm_mirror_look_again(struct uvm_gpu_space *gs, struct hmm_range *range,
			  struct uvm_mirror_request *req,
			  unsigned long base, const u8 *access)
{
	struct mm_struct *mm = gs->vs->mm;
	int ret = 0;

	/* What HMM says of managed memory isn't believed. */
	if (!bitmap_full(req->managed, UVM_BLOCK_PAGES))
		ret = uvm_mirror_look_block(range, req->pfns, base);
	if (!ret && req->any_managed)
		uvm_managed_map_look(mm, base, req->pfns, gs->gpu);
	if (!ret)
		ret = uvm_mirror_drop_cpu_only(mm, req->pfns, base, access);
	req->whole = !ret && uvm_mirror_serves_whole(gs->gpu, req->pfns, access);
	if (ret || req->whole)
		return ret;
	uvm_mirror_drop_held(gs->gpu, req->pfns, req->hold);
	ret = uvm_mirror_bring_home(gs, req->pfns, base, access);
	if (!ret && !uvm_mirror_satisfied(req->pfns, access))
		ret = -EBUSY;
	return ret;
}

/* Is it there, on a GPU maybe, where a CPU's fault would only bring it home? */
static bool uvm_mirror_is_given(struct uvm_va_space *vs, unsigned long addr, u8 access)
{
	int srcu = uvm_mirror_look_begin();
	unsigned long pfn = 0;
	bool given;

	given = !uvm_mirror_snapshot(vs, addr, 1, &pfn, NULL) &&
		pfn & HMM_PFN_VALID &&
		(access == UVM_ACCESS_READ || pfn & HMM_PFN_WRITE ||
		 uvm_gpu_of_hmm(pfn));
	uvm_mirror_look_end(srcu);
	return given;
}

/*
 * Waits for the pages that user space itself provides (userfaultfd), which HMM doesn't.
 * Drops mmap_lock while it waits. Returns how many there were, or -errno.
 */
static int uvm_mirror_wait_for_user(struct uvm_va_space *vs, unsigned long base,
				    const u8 *access)
{
	struct vm_area_struct *vma;
	bool unlocked = false;
	unsigned long addr;
	unsigned int i;
	int ret, nr = 0;

	for (i = 0; i < UVM_BLOCK_PAGES; i++) {
		if (!access[i])
			continue;
		addr = base + i * PAGE_SIZE;
		vma = vma_lookup(vs->mm, addr);
		if (!vma || !userfaultfd_armed(vma) ||
		    uvm_mirror_is_given(vs, addr, access[i]))
			continue;
		ret = fixup_user_fault(vs->mm, addr, FAULT_FLAG_REMOTE |
				       (access[i] > UVM_ACCESS_READ ?
					FAULT_FLAG_WRITE : 0), &unlocked);
		if (ret)
			return ret;
		nr++;
	}
	return nr;
}

/*
 * Makes present what the fault wants, and returns with mmap_lock held. User space
 * decides how long that takes, so the GPU space is left meanwhile. Once it can't be
 * entered again the span's notifier may be gone, but not the span.
 */
int uvm_mirror_look_first(struct uvm_gpu_space *gs, struct hmm_range *range,
			  struct uvm_mirror_request *req, unsigned long base,
			  const u8 *access)
{
	struct mm_struct *mm = gs->vs->mm;
	int ret, waited;

	uvm_gpu_space_leave(gs);
	mmap_read_lock(mm);
	waited = uvm_mirror_wait_for_user(gs->vs, base, access);
	/* From here on the lock is kept, until uvm_mirror_look_again() is over. */
	req->any_managed = uvm_managed_mask(mm, base, req->managed);
	ret = waited < 0 ? waited : uvm_mirror_fault_in(range, req, base, access);
	if (!ret && req->any_managed)
		ret = uvm_managed_make_ready(mm, base, access, gs->gpu);
	/* What was provided may be gone again. */
	if (ret == -EFAULT && waited > 0)
		ret = -EBUSY;
	if (!uvm_gpu_space_enter(gs))
		ret = -ESRCH;
	if (ret)
		mmap_read_unlock(mm);
	return ret;
}

/* Nobody relies on what a snapshot saw. */
static bool uvm_snapshot_invalidate(struct mmu_interval_notifier *mni,
				    const struct mmu_notifier_range *range,
				    unsigned long cur_seq)
{
	mmu_interval_set_seq(mni, cur_seq);
	return true;
}

const struct mmu_interval_notifier_ops uvm_snapshot_ops = {
	.invalidate = uvm_snapshot_invalidate,
};

static int uvm_mirror_look(struct uvm_va_space *vs, unsigned long start,
			   unsigned long npages, unsigned long *pfns,
			   unsigned long flags)
{
	struct hmm_range range = {
		.notifier = &vs->snapshot,
		.notifier_seq = mmu_interval_read_begin(&vs->snapshot),
		.start = start,
		.end = start + npages * PAGE_SIZE,
		.hmm_pfns = pfns,
		.default_flags = flags,
		.dev_private_owner = UVM_PGMAP_OWNER,
	};

	lockdep_assert_held(&vs->mm->mmap_lock);
	memset(pfns, 0, npages * sizeof(*pfns));
	return hmm_range_fault(&range);
}

/* What the CPU's page table doesn't tell, those know whose memory it is. */
static void uvm_mirror_lay_over(struct uvm_va_space *vs, unsigned long start,
				unsigned long npages, unsigned long *pfns,
				const struct uvm_gpu *near)
{
	unsigned long first, last, end = start + npages * PAGE_SIZE;
	const struct uvm_range_ops *ops;
	struct vm_area_struct *vma;

	VMA_ITERATOR(vmi, vs->mm, start);

	for_each_vma_range(vmi, vma, end) {
		ops = uvm_range_ops_of(vma);
		if (!ops->look)
			continue;
		first = max(vma->vm_start, start);
		last = min(vma->vm_end, end);
		ops->look(vma, first, (last - first) >> PAGE_SHIFT,
			  pfns + ((first - start) >> PAGE_SHIFT), near);
	}
}

/* Is there nothing but memory of which the CPU's page table need not be asked? */
static bool uvm_mirror_is_laid_over(struct uvm_va_space *vs, unsigned long start,
				    unsigned long npages)
{
	unsigned long end = start + npages * PAGE_SIZE;
	struct vm_area_struct *vma;

	VMA_ITERATOR(vmi, vs->mm, start);

	for_each_vma_range(vmi, vma, end) {
		if (vma->vm_start > start || !(vma->vm_flags & VM_READ) ||
		    !uvm_vma_is_managed(vma) || !uvm_managed_vs(vma))
			return false;
		start = vma->vm_end;
	}
	return start >= end;
}

/**
 * uvm_mirror_snapshot() - look where pages are
 * @vs: VA space whose mm is retained and whose mmap_lock is held for reading
 * @start: first address
 * @npages: number of pages
 * @pfns: HMM entries to fill
 * @near: of a page that is in several places, the one in this GPU's memory is meant, or
 *	else that of the CPU; NULL for the CPU
 *
 * Populates nothing and promises nothing: by the time it returns, pages may have
 * been moved or freed, so the caller must not touch them. Page frames tell enough.
 *
 * Return: 0 or -EBUSY.
 */
int uvm_mirror_snapshot(struct uvm_va_space *vs, unsigned long start,
			unsigned long npages, unsigned long *pfns,
			const struct uvm_gpu *near)
{
	int ret = 0;

	if (uvm_mirror_is_laid_over(vs, start, npages))
		memset(pfns, 0, npages * sizeof(*pfns));
	else
		ret = uvm_mirror_look(vs, start, npages, pfns, 0);
	if (!ret)
		uvm_mirror_lay_over(vs, start, npages, pfns, near);
	return ret;
}

/**
 * uvm_mirror_populate() - make pages present in the CPU's page table
 * @vs: VA space whose mm is retained and whose mmap_lock is held for reading
 * @start: first address
 * @npages: number of pages
 * @pfns: room for HMM entries
 * @write: they must be real pages, not the zero page
 *
 * Waits for pages, so the caller has none locked. Stops at the first page that
 * can't be had; that is no error here.
 */
void uvm_mirror_populate(struct uvm_va_space *vs, unsigned long start,
			 unsigned long npages, unsigned long *pfns, bool write)
{
	uvm_mirror_look(vs, start, npages, pfns,
			HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0));
}
