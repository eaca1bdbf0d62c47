// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that what a process discards costs no copy, whoever moves it; that the next
 * read finds what was there or zeros, never what is somebody else's, and that this stays
 * so; that no store made after the command returned is lost, by whomever; and that what
 * isn't the process's alone, or can't be discarded, is left as it was, and counted.
 *
 * Copies are counted by the software GPU.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "lib_memory.h"
#include "lib_policy.h"
#include "lib_sim.h"
#include "lib_uvm.h"

#define SECRET		0x5a

static const struct variant lazy[] = {
	{ "private", UVM_MEMORY_PRIVATE, false },
	{ "private_thp", UVM_MEMORY_PRIVATE, true },
	{ "private_managed", UVM_MEMORY_PRIVATE, .managed = true },
	{ NULL, 0, false },
};

/* What a child of fork has, too */
static const struct variant lazy_ordinary[] = {
	{ "private", UVM_MEMORY_PRIVATE, false },
	{ "private_thp", UVM_MEMORY_PRIVATE, true },
	{ NULL, 0, false },
};

/* ---- what every test needs ---- */

/* Whatever memory is handed out next, somebody else's bytes were in it. */
static void spread_secrets(struct fix *f)
{
	struct fix other = {
		.gpu = f->gpu, .gpu2 = f->gpu2, .pair = f->pair, .managed = f->managed,
	};
	size_t all = f->gpu.memory_size;
	struct uvm_migrate m;
	char *p, *q;
	pid_t pid;

	pid = child();
	if (!pid) {
		fix_reopen(&other);
		p = other.managed ? fix_buffer(&other, all) :
				    anon(all, PROT_READ | PROT_WRITE, 0);
		q = other.managed ? fix_buffer(&other, 2 * all) :
				    anon(2 * all, PROT_READ | PROT_WRITE, 0);
		memset(p, SECRET, all);
		memset(q, SECRET, 2 * all);
		EXPECT_RET(migrate(other.s.fd, p, all, UVM_DEST_GPU, 0, other.gpu.uuid, &m), 0);
		if (other.pair)
			EXPECT_RET(migrate(other.s.fd, q, all, UVM_DEST_GPU, 0,
					   other.gpu2.uuid, &m), 0);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_TRUE(gpu_free_returns(&f->gpu, all));
	if (f->pair)
		EXPECT_TRUE(gpu_free_returns(&f->gpu2, f->gpu2.memory_size));
}

static void expect_discard(struct fix *f, const void *p, size_t length, uint32_t flags)
{
	struct uvm_discard d;

	ASSERT_RET(discard(f->s.fd, p, length, flags, &d), 0);
	discard_expect_accounts(&d);
	EXPECT_EQ(d.out_done, length);
	EXPECT_EQ(d.out_discarded, length / PAGE);
}

/* All of it is skipped, for the same reason. */
static void expect_skip(struct fix *f, const void *p, size_t length, uint32_t flags,
			enum uvm_discard_skip reason)
{
	struct uvm_discard d;

	ASSERT_RET(discard(f->s.fd, p, length, flags, &d), 0);
	discard_expect_accounts(&d);
	EXPECT_EQ(d.out_done, length);
	EXPECT_EQ(d.out_skipped[reason], length / PAGE);
}

static char *on_gpu(struct fix *f, size_t length, uint64_t seed)
{
	char *p = fix_pattern(f, length, seed);

	fix_to_gpu(f, p, length);
	return p;
}

/* The page as it was filled, or zeros. */
static bool page_is_old(const char *p, size_t i, uint64_t seed)
{
	return pattern_check_from(p + i * PAGE, PAGE, seed, i) == -1;
}

static bool page_is_zero(const char *p, size_t i)
{
	return bytes_check(p + i * PAGE, PAGE, 0) == -1;
}

/* Returns the number of pages that are as they were filled. */
static size_t expect_old_or_zero(const char *p, size_t pages, uint64_t seed)
{
	size_t i, old = 0, bad = 0;

	for (i = 0; i < pages; i++) {
		if (page_is_old(p, i, seed))
			old++;
		else if (!page_is_zero(p, i))
			bad++;
	}
	EXPECT_EQ(bad, 0);
	return old;
}

/* Seconds that rounds at random may take, on a slow kernel; UVM_ITER gives them more. */
#define RANDOM_SECONDS	6

static uint64_t deadline(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec + harness_rounds(RANDOM_SECONDS) * SECOND;
}

static bool is_over(uint64_t when)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec >= when;
}

