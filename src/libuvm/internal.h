/* SPDX-License-Identifier: MIT */
#ifndef _LIBUVM_INTERNAL_H
#define _LIBUVM_INTERNAL_H

#include <libuvm/uvm.h>

/*
 * Set once by uvm_open(). What the library asks the kernel about often is kept;
 * it can't change while the module is loaded, and our files keep it loaded.
 */
struct uvm_ctx {
	int fd;
	int mm_fd;
	uint32_t page_size;
	uint32_t max_query;
};

/*
 * libuvm_*: shared by our files only. uvm_*: the library's interface.
 */

/* ioctl() with the error as the result. Only a fatal signal interrupts one. */
int libuvm_ioctl(int fd, unsigned long cmd, void *arg);

size_t libuvm_span(uintptr_t addr, size_t length, size_t page_size,
		   uintptr_t *base);
const struct uvm_gpu_info *libuvm_pick_gpu(const struct uvm_gpu_info *gpus,
					   unsigned int count,
					   const char *which);

#endif /* _LIBUVM_INTERNAL_H */
