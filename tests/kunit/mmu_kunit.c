// SPDX-License-Identifier: GPL-2.0-only
/*
 * The software GPU's accessed bits: which accesses set them, what becomes of them when
 * entries are replaced, and that a harvest beside accesses misses none. The accesses go
 * through the ports and TLBs of channels that execute nothing.
 */
#include "../../src/sim/sim.h"

/* Here a GPU is its own handle. */
#define uvm_gpu_priv(core)		((void *)(core))
#define uvm_gpu_counters_pending(core)	((void)(core))

#include "../../src/sim/mmu.c"
#include "../../src/sim/port.c"

#include <kunit/test.h>
#include <linux/kthread.h>
#include <linux/wait.h>

#define PAGES		UVM_SIM_PT_ENTRIES
#define BASE		(7 * SIM_HUGE_SIZE)
#define CHANNELS	3
#define ROUNDS		300

/* All addresses lead here. */
static u64 mmu_memory[SIM_PAGE_SIZE / sizeof(u64)];

void *sim_memory_at(struct sim_gpu *gpu, u64 addr, u32 *len,
		    struct sim_target target, bool write)
{
	return (void *)mmu_memory + (addr & (SIM_PAGE_SIZE - 1));
}

void sim_fault_ahead(struct sim_channel *ch, u64 va, u32 access)
{
}

struct mmu_ctx;

/* A channel, and the thread that makes its accesses if there is one. */
struct mmu_channel {
	struct sim_channel ch;
	struct mmu_ctx *ctx;
	unsigned int page;
	unsigned long done;
	int error;
};

struct mmu_ctx {
	struct sim_gpu gpu;
	struct uvm_gpu_as *as;
	wait_queue_head_t progress;
	struct mmu_channel channels[CHANNELS];
	DECLARE_BITMAP(accessed, PAGES);
	DECLARE_BITMAP(want, PAGES);
};

static void mmu_channel_init(struct mmu_ctx *ctx, unsigned int i)
{
	struct mmu_channel *c = &ctx->channels[i];

	c->ctx = ctx;
	c->page = 100 * i;
	c->ch.as = to_sim_as(ctx->as);
	c->ch.gpu = &ctx->gpu;
	c->ch.base.as = ctx->as;
	sim_port_init(&c->ch);
	list_add(&c->ch.as_node, &c->ch.as->channels);
}

static int mmu_test_init(struct kunit *test)
{
	struct mmu_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	mutex_init(&ctx->gpu.atomics);
	init_waitqueue_head(&ctx->progress);
	KUNIT_ASSERT_EQ(test, sim_counters_init(&ctx->gpu), 0);
	ctx->as = sim_as_create((struct uvm_gpu *)&ctx->gpu, 1);
	KUNIT_ASSERT_FALSE(test, IS_ERR(ctx->as));
	ctx->as->gpu = (struct uvm_gpu *)&ctx->gpu;
	for (i = 0; i < CHANNELS; i++)
		mmu_channel_init(ctx, i);
	test->priv = ctx;
	return 0;
}

static void mmu_test_exit(struct kunit *test)
{
	struct mmu_ctx *ctx = test->priv;
	unsigned int i;

	if (!ctx)
		return;
	for (i = 0; i < CHANNELS; i++)
		list_del(&ctx->channels[i].ch.as_node);
	sim_as_destroy(ctx->as);
	sim_counters_fini(&ctx->gpu);
}

static u64 va_of(unsigned int page)
{
	return BASE + (u64)page * SIM_PAGE_SIZE;
}

static void map_as(struct mmu_ctx *ctx, unsigned int page, u8 shift, u16 flags, u8 aperture)
{
	struct uvm_gpu_entry entry = {
		.va = va_of(page),
		.addr = (u64)page * SIM_PAGE_SIZE,
		.shift = shift,
		.flags = flags,
		.aperture = aperture,
	};

	sim_map(ctx->as, &entry, 1);
}

static void map_page(struct mmu_ctx *ctx, unsigned int page, u16 flags)
{
	map_as(ctx, page, UVM_SIM_PAGE_SHIFT, flags, UVM_APERTURE_DEVICE);
}

static void map_large(struct mmu_ctx *ctx, u16 flags)
{
	map_as(ctx, 0, UVM_SIM_HUGE_SHIFT, flags, UVM_APERTURE_DEVICE);
}

/* What the core would have prepared: two blocks, and the first one mapped by pages. */
static void map_pages(struct kunit *test, u16 flags)
{
	struct mmu_ctx *ctx = test->priv;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, sim_map_prepare(ctx->as, BASE, 2 * SIM_HUGE_SIZE), 0);
	for (i = 0; i < PAGES; i++)
		map_page(ctx, i, flags);
}

