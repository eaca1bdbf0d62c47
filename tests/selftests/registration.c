// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves what holds of GPUs that come and go: which ones a VA space takes, what
 * UVM_UNREGISTER_GPU brings home and counts, what is left when a GPU is unbound from
 * its driver under all sorts of use, what UVM_QUERY_PROCESSORS says, and how a VA
 * space that belongs to no process is shared by several. No byte is ever lost, and
 * unbinding always comes to an end.
 *
 * A guest has one sort of memory, private or what the CPU can address. One that has
 * both is for the tests of what doesn't mix, and the rest is skipped there.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "lib_device.h"
#include "lib_uvm.h"

static const uint8_t nobody[UVM_UUID_LEN] = "no such GPU";

/* ---- what every test needs ---- */

static bool all_sorts(void)
{
	struct uvm_gpu_info gpu;

	return gpu_find(UVM_MEMORY_PRIVATE, 0, &gpu) &&
	       (gpu_find(UVM_MEMORY_COHERENT, 0, &gpu) ||
		gpu_find(UVM_MEMORY_NUMA, 0, &gpu));
}

static void one_sort(void)
{
	if (all_sorts())
		SKIP("is for guests with one sort of memory");
}

static void need(int kind, int nth, struct uvm_gpu_info *gpu)
{
	one_sort();
	gpu_need(kind, nth, gpu);
}

/* Pages that are counted move by request only. */
static void open_one(struct fix *f, const struct variant *v)
{
	one_sort();
	fix_open(f, v);
	f->stay = true;
}

static void open_pair(struct fix *f, const struct variant *v)
{
	one_sort();
	fix_pair(f, v);
	f->stay = true;
}

static bool is_numa(const struct fix *f)
{
	return f->gpu.memory_kind == UVM_MEMORY_NUMA;
}

static bool is_private(const struct fix *f)
{
	return f->gpu.memory_kind == UVM_MEMORY_PRIVATE;
}

static int migrate_gpu(struct fix *f, const void *p, size_t length,
		       struct uvm_migrate *m)
{
	return migrate(f->s.fd, p, length, UVM_DEST_GPU, 0, f->gpu.uuid, m);
}

static int nop(int fd, uint32_t channel)
{
	struct uvm_sim_cmd c = CMD(NOP);

	return channel_run(fd, channel, &c, 1);
}

/*
 * A command that runs until it is stopped. The page it adds to is its own, and in system
 * memory, where the CPU can watch it without a hand in the matter.
 */
static volatile uint64_t *endless(int fd, uint32_t channel, uint64_t *point)
{
	uint64_t *counter = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uvm_sim_cmd c = CMD(ATOMIC_ADD, .dst = ADDR(counter), .arg0 = 1,
				   .arg1 = 1ULL << 48);

	stay(fd, counter, PAGE);
	*counter = 0;
	ASSERT_RET(channel_submit(fd, channel, &c, 1, point), 0);
	return counter;
}

/* The same without a store: a pointer to itself. So no page moves for it, ever. */
static void endless_loads(int fd, uint32_t channel)
{
	uint64_t *p = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uvm_sim_cmd c = CMD(CHASE, .dst = ADDR(p + 1), .src = ADDR(p),
				   .arg0 = 1ULL << 48);

	stay(fd, p, PAGE);
	*p = ADDR(p);
	ASSERT_RET(channel_submit(fd, channel, &c, 1, NULL), 0);
}

/* A GPU that is a NUMA node has only system memory to count in. */
static void need_endless(const struct fix *f)
{
	if (f->gpu.memory_kind == UVM_MEMORY_NUMA &&
	    !(feature_mask() & UVM_FEATURE_DEVICE_PRIVATE))
		SKIP("this kernel gives no page to a GPU for atomics");
}

static bool rises(volatile uint64_t *counter)
{
	uint64_t was = *counter;

	return SOON(*counter != was, 10);
}

static uint32_t state_of(int fd, uint32_t channel)
{
	struct uvm_channel_query q;

	ASSERT_RET(channel_query(fd, channel, &q), 0);
	return q.out_state;
}

static unsigned long count_where(int fd, const void *p, size_t length, int where)
{
	size_t i, n = length / PAGE, found = 0;
	struct uvm_page_state *st = calloc(n, sizeof(*st));

	ASSERT_TRUE(st != NULL);
	ASSERT_RET(residency(fd, p, length, st), 0);
	for (i = 0; i < n; i++)
		found += st[i].where == where;
	free(st);
	return found;
}

/* Pages that process @pid maps, as its page table says: one in private memory isn't. */
static unsigned long count_mapped(pid_t pid, const void *p, size_t length)
{
	size_t i, n = length / PAGE, found = 0;
	uint64_t *entry = calloc(n, sizeof(*entry));
	char path[64];
	int fd;

	ASSERT_TRUE(entry != NULL);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(pread(fd, entry, n * 8, ADDR(p) / PAGE * 8), n * 8);
	close(fd);
	for (i = 0; i < n; i++)
		found += entry[i] >> 63;
	free(entry);
	return found;
}

/* Users of the software GPUs' module, or -1 where the kernel doesn't say */
static long module_users(void)
{
	return read_number("/sys/module/uvm_sim/refcnt");
}

static bool module_users_return(long was)
{
	return SOON(module_users() == was, 5);
}

/* ---- threads ---- */

struct waiter {
	int fd;
	uint32_t channel;
	uint64_t point;
	uint64_t completed;
	volatile pid_t tid;
	int ret;
	pthread_t thread;
};

static void *wait_forever(void *arg)
{
	struct waiter *w = arg;

	w->tid = syscall(SYS_gettid);
	w->ret = channel_wait(w->fd, w->channel, w->point, UVM_WAIT_FOREVER,
			      &w->completed);
	return NULL;
}

static void waiter_start(struct waiter *w, int fd, uint32_t channel, uint64_t point)
{
	*w = (struct waiter){
		.fd = fd, .channel = channel, .point = point, .ret = 1,
	};
	ASSERT_EQ(pthread_create(&w->thread, NULL, wait_forever, w), 0);
	ASSERT_TRUE(SOON(w->tid, 10));
	ASSERT_TRUE(thread_sleeps(w->tid));
	EXPECT_EQ(w->ret, 1);
}

static void waiter_end(struct waiter *w, int want)
{
	pthread_join(w->thread, NULL);
	EXPECT_RET(w->ret, want);
	EXPECT_LT(w->completed, w->point);
}

/* ---- a GPU comes back ---- */

/* Registers it anew, with a channel. */
static void use_again(struct fix *f)
{
	ASSERT_RET(register_gpu(f->s.fd, f->gpu.uuid), 0);
	ASSERT_RET(channel_create(f->s.fd, f->gpu.uuid, &f->channel), 0);
	EXPECT_RET(nop(f->s.fd, f->channel), 0);
}

/* Whatever names a GPU that is gone */
static void expect_gone(struct fix *f, const void *p)
{
	struct uvm_unregister_gpu u;
	struct uvm_processor pr[4];
	struct uvm_migrate m;
	uint32_t channel;

	EXPECT_RET(register_gpu(f->s.fd, f->gpu.uuid), -ENODEV);
	EXPECT_RET(unregister_counted(f->s.fd, f->gpu.uuid, &u), -ENODEV);
	EXPECT_RET(channel_create(f->s.fd, f->gpu.uuid, &channel), -ENODEV);
	EXPECT_RET(migrate_gpu(f, p, PAGE, &m), -ENODEV);
	EXPECT_EQ(processors(f->s.fd, pr, 4), f->pair ? 2 : 1);
	EXPECT_EQ(pr[0].id, UVM_PROCESSOR_CPU);
}

/* A channel whose GPU is gone, and its last point, which it has not reached */
static void expect_stopped(int fd, uint32_t channel, uint64_t point)
{
	struct uvm_sim_cmd c = CMD(NOP);

	EXPECT_EQ(state_of(fd, channel), UVM_CHANNEL_STOPPED);
	EXPECT_RET(channel_submit(fd, channel, &c, 1, NULL), -ENODEV);
	EXPECT_RET(channel_wait(fd, channel, 0, UVM_WAIT_FOREVER, NULL), 0);
	EXPECT_RET(channel_wait(fd, channel, point, 0, NULL), -ECANCELED);
	EXPECT_RET(channel_wait(fd, channel, point, UVM_WAIT_FOREVER, NULL),
		   -ECANCELED);
}

/* ---- what registering says ---- */

static bool node_has_cpus(int node)
{
	char path[80], text[200];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
	return read_text(path, text, sizeof(text)) && isdigit(text[0]);
}

TEST_V(register_outs, kinds)
{
	struct uvm_register_gpu r = { .size = sizeof(r) };
	struct uvm_processor pr[2];
	struct uvm_gpu_info gpu;
	char path[80];
	struct space s;

	need(v->kind, 0, &gpu);
	ASSERT_RET(space_open(&s), 0);
	memcpy(r.uuid, gpu.uuid, UVM_UUID_LEN);
	r.out_numa_enabled = 77;
	r.out_numa_node = 77;
	ASSERT_RET(uvm_ioctl(s.fd, UVM_REGISTER_GPU, &r), 0);
	EXPECT_EQ(r.out_numa_enabled, v->kind == UVM_MEMORY_NUMA);
	EXPECT_EQ(r.out_numa_node, gpu.numa_node);
	if (v->kind == UVM_MEMORY_NUMA) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d",
			 r.out_numa_node);
		EXPECT_EQ(access(path, F_OK), 0);
		EXPECT_TRUE(!node_has_cpus(r.out_numa_node));
	} else {
		EXPECT_EQ(r.out_numa_node, -1);
	}
	ASSERT_EQ(processors(s.fd, pr, 2), 2);
	EXPECT_EQ(pr[1].nearest_node, gpu.nearest_node);
	EXPECT_GE(gpu.nearest_node, -1);
	EXPECT_TRUE(gpu.nearest_node < 0 || node_has_cpus(gpu.nearest_node));
	/* refused: nothing is said */
	r.out_numa_enabled = 77;
	r.out_numa_node = 77;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_REGISTER_GPU, &r), -EEXIST);
	EXPECT_EQ(r.out_numa_enabled, 77);
	EXPECT_EQ(r.out_numa_node, 77);
	space_close(&s);
}

/* What libc hands to a program: -1 and errno, for every row that can be had. */
struct row {
	const char *name;
	int error;
	int fd;
	unsigned long cmd;
	const void *arg;
};

static void expect_errno(const struct row *r)
{
	unsigned char copy[256];
	unsigned char *arg = copy;
	int ret;

	memset(copy, 0, sizeof(copy));
	if (r->arg)
		memcpy(copy, r->arg, *(const uint32_t *)r->arg);
	else
		arg = NULL;
	errno = 0;
	ret = ioctl(r->fd, r->cmd, arg);
	harness_check(ret == -1 && errno == r->error, false, __FILE__, __LINE__,
		      "%s: wanted -1 and %s, saw %d and %s", r->name,
		      strerrorname_np(r->error), ret, strerrorname_np(errno));
	if (r->arg)
		EXPECT_EQ(memcmp(copy, r->arg, *(const uint32_t *)r->arg), 0);
}

