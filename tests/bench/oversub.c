// SPDX-License-Identifier: MIT
/*
 * More memory in use than the GPU has.
 *
 * One channel sums memory, twice the GPU's: in order, or page by page in random
 * order; the first time when nothing of it is there, the second time right after.
 * Bytes are those that were summed, and each sum is compared with the CPU's. The peer
 * is one copy engine alone, from migrations of memory that fits, in the same boot.
 *
 * And with a hot set that fits: what is used again and again must stay, while the GPU
 * streams through the rest. The peer is the same work on a GPU with memory enough; and
 * once more on that one, with the rest brought home before it is used. So the same bytes
 * go through the machine's caches just before the hot set is used, and nothing is evicted.
 *
 * Sums are in system memory, where the GPU leaves them, so that all of its memory is
 * there for what is measured.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oversub.h"

#define HOT_SHARE	2	/* a half of the GPU's memory is hot */
#define SLICE_SHARE	8
#define HOT_WARMUP	16
#define HOT_PASSES	8

enum metric {
	ENGINE, STREAM_1ST, STREAM_2ND, RANDOM_1ST, RANDOM_2ND, IN_PLACE,
	HOT, HOT_FITS, HOT_COPIES, HOT_REFAULTS, HOT_IN_PLACE, HOT_PAGES, NR_METRICS
};

/* MiB/s, or pages */
static struct series results[NR_MODES][NR_METRICS];
static struct series faults[NR_MODES][NR_METRICS];
static struct series evicted[NR_MODES][NR_METRICS];
static struct series refaulted[NR_MODES][NR_METRICS];
static struct series refaults[NR_MODES][HOT_PASSES];
static bool mode_works[NR_MODES] = { true, true };
static struct oversub_options opt;
static bool has_evictions;
/* The small GPU's memory: whole blocks. */
static size_t memory;
static const char *const gpu_names[] = { [SMALL] = "0", [LARGE] = "1" };
static enum which_gpu used;

/*
 * Runs
 */

static void pass_begin(struct pass *pass)
{
	ours_evictions(&pass->evictions);
}

static void pass_end(struct pass *pass)
{
	struct evictions now;

	ours_evictions(&now);
	pass->evictions.evicted = now.evicted - pass->evictions.evicted;
	pass->evictions.refaulted = now.refaulted - pass->evictions.refaulted;
}

static int run_pass(const struct gpu_work *work, struct pass *pass)
{
	int ret;

	pass_begin(pass);
	ret = gpu_work_run(work, &pass->seconds, &pass->faults);
	pass_end(pass);
	return ret;
}

static int run_passes(const struct oversub_run *run, const struct buffer *buf,
		      struct pass *passes, size_t count)
{
	size_t piece = run->order == IN_ORDER ? HUGE_SIZE : page_size();
	struct gpu_work work;
	int ret = 0;

	if (gpu_work_make(&work, buf, piece, run->order == SHUFFLED))
		return -1;
	for (size_t i = 0; i < count && !ret; i++)
		ret = run_pass(&work, &passes[i]);
	gpu_work_free(&work);
	return ret ? ret : buffer_verify(buf, "oversubscribed");
}

int oversub_run(const struct oversub_run *run, struct pass *passes, size_t count)
{
	struct buffer buf;
	int ret = 0;

	if (buffer_alloc(&buf, run->mode, run->length))
		return -1;
	if (run->in_place)
		ret = ours_use_in_place(&buf);
	if (!ret)
		ret = run_passes(run, &buf, passes, count);
	buffer_free(&buf);
	return ret;
}

static struct buffer part_of(const struct buffer *buf, size_t start, size_t length)
{
	return (struct buffer){
		.base = buf->base + start,
		.length = length,
		.seed = buf->seed,
	};
}

static int make_cold(struct hotset *set)
{
	for (size_t i = 0; i < set->nr_cold; i++) {
		struct buffer part = part_of(&set->buf,
					     set->hot_length + i * set->slice,
					     set->slice);

		if (gpu_work_make(&set->cold[i], &part, HUGE_SIZE, false))
			return -1;
	}
	return 0;
}

static void hotset_free(struct hotset *set)
{
	gpu_work_free(&set->hot);
	for (size_t i = 0; set->cold && i < set->nr_cold; i++)
		gpu_work_free(&set->cold[i]);
	free(set->cold);
	buffer_free(&set->buf);
}

