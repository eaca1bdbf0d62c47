/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The devices of the software GPUs: unbound from their driver, and bound again.
 */
#ifndef SELFTESTS_LIB_DEVICE_H
#define SELFTESTS_LIB_DEVICE_H

#include <stdatomic.h>

#include "lib_uvm.h"

#define UNBIND_SECONDS	25

/* The device that a GPU's driver is bound to; found while all are bound. */
struct device {
	uint8_t uuid[UVM_UUID_LEN];
	const char *driver;
	char name[40];
	bool pci;
};

const struct device *device_of(const struct uvm_gpu_info *gpu);
/* "bind" or "unbind" */
int device_write(const struct device *d, const char *file);
int sysfs_write(const char *path, const char *text);

struct unbinder {
	const struct device *device;
	pthread_t thread;
	atomic_bool done;
	int ret;
};

/* In a thread: one that never comes back must not take the test along. */
void unbind_start(struct unbinder *u, const struct uvm_gpu_info *gpu);
void unbind_finish(struct unbinder *u);
void unbind(const struct uvm_gpu_info *gpu);
/* It comes back under its uuid, with an id that nobody had before. */
void rebind(struct uvm_gpu_info *gpu);

/* leak_check_install(), and before each test all devices are bound */
void devices_install(void);

#endif /* SELFTESTS_LIB_DEVICE_H */
