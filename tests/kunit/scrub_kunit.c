// SPDX-License-Identifier: GPL-2.0-only
/*
 * Scrubbing: who gets a chunk while it is filled gets the fence of the fill, and one that
 * fails, hangs or never ends costs nobody more than a batch of his own would.
 */
#include "scrub.c"

#include <kunit/test.h>

#include <linux/delay.h>
#include <linux/prandom.h>

#define CHUNKS	4
#define PAGES	(CHUNKS * UVM_BLOCK_PAGES)

struct workqueue_struct *uvm_gpu_wq;

/**
 * struct scrub_ctx - a GPU whose fills end when the test says so, and all else at once
 * @ops: of @gpu
 * @gpu: the GPU
 * @index: pages that the test has
 * @seg: of @copy
 * @copy: a batch of the test
 * @lock: protects what follows
 * @fill: the fence of the fill under way, or NULL
 * @filling: the chunk
 * @after: what the last batch that isn't a fill of a chunk came after; compared, never
 *	followed
 * @batches: how many such there were
 * @resets: does a reset help?
 */
struct scrub_ctx {
	struct uvm_gpu_ops ops;
	struct uvm_gpu gpu;
	unsigned long index[PAGES];
	struct uvm_gpu_segment seg[4];
	struct uvm_copy copy;
	spinlock_t lock;
	struct dma_fence *fill;
	unsigned long filling;
	struct dma_fence *after;
	unsigned int batches;
	bool resets;
};

struct scrub_fence {
	struct dma_fence fence;
	spinlock_t lock;
};

static const char *scrub_fence_name(struct dma_fence *fence)
{
	return "scrub_kunit";
}

static const struct dma_fence_ops scrub_fence_ops = {
	.get_driver_name = scrub_fence_name,
	.get_timeline_name = scrub_fence_name,
};

static struct dma_fence *scrub_fence_alloc(void)
{
	static atomic_t seqno;
	struct scrub_fence *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return NULL;
	spin_lock_init(&f->lock);
	dma_fence_init(&f->fence, &scrub_fence_ops, &f->lock, 1, atomic_inc_return(&seqno));
	return &f->fence;
}

static struct dma_fence *scrub_copy(struct uvm_gpu *gpu, unsigned int engine,
				    const struct uvm_gpu_segment *segments,
				    unsigned int count, struct dma_fence *after)
{
	struct scrub_ctx *ctx = container_of(gpu, struct scrub_ctx, gpu);
	struct dma_fence *fence = scrub_fence_alloc();

	if (!fence)
		return ERR_PTR(-ENOMEM);
	spin_lock(&ctx->lock);
	if (segments->length == UVM_BLOCK_SIZE && segments->kind == UVM_COPY_FILL) {
		ctx->fill = dma_fence_get(fence);
		ctx->filling = segments->dst >> UVM_BLOCK_SHIFT;
	} else {
		ctx->after = after;
		ctx->batches++;
		dma_fence_signal(fence);
	}
	spin_unlock(&ctx->lock);
	return fence;
}

/* The fill under way ends. */
static bool scrub_signal(struct scrub_ctx *ctx, int error)
{
	struct dma_fence *fence;

	spin_lock(&ctx->lock);
	fence = ctx->fill;
	ctx->fill = NULL;
	spin_unlock(&ctx->lock);
	if (!fence)
		return false;
	if (error)
		dma_fence_set_error(fence, error);
	dma_fence_signal(fence);
	dma_fence_put(fence);
	return true;
}

static int scrub_reset(struct uvm_gpu *gpu, int scope, unsigned int engine)
{
	struct scrub_ctx *ctx = container_of(gpu, struct scrub_ctx, gpu);

	if (!ctx->resets)
		return -EIO;
	scrub_signal(ctx, -EIO);
	return 0;
}

