// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/uvm_sim.h>

#include "fake_uvm.h"

#define PAGE		4096UL
#define MAX_FD		256
#define MAX_PAGES	(1UL << 18)

struct fake_uvm fake;

/* 0 not ours, 'f' fresh, 'v' VA space, 'm' mm file */
static char role[MAX_FD];

/* Pages from @first on that are in GPU memory. */
static uintptr_t first;
static bool on_gpu[MAX_PAGES];

static uint64_t point;
static bool stopped;

static bool *gpu_page(uintptr_t addr)
{
	size_t index = (addr - first) / PAGE;

	return first && addr >= first && index < MAX_PAGES ? &on_gpu[index] :
							     NULL;
}

static bool is_on_gpu(uintptr_t addr)
{
	return gpu_page(addr) && *gpu_page(addr);
}

static bool is_private(void)
{
	return fake.gpus[0].memory_kind == UVM_MEMORY_PRIVATE;
}

static void protect(uintptr_t addr, size_t length, int prot)
{
	if (mprotect((void *)addr, length, prot))
		abort();
}

static void set_place(uintptr_t addr, bool gpu)
{
	*gpu_page(addr) = gpu;
	if (is_private())
		protect(addr, PAGE, gpu ? PROT_NONE : PROT_READ | PROT_WRITE);
}

static void on_sigsegv(int sig, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr & ~(PAGE - 1);

	(void)sig;
	(void)context;
	if (!is_on_gpu(addr))
		abort();
	set_place(addr, false);
}

void fake_add_gpu(const char *name, unsigned int kind)
{
	struct uvm_gpu_info *gpu = &fake.gpus[fake.nr_gpus];

	*gpu = (struct uvm_gpu_info){
		.id = 7 + fake.nr_gpus,
		.memory_kind = kind,
		.memory_size = 1 << 30,
		.memory_free = 1 << 30,
		.numa_node = kind == UVM_MEMORY_NUMA ? 5 : -1,
		.nearest_node = -1,
		.page_sizes = PAGE | 2 << 20,
		.va_bits = 48,
		.copy_engines = 2,
	};
	gpu->uuid[0] = 0xa0 + fake.nr_gpus++;
	snprintf(gpu->name, sizeof(gpu->name), "%s", name);
}

void fake_reset(unsigned int kind)
{
	struct sigaction act = {
		.sa_sigaction = on_sigsegv,
		.sa_flags = SA_SIGINFO,
	};

	sigaction(SIGSEGV, &act, NULL);
	memset(&fake, 0, sizeof(fake));
	memset(on_gpu, 0, sizeof(on_gpu));
	first = 0;
	point = 0;
	stopped = false;
	fake.version = UVM_VERSION;
	fake.max_query = 100;
	fake.policy.switches = UVM_POLICY_FAULT_MIGRATION | UVM_POLICY_PREFETCH;
	fake_add_gpu("fake0", kind);
}

static int open_uvm(int flags)
{
	int fd;

	if (++fake.opens == fake.fail_open) {
		errno = fake.fail_errno;
		return -1;
	}
	if (flags != (O_RDWR | O_CLOEXEC))
		fake.bad_calls++;
	fd = __real_open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0 || fd >= MAX_FD)
		abort();
	role[fd] = 'f';
	return fd;
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	if (!strcmp(path, "/dev/uvm"))
		return open_uvm(flags);
	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return __real_open(path, flags, mode);
}

int __wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return __wrap_open(path, flags, mode);
}

int __wrap_close(int fd)
{
	if (fd >= 0 && fd < MAX_FD && role[fd]) {
		if (!fake.closes++)
			fake.closed_first = role[fd];
		fake.last_closed = role[fd];
		role[fd] = 0;
	}
	return __real_close(fd);
}

/*
 * Mappings of the file: zeroes, where the offset says. They replace what was reserved.
 */

static bool is_mapped(void *addr, size_t length)
{
	return !msync(addr, length, MS_ASYNC);
}

static int check_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	if (fake.fail_mmap)
		return -fake.fail_mmap;
	if (role[fd] != 'v')
		return -EBADFD;
	if (prot != (PROT_READ | PROT_WRITE) || flags != (MAP_SHARED | MAP_FIXED) ||
	    (uintptr_t)addr != (uintptr_t)offset || !length || length % PAGE ||
	    !is_mapped(addr, length))
		return -EINVAL;
	return 0;
}

