// SPDX-License-Identifier: MIT
/*
 * uvmctl demo against a fake driver: it must pass when all is well, and fail,
 * saying why, whenever something isn't.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/uvmctl/uvmctl.h"
#include "fake_uvm.h"
#include "test.h"

static char output[8192];

/* main.c has it, with main(). */
void complain(const char *what, unsigned int cmd, int err)
{
	fprintf(stderr, "%s: %u: %d\n", what, cmd, err);
}

static char *make_file(size_t length)
{
	static char path[32];
	FILE *file;
	int fd;

	snprintf(path, sizeof(path), "/tmp/uvm-test-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	for (size_t i = 0; i < length; i++)
		putc(i * i >> 5, file);
	assert_int_equal(fclose(file), 0);
	return path;
}

/* Runs it on a file of @length bytes and keeps what it prints in @output. */
static int demo(size_t length, char *gpu)
{
	char *path = make_file(length);
	char *argv[4] = { "demo", path, gpu };
	int saved, status;
	FILE *file;
	size_t n;

	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	file = tmpfile();
	assert_non_null(file);
	dup2(fileno(file), STDOUT_FILENO);
	status = cmd_demo(gpu ? 3 : 2, argv);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);

	rewind(file);
	n = fread(output, 1, sizeof(output) - 1, file);
	output[n] = 0;
	fclose(file);
	unlink(path);
	return status;
}

static void assert_verdict(int status, size_t length, const char *text)
{
	int got = demo(length, NULL);

	if (got != status || !strstr(output, text)) {
		fputs(output, stderr);
		fail_msg("status %d instead of %d, or no \"%s\"", got, status,
			 text);
	}
	assert_int_equal(fake.opens, fake.closes);
}

static void passes(unsigned int kind, const char *how)
{
	static const size_t lengths[] = {
		1, 7, 4080, 4095, 4096, 4097, 8192, (1 << 20) + 7,
		(17 << 20) + 13,
	};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		fake_reset(kind);
		assert_verdict(0, lengths[i], "\nPASS: ");
		assert_non_null(strstr(output, how));
		assert_null(strstr(output, "FAIL"));
		assert_int_equal(fake.bad_calls, 0);
		assert_false(fake.registered);
		assert_int_equal(fake.last_closed, 'v');
	}
}

static void private_passes(void **state)
{
	(void)state;
	passes(UVM_MEMORY_PRIVATE, "by page fault");
}

static void coherent_passes(void **state)
{
	(void)state;
	passes(UVM_MEMORY_COHERENT, "in place");
}

static void chooses_gpu(void **state)
{
	(void)state;
	fake_reset(UVM_MEMORY_COHERENT);
	assert_int_equal(demo(10000, "--gpu=fake0"), 0);
	fake_reset(UVM_MEMORY_COHERENT);
	assert_int_equal(demo(10000, "--gpu=private"), 1);
	assert_non_null(strstr(output, "FAIL: private: there is no such GPU"));
	assert_int_equal(demo(10000, "--gpu="), 2);
	assert_int_equal(demo(10000, "--cpu"), 2);
}

static void busy_pages_get_another_chance(void **state)
{
	(void)state;
	fake_reset(UVM_MEMORY_PRIVATE);
	fake.busy = 2;
	assert_verdict(0, 100000, "PASS");
	fake_reset(UVM_MEMORY_PRIVATE);
	fake.busy = 1000;
	assert_verdict(1, 100000, "FAIL: ");
	assert_non_null(strstr(output, "stayed where they were: busy"));
}

static void fails_truthfully(void **state)
{
	(void)state;
	fake_reset(UVM_MEMORY_PRIVATE);
	fake.wrong_crc = true;
	assert_verdict(1, 100000, "FAIL: the GPU's CRC-32C is ");

	fake_reset(UVM_MEMORY_PRIVATE);
	fake.wrong_count = true;
	assert_verdict(1, 100000, "FAIL: the GPU counted byte 0xff ");

	/* In the half that is read first, and in the other. */
	fake_reset(UVM_MEMORY_PRIVATE);
	fake.wrong_byte = 1 + 4999;
	assert_verdict(1, 100000, "FAIL: byte 4999 is ");
	fake_reset(UVM_MEMORY_COHERENT);
	fake.wrong_byte = 1 + 99999;
	assert_verdict(1, 100000, "FAIL: byte 99999 is ");

	fake_reset(UVM_MEMORY_COHERENT);
	fake.loses_byte = true;
	assert_verdict(1, 100000, "FAIL: byte ");

	fake_reset(UVM_MEMORY_PRIVATE);
	fake.stays_home = true;
	assert_verdict(1, 100000, "FAIL: only 0 of 25 pages are in GPU memory");

	fake_reset(UVM_MEMORY_PRIVATE);
	fake.comes_home = true;
	assert_verdict(1, 100000, "FAIL: only 24 of 25 pages are in GPU memory");

	fake_reset(UVM_MEMORY_PRIVATE);
	fake.no_memory = true;
	assert_verdict(1, 100000, "no memory left at the destination");

	fake_reset(UVM_MEMORY_PRIVATE);
	fake.faults = true;
	assert_verdict(1, 100000,
		       "FAIL: the GPU could not write 0xabc000: the process may not");
}

/* Ordinary memory can't go there on this kernel. */
static void managed_passes(void **state)
{
	(void)state;
	fake_reset(UVM_MEMORY_PRIVATE);
	fake.no_private = true;
	assert_verdict(0, 100000, "PASS: ");
	assert_non_null(strstr(output, "of managed memory"));
	assert_true(fake.managed >= 100000);
	assert_int_equal(fake.addresses, 0);

	fake_reset(UVM_MEMORY_PRIVATE);
	fake.no_private = true;
	fake.fail_mmap = ENOMEM;
	assert_verdict(1, 100000, "FAIL: ");
	assert_int_equal(fake.addresses, 0);

	/* The CPU addresses it: so ordinary memory can. */
	fake_reset(UVM_MEMORY_COHERENT);
	fake.no_private = true;
	assert_verdict(0, 100000, "PASS: ");
	assert_int_equal(fake.managed, 0);
}

static void fails_on_every_command(void **state)
{
	(void)state;
	for (unsigned int cmd = UVM_CMD_INFO; cmd <= UVM_CMD_QUERY_RESIDENCY;
	     cmd++) {
		/* Asked only when a channel has failed. */
		if (cmd == UVM_CMD_CHANNEL_QUERY)
			continue;
		fake_reset(UVM_MEMORY_PRIVATE);
		fake.fail_cmd = cmd;
		fake.fail_errno = ENOMEM;
		assert_verdict(1, 100000, "FAIL: ");
		assert_non_null(strstr(output, "Cannot allocate memory"));
	}
}

static void refuses_bad_files(void **state)
{
	char *argv[3] = { "demo", "/nonexistent" };

	(void)state;
	fake_reset(UVM_MEMORY_PRIVATE);
	assert_verdict(1, 0, "is no ordinary file with something in it");
	assert_int_equal(cmd_demo(2, argv), 1);
	argv[1] = "/dev";
	assert_int_equal(cmd_demo(2, argv), 1);
	assert_int_equal(cmd_demo(1, argv), 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(private_passes),
		cmocka_unit_test(coherent_passes),
		cmocka_unit_test(managed_passes),
		cmocka_unit_test(chooses_gpu),
		cmocka_unit_test(busy_pages_get_another_chance),
		cmocka_unit_test(fails_truthfully),
		cmocka_unit_test(fails_on_every_command),
		cmocka_unit_test(refuses_bad_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
