/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_MOVE_H
#define _UVM_MOVE_H

#include <linux/migrate.h>
#include <linux/types.h>

#include "core.h"

#define UVM_SELECT_OURS \
	(MIGRATE_VMA_SELECT_DEVICE_PRIVATE | MIGRATE_VMA_SELECT_DEVICE_COHERENT)

/**
 * struct uvm_target - where pages go
 * @gpu: into this GPU's own memory; NULL for system memory
 * @gpu_id: its id, which may be asked for after it is gone
 * @node: for system memory, the node, or NUMA_NO_NODE for the mm's policy
 * @from: for system memory, the GPU whose pages go there, or UVM_ANY_GPU
 * @renew: in system memory, all pages get new ones, each a folio of its own
 * @populate: absent pages are wanted there too, though @gpu is NULL: the node is a
 *	GPU
 * @tenant: of @gpu: who pays for the pages
 * @gentle: from a GPU, only if there is system memory without killing anybody for it
 * @may_stay: managed memory, which a limit may keep from coming home: the same, but
 * @needed: for the page at this address
 * @strays: from a GPU, only pages whose resident doesn't know where they are
 * @discard: from a GPU, only pages that the mm alone has and may write; nobody needs
 *	what they hold
 * @duplicate: what is copied stays valid where it was, too, where the policy says that
 *	memory is read mostly; managed memory only
 * @access: by page of the block, enum uvm_access of what it is for: what is to be written
 *	isn't duplicated; or NULL
 * @leave: from the GPU @from, also what has another holder: that isn't copied
 * @mark: pages, from the first one of the move on, stay where they are, in private
 *	memory, but nobody needs what they hold; NULL if they move
 */
struct uvm_target {
	struct uvm_gpu *gpu;
	u32 gpu_id;
	int node;
	u32 from;
	bool renew;
	bool populate;
	struct uvm_tenant *tenant;
	bool gentle;
	bool may_stay;
	unsigned long needed;
	bool strays;
	bool discard;
	bool duplicate;
	const u8 *access;
	bool leave;
	const unsigned long *mark;
};

struct uvm_move;

/**
 * struct uvm_place - where a page of a move is, on one side of it
 * @page: of system memory, or NULL
 * @gpu: whose memory it is in, or NULL
 * @index: its number there
 *
 * Neither is set of what isn't anywhere yet.
 */
struct uvm_place {
	struct page *page;
	struct uvm_gpu *gpu;
	unsigned long index;
};

/**
 * struct uvm_range_ops - how pages of a kind of memory move
 * @begin: as uvm_move_begin()
 * @end: as uvm_move_end()
 * @src: where page @i of a move under way comes from
 * @dst: where it goes, if there is a destination
 * @drop: gives that up: it doesn't go there
 * @look: where pages of the VMA are, as HMM would say it: of several holders @near first,
 *	which is NULL for the CPU, and then the CPU; HMM_PFN_WRITE if the VMA may be written.
 *	mmap_lock is held. NULL: what the CPU's page table says is right.
 */
struct uvm_range_ops {
	int (*begin)(struct uvm_move *mv, struct vm_area_struct *vma,
		     unsigned long start, unsigned long end, unsigned long select,
		     const struct uvm_target *dest, struct page *fault_page);
	void (*end)(struct uvm_move *mv, const struct uvm_target *dest);
	struct uvm_place (*src)(const struct uvm_move *mv, unsigned long i);
	struct uvm_place (*dst)(const struct uvm_move *mv, unsigned long i,
				const struct uvm_target *dest);
	void (*drop)(struct uvm_move *mv, unsigned long i, const struct uvm_target *dest);
	void (*look)(struct vm_area_struct *vma, unsigned long start, unsigned long npages,
		     unsigned long *pfns, const struct uvm_gpu *near);
};

const struct uvm_range_ops *uvm_range_ops_of(const struct vm_area_struct *vma);

/**
 * struct uvm_move_run - contiguous system memory that an engine may access
 * @dma: its address there
 * @size: bytes
 */
struct uvm_move_run {
	dma_addr_t dma;
	size_t size;
};

/**
 * struct uvm_move - pages of one VMA on their way
 * @ops: how
 * @block: of managed memory: the block, with a reference while a move is under way
 * @mine: of managed memory: pages of the block that this move made busy
 * @copies: of managed memory: pages of the block of which the source stays
 * @from: of managed memory: the GPU that they leave; NULL if the CPU has them, or nobody
 * @fresh: of managed memory: for the block, if it has nothing in the GPU's memory yet
 * @args: for migrate_vma_*()
 * @copy: the batch, if an engine copies
 * @gpu: whose engine copies; NULL if the CPU does
 * @error: why the copy failed, as uvm_copy_finish() says
 * @base: address of bit 0 of the bitmaps
 * @npages: pages from @base that this is about
 * @other_gpu: there were pages of a GPU other than @gpu: go again
 * @lost: an engine that could not be reset may still read @seg: never used again,
 *	never freed
 * @under_way: between uvm_move_begin() and uvm_move_end() of a migration
 * @moved: pages that arrived
 * @now: those of them that the last migration moved
 * @starved: pages for which there was no memory
 * @discarded: pages of the last migration, from its first one on: nobody needs what
 *	they held when it began
 * @max: room, in pages
 * @src: for @args. Of managed memory, by page: migrate_pfn() of its page frame, or of its
 *	page number in the GPU's memory, or 0
 * @dst: likewise
 * @runs: of the system side, mapped for the engine
 * @nr_runs: their number
 * @seg: for @copy
 * @index: device memory taken for the move
 * @taken: so many pages
 * @res: for pages that go to a GPU: the resident of the block
 * @huge: core moves the block as a whole, a folio or a hole, if it is given one folio
 * @zaps: the page must not be unmapped by anybody else until the move ended, or NULL
 * @zaps_link: in it
 * @mover: whose move it is
 * @engines: of uvm_engines_hold(), or -1
 * @stash: contiguous system pages, of an allocation of several
 * @stashed: how many are left
 */
