// SPDX-License-Identifier: GPL-2.0-only
/* See lib_model.h. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib_managed.h"
#include "lib_model.h"

/*
 * Far below where the kernel puts what has no address of its own, so that a hole in
 * the region stays one.
 */
#define REGION		((uint8_t *)0x100000000000)
#define NOBODY		AGENTS

/* A lot in one of these is nobody's, in the next one somebody's as a whole. */
#define LOT_KINDS	8
#define LOT_STILL	2

uint64_t pick(struct actor *a, uint64_t n)
{
	return harness_random(&a->rng) % n;
}

void random_bytes(struct actor *a, void *p, size_t length)
{
	uint64_t words[SPAN_MAX / 8], first = harness_random(&a->rng);
	size_t i;

	for (i = 0; i * 8 < length; i++)
		words[i] = first ^ i * 0x9E3779B97F4A7C15ULL;
	memcpy(p, words, length);
}

static void *zeroed(size_t size)
{
	return anon(size, PROT_READ | PROT_WRITE, 0);
}

bool region_map(struct world *w, uint8_t *at, size_t size)
{
	if (w->managed)
		return !managed_try(w->s.fd, at, size);
	return mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_FIXED_NOREPLACE, -1, 0) == at;
}

void world_init(struct world *w)
{
	pthread_rwlockattr_t attr;
	size_t i;

	w->region = REGION;
	ASSERT_TRUE(region_map(w, REGION, REGION_SIZE));
	w->aside = REGION + 2 * REGION_SIZE;
	/* a kernel without huge pages knows neither */
	madvise(REGION, HUGE, MADV_NOHUGEPAGE);
	madvise(REGION + HUGE, REGION_SIZE - HUGE, MADV_HUGEPAGE);
	w->shadow = zeroed(REGION_SIZE);
	w->pages = zeroed(PAGES * sizeof(*w->pages));
	/* agents come and go all the time, and a claim must not wait for all of them */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr,
				      PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	for (i = 0; i < PAGES; i++) {
		ASSERT_EQ(pthread_rwlock_init(&w->pages[i].use, &attr), 0);
		w->pages[i].may = MAY_ALL;
	}
}

void phase_init(struct world *w, unsigned int phase)
{
	uint64_t rng = w->seed + phase;

	w->phase = phase;
	w->phase_seed = harness_random(&rng);
	w->window = harness_random(&rng) % (PAGES - WINDOW_PAGES);
}

/* ---- failing ---- */

static void actor_name(unsigned int id, char name[16])
{
	if (id < CPUS)
		snprintf(name, 16, "cpu%u", id);
	else if (id < AGENTS)
		snprintf(name, 16, "channel%u", id - CPUS);
	else if (id < CHECKER)
		snprintf(name, 16, "disturber%u", id - AGENTS);
	else
		snprintf(name, 16, "checker");
}

static void tell_history(const struct world *w, size_t page)
{
	struct page *p = &w->pages[page];
	unsigned int n = p->pasts, i;
	char name[16];

	for (i = n > PASTS ? n - PASTS : 0; i < n; i++) {
		struct past *past = &p->past[i % PASTS];

		actor_name(past->actor, name);
		harness_note("page %zu: operation %u: %s %s: %zu bytes from page %zu + 0x%zx",
			     page, past->ticket, name, past->verb, past->length,
			     past->at / PAGE, past->at % PAGE);
	}
	harness_note("page %zu: may %u%s%s, fresh 0x%llx", page, p->may,
		     p->claimed ? ", claimed" : "", p->freed ? ", freed" : "",
		     p->fresh);
}

/* Only the first one tells, and ends all of them. */
static void fail_alone(void)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;

	while (atomic_flag_test_and_set(&told))
		pause();
}

