// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves where pages go that a GPU faults on: every rule of DOC: Policies, what comes
 * along by prefetch, and what can't move and is used in place. Each test looks at
 * where the pages are (UVM_QUERY_RESIDENCY), at the data from both sides, and at the
 * counters where it is about numbers. Then many at once: channels on the same pages,
 * on many blocks, processes that storm, an address space that changes meanwhile.
 *
 * Where a test wants to see exactly which pages a fault takes along, they are pages that
 * nobody has touched before.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <numa.h>
#include <numaif.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "lib_lifetime.h"
#include "lib_managed.h"
#include "lib_policy.h"
#include "lib_pressure.h"
#include "lib_sim.h"
#include "lib_uvm.h"

/* A fault takes so many along, aligned. */
#define PART_PAGES	16UL
#define AT(p, page)	((p) + (page) * PAGE)

/* All pages from @first to @end, exclusively, are there: none, cpu, gpu, gpu2. */
#define EXPECT_AT(f, p, first, end, where)				\
	EXPECT_EQ(fix_tally(f, AT(p, first), ((end) - (first)) * PAGE).where, \
		  (end) - (first))

/* ---- memory and accesses ---- */

/* @n blocks with nothing next to them, so that nothing else comes along. */
static char *blocks(struct fix *f, unsigned int n)
{
	char *p = aligned_buffer(f, n * HUGE);

	/* or what is touched brings others along */
	if (f->managed)
		madvise(p, n * HUGE, MADV_NOHUGEPAGE);
	return p;
}

static char *blocks_pattern(struct fix *f, unsigned int n, uint64_t seed)
{
	char *p = blocks(f, n);

	pattern_fill(p, n * HUGE, seed);
	if (f->huge && huge_bytes(p) < n * HUGE)
		SKIP("the kernel had no huge page to give");
	return p;
}

static void touch_by(struct fix *f, uint32_t channel, const char *p, size_t pages,
		     bool write)
{
	struct uvm_sim_cmd c = CMD(TOUCH, .dst = ADDR(p), .length = pages * PAGE,
				   .arg0 = PAGE, .arg1 = write);

	ASSERT_RET(channel_run(f->s.fd, channel, &c, 1), 0);
}

static void load(struct fix *f, const char *p)
{
	touch_by(f, f->channel, p, 1, false);
}

static void store(struct fix *f, const char *p)
{
	touch_by(f, f->channel, p, 1, true);
}

static void load_by_second(struct fix *f, const char *p)
{
	touch_by(f, f->channel2, p, 1, false);
}

static void expect_no_store(struct fix *f, const char *p, int reason)
{
	fix_expect_fault(f, CMD(FILL, .dst = ADDR(p), .length = 8, .arg0 = 0xdd), p,
			 reason, UVM_ACCESS_WRITE);
}

/* A GPU space's faults are served one after another: what came before is done. */
static void pass_time(struct fix *f)
{
	char *p = blocks(f, 1);

	load(f, p);
	EXPECT_EQ(fix_on_gpu(f, p, PAGE), 1);
	munmap(p, HUGE);
}

static long long count(struct fix *f, enum counter which)
{
	return view_counter(0, f->s.fd, &f->gpu, which);
}

static long long moved_by_faults(struct fix *f)
{
	return count(f, MOVED) + count(f, PREFETCHED);
}

static void expect_pattern_at(const char *p, size_t first, size_t end, uint64_t seed)
{
	EXPECT_EQ(pattern_check_from(AT(p, first), (end - first) * PAGE, seed, first),
		  -1);
}

static struct uvm_page_state state_of(struct fix *f, const char *p)
{
	struct uvm_page_state st;

	ASSERT_RET(residency(f->s.fd, p, PAGE, &st), 0);
	return st;
}

/* Takes pages off the lists of CPUs where mlock() and MADV_FREE left them. */
static void settle_lists(void)
{
	char *page = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	void *pages[1] = { page };
	int status = 0, node = 0;

	*page = 1;
	ASSERT_GE(numa_move_pages(0, 1, pages, &node, &status, MPOL_MF_MOVE), 0);
	munmap(page, PAGE);
}

/* ---- no policy ---- */

/* What nobody has touched begins on the GPU, with the 64 KiB around it. */
TEST_V(first_touch, devices_huge_managed)
{
	struct fix f;
	char *p;
	int write;

	fix_open(&f, v);
	for (write = 0; write < 2; write++) {
		p = blocks(&f, 1);
		(write ? store : load)(&f, AT(p, 5));
		EXPECT_AT(&f, p, 0, 16, gpu);
		EXPECT_AT(&f, p, 16, BLOCK_PAGES, none);
		fix_fill(&f, AT(p, 300), 3 * PAGE, 0x21);
		EXPECT_AT(&f, p, 288, 304, gpu);
		EXPECT_EQ(fix_on_gpu(&f, p, HUGE), 32);
		EXPECT_BYTES(p, 300 * PAGE, 0);
		EXPECT_BYTES(AT(p, 300), 3 * PAGE, 0x21);
		EXPECT_BYTES(AT(p, 303), (BLOCK_PAGES - 303) * PAGE, 0);
	}
	fix_close(&f);
}

TEST_V(cpu_page_moves, devices_huge_managed)
{
	struct fix f;
	char *p;
	int write;

	fix_open(&f, v);
	for (write = 0; write < 2; write++) {
		p = blocks_pattern(&f, 1, 1 + write);
		(write ? store : load)(&f, AT(p, 37));
		EXPECT_AT(&f, p, 32, 48, gpu);
		/* a huge page moves as a whole */
		EXPECT_EQ(fix_on_gpu(&f, p, HUGE), v->huge ? BLOCK_PAGES : 16);
		EXPECT_EQ(fix_on_cpu(&f, p, HUGE), v->huge ? 0 : BLOCK_PAGES - 16);
		EXPECT_PATTERN(p, HUGE, 1 + write);
	}
	fix_close(&f);
}

/* What it comes to later moves later: until then it isn't mapped where it is. */
TEST_V(one_by_one, devices_managed)
{
	unsigned long i, n = 0;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 6);
	ASSERT_RET(policy_switch(f.s.fd, UVM_SET_PREFETCH, p, HUGE, 0), 0);
	for (i = 0; i < BLOCK_PAGES; i += 37) {
		(i % 2 ? store : load)(&f, AT(p, i));
		EXPECT_AT(&f, p, i, i + 1, gpu);
		EXPECT_EQ(fix_on_gpu(&f, p, HUGE), ++n);
	}
	EXPECT_PATTERN(p, HUGE, 6);
	fix_close(&f);
}

/* All that the GPU uses ends in its memory, and then there are no faults any more. */
TEST_V(all_of_it_moves, devices_huge_managed)
{
	unsigned long n;
	long long faults;
	struct fix f;
	char *p;

	fix_open(&f, v);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 3);
	touch_by(&f, f.channel, p, n, false);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), n);
	faults = count(&f, FAULTS);
	EXPECT_GT(faults, 0);
	fix_xor(&f, p, f.length, 4);
	EXPECT_EQ(count(&f, FAULTS), faults);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), n);
	EXPECT_EQ(moved_by_faults(&f), n);
	cpu_xor(p, f.length, 4);
	EXPECT_PATTERN(p, f.length, 3);
	p = fix_pattern(&f, f.length, 5);
	fix_xor(&f, p, f.length, 6);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), n);
	cpu_xor(p, f.length, 6);
	EXPECT_PATTERN(p, f.length, 5);
	fix_close(&f);
}

/* ---- the rules ---- */

TEST_V(preferred_cpu, devices_huge_managed)
{
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 10);
	q = blocks(&f, 1);
	ASSERT_RET(policy_prefer(f.s.fd, p, HUGE, UVM_DEST_CPU, 0, NULL), 0);
	ASSERT_RET(policy_prefer(f.s.fd, q, HUGE, UVM_DEST_CPU, 0, NULL), 0);
	load(&f, AT(p, 5));
	store(&f, AT(p, 100));
	EXPECT_AT(&f, p, 0, BLOCK_PAGES, cpu);
	/* nor does it go there if it isn't anywhere yet, whoever else may use it */
	ASSERT_RET(policy_accessed_by(f.s.fd, q, HUGE, f.gpu.uuid, 1), 0);
	fix_fill(&f, AT(q, 7), PAGE, 0x31);
	EXPECT_AT(&f, q, 7, 8, cpu);
	EXPECT_EQ(fix_on_gpu(&f, q, HUGE), 0);
	EXPECT_EQ(moved_by_faults(&f), 0);
	EXPECT_BYTES(AT(q, 7), PAGE, 0x31);
	EXPECT_PATTERN(p, HUGE, 10);
	/* taken back */
	p = blocks(&f, 1);
	ASSERT_RET(policy_prefer(f.s.fd, p, HUGE, UVM_DEST_CPU, 0, NULL), 0);
	ASSERT_RET(policy_prefer(f.s.fd, p, HUGE, UVM_DEST_NONE, 0, NULL), 0);
	load(&f, AT(p, 5));
	EXPECT_AT(&f, p, 0, 16, gpu);
	fix_close(&f);
}

static bool is_on_node(struct fix *f, const char *p, int node)
{
	struct uvm_page_state st = state_of(f, p);

	return st.where == UVM_WHERE_CPU && st.id == node;
}

static void preferred_node(struct fix *f, int node, int other)
{
	char *p = blocks_pattern(f, 1, 11), *q = blocks(f, 1);
	long long moved = count(f, MOVED);
	struct uvm_migrate m;

	ASSERT_RET(migrate(f->s.fd, p, HUGE, UVM_DEST_CPU_NODE, other, NULL, &m), 0);
	ASSERT_TRUE(is_on_node(f, AT(p, 37), other));
	ASSERT_RET(policy_prefer(f->s.fd, p, HUGE, UVM_DEST_CPU_NODE, node, NULL), 0);
	ASSERT_RET(policy_prefer(f->s.fd, q, HUGE, UVM_DEST_CPU_NODE, node, NULL), 0);
	EXPECT_TRUE(is_on_node(f, AT(p, 37), other));
	load(f, AT(p, 37));
	EXPECT_TRUE(is_on_node(f, AT(p, 37), node));
	EXPECT_AT(f, p, 0, BLOCK_PAGES, cpu);
	EXPECT_GE(count(f, MOVED) - moved, 1);
	EXPECT_LE(moved_by_faults(f) - moved, BLOCK_PAGES);
	fix_fill(f, AT(q, 3), PAGE, 0x32);
	EXPECT_TRUE(is_on_node(f, AT(q, 3), node));
	EXPECT_BYTES(AT(q, 3), PAGE, 0x32);
	EXPECT_PATTERN(p, HUGE, 11);
}