static int read_page(struct mmu_channel *c, unsigned int page)
{
	u64 word;

	return c->ch.port.read(&c->ch.port, va_of(page), &word, sizeof(word));
}

static int write_page(struct mmu_channel *c, unsigned int page)
{
	return c->ch.port.touch(&c->ch.port, va_of(page));
}

static void invalidate(struct mmu_ctx *ctx)
{
	sim_tlb_invalidate(ctx->as, BASE, SIM_HUGE_SIZE);
}

/* The pages of @ctx->want, and no others, were accessed; forgets them. */
static void expect_range(struct kunit *test, unsigned int page, unsigned int nr)
{
	struct mmu_ctx *ctx = test->priv;
	unsigned int n;

	bitmap_zero(ctx->accessed, PAGES);
	n = sim_harvest(ctx->as, va_of(page), (u64)nr * SIM_PAGE_SIZE, ctx->accessed);
	KUNIT_EXPECT_EQ(test, n, bitmap_weight(ctx->want, PAGES));
	KUNIT_EXPECT_TRUE(test, bitmap_equal(ctx->accessed, ctx->want, PAGES));
	bitmap_zero(ctx->want, PAGES);
}

static void expect_wanted(struct kunit *test)
{
	expect_range(test, 0, PAGES);
}

static void want(struct mmu_ctx *ctx, unsigned int first, unsigned int nr)
{
	bitmap_set(ctx->want, first, nr);
}

static void mmu_begins_idle(struct kunit *test)
{
	struct mmu_ctx *ctx = test->priv;

	/* No tables at all, then empty ones. */
	expect_wanted(test);
	KUNIT_ASSERT_EQ(test, sim_map_prepare(ctx->as, BASE, SIM_HUGE_SIZE), 0);
	expect_wanted(test);
	map_pages(test, UVM_ENTRY_WRITE);
	expect_wanted(test);
	map_large(ctx, UVM_ENTRY_WRITE);
	expect_wanted(test);
	expect_range(test, 0, 0);
}

static void mmu_accesses_are_seen(struct kunit *test)
{
	struct mmu_ctx *ctx = test->priv;
	struct mmu_channel *c = ctx->channels;
	const u16 all = UVM_ENTRY_WRITE | UVM_ENTRY_ATOMIC;

	map_pages(test, all);
	KUNIT_EXPECT_EQ(test, read_page(c, 3), 0);
	want(ctx, 3, 1);
	expect_wanted(test);
	expect_wanted(test);
	KUNIT_EXPECT_EQ(test, write_page(c, PAGES - 1), 0);
	KUNIT_EXPECT_EQ(test, c->ch.port.add(&c->ch.port, va_of(0), 1), 0);
	want(ctx, 0, 1);
	want(ctx, PAGES - 1, 1);
	expect_wanted(test);

	/* Memory that isn't the GPU's own. */
	map_as(ctx, 9, UVM_SIM_PAGE_SHIFT, UVM_ENTRY_WRITE, UVM_APERTURE_SYSTEM);
	KUNIT_EXPECT_EQ(test, read_page(c, 9), 0);
	want(ctx, 9, 1);
	expect_wanted(test);
}

/* What isn't translated isn't accessed, nor is what is looked up ahead of time. */
static void mmu_misses_are_not(struct kunit *test)
{
	struct mmu_ctx *ctx = test->priv;
	struct mmu_channel *c = ctx->channels;

	map_pages(test, 0);
	KUNIT_EXPECT_EQ(test, write_page(c, 5), -EAGAIN);
	KUNIT_EXPECT_EQ(test, read_page(c, PAGES), -EAGAIN);
	c->ch.port.ahead(&c->ch.port, va_of(6), UVM_ACCESS_READ);
	expect_wanted(test);
	expect_range(test, PAGES, PAGES);
}

/* The TLB serves without a trace, until it is told to look again. */
static void mmu_tlb_hides(struct kunit *test)
{
	struct mmu_ctx *ctx = test->priv;
	struct mmu_channel *c = ctx->channels;

	map_pages(test, UVM_ENTRY_WRITE);
	KUNIT_EXPECT_EQ(test, read_page(c, 3), 0);
	want(ctx, 3, 1);
	expect_wanted(test);
	KUNIT_EXPECT_EQ(test, read_page(c, 3), 0);
	expect_wanted(test);

	/* The TLB of another channel knows nothing. */
	KUNIT_EXPECT_EQ(test, read_page(c + 1, 3), 0);
	want(ctx, 3, 1);
	expect_wanted(test);

	/* A store looks for the bit that says so. */
	KUNIT_EXPECT_EQ(test, write_page(c, 3), 0);
	want(ctx, 3, 1);
	expect_wanted(test);
	KUNIT_EXPECT_EQ(test, write_page(c, 3), 0);
	expect_wanted(test);

	invalidate(ctx);
	KUNIT_EXPECT_EQ(test, read_page(c, 3), 0);
	want(ctx, 3, 1);
	expect_wanted(test);
}

