// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Copies
 *
 * Owns a batch from its first segment to the moment when no engine makes an access for
 * it any more. A large one is halved, for two engines. uvm_copy_finish() waits with a
 * limit; past it the engine, then the GPU, is reset. Only the end of the batch gives its
 * pages back: if even the reset fails, the caller is told to leak them, and the GPU gets
 * no copies any more, so that no more is lost. If such a batch is about the memory of
 * another GPU, that stays where it is until the fence signals after all: &uvm_gpu.strays.
 *
 * A batch that is about memory which is being filled with zeroes (scrub.c) comes after the
 * fill: the backend starts it then, and nobody waits before uvm_copy_finish().
 */
#include "core.h"

#include <linux/dma-fence.h>
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
	copy->seg = seg;
	copy->nr = 0;
	copy->max = max;
	copy->parts = 0;
	copy->error = 0;
	copy->after = NULL;
	copy->relies = false;
	copy->unclean = false;
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

/* What the fill that it relied on made. */
static void uvm_copy_end_after(struct uvm_copy *copy)
{
	if (copy->after && copy->relies && dma_fence_get_status(copy->after) < 0)
		copy->unclean = true;
	dma_fence_put(copy->after);
	copy->after = NULL;
	copy->relies = false;
}

/*
 * The batch comes after @fence, a reference that it takes over. There is one fill at a
 * time: if there was another fence, that has signaled.
 */
static void uvm_copy_come_after(struct uvm_copy *copy, struct dma_fence *fence, bool relies)
{
	if (copy->after && copy->after != fence)
		uvm_copy_end_after(copy);
	if (copy->after)
		dma_fence_put(fence);
	copy->after = fence;
	copy->relies |= relies;
}

/**
 * uvm_copy_zero() - make memory of the GPU contain zeroes
 * @copy: not started yet; a segment is added if they don't yet, as uvm_copy_add() does
 * @dst: address of pages that were taken for this batch
 * @length: bytes from there, in one chunk
 */
void uvm_copy_zero(struct uvm_copy *copy, u64 dst, u32 length)
{
	struct uvm_gpu_segment seg = {
		.kind = UVM_COPY_FILL,
		.dst = dst,
		.length = length,
	};
	struct dma_fence *after;

	if (!uvm_scrub_zeroed(copy->gpu, dst, length, &after))
		uvm_copy_add(copy, &seg);
	else if (after)
		uvm_copy_come_after(copy, after, true);
}

/* Of what it writes, some may be being filled. */
static void uvm_copy_order(struct uvm_copy *copy)
{
	struct dma_fence *fence;
	unsigned int i;

	for (i = 0; i < copy->nr; i++) {
		const struct uvm_gpu_segment *seg = &copy->seg[i];

		if (seg->dst_aperture != UVM_APERTURE_DEVICE)
			continue;
		fence = uvm_scrub_after(copy->gpu, seg->dst, seg->length);
		if (fence)
			uvm_copy_come_after(copy, fence, false);
	}
}

/* So much is worth the time of a second engine. */
#define UVM_COPY_WORTH_TWO	SZ_1M

static u64 uvm_copy_bytes(const struct uvm_copy *copy)
{
	unsigned int i;
	u64 bytes = 0;

	for (i = 0; i < copy->nr; i++)
		bytes += copy->seg[i].length;
	return bytes;
}

/* Makes two of segment @i, the first of them @length bytes long. */
static void uvm_copy_cut(struct uvm_copy *copy, unsigned int i, u32 length)
{
	struct uvm_gpu_segment *seg = &copy->seg[i];

	memmove(seg + 1, seg, (copy->nr - i) * sizeof(*seg));
	copy->nr++;
	seg[0].length = length;
	seg[1].length -= length;
	seg[1].dst += length;
	if (seg[1].kind != UVM_COPY_FILL)
		seg[1].src += length;
}

/* How many segments are one half of the batch, as near as can be; one may be cut. */
static unsigned int uvm_copy_halve(struct uvm_copy *copy, u64 bytes)
{
	u64 left = ALIGN_DOWN(bytes / 2, PAGE_SIZE);
	unsigned int i;

	for (i = 0; left >= copy->seg[i].length; i++)
		left -= copy->seg[i].length;
	if (left && copy->nr < copy->max)
		uvm_copy_cut(copy, i++, left);
	return i;
}

/* What each engine gets. Returns the number of parts. */
static unsigned int uvm_copy_divide(struct uvm_copy *copy)
{
	u64 bytes = uvm_copy_bytes(copy);
	unsigned int half = 0;

	if (copy->gpu->desc.copy_engines > 1 && bytes >= UVM_COPY_WORTH_TWO)
		half = uvm_copy_halve(copy, bytes);
	copy->part[0] = (struct uvm_copy_part){ .nr = half ?: copy->nr };
	copy->part[1] = (struct uvm_copy_part){ .first = half, .nr = copy->nr - half };
	return half ? 2 : 1;
}

static int uvm_copy_start_part(struct uvm_copy *copy, struct uvm_copy_part *part)
{
	struct uvm_gpu *gpu = copy->gpu;

	part->engine = (unsigned int)atomic_inc_return(&gpu->next_engine) %
		       gpu->desc.copy_engines;
	part->fence = gpu->desc.ops->copy(gpu, part->engine, copy->seg + part->first,
					  part->nr, copy->after);
	if (!IS_ERR(part->fence))
		return 0;
	/* -ETIMEDOUT is about a batch that was begun. */
	return part->fence == ERR_PTR(-ETIMEDOUT) ? -EIO : PTR_ERR(part->fence);
}

static void uvm_copy_over(struct uvm_gpu *gpu)
{
	if (atomic_dec_and_test(&gpu->batches))
		uvm_scrub_idle(gpu);
}

