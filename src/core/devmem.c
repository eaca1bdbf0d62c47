// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Device memory
 *
 * Owns which pages of a GPU's memory are in use. The memory is divided into zones
 * (devmem_zone.c), each with a lock of its own. There are no more than a few, however
 * large the memory is, and no lock is taken under another. Who wants memory begins with
 * the zone of the CPU that it runs on. A chunk is broken only if no zone has as much as a
 * chunk free in pieces: so what is lost for blocks is a chunk for each zone, and what use
 * has scattered.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/module.h>
#include <linux/slab.h>

static_assert(UVM_CHUNK_PAGES == UVM_BLOCK_PAGES);

/* Fewer chunks are not worth a lock of their own. */
#define UVM_ZONE_CHUNKS	64

/* Woken when some zone of some GPU's memory has no page in use any more. */
DECLARE_WAIT_QUEUE_HEAD(uvm_devmem_idle);

static struct uvm_devmem_zone *uvm_chunk_zone(struct uvm_devmem *mem,
					      struct uvm_devmem_chunk *chunk)
{
	return &mem->zones[(chunk - mem->chunks) / mem->zone_chunks];
}

/* The @i-th one to ask on this CPU. */
static struct uvm_devmem_zone *uvm_devmem_zone(struct uvm_devmem *mem, unsigned int home,
					       unsigned int i)
{
	return &mem->zones[(home + i) % mem->nr_zones];
}

/* A whole chunk, or 0. */
static unsigned int uvm_devmem_take_chunk(struct uvm_devmem *mem, unsigned int home,
					  unsigned long *index, bool zeroed)
{
	struct uvm_devmem_chunk *chunk = NULL;
	struct uvm_devmem_zone *zone;
	unsigned long base;
	unsigned int i;

	for (i = 0; i < mem->nr_zones && !chunk; i++) {
		zone = uvm_devmem_zone(mem, home, i);
		if (READ_ONCE(zone->nr_free[UVM_DEVMEM_2M]))
			chunk = uvm_zone_take_chunk(zone, zeroed);
	}
	if (!chunk)
		return 0;
	base = (chunk - mem->chunks) * UVM_CHUNK_PAGES;
	for (i = 0; i < UVM_CHUNK_PAGES; i++)
		index[i] = base + i;
	return UVM_CHUNK_PAGES;
}

/* Is there a chunk's worth in pieces? */
static bool uvm_zone_scattered(const struct uvm_devmem_zone *zone)
{
	return READ_ONCE(zone->nr_free[UVM_DEVMEM_4K]) +
	       READ_ONCE(zone->nr_free[UVM_DEVMEM_64K]) >= UVM_CHUNK_PAGES;
}

static bool uvm_zone_full(const struct uvm_devmem_zone *zone)
{
	return READ_ONCE(zone->used) == zone->npages;
}

/* Pieces of this CPU's zone, then those of others that have many, then whatever there is. */
static unsigned int uvm_devmem_take(struct uvm_devmem *mem, unsigned int home,
				    unsigned long *index, unsigned int count, bool zeroed)
{
	struct uvm_devmem_zone *zone;
	unsigned int i, nr = 0;

	for (i = 0; i < mem->nr_zones && nr < count; i++) {
		zone = uvm_devmem_zone(mem, home, i);
		if (!i || uvm_zone_scattered(zone))
			nr += uvm_zone_take(zone, index + nr, count - nr, false, zeroed);
	}
	for (i = 0; i < mem->nr_zones && nr < count; i++) {
		zone = uvm_devmem_zone(mem, home, i);
		if (!uvm_zone_full(zone))
			nr += uvm_zone_take(zone, index + nr, count - nr, true, zeroed);
	}
	return nr;
}

static unsigned int uvm_devmem_home(const struct uvm_devmem *mem)
{
	return raw_smp_processor_id() % mem->nr_zones;
}

static unsigned int uvm_devmem_take_any(struct uvm_devmem *mem, unsigned long *index,
					unsigned int count, bool zeroed)
{
	unsigned int home = uvm_devmem_home(mem), nr = 0, n;

	while (count - nr >= UVM_CHUNK_PAGES) {
		n = uvm_devmem_take_chunk(mem, home, index + nr, zeroed);
		if (!n)
			break;
		nr += n;
	}
	return nr + uvm_devmem_take(mem, home, index + nr, count - nr, zeroed);
}

