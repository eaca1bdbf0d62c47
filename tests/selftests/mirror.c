// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that a GPU sees a process's memory as its CPUs do: it reads and writes
 * what they may, faults exactly where they would, and what changes in the address
 * space (munmap, mremap, mprotect, madvise, fork, migration) holds for it from the
 * moment the system call returns.
 *
 * Tests called hmm_X show what the case X of the kernel's own test of device
 * mirroring shows, by means of this interface. docs/testing.md has the list.
 *
 * Most tests are about pages that the GPU uses where they are, so GPU faults don't move
 * their buffers (open_in_place()); the others hold wherever faults put the pages. The
 * suite faults has what is about that.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "lib_policy.h"
#include "lib_uvm.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

static const struct variant huge_only[] = {
	{ "private_thp", UVM_MEMORY_PRIVATE, true },
	{ "coherent_thp", UVM_MEMORY_COHERENT, true },
	{ NULL, 0, 0 },
};

/* ---- what the GPU does ---- */

static void open_in_place(struct fix *f, const struct variant *v)
{
	fix_open(f, v);
	f->stay = true;
}

static void pair_in_place(struct fix *f, const struct variant *v)
{
	fix_pair(f, v);
	f->stay = true;
}

static uint32_t gpu_crc(struct fix *f, const void *p, size_t length)
{
	volatile uint64_t *out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uvm_sim_cmd c = CMD(CRC32C, .dst = ADDR(out), .src = ADDR(p),
				   .length = length);
	uint32_t crc;

	ASSERT_RET(fix_run(f, &c, 1), 0);
	crc = *out;
	munmap((void *)out, PAGE);
	return crc;
}

/* The pattern as the GPU sees it */
static void expect_gpu_sees(struct fix *f, const void *p, size_t length,
			    uint64_t seed, size_t first_page)
{
	char *copy = anon(length, PROT_READ | PROT_WRITE, 0);

	fix_copy(f, copy, p, length);
	EXPECT_EQ(pattern_check_from(copy, length, seed, first_page), -1);
	munmap(copy, length);
}

static void expect_gpu_sees_byte(struct fix *f, const void *p, size_t length,
				 int byte)
{
	char *copy = anon(length, PROT_READ | PROT_WRITE, 0);

	fix_copy(f, copy, p, length);
	EXPECT_BYTES(copy, length, byte);
	munmap(copy, length);
}

static void expect_read_fault(struct fix *f, const void *p, int reason)
{
	fix_expect_fault(f, CMD(TOUCH, .dst = ADDR(p), .length = 1, .arg0 = 1), p,
			 reason, UVM_ACCESS_READ);
}

static void expect_write_fault(struct fix *f, const void *p, int reason)
{
	fix_expect_fault(f, CMD(FILL, .dst = ADDR(p), .length = 1, .arg0 = 0xdd), p,
			 reason, UVM_ACCESS_WRITE);
}

static void map_again(struct fix *f, void *p, size_t length)
{
	ASSERT_TRUE(mmap(p, length, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
		    p);
	if (f->stay)
		stay(f->s.fd, p, length);
}

/*
 * A GPU reports faults ahead of those it stalls at, here of holes at lower addresses.
 * The channel stops at the first that it comes to, and what is before is done.
 */
TEST_V(lanes_keep_order, devices)
{
	struct uvm_sim_cmd copy;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(p + 4 * PAGE, 4 * PAGE, 81);
	ASSERT_RET(munmap(p + 2 * PAGE, PAGE), 0);
	ASSERT_RET(munmap(p + 5 * PAGE, PAGE), 0);
	copy = CMD(COPY, .dst = ADDR(p), .src = ADDR(p) + 4 * PAGE, .length = 4 * PAGE);
	fix_expect_fault(&f, copy, p + 5 * PAGE, UVM_FAULT_NO_MAPPING, UVM_ACCESS_READ);
	EXPECT_PATTERN(p, PAGE, 81);
	EXPECT_BYTES(p + PAGE, PAGE, 0);

	memset(p, 0, PAGE);
	ASSERT_RET(munmap(p + PAGE, PAGE), 0);
	map_again(&f, p + 5 * PAGE, PAGE);
	fix_expect_fault(&f, copy, p + PAGE, UVM_FAULT_NO_MAPPING, UVM_ACCESS_WRITE);
	EXPECT_PATTERN(p, PAGE, 81);
	fix_close(&f);
}

/* ---- the cases of the kernel's test ---- */

TEST_V(hmm_open_close, devices)
{
	struct fix f;
	int i;

	fix_open(&f, v);
	for (i = 0; i < 3; i++) {
		fix_close(&f);
		fix_reopen(&f);
		EXPECT_GE(f.s.fd, 0);
	}
	fix_close(&f);
}

/* Holes, the zero page and data, read alike, also where nobody may write */
static void anon_read(struct fix *f)
{
	size_t third = f->huge ? HUGE : 16 * PAGE;
	char *p = fix_buffer(f, 3 * third);

	pattern_fill(p + third, third, 1);
	if (f->stay)
		ASSERT_RET(mprotect(p, 3 * third, PROT_READ), 0);
	EXPECT_BYTES(p + 2 * third, third, 0);
	expect_gpu_sees_byte(f, p, third, 0);
	expect_gpu_sees(f, p + third, third, 1, 0);
	expect_gpu_sees_byte(f, p + 2 * third, third, 0);
	if (f->stay)
		EXPECT_EQ(fix_on_cpu(f, p, 3 * third), 3 * third / PAGE);
	EXPECT_EQ(fix_gpu_sum(f, p, 3 * third), sum64(p + third, third));
	EXPECT_EQ(gpu_crc(f, p, 3 * third), crc32c(p, 3 * third));
	EXPECT_PATTERN(p + third, third, 1);
	munmap(p, 3 * third);
}

TEST_V(hmm_anon_read, devices_huge)
{
	struct fix f;

	open_in_place(&f, v);
	anon_read(&f);
	f.stay = false;
	anon_read(&f);
	fix_close(&f);
}

TEST_V(hmm_anon_read_prot, devices)
{
	struct fix f;
	char *p, *to;

	fix_open(&f, v);
	p = fix_pattern(&f, 4 * PAGE, 2);
	to = fix_buffer(&f, 4 * PAGE);
	memset(to, 0x5a, 4 * PAGE);
	ASSERT_RET(mprotect(p, 4 * PAGE, PROT_NONE), 0);
	fix_expect_fault(&f, CMD(COPY, .dst = ADDR(to), .src = ADDR(p),
				 .length = 4 * PAGE), p,
			 UVM_FAULT_PERMISSION, UVM_ACCESS_READ);
	EXPECT_BYTES(to, 4 * PAGE, 0x5a);
	ASSERT_RET(mprotect(p, 4 * PAGE, PROT_READ), 0);
	EXPECT_PATTERN(p, 4 * PAGE, 2);
	expect_gpu_sees(&f, p, 4 * PAGE, 2, 0);
	fix_close(&f);
}

static void anon_write(struct fix *f)
{
	char *p = fix_buffer(f, f->length), *from;

	fix_fill(f, p, f->length, 0x3c);
	EXPECT_EQ((f->stay ? fix_on_cpu : fix_on_gpu)(f, p, f->length),
		  f->length / PAGE);
	EXPECT_BYTES(p, f->length, 0x3c);
	from = fix_pattern(f, f->length, 3);
	fix_copy(f, p, from, f->length);
	EXPECT_PATTERN(p, f->length, 3);
	fix_xor(f, p, f->length, 77);
	cpu_xor(p, f->length, 77);
	EXPECT_PATTERN(p, f->length, 3);
	munmap(p, f->length);
	munmap(from, f->length);
}

TEST_V(hmm_anon_write, devices_huge)
{
	struct fix f;

	open_in_place(&f, v);
	anon_write(&f);
	f.stay = false;
	anon_write(&f);
	fix_close(&f);
}

TEST_V(hmm_anon_write_prot, devices)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = anon(8 * PAGE, PROT_READ, 0);
	stay(f.s.fd, p, 8 * PAGE);
	expect_gpu_sees_byte(&f, p, PAGE, 0);
	expect_write_fault(&f, p, UVM_FAULT_PERMISSION);
	expect_write_fault(&f, p + 5 * PAGE + 7, UVM_FAULT_PERMISSION);
	EXPECT_BYTES(p, 8 * PAGE, 0);
	ASSERT_RET(mprotect(p, 8 * PAGE, PROT_READ | PROT_WRITE), 0);
	fix_fill(&f, p, 8 * PAGE, 0x44);
	EXPECT_BYTES(p, 8 * PAGE, 0x44);
	fix_close(&f);
}

