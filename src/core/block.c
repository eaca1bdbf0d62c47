// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Managed blocks
 *
 * Owns where the pages of managed memory are, and the pages themselves. A *block* is 2 MiB
 * of addresses of a VA space; it says for each page who *holds* it: the CPU, in a page of
 * system memory that is the block's, or GPUs, in pages of theirs that it knows by number.
 * Blocks are by address, not by mapping. So nothing is to be done when a mapping is split,
 * and nothing can fail or be lost then; a mapping that ends takes its addresses' pages
 * along.
 *
 * A block is there as long as it holds a page, or somebody works with it: its pages have
 * one of its references, all together.
 *
 * Invariants, under &uvm_block.lock, for pages that aren't busy:
 *
 * - Of a page with several holders nobody has a writable entry. Entries are written under
 *   the lock, or by core after managed.c granted that under it.
 * - An entry points to a holder's page. A page leaves its holder only after it was made
 *   busy and then unmapped (uvm_block_unmap()), for the CPU and for all GPUs.
 * - A page that was handed out to get an entry is locked until it has one: the CPU's, or that
 *   of a coherent GPU that alone holds it.
 *
 * Whoever adds an entry, a page or a move for an address does so with mmap_lock held and a
 * mapping of ours there, and ends before the lock is dropped. So when a mapping is closed
 * nobody does: its writer had mmap_lock for himself since it left the tree of mappings, or
 * the mm has no users. And all entries are gone: core unmapped it before that.
 *
 * The CPU's pages are on no LRU list and have no mapping: reclaim, compaction and core's
 * migration leave them alone, and that they are dirty means nothing. Who holds a reference
 * of his own, as system calls do that read or write there, keeps the page beyond its
 * mapping, as that of a file.
 *
 * They come in pieces: the first touch of an empty block takes 2 MiB of memory in a row,
 * elsewhere 64 KiB, as far as the mapping reaches and the policy is the same; a single page
 * where the mapping has VM_NOHUGEPAGE, or there is no such piece. Engines copy a piece at
 * once, and GPUs map it by one entry. But each page is one of its own, which is not so for
 * core's huge pages: core maps a huge page as a whole, so a part of it couldn't leave
 * before the rest is copied elsewhere.
 */
#include "managed.h"

#include <linux/sched/signal.h>
#include <linux/slab.h>

/* Of all VA spaces. */
static atomic_long_t uvm_nr_blocks;

long uvm_blocks_count(void)
{
	return atomic_long_read(&uvm_nr_blocks);
}

static struct uvm_block *uvm_block_alloc(struct uvm_va_space *vs, unsigned long base)
{
	struct uvm_block *block = kzalloc(sizeof(*block), GFP_KERNEL_ACCOUNT);

	if (!block)
		return NULL;
	kref_init(&block->ref);
	block->vs = vs;
	block->base = base;
	mutex_init(&block->lock);
	init_waitqueue_head(&block->idle);
	INIT_LIST_HEAD(&block->gpus);
	atomic_long_inc(&uvm_nr_blocks);
	return block;
}

static void uvm_block_free(struct uvm_block *block)
{
	WARN_ON_ONCE(block->nr || !list_empty(&block->gpus));
	kvfree(block->page);
	mutex_destroy(&block->lock);
	kfree(block);
	atomic_long_dec(&uvm_nr_blocks);
}

/* Drops the lock of the table that it is called with. */
static void uvm_block_release(struct kref *ref)
{
	struct uvm_block *block = container_of(ref, struct uvm_block, ref);
	struct xarray *blocks = &block->vs->managed.blocks;

	__xa_erase(blocks, block->base >> UVM_BLOCK_SHIFT);
	/* Taken by kref_put_lock(). */
	__acquire(&blocks->xa_lock);
	xa_unlock(blocks);
	uvm_block_free(block);
}

/**
 * uvm_block_put() - end what uvm_block_get() began
 * @block: not locked by the caller; or it holds pages
 */
void uvm_block_put(struct uvm_block *block)
{
	kref_put_lock(&block->ref, uvm_block_release, &block->vs->managed.blocks.xa_lock);
}

/* Puts a new block into the table, unless there is one. NULL for want of memory. */
static struct uvm_block *uvm_block_insert(struct uvm_va_space *vs, struct uvm_block *new)
{
	struct xarray *blocks = &vs->managed.blocks;
	struct uvm_block *block;

