// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks of managed memory: who holds a page after a collapse, and after it left a GPU,
 * whoever held it before, against a table; and that whatever comes and goes at random,
 * each page and each number is freed once, and counted. And that holes are filled, and no
 * more; and blocks found.
 */
#define uvm_mirror_look_begin	block_look_begin
#define uvm_mirror_look_end	block_look_end
#define uvm_gpu_free_pages	block_free_numbers
#define uvm_resident_put	block_resident_put
#define uvm_resident_is_stray	block_is_stray
#define uvm_policies_lookup	block_policy
#define uvm_gpu_space_find	block_space_find
#define uvm_managed_vs		block_vs
#define uvm_vma_is_managed	block_vma_is_managed
#define unmap_mapping_range	block_unmapped

#include "block.c"
#include "managed_dup.c"

#include <kunit/test.h>
#include <linux/prandom.h>

#define GPUS		2
#define BASE		(64UL << UVM_BLOCK_SHIFT)
#define ROUNDS		20000

/* Who holds a page: a mask */
#define CPU		1U
#define GPU(n)		(2U << (n))
#define ALL		(CPU | GPU(0) | GPU(1))

struct block_ctx {
	struct uvm_va_space vs;
	struct inode *inode;
	struct uvm_gpu *gpus[GPUS];
	struct uvm_resident *res[GPUS];
	struct uvm_block *block;
	/* numbers in use, and how often a resident lost its user */
	DECLARE_BITMAP(used[GPUS], UVM_BLOCK_PAGES);
	unsigned int puts;
	unsigned int bad;
	unsigned int asked;	/* for a policy, as for each page that is allocated */
	DECLARE_BITMAP(unmapped, UVM_BLOCK_PAGES);
	struct rnd_state rnd;
};

static struct block_ctx *block_now;

/* ---- what block.c and managed_dup.c call ---- */

int block_look_begin(void)
{
	return 0;
}

void block_look_end(int srcu)
{
}

/* Only what is unmapped may go. The number of page i is i. */
void block_free_numbers(struct uvm_gpu *gpu, unsigned long index, unsigned int count)
{
	unsigned int n = gpu == block_now->gpus[1];

	while (count--) {
		block_now->bad += !test_and_clear_bit(index, block_now->used[n]);
		block_now->bad += !test_bit(index, block_now->unmapped);
		index++;
	}
}

void block_resident_put(struct uvm_resident *res)
{
	block_now->puts++;
}

bool block_is_stray(struct uvm_gpu *gpu, unsigned long index)
{
	return false;
}

void block_policy(struct uvm_policies *policies, unsigned long addr,
		  struct uvm_policy *policy, unsigned long *first, unsigned long *last)
{
	block_now->asked++;
	*policy = (struct uvm_policy){ 0 };
	/* Of pairs of pages one pair in two is read mostly. */
	*first = ALIGN_DOWN(addr, 2 * PAGE_SIZE);
	*last = *first + 2 * PAGE_SIZE - 1;
	if (addr & (2 * PAGE_SIZE))
		policy->odd = UVM_POLICY_READ_MOSTLY;
}

struct uvm_gpu_space *block_space_find(struct uvm_va_space *vs, const u8 *uuid)
{
	return NULL;
}

struct uvm_va_space *block_vs(const struct vm_area_struct *vma)
{
	return NULL;
}

bool block_vma_is_managed(const struct vm_area_struct *vma)
{
	return false;
}

void block_unmapped(struct address_space *mapping, loff_t start, loff_t length, int even_cows)
{
	bitmap_set(block_now->unmapped, (start - BASE) >> PAGE_SHIFT, length >> PAGE_SHIFT);
}

/* ---- a block, and who holds its pages ---- */

