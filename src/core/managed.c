// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Managed ranges
 *
 * Owns the mappings of a VA space's file: memory that the driver itself provides, and so
 * may move as it likes. The offset in the file is the address, so there is one place for
 * each page, and one page for each place; block.c has them. There is no object for a
 * range: a range is a VMA of ours, and what user space wants for it is a policy as for any
 * other memory.
 *
 * Each open file has an address_space of its own, that of an inode which nobody else knows.
 * unmap_mapping_range() on it finds the mappings of this VA space, and by the MMU notifier
 * whatever GPUs have mapped there.
 *
 * Core writes the CPU's entries, for pages that uvm_managed_fault() returns; the first
 * store to a page has to be granted by uvm_managed_page_mkwrite(). So they are entries like
 * those of any file, that system calls can get pages from.
 *
 * A mapping has its own place in its own mm, or it is worth nothing: a child's, which
 * MADV_DOFORK makes possible, faults; mremap() moves none.
 */
#include "managed.h"

#include <linux/hmm.h>
#include <linux/memcontrol.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/mm.h>

#define UVM_FS_MAGIC		0x75766d66

/* So often a fault looks at a page that others keep changing, before core does again. */
#define UVM_MANAGED_TRIES	16

/* ---- files ---- */

static int uvm_fs_init_context(struct fs_context *fc)
{
	return init_pseudo(fc, UVM_FS_MAGIC) ? 0 : -ENOMEM;
}

/*
 * For inodes only: nobody else can mount it. It is there as long as the module, and so
 * keeps no reference to it.
 */
static struct file_system_type uvm_fs = {
	.name = "uvm",
	.init_fs_context = uvm_fs_init_context,
	.kill_sb = kill_anon_super,
};

static struct vfsmount *uvm_fs_mount;

int uvm_managed_mount(void)
{
	uvm_fs_mount = kern_mount(&uvm_fs);
	return PTR_ERR_OR_ZERO(uvm_fs_mount);
}

/* No file is open, and inodes go with their files. */
void uvm_managed_unmount(void)
{
	kern_unmount(uvm_fs_mount);
}

/**
 * uvm_managed_open() - give a file an address_space of its own
 * @file: new
 * @filp: it
 *
 * Return: 0 or -ENOMEM.
 */
int uvm_managed_open(struct uvm_file *file, struct file *filp)
{
	struct inode *inode = alloc_anon_inode(uvm_fs_mount->mnt_sb);

	if (IS_ERR(inode))
		return PTR_ERR(inode);
	/* Core maps huge pages within the file only. */
	i_size_write(inode, MAX_LFS_FILESIZE);
	file->inode = inode;
	filp->f_mapping = inode->i_mapping;
	return 0;
}

/* The file is mapped no more. */
void uvm_managed_release(struct uvm_file *file)
{
	iput(file->inode);
}

void uvm_managed_init(struct uvm_va_space *vs)
{
	xa_init(&vs->managed.blocks);
}

void uvm_managed_fini(struct uvm_va_space *vs)
{
	WARN_ON_ONCE(atomic_long_read(&vs->managed.cpu_pages));
	WARN_ON_ONCE(!xa_empty(&vs->managed.blocks));
	xa_destroy(&vs->managed.blocks);
}

/* ---- whose mapping is it? ---- */

static const struct vm_operations_struct uvm_managed_vm_ops;

bool uvm_vma_is_managed(const struct vm_area_struct *vma)
{
	return vma->vm_ops == &uvm_managed_vm_ops;
}

/**
 * uvm_managed_vs() - the VA space that a mapping is of
 * @vma: VMA that is managed; its mmap_lock is held, or it is being closed
 *
 * Return: NULL if it maps nothing: it is a child's, or not at its place.
 */
struct uvm_va_space *uvm_managed_vs(const struct vm_area_struct *vma)
{
	const struct uvm_file *file = vma->vm_file->private_data;
	struct uvm_va_space *vs = file->vs;

	if (vma->vm_mm != vs->mm || vma->vm_pgoff != vma->vm_start >> PAGE_SHIFT)
		return NULL;
	return vs;
}

/* ---- CPU faults ---- */

/*
 * Waits for the move that a page is in. Others may have mmap_lock meanwhile, if core is to
 * take the fault again then. The file keeps the VA space, and that the block.
 *
 * Return: 0 if the fault may look again.
 */
