/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_PREFETCH_H
#define _UVM_PREFETCH_H

/**
 * struct uvm_stream - whether faults go through memory block by block
 * @last: number of the block that had the last fault
 * @edge: number of the next block, if this is a stream: up to it all was prefetched
 * @step: 1 for upwards, -1 for downwards
 * @ahead: blocks that the last fault was worth; 0 if this is no stream
 */
struct uvm_stream {
	unsigned long last;
	unsigned long edge;
	int step;
	unsigned int ahead;
};

#define UVM_STREAMS	4

/**
 * struct uvm_streams - streams that take turns
 * @streams: those that are known
 * @oldest: which one a new one takes the place of; modulo UVM_STREAMS
 */
struct uvm_streams {
	struct uvm_stream streams[UVM_STREAMS];
	unsigned int oldest;
};

bool uvm_streams_flow(const struct uvm_streams *streams, unsigned long block);
unsigned int uvm_streams_fault(struct uvm_streams *streams, unsigned long block,
			       int *step);
void uvm_prefetch_grow(unsigned long *want, const unsigned long *there,
		       const unsigned long *may, unsigned int threshold);

#endif /* _UVM_PREFETCH_H */
