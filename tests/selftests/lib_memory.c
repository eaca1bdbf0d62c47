// SPDX-License-Identifier: GPL-2.0-only
/* See lib_memory.h. */
#include <string.h>

#include "lib_memory.h"

int memory_query(int fd, const uint8_t *uuid, struct uvm_query_memory *q)
{
	memset(q, 0, sizeof(*q));
	q->size = sizeof(*q);
	memcpy(q->uuid, uuid, UVM_UUID_LEN);
	return uvm_ioctl(fd, UVM_QUERY_MEMORY, q);
}

int memory_limit(int fd, const uint8_t *uuid, uint64_t limit, uint64_t reserved)
{
	struct uvm_set_memory_limit a = {
		.size = sizeof(a),
		.limit = limit,
		.reserved = reserved,
	};

	memcpy(a.uuid, uuid, UVM_UUID_LEN);
	return uvm_ioctl(fd, UVM_SET_MEMORY_LIMIT, &a);
}

int memory_event(int fd, const uint8_t *uuid, int event, uint64_t threshold)
{
	struct uvm_set_memory_event a = {
		.size = sizeof(a),
		.threshold = threshold,
		.eventfd = event,
	};

	memcpy(a.uuid, uuid, UVM_UUID_LEN);
	return uvm_ioctl(fd, UVM_SET_MEMORY_EVENT, &a);
}

int discard(int fd, const void *p, size_t length, uint32_t flags, struct uvm_discard *d)
{
	memset(d, 0, sizeof(*d));
	d->size = sizeof(*d);
	d->flags = flags;
	d->base = ADDR(p);
	d->length = length;
	return uvm_ioctl(fd, UVM_DISCARD, d);
}

void discard_expect_accounts(const struct uvm_discard *d)
{
	uint64_t sum = d->out_discarded;
	int i;

	for (i = 0; i < UVM_DISCARD_SKIP_SLOTS; i++)
		sum += d->out_skipped[i];
	EXPECT_EQ(sum, d->out_done / PAGE);
	for (i = UVM_DISCARD_SKIP_NR; i < UVM_DISCARD_SKIP_SLOTS; i++)
		EXPECT_EQ(d->out_skipped[i], 0);
}
