// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device memory: every page is handed out once, a block gets a chunk of its own
 * where there is one, what is free is merged, and the lists say what the masks say. An
 * array of who owns which page is the model.
 */
#include "devmem.c"
#include "devmem_zone.c"

#include <kunit/test.h>

#include <linux/kthread.h>
#include <linux/moduleparam.h>
#include <linux/prandom.h>

#include "kunit.h"

#define CHUNKS	8
#define PAGES	(CHUNKS * UVM_BLOCK_PAGES)
#define ZONES	3

/* Operations of the random tests; `make check-all` wants more. */
static unsigned int devmem_ops = 20000;
module_param(devmem_ops, uint, 0400);

struct devmem_ctx {
	struct uvm_devmem mem;
	DECLARE_BITMAP(model, PAGES);
	DECLARE_BITMAP(clean, PAGES);	/* contain zeroes */
	unsigned long used;
	unsigned long index[PAGES];
};

static int devmem_test_init(struct kunit *test)
{
	struct devmem_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	KUNIT_ASSERT_EQ(test, uvm_devmem_init(&ctx->mem, THIS_MODULE, PAGES), 0);
	test->priv = ctx;
	return 0;
}

static void devmem_test_exit(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;

	uvm_devmem_fini(&ctx->mem);
}

/* The same memory, in several zones. */
static void devmem_divide(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;

	uvm_devmem_fini(&ctx->mem);
	KUNIT_ASSERT_EQ(test, uvm_devmem_init_zones(&ctx->mem, THIS_MODULE, PAGES, ZONES), 0);
	KUNIT_ASSERT_EQ(test, ctx->mem.nr_zones, ZONES);
}

static size_t devmem_count_whole(struct uvm_devmem *mem)
{
	struct uvm_devmem_zone *zone;
	size_t nr = 0;

	for (zone = mem->zones; zone < mem->zones + mem->nr_zones; zone++)
		nr += list_count(&zone->free[UVM_DEVMEM_2M][false]) +
		      list_count(&zone->free[UVM_DEVMEM_2M][true]);
	return nr;
}

/* Where a piece is must be what its masks say, and its chunk. */
static void devmem_check_piece(struct kunit *test, struct uvm_devmem_piece *piece)
{
	struct uvm_devmem_chunk *chunk = uvm_piece_chunk(piece);

	KUNIT_EXPECT_PTR_EQ(test, &chunk->pieces[piece->nr], piece);
	KUNIT_EXPECT_EQ(test, list_empty(&piece->link),
			!chunk->used || !uvm_piece_free(piece));
}

static void devmem_check_list(struct kunit *test, struct uvm_devmem_zone *zone,
			      enum uvm_devmem_size size, bool zeroed)
{
	struct uvm_devmem_piece *piece;
	struct uvm_devmem_chunk *chunk;

	if (size == UVM_DEVMEM_2M) {
		list_for_each_entry(chunk, &zone->free[size][zeroed], link) {
			KUNIT_EXPECT_EQ(test, chunk->used, 0);
			KUNIT_EXPECT_EQ(test, uvm_chunk_zeroed(chunk), zeroed);
			KUNIT_EXPECT_PTR_EQ(test, uvm_chunk_zone(zone->mem, chunk), zone);
		}
		return;
	}
	list_for_each_entry(piece, &zone->free[size][zeroed], link) {
		chunk = uvm_piece_chunk(piece);
		KUNIT_EXPECT_EQ(test, uvm_piece_size(piece), size);
		KUNIT_EXPECT_EQ(test, uvm_piece_zeroed(piece), zeroed);
		KUNIT_EXPECT_PTR_EQ(test, uvm_chunk_zone(zone->mem, chunk), zone);
	}
}

