// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Evacuation
 *
 * Brings pages home from a GPU that is unregistered or goes away. Always by the way
 * of UVM_MIGRATE: through the page table of an mm whose mmap_lock is held. By page
 * frame, without an mm, core mm can be made to look at an anon_vma that the exit of
 * the process has freed. A VMA under mmap_lock keeps the anon_vmas of its pages, also
 * of those that came from the parent by fork.
 *
 * For a process that unregisters a GPU that is its own mm. A GPU that goes away may
 * have pages anywhere: in children by fork, in processes that closed their files long
 * ago. So all mms are looked at: those of all tasks, and those that only our mm files
 * keep. What is in an mm without either is on its way out with it. Once the GPU's
 * memory is closed no page goes there any more, and an mm that was emptied stays so; a
 * task that forks is seen, or its child is. So rounds of that end.
 *
 * User space can hold its mmap_lock for as long as it likes, with a page fault that a
 * file system of its own serves. So each mm of a round is a work of its own, and one
 * that hangs delays its own pages only. It knows the GPU by id, and may outlast it.
 */
#include "core.h"

#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

/* Rounds over an address space, for pages that somebody had locked just then. */
#define UVM_EVACUATE_TRIES	4

/* Rounds over all of them that bring nothing home, before it is only waited. */
#define UVM_EVACUATE_IDLE	16

static bool uvm_vma_may_have_pages(const struct vm_area_struct *vma)
{
	return vma->anon_vma && !(vma->vm_flags & (VM_SPECIAL | VM_HUGETLB));
}

/* Blocks of a VMA until its end, or until others should have the lock. */
static unsigned long uvm_evacuate_vma(struct vm_area_struct *vma,
				      unsigned long addr, u32 gpu_id, u64 *moved)
{
	unsigned long next;
	long nr;

	addr = max(addr, vma->vm_start);
	while (addr < vma->vm_end) {
		next = min(vma->vm_end, ALIGN(addr + 1, UVM_BLOCK_SIZE));
		nr = uvm_migrate_home(vma, addr, next, gpu_id);
		if (nr > 0)
			*moved += nr;
		addr = next;
		if (need_resched() || mmap_lock_is_contended(vma->vm_mm) ||
		    fatal_signal_pending(current))
			break;
	}
	return addr;
}

/* Once through an mm that the caller keeps. Returns 0, or -EINTR if it was killed. */
static int uvm_evacuate_mm(struct mm_struct *mm, u32 gpu_id, u64 *moved)
{
	struct vm_area_struct *vma;
	unsigned long addr = 0;

	do {
		if (mmap_read_lock_killable(mm))
			return -EINTR;
		vma = find_vma(mm, addr);
		if (vma && uvm_vma_may_have_pages(vma))
			addr = uvm_evacuate_vma(vma, addr, gpu_id, moved);
		else if (vma)
			addr = vma->vm_end;
		mmap_read_unlock(mm);
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	} while (vma);
	return 0;
}

/**
 * uvm_evacuate_va_space() - bring home what the current process has on a GPU
 * @vs: a VA space of the current mm
 * @gpu_id: the GPU, which may be gone by now
 * @moved: pages that came home are added
 * @left: receives the pages that are there still
 *
 * Return: 0 or -EINTR; then @left is not known, and not written.
 */
int uvm_evacuate_va_space(struct uvm_va_space *vs, u32 gpu_id, u64 *moved,
			  u64 *left)
{
	int tries, ret;
	long nr;

	uvm_delay(UVM_DELAY_EVACUATE);
	for (tries = 0; tries < UVM_EVACUATE_TRIES; tries++) {
		ret = uvm_evacuate_mm(vs->mm, gpu_id, moved);
		if (ret)
			return ret;
		nr = uvm_resident_pages(vs, gpu_id);
		if (nr < 0)
			return nr;
		*left = nr;
		if (!nr)
			break;
	}
	return 0;
}

/* Remembers an mm, once. What can't be remembered now is seen in the next round. */
static void uvm_mms_add(struct xarray *mms, struct mm_struct *mm)
{
	unsigned long index = (unsigned long)mm / L1_CACHE_BYTES;

	if (!xa_insert(mms, index, mm, GFP_NOWAIT | __GFP_NOWARN))
		mmgrab(mm);
}

static void uvm_mms_add_task(struct xarray *mms, struct task_struct *task)
{
	task_lock(task);
	if (task->mm && !(task->flags & PF_KTHREAD))
		uvm_mms_add(mms, task->mm);
	task_unlock(task);
}

static void uvm_mms_collect(struct xarray *mms)
{
	struct task_struct *process, *task;
	struct uvm_va_space *vs;
	u32 id = 0;

	rcu_read_lock();
	for_each_process_thread(process, task)
		uvm_mms_add_task(mms, task);
	rcu_read_unlock();

	while ((vs = uvm_va_space_next(&id))) {
		if (!uvm_mm_retain(vs)) {
			uvm_mms_add(mms, vs->mm);
			uvm_mm_release(vs);
		}
		uvm_va_space_put(vs);
	}
}

