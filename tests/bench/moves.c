// SPDX-License-Identifier: MIT
/*
 * What it costs to move 2 MiB, as one huge page and as single pages, by UVM_MIGRATE;
 * all of it, and without the engine's copying, which is the same for both.
 */
#include <stdio.h>

#include "bench.h"

#define WARMUP		2
#define SAMPLES		10

static int add(struct move_costs *out, enum way way, double cost, double copying)
{
	if (series_add(&out->whole[way], cost))
		return -1;
	return series_add(&out->uncopied[way], cost - copying);
}

static int take_sample(enum page_mode mode, struct move_costs *out, bool keep)
{
	uint64_t copied[1 + NR_WAYS];
	double cost[NR_WAYS];
	struct buffer buf;
	int ret = -1;

	if (buffer_alloc(&buf, mode, HUGE_SIZE))
		return -1;
	if (mode == MODE_THP && buffer_huge_bytes(&buf) < HUGE_SIZE) {
		printf("note: no huge page to move\n");
		keep = false;
	}
	copied[0] = ours_stat("copy_ns");
	cost[THERE] = uvm_mover.to_device(&buf);
	copied[1] = ours_stat("copy_ns");
	cost[BACK] = uvm_mover.to_system(&buf);
	copied[2] = ours_stat("copy_ns");
	if (cost[THERE] >= 0 && cost[BACK] >= 0)
		ret = buffer_verify(&buf, "moved");
	for (int way = 0; way < NR_WAYS && keep && !ret; way++)
		ret = add(out, way, cost[way], copied[way + 1] - copied[way]);
	buffer_free(&buf);
	return ret;
}

int moves_take(enum page_mode mode, double (*clock)(void), struct move_costs *out)
{
	int ret = 0;

	ours_set_clock(clock);
	for (int i = 0; i < WARMUP + SAMPLES && !ret; i++)
		ret = take_sample(mode, out, i >= WARMUP);
	ours_set_clock(seconds_now);
	for (int way = 0; way < NR_WAYS; way++) {
		series_sort(&out->whole[way]);
		series_sort(&out->uncopied[way]);
	}
	return ret;
}
