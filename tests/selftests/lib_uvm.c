// SPDX-License-Identifier: GPL-2.0-only
/* See lib_uvm.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "lib_layout.h"
#include "lib_managed.h"
#include "lib_policy.h"
#include "lib_uvm.h"

#define DEVICE	"/dev/uvm"

/* ---- ioctls ---- */

int uvm_open(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int uvm_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

int gpus_list(struct uvm_gpu_info *gpus, int max)
{
	struct uvm_enum_gpus e = {
		.size = sizeof(e),
		.gpus = ADDR(gpus),
		.count = max,
		.entry_size = sizeof(*gpus),
	};
	int fd = uvm_open();
	int ret;

	if (fd < 0)
		return fd;
	memset(gpus, 0, max * sizeof(*gpus));
	ret = uvm_ioctl(fd, UVM_ENUM_GPUS, &e);
	close(fd);
	if (ret)
		return ret;
	return e.out_count < (unsigned int)max ? (int)e.out_count : max;
}

static bool for_managed;

void gpus_for_managed(void)
{
	for_managed = true;
}

/* Can the test's memory move there? */
static bool gpu_is_for_test(const struct uvm_gpu_info *gpu)
{
	return for_managed || gpu->memory_kind != UVM_MEMORY_PRIVATE ||
	       feature_mask() & UVM_FEATURE_DEVICE_PRIVATE;
}

bool gpu_find(int kind, int nth, struct uvm_gpu_info *gpu)
{
	struct uvm_gpu_info gpus[MAX_GPUS];
	int n = gpus_list(gpus, MAX_GPUS);
	int i;

	for (i = 0; i < n; i++) {
		if (kind && gpus[i].memory_kind != (uint32_t)kind)
			continue;
		if (!gpu_is_for_test(&gpus[i]))
			continue;
		if (nth--)
			continue;
		*gpu = gpus[i];
		return true;
	}
	return false;
}

bool gpu_by_uuid(const uint8_t *uuid, struct uvm_gpu_info *gpu)
{
	struct uvm_gpu_info gpus[MAX_GPUS];
	int n = gpus_list(gpus, MAX_GPUS);
	int i;

	for (i = 0; i < n; i++) {
		if (memcmp(gpus[i].uuid, uuid, UVM_UUID_LEN))
			continue;
		*gpu = gpus[i];
		return true;
	}
	return false;
}

const char *kind_name(int kind)
{
	switch (kind) {
	case UVM_MEMORY_PRIVATE:
		return "private";
	case UVM_MEMORY_COHERENT:
		return "coherent";
	case UVM_MEMORY_NUMA:
		return "numa";
	default:
		return "any";
	}
}

uint64_t feature_mask(void)
{
	struct uvm_info info = { .size = sizeof(info) };
	int fd = uvm_open();
	int ret;

	ASSERT_GE(fd, 0);
	ret = uvm_ioctl(fd, UVM_INFO, &info);
	close(fd);
	ASSERT_RET(ret, 0);
	return info.out_features;
}

void gpu_need(int kind, int nth, struct uvm_gpu_info *gpu)
{
	const char *promised = getenv("UVM_EXPECT_KINDS");
	int fd = uvm_open();

	ASSERT_GE(fd, 0);
	close(fd);
	if (gpu_find(kind, nth, gpu))
		return;
	if (promised && strstr(promised, kind_name(kind)) &&
	    (kind != UVM_MEMORY_PRIVATE ||
	     feature_mask() & (UVM_FEATURE_DEVICE_PRIVATE |
			       (for_managed ? UVM_FEATURE_MANAGED : 0))))
		harness_check(false, true, __FILE__, __LINE__,
			      "UVM_EXPECT_KINDS promises %d %s GPUs",
			      nth + 1, kind_name(kind));
	SKIP("needs %d %s GPU%s", nth + 1, kind_name(kind), nth ? "s" : "");
}

int va_init(int fd, uint32_t flags)
{
	struct uvm_init a = { .size = sizeof(a), .flags = flags };

	return uvm_ioctl(fd, UVM_INIT, &a);
}

int mm_init(int fd, int va_fd)
{
	struct uvm_mm_init a = { .size = sizeof(a), .va_space_fd = va_fd };

	return uvm_ioctl(fd, UVM_MM_INIT, &a);
}

int space_open(struct space *s)
{
	int ret;

	s->mm_fd = -1;
	s->fd = uvm_open();
	if (s->fd < 0)
		return s->fd;
	ret = va_init(s->fd, 0);
	if (ret)
		return ret;
	s->mm_fd = uvm_open();
	if (s->mm_fd < 0)
		return s->mm_fd;
	return mm_init(s->mm_fd, s->fd);
}

void space_close(struct space *s)
{
	if (s->mm_fd >= 0)
		close(s->mm_fd);
	if (s->fd >= 0)
		close(s->fd);
	s->mm_fd = -1;
	s->fd = -1;
}

int register_gpu(int fd, const uint8_t *uuid)
{
	struct uvm_register_gpu r = { .size = sizeof(r) };

	memcpy(r.uuid, uuid, UVM_UUID_LEN);
	return uvm_ioctl(fd, UVM_REGISTER_GPU, &r);
}

int unregister_counted(int fd, const uint8_t *uuid, struct uvm_unregister_gpu *u)
{
	memset(u, 0, sizeof(*u));
	u->size = sizeof(*u);
	memcpy(u->uuid, uuid, UVM_UUID_LEN);
	return uvm_ioctl(fd, UVM_UNREGISTER_GPU, u);
}

int unregister_gpu(int fd, const uint8_t *uuid)
{
	struct uvm_unregister_gpu u;

	return unregister_counted(fd, uuid, &u);
}

bool gpus_mix(const struct uvm_gpu_info *a, const struct uvm_gpu_info *b)
{
	return (a->memory_kind == UVM_MEMORY_PRIVATE) ==
	       (b->memory_kind == UVM_MEMORY_PRIVATE);
}

int processors(int fd, struct uvm_processor *p, unsigned int max)
{
	struct uvm_query_processors q = {
		.size = sizeof(q),
		.processors = ADDR(p),
		.count = max,
		.entry_size = sizeof(*p),
	};
	int ret;

	memset(p, 0, max * sizeof(*p));
	ret = uvm_ioctl(fd, UVM_QUERY_PROCESSORS, &q);
	return ret ? ret : (int)q.out_count;
}

int channel_create(int fd, const uint8_t *uuid, uint32_t *channel)
{
	struct uvm_channel_create c = { .size = sizeof(c) };
	int ret;

	memcpy(c.uuid, uuid, UVM_UUID_LEN);
	ret = uvm_ioctl(fd, UVM_CHANNEL_CREATE, &c);
	if (!ret)
		*channel = c.out_channel;
	return ret;
}

int channel_destroy(int fd, uint32_t channel)
{
	struct uvm_channel_destroy d = { .size = sizeof(d), .channel = channel };

	return uvm_ioctl(fd, UVM_CHANNEL_DESTROY, &d);
}

int channel_submit(int fd, uint32_t channel, const struct uvm_sim_cmd *cmds,
		   unsigned int count, uint64_t *point)
{
	struct uvm_channel_submit s = {
		.size = sizeof(s),
		.channel = channel,
		.length = count * sizeof(*cmds),
		.commands = ADDR(cmds),
	};
	int ret = uvm_ioctl(fd, UVM_CHANNEL_SUBMIT, &s);

	if (!ret && point)
		*point = s.out_point;
	return ret;
}

int channel_query(int fd, uint32_t channel, struct uvm_channel_query *q)
{
	memset(q, 0, sizeof(*q));
	q->size = sizeof(*q);
	q->channel = channel;
	return uvm_ioctl(fd, UVM_CHANNEL_QUERY, q);
}

int channel_wait(int fd, uint32_t channel, uint64_t point, uint64_t ns,
		 uint64_t *completed)
{
	struct uvm_wait w = {
		.size = sizeof(w),
		.channel = channel,
		.point = point,
		.timeout_ns = ns,
	};
	int ret = uvm_ioctl(fd, UVM_WAIT, &w);

	if (completed)
		*completed = w.out_completed;
	return ret;
}

int channel_run(int fd, uint32_t channel, const struct uvm_sim_cmd *cmds,
		unsigned int count)
{
	uint64_t point = 0;
	int ret = channel_submit(fd, channel, cmds, count, &point);

	return ret ? ret : channel_wait(fd, channel, point, PATIENCE, NULL);
}

int migrate(int fd, const void *p, size_t length, int kind, int node,
	    const uint8_t *uuid, struct uvm_migrate *m)
{
	memset(m, 0, sizeof(*m));
	m->size = sizeof(*m);
	m->base = ADDR(p);
	m->length = length;
	m->dest_kind = kind;
	m->dest_node = node;
	if (uuid)
		memcpy(m->dest_uuid, uuid, UVM_UUID_LEN);
	return uvm_ioctl(fd, UVM_MIGRATE, m);
}

unsigned long skipped(const struct uvm_migrate *m)
{
	unsigned long n = 0;
	int i;

	for (i = 0; i < UVM_SKIP_SLOTS; i++)
		n += m->out_skipped[i];
	return n;
}

void expect_accounts(const struct uvm_migrate *m)
{
	int i;

	EXPECT_EQ(m->out_moved + m->out_already + skipped(m), m->out_done / PAGE);
	EXPECT_EQ(m->out_done % PAGE, 0);
	EXPECT_LE(m->out_done, m->length);
	for (i = UVM_SKIP_NR; i < UVM_SKIP_SLOTS; i++)
		EXPECT_EQ(m->out_skipped[i], 0);
}

int residency(int fd, const void *p, size_t length, struct uvm_page_state *st)
{
	static uint32_t max_query;
	struct uvm_query_residency q = { .size = sizeof(q) };
	size_t step, done;
	int ret;

	if (!max_query) {
		struct uvm_info info = { .size = sizeof(info) };

		ret = uvm_ioctl(fd, UVM_INFO, &info);
		if (ret)
			return ret;
		max_query = info.out_max_query;
		ASSERT_GT(max_query, 0);
	}
	for (done = 0; done < length; done += step) {
		step = length - done;
		if (step > max_query * PAGE)
			step = max_query * PAGE;
		q.base = ADDR(p) + done;
		q.length = step;
		q.pages = ADDR(st + done / PAGE);
		ret = uvm_ioctl(fd, UVM_QUERY_RESIDENCY, &q);
		if (ret)
			return ret;
	}
	return 0;
}

void stay(int fd, const void *p, size_t length)
{
	ASSERT_RET(policy_switch(fd, UVM_SET_FAULT_MIGRATION, p, length, 0), 0);
}

/* ---- patterns ---- */

static uint64_t word_at(uint64_t seed, size_t page, size_t word)
{
	return ((seed + 1) * 0x9E3779B97F4A7C15ULL ^
		(page + 1) * 0xC2B2AE3D27D4EB4FULL) +
		word * 0x165667B19E3779F9ULL;
}

void pattern_fill_from(void *p, size_t length, uint64_t seed, size_t first_page)
{
	size_t i, n = length / 8, per_page = PAGE / 8;
	uint64_t *to = p;

	for (i = 0; i < n; i++)
		to[i] = word_at(seed, first_page + i / per_page, i % per_page);
}

void pattern_fill(void *p, size_t length, uint64_t seed)
{
	pattern_fill_from(p, length, seed, 0);
}

long pattern_check_from(const void *p, size_t length, uint64_t seed,
			size_t first_page)
{
	size_t i, n = length / 8, per_page = PAGE / 8;
	const volatile uint64_t *from = p;
	uint64_t diff;

	for (i = 0; i < n; i++) {
		diff = from[i] ^ word_at(seed, first_page + i / per_page,
					 i % per_page);
		if (diff)
			return i * 8 + __builtin_ctzll(diff) / 8;
	}
	return -1;
}

long pattern_check(const void *p, size_t length, uint64_t seed)
{
	return pattern_check_from(p, length, seed, 0);
}

long pattern_or_zero_check(const void *p, size_t length, uint64_t seed)
{
	size_t i, n = length / 8, per_page = PAGE / 8;
	const volatile uint64_t *from = p;
	uint64_t word;

	for (i = 0; i < n; i++) {
		word = from[i];
		if (word && word != word_at(seed, i / per_page, i % per_page))
			return i * 8;
	}
	return -1;
}

long bytes_check(const void *p, size_t length, int byte)
{
	const volatile unsigned char *from = p;
	size_t i;

	for (i = 0; i < length; i++)
		if (from[i] != (unsigned char)byte)
			return i;
	return -1;
}

uint64_t sum64(const void *p, size_t length)
{
	const volatile uint64_t *from = p;
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < length / 8; i++)
		sum += from[i];
	return sum;
}

