// SPDX-License-Identifier: MIT
/*
 * uvmctl topology, ps, stats and memory: what they print of a fake driver.
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
static unsigned int complaints;

/* main.c has these, with main(). */
void complain(const char *what, unsigned int cmd, int err)
{
	fprintf(stderr, "%s: %u: %d\n", what, cmd, err);
	complaints++;
}

int no_arguments(int argc, char **argv)
{
	(void)argv;
	return argc == 1;
}

static FILE *capture_begin(int *saved)
{
	FILE *file = tmpfile();

	assert_non_null(file);
	fflush(stdout);
	*saved = dup(STDOUT_FILENO);
	dup2(fileno(file), STDOUT_FILENO);
	return file;
}

static void capture_end(FILE *file, int saved)
{
	size_t n;

	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	rewind(file);
	n = fread(output, 1, sizeof(output) - 1, file);
	output[n] = 0;
	fclose(file);
}

static int topology(int argc)
{
	char *argv[3] = { "topology", "x" };
	int saved, status;
	FILE *file;

	complaints = 0;
	file = capture_begin(&saved);
	status = cmd_topology(argc, argv);
	capture_end(file, saved);
	return status;
}

static int gpu_memory(void)
{
	int saved, status;
	FILE *file;

	complaints = 0;
	file = capture_begin(&saved);
	status = show_gpu_memory();
	capture_end(file, saved);
	return status;
}

static int printed(const char *list, int (*print)(FILE *in))
{
	FILE *in = fmemopen((char *)list, strlen(list), "r");
	int saved, ret;
	FILE *file;

	assert_non_null(in);
	file = capture_begin(&saved);
	ret = print(in);
	capture_end(file, saved);
	fclose(in);
	return ret;
}

static int ps(const char *list)
{
	return printed(list, print_va_spaces);
}

static int stats(const char *list)
{
	return printed(list, print_stats);
}

static int memory_users(const char *list)
{
	return printed(list, print_memory_users);
}

static void assert_says(const char *text)
{
	if (strstr(output, text))
		return;
	fputs(output, stderr);
	fail_msg("no \"%s\"", text);
}

static void prints_matrix(void **state)
{
	(void)state;
	fake_reset(UVM_MEMORY_COHERENT);
	fake_add_gpu("second", UVM_MEMORY_PRIVATE);
	fake_add_gpu("third", UVM_MEMORY_NUMA);
	fake_add_gpu("fourth", UVM_MEMORY_PRIVATE);
	assert_int_equal(topology(1), EXIT_OK);
	assert_says("can't address\n"
		    "                                CPU    1    3\n"
		    "  CPU                           acr  -cr  -cr\n"
		    "  1: second                     acr  acr  --r\n"
		    "  3: fourth                     acr  --r  acr\n");
	assert_says("can address\n"
		    "                                CPU    0    2\n"
		    "  CPU                           acr  acr  acr\n"
		    "  0: fake0                      acr  acr  acr\n"
		    "  2: third                      acr  -cr  acr\n");
	assert_says("a  loads from it");
	assert_int_equal(fake.registered, 0);
	assert_int_equal(fake.bad_calls, 0);
	assert_int_equal(fake.opens, fake.closes);
}

static void leaves_out_what_is_not_there(void **state)
{
	(void)state;
	fake_reset(UVM_MEMORY_PRIVATE);
	assert_int_equal(topology(1), EXIT_OK);
	assert_says("can't address");
	assert_null(strstr(output, "can address"));
	fake.nr_gpus = 0;
	assert_int_equal(topology(1), EXIT_OK);
	assert_string_equal(output, "");
	assert_int_equal(topology(2), EXIT_USAGE);
}

static void topology_fails(void **state)
{
	static const unsigned int cmds[] = {
		UVM_CMD_INIT, UVM_CMD_ENUM_GPUS, UVM_CMD_REGISTER_GPU,
		UVM_CMD_QUERY_PROCESSORS,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
		fake_reset(UVM_MEMORY_COHERENT);
		fake.fail_cmd = cmds[i];
		fake.fail_errno = ENOMEM;
		assert_int_equal(topology(1), EXIT_FAILED);
		assert_int_equal(complaints, 1);
		assert_int_equal(fake.registered, 0);
		assert_int_equal(fake.opens, fake.closes);
	}
}

#define HEADER	"pid state retainers channels gpus\n"

static void lists_va_spaces(void **state)
{
	char list[200], want[100];

	(void)state;
	snprintf(list, sizeof(list),
		 HEADER "%d alive 1 12 2\n999999999 released 0 0 1\n", getpid());
	assert_int_equal(ps(list), 0);
	snprintf(want, sizeof(want), "%8d  test_show        alive             2        12      1\n",
		 getpid());
	assert_says(want);
	assert_says("999999999  -                released          1         0      0\n");
	assert_says("PROGRAM");
	assert_int_equal(ps(HEADER), 0);
	assert_string_equal(output, "no process uses GPUs\n");
}

