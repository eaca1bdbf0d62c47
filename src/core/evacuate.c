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
 * keep. An mm without either is on its way out, or held by a driver on behalf of a
 * process that was there just now: its pages are waited for. Once the GPU's memory is
 * closed no page goes there any more, and an mm that was emptied stays so; a task that
 * forks is seen, or its child is. So rounds of that end.
 *
 * User space can hold its mmap_lock for as long as it likes, with a page fault that a
 * file system of its own serves. So somebody else's is tried for, a few times, and left
 * to the next round if it can't be had: that delays the pages of that mm only. Each mm of
 * a round is a work of its own, which knows the GPU by id.
 *
 * Private pages are not waited for like that for long: they are parked (park.c).
 */
#include "core.h"

#include <linux/delay.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "managed.h"
#include "move.h"

/* Rounds over an address space, for pages that somebody had locked just then. */
#define UVM_EVACUATE_TRIES	4

/* Rounds over all of them that bring nothing home, before somebody is told. */
#define UVM_EVACUATE_IDLE	16U

/*
 * Tenths of a second from one round to the next, when nothing helps. A round is no small
 * thing: it takes the mappings of all anonymous memory from everybody's mirrors, and
 * older kernels split huge pages.
 */
#define UVM_EVACUATE_SLOWEST	300U

/* Pages are parked, too, if they come home, but this many times slower than they may stop. */
#define UVM_EVACUATE_SLOW	16

/* So long after pages could not be parked it is tried again. */
#define UVM_EVACUATE_AGAIN	HZ

/* How it goes is told this often. */
#define UVM_EVACUATE_TELL	(5 * HZ)

/* So often, a millisecond apart, somebody else's mmap_lock is tried for. */
#define UVM_EVACUATE_LOCKS	20

/* A search for strays is followed by so many times as long without one. */
#define UVM_EVACUATE_REST	16

/**
 * struct uvm_evacuate_count - what came home
 * @moved: pages that did
 * @most: it is enough if so many do
 */
struct uvm_evacuate_count {
	atomic64_t moved;
	u64 most;
};

static bool uvm_evacuate_enough(struct uvm_evacuate_count *count)
{
	return atomic64_read(&count->moved) >= count->most;
}

/* May pages of a GPU be mapped there? */
bool uvm_vma_may_have_pages(const struct vm_area_struct *vma)
{
	if (uvm_vma_is_managed(vma))
		return uvm_managed_vs(vma);
	return vma->anon_vma && !(vma->vm_flags & (VM_SPECIAL | VM_HUGETLB));
}

/*
 * Is it worth while to begin a move? Its notifier takes the block's mappings from all
 * GPUs. A look needs a VA space, and memory that may be read.
 */
static bool uvm_evacuate_wants(struct uvm_va_space *vs, struct vm_area_struct *vma,
			       unsigned long addr, unsigned long end, u32 gpu_id,
			       unsigned long *pfns)
{
	return !vs || !(vma->vm_flags & VM_READ) ||
	       uvm_resident_in_block(vs, pfns, addr, (end - addr) >> PAGE_SHIFT,
				     gpu_id);
}

/* Blocks of a VMA until its end, until it is enough, or others should have the lock. */
static unsigned long uvm_evacuate_vma(struct uvm_va_space *vs,
				      struct vm_area_struct *vma,
				      unsigned long addr,
				      const struct uvm_target *dest,
				      unsigned long *pfns,
				      struct uvm_evacuate_count *count)
{
	unsigned long next, last;
	bool allowed;
	long nr = 0;

	addr = max(addr, vma->vm_start);
	while (addr < vma->vm_end) {
		last = min(vma->vm_end, ALIGN(addr + 1, UVM_BLOCK_SIZE)) - 1;
		allowed = !dest->strays || uvm_advise_allows(vma->vm_mm, addr, &last);
		next = last + 1;
		if (allowed && uvm_evacuate_wants(vs, vma, addr, next, dest->from, pfns))
			nr = uvm_migrate_from(vma, addr, next, dest);
		else
			nr = 0;
		if (nr > 0)
			atomic64_add(nr, &count->moved);
		addr = next;
		if (uvm_evacuate_enough(count) || need_resched() || mmap_lock_is_contended(vma->vm_mm) ||
		    fatal_signal_pending(current))
			break;
	}
	return addr;
}

