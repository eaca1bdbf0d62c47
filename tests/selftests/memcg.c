// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves what memory control groups see of pages in a GPU's memory: they are charged
 * wherever they are, as often as they travel; what can't be charged isn't populated, and
 * is told; a group that has more than it may is the one whose processes die of it; and
 * work on more than there is, of GPU memory and of the group's, ends with the right bytes
 * or with the group's own OOM kill.
 *
 * Pages in a GPU's memory can't be reclaimed by the group: it doesn't find them.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "harness.h"
#include "lib_cgroup.h"
#include "lib_lifetime.h"
#include "lib_pressure.h"
#include "lib_uvm.h"

#define NR(array)	(sizeof(array) / sizeof((array)[0]))
#define MIB		(1UL << 20)

/* ---- charged wherever they are ---- */

#define ROUNDS	100

struct charge {
	long all;
	long anon;
};

static struct charge charge_of(const struct group *g)
{
	return (struct charge){
		.all = group_current(g),
		.anon = group_number(g, "memory.stat", "anon") / PAGE,
	};
}

static void expect_charge(const struct group *g, const struct charge *want,
			  const char *where)
{
	struct charge now = charge_of(g);

	harness_check(labs(now.all - want->all) <= group_slack(), false, __FILE__,
		      __LINE__, "%s: %ld pages are charged, and were %ld", where, now.all,
		      want->all);
	harness_check(labs(now.anon - want->anon) <= group_slack(), false, __FILE__,
		      __LINE__, "%s: %ld anonymous pages, and were %ld", where, now.anon,
		      want->anon);
}

static void touch(const char *p, size_t length)
{
	size_t i;

	for (i = 0; i < length; i += PAGE)
		*(volatile const char *)(p + i);
}

/* The two ways there, with the two ways back */
static void go_there(struct fix *f, const char *p, size_t length, bool by_fault)
{
	if (by_fault)
		fix_gpu_sum(f, p, length);
	else
		fix_to_gpu(f, p, length);
	EXPECT_GT(fix_on_gpu(f, p, length), 0);
}

static void come_back(struct fix *f, const char *p, size_t length, bool by_fault)
{
	if (by_fault && f->gpu.memory_kind == UVM_MEMORY_PRIVATE)
		touch(p, length);
	else
		fix_to_cpu(f, p, length);
	EXPECT_EQ(fix_on_gpu(f, p, length), 0);
}

static void traveller(const struct variant *v, const struct group *g)
{
	struct charge start, home;
	struct fix f;
	unsigned int i;
	char *p;

	group_enter(g);
	fix_open(&f, v);
	start = charge_of(g);
	p = aligned_pattern(&f, HUGE, 1);
	/* page tables of both, and whatever else the first time takes */
	for (i = 0; i < 4; i++) {
		go_there(&f, p, HUGE, i & 1);
		come_back(&f, p, HUGE, i & 2);
	}
	home = charge_of(g);
	EXPECT_GE(home.all - start.all, (long)BLOCK_PAGES - group_slack());
	for (i = 0; i < ROUNDS; i++) {
		go_there(&f, p, HUGE, i & 1);
		expect_charge(g, &home, "on the GPU");
		come_back(&f, p, HUGE, i & 2);
		expect_charge(g, &home, "at home");
	}
	EXPECT_PATTERN(p, HUGE, 1);
	munmap(p, HUGE);
	expect_charge(g, &start, "unmapped");
	/* what is freed there is uncharged, too */
	p = aligned_pattern(&f, HUGE, 2);
	fix_to_gpu(&f, p, HUGE);
	munmap(p, HUGE);
	expect_charge(g, &start, "unmapped on the GPU");
	/* and a hole that is populated there is charged */
	p = aligned_buffer(&f, HUGE);
	fix_to_gpu(&f, p, HUGE);
	EXPECT_GE(charge_of(g).all - start.all, (long)BLOCK_PAGES - group_slack());
	munmap(p, HUGE);
	expect_charge(g, &start, "a hole, unmapped");
	fix_close(&f);
	child_exit();
}

TEST_VT(charge_constant, devices_huge, 60)
{
	struct group g;
	pid_t pid;

	pressure_need(v);
	group_new(&g);
	pid = child();
	if (!pid)
		traveller(v, &g);
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_EQ(group_kills(&g), 0);
	group_end(&g);
}

