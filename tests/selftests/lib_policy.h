/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The commands about policies, as thin as in lib_uvm.h. A function returns 0 or
 * -errno.
 */
#ifndef SELFTESTS_LIB_POLICY_H
#define SELFTESTS_LIB_POLICY_H

#include "lib_uvm.h"

#define POLICY_DEFAULT							\
	(UVM_POLICY_FAULT_MIGRATION | UVM_POLICY_PREFETCH |		\
	 UVM_POLICY_ALLOW_MIGRATION)
#define POLICY_ROOM	8
#define MAX_GROUPS	1024

/* @uuid: NULL for all 0 */
int policy_prefer(int fd, const void *p, size_t length, int kind, int node,
		  const uint8_t *uuid);
/* @uuid: NULL for the CPU */
int policy_accessed_by(int fd, const void *p, size_t length, const uint8_t *uuid,
		       uint32_t enable);
/* @cmd: UVM_SET_FAULT_MIGRATION, UVM_SET_PREFETCH or UVM_SET_READ_MOSTLY */
int policy_switch(int fd, unsigned long cmd, const void *p, size_t length,
		  uint32_t enable);
int policy_group(int fd, const void *p, size_t length, uint32_t group);

/* UVM_SET_ACCESS_COUNTERS */
int access_counters(int fd, const uint8_t *uuid, uint32_t enable);

/* Pages of the range stay where they are: no migration is allowed. */
void fix_in_place(int fd, const void *p, size_t length);
int group_create(int fd, uint32_t *group);
int group_destroy(int fd, uint32_t group);
int group_allow(int fd, uint32_t group, uint32_t allow);

/* An answer, without what was asked, so that answers can be compared */
struct policy {
	struct uvm_query_policy q;
	uint8_t accessed_by[POLICY_ROOM][UVM_UUID_LEN];
};

int policy_query(int fd, const void *address, struct policy *policy);
/* @uuid: NULL for the CPU */
bool policy_has(const struct policy *policy, const uint8_t *uuid);

#define RANGE_ROOM	4

struct range_answer {
	struct uvm_query_range q;
	struct uvm_range_copies copies[RANGE_ROOM];
};

int range_query(int fd, const void *address, struct range_answer *range);
/* Pages of the range that @id has: a GPU, or UVM_PROCESSOR_CPU */
uint64_t range_pages(const struct range_answer *range, uint32_t id);

#endif /* SELFTESTS_LIB_POLICY_H */