static int scrub_test_init(struct kunit *test)
{
	struct scrub_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->ops.copy = scrub_copy;
	ctx->ops.reset = scrub_reset;
	ctx->resets = true;
	spin_lock_init(&ctx->lock);
	ctx->gpu.desc.ops = &ctx->ops;
	ctx->gpu.desc.copy_engines = 2;
	ctx->gpu.desc.copy_timeout_ms = 10000;
	mutex_init(&ctx->gpu.reset_lock);
	uvm_gpu_wq = alloc_workqueue("uvm_scrub_kunit", WQ_UNBOUND, 0);
	KUNIT_ASSERT_NOT_NULL(test, uvm_gpu_wq);
	KUNIT_ASSERT_EQ(test, uvm_devmem_init(&ctx->gpu.mem, THIS_MODULE, PAGES), 0);
	test->priv = ctx;
	return 0;
}

static void scrub_test_exit(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;

	destroy_workqueue(uvm_gpu_wq);
	uvm_scrub_fini(&ctx->gpu);
	uvm_devmem_fini(&ctx->gpu.mem);
	rcu_barrier();
}

/* Until a fill is under way, and its chunk can be had. */
static void scrub_wait(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < 10000; i++) {
		if (READ_ONCE(ctx->fill) && READ_ONCE(ctx->gpu.scrub->fence) &&
		    !READ_ONCE(ctx->gpu.mem.zones[0].busy))
			break;
		usleep_range(900, 1100);
	}
	KUNIT_ASSERT_NOT_NULL(test, ctx->gpu.scrub->fence);
}

/* The first one. Returns which chunk. */
static unsigned long scrub_begin(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;

	KUNIT_ASSERT_EQ(test, uvm_scrub_init(&ctx->gpu), 0);
	uvm_scrub_kick(&ctx->gpu);
	scrub_wait(test);
	return ctx->filling;
}

static void scrub_take_all(struct kunit *test, unsigned int nr)
{
	struct scrub_ctx *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, uvm_devmem_alloc(&ctx->gpu.mem, ctx->index, PAGES), nr);
}

static void scrub_give_all(struct kunit *test, unsigned int nr)
{
	struct scrub_ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < nr; i++)
		uvm_devmem_free(&ctx->gpu.mem, ctx->index[i], 1);
}

/* Nobody fills any more. */
static void scrub_end(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;
	struct uvm_scrub *scrub = ctx->gpu.scrub;

	spin_lock_irq(&scrub->lock);
	scrub->on = false;
	spin_unlock_irq(&scrub->lock);
	while (work_busy(&scrub->work.work)) {
		scrub_signal(ctx, 0);
		usleep_range(900, 1100);
	}
	scrub_signal(ctx, 0);
	uvm_scrub_stop(&ctx->gpu);
	KUNIT_EXPECT_PTR_EQ(test, scrub->fence, NULL);
	KUNIT_EXPECT_EQ(test, atomic_read(&ctx->gpu.batches), 0);
}

/* A batch that writes @length bytes at @dst is started; does it come after the fill? */
static bool scrub_copy_waits(struct kunit *test, u64 dst, u32 length)
{
	struct uvm_gpu_segment seg = {
		.src_aperture = UVM_APERTURE_SYSTEM, .dst = dst, .length = length,
	};
	struct scrub_ctx *ctx = test->priv;

	uvm_copy_init(&ctx->copy, &ctx->gpu, ctx->seg, 1);
	uvm_copy_add(&ctx->copy, &seg);
	KUNIT_EXPECT_EQ(test, uvm_copy_start(&ctx->copy), 0);
	KUNIT_EXPECT_PTR_EQ(test, ctx->copy.after, ctx->after);
	return ctx->after;
}

/* A batch of zeroes for the page at @dst. */
static void scrub_zero(struct kunit *test, u64 dst)
{
	struct scrub_ctx *ctx = test->priv;

	uvm_copy_init(&ctx->copy, &ctx->gpu, ctx->seg, 1);
	uvm_copy_zero(&ctx->copy, dst, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, uvm_copy_start(&ctx->copy), 0);
}

