/* SPDX-License-Identifier: MIT */
/*
 * The CPU's own versions of what the software GPU computes. They share no code
 * with it, so that an agreement means something; the key stream alone is the
 * common definition of <linux/uvm_sim.h>.
 */
#ifndef _UVMCTL_CPU_H
#define _UVMCTL_CPU_H

#include <stddef.h>
#include <stdint.h>

/* Counts byte values of @length bytes into @counters, which it clears first. */
void cpu_histogram(const void *data, size_t length, uint64_t counters[256]);

/* CRC-32C as in RFC 3720. Not for several threads at once. */
uint32_t cpu_crc32c(const void *data, size_t length);

/* Byte @i of the key stream of @seed. */
uint8_t cpu_key_byte(uint64_t seed, size_t i);

/*
 * Offset of the first byte in [@from, @to) of @data that isn't the byte of
 * @plain there, XORed with the key stream of @seed; @to if there is none.
 */
size_t cpu_check_xor(const uint8_t *data, const uint8_t *plain, size_t from,
		     size_t to, uint64_t seed);

#endif /* _UVMCTL_CPU_H */