TEST_V(errnos, kinds)
{
	struct uvm_register_gpu reg, reg_nobody, reg_flags, reg_short, reg_tail[2];
	struct uvm_unregister_gpu un, un_nobody, un_flags, un_short;
	struct uvm_query_processors qp, qp_zero, qp_long, qp_reserved, qp_bad;
	struct uvm_mm_init mm_multi = { .size = sizeof(mm_multi) };
	struct uvm_mm_init mm_pipe = { .size = sizeof(mm_pipe) };
	struct uvm_init init_flags = { .size = sizeof(init_flags), .flags = 2 };
	struct uvm_processor room[8];
	struct uvm_gpu_info gpu;
	struct space alive, empty, dead;
	int fresh, only, multi, pipes[2];
	size_t i;
	pid_t pid;

	need(v->kind, 0, &gpu);
	ASSERT_RET(space_open(&alive), 0);
	ASSERT_RET(register_gpu(alive.fd, gpu.uuid), 0);
	ASSERT_RET(space_open(&empty), 0);
	ASSERT_RET(space_open(&dead), 0);
	close(dead.mm_fd);
	fresh = uvm_open();
	only = uvm_open();
	multi = uvm_open();
	ASSERT_GE(fresh, 0);
	ASSERT_RET(va_init(only, 0), 0);
	ASSERT_RET(va_init(multi, UVM_INIT_MULTI_PROCESS), 0);
	ASSERT_EQ(pipe(pipes), 0);

	reg = (struct uvm_register_gpu){ .size = sizeof(reg) };
	memcpy(reg.uuid, gpu.uuid, UVM_UUID_LEN);
	reg_nobody = reg;
	memcpy(reg_nobody.uuid, nobody, UVM_UUID_LEN);
	reg_flags = reg;
	reg_flags.flags = 1;
	reg_short = reg;
	reg_short.size = sizeof(reg) - 1;
	memset(reg_tail, 0, sizeof(reg_tail));
	reg_tail[0] = reg;
	reg_tail[0].size = sizeof(reg_tail);
	reg_tail[1].out_numa_node = 1;

	un = (struct uvm_unregister_gpu){ .size = sizeof(un) };
	un.out_moved = 55;
	un.out_left = 66;
	memcpy(un.uuid, gpu.uuid, UVM_UUID_LEN);
	un_nobody = un;
	memcpy(un_nobody.uuid, nobody, UVM_UUID_LEN);
	un_flags = un;
	un_flags.flags = 1;
	un_short = un;
	un_short.size = offsetof(struct uvm_unregister_gpu, out_moved) - 1;

	qp = (struct uvm_query_processors){
		.size = sizeof(qp),
		.processors = ADDR(room),
		.count = 8,
		.entry_size = sizeof(room[0]),
		.out_count = 77,
	};
	qp_zero = qp;
	qp_zero.entry_size = 0;
	qp_long = qp;
	qp_long.entry_size = PAGE + 1;
	qp_reserved = qp;
	qp_reserved.__reserved = 1;
	qp_bad = qp;
	qp_bad.processors = 8;
	mm_multi.va_space_fd = multi;
	mm_pipe.va_space_fd = pipes[0];

	const struct row rows[] = {
		{ "a flag nobody knows", EINVAL, fresh, UVM_INIT, &init_flags },
		{ "no mm file for it", EOPNOTSUPP, fresh, UVM_MM_INIT, &mm_multi },
		{ "a pipe", EBADF, fresh, UVM_MM_INIT, &mm_pipe },
		{ "register: flags", EINVAL, alive.fd, UVM_REGISTER_GPU, &reg_flags },
		{ "register: short", EINVAL, alive.fd, UVM_REGISTER_GPU, &reg_short },
		{ "register: tail", E2BIG, alive.fd, UVM_REGISTER_GPU, &reg_tail },
		{ "register: NULL", EFAULT, alive.fd, UVM_REGISTER_GPU, NULL },
		{ "register: twice", EEXIST, alive.fd, UVM_REGISTER_GPU, &reg },
		{ "register: nobody", ENODEV, alive.fd, UVM_REGISTER_GPU, &reg_nobody },
		{ "register: fresh", EBADFD, fresh, UVM_REGISTER_GPU, &reg },
		{ "register: no mm", EBADFD, only, UVM_REGISTER_GPU, &reg },
		{ "register: mm file", EBADFD, alive.mm_fd, UVM_REGISTER_GPU, &reg },
		{ "register: released", ESRCH, dead.fd, UVM_REGISTER_GPU, &reg },
		{ "unregister: flags", EINVAL, alive.fd, UVM_UNREGISTER_GPU, &un_flags },
		{ "unregister: short", EINVAL, alive.fd, UVM_UNREGISTER_GPU, &un_short },
		{ "unregister: NULL", EFAULT, alive.fd, UVM_UNREGISTER_GPU, NULL },
		{ "unregister: nobody", ENODEV, alive.fd, UVM_UNREGISTER_GPU, &un_nobody },
		{ "unregister: not here", ENOENT, empty.fd, UVM_UNREGISTER_GPU, &un },
		{ "unregister: multi", ENOENT, multi, UVM_UNREGISTER_GPU, &un },
		{ "unregister: released", ENOENT, dead.fd, UVM_UNREGISTER_GPU, &un },
		{ "unregister: fresh", EBADFD, fresh, UVM_UNREGISTER_GPU, &un },
		{ "unregister: no mm", EBADFD, only, UVM_UNREGISTER_GPU, &un },
		{ "processors: size 0", EINVAL, alive.fd, UVM_QUERY_PROCESSORS, &qp_zero },
		{ "processors: size", EINVAL, alive.fd, UVM_QUERY_PROCESSORS, &qp_long },
		{ "processors: reserved", EINVAL, alive.fd, UVM_QUERY_PROCESSORS,
		  &qp_reserved },
		{ "processors: array", EFAULT, alive.fd, UVM_QUERY_PROCESSORS, &qp_bad },
		{ "processors: fresh", EBADFD, fresh, UVM_QUERY_PROCESSORS, &qp },
		{ "processors: no mm", EBADFD, only, UVM_QUERY_PROCESSORS, &qp },
		{ "processors: mm file", EBADFD, alive.mm_fd, UVM_QUERY_PROCESSORS, &qp },
		{ "processors: a pipe", ENOTTY, pipes[0], UVM_QUERY_PROCESSORS, &qp },
	};
	const struct row foreign[] = {
		{ "register: foreign", EPERM, alive.fd, UVM_REGISTER_GPU, &reg },
		{ "unregister: foreign", EPERM, alive.fd, UVM_UNREGISTER_GPU, &un },
		{ "processors: foreign", EPERM, alive.fd, UVM_QUERY_PROCESSORS, &qp },
	};

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect_errno(&rows[i]);
	pid = child();
	if (!pid) {
		for (i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
			expect_errno(&foreign[i]);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	/* nothing of it did anything, and the fresh file is fresh */
	EXPECT_RET(register_gpu(alive.fd, gpu.uuid), -EEXIST);
	EXPECT_EQ(processors(alive.fd, room, 8), 2);
	EXPECT_EQ(processors(empty.fd, room, 8), 1);
	EXPECT_RET(mm_init(fresh, only), 0);
	space_close(&alive);
	space_close(&empty);
}

/* ---- VA spaces of several processes ---- */

static int multi_open(void)
{
	int fd = uvm_open();

	ASSERT_GE(fd, 0);
	ASSERT_RET(va_init(fd, UVM_INIT_MULTI_PROCESS), 0);
	return fd;
}

TEST_V(multi_commands, kinds)
{
	struct uvm_register_gpu r = { .size = sizeof(r) };
	struct uvm_info info = { .size = sizeof(info) };
	struct uvm_unregister_gpu u;
	struct uvm_channel_query q;
	struct uvm_page_state st;
	struct uvm_processor pr[2];
	struct uvm_sim_cmd c = CMD(NOP);
	struct uvm_gpu_info gpu;
	struct uvm_migrate m;
	uint32_t channel;
	uint64_t point;
	int fd, mm;
	char *p = anon(PAGE, PROT_READ | PROT_WRITE, 0);

	need(v->kind, 0, &gpu);
	*p = 1;
	fd = multi_open();
	mm = uvm_open();
	EXPECT_RET(va_init(fd, 0), -EBADFD);
	EXPECT_RET(va_init(fd, UVM_INIT_MULTI_PROCESS), -EBADFD);
	EXPECT_RET(mm_init(mm, fd), -EOPNOTSUPP);
	EXPECT_RET(mm_init(fd, mm), -EBADFD);
	EXPECT_RET(uvm_ioctl(fd, UVM_INFO, &info), 0);
	EXPECT_EQ(processors(fd, pr, 2), 1);
	memcpy(r.uuid, gpu.uuid, UVM_UUID_LEN);
	EXPECT_RET(uvm_ioctl(fd, UVM_REGISTER_GPU, &r), 0);
	EXPECT_EQ(r.out_numa_enabled, v->kind == UVM_MEMORY_NUMA);
	EXPECT_EQ(r.out_numa_node, gpu.numa_node);
	EXPECT_RET(register_gpu(fd, gpu.uuid), -EEXIST);
	EXPECT_RET(register_gpu(fd, nobody), -ENODEV);
	EXPECT_EQ(processors(fd, pr, 2), 2);
	EXPECT_EQ(pr[1].id, gpu.id);
	EXPECT_RET(channel_create(fd, gpu.uuid, &channel), 0);
	EXPECT_RET(channel_submit(fd, channel, &c, 1, &point), 0);
	EXPECT_RET(channel_wait(fd, channel, point, PATIENCE, NULL), 0);
	EXPECT_RET(channel_query(fd, channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_RUNNING);
	EXPECT_EQ(q.out_completed, point);
	EXPECT_RET(migrate(fd, p, PAGE, UVM_DEST_GPU, 0, gpu.uuid, &m), -EOPNOTSUPP);
	EXPECT_RET(migrate(fd, p, PAGE, UVM_DEST_CPU, 0, NULL, &m), -EOPNOTSUPP);
	EXPECT_RET(migrate(fd, p, PAGE, UVM_DEST_CPU_NODE, 0, NULL, &m), -EOPNOTSUPP);
	EXPECT_RET(residency(fd, p, PAGE, &st), -EOPNOTSUPP);
	EXPECT_RET(channel_destroy(fd, channel), 0);
	EXPECT_RET(channel_query(fd, channel, &q), -ENOENT);
	EXPECT_RET(unregister_counted(fd, gpu.uuid, &u), 0);
	EXPECT_EQ(u.out_moved, 0);
	EXPECT_EQ(u.out_left, 0);
	EXPECT_RET(unregister_gpu(fd, gpu.uuid), -ENOENT);
	EXPECT_RET(channel_create(fd, gpu.uuid, &channel), -ENOENT);
	close(fd);
	/* the other file is fresh still */
	EXPECT_RET(va_init(mm, 0), 0);
	close(mm);
}

/* A child works with it, the parent goes on, another child has it last. */
TEST_V(multi_inherited, kinds)
{
	struct uvm_gpu_info gpu;
	int fd, sync[2];
	uint32_t *channel = shared_page();
	long users;
	pid_t pid;
	char byte;

	need(v->kind, 0, &gpu);
	users = module_users();
	fd = multi_open();
	pid = child();
	if (!pid) {
		ASSERT_RET(register_gpu(fd, gpu.uuid), 0);
		ASSERT_RET(channel_create(fd, gpu.uuid, channel), 0);
		EXPECT_RET(nop(fd, *channel), 0);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_RET(register_gpu(fd, gpu.uuid), -EEXIST);
	EXPECT_RET(nop(fd, *channel), 0);
	if (users >= 0)
		EXPECT_GT(module_users(), users);

	ASSERT_EQ(pipe(sync), 0);
	pid = child();
	if (!pid) {
		close(sync[1]);
		EXPECT_EQ(read(sync[0], &byte, 1), 0);
		EXPECT_RET(register_gpu(fd, gpu.uuid), -EEXIST);
		EXPECT_RET(nop(fd, *channel), 0);
		child_exit();
	}
	close(fd);
	close(sync[1]);
	EXPECT_EQ(child_wait(pid), 0);
	/* the last one closed it, and so nobody uses the GPU any more */
	EXPECT_TRUE(module_users_return(users));
}

/* Who made it is gone when somebody gets it out of a socket. */
TEST_V(multi_sent, kinds)
{
	struct uvm_channel_query q;
	struct uvm_gpu_info gpu;
	int fd, pair[2];
	uint32_t *channel = shared_page();
	long users;
	pid_t pid;

	need(v->kind, 0, &gpu);
	users = module_users();
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pid = child();
	if (!pid) {
		fd = multi_open();
		ASSERT_RET(register_gpu(fd, gpu.uuid), 0);
		ASSERT_RET(channel_create(fd, gpu.uuid, channel), 0);
		ASSERT_RET(fd_send(pair[0], fd), 0);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	if (users >= 0)
		EXPECT_GT(module_users(), users);
	fd = fd_receive(pair[1]);
	ASSERT_GE(fd, 0);
	EXPECT_RET(register_gpu(fd, gpu.uuid), -EEXIST);
	EXPECT_RET(nop(fd, *channel), 0);
	EXPECT_RET(channel_query(fd, *channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_RUNNING);
	close(fd);
	EXPECT_TRUE(module_users_return(users));

	/* nobody ever takes it out */
	pid = child();
	if (!pid) {
		fd = multi_open();
		ASSERT_RET(register_gpu(fd, gpu.uuid), 0);
		ASSERT_RET(channel_create(fd, gpu.uuid, channel), 0);
		ASSERT_RET(fd_send(pair[0], fd), 0);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	close(pair[0]);
	close(pair[1]);
	EXPECT_TRUE(module_users_return(users));
}

static void expect_no_mapping(int fd, const struct uvm_gpu_info *gpu,
			      const struct uvm_sim_cmd *c, uint64_t address,
			      uint32_t access)
{
	struct uvm_channel_query q;
	uint32_t channel;
	uint64_t point;

	ASSERT_RET(channel_create(fd, gpu->uuid, &channel), 0);
	ASSERT_RET(channel_submit(fd, channel, c, 1, &point), 0);
	EXPECT_RET(channel_wait(fd, channel, point, PATIENCE, NULL), -ECANCELED);
	ASSERT_RET(channel_query(fd, channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_FAULTED);
	EXPECT_EQ(q.out_reason, UVM_FAULT_NO_MAPPING);
	EXPECT_EQ(q.out_access, access);
	EXPECT_EQ(q.out_address, address);
	EXPECT_RET(channel_submit(fd, channel, c, 1, NULL), -ECANCELED);
	EXPECT_RET(channel_destroy(fd, channel), 0);
}

/* Nobody's memory is in it, that of the process that made it included. */
TEST_V(multi_faults, kinds)
{
	struct uvm_gpu_info gpu;
	struct uvm_sim_cmd c;
	uint32_t channel;
	uint64_t at;
	pid_t pid;
	char *p;
	int fd, round;

	need(v->kind, 0, &gpu);
	p = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(p, 4 * PAGE, 1);
	fd = multi_open();
	ASSERT_RET(register_gpu(fd, gpu.uuid), 0);
	ASSERT_RET(channel_create(fd, gpu.uuid, &channel), 0);
	pid = child();
	for (round = 0; round < 2; round++) {
		at = ADDR(p) + PAGE + 123;
		c = CMD(FILL, .dst = at, .length = 8, .arg0 = 1);
		expect_no_mapping(fd, &gpu, &c, at, UVM_ACCESS_WRITE);
		c = CMD(TOUCH, .dst = at, .length = 1, .arg0 = 1);
		expect_no_mapping(fd, &gpu, &c, at, UVM_ACCESS_READ);
		at = ADDR(p) + 2 * PAGE;
		c = CMD(ATOMIC_ADD, .dst = at, .arg0 = 1, .arg1 = 1);
		expect_no_mapping(fd, &gpu, &c, at, UVM_ACCESS_ATOMIC);
		c = CMD(TOUCH, .dst = 8, .length = 1, .arg0 = 1);
		expect_no_mapping(fd, &gpu, &c, 8, UVM_ACCESS_READ);
		/* nobody else noticed */
		EXPECT_RET(nop(fd, channel), 0);
	}
	EXPECT_PATTERN(p, 4 * PAGE, 1);
	if (!pid)
		child_exit();
	EXPECT_EQ(child_wait(pid), 0);
	close(fd);
}

/* A wait in one process is ended by another. */
TEST_V(multi_waiters, kinds)
{
	struct uvm_sim_cmd many[64];
	struct uvm_gpu_info gpu;
	uint64_t *point = shared_page();
	uint32_t *channel = shared_page();
	uint32_t first;
	int fd, i, ret, sync[2];
	pid_t pid;
	char byte;

	need(v->kind, 0, &gpu);
	for (i = 0; i < 64; i++)
		many[i] = CMD(NOP);
	fd = multi_open();
	ASSERT_RET(register_gpu(fd, gpu.uuid), 0);
	ASSERT_RET(channel_create(fd, gpu.uuid, channel), 0);
	first = *channel;
	ASSERT_EQ(pipe(sync), 0);
	pid = child();
	if (!pid) {
		ASSERT_EQ(write(sync[1], "w", 1), 1);
		/* until the parent destroys it: there is always one more point */
		do {
			ret = channel_submit(fd, first, many, 64, point);
			if (!ret)
				ret = channel_wait(fd, first, *point,
						   UVM_WAIT_FOREVER, NULL);
		} while (!ret || ret == -EBUSY);
		EXPECT_RET2(ret, -ECANCELED, -ENOENT);
		child_exit();
	}
	ASSERT_EQ(read(sync[0], &byte, 1), 1);
	EXPECT_RET(nop(fd, first), 0);
	EXPECT_RET(channel_destroy(fd, first), 0);
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_RET(register_gpu(fd, gpu.uuid), -EEXIST);
	close(fd);
}

static void expect_one_of(int ret, int a, int b, int c, int d, const char *what)
{
	harness_check(ret == a || ret == b || ret == c || ret == d, false, __FILE__,
		      __LINE__, "%s: saw %s (%d)", what,
		      ret < 0 ? strerrorname_np(-ret) : "success", ret);
}

static void multi_hammer(int fd, const struct uvm_gpu_info *gpu, unsigned int rounds)
{
	uint32_t channel;
	unsigned int i;
	int ret;

	for (i = 0; i < rounds; i++) {
		ret = register_gpu(fd, gpu->uuid);
		expect_one_of(ret, 0, -EEXIST, 0, 0, "register");
		ret = channel_create(fd, gpu->uuid, &channel);
		expect_one_of(ret, 0, -ENOENT, 0, 0, "create");
		if (!ret) {
			ret = nop(fd, channel);
			expect_one_of(ret, 0, -ENOENT, -ECANCELED, 0, "run");
			ret = channel_destroy(fd, channel);
			expect_one_of(ret, 0, -ENOENT, 0, 0, "destroy");
		}
		if (i % 3)
			continue;
		ret = unregister_gpu(fd, gpu->uuid);
		expect_one_of(ret, 0, -ENOENT, 0, 0, "unregister");
	}
}

TEST_V(multi_race, kinds)
{
	unsigned int rounds = harness_rounds(60);
	struct uvm_processor pr[2];
	struct uvm_gpu_info gpu;
	pid_t pid[3];
	int fd, i;

	need(v->kind, 0, &gpu);
	fd = multi_open();
	for (i = 0; i < 3; i++) {
		pid[i] = child();
		if (!pid[i]) {
			multi_hammer(fd, &gpu, rounds);
			child_exit();
		}
	}
	for (i = 0; i < 3; i++)
		EXPECT_EQ(child_wait(pid[i]), 0);
	i = unregister_gpu(fd, gpu.uuid);
	EXPECT_RET2(i, 0, -ENOENT);
	EXPECT_EQ(processors(fd, pr, 2), 1);
	EXPECT_RET(register_gpu(fd, gpu.uuid), 0);
	close(fd);
}

/* ---- what doesn't mix ---- */

static void need_all_sorts(void)
{
	struct uvm_gpu_info gpu;

	if (!all_sorts()) {
		if (gpu_find(UVM_MEMORY_PRIVATE, 0, &gpu))
			SKIP("is for guests with all sorts of memory");
		/* an image that promises private memory has to have some */
		gpu_need(UVM_MEMORY_PRIVATE, 0, &gpu);
	}
}

static void mix_in(int fd, const struct uvm_gpu_info *a, const struct uvm_gpu_info *b)
{
	struct uvm_processor was[3], now[3];
	uint64_t free_was = gpu_free(b);
	uint32_t channel, other;
	long users;

	ASSERT_RET(register_gpu(fd, a->uuid), 0);
	ASSERT_RET(channel_create(fd, a->uuid, &channel), 0);
	ASSERT_EQ(processors(fd, was, 3), 2);
	users = module_users();
	EXPECT_RET(register_gpu(fd, b->uuid), -EOPNOTSUPP);
	EXPECT_RET(register_gpu(fd, b->uuid), -EOPNOTSUPP);
	/* nothing of it is left */
	EXPECT_EQ(processors(fd, now, 3), 2);
	EXPECT_EQ(memcmp(was, now, sizeof(was)), 0);
	EXPECT_EQ(module_users(), users);
	EXPECT_EQ(gpu_free(b), free_was);
	EXPECT_RET(channel_create(fd, b->uuid, &other), -ENOENT);
	EXPECT_RET(unregister_gpu(fd, b->uuid), -ENOENT);
	EXPECT_RET(register_gpu(fd, a->uuid), -EEXIST);
	EXPECT_EQ(state_of(fd, channel), UVM_CHANNEL_RUNNING);
	EXPECT_RET(nop(fd, channel), 0);
	/* it is about what is registered, not what was */
	EXPECT_RET(unregister_gpu(fd, a->uuid), 0);
	EXPECT_RET(register_gpu(fd, b->uuid), 0);
	EXPECT_RET(register_gpu(fd, a->uuid), -EOPNOTSUPP);
	EXPECT_RET(unregister_gpu(fd, b->uuid), 0);
}

static const struct variant spaces[] = {
	{ "space", 0, 0 }, { "multi", UVM_INIT_MULTI_PROCESS, 0 }, { NULL, 0, 0 },
};

/* Every ordered pair: those of a sort go together, the others don't. */
TEST_V(mix_pairs, spaces)
{
	struct uvm_gpu_info gpus[MAX_GPUS];
	int i, k, n, fd;
	struct space s = { .fd = -1, .mm_fd = -1 };

	need_all_sorts();
	n = gpus_list(gpus, MAX_GPUS);
	if (v->kind) {
		fd = multi_open();
	} else {
		ASSERT_RET(space_open(&s), 0);
		fd = s.fd;
	}
	for (i = 0; i < n; i++) {
		for (k = 0; k < n; k++) {
			if (i == k)
				continue;
			if (!gpus_mix(&gpus[i], &gpus[k])) {
				mix_in(fd, &gpus[i], &gpus[k]);
				continue;
			}
			EXPECT_RET(register_gpu(fd, gpus[i].uuid), 0);
			EXPECT_RET(register_gpu(fd, gpus[k].uuid), 0);
			EXPECT_RET(unregister_gpu(fd, gpus[i].uuid), 0);
			EXPECT_RET(unregister_gpu(fd, gpus[k].uuid), 0);
		}
	}
	close(fd);
	if (s.mm_fd >= 0)
		close(s.mm_fd);
}

/* What was migrated before the refusal is where it was. */
TEST(mix_refused_keeps_pages)
{
	struct variant kind = { NULL, 0, false };
	struct uvm_gpu_info other;
	struct uvm_migrate m;
	struct fix f;
	char *p;
	int i;

	need_all_sorts();
	for (i = 0; i < 2; i++) {
		kind.kind = i ? UVM_MEMORY_COHERENT : UVM_MEMORY_PRIVATE;
		gpu_need(i ? UVM_MEMORY_PRIVATE : UVM_MEMORY_COHERENT, 0, &other);
		fix_open(&f, &kind);
		p = fix_pattern(&f, f.length, 1);
		fix_to_gpu(&f, p, f.length);
		EXPECT_RET(register_gpu(f.s.fd, other.uuid), -EOPNOTSUPP);
		EXPECT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_GPU, 0, other.uuid,
				   &m), -ENOENT);
		EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
		EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
		EXPECT_PATTERN(p, f.length, 1);
		fix_close(&f);
		munmap(p, f.length);
	}
}

/* Two VA spaces of a process may have a sort each; its pages go where they are sent. */
TEST(mix_in_two_spaces)
{
	const struct variant a = { NULL, UVM_MEMORY_PRIVATE, false };
	const struct variant b = { NULL, UVM_MEMORY_COHERENT, false };
	struct uvm_unregister_gpu u;
	struct fix f, g;
	unsigned long n;
	char *p;

	need_all_sorts();
	fix_open(&f, &a);
	fix_open(&g, &b);
	p = fix_pattern(&f, f.length, 2);
	n = f.length / PAGE;
	fix_to_gpu(&f, p, f.length);
	fix_to_gpu(&g, p, f.length);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), 0);
	EXPECT_EQ(fix_on_gpu(&g, p, f.length), n);
	EXPECT_EQ(fix_gpu_sum(&g, p, f.length), sum64(p, f.length));
	/* none is on the first one any more */
	EXPECT_RET(unregister_counted(f.s.fd, f.gpu.uuid, &u), 0);
	EXPECT_EQ(u.out_moved, 0);
	EXPECT_EQ(u.out_left, 0);
	EXPECT_EQ(fix_on_gpu(&g, p, f.length), n);
	EXPECT_RET(unregister_counted(g.s.fd, g.gpu.uuid, &u), 0);
	EXPECT_EQ(u.out_moved, n);
	EXPECT_EQ(u.out_left, 0);
	EXPECT_PATTERN(p, f.length, 2);
	fix_close(&f);
	fix_close(&g);
}

struct registrar {
	int fd;
	const uint8_t *uuid;
	pthread_barrier_t *start;
	int ret;
	pthread_t thread;
};

static void *registrar_main(void *arg)
{
	struct registrar *r = arg;

	pthread_barrier_wait(r->start);
	r->ret = register_gpu(r->fd, r->uuid);
	return NULL;
}

/* One of two that don't go together is registered, and one refused. */
TEST(mix_race)
{
	unsigned int i, k, won, rounds = harness_rounds(60);
	struct uvm_gpu_info gpu[2];
	struct uvm_processor pr[3];
	pthread_barrier_t start;
	struct registrar r[2];
	struct space s;

	need_all_sorts();
	gpu_need(UVM_MEMORY_PRIVATE, 0, &gpu[0]);
	gpu_need(UVM_MEMORY_COHERENT, 0, &gpu[1]);
	ASSERT_RET(space_open(&s), 0);
	pthread_barrier_init(&start, NULL, 2);
	for (i = 0; i < rounds; i++) {
		for (k = 0; k < 2; k++) {
			r[k] = (struct registrar){
				.fd = s.fd, .uuid = gpu[k].uuid, .start = &start,
			};
			ASSERT_EQ(pthread_create(&r[k].thread, NULL, registrar_main,
						 &r[k]), 0);
		}
		for (k = 0; k < 2; k++)
			pthread_join(r[k].thread, NULL);
		won = r[0].ret != 0;
		EXPECT_RET(r[won].ret, 0);
		EXPECT_RET(r[!won].ret, -EOPNOTSUPP);
		EXPECT_EQ(processors(s.fd, pr, 3), 2);
		EXPECT_EQ(pr[1].id, gpu[won].id);
		EXPECT_RET(unregister_gpu(s.fd, gpu[won].uuid), 0);
	}
	space_close(&s);
}

/* The same one, by two threads at once: registered once. */
TEST_V(register_race, kinds)
{
	unsigned int i, k, won, rounds = harness_rounds(40);
	pthread_barrier_t start;
	struct uvm_gpu_info gpu;
	struct uvm_processor pr[3];
	struct registrar r[2];
	struct space s;

	need(v->kind, 0, &gpu);
	ASSERT_RET(space_open(&s), 0);
	pthread_barrier_init(&start, NULL, 2);
	for (i = 0; i < rounds; i++) {
		for (k = 0; k < 2; k++) {
			r[k] = (struct registrar){
				.fd = s.fd, .uuid = gpu.uuid, .start = &start,
			};
			ASSERT_EQ(pthread_create(&r[k].thread, NULL, registrar_main,
						 &r[k]), 0);
		}
		for (k = 0; k < 2; k++)
			pthread_join(r[k].thread, NULL);
		won = r[0].ret != 0;
		EXPECT_RET(r[won].ret, 0);
		EXPECT_RET(r[!won].ret, -EEXIST);
		EXPECT_EQ(processors(s.fd, pr, 3), 2);
		EXPECT_RET(unregister_gpu(s.fd, gpu.uuid), 0);
		EXPECT_RET(unregister_gpu(s.fd, gpu.uuid), -ENOENT);
	}
	space_close(&s);
}

/* ---- unregistering brings home ---- */

/* Unregisters the GPU of @f: exactly @pages come home, and none is left. */
static void expect_home(struct fix *f, unsigned long pages)
{
	struct uvm_unregister_gpu u;

	EXPECT_RET(unregister_counted(f->s.fd, f->gpu.uuid, &u), 0);
	EXPECT_EQ(u.out_moved, pages);
	EXPECT_EQ(u.out_left, 0);
}

TEST_V(unregister_home, kinds_huge)
{
	uint64_t was;
	unsigned long n;
	struct fix f;
	char *p;

	open_one(&f, v);
	was = gpu_free(&f.gpu);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 1);
	fix_to_gpu(&f, p, f.length);
	endless_loads(f.s.fd, f.channel);
	expect_home(&f, is_numa(&f) ? 0 : n);
	/* before anybody touches it */
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), is_numa(&f) ? n : 0);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), is_numa(&f) ? 0 : n);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, was));
	EXPECT_PATTERN(p, f.length, 1);
	EXPECT_RET(unregister_gpu(f.s.fd, f.gpu.uuid), -ENOENT);
	EXPECT_RET(channel_destroy(f.s.fd, f.channel), -ENOENT);
	use_again(&f);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	/* nothing there, nothing moves */
	fix_to_cpu(&f, p, f.length);
	expect_home(&f, 0);
	EXPECT_PATTERN(p, f.length, 1);
	fix_close(&f);
}