static void refuses_other_lists(void **state)
{
	(void)state;
	assert_int_equal(ps("something else\n"), -1);
	assert_int_equal(ps("\n"), -1);
	assert_int_equal(ps(HEADER "1 alive 1 2\n"), -1);
	assert_int_equal(ps(HEADER "1 alive 1 2 3 4\n"), -1);
	assert_int_equal(ps(HEADER "x alive 1 2 3\n"), -1);
}

/* Counters that this program never heard of are as good. */
static void lists_counters(void **state)
{
	(void)state;
	assert_int_equal(stats("id faults notifications name\n"
			       "7 12 3 fake0\n"
			       "9 0 18446744073709551615 a name of words\n"), 0);
	assert_says("fake0  id 7\n"
		    "  faults                   12\n"
		    "  notifications             3\n"
		    "a name of words  id 9\n"
		    "  faults                    0\n"
		    "  notifications  18446744073709551615\n");
	assert_int_equal(stats("id name\n4 bare\n"), 0);
	assert_string_equal(output, "bare  id 4\n");
	assert_int_equal(stats("id faults name\n"), 0);
	assert_string_equal(output, "there is no GPU\n");
}

static void refuses_other_counters(void **state)
{
	(void)state;
	assert_int_equal(stats("\n"), -1);
	assert_int_equal(stats("pid faults name\n"), -1);
	assert_int_equal(stats("id faults\n"), -1);
	assert_int_equal(stats("id  faults name\n"), -1);
	assert_int_equal(stats("id faults name\n7 12\n"), -1);
	assert_int_equal(stats("id faults name\n7 fake0\n"), -1);
	assert_int_equal(stats("id faults name\nx 1 fake0\n"), -1);
	assert_int_equal(stats("id faults name\n7 12 "), -1);
}

static void prints_memory(void **state)
{
	(void)state;
	fake_reset(UVM_MEMORY_PRIVATE);
	fake_add_gpu("node", UVM_MEMORY_NUMA);
	fake_add_gpu("second", UVM_MEMORY_COHERENT);
	fake.gpus[0].memory_free -= 8 << 20;
	assert_int_equal(gpu_memory(), EXIT_OK);
	assert_says("fake0  id 7\n"
		    "  total              1024.0 MiB\n"
		    "  used                  8.0 MiB\n"
		    "  free               1016.0 MiB\n"
		    "  largest-free          2.0 MiB\n"
		    "  evictable             4.0 MiB\n"
		    "  pinned                0.0 MiB\n"
		    "  evicted                10 pages\n"
		    "  refaulted               9 pages\n"
		    "  thrash               12.5 %\n"
		    "second  id 9\n");
	assert_null(strstr(output, "node"));
	assert_int_equal(fake.registered, 0);
	assert_int_equal(fake.bad_calls, 0);
	assert_int_equal(fake.opens, fake.closes);
}

static void memory_fails(void **state)
{
	static const unsigned int cmds[] = {
		UVM_CMD_INIT, UVM_CMD_ENUM_GPUS, UVM_CMD_REGISTER_GPU,
		UVM_CMD_QUERY_MEMORY,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
		fake_reset(UVM_MEMORY_COHERENT);
		fake.fail_cmd = cmds[i];
		fake.fail_errno = ENOMEM;
		assert_int_equal(gpu_memory(), EXIT_FAILED);
		assert_int_equal(complaints, 1);
		assert_int_equal(fake.registered, 0);
		assert_int_equal(fake.opens, fake.closes);
	}
}

#define MEMORY_HEADER	"pid gpu used limit reserved evicted refaulted\n"

static void lists_memory_users(void **state)
{
	char list[300], want[200];

	(void)state;
	snprintf(list, sizeof(list),
		 MEMORY_HEADER "%d 3 1572864 4194304 2097152 12 34\n"
		 "999999999 0 0 0 0 0 0\n", getpid());
	assert_int_equal(memory_users(list), 0);
	snprintf(want, sizeof(want),
		 "%8d  test_show            3         1.5         4.0         2.0          12          34\n",
		 getpid());
	assert_says(want);
	assert_says("999999999  -                    0         0.0           -           -           0           0\n");
	assert_says("RESERVED");
	assert_int_equal(memory_users(MEMORY_HEADER), 0);
	assert_string_equal(output, "no process has a GPU's memory\n");
}

static void refuses_other_memory_users(void **state)
{
	(void)state;
	assert_int_equal(memory_users("pid state\n"), -1);
	assert_int_equal(memory_users("\n"), -1);
	assert_int_equal(memory_users(MEMORY_HEADER "1 2 3 4 5 6\n"), -1);
	assert_int_equal(memory_users(MEMORY_HEADER "1 2 3 4 5 6 7 8\n"), -1);
	assert_int_equal(memory_users(MEMORY_HEADER "x 2 3 4 5 6 7\n"), -1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(prints_matrix),
		cmocka_unit_test(leaves_out_what_is_not_there),
		cmocka_unit_test(topology_fails),
		cmocka_unit_test(lists_va_spaces),
		cmocka_unit_test(refuses_other_lists),
		cmocka_unit_test(lists_counters),
		cmocka_unit_test(refuses_other_counters),
		cmocka_unit_test(prints_memory),
		cmocka_unit_test(memory_fails),
		cmocka_unit_test(lists_memory_users),
		cmocka_unit_test(refuses_other_memory_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
