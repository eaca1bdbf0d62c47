// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mm link: states, and the shutdown against retainers and against itself, with
 * real threads. The mm is a bare structure of which mm_users counts; the GPU side is
 * replaced by what looks at the state in its place. And who unmaps huge pages, told the
 * way that core tells it: the interval notifier, if the mm is watched, then the plain one.
 */
#include "mm.c"
#include "zaps.c"

#include <kunit/test.h>

#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/kthread.h>

/* mm_users of the tasks that the mm would have: never all of them go. */
#define TASKS	1000

#define THREADS	4
#define CLOSERS	3
#define ROUNDS	40

struct workqueue_struct *uvm_release_wq;
const struct file_operations uvm_fops;
const struct mmu_interval_notifier_ops uvm_snapshot_ops;

/* What the shutdown did, in order. */
static enum uvm_mm_step seen[2 * UVM_MM_STEP_PUT];
static atomic_t nr_seen;
static atomic_t bad;

void uvm_mm_step(struct uvm_va_space *vs, enum uvm_mm_step step)
{
	int i = atomic_inc_return(&nr_seen) - 1;

	if (i < ARRAY_SIZE(seen))
		seen[i] = step;
}

void uvm_gpu_spaces_stop(struct uvm_va_space *vs)
{
	if (READ_ONCE(vs->mm_state) != UVM_MM_RELEASING)
		atomic_inc(&bad);
	uvm_mm_step(vs, UVM_MM_STEP_STOP);
}

void uvm_gpu_spaces_free(struct uvm_va_space *vs)
{
	if (READ_ONCE(vs->mm_state) != UVM_MM_RELEASED)
		atomic_inc(&bad);
}

struct mm_ctx {
	struct mm_struct *mm;
	struct uvm_mm umm;
	struct uvm_va_space vs;
	bool stop;
};

static void make_vs(struct mm_ctx *ctx, struct uvm_va_space *vs)
{
	memset(vs, 0, sizeof(*vs));
	init_rwsem(&vs->lock);
	uvm_mm_attach(vs, NULL);
	vs->mm = ctx->mm;
	vs->umm = &ctx->umm;
	vs->mm_state = UVM_MM_UNINITIALIZED;
}

static void make_alive(struct uvm_va_space *vs)
{
	uvm_mm_pin(vs);
	uvm_mm_set_state(vs, UVM_MM_ALIVE);
}

static const struct file_operations no_fops;

static int mm_test_init(struct kunit *test)
{
	struct mm_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->mm = kunit_kzalloc(test, sizeof(*ctx->mm), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->mm);
	atomic_set(&ctx->mm->mm_users, TASKS);
	init_rwsem(&ctx->mm->mmap_lock);
	spin_lock_init(&ctx->umm.pin_lock);
	uvm_zaps_init(&ctx->umm.zaps);
	make_vs(ctx, &ctx->vs);
	ctx->vs.filp = anon_inode_getfile("[uvm-kunit]", &no_fops, NULL, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(ctx->vs.filp));
	uvm_release_wq = alloc_workqueue("uvm_kunit", WQ_UNBOUND, 0);
	KUNIT_ASSERT_NOT_NULL(test, uvm_release_wq);
	atomic_set(&nr_seen, 0);
	atomic_set(&bad, 0);
	test->priv = ctx;
	return 0;
}

static void mm_test_exit(struct kunit *test)
{
	struct mm_ctx *ctx = test->priv;

	if (ctx->umm.zaps.mm)
		hash_del(&ctx->umm.zaps.node);
	destroy_workqueue(uvm_release_wq);
	fput(ctx->vs.filp);
}

static int mm_users(struct mm_ctx *ctx)
{
	return atomic_read(&ctx->mm->mm_users);
}

