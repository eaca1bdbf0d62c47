// SPDX-License-Identifier: MIT
/*
 * Moving pages, discarding them, and asking where they are.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

/* @arg has the destination; everything else is the same for all of them. */
static int migrate(struct uvm_ctx *ctx, struct uvm_migrate *arg, void *base,
		   size_t length, struct uvm_migrate_result *result)
{
	int ret;

	arg->size = sizeof(*arg);
	arg->base = (uintptr_t)base;
	arg->length = length;
	ret = libuvm_ioctl(ctx->fd, UVM_MIGRATE, arg);
	if (!result)
		return ret;

	/*
	 * Written by the kernel once it has accepted the arguments, also on an
	 * error; until then they are the zeros that we passed.
	 */
	result->moved = arg->out_moved;
	result->already = arg->out_already;
	for (int i = 0; i < UVM_SKIP_SLOTS; i++)
		result->skipped[i] = arg->out_skipped[i];
	result->done = arg->out_done;
	return ret;
}

int uvm_migrate_to_gpu(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
		       void *base, size_t length,
		       struct uvm_migrate_result *result)
{
	struct uvm_migrate arg = { .dest_kind = UVM_DEST_GPU };

	memcpy(arg.dest_uuid, uuid, UVM_UUID_LEN);
	return migrate(ctx, &arg, base, length, result);
}

int uvm_migrate_to_cpu(struct uvm_ctx *ctx, void *base, size_t length,
		       struct uvm_migrate_result *result)
{
	struct uvm_migrate arg = { .dest_kind = UVM_DEST_CPU };

	return migrate(ctx, &arg, base, length, result);
}

int uvm_migrate_to_node(struct uvm_ctx *ctx, int node, void *base,
			size_t length, struct uvm_migrate_result *result)
{
	struct uvm_migrate arg = {
		.dest_kind = UVM_DEST_CPU_NODE,
		.dest_node = node,
	};

	return migrate(ctx, &arg, base, length, result);
}

uint64_t uvm_migrate_skipped(const struct uvm_migrate_result *result)
{
	uint64_t sum = 0;

	for (int i = 0; i < UVM_SKIP_SLOTS; i++)
		sum += result->skipped[i];
	return sum;
}

int uvm_discard(struct uvm_ctx *ctx, void *base, size_t length, bool eager,
		struct uvm_discard_result *result)
{
	struct uvm_discard arg = {
		.size = sizeof(arg),
		.flags = eager ? UVM_DISCARD_EAGER : 0,
		.base = (uintptr_t)base,
		.length = length,
	};
	int ret;

	ret = libuvm_ioctl(ctx->fd, UVM_DISCARD, &arg);
	if (!result)
		return ret;

	/* As for migrations. */
	result->discarded = arg.out_discarded;
	for (int i = 0; i < UVM_DISCARD_SKIP_SLOTS; i++)
		result->skipped[i] = arg.out_skipped[i];
	result->done = arg.out_done;
	return ret;
}

static int query(struct uvm_ctx *ctx, uint64_t base, uint64_t length,
		 struct uvm_page_state *pages)
{
	struct uvm_query_residency arg = {
		.size = sizeof(arg),
		.base = base,
		.length = length,
		.pages = (uintptr_t)pages,
	};

	return libuvm_ioctl(ctx->fd, UVM_QUERY_RESIDENCY, &arg);
}

int uvm_query_residency(struct uvm_ctx *ctx, const void *base, size_t length,
			struct uvm_page_state *pages)
{
	uint64_t limit = (uint64_t)ctx->max_query * ctx->page_size;
	uint64_t addr = (uintptr_t)base;
	int ret;

	/* Checked as a whole: the kernel only ever sees the parts. */
	if (!length || addr % ctx->page_size || length % ctx->page_size ||
	    addr + length < addr)
		return -EINVAL;

	while (length) {
		size_t part = length < limit ? length : limit;

		ret = query(ctx, addr, part, pages);
		if (ret)
			return ret;
		addr += part;
		length -= part;
		pages += part / ctx->page_size;
	}
	return 0;
}

void uvm_count_residency(const struct uvm_page_state *pages, size_t count,
			 struct uvm_residency *sum)
{
	*sum = (struct uvm_residency){ 0 };
	for (size_t i = 0; i < count; i++) {
		switch (pages[i].where) {
		case UVM_WHERE_CPU:
			sum->cpu++;
			break;
		case UVM_WHERE_GPU:
			sum->gpu++;
			break;
		case UVM_WHERE_OTHER_DEVICE:
			sum->other_device++;
			break;
		default:
			sum->none++;
		}
	}
}

size_t libuvm_span(uintptr_t addr, size_t length, size_t page_size,
		   uintptr_t *base)
{
	uintptr_t mask = page_size - 1;
	uintptr_t end = addr + length;

	*base = addr & ~mask;
	/* The last page may end at the top of the address space, but not wrap. */
	if (!length || end < addr || end + mask < end)
		return 0;
	return ((end + mask) & ~mask) - *base;
}

size_t uvm_page_span(const struct uvm_ctx *ctx, const void *addr, size_t length,
		     void **base)
{
	uintptr_t first;
	size_t span = libuvm_span((uintptr_t)addr, length, ctx->page_size, &first);

	*base = (void *)first;
	return span;
}
