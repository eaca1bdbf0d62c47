// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves what happens when a GPU's memory runs out: what was used longest ago goes to
 * system memory, and comes back when it's wanted, and no byte is lost on the way. What
 * UVM_MIGRATE says then, how refaults are counted, what becomes of huge pages in parts.
 *
 * Sizes are in blocks of 2 MiB of a GPU with a few of them. Most tests look from both
 * sides at every byte. Whose pages go: victims.c. Where many processes share a GPU, or
 * end meanwhile: crowds.c.
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

/* ---- more than there is ---- */

/* Whatever the order is, a stream through more than there is evicts. */
static void expect_evictions(const struct scene *c, const struct memory *before,
			     const struct memory *after)
{
	long pages = after->total * c->quarters / 4;
	long evicted = after->evicted - before->evicted;

	if (c->order != STREAM)
		return;
	if (c->by_migrate)
		EXPECT_GE(evicted, pages - after->total);
	else
		EXPECT_GT(evicted, 0);
}

static void play(struct fix *f, const struct scene *c, size_t room)
{
	struct memory before, after;
	char name[40];
	struct set s;

	scene_name(c, name);
	set_make(&s, f, room * c->quarters / 4 * PAGE, c->quarters);
	memory_of(f, &before);
	scene_play(&s, c, harness_seed);
	memory_of(f, &after);
	harness_note("%s: %ld evicted, %ld came back, thrash %u", name,
		     after.evicted - before.evicted,
		     after.my_refaulted - before.my_refaulted, after.thrash);
	expect_evictions(c, &before, &after);
	EXPECT_EQ(after.used + after.free, after.total);
	EXPECT_LE(after.mine, after.used);
	set_free(&s);
}

TEST_VT(scenes, devices_huge_managed, 60)
{
	size_t room = pressure_need(v), i, step;
	struct fix f;

	fix_open(&f, v);
	step = slow_kernel() ? harness_stride(18) : harness_rounds(1) > 1 ? 1 : 3;
	for (i = harness_seed % step; i < NR_SCENES; i += step)
		play(&f, &scenes[i], room);
	fix_close(&f);
}