static void *map_file(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	int ret = check_mmap(addr, length, prot, flags, fd, offset);

	if (ret) {
		fake.bad_calls += ret == -EBADFD || ret == -EINVAL;
		errno = -ret;
		return MAP_FAILED;
	}
	fake.managed += length;
	return __real_mmap(addr, length, prot, MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS, -1,
			   0);
}

void *__wrap_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	void *p;

	if (fd >= 0 && fd < MAX_FD && role[fd])
		return map_file(addr, length, prot, flags, fd, offset);
	p = __real_mmap(addr, length, prot, flags, fd, offset);
	if (p != MAP_FAILED)
		fake.addresses += (length + PAGE - 1) & ~(PAGE - 1);
	return p;
}

void *__wrap_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return __wrap_mmap(addr, length, prot, flags, fd, offset);
}

/* Whoever unmaps what isn't mapped harms somebody else. */
int __wrap_munmap(void *addr, size_t length)
{
	size_t size = (length + PAGE - 1) & ~(PAGE - 1);

	if (size && !is_mapped(addr, size))
		fake.bad_calls++;
	fake.addresses -= size;
	return __real_munmap(addr, length);
}

/*
 * Commands. Each returns 0 or -errno.
 */

static int do_info(struct uvm_info *arg)
{
	arg->out_version = fake.version;
	arg->out_page_size = PAGE;
	arg->out_features = UVM_FEATURE_MANAGED;
	if (!fake.no_private)
		arg->out_features |= UVM_FEATURE_DEVICE_PRIVATE;
	arg->out_max_gpus = 16;
	arg->out_max_channels = 16;
	arg->out_max_submit = 4096;
	arg->out_max_query = fake.max_query;
	return 0;
}

static int do_mm_init(int fd, const struct uvm_mm_init *arg)
{
	if (arg->va_space_fd < 0 || role[arg->va_space_fd] != 'v')
		return -EBADFD;
	role[fd] = 'm';
	return arg->__reserved ? -EINVAL : 0;
}

static int do_enum(struct uvm_enum_gpus *arg)
{
	struct uvm_gpu_info *gpus = (void *)(uintptr_t)arg->gpus;

	if (arg->entry_size != sizeof(*gpus) || arg->__reserved)
		return -EINVAL;
	for (uint32_t i = 0; i < arg->count && i < fake.nr_gpus; i++)
		gpus[i] = fake.gpus[i];
	arg->out_count = fake.nr_gpus;
	while (fake.hotplug) {
		fake.hotplug--;
		fake_add_gpu("late", UVM_MEMORY_COHERENT);
	}
	return 0;
}

static int find(const uint8_t *uuid)
{
	for (unsigned int i = 0; i < fake.nr_gpus; i++)
		if (!memcmp(uuid, fake.gpus[i].uuid, UVM_UUID_LEN))
			return i;
	return -ENODEV;
}

static bool is_registered(int i)
{
	return i >= 0 && fake.registered >> i & 1;
}

static int do_register(struct uvm_register_gpu *arg)
{
	int i = find(arg->uuid);

	if (i < 0)
		return i;
	if (is_registered(i))
		return -EEXIST;
	for (unsigned int k = 0; k < fake.nr_gpus; k++)
		if (is_registered(k) &&
		    (fake.gpus[i].memory_kind == UVM_MEMORY_PRIVATE) !=
		    (fake.gpus[k].memory_kind == UVM_MEMORY_PRIVATE))
			return -EOPNOTSUPP;
	fake.registered |= 1U << i;
	arg->out_numa_enabled = fake.gpus[i].memory_kind == UVM_MEMORY_NUMA;
	arg->out_numa_node = arg->out_numa_enabled ? 5 : -1;
	return 0;
}

static int do_unregister(struct uvm_unregister_gpu *arg)
{
	int i = find(arg->uuid);

	if (i < 0)
		return i;
	if (!is_registered(i))
		return -ENOENT;
	fake.registered &= ~(1U << i);
	fake.counting &= ~(1U << i);
	fake.limit[i] = 0;
	fake.reserved[i] = 0;
	fake.threshold[i] = 0;
	arg->out_moved = 0;
	arg->out_left = 0;
	return 0;
}

