// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Device memory
 *
 * Owns which pages of a GPU's memory are in use. Memory is handed out in pages,
 * kept in chunks of 2 MiB so that a whole block lands in one chunk where it can:
 * contiguous device addresses make one copy segment and one GPU page.
 *
 * The lock is irq-safe: core mm frees device pages from any context. Nothing is
 * allocated under it, and nothing is taken under it but the lock of a wait queue.
 *
 * Invariants: a chunk is on @free iff no page of it is used, on @partial iff some
 * but not all are; @used is the sum of all chunks'; the owner's module is pinned
 * iff @used is not 0.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/module.h>
#include <linux/slab.h>

/* Woken when some GPU's memory has no page in use any more. */
DECLARE_WAIT_QUEUE_HEAD(uvm_devmem_idle);

int uvm_devmem_init(struct uvm_devmem *mem, struct module *owner,
		    unsigned long npages)
{
	unsigned long i;

	spin_lock_init(&mem->lock);
	INIT_LIST_HEAD(&mem->free);
	INIT_LIST_HEAD(&mem->partial);
	mem->owner = owner;
	mem->used = 0;
	mem->closed = false;
	mem->nr_chunks = npages / UVM_BLOCK_PAGES;
	mem->chunks = kvcalloc(mem->nr_chunks, sizeof(*mem->chunks), GFP_KERNEL);
	if (!mem->chunks)
		return -ENOMEM;
	for (i = 0; i < mem->nr_chunks; i++)
		list_add_tail(&mem->chunks[i].link, &mem->free);
	return 0;
}

void uvm_devmem_fini(struct uvm_devmem *mem)
{
	WARN_ON(mem->used);
	kvfree(mem->chunks);
	mem->chunks = NULL;
}

/* Puts a chunk where its count of used pages says. */
static void uvm_devmem_relink(struct uvm_devmem *mem,
			      struct uvm_devmem_chunk *chunk)
{
	lockdep_assert_held(&mem->lock);
	if (!chunk->nr_used)
		list_move(&chunk->link, &mem->free);
	else if (chunk->nr_used < UVM_BLOCK_PAGES)
		list_move(&chunk->link, &mem->partial);
	else
		list_del_init(&chunk->link);
}

static unsigned int uvm_devmem_take(struct uvm_devmem *mem,
				    struct uvm_devmem_chunk *chunk,
				    unsigned long *index, unsigned int count)
{
	unsigned long base = (chunk - mem->chunks) * UVM_BLOCK_PAGES;
	unsigned int nr = 0;
	unsigned long bit;

	lockdep_assert_held(&mem->lock);
	for_each_clear_bit(bit, chunk->used, UVM_BLOCK_PAGES) {
		if (nr == count)
			break;
		__set_bit(bit, chunk->used);
		index[nr++] = base + bit;
	}
	chunk->nr_used += nr;
	mem->used += nr;
	uvm_devmem_relink(mem, chunk);
	return nr;
}

/*
 * A whole block wants a whole chunk; less fills chunks that are in use before it
 * breaks a free one.
 */
static struct uvm_devmem_chunk *uvm_devmem_pick(struct uvm_devmem *mem,
						unsigned int count)
{
	struct list_head *first = &mem->partial, *second = &mem->free;

	lockdep_assert_held(&mem->lock);
	if (count >= UVM_BLOCK_PAGES)
		swap(first, second);
	if (list_empty(first))
		first = second;
	return list_first_entry_or_null(first, struct uvm_devmem_chunk, link);
}

/* May pages be taken? The first one pins the owner. */
static bool uvm_devmem_open(struct uvm_devmem *mem)
{
	lockdep_assert_held(&mem->lock);
	return !mem->closed && (mem->used || try_module_get(mem->owner));
}

/**
 * uvm_devmem_alloc() - take pages
 * @mem: the memory
 * @index: where to store the pages' numbers
 * @count: how many are wanted
 *
 * Any context. Never waits, never evicts.
 *
 * Return: how many were taken, less than @count if no more are free.
 */
