// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Copies
 *
 * Owns a batch from its first segment to the moment when the engine makes no more
 * access for it. uvm_copy_finish() waits with a limit; past it the engine, then the
 * GPU, is reset. Only the end of the batch gives its pages back: if even the reset
 * fails, the caller is told to leak them, and the GPU gets no copies any more, so that
 * no more is lost. If such a batch is about the memory of another GPU, that stays where
 * it is until the fence signals after all: &uvm_gpu.strays.
 */
#include "core.h"

#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/slab.h>

/**
 * uvm_copy_init() - begin a batch
 * @copy: the batch
 * @gpu: whose engine will copy; outlives the batch
 * @seg: room for segments; must stay until uvm_copy_finish()
 * @max: its size
 */
void uvm_copy_init(struct uvm_copy *copy, struct uvm_gpu *gpu,
		   struct uvm_gpu_segment *seg, unsigned int max)
{
	copy->gpu = gpu;
	copy->fence = NULL;
	copy->seg = seg;
	copy->nr = 0;
	copy->max = max;
	copy->engine = (unsigned int)atomic_inc_return(&gpu->next_engine) %
		       gpu->desc.copy_engines;
}

static bool uvm_copy_merge(struct uvm_gpu_segment *last,
			   const struct uvm_gpu_segment *seg)
{
	if (last->kind != seg->kind || last->src_aperture != seg->src_aperture ||
	    last->dst_aperture != seg->dst_aperture || last->peer != seg->peer ||
	    last->dst + last->length != seg->dst)
		return false;
	if (seg->kind == UVM_COPY_FILL ? last->src != seg->src :
					 last->src + last->length != seg->src)
		return false;
	last->length += seg->length;
	return true;
}

/**
 * uvm_copy_add() - append a segment, or grow the last one by it
 * @copy: not started yet
 * @seg: at most one for each of the room given to uvm_copy_init()
 */
void uvm_copy_add(struct uvm_copy *copy, const struct uvm_gpu_segment *seg)
{
	if (copy->nr && uvm_copy_merge(&copy->seg[copy->nr - 1], seg))
		return;
	if (!WARN_ON_ONCE(copy->nr == copy->max))
		copy->seg[copy->nr++] = *seg;
}

/**
 * uvm_copy_start() - hand the batch to the engine
 * @copy: the batch; nothing happens if it is empty
 *
 * Return: 0, or what the backend says, or -EIO if the GPU could not be reset once; then
 * no copy was started.
 */
int uvm_copy_start(struct uvm_copy *copy)
{
	struct uvm_gpu *gpu = copy->gpu;
	struct dma_fence *fence;

	if (!copy->nr)
		return 0;
	if (READ_ONCE(gpu->lost))
		return -EIO;
	fence = gpu->desc.ops->copy(gpu, copy->engine, copy->seg, copy->nr);
	if (IS_ERR(fence))
		return PTR_ERR(fence);
	copy->fence = fence;
	return 0;
}

/* The engine did not answer in time. Whether this helped, the fence tells. */
static void uvm_copy_reset(struct uvm_copy *copy)
{
	struct uvm_gpu *gpu = copy->gpu;

	pr_err("%s: copy engine %u hangs, resetting it\n", gpu->name,
	       copy->engine);
	if (!gpu->desc.ops->reset(gpu, UVM_RESET_ENGINE, copy->engine))
		return;
	pr_err("%s: engine reset failed, resetting the GPU\n", gpu->name);
	gpu->desc.ops->reset(gpu, UVM_RESET_GPU, 0);
}

/**
 * struct uvm_stray - the memory of a GPU that a lost batch of another is about
 * @cb: on the batch's fence
 * @peer: whose memory it is
 */
struct uvm_stray {
	struct dma_fence_cb cb;
	struct uvm_gpu *peer;
};

static void uvm_stray_end(struct uvm_gpu *peer)
{
	struct module *owner = peer->desc.owner;

	if (atomic_dec_and_test(&peer->strays))
		wake_up_all(&uvm_devmem_idle);
	/* From here on the GPU may be gone. */
	module_put(owner);
}

/* The engine answered after all, or its GPU went. */
static void uvm_stray_signaled(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	struct uvm_stray *stray = container_of(cb, struct uvm_stray, cb);

	uvm_stray_end(stray->peer);
	kfree(stray);
}

/*
 * Keeps a GPU, which the batch's pages keep so far. Without memory to remember that by,
 * it is kept for good.
 */
static void uvm_stray_begin(struct dma_fence *fence, struct uvm_gpu *peer)
{
	struct uvm_stray *stray;

	__module_get(peer->desc.owner);
	atomic_inc(&peer->strays);
	stray = kmalloc(sizeof(*stray), GFP_KERNEL);
	if (!stray)
		return;
	stray->peer = peer;
	if (dma_fence_add_callback(fence, &stray->cb, uvm_stray_signaled)) {
		uvm_stray_end(peer);
		kfree(stray);
	}
}

/* The batch may still read other GPUs' memory. */
static void uvm_copy_stray(struct uvm_copy *copy)
{
	struct uvm_gpu *last = NULL;
	unsigned int i;

	for (i = 0; i < copy->nr; i++) {
		const struct uvm_gpu_segment *seg = &copy->seg[i];

		if (seg->src_aperture != UVM_APERTURE_PEER &&
		    seg->dst_aperture != UVM_APERTURE_PEER)
			continue;
		if (seg->peer != last)
			uvm_stray_begin(copy->fence, seg->peer);
		last = seg->peer;
	}
}

/**
 * uvm_copy_finish() - wait until the batch is over
 * @copy: the batch; an empty one is over
 *
 * Not interruptible: the memory of the batch is the engine's until it is over.
 * Bounded by the engine's time limit and the resets.
 *
 * Return: 0 if all was copied; -EIO if it wasn't, and the memory is ours again;
 * -ETIMEDOUT if the engine may still touch the memory: leak it, and the segments,
 * which the engine may still read.
 */
int uvm_copy_finish(struct uvm_copy *copy)
{
	struct uvm_gpu *gpu = copy->gpu;
	int ret = 0;

	if (!copy->fence)
		return 0;
	if (!dma_fence_wait_timeout(copy->fence, false,
			msecs_to_jiffies(gpu->desc.copy_timeout_ms)))
		uvm_copy_reset(copy);
	if (!dma_fence_is_signaled(copy->fence)) {
		pr_err("%s: reset failed, the batch's pages are lost\n",
		       gpu->name);
		WRITE_ONCE(gpu->lost, true);
		uvm_copy_stray(copy);
		ret = -ETIMEDOUT;
	} else if (dma_fence_get_status(copy->fence) < 0) {
		ret = -EIO;
	}
	dma_fence_put(copy->fence);
	copy->fence = NULL;
	return ret;
}
