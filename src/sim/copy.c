// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: Copy engines
 *
 * Owns the engines: a queue of jobs and a thread each. A job is one batch and the
 * dma_fence that it signals. The driver's half (sim_copy()) may sleep and
 * allocate; the thread is the fence's signalling path, annotated as such, and
 * does neither.
 *
 * &sim_ce.lock guards the queue and what runs; it is never held while a fence is
 * signaled. A reset empties the queue, has the thread drop what it runs, waits
 * for it to say so, and signals the rest: after that no access is made for any of
 * them. Jobs of one engine complete in order, so one that must come after the fence of
 * another engine keeps those behind it waiting, too. The thread looks for a reset every
 * 64 KiB.
 *
 * A fence points into this module. Each is counted, and the GPU's removal waits
 * for the last one to be released.
 */

#include <linux/bitops.h>
#include <linux/dma-fence.h>
#include <linux/err.h>
#include <linux/kasan-checks.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "sim.h"

/* How much an engine does before it looks up. */
#define SIM_PIECE_BYTES	(64U << 10)

/**
 * struct sim_job - one batch
 * @fence: must be first: dma_fence_free() frees the job
 * @lock: of the fence
 * @node: in &sim_ce.queue
 * @ce: engine
 * @segments: the core's; gone once the fence has signaled
 * @count: number of @segments
 * @peers: numbers of the GPUs that the segments name
 * @after: a fence that it must come after, or NULL
 * @after_cb: on it, until it has signaled
 * @ready: it has
 */
struct sim_job {
	struct dma_fence fence;
	spinlock_t lock;
	struct list_head node;
	struct sim_ce *ce;
	const struct uvm_gpu_segment *segments;
	unsigned int count;
	unsigned long peers;
	struct dma_fence *after;
	struct dma_fence_cb after_cb;
	bool ready;
};
static_assert(offsetof(struct sim_job, fence) == 0);

static struct sim_job *to_sim_job(struct dma_fence *fence)
{
	return container_of(fence, struct sim_job, fence);
}

static const char *job_driver_name(struct dma_fence *fence)
{
	return SIM_NAME;
}

static const char *job_timeline_name(struct dma_fence *fence)
{
	return to_sim_job(fence)->ce->name;
}

static void job_count_down(struct sim_gpu *gpu)
{
	if (atomic_dec_and_test(&gpu->jobs))
		complete(&gpu->jobs_gone);
}

/* In an RCU section, so that sim_ces_fini() can wait for the last instruction. */
static void job_release(struct dma_fence *fence)
{
	struct sim_gpu *gpu = to_sim_job(fence)->ce->gpu;

	rcu_read_lock();
	dma_fence_free(fence);
	job_count_down(gpu);
	rcu_read_unlock();
}

static const struct dma_fence_ops job_fence_ops = {
	.get_driver_name = job_driver_name,
	.get_timeline_name = job_timeline_name,
	.release = job_release,
};

static bool names_peer(const struct uvm_gpu_segment *segment)
{
	return segment->dst_aperture == UVM_APERTURE_PEER ||
	       (segment->src_aperture == UVM_APERTURE_PEER &&
		segment->kind != UVM_COPY_FILL);
}

/* What the driver writes into the engine's descriptor for @segment. */
static struct uvm_sim_copy_desc describe(const struct uvm_gpu_segment *segment,
					 unsigned int peer)
{
	struct uvm_sim_copy_desc desc = {
		.src = segment->src,
		.dst = segment->dst,
		.length = segment->length,
		.flags = peer << UVM_SIM_COPY_PEER_SHIFT,
	};

	if (segment->kind == UVM_COPY_FILL)
		desc.flags |= UVM_SIM_COPY_FILL;
	else if (segment->src_aperture == UVM_APERTURE_SYSTEM)
		desc.flags |= UVM_SIM_COPY_SRC_SYSTEM;
	else if (segment->src_aperture == UVM_APERTURE_PEER)
		desc.flags |= UVM_SIM_COPY_SRC_PEER;
	if (segment->dst_aperture == UVM_APERTURE_SYSTEM)
		desc.flags |= UVM_SIM_COPY_DST_SYSTEM;
	else if (segment->dst_aperture == UVM_APERTURE_PEER)
		desc.flags |= UVM_SIM_COPY_DST_PEER;
	return desc;
}