/* The registered GPUs in order, and the CPU, by what the CPU reaches in place. */
static int do_processors(struct uvm_query_processors *arg)
{
	struct uvm_processor *p = (void *)(uintptr_t)arg->processors;
	const struct uvm_gpu_info *gpus[FAKE_MAX_GPUS];
	uint64_t in_place = 1, nodes = 1;
	uint32_t n = 1;

	if (arg->entry_size != sizeof(*p) || arg->__reserved)
		return -EINVAL;
	for (unsigned int i = 0; i < fake.nr_gpus; i++) {
		if (!is_registered(i))
			continue;
		gpus[n - 1] = &fake.gpus[i];
		if (fake.gpus[i].memory_kind != UVM_MEMORY_PRIVATE)
			in_place |= 1ULL << n;
		if (fake.gpus[i].memory_kind == UVM_MEMORY_NUMA)
			nodes |= 1ULL << n;
		n++;
	}
	for (uint32_t i = 0; i < n && i < arg->count; i++) {
		p[i] = (struct uvm_processor){
			.id = i ? gpus[i - 1]->id : UVM_PROCESSOR_CPU,
			.nearest_node = -1,
			.access = i ? nodes | 1ULL << i : in_place,
			.copy = nodes >> i & 1 ? (1ULL << n) - 1 :
						 nodes | 1ULL << i,
			.reach = (1ULL << n) - 1,
		};
		if (i)
			memcpy(p[i].uuid, gpus[i - 1]->uuid, UVM_UUID_LEN);
	}
	arg->out_count = n;
	return 0;
}

static uint32_t bitwise_crc32c(const uint8_t *data, size_t length)
{
	uint32_t crc = ~0U;

	for (size_t i = 0; i < length; i++)
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^
			      (((crc ^ data[i] >> bit) & 1) ? 0x82F63B78U : 0);
	return ~crc;
}

static void run_cmd(const struct uvm_sim_cmd *cmd)
{
	uint8_t *src = (void *)(uintptr_t)cmd->src;
	uint8_t *dst = (void *)(uintptr_t)cmd->dst;
	uint64_t *word = (void *)(uintptr_t)cmd->dst;

	switch (cmd->op) {
	case UVM_SIM_HISTOGRAM:
		for (size_t i = 0; i < cmd->length; i++)
			word[src[i]]++;
		word[255] += fake.wrong_count;
		break;
	case UVM_SIM_CRC32C:
		*word = bitwise_crc32c(src, cmd->length) ^ fake.wrong_crc;
		break;
	case UVM_SIM_XOR:
		for (size_t i = 0; i < cmd->length; i++)
			dst[i] ^= uvm_sim_keystream(cmd->arg0, i / 8) >>
				  8 * (i % 8);
		if (fake.wrong_byte)
			dst[fake.wrong_byte - 1] ^= 0x10;
		break;
	default:
		abort();
	}
}

/* The GPU sees its memory: lift the protection while it computes. */
static void run_cmds(const struct uvm_sim_cmd *cmds, size_t count)
{
	for (size_t i = 0; i < MAX_PAGES; i++)
		if (on_gpu[i] && is_private())
			protect(first + i * PAGE, PAGE, PROT_READ | PROT_WRITE);
	for (size_t i = 0; i < count; i++)
		run_cmd(&cmds[i]);
	for (size_t i = 0; i < MAX_PAGES; i++)
		if (on_gpu[i])
			set_place(first + i * PAGE, true);
	if (fake.comes_home)
		set_place(first, false);
}

static int do_submit(struct uvm_channel_submit *arg)
{
	const struct uvm_sim_cmd *cmds = (void *)(uintptr_t)arg->commands;

	if (arg->channel != 3)
		return -ENOENT;
	if (!arg->length || arg->length % sizeof(*cmds))
		return -EINVAL;
	arg->out_point = ++point;
	if (fake.faults)
		stopped = true;
	else
		run_cmds(cmds, arg->length / sizeof(*cmds));
	return 0;
}

