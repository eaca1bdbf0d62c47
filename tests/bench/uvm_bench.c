// SPDX-License-Identifier: MIT
/*
 * How fast pages move, next to what the same kernel does in the same boot.
 *
 * Everybody gets a fresh buffer for every sample, in turns, so that drift of the
 * machine meets all alike. Data is checked outside of the time that is taken;
 * a wrong byte ends the run with status 1.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define MAX_RUNS	101
#define MIB		(1024.0 * 1024.0)

enum metric { TO_DEVICE, TO_SYSTEM, FAULT_BACK, COPY, MOVE, NR_METRICS };
enum subject { OURS, DMIRROR, MEMCPY, MOVE_PAGES, NR_SUBJECTS };

/* MiB/s */
static struct series results[NR_MODES][NR_SUBJECTS][NR_METRICS];
static bool present[NR_SUBJECTS];
static bool mode_works[NR_MODES] = { true, true };

static struct {
	size_t length;
	unsigned int runs;
	const char *lane;
	const char *gpu;
	bool instructions;
} opt = {
	.length = (size_t)64 << 20,
	.runs = 5,
	.lane = "local",
};

static const char *const subject_names[NR_SUBJECTS] = {
	[OURS] = "uvm",
	[DMIRROR] = "test_hmm",
	[MEMCPY] = "memcpy",
	[MOVE_PAGES] = "move_pages",
};

static const struct mover *const movers[] = {
	[OURS] = &uvm_mover,
	[DMIRROR] = &dmirror_mover,
};

/* The first round only warms up: @round is negative then. */
static int record(int round, enum page_mode mode, enum subject subject,
		  enum metric metric, double seconds)
{
	if (round < 0 || seconds <= 0)
		return 0;
	return series_add(&results[mode][subject][metric],
			  opt.length / MIB / seconds);
}

/*
 * Samples
 */

static int sample_migrate(int round, enum page_mode mode, enum subject subject,
			  const struct buffer *buf)
{
	const struct mover *mover = movers[subject];
	double there, back;

	there = mover->to_device(buf);
	if (there < 0)
		return -1;
	back = mover->to_system(buf);
	if (back < 0 || buffer_verify(buf, mover->name))
		return -1;
	if (record(round, mode, subject, TO_DEVICE, there))
		return -1;
	return record(round, mode, subject, TO_SYSTEM, back);
}

static int sample_fault(int round, enum page_mode mode, enum subject subject,
			const struct buffer *buf)
{
	const struct mover *mover = movers[subject];
	double start, seconds;

	if (mover->to_device(buf) < 0)
		return -1;
	start = seconds_now();
	buffer_touch(buf);
	seconds = seconds_now() - start;
	if (mover->check_home(buf) || buffer_verify(buf, mover->name))
		return -1;
	return record(round, mode, subject, FAULT_BACK, seconds);
}

static int sample_both(int round, enum page_mode mode, enum subject subject)
{
	struct buffer buf;
	int ret;

	if (buffer_alloc(&buf, mode, opt.length))
		return -1;
	ret = sample_migrate(round, mode, subject, &buf);
	buffer_free(&buf);
	if (ret || !movers[subject]->faults_back())
		return ret;

	if (buffer_alloc(&buf, mode, opt.length))
		return -1;
	ret = sample_fault(round, mode, subject, &buf);
	buffer_free(&buf);
	return ret;
}

static int sample_mover(int round, enum page_mode mode, enum subject subject)
{
	const struct mover *mover = movers[subject];
	int ret;

	if (mover->begin && mover->begin())
		return -1;
	ret = sample_both(round, mode, subject);
	if (mover->end)
		mover->end();
	return ret;
}

static int sample_memcpy(int round, enum page_mode mode)
{
	struct buffer from, to;
	double start, seconds;
	int ret;

	if (buffer_alloc(&from, mode, opt.length))
		return -1;
	if (buffer_alloc(&to, mode, opt.length)) {
		buffer_free(&from);
		return -1;
	}
	start = seconds_now();
	memcpy(to.base, from.base, opt.length);
	seconds = seconds_now() - start;
	ret = pattern_verify(to.base, opt.length, from.seed, "memcpy");
	if (!ret)
		ret = record(round, mode, MEMCPY, COPY, seconds);
	buffer_free(&to);
	buffer_free(&from);
	return ret;
}

static int sample_move_pages(int round, enum page_mode mode)
{
	struct buffer buf;
	double seconds;
	int ret;

	if (buffer_alloc(&buf, mode, opt.length))
		return -1;
	seconds = move_pages_run(&buf, mode);
	ret = seconds < 0 ? -1 : buffer_verify(&buf, "move_pages");
	if (!ret)
		ret = record(round, mode, MOVE_PAGES, MOVE, seconds);
	buffer_free(&buf);
	return ret;
}