/* The other GPU, its pages and its channels go on. */
TEST_V(unregister_one_of_two, devices_huge)
{
	volatile uint64_t *counter;
	uint64_t point, sum, *out;
	struct uvm_sim_cmd c;
	struct fix f;
	char *p, *q;

	open_pair(&f, v);
	p = fix_pattern(&f, f.length, 3);
	q = fix_pattern(&f, f.length, 4);
	sum = sum64(q, f.length);
	fix_to_gpu(&f, p, f.length);
	fix_to_gpu2(&f, q, f.length);
	counter = endless(f.s.fd, f.channel2, &point);
	ASSERT_TRUE(rises(counter));
	expect_home(&f, f.length / PAGE);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), f.length / PAGE);
	EXPECT_EQ(fix_on_gpu2(&f, q, f.length), f.length / PAGE);
	EXPECT_TRUE(rises(counter));
	EXPECT_EQ(state_of(f.s.fd, f.channel2), UVM_CHANNEL_RUNNING);
	EXPECT_RET(channel_wait(f.s.fd, f.channel2, point, 0, NULL), -ETIMEDOUT);
	/* it works on, also on what has come home */
	EXPECT_RET(channel_destroy(f.s.fd, f.channel2), 0);
	ASSERT_RET(channel_create(f.s.fd, f.gpu2.uuid, &f.channel2), 0);
	out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	c = CMD(SUM, .dst = ADDR(out), .src = ADDR(q), .length = f.length);
	EXPECT_RET(channel_run(f.s.fd, f.channel2, &c, 1), 0);
	EXPECT_EQ(*out, sum);
	EXPECT_EQ(fix_on_gpu2(&f, q, f.length), f.length / PAGE);
	c = CMD(SUM, .dst = ADDR(out), .src = ADDR(p), .length = f.length);
	EXPECT_RET(channel_run(f.s.fd, f.channel2, &c, 1), 0);
	EXPECT_PATTERN(p, f.length, 3);
	EXPECT_EQ(*out, sum64(p, f.length));
	EXPECT_PATTERN(q, f.length, 4);
	fix_close(&f);
}