static int do_channel_query(struct uvm_channel_query *arg)
{
	if (arg->channel != 3)
		return -ENOENT;
	arg->out_state = stopped ? UVM_CHANNEL_FAULTED : UVM_CHANNEL_RUNNING;
	arg->out_reason = stopped ? UVM_FAULT_PERMISSION : 0;
	arg->out_access = stopped ? UVM_ACCESS_WRITE : 0;
	arg->out_address = stopped ? 0xabc000 : 0;
	arg->out_submitted = point;
	arg->out_completed = stopped ? point - 1 : point;
	return 0;
}

static int do_wait(struct uvm_wait *arg)
{
	if (arg->channel != 3)
		return -ENOENT;
	if (arg->point > point || arg->__reserved)
		return -EINVAL;
	arg->out_completed = stopped ? point - 1 : point;
	return stopped && arg->point == point ? -ECANCELED : 0;
}

static int do_migrate(struct uvm_migrate *arg)
{
	bool to_gpu = arg->dest_kind == UVM_DEST_GPU;

	if (!arg->length || arg->base % PAGE || arg->length % PAGE)
		return -EINVAL;
	if (to_gpu && find(arg->dest_uuid) < 0)
		return -ENODEV;
	if (to_gpu && !is_registered(find(arg->dest_uuid)))
		return -ENOENT;
	if (!first)
		first = arg->base;

	for (uintptr_t at = arg->base; at < arg->base + arg->length; at += PAGE) {
		if (!gpu_page(at))
			abort();
		if (*gpu_page(at) == to_gpu) {
			arg->out_already++;
		} else if (fake.no_memory) {
			arg->out_skipped[UVM_SKIP_NO_MEMORY]++;
		} else if (fake.busy) {
			fake.busy--;
			arg->out_skipped[UVM_SKIP_BUSY]++;
		} else {
			arg->out_moved++;
			if (!fake.stays_home)
				set_place(at, to_gpu);
		}
	}
	if (fake.loses_byte && !to_gpu)
		((uint8_t *)(uintptr_t)arg->base)[arg->length / 2] ^= 1;
	arg->out_done = arg->length;
	return 0;
}

/* Discards what is on a GPU. What is read next is whatever was there. */
static int do_discard(struct uvm_discard *arg)
{
	if (!arg->length || arg->base % PAGE || arg->length % PAGE)
		return -EINVAL;
	fake.discards++;
	for (uintptr_t at = arg->base; at < arg->base + arg->length; at += PAGE) {
		if (!is_on_gpu(at)) {
			arg->out_skipped[UVM_DISCARD_SKIP_NOT_ON_GPU]++;
			continue;
		}
		arg->out_discarded++;
		if (arg->flags & UVM_DISCARD_EAGER)
			set_place(at, false);
	}
	arg->out_done = arg->length;
	return 0;
}

static int do_query(const struct uvm_query_residency *arg)
{
	struct uvm_page_state *pages = (void *)(uintptr_t)arg->pages;

	fake.queries++;
	if (!arg->length || arg->base % PAGE || arg->length % PAGE ||
	    arg->length > fake.max_query * PAGE)
		return -EINVAL;
	for (size_t i = 0; i < arg->length / PAGE; i++) {
		bool gpu = is_on_gpu(arg->base + i * PAGE);

		pages[i] = (struct uvm_page_state){
			.where = gpu ? UVM_WHERE_GPU : UVM_WHERE_CPU,
			.prot = UVM_PAGE_READ | UVM_PAGE_WRITE,
			.id = gpu ? fake.gpus[0].id : 0,
		};
	}
	return 0;
}

/* What the structures begin with: all, and those about a range. */
struct head {
	uint32_t size;
	uint32_t flags;
	uint64_t base;
	uint64_t length;
};

static bool is_range(const struct head *range)
{
	return range->length && range->base % PAGE == 0 && range->length % PAGE == 0 &&
	       range->base + range->length > range->base;
}

/* -EINVAL for a range that is none; nothing is mapped at the first page. */
static int use_range(const void *arg)
{
	const struct head *range = arg;

	if (!is_range(range))
		return -EINVAL;
	if (!range->base)
		return -EFAULT;
	fake.policy.base = range->base;
	fake.policy.length = range->length;
	return 0;
}

static int find_registered(const uint8_t *uuid)
{
	int i = find(uuid);

	return i < 0 || is_registered(i) ? i : -ENOENT;
}