static void mmu_large_is_one(struct kunit *test)
{
	struct mmu_ctx *ctx = test->priv;
	struct mmu_channel *c = ctx->channels;

	map_pages(test, 0);
	map_large(ctx, 0);
	KUNIT_EXPECT_EQ(test, read_page(c, 77), 0);
	want(ctx, 0, PAGES);
	expect_wanted(test);
	KUNIT_EXPECT_EQ(test, read_page(c, 78), 0);
	expect_wanted(test);
	invalidate(ctx);
	KUNIT_EXPECT_EQ(test, read_page(c, 78), 0);

	/* A part of it tells of that part, and takes the bit of all. */
	want(ctx, 0, 10);
	expect_range(test, 20, 10);
	expect_wanted(test);
}

static void mmu_part_of_a_block(struct kunit *test)
{
	struct mmu_ctx *ctx = test->priv;
	struct mmu_channel *c = ctx->channels;

	map_pages(test, 0);
	map_as(ctx, PAGES, UVM_SIM_HUGE_SHIFT, 0, UVM_APERTURE_DEVICE);
	KUNIT_EXPECT_EQ(test, read_page(c, 1), 0);
	KUNIT_EXPECT_EQ(test, read_page(c, 5), 0);
	KUNIT_EXPECT_EQ(test, read_page(c, 8), 0);
	want(ctx, 1, 1);
	expect_range(test, 4, 4);
	want(ctx, 1, 1);
	want(ctx, 8, 1);
	expect_wanted(test);

	/* From the middle of one block to the middle of the next. */
	invalidate(ctx);
	KUNIT_EXPECT_EQ(test, read_page(c, PAGES - 1), 0);
	KUNIT_EXPECT_EQ(test, read_page(c, PAGES), 0);
	KUNIT_EXPECT_EQ(test, read_page(c, 2), 0);
	want(ctx, PAGES / 2 - 1, PAGES / 2 + 1);
	expect_range(test, PAGES / 2, PAGES);
	want(ctx, 2, 1);
	expect_wanted(test);
}

/* The TLB isn't told of an entry that takes nothing away, so that keeps the bit. */
static void mmu_replaced_stays(struct kunit *test)
{
	struct mmu_ctx *ctx = test->priv;
	struct mmu_channel *c = ctx->channels;

	map_pages(test, 0);
	KUNIT_EXPECT_EQ(test, read_page(c, 3), 0);
	map_pages(test, UVM_ENTRY_WRITE);
	want(ctx, 3, 1);
	expect_wanted(test);
	map_pages(test, 0);
	expect_wanted(test);

	/* Small to large, large to large, large to small. */
	invalidate(ctx);
	KUNIT_EXPECT_EQ(test, read_page(c, 3), 0);
	map_large(ctx, 0);
	map_large(ctx, UVM_ENTRY_WRITE);
	want(ctx, 0, PAGES);
	expect_wanted(test);
	map_large(ctx, 0);
	expect_wanted(test);
	invalidate(ctx);
	KUNIT_EXPECT_EQ(test, read_page(c, 3), 0);
	map_page(ctx, 4, 0);
	map_page(ctx, 5, 0);
	want(ctx, 4, 1);
	expect_wanted(test);
}

static void mmu_unmap_forgets(struct kunit *test)
{
	struct mmu_ctx *ctx = test->priv;
	struct mmu_channel *c = ctx->channels;

	map_pages(test, 0);
	KUNIT_EXPECT_EQ(test, read_page(c, 3), 0);
	KUNIT_EXPECT_EQ(test, read_page(c, 4), 0);
	KUNIT_EXPECT_EQ(test, sim_unmap(ctx->as, va_of(3), SIM_PAGE_SIZE), 1UL);
	invalidate(ctx);
	map_page(ctx, 3, 0);
	want(ctx, 4, 1);
	expect_wanted(test);

	map_large(ctx, 0);
	KUNIT_EXPECT_EQ(test, read_page(c, 3), 0);
	KUNIT_EXPECT_EQ(test, sim_unmap(ctx->as, va_of(9), SIM_PAGE_SIZE), 1UL);
	expect_wanted(test);
	invalidate(ctx);
	map_large(ctx, 0);
	expect_wanted(test);
	map_pages(test, 0);
	expect_wanted(test);
}

