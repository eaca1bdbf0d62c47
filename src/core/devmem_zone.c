// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Zones of device memory
 *
 * A zone keeps its memory in chunks of 2 MiB, so that a whole block lands in one chunk
 * where it can: contiguous device addresses make one copy segment and one GPU page. A
 * chunk that is not free as a whole is kept in pieces of 64 KiB, and a piece of which the
 * same is true in pages. Memory is split when nothing smaller is free, and merged as soon
 * as it can be. Nothing here takes longer the more memory there is.
 *
 * The lock is irq-safe: core mm frees device pages from any context. Nothing is
 * allocated under it, and nothing is taken under it but the lock of a wait queue.
 *
 * Invariants: a chunk is on a list iff no page of it is used and it isn't busy; a piece is
 * iff some page of it is free and some page of its chunk is used; @used is the sum of all
 * chunks', and with @busy and all of @nr_free it makes @npages; the owner's module is pinned iff @used is not 0.
 */
#include "core.h"

#include <linux/bitops.h>
#include <linux/bitmap.h>
#include <linux/module.h>

static_assert(SZ_64K >> PAGE_SHIFT <= 16);

#define UVM_PIECE_FULL	((u16)GENMASK(UVM_PIECE_PAGES - 1, 0))

static unsigned int uvm_piece_free(const struct uvm_devmem_piece *piece)
{
	return UVM_PIECE_PAGES - hweight16(piece->used);
}

static enum uvm_devmem_size uvm_piece_size(const struct uvm_devmem_piece *piece)
{
	return piece->used ? UVM_DEVMEM_4K : UVM_DEVMEM_64K;
}

/* A free one: all of it. One that is in use: can it serve who wants zeroes? */
static bool uvm_piece_zeroed(const struct uvm_devmem_piece *piece)
{
	return piece->used ? piece->zero & ~piece->used : piece->zero == UVM_PIECE_FULL;
}

static void uvm_piece_link(struct uvm_devmem_zone *zone, struct uvm_devmem_piece *piece)
{
	enum uvm_devmem_size size = uvm_piece_size(piece);

	lockdep_assert_held(&zone->lock);
	if (!uvm_piece_free(piece))
		return;
	list_add(&piece->link, &zone->free[size][uvm_piece_zeroed(piece)]);
	zone->nr_free[size] += uvm_piece_free(piece);
}

/* Before it changes. */
static void uvm_piece_unlink(struct uvm_devmem_zone *zone, struct uvm_devmem_piece *piece)
{
	lockdep_assert_held(&zone->lock);
	if (list_empty(&piece->link))
		return;
	list_del_init(&piece->link);
	zone->nr_free[uvm_piece_size(piece)] -= uvm_piece_free(piece);
}

static struct uvm_devmem_chunk *uvm_piece_chunk(struct uvm_devmem_piece *piece)
{
	return container_of(piece - piece->nr, struct uvm_devmem_chunk, pieces[0]);
}

static bool uvm_chunk_zeroed(const struct uvm_devmem_chunk *chunk)
{
	unsigned int i;

	for (i = 0; i < UVM_CHUNK_PIECES; i++)
		if (chunk->pieces[i].zero != UVM_PIECE_FULL)
			return false;
	return true;
}

/* No page of it is used. */
static void uvm_chunk_link(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk)
{
	lockdep_assert_held(&zone->lock);
	list_add(&chunk->link, &zone->free[UVM_DEVMEM_2M][uvm_chunk_zeroed(chunk)]);
	zone->nr_free[UVM_DEVMEM_2M] += UVM_CHUNK_PAGES;
}

static void uvm_chunk_unlink(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk)
{
	lockdep_assert_held(&zone->lock);
	list_del_init(&chunk->link);
	zone->nr_free[UVM_DEVMEM_2M] -= UVM_CHUNK_PAGES;
}

/* A free chunk becomes free pieces, the first of which is the first to be taken. */
static void uvm_chunk_split(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk)
{
	unsigned int i;

	uvm_chunk_unlink(zone, chunk);
	for (i = UVM_CHUNK_PIECES; i--;)
		uvm_piece_link(zone, &chunk->pieces[i]);
}

static void uvm_chunk_merge(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk)
{
	unsigned int i;

	for (i = 0; i < UVM_CHUNK_PIECES; i++)
		uvm_piece_unlink(zone, &chunk->pieces[i]);
	uvm_chunk_link(zone, chunk);
}

/* May pages be taken? The first one pins the owner. */
static bool uvm_zone_open(struct uvm_devmem_zone *zone)
{
	struct uvm_devmem *mem = zone->mem;

	lockdep_assert_held(&zone->lock);
	return !READ_ONCE(mem->closed) && (zone->used || try_module_get(zone->owner));
}