/* The caller's own mmap_lock is waited for; that of others isn't. */
static int uvm_evacuate_lock(struct mm_struct *mm)
{
	int tries;

	if (mm == current->mm)
		return mmap_read_lock_killable(mm);
	for (tries = 0; tries < UVM_EVACUATE_LOCKS; tries++) {
		if (mmap_read_trylock(mm))
			return 0;
		usleep_range(500, 1000);
	}
	return -EAGAIN;
}

/*
 * Once through an mm that the caller keeps; @vs, if it isn't NULL, is a VA space of it,
 * and @pfns room for a block. Returns 0, -EINTR if it was killed, or -EAGAIN if another's
 * mmap_lock could not be had.
 */
static int uvm_evacuate_mm(struct uvm_va_space *vs, struct mm_struct *mm,
			   const struct uvm_target *dest, unsigned long *pfns,
			   struct uvm_evacuate_count *count)
{
	struct vm_area_struct *vma;
	unsigned long addr = 0;
	int ret;

	do {
		ret = uvm_evacuate_lock(mm);
		if (ret)
			return ret;
		vma = find_vma(mm, addr);
		if (vma && uvm_vma_may_have_pages(vma))
			addr = uvm_evacuate_vma(vs, vma, addr, dest, pfns, count);
		else if (vma)
			addr = vma->vm_end;
		mmap_read_unlock(mm);
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	} while (vma && !uvm_evacuate_enough(count));
	return 0;
}

/**
 * uvm_evacuate_va_space() - bring home what the current process has on a GPU
 * @vs: a VA space of the current mm
 * @gpu_id: the GPU, which may be gone by now
 * @pfns: room for a block
 * @moved: pages that came home are added
 * @left: receives the pages that are there still
 *
 * Return: 0 or -EINTR; then @left is not known, and not written.
 */
int uvm_evacuate_va_space(struct uvm_va_space *vs, u32 gpu_id,
			  unsigned long *pfns, u64 *moved, u64 *left)
{
	const struct uvm_target home = {
		.node = NUMA_NO_NODE,
		.from = gpu_id,
		.may_stay = true,
		.leave = true,
	};
	struct uvm_evacuate_count count = { .most = U64_MAX };
	int tries, ret = 0;
	long nr;

	uvm_delay(UVM_DELAY_EVACUATE);
	for (tries = 0; tries < UVM_EVACUATE_TRIES; tries++) {
		ret = uvm_evacuate_mm(vs, vs->mm, &home, pfns, &count);
		if (ret)
			break;
		nr = uvm_resident_pages(vs, gpu_id, pfns);
		ret = min(nr, 0L);
		if (ret)
			break;
		*left = nr;
		if (!nr)
			break;
	}
	*moved += atomic64_read(&count.moved);
	return ret;
}

static unsigned long uvm_mms_index(const struct mm_struct *mm)
{
	return (unsigned long)mm / L1_CACHE_BYTES;
}

/* Remembers an mm, once. What can't be remembered now is seen in the next round. */
static void uvm_mms_add(struct xarray *mms, struct mm_struct *mm)
{
	if (!xa_insert(mms, uvm_mms_index(mm), mm, GFP_NOWAIT | __GFP_NOWARN))
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
		/* While either holds, the VA space holds mm_users. */
		spin_lock(&vs->mm_lock);
		if (vs->mm_state == UVM_MM_ALIVE || vs->retainers)
			uvm_mms_add(mms, vs->mm);
		spin_unlock(&vs->mm_lock);
		uvm_va_space_put(vs);
	}
}

