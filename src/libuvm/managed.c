// SPDX-License-Identifier: MIT
/*
 * Managed memory, and what there is at an address.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "internal.h"

/* From this size on, memory begins where a GPU's large page can. */
#define BLOCK	((size_t)2 << 20)

/* @length addresses that nobody else gets, with @align; NULL if there are none. */
static void *reserve(size_t length, size_t align)
{
	size_t room = length + align, before, after;
	uint8_t *p, *start;

	if (room < length)
		return NULL;
	p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	start = (uint8_t *)(((uintptr_t)p + align - 1) & ~(uintptr_t)(align - 1));
	before = start - p;
	after = room - before - length;
	if (before)
		munmap(p, before);
	if (after)
		munmap(start + length, after);
	return start;
}

static size_t whole_pages(const struct uvm_ctx *ctx, size_t length)
{
	return (length + ctx->page_size - 1) & ~(size_t)(ctx->page_size - 1);
}

int uvm_managed_alloc(struct uvm_ctx *ctx, size_t length, void **memory)
{
	size_t span = whole_pages(ctx, length);
	void *p;
	int ret;

	if (!length || span < length)
		return -EINVAL;
	p = reserve(span, span >= BLOCK ? BLOCK : ctx->page_size);
	if (!p)
		return -ENOMEM;
	if (mmap(p, span, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, ctx->fd,
		 (off_t)(uintptr_t)p) == MAP_FAILED) {
		ret = -errno;
		munmap(p, span);
		return ret;
	}
	*memory = p;
	return 0;
}

int uvm_managed_free(struct uvm_ctx *ctx, void *memory, size_t length)
{
	if (!memory)
		return 0;
	return munmap(memory, whole_pages(ctx, length)) ? -errno : 0;
}

static int query_range(struct uvm_ctx *ctx, const void *address,
		       struct uvm_range_copies *copies, uint32_t room,
		       struct uvm_query_range *range)
{
	*range = (struct uvm_query_range){
		.size = sizeof(*range),
		.address = (uintptr_t)address,
		.copies = (uintptr_t)copies,
		.count = room,
	};
	return libuvm_ioctl(ctx->fd, UVM_QUERY_RANGE, range);
}

int uvm_query_range(struct uvm_ctx *ctx, const void *address,
		    struct uvm_query_range *range, struct uvm_range_copies **copies)
{
	struct uvm_range_copies *entries = NULL;
	struct uvm_query_range answer;
	uint32_t room = 0;
	int ret;

	for (;;) {
		ret = query_range(ctx, address, entries, room, &answer);
		if (ret || !copies || answer.out_count <= room)
			break;

		/* Pages may go elsewhere before the next call. */
		free(entries);
		room = answer.out_count;
		entries = calloc(room, sizeof(*entries));
		if (!entries)
			return -ENOMEM;
	}
	if (ret || !answer.out_count) {
		free(entries);
		entries = NULL;
	}
	if (ret)
		return ret;

	*range = answer;
	if (copies)
		*copies = entries;
	return 0;
}