static void write_child(const struct variant *v, bool migrated)
{
	struct fix f;
	pid_t pid;
	char *p;

	open_in_place(&f, v);
	p = fix_pattern(&f, f.length, 4);
	expect_gpu_sees(&f, p, f.length, 4, 0);
	fix_xor(&f, p, f.length, 5);	/* the parent's GPU may write */
	cpu_xor(p, f.length, 5);
	if (migrated)
		fix_to_gpu(&f, p, f.length);
	pid = child();
	if (!pid) {
		fix_reopen(&f);
		stay(f.s.fd, p, f.length);
		expect_gpu_sees(&f, p, f.length, 4, 0);
		fix_fill(&f, p, f.length / 2, 0x4d);
		EXPECT_BYTES(p, f.length / 2, 0x4d);
		EXPECT_EQ(pattern_check_from(p + f.length / 2, f.length / 2, 4,
					     f.length / 2 / PAGE), -1);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	expect_gpu_sees(&f, p, f.length, 4, 0);
	EXPECT_PATTERN(p, f.length, 4);
	fix_close(&f);
}

TEST_V(hmm_anon_write_child, devices_huge)
{
	write_child(v, false);
}

TEST_V(hmm_anon_write_child_migrated, devices_huge)
{
	write_child(v, true);
}

TEST_V(hmm_anon_write_child_shared, devices)
{
	size_t length = 16 * PAGE;
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		 -1, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	pattern_fill(p, length, 6);
	expect_gpu_sees(&f, p, length, 6, 0);
	pid = child();
	if (!pid) {
		fix_reopen(&f);
		fix_fill(&f, p, length / 2, 0x61);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_BYTES(p, length / 2, 0x61);
	expect_gpu_sees_byte(&f, p, length / 2, 0x61);
	EXPECT_EQ(pattern_check_from(p + length / 2, length / 2, 6,
				     length / 2 / PAGE), -1);
	fix_close(&f);
}

TEST_V(hmm_anon_write_huge, huge_only)
{
	struct fix f;
	char *p;

	open_in_place(&f, v);
	p = fix_pattern(&f, HUGE, 7);
	fix_xor(&f, p, HUGE, 8);
	cpu_xor(p, HUGE, 8);
	EXPECT_PATTERN(p, HUGE, 7);
	/* never touched by a CPU */
	p = fix_buffer(&f, HUGE);
	fix_fill(&f, p, HUGE, 0x71);
	EXPECT_BYTES(p, HUGE, 0x71);
	fix_close(&f);
}

TEST_V(hmm_anon_write_hugetlbfs, devices)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = hugetlb_page();
	fix_fill(&f, p, HUGE, 0x52);
	EXPECT_BYTES(p, HUGE, 0x52);
	pattern_fill(p, HUGE, 9);
	expect_gpu_sees(&f, p, HUGE, 9, 0);
	ASSERT_RET(munmap(p, HUGE), 0);
	expect_read_fault(&f, p, UVM_FAULT_NO_MAPPING);
	hugetlb_done();
	fix_close(&f);
}

TEST_V(hmm_file_read, devices)
{
	size_t length = 16 * PAGE;
	struct fix f;
	char *p, *q;
	int fd;

	fix_open(&f, v);
	p = shared_file(length, &fd, 10);
	expect_gpu_sees(&f, p, length, 10, 0);
	/* what is written to the file is seen */
	q = anon(length, PROT_READ | PROT_WRITE, 0);
	pattern_fill(q, length, 11);
	ASSERT_EQ(pwrite(fd, q, length, 0), length);
	expect_gpu_sees(&f, p, length, 11, 0);
	/* what is cut off is gone */
	ASSERT_EQ(ftruncate(fd, 8 * PAGE), 0);
	expect_gpu_sees(&f, p, 8 * PAGE, 11, 0);
	expect_read_fault(&f, p + 8 * PAGE, UVM_FAULT_BUS);
	fix_close(&f);
}

TEST_V(hmm_file_write, devices)
{
	size_t length = 16 * PAGE;
	struct fix f;
	char *p, *q;
	int fd;

	fix_open(&f, v);
	p = shared_file(length, &fd, 12);
	fix_fill(&f, p + PAGE, 2 * PAGE, 0x62);
	q = anon(length, PROT_READ | PROT_WRITE, 0);
	ASSERT_EQ(pread(fd, q, length, 0), length);
	EXPECT_PATTERN(q, PAGE, 12);
	EXPECT_BYTES(q + PAGE, 2 * PAGE, 0x62);
	EXPECT_EQ(pattern_check_from(q + 3 * PAGE, length - 3 * PAGE, 12, 3), -1);
	fix_close(&f);
}

/* A private mapping: the GPU's store makes a copy, the file keeps its own. */
TEST_V(file_private_write, devices)
{
	size_t length = 8 * PAGE;
	struct fix f;
	char *p, *q;
	int fd;

	fix_open(&f, v);
	q = shared_file(length, &fd, 13);
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	expect_gpu_sees(&f, p, length, 13, 0);
	fix_fill(&f, p, 4 * PAGE, 0x63);
	EXPECT_BYTES(p, 4 * PAGE, 0x63);
	EXPECT_PATTERN(q, length, 13);
	expect_gpu_sees_byte(&f, p, 4 * PAGE, 0x63);
	expect_gpu_sees(&f, q, length, 13, 0);
	fix_close(&f);
}

TEST_V(hmm_migrate, devices_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 14);
	fix_to_gpu(&f, p, f.length);
	expect_gpu_sees(&f, p, f.length, 14, 0);
	fix_xor(&f, p, f.length, 15);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	cpu_xor(p, f.length, 15);
	EXPECT_PATTERN(p, f.length, 14);
	/* the GPU's changes survive the way home by request, too */
	fix_to_gpu(&f, p, f.length);
	fix_xor(&f, p, f.length, 16);
	fix_to_cpu(&f, p, f.length);
	cpu_xor(p, f.length, 16);
	EXPECT_PATTERN(p, f.length, 14);
	fix_close(&f);
}

TEST_V(hmm_migrate_file_private, devices)
{
	size_t length = 16 * PAGE;
	struct uvm_migrate m;
	struct fix f;
	char *p, *q;
	int fd;

	fix_open(&f, v);
	q = shared_file(length, &fd, 17);
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	pattern_fill(p, length, 18);
	ASSERT_RET(migrate(f.s.fd, p, length, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	EXPECT_EQ(m.out_moved, length / PAGE);
	EXPECT_EQ(fix_on_gpu(&f, p, length), length / PAGE);
	expect_gpu_sees(&f, p, length, 18, 0);
	EXPECT_PATTERN(p, length, 18);
	EXPECT_PATTERN(q, length, 17);
	fix_close(&f);
}

TEST_V(hmm_migrate_fault, devices_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 19);
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length / 2, 19);
	expect_gpu_sees(&f, p, f.length, 19, 0);
	fix_to_gpu(&f, p, f.length);
	expect_gpu_sees(&f, p, f.length, 19, 0);
	EXPECT_PATTERN(p, f.length, 19);
	fix_close(&f);
}

TEST_V(hmm_migrate_release, devices_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 20);
	fix_to_gpu(&f, p, f.length);
	fix_xor(&f, p, f.length, 21);
	fix_close(&f);
	cpu_xor(p, f.length, 21);
	EXPECT_PATTERN(p, f.length, 20);
}

TEST_V(hmm_migrate_shared, devices)
{
	size_t length = 16 * PAGE;
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		 -1, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	pattern_fill(p, length, 22);
	ASSERT_RET(migrate(f.s.fd, p, length, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	EXPECT_EQ(m.out_moved, 0);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_VMA_KIND], length / PAGE);
	expect_gpu_sees(&f, p, length, 22, 0);
	fix_close(&f);
}

TEST_V(hmm_migrate_mixed, devices)
{
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_pair(&f, v);
	p = fix_buffer(&f, 8 * PAGE);
	pattern_fill(p, 8 * PAGE, 23);
	ASSERT_RET(mprotect(p, PAGE, PROT_NONE), 0);
	EXPECT_RET(migrate(f.s.fd, p, 8 * PAGE, UVM_DEST_GPU, 0, f.gpu.uuid, &m),
		   -EFAULT);
	ASSERT_RET(munmap(p + PAGE, PAGE), 0);
	EXPECT_RET(migrate(f.s.fd, p + PAGE, 4 * PAGE, UVM_DEST_GPU, 0, f.gpu.uuid,
			   &m), -EFAULT);
	EXPECT_EQ(m.out_moved, 0);
	/* read-only, never touched, zero page, data */
	ASSERT_RET(mprotect(p + 2 * PAGE, PAGE, PROT_READ), 0);
	ASSERT_RET(madvise(p + 3 * PAGE, 2 * PAGE, MADV_DONTNEED), 0);
	EXPECT_BYTES(p + 4 * PAGE, PAGE, 0);
	fix_to_gpu(&f, p + 2 * PAGE, 4 * PAGE);
	/* a page on the other GPU is as good as any */
	fix_to_gpu2(&f, p + 6 * PAGE, PAGE);
	fix_to_gpu(&f, p + 2 * PAGE, 6 * PAGE);
	EXPECT_EQ(pattern_check_from(p + 2 * PAGE, PAGE, 23, 2), -1);
	EXPECT_BYTES(p + 3 * PAGE, 2 * PAGE, 0);
	EXPECT_EQ(pattern_check_from(p + 5 * PAGE, 3 * PAGE, 23, 5), -1);
	fix_close(&f);
}

TEST_V(hmm_migrate_multiple, devices_huge)
{
	unsigned int i, rounds = harness_rounds(v->huge ? 3 : 10);
	struct fix f;
	char *p;

	fix_open(&f, v);
	for (i = 0; i < rounds; i++) {
		p = fix_pattern(&f, f.length, 24 + i);
		fix_to_gpu(&f, p, f.length);
		EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
		fix_to_gpu(&f, p, f.length);
		fix_to_cpu(&f, p, f.length);
		EXPECT_PATTERN(p, f.length, 24 + i);
		munmap(p, f.length);
	}
	fix_close(&f);
}

/* The same address again and again, each time other memory */
TEST_V(hmm_anon_read_multiple, devices_huge)
{
	unsigned int i, rounds = harness_rounds(10);
	struct fix f;
	char *p = NULL;

	open_in_place(&f, v);
	for (i = 0; i < rounds; i++) {
		if (p)
			map_again(&f, p, f.length);
		else
			p = fix_buffer(&f, f.length);
		pattern_fill(p, f.length, 40 + i);
		EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
		ASSERT_RET(munmap(p, f.length), 0);
	}
	expect_read_fault(&f, p, UVM_FAULT_NO_MAPPING);
	fix_close(&f);
}

