// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Prefetch in a block
 *
 * Owns the guess which pages of a block will be wanted soon, given those that faults
 * want now and those that are there. A fault takes along the 64 KiB around it. A larger
 * aligned part of the block comes as a whole as soon as more than a given share of it
 * is there or on its way: so the more a GPU uses of a block, the larger the steps.
 */
#include "core.h"

#include <linux/bitmap.h>
#include <linux/bitops.h>

#include "prefetch.h"

/* Pages of the smallest part, 64 KiB; divides the bits of a long. */
#define UVM_PART_PAGES	16U
#define UVM_PARTS	(UVM_BLOCK_PAGES / UVM_PART_PAGES)

static u16 uvm_part_bits(const unsigned long *map, unsigned int part)
{
	unsigned int bit = part * UVM_PART_PAGES;

	return map[BIT_WORD(bit)] >> (bit % BITS_PER_LONG);
}

/* The largest part of the block around @part that is occupied enough, in parts. */
static unsigned int uvm_prefetch_size(const u8 *occupied, unsigned int part,
				      unsigned int threshold)
{
	unsigned int size, first, i, sum, best = 1;

	for (size = 2; size <= UVM_PARTS; size *= 2) {
		first = rounddown(part, size);
		for (sum = 0, i = first; i < first + size; i++)
			sum += occupied[i];
		if (sum * 100 > threshold * size * UVM_PART_PAGES)
			best = size;
	}
	return best;
}

/**
 * uvm_prefetch_grow() - what comes along with faults
 * @want: in: pages of the block that faults want moved; out: and those that come along
 * @there: pages that are there
 * @may: pages that may come along
 * @threshold: percent of an aligned part of the block that have to be wanted or there
 *	for all of it to come
 */
void uvm_prefetch_grow(unsigned long *want, const unsigned long *there,
		       const unsigned long *may, unsigned int threshold)
{
	DECLARE_BITMAP(faults, UVM_PARTS) = {};
	DECLARE_BITMAP(region, UVM_BLOCK_PAGES) = {};
	u8 occupied[UVM_PARTS];
	unsigned int part, size;

	for (part = 0; part < UVM_PARTS; part++) {
		u16 bits = uvm_part_bits(want, part);

		__assign_bit(part, faults, bits);
		if (bits)
			bits |= uvm_part_bits(may, part);
		occupied[part] = hweight16(bits | uvm_part_bits(there, part));
	}
	for_each_set_bit(part, faults, UVM_PARTS) {
		size = uvm_prefetch_size(occupied, part, threshold);
		bitmap_set(region, rounddown(part, size) * UVM_PART_PAGES,
			   size * UVM_PART_PAGES);
	}
	bitmap_and(region, region, may, UVM_BLOCK_PAGES);
	bitmap_andnot(region, region, there, UVM_BLOCK_PAGES);
	bitmap_or(want, want, region, UVM_BLOCK_PAGES);
}