void model_fail(struct actor *a, size_t at, const char *fmt, ...)
{
	struct world *w = a->w;
	char text[200], name[16];
	va_list args;

	fail_alone();
	if (w->spoilt) {
		w->verdict->address = ADDR(w->region + at);
		w->verdict->noticed = true;
		_exit(0);
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	tell_history(w, at / PAGE);
	harness_note("this round again: UVM_SEED=0x%llx UVM_OPS=1",
		     (unsigned long long)w->seed);
	actor_name(a->id, name);
	harness_check(false, true, __FILE__, __LINE__,
		      "seed 0x%llx, phase %u, operation %u (%s %s): address 0x%llx (page %zu + 0x%zx): %s",
		      (unsigned long long)w->seed, w->phase, a->ticket, name, a->verb,
		      (unsigned long long)ADDR(w->region + at), at / PAGE, at % PAGE,
		      text);
	_exit(1);
}

static bool is_zero(const uint8_t *p, size_t length)
{
	return !p[0] && !memcmp(p, p + 1, length - 1);
}

static void fail_bytes(struct actor *a, size_t at, size_t length, const uint8_t *seen,
		       const uint8_t *want, const char *or)
{
	size_t i, first = 0, wrong = 0;

	/* none is, if it's right by now */
	for (i = 0; i < length; i++)
		if (seen[i] != want[i] && !wrong++)
			first = i;
	model_fail(a, at + first, "wanted %02x%s, saw %02x; %zu of %zu bytes are wrong",
		   want[first], or, seen[first], wrong, length);
}

void model_compare(struct actor *a, const struct span *s, const uint8_t *seen,
		   const uint8_t *want)
{
	if (!memcmp(seen, want, s->length))
		return;
	if (s->may_be_zero && is_zero(seen, s->length))
		return;
	fail_bytes(a, s->at, s->length, seen, want,
		   s->may_be_zero ? " or, as all of the cell, 00" : "");
}

void model_compare_page(struct actor *a, size_t page, const uint8_t *seen)
{
	const uint8_t *want = shadow_at(a, page * PAGE);

	if (memcmp(seen, want, PAGE))
		fail_bytes(a, page * PAGE, PAGE, seen, want, "");
}

static void page_note(struct actor *a, size_t page, size_t at, size_t length)
{
	struct page *p = &a->w->pages[page];

	p->past[atomic_fetch_add(&p->pasts, 1) % PASTS] = (struct past){
		.verb = a->verb,
		.ticket = a->ticket,
		.actor = a->id,
		.at = at,
		.length = length,
	};
}

void model_note(struct actor *a, const struct span *s)
{
	size_t page;

	for (page = s->at / PAGE; page <= (s->at + s->length - 1) / PAGE; page++)
		page_note(a, page, s->at, s->length);
}

/* ---- who owns what ---- */

/* A number that depends on the phase and on @kind and @n, and on nothing else. */
static uint64_t roll(const struct world *w, uint64_t kind, uint64_t n)
{
	uint64_t state = w->phase_seed + (kind << 40) + n;

	return harness_random(&state);
}

enum { ROLL_LOT, ROLL_LOT_OWNER, ROLL_COUNTER, ROLL_CELL_OWNER };

static size_t counter_cell(const struct world *w, size_t page)
{
	return roll(w, ROLL_COUNTER, page) % CELLS;
}

static unsigned int cell_owner(const struct world *w, size_t page, size_t cell)
{
	if (cell == counter_cell(w, page))
		return NOBODY;
	return roll(w, ROLL_CELL_OWNER, page * CELLS + cell) % AGENTS;
}

static bool own_cell(struct actor *a, size_t page, size_t *cell)
{
	size_t first = pick(a, CELLS), i;

	for (i = 0; i < CELLS; i++) {
		*cell = (first + i) % CELLS;
		if (cell_owner(a->w, page, *cell) == a->id)
			return true;
	}
	return false;
}

static bool lot_is_shared(const struct world *w, size_t lot)
{
	return roll(w, ROLL_LOT, lot) % LOT_KINDS > LOT_STILL;
}

bool page_is_still(const struct world *w, size_t page)
{
	return roll(w, ROLL_LOT, page / LOT_PAGES) % LOT_KINDS < LOT_STILL;
}

/* What of the page's lot, or of the page, the actor may use: a whole number of cells */
static bool own_area(struct actor *a, size_t page, bool write, struct span *s)
{
	size_t lot = page / LOT_PAGES, cell;
	struct world *w = a->w;

	if (lot_is_shared(w, lot)) {
		*s = (struct span){ .length = CELL };
		if (!own_cell(a, page, &cell))
			return false;
		s->at = page * PAGE + cell * CELL;
		return true;
	}
	*s = (struct span){ .at = lot * LOT_SIZE, .length = LOT_SIZE };
	if (page_is_still(w, page))
		return !write;
	return roll(w, ROLL_LOT_OWNER, lot) % AGENTS == a->id;
}

static void take_part(struct actor *a, struct span *s)
{
	size_t skip = pick(a, s->length), left = s->length - skip;

	s->at += skip;
	s->length = 1 + pick(a, left < SPAN_MAX ? left : SPAN_MAX);
}

size_t page_pick(struct actor *a)
{
	if (pick(a, 8))
		return a->w->window + pick(a, WINDOW_PAGES);
	return pick(a, PAGES);
}

static size_t page_visit(struct actor *a)
{
	if (!a->stay) {
		a->page = page_pick(a);
		a->stay = 1 + pick(a, VISIT);
	}
	a->stay--;
	return a->page;
}

/* Somebody else is busy with it. */
static void page_give_up(struct actor *a)
{
	a->stay = 0;
}

bool page_enter(struct world *w, size_t page, unsigned int need)
{
	struct page *p = &w->pages[page];

	/* not to wait is what makes it impossible to wait in a circle */
	if (pthread_rwlock_tryrdlock(&p->use))
		return false;
	if ((p->may & need) == need)
		return true;
	pthread_rwlock_unlock(&p->use);
	return false;
}

void page_leave(struct world *w, size_t page)
{
	pthread_rwlock_unlock(&w->pages[page].use);
}

static size_t last_page(const struct span *s)
{
	return (s->at + s->length - 1) / PAGE;
}

static bool span_enter(struct world *w, const struct span *s, unsigned int need)
{
	size_t first = s->at / PAGE, page;

	for (page = first; page <= last_page(s); page++)
		if (!page_enter(w, page, need))
			break;
	if (page > last_page(s))
		return true;
	while (page-- > first)
		page_leave(w, page);
	return false;
}

void span_leave(struct world *w, const struct span *s)
{
	size_t page;

	for (page = s->at / PAGE; page <= last_page(s); page++)
		page_leave(w, page);
}

bool span_enter_pages(struct actor *a, struct span *s)
{
	size_t first = page_pick(a), count = 1 + pick(a, 4);

	if (count > PAGES - first)
		count = PAGES - first;
	*s = (struct span){ .at = first * PAGE, .length = count * PAGE };
	if (!span_enter(a->w, s, MAY_READ | MAY_WRITE))
		return false;
	model_note(a, s);
	return true;
}

static uint64_t cell_bit(size_t at)
{
	return 1ULL << (at % PAGE / CELL);
}

/* Of freed pages, one cell at a time: each was written as a whole, or not at all. */
static void keep_one_cell(struct world *w, struct span *s)
{
	struct page *p = &w->pages[s->at / PAGE];
	size_t page;

	for (page = s->at / PAGE + 1; page <= last_page(s); page++)
		page_leave(w, page);
	s->at -= s->at % CELL;
	s->length = CELL;
	s->may_be_zero = p->freed && !(p->fresh & cell_bit(s->at));
}

static bool any_freed(const struct world *w, const struct span *s)
{
	size_t page;

	for (page = s->at / PAGE; page <= last_page(s); page++)
		if (w->pages[page].freed)
			return true;
	return false;
}

bool span_pick(struct actor *a, bool write, struct span *s)
{
	unsigned int need = MAY_READ | (write ? MAY_WRITE : 0);
	int tries;

	for (tries = 0; tries < 16; tries++, page_give_up(a)) {
		if (!own_area(a, page_visit(a), write, s))
			continue;
		take_part(a, s);
		if (!span_enter(a->w, s, need))
			continue;
		if (any_freed(a->w, s))
			keep_one_cell(a->w, s);
		model_note(a, s);
		return true;
	}
	return false;
}

bool span_pick_counter(struct actor *a, struct span *s)
{
	struct world *w = a->w;
	size_t page;
	int tries;

	for (tries = 0; tries < 8; tries++, page_give_up(a)) {
		page = page_visit(a);
		if (!lot_is_shared(w, page / LOT_PAGES) ||
		    !page_enter(w, page, MAY_READ | MAY_WRITE))
			continue;
		if (w->pages[page].freed) {
			page_leave(w, page);
			continue;
		}
		*s = (struct span){
			.at = page * PAGE + counter_cell(w, page) * CELL +
			      8 * pick(a, CELL / 8),
			.length = 8,
		};
		model_note(a, s);
		return true;
	}
	return false;
}

void model_store(struct actor *a, const struct span *s, const void *data)
{
	struct page *p = &a->w->pages[s->at / PAGE];

	memcpy(shadow_at(a, s->at), data, s->length);
	if (p->freed)
		atomic_fetch_or(&p->fresh, cell_bit(s->at));
}

void model_xor(struct actor *a, size_t at, size_t length, uint64_t key)
{
	uint8_t *shadow = shadow_at(a, at);
	size_t i;

	for (i = 0; i < length; i++)
		shadow[i] ^= uvm_sim_keystream(key, i / 8) >> i % 8 * 8;
}

/* ---- ranges ---- */

struct range block_of(size_t page)
{
	return (struct range){ page - page % (HUGE / PAGE), HUGE / PAGE };
}

struct range range_pick(struct actor *a)
{
	size_t first = page_pick(a), count = 1 + pick(a, 16);

	if (!pick(a, 40))
		return block_of(first);
	return (struct range){ first, count < PAGES - first ? count : PAGES - first };
}

bool ranges_overlap(const struct range *a, const struct range *b)
{
	return a->first < b->first + b->count && b->first < a->first + a->count;
}

uint8_t *range_start(const struct world *w, const struct range *r)
{
	return w->region + r->first * PAGE;
}

size_t range_size(const struct range *r)
{
	return r->count * PAGE;
}

void range_note(struct actor *a, const struct range *r)
{
	size_t i;

	for (i = 0; i < r->count; i++)
		page_note(a, r->first + i, r->first * PAGE, range_size(r));
}

static bool page_claim(struct page *p, unsigned int may)
{
	bool free;

	pthread_rwlock_wrlock(&p->use);
	free = !p->claimed;
	if (free) {
		p->claimed = true;
		p->may = may;
	}
	pthread_rwlock_unlock(&p->use);
	return free;
}

static void page_set(struct page *p, bool claimed, unsigned int may)
{
	pthread_rwlock_wrlock(&p->use);
	p->claimed = claimed;
	p->may = may;
	pthread_rwlock_unlock(&p->use);
}

bool range_claim(struct actor *a, const struct range *r, unsigned int may)
{
	struct world *w = a->w;
	size_t i;

	for (i = 0; i < r->count; i++)
		if (!page_claim(&w->pages[r->first + i], may))
			break;
	if (i < r->count) {
		range_release(w, &(struct range){ r->first, i });
		return false;
	}
	if (!(may & MAPPED))
		atomic_fetch_add(&w->withdrawals, 1);
	range_note(a, r);
	return true;
}

void range_grant(struct world *w, const struct range *r, unsigned int may)
{
	size_t i;

	for (i = 0; i < r->count; i++)
		page_set(&w->pages[r->first + i], true, may);
}

void range_release(struct world *w, const struct range *r)
{
	size_t i;

	for (i = 0; i < r->count; i++)
		page_set(&w->pages[r->first + i], false, MAY_ALL);
}

/* Does a page that was freed hold in @cell what it held before, or zero, or both? */
static void judge_cell(struct actor *a, size_t page, size_t cell, bool *old, bool *zero)
{
	size_t at = page * PAGE + cell * CELL, skip = !cell;
	const uint8_t *seen = region_at(a, at), *want = shadow_at(a, at);
	bool fresh = a->w->pages[page].fresh & cell_bit(at);
	bool same = !memcmp(seen, want, CELL);
	/* the page's first byte is what was stored to settle it */
	bool gone = is_zero(seen + skip, CELL - skip);

	if (!same && (fresh || !gone))
		fail_bytes(a, at, CELL, seen, want, " or, as all of the page, 00");
	if (fresh)
		return;
	*old &= same;
	*zero &= gone;
}

/*
 * The store makes the page stay: as it was, or zero, but for what was written since.
 * Whichever it is holds for all of the page.
 */
static void page_settle(struct actor *a, size_t page)
{
	struct page *p = &a->w->pages[page];
	uint8_t *shadow = shadow_at(a, page * PAGE);
	bool old = true, zero = true;
	size_t cell, skip;

	if (!p->freed)
		return;
	*(volatile uint8_t *)region_at(a, page * PAGE) = shadow[0];
	for (cell = 0; cell < CELLS; cell++)
		judge_cell(a, page, cell, &old, &zero);
	if (!old && !zero)
		model_fail(a, page * PAGE, "a part of a freed page is zero, and a part isn't");
	for (cell = 0; !old && cell < CELLS; cell++) {
		skip = !cell;
		if (!(p->fresh & cell_bit(cell * CELL)))
			memset(shadow + cell * CELL + skip, 0, CELL - skip);
	}
	p->freed = false;
	p->fresh = 0;
}

void range_settle(struct actor *a, const struct range *r)
{
	size_t i;

	for (i = 0; i < r->count; i++)
		page_settle(a, r->first + i);
}

void range_zero(struct world *w, const struct range *r)
{
	size_t i;

	memset(w->shadow + r->first * PAGE, 0, range_size(r));
	for (i = 0; i < r->count; i++) {
		w->pages[r->first + i].freed = false;
		w->pages[r->first + i].fresh = 0;
	}
}

struct torn torn_begin(struct world *w, const struct range *r)
{
	struct torn t = { .withdrawals = w->withdrawals };
	size_t i;

	for (i = 0; i < r->count; i++)
		t.missing |= !(w->pages[r->first + i].may & MAPPED);
	return t;
}

bool torn(struct world *w, const struct torn *before)
{
	return before->missing || before->withdrawals != w->withdrawals;
}
