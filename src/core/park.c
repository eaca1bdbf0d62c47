// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Parked pages
 *
 * A GPU goes away, and pages of its private memory have no safe way home: somebody has the
 * mmap_lock of their mm, or keeps an mm that no task has any more. Their device doesn't
 * wait for that. What is in them is copied to pages of system memory, the *host copies*,
 * by page number in &uvm_gpu.copies. Then the GPU is *parked*: the backend is told that it
 * may go, its ops and its device are touched no more, and the struct pages stay. Whatever
 * brings such a page home from then on (a CPU's touch, UVM_MIGRATE, a GPU's fault) is a
 * move as ever, but that the CPU copies it, from the host copy. With the last page the
 * GPU goes, too.
 *
 * Invariants:
 *
 * - When a host copy is taken, what is in the page doesn't change any more. No GPU space
 *   of the GPU is left; peers' entries are taken away first, and since &uvm_gpu.dead they
 *   get no new ones; its memory is closed, so nothing is copied there and a page that is
 *   freed is not handed out again; and a CPU can't reach it. So it doesn't matter that
 *   others bring pages home, or free them, meanwhile.
 * - A host copy is there only while its page is in use. Whoever stores one looks
 *   afterwards if the page is; whoever frees a page takes the copy afterwards; so one of
 *   them finds it.
 * - An engine copies from the GPU's memory, or a peer's engine, only inside
 *   uvm_engines_hold(), and who looks there and finds the GPU not parked has it until
 *   uvm_engines_release(). Parking waits for all of them once it has said that the GPU is
 *   parked. Inside, nothing is waited for that user space has in hand.
 *
 * The memory is not charged to anybody: the device pages are still, and it is theirs.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/srcu.h>

/* A copy may have failed for the sake of another batch, as in uvm_migrate_to_ram(). */
#define UVM_PARK_TRIES		3

/* Reclaim is welcome, the OOM killer isn't. */
#define UVM_PARK_GFP		(GFP_HIGHUSER | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

static int uvm_park_after_ms = 2000;
module_param_named(park_after_ms, uvm_park_after_ms, int, 0644);
MODULE_PARM_DESC(park_after_ms,
		 "pages of a GPU that goes away are parked if none came home for so long; -1: they are waited for (default 2000)");

DEFINE_STATIC_SRCU(uvm_engines_srcu);

/**
 * uvm_engines_hold() - GPUs that aren't parked now don't lose their engines
 *
 * Return: what uvm_engines_release() wants. Nothing waits for user space until then.
 */
int uvm_engines_hold(void)
{
	int idx = srcu_read_lock(&uvm_engines_srcu);

	/* It is held from the begin of a move to its end. */
	__release(&uvm_engines_srcu);
	return idx;
}

void uvm_engines_release(int idx)
{
	__acquire(&uvm_engines_srcu);
	srcu_read_unlock(&uvm_engines_srcu, idx);
}

/**
 * uvm_park_patience() - how long nothing may come home before pages are parked
 * @gpu: goes away
 *
 * Return: in jiffies; MAX_SCHEDULE_TIMEOUT if they can't be parked, or mustn't.
 */
unsigned long uvm_park_patience(const struct uvm_gpu *gpu)
{
	int ms = READ_ONCE(uvm_park_after_ms);

	if (gpu->desc.memory_kind != UVM_MEMORY_PRIVATE || ms < 0)
		return MAX_SCHEDULE_TIMEOUT;
	return msecs_to_jiffies(ms);
}

/**
 * struct uvm_parking - a block of a GPU's memory is copied
 * @gpu: the GPU
 * @copy: the batch
 * @nr: pages that are copied
 * @index: their numbers
 * @page: where to
 * @dma: the GPU's addresses of that
 * @seg: for @copy
 * @used: pages of the block that are in use
 */
struct uvm_parking {
	struct uvm_gpu *gpu;
	struct uvm_copy copy;
	unsigned int nr;
	unsigned long index[UVM_BLOCK_PAGES];
	struct page *page[UVM_BLOCK_PAGES];
	dma_addr_t dma[UVM_BLOCK_PAGES];
	struct uvm_gpu_segment seg[UVM_BLOCK_PAGES];
	DECLARE_BITMAP(used, UVM_BLOCK_PAGES);
};

static int uvm_park_add(struct uvm_parking *park, unsigned long index)
{
	struct device *dev = park->gpu->desc.dev;
	struct uvm_gpu_segment seg = {
		.src = (u64)index << PAGE_SHIFT,
		.dst_aperture = UVM_APERTURE_SYSTEM,
		.length = PAGE_SIZE,
	};
	struct page *page = alloc_page(UVM_PARK_GFP);

	if (!page)
		return -ENOMEM;
	seg.dst = dma_map_page(dev, page, 0, PAGE_SIZE, DMA_FROM_DEVICE);
	if (dma_mapping_error(dev, seg.dst)) {
		__free_page(page);
		return -ENOMEM;
	}
	park->index[park->nr] = index;
	park->page[park->nr] = page;
	park->dma[park->nr++] = seg.dst;
	uvm_copy_add(&park->copy, &seg);
	return 0;
}

/* The pages of a block that have no host copy yet, as far as memory reaches. */
static int uvm_park_gather(struct uvm_parking *park, unsigned long block)
{
	unsigned long i, base = block * UVM_BLOCK_PAGES;
	int ret = 0;

	park->nr = 0;
	uvm_copy_init(&park->copy, park->gpu, park->seg, UVM_BLOCK_PAGES);
	uvm_devmem_used_map(&park->gpu->mem, block, park->used);
	for_each_set_bit(i, park->used, UVM_BLOCK_PAGES) {
		if (!ret && !xa_load(&park->gpu->copies, base + i))
			ret = uvm_park_add(park, base + i);
	}
	return ret;
}

