// SPDX-License-Identifier: MIT
/*
 * Policies: where the pages of a range should be when processors fault on them, and
 * whether they follow a GPU that uses them where they are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* @arg has the location; everything else is the same for all of them. */
static int set_preferred(struct uvm_ctx *ctx,
			 struct uvm_set_preferred_location *arg,
			 const void *base, size_t length)
{
	arg->size = sizeof(*arg);
	arg->base = (uintptr_t)base;
	arg->length = length;
	return libuvm_ioctl(ctx->fd, UVM_SET_PREFERRED_LOCATION, arg);
}

int uvm_set_preferred_gpu(struct uvm_ctx *ctx,
			  const uint8_t uuid[UVM_UUID_LEN], const void *base,
			  size_t length)
{
	struct uvm_set_preferred_location arg = { .dest_kind = UVM_DEST_GPU };

	memcpy(arg.dest_uuid, uuid, UVM_UUID_LEN);
	return set_preferred(ctx, &arg, base, length);
}

int uvm_set_preferred_cpu(struct uvm_ctx *ctx, const void *base, size_t length)
{
	struct uvm_set_preferred_location arg = { .dest_kind = UVM_DEST_CPU };

	return set_preferred(ctx, &arg, base, length);
}

int uvm_set_preferred_node(struct uvm_ctx *ctx, int node, const void *base,
			   size_t length)
{
	struct uvm_set_preferred_location arg = {
		.dest_kind = UVM_DEST_CPU_NODE,
		.dest_node = node,
	};

	return set_preferred(ctx, &arg, base, length);
}

int uvm_set_preferred_none(struct uvm_ctx *ctx, const void *base, size_t length)
{
	struct uvm_set_preferred_location arg = { .dest_kind = UVM_DEST_NONE };

	return set_preferred(ctx, &arg, base, length);
}

int uvm_set_accessed_by(struct uvm_ctx *ctx, const uint8_t *uuid,
			const void *base, size_t length, bool enable)
{
	struct uvm_set_accessed_by arg = {
		.size = sizeof(arg),
		.base = (uintptr_t)base,
		.length = length,
		.enable = enable,
	};

	if (uuid)
		memcpy(arg.uuid, uuid, UVM_UUID_LEN);
	return libuvm_ioctl(ctx->fd, UVM_SET_ACCESSED_BY, &arg);
}

static int set_switch(struct uvm_ctx *ctx, unsigned long cmd, const void *base,
		      size_t length, bool enable)
{
	struct uvm_set_switch arg = {
		.size = sizeof(arg),
		.base = (uintptr_t)base,
		.length = length,
		.enable = enable,
	};

	return libuvm_ioctl(ctx->fd, cmd, &arg);
}

int uvm_set_fault_migration(struct uvm_ctx *ctx, const void *base,
			    size_t length, bool enable)
{
	return set_switch(ctx, UVM_SET_FAULT_MIGRATION, base, length, enable);
}

int uvm_set_prefetch(struct uvm_ctx *ctx, const void *base, size_t length,
		     bool enable)
{
	return set_switch(ctx, UVM_SET_PREFETCH, base, length, enable);
}

int uvm_set_read_mostly(struct uvm_ctx *ctx, const void *base, size_t length,
			bool enable)
{
	return set_switch(ctx, UVM_SET_READ_MOSTLY, base, length, enable);
}

int uvm_create_range_group(struct uvm_ctx *ctx, uint32_t *group)
{
	struct uvm_create_range_group arg = { .size = sizeof(arg) };
	int ret = libuvm_ioctl(ctx->fd, UVM_CREATE_RANGE_GROUP, &arg);

	if (!ret)
		*group = arg.out_group;
	return ret;
}

int uvm_destroy_range_group(struct uvm_ctx *ctx, uint32_t group)
{
	struct uvm_destroy_range_group arg = {
		.size = sizeof(arg),
		.group = group,
	};

	return libuvm_ioctl(ctx->fd, UVM_DESTROY_RANGE_GROUP, &arg);
}

int uvm_set_range_group(struct uvm_ctx *ctx, uint32_t group, const void *base,
			size_t length)
{
	struct uvm_set_range_group arg = {
		.size = sizeof(arg),
		.base = (uintptr_t)base,
		.length = length,
		.group = group,
	};

	return libuvm_ioctl(ctx->fd, UVM_SET_RANGE_GROUP, &arg);
}

int uvm_allow_migration(struct uvm_ctx *ctx, uint32_t group, bool allow)
{
	struct uvm_allow_migration arg = {
		.size = sizeof(arg),
		.group = group,
		.allow = allow,
	};

	return libuvm_ioctl(ctx->fd, UVM_ALLOW_MIGRATION, &arg);
}

int uvm_set_access_counters(struct uvm_ctx *ctx,
			    const uint8_t uuid[UVM_UUID_LEN], bool enable)
{
	struct uvm_set_access_counters arg = {
		.size = sizeof(arg),
		.enable = enable,
	};

	memcpy(arg.uuid, uuid, UVM_UUID_LEN);
	return libuvm_ioctl(ctx->fd, UVM_SET_ACCESS_COUNTERS, &arg);
}

static int query_policy(struct uvm_ctx *ctx, const void *address,
			uint8_t *uuids, uint32_t room,
			struct uvm_query_policy *policy)
{
	*policy = (struct uvm_query_policy){
		.size = sizeof(*policy),
		.address = (uintptr_t)address,
		.accessed_by = (uintptr_t)uuids,
		.count = room,
	};
	return libuvm_ioctl(ctx->fd, UVM_QUERY_POLICY, policy);
}

int uvm_query_policy(struct uvm_ctx *ctx, const void *address,
		     struct uvm_query_policy *policy, uint8_t **accessed_by)
{
	struct uvm_query_policy answer;
	uint8_t *uuids = NULL;
	uint32_t room = 0;
	int ret;

	for (;;) {
		ret = query_policy(ctx, address, uuids, room, &answer);
		if (ret || !accessed_by || answer.out_count <= room)
			break;

		/* Other threads may add more before the next call. */
		free(uuids);
		room = answer.out_count;
		uuids = calloc(room, UVM_UUID_LEN);
		if (!uuids)
			return -ENOMEM;
	}
	if (ret || !answer.out_count) {
		free(uuids);
		uuids = NULL;
	}
	if (ret)
		return ret;

	*policy = answer;
	if (accessed_by)
		*accessed_by = uuids;
	return 0;
}
