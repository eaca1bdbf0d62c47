// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Copies of managed pages
 *
 * Owns what becomes of a page that has several holders. Where the policy says that memory
 * is read mostly, who reads a page gets a copy, and whoever had it keeps his
 * (&uvm_move.copies): after that nobody's reading makes traffic. All are equal, since
 * nobody has an entry through which one can be written. Who writes collapses them first:
 * one holder is left, who may be written.
 *
 * A collapse takes place under the lock of the block, in one step: all entries go, then
 * all holders but one. It needs no copy, no memory and no engine, so it can't fail. But a
 * page of the CPU's that somebody else has a reference to stays, since it may be read
 * through that: then the CPU is who is left, whoever was meant.
 *
 * What leaves a GPU since its memory is wanted, or it goes away, and has another holder,
 * is dropped: that needs nothing either.
 */
#include "managed.h"

#include "move.h"
#include "trace.h"

static void uvm_managed_count(struct uvm_va_space *vs, struct uvm_gpu *gpu,
			      enum uvm_stat which, unsigned long nr)
{
	struct uvm_gpu_space *gs;

	if (!nr)
		return;
	down_read(&vs->lock);
	gs = uvm_gpu_space_find(vs, gpu->desc.uuid);
	if (gs)
		uvm_gpu_space_count(gs, which, nr);
	else
		uvm_stats_add(&gpu->stats, which, nr);
	up_read(&vs->lock);
}

/* ---- copies are made ---- */

static bool uvm_managed_is_read_mostly(struct uvm_va_space *vs, unsigned long addr,
				       unsigned long *last)
{
	struct uvm_policy policy;
	unsigned long first;

	uvm_policies_lookup(&vs->policies, addr, &policy, &first, last);
	return uvm_policy_switches(&policy) & UVM_POLICY_READ_MOSTLY;
}

/**
 * uvm_managed_note_copies() - of which pages does a move leave the source as it is?
 * @mv: begun; &uvm_move.copies receives them, by page of the block
 * @dest: where to
 */
void uvm_managed_note_copies(struct uvm_move *mv, const struct uvm_target *dest)
{
	unsigned long addr = mv->args.start, last = 0;
	bool mostly = false;
	unsigned int at;

	bitmap_zero(mv->copies, UVM_BLOCK_PAGES);
	/* What is parked, or will be, would wait for nothing there any more. */
	if (!dest->duplicate || (mv->from && READ_ONCE(mv->from->dead)))
		return;
	for (; addr < mv->args.end; addr += PAGE_SIZE) {
		if (addr > last || addr == mv->args.start)
			mostly = uvm_managed_is_read_mostly(mv->block->vs, addr, &last);
		at = uvm_block_index(addr);
		if (uvm_holders_keep_source(mostly, dest->access &&
					    dest->access[at] > UVM_ACCESS_READ))
			__set_bit(at, mv->copies);
	}
}

/**
 * uvm_managed_note_made() - a move made copies
 * @mv: of its pages its GPU has one, and did before or does now
 * @nr: how many
 */
void uvm_managed_note_made(struct uvm_move *mv, unsigned long nr)
{
	if (!nr)
		return;
	uvm_managed_count(mv->block->vs, mv->gpu, UVM_STAT_DUPLICATED, nr);
	trace_uvm_duplicate(mv->block->vs->id, mv->gpu->id, mv->args.start, nr);
}

/* ---- copies go ---- */

/* One holder less. Its entries are gone. */
static void uvm_block_drop_here(struct uvm_block *block, struct uvm_block_gpu *bg,
				unsigned int i)
{
	__clear_bit(i, bg->here);
	bg->nr--;
	uvm_gpu_free_pages(bg->gpu, bg->index[i], 1);
	uvm_block_count(block, -1);
}

static void uvm_block_drop_page(struct uvm_block *block, unsigned int i)
{
	struct page *page = block->page[i];

	__clear_bit(i, block->cpu);
	block->page[i] = NULL;
	atomic_long_dec(&block->vs->managed.cpu_pages);
	uvm_managed_free_page(page);
	uvm_block_count(block, -1);
}

/* Those that have nothing any more. */
static void uvm_block_prune(struct uvm_block *block)
{
	struct uvm_block_gpu *bg, *next;

	list_for_each_entry_safe(bg, next, &block->gpus, link) {
		if (bg->nr)
			continue;
		uvm_resident_put(bg->res);
		list_del(&bg->link);
		kfree(bg);
	}
}

