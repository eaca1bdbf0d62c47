// SPDX-License-Identifier: MIT
/*
 * Finding and registering GPUs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

int uvm_enum_gpus(struct uvm_ctx *ctx, struct uvm_gpu_info **gpus,
		  unsigned int *count)
{
	struct uvm_gpu_info *array = NULL;
	uint32_t room = 0;

	for (;;) {
		struct uvm_enum_gpus arg = {
			.size = sizeof(arg),
			.gpus = (uintptr_t)array,
			.count = room,
			.entry_size = sizeof(*array),
		};
		int ret = libuvm_ioctl(ctx->fd, UVM_ENUM_GPUS, &arg);

		if (ret) {
			free(array);
			return ret;
		}
		if (arg.out_count <= room) {
			*gpus = array;
			*count = arg.out_count;
			if (!arg.out_count) {
				free(array);
				*gpus = NULL;
			}
			return 0;
		}

		/* GPUs can appear between two calls: size it and ask again. */
		free(array);
		room = arg.out_count;
		array = calloc(room, sizeof(*array));
		if (!array)
			return -ENOMEM;
	}
}

static const struct uvm_gpu_info *first_of_kind(const struct uvm_gpu_info *gpus,
						unsigned int count,
						unsigned int kind)
{
	for (unsigned int i = 0; i < count; i++)
		if (gpus[i].memory_kind == kind)
			return &gpus[i];
	return NULL;
}

static const struct uvm_gpu_info *best_gpu(const struct uvm_gpu_info *gpus,
					   unsigned int count)
{
	const struct uvm_gpu_info *gpu;

	gpu = first_of_kind(gpus, count, UVM_MEMORY_PRIVATE);
	if (!gpu)
		gpu = first_of_kind(gpus, count, UVM_MEMORY_COHERENT);
	if (!gpu && count)
		gpu = gpus;
	return gpu;
}

const struct uvm_gpu_info *libuvm_pick_gpu(const struct uvm_gpu_info *gpus,
					   unsigned int count,
					   const char *which)
{
	unsigned long index;
	char *end;

	if (!which)
		return best_gpu(gpus, count);

	for (unsigned int kind = UVM_MEMORY_PRIVATE; kind <= UVM_MEMORY_NUMA;
	     kind++)
		if (!strcmp(which, uvm_memory_kind_name(kind)))
			return first_of_kind(gpus, count, kind);

	for (unsigned int i = 0; i < count; i++)
		if (!strncmp(which, gpus[i].name, sizeof(gpus[i].name)))
			return &gpus[i];

	/* strtoul() would take signs, blanks and nothing at all. */
	if (which[0] < '0' || which[0] > '9')
		return NULL;
	index = strtoul(which, &end, 10);
	return *end || index >= count ? NULL : &gpus[index];
}

int uvm_find_gpu(struct uvm_ctx *ctx, const char *which,
		 struct uvm_gpu_info *gpu)
{
	const struct uvm_gpu_info *found;
	struct uvm_gpu_info *gpus;
	unsigned int count;
	int ret;

	ret = uvm_enum_gpus(ctx, &gpus, &count);
	if (ret)
		return ret;

	found = libuvm_pick_gpu(gpus, count, which);
	if (found)
		*gpu = *found;
	else
		ret = -ENODEV;
	free(gpus);
	return ret;
}

int uvm_register_gpu(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
		     int *numa_node)
{
	struct uvm_register_gpu arg = { .size = sizeof(arg) };
	int ret;

	memcpy(arg.uuid, uuid, UVM_UUID_LEN);
	ret = libuvm_ioctl(ctx->fd, UVM_REGISTER_GPU, &arg);
	if (!ret && numa_node)
		*numa_node = arg.out_numa_enabled ? arg.out_numa_node : -1;
	return ret;
}

int uvm_unregister_gpu(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN])
{
	struct uvm_unregister_gpu arg = { .size = sizeof(arg) };

	memcpy(arg.uuid, uuid, UVM_UUID_LEN);
	return libuvm_ioctl(ctx->fd, UVM_UNREGISTER_GPU, &arg);
}

int uvm_query_processors(struct uvm_ctx *ctx, struct uvm_processor **processors,
			 unsigned int *count)
{
	/* Most often enough: the CPU and three GPUs. */
	uint32_t room = 4;

	for (;;) {
		struct uvm_processor *array = calloc(room, sizeof(*array));
		struct uvm_query_processors arg = {
			.size = sizeof(arg),
			.processors = (uintptr_t)array,
			.count = room,
			.entry_size = sizeof(*array),
		};
		int ret;

		if (!array)
			return -ENOMEM;
		ret = libuvm_ioctl(ctx->fd, UVM_QUERY_PROCESSORS, &arg);
		if (!ret && arg.out_count <= room) {
			*processors = array;
			*count = arg.out_count;
			return 0;
		}
		free(array);
		if (ret)
			return ret;
		/* Other threads may register more before the next call. */
		room = arg.out_count;
	}
}
