/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The commands about a GPU's memory, as thin as in lib_uvm.h. A function returns 0 or
 * -errno.
 */
#ifndef SELFTESTS_LIB_MEMORY_H
#define SELFTESTS_LIB_MEMORY_H

#include "lib_uvm.h"

int memory_query(int fd, const uint8_t *uuid, struct uvm_query_memory *q);
int memory_limit(int fd, const uint8_t *uuid, uint64_t limit, uint64_t reserved);
int memory_event(int fd, const uint8_t *uuid, int event, uint64_t threshold);
int discard(int fd, const void *p, size_t length, uint32_t flags, struct uvm_discard *d);
/* discarded and skipped account for every page of out_done */
void discard_expect_accounts(const struct uvm_discard *d);

#endif /* SELFTESTS_LIB_MEMORY_H */