static uint32_t crc32c_table[256];

/* Before there are threads. */
static void __attribute__((constructor)) crc32c_init(void)
{
	uint32_t i, c;
	int bit;

	for (i = 0; i < 256; i++) {
		c = i;
		for (bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ 0x82F63B78U : c >> 1;
		crc32c_table[i] = c;
	}
}

uint32_t crc32c(const void *p, size_t length)
{
	const unsigned char *from = p;
	uint32_t crc = ~0U;
	size_t i;

	for (i = 0; i < length; i++)
		crc = crc32c_table[(crc ^ from[i]) & 0xff] ^ crc >> 8;
	return ~crc;
}

/* ---- memory ---- */

void *anon(size_t length, int prot, int flags)
{
	void *p = mmap(NULL, length, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags,
		       -1, 0);

	ASSERT_TRUE(p != MAP_FAILED);
	return p;
}

bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

bool read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	buf[0] = 0;
	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return false;
	buf[n] = 0;
	return true;
}

long read_number(const char *path)
{
	char buf[64];

	return read_text(path, buf, sizeof(buf)) ? strtol(buf, NULL, 0) : -1;
}

#define THP "/sys/kernel/mm/transparent_hugepage/"

bool thp_ready(void)
{
	char buf[100];

	if (!read_text(THP "enabled", buf, sizeof(buf)))
		return false;
	if (strstr(buf, "[never]") && !write_text(THP "enabled", "madvise"))
		return false;
	return read_number(THP "hpage_pmd_size") == (long)HUGE;
}

