// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: GPU faults
 *
 * Owns the way from the fault buffer to the replay. One worker a GPU fetches a
 * batch, sorts it by address space and address, and hands each address space its
 * share. A worker of the address space maps, block by block, what the faults want,
 * and has the GPU try again. A fault that can't be served stops the channel that
 * caused it, with the reason, and no other.
 *
 * To serve a fault may take as long as user space likes: the page may come from a
 * file system in user space. So the GPU's worker never waits for an address space,
 * and address spaces don't wait for each other: each has a workqueue of its own, so
 * that works which hang take nobody else's room. Nor does the teardown of a GPU space:
 * its work leaves it (uvm_gpu_space_leave()) for the time of such a wait, and when it
 * can't enter again it drops what it has.
 *
 * Nothing is lost by dropping a fault: an access that still has no translation after
 * a replay faults anew. So an address space works on one share at a time, and what
 * comes for it meanwhile is dropped: &uvm_fault_queue.busy is cleared before its
 * replay, so whoever saw it set has stalled before that replay. Faults of an address
 * space that is going down are dropped too; its channels are stopped next. Blocks
 * that keep changing are left to the next share, which comes a little later then.
 */
#include "core.h"

#include <linux/delay.h>
#include <linux/memcontrol.h>
#include <linux/moduleparam.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "prefetch.h"
#include "service.h"
#include "trace.h"

static unsigned int uvm_fault_batch_size = UVM_FAULT_BATCH;
module_param_named(fault_batch, uvm_fault_batch_size, uint, 0644);
MODULE_PARM_DESC(fault_batch,
		 "GPU faults that are fetched and served at once, 1 to 256 (default 256)");

static unsigned int uvm_fault_batch(void)
{
	return clamp_t(unsigned int, READ_ONCE(uvm_fault_batch_size), 1,
		       UVM_FAULT_BATCH);
}

/* Granules that wait for their turn. */
#define UVM_FAULT_HOT		16

/**
 * struct uvm_fault_queue - a share of faults and the room to serve it
 * @gs: the GPU space; @work holds a reference while queued, and enters when it starts
 * @work: serves @faults
 * @busy: set by the GPU's worker, which then fills in the rest; cleared by @work
 * @nr: number of @faults
 * @faults: sorted by address
 * @access: by page of a block, what is wanted
 * @nothing: in place of @access, if nothing is
 * @streams: which blocks come next
 * @busy_blocks: some block of the share kept changing
 * @again: in some block of the share atomics had to wait for a large folio to be split,
 *	or for a page to move
 * @stuck_since: since when there was one in each share, jiffies; 0: there was none
 * @stuck: it takes too long
 * @backoff_ms: how long the last replay was put off for that
 * @hot_lock: protects the two below
 * @nr_hot: number of @hot
 * @hot: granules that the GPU uses a lot where they are
 * @svc: for uvm_service_block()
 * @req: for uvm_mirror_block()
 */
struct uvm_fault_queue {
	struct uvm_gpu_space *gs;
	struct work_struct work;
	bool busy;
	unsigned int nr;
	struct uvm_gpu_fault faults[UVM_FAULT_BATCH];
	u8 access[UVM_BLOCK_PAGES];
	u8 nothing[UVM_BLOCK_PAGES];
	struct uvm_streams streams;
	bool busy_blocks;
	bool again;
	unsigned long stuck_since;
	bool stuck;
	unsigned int backoff_ms;
	spinlock_t hot_lock;
	unsigned int nr_hot;
	struct uvm_gpu_counter hot[UVM_FAULT_HOT];
	struct uvm_service *svc;
	struct uvm_mirror_request *req;
};

/* A large folio that can't be split in this time, or a page be moved, can't be. */
#define UVM_FAULT_STUCK		(2 * HZ)

/* A replay is put off so long at most. */
#define UVM_FAULT_BACKOFF_MS	32U

