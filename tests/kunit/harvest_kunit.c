// SPDX-License-Identifier: GPL-2.0-only
/*
 * Harvests of the core: which GPU spaces are asked, and when a TLB is told.
 */
#include "core.h"

#include <kunit/test.h>

#define SPACES	4
#define BLOCK	(5 * UVM_BLOCK_SIZE)

/* An address space, and what the GPU would tell of it. */
struct harvest_space {
	struct uvm_gpu_space gs;
	struct uvm_va_space vs;
	struct uvm_gpu_as as;
	unsigned int page;
	unsigned int nr;
	unsigned int harvested;
	unsigned int invalidated;
	int inside;
};

struct harvest_ctx {
	struct uvm_gpu_ops ops;
	struct uvm_gpu gpu;
	struct mm_struct *mm;
	struct harvest_space spaces[SPACES];
	DECLARE_BITMAP(accessed, UVM_BLOCK_PAGES);
};

static struct harvest_space *space_of(struct uvm_gpu_space *gs)
{
	return container_of(gs, struct harvest_space, gs);
}

static bool harvest_space_enter(struct uvm_gpu_space *gs)
{
	if (gs->dying)
		return false;
	space_of(gs)->inside++;
	return true;
}

static void harvest_space_leave(struct uvm_gpu_space *gs)
{
	space_of(gs)->inside--;
}

/* Never the last one. */
static void harvest_not_freed(struct kref *ref)
{
	WARN_ON(1);
}

static void harvest_space_put(struct uvm_gpu_space *gs)
{
	kref_put(&gs->ref, harvest_not_freed);
}

/* Other tests have theirs. */
#define uvm_gpu_space_enter	harvest_space_enter
#define uvm_gpu_space_leave	harvest_space_leave
#define uvm_gpu_space_put	harvest_space_put

/* Not called here. */
void uvm_mirror_unmap(struct uvm_gpu_space *gs, unsigned long start,
		      unsigned long end)
{
}

#include "harvest.c"

/* As the ops are to be called, and for the block. */
static bool harvest_call_is_right(struct harvest_space *s, u64 start, u64 length)
{
	return s->inside == 1 && mutex_is_locked(&s->gs.notifier_lock) &&
	       start == BLOCK && length == UVM_BLOCK_SIZE;
}

static unsigned int harvest_op(struct uvm_gpu_as *as, u64 start, u64 length,
			       unsigned long *accessed)
{
	struct harvest_space *s = container_of(as, struct harvest_space, as);

	if (!harvest_call_is_right(s, start, length) ||
	    !bitmap_empty(accessed, UVM_BLOCK_PAGES))
		return 0;
	s->harvested++;
	bitmap_set(accessed, s->page, s->nr);
	return s->nr;
}

static void harvest_tlb_invalidate(struct uvm_gpu_as *as, u64 start, u64 length)
{
	struct harvest_space *s = container_of(as, struct harvest_space, as);

	if (harvest_call_is_right(s, start, length))
		s->invalidated++;
}

static void harvest_space_init(struct kunit *test, struct harvest_ctx *ctx,
			       struct harvest_space *s, unsigned long id)
{
	kref_init(&s->gs.ref);
	mutex_init(&s->gs.notifier_lock);
	s->gs.vs = &s->vs;
	s->gs.gpu = &ctx->gpu;
	s->gs.as = &s->as;
	s->vs.mm = ctx->mm;
	KUNIT_ASSERT_EQ(test, xa_err(xa_store(&ctx->gpu.spaces, id, &s->gs,
					      GFP_KERNEL)), 0);
}

/* Two GPU spaces tell of pages that overlap, one of none; one is of somebody else. */
static int harvest_test_init(struct kunit *test)
{
	struct harvest_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->mm = kunit_kzalloc(test, sizeof(*ctx->mm), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->mm);
	test->priv = ctx;
	xa_init(&ctx->gpu.spaces);
	ctx->ops.harvest = harvest_op;
	ctx->ops.tlb_invalidate = harvest_tlb_invalidate;
	ctx->gpu.desc.ops = &ctx->ops;
	ctx->gpu.desc.va_bits = 48;
	for (i = 0; i < SPACES; i++)
		harvest_space_init(test, ctx, &ctx->spaces[i], 1 + 100 * i);
	ctx->spaces[0].page = 3;
	ctx->spaces[0].nr = 10;
	ctx->spaces[1].vs.mm = NULL;
	ctx->spaces[1].nr = 100;
	ctx->spaces[3].page = 8;
	ctx->spaces[3].nr = 10;
	return 0;
}

