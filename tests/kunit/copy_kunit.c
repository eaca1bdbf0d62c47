// SPDX-License-Identifier: GPL-2.0-only
/*
 * Copy batches: what may be merged is, and nothing else; and a batch that never ends
 * keeps the GPUs that it reads.
 */
#include "copy.c"

#include <linux/dma-fence.h>

#include <kunit/test.h>

static const struct uvm_gpu_segment seg_base = {
	.src = 0x10000, .dst = 0x20000, .length = 0x1000,
	.src_aperture = UVM_APERTURE_SYSTEM,
};

static struct uvm_gpu_segment seg_next(void)
{
	struct uvm_gpu_segment seg = seg_base;

	seg.src += seg.length;
	seg.dst += seg.length;
	return seg;
}

static void copy_merges_contiguous(struct kunit *test)
{
	struct uvm_gpu_segment seg = seg_base, next = seg_next();

	KUNIT_EXPECT_TRUE(test, uvm_copy_merge(&seg, &next));
	KUNIT_EXPECT_EQ(test, seg.length, 0x2000U);
	next.src += 0x1000;
	next.dst += 0x1000;
	KUNIT_EXPECT_TRUE(test, uvm_copy_merge(&seg, &next));
	KUNIT_EXPECT_EQ(test, seg.length, 0x3000U);
}

static void copy_keeps_apart(struct kunit *test)
{
	struct uvm_gpu_segment seg = seg_base, next;

	next = seg_next();
	next.src += 0x1000;
	KUNIT_EXPECT_FALSE(test, uvm_copy_merge(&seg, &next));
	next = seg_next();
	next.dst -= 0x1000;
	KUNIT_EXPECT_FALSE(test, uvm_copy_merge(&seg, &next));
	next = seg_next();
	next.kind = UVM_COPY_FILL;
	KUNIT_EXPECT_FALSE(test, uvm_copy_merge(&seg, &next));
	next = seg_next();
	next.src_aperture = UVM_APERTURE_DEVICE;
	KUNIT_EXPECT_FALSE(test, uvm_copy_merge(&seg, &next));
	next = seg_next();
	next.dst_aperture = UVM_APERTURE_SYSTEM;
	KUNIT_EXPECT_FALSE(test, uvm_copy_merge(&seg, &next));
	KUNIT_EXPECT_EQ(test, seg.length, 0x1000U);
}

/* A fill's source is a pattern, not an address. */
static void copy_merges_fills_by_pattern(struct kunit *test)
{
	struct uvm_gpu_segment seg = seg_base, next = seg_next();

	seg.kind = UVM_COPY_FILL;
	next.kind = UVM_COPY_FILL;
	KUNIT_EXPECT_FALSE(test, uvm_copy_merge(&seg, &next));
	next.src = seg.src;
	KUNIT_EXPECT_TRUE(test, uvm_copy_merge(&seg, &next));
}

/* An engine that neither answers nor can be reset. */
struct copy_hung {
	struct uvm_gpu_ops ops;
	struct uvm_gpu gpu;
	struct uvm_gpu peer[2];
	struct uvm_gpu_segment seg[4];
	struct uvm_copy copy;
	struct dma_fence fence;
	spinlock_t lock;
};

static const char *copy_fence_name(struct dma_fence *fence)
{
	return "copy_kunit";
}

/* The test frees it. */
static void copy_fence_release(struct dma_fence *fence)
{
}

static const struct dma_fence_ops copy_fence_ops = {
	.get_driver_name = copy_fence_name,
	.get_timeline_name = copy_fence_name,
	.release = copy_fence_release,
};

static struct dma_fence *copy_hang(struct uvm_gpu *gpu, unsigned int engine,
				   const struct uvm_gpu_segment *segments,
				   unsigned int count, struct dma_fence *after)
{
	struct copy_hung *hung = container_of(gpu, struct copy_hung, gpu);

	return dma_fence_get(&hung->fence);
}

static int copy_no_reset(struct uvm_gpu *gpu, int scope, unsigned int engine)
{
	return -EIO;
}

static struct copy_hung *copy_hung_alloc(struct kunit *test)
{
	struct copy_hung *hung = kunit_kzalloc(test, sizeof(*hung), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, hung);
	hung->ops.copy = copy_hang;
	hung->ops.reset = copy_no_reset;
	hung->gpu.desc.ops = &hung->ops;
	hung->gpu.desc.copy_engines = 1;
	hung->gpu.desc.copy_timeout_ms = 1;
	mutex_init(&hung->gpu.reset_lock);
	spin_lock_init(&hung->lock);
	dma_fence_init(&hung->fence, &copy_fence_ops, &hung->lock, 1, 1);
	uvm_copy_init(&hung->copy, &hung->gpu, hung->seg, ARRAY_SIZE(hung->seg));
	return hung;
}

