// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that no allocation has to succeed: each one that a command makes on its way is
 * failed once, the first, the second, and so on until the command makes no more; and so
 * are those of a CPU's fault. The command then says ENOMEM, or does what it can without;
 * no byte is lost, no page leaks, and a command that failed changed nothing.
 *
 * What fails is of this thread alone (/proc/thread-self/fail-nth), so work that the driver
 * leaves to others isn't reached; but faults of GPUs, which nobody but such workers serve,
 * have an allocation failed here and there, of whomever.
 *
 * Only kernels with failslab and fail_page_alloc can do that: the debug kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "lib_lifetime.h"
#include "lib_memory.h"
#include "lib_policy.h"
#include "lib_pressure.h"
#include "lib_uvm.h"

#define SLAB		"/sys/kernel/debug/failslab/"
#define PAGES		"/sys/kernel/debug/fail_page_alloc/"

#define SMALL		(16 * PAGE)
#define SEED		1
#define OTHER_SEED	2

/* ---- failing allocations ---- */

static int nth = -1;

/* All of them may fail, those that may wait for memory included. */
static void failures_need(void)
{
	nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth < 0)
		SKIP("the kernel injects no faults");
	if (!write_text(SLAB "ignore-gfp-wait", "N") || !write_text(SLAB "verbose", "0"))
		SKIP("the kernel has no failslab");
	if (!write_text(PAGES "ignore-gfp-wait", "N") ||
	    !write_text(PAGES "ignore-gfp-highmem", "N") ||
	    !write_text(PAGES "min-order", "0") || !write_text(PAGES "verbose", "0"))
		SKIP("the kernel has no fail_page_alloc");
}

/* The @n-th one from now on fails, of this thread; none with 0. */
static void fail_nth(unsigned int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", n);

	ASSERT_EQ(pwrite(nth, text, length, 0), length);
}

/* Did it? Otherwise there were not so many. None fails afterwards. */
static bool has_failed(void)
{
	char text[16] = "";

	ASSERT_GT(pread(nth, text, sizeof(text) - 1, 0), 0);
	fail_nth(0);
	return !atoi(text);
}

/* ---- what it is done to ---- */

struct subject {
	struct fix f;
	size_t length;
	char *p;		/* pattern SEED */
	char *q;		/* pattern OTHER_SEED */
	bool zero;		/* @p is a hole */
	bool copied;		/* of @p, which is read mostly, others may have copies */
	unsigned long left;	/* pages that didn't move */
	int event;
	/* answers: pages of the process must not be missing when the kernel writes them */
	struct uvm_migrate m;
	struct uvm_page_state st[SMALL / PAGE];
	struct uvm_processor processors[8];
	struct policy policy;
	struct range_answer range;
	struct memory before;
};

/* The process's pages are all in the two buffers. Copies are found where the CPU is. */
static unsigned long on_gpu(struct subject *s)
{
	unsigned long n = fix_on_gpu(&s->f, s->p, s->length);

	return s->q ? n + fix_on_gpu(&s->f, s->q, s->length) : n;
}

static bool all_accounted(struct subject *s)
{
	struct memory m;

	memory_of(&s->f, &m);
	if (m.used != m.mine || m.used + m.free != m.total)
		return false;
	return s->copied ? m.mine <= (long)(s->length / PAGE) :
			   m.mine == (long)on_gpu(s);
}

static void expect_good(struct subject *s)
{
	/* what is freed is free a moment later */
	EXPECT_TRUE(WAIT_FOR(all_accounted(s)));
	if (s->zero)
		EXPECT_BYTES(s->p, s->length, 0);
	else
		EXPECT_PATTERN(s->p, s->length, SEED);
	if (s->q)
		EXPECT_PATTERN(s->q, s->length, OTHER_SEED);
}

/**
 * struct operation - what allocates
 * @name: for notes
 * @before: it is made ready, with fresh buffers; or NULL
 * @run: 0 or -errno
 * @after: what @run left, after it returned @ret; undone. Or NULL
 * @only: enum uvm_memory_kind, or 0 for any
 */
struct operation {
	const char *name;
	void (*before)(struct subject *s);
	int (*run)(struct subject *s);
	void (*after)(struct subject *s, int ret);
	int only;
};

static void buffers_make(struct subject *s)
{
	s->p = aligned_pattern(&s->f, s->length, SEED);
	s->q = NULL;
	s->zero = false;
	s->copied = false;
}

static void buffers_free(struct subject *s)
{
	munmap(s->p, s->length);
	if (s->q)
		munmap(s->q, s->length);
}

