// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves what holds when a GPU works on memory that isn't its own: that access
 * counters move what it uses a lot, and nothing else; that no addition is lost where
 * CPUs and GPUs add to the same word, or to words of the same page, whatever happens to
 * the page meanwhile; that GPUs which reach each other's memory copy and use it, and
 * never use what has become of it; that pages which bounce come to rest.
 *
 * Where pages are is told by UVM_QUERY_RESIDENCY, what was done by the counters of
 * fdinfo and debugfs, and how by those of the software GPU.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "lib_device.h"
#include "lib_lifetime.h"
#include "lib_managed.h"
#include "lib_policy.h"
#include "lib_pressure.h"
#include "lib_sim.h"
#include "lib_uvm.h"

/* ---- what every test needs ---- */

/* A block of 2 MiB with nothing next to it, so that nothing else comes along. */
static char *apart(struct fix *f)
{
	return aligned_buffer(f, HUGE);
}

static long long count(struct fix *f, enum counter which)
{
	return view_counter(0, f->s.fd, &f->gpu, which);
}

static long long count2(struct fix *f, enum counter which)
{
	return view_counter(0, f->s.fd, &f->gpu2, which);
}

static uint32_t state_of(struct fix *f, uint32_t channel)
{
	struct uvm_channel_query q;

	ASSERT_RET(channel_query(f->s.fd, channel, &q), 0);
	return q.out_state;
}

static void xor_by(struct fix *f, uint32_t channel, void *p, size_t length,
		   uint64_t key)
{
	struct uvm_sim_cmd c = CMD(XOR, .dst = ADDR(p), .length = length, .arg0 = key);

	ASSERT_RET(channel_run(f->s.fd, channel, &c, 1), 0);
}

/* ---- access counters ---- */

#define GRANULES	4

/* Pages in system memory that a GPU uses where they are, as far as policies go */
struct counted {
	struct fix f;
	char *p;
	size_t length;
	unsigned long pages;
	uint64_t sum;
};

static void counted_accessed_by(struct counted *c)
{
	ASSERT_RET(policy_accessed_by(c->f.s.fd, c->p, c->length, c->f.gpu.uuid, 1), 0);
}

static void counted_open(struct counted *c, const struct variant *v)
{
	long granule = sim_parameter("granule") << 10;

	if (!granule)
		SKIP("the GPU has no access counters");
	fix_open(&c->f, v);
	/* the page that sums are stored to */
	c->f.stay = true;
	c->length = GRANULES * granule;
	c->pages = c->length / PAGE;
	c->p = apart(&c->f);
	pattern_fill(c->p, c->length, 1);
	c->sum = sum64(c->p, c->length);
	counted_accessed_by(c);
}

static void use(struct counted *c)
{
	EXPECT_EQ(fix_gpu_sum(&c->f, c->p, c->length), c->sum);
}

static unsigned long on_gpu_after_use(struct counted *c)
{
	use(c);
	return fix_on_gpu(&c->f, c->p, c->length);
}

static long notifications(struct counted *c)
{
	return sim_stat(&c->f.gpu, "counter_notifications");
}

static long notifications_after_use(struct counted *c)
{
	use(c);
	return notifications(c);
}

static void expect_moves(struct counted *c)
{
	EXPECT_TRUE(SOON(on_gpu_after_use(c) == c->pages, 10));
}

/* Pages are there a moment before they are counted. */
static void expect_hot_moved(struct counted *c, long long pages)
{
	EXPECT_TRUE(SOON(count(&c->f, HOT_MOVED) >= pages, 5));
	EXPECT_EQ(count(&c->f, HOT_MOVED), pages);
}

/* Used over and over; nobody else may move any of it meanwhile. */
static void expect_stays(struct counted *c)
{
	long long hot = count(&c->f, HOT_MOVED);
	int i;

	for (i = 0; i < 10; i++)
		EXPECT_EQ(on_gpu_after_use(c), 0);
	EXPECT_EQ(fix_on_cpu(&c->f, c->p, c->length), c->pages);
	EXPECT_EQ(count(&c->f, HOT_MOVED), hot);
}

/* The same where the GPU counts: each granule is told of, dealt with, and again. */
static void expect_stays_counted(struct counted *c)
{
	long was = notifications(c);

	EXPECT_TRUE(SOON(notifications_after_use(c) >= was + 4 * GRANULES, 10));
	expect_stays(c);
}

static void expect_no_counting(struct counted *c)
{
	long was = notifications(c);

	EXPECT_EQ(sim_stat(&c->f.gpu, "counter_threshold"), 0);
	expect_stays(c);
	EXPECT_EQ(notifications(c), was);
}

TEST_V(counters_off, devices_managed)
{
	struct counted c;

	counted_open(&c, v);
	expect_no_counting(&c);
	EXPECT_PATTERN(c.p, c.length, 1);
	fix_close(&c.f);
}

/* What is used a lot moves, and is counted; switched off, it stays again. */
TEST_V(counters_on, devices_managed)
{
	long long was[NR_COUNTERS], now[NR_COUNTERS];
	struct counted c;

	counted_open(&c, v);
	ASSERT_TRUE(gpu_counters(&c.f.gpu, was));
	EXPECT_RET(access_counters(c.f.s.fd, c.f.gpu.uuid, 1), 0);
	EXPECT_EQ(sim_stat(&c.f.gpu, "counter_threshold"),
		  core_parameter("counter_threshold"));
	expect_moves(&c);
	expect_hot_moved(&c, c.pages);
	EXPECT_EQ(count(&c.f, MOVED) + count(&c.f, PREFETCHED), 0);
	EXPECT_TRUE(SOON(gpu_counters(&c.f.gpu, now) &&
			 now[NOTIFICATIONS] - was[NOTIFICATIONS] >= GRANULES, 5));
	EXPECT_EQ(now[HOT_MOVED] - was[HOT_MOVED], c.pages);
	/* in its own memory there is nothing to count */
	use(&c);
	EXPECT_EQ(fix_on_gpu(&c.f, c.p, c.length), c.pages);
	EXPECT_PATTERN(c.p, c.length, 1);

	EXPECT_RET(access_counters(c.f.s.fd, c.f.gpu.uuid, 0), 0);
	fix_to_cpu(&c.f, c.p, c.length);
	expect_no_counting(&c);
	EXPECT_PATTERN(c.p, c.length, 1);
	fix_close(&c.f);
}

/* Only granules that are used move; also for stores. */
TEST_V(counters_some, devices_managed)
{
	struct counted c;
	size_t half;

	counted_open(&c, v);
	half = c.length / 2;
	EXPECT_RET(access_counters(c.f.s.fd, c.f.gpu.uuid, 1), 0);
	EXPECT_TRUE(SOON(({
		/* twice the same leaves it as it was */
		fix_xor(&c.f, c.p, half, 7);
		fix_xor(&c.f, c.p, half, 7);
		fix_on_gpu(&c.f, c.p, half) == half / PAGE;
	}), 10));
	EXPECT_EQ(fix_on_cpu(&c.f, c.p + half, c.length - half), c.pages / 2);
	expect_hot_moved(&c, half / PAGE);
	EXPECT_PATTERN(c.p, c.length, 1);
	fix_close(&c.f);
}

static const struct variant policies_that_keep[] = {
	{ "migration_off", 0, false }, { "range_group", 1, false },
	{ "preferred_cpu", 2, false }, { NULL, 0, false },
};

/* What a policy keeps in system memory stays there, however much it is used. */
TEST_V(counters_policy, policies_that_keep)
{
	struct counted c;
	uint32_t group;
	int fd;

	counted_open(&c, &(struct variant){ "any", 0, false });
	fd = c.f.s.fd;
	switch (v->kind) {
	case 0:
		stay(fd, c.p, c.length);
		break;
	case 1:
		ASSERT_RET(group_create(fd, &group), 0);
		ASSERT_RET(policy_group(fd, c.p, c.length, group), 0);
		ASSERT_RET(group_allow(fd, group, 0), 0);
		break;
	default:
		ASSERT_RET(policy_prefer(fd, c.p, c.length, UVM_DEST_CPU, 0, NULL), 0);
	}
	EXPECT_RET(access_counters(fd, c.f.gpu.uuid, 1), 0);
	expect_stays_counted(&c);
	EXPECT_EQ(count(&c.f, HOT_MOVED), 0);
	/* until it is allowed */
	if (v->kind == 0)
		ASSERT_RET(policy_switch(fd, UVM_SET_FAULT_MIGRATION, c.p, c.length, 1),
			   0);
	else if (v->kind == 1)
		ASSERT_RET(group_allow(fd, group, 1), 0);
	else
		ASSERT_RET(policy_prefer(fd, c.p, c.length, UVM_DEST_NONE, 0, NULL), 0);
	expect_moves(&c);
	EXPECT_PATTERN(c.p, c.length, 1);
	fix_close(&c.f);
}

