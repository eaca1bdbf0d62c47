/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * More memory than a GPU has: what UVM_QUERY_MEMORY says, working sets whose every byte
 * is known, and processes that press others out of a GPU's memory.
 */
#ifndef SELFTESTS_LIB_PRESSURE_H
#define SELFTESTS_LIB_PRESSURE_H

#include <stdatomic.h>

#include "lib_uvm.h"

#define BLOCK_PAGES	(HUGE / PAGE)

/* Of UVM_QUERY_MEMORY, in pages but for the last, which is in 1000 */
struct memory {
	long total;
	long used;
	long free;
	long mine;
	long limit;
	long evicted;
	long refaulted;
	long my_evicted;
	long my_refaulted;
	unsigned int thrash;
};

void memory_of(struct fix *f, struct memory *m);
/* 0 or -errno */
int limit_pages(struct fix *f, unsigned long limit, unsigned long reserved);

int to_gpu(struct fix *f, const void *p, size_t length, struct uvm_migrate *m);
/* all of it moves, or was there: it may have had to go again since */
void expect_taken(struct fix *f, const void *p, size_t length);
/* of the @pages at @p none is in the GPU's memory, or all are */
void expect_gone(struct fix *f, const char *p, size_t pages);
void expect_there(struct fix *f, const char *p, size_t pages);

/*
 * Bytes: who takes so much leaves nothing of what was there before. What was used since
 * it was brought has a second chance, and no third one.
 */
#define ENOUGH(room)	(2 * (room) * PAGE)

/* What a test wants, or it SKIPs: before it forks anybody. Returns the GPU's pages. */
size_t pressure_need(const struct variant *v);
/* a unit of it in each of so many blocks, and nothing else; they are on the GPU */
void take_sparse(struct fix *f, char *p, size_t blocks, uint64_t seed);
void check_sparse(const char *p, size_t blocks, uint64_t seed);
unsigned long sparse_on_gpu(struct fix *f, const char *p, size_t blocks);
/* fix_buffer() with nothing next to it, and its first byte where a block begins */
char *aligned_buffer(struct fix *f, size_t length);
char *aligned_pattern(struct fix *f, size_t length, uint64_t seed);

/* ---- working sets ---- */

#define UNIT_PAGES	16UL
#define UNIT		(UNIT_PAGES * PAGE)
/* commands at a time */
#define SET_BATCH	32UL

/**
 * struct set - memory of which each unit is as it was filled, or turned: XORed once
 * @f: whose
 * @p: where
 * @units: number of them
 * @seed: of the pattern
 * @sum: of each unit as it was filled, and turned
 * @turned: which
 * @out: where the GPU puts its sums
 * @contended: others want the memory, too: UVM_MIGRATE may find none
 */
struct set {
	struct fix *f;
	char *p;
	size_t units;
	uint64_t seed;
	uint64_t (*sum)[2];
	bool *turned;
	volatile uint64_t *out;
	bool contended;
};

void set_make(struct set *s, struct fix *f, size_t length, uint64_t seed);
void set_free(struct set *s);

static inline char *set_unit(const struct set *s, size_t unit)
{
	return s->p + unit * UNIT;
}

static inline size_t set_size(const struct set *s)
{
	return s->units * UNIT;
}

/* The GPU turns these units, at most SET_BATCH; one may be among them twice. */
void set_turn(struct set *s, const size_t *unit, size_t n);
/* The GPU sums these units. */
void set_sum(struct set *s, const size_t *unit, size_t n);
/* all of them, in order */
void set_turn_all(struct set *s);
void set_check_by_gpu(struct set *s);
/* only reads */
void set_check_by_cpu(struct set *s);

/* In what order a GPU comes to the units of a set */
enum order { STREAM, RANDOM, HOT };

struct walk {
	enum order order;
	size_t units;
	size_t hot;		/* the first ones: three of four visits */
	size_t next;
	uint64_t rng;
};

size_t walk_next(struct walk *w);

/**
 * struct scene - one way to use more than there is
 * @quarters: size of all sets together, in quarters of the GPU's memory
 * @order: of the visits
 * @by_migrate: UVM_MIGRATE brings what the GPU comes to; else its faults
 */
struct scene {
	unsigned int quarters;
	enum order order;
	bool by_migrate;
};

#define NR_SCENES	18
extern const struct scene scenes[NR_SCENES];

void scene_name(const struct scene *c, char name[40]);
/* as many visits as there are units, then every byte is checked by both sides */
void scene_play(struct set *s, const struct scene *c, uint64_t rng);

/* ---- processes that want a GPU's memory ---- */

/*
 * What one does when told, and answers: '.' if it's well. It has a buffer with a pattern,
 * populated in system memory at first.
 */
enum {
	HOG_TAKE = 't',		/* UVM_MIGRATE of all of it: all must move */
	HOG_TRY = 'y',		/* the same, but for what finds no memory or is busy */
	HOG_USE = 'u',		/* the GPU XORs all of it, twice */
	HOG_WHERE = 'w',	/* looks where it is */
	HOG_CHECK = 'c',	/* the CPU reads it */
	HOG_HOME = 'h',		/* UVM_MIGRATE to system memory */
	HOG_RESERVE = 'r',	/* UVM_SET_MEMORY_LIMIT: what it has is reserved */
	HOG_UNRESERVE = 'n',
	HOG_FORBID = 'f',	/* its range group has no migration */
	HOG_ALLOW = 'a',
};

struct hog_shared {
	struct uvm_migrate m;	/* of HOG_TAKE and HOG_TRY */
	struct tally where;	/* of HOG_WHERE */
	atomic_ulong turns;	/* of hog_run() */
	atomic_bool stop;
};

struct hog {
	pid_t pid;
	int end;
	size_t pages;
	struct hog_shared *shared;
};

/* Before the test has memory of its own, which a child would share. */
void hog_start(struct hog *h, const struct variant *v, size_t length);
/* what it answers */
int hog_ask(struct hog *h, char what);
/* takes its memory, and uses it, again and again, until hog_rest() */
void hog_run(struct hog *h);
void hog_rest(struct hog *h);
void hog_end(struct hog *h);
/* pages in the GPU's memory */
unsigned long hog_on_gpu(struct hog *h);

#define HOG_DO(h, what)	EXPECT_EQ(hog_ask(h, what), '.')

#endif /* SELFTESTS_LIB_PRESSURE_H */