	xa_lock(blocks);
	block = __xa_cmpxchg(blocks, new->base >> UVM_BLOCK_SHIFT, NULL, new,
			     GFP_KERNEL_ACCOUNT);
	if (xa_is_err(block))
		block = NULL;
	else if (block)
		kref_get(&block->ref);
	else
		block = new;
	xa_unlock(blocks);
	if (block != new)
		uvm_block_free(new);
	return block;
}

/**
 * uvm_block_get() - the block at an address
 * @vs: VA space that a managed VMA of the caller's keeps, or whoever closes it
 * @base: address, in whichever page of it
 * @create: if there is none there shall be one
 *
 * Return: a reference to it, for uvm_block_put(); NULL if there is none, or no memory for
 * one.
 */
struct uvm_block *uvm_block_get(struct uvm_va_space *vs, unsigned long base, bool create)
{
	struct xarray *blocks = &vs->managed.blocks;
	struct uvm_block *block;

	/* Whoever drops the last reference does so under this lock, and takes it out. */
	xa_lock(blocks);
	block = xa_load(blocks, base >> UVM_BLOCK_SHIFT);
	if (block)
		kref_get(&block->ref);
	xa_unlock(blocks);
	if (block || !create)
		return block;
	block = uvm_block_alloc(vs, ALIGN_DOWN(base, UVM_BLOCK_SIZE));
	return block ? uvm_block_insert(vs, block) : NULL;
}

/**
 * uvm_block_next() - the next block that there is
 * @vs: as for uvm_block_get()
 * @addr: where to begin; moves to where the block begins, if that is later
 * @end: where to stop
 *
 * Return: a reference to it, for uvm_block_put(); NULL if there is none before @end.
 */
struct uvm_block *uvm_block_next(struct uvm_va_space *vs, unsigned long *addr,
				 unsigned long end)
{
	struct xarray *blocks = &vs->managed.blocks;
	unsigned long index = *addr >> UVM_BLOCK_SHIFT;
	struct uvm_block *block;

	xa_lock(blocks);
	block = xa_find(blocks, &index, (end - 1) >> UVM_BLOCK_SHIFT, XA_PRESENT);
	if (block)
		kref_get(&block->ref);
	xa_unlock(blocks);
	if (block)
		*addr = max(*addr, block->base);
	return block;
}

/**
 * uvm_block_count() - pages got, or lost, holders
 * @block: locked; the caller has a reference
 * @nr: how many more
 */
void uvm_block_count(struct uvm_block *block, long nr)
{
	bool had = block->nr;

	lockdep_assert_held(&block->lock);
	block->nr += nr;
	if (!had && block->nr)
		kref_get(&block->ref);
	else if (had && !block->nr)
		uvm_block_put(block);
}

/* ---- pages of system memory ---- */

/**
 * uvm_managed_alloc_page() - a page for a block
 * @node: where it had better be, or NUMA_NO_NODE for what the task wants
 * @extra: __GFP_ZERO, unless the caller overwrites all of it before anybody sees it
 *
 * Charged to the active memory cgroup, which the caller has set to the mm's. Nothing but
 * its block would know how to move it, so it isn't movable.
 */
struct page *uvm_managed_alloc_page(int node, gfp_t extra)
{
	const gfp_t gfp = GFP_HIGHUSER | __GFP_ACCOUNT | extra;
	struct page *page = NULL;

	if (node != NUMA_NO_NODE)
		page = alloc_pages_node(node, gfp | __GFP_THISNODE | __GFP_NOWARN |
					__GFP_NORETRY, 0);
	if (!page)
		page = alloc_page(gfp);
	if (page)
		set_page_private(page, UVM_MANAGED_PAGE);
	return page;
}

/**
 * uvm_managed_alloc_piece() - pages for a block, in a row
 * @node: from there only, or NUMA_NO_NODE for where the task wants it
 * @order: 1 << @order pages, which begin at a multiple of that
 * @extra: as for uvm_managed_alloc_page()
 *
 * Without effort: nobody's memory is reclaimed for more than UVM_PIECE_ORDER. Each is a page of its
 * own, which goes when it likes; but engines and GPUs have few pieces to deal with.
 *
 * Return: the first one; NULL if there is no such piece.
 */