TEST_V(counters_threshold, devices_managed)
{
	struct counted c;
	long was;

	counted_open(&c, v);
	was = notifications(&c);
	core_parameter_set("counter_threshold", 1 << 30);
	EXPECT_RET(access_counters(c.f.s.fd, c.f.gpu.uuid, 1), 0);
	expect_stays(&c);
	/* it counts from the next time on that counting is switched on */
	core_parameter_set("counter_threshold", 1);
	expect_stays(&c);
	EXPECT_EQ(notifications(&c), was);
	EXPECT_RET(access_counters(c.f.s.fd, c.f.gpu.uuid, 0), 0);
	EXPECT_RET(access_counters(c.f.s.fd, c.f.gpu.uuid, 1), 0);
	expect_moves(&c);
	EXPECT_PATTERN(c.p, c.length, 1);
	fix_close(&c.f);
}

/* A GPU that is unregistered counts no more, whatever it was at. */
TEST_VT(counters_unregister, devices_managed, 60)
{
	unsigned int i, k, rounds = harness_rounds(6);
	struct uvm_sim_cmd list[64];
	struct uvm_unregister_gpu u;
	struct counted c;
	uint64_t *out;
	long was;

	counted_open(&c, v);
	out = fix_buffer(&c.f, PAGE);
	for (k = 0; k < 64; k++)
		list[k] = CMD(SUM, .dst = ADDR(out), .src = ADDR(c.p),
			      .length = c.length);
	for (i = 0; i < rounds; i++) {
		EXPECT_RET(access_counters(c.f.s.fd, c.f.gpu.uuid, 1), 0);
		was = notifications(&c);
		ASSERT_RET(channel_submit(c.f.s.fd, c.f.channel, list, 64, NULL), 0);
		EXPECT_TRUE(SOON(notifications(&c) > was, 10));
		EXPECT_RET(unregister_counted(c.f.s.fd, c.f.gpu.uuid, &u), 0);
		EXPECT_LE(u.out_moved, c.pages);
		EXPECT_EQ(u.out_left, 0);
		EXPECT_EQ(sim_stat(&c.f.gpu, "counter_threshold"), 0);
		EXPECT_EQ(fix_on_cpu(&c.f, c.p, c.length), c.pages);
		ASSERT_RET(register_gpu(c.f.s.fd, c.f.gpu.uuid), 0);
		ASSERT_RET(channel_create(c.f.s.fd, c.f.gpu.uuid, &c.f.channel), 0);
		counted_accessed_by(&c);
		expect_no_counting(&c);
	}
	EXPECT_PATTERN(c.p, c.length, 1);
	fix_close(&c.f);
}

/* Two VA spaces on one GPU: who doesn't want it isn't bothered by who does. */
TEST_VT(counters_two_spaces, devices_managed, 60)
{
	struct counted c, d;
	long was;
	int i;

	counted_open(&c, v);
	d = c;
	fix_reopen(&d.f);
	d.p = apart(&d.f);
	memcpy(d.p, c.p, c.length);
	counted_accessed_by(&d);
	EXPECT_RET(access_counters(c.f.s.fd, c.f.gpu.uuid, 1), 0);
	was = notifications(&d);
	for (i = 0; i < 20; i++)
		EXPECT_EQ(on_gpu_after_use(&d), 0);
	EXPECT_GE(notifications(&d), was + GRANULES);
	expect_moves(&c);
	expect_stays(&d);
	EXPECT_EQ(count(&d.f, HOT_MOVED), 0);

	EXPECT_RET(access_counters(d.f.s.fd, d.f.gpu.uuid, 1), 0);
	expect_moves(&d);
	EXPECT_RET(access_counters(c.f.s.fd, c.f.gpu.uuid, 0), 0);
	fix_to_cpu(&c.f, c.p, c.length);
	fix_to_cpu(&d.f, d.p, d.length);
	expect_moves(&d);
	expect_stays(&c);
	/* the last one who wanted it goes */
	EXPECT_GT(sim_stat(&d.f.gpu, "counter_threshold"), 0);
	fix_close(&d.f);
	EXPECT_TRUE(SOON(sim_stat(&c.f.gpu, "counter_threshold") == 0, 5));
	expect_no_counting(&c);
	EXPECT_PATTERN(c.p, c.length, 1);
	EXPECT_PATTERN(d.p, d.length, 1);
	fix_close(&c.f);
}

struct homer {
	struct counted *c;
	atomic_uint times;
	atomic_bool stop;
	pthread_t thread;
};

/* Brings home what has moved: as soon as it sees any of it, and so amid the others. */
static void *homer_main(void *arg)
{
	struct homer *h = arg;
	struct counted *c = h->c;
	struct uvm_migrate m;

	while (!atomic_load(&h->stop)) {
		tick();
		if (!fix_on_gpu(&c->f, c->p, c->length))
			continue;
		ASSERT_RET(migrate(c->f.s.fd, c->p, c->length, UVM_DEST_CPU, 0, NULL,
				   &m), 0);
		expect_accounts(&m);
		atomic_fetch_add(&h->times, 1);
	}
	return NULL;
}

/* It moves again and again, and nothing is lost of what is done to it meanwhile. */
TEST_VT(counters_race, devices_huge_managed, 60)
{
	unsigned int i, rounds = harness_rounds(20);
	struct homer h = { 0 };
	struct counted c;

	counted_open(&c, v);
	EXPECT_RET(access_counters(c.f.s.fd, c.f.gpu.uuid, 1), 0);
	h.c = &c;
	ASSERT_EQ(pthread_create(&h.thread, NULL, homer_main, &h), 0);
	for (i = 0; i < rounds || (atomic_load(&h.times) < 3 && i < 1000); i++) {
		fix_xor(&c.f, c.p, c.length, i);
		fix_xor(&c.f, c.p, c.length, i);
	}
	EXPECT_GE(atomic_load(&h.times), 3);
	EXPECT_GT(count(&c.f, HOT_MOVED), 0);
	atomic_store(&h.stop, true);
	pthread_join(h.thread, NULL);
	EXPECT_PATTERN(c.p, c.length, 1);
	fix_close(&c.f);
}

/* ---- atomics ---- */

#define CPUS		2
#define GPUS		2
#define COMMANDS	100
#define TIMES		50

static const struct variant huge_only[] = {
	{ "private_thp", UVM_MEMORY_PRIVATE, true },
	{ "coherent_thp", UVM_MEMORY_COHERENT, true },
	{ NULL, 0, false },
};

/*
 * Somebody who adds to a word, at the same time as others. What a CPU thread does at
 * once is short, and follows the progress of a channel: so both get on, and each comes
 * in the middle of the other, again and again.
 */
struct adder {
	struct fix *f;
	uint64_t *word;
	uint32_t channel;	/* that adds, or whose progress is followed */
	uint64_t point;
	uint64_t before;
	atomic_ullong added;
	uint64_t rng;
	atomic_bool *stop;
	pthread_t thread;
};

struct counting {
	struct fix f;
	unsigned int cpus, gpus;
	unsigned int commands;	/* of each GPU */
	bool unseen;		/* the page is zero; not to be looked at before */
	void *(*cpu_main)(void *arg);
	void *page;
	struct adder cpu[CPUS], gpu[GPUS];
	atomic_bool stop;
	/* what happens to the page meanwhile */
	void (*disturb)(struct counting *c, unsigned int round);
};

static uint64_t completed(const struct adder *a)
{
	struct uvm_channel_query q;

	ASSERT_RET(channel_query(a->f->s.fd, a->channel, &q), 0);
	return q.out_completed;
}

/* Waits, for a second at most, until the channel has got past @at. */
static uint64_t follow(const struct adder *a, uint64_t at)
{
	struct timespec moment = { .tv_nsec = 50000 };
	int i;

	for (i = 0; i < 20000 && !atomic_load(a->stop) && completed(a) == at; i++)
		nanosleep(&moment, NULL);
	return completed(a);
}