/**
 * struct uvm_evacuation - all mms are looked through for pages of a GPU
 * @ref: the one who waits for it, and its works
 * @dest: where they go, and whose are wanted
 * @busy: mms that a work is in, by uvm_mms_index()
 * @locked: mms whose mmap_lock could not be had in the last round; to be named, no more
 * @count: pages brought home
 * @left: pages that were in use after it
 * @idle: rounds since one of them left
 * @begun: when it began, in jiffies
 * @ended: when a work ended for the last time, in jiffies
 * @since: when a page left for the last time, in jiffies
 * @told: when it was told how many are left, in jiffies
 * @park_again: not to be tried before, in jiffies
 * @park_error: why it could not be done the last time, or 0
 */
struct uvm_evacuation {
	struct kref ref;
	struct uvm_target dest;
	struct xarray busy;
	struct xarray locked;
	struct uvm_evacuate_count count;
	unsigned long left;
	unsigned int idle;
	unsigned long begun;
	unsigned long ended;
	unsigned long since;
	unsigned long told;
	unsigned long park_again;
	int park_error;
};

/**
 * struct uvm_evacuation_work - an mm of a round
 * @work: goes through it
 * @evac: the evacuation
 * @mm: mmgrab()bed
 */
struct uvm_evacuation_work {
	struct work_struct work;
	struct uvm_evacuation *evac;
	struct mm_struct *mm;
};

static void uvm_evacuation_free(struct kref *ref)
{
	struct uvm_evacuation *evac = container_of(ref, struct uvm_evacuation, ref);

	xa_destroy(&evac->locked);
	xa_destroy(&evac->busy);
	kfree(evac);
}

static void uvm_evacuation_work(struct work_struct *work)
{
	struct uvm_evacuation_work *w =
		container_of(work, struct uvm_evacuation_work, work);
	struct uvm_evacuation *evac = w->evac;

	if (!uvm_evacuate_enough(&evac->count) && mmget_not_zero(w->mm)) {
		if (uvm_evacuate_mm(NULL, w->mm, &evac->dest, NULL, &evac->count) ==
		    -EAGAIN)
			xa_store(&evac->locked, uvm_mms_index(w->mm),
				 xa_mk_value(1), GFP_KERNEL);
		mmput_async(w->mm);
	}
	WRITE_ONCE(evac->ended, jiffies);
	xa_erase(&evac->busy, uvm_mms_index(w->mm));
	wake_up_all(&uvm_devmem_idle);
	mmdrop(w->mm);
	kfree(w);
	kref_put(&evac->ref, uvm_evacuation_free);
	module_put(THIS_MODULE);
}

/* Takes over the reference to @mm. One that gets no work now is for the next round. */
static void uvm_evacuation_add(struct uvm_evacuation *evac, struct mm_struct *mm)
{
	struct uvm_evacuation_work *w = kmalloc(sizeof(*w), GFP_KERNEL);

	if (!w || xa_insert(&evac->busy, uvm_mms_index(mm), mm, GFP_KERNEL)) {
		kfree(w);
		mmdrop(mm);
		return;
	}
	INIT_WORK(&w->work, uvm_evacuation_work);
	w->evac = evac;
	w->mm = mm;
	kref_get(&evac->ref);
	/* A backend or a process calls us, so we are loaded. */
	__module_get(THIS_MODULE);
	queue_work(uvm_evacuate_wq, &w->work);
}

static bool uvm_evacuated(struct uvm_gpu *gpu)
{
	return !uvm_devmem_used_pages(&gpu->mem) || READ_ONCE(gpu->lost);
}

/* Every mm that no work is in gets one; then a while for them to end. */
static void uvm_evacuation_round(struct uvm_evacuation *evac, struct uvm_gpu *gpu)
{
	struct mm_struct *mm;
	unsigned long index;
	struct xarray mms;

	xa_init(&mms);
	xa_destroy(&evac->locked);
	uvm_mms_collect(&mms);
	xa_for_each(&mms, index, mm)
		uvm_evacuation_add(evac, mm);
	xa_destroy(&mms);
	wait_event_timeout(uvm_devmem_idle, uvm_evacuated(gpu) ||
			   xa_empty(&evac->busy), HZ);
}

