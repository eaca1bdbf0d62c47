/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Managed memory: mappings of a VA space's file, at the offsets that their addresses are.
 */
#ifndef SELFTESTS_LIB_MANAGED_H
#define SELFTESTS_LIB_MANAGED_H

#include "lib_uvm.h"

/* there are other copies of the page; until the header has it */
#ifndef UVM_PAGE_COPIED
#define UVM_PAGE_COPIED		(1 << 2)
#endif

/* or SKIPs */
void managed_need(void);
/* copies of read-mostly pages, or SKIPs */
void duplication_need(void);
/* managed_need(), for a test that has no use for ordinary memory on its GPUs */
void managed_gpus_need(void);

/* mmap() as it has to be, where nothing is yet: 0 or -errno */
int managed_try(int fd, void *at, size_t length);
/* in place of whatever is there */
void managed_at(int fd, void *at, size_t length);
/* as much of the process's addresses, with nothing beside it; 2 MiB aligned */
char *managed_room(size_t length);
/* Anywhere; from 2 MiB on it is aligned, with nothing beside it. A child has none of it. */
void *managed(int fd, size_t length);

/*
 * What there is of managed memory, in pages; -1 of what nobody tells.
 * @cpu: system memory of this VA space
 * @blocks: blocks of all VA spaces
 */
struct managed_account {
	long cpu;
	long blocks;
};

void managed_account_read(int fd, struct managed_account *a);
/* It is again as it was, a moment later at the latest. */
bool managed_account_returns(int fd, const struct managed_account *was);
/* blocks of all VA spaces come down to as many */
bool managed_blocks_return(long blocks);
/* a number of the file's fdinfo, or -1; bytes are told in pages */
long fdinfo_number(int fd, const char *name);
/* the account is one that tells something, or SKIPs */
void managed_account_need(int fd);

extern const struct variant managed_private[];

/* managed_need(), and a VA space */
void open_space(struct space *s);
/* Pages of the process's in the GPU's memory */
unsigned long my_pages(struct fix *f, const struct uvm_gpu_info *gpu);
/* What is freed is so a moment later at the latest. */
void expect_mine(struct fix *f, const struct uvm_gpu_info *gpu, unsigned long pages);
/* @fd, a pipe, has the pages */
void splice_in(int fd, const char *p, size_t length);

#endif /* SELFTESTS_LIB_MANAGED_H */
