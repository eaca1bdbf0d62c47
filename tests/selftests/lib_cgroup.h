/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory control groups, of version 2.
 */
#ifndef SELFTESTS_LIB_CGROUP_H
#define SELFTESTS_LIB_CGROUP_H

#include "lib_uvm.h"

struct group {
	char path[80];
};

/* There can be some, or SKIPs: before there is anybody who would be left. */
void groups_need(void);
/* groups_need(), and one without limits */
void group_new(struct group *g);
void group_end(const struct group *g);
/* this process, and what it has from now on */
void group_enter(const struct group *g);
void group_leave(void);
bool group_write(const struct group *g, const char *file, const char *text);
void group_limit(const struct group *g, unsigned long bytes);
/* pages that are charged */
unsigned long group_current(const struct group *g);
/* a number of a file with a name and a number in each line */
long group_number(const struct group *g, const char *file, const char *name);
long group_kills(const struct group *g);
/*
 * So many pages each CPU may have charged ahead of time, or not yet uncharged; and what
 * the kernel itself takes for the process.
 */
long group_slack(void);

#endif /* SELFTESTS_LIB_CGROUP_H */
