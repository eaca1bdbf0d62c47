// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves the contract of UVM_MIGRATE and UVM_QUERY_RESIDENCY on every memory
 * kind, with small and huge pages: no byte is ever lost or wrong, every page is
 * accounted for with the right reason, pages are where they are said to be, and
 * what happens to memory otherwise (fork, exit, munmap, mremap, mprotect,
 * madvise, pins, mlock, swap, KSM, exhaustion, kill) happens to pages on a GPU
 * as it does to any.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <numa.h>
#include <numaif.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "lib_pressure.h"
#include "lib_uvm.h"

static int to_cpu(struct fix *f, const void *p, size_t length,
		  struct uvm_migrate *m)
{
	bool numa = f->gpu.memory_kind == UVM_MEMORY_NUMA;

	return migrate(f->s.fd, p, length, numa ? UVM_DEST_CPU_NODE : UVM_DEST_CPU,
		       0, NULL, m);
}

/* ---- there and back ---- */

TEST_V(round_trip, all_kinds_managed)
{
	unsigned int i, rounds = harness_rounds(2);
	struct uvm_migrate m;
	unsigned long n;
	uint64_t sum;
	struct fix f;
	char *p;

	fix_open(&f, v);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 1);
	sum = sum64(p, f.length);
	for (i = 0; i < rounds; i++) {
		EXPECT_EQ(fix_on_gpu(&f, p, f.length), 0);
		ASSERT_RET(to_gpu(&f, p, f.length, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_done, f.length);
		EXPECT_EQ(m.out_moved, n);
		EXPECT_EQ(m.out_already, 0);
		EXPECT_EQ(fix_on_gpu(&f, p, f.length), n);
		EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum);
		EXPECT_EQ(fix_on_gpu(&f, p, f.length), n);

		ASSERT_RET(to_cpu(&f, p, f.length, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_done, f.length);
		EXPECT_EQ(m.out_moved, n);
		EXPECT_EQ(m.out_already, 0);
		EXPECT_EQ(fix_on_cpu(&f, p, f.length), n);
		EXPECT_PATTERN(p, f.length, 1);
	}
	/* and the other way home: by touch, with nothing migrated by request */
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 1);
	pattern_fill(p, f.length, 2);
	EXPECT_PATTERN(p, f.length, 2);
	if (private_kind(&f))
		EXPECT_EQ(fix_on_cpu(&f, p, f.length), n);
	fix_to_gpu(&f, p, f.length);
	fix_to_cpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 2);
	fix_close(&f);
}

TEST_V(already_there, all_kinds_managed)
{
	struct uvm_migrate m;
	unsigned long n;
	struct fix f;
	char *p;

	fix_open(&f, v);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 1);
	fix_to_cpu(&f, p, f.length);
	ASSERT_RET(to_cpu(&f, p, f.length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_moved, 0);
	EXPECT_EQ(m.out_already, n);
	fix_to_gpu(&f, p, f.length);
	ASSERT_RET(to_gpu(&f, p, f.length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_moved, 0);
	EXPECT_EQ(m.out_already, n);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), n);
	EXPECT_PATTERN(p, f.length, 1);
	fix_close(&f);
}

/* Sizes and alignments that fit no block: odd starts, odd ends, many blocks */
TEST_VT(odd_ranges, kinds_managed, 60)
{
	static const size_t cuts[][2] = {
		{ 0, 1 }, { 1, 1 }, { 511, 2 }, { 3, 600 }, { 500, 24 },
		{ 1023, 513 }, { 7, 1529 },
	};
	size_t i, first, count, total = 1536;
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = aligned_pattern(&f, total * PAGE, 4);
	fix_to_cpu(&f, p, total * PAGE);
	for (i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		first = cuts[i][0];
		count = cuts[i][1];
		ASSERT_RET(to_gpu(&f, p + first * PAGE, count * PAGE, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_moved, count);
		/* those and no other */
		EXPECT_EQ(fix_on_gpu(&f, p + first * PAGE, count * PAGE), count);
		EXPECT_EQ(fix_on_gpu(&f, p, total * PAGE), count);
		ASSERT_RET(to_cpu(&f, p, total * PAGE, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_moved, count);
		EXPECT_EQ(m.out_already, total - count);
	}
	EXPECT_PATTERN(p, total * PAGE, 4);
	fix_close(&f);
}

TEST_V(overlapping, kinds_huge_managed)
{
	struct uvm_migrate m;
	unsigned long n;
	struct fix f;
	size_t half;
	char *p;

	fix_open(&f, v);
	n = f.length / PAGE;
	half = f.length / 2;
	p = fix_pattern(&f, f.length, 5);
	fix_to_gpu(&f, p, half);
	ASSERT_RET(to_gpu(&f, p + half / 2, f.length - half / 2, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_already, n / 4);
	EXPECT_EQ(m.out_moved, n / 2);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), n);

	/* A part of a huge page is moved, or refused as such. */
	ASSERT_RET(to_cpu(&f, p + half / 2, 4 * PAGE, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, 4 * PAGE);
	EXPECT_EQ(m.out_moved + m.out_skipped[UVM_SKIP_BUSY], 4);
	if (!f.huge)
		EXPECT_EQ(m.out_moved, 4);
	EXPECT_EQ(fix_on_cpu(&f, p + half / 2, 4 * PAGE), m.out_moved);
	EXPECT_PATTERN(p, f.length, 5);
	fix_close(&f);
}

/* ---- what isn't there ---- */

TEST_V(holes_to_gpu, all_kinds_managed)
{
	struct uvm_migrate m;
	unsigned long n;
	struct fix f;
	char *p;

	fix_open(&f, v);
	n = f.length / PAGE;
	p = fix_buffer(&f, f.length);
	EXPECT_EQ(fix_tally(&f, p, f.length).none, n);
	ASSERT_RET(to_gpu(&f, p, f.length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_moved, n);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), n);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), 0);
	EXPECT_BYTES(p, f.length, 0);
	pattern_fill(p, f.length, 6);
	EXPECT_PATTERN(p, f.length, 6);
	fix_close(&f);
}

/* Freed device memory is dirty; a hole's new page must not show it. */
TEST_V(holes_show_no_old_data, kinds_huge_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 7);
	fix_to_gpu(&f, p, f.length);
	munmap(p, f.length);
	p = fix_buffer(&f, f.length);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), 0);
	EXPECT_BYTES(p, f.length, 0);
	fix_close(&f);
}

TEST_V(holes_to_cpu, kinds_managed)
{
	struct uvm_migrate m;
	unsigned long n;
	struct fix f;
	char *p;

	fix_open(&f, v);
	n = f.length / PAGE;
	p = fix_buffer(&f, f.length);
	ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_CPU, 0, NULL, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_HOLE_NOT_POPULATED], n);
	ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_CPU_NODE, 0, NULL, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_HOLE_NOT_POPULATED], n);
	EXPECT_EQ(fix_tally(&f, p, f.length).none, n);

	/* every third page, then a mix of everything */
	pattern_fill_from(p + 3 * PAGE, PAGE, 8, 3);
	pattern_fill_from(p + 9 * PAGE, PAGE, 8, 9);
	fix_to_gpu(&f, p + 8 * PAGE, 4 * PAGE);
	ASSERT_RET(to_cpu(&f, p, 16 * PAGE, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_HOLE_NOT_POPULATED], 11);
	EXPECT_EQ(m.out_moved + m.out_already, 5);
	EXPECT_GE(m.out_moved, 4);
	EXPECT_EQ(pattern_check_from(p + 3 * PAGE, PAGE, 8, 3), -1);
	EXPECT_EQ(pattern_check_from(p + 9 * PAGE, PAGE, 8, 9), -1);
	EXPECT_BYTES(p + 10 * PAGE, 2 * PAGE, 0);
	fix_close(&f);
}

TEST_V(zero_page, kinds_huge_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_buffer(&f, f.length);
	EXPECT_BYTES(p, f.length, 0);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), 0);
	EXPECT_BYTES(p, f.length, 0);
	fix_to_gpu(&f, p, f.length);
	pattern_fill_from(p + PAGE, PAGE, 9, 1);
	EXPECT_BYTES(p, PAGE, 0);
	EXPECT_EQ(pattern_check_from(p + PAGE, PAGE, 9, 1), -1);
	EXPECT_BYTES(p + 2 * PAGE, f.length - 2 * PAGE, 0);
	fix_to_cpu(&f, p, f.length);
	EXPECT_EQ(pattern_check_from(p + PAGE, PAGE, 9, 1), -1);
	EXPECT_BYTES(p + 2 * PAGE, f.length - 2 * PAGE, 0);
	fix_close(&f);
}

