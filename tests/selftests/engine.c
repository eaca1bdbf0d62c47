// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that no byte is lost when copy engines fail: a batch that fails leaves its
 * pages where they were, one that hangs is ended by a reset, and a CPU that needs a
 * page which the device can't give back gets SIGBUS, and the page later. The software
 * GPU's knobs make its engines fail (/sys/kernel/debug/uvm_sim). And that its compute
 * engine tells of many pages at once when it misses one, and that a GPU which can do
 * no more than it must is one all the same. And, since an engine that hangs holds up
 * whoever waits for a move: that the commands which forbid moves wait killably.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib_lifetime.h"
#include "lib_policy.h"
#include "lib_sim.h"
#include "lib_uvm.h"

/* More often than anything is tried. */
#define ALWAYS	1000000

static const struct variant private_huge[] = {
	{ "private", UVM_MEMORY_PRIVATE, false },
	{ "private_thp", UVM_MEMORY_PRIVATE, true },
	{ NULL, 0, 0 },
};

static void to(struct fix *f, uint32_t kind, const void *p, size_t length,
	       struct uvm_migrate *m)
{
	ASSERT_RET(migrate(f->s.fd, p, length, kind, 0,
			   kind == UVM_DEST_GPU ? f->gpu.uuid : NULL, m), 0);
	expect_accounts(m);
	EXPECT_EQ(m->out_done, length);
}

TEST_V(fails_to_gpu, devices_huge)
{
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 1);
	sim_knob(&f.gpu, "fail_copy", ALWAYS);
	to(&f, UVM_DEST_GPU, p, f.length, &m);
	EXPECT_EQ(m.out_moved, 0);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_BUSY], f.length / PAGE);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), f.length / PAGE);
	EXPECT_PATTERN(p, f.length, 1);
	sim_knob(&f.gpu, "fail_copy", 0);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	EXPECT_PATTERN(p, f.length, 1);
	fix_close(&f);
}

/* A passing failure is made good. */
TEST_V(fails_once, devices_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 2);
	sim_knob(&f.gpu, "fail_copy", 1);
	fix_to_gpu(&f, p, f.length);
	EXPECT_GT(sim_stat(&f.gpu, "batch_errors"), 0);
	sim_knob(&f.gpu, "fail_copy", 1);
	fix_to_cpu(&f, p, f.length);
	sim_knob(&f.gpu, "fail_copy", 0);
	EXPECT_PATTERN(p, f.length, 2);
	fix_close(&f);
}

TEST_V(fails_to_cpu, devices_huge)
{
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 3);
	fix_to_gpu(&f, p, f.length);
	sim_knob(&f.gpu, "fail_copy", ALWAYS);
	to(&f, UVM_DEST_CPU, p, f.length, &m);
	EXPECT_EQ(m.out_moved, 0);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_BUSY], f.length / PAGE);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	sim_knob(&f.gpu, "fail_copy", 0);
	EXPECT_PATTERN(p, f.length, 3);
	fix_to_cpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 3);
	fix_close(&f);
}

/* The CPU touches: a passing failure goes unnoticed. */
TEST_V(touch_fails_once, private_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 4);
	fix_to_gpu(&f, p, f.length);
	sim_knob(&f.gpu, "fail_copy", 1);
	EXPECT_PATTERN(p, f.length, 4);
	sim_knob(&f.gpu, "fail_copy", 0);
	fix_close(&f);
}

/* A lasting one is SIGBUS, to the one who touches; nothing is lost. */
TEST_V(touch_fails, private_huge)
{
	struct fix f;
	int status;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 5);
	fix_to_gpu(&f, p, f.length);
	sim_knob(&f.gpu, "fail_copy", ALWAYS);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		*(volatile char *)p;
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(WTERMSIG(status), SIGBUS);
	sim_knob(&f.gpu, "fail_copy", 0);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	EXPECT_PATTERN(p, f.length, 5);
	fix_close(&f);
}