/* Each page counts once, though the first ones are gone again when the last one comes. */
TEST_VT(migrate_more, devices_huge_managed, 60)
{
	size_t room = pressure_need(v), n = room + 2 * BLOCK_PAGES;
	struct memory before, after;
	struct uvm_migrate m;
	struct fix f;
	char *p, *last;
	uint64_t sum;

	fix_open(&f, v);
	p = aligned_pattern(&f, n * PAGE, 1);
	last = p + n * PAGE - HUGE;
	sum = sum64(p, n * PAGE);
	memory_of(&f, &before);
	ASSERT_RET(to_gpu(&f, p, n * PAGE, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, n * PAGE);
	EXPECT_EQ(m.out_moved, n);
	memory_of(&f, &after);
	EXPECT_GE(after.evicted - before.evicted, n - room);
	EXPECT_EQ(after.my_evicted - before.my_evicted, after.evicted - before.evicted);
	EXPECT_EQ(after.mine, fix_on_gpu(&f, p, n * PAGE));
	EXPECT_GE(after.mine, room - BLOCK_PAGES);
	expect_there(&f, last, BLOCK_PAGES);
	expect_gone(&f, p, BLOCK_PAGES);
	ASSERT_RET(to_gpu(&f, last, HUGE, &m), 0);
	EXPECT_EQ(m.out_already, BLOCK_PAGES);
	/* the next time it's the same */
	expect_taken(&f, p, n * PAGE);
	expect_there(&f, last, BLOCK_PAGES);
	EXPECT_EQ(fix_gpu_sum(&f, p, n * PAGE), sum);
	EXPECT_PATTERN(p, n * PAGE, 1);
	fix_close(&f);
}

/* Holes: what was never written is evicted as zeros. */
TEST_VT(migrate_holes, devices_huge_managed, 60)
{
	size_t room = pressure_need(v), n = room + BLOCK_PAGES;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = aligned_buffer(&f, n * PAGE);
	expect_taken(&f, p, n * PAGE);
	expect_gone(&f, p, BLOCK_PAGES);
	EXPECT_EQ(fix_gpu_sum(&f, p, n * PAGE), 0);
	EXPECT_BYTES(p, n * PAGE, 0);
	fix_close(&f);
}

/* Others' pages can be had, too, as mine can by them. */
TEST_VT(migrate_from_others, devices_huge_managed, 60)
{
	size_t room = pressure_need(v);
	struct memory before, after;
	unsigned int i;
	struct hog h;
	struct fix f;
	char *p;

	hog_start(&h, v, room * PAGE);
	fix_open(&f, v);
	p = aligned_pattern(&f, room * PAGE, 2);
	memory_of(&f, &before);
	for (i = 0; i < 2; i++) {
		HOG_DO(&h, HOG_TAKE);
		expect_gone(&f, p, room);
		EXPECT_GE(hog_on_gpu(&h), room - BLOCK_PAGES);
		expect_taken(&f, p, room * PAGE);
		EXPECT_EQ(hog_on_gpu(&h), 0);
	}
	memory_of(&f, &after);
	EXPECT_GE(after.evicted - before.evicted, 3 * (room - BLOCK_PAGES));
	EXPECT_LT(after.my_evicted - before.my_evicted, after.evicted - before.evicted);
	HOG_DO(&h, HOG_CHECK);
	EXPECT_PATTERN(p, room * PAGE, 2);
	hog_end(&h);
	fix_close(&f);
}

/* ---- there and back ---- */

/* Brings something else, which drives out what was there. */
static void press(struct fix *f, char *other, size_t room)
{
	expect_taken(f, other, ENOUGH(room));
}

static void evicted_once(struct fix *f, struct set *s, char *other, size_t room)
{
	const size_t pages = set_size(s) / PAGE;
	struct memory before, after;

	expect_taken(f, s->p, set_size(s));
	set_turn_all(s);
	expect_there(f, s->p, pages);
	press(f, other, room);
	expect_gone(f, s->p, pages);
	EXPECT_EQ(fix_on_cpu(f, s->p, set_size(s)), pages);
	/* the GPU again, before the CPU has seen it */
	memory_of(f, &before);
	expect_taken(f, s->p, set_size(s));
	memory_of(f, &after);
	EXPECT_GE(after.my_refaulted - before.my_refaulted, pages);
	EXPECT_GE(after.refaulted - before.refaulted, pages);
	set_check_by_gpu(s);
	/* and now the CPU, while it's evicted */
	set_turn_all(s);
	press(f, other, room);
	expect_gone(f, s->p, pages);
	set_check_by_cpu(s);
}

TEST_VT(evicted_and_back, devices_huge_managed, 60)
{
	size_t room = pressure_need(v);
	struct fix f;
	struct set s;
	char *other;

	fix_open(&f, v);
	set_make(&s, &f, 2 * HUGE, 3);
	other = aligned_pattern(&f, ENOUGH(room), 4);
	evicted_once(&f, &s, other, room);
	evicted_once(&f, &s, other, room);
	EXPECT_PATTERN(other, ENOUGH(room), 4);
	fix_close(&f);
}

/* A page that the GPU only reads is as good afterwards; faults bring it, if they can. */
TEST_VT(read_and_evicted, devices_huge_managed, 60)
{
	size_t room = pressure_need(v);
	struct fix f;
	struct set s;
	char *other;

	fix_open(&f, v);
	set_make(&s, &f, HUGE, 5);
	other = aligned_pattern(&f, ENOUGH(room), 6);
	set_check_by_gpu(&s);
	expect_there(&f, s.p, BLOCK_PAGES);
	press(&f, other, room);
	expect_gone(&f, s.p, BLOCK_PAGES);
	set_check_by_gpu(&s);
	set_turn_all(&s);
	press(&f, other, room);
	set_check_by_gpu(&s);
	set_check_by_cpu(&s);
	EXPECT_PATTERN(other, ENOUGH(room), 6);
	fix_close(&f);
}

/* What the GPU uses again and again stays, whatever streams by. */
TEST_VT(hot_stays, devices_huge_managed, 60)
{
	size_t room = pressure_need(v), blocks = 2 * room / BLOCK_PAGES, i;
	struct set hot, cold;
	unsigned int pass;
	struct fix f;
	char *block;

	fix_open(&f, v);
	set_make(&hot, &f, HUGE, 7);
	set_make(&cold, &f, blocks * HUGE, 8);
	expect_taken(&f, hot.p, HUGE);
	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < blocks; i++) {
			set_turn_all(&hot);
			block = cold.p + i * HUGE;
			expect_taken(&f, block, HUGE);
			set_turn_all(&hot);
			expect_there(&f, hot.p, BLOCK_PAGES);
		}
	}
	set_check_by_gpu(&hot);
	set_check_by_cpu(&hot);
	set_check_by_cpu(&cold);
	fix_close(&f);
}

/* ---- the CPU and the GPU at once ---- */

struct reader {
	struct set *s;
	atomic_bool stop;
	atomic_ulong units;
	uint64_t rng;
	pthread_t thread;
};

static void *read_units(void *arg)
{
	struct reader *r = arg;
	size_t unit;

	while (!r->stop) {
		unit = harness_random(&r->rng) % r->s->units;
		EXPECT_EQ(pattern_check_from(set_unit(r->s, unit), UNIT, r->s->seed,
					     unit * UNIT_PAGES), -1);
		r->units++;
	}
	return NULL;
}