/* The zero page is in nobody's memory, whatever node the kernel lies on. */
TEST_V(zero_page_is_nowhere, all_kinds)
{
	struct uvm_migrate m;
	unsigned long n;
	struct fix f;
	int node;
	char *p;

	fix_open(&f, v);
	n = f.length / PAGE;
	p = fix_buffer(&f, f.length);
	EXPECT_BYTES(p, f.length, 0);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), n);
	ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_CPU, 0, NULL, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_already, n);
	for (node = 0; node <= numa_max_node(); node++) {
		ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_CPU_NODE, node,
				   NULL, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_skipped[UVM_SKIP_HOLE_NOT_POPULATED], n);
	}
	EXPECT_BYTES(p, f.length, 0);
	fix_close(&f);
}

/* ---- kinds of mappings ---- */

/* Does a store to @p kill the process? */
static bool store_dies(volatile char *p)
{
	pid_t pid = child();

	if (!pid) {
		*p = 1;
		child_exit();
	}
	return child_wait(pid) == 128 + SIGSEGV;
}

static bool load_dies(volatile char *p)
{
	pid_t pid = child();

	if (!pid) {
		(void)*p;
		child_exit();
	}
	return child_wait(pid) == 128 + SIGSEGV;
}

TEST_V(read_only, kinds_huge)
{
	struct uvm_page_state st;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 10);
	ASSERT_RET(mprotect(p, f.length, PROT_READ), 0);
	fix_to_gpu(&f, p, f.length);
	ASSERT_RET(residency(f.s.fd, p, PAGE, &st), 0);
	EXPECT_EQ(st.prot & UVM_PAGE_WRITE, 0);
	EXPECT_TRUE(store_dies(p));
	EXPECT_PATTERN(p, f.length, 10);
	fix_to_gpu(&f, p, f.length);
	fix_to_cpu(&f, p, f.length);
	EXPECT_TRUE(store_dies(p));
	EXPECT_PATTERN(p, f.length, 10);
	ASSERT_RET(mprotect(p, f.length, PROT_READ | PROT_WRITE), 0);
	pattern_fill(p, f.length, 11);
	EXPECT_PATTERN(p, f.length, 11);
	fix_close(&f);
}

static void *map_file(size_t length, int flags, int *fd, uint64_t seed)
{
	char *p;

	*fd = memfd_create("data", MFD_CLOEXEC);
	ASSERT_GE(*fd, 0);
	ASSERT_EQ(ftruncate(*fd, length), 0);
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	pattern_fill(p, length, seed);
	if (flags == MAP_SHARED)
		return p;
	munmap(p, length);
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, *fd, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	return p;
}

/* Pages of a private file mapping that were written are anonymous, and move. */
TEST_V(private_file, devices)
{
	size_t i, n = 32, length = n * PAGE;
	struct uvm_migrate m;
	struct fix f;
	char *p, *file;
	int fd;

	fix_open(&f, v);
	p = map_file(length, MAP_PRIVATE, &fd, 12);
	for (i = 0; i < n; i += 4)
		pattern_fill_from(p + i * PAGE, PAGE, 13, i);	/* copied */
	for (i = 1; i < n; i += 4)
		(void)*(volatile char *)(p + i * PAGE);		/* mapped */
	ASSERT_RET(to_gpu(&f, p, length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_moved, n / 4);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_VMA_KIND], n - n / 4);
	EXPECT_EQ(fix_on_gpu(&f, p, length), n / 4);
	for (i = 0; i < n; i++)
		EXPECT_EQ(pattern_check_from(p + i * PAGE, PAGE, i % 4 ? 12 : 13, i), -1);
	file = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
	EXPECT_PATTERN(file, length, 12);
	fix_close(&f);
}

static const struct variant shared_kinds[] = {
	{ "anon_private", UVM_MEMORY_PRIVATE, false },
	{ "anon_coherent", UVM_MEMORY_COHERENT, false },
	{ "file_private", UVM_MEMORY_PRIVATE, true },
	{ "file_coherent", UVM_MEMORY_COHERENT, true },
	{ NULL, 0, 0 },
};

TEST_V(shared_mapping, shared_kinds)
{
	struct variant plain = { v->name, v->kind, false };
	size_t n = 32, length = n * PAGE;
	struct uvm_migrate m;
	struct fix f;
	char *p;
	int fd;

	fix_open(&f, &plain);
	if (v->huge) {
		p = map_file(length, MAP_SHARED, &fd, 14);
	} else {
		p = mmap(NULL, length, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		ASSERT_TRUE(p != MAP_FAILED);
		pattern_fill(p, length, 14);
	}
	ASSERT_RET(to_gpu(&f, p, length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, length);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_VMA_KIND], n);
	EXPECT_EQ(fix_on_gpu(&f, p, length), 0);
	EXPECT_PATTERN(p, length, 14);
	ASSERT_RET(to_cpu(&f, p, length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_moved, 0);
	EXPECT_PATTERN(p, length, 14);
	fix_close(&f);
}

TEST_V(hugetlb, devices)
{
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = hugetlb_page();
	pattern_fill(p, HUGE, 15);
	ASSERT_RET(to_gpu(&f, p, HUGE, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_VMA_KIND], HUGE / PAGE);
	EXPECT_EQ(fix_on_gpu(&f, p, HUGE), 0);
	EXPECT_PATTERN(p, HUGE, 15);
	munmap(p, HUGE);
	hugetlb_done();
	fix_close(&f);
}

/* Address and length of the mapping called @name */
static char *special(const char *name, size_t *length)
{
	unsigned long from, to;
	char line[300];
	FILE *maps = fopen("/proc/self/maps", "re");
	char *p = NULL;

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, name) &&
		    sscanf(line, "%lx-%lx", &from, &to) == 2) {
			p = (char *)from;
			*length = to - from;
		}
	if (maps)
		fclose(maps);
	return p;
}

TEST_V(special_mapping, devices)
{
	static const char * const names[] = { "[vdso]", "[vvar]" };
	struct uvm_migrate m;
	size_t length = 0;
	struct fix f;
	char *p;
	int i;

	fix_open(&f, v);
	for (i = 0; i < 2; i++) {
		p = special(names[i], &length);
		if (!p)
			continue;
		ASSERT_RET(to_gpu(&f, p, length, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_skipped[UVM_SKIP_VMA_KIND], length / PAGE);
		EXPECT_EQ(fix_on_gpu(&f, p, length), 0);
	}
	EXPECT_GT(time(NULL), 0);
	fix_close(&f);
}

/* A range over mappings of all kinds: each gets its due. */
TEST_V(many_vmas, devices)
{
	size_t length = 24 * PAGE, i;
	struct uvm_migrate m;
	struct fix f;
	char *p, *s;
	int fd;

	fix_open(&f, v);
	p = fix_buffer(&f, length);
	pattern_fill(p, length, 16);
	ASSERT_RET(mprotect(p + 4 * PAGE, 4 * PAGE, PROT_READ), 0);
	ASSERT_RET(mprotect(p + 8 * PAGE, 4 * PAGE,
			    PROT_READ | PROT_WRITE | PROT_EXEC), 0);
	s = map_file(4 * PAGE, MAP_SHARED, &fd, 17);
	ASSERT_TRUE(mmap(p + 12 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, 0) == p + 12 * PAGE);
	/* 16..19 anonymous as before, 20..23 never touched */
	ASSERT_TRUE(mmap(p + 20 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		    p + 20 * PAGE);
	for (i = 0; i < 2; i++) {
		ASSERT_RET(to_gpu(&f, p, length, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_done, length);
		EXPECT_EQ(i ? m.out_already : m.out_moved, 20);
		EXPECT_EQ(m.out_skipped[UVM_SKIP_VMA_KIND], 4);
	}
	EXPECT_EQ(fix_on_gpu(&f, p, length), 20);
	EXPECT_PATTERN(p, 12 * PAGE, 16);
	EXPECT_PATTERN(p + 12 * PAGE, 4 * PAGE, 17);
	EXPECT_EQ(pattern_check_from(p + 16 * PAGE, 4 * PAGE, 16, 16), -1);
	EXPECT_BYTES(p + 20 * PAGE, 4 * PAGE, 0);
	munmap(s, 4 * PAGE);
	fix_close(&f);
}

/* ---- what can't move, and what can after all ---- */

/* A pipe that holds references of the four pages at @p. */
static void hold(int pipes[2], char *p)
{
	struct iovec iov = { p, 4 * PAGE };

	ASSERT_EQ(pipe(pipes), 0);
	ASSERT_EQ(vmsplice(pipes[1], &iov, 1, 0), 4 * PAGE);
}

/* The pipe's pages must be those of the mapping still: they show what it shows. */
static void expect_held(int pipes[2], char *p, uint64_t seed, size_t first_page)
{
	char *copy = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	ssize_t n, got = 0;

	pattern_fill_from(p, 4 * PAGE, ~seed, first_page);
	while (got < (ssize_t)(4 * PAGE)) {
		n = read(pipes[0], copy + got, 4 * PAGE - got);
		ASSERT_GT(n, 0);
		got += n;
	}
	EXPECT_EQ(pattern_check_from(copy, 4 * PAGE, ~seed, first_page), -1);
	pattern_fill_from(p, 4 * PAGE, seed, first_page);
	munmap(copy, 4 * PAGE);
	close(pipes[0]);
	close(pipes[1]);
}

TEST_V(pinned, kinds_huge_managed)
{
	struct uvm_migrate m;
	unsigned long n;
	struct fix f;
	int pipes[2];
	char *p;

	fix_open(&f, v);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 18);
	fix_to_cpu(&f, p, f.length);
	hold(pipes, p + 8 * PAGE);
	ASSERT_RET(to_gpu(&f, p, f.length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, f.length);
	EXPECT_GE(m.out_skipped[UVM_SKIP_BUSY], 4);
	if (!f.huge)
		EXPECT_EQ(m.out_skipped[UVM_SKIP_BUSY], 4);
	EXPECT_EQ(m.out_moved, n - m.out_skipped[UVM_SKIP_BUSY]);
	/* the held ones are where they were, and nobody else is */
	EXPECT_EQ(fix_on_gpu(&f, p + 8 * PAGE, 4 * PAGE), 0);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), m.out_moved);
	EXPECT_PATTERN(p, f.length, 18);
	expect_held(pipes, p + 8 * PAGE, 18, 8);
	/* let go, they move */
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 18);
	fix_close(&f);
}

