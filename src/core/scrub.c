// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Scrubbing
 *
 * Owns the chunk that is being filled with zeroes, so that a page nobody has touched yet
 * finds device memory that needs no fill. When a GPU has had no batch under way for a
 * while, chunks that are free and dirty are filled by an engine, one at a time, until
 * there is none left or somebody else's batch comes. After a fill that failed, and while
 * nothing is freed and nothing copied, nothing is done.
 *
 * A chunk is free while it is filled, and goes to whoever wants it: it carries the fence
 * of its fill. Only the time it takes to start the fill it is kept back, and never is it
 * the only one of its zone then. Every batch that writes to it is started after the fence
 * (copy.c), and so is what takes it for zeroed: that batch is not over before the fill,
 * and fails if the fill does. So nobody who gets the chunk waits longer than for a batch
 * of his own: the fill has the same time limit, and the same resets follow.
 *
 * If an engine can't be reset the chunk is lost: what is free of it is out of use for
 * good, and what comes back, too. That is counted as used, like all that is lost.
 *
 * The fence is set before the chunk can be had, and stays until the fill is over and, if
 * it failed, the chunk isn't called zeroed any more. So who finds no fence, and looks at
 * what the chunk is called afterwards, sees the truth.
 */
#include "core.h"

#include <linux/dma-fence.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/slab.h>

static bool uvm_scrub_enabled = true;
module_param_named(scrub, uvm_scrub_enabled, bool, 0644);
MODULE_PARM_DESC(scrub, "Fill free device memory with zeroes while a GPU is idle");

/* So long a GPU must have copied nothing. */
#define UVM_SCRUB_DELAY		msecs_to_jiffies(20)

/**
 * struct uvm_scrub - the fill of a chunk
 * @gpu: whose memory it is
 * @work: does one after the other
 * @copy: the batch
 * @seg: of it
 * @busy_at: when the GPU's last other batch was over, in jiffies
 * @lock: protects the rest; irq-safe
 * @on: @work may be queued
 * @fence: of the fill, or NULL if there is none
 * @base: the chunk's address
 */
struct uvm_scrub {
	struct uvm_gpu *gpu;
	struct delayed_work work;
	struct uvm_copy copy;
	struct uvm_gpu_segment seg;
	unsigned long busy_at;
	spinlock_t lock;
	bool on;
	struct dma_fence *fence;
	u64 base;
};

static void uvm_scrub_queue(struct uvm_scrub *scrub, unsigned long delay)
{
	unsigned long flags;

	spin_lock_irqsave(&scrub->lock, flags);
	if (scrub->on)
		queue_delayed_work(uvm_gpu_wq, &scrub->work, delay);
	spin_unlock_irqrestore(&scrub->lock, flags);
}

/**
 * uvm_scrub_kick() - there may be something to scrub
 * @gpu: the GPU
 *
 * Any context.
 */
void uvm_scrub_kick(struct uvm_gpu *gpu)
{
	struct uvm_scrub *scrub = gpu->scrub;

	if (scrub && READ_ONCE(uvm_scrub_enabled) && !delayed_work_pending(&scrub->work))
		uvm_scrub_queue(scrub, UVM_SCRUB_DELAY);
}

/**
 * uvm_scrub_idle() - no batch is under way any more
 * @gpu: the GPU
 *
 * The end of a fill doesn't count: its work goes on by itself, or, if the fill failed,
 * doesn't.
 */
void uvm_scrub_idle(struct uvm_gpu *gpu)
{
	struct uvm_scrub *scrub = gpu->scrub;

	if (!scrub || current_work() == &scrub->work.work)
		return;
	WRITE_ONCE(scrub->busy_at, jiffies);
	uvm_scrub_kick(gpu);
}

/**
 * uvm_scrub_after() - what a write must come after
 * @gpu: the GPU
 * @dst: address in its memory, of pages that the caller took
 * @length: bytes from there
 *
 * Return: a reference to the fence of the fill that writes there, or NULL.
 */
struct dma_fence *uvm_scrub_after(struct uvm_gpu *gpu, u64 dst, u64 length)
{
	struct uvm_scrub *scrub = gpu->scrub;
	struct dma_fence *fence = NULL;
	unsigned long flags;

	/* Set before the pages could be taken. Pairs with uvm_scrub_set(). */
	if (!scrub || !smp_load_acquire(&scrub->fence))
		return NULL;
	spin_lock_irqsave(&scrub->lock, flags);
	if (scrub->fence && dst < scrub->base + UVM_BLOCK_SIZE && dst + length > scrub->base)
		fence = dma_fence_get(scrub->fence);
	spin_unlock_irqrestore(&scrub->lock, flags);
	return fence;
}

/**
 * uvm_scrub_zeroed() - do pages contain zeroes?
 * @gpu: the GPU
 * @dst: address in its memory, of pages that the caller took and nobody wrote to since
 * @length: bytes from there, in one chunk
 * @after: a reference to the fence of the fill that zeroes them, if that isn't over
 *
 * Return: true if they do, or will when *@after has signaled without an error.
 */
