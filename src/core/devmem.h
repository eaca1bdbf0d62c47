/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages of a GPU's memory are in use (devmem.c, devmem_zone.c).
 */
#ifndef _UVM_DEVMEM_H
#define _UVM_DEVMEM_H

#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

struct module;

/* A chunk is as large as a block: one huge page. */
#define UVM_CHUNK_PAGES		((unsigned int)(SZ_2M >> PAGE_SHIFT))
#define UVM_PIECE_PAGES		((unsigned int)(SZ_64K >> PAGE_SHIFT))
#define UVM_CHUNK_PIECES	(UVM_CHUNK_PAGES / UVM_PIECE_PAGES)

/* Sizes that free memory is kept in. */
enum uvm_devmem_size {
	UVM_DEVMEM_4K,
	UVM_DEVMEM_64K,
	UVM_DEVMEM_2M,
	UVM_DEVMEM_SIZES
};

/**
 * struct uvm_devmem_piece - 64 KiB of device memory
 * @link: in &uvm_devmem_zone.free if some of it is free, but not all of its chunk
 * @used: which pages are allocated
 * @zero: which pages contain zeroes; of one that is allocated, contained them when it was
 * @nr: which of its chunk's pieces it is
 */
struct uvm_devmem_piece {
	struct list_head link;
	u16 used;
	u16 zero;
	u8 nr;
};

/**
 * struct uvm_devmem_chunk - 2 MiB of device memory
 * @link: in &uvm_devmem_zone.free if all of it is free
 * @used: pages allocated
 * @lost: an engine may write to it for ever: no page of it is handed out any more
 * @pieces: by address
 */
struct uvm_devmem_chunk {
	struct list_head link;
	unsigned int used;
	bool lost;
	struct uvm_devmem_piece pieces[UVM_CHUNK_PIECES];
};

/**
 * struct uvm_devmem_zone - a part of a GPU's memory, under a lock of its own
 * @lock: protects the rest, and the chunks; irq-safe, since pages are freed from any
 *	context
 * @mem: the whole
 * @owner: the module that is pinned while @used is not 0; NULL once it is gone
 * @npages: its size
 * @used: pages allocated
 * @busy: pages that are free, but on no list, since somebody is about to scrub them
 * @nr_free: pages on the lists of each size
 * @free: what is free, by size and by whether it is zeroed: chunks that are free as a
 *	whole, and contain nothing but zeroes; pieces that are, of other chunks; and
 *	other pieces with a free page, and with one that contains zeroes
 */
struct uvm_devmem_zone {
	spinlock_t lock;
	struct uvm_devmem *mem;
	struct module *owner;
	unsigned long npages;
	unsigned long used;
	unsigned long busy;
	unsigned long nr_free[UVM_DEVMEM_SIZES];
	struct list_head free[UVM_DEVMEM_SIZES][2];
} ____cacheline_aligned_in_smp;

#define UVM_DEVMEM_ZONES	16

/**
 * struct uvm_devmem - a GPU's memory, page by page
 * @owner: the backend's module, until uvm_devmem_bequeath(), pinned by each zone in which a page is in use: a page
 *	may outlive every file, and the module must not go while it is there
 * @chunks: all chunks, by address
 * @nr_chunks: their number
 * @nr_zones: how many of @zones there are
 * @zone_chunks: so many chunks each, the last one maybe less
 * @watched: somebody wants to know how much was free, see uvm_devmem_watch()
 * @watch_lock: protects @peak
 * @peak: pages that were free at once, at most, since uvm_devmem_watch()
 * @closed: the GPU is going away: no page is handed out any more. Set before each
 *	zone's lock is taken once, and read under it
 * @zones: by address
 */
struct uvm_devmem {
	struct module *owner;
	struct uvm_devmem_chunk *chunks;
	unsigned long nr_chunks;
	unsigned int nr_zones;
	unsigned long zone_chunks;
	bool watched;
	spinlock_t watch_lock;
	unsigned long peak;
	bool closed;
	struct uvm_devmem_zone zones[UVM_DEVMEM_ZONES];
};