/*
 * munmap while the GPU is reading: it finishes or it faults there, and the data
 * of everybody else is what it was.
 */
static void teardown(const struct variant *v, bool in_place, bool migrated)
{
	unsigned int i, rounds = harness_rounds(8), faulted = 0;
	uint64_t point, other_point, sum, *out;
	uint64_t random = harness_seed;
	struct uvm_channel_query q;
	struct uvm_sim_cmd c[8], other;
	size_t half, k;
	uint32_t channel;
	struct fix f;
	char *p, *keep;
	int ret;

	fix_open(&f, v);
	f.stay = in_place;
	half = f.length / 2;
	keep = fix_pattern(&f, f.length, 60);
	sum = sum64(keep, f.length);
	out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	for (i = 0; i < rounds; i++) {
		p = fix_pattern(&f, f.length, 61 + i);
		if (migrated)
			fix_to_gpu(&f, p, f.length);
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &channel), 0);
		for (k = 0; k < 8; k++)
			c[k] = CMD(SUM, .dst = ADDR(&out[k]), .src = ADDR(p),
				   .length = f.length);
		*out = 0;
		other = CMD(SUM, .dst = ADDR(&out[9]), .src = ADDR(keep),
			    .length = f.length);
		ASSERT_RET(channel_submit(f.s.fd, channel, c, 8, &point), 0);
		ASSERT_RET(channel_submit(f.s.fd, f.channel, &other, 1,
					  &other_point), 0);
		/* somewhere in the middle of it */
		for (k = harness_random(&random) % 20000; k; k--)
			__asm__ volatile("" ::: "memory");
		ASSERT_RET(munmap(p + half, half), 0);
		ret = channel_wait(f.s.fd, channel, point, PATIENCE, NULL);
		EXPECT_RET2(ret, 0, -ECANCELED);
		ASSERT_RET(channel_query(f.s.fd, channel, &q), 0);
		if (ret) {
			faulted++;
			EXPECT_EQ(q.out_state, UVM_CHANNEL_FAULTED);
			EXPECT_EQ(q.out_reason, UVM_FAULT_NO_MAPPING);
			EXPECT_EQ(q.out_access, UVM_ACCESS_READ);
			EXPECT_GE(q.out_address, ADDR(p + half));
			EXPECT_LT(q.out_address, ADDR(p + f.length));
		} else {
			EXPECT_EQ(q.out_state, UVM_CHANNEL_RUNNING);
		}
		EXPECT_RET(channel_wait(f.s.fd, f.channel, other_point, PATIENCE, NULL),
			   0);
		EXPECT_EQ(out[9], sum);
		EXPECT_PATTERN(p, half, 61 + i);
		EXPECT_RET(channel_destroy(f.s.fd, channel), 0);
		/* after munmap has returned there is no doubt any more */
		expect_read_fault(&f, p + half, UVM_FAULT_NO_MAPPING);
		munmap(p, half);
	}
	harness_note("%u of %u caught in the act", faulted, rounds);
	fix_close(&f);
}

TEST_VT(hmm_anon_teardown, devices_huge, 60)
{
	teardown(v, true, false);
}

TEST_VT(hmm_anon_teardown_migrated, devices_huge, 60)
{
	teardown(v, true, true);
}

TEST_VT(hmm_anon_teardown_moving, devices_huge, 60)
{
	teardown(v, false, false);
}

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

/* Mappings that a driver made: readable ones are, raw ones are refused. */
TEST_V(hmm_mixedmap, devices)
{
	struct uvm_channel_query q;
	struct uvm_sim_cmd c;
	size_t length = 0;
	uint32_t channel;
	uint64_t point;
	struct fix f;
	char *p, *copy;
	int ret;

	fix_open(&f, v);
	copy = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	p = special("[vdso]", &length);
	if (p) {
		fix_copy(&f, copy, p, PAGE);
		EXPECT_EQ(memcmp(copy, p, PAGE), 0);
		EXPECT_EQ(memcmp(copy, "\177ELF", 4), 0);
		expect_write_fault(&f, p, UVM_FAULT_PERMISSION);
	}
	p = special("[vvar]", &length);
	if (p) {
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &channel), 0);
		c = CMD(TOUCH, .dst = ADDR(p), .length = 1, .arg0 = 1);
		ASSERT_RET(channel_submit(f.s.fd, channel, &c, 1, &point), 0);
		/* raw page frames before 7.0, pages like any other since */
		ret = channel_wait(f.s.fd, channel, point, PATIENCE, NULL);
		EXPECT_RET2(ret, 0, -ECANCELED);
		ASSERT_RET(channel_query(f.s.fd, channel, &q), 0);
		EXPECT_EQ(q.out_state, ret ? UVM_CHANNEL_FAULTED :
					     UVM_CHANNEL_RUNNING);
		EXPECT_EQ(q.out_address, ret ? ADDR(p) : 0);
	}
	fix_close(&f);
}

TEST_V(hmm_snapshot, devices)
{
	struct uvm_page_state st[8];
	struct fix f;
	char *p;

	fix_pair(&f, v);
	p = fix_buffer(&f, 8 * PAGE);
	pattern_fill(p + PAGE, 7 * PAGE, 70);
	/* 0 never touched, 1 zero page, 2 read-only, 3 read-write, 4 on this GPU,
	 * 5 on the other, 6 not mapped, 7 without access
	 */
	ASSERT_RET(madvise(p + PAGE, PAGE, MADV_DONTNEED), 0);
	EXPECT_BYTES(p + PAGE, PAGE, 0);
	ASSERT_RET(mprotect(p + 2 * PAGE, PAGE, PROT_READ), 0);
	ASSERT_RET(munmap(p + 6 * PAGE, PAGE), 0);
	ASSERT_RET(mprotect(p + 7 * PAGE, PAGE, PROT_NONE), 0);
	fix_to_gpu(&f, p + 4 * PAGE, PAGE);
	fix_to_gpu2(&f, p + 5 * PAGE, PAGE);
	ASSERT_RET(residency(f.s.fd, p, 8 * PAGE, st), 0);
	EXPECT_EQ(st[0].where, UVM_WHERE_NONE);
	EXPECT_EQ(st[0].prot, 0);
	EXPECT_EQ(st[1].where, UVM_WHERE_CPU);
	EXPECT_EQ(st[1].prot, UVM_PAGE_READ);
	EXPECT_EQ(st[2].where, UVM_WHERE_CPU);
	EXPECT_EQ(st[2].prot, UVM_PAGE_READ);
	EXPECT_EQ(st[3].where, UVM_WHERE_CPU);
	EXPECT_EQ(st[3].prot, UVM_PAGE_READ | UVM_PAGE_WRITE);
	EXPECT_EQ(st[4].where, UVM_WHERE_GPU);
	EXPECT_EQ(st[4].id, f.gpu.id);
	EXPECT_EQ(st[5].where, UVM_WHERE_GPU);
	EXPECT_EQ(st[5].id, f.gpu2.id);
	EXPECT_EQ(st[6].where, UVM_WHERE_NONE);
	EXPECT_EQ(st[7].prot, 0);
	fix_close(&f);
}

TEST_V(hmm_compound, devices)
{
	struct uvm_page_state *st;
	struct fix f;
	size_t i, n = HUGE / PAGE;
	char *p;

	fix_open(&f, v);
	p = hugetlb_page();
	memset(p, 1, HUGE);
	st = calloc(n, sizeof(*st));
	ASSERT_RET(residency(f.s.fd, p, HUGE, st), 0);
	for (i = 0; i < n; i++) {
		EXPECT_EQ(st[i].where, UVM_WHERE_CPU);
		EXPECT_EQ(st[i].prot, UVM_PAGE_READ | UVM_PAGE_WRITE);
	}
	ASSERT_RET(mprotect(p, HUGE, PROT_READ), 0);
	ASSERT_RET(residency(f.s.fd, p, HUGE, st), 0);
	for (i = 0; i < n; i++) {
		EXPECT_EQ(st[i].where, UVM_WHERE_CPU);
		EXPECT_EQ(st[i].prot, UVM_PAGE_READ);
	}
	munmap(p, HUGE);
	hugetlb_done();
	fix_close(&f);
}

static void second_copy(struct fix *f, void *to, const void *from, size_t length)
{
	struct uvm_sim_cmd c = CMD(COPY, .dst = ADDR(to), .src = ADDR(from),
				   .length = length);

	ASSERT_RET(channel_run(f->s.fd, f->channel2, &c, 1), 0);
}

TEST_V(hmm_double_map, devices_huge)
{
	struct fix f;
	char *p, *copy;

	pair_in_place(&f, v);
	p = fix_pattern(&f, f.length, 71);
	copy = anon(f.length, PROT_READ | PROT_WRITE, 0);
	expect_gpu_sees(&f, p, f.length, 71, 0);
	second_copy(&f, copy, p, f.length);
	EXPECT_PATTERN(copy, f.length, 71);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), f.length / PAGE);
	/* on one GPU, the other still reads it right */
	fix_to_gpu2(&f, p, f.length);
	expect_gpu_sees(&f, p, f.length, 71, 0);
	second_copy(&f, copy, p, f.length);
	EXPECT_PATTERN(copy, f.length, 71);
	/* and sees what the other wrote */
	fix_to_gpu(&f, p, f.length);
	fix_xor(&f, p, f.length, 72);
	memset(copy, 0, f.length);
	second_copy(&f, copy, p, f.length);
	cpu_xor(copy, f.length, 72);
	EXPECT_PATTERN(copy, f.length, 71);
	cpu_xor(p, f.length, 72);
	EXPECT_PATTERN(p, f.length, 71);
	fix_close(&f);
}