static bool is_zero(const uint8_t *uuid)
{
	static const uint8_t zero[UVM_UUID_LEN];

	return !memcmp(uuid, zero, UVM_UUID_LEN);
}

static int do_preferred(const struct uvm_set_preferred_location *arg)
{
	struct fake_policy *policy = &fake.policy;
	int ret = 0;

	if (arg->dest_kind > UVM_DEST_CPU_NODE ||
	    (arg->dest_kind != UVM_DEST_GPU && !is_zero(arg->dest_uuid)) ||
	    (arg->dest_kind != UVM_DEST_CPU_NODE && arg->dest_node) ||
	    arg->dest_node < 0)
		return -EINVAL;
	if (arg->dest_kind == UVM_DEST_GPU)
		ret = find_registered(arg->dest_uuid);
	if (ret >= 0)
		ret = use_range(arg);
	if (ret)
		return ret;
	policy->dest_kind = arg->dest_kind;
	policy->dest_node = arg->dest_node;
	memcpy(policy->dest_uuid, arg->dest_uuid, UVM_UUID_LEN);
	return 0;
}

static int do_accessed_by(const struct uvm_set_accessed_by *arg)
{
	int i = FAKE_MAX_GPUS, ret;

	if (arg->enable > 1 || arg->__reserved)
		return -EINVAL;
	if (!is_zero(arg->uuid))
		i = find_registered(arg->uuid);
	ret = i < 0 ? i : use_range(arg);
	if (ret)
		return ret;
	fake.policy.accessed_by &= ~(1U << i);
	fake.policy.accessed_by |= arg->enable << i;
	return 0;
}

static int do_switch(const struct uvm_set_switch *arg, uint32_t which)
{
	int ret = arg->enable > 1 || arg->__reserved ? -EINVAL : use_range(arg);

	if (ret)
		return ret;
	fake.policy.switches &= ~which;
	fake.policy.switches |= arg->enable ? which : 0;
	return 0;
}

static bool is_group(uint32_t id)
{
	return id && id < 32 && fake.groups >> id & 1;
}

/* Ids are handed out once. */
static int do_create_group(struct uvm_create_range_group *arg)
{
	if (arg->__reserved)
		return -EINVAL;
	if (__builtin_popcount(fake.groups) == FAKE_MAX_GROUPS)
		return -ENOSPC;
	if (++fake.last_group == 32)
		abort();
	fake.groups |= 1U << fake.last_group;
	arg->out_group = fake.last_group;
	return 0;
}

static int do_destroy_group(const struct uvm_destroy_range_group *arg)
{
	if (arg->__reserved)
		return -EINVAL;
	if (!is_group(arg->group))
		return -ENOENT;
	fake.groups &= ~(1U << arg->group);
	if (fake.policy.group == arg->group)
		fake.policy.group = 0;
	return 0;
}

static int do_set_group(const struct uvm_set_range_group *arg)
{
	int ret;

	if (arg->__reserved)
		return -EINVAL;
	if (arg->group && !is_group(arg->group))
		return -ENOENT;
	ret = use_range(arg);
	if (!ret)
		fake.policy.group = arg->group;
	return ret;
}

static int do_allow(const struct uvm_allow_migration *arg)
{
	if (arg->allow > 1)
		return -EINVAL;
	if (!is_group(arg->group))
		return -ENOENT;
	fake.fixed &= ~(1U << arg->group);
	fake.fixed |= !arg->allow << arg->group;
	return 0;
}

static int do_counters(const struct uvm_set_access_counters *arg)
{
	int i = find_registered(arg->uuid);

	if (arg->enable > 1 || arg->__reserved)
		return -EINVAL;
	if (i < 0)
		return i;
	if (!(fake.counters >> i & 1))
		return -EOPNOTSUPP;
	fake.counting &= ~(1U << i);
	fake.counting |= arg->enable << i;
	return 0;
}

static int find_memory(const uint8_t *uuid)
{
	int i = find_registered(uuid);

	if (i >= 0 && fake.gpus[i].memory_kind == UVM_MEMORY_NUMA)
		return -EOPNOTSUPP;
	return i;
}