TEST_V(pinned_on_gpu, in_place)
{
	struct uvm_migrate m;
	struct fix f;
	int pipes[2];
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 19);
	fix_to_gpu(&f, p, f.length);
	hold(pipes, p + 8 * PAGE);
	EXPECT_EQ(fix_on_gpu(&f, p + 8 * PAGE, 4 * PAGE), 4);
	ASSERT_RET(to_cpu(&f, p, f.length, &m), 0);
	expect_accounts(&m);
	EXPECT_GE(m.out_skipped[UVM_SKIP_BUSY], 4);
	EXPECT_EQ(fix_on_gpu(&f, p + 8 * PAGE, 4 * PAGE), 4);
	EXPECT_PATTERN(p, f.length, 19);
	expect_held(pipes, p + 8 * PAGE, 19, 8);
	fix_to_cpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 19);
	fix_close(&f);
}

/* A reference held while the mapping dies: the page outlives it, on a GPU too. */
TEST_V(pinned_and_unmapped, in_place)
{
	char *p, *copy;
	struct fix f;
	int pipes[2];
	ssize_t n, got = 0;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 20);
	fix_to_gpu(&f, p, f.length);
	hold(pipes, p + 8 * PAGE);
	munmap(p, f.length);
	copy = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	while (got < (ssize_t)(4 * PAGE)) {
		n = read(pipes[0], copy + got, 4 * PAGE - got);
		ASSERT_GT(n, 0);
		got += n;
	}
	EXPECT_EQ(pattern_check_from(copy, 4 * PAGE, 20, 8), -1);
	close(pipes[0]);
	close(pipes[1]);
	fix_close(&f);
}

TEST_V(mlocked, kinds_huge_managed)
{
	struct fix f;
	char *p;

	stay_on_cpu();
	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 21);
	ASSERT_RET(mlock(p, f.length), 0);
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 21);
	fix_to_gpu(&f, p, f.length);
	fix_to_cpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 21);
	fix_to_gpu(&f, p, f.length);
	EXPECT_RET(munlock(p, f.length), 0);
	EXPECT_PATTERN(p, f.length, 21);
	fix_close(&f);
}

/* ---- two GPUs ---- */

TEST_V(gpu_to_gpu, devices_huge_managed)
{
	struct uvm_sim_cmd c;
	struct uvm_migrate m;
	unsigned long n;
	uint64_t sum, *out;
	struct fix f;
	char *p;

	fix_pair(&f, v);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 22);
	sum = sum64(p, f.length);
	fix_to_gpu(&f, p, f.length);
	ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_GPU, 0, f.gpu2.uuid, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_moved, n);
	EXPECT_EQ(fix_on_gpu2(&f, p, f.length), n);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), 0);
	out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	c = CMD(SUM, .dst = ADDR(out), .src = ADDR(p), .length = f.length);
	ASSERT_RET(channel_run(f.s.fd, f.channel2, &c, 1), 0);
	EXPECT_EQ(*out, sum);
	EXPECT_EQ(fix_on_gpu2(&f, p, f.length), n);

	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum);
	/* half here, half there, half of both to the other side */
	fix_to_gpu2(&f, p, f.length / 2);
	fix_to_gpu(&f, p + f.length / 4, f.length / 2);
	EXPECT_PATTERN(p, f.length, 22);
	fix_to_gpu2(&f, p, f.length);
	fix_to_cpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 22);
	fix_close(&f);
}

/* ---- the CPU touches ---- */

/* Private pages come home, and at most a window of neighbours with them. */
TEST_V(touch_private, private_managed)
{
	size_t n = 256, length = n * PAGE, i;
	struct uvm_page_state *st;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, length, 23);
	fix_to_gpu(&f, p, length);
	EXPECT_EQ(pattern_check_from(p + 100 * PAGE, 8, 23, 100), -1);
	st = calloc(n, sizeof(*st));
	ASSERT_RET(residency(f.s.fd, p, length, st), 0);
	EXPECT_EQ(st[100].where, UVM_WHERE_CPU);
	for (i = 0; i < n; i++)
		if (i + 16 <= 100 || i >= 100 + 16)
			EXPECT_EQ(st[i].where, UVM_WHERE_GPU);
	/* a store does the same */
	fix_to_gpu(&f, p, length);
	*(volatile char *)(p + 200 * PAGE + 8) ^= 0xff;
	*(volatile char *)(p + 200 * PAGE + 8) ^= 0xff;
	EXPECT_EQ(fix_on_cpu(&f, p + 200 * PAGE, PAGE), 1);
	EXPECT_EQ(fix_on_gpu(&f, p, 64 * PAGE), 64);
	EXPECT_PATTERN(p, length, 23);
	fix_close(&f);
}

/* ---- huge pages ---- */

static const struct variant private_huge[] = {
	{ "private_thp", UVM_MEMORY_PRIVATE, true },
	{ NULL },
};

/* A huge page moves as one, both ways, if the kernel can; if not, its pages do. */
TEST_V(huge_stays_huge, private_huge)
{
	bool can = feature_mask() & UVM_FEATURE_HUGE_PAGES;
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 120);
	fix_to_gpu(&f, p, HUGE);
	EXPECT_EQ(fix_gpu_sum(&f, p, HUGE), sum64(p, HUGE));
	fix_to_gpu(&f, p, HUGE);
	EXPECT_EQ(pattern_check_from(p + 300 * PAGE, PAGE, 120, 300), -1);
	EXPECT_EQ(fix_on_cpu(&f, p, HUGE), can ? 512 : 16);
	EXPECT_EQ(huge_bytes(p), can ? HUGE : 0);
	fix_to_gpu(&f, p, HUGE);
	ASSERT_RET(to_cpu(&f, p, HUGE, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_moved, 512);
	EXPECT_EQ(huge_bytes(p), can ? HUGE : 0);
	EXPECT_PATTERN(p, HUGE, 120);
	fix_close(&f);
}

/* So is a hole, where the CPU would have had a huge page too. */
TEST_V(huge_hole, private_huge)
{
	bool can = feature_mask() & UVM_FEATURE_HUGE_PAGES;
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	p = fix_buffer(&f, HUGE);
	fix_to_gpu(&f, p, HUGE);
	EXPECT_EQ(fix_gpu_sum(&f, p, HUGE), 0);
	EXPECT_EQ(p[5 * PAGE], 0);
	EXPECT_EQ(huge_bytes(p), can ? HUGE : 0);
	EXPECT_BYTES(p, HUGE, 0);
	q = fix_buffer(&f, HUGE);
	ASSERT_RET(madvise(q, HUGE, MADV_NOHUGEPAGE), 0);
	fix_to_gpu(&f, q, HUGE);
	EXPECT_EQ(q[5 * PAGE], 0);
	EXPECT_EQ(fix_on_cpu(&f, q, HUGE), 16);
	EXPECT_EQ(huge_bytes(q), 0);
	EXPECT_BYTES(q, HUGE, 0);
	fix_close(&f);
}