static void harvest_test_exit(struct kunit *test)
{
	struct harvest_ctx *ctx = test->priv;
	unsigned int i;

	if (!ctx)
		return;
	for (i = 0; i < SPACES; i++) {
		KUNIT_EXPECT_EQ(test, ctx->spaces[i].inside, 0);
		KUNIT_EXPECT_EQ(test, kref_read(&ctx->spaces[i].gs.ref), 1U);
		mutex_destroy(&ctx->spaces[i].gs.notifier_lock);
	}
	xa_destroy(&ctx->gpu.spaces);
}

static void expect_counts(struct kunit *test, unsigned int i, unsigned int harvested,
			  unsigned int invalidated)
{
	struct harvest_ctx *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, ctx->spaces[i].harvested, harvested);
	KUNIT_EXPECT_EQ(test, ctx->spaces[i].invalidated, invalidated);
}

static void harvest_asks_all(struct kunit *test)
{
	struct harvest_ctx *ctx = test->priv;
	DECLARE_BITMAP(want, UVM_BLOCK_PAGES);

	bitmap_zero(want, UVM_BLOCK_PAGES);
	bitmap_set(want, 3, 15);
	bitmap_fill(ctx->accessed, UVM_BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, uvm_can_harvest(&ctx->gpu));
	KUNIT_EXPECT_EQ(test, uvm_harvest(&ctx->gpu, ctx->mm, BLOCK, ctx->accessed), 15U);
	KUNIT_EXPECT_TRUE(test, bitmap_equal(ctx->accessed, want, UVM_BLOCK_PAGES));
	expect_counts(test, 0, 1, 1);
	expect_counts(test, 1, 0, 0);
	expect_counts(test, 2, 1, 0);
	expect_counts(test, 3, 1, 1);
}

static void harvest_skips_who_goes(struct kunit *test)
{
	struct harvest_ctx *ctx = test->priv;

	ctx->spaces[0].gs.dying = true;
	ctx->spaces[0].gs.as = NULL;
	KUNIT_EXPECT_EQ(test, uvm_harvest(&ctx->gpu, ctx->mm, BLOCK, ctx->accessed), 10U);
	expect_counts(test, 0, 0, 0);
	expect_counts(test, 3, 1, 1);
}

static void harvest_is_optional(struct kunit *test)
{
	struct harvest_ctx *ctx = test->priv;

	bitmap_fill(ctx->accessed, UVM_BLOCK_PAGES);
	ctx->ops.harvest = NULL;
	KUNIT_EXPECT_FALSE(test, uvm_can_harvest(&ctx->gpu));
	KUNIT_EXPECT_EQ(test, uvm_harvest(&ctx->gpu, ctx->mm, BLOCK, ctx->accessed), 0U);
	KUNIT_EXPECT_TRUE(test, bitmap_empty(ctx->accessed, UVM_BLOCK_PAGES));
}

/* Where the GPU has no addresses it is asked for nothing. */
static void harvest_beyond_the_gpu(struct kunit *test)
{
	struct harvest_ctx *ctx = test->priv;

	bitmap_fill(ctx->accessed, UVM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, uvm_harvest(&ctx->gpu, ctx->mm, BIT(48) + BLOCK,
					  ctx->accessed), 0U);
	KUNIT_EXPECT_TRUE(test, bitmap_empty(ctx->accessed, UVM_BLOCK_PAGES));
	expect_counts(test, 0, 0, 0);
}

static struct kunit_case harvest_cases[] = {
	KUNIT_CASE(harvest_asks_all),
	KUNIT_CASE(harvest_skips_who_goes),
	KUNIT_CASE(harvest_is_optional),
	KUNIT_CASE(harvest_beyond_the_gpu),
	{}
};

static struct kunit_suite harvest_suite = {
	.name = "uvm_harvest",
	.init = harvest_test_init,
	.exit = harvest_test_exit,
	.test_cases = harvest_cases,
};

kunit_test_suite(harvest_suite);
