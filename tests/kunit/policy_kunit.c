// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies: split, merge and clear, against an array that has one policy a page.
 */
#include "policy.c"

#include <kunit/test.h>
#include <linux/prandom.h>

#define PAGES		64UL
#define BYTES		4096UL
#define OP_KINDS	8

struct policy_ctx {
	struct uvm_policies policies;
	struct uvm_policy model[PAGES];
};

static int policy_test_init(struct kunit *test)
{
	struct policy_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	if (!ctx)
		return -ENOMEM;
	uvm_policies_init(&ctx->policies);
	test->priv = ctx;
	return 0;
}

static void policy_test_exit(struct kunit *test)
{
	struct policy_ctx *ctx = test->priv;

	uvm_policies_fini(&ctx->policies);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 0UL);
}

static void policy_set(struct kunit *test, unsigned long first, unsigned long end,
		       const struct uvm_policy_change *change)
{
	struct policy_ctx *ctx = test->priv;
	unsigned long i;

	KUNIT_ASSERT_EQ(test, 0, uvm_policies_apply(&ctx->policies, first * BYTES,
						    end * BYTES - 1, change));
	for (i = first; i < end; i++)
		ctx->model[i] = uvm_policy_changed(&ctx->model[i], change);
}

static void policy_clear(struct kunit *test, unsigned long first, unsigned long end)
{
	struct policy_ctx *ctx = test->priv;

	uvm_policies_clear(&ctx->policies, first * BYTES, end * BYTES - 1);
	memset(&ctx->model[first], 0, (end - first) * sizeof(ctx->model[0]));
}

/* Every page is as the model says, and its run is as long as it can be. */
static void policy_check(struct kunit *test)
{
	struct policy_ctx *ctx = test->priv;
	struct uvm_policy_range *range;
	unsigned long i, first, last, runs = 0, nr = 0;
	struct uvm_policy policy;

	for (i = 0; i < PAGES; i++) {
		uvm_policies_lookup(&ctx->policies, i * BYTES + i, &policy, &first,
				    &last);
		KUNIT_EXPECT_TRUE(test, uvm_policy_equal(&policy, &ctx->model[i]));
		KUNIT_EXPECT_LE(test, first, i * BYTES);
		KUNIT_EXPECT_GE(test, last, (i + 1) * BYTES - 1);
		if (i && !uvm_policy_equal(&policy, &ctx->model[i - 1]))
			KUNIT_EXPECT_EQ(test, first, i * BYTES);
		if (!uvm_policy_is_default(&policy) &&
		    (!i || !uvm_policy_equal(&policy, &ctx->model[i - 1])))
			runs++;
	}
	for (range = uvm_policy_first(&ctx->policies, 0, ULONG_MAX); range;
	     range = uvm_policy_next(range, 0, ULONG_MAX))
		nr++;
	KUNIT_EXPECT_EQ(test, nr, runs);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, runs);
}

static const struct uvm_policy_change policy_stay = {
	.what = UVM_POLICY_SET_SWITCH,
	.mask = UVM_POLICY_FAULT_MIGRATION,
	.value.odd = UVM_POLICY_FAULT_MIGRATION,
};

static const struct uvm_policy_change policy_move = {
	.what = UVM_POLICY_SET_SWITCH,
	.mask = UVM_POLICY_FAULT_MIGRATION,
};

static void policy_split_and_merge(struct kunit *test)
{
	struct policy_ctx *ctx = test->priv;

	policy_set(test, 8, 24, &policy_stay);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 1UL);
	policy_set(test, 12, 16, &policy_move);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 2UL);
	policy_check(test);
	policy_set(test, 12, 16, &policy_stay);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 1UL);
	policy_set(test, 24, 30, &policy_stay);
	policy_set(test, 4, 8, &policy_stay);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 1UL);
	policy_check(test);
	policy_set(test, 0, PAGES, &policy_move);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 0UL);
	policy_check(test);
}

static void policy_clear_shapes(struct kunit *test)
{
	struct policy_ctx *ctx = test->priv;

	policy_set(test, 10, 20, &policy_stay);
	policy_clear(test, 14, 16);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 2UL);
	policy_check(test);
	policy_clear(test, 8, 11);
	policy_clear(test, 19, 40);
	policy_check(test);
	policy_clear(test, 11, 14);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 1UL);
	/* exit_mmap() says this */
	uvm_policies_clear(&ctx->policies, 0, ULONG_MAX - 1);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 0UL);
}