/* Nobody else uses @mem now. */
static void devmem_check(struct kunit *test, struct uvm_devmem *mem)
{
	unsigned long used = 0, free[UVM_DEVMEM_SIZES] = { }, zone_used = 0, i;
	struct uvm_devmem_account account;
	struct uvm_devmem_chunk *chunk;
	struct uvm_devmem_zone *zone;
	unsigned int size, nr;

	for (i = 0; i < mem->nr_chunks; i++) {
		chunk = &mem->chunks[i];
		uvm_devmem_account(mem, i, &account);
		KUNIT_EXPECT_EQ(test, list_empty(&chunk->link), !!chunk->used);
		for (nr = 0; nr < UVM_CHUNK_PIECES; nr++) {
			devmem_check_piece(test, &chunk->pieces[nr]);
			account.used -= hweight16(chunk->pieces[nr].used);
		}
		KUNIT_EXPECT_EQ(test, account.used, 0);
		used += chunk->used;
		for (size = 0; size < UVM_DEVMEM_SIZES; size++)
			free[size] += account.free[size];
	}
	for (zone = mem->zones; zone < mem->zones + mem->nr_zones; zone++) {
		KUNIT_EXPECT_EQ(test, zone->npages, zone->used + zone->busy +
				zone->nr_free[UVM_DEVMEM_4K] +
				zone->nr_free[UVM_DEVMEM_64K] +
				zone->nr_free[UVM_DEVMEM_2M]);
		zone_used += zone->used;
		for (size = 0; size < UVM_DEVMEM_SIZES; size++) {
			devmem_check_list(test, zone, size, false);
			devmem_check_list(test, zone, size, true);
			free[size] -= zone->nr_free[size];
		}
	}
	for (size = 0; size < UVM_DEVMEM_SIZES; size++)
		KUNIT_EXPECT_EQ(test, free[size], 0);
	KUNIT_EXPECT_EQ(test, used, zone_used);
	KUNIT_EXPECT_EQ(test, used, uvm_devmem_used_pages(mem));
}

/* The model takes over what was handed out. */
static void devmem_own(struct kunit *test, unsigned int nr)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned int i, wrong = 0;

	for (i = 0; i < nr; i++) {
		KUNIT_ASSERT_LT(test, ctx->index[i], (unsigned long)PAGES);
		KUNIT_EXPECT_FALSE(test, __test_and_set_bit(ctx->index[i],
							    ctx->model));
		wrong += uvm_devmem_zeroed(&ctx->mem, ctx->index[i], 1) !=
			 test_bit(ctx->index[i], ctx->clean);
	}
	/* once is enough: there may be thousands */
	KUNIT_ASSERT_EQ(test, wrong, 0U);
	ctx->used += nr;
	KUNIT_EXPECT_EQ(test, uvm_devmem_used_pages(&ctx->mem), ctx->used);
	KUNIT_EXPECT_EQ(test, uvm_devmem_free_pages(&ctx->mem), PAGES - ctx->used);
}

static void devmem_take(struct kunit *test, unsigned int count)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned int nr;

	nr = uvm_devmem_alloc(&ctx->mem, ctx->index, count);
	KUNIT_EXPECT_EQ(test, nr, min_t(unsigned long, count, PAGES - ctx->used));
	devmem_own(test, nr);
}

static void devmem_take_zeroed(struct kunit *test, unsigned int count)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned int nr;

	nr = uvm_devmem_alloc_zeroed(&ctx->mem, ctx->index, count);
	KUNIT_EXPECT_EQ(test, nr, min_t(unsigned long, count, PAGES - ctx->used));
	devmem_own(test, nr);
}

static bool devmem_model_has_chunk(const struct devmem_ctx *ctx)
{
	unsigned long i;

	for (i = 0; i < PAGES; i += UVM_BLOCK_PAGES)
		if (find_next_bit(ctx->model, i + UVM_BLOCK_PAGES, i) ==
		    i + UVM_BLOCK_PAGES)
			return true;
	return false;
}

static void devmem_expect_run(struct kunit *test, const unsigned long *index,
			      unsigned int nr)
{
	unsigned int i;

	for (i = 1; i < nr; i++)
		KUNIT_EXPECT_EQ(test, index[i], index[0] + i);
}