static void *adder_main(void *arg)
{
	struct adder *a = arg;
	uint64_t at = 0, n;

	while (!atomic_load(a->stop)) {
		for (n = 1 + harness_random(&a->rng) % 40; n; n--, a->added++)
			__atomic_fetch_add(a->word, 1, __ATOMIC_SEQ_CST);
		at = follow(a, at);
	}
	return NULL;
}

/* One by one, so that each has a point of its own to follow. */
static void adder_submit(struct adder *a, unsigned int commands)
{
	struct uvm_sim_cmd c = CMD(ATOMIC_ADD, .dst = ADDR(a->word), .arg0 = 1,
				   .arg1 = TIMES);
	unsigned int i;

	for (i = 0; i < commands; i++)
		ASSERT_RET(channel_submit(a->f->s.fd, a->channel, &c, 1, &a->point), 0);
	a->added += commands * TIMES;
}

static int adder_wait(struct adder *a, uint64_t ns)
{
	return channel_wait(a->f->s.fd, a->channel, a->point, ns, NULL);
}

static void adder_init(struct counting *c, struct adder *a, unsigned int i, bool same)
{
	a->f = &c->f;
	/* some in a cache line together */
	a->word = (uint64_t *)c->page + (same ? 37 : 37 + 5 * i);
	a->channel = i % 2 && c->gpus > 1 ? c->f.channel2 : c->f.channel;
	a->added = 0;
	a->rng = harness_seed + i;
	a->stop = &c->stop;
	a->before = c->unseen ? 0 : *a->word;
}

static bool is_busy(struct counting *c)
{
	unsigned int i;

	for (i = 0; i < c->gpus; i++)
		if (adder_wait(&c->gpu[i], 0) == -ETIMEDOUT)
			return true;
	return false;
}

static uint64_t added_to(const struct counting *c, const uint64_t *word)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < c->cpus; i++)
		sum += c->cpu[i].word == word ? c->cpu[i].added : 0;
	for (i = 0; i < c->gpus; i++)
		sum += c->gpu[i].word == word ? c->gpu[i].added : 0;
	return sum;
}

static void expect_exact(const struct counting *c, const struct adder *a)
{
	EXPECT_EQ(__atomic_load_n(a->word, __ATOMIC_SEQ_CST) - a->before,
		  added_to(c, a->word));
}

/* A few times, then the GPU gets on: or on a slow kernel it hardly would. */
static void disturb_all(struct counting *c)
{
	unsigned int round = 0;
	uint64_t at = 0;

	while (is_busy(c)) {
		c->disturb(c, round++);
		if (round % 4 == 0)
			at = follow(&c->gpu[0], at);
	}
}

/* All of them add to the same word of the page, or each to one of its own. */
static void count_together(struct counting *c, bool same)
{
	unsigned int i;

	atomic_store(&c->stop, false);
	for (i = 0; i < c->gpus; i++)
		adder_init(c, &c->gpu[i], i, same);
	for (i = 0; i < c->cpus; i++)
		adder_init(c, &c->cpu[i], c->gpus + i, same);
	/* a GPU may be done with it in no time */
	for (i = 0; i < c->cpus; i++)
		ASSERT_EQ(pthread_create(&c->cpu[i].thread, NULL, c->cpu_main,
					 &c->cpu[i]), 0);
	for (i = 0; i < c->cpus; i++)
		ASSERT_TRUE(SOON(atomic_load(&c->cpu[i].added), 10));
	for (i = 0; i < c->gpus; i++)
		adder_submit(&c->gpu[i], c->commands);
	if (c->disturb)
		disturb_all(c);
	for (i = 0; i < c->gpus; i++)
		EXPECT_RET(adder_wait(&c->gpu[i], PATIENCE), 0);
	atomic_store(&c->stop, true);
	for (i = 0; i < c->cpus; i++)
		pthread_join(c->cpu[i].thread, NULL);
	for (i = 0; i < c->gpus; i++)
		expect_exact(c, &c->gpu[i]);
	for (i = 0; i < c->cpus; i++)
		expect_exact(c, &c->cpu[i]);
}

/*
 * Can a GPU do atomics in private anonymous memory that stays where it is? In small
 * pages, that is: kernels without UVM_FEATURE_SYSTEM_ATOMICS can't give it a part of a
 * large folio, and those without device-private memory nothing.
 */
static bool atomics_in_place(void)
{
	return feature_mask() & UVM_FEATURE_DEVICE_PRIVATE &&
	       sim_switch("system_atomics");
}

/*
 * Without that feature a part of a huge page may be refused, if somebody else has the
 * huge page just then: no test for who moves it, or shares it.
 */
static void need_parts_of_huge(const struct variant *v)
{
	if (v->huge && !(feature_mask() & UVM_FEATURE_SYSTEM_ATOMICS))
		SKIP("the kernel gives no GPU a part of a huge page");
}

static void counting_open(struct counting *c, const struct variant *v,
			  unsigned int gpus)
{
	memset(c, 0, sizeof(*c));
	if (gpus > 1)
		fix_pair(&c->f, v);
	else
		fix_open(&c->f, v);
	c->f.stay = true;
	c->cpus = CPUS;
	c->cpu_main = adder_main;
	c->gpus = gpus;
	c->commands = slow_kernel() ? COMMANDS / 5 : COMMANDS;
	/* two that want the page for themselves hardly get on */
	if (gpus > 1)
		c->commands /= 10;
	c->page = fix_buffer(&c->f, c->f.length);
	memset(c->page, 0, c->f.length);
}

static long atomics_in_system(struct counting *c)
{
	return sim_stat(&c->f.gpu, "system_atomics") +
	       (c->gpus > 1 ? sim_stat(&c->f.gpu2, "system_atomics") : 0);
}

static void count_quietly(const struct variant *v, unsigned int gpus, bool same)
{
	unsigned int i, rounds = harness_rounds(2);
	struct counting c;
	long was;

	counting_open(&c, v, gpus);
	was = atomics_in_system(&c);
	for (i = 0; i < rounds; i++)
		count_together(&c, same);
	/* the page stays, if it can */
	if (atomics_in_place()) {
		EXPECT_EQ(atomics_in_system(&c) - was,
			  rounds * gpus * c.commands * TIMES);
		EXPECT_EQ(fix_on_cpu(&c.f, c.page, PAGE), 1);
	}
	fix_close(&c.f);
}

TEST_VT(count_same_word, devices, 60)
{
	count_quietly(v, 1, true);
}

TEST_VT(count_same_page, devices, 60)
{
	count_quietly(v, 1, false);
}

TEST_VT(count_two_gpus, devices, 60)
{
	count_quietly(v, 2, true);
	count_quietly(v, 2, false);
}