/* ---- no copy ---- */

TEST_V(migrate_home_copies_nothing, lazy)
{
	struct fix f;
	long bytes;
	char *p;

	fix_open(&f, v);
	spread_secrets(&f);
	p = on_gpu(&f, f.length, 1);
	expect_discard(&f, p, f.length, 0);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	bytes = sim_stat(&f.gpu, "bytes");
	fix_to_cpu(&f, p, f.length);
	EXPECT_EQ(sim_stat(&f.gpu, "bytes"), bytes);
	EXPECT_BYTES(p, f.length, 0);
	/* and back, as what it is now */
	pattern_fill(p, f.length, 2);
	fix_to_gpu(&f, p, f.length);
	fix_to_cpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 2);
	fix_close(&f);
}

TEST_V(cpu_fault_copies_nothing, lazy)
{
	struct fix f;
	long bytes;
	char *p;

	fix_open(&f, v);
	spread_secrets(&f);
	p = on_gpu(&f, f.length, 1);
	expect_discard(&f, p, f.length, 0);
	bytes = sim_stat(&f.gpu, "bytes");
	EXPECT_BYTES(p, f.length, 0);
	EXPECT_EQ(sim_stat(&f.gpu, "bytes"), bytes);
	fix_close(&f);
}

/* To say it twice is no error; nor is it to discard pages that were used in between. */
TEST_V(again, lazy)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = on_gpu(&f, f.length, 1);
	expect_discard(&f, p, f.length, 0);
	expect_discard(&f, p, f.length, 0);
	fix_fill(&f, p, f.length, 7);
	expect_discard(&f, p, f.length, 0);
	fix_fill(&f, p, f.length, 8);
	EXPECT_BYTES(p, f.length, 8);
	fix_to_gpu(&f, p, f.length);
	expect_discard(&f, p, f.length, UVM_DISCARD_EAGER);
	EXPECT_BYTES(p, f.length, 0);
	fix_close(&f);
}

TEST_V(eviction_takes_it_first, lazy)
{
	struct fix f;
	char *keep, *gone, *next;
	long bytes;

	fix_open(&f, v);
	spread_secrets(&f);
	keep = on_gpu(&f, 2 * HUGE, 1);
	gone = on_gpu(&f, 2 * HUGE, 2);
	next = fix_pattern(&f, HUGE, 3);
	expect_discard(&f, gone, 2 * HUGE, 0);
	bytes = sim_stat(&f.gpu, "bytes");
	fix_to_gpu(&f, next, HUGE);
	EXPECT_EQ(sim_stat(&f.gpu, "bytes"), bytes + HUGE);
	EXPECT_EQ(fix_on_gpu(&f, keep, 2 * HUGE), 2 * HUGE / PAGE);
	EXPECT_LT(fix_on_gpu(&f, gone, 2 * HUGE), 2 * HUGE / PAGE);
	EXPECT_BYTES(gone, 2 * HUGE, 0);
	EXPECT_PATTERN(keep, 2 * HUGE, 1);
	EXPECT_PATTERN(next, HUGE, 3);
	fix_close(&f);
}

TEST_V(to_another_gpu, lazy)
{
	struct fix f;
	long bytes;
	char *p;

	fix_pair(&f, v);
	spread_secrets(&f);
	p = on_gpu(&f, f.length, 1);
	expect_discard(&f, p, f.length, 0);
	bytes = sim_stat(&f.gpu2, "peer_bytes");
	fix_to_gpu2(&f, p, f.length);
	EXPECT_EQ(sim_stat(&f.gpu2, "peer_bytes"), bytes);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), 0);
	EXPECT_BYTES(p, f.length, 0);
	fix_close(&f);
}

/* ---- what is found afterwards ---- */

