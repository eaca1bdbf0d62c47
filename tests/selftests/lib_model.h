/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every byte of a region may be, while CPU threads and GPU channels use it and
 * the address space changes under them; see the DOC block of model.c.
 */
#ifndef SELFTESTS_LIB_MODEL_H
#define SELFTESTS_LIB_MODEL_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib_uvm.h"

#define BLOCKS		3
#define REGION_SIZE	(BLOCKS * HUGE)
#define PAGES		(REGION_SIZE / PAGE)
#define LOT_PAGES	2
#define LOT_SIZE	(LOT_PAGES * PAGE)
#define WINDOW_PAGES	48UL
#define CELL		64UL
#define CELLS		(PAGE / CELL)

/* Who owns cells */
#define CPUS		3
#define CHANNELS	4
#define AGENTS		(CPUS + CHANNELS)
/* and who doesn't */
#define DISTURBERS	2
#define CHECKER		(AGENTS + DISTURBERS)

#define MODEL_GPUS	4
#define MODEL_NODES	8
#define MODEL_GROUPS	2

#define BATCH		32
/* Agents stay with a page for as many operations, at most: a fault serves several. */
#define VISIT		16
#define SPAN_MAX	1024UL
#define MAX_ADD		1000
#define MAX_TIMES	4

#define SPLIT_HUGE_PAGES "/sys/kernel/debug/split_huge_pages"

/* What agents may do with a page, and whether there is one. */
#define MAY_READ	1
#define MAY_WRITE	2
#define MAPPED		4
#define MAY_ALL		(MAY_READ | MAY_WRITE | MAPPED)

/* Something that was done to a page; kept to be told after a mismatch. */
struct past {
	const char *verb;
	unsigned int ticket;
	unsigned int actor;
	size_t at;
	size_t length;
};
#define PASTS		12

/**
 * struct page - what is known of a page, beside its shadow
 * @use: held shared by whoever accesses the page; exclusively to change the rest
 * @may: mask of what agents may do
 * @claimed: somebody is about to change content, rights or mapping
 * @freed: MADV_FREE was called: cells that weren't written since may be zero, all of
 *	them, or none
 * @fresh: bit n: cell n was written since
 * @pasts: entries ever put into @past
 * @past: the last ones
 */
struct page {
	pthread_rwlock_t use;
	atomic_uint may;
	bool claimed;
	bool freed;
	atomic_ullong fresh;
	atomic_uint pasts;
	struct past past[PASTS];
};

#define TABLES		3

/* What a run has done, and what one that was spoilt on purpose noticed */
struct verdict {
	atomic_ulong done[TABLES][32];	/* by table of operations and entry */
	atomic_ulong evicted;		/* pages */
	atomic_bool noticed;
	atomic_ullong address;	/* where */
	uint64_t from;			/* where it should be */
	uint64_t length;
};

/**
 * struct world - one round
 * @region: where it happens
 * @aside: as much room beside it, not mapped, for pages that change places
 * @shadow: what the region must hold
 * @pages: the rest that is known
 * @s: the VA space
 * @gpu: its GPUs
 * @gpus: number of them
 * @node: NUMA nodes with memory
 * @nodes: number of them
 * @swap: there is a swap area
 * @managed: the region is managed memory
 * @huge: there are huge pages
 * @split: and somebody who splits them
 * @counts_everywhere: GPUs can add to all memory of the region, exactly
 * @seed: of the round
 * @phase: number of the phase
 * @phase_seed: who owns what in this phase
 * @window: first page of those that are used most
 * @tickets: operations begun
 * @withdrawals: ranges that agents were told to keep off from
 * @spoilt: which of the ways to be wrong on purpose, or 0
 * @spoilt_prot: rights that aren't taken away
 * @only: the one disturbance that there is, or NULL
 * @group: range groups that disturbers put ranges into, forbid and allow
 * @verdict: shared with the test
 */
struct world {
	uint8_t *region;
	uint8_t *aside;
	uint8_t *shadow;
	struct page *pages;
	struct space s;
	struct uvm_gpu_info gpu[MODEL_GPUS];
	unsigned int gpus;
	int node[MODEL_NODES];
	unsigned int nodes;
	bool swap;
	bool managed;
	bool huge;
	bool split;
	bool counts_everywhere;
	uint64_t seed;
	unsigned int phase;
	uint64_t phase_seed;
	size_t window;
	atomic_uint tickets;
	atomic_uint withdrawals;
	int spoilt;
	int spoilt_prot;
	const char *only;
	uint32_t group[MODEL_GROUPS];
	struct verdict *verdict;
};

/* Bytes of the region that an actor is using */
struct span {
	size_t at;
	size_t length;
	bool may_be_zero;	/* one cell, freed and not written since */
};

/* Pages */
struct range {
	size_t first;
	size_t count;
};

struct actor;

/**
 * struct op - something that an actor can do
 * @name: for the history
 * @run: returns false if there was nothing to do it with
 * @weight: how often, beside the others
 * @usable: false if it makes no sense here; NULL: it always does
 */
struct op {
	const char *name;
	bool (*run)(struct actor *a);
	unsigned int weight;
	bool (*usable)(const struct world *w);
};

struct table {
	const char *name;
	const struct op *ops;
	unsigned int nr;
};

#define TABLE(name_, ops_)						\
	{ .name = name_, .ops = ops_, .nr = sizeof(ops_) / sizeof((ops_)[0]) }