struct page *uvm_managed_alloc_piece(int node, unsigned int order, gfp_t extra)
{
	gfp_t gfp = GFP_HIGHUSER | __GFP_ACCOUNT | __GFP_NOWARN | __GFP_NORETRY | extra;
	struct page *page;
	unsigned int i;

	if (order > UVM_PIECE_ORDER)
		gfp &= ~__GFP_DIRECT_RECLAIM;
	if (node != NUMA_NO_NODE)
		page = alloc_pages_node(node, gfp | __GFP_THISNODE, order);
	else
		page = alloc_pages(gfp, order);
	if (!page)
		return NULL;
	if (order)
		split_page(page, order);
	for (i = 0; i < 1U << order; i++)
		set_page_private(page + i, UVM_MANAGED_PAGE);
	return page;
}

/* The block lets go of it; who else has a reference keeps it. */
void uvm_managed_free_page(struct page *page)
{
	set_page_private(page, 0);
	put_page(page);
}

/**
 * uvm_managed_free_pages() - as uvm_managed_free_page(), of many
 * @pages: the pages
 * @nr: how many
 *
 * Core gives them back, and to whom they are charged, at once.
 */
void uvm_managed_free_pages(struct page **pages, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		set_page_private(pages[i], 0);
	release_pages(pages, nr);
}

/*
 * What the policy says where pages of system memory should be, or NUMA_NO_NODE; @first and
 * @end are narrowed to pages around @i for which it says so.
 */
static int uvm_block_node(struct uvm_block *block, unsigned int i, unsigned int *first,
			  unsigned int *end)
{
	unsigned long from, last;
	struct uvm_policy policy;

	uvm_policies_lookup(&block->vs->policies, block->base + i * PAGE_SIZE, &policy,
			    &from, &last);
	if (from > block->base)
		*first = max(*first, uvm_block_index(from));
	if (last < block->base + UVM_BLOCK_SIZE - 1)
		*end = min(*end, uvm_block_index(last) + 1);
	return policy.dest_kind == UVM_DEST_CPU_NODE ? policy.dest_id : NUMA_NO_NODE;
}