static void scrub_carries_fence(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;
	unsigned long chunk = scrub_begin(test), i;
	u64 base = (u64)chunk << UVM_BLOCK_SHIFT;
	struct dma_fence *fill = ctx->fill;

	/* all of it can be had */
	KUNIT_EXPECT_EQ(test, uvm_devmem_free_pages(&ctx->gpu.mem), (unsigned long)PAGES);
	scrub_take_all(test, PAGES);
	for (i = 0; i < PAGES; i++) {
		struct dma_fence *after = uvm_scrub_after(&ctx->gpu, i << PAGE_SHIFT, PAGE_SIZE);

		KUNIT_EXPECT_PTR_EQ(test, after, i / UVM_BLOCK_PAGES == chunk ? fill : NULL);
		dma_fence_put(after);
	}
	/* the engine waits, nobody else does; at either end, too */
	KUNIT_EXPECT_TRUE(test, scrub_copy_waits(test, base + SZ_1M, PAGE_SIZE));
	KUNIT_EXPECT_PTR_EQ(test, ctx->after, fill);
	scrub_signal(ctx, 0);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&ctx->copy), 0);
	flush_delayed_work(&ctx->gpu.scrub->work);
	KUNIT_EXPECT_FALSE(test, scrub_copy_waits(test, base, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&ctx->copy), 0);
	scrub_end(test);
	scrub_give_all(test, PAGES);
}

static void scrub_orders_neighbours(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;
	u64 base = (u64)scrub_begin(test) << UVM_BLOCK_SHIFT, end = base + UVM_BLOCK_SIZE;
	static const int shift[] = { -1, 1 };
	struct uvm_copy first;
	unsigned int i;
	bool waits;

	for (i = 0; i < ARRAY_SIZE(shift); i++) {
		u64 at = shift[i] < 0 ? base - PAGE_SIZE : end;

		if (shift[i] < 0 ? !base : end == (u64)PAGES << PAGE_SHIFT)
			continue;
		KUNIT_EXPECT_FALSE(test, scrub_copy_waits(test, at, PAGE_SIZE));
		KUNIT_EXPECT_EQ(test, uvm_copy_finish(&ctx->copy), 0);
		waits = scrub_copy_waits(test, shift[i] < 0 ? at : at - PAGE_SIZE, 2 * PAGE_SIZE);
		KUNIT_EXPECT_TRUE(test, waits);
		first = ctx->copy;
		break;
	}
	scrub_signal(ctx, 0);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&first), 0);
	scrub_end(test);
}

/* What is zeroed isn't filled again, and nobody believes so before it is. */
static void scrub_saves_fill(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;
	unsigned long chunk = scrub_begin(test);
	u64 base = (u64)chunk << UVM_BLOCK_SHIFT;
	u64 other = (u64)((chunk + 1) % CHUNKS) << UVM_BLOCK_SHIFT;

	scrub_take_all(test, PAGES);
	scrub_zero(test, other);
	KUNIT_EXPECT_EQ(test, ctx->batches, 1U);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&ctx->copy), 0);
	scrub_zero(test, base);
	KUNIT_EXPECT_EQ(test, ctx->batches, 1U);
	KUNIT_EXPECT_PTR_EQ(test, ctx->copy.after, ctx->fill);
	scrub_signal(ctx, 0);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&ctx->copy), 0);
	/* it comes back with who knows what */
	uvm_devmem_free(&ctx->gpu.mem, chunk * UVM_BLOCK_PAGES, 1);
	KUNIT_EXPECT_EQ(test, uvm_devmem_alloc(&ctx->gpu.mem, ctx->index, 1), 1U);
	scrub_zero(test, base);
	KUNIT_EXPECT_EQ(test, ctx->batches, 2U);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&ctx->copy), 0);
	scrub_end(test);
	for (chunk = 0; chunk < CHUNKS; chunk++)
		uvm_devmem_free(&ctx->gpu.mem, chunk * UVM_BLOCK_PAGES, UVM_BLOCK_PAGES);
}

