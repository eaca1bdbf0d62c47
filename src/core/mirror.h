/* SPDX-License-Identifier: GPL-2.0-only */
/* What mirror.c, look.c and exclusive.c share. */
#ifndef UVM_CORE_MIRROR_H
#define UVM_CORE_MIRROR_H

#include "core.h"

struct hmm_range;

#define UVM_CONTENDED_SLOTS	64

/**
 * struct uvm_contended - a page that was taken for atomics
 * @addr: its address
 * @when: the last time, us
 * @times: how often, each no longer after the one before than a lapse
 */
struct uvm_contended {
	unsigned long addr;
	u64 when;
	unsigned int times;
};

/**
 * struct uvm_mirror_request - room to map one block
 * @pfns: what HMM says
 * @whole: it is a huge page in the GPU's own memory
 * @dma: as &uvm_dma_block.map: new mappings, until the DMA block has taken them,
 *	and those that they replaced
 * @entries: what the GPU is told
 * @hold: pages that aren't mapped unless they are in the GPU's memory
 * @managed: those that are managed, see managed_map.c
 * @any_managed: there is one
 * @atomic: pages that a fault wants atomics on, and that have none yet
 * @part: those that are part of a large folio, and not its first page
 * @device: those that are in the memory of a peer
 * @nr: number of @entries
 * @replaced: some entry took the place of one with another DMA address
 * @contended: pages that were taken for atomics lately
 */
struct uvm_mirror_request {
	unsigned long pfns[UVM_BLOCK_PAGES];
	bool whole;
	dma_addr_t dma[UVM_BLOCK_PAGES];
	struct uvm_gpu_entry entries[UVM_BLOCK_PAGES];
	const unsigned long *hold;
	DECLARE_BITMAP(managed, UVM_BLOCK_PAGES);
	bool any_managed;
	DECLARE_BITMAP(atomic, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(part, UVM_BLOCK_PAGES);
	DECLARE_BITMAP(device, UVM_BLOCK_PAGES);
	unsigned int nr;
	bool replaced;
	struct uvm_contended contended[UVM_CONTENDED_SLOTS];
};

static inline unsigned int uvm_span_block(unsigned long addr)
{
	return (addr & (UVM_SPAN_SIZE - 1)) >> UVM_BLOCK_SHIFT;
}

static inline bool uvm_dma_is_huge(dma_addr_t map)
{
	return map != UVM_DMA_NONE && map & UVM_DMA_HUGE;
}

/* The mapping of a page, alone or with its block. */
static inline dma_addr_t uvm_dma_of_page(const struct uvm_dma_block *block, unsigned int i)
{
	dma_addr_t huge = READ_ONCE(block->map[0]);

	if (uvm_dma_is_huge(huge))
		return (huge & ~UVM_DMA_HUGE) + i * PAGE_SIZE;
	return READ_ONCE(block->map[i]);
}

/* Is there a mapping that does for the access? */
static inline bool uvm_dma_serves(dma_addr_t map, bool write)
{
	return map != UVM_DMA_NONE && (!write || map & UVM_DMA_WRITE);
}

dma_addr_t uvm_dma_map(struct uvm_gpu *gpu, struct page *page, dma_addr_t flags);
void uvm_dma_unmap(struct uvm_gpu *gpu, dma_addr_t *map);
bool uvm_mirror_can_use(struct uvm_gpu *gpu, struct uvm_gpu *whose);
int uvm_mirror_look_first(struct uvm_gpu_space *gs, struct hmm_range *range,
			  struct uvm_mirror_request *req, unsigned long base,
			  const u8 *access);
int uvm_mirror_look_again(struct uvm_gpu_space *gs, struct hmm_range *range,
			  struct uvm_mirror_request *req,
			  unsigned long base, const u8 *access);
int uvm_mirror_take_atomics(struct uvm_gpu_space *gs, struct uvm_span *span,
			    struct uvm_mirror_request *req, unsigned long base);

#endif