/* A command makes some tens of them; far from this many. */
#define MAX_FAILURES	2000

static void fail_each(struct subject *s, const struct operation *op)
{
	unsigned int n, denied = 0;
	bool hit = true;
	int ret;

	s->left = 0;
	if (op->only && op->only != (int)s->f.gpu.memory_kind)
		return;
	for (n = 1; hit && n < MAX_FAILURES; n++) {
		buffers_make(s);
		if (op->before)
			op->before(s);
		memory_of(&s->f, &s->before);
		fail_nth(n);
		ret = op->run(s);
		hit = has_failed();
		harness_check(!ret || (hit && ret == -ENOMEM), false, __FILE__, __LINE__,
			      "%s, failure %u: %d", op->name, n, ret);
		denied += !!ret;
		expect_good(s);
		if (op->after)
			op->after(s, ret);
		buffers_free(s);
	}
	EXPECT_TRUE(!hit);
	harness_note("%s: %u allocations, %u times ENOMEM, %lu pages didn't move", op->name,
		     n - 2, denied, s->left);
}

static void subject_open(struct subject *s, const struct variant *v)
{
	failures_need();
	pressure_need(v);
	*s = (struct subject){ .event = -1 };
	fix_open(&s->f, v);
	s->length = v->huge ? HUGE : SMALL;
}

static void fail_all(const struct variant *v, const struct operation *ops, size_t nr)
{
	struct subject s;
	size_t i;

	subject_open(&s, v);
	for (i = 0; i < nr; i++)
		fail_each(&s, &ops[i]);
	fix_close(&s.f);
}

#define FAIL_ALL(v, ops)	fail_all(v, ops, sizeof(ops) / sizeof((ops)[0]))

/* ---- pages that move ---- */

static void there_before(struct subject *s)
{
	fix_to_gpu(&s->f, s->p, s->length);
}

static void hole_before(struct subject *s)
{
	munmap(s->p, s->length);
	s->p = aligned_buffer(&s->f, s->length);
	s->zero = true;
}

/* There is room for one of the buffers. */
static void full_before(struct subject *s)
{
	s->q = aligned_pattern(&s->f, s->length, OTHER_SEED);
	ASSERT_RET(limit_pages(&s->f, s->length / PAGE, 0), 0);
	fix_to_gpu(&s->f, s->q, s->length);
}

static int run_to_gpu(struct subject *s)
{
	return to_gpu(&s->f, s->p, s->length, &s->m);
}

static int run_home(struct subject *s)
{
	return migrate(s->f.s.fd, s->p, s->length, UVM_DEST_CPU, 0, NULL, &s->m);
}

static void moved_after(struct subject *s, int ret)
{
	expect_accounts(&s->m);
	s->left += skipped(&s->m);
	if (!ret)
		EXPECT_EQ(s->m.out_done, s->length);
	/* and now nothing is in its way */
	if (!s->zero)
		fix_to_gpu(&s->f, s->p, s->length);
	fix_to_cpu(&s->f, s->p, s->length);
}

static void full_after(struct subject *s, int ret)
{
	struct memory m;

	memory_of(&s->f, &m);
	EXPECT_LE(m.mine, (long)(s->length / PAGE));
	moved_after(s, ret);
	ASSERT_RET(limit_pages(&s->f, 0, 0), 0);
}

/* Each page: in private memory each is a fault, or comes along. It is taken again. */
static int run_touch(struct subject *s)
{
	size_t i;

	for (i = 0; i < s->length; i += PAGE)
		*(volatile char *)(s->p + i);
	return 0;
}

static void touched_after(struct subject *s, int ret __attribute__((unused)))
{
	EXPECT_EQ(fix_on_gpu(&s->f, s->p, s->length), 0);
}

static const struct operation moves[] = {
	{ "to the GPU", NULL, run_to_gpu, moved_after, 0 },
	{ "holes to the GPU", hole_before, run_to_gpu, moved_after, 0 },
	{ "to the GPU, which is full", full_before, run_to_gpu, full_after, 0 },
	{ "home", there_before, run_home, moved_after, 0 },
	{ "CPU faults", there_before, run_touch, touched_after, UVM_MEMORY_PRIVATE },
};

TEST_VT(moves, devices_huge_managed, 60)
{
	FAIL_ALL(v, moves);
}

/* ---- copies of what is read mostly, and mappings that are split ---- */