/* Who took it for zeroed fails with it; who overwrites it doesn't mind. */
static void scrub_fails(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;
	unsigned long chunk = scrub_begin(test);
	u64 base = (u64)chunk << UVM_BLOCK_SHIFT;
	struct uvm_copy relies;

	scrub_take_all(test, PAGES);
	scrub_zero(test, base);
	relies = ctx->copy;
	KUNIT_EXPECT_TRUE(test, scrub_copy_waits(test, base, PAGE_SIZE));
	scrub_signal(ctx, -EIO);
	/* whether or not the worker has seen it */
	KUNIT_EXPECT_EQ(test, ctx->batches, 1U);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&ctx->copy), 0);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&relies), -EIO);
	scrub_zero(test, base);
	KUNIT_EXPECT_EQ(test, ctx->batches, 2U);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&ctx->copy), 0);
	flush_delayed_work(&ctx->gpu.scrub->work);
	KUNIT_EXPECT_FALSE(test, uvm_devmem_zeroed(&ctx->gpu.mem, chunk * UVM_BLOCK_PAGES, 1));
	KUNIT_EXPECT_FALSE(test, ctx->gpu.lost);
	scrub_end(test);
	scrub_give_all(test, PAGES);
	KUNIT_EXPECT_EQ(test, uvm_devmem_largest_free(&ctx->gpu.mem), UVM_CHUNK_PAGES);
}

/* It goes on by itself, but not after a failure, nor while somebody copies. */
static void scrub_rests(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;
	unsigned long first = scrub_begin(test);
	struct uvm_scrub *scrub = ctx->gpu.scrub;

	scrub_signal(ctx, 0);
	scrub_wait(test);
	KUNIT_EXPECT_NE(test, ctx->filling, first);
	scrub_signal(ctx, -EIO);
	flush_delayed_work(&scrub->work);
	KUNIT_EXPECT_FALSE(test, delayed_work_pending(&scrub->work));
	KUNIT_EXPECT_PTR_EQ(test, scrub->fence, NULL);

	atomic_inc(&ctx->gpu.batches);
	uvm_scrub_queue(scrub, 0);
	flush_delayed_work(&scrub->work);
	KUNIT_EXPECT_FALSE(test, delayed_work_pending(&scrub->work));
	KUNIT_EXPECT_PTR_EQ(test, ctx->fill, NULL);
	atomic_dec(&ctx->gpu.batches);
	uvm_scrub_idle(&ctx->gpu);
	KUNIT_EXPECT_TRUE(test, delayed_work_pending(&scrub->work));
	scrub_wait(test);
	scrub_end(test);
}

/* Nothing is lost if the engine can be reset. */
static void scrub_hangs(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;
	unsigned long chunk;

	ctx->gpu.desc.copy_timeout_ms = 200;
	chunk = scrub_begin(test);
	scrub_take_all(test, PAGES);
	scrub_zero(test, (u64)chunk << UVM_BLOCK_SHIFT);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&ctx->copy), -EIO);
	KUNIT_EXPECT_FALSE(test, ctx->gpu.lost);
	scrub_end(test);
	scrub_give_all(test, PAGES);
	scrub_take_all(test, PAGES);
	scrub_give_all(test, PAGES);
}

