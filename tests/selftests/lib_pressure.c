// SPDX-License-Identifier: GPL-2.0-only
/* See lib_pressure.h. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib_lifetime.h"
#include "lib_managed.h"
#include "lib_memory.h"
#include "lib_policy.h"
#include "lib_pressure.h"

#define KEY		0x5e7

/* ---- numbers ---- */

void memory_of(struct fix *f, struct memory *m)
{
	struct uvm_query_memory q;

	ASSERT_RET(memory_query(f->s.fd, f->gpu.uuid, &q), 0);
	*m = (struct memory){
		.total = q.out_total / PAGE,
		.used = q.out_used / PAGE,
		.free = q.out_free / PAGE,
		.mine = q.out_mine / PAGE,
		.limit = q.out_limit / PAGE,
		.evicted = q.out_evicted,
		.refaulted = q.out_refaulted,
		.my_evicted = q.out_my_evicted,
		.my_refaulted = q.out_my_refaulted,
		.thrash = q.out_thrash,
	};
}

int limit_pages(struct fix *f, unsigned long limit, unsigned long reserved)
{
	return memory_limit(f->s.fd, f->gpu.uuid, limit * PAGE, reserved * PAGE);
}

int to_gpu(struct fix *f, const void *p, size_t length, struct uvm_migrate *m)
{
	return migrate(f->s.fd, p, length, UVM_DEST_GPU, 0, f->gpu.uuid, m);
}

void expect_taken(struct fix *f, const void *p, size_t length)
{
	struct uvm_migrate m;

	ASSERT_RET(to_gpu(f, p, length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, length);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_NO_MEMORY], 0);
	EXPECT_EQ(m.out_moved + m.out_already, length / PAGE);
}

void expect_gone(struct fix *f, const char *p, size_t pages)
{
	EXPECT_EQ(fix_on_gpu(f, p, pages * PAGE), 0);
}

void expect_there(struct fix *f, const char *p, size_t pages)
{
	EXPECT_EQ(fix_on_gpu(f, p, pages * PAGE), pages);
}

/* ---- memory ---- */

#define TOO_MUCH	(64UL << 20)

size_t pressure_need(const struct variant *v)
{
	struct uvm_gpu_info gpu;

	memory_need(v);
	gpu_need(v->kind, 0, &gpu);
	if (gpu.memory_size > TOO_MUCH)
		SKIP("%llu MiB of device memory are too many to fill",
		     (unsigned long long)gpu.memory_size >> 20);
	return gpu.memory_size / PAGE;
}