TEST_V(gpu_reads, lazy)
{
	struct fix f;
	uint64_t sum;
	char *p;

	fix_open(&f, v);
	spread_secrets(&f);
	p = on_gpu(&f, f.length, 1);
	expect_discard(&f, p, f.length, 0);
	sum = fix_gpu_sum(&f, p, f.length);
	/* what it found stays */
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum);
	expect_old_or_zero(p, f.length / PAGE, 1);
	EXPECT_EQ(sum64(p, f.length), sum);
	fix_close(&f);
}

/* One page is read by the GPU; what is with the others, nobody knows. */
TEST_V(gpu_reads_a_page, lazy)
{
	size_t i, pages;
	struct fix f;
	uint64_t sum;
	char *p;

	fix_open(&f, v);
	p = on_gpu(&f, f.length, 1);
	pages = f.length / PAGE;
	for (i = 1; i < pages; i += pages / 5) {
		fix_to_gpu(&f, p, f.length);
		pattern_fill(p, f.length, 1);
		fix_to_gpu(&f, p, f.length);
		expect_discard(&f, p, f.length, 0);
		sum = fix_gpu_sum(&f, p + i * PAGE, PAGE);
		fix_to_cpu(&f, p, f.length);
		expect_old_or_zero(p, pages, 1);
		EXPECT_EQ(sum64(p + i * PAGE, PAGE), sum);
	}
	fix_close(&f);
}

TEST_V(gpu_writes, lazy)
{
	size_t i, pages;
	struct fix f;
	char *p;

	fix_open(&f, v);
	spread_secrets(&f);
	p = on_gpu(&f, f.length, 1);
	pages = f.length / PAGE;
	expect_discard(&f, p, f.length, 0);
	for (i = 0; i < pages; i += 7)
		fix_fill(&f, p + i * PAGE, PAGE, 1 + i % 200);
	fix_to_cpu(&f, p, f.length);
	for (i = 0; i < pages; i++) {
		if (i % 7 == 0)
			EXPECT_BYTES(p + i * PAGE, PAGE, 1 + i % 200);
		else
			EXPECT_TRUE(page_is_old(p, i, 1) || page_is_zero(p, i));
	}
	fix_close(&f);
}

/* A part of a page: the rest is as the first access found it. */
TEST_V(gpu_counts, lazy)
{
	struct uvm_sim_cmd add;
	uint64_t old, found;
	struct fix f;
	size_t i;
	char *p;

	fix_open(&f, v);
	p = on_gpu(&f, f.length, 1);
	expect_discard(&f, p, f.length, 0);
	for (i = 0; i < 8; i++) {
		add = CMD(ATOMIC_ADD, .dst = ADDR(p + i * PAGE), .arg0 = 1, .arg1 = 5);
		ASSERT_RET(fix_run(&f, &add, 1), 0);
	}
	fix_to_cpu(&f, p, f.length);
	for (i = 0; i < 8; i++) {
		memcpy(&found, p + i * PAGE, sizeof(found));
		pattern_fill_from(p + i * PAGE, PAGE, 1, i);
		memcpy(&old, p + i * PAGE, sizeof(old));
		EXPECT_TRUE(found == 5 || found == old + 5);
	}
	fix_close(&f);
}

TEST_V(cpu_writes, lazy)
{
	size_t i, pages;
	struct fix f;
	char *p;

	fix_open(&f, v);
	spread_secrets(&f);
	p = on_gpu(&f, f.length, 1);
	pages = f.length / PAGE;
	expect_discard(&f, p, f.length, 0);
	for (i = 0; i < pages; i++)
		p[i * PAGE + 11] = 77;
	for (i = 0; i < pages; i++) {
		EXPECT_EQ(p[i * PAGE + 11], 77);
		p[i * PAGE + 11] = 0;
	}
	EXPECT_BYTES(p, f.length, 0);
	fix_close(&f);
}

