// SPDX-License-Identifier: GPL-2.0-only
/* See lib_device.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib_device.h"

static struct device device_list[MAX_GPUS];
static int device_count;

/*
 * PCI GPUs are called by their addresses. Platform devices are numbered in the order
 * of their GPUs, which is that of their uuids.
 */
static void devices_find(void)
{
	struct uvm_gpu_info gpus[MAX_GPUS];
	int i, k, rank, n = gpus_list(gpus, MAX_GPUS);
	struct device *d;

	for (i = 0; i < n; i++) {
		d = &device_list[device_count++];
		memcpy(d->uuid, gpus[i].uuid, UVM_UUID_LEN);
		d->pci = strchr(gpus[i].name, ':');
		if (d->pci) {
			d->driver = "/sys/bus/pci/drivers/uvm_sim";
			snprintf(d->name, sizeof(d->name), "%s",
				 gpus[i].name + strlen("uvm-sim-"));
			continue;
		}
		for (rank = 0, k = 0; k < n; k++)
			rank += !strchr(gpus[k].name, ':') &&
				memcmp(gpus[k].uuid, gpus[i].uuid, UVM_UUID_LEN) < 0;
		d->driver = "/sys/bus/platform/drivers/uvm_sim";
		snprintf(d->name, sizeof(d->name), "uvm_sim.%d", rank);
	}
}

const struct device *device_of(const struct uvm_gpu_info *gpu)
{
	int i;

	for (i = 0; i < device_count; i++)
		if (!memcmp(device_list[i].uuid, gpu->uuid, UVM_UUID_LEN))
			return &device_list[i];
	harness_check(false, true, __FILE__, __LINE__, "no device of %s", gpu->name);
	return NULL;
}

int sysfs_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int device_write(const struct device *d, const char *file)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", d->driver, file);
	return sysfs_write(path, d->name);
}

static void *unbinder_main(void *arg)
{
	struct unbinder *u = arg;

	u->ret = device_write(u->device, "unbind");
	atomic_store(&u->done, true);
	return NULL;
}

void unbind_start(struct unbinder *u, const struct uvm_gpu_info *gpu)
{
	*u = (struct unbinder){ .device = device_of(gpu) };
	ASSERT_EQ(pthread_create(&u->thread, NULL, unbinder_main, u), 0);
}

void unbind_finish(struct unbinder *u)
{
	bool done = SOON(atomic_load(&u->done), UNBIND_SECONDS);

	harness_check(done, true, __FILE__, __LINE__,
		      "unbinding %s takes more than %d s", u->device->name,
		      UNBIND_SECONDS);
	pthread_join(u->thread, NULL);
	EXPECT_RET(u->ret, 0);
}

void unbind(const struct uvm_gpu_info *gpu)
{
	struct uvm_gpu_info gone;
	struct unbinder u;

	unbind_start(&u, gpu);
	unbind_finish(&u);
	EXPECT_TRUE(!gpu_by_uuid(gpu->uuid, &gone));
}

void rebind(struct uvm_gpu_info *gpu)
{
	uint32_t id = gpu->id;

	ASSERT_RET(device_write(device_of(gpu), "bind"), 0);
	ASSERT_TRUE(gpu_by_uuid(gpu->uuid, gpu));
	EXPECT_GT(gpu->id, id);
}

static void (*leak_before)(void);

/* What a test that failed left unbound must not make others fail. */
static void bind_all(void)
{
	struct uvm_gpu_info gpu;
	int i;

	if (!device_count)
		devices_find();
	for (i = 0; i < device_count; i++)
		if (!gpu_by_uuid(device_list[i].uuid, &gpu))
			device_write(&device_list[i], "bind");
	leak_before();
}

void devices_install(void)
{
	leak_check_install();
	leak_before = harness_hook.before;
	harness_hook.before = bind_all;
}