TEST_V(preferred_node, devices_huge_managed)
{
	struct fix f;

	fix_open(&f, v);
	if (numa_available() < 0 || numa_node_size64(0, NULL) <= 0 ||
	    numa_node_size64(1, NULL) <= 0)
		SKIP("needs two nodes");
	preferred_node(&f, 1, 0);
	preferred_node(&f, 0, 1);
	fix_close(&f);
}

/* Setting it moves nothing; and it goes before accessed-by. */
TEST_V(preferred_gpu, devices_huge_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 12);
	ASSERT_RET(policy_prefer(f.s.fd, p, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid), 0);
	ASSERT_RET(policy_accessed_by(f.s.fd, p, HUGE, f.gpu.uuid, 1), 0);
	EXPECT_AT(&f, p, 0, BLOCK_PAGES, cpu);
	load(&f, AT(p, 5));
	EXPECT_AT(&f, p, 0, 16, gpu);
	EXPECT_PATTERN(p, HUGE, 12);
	fix_close(&f);
}

TEST_V(preferred_other_gpu, devices_huge_managed)
{
	struct fix f;
	char *p;

	fix_pair(&f, v);
	p = blocks_pattern(&f, 1, 13);
	ASSERT_RET(policy_prefer(f.s.fd, p, HUGE, UVM_DEST_GPU, 0, f.gpu2.uuid), 0);
	load(&f, AT(p, 5));
	EXPECT_AT(&f, p, 5, 6, gpu);
	load_by_second(&f, AT(p, 5));
	EXPECT_AT(&f, p, 5, 6, gpu2);
	EXPECT_PATTERN(p, HUGE, 13);
	fix_close(&f);
}

/* What is there stays, what isn't anywhere begins on the GPU. */
TEST_V(accessed_by, devices_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks(&f, 1);
	pattern_fill(p, 8 * PAGE, 14);
	ASSERT_RET(policy_accessed_by(f.s.fd, p, HUGE, f.gpu.uuid, 1), 0);
	load(&f, AT(p, 3));
	store(&f, AT(p, 4));
	EXPECT_AT(&f, p, 0, 8, cpu);
	EXPECT_EQ(moved_by_faults(&f), 0);
	load(&f, AT(p, 10));
	EXPECT_AT(&f, p, 0, 8, cpu);
	EXPECT_AT(&f, p, 8, 16, gpu);
	EXPECT_AT(&f, p, 16, BLOCK_PAGES, none);
	EXPECT_PATTERN(p, 8 * PAGE, 14);
	EXPECT_BYTES(AT(p, 8), 8 * PAGE, 0);
	/* no more */
	p = blocks(&f, 1);
	pattern_fill(p, 8 * PAGE, 15);
	ASSERT_RET(policy_accessed_by(f.s.fd, p, HUGE, f.gpu.uuid, 1), 0);
	ASSERT_RET(policy_accessed_by(f.s.fd, p, HUGE, f.gpu.uuid, 0), 0);
	/* the CPU's bit says nothing about the GPU */
	ASSERT_RET(policy_accessed_by(f.s.fd, p, HUGE, NULL, 1), 0);
	load(&f, AT(p, 3));
	EXPECT_AT(&f, p, 0, 16, gpu);
	EXPECT_PATTERN(p, 8 * PAGE, 15);
	fix_close(&f);
}

TEST_V(accessed_by_huge, devices_huge_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 16);
	ASSERT_RET(policy_accessed_by(f.s.fd, p, HUGE, f.gpu.uuid, 1), 0);
	fix_xor(&f, p, HUGE, 1);
	EXPECT_AT(&f, p, 0, BLOCK_PAGES, cpu);
	EXPECT_EQ(moved_by_faults(&f), 0);
	cpu_xor(p, HUGE, 1);
	EXPECT_PATTERN(p, HUGE, 16);
	fix_close(&f);
}

TEST_V(migration_off, devices_huge_managed)
{
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 17);
	q = blocks(&f, 1);
	/* goes before the preferred location */
	ASSERT_RET(policy_prefer(f.s.fd, p, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid), 0);
	stay(f.s.fd, p, HUGE);
	stay(f.s.fd, q, HUGE);
	fix_xor(&f, p, HUGE, 2);
	EXPECT_AT(&f, p, 0, BLOCK_PAGES, cpu);
	fix_fill(&f, AT(q, 9), PAGE, 0x33);
	EXPECT_AT(&f, q, 9, 10, cpu);
	EXPECT_EQ(fix_on_gpu(&f, q, HUGE), 0);
	EXPECT_EQ(moved_by_faults(&f), 0);
	cpu_xor(p, HUGE, 2);
	EXPECT_PATTERN(p, HUGE, 17);
	EXPECT_BYTES(AT(q, 9), PAGE, 0x33);
	/* on again */
	q = blocks(&f, 1);
	stay(f.s.fd, q, HUGE);
	ASSERT_RET(policy_switch(f.s.fd, UVM_SET_FAULT_MIGRATION, q, HUGE, 1), 0);
	load(&f, AT(q, 9));
	EXPECT_AT(&f, q, 0, 16, gpu);
	fix_close(&f);
}

/* Half of it in a group that forbids migration */
TEST_V(range_group, devices_managed)
{
	unsigned long half = BLOCK_PAGES / 2;
	struct uvm_migrate m;
	uint32_t group = 0;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 18);
	ASSERT_RET(group_create(f.s.fd, &group), 0);
	ASSERT_RET(policy_group(f.s.fd, AT(p, half), HUGE / 2, group), 0);
	ASSERT_RET(policy_prefer(f.s.fd, p, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid), 0);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	load(&f, AT(p, half + 5));
	EXPECT_AT(&f, p, half, BLOCK_PAGES, cpu);
	ASSERT_RET(migrate(f.s.fd, p, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, HUGE);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_POLICY], half);
	EXPECT_EQ(m.out_moved + m.out_already, half);
	EXPECT_AT(&f, p, 0, half, gpu);
	EXPECT_AT(&f, p, half, BLOCK_PAGES, cpu);
	/* allowed, and of a group that is no more */
	ASSERT_RET(group_allow(f.s.fd, group, 1), 0);
	ASSERT_RET(migrate(f.s.fd, AT(p, half), 16 * PAGE, UVM_DEST_GPU, 0, f.gpu.uuid,
			   &m), 0);
	EXPECT_EQ(m.out_moved, 16);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	ASSERT_RET(group_destroy(f.s.fd, group), 0);
	ASSERT_RET(migrate(f.s.fd, p, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	EXPECT_EQ(m.out_moved, half - 16);
	EXPECT_AT(&f, p, 0, BLOCK_PAGES, gpu);
	EXPECT_PATTERN(p, HUGE, 18);
	fix_close(&f);
}

/* Pages that are on a GPU stay there as well, but for those who can't reach them. */
TEST_V(range_group_on_gpu, devices_managed)
{
	/* the CPU can't use it there */
	bool comes = v->kind == UVM_MEMORY_PRIVATE;
	size_t n = 64, length = n * PAGE;
	struct uvm_sim_cmd c;
	struct uvm_migrate m;
	uint32_t group = 0;
	struct fix f;
	char *p;

	fix_pair(&f, v);
	p = fix_pattern(&f, length, 19);
	fix_to_gpu(&f, p, length);
	ASSERT_RET(group_create(f.s.fd, &group), 0);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	ASSERT_RET(policy_group(f.s.fd, p, length, group), 0);
	ASSERT_RET(migrate(f.s.fd, p, length, UVM_DEST_CPU, 0, NULL, &m), 0);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_POLICY], n);
	EXPECT_EQ(fix_on_gpu(&f, p, length), n);
	EXPECT_EQ(pattern_check(p, PAGE, 19), -1);
	EXPECT_EQ(fix_on_cpu(&f, p, PAGE), comes);
	/* the other GPU works on what it can't reach there */
	c = CMD(XOR, .dst = ADDR(AT(p, 40)), .length = PAGE, .arg0 = 7);
	ASSERT_RET(channel_run(f.s.fd, f.channel2, &c, 1), 0);
	EXPECT_EQ(fix_on_gpu2(&f, p, length), 0);
	cpu_xor(AT(p, 40), PAGE, 7);
	EXPECT_PATTERN(p, length, 19);
	fix_close(&f);
}

/* Some pages in the middle of the window may not move. */
TEST_V(range_group_window, private_managed)
{
	unsigned long first = 3 * PART_PAGES, fixed = first + 8;
	uint32_t group = 0;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 81);
	fix_to_gpu(&f, p, HUGE);
	ASSERT_RET(group_create(f.s.fd, &group), 0);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	ASSERT_RET(policy_group(f.s.fd, AT(p, fixed), 2 * PAGE, group), 0);
	expect_pattern_at(p, first + 1, first + 2, 81);
	EXPECT_AT(&f, p, 0, first, gpu);
	EXPECT_AT(&f, p, first, fixed, cpu);
	EXPECT_AT(&f, p, fixed, BLOCK_PAGES, gpu);
	/* one of them is touched itself */
	expect_pattern_at(p, fixed + 1, fixed + 2, 81);
	EXPECT_AT(&f, p, fixed, fixed + 1, gpu);
	EXPECT_AT(&f, p, fixed + 1, fixed + 2, cpu);
	EXPECT_AT(&f, p, fixed + 2, BLOCK_PAGES, gpu);
	/* the other side */
	expect_pattern_at(p, fixed + 4, fixed + 5, 81);
	EXPECT_AT(&f, p, fixed, fixed + 1, gpu);
	EXPECT_AT(&f, p, fixed + 1, first + PART_PAGES, cpu);
	EXPECT_AT(&f, p, first + PART_PAGES, BLOCK_PAGES, gpu);
	EXPECT_PATTERN(p, HUGE, 81);
	fix_close(&f);
}

/* A policy goes with its mapping. */
TEST_V(policy_unmapped, devices)
{
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	p = blocks(&f, 1);
	q = blocks(&f, 1);
	stay(f.s.fd, p, HUGE);
	stay(f.s.fd, q, HUGE);
	ASSERT_TRUE(mmap(p, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			 MAP_FIXED, -1, 0) == p);
	load(&f, p);
	EXPECT_AT(&f, p, 0, 16, gpu);
	ASSERT_TRUE(mremap(q, HUGE / 2, HUGE / 2, MREMAP_MAYMOVE | MREMAP_FIXED,
			   p) == p);
	load(&f, p);
	EXPECT_AT(&f, p, 0, 16, gpu);
	/* what wasn't moved has it still */
	load(&f, AT(q, 300));
	EXPECT_AT(&f, q, 300, 301, cpu);
	fix_close(&f);
}

