/* SPDX-License-Identifier: MIT */
/*
 * Commands for the software GPU, ready for uvm_channel_submit(). What each does
 * is in <linux/uvm_sim.h>.
 */
#ifndef _LIBUVM_UVM_SIM_H
#define _LIBUVM_UVM_SIM_H

#include <stdint.h>

#include <linux/uvm_sim.h>

static inline struct uvm_sim_cmd uvm_sim_make(uint32_t op, const void *dst,
					      const void *src, uint64_t length,
					      uint64_t arg0, uint64_t arg1)
{
	struct uvm_sim_cmd cmd;

	cmd.op = op;
	cmd.flags = 0;
	cmd.dst = (uintptr_t)dst;
	cmd.src = (uintptr_t)src;
	cmd.length = length;
	cmd.arg0 = arg0;
	cmd.arg1 = arg1;
	return cmd;
}

/* Does nothing. */
static inline struct uvm_sim_cmd uvm_sim_nop(void)
{
	return uvm_sim_make(UVM_SIM_NOP, 0, 0, 0, 0, 0);
}

/* Sets @length bytes at @dst to @byte. */
static inline struct uvm_sim_cmd uvm_sim_fill(void *dst, uint8_t byte,
					      uint64_t length)
{
	return uvm_sim_make(UVM_SIM_FILL, dst, 0, length, byte, 0);
}

/* Copies @length bytes; the two must not overlap. */
static inline struct uvm_sim_cmd uvm_sim_copy(void *dst, const void *src,
					      uint64_t length)
{
	return uvm_sim_make(UVM_SIM_COPY, dst, src, length, 0, 0);
}

/* XORs @length bytes at @dst with the key stream of @seed, from its start. */
static inline struct uvm_sim_cmd uvm_sim_xor(void *dst, uint64_t length,
					     uint64_t seed)
{
	return uvm_sim_make(UVM_SIM_XOR, dst, 0, length, seed, 0);
}

/* Adds to @counters how often each byte value occurs in @length bytes. */
static inline struct uvm_sim_cmd uvm_sim_histogram(uint64_t counters[256],
						   const void *src,
						   uint64_t length)
{
	return uvm_sim_make(UVM_SIM_HISTOGRAM, counters, src, length, 0, 0);
}

/* Stores the CRC-32C of @length bytes. */
static inline struct uvm_sim_cmd uvm_sim_crc32c(uint64_t *crc, const void *src,
						uint64_t length)
{
	return uvm_sim_make(UVM_SIM_CRC32C, crc, src, length, 0, 0);
}

/* Stores the sum of the 64-bit words in @length bytes; a multiple of 8. */
static inline struct uvm_sim_cmd uvm_sim_sum(uint64_t *sum, const void *src,
					     uint64_t length)
{
	return uvm_sim_make(UVM_SIM_SUM, sum, src, length, 0, 0);
}

/* Adds @value to @counter, @times times, each time atomically. */
static inline struct uvm_sim_cmd uvm_sim_atomic_add(uint64_t *counter,
						    uint64_t value,
						    uint64_t times)
{
	return uvm_sim_make(UVM_SIM_ATOMIC_ADD, counter, 0, 0, value, times);
}

/* Follows @hops pointers from @start, and stores the last one at @dst. */
static inline struct uvm_sim_cmd uvm_sim_chase(uint64_t *dst, const void *start,
					       uint64_t hops)
{
	return uvm_sim_make(UVM_SIM_CHASE, dst, start, 0, hops, 0);
}

/* Reads a byte every @stride bytes of @length, and @write stores it back. */
static inline struct uvm_sim_cmd uvm_sim_touch(void *dst, uint64_t length,
					       uint64_t stride, int write)
{
	return uvm_sim_make(UVM_SIM_TOUCH, dst, 0, length, stride, !!write);
}

#endif /* _LIBUVM_UVM_SIM_H */