/* If pages were given back, or none were taken after all. */
static void uvm_zone_unpin(struct uvm_devmem_zone *zone)
{
	lockdep_assert_held(&zone->lock);
	if (zone->used)
		return;
	wake_up_all(&uvm_devmem_idle);
	module_put(zone->owner);
}

static unsigned long uvm_piece_index(struct uvm_devmem *mem,
				     struct uvm_devmem_piece *piece)
{
	return (uvm_piece_chunk(piece) - mem->chunks) * UVM_CHUNK_PAGES +
	       piece->nr * UVM_PIECE_PAGES;
}

/* Up to @count pages in order; all of the kind that is liked better, if there are as many. */
static unsigned int uvm_piece_take(struct uvm_devmem_zone *zone,
				   struct uvm_devmem_piece *piece, unsigned long *index,
				   unsigned int count, bool zeroed)
{
	unsigned long base = uvm_piece_index(zone->mem, piece);
	unsigned long free = ~piece->used & UVM_PIECE_FULL;
	unsigned long liked = free & (zeroed ? piece->zero : ~piece->zero);
	unsigned int nr = 0;
	unsigned long bit;

	uvm_piece_unlink(zone, piece);
	if (hweight_long(liked) >= count)
		free = liked;
	for_each_set_bit(bit, &free, UVM_PIECE_PAGES) {
		if (nr == count)
			break;
		piece->used |= BIT(bit);
		index[nr++] = base + bit;
	}
	uvm_piece_link(zone, piece);
	uvm_piece_chunk(piece)->used += nr;
	zone->used += nr;
	return nr;
}

static struct list_head *uvm_zone_list(struct uvm_devmem_zone *zone,
				       enum uvm_devmem_size size, bool zeroed)
{
	struct list_head *list = &zone->free[size][zeroed];

	return list_empty(list) ? &zone->free[size][!zeroed] : list;
}

static struct uvm_devmem_piece *uvm_zone_first(struct uvm_devmem_zone *zone,
					       enum uvm_devmem_size size, bool zeroed)
{
	return list_first_entry_or_null(uvm_zone_list(zone, size, zeroed),
					struct uvm_devmem_piece, link);
}

/* Is the piece behind @last free, too? */
static struct uvm_devmem_piece *uvm_piece_next(struct uvm_devmem_piece *last)
{
	if (!last || last->nr == UVM_CHUNK_PIECES - 1)
		return NULL;
	return last[1].used || list_empty(&last[1].link) ? NULL : &last[1];
}

/* Where the next pages come from, of chunks that are in use. */
static struct uvm_devmem_piece *uvm_zone_pick(struct uvm_devmem_zone *zone,
					      struct uvm_devmem_piece *last,
					      unsigned int count, bool zeroed)
{
	struct uvm_devmem_piece *piece = NULL;

	if (count >= UVM_PIECE_PAGES) {
		piece = uvm_piece_next(last);
		if (!piece)
			piece = uvm_zone_first(zone, UVM_DEVMEM_64K, zeroed);
	}
	if (!piece)
		piece = uvm_zone_first(zone, UVM_DEVMEM_4K, zeroed);
	if (!piece)
		piece = uvm_zone_first(zone, UVM_DEVMEM_64K, zeroed);
	return piece;
}

static struct uvm_devmem_chunk *uvm_zone_whole(struct uvm_devmem_zone *zone, bool zeroed)
{
	return list_first_entry_or_null(uvm_zone_list(zone, UVM_DEVMEM_2M, zeroed),
					struct uvm_devmem_chunk, link);
}

/*
 * Takes up to @count pages, in chunks that are free as a whole only if it may @split
 * them; @zeroed ones rather than others, or others rather than those.
 */
unsigned int uvm_zone_take(struct uvm_devmem_zone *zone, unsigned long *index,
			   unsigned int count, bool split, bool zeroed)
{
	struct uvm_devmem_piece *piece = NULL;
	struct uvm_devmem_chunk *chunk;
	unsigned int nr = 0;
	unsigned long flags;

	spin_lock_irqsave(&zone->lock, flags);
	if (!uvm_zone_open(zone))
		goto out;
	while (nr < count) {
		piece = uvm_zone_pick(zone, piece, count - nr, zeroed);
		if (piece) {
			nr += uvm_piece_take(zone, piece, index + nr, count - nr, zeroed);
			continue;
		}
		chunk = split ? uvm_zone_whole(zone, zeroed) : NULL;
		if (!chunk)
			break;
		uvm_chunk_split(zone, chunk);
	}
	uvm_zone_unpin(zone);
out:
	spin_unlock_irqrestore(&zone->lock, flags);
	return nr;
}