/* Adds without ever looking at the GPU. */
static void *hammer_main(void *arg)
{
	struct adder *a = arg;

	for (; !atomic_load(a->stop); a->added++)
		__atomic_fetch_add(a->word, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* CPUs that leave the page no moment by themselves: the GPU gets on all the same. */
TEST_VT(count_hammered, devices, 60)
{
	struct counting c;

	counting_open(&c, v, 1);
	c.cpu_main = hammer_main;
	c.commands = slow_kernel() ? 2 : 10;
	count_together(&c, true);
	if (atomics_in_place())
		EXPECT_EQ(fix_on_cpu(&c.f, c.page, PAGE), 1);
	fix_close(&c.f);
}

static void count_disturbed(const struct variant *v,
			    void (*disturb)(struct counting *c, unsigned int round))
{
	unsigned int i, rounds = harness_rounds(2);
	struct counting c;

	counting_open(&c, v, 1);
	c.disturb = disturb;
	for (i = 0; i < rounds; i++)
		count_together(&c, i % 2);
	fix_close(&c.f);
}

/* A child has what was counted when it was born, and nobody adds to that. */
static void fork_counter(struct counting *c, unsigned int round)
{
	const uint64_t mine = 1ULL << 40;
	uint64_t *word = c->gpu[0].word, seen;
	pid_t pid;

	/* the kernel gives up, with this, if somebody has the page locked just then */
	WAIT_FOR((pid = fork()) >= 0 || errno != ENOMEM);
	ASSERT_GE(pid, 0);
	if (!pid) {
		seen = __atomic_fetch_add(word, mine, __ATOMIC_SEQ_CST);
		tick();
		_exit(__atomic_load_n(word, __ATOMIC_SEQ_CST) != seen + mine);
	}
	EXPECT_EQ(child_wait(pid), 0);
}

TEST_VT(count_and_fork, devices_huge, 60)
{
	need_parts_of_huge(v);
	count_disturbed(v, fork_counter);
}

static void move_counter(struct counting *c, unsigned int round)
{
	bool there = round % 2;
	struct uvm_migrate m;

	ASSERT_RET(migrate(c->f.s.fd, c->page, PAGE, there ? UVM_DEST_GPU : UVM_DEST_CPU,
			   0, there ? c->f.gpu.uuid : NULL, &m), 0);
	expect_accounts(&m);
}

TEST_VT(count_and_migrate, devices_huge, 60)
{
	need_parts_of_huge(v);
	count_disturbed(v, move_counter);
}

/* Rights change, but not the one to write. */
static void protect_counter(struct counting *c, unsigned int round)
{
	ASSERT_RET(mprotect(c->page, PAGE, PROT_READ | PROT_WRITE |
			    (round % 2 ? 0 : PROT_EXEC)), 0);
	tick();
}

TEST_VT(count_and_mprotect, devices_huge, 60)
{
	need_parts_of_huge(v);
	count_disturbed(v, protect_counter);
}

/* The kernel reads it on behalf of the process, and would have it swapped. */
static void read_counter(struct counting *c, unsigned int round)
{
	int pipes[2];

	ASSERT_EQ(pipe(pipes), 0);
	EXPECT_EQ(write(pipes[1], c->page, PAGE), PAGE);
	/* without a swap area it does nothing */
	madvise(c->page, PAGE, MADV_PAGEOUT);
	close(pipes[0]);
	close(pipes[1]);
}

/*
 * Where a page has to move for atomics it must not come from swap: Linux 6.1 doesn't let
 * go a page that is in use and in the swap cache.
 */
TEST_VT(count_and_read, devices, 60)
{
	bool swap = atomics_in_place() && swap_on();

	count_disturbed(v, read_counter);
	if (swap)
		EXPECT_RET(swap_off(), 0);
}

/* A page in the middle of a huge one, and the first, which is special in old kernels. */
TEST_VT(count_in_huge, huge_only, 60)
{
	static const unsigned int pages[] = { 0, 300, BLOCK_PAGES - 1 };
	struct counting c;
	unsigned int i;
	char *p;

	need_parts_of_huge(v);
	for (i = 0; i < 3; i++) {
		counting_open(&c, v, 1);
		p = c.page;
		if (huge_bytes(p) < c.f.length)
			SKIP("the kernel had no huge page to give");
		c.page = p + pages[i] * PAGE;
		count_together(&c, i % 2);
		c.page = p + (pages[i] + 1) * PAGE;
		count_together(&c, true);
		fix_close(&c.f);
	}
}

/* Adds @n times 1, by the GPU alone. */
static void gpu_adds(struct fix *f, uint64_t *word, uint64_t n)
{
	struct uvm_sim_cmd c = CMD(ATOMIC_ADD, .dst = ADDR(word), .arg0 = 1, .arg1 = n);

	ASSERT_RET(fix_run(f, &c, 1), 0);
}

static char *spray_room(void)
{
	return anon(64 * PAGE, PROT_READ | PROT_WRITE, 0);
}

/* Memory that was freed just now is taken: whoever writes there is found out. */
static char *spray(void)
{
	char *p = spray_room();

	pattern_fill(p, 64 * PAGE, 99);
	return p;
}

static void spray_check(char *p)
{
	EXPECT_PATTERN(p, 64 * PAGE, 99);
	munmap(p, 64 * PAGE);
}

static void expect_no_add(struct fix *f, uint64_t *word, int reason)
{
	fix_expect_fault(f, CMD(ATOMIC_ADD, .dst = ADDR(word), .arg0 = 1, .arg1 = 1),
			 word, reason, UVM_ACCESS_ATOMIC);
}

/* The page goes while the GPU has it for itself; nothing more is added to it. */
TEST_V(count_then_zap, devices)
{
	struct fix f;
	uint64_t *p;
	char *s;
	int i;

	fix_open(&f, v);
	f.stay = true;
	p = fix_buffer(&f, 2 * PAGE);
	for (i = 0; i < 2; i++) {
		p[3] = 5;
		gpu_adds(&f, &p[3], 100);
		EXPECT_EQ(p[3], 105);
		gpu_adds(&f, &p[3], 100);
		ASSERT_RET(madvise(p, PAGE, MADV_DONTNEED), 0);
		s = spray();
		/* with the zero page in between, and without */
		if (i)
			EXPECT_EQ(p[3], 0);
		gpu_adds(&f, &p[3], 30);
		EXPECT_EQ(p[3], 30);
		spray_check(s);
	}
	gpu_adds(&f, &p[3], 10);
	/* mapped before, or it would take the place of what goes */
	s = spray_room();
	ASSERT_RET(munmap(p, PAGE), 0);
	pattern_fill(s, 64 * PAGE, 99);
	expect_no_add(&f, &p[3], UVM_FAULT_NO_MAPPING);
	ASSERT_TRUE(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			 MAP_FIXED_NOREPLACE, -1, 0) == p);
	stay(f.s.fd, p, PAGE);
	gpu_adds(&f, &p[3], 7);
	EXPECT_EQ(p[3], 7);
	spray_check(s);
	fix_close(&f);
}

/* HMM shows such a page as absent; but it is there, and can move. */
TEST_V(count_then_migrate, devices)
{
	struct uvm_migrate m;
	struct fix f;
	uint64_t *p;

	if (!atomics_in_place())
		SKIP("here the page is on the GPU");
	fix_open(&f, v);
	f.stay = true;
	p = fix_buffer(&f, 4 * PAGE);
	p[3] = 1;
	p[PAGE / 8] = 1;
	gpu_adds(&f, &p[3], 10);
	ASSERT_RET(migrate(f.s.fd, p, 2 * PAGE, UVM_DEST_CPU, 0, NULL, &m), 0);
	EXPECT_EQ(m.out_already, 2);
	expect_accounts(&m);
	gpu_adds(&f, &p[3], 10);
	ASSERT_RET(migrate(f.s.fd, p, 2 * PAGE, UVM_DEST_CPU_NODE, 0, NULL, &m), 0);
	EXPECT_EQ(m.out_moved + m.out_already, 2);
	expect_accounts(&m);
	gpu_adds(&f, &p[3], 10);
	ASSERT_RET(migrate(f.s.fd, p, 4 * PAGE, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	EXPECT_EQ(m.out_moved, 4);
	expect_accounts(&m);
	EXPECT_EQ(p[3], 31);
	EXPECT_EQ(p[PAGE / 8], 1);
	fix_close(&f);
}

TEST_V(count_then_mprotect, devices)
{
	struct fix f;
	uint64_t *p;

	fix_open(&f, v);
	f.stay = true;
	p = fix_buffer(&f, PAGE);
	p[5] = 1;
	gpu_adds(&f, &p[5], 10);
	ASSERT_RET(mprotect(p, PAGE, PROT_READ), 0);
	expect_no_add(&f, &p[5], UVM_FAULT_PERMISSION);
	EXPECT_EQ(p[5], 11);
	ASSERT_RET(mprotect(p, PAGE, PROT_READ | PROT_WRITE), 0);
	gpu_adds(&f, &p[5], 10);
	ASSERT_RET(mprotect(p, PAGE, PROT_NONE), 0);
	expect_no_add(&f, &p[5], UVM_FAULT_PERMISSION);
	ASSERT_RET(mprotect(p, PAGE, PROT_READ | PROT_WRITE), 0);
	EXPECT_EQ(p[5], 21);
	gpu_adds(&f, &p[5], 10);
	EXPECT_EQ(p[5], 31);
	fix_close(&f);
}

/* It goes and comes again under a GPU that never stops. */
TEST_VT(count_while_zapped, devices_huge, 60)
{
	struct uvm_sim_cmd add = CMD(ATOMIC_ADD, .arg0 = 1, .arg1 = 1ULL << 48);
	unsigned int i, rounds = harness_rounds(40);
	uint64_t *word;
	struct fix f;
	char *p, *s;

	fix_open(&f, v);
	f.stay = true;
	p = fix_pattern(&f, f.length, 3);
	word = (uint64_t *)(p + PAGE);
	add.dst = ADDR(word);
	ASSERT_RET(channel_submit(f.s.fd, f.channel, &add, 1, NULL), 0);
	for (i = 0; i < rounds; i++) {
		/* at once: in between there is no moment without memory */
		if (i % 2)
			ASSERT_TRUE(mmap(word, PAGE, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
				    word);
		else
			ASSERT_RET(madvise(word, PAGE, MADV_DONTNEED), 0);
		s = spray();
		EXPECT_TRUE(SOON(__atomic_load_n(word, __ATOMIC_SEQ_CST) > 0, 10));
		spray_check(s);
	}
	EXPECT_EQ(state_of(&f, f.channel), UVM_CHANNEL_RUNNING);
	EXPECT_RET(channel_destroy(f.s.fd, f.channel), 0);
	ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &f.channel), 0);
	*word = 0;
	gpu_adds(&f, word, 50);
	EXPECT_EQ(*word, 50);
	EXPECT_PATTERN(p, PAGE, 3);
	EXPECT_EQ(pattern_check_from(p + 2 * PAGE, f.length - 2 * PAGE, 3, 2), -1);
	fix_close(&f);
}

/* Memory that can't move, and that no GPU is given for itself: plain stores work. */
static void expect_no_atomics(struct fix *f, uint64_t *p)
{
	uint64_t was = p[9];

	expect_no_add(f, &p[9], UVM_FAULT_NO_ATOMIC);
	EXPECT_EQ(p[9], was);
	fix_fill(f, &p[9], 8, 0x11);
	EXPECT_EQ(p[9], 0x1111111111111111);
	expect_no_add(f, &p[9], UVM_FAULT_NO_ATOMIC);
	EXPECT_EQ(p[9], 0x1111111111111111);
}

TEST_V(no_atomics_shared, devices)
{
	struct fix f;
	uint64_t *p, *q;
	int fd;

	fix_open(&f, v);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	p[9] = 5;
	expect_no_atomics(&f, p);
	q = shared_file(PAGE, &fd, 4);
	expect_no_atomics(&f, q);
	ASSERT_EQ(lseek(fd, 72, SEEK_SET), 72);
	ASSERT_EQ(read(fd, p, 8), 8);
	EXPECT_EQ(p[0], 0x1111111111111111);
	/* what others do of it in private is another thing */
	munmap(q, PAGE);
	q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_TRUE(q != MAP_FAILED);
	gpu_adds(&f, &q[9], 1);
	EXPECT_EQ(q[9], 0x1111111111111112);
	close(fd);
	fix_close(&f);
}

TEST_V(no_atomics_hugetlb, devices)
{
	struct fix f;
	uint64_t *p;

	fix_open(&f, v);
	p = (uint64_t *)hugetlb_page();
	p[9] = 5;
	expect_no_atomics(&f, p);
	munmap(p, HUGE);
	hugetlb_done();
	fix_close(&f);
}

/* Others in the same block go on, at the same time. */
TEST_V(no_atomics_beside, devices)
{
	uint64_t *p, *q, point;
	struct uvm_sim_cmd add;
	uint32_t channel;
	struct fix f;
	int i;

	fix_open(&f, v);
	p = (uint64_t *)apart(&f);
	stay(f.s.fd, p, HUGE);
	q = p + PAGE / 8;
	ASSERT_TRUE(mmap(q, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS |
			 MAP_FIXED, -1, 0) == q);
	for (i = 0; i < 10; i++) {
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &channel), 0);
		add = CMD(ATOMIC_ADD, .dst = ADDR(p), .arg0 = 1, .arg1 = 1000);
		ASSERT_RET(channel_submit(f.s.fd, channel, &add, 1, &point), 0);
		expect_no_add(&f, q, UVM_FAULT_NO_ATOMIC);
		EXPECT_RET(channel_wait(f.s.fd, channel, point, PATIENCE, NULL), 0);
		EXPECT_RET(channel_destroy(f.s.fd, channel), 0);
		EXPECT_EQ(p[0], 1000 * (i + 1));
	}
	EXPECT_EQ(q[0], 0);
	fix_close(&f);
}