static int block_test_init(struct kunit *test)
{
	struct block_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->inode = kunit_kzalloc(test, sizeof(*ctx->inode), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->inode);
	ctx->vs.managed.inode = ctx->inode;
	xa_init(&ctx->vs.managed.blocks);
	init_rwsem(&ctx->vs.lock);
	for (i = 0; i < GPUS; i++) {
		ctx->gpus[i] = kunit_kzalloc(test, sizeof(*ctx->gpus[i]), GFP_KERNEL);
		ctx->res[i] = kunit_kzalloc(test, sizeof(*ctx->res[i]), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, ctx->gpus[i]);
		KUNIT_ASSERT_NOT_NULL(test, ctx->res[i]);
		ctx->gpus[i]->id = 7 - i;
	}
	prandom_seed_state(&ctx->rnd, 20261123);
	block_now = ctx;
	ctx->block = uvm_block_get(&ctx->vs, BASE, true);
	KUNIT_ASSERT_NOT_NULL(test, ctx->block);
	KUNIT_ASSERT_EQ(test, uvm_block_make_room(ctx->block), 0);
	test->priv = ctx;
	return 0;
}

static unsigned int block_holders(struct block_ctx *ctx, unsigned int i)
{
	unsigned int holders = test_bit(i, ctx->block->cpu) ? CPU : 0, n;
	struct uvm_block_gpu *bg;

	for (n = 0; n < GPUS; n++) {
		bg = uvm_block_gpu_find(ctx->block, ctx->gpus[n]);
		if (bg && test_bit(i, bg->here))
			holders |= GPU(n);
	}
	return holders;
}

static void block_give_gpu(struct kunit *test, unsigned int i, unsigned int n)
{
	struct block_ctx *ctx = test->priv;
	struct uvm_block_gpu *bg = uvm_block_gpu_find(ctx->block, ctx->gpus[n]), *next;

	if (!bg) {
		bg = kzalloc(sizeof(*bg), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, bg);
		bg->gpu = ctx->gpus[n];
		bg->res = ctx->res[n];
		/* by id, as moves add them */
		list_for_each_entry(next, &ctx->block->gpus, link)
			if (next->gpu->id > bg->gpu->id)
				break;
		list_add_tail(&bg->link, &next->link);
	}
	bg->index[i] = i;
	bg->nr++;
	__set_bit(i, bg->here);
	__set_bit(i, ctx->used[n]);
	uvm_block_count(ctx->block, 1);
}

/* Locked. The page has no holders yet. */
static void block_give(struct kunit *test, unsigned int i, unsigned int holders)
{
	struct block_ctx *ctx = test->priv;
	unsigned int n;

	if (holders & CPU) {
		ctx->block->page[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, ctx->block->page[i]);
		__set_bit(i, ctx->block->cpu);
		atomic_long_inc(&ctx->vs.managed.cpu_pages);
		uvm_block_count(ctx->block, 1);
	}
	for (n = 0; n < GPUS; n++)
		if (holders & GPU(n))
			block_give_gpu(test, i, n);
}

/* Nobody holds a page any more, and nothing was freed twice, or while it was mapped. */
static void block_end(struct kunit *test)
{
	struct block_ctx *ctx = test->priv;

	bitmap_fill(ctx->unmapped, UVM_BLOCK_PAGES);
	uvm_block_drop(ctx->block, 0, UVM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, ctx->block->nr, 0UL);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->block->gpus));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ctx->vs.managed.cpu_pages), 0L);
	KUNIT_EXPECT_TRUE(test, bitmap_empty(ctx->used[0], UVM_BLOCK_PAGES));
	KUNIT_EXPECT_TRUE(test, bitmap_empty(ctx->used[1], UVM_BLOCK_PAGES));
	KUNIT_EXPECT_EQ(test, ctx->bad, 0U);
	KUNIT_EXPECT_EQ(test, kref_read(&ctx->block->ref), 1U);
	uvm_block_put(ctx->block);
	KUNIT_EXPECT_TRUE(test, xa_empty(&ctx->vs.managed.blocks));
}

/* ---- the table ---- */

