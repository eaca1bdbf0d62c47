// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that memory which was filled with zeroes while the GPU was idle holds nothing
 * else when a process gets it, and costs no fill; and that whoever gets memory that is
 * just being filled loses no byte, whether that fill ends well, fails, or hangs until its
 * engine is reset.
 *
 * Before each test all of the GPU's memory holds a stranger's bytes, and none of it counts
 * as zeroed. Fills are counted by the software GPU.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "lib_lifetime.h"
#include "lib_sim.h"
#include "lib_uvm.h"

#define SECRET		0x5a

/* Pages of free memory that count as zeroed: the fifth number of the line "sum". */
static long zeroed(const struct uvm_gpu_info *gpu)
{
	char path[100], text[40000], *p;
	long value = -1;
	int i;

	snprintf(path, sizeof(path), "/sys/kernel/debug/uvm/chunks/%u", gpu->id);
	ASSERT_TRUE(read_text(path, text, sizeof(text)));
	p = strstr(text, "\nsum ");
	ASSERT_TRUE(p);
	for (i = 0, p += 5; i < 5; i++)
		value = strtol(p, &p, 10);
	return value;
}

static void scrub(bool on)
{
	core_parameter_set("scrub", on);
}

/* A stranger has all of the memory, and ends. */
static void spread_secrets(struct fix *f)
{
	struct fix other = { .gpu = f->gpu, .huge = f->huge };
	uint64_t all = gpu_free(&f->gpu);
	pid_t pid = child();
	char *p;

	if (!pid) {
		fix_reopen(&other);
		p = fix_buffer(&other, all);
		memset(p, SECRET, all);
		fix_to_gpu(&other, p, all);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_TRUE(gpu_free_returns(&f->gpu, all));
}

/* All memory has secrets, and nothing is zeroed. Returns its size. */
static uint64_t begin(struct fix *f, const struct variant *v)
{
	uint64_t all;

	scrub(false);
	fix_open(f, v);
	all = gpu_free(&f->gpu);
	spread_secrets(f);
	/* a fill may have been under way */
	if (zeroed(&f->gpu))
		spread_secrets(f);
	ASSERT_EQ(zeroed(&f->gpu), 0);
	return all;
}

/* It begins after something was freed, which no batch of ours follows. */
static void scrub_from_now(struct fix *f, const char *knob)
{
	char *p = anon(PAGE, PROT_READ | PROT_WRITE, 0);

	*p = 1;
	fix_to_gpu(f, p, PAGE);
	if (knob)
		sim_knob(&f->gpu, knob, 1);
	scrub(true);
	ASSERT_RET(munmap(p, PAGE), 0);
}

/* All memory is filled, once. */
static void scrub_all(struct fix *f, uint64_t all)
{
	long bytes = sim_stat(&f->gpu, "bytes") + PAGE + all;

	scrub_from_now(f, NULL);
	EXPECT_TRUE(WAIT_FOR(sim_stat(&f->gpu, "bytes") >= bytes));
	EXPECT_EQ(sim_stat(&f->gpu, "bytes"), bytes);
	EXPECT_EQ(zeroed(&f->gpu), all / PAGE);
}

static void expect_zeroes(struct fix *f, char *p, size_t length)
{
	EXPECT_EQ(fix_gpu_sum(f, p, length), 0);
	EXPECT_BYTES(p, length, 0);
}

/* Half of the memory gets a pattern, and the other half was never touched. */
static void use_all(struct fix *f, uint64_t all, uint64_t seed, bool zeroes_first)
{
	size_t half = all / 2;
	char *zero = fix_buffer(f, half), *pattern = fix_buffer(f, half);

	pattern_fill(pattern, half, seed);
	if (zeroes_first)
		fix_to_gpu(f, zero, half);
	fix_to_gpu(f, pattern, half);
	if (!zeroes_first)
		fix_to_gpu(f, zero, half);
	EXPECT_EQ(fix_gpu_sum(f, pattern, half), sum64(pattern, half));
	EXPECT_PATTERN(pattern, half, seed);
	expect_zeroes(f, zero, half);
	retire(zero, half);
	retire(pattern, half);
}

/* All that is free gets zeroed, and needs no fill then. */
TEST_V(saves_fills, devices_huge)
{
	struct fix f;
	uint64_t all = begin(&f, v);
	long bytes;
	char *p;

	scrub_all(&f, all);
	bytes = sim_stat(&f.gpu, "bytes");
	p = fix_buffer(&f, all);
	fix_to_gpu(&f, p, all);
	EXPECT_EQ(sim_stat(&f.gpu, "bytes"), bytes);
	EXPECT_EQ(zeroed(&f.gpu), 0);
	expect_zeroes(&f, p, all);
	retire(p, all);
	fix_close(&f);
}

/* It rests once all is zeroed, and doesn't begin if it is off. */
TEST_V(rests, devices)
{
	struct timespec nap = { .tv_nsec = 200000000 };
	struct fix f;
	uint64_t all = begin(&f, v);
	long batches = sim_stat(&f.gpu, "batches");

	nanosleep(&nap, NULL);
	EXPECT_EQ(sim_stat(&f.gpu, "batches"), batches);
	scrub_all(&f, all);
	batches = sim_stat(&f.gpu, "batches");
	nanosleep(&nap, NULL);
	EXPECT_EQ(sim_stat(&f.gpu, "batches"), batches);
	fix_close(&f);
}

/* Processes come while it is under way, sooner or later. */
TEST_VT(is_met, devices_huge, 120)
{
	unsigned int i, rounds = harness_rounds(6);
	struct timespec nap = { 0 };
	struct fix f;
	uint64_t all = begin(&f, v);
	bool some = false, rest = false;
	long now;

	scrub(true);
	for (i = 0; i < rounds; i++) {
		spread_secrets(&f);
		nap.tv_nsec = (15 + i % 12 * 4) * 1000000;
		nanosleep(&nap, NULL);
		now = zeroed(&f.gpu);
		some |= now;
		rest |= now < (long)(all / PAGE);
		use_all(&f, all, i, i & 1);
		EXPECT_TRUE(gpu_free_returns(&f.gpu, all));
	}
	harness_note("%s", some && rest ? "met" : "not met");
	EXPECT_TRUE(some);
	fix_close(&f);
}

/* What isn't filled isn't zeroed; nobody tries for ever. */
TEST_V(fails, devices_huge)
{
	struct fix f;
	uint64_t all = begin(&f, v);
	long errors = sim_stat(&f.gpu, "batch_errors");

	scrub_from_now(&f, "fail_copy");
	EXPECT_TRUE(WAIT_FOR(sim_stat(&f.gpu, "batch_errors") == errors + 1));
	scrub(false);
	EXPECT_TRUE(WAIT_FOR(zeroed(&f.gpu) == 0));
	use_all(&f, all, 31, v->huge);
	fix_close(&f);
}

static void hangs(const struct variant *v, bool zeroes_first)
{
	struct fix f;
	uint64_t all = begin(&f, v);
	long resets = sim_stat(&f.gpu, "resets");

	scrub_from_now(&f, "hang_copy");
	ASSERT_TRUE(WAIT_FOR(sim_knob_left(&f.gpu, "hang_copy") == 0));
	/* only that one */
	scrub(false);
	use_all(&f, all, 41, zeroes_first);
	EXPECT_EQ(sim_stat(&f.gpu, "resets"), resets + 1);
	EXPECT_TRUE(WAIT_FOR(zeroed(&f.gpu) == 0));
	EXPECT_TRUE(gpu_free_returns(&f.gpu, all));
	/* nothing of it is lost */
	use_all(&f, all, 42, zeroes_first);
	fix_close(&f);
}

/* Who gets a chunk whose fill hangs has it after the reset. */
TEST_V(hangs_for_zeroes, devices_huge)
{
	hangs(v, true);
}

TEST_V(hangs_for_data, devices_huge)
{
	hangs(v, false);
}

int main(int argc, char **argv)
{
	clean_up_install();
	core_parameters_reset();
	return harness_main(argc, argv);
}