/* The CPU reads what is being evicted, and takes it away from who brought it. */
TEST_VT(read_meanwhile, devices_huge_managed, 60)
{
	size_t room = pressure_need(v), i;
	struct reader r = { .rng = harness_seed };
	unsigned int pass;
	struct uvm_migrate m;
	struct fix f;
	struct set s;

	fix_open(&f, v);
	set_make(&s, &f, 2 * room * PAGE, 9);
	r.s = &s;
	ASSERT_EQ(pthread_create(&r.thread, NULL, read_units, &r), 0);
	for (pass = 0; pass < harness_rounds(2); pass++) {
		for (i = 0; i < set_size(&s); i += HUGE) {
			ASSERT_RET(to_gpu(&f, s.p + i, HUGE, &m), 0);
			expect_accounts(&m);
			EXPECT_EQ(m.out_done, HUGE);
		}
		set_check_by_gpu(&s);
	}
	r.stop = true;
	pthread_join(r.thread, NULL);
	EXPECT_GT(r.units, 0);
	set_check_by_cpu(&s);
	fix_close(&f);
}

static void *write_words(void *arg)
{
	struct reader *r = arg;
	uint64_t *word;
	size_t i;

	/* the last word of each page, to be found at the end: nobody else writes it */
	while (!r->stop) {
		for (i = 0; i < set_size(r->s) && !r->stop; i += PAGE) {
			word = (uint64_t *)(r->s->p + i + PAGE - 8);
			__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
			r->units++;
		}
	}
	return NULL;
}

static uint64_t last_words(const struct set *s)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < set_size(s); i += PAGE)
		sum += *(uint64_t *)(s->p + i + PAGE - 8);
	return sum;
}

/* No store of a CPU is lost to a copy that was made before. */
TEST_VT(write_meanwhile, devices_huge_managed, 60)
{
	size_t room = pressure_need(v), i;
	struct reader r = { 0 };
	struct uvm_migrate m;
	unsigned int pass;
	struct fix f;
	struct set s;
	uint64_t sum;

	fix_open(&f, v);
	set_make(&s, &f, 2 * room * PAGE, 10);
	sum = last_words(&s);
	r.s = &s;
	ASSERT_EQ(pthread_create(&r.thread, NULL, write_words, &r), 0);
	for (pass = 0; pass < harness_rounds(2); pass++) {
		for (i = 0; i < set_size(&s); i += HUGE) {
			ASSERT_RET(to_gpu(&f, s.p + i, HUGE, &m), 0);
			expect_accounts(&m);
		}
	}
	r.stop = true;
	pthread_join(r.thread, NULL);
	EXPECT_EQ(last_words(&s) - sum, r.units);
	EXPECT_GT(r.units, 0);
	fix_close(&f);
}

/* ---- blocks in parts ---- */

#define CUT_PAGES	(2 * BLOCK_PAGES)

/* Two blocks, what they must hold, and what of them isn't mapped any more */
struct cut {
	char *p;
	char *want;
	bool gone[CUT_PAGES];
	char *moved;			/* where pages went */
	size_t moved_first;
	size_t moved_count;
};

static char *cut_page(struct cut *c, size_t page)
{
	return c->p + page * PAGE;
}

static void cut_gone(struct cut *c, size_t first, size_t count)
{
	memset(c->gone + first, true, count);
}

static void cut_unmap_middle(struct cut *c)
{
	ASSERT_RET(munmap(cut_page(c, 100), 50 * PAGE), 0);
	cut_gone(c, 100, 50);
}

static void cut_unmap_border(struct cut *c)
{
	ASSERT_RET(munmap(cut_page(c, BLOCK_PAGES - 9), 20 * PAGE), 0);
	cut_gone(c, BLOCK_PAGES - 9, 20);
}

static void cut_unmap_half(struct cut *c)
{
	ASSERT_RET(munmap(c->p, HUGE / 2), 0);
	cut_gone(c, 0, BLOCK_PAGES / 2);
}

static void cut_drop(struct cut *c)
{
	ASSERT_RET(madvise(cut_page(c, 300), 33 * PAGE, MADV_DONTNEED), 0);
	memset(c->want + 300 * PAGE, 0, 33 * PAGE);
}

static void cut_protect(struct cut *c)
{
	ASSERT_RET(mprotect(cut_page(c, 40), 30 * PAGE, PROT_READ), 0);
}

static void cut_move(struct cut *c)
{
	char *to = anon(30 * PAGE, PROT_READ | PROT_WRITE, 0);

	c->moved_first = 400;
	c->moved_count = 30;
	c->moved = mremap(cut_page(c, 400), 30 * PAGE, 30 * PAGE,
			  MREMAP_MAYMOVE | MREMAP_FIXED, to);
	ASSERT_TRUE(c->moved == to);
	cut_gone(c, 400, 30);
}