/* Takes a chunk that is free as a whole, or NULL. */
struct uvm_devmem_chunk *uvm_zone_take_chunk(struct uvm_devmem_zone *zone, bool zeroed)
{
	struct uvm_devmem_chunk *chunk;
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&zone->lock, flags);
	chunk = uvm_zone_whole(zone, zeroed);
	if (chunk && uvm_zone_open(zone)) {
		uvm_chunk_unlink(zone, chunk);
		for (i = 0; i < UVM_CHUNK_PIECES; i++)
			chunk->pieces[i].used = UVM_PIECE_FULL;
		chunk->used = UVM_CHUNK_PAGES;
		zone->used += UVM_CHUNK_PAGES;
	} else {
		chunk = NULL;
	}
	spin_unlock_irqrestore(&zone->lock, flags);
	return chunk;
}

/* Which pages of piece @nr are among [@first, @end) of its chunk. */
static u16 uvm_piece_mask(unsigned int nr, unsigned int first, unsigned int end)
{
	unsigned int base = nr * UVM_PIECE_PAGES;

	first = max(first, base) - base;
	end = min(end - base, UVM_PIECE_PAGES);
	return GENMASK(end - 1, first);
}

/* Somebody gives back what isn't his. */
static bool uvm_chunk_uses(const struct uvm_devmem_chunk *chunk, unsigned int first,
			   unsigned int end)
{
	unsigned int nr;

	for (nr = first / UVM_PIECE_PAGES; nr * UVM_PIECE_PAGES < end; nr++)
		if (uvm_piece_mask(nr, first, end) & ~chunk->pieces[nr].used)
			return false;
	return true;
}

static void uvm_chunk_put(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk,
			 unsigned int first, unsigned int end)
{
	struct uvm_devmem_piece *piece;
	unsigned int nr;
	u16 mask;

	zone->used -= end - first;
	chunk->used -= end - first;
	for (nr = first / UVM_PIECE_PAGES; nr * UVM_PIECE_PAGES < end; nr++) {
		piece = &chunk->pieces[nr];
		mask = uvm_piece_mask(nr, first, end);
		uvm_piece_unlink(zone, piece);
		piece->used &= ~mask;
		piece->zero &= ~mask;
		if (chunk->used)
			uvm_piece_link(zone, piece);
	}
	if (!chunk->used)
		uvm_chunk_merge(zone, chunk);
}

/*
 * Gives back the pages [@first, @end) of a chunk; or nothing, and false, if one of them
 * isn't in use. What is lost stays so.
 */
bool uvm_zone_put(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk,
		  unsigned int first, unsigned int end)
{
	unsigned long flags;
	bool used;

	spin_lock_irqsave(&zone->lock, flags);
	used = uvm_chunk_uses(chunk, first, end);
	if (used && !chunk->lost) {
		uvm_chunk_put(zone, chunk, first, end);
		uvm_zone_unpin(zone);
	}
	spin_unlock_irqrestore(&zone->lock, flags);
	return used;
}

/* Did pages that the caller took contain zeroes then? */
bool uvm_chunk_is_zero(const struct uvm_devmem_chunk *chunk, unsigned int first,
		       unsigned int end)
{
	unsigned int nr;

	for (nr = first / UVM_PIECE_PAGES; nr * UVM_PIECE_PAGES < end; nr++)
		if (uvm_piece_mask(nr, first, end) & ~READ_ONCE(chunk->pieces[nr].zero))
			return false;
	return true;
}

/*
 * Takes a chunk that is free as a whole, and dirty, off its list, or returns NULL. Never
 * the only one that is free: somebody may want it just now.
 */
struct uvm_devmem_chunk *uvm_zone_take_dirty(struct uvm_devmem_zone *zone)
{
	struct uvm_devmem_chunk *chunk = NULL;
	unsigned long flags;

	spin_lock_irqsave(&zone->lock, flags);
	if (zone->nr_free[UVM_DEVMEM_2M] > UVM_CHUNK_PAGES && !READ_ONCE(zone->mem->closed))
		chunk = list_first_entry_or_null(&zone->free[UVM_DEVMEM_2M][false],
						 struct uvm_devmem_chunk, link);
	if (chunk) {
		uvm_chunk_unlink(zone, chunk);
		zone->busy += UVM_CHUNK_PAGES;
	}
	spin_unlock_irqrestore(&zone->lock, flags);
	return chunk;
}

/* Whoever wants zeroes gets this one last: it may take a while. */
void uvm_zone_put_scrubbed(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk,
			   bool zeroed)
{
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&zone->lock, flags);
	for (i = 0; i < UVM_CHUNK_PIECES && zeroed; i++)
		chunk->pieces[i].zero = UVM_PIECE_FULL;
	zone->busy -= UVM_CHUNK_PAGES;
	uvm_chunk_link(zone, chunk);
	list_move_tail(&chunk->link, &zone->free[UVM_DEVMEM_2M][zeroed]);
	spin_unlock_irqrestore(&zone->lock, flags);
}