static const struct variant nodes[] = {
	{ "numa", UVM_MEMORY_NUMA, false }, { "numa_thp", UVM_MEMORY_NUMA, true },
	{ NULL, 0, 0 },
};

/* A GPU that is a node has pages moved only if it is where they are preferred. */
TEST_V(node, nodes)
{
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 24);
	q = blocks(&f, 1);
	fix_to_cpu(&f, p, HUGE);
	fix_xor(&f, p, HUGE, 1);
	EXPECT_AT(&f, p, 0, BLOCK_PAGES, cpu);
	fix_fill(&f, AT(q, 3), PAGE, 0x24);
	EXPECT_AT(&f, q, 3, 4, cpu);
	EXPECT_EQ(moved_by_faults(&f), 0);
	cpu_xor(p, HUGE, 1);
	EXPECT_PATTERN(p, HUGE, 24);
	EXPECT_BYTES(AT(q, 3), PAGE, 0x24);

	p = blocks_pattern(&f, 1, 25);
	q = blocks(&f, 1);
	fix_to_cpu(&f, p, HUGE);
	ASSERT_RET(policy_prefer(f.s.fd, p, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid), 0);
	ASSERT_RET(policy_prefer(f.s.fd, q, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid), 0);
	load(&f, AT(p, 37));
	EXPECT_AT(&f, p, 37, 38, gpu);
	fix_fill(&f, AT(q, 3), PAGE, 0x25);
	EXPECT_AT(&f, q, 3, 4, gpu);
	EXPECT_LE(moved_by_faults(&f), 2 * BLOCK_PAGES);
	EXPECT_PATTERN(p, HUGE, 25);
	EXPECT_BYTES(AT(q, 3), PAGE, 0x25);
	fix_close(&f);
}

/* ---- pages on another GPU ---- */

/* The second GPU has it, the first one wants it. */
static char *on_second(struct fix *f, const struct variant *v, uint64_t seed)
{
	char *p;

	fix_pair(f, v);
	p = fix_pattern(f, f->length, seed);
	fix_to_gpu2(f, p, f->length);
	return p;
}

TEST_V(other_gpu, devices_huge_managed)
{
	struct fix f;
	char *p = on_second(&f, v, 20);

	load(&f, AT(p, 5));
	EXPECT_AT(&f, p, 5, 6, gpu);
	store(&f, AT(p, 20));
	EXPECT_AT(&f, p, 20, 21, gpu);
	load_by_second(&f, AT(p, 5));
	EXPECT_AT(&f, p, 5, 6, gpu2);
	EXPECT_PATTERN(p, f.length, 20);
	fix_close(&f);
}

TEST_V(other_gpu_preferred_cpu, devices_huge_managed)
{
	struct fix f;
	char *p = on_second(&f, v, 21);

	ASSERT_RET(policy_prefer(f.s.fd, p, f.length, UVM_DEST_CPU, 0, NULL), 0);
	load(&f, AT(p, 5));
	EXPECT_AT(&f, p, 5, 6, cpu);
	EXPECT_PATTERN(p, f.length, 21);
	fix_close(&f);
}

/* Accessed-by is about pages in system memory. */
TEST_V(other_gpu_accessed_by, devices_huge_managed)
{
	struct fix f;
	char *p = on_second(&f, v, 22);

	ASSERT_RET(policy_accessed_by(f.s.fd, p, f.length, f.gpu.uuid, 1), 0);
	load(&f, AT(p, 5));
	EXPECT_AT(&f, p, 5, 6, gpu);
	EXPECT_PATTERN(p, f.length, 22);
	fix_close(&f);
}

/* Can the first GPU use the second one's memory where it is? */
static bool peers(struct fix *f)
{
	struct uvm_processor p[3];
	int me;

	ASSERT_EQ(processors(f->s.fd, p, 3), 3);
	me = p[1].id == f->gpu.id ? 1 : 2;
	return p[me].access >> (3 - me) & 1;
}

/* It stays there, or goes where the first GPU can use it. */
TEST_V(other_gpu_migration_off, devices_huge_managed)
{
	struct fix f;
	char *p = on_second(&f, v, 23);

	stay(f.s.fd, p, f.length);
	fix_xor(&f, AT(p, 5), PAGE, 1);
	if (peers(&f))
		EXPECT_AT(&f, p, 5, 6, gpu2);
	else
		EXPECT_AT(&f, p, 5, 6, cpu);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), 0);
	EXPECT_EQ(moved_by_faults(&f), 0);
	cpu_xor(AT(p, 5), PAGE, 1);
	EXPECT_PATTERN(p, f.length, 23);
	fix_close(&f);
}

/* ---- what comes along ---- */

TEST_V(prefetch_off, devices_huge_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks(&f, 1);
	ASSERT_RET(policy_switch(f.s.fd, UVM_SET_PREFETCH, p, HUGE, 0), 0);
	load(&f, AT(p, 5));
	store(&f, AT(p, 300));
	EXPECT_AT(&f, p, 5, 6, gpu);
	EXPECT_AT(&f, p, 300, 301, gpu);
	EXPECT_EQ(fix_tally(&f, p, HUGE).none, BLOCK_PAGES - 2);
	EXPECT_EQ(count(&f, PREFETCHED), 0);
	p = blocks_pattern(&f, 1, 30);
	ASSERT_RET(policy_switch(f.s.fd, UVM_SET_PREFETCH, p, HUGE, 0), 0);
	load(&f, AT(p, 5));
	EXPECT_EQ(fix_on_gpu(&f, p, HUGE), v->huge ? BLOCK_PAGES : 1);
	EXPECT_PATTERN(p, HUGE, 30);
	fix_close(&f);
}

/* The more of a block is there, the larger the steps. */
TEST_V(prefetch_grows, devices_huge_managed)
{
	static const struct {
		unsigned int part;
		unsigned long there;
	} steps[] = {
		{ 0, 16 }, { 1, 32 }, { 2, 64 }, { 4, 128 }, { 8, 256 },
		{ 16, BLOCK_PAGES },
	};
	struct fix f;
	unsigned int i;
	char *p;

	fix_open(&f, v);
	p = blocks(&f, 1);
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		load(&f, AT(p, steps[i].part * PART_PAGES + 3));
		EXPECT_EQ(fix_on_gpu(&f, p, HUGE), steps[i].there);
		EXPECT_AT(&f, p, 0, steps[i].there, gpu);
	}
	EXPECT_EQ(count(&f, MOVED), 6);
	EXPECT_EQ(count(&f, PREFETCHED), BLOCK_PAGES - 6);
	EXPECT_BYTES(p, HUGE, 0);
	fix_close(&f);
}

/* A fault in the empty second half, with so many pages of the first there */
static unsigned long there_after(struct fix *f, unsigned long before)
{
	struct uvm_migrate m;
	char *p = blocks(f, 1);
	unsigned long n;

	ASSERT_RET(migrate(f->s.fd, p, before * PAGE, UVM_DEST_GPU, 0, f->gpu.uuid, &m),
		   0);
	ASSERT_EQ(fix_on_gpu(f, p, HUGE), before);
	load(f, AT(p, 300));
	n = fix_on_gpu(f, p, HUGE);
	EXPECT_AT(f, p, 288, 304, gpu);
	munmap(p, HUGE);
	return n;
}

/* More than 51 % of the block there, or on its way: the rest comes. */
TEST_V(prefetch_threshold, devices_managed)
{
	unsigned long least = BLOCK_PAGES * 51 / 100 - PART_PAGES + 1;
	struct fix f;

	fix_open(&f, v);
	EXPECT_EQ(there_after(&f, least - 1), least - 1 + PART_PAGES);
	EXPECT_EQ(there_after(&f, least), BLOCK_PAGES);
	fix_close(&f);
}

TEST_V(prefetch_threshold_set, devices_managed)
{
	struct fix f;
	pid_t pid;

	fix_open(&f, v);
	ASSERT_EQ(core_parameter("prefetch_threshold"), 51);
	core_parameter_set("prefetch_threshold", 100);
	pid = child();
	if (!pid) {
		fix_reopen(&f);
		EXPECT_EQ(there_after(&f, 280), 280 + PART_PAGES);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	core_parameter_set("prefetch_threshold", 51);
	EXPECT_EQ(there_after(&f, 280), BLOCK_PAGES);
	fix_close(&f);
}

/* The second block in a row: the third comes along, and not one more. */
TEST_V(stream_up, devices_huge_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks(&f, 8);
	pattern_fill(p + 2 * HUGE, HUGE, 31);
	load(&f, p);
	EXPECT_EQ(fix_on_gpu(&f, p, 8 * HUGE), PART_PAGES);
	load(&f, p + HUGE);
	EXPECT_TRUE(WAIT_FOR(fix_on_gpu(&f, p + 2 * HUGE, HUGE) == BLOCK_PAGES));
	pass_time(&f);
	EXPECT_EQ(fix_on_gpu(&f, p, 8 * HUGE), 2 * PART_PAGES + BLOCK_PAGES);
	EXPECT_PATTERN(p + 2 * HUGE, HUGE, 31);
	EXPECT_BYTES(p, 2 * HUGE, 0);
	fix_close(&f);
}

/* All of it at once, with data in it */
TEST_V(stream_data, devices_huge_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 6, 32);
	EXPECT_EQ(fix_gpu_sum(&f, p, 6 * HUGE), sum64(p, 6 * HUGE));
	fix_xor(&f, p, 6 * HUGE, 33);
	cpu_xor(p, 6 * HUGE, 33);
	EXPECT_PATTERN(p, 6 * HUGE, 32);
	fix_close(&f);
}

/* Twice as many each time that what came is at its end */
TEST_V(stream_doubles, devices_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks(&f, 8);
	load(&f, p);
	load(&f, p + HUGE);
	EXPECT_TRUE(WAIT_FOR(fix_on_gpu(&f, p + 2 * HUGE, HUGE) == BLOCK_PAGES));
	load(&f, p + 3 * HUGE);
	EXPECT_TRUE(WAIT_FOR(fix_on_gpu(&f, p + 4 * HUGE, 2 * HUGE) ==
			     2 * BLOCK_PAGES));
	EXPECT_EQ(fix_on_gpu(&f, p + 6 * HUGE, 2 * HUGE), 0);
	/* inside of what came there is nothing to fault on */
	load(&f, p + 5 * HUGE);
	EXPECT_EQ(fix_on_gpu(&f, p + 6 * HUGE, 2 * HUGE), 0);
	EXPECT_BYTES(p + 4 * HUGE, PAGE, 0);
	fix_close(&f);
}

