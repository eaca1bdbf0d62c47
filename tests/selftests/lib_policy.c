// SPDX-License-Identifier: GPL-2.0-only
/* See lib_policy.h. */
#include <string.h>

#include "harness.h"
#include "lib_policy.h"

int policy_prefer(int fd, const void *p, size_t length, int kind, int node,
		  const uint8_t *uuid)
{
	struct uvm_set_preferred_location a = {
		.size = sizeof(a),
		.base = ADDR(p),
		.length = length,
		.dest_kind = kind,
		.dest_node = node,
	};

	if (uuid)
		memcpy(a.dest_uuid, uuid, UVM_UUID_LEN);
	return uvm_ioctl(fd, UVM_SET_PREFERRED_LOCATION, &a);
}

int policy_accessed_by(int fd, const void *p, size_t length, const uint8_t *uuid,
		       uint32_t enable)
{
	struct uvm_set_accessed_by a = {
		.size = sizeof(a),
		.base = ADDR(p),
		.length = length,
		.enable = enable,
	};

	if (uuid)
		memcpy(a.uuid, uuid, UVM_UUID_LEN);
	return uvm_ioctl(fd, UVM_SET_ACCESSED_BY, &a);
}

int policy_switch(int fd, unsigned long cmd, const void *p, size_t length,
		  uint32_t enable)
{
	struct uvm_set_switch a = {
		.size = sizeof(a),
		.base = ADDR(p),
		.length = length,
		.enable = enable,
	};

	return uvm_ioctl(fd, cmd, &a);
}

int policy_group(int fd, const void *p, size_t length, uint32_t group)
{
	struct uvm_set_range_group a = {
		.size = sizeof(a),
		.base = ADDR(p),
		.length = length,
		.group = group,
	};

	return uvm_ioctl(fd, UVM_SET_RANGE_GROUP, &a);
}

int access_counters(int fd, const uint8_t *uuid, uint32_t enable)
{
	struct uvm_set_access_counters a = { .size = sizeof(a), .enable = enable };

	memcpy(a.uuid, uuid, UVM_UUID_LEN);
	return uvm_ioctl(fd, UVM_SET_ACCESS_COUNTERS, &a);
}

int group_create(int fd, uint32_t *group)
{
	struct uvm_create_range_group a = { .size = sizeof(a) };
	int ret = uvm_ioctl(fd, UVM_CREATE_RANGE_GROUP, &a);

	if (!ret)
		*group = a.out_group;
	return ret;
}

int group_destroy(int fd, uint32_t group)
{
	struct uvm_destroy_range_group a = { .size = sizeof(a), .group = group };

	return uvm_ioctl(fd, UVM_DESTROY_RANGE_GROUP, &a);
}

int group_allow(int fd, uint32_t group, uint32_t allow)
{
	struct uvm_allow_migration a = {
		.size = sizeof(a),
		.group = group,
		.allow = allow,
	};

	return uvm_ioctl(fd, UVM_ALLOW_MIGRATION, &a);
}

void fix_in_place(int fd, const void *p, size_t length)
{
	uint32_t group = 0;

	ASSERT_RET(group_create(fd, &group), 0);
	ASSERT_RET(policy_group(fd, p, length, group), 0);
	ASSERT_RET(group_allow(fd, group, 0), 0);
}

int policy_query(int fd, const void *address, struct policy *policy)
{
	int ret;

	memset(policy, 0, sizeof(*policy));
	policy->q.size = sizeof(policy->q);
	policy->q.address = ADDR(address);
	policy->q.accessed_by = ADDR(policy->accessed_by);
	policy->q.count = POLICY_ROOM;
	ret = uvm_ioctl(fd, UVM_QUERY_POLICY, &policy->q);
	policy->q.address = 0;
	policy->q.accessed_by = 0;
	return ret;
}

bool policy_has(const struct policy *policy, const uint8_t *uuid)
{
	static const uint8_t cpu[UVM_UUID_LEN];
	uint32_t i;

	for (i = 0; i < policy->q.out_count && i < POLICY_ROOM; i++)
		if (!memcmp(policy->accessed_by[i], uuid ? uuid : cpu, UVM_UUID_LEN))
			return true;
	return false;
}

int range_query(int fd, const void *address, struct range_answer *range)
{
	int ret;

	memset(range, 0, sizeof(*range));
	range->q.size = sizeof(range->q);
	range->q.address = ADDR(address);
	range->q.copies = ADDR(range->copies);
	range->q.count = RANGE_ROOM;
	ret = uvm_ioctl(fd, UVM_QUERY_RANGE, &range->q);
	/* as anything that is compared */
	range->q.copies = 0;
	return ret;
}

uint64_t range_pages(const struct range_answer *range, uint32_t id)
{
	uint64_t pages = 0;
	unsigned int i;

	for (i = 0; i < range->q.out_count && i < RANGE_ROOM; i++)
		if (range->copies[i].id == id)
			pages += range->copies[i].pages;
	return pages;
}
