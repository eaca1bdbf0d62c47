// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves whose pages go when a GPU's memory runs out, and whose don't: pages that are no
 * longer where they were, of dead processes' children and of forked ones; what limits,
 * reservations and range groups keep back; and processes that nobody can take pages from
 * for a while. The rest of eviction: oversubscription.c, crowds.c.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "lib_lifetime.h"
#include "lib_policy.h"
#include "lib_pressure.h"
#include "lib_sim.h"
#include "lib_uvm.h"

#define NR(array)	(sizeof(array) / sizeof((array)[0]))

/* ---- pages that aren't where they were ---- */

enum moving { ALL, A_PART, SOURCE_STAYS, EXCHANGED, NR_MOVINGS };

/* @p has two blocks; returns where the first of them is now, as far as it moved. */
static char *move_mapping(struct fix *f, char *p, enum moving how, size_t *from,
			  size_t *pages)
{
	char *to = aligned_buffer(f, 2 * HUGE);
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	*from = how == A_PART ? 100 : 0;
	*pages = how == A_PART ? 300 : 2 * BLOCK_PAGES;
	if (how == SOURCE_STAYS)
		flags |= MREMAP_DONTUNMAP;
	/* off by a page: no block is a block any more */
	if (how == EXCHANGED) {
		*pages = BLOCK_PAGES;
		ASSERT_TRUE(mremap(p, HUGE, HUGE, flags, to + HUGE - PAGE) ==
			    to + HUGE - PAGE);
		return to + HUGE - PAGE;
	}
	ASSERT_TRUE(mremap(p + *from * PAGE, *pages * PAGE, *pages * PAGE, flags,
			   to + *from * PAGE) == to + *from * PAGE);
	return to + *from * PAGE;
}

/*
 * Three processes. Two take all that they easily get, and don't give it away again. If
 * anything is left that isn't theirs, it's what is hard to find; the third one gets it,
 * if it insists, since there is nothing else.
 */
struct takers {
	struct hog big;
	struct hog rest;
	struct hog small;
};

#define INSIST		50
#define INSIST_NS	100000000

static void takers_start(struct takers *t, const struct variant *v, size_t room)
{
	hog_start(&t->big, v, ENOUGH(room));
	hog_start(&t->rest, v, room * PAGE);
	hog_start(&t->small, v, HUGE);
}

static void take_rest(struct takers *t)
{
	HOG_DO(&t->rest, HOG_ALLOW);
	HOG_DO(&t->rest, HOG_TRY);
	HOG_DO(&t->rest, HOG_FORBID);
	HOG_DO(&t->small, HOG_HOME);
}

/* Pages of others; the rest is free, or theirs. */
static long not_theirs(struct takers *t, struct fix *f)
{
	long theirs = hog_on_gpu(&t->big) + hog_on_gpu(&t->rest) + hog_on_gpu(&t->small);
	struct memory m;

	memory_of(f, &m);
	return m.used - theirs;
}

static void takers_take(struct takers *t, struct fix *f)
{
	struct timespec pause = { .tv_nsec = INSIST_NS };
	int i;

	HOG_DO(&t->big, HOG_TAKE);
	HOG_DO(&t->big, HOG_FORBID);
	take_rest(t);
	for (i = 0; i < INSIST && not_theirs(t, f); i++) {
		HOG_DO(&t->small, HOG_TRY);
		take_rest(t);
		nanosleep(&pause, NULL);
	}
	EXPECT_EQ(not_theirs(t, f), 0);
	HOG_DO(&t->big, HOG_ALLOW);
	HOG_DO(&t->rest, HOG_ALLOW);
	HOG_DO(&t->big, HOG_HOME);
	HOG_DO(&t->rest, HOG_HOME);
}

static void takers_end(struct takers *t)
{
	HOG_DO(&t->big, HOG_CHECK);
	HOG_DO(&t->rest, HOG_CHECK);
	HOG_DO(&t->small, HOG_CHECK);
	hog_end(&t->big);
	hog_end(&t->rest);
	hog_end(&t->small);
}