TEST_V(stream_down, devices_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks(&f, 8);
	load(&f, AT(p, 8 * BLOCK_PAGES - 1));
	load(&f, AT(p, 7 * BLOCK_PAGES - 1));
	EXPECT_TRUE(WAIT_FOR(fix_on_gpu(&f, p + 5 * HUGE, HUGE) == BLOCK_PAGES));
	EXPECT_EQ(fix_on_gpu(&f, p, 5 * HUGE), 0);
	fix_close(&f);
}

/* No stream: here and there; or one that mustn't bring anything along */
TEST_V(stream_none, devices_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks(&f, 8);
	load(&f, p);
	load(&f, p + 2 * HUGE);
	load(&f, p + 4 * HUGE);
	pass_time(&f);
	EXPECT_EQ(fix_on_gpu(&f, p, 8 * HUGE), 3 * PART_PAGES);
	p = blocks(&f, 8);
	ASSERT_RET(policy_switch(f.s.fd, UVM_SET_PREFETCH, p, 8 * HUGE, 0), 0);
	load(&f, p);
	load(&f, p + HUGE);
	load(&f, p + 2 * HUGE);
	pass_time(&f);
	EXPECT_EQ(fix_on_gpu(&f, p, 8 * HUGE), 3);
	p = blocks(&f, 8);
	stay(f.s.fd, p + 2 * HUGE, 6 * HUGE);
	load(&f, p);
	load(&f, p + HUGE);
	pass_time(&f);
	EXPECT_EQ(fix_on_gpu(&f, p, 8 * HUGE), 2 * PART_PAGES);
	fix_close(&f);
}

/* Policies begin and end in the middle of what would come along. */
TEST_V(policy_edges, devices_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks(&f, 1);
	stay(f.s.fd, AT(p, 100), 100 * PAGE);
	ASSERT_RET(policy_prefer(f.s.fd, AT(p, 200), 10 * PAGE, UVM_DEST_CPU, 0, NULL),
		   0);
	load(&f, AT(p, 98));
	EXPECT_AT(&f, p, 96, 100, gpu);
	EXPECT_EQ(fix_on_gpu(&f, p, HUGE), 4);
	store(&f, AT(p, 100));
	EXPECT_AT(&f, p, 100, 101, cpu);
	store(&f, AT(p, 199));
	store(&f, AT(p, 205));
	EXPECT_AT(&f, p, 199, 200, cpu);
	EXPECT_AT(&f, p, 205, 206, cpu);
	EXPECT_EQ(fix_on_gpu(&f, p, HUGE), 4);
	load(&f, AT(p, 210));
	EXPECT_AT(&f, p, 210, 224, gpu);
	EXPECT_EQ(fix_on_gpu(&f, p, HUGE), 4 + 14);
	EXPECT_EQ(fix_on_cpu(&f, p, HUGE), 3);
	EXPECT_BYTES(p, HUGE, 0);
	fix_close(&f);
}

/* So do mappings. */
TEST_V(mapping_edges, devices_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks(&f, 1);
	ASSERT_RET(munmap(AT(p, 100), 10 * PAGE), 0);
	ASSERT_RET(mprotect(AT(p, 110), 90 * PAGE, PROT_READ), 0);
	store(&f, AT(p, 97));
	EXPECT_AT(&f, p, 96, 100, gpu);
	load(&f, AT(p, 113));
	/* of the 128 KiB around it more than half is there, so the rest comes along */
	EXPECT_AT(&f, p, 110, 128, gpu);
	store(&f, AT(p, 207));
	EXPECT_AT(&f, p, 200, 208, gpu);
	EXPECT_AT(&f, p, 192, 200, none);
	EXPECT_EQ(fix_on_gpu(&f, p, HUGE), 4 + 18 + 8);
	expect_no_store(&f, AT(p, 114), UVM_FAULT_PERMISSION);
	expect_no_store(&f, AT(p, 105), UVM_FAULT_NO_MAPPING);
	EXPECT_EQ(fix_on_gpu(&f, p, HUGE), 4 + 18 + 8);
	EXPECT_BYTES(p, 100 * PAGE, 0);
	fix_close(&f);
}

/* ---- pages that can't move as they are ---- */

/* Takes all of the GPU's memory, for good: no migration is allowed from there. */
static char *fill_gpu(struct fix *f, size_t *length)
{
	struct uvm_migrate m;
	char *p;

	*length = gpu_free(&f->gpu);
	if (*length > 88 << 20)
		SKIP("that is too much device memory to fill");
	p = f->managed ? managed(f->s.fd, *length) :
			 anon(*length, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	/* fails on a kernel without huge pages, which is as good */
	madvise(p, *length, MADV_NOHUGEPAGE);
	ASSERT_RET(migrate(f->s.fd, p, *length, UVM_DEST_GPU, 0, f->gpu.uuid, &m), 0);
	ASSERT_EQ(gpu_free(&f->gpu), 0);
	fix_in_place(f->s.fd, p, *length);
	return p;
}

TEST_VT(full, devices_huge_managed, 60)
{
	char *ballast, *p, *q;
	size_t size = 64 * PAGE, length;
	uint64_t room;
	struct fix f;

	fix_open(&f, v);
	room = gpu_free(&f.gpu);
	ballast = fill_gpu(&f, &length);
	p = fix_pattern(&f, f.length, 40);
	q = blocks(&f, 1);
	fix_xor(&f, p, f.length, 41);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), f.length / PAGE);
	fix_fill(&f, q, size, 0x41);
	EXPECT_AT(&f, q, 0, 64, cpu);
	EXPECT_EQ(moved_by_faults(&f), 0);
	cpu_xor(p, f.length, 41);
	EXPECT_PATTERN(p, f.length, 40);
	EXPECT_BYTES(q, size, 0x41);
	/* as soon as there is room, they move again */
	munmap(ballast, length);
	ASSERT_TRUE(gpu_free_returns(&f.gpu, room));
	q = blocks(&f, 1);
	load(&f, q);
	EXPECT_AT(&f, q, 0, 16, gpu);
	fix_close(&f);
}

/* Shared after a fork: for a load it stays as it is. */
TEST_V(fork_load, devices_huge)
{
	int ends[2];
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 42);
	link_new(ends);
	pid = child();
	if (!pid) {
		ASSERT_EQ(hear(ends[1]), 'g');
		EXPECT_PATTERN(p, HUGE, 42);
		child_exit();
	}
	load(&f, AT(p, 3));
	EXPECT_EQ(fix_gpu_sum(&f, p, 64 * PAGE), sum64(p, 64 * PAGE));
	EXPECT_AT(&f, p, 0, BLOCK_PAGES, cpu);
	EXPECT_EQ(state_of(&f, AT(p, 3)).prot, UVM_PAGE_READ);
	tell(ends[0], 'g');
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_PATTERN(p, HUGE, 42);
	fix_close(&f);
}

/* For a store the one who stores gets a page of its own, on the GPU. */
TEST_V(fork_store, devices_huge)
{
	int ends[2];
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 43);
	link_new(ends);
	pid = child();
	if (!pid) {
		ASSERT_EQ(hear(ends[1]), 'g');
		EXPECT_PATTERN(p, HUGE, 43);
		pattern_fill(p, 32 * PAGE, 44);
		tell(ends[1], 'w');
		ASSERT_EQ(hear(ends[1]), 'g');
		EXPECT_PATTERN(p, 32 * PAGE, 44);
		child_exit();
	}
	fix_fill(&f, AT(p, 3), PAGE, 0x43);
	EXPECT_AT(&f, p, 3, 4, gpu);
	EXPECT_EQ(fix_on_gpu(&f, p, HUGE), 1);
	tell(ends[0], 'g');
	ASSERT_EQ(hear(ends[0]), 'w');
	expect_pattern_at(p, 0, 3, 43);
	EXPECT_BYTES(AT(p, 3), PAGE, 0x43);
	expect_pattern_at(p, 4, BLOCK_PAGES, 43);
	tell(ends[0], 'g');
	EXPECT_EQ(child_wait(pid), 0);
	fix_close(&f);
}

/* Shared while on the GPU: nobody sees the other's stores, wherever the copy is. */
TEST_V(fork_on_gpu, devices_huge)
{
	int ends[2];
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 45);
	fix_to_gpu(&f, p, f.length);
	link_new(ends);
	pid = child();
	if (!pid) {
		ASSERT_EQ(hear(ends[1]), 'g');
		fix_reopen(&f);
		EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
		EXPECT_PATTERN(p, f.length, 45);
		fix_fill(&f, p, 4 * PAGE, 0x46);
		EXPECT_BYTES(p, 4 * PAGE, 0x46);
		child_exit();
	}
	load(&f, AT(p, 3));
	EXPECT_AT(&f, p, 3, 4, gpu);
	fix_fill(&f, AT(p, 3), PAGE, 0x45);
	EXPECT_EQ(fix_tally(&f, AT(p, 3), PAGE).none, 0);
	tell(ends[0], 'g');
	EXPECT_EQ(child_wait(pid), 0);
	expect_pattern_at(p, 0, 3, 45);
	EXPECT_BYTES(AT(p, 3), PAGE, 0x45);
	expect_pattern_at(p, 4, f.length / PAGE, 45);
	fix_close(&f);
}

/* The zero page is everybody's. */
TEST_V(zero_page, devices_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks(&f, 1);
	EXPECT_BYTES(p, 4 * PAGE, 0);
	load(&f, AT(p, 1));
	EXPECT_AT(&f, p, 0, 4, cpu);
	EXPECT_EQ(fix_on_gpu(&f, p, HUGE), 0);
	fix_fill(&f, AT(p, 1), PAGE, 0x47);
	EXPECT_AT(&f, p, 1, 2, gpu);
	EXPECT_BYTES(p, PAGE, 0);
	EXPECT_BYTES(AT(p, 1), PAGE, 0x47);
	EXPECT_BYTES(AT(p, 2), (BLOCK_PAGES - 2) * PAGE, 0);
	p = blocks(&f, 1);
	EXPECT_BYTES(p, PAGE, 0);
	fix_close(&f);
}

