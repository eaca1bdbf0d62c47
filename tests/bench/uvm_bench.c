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

enum metric {
	TO_DEVICE, TO_SYSTEM, FAULT_BACK, COPY, MOVE,
	ENGINE,			/* a copy engine alone, during TO_DEVICE */
	GPU_STREAM, GPU_RANDOM,
	GPU_MAPPED,		/* GPU_STREAM again, without faults */
	READERS,		/* read by both, in turn */
	READERS_COPIES,		/* the same, with copies */
	NR_METRICS
};
enum subject { OURS, DMIRROR, MEMCPY, MOVE_PAGES, NR_SUBJECTS };

/* MiB/s */
static struct series results[NR_MODES][NR_SUBJECTS][NR_METRICS];
static bool present[NR_SUBJECTS];
static bool mode_works[NR_MODES] = { true, true, true };

/* Of the runs with GPU faults: pages that arrived, and faults. */
static struct series arrived[NR_MODES][NR_ORDERS], faults[NR_MODES][NR_ORDERS];

static struct {
	size_t length;
	size_t gpu_length;
	unsigned int runs;
	const char *lane;
	const char *gpu;
	bool instructions;
	bool oversub;
	bool hotset;
	bool all_arrive;
	bool managed;
} opt = {
	.length = (size_t)64 << 20,
	.gpu_length = (size_t)256 << 20,
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

static const enum metric gpu_metrics[NR_ORDERS] = {
	[IN_ORDER] = GPU_STREAM,
	[SHUFFLED] = GPU_RANDOM,
};

/* The first round only warms up: @round is negative then. */
static int record_length(int round, enum page_mode mode, enum subject subject,
			 enum metric metric, size_t length, double seconds)
{
	if (round < 0 || seconds <= 0)
		return 0;
	return series_add(&results[mode][subject][metric],
			  length / MIB / seconds);
}

static int record(int round, enum page_mode mode, enum subject subject,
		  enum metric metric, double seconds)
{
	return record_length(round, mode, subject, metric, opt.length, seconds);
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
	if (subject == OURS &&
	    record(round, mode, OURS, ENGINE, ours_engine_seconds()))
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

static int record_gpu(int round, enum page_mode mode, enum gpu_order order,
		      const struct gpu_run *run)
{
	size_t length = run->pages * page_size();

	if (round < 0)
		return 0;
	if (series_add(&arrived[mode][order], run->arrived) ||
	    series_add(&faults[mode][order], run->faults))
		return -1;
	if (opt.all_arrive && run->arrived < run->pages)
		return 0;
	if (order == IN_ORDER &&
	    record_length(round, mode, OURS, GPU_MAPPED, length, run->again))
		return -1;
	return record_length(round, mode, OURS, gpu_metrics[order], length,
			     run->seconds);
}

static int sample_gpu(int round, enum page_mode mode, enum gpu_order order)
{
	struct gpu_run run;
	struct buffer buf;
	int ret;

	if (buffer_alloc(&buf, mode, opt.gpu_length))
		return -1;
	ret = gpu_faults_run(&buf, order, &run);
	if (!ret)
		ret = record_gpu(round, mode, order, &run);
	buffer_free(&buf);
	return ret;
}

static int sample_readers(int round)
{
	static const enum metric metrics[] = { READERS, READERS_COPIES };
	double seconds;

	for (int copies = 0; copies < 2; copies++) {
		if (managed_readers_take(opt.gpu_length, copies, &seconds) ||
		    record_length(round, MODE_MANAGED, OURS, metrics[copies],
				  opt.gpu_length, seconds))
			return -1;
	}
	return 0;
}

/* Nobody else has such memory. */
static int sample_managed(int round)
{
	if (sample_mover(round, MODE_MANAGED, OURS))
		return -1;
	for (int order = 0; order < NR_ORDERS; order++)
		if (sample_gpu(round, MODE_MANAGED, order))
			return -1;
	return sample_readers(round);
}

static int sample_round(int round, enum page_mode mode)
{
	if (mode == MODE_MANAGED)
		return sample_managed(round);

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
	for (int order = 0; order < NR_ORDERS; order++)
		if (sample_gpu(round, mode, order))
			return -1;
	return 0;
}

/*
 * Results
 */

static void sort_all(struct series *s, size_t count)
{
	for (size_t i = 0; i < count; i++)
		series_sort(&s[i]);
}

static void sort_results(void)
{
	sort_all(&results[0][0][0], NR_MODES * NR_SUBJECTS * NR_METRICS);
	sort_all(&arrived[0][0], NR_MODES * NR_ORDERS);
	sort_all(&faults[0][0], NR_MODES * NR_ORDERS);
}

/* What we measure ourselves against ourselves with. */
static const char *const metric_names[NR_METRICS] = {
	[TO_DEVICE] = "migrate",
	[ENGINE] = "engine",
	[GPU_STREAM] = "stream",
	[READERS] = "moved",
};

static const struct {
	const char *name[NR_MODES];
	enum metric ours;
	enum subject peer;
	enum metric theirs;
	double aim[NR_MODES];
} rows[] = {
	{ { "migrate_to_device_4k", "migrate_to_device_thp" },
	  TO_DEVICE, DMIRROR, TO_DEVICE, { 0, 0 } },
	{ { "migrate_to_system_4k", "migrate_to_system_thp" },
	  TO_SYSTEM, DMIRROR, TO_SYSTEM, { 0, 0 } },
	{ { "cpu_fault_back_4k", "cpu_fault_back_thp_vs_test_hmm" },
	  FAULT_BACK, DMIRROR, FAULT_BACK, { 4, 0 } },
	{ { "cpu_fault_back_4k_vs_memcpy", "cpu_fault_back_thp" },
	  FAULT_BACK, MEMCPY, COPY, { 0, 0.9 } },
	{ { "migrate_vs_move_pages", "migrate_vs_move_pages_thp" },
	  TO_DEVICE, MOVE_PAGES, MOVE, { 0, 0 } },
	{ { "migrate_to_device_4k_vs_memcpy", "migrate_to_device_thp_vs_memcpy" },
	  TO_DEVICE, MEMCPY, COPY, { 0, 0 } },
	{ { "migrate_to_system_4k_vs_memcpy", "migrate_to_system_thp_vs_memcpy" },
	  TO_SYSTEM, MEMCPY, COPY, { 0, 0 } },
	{ { "engine_rate_4k", "engine_rate" },
	  ENGINE, OURS, TO_DEVICE, { 0, 0 } },
	{ { "engine_vs_memcpy_4k", "engine_vs_memcpy" },
	  ENGINE, MEMCPY, COPY, { 0, 0 } },
	{ { "gpu_fault_stream_4k", "gpu_fault_stream" },
	  GPU_STREAM, OURS, ENGINE, { 0, 0.6 } },
	{ { "gpu_fault_random_4k", "gpu_fault_random" },
	  GPU_RANDOM, OURS, GPU_STREAM, { 0.3, 0.3 } },
	{ { "gpu_sum_mapped_4k", "gpu_sum_mapped" },
	  GPU_MAPPED, OURS, ENGINE, { 0, 0 } },
	{ { [MODE_MANAGED] = "managed_to_device" },
	  TO_DEVICE, OURS, ENGINE, { [MODE_MANAGED] = 0.9 } },
	{ { [MODE_MANAGED] = "managed_to_cpu" },
	  TO_SYSTEM, OURS, ENGINE, { [MODE_MANAGED] = 0.9 } },
	{ { [MODE_MANAGED] = "managed_cpu_fault_back" },
	  FAULT_BACK, OURS, ENGINE, { 0 } },
	{ { [MODE_MANAGED] = "managed_gpu_fault_stream" },
	  GPU_STREAM, OURS, ENGINE, { [MODE_MANAGED] = 0.6 } },
	{ { [MODE_MANAGED] = "managed_gpu_fault_random" },
	  GPU_RANDOM, OURS, GPU_STREAM, { 0 } },
	{ { [MODE_MANAGED] = "readdup_speedup" },
	  READERS_COPIES, OURS, READERS, { 0 } },
};

static void print_mode(bool csv, enum page_mode mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		enum subject peer = rows[i].peer;

		if (!rows[i].name[mode])
			continue;
		print_row(csv, opt.lane, &(struct row){
			.metric = rows[i].name[mode],
			.unit = "MiB/s",
			.peer = peer == OURS ? metric_names[rows[i].theirs] :
					       subject_names[peer],
			.ours = &results[mode][OURS][rows[i].ours],
			.theirs = &results[mode][peer][rows[i].theirs],
			.aim = rows[i].aim[mode],
		});
	}
}

static void print_results(bool csv)
{
	if (!csv)
		print_head("MiB/s");
	for (int mode = 0; mode < NR_MODES; mode++)
		if (mode_works[mode])
			print_mode(csv, mode);
}

static void print_arrived(void)
{
	static const char *const names[NR_MODES][NR_ORDERS] = {
		[MODE_4K] = { "gpu_fault_stream_4k", "gpu_fault_random_4k" },
		[MODE_THP] = { "gpu_fault_stream", "gpu_fault_random" },
		[MODE_MANAGED] = { "managed_gpu_fault_stream",
				   "managed_gpu_fault_random" },
	};

	printf("\n%-34s %8s %17s %8s\n", "GPU faults", "pages",
	       "in GPU memory", "faults");
	for (int mode = 0; mode < NR_MODES; mode++)
		for (int order = 0; mode_works[mode] && order < NR_ORDERS; order++)
			printf("%-34s %8zu %8.0f %7.0f%% %8.0f\n",
			       names[mode][order], opt.gpu_length / page_size(),
			       series_median(&arrived[mode][order]),
			       series_median(&arrived[mode][order]) * 100 /
			       (opt.gpu_length / page_size()),
			       series_median(&faults[mode][order]));
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
	size_t length = opt.length > opt.gpu_length ? opt.length : opt.gpu_length;
	struct buffer buf;
	size_t huge;

	if (buffer_alloc(&buf, MODE_THP, length))
		return -1;
	huge = buffer_huge_bytes(&buf);
	buffer_free(&buf);
	if (huge >= length)
		return 0;
	if (huge) {
		printf("note: only %zu of %zu MiB came as huge pages\n",
		       huge >> 20, length >> 20);
		return 0;
	}
	printf("skipped: rows with huge pages: this kernel gives none\n");
	mode_works[MODE_THP] = false;
	return 0;
}

/* 2 MiB are for the sums, and for what prefetch may take around them. */
static int setup_gpu_faults(void)
{
	opt.gpu_length = ours_room(opt.gpu_length, HUGE_SIZE);
	if (opt.gpu_length)
		return gpu_faults_open(opt.gpu_length);
	fprintf(stderr, "uvm_bench: no room for GPU faults: give the GPU 4 MiB or more\n");
	return -1;
}

static int setup_managed_only(void)
{
	mode_works[MODE_4K] = false;
	mode_works[MODE_THP] = false;
	mode_works[MODE_MANAGED] = true;
	return ours_manages() ? 0 : -1;
}

static int setup(void)
{
	int ret;

	pin();
	ret = uvm_mover.open(opt.gpu, &opt.length);
	if (ret < 0)
		return ret;
	if (opt.managed)
		return setup_gpu_faults() ? -1 : setup_managed_only();
	ret = dmirror_mover.open(NULL, &opt.length);
	if (ret < 0)
		return ret;
	present[OURS] = true;
	present[DMIRROR] = ret;
	present[MEMCPY] = true;
	present[MOVE_PAGES] = move_pages_open();
	if (setup_gpu_faults())
		return -1;
	mode_works[MODE_MANAGED] = ours_manages();
	if (!uvm_mover.faults_back())
		printf("skipped: CPU fault back: the CPU uses this GPU's memory in place\n");
	return try_thp();
}

static int run(void)
{
	if (setup())
		return -1;
	printf("%zu MiB, with GPU faults %zu MiB, %u runs\n", opt.length >> 20,
	       opt.gpu_length >> 20, opt.runs);
	for (int round = -1; round < (int)opt.runs; round++) {
		for (int mode = 0; mode < NR_MODES; mode++)
			if (mode_works[mode] && sample_round(round, mode))
				return -1;
		fprintf(stderr, "uvm_bench: round %d of %u done\n", round + 1,
			opt.runs);
	}
	sort_results();
	print_results(false);
	print_arrived();
	printf("\n");
	print_results(true);
	return 0;
}

static int usage(void)
{
	fprintf(stderr,
		"Usage: uvm_bench [--size=MIB] [--gpu-size=MIB] [--all-arrive] [--runs=N]\n"
		"                 [--managed] [--lane=NAME] [--gpu=GPU]\n"
		"       uvm_bench --oversubscription|--hotset [--runs=N] [--lane=NAME]\n"
		"       uvm_bench --instructions [--managed] [--lane=NAME] [--gpu=GPU]\n"
		"  --size        megabytes to move, an even number (64)\n"
		"  --gpu-size    megabytes for the GPU to fault on, an even number (256)\n"
		"  --all-arrive  GPU faults count only if they brought all pages to the GPU\n"
		"  --managed     managed memory only, as where ordinary memory can't move\n"
		"  --runs        samples of each, 5 to %d (5)\n"
		"  --lane        the machine's name in the CSV lines (local)\n"
		"  --gpu         name, index, private, coherent or numa\n"
		"With --oversubscription: more memory in use than GPU 0 has; GPU 1 has room for it.\n"
		"With --hotset: a part of that, for GPUs that don't tell what they accessed.\n"
		"With --instructions: what calls cost, where the clock counts instructions\n",
		MAX_RUNS);
	return 2;
}

static int parse_size(const char *text, size_t *length)
{
	unsigned long mib = strtoul(text, NULL, 10);

	if (!mib || mib % 2 || mib > 1UL << 20)
		return -1;
	*length = mib << 20;
	return 0;
}

static int parse_option(int c)
{
	switch (c) {
	case 's':
		return parse_size(optarg, &opt.length);
	case 'S':
		return parse_size(optarg, &opt.gpu_length);
	case 'r':
		opt.runs = strtoul(optarg, NULL, 10);
		return 0;
	case 'l':
		opt.lane = optarg;
		return 0;
	case 'g':
		opt.gpu = optarg;
		return 0;
	case 'a':
		opt.all_arrive = true;
		return 0;
	case 'm':
		opt.managed = true;
		return 0;
	case 'i':
		opt.instructions = true;
		return 0;
	case 'o':
		opt.oversub = true;
		return 0;
	case 'h':
		opt.hotset = true;
		return 0;
	}
	return -1;
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "size", required_argument, NULL, 's' },
		{ "gpu-size", required_argument, NULL, 'S' },
		{ "all-arrive", no_argument, NULL, 'a' },
		{ "managed", no_argument, NULL, 'm' },
		{ "runs", required_argument, NULL, 'r' },
		{ "lane", required_argument, NULL, 'l' },
		{ "gpu", required_argument, NULL, 'g' },
		{ "instructions", no_argument, NULL, 'i' },
		{ "oversubscription", no_argument, NULL, 'o' },
		{ "hotset", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (parse_option(c))
			return -1;
	if (optind != argc || opt.runs < 5 || opt.runs > MAX_RUNS ||
	    strchr(opt.lane, ','))
		return -1;
	return 0;
}

static int run_oversub(void)
{
	const struct oversub_options options = {
		.lane = opt.lane,
		.runs = opt.runs,
		.suffix = opt.hotset ? "_no_accessed" : "",
		.hotset_only = opt.hotset,
		.has_aims = !opt.hotset,
	};

	pin();
	return measure_oversubscription(&options);
}

static int run_chosen(void)
{
	if (opt.instructions)
		return count_instructions(opt.lane, opt.gpu, opt.managed);
	return opt.oversub || opt.hotset ? run_oversub() : run();
}

int main(int argc, char **argv)
{
	int ret;

	if (parse(argc, argv))
		return usage();
	/* Lines appear as they are written, also in a guest's log. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	ret = run_chosen();
	dmirror_mover.close();
	uvm_mover.close();
	if (ret)
		printf("FAILED: no results\n");
	return ret ? 1 : 0;
}
