// SPDX-License-Identifier: MIT
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/uvm_sim.h>

#include "bench.h"

size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Lengths are multiples of 8, and so is the alignment. */
static void pattern_fill(void *data, size_t length, uint64_t seed)
{
	uint64_t *word = data;

	for (size_t i = 0; i < length / 8; i++)
		word[i] = uvm_sim_keystream(seed, i);
}

int pattern_verify(const void *data, size_t length, uint64_t seed,
		   const char *whose)
{
	const uint64_t *word = data;

	for (size_t i = 0; i < length / 8; i++) {
		if (word[i] == uvm_sim_keystream(seed, i))
			continue;
		fprintf(stderr,
			"uvm_bench: %s: WRONG DATA at offset %#zx: %#" PRIx64 " instead of %#" PRIx64 "\n",
			whose, i * 8, word[i],
			(uint64_t)uvm_sim_keystream(seed, i));
		return -1;
	}
	return 0;
}

int buffer_verify(const struct buffer *buf, const char *whose)
{
	return pattern_verify(buf->base, buf->length, buf->seed, whose);
}

int buffer_map(struct buffer *buf, enum page_mode mode, size_t length)
{
	static uint64_t seed;
	uint8_t *map, *end;

	map = mmap(NULL, length + HUGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED) {
		fprintf(stderr,
			"uvm_bench: no memory for %zu MiB: choose a smaller --size\n",
			length >> 20);
		return -1;
	}

	/* Cut it to the aligned part. */
	end = map + length + HUGE_SIZE;
	buf->base = (void *)(((uintptr_t)map + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	buf->length = length;
	buf->seed = ++seed;
	if (buf->base != map)
		munmap(map, buf->base - map);
	if (buf->base + length != end)
		munmap(buf->base + length, end - buf->base - length);

	if (mode == MODE_MANAGED)
		return ours_managed_at(buf->base, length);
	/* Fails where the kernel has no THP: then there are none to avoid. */
	madvise(buf->base, length,
		mode == MODE_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return 0;
}

int buffer_alloc(struct buffer *buf, enum page_mode mode, size_t length)
{
	if (buffer_map(buf, mode, length))
		return -1;
	pattern_fill(buf->base, length, buf->seed);
	return 0;
}

void buffer_free(struct buffer *buf)
{
	munmap(buf->base, buf->length);
}

void buffer_touch(const struct buffer *buf)
{
	size_t step = page_size();

	for (size_t at = 0; at < buf->length; at += step)
		(void)__atomic_load_n(buf->base + at, __ATOMIC_RELAXED);
}

size_t buffer_huge_bytes(const struct buffer *buf)
{
	uintptr_t first = (uintptr_t)buf->base, start, end;
	bool inside = false;
	size_t sum = 0, kib;
	char line[512];
	FILE *file;

	file = fopen("/proc/self/smaps", "re");
	if (!file)
		return 0;
	/* Neighbours of the same kind may have been merged with it. */
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
			inside = start < first + buf->length && end > first;
		else if (inside &&
			 sscanf(line, "AnonHugePages: %zu kB", &kib) == 1)
			sum += kib << 10;
	}
	fclose(file);
	return sum;
}