static void devmem_take_block(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned int nr, want = devmem_model_has_chunk(ctx) ? UVM_BLOCK_PAGES : 0;

	KUNIT_EXPECT_EQ(test, uvm_devmem_largest_free(&ctx->mem) == UVM_BLOCK_PAGES, !!want);
	nr = uvm_devmem_alloc_block(&ctx->mem, ctx->index);
	KUNIT_ASSERT_EQ(test, nr, want);
	if (nr)
		KUNIT_EXPECT_EQ(test, ctx->index[0] % UVM_BLOCK_PAGES, 0UL);
	devmem_expect_run(test, ctx->index, nr);
	devmem_own(test, nr);
}

/* The run of pages in use at @index, in its chunk, of @max at most. */
static void devmem_give(struct kunit *test, unsigned long index, unsigned long max)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned long end = min(index + max, ALIGN(index + 1, UVM_BLOCK_PAGES));

	end = find_next_zero_bit(ctx->model, end, index);
	if (end <= index)
		return;
	bitmap_clear(ctx->model, index, end - index);
	bitmap_clear(ctx->clean, index, end - index);
	ctx->used -= end - index;
	uvm_devmem_free(&ctx->mem, index, end - index);
	KUNIT_EXPECT_EQ(test, uvm_devmem_used_pages(&ctx->mem), ctx->used);
}

/* All is whole again. */
static void devmem_give_all(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned long i;

	for (i = 0; i < PAGES; i++)
		devmem_give(test, i, UVM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, ctx->used, 0);
	KUNIT_EXPECT_EQ(test, devmem_count_whole(&ctx->mem), (size_t)CHUNKS);
}

static void devmem_exhaust(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;

	devmem_take(test, PAGES);
	KUNIT_EXPECT_EQ(test, uvm_devmem_free_pages(&ctx->mem), 0UL);
	KUNIT_EXPECT_EQ(test, uvm_devmem_alloc(&ctx->mem, ctx->index, 1), 0U);
	devmem_check(test, &ctx->mem);
	devmem_give_all(test);
	devmem_check(test, &ctx->mem);
	KUNIT_EXPECT_EQ(test, uvm_devmem_free_pages(&ctx->mem),
			(unsigned long)PAGES);
}

/* The last page is found, wherever it is. */
static void devmem_last_page(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned long i;

	devmem_divide(test);
	devmem_take(test, PAGES);
	for (i = 0; i < PAGES; i += 255) {
		devmem_give(test, i, 1);
		KUNIT_EXPECT_EQ(test, uvm_devmem_largest_free(&ctx->mem), 1U);
		devmem_take(test, 2);
		KUNIT_EXPECT_EQ(test, ctx->index[0], i);
		KUNIT_EXPECT_EQ(test, uvm_devmem_largest_free(&ctx->mem), 0U);
	}
	devmem_give_all(test);
	devmem_check(test, &ctx->mem);
}

static void devmem_block_is_contiguous(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;

	devmem_take(test, 1);
	devmem_take(test, UVM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, ctx->index[0] % UVM_BLOCK_PAGES, 0UL);
	devmem_expect_run(test, ctx->index, UVM_BLOCK_PAGES);
	devmem_give_all(test);
}

static void devmem_part_is_contiguous(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;

	devmem_take(test, 100);
	devmem_expect_run(test, ctx->index, 100);
	devmem_take(test, 160);
	devmem_expect_run(test, ctx->index, 160);
	KUNIT_EXPECT_EQ(test, ctx->index[0] % UVM_PIECE_PAGES, 0UL);
	KUNIT_EXPECT_EQ(test, devmem_count_whole(&ctx->mem), (size_t)CHUNKS - 1);
	devmem_check(test, &ctx->mem);
	devmem_give_all(test);
}

static void devmem_block_or_nothing(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned long base;
	unsigned int chunk;

	for (chunk = 0; chunk < CHUNKS - 1; chunk++)
		devmem_take(test, UVM_BLOCK_PAGES);
	devmem_take_block(test);
	base = ctx->index[0];
	devmem_check(test, &ctx->mem);

	devmem_give(test, base + 1, UVM_BLOCK_PAGES);
	devmem_check(test, &ctx->mem);
	KUNIT_EXPECT_EQ(test, uvm_devmem_largest_free(&ctx->mem), UVM_PIECE_PAGES);
	devmem_take_block(test);
	KUNIT_EXPECT_EQ(test, ctx->used, PAGES - UVM_BLOCK_PAGES + 1);
	devmem_give(test, base, 1);
	devmem_take_block(test);
	KUNIT_EXPECT_EQ(test, ctx->index[0], base);
	devmem_give_all(test);
	devmem_check(test, &ctx->mem);
}

