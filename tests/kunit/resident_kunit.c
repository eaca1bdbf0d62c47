// SPDX-License-Identifier: GPL-2.0-only
/*
 * Residents: whose pages are counted, to the last one, whatever comes and goes; against
 * a model that knows each page's owner.
 */
#define uvm_evacuate_wq	system_unbound_wq
#include "resident.c"

#include <kunit/test.h>
#include <linux/prandom.h>

#define CHUNKS		4
#define PAGES		(CHUNKS * UVM_BLOCK_PAGES)
#define TENANTS		3
#define BLOCKS		6
#define ROUNDS		20000

/* What the model says of a page of the memory: whose it is, and of which block. */
struct resident_owner {
	s8 tenant;
	s8 block;
};

struct resident_ctx {
	struct uvm_gpu *gpu;
	struct mm_struct *mms[TENANTS];
	struct uvm_tenant *tenants[TENANTS];
	struct resident_owner owner[PAGES];
	unsigned long pages[TENANTS];
	unsigned long blocks[TENANTS][BLOCKS];
	struct rnd_state rnd;
};

static unsigned long resident_base(unsigned int block)
{
	return (100UL + block) << UVM_BLOCK_SHIFT;
}

static int resident_test_init(struct kunit *test)
{
	struct resident_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->gpu = kunit_kzalloc(test, sizeof(*ctx->gpu), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->gpu);
	KUNIT_ASSERT_EQ(test, uvm_lru_init(&ctx->gpu->lru, PAGES), 0);
	for (i = 0; i < TENANTS; i++) {
		ctx->mms[i] = kunit_kzalloc(test, sizeof(**ctx->mms), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, ctx->mms[i]);
		/* Nobody frees it by mmdrop(). */
		atomic_set(&ctx->mms[i]->mm_count, 1);
		ctx->tenants[i] = uvm_tenant_join(ctx->gpu, ctx->mms[i]);
		KUNIT_ASSERT_NOT_NULL(test, ctx->tenants[i]);
	}
	memset(ctx->owner, 0xff, sizeof(ctx->owner));
	prandom_seed_state(&ctx->rnd, 20261123);
	test->priv = ctx;
	return 0;
}

static void resident_leave(struct resident_ctx *ctx, unsigned int t)
{
	if (ctx->tenants[t])
		uvm_tenant_leave(ctx->tenants[t]);
	ctx->tenants[t] = NULL;
}

static void resident_test_exit(struct kunit *test)
{
	struct resident_ctx *ctx = test->priv;
	unsigned int i;

	if (!ctx)
		return;
	for (i = 0; i < TENANTS; i++)
		resident_leave(ctx, i);
	flush_work(&ctx->gpu->lru.reap);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->gpu->lru.tenants));
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->gpu->lru.ghosts));
	KUNIT_EXPECT_EQ(test, ctx->gpu->lru.nr_ghosts, 0UL);
	KUNIT_EXPECT_EQ(test, ctx->gpu->lru.stray_pages, 0UL);
	uvm_lru_fini(&ctx->gpu->lru);
	for (i = 0; i < TENANTS; i++)
		KUNIT_EXPECT_EQ(test, atomic_read(&ctx->mms[i]->mm_count), 1);
}

static u32 resident_random(struct resident_ctx *ctx, u32 below)
{
	return prandom_u32_state(&ctx->rnd) % below;
}

/* Free pages of the memory from @from on, at most @max. */
static unsigned int resident_find(struct resident_ctx *ctx, unsigned int from,
				  unsigned int max, s8 tenant)
{
	unsigned int n;

	for (n = 0; n < max && from + n < PAGES; n++)
		if (ctx->owner[from + n].tenant != tenant)
			break;
	return n;
}

/* Some pages come to a block; some of them don't, in the end. */
static void resident_come(struct kunit *test, struct resident_ctx *ctx)
{
	unsigned int t = resident_random(ctx, TENANTS), b = resident_random(ctx, BLOCKS);
	unsigned int from = resident_random(ctx, PAGES), i, n;
	DECLARE_BITMAP(moved, UVM_BLOCK_PAGES);
	struct uvm_resident *res;

	n = resident_find(ctx, from, 1 + resident_random(ctx, 64), -1);
	if (!n)
		return;
	res = uvm_resident_get(ctx->tenants[t], resident_base(b));
	KUNIT_ASSERT_NOT_NULL(test, res);
	KUNIT_ASSERT_EQ(test, uvm_tenant_charge(ctx->tenants[t], n + 3), n + 3UL);
	uvm_tenant_uncharge(ctx->tenants[t], 3);
	uvm_resident_add(res, from, n);
	for (i = 0; i < n; i++)
		ctx->owner[from + i] = (struct resident_owner){ t, b };
	ctx->pages[t] += n;
	ctx->blocks[t][b] += n;
	bitmap_zero(moved, UVM_BLOCK_PAGES);
	bitmap_set(moved, 0, n);
	uvm_resident_arrived(res, resident_random(ctx, UVM_BLOCK_PAGES - 64), moved, n);
	uvm_resident_put(res);
}

