// SPDX-License-Identifier: MIT
/*
 * Slowdown against how much more memory is in use than the GPU has: what a byte takes
 * at each ratio, divided by what it takes in the same work on a GPU where all fits. Each
 * pattern goes through its memory before any time is taken.
 *
 * in_place is the streaming again, of system memory that the GPU uses where it is: no
 * memory of its own, no faults, nothing moved.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "oversub.h"

#define HOT_SHARE	4	/* a fourth of the GPU's memory is hot */
#define SLICE_SHARE	8
#define HOT_WARMUP	10
#define HOT_PASSES	8
#define PASSES		5
#define SLOW_PASSES	3
/* On fresh memory each, in turns with the other GPU. */
#define ROUNDS		3

static const double ratios[] = { 0.5, 0.75, 1, 1.25, 1.5, 2, 3, MAX_SWEEP };

enum pattern { STREAM, RANDOM, HOT_COLD, IN_PLACE, NR_PATTERNS };

static const char *const pattern_names[NR_PATTERNS] = {
	[STREAM] = "stream",
	[RANDOM] = "random",
	[HOT_COLD] = "hot_cold",
	[IN_PLACE] = "in_place",
};

/* Of a pass: the median rate, and the mean of what else is known. */
struct point {
	double rate;		/* MiB/s */
	struct pass pass;
};

static void take_median(struct series *seconds, size_t length, struct point *out)
{
	series_sort(seconds);
	out->rate = length / MIB / series_median(seconds);
}

static void add_pass(struct pass *sum, const struct pass *pass)
{
	sum->faults += pass->faults;
	sum->evictions.evicted += pass->evictions.evicted;
	sum->evictions.refaulted += pass->evictions.refaulted;
}

static void divide_pass(struct pass *sum, unsigned int count)
{
	sum->faults /= count;
	sum->evictions.evicted /= count;
	sum->evictions.refaulted /= count;
}

static int sweep_run(const struct oversub_run *run, struct point *out)
{
	size_t count = run->order == SHUFFLED ? SLOW_PASSES : PASSES;
	struct pass passes[1 + PASSES];
	struct series seconds = { 0 };
	int ret = oversub_run(run, passes, 1 + count);

	for (size_t i = 1; i <= count && !ret; i++) {
		add_pass(&out->pass, &passes[i]);
		ret = series_add(&seconds, passes[i].seconds);
	}
	if (!ret)
		take_median(&seconds, run->length, out);
	divide_pass(&out->pass, count);
	free(seconds.value);
	return ret;
}

static int hot_cold_pass(struct hotset *set, struct series *seconds,
			 struct point *out)
{
	struct hotset_pass pass = { 0 };

	if (hotset_pass(set, &pass))
		return -1;
	if (!out)
		return 0;
	add_pass(&out->pass, &pass.hot);
	add_pass(&out->pass, &pass.cold);
	return series_add(seconds, pass.hot.seconds + pass.cold.seconds);
}

static int sweep_hot_cold(enum page_mode mode, size_t memory, size_t length,
			  struct point *out)
{
	struct series seconds = { 0 };
	struct hotset set;
	int ret = 0;

	if (hotset_open(&set, mode, length, memory / HOT_SHARE, memory / SLICE_SHARE))
		return -1;
	for (size_t i = 0; i < HOT_WARMUP && !ret; i++)
		ret = hot_cold_pass(&set, NULL, NULL);
	for (size_t i = 0; i < HOT_PASSES && !ret; i++)
		ret = hot_cold_pass(&set, &seconds, out);
	if (hotset_close(&set))
		ret = -1;
	if (!ret)
		take_median(&seconds, set.hot_length + set.slice, out);
	divide_pass(&out->pass, HOT_PASSES);
	free(seconds.value);
	return ret;
}

static int sweep_point(enum pattern pattern, enum page_mode mode, size_t memory,
		       double ratio, enum which_gpu which, struct point *out)
{
	const struct oversub_run run = {
		.mode = mode,
		.order = pattern == RANDOM ? SHUFFLED : IN_ORDER,
		.in_place = pattern == IN_PLACE && which == SMALL,
		.length = memory * ratio,
	};

	if (oversub_use(which))
		return -1;
	if (pattern == HOT_COLD)
		return sweep_hot_cold(mode, memory, run.length, out);
	return sweep_run(&run, out);
}

static void print_point(enum pattern pattern, enum page_mode mode, double ratio,
			double rate, double fits, const struct pass *pass)
{
	printf("SWEEP,%s,%s,%.2f,%.1f,%.1f,%.3f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
	       pattern_names[pattern], mode == MODE_4K ? "4k" : "thp", ratio, rate,
	       fits, fits / rate, pass->faults, pass->evictions.evicted,
	       pass->evictions.refaulted);
}

/* What is counted is that of the last round. */
static int sweep_ratio(enum pattern pattern, enum page_mode mode, size_t memory,
		       double ratio)
{
	struct series rates[] = { [SMALL] = { 0 }, [LARGE] = { 0 } };
	struct point point[] = { [SMALL] = { 0 }, [LARGE] = { 0 } };
	int ret = 0;

	for (int i = 0; i < 2 * ROUNDS && !ret; i++) {
		enum which_gpu which = i % 2 ? SMALL : LARGE;

		point[which] = (struct point){ 0 };
		ret = sweep_point(pattern, mode, memory, ratio, which, &point[which]) ||
		      series_add(&rates[which], point[which].rate);
	}
	if (!ret) {
		series_sort(&rates[SMALL]);
		series_sort(&rates[LARGE]);
		print_point(pattern, mode, ratio, series_median(&rates[SMALL]),
			    series_median(&rates[LARGE]), &point[SMALL].pass);
	}
	free(rates[SMALL].value);
	free(rates[LARGE].value);
	return ret;
}

static int sweep_pattern(enum pattern pattern, enum page_mode mode, size_t memory)
{
	for (size_t i = 0; i < ARRAY_SIZE(ratios); i++)
		if (sweep_ratio(pattern, mode, memory, ratios[i]))
			return -1;
	return 0;
}

int oversub_sweep(const bool mode_works[NR_MODES], size_t memory)
{
	for (int mode = 0; mode < NR_MODES; mode++)
		for (int pattern = 0; mode_works[mode] && pattern < NR_PATTERNS; pattern++)
			if (sweep_pattern(pattern, mode, memory))
				return -1;
	return 0;
}