int hotset_open(struct hotset *set, enum page_mode mode, size_t length, size_t hot,
		size_t slice)
{
	struct buffer part;

	*set = (struct hotset){ .hot_length = hot, .slice = slice };
	set->nr_cold = (length - hot) / slice;
	if (buffer_alloc(&set->buf, mode, length))
		return -1;
	set->cold = calloc(set->nr_cold, sizeof(*set->cold));
	part = part_of(&set->buf, 0, hot);
	if (set->cold && !gpu_work_make(&set->hot, &part, HUGE_SIZE, false) &&
	    !make_cold(set))
		return 0;
	fprintf(stderr, "uvm_bench: no memory for a hot set\n");
	hotset_free(set);
	return -1;
}

/* The next slice of the cold rest. */
static int cold_pass(struct hotset *set, struct pass *pass)
{
	size_t i = set->next++ % set->nr_cold;
	struct buffer slice = part_of(&set->buf, set->hot_length + i * set->slice,
				      set->slice);

	if (set->copies && uvm_mover.to_system(&slice) < 0)
		return -1;
	return run_pass(&set->cold[i], pass);
}

int hotset_pass(struct hotset *set, struct hotset_pass *pass)
{
	struct buffer hot = part_of(&set->buf, 0, set->hot_length);
	size_t there;

	if (ours_arrived(&hot, &there))
		return -1;
	pass->in_place = hot.length / page_size() - there;
	pass->refaulted = there < set->there ? set->there - there : 0;
	if (run_pass(&set->hot, &pass->hot) || ours_arrived(&hot, &set->there))
		return -1;
	if (pass->hot.evictions.refaulted > pass->refaulted)
		pass->refaulted = pass->hot.evictions.refaulted;
	return cold_pass(set, &pass->cold);
}

int hotset_close(struct hotset *set)
{
	int ret = buffer_verify(&set->buf, "hot set");

	hotset_free(set);
	return ret;
}

/*
 * Samples. The first round only warms up: @round is negative then.
 */

static int record(int round, enum page_mode mode, enum metric metric, size_t length,
		  const struct pass *pass)
{
	if (round < 0)
		return 0;
	if (series_add(&faults[mode][metric], pass->faults) ||
	    series_add(&evicted[mode][metric], pass->evictions.evicted) ||
	    series_add(&refaulted[mode][metric], pass->evictions.refaulted))
		return -1;
	return series_add(&results[mode][metric], length / MIB / pass->seconds);
}

static int sample_engine(int round, enum page_mode mode)
{
	struct pass pass = { 0 };
	struct buffer buf;
	int ret = 0;

	if (buffer_alloc(&buf, mode, memory / 2))
		return -1;
	if (uvm_mover.to_device(&buf) < 0 || buffer_verify(&buf, "engine"))
		ret = -1;
	pass.seconds = ours_engine_seconds();
	if (!ret && pass.seconds > 0)
		ret = record(round, mode, ENGINE, buf.length, &pass);
	buffer_free(&buf);
	return ret;
}

static int sample_order(int round, enum page_mode mode, enum gpu_order order)
{
	const struct oversub_run run = {
		.mode = mode, .order = order, .length = 2 * memory
	};
	enum metric first = order == IN_ORDER ? STREAM_1ST : RANDOM_1ST;
	struct pass passes[2];

	if (oversub_run(&run, passes, 2) ||
	    record(round, mode, first, run.length, &passes[0]))
		return -1;
	return record(round, mode, first + 1, run.length, &passes[1]);
}

static int sample_in_place(int round, enum page_mode mode)
{
	const struct oversub_run run = {
		.mode = mode, .order = IN_ORDER, .in_place = true,
		.length = 2 * memory
	};
	struct pass passes[2];

	if (oversub_run(&run, passes, 2))
		return -1;
	return record(round, mode, IN_PLACE, run.length, &passes[1]);
}

/* The median of the passes is the sample. */
static int record_hot(int round, enum page_mode mode, enum metric metric,
		      const struct hotset *set, const struct hotset_pass *passes)
{
	struct series seconds = { 0 };
	struct pass sum = { 0 };
	int ret = 0;

	for (size_t i = 0; i < HOT_PASSES && !ret; i++) {
		ret = series_add(&seconds, passes[i].hot.seconds);
		sum.faults += passes[i].hot.faults;
		sum.evictions.evicted += passes[i].hot.evictions.evicted +
					 passes[i].cold.evictions.evicted;
		sum.evictions.refaulted += passes[i].hot.evictions.refaulted;
	}
	if (!ret) {
		series_sort(&seconds);
		sum.seconds = series_median(&seconds);
		ret = record(round, mode, metric, set->hot_length, &sum);
	}
	free(seconds.value);
	return ret;
}