TEST_V(swapped_out, devices)
{
	size_t i, n;
	struct fix f;
	char *p;

	fix_open(&f, v);
	if (!swap_on())
		SKIP("no swap can be set up here");
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 48);
	EXPECT_RET(madvise(p, f.length, MADV_PAGEOUT), 0);
	for (i = 0; i < n && state_of(&f, AT(p, i)).where != UVM_WHERE_NONE; i++)
		;
	if (i == n) {
		swap_off();
		SKIP("the kernel swapped nothing out");
	}
	load(&f, AT(p, i));
	EXPECT_AT(&f, p, i, i + 1, gpu);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	fix_xor(&f, p, f.length, 49);
	EXPECT_RET(swap_off(), 0);
	cpu_xor(p, f.length, 49);
	EXPECT_PATTERN(p, f.length, 48);
	fix_close(&f);
}

/* A page that KSM merged stays until somebody stores to it. */
TEST_VT(merged, devices, 60)
{
	size_t i, n = 16;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_buffer(&f, n * PAGE);
	memset(p, 0x4a, n * PAGE);
	ksm_merge(p, n * PAGE);
	for (i = 0; i < n && state_of(&f, AT(p, i)).prot != UVM_PAGE_READ; i++)
		;
	ASSERT_GT(n, i);
	load(&f, AT(p, i));
	EXPECT_AT(&f, p, i, i + 1, cpu);
	EXPECT_EQ(state_of(&f, AT(p, i)).prot, UVM_PAGE_READ);
	fix_fill(&f, AT(p, i), PAGE, 0x4b);
	EXPECT_AT(&f, p, i, i + 1, gpu);
	EXPECT_BYTES(p, i * PAGE, 0x4a);
	EXPECT_BYTES(AT(p, i), PAGE, 0x4b);
	EXPECT_BYTES(AT(p, i + 1), (n - i - 1) * PAGE, 0x4a);
	munmap(p, n * PAGE);
	fix_close(&f);
}

/*
 * What is mlocked moves, if not at once: core's own list of such pages keeps them busy
 * if the work that moves them changes its CPU in the middle of it.
 */
TEST_V(mlocked, devices_huge)
{
	struct fix f;
	char *p;
	int i;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 50);
	ASSERT_RET(mlock(p, HUGE), 0);
	for (i = 0; i < 20 && fix_on_gpu(&f, p, 16 * PAGE) < 16; i++) {
		settle_lists();
		/* the GPU faults again, on each page that isn't there */
		ASSERT_RET(mprotect(p, HUGE, PROT_READ), 0);
		ASSERT_RET(mprotect(p, HUGE, PROT_READ | PROT_WRITE), 0);
		touch_by(&f, f.channel, p, 16, false);
	}
	EXPECT_AT(&f, p, 0, 16, gpu);
	fix_xor(&f, p, 16 * PAGE, 51);
	cpu_xor(p, 16 * PAGE, 51);
	EXPECT_PATTERN(p, HUGE, 50);
	EXPECT_RET(munlock(p, HUGE), 0);
	fix_close(&f);
}

/* As it was, or zero; what the GPU then stores is there to stay. */
TEST_V(madv_free, devices_huge)
{
	struct fix f;
	size_t i;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 52);
	ASSERT_RET(madvise(p, HUGE, MADV_FREE), 0);
	settle_lists();
	load(&f, AT(p, 3));
	EXPECT_AT(&f, p, 3, 4, gpu);
	for (i = 0; i < BLOCK_PAGES; i++)
		EXPECT_TRUE(pattern_check_from(AT(p, i), PAGE, 52, i) == -1 ||
			    bytes_check(AT(p, i), PAGE, 0) == -1);
	fix_fill(&f, p, 32 * PAGE, 0x52);
	fix_to_cpu(&f, p, 32 * PAGE);
	ASSERT_RET(madvise(p, HUGE, MADV_PAGEOUT), 0);
	EXPECT_BYTES(p, 32 * PAGE, 0x52);
	fix_close(&f);
}

TEST_V(madv_dontneed, devices_huge)
{
	uint64_t room;
	struct fix f;
	char *p;

	fix_open(&f, v);
	room = gpu_free(&f.gpu);
	p = blocks_pattern(&f, 1, 53);
	load(&f, AT(p, 3));
	EXPECT_AT(&f, p, 0, 16, gpu);
	ASSERT_RET(madvise(p, HUGE, MADV_DONTNEED), 0);
	EXPECT_AT(&f, p, 0, BLOCK_PAGES, none);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, room));
	EXPECT_EQ(fix_gpu_sum(&f, p, 16 * PAGE), 0);
	EXPECT_AT(&f, p, 0, 16, gpu);
	EXPECT_BYTES(p, HUGE, 0);
	fix_close(&f);
}

static int uffd_register(char *p, size_t length)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = ADDR(p), .len = length },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		SKIP("no userfaultfd");
	ASSERT_EQ(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	return fd;
}

/* Waits for a fault, and gives the page for it. */
static char *uffd_serve(int fd, int byte)
{
	struct pollfd pending = { .fd = fd, .events = POLLIN };
	struct uffdio_copy copy = { .len = PAGE };
	struct uffd_msg msg;
	char page[PAGE];

	memset(page, byte, PAGE);
	ASSERT_TRUE(WAIT_FOR(poll(&pending, 1, 0) == 1));
	ASSERT_EQ(read(fd, &msg, sizeof(msg)), sizeof(msg));
	ASSERT_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
	copy.dst = msg.arg.pagefault.address & ~(PAGE - 1);
	copy.src = ADDR(page);
	ASSERT_EQ(ioctl(fd, UFFDIO_COPY, &copy), 0);
	return (char *)copy.dst;
}

/*
 * What is missing there is user space's to give: the GPU waits for that page, and none
 * comes along with another.
 */
TEST_V(userfaultfd, devices)
{
	struct uvm_sim_cmd fill;
	uint64_t point;
	struct fix f;
	char *p;
	int fd;

	fix_open(&f, v);
	p = blocks(&f, 1);
	pattern_fill(p, 4 * PAGE, 54);
	fd = uffd_register(p, HUGE);
	load(&f, AT(p, 3));
	EXPECT_AT(&f, p, 0, 4, gpu);
	EXPECT_AT(&f, p, 4, BLOCK_PAGES, none);
	fill = CMD(FILL, .dst = ADDR(AT(p, 8)) + 8, .length = 8, .arg0 = 0x55);
	ASSERT_RET(channel_submit(f.s.fd, f.channel, &fill, 1, &point), 0);
	EXPECT_EQ(ADDR(uffd_serve(fd, 0x54)), ADDR(AT(p, 8)));
	EXPECT_RET(channel_wait(f.s.fd, f.channel, point, PATIENCE, NULL), 0);
	EXPECT_EQ(fix_tally(&f, AT(p, 8), PAGE).none, 0);
	EXPECT_AT(&f, p, 4, 8, none);
	EXPECT_AT(&f, p, 9, BLOCK_PAGES, none);
	EXPECT_BYTES(AT(p, 8), 8, 0x54);
	EXPECT_BYTES(AT(p, 8) + 8, 8, 0x55);
	EXPECT_BYTES(AT(p, 8) + 16, PAGE - 16, 0x54);
	EXPECT_PATTERN(p, 4 * PAGE, 54);
	close(fd);
	fix_close(&f);
}

#define BALANCING "/proc/sys/kernel/numa_balancing"

/* Works until NUMA balancing has hidden the page at @p, to see who uses it. */
static bool hide(struct fix *f, const char *p)
{
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		struct uvm_page_state st = state_of(f, p);

		if (st.where == UVM_WHERE_CPU && !st.prot)
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - from.tv_sec < 8);
	return false;
}

/* Hidden it is there all the same: it moves, or stays if it should. */
TEST_VT(hidden_page, devices, 60)
{
	struct fix f;
	bool hidden;
	char *p, *q;
	long was;

	fix_open(&f, v);
	was = read_number(BALANCING);
	if (was < 0 || !write_text(BALANCING, "1"))
		SKIP("no NUMA balancing");
	p = blocks_pattern(&f, 1, 55);
	q = blocks_pattern(&f, 1, 56);
	ASSERT_RET(policy_accessed_by(f.s.fd, q, HUGE, f.gpu.uuid, 1), 0);
	hidden = hide(&f, AT(p, 5)) && hide(&f, AT(q, 5));
	if (hidden) {
		load(&f, AT(p, 5));
		load(&f, AT(q, 5));
	}
	if (!was)
		write_text(BALANCING, "0");
	if (!hidden)
		SKIP("NUMA balancing hid nothing");
	EXPECT_AT(&f, p, 0, 16, gpu);
	EXPECT_AT(&f, q, 0, BLOCK_PAGES, cpu);
	EXPECT_PATTERN(p, HUGE, 55);
	EXPECT_PATTERN(q, HUGE, 56);
	fix_close(&f);
}

/* ---- memory that doesn't move ---- */

/* Is the page at @p dirty, as reclaim sees it? -1 if the kernel doesn't say. */
static int page_dirty(const char *p)
{
	int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0, word = 0;
	int ret = -1;

	if (map >= 0 && flags >= 0 &&
	    pread(map, &entry, 8, ADDR(p) / PAGE * 8) == 8 &&
	    pread(flags, &word, 8, (entry & ((1ULL << 55) - 1)) * 8) == 8)
		ret = word >> 4 & 1;
	close(map);
	close(flags);
	return ret;
}

TEST_V(shared_file, devices)
{
	size_t n = 32, length = n * PAGE;
	struct fix f;
	char *p, *q;
	int fd, dirty;

	fix_open(&f, v);
	p = shared_file(length, &fd, 57);
	/* pages that were only read so far */
	ASSERT_EQ(ftruncate(fd, 2 * length), 0);
	q = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, length);
	ASSERT_TRUE(q != MAP_FAILED);
	EXPECT_BYTES(q, length, 0);
	dirty = page_dirty(q);
	fix_xor(&f, p, length, 58);
	fix_fill(&f, q, length / 2, 0x57);
	EXPECT_EQ(fix_on_cpu(&f, p, length), n);
	EXPECT_EQ(fix_on_cpu(&f, q, length), n);
	EXPECT_EQ(moved_by_faults(&f), 0);
	if (dirty == 0)
		EXPECT_EQ(page_dirty(q), 1);
	cpu_xor(p, length, 58);
	EXPECT_PATTERN(p, length, 57);
	/* the file has it, not only this mapping */
	munmap(q, length);
	q = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, length);
	ASSERT_TRUE(q != MAP_FAILED);
	EXPECT_BYTES(q, length / 2, 0x57);
	EXPECT_BYTES(q + length / 2, length / 2, 0);
	fix_close(&f);
}