/* Adds @n times 1 at @p. */
static bool gpu_adds(struct fix *f, uint64_t *p, uint64_t n)
{
	struct uvm_sim_cmd c = CMD(ATOMIC_ADD, .dst = ADDR(p), .arg0 = 1, .arg1 = n);
	struct uvm_channel_query q;
	uint32_t channel;
	uint64_t point;
	int ret;

	ASSERT_RET(channel_create(f->s.fd, f->gpu.uuid, &channel), 0);
	ASSERT_RET(channel_submit(f->s.fd, channel, &c, 1, &point), 0);
	ret = channel_wait(f->s.fd, channel, point, PATIENCE, NULL);
	EXPECT_RET(ret, 0);
	ASSERT_RET(channel_query(f->s.fd, channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_RUNNING);
	EXPECT_RET(channel_destroy(f->s.fd, channel), 0);
	return !ret;
}

/* Between the CPU's turns, the GPU's additions are all there. */
static void exclusive(struct fix *f)
{
	uint64_t *p = fix_buffer(f, f->length), want = 5;
	int i;

	*p = want;
	for (i = 0; i < 5; i++) {
		if (gpu_adds(f, p, 100))
			want += 100;
		EXPECT_EQ(*p, want);
		*p += 1;
		want++;
	}
	munmap(p, f->length);
}

TEST_V(hmm_exclusive, devices_huge)
{
	struct fix f;

	open_in_place(&f, v);
	exclusive(&f);
	f.stay = false;
	exclusive(&f);
	fix_close(&f);
}

static void exclusive_mprotect(struct fix *f)
{
	uint64_t *p = fix_buffer(f, f->length);

	*p = 0;
	if (!f->stay)
		fix_to_gpu(f, p, f->length);
	EXPECT_TRUE(gpu_adds(f, p, 10));
	ASSERT_RET(mprotect(p, f->length, PROT_READ), 0);
	fix_expect_fault(f, CMD(ATOMIC_ADD, .dst = ADDR(p), .arg0 = 1, .arg1 = 1), p,
			 UVM_FAULT_PERMISSION, UVM_ACCESS_ATOMIC);
	EXPECT_EQ(*p, 10);
	munmap(p, f->length);
}

TEST_V(hmm_exclusive_mprotect, devices)
{
	struct fix f;

	open_in_place(&f, v);
	exclusive_mprotect(&f);
	f.stay = false;
	exclusive_mprotect(&f);
	fix_close(&f);
}

/* Both count on after the fork, each for itself, by CPU and GPU. */
static void exclusive_cow(struct fix *f)
{
	uint64_t *p = fix_buffer(f, f->length);
	pid_t pid;

	*p = 0;
	if (!f->stay)
		fix_to_gpu(f, p, f->length);
	EXPECT_TRUE(gpu_adds(f, p, 10));
	pid = child();
	if (!pid) {
		EXPECT_EQ(*p, 10);
		*p += 1;
		fix_reopen(f);
		if (f->stay)
			stay(f->s.fd, p, f->length);
		if (gpu_adds(f, p, 5))
			EXPECT_EQ(*p, 16);
		child_exit();
	}
	if (gpu_adds(f, p, 7))
		EXPECT_EQ(*p, 17);
	*p += 1;
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_EQ(*p, 18);
	munmap(p, f->length);
}

TEST_V(hmm_exclusive_cow, devices)
{
	struct fix f;

	open_in_place(&f, v);
	exclusive_cow(&f);
	f.stay = false;
	exclusive_cow(&f);
	fix_close(&f);
}

/* Who wants a page for a moment gets it where it is, if the CPU can address it there. */
static void hold_for_a_moment(struct fix *f, char *p)
{
	bool in_place = f->gpu.memory_kind != UVM_MEMORY_PRIVATE;
	struct iovec iov = { p, PAGE };
	char copy[PAGE];
	int pipes[2];

	ASSERT_EQ(pipe(pipes), 0);
	ASSERT_EQ(vmsplice(pipes[1], &iov, 1, 0), PAGE);
	EXPECT_EQ(fix_on_gpu(f, p, PAGE), in_place);
	EXPECT_EQ(fix_on_cpu(f, p, PAGE), !in_place);
	ASSERT_EQ(read(pipes[0], copy, PAGE), PAGE);
	EXPECT_EQ(memcmp(copy, p, PAGE), 0);
	close(pipes[0]);
	close(pipes[1]);
}

/* Who pins for long gets system memory, and the page stays there. */
TEST_V(hmm_gup_test, devices_huge)
{
	struct uvm_migrate m;
	struct fix f;
	char *p;
	int ring;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 73);
	fix_to_gpu(&f, p, f.length);
	hold_for_a_moment(&f, p + 32 * PAGE);
	ring = longterm_pin(p, 4 * PAGE);
	if (ring < 0)
		SKIP("no io_uring to pin pages with");
	EXPECT_EQ(fix_on_cpu(&f, p, 4 * PAGE), 4);
	ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	expect_accounts(&m);
	EXPECT_GE(m.out_skipped[UVM_SKIP_BUSY], 4);
	EXPECT_EQ(fix_on_cpu(&f, p, 4 * PAGE), 4);
	EXPECT_PATTERN(p, f.length, 73);
	/* the GPU uses it where it is */
	fix_xor(&f, p, 4 * PAGE, 74);
	EXPECT_EQ(fix_on_cpu(&f, p, 4 * PAGE), 4);
	cpu_xor(p, 4 * PAGE, 74);
	EXPECT_PATTERN(p, f.length, 73);
	close(ring);
	fix_close(&f);
}

TEST_V(hmm_cow_in_device, devices_huge)
{
	int go[2];
	char byte;
	struct fix f;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	ASSERT_EQ(pipe(go), 0);
	p = fix_pattern(&f, f.length, 75);
	fix_to_gpu(&f, p, f.length);
	pid = child();
	if (!pid) {
		ASSERT_EQ(read(go[0], &byte, 1), 1);
		EXPECT_PATTERN(p, f.length, 75);
		fix_reopen(&f);
		expect_gpu_sees(&f, p, f.length, 75, 0);
		child_exit();
	}
	/* the parent's stores go to copies of its own, in system memory */
	pattern_fill(p, 8 * PAGE, 76);
	EXPECT_EQ(fix_on_cpu(&f, p, 8 * PAGE), 8);
	expect_gpu_sees(&f, p, 8 * PAGE, 76, 0);
	ASSERT_EQ(write(go[1], "g", 1), 1);
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_PATTERN(p, 8 * PAGE, 76);
	EXPECT_EQ(pattern_check_from(p + 8 * PAGE, f.length - 8 * PAGE, 75, 8), -1);
	fix_close(&f);
}

/* ---- cases that came with huge device pages ---- */

TEST_V(hmm_migrate_anon_huge_empty, huge_only)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_buffer(&f, HUGE);
	fix_to_gpu(&f, p, HUGE);
	expect_gpu_sees_byte(&f, p, HUGE, 0);
	fix_fill(&f, p, HUGE, 0x15);
	EXPECT_BYTES(p, HUGE, 0x15);
	fix_close(&f);
}

TEST_V(hmm_migrate_anon_huge_zero, huge_only)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_buffer(&f, HUGE);
	EXPECT_BYTES(p, PAGE, 0);
	fix_to_gpu(&f, p, HUGE);
	expect_gpu_sees_byte(&f, p, HUGE, 0);
	EXPECT_BYTES(p, HUGE, 0);
	fix_fill(&f, p, HUGE, 0x16);
	EXPECT_BYTES(p, HUGE, 0x16);
	fix_close(&f);
}

TEST_V(hmm_migrate_anon_huge_free, huge_only)
{
	struct fix f;
	size_t i;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 77);
	fix_to_gpu(&f, p, HUGE);
	ASSERT_RET(madvise(p, HUGE, MADV_FREE), 0);
	fix_to_gpu(&f, p, HUGE);
	for (i = 0; i < HUGE / PAGE; i++)
		EXPECT_TRUE(pattern_check_from(p + i * PAGE, PAGE, 77, i) == -1 ||
			    bytes_check(p + i * PAGE, PAGE, 0) == -1);
	fix_close(&f);
}

TEST_V(hmm_migrate_anon_huge_fault, huge_only)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 78);
	fix_to_gpu(&f, p, HUGE);
	fix_xor(&f, p, HUGE, 79);
	cpu_xor(p, HUGE, 79);
	EXPECT_PATTERN(p, HUGE, 78);
	fix_close(&f);
}

/* Memory that was never touched, on the GPU, and stays there */
static char *ballast(struct fix *f, size_t length)
{
	char *p = anon_huge(length);
	struct uvm_migrate m;

	madvise(p, length, MADV_NOHUGEPAGE);
	ASSERT_RET(migrate(f->s.fd, p, length, UVM_DEST_GPU, 0, f->gpu.uuid, &m), 0);
	ASSERT_EQ(m.out_moved, length / PAGE);
	fix_in_place(f->s.fd, p, length);
	return p;
}

/* Of the GPU's memory every other 64 KiB is free: there is no huge page left. */
static void fragment(struct fix *f)
{
	size_t length = gpu_free(&f->gpu) & ~(HUGE - 1), i;
	char *p;

	if (length > 88 << 20)
		SKIP("that is too much device memory to fill");
	p = ballast(f, length);
	for (i = 0; i < length; i += 32 * PAGE)
		ASSERT_RET(munmap(p + i, 16 * PAGE), 0);
	ASSERT_TRUE(gpu_free_returns(&f->gpu, length / 2));
}