extern const struct table cpu_table;
extern const struct table gpu_table;
extern const struct table disturbance_table;

/* A command on its way: what it uses, and what its result must be */
struct job {
	const char *verb;
	unsigned int ticket;
	struct span span[2];
	size_t check;		/* bytes of the result, which are about span[0] */
};

/**
 * struct actor - a thread of the round
 * @w: the round
 * @step: all take a slice together
 * @id: a CPU, a channel, a disturber or the checker, in this order
 * @verb: what it is doing
 * @ticket: the number of that
 * @rng: its random numbers
 * @page: which an agent is busy with
 * @stay: for so many operations more
 * @gpu: whose channel
 * @channel: to submit to
 * @in: what the GPU copies from, SPAN_MAX for each command
 * @out: what the GPU writes results to
 * @want: what they must be
 * @cmd: batch
 * @job: what belongs to each command
 * @nr: commands in it
 * @pipe: for system calls
 * @lazy: what a disturber freed last by MADV_FREE; empty once it went out to swap
 * @kid: child that is still at it, or 0
 */
struct actor {
	struct world *w;
	pthread_barrier_t *step;
	unsigned int id;
	const char *verb;
	unsigned int ticket;
	uint64_t rng;
	size_t page;
	unsigned int stay;
	const struct uvm_gpu_info *gpu;
	uint32_t channel;
	uint8_t *in;
	uint8_t *out;
	uint8_t *want;
	struct uvm_sim_cmd cmd[BATCH];
	struct job job[BATCH];
	unsigned int nr;
	int pipe[2];
	struct range lazy;
	pid_t kid;
};

uint64_t pick(struct actor *a, uint64_t n);
void random_bytes(struct actor *a, void *p, size_t length);

static inline uint8_t *region_at(const struct actor *a, size_t at)
{
	return a->w->region + at;
}

static inline uint8_t *shadow_at(const struct actor *a, size_t at)
{
	return a->w->shadow + at;
}

/* the files are open; all of the region mapped, and zero */
void world_init(struct world *w);
/* a part of the region, which is not mapped, or was; false if that can't be */
bool region_map(struct world *w, uint8_t *at, size_t size);
void phase_init(struct world *w, unsigned int phase);

/* ---- agents ---- */

size_t page_pick(struct actor *a);
/* a page from here to page_leave() is mapped and allows @need; doesn't wait */
bool page_enter(struct world *w, size_t page, unsigned int need);
void page_leave(struct world *w, size_t page);

/*
 * Bytes that the agent alone writes in this phase, or, not to @write, that nobody
 * does. They are entered, and must be left.
 */
bool span_pick(struct actor *a, bool write, struct span *s);
/* nobody writes the page in this phase */
bool page_is_still(const struct world *w, size_t page);
/* one of the words that everybody adds to; entered */
bool span_pick_counter(struct actor *a, struct span *s);
void span_leave(struct world *w, const struct span *s);
/* a span of whole pages, for what can't change their content */
bool span_enter_pages(struct actor *a, struct span *s);

/* @data is what the region gets at @s */
void model_store(struct actor *a, const struct span *s, const void *data);
/* the region gets XORed, as the GPU's command does it */
void model_xor(struct actor *a, size_t at, size_t length, uint64_t key);
/* waits for the batch of a channel, which must succeed; checks what it read */
void gpu_flush(struct actor *a);
void gpu_run(struct actor *a, struct uvm_sim_cmd cmd);
/* the history of the pages of @s gets an entry */
void model_note(struct actor *a, const struct span *s);
/* stops the test unless @seen is what @s may be; @want: what it was when asked for */
void model_compare(struct actor *a, const struct span *s, const uint8_t *seen,
		   const uint8_t *want);
/* stops the test unless all of the page is as it may be */
void model_compare_page(struct actor *a, size_t page, const uint8_t *seen);
/* stops the test; @at: about which bytes */
void model_fail(struct actor *a, size_t at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));

/* ---- who changes the address space ---- */

/* pages for an operation, mostly few, mostly in the window */
struct range range_pick(struct actor *a);
/* the 2 MiB around a page */
struct range block_of(size_t page);
bool ranges_overlap(const struct range *a, const struct range *b);
uint8_t *range_start(const struct world *w, const struct range *r);
size_t range_size(const struct range *r);
void range_note(struct actor *a, const struct range *r);

/*
 * Takes pages from the agents: waits for accesses under way that @may doesn't allow,
 * and lets no new ones begin. False if somebody else has some of them.
 */
bool range_claim(struct actor *a, const struct range *r, unsigned int may);
/* for a claimed range */
void range_grant(struct world *w, const struct range *r, unsigned int may);
void range_release(struct world *w, const struct range *r);
/* a claimed, mapped range that agents keep off from: no byte has two values any more */
void range_settle(struct actor *a, const struct range *r);
/* a claimed range is all zero now */
void range_zero(struct world *w, const struct range *r);
/* waits for the child of a disturber */
void kid_reap(struct actor *a);

/* For what isn't claimed: was something missing in the range since torn_begin()? */
struct torn {
	unsigned int withdrawals;
	bool missing;
};

struct torn torn_begin(struct world *w, const struct range *r);
bool torn(struct world *w, const struct torn *before);

#endif /* SELFTESTS_LIB_MODEL_H */