struct uvm_move {
	const struct uvm_range_ops *ops;
	struct uvm_block *block;
	DECLARE_BITMAP(mine, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(copies, UVM_BLOCK_PAGES);
	struct uvm_gpu *from;
	struct uvm_block_gpu *fresh;
	struct migrate_vma args;
	struct uvm_copy copy;
	struct uvm_gpu *gpu;
	int error;
	unsigned long base;
	unsigned long npages;
	bool other_gpu;
	bool lost;
	bool under_way;
	DECLARE_BITMAP(moved, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(now, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(starved, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(discarded, UVM_BLOCK_PAGES);
	unsigned int max;
	unsigned long *src;
	unsigned long *dst;
	struct uvm_move_run *runs;
	unsigned int nr_runs;
	struct uvm_gpu_segment *seg;
	unsigned long *index;
	unsigned int taken;
	struct uvm_resident *res;
	bool huge;
	struct uvm_zaps *zaps;
	struct list_head zaps_link;
	struct task_struct *mover;
	int engines;
	struct page *stash;
	unsigned int stashed;
};

extern const struct uvm_target uvm_target_home;

/* By page of the move: its bit in @moved and the like. */
static inline unsigned long uvm_move_bit(const struct uvm_move *mv, unsigned long i)
{
	return ((mv->args.start - mv->base) >> PAGE_SHIFT) + i;
}

static inline bool uvm_move_has_folio(const struct uvm_move *mv)
{
	return mv->dst[0] & MIGRATE_PFN_COMPOUND;
}

struct uvm_move *uvm_move_alloc(unsigned int max);
void uvm_move_free(struct uvm_move *mv);
void uvm_move_reset(struct uvm_move *mv, unsigned long start, unsigned long end);
int uvm_move_begin(struct uvm_move *mv, struct vm_area_struct *vma,
		   unsigned long start, unsigned long end, unsigned long select,
		   const struct uvm_target *dest, struct page *fault_page);
void uvm_move_end(struct uvm_move *mv, const struct uvm_target *dest);
int uvm_move_sync(struct uvm_move *mv, struct vm_area_struct *vma,
		  unsigned long start, unsigned long end, unsigned long select,
		  const struct uvm_target *dest);
void uvm_move_from_gpus(struct uvm_move *mv, struct vm_area_struct *vma,
			unsigned long start, unsigned long end,
			const struct uvm_target *dest);
const unsigned long *uvm_move_to(struct uvm_move *mv, struct vm_area_struct *vma,
				 unsigned long start, unsigned long end,
				 const struct uvm_target *dest, bool from_peers);
long uvm_migrate_from(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, const struct uvm_target *dest);
bool uvm_huge_may_move(const struct vm_area_struct *vma, unsigned long base,
		       struct page *fault_page, struct uvm_move *mv);
bool uvm_vma_migratable(const struct vm_area_struct *vma);
bool uvm_vma_moves_for(struct uvm_va_space *vs, const struct vm_area_struct *vma);

/* For the range ops */
void uvm_move_take(struct uvm_move *mv, const struct uvm_target *dest, unsigned long want);

/* move_copy.c */
bool uvm_move_has_dst(const struct uvm_move *mv, unsigned long i);
bool uvm_move_has_holes(const struct uvm_move *mv);
void uvm_move_note_discarded(struct uvm_move *mv, const struct uvm_target *dest);
void uvm_move_hold_engines(struct uvm_move *mv);
void uvm_move_release_engines(struct uvm_move *mv);
void uvm_move_start_copy(struct uvm_move *mv, const struct uvm_target *dest);
void uvm_move_finish_copy(struct uvm_move *mv, const struct uvm_target *dest);

/* zaps.c */
void uvm_zaps_init(struct uvm_zaps *zaps);
int uvm_zaps_watch(struct uvm_zaps *zaps, struct mm_struct *mm);
void uvm_zaps_unwatch(struct uvm_zaps *zaps);
void uvm_zaps_began(struct uvm_zaps *zaps, const struct mmu_notifier_range *range);
void uvm_zaps_ended(struct uvm_zaps *zaps, const struct mmu_notifier_range *range);
bool uvm_zaps_bar(struct mm_struct *mm, unsigned long base, struct uvm_move *mv);
void uvm_zaps_allow(struct uvm_move *mv);

#endif /* _UVM_MOVE_H */
