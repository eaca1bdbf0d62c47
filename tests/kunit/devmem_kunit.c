// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device memory: every page is handed out once, a block gets a chunk of its own
 * where there is one, and the lists say what the bitmaps say. A plain bitmap is
 * the model.
 */
#include "devmem.c"

#include <kunit/test.h>

#include <linux/prandom.h>

#include "kunit.h"

#define CHUNKS	8
#define PAGES	(CHUNKS * UVM_BLOCK_PAGES)

struct devmem_ctx {
	struct uvm_devmem mem;
	DECLARE_BITMAP(model, PAGES);
	unsigned long index[PAGES];
};

static int devmem_test_init(struct kunit *test)
{
	struct devmem_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	KUNIT_ASSERT_EQ(test, uvm_devmem_init(&ctx->mem, THIS_MODULE, PAGES), 0);
	test->priv = ctx;
	return 0;
}

static void devmem_test_exit(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;

	uvm_devmem_fini(&ctx->mem);
}

static void devmem_check_lists(struct kunit *test, struct uvm_devmem *mem)
{
	struct uvm_devmem_chunk *chunk;
	unsigned long used = 0, listed = 0, i, full = 0;

	list_for_each_entry(chunk, &mem->free, link) {
		KUNIT_EXPECT_EQ(test, chunk->nr_used, 0);
		listed++;
	}
	list_for_each_entry(chunk, &mem->partial, link) {
		KUNIT_EXPECT_GT(test, chunk->nr_used, 0);
		KUNIT_EXPECT_LT(test, chunk->nr_used, UVM_BLOCK_PAGES);
		listed++;
	}
	for (i = 0; i < mem->nr_chunks; i++) {
		chunk = &mem->chunks[i];
		KUNIT_EXPECT_EQ(test, chunk->nr_used,
				bitmap_weight(chunk->used, UVM_BLOCK_PAGES));
		used += chunk->nr_used;
		full += chunk->nr_used == UVM_BLOCK_PAGES;
	}
	KUNIT_EXPECT_EQ(test, used, mem->used);
	KUNIT_EXPECT_EQ(test, listed + full, mem->nr_chunks);
}

static void devmem_take(struct kunit *test, unsigned int count)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned long free = uvm_devmem_free_pages(&ctx->mem);
	unsigned int i, nr;

	nr = uvm_devmem_alloc(&ctx->mem, ctx->index, count);
	KUNIT_EXPECT_EQ(test, nr, min_t(unsigned long, count, free));
	for (i = 0; i < nr; i++) {
		KUNIT_ASSERT_LT(test, ctx->index[i], (unsigned long)PAGES);
		KUNIT_EXPECT_FALSE(test, __test_and_set_bit(ctx->index[i],
							    ctx->model));
	}
}

static void devmem_give(struct kunit *test, unsigned long index)
{
	struct devmem_ctx *ctx = test->priv;

	if (__test_and_clear_bit(index, ctx->model))
		uvm_devmem_free(&ctx->mem, index, 1);
}

static void devmem_give_all(struct kunit *test)
{
	unsigned long i;

	for (i = 0; i < PAGES; i++)
		devmem_give(test, i);
}

static void devmem_exhaust(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;

	devmem_take(test, PAGES);
	KUNIT_EXPECT_EQ(test, uvm_devmem_free_pages(&ctx->mem), 0UL);
	KUNIT_EXPECT_EQ(test, uvm_devmem_alloc(&ctx->mem, ctx->index, 1), 0U);
	devmem_check_lists(test, &ctx->mem);
	devmem_give_all(test);
	devmem_check_lists(test, &ctx->mem);
	KUNIT_EXPECT_EQ(test, uvm_devmem_free_pages(&ctx->mem),
			(unsigned long)PAGES);
}

static void devmem_block_is_contiguous(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned int i;

	devmem_take(test, 1);
	devmem_take(test, UVM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, ctx->index[0] % UVM_BLOCK_PAGES, 0UL);
	for (i = 1; i < UVM_BLOCK_PAGES; i++)
		KUNIT_EXPECT_EQ(test, ctx->index[i], ctx->index[0] + i);
	devmem_give_all(test);
}

static void devmem_block_or_nothing(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned int chunk, i, nr;

	for (chunk = 0; chunk < CHUNKS - 1; chunk++)
		devmem_take(test, UVM_BLOCK_PAGES);
	nr = uvm_devmem_alloc_block(&ctx->mem, ctx->index);
	KUNIT_ASSERT_EQ(test, nr, (unsigned int)UVM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, ctx->index[0] % UVM_BLOCK_PAGES, 0UL);
	for (i = 1; i < UVM_BLOCK_PAGES; i++)
		KUNIT_EXPECT_EQ(test, ctx->index[i], ctx->index[0] + i);
	devmem_check_lists(test, &ctx->mem);

	uvm_devmem_free(&ctx->mem, ctx->index[0] + 1, UVM_BLOCK_PAGES - 1);
	devmem_check_lists(test, &ctx->mem);
	nr = uvm_devmem_alloc_block(&ctx->mem, ctx->index + 1);
	KUNIT_EXPECT_EQ(test, nr, 0U);
	uvm_devmem_free(&ctx->mem, ctx->index[0], 1);
	devmem_give_all(test);
	devmem_check_lists(test, &ctx->mem);
}

/* Single pages must not break one chunk after another. */
static void devmem_small_fills_partial(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < UVM_BLOCK_PAGES; i++)
		devmem_take(test, 1);
	KUNIT_EXPECT_EQ(test, list_count(&ctx->mem.free), (size_t)CHUNKS - 1);
	devmem_give_all(test);
}

static void devmem_random(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	struct rnd_state rnd;
	unsigned int round;

	prandom_seed_state(&rnd, 4711);
	for (round = 0; round < 20000; round++) {
		u32 r = prandom_u32_state(&rnd);

		if (r & 1)
			devmem_take(test, (r >> 8) % (r & 2 ? 600 : 20));
		else
			devmem_give(test, (r >> 8) % PAGES);
		if (round % 64 == 0)
			devmem_give_all(test);
		if (round % 500 == 0)
			devmem_check_lists(test, &ctx->mem);
	}
	devmem_give_all(test);
	devmem_check_lists(test, &ctx->mem);
}

static struct kunit_case devmem_cases[] = {
	KUNIT_CASE(devmem_exhaust),
	KUNIT_CASE(devmem_block_is_contiguous),
	KUNIT_CASE(devmem_block_or_nothing),
	KUNIT_CASE(devmem_small_fills_partial),
	KUNIT_CASE(devmem_random),
	{}
};

static struct kunit_suite devmem_suite = {
	.name = "uvm_devmem",
	.init = devmem_test_init,
	.exit = devmem_test_exit,
	.test_cases = devmem_cases,
};

kunit_test_suite(devmem_suite);
MODULE_DESCRIPTION("Unit tests of uvm");
MODULE_LICENSE("GPL");