/* A part of the pages: those around it have all that they had. */
TEST_V(a_part, lazy)
{
	size_t i, first, end, pages;
	struct uvm_discard d;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = on_gpu(&f, f.length, 1);
	pages = f.length / PAGE;
	first = pages / 4;
	end = first + pages / 2 + 3;
	ASSERT_RET(discard(f.s.fd, p + first * PAGE, (end - first) * PAGE, 0, &d), 0);
	EXPECT_EQ(d.out_discarded, end - first);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), pages);
	for (i = 0; i < pages; i++) {
		if (i < first || i >= end)
			EXPECT_TRUE(page_is_old(p, i, 1));
		else
			EXPECT_TRUE(page_is_zero(p, i));
	}
	fix_close(&f);
}

/* Chunks of all sizes, and stores of the GPU and the CPU, in any order. */
TEST_VT(model, lazy, 120)
{
	unsigned int round, rounds = harness_rounds(1000);
	uint64_t state = harness_seed, until = deadline();
	size_t i, first, end, pages;
	unsigned char *want;
	bool *known;
	struct uvm_discard d;
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_pair(&f, v);
	p = on_gpu(&f, f.length, 1);
	pages = f.length / PAGE;
	want = calloc(pages, 1);
	known = calloc(pages, sizeof(*known));
	for (round = 0; round < rounds && !is_over(until); round++) {
		first = harness_random(&state) % pages;
		end = first + 1 + harness_random(&state) % (pages - first);
		if (harness_random(&state) % 2)
			end = first + 1 + harness_random(&state) % 4;
		if (end > pages)
			end = pages;
		switch (harness_random(&state) % 6) {
		case 0:
		case 1:
			ASSERT_RET(discard(f.s.fd, p + first * PAGE, (end - first) * PAGE,
					   harness_random(&state) % 8 ? 0 : UVM_DISCARD_EAGER,
					   &d), 0);
			discard_expect_accounts(&d);
			memset(known + first, 0, end - first);
			break;
		case 2:
			fix_fill(&f, p + first * PAGE, (end - first) * PAGE, 1 + round % 255);
			memset(known + first, 1, end - first);
			memset(want + first, 1 + round % 255, end - first);
			break;
		case 3:
			ASSERT_RET(migrate(f.s.fd, p + first * PAGE, (end - first) * PAGE,
					   UVM_DEST_GPU, 0, harness_random(&state) % 2 ?
					   f.gpu.uuid : f.gpu2.uuid, &m), 0);
			break;
		case 4:
			memset(p + first * PAGE, 1 + round % 255, PAGE);
			known[first] = true;
			want[first] = 1 + round % 255;
			break;
		default:
			for (i = first; i < end; i++)
				if (known[i])
					EXPECT_BYTES(p + i * PAGE, PAGE, want[i]);
		}
	}
	for (i = 0; i < pages; i++)
		if (known[i])
			EXPECT_BYTES(p + i * PAGE, PAGE, want[i]);
	free(want);
	free(known);
	fix_close(&f);
}

/* Freed memory that was discarded is as good as any. */
TEST_V(unmapped, lazy)
{
	struct fix f;
	size_t all;
	char *p;

	fix_open(&f, v);
	all = f.gpu.memory_size;
	p = on_gpu(&f, all, 1);
	expect_discard(&f, p, all, 0);
	ASSERT_RET(munmap(p, all), 0);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, all));
	p = on_gpu(&f, all, 2);
	fix_to_cpu(&f, p, all);
	EXPECT_PATTERN(p, all, 2);
	fix_close(&f);
}