static const struct {
	unsigned int before;
	unsigned int cpu;	/* after a collapse in favour of the CPU */
	unsigned int gpu;	/* of the first GPU, whose id is the higher one */
	unsigned int pinned;	/* the same, while somebody has the CPU's page */
	unsigned int left;	/* after it left the first GPU, as far as it needs no copy */
} block_table[] = {
	{ 0, 0, 0, 0, 0 },
	{ CPU, CPU, CPU, CPU, CPU },
	{ GPU(0), GPU(0), GPU(0), GPU(0), GPU(0) },
	{ GPU(1), GPU(1), GPU(1), GPU(1), GPU(1) },
	{ CPU | GPU(0), CPU, GPU(0), CPU, CPU },
	{ CPU | GPU(1), CPU, CPU, CPU, CPU | GPU(1) },
	{ GPU(0) | GPU(1), GPU(1), GPU(0), GPU(0), GPU(1) },
	{ ALL, CPU, GPU(0), CPU, CPU | GPU(1) },
};

static void block_expect(struct kunit *test, unsigned int row, unsigned int want,
			 const char *what)
{
	KUNIT_EXPECT_EQ_MSG(test, block_holders(test->priv, row), want,
			    "%s, of a page that 0x%x held", what, block_table[row].before);
}

static void block_give_rows(struct kunit *test)
{
	unsigned int row;

	for (row = 0; row < ARRAY_SIZE(block_table); row++)
		block_give(test, row, block_table[row].before);
}

static void block_collapses_for_cpu(struct kunit *test)
{
	struct block_ctx *ctx = test->priv;
	unsigned int row;

	mutex_lock(&ctx->block->lock);
	block_give_rows(test);
	KUNIT_EXPECT_EQ(test, uvm_block_collapse(ctx->block, 0, ARRAY_SIZE(block_table),
						 NULL), 0);
	for (row = 0; row < ARRAY_SIZE(block_table); row++)
		block_expect(test, row, block_table[row].cpu, "collapsed for the CPU");
	mutex_unlock(&ctx->block->lock);
	block_end(test);
}

static void block_collapses_for_gpu(struct kunit *test)
{
	struct block_ctx *ctx = test->priv;
	unsigned int row;

	mutex_lock(&ctx->block->lock);
	block_give_rows(test);
	KUNIT_EXPECT_EQ(test, uvm_block_collapse(ctx->block, 0, ARRAY_SIZE(block_table),
						 ctx->gpus[0]), 0);
	for (row = 0; row < ARRAY_SIZE(block_table); row++)
		block_expect(test, row, block_table[row].gpu, "collapsed for a GPU");
	mutex_unlock(&ctx->block->lock);
	block_end(test);
}

static void block_keeps_pinned(struct kunit *test)
{
	struct page *pinned[ARRAY_SIZE(block_table)];
	struct block_ctx *ctx = test->priv;
	unsigned int row;

	mutex_lock(&ctx->block->lock);
	block_give_rows(test);
	for (row = 0; row < ARRAY_SIZE(block_table); row++) {
		pinned[row] = ctx->block->page[row];
		if (pinned[row])
			get_page(pinned[row]);
	}
	KUNIT_EXPECT_EQ(test, uvm_block_collapse(ctx->block, 0, ARRAY_SIZE(block_table),
						 ctx->gpus[0]), -EAGAIN);
	for (row = 0; row < ARRAY_SIZE(block_table); row++) {
		block_expect(test, row, block_table[row].pinned, "collapsed while pinned");
		if (pinned[row])
			put_page(pinned[row]);
	}
	mutex_unlock(&ctx->block->lock);
	block_end(test);
}

/* What is in a move is left to the mover, and what is only read to its holders. */
static void block_collapses_written(struct kunit *test)
{
	u8 *access = kunit_kzalloc(test, UVM_BLOCK_PAGES, GFP_KERNEL);
	struct block_ctx *ctx = test->priv;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, access);
	mutex_lock(&ctx->block->lock);
	for (i = 0; i < 12; i++) {
		block_give(test, i, ALL);
		access[i] = i % 3 == 1 ? UVM_ACCESS_READ : UVM_ACCESS_WRITE;
		if (i % 4 == 2)
			__set_bit(i, ctx->block->busy);
	}
	mutex_unlock(&ctx->block->lock);
	uvm_block_collapse_shared(ctx->block, 1, 11, ctx->gpus[1], access);
	mutex_lock(&ctx->block->lock);
	for (i = 0; i < 12; i++)
		KUNIT_EXPECT_EQ_MSG(test, block_holders(ctx, i),
				    i < 1 || i >= 11 || i % 3 == 1 || i % 4 == 2 ?
				    ALL : GPU(1), "page %u", i);
	bitmap_zero(ctx->block->busy, UVM_BLOCK_PAGES);
	mutex_unlock(&ctx->block->lock);
	block_end(test);
}