TEST_V(shared_anon, devices)
{
	size_t n = 32, length = n * PAGE;
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		 -1, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	/* never touched by a CPU */
	fix_fill(&f, p, length, 0x58);
	EXPECT_EQ(fix_on_cpu(&f, p, length), n);
	EXPECT_EQ(moved_by_faults(&f), 0);
	pid = child();
	if (!pid) {
		EXPECT_BYTES(p, length, 0x58);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	fix_close(&f);
}

TEST_V(hugetlb, devices)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = hugetlb_page();
	pattern_fill(p, HUGE, 59);
	fix_xor(&f, p, HUGE, 60);
	EXPECT_AT(&f, p, 0, BLOCK_PAGES, cpu);
	EXPECT_EQ(moved_by_faults(&f), 0);
	cpu_xor(p, HUGE, 60);
	EXPECT_PATTERN(p, HUGE, 59);
	munmap(p, HUGE);
	hugetlb_done();
	fix_close(&f);
}

/* Pages of a private file mapping are the file's until somebody stores to them. */
TEST_V(private_file, devices)
{
	size_t n = 32, length = n * PAGE;
	char *p, *file, page[PAGE];
	struct fix f;
	int fd;

	fix_open(&f, v);
	file = shared_file(length, &fd, 61);
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	load(&f, AT(p, 3));
	EXPECT_AT(&f, p, 3, 4, cpu);
	EXPECT_EQ(moved_by_faults(&f), 0);
	memset(page, 0x61, PAGE);
	ASSERT_EQ(pwrite(fd, page, PAGE, 3 * PAGE), PAGE);
	EXPECT_EQ(fix_gpu_sum(&f, AT(p, 3), PAGE), sum64(page, PAGE));
	fix_fill(&f, AT(p, 20), PAGE, 0x62);
	EXPECT_AT(&f, p, 20, 21, gpu);
	EXPECT_BYTES(AT(p, 20), PAGE, 0x62);
	expect_pattern_at(file, 4, n, 61);
	EXPECT_BYTES(AT(file, 3), PAGE, 0x61);
	expect_pattern_at(p, 4, 20, 61);
	fix_close(&f);
}

/* Where the process may not store, neither does the GPU; and nothing moves for it. */
TEST_V(read_only, devices_huge_managed)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 63);
	ASSERT_RET(mprotect(p, HUGE, PROT_READ), 0);
	expect_no_store(&f, AT(p, 5), UVM_FAULT_PERMISSION);
	EXPECT_AT(&f, p, 0, BLOCK_PAGES, cpu);
	EXPECT_EQ(moved_by_faults(&f), 0);
	EXPECT_EQ(count(&f, CANCELS), 1);
	load(&f, AT(p, 5));
	EXPECT_AT(&f, p, 0, 16, gpu);
	expect_no_store(&f, AT(p, 5), UVM_FAULT_PERMISSION);
	EXPECT_AT(&f, p, 0, 16, gpu);
	EXPECT_PATTERN(p, HUGE, 63);
	fix_close(&f);
}

/* Somebody holds pages: they stay, and he sees what the GPU stores. */
TEST_V(held, devices_huge_managed)
{
	char *p, copy[4 * PAGE];
	struct iovec iov;
	ssize_t n, got = 0;
	struct fix f;
	int pipes[2];

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 64);
	ASSERT_EQ(pipe(pipes), 0);
	iov = (struct iovec){ AT(p, 8), 4 * PAGE };
	ASSERT_EQ(vmsplice(pipes[1], &iov, 1, 0), 4 * PAGE);
	fix_fill(&f, AT(p, 8), 4 * PAGE, 0x64);
	EXPECT_AT(&f, p, 8, 12, cpu);
	while (got < (ssize_t)sizeof(copy)) {
		n = read(pipes[0], copy + got, sizeof(copy) - got);
		ASSERT_GT(n, 0);
		got += n;
	}
	EXPECT_BYTES(copy, sizeof(copy), 0x64);
	expect_pattern_at(p, 0, 8, 64);
	EXPECT_BYTES(AT(p, 8), 4 * PAGE, 0x64);
	expect_pattern_at(p, 12, BLOCK_PAGES, 64);
	fix_close(&f);
}

TEST_V(pinned, devices_huge_managed)
{
	struct fix f;
	char *p;
	int ring;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 65);
	ring = longterm_pin(AT(p, 8), 4 * PAGE);
	if (ring < 0)
		SKIP("no io_uring to pin pages with");
	fix_xor(&f, p, 16 * PAGE, 66);
	EXPECT_AT(&f, p, 8, 12, cpu);
	/* the others go, unless they are one page with it */
	if (!v->huge)
		EXPECT_AT(&f, p, 0, 8, gpu);
	cpu_xor(p, 16 * PAGE, 66);
	EXPECT_PATTERN(p, HUGE, 65);
	close(ring);
	fix_close(&f);
}

/* ---- a memory cgroup ---- */

#define CGROUPS	"/tmp/cgroup"
#define CGROUP	CGROUPS "/faults"

static void cgroup_make(const char *max)
{
	mkdir(CGROUPS, 0700);
	if (mount("none", CGROUPS, "cgroup2", 0, NULL))
		SKIP("no cgroups");
	if (!write_text(CGROUPS "/cgroup.subtree_control", "+memory") ||
	    mkdir(CGROUP, 0700) || !write_text(CGROUP "/memory.max", max)) {
		umount(CGROUPS);
		SKIP("no memory cgroups");
	}
}

static void cgroup_remove(void)
{
	WAIT_FOR(!rmdir(CGROUP) || errno == ENOENT);
	umount(CGROUPS);
	rmdir(CGROUPS);
}

/* How often the limit was met */
static long cgroup_max_events(void)
{
	char text[400], *p;

	if (!read_text(CGROUP "/memory.events", text, sizeof(text)))
		return -1;
	p = strstr(text, "\nmax ");
	return p ? strtol(p + 5, NULL, 10) : -1;
}

#define CGROUP_MAX	(24UL << 20)

static void limited(struct fix *f)
{
	size_t there = 10UL << 20, wanted = 20UL << 20;
	char *p, *q;

	ASSERT_TRUE(write_text(CGROUP "/cgroup.procs", "0"));
	fix_reopen(f);
	p = anon(there, PROT_READ | PROT_WRITE, 0);
	q = anon(wanted, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	pattern_fill(p, there, 67);
	fix_fill(f, q, wanted, 0x67);
	EXPECT_EQ(fix_on_gpu(f, q, wanted), wanted / PAGE);
	/* little is charged whatever the limit is */
	EXPECT_LE(read_number(CGROUP "/memory.current"), CGROUP_MAX + (1UL << 20));
	EXPECT_GT(cgroup_max_events(), 0);
	EXPECT_PATTERN(p, there, 67);
	EXPECT_BYTES(q, 64 * PAGE, 0x67);
	child_exit();
}

/* What a GPU's faults take is charged to the process, and others make room for it. */
TEST_VT(cgroup_limit, devices, 60)
{
	char max[20];
	struct fix f;
	pid_t pid;

	fix_open(&f, v);
	if (!swap_on())
		SKIP("no swap can be set up here");
	snprintf(max, sizeof(max), "%lu", CGROUP_MAX);
	cgroup_make(max);
	pid = child();
	if (!pid)
		limited(&f);
	EXPECT_EQ(child_wait(pid), 0);
	cgroup_remove();
	EXPECT_RET(swap_off(), 0);
	fix_close(&f);
}

/* ---- many at once ---- */

/*
 * A channel that loads from a page and stores to it reports both at once, so they come
 * in one batch, as long as the GPU's worker isn't still busy with the turn before.
 */
TEST_V(reported_twice, devices_managed)
{
	unsigned int i, rounds = 20;
	struct fix f;
	char *p;

	fix_open(&f, v);
	for (i = 0; i < rounds; i++) {
		p = blocks(&f, 1);
		fix_xor(&f, p, PAGE, i);
		cpu_xor(p, PAGE, i);
		EXPECT_BYTES(p, PAGE, 0);
	}
	EXPECT_GT(count(&f, DUPLICATES), 0);
	EXPECT_LE(count(&f, DUPLICATES), rounds);
	EXPECT_EQ(count(&f, MOVED), rounds);
	EXPECT_EQ(moved_by_faults(&f), rounds * PART_PAGES);
	fix_close(&f);
}

/* They all want the same page, and get it once. */
TEST_VT(same_page, devices_managed, 60)
{
	enum { CHANNELS = 8, ADDS = 20 };
	unsigned int i, k, rounds = harness_rounds(40);
	uint32_t channel[CHANNELS];
	uint64_t point[CHANNELS], *p;
	struct uvm_sim_cmd c;
	struct fix f;

	fix_open(&f, v);
	for (k = 0; k < CHANNELS; k++)
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &channel[k]), 0);
	for (i = 0; i < rounds; i++) {
		p = (uint64_t *)blocks(&f, 1);
		c = CMD(ATOMIC_ADD, .dst = ADDR(p), .arg0 = 1, .arg1 = ADDS);
		for (k = 0; k < CHANNELS; k++)
			ASSERT_RET(channel_submit(f.s.fd, channel[k], &c, 1, &point[k]),
				   0);
		for (k = 0; k < CHANNELS; k++)
			ASSERT_RET(channel_wait(f.s.fd, channel[k], point[k], PATIENCE,
						NULL), 0);
		EXPECT_AT(&f, (char *)p, 0, 16, gpu);
		EXPECT_EQ(*p, CHANNELS * ADDS);
		munmap(p, HUGE);
	}
	EXPECT_LT(count(&f, DUPLICATES), count(&f, FAULTS));
	EXPECT_EQ(count(&f, MOVED), rounds);
	EXPECT_EQ(moved_by_faults(&f), rounds * PART_PAGES);
	fix_close(&f);
}