/* Unmapped. Returns false if the CPU's was kept though another one was meant. */
static bool uvm_block_collapse_page(struct uvm_block *block, unsigned int i,
				    const struct uvm_gpu *keep)
{
	bool pinned = test_bit(i, block->cpu) && uvm_managed_is_pinned(block->page[i]);
	unsigned int who = UVM_HOLDER_CPU;
	struct uvm_block_gpu *bg;
	struct uvm_holders h;
	u64 left;

	uvm_block_holders(block, i, &h);
	left = uvm_holders_next(&h, UVM_HOLDERS_COLLAPSE, uvm_block_holder(block, keep),
				pinned);
	list_for_each_entry(bg, &block->gpus, link)
		if (h.all & ~left & BIT_ULL(++who))
			uvm_block_drop_here(block, bg, i);
	if (h.all & ~left & BIT_ULL(UVM_HOLDER_CPU))
		uvm_block_drop_page(block, i);
	return !(pinned && keep);
}

static unsigned long uvm_block_count_shared(struct uvm_block *block, unsigned int first,
					    unsigned int end, const unsigned long *here)
{
	unsigned long nr = 0;

	for (; first < end; first++)
		nr += test_bit(first, here) && uvm_block_is_shared(block, first);
	return nr;
}

/**
 * uvm_block_collapse() - pages have one holder again
 * @block: locked; the caller has a reference, and mmap_lock
 * @first: the first page
 * @end: the one after the last; none of them is busy
 * @keep: who shall be left where he is a holder, NULL for the CPU; where he isn't, it is
 *	the CPU, or the GPU with the lowest id
 *
 * Who isn't shared keeps his holder, and loses his entries.
 *
 * Return: 0; -EAGAIN if the CPU is left somewhere instead, since somebody has a reference.
 */
int uvm_block_collapse(struct uvm_block *block, unsigned int first, unsigned int end,
		       const struct uvm_gpu *keep)
{
	struct uvm_block_gpu *bg;
	unsigned long nr = 0, n;
	unsigned int i;
	int ret = 0;
	int srcu;

	lockdep_assert_held(&block->lock);
	WARN_ON_ONCE(uvm_block_is_busy(block, first, end));
	/* A parked GPU may go with its last page. */
	srcu = uvm_mirror_look_begin();
	uvm_block_unmap(block, first, end);
	/* As for a move: who has a reference has it by now. */
	smp_mb();
	list_for_each_entry(bg, &block->gpus, link) {
		n = uvm_block_count_shared(block, first, end, bg->here);
		uvm_managed_count(block->vs, bg->gpu, UVM_STAT_COLLAPSED, n);
		nr = max(nr, n);
	}
	for (i = first; i < end; i++)
		if (uvm_block_is_shared(block, i) && !uvm_block_collapse_page(block, i, keep))
			ret = -EAGAIN;
	uvm_block_prune(block);
	uvm_mirror_look_end(srcu);
	trace_uvm_collapse(block->vs->id, keep ? keep->id : UVM_PROCESSOR_CPU,
			   block->base + first * PAGE_SIZE, nr);
	return ret;
}

/* Pages from @i on, up to @end, of which there are copies to collapse; @i moves there. */
static unsigned int uvm_block_next_shared(struct uvm_block *block, unsigned int *i,
					  unsigned int end, const u8 *written)
{
	unsigned int last;

	for (; *i < end; ++*i) {
		for (last = *i; last < end && (!written || written[last] > UVM_ACCESS_READ) &&
				!test_bit(last, block->busy) &&
				uvm_block_is_shared(block, last); last++)
			;
		if (last > *i)
			return last;
	}
	return end;
}

/**
 * uvm_block_collapse_shared() - collapse those of a run that have copies, and aren't busy
 * @block: not locked; the caller has a reference, and mmap_lock
 * @first: the first page
 * @end: the one after the last
 * @keep: as for uvm_block_collapse()
 * @written: by page of the block, enum uvm_access: only those to be written; or NULL
 */
void uvm_block_collapse_shared(struct uvm_block *block, unsigned int first,
			       unsigned int end, const struct uvm_gpu *keep,
			       const u8 *written)
{
	unsigned int last;

	mutex_lock(&block->lock);
	for (; first < end; first = last) {
		last = uvm_block_next_shared(block, &first, end, written);
		if (first < end)
			uvm_block_collapse(block, first, last, keep);
	}
	mutex_unlock(&block->lock);
}

/**
 * uvm_managed_collapse() - a range isn't read mostly any more
 * @vs: VA space; its mmap_lock is held, and the policies have changed
 * @start: the first address
 * @end: the one after the last
 *
 * A move that knew the policy from before is waited for.
 *
 * Return: 0 or -EINTR: some copies are left, until they are written.
 */