static void uvm_fault_queue_work(struct work_struct *work);

struct uvm_fault_queue *uvm_fault_queue_alloc(struct uvm_gpu_space *gs)
{
	struct uvm_fault_queue *queue;

	queue = kvzalloc(sizeof(*queue), GFP_KERNEL_ACCOUNT);
	if (!queue)
		return NULL;
	queue->req = uvm_mirror_request_alloc();
	if (!queue->req)
		goto err_queue;
	queue->svc = uvm_service_alloc(gs);
	if (!queue->svc)
		goto err_req;
	queue->gs = gs;
	spin_lock_init(&queue->hot_lock);
	INIT_WORK(&queue->work, uvm_fault_queue_work);
	return queue;

err_req:
	uvm_mirror_request_free(queue->req);
err_queue:
	kvfree(queue);
	return NULL;
}

/* From the last reference to the GPU space: the work is done, or doing just this. */
void uvm_fault_queue_free(struct uvm_fault_queue *queue)
{
	uvm_service_free(queue->svc);
	uvm_mirror_request_free(queue->req);
	kvfree(queue);
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

/* Length of the run at the head of @faults that is in one address space. */
static unsigned int uvm_fault_space_run(const struct uvm_gpu_fault *faults,
					unsigned int nr)
{
	unsigned int i;

	for (i = 1; i < nr; i++)
		if (faults[i].as_id != faults[0].as_id)
			break;
	return i;
}

/* Length of the run at the head of @faults, of one address space, in one block. */
static unsigned int uvm_fault_block_run(const struct uvm_gpu_fault *faults,
					unsigned int nr)
{
	unsigned int i;

	for (i = 1; i < nr; i++)
		if (uvm_fault_block(&faults[i]) != uvm_fault_block(&faults[0]))
			break;
	return i;
}

/*
 * Duplicates fall together here; the strongest access of each page counts. Returns how
 * many there were.
 */
static unsigned int uvm_fault_collect(u8 *access, const struct uvm_gpu_fault *faults,
				      unsigned int nr)
{
	unsigned int i, page, duplicates = 0;

	memset(access, 0, UVM_BLOCK_PAGES);
	for (i = 0; i < nr; i++) {
		page = (faults[i].address >> PAGE_SHIFT) % UVM_BLOCK_PAGES;
		duplicates += !!access[page];
		access[page] = max_t(u8, access[page], faults[i].access);
	}
	return duplicates;
}

static u32 uvm_fault_reason(struct mm_struct *mm, const struct uvm_gpu_fault *fault,
			    int error)
{
	unsigned long need = fault->access == UVM_ACCESS_READ ? VM_READ : VM_WRITE;
	struct vm_area_struct *vma;
	u32 reason;

	if (error == -ENOMEM)
		return UVM_FAULT_NO_MEMORY;
	if (error == -EOPNOTSUPP)
		return UVM_FAULT_NO_ATOMIC;
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

/*
 * Entered, like all the functions below; and so it is again if it returns true. An
 * access that isn't made yet is no reason to cancel: the channel may stop before.
 */
static bool uvm_fault_cancel(struct uvm_gpu_space *gs,
			     const struct uvm_gpu_fault *fault, int error)
{
	u32 reason = UVM_FAULT_NO_MAPPING;

	if (fault->flags & UVM_FAULT_SPECULATIVE)
		return true;
	if (gs->vs->mm) {
		uvm_gpu_space_leave(gs);
		reason = uvm_fault_reason(gs->vs->mm, fault, error);
		if (!uvm_gpu_space_enter(gs))
			return false;
	}
	/* It may have been served, and be gone, since this was reported. */
	if (!gs->gpu->desc.ops->fault_cancel(gs->gpu, fault))
		return true;
	trace_uvm_fault_cancel(gs->vs->id, gs->gpu->id, fault->address,
			       fault->access, reason);
	uvm_gpu_space_count(gs, UVM_STAT_CANCELS, 1);
	uvm_channel_faulted(gs, fault, reason);
	return true;
}

/* Is it left for later? */
static bool uvm_fault_is_held(const struct uvm_fault_queue *queue,
			      const struct uvm_gpu_fault *fault)
{
	return test_bit((fault->address >> PAGE_SHIFT) % UVM_BLOCK_PAGES,
			uvm_service_hold(queue->svc));
}

/*
 * Serves @nr faults in one block one by one, to find those to blame: together they
 * failed with @ret.
 */
static bool uvm_fault_serve_singly(struct uvm_fault_queue *queue,
				   const struct uvm_gpu_fault *faults,
				   unsigned int nr, int ret)
{
	unsigned long base = uvm_fault_block(faults);
	unsigned int i;

	for (i = 0; i < nr && ret != -ESRCH; i++) {
		if (uvm_fault_is_held(queue, &faults[i]))
			continue;
		if (nr > 1) {
			uvm_fault_collect(queue->access, &faults[i], 1);
			ret = uvm_mirror_block(queue->gs, queue->req, base,
					       queue->access,
					       uvm_service_hold(queue->svc));
		}
		if (ret == -EAGAIN)
			ret = queue->stuck ? -EOPNOTSUPP : -EBUSY;
		if (ret && ret != -EBUSY && ret != -ESRCH &&
		    !uvm_fault_cancel(queue->gs, &faults[i], ret))
			return false;
	}
	return ret != -ESRCH;
}

/*
 * Some kernels can't give a GPU a page alone that is part of a large folio, and can't
 * always split one: not while somebody else has the page, and not at all if it is mapped
 * page by page. Nor does a page move that somebody else has. Returns true once it took
 * too long.
 */
static bool uvm_fault_is_stuck(struct uvm_fault_queue *queue)
{
	queue->again = true;
	if (!queue->stuck_since)
		queue->stuck_since = jiffies | 1;
	queue->stuck = time_after(jiffies, queue->stuck_since + UVM_FAULT_STUCK);
	return queue->stuck;
}

static bool uvm_fault_serve_block(struct uvm_fault_queue *queue,
				  const struct uvm_gpu_fault *faults,
				  unsigned int nr)
{
	unsigned long base = uvm_fault_block(faults);
	struct uvm_gpu_space *gs = queue->gs;
	unsigned int duplicates;
	int ret;

	duplicates = uvm_fault_collect(queue->access, faults, nr);
	uvm_gpu_space_count(gs, UVM_STAT_DUPLICATES, duplicates);
	uvm_service_set_stream(queue->svc, uvm_streams_flow(&queue->streams,
							    base >> UVM_BLOCK_SHIFT));
	if (!uvm_service_block(queue->svc, base, queue->access))
		return false;
	ret = uvm_mirror_block(gs, queue->req, base, queue->access,
			       uvm_service_hold(queue->svc));
	if (ret == -EOPNOTSUPP || ret == -EAGAIN) {
		if (!uvm_service_atomics(queue->svc, base, queue->access,
					 uvm_mirror_atomics_left(queue->req),
					 ret == -EAGAIN))
			return false;
		ret = uvm_mirror_block(gs, queue->req, base, queue->access,
				       uvm_service_hold(queue->svc));
		if (ret == -EOPNOTSUPP && uvm_service_again(queue->svc))
			ret = -EAGAIN;
	}
	if (ret == -EAGAIN)
		ret = uvm_fault_is_stuck(queue) ? -EOPNOTSUPP : -EBUSY;
	if (ret == -EBUSY) {
		uvm_gpu_space_count(gs, UVM_STAT_RETRIES, 1);
		queue->busy_blocks = true;
		return true;
	}
	return !ret || uvm_fault_serve_singly(queue, faults, nr, ret);
}

/* Entered. Every access that stalls in the GPU tries again. */
void uvm_fault_replay(struct uvm_gpu_space *gs)
{
	trace_uvm_fault_replay(gs->vs->id, gs->gpu->id);
	uvm_gpu_space_count(gs, UVM_STAT_REPLAYS, 1);
	gs->gpu->desc.ops->fault_replay(gs->gpu);
}

/*
 * If the faults go through memory block by block, brings the next ones. The GPU goes on
 * meanwhile, as far as it can.
 */
static bool uvm_fault_serve_ahead(struct uvm_fault_queue *queue, unsigned long base)
{
	unsigned long block = base >> UVM_BLOCK_SHIFT;
	struct uvm_gpu_space *gs = queue->gs;
	unsigned int ahead;
	int step;

	ahead = uvm_streams_fault(&queue->streams, block, &step);
	for (; ahead; ahead--) {
		block += step;
		if (!uvm_service_wants_ahead(queue->svc, block << UVM_BLOCK_SHIFT))
			break;
		trace_uvm_fault_prefetch(gs->vs->id, gs->gpu->id,
					 block << UVM_BLOCK_SHIFT, UVM_BLOCK_PAGES);
		uvm_fault_replay(gs);
		if (!uvm_service_block(queue->svc, block << UVM_BLOCK_SHIFT, NULL) ||
		    uvm_mirror_block(gs, queue->req, block << UVM_BLOCK_SHIFT,
				     queue->nothing,
				     uvm_service_hold(queue->svc)) == -ESRCH)
			return false;
	}
	return true;
}

static bool uvm_fault_serve(struct uvm_fault_queue *queue)
{
	bool entered = true;
	unsigned int i, n;

	for (i = 0; entered && i < queue->nr; i += n) {
		n = uvm_fault_block_run(queue->faults + i, queue->nr - i);
		entered = uvm_fault_serve_block(queue, queue->faults + i, n) &&
			  uvm_fault_serve_ahead(queue, uvm_fault_block(queue->faults + i));
		cond_resched();
	}
	if (!queue->again) {
		queue->stuck_since = 0;
		queue->stuck = false;
	}
	return entered;
}

/* No process's memory is in the address space. */
static void uvm_fault_cancel_all(struct uvm_fault_queue *queue)
{
	unsigned int i;

	for (i = 0; i < queue->nr; i++)
		uvm_fault_cancel(queue->gs, &queue->faults[i], -EFAULT);
}

/* Takes the next granule off the queue. */
static bool uvm_fault_next_hot(struct uvm_fault_queue *queue,
			       struct uvm_gpu_counter *counter)
{
	bool any;

	spin_lock(&queue->hot_lock);
	any = queue->nr_hot;
	if (any)
		*counter = queue->hot[--queue->nr_hot];
	spin_unlock(&queue->hot_lock);
	return any;
}

/* Entered. The work has a reference of its own. */
static void uvm_fault_queue_start(struct uvm_fault_queue *queue)
{
	struct uvm_gpu_space *gs = queue->gs;

	kref_get(&gs->ref);
	if (!queue_work_node(uvm_gpu_nearest_node(gs->gpu), gs->vs->fault_wq,
			     &queue->work))
		uvm_gpu_space_put(gs);
}

/*
 * Moves what the GPU uses a lot, and lets it count anew. No more than there can be at
 * once: what can't move is told of again and again, and faults wait for their turn.
 */
static bool uvm_fault_serve_hot(struct uvm_fault_queue *queue)
{
	struct uvm_gpu_space *gs = queue->gs;
	struct uvm_gpu_counter counter;
	unsigned int left = UVM_FAULT_HOT;
	unsigned long addr, end;

	while (left-- && uvm_fault_next_hot(queue, &counter)) {
		cond_resched();
		if (!READ_ONCE(gs->counters))
			continue;
		end = counter.address + gs->gpu->desc.access_granule;
		for (addr = counter.address; addr < end;
		     addr = ALIGN(addr + 1, UVM_BLOCK_SIZE)) {
			unsigned long base = ALIGN_DOWN(addr, UVM_BLOCK_SIZE);

			if (!uvm_service_hot(queue->svc, addr, end) ||
			    uvm_mirror_block(gs, queue->req, base, queue->nothing,
					     uvm_service_hold(queue->svc)) == -ESRCH)
				return false;
		}
		gs->gpu->desc.ops->counter_clear(gs->gpu, &counter);
	}
	if (READ_ONCE(queue->nr_hot))
		uvm_fault_queue_start(queue);
	return true;
}

/* What is allocated on the way is charged to the process that wants it. */
static bool uvm_fault_charged(struct uvm_fault_queue *queue,
			      bool (*serve)(struct uvm_fault_queue *queue))
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(queue->gs->vs->mm);
	struct mem_cgroup *old = set_active_memcg(memcg);
	bool entered = serve(queue);

	set_active_memcg(old);
	mem_cgroup_put(memcg);
	return entered;
}

/* Runs @serve for an mm. Returns false if the GPU space went down meanwhile. */
static bool uvm_fault_queue_run(struct uvm_fault_queue *queue,
				bool (*serve)(struct uvm_fault_queue *queue))
{
	struct uvm_va_space *vs = queue->gs->vs;
	bool entered = true;

	if (uvm_mm_retain(vs))
		return true;
	uvm_mm_check_abandoned(vs);
	uvm_delay(UVM_DELAY_FAULT);
	if (!uvm_mm_releasing(vs))
		entered = uvm_fault_charged(queue, serve);
	uvm_mm_release(vs);
	return entered;
}

/*
 * Blocks that keep changing are left alone for a while, the longer the more often it
 * happens; pages that bounce are left to others. Returns false if the GPU space went
 * down meanwhile.
 */
static bool uvm_fault_back_off(struct uvm_fault_queue *queue)
{
	unsigned int us = 0;

	if (uvm_service_throttled(queue->svc))
		us = uvm_thrash_nap_us();
	if (queue->busy_blocks) {
		queue->backoff_ms = clamp(2 * queue->backoff_ms, 1U,
					  UVM_FAULT_BACKOFF_MS);
		us = max_t(unsigned int, us, queue->backoff_ms * USEC_PER_MSEC);
	} else {
		queue->backoff_ms = 0;
	}
	if (!us)
		return true;
	uvm_gpu_space_leave(queue->gs);
	fsleep(us);
	return uvm_gpu_space_enter(queue->gs);
}

/* Returns false if the GPU space went down meanwhile. */
static bool uvm_fault_queue_serve(struct uvm_fault_queue *queue)
{
	if (!queue->gs->vs->mm) {
		uvm_fault_cancel_all(queue);
		return true;
	}
	queue->busy_blocks = false;
	queue->again = false;
	return uvm_fault_queue_run(queue, uvm_fault_serve) &&
	       uvm_fault_back_off(queue);
}

static void uvm_fault_queue_work(struct work_struct *work)
{
	struct uvm_fault_queue *queue =
		container_of(work, struct uvm_fault_queue, work);
	struct uvm_gpu_space *gs = queue->gs;
	bool entered = uvm_gpu_space_enter(gs);

	/* Pairs with uvm_fault_dispatch(): the share is there. */
	if (entered && smp_load_acquire(&queue->busy)) {
		entered = uvm_fault_queue_serve(queue);
		if (entered) {
			/* Full barrier: see DOC: GPU faults. */
			smp_store_mb(queue->busy, false);
			uvm_fault_replay(gs);
		}
	}
	if (entered && READ_ONCE(queue->nr_hot))
		entered = uvm_fault_queue_run(queue, uvm_fault_serve_hot);
	if (entered)
		uvm_gpu_space_leave(gs);
	uvm_gpu_space_put(gs);
}

static void uvm_fault_trace(const struct uvm_gpu_space *gs,
			    const struct uvm_gpu_fault *faults, unsigned int nr)
{
	unsigned int i;

	trace_uvm_fault_batch(gs->vs->id, gs->gpu->id, nr, faults->address);
	for (i = 0; trace_uvm_fault_enabled() && i < nr; i++)
		trace_uvm_fault(gs->vs->id, gs->gpu->id, faults[i].channel_id,
				faults[i].address, faults[i].access,
				faults[i].flags & UVM_FAULT_SPECULATIVE);
}

/* Hands an address space its share, unless it has one. */
static void uvm_fault_dispatch(struct uvm_gpu *gpu,
			       const struct uvm_gpu_fault *faults, unsigned int nr)
{
	struct uvm_gpu_space *gs = uvm_gpu_space_by_as(gpu, faults->as_id);
	struct uvm_fault_queue *queue;

	if (!gs)
		return;
	queue = gs->faults;
	/* Pairs with the clearing: the work is done with the rest. */
	if (smp_load_acquire(&queue->busy)) {
		uvm_gpu_space_leave(gs);
		uvm_gpu_space_put(gs);
		return;
	}
	uvm_fault_trace(gs, faults, nr);
	uvm_gpu_space_count(gs, UVM_STAT_BATCHES, 1);
	uvm_gpu_space_count(gs, UVM_STAT_FAULTS, nr);
	queue->nr = nr;
	memcpy(queue->faults, faults, nr * sizeof(*faults));
	/* Pairs with uvm_fault_queue_work(), which may be under way for something else. */
	smp_store_release(&queue->busy, true);
	uvm_fault_queue_start(queue);
	/* Who knows when it starts. */
	uvm_gpu_space_leave(gs);
	uvm_gpu_space_put(gs);
}

/**
 * uvm_fault_queue_hot() - hand over a granule that the GPU uses a lot
 * @gs: GPU space that the caller entered
 * @counter: the granule
 *
 * Return: false if there is no room: the caller lets it count anew.
 */
bool uvm_fault_queue_hot(struct uvm_gpu_space *gs,
			 const struct uvm_gpu_counter *counter)
{
	struct uvm_fault_queue *queue = gs->faults;
	bool room;

	spin_lock(&queue->hot_lock);
	room = queue->nr_hot < UVM_FAULT_HOT;
	if (room)
		queue->hot[queue->nr_hot++] = *counter;
	spin_unlock(&queue->hot_lock);
	if (room)
		uvm_fault_queue_start(queue);
	return room;
}

/* The GPU's worker. Bounded, so that uvm_fault_flush() is: the rest is for later. */
void uvm_fault_worker(struct work_struct *work)
{
	struct uvm_gpu *gpu = container_of(work, struct uvm_gpu, fault_work);
	unsigned int i, n, nr, done = 0;

	do {
		nr = gpu->desc.ops->fault_fetch(gpu, gpu->faults,
						uvm_fault_batch());
		sort(gpu->faults, nr, sizeof(*gpu->faults), uvm_fault_cmp, NULL);
		for (i = 0; i < nr; i += n) {
			n = uvm_fault_space_run(gpu->faults + i, nr - i);
			uvm_fault_dispatch(gpu, gpu->faults + i, n);
		}
		done += nr;
		cond_resched();
	} while (nr && done < gpu->desc.fault_entries);
	if (nr)
		uvm_gpu_fault_pending(gpu);
}

/**
 * uvm_fault_flush() - empty the fault buffer
 * @gpu: the GPU
 *
 * When it returns, every fault that was in the buffer when it was called has been
 * fetched: none of an address space that was detached before is left to be taken for
 * another's. A run of the worker that begins now takes as many as the buffer holds.
 */
void uvm_fault_flush(struct uvm_gpu *gpu)
{
	uvm_gpu_fault_pending(gpu);
	flush_work(&gpu->fault_work);
}