static void policy_forgets(struct kunit *test)
{
	const struct uvm_policy_change gpu = {
		.what = UVM_POLICY_SET_DEST,
		.value = { .dest_kind = UVM_DEST_GPU, .dest_id = 7 },
	};
	const struct uvm_policy_change by = {
		.what = UVM_POLICY_SET_ACCESSED_BY,
		.value.accessed_by = BIT_ULL(3),
	};
	const struct uvm_policy_change group = {
		.what = UVM_POLICY_SET_GROUP,
		.value.group = 5,
	};
	struct policy_ctx *ctx = test->priv;
	unsigned long first, last;
	struct uvm_policy policy;

	policy_set(test, 0, 8, &gpu);
	policy_set(test, 4, 12, &by);
	policy_set(test, 10, 20, &group);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 5UL);
	uvm_policies_forget_gpu(&ctx->policies, 7, 3);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 1UL);
	uvm_policies_set_group(&ctx->policies, 5, true);
	uvm_policies_lookup(&ctx->policies, 10 * BYTES, &policy, &first, &last);
	KUNIT_EXPECT_FALSE(test, uvm_policy_switches(&policy) &
				 UVM_POLICY_ALLOW_MIGRATION);
	uvm_policies_forget_group(&ctx->policies, 5);
	KUNIT_EXPECT_EQ(test, ctx->policies.nr, 0UL);
}

/* What [first, end) becomes for the page @at, pages with @odd forbidden. */
static void policy_clip_to(struct kunit *test, unsigned long at, unsigned long first,
			   unsigned long end)
{
	struct policy_ctx *ctx = test->priv;
	unsigned long from = 2 * BYTES, to = 18 * BYTES;

	uvm_policies_clip(&ctx->policies, at * BYTES, &from, &to);
	KUNIT_EXPECT_EQ(test, from, first * BYTES);
	KUNIT_EXPECT_EQ(test, to, end * BYTES);
}

/* Neighbours that may not move are cut off, and what is behind them. */
static void policy_clips(struct kunit *test)
{
	const struct uvm_policy_change group = {
		.what = UVM_POLICY_SET_GROUP,
		.value.group = 5,
	};
	const struct uvm_policy_change gpu = {
		.what = UVM_POLICY_SET_DEST,
		.value = { .dest_kind = UVM_DEST_GPU, .dest_id = 7 },
	};
	struct policy_ctx *ctx = test->priv;

	policy_clip_to(test, 8, 2, 18);
	/* other policies are no reason */
	policy_set(test, 7, 9, &gpu);
	policy_set(test, 11, 12, &gpu);
	policy_clip_to(test, 8, 2, 18);
	policy_set(test, 4, 6, &group);
	policy_set(test, 13, 30, &group);
	policy_clip_to(test, 8, 2, 18);
	uvm_policies_set_group(&ctx->policies, 5, true);
	policy_clip_to(test, 8, 6, 13);
	policy_clip_to(test, 6, 6, 13);
	policy_clip_to(test, 12, 6, 13);
	policy_clip_to(test, 2, 2, 4);
	/* one that moves in any case moves alone */
	policy_clip_to(test, 5, 5, 6);
	policy_clip_to(test, 17, 17, 18);
}

static struct uvm_policy_change policy_random(u32 r)
{
	struct uvm_policy_change change = { .what = r % (UVM_POLICY_SET_GROUP + 1) };

	r /= OP_KINDS;
	change.mask = r % 8;
	change.value = (struct uvm_policy){
		.dest_kind = r % 4,
		.dest_id = r / 4 % 2,
		.odd = r / 8 % 8,
		.group = r / 64 % 3,
		.accessed_by = r / 256 % 8,
	};
	return change;
}

static void policy_model(struct kunit *test)
{
	unsigned long first, end, round;
	struct rnd_state rng;

	prandom_seed_state(&rng, 20);
	for (round = 0; round < 4000; round++) {
		u32 r = prandom_u32_state(&rng);
		struct uvm_policy_change change = policy_random(r);

		first = prandom_u32_state(&rng) % PAGES;
		end = first + 1 + prandom_u32_state(&rng) % (PAGES - first);
		if (r >> 28 < 3)
			policy_clear(test, first, end);
		else
			policy_set(test, first, end, &change);
		if (round % 8 == 0)
			policy_check(test);
	}
}

static struct kunit_case policy_cases[] = {
	KUNIT_CASE(policy_split_and_merge),
	KUNIT_CASE(policy_clear_shapes),
	KUNIT_CASE(policy_forgets),
	KUNIT_CASE(policy_clips),
	KUNIT_CASE(policy_model),
	{}
};

static struct kunit_suite policy_suite = {
	.name = "uvm_policy",
	.init = policy_test_init,
	.exit = policy_test_exit,
	.test_cases = policy_cases,
};

kunit_test_suite(policy_suite);