static void evicted(const struct variant *v, const struct group *g, int end)
{
	struct charge home;
	struct fix f;
	char *p;

	group_enter(g);
	fix_open(&f, v);
	p = aligned_pattern(&f, HUGE, 3);
	go_there(&f, p, HUGE, false);
	come_back(&f, p, HUGE, false);
	home = charge_of(g);
	tell(end, 'r');
	while (hear(end) == 't') {
		expect_taken(&f, p, HUGE);
		expect_charge(g, &home, "on the GPU");
		tell(end, '.');
		ASSERT_EQ(hear(end), 'e');
		EXPECT_EQ(fix_on_gpu(&f, p, HUGE), 0);
		expect_charge(g, &home, "evicted");
		tell(end, '.');
	}
	EXPECT_PATTERN(p, HUGE, 3);
	fix_close(&f);
	child_exit();
}

/* Who evicts them, from another group, isn't who pays for them. */
TEST_VT(charge_evicted, devices_huge, 60)
{
	size_t room = pressure_need(v);
	unsigned int i, rounds = slow_kernel() ? 4 : harness_rounds(20);
	struct charge others;
	struct group g, theirs;
	int ends[2];
	struct hog h;
	pid_t pid;

	group_new(&g);
	group_new(&theirs);
	link_new(ends);
	pid = child();
	if (!pid)
		evicted(v, &g, ends[1]);
	group_enter(&theirs);
	hog_start(&h, v, 2 * room * PAGE);
	group_leave();
	ASSERT_EQ(hear(ends[0]), 'r');
	HOG_DO(&h, HOG_TAKE);
	others = charge_of(&theirs);
	for (i = 0; i < rounds; i++) {
		tell(ends[0], 't');
		ASSERT_EQ(hear(ends[0]), '.');
		HOG_DO(&h, HOG_TAKE);
		expect_charge(&theirs, &others, "who evicted them");
		tell(ends[0], 'e');
		ASSERT_EQ(hear(ends[0]), '.');
	}
	tell(ends[0], 'x');
	EXPECT_EQ(child_wait(pid), 0);
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
	group_end(&g);
	group_end(&theirs);
}

/* ---- at the limit ---- */

#define FEW_PAGES	4UL	/* the kernel tells a long story of each */
#define FEW		(FEW_PAGES * PAGE)

/* The process takes no page from now on that it isn't told to: it would wait for ever. */
static void settle_in(void)
{
	volatile char stack[64 << 10];
	size_t i;

	for (i = 0; i < sizeof(stack); i += PAGE / 2)
		stack[i] = 1;
	ASSERT_EQ(mlockall(MCL_CURRENT), 0);
}

/* Pages that nobody has charged: holes, and the zero page */
static unsigned int holes(struct fix *f, const char *p)
{
	static struct uvm_page_state st[FEW_PAGES];
	unsigned int i, n = 0;

	ASSERT_RET(residency(f->s.fd, p, FEW, st), 0);
	for (i = 0; i < FEW_PAGES; i++)
		n += st[i].where != UVM_WHERE_GPU && !(st[i].prot & UVM_PAGE_WRITE);
	return n;
}