/*
 * A huge page on the GPU that is mapped page by page, since a part of it is different:
 * the CPU comes to it at its first pages, or somewhere.
 */
TEST_V(huge_in_part, private_huge)
{
	static const size_t at[] = { 0, 5, 15, 300 };
	struct fix f;
	size_t i;
	char *p;

	fix_open(&f, v);
	for (i = 0; i < 3 * sizeof(at) / sizeof(at[0]); i++) {
		size_t page = at[i / 3];

		p = fix_pattern(&f, HUGE, 123);
		fix_to_gpu(&f, p, HUGE);
		if (i % 3 == 0)
			ASSERT_RET(mprotect(p + 400 * PAGE, 100 * PAGE, PROT_READ), 0);
		else if (i % 3 == 1)
			ASSERT_RET(munmap(p + 400 * PAGE, 100 * PAGE), 0);
		else
			ASSERT_RET(madvise(p + 400 * PAGE, 100 * PAGE,
					   MADV_DONTNEED), 0);
		EXPECT_EQ(pattern_check_from(p + page * PAGE, PAGE, 123, page), -1);
		EXPECT_EQ(fix_on_cpu(&f, p + page * PAGE, PAGE), 1);
		EXPECT_PATTERN(p, 400 * PAGE, 123);
		EXPECT_EQ(pattern_check_from(p + 500 * PAGE, 12 * PAGE, 123, 500), -1);
		munmap(p, HUGE);
	}
	fix_close(&f);
}

/* The GPU has no 2 MiB in one piece left. */
TEST_V(huge_to_pieces, private_huge)
{
	struct uvm_migrate m;
	size_t room, i;
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	room = gpu_free(&f.gpu) & ~(HUGE - 1);
	q = anon_huge(room);
	ASSERT_RET(madvise(q, room, MADV_NOHUGEPAGE), 0);
	ASSERT_RET(migrate(f.s.fd, q, room, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	ASSERT_EQ(m.out_moved, room / PAGE);
	for (i = 0; i < 4; i++)
		ASSERT_RET(munmap(q + i * HUGE, HUGE / 2), 0);
	ASSERT_TRUE(gpu_free_returns(&f.gpu, 2 * HUGE));
	p = fix_pattern(&f, HUGE, 121);
	fix_to_gpu(&f, p, HUGE);
	EXPECT_EQ(fix_gpu_sum(&f, p, HUGE), sum64(p, HUGE));
	EXPECT_PATTERN(p, HUGE, 121);
	fix_close(&f);
}

static void *read_all(void *arg)
{
	return (void *)pattern_check(arg, HUGE, 122);
}

static ssize_t read_remote(void *to, const void *from, size_t length)
{
	struct iovec l = { to, length }, r = { (void *)from, length };

	return process_vm_readv(getpid(), &l, 1, &r, 1, 0);
}

/*
 * There is no huge page to come home to: it comes in pieces, for the CPU's loads and
 * stores, on several threads at once, for the kernel's, and by command.
 */
TEST_VT(huge_to_no_huge, private_huge, 60)
{
	unsigned int i, rounds = harness_rounds(5);
	char *p, *copy = malloc(HUGE);
	struct uvm_migrate m;
	pthread_t threads[3];
	struct fix f;
	void *bad;

	fix_open(&f, v);
	for (i = 0; i < rounds; i++) {
		p = fix_pattern(&f, HUGE, 122);
		fix_to_gpu(&f, p, HUGE);
		if (!pages_fail(9, 100))
			SKIP("the kernel injects no failures");
		if (i % 3 == 0)
			for (int t = 0; t < 3; t++)
				pthread_create(&threads[t], NULL, read_all, p);
		else if (i % 3 == 1)
			EXPECT_EQ(read_remote(copy, p, HUGE), HUGE);
		else
			ASSERT_RET(to_cpu(&f, p, HUGE, &m), 0);
		for (int t = 0; i % 3 == 0 && t < 3; t++) {
			pthread_join(threads[t], &bad);
			EXPECT_EQ((long)bad, -1);
		}
		if (i % 3 == 1)
			EXPECT_PATTERN(copy, HUGE, 122);
		p[7] ^= 1;
		p[7] ^= 1;
		EXPECT_PATTERN(p, HUGE, 122);
		pages_fail_no_more();
		EXPECT_EQ(huge_bytes(p), 0);
		munmap(p, HUGE);
	}
	fix_close(&f);
}

static void child_unmaps(char *p, size_t length, pthread_barrier_t *ready,
			 unsigned int us)
{
	struct timespec later = { .tv_nsec = us * 1000L };

	pthread_barrier_wait(ready);
	nanosleep(&later, NULL);
	munmap(p, length);
	_exit(0);
}

/*
 * Children that have the same huge pages unmap them while they come home: to the CPU that
 * touches them, or by command.
 */
TEST_VT(huge_unmapped_by_child, private_huge, 60)
{
	enum { CHILDREN = 4 };
	unsigned int i, k, rounds = harness_rounds(30);
	pthread_barrier_t *ready = shared_barrier(CHILDREN + 1);
	pid_t pid[CHILDREN];
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	for (i = 0; i < rounds; i++) {
		p = fix_pattern(&f, f.length, 123);
		fix_to_gpu(&f, p, f.length);
		for (k = 0; k < CHILDREN; k++) {
			pid[k] = child();
			if (!pid[k])
				child_unmaps(p, f.length, ready, (i % 8 + 8 * k) * 400);
		}
		pthread_barrier_wait(ready);
		if (i % 2)
			ASSERT_RET(to_cpu(&f, p, f.length, &m), 0);
		EXPECT_PATTERN(p, f.length, 123);
		for (k = 0; k < CHILDREN; k++)
			EXPECT_EQ(child_wait(pid[k]), 0);
		munmap(p, f.length);
	}
	fix_close(&f);
}

struct dropper {
	char *p;
	size_t length;
	pthread_barrier_t ready;
	unsigned int us;
};

static void *dropper_main(void *arg)
{
	struct dropper *d = arg;
	struct timespec later = { .tv_nsec = d->us * 1000L };

	pthread_barrier_wait(&d->ready);
	nanosleep(&later, NULL);
	return (void *)(long)madvise(d->p, d->length, MADV_DONTNEED);
}

/*
 * A thread drops huge pages while they come home, to the CPU that touches them or by
 * command: afterwards they are zero, wherever they were then, and meanwhile either zero
 * or what they were.
 */
TEST_VT(huge_dropped_by_thread, private_huge, 60)
{
	unsigned int i, rounds = harness_rounds(30);
	struct dropper d = { 0 };
	struct uvm_migrate m;
	pthread_t thread;
	struct fix f;
	void *ret;

	fix_open(&f, v);
	ASSERT_EQ(pthread_barrier_init(&d.ready, NULL, 2), 0);
	d.length = f.length;
	for (i = 0; i < rounds; i++) {
		d.p = fix_pattern(&f, f.length, 124 + i);
		d.us = i % 8 * 400;
		fix_to_gpu(&f, d.p, f.length);
		ASSERT_EQ(pthread_create(&thread, NULL, dropper_main, &d), 0);
		pthread_barrier_wait(&d.ready);
		if (i % 2)
			ASSERT_RET(to_cpu(&f, d.p, f.length, &m), 0);
		EXPECT_EQ(pattern_or_zero_check(d.p, f.length, 124 + i), -1);
		pthread_join(thread, &ret);
		EXPECT_EQ((long)ret, 0);
		EXPECT_BYTES(d.p, f.length, 0);
		retire(d.p, f.length);
	}
	fix_close(&f);
}

static void *space_main(void *arg)
{
	struct fix *f = arg;

	fix_close(f);
	fix_reopen(f);
	return NULL;
}

/* The same, while the only VA space of the process goes, and another one comes. */
TEST_VT(huge_dropped_without_space, private_huge, 60)
{
	unsigned int i, rounds = harness_rounds(30);
	struct dropper d = { 0 };
	pthread_t thread[2];
	struct fix f;
	void *ret;

	fix_open(&f, v);
	ASSERT_EQ(pthread_barrier_init(&d.ready, NULL, 2), 0);
	d.length = f.length;
	for (i = 0; i < rounds; i++) {
		d.p = fix_pattern(&f, f.length, 224 + i);
		d.us = i % 8 * 400;
		fix_to_gpu(&f, d.p, f.length);
		ASSERT_EQ(pthread_create(&thread[0], NULL, dropper_main, &d), 0);
		pthread_barrier_wait(&d.ready);
		ASSERT_EQ(pthread_create(&thread[1], NULL, space_main, &f), 0);
		EXPECT_EQ(pattern_or_zero_check(d.p, f.length, 224 + i), -1);
		pthread_join(thread[0], &ret);
		EXPECT_EQ((long)ret, 0);
		pthread_join(thread[1], NULL);
		EXPECT_BYTES(d.p, f.length, 0);
		retire(d.p, f.length);
	}
	fix_close(&f);
}

/* Coherent memory is used where it is. */
TEST_V(touch_in_place, in_place)
{
	unsigned long n;
	struct fix f;
	char *p;

	fix_open(&f, v);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 24);
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 24);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), n);
	pattern_fill(p, f.length, 25);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), n);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	EXPECT_PATTERN(p, f.length, 25);
	fix_close(&f);
}