/**
 * struct uvm_evacuation - a round over all mms
 * @ref: the one who waits for it, and its works
 * @running: works that are not done
 * @moved: pages brought home
 */
struct uvm_evacuation {
	struct kref ref;
	atomic_t running;
	atomic64_t moved;
};

/**
 * struct uvm_evacuation_work - an mm of a round
 * @work: goes through it
 * @evac: the round
 * @mm: mmgrab()bed
 * @gpu_id: whose pages are wanted
 */
struct uvm_evacuation_work {
	struct work_struct work;
	struct uvm_evacuation *evac;
	struct mm_struct *mm;
	u32 gpu_id;
};

static void uvm_evacuation_free(struct kref *ref)
{
	kfree(container_of(ref, struct uvm_evacuation, ref));
}

static void uvm_evacuation_work(struct work_struct *work)
{
	struct uvm_evacuation_work *w =
		container_of(work, struct uvm_evacuation_work, work);
	struct uvm_evacuation *evac = w->evac;
	u64 moved = 0;

	if (mmget_not_zero(w->mm)) {
		uvm_evacuate_mm(w->mm, w->gpu_id, &moved);
		mmput_async(w->mm);
	}
	mmdrop(w->mm);
	kfree(w);
	atomic64_add(moved, &evac->moved);
	if (atomic_dec_and_test(&evac->running))
		wake_up_all(&uvm_devmem_idle);
	kref_put(&evac->ref, uvm_evacuation_free);
	module_put(THIS_MODULE);
}

/* Takes over the reference to @mm. One that gets no work is for the next round. */
static void uvm_evacuation_add(struct uvm_evacuation *evac, struct mm_struct *mm,
			       u32 gpu_id)
{
	struct uvm_evacuation_work *w = kmalloc(sizeof(*w), GFP_KERNEL);

	if (!w) {
		mmdrop(mm);
		return;
	}
	INIT_WORK(&w->work, uvm_evacuation_work);
	w->evac = evac;
	w->mm = mm;
	w->gpu_id = gpu_id;
	kref_get(&evac->ref);
	atomic_inc(&evac->running);
	/* A backend calls us, so we are loaded. */
	__module_get(THIS_MODULE);
	queue_work(uvm_wq, &w->work);
}

static struct uvm_evacuation *uvm_evacuation_start(u32 gpu_id)
{
	struct uvm_evacuation *evac = kzalloc(sizeof(*evac), GFP_KERNEL);
	struct mm_struct *mm;
	unsigned long index;
	struct xarray mms;

	if (!evac)
		return NULL;
	kref_init(&evac->ref);
	xa_init(&mms);
	uvm_mms_collect(&mms);
	xa_for_each(&mms, index, mm)
		uvm_evacuation_add(evac, mm, gpu_id);
	xa_destroy(&mms);
	return evac;
}

/* Returns the number of pages brought home. */
static u64 uvm_evacuation_round(struct uvm_gpu *gpu)
{
	struct uvm_evacuation *evac = uvm_evacuation_start(gpu->id);
	u64 moved;

	if (!evac)
		return 0;
	wait_event(uvm_devmem_idle, !uvm_devmem_used_pages(&gpu->mem) ||
		   !atomic_read(&evac->running));
	moved = atomic64_read(&evac->moved);
	kref_put(&evac->ref, uvm_evacuation_free);
	return moved;
}

/**
 * uvm_evacuate_gpu() - bring home all pages of a GPU
 * @gpu: dead; nobody has a reference any more but its pages
 *
 * Between two rounds it waits a moment for the last page to leave by itself. When
 * rounds don't help any more it waits for just that: somebody holds the page, and it
 * comes home when it is touched, or goes with its process.
 */
void uvm_evacuate_gpu(struct uvm_gpu *gpu)
{
	struct uvm_devmem *mem = &gpu->mem;
	unsigned int idle = 0;

	uvm_devmem_close(mem);
	while (idle < UVM_EVACUATE_IDLE && uvm_devmem_used_pages(mem)) {
		idle = uvm_evacuation_round(gpu) ? 0 : idle + 1;
		if (idle)
			wait_event_timeout(uvm_devmem_idle,
					   !uvm_devmem_used_pages(mem), HZ / 10);
	}
	if (uvm_devmem_used_pages(mem))
		pr_warn("%s is going away, but %lu of its pages can't be moved: waiting for those who hold them\n",
			gpu->name, uvm_devmem_used_pages(mem));
	wait_event(uvm_devmem_idle, !uvm_devmem_used_pages(mem));
}