/**
 * uvm_devmem_alloc() - take pages
 * @mem: the memory
 * @index: where to store the pages' numbers, runs of them in order
 * @count: how many are wanted
 *
 * Whole chunks for whole blocks; less fills chunks that are in use before it breaks a
 * free one. Any context. Never waits, never evicts. What is freed meanwhile may be missed,
 * and while others take and free in several zones, even as much as is always free.
 *
 * Return: how many were taken, less than @count if no more are free.
 */
unsigned int uvm_devmem_alloc(struct uvm_devmem *mem, unsigned long *index,
			      unsigned int count)
{
	return uvm_devmem_take_any(mem, index, count, false);
}

/* The same, of pages that contain zeroes rather than of others: uvm_devmem_zeroed(). */
unsigned int uvm_devmem_alloc_zeroed(struct uvm_devmem *mem, unsigned long *index,
				     unsigned int count)
{
	return uvm_devmem_take_any(mem, index, count, true);
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
	return uvm_devmem_take_chunk(mem, uvm_devmem_home(mem), index, false);
}

static void uvm_devmem_note_peak(struct uvm_devmem *mem)
{
	unsigned long flags;

	spin_lock_irqsave(&mem->watch_lock, flags);
	mem->peak = max(mem->peak, uvm_devmem_free_pages(mem));
	spin_unlock_irqrestore(&mem->watch_lock, flags);
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
	struct uvm_devmem_chunk *chunk = &mem->chunks[index / UVM_CHUNK_PAGES];
	struct uvm_devmem_zone *zone = uvm_chunk_zone(mem, chunk);
	unsigned int first = index % UVM_CHUNK_PAGES;

	WARN_ON(!uvm_zone_put(zone, chunk, first, first + count));
	if (READ_ONCE(mem->watched))
		uvm_devmem_note_peak(mem);
}

/* ---- zeroes ---- */

/**
 * uvm_devmem_zeroed() - did pages contain zeroes when they were taken?
 * @mem: the memory
 * @index: the first one, which is the caller's
 * @count: how many, in the same chunk
 *
 * If their chunk is being filled, they will.
 *
 * Return: true if all of them did.
 */
bool uvm_devmem_zeroed(struct uvm_devmem *mem, unsigned long index, unsigned int count)
{
	unsigned int first = index % UVM_CHUNK_PAGES;

	return uvm_chunk_is_zero(&mem->chunks[index / UVM_CHUNK_PAGES], first, first + count);
}

/**
 * uvm_devmem_swap_zeroed() - exchange a chunk for one that contains zeroes
 * @mem: the memory
 * @index: of uvm_devmem_alloc_block(); of another block afterwards, if there is one
 *
 * Any context.
 */
void uvm_devmem_swap_zeroed(struct uvm_devmem *mem, unsigned long *index)
{
	unsigned long other = index[0];

	if (uvm_devmem_zeroed(mem, other, UVM_CHUNK_PAGES) ||
	    !uvm_devmem_take_chunk(mem, uvm_devmem_home(mem), index, true))
		return;
	uvm_devmem_free(mem, other, UVM_CHUNK_PAGES);
}

/**
 * uvm_devmem_scrub_take() - keep back a chunk that is free and dirty
 * @mem: the memory
 *
 * It counts as free still. Until uvm_devmem_scrub_put() nobody gets it.
 *
 * Return: its number, or -1 if there is none, or none to spare.
 */
long uvm_devmem_scrub_take(struct uvm_devmem *mem)
{
	struct uvm_devmem_chunk *chunk;
	struct uvm_devmem_zone *zone;

	for (zone = mem->zones; zone < mem->zones + mem->nr_zones; zone++) {
		chunk = uvm_zone_take_dirty(zone);
		if (chunk)
			return chunk - mem->chunks;
	}
	return -1;
}

