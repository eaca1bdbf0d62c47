// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "lib_unplug.h"

#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "lib_device.h"
#include "lib_lifetime.h"
#include "lib_sim.h"

const struct variant privates[] = {
	{ "private", UVM_MEMORY_PRIVATE, false },
	{ "private-thp", UVM_MEMORY_PRIVATE, true },
	{ "private-managed", UVM_MEMORY_PRIVATE, .managed = true },
	{ 0 },
};

const char * const plight_names[NR_PLIGHTS] = {
	"open", "mm file closed", "both closed", "mremapped", "the parent died",
};

char *plight_begin(struct fix *f, enum plight plight, uint64_t seed)
{
	char *p = fix_pattern(f, f->length, seed), *to;

	fix_to_gpu(f, p, f->length);
	if (plight == MM_CLOSED) {
		close(f->s.mm_fd);
		f->s.mm_fd = -1;
	} else if (plight == CLOSED) {
		fix_close(f);
	} else if (plight == REMAPPED) {
		to = f->huge ? anon_huge(f->length) :
			       anon(f->length, PROT_READ | PROT_WRITE, 0);
		ASSERT_TRUE(mremap(p, f->length, f->length,
				   MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
		p = to;
	}
	return p;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

long users(const char *module)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", module);
	return read_number(path);
}

void expect_users(long was)
{
	EXPECT_TRUE(SOON(users("uvm") == was, 10));
}

void expect_parked(long was)
{
	EXPECT_TRUE(SOON(users("uvm") == (was < 0 ? was : was + 1), 10));
}

double unbind_timed(const struct uvm_gpu_info *gpu)
{
	double start = now();

	unbind(gpu);
	return now() - start;
}

static void (*devices_before)(void);
static bool (*devices_after)(char *why, size_t size);

static void before(void)
{
	core_parameters_reset();
	devices_before();
}

static bool after(char *why, size_t size)
{
	delays_off();
	return devices_after(why, size);
}

void unplug_install(void)
{
	devices_install();
	devices_before = harness_hook.before;
	harness_hook.before = before;
	devices_after = harness_hook.after;
	harness_hook.after = after;
}
