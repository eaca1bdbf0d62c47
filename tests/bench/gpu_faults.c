// SPDX-License-Identifier: MIT
/*
 * GPU faults. One channel runs UVM_SIM_SUM over memory that the GPU has not seen:
 * in order, page by page in random order, or on single pages far from each other.
 *
 * Sums go to memory of their own. It is mapped for the GPU before any time is
 * taken, and the CPU doesn't look at it until that is over, so it has no faults.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libuvm/uvm_sim.h>

#include "bench.h"

#define NO_SUM			0xff
/* Every second block: neither a neighbour nor the way to it is any help. */
#define ISOLATED_LENGTH		((size_t)128 << 20)
#define ISOLATED_STEP		(2 * HUGE_SIZE)
#define ISOLATED_SPOTS		(ISOLATED_LENGTH / ISOLATED_STEP)
/* The first ones find caches cold that the others don't. */
#define ISOLATED_WARMUP		2

static struct buffer sums;

static uint64_t *sum_of(size_t i)
{
	return (uint64_t *)sums.base + i;
}

static uint64_t cpu_sum(const void *data, size_t length)
{
	const uint64_t *word = data;
	uint64_t sum = 0;

	for (size_t i = 0; i < length / 8; i++)
		sum += word[i];
	return sum;
}

static void shuffle(uint8_t **at, size_t count, uint64_t seed)
{
	for (size_t i = count; i > 1; i--) {
		size_t j = uvm_sim_keystream(seed, i) % i;
		uint8_t *other = at[i - 1];

		at[i - 1] = at[j];
		at[j] = other;
	}
}

void gpu_work_free(struct gpu_work *work)
{
	free(work->at);
	free(work->want);
	free(work->cmds);
}

int gpu_work_make(struct gpu_work *work, const struct buffer *buf, size_t piece,
		  bool shuffled)
{
	size_t count = buf->length / piece;

	work->piece = piece;
	work->count = count;
	work->at = calloc(count, sizeof(*work->at));
	work->want = calloc(count, sizeof(*work->want));
	work->cmds = calloc(count, sizeof(*work->cmds));
	if (!work->at || !work->want || !work->cmds) {
		fprintf(stderr, "uvm_bench: no memory for %zu commands\n", count);
		gpu_work_free(work);
		return -1;
	}
	for (size_t i = 0; i < count; i++)
		work->at[i] = buf->base + i * piece;
	if (shuffled)
		shuffle(work->at, count, buf->seed);
	for (size_t i = 0; i < count; i++) {
		work->want[i] = cpu_sum(work->at[i], piece);
		work->cmds[i] = uvm_sim_sum(sum_of(i), work->at[i], piece);
	}
	return 0;
}

/* The GPU does it, and so has it mapped. */
static int clear_sums(void)
{
	struct uvm_sim_cmd cmd = uvm_sim_fill(sums.base, NO_SUM, sums.length);

	return ours_run(&cmd, 1);
}

static int check_sum(const uint8_t *at, uint64_t is, uint64_t want)
{
	if (is == want)
		return 0;
	fprintf(stderr,
		"uvm_bench: WRONG SUM: the GPU found %#" PRIx64 " instead of %#" PRIx64 " at %p\n",
		is, want, (const void *)at);
	return -1;
}

int gpu_work_run(const struct gpu_work *work, double *seconds, uint64_t *faults)
{
	uint64_t before;
	double start;

	if (clear_sums())
		return -1;
	before = ours_stat("faults");
	start = seconds_now();
	if (ours_run(work->cmds, work->count))
		return -1;
	*seconds = seconds_now() - start;
	*faults = ours_stat("faults") - before;
	for (size_t i = 0; i < work->count; i++)
		if (check_sum(work->at[i], *sum_of(i), work->want[i]))
			return -1;
	return 0;
}

/* Room for the sums of @length bytes. */
int gpu_faults_open(size_t length)
{
	size_t room = length / page_size() * sizeof(uint64_t);

	room = (room + page_size() - 1) & ~(page_size() - 1);
	if (ours_open_channel() || buffer_map(&sums, MODE_4K, room))
		return -1;
	return 0;
}

void gpu_faults_close(void)
{
	buffer_free(&sums);
}