/* What can be done to a mapping while its pages are on a GPU */
enum odd { PLAIN, NO_ACCESS, READ_ONLY, SPLIT, LOCKED, MOVED, MOVED_PART, NR_ODD };

static const char * const odd_names[] = {
	"plain", "PROT_NONE", "read-only", "split", "mlocked", "moved", "moved in part",
};

/* A piece goes elsewhere: where it is, and which page of the buffer is its first */
struct piece {
	char *p;
	size_t length;
	size_t first;
};

static void make_odd(enum odd odd, struct piece *a, struct piece *b)
{
	char *to;

	switch (odd) {
	case NO_ACCESS:
		ASSERT_RET(mprotect(a->p, a->length, PROT_NONE), 0);
		break;
	case READ_ONLY:
		ASSERT_RET(mprotect(a->p, a->length, PROT_READ), 0);
		break;
	case SPLIT:
		ASSERT_RET(mprotect(a->p + 7 * PAGE, 3 * PAGE, PROT_READ), 0);
		break;
	case MOVED:
		to = anon_huge(a->length);
		ASSERT_TRUE(mremap(a->p, a->length, a->length,
				   MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
		a->p = to;
		break;
	case MOVED_PART:
		/* the end of it, to a place of another alignment */
		b->length = 16 * PAGE;
		b->first = (a->length - b->length) / PAGE;
		to = anon(b->length + PAGE, PROT_READ | PROT_WRITE, 0);
		b->p = to + PAGE;
		ASSERT_TRUE(mremap(a->p + a->length - b->length, b->length, b->length,
				   MREMAP_MAYMOVE | MREMAP_FIXED, b->p) == b->p);
		a->length -= b->length;
		break;
	default:
		break;
	}
}

static void expect_piece(struct fix *f, const struct piece *a, uint64_t seed)
{
	if (!a->length)
		return;
	ASSERT_RET(mprotect(a->p, a->length, PROT_READ | PROT_WRITE), 0);
	EXPECT_EQ(count_where(f->s.fd, a->p, a->length, UVM_WHERE_CPU),
		  a->length / PAGE);
	EXPECT_EQ(pattern_check_from(a->p, a->length, seed, a->first), -1);
}

static void odd_round(struct fix *f, enum odd odd)
{
	struct piece a = { .length = f->length }, b = { 0 };
	struct uvm_unregister_gpu u;

	a.p = fix_pattern(f, f->length, odd);
	if (odd == LOCKED)
		ASSERT_RET(mlock(a.p, a.length), 0);
	fix_to_gpu(f, a.p, a.length);
	make_odd(odd, &a, &b);
	ASSERT_RET(unregister_counted(f->s.fd, f->gpu.uuid, &u), 0);
	harness_check(u.out_moved == f->length / PAGE && !u.out_left, false, __FILE__,
		      __LINE__, "%s: wanted all %lu pages home, saw %llu moved, %llu left",
		      odd_names[odd], f->length / PAGE,
		      (unsigned long long)u.out_moved, (unsigned long long)u.out_left);
	expect_piece(f, &a, odd);
	expect_piece(f, &b, odd);
	munmap(a.p, a.length);
	if (b.length)
		munmap(b.p, b.length);
	ASSERT_RET(register_gpu(f->s.fd, f->gpu.uuid), 0);
}

TEST_VT(unregister_odd_memory, devices_huge, 60)
{
	struct fix f;
	int odd;

	stay_on_cpu();
	open_one(&f, v);
	for (odd = PLAIN; odd < NR_ODD; odd++)
		odd_round(&f, odd);
	fix_close(&f);
}

/* Gone, at home again or elsewhere: only what is there is counted. */
TEST_V(unregister_counts, devices)
{
	unsigned long n, left;
	struct fix f;
	char *p;

	open_pair(&f, v);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 5);
	fix_to_gpu(&f, p, f.length);
	ASSERT_RET(munmap(p, 8 * PAGE), 0);
	ASSERT_RET(madvise(p + 8 * PAGE, 8 * PAGE, MADV_DONTNEED), 0);
	fix_to_gpu2(&f, p + 16 * PAGE, 8 * PAGE);
	/* in private memory this brings back some around it, too */
	EXPECT_EQ(pattern_check_from(p + 40 * PAGE, PAGE, 5, 40), -1);
	left = fix_on_gpu(&f, p + 8 * PAGE, f.length - 8 * PAGE);
	EXPECT_GT(left, 0);
	EXPECT_LE(left, n - 24);
	if (!is_private(&f))
		EXPECT_EQ(left, n - 24);
	expect_home(&f, left);
	EXPECT_EQ(fix_on_gpu2(&f, p + 16 * PAGE, 8 * PAGE), 8);
	EXPECT_BYTES(p + 8 * PAGE, 8 * PAGE, 0);
	EXPECT_EQ(pattern_check_from(p + 16 * PAGE, f.length - 16 * PAGE, 5, 16), -1);
	fix_close(&f);
}

/* A page that somebody holds can't move: it is counted, and valid where it is. */
TEST_V(unregister_held, only_coherent)
{
	struct uvm_unregister_gpu u;
	struct uvm_migrate m;
	struct iovec iov;
	int pipes[2];
	struct fix f;
	char *p, *copy;

	open_one(&f, v);
	p = fix_pattern(&f, f.length, 6);
	copy = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	fix_to_gpu(&f, p, f.length);
	ASSERT_EQ(pipe(pipes), 0);
	iov = (struct iovec){ p + 9 * PAGE, PAGE };
	ASSERT_EQ(vmsplice(pipes[1], &iov, 1, 0), PAGE);
	EXPECT_RET(unregister_counted(f.s.fd, f.gpu.uuid, &u), 0);
	EXPECT_EQ(u.out_moved, f.length / PAGE - 1);
	EXPECT_EQ(u.out_left, 1);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), 1);
	EXPECT_EQ(fix_on_gpu(&f, p + 9 * PAGE, PAGE), 1);
	EXPECT_PATTERN(p, f.length, 6);
	/* the pipe's page is that of the mapping still */
	p[9 * PAGE]++;
	ASSERT_EQ(read(pipes[0], copy, PAGE), PAGE);
	EXPECT_EQ(memcmp(copy, p + 9 * PAGE, PAGE), 0);
	p[9 * PAGE]--;
	close(pipes[0]);
	close(pipes[1]);
	/* let go, it comes when it is asked to */
	ASSERT_RET(migrate(f.s.fd, p, f.length, UVM_DEST_CPU, 0, NULL, &m), 0);
	EXPECT_EQ(m.out_moved, 1);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), f.length / PAGE);
	EXPECT_PATTERN(p, f.length, 6);
	fix_close(&f);
}