static int do_query_memory(struct uvm_query_memory *arg)
{
	int i = find_memory(arg->uuid);

	if (arg->__reserved)
		return -EINVAL;
	if (i < 0)
		return i;
	arg->out_total = fake.gpus[i].memory_size;
	arg->out_free = fake.gpus[i].memory_free;
	arg->out_used = arg->out_total - arg->out_free;
	arg->out_largest_free = arg->out_free ? 2 << 20 : 0;
	arg->out_evictable = arg->out_used / 2;
	arg->out_pinned = PAGE;
	arg->out_mine = arg->out_used / 4;
	arg->out_limit = fake.limit[i];
	arg->out_reserved = fake.reserved[i];
	arg->out_evicted = 10;
	arg->out_refaulted = 9;
	arg->out_my_evicted = 8;
	arg->out_my_refaulted = 7;
	arg->out_thrash = 125;
	return 0;
}

static int do_memory_limit(const struct uvm_set_memory_limit *arg)
{
	int i = find_memory(arg->uuid);

	if ((arg->limit | arg->reserved) % PAGE ||
	    (arg->limit && arg->reserved > arg->limit))
		return -EINVAL;
	if (i < 0)
		return i;
	if (arg->reserved > fake.gpus[i].memory_size)
		return -EINVAL;
	if (arg->reserved > fake.gpus[i].memory_size - fake.others_reserved)
		return -ENOSPC;
	fake.limit[i] = arg->limit;
	fake.reserved[i] = arg->reserved;
	return 0;
}

static int do_memory_event(const struct uvm_set_memory_event *arg)
{
	int i = find_memory(arg->uuid);

	if (arg->__reserved || arg->threshold % PAGE ||
	    (arg->eventfd == -1) != !arg->threshold)
		return -EINVAL;
	if (arg->eventfd < -1)
		return -EBADF;
	if (i < 0)
		return i;
	if (arg->threshold > fake.gpus[i].memory_size)
		return -EINVAL;
	fake.event[i] = arg->eventfd;
	fake.threshold[i] = arg->threshold;
	return 0;
}

static uint32_t tell_accessed_by(uint32_t set, uint8_t (*uuids)[UVM_UUID_LEN],
				 uint32_t room)
{
	uint32_t count = 0;

	for (int i = FAKE_MAX_GPUS; i >= 0; i--) {
		if (!(set >> i & 1) || count++ >= room)
			continue;
		memset(uuids[count - 1], 0, UVM_UUID_LEN);
		if (i < FAKE_MAX_GPUS)
			memcpy(uuids[count - 1], fake.gpus[i].uuid, UVM_UUID_LEN);
	}
	return count;
}

static int do_query_policy(struct uvm_query_policy *arg)
{
	static const struct fake_policy other = {
		.switches = UVM_POLICY_FAULT_MIGRATION | UVM_POLICY_PREFETCH,
	};
	const struct fake_policy *policy = &fake.policy;

	fake.queries++;
	if (arg->address >> 47)
		return -EINVAL;
	if (arg->address - policy->base >= policy->length)
		policy = &other;
	arg->out_base = policy->base;
	arg->out_length = policy->length;
	arg->out_policy = policy->switches;
	if (!(fake.fixed >> policy->group & 1))
		arg->out_policy |= UVM_POLICY_ALLOW_MIGRATION;
	arg->out_group = policy->group;
	arg->out_dest_kind = policy->dest_kind;
	arg->out_dest_node = policy->dest_node;
	memcpy(arg->out_dest_uuid, policy->dest_uuid, UVM_UUID_LEN);
	arg->out_count = tell_accessed_by(policy->accessed_by,
					  (void *)(uintptr_t)arg->accessed_by,
					  arg->count);
	fake.policy.accessed_by |= fake.late_accessor;
	fake.late_accessor = 0;
	return 0;
}

static int do_query_range(struct uvm_query_range *arg)
{
	struct uvm_range_copies *out = (void *)(uintptr_t)arg->copies;

	fake.queries++;
	if (arg->address >> 47)
		return -EINVAL;
	arg->out_base = fake.policy.base;
	arg->out_length = fake.policy.length;
	arg->out_kind = UVM_RANGE_MANAGED;
	arg->out_policy = fake.policy.switches;
	for (uint32_t i = 0; i < fake.copies && i < arg->count; i++)
		out[i] = (struct uvm_range_copies){
			.id = i + 1 == fake.copies ? UVM_PROCESSOR_CPU : i,
			.pages = 10 + i,
		};
	arg->out_count = fake.copies;
	fake.copies += fake.late_copies;
	fake.late_copies = 0;
	return 0;
}