/* A hung engine is reset; what it was to copy is copied in another attempt. */
TEST_V(hangs, devices_huge)
{
	struct fix f;
	long resets;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 6);
	resets = sim_stat(&f.gpu, "resets");
	sim_knob(&f.gpu, "hang_copy", 1);
	fix_to_gpu(&f, p, f.length);
	EXPECT_GE(sim_stat(&f.gpu, "resets"), resets + 1);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	fix_to_gpu(&f, p, f.length);
	sim_knob(&f.gpu, "hang_copy", 1);
	fix_to_cpu(&f, p, f.length);
	EXPECT_GE(sim_stat(&f.gpu, "resets"), resets + 2);
	EXPECT_PATTERN(p, f.length, 6);
	fix_close(&f);
}

TEST_V(touch_hangs, private_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 7);
	fix_to_gpu(&f, p, f.length);
	sim_knob(&f.gpu, "hang_copy", 1);
	EXPECT_PATTERN(p, f.length, 7);
	fix_close(&f);
}

/* A channel learns of a reset of its GPU in its own time: 5 s at most. */
static uint32_t state_after_reset(struct fix *f)
{
	struct timespec tick = { .tv_nsec = 10000000 };
	struct uvm_channel_query q;
	int i;

	for (i = 0; i < 500; i++) {
		ASSERT_RET(channel_query(f->s.fd, f->channel, &q), 0);
		if (q.out_state != UVM_CHANNEL_RUNNING)
			break;
		nanosleep(&tick, NULL);
	}
	return q.out_state;
}

static void gpu_touch(struct fix *f, const void *p)
{
	struct uvm_sim_cmd c = CMD(TOUCH, .dst = ADDR(p), .length = 1, .arg0 = 1);

	ASSERT_RET(fix_run(f, &c, 1), 0);
}

/* The GPU touches: what it can't have in its memory it uses where it is. */
TEST_V(gpu_touch_fails, devices_huge)
{
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 9);
	sim_knob(&f.gpu, "fail_copy", ALWAYS);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	fix_fill(&f, p, f.length / 2, 0x39);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), f.length / PAGE);
	sim_knob(&f.gpu, "fail_copy", 0);
	EXPECT_BYTES(p, f.length / 2, 0x39);
	EXPECT_EQ(pattern_check_from(p + f.length / 2, f.length / 2, 9,
				     f.length / 2 / PAGE), -1);
	/* and the next it has in its memory */
	q = fix_pattern(&f, f.length, 10);
	gpu_touch(&f, q);
	EXPECT_EQ(fix_on_gpu(&f, q, PAGE), 1);
	EXPECT_PATTERN(q, f.length, 10);
	fix_close(&f);
}

/* While an engine hangs the channel waits; it goes on after the reset. */
TEST_V(gpu_touch_hangs, devices_huge)
{
	struct fix f;
	long resets;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 11);
	resets = sim_stat(&f.gpu, "resets");
	sim_knob(&f.gpu, "hang_copy", 1);
	gpu_touch(&f, p);
	EXPECT_GE(sim_stat(&f.gpu, "resets"), resets + 1);
	EXPECT_EQ(fix_on_gpu(&f, p, PAGE), 1);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	EXPECT_PATTERN(p, f.length, 11);
	fix_close(&f);
}

/* If an engine's reset fails, the GPU's ends the batch, and the channels with it. */
TEST_V(engine_reset_fails, devices_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 8);
	sim_knob(&f.gpu, "reset_fails", 1);
	sim_knob(&f.gpu, "hang_copy", 1);
	fix_to_gpu(&f, p, f.length);
	sim_knob(&f.gpu, "reset_fails", 0);
	EXPECT_EQ(state_after_reset(&f), UVM_CHANNEL_FAILED);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	EXPECT_PATTERN(p, f.length, 8);
	fix_close(&f);
}

struct mover {
	struct fix *f;
	const char *p;
	struct uvm_migrate m;
	atomic_bool done;
	int ret;
};