/* Shared after a fork: right in both, before and after either writes. */
TEST_V(unregister_shared_by_fork, devices_huge)
{
	struct uvm_unregister_gpu u;
	int to_child[2], to_parent[2];
	struct fix f;
	pid_t pid;
	char *p, byte = 0;

	open_one(&f, v);
	p = fix_pattern(&f, f.length, 7);
	fix_to_gpu(&f, p, f.length);
	ASSERT_EQ(pipe(to_child), 0);
	ASSERT_EQ(pipe(to_parent), 0);
	pid = child();
	if (!pid) {
		ASSERT_EQ(read(to_child[0], &byte, 1), 1);
		EXPECT_PATTERN(p, f.length, 7);
		pattern_fill(p, f.length, 8);
		ASSERT_EQ(write(to_parent[1], &byte, 1), 1);
		ASSERT_EQ(read(to_child[0], &byte, 1), 1);
		EXPECT_PATTERN(p, f.length, 8);
		child_exit();
	}
	EXPECT_RET(unregister_counted(f.s.fd, f.gpu.uuid, &u), 0);
	EXPECT_EQ(u.out_moved + u.out_left, f.length / PAGE);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), u.out_left);
	ASSERT_EQ(write(to_child[1], &byte, 1), 1);
	ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
	EXPECT_PATTERN(p, f.length, 7);
	pattern_fill(p, f.length, 9);
	ASSERT_EQ(write(to_child[1], &byte, 1), 1);
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_PATTERN(p, f.length, 9);
	fix_close(&f);
}

TEST_V(unregister_after_release, kinds)
{
	struct uvm_processor pr[2];
	struct space other;
	unsigned long n;
	struct fix f;
	char *p;

	open_one(&f, v);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 10);
	fix_to_gpu(&f, p, f.length);
	close(f.s.mm_fd);
	f.s.mm_fd = -1;
	ASSERT_RET(space_open(&other), 0);
	EXPECT_EQ(processors(f.s.fd, pr, 2), 2);
	if (!is_numa(&f))
		EXPECT_EQ(count_where(other.fd, p, f.length, UVM_WHERE_GPU), n);
	expect_home(&f, is_numa(&f) ? 0 : n);
	if (!is_numa(&f))
		EXPECT_EQ(count_where(other.fd, p, f.length, UVM_WHERE_CPU), n);
	EXPECT_EQ(processors(f.s.fd, pr, 2), 1);
	EXPECT_PATTERN(p, f.length, 10);
	EXPECT_RET(unregister_gpu(f.s.fd, f.gpu.uuid), -ENOENT);
	EXPECT_RET(register_gpu(f.s.fd, f.gpu.uuid), -ESRCH);
	space_close(&other);
	fix_close(&f);
}

struct mover {
	struct fix *f;
	char *p;
	atomic_uint rounds;
	int ret;
	pthread_t thread;
};

/* There and back until the GPU isn't registered any more */
static void *mover_main(void *arg)
{
	struct mover *m = arg;
	struct uvm_migrate mig;

	do {
		m->ret = migrate_gpu(m->f, m->p, m->f->length, &mig);
		expect_accounts(&mig);
		if (!m->ret)
			m->ret = migrate(m->f->s.fd, m->p, m->f->length,
					 is_numa(m->f) ? UVM_DEST_CPU_NODE :
					 UVM_DEST_CPU, 0, NULL, &mig);
		m->rounds++;
	} while (!m->ret);
	return NULL;
}

TEST_VT(unregister_while_migrating, kinds_huge, 60)
{
	unsigned int i, rounds = harness_rounds(6);
	struct mover m = { 0 };
	struct fix f;

	open_one(&f, v);
	m.f = &f;
	m.p = fix_pattern(&f, f.length, 11);
	for (i = 0; i < rounds; i++) {
		m.rounds = 0;
		ASSERT_EQ(pthread_create(&m.thread, NULL, mover_main, &m), 0);
		ASSERT_TRUE(SOON(m.rounds > 1 + i % 2, 20));
		EXPECT_RET(unregister_gpu(f.s.fd, f.gpu.uuid), 0);
		pthread_join(m.thread, NULL);
		EXPECT_RET(m.ret, -ENOENT);
		/* none came to stay after the last had left */
		if (!is_numa(&f))
			EXPECT_EQ(fix_on_gpu(&f, m.p, f.length), 0);
		EXPECT_PATTERN(m.p, f.length, 11);
		ASSERT_RET(register_gpu(f.s.fd, f.gpu.uuid), 0);
	}
	fix_close(&f);
}

/* Two at once: it is unregistered once, and no page is counted twice. */
static void *unregister_main(void *arg)
{
	struct registrar *r = arg;
	struct uvm_unregister_gpu u;

	pthread_barrier_wait(r->start);
	r->ret = unregister_counted(r->fd, r->uuid, &u);
	return (void *)(uintptr_t)u.out_moved;
}

TEST_V(unregister_race, devices)
{
	unsigned int i, k, won, rounds = harness_rounds(10);
	pthread_barrier_t start;
	struct registrar r[2];
	struct fix f;
	void *moved[2];
	char *p;

	open_one(&f, v);
	p = fix_pattern(&f, f.length, 12);
	pthread_barrier_init(&start, NULL, 2);
	for (i = 0; i < rounds; i++) {
		fix_to_gpu(&f, p, f.length);
		for (k = 0; k < 2; k++) {
			r[k] = (struct registrar){
				.fd = f.s.fd, .uuid = f.gpu.uuid, .start = &start,
			};
			ASSERT_EQ(pthread_create(&r[k].thread, NULL, unregister_main,
						 &r[k]), 0);
		}
		for (k = 0; k < 2; k++)
			pthread_join(r[k].thread, &moved[k]);
		won = r[0].ret != 0;
		EXPECT_RET(r[won].ret, 0);
		EXPECT_RET(r[!won].ret, -ENOENT);
		EXPECT_EQ((uintptr_t)moved[won], f.length / PAGE);
		EXPECT_EQ((uintptr_t)moved[!won], 0);
		EXPECT_PATTERN(p, f.length, 12);
		ASSERT_RET(register_gpu(f.s.fd, f.gpu.uuid), 0);
	}
	fix_close(&f);
}

/* Killed in the middle of it: nothing is left behind, whenever it was. */
TEST_VT(unregister_killed, devices, 60)
{
	unsigned int i, rounds = harness_rounds(6);
	uint64_t random = harness_seed, was;
	struct timespec pause = { 0 };
	struct uvm_gpu_info gpu;
	int sync[2], status;
	struct fix f;
	pid_t pid;
	char *p, byte;

	need(v->kind, 0, &gpu);
	was = gpu_free(&gpu);
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(pipe(sync), 0);
		pid = child();
		if (!pid) {
			fix_open(&f, v);
			p = fix_pattern(&f, 8 * f.length, 13);
			fix_to_gpu(&f, p, 8 * f.length);
			ASSERT_EQ(write(sync[1], "u", 1), 1);
			EXPECT_RET(unregister_gpu(f.s.fd, f.gpu.uuid), 0);
			_exit(0);
		}
		ASSERT_EQ(read(sync[0], &byte, 1), 1);
		pause.tv_nsec = harness_random(&random) % 3000000;
		nanosleep(&pause, NULL);
		kill(pid, SIGKILL);
		status = child_wait(pid);
		EXPECT_TRUE(!status || status == 128 + SIGKILL);
		EXPECT_TRUE(gpu_free_returns(&gpu, was));
		close(sync[0]);
		close(sync[1]);
	}
}

/* ---- a GPU goes away ---- */