/* Reserves more than needed, and keeps the aligned middle. */
void *anon_huge(size_t length)
{
	char *p = anon(length + HUGE, PROT_NONE, MAP_NORESERVE);
	char *aligned = (char *)((ADDR(p) + HUGE - 1) & ~(HUGE - 1));

	if (aligned > p)
		munmap(p, aligned - p);
	if (p + HUGE > aligned)
		munmap(aligned + length, p + HUGE - aligned);
	ASSERT_RET(mprotect(aligned, length, PROT_READ | PROT_WRITE), 0);
	return aligned;
}

void retire(void *p, size_t length)
{
	ASSERT_TRUE(mmap(p, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
			 MAP_NORESERVE, -1, 0) == p);
}

size_t huge_bytes(const void *p)
{
	unsigned long from, to, kb;
	bool inside = false;
	char line[300];
	size_t n = 0;
	FILE *f = fopen("/proc/self/smaps", "re");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from <= ADDR(p) && ADDR(p) < to;
		else if (inside && sscanf(line, "AnonHugePages: %lu", &kb) == 1)
			n = kb * 1024;
	}
	fclose(f);
	return n;
}

#define FAIL_PAGES	"/sys/kernel/debug/fail_page_alloc/"

static bool fail_number(const char *path, int value)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", value);
	return write_text(path, text);
}