static void mm_states(struct kunit *test)
{
	struct mm_ctx *ctx = test->priv;
	struct uvm_va_space *vs = &ctx->vs;

	KUNIT_EXPECT_EQ(test, uvm_mm_retain(vs), -EBADFD);
	KUNIT_EXPECT_FALSE(test, uvm_mm_initialized(vs));
	make_alive(vs);
	KUNIT_EXPECT_EQ(test, mm_users(ctx), TASKS + 1);
	KUNIT_EXPECT_TRUE(test, uvm_mm_initialized(vs));
	KUNIT_EXPECT_FALSE(test, uvm_mm_releasing(vs));
	KUNIT_EXPECT_EQ(test, uvm_mm_retain(vs), 0);
	KUNIT_EXPECT_EQ(test, uvm_mm_retain(vs), 0);
	KUNIT_EXPECT_EQ(test, vs->retainers, 2U);
	uvm_mm_release(vs);
	uvm_mm_release(vs);
	KUNIT_EXPECT_TRUE(test, uvm_mm_begin_shutdown(vs));
	KUNIT_EXPECT_EQ(test, vs->mm_state, UVM_MM_RELEASING);
	KUNIT_EXPECT_EQ(test, uvm_mm_retain(vs), -ESRCH);
	KUNIT_EXPECT_FALSE(test, uvm_mm_begin_shutdown(vs));
	KUNIT_EXPECT_FALSE(test, completion_done(&vs->mm_down));
	uvm_mm_run_shutdown(vs, true);
	KUNIT_EXPECT_EQ(test, vs->mm_state, UVM_MM_RELEASED);
	KUNIT_EXPECT_EQ(test, mm_users(ctx), TASKS);
	KUNIT_EXPECT_FALSE(test, uvm_mm_begin_shutdown(vs));
	KUNIT_EXPECT_EQ(test, uvm_mm_retain(vs), -ESRCH);
	/* Once more, and again: nothing happens, nobody waits. */
	uvm_mm_shutdown(vs, true);
	uvm_mm_shutdown(vs, false);
	KUNIT_EXPECT_EQ(test, mm_users(ctx), TASKS);
	KUNIT_EXPECT_EQ(test, vs->mm_state, UVM_MM_RELEASED);
}

/* The process went before there was an mm file. */
static void mm_never_alive(struct kunit *test)
{
	struct mm_ctx *ctx = test->priv;
	struct uvm_va_space *vs = &ctx->vs;

	KUNIT_EXPECT_FALSE(test, uvm_mm_begin_shutdown(vs));
	KUNIT_EXPECT_EQ(test, vs->mm_state, UVM_MM_RELEASED);
	KUNIT_EXPECT_TRUE(test, completion_done(&vs->mm_down));
	KUNIT_EXPECT_EQ(test, atomic_read(&nr_seen), 0);
	KUNIT_EXPECT_EQ(test, mm_users(ctx), TASKS);
}

static void mm_none(struct kunit *test)
{
	struct mm_ctx *ctx = test->priv;
	struct uvm_va_space *vs = &ctx->vs;

	vs->mm_state = UVM_MM_NONE;
	KUNIT_EXPECT_EQ(test, uvm_mm_retain(vs), -EOPNOTSUPP);
	KUNIT_EXPECT_TRUE(test, uvm_mm_initialized(vs));
	KUNIT_EXPECT_FALSE(test, uvm_mm_begin_shutdown(vs));
	KUNIT_EXPECT_EQ(test, vs->mm_state, UVM_MM_NONE);
}

/* Two VA spaces of one mm: abandoned only once nobody but both has it. */
static void mm_abandoned(struct kunit *test)
{
	struct mm_ctx *ctx = test->priv;
	struct uvm_va_space *other;

	other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, other);
	make_vs(ctx, other);
	KUNIT_EXPECT_FALSE(test, uvm_mm_is_abandoned(other));
	make_alive(&ctx->vs);
	make_alive(other);
	KUNIT_EXPECT_FALSE(test, uvm_mm_is_abandoned(&ctx->vs));
	atomic_set(&ctx->mm->mm_users, 3);
	KUNIT_EXPECT_FALSE(test, uvm_mm_is_abandoned(&ctx->vs));
	atomic_set(&ctx->mm->mm_users, 2);
	KUNIT_EXPECT_TRUE(test, uvm_mm_is_abandoned(&ctx->vs));
	KUNIT_EXPECT_TRUE(test, uvm_mm_is_abandoned(other));
	atomic_set(&ctx->mm->mm_users, TASKS + 2);
	uvm_mm_unpin(other);
	mmput(ctx->mm);
	KUNIT_EXPECT_EQ(test, ctx->umm.pins, 1U);
	atomic_set(&ctx->mm->mm_users, 2);
	KUNIT_EXPECT_FALSE(test, uvm_mm_is_abandoned(&ctx->vs));
	atomic_set(&ctx->mm->mm_users, TASKS + 1);
	uvm_mm_unpin(&ctx->vs);
	mmput(ctx->mm);
	KUNIT_EXPECT_EQ(test, ctx->umm.pins, 0U);
}

