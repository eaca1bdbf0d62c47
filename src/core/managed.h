/* SPDX-License-Identifier: GPL-2.0-only */
/* Managed ranges: what managed*.c, block.c and holders.c share. See DOC: Managed ranges. */
#ifndef _UVM_MANAGED_H
#define _UVM_MANAGED_H

#include "core.h"
#include "holders.h"

#include <linux/bitmap.h>
#include <linux/hmm.h>
#include <linux/list.h>

struct uvm_move;
struct uvm_target;

/**
 * struct uvm_block_gpu - what a block has in one GPU's memory
 * @link: in &uvm_block.gpus
 * @gpu: the GPU; stays while it has pages of ours, as for device pages
 * @res: whose the pages are; holds a user while @nr
 * @nr: pages
 * @index: by page of the block: its page number in the memory, valid where @here
 * @here: which pages those are
 */
struct uvm_block_gpu {
	struct list_head link;
	struct uvm_gpu *gpu;
	struct uvm_resident *res;
	unsigned int nr;
	u32 index[UVM_BLOCK_PAGES];
	DECLARE_BITMAP(here, UVM_BLOCK_PAGES);
};

/**
 * struct uvm_block - a block of managed memory: the truth about where its pages are
 * @ref: whoever works with it, and its pages while it has any
 * @vs: whose; the file of a VMA of ours keeps it
 * @base: its address
 * @lock: protects all below; see DOC: Locks. Never held across a copy or a wait for one
 * @nr: holders of its pages, all told
 * @page: the CPU's pages, made with the first of them; NULL where there is none
 * @cpu: pages that the CPU holds
 * @busy: pages in a move; who set a bit alone changes that page, and clears the bit
 * @idle: woken when @busy lost bits
 * @gpus: &struct uvm_block_gpu of those GPUs that hold pages, by id
 *
 * The *holders* of a page are the CPU, if @cpu, and the GPUs where it is here. None: it
 * was never touched, and reads zero. Several: it is duplicated, all are equal, and nobody
 * has an entry through which it can be written.
 */
