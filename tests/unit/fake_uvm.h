/* SPDX-License-Identifier: MIT */
/*
 * /dev/uvm in user space: the linker's --wrap sends open(), ioctl(), mmap(), munmap()
 * and close() here. It checks what a caller passes as the kernel would, keeps track of
 * residency, computes like the software GPU (byte by byte, sharing no code with
 * what is tested), and misbehaves on request. Pages "in private memory" are
 * PROT_NONE; touching one brings it back.
 */
#ifndef _FAKE_UVM_H
#define _FAKE_UVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/uvm.h>

#define FAKE_MAX_GPUS	4
#define FAKE_MAX_GROUPS	3	/* at once */

/* The policy of the one range that can have another than the default. */
struct fake_policy {
	uint64_t base, length;
	uint32_t switches;	/* UVM_POLICY_* but UVM_POLICY_ALLOW_MIGRATION */
	uint32_t group;
	uint32_t dest_kind;
	int32_t dest_node;
	uint8_t dest_uuid[UVM_UUID_LEN];
	uint32_t accessed_by;	/* mask of @gpus; the CPU: 1 << FAKE_MAX_GPUS */
};

struct fake_uvm {
	/* What is there. */
	struct uvm_gpu_info gpus[FAKE_MAX_GPUS];
	unsigned int nr_gpus;
	uint32_t version;
	uint32_t max_query;
	bool no_private;	/* ordinary memory can't go to private GPUs */
	unsigned int counters;	/* mask of @gpus that have access counters */
	unsigned int hotplug;	/* GPUs to appear after the next enumeration */
	uint64_t others_reserved;	/* of every GPU's memory */
	uint32_t copies;	/* who has pages of a range */
	uint32_t late_copies;	/* to have some after the next query of a range */
	uint32_t late_accessor;	/* to join the set after the next query of a policy */

	/* What goes wrong. */
	unsigned int fail_cmd;	/* an enum uvm_cmd, or 0 */
	int fail_errno;
	unsigned int fail_open;	/* which open of /dev/uvm fails, from 1; or 0 */
	int fail_mmap;		/* an errno of mmap() of the file, or 0 */
	unsigned int busy;	/* migrations that leave a page behind */
	bool no_memory;		/* leaves a page behind for good */
	bool wrong_crc;
	bool wrong_count;
	size_t wrong_byte;	/* 1 + offset that XOR spoils; or 0 */
	bool stays_home;	/* claims to migrate, and doesn't */
	bool comes_home;	/* computing moves a page home */
	bool loses_byte;	/* migrating home spoils one */
	bool faults;		/* the channel stops with a fault */

	/* What happened. */
	unsigned int opens, closes;
	int last_closed;	/* 'm' or 'v' */
	int closed_first;
	unsigned int queries;
	unsigned int discards;
	uint64_t managed;	/* bytes of the file that were mapped */
	uint64_t addresses;	/* bytes of all mappings that are left */
	unsigned int registered;	/* mask of @gpus */
	struct fake_policy policy;
	unsigned int groups;	/* mask of those that are there, by id */
	unsigned int last_group;	/* id */
	unsigned int fixed;	/* and may not migrate */
	unsigned int counting;	/* mask of @gpus */
	uint64_t limit[FAKE_MAX_GPUS];
	uint64_t reserved[FAKE_MAX_GPUS];
	uint64_t threshold[FAKE_MAX_GPUS];	/* 0: no event */
	int event[FAKE_MAX_GPUS];
	unsigned int bad_calls;	/* that the kernel would have refused */
};

extern struct fake_uvm fake;

/* One GPU of that kind, everything well. */
void fake_reset(unsigned int kind);
void fake_add_gpu(const char *name, unsigned int kind);

/* What the linker makes of the C library's functions, and of calls to them. */
int __real_open(const char *path, int flags, ...);
int __real_close(int fd);
int __real_ioctl(int fd, unsigned long cmd, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_close(int fd);
int __wrap_ioctl(int fd, unsigned long cmd, ...);
void *__real_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *addr, size_t length);
int __wrap_munmap(void *addr, size_t length);

#endif /* _FAKE_UVM_H */
