// SPDX-License-Identifier: MIT
/*
 * Channels: queues of GPU commands with a timeline.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

int uvm_channel_create(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
		       uint32_t *channel)
{
	struct uvm_channel_create arg = { .size = sizeof(arg) };
	int ret;

	memcpy(arg.uuid, uuid, UVM_UUID_LEN);
	ret = libuvm_ioctl(ctx->fd, UVM_CHANNEL_CREATE, &arg);
	if (!ret)
		*channel = arg.out_channel;
	return ret;
}

int uvm_channel_submit(struct uvm_ctx *ctx, uint32_t channel,
		       const void *commands, size_t length, uint64_t *point)
{
	struct uvm_channel_submit arg = {
		.size = sizeof(arg),
		.channel = channel,
		.length = (uint32_t)length,
		.commands = (uintptr_t)commands,
	};
	int ret;

	if (length > UINT32_MAX)
		return -EINVAL;
	ret = libuvm_ioctl(ctx->fd, UVM_CHANNEL_SUBMIT, &arg);
	if (!ret && point)
		*point = arg.out_point;
	return ret;
}

int uvm_channel_query(struct uvm_ctx *ctx, uint32_t channel,
		      struct uvm_channel_query *query)
{
	*query = (struct uvm_channel_query){
		.size = sizeof(*query),
		.channel = channel,
	};
	return libuvm_ioctl(ctx->fd, UVM_CHANNEL_QUERY, query);
}

int uvm_channel_destroy(struct uvm_ctx *ctx, uint32_t channel)
{
	struct uvm_channel_destroy arg = {
		.size = sizeof(arg),
		.channel = channel,
	};

	return libuvm_ioctl(ctx->fd, UVM_CHANNEL_DESTROY, &arg);
}

int uvm_wait(struct uvm_ctx *ctx, uint32_t channel, uint64_t point,
	     uint64_t timeout_ns, uint64_t *completed)
{
	struct uvm_wait arg = {
		.size = sizeof(arg),
		.channel = channel,
		.point = point,
		.timeout_ns = timeout_ns,
	};
	int ret = libuvm_ioctl(ctx->fd, UVM_WAIT, &arg);

	if (completed && (!ret || ret == -ETIMEDOUT || ret == -ECANCELED))
		*completed = arg.out_completed;
	return ret;
}
