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