/* Where it is by mremap(), nobody knows but the page table. */
TEST_V(moved_by_mremap, only_private)
{
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	p = on_gpu(&f, f.length, 1);
	q = anon(f.length, PROT_NONE, 0);
	expect_discard(&f, p, f.length / 2, 0);
	ASSERT_TRUE(mremap(p, f.length, f.length, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
	fix_fill(&f, q, PAGE, 9);
	expect_discard(&f, q + f.length / 2, PAGE, 0);
	EXPECT_BYTES(q, PAGE, 9);
	EXPECT_BYTES(q + PAGE, f.length / 2 - PAGE, 0);
	EXPECT_BYTES(q + f.length / 2, PAGE, 0);
	EXPECT_EQ(pattern_check_from(q + f.length / 2 + PAGE, f.length / 2 - PAGE, 1,
				     f.length / 2 / PAGE + 1), -1);
	fix_close(&f);
}

/* ---- fork ---- */

/* What a child may have stays, with and without UVM_DISCARD_EAGER. */
static void shared_stays(const struct variant *v, uint32_t flags)
{
	pthread_barrier_t *barrier = shared_barrier(2);
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = on_gpu(&f, f.length, 1);
	pid = child();
	if (!pid) {
		pthread_barrier_wait(barrier);
		EXPECT_PATTERN(p, f.length, 1);
		child_exit();
	}
	expect_skip(&f, p, f.length, flags, UVM_DISCARD_SKIP_SHARED);
	pthread_barrier_wait(barrier);
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_PATTERN(p, f.length, 1);
	fix_close(&f);
}

TEST_V(shared_stays_lazy, lazy_ordinary)
{
	shared_stays(v, 0);
}

TEST_V(shared_stays_eager, devices_huge)
{
	shared_stays(v, UVM_DISCARD_EAGER);
}

TEST_V(fork_after, lazy_ordinary)
{
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	spread_secrets(&f);
	p = on_gpu(&f, f.length, 1);
	expect_discard(&f, p, f.length, 0);
	pid = child();
	if (!pid) {
		expect_old_or_zero(p, f.length / PAGE, 1);
		memset(p, 3, f.length);
		EXPECT_BYTES(p, f.length, 3);
		child_exit();
	}
	expect_old_or_zero(p, f.length / PAGE, 1);
	memset(p, 4, f.length);
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_BYTES(p, f.length, 4);
	fix_close(&f);
}

/* The child's GPU may read what the parent discarded, and finds what the parent will. */
TEST_V(fork_after_gpu, only_private)
{
	uint64_t *sum = shared_page();
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = on_gpu(&f, f.length, 1);
	expect_discard(&f, p, f.length, 0);
	pid = child();
	if (!pid) {
		fix_reopen(&f);
		*sum = fix_gpu_sum(&f, p, f.length);
		EXPECT_EQ(sum64(p, f.length), *sum);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_EQ(sum64(p, f.length), *sum);
	fix_close(&f);
}

/* ---- eager ---- */

TEST_V(eager, devices_huge_managed)
{
	struct fix f;
	long bytes;
	char *p;

	fix_open(&f, v);
	spread_secrets(&f);
	p = on_gpu(&f, f.length, 1);
	bytes = sim_stat(&f.gpu, "bytes");
	expect_discard(&f, p, f.length, UVM_DISCARD_EAGER);
	EXPECT_EQ(sim_stat(&f.gpu, "bytes"), bytes);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), f.length / PAGE);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	EXPECT_BYTES(p, f.length, 0);
	fix_close(&f);
}

TEST_V(eager_part, devices_huge_managed)
{
	size_t first, end;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = on_gpu(&f, f.length, 1);
	first = f.length / 4;
	end = first + 5 * PAGE;
	expect_discard(&f, p + first, end - first, UVM_DISCARD_EAGER);
	EXPECT_EQ(fix_on_cpu(&f, p + first, end - first), 5);
	EXPECT_PATTERN(p, first, 1);
	EXPECT_BYTES(p + first, end - first, 0);
	EXPECT_EQ(pattern_check_from(p + end, f.length - end, 1, end / PAGE), -1);
	fix_close(&f);
}

/* What may not migrate stays; lazily it is discarded all the same. */
TEST_V(range_group, private_managed)
{
	uint32_t group;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = on_gpu(&f, f.length, 1);
	ASSERT_RET(group_create(f.s.fd, &group), 0);
	ASSERT_RET(policy_group(f.s.fd, p, f.length, group), 0);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	expect_skip(&f, p, f.length, UVM_DISCARD_EAGER, UVM_DISCARD_SKIP_POLICY);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	expect_discard(&f, p, f.length, 0);
	fix_close(&f);
}

/* ---- what can't be discarded ---- */

TEST_V(coherent_lazy, only_coherent)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = on_gpu(&f, f.length, 1);
	expect_skip(&f, p, f.length, 0, UVM_DISCARD_SKIP_MEMORY_KIND);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	EXPECT_PATTERN(p, f.length, 1);
	fix_close(&f);
}