/* For pages of the CPU's. Returns 0 or -ENOMEM. */
int uvm_block_make_room(struct uvm_block *block)
{
	struct page **pages;

	if (READ_ONCE(block->page))
		return 0;
	pages = kvcalloc(UVM_BLOCK_PAGES, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return -ENOMEM;
	mutex_lock(&block->lock);
	if (!block->page)
		swap(block->page, pages);
	mutex_unlock(&block->lock);
	kvfree(pages);
	return 0;
}

/* Are they nobody's, and not about to be somebody's? */
static bool uvm_block_are_holes(struct uvm_block *block, unsigned int first,
				unsigned int end)
{
	struct uvm_block_gpu *bg;

	if (find_next_bit(block->cpu, end, first) < end ||
	    uvm_block_is_busy(block, first, end))
		return false;
	list_for_each_entry(bg, &block->gpus, link)
		if (find_next_bit(bg->here, end, first) < end)
			return false;
	return true;
}

/* The next hole from @i on, before @end; @end if there is none just now. */
static unsigned int uvm_block_next_hole(struct uvm_block *block, unsigned int i,
					unsigned int end)
{
	mutex_lock(&block->lock);
	while (i < end && !uvm_block_are_holes(block, i, i + 1))
		i++;
	mutex_unlock(&block->lock);
	return i;
}

/* True if the pages are the block's now. */
static bool uvm_block_install(struct uvm_block *block, unsigned int first, unsigned int nr,
			      struct page *page)
{
	unsigned int i;
	bool holes;

	mutex_lock(&block->lock);
	holes = uvm_block_are_holes(block, first, first + nr);
	if (holes) {
		for (i = 0; i < nr; i++)
			block->page[first + i] = page + i;
		bitmap_set(block->cpu, first, nr);
		uvm_block_count(block, nr);
		atomic_long_add(nr, &block->vs->managed.cpu_pages);
	}
	mutex_unlock(&block->lock);
	return holes;
}

static bool uvm_block_wants_piece(struct uvm_block *block, unsigned int first,
				  unsigned int nr)
{
	bool holes;

	mutex_lock(&block->lock);
	holes = uvm_block_are_holes(block, first, first + nr);
	mutex_unlock(&block->lock);
	return holes;
}

/* 0; -ENOMEM; -EAGAIN if somebody has some of the pages. */
static int uvm_block_populate_piece(struct uvm_block *block, unsigned int first,
				    unsigned int order, int node)
{
	unsigned int i, nr = 1U << order;
	struct page *page;

	if (order && !uvm_block_wants_piece(block, first, nr))
		return -EAGAIN;
	page = order ? uvm_managed_alloc_piece(node, order, __GFP_ZERO) :
		       uvm_managed_alloc_page(node, __GFP_ZERO);
	if (!page)
		return -ENOMEM;
	if (uvm_block_install(block, first, nr, page))
		return 0;
	for (i = 0; i < nr; i++)
		uvm_managed_free_page(page + i);
	return -EAGAIN;
}

/**
 * uvm_block_populate() - give the CPU a page that nobody holds, and others with it
 * @block: not locked; mmap_lock is held, and a managed VMA is there
 * @i: which page
 * @first: of the pages that may come with it the first
 * @end: the one after the last
 *
 * They are the largest piece that there is room and memory for: the block, 64 KiB, or a
 * page. They are zero. Nothing happens if somebody holds the page by then, or makes it
 * busy. Charged to the active memory cgroup.
 *
 * Return: 0 or -ENOMEM.
 */
int uvm_block_populate(struct uvm_block *block, unsigned int i, unsigned int first,
		       unsigned int end)
{
	static const unsigned int orders[] = {
		UVM_BLOCK_SHIFT - PAGE_SHIFT, UVM_PIECE_ORDER, 0
	};
	int node = uvm_block_node(block, i, &first, &end), ret = 0;
	unsigned int n, at;

	if (uvm_block_make_room(block))
		return -ENOMEM;
	/* Each that fits is tried, until one is had: the last one always fits. */
	for (n = 0; n < ARRAY_SIZE(orders); n++) {
		at = ALIGN_DOWN(i, 1U << orders[n]);
		if (at < first || at + (1U << orders[n]) > end)
			continue;
		ret = uvm_block_populate_piece(block, at, orders[n], node);
		if (!ret)
			break;
	}
	return ret == -EAGAIN ? 0 : ret;
}

/**
 * uvm_block_populate_vma() - a page that nobody holds is touched
 * @block: as for uvm_block_populate()
 * @i: which page
 * @vma: the VMA that it is in; others of it may come along, unless that says otherwise
 *
 * Return: 0 or -ENOMEM.
 */
int uvm_block_populate_vma(struct uvm_block *block, unsigned int i,
			   const struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_NOHUGEPAGE)
		return uvm_block_populate(block, i, i, i + 1);
	return uvm_block_populate(block, i, uvm_vma_first(vma, block->base),
				  uvm_vma_end(vma, block->base));
}

/**
 * uvm_block_populate_run() - give the CPU those pages that nobody holds
 * @block: as for uvm_block_populate()
 * @first: the first page
 * @end: the one after the last
 *
 * Return: 0; -ENOMEM, or -EINTR if the task is killed: some may be left.
 */
int uvm_block_populate_run(struct uvm_block *block, unsigned int first, unsigned int end)
{
	unsigned int from = first;
	int ret = 0;

	for (; !ret; first++) {
		first = uvm_block_next_hole(block, first, end);
		if (first == end)
			return 0;
		ret = fatal_signal_pending(current) ? -EINTR :
		      uvm_block_populate(block, first, from, end);
	}
	return ret;
}

/* ---- who has entries, and who moves pages ---- */

/**
 * uvm_block_unmap() - nobody has pages of the block mapped
 * @block: locked
 * @first: the first one
 * @end: the one after the last
 *
 * Takes the entries of the CPU, and by the notifier those of all GPUs, whichever VA space
 * of the mm has them, and their DMA mappings; also where the CPU has none. What was handed
 * out before and isn't mapped yet comes after this: the caller has made the pages busy and
 * has had their locks.
 */
void uvm_block_unmap(struct uvm_block *block, unsigned int first, unsigned int end)
{
	lockdep_assert_held(&block->lock);
	unmap_mapping_range(block->vs->managed.inode->i_mapping,
			    block->base + first * PAGE_SIZE, (end - first) * PAGE_SIZE, 1);
}