/* Single pages must not break one chunk after another. */
static void devmem_small_fills_partial(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < UVM_BLOCK_PAGES; i++)
		devmem_take(test, 1);
	KUNIT_EXPECT_EQ(test, devmem_count_whole(&ctx->mem), (size_t)CHUNKS - 1);
	devmem_give_all(test);
}

/* Nor may they if there is as much as a chunk in pieces in some other zone. */
static void devmem_small_goes_elsewhere(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned long i;

	devmem_divide(test);
	devmem_take(test, PAGES);
	for (i = 0; i < PAGES; i += UVM_BLOCK_PAGES)
		if (i)
			devmem_give(test, i, i == UVM_BLOCK_PAGES ? UVM_BLOCK_PAGES - 1 :
							       UVM_BLOCK_PAGES / 2);
	/* the first chunk that is free as a whole, in zone 0 */
	devmem_give(test, 0, UVM_BLOCK_PAGES);
	for (i = 0; i < 2 * UVM_BLOCK_PAGES; i++)
		devmem_take(test, 1);
	KUNIT_EXPECT_EQ(test, devmem_count_whole(&ctx->mem), (size_t)1);
	devmem_give_all(test);
}

/* What is zeroed is given to who doesn't need it last, and is not zeroed afterwards. */
static void devmem_zeroed_is_kept(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	struct uvm_devmem_zone *zone = &ctx->mem.zones[0];
	struct uvm_devmem_account account;
	struct uvm_devmem_chunk *chunk;
	unsigned int i;

	spin_lock_irq(&zone->lock);
	chunk = uvm_zone_whole(zone, false);
	uvm_chunk_unlink(zone, chunk);
	for (i = 0; i < UVM_CHUNK_PIECES; i++)
		chunk->pieces[i].zero = UVM_PIECE_FULL;
	uvm_chunk_link(zone, chunk);
	spin_unlock_irq(&zone->lock);
	devmem_check(test, &ctx->mem);
	bitmap_set(ctx->clean, (chunk - ctx->mem.chunks) * UVM_BLOCK_PAGES, UVM_BLOCK_PAGES);
	for (i = 0; i < CHUNKS - 1; i++)
		devmem_take_block(test);
	KUNIT_EXPECT_EQ(test, chunk->used, 0U);
	devmem_take(test, 20);
	KUNIT_EXPECT_EQ(test, chunk->used, 20U);
	devmem_check(test, &ctx->mem);
	uvm_devmem_account(&ctx->mem, chunk - ctx->mem.chunks, &account);
	KUNIT_EXPECT_EQ(test, account.zeroed, UVM_CHUNK_PAGES - 20UL);
	devmem_give(test, ctx->index[0], 4);
	devmem_check(test, &ctx->mem);
	uvm_devmem_account(&ctx->mem, chunk - ctx->mem.chunks, &account);
	KUNIT_EXPECT_EQ(test, account.zeroed, UVM_CHUNK_PAGES - 20UL);
	devmem_give_all(test);
	devmem_check(test, &ctx->mem);
	KUNIT_EXPECT_FALSE(test, uvm_chunk_zeroed(chunk));
}

/* Free memory that counts as zeroed, and that is. */
static void devmem_check_zeroed(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	struct uvm_devmem_account account;
	unsigned long i, zeroed = 0, clean = 0;

	for (i = 0; i < CHUNKS; i++) {
		uvm_devmem_account(&ctx->mem, i, &account);
		zeroed += account.zeroed;
	}
	for (i = 0; i < PAGES; i++)
		clean += test_bit(i, ctx->clean) && !test_bit(i, ctx->model);
	KUNIT_ASSERT_EQ(test, zeroed, clean);
}