static struct sim_target target_of(u32 flags, u32 system, u32 peer)
{
	struct sim_target target = { .aperture = UVM_APERTURE_DEVICE };

	if (flags & system)
		target.aperture = UVM_APERTURE_SYSTEM;
	else if (flags & peer)
		target.aperture = UVM_APERTURE_PEER;
	target.peer = (flags >> UVM_SIM_COPY_PEER_SHIFT) % UVM_SIM_PEERS;
	return target;
}

static bool whole_pages(const void *dst, const void *src, u32 n)
{
	return !(((unsigned long)dst | (unsigned long)src | n) & ~PAGE_MASK);
}

static void copy_piece(void *dst, void *src, u32 n)
{
	u32 i;

	if (unlikely(!whole_pages(dst, src, n))) {
		memcpy(dst, src, n);
		return;
	}
	/* copy_page() is assembly that KASAN doesn't see. */
	kasan_check_read(src, n);
	kasan_check_write(dst, n);
	for (i = 0; i < n; i += PAGE_SIZE)
		copy_page(dst + i, src + i);
}

/* The pattern starts anew at each piece: its period divides the length. */
static void fill_piece(void *dst, u64 pattern, u32 n)
{
	memset64(dst, pattern, n / sizeof(pattern));
}

/* Do what is contiguous on both sides from @done on: the bytes, or -EFAULT. */
static int run_piece(struct sim_gpu *gpu, const struct uvm_sim_copy_desc *desc,
		     u32 done)
{
	u32 n = min(desc->length - done, SIM_PIECE_BYTES);
	struct sim_target to = target_of(desc->flags, UVM_SIM_COPY_DST_SYSTEM,
					 UVM_SIM_COPY_DST_PEER);
	struct sim_target from = target_of(desc->flags, UVM_SIM_COPY_SRC_SYSTEM,
					   UVM_SIM_COPY_SRC_PEER);
	void *dst, *src;

	dst = sim_memory_at(gpu, desc->dst + done, &n, to, true);
	if (unlikely(!dst))
		return -EFAULT;
	if (desc->flags & UVM_SIM_COPY_FILL) {
		fill_piece(dst, desc->src, n);
		return n;
	}
	src = sim_memory_at(gpu, desc->src + done, &n, from, false);
	if (unlikely(!src))
		return -EFAULT;
	copy_piece(dst, src, n);
	return n;
}

static int run_desc(struct sim_ce *ce, const struct uvm_sim_copy_desc *desc)
{
	u32 done = 0;
	int n;

	while (done < desc->length) {
		if (unlikely(READ_ONCE(ce->resetting)))
			return -EIO;
		rcu_read_lock();
		n = run_piece(ce->gpu, desc, done);
		rcu_read_unlock();
		if (unlikely(n < 0))
			return n;
		done += n;
		cond_resched();
	}
	return 0;
}

static int run_segment(struct sim_ce *ce, const struct uvm_gpu_segment *segment)
{
	struct uvm_sim_copy_desc desc;
	int peer = 0;

	if (names_peer(segment))
		peer = sim_peer_number(ce->gpu, segment->peer);
	if (unlikely(peer < 0)) {
		sim_count(ce->gpu, SIM_STAT_BAD_ACCESSES, 1);
		return peer;
	}
	desc = describe(segment, peer);
	return run_desc(ce, &desc);
}

static bool interrupted(struct sim_ce *ce)
{
	return READ_ONCE(ce->resetting) || kthread_should_stop();
}

static int run_job(struct sim_ce *ce, const struct sim_job *job)
{
	struct sim_gpu *gpu = ce->gpu;
	u64 bytes = 0, peer_bytes = 0;
	unsigned int i;
	u64 start;
	int ret = 0;

	if (sim_knob_fires(&gpu->hang_copy)) {
		wait_event_idle(ce->work, interrupted(ce));
		return -EIO;
	}
	if (sim_knob_fires(&gpu->fail_copy))
		return -EIO;
	start = ktime_get_ns();
	for (i = 0; i < job->count; i++) {
		ret = run_segment(ce, &job->segments[i]);
		if (ret)
			break;
		bytes += job->segments[i].length;
		if (names_peer(&job->segments[i]))
			peer_bytes += job->segments[i].length;
	}
	sim_count(gpu, SIM_STAT_BATCHES, 1);
	sim_count(gpu, SIM_STAT_SEGMENTS, job->count);
	sim_count(gpu, SIM_STAT_BYTES, bytes);
	sim_count(gpu, SIM_STAT_PEER_BYTES, peer_bytes);
	sim_count(gpu, SIM_STAT_COPY_NS, ktime_get_ns() - start);
	return ret;
}