bool pages_fail(int order, int percent)
{
	return write_text(FAIL_PAGES "task-filter", "Y") &&
	       write_text(FAIL_PAGES "ignore-gfp-highmem", "N") &&
	       write_text(FAIL_PAGES "ignore-gfp-wait", "N") &&
	       fail_number(FAIL_PAGES "min-order", order) &&
	       write_text(FAIL_PAGES "verbose", "0") &&
	       write_text(FAIL_PAGES "interval", "1") &&
	       write_text(FAIL_PAGES "times", "-1") &&
	       fail_number(FAIL_PAGES "probability", percent) &&
	       write_text("/proc/self/make-it-fail", "1");
}

void pages_fail_no_more(void)
{
	int i;

	/* It may itself fail for want of a page. */
	for (i = 0; i < 100; i++)
		if (write_text("/proc/self/make-it-fail", "0") &&
		    write_text(FAIL_PAGES "probability", "0"))
			return;
	EXPECT_TRUE(false);
}

char *hugetlb_page(void)
{
	char *p;

	if (!write_text("/proc/sys/vm/nr_hugepages", "4"))
		SKIP("no hugetlb");
	p = mmap(NULL, HUGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED)
		SKIP("no hugetlb page");
	return p;
}

void hugetlb_done(void)
{
	write_text("/proc/sys/vm/nr_hugepages", "0");
}

