// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prefetch: what comes along with faults, by the share of a block that is there.
 */
#include "prefetch.c"

#include <kunit/test.h>

struct prefetch_maps {
	DECLARE_BITMAP(want, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(there, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(may, UVM_BLOCK_PAGES);
};

static void prefetch_maps_init(struct prefetch_maps *m)
{
	bitmap_zero(m->want, UVM_BLOCK_PAGES);
	bitmap_zero(m->there, UVM_BLOCK_PAGES);
	bitmap_fill(m->may, UVM_BLOCK_PAGES);
}

/* Exactly the pages [@first, @end) are wanted. */
static void expect_want(struct kunit *test, struct prefetch_maps *m,
			unsigned int first, unsigned int end)
{
	unsigned int bits = bitmap_weight(m->want, UVM_BLOCK_PAGES);

	KUNIT_EXPECT_EQ(test, bits, end - first);
	KUNIT_EXPECT_EQ(test, find_first_bit(m->want, UVM_BLOCK_PAGES),
			(unsigned long)first);
	KUNIT_EXPECT_EQ(test, find_last_bit(m->want, UVM_BLOCK_PAGES),
			(unsigned long)end - 1);
}

static void prefetch_single_fault(struct kunit *test)
{
	struct prefetch_maps m;

	prefetch_maps_init(&m);
	__set_bit(37, m.want);
	uvm_prefetch_grow(m.want, m.there, m.may, 51);
	expect_want(test, &m, 32, 48);
}

static void prefetch_never(struct kunit *test)
{
	struct prefetch_maps m;

	/* Of nothing more than 100 percent can be there. */
	prefetch_maps_init(&m);
	bitmap_set(m.there, 0, UVM_BLOCK_PAGES / 2);
	__set_bit(511, m.want);
	uvm_prefetch_grow(m.want, m.there, m.may, 100);
	expect_want(test, &m, 496, 512);
}

/* A GPU that reads a block from its start needs few faults for it. */
static void prefetch_sequence(struct kunit *test)
{
	static const unsigned int steps[] = { 16, 32, 64, 128, 256, 512 };
	struct prefetch_maps m;
	unsigned int at, faults = 0;

	prefetch_maps_init(&m);
	for (at = 0; at < UVM_BLOCK_PAGES && faults < 100; faults++) {
		bitmap_zero(m.want, UVM_BLOCK_PAGES);
		__set_bit(at, m.want);
		uvm_prefetch_grow(m.want, m.there, m.may, 51);
		bitmap_or(m.there, m.there, m.want, UVM_BLOCK_PAGES);
		at = find_first_zero_bit(m.there, UVM_BLOCK_PAGES);
	}
	KUNIT_EXPECT_LE(test, faults, 2U * ARRAY_SIZE(steps));
	KUNIT_EXPECT_TRUE(test, bitmap_full(m.there, UVM_BLOCK_PAGES));
}

static void prefetch_threshold(struct kunit *test)
{
	struct prefetch_maps m;

	/* 240 of 512 pages are there; with the fault's 16 it is just half. */
	prefetch_maps_init(&m);
	bitmap_set(m.there, 0, 240);
	__set_bit(300, m.want);
	uvm_prefetch_grow(m.want, m.there, m.may, 50);
	expect_want(test, &m, 288, 304);

	/* One more, and all the rest comes. */
	prefetch_maps_init(&m);
	bitmap_set(m.there, 0, 241);
	__set_bit(300, m.want);
	uvm_prefetch_grow(m.want, m.there, m.may, 50);
	expect_want(test, &m, 241, 512);
}

static void prefetch_only_what_may(struct kunit *test)
{
	struct prefetch_maps m;

	prefetch_maps_init(&m);
	bitmap_clear(m.may, 40, 8);
	__set_bit(35, m.want);
	uvm_prefetch_grow(m.want, m.there, m.may, 51);
	expect_want(test, &m, 32, 40);

	/* A fault is a fault, whatever may come along. */
	prefetch_maps_init(&m);
	bitmap_zero(m.may, UVM_BLOCK_PAGES);
	__set_bit(35, m.want);
	uvm_prefetch_grow(m.want, m.there, m.may, 51);
	expect_want(test, &m, 35, 36);
}

static void prefetch_not_what_is_there(struct kunit *test)
{
	struct prefetch_maps m;

	prefetch_maps_init(&m);
	bitmap_set(m.there, 64, 8);
	__set_bit(75, m.want);
	uvm_prefetch_grow(m.want, m.there, m.may, 51);
	expect_want(test, &m, 72, 80);
}

static void stream_up_and_down(struct kunit *test)
{
	static const unsigned int worth[] = { 1, 2, 4, 8, 8 };
	struct uvm_streams streams = {};
	unsigned long up = 1000, down = 500;
	unsigned int i;
	int step;

	KUNIT_EXPECT_EQ(test, uvm_streams_fault(&streams, up++, &step), 0U);
	KUNIT_EXPECT_EQ(test, uvm_streams_fault(&streams, down--, &step), 0U);
	for (i = 0; i < ARRAY_SIZE(worth); i++) {
		KUNIT_EXPECT_EQ(test, uvm_streams_fault(&streams, up, &step),
				worth[i]);
		KUNIT_EXPECT_EQ(test, step, 1);
		KUNIT_EXPECT_EQ(test, uvm_streams_fault(&streams, down, &step),
				worth[i]);
		KUNIT_EXPECT_EQ(test, step, -1);
		/* Again there is nothing new. */
		KUNIT_EXPECT_EQ(test, uvm_streams_fault(&streams, up, &step), 0U);
		up += worth[i] + 1;
		down -= worth[i] + 1;
	}
}

static void stream_is_none(struct kunit *test)
{
	static const unsigned long blocks[] = { 7, 33, 90, 14, 33, 55, 77, 20 };
	struct uvm_streams streams = {};
	unsigned int i;
	int step;

	for (i = 0; i < ARRAY_SIZE(blocks); i++)
		KUNIT_EXPECT_EQ(test, uvm_streams_fault(&streams, blocks[i], &step),
				0U);
}

static void stream_with_gaps(struct kunit *test)
{
	struct uvm_streams streams = {};
	int step;

	uvm_streams_fault(&streams, 10, &step);
	KUNIT_EXPECT_EQ(test, uvm_streams_fault(&streams, 11, &step), 1U);
	KUNIT_EXPECT_EQ(test, uvm_streams_fault(&streams, 13, &step), 2U);
	/* 14 and 15 were prefetched; a page of 15 was left out. */
	KUNIT_EXPECT_EQ(test, uvm_streams_fault(&streams, 15, &step), 0U);
	KUNIT_EXPECT_EQ(test, uvm_streams_fault(&streams, 16, &step), 4U);
}

static struct kunit_case prefetch_cases[] = {
	KUNIT_CASE(stream_up_and_down),
	KUNIT_CASE(stream_is_none),
	KUNIT_CASE(stream_with_gaps),
	KUNIT_CASE(prefetch_single_fault),
	KUNIT_CASE(prefetch_never),
	KUNIT_CASE(prefetch_sequence),
	KUNIT_CASE(prefetch_threshold),
	KUNIT_CASE(prefetch_only_what_may),
	KUNIT_CASE(prefetch_not_what_is_there),
	{}
};

static struct kunit_suite prefetch_suite = {
	.name = "uvm_prefetch",
	.test_cases = prefetch_cases,
};
kunit_test_suite(prefetch_suite);
