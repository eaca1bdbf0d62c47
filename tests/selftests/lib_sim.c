// SPDX-License-Identifier: GPL-2.0-only
/* See lib_sim.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib_sim.h"

static void sim_path(char *path, size_t size, const struct uvm_gpu_info *gpu,
		     const char *name)
{
	snprintf(path, size, "/sys/kernel/debug/uvm_sim/%s/%s", gpu->name, name);
}

long sim_stat(const struct uvm_gpu_info *gpu, const char *name)
{
	char path[200], key[100], text[4000] = "\n", *p;

	sim_path(path, sizeof(path), gpu, "stats");
	ASSERT_TRUE(read_text(path, text + 1, sizeof(text) - 1));
	snprintf(key, sizeof(key), "\n%s ", name);
	p = strstr(text, key);
	ASSERT_TRUE(p);
	return atol(p + strlen(key));
}

void sim_knob(const struct uvm_gpu_info *gpu, const char *name, int times)
{
	char path[200], text[20];

	sim_path(path, sizeof(path), gpu, name);
	snprintf(text, sizeof(text), "%d", times);
	ASSERT_TRUE(write_text(path, text));
}

long sim_knob_left(const struct uvm_gpu_info *gpu, const char *name)
{
	char path[200];

	sim_path(path, sizeof(path), gpu, name);
	return read_number(path);
}

long sim_parameter(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "/sys/module/uvm_sim/parameters/%s", name);
	return read_number(path);
}

bool sim_switch(const char *name)
{
	char path[200], text[8];

	snprintf(path, sizeof(path), "/sys/module/uvm_sim/parameters/%s", name);
	ASSERT_TRUE(read_text(path, text, sizeof(text)));
	return text[0] == 'Y';
}

static void core_path(char *path, size_t size, const char *name)
{
	snprintf(path, size, "/sys/module/uvm/parameters/%s", name);
}

long core_parameter(const char *name)
{
	char path[200], text[24];

	core_path(path, sizeof(path), name);
	ASSERT_TRUE(read_text(path, text, sizeof(text)));
	return text[0] == 'Y' || text[0] == 'N' ? text[0] == 'Y' : atol(text);
}

/* Tests set them in their own process, and may die; so the first values are shared. */
static struct was {
	char name[40];
	long value;
} *was;

#define NR_WAS	(PAGE / sizeof(struct was))

static void core_parameter_write(const char *name, long value)
{
	char path[200], text[24];

	core_path(path, sizeof(path), name);
	snprintf(text, sizeof(text), "%ld", value);
	ASSERT_TRUE(write_text(path, text));
}

void core_parameter_set(const char *name, long value)
{
	unsigned int i = 0;

	ASSERT_TRUE(was);
	while (was[i].name[0] && strcmp(was[i].name, name))
		i++;
	ASSERT_GT(NR_WAS, i);
	if (!was[i].name[0]) {
		was[i].value = core_parameter(name);
		snprintf(was[i].name, sizeof(was[i].name), "%s", name);
	}
	core_parameter_write(name, value);
}

/* Around each test, in the process that starts it. */
void core_parameters_reset(void)
{
	unsigned int i;

	if (!was)
		was = shared_page();
	for (i = 0; i < NR_WAS && was[i].name[0]; i++)
		core_parameter_write(was[i].name, was[i].value);
}