void *shared_file(size_t length, int *fd, uint64_t seed)
{
	char *p;

	*fd = memfd_create("data", MFD_CLOEXEC);
	ASSERT_GE(*fd, 0);
	ASSERT_EQ(ftruncate(*fd, length), 0);
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	pattern_fill(p, length, seed);
	return p;
}

/* ---- swap ---- */

#define RAMDISK "/dev/ram0"

bool swap_on(void)
{
	static char header[4096];
	uint32_t *info = (uint32_t *)(header + 1024);
	uint32_t pages = (32 << 20) / PAGE;
	int fd;

	info[0] = 1;
	info[1] = pages - 1;
	memcpy(header + PAGE - 10, "SWAPSPACE2", 10);
	fd = open(RAMDISK, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (write(fd, header, sizeof(header)) != sizeof(header) || fsync(fd)) {
		close(fd);
		return false;
	}
	close(fd);
	return !swapon(RAMDISK, 0);
}

int swap_off(void)
{
	return swapoff(RAMDISK) ? -errno : 0;
}

/* ---- KSM, pins ---- */

#define KSM "/sys/kernel/mm/ksm/"

void ksm_merge(void *p, size_t length)
{
	struct timespec tick = { .tv_nsec = 20000000 };
	long enough = length / PAGE / 2;
	int i;

	if (!write_text(KSM "run", "1"))
		SKIP("no KSM");
	write_text(KSM "pages_to_scan", "2000");
	write_text(KSM "sleep_millisecs", "1");
	ASSERT_RET(madvise(p, length, MADV_MERGEABLE), 0);
	for (i = 0; i < 500 && read_number(KSM "pages_sharing") < enough; i++)
		nanosleep(&tick, NULL);
	write_text(KSM "run", "0");
	if (read_number(KSM "pages_sharing") < enough)
		SKIP("KSM merged nothing");
}

/* As a buffer of an io_uring. */
int longterm_pin(void *p, size_t length)
{
	struct io_uring_params params = { 0 };
	struct iovec iov = { p, length };
	int fd = syscall(SYS_io_uring_setup, 1, &params);

	if (fd < 0)
		return -1;
	if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &iov, 1)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- processes ---- */

int fd_send(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	char byte = 'f';
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

int fd_receive(int sock)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &msg, 0) != 1)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

void *shared_page(void)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_TRUE(p != MAP_FAILED);
	return p;
}

pthread_barrier_t *shared_barrier(unsigned int count)
{
	pthread_barrier_t *b = shared_page();
	pthread_barrierattr_t attr;

	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	ASSERT_EQ(pthread_barrier_init(b, &attr, count), 0);
	return b;
}

int reap(pid_t pid)
{
	int fd = syscall(SYS_pidfd_open, pid, 0), ret;

	ASSERT_GE(fd, 0);
	ret = syscall(SYS_process_mrelease, fd, 0) ? -errno : 0;
	close(fd);
	return ret;
}

bool thread_sleeps(pid_t tid)
{
	struct timespec tick = { .tv_nsec = 1000000 };
	char path[64], buf[400];
	const char *p;
	int i;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	for (i = 0; i < 5000; i++) {
		if (read_text(path, buf, sizeof(buf))) {
			p = strrchr(buf, ')');
			if (p && (p[2] == 'S' || p[2] == 'D'))
				return true;
		}
		nanosleep(&tick, NULL);
	}
	return false;
}

/* ---- furniture ---- */

void stay_on_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	ASSERT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
}

#define PRIVATE		{ "private", UVM_MEMORY_PRIVATE, false }
#define PRIVATE_THP	{ "private_thp", UVM_MEMORY_PRIVATE, true }
#define COHERENT	{ "coherent", UVM_MEMORY_COHERENT, false }
#define COHERENT_THP	{ "coherent_thp", UVM_MEMORY_COHERENT, true }
#define NUMA		{ "numa", UVM_MEMORY_NUMA, false }
#define NUMA_THP	{ "numa_thp", UVM_MEMORY_NUMA, true }
#define PRIVATE_MANAGED	{ "private_managed", UVM_MEMORY_PRIVATE, .managed = true }
#define COHERENT_MANAGED { "coherent_managed", UVM_MEMORY_COHERENT, .managed = true }
#define NO_MORE		{ NULL, 0, false }