static void expect_moved_evicted(struct fix *f, struct takers *t, enum moving how)
{
	char *p = aligned_pattern(f, 2 * HUGE, 11), *q;
	size_t from, pages;

	expect_taken(f, p, 2 * HUGE);
	q = move_mapping(f, p, how, &from, &pages);
	expect_there(f, q, pages);
	takers_take(t, f);
	expect_gone(f, q, pages);
	EXPECT_EQ(pattern_check_from(q, pages * PAGE, 11, from), -1);
	if (how == SOURCE_STAYS)
		EXPECT_BYTES(p, 2 * HUGE, 0);
	if (how == A_PART) {
		EXPECT_PATTERN(p, from * PAGE, 11);
		from += pages;
		expect_gone(f, p + from * PAGE, 2 * BLOCK_PAGES - from);
		EXPECT_EQ(pattern_check_from(p + from * PAGE, 2 * HUGE - from * PAGE,
					     11, from), -1);
	}
	munmap(q, pages * PAGE);
	if (how != ALL)
		munmap(p, 2 * HUGE);
}

TEST_VT(moved_elsewhere, devices_huge, 60)
{
	size_t room = pressure_need(v);
	unsigned int step = harness_stride(2), how;
	struct takers t;
	struct fix f;

	takers_start(&t, v, room);
	fix_open(&f, v);
	for (how = harness_seed % step; how < NR_MOVINGS; how += step)
		expect_moved_evicted(&f, &t, how);
	takers_end(&t);
	fix_close(&f);
}

/* The child has the pages, and never had a VA space; its parent is dead. */
static void orphan(const struct variant *v, int end)
{
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = aligned_pattern(&f, 2 * HUGE, 12);
	expect_taken(&f, p, 2 * HUGE);
	pid = child();
	if (pid)
		child_exit();
	tell(end, 'r');
	ASSERT_EQ(hear(end), 'g');
	EXPECT_PATTERN(p, 2 * HUGE, 12);
	pattern_fill(p, 2 * HUGE, 13);
	tell(end, '.');
	ASSERT_EQ(hear(end), 'e');
	EXPECT_PATTERN(p, 2 * HUGE, 13);
	tell(end, 'x');
	child_exit();
}

TEST_VT(parent_dead, devices_huge, 60)
{
	size_t room = pressure_need(v);
	struct takers t;
	struct memory m;
	struct fix f;
	int ends[2];
	pid_t pid;

	takers_start(&t, v, room);
	link_new(ends);
	pid = child();
	if (!pid)
		orphan(v, ends[1]);
	EXPECT_EQ(child_wait(pid), 0);
	ASSERT_EQ(hear(ends[0]), 'r');
	fix_open(&f, v);
	memory_of(&f, &m);
	EXPECT_EQ(m.used, 2 * BLOCK_PAGES);
	/* all of the memory can be had, what nobody's VA space knows included */
	takers_take(&t, &f);
	tell(ends[0], 'g');
	ASSERT_EQ(hear(ends[0]), '.');
	takers_take(&t, &f);
	tell(ends[0], 'e');
	ASSERT_EQ(hear(ends[0]), 'x');
	takers_end(&t);
	fix_close(&f);
}

static void forked_child(char *p, int end)
{
	ASSERT_EQ(hear(end), 'g');
	EXPECT_PATTERN(p, 2 * HUGE, 14);
	/* a part, and the others are shared still */
	pattern_fill(p, 100 * PAGE, 15);
	tell(end, '.');
	ASSERT_EQ(hear(end), 'g');
	EXPECT_PATTERN(p, 100 * PAGE, 15);
	EXPECT_EQ(pattern_check_from(p + 100 * PAGE, 2 * HUGE - 100 * PAGE, 14, 100), -1);
	tell(end, '.');
	child_exit();
}

/* Pages that two processes have go home for both of them. */
TEST_VT(forked, devices_huge, 60)
{
	size_t room = pressure_need(v);
	struct hog h;
	struct fix f;
	int ends[2];
	pid_t pid;
	char *p;

	hog_start(&h, v, ENOUGH(room));
	fix_open(&f, v);
	p = aligned_pattern(&f, 2 * HUGE, 14);
	expect_taken(&f, p, 2 * HUGE);
	link_new(ends);
	pid = child();
	if (!pid)
		forked_child(p, ends[1]);
	HOG_DO(&h, HOG_TAKE);
	EXPECT_GE(hog_on_gpu(&h), room - BLOCK_PAGES);
	tell(ends[0], 'g');
	ASSERT_EQ(hear(ends[0]), '.');
	/* the parent's own by now, or not: its stores are nobody else's */
	fix_xor(&f, p, 2 * HUGE, 16);
	HOG_DO(&h, HOG_TAKE);
	tell(ends[0], 'g');
	ASSERT_EQ(hear(ends[0]), '.');
	cpu_xor(p, 2 * HUGE, 16);
	EXPECT_PATTERN(p, 2 * HUGE, 14);
	EXPECT_EQ(child_wait(pid), 0);
	hog_end(&h);
	fix_close(&f);
}