static void *mover_main(void *arg)
{
	struct mover *mv = arg;

	mv->ret = migrate(mv->f->s.fd, mv->p, mv->f->length, UVM_DEST_GPU, 0,
			  mv->f->gpu.uuid, &mv->m);
	atomic_store(&mv->done, true);
	return NULL;
}

static void *home_main(void *arg)
{
	struct mover *mv = arg;

	mv->ret = migrate(mv->f->s.fd, mv->p, mv->f->length, UVM_DEST_CPU, 0, NULL,
			  &mv->m);
	return NULL;
}

/* Another thread drops pages that are on their way home. */
TEST_V(dropped_on_its_way, private_huge)
{
	pthread_t thread;
	struct mover mv;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 14);
	fix_to_gpu(&f, p, f.length);
	mv = (struct mover){ .f = &f, .p = p };
	sim_knob(&f.gpu, "hang_copy", 1);
	ASSERT_EQ(pthread_create(&thread, NULL, home_main, &mv), 0);
	ASSERT_TRUE(WAIT_FOR(sim_knob_left(&f.gpu, "hang_copy") == 0));
	EXPECT_RET(madvise(p, f.length, MADV_DONTNEED), 0);
	pthread_join(thread, NULL);
	EXPECT_RET(mv.ret, 0);
	EXPECT_BYTES(p, f.length, 0);
	fix_close(&f);
}

struct dropper {
	char *p;
	size_t length;
	uint64_t seed;
};

static void *dropper_main(void *arg)
{
	struct dropper *d = arg;

	return (void *)(long)madvise(d->p, d->length, MADV_DONTNEED);
}

/* Has pages come home that somebody drops. */
static void *toucher_main(void *arg)
{
	struct dropper *d = arg;

	return (void *)pattern_or_zero_check(d->p, d->length, d->seed);
}

/* Pages come home to a CPU that touches them, and are dropped, while @f's space ... */
static void dropped_while(struct fix *f, struct dropper *d, void (*something)(struct fix *f))
{
	pthread_t toucher, dropper;
	void *bad, *ret;

	sim_knob(&f->gpu, "hang_copy", 1);
	ASSERT_EQ(pthread_create(&toucher, NULL, toucher_main, d), 0);
	ASSERT_TRUE(WAIT_FOR(sim_knob_left(&f->gpu, "hang_copy") == 0));
	ASSERT_EQ(pthread_create(&dropper, NULL, dropper_main, d), 0);
	something(f);
	pthread_join(dropper, &ret);
	EXPECT_EQ((long)ret, 0);
	pthread_join(toucher, &bad);
	EXPECT_EQ((long)bad, -1);
	EXPECT_BYTES(d->p, d->length, 0);
}

static void space_joins(struct fix *f)
{
	struct space other;

	ASSERT_RET(space_open(&other), 0);
	space_close(&other);
}

/* ... goes; with a second one that comes and goes; comes. */
TEST_V(space_goes_on_its_way, private_huge)
{
	static void (* const something[])(struct fix *f) = {
		fix_close, fix_reopen, space_joins, fix_close,
	};
	struct dropper d;
	struct fix f;
	size_t i;

	fix_open(&f, v);
	for (i = 0; i < sizeof(something) / sizeof(something[0]); i++) {
		d = (struct dropper){ .length = f.length, .seed = 15 + i };
		/* Without a space it has what it had before. */
		if (something[i] == fix_reopen)
			fix_reopen(&f);
		d.p = fix_pattern(&f, d.length, d.seed);
		fix_to_gpu(&f, d.p, d.length);
		if (something[i] == fix_reopen)
			fix_close(&f);
		dropped_while(&f, &d, something[i]);
		retire(d.p, d.length);
	}
}