/* What was taken of it before is lost when it comes back. */
static void scrub_is_lost(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;
	struct uvm_devmem *mem = &ctx->gpu.mem;
	struct uvm_devmem_account account;
	unsigned long chunk;
	u64 base;

	ctx->resets = false;
	ctx->gpu.desc.copy_timeout_ms = 200;
	chunk = scrub_begin(test);
	base = (u64)chunk << UVM_BLOCK_SHIFT;
	scrub_take_all(test, PAGES);
	uvm_devmem_free(mem, chunk * UVM_BLOCK_PAGES, 100);
	scrub_zero(test, base + SZ_1M);
	KUNIT_EXPECT_EQ(test, uvm_copy_finish(&ctx->copy), -ETIMEDOUT);
	flush_delayed_work(&ctx->gpu.scrub->work);
	KUNIT_EXPECT_TRUE(test, ctx->gpu.lost);
	KUNIT_EXPECT_EQ(test, uvm_devmem_free_pages(mem), 0UL);
	uvm_devmem_free(mem, chunk * UVM_BLOCK_PAGES + 100, UVM_BLOCK_PAGES - 100);
	KUNIT_EXPECT_EQ(test, uvm_devmem_free_pages(mem), 0UL);
	uvm_devmem_account(mem, chunk, &account);
	KUNIT_EXPECT_EQ(test, account.lost, (unsigned long)UVM_CHUNK_PAGES);
	for (chunk = 0; chunk < CHUNKS; chunk++)
		if (chunk != base >> UVM_BLOCK_SHIFT)
			uvm_devmem_free(mem, chunk * UVM_BLOCK_PAGES, UVM_BLOCK_PAGES);
	scrub_take_all(test, PAGES - UVM_BLOCK_PAGES);
	scrub_give_all(test, PAGES - UVM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, uvm_devmem_used_pages(mem), (unsigned long)UVM_BLOCK_PAGES);
	/* the fill that never ended, ends; and the test forgets what was lost */
	scrub_end(test);
	mem->zones[0].used = 0;
	module_put(THIS_MODULE);
}

/* Takes and gives back while chunk after chunk is filled. */
static void scrub_never_without_fence(struct kunit *test)
{
	struct scrub_ctx *ctx = test->priv;
	unsigned int round, i, nr, met = 0, bare = 0;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 4713);
	scrub_begin(test);
	for (round = 0; round < 1000; round++) {
		/* all there is, most times, since what is filled goes last */
		nr = prandom_u32_state(&rnd) % (2 * PAGES);
		nr = uvm_devmem_alloc(&ctx->gpu.mem, ctx->index, min_t(unsigned int, nr, PAGES));
		/* nobody but this thread ends a fill */
		spin_lock(&ctx->lock);
		for (i = 0; i < nr && ctx->fill; i++) {
			struct dma_fence *after;

			if (ctx->index[i] / UVM_BLOCK_PAGES != ctx->filling)
				continue;
			after = uvm_scrub_after(&ctx->gpu, (u64)ctx->index[i] << PAGE_SHIFT,
						PAGE_SIZE);
			met++;
			bare += after != ctx->fill;
			dma_fence_put(after);
		}
		spin_unlock(&ctx->lock);
		scrub_give_all(test, nr);
		if (round % 3 == 0)
			scrub_signal(ctx, 0);
		uvm_scrub_queue(ctx->gpu.scrub, 0);
		cond_resched();
	}
	KUNIT_EXPECT_GT(test, met, 0U);
	KUNIT_EXPECT_EQ(test, bare, 0U);
	scrub_end(test);
	KUNIT_EXPECT_EQ(test, uvm_devmem_used_pages(&ctx->gpu.mem), 0UL);
	KUNIT_EXPECT_EQ(test, ctx->gpu.mem.zones[0].busy, 0UL);
}

static struct kunit_case scrub_cases[] = {
	KUNIT_CASE(scrub_carries_fence),
	KUNIT_CASE(scrub_orders_neighbours),
	KUNIT_CASE(scrub_saves_fill),
	KUNIT_CASE(scrub_fails),
	KUNIT_CASE(scrub_rests),
	KUNIT_CASE(scrub_hangs),
	KUNIT_CASE(scrub_is_lost),
	KUNIT_CASE(scrub_never_without_fence),
	{}
};

static struct kunit_suite scrub_suite = {
	.name = "uvm_scrub",
	.init = scrub_test_init,
	.exit = scrub_test_exit,
	.test_cases = scrub_cases,
};

kunit_test_suite(scrub_suite);