/**
 * uvm_devmem_scrub_put() - let others have it
 * @mem: the memory
 * @nr: from uvm_devmem_scrub_take()
 * @zeroed: it is being filled, and whoever gets it finds out (scrub.c)
 */
void uvm_devmem_scrub_put(struct uvm_devmem *mem, unsigned long nr, bool zeroed)
{
	struct uvm_devmem_chunk *chunk = &mem->chunks[nr];

	uvm_zone_put_scrubbed(uvm_chunk_zone(mem, chunk), chunk, zeroed);
}

/**
 * uvm_devmem_scrub_failed() - it isn't zeroed after all
 * @mem: the memory
 * @nr: put as being filled
 * @lost: an engine may write to it for ever: nobody gets pages of it any more
 */
void uvm_devmem_scrub_failed(struct uvm_devmem *mem, unsigned long nr, bool lost)
{
	struct uvm_devmem_chunk *chunk = &mem->chunks[nr];

	if (lost)
		uvm_zone_lose(uvm_chunk_zone(mem, chunk), chunk);
	else
		uvm_zone_unzero(uvm_chunk_zone(mem, chunk), chunk);
}

/* ---- numbers ---- */

/* Pages in use. Exact: of a memory that is closed, 0 is the end. */
unsigned long uvm_devmem_used_pages(struct uvm_devmem *mem)
{
	struct uvm_devmem_zone *zone;
	unsigned long flags, nr = 0;

	for (zone = mem->zones; zone < mem->zones + mem->nr_zones; zone++) {
		spin_lock_irqsave(&zone->lock, flags);
		nr += zone->used;
		spin_unlock_irqrestore(&zone->lock, flags);
	}
	return nr;
}

unsigned long uvm_devmem_free_pages(struct uvm_devmem *mem)
{
	return mem->nr_chunks * UVM_CHUNK_PAGES - uvm_devmem_used_pages(mem);
}

/**
 * uvm_devmem_set_watched() - is uvm_devmem_watch() going to be called?
 * @mem: the memory
 * @watched: if not, nobody remembers how much was free
 */
void uvm_devmem_set_watched(struct uvm_devmem *mem, bool watched)
{
	WRITE_ONCE(mem->watched, watched);
}

/**
 * uvm_devmem_watch() - what became of free memory
 * @mem: watched
 * @peak: pages that were free at once, at most, since the last call. Where pages were
 *	taken and given back in several zones at the very same moment, either may count
 *	as first.
 *
 * Any context.
 *
 * Return: pages that are free now.
 */
unsigned long uvm_devmem_watch(struct uvm_devmem *mem, unsigned long *peak)
{
	unsigned long flags, nr;

	spin_lock_irqsave(&mem->watch_lock, flags);
	nr = uvm_devmem_free_pages(mem);
	*peak = max(mem->peak, nr);
	mem->peak = nr;
	spin_unlock_irqrestore(&mem->watch_lock, flags);
	return nr;
}

/* Which pages of a chunk are in use. */
void uvm_devmem_used_map(struct uvm_devmem *mem, unsigned long chunk, unsigned long *used)
{
	struct uvm_devmem_zone *zone = uvm_chunk_zone(mem, &mem->chunks[chunk]);

	uvm_zone_used_map(zone, &mem->chunks[chunk], used);
}

/* If it is not, uvm_devmem_free() was called; if it is, that is still to come. */
bool uvm_devmem_is_used(struct uvm_devmem *mem, unsigned long index)
{
	DECLARE_BITMAP(used, UVM_CHUNK_PAGES);

	uvm_devmem_used_map(mem, index / UVM_CHUNK_PAGES, used);
	return test_bit(index % UVM_CHUNK_PAGES, used);
}

/* How many pages the largest piece of memory has that is free: 512, 16, 1 or 0. */
unsigned int uvm_devmem_largest_free(struct uvm_devmem *mem)
{
	static const unsigned int pages[UVM_DEVMEM_SIZES] = {
		1, UVM_PIECE_PAGES, UVM_CHUNK_PAGES
	};
	struct uvm_devmem_zone *zone;
	unsigned int largest = 0, size;
	unsigned long flags;

	for (zone = mem->zones; zone < mem->zones + mem->nr_zones; zone++) {
		spin_lock_irqsave(&zone->lock, flags);
		for (size = 0; size < UVM_DEVMEM_SIZES; size++)
			if (zone->nr_free[size])
				largest = max(largest, pages[size]);
		spin_unlock_irqrestore(&zone->lock, flags);
	}
	return largest;
}

