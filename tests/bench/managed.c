// SPDX-License-Identifier: MIT
/*
 * Managed memory: what the CPU's first touches cost next to anonymous memory's, what it
 * costs to have some while there is much of it, and what copies of it are good for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

#define WARMUP		2
#define TOUCH_SAMPLES	20
#define ALLOC_SIZE	((size_t)64 << 10)
#define ALLOC_SAMPLES	200
#define READ_ROUNDS	4

int touch_take(enum page_mode mode, double (*clock)(void), struct series *cost)
{
	struct buffer buf;
	double start;
	int ret = 0;

	for (int i = 0; i < WARMUP + TOUCH_SAMPLES && !ret; i++) {
		if (buffer_map(&buf, mode, HUGE_SIZE))
			return -1;
		start = clock();
		for (size_t at = 0; at < buf.length; at += page_size())
			__atomic_store_n(buf.base + at, 1, __ATOMIC_RELAXED);
		start = clock() - start;
		if (i >= WARMUP)
			ret = series_add(cost, start);
		buffer_free(&buf);
	}
	series_sort(cost);
	return ret;
}

static int anonymous_at(uint8_t *p)
{
	if (mmap(p, ALLOC_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p)
		return 0;
	perror("uvm_bench: no anonymous memory");
	return -1;
}

/* Of anonymous memory a page is left out, or core would make one mapping of all. */
static size_t reserved(bool managed)
{
	return ALLOC_SIZE + (managed ? 0 : page_size());
}

/* As the library does it: addresses first, then the memory; and it is used. */
static uint8_t *alloc_one(bool managed)
{
	uint8_t *p = mmap(NULL, reserved(managed), PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("uvm_bench: no addresses");
		return NULL;
	}
	if (managed ? ours_managed_at(p, ALLOC_SIZE) : anonymous_at(p))
		return NULL;
	__atomic_store_n(p, 1, __ATOMIC_RELAXED);
	return p;
}

static int take_alloc(bool managed, double (*clock)(void), struct alloc_costs *out,
		      bool keep)
{
	double start, there, gone;
	uint8_t *p;

	start = clock();
	p = alloc_one(managed);
	there = clock();
	if (!p)
		return -1;
	munmap(p, reserved(managed));
	gone = clock();
	if (!keep)
		return 0;
	return series_add(&out->alloc, there - start) ||
	       series_add(&out->free, gone - there) ? -1 : 0;
}

int alloc_take(bool managed, size_t live, double (*clock)(void), struct alloc_costs *out)
{
	uint8_t **at = calloc(live + 1, sizeof(*at));
	size_t there;
	int ret = 0;

	if (!at) {
		fprintf(stderr, "uvm_bench: no memory for %zu allocations\n", live);
		return -1;
	}
	for (there = 0; there < live && !ret; there++) {
		at[there] = alloc_one(managed);
		ret = at[there] ? 0 : -1;
	}
	for (int i = 0; i < ALLOC_SAMPLES + ALLOC_SAMPLES / 10 && !ret; i++)
		ret = take_alloc(managed, clock, out, i >= ALLOC_SAMPLES / 10);
	while (there--)
		if (at[there])
			munmap(at[there], reserved(managed));
	free(at);
	series_sort(&out->alloc);
	series_sort(&out->free);
	return ret;
}

static int read_by_both(const struct gpu_work *work, const struct buffer *buf)
{
	double seconds;
	uint64_t faults;

	if (gpu_work_run(work, &seconds, &faults))
		return -1;
	return buffer_verify(buf, "after reads in turn");
}

int managed_readers_take(size_t length, bool copies, double *seconds)
{
	struct gpu_work work;
	struct buffer buf;
	double start;
	int ret = 0;

	if (buffer_alloc(&buf, MODE_MANAGED, length))
		return -1;
	if (copies && ours_read_mostly(&buf))
		goto fail;
	if (gpu_work_make(&work, &buf, HUGE_SIZE, false))
		goto fail;
	/* the first one brings the copies */
	ret = read_by_both(&work, &buf);
	start = seconds_now();
	for (int i = 0; i < READ_ROUNDS && !ret; i++)
		ret = read_by_both(&work, &buf);
	*seconds = (seconds_now() - start) / READ_ROUNDS;
	gpu_work_free(&work);
	buffer_free(&buf);
	return ret;
fail:
	buffer_free(&buf);
	return -1;
}