TEST_V(elsewhere, devices)
{
	const size_t part = 16 * PAGE;
	uint32_t flags;
	struct fix f;
	char *p, *shared;
	int fd;

	fix_open(&f, v);
	shared = shared_file(part, &fd, 5);
	for (flags = 0; flags <= UVM_DISCARD_EAGER; flags++) {
		p = fix_pattern(&f, part, 1);
		expect_skip(&f, p, part, flags, UVM_DISCARD_SKIP_NOT_ON_GPU);
		EXPECT_PATTERN(p, part, 1);
		fix_to_gpu(&f, p, part);
		ASSERT_RET(mprotect(p, part, PROT_READ), 0);
		if (v->kind == UVM_MEMORY_PRIVATE || flags)
			expect_skip(&f, p, part, flags, UVM_DISCARD_SKIP_SHARED);
		EXPECT_PATTERN(p, part, 1);
		p = fix_buffer(&f, part);
		expect_skip(&f, p, part, flags, UVM_DISCARD_SKIP_NOT_ON_GPU);
		expect_skip(&f, shared, part, flags, UVM_DISCARD_SKIP_NOT_ON_GPU);
		EXPECT_PATTERN(shared, part, 5);
	}
	close(fd);
	fix_close(&f);
}

/* Some of everything, in one range. */
TEST_V(mixed, only_private)
{
	const size_t part = 16 * PAGE;
	struct uvm_discard d;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_buffer(&f, 4 * part);
	pattern_fill(p + part, 3 * part, 1);
	fix_to_gpu(&f, p + 2 * part, part);
	ASSERT_RET(discard(f.s.fd, p, 4 * part, 0, &d), 0);
	discard_expect_accounts(&d);
	EXPECT_EQ(d.out_discarded, 16);
	EXPECT_EQ(d.out_skipped[UVM_DISCARD_SKIP_NOT_ON_GPU], 48);
	/* nothing is discarded if a part isn't mapped */
	fix_fill(&f, p + 2 * part, part, 6);
	ASSERT_RET(munmap(p + 3 * part, PAGE), 0);
	EXPECT_RET(discard(f.s.fd, p, 4 * part, 0, &d), -EFAULT);
	EXPECT_EQ(d.out_done, 0);
	EXPECT_BYTES(p + 2 * part, part, 6);
	fix_close(&f);
}

/* ---- stores that must not be lost ---- */

struct racer {
	struct fix *f;
	char *p;		/* a thread's own pages */
	size_t pages;
	bool second;		/* by the other GPU */
	unsigned int rounds;
	uint64_t until;
	uint64_t state;
	atomic_bool *stop;
};

/*
 * Discards its own pages, has a GPU or a CPU write some of them, and finds what was
 * written, by another way.
 */
static void *race_discard(void *arg)
{
	struct racer *r = arg;
	struct fix *f = r->f;
	uint32_t channel = r->second ? f->channel2 : f->channel;
	struct uvm_sim_cmd c;
	struct uvm_discard d;
	unsigned int round;
	size_t first, nr, i;
	int byte;

	for (round = 0; round < r->rounds && !is_over(r->until); round++) {
		first = harness_random(&r->state) % r->pages;
		nr = 1 + harness_random(&r->state) % (r->pages - first);
		byte = 1 + round % 255;
		EXPECT_RET(discard(f->s.fd, r->p, r->pages * PAGE, 0, &d), 0);
		discard_expect_accounts(&d);
		if (harness_random(&r->state) % 8) {
			c = CMD(FILL, .dst = ADDR(r->p + first * PAGE), .length = nr * PAGE,
				.arg0 = byte);
			EXPECT_RET(channel_run(f->s.fd, channel, &c, 1), 0);
		} else {
			memset(r->p + first * PAGE, byte, nr * PAGE);
		}
		if (harness_random(&r->state) % 4 == 0)
			continue;
		for (i = first; i < first + nr; i++)
			EXPECT_BYTES(r->p + i * PAGE, PAGE, byte);
	}
	EXPECT_GT(round, 0);
	harness_note("%u rounds", round);
	return NULL;
}