/**
 * uvm_devmem_account() - where a chunk's pages are
 * @mem: the memory
 * @chunk: which chunk, less than &uvm_devmem.nr_chunks
 * @account: where to store it; @used and all @free are UVM_CHUNK_PAGES together
 */
void uvm_devmem_account(struct uvm_devmem *mem, unsigned long chunk,
			struct uvm_devmem_account *account)
{
	struct uvm_devmem_zone *zone = uvm_chunk_zone(mem, &mem->chunks[chunk]);

	uvm_zone_account(zone, &mem->chunks[chunk], account);
}

/* ---- begin and end ---- */

/**
 * uvm_devmem_close() - hand out no more pages
 * @mem: the memory
 *
 * When it returns, pages that were handed out are counted as used.
 */
void uvm_devmem_close(struct uvm_devmem *mem)
{
	struct uvm_devmem_zone *zone;
	unsigned long flags;

	WRITE_ONCE(mem->closed, true);
	for (zone = mem->zones; zone < mem->zones + mem->nr_zones; zone++) {
		spin_lock_irqsave(&zone->lock, flags);
		spin_unlock_irqrestore(&zone->lock, flags);
	}
}

/**
 * uvm_devmem_bequeath() - the owner goes, and the pages in use stay behind
 * @mem: closed
 *
 * From here on pages pin no module.
 */
void uvm_devmem_bequeath(struct uvm_devmem *mem)
{
	struct uvm_devmem_zone *zone;
	unsigned long flags;
	bool used;

	for (zone = mem->zones; zone < mem->zones + mem->nr_zones; zone++) {
		spin_lock_irqsave(&zone->lock, flags);
		used = zone->used;
		zone->owner = NULL;
		spin_unlock_irqrestore(&zone->lock, flags);
		if (used)
			module_put(mem->owner);
	}
}

static int uvm_devmem_init_zones(struct uvm_devmem *mem, struct module *owner,
				 unsigned long npages, unsigned int zones)
{
	unsigned long i;

	mem->owner = owner;
	mem->closed = false;
	mem->watched = false;
	spin_lock_init(&mem->watch_lock);
	mem->peak = 0;
	mem->nr_chunks = npages / UVM_CHUNK_PAGES;
	mem->zone_chunks = DIV_ROUND_UP(mem->nr_chunks, zones);
	mem->nr_zones = DIV_ROUND_UP(mem->nr_chunks, mem->zone_chunks);
	mem->chunks = kvcalloc(mem->nr_chunks, sizeof(*mem->chunks), GFP_KERNEL);
	if (!mem->chunks)
		return -ENOMEM;
	for (i = 0; i < mem->nr_zones; i++)
		uvm_zone_init(mem, &mem->zones[i]);
	for (i = 0; i < mem->nr_chunks; i++)
		uvm_zone_add(uvm_chunk_zone(mem, &mem->chunks[i]), &mem->chunks[i]);
	return 0;
}

/**
 * uvm_devmem_init() - begin, with all memory free
 * @mem: the memory
 * @owner: the backend's module
 * @npages: its size, a multiple of a chunk's and not 0
 *
 * Return: 0 or -ENOMEM.
 */
int uvm_devmem_init(struct uvm_devmem *mem, struct module *owner,
		    unsigned long npages)
{
	unsigned long most = npages / UVM_CHUNK_PAGES / UVM_ZONE_CHUNKS;

	return uvm_devmem_init_zones(mem, owner, npages,
				     clamp(most, 1UL, min_t(unsigned long, num_possible_cpus(),
							    UVM_DEVMEM_ZONES)));
}

void uvm_devmem_fini(struct uvm_devmem *mem)
{
	WARN_ON(uvm_devmem_used_pages(mem));
	kvfree(mem->chunks);
	mem->chunks = NULL;
}