static int sample_round(int round, enum page_mode mode)
{
	/* Whoever comes first doesn't always come first. */
	for (unsigned int i = 0; i < NR_SUBJECTS; i++) {
		enum subject subject = (i + round + 1) % NR_SUBJECTS;
		int ret;

		if (!present[subject])
			continue;
		if (subject == MEMCPY)
			ret = sample_memcpy(round, mode);
		else if (subject == MOVE_PAGES)
			ret = sample_move_pages(round, mode);
		else
			ret = sample_mover(round, mode, subject);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * Results
 */

static void sort_results(void)
{
	struct series *s = &results[0][0][0];

	for (size_t i = 0; i < sizeof(results) / sizeof(*s); i++)
		series_sort(&s[i]);
}

static const struct {
	const char *name[NR_MODES];
	enum metric ours;
	enum subject peer;
	enum metric theirs;
} rows[] = {
	{ { "migrate_to_device_4k", "migrate_to_device_thp" },
	  TO_DEVICE, DMIRROR, TO_DEVICE },
	{ { "migrate_to_system_4k", "migrate_to_system_thp" },
	  TO_SYSTEM, DMIRROR, TO_SYSTEM },
	{ { "cpu_fault_back_4k", "cpu_fault_back_thp" },
	  FAULT_BACK, DMIRROR, FAULT_BACK },
	{ { "migrate_vs_move_pages", "migrate_vs_move_pages_thp" },
	  TO_DEVICE, MOVE_PAGES, MOVE },
	{ { "migrate_to_device_4k_vs_memcpy", "migrate_to_device_thp_vs_memcpy" },
	  TO_DEVICE, MEMCPY, COPY },
	{ { "migrate_to_system_4k_vs_memcpy", "migrate_to_system_thp_vs_memcpy" },
	  TO_SYSTEM, MEMCPY, COPY },
	{ { "cpu_fault_back_4k_vs_memcpy", "cpu_fault_back_thp_vs_memcpy" },
	  FAULT_BACK, MEMCPY, COPY },
};

static void print_results(bool csv)
{
	if (!csv)
		print_head("MiB/s");
	for (int mode = 0; mode < NR_MODES; mode++) {
		if (!mode_works[mode])
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
			print_row(csv, opt.lane, "MiB/s", rows[i].name[mode],
				  subject_names[rows[i].peer],
				  &results[mode][OURS][rows[i].ours],
				  &results[mode][rows[i].peer][rows[i].theirs]);
	}
}

/*
 * Set-up
 */

/* A thread that wanders leaves pages in the other CPUs' LRU batches: busy. */
static void pin(void)
{
	cpu_set_t set;
	int cpu = sched_getcpu();

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int try_thp(void)
{
	struct buffer buf;
	size_t huge;

	if (buffer_alloc(&buf, MODE_THP, opt.length))
		return -1;
	huge = buffer_huge_bytes(&buf);
	buffer_free(&buf);
	if (huge >= opt.length)
		return 0;
	if (huge) {
		printf("note: only %zu of %zu MiB came as huge pages\n",
		       huge >> 20, opt.length >> 20);
		return 0;
	}
	printf("skipped: rows with huge pages: this kernel gives none\n");
	mode_works[MODE_THP] = false;
	return 0;
}

static int setup(void)
{
	int ret;

	pin();
	ret = uvm_mover.open(opt.gpu, &opt.length);
	if (ret < 0)
		return ret;
	ret = dmirror_mover.open(NULL, &opt.length);
	if (ret < 0)
		return ret;
	present[OURS] = true;
	present[DMIRROR] = ret;
	present[MEMCPY] = true;
	present[MOVE_PAGES] = move_pages_open();
	if (!uvm_mover.faults_back())
		printf("skipped: CPU fault back: the CPU uses this GPU's memory in place\n");
	return try_thp();
}

static int run(void)
{
	if (setup())
		return -1;
	printf("%zu MiB, %u runs\n", opt.length >> 20, opt.runs);
	for (int round = -1; round < (int)opt.runs; round++) {
		for (int mode = 0; mode < NR_MODES; mode++)
			if (mode_works[mode] && sample_round(round, mode))
				return -1;
		fprintf(stderr, "uvm_bench: round %d of %u done\n", round + 1,
			opt.runs);
	}
	sort_results();
	print_results(false);
	printf("\n");
	print_results(true);
	return 0;
}

static int usage(void)
{
	fprintf(stderr,
		"Usage: uvm_bench [--size=MIB] [--runs=N] [--lane=NAME] [--gpu=GPU]\n"
		"       uvm_bench --instructions [--lane=NAME] [--gpu=GPU]\n"
		"  --size   megabytes to move, an even number (64)\n"
		"  --runs   samples of each, 5 to %d (5)\n"
		"  --lane   the machine's name in the CSV lines (local)\n"
		"  --gpu    name, index, private, coherent or numa\n"
		"With --instructions: what calls cost, where the clock counts instructions\n",
		MAX_RUNS);
	return 2;
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "size", required_argument, NULL, 's' },
		{ "runs", required_argument, NULL, 'r' },
		{ "lane", required_argument, NULL, 'l' },
		{ "gpu", required_argument, NULL, 'g' },
		{ "instructions", no_argument, NULL, 'i' },
		{ 0 },
	};
	unsigned long size = opt.length >> 20;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			size = strtoul(optarg, NULL, 10);
		else if (c == 'r')
			opt.runs = strtoul(optarg, NULL, 10);
		else if (c == 'l')
			opt.lane = optarg;
		else if (c == 'g')
			opt.gpu = optarg;
		else if (c == 'i')
			opt.instructions = true;
		else
			return -1;
	}
	if (optind != argc || !size || size % 2 || size > 1UL << 20 ||
	    opt.runs < 5 || opt.runs > MAX_RUNS || strchr(opt.lane, ','))
		return -1;
	opt.length = size << 20;
	return 0;
}

int main(int argc, char **argv)
{
	int ret;

	if (parse(argc, argv))
		return usage();
	/* Lines appear as they are written, also in a guest's log. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	ret = opt.instructions ? count_instructions(opt.lane, opt.gpu) : run();
	dmirror_mover.close();
	uvm_mover.close();
	if (ret)
		printf("FAILED: no results\n");
	return ret ? 1 : 0;
}
