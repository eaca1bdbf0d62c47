// SPDX-License-Identifier: MIT
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include <linux/uvm_sim.h>

#include "cpu.h"

#define CRC32C_POLY	0x82F63B78U	/* 0x1EDC6F41, reflected */
#define CRC_SLICES	8

/* crc_table[k][b]: what byte b does to the CRC when k more bytes follow it. */
static uint32_t crc_table[CRC_SLICES][256];

void cpu_histogram(const void *data, size_t length, uint64_t counters[256])
{
	const uint8_t *byte = data;

	memset(counters, 0, 256 * sizeof(*counters));
	for (size_t i = 0; i < length; i++)
		counters[byte[i]]++;
}

static void crc_init(void)
{
	static bool ready;

	if (ready)
		return;

	for (unsigned int i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC32C_POLY : 0);
		crc_table[0][i] = crc;
	}
	for (unsigned int k = 1; k < CRC_SLICES; k++) {
		for (unsigned int i = 0; i < 256; i++) {
			uint32_t crc = crc_table[k - 1][i];

			crc_table[k][i] = crc >> 8 ^ crc_table[0][crc & 0xff];
		}
	}
	ready = true;
}

uint32_t cpu_crc32c(const void *data, size_t length)
{
	const uint8_t *byte = data;
	uint32_t crc = ~0U;

	crc_init();

	for (; length >= CRC_SLICES; length -= CRC_SLICES) {
		uint64_t word;
		uint32_t next = 0;

		memcpy(&word, byte, sizeof(word));
		word = le64toh(word) ^ crc;
		for (int k = 0; k < CRC_SLICES; k++)
			next ^= crc_table[CRC_SLICES - 1 - k][word >> 8 * k & 0xff];
		crc = next;
		byte += CRC_SLICES;
	}
	while (length--)
		crc = crc >> 8 ^ crc_table[0][(crc ^ *byte++) & 0xff];
	return ~crc;
}

uint8_t cpu_key_byte(uint64_t seed, size_t i)
{
	return uvm_sim_keystream(seed, i / 8) >> 8 * (i % 8);
}

static bool byte_is_right(const uint8_t *data, const uint8_t *plain, size_t i,
			  uint64_t seed)
{
	return data[i] == (plain[i] ^ cpu_key_byte(seed, i));
}

static bool word_is_right(const uint8_t *data, const uint8_t *plain, size_t i,
			  uint64_t seed)
{
	uint64_t have, was;

	memcpy(&have, data + i, sizeof(have));
	memcpy(&was, plain + i, sizeof(was));
	return le64toh(have ^ was) == uvm_sim_keystream(seed, i / 8);
}

size_t cpu_check_xor(const uint8_t *data, const uint8_t *plain, size_t from,
		     size_t to, uint64_t seed)
{
	size_t i = from;

	while (i < to) {
		if (i % 8 == 0 && to - i >= 8 &&
		    word_is_right(data, plain, i, seed)) {
			i += 8;
			continue;
		}
		if (!byte_is_right(data, plain, i, seed))
			return i;
		i++;
	}
	return to;
}