struct uvm_block {
	struct kref ref;
	struct uvm_va_space *vs;
	unsigned long base;
	struct mutex lock;
	unsigned long nr;
	struct page **page;
	DECLARE_BITMAP(cpu, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(busy, UVM_BLOCK_PAGES);
	wait_queue_head_t idle;
	struct list_head gpus;
};

/* &page.private of a page that a block owns: no anonymous page, and not the zero page. */
#define UVM_MANAGED_PAGE	((unsigned long)&uvm_fops)

static inline bool uvm_page_is_managed(const struct page *page)
{
	return page_private(page) == UVM_MANAGED_PAGE;
}

/* How HMM says that a page is mapped along with all of its block, by one entry. */
#define UVM_HMM_WHOLE	((unsigned long)(UVM_BLOCK_SHIFT - PAGE_SHIFT) << HMM_PFN_ORDER_SHIFT)

/* What comes along with a page that is touched where a block isn't empty: 64 KiB */
#define UVM_PIECE_ORDER		4

/* Index of the page at @addr in its block. */
static inline unsigned int uvm_block_index(unsigned long addr)
{
	return (addr & (UVM_BLOCK_SIZE - 1)) >> PAGE_SHIFT;
}

/* ---- files and VMAs (managed.c) ---- */

int uvm_managed_mount(void);
void uvm_managed_unmount(void);
int uvm_managed_open(struct uvm_file *file, struct file *filp);
void uvm_managed_release(struct uvm_file *file);
void uvm_managed_init(struct uvm_va_space *vs);
void uvm_managed_fini(struct uvm_va_space *vs);
int uvm_managed_mmap(struct file *filp, struct vm_area_struct *vma);
unsigned long uvm_managed_get_unmapped_area(struct file *filp, unsigned long addr,
					    unsigned long len, unsigned long pgoff,
					    unsigned long flags);
bool uvm_vma_is_managed(const struct vm_area_struct *vma);
struct uvm_va_space *uvm_managed_vs(const struct vm_area_struct *vma);
void uvm_managed_look(struct vm_area_struct *vma, unsigned long start, unsigned long npages,
		      unsigned long *pfns, const struct uvm_gpu *near);

/* Pages of a block that are in a VMA. */
static inline unsigned int uvm_vma_first(const struct vm_area_struct *vma, unsigned long base)
{
	return (max(vma->vm_start, base) - base) >> PAGE_SHIFT;
}

static inline unsigned int uvm_vma_end(const struct vm_area_struct *vma, unsigned long base)
{
	return (min(vma->vm_end, base + UVM_BLOCK_SIZE) - base) >> PAGE_SHIFT;
}

/* Can pages of the VMA be in the GPU's memory? */
static inline bool uvm_gpu_takes(const struct uvm_gpu *gpu, const struct vm_area_struct *vma)
{
	return gpu->has_pages || uvm_vma_is_managed(vma);
}

/* ---- blocks (block.c); @first and @end are page indexes in the block ---- */

struct uvm_block *uvm_block_get(struct uvm_va_space *vs, unsigned long base, bool create);
struct uvm_block *uvm_block_next(struct uvm_va_space *vs, unsigned long *addr,
				 unsigned long end);
void uvm_block_put(struct uvm_block *block);
void uvm_block_count(struct uvm_block *block, long nr);
long uvm_blocks_count(void);
int uvm_block_make_room(struct uvm_block *block);
int uvm_block_populate(struct uvm_block *block, unsigned int i, unsigned int first,
		       unsigned int end);
int uvm_block_populate_run(struct uvm_block *block, unsigned int first, unsigned int end);
int uvm_block_populate_vma(struct uvm_block *block, unsigned int i,
			   const struct vm_area_struct *vma);
void uvm_block_unmap(struct uvm_block *block, unsigned int first, unsigned int end);
bool uvm_block_is_busy(struct uvm_block *block, unsigned int first, unsigned int end);
int uvm_block_wait_idle(struct uvm_block *block, unsigned int first, unsigned int end,
			bool killable);
void uvm_block_set_idle(struct uvm_block *block, const unsigned long *mine);
void uvm_block_drop(struct uvm_block *block, unsigned int first, unsigned int end);
struct uvm_block_gpu *uvm_block_gpu_find(struct uvm_block *block, const struct uvm_gpu *gpu);
struct uvm_block_gpu *uvm_block_gpu_of_page(struct uvm_block *block, unsigned int i,
					    const struct uvm_gpu *near);
unsigned long uvm_block_pfn(struct uvm_block *block, unsigned int i,
			    const struct uvm_gpu *near);
unsigned int uvm_block_holder(struct uvm_block *block, const struct uvm_gpu *gpu);
void uvm_block_holders(struct uvm_block *block, unsigned int i, struct uvm_holders *h);
struct page *uvm_block_cpu_page(struct uvm_block *block, unsigned int i);
bool uvm_block_is_shared(struct uvm_block *block, unsigned int i);
struct page *uvm_managed_alloc_page(int node, gfp_t extra);
struct page *uvm_managed_alloc_piece(int node, unsigned int order, gfp_t extra);
void uvm_managed_free_page(struct page *page);
void uvm_managed_free_pages(struct page **pages, unsigned int nr);

/* ---- GPUs map blocks (managed_map.c) ---- */

bool uvm_managed_mask(struct mm_struct *mm, unsigned long base, unsigned long *mask);
int uvm_managed_make_ready(struct mm_struct *mm, unsigned long base, const u8 *access,
			   const struct uvm_gpu *gpu);
void uvm_managed_map_look(struct mm_struct *mm, unsigned long base, unsigned long *pfns,
			  const struct uvm_gpu *gpu);

/* ---- blocks move (managed_move.c) ---- */

int uvm_managed_begin(struct uvm_move *mv, struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, unsigned long select,
		      const struct uvm_target *dest, struct page *fault_page);
void uvm_managed_end(struct uvm_move *mv, const struct uvm_target *dest);
struct uvm_place uvm_managed_src(const struct uvm_move *mv, unsigned long i);
struct uvm_place uvm_managed_dst(const struct uvm_move *mv, unsigned long i,
				 const struct uvm_target *dest);
/* cpu_fault.c */
vm_fault_t uvm_managed_home(struct vm_fault *vmf, struct uvm_gpu *gpu);
/* managed_dest.c */
void uvm_managed_take_numbers(struct uvm_move *mv, const struct uvm_target *dest,
			      unsigned long want);
void uvm_managed_take_pages(struct uvm_move *mv, const struct uvm_target *dest,
			    unsigned long want);
void uvm_managed_drop_dst(struct uvm_move *mv, unsigned long i,
			  const struct uvm_target *dest);
void uvm_managed_populate(struct vm_area_struct *vma, unsigned long start,
			  unsigned long end, bool populate);

/* ---- copies (managed_dup.c) ---- */

void uvm_managed_note_copies(struct uvm_move *mv, const struct uvm_target *dest);
void uvm_managed_note_made(struct uvm_move *mv, unsigned long nr);
int uvm_block_collapse(struct uvm_block *block, unsigned int first, unsigned int end,
		       const struct uvm_gpu *keep);
void uvm_block_collapse_shared(struct uvm_block *block, unsigned int first,
			       unsigned int end, const struct uvm_gpu *keep,
			       const u8 *written);
int uvm_managed_collapse(struct uvm_va_space *vs, unsigned long start, unsigned long end);
void uvm_managed_drop_copies(struct uvm_move *mv, const struct uvm_target *dest);
void uvm_managed_copied(struct mm_struct *mm, unsigned long start, unsigned long npages,
			unsigned long *copied);

/* Has anybody but the block a reference to it? Unmapped: nobody gets one from now on. */
static inline bool uvm_managed_is_pinned(struct page *page)
{
	return page_count(page) != 1;
}

#endif /* _UVM_MANAGED_H */