bool uvm_scrub_zeroed(struct uvm_gpu *gpu, u64 dst, u64 length, struct dma_fence **after)
{
	/* First the fence: without one the chunk is called zeroed only if it is. */
	struct dma_fence *fence = uvm_scrub_after(gpu, dst, length);

	*after = NULL;
	if (!uvm_devmem_zeroed(&gpu->mem, dst >> PAGE_SHIFT, length >> PAGE_SHIFT) ||
	    (fence && dma_fence_is_signaled(fence) && dma_fence_get_status(fence) < 0)) {
		dma_fence_put(fence);
		return false;
	}
	*after = fence;
	return true;
}

static int uvm_scrub_start(struct uvm_scrub *scrub, unsigned long chunk)
{
	struct uvm_gpu_segment seg = {
		.kind = UVM_COPY_FILL,
		.dst = (u64)chunk << UVM_BLOCK_SHIFT,
		.length = UVM_BLOCK_SIZE,
	};

	/* No room for a second segment, so for one engine, and one fence. */
	uvm_copy_init(&scrub->copy, scrub->gpu, &scrub->seg, 1);
	uvm_copy_add(&scrub->copy, &seg);
	scrub->base = seg.dst;
	return uvm_copy_start(&scrub->copy);
}

static void uvm_scrub_set(struct uvm_scrub *scrub, struct dma_fence *fence)
{
	struct dma_fence *old = scrub->fence;
	unsigned long flags;

	spin_lock_irqsave(&scrub->lock, flags);
	/* Pairs with uvm_scrub_after(): whoever finds none sees what became of the chunk. */
	smp_store_release(&scrub->fence, fence);
	spin_unlock_irqrestore(&scrub->lock, flags);
	dma_fence_put(old);
}

static int uvm_scrub_chunk(struct uvm_scrub *scrub, unsigned long chunk)
{
	struct uvm_devmem *mem = &scrub->gpu->mem;
	int ret = uvm_scrub_start(scrub, chunk);

	if (ret) {
		uvm_devmem_scrub_put(mem, chunk, false);
		return ret;
	}
	uvm_scrub_set(scrub, dma_fence_get(scrub->copy.part[0].fence));
	uvm_devmem_scrub_put(mem, chunk, true);
	ret = uvm_copy_finish(&scrub->copy);
	if (ret)
		uvm_devmem_scrub_failed(mem, chunk, ret == -ETIMEDOUT);
	uvm_scrub_set(scrub, NULL);
	return ret;
}

/* Whoever has a batch under way calls uvm_scrub_idle() when it is over. */
static void uvm_scrub_work(struct work_struct *work)
{
	struct uvm_scrub *scrub = container_of(to_delayed_work(work), struct uvm_scrub, work);
	unsigned long idle = READ_ONCE(scrub->busy_at) + UVM_SCRUB_DELAY, now = jiffies;
	struct uvm_gpu *gpu = scrub->gpu;
	long chunk;

	if (!READ_ONCE(uvm_scrub_enabled) || READ_ONCE(gpu->lost) ||
	    atomic_read(&gpu->batches))
		return;
	if (time_before(now, idle)) {
		uvm_scrub_queue(scrub, idle - now);
		return;
	}
	chunk = uvm_devmem_scrub_take(&gpu->mem);
	if (chunk >= 0 && !uvm_scrub_chunk(scrub, chunk))
		uvm_scrub_queue(scrub, 0);
}

/**
 * uvm_scrub_init() - make ready to scrub
 * @gpu: its memory is there; not of UVM_MEMORY_NUMA
 *
 * It begins with the first uvm_scrub_kick().
 *
 * Return: 0 or -ENOMEM.
 */
int uvm_scrub_init(struct uvm_gpu *gpu)
{
	struct uvm_scrub *scrub = kzalloc(sizeof(*scrub), GFP_KERNEL);

	if (!scrub)
		return -ENOMEM;
	scrub->gpu = gpu;
	scrub->on = true;
	spin_lock_init(&scrub->lock);
	INIT_DELAYED_WORK(&scrub->work, uvm_scrub_work);
	gpu->scrub = scrub;
	return 0;
}

/* No engine fills anything any more, unless it is lost. Waits for engines. */
void uvm_scrub_stop(struct uvm_gpu *gpu)
{
	struct uvm_scrub *scrub = gpu->scrub;

	spin_lock_irq(&scrub->lock);
	scrub->on = false;
	spin_unlock_irq(&scrub->lock);
	cancel_delayed_work_sync(&scrub->work);
}

/* Stopped; nobody has pages any more. */
void uvm_scrub_fini(struct uvm_gpu *gpu)
{
	kfree(gpu->scrub);
	gpu->scrub = NULL;
}