static void uvm_park_drop(struct uvm_gpu *gpu, unsigned long index)
{
	struct page *copy = xa_erase_irq(&gpu->copies, index);

	if (copy)
		__free_page(copy);
}

/* The page may have been freed since. */
static int uvm_park_keep(struct uvm_gpu *gpu, unsigned long index, struct page *page)
{
	int ret = xa_err(xa_store_irq(&gpu->copies, index, page,
					GFP_KERNEL | __GFP_NOWARN));

	if (ret)
		__free_page(page);
	else if (!uvm_devmem_is_used(&gpu->mem, index))
		uvm_park_drop(gpu, index);
	return ret;
}

/* What was gathered is copied. With -ETIMEDOUT @park is the engine's for ever. */
static int uvm_park_copy(struct uvm_parking *park)
{
	struct device *dev = park->gpu->desc.dev;
	unsigned int i;
	int ret, err;

	ret = uvm_copy_start(&park->copy);
	if (!ret)
		ret = uvm_copy_finish(&park->copy);
	if (ret == -ETIMEDOUT)
		return ret;
	uvm_delay(UVM_DELAY_PARK);
	for (i = 0; i < park->nr; i++) {
		dma_unmap_page(dev, park->dma[i], PAGE_SIZE, DMA_FROM_DEVICE);
		if (ret) {
			__free_page(park->page[i]);
			continue;
		}
		err = uvm_park_keep(park->gpu, park->index[i], park->page[i]);
		/* The others are there already. */
		ret = ret ?: err;
	}
	return ret;
}

static int uvm_park_block(struct uvm_parking *park, unsigned long block)
{
	int tries, ret, copied = -EIO;

	for (tries = 0; tries < UVM_PARK_TRIES && copied == -EIO; tries++) {
		ret = uvm_park_gather(park, block);
		copied = uvm_park_copy(park);
	}
	return copied ?: ret;
}

/* A host copy for every page in use. What could be copied stays, whatever happens. */
static int uvm_park_copy_all(struct uvm_gpu *gpu)
{
	struct uvm_parking *park = kvzalloc(sizeof(*park),
					    GFP_KERNEL | __GFP_NOWARN);
	unsigned long block;
	int ret = 0;

	if (!park)
		return -ENOMEM;
	park->gpu = gpu;
	for (block = 0; !ret && block < gpu->mem.nr_chunks; block++) {
		ret = uvm_park_block(park, block);
		cond_resched();
	}
	if (ret != -ETIMEDOUT)
		kvfree(park);
	return ret;
}

/**
 * uvm_park_gpu() - pages that can't come home now give their GPU free
 * @gpu: of private memory; dead, in no VA space, its memory closed
 *
 * On success nobody uses its engines or its device any more. Bounded by the engines' time
 * limits, and by how fast there is memory.
 *
 * Return: 0; -ENOMEM if not all of it could be had: what could is kept, for another try;
 * or why a copy failed, as uvm_copy_finish() says.
 */
int uvm_park_gpu(struct uvm_gpu *gpu)
{
	int ret;

	/* Whoever found it a peer before it died has written his entries. */
	uvm_mirror_sync();
	uvm_gpu_spaces_forget_peer(gpu);
	ret = uvm_park_copy_all(gpu);
	if (ret)
		return ret;
	uvm_gpu_set_parked(gpu);
	synchronize_srcu(&uvm_engines_srcu);
	/* A use of them is a bug: let it be a plain one. */
	gpu->desc.ops = NULL;
	gpu->desc.dev = NULL;
	return 0;
}

/**
 * uvm_park_read() - what was in a page of a parked GPU
 * @gpu: the GPU
 * @index: the page's number; the caller keeps it from being freed
 * @dst: a page of system memory
 *
 * Return: 0, or -EIO if it is lost.
 */
int uvm_park_read(struct uvm_gpu *gpu, unsigned long index, struct page *dst)
{
	struct page *copy = xa_load(&gpu->copies, index);

	if (!copy)
		return -EIO;
	copy_highpage(dst, copy);
	return 0;
}

/**
 * uvm_park_forget() - pages were freed, and need no host copies
 * @gpu: their GPU, which stays until the caller returns to core mm
 * @index: the first one; uvm_devmem_free() was called for them
 * @nr: how many
 *
 * Any context, interrupts included.
 */
void uvm_park_forget(struct uvm_gpu *gpu, unsigned long index, unsigned int nr)
{
	unsigned long i, flags;
	struct page *copy;

	for (i = index; i < index + nr && !xa_empty(&gpu->copies); i++) {
		xa_lock_irqsave(&gpu->copies, flags);
		copy = __xa_erase(&gpu->copies, i);
		xa_unlock_irqrestore(&gpu->copies, flags);
		if (copy)
			__free_page(copy);
	}
}

void uvm_park_init(struct uvm_gpu *gpu)
{
	xa_init_flags(&gpu->copies, XA_FLAGS_LOCK_IRQ);
}

/**
 * uvm_park_fini() - there are no host copies any more
 * @gpu: nobody brings a page of it home; or, if it is lost, they come home no more
 */
void uvm_park_fini(struct uvm_gpu *gpu)
{
	struct page *copy;
	unsigned long i;

	xa_for_each(&gpu->copies, i, copy)
		uvm_park_drop(gpu, i);
	xa_destroy(&gpu->copies);
}