/* Moves all of it to and fro, and reads it. */
static void *race_disturb(void *arg)
{
	struct racer *r = arg;
	struct fix *f = r->f;
	struct uvm_migrate m;

	while (!atomic_load(r->stop)) {
		switch (harness_random(&r->state) % 4) {
		case 0:
			migrate(f->s.fd, r->p, r->pages * PAGE, UVM_DEST_CPU, 0, NULL, &m);
			break;
		case 1:
			(void)*(volatile char *)(r->p + harness_random(&r->state) % r->pages * PAGE);
			break;
		default:
			migrate(f->s.fd, r->p, r->pages * PAGE, UVM_DEST_GPU, 0,
				harness_random(&r->state) % 2 ? f->gpu.uuid : f->gpu2.uuid,
				&m);
		}
	}
	return NULL;
}

/*
 * Two threads share a block, and each discards its own part of it only; another one moves
 * all of it.
 */
TEST_VT(race, lazy, 300)
{
	unsigned int rounds = harness_rounds(3000);
	uint64_t until = deadline();
	pthread_t thread[3];
	struct racer r[3];
	atomic_bool stop;
	size_t pages;
	struct fix f;
	char *p;
	int i;

	fix_pair(&f, v);
	atomic_init(&stop, false);
	p = fix_pattern(&f, f.huge ? HUGE : f.length, 1);
	pages = (f.huge ? HUGE : f.length) / PAGE;
	for (i = 0; i < 3; i++)
		r[i] = (struct racer){ .f = &f, .second = i == 1, .rounds = rounds,
				       .until = until, .state = harness_seed + i,
				       .stop = &stop };
	r[0].p = p;
	r[0].pages = pages / 2;
	r[1].p = p + pages / 2 * PAGE;
	r[1].pages = pages - pages / 2;
	r[2].p = p;
	r[2].pages = pages;
	ASSERT_EQ(pthread_create(&thread[2], NULL, race_disturb, &r[2]), 0);
	ASSERT_EQ(pthread_create(&thread[1], NULL, race_discard, &r[1]), 0);
	race_discard(&r[0]);
	pthread_join(thread[1], NULL);
	atomic_store(&stop, true);
	pthread_join(thread[2], NULL);
	fix_close(&f);
}

/* The same without anybody else: what the GPU writes comes home at once. */
TEST_VT(write_and_go_home, lazy, 300)
{
	unsigned int round, rounds = harness_rounds(3000);
	uint64_t state = harness_seed, until = deadline();
	struct uvm_migrate m;
	struct uvm_discard d;
	size_t pages, i;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.huge ? HUGE : 16 * PAGE, 1);
	pages = (f.huge ? HUGE : 16 * PAGE) / PAGE;
	for (round = 0; round < rounds && !is_over(until); round++) {
		i = harness_random(&state) % pages;
		fix_to_gpu(&f, p, pages * PAGE);
		ASSERT_RET(discard(f.s.fd, p, pages * PAGE, 0, &d), 0);
		EXPECT_EQ(d.out_discarded, pages);
		fix_fill(&f, p + i * PAGE, PAGE, 1 + round % 255);
		if (round % 2)
			ASSERT_RET(migrate(f.s.fd, p, pages * PAGE, UVM_DEST_CPU, 0, NULL, &m), 0);
		EXPECT_BYTES(p + i * PAGE, PAGE, 1 + round % 255);
		fix_to_cpu(&f, p, pages * PAGE);
	}
	EXPECT_GT(round, 0);
	fix_close(&f);
}

/* A process that is killed while it discards leaves nothing behind. */
TEST_V(killed, lazy)
{
	unsigned int round, rounds = harness_rounds(10);
	struct uvm_discard d;
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	for (round = 0; round < rounds; round++) {
		pid = child();
		if (!pid) {
			fix_reopen(&f);
			p = on_gpu(&f, f.length, 1);
			for (;;)
				EXPECT_RET2(discard(f.s.fd, p, f.length, 0, &d), 0, -EINTR);
		}
		usleep(20000 + round * 2000);
		kill(pid, SIGKILL);
		EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
		EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	}
	fix_close(&f);
}

int main(int argc, char **argv)
{
	leak_check_install();
	return harness_main(argc, argv);
}