/* The kernel as the toucher: system calls into and out of pages on a GPU */
TEST_V(touch_by_kernel, kinds_managed)
{
	struct fix f;
	int pipes[2];
	char *p, *q;

	fix_open(&f, v);
	p = fix_pattern(&f, 8 * PAGE, 26);
	q = fix_pattern(&f, 8 * PAGE, 27);
	ASSERT_EQ(pipe(pipes), 0);
	fix_to_gpu(&f, p, 8 * PAGE);
	fix_to_gpu(&f, q, 8 * PAGE);
	EXPECT_EQ(write(pipes[1], p, 8 * PAGE), 8 * PAGE);
	EXPECT_EQ(read(pipes[0], q, 8 * PAGE), 8 * PAGE);
	EXPECT_PATTERN(q, 8 * PAGE, 26);
	EXPECT_PATTERN(p, 8 * PAGE, 26);
	fix_close(&f);
}

/* Another process reads and writes them, as a debugger does. */
TEST_V(touch_by_other_process, kinds_managed)
{
	struct iovec here, there;
	struct fix f;
	char *p, *q;
	pid_t pid;

	fix_open(&f, v);
	p = fix_pattern(&f, 8 * PAGE, 28);
	fix_to_gpu(&f, p, 8 * PAGE);
	pid = child();
	if (!pid) {
		q = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
		here = (struct iovec){ q, 8 * PAGE };
		there = (struct iovec){ p, 8 * PAGE };
		EXPECT_EQ(process_vm_readv(getppid(), &here, 1, &there, 1, 0),
			  8 * PAGE);
		EXPECT_PATTERN(q, 8 * PAGE, 28);
		pattern_fill(q, 8 * PAGE, 29);
		EXPECT_EQ(process_vm_writev(getppid(), &here, 1, &there, 1, 0),
			  8 * PAGE);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_PATTERN(p, 8 * PAGE, 29);
	fix_close(&f);
}

/* ---- fork ---- */

static void tell(int fd)
{
	ASSERT_EQ(write(fd, "t", 1), 1);
}

static void listen_for(int fd)
{
	char byte;

	ASSERT_EQ(read(fd, &byte, 1), 1);
}

TEST_V(fork_child_writes, kinds_huge)
{
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 30);
	fix_to_gpu(&f, p, f.length);
	pid = child();
	if (!pid) {
		EXPECT_PATTERN(p, f.length, 30);
		pattern_fill(p, f.length / 2, 31);
		EXPECT_PATTERN(p, f.length / 2, 31);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_PATTERN(p, f.length, 30);
	pattern_fill(p, f.length, 32);
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 32);
	fix_close(&f);
}

TEST_V(fork_parent_writes, kinds_huge)
{
	int go[2], back[2];
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	ASSERT_EQ(pipe(go), 0);
	ASSERT_EQ(pipe(back), 0);
	p = fix_pattern(&f, f.length, 33);
	fix_to_gpu(&f, p, f.length);
	pid = child();
	if (!pid) {
		listen_for(go[0]);
		EXPECT_PATTERN(p, f.length, 33);
		pattern_fill(p, f.length, 35);
		tell(back[1]);
		listen_for(go[0]);
		EXPECT_PATTERN(p, f.length, 35);
		child_exit();
	}
	pattern_fill(p, f.length, 34);
	tell(go[1]);
	listen_for(back[0]);
	EXPECT_PATTERN(p, f.length, 34);
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 34);
	tell(go[1]);
	EXPECT_EQ(child_wait(pid), 0);
	fix_close(&f);
}

/* Shared after fork, the pages move for both, or say why not. */
TEST_V(fork_then_migrate, kinds_huge)
{
	struct uvm_migrate m;
	int go[2];
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	ASSERT_EQ(pipe(go), 0);
	p = fix_pattern(&f, f.length, 36);
	pid = child();
	if (!pid) {
		listen_for(go[0]);
		EXPECT_PATTERN(p, f.length, 36);
		/* own files, own space, the same pages */
		fix_reopen(&f);
		EXPECT_RET(to_gpu(&f, p, f.length, &m), 0);
		expect_accounts(&m);
		EXPECT_PATTERN(p, f.length, 36);
		EXPECT_RET(to_cpu(&f, p, f.length, &m), 0);
		expect_accounts(&m);
		EXPECT_PATTERN(p, f.length, 36);
		pattern_fill(p, f.length, 37);
		EXPECT_RET(to_gpu(&f, p, f.length, &m), 0);
		EXPECT_PATTERN(p, f.length, 37);
		child_exit();
	}
	EXPECT_RET(to_gpu(&f, p, f.length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, f.length);
	EXPECT_PATTERN(p, f.length, 36);
	EXPECT_RET(to_gpu(&f, p, f.length, &m), 0);
	tell(go[1]);
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_PATTERN(p, f.length, 36);
	fix_to_gpu(&f, p, f.length);
	fix_to_cpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 36);
	fix_close(&f);
}

TEST_V(fork_parent_exits_first, kinds_huge)
{
	int go[2], done[2];
	char verdict = 0;
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	ASSERT_EQ(pipe(go), 0);
	ASSERT_EQ(pipe(done), 0);
	pid = child();
	if (!pid) {
		fix_reopen(&f);
		p = fix_pattern(&f, f.length, 38);
		fix_to_gpu(&f, p, f.length);
		if (!child()) {
			listen_for(go[0]);
			EXPECT_PATTERN(p, f.length, 38);
			pattern_fill(p, f.length, 39);
			EXPECT_PATTERN(p, f.length, 39);
			tell(done[1]);
			child_exit();
		}
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	close(done[1]);
	tell(go[1]);
	EXPECT_EQ(read(done[0], &verdict, 1), 1);
	fix_close(&f);
}

/* A deep family, each with its own idea of the data */
TEST_V(fork_generations, kinds)
{
	uint64_t seed = 40;
	struct fix f;
	int depth;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, seed);
	for (depth = 0; depth < 4; depth++) {
		if (depth)
			fix_reopen(&f);
		fix_to_gpu(&f, p, f.length);
		pid = child();
		if (pid)
			break;
		EXPECT_PATTERN(p, f.length, seed);
		pattern_fill(p, f.length, ++seed);
	}
	if (depth == 4)
		child_exit();
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_PATTERN(p, f.length, seed);
	if (depth)
		child_exit();
	fix_close(&f);
}

/* ---- the address space changes under pages on a GPU ---- */

TEST_V(unmap, kinds_huge_managed)
{
	size_t half;
	struct fix f;
	uint64_t was;
	char *p;

	fix_open(&f, v);
	half = f.length / 2;
	was = gpu_free(&f.gpu);
	p = fix_pattern(&f, f.length, 50);
	fix_to_gpu(&f, p, f.length);
	if (f.gpu.memory_kind != UVM_MEMORY_NUMA)
		EXPECT_LE(gpu_free(&f.gpu), was - f.length);
	ASSERT_RET(munmap(p + half, half), 0);
	EXPECT_EQ(fix_tally(&f, p + half, half).none, half / PAGE);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, was > half ? was - half : 0));
	EXPECT_PATTERN(p, half, 50);
	fix_to_gpu(&f, p, half);
	/* the middle of what is left, within a huge page if there is one */
	ASSERT_RET(munmap(p + half / 4, half / 2), 0);
	EXPECT_PATTERN(p, half / 4, 50);
	EXPECT_EQ(pattern_check_from(p + half / 4 * 3, half / 4, 50,
				     half / 4 * 3 / PAGE), -1);
	munmap(p, half / 4);
	munmap(p + half / 4 * 3, half / 4);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, was));
	fix_close(&f);
}

