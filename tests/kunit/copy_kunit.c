// SPDX-License-Identifier: GPL-2.0-only
/* Copy batches: what may be merged is, and nothing else. */
#include "copy.c"

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

static struct kunit_case copy_cases[] = {
	KUNIT_CASE(copy_merges_contiguous),
	KUNIT_CASE(copy_keeps_apart),
	KUNIT_CASE(copy_merges_fills_by_pattern),
	{}
};

static struct kunit_suite copy_suite = {
	.name = "uvm_copy",
	.test_cases = copy_cases,
};

kunit_test_suite(copy_suite);
