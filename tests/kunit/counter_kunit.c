// SPDX-License-Identifier: GPL-2.0-only
/*
 * The software GPU's access counters: when they notify, and what they forget.
 */
#include "../../src/sim/sim.h"

/* Here a GPU is its own handle. */
#define uvm_gpu_priv(core)	((void *)(core))

#include "../../src/sim/counter.c"

#include <kunit/test.h>
#include <linux/sizes.h>

#define GRANULE		SZ_64K
#define THRESHOLD	100

static struct sim_gpu *counters_gpu(struct kunit *test)
{
	struct sim_gpu *gpu = kunit_kzalloc(test, sizeof(*gpu), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, gpu);
	gpu->config.access_granule = GRANULE;
	KUNIT_ASSERT_EQ(test, sim_counters_init(gpu), 0);
	KUNIT_ASSERT_EQ(test, sim_counter_enable((void *)gpu, THRESHOLD), 0);
	return gpu;
}

static u64 counters_stat(struct sim_gpu *gpu, enum sim_stat stat)
{
	return atomic64_read(&gpu->stats[stat]);
}

/* One access that reaches the threshold. */
static bool make_hot(struct sim_gpu *gpu, u64 as_id, u64 granule)
{
	return sim_counters_access(gpu, as_id, granule * GRANULE,
				   THRESHOLD * SIM_COUNTER_UNIT);
}

static void counters_weigh(struct kunit *test)
{
	struct sim_gpu *gpu = counters_gpu(test);
	struct uvm_gpu_counter c[2];

	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 1, GRANULE + 5, 4096));
	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 1, 2 * GRANULE - 1, 1));
	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 1, GRANULE, 34 * 64));
	KUNIT_EXPECT_EQ(test, sim_counter_fetch((void *)gpu, c, 2), 0U);
	KUNIT_EXPECT_TRUE(test, sim_counters_access(gpu, 1, GRANULE, 8));
	KUNIT_EXPECT_EQ(test, sim_counter_fetch((void *)gpu, c, 2), 1U);
	KUNIT_EXPECT_EQ(test, c[0].as_id, 1ULL);
	KUNIT_EXPECT_EQ(test, c[0].address, (u64)GRANULE);
	KUNIT_EXPECT_EQ(test, c[0].count, (u32)THRESHOLD);
	sim_counters_fini(gpu);
}

/* A granule that has notified rests until it is cleared. */
static void counters_rest(struct kunit *test)
{
	struct sim_gpu *gpu = counters_gpu(test);
	struct uvm_gpu_counter c;

	KUNIT_EXPECT_TRUE(test, make_hot(gpu, 1, 3));
	KUNIT_EXPECT_FALSE(test, make_hot(gpu, 1, 3));
	KUNIT_EXPECT_EQ(test, sim_counter_fetch((void *)gpu, &c, 1), 1U);
	KUNIT_EXPECT_FALSE(test, make_hot(gpu, 1, 3));
	KUNIT_EXPECT_EQ(test, sim_counter_fetch((void *)gpu, &c, 1), 0U);
	sim_counter_clear((void *)gpu, &c);
	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 1, c.address, 64));
	KUNIT_EXPECT_TRUE(test, make_hot(gpu, 1, 3));
	KUNIT_EXPECT_EQ(test, sim_counter_fetch((void *)gpu, &c, 1), 1U);
	KUNIT_EXPECT_EQ(test, c.count, (u32)THRESHOLD + 1);
	sim_counters_fini(gpu);
}

static void counters_keep_apart(struct kunit *test)
{
	struct sim_gpu *gpu = counters_gpu(test);
	struct uvm_gpu_counter c[2];

	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 1, 0, 4096));
	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 2, 0, 4096));
	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 1, GRANULE, 4096));
	sim_counters_forget(gpu, 1);
	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 1, 0, 4096));
	KUNIT_EXPECT_TRUE(test, sim_counters_access(gpu, 2, 0, 4096));
	KUNIT_EXPECT_EQ(test, sim_counter_fetch((void *)gpu, c, 2), 1U);
	KUNIT_EXPECT_EQ(test, c[0].as_id, 2ULL);
	KUNIT_EXPECT_EQ(test, c[0].address, 0ULL);
	KUNIT_EXPECT_EQ(test, counters_stat(gpu, SIM_STAT_COUNTERS_LOST), 0ULL);
	sim_counters_fini(gpu);
}