TEST_V(remap, kinds_huge)
{
	unsigned long n;
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 51);
	fix_to_gpu(&f, p, f.length);
	q = anon_huge(f.length);
	ASSERT_TRUE(mremap(p, f.length, f.length, MREMAP_MAYMOVE | MREMAP_FIXED, q) ==
		    q);
	/* moving the address doesn't move the page */
	EXPECT_EQ(fix_on_gpu(&f, q, f.length), n);
	EXPECT_EQ(fix_tally(&f, p, f.length).none, n);
	EXPECT_EQ(fix_gpu_sum(&f, q, f.length), sum64(q, f.length));
	EXPECT_PATTERN(q, f.length, 51);
	fix_to_gpu(&f, q, f.length);
	fix_to_cpu(&f, q, f.length);
	EXPECT_PATTERN(q, f.length, 51);

	/* a piece out of the middle, to a place of another alignment */
	fix_to_gpu(&f, q, f.length);
	p = anon(f.length + PAGE, PROT_READ | PROT_WRITE, 0);
	ASSERT_TRUE(mremap(q + 8 * PAGE, 16 * PAGE, 16 * PAGE,
			   MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE) == p + PAGE);
	EXPECT_EQ(pattern_check_from(p + PAGE, 16 * PAGE, 51, 8), -1);
	EXPECT_PATTERN(q, 8 * PAGE, 51);
	EXPECT_EQ(pattern_check_from(q + 24 * PAGE, f.length - 24 * PAGE, 51, 24), -1);
	fix_close(&f);
}

TEST_V(remap_dontunmap, kinds_huge)
{
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 52);
	fix_to_gpu(&f, p, f.length);
	q = mremap(p, f.length, f.length, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	ASSERT_TRUE(q != MAP_FAILED);
	EXPECT_BYTES(p, f.length, 0);
	EXPECT_PATTERN(q, f.length, 52);
	fix_to_gpu(&f, p, f.length);
	fix_to_gpu(&f, q, f.length);
	EXPECT_BYTES(p, f.length, 0);
	EXPECT_PATTERN(q, f.length, 52);
	fix_close(&f);
}

TEST_V(protect, kinds_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 53);
	fix_to_gpu(&f, p, f.length);
	ASSERT_RET(mprotect(p, f.length, PROT_NONE), 0);
	EXPECT_TRUE(load_dies(p));
	ASSERT_RET(mprotect(p, f.length, PROT_READ), 0);
	EXPECT_TRUE(store_dies(p + PAGE));
	EXPECT_PATTERN(p, f.length, 53);
	ASSERT_RET(mprotect(p, f.length, PROT_READ | PROT_WRITE), 0);
	pattern_fill(p, f.length, 54);
	EXPECT_PATTERN(p, f.length, 54);
	fix_to_gpu(&f, p, f.length);
	/* in the middle of a page of any size */
	ASSERT_RET(mprotect(p + 8 * PAGE, 8 * PAGE, PROT_READ), 0);
	EXPECT_TRUE(store_dies(p + 8 * PAGE));
	EXPECT_TRUE(!store_dies(p));
	EXPECT_PATTERN(p, f.length, 54);
	fix_close(&f);
}

TEST_V(dontneed, kinds_huge)
{
	struct fix f;
	uint64_t was;
	char *p;

	fix_open(&f, v);
	was = gpu_free(&f.gpu);
	p = fix_pattern(&f, f.length, 55);
	fix_to_gpu(&f, p, f.length);
	ASSERT_RET(madvise(p + 4 * PAGE, 8 * PAGE, MADV_DONTNEED), 0);
	EXPECT_EQ(fix_tally(&f, p + 4 * PAGE, 8 * PAGE).none, 8);
	EXPECT_BYTES(p + 4 * PAGE, 8 * PAGE, 0);
	EXPECT_PATTERN(p, 4 * PAGE, 55);
	EXPECT_EQ(pattern_check_from(p + 12 * PAGE, f.length - 12 * PAGE, 55, 12), -1);
	fix_to_gpu(&f, p, f.length);
	ASSERT_RET(madvise(p, f.length, MADV_DONTNEED), 0);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, was));
	EXPECT_BYTES(p, f.length, 0);
	fix_close(&f);
}

/* After MADV_FREE a page is as it was or zero, whole; a store makes it stay. */
TEST_V(madv_free, kinds_huge)
{
	struct fix f;
	size_t i;
	char *p;

	stay_on_cpu();
	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 56);
	fix_to_gpu(&f, p, f.length);
	ASSERT_RET(madvise(p, f.length, MADV_FREE), 0);
	for (i = 0; i < f.length / PAGE; i++)
		EXPECT_TRUE(pattern_check_from(p + i * PAGE, PAGE, 56, i) == -1 ||
			    bytes_check(p + i * PAGE, PAGE, 0) == -1);
	pattern_fill(p, f.length, 57);
	ASSERT_RET(madvise(p, f.length / 2, MADV_FREE), 0);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(pattern_check_from(p + f.length / 2, f.length / 2, 57,
				     f.length / 2 / PAGE), -1);
	pattern_fill(p, f.length / 2, 58);
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length / 2, 58);
	fix_close(&f);
}

/* ---- NUMA nodes as destinations ---- */

/* Of pages that the process has mapped, the kernel tells it: so managed ones are touched. */
static void expect_node(struct fix *f, const char *p, size_t length, int node)
{
	size_t i, n = length / PAGE;
	void **pages = calloc(n, sizeof(*pages));
	int *status = calloc(n, sizeof(*status));
	int seen = -1;

	ASSERT_TRUE(pages && status);
	for (i = 0; i < n; i++)
		pages[i] = (void *)(p + i * PAGE);
	for (i = 0; f->managed && i < n; i++)
		(void)*(volatile const char *)pages[i];
	ASSERT_EQ(numa_move_pages(0, n, pages, NULL, status, 0), 0);
	for (i = 0; i < n; i++)
		EXPECT_EQ(status[i], node);
	EXPECT_EQ(get_mempolicy(&seen, NULL, 0, (void *)p,
				MPOL_F_NODE | MPOL_F_ADDR), 0);
	EXPECT_EQ(seen, node);
	free(pages);
	free(status);
}

/* The GPU that is this node, if one is: then its pages are not the CPU's. */
static int gpu_of_node(int node)
{
	struct uvm_gpu_info gpus[MAX_GPUS];
	int i, nr = gpus_list(gpus, MAX_GPUS);

	for (i = 0; i < nr; i++)
		if (gpus[i].numa_node == node)
			return gpus[i].id;
	return -1;
}

TEST_V(nodes, all_kinds_managed)
{
	int node, gpu, nodes = 0, last = -1;
	struct uvm_page_state st;
	struct uvm_migrate m;
	unsigned long n;
	struct fix f;
	char *p;

	fix_open(&f, v);
	if (numa_available() < 0)
		SKIP("no NUMA");
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 60);
	for (node = 0; node <= numa_max_node(); node++) {
		if (numa_node_size64(node, NULL) <= 0)
			continue;
		nodes++;
		gpu = gpu_of_node(node);
		/* from the GPU, then from the node before */
		if (f.gpu.memory_kind != UVM_MEMORY_NUMA || f.gpu.numa_node != node) {
			fix_to_gpu(&f, p, f.length);
			ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_CPU_NODE, node,
					   NULL, &m), 0);
			expect_accounts(&m);
			EXPECT_EQ(m.out_moved, n);
			expect_node(&f, p, f.length, node);
			ASSERT_RET(residency(f.s.fd, p, PAGE, &st), 0);
			EXPECT_EQ(st.where, gpu < 0 ? UVM_WHERE_CPU : UVM_WHERE_GPU);
			EXPECT_EQ(st.id, gpu < 0 ? node : gpu);
		}
		if (last >= 0) {
			ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_CPU_NODE, last,
					   NULL, &m), 0);
			expect_accounts(&m);
			EXPECT_EQ(skipped(&m), 0);
			expect_node(&f, p, f.length, last);
			ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_CPU_NODE, node,
					   NULL, &m), 0);
			expect_accounts(&m);
			EXPECT_EQ(m.out_moved, n);
			expect_node(&f, p, f.length, node);
			/* in system memory is in system memory, wherever */
			if (gpu < 0) {
				ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_CPU, 0,
						   NULL, &m), 0);
				EXPECT_EQ(m.out_already, n);
				expect_node(&f, p, f.length, node);
			}
		}
		ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_CPU_NODE, node, NULL,
				   &m), 0);
		EXPECT_EQ(m.out_already, n);
		last = node;
	}
	EXPECT_PATTERN(p, f.length, 60);
	EXPECT_GE(nodes, 1);
	fix_close(&f);
}