static vm_fault_t uvm_managed_wait(struct vm_fault *vmf, struct uvm_block *block)
{
	unsigned int i = uvm_block_index(vmf->address);
	struct file *filp;

	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY)) {
		uvm_block_wait_idle(block, i, i + 1, false);
		uvm_block_put(block);
		return 0;
	}
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT) {
		uvm_block_put(block);
		return VM_FAULT_RETRY;
	}
	filp = get_file(vmf->vma->vm_file);
	mmap_read_unlock(vmf->vma->vm_mm);
	/* Who is killed is told by core. */
	uvm_block_wait_idle(block, i, i + 1, true);
	uvm_block_put(block);
	fput(filp);
	return VM_FAULT_RETRY;
}

/*
 * Memory that is read mostly, or belongs to the CPU, comes there when it is touched, also
 * from where the CPU could use it.
 */
static bool uvm_managed_stays(struct uvm_va_space *vs, unsigned long addr)
{
	unsigned long first, last;
	struct uvm_policy policy;

	uvm_policies_lookup(&vs->policies, addr, &policy, &first, &last);
	return policy.dest_kind != UVM_DEST_CPU && policy.dest_kind != UVM_DEST_CPU_NODE &&
	       !(uvm_policy_switches(&policy) & UVM_POLICY_READ_MOSTLY);
}

/*
 * The page to core, which maps it. It is locked until it is mapped, so that a move that
 * begins meanwhile can wait for that. What is a GPU's and was discarded is needed again.
 * 0: there is none that may be mapped.
 */
static vm_fault_t uvm_managed_hand_out(struct vm_fault *vmf, struct uvm_block *block)
{
	unsigned int i = uvm_block_index(vmf->address);
	struct page *page = uvm_block_cpu_page(block, i);
	struct uvm_block_gpu *bg;

	lockdep_assert_held(&block->lock);
	if (!page)
		return 0;
	if (!test_bit(i, block->cpu)) {
		if (!uvm_managed_stays(block->vs, vmf->address))
			return 0;
		bg = uvm_block_gpu_of_page(block, i, NULL);
		uvm_resident_revive(bg->gpu, bg->index[i], 1);
	}
	/* Core would look for other entries of it by its mapping, which it doesn't have. */
	if (PageHWPoison(page))
		return VM_FAULT_HWPOISON;
	get_page(page);
	lock_page(page);
	vmf->page = page;
	return VM_FAULT_LOCKED;
}

/*
 * A page that a GPU held just now comes home. If the GPU goes away meanwhile, it is there
 * until we are through.
 */
static vm_fault_t uvm_managed_fetch(struct vm_fault *vmf, struct uvm_block *block)
{
	unsigned int i = uvm_block_index(vmf->address);
	struct uvm_block_gpu *bg;
	struct uvm_gpu *gpu;
	vm_fault_t ret = 0;
	int srcu;

	uvm_delay(UVM_DELAY_CPU_FAULT);
	srcu = uvm_mirror_look_begin();
	mutex_lock(&block->lock);
	bg = uvm_block_gpu_of_page(block, i, NULL);
	gpu = bg ? bg->gpu : NULL;
	mutex_unlock(&block->lock);
	if (gpu)
		ret = uvm_managed_home(vmf, gpu);
	uvm_mirror_look_end(srcu);
	return ret;
}

/* One look at the page. 0: look again. Puts the block. */
static vm_fault_t uvm_managed_fault_block(struct vm_fault *vmf, struct uvm_block *block)
{
	unsigned int i = uvm_block_index(vmf->address);
	vm_fault_t ret;
	bool away;

	mutex_lock(&block->lock);
	if (uvm_block_is_busy(block, i, i + 1)) {
		mutex_unlock(&block->lock);
		return uvm_managed_wait(vmf, block);
	}
	away = uvm_block_gpu_of_page(block, i, NULL);
	ret = uvm_managed_hand_out(vmf, block);
	mutex_unlock(&block->lock);
	if (ret)
		uvm_delay(UVM_DELAY_MANAGED);
	else if (away)
		ret = uvm_managed_fetch(vmf, block);
	else if (uvm_block_populate_vma(block, i, vmf->vma))
		ret = VM_FAULT_OOM;
	uvm_block_put(block);
	return ret;
}

static vm_fault_t uvm_managed_do_fault(struct vm_fault *vmf, struct uvm_va_space *vs)
{
	struct uvm_block *block;
	vm_fault_t ret = 0;
	int tries;

	for (tries = 0; !ret && tries < UVM_MANAGED_TRIES; tries++) {
		block = uvm_block_get(vs, vmf->address, true);
		if (!block)
			return VM_FAULT_OOM;
		ret = uvm_managed_fault_block(vmf, block);
	}
	return ret ?: VM_FAULT_NOPAGE;
}

