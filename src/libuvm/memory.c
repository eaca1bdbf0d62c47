// SPDX-License-Identifier: MIT
/*
 * A GPU's memory: what becomes of it, how much of it a process may have, and when it
 * gets scarce.
 */
#include <string.h>

#include "internal.h"

int uvm_query_memory(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
		     struct uvm_query_memory *memory)
{
	struct uvm_query_memory arg = { .size = sizeof(arg) };
	int ret;

	memcpy(arg.uuid, uuid, UVM_UUID_LEN);
	ret = libuvm_ioctl(ctx->fd, UVM_QUERY_MEMORY, &arg);
	if (!ret)
		*memory = arg;
	return ret;
}

int uvm_set_memory_limit(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
			 uint64_t limit, uint64_t reserved)
{
	struct uvm_set_memory_limit arg = {
		.size = sizeof(arg),
		.limit = limit,
		.reserved = reserved,
	};

	memcpy(arg.uuid, uuid, UVM_UUID_LEN);
	return libuvm_ioctl(ctx->fd, UVM_SET_MEMORY_LIMIT, &arg);
}

int uvm_set_memory_event(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
			 int event, uint64_t threshold)
{
	struct uvm_set_memory_event arg = {
		.size = sizeof(arg),
		.threshold = threshold,
		.eventfd = event,
	};

	memcpy(arg.uuid, uuid, UVM_UUID_LEN);
	return libuvm_ioctl(ctx->fd, UVM_SET_MEMORY_EVENT, &arg);
}