/* Only half of what @p needs is free: so much moves, and the GPU has all of it right. */
static void migrate_half(struct fix *f, const char *p, uint64_t sum)
{
	unsigned long n = HUGE / PAGE;
	struct uvm_migrate m;

	ballast(f, gpu_free(&f->gpu) - HUGE / 2);
	ASSERT_RET(migrate(f->s.fd, p, HUGE, UVM_DEST_GPU, 0, f->gpu.uuid, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_moved, n / 2);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_NO_MEMORY], n / 2);
	EXPECT_EQ(fix_on_gpu(f, p, HUGE), n / 2);
	EXPECT_EQ(fix_gpu_sum(f, p, HUGE), sum);
	EXPECT_EQ(fix_on_gpu(f, p, HUGE), n / 2);
}

/* Returns how many pages found no memory at first. */
static unsigned long come_home_once(struct fix *f, char *p)
{
	unsigned long starved = 0, moved = 0;
	struct uvm_migrate m;
	int i, ret;

	fix_to_gpu(f, p, HUGE);
	ASSERT_TRUE(pages_fail(0, 40));
	for (i = 0; i < 1000 && moved < HUGE / PAGE; i++) {
		ret = migrate(f->s.fd, p, HUGE, UVM_DEST_CPU, 0, NULL, &m);
		EXPECT_RET2(ret, 0, -ENOMEM);
		moved += m.out_moved;
		starved += m.out_skipped[UVM_SKIP_NO_MEMORY];
	}
	pages_fail_no_more();
	EXPECT_EQ(moved, HUGE / PAGE);
	return starved;
}

/*
 * No system memory to come home to, now and then: nothing is lost, and it comes. A huge
 * page may find one at once; not every time.
 */
static void come_home_starving(struct fix *f, char *p, uint64_t seed)
{
	unsigned long starved = 0;
	int round;

	if (!pages_fail(0, 40)) {
		harness_note("the kernel injects no failures");
		return;
	}
	pages_fail_no_more();
	for (round = 0; round < 30 && !starved; round++)
		starved = come_home_once(f, p);
	EXPECT_GT(starved, 0);
	EXPECT_PATTERN(p, HUGE, seed);
	/* and where the CPU's fault brings it */
	fix_to_gpu(f, p, HUGE);
	ASSERT_TRUE(pages_fail(0, 40));
	EXPECT_PATTERN(p, HUGE, seed);
	pages_fail_no_more();
}

/* There is no huge page in the GPU's memory, too little of any, or none at home. */
TEST_VT(hmm_migrate_anon_huge_err, huge_only, 60)
{
	uint64_t room;
	struct fix f;
	char *p;

	open_in_place(&f, v);
	fragment(&f);
	room = gpu_free(&f.gpu);
	p = fix_pattern(&f, HUGE, 85);
	fix_to_gpu(&f, p, HUGE);
	expect_gpu_sees(&f, p, HUGE, 85, 0);
	EXPECT_EQ(pattern_check_from(p + 2 * PAGE, PAGE, 85, 2), -1);
	come_home_starving(&f, p, 85);
	munmap(p, HUGE);
	ASSERT_TRUE(gpu_free_returns(&f.gpu, room));
	p = fix_pattern(&f, HUGE, 86);
	migrate_half(&f, p, sum64(p, HUGE));
	EXPECT_PATTERN(p, HUGE, 86);
	fix_close(&f);
}

/* The same for memory that was never written */
TEST_VT(hmm_migrate_anon_huge_zero_err, huge_only, 60)
{
	uint64_t room;
	struct fix f;
	char *p, *q;

	open_in_place(&f, v);
	fragment(&f);
	p = fix_buffer(&f, HUGE);
	q = fix_buffer(&f, HUGE);
	ASSERT_RET(mprotect(p, HUGE, PROT_READ), 0);
	ASSERT_RET(mprotect(q, HUGE, PROT_READ), 0);
	fix_to_gpu(&f, p, HUGE);
	EXPECT_EQ(fix_gpu_sum(&f, p, HUGE), 0);
	EXPECT_BYTES(p + 2 * PAGE, PAGE, 0);
	fix_in_place(f.s.fd, p, HUGE);
	migrate_half(&f, q, 0);
	EXPECT_BYTES(q, HUGE, 0);
	room = HUGE / 2 + fix_on_gpu(&f, p, HUGE) * PAGE;
	munmap(p, HUGE);
	munmap(q, HUGE);
	ASSERT_TRUE(gpu_free_returns(&f.gpu, room));
	/* what the CPU has read is the zero page */
	p = fix_buffer(&f, HUGE);
	EXPECT_BYTES(p, HUGE, 0);
	migrate_half(&f, p, 0);
	EXPECT_BYTES(p, HUGE, 0);
	fix_close(&f);
}

/* Half of it unmapped at the start, in the middle, at the end; on the GPU */
TEST_V(hmm_migrate_partial_unmap_fault, devices_huge)
{
	size_t n, part, at[3], i, end;
	struct fix f;
	char *p;

	fix_open(&f, v);
	n = f.huge ? HUGE : f.length;
	part = n / 2;
	at[0] = 0;
	at[1] = n / 4;
	at[2] = n / 2;
	for (i = 0; i < 3; i++) {
		p = fix_pattern(&f, n, 80 + i);
		fix_to_gpu(&f, p, n);
		ASSERT_RET(munmap(p + at[i], part), 0);
		end = at[i] + part;
		if (at[i])
			expect_gpu_sees(&f, p, at[i], 80 + i, 0);
		EXPECT_PATTERN(p, at[i], 80 + i);
		EXPECT_EQ(pattern_check_from(p + end, n - end, 80 + i, end / PAGE), -1);
		expect_read_fault(&f, p + at[i], UVM_FAULT_NO_MAPPING);
		munmap(p, n);
	}
	fix_close(&f);
}

/*
 * A huge page that was remapped or copied in part is mapped page by page. Kernels
 * before 7.0 leave what remains of it out of a migration: it is busy.
 */
static void migrate_pieces(struct fix *f, void *p, size_t length)
{
	struct utsname uts;
	struct uvm_migrate m;

	ASSERT_EQ(uname(&uts), 0);
	if (!f->huge || atoi(uts.release) >= 7) {
		fix_to_gpu(f, p, length);
		return;
	}
	ASSERT_RET(migrate(f->s.fd, p, length, UVM_DEST_GPU, 0, f->gpu.uuid, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, length);
	EXPECT_EQ(m.out_moved + m.out_already + m.out_skipped[UVM_SKIP_BUSY],
		  length / PAGE);
}

/* Moved before or after migration, whole or in part, source kept or not */
TEST_VT(hmm_migrate_remap_fault, devices_huge, 60)
{
	static const int flags[] = { 0, MREMAP_DONTUNMAP };
	size_t n, part, at, i, k, stride;
	bool after;
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	n = f.huge ? HUGE : 16 * PAGE;
	part = n / 2;
	stride = harness_stride(5);
	for (i = harness_seed % stride; i < 12; i += stride) {
		after = i & 1;
		k = i >> 1 & 1;
		at = n / 4 * (i >> 2);
		p = fix_pattern(&f, n, 90 + i);
		if (!after)
			fix_to_gpu(&f, p, n);
		q = anon_huge(n);
		ASSERT_TRUE(mremap(p + at, part, part,
				   MREMAP_MAYMOVE | MREMAP_FIXED | flags[k],
				   q + at) == q + at);
		if (after)
			migrate_pieces(&f, q + at, part);
		expect_gpu_sees(&f, q + at, part, 90 + i, at / PAGE);
		EXPECT_EQ(pattern_check_from(q + at, part, 90 + i, at / PAGE), -1);
		EXPECT_EQ(pattern_check_from(p, at, 90 + i, 0), -1);
		EXPECT_EQ(pattern_check_from(p + at + part, n - at - part, 90 + i,
					     (at + part) / PAGE), -1);
		if (k)
			expect_gpu_sees_byte(&f, p + at, part, 0);
		else
			expect_read_fault(&f, p + at, UVM_FAULT_NO_MAPPING);
		munmap(p, n);
		munmap(q, n);
	}
	fix_close(&f);
}

struct supplier {
	int fd;
	const char *page;
	unsigned int supplied;
	volatile int stop;
};

static void *supply(void *arg)
{
	struct supplier *s = arg;
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	struct uffdio_copy copy;
	struct uffd_msg msg;

	while (!s->stop) {
		if (poll(&p, 1, 20) != 1)
			continue;
		if (read(s->fd, &msg, sizeof(msg)) != sizeof(msg) ||
		    msg.event != UFFD_EVENT_PAGEFAULT)
			continue;
		copy = (struct uffdio_copy){
			.dst = msg.arg.pagefault.address & ~(PAGE - 1),
			.src = ADDR(s->page),
			.len = PAGE,
		};
		if (!ioctl(s->fd, UFFDIO_COPY, &copy))
			s->supplied++;
	}
	return NULL;
}

/* Memory that user space supplies on demand, to the GPU as to the CPU */
TEST_V(hmm_userfaultfd_read, devices)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct supplier s = { 0 };
	struct uvm_sim_cmd c;
	uint32_t channel;
	uint64_t point;
	pthread_t thread;
	struct fix f;
	char *p, *to, *page;
	int ret;

	fix_open(&f, v);
	s.fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (s.fd < 0 || ioctl(s.fd, UFFDIO_API, &api))
		SKIP("no userfaultfd");
	p = fix_buffer(&f, 4 * PAGE);
	to = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	page = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	memset(page, 0x2e, PAGE);
	s.page = page;
	memset(to, 0x11, 4 * PAGE);
	reg.range.start = ADDR(p);
	reg.range.len = 4 * PAGE;
	ASSERT_EQ(ioctl(s.fd, UFFDIO_REGISTER, &reg), 0);
	ASSERT_EQ(pthread_create(&thread, NULL, supply, &s), 0);

	ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &channel), 0);
	c = CMD(COPY, .dst = ADDR(to), .src = ADDR(p), .length = 4 * PAGE);
	ASSERT_RET(channel_submit(f.s.fd, channel, &c, 1, &point), 0);
	ret = channel_wait(f.s.fd, channel, point, PATIENCE, NULL);
	EXPECT_RET(ret, 0);
	EXPECT_BYTES(to, 4 * PAGE, 0x2e);
	EXPECT_RET(channel_destroy(f.s.fd, channel), 0);
	EXPECT_BYTES(p, 4 * PAGE, 0x2e);
	expect_gpu_sees_byte(&f, p, 4 * PAGE, 0x2e);
	s.stop = 1;
	pthread_join(thread, NULL);
	/* not before: a page is there before its supplier has counted it */
	EXPECT_GE(s.supplied, 4);
	close(s.fd);
	fix_close(&f);
}