/*
 * A CPU touches a page that its page table doesn't have, or somebody does it for another
 * process. What is allocated is charged to the process whose memory it is.
 */
static vm_fault_t uvm_managed_fault(struct vm_fault *vmf)
{
	struct uvm_va_space *vs = uvm_managed_vs(vmf->vma);
	struct mem_cgroup *memcg, *old;
	vm_fault_t ret;

	if (!vs)
		return VM_FAULT_SIGBUS;
	memcg = get_mem_cgroup_from_mm(vs->mm);
	old = set_active_memcg(memcg);
	ret = uvm_managed_do_fault(vmf, vs);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	return ret;
}

/* Locked: is it the page of the block that core has mapped, or is about to? */
static bool uvm_managed_may_write(struct vm_fault *vmf, struct uvm_block *block)
{
	return uvm_block_cpu_page(block, uvm_block_index(vmf->address)) == vmf->page;
}

/*
 * The first store to a page since it was mapped. It may have moved since core had it from
 * us: then core looks again. Copies of it that GPUs have go. The page returns locked, for
 * the reason above.
 *
 * Of a page in a move the entry goes now, as it would soon. So the store, which core lets
 * happen again at once, becomes a fault that waits, without a reference to the page.
 */
static vm_fault_t uvm_managed_page_mkwrite(struct vm_fault *vmf)
{
	struct uvm_va_space *vs = uvm_managed_vs(vmf->vma);
	unsigned int i = uvm_block_index(vmf->address);
	struct uvm_block *block;
	vm_fault_t ret = VM_FAULT_NOPAGE;

	if (!vs)
		return VM_FAULT_SIGBUS;
	block = uvm_block_get(vs, vmf->address, false);
	if (!block)
		return VM_FAULT_NOPAGE;
	mutex_lock(&block->lock);
	if (uvm_block_is_busy(block, i, i + 1)) {
		uvm_block_unmap(block, i, i + 1);
	} else if (uvm_managed_may_write(vmf, block)) {
		if (uvm_block_is_shared(block, i))
			uvm_block_collapse(block, i, i + 1, NULL);
		lock_page(vmf->page);
		ret = VM_FAULT_LOCKED;
	}
	mutex_unlock(&block->lock);
	uvm_block_put(block);
	return ret;
}

/* ---- mappings come and go ---- */

/*
 * The addresses end, whole or in part, and core has unmapped them. What isn't at its place
 * never had pages; nor has half a mapping that core failed to split, which is empty.
 */
static void uvm_managed_close(struct vm_area_struct *vma)
{
	struct uvm_va_space *vs = uvm_managed_vs(vma);
	unsigned long addr, next;
	struct uvm_block *block;

	if (!vs)
		return;
	for (addr = vma->vm_start; addr < vma->vm_end; addr = next) {
		block = uvm_block_next(vs, &addr, vma->vm_end);
		if (!block)
			break;
		next = min(block->base + UVM_BLOCK_SIZE, vma->vm_end);
		uvm_block_drop(block, uvm_block_index(addr), uvm_block_index(next - 1) + 1);
		uvm_block_put(block);
		cond_resched();
	}
}

/* .get_unmapped_area has refused it before anything was moved. */
static int uvm_managed_mremap(struct vm_area_struct *vma)
{
	return -EINVAL;
}

static const struct vm_operations_struct uvm_managed_vm_ops = {
	.close = uvm_managed_close,
	.mremap = uvm_managed_mremap,
	.fault = uvm_managed_fault,
	.page_mkwrite = uvm_managed_page_mkwrite,
};

/* May this process map this file at all? */
static int uvm_managed_check(struct file *filp)
{
	struct uvm_file *file = filp->private_data;
	int ret;

	if ((filp->f_mode & (FMODE_READ | FMODE_WRITE)) != (FMODE_READ | FMODE_WRITE))
		return -EACCES;
	if (uvm_file_kind(file) != UVM_FILE_VA_SPACE)
		return -EBADFD;
	if (!file->vs->mm)
		return -EOPNOTSUPP;
	if (file->vs->mm != current->mm)
		return -EPERM;
	ret = uvm_mm_retain(file->vs);
	if (!ret)
		uvm_mm_release(file->vs);
	return ret;
}