/* Is one of the pages in a move? */
bool uvm_block_is_busy(struct uvm_block *block, unsigned int first, unsigned int end)
{
	lockdep_assert_held(&block->lock);
	return find_next_bit(block->busy, end, first) < end;
}

static bool uvm_block_is_idle(struct uvm_block *block, unsigned int first, unsigned int end)
{
	/* For who is about to sleep, and so without the lock: he looks again with it. */
	return data_race(find_next_bit(block->busy, end, first)) >= end;
}

/**
 * uvm_block_wait_idle() - wait for moves of others
 * @block: not locked; the caller has no move under way
 * @first: the first page
 * @end: the one after the last
 * @killable: give up if the task is killed
 *
 * Bounded by the engines' time limits. Who then locks the block may find them busy again.
 *
 * Return: 0 or -EINTR.
 */
int uvm_block_wait_idle(struct uvm_block *block, unsigned int first, unsigned int end,
			bool killable)
{
	if (killable)
		return wait_event_killable(block->idle, uvm_block_is_idle(block, first, end)) ?
		       -EINTR : 0;
	wait_event(block->idle, uvm_block_is_idle(block, first, end));
	return 0;
}

/* The move that made them busy is over. */
void uvm_block_set_idle(struct uvm_block *block, const unsigned long *mine)
{
	lockdep_assert_held(&block->lock);
	bitmap_andnot(block->busy, block->busy, mine, UVM_BLOCK_PAGES);
	wake_up_all(&block->idle);
}

/* ---- GPUs that hold pages ---- */

struct uvm_block_gpu *uvm_block_gpu_find(struct uvm_block *block, const struct uvm_gpu *gpu)
{
	struct uvm_block_gpu *bg;

	lockdep_assert_held(&block->lock);
	list_for_each_entry(bg, &block->gpus, link)
		if (bg->gpu == gpu)
			return bg;
	return NULL;
}

/* Who has the page: the bits are in the order of &uvm_block.gpus. */
void uvm_block_holders(struct uvm_block *block, unsigned int i, struct uvm_holders *h)
{
	u64 bit = BIT_ULL(UVM_HOLDER_CPU);
	struct uvm_block_gpu *bg;

	lockdep_assert_held(&block->lock);
	h->all = test_bit(i, block->cpu) ? bit : 0;
	h->lost = 0;
	list_for_each_entry(bg, &block->gpus, link) {
		bit <<= 1;
		if (!test_bit(i, bg->here))
			continue;
		h->all |= bit;
		if (READ_ONCE(bg->gpu->lost))
			h->lost |= bit;
	}
}

/* The holder that a GPU is, or the CPU for NULL; without pages in the block nobody's. */
unsigned int uvm_block_holder(struct uvm_block *block, const struct uvm_gpu *gpu)
{
	unsigned int who = UVM_HOLDER_CPU;
	struct uvm_block_gpu *bg;

	if (!gpu)
		return who;
	list_for_each_entry(bg, &block->gpus, link) {
		who++;
		if (bg->gpu == gpu)
			return who;
	}
	return UVM_HOLDERS_MAX - 1;
}

/* NULL if several have pages, or none. */
static struct uvm_block_gpu *uvm_block_only_gpu(struct uvm_block *block)
{
	lockdep_assert_held(&block->lock);
	return list_is_singular(&block->gpus) ?
	       list_first_entry(&block->gpus, struct uvm_block_gpu, link) : NULL;
}

/* Of GPUs that hold the page @near if it does; NULL if none does. */
struct uvm_block_gpu *uvm_block_gpu_of_page(struct uvm_block *block, unsigned int i,
					    const struct uvm_gpu *near)
{
	unsigned int who, at = UVM_HOLDER_CPU;
	struct uvm_block_gpu *bg;
	struct uvm_holders h;

	/* Asked for each page of a block, which seldom has more than one GPU. */
	bg = uvm_block_only_gpu(block);
	if (bg)
		return test_bit(i, bg->here) ? bg : NULL;
	uvm_block_holders(block, i, &h);
	h.all &= ~BIT_ULL(UVM_HOLDER_CPU);
	if (!h.all)
		return NULL;
	who = uvm_holders_pick(&h, uvm_block_holder(block, near));
	list_for_each_entry(bg, &block->gpus, link)
		if (++at == who)
			return bg;
	return NULL;
}