/* Where they can't be had in place pages move for them, whatever the policy. */
TEST_V(atomics_move, devices)
{
	struct fix f;
	uint64_t *p;

	if (atomics_in_place())
		SKIP("here they can be had in place");
	fix_open(&f, v);
	f.stay = true;
	p = fix_buffer(&f, 2 * PAGE);
	p[1] = 1;
	p[PAGE / 8] = 2;
	gpu_adds(&f, &p[1], 100);
	EXPECT_EQ(fix_on_gpu(&f, p, PAGE), 1);
	EXPECT_EQ(fix_on_gpu(&f, p, 2 * PAGE), 1);
	EXPECT_EQ(p[1], 101);
	gpu_adds(&f, &p[1], 100);
	EXPECT_EQ(p[1], 201);
	EXPECT_EQ(p[PAGE / 8], 2);
	fix_close(&f);
}

static void *let_go(void *arg)
{
	struct timespec moment = { .tv_nsec = 200000000 };
	int *pipes = arg;
	char byte;

	nanosleep(&moment, NULL);
	EXPECT_EQ(read(pipes[0], &byte, 1), 1);
	return NULL;
}

/* A page that somebody holds can't move; but it isn't held for long. */
TEST_V(atomics_held, devices)
{
	struct iovec held;
	pthread_t thread;
	struct fix f;
	int pipes[2];
	uint64_t *p;

	fix_open(&f, v);
	f.stay = true;
	p = fix_buffer(&f, PAGE);
	p[1] = 1;
	ASSERT_EQ(pipe(pipes), 0);
	held = (struct iovec){ p, 1 };
	ASSERT_EQ(vmsplice(pipes[1], &held, 1, 0), 1);
	ASSERT_EQ(pthread_create(&thread, NULL, let_go, pipes), 0);
	gpu_adds(&f, &p[1], 100);
	EXPECT_EQ(p[1], 101);
	pthread_join(thread, NULL);
	close(pipes[0]);
	close(pipes[1]);
	fix_close(&f);
}

/* ---- GPUs that reach each other's memory ---- */

/* GPU faults move none of the buffers made from now on. */
static void peers_open(struct fix *f, const struct variant *v)
{
	if (!sim_switch("peers"))
		SKIP("the GPUs don't reach each other");
	fix_pair(f, v);
	f->stay = true;
}

static long peer_bytes(const struct uvm_gpu_info *gpu)
{
	return sim_stat(gpu, "peer_bytes");
}

/* By one copy, without a stop in system memory, both ways. */
TEST_V(peer_migrate, devices_huge_managed)
{
	struct uvm_migrate m;
	long was, was2;
	struct fix f;
	char *p;

	peers_open(&f, v);
	p = fix_pattern(&f, f.length, 20);
	fix_to_gpu2(&f, p, f.length);
	was = peer_bytes(&f.gpu);
	was2 = peer_bytes(&f.gpu2);
	ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	EXPECT_EQ(m.out_moved, f.length / PAGE);
	expect_accounts(&m);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	EXPECT_EQ(peer_bytes(&f.gpu) - was, f.length);
	EXPECT_EQ(peer_bytes(&f.gpu2), was2);
	ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_GPU, 0, f.gpu2.uuid, &m), 0);
	EXPECT_EQ(m.out_moved, f.length / PAGE);
	EXPECT_EQ(peer_bytes(&f.gpu) - was, f.length);
	EXPECT_EQ(peer_bytes(&f.gpu2) - was2, f.length);
	EXPECT_EQ(fix_on_gpu2(&f, p, f.length), f.length / PAGE);
	EXPECT_PATTERN(p, f.length, 20);
	fix_close(&f);
}