static void block_leaves(struct kunit *test)
{
	const unsigned int rows = ARRAY_SIZE(block_table);
	struct uvm_move *mv = kunit_kzalloc(test, sizeof(*mv), GFP_KERNEL);
	struct block_ctx *ctx = test->priv;
	const struct uvm_target dest = { .from = ctx->gpus[0]->id, .leave = true };
	unsigned int row;

	KUNIT_ASSERT_NOT_NULL(test, mv);
	mv->block = ctx->block;
	mv->base = BASE;
	mv->npages = rows;
	mv->args.start = BASE;
	mv->args.end = BASE + rows * PAGE_SIZE;
	mv->args.npages = rows;
	mutex_lock(&ctx->block->lock);
	block_give_rows(test);
	mutex_unlock(&ctx->block->lock);
	uvm_managed_drop_copies(mv, &dest);
	mutex_lock(&ctx->block->lock);
	for (row = 0; row < rows; row++) {
		block_expect(test, row, block_table[row].left, "left a GPU");
		KUNIT_EXPECT_EQ(test, test_bit(row, mv->moved),
				block_table[row].left != block_table[row].before);
	}
	mutex_unlock(&ctx->block->lock);
	block_end(test);
}

/* Copies are made where the policy says so, but not of what is to be written. */
static void block_notes_copies(struct kunit *test)
{
	struct uvm_move *mv = kunit_kzalloc(test, sizeof(*mv), GFP_KERNEL);
	u8 *access = kunit_kzalloc(test, UVM_BLOCK_PAGES, GFP_KERNEL);
	struct block_ctx *ctx = test->priv;
	struct uvm_target dest = { .duplicate = true, .access = access };
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, mv);
	KUNIT_ASSERT_NOT_NULL(test, access);
	mv->block = ctx->block;
	mv->args.start = BASE + 3 * PAGE_SIZE;
	mv->args.end = BASE + 29 * PAGE_SIZE;
	for (i = 0; i < UVM_BLOCK_PAGES; i++)
		access[i] = i % 5 == 0 ? UVM_ACCESS_WRITE : i % 2;
	uvm_managed_note_copies(mv, &dest);
	for (i = 0; i < UVM_BLOCK_PAGES; i++)
		KUNIT_EXPECT_EQ_MSG(test, test_bit(i, mv->copies),
				    i >= 3 && i < 29 && (i & 2) && i % 5, "page %u", i);
	dest.duplicate = false;
	uvm_managed_note_copies(mv, &dest);
	KUNIT_EXPECT_TRUE(test, bitmap_empty(mv->copies, UVM_BLOCK_PAGES));
	block_end(test);
}

/* ---- at random ---- */

static void block_random(struct kunit *test)
{
	struct block_ctx *ctx = test->priv;
	unsigned int round, first, end, i, before;

	for (round = 0; round < ROUNDS; round++) {
		first = prandom_u32_state(&ctx->rnd) % UVM_BLOCK_PAGES;
		end = min(first + 1 + prandom_u32_state(&ctx->rnd) % 16, UVM_BLOCK_PAGES);
		bitmap_zero(ctx->unmapped, UVM_BLOCK_PAGES);
		switch (prandom_u32_state(&ctx->rnd) % 4) {
		case 0:
			bitmap_set(ctx->unmapped, first, end - first);
			uvm_block_drop(ctx->block, first, end);
			break;
		case 1:
			uvm_block_collapse_shared(ctx->block, first, end,
				round % 3 ? ctx->gpus[round % 2] : NULL, NULL);
			mutex_lock(&ctx->block->lock);
			for (i = first; i < end; i++)
				KUNIT_EXPECT_FALSE(test, uvm_block_is_shared(ctx->block, i));
			mutex_unlock(&ctx->block->lock);
			break;
		default:
			mutex_lock(&ctx->block->lock);
			for (i = first; i < end; i++) {
				before = block_holders(ctx, i);
				block_give(test, i, prandom_u32_state(&ctx->rnd) & ALL & ~before);
			}
			mutex_unlock(&ctx->block->lock);
		}
		cond_resched();
	}
	block_end(test);
}

