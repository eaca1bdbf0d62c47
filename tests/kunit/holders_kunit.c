// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who has a page: the table of what becomes of read-mostly pages, and random events with
 * the bytes that everybody would find.
 */
#include "holders.c"

#include <kunit/test.h>
#include <linux/kernel.h>
#include <linux/prandom.h>
#include <linux/random.h>

#define HOLDERS_PROCS	4U	/* the CPU, and three GPUs */
#define HOLDERS_EVENTS	50000

enum { C = 1, G = 2, H = 4, K = 8 };

enum holders_op { OP_READ, OP_WRITE, OP_EVICT, OP_COLLAPSE };

/* What a page holds where; 0 is nothing that anybody ever wrote. */
struct holders_page {
	struct uvm_holders h;
	bool pinned;
	u32 value[HOLDERS_PROCS];
};

static void holders_copy(struct holders_page *p, unsigned int who)
{
	u64 next = uvm_holders_next(&p->h, UVM_HOLDERS_COPY_TO, who, p->pinned);

	if (next != p->h.all && p->h.all)
		p->value[who] = p->value[uvm_holders_pick(&p->h, who)];
	p->h.all = next;
}

/* As a fault does it, or UVM_MIGRATE: the page comes, and then it is written. */
static void holders_touch(struct holders_page *p, unsigned int who, bool write, bool mostly)
{
	const struct uvm_holders before = p->h;

	if (!(p->h.all & BIT_ULL(who))) {
		holders_copy(p, who);
		if (p->h.all != before.all && before.all &&
		    !uvm_holders_keep_source(mostly, write))
			p->h.all = uvm_holders_next(&p->h, UVM_HOLDERS_MOVE_FROM,
						    uvm_holders_pick(&before, who),
						    p->pinned);
	}
	if (write && uvm_holders_shared(&p->h))
		p->h.all = uvm_holders_next(&p->h, UVM_HOLDERS_COLLAPSE, who, p->pinned);
	p->h.lost &= p->h.all;
}

/* What isn't dropped is copied home. */
static void holders_evict(struct holders_page *p, unsigned int who)
{
	const u64 before = p->h.all;

	if (!(before & BIT_ULL(who)))
		return;
	p->h.all = uvm_holders_next(&p->h, UVM_HOLDERS_DROP, who, p->pinned);
	if (p->h.all == before) {
		holders_copy(p, UVM_HOLDER_CPU);
		p->h.all = uvm_holders_next(&p->h, UVM_HOLDERS_MOVE_FROM, who, p->pinned);
	}
	p->h.lost &= p->h.all;
}

static void holders_do(struct holders_page *p, enum holders_op op, unsigned int who,
		       bool mostly)
{
	if (op == OP_EVICT)
		holders_evict(p, who);
	else if (op == OP_COLLAPSE)
		p->h.all = uvm_holders_next(&p->h, UVM_HOLDERS_COLLAPSE, who, p->pinned);
	else
		holders_touch(p, who, op == OP_WRITE, mostly);
	p->h.lost &= p->h.all;
}