/* Each page comes from where it is. */
TEST_V(peer_migrate_mixed, devices_managed)
{
	const size_t part = 16 * PAGE;
	struct uvm_migrate m;
	struct fix f;
	long was;
	char *p;

	peers_open(&f, v);
	p = fix_buffer(&f, 4 * part);
	pattern_fill(p, 3 * part, 21);
	fix_to_gpu(&f, p + part, part);
	fix_to_gpu2(&f, p + 2 * part, part);
	was = peer_bytes(&f.gpu);
	ASSERT_RET(migrate(f.s.fd, p, 4 * part, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	EXPECT_EQ(m.out_moved, 48);
	EXPECT_EQ(m.out_already, 16);
	expect_accounts(&m);
	EXPECT_EQ(fix_on_gpu(&f, p, 4 * part), 64);
	EXPECT_EQ(peer_bytes(&f.gpu) - was, part);
	EXPECT_PATTERN(p, 3 * part, 21);
	EXPECT_BYTES(p + 3 * part, part, 0);
	fix_close(&f);
}

/* The same for pages that move because they are used. */
TEST_V(peer_fault_moves, devices_huge_managed)
{
	struct fix f;
	long was;
	char *p;

	peers_open(&f, v);
	p = apart(&f);
	pattern_fill(p, HUGE, 22);
	fix_to_gpu2(&f, p, HUGE);
	was = peer_bytes(&f.gpu);
	xor_by(&f, f.channel, p, HUGE, 5);
	EXPECT_EQ(fix_on_gpu(&f, p, HUGE), BLOCK_PAGES);
	EXPECT_EQ(peer_bytes(&f.gpu) - was, HUGE);
	EXPECT_EQ(count(&f, MOVED) + count(&f, PREFETCHED), BLOCK_PAGES);
	cpu_xor(p, HUGE, 5);
	EXPECT_PATTERN(p, HUGE, 22);
	fix_close(&f);
}

/* What doesn't move is used where it is. */
TEST_V(peer_in_place, devices_huge_managed)
{
	unsigned long n;
	struct fix f;
	long was, bytes;
	char *p;

	peers_open(&f, v);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 23);
	fix_to_gpu2(&f, p, f.length);
	was = sim_stat(&f.gpu, "peer_accesses");
	bytes = peer_bytes(&f.gpu) + peer_bytes(&f.gpu2);
	xor_by(&f, f.channel, p, f.length, 7);
	EXPECT_EQ(fix_on_gpu2(&f, p, f.length), n);
	/* a load and a store for each page */
	EXPECT_GE(sim_stat(&f.gpu, "peer_accesses") - was, 2 * n);
	EXPECT_GT(sim_stat(&f.gpu2, "peer_uses"), 0);
	/* its owner finds what was stored */
	xor_by(&f, f.channel2, p, f.length, 9);
	xor_by(&f, f.channel, p, f.length, 9);
	EXPECT_EQ(fix_on_gpu2(&f, p, f.length), n);
	EXPECT_EQ(peer_bytes(&f.gpu) + peer_bytes(&f.gpu2), bytes);
	EXPECT_EQ(count(&f, MOVED) + count(&f, PREFETCHED), 0);
	cpu_xor(p, f.length, 7);
	EXPECT_PATTERN(p, f.length, 23);
	fix_close(&f);
}

/* Both count in the memory of one. */
TEST_VT(peer_atomics, devices, 60)
{
	struct counting c;
	long was, system;

	if (!sim_switch("peers"))
		SKIP("the GPUs don't reach each other");
	counting_open(&c, v, 2);
	c.cpus = 0;
	c.commands = COMMANDS;
	c.unseen = true;
	fix_to_gpu2(&c.f, c.page, PAGE);
	was = sim_stat(&c.f.gpu, "peer_accesses");
	system = atomics_in_system(&c);
	count_together(&c, true);
	EXPECT_EQ(sim_stat(&c.f.gpu, "peer_accesses") - was, COMMANDS * TIMES);
	EXPECT_EQ(atomics_in_system(&c), system);
	fix_close(&c.f);
}

static bool peer_atomics_set(bool on)
{
	return write_text("/sys/module/uvm_sim/parameters/peer_atomics", on ? "Y" : "N");
}

/* The GPU as it would be with such a driver. */
static void rebind_with(struct fix *f, bool peer_atomics)
{
	ASSERT_TRUE(peer_atomics_set(peer_atomics));
	unbind(&f->gpu);
	rebind(&f->gpu);
	ASSERT_RET(register_gpu(f->s.fd, f->gpu.uuid), 0);
	ASSERT_RET(channel_create(f->s.fd, f->gpu.uuid, &f->channel), 0);
}

/* What the GPU can only read and write there leaves the peer for atomics. */
TEST_VT(peer_no_atomics, devices_huge, 60)
{
	struct fix f;
	uint64_t *p;
	char *q;
	int i;

	peers_open(&f, v);
	rebind_with(&f, false);
	q = fix_pattern(&f, f.length, 29);
	p = (uint64_t *)(q + 5 * PAGE);
	p[0] = 7;
	fix_to_gpu2(&f, q, f.length);
	for (i = 1; i <= 3; i++) {
		gpu_adds(&f, p, 100);
		EXPECT_EQ(fix_on_gpu2(&f, (char *)p, PAGE), 0);
	}
	/* the others are used where they are */
	EXPECT_GE(fix_on_gpu2(&f, q, f.length), f.length / PAGE / 2);
	EXPECT_EQ(p[0], 307);
	EXPECT_EQ(state_of(&f, f.channel), UVM_CHANNEL_RUNNING);
	EXPECT_PATTERN(q, 5 * PAGE, 29);
	rebind_with(&f, true);
	fix_close(&f);
}

/* GPU 1 has all pages of the other's memory in its tables and TLB, to store there. */
static char *peer_warm(struct fix *f, uint64_t seed)
{
	char *p = fix_pattern(f, f->length, seed);
	struct uvm_sim_cmd c = CMD(TOUCH, .dst = ADDR(p), .length = f->length,
				   .arg0 = PAGE, .arg1 = 1);

	fix_to_gpu2(f, p, f->length);
	ASSERT_RET(fix_run(f, &c, 1), 0);
	ASSERT_EQ(fix_on_gpu2(f, p, f->length), f->length / PAGE);
	return p;
}

/* Others get the memory of GPU 2 that was just freed. */
static void peer_spray(struct fix *f, char *q)
{
	pattern_fill(q, f->length, 98);
	fix_to_gpu2(f, q, f->length);
}

static void peer_spray_check(struct fix *f, char *q)
{
	EXPECT_EQ(fix_on_gpu2(f, q, f->length), f->length / PAGE);
	EXPECT_PATTERN(q, f->length, 98);
}

/* What was in GPU 2's memory is elsewhere: GPU 1 finds it there. */
TEST_V(peer_stale_after_migrate, devices_huge_managed)
{
	struct fix f;
	char *p, *q;
	int i;

	peers_open(&f, v);
	q = fix_buffer(&f, f.length);
	for (i = 0; i < 2; i++) {
		p = peer_warm(&f, 24);
		if (i)
			fix_to_gpu(&f, p, f.length);
		fix_to_cpu(&f, p, f.length);
		cpu_xor(p, f.length, 3);
		peer_spray(&f, q);
		EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
		xor_by(&f, f.channel, p, f.length, 3);
		EXPECT_PATTERN(p, f.length, 24);
		peer_spray_check(&f, q);
		munmap(p, f.length);
	}
	fix_close(&f);
}

TEST_V(peer_stale_after_unmap, devices_huge_managed)
{
	struct fix f;
	char *p, *q;

	peers_open(&f, v);
	q = fix_buffer(&f, f.length);
	p = peer_warm(&f, 25);
	ASSERT_RET(munmap(p, f.length), 0);
	peer_spray(&f, q);
	fix_expect_fault(&f, CMD(TOUCH, .dst = ADDR(p), .length = 1, .arg0 = 1), p,
			 UVM_FAULT_NO_MAPPING, UVM_ACCESS_READ);
	fix_expect_fault(&f, CMD(FILL, .dst = ADDR(p), .length = 1, .arg0 = 1), p,
			 UVM_FAULT_NO_MAPPING, UVM_ACCESS_WRITE);
	if (f.managed)
		ASSERT_RET(managed_try(f.s.fd, p, f.length), 0);
	else
		ASSERT_TRUE(mmap(p, f.length, PROT_READ | PROT_WRITE, MAP_PRIVATE |
				 MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == p);
	stay(f.s.fd, p, f.length);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), 0);
	fix_fill(&f, p, f.length, 0x3c);
	EXPECT_BYTES(p, f.length, 0x3c);
	peer_spray_check(&f, q);
	fix_close(&f);
}

/* A CPU's touch brings a private page home, under both GPUs. */
TEST_V(peer_stale_after_touch, private_managed)
{
	struct fix f;
	char *p, *q;

	peers_open(&f, v);
	q = fix_buffer(&f, f.length);
	p = peer_warm(&f, 26);
	cpu_xor(p, f.length, 3);
	EXPECT_EQ(fix_on_gpu2(&f, p, f.length), 0);
	peer_spray(&f, q);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	xor_by(&f, f.channel, p, f.length, 3);
	EXPECT_PATTERN(p, f.length, 26);
	peer_spray_check(&f, q);
	fix_close(&f);
}

