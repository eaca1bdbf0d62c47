// SPDX-License-Identifier: GPL-2.0-only
/*
 * What modules.sh lets run between loading and unloading the modules.
 *
 *	count		print the number of GPUs
 *	run		register all GPUs, compute, migrate, check, exit with
 *			pages still on the last GPU
 *	space		hold a VA space, with no GPU registered
 *	hold		like run, and then hold everything
 *	resident	like run, close both files, hold only the pages
 *	churn		migrate for ever
 *
 * All but count and run print "ready" once they are where they should be, and
 * wait to be killed; after two minutes they give up by themselves. SIGUSR1 makes
 * hold and resident check their data and exit.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "lib_uvm.h"

#define PAGES	128
#define LENGTH	(PAGES * PAGE)

static struct uvm_gpu_info gpus[MAX_GPUS];
static int count;
/* kinds of memory don't mix: private GPUs in one, the others in the other */
static struct space spaces[2];
static char *buf;
static uint64_t seed;

static int fail(const char *what, long seen)
{
	fprintf(stderr, "# modworker: %s: %ld\n", what, seen);
	return 1;
}

static int space_of(int i)
{
	return spaces[gpus[i].memory_kind == UVM_MEMORY_PRIVATE].fd;
}

static int setup(void)
{
	int i, ret;

	count = gpus_list(gpus, MAX_GPUS);
	if (count <= 0)
		return fail("no GPU", count);
	for (i = 0; i < 2; i++) {
		ret = space_open(&spaces[i]);
		if (ret)
			return fail("space", ret);
	}
	for (i = 0; i < count; i++) {
		ret = register_gpu(space_of(i), gpus[i].uuid);
		if (ret)
			return fail("register", ret);
	}
	seed = getpid();
	buf = anon(LENGTH, PROT_READ | PROT_WRITE, 0);
	pattern_fill(buf, LENGTH, seed);
	return 0;
}

/* One round on every GPU; leaves the pages on the last one. */
static int work(void)
{
	uint64_t *out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	uint64_t sum = sum64(buf, LENGTH);
	struct uvm_sim_cmd c;
	struct uvm_migrate m;
	uint32_t channel;
	int i, ret;

	for (i = 0; i < count; i++) {
		ret = channel_create(space_of(i), gpus[i].uuid, &channel);
		if (ret)
			return fail("channel", ret);
		ret = migrate(space_of(i), buf, LENGTH, UVM_DEST_GPU, 0,
			      gpus[i].uuid, &m);
		if (ret)
			return fail("migrate", ret);
		if (m.out_moved + m.out_already != PAGES)
			return fail("pages that moved", m.out_moved);
		c = CMD(SUM, .dst = ADDR(out), .src = ADDR(buf), .length = LENGTH);
		ret = channel_run(space_of(i), channel, &c, 1);
		if (ret)
			return fail("run", ret);
		if (*out != sum)
			return fail("wrong sum on GPU", i);
		ret = channel_destroy(space_of(i), channel);
		if (ret)
			return fail("destroy", ret);
		if (i + 1 == count)
			break;
		if (pattern_check(buf, LENGTH, seed) != -1)
			return fail("wrong data from GPU", i);
	}
	munmap(out, PAGE);
	return 0;
}

static void ready(void)
{
	if (write(STDOUT_FILENO, "ready\n", 6) != 6)
		_exit(1);
	close(STDOUT_FILENO);
}

static int wait_and_check(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ready();
	sigwait(&set, &number);
	if (pattern_check(buf, LENGTH, seed) != -1)
		return fail("data lost while waiting", 0);
	return 0;
}

static int churn(void)
{
	struct uvm_migrate m;
	long i;
	int ret;

	for (i = 0; i < 1000000; i++) {
		ret = migrate(space_of(i % count), buf, LENGTH, UVM_DEST_GPU, 0,
			      gpus[i % count].uuid, &m);
		if (ret)
			return fail("migrate", ret);
		if (i == count)
			ready();
		if (i % 3 == 0 && pattern_check(buf, LENGTH, seed) != -1)
			return fail("wrong data", i);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	sigset_t set;
	int ret;

	alarm(120);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);

	if (!strcmp(mode, "count")) {
		count = gpus_list(gpus, MAX_GPUS);
		if (count < 0)
			return fail("can't count GPUs", count);
		printf("%d\n", count);
		return 0;
	}
	if (!strcmp(mode, "space")) {
		ret = space_open(&spaces[0]);
		if (ret)
			return fail("space", ret);
		ready();
		pause();
		return 0;
	}

	ret = setup();
	if (!ret)
		ret = work();
	if (ret)
		return ret;
	if (!strcmp(mode, "run"))
		return 0;
	if (!strcmp(mode, "churn"))
		return churn();
	if (!strcmp(mode, "resident")) {
		space_close(&spaces[0]);
		space_close(&spaces[1]);
		return wait_and_check();
	}
	if (!strcmp(mode, "hold"))
		return wait_and_check();
	return fail("unknown mode", argc);
}