static void mostly_before(struct subject *s)
{
	ASSERT_RET(policy_switch(s->f.s.fd, UVM_SET_READ_MOSTLY, s->p, s->length, 1), 0);
	s->copied = true;
}

/* The CPU has all of it, and the GPU, too. */
static void copied_before(struct subject *s)
{
	mostly_before(s);
	ASSERT_RET(run_to_gpu(s), 0);
	ASSERT_EQ(s->m.out_moved, s->length / PAGE);
}

static long mine(struct subject *s)
{
	struct memory m;

	memory_of(&s->f, &m);
	return m.mine;
}

static void copied_after(struct subject *s, int ret)
{
	expect_accounts(&s->m);
	s->left += skipped(&s->m);
	if (!ret)
		EXPECT_EQ(s->m.out_done, s->length);
	/* and now nothing is in its way */
	ASSERT_RET(run_to_gpu(s), 0);
	EXPECT_EQ(mine(s), (long)(s->length / PAGE));
	EXPECT_PATTERN(s->p, s->length, SEED);
}

static int run_store(struct subject *s)
{
	volatile char *p;

	for (p = s->p; p < s->p + s->length; p += PAGE)
		*p = *p;
	return 0;
}

static void stored_after(struct subject *s, int ret __attribute__((unused)))
{
	EXPECT_TRUE(WAIT_FOR(!mine(s)));
}

static int run_mostly_off(struct subject *s)
{
	return policy_switch(s->f.s.fd, UVM_SET_READ_MOSTLY, s->p, s->length, 0);
}

static void off_after(struct subject *s, int ret)
{
	EXPECT_TRUE(WAIT_FOR(mine(s) == (ret ? (long)(s->length / PAGE) : 0)));
}

/* In the middle: one mapping becomes three. */
static int run_protect(struct subject *s)
{
	return mprotect(s->p + s->length / 2, PAGE, PROT_READ) ? -errno : 0;
}

static void protected_after(struct subject *s, int ret)
{
	size_t at;

	/* if it has failed, with three of them, too */
	if (ret)
		EXPECT_RET(run_protect(s), 0);
	for (at = 0; at < s->length; at += s->length / 4) {
		ASSERT_RET(range_query(s->f.s.fd, s->p + at, &s->range), 0);
		EXPECT_EQ(s->range.q.out_kind, UVM_RANGE_MANAGED);
		EXPECT_TRUE(s->range.q.out_policy & UVM_POLICY_READ_MOSTLY);
	}
	EXPECT_EQ(mine(s), (long)(s->length / PAGE));
	ASSERT_RET(mprotect(s->p, s->length, PROT_READ | PROT_WRITE), 0);
	run_store(s);
	stored_after(s, 0);
	EXPECT_PATTERN(s->p, s->length, SEED);
}

static int run_query_range(struct subject *s)
{
	return range_query(s->f.s.fd, s->p, &s->range);
}

static void range_after(struct subject *s, int ret)
{
	if (!ret)
		EXPECT_EQ(range_pages(&s->range, s->f.gpu.id), s->length / PAGE);
}

static const struct operation copying[] = {
	{ "copies for the GPU", mostly_before, run_to_gpu, copied_after, 0 },
	{ "stores to what has copies", copied_before, run_store, stored_after, 0 },
	{ "UVM_SET_READ_MOSTLY, off", copied_before, run_mostly_off, off_after, 0 },
	{ "mprotect() in the middle", copied_before, run_protect, protected_after, 0 },
	{ "UVM_QUERY_RANGE", copied_before, run_query_range, range_after, 0 },
};

TEST_VT(copying, managed_devices, 60)
{
	FAIL_ALL(v, copying);
}

/* ---- limits, events, questions ---- */

static int run_limit(struct subject *s)
{
	return limit_pages(&s->f, s->length / PAGE / 2, 0);
}

static void limit_after(struct subject *s, int ret)
{
	struct memory m;

	memory_of(&s->f, &m);
	EXPECT_EQ(m.limit, ret ? s->before.limit : (long)(s->length / PAGE / 2));
	ASSERT_RET(limit_pages(&s->f, 0, 0), 0);
}

static void event_before(struct subject *s)
{
	s->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_GE(s->event, 0);
}

static int run_event(struct subject *s)
{
	return memory_event(s->f.s.fd, s->f.gpu.uuid, s->event, s->f.gpu.memory_size);
}