static const struct holders_row {
	u8 from;
	enum holders_op op;
	unsigned int who;
	bool pinned;
	u8 want;
	u8 lost;
} holders_table[] = {
	{ 0, OP_READ, 0, false, C },		{ 0, OP_WRITE, 0, false, C },
	{ 0, OP_READ, 1, false, G },		{ 0, OP_WRITE, 1, false, G },
	{ 0, OP_COLLAPSE, 0, false, 0 },
	{ C, OP_READ, 0, false, C },		{ C, OP_WRITE, 0, false, C },
	{ C, OP_READ, 1, false, C | G },		{ C, OP_WRITE, 1, false, G },
	{ C, OP_READ, 1, true, C },		{ C, OP_WRITE, 1, true, C },
	{ C, OP_EVICT, 1, false, C },		{ C, OP_COLLAPSE, 0, false, C },
	{ G, OP_READ, 0, false, C | G },		{ G, OP_WRITE, 0, false, C },
	{ G, OP_READ, 1, false, G },		{ G, OP_WRITE, 1, false, G },
	{ G, OP_EVICT, 1, false, C },		{ G, OP_COLLAPSE, 0, false, G },
	{ H, OP_READ, 1, false, G | H },		{ H, OP_WRITE, 1, false, G },
	{ H, OP_EVICT, 1, false, H },		{ H, OP_COLLAPSE, 0, false, H },
	{ C | G, OP_READ, 0, false, C | G },	{ C | G, OP_WRITE, 0, false, C },
	{ C | G, OP_READ, 1, false, C | G },	{ C | G, OP_WRITE, 1, false, G },
	{ C | G, OP_READ, 1, true, C | G },	{ C | G, OP_WRITE, 1, true, C },
	{ C | G, OP_WRITE, 0, true, C },		{ C | G, OP_EVICT, 1, false, C },
	{ C | G, OP_EVICT, 1, true, C },		{ C | G, OP_COLLAPSE, 0, false, C },
	{ C | G, OP_READ, 2, false, C | G | H },	{ C | G, OP_READ, 2, true, C | G },
	{ C | G, OP_WRITE, 2, false, H },		{ C | G, OP_WRITE, 2, true, C },
	{ C | G | H, OP_WRITE, 0, false, C },	{ C | G | H, OP_WRITE, 2, false, H },
	{ C | G | H, OP_EVICT, 1, false, C | H },	{ C | G | H, OP_COLLAPSE, 0, false, C },
	{ G | H, OP_WRITE, 0, false, C },		{ G | H, OP_READ, 0, false, C | G | H },
	{ G | H, OP_WRITE, 3, false, K },		{ G | H, OP_EVICT, 1, false, H },
	{ G | H, OP_COLLAPSE, 0, false, G },	{ G | H, OP_COLLAPSE, 2, false, H },
	/* Who is lost is neither kept, nor what is left. */
	{ G | H, OP_COLLAPSE, 0, false, H, G },	{ G | H, OP_COLLAPSE, 1, false, H, G },
	{ G | H, OP_EVICT, 2, false, C | G, G },	{ G | H, OP_EVICT, 1, false, H, G },
	{ C | G, OP_WRITE, 1, false, C, G },	{ G, OP_COLLAPSE, 0, false, G, G },
};

static void holders_read_mostly(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(holders_table); i++) {
		const struct holders_row *row = &holders_table[i];
		struct holders_page p = {
			.h = { .all = row->from, .lost = row->lost },
			.pinned = row->pinned,
		};

		holders_do(&p, row->op, row->who, true);
		KUNIT_EXPECT_EQ_MSG(test, p.h.all, (u64)row->want, "row %u", i);
	}
}

/* Pages that aren't read mostly have one holder, whatever is done with them. */
static void holders_not_read_mostly(struct kunit *test)
{
	struct rnd_state rnd;
	struct holders_page p = { };
	int i;

	prandom_seed_state(&rnd, 6);
	for (i = 0; i < HOLDERS_EVENTS; i++) {
		p.pinned = p.h.all & C && prandom_u32_state(&rnd) % 4 == 0;
		holders_do(&p, prandom_u32_state(&rnd) % 4,
			   prandom_u32_state(&rnd) % HOLDERS_PROCS, false);
		KUNIT_ASSERT_FALSE(test, uvm_holders_shared(&p.h));
	}
}

/**
 * struct holders_world - a page, and who has entries for it
 * @page: it
 * @entry: by processor: mask of the holder whose page it has mapped, or 0
 * @writable: by processor
 * @pin_writes: who pinned the CPU's page may write it
 * @latest: what was written last, and is to be found
 */
struct holders_world {
	struct holders_page page;
	u64 entry[HOLDERS_PROCS];
	bool writable[HOLDERS_PROCS];
	bool pin_writes;
	u32 latest;
};

static void holders_unmap(struct holders_world *w)
{
	memset(w->entry, 0, sizeof(w->entry));
	memset(w->writable, 0, sizeof(w->writable));
}

/* Nobody may write what several have, and they have the same. */
static void holders_check(struct kunit *test, struct holders_world *w)
{
	const struct uvm_holders *h = &w->page.h;
	unsigned int i;

	for (i = 0; i < HOLDERS_PROCS; i++) {
		if (h->all & ~h->lost & BIT_ULL(i))
			KUNIT_ASSERT_EQ(test, w->page.value[i], w->latest);
		KUNIT_ASSERT_EQ(test, w->entry[i] & ~h->all, 0ULL);
		if (uvm_holders_shared(h))
			KUNIT_ASSERT_FALSE(test, w->writable[i]);
	}
	if (uvm_holders_shared(h))
		KUNIT_ASSERT_FALSE(test, w->page.pinned && w->pin_writes);
	if (w->page.pinned)
		KUNIT_ASSERT_TRUE(test, h->all & C);
}