static bool devmem_model_has_dirty(const struct devmem_ctx *ctx)
{
	unsigned long i;

	for (i = 0; i < PAGES; i += UVM_BLOCK_PAGES)
		if (find_next_bit(ctx->model, i + UVM_BLOCK_PAGES, i) == i + UVM_BLOCK_PAGES &&
		    find_next_zero_bit(ctx->clean, i + UVM_BLOCK_PAGES, i) < i + UVM_BLOCK_PAGES)
			return true;
	return false;
}

/* A chunk is kept back, and put as being filled; @count pages are taken, and the fill fails. */
static void devmem_scrub(struct kunit *test, unsigned int count, bool fails)
{
	struct devmem_ctx *ctx = test->priv;
	long chunk = uvm_devmem_scrub_take(&ctx->mem);
	unsigned long first = chunk * UVM_BLOCK_PAGES;

	if (chunk < 0)
		return;
	KUNIT_EXPECT_TRUE(test, devmem_model_has_dirty(ctx));
	KUNIT_EXPECT_EQ(test, find_next_bit(ctx->model, first + UVM_BLOCK_PAGES, first),
			first + UVM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, uvm_devmem_free_pages(&ctx->mem), PAGES - ctx->used);
	/* there is another one */
	KUNIT_EXPECT_EQ(test, uvm_devmem_largest_free(&ctx->mem), UVM_CHUNK_PAGES);
	uvm_devmem_scrub_put(&ctx->mem, chunk, true);
	bitmap_set(ctx->clean, first, UVM_BLOCK_PAGES);
	devmem_take(test, count);
	if (!fails)
		return;
	uvm_devmem_scrub_failed(&ctx->mem, chunk, false);
	bitmap_clear(ctx->clean, first, UVM_BLOCK_PAGES);
}

/* Nobody gets a chunk that is kept back, and the last one isn't. */
static void devmem_kept_back(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	long chunk[CHUNKS];
	unsigned int i;

	for (i = 0; i < CHUNKS - 1; i++) {
		chunk[i] = uvm_devmem_scrub_take(&ctx->mem);
		KUNIT_ASSERT_GE(test, chunk[i], 0L);
	}
	KUNIT_EXPECT_EQ(test, uvm_devmem_scrub_take(&ctx->mem), -1L);
	KUNIT_EXPECT_EQ(test, ctx->mem.zones[0].busy, (CHUNKS - 1UL) * UVM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, uvm_devmem_alloc(&ctx->mem, ctx->index, PAGES), UVM_BLOCK_PAGES);
	devmem_own(test, UVM_BLOCK_PAGES);
	for (i = 0; i < CHUNKS - 1; i++)
		uvm_devmem_scrub_put(&ctx->mem, chunk[i], false);
	devmem_check(test, &ctx->mem);
	devmem_check_zeroed(test);
	devmem_take(test, PAGES);
	devmem_give_all(test);
	uvm_devmem_close(&ctx->mem);
	KUNIT_EXPECT_EQ(test, uvm_devmem_scrub_take(&ctx->mem), -1L);
}

/* It stays so until it is given back, and somebody who wants zeroes gets it. */
static void devmem_swaps_for_zeroed(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;

	devmem_scrub(test, 0, false);
	devmem_take_block(test);
	KUNIT_EXPECT_FALSE(test, test_bit(ctx->index[0], ctx->clean));
	bitmap_clear(ctx->model, ctx->index[0], UVM_BLOCK_PAGES);
	ctx->used -= UVM_BLOCK_PAGES;
	uvm_devmem_swap_zeroed(&ctx->mem, ctx->index);
	devmem_expect_run(test, ctx->index, UVM_BLOCK_PAGES);
	devmem_own(test, UVM_BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, test_bit(ctx->index[0], ctx->clean));
	devmem_check(test, &ctx->mem);
	devmem_give_all(test);
	devmem_check_zeroed(test);
}