/* ---- more than there is ---- */

#define EXHAUST_MAX	(96UL << 20)

TEST_VT(exhausted, devices_huge_managed, 120)
{
	struct uvm_migrate m;
	uint64_t was;
	size_t length;
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	was = gpu_free(&f.gpu);
	length = (was + 4 * HUGE) & ~(HUGE - 1);
	if (length > EXHAUST_MAX)
		SKIP("%llu MiB of device memory are too many to fill",
		     (unsigned long long)was >> 20);
	p = fix_pattern(&f, length, 61);
	ASSERT_RET(to_gpu(&f, p, length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, length);
	/* what comes last is there; what came first made room for it */
	EXPECT_EQ(m.out_moved, length / PAGE);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_NO_MEMORY], 0);
	EXPECT_EQ(fix_on_gpu(&f, p + length - HUGE, HUGE), HUGE / PAGE);
	EXPECT_GT(fix_on_gpu(&f, p, length) * PAGE, was / 2);
	EXPECT_LE(fix_on_gpu(&f, p, length) * PAGE, was);
	/* full is no error for the next one either */
	q = fix_pattern(&f, f.length, 62);
	ASSERT_RET(to_gpu(&f, q, f.length, &m), 0);
	expect_accounts(&m);
	EXPECT_PATTERN(q, f.length, 62);
	EXPECT_PATTERN(p, length, 61);
	munmap(q, f.length);
	munmap(p, length);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, was));
	/* and it can all be had again */
	p = fix_pattern(&f, f.length, 63);
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 63);
	fix_close(&f);
}

/* ---- swap and KSM ---- */

static unsigned long swapped_pages(const char *p, size_t length)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned long count = 0;
	uint64_t entry;
	size_t i;

	ASSERT_GE(fd, 0);
	for (i = 0; i < length / PAGE; i++)
		if (pread(fd, &entry, 8, (ADDR(p) / PAGE + i) * 8) == 8 &&
		    (entry >> 62 & 1))
			count++;
	close(fd);
	return count;
}

TEST_V(swap, devices)
{
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	if (!swap_on())
		SKIP("no swap can be set up here");
	p = fix_pattern(&f, f.length, 64);
	EXPECT_RET(madvise(p, f.length, MADV_PAGEOUT), 0);
	if (!swapped_pages(p, f.length)) {
		swap_off();
		SKIP("the kernel swapped nothing out");
	}
	EXPECT_GT(fix_tally(&f, p, f.length).none, 0);
	ASSERT_RET(to_gpu(&f, p, f.length, &m), 0);
	expect_accounts(&m);
	EXPECT_PATTERN(p, f.length, 64);
	/* pages on a GPU aren't the swapper's */
	fix_to_gpu(&f, p, f.length);
	madvise(p, f.length, MADV_PAGEOUT);
	EXPECT_PATTERN(p, f.length, 64);
	EXPECT_RET(swap_off(), 0);
	EXPECT_PATTERN(p, f.length, 64);
	fix_close(&f);
}

TEST_VT(ksm, kinds, 60)
{
	size_t length = 16 * PAGE;
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_buffer(&f, length);
	memset(p, 0x5c, length);
	ksm_merge(p, length);
	ASSERT_RET(to_gpu(&f, p, length, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, length);
	EXPECT_BYTES(p, length, 0x5c);
	/* merged or not, a store is its page's own */
	memset(p + 3 * PAGE, 0x5d, PAGE);
	EXPECT_BYTES(p, 3 * PAGE, 0x5c);
	EXPECT_BYTES(p + 3 * PAGE, PAGE, 0x5d);
	EXPECT_BYTES(p + 4 * PAGE, length - 4 * PAGE, 0x5c);
	ASSERT_RET(to_cpu(&f, p, length, &m), 0);
	EXPECT_BYTES(p + 4 * PAGE, length - 4 * PAGE, 0x5c);
	/* unmerge what is left */
	EXPECT_RET(madvise(p, length, MADV_UNMERGEABLE), 0);
	fix_to_gpu(&f, p, length);
	EXPECT_BYTES(p + 4 * PAGE, length - 4 * PAGE, 0x5c);
	fix_close(&f);
}

/* ---- all at once ---- */

struct mover {
	struct fix *f;
	pthread_barrier_t *start;
	char *own;		/* only this one writes */
	char *common;		/* nobody writes */
	size_t length;
	uint64_t seed;
	unsigned int rounds;
};

static void *move_about(void *arg)
{
	struct mover *w = arg;
	uint64_t random = w->seed, seed = w->seed;
	struct uvm_migrate m;
	size_t first, count, n = w->length / PAGE;
	unsigned int i;

	pattern_fill(w->own, w->length, seed);
	pthread_barrier_wait(w->start);
	for (i = 0; i < w->rounds; i++) {
		first = harness_random(&random) % n;
		count = 1 + harness_random(&random) % (n - first);
		EXPECT_RET((harness_random(&random) & 1 ? to_gpu : to_cpu)(w->f,
			   w->own + first * PAGE, count * PAGE, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_done, count * PAGE);
		EXPECT_RET((harness_random(&random) & 1 ? to_gpu : to_cpu)(w->f,
			   w->common + first * PAGE, count * PAGE, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(pattern_check_from(w->own + first * PAGE, count * PAGE, seed,
					     first), -1);
		EXPECT_EQ(pattern_check_from(w->common + first * PAGE, count * PAGE, 70,
					     first), -1);
		if (i % 4 == 3)
			pattern_fill(w->own, w->length, ++seed);
	}
	EXPECT_PATTERN(w->own, w->length, seed);
	EXPECT_PATTERN(w->common, w->length, 70);
	return NULL;
}

TEST_VT(threads, kinds_huge_managed, 90)
{
	enum { THREADS = 4 };
	struct mover w[THREADS];
	pthread_t thread[THREADS];
	pthread_barrier_t start;
	char *common;
	struct fix f;
	int i;

	fix_open(&f, v);
	if (f.huge)
		f.length = HUGE;
	common = fix_pattern(&f, f.length, 70);
	pthread_barrier_init(&start, NULL, THREADS);
	for (i = 0; i < THREADS; i++) {
		w[i] = (struct mover){
			.f = &f,
			.start = &start,
			.own = fix_buffer(&f, f.length),
			.common = common,
			.length = f.length,
			.seed = harness_seed + 1000 * i,
			.rounds = harness_rounds(f.huge ? 4 : 10),
		};
		ASSERT_EQ(pthread_create(&thread[i], NULL, move_about, &w[i]), 0);
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	fix_close(&f);
}

/* Processes with spaces of their own, over memory that fork made common. */
TEST_VT(processes, kinds, 90)
{
	enum { PROCESSES = 4 };
	pthread_barrier_t *start = shared_barrier(PROCESSES);
	pid_t pid[PROCESSES];
	struct mover w;
	char *common;
	struct fix f;
	int i;

	fix_open(&f, v);
	common = fix_pattern(&f, f.length, 70);
	fix_to_gpu(&f, common, f.length / 2);
	for (i = 0; i < PROCESSES; i++) {
		pid[i] = child();
		if (pid[i])
			continue;
		fix_reopen(&f);
		w = (struct mover){
			.f = &f,
			.start = start,
			.own = fix_buffer(&f, f.length),
			.common = common,
			.length = f.length,
			.seed = harness_seed + 1000 * i,
			.rounds = harness_rounds(10),
		};
		move_about(&w);
		child_exit();
	}
	for (i = 0; i < PROCESSES; i++)
		EXPECT_EQ(child_wait(pid[i]), 0);
	EXPECT_PATTERN(common, f.length, 70);
	fix_close(&f);
}

struct toucher {
	volatile char *p;
	size_t length;
	volatile int stop;
	uint64_t seed;
};

static void *touch_about(void *arg)
{
	struct toucher *t = arg;

	while (!t->stop)
		EXPECT_EQ(pattern_check((void *)t->p, t->length, t->seed), -1);
	return NULL;
}

/* One migrates to the GPU what others are reading all the time. */
TEST_VT(touched_while_moving, kinds_huge_managed, 60)
{
	unsigned int i, rounds = harness_rounds(v->huge ? 3 : 15);
	struct toucher t = { 0 };
	pthread_t thread[2];
	struct uvm_migrate m;
	struct fix f;

	fix_open(&f, v);
	t.p = fix_pattern(&f, f.length, 71);
	t.length = f.length;
	t.seed = 71;
	for (i = 0; i < 2; i++)
		ASSERT_EQ(pthread_create(&thread[i], NULL, touch_about, &t), 0);
	for (i = 0; i < rounds; i++) {
		EXPECT_RET(to_gpu(&f, (void *)t.p, t.length, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_done, t.length);
		EXPECT_RET(to_cpu(&f, (void *)t.p, t.length, &m), 0);
		expect_accounts(&m);
	}
	t.stop = 1;
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	EXPECT_PATTERN((void *)t.p, t.length, 71);
	fix_close(&f);
}

/* ---- sudden ends ---- */

TEST_VT(killed_while_moving, kinds_huge_managed, 60)
{
	unsigned int i, k, rounds = harness_rounds(5);
	uint64_t random = harness_seed;
	struct uvm_migrate m;
	struct fix f;
	int pipes[2];
	uint64_t was;
	char byte;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	was = gpu_free(&f.gpu);
	/* SKIPs here, not in a child */
	munmap(fix_pattern(&f, f.length, 72), f.length);
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(pipe(pipes), 0);
		pid = child();
		if (!pid) {
			fix_reopen(&f);
			p = fix_pattern(&f, f.length, 72);
			for (k = 0; k < 100000; k++) {
				ASSERT_EQ(write(pipes[1], "k", 1), 1);
				if (to_gpu(&f, p, f.length, &m) ||
				    to_cpu(&f, p, f.length, &m))
					_exit(1);
			}
			_exit(2);
		}
		close(pipes[1]);
		k = 1 + harness_random(&random) % 4;
		while (k && read(pipes[0], &byte, 1) == 1)
			k--;
		kill(pid, SIGKILL);
		/* As if memory were short: its pages go before it does. */
		if (i % 2)
			reap(pid);
		EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
		close(pipes[0]);
		EXPECT_TRUE(gpu_free_returns(&f.gpu, was));
	}
	/* the others go on */
	p = fix_pattern(&f, f.length, 73);
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 73);
	fix_close(&f);
}

TEST_V(exit_with_pages, kinds_huge_managed)
{
	struct fix f;
	uint64_t was;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	was = gpu_free(&f.gpu);
	munmap(fix_pattern(&f, f.length, 74), f.length);
	pid = child();
	if (!pid) {
		fix_reopen(&f);
		p = fix_pattern(&f, f.length, 74);
		fix_to_gpu(&f, p, f.length);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, was));
	fix_close(&f);
}

/* The pages belong to the process, not to the files. */
TEST_V(files_closed, kinds_huge)
{
	struct fix f;
	uint64_t was;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	was = gpu_free(&f.gpu);
	p = fix_pattern(&f, f.length, 75);
	fix_to_gpu(&f, p, f.length);
	fix_close(&f);
	if (f.gpu.memory_kind != UVM_MEMORY_NUMA)
		EXPECT_LE(gpu_free(&f.gpu), was - f.length);
	/* a child of a process that has no file any more */
	pid = child();
	if (!pid) {
		EXPECT_PATTERN(p, f.length, 75);
		pattern_fill(p, f.length, 76);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_PATTERN(p, f.length, 75);
	pattern_fill(p, f.length, 77);
	EXPECT_PATTERN(p, f.length, 77);
	/* a new space takes up where the old one left */
	fix_reopen(&f);
	fix_to_gpu(&f, p, f.length);
	fix_close(&f);
	fix_reopen(&f);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	fix_to_cpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 77);
	fix_to_gpu(&f, p, f.length);
	fix_close(&f);
	munmap(p, f.length);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, was));
}

TEST_V(unregistered, kinds_managed)
{
	bool numa = v->kind == UVM_MEMORY_NUMA;
	struct uvm_unregister_gpu u;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 78);
	fix_to_gpu(&f, p, f.length);
	EXPECT_RET(unregister_counted(f.s.fd, f.gpu.uuid, &u), 0);
	EXPECT_EQ(u.out_moved, numa ? 0 : f.length / PAGE);
	EXPECT_EQ(u.out_left, 0);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), numa ? f.length / PAGE : 0);
	fix_to_cpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 78);
	fix_close(&f);
}