/* Less than all of it is free, so it is signalled when it is set. */
static void event_after(struct subject *s, int ret)
{
	uint64_t count = 0;

	fix_to_gpu(&s->f, s->p, s->length);
	if (ret)
		EXPECT_EQ(read(s->event, &count, sizeof(count)), -1);
	else
		EXPECT_TRUE(WAIT_FOR(read(s->event, &count, sizeof(count)) ==
				     sizeof(count)));
	ASSERT_RET(memory_event(s->f.s.fd, s->f.gpu.uuid, -1, 0), 0);
	close(s->event);
}

static int run_query_memory(struct subject *s)
{
	struct uvm_query_memory q;

	return memory_query(s->f.s.fd, s->f.gpu.uuid, &q);
}

static int run_query_residency(struct subject *s)
{
	return residency(s->f.s.fd, s->p, SMALL, s->st);
}

static int run_query_processors(struct subject *s)
{
	int ret = processors(s->f.s.fd, s->processors, 8);

	return ret < 0 ? ret : 0;
}

static int run_query_policy(struct subject *s)
{
	return policy_query(s->f.s.fd, s->p, &s->policy);
}

static const struct operation questions[] = {
	{ "UVM_SET_MEMORY_LIMIT", there_before, run_limit, limit_after, 0 },
	{ "UVM_SET_MEMORY_EVENT", event_before, run_event, event_after, 0 },
	{ "UVM_QUERY_MEMORY", there_before, run_query_memory, NULL, 0 },
	{ "UVM_QUERY_RESIDENCY", there_before, run_query_residency, NULL, 0 },
	{ "UVM_QUERY_PROCESSORS", there_before, run_query_processors, NULL, 0 },
	{ "UVM_QUERY_POLICY", there_before, run_query_policy, NULL, 0 },
};

TEST_VT(questions, devices_managed, 60)
{
	FAIL_ALL(v, questions);
}

/* ---- GPUs that come and go ---- */

static int run_register(struct subject *s)
{
	return register_gpu(s->f.s.fd, s->f.gpu.uuid);
}

static int run_unregister(struct subject *s)
{
	return unregister_gpu(s->f.s.fd, s->f.gpu.uuid);
}

static void open_bare(struct subject *s)
{
	ASSERT_RET(space_open(&s->f.s), 0);
	s->p = aligned_pattern(&s->f, s->length, SEED);
}

/* The VA space is as it was, or has the GPU, and works. */
static void expect_usable(struct subject *s, bool registered)
{
	if (!registered)
		ASSERT_RET(run_register(s), 0);
	fix_to_gpu(&s->f, s->p, s->length);
	EXPECT_PATTERN(s->p, s->length, SEED);
	fix_to_cpu(&s->f, s->p, s->length);
}

static bool fail_register(struct subject *s, unsigned int n, bool first,
			  unsigned int *denied)
{
	bool hit;
	int ret;

	if (!first)
		ASSERT_RET(run_unregister(s), 0);
	fail_nth(n);
	ret = run_register(s);
	hit = has_failed();
	harness_check(!ret || (hit && ret == -ENOMEM), false, __FILE__, __LINE__,
		      "UVM_REGISTER_GPU, failure %u: %d", n, ret);
	*denied += !!ret;
	expect_usable(s, !ret);
	return hit;
}

static bool fail_unregister(struct subject *s, unsigned int n)
{
	bool hit;
	int ret;

	fix_to_gpu(&s->f, s->p, s->length);
	fail_nth(n);
	ret = run_unregister(s);
	hit = has_failed();
	harness_check(!ret || (hit && ret == -ENOMEM), false, __FILE__, __LINE__,
		      "UVM_UNREGISTER_GPU, failure %u: %d", n, ret);
	EXPECT_PATTERN(s->p, s->length, SEED);
	expect_usable(s, ret);
	return hit;
}

TEST_VT(registration, devices, 60)
{
	struct subject s;
	unsigned int n, denied = 0;
	bool hit = true;

	failures_need();
	pressure_need(v);
	s = (struct subject){ .length = SMALL };
	gpu_need(v->kind, 0, &s.f.gpu);
	open_bare(&s);
	for (n = 1; hit && n < MAX_FAILURES; n++)
		hit = fail_register(&s, n, n == 1, &denied);
	EXPECT_TRUE(!hit);
	/* what fails does fail: this one can't do without */
	EXPECT_GT(denied, 0);
	harness_note("UVM_REGISTER_GPU: %u allocations, %u times ENOMEM", n - 2, denied);
	for (hit = true, n = 1; hit && n < MAX_FAILURES; n++)
		hit = fail_unregister(&s, n);
	EXPECT_TRUE(!hit);
	harness_note("UVM_UNREGISTER_GPU: %u allocations", n - 2);
	fix_close(&s.f);
}