/* ---- stale translations: each of these catches a missed invalidation ---- */

/* Warm: the channel's TLB holds the translations, write rights included. */
static void warm(struct fix *f, void *p, size_t length)
{
	struct uvm_sim_cmd c = CMD(TOUCH, .dst = ADDR(p), .length = length,
				   .arg0 = PAGE, .arg1 = 1);

	ASSERT_RET(fix_run(f, &c, 1), 0);
}

TEST_V(stale_after_unmap, devices_huge)
{
	unsigned int i, rounds = harness_rounds(v->huge ? 4 : 12);
	size_t n;
	struct fix f;
	char *p;

	open_in_place(&f, v);
	n = f.huge ? HUGE : 8 * PAGE;
	p = fix_pattern(&f, n, 100);
	for (i = 0; i < rounds; i++) {
		if (i & 1)
			fix_to_gpu(&f, p, n);
		warm(&f, p, n);
		ASSERT_RET(munmap(p, n), 0);
		map_again(&f, p, n);
		if (f.huge)
			madvise(p, n, MADV_HUGEPAGE);
		pattern_fill(p, n, 101 + i);
		EXPECT_EQ(fix_gpu_sum(&f, p, n), sum64(p, n));
		/* and its stores reach the new memory */
		fix_xor(&f, p, n, i);
		cpu_xor(p, n, i);
		EXPECT_PATTERN(p, n, 101 + i);
	}
	warm(&f, p, n);
	ASSERT_RET(munmap(p, n), 0);
	expect_write_fault(&f, p + n / 2, UVM_FAULT_NO_MAPPING);
	fix_close(&f);
}

/* The page the GPU could write goes to somebody else: it must be out of reach. */
TEST_V(stale_write_after_unmap, devices_huge)
{
	unsigned int i, rounds = harness_rounds(v->huge ? 2 : 6);
	uint32_t channel;
	uint64_t point;
	struct uvm_sim_cmd c;
	size_t n;
	struct fix f;
	char *p, *q;

	open_in_place(&f, v);
	n = f.huge ? HUGE : 16 * PAGE;
	for (i = 0; i < rounds; i++) {
		p = fix_pattern(&f, n, 110);
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &channel), 0);
		c = CMD(TOUCH, .dst = ADDR(p), .length = n, .arg0 = PAGE, .arg1 = 1);
		ASSERT_RET(channel_run(f.s.fd, channel, &c, 1), 0);
		ASSERT_RET(munmap(p, n), 0);
		/* the address stays taken; the pages are anybody's */
		ASSERT_TRUE(mmap(p, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
				 MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0) == p);
		q = fix_buffer(&f, n);
		pattern_fill(q, n, 111);
		c = CMD(FILL, .dst = ADDR(p), .length = n, .arg0 = 0xbd);
		ASSERT_RET(channel_submit(f.s.fd, channel, &c, 1, &point), 0);
		EXPECT_RET(channel_wait(f.s.fd, channel, point, PATIENCE, NULL),
			   -ECANCELED);
		EXPECT_PATTERN(q, n, 111);
		EXPECT_RET(channel_destroy(f.s.fd, channel), 0);
		munmap(p, n);
		munmap(q, n);
	}
	fix_close(&f);
}

TEST_V(stale_after_dontneed, devices_huge)
{
	unsigned int i, rounds = harness_rounds(4);
	size_t n;
	struct fix f;
	char *p;

	open_in_place(&f, v);
	n = f.huge ? HUGE : 8 * PAGE;
	p = fix_pattern(&f, n, 120);
	for (i = 0; i < rounds; i++) {
		if (i & 1)
			fix_to_gpu(&f, p, n);
		warm(&f, p, n);
		ASSERT_RET(madvise(p, n, MADV_DONTNEED), 0);
		expect_gpu_sees_byte(&f, p, n, 0);
		pattern_fill(p, n, 121 + i);
		expect_gpu_sees(&f, p, n, 121 + i, 0);
	}
	fix_close(&f);
}

TEST_V(stale_after_mprotect, devices_huge)
{
	unsigned int i, rounds = harness_rounds(3);
	size_t n;
	struct fix f;
	char *p;

	open_in_place(&f, v);
	n = f.huge ? HUGE : 8 * PAGE;
	p = fix_pattern(&f, n, 130);
	for (i = 0; i < rounds; i++) {
		if (i & 1)
			fix_to_gpu(&f, p, n);
		warm(&f, p, n);
		ASSERT_RET(mprotect(p, n, PROT_READ), 0);
		expect_write_fault(&f, p + PAGE + 3, UVM_FAULT_PERMISSION);
		EXPECT_PATTERN(p, n, 130);
		expect_gpu_sees(&f, p, n, 130, 0);
		ASSERT_RET(mprotect(p, n, PROT_NONE), 0);
		expect_read_fault(&f, p + 2 * PAGE, UVM_FAULT_PERMISSION);
		ASSERT_RET(mprotect(p, n, PROT_READ | PROT_WRITE), 0);
		fix_xor(&f, p, n, i);
		cpu_xor(p, n, i);
		EXPECT_PATTERN(p, n, 130);
	}
	fix_close(&f);
}