static void copy_hung_from(struct copy_hung *hung, struct uvm_gpu *peer)
{
	struct uvm_gpu_segment seg = seg_base;

	if (peer)
		seg.src_aperture = UVM_APERTURE_PEER;
	seg.peer = peer;
	uvm_copy_add(&hung->copy, &seg);
}

static void copy_lost_keeps_peers(struct kunit *test)
{
	struct copy_hung *hung = copy_hung_alloc(test);

	copy_hung_from(hung, NULL);
	copy_hung_from(hung, &hung->peer[0]);
	copy_hung_from(hung, &hung->peer[0]);
	copy_hung_from(hung, &hung->peer[1]);
	KUNIT_EXPECT_EQ(test, uvm_copy_start(&hung->copy), 0);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&hung->copy), -ETIMEDOUT);
	KUNIT_EXPECT_TRUE(test, hung->gpu.lost);
	KUNIT_EXPECT_EQ(test, atomic_read(&hung->gpu.strays), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&hung->peer[0].strays), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&hung->peer[1].strays), 1);
	/* It ends after all: nobody is kept any more. */
	dma_fence_signal(&hung->fence);
	KUNIT_EXPECT_EQ(test, atomic_read(&hung->peer[0].strays), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&hung->peer[1].strays), 0);
	dma_fence_put(&hung->fence);
}

/* One that fails is over. */
static void copy_failed_keeps_nobody(struct kunit *test)
{
	struct copy_hung *hung = copy_hung_alloc(test);

	copy_hung_from(hung, &hung->peer[0]);
	KUNIT_EXPECT_EQ(test, uvm_copy_start(&hung->copy), 0);
	dma_fence_set_error(&hung->fence, -EIO);
	dma_fence_signal(&hung->fence);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&hung->copy), -EIO);
	KUNIT_EXPECT_FALSE(test, hung->gpu.lost);
	KUNIT_EXPECT_EQ(test, atomic_read(&hung->peer[0].strays), 0);
	dma_fence_put(&hung->fence);
}

/* A batch that relies on zeroes which are just being made has nothing else to do. */
static void copy_rely(struct copy_hung *hung)
{
	uvm_copy_init(&hung->copy, &hung->gpu, hung->seg, ARRAY_SIZE(hung->seg));
	uvm_copy_come_after(&hung->copy, dma_fence_get(&hung->fence), false);
	uvm_copy_come_after(&hung->copy, dma_fence_get(&hung->fence), true);
	uvm_copy_come_after(&hung->copy, dma_fence_get(&hung->fence), false);
}

static void copy_relies_on_fill(struct kunit *test)
{
	struct copy_hung *hung = copy_hung_alloc(test);

	copy_rely(hung);
	KUNIT_EXPECT_EQ(test, uvm_copy_start(&hung->copy), 0);
	dma_fence_set_error(&hung->fence, -EIO);
	dma_fence_signal(&hung->fence);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&hung->copy), -EIO);
	/* all references are given back */
	KUNIT_EXPECT_EQ(test, kref_read(&hung->fence.refcount), 1U);
	/* the batch fails that relied on it, and no other */
	uvm_copy_init(&hung->copy, &hung->gpu, hung->seg, ARRAY_SIZE(hung->seg));
	uvm_copy_come_after(&hung->copy, dma_fence_get(&hung->fence), false);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&hung->copy), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&hung->fence.refcount), 1U);
	dma_fence_put(&hung->fence);
}

/* The fill never ends: its memory isn't ours, and nobody waits for ever. */
static void copy_gives_up_fill(struct kunit *test)
{
	struct copy_hung *hung = copy_hung_alloc(test);

	copy_rely(hung);
	KUNIT_EXPECT_EQ(test, uvm_copy_start(&hung->copy), 0);
	WRITE_ONCE(hung->gpu.lost, true);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&hung->copy), -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, kref_read(&hung->fence.refcount), 1U);
	/* nor is it begun with then */
	copy_rely(hung);
	copy_hung_from(hung, NULL);
	KUNIT_EXPECT_EQ(test, uvm_copy_start(&hung->copy), -EIO);
	KUNIT_EXPECT_EQ(test, kref_read(&hung->fence.refcount), 1U);
	dma_fence_signal(&hung->fence);
	dma_fence_put(&hung->fence);
}