/* While the mm is retained, the VA space's own reference to it must be there. */
static int retainer(void *data)
{
	struct mm_ctx *ctx = data;

	while (!uvm_mm_retain(&ctx->vs)) {
		if (mm_users(ctx) != TASKS + 1)
			atomic_inc(&bad);
		cond_resched();
		if (mm_users(ctx) != TASKS + 1)
			atomic_inc(&bad);
		uvm_mm_release(&ctx->vs);
	}
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static int closer(void *data)
{
	struct mm_ctx *ctx = data;

	while (!READ_ONCE(ctx->stop) && !kthread_should_stop())
		cond_resched();
	uvm_mm_shutdown(&ctx->vs, true);
	if (ctx->vs.mm_state != UVM_MM_RELEASED || ctx->umm.pins)
		atomic_inc(&bad);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static void one_round(struct kunit *test, struct mm_ctx *ctx)
{
	static const enum uvm_mm_step want[] = {
		UVM_MM_STEP_REFUSE, UVM_MM_STEP_STOP, UVM_MM_STEP_RELEASED,
		UVM_MM_STEP_FREE, UVM_MM_STEP_DRAIN, UVM_MM_STEP_MMPUT,
	};
	struct task_struct *task[THREADS + CLOSERS];
	struct file *filp = ctx->vs.filp;
	int i;

	make_vs(ctx, &ctx->vs);
	ctx->vs.filp = filp;
	ctx->stop = false;
	atomic_set(&nr_seen, 0);
	make_alive(&ctx->vs);
	for (i = 0; i < ARRAY_SIZE(task); i++) {
		task[i] = kthread_run(i < THREADS ? retainer : closer, ctx,
				      "uvm_kunit/%d", i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(task[i]));
	}
	usleep_range(100, 1000);
	WRITE_ONCE(ctx->stop, true);
	wait_for_completion(&ctx->vs.mm_down);
	for (i = 0; i < ARRAY_SIZE(task); i++)
		kthread_stop(task[i]);
	KUNIT_EXPECT_EQ(test, atomic_read(&nr_seen), (int)ARRAY_SIZE(want));
	KUNIT_EXPECT_EQ(test, memcmp(seen, want, sizeof(want)), 0);
	KUNIT_EXPECT_EQ(test, ctx->vs.retainers, 0U);
	KUNIT_EXPECT_EQ(test, mm_users(ctx), TASKS);
}

static void mm_threads(struct kunit *test)
{
	int i;

	for (i = 0; i < ROUNDS; i++)
		one_round(test, test->priv);
	KUNIT_EXPECT_EQ(test, atomic_read(&bad), 0);
}

/* A retainer that user space holds up doesn't hold up the shutdown. */
static void mm_late_retainer(struct kunit *test)
{
	struct mm_ctx *ctx = test->priv;
	struct uvm_va_space *vs = &ctx->vs;

	make_alive(vs);
	KUNIT_ASSERT_EQ(test, uvm_mm_retain(vs), 0);
	KUNIT_ASSERT_EQ(test, uvm_mm_retain(vs), 0);
	uvm_mm_shutdown(vs, true);
	KUNIT_EXPECT_EQ(test, vs->mm_state, UVM_MM_RELEASED);
	KUNIT_EXPECT_EQ(test, mm_users(ctx), TASKS + 1);
	uvm_mm_release(vs);
	flush_workqueue(uvm_release_wq);
	KUNIT_EXPECT_EQ(test, mm_users(ctx), TASKS + 1);
	uvm_mm_release(vs);
	flush_workqueue(uvm_release_wq);
	KUNIT_EXPECT_EQ(test, mm_users(ctx), TASKS);
	KUNIT_EXPECT_EQ(test, seen[atomic_read(&nr_seen) - 1], UVM_MM_STEP_MMPUT);
	KUNIT_EXPECT_EQ(test, atomic_read(&bad), 0);
}

static struct mmu_notifier_range zap_of(unsigned long block, bool blockable)
{
	return (struct mmu_notifier_range){
		.start = block * UVM_BLOCK_SIZE + PAGE_SIZE,
		.end = block * UVM_BLOCK_SIZE + 2 * PAGE_SIZE,
		.event = MMU_NOTIFY_CLEAR,
		.flags = blockable ? MMU_NOTIFIER_RANGE_BLOCKABLE : 0,
	};
}

static void zaps_watch(struct mm_ctx *ctx)
{
	ctx->umm.zaps.mm = ctx->mm;
	hash_add(uvm_zaps_table, &ctx->umm.zaps.node, (unsigned long)ctx->mm);
}

static bool zap_is_let(struct mm_ctx *ctx, const struct mmu_notifier_range *range)
{
	struct uvm_zaps *zaps = &ctx->umm.zaps;

	return !zaps->mm || uvm_zaps_invalidate(&zaps->mni, range, 1);
}

static void zap_starts(struct mm_ctx *ctx, const struct mmu_notifier_range *range)
{
	if (uvm_mm_notifier_ops.invalidate_range_start)
		uvm_mm_notifier_ops.invalidate_range_start(&ctx->umm.mn, range);
}

static bool zap_begins(struct mm_ctx *ctx, const struct mmu_notifier_range *range)
{
	if (!zap_is_let(ctx, range))
		return false;
	zap_starts(ctx, range);
	return true;
}

static void zap_ends(struct mm_ctx *ctx, const struct mmu_notifier_range *range)
{
	uvm_mm_notifier_ops.invalidate_range_end(&ctx->umm.mn, range);
}

static bool zap_barred(struct mm_ctx *ctx, unsigned long block, struct uvm_move *mv)
{
	bool barred;

	down_read(&ctx->mm->mmap_lock);
	barred = uvm_zaps_bar(ctx->mm, block * UVM_BLOCK_SIZE, mv);
	up_read(&ctx->mm->mmap_lock);
	return barred;
}

static struct uvm_move *zap_move(struct kunit *test, struct mm_ctx *ctx,
				 unsigned long block)
{
	struct uvm_move *mv;

	if (!UVM_HUGE_MOVES)
		kunit_skip(test, "huge pages don't move");
	mv = kunit_kzalloc(test, sizeof(*mv), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mv);
	mv->args.start = block * UVM_BLOCK_SIZE;
	mv->args.end = mv->args.start + UVM_BLOCK_SIZE;
	return mv;
}

/* Unmappings of which the interval notifier doesn't hear. */
static void zaps_before_watch(struct kunit *test)
{
	struct mmu_notifier_range a = zap_of(1, true), b = zap_of(2, true);
	struct mm_ctx *ctx = test->priv;
	struct uvm_move *mv = zap_move(test, ctx, 2);

	KUNIT_EXPECT_TRUE(test, zap_begins(ctx, &a));
	KUNIT_EXPECT_FALSE(test, zap_barred(ctx, 1, NULL));
	zaps_watch(ctx);
	KUNIT_EXPECT_FALSE(test, zap_barred(ctx, 1, NULL));
	KUNIT_EXPECT_TRUE(test, zap_barred(ctx, 2, NULL));
	KUNIT_EXPECT_TRUE(test, zap_begins(ctx, &b));
	zap_ends(ctx, &a);
	KUNIT_EXPECT_FALSE(test, zap_barred(ctx, 2, mv));
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->umm.zaps.moves));
	uvm_zaps_allow(mv);
	zap_ends(ctx, &b);
	KUNIT_EXPECT_EQ(test, ctx->umm.zaps.active, 0U);
	KUNIT_EXPECT_TRUE(test, zap_barred(ctx, 2, mv));
	uvm_zaps_allow(mv);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->umm.zaps.moves));
}