static int record_pages(int round, enum page_mode mode, const struct hotset *set,
			const struct hotset_pass *passes)
{
	size_t worst = 0, in_place = 0;

	if (round < 0)
		return 0;
	for (size_t i = 0; i < HOT_PASSES; i++) {
		if (passes[i].refaulted > worst)
			worst = passes[i].refaulted;
		if (passes[i].in_place > in_place)
			in_place = passes[i].in_place;
		if (series_add(&refaults[mode][i], passes[i].refaulted))
			return -1;
	}
	if (series_add(&results[mode][HOT_REFAULTS], worst) ||
	    series_add(&results[mode][HOT_IN_PLACE], in_place))
		return -1;
	return series_add(&results[mode][HOT_PAGES], set->hot_length / page_size());
}

static int run_hotset(struct hotset *set, struct hotset_pass *passes)
{
	struct hotset_pass warmup = { 0 };

	for (size_t i = 0; i < HOT_WARMUP; i++)
		if (hotset_pass(set, &warmup))
			return -1;
	for (size_t i = 0; i < HOT_PASSES; i++)
		if (hotset_pass(set, &passes[i]))
			return -1;
	return 0;
}

static int sample_hotset(int round, enum page_mode mode, enum metric metric)
{
	struct hotset_pass passes[HOT_PASSES] = { 0 };
	struct hotset set;
	int ret;

	if (oversub_use(metric == HOT ? SMALL : LARGE) ||
	    hotset_open(&set, mode, 2 * memory, memory / HOT_SHARE,
			memory / SLICE_SHARE))
		return -1;
	set.copies = metric == HOT_COPIES;
	ret = run_hotset(&set, passes);
	if (hotset_close(&set) || ret)
		return -1;
	if (metric == HOT && record_pages(round, mode, &set, passes))
		return -1;
	return record_hot(round, mode, metric, &set, passes);
}

static int sample_round(int round, enum page_mode mode)
{
	if (sample_hotset(round, mode, HOT_FITS) || sample_hotset(round, mode, HOT) ||
	    sample_hotset(round, mode, HOT_COPIES))
		return -1;
	if (opt.hotset_only)
		return 0;
	if (sample_engine(round, mode) || sample_in_place(round, mode))
		return -1;
	for (int order = 0; order < NR_ORDERS; order++)
		if (sample_order(round, mode, order))
			return -1;
	return 0;
}

/*
 * Results
 */

static const struct {
	const char *name;
	enum metric ours, theirs;
	const char *peer, *unit;
	double aim[NR_MODES];
} rows[] = {
	{ "oversub_2x_stream", STREAM_1ST, ENGINE, "engine", "MiB/s", { 0, 0.4 } },
	{ "oversub_2x_stream_2nd", STREAM_2ND, ENGINE, "engine", "MiB/s", { 0, 0.4 } },
	{ "oversub_2x_random", RANDOM_1ST, ENGINE, "engine", "MiB/s", { 0.1, 0.1 } },
	{ "oversub_2x_random_2nd", RANDOM_2ND, ENGINE, "engine", "MiB/s", { 0.1, 0.1 } },
	{ "oversub_2x_in_place", IN_PLACE, ENGINE, "engine", "MiB/s", { 0, 0 } },
	{ "hotset_2x", HOT, HOT_FITS, "in memory", "MiB/s", { 0.9, 0.9 } },
	{ "hotset_2x_copies", HOT, HOT_COPIES, "that copies", "MiB/s", { 0.9, 0.9 } },
	{ "hotset_2x_refaults", HOT_REFAULTS, HOT_PAGES, "hot pages", "pages",
	  { 0.01, 0.01 } },
	{ "hotset_2x_in_place", HOT_IN_PLACE, HOT_PAGES, "hot pages", "pages", { 0, 0 } },
};

static const char *row_name(size_t row, enum page_mode mode)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s%s%s", rows[row].name, opt.suffix,
		 mode == MODE_4K ? "_4k" : "");
	return name;
}

static void print_mode(bool csv, enum page_mode mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (opt.hotset_only && rows[i].theirs == ENGINE)
			continue;
		print_row(csv, opt.lane, &(struct row){
			.metric = row_name(i, mode),
			.unit = rows[i].unit,
			.peer = rows[i].peer,
			.ours = &results[mode][rows[i].ours],
			.theirs = &results[mode][rows[i].theirs],
			.aim = opt.has_aims ? rows[i].aim[mode] : 0,
		});
	}
}

