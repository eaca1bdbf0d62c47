// SPDX-License-Identifier: GPL-2.0-only
/*
 * The window of a CPU fault: how it grows, and what cuts it.
 */
#include "window.c"

#include <kunit/test.h>

#define BASE	(64 * UVM_BLOCK_SIZE)

struct window_ctx {
	struct uvm_windows windows;
	struct vm_area_struct vma;
	unsigned long start;
	unsigned long end;
};

static int window_test_init(struct kunit *test)
{
	struct window_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	if (!ctx)
		return -ENOMEM;
	uvm_window_init(&ctx->windows);
	ctx->vma.vm_start = BASE;
	ctx->vma.vm_end = BASE + 8 * UVM_BLOCK_SIZE;
	ctx->vma.vm_mm = (struct mm_struct *)test;
	test->priv = ctx;
	return 0;
}

static void window_fault(struct window_ctx *ctx, unsigned long address)
{
	uvm_window_get(&ctx->windows, &ctx->vma, address, UVM_WINDOW_MIN,
		       &ctx->start, &ctx->end);
}

static void window_grows(struct kunit *test)
{
	struct window_ctx *ctx = test->priv;
	unsigned long at = BASE, size = UVM_WINDOW_MIN;
	unsigned int faults = 0;

	ctx->vma.vm_end = BASE + 128 * UVM_BLOCK_SIZE;
	window_fault(ctx, at);
	while (at < BASE + 80 * UVM_BLOCK_SIZE && faults < 100) {
		KUNIT_EXPECT_EQ(test, ctx->start, at);
		KUNIT_EXPECT_GT(test, ctx->end, at);
		KUNIT_EXPECT_LE(test, ctx->end - at, size);
		/* no other block in part */
		KUNIT_EXPECT_TRUE(test, ctx->end % UVM_BLOCK_SIZE == 0 ||
				  ctx->end / UVM_BLOCK_SIZE == at / UVM_BLOCK_SIZE);
		at = ctx->end;
		size = min(2 * size, UVM_WINDOW_MAX);
		window_fault(ctx, at);
		faults++;
	}
	KUNIT_EXPECT_LE(test, faults, 18U);
	KUNIT_EXPECT_EQ(test, ctx->end - ctx->start, UVM_WINDOW_MAX);
}

static void window_starts_anew(struct kunit *test)
{
	struct window_ctx *ctx = test->priv;
	struct mm_struct *mm = ctx->vma.vm_mm;

	window_fault(ctx, BASE);
	window_fault(ctx, ctx->end);
	KUNIT_EXPECT_EQ(test, ctx->end - ctx->start, 2 * UVM_WINDOW_MIN);
	/* elsewhere: the aligned 64 KiB around it */
	window_fault(ctx, BASE + 3 * UVM_BLOCK_SIZE + 5 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, ctx->start, BASE + 3 * UVM_BLOCK_SIZE);
	KUNIT_EXPECT_EQ(test, ctx->end - ctx->start, UVM_WINDOW_MIN);
	/* of another process, at the very address where this one would go on */
	ctx->vma.vm_mm = mm + 1;
	window_fault(ctx, ctx->end);
	KUNIT_EXPECT_EQ(test, ctx->end - ctx->start, UVM_WINDOW_MIN);
}

static void window_stays_in_vma(struct kunit *test)
{
	struct window_ctx *ctx = test->priv;

	ctx->vma.vm_start = BASE + 3 * PAGE_SIZE;
	ctx->vma.vm_end = BASE + 7 * PAGE_SIZE;
	window_fault(ctx, BASE + 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, ctx->start, ctx->vma.vm_start);
	KUNIT_EXPECT_EQ(test, ctx->end, ctx->vma.vm_end);
}

/* A huge page comes as a whole, and what comes after it goes on from there. */
static void window_of_huge_page(struct kunit *test)
{
	struct window_ctx *ctx = test->priv;
	unsigned int i;

	window_fault(ctx, BASE);
	for (i = 1; i <= 4; i *= 2) {
		uvm_window_get(&ctx->windows, &ctx->vma, BASE + (i - 1) * UVM_BLOCK_SIZE,
			       UVM_BLOCK_SIZE, &ctx->start, &ctx->end);
		KUNIT_EXPECT_EQ(test, ctx->start, BASE + (i - 1) * UVM_BLOCK_SIZE);
		KUNIT_EXPECT_EQ(test, ctx->end, min(BASE + (2 * i - 1) * UVM_BLOCK_SIZE,
						    ctx->vma.vm_end));
	}
}

static struct kunit_case window_cases[] = {
	KUNIT_CASE(window_grows),
	KUNIT_CASE(window_starts_anew),
	KUNIT_CASE(window_stays_in_vma),
	KUNIT_CASE(window_of_huge_page),
	{}
};

static struct kunit_suite window_suite = {
	.name = "uvm_window",
	.init = window_test_init,
	.test_cases = window_cases,
};

kunit_test_suite(window_suite);