static void resident_forget(struct resident_ctx *ctx, unsigned int from, unsigned int n)
{
	unsigned int i;

	for (i = from; i < from + n; i++) {
		ctx->pages[ctx->owner[i].tenant]--;
		ctx->blocks[ctx->owner[i].tenant][ctx->owner[i].block]--;
		ctx->owner[i] = (struct resident_owner){ -1, -1 };
	}
}

/* Pages are freed, some of them by eviction. */
static void resident_go(struct kunit *test, struct resident_ctx *ctx)
{
	unsigned int from = resident_random(ctx, PAGES), n;
	struct resident_owner owner = ctx->owner[from];
	DECLARE_BITMAP(moved, UVM_BLOCK_PAGES);
	struct uvm_resident *res = NULL;
	unsigned long flags;

	if (owner.tenant < 0)
		return;
	n = resident_find(ctx, from, 1 + resident_random(ctx, 128), owner.tenant);
	if (resident_random(ctx, 2)) {
		res = uvm_resident_get(ctx->tenants[owner.tenant],
				       resident_base(owner.block));
		KUNIT_ASSERT_NOT_NULL(test, res);
	}
	local_irq_save(flags);
	uvm_resident_free(ctx->gpu, from, n);
	local_irq_restore(flags);
	resident_forget(ctx, from, n);
	if (!res)
		return;
	bitmap_zero(moved, UVM_BLOCK_PAGES);
	bitmap_set(moved, 0, min(n, 32U));
	uvm_resident_left(res, 0, moved, 32);
	uvm_resident_put(res);
}

/* The model is right about everything that can be asked. */
static void resident_check(struct kunit *test, struct resident_ctx *ctx)
{
	struct uvm_lru *lru = &ctx->gpu->lru;
	struct uvm_resident *res;
	unsigned int t, b, i;

	spin_lock_irq(&lru->lock);
	for (t = 0; t < TENANTS; t++)
		KUNIT_EXPECT_EQ(test, ctx->tenants[t]->pages, ctx->pages[t]);
	for (i = 0; i < PAGES; i++) {
		if (ctx->owner[i].tenant < 0) {
			KUNIT_EXPECT_NULL(test, lru->of[i]);
			continue;
		}
		KUNIT_EXPECT_PTR_EQ(test, lru->of[i]->tenant,
				    ctx->tenants[ctx->owner[i].tenant]);
		KUNIT_EXPECT_EQ(test, lru->of[i]->base,
				resident_base(ctx->owner[i].block));
	}
	for (t = 0; t < TENANTS; t++) {
		unsigned long pages = 0;
		u64 used = 0;

		list_for_each_entry(res, &ctx->tenants[t]->lru, link) {
			b = (res->base >> UVM_BLOCK_SHIFT) - 100;
			KUNIT_EXPECT_EQ(test, (unsigned long)res->pages,
					ctx->blocks[t][b]);
			KUNIT_EXPECT_GT(test, res->pages, 0U);
			KUNIT_EXPECT_GE(test, res->used, used);
			used = res->used;
			pages += res->pages;
		}
		KUNIT_EXPECT_EQ(test, pages, ctx->pages[t]);
	}
	spin_unlock_irq(&lru->lock);
}

static void resident_free_all(struct resident_ctx *ctx)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		if (ctx->owner[i].tenant >= 0) {
			uvm_resident_free(ctx->gpu, i, 1);
			resident_forget(ctx, i, 1);
		}
}

static void resident_counts_are_exact(struct kunit *test)
{
	struct resident_ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		if (resident_random(ctx, 2))
			resident_come(test, ctx);
		else
			resident_go(test, ctx);
		if (!(i % 1000))
			resident_check(test, ctx);
		cond_resched();
	}
	resident_check(test, ctx);
	KUNIT_EXPECT_GT(test, ctx->gpu->lru.refaulted, 0ULL);
	KUNIT_EXPECT_GE(test, ctx->gpu->lru.evicted, ctx->gpu->lru.refaulted);
	resident_free_all(ctx);
}