/* The only channel there is: at the limit no other one could be had. */
static void expect_no_page(struct fix *f, char *p)
{
	struct uvm_sim_cmd store = CMD(FILL, .dst = ADDR(p), .length = 8, .arg0 = 1);
	struct uvm_channel_query q;

	EXPECT_RET(channel_run(f->s.fd, f->channel, &store, 1), -ECANCELED);
	ASSERT_RET(channel_query(f->s.fd, f->channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_FAULTED);
	EXPECT_EQ(q.out_reason, UVM_FAULT_NO_MEMORY);
	EXPECT_EQ(q.out_access, UVM_ACCESS_WRITE);
	EXPECT_EQ(q.out_address, ADDR(p));
}

/* The first ones that are refused: what was charged ahead of time is used up before. */
static char *first_refused(struct fix *f, char *p, struct uvm_migrate *m)
{
	char *end = p + HUGE;

	for (; p < end; p += FEW) {
		ASSERT_RET(to_gpu(f, p, FEW, m), 0);
		expect_accounts(m);
		EXPECT_EQ(m->out_done, FEW);
		if (!m->out_moved)
			break;
	}
	ASSERT_TRUE(p < end);
	return p;
}

/* They take turns by this, for a message needs memory. Touched before the limit is. */
enum turn { OURS, LOWER, LOWERED_NOW, RAISE, RAISED_NOW };

static bool turn_comes(const atomic_int *turn, enum turn want)
{
	return WAIT_FOR(*turn == (int)want);
}

static void refused(const struct variant *v, const struct group *g, atomic_int *turn)
{
	char *filler, *area, *p;
	struct memory before, m;
	struct uvm_migrate mig;
	struct fix f;

	group_enter(g);
	ASSERT_TRUE(write_text("/proc/self/oom_score_adj", "-1000"));
	fix_open(&f, v);
	settle_in();
	filler = aligned_pattern(&f, HUGE, 4);
	expect_taken(&f, filler, HUGE);
	area = aligned_buffer(&f, HUGE);
	/* its page tables, too */
	area[HUGE - 1] = 0;
	*turn = LOWER;
	ASSERT_TRUE(turn_comes(turn, LOWERED_NOW));
	p = first_refused(&f, area, &mig);
	memory_of(&f, &before);
	EXPECT_EQ(mig.out_skipped[UVM_SKIP_NO_MEMORY] + mig.out_skipped[UVM_SKIP_BUSY],
		  FEW_PAGES);
	EXPECT_EQ(holes(&f, p), FEW_PAGES);
	/* and by a fault: what isn't there can't be used where it is either */
	expect_no_page(&f, p);
	/*
	 * What another CPU had charged ahead of time may come free in between. Then the
	 * page is there after all, and it's what the driver needs to map it that isn't.
	 */
	EXPECT_GE(holes(&f, p), FEW_PAGES - 1);
	EXPECT_EQ(fix_on_gpu(&f, p, FEW), 0);
	memory_of(&f, &m);
	EXPECT_EQ(m.mine, before.mine);
	EXPECT_EQ(m.used, before.used);
	*turn = RAISE;
	ASSERT_TRUE(turn_comes(turn, RAISED_NOW));
	munlockall();
	ASSERT_RET(channel_destroy(f.s.fd, f.channel), 0);
	ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &f.channel), 0);
	expect_taken(&f, p, FEW);
	EXPECT_EQ(fix_gpu_sum(&f, p, FEW), 0);
	fix_fill(&f, p, FEW, 5);
	EXPECT_BYTES(p, FEW, 5);
	EXPECT_PATTERN(filler, HUGE, 4);
	fix_close(&f);
	child_exit();
}

/* Of a process that the OOM killer must not kill; there is nobody else. */
TEST_VT(hole_at_limit, devices, 60)
{
	atomic_int *turn = shared_page();
	struct group g;
	pid_t pid;

	pressure_need(v);
	group_new(&g);
	*turn = OURS;
	pid = child();
	if (!pid)
		refused(v, &g, turn);
	ASSERT_TRUE(turn_comes(turn, LOWER));
	group_limit(&g, MIB);
	*turn = LOWERED_NOW;
	ASSERT_TRUE(turn_comes(turn, RAISE));
	ASSERT_TRUE(group_write(&g, "memory.max", "max"));
	*turn = RAISED_NOW;
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_EQ(group_kills(&g), 0);
	group_end(&g);
}

/* ---- above the limit ---- */

/* What makes it so */
enum excess { LOWERED, TOUCHED, MIGRATED, FAULTED, NR_EXCESSES };

#define EXCESS_HAS	(4 * MIB)	/* on the GPU */
#define EXCESS_WANTS	(8 * MIB)	/* and more of these */

static void doomed(const struct variant *v, const struct group *g, enum excess how,
		   int end)
{
	struct uvm_migrate m;
	struct fix f;
	char *p;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	group_enter(g);
	fix_open(&f, v);
	p = aligned_pattern(&f, EXCESS_HAS, 5);
	expect_taken(&f, p, EXCESS_HAS);
	p = aligned_buffer(&f, EXCESS_WANTS);
	tell(end, 'r');
	ASSERT_EQ(hear(end), 'g');
	switch (how) {
	case TOUCHED:
		memset(p, 6, EXCESS_WANTS);
		break;
	case MIGRATED:
		to_gpu(&f, p, EXCESS_WANTS, &m);
		break;
	case FAULTED:
		fix_fill(&f, p, EXCESS_WANTS, 6);
		break;
	default:
		pause();
	}
	/* not reached */
	child_exit();
}

