// SPDX-License-Identifier: GPL-2.0-only
/* See lib_cgroup.h. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib_cgroup.h"
#include "lib_lifetime.h"

#define ROOT		"/tmp/uvm_memcg"

static void group_file(const struct group *g, const char *name, char path[160])
{
	snprintf(path, 160, "%s/%s", g->path, name);
}

bool group_write(const struct group *g, const char *name, const char *text)
{
	char path[160];

	group_file(g, name, path);
	return write_text(path, text);
}

unsigned long group_current(const struct group *g)
{
	char path[160];

	group_file(g, "memory.current", path);
	return read_number(path) / PAGE;
}

long group_number(const struct group *g, const char *file, const char *name)
{
	char path[160], line[200];
	size_t n = strlen(name);
	long value = -1;
	FILE *f;

	group_file(g, file, path);
	f = fopen(path, "re");
	ASSERT_TRUE(f);
	while (value < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, n) && line[n] == ' ')
			value = strtol(line + n, NULL, 10);
	fclose(f);
	ASSERT_GE(value, 0);
	return value;
}

long group_kills(const struct group *g)
{
	return group_number(g, "memory.events", "oom_kill");
}

void group_limit(const struct group *g, unsigned long bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", bytes);
	ASSERT_TRUE(group_write(g, "memory.max", text));
}

void group_enter(const struct group *g)
{
	ASSERT_TRUE(group_write(g, "cgroup.procs", "0"));
}

void group_leave(void)
{
	ASSERT_TRUE(write_text(ROOT "/cgroup.procs", "0"));
}

void groups_need(void)
{
	char text[200];

	mkdir(ROOT, 0700);
	if (!read_text(ROOT "/cgroup.controllers", text, sizeof(text)) &&
	    mount("none", ROOT, "cgroup2", 0, NULL))
		SKIP("the kernel has no cgroup2");
	if (!read_text(ROOT "/cgroup.controllers", text, sizeof(text)) ||
	    !strstr(text, "memory"))
		SKIP("cgroup2 has no memory controller here");
	ASSERT_TRUE(write_text(ROOT "/cgroup.subtree_control", "+memory"));
}

void group_new(struct group *g)
{
	static unsigned int nr;

	groups_need();
	snprintf(g->path, sizeof(g->path), ROOT "/%d-%u", getpid(), nr++);
	ASSERT_EQ(mkdir(g->path, 0700), 0);
}

void group_end(const struct group *g)
{
	/* who was killed may be on its way out still */
	EXPECT_TRUE(WAIT_FOR(!rmdir(g->path)));
}

long group_slack(void)
{
	return 64 * sysconf(_SC_NPROCESSORS_ONLN) + 64;
}