/* A process is killed, and its memory reaped, while pages of it are on their way home. */
TEST_V(reaped_on_its_way, private_huge)
{
	bool whole = v->huge && feature_mask() & UVM_FEATURE_HUGE_PAGES;
	volatile char *hangs = shared_page();
	struct timespec from, to;
	struct uvm_migrate m;
	uint64_t was;
	struct fix f;
	pid_t pid;
	int ret;
	char *p;

	fix_open(&f, v);
	was = gpu_free(&f.gpu);
	pid = child();
	if (!pid) {
		fix_reopen(&f);
		p = fix_pattern(&f, f.length, 20);
		fix_to_gpu(&f, p, f.length);
		sim_knob(&f.gpu, "hang_copy", 1);
		*hangs = 1;
		migrate(f.s.fd, p, f.length, UVM_DEST_CPU, 0, NULL, &m);
		_exit(2);
	}
	ASSERT_TRUE(WAIT_FOR(*hangs && sim_knob_left(&f.gpu, "hang_copy") == 0));
	clock_gettime(CLOCK_MONOTONIC, &from);
	kill(pid, SIGKILL);
	ret = reap(pid);
	clock_gettime(CLOCK_MONOTONIC, &to);
	/* A huge page that is on its way is left out. */
	if (whole && (to.tv_sec - from.tv_sec) * 1000 +
		     (to.tv_nsec - from.tv_nsec) / 1000000 < sim_parameter("copy_timeout") / 2)
		EXPECT_EQ(ret, -EAGAIN);
	while (ret == -EAGAIN)
		ret = reap(pid);
	EXPECT_TRUE(!ret || ret == -ESRCH);
	EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, was));
	p = fix_pattern(&f, f.length, 21);
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 21);
	fix_close(&f);
}

struct forbidder {
	int fd;
	const char *p;
	size_t length;
	uint32_t group;
	bool by_range;		/* puts a range into a group that forbids, or forbids it */
};

/* A process that shares the memory of the test, but can be killed alone */
static int forbidder_main(void *arg)
{
	struct forbidder *fb = arg;

	if (fb->by_range)
		return policy_group(fb->fd, fb->p, fb->length, fb->group) != 0;
	return group_allow(fb->fd, fb->group, 0) != 0;
}

static bool process_sleeps(pid_t pid)
{
	char path[40], text[400];
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	p = read_text(path, text, sizeof(text)) ? strrchr(text, ')') : NULL;
	return p && (p[2] == 'S' || p[2] == 'D');
}

static const struct variant ways_to_forbid[] = {
	{ "allow", 0, false }, { "range", 1, false }, { NULL, 0, false },
};

static bool forbidden(struct fix *f, const char *p)
{
	struct policy policy;

	return !policy_query(f->s.fd, p, &policy) &&
	       !(policy.q.out_policy & UVM_POLICY_ALLOW_MIGRATION);
}

/*
 * While somebody waits to write to the address space, a page fault waits behind him in
 * old kernels: so there must be none, in our own program either.
 */
static void touch_program(void)
{
	const char *p;

	for (p = program_start; p < program_end; p += PAGE)
		(void)*(volatile const char *)p;
	process_sleeps(getpid());
}

/*
 * A move under way is waited for, with the new rule in force already. Who waits can be
 * killed before it is over.
 */
TEST_V(forbid_killed, ways_to_forbid)
{
	char *stack = anon(16 * PAGE, PROT_READ | PROT_WRITE, 0);
	struct forbidder fb = { .by_range = v->kind };
	pthread_t thread;
	struct mover mv;
	struct fix f;
	pid_t pid;
	char *q;

	fix_open(&f, &(struct variant){ "any", 0, false });
	mv = (struct mover){ .f = &f, .p = fix_pattern(&f, f.length, 12) };
	q = fix_pattern(&f, PAGE, 13);
	fb.fd = f.s.fd;
	fb.p = q;
	fb.length = PAGE;
	ASSERT_RET(group_create(f.s.fd, &fb.group), 0);
	if (fb.by_range)
		ASSERT_RET(group_allow(f.s.fd, fb.group, 0), 0);
	else
		ASSERT_RET(policy_group(f.s.fd, q, PAGE, fb.group), 0);
	touch_program();
	EXPECT_TRUE(!forbidden(&f, q));
	/* it is tried three times, and each hangs until the engine is reset */
	sim_knob(&f.gpu, "hang_copy", 3);
	ASSERT_EQ(pthread_create(&thread, NULL, mover_main, &mv), 0);
	ASSERT_TRUE(WAIT_FOR(sim_knob_left(&f.gpu, "hang_copy") < 3));
	pid = clone(forbidder_main, stack + 16 * PAGE, CLONE_VM | SIGCHLD, &fb);
	ASSERT_GT(pid, 0);
	EXPECT_TRUE(WAIT_FOR(forbidden(&f, q)));
	EXPECT_TRUE(WAIT_FOR(process_sleeps(pid)));
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
	EXPECT_TRUE(!atomic_load(&mv.done));
	EXPECT_TRUE(forbidden(&f, q));
	pthread_join(thread, NULL);
	sim_knob(&f.gpu, "hang_copy", 0);
	EXPECT_RET(mv.ret, 0);
	expect_accounts(&mv.m);
	EXPECT_PATTERN(mv.p, f.length, 12);
	EXPECT_PATTERN(q, PAGE, 13);
	fix_close(&f);
}