const struct variant all_kinds[] = {
	PRIVATE, PRIVATE_THP, COHERENT, COHERENT_THP, NUMA, NUMA_THP, NO_MORE,
};
const struct variant kinds[] = { PRIVATE, COHERENT, NUMA, NO_MORE };
const struct variant kinds_huge[] = {
	PRIVATE, PRIVATE_THP, COHERENT, COHERENT_THP, NUMA, NO_MORE,
};
const struct variant devices[] = { PRIVATE, COHERENT, NO_MORE };
const struct variant devices_huge[] = {
	PRIVATE, PRIVATE_THP, COHERENT, COHERENT_THP, NO_MORE,
};
const struct variant only_private[] = { PRIVATE, NO_MORE };
const struct variant only_coherent[] = { COHERENT, NO_MORE };
const struct variant in_place[] = { COHERENT, COHERENT_THP, NUMA, NO_MORE };

const struct variant all_kinds_managed[] = {
	PRIVATE, PRIVATE_THP, COHERENT, COHERENT_THP, NUMA, NUMA_THP, PRIVATE_MANAGED,
	COHERENT_MANAGED, NO_MORE,
};
const struct variant kinds_managed[] = {
	PRIVATE, COHERENT, NUMA, PRIVATE_MANAGED, COHERENT_MANAGED, NO_MORE,
};
const struct variant kinds_huge_managed[] = {
	PRIVATE, PRIVATE_THP, COHERENT, COHERENT_THP, NUMA, PRIVATE_MANAGED,
	COHERENT_MANAGED, NO_MORE,
};
const struct variant devices_managed[] = {
	PRIVATE, COHERENT, PRIVATE_MANAGED, COHERENT_MANAGED, NO_MORE,
};
const struct variant devices_huge_managed[] = {
	PRIVATE, PRIVATE_THP, COHERENT, COHERENT_THP, PRIVATE_MANAGED, COHERENT_MANAGED,
	NO_MORE,
};
const struct variant private_managed[] = { PRIVATE, PRIVATE_MANAGED, NO_MORE };
const struct variant managed_coherent[] = { COHERENT_MANAGED, NO_MORE };
const struct variant managed_devices[] = { PRIVATE_MANAGED, COHERENT_MANAGED, NO_MORE };

#define SMALL_PAGES	64

void fix_reopen(struct fix *f)
{
	ASSERT_RET(space_open(&f->s), 0);
	ASSERT_RET(register_gpu(f->s.fd, f->gpu.uuid), 0);
	ASSERT_RET(channel_create(f->s.fd, f->gpu.uuid, &f->channel), 0);
	if (!f->pair)
		return;
	ASSERT_RET(register_gpu(f->s.fd, f->gpu2.uuid), 0);
	ASSERT_RET(channel_create(f->s.fd, f->gpu2.uuid, &f->channel2), 0);
}

void memory_need(const struct variant *v)
{
	if (v->huge && !thp_ready())
		SKIP("no transparent huge pages");
	if (v->managed)
		managed_gpus_need();
}

static void fix_setup(struct fix *f, const struct variant *v, bool pair)
{
	memset(f, 0, sizeof(*f));
	memory_need(v);
	gpu_need(v->kind, 0, &f->gpu);
	if (pair)
		gpu_need(v->kind, 1, &f->gpu2);
	f->pair = pair;
	f->huge = v->huge;
	f->managed = v->managed;
	f->length = v->huge ? 2 * HUGE : SMALL_PAGES * PAGE;
	fix_reopen(f);
}

void fix_open(struct fix *f, const struct variant *v)
{
	fix_setup(f, v, false);
}

void fix_pair(struct fix *f, const struct variant *v)
{
	fix_setup(f, v, true);
}

void fix_close(struct fix *f)
{
	space_close(&f->s);
}