static void devmem_random_op(struct kunit *test, u32 r)
{
	u32 arg = r >> 8;

	switch (r % 10) {
	case 8:
		devmem_scrub(test, arg % 100, arg & BIT(20));
		break;
	case 9:
		devmem_take_zeroed(test, arg % 600);
		break;
	case 0:
	case 1:
		devmem_take(test, arg % 20);
		break;
	case 2:
		devmem_take(test, arg % 600);
		break;
	case 3:
		devmem_take_block(test);
		break;
	case 4:
		devmem_give(test, arg % PAGES, 1);
		break;
	default:
		devmem_give(test, arg % PAGES, arg % 7 ? 40 : UVM_BLOCK_PAGES);
	}
}

static void devmem_random_ops(struct kunit *test, u64 seed)
{
	struct devmem_ctx *ctx = test->priv;
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, seed);
	for (i = 1; i <= devmem_ops; i++) {
		devmem_random_op(test, prandom_u32_state(&rnd));
		if (i % 256 == 0) {
			devmem_check(test, &ctx->mem);
			devmem_check_zeroed(test);
		}
		if (i % 2048 == 0) {
			devmem_give_all(test);
			cond_resched();
		}
	}
	/* A memory that is closed hands out nothing, and takes everything back. */
	uvm_devmem_close(&ctx->mem);
	KUNIT_EXPECT_EQ(test, uvm_devmem_alloc(&ctx->mem, ctx->index, 1), 0U);
	KUNIT_EXPECT_EQ(test, uvm_devmem_alloc_block(&ctx->mem, ctx->index), 0U);
	devmem_check(test, &ctx->mem);
	devmem_give_all(test);
	devmem_check(test, &ctx->mem);
}

static void devmem_random(struct kunit *test)
{
	devmem_random_ops(test, 4711);
}

static void devmem_random_zones(struct kunit *test)
{
	devmem_divide(test);
	devmem_random_ops(test, 4712);
}

#define THREADS	4
#define QUOTA	(PAGES / THREADS)

/**
 * struct devmem_thread - one who takes and gives back
 * @ctx: the memory; a bit of the model is set while a thread owns the page
 * @done: it is over
 * @seed: of its numbers
 * @twice: pages that were somebody else's when it got them
 * @short_of: pages that it didn't get though there must be enough
 * @nr: pages that it owns
 * @own: those
 */
struct devmem_thread {
	struct devmem_ctx *ctx;
	struct completion done;
	u64 seed;
	unsigned int twice;
	unsigned int short_of;
	unsigned int nr;
	unsigned long own[QUOTA];
};

/* All threads together never own more than there is. */
static void devmem_thread_take(struct devmem_thread *t, unsigned int count)
{
	struct devmem_ctx *ctx = t->ctx;
	unsigned int nr;

	count = min(count, QUOTA - t->nr);
	nr = uvm_devmem_alloc(&ctx->mem, t->own + t->nr, count);
	t->short_of += count - nr;
	for (; nr; nr--, t->nr++)
		t->twice += test_and_set_bit(t->own[t->nr], ctx->model);
}

/* The last ones that it got, as runs. */
static void devmem_thread_give(struct devmem_thread *t, unsigned int count)
{
	unsigned long *own = t->own + t->nr;
	unsigned int n;

	for (count = min(count, t->nr); count; count -= n) {
		for (n = 0; n < count;) {
			clear_bit(*--own, t->ctx->model);
			if (++n < count && (own[-1] + 1 != own[0] ||
					    own[0] % UVM_BLOCK_PAGES == 0))
				break;
		}
		t->nr -= n;
		uvm_devmem_free(&t->ctx->mem, *own, n);
	}
}

static int devmem_thread_fn(void *data)
{
	struct devmem_thread *t = data;
	struct rnd_state rnd;
	unsigned int i;
	u32 r;

	prandom_seed_state(&rnd, t->seed);
	for (i = 0; i < devmem_ops; i++) {
		r = prandom_u32_state(&rnd);
		if (r & 1)
			devmem_thread_take(t, (r >> 8) % (r & 2 ? 600 : 20));
		else
			devmem_thread_give(t, (r >> 8) % (r & 2 ? 600 : 20));
		cond_resched();
	}
	devmem_thread_give(t, t->nr);
	complete(&t->done);
	return 0;
}