int gpu_faults_sums_at_home(void)
{
	return ours_use_in_place(&sums);
}

int gpu_faults_run(const struct buffer *buf, enum gpu_order order,
		   struct gpu_run *run)
{
	size_t piece = order == IN_ORDER ? HUGE_SIZE : page_size();
	uint64_t more_faults;
	struct gpu_work work;
	int ret = -1;

	if (gpu_work_make(&work, buf, piece, order == SHUFFLED))
		return -1;
	run->pages = buf->length / page_size();
	if (gpu_work_run(&work, &run->seconds, &run->faults) ||
	    ours_arrived(buf, &run->arrived) ||
	    gpu_work_run(&work, &run->again, &more_faults))
		goto out;
	ret = buffer_verify(buf, "after GPU faults");
out:
	gpu_work_free(&work);
	return ret;
}

/*
 * One access at a time
 */

/* A page somewhere in each block, the blocks in random order. */
static void choose_spots(uint8_t **at, const struct buffer *buf)
{
	for (size_t i = 0; i < ISOLATED_SPOTS; i++) {
		size_t page = uvm_sim_keystream(~buf->seed, i) %
			      (HUGE_SIZE / page_size());

		at[i] = buf->base + i * ISOLATED_STEP + page * page_size();
	}
	shuffle(at, ISOLATED_SPOTS, buf->seed);
}

static int gpu_access(uint8_t *at, size_t slot)
{
	struct uvm_sim_cmd cmd = uvm_sim_sum(sum_of(slot), at, page_size());

	return ours_run(&cmd, 1);
}

static int cpu_access(uint8_t *at, size_t slot)
{
	__atomic_store_n(at, slot, __ATOMIC_RELAXED);
	return 0;
}

/* Each twice: the second time there is no fault, so that the rest cancels out. */
static int take_isolated(uint8_t **at, double (*clock)(void),
			 int (*access)(uint8_t *at, size_t slot),
			 struct series *cost)
{
	double start, first, second;

	for (size_t i = 0; i < ISOLATED_SPOTS; i++) {
		start = clock();
		if (access(at[i], 2 * i))
			return -1;
		first = clock() - start;
		start = clock();
		if (access(at[i], 2 * i + 1))
			return -1;
		second = clock() - start;
		if (i >= ISOLATED_WARMUP && series_add(cost, first - second))
			return -1;
	}
	series_sort(cost);
	return 0;
}

static int check_isolated(uint8_t **at, const struct buffer *buf)
{
	for (size_t i = 0; i < ISOLATED_SPOTS; i++) {
		uint64_t want = cpu_sum(at[i], page_size());

		if (check_sum(at[i], *sum_of(2 * i), want) ||
		    check_sum(at[i], *sum_of(2 * i + 1), want))
			return -1;
	}
	return buffer_verify(buf, "after isolated GPU faults");
}

int gpu_faults_isolated(enum page_mode mode, double (*clock)(void),
			struct gpu_isolated *out)
{
	uint8_t *at[ISOLATED_SPOTS];
	struct buffer buf;
	int ret = -1;

	if (buffer_alloc(&buf, mode, ISOLATED_LENGTH))
		return -1;
	if (mode == MODE_THP && buffer_huge_bytes(&buf) < buf.length)
		printf("note: isolated faults: not all of the memory came as huge pages\n");
	choose_spots(at, &buf);
	if (clear_sums())
		goto out;
	out->accesses = ISOLATED_SPOTS;
	out->faults = ours_stat("faults");
	if (take_isolated(at, clock, gpu_access, &out->cost))
		goto out;
	out->faults = ours_stat("faults") - out->faults;
	if (!ours_arrived(&buf, &out->arrived))
		ret = check_isolated(at, &buf);
out:
	buffer_free(&buf);
	return ret;
}

int cpu_faults_isolated(enum page_mode mode, double (*clock)(void),
			struct series *cost)
{
	uint8_t *at[ISOLATED_SPOTS];
	struct buffer buf;
	int ret;

	if (buffer_map(&buf, mode, ISOLATED_LENGTH))
		return -1;
	choose_spots(at, &buf);
	ret = take_isolated(at, clock, cpu_access, cost);
	buffer_free(&buf);
	return ret;
}