/* The warm channel itself, not a fresh one, has to see its rights gone. */
TEST_V(stale_rights_same_channel, devices_huge)
{
	struct uvm_channel_query q;
	struct uvm_sim_cmd c;
	uint64_t point;
	size_t n;
	struct fix f;
	char *p;

	open_in_place(&f, v);
	n = f.huge ? HUGE : 8 * PAGE;
	p = fix_pattern(&f, n, 131);
	warm(&f, p, n);
	ASSERT_RET(mprotect(p, n, PROT_READ), 0);
	c = CMD(FILL, .dst = ADDR(p + 5), .length = 8, .arg0 = 0xdd);
	ASSERT_RET(channel_submit(f.s.fd, f.channel, &c, 1, &point), 0);
	EXPECT_RET(channel_wait(f.s.fd, f.channel, point, PATIENCE, NULL), -ECANCELED);
	ASSERT_RET(channel_query(f.s.fd, f.channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_FAULTED);
	EXPECT_EQ(q.out_reason, UVM_FAULT_PERMISSION);
	EXPECT_EQ(q.out_address, ADDR(p + 5));
	EXPECT_PATTERN(p, n, 131);
	fix_close(&f);
}

/* Two buffers change places; every address means the other memory. */
TEST_V(stale_after_mremap, devices_huge)
{
	unsigned int i, rounds = harness_rounds(3);
	char *p, *q, *tmp;
	size_t n;
	struct fix f;

	open_in_place(&f, v);
	n = f.huge ? HUGE : 8 * PAGE;
	p = fix_pattern(&f, n, 140);
	q = fix_pattern(&f, n, 141);
	tmp = anon_huge(n);
	munmap(tmp, n);
	for (i = 0; i < rounds; i++) {
		if (i & 1)
			fix_to_gpu(&f, p, n);
		warm(&f, p, n);
		warm(&f, q, n);
		ASSERT_TRUE(mremap(p, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, tmp) == tmp);
		ASSERT_TRUE(mremap(q, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p);
		ASSERT_TRUE(mremap(tmp, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
		stay(f.s.fd, p, n);
		stay(f.s.fd, q, n);
		expect_gpu_sees(&f, p, n, i & 1 ? 140 : 141, 0);
		expect_gpu_sees(&f, q, n, i & 1 ? 141 : 140, 0);
	}
	fix_close(&f);
}

/* Moved to and fro while the GPU uses it: always the newest data */
TEST_V(stale_after_migrate, devices_huge)
{
	unsigned int i, rounds = harness_rounds(v->huge ? 3 : 8);
	size_t n;
	struct fix f;
	char *p;

	open_in_place(&f, v);
	n = f.huge ? HUGE : 16 * PAGE;
	p = fix_pattern(&f, n, 150);
	for (i = 0; i < rounds; i++) {
		warm(&f, p, n);
		fix_to_gpu(&f, p, n);
		expect_gpu_sees(&f, p, n, 150 + i, 0);
		fix_xor(&f, p, n, i);
		fix_to_cpu(&f, p, n);
		cpu_xor(p, n, i);
		EXPECT_PATTERN(p, n, 150 + i);
		warm(&f, p, n);
		pattern_fill(p, n, 151 + i);
		expect_gpu_sees(&f, p, n, 151 + i, 0);
	}
	fix_close(&f);
}

/* After fork the GPU's writes must not reach what is shared with the child... */
TEST_V(stale_after_fork_gpu_writes, devices_huge)
{
	int go[2];
	char byte;
	size_t n;
	struct fix f;
	pid_t pid;
	char *p;

	open_in_place(&f, v);
	ASSERT_EQ(pipe(go), 0);
	n = f.huge ? HUGE : 16 * PAGE;
	p = fix_pattern(&f, n, 160);
	warm(&f, p, n);
	pid = child();
	if (!pid) {
		ASSERT_EQ(read(go[0], &byte, 1), 1);
		EXPECT_PATTERN(p, n, 160);
		child_exit();
	}
	fix_fill(&f, p, n, 0x77);
	EXPECT_BYTES(p, n, 0x77);
	ASSERT_EQ(write(go[1], "g", 1), 1);
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_BYTES(p, n, 0x77);
	fix_close(&f);
}

/* ... and it must see the parent's copies as soon as they are made. */
TEST_V(stale_after_fork_cpu_writes, devices_huge)
{
	int go[2];
	char byte;
	size_t n;
	struct fix f;
	pid_t pid;
	char *p;

	open_in_place(&f, v);
	ASSERT_EQ(pipe(go), 0);
	n = f.huge ? HUGE : 16 * PAGE;
	p = fix_pattern(&f, n, 161);
	warm(&f, p, n);
	pid = child();
	if (!pid) {
		ASSERT_EQ(read(go[0], &byte, 1), 1);
		EXPECT_PATTERN(p, n, 161);
		child_exit();
	}
	expect_gpu_sees(&f, p, n, 161, 0);	/* shared now, and read-only */
	pattern_fill(p, n, 162);
	expect_gpu_sees(&f, p, n, 162, 0);
	ASSERT_EQ(write(go[1], "g", 1), 1);
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_PATTERN(p, n, 162);
	fix_xor(&f, p, n, 1);
	cpu_xor(p, n, 1);
	EXPECT_PATTERN(p, n, 162);
	fix_close(&f);
}

/* The zero page is shared by all; the CPU's first store replaces it. */
TEST_V(stale_after_zero_page, devices_huge)
{
	size_t n;
	struct fix f;
	char *p;

	open_in_place(&f, v);
	n = f.huge ? HUGE : 16 * PAGE;
	p = fix_buffer(&f, n);
	EXPECT_BYTES(p, n, 0);
	expect_gpu_sees_byte(&f, p, n, 0);
	pattern_fill(p, n, 170);
	expect_gpu_sees(&f, p, n, 170, 0);
	/* the GPU's first store doesn't write the zero page of others */
	p = fix_buffer(&f, n);
	EXPECT_BYTES(p, n, 0);
	expect_gpu_sees_byte(&f, p, n, 0);
	fix_fill(&f, p, n / 2, 0x18);
	EXPECT_BYTES(p, n / 2, 0x18);
	p = fix_buffer(&f, n);
	EXPECT_BYTES(p, n, 0);
	fix_close(&f);
}

/* Huge pages appear and vanish under the GPU. */
TEST_V(stale_after_collapse, devices)
{
	struct variant huge = { v->name, v->kind, true };
	unsigned int i;
	struct fix f;
	char *p;

	fix_open(&f, &huge);
	p = anon_huge(HUGE);
	madvise(p, HUGE, MADV_NOHUGEPAGE);
	stay(f.s.fd, p, HUGE);
	pattern_fill(p, HUGE, 180);
	warm(&f, p, HUGE);
	madvise(p, HUGE, MADV_HUGEPAGE);
	if (madvise(p, HUGE, MADV_COLLAPSE))
		SKIP("the kernel doesn't collapse on demand");
	for (i = 0; i < 2; i++) {
		expect_gpu_sees(&f, p, HUGE, 180 + i, 0);
		pattern_fill(p, HUGE, 181 + i);
		expect_gpu_sees(&f, p, HUGE, 181 + i, 0);
		warm(&f, p, HUGE);
		/* one page of other rights splits it */
		ASSERT_RET(mprotect(p + 8 * PAGE, PAGE, PROT_READ), 0);
		expect_write_fault(&f, p + 8 * PAGE, UVM_FAULT_PERMISSION);
		expect_gpu_sees(&f, p, HUGE, 181 + i, 0);
		ASSERT_RET(mprotect(p + 8 * PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
		madvise(p, HUGE, MADV_COLLAPSE);
	}
	fix_xor(&f, p, HUGE, 3);
	cpu_xor(p, HUGE, 3);
	EXPECT_PATTERN(p, HUGE, 182);
	fix_close(&f);
}

/* The GPU writes a page that KSM merged: its own copy, no one else's. */
TEST_VT(stale_after_ksm, devices, 60)
{
	size_t n = 16;
	struct fix f;
	char *p;

	open_in_place(&f, v);
	p = fix_buffer(&f, n * PAGE);
	memset(p, 0x6b, n * PAGE);
	warm(&f, p, n * PAGE);
	ksm_merge(p, n * PAGE);
	expect_gpu_sees_byte(&f, p, n * PAGE, 0x6b);
	fix_fill(&f, p + 5 * PAGE, PAGE, 0x6c);
	EXPECT_BYTES(p, 5 * PAGE, 0x6b);
	EXPECT_BYTES(p + 5 * PAGE, PAGE, 0x6c);
	EXPECT_BYTES(p + 6 * PAGE, (n - 6) * PAGE, 0x6b);
	munmap(p, n * PAGE);
	fix_close(&f);
}

/* ---- races ---- */

struct hand {
	struct fix *f;
	char *p;
	size_t length;
	volatile int stop;
	unsigned int rounds;
	/* for flip_rights(): no more rounds than these */
	_Atomic unsigned int limit;
};

static void *shuffle_pages(void *arg)
{
	struct hand *h = arg;
	struct uvm_migrate m;

	while (!h->stop) {
		EXPECT_RET(migrate(h->f->s.fd, h->p, h->length, UVM_DEST_GPU, 0,
				   h->f->gpu.uuid, &m), 0);
		EXPECT_RET(migrate(h->f->s.fd, h->p, h->length, UVM_DEST_CPU, 0, NULL,
				   &m), 0);
		h->rounds++;
	}
	return NULL;
}

/* The GPU computes while the pages it computes on are moved. */
TEST_VT(race_compute_and_migrate, devices_huge, 60)
{
	unsigned int i, rounds = harness_rounds(6);
	struct hand h = { 0 };
	pthread_t thread;
	struct fix f;
	char *p, *q;

	open_in_place(&f, v);
	p = fix_pattern(&f, f.length, 200);
	q = fix_buffer(&f, f.length);
	h = (struct hand){ .f = &f, .p = p, .length = f.length };
	ASSERT_EQ(pthread_create(&thread, NULL, shuffle_pages, &h), 0);
	for (i = 0; i < rounds; i++) {
		fix_xor(&f, p, f.length, i);
		fix_copy(&f, q, p, f.length);
		fix_xor(&f, p, f.length, i);
		cpu_xor(q, f.length, i);
		EXPECT_PATTERN(q, f.length, 200);
	}
	h.stop = 1;
	pthread_join(thread, NULL);
	EXPECT_PATTERN(p, f.length, 200);
	fix_close(&f);
}

static void *flip_rights(void *arg)
{
	struct hand *h = arg;

	while (!h->stop) {
		if (h->rounds < h->limit) {
			EXPECT_RET(mprotect(h->p, h->length, PROT_READ), 0);
			EXPECT_RET(mprotect(h->p, h->length, PROT_READ | PROT_WRITE), 0);
			h->rounds++;
		}
		/* leave the GPU a chance */
		usleep(500);
	}
	return NULL;
}

/*
 * Reading is allowed all the time, so no read may fail. A flip waits for the fault that
 * is served, and takes its pages away before the GPU's next try: with many small pages
 * the GPU may have one of them for each flip. So the flips of a read are limited.
 */
#define FLIPS	64
TEST_VT(race_read_and_mprotect, devices_huge, 60)
{
	unsigned int i, rounds = harness_rounds(6);
	struct hand h = { 0 };
	pthread_t thread;
	struct fix f;
	uint64_t sum;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 201);
	sum = sum64(p, f.length);
	fix_to_gpu(&f, p, f.length);
	h = (struct hand){ .f = &f, .p = p, .length = f.length };
	ASSERT_EQ(pthread_create(&thread, NULL, flip_rights, &h), 0);
	for (i = 0; i < rounds; i++) {
		h.limit = h.rounds + FLIPS;
		EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum);
	}
	EXPECT_GT(h.rounds, 0);
	h.stop = 1;
	pthread_join(thread, NULL);
	EXPECT_PATTERN(p, f.length, 201);
	fix_close(&f);
}

/* Forks all the while; the children leave without a trace. */
TEST_VT(race_write_and_fork, devices_huge, 60)
{
	unsigned int i, rounds = harness_rounds(6);
	struct uvm_sim_cmd c[4];
	uint64_t point;
	struct fix f;
	pid_t pid;
	char *p;
	int k;

	open_in_place(&f, v);
	p = fix_pattern(&f, f.length, 202);
	for (i = 0; i < rounds; i++) {
		if (i & 1)
			migrate_pieces(&f, p, f.length);
		for (k = 0; k < 4; k++)
			c[k] = CMD(XOR, .dst = ADDR(p), .length = f.length,
				   .arg0 = k / 2);
		ASSERT_RET(channel_submit(f.s.fd, f.channel, c, 4, &point), 0);
		pid = child();
		if (!pid)
			child_exit();
		EXPECT_EQ(child_wait(pid), 0);
		ASSERT_RET(channel_wait(f.s.fd, f.channel, point, PATIENCE, NULL), 0);
		EXPECT_PATTERN(p, f.length, 202);
	}
	fix_close(&f);
}

/*
 * After MADV_FREE a page is clean though writable, and may be dropped, until somebody
 * writes to it: also the GPU, which no CPU page table's dirty bit knows of.
 */
TEST_V(dirty_after_free, devices)
{
	size_t length = 128 * PAGE;
	struct uvm_sim_cmd c;
	struct fix f;
	char *p;

	open_in_place(&f, v);
	p = fix_pattern(&f, length, 204);
	ASSERT_RET(madvise(p, length, MADV_FREE), 0);
	c = CMD(FILL, .dst = ADDR(p), .length = length, .arg0 = 0x5a);
	EXPECT_RET(fix_run(&f, &c, 1), 0);
	ASSERT_RET(madvise(p, length, MADV_PAGEOUT), 0);
	EXPECT_BYTES(p, length, 0x5a);
	fix_close(&f);
}

static void *hint_faults(void *arg)
{
	struct hand *h = arg;

	while (!h->stop) {
		EXPECT_EQ(pattern_check(h->p, h->length, 203), -1);
		h->rounds++;
	}
	return NULL;
}

/* NUMA balancing takes rights away for a moment to learn who uses a page. */
TEST_VT(race_numa_balancing, devices, 60)
{
	unsigned int i, rounds = harness_rounds(30);
	struct hand h = { 0 };
	pthread_t thread;
	struct fix f;
	uint64_t sum;
	char *p;
	long was;

	open_in_place(&f, v);
	was = read_number("/proc/sys/kernel/numa_balancing");
	if (was < 0 || !write_text("/proc/sys/kernel/numa_balancing", "1"))
		SKIP("no NUMA balancing");
	p = fix_pattern(&f, f.length, 203);
	sum = sum64(p, f.length);
	h = (struct hand){ .f = &f, .p = p, .length = f.length };
	ASSERT_EQ(pthread_create(&thread, NULL, hint_faults, &h), 0);
	for (i = 0; i < rounds; i++)
		EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum);
	h.stop = 1;
	pthread_join(thread, NULL);
	if (!was)
		write_text("/proc/sys/kernel/numa_balancing", "0");
	fix_close(&f);
}

/* ---- atomics ---- */

/* Several channels add to one word in GPU memory: no addition is lost. */
TEST_VT(atomics_exact, devices_huge, 60)
{
	enum { CHANNELS = 4, WORDS = 3 };
	uint64_t point[CHANNELS], *p, adds = 2000, seen;
	struct uvm_sim_cmd c[WORDS];
	uint32_t channel[CHANNELS];
	struct fix f;
	int i, k;

	fix_open(&f, v);
	p = fix_buffer(&f, f.length);
	memset(p, 0, f.length);
	fix_to_gpu(&f, p, f.length);
	for (k = 0; k < WORDS; k++)
		c[k] = CMD(ATOMIC_ADD, .dst = ADDR(p) + k * (PAGE + 8),
			   .arg0 = k + 1, .arg1 = adds);
	for (i = 0; i < CHANNELS; i++)
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &channel[i]), 0);
	for (i = 0; i < CHANNELS; i++)
		ASSERT_RET(channel_submit(f.s.fd, channel[i], c, WORDS, &point[i]), 0);
	for (i = 0; i < CHANNELS; i++)
		EXPECT_RET(channel_wait(f.s.fd, channel[i], point[i], PATIENCE, NULL),
			   0);
	EXPECT_EQ(fix_on_gpu(&f, p, WORDS * PAGE), WORDS);
	for (k = 0; k < WORDS; k++) {
		seen = *(uint64_t *)((char *)p + k * (PAGE + 8));
		EXPECT_EQ(seen, CHANNELS * adds * (k + 1));
	}
	fix_close(&f);
}

/*
 * The same where the CPU left the memory. Nobody but this GPU touches it meanwhile, and
 * its own atomics never disturb each other.
 */
TEST_VT(atomics_in_place, devices, 60)
{
	enum { CHANNELS = 4, WORDS = 3 };
	uint64_t point[CHANNELS], *p, adds = 500, seen;
	struct uvm_sim_cmd c[WORDS];
	uint32_t channel[CHANNELS];
	struct fix f;
	int i, k;

	open_in_place(&f, v);
	p = fix_buffer(&f, f.length);
	memset(p, 0, f.length);
	for (k = 0; k < WORDS; k++)
		c[k] = CMD(ATOMIC_ADD, .dst = ADDR(p) + k * (PAGE + 8),
			   .arg0 = k + 1, .arg1 = adds);
	for (i = 0; i < CHANNELS; i++)
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &channel[i]), 0);
	for (i = 0; i < CHANNELS; i++)
		ASSERT_RET(channel_submit(f.s.fd, channel[i], c, WORDS, &point[i]), 0);
	for (i = 0; i < CHANNELS; i++)
		EXPECT_RET(channel_wait(f.s.fd, channel[i], point[i], PATIENCE, NULL),
			   0);
	for (k = 0; k < WORDS; k++) {
		seen = *(uint64_t *)((char *)p + k * (PAGE + 8));
		EXPECT_EQ(seen, CHANNELS * adds * (k + 1));
	}
	fix_close(&f);
}