static struct devmem_thread *devmem_thread_start(struct kunit *test, unsigned int i)
{
	struct devmem_thread *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct task_struct *task;

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->ctx = test->priv;
	t->seed = 100 + i;
	init_completion(&t->done);
	task = kthread_run(devmem_thread_fn, t, "uvm_devmem/%u", i);
	if (IS_ERR(task))
		complete(&t->done);
	KUNIT_EXPECT_FALSE(test, IS_ERR(task));
	return t;
}

/* Returns how many pages they didn't get. */
static unsigned int devmem_run_threads(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;
	struct devmem_thread *t[THREADS];
	unsigned int i, short_of = 0;

	for (i = 0; i < THREADS; i++)
		t[i] = devmem_thread_start(test, i);
	for (i = 0; i < THREADS; i++) {
		wait_for_completion(&t[i]->done);
		KUNIT_EXPECT_EQ(test, t[i]->twice, 0U);
		short_of += t[i]->short_of;
	}
	KUNIT_EXPECT_EQ(test, uvm_devmem_used_pages(&ctx->mem), 0UL);
	KUNIT_EXPECT_EQ(test, devmem_count_whole(&ctx->mem), (size_t)CHUNKS);
	devmem_check(test, &ctx->mem);
	return short_of;
}

static void devmem_threads(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, devmem_run_threads(test), 0U);
}

/* What goes from zone to zone meanwhile may be missed. */
static void devmem_threads_zones(struct kunit *test)
{
	devmem_divide(test);
	devmem_run_threads(test);
}

static void devmem_expect_watched(struct kunit *test, unsigned long free,
				  unsigned long peak)
{
	struct devmem_ctx *ctx = test->priv;
	unsigned long seen;

	KUNIT_EXPECT_EQ(test, uvm_devmem_watch(&ctx->mem, &seen), free);
	KUNIT_EXPECT_EQ(test, seen, peak);
}

/* The most that was free since the last look, however little is free now */
static void devmem_watched(struct kunit *test)
{
	struct devmem_ctx *ctx = test->priv;

	uvm_devmem_set_watched(&ctx->mem, true);
	devmem_expect_watched(test, PAGES, PAGES);
	devmem_take(test, 10);
	devmem_expect_watched(test, PAGES - 10, PAGES);
	devmem_expect_watched(test, PAGES - 10, PAGES - 10);
	devmem_give_all(test);
	devmem_take(test, 20);
	devmem_take(test, 5);
	devmem_expect_watched(test, PAGES - 25, PAGES);
	devmem_take(test, 1);
	devmem_expect_watched(test, PAGES - 26, PAGES - 25);
	devmem_give_all(test);
	devmem_expect_watched(test, PAGES, PAGES);
}

static struct kunit_case devmem_cases[] = {
	KUNIT_CASE(devmem_exhaust),
	KUNIT_CASE(devmem_last_page),
	KUNIT_CASE(devmem_block_is_contiguous),
	KUNIT_CASE(devmem_part_is_contiguous),
	KUNIT_CASE(devmem_block_or_nothing),
	KUNIT_CASE(devmem_small_fills_partial),
	KUNIT_CASE(devmem_watched),
	KUNIT_CASE(devmem_small_goes_elsewhere),
	KUNIT_CASE(devmem_zeroed_is_kept),
	KUNIT_CASE(devmem_kept_back),
	KUNIT_CASE(devmem_swaps_for_zeroed),
	KUNIT_CASE(devmem_random),
	KUNIT_CASE(devmem_random_zones),
	KUNIT_CASE(devmem_threads),
	KUNIT_CASE(devmem_threads_zones),
	{}
};

static struct kunit_suite devmem_suite = {
	.name = "uvm_devmem",
	.init = devmem_test_init,
	.exit = devmem_test_exit,
	.test_cases = devmem_cases,
};

kunit_test_suite(devmem_suite);
MODULE_DESCRIPTION("Unit tests of uvm");
MODULE_LICENSE("GPL");