/* Accesses its page again and again, now and then with a store. */
static int access_thread(void *data)
{
	struct mmu_channel *c = data;
	unsigned long n = 0;
	int ret;

	while (!kthread_should_stop()) {
		ret = n % 7 ? read_page(c, c->page) : write_page(c, c->page);
		if (ret)
			WRITE_ONCE(c->error, ret);
		/* Pairs with one_more(): the access is over. */
		smp_store_release(&c->done, ++n);
		wake_up(&c->ctx->progress);
		cond_resched();
	}
	return 0;
}

/*
 * Wait until each channel has made an access that began after the call. The one that is
 * under way may have begun before.
 */
static bool one_more(struct mmu_ctx *ctx)
{
	unsigned long before[CHANNELS];
	unsigned int i;

	for (i = 0; i < CHANNELS; i++)
		before[i] = READ_ONCE(ctx->channels[i].done);
	for (i = 0; i < CHANNELS; i++)
		if (!wait_event_timeout(ctx->progress,
					/* Pairs with access_thread(). */
					smp_load_acquire(&ctx->channels[i].done) >=
					before[i] + 2, 10 * HZ))
			return false;
	return true;
}

static void start_threads(struct kunit *test, struct task_struct **task)
{
	struct mmu_ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < CHANNELS; i++)
		task[i] = kthread_run(access_thread, &ctx->channels[i], "uvm_mmu/%u", i);
}

static void stop_threads(struct kunit *test, struct task_struct **task)
{
	struct mmu_ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < CHANNELS; i++) {
		KUNIT_EXPECT_FALSE(test, IS_ERR(task[i]));
		if (!IS_ERR(task[i]))
			kthread_stop(task[i]);
		KUNIT_EXPECT_EQ(test, ctx->channels[i].error, 0);
	}
}

/* One harvest, while the threads go on. Were exactly the pages seen that they use? */
static bool harvest_sees_all(struct mmu_ctx *ctx)
{
	unsigned int n;

	bitmap_zero(ctx->accessed, PAGES);
	n = sim_harvest(ctx->as, BASE, SIM_HUGE_SIZE, ctx->accessed);
	invalidate(ctx);
	return n == bitmap_weight(ctx->want, PAGES) &&
	       bitmap_equal(ctx->accessed, ctx->want, PAGES);
}

/*
 * What each channel did after an invalidate is found by the next harvest, and so on in
 * rounds; @large entry or small ones, which are written @anew in between or not.
 */
static void harvest_rounds(struct kunit *test, bool large, bool anew)
{
	struct task_struct *task[CHANNELS];
	struct mmu_ctx *ctx = test->priv;
	unsigned int i, missed = 0;

	map_pages(test, UVM_ENTRY_WRITE);
	if (large)
		map_large(ctx, UVM_ENTRY_WRITE);
	for (i = 0; i < CHANNELS; i++)
		want(ctx, large ? 0 : ctx->channels[i].page, large ? PAGES : 1);
	start_threads(test, task);
	for (i = 0; i < ROUNDS && one_more(ctx); i++) {
		if (anew && large)
			map_large(ctx, UVM_ENTRY_WRITE);
		else if (anew)
			map_pages(test, UVM_ENTRY_WRITE);
		missed += !harvest_sees_all(ctx);
	}
	stop_threads(test, task);
	KUNIT_EXPECT_EQ(test, i, (unsigned int)ROUNDS);
	KUNIT_EXPECT_EQ(test, missed, 0U);
}

static void mmu_harvest_beside_accesses(struct kunit *test)
{
	harvest_rounds(test, false, false);
}

static void mmu_harvest_beside_large(struct kunit *test)
{
	harvest_rounds(test, true, false);
}

static void mmu_map_beside_accesses(struct kunit *test)
{
	harvest_rounds(test, false, true);
}

static void mmu_map_beside_large(struct kunit *test)
{
	harvest_rounds(test, true, true);
}

static struct kunit_case mmu_cases[] = {
	KUNIT_CASE(mmu_begins_idle),
	KUNIT_CASE(mmu_accesses_are_seen),
	KUNIT_CASE(mmu_misses_are_not),
	KUNIT_CASE(mmu_tlb_hides),
	KUNIT_CASE(mmu_large_is_one),
	KUNIT_CASE(mmu_part_of_a_block),
	KUNIT_CASE(mmu_replaced_stays),
	KUNIT_CASE(mmu_unmap_forgets),
	KUNIT_CASE(mmu_harvest_beside_accesses),
	KUNIT_CASE(mmu_harvest_beside_large),
	KUNIT_CASE(mmu_map_beside_accesses),
	KUNIT_CASE(mmu_map_beside_large),
	{}
};

static struct kunit_suite mmu_suite = {
	.name = "uvm_sim_mmu",
	.init = mmu_test_init,
	.exit = mmu_test_exit,
	.test_cases = mmu_cases,
};

kunit_test_suite(mmu_suite);