/* Takes what is free of a chunk off the lists. */
static void uvm_chunk_withdraw(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk)
{
	unsigned int i;

	if (!chunk->used)
		uvm_chunk_unlink(zone, chunk);
	for (i = 0; i < UVM_CHUNK_PIECES; i++) {
		uvm_piece_unlink(zone, &chunk->pieces[i]);
		chunk->pieces[i].zero = 0;
	}
}

/* It was taken for zeroed, and isn't. */
void uvm_zone_unzero(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk)
{
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&zone->lock, flags);
	uvm_chunk_withdraw(zone, chunk);
	if (!chunk->used)
		uvm_chunk_link(zone, chunk);
	for (i = 0; i < UVM_CHUNK_PIECES && chunk->used; i++)
		uvm_piece_link(zone, &chunk->pieces[i]);
	spin_unlock_irqrestore(&zone->lock, flags);
}

/* An engine may write to it for ever. What is in use elsewhere stays with its owner. */
void uvm_zone_lose(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk)
{
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&zone->lock, flags);
	uvm_chunk_withdraw(zone, chunk);
	/* Whoever scrubs keeps the backend from going so far. */
	if (!zone->used)
		__module_get(zone->owner);
	for (i = 0; i < UVM_CHUNK_PIECES; i++)
		chunk->pieces[i].used = UVM_PIECE_FULL;
	zone->used += UVM_CHUNK_PAGES - chunk->used;
	chunk->used = UVM_CHUNK_PAGES;
	chunk->lost = true;
	spin_unlock_irqrestore(&zone->lock, flags);
}

static void uvm_chunk_account(const struct uvm_devmem_chunk *chunk,
			      struct uvm_devmem_account *account)
{
	const struct uvm_devmem_piece *piece = chunk->pieces;

	*account = (struct uvm_devmem_account){
		.used = chunk->used,
		.lost = chunk->lost ? chunk->used : 0,
	};
	if (!chunk->used)
		account->free[UVM_DEVMEM_2M] = UVM_CHUNK_PAGES;
	for (; piece < chunk->pieces + UVM_CHUNK_PIECES; piece++) {
		if (chunk->used)
			account->free[uvm_piece_size(piece)] += uvm_piece_free(piece);
		account->zeroed += hweight16(piece->zero & ~piece->used);
	}
}

void uvm_zone_used_map(struct uvm_devmem_zone *zone,
		       const struct uvm_devmem_chunk *chunk, unsigned long *used)
{
	unsigned long flags;
	unsigned int i;

	bitmap_zero(used, UVM_CHUNK_PAGES);
	spin_lock_irqsave(&zone->lock, flags);
	for (i = 0; i < UVM_CHUNK_PAGES; i++)
		if (chunk->pieces[i / UVM_PIECE_PAGES].used & BIT(i % UVM_PIECE_PAGES))
			__set_bit(i, used);
	spin_unlock_irqrestore(&zone->lock, flags);
}

void uvm_zone_account(struct uvm_devmem_zone *zone, const struct uvm_devmem_chunk *chunk,
		      struct uvm_devmem_account *account)
{
	unsigned long flags;

	spin_lock_irqsave(&zone->lock, flags);
	uvm_chunk_account(chunk, account);
	spin_unlock_irqrestore(&zone->lock, flags);
}

/* With no memory. */
void uvm_zone_init(struct uvm_devmem *mem, struct uvm_devmem_zone *zone)
{
	unsigned int size;

	spin_lock_init(&zone->lock);
	zone->mem = mem;
	zone->owner = mem->owner;
	zone->npages = 0;
	zone->used = 0;
	zone->busy = 0;
	for (size = 0; size < UVM_DEVMEM_SIZES; size++) {
		INIT_LIST_HEAD(&zone->free[size][false]);
		INIT_LIST_HEAD(&zone->free[size][true]);
		zone->nr_free[size] = 0;
	}
}

/* Before anything is taken: a chunk, all of it free. */
void uvm_zone_add(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk)
{
	unsigned int i;

	for (i = 0; i < UVM_CHUNK_PIECES; i++) {
		INIT_LIST_HEAD(&chunk->pieces[i].link);
		chunk->pieces[i].nr = i;
	}
	list_add_tail(&chunk->link, &zone->free[UVM_DEVMEM_2M][false]);
	zone->nr_free[UVM_DEVMEM_2M] += UVM_CHUNK_PAGES;
	zone->npages += UVM_CHUNK_PAGES;
}