/**
 * struct uvm_devmem_account - where pages are
 * @used: allocated
 * @lost: of those, how many are in a chunk that is lost
 * @free: free, by the size in which they can be handed out
 * @zeroed: of those that are free, how many contain zeroes
 */
struct uvm_devmem_account {
	unsigned long used;
	unsigned long lost;
	unsigned long free[UVM_DEVMEM_SIZES];
	unsigned long zeroed;
};

extern wait_queue_head_t uvm_devmem_idle;

int uvm_devmem_init(struct uvm_devmem *mem, struct module *owner,
		    unsigned long npages);
void uvm_devmem_fini(struct uvm_devmem *mem);
unsigned int uvm_devmem_alloc(struct uvm_devmem *mem, unsigned long *index,
			      unsigned int count);
unsigned int uvm_devmem_alloc_block(struct uvm_devmem *mem, unsigned long *index);
unsigned int uvm_devmem_alloc_zeroed(struct uvm_devmem *mem, unsigned long *index,
				     unsigned int count);
void uvm_devmem_swap_zeroed(struct uvm_devmem *mem, unsigned long *index);
bool uvm_devmem_zeroed(struct uvm_devmem *mem, unsigned long index, unsigned int count);
long uvm_devmem_scrub_take(struct uvm_devmem *mem);
void uvm_devmem_scrub_put(struct uvm_devmem *mem, unsigned long nr, bool zeroed);
void uvm_devmem_scrub_failed(struct uvm_devmem *mem, unsigned long nr, bool lost);
void uvm_devmem_free(struct uvm_devmem *mem, unsigned long index,
		     unsigned int count);
unsigned long uvm_devmem_free_pages(struct uvm_devmem *mem);
unsigned long uvm_devmem_used_pages(struct uvm_devmem *mem);
unsigned int uvm_devmem_largest_free(struct uvm_devmem *mem);
void uvm_devmem_account(struct uvm_devmem *mem, unsigned long chunk,
			struct uvm_devmem_account *account);
void uvm_devmem_set_watched(struct uvm_devmem *mem, bool watched);
unsigned long uvm_devmem_watch(struct uvm_devmem *mem, unsigned long *peak);
void uvm_devmem_used_map(struct uvm_devmem *mem, unsigned long chunk,
			 unsigned long *used);
bool uvm_devmem_is_used(struct uvm_devmem *mem, unsigned long index);
void uvm_devmem_bequeath(struct uvm_devmem *mem);
void uvm_devmem_close(struct uvm_devmem *mem);

/* devmem_zone.c */
void uvm_zone_init(struct uvm_devmem *mem, struct uvm_devmem_zone *zone);
void uvm_zone_add(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk);
unsigned int uvm_zone_take(struct uvm_devmem_zone *zone, unsigned long *index,
			   unsigned int count, bool split, bool zeroed);
struct uvm_devmem_chunk *uvm_zone_take_chunk(struct uvm_devmem_zone *zone, bool zeroed);
bool uvm_zone_put(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk,
		  unsigned int first, unsigned int end);
void uvm_zone_used_map(struct uvm_devmem_zone *zone,
		       const struct uvm_devmem_chunk *chunk, unsigned long *used);
bool uvm_chunk_is_zero(const struct uvm_devmem_chunk *chunk, unsigned int first,
		       unsigned int end);
struct uvm_devmem_chunk *uvm_zone_take_dirty(struct uvm_devmem_zone *zone);
void uvm_zone_put_scrubbed(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk,
			   bool zeroed);
void uvm_zone_unzero(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk);
void uvm_zone_lose(struct uvm_devmem_zone *zone, struct uvm_devmem_chunk *chunk);
void uvm_zone_account(struct uvm_devmem_zone *zone, const struct uvm_devmem_chunk *chunk,
		      struct uvm_devmem_account *account);

#endif /* _UVM_DEVMEM_H */