unsigned int uvm_devmem_alloc(struct uvm_devmem *mem, unsigned long *index,
			      unsigned int count)
{
	struct uvm_devmem_chunk *chunk;
	unsigned int nr = 0;
	unsigned long flags;

	spin_lock_irqsave(&mem->lock, flags);
	if (!count || !uvm_devmem_open(mem))
		goto out;
	while (nr < count) {
		chunk = uvm_devmem_pick(mem, count - nr);
		if (!chunk)
			break;
		nr += uvm_devmem_take(mem, chunk, index + nr, count - nr);
	}
	if (!mem->used)
		module_put(mem->owner);
out:
	spin_unlock_irqrestore(&mem->lock, flags);
	return nr;
}

/**
 * uvm_devmem_alloc_block() - take a chunk that is free as a whole
 * @mem: the memory
 * @index: where to store the numbers of its pages, which are in order
 *
 * Any context. Never waits, never evicts.
 *
 * Return: how many were taken: all, or 0.
 */
unsigned int uvm_devmem_alloc_block(struct uvm_devmem *mem, unsigned long *index)
{
	struct uvm_devmem_chunk *chunk;
	unsigned int nr = 0;
	unsigned long flags;

	spin_lock_irqsave(&mem->lock, flags);
	chunk = list_first_entry_or_null(&mem->free, struct uvm_devmem_chunk, link);
	if (chunk && uvm_devmem_open(mem))
		nr = uvm_devmem_take(mem, chunk, index, UVM_BLOCK_PAGES);
	spin_unlock_irqrestore(&mem->lock, flags);
	return nr;
}

/* False if some aren't in use: somebody gives back what isn't his. */
static bool uvm_devmem_clear(struct uvm_devmem_chunk *chunk, unsigned int first,
			     unsigned int count)
{
	if (find_next_zero_bit(chunk->used, first + count, first) < first + count)
		return false;
	bitmap_clear(chunk->used, first, count);
	chunk->nr_used -= count;
	return true;
}

/**
 * uvm_devmem_free() - give pages back
 * @mem: the memory
 * @index: the first one, from uvm_devmem_alloc()
 * @count: how many, in the same chunk
 *
 * Any context, interrupts included.
 */
void uvm_devmem_free(struct uvm_devmem *mem, unsigned long index,
		     unsigned int count)
{
	struct uvm_devmem_chunk *chunk = &mem->chunks[index / UVM_BLOCK_PAGES];
	unsigned long flags;

	spin_lock_irqsave(&mem->lock, flags);
	if (!WARN_ON(!uvm_devmem_clear(chunk, index % UVM_BLOCK_PAGES, count))) {
		uvm_devmem_relink(mem, chunk);
		mem->used -= count;
		if (!mem->used) {
			wake_up_all(&uvm_devmem_idle);
			module_put(mem->owner);
		}
	}
	spin_unlock_irqrestore(&mem->lock, flags);
}

/**
 * uvm_devmem_close() - hand out no more pages
 * @mem: the memory
 */
void uvm_devmem_close(struct uvm_devmem *mem)
{
	unsigned long flags;

	spin_lock_irqsave(&mem->lock, flags);
	mem->closed = true;
	spin_unlock_irqrestore(&mem->lock, flags);
}

unsigned long uvm_devmem_used_pages(struct uvm_devmem *mem)
{
	unsigned long flags, nr;

	spin_lock_irqsave(&mem->lock, flags);
	nr = mem->used;
	spin_unlock_irqrestore(&mem->lock, flags);
	return nr;
}

unsigned long uvm_devmem_free_pages(struct uvm_devmem *mem)
{
	unsigned long flags, nr;

	spin_lock_irqsave(&mem->lock, flags);
	nr = mem->nr_chunks * UVM_BLOCK_PAGES - mem->used;
	spin_unlock_irqrestore(&mem->lock, flags);
	return nr;
}