/* What isn't told to the plain notifier, or refused after it. */
static void zaps_refused(struct kunit *test)
{
	struct mmu_notifier_range a = zap_of(1, false), b = zap_of(2, false);
	struct mm_ctx *ctx = test->priv;
	struct uvm_move *mv = zap_move(test, ctx, 1);

	zaps_watch(ctx);
	KUNIT_ASSERT_TRUE(test, zap_barred(ctx, 1, mv));
	/* This task's own moves are no matter. */
	KUNIT_EXPECT_TRUE(test, zap_is_let(ctx, &a));
	mv->mover = NULL;
	KUNIT_EXPECT_FALSE(test, zap_begins(ctx, &a));
	KUNIT_EXPECT_EQ(test, ctx->umm.zaps.active, 0U);
	KUNIT_EXPECT_TRUE(test, zap_begins(ctx, &b));
	zap_ends(ctx, &b);
	KUNIT_EXPECT_EQ(test, ctx->umm.zaps.active, 0U);
	uvm_zaps_allow(mv);
	/* Nobody said that @a ended. */
	KUNIT_EXPECT_TRUE(test, zap_is_let(ctx, &a));
	KUNIT_EXPECT_FALSE(test, zap_barred(ctx, 1, NULL));
	KUNIT_EXPECT_FALSE(test, zap_barred(ctx, 3, NULL));
}