static int do_policy(unsigned int cmd, void *arg)
{
	switch (cmd) {
	case UVM_CMD_SET_PREFERRED_LOCATION:
		return do_preferred(arg);
	case UVM_CMD_SET_ACCESSED_BY:
		return do_accessed_by(arg);
	case UVM_CMD_SET_FAULT_MIGRATION:
		return do_switch(arg, UVM_POLICY_FAULT_MIGRATION);
	case UVM_CMD_SET_PREFETCH:
		return do_switch(arg, UVM_POLICY_PREFETCH);
	case UVM_CMD_SET_READ_MOSTLY:
		return do_switch(arg, UVM_POLICY_READ_MOSTLY);
	case UVM_CMD_CREATE_RANGE_GROUP:
		return do_create_group(arg);
	case UVM_CMD_DESTROY_RANGE_GROUP:
		return do_destroy_group(arg);
	case UVM_CMD_SET_RANGE_GROUP:
		return do_set_group(arg);
	case UVM_CMD_ALLOW_MIGRATION:
		return do_allow(arg);
	case UVM_CMD_SET_ACCESS_COUNTERS:
		return do_counters(arg);
	case UVM_CMD_QUERY_MEMORY:
		return do_query_memory(arg);
	case UVM_CMD_SET_MEMORY_LIMIT:
		return do_memory_limit(arg);
	case UVM_CMD_SET_MEMORY_EVENT:
		return do_memory_event(arg);
	case UVM_CMD_DISCARD:
		return do_discard(arg);
	case UVM_CMD_QUERY_RANGE:
		return do_query_range(arg);
	default:
		return do_query_policy(arg);
	}
}

/* How long each structure is. */

static const size_t arg_size[] = {
	[UVM_CMD_INFO - UVM_CMD_BASE] = sizeof(struct uvm_info),
	[UVM_CMD_INIT - UVM_CMD_BASE] = sizeof(struct uvm_init),
	[UVM_CMD_MM_INIT - UVM_CMD_BASE] = sizeof(struct uvm_mm_init),
	[UVM_CMD_ENUM_GPUS - UVM_CMD_BASE] = sizeof(struct uvm_enum_gpus),
	[UVM_CMD_REGISTER_GPU - UVM_CMD_BASE] = sizeof(struct uvm_register_gpu),
	[UVM_CMD_UNREGISTER_GPU - UVM_CMD_BASE] = sizeof(struct uvm_unregister_gpu),
	[UVM_CMD_CHANNEL_CREATE - UVM_CMD_BASE] = sizeof(struct uvm_channel_create),
	[UVM_CMD_CHANNEL_SUBMIT - UVM_CMD_BASE] = sizeof(struct uvm_channel_submit),
	[UVM_CMD_CHANNEL_QUERY - UVM_CMD_BASE] = sizeof(struct uvm_channel_query),
	[UVM_CMD_CHANNEL_DESTROY - UVM_CMD_BASE] = sizeof(struct uvm_channel_destroy),
	[UVM_CMD_WAIT - UVM_CMD_BASE] = sizeof(struct uvm_wait),
	[UVM_CMD_MIGRATE - UVM_CMD_BASE] = sizeof(struct uvm_migrate),
	[UVM_CMD_QUERY_RESIDENCY - UVM_CMD_BASE] = sizeof(struct uvm_query_residency),
	[UVM_CMD_QUERY_PROCESSORS - UVM_CMD_BASE] = sizeof(struct uvm_query_processors),
	[UVM_CMD_SET_PREFERRED_LOCATION - UVM_CMD_BASE] =
		sizeof(struct uvm_set_preferred_location),
	[UVM_CMD_SET_ACCESSED_BY - UVM_CMD_BASE] = sizeof(struct uvm_set_accessed_by),
	[UVM_CMD_SET_FAULT_MIGRATION - UVM_CMD_BASE] = sizeof(struct uvm_set_switch),
	[UVM_CMD_SET_PREFETCH - UVM_CMD_BASE] = sizeof(struct uvm_set_switch),
	[UVM_CMD_SET_READ_MOSTLY - UVM_CMD_BASE] = sizeof(struct uvm_set_switch),
	[UVM_CMD_CREATE_RANGE_GROUP - UVM_CMD_BASE] =
		sizeof(struct uvm_create_range_group),
	[UVM_CMD_DESTROY_RANGE_GROUP - UVM_CMD_BASE] =
		sizeof(struct uvm_destroy_range_group),
	[UVM_CMD_SET_RANGE_GROUP - UVM_CMD_BASE] = sizeof(struct uvm_set_range_group),
	[UVM_CMD_ALLOW_MIGRATION - UVM_CMD_BASE] = sizeof(struct uvm_allow_migration),
	[UVM_CMD_QUERY_POLICY - UVM_CMD_BASE] = sizeof(struct uvm_query_policy),
	[UVM_CMD_SET_ACCESS_COUNTERS - UVM_CMD_BASE] =
		sizeof(struct uvm_set_access_counters),
	[UVM_CMD_QUERY_MEMORY - UVM_CMD_BASE] = sizeof(struct uvm_query_memory),
	[UVM_CMD_SET_MEMORY_LIMIT - UVM_CMD_BASE] =
		sizeof(struct uvm_set_memory_limit),
	[UVM_CMD_SET_MEMORY_EVENT - UVM_CMD_BASE] =
		sizeof(struct uvm_set_memory_event),
	[UVM_CMD_DISCARD - UVM_CMD_BASE] = sizeof(struct uvm_discard),
	[UVM_CMD_QUERY_RANGE - UVM_CMD_BASE] = sizeof(struct uvm_query_range),
};

