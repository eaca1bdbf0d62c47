// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: CPU faults in private memory
 *
 * Owns what happens when a CPU touches a page that only a GPU can reach: the page comes
 * home, and a window around it; ordinary memory (uvm_migrate_to_ram()) as well as managed
 * (uvm_managed_home()). A window of several blocks keeps two CPUs busy: its
 * second half is a work, which the fault does itself if nobody has begun it by then.
 *
 * A huge page comes as a whole, or not at all: core can't split it for the fault, which
 * has a reference to it. So if there is no huge page for it in system memory, if it is
 * shared since a fork, or if its mm has no VA space (zaps.c), a work brings a part of it
 * home, for which core splits it, and the fault is taken again. It keeps the page for
 * moments only until then, so the work finds one when it doesn't.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/cpuset.h>
#include <linux/delay.h>
#include <linux/migrate.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "managed.h"
#include "move.h"

/* So often it is tried, if the copy fails, before the process is told. */
#define UVM_CPU_FAULT_TRIES	3

/* While an engine copies so much, the CPU sets the next up. */
#define UVM_CPU_FAULT_PIECE	((unsigned long)SZ_512K)

/* So often a work tries to split a page; the fault then begins another one. */
#define UVM_SPLIT_TRIES		256

/**
 * struct uvm_split - a huge page that is to be split
 * @work: does it
 * @link: in uvm_splits
 * @mm: where it is mapped; mmgrab()bed
 * @base: its address there
 */
struct uvm_split {
	struct work_struct work;
	struct list_head link;
	struct mm_struct *mm;
	unsigned long base;
};

static DEFINE_SPINLOCK(uvm_splits_lock);
static LIST_HEAD(uvm_splits);

/* Returns true if nothing is left to do. */
static bool uvm_split_try(const struct uvm_split *split)
{
	struct vm_area_struct *vma;
	long moved = 1;

	if (!mmap_read_trylock(split->mm))
		return false;
	vma = vma_lookup(split->mm, split->base);
	if (vma && vma->vm_end - split->base >= UVM_BLOCK_SIZE)
		moved = uvm_migrate_home(vma, split->base,
					 split->base + UVM_WINDOW_MIN, UVM_ANY_GPU);
	mmap_read_unlock(split->mm);
	/* What could not be copied is split all the same. */
	return moved && moved != -ENOMEM;
}

static void uvm_split_work(struct work_struct *work)
{
	struct uvm_split *split = container_of(work, struct uvm_split, work);
	int tries = UVM_SPLIT_TRIES;

	if (mmget_not_zero(split->mm)) {
		while (!uvm_split_try(split) && --tries)
			usleep_range(20, 50);
		mmput_async(split->mm);
	}
	spin_lock(&uvm_splits_lock);
	list_del(&split->link);
	spin_unlock(&uvm_splits_lock);
	mmdrop(split->mm);
	kfree(split);
	module_put(THIS_MODULE);
}

static bool uvm_split_is_pending(const struct mm_struct *mm, unsigned long base)
{
	const struct uvm_split *split;

	lockdep_assert_held(&uvm_splits_lock);
	list_for_each_entry(split, &uvm_splits, link)
		if (split->mm == mm && split->base == base)
			return true;
	return false;
}

/* Returns true if a work is under way for the page now. */
static bool uvm_split_begin(struct mm_struct *mm, unsigned long base)
{
	struct uvm_split *split = kmalloc(sizeof(*split), GFP_KERNEL);
	bool pending;

	if (!split)
		return false;
	INIT_WORK(&split->work, uvm_split_work);
	split->mm = mm;
	split->base = base;
	spin_lock(&uvm_splits_lock);
	pending = uvm_split_is_pending(mm, base);
	if (!pending) {
		mmgrab(mm);
		/* There is a page of ours, so we are loaded. */
		__module_get(THIS_MODULE);
		list_add(&split->link, &uvm_splits);
		queue_work(uvm_evacuate_wq, &split->work);
	}
	spin_unlock(&uvm_splits_lock);
	if (pending)
		kfree(split);
	return true;
}

/* Is somebody about to split the page? Then the fault isn't to keep it. */
static bool uvm_split_awaited(const struct mm_struct *mm, unsigned long base)
{
	bool pending;

	spin_lock(&uvm_splits_lock);
	pending = uvm_split_is_pending(mm, base);
	spin_unlock(&uvm_splits_lock);
	return pending;
}