static void unuse_peers(const struct sim_job *job)
{
	unsigned long number;

	for_each_set_bit(number, &job->peers, UVM_SIM_PEERS)
		sim_peer_unuse(number);
}

/* The GPUs that the segments name stay until the job is finished. */
static int use_peers(struct sim_job *job)
{
	unsigned int i;
	int number;

	for (i = 0; i < job->count; i++) {
		if (!names_peer(&job->segments[i]))
			continue;
		number = sim_peer_number(job->ce->gpu, job->segments[i].peer);
		if (WARN_ONCE(number < 0, "uvm_sim: copy from or to no peer\n")) {
			unuse_peers(job);
			return -EINVAL;
		}
		if (!__test_and_set_bit(number, &job->peers))
			sim_peer_use(number);
	}
	return 0;
}

/* Under the lock of the fence: no more of the job is touched after @ready is set. */
static void after_signaled(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	struct sim_job *job = container_of(cb, struct sim_job, after_cb);
	struct sim_ce *ce = job->ce;

	/* Pairs with the acquire in take_job(). */
	smp_store_release(&job->ready, true);
	wake_up(&ce->work);
}

/* Before it is queued. */
static void come_after(struct sim_job *job, struct dma_fence *after)
{
	job->ready = true;
	if (!after)
		return;
	job->ready = false;
	job->after = dma_fence_get(after);
	if (dma_fence_add_callback(after, &job->after_cb, after_signaled))
		job->ready = true;
}

static void finish_job(struct sim_job *job, int error)
{
	/* If it is being called, this waits: it runs under the lock of the fence. */
	if (job->after) {
		dma_fence_remove_callback(job->after, &job->after_cb);
		dma_fence_put(job->after);
	}
	unuse_peers(job);
	if (error) {
		sim_count(job->ce->gpu, SIM_STAT_BATCH_ERRORS, 1);
		dma_fence_set_error(&job->fence, error);
	}
	dma_fence_signal(&job->fence);
	dma_fence_put(&job->fence);
}

static struct sim_job *take_job(struct sim_ce *ce)
{
	struct sim_job *job = NULL;

	spin_lock(&ce->lock);
	if (!ce->resetting)
		job = list_first_entry_or_null(&ce->queue, struct sim_job, node);
	/* Pairs with after_signaled(): what the other engine wrote is seen. */
	if (job && !smp_load_acquire(&job->ready))
		job = NULL;
	if (job) {
		list_del_init(&job->node);
		WRITE_ONCE(ce->current_job, &job->fence);
	}
	spin_unlock(&ce->lock);
	return job;
}

static void job_done(struct sim_ce *ce)
{
	spin_lock(&ce->lock);
	WRITE_ONCE(ce->current_job, NULL);
	spin_unlock(&ce->lock);
	wake_up_all(&ce->idle);
}

static int ce_thread(void *data)
{
	struct sim_ce *ce = data;
	struct sim_job *job;
	bool cookie;
	int ret;

	for (;;) {
		job = NULL;
		wait_event_idle(ce->work, (job = take_job(ce)) ||
				kthread_should_stop());
		if (!job)
			return 0;
		cookie = dma_fence_begin_signalling();
		ret = run_job(ce, job);
		finish_job(job, ret);
		job_done(ce);
		dma_fence_end_signalling(cookie);
	}
}

static struct sim_job *job_alloc(struct sim_ce *ce,
				 const struct uvm_gpu_segment *segments,
				 unsigned int count)
{
	struct sim_job *job;
	int ret;

	job = kzalloc(sizeof(*job), GFP_KERNEL);
	if (!job)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&job->lock);
	job->ce = ce;
	job->segments = segments;
	job->count = count;
	ret = use_peers(job);
	if (ret) {
		kfree(job);
		return ERR_PTR(ret);
	}
	atomic_inc(&ce->gpu->jobs);
	return job;
}