/* ---- faults of GPUs ---- */

#define KEY		7
#define INTERVALS	48

static bool say(const char *directory, const char *name, unsigned int value)
{
	char path[100], text[16];

	snprintf(path, sizeof(path), "%s%s", directory, name);
	snprintf(text, sizeof(text), "%u", value);
	return write_text(path, text);
}

/* Of all that anybody makes, one of the next @interval fails, and then none. */
static void fail_one(const char *directory, unsigned int interval)
{
	ASSERT_TRUE(say(directory, "probability", 0));
	ASSERT_TRUE(say(directory, "task-filter", 0));
	ASSERT_TRUE(say(directory, "interval", interval));
	ASSERT_TRUE(say(directory, "times", 1));
	ASSERT_TRUE(say(directory, "probability", 100));
}

/*
 * Did it fail, as far as can be told? It may be this one's own that does; but no other
 * then.
 */
static bool fail_no_more(const char *directory)
{
	char path[100];
	bool hit;

	snprintf(path, sizeof(path), "%stimes", directory);
	hit = !read_number(path);
	EXPECT_TRUE(say(directory, "probability", 0) || say(directory, "probability", 0));
	EXPECT_TRUE(say(directory, "times", 0));
	return hit;
}

/* Each word is as it was, or turned once: what was served before the fault. */
static void expect_turned(const struct subject *s, bool all)
{
	uint64_t *old = aligned_alloc(PAGE, s->length), *word = (uint64_t *)s->p;
	size_t i, bad = 0;

	ASSERT_TRUE(old);
	pattern_fill(old, s->length, SEED);
	for (i = 0; i < s->length / 8; i++)
		bad += word[i] != (old[i] ^ uvm_sim_keystream(KEY, i)) &&
		       (all || word[i] != old[i]);
	EXPECT_EQ(bad, 0);
	free(old);
}

/* A channel that finds no memory is stopped for that, and for nothing else. */
static void replace_channel(struct subject *s)
{
	struct uvm_channel_query q;

	ASSERT_RET(channel_query(s->f.s.fd, s->f.channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_FAULTED);
	harness_check(q.out_reason == UVM_FAULT_NO_MEMORY || q.out_reason == UVM_FAULT_BUS,
		      false, __FILE__, __LINE__, "stopped for reason %u", q.out_reason);
	ASSERT_RET(channel_destroy(s->f.s.fd, s->f.channel), 0);
	ASSERT_RET(channel_create(s->f.s.fd, s->f.gpu.uuid, &s->f.channel), 0);
}

/* Returns true if an allocation failed; @stopped counts channels. */
static bool turn_failing(struct subject *s, const char *directory, unsigned int interval,
			 unsigned int *stopped)
{
	struct uvm_sim_cmd c = CMD(XOR, .length = s->length, .arg0 = KEY);
	bool hit;
	int ret;

	buffers_make(s);
	full_before(s);
	c.dst = ADDR(s->p);
	fail_one(directory, interval);
	ret = channel_run(s->f.s.fd, s->f.channel, &c, 1);
	hit = fail_no_more(directory);
	harness_check(!ret || ret == -ECANCELED || ret == -ENOMEM, false, __FILE__,
		      __LINE__, "interval %u: %d", interval, ret);
	EXPECT_TRUE(WAIT_FOR(all_accounted(s)));
	expect_turned(s, !ret);
	EXPECT_PATTERN(s->q, s->length, OTHER_SEED);
	if (ret == -ECANCELED)
		replace_channel(s);
	ASSERT_RET(limit_pages(&s->f, 0, 0), 0);
	buffers_free(s);
	*stopped += ret == -ECANCELED;
	return hit;
}

TEST_VT(gpu_faults, devices_managed, 60)
{
	unsigned int i, rounds = harness_rounds(40), hits = 0, stopped = 0;
	uint64_t rng = harness_seed;
	struct subject s;

	subject_open(&s, v);
	for (i = 0; i < rounds; i++)
		hits += turn_failing(&s, i & 1 ? PAGES : SLAB,
				     1 + harness_random(&rng) % INTERVALS, &stopped);
	harness_note("%u rounds, %u failures, %u channels stopped", rounds, hits, stopped);
	EXPECT_GT(hits, 0);
	fix_close(&s.f);
}

static void __attribute__((constructor)) install(void)
{
	clean_up_install();
}

HARNESS_MAIN()