/*
 * Has the fault taken again. mmap_lock goes first if it may, so that others get it
 * meanwhile; some callers want to keep it, whatever we return, see
 * &enum fault_flag.FAULT_FLAG_RETRY_NOWAIT.
 */
static vm_fault_t uvm_fault_again(struct vm_fault *vmf)
{
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY))
		return 0;
	if (!(vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
		mmap_read_unlock(vmf->vma->vm_mm);
	return VM_FAULT_RETRY;
}

/*
 * What a CPU fault gets. A page that was not collected, or lost a race, is no
 * error: the fault is taken again if it is still needed. SIGBUS is for a device that
 * can't give the page back, not for the want of memory.
 */
static vm_fault_t uvm_move_fault_result(struct uvm_move *mv, unsigned long address)
{
	unsigned long bit = (address - mv->base) >> PAGE_SHIFT;

	if (test_bit(bit, mv->moved))
		return 0;
	if (test_bit(bit, mv->starved) || mv->error == -ENOMEM)
		return VM_FAULT_OOM;
	return mv->error ? VM_FAULT_SIGBUS : 0;
}

/**
 * struct uvm_homecoming - a window on its way home, in pieces
 * @vmf: the fault
 * @gpu: that has the page
 * @dest: where its pages go, and those of no other GPU
 * @huge: it is a huge page
 * @start: first byte of the window
 * @end: the byte after its last one
 * @work: has it done by another CPU, while the fault that waits for it has mmap_lock
 * @done: somebody does it, or did
 * @failed: a copy did
 * @moves: two pieces, so that one is set up while the other is copied; or just one
 * @result: what the fault gets, so far
 */
struct uvm_homecoming {
	struct vm_fault *vmf;
	struct uvm_gpu *gpu;
	struct uvm_target dest;
	bool huge;
	unsigned long start;
	unsigned long end;
	struct work_struct work;
	bool done;
	bool failed;
	struct uvm_move *moves[2];
	vm_fault_t result;
};

/* Where the piece ends that begins at @addr. In another block there may be a huge page. */
static unsigned long uvm_home_piece(const struct uvm_homecoming *home,
				    unsigned long addr)
{
	unsigned long next = ALIGN(addr + 1, UVM_BLOCK_SIZE);

	if (!home->huge && home->vmf->address >= next - UVM_BLOCK_SIZE)
		next = min(next, addr + UVM_CPU_FAULT_PIECE);
	return min(next, home->end);
}

/* Does the piece have the page that the fault is about? */
static bool uvm_home_has_fault(const struct uvm_homecoming *home,
			       const struct uvm_move *mv)
{
	return home->vmf->address - mv->base < mv->npages << PAGE_SHIFT;
}

static void uvm_home_begin(struct uvm_homecoming *home, struct uvm_move *mv,
			   unsigned long start, unsigned long end)
{
	struct vm_fault *vmf = home->vmf;
	bool has_fault;
	int ret;

	uvm_move_reset(mv, start, end);
	has_fault = uvm_home_has_fault(home, mv);
	ret = uvm_move_begin(mv, vmf->vma, start, end, MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
			     &home->dest, has_fault ? vmf->page : NULL);
	mv->under_way = !ret;
	if (has_fault && ret == -ENOMEM)
		home->result = VM_FAULT_OOM;
}

static void uvm_home_end(struct uvm_homecoming *home, struct uvm_move *mv)
{
	if (!mv->under_way)
		return;
	mv->under_way = false;
	uvm_move_end(mv, &home->dest);
	home->failed |= mv->error;
	uvm_stats_add(&home->gpu->stats, UVM_STAT_CPU_MOVED,
		      bitmap_weight(mv->moved, mv->npages));
	if (uvm_home_has_fault(home, mv))
		home->result = uvm_move_fault_result(mv, home->vmf->address &
						     PAGE_MASK);
}

/*
 * Is the next piece worth while? The first one has the page of the fault. Each copy by
 * an engine that hangs takes its time, so the first that fails is the last.
 */
static bool uvm_home_goes_on(const struct uvm_homecoming *home, unsigned long addr)
{
	if (addr == home->start)
		return true;
	return addr < home->end && !home->failed && !fatal_signal_pending(current) &&
	       !mmap_lock_is_contended(home->vmf->vma->vm_mm);
}

/* All of the window; what doesn't make it stays. */
static void uvm_home_move(struct uvm_homecoming *home)
{
	unsigned long addr, next;
	unsigned int i = 0;

	home->failed = false;
	for (addr = home->start; uvm_home_goes_on(home, addr); addr = next, i = !i) {
		next = uvm_home_piece(home, addr);
		uvm_home_end(home, home->moves[i]);
		uvm_home_begin(home, home->moves[i], addr, next);
	}
	if (home->moves[i])
		uvm_home_end(home, home->moves[i]);
	uvm_home_end(home, home->moves[!i]);
}

static bool uvm_home_alloc(struct uvm_homecoming *home)
{
	unsigned long first = uvm_home_piece(home, home->start) - home->start;

	if (home->start + first == home->end) {
		home->moves[0] = uvm_move_alloc(first >> PAGE_SHIFT);
		return home->moves[0];
	}
	home->moves[0] = uvm_move_alloc(UVM_BLOCK_PAGES);
	home->moves[1] = uvm_move_alloc(UVM_BLOCK_PAGES);
	return home->moves[0] && home->moves[1];
}

static void uvm_home_free(struct uvm_homecoming *home)
{
	uvm_move_free(home->moves[1]);
	uvm_move_free(home->moves[0]);
}

/* The part of the window with the fault in it. */
static vm_fault_t uvm_home_run(struct uvm_homecoming *home)
{
	int tries = UVM_CPU_FAULT_TRIES;

	home->result = uvm_home_alloc(home) ? VM_FAULT_SIGBUS : VM_FAULT_OOM;
	while (tries-- && home->result == VM_FAULT_SIGBUS)
		uvm_home_move(home);
	uvm_home_free(home);
	return home->result;
}

/* The part without. */
static void uvm_home_rest(struct uvm_homecoming *home)
{
	home->done = true;
	if (uvm_home_alloc(home))
		uvm_home_move(home);
	uvm_home_free(home);
}

/*
 * The fault has mmap_lock, and keeps the VMA; but core wants to see it taken by whoever
 * walks its page tables. Somebody may wait to write: then it can't be had twice.
 */
static void uvm_home_work(struct work_struct *work)
{
	struct uvm_homecoming *home =
		container_of(work, struct uvm_homecoming, work);
	struct mm_struct *mm = home->vmf->vma->vm_mm;

	if (!mmap_read_trylock(mm))
		return;
	uvm_home_rest(home);
	mmap_read_unlock(mm);
}

/*
 * Would a work get memory from where the task gets it, and the way that it does? It has
 * neither the task's policy nor its cpuset, nor what bars it from reclaim.
 */
static bool uvm_home_may_share(void)
{
	const unsigned int bars = PF_MEMALLOC | PF_MEMALLOC_NOIO | PF_MEMALLOC_NOFS;

#ifdef CONFIG_NUMA
	if (current->mempolicy)
		return false;
#endif
	return num_online_cpus() > 1 && !(current->flags & bars) &&
	       nodes_subset(node_states[N_MEMORY], cpuset_current_mems_allowed);
}

/* All of the window, by two CPUs if it is large. */
static vm_fault_t uvm_home_share(struct uvm_homecoming *home)
{
	unsigned long half = ALIGN(home->start / 2 + home->end / 2, UVM_BLOCK_SIZE);
	struct uvm_homecoming rest = *home;
	vm_fault_t ret;

	if (half >= home->end || half <= home->vmf->address || !uvm_home_may_share())
		return uvm_home_run(home);
	INIT_WORK_ONSTACK(&rest.work, uvm_home_work);
	rest.start = half;
	home->end = half;
	queue_work(uvm_evacuate_wq, &rest.work);
	ret = uvm_home_run(home);
	if (!cancel_work(&rest.work))
		flush_work(&rest.work);
	destroy_work_on_stack(&rest.work);
	if (!rest.done)
		uvm_home_rest(&rest);
	return ret;
}

/*
 * Is the page mapped alone, but part of a large folio? Core splits that for the fault,
 * which has its lock. Of a window with more of it, core takes its first page for locked
 * when it no longer is; and where the split fails, a piece without the page of the fault
 * waits for the lock of the folio, that is, for us.
 */
static bool uvm_fault_is_of_part(const struct vm_fault *vmf)
{
	return vmf->page && vmf->pte && PageCompound(vmf->page);
}

/*
 * The window around the page. Others in it may be where they have to stay; but not in
 * the same huge page.
 */
static void uvm_home_window(struct uvm_homecoming *home, unsigned long base)
{
	struct vm_area_struct *vma = home->vmf->vma;
	unsigned long addr = home->huge ? base : home->vmf->address & PAGE_MASK;

	if (uvm_fault_is_of_part(home->vmf)) {
		home->start = addr;
		home->end = addr + PAGE_SIZE;
		return;
	}
	uvm_window_get(&home->gpu->windows, vma, addr,
		       home->huge ? UVM_BLOCK_SIZE : UVM_WINDOW_MIN,
		       &home->start, &home->end);
	uvm_advise_clip(vma->vm_mm, addr, &home->start, &home->end);
	if (home->huge) {
		home->start = base;
		home->end = max(home->end, base + UVM_BLOCK_SIZE);
	}
}

/* Is it mapped as a whole? Older kernels have no such private pages. */
static bool uvm_fault_is_huge(const struct vm_fault *vmf)
{
	return !vmf->pte && PageHead(vmf->page);
}

/**
 * uvm_migrate_to_ram() - a CPU touched a private page
 * @vmf: the fault
 *
 * Brings back a window around it. A copy fails also when its engine is reset for
 * the sake of another batch that hangs, and the page is still good: so it is tried
 * again. Takes no lock of ours but those of the copy engine and of the allocators.
 * Called by core mm with mmap_lock held.
 *
 * Return: 0 if the fault should be looked at again; VM_FAULT_RETRY if it should,
 * too, and mmap_lock is dropped, if the fault's flags allow that; VM_FAULT_OOM; or
 * VM_FAULT_SIGBUS if the device can't give the page back.
 */
vm_fault_t uvm_migrate_to_ram(struct vm_fault *vmf)
{
	unsigned long base = ALIGN_DOWN(vmf->address, UVM_BLOCK_SIZE);
	struct mm_struct *mm = vmf->vma->vm_mm;
	struct uvm_homecoming home = {
		.vmf = vmf,
		.gpu = uvm_gpu_of_page(vmf->page),
		.dest = uvm_target_home,
		.huge = uvm_fault_is_huge(vmf),
	};
	vm_fault_t ret;

	uvm_delay(UVM_DELAY_CPU_FAULT);
	home.dest.from = home.gpu->id;
	if (home.huge && uvm_split_awaited(mm, base))
		return uvm_fault_again(vmf);
	/* Core doesn't split it for a fault: somebody else has to. */
	if (UVM_HUGE_MOVES && home.huge &&
	    !uvm_huge_may_move(vmf->vma, base, vmf->page, NULL))
		return uvm_split_begin(mm, base) ? uvm_fault_again(vmf) : VM_FAULT_OOM;
	uvm_home_window(&home, base);
	ret = uvm_home_share(&home);
	/* Core mm holds the page, and that its GPU. */
	uvm_stats_add(&home.gpu->stats, UVM_STAT_CPU_FAULTS, 1);
	if (ret == VM_FAULT_OOM && home.huge && uvm_split_begin(mm, base))
		return uvm_fault_again(vmf);
	return ret;
}

/**
 * uvm_managed_home() - a CPU touched a managed page that a GPU holds
 * @vmf: the fault
 * @gpu: the GPU; the caller is inside uvm_mirror_look_begin()
 *
 * As uvm_migrate_to_ram(). What comes along comes only if nobody is killed for it.
 *
 * Return: 0 if the fault should be looked at again, VM_FAULT_OOM or VM_FAULT_SIGBUS.
 */
vm_fault_t uvm_managed_home(struct vm_fault *vmf, struct uvm_gpu *gpu)
{
	struct uvm_homecoming home = {
		.vmf = vmf,
		.gpu = gpu,
		.dest = uvm_target_home,
	};
	vm_fault_t ret;

	home.dest.from = gpu->id;
	home.dest.may_stay = true;
	home.dest.duplicate = !(vmf->flags & FAULT_FLAG_WRITE);
	home.dest.needed = vmf->address & PAGE_MASK;
	uvm_home_window(&home, 0);
	ret = uvm_home_share(&home);
	uvm_stats_add(&gpu->stats, UVM_STAT_CPU_FAULTS, 1);
	return ret;
}
