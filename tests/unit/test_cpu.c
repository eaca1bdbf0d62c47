// SPDX-License-Identifier: MIT
/*
 * The CPU's side of the demo: what the GPU is held against must be right itself.
 */
#include <stdlib.h>
#include <string.h>

#include <linux/uvm_sim.h>

#include "../../src/uvmctl/cpu.h"
#include "test.h"

/* RFC 3720, B.4, and the check value of the CRC catalogues. */
static void crc_vectors(void **state)
{
	static const uint8_t read_pdu[48] = {
		0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
		0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
	};
	uint8_t data[32];

	(void)state;
	memset(data, 0, sizeof(data));
	assert_int_equal(cpu_crc32c(data, 32), 0x8A9136AA);
	memset(data, 0xff, sizeof(data));
	assert_int_equal(cpu_crc32c(data, 32), 0x62A8AB43);
	for (int i = 0; i < 32; i++)
		data[i] = i;
	assert_int_equal(cpu_crc32c(data, 32), 0x46DD794E);
	for (int i = 0; i < 32; i++)
		data[i] = 31 - i;
	assert_int_equal(cpu_crc32c(data, 32), 0x113FDB5C);
	assert_int_equal(cpu_crc32c(read_pdu, sizeof(read_pdu)), 0xD9963A56);
	assert_int_equal(cpu_crc32c("123456789", 9), 0xE3069283);
	assert_int_equal(cpu_crc32c("", 0), 0);
}

static uint32_t slow_crc32c(const uint8_t *data, size_t length)
{
	uint32_t crc = ~0U;

	while (length--) {
		crc ^= *data++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
	}
	return ~crc;
}

static void crc_lengths_and_alignments(void **state)
{
	uint8_t data[80];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = i * 37 + 11;
	for (size_t from = 0; from < 9; from++)
		for (size_t length = 0; from + length <= sizeof(data); length++)
			assert_int_equal(cpu_crc32c(data + from, length),
					 slow_crc32c(data + from, length));
}

/* The published sequence of SplitMix64 for this seed. */
static void keystream_vectors(void **state)
{
	static const uint64_t words[] = {
		6457827717110365317ULL, 3203168211198807973ULL,
		9817491932198370423ULL, 4593380528125082431ULL,
		16408922859458223821ULL,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		assert_true(uvm_sim_keystream(1234567, i) == words[i]);
		for (size_t k = 0; k < 8; k++)
			assert_int_equal(cpu_key_byte(1234567, i * 8 + k),
					 words[i] >> 8 * k & 0xff);
	}
}

static void histogram_counts(void **state)
{
	uint64_t counters[256];
	uint8_t data[256 * 3];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = i;
	data[5] = 200;
	memset(counters, 0xff, sizeof(counters));
	cpu_histogram(data, sizeof(data), counters);
	for (int i = 0; i < 256; i++)
		assert_int_equal(counters[i], i == 5 ? 2 : i == 200 ? 4 : 3);

	cpu_histogram(data, 0, counters);
	for (int i = 0; i < 256; i++)
		assert_int_equal(counters[i], 0);
}

static void check_xor_finds_every_byte(void **state)
{
	enum { LENGTH = 45, SEED = 99 };
	uint8_t plain[LENGTH], data[LENGTH + 1];
	/* As malloc() memory of a file may be: not aligned. */
	uint8_t *moved = data + 1;

	(void)state;
	for (size_t i = 0; i < LENGTH; i++) {
		plain[i] = i * 3;
		moved[i] = plain[i] ^ cpu_key_byte(SEED, i);
	}
	for (size_t from = 0; from <= LENGTH; from++)
		assert_int_equal(cpu_check_xor(moved, plain, from, LENGTH, SEED),
				 LENGTH);
	for (size_t i = 0; i < LENGTH; i++) {
		moved[i] ^= 0x80;
		assert_int_equal(cpu_check_xor(moved, plain, 0, LENGTH, SEED), i);
		assert_int_equal(cpu_check_xor(moved, plain, 0, i, SEED), i);
		assert_int_equal(cpu_check_xor(moved, plain, i + 1, LENGTH, SEED),
				 LENGTH);
		moved[i] ^= 0x80;
	}
	assert_int_equal(cpu_check_xor(moved, plain, 0, LENGTH, SEED + 1), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc_vectors),
		cmocka_unit_test(crc_lengths_and_alignments),
		cmocka_unit_test(keystream_vectors),
		cmocka_unit_test(histogram_counts),
		cmocka_unit_test(check_xor_finds_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