TEST_V(unbind_idle, kinds)
{
	unsigned int i, rounds = harness_rounds(4);
	struct uvm_gpu_info gone;
	struct fix f;
	char *p;

	open_one(&f, v);
	p = fix_pattern(&f, f.length, 20);
	ASSERT_RET(unregister_gpu(f.s.fd, f.gpu.uuid), 0);
	for (i = 0; i < rounds; i++) {
		unbind(&f.gpu);
		expect_gone(&f, p);
		EXPECT_TRUE(!gpu_by_uuid(f.gpu.uuid, &gone));
		rebind(&f.gpu);
		EXPECT_RET(unregister_gpu(f.s.fd, f.gpu.uuid), -ENOENT);
		use_again(&f);
		fix_to_gpu(&f, p, f.length);
		EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
		ASSERT_RET(unregister_gpu(f.s.fd, f.gpu.uuid), 0);
		EXPECT_PATTERN(p, f.length, 20);
	}
	fix_close(&f);
}

TEST_V(unbind_with_pages, kinds_huge)
{
	unsigned long n;
	struct fix f;
	uint64_t point;
	uint32_t old;
	char *p;

	open_one(&f, v);
	need_endless(&f);
	n = f.length / PAGE;
	p = fix_pattern(&f, f.length, 21);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	fix_to_gpu(&f, p, f.length);
	endless(f.s.fd, f.channel, &point);
	unbind(&f.gpu);
	/* a node's memory stays what it is, but it is nobody's now */
	EXPECT_EQ(count_where(f.s.fd, p, f.length, UVM_WHERE_CPU), n);
	EXPECT_EQ(count_mapped(getpid(), p, f.length), n);
	expect_gone(&f, p);
	expect_stopped(f.s.fd, f.channel, point);
	EXPECT_PATTERN(p, f.length, 21);

	/* the old channel doesn't come back to life with the GPU */
	rebind(&f.gpu);
	expect_stopped(f.s.fd, f.channel, point);
	EXPECT_RET(unregister_gpu(f.s.fd, f.gpu.uuid), -ENOENT);
	old = f.channel;
	use_again(&f);
	EXPECT_NE(f.channel, old);
	EXPECT_RET(channel_destroy(f.s.fd, old), 0);
	EXPECT_RET(channel_destroy(f.s.fd, old), -ENOENT);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	EXPECT_PATTERN(p, f.length, 21);
	fix_close(&f);
}

/*
 * A page that somebody holds is waited for, and no longer than that: a few rounds find
 * it held, then it is let go.
 */
TEST_VT(unbind_held, only_coherent, 60)
{
	struct timespec rounds = { .tv_sec = 2 };
	struct unbinder u;
	struct iovec iov;
	int pipes[2];
	struct fix f;
	char *p, *copy;

	open_one(&f, v);
	p = fix_pattern(&f, f.length, 22);
	copy = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	fix_to_gpu(&f, p, f.length);
	ASSERT_EQ(pipe(pipes), 0);
	iov = (struct iovec){ p + 9 * PAGE, PAGE };
	ASSERT_EQ(vmsplice(pipes[1], &iov, 1, 0), PAGE);
	unbind_start(&u, &f.gpu);
	nanosleep(&rounds, NULL);
	EXPECT_TRUE(!atomic_load(&u.done));
	ASSERT_EQ(read(pipes[0], copy, PAGE), PAGE);
	unbind_finish(&u);
	EXPECT_EQ(memcmp(copy, p + 9 * PAGE, PAGE), 0);
	EXPECT_PATTERN(p, f.length, 22);
	rebind(&f.gpu);
	close(pipes[0]);
	close(pipes[1]);
	fix_close(&f);
}

/* More commands than it gets done, on several channels */
TEST_V(unbind_running, kinds)
{
	enum { CHANNELS = 4, LIST = 256 };
	static struct uvm_sim_cmd list[LIST];
	volatile uint64_t *counter;
	uint64_t point[CHANNELS], seen, sum, *out;
	uint32_t channel[CHANNELS];
	struct fix f;
	char *p;
	int i, k;

	open_one(&f, v);
	need_endless(&f);
	p = fix_pattern(&f, f.length, 22);
	sum = sum64(p, f.length);
	out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	fix_to_gpu(&f, p, f.length);
	for (i = 0; i < LIST; i++)
		list[i] = CMD(SUM, .dst = ADDR(out), .src = ADDR(p),
			      .length = f.length);
	counter = endless(f.s.fd, f.channel, &point[0]);
	channel[0] = f.channel;
	for (k = 1; k < CHANNELS; k++) {
		ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &channel[k]), 0);
		/* twice, and something without an end behind it */
		ASSERT_RET(channel_submit(f.s.fd, channel[k], list, LIST, NULL), 0);
		ASSERT_RET(channel_submit(f.s.fd, channel[k], list, LIST, NULL), 0);
		endless(f.s.fd, channel[k], &point[k]);
	}
	ASSERT_TRUE(rises(counter));
	ASSERT_TRUE(SOON(*(volatile uint64_t *)out, 10));
	unbind(&f.gpu);
	seen = *counter;
	for (k = 0; k < CHANNELS; k++)
		expect_stopped(f.s.fd, channel[k], point[k]);
	EXPECT_EQ(*counter, seen);
	EXPECT_EQ(*out, sum);
	EXPECT_PATTERN(p, f.length, 22);
	for (k = 0; k < CHANNELS; k++)
		EXPECT_RET(channel_destroy(f.s.fd, channel[k]), 0);
	EXPECT_EQ(*counter, seen);
	rebind(&f.gpu);
	use_again(&f);
	fix_close(&f);
}

TEST_V(unbind_waiters, kinds)
{
	struct waiter w[3];
	struct fix f;
	uint64_t point;
	int i;

	open_one(&f, v);
	need_endless(&f);
	endless(f.s.fd, f.channel, &point);
	for (i = 0; i < 3; i++)
		waiter_start(&w[i], f.s.fd, f.channel, point);
	unbind(&f.gpu);
	for (i = 0; i < 3; i++)
		waiter_end(&w[i], -ECANCELED);
	expect_stopped(f.s.fd, f.channel, point);
	rebind(&f.gpu);
	use_again(&f);
	fix_close(&f);
}

/* Waiters of a multi-process VA space, and its GPU comes back for all processes. */
TEST_V(unbind_multi, kinds)
{
	struct uvm_processor pr[2];
	struct uvm_sim_cmd c = CMD(NOP);
	struct uvm_gpu_info gpu;
	uint32_t channel;
	pid_t pid;
	int fd;

	need(v->kind, 0, &gpu);
	fd = multi_open();
	ASSERT_RET(register_gpu(fd, gpu.uuid), 0);
	ASSERT_RET(channel_create(fd, gpu.uuid, &channel), 0);
	EXPECT_RET(nop(fd, channel), 0);
	unbind(&gpu);
	EXPECT_EQ(state_of(fd, channel), UVM_CHANNEL_STOPPED);
	EXPECT_RET(channel_submit(fd, channel, &c, 1, NULL), -ENODEV);
	EXPECT_RET(register_gpu(fd, gpu.uuid), -ENODEV);
	EXPECT_RET(unregister_gpu(fd, gpu.uuid), -ENODEV);
	EXPECT_EQ(processors(fd, pr, 2), 1);
	rebind(&gpu);
	pid = child();
	if (!pid) {
		EXPECT_RET(register_gpu(fd, gpu.uuid), 0);
		EXPECT_RET(channel_destroy(fd, channel), 0);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	ASSERT_RET(channel_create(fd, gpu.uuid, &channel), 0);
	EXPECT_RET(nop(fd, channel), 0);
	EXPECT_EQ(processors(fd, pr, 2), 2);
	EXPECT_EQ(pr[1].id, gpu.id);
	close(fd);
}

/* The mm was released before: nothing is left to stop, but pages to bring home. */
TEST_V(unbind_released, kinds)
{
	struct uvm_processor pr[2];
	uint64_t point;
	struct fix f;
	char *p;

	open_one(&f, v);
	need_endless(&f);
	p = fix_pattern(&f, f.length, 23);
	fix_to_gpu(&f, p, f.length);
	endless(f.s.fd, f.channel, &point);
	close(f.s.mm_fd);
	f.s.mm_fd = -1;
	EXPECT_EQ(processors(f.s.fd, pr, 2), 2);
	unbind(&f.gpu);
	EXPECT_EQ(count_mapped(getpid(), p, f.length), f.length / PAGE);
	EXPECT_EQ(processors(f.s.fd, pr, 2), 1);
	EXPECT_EQ(state_of(f.s.fd, f.channel), UVM_CHANNEL_STOPPED);
	EXPECT_RET(channel_wait(f.s.fd, f.channel, point, 0, NULL), -ECANCELED);
	EXPECT_RET(unregister_gpu(f.s.fd, f.gpu.uuid), -ENODEV);
	EXPECT_RET(channel_destroy(f.s.fd, f.channel), 0);
	EXPECT_PATTERN(p, f.length, 23);
	rebind(&f.gpu);
	fix_close(&f);
}

TEST_V(unbind_one_of_two, devices)
{
	volatile uint64_t *counter;
	struct uvm_processor pr[3];
	uint64_t point, other;
	struct fix f;
	char *p, *q;

	open_pair(&f, v);
	p = fix_pattern(&f, f.length, 24);
	q = fix_pattern(&f, f.length, 25);
	fix_to_gpu(&f, p, f.length);
	fix_to_gpu2(&f, q, f.length);
	endless(f.s.fd, f.channel, &point);
	counter = endless(f.s.fd, f.channel2, &other);
	ASSERT_TRUE(rises(counter));
	unbind(&f.gpu);
	expect_gone(&f, p);
	expect_stopped(f.s.fd, f.channel, point);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), f.length / PAGE);
	EXPECT_EQ(fix_on_gpu2(&f, q, f.length), f.length / PAGE);
	EXPECT_EQ(state_of(f.s.fd, f.channel2), UVM_CHANNEL_RUNNING);
	EXPECT_TRUE(rises(counter));
	rebind(&f.gpu);
	use_again(&f);
	/* its id is a new one, so it is the last */
	ASSERT_EQ(processors(f.s.fd, pr, 3), 3);
	EXPECT_EQ(pr[1].id, f.gpu2.id);
	EXPECT_EQ(pr[2].id, f.gpu.id);
	EXPECT_PATTERN(p, f.length, 24);
	EXPECT_PATTERN(q, f.length, 25);
	fix_close(&f);
}

/* Nobody has a file any more; the pages are there all the same. */
TEST_V(unbind_no_files, devices_huge)
{
	struct fix f;
	char *p;

	open_one(&f, v);
	p = fix_pattern(&f, f.length, 26);
	fix_to_gpu(&f, p, f.length);
	fix_close(&f);
	unbind(&f.gpu);
	EXPECT_EQ(count_mapped(getpid(), p, f.length), f.length / PAGE);
	EXPECT_PATTERN(p, f.length, 26);
	rebind(&f.gpu);
	fix_reopen(&f);
	fix_to_gpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 26);
	fix_close(&f);
}

/* Only a child has them, which never had a VA space. */
TEST_V(unbind_child_only, devices_huge)
{
	int sync[2];
	struct fix f;
	pid_t pid;
	char *p, byte;

	open_one(&f, v);
	p = fix_pattern(&f, f.length, 27);
	fix_to_gpu(&f, p, f.length);
	ASSERT_EQ(pipe(sync), 0);
	pid = child();
	if (!pid) {
		close(sync[1]);
		EXPECT_EQ(read(sync[0], &byte, 1), 0);
		EXPECT_PATTERN(p, f.length, 27);
		pattern_fill(p, f.length, 28);
		EXPECT_PATTERN(p, f.length, 28);
		child_exit();
	}
	ASSERT_RET(munmap(p, f.length), 0);
	unbind(&f.gpu);
	EXPECT_EQ(count_mapped(pid, p, f.length), f.length / PAGE);
	close(sync[1]);
	EXPECT_EQ(child_wait(pid), 0);
	rebind(&f.gpu);
	fix_close(&f);
}