/**
 * uvm_copy_start() - hand the batch to engines
 * @copy: the batch; nothing happens if it is empty
 *
 * Return: 0; or what the backend says, or -EIO if the GPU could not be reset once: then
 * no copy was started.
 */
int uvm_copy_start(struct uvm_copy *copy)
{
	unsigned int parts;

	if (!copy->nr)
		return 0;
	if (READ_ONCE(copy->gpu->lost)) {
		uvm_copy_end_after(copy);
		return -EIO;
	}
	uvm_copy_order(copy);
	parts = uvm_copy_divide(copy);
	atomic_inc(&copy->gpu->batches);
	while (copy->parts < parts && !copy->error) {
		copy->error = uvm_copy_start_part(copy, &copy->part[copy->parts]);
		copy->parts += !copy->error;
	}
	if (copy->parts)
		return 0;
	uvm_copy_end_after(copy);
	uvm_copy_over(copy->gpu);
	return copy->error;
}

/* The engine did not answer in time. Whether this helped, the fence tells. */
static void uvm_copy_reset(struct uvm_gpu *gpu, const struct uvm_copy_part *part)
{
	if (dma_fence_is_signaled(part->fence))
		return;
	WRITE_ONCE(gpu->resets, gpu->resets + 1);
	pr_err("%s: copy engine %u hangs, resetting it\n", gpu->name, part->engine);
	if (!gpu->desc.ops->reset(gpu, UVM_RESET_ENGINE, part->engine))
		return;
	pr_err("%s: engine reset failed, resetting the GPU\n", gpu->name);
	gpu->desc.ops->reset(gpu, UVM_RESET_GPU, 0);
}

static bool uvm_copy_wait(struct uvm_gpu *gpu, struct dma_fence *fence)
{
	return dma_fence_wait_timeout(fence, false,
				      msecs_to_jiffies(gpu->desc.copy_timeout_ms));
}

/*
 * Several may wait for one engine: it is reset once, or what was started after that would
 * end, too. And an engine may have waited for another one that hung, so that the batches
 * behind that one did: if somebody had something reset meanwhile there is as much time
 * once more.
 */
static void uvm_copy_await(struct uvm_gpu *gpu, const struct uvm_copy_part *part)
{
	bool again = true, others;
	unsigned int resets;

	do {
		resets = READ_ONCE(gpu->resets);
		if (uvm_copy_wait(gpu, part->fence))
			return;
		mutex_lock(&gpu->reset_lock);
		others = again && gpu->resets != resets;
		if (!others)
			uvm_copy_reset(gpu, part);
		mutex_unlock(&gpu->reset_lock);
		again = false;
	} while (others);
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

/* The part may still read other GPUs' memory. */
static void uvm_copy_stray(const struct uvm_copy *copy,
			   const struct uvm_copy_part *part)
{
	struct uvm_gpu *last = NULL;
	unsigned int i;

	for (i = part->first; i < part->first + part->nr; i++) {
		const struct uvm_gpu_segment *seg = &copy->seg[i];

		if (seg->src_aperture != UVM_APERTURE_PEER &&
		    seg->dst_aperture != UVM_APERTURE_PEER)
			continue;
		if (seg->peer != last)
			uvm_stray_begin(part->fence, seg->peer);
		last = seg->peer;
	}
}

static int uvm_copy_finish_part(struct uvm_copy *copy, struct uvm_copy_part *part)
{
	struct uvm_gpu *gpu = copy->gpu;
	int ret = 0;

	uvm_copy_await(gpu, part);
	if (!dma_fence_is_signaled(part->fence)) {
		pr_err("%s: reset failed, the batch's pages are lost\n",
		       gpu->name);
		WRITE_ONCE(gpu->lost, true);
		uvm_copy_stray(copy, part);
		ret = -ETIMEDOUT;
	} else if (dma_fence_get_status(part->fence) < 0) {
		ret = -EIO;
	}
	dma_fence_put(part->fence);
	return ret;
}

/*
 * The fill has a time limit of its own, and who started it waits for it, resets the engine,
 * and declares the GPU lost if that doesn't help.
 */
static int uvm_copy_finish_after(struct uvm_copy *copy)
{
	struct uvm_gpu *gpu = copy->gpu;
	bool over = true;

	if (copy->after) {
		while (!uvm_copy_wait(gpu, copy->after))
			if (READ_ONCE(gpu->lost))
				break;
		over = dma_fence_is_signaled(copy->after);
		uvm_copy_end_after(copy);
	}
	if (!over)
		return -ETIMEDOUT;
	return copy->unclean ? -EIO : 0;
}

/**
 * uvm_copy_finish() - wait until the batch is over
 * @copy: the batch; an empty one is over
 *
 * Not interruptible: the memory of the batch is the engines' until it is over.
 * Bounded by the engines' time limit and the resets.
 *
 * Return: 0 if all was copied; -EIO, or what the backend said, if it wasn't, and the
 * memory is ours again; -ETIMEDOUT if an engine may still touch the memory: leak it,
 * and the segments, which the engine may still read.
 */
int uvm_copy_finish(struct uvm_copy *copy)
{
	int ret = copy->error, err;
	unsigned int i;

	err = uvm_copy_finish_after(copy);
	if (err == -ETIMEDOUT || !ret)
		ret = err;
	for (i = 0; i < copy->parts; i++) {
		err = uvm_copy_finish_part(copy, &copy->part[i]);
		if (err == -ETIMEDOUT || !ret)
			ret = err;
	}
	if (copy->parts)
		uvm_copy_over(copy->gpu);
	copy->parts = 0;
	copy->error = 0;
	return ret;
}