/* What finds no room in the ring notifies later. */
static void counters_ring_full(struct kunit *test)
{
	struct sim_gpu *gpu = counters_gpu(test);
	struct uvm_gpu_counter c;
	u64 i = 0;

	/* Some find no room in the table. */
	while (!counters_stat(gpu, SIM_STAT_COUNTER_RING_FULL))
		make_hot(gpu, ++i, 0);
	KUNIT_EXPECT_EQ(test, gpu->counters.put, (u32)UVM_SIM_COUNTER_ENTRIES);
	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, i, 0, 1));
	KUNIT_EXPECT_EQ(test, sim_counter_fetch((void *)gpu, &c, 1), 1U);
	KUNIT_EXPECT_EQ(test, c.as_id, 1ULL);
	KUNIT_EXPECT_TRUE(test, sim_counters_access(gpu, i, 0, 1));
	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, i, 0, 1));
	sim_counters_fini(gpu);
}

/* More granules than counters: the least used ones go, those that notified stay. */
static void counters_replace(struct kunit *test)
{
	struct sim_gpu *gpu = counters_gpu(test);
	struct uvm_gpu_counter c;
	u64 i;

	KUNIT_EXPECT_TRUE(test, make_hot(gpu, 1, 0));
	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 1, GRANULE, 64 * 50));
	for (i = 2; i < 4 * UVM_SIM_COUNTERS; i++)
		KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 1, i * GRANULE, 1));
	KUNIT_EXPECT_GE(test, counters_stat(gpu, SIM_STAT_COUNTERS_LOST),
			3ULL * UVM_SIM_COUNTERS);
	KUNIT_EXPECT_FALSE(test, make_hot(gpu, 1, 0));
	KUNIT_EXPECT_TRUE(test, sim_counters_access(gpu, 1, GRANULE, 64 * 50));
	KUNIT_EXPECT_EQ(test, sim_counter_fetch((void *)gpu, &c, 1), 1U);
	KUNIT_EXPECT_EQ(test, c.address, 0ULL);
	sim_counters_fini(gpu);
}

static void counters_disable(struct kunit *test)
{
	struct sim_gpu *gpu = counters_gpu(test);
	struct uvm_gpu_counter c;

	KUNIT_EXPECT_TRUE(test, make_hot(gpu, 1, 0));
	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 1, GRANULE, 64 * 99));
	sim_counter_enable((void *)gpu, 0);
	KUNIT_EXPECT_FALSE(test, make_hot(gpu, 1, 0));
	KUNIT_EXPECT_EQ(test, sim_counter_fetch((void *)gpu, &c, 1), 0U);
	sim_counter_enable((void *)gpu, 2);
	KUNIT_EXPECT_FALSE(test, sim_counters_access(gpu, 1, GRANULE, 64));
	KUNIT_EXPECT_TRUE(test, sim_counters_access(gpu, 1, GRANULE, 64));
	sim_counters_fini(gpu);
}

/* A GPU without counters says so, and nothing else touches what isn't there. */
static void counters_absent(struct kunit *test)
{
	struct sim_gpu *gpu = kunit_kzalloc(test, sizeof(*gpu), GFP_KERNEL);
	struct uvm_gpu_counter c = {};

	KUNIT_ASSERT_NOT_NULL(test, gpu);
	KUNIT_ASSERT_EQ(test, sim_counters_init(gpu), 0);
	KUNIT_EXPECT_EQ(test, sim_counter_enable((void *)gpu, 1), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, sim_counter_fetch((void *)gpu, &c, 1), 0U);
	sim_counter_clear((void *)gpu, &c);
	sim_counters_forget(gpu, 0);
	sim_counters_fini(gpu);
}

static struct kunit_case counter_cases[] = {
	KUNIT_CASE(counters_weigh),
	KUNIT_CASE(counters_rest),
	KUNIT_CASE(counters_keep_apart),
	KUNIT_CASE(counters_ring_full),
	KUNIT_CASE(counters_replace),
	KUNIT_CASE(counters_disable),
	KUNIT_CASE(counters_absent),
	{}
};

static struct kunit_suite counter_suite = {
	.name = "uvm_sim_counter",
	.test_cases = counter_cases,
};

kunit_test_suite(counter_suite);