static void cut_no_huge(struct cut *c)
{
	/* fails on a kernel without huge pages, which is as good */
	madvise(cut_page(c, 200), 100 * PAGE, MADV_NOHUGEPAGE);
}

static void cut_write(struct cut *c)
{
	c->p[77 * PAGE + 5] ^= 0x11;
	c->want[77 * PAGE + 5] ^= 0x11;
}

static void cut_lock(struct cut *c)
{
	ASSERT_RET(mlock(cut_page(c, 20), 8 * PAGE), 0);
}

static void cut_all(struct cut *c)
{
	cut_drop(c);
	cut_protect(c);
	cut_write(c);
	cut_move(c);
	cut_unmap_middle(c);
}

static void (* const cuts[])(struct cut *c) = {
	cut_unmap_middle, cut_unmap_border, cut_unmap_half, cut_drop, cut_protect,
	cut_move, cut_no_huge, cut_write, cut_lock, cut_all,
};

/* Pages from @first on that are mapped, or aren't, as it is */
static size_t cut_run(const struct cut *c, size_t first)
{
	size_t end = first + 1;

	while (end < CUT_PAGES && c->gone[end] == c->gone[first])
		end++;
	return end - first;
}

static void cut_check(struct fix *f, struct cut *c)
{
	size_t first, n;

	for (first = 0; first < CUT_PAGES; first += n) {
		n = cut_run(c, first);
		if (c->gone[first])
			continue;
		expect_gone(f, cut_page(c, first), n);
		EXPECT_EQ(memcmp(cut_page(c, first), c->want + first * PAGE, n * PAGE),
			  0);
		EXPECT_EQ(fix_gpu_sum(f, cut_page(c, first), n * PAGE),
			  sum64(c->want + first * PAGE, n * PAGE));
	}
	if (!c->moved)
		return;
	/* it may have to be looked for, which is moved_elsewhere's business */
	EXPECT_EQ(memcmp(c->moved, c->want + c->moved_first * PAGE,
			 c->moved_count * PAGE), 0);
}

static void cut_unmap(struct cut *c)
{
	munmap(c->p, CUT_PAGES * PAGE);
	munmap(c->want, CUT_PAGES * PAGE);
	if (c->moved)
		munmap(c->moved, c->moved_count * PAGE);
}

static void cut_once(struct fix *f, struct hog *h, void (*cut)(struct cut *c))
{
	struct cut c = { 0 };

	c.want = anon(CUT_PAGES * PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(c.want, CUT_PAGES * PAGE, 17);
	c.p = aligned_pattern(f, CUT_PAGES * PAGE, 17);
	expect_taken(f, c.p, CUT_PAGES * PAGE);
	cut(&c);
	HOG_DO(h, HOG_TAKE);
	EXPECT_GE(hog_on_gpu(h), h->pages / 2 - BLOCK_PAGES);
	cut_check(f, &c);
	cut_unmap(&c);
}

TEST_VT(in_parts, devices_huge, 60)
{
	size_t room = pressure_need(v), i, step = harness_stride(5);
	struct hog h;
	struct fix f;

	hog_start(&h, v, ENOUGH(room));
	fix_open(&f, v);
	for (i = harness_seed % step; i < NR(cuts); i += step)
		cut_once(&f, &h, cuts[i]);
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
	fix_close(&f);
}

/* ---- atomics ---- */

#define ADDS		3

/* A counter in each unit of twice the memory, which others want, too */
TEST_VT(atomics, devices_huge_managed, 60)
{
	size_t room = pressure_need(v), units = 2 * room / UNIT_PAGES, i, n;
	struct uvm_sim_cmd cmd[SET_BATCH] = { 0 };
	unsigned int pass, passes = harness_rounds(2);
	struct hog h;
	struct fix f;
	char *p;

	hog_start(&h, v, HUGE);
	fix_open(&f, v);
	p = aligned_buffer(&f, units * UNIT);
	hog_run(&h);
	for (pass = 0; pass < passes; pass++) {
		for (i = 0; i < units; i += n) {
			for (n = 0; n < SET_BATCH && i + n < units; n++)
				cmd[n] = CMD(ATOMIC_ADD, .arg0 = i + n, .arg1 = ADDS,
					     .dst = ADDR(p + (i + n) * UNIT));
			ASSERT_RET(fix_run(&f, cmd, n), 0);
		}
	}
	hog_rest(&h);
	for (i = 0; i < units; i++)
		EXPECT_EQ(*(uint64_t *)(p + i * UNIT), i * ADDS * passes);
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
	fix_close(&f);
}

static void __attribute__((constructor)) install(void)
{
	clean_up_install();
}

HARNESS_MAIN()