static struct uvm_evacuation *uvm_evacuation_alloc(u32 gpu_id)
{
	struct uvm_evacuation *evac;

	evac = kzalloc(sizeof(*evac), GFP_KERNEL | __GFP_NOFAIL);
	kref_init(&evac->ref);
	evac->dest = (struct uvm_target){
		.node = NUMA_NO_NODE,
		.from = gpu_id,
		.leave = true,
	};
	xa_init(&evac->busy);
	xa_init(&evac->locked);
	evac->left = ULONG_MAX;
	evac->count.most = U64_MAX;
	evac->begun = jiffies;
	evac->ended = jiffies;
	evac->since = jiffies;
	evac->told = jiffies;
	evac->park_again = jiffies;
	return evac;
}

/* What a round brought: any way out of the GPU's memory will do. */
static void uvm_evacuation_look(struct uvm_evacuation *evac, struct uvm_gpu *gpu)
{
	unsigned long left = uvm_devmem_used_pages(&gpu->mem);

	evac->idle++;
	if (left < evac->left) {
		evac->idle = 0;
		evac->since = jiffies;
	}
	evac->left = left;
}

/* Could the mmap_lock of the process not be had? Its threads have the same mm, or none. */
static bool uvm_evacuation_is_locked(struct uvm_evacuation *evac,
				     struct task_struct *process)
{
	struct task_struct *task;
	bool locked = false;

	for_each_thread(process, task) {
		task_lock(task);
		if (task->mm)
			locked |= !!xa_load(&evac->locked, uvm_mms_index(task->mm));
		task_unlock(task);
	}
	return locked;
}

/* Those who are known to be in the way: who holds a page otherwise nobody can tell. */
static void uvm_evacuation_name(struct uvm_evacuation *evac, struct uvm_gpu *gpu)
{
	struct task_struct *process;

	if (xa_empty(&evac->locked))
		return;
	rcu_read_lock();
	for_each_process(process)
		if (uvm_evacuation_is_locked(evac, process))
			pr_warn("%s: the address space of process %d (%s) is locked\n",
				gpu->name, task_tgid_nr(process), process->comm);
	rcu_read_unlock();
}

static void uvm_evacuation_tell(struct uvm_evacuation *evac, struct uvm_gpu *gpu)
{
	if (evac->idle == UVM_EVACUATE_IDLE) {
		pr_warn("%s is going away, but %lu of its pages are held: waiting for those who hold them\n",
			gpu->name, evac->left);
		uvm_evacuation_name(evac, gpu);
	}
	if (time_before(jiffies, evac->told + UVM_EVACUATE_TELL))
		return;
	pr_info("%s is going away: %lu pages are left\n", gpu->name, evac->left);
	evac->told = jiffies;
}

/* How many jiffies until what is left is parked, or 0: now. */
static unsigned long uvm_evacuation_grace(const struct uvm_evacuation *evac,
					  const struct uvm_gpu *gpu)
{
	unsigned long patience = uvm_park_patience(gpu), stop, slow, now = jiffies;

	if (patience == MAX_SCHEDULE_TIMEOUT)
		return patience;
	if (time_before(now, evac->park_again))
		return evac->park_again - now;
	stop = evac->since + patience;
	slow = evac->begun + UVM_EVACUATE_SLOW * patience;
	if (time_after_eq(now, stop) || time_after_eq(now, slow))
		return 0;
	return min(stop - now, slow - now);
}

