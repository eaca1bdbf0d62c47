/* SPDX-License-Identifier: MIT */
#ifndef _UVM_BENCH_H
#define _UVM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HUGE_SIZE	((size_t)2 << 20)
#define DMIRROR_DEVICE	"/dev/hmm_dmirror0"
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

enum page_mode { MODE_4K, MODE_THP, NR_MODES };

/*
 * Buffers: anonymous memory full of a pattern that only @seed tells.
 */
struct buffer {
	uint8_t *base;
	size_t length;
	uint64_t seed;
};

/* 2 MiB aligned, populated. */
int buffer_alloc(struct buffer *buf, enum page_mode mode, size_t length);
void buffer_free(struct buffer *buf);
/* Reads one byte of every page; that is what faults pages back. */
void buffer_touch(const struct buffer *buf);
/* 0, or -1 after telling which byte of whose is wrong. */
int buffer_verify(const struct buffer *buf, const char *whose);
int pattern_verify(const void *data, size_t length, uint64_t seed,
		   const char *whose);
/* Bytes of it that are on transparent huge pages. */
size_t buffer_huge_bytes(const struct buffer *buf);

size_t page_size(void);
double seconds_now(void);

/*
 * Movers: whoever moves pages to a device's memory and back. A call returns the
 * seconds that the moving took, or a negative value after saying why it failed.
 * Checks are outside of that time.
 */
struct mover {
	const char *name;
	/* 1 ready, 0 not there (said why), -1 failed (said why). */
	int (*open)(const char *arg, size_t *length);
	/* Around each sample; may be NULL. 0, or -1 after saying why. */
	int (*begin)(void);
	void (*end)(void);
	double (*to_device)(const struct buffer *buf);
	double (*to_system)(const struct buffer *buf);
	/* Does a CPU access bring the pages back? */
	bool (*faults_back)(void);
	/* 0 if the buffer is in system memory, as it must be after the touch. */
	int (*check_home)(const struct buffer *buf);
	void (*close)(void);
};

extern const struct mover uvm_mover;
extern const struct mover dmirror_mover;

/* move_pages(2) between two nodes; as the calls above. */
int move_pages_open(void);
double move_pages_run(const struct buffer *buf, enum page_mode mode);

/*
 * Samples of one thing. The lines about them want them sorted; those that begin
 * with "CSV," are for programs.
 */
struct series {
	double *value;
	unsigned int count, room;
};

int series_add(struct series *s, double value);
void series_sort(struct series *s);
double series_median(const struct series *s);
void print_head(const char *unit);
void print_row(bool csv, const char *lane, const char *unit, const char *metric,
	       const char *peer, const struct series *ours,
	       const struct series *theirs);

/* The other benchmark: what calls cost, in instructions. 0, or -1 (said why). */
int count_instructions(const char *lane, const char *gpu);

#endif /* _UVM_BENCH_H */