/* Each in a block of its own */
TEST_VT(many_channels, devices_huge_managed, 60)
{
	enum { CHANNELS = 64 };
	uint32_t channel[CHANNELS];
	uint64_t point[CHANNELS];
	struct uvm_sim_cmd c;
	struct fix f;
	char *p;
	int i;

	fix_open(&f, v);
	/* every other block: neighbours would be a stream */
	p = blocks(&f, 2 * CHANNELS);
	for (i = 0; i < CHANNELS; i++)
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &channel[i]), 0);
	for (i = 0; i < CHANNELS; i++) {
		c = CMD(FILL, .dst = ADDR(p + 2 * i * HUGE), .length = 16 * PAGE,
			.arg0 = i + 1);
		ASSERT_RET(channel_submit(f.s.fd, channel[i], &c, 1, &point[i]), 0);
	}
	for (i = 0; i < CHANNELS; i++)
		EXPECT_RET(channel_wait(f.s.fd, channel[i], point[i], PATIENCE, NULL),
			   0);
	for (i = 0; i < CHANNELS; i++) {
		EXPECT_EQ(fix_on_gpu(&f, p + 2 * i * HUGE, 2 * HUGE), 16);
		EXPECT_BYTES(p + 2 * i * HUGE, 16 * PAGE, i + 1);
	}
	EXPECT_EQ(moved_by_faults(&f), CHANNELS * 16);
	EXPECT_EQ(count(&f, CANCELS), 0);
	fix_close(&f);
}

#define STORM_CHANNELS	8

/* Shared */
struct storm {
	atomic_bool stop;
	atomic_int fd;
};

/* Page by page, on all channels, and again from the start */
static void storm_main(struct storm *s, struct fix *f)
{
	uint32_t channel[STORM_CHANNELS];
	uint64_t point[STORM_CHANNELS];
	struct uvm_sim_cmd c;
	char *p;
	int i;

	fix_reopen(f);
	p = blocks(f, STORM_CHANNELS);
	ASSERT_RET(policy_switch(f->s.fd, UVM_SET_PREFETCH, p, STORM_CHANNELS * HUGE,
				 0), 0);
	for (i = 0; i < STORM_CHANNELS; i++)
		ASSERT_RET(channel_create(f->s.fd, f->gpu.uuid, &channel[i]), 0);
	s->fd = f->s.fd;
	while (!s->stop) {
		for (i = 0; i < STORM_CHANNELS; i++) {
			c = CMD(TOUCH, .dst = ADDR(p + i * HUGE), .length = HUGE / 8,
				.arg0 = PAGE, .arg1 = 1);
			ASSERT_RET(channel_submit(f->s.fd, channel[i], &c, 1,
						  &point[i]), 0);
		}
		for (i = 0; i < STORM_CHANNELS; i++)
			EXPECT_RET(channel_wait(f->s.fd, channel[i], point[i], PATIENCE,
						NULL), 0);
		ASSERT_RET(madvise(p, STORM_CHANNELS * HUGE, MADV_DONTNEED), 0);
	}
	child_exit();
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Returns when it storms. */
static pid_t storm_start(struct storm *s, struct fix *f)
{
	pid_t pid;

	s->fd = -1;
	pid = child();
	if (!pid)
		storm_main(s, f);
	ASSERT_TRUE(WAIT_FOR(s->fd >= 0 &&
			     view_counter(pid, s->fd, &f->gpu, FAULTS) > 100));
	return pid;
}

/* One process storms; the other's faults are served all the same. */
TEST_VT(storm, devices, 60)
{
	unsigned int i, rounds = harness_rounds(20);
	struct storm *s = shared_page();
	long long faults;
	struct fix f;
	pid_t pid;
	long from;
	char *p;

	fix_open(&f, v);
	pid = storm_start(s, &f);
	faults = view_counter(pid, s->fd, &f.gpu, FAULTS) + rounds;
	from = now_ms();
	/* and all the while it is one, also if its process gets little of the CPUs */
	for (i = 0; i < rounds || (view_counter(pid, s->fd, &f.gpu, FAULTS) <= faults &&
				   now_ms() - from < patience_ms()); i++) {
		p = blocks(&f, 1);
		fix_fill(&f, p, PAGE, i % 250 + 1);
		EXPECT_AT(&f, p, 0, 1, gpu);
		EXPECT_BYTES(p, PAGE, i % 250 + 1);
		munmap(p, HUGE);
	}
	EXPECT_LT(now_ms() - from, patience_ms());
	EXPECT_GT(view_counter(pid, s->fd, &f.gpu, FAULTS), faults);
	s->stop = true;
	EXPECT_EQ(child_wait(pid), 0);
	fix_close(&f);
}

/*
 * A replay is for the GPU as a whole, so with others' replays a fault may be reported
 * again while it is being served. What is reported of it when the memory is gone again
 * stops nobody: the access was made.
 */
TEST_VT(storm_unmap, devices, 60)
{
	unsigned int i, rounds = harness_rounds(200);
	struct storm *s = shared_page();
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	pid = storm_start(s, &f);
	for (i = 0; i < rounds; i++) {
		p = anon(PAGE, PROT_READ | PROT_WRITE, 0);
		fix_fill(&f, p, PAGE, i);
		munmap(p, PAGE);
	}
	EXPECT_EQ(count(&f, CANCELS), 0);
	s->stop = true;
	EXPECT_EQ(child_wait(pid), 0);
	fix_close(&f);
}

/* Two GPUs and the CPU take turns, and nobody minds. */
TEST_V(bounce, devices_managed)
{
	unsigned int i, rounds = harness_rounds(6);
	struct uvm_sim_cmd c;
	struct fix f;
	char *p;

	core_parameter_set("thrash_lapse_us", 0);
	fix_pair(&f, v);
	p = blocks(&f, 1);
	pattern_fill(p, 16 * PAGE, 70);
	for (i = 0; i < rounds; i++) {
		fix_xor(&f, p, 16 * PAGE, i);
		EXPECT_EQ(fix_on_gpu(&f, p, 16 * PAGE), 16);
		c = CMD(XOR, .dst = ADDR(p), .length = 16 * PAGE, .arg0 = i + 1);
		ASSERT_RET(channel_run(f.s.fd, f.channel2, &c, 1), 0);
		EXPECT_EQ(fix_on_gpu2(&f, p, 16 * PAGE), 16);
		cpu_xor(p, 16 * PAGE, i);
		cpu_xor(p, 16 * PAGE, i + 1);
		EXPECT_PATTERN(p, 16 * PAGE, 70);
	}
	fix_close(&f);
}

/* ---- the address space changes meanwhile ---- */

struct hand {
	struct fix *f;
	char *p;
	size_t length;
	uint64_t rng;
	atomic_bool stop;
	atomic_uint rounds;
	pthread_t thread;
};

static void hand_start(struct hand *h, struct fix *f, char *p, size_t length,
		       void *(*run)(void *))
{
	h->f = f;
	h->p = p;
	h->length = length;
	h->rng = harness_seed;
	h->stop = false;
	h->rounds = 0;
	ASSERT_EQ(pthread_create(&h->thread, NULL, run, h), 0);
}

static void hand_stop(struct hand *h)
{
	/* it was at it, too */
	EXPECT_TRUE(WAIT_FOR(h->rounds > 0));
	h->stop = true;
	pthread_join(h->thread, NULL);
}

static char *hand_pick(struct hand *h, size_t *length)
{
	size_t n = h->length / PAGE, first = harness_random(&h->rng) % n;

	*length = (1 + harness_random(&h->rng) % (n - first)) * PAGE;
	return AT(h->p, first);
}

/* A round is over; the GPU gets a chance to get something done before the next one. */
static void hand_round(struct hand *h)
{
	h->rounds++;
	usleep(500);
}

static void to_cpu(struct fix *f, const void *p, size_t length)
{
	struct uvm_migrate m;

	EXPECT_RET(migrate(f->s.fd, p, length, UVM_DEST_CPU, 0, NULL, &m), 0);
	expect_accounts(&m);
}

static void *change_rights(void *arg)
{
	struct hand *h = arg;
	size_t length;
	char *p;

	while (!h->stop) {
		p = hand_pick(h, &length);
		EXPECT_RET(mprotect(p, length, PROT_READ), 0);
		EXPECT_RET(mprotect(h->p, h->length, PROT_READ | PROT_WRITE), 0);
		hand_round(h);
	}
	return NULL;
}

/* Loads are allowed all the time, so none fails, and all that is moved is right. */
TEST_VT(race_mprotect, devices_huge_managed, 60)
{
	size_t length = v->huge ? HUGE : 64 * PAGE;
	unsigned int i, rounds = harness_rounds(4);
	struct hand h;
	struct fix f;
	uint64_t sum;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 71);
	sum = sum64(p, length);
	hand_start(&h, &f, p, length, change_rights);
	for (i = 0; i < rounds; i++) {
		to_cpu(&f, p, length);
		EXPECT_EQ(fix_gpu_sum(&f, p, length), sum);
	}
	hand_stop(&h);
	EXPECT_PATTERN(p, HUGE, 71);
	fix_close(&f);
}

static void *drop_pages(void *arg)
{
	struct hand *h = arg;
	size_t length;
	char *p;

	while (!h->stop) {
		p = hand_pick(h, &length);
		EXPECT_RET(madvise(p, length, MADV_DONTNEED), 0);
		hand_round(h);
	}
	return NULL;
}

/*
 * A page is zero or has what the GPU stored; in the end all have. Managed memory keeps
 * what was stored, and loses the entries only.
 */
TEST_VT(race_dontneed, devices_huge_managed, 60)
{
	unsigned int i, rounds = harness_rounds(v->huge ? 4 : 8);
	size_t k, length = 256 * PAGE;
	struct hand h;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks(&f, 1);
	hand_start(&h, &f, p, length, drop_pages);
	for (i = 0; i < rounds; i++)
		fix_fill(&f, p, length, 0x72);
	hand_stop(&h);
	for (k = 0; k < length; k += PAGE)
		EXPECT_TRUE(bytes_check(p + k, PAGE, 0x72) == -1 ||
			    bytes_check(p + k, PAGE, 0) == -1);
	fix_fill(&f, p, length, 0x73);
	EXPECT_BYTES(p, length, 0x73);
	fix_close(&f);
}

static void *unmap_and_map(void *arg)
{
	struct hand *h = arg;
	size_t length;
	char *p;

	while (!h->stop) {
		p = hand_pick(h, &length);
		ASSERT_RET(munmap(p, length), 0);
		if (h->f->managed)
			ASSERT_RET(managed_try(h->f->s.fd, p, length), 0);
		else
			ASSERT_TRUE(mmap(p, length, PROT_READ | PROT_WRITE, MAP_PRIVATE |
					 MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
					 0) == p);
		hand_round(h);
	}
	return NULL;
}