/* What a process may be up to that has pages on it */
enum plight { OPEN, CLOSED, UNREADABLE, STOPPED, PARENT, NR_PLIGHTS };

static void plight_main(const struct variant *v, enum plight plight, char **where,
			int ready, int go)
{
	struct fix f;
	pid_t pid = 0;
	char *p, byte = 0;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, plight);
	fix_to_gpu(&f, p, f.length);
	*where = p;
	if (plight == CLOSED)
		fix_close(&f);
	if (plight == UNREADABLE)
		ASSERT_RET(mprotect(p, f.length, PROT_NONE), 0);
	if (plight == PARENT)
		pid = child();
	/* of two, the child reports */
	if (plight != PARENT || !pid)
		ASSERT_EQ(write(ready, &byte, 1), 1);
	if (plight == STOPPED)
		raise(SIGSTOP);
	EXPECT_EQ(read(go, &byte, 1), 0);
	ASSERT_RET(mprotect(p, f.length, PROT_READ | PROT_WRITE), 0);
	EXPECT_PATTERN(p, f.length, plight);
	pattern_fill(p, f.length, 100 + plight);
	EXPECT_PATTERN(p, f.length, 100 + plight);
	if (pid)
		EXPECT_EQ(child_wait(pid), 0);
	child_exit();
}

TEST_VT(unbind_many_processes, devices, 60)
{
	int i, ready[2], go[2];
	struct uvm_gpu_info gpu;
	char **where = shared_page();
	size_t length = 64 * PAGE;
	pid_t pid[NR_PLIGHTS];
	char byte;

	need(v->kind, 0, &gpu);
	ASSERT_EQ(pipe(ready), 0);
	ASSERT_EQ(pipe(go), 0);
	for (i = 0; i < NR_PLIGHTS; i++) {
		pid[i] = child();
		if (!pid[i]) {
			close(go[1]);
			plight_main(v, i, &where[i], ready[1], go[0]);
		}
	}
	for (i = 0; i < NR_PLIGHTS; i++)
		ASSERT_EQ(read(ready[0], &byte, 1), 1);
	unbind(&gpu);
	for (i = 0; i < NR_PLIGHTS; i++)
		EXPECT_EQ(count_mapped(pid[i], where[i], length), length / PAGE);
	close(go[1]);
	/* it may be about to stop */
	for (i = 0; i < 200 && !kill(pid[STOPPED], SIGCONT); i++) {
		struct timespec tick = { .tv_nsec = 10000000 };
		siginfo_t info = { 0 };

		if (!waitid(P_PID, pid[STOPPED], &info, WEXITED | WNOHANG | WNOWAIT) &&
		    info.si_pid)
			break;
		nanosleep(&tick, NULL);
	}
	for (i = 0; i < NR_PLIGHTS; i++)
		EXPECT_EQ(child_wait(pid[i]), 0);
	rebind(&gpu);
}

/* Processes die, by SIGKILL, while their pages are brought home. */
TEST_VT(unbind_while_exiting, devices_huge, 60)
{
	unsigned int i, k, rounds = harness_rounds(4);
	uint64_t random = harness_seed;
	struct uvm_gpu_info gpu;
	struct unbinder u;
	pid_t pid[3];
	int ready[2];
	struct fix f;
	char *p, byte;

	need(v->kind, 0, &gpu);
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(pipe(ready), 0);
		for (k = 0; k < 3; k++) {
			pid[k] = child();
			if (pid[k])
				continue;
			fix_open(&f, v);
			p = fix_pattern(&f, f.length, k);
			/* three times 4 MiB is what a GPU has room for */
			fix_to_gpu(&f, p, f.length);
			if (k)
				fix_close(&f);
			ASSERT_EQ(write(ready[1], "r", 1), 1);
			pause();
			_exit(0);
		}
		close(ready[1]);
		for (k = 0; k < 3; k++)
			if (read(ready[0], &byte, 1) != 1)
				SKIP("a child didn't get its pages there");
		close(ready[0]);
		unbind_start(&u, &gpu);
		for (k = 0; k < 3; k++) {
			struct timespec nap = {
				.tv_nsec = harness_random(&random) % 1000000,
			};

			nanosleep(&nap, NULL);
			kill(pid[k], SIGKILL);
		}
		unbind_finish(&u);
		for (k = 0; k < 3; k++)
			EXPECT_EQ(child_wait(pid[k]), 128 + SIGKILL);
		rebind(&gpu);
		EXPECT_TRUE(gpu_free_returns(&gpu, gpu.memory_size));
	}
}

/* ---- it goes away while others register, migrate, fault, compute and fork ---- */

struct worker {
	atomic_uint rounds;		/* begun */
	atomic_uint used;		/* that got as far as the GPU's sum */
	atomic_bool stop;
};