/* A store in place must not reach the page that a child has, too. */
TEST_V(peer_fork, devices_huge)
{
	int ends[2];
	struct fix f;
	pid_t pid;
	char *p;

	peers_open(&f, v);
	p = peer_warm(&f, 27);
	ASSERT_EQ(pipe(ends), 0);
	pid = child();
	if (!pid) {
		char byte;

		close(ends[1]);
		/* after its parent's store */
		EXPECT_EQ(read(ends[0], &byte, 1), 0);
		EXPECT_PATTERN(p, f.length, 27);
		child_exit();
	}
	close(ends[0]);
	xor_by(&f, f.channel, p, f.length, 3);
	close(ends[1]);
	EXPECT_EQ(child_wait(pid), 0);
	cpu_xor(p, f.length, 3);
	EXPECT_PATTERN(p, f.length, 27);
	fix_close(&f);
}

struct peer_racer {
	struct fix *f;
	uint32_t channel;
	char *p;
	size_t length;
	uint64_t key;
	unsigned int rounds;
	atomic_uint done;	/* rounds */
	pthread_t thread;
};

/* An even number of times, so that all is as it was in the end */
static void *peer_racer_main(void *arg)
{
	struct peer_racer *r = arg;

	for (; r->done < 2 * r->rounds; r->done++)
		xor_by(r->f, r->channel, r->p, r->length, r->key);
	return NULL;
}

static bool racers_done(struct peer_racer *r)
{
	return r[0].done + r[1].done == 2 * (r[0].rounds + r[1].rounds);
}

/*
 * Each GPU works on a half, wherever it is, and it is everywhere in turn: whenever one
 * of them is done with its half, and the other is in the middle of it.
 */
TEST_VT(peer_race, devices_huge_managed, 60)
{
	unsigned int i, rounds = harness_rounds(v->huge ? 5 : 40);
	struct peer_racer r[2] = { 0 };
	struct uvm_migrate m;
	unsigned int at;
	struct fix f;
	char *p;

	peers_open(&f, v);
	p = fix_pattern(&f, f.length, 28);
	for (i = 0; i < 2; i++) {
		r[i].f = &f;
		r[i].channel = i ? f.channel2 : f.channel;
		r[i].length = f.length / 2;
		r[i].p = p + i * r[i].length;
		r[i].key = i + 1;
		r[i].rounds = rounds;
		ASSERT_EQ(pthread_create(&r[i].thread, NULL, peer_racer_main, &r[i]), 0);
	}
	for (i = 0; !racers_done(r); i++) {
		at = r[0].done + r[1].done;
		ASSERT_RET(migrate(f.s.fd, p, f.length,
				   i % 3 ? UVM_DEST_GPU : UVM_DEST_CPU, 0,
				   i % 3 == 0 ? NULL :
				   i % 3 == 1 ? f.gpu.uuid : f.gpu2.uuid, &m), 0);
		expect_accounts(&m);
		SOON(racers_done(r) || r[0].done + r[1].done != at, 20);
	}
	for (i = 0; i < 2; i++)
		pthread_join(r[i].thread, NULL);
	EXPECT_PATTERN(p, f.length, 28);
	fix_close(&f);
}

/* Each page leads to another one, and they come round. */
static void *ring_of_pages(struct fix *f)
{
	size_t i, n = f->length / PAGE;
	char *p = fix_buffer(f, f->length);

	for (i = 0; i < n; i++)
		*(void **)(p + i * PAGE) = p + (i + 1) % n * PAGE;
	return p;
}

static void expect_ring(struct fix *f, char *p)
{
	size_t i, n = f->length / PAGE;

	for (i = 0; i < n && *(void **)(p + i * PAGE) == p + (i + 1) % n * PAGE; i++)
		;
	EXPECT_EQ(i, n);
}

/* GPU 1 follows the ring without an end, in the memory of GPU 2. */
static char *peer_endless(struct fix *f)
{
	char *p = ring_of_pages(f);
	struct uvm_sim_cmd c = CMD(CHASE, .dst = ADDR(p + 8), .src = ADDR(p),
				   .arg0 = 1ULL << 48);
	long was = sim_stat(&f->gpu, "peer_accesses");

	fix_to_gpu2(f, p, f->length);
	ASSERT_RET(channel_submit(f->s.fd, f->channel, &c, 1, NULL), 0);
	ASSERT_TRUE(SOON(sim_stat(&f->gpu, "peer_accesses") - was >
			 2 * (long)(f->length / PAGE), 10));
	EXPECT_EQ(fix_on_gpu2(f, p, f->length), f->length / PAGE);
	EXPECT_GT(sim_stat(&f->gpu2, "peer_uses"), 0);
	return p;
}

static long lookups(struct fix *f)
{
	return sim_stat(&f->gpu, "tlb_hits") + sim_stat(&f->gpu, "tlb_misses");
}

/* Once more round the ring, and then some */
static void expect_goes_round(struct fix *f)
{
	long was = lookups(f);

	EXPECT_TRUE(SOON(lookups(f) - was > 2 * (long)(f->length / PAGE), 10));
}

/* It goes on, in system memory now. */
static void expect_endless(struct fix *f, char *p)
{
	long was;

	EXPECT_EQ(fix_on_cpu(f, p, f->length), f->length / PAGE);
	EXPECT_EQ(state_of(f, f->channel), UVM_CHANNEL_RUNNING);
	expect_goes_round(f);
	was = sim_stat(&f->gpu, "peer_accesses");
	expect_goes_round(f);
	EXPECT_EQ(sim_stat(&f->gpu, "peer_accesses"), was);
	EXPECT_RET(channel_destroy(f->s.fd, f->channel), 0);
	expect_ring(f, p);
}

TEST_VT(peer_unregister, devices_huge_managed, 60)
{
	unsigned int i, rounds = harness_rounds(3);
	struct uvm_unregister_gpu u;
	struct fix f;
	char *p;

	peers_open(&f, v);
	for (i = 0; i < rounds; i++) {
		p = peer_endless(&f);
		EXPECT_RET(unregister_counted(f.s.fd, f.gpu2.uuid, &u), 0);
		EXPECT_EQ(u.out_moved, f.length / PAGE);
		EXPECT_EQ(u.out_left, 0);
		EXPECT_EQ(sim_stat(&f.gpu2, "peer_uses"), 0);
		expect_endless(&f, p);
		munmap(p, f.length);
		ASSERT_RET(register_gpu(f.s.fd, f.gpu2.uuid), 0);
		ASSERT_RET(channel_create(f.s.fd, f.gpu2.uuid, &f.channel2), 0);
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &f.channel), 0);
	}
	fix_close(&f);
}

/* The device goes whose memory is used: its driver complains of what is left. */
TEST_VT(peer_unbind, devices_huge_managed, 60)
{
	unsigned int i, rounds = harness_rounds(2);
	struct fix f;
	char *p;

	peers_open(&f, v);
	for (i = 0; i < rounds; i++) {
		p = peer_endless(&f);
		unbind(&f.gpu2);
		expect_endless(&f, p);
		munmap(p, f.length);
		rebind(&f.gpu2);
		ASSERT_RET(register_gpu(f.s.fd, f.gpu2.uuid), 0);
		ASSERT_RET(channel_create(f.s.fd, f.gpu2.uuid, &f.channel2), 0);
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &f.channel), 0);
	}
	fix_close(&f);
}

/* And the one that uses it; the pages stay. */
TEST_VT(peer_unbind_user, devices, 60)
{
	struct fix f;
	char *p;

	peers_open(&f, v);
	p = peer_endless(&f);
	unbind(&f.gpu);
	EXPECT_EQ(sim_stat(&f.gpu2, "peer_uses"), 0);
	EXPECT_EQ(fix_on_gpu2(&f, p, f.length), f.length / PAGE);
	rebind(&f.gpu);
	ASSERT_RET(register_gpu(f.s.fd, f.gpu.uuid), 0);
	ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &f.channel), 0);
	expect_ring(&f, p);
	fix_close(&f);
}

/* ---- pages that bounce ---- */

#define TURNS		200

/* A page that two use in turn, each a word of its own */
struct bouncing {
	struct fix f;
	uint64_t *p;
	uint64_t want[2];
	unsigned int turns;
};

/*
 * So long that turns which follow each other are a bounce; and a pinned page is left
 * alone for some turns.
 */
static void bouncing_open(struct bouncing *b, const struct variant *v, bool looks)
{
	memset(b, 0, sizeof(*b));
	core_parameter_set("thrash_lapse_us", !looks ? 0 :
					      slow_kernel() ? 300000 : 100000);
	core_parameter_set("thrash_pin_ms", slow_kernel() ? 1500 : 500);
	fix_pair(&b->f, v);
	b->p = (uint64_t *)apart(&b->f);
	b->p[0] = 0;
	b->p[1] = 0;
}