char *aligned_buffer(struct fix *f, size_t length)
{
	char *p = managed_room(length);

	if (f->managed) {
		managed_at(f->s.fd, p, length);
		return p;
	}
	ASSERT_RET(mprotect(p, length, PROT_READ | PROT_WRITE), 0);
	/* fails on a kernel without huge pages, which is as good */
	madvise(p, length, f->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return p;
}

char *aligned_pattern(struct fix *f, size_t length, uint64_t seed)
{
	char *p = aligned_buffer(f, length);

	pattern_fill(p, length, seed);
	if (f->huge && huge_bytes(p) < length)
		SKIP("the kernel had no huge page to give");
	return p;
}

void take_sparse(struct fix *f, char *p, size_t blocks, uint64_t seed)
{
	size_t i;

	for (i = 0; i < blocks; i++) {
		pattern_fill_from(p + i * HUGE, UNIT, seed, i);
		expect_taken(f, p + i * HUGE, UNIT);
	}
}

void check_sparse(const char *p, size_t blocks, uint64_t seed)
{
	size_t i;

	for (i = 0; i < blocks; i++)
		EXPECT_EQ(pattern_check_from(p + i * HUGE, UNIT, seed, i), -1);
}

unsigned long sparse_on_gpu(struct fix *f, const char *p, size_t blocks)
{
	unsigned long n = 0;
	size_t i;

	for (i = 0; i < blocks; i++)
		n += fix_on_gpu(f, p + i * HUGE, UNIT);
	return n;
}

/* ---- working sets ---- */

static void sum_twice(const uint64_t *words, uint64_t sum[2])
{
	size_t i;

	sum[0] = 0;
	sum[1] = 0;
	for (i = 0; i < UNIT / 8; i++) {
		sum[0] += words[i];
		sum[1] += words[i] ^ uvm_sim_keystream(KEY, i);
	}
}

void set_make(struct set *s, struct fix *f, size_t length, uint64_t seed)
{
	size_t i;

	*s = (struct set){ .f = f, .units = length / UNIT, .seed = seed };
	s->p = aligned_buffer(f, length);
	s->sum = calloc(s->units, sizeof(*s->sum));
	s->turned = calloc(s->units, sizeof(*s->turned));
	ASSERT_TRUE(s->sum && s->turned);
	s->out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	stay(f->s.fd, (void *)s->out, PAGE);
	for (i = 0; i < s->units; i++) {
		pattern_fill_from(set_unit(s, i), UNIT, seed, i * UNIT_PAGES);
		sum_twice((uint64_t *)set_unit(s, i), s->sum[i]);
	}
}

void set_free(struct set *s)
{
	munmap(s->p, set_size(s));
	munmap((void *)s->out, PAGE);
	free(s->sum);
	free(s->turned);
}

void set_turn(struct set *s, const size_t *unit, size_t n)
{
	struct uvm_sim_cmd cmd[SET_BATCH] = { 0 };
	size_t i;

	for (i = 0; i < n; i++) {
		cmd[i] = CMD(XOR, .dst = ADDR(set_unit(s, unit[i])), .length = UNIT,
			     .arg0 = KEY);
		s->turned[unit[i]] ^= true;
	}
	ASSERT_RET(fix_run(s->f, cmd, n), 0);
}

void set_sum(struct set *s, const size_t *unit, size_t n)
{
	struct uvm_sim_cmd cmd[SET_BATCH] = { 0 };
	size_t i;

	for (i = 0; i < n; i++)
		cmd[i] = CMD(SUM, .dst = ADDR(&s->out[i]), .length = UNIT,
			     .src = ADDR(set_unit(s, unit[i])));
	ASSERT_RET(fix_run(s->f, cmd, n), 0);
	for (i = 0; i < n; i++)
		harness_check(s->out[i] == s->sum[unit[i]][s->turned[unit[i]]], false,
			      __FILE__, __LINE__,
			      "unit %zu of seed %llu, %s: the GPU saw other bytes",
			      unit[i], (unsigned long long)s->seed,
			      s->turned[unit[i]] ? "turned" : "as filled");
}

static void set_all(struct set *s, void (*run)(struct set *s, const size_t *, size_t))
{
	size_t unit[SET_BATCH], first, n;

	for (first = 0; first < s->units; first += n) {
		for (n = 0; n < SET_BATCH && first + n < s->units; n++)
			unit[n] = first + n;
		run(s, unit, n);
	}
}

void set_turn_all(struct set *s)
{
	set_all(s, set_turn);
}

void set_check_by_gpu(struct set *s)
{
	set_all(s, set_sum);
}

void set_check_by_cpu(struct set *s)
{
	static __thread uint64_t copy[UNIT / 8];
	size_t i;
	long bad;

	for (i = 0; i < s->units; i++) {
		memcpy(copy, set_unit(s, i), UNIT);
		if (s->turned[i])
			cpu_xor(copy, UNIT, KEY);
		bad = pattern_check_from(copy, UNIT, s->seed, i * UNIT_PAGES);
		harness_check(bad == -1, false, __FILE__, __LINE__,
			      "unit %zu of seed %llu, %s: byte %ld is wrong", i,
			      (unsigned long long)s->seed,
			      s->turned[i] ? "turned" : "as filled", bad);
	}
}

size_t walk_next(struct walk *w)
{
	switch (w->order) {
	case HOT:
		if (harness_random(&w->rng) % 4)
			return harness_random(&w->rng) % w->hot;
		break;
	case STREAM:
		return w->next++ % w->units;
	case RANDOM:
		break;
	}
	return harness_random(&w->rng) % w->units;
}

#define SIX_SCENES(quarters)						\
	{ quarters, STREAM, false }, { quarters, STREAM, true },	\
	{ quarters, RANDOM, false }, { quarters, RANDOM, true },	\
	{ quarters, HOT, false }, { quarters, HOT, true }

const struct scene scenes[NR_SCENES] = {
	SIX_SCENES(5), SIX_SCENES(8), SIX_SCENES(32),
};

void scene_name(const struct scene *c, char name[40])
{
	static const char * const orders[] = {
		[STREAM] = "stream", [RANDOM] = "random", [HOT] = "hot",
	};

	snprintf(name, 40, "%u.%02u times, %s, %s", c->quarters / 4,
		 c->quarters % 4 * 25, orders[c->order],
		 c->by_migrate ? "UVM_MIGRATE" : "faults");
}

static void bring_all(struct set *s, const void *p, size_t length)
{
	expect_taken(s->f, p, length);
}

static void bring_some(struct set *s, const void *p, size_t length)
{
	struct uvm_migrate m;

	ASSERT_RET(to_gpu(s->f, p, length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, length);
}

/* A stretch of units that follow each other moves at once. */
static void bring(struct set *s, const size_t *unit, size_t n)
{
	void (*take)(struct set *s, const void *p, size_t length) =
		s->contended ? bring_some : bring_all;
	size_t i, end;

	for (i = 0; i < n; i = end) {
		for (end = i + 1; end < n; end++)
			if (unit[end] != unit[end - 1] + 1)
				break;
		take(s, set_unit(s, unit[i]), (end - i) * UNIT);
	}
}

void scene_play(struct set *s, const struct scene *c, uint64_t rng)
{
	struct walk w = { .order = c->order, .units = s->units, .rng = rng };
	size_t unit[SET_BATCH], done, n;

	w.hot = s->units * 2 / c->quarters;
	if (!w.hot)
		w.hot = 1;
	for (done = 0; done < s->units; done += n) {
		for (n = 0; n < SET_BATCH && done + n < s->units; n++)
			unit[n] = walk_next(&w);
		if (c->by_migrate)
			bring(s, unit, n);
		set_turn(s, unit, n);
	}
	set_check_by_gpu(s);
	set_check_by_cpu(s);
}

/* ---- processes that want a GPU's memory ---- */

struct hog_self {
	struct fix f;
	char *p;
	size_t length;
	uint32_t group;
	struct hog_shared *shared;
};

static bool hog_take(struct hog_self *h, bool all)
{
	struct uvm_migrate *m = &h->shared->m;

	if (to_gpu(&h->f, h->p, h->length, m))
		return false;
	expect_accounts(m);
	if (m->out_done != h->length)
		return false;
	return !all || m->out_moved + m->out_already == h->length / PAGE;
}

static bool hog_use(struct hog_self *h)
{
	const uint64_t key = getpid();

	fix_xor(&h->f, h->p, h->length, key);
	fix_xor(&h->f, h->p, h->length, key);
	return true;
}

static bool hog_home(struct hog_self *h)
{
	struct uvm_migrate m;

	return !migrate(h->f.s.fd, h->p, h->length, UVM_DEST_CPU, 0, NULL, &m);
}

static bool hog_allow(struct hog_self *h, bool allow)
{
	int fd = h->f.s.fd;

	if (!h->group && (group_create(fd, &h->group) ||
			  policy_group(fd, h->p, h->length, h->group)))
		return false;
	return !group_allow(fd, h->group, allow);
}

static bool hog_do(struct hog_self *h, int what)
{
	switch (what) {
	case HOG_TAKE:
		return hog_take(h, true);
	case HOG_TRY:
		return hog_take(h, false);
	case HOG_USE:
		return hog_use(h);
	case HOG_WHERE:
		h->shared->where = fix_tally(&h->f, h->p, h->length);
		return true;
	case HOG_CHECK:
		return pattern_check(h->p, h->length, getpid()) == -1;
	case HOG_HOME:
		return hog_home(h);
	case HOG_RESERVE:
		return !limit_pages(&h->f, 0, h->length / PAGE);
	case HOG_UNRESERVE:
		return !limit_pages(&h->f, 0, 0);
	case HOG_FORBID:
		return hog_allow(h, false);
	case HOG_ALLOW:
		return hog_allow(h, true);
	}
	return false;
}

/* Every other time by faults; it can't know whether its pages are left alone. */
static bool hog_go_on(struct hog_self *h)
{
	bool good = true;

	while (good && !h->shared->stop) {
		good = hog_take(h, false) && (h->shared->turns % 4 || hog_use(h));
		h->shared->turns++;
	}
	return good;
}

#define HOG_RUN		'R'
#define HOG_END		'e'

/* Who tells it what to do may take his time. */
static int hog_listen(int end)
{
	char what;

	return recv(end, &what, 1, 0) == 1 ? what : -1;
}

static void hog_main(struct hog_self *h, const struct variant *v, int end)
{
	bool good;
	int what;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fix_open(&h->f, v);
	h->p = aligned_pattern(&h->f, h->length, getpid());
	tell(end, 'r');
	while ((what = hog_listen(end)) > 0 && what != HOG_END) {
		good = what == HOG_RUN ? hog_go_on(h) : hog_do(h, what);
		tell(end, good ? '.' : '!');
	}
	fix_close(&h->f);
	child_exit();
}

void hog_start(struct hog *h, const struct variant *v, size_t length)
{
	struct hog_self self = { .length = length };
	int ends[2];

	*h = (struct hog){ .shared = shared_page(), .pages = length / PAGE };
	self.shared = h->shared;
	link_new(ends);
	h->pid = child();
	if (!h->pid) {
		close(ends[0]);
		hog_main(&self, v, ends[1]);
	}
	close(ends[1]);
	h->end = ends[0];
	ASSERT_EQ(hear(h->end), 'r');
}

int hog_ask(struct hog *h, char what)
{
	tell(h->end, what);
	return hear(h->end);
}

void hog_run(struct hog *h)
{
	h->shared->stop = false;
	tell(h->end, HOG_RUN);
}

void hog_rest(struct hog *h)
{
	h->shared->stop = true;
	EXPECT_EQ(hear(h->end), '.');
}

void hog_end(struct hog *h)
{
	/* whoever was forked since has its end, too, so closing it says nothing */
	tell(h->end, HOG_END);
	close(h->end);
	EXPECT_EQ(child_wait(h->pid), 0);
	munmap(h->shared, PAGE);
}

unsigned long hog_on_gpu(struct hog *h)
{
	ASSERT_EQ(hog_ask(h, HOG_WHERE), '.');
	return h->shared->where.gpu;
}