struct zapper {
	struct mm_ctx *ctx;
	struct mmu_notifier_range range;
	bool slips;		/* past the interval notifier, before the move */
	struct completion done;
};

static int zapper_main(void *data)
{
	struct zapper *z = data;

	if (z->slips)
		zap_starts(z->ctx, &z->range);
	else
		zap_begins(z->ctx, &z->range);
	complete(&z->done);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static void zap_waits(struct kunit *test, bool slips)
{
	struct mm_ctx *ctx = test->priv;
	struct uvm_move *mv = zap_move(test, ctx, 1);
	struct zapper z = { .ctx = ctx, .range = zap_of(1, true), .slips = slips };
	struct task_struct *task;

	init_completion(&z.done);
	if (!ctx->umm.zaps.mm)
		zaps_watch(ctx);
	KUNIT_ASSERT_TRUE(test, zap_barred(ctx, 1, mv));
	task = kthread_run(zapper_main, &z, "uvm_kunit/zap");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	msleep(100);
	KUNIT_EXPECT_FALSE(test, completion_done(&z.done));
	/* It is counted meanwhile. */
	KUNIT_EXPECT_FALSE(test, zap_barred(ctx, 1, NULL));
	uvm_zaps_allow(mv);
	wait_for_completion(&z.done);
	KUNIT_EXPECT_FALSE(test, zap_barred(ctx, 1, NULL));
	zap_ends(ctx, &z.range);
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, ctx->umm.zaps.active, 0U);
	KUNIT_EXPECT_TRUE(test, zap_barred(ctx, 1, NULL));
}

static void zaps_wait(struct kunit *test)
{
	zap_waits(test, false);
	zap_waits(test, true);
}

static struct kunit_case mm_cases[] = {
	KUNIT_CASE(mm_states),
	KUNIT_CASE(mm_never_alive),
	KUNIT_CASE(mm_none),
	KUNIT_CASE(mm_abandoned),
	KUNIT_CASE(mm_threads),
	KUNIT_CASE(mm_late_retainer),
	KUNIT_CASE(zaps_before_watch),
	KUNIT_CASE(zaps_refused),
	KUNIT_CASE(zaps_wait),
	{}
};

static struct kunit_suite mm_suite = {
	.name = "uvm_mm",
	.init = mm_test_init,
	.exit = mm_test_exit,
	.test_cases = mm_cases,
};

kunit_test_suite(mm_suite);