/* ---- reach ---- */

/* Addresses all over the space: every level of the page tables has a say. */
TEST_V(far_addresses, devices)
{
	static const uint64_t places[] = {
		0x10000000ULL, 0x40000000ULL, 0x7fffff000ULL, 0x9000000000ULL,
		0x7ffffff000ULL, 0x100000000000ULL, 0x3fffffffd000ULL,
		0x400000000000ULL, 0x600000201000ULL,
	};
	const size_t n = sizeof(places) / sizeof(places[0]);
	char *p[sizeof(places) / sizeof(places[0])];
	struct fix f;
	size_t i;

	fix_open(&f, v);
	for (i = 0; i < n; i++) {
		p[i] = mmap((void *)places[i], 2 * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		ASSERT_TRUE(p[i] == (void *)places[i]);
		pattern_fill(p[i], 2 * PAGE, 300 + i);
		stay(f.s.fd, p[i], 2 * PAGE);
	}
	for (i = 0; i < n; i++) {
		expect_gpu_sees(&f, p[i], 2 * PAGE, 300 + i, 0);
		if (i & 1)
			fix_to_gpu(&f, p[i], 2 * PAGE);
	}
	for (i = 0; i < n; i++) {
		fix_xor(&f, p[i], 2 * PAGE, i);
		cpu_xor(p[i], 2 * PAGE, i);
		EXPECT_PATTERN(p[i], 2 * PAGE, 300 + i);
		expect_read_fault(&f, p[i] + 2 * PAGE, UVM_FAULT_NO_MAPPING);
	}
	fix_close(&f);
}

/* More pages than any TLB holds, in no order: a list through all of them */
TEST_VT(pointer_chase, devices_huge, 60)
{
	size_t i, k, n, *order, swap;
	uint64_t random = harness_seed, *out, *word;
	struct uvm_sim_cmd c;
	struct fix f;
	char *p;

	open_in_place(&f, v);
	n = f.huge ? 2 * HUGE / PAGE : 256;
	p = fix_buffer(&f, n * PAGE);
	order = calloc(n, sizeof(*order));
	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n - 1; i; i--) {
		k = harness_random(&random) % (i + 1);
		swap = order[i];
		order[i] = order[k];
		order[k] = swap;
	}
	for (i = 0; i < n; i++) {
		word = (uint64_t *)(p + order[i] * PAGE + order[i] % 512 * 8);
		k = order[(i + 1) % n];
		*word = ADDR(p + k * PAGE + k % 512 * 8);
	}
	out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	/* half of it on the GPU */
	fix_to_gpu(&f, p, f.huge ? HUGE : n / 2 * PAGE);
	c = CMD(CHASE, .dst = ADDR(out),
		.src = ADDR(p + order[0] * PAGE + order[0] % 512 * 8), .arg0 = n - 1);
	ASSERT_RET(fix_run(&f, &c, 1), 0);
	EXPECT_EQ(*out, ADDR(p + order[n - 1] * PAGE + order[n - 1] % 512 * 8));
	fix_close(&f);
}

/* Two GPUs take turns on the same memory, with the CPU in between. */
TEST_V(ping_pong, devices_huge)
{
	unsigned int i, rounds = harness_rounds(v->huge ? 2 : 5);
	struct uvm_sim_cmd c;
	struct fix f;
	char *p;

	pair_in_place(&f, v);
	p = fix_pattern(&f, f.length, 400);
	for (i = 0; i < rounds; i++) {
		fix_xor(&f, p, f.length, i);
		c = CMD(XOR, .dst = ADDR(p), .length = f.length, .arg0 = i + 1);
		ASSERT_RET(channel_run(f.s.fd, f.channel2, &c, 1), 0);
		if (i & 1)
			fix_to_gpu2(&f, p, f.length);
		else
			fix_to_gpu(&f, p, f.length);
		fix_xor(&f, p, f.length, i + 1);
		ASSERT_RET(channel_run(f.s.fd, f.channel2, &c, 1), 0);
		fix_xor(&f, p, f.length, i);
		cpu_xor(p, f.length, i + 1);
		EXPECT_PATTERN(p, f.length, 400);
	}
	fix_close(&f);
}

static void __attribute__((constructor)) install(void)
{
	leak_check_install();
}

HARNESS_MAIN()
