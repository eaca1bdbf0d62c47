// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Prefetch in a block
 *
 * Owns the guess which pages of a block will be wanted soon, given those that faults
 * want now and those that are there. A fault takes along the 64 KiB around it. A larger
 * aligned part of the block comes as a whole as soon as more than a given share of it
 * is there or on its way: so the more a GPU uses of a block, the larger the steps.
 *
 * And which blocks: faults in neighbouring blocks, one after the other, are a stream,
 * which is worth twice as many blocks ahead each time that it comes to the end of them.
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

/* A stream is worth so many blocks at most, 16 MiB. */
#define UVM_STREAM_MAX	8U

/* Between the last fault and what comes next: prefetched, but for what couldn't. */
static bool uvm_stream_is_inside(const struct uvm_stream *stream, unsigned long block)
{
	if (!stream->ahead)
		return false;
	return stream->step > 0 ? block > stream->last && block < stream->edge :
				  block < stream->last && block > stream->edge;
}

static bool uvm_stream_has(const struct uvm_stream *stream, unsigned long block)
{
	return block == stream->last || block == stream->last + 1 ||
	       block + 1 == stream->last ||
	       (stream->ahead && block == stream->edge) ||
	       uvm_stream_is_inside(stream, block);
}

/**
 * uvm_streams_flow() - does a block continue a stream?
 * @streams: the streams
 * @block: its number
 *
 * Return: true if blocks before it had faults one after the other.
 */
bool uvm_streams_flow(const struct uvm_streams *streams, unsigned long block)
{
	const struct uvm_stream *stream;

	for (stream = streams->streams; stream < streams->streams + UVM_STREAMS; stream++)
		if (stream->ahead && uvm_stream_has(stream, block))
			return true;
	return false;
}

/* A fault in @block, which is one of the stream's. Returns what that is worth. */
static unsigned int uvm_stream_fault(struct uvm_stream *stream, unsigned long block)
{
	bool inside = uvm_stream_is_inside(stream, block);
	unsigned long last = stream->last;

	if (block == last)
		return 0;
	stream->last = block;
	if (inside)
		return 0;
	if (stream->ahead && block == stream->edge) {
		stream->ahead = min(2 * stream->ahead, UVM_STREAM_MAX);
	} else {
		stream->step = block > last ? 1 : -1;
		stream->ahead = 1;
	}
	stream->edge = block + stream->step * (stream->ahead + 1L);
	return stream->ahead;
}

/**
 * uvm_streams_fault() - a block has a fault
 * @streams: zeroed at first
 * @block: its number
 * @step: 1 or -1: where the next blocks are
 *
 * Several streams may take turns: a GPU that copies has two.
 *
 * Return: how many blocks, in that direction, should come along.
 */
unsigned int uvm_streams_fault(struct uvm_streams *streams, unsigned long block,
			       int *step)
{
	struct uvm_stream *stream;
	unsigned int i, ahead;

	for (i = 0; i < UVM_STREAMS; i++) {
		stream = &streams->streams[i];
		if (!uvm_stream_has(stream, block))
			continue;
		ahead = uvm_stream_fault(stream, block);
		*step = stream->step;
		return ahead;
	}
	stream = &streams->streams[streams->oldest++ % UVM_STREAMS];
	*stream = (struct uvm_stream){ .last = block };
	return 0;
}
