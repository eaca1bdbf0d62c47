/* SPDX-License-Identifier: MIT */
#ifndef _UVM_BENCH_H
#define _UVM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HUGE_SIZE	((size_t)2 << 20)
#define MIB		(1024.0 * 1024.0)
#define DMIRROR_DEVICE	"/dev/hmm_dmirror0"
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* The last one is memory of the driver under test: managed memory. */
enum page_mode { MODE_4K, MODE_THP, MODE_MANAGED, NR_MODES };

/*
 * Buffers: anonymous memory full of a pattern that only @seed tells.
 */
struct buffer {
	uint8_t *base;
	size_t length;
	uint64_t seed;
};

/* 2 MiB aligned; nothing is there yet. */
int buffer_map(struct buffer *buf, enum page_mode mode, size_t length);
/* The same, full of its pattern. */
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
 * Samples of one thing; most of what looks at them wants them sorted.
 */
struct series {
	double *value;
	unsigned int count, room;
};

int series_add(struct series *s, double value);
void series_sort(struct series *s);
double series_median(const struct series *s);

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

/*
 * More of the driver under test, once its mover is open. 0, or -1 after saying why.
 */
struct uvm_sim_cmd;

/* Another GPU in place of the one that is open: channels and policies are gone. */
int ours_change_gpu(const char *which, size_t *length);
/* Whole 2 MiB, at most @length, that fit into the GPU's memory next to @spare. */
size_t ours_room(size_t length, size_t spare);
int ours_open_channel(void);
/* This driver has managed memory, and moves it. False once it was said why not. */
bool ours_manages(void);
/* Managed memory in place of what is there: 0 or -1. */
int ours_managed_at(void *at, size_t length);
/* Whoever reads it may have a copy. */
int ours_read_mostly(const struct buffer *buf);
/* Returns when the last of the commands is complete. */
int ours_run(const struct uvm_sim_cmd *cmds, size_t count);
/* The GPU uses it where it is, in system memory. */
int ours_use_in_place(const struct buffer *buf);
/* What moving takes is read off another clock than seconds_now(). */
void ours_set_clock(double (*clock)(void));
/* Pages that were evicted from the GPU's memory, and came back after it, so far. */
struct evictions {
	uint64_t evicted, refaulted;
};

/* False, and zeroes, if this driver doesn't tell. */
bool ours_evictions(struct evictions *out);
/* How many pages of it are in the GPU's memory. */
int ours_arrived(const struct buffer *buf, size_t *pages);
/* A counter of the software GPU; 0 where there is no debugfs. */
uint64_t ours_stat(const char *name);
/* What one copy engine needs for a buffer as the last to_device() had it; or 0. */
double ours_engine_seconds(void);

/*
 * GPU faults: the GPU adds up words that are in system memory, through its own page
 * tables. Its sums are checked against the CPU's, and the words afterwards.
 */
enum gpu_order { IN_ORDER, SHUFFLED, NR_ORDERS };

struct gpu_run {
	double seconds;
	double again;		/* the same, after all is mapped */
	size_t pages, arrived;	/* @arrived: in the GPU's memory then */
	uint64_t faults;
};

/* What one access costs, on each of many pages that are far apart. */
struct gpu_isolated {
	struct series cost;
	size_t accesses, arrived;
	uint64_t faults;
};

/* @count pieces of a buffer, in the order in which the GPU adds them up. */
struct gpu_work {
	size_t piece, count;
	uint8_t **at;
	uint64_t *want;
	struct uvm_sim_cmd *cmds;
};

/* Once, before the others: @length of the largest buffer to come. */
int gpu_faults_open(size_t length);
void gpu_faults_close(void);
/* The sums never take any of the GPU's memory. */
int gpu_faults_sums_at_home(void);
int gpu_work_make(struct gpu_work *work, const struct buffer *buf, size_t piece,
		  bool shuffled);
/* Also checks the sums, outside of the time. */
int gpu_work_run(const struct gpu_work *work, double *seconds, uint64_t *faults);
void gpu_work_free(struct gpu_work *work);
int gpu_faults_run(const struct buffer *buf, enum gpu_order order,
		   struct gpu_run *run);
int gpu_faults_isolated(enum page_mode mode, double (*clock)(void),
			struct gpu_isolated *out);
/* The same with the CPU's first store to each. */
int cpu_faults_isolated(enum page_mode mode, double (*clock)(void),
			struct series *cost);

/* What it takes @clock to move 2 MiB; sorted. Without samples if there is no huge page. */
enum way { THERE, BACK, NR_WAYS };

struct move_costs {
	struct series whole[NR_WAYS];
	struct series uncopied[NR_WAYS];
};

int moves_take(enum page_mode mode, double (*clock)(void), struct move_costs *out);

/*
 * Managed memory. 0, or -1 after saying why; sorted. What it takes @clock to store first
 * to each page of 2 MiB, and to have and to free 64 KiB of it.
 */
#define MANAGED_LIVE	20000
/* few: so that the next is where it would be with the others, at the beginning of a block */
#define MANAGED_FEW	32

struct alloc_costs {
	struct series alloc, free;
};

int touch_take(enum page_mode mode, double (*clock)(void), struct series *cost);
/* @live: so many others are there */
int alloc_take(bool managed, size_t live, double (*clock)(void), struct alloc_costs *out);
/* Seconds in which a GPU and the CPU, in turn, read all of it, with copies or without. */
int managed_readers_take(size_t length, bool copies, double *seconds);

/*
 * A clock of what all threads of a one-CPU machine work. 0, or -1 after saying why.
 */
int work_clock_start(void);
double work_clock_now(void);
void work_clock_stop(void);

/* move_pages(2) between two nodes; as the calls above. */
int move_pages_open(void);
double move_pages_run(const struct buffer *buf, enum page_mode mode);

/* Lines about samples; those that begin with "CSV," are for programs. */
struct row {
	const char *metric, *unit, *peer;
	const struct series *ours, *theirs;
	double aim;	/* what the ratio should reach; 0 if nobody said */
};

void print_head(const char *unit);
void print_row(bool csv, const char *lane, const struct row *row);

/* The other benchmarks: 0, or -1 (said why). What calls cost, in instructions. */
int count_instructions(const char *lane, const char *gpu, bool managed_only);

struct oversub_options {
	const char *lane;
	unsigned int runs;
	const char *suffix;	/* of the rows' names, for another kind of GPU */
	bool hotset_only;
	bool has_aims;
};

/* More memory in use than the GPU has. */
int measure_oversubscription(const struct oversub_options *opt);

#endif /* _UVM_BENCH_H */