struct dma_fence *sim_copy(struct uvm_gpu *core, unsigned int engine,
			   const struct uvm_gpu_segment *segments,
			   unsigned int count, struct dma_fence *after)
{
	struct sim_gpu *gpu = uvm_gpu_priv(core);
	struct sim_job *job;
	struct sim_ce *ce;

	if (engine >= gpu->nr_ces)
		return ERR_PTR(-EINVAL);
	ce = &gpu->ces[engine];
	job = job_alloc(ce, segments, count);
	if (IS_ERR(job))
		return ERR_CAST(job);
	come_after(job, after);

	spin_lock(&ce->lock);
	dma_fence_init(&job->fence, &job_fence_ops, &job->lock, ce->context,
		       ++ce->seqno);
	dma_fence_get(&job->fence);
	list_add_tail(&job->node, &ce->queue);
	spin_unlock(&ce->lock);
	wake_up(&ce->work);
	return &job->fence;
}

/**
 * sim_ce_reset() - drop everything an engine has to do
 * @ce: engine
 *
 * When it returns, the fences of all jobs that were submitted before have
 * signaled with -EIO or earlier, the engine makes no access for them, and is
 * ready for new ones. May sleep; bounded by a copy of 64 KiB.
 */
void sim_ce_reset(struct sim_ce *ce)
{
	struct sim_job *job, *next;
	LIST_HEAD(dropped);

	mutex_lock(&ce->reset_lock);
	spin_lock(&ce->lock);
	WRITE_ONCE(ce->resetting, true);
	list_splice_init(&ce->queue, &dropped);
	spin_unlock(&ce->lock);

	wake_up_all(&ce->work);
	wait_event(ce->idle, !READ_ONCE(ce->current_job));
	list_for_each_entry_safe(job, next, &dropped, node)
		finish_job(job, -EIO);

	spin_lock(&ce->lock);
	WRITE_ONCE(ce->resetting, false);
	spin_unlock(&ce->lock);
	mutex_unlock(&ce->reset_lock);
	wake_up_all(&ce->work);
}

static int ce_init(struct sim_gpu *gpu, struct sim_ce *ce, unsigned int i)
{
	ce->gpu = gpu;
	snprintf(ce->name, sizeof(ce->name), "%s/ce%u", gpu->config.name, i);
	spin_lock_init(&ce->lock);
	INIT_LIST_HEAD(&ce->queue);
	ce->context = dma_fence_context_alloc(1);
	mutex_init(&ce->reset_lock);
	init_waitqueue_head(&ce->work);
	init_waitqueue_head(&ce->idle);
	ce->thread = kthread_run(ce_thread, ce, "%s", ce->name);
	return PTR_ERR_OR_ZERO(ce->thread);
}

static void ces_stop(struct sim_gpu *gpu, unsigned int nr)
{
	while (nr--) {
		sim_ce_reset(&gpu->ces[nr]);
		kthread_stop(gpu->ces[nr].thread);
	}
}

/**
 * sim_ces_init() - start the copy engines
 * @gpu: its nr_ces is set
 *
 * Return: 0 or -errno.
 */
int sim_ces_init(struct sim_gpu *gpu)
{
	unsigned int i;
	int ret;

	atomic_set(&gpu->jobs, 1);
	init_completion(&gpu->jobs_gone);
	gpu->ces = kcalloc(gpu->nr_ces, sizeof(*gpu->ces), GFP_KERNEL);
	if (!gpu->ces)
		return -ENOMEM;
	for (i = 0; i < gpu->nr_ces; i++) {
		ret = ce_init(gpu, &gpu->ces[i], i);
		if (ret)
			goto err_stop;
	}
	return 0;

err_stop:
	ces_stop(gpu, i);
	kfree(gpu->ces);
	return ret;
}

/**
 * sim_ces_fini() - stop the copy engines
 * @gpu: the core has no use for it any more
 *
 * Waits until the last fence is released.
 */
void sim_ces_fini(struct sim_gpu *gpu)
{
	ces_stop(gpu, gpu->nr_ces);
	job_count_down(gpu);
	wait_for_completion(&gpu->jobs_gone);
	synchronize_rcu();
	kfree(gpu->ces);
}