static void *make_buffer(struct fix *f, size_t length)
{
	void *p;

	if (f->managed) {
		p = managed(f->s.fd, length);
		madvise(p, length, f->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		return p;
	}
	if (f->huge) {
		p = anon_huge(length);
		ASSERT_EQ(length % HUGE, 0);
		ASSERT_RET(madvise(p, length, MADV_HUGEPAGE), 0);
		return p;
	}
	p = anon(length, PROT_READ | PROT_WRITE, 0);
	/* fails on a kernel without huge pages, which is as good */
	madvise(p, length, MADV_NOHUGEPAGE);
	return p;
}

void *fix_buffer(struct fix *f, size_t length)
{
	void *p = make_buffer(f, length);

	if (f->stay)
		stay(f->s.fd, p, length);
	return p;
}

void *fix_pattern(struct fix *f, size_t length, uint64_t seed)
{
	void *p = fix_buffer(f, length);

	pattern_fill(p, length, seed);
	if (f->huge && huge_bytes(p) < length)
		SKIP("the kernel had no huge page to give");
	return p;
}

static void expect_all_moved(const struct uvm_migrate *m, size_t length)
{
	expect_accounts(m);
	EXPECT_EQ(m->out_done, length);
	EXPECT_EQ(m->out_skipped[UVM_SKIP_BUSY], 0);
	EXPECT_EQ(m->out_moved + m->out_already, length / PAGE);
}

void fix_to_gpu(struct fix *f, const void *p, size_t length)
{
	struct uvm_migrate m;

	ASSERT_RET(migrate(f->s.fd, p, length, UVM_DEST_GPU, 0, f->gpu.uuid, &m), 0);
	expect_all_moved(&m, length);
	ASSERT_EQ(fix_on_gpu(f, p, length), length / PAGE);
}

void fix_to_gpu2(struct fix *f, const void *p, size_t length)
{
	struct uvm_migrate m;

	ASSERT_RET(migrate(f->s.fd, p, length, UVM_DEST_GPU, 0, f->gpu2.uuid, &m), 0);
	expect_all_moved(&m, length);
	ASSERT_EQ(fix_on_gpu2(f, p, length), length / PAGE);
}

/* Memory of a NUMA GPU is system memory already, so name a node there. */
void fix_to_cpu(struct fix *f, const void *p, size_t length)
{
	bool numa = f->gpu.memory_kind == UVM_MEMORY_NUMA;
	struct uvm_migrate m;

	ASSERT_RET(migrate(f->s.fd, p, length,
			   numa ? UVM_DEST_CPU_NODE : UVM_DEST_CPU, 0, NULL, &m), 0);
	expect_all_moved(&m, length);
	ASSERT_EQ(fix_on_cpu(f, p, length), length / PAGE);
}

/* What stops it should have a reason. */
int fix_run(struct fix *f, const struct uvm_sim_cmd *cmds, unsigned int count)
{
	int ret = channel_run(f->s.fd, f->channel, cmds, count);
	struct uvm_channel_query q;

	if (ret == -ECANCELED && !channel_query(f->s.fd, f->channel, &q))
		harness_note("the channel is in state %u: reason %u, access %u at 0x%llx; op %u at 0x%llx from 0x%llx",
			     q.out_state, q.out_reason, q.out_access,
			     (unsigned long long)q.out_address, cmds->op,
			     (unsigned long long)cmds->dst,
			     (unsigned long long)cmds->src);
	return ret;
}

uint64_t fix_gpu_sum(struct fix *f, const void *p, size_t length)
{
	volatile uint64_t *sum = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uvm_sim_cmd cmd = CMD(SUM, .dst = ADDR(sum), .src = ADDR(p),
				     .length = length);
	uint64_t seen;

	if (f->stay)
		stay(f->s.fd, (void *)sum, PAGE);
	ASSERT_RET(fix_run(f, &cmd, 1), 0);
	seen = *sum;
	munmap((void *)sum, PAGE);
	return seen;
}

void fix_fill(struct fix *f, void *p, size_t length, int byte)
{
	struct uvm_sim_cmd c = CMD(FILL, .dst = ADDR(p), .length = length,
				   .arg0 = byte);

	ASSERT_RET(fix_run(f, &c, 1), 0);
}

void fix_copy(struct fix *f, void *to, const void *from, size_t length)
{
	struct uvm_sim_cmd c = CMD(COPY, .dst = ADDR(to), .src = ADDR(from),
				   .length = length);

	ASSERT_RET(fix_run(f, &c, 1), 0);
}

void fix_xor(struct fix *f, void *p, size_t length, uint64_t key)
{
	struct uvm_sim_cmd c = CMD(XOR, .dst = ADDR(p), .length = length,
				   .arg0 = key);

	ASSERT_RET(fix_run(f, &c, 1), 0);
}

void cpu_xor(void *p, size_t length, uint64_t key)
{
	uint64_t *words = p;
	size_t i;

	for (i = 0; i < length / 8; i++)
		words[i] ^= uvm_sim_keystream(key, i);
}

/* On a channel of its own, for it dies; the usual one lives on. */
void fix_expect_fault(struct fix *f, struct uvm_sim_cmd c, const void *address,
		      int reason, int access)
{
	struct uvm_sim_cmd nop = CMD(NOP);
	struct uvm_channel_query q;
	uint64_t point = 0;
	uint32_t channel = 0;

	ASSERT_RET(channel_create(f->s.fd, f->gpu.uuid, &channel), 0);
	ASSERT_RET(channel_submit(f->s.fd, channel, &c, 1, &point), 0);
	EXPECT_RET(channel_wait(f->s.fd, channel, point, PATIENCE, NULL), -ECANCELED);
	ASSERT_RET(channel_query(f->s.fd, channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_FAULTED);
	EXPECT_EQ(q.out_reason, reason);
	EXPECT_EQ(q.out_access, access);
	EXPECT_EQ(q.out_address, ADDR(address));
	EXPECT_RET(channel_destroy(f->s.fd, channel), 0);
	EXPECT_RET(fix_run(f, &nop, 1), 0);
}

static bool on_gpu(const struct uvm_page_state *st, const struct uvm_gpu_info *g)
{
	return st->where == UVM_WHERE_GPU && st->id == g->id;
}

struct tally fix_tally(struct fix *f, const void *p, size_t length)
{
	size_t i, n = length / PAGE;
	struct uvm_page_state *st = calloc(n, sizeof(*st));
	struct tally t = { 0 };

	ASSERT_TRUE(st != NULL);
	ASSERT_RET(residency(f->s.fd, p, length, st), 0);
	for (i = 0; i < n; i++) {
		if (on_gpu(&st[i], &f->gpu))
			t.gpu++;
		else if (f->pair && on_gpu(&st[i], &f->gpu2))
			t.gpu2++;
		else if (st[i].where == UVM_WHERE_CPU)
			t.cpu++;
		else if (st[i].where == UVM_WHERE_NONE)
			t.none++;
		else
			t.other++;
	}
	free(st);
	return t;
}

unsigned long fix_on_gpu(struct fix *f, const void *p, size_t length)
{
	return fix_tally(f, p, length).gpu;
}

unsigned long fix_on_gpu2(struct fix *f, const void *p, size_t length)
{
	return fix_tally(f, p, length).gpu2;
}

unsigned long fix_on_cpu(struct fix *f, const void *p, size_t length)
{
	return fix_tally(f, p, length).cpu;
}

/* ---- leaks ---- */

static struct uvm_gpu_info before[MAX_GPUS];
static int before_count;

uint64_t gpu_free(const struct uvm_gpu_info *gpu)
{
	struct uvm_gpu_info now;

	return gpu_by_uuid(gpu->uuid, &now) ? now.memory_free : 0;
}

/* Pages are freed by a worker, so a moment later is soon enough. */
bool gpu_free_returns(const struct uvm_gpu_info *gpu, uint64_t bytes)
{
	struct timespec tick = { .tv_nsec = 10000000 };
	int i;

	for (i = 0; i < 500; i++) {
		if (gpu_free(gpu) >= bytes)
			return true;
		nanosleep(&tick, NULL);
	}
	return false;
}

static void leak_before(void)
{
	before_count = gpus_list(before, MAX_GPUS);
}

static bool leak_after(char *why, size_t size)
{
	int i;

	for (i = 0; i < before_count; i++) {
		if (gpu_free_returns(&before[i], before[i].memory_free))
			continue;
		snprintf(why, size, "GPU %u: memory_free was %llu before, is %llu after",
			 before[i].id, (unsigned long long)before[i].memory_free,
			 (unsigned long long)gpu_free(&before[i]));
		return false;
	}
	return true;
}

void leak_check_install(void)
{
	harness_hook.before = leak_before;
	harness_hook.after = leak_after;
}