/* What is unmapped is forgotten: what comes to its addresses next is new. */
TEST_VT(new_is_no_refault, devices, 60)
{
	size_t room = pressure_need(v);
	struct memory before, after;
	struct fix f;
	char *p, *other;

	fix_open(&f, v);
	p = aligned_pattern(&f, HUGE, 40);
	other = aligned_pattern(&f, ENOUGH(room), 41);
	expect_taken(&f, p, HUGE);
	/* the GPU works there, or nobody tells the driver of the unmapping */
	fix_fill(&f, p, HUGE, 7);
	expect_taken(&f, other, ENOUGH(room));
	expect_gone(&f, p, BLOCK_PAGES);
	memory_of(&f, &before);
	ASSERT_EQ(mmap(p, HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), p);
	expect_taken(&f, p, HUGE);
	memory_of(&f, &after);
	EXPECT_EQ(after.my_refaulted, before.my_refaulted);
	EXPECT_BYTES(p, HUGE, 0);
	/* of what wasn't unmapped it counts, as ever */
	expect_taken(&f, other, ENOUGH(room));
	memory_of(&f, &after);
	EXPECT_GT(after.my_refaulted, before.my_refaulted);
	fix_close(&f);
}

/* ---- limits ---- */

/* What is hard to find may not be found at once. */
static bool soon_taken(struct fix *f, const char *p, size_t length)
{
	struct timespec pause = { .tv_nsec = INSIST_NS };
	struct uvm_migrate m;
	int i;

	for (i = 0; i < INSIST; i++) {
		ASSERT_RET(to_gpu(f, p, length, &m), 0);
		expect_accounts(&m);
		if (m.out_moved + m.out_already == length / PAGE)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

struct watch {
	struct fix *f;
	long most;
	unsigned long looks;
	atomic_bool stop;
	pthread_t thread;
};

static void *watch_mine(void *arg)
{
	struct watch *w = arg;
	struct memory m;

	while (!w->stop) {
		memory_of(w->f, &m);
		if (m.mine > w->most)
			w->most = m.mine;
		w->looks++;
		tick();
	}
	return NULL;
}

static void watch_start(struct watch *w, struct fix *f)
{
	*w = (struct watch){ .f = f };
	ASSERT_EQ(pthread_create(&w->thread, NULL, watch_mine, w), 0);
}

static void watch_end(struct watch *w, long limit)
{
	w->stop = true;
	pthread_join(w->thread, NULL);
	EXPECT_GT(w->looks, 0);
	EXPECT_LE(w->most, limit);
}

/* A process over its limit evicts its own pages, and nobody else's. */
TEST_VT(limit, devices_huge_managed, 60)
{
	size_t room = pressure_need(v);
	const long limit = 2 * BLOCK_PAGES;
	struct memory before, m;
	struct watch w;
	struct hog h;
	struct fix f;
	struct set s;

	hog_start(&h, v, HUGE);
	fix_open(&f, v);
	set_make(&s, &f, room * PAGE, 18);
	HOG_DO(&h, HOG_TAKE);
	ASSERT_RET(limit_pages(&f, limit, 0), 0);
	memory_of(&f, &before);
	EXPECT_EQ(before.limit, limit);
	watch_start(&w, &f);
	expect_taken(&f, s.p, set_size(&s));
	EXPECT_GE(fix_on_gpu(&f, s.p, set_size(&s)), limit / 2);
	EXPECT_EQ(hog_on_gpu(&h), BLOCK_PAGES);
	/* by faults */
	set_turn_all(&s);
	set_check_by_gpu(&s);
	watch_end(&w, limit);
	EXPECT_EQ(hog_on_gpu(&h), BLOCK_PAGES);
	memory_of(&f, &m);
	EXPECT_EQ(m.evicted - before.evicted, m.my_evicted);
	/* less: the next one that moves is what makes it so */
	ASSERT_RET(limit_pages(&f, BLOCK_PAGES, 0), 0);
	expect_taken(&f, s.p, HUGE);
	memory_of(&f, &m);
	EXPECT_LE(m.mine, BLOCK_PAGES);
	/* no more */
	ASSERT_RET(limit_pages(&f, 0, 0), 0);
	expect_taken(&f, s.p, 3 * HUGE);
	expect_there(&f, s.p, 3 * BLOCK_PAGES);
	set_check_by_cpu(&s);
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
	fix_close(&f);
}

/* Pages that moved elsewhere count, and can be had for the limit's sake. */
TEST_VT(limit_moved, devices_huge, 60)
{
	struct fix f;
	char *p, *q, *to;

	pressure_need(v);
	fix_open(&f, v);
	p = aligned_pattern(&f, HUGE, 32);
	q = aligned_pattern(&f, HUGE, 33);
	to = aligned_buffer(&f, HUGE);
	ASSERT_RET(limit_pages(&f, BLOCK_PAGES, 0), 0);
	expect_taken(&f, p, HUGE);
	ASSERT_TRUE(mremap(p, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	EXPECT_TRUE(soon_taken(&f, q, HUGE));
	expect_there(&f, q, BLOCK_PAGES);
	expect_gone(&f, to, BLOCK_PAGES);
	EXPECT_PATTERN(to, HUGE, 32);
	EXPECT_PATTERN(q, HUGE, 33);
	fix_close(&f);
}

/* What is reserved isn't for others, however much they want. */
TEST_VT(reservation, devices_huge_managed, 60)
{
	size_t room = pressure_need(v);
	struct hog h;
	struct fix f;
	struct set s;

	hog_start(&h, v, HUGE);
	fix_open(&f, v);
	set_make(&s, &f, 2 * room * PAGE, 19);
	HOG_DO(&h, HOG_TAKE);
	HOG_DO(&h, HOG_RESERVE);
	expect_taken(&f, s.p, set_size(&s));
	EXPECT_EQ(hog_on_gpu(&h), BLOCK_PAGES);
	set_turn_all(&s);
	set_check_by_gpu(&s);
	EXPECT_EQ(hog_on_gpu(&h), BLOCK_PAGES);
	HOG_DO(&h, HOG_UNRESERVE);
	expect_taken(&f, s.p, set_size(&s));
	EXPECT_EQ(hog_on_gpu(&h), 0);
	set_check_by_cpu(&s);
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
	fix_close(&f);
}

/* ---- what stays ---- */

/* Pages whose migration is forbidden stay, as long as there is anything else. */
TEST_VT(forbidden_stays, devices_huge_managed, 60)
{
	size_t room = pressure_need(v);
	struct hog h;
	struct fix f;
	struct set s;
	uint32_t group;
	char *p;

	hog_start(&h, v, ENOUGH(room));
	fix_open(&f, v);
	p = aligned_pattern(&f, HUGE, 20);
	set_make(&s, &f, room * PAGE, 21);
	expect_taken(&f, p, HUGE);
	ASSERT_RET(group_create(f.s.fd, &group), 0);
	ASSERT_RET(policy_group(f.s.fd, p, HUGE, group), 0);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	expect_taken(&f, s.p, set_size(&s));
	expect_there(&f, p, BLOCK_PAGES);
	HOG_DO(&h, HOG_TAKE);
	expect_there(&f, p, BLOCK_PAGES);
	expect_gone(&f, s.p, room);
	set_turn_all(&s);
	expect_there(&f, p, BLOCK_PAGES);
	ASSERT_RET(group_allow(f.s.fd, group, 1), 0);
	HOG_DO(&h, HOG_TAKE);
	expect_gone(&f, p, BLOCK_PAGES);
	EXPECT_PATTERN(p, HUGE, 20);
	set_check_by_cpu(&s);
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
	fix_close(&f);
}

#define MANY_BLOCKS	40

/* However many such blocks there are, and however old: others can be had. */
TEST_VT(forbidden_in_many, devices_managed, 60)
{
	size_t room = pressure_need(v), want = 2 * HUGE;
	struct hog h;
	struct fix f;
	uint32_t group;
	char *p, *q;

	hog_start(&h, v, ENOUGH(room));
	fix_open(&f, v);
	p = aligned_buffer(&f, MANY_BLOCKS * HUGE);
	take_sparse(&f, p, MANY_BLOCKS, 29);
	ASSERT_RET(group_create(f.s.fd, &group), 0);
	ASSERT_RET(policy_group(f.s.fd, p, MANY_BLOCKS * HUGE, group), 0);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	HOG_DO(&h, HOG_TAKE);
	q = aligned_pattern(&f, want, 30);
	expect_taken(&f, q, want);
	EXPECT_EQ(sparse_on_gpu(&f, p, MANY_BLOCKS), MANY_BLOCKS * UNIT_PAGES);
	check_sparse(p, MANY_BLOCKS, 29);
	EXPECT_PATTERN(q, want, 30);
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
	fix_close(&f);
}

/* All of the memory is such: who wants it is told, and his GPU works where the page is. */
TEST_VT(all_forbidden, devices_huge_managed, 60)
{
	size_t room = pressure_need(v);
	struct uvm_migrate m;
	struct hog h;
	struct fix f;
	struct set s;

	hog_start(&h, v, ENOUGH(room));
	fix_open(&f, v);
	set_make(&s, &f, HUGE, 22);
	HOG_DO(&h, HOG_TAKE);
	HOG_DO(&h, HOG_FORBID);
	ASSERT_RET(to_gpu(&f, s.p, HUGE, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_NO_MEMORY], BLOCK_PAGES - m.out_moved);
	EXPECT_GE(hog_on_gpu(&h), room - BLOCK_PAGES);
	set_turn_all(&s);
	set_check_by_gpu(&s);
	EXPECT_EQ(fix_on_gpu(&f, s.p, HUGE), m.out_moved);
	set_check_by_cpu(&s);
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
	fix_close(&f);
}

/* A preference is for where a page had better be, and keeps nobody out. */
TEST_VT(preferred_goes, devices_huge_managed, 60)
{
	size_t room = pressure_need(v);
	struct fix f;
	struct set s;
	char *other;

	fix_open(&f, v);
	set_make(&s, &f, 2 * HUGE, 23);
	other = aligned_pattern(&f, ENOUGH(room), 24);
	ASSERT_RET(policy_prefer(f.s.fd, s.p, set_size(&s), UVM_DEST_GPU, 0, f.gpu.uuid),
		   0);
	ASSERT_RET(policy_accessed_by(f.s.fd, s.p, set_size(&s), f.gpu.uuid, 1), 0);
	set_turn_all(&s);
	expect_there(&f, s.p, 2 * BLOCK_PAGES);
	expect_taken(&f, other, ENOUGH(room));
	expect_gone(&f, s.p, 2 * BLOCK_PAGES);
	set_check_by_gpu(&s);
	set_check_by_cpu(&s);
	EXPECT_PATTERN(other, ENOUGH(room), 24);
	fix_close(&f);
}

/* ---- a process that nobody can take pages from for a while ---- */

/*
 * A thread of it moves a page to the second GPU, whose copy hangs: it has the mmap lock
 * for reading until the engine is reset. Another one waits to write it, and so nobody
 * else gets it for reading either.
 */
struct stuck {
	pid_t pid;
	int mover[2];
	int writer[2];
	size_t many;		/* blocks of which it has a unit each */
	struct uvm_gpu_info gpu2;
	struct {
		atomic_int tid;
		atomic_bool over;
	} *shared;
};

static void *stuck_writer(void *arg)
{
	struct stuck *s = arg;

	s->shared->tid = syscall(SYS_gettid);
	ASSERT_EQ(hear(s->writer[1]), 'w');
	anon(PAGE, PROT_READ, 0);
	return NULL;
}

static void stuck_main(struct stuck *s, const struct variant *v, size_t length)
{
	char *p, *q, *many;
	struct fix f;
	pthread_t thread;
	struct uvm_migrate m;

	fix_pair(&f, v);
	p = aligned_pattern(&f, length, 25);
	q = aligned_pattern(&f, HUGE, 26);
	many = aligned_buffer(&f, MANY_BLOCKS * HUGE);
	take_sparse(&f, many, s->many, 31);
	expect_taken(&f, p, length);
	ASSERT_EQ(pthread_create(&thread, NULL, stuck_writer, s), 0);
	ASSERT_TRUE(WAIT_FOR(s->shared->tid));
	tell(s->mover[1], 'r');
	ASSERT_EQ(hear(s->mover[1]), 'g');
	ASSERT_RET(migrate(f.s.fd, q, PAGE, UVM_DEST_GPU, 0, f.gpu2.uuid, &m), 0);
	s->shared->over = true;
	pthread_join(thread, NULL);
	tell(s->mover[1], 'o');
	/* until the test is done with it */
	ASSERT_EQ(hear(s->mover[1]), 'e');
	check_sparse(many, s->many, 31);
	EXPECT_PATTERN(p, length, 25);
	EXPECT_PATTERN(q, HUGE, 26);
	fix_close(&f);
	child_exit();
}

/* Before anything else: it is forked here, and stuck_now() sets it going. */
static void stuck_start(struct stuck *s, const struct variant *v, size_t length,
			size_t many)
{
	s->many = many;
	gpu_need(v->kind, 1, &s->gpu2);
	s->shared = shared_page();
	link_new(s->mover);
	link_new(s->writer);
	s->pid = child();
	if (!s->pid)
		stuck_main(s, v, length);
	ASSERT_EQ(hear(s->mover[0]), 'r');
}

static bool waits_for_lock(const struct stuck *s)
{
	char path[64], text[400];
	const char *state;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", s->pid, s->shared->tid);
	if (!read_text(path, text, sizeof(text)))
		return false;
	state = strrchr(text, ')');
	return state && state[2] == 'D';
}

static void stuck_now(struct stuck *s)
{
	sim_knob(&s->gpu2, "hang_copy", 1);
	tell(s->mover[0], 'g');
	ASSERT_TRUE(WAIT_FOR(!sim_knob_left(&s->gpu2, "hang_copy")));
	tell(s->writer[0], 'w');
	ASSERT_TRUE(WAIT_FOR(waits_for_lock(s)));
	ASSERT_TRUE(!s->shared->over);
}

static void stuck_over(struct stuck *s)
{
	ASSERT_EQ(hear(s->mover[0]), 'o');
}

static void stuck_end(struct stuck *s)
{
	tell(s->mover[0], 'e');
	EXPECT_EQ(child_wait(s->pid), 0);
}

/* Its pages are the oldest; then it is others' turn, at once. */
static void pass_by_stuck(const struct variant *v, size_t many)
{
	size_t room = pressure_need(v), half = room / 2;
	struct stuck s;
	struct hog h;
	struct fix f;
	char *p;

	stuck_start(&s, v, half * PAGE - many * UNIT, many);
	hog_start(&h, v, half * PAGE);
	HOG_DO(&h, HOG_TAKE);
	fix_open(&f, v);
	p = aligned_pattern(&f, half * PAGE, 27);
	stuck_now(&s);
	expect_taken(&f, p, half * PAGE);
	EXPECT_TRUE(!s.shared->over);
	EXPECT_EQ(hog_on_gpu(&h), 0);
	expect_there(&f, p, half);
	stuck_over(&s);
	/* and now they can be had */
	HOG_DO(&h, HOG_TAKE);
	expect_taken(&f, p, half * PAGE);
	stuck_end(&s);
	EXPECT_PATTERN(p, half * PAGE, 27);
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
	fix_close(&f);
}

TEST_VT(stuck_victim, devices_managed, 60)
{
	pass_by_stuck(v, 0);
}

TEST_VT(stuck_in_many, devices_managed, 60)
{
	pass_by_stuck(v, MANY_BLOCKS);
}

/* Nobody else has anything: no memory now, which is said at once; and work goes on. */
TEST_VT(all_stuck, devices_managed, 60)
{
	size_t room = pressure_need(v);
	struct uvm_migrate m;
	struct stuck stuck;
	struct fix f;
	struct set s;

	stuck_start(&stuck, v, room * PAGE, 0);
	fix_open(&f, v);
	set_make(&s, &f, HUGE, 28);
	stuck_now(&stuck);
	ASSERT_RET(to_gpu(&f, s.p, HUGE, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_NO_MEMORY] + m.out_skipped[UVM_SKIP_BUSY],
		  BLOCK_PAGES - m.out_moved);
	EXPECT_LT(m.out_moved, BLOCK_PAGES);
	EXPECT_EQ(fix_on_cpu(&f, s.p, HUGE), BLOCK_PAGES - m.out_moved);
	set_turn_all(&s);
	set_check_by_gpu(&s);
	EXPECT_TRUE(!stuck.shared->over);
	stuck_over(&stuck);
	expect_taken(&f, s.p, HUGE);
	set_check_by_gpu(&s);
	stuck_end(&stuck);
	set_check_by_cpu(&s);
	fix_close(&f);
}

static void __attribute__((constructor)) install(void)
{
	clean_up_install();
}

HARNESS_MAIN()