/*
 * The page frame of a page, or what stands for one: of several that of @near, or else that
 * of the CPU. 0 if nobody holds the page.
 */
unsigned long uvm_block_pfn(struct uvm_block *block, unsigned int i,
			    const struct uvm_gpu *near)
{
	struct uvm_block_gpu *bg = uvm_block_gpu_of_page(block, i, near);

	if (bg && (bg->gpu == near || !test_bit(i, block->cpu)))
		return bg->gpu->base_pfn + bg->index[i];
	return test_bit(i, block->cpu) ? page_to_pfn(block->page[i]) : 0;
}

/*
 * The page that a CPU's touch is to find: its own, or that of a coherent GPU, if that alone
 * holds it and doesn't go away. NULL if there is none.
 */
struct page *uvm_block_cpu_page(struct uvm_block *block, unsigned int i)
{
	struct uvm_block_gpu *bg;

	if (test_bit(i, block->cpu))
		return block->page[i];
	bg = uvm_block_gpu_of_page(block, i, NULL);
	if (!bg || !uvm_gpu_is_coherent(bg->gpu) || READ_ONCE(bg->gpu->dead) ||
	    uvm_block_is_shared(block, i))
		return NULL;
	return pfn_to_page(bg->gpu->base_pfn + bg->index[i]);
}

/* Does it have several holders, and so nobody who may write it? */
bool uvm_block_is_shared(struct uvm_block *block, unsigned int i)
{
	struct uvm_block_gpu *bg = uvm_block_only_gpu(block);
	struct uvm_holders h;

	if (bg)
		return test_bit(i, bg->here) && test_bit(i, block->cpu);
	uvm_block_holders(block, i, &h);
	return uvm_holders_shared(&h);
}

/* ---- the end ---- */

static void uvm_block_drop_cpu(struct uvm_block *block, unsigned int first,
			       unsigned int end)
{
	unsigned int i, from, to, nr = 0;

	for (i = first; i < end; i = to) {
		from = find_next_bit(block->cpu, end, i);
		if (from == end)
			break;
		to = find_next_zero_bit(block->cpu, end, from);
		uvm_managed_free_pages(block->page + from, to - from);
		memset(block->page + from, 0, (to - from) * sizeof(*block->page));
		bitmap_clear(block->cpu, from, to - from);
		nr += to - from;
	}
	atomic_long_sub(nr, &block->vs->managed.cpu_pages);
	if (nr)
		uvm_block_count(block, -(long)nr);
}

/* The GPU may go with its last page, if it is parked: so it is asked nothing after that. */
static void uvm_block_drop_gpu(struct uvm_block *block, struct uvm_block_gpu *bg,
			       unsigned int first, unsigned int end)
{
	struct uvm_gpu *gpu = bg->gpu;
	int srcu = uvm_mirror_look_begin();
	unsigned int i, nr = 0;

	for (i = first; i < end; i++) {
		if (!__test_and_clear_bit(i, bg->here))
			continue;
		uvm_gpu_free_pages(gpu, bg->index[i], 1);
		nr++;
	}
	bg->nr -= nr;
	if (!bg->nr) {
		uvm_resident_put(bg->res);
		list_del(&bg->link);
		kfree(bg);
	}
	uvm_mirror_look_end(srcu);
	if (nr)
		uvm_block_count(block, -(long)nr);
}

/**
 * uvm_block_drop() - nobody holds pages any more
 * @block: not locked; nobody has entries for them, nobody can move them
 * @first: the first one
 * @end: the one after the last
 *
 * They are free, but for those that somebody else has references to.
 */
void uvm_block_drop(struct uvm_block *block, unsigned int first, unsigned int end)
{
	struct uvm_block_gpu *bg, *next;

	mutex_lock(&block->lock);
	WARN_ON_ONCE(uvm_block_is_busy(block, first, end));
	uvm_block_drop_cpu(block, first, end);
	list_for_each_entry_safe(bg, next, &block->gpus, link)
		uvm_block_drop_gpu(block, bg, first, end);
	mutex_unlock(&block->lock);
}