/* Returns true if nothing is left to wait for. Else there is another try later. */
static bool uvm_evacuation_park(struct uvm_evacuation *evac, struct uvm_gpu *gpu)
{
	int ret;

	uvm_evacuation_name(evac, gpu);
	ret = uvm_park_gpu(gpu);
	if (!ret) {
		pr_info("%s is going away: %lu pages that could not come home are parked\n",
			gpu->name, uvm_devmem_used_pages(&gpu->mem));
		return true;
	}
	if (ret != evac->park_error)
		pr_warn("%s is going away, but its pages can't be parked now (%d): waiting for those who hold them\n",
			gpu->name, ret);
	evac->park_error = ret;
	evac->park_again = jiffies + UVM_EVACUATE_AGAIN;
	return false;
}

/**
 * uvm_evacuate_gpu() - bring home all pages of a GPU
 * @gpu: dead; nobody has a reference any more but its pages
 *
 * Until none is there, or the GPU is lost, or its pages are parked. After rounds that
 * brought nothing it waits longer and longer for the last page to leave by itself, and
 * looks again: somebody holds it, and will let go, or sleeps in a page fault under its
 * mmap_lock.
 */
void uvm_evacuate_gpu(struct uvm_gpu *gpu)
{
	struct uvm_evacuation *evac;
	unsigned long grace;

	uvm_devmem_close(&gpu->mem);
	if (uvm_evacuated(gpu))
		return;
	evac = uvm_evacuation_alloc(gpu->id);
	/* Else they could only be waited for. */
	evac->dest.may_stay = uvm_park_patience(gpu) != MAX_SCHEDULE_TIMEOUT;
	while (!uvm_evacuated(gpu)) {
		uvm_evacuation_round(evac, gpu);
		uvm_evacuation_look(evac, gpu);
		uvm_evacuation_tell(evac, gpu);
		grace = uvm_evacuation_grace(evac, gpu);
		if (!grace && !uvm_evacuated(gpu) && uvm_evacuation_park(evac, gpu))
			break;
		wait_event_timeout(uvm_devmem_idle, uvm_evacuated(gpu),
				   min(grace, min(evac->idle, UVM_EVACUATE_SLOWEST) *
					      HZ / 10));
	}
	kref_put(&evac->ref, uvm_evacuation_free);
}

/* Nobody asks for the last search any more; nobody searches now. */
void uvm_evacuate_forget(struct uvm_gpu *gpu)
{
	struct uvm_lru *lru = &gpu->lru;

	if (lru->search)
		kref_put(&lru->search->ref, uvm_evacuation_free);
	lru->search = NULL;
}

/* Is a search still under way, or was it just now, for as long as it took? */
static bool uvm_search_rests(struct uvm_evacuation *search)
{
	unsigned long ended = READ_ONCE(search->ended);

	return !xa_empty(&search->busy) ||
	       time_before(jiffies, ended + UVM_EVACUATE_REST * (ended - search->begun));
}

/**
 * uvm_evacuate_strays() - bring home pages that nobody else finds
 * @gpu: whose; not going away before this returns; the caller holds &uvm_lru.search_lock
 * @want: so many, and not many more
 *
 * Those that mremap() moved, and those that only a child after fork has: they are looked
 * for in all mms, once. Waits for that a second at most; what takes longer goes on. Who
 * makes strays can't make the machine do nothing but search: there is one search at a
 * time, and much more time without one.
 *
 * Return: pages that came home so far; -EAGAIN if the last search is not long enough ago.
 */
long uvm_evacuate_strays(struct uvm_gpu *gpu, unsigned long want)
{
	struct uvm_lru *lru = &gpu->lru;
	struct uvm_evacuation *evac;

	lockdep_assert_held(&lru->search_lock);
	if (lru->search && uvm_search_rests(lru->search))
		return -EAGAIN;
	uvm_evacuate_forget(gpu);
	evac = uvm_evacuation_alloc(gpu->id);
	evac->dest.strays = true;
	evac->dest.gentle = true;
	evac->count.most = want;
	lru->search = evac;
	uvm_evacuation_round(evac, gpu);
	return atomic64_read(&evac->count.moved);
}