int uvm_managed_collapse(struct uvm_va_space *vs, unsigned long start, unsigned long end)
{
	unsigned long addr, next;
	struct uvm_block *block;
	unsigned int first, last;
	int ret = 0;

	for (addr = start; !ret && addr < end; addr = next) {
		block = uvm_block_next(vs, &addr, end);
		if (!block)
			break;
		next = min(end, block->base + UVM_BLOCK_SIZE);
		first = uvm_block_index(addr);
		last = uvm_block_index(next - 1) + 1;
		ret = uvm_block_wait_idle(block, first, last, true);
		if (!ret)
			uvm_block_collapse_shared(block, first, last, NULL, NULL);
		uvm_block_put(block);
		cond_resched();
	}
	return ret;
}

/* ---- copies leave a GPU ---- */

/* Pages that this GPU needn't have, of those that the move is about. */
static void uvm_managed_needless(struct uvm_move *mv, struct uvm_block_gpu *bg,
				 const struct uvm_target *dest)
{
	struct uvm_block *block = mv->block;
	unsigned int first = uvm_block_index(mv->args.start), i;
	unsigned int who = uvm_block_holder(block, bg->gpu);
	struct uvm_holders h;

	bitmap_zero(mv->now, UVM_BLOCK_PAGES);
	for (i = first; i < first + mv->args.npages; i++) {
		uvm_block_holders(block, i, &h);
		if (test_bit(i, bg->here) && !test_bit(i, block->busy) &&
		    uvm_holders_next(&h, UVM_HOLDERS_DROP, who, false) != h.all &&
		    (!dest->strays || uvm_resident_is_stray(bg->gpu, bg->index[i])))
			__set_bit(i, mv->now);
	}
}

/**
 * uvm_managed_drop_copies() - what has another holder leaves a GPU
 * @mv: begun, nothing chosen yet
 * @dest: &uvm_target.leave is set, and &uvm_target.from
 *
 * They count as moved.
 */
void uvm_managed_drop_copies(struct uvm_move *mv, const struct uvm_target *dest)
{
	unsigned int first, end, i, from = uvm_block_index(mv->args.start);
	struct uvm_block *block = mv->block;
	struct uvm_block_gpu *bg;
	int srcu = uvm_mirror_look_begin();

	mutex_lock(&block->lock);
	list_for_each_entry(bg, &block->gpus, link) {
		if (bg->gpu->id != dest->from)
			continue;
		uvm_managed_needless(mv, bg, dest);
		for_each_set_bitrange(first, end, mv->now, UVM_BLOCK_PAGES)
			uvm_block_unmap(block, first, end);
		for_each_set_bit(i, mv->now, UVM_BLOCK_PAGES) {
			uvm_block_drop_here(block, bg, i);
			__set_bit(uvm_move_bit(mv, i - from), mv->moved);
		}
	}
	uvm_block_prune(block);
	mutex_unlock(&block->lock);
	uvm_mirror_look_end(srcu);
}

/* Of the VMA's pages between @start and @end; bit 0 is the one at @start. */
static void uvm_managed_copied_vma(const struct vm_area_struct *vma, unsigned long start,
				   unsigned long end, unsigned long *copied)
{
	struct uvm_va_space *vs = uvm_managed_vs(vma);
	unsigned long addr = max(start, vma->vm_start), next;
	struct uvm_block *block;

	for (end = min(end, vma->vm_end); addr < end; addr = next) {
		block = uvm_block_next(vs, &addr, end);
		if (!block)
			break;
		next = min(end, block->base + UVM_BLOCK_SIZE);
		mutex_lock(&block->lock);
		for (; addr < next; addr += PAGE_SIZE)
			if (uvm_block_is_shared(block, uvm_block_index(addr)))
				__set_bit((addr - start) >> PAGE_SHIFT, copied);
		mutex_unlock(&block->lock);
		uvm_block_put(block);
	}
}

/**
 * uvm_managed_copied() - of which pages are there copies?
 * @mm: its mmap_lock is held
 * @start: address of the first page
 * @npages: how many
 * @copied: receives them
 */
void uvm_managed_copied(struct mm_struct *mm, unsigned long start, unsigned long npages,
			unsigned long *copied)
{
	unsigned long end = start + npages * PAGE_SIZE;
	struct vm_area_struct *vma;

	VMA_ITERATOR(vmi, mm, start);

	bitmap_zero(copied, npages);
	for_each_vma_range(vmi, vma, end)
		if (uvm_vma_is_managed(vma) && uvm_managed_vs(vma))
			uvm_managed_copied_vma(vma, start, end, copied);
}