/* ---- what there is, and what isn't ---- */

/* The CPU gets what nobody has and nobody moves; for what there is no page is tried. */
static void block_populates_holes(struct kunit *test)
{
	struct block_ctx *ctx = test->priv;
	unsigned int i, want[12];

	mutex_lock(&ctx->block->lock);
	for (i = 0; i < ARRAY_SIZE(want); i++) {
		want[i] = i % 3 == 0 ? CPU : i % 3 == 1 ? GPU(0) : 0;
		block_give(test, i, want[i]);
	}
	__set_bit(5, ctx->block->busy);
	mutex_unlock(&ctx->block->lock);
	KUNIT_EXPECT_EQ(test, uvm_block_populate_run(ctx->block, 0, ARRAY_SIZE(want)), 0);
	KUNIT_EXPECT_EQ(test, ctx->asked, 3U);
	mutex_lock(&ctx->block->lock);
	for (i = 0; i < ARRAY_SIZE(want); i++)
		KUNIT_EXPECT_EQ_MSG(test, block_holders(ctx, i),
				    want[i] || i == 5 ? want[i] : CPU, "page %u", i);
	__clear_bit(5, ctx->block->busy);
	mutex_unlock(&ctx->block->lock);
	block_end(test);
}

/* Blocks are found from any address in them, or before them; those before @end. */
static void block_finds_next(struct kunit *test)
{
	struct block_ctx *ctx = test->priv;
	struct uvm_block *far = uvm_block_get(&ctx->vs, BASE + (1UL << 45), true), *found;
	unsigned long addr = 0;

	KUNIT_ASSERT_NOT_NULL(test, far);
	KUNIT_EXPECT_NULL(test, uvm_block_next(&ctx->vs, &addr, BASE));
	found = uvm_block_next(&ctx->vs, &addr, BASE + 1);
	KUNIT_EXPECT_PTR_EQ(test, found, ctx->block);
	KUNIT_EXPECT_EQ(test, addr, BASE);
	uvm_block_put(found);
	addr = BASE + 3 * PAGE_SIZE;
	found = uvm_block_next(&ctx->vs, &addr, ULONG_MAX);
	KUNIT_EXPECT_PTR_EQ(test, found, ctx->block);
	KUNIT_EXPECT_EQ(test, addr, BASE + 3 * PAGE_SIZE);
	uvm_block_put(found);
	addr = BASE + UVM_BLOCK_SIZE;
	found = uvm_block_next(&ctx->vs, &addr, ULONG_MAX);
	KUNIT_EXPECT_PTR_EQ(test, found, far);
	KUNIT_EXPECT_EQ(test, addr, far->base);
	uvm_block_put(found);
	addr = far->base + UVM_BLOCK_SIZE;
	KUNIT_EXPECT_NULL(test, uvm_block_next(&ctx->vs, &addr, ULONG_MAX));
	uvm_block_put(far);
	block_end(test);
}

static struct kunit_case block_cases[] = {
	KUNIT_CASE(block_populates_holes),
	KUNIT_CASE(block_finds_next),
	KUNIT_CASE(block_collapses_for_cpu),
	KUNIT_CASE(block_collapses_for_gpu),
	KUNIT_CASE(block_keeps_pinned),
	KUNIT_CASE(block_collapses_written),
	KUNIT_CASE(block_leaves),
	KUNIT_CASE(block_notes_copies),
	KUNIT_CASE(block_random),
	{}
};

static struct kunit_suite block_suite = {
	.name = "uvm_block",
	.init = block_test_init,
	.test_cases = block_cases,
};
kunit_test_suite(block_suite);