static void worker_fork(char *p, size_t length, uint64_t seed)
{
	pid_t pid = child();

	if (!pid) {
		EXPECT_PATTERN(p, length, seed);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
}

/* One round of a user who doesn't know that the GPU comes and goes */
static void worker_round(struct worker *w, struct fix *f, char *p, uint64_t seed,
			 uint64_t *out)
{
	struct uvm_sim_cmd c = CMD(SUM, .dst = ADDR(out), .src = ADDR(p),
				   .length = f->length);
	unsigned int i = w->rounds++;
	uint64_t sum = sum64(p, f->length);
	struct uvm_migrate m;
	uint32_t channel;
	int ret;

	ret = register_gpu(f->s.fd, f->gpu.uuid);
	expect_one_of(ret, 0, -ENODEV, -EEXIST, 0, "register");
	ret = migrate_gpu(f, p, f->length, &m);
	expect_one_of(ret, 0, -ENODEV, -ENOENT, 0, "migrate");
	expect_accounts(&m);
	if (i % 4 == 1)
		worker_fork(p, f->length, seed);
	ret = channel_create(f->s.fd, f->gpu.uuid, &channel);
	expect_one_of(ret, 0, -ENODEV, -ENOENT, 0, "create");
	if (!ret) {
		*out = ~sum;
		ret = channel_run(f->s.fd, channel, &c, 1);
		expect_one_of(ret, 0, -ENODEV, -ECANCELED, 0, "run");
		if (!ret) {
			EXPECT_EQ(*out, sum);
			w->used++;
		}
		EXPECT_RET(channel_destroy(f->s.fd, channel), 0);
	}
	if (i % 3 == 2) {
		ret = unregister_gpu(f->s.fd, f->gpu.uuid);
		expect_one_of(ret, 0, -ENODEV, -ENOENT, 0, "unregister");
	}
	EXPECT_PATTERN(p, f->length, seed);
}

static void worker_main(struct worker *w, const struct uvm_gpu_info *gpu,
			uint64_t seed)
{
	struct fix f = { .gpu = *gpu, .length = 64 * PAGE };
	uint64_t *out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	char *p;

	ASSERT_RET(space_open(&f.s), 0);
	p = fix_pattern(&f, f.length, seed);
	while (!w->stop)
		worker_round(w, &f, p, seed, out);
	fix_close(&f);
	EXPECT_PATTERN(p, f.length, seed);
	child_exit();
}

TEST_VT(unbind_race, kinds, 90)
{
	unsigned int i, k, was, rounds = harness_rounds(8);
	struct worker *w = shared_page();
	struct uvm_gpu_info gpu;
	pid_t pid[2];

	need(v->kind, 0, &gpu);
	for (k = 0; k < 2; k++) {
		pid[k] = child();
		if (!pid[k])
			worker_main(&w[k], &gpu, 30 + k);
	}
	for (i = 0; i < rounds; i++) {
		/* in the middle of whatever they are at */
		was = w[0].used;
		ASSERT_TRUE(SOON(w[0].used != was, 20));
		was = w[1].rounds;
		ASSERT_TRUE(SOON(w[1].rounds != was, 20));
		unbind(&gpu);
		if (i % 2) {
			/* all of a round without it */
			was = w[0].rounds;
			ASSERT_TRUE(SOON(w[0].rounds - was > 1, 20));
		}
		rebind(&gpu);
	}
	for (k = 0; k < 2; k++)
		w[k].stop = true;
	for (k = 0; k < 2; k++)
		EXPECT_EQ(child_wait(pid[k]), 0);
}

struct churn {
	char *p, *q;
	size_t length;
	struct fix *f;
	atomic_bool stop;
	atomic_uint rounds;
	pthread_t thread;
};

/* The mapping moves, and is taken access away and given it, all the time. */
static void *churn_main(void *arg)
{
	struct churn *c = arg;
	struct uvm_migrate m;
	char *tmp;
	int ret;

	while (!c->stop) {
		ASSERT_TRUE(mremap(c->p, c->length, c->length,
				   MREMAP_MAYMOVE | MREMAP_FIXED, c->q) == c->q);
		tmp = c->p;
		c->p = c->q;
		c->q = tmp;
		ASSERT_RET(mprotect(c->p, c->length / 2, PROT_NONE), 0);
		ASSERT_RET(mprotect(c->p, c->length, PROT_READ | PROT_WRITE), 0);
		ret = migrate_gpu(c->f, c->p, c->length, &m);
		expect_one_of(ret, 0, -ENODEV, -ENOENT, 0, "migrate");
		c->rounds++;
	}
	return NULL;
}

TEST_VT(unbind_while_remapping, devices, 60)
{
	unsigned int i, was, rounds = harness_rounds(6);
	struct churn c = { 0 };
	struct fix f;
	char *p;

	open_one(&f, v);
	c.f = &f;
	c.length = f.length;
	p = fix_pattern(&f, f.length, 40);
	/* far from where stacks of threads are put, which may fill a hole */
	c.p = (char *)0x300000000000;
	c.q = (char *)0x310000000000;
	ASSERT_TRUE(mremap(p, c.length, c.length, MREMAP_MAYMOVE | MREMAP_FIXED,
			   c.p) == c.p);
	ASSERT_EQ(pthread_create(&c.thread, NULL, churn_main, &c), 0);
	for (i = 0; i < rounds; i++) {
		was = c.rounds;
		ASSERT_TRUE(SOON(c.rounds - was > 1, 20));
		unbind(&f.gpu);
		rebind(&f.gpu);
		EXPECT_RET(register_gpu(f.s.fd, f.gpu.uuid), 0);
	}
	c.stop = true;
	pthread_join(c.thread, NULL);
	EXPECT_PATTERN(c.p, c.length, 40);
	fix_close(&f);
}

/* ---- modules ---- */

static int module_remove(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

/* Only asked to go while it can't, or there would be no more tests. */
#define EXPECT_STAYS(name, users) do {					\
	EXPECT_GT(users, 0);						\
	if ((users) > 0)						\
		EXPECT_RET(module_remove(name), -EWOULDBLOCK);		\
} while (0)

TEST_V(module_in_use, kinds)
{
	struct fix f;
	long users;
	char *p;

	one_sort();
	if (module_users() < 0)
		SKIP("the kernel doesn't count users of modules");
	users = module_users();
	open_one(&f, v);
	p = fix_pattern(&f, f.length, 50);
	EXPECT_STAYS("uvm_sim", module_users());
	EXPECT_STAYS("uvm", read_number("/sys/module/uvm/refcnt"));
	fix_to_gpu(&f, p, f.length);
	fix_close(&f);
	if (!is_numa(&f)) {
		EXPECT_GT(module_users(), users);
		EXPECT_STAYS("uvm_sim", module_users());
	}
	EXPECT_PATTERN(p, f.length, 50);
	fix_reopen(&f);
	fix_to_gpu(&f, p, f.length);
	/* without its device a GPU keeps nobody */
	unbind(&f.gpu);
	EXPECT_TRUE(module_users_return(users));
	EXPECT_EQ(state_of(f.s.fd, f.channel), UVM_CHANNEL_STOPPED);
	rebind(&f.gpu);
	EXPECT_EQ(module_users(), users);
	use_again(&f);
	EXPECT_STAYS("uvm_sim", module_users());
	EXPECT_PATTERN(p, f.length, 50);
	munmap(p, f.length);
	fix_close(&f);
	EXPECT_TRUE(module_users_return(users));
}

/* ---- processors ---- */

static bool kind_in_place(const struct uvm_gpu_info *gpu)
{
	return gpu->memory_kind != UVM_MEMORY_PRIVATE;
}

static bool kind_is_node(const struct uvm_gpu_info *gpu)
{
	return gpu->memory_kind == UVM_MEMORY_NUMA;
}

/* Does each GPU with memory of its own reach that of the others? */
static bool gpus_are_peers(void)
{
	char text[8];

	return read_text("/sys/module/uvm_sim/parameters/peers", text, sizeof(text)) &&
	       text[0] == 'Y';
}

/* Is what was said of @count GPUs, sorted by id, what the rules say? */
static void expect_processors(int fd, const struct uvm_gpu_info *gpus, int count)
{
	struct uvm_processor p[MAX_GPUS + 2];
	uint64_t all = (2ULL << count) - 1, place = 1, nodes = 1, peers = 0, reached;
	int i;

	for (i = 0; i < count; i++) {
		place |= kind_in_place(&gpus[i]) ? 2ULL << i : 0;
		nodes |= kind_is_node(&gpus[i]) ? 2ULL << i : 0;
		peers |= kind_is_node(&gpus[i]) || !gpus_are_peers() ? 0 : 2ULL << i;
	}
	ASSERT_EQ(processors(fd, p, MAX_GPUS + 1), count + 1);
	EXPECT_BYTES(p[0].uuid, UVM_UUID_LEN, 0);
	EXPECT_EQ(p[0].id, UVM_PROCESSOR_CPU);
	EXPECT_EQ(p[0].nearest_node, -1);
	EXPECT_EQ(p[0].access, place);
	EXPECT_EQ(p[0].copy, all);
	EXPECT_EQ(p[0].reach, all);
	for (i = 0; i < count; i++) {
		EXPECT_EQ(memcmp(p[i + 1].uuid, gpus[i].uuid, UVM_UUID_LEN), 0);
		EXPECT_EQ(p[i + 1].id, gpus[i].id);
		EXPECT_EQ(p[i + 1].nearest_node, gpus[i].nearest_node);
		reached = nodes | 2ULL << i | (kind_is_node(&gpus[i]) ? 0 : peers);
		EXPECT_EQ(p[i + 1].access, reached);
		EXPECT_EQ(p[i + 1].copy, kind_is_node(&gpus[i]) ? all : reached);
		EXPECT_EQ(p[i + 1].reach, all);
	}
}

static int by_id(const void *a, const void *b)
{
	const struct uvm_gpu_info *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* All GPUs of a sort, sorted by id */
static int gpus_like(const struct uvm_gpu_info *first, struct uvm_gpu_info *gpus)
{
	int i, count = 0, n = gpus_list(gpus, MAX_GPUS);

	for (i = 0; i < n; i++)
		if (gpus_mix(first, &gpus[i]))
			gpus[count++] = gpus[i];
	qsort(gpus, count, sizeof(gpus[0]), by_id);
	return count;
}

/* Every subset of what goes together, registered from the last to the first */
TEST_V(processors_masks, kinds)
{
	struct uvm_gpu_info gpus[MAX_GPUS], some[MAX_GPUS], first;
	unsigned int set, sets;
	int i, k, n, count;
	struct space s;
	int multi;

	gpu_need(v->kind, 0, &first);
	n = gpus_like(&first, gpus);
	sets = 1U << (n < 4 ? n : 4);
	ASSERT_RET(space_open(&s), 0);
	multi = multi_open();
	for (set = 0; set < sets; set++) {
		count = 0;
		for (i = 0; i < n; i++)
			if (set >> i & 1)
				some[count++] = gpus[i];
		for (k = count; k--; ) {
			ASSERT_RET(register_gpu(s.fd, some[k].uuid), 0);
			ASSERT_RET(register_gpu(multi, some[k].uuid), 0);
		}
		expect_processors(s.fd, some, count);
		expect_processors(multi, some, count);
		for (k = 0; k < count; k++) {
			EXPECT_RET(unregister_gpu(s.fd, some[k].uuid), 0);
			EXPECT_RET(unregister_gpu(multi, some[k].uuid), 0);
			expect_processors(s.fd, some + k + 1, count - k - 1);
		}
	}
	/* the answer outlives the mm */
	ASSERT_RET(register_gpu(s.fd, gpus[0].uuid), 0);
	close(s.mm_fd);
	expect_processors(s.fd, gpus, 1);
	close(s.fd);
	close(multi);
}

TEST(processors_sizes)
{
	struct uvm_query_processors q = { .size = sizeof(q) };
	struct uvm_gpu_info gpus[MAX_GPUS], first;
	struct uvm_processor all[MAX_GPUS + 1], one[2];
	unsigned char *area = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	struct space s;
	int i, n;

	gpu_need(0, 0, &first);
	n = gpus_like(&first, gpus);
	if (n > 6)
		n = 6;
	ASSERT_RET(space_open(&s), 0);
	for (i = 0; i < n; i++)
		ASSERT_RET(register_gpu(s.fd, gpus[i].uuid), 0);
	n++;
	ASSERT_EQ(processors(s.fd, all, MAX_GPUS + 1), n);

	/* only how many */
	q.entry_size = sizeof(one[0]);
	q.out_count = 77;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), 0);
	EXPECT_EQ(q.out_count, n);
	/* with no room a bad address is as good as any */
	q.processors = 8;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), 0);

	/* no more entries than there is room for; the masks are those of all */
	memset(one, 0x5a, sizeof(one));
	q.processors = ADDR(one);
	q.count = 1;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), 0);
	EXPECT_EQ(q.out_count, n);
	EXPECT_EQ(memcmp(one, all, sizeof(one[0])), 0);
	EXPECT_BYTES(&one[1], sizeof(one[1]), 0x5a);

	/* entries are cut short */
	memset(area, 0x5a, PAGE);
	q.processors = ADDR(area);
	q.count = MAX_GPUS + 1;
	q.entry_size = 20;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), 0);
	for (i = 0; i < n; i++)
		EXPECT_EQ(memcmp(area + i * 20, &all[i], 20), 0);
	EXPECT_BYTES(area + n * 20, 20, 0x5a);

	/* or padded with zeroes */
	memset(area, 0x5a, 8 * PAGE);
	q.entry_size = PAGE;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), 0);
	for (i = 0; i < n; i++) {
		EXPECT_EQ(memcmp(area + i * PAGE, &all[i], sizeof(all[i])), 0);
		EXPECT_BYTES(area + i * PAGE + sizeof(all[i]), PAGE - sizeof(all[i]),
			     0);
	}
	EXPECT_BYTES(area + n * PAGE, PAGE, 0x5a);

	q.entry_size = 0;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), -EINVAL);
	q.entry_size = PAGE + 1;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), -EINVAL);
	q.entry_size = ~0U;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), -EINVAL);
	/* a count beyond all memory is fine as long as the entries fit */
	q.entry_size = sizeof(one[0]);
	q.count = ~0U;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), 0);
	EXPECT_EQ(q.out_count, n);
	/* the array ends in a page that can't be written */
	ASSERT_RET(mprotect(area + PAGE, PAGE, PROT_READ), 0);
	q.processors = ADDR(area + PAGE - 8);
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), -EFAULT);
	q.processors = 0;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), -EFAULT);
	q.processors = 0xffff888000000000ULL;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), -EFAULT);
	q.processors = -8ULL;
	EXPECT_RET(uvm_ioctl(s.fd, UVM_QUERY_PROCESSORS, &q), -EFAULT);
	space_close(&s);
}

/* What the masks say is what happens: pages stay or move. */
TEST_V(processors_are_right, kinds)
{
	struct uvm_processor pr[2];
	unsigned long n;
	struct fix f;
	uint64_t sum;
	char *p;

	open_one(&f, v);
	n = f.length / PAGE;
	ASSERT_EQ(processors(f.s.fd, pr, 2), 2);
	p = fix_pattern(&f, f.length, 60);
	sum = sum64(p, f.length);
	/* the GPU, of the CPU's memory */
	EXPECT_EQ(pr[1].access & 1, 1);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), n);
	EXPECT_EQ(pr[1].reach & 1, 1);
	fix_to_gpu(&f, p, f.length);
	/* of its own */
	EXPECT_EQ(pr[1].access & 2, 2);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), n);
	/* the CPU, of the GPU's */
	EXPECT_PATTERN(p, f.length, 60);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), pr[0].access & 2 ? n : 0);
	EXPECT_EQ(pr[0].reach & 2, 2);
	fix_to_gpu(&f, p, f.length);
	fix_to_cpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 60);
	fix_close(&f);
}

/* One GPU, of another one's memory */
TEST_V(processors_are_right_of_two, devices)
{
	struct uvm_processor pr[3];
	int me, other, i;
	struct fix f;
	uint64_t sum;
	char *p;

	open_pair(&f, v);
	ASSERT_EQ(processors(f.s.fd, pr, 3), 3);
	me = pr[1].id == f.gpu.id ? 1 : 2;
	other = 3 - me;
	ASSERT_EQ(pr[other].id, f.gpu2.id);
	p = fix_pattern(&f, f.length, 61);
	sum = sum64(p, f.length);
	for (i = 0; i < 2; i++) {
		fix_to_gpu2(&f, p, f.length);
		EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum);
		EXPECT_EQ(fix_on_gpu2(&f, p, f.length),
			  pr[me].access >> other & 1 ? f.length / PAGE : 0);
		fix_to_gpu2(&f, p, f.length);
		EXPECT_EQ(pr[me].reach >> other & 1, 1);
		fix_to_gpu(&f, p, f.length);
		EXPECT_EQ(fix_on_gpu2(&f, p, f.length), 0);
	}
	EXPECT_PATTERN(p, f.length, 61);
	fix_close(&f);
}

/* ---- surprise: the last one, since it takes more than a driver to undo it ---- */

/* A PCI device is removed with its driver bound, and found again. */
TEST_VT(pci_removed, only_coherent, 60)
{
	const struct device *d;
	struct uvm_gpu_info gpu;
	char path[100];
	uint64_t point;
	struct fix f;
	char *p;

	open_one(&f, v);
	d = device_of(&f.gpu);
	if (!d->pci)
		SKIP("the GPU is no PCI device");
	p = fix_pattern(&f, f.length, 70);
	fix_to_gpu(&f, p, f.length);
	endless(f.s.fd, f.channel, &point);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", d->name);
	ASSERT_RET(sysfs_write(path, "1"), 0);
	EXPECT_TRUE(!gpu_by_uuid(f.gpu.uuid, &gpu));
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), f.length / PAGE);
	expect_gone(&f, p);
	expect_stopped(f.s.fd, f.channel, point);
	EXPECT_PATTERN(p, f.length, 70);
	ASSERT_RET(sysfs_write("/sys/bus/pci/rescan", "1"), 0);
	ASSERT_TRUE(SOON(gpu_by_uuid(f.gpu.uuid, &gpu), 10));
	EXPECT_GT(gpu.id, f.gpu.id);
	f.gpu = gpu;
	use_again(&f);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	EXPECT_PATTERN(p, f.length, 70);
	fix_close(&f);
}

static void __attribute__((constructor)) install(void)
{
	devices_install();
}

HARNESS_MAIN()