static void print_evictions(enum page_mode mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		enum metric metric = rows[i].ours;

		if (!faults[mode][metric].count)
			continue;
		printf("%-34s %8.0f", row_name(i, mode),
		       series_median(&faults[mode][metric]));
		if (has_evictions)
			printf(" %8.0f %8.0f", series_median(&evicted[mode][metric]),
			       series_median(&refaulted[mode][metric]));
		printf("\n");
	}
}

static void print_refaults(enum page_mode mode)
{
	printf("refaults of hot pages in each pass%s:",
	       mode == MODE_4K ? ", 4 KiB" : "");
	for (size_t i = 0; i < HOT_PASSES; i++) {
		const struct series *s = &refaults[mode][i];

		printf(" %.0f", s->value[s->count - 1]);
	}
	printf(" (at most, in %u runs)\n", refaults[mode][0].count);
}

static void sort_results(void)
{
	for (int mode = 0; mode < NR_MODES; mode++) {
		for (int i = 0; i < NR_METRICS; i++) {
			series_sort(&results[mode][i]);
			series_sort(&faults[mode][i]);
			series_sort(&evicted[mode][i]);
			series_sort(&refaulted[mode][i]);
		}
		for (int i = 0; i < HOT_PASSES; i++)
			series_sort(&refaults[mode][i]);
	}
}

static void print_results(void)
{
	sort_results();
	print_head("MiB/s, or pages");
	for (int mode = 0; mode < NR_MODES; mode++)
		if (mode_works[mode])
			print_mode(false, mode);
	printf("\n%-34s %8s%s\n", "of each", "faults",
	       has_evictions ? "  evicted  came back, in pages" : "");
	for (int mode = 0; mode < NR_MODES; mode++)
		if (mode_works[mode])
			print_evictions(mode);
	for (int mode = 0; mode < NR_MODES; mode++)
		if (mode_works[mode])
			print_refaults(mode);
	printf("\n");
	for (int mode = 0; mode < NR_MODES; mode++)
		if (mode_works[mode])
			print_mode(true, mode);
}

/*
 * Set-up
 */

static int try_thp(size_t length)
{
	struct buffer buf;

	if (buffer_alloc(&buf, MODE_THP, length))
		return -1;
	mode_works[MODE_THP] = buffer_huge_bytes(&buf);
	buffer_free(&buf);
	if (!mode_works[MODE_THP])
		printf("skipped: rows with huge pages: this kernel gives none\n");
	return 0;
}

int oversub_use(enum which_gpu which)
{
	size_t length = SIZE_MAX;

	if (which == used)
		return 0;
	used = which;
	gpu_faults_close();
	if (ours_change_gpu(gpu_names[which], &length) ||
	    gpu_faults_open(MAX_SWEEP * memory) || gpu_faults_sums_at_home())
		return -1;
	return 0;
}

static int check_large(void)
{
	if (oversub_use(LARGE))
		return -1;
	if (ours_room(MAX_SWEEP * memory, 0) == MAX_SWEEP * memory)
		return 0;
	fprintf(stderr, "uvm_bench: GPU 1 must have %zu MiB of free memory\n",
		MAX_SWEEP * memory >> 20);
	return -1;
}

static int setup(void)
{
	const size_t step = SLICE_SHARE * HUGE_SIZE;
	struct evictions unused;

	memory = SIZE_MAX;
	if (uvm_mover.open(gpu_names[SMALL], &memory) <= 0)
		return -1;
	memory -= memory % step;
	if (!memory || memory > (size_t)1 << 30) {
		fprintf(stderr, "uvm_bench: give GPU 0 16 to 1024 MiB of free memory\n");
		return -1;
	}
	has_evictions = ours_evictions(&unused);
	if (gpu_faults_open(MAX_SWEEP * memory) || gpu_faults_sums_at_home() ||
	    check_large())
		return -1;
	return try_thp(2 * memory);
}

int measure_oversubscription(const struct oversub_options *options)
{
	opt = *options;
	if (setup())
		return -1;
	printf("the GPU has %zu MiB, %u runs\n", memory >> 20, opt.runs);
	for (int round = -1; round < (int)opt.runs; round++) {
		for (int mode = 0; mode < NR_MODES; mode++)
			if (mode_works[mode] && sample_round(round, mode))
				return -1;
		fprintf(stderr, "uvm_bench: round %d of %u done\n", round + 1,
			opt.runs);
	}
	print_results();
	return opt.hotset_only ? 0 : oversub_sweep(mode_works, memory);
}