/* The channel gets through, or is told where there was nothing. */
TEST_VT(race_unmap, devices_huge_managed, 60)
{
	unsigned int i, rounds = harness_rounds(12), stopped = 0;
	struct uvm_channel_query q;
	struct uvm_sim_cmd c;
	uint32_t channel;
	struct hand h;
	struct fix f;
	char *p;
	int ret;

	fix_open(&f, v);
	p = blocks(&f, 1);
	hand_start(&h, &f, p, HUGE, unmap_and_map);
	for (i = 0; i < rounds; i++) {
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &channel), 0);
		c = CMD(FILL, .dst = ADDR(p), .length = HUGE, .arg0 = i);
		ret = channel_run(f.s.fd, channel, &c, 1);
		EXPECT_RET2(ret, 0, -ECANCELED);
		ASSERT_RET(channel_query(f.s.fd, channel, &q), 0);
		EXPECT_EQ(q.out_state, ret ? UVM_CHANNEL_FAULTED : UVM_CHANNEL_RUNNING);
		/* BUS: when it was asked for the reason there was a mapping again */
		if (q.out_reason != UVM_FAULT_BUS)
			EXPECT_EQ(q.out_reason, ret ? UVM_FAULT_NO_MAPPING :
						      UVM_FAULT_NONE);
		stopped += !!ret;
		EXPECT_RET(channel_destroy(f.s.fd, channel), 0);
	}
	hand_stop(&h);
	harness_note("%u of %u caught in the act", stopped, rounds);
	fix_fill(&f, p, HUGE, 0x74);
	EXPECT_BYTES(p, HUGE, 0x74);
	fix_close(&f);
}

static void *bring_home(void *arg)
{
	struct hand *h = arg;
	size_t length;
	char *p;

	while (!h->stop) {
		p = hand_pick(h, &length);
		to_cpu(h->f, p, length);
		hand_round(h);
	}
	return NULL;
}

static void *change_policies(void *arg)
{
	static const unsigned long switches[] = {
		UVM_SET_FAULT_MIGRATION, UVM_SET_PREFETCH, UVM_SET_READ_MOSTLY,
	};
	struct hand *h = arg;
	int fd = h->f->s.fd;
	size_t length;
	char *p;

	while (!h->stop) {
		p = hand_pick(h, &length);
		EXPECT_RET(policy_switch(fd, switches[h->rounds % 3], p, length,
					 harness_random(&h->rng) & 1), 0);
		p = hand_pick(h, &length);
		EXPECT_RET(policy_prefer(fd, p, length, h->rounds & 1 ? UVM_DEST_CPU :
					 UVM_DEST_NONE, 0, NULL), 0);
		p = hand_pick(h, &length);
		EXPECT_RET(policy_accessed_by(fd, p, length, h->f->gpu.uuid,
					      harness_random(&h->rng) & 1), 0);
		hand_round(h);
	}
	return NULL;
}

/* One takes home what the GPU wants, another changes his mind all the time. */
TEST_VT(race_home, devices_huge_managed, 60)
{
	size_t length = (v->huge ? 256 : 64) * PAGE;
	unsigned int i, rounds = harness_rounds(2);
	struct hand home, policies;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, 1, 75);
	hand_start(&home, &f, p, length, bring_home);
	hand_start(&policies, &f, p, length, change_policies);
	for (i = 0; i < rounds; i++) {
		fix_xor(&f, p, length, i);
		fix_xor(&f, p, length, i + 1);
		fix_xor(&f, p, length, i);
		fix_xor(&f, p, length, i + 1);
	}
	hand_stop(&home);
	hand_stop(&policies);
	EXPECT_PATTERN(p, HUGE, 75);
	fix_close(&f);
}

/*
 * The page moves after the driver has looked where it is, and before the GPU is told:
 * the GPU must not work on what it has left. Where that moment can be made long.
 */
TEST_VT(move_widened, devices_huge_managed, 60)
{
	struct timespec moment = { .tv_nsec = 10000000 };
	unsigned int i, rounds = harness_rounds(10);
	size_t length = v->huge ? HUGE : PAGE;
	struct uvm_sim_cmd c;
	struct uvm_migrate m;
	long long faults;
	uint64_t point;
	struct fix f;
	char *p;

	fix_open(&f, v);
	delays_need_at("mirror", "60000");
	p = blocks_pattern(&f, 1, 76);
	stay(f.s.fd, p, HUGE);
	for (i = 0; i < rounds; i++) {
		/* the GPU faults again */
		if (v->huge) {
			fix_to_gpu(&f, p, length);
		} else {
			ASSERT_RET(mprotect(p, HUGE, PROT_READ), 0);
			ASSERT_RET(mprotect(p, HUGE, PROT_READ | PROT_WRITE), 0);
		}
		faults = count(&f, FAULTS);
		c = CMD(XOR, .dst = ADDR(p), .length = PAGE, .arg0 = i);
		ASSERT_RET(channel_submit(f.s.fd, f.channel, &c, 1, &point), 0);
		ASSERT_TRUE(WAIT_FOR(count(&f, FAULTS) > faults));
		nanosleep(&moment, NULL);
		ASSERT_RET(migrate(f.s.fd, p, length, UVM_DEST_CPU_NODE, i % 2, NULL,
				   &m), 0);
		expect_accounts(&m);
		EXPECT_RET(channel_wait(f.s.fd, f.channel, point, PATIENCE, NULL), 0);
		cpu_xor(p, PAGE, i);
		EXPECT_PATTERN(p, PAGE, 76);
	}
	fix_close(&f);
}

/* ---- the way home, and the counters ---- */

/* The CPU comes for it in order: few faults, and exactly what was there. */
TEST_V(window_grows, private_managed)
{
	static const unsigned int places[] = { 100, 300, 700 };
	long long was[NR_COUNTERS], now[NR_COUNTERS];
	const unsigned int n = 6;
	unsigned int i;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = blocks_pattern(&f, n, 80);
	fix_to_gpu(&f, p, n * HUGE);
	if (!gpu_counters(&f.gpu, was))
		SKIP("no debugfs");
	EXPECT_PATTERN(p, n * HUGE, 80);
	ASSERT_TRUE(gpu_counters(&f.gpu, now));
	EXPECT_GT(now[CPU_FAULTS], was[CPU_FAULTS]);
	EXPECT_LE(now[CPU_FAULTS] - was[CPU_FAULTS], 11);
	EXPECT_EQ(now[CPU_MOVED] - was[CPU_MOVED], n * BLOCK_PAGES);
	EXPECT_AT(&f, p, 0, n * BLOCK_PAGES, cpu);

	/* here and there it stays small */
	fix_to_gpu(&f, p, 2 * HUGE);
	ASSERT_TRUE(gpu_counters(&f.gpu, was));
	for (i = 0; i < 3; i++)
		expect_pattern_at(p, places[i], places[i] + 1, 80);
	ASSERT_TRUE(gpu_counters(&f.gpu, now));
	EXPECT_EQ(now[CPU_FAULTS] - was[CPU_FAULTS], 3);
	EXPECT_EQ(now[CPU_MOVED] - was[CPU_MOVED], 3 * PART_PAGES);
	EXPECT_EQ(fix_on_cpu(&f, p, 2 * HUGE), 3 * PART_PAGES);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(fix_on_cpu(&f, AT(p, places[i]), PAGE), 1);
	fix_close(&f);
}

static const struct variant huge_devices[] = {
	{ "private_thp", UVM_MEMORY_PRIVATE, true },
	{ "coherent_thp", UVM_MEMORY_COHERENT, true },
	{ NULL },
};

/* Only a part of a huge page may move: the rest stays, whatever comes along otherwise. */
TEST_V(policy_in_huge, huge_devices)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 82);
	stay(f.s.fd, AT(p, BLOCK_PAGES / 2), HUGE / 2);
	load(&f, AT(p, 3));
	load(&f, AT(p, BLOCK_PAGES - 1));
	EXPECT_AT(&f, p, 3, 4, gpu);
	EXPECT_AT(&f, p, BLOCK_PAGES / 2, BLOCK_PAGES, cpu);
	EXPECT_EQ(fix_gpu_sum(&f, p, HUGE), sum64(p, HUGE));
	EXPECT_AT(&f, p, BLOCK_PAGES / 2, BLOCK_PAGES, cpu);
	EXPECT_PATTERN(p, HUGE, 82);
	fix_close(&f);
}

/* They say what happened: of the VA space, and the same of its GPU. */
TEST_V(counters, devices_huge_managed)
{
	long long was[NR_COUNTERS], now[NR_COUNTERS], n[VIEW_COUNTERS];
	struct view view;
	struct fix f;
	char *p;
	int i;

	fix_open(&f, v);
	p = blocks(&f, 1);
	if (!gpu_counters(&f.gpu, was))
		SKIP("no debugfs");
	for (i = 0; i < VIEW_COUNTERS; i++)
		EXPECT_EQ(count(&f, i), 0);
	load(&f, AT(p, 3));
	store(&f, AT(p, 100));
	load(&f, AT(p, 300));
	load(&f, AT(p, 301));
	expect_no_store(&f, (char *)8, UVM_FAULT_NO_MAPPING);
	/* the replay after a fault that was cancelled comes a moment later */
	WAIT_FOR(count(&f, REPLAYS) >= 4);
	ASSERT_TRUE(view_read(0, f.s.fd, &view));
	EXPECT_TRUE(!view.wrong);
	memcpy(n, view.gpu[0].counter, sizeof(n));
	EXPECT_EQ(n[MOVED], 3);
	EXPECT_EQ(n[MOVED] + n[PREFETCHED], fix_on_gpu(&f, p, HUGE));
	EXPECT_EQ(view.gpu[0].resident, 3 * PART_PAGES * PAGE);
	EXPECT_EQ(n[CANCELS], 1);
	EXPECT_GE(n[FAULTS], 4);
	EXPECT_GE(n[BATCHES], 4);
	EXPECT_LE(n[BATCHES], n[FAULTS]);
	EXPECT_GE(n[REPLAYS], 4);
	EXPECT_EQ(n[DUPLICATES], 0);
	for (i = 0; i < VIEW_COUNTERS; i++) {
		WAIT_FOR(gpu_counters(&f.gpu, now) &&
			 now[i] - was[i] == count(&f, i));
		EXPECT_EQ(now[i] - was[i], count(&f, i));
	}
	fix_close(&f);
}

static void (*leaks_before)(void);

static void before(void)
{
	core_parameters_reset();
	leaks_before();
}

static void __attribute__((constructor)) install(void)
{
	clean_up_install();
	leaks_before = harness_hook.before;
	harness_hook.before = before;
}

HARNESS_MAIN()