/* ---- a model of every page, and whatever comes to mind ---- */

#define ZERO_SEED	0

struct model {
	struct fix *f;
	char *p;
	size_t n;
	uint64_t *seeds;
	uint64_t random;
	uint64_t next_seed;
	char *scratch;
};

static void model_check(struct model *m, size_t first, size_t count)
{
	size_t i;

	for (i = first; i < first + count; i++)
		if (m->seeds[i] == ZERO_SEED)
			EXPECT_BYTES(m->p + i * PAGE, PAGE, 0);
		else
			EXPECT_EQ(pattern_check_from(m->p + i * PAGE, PAGE, m->seeds[i],
						     i), -1);
}

static void model_gpu_write(struct model *m, size_t page)
{
	struct uvm_sim_cmd c = CMD(COPY, .dst = ADDR(m->p + page * PAGE),
				   .src = ADDR(m->scratch), .length = PAGE);

	m->seeds[page] = m->next_seed++;
	pattern_fill_from(m->scratch, PAGE, m->seeds[page], page);
	ASSERT_RET(fix_run(m->f, &c, 1), 0);
}

static void model_gpu_check(struct model *m, size_t page)
{
	uint64_t want = 0;

	if (m->seeds[page] != ZERO_SEED) {
		pattern_fill_from(m->scratch, PAGE, m->seeds[page], page);
		want = sum64(m->scratch, PAGE);
	}
	EXPECT_EQ(fix_gpu_sum(m->f, m->p + page * PAGE, PAGE), want);
}

static void model_step(struct model *m)
{
	size_t first = harness_random(&m->random) % m->n, i;
	size_t most = m->n - first < 48 ? m->n - first : 48;
	size_t count = 1 + harness_random(&m->random) % most;
	char *p = m->p + first * PAGE, *q;
	struct uvm_migrate mig;
	pid_t pid;

	/* now and then, all of it */
	if (harness_random(&m->random) % 8 == 0) {
		first = 0;
		count = m->n;
		p = m->p;
	}
	switch (harness_random(&m->random) % 11) {
	case 0:
	case 1:
		EXPECT_RET(to_gpu(m->f, p, count * PAGE, &mig), 0);
		expect_accounts(&mig);
		EXPECT_EQ(mig.out_done, count * PAGE);
		break;
	case 2:
		EXPECT_RET(to_cpu(m->f, p, count * PAGE, &mig), 0);
		expect_accounts(&mig);
		EXPECT_EQ(mig.out_done, count * PAGE);
		break;
	case 3:
		m->seeds[first] = m->next_seed++;
		pattern_fill_from(p, PAGE, m->seeds[first], first);
		break;
	case 4:
	case 5:
		model_gpu_write(m, first);
		break;
	case 6:
		model_gpu_check(m, first);
		break;
	case 7:
		model_check(m, first, count);
		break;
	case 8:
		ASSERT_RET(madvise(p, count * PAGE, MADV_DONTNEED), 0);
		for (i = first; i < first + count; i++)
			m->seeds[i] = ZERO_SEED;
		break;
	case 9:
		pid = child();
		if (!pid) {
			model_check(m, first, count);
			memset(p, 0xee, count * PAGE);
			child_exit();
		}
		EXPECT_EQ(child_wait(pid), 0);
		break;
	case 10:
		q = anon_huge(m->n * PAGE);
		ASSERT_TRUE(mremap(m->p, m->n * PAGE, m->n * PAGE,
				   MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
		m->p = q;
		break;
	}
}

TEST_VT(model, kinds_huge, 120)
{
	unsigned int i, steps = harness_rounds(v->huge ? 30 : 80);
	struct model m = { .next_seed = 1000, .random = harness_seed };
	struct fix f;

	fix_open(&f, v);
	m.f = &f;
	m.n = v->huge ? HUGE / PAGE : 128;
	m.p = fix_buffer(&f, m.n * PAGE);
	m.seeds = calloc(m.n, sizeof(*m.seeds));
	m.scratch = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	for (i = 0; i < m.n; i++) {
		m.seeds[i] = m.next_seed++;
		pattern_fill_from(m.p + i * PAGE, PAGE, m.seeds[i], i);
	}
	for (i = 0; i < steps; i++)
		model_step(&m);
	model_check(&m, 0, m.n);
	fix_close(&f);
}

static void __attribute__((constructor)) install(void)
{
	leak_check_install();
}

HARNESS_MAIN()