/* Pages stay when the mm's last GPU space goes, and the tenant with them. */
static void resident_outlives_space(struct kunit *test)
{
	struct resident_ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < 100; i++)
		resident_come(test, ctx);
	for (i = 0; i < TENANTS; i++)
		resident_leave(ctx, i);
	flush_work(&ctx->gpu->lru.reap);
	KUNIT_EXPECT_FALSE(test, list_empty(&ctx->gpu->lru.tenants));
	resident_free_all(ctx);
}

static int set_limit(struct uvm_tenant *tenant, u64 limit, u64 reserved)
{
	return uvm_tenant_set_limit(tenant, limit, reserved, true, 0);
}

/* A limit bounds what is charged; reservations bound each other. */
static void resident_limits(struct kunit *test)
{
	struct resident_ctx *ctx = test->priv;
	struct uvm_tenant *t = ctx->tenants[0];

	KUNIT_EXPECT_EQ(test, set_limit(t, 100, 50), 0);
	KUNIT_EXPECT_EQ(test, uvm_tenant_charge(t, 70), 70UL);
	KUNIT_EXPECT_EQ(test, uvm_tenant_room(t), 30UL);
	KUNIT_EXPECT_EQ(test, uvm_tenant_charge(t, 70), 30UL);
	KUNIT_EXPECT_EQ(test, uvm_tenant_charge(t, 1), 0UL);
	KUNIT_EXPECT_EQ(test, set_limit(t, 60, 50), 0);
	KUNIT_EXPECT_EQ(test, uvm_tenant_excess(t), 40UL);
	KUNIT_EXPECT_EQ(test, uvm_tenant_room(t), 0UL);
	uvm_tenant_uncharge(t, 100);
	KUNIT_EXPECT_EQ(test, uvm_tenant_excess(t), 0UL);
	KUNIT_EXPECT_EQ(test, set_limit(ctx->tenants[1], 0, PAGES - 50), 0);
	KUNIT_EXPECT_EQ(test, set_limit(ctx->tenants[2], 0, 1), -ENOSPC);
	KUNIT_EXPECT_EQ(test, set_limit(t, 0, U64_MAX), -ENOSPC);
	KUNIT_EXPECT_EQ(test, uvm_tenant_room(t), 60UL);
	KUNIT_EXPECT_EQ(test, set_limit(t, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, set_limit(ctx->tenants[2], 0, 50), 0);
}

/* Who isn't trusted shares a part, with nobody but those who aren't either. */
static void resident_reservations(struct kunit *test)
{
	struct resident_ctx *ctx = test->priv;
	struct uvm_tenant *t = ctx->tenants[0], *u = ctx->tenants[1];
	const u64 most = PAGES / 4;

	KUNIT_EXPECT_EQ(test, set_limit(ctx->tenants[2], 0, PAGES / 2), 0);
	KUNIT_EXPECT_EQ(test, uvm_tenant_set_limit(t, 0, 1, false, 0), -EPERM);
	KUNIT_EXPECT_EQ(test, uvm_tenant_set_limit(t, 0, most + 1, false, 25), -EPERM);
	KUNIT_EXPECT_EQ(test, uvm_tenant_set_limit(t, 0, most - 1, false, 25), 0);
	KUNIT_EXPECT_EQ(test, uvm_tenant_set_limit(u, 0, 2, false, 25), -EPERM);
	KUNIT_EXPECT_EQ(test, uvm_tenant_set_limit(u, 0, 1, false, 25), 0);
	/* no more than before */
	KUNIT_EXPECT_EQ(test, uvm_tenant_set_limit(t, 0, most - 1, false, 0), 0);
	KUNIT_EXPECT_EQ(test, uvm_tenant_set_limit(t, 0, 1, false, 0), 0);
	KUNIT_EXPECT_EQ(test, uvm_tenant_set_limit(t, 0, 2, false, 0), -EPERM);
	KUNIT_EXPECT_EQ(test, uvm_tenant_set_limit(t, 0, PAGES, false, 100), -ENOSPC);
	KUNIT_EXPECT_EQ(test, set_limit(ctx->tenants[2], 0, 0), 0);
}

/* One and the same mm is one tenant. */
static void resident_tenant_is_shared(struct kunit *test)
{
	struct resident_ctx *ctx = test->priv;
	struct uvm_tenant *t = uvm_tenant_join(ctx->gpu, ctx->mms[0]);

	KUNIT_ASSERT_PTR_EQ(test, t, ctx->tenants[0]);
	KUNIT_EXPECT_EQ(test, set_limit(t, 10, 0), 0);
	uvm_tenant_leave(t);
	KUNIT_EXPECT_EQ(test, uvm_tenant_room(ctx->tenants[0]), 10UL);
}

/* So many pages of a block come, and leave by eviction. */
static void resident_evict(struct kunit *test, struct resident_ctx *ctx, unsigned int t,
			   unsigned int b, unsigned int npages)
{
	struct uvm_resident *res = uvm_resident_get(ctx->tenants[t], resident_base(b));
	DECLARE_BITMAP(moved, UVM_BLOCK_PAGES);

	KUNIT_ASSERT_NOT_NULL(test, res);
	bitmap_zero(moved, UVM_BLOCK_PAGES);
	bitmap_set(moved, 0, npages);
	KUNIT_ASSERT_EQ(test, uvm_tenant_charge(ctx->tenants[t], npages), npages + 0UL);
	uvm_resident_add(res, 0, npages);
	uvm_resident_arrived(res, 0, moved, npages);
	uvm_resident_left(res, 0, moved, npages);
	uvm_resident_free(ctx->gpu, 0, npages);
	uvm_resident_put(res);
}

/* How many of a block's pages count as coming back, if all come? */
static u64 resident_refaults(struct kunit *test, struct resident_ctx *ctx,
			     unsigned int t, unsigned int b)
{
	u64 before = ctx->tenants[t]->refaulted;

	resident_evict(test, ctx, t, b, UVM_BLOCK_PAGES);
	return ctx->tenants[t]->refaulted - before;
}

/* What was unmapped doesn't come back, nor do others remember less for it. */
static void resident_unmapped(struct kunit *test)
{
	struct resident_ctx *ctx = test->priv;
	unsigned long a = resident_base(0), mid = resident_base(1);
	unsigned int b;

	for (b = 0; b < 3; b++)
		resident_evict(test, ctx, 0, b, UVM_BLOCK_PAGES);
	resident_evict(test, ctx, 1, 1, UVM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, ctx->gpu->lru.nr_ghosts, 4UL);
	/* all of the first block, and four pages of the second one */
	uvm_tenant_unmapped(ctx->tenants[0], a - PAGE_SIZE, mid + 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, ctx->gpu->lru.nr_ghosts, 3UL);
	/* and one in its middle */
	uvm_tenant_unmapped(ctx->tenants[0], mid + 8 * PAGE_SIZE, mid + 9 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, resident_refaults(test, ctx, 0, 0), 0ULL);
	KUNIT_EXPECT_EQ(test, resident_refaults(test, ctx, 0, 1), UVM_BLOCK_PAGES - 5ULL);
	KUNIT_EXPECT_EQ(test, resident_refaults(test, ctx, 0, 2), UVM_BLOCK_PAGES + 0ULL);
	KUNIT_EXPECT_EQ(test, resident_refaults(test, ctx, 1, 1), UVM_BLOCK_PAGES + 0ULL);
}

/* A tenant that ends takes its own ghosts along, and nobody else's. */
static void resident_ghosts_end(struct kunit *test)
{
	struct resident_ctx *ctx = test->priv;

	resident_evict(test, ctx, 0, 0, 8);
	resident_evict(test, ctx, 0, 3, 8);
	resident_evict(test, ctx, 1, 0, 8);
	resident_leave(ctx, 0);
	flush_work(&ctx->gpu->lru.reap);
	KUNIT_EXPECT_EQ(test, ctx->gpu->lru.nr_ghosts, 1UL);
	KUNIT_EXPECT_EQ(test, resident_refaults(test, ctx, 1, 0), 8ULL);
}

static struct kunit_case resident_cases[] = {
	KUNIT_CASE(resident_counts_are_exact),
	KUNIT_CASE(resident_outlives_space),
	KUNIT_CASE(resident_limits),
	KUNIT_CASE(resident_reservations),
	KUNIT_CASE(resident_tenant_is_shared),
	KUNIT_CASE(resident_unmapped),
	KUNIT_CASE(resident_ghosts_end),
	{}
};

static struct kunit_suite resident_suite = {
	.name = "uvm_resident",
	.init = resident_test_init,
	.exit = resident_test_exit,
	.test_cases = resident_cases,
};

kunit_test_suite(resident_suite);