static void exceed(const struct variant *v, struct fix *f, enum excess how)
{
	struct memory before, m;
	struct group g;
	int ends[2];
	pid_t pid;

	memory_of(f, &before);
	group_new(&g);
	link_new(ends);
	pid = child();
	if (!pid)
		doomed(v, &g, how, ends[1]);
	ASSERT_EQ(hear(ends[0]), 'r');
	group_limit(&g, how == LOWERED ? MIB : EXCESS_HAS + 3 * MIB);
	tell(ends[0], 'g');
	harness_check(child_wait(pid) == 128 + SIGKILL, false, __FILE__, __LINE__,
		      "way %d to have too much: not killed", how);
	EXPECT_GE(group_kills(&g), 1);
	EXPECT_TRUE(list_forgets(pid));
	/* all of its pages are free again */
	EXPECT_TRUE(WAIT_FOR((memory_of(f, &m), m.used <= before.used)));
	close(ends[0]);
	close(ends[1]);
	group_end(&g);
}

/* The processes of that group, and nobody else's */
TEST_VT(own_kill, devices_huge, 60)
{
	struct group theirs;
	struct hog in, out;
	enum excess how;
	struct fix f;

	pressure_need(v);
	group_new(&theirs);
	group_limit(&theirs, 64 * MIB);
	group_enter(&theirs);
	hog_start(&in, v, HUGE);
	group_leave();
	hog_start(&out, v, HUGE);
	HOG_DO(&in, HOG_TAKE);
	HOG_DO(&out, HOG_TAKE);
	fix_open(&f, v);
	/* UVM_MIGRATE of a huge hole is refused if that can't be charged: nobody is killed */
	for (how = 0; how < NR_EXCESSES; how++)
		if (how != MIGRATED || !f.huge)
			exceed(v, &f, how);
	HOG_DO(&in, HOG_USE);
	HOG_DO(&out, HOG_USE);
	HOG_DO(&in, HOG_CHECK);
	HOG_DO(&out, HOG_CHECK);
	EXPECT_EQ(group_kills(&theirs), 0);
	hog_end(&in);
	hog_end(&out);
	fix_close(&f);
	group_end(&theirs);
}

/* ---- more than there is, of both ---- */

static const struct scene both[] = {
	{ 5, STREAM, true }, { 8, RANDOM, false }, { 8, STREAM, true }, { 5, HOT, false },
};

static void squeezed(const struct variant *v, const struct group *g,
		     const struct scene *c, size_t room)
{
	struct fix f;
	struct set s;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	group_enter(g);
	fix_open(&f, v);
	set_make(&s, &f, room * c->quarters / 4 * PAGE, c->quarters);
	/* pages may be on their way from swap, and have no room there */
	s.contended = true;
	scene_play(&s, c, harness_seed);
	fix_close(&f);
	child_exit();
}

/* What is in the GPU's memory can't be reclaimed: a bit more than that is needed. */
static size_t squeeze_limit(const struct scene *c, size_t room)
{
	size_t size = room * c->quarters / 4 * PAGE, least = room * PAGE + 3 * MIB / 2;

	return size * 3 / 4 > least ? size * 3 / 4 : least;
}

static void squeeze(const struct variant *v, const struct scene *c, size_t room, bool swap)
{
	struct group g;
	char name[40];
	pid_t pid;
	int end;

	scene_name(c, name);
	group_new(&g);
	group_limit(&g, squeeze_limit(c, room));
	pid = child();
	if (!pid)
		squeezed(v, &g, c, room);
	end = child_wait(pid);
	harness_note("%s, %zu KiB, swap %s: %s", name, squeeze_limit(c, room) >> 10,
		     swap ? "on" : "off", end ? "killed" : "done");
	/* without swap there is no place for all of it */
	if (!swap || end)
		EXPECT_EQ(end, 128 + SIGKILL);
	EXPECT_EQ(group_kills(&g) > 0, end == 128 + SIGKILL);
	/* it bit: somebody asked for more than that */
	EXPECT_GT(group_number(&g, "memory.events", "max"), 0);
	EXPECT_TRUE(list_forgets(pid));
	group_end(&g);
}

TEST_VT(oversubscribed, devices_huge, 60)
{
	size_t room = pressure_need(v), i, step = harness_stride(2);

	groups_need();
	squeeze(v, &both[2], room, false);
	if (!swap_on())
		SKIP("no swap can be set up here");
	for (i = harness_seed % step; i < NR(both); i += step)
		squeeze(v, &both[i], room, true);
	EXPECT_RET(swap_off(), 0);
}

static void __attribute__((constructor)) install(void)
{
	clean_up_install();
}

HARNESS_MAIN()