/**
 * uvm_managed_get_unmapped_area() - where a mapping goes
 * @filp: the file
 * @addr: what the caller wants, or 0
 * @len: bytes
 * @pgoff: offset in the file, in pages: the only place there is
 * @flags: MAP_*
 *
 * Also asked by mremap() and remap_file_pages(), and before anything is done: so what is
 * refused here leaves no trace.
 *
 * Return: the address; -EACCES, -EBADFD, -EOPNOTSUPP, -EPERM or -ESRCH if the file can't be
 * mapped; -EINVAL for another address; -EEXIST if something is there, unless it is to go.
 */
unsigned long uvm_managed_get_unmapped_area(struct file *filp, unsigned long addr,
					    unsigned long len, unsigned long pgoff,
					    unsigned long flags)
{
	unsigned long want = pgoff << PAGE_SHIFT;
	int ret = uvm_managed_check(filp);

	if (ret)
		return ret;
	if (!want || (addr && addr != want) || (!addr && flags & MAP_FIXED))
		return -EINVAL;
	/* Core says -ENOMEM. */
	if (want > TASK_SIZE - len)
		return want;
	if (!(flags & MAP_FIXED) && find_vma_intersection(current->mm, want, want + len))
		return -EEXIST;
	return want;
}

/**
 * uvm_managed_mmap() - mmap() of a VA space's file
 * @filp: the file
 * @vma: new
 *
 * Memory is there when it is touched first.
 *
 * Return: 0; what uvm_managed_get_unmapped_area() says of the file; or -EINVAL if it isn't
 * shared, for reading and writing only, at its place.
 */
int uvm_managed_mmap(struct file *filp, struct vm_area_struct *vma)
{
	const unsigned long rights = VM_READ | VM_WRITE | VM_EXEC | VM_SHARED;
	int ret = uvm_managed_check(filp);

	if (ret)
		return ret;
	if ((vma->vm_flags & rights) != (VM_READ | VM_WRITE | VM_SHARED) ||
	    vma->vm_pgoff != vma->vm_start >> PAGE_SHIFT)
		return -EINVAL;
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND);
	vm_flags_clear(vma, VM_MAYEXEC);
	vma->vm_ops = &uvm_managed_vm_ops;
	return 0;
}

/* ---- where pages are ---- */

/* Has the CPU all of the block, as one piece of memory, and nobody else any of it? */
static bool uvm_block_is_piece(struct uvm_block *block)
{
	unsigned int i;

	lockdep_assert_held(&block->lock);
	if (!bitmap_full(block->cpu, UVM_BLOCK_PAGES) || !list_empty(&block->gpus) ||
	    !IS_ALIGNED(page_to_pfn(block->page[0]), UVM_BLOCK_PAGES))
		return false;
	for (i = 1; i < UVM_BLOCK_PAGES; i++)
		if (block->page[i] != block->page[0] + i)
			return false;
	return true;
}

static void uvm_managed_look_block(struct uvm_block *block, unsigned int first,
				   unsigned int nr, unsigned long flags,
				   unsigned long *pfns, const struct uvm_gpu *near)
{
	unsigned int i;

	mutex_lock(&block->lock);
	if (nr == UVM_BLOCK_PAGES && uvm_block_is_piece(block))
		flags |= UVM_HMM_WHOLE;
	for (i = 0; i < nr; i++) {
		pfns[i] = uvm_block_pfn(block, first + i, near);
		if (pfns[i])
			pfns[i] |= flags;
	}
	mutex_unlock(&block->lock);
}

/**
 * uvm_managed_look() - &uvm_range_ops.look
 * @vma: managed
 * @start: first address
 * @npages: number of pages
 * @pfns: what the CPU's page table says, which isn't all
 * @near: the one of several holders that is meant
 */
void uvm_managed_look(struct vm_area_struct *vma, unsigned long start, unsigned long npages,
		      unsigned long *pfns, const struct uvm_gpu *near)
{
	struct uvm_va_space *vs = uvm_managed_vs(vma);
	unsigned long nr, end = start + npages * PAGE_SIZE, flags = 0;
	struct uvm_block *block;

	if (vma->vm_flags & VM_READ)
		flags |= HMM_PFN_VALID;
	if (vma->vm_flags & VM_WRITE)
		flags |= HMM_PFN_WRITE;
	for (; vs && start < end; start += nr * PAGE_SIZE, pfns += nr) {
		nr = (min(ALIGN(start + 1, UVM_BLOCK_SIZE), end) - start) >> PAGE_SHIFT;
		block = uvm_block_get(vs, start, false);
		if (!block)
			continue;
		uvm_managed_look_block(block, uvm_block_index(start), nr, flags, pfns, near);
		uvm_block_put(block);
	}
}
