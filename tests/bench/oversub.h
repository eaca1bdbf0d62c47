/* SPDX-License-Identifier: MIT */
#ifndef _UVM_BENCH_OVERSUB_H
#define _UVM_BENCH_OVERSUB_H

#include "bench.h"

/* What becomes of a buffer while the GPU works on it. */
struct pass {
	double seconds;
	uint64_t faults;
	struct evictions evictions;
};

/*
 * The GPU sums @length bytes of fresh memory @count times, in blocks in order or in
 * pages in random order. @in_place: where they are, with none of its own memory.
 */
struct oversub_run {
	enum page_mode mode;
	enum gpu_order order;
	bool in_place;
	size_t length;
};

int oversub_run(const struct oversub_run *run, struct pass *passes, size_t count);

/*
 * Memory of which the GPU uses @hot bytes again and again. Between two such passes it
 * streams a slice of the cold rest, the next one each time.
 */
struct hotset {
	struct buffer buf;
	struct gpu_work hot, *cold;
	size_t nr_cold, next;
	size_t hot_length, slice;
	bool copies;		/* a slice is brought home before it is used */
	size_t there;		/* hot pages in the GPU's memory after the last pass */
};

/*
 * Hot pages: @in_place: weren't in the GPU's memory before they were used; @refaulted:
 * had to come back to it, or had been driven out of it since the last pass.
 */
struct hotset_pass {
	struct pass hot, cold;
	size_t in_place, refaulted;
};

/* @length has room for a slice, or more. */
int hotset_open(struct hotset *set, enum page_mode mode, size_t length, size_t hot,
		size_t slice);
int hotset_pass(struct hotset *set, struct hotset_pass *pass);
/* Checks every byte first. */
int hotset_close(struct hotset *set);

/* The GPU whose memory runs out, or the one that has room for everything. */
enum which_gpu { SMALL, LARGE };

int oversub_use(enum which_gpu which);

/* Slowdown against the ratio of memory in use to the GPU's; lines after "SWEEP,". */
int oversub_sweep(const bool mode_works[NR_MODES], size_t memory);
#define MAX_SWEEP	4

#endif /* _UVM_BENCH_OVERSUB_H */