/* A GPU changes a word: @which is that of GPU 1 or 2. */
static void gpu_turn(struct bouncing *b, int which)
{
	uint64_t key = ++b->turns;

	xor_by(&b->f, which ? b->f.channel2 : b->f.channel, &b->p[which], 8, key);
	b->want[which] ^= uvm_sim_keystream(key, 0);
}

static void cpu_turn(struct bouncing *b)
{
	__atomic_fetch_add(&b->p[1], 1, __ATOMIC_SEQ_CST);
	b->want[1]++;
}

static void expect_words(struct bouncing *b)
{
	EXPECT_EQ(b->p[0], b->want[0]);
	EXPECT_EQ(b->p[1], b->want[1]);
}

static bool bouncing_on_gpu(struct bouncing *b)
{
	return fix_on_gpu(&b->f, b->p, PAGE);
}

/* The CPU and a GPU, until the page is pinned once more. */
static void bounce_until_pinned(struct bouncing *b)
{
	long long pinned = count(&b->f, PINNED);
	int i;

	for (i = 0; i < TURNS && count(&b->f, PINNED) == pinned; i++) {
		cpu_turn(b);
		gpu_turn(b, 0);
	}
	EXPECT_GT(count(&b->f, THROTTLED), 0);
	ASSERT_EQ(count(&b->f, PINNED), pinned + 1);
}

/*
 * More turns: it stays where it is until it is released, which may be soon if this
 * machine has other things to do. Returns how many were seen.
 */
static int turns_at_rest(struct bouncing *b)
{
	bool there;
	int i;

	for (i = 0; i < 20; i++) {
		there = bouncing_on_gpu(b);
		if (count(&b->f, UNPINNED) == count(&b->f, PINNED))
			break;
		EXPECT_TRUE(!there);
		cpu_turn(b);
		gpu_turn(b, 0);
	}
	return i;
}

/*
 * A page that CPU and GPU use in turn is left where both can use it, for a while; then
 * it moves again, for who uses it alone.
 */
TEST_VT(bounce_pinned, only_private, 60)
{
	struct bouncing b;
	long long pinned;
	int i, seen = 0;

	bouncing_open(&b, v, true);
	for (i = 0; i < 5 && !seen; i++) {
		bounce_until_pinned(&b);
		seen = turns_at_rest(&b);
	}
	EXPECT_GT(seen, 0);
	expect_words(&b);

	pinned = count(&b.f, PINNED);
	EXPECT_TRUE(SOON(count(&b.f, UNPINNED) == pinned, 20));
	EXPECT_TRUE(SOON(({
		gpu_turn(&b, 0);
		bouncing_on_gpu(&b);
	}), 10));
	EXPECT_EQ(count(&b.f, PINNED), pinned);
	expect_words(&b);
	fix_close(&b.f);
}

static long long pinned_by_any(struct bouncing *b)
{
	return count(&b->f, PINNED) + count2(&b->f, PINNED);
}

static long long unpinned_by_any(struct bouncing *b)
{
	return count(&b->f, UNPINNED) + count2(&b->f, UNPINNED);
}

static void gpus_turn(struct bouncing *b)
{
	gpu_turn(b, 1);
	gpu_turn(b, 0);
}

/* Both GPUs, until one of them has it pinned; and more turns, as above. */
static int gpus_at_rest(struct bouncing *b)
{
	long long pinned = pinned_by_any(b), unpinned = unpinned_by_any(b);
	struct tally was, now;
	int i;

	for (i = 0; i < TURNS && pinned_by_any(b) == pinned; i++)
		gpus_turn(b);
	ASSERT_GT(pinned_by_any(b), pinned);
	/* who has it pinned doesn't pull; who hasn't may, once */
	gpus_turn(b);
	was = fix_tally(&b->f, b->p, PAGE);
	for (i = 0; i < 10; i++) {
		gpus_turn(b);
		now = fix_tally(&b->f, b->p, PAGE);
		if (unpinned_by_any(b) != unpinned)
			break;
		EXPECT_EQ(memcmp(&was, &now, sizeof(was)), 0);
	}
	return i;
}

/* Two GPUs: it comes to rest in the memory of one, or of neither. */
TEST_VT(bounce_two_gpus, devices_managed, 60)
{
	struct bouncing b;
	int i, seen = 0;

	bouncing_open(&b, v, true);
	for (i = 0; i < 5 && !seen; i++)
		seen = gpus_at_rest(&b);
	EXPECT_GT(seen, 0);
	EXPECT_GT(count(&b.f, THROTTLED) + count2(&b.f, THROTTLED), 0);
	expect_words(&b);
	fix_close(&b.f);
}

/* Whoever doesn't want that gets every page moved, every time. */
TEST_VT(bounce_never, only_private, 60)
{
	struct bouncing b;
	int i;

	bouncing_open(&b, v, false);
	for (i = 0; i < 60; i++) {
		cpu_turn(&b);
		gpu_turn(&b, 0);
		EXPECT_TRUE(bouncing_on_gpu(&b));
	}
	EXPECT_EQ(count(&b.f, THROTTLED), 0);
	EXPECT_EQ(count(&b.f, PINNED), 0);
	expect_words(&b);
	fix_close(&b.f);
}

static bool bounced_by_count(struct counted *c)
{
	return on_gpu_after_use(c) == c->pages || count(&c->f, PINNED);
}

/* So is one that the GPU doesn't fault on, but uses a lot, in turn with the CPU. */
TEST_VT(bounce_counted, only_private, 60)
{
	struct counted c;
	int i;

	core_parameter_set("thrash_lapse_us", slow_kernel() ? 300000 : 100000);
	core_parameter_set("counter_threshold", 1);
	counted_open(&c, v);
	EXPECT_RET(access_counters(c.f.s.fd, c.f.gpu.uuid, 1), 0);
	for (i = 0; i < TURNS && !count(&c.f, PINNED); i++) {
		ASSERT_TRUE(SOON(bounced_by_count(&c), 10));
		EXPECT_PATTERN(c.p, PAGE, 1);
	}
	ASSERT_GT(count(&c.f, PINNED), 0);
	EXPECT_TRUE(SOON(count(&c.f, UNPINNED) == count(&c.f, PINNED), 20));
	expect_moves(&c);
	EXPECT_PATTERN(c.p, c.length, 1);
	fix_close(&c.f);
}

/* A pinned page that is unmapped, and one whose GPU is unregistered, leave nothing. */
TEST_VT(bounce_then_gone, only_private, 60)
{
	struct bouncing b;
	long long pinned;

	bouncing_open(&b, v, true);
	bounce_until_pinned(&b);
	pinned = count(&b.f, PINNED);
	ASSERT_RET(munmap(b.p, HUGE), 0);
	fix_expect_fault(&b.f, CMD(TOUCH, .dst = ADDR(b.p), .length = 1, .arg0 = 1), b.p,
			 UVM_FAULT_NO_MAPPING, UVM_ACCESS_READ);
	EXPECT_TRUE(SOON(count(&b.f, UNPINNED) == pinned, 20));

	b.p = (uint64_t *)apart(&b.f);
	memset(b.p, 0, PAGE);
	memset(b.want, 0, sizeof(b.want));
	ASSERT_RET(unregister_gpu(b.f.s.fd, b.f.gpu.uuid), 0);
	ASSERT_RET(register_gpu(b.f.s.fd, b.f.gpu.uuid), 0);
	ASSERT_RET(channel_create(b.f.s.fd, b.f.gpu.uuid, &b.f.channel), 0);
	bounce_until_pinned(&b);
	ASSERT_RET(unregister_gpu(b.f.s.fd, b.f.gpu.uuid), 0);
	expect_words(&b);
	ASSERT_RET(register_gpu(b.f.s.fd, b.f.gpu.uuid), 0);
	ASSERT_RET(channel_create(b.f.s.fd, b.f.gpu.uuid, &b.f.channel), 0);
	EXPECT_EQ(count(&b.f, PINNED), 0);
	/* what was watched there is forgotten */
	gpu_turn(&b, 0);
	EXPECT_TRUE(bouncing_on_gpu(&b));
	expect_words(&b);
	fix_close(&b.f);
}

/* ---- around each test ---- */

static void (*devices_before)(void);

static void before(void)
{
	core_parameters_reset();
	peer_atomics_set(true);
	devices_before();
}

static void __attribute__((constructor)) install(void)
{
	devices_install();
	devices_before = harness_hook.before;
	harness_hook.before = before;
}

HARNESS_MAIN()