#define DIVIDE_MAX	64

/* A batch, and the same one after it was divided, page by page. */
struct copy_divide {
	struct uvm_gpu gpu;
	struct uvm_gpu_segment was[DIVIDE_MAX];
	struct uvm_gpu_segment seg[DIVIDE_MAX + 1];
	struct uvm_copy copy;
};

static void copy_expect_same(struct kunit *test, const struct copy_divide *d,
			     unsigned int nr)
{
	const struct uvm_gpu_segment *seg = d->seg, *was;
	u32 done = 0;

	for (was = d->was; was < d->was + nr; was++, done = 0)
		for (; done < was->length; done += seg++->length) {
			KUNIT_EXPECT_EQ(test, seg->dst, was->dst + done);
			KUNIT_EXPECT_EQ(test, seg->src, was->kind == UVM_COPY_FILL ?
					was->src : was->src + done);
			KUNIT_EXPECT_EQ(test, seg->kind, was->kind);
		}
	KUNIT_EXPECT_PTR_EQ(test, seg, d->seg + d->copy.nr);
}

/* @nr segments of @pages; returns the number of parts. */
static unsigned int copy_divided(struct kunit *test, struct copy_divide *d,
				 unsigned int nr, unsigned int pages,
				 unsigned int engines, unsigned int room)
{
	unsigned int i, parts;

	for (i = 0; i < nr; i++)
		d->was[i] = (struct uvm_gpu_segment){
			.kind = i % 3 ? UVM_COPY_PLAIN : UVM_COPY_FILL,
			.src = (u64)i << 32,
			.dst = (u64)(nr - i) << 32,
			.length = pages * PAGE_SIZE,
		};
	memcpy(d->seg, d->was, sizeof(d->was));
	d->gpu.desc.copy_engines = engines;
	uvm_copy_init(&d->copy, &d->gpu, d->seg, nr + room);
	d->copy.nr = nr;
	parts = uvm_copy_divide(&d->copy);
	copy_expect_same(test, d, nr);
	return parts;
}

static void copy_is_halved(struct kunit *test)
{
	struct copy_divide *d = kunit_kzalloc(test, sizeof(*d), GFP_KERNEL);
	const struct uvm_copy_part *part;
	unsigned int nr;

	KUNIT_ASSERT_NOT_NULL(test, d);
	part = d->copy.part;
	KUNIT_EXPECT_EQ(test, copy_divided(test, d, 1, 512, 1, 1), 1U);
	KUNIT_EXPECT_EQ(test, copy_divided(test, d, 1, 255, 2, 1), 1U);
	for (nr = 1; nr < DIVIDE_MAX; nr++) {
		KUNIT_EXPECT_EQ(test, copy_divided(test, d, nr, 511, 2, 1), 2U);
		KUNIT_EXPECT_EQ(test, part[0].first, 0U);
		KUNIT_EXPECT_EQ(test, part[0].nr, part[1].first);
		KUNIT_EXPECT_EQ(test, part[1].first + part[1].nr, d->copy.nr);
		/* the two halves, to a page */
		d->copy.nr = part[0].nr;
		KUNIT_EXPECT_EQ(test, uvm_copy_bytes(&d->copy) >> PAGE_SHIFT,
				(u64)nr * 511 / 2);
	}
	/* no room to cut: where a segment ends, or not at all */
	KUNIT_EXPECT_EQ(test, copy_divided(test, d, 5, 512, 2, 0), 2U);
	KUNIT_EXPECT_EQ(test, part[0].nr, 2U);
	KUNIT_EXPECT_EQ(test, copy_divided(test, d, 1, 512, 2, 0), 1U);
	KUNIT_EXPECT_EQ(test, part[0].nr, 1U);
}

static struct kunit_case copy_cases[] = {
	KUNIT_CASE(copy_merges_contiguous),
	KUNIT_CASE(copy_keeps_apart),
	KUNIT_CASE(copy_merges_fills_by_pattern),
	KUNIT_CASE(copy_is_halved),
	KUNIT_CASE(copy_lost_keeps_peers),
	KUNIT_CASE(copy_failed_keeps_nobody),
	KUNIT_CASE(copy_relies_on_fill),
	KUNIT_CASE(copy_gives_up_fill),
	{}
};

static struct kunit_suite copy_suite = {
	.name = "uvm_copy",
	.test_cases = copy_cases,
};

kunit_test_suite(copy_suite);