/* Pages that nobody has touched yet: without lanes, the GPU stalls at each. */
TEST_V(lanes, devices)
{
	const size_t pages = 256;
	long stalls, ahead;
	struct uvm_sim_cmd fill;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = anon(pages * PAGE, PROT_READ | PROT_WRITE, 0);
	ASSERT_RET(madvise(p, pages * PAGE, MADV_NOHUGEPAGE), 0);
	/* or some would come along */
	stay(f.s.fd, p, pages * PAGE);
	stalls = sim_stat(&f.gpu, "faults");
	ahead = sim_stat(&f.gpu, "faults_ahead");
	fill = CMD(FILL, .dst = ADDR(p), .length = pages * PAGE, .arg0 = 0x5a);
	EXPECT_RET(fix_run(&f, &fill, 1), 0);
	EXPECT_BYTES(p, pages * PAGE, 0x5a);
	stalls = sim_stat(&f.gpu, "faults") - stalls;
	ahead = sim_stat(&f.gpu, "faults_ahead") - ahead;
	if (sim_parameter("lanes") == 1) {
		EXPECT_GE(stalls, pages);
		EXPECT_EQ(ahead, 0);
	} else {
		EXPECT_LE(stalls, pages / 4);
		EXPECT_GE(ahead, pages / 2);
	}
	fix_close(&f);
}

TEST_V(no_access_counters, devices)
{
	struct fix f;
	char *p;

	if (sim_parameter("granule"))
		SKIP("the GPU has access counters");
	fix_open(&f, v);
	EXPECT_RET(access_counters(f.s.fd, f.gpu.uuid, 1), -EOPNOTSUPP);
	EXPECT_RET(access_counters(f.s.fd, f.gpu.uuid, 0), -EOPNOTSUPP);
	p = fix_pattern(&f, f.length, 14);
	stay(f.s.fd, p, f.length);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	EXPECT_EQ(sim_stat(&f.gpu, "counter_notifications"), 0);
	fix_close(&f);
}

/*
 * Where a GPU can't do atomics it doesn't wait for ever: pages move for them, whatever
 * the policy, and where they can't move it is told.
 */
TEST_V(no_system_atomics, devices)
{
	struct uvm_sim_cmd add;
	struct fix f;
	uint64_t *p;

	if (sim_switch("system_atomics"))
		SKIP("the GPU can do atomics on system memory");
	fix_open(&f, v);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	add = CMD(ATOMIC_ADD, .dst = ADDR(p + 1), .arg0 = 1, .arg1 = 3);
	fix_expect_fault(&f, add, p + 1, UVM_FAULT_NO_ATOMIC, UVM_ACCESS_ATOMIC);
	EXPECT_EQ(p[1], 0);

	p = fix_buffer(&f, f.length);
	memset(p, 0, f.length);
	stay(f.s.fd, p, f.length);
	add.dst = ADDR(p + 1);
	EXPECT_RET(fix_run(&f, &add, 1), 0);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), 1);
	EXPECT_EQ(p[1], 3);
	fix_close(&f);
}

HARNESS_MAIN()