/* An access: it faults unless there is an entry that will do. */
static void holders_access(struct kunit *test, struct holders_world *w, unsigned int who,
			   bool write, bool mostly)
{
	u64 before = w->page.h.all;
	unsigned int at;

	if (!w->entry[who] || (write && !w->writable[who])) {
		holders_touch(&w->page, who, write, mostly);
		if (w->page.h.all != before)
			holders_unmap(w);
		at = uvm_holders_pick(&w->page.h, who);
		w->entry[who] = BIT_ULL(at);
		w->writable[who] = !uvm_holders_shared(&w->page.h);
	}
	at = __ffs64(w->entry[who]);
	if (write) {
		KUNIT_ASSERT_TRUE(test, w->writable[who]);
		w->page.value[at] = ++w->latest;
	}
	KUNIT_ASSERT_EQ(test, w->page.value[at], w->latest);
}

/* A system call gets the CPU's page, and keeps it for a while. */
static void holders_pin(struct kunit *test, struct holders_world *w, bool write)
{
	if (w->page.pinned) {
		if (w->pin_writes)
			w->page.value[0] = ++w->latest;
		KUNIT_ASSERT_EQ(test, w->page.value[0], w->latest);
		w->page.pinned = false;
		return;
	}
	holders_access(test, w, UVM_HOLDER_CPU, write, true);
	w->page.pinned = w->page.h.all & C;
	w->pin_writes = write;
}

/* A GPU goes, with what it has: but not the last that has it. */
static void holders_lose(struct holders_world *w, unsigned int who)
{
	struct uvm_holders *h = &w->page.h;
	u64 bit = BIT_ULL(who);

	if (who == UVM_HOLDER_CPU || !(h->all & bit) || !(h->all & ~h->lost & ~bit))
		return;
	h->lost |= bit;
	w->page.value[who] = 0;
	holders_unmap(w);
}

static void holders_step(struct kunit *test, struct holders_world *w, struct rnd_state *rnd)
{
	unsigned int who = prandom_u32_state(rnd) % HOLDERS_PROCS;
	bool mostly = prandom_u32_state(rnd) % 4, write = prandom_u32_state(rnd) % 3 == 0;
	u64 before = w->page.h.all;

	/* A lost GPU touches nothing. */
	switch (prandom_u32_state(rnd) % 8) {
	case 0:
		/* Not for long. */
		if (w->page.pinned || write)
			holders_pin(test, w, write && mostly);
		break;
	case 1:
		if (who != UVM_HOLDER_CPU)
			holders_do(&w->page, OP_EVICT, who, mostly);
		break;
	case 2:
		holders_do(&w->page, OP_COLLAPSE, who, mostly);
		break;
	case 3:
		if (write)
			holders_lose(w, who);
		break;
	case 4:
		/* Core does that for reasons of its own. */
		holders_unmap(w);
		break;
	default:
		if (!(w->page.h.lost & BIT_ULL(who)))
			holders_access(test, w, who, write, mostly);
		return;
	}
	if (w->page.h.all != before)
		holders_unmap(w);
}

static void holders_random(struct kunit *test)
{
	struct holders_world w = { };
	struct rnd_state rnd;
	int i, shared = 0;

	prandom_seed_state(&rnd, 10);
	for (i = 0; i < HOLDERS_EVENTS; i++) {
		holders_step(test, &w, &rnd);
		holders_check(test, &w);
		shared += uvm_holders_shared(&w.page.h);
	}
	/* It has seen what it is about. */
	KUNIT_EXPECT_GT(test, shared, HOLDERS_EVENTS / 10);
	KUNIT_EXPECT_GT(test, w.latest, HOLDERS_EVENTS / 20U);
}

static struct kunit_case holders_cases[] = {
	KUNIT_CASE(holders_read_mostly),
	KUNIT_CASE(holders_not_read_mostly),
	KUNIT_CASE(holders_random),
	{}
};

static struct kunit_suite holders_suite = {
	.name = "uvm_holders",
	.test_cases = holders_cases,
};

kunit_test_suite(holders_suite);