static int dispatch(int fd, unsigned long cmd, void *arg)
{
	const struct head *head = arg;
	unsigned int nr = _IOC_NR(cmd);

	if (_IOC_TYPE(cmd) != UVM_TYPE || nr < UVM_CMD_BASE ||
	    nr > UVM_CMD_QUERY_RANGE)
		return -ENOTTY;
	if (head->size != arg_size[nr - UVM_CMD_BASE] ||
	    head->flags & ~(nr == UVM_CMD_DISCARD ? UVM_DISCARD_EAGER : 0))
		return -EINVAL;
	if (fake.fail_cmd == nr)
		return -fake.fail_errno;

	switch (nr) {
	case UVM_CMD_INFO:
		return do_info(arg);
	case UVM_CMD_INIT:
		if (role[fd] != 'f')
			return -EBADFD;
		role[fd] = 'v';
		return 0;
	case UVM_CMD_MM_INIT:
		return role[fd] == 'f' ? do_mm_init(fd, arg) : -EBADFD;
	}

	if (role[fd] != 'v')
		return -EBADFD;
	switch (nr) {
	case UVM_CMD_ENUM_GPUS:
		return do_enum(arg);
	case UVM_CMD_REGISTER_GPU:
		return do_register(arg);
	case UVM_CMD_UNREGISTER_GPU:
		return do_unregister(arg);
	case UVM_CMD_CHANNEL_CREATE:
		((struct uvm_channel_create *)arg)->out_channel = 3;
		return 0;
	case UVM_CMD_CHANNEL_SUBMIT:
		return do_submit(arg);
	case UVM_CMD_CHANNEL_QUERY:
		return do_channel_query(arg);
	case UVM_CMD_CHANNEL_DESTROY:
		return ((struct uvm_channel_destroy *)arg)->channel == 3 ?
		       0 : -ENOENT;
	case UVM_CMD_WAIT:
		return do_wait(arg);
	case UVM_CMD_MIGRATE:
		return do_migrate(arg);
	case UVM_CMD_QUERY_PROCESSORS:
		return do_processors(arg);
	case UVM_CMD_QUERY_RESIDENCY:
		return do_query(arg);
	default:
		return do_policy(nr, arg);
	}
}

int __wrap_ioctl(int fd, unsigned long cmd, ...)
{
	va_list args;
	void *arg;
	int ret;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);

	if (fd < 0 || fd >= MAX_FD || !role[fd])
		return __real_ioctl(fd, cmd, arg);
	ret = dispatch(fd, cmd, arg);
	if (ret == -EINVAL || ret == -ENOTTY || ret == -EBADFD)
		fake.bad_calls++;
	errno = -ret;
	return ret ? -1 : 0;
}
