// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves of managed memory, mappings of a VA space's file: who may map what where, and
 * that whoever may not leaves no trace; that it is zero at first, whoever's bytes were
 * there before, and keeps its bytes whatever is done to the mapping, in part or as a
 * whole; that what is unmapped is free, and nothing else; that a child has none of it;
 * that system calls read and write it, also while it moves; that it is charged; and
 * that it moves as ordinary memory does, and comes back. Its copies have a suite of their
 * own.
 *
 * "In part" is at every place of a block of 2 MiB where it could matter, and across blocks.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "lib_cgroup.h"
#include "lib_device.h"
#include "lib_lifetime.h"
#include "lib_managed.h"
#include "lib_memory.h"
#include "lib_policy.h"
#include "lib_pressure.h"
#include "lib_sim.h"
#include "lib_uvm.h"

#define NR(array)	(sizeof(array) / sizeof((array)[0]))
#define RW		(PROT_READ | PROT_WRITE)
#define SECRET		0x5a
#define KIB		(1UL << 10)
#define MIB		(1UL << 20)
#define SMALL		(64 * PAGE)

/* ---- what every test needs ---- */

/* A GPU, whose own memory needn't be able to hold managed pages */
static void open_in_place(struct fix *f, const struct variant *v)
{
	managed_gpus_need();
	memset(f, 0, sizeof(*f));
	gpu_need(v->kind, 0, &f->gpu);
	f->managed = true;
	f->length = SMALL;
	fix_reopen(f);
}

/* Addresses with nothing there, until somebody maps something anywhere */
static char *hole(size_t length)
{
	char *p = managed_room(length);

	/* what is around it stays, so nobody else comes to be here */
	ASSERT_RET(munmap(p, length), 0);
	return p;
}

static void *pattern(int fd, size_t length, uint64_t seed)
{
	char *p = managed(fd, length);

	pattern_fill(p, length, seed);
	return p;
}

static void expect_pages(const char *p, size_t first, size_t end, uint64_t seed)
{
	EXPECT_EQ(pattern_check_from(p + first * PAGE, (end - first) * PAGE, seed, first),
		  -1);
}

/* ---- accesses that fail ---- */

static __thread sigjmp_buf trap;

static void trapped(int number)
{
	siglongjmp(trap, number);
}

/* The signal that a load, or a store that changes nothing, ends with; or 0 */
static int signal_of(char *p, bool store)
{
	struct sigaction sa = { .sa_handler = trapped }, segv, bus;
	int number;

	sigaction(SIGSEGV, &sa, &segv);
	sigaction(SIGBUS, &sa, &bus);
	number = sigsetjmp(trap, 1);
	if (!number) {
		if (store)
			__atomic_fetch_or(p, 0, __ATOMIC_SEQ_CST);
		else
			(void)*(volatile char *)p;
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return number;
}

static void expect_signals(char *p, size_t pages, int load, int store)
{
	size_t i;

	for (i = 0; i < pages; i++) {
		EXPECT_EQ(signal_of(p + i * PAGE, false), load);
		EXPECT_EQ(signal_of(p + i * PAGE, true), store);
	}
}

/* ---- no trace ---- */

struct traces {
	char maps[1 << 18];
	long locked;
	struct managed_account account;
};

static void maps_read(char *buf, size_t size)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t done = 0;
	ssize_t n;

	ASSERT_GE(fd, 0);
	do {
		n = read(fd, buf + done, size - 1 - done);
		ASSERT_GE(n, 0);
		done += n;
	} while (n);
	buf[done] = 0;
	close(fd);
}

/* A number in kB of /proc/self/status, in pages */
static long status_pages(const char *name)
{
	char text[4096], *line;

	ASSERT_TRUE(read_text("/proc/self/status", text, sizeof(text)));
	line = strstr(text, name);
	ASSERT_TRUE(line != NULL);
	return strtol(line + strlen(name), NULL, 10) / 4;
}

static void traces_read(struct traces *t, int fd)
{
	managed_account_read(fd, &t->account);
	t->locked = status_pages("VmLck:");
	maps_read(t->maps, sizeof(t->maps));
}

static int map_once(int fd, void *at, size_t length, int prot, int flags, uint64_t offset)
{
	void *p = mmap(at, length, prot, flags, fd, offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, length);
	return 0;
}

/* The call fails with @want, and nothing is as if it had been made. */
#define EXPECT_REFUSED(fd, at, length, prot, flags, offset, want) do {	\
	static struct traces before_, after_;				\
									\
	traces_read(&before_, fd);					\
	EXPECT_RET(map_once(fd, at, length, prot, flags, offset), want); \
	traces_read(&after_, fd);					\
	EXPECT_EQ(strcmp(before_.maps, after_.maps), 0);		\
	EXPECT_EQ(after_.account.cpu, before_.account.cpu);		\
	EXPECT_EQ(after_.account.blocks, before_.account.blocks);	\
	EXPECT_EQ(after_.locked, before_.locked);			\
} while (0)

/* What /proc/self/maps says of the mapping at @p */
struct listing {
	unsigned long from, to, offset;
	char rights[8];
};

static bool listing_of(const void *p, struct listing *l)
{
	char line[300];
	FILE *f = fopen("/proc/self/maps", "re");
	bool found = false;

	ASSERT_TRUE(f != NULL);
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%lx-%lx %7s %lx", &l->from, &l->to, l->rights,
			       &l->offset) == 4 &&
			l->from <= ADDR(p) && ADDR(p) < l->to;
	fclose(f);
	return found;
}

static void expect_mapped(const void *p, size_t length)
{
	struct listing l;

	ASSERT_TRUE(listing_of(p, &l));
	EXPECT_EQ(l.from, ADDR(p));
	EXPECT_EQ(l.to, ADDR(p) + length);
	EXPECT_EQ(l.offset, ADDR(p));
	EXPECT_EQ(strcmp(l.rights, "rw-s"), 0);
}

/* ---- who may map what where ---- */

TEST(ways_to_map)
{
	struct managed_account was;
	struct space s;
	char *p;

	open_space(&s);
	managed_account_read(s.fd, &was);
	p = hole(SMALL);

	ASSERT_TRUE(mmap(NULL, SMALL, RW, MAP_SHARED, s.fd, ADDR(p)) == p);
	expect_mapped(p, SMALL);
	EXPECT_BYTES(p, SMALL, 0);
	memset(p, 1, SMALL);
	ASSERT_RET(munmap(p, SMALL), 0);
	EXPECT_EQ(signal_of(p, false), SIGSEGV);

	EXPECT_RET(managed_try(s.fd, p, SMALL), 0);
	expect_mapped(p, SMALL);
	EXPECT_BYTES(p, SMALL, 0);
	ASSERT_RET(munmap(p, SMALL), 0);

	ASSERT_TRUE(mmap(p, SMALL, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, s.fd,
			 ADDR(p)) == p);
	expect_mapped(p, SMALL);
	ASSERT_RET(munmap(p, SMALL), 0);

	managed_at(s.fd, p, SMALL);
	expect_mapped(p, SMALL);
	memset(p, 2, SMALL);
	ASSERT_RET(munmap(p, SMALL), 0);
	EXPECT_TRUE(managed_account_returns(s.fd, &was));
	space_close(&s);
}

/* Files of the device that are no VA space whose mm this is */
TEST(wrong_file)
{
	struct space s;
	char *p, *taken;
	int fd;

	open_space(&s);
	taken = anon(PAGE, RW, 0);
	memset(taken, 1, PAGE);
	p = hole(SMALL);
	fd = uvm_open();
	ASSERT_GE(fd, 0);
	EXPECT_REFUSED(fd, p, SMALL, RW, MAP_SHARED, ADDR(p), -EBADFD);
	ASSERT_RET(va_init(fd, 0), 0);
	EXPECT_REFUSED(fd, p, SMALL, RW, MAP_SHARED, ADDR(p), -EBADFD);
	close(fd);

	fd = uvm_open();
	ASSERT_RET(va_init(fd, UVM_INIT_MULTI_PROCESS), 0);
	EXPECT_REFUSED(fd, p, SMALL, RW, MAP_SHARED, ADDR(p), -EOPNOTSUPP);
	close(fd);

	EXPECT_REFUSED(s.mm_fd, p, SMALL, RW, MAP_SHARED, ADDR(p), -EBADFD);
	/* over something, too, which must still be there */
	EXPECT_REFUSED(s.mm_fd, taken, PAGE, RW, MAP_SHARED | MAP_FIXED, ADDR(taken),
		       -EBADFD);
	EXPECT_BYTES(taken, PAGE, 1);
	close(s.mm_fd);
	s.mm_fd = -1;
	EXPECT_REFUSED(s.fd, p, SMALL, RW, MAP_SHARED, ADDR(p), -ESRCH);
	space_close(&s);
}

TEST(wrong_process)
{
	struct space s;
	char *p, *taken;
	pid_t pid;

	open_space(&s);
	taken = anon(SMALL, RW, 0);
	pattern_fill(taken, SMALL, 1);
	p = hole(SMALL);
	pid = child();
	if (!pid) {
		EXPECT_REFUSED(s.fd, p, SMALL, RW, MAP_SHARED, ADDR(p), -EPERM);
		EXPECT_REFUSED(s.fd, taken, SMALL, RW, MAP_SHARED | MAP_FIXED,
			       ADDR(taken), -EPERM);
		EXPECT_PATTERN(taken, SMALL, 1);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	space_close(&s);
}

TEST(wrong_kind)
{
	static const int rights[] = {
		PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC, PROT_READ | PROT_EXEC,
		RW | PROT_EXEC,
	};
	struct space s;
	size_t i;
	char *p;

	open_space(&s);
	p = hole(SMALL);
	EXPECT_REFUSED(s.fd, p, SMALL, RW, MAP_PRIVATE, ADDR(p), -EINVAL);
	for (i = 0; i < NR(rights); i++)
		EXPECT_REFUSED(s.fd, p, SMALL, rights[i], MAP_SHARED, ADDR(p), -EINVAL);

	/* a file that isn't open for writing may not be mapped so, says the kernel */
	space_close(&s);
	s.fd = open("/dev/uvm", O_RDONLY | O_CLOEXEC);
	ASSERT_GE(s.fd, 0);
	ASSERT_RET(va_init(s.fd, 0), 0);
	s.mm_fd = uvm_open();
	ASSERT_RET(mm_init(s.mm_fd, s.fd), 0);
	EXPECT_REFUSED(s.fd, p, SMALL, RW, MAP_SHARED, ADDR(p), -EACCES);
	space_close(&s);
}

/* The offset is the address; there is no other way to say where. */
TEST(wrong_place)
{
	struct space s;
	char *p, *taken;

	open_space(&s);
	taken = anon(SMALL, RW, 0);
	pattern_fill(taken, SMALL, 1);
	p = hole(4 * SMALL);

	EXPECT_REFUSED(s.fd, NULL, SMALL, RW, MAP_SHARED, 0, -EINVAL);
	EXPECT_REFUSED(s.fd, p, SMALL, RW, MAP_SHARED, 0, -EINVAL);
	EXPECT_REFUSED(s.fd, p, SMALL, RW, MAP_SHARED, ADDR(p) + PAGE, -EINVAL);
	EXPECT_REFUSED(s.fd, p + PAGE, SMALL, RW, MAP_SHARED, ADDR(p), -EINVAL);
	EXPECT_REFUSED(s.fd, p, SMALL, RW, MAP_SHARED | MAP_FIXED_NOREPLACE,
		       ADDR(p) + PAGE, -EINVAL);
	EXPECT_REFUSED(s.fd, taken, SMALL, RW, MAP_SHARED | MAP_FIXED, ADDR(p), -EINVAL);
	EXPECT_REFUSED(s.fd, taken, SMALL, RW, MAP_SHARED | MAP_FIXED, 0, -EINVAL);
	EXPECT_PATTERN(taken, SMALL, 1);

	EXPECT_REFUSED(s.fd, p, SMALL, RW, MAP_SHARED, ADDR(p) + 8, -EINVAL);
	EXPECT_REFUSED(s.fd, p, 0, RW, MAP_SHARED, ADDR(p), -EINVAL);
	/* beyond what a process has */
	EXPECT_REFUSED(s.fd, NULL, SMALL, RW, MAP_SHARED, 1UL << 62, -ENOMEM);
	EXPECT_REFUSED(s.fd, NULL, 1UL << 62, RW, MAP_SHARED, ADDR(p), -ENOMEM);
	EXPECT_EQ(map_once(s.fd, p, SMALL, RW, MAP_SHARED, ADDR(p)), 0);
	space_close(&s);
}

static void expect_overlaps(int fd, char *p, size_t first, size_t pages)
{
	char *at = p + first * PAGE;

	EXPECT_REFUSED(fd, at, pages * PAGE, RW, MAP_SHARED, ADDR(at), -EEXIST);
	EXPECT_REFUSED(fd, NULL, pages * PAGE, RW, MAP_SHARED, ADDR(at), -EEXIST);
	EXPECT_REFUSED(fd, at, pages * PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE,
		       ADDR(at), -EEXIST);
}

/* Something is there: all of it, its ends, its middle, or it is inside. */
TEST(overlap)
{
	struct space s;
	char *p;
	int i;

	open_space(&s);
	p = hole(12 * PAGE);
	for (i = 0; i < 2; i++) {
		if (i)
			managed_at(s.fd, p + 4 * PAGE, 4 * PAGE);
		else
			ASSERT_TRUE(mmap(p + 4 * PAGE, 4 * PAGE, RW, MAP_PRIVATE |
					 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + 4 * PAGE);
		pattern_fill(p + 4 * PAGE, 4 * PAGE, i);
		expect_overlaps(s.fd, p, 4, 4);
		expect_overlaps(s.fd, p, 0, 5);
		expect_overlaps(s.fd, p, 7, 5);
		expect_overlaps(s.fd, p, 5, 1);
		expect_overlaps(s.fd, p, 0, 12);
		EXPECT_PATTERN(p + 4 * PAGE, 4 * PAGE, i);
	}
	/* next to it is fine */
	EXPECT_RET(managed_try(s.fd, p, 4 * PAGE), 0);
	EXPECT_RET(managed_try(s.fd, p + 8 * PAGE, 4 * PAGE), 0);
	EXPECT_PATTERN(p + 4 * PAGE, 4 * PAGE, 1);
	EXPECT_BYTES(p, 4 * PAGE, 0);
	EXPECT_BYTES(p + 8 * PAGE, 4 * PAGE, 0);
	space_close(&s);
}

/* What MAP_FIXED replaces is gone, whatever it was. */
TEST(fixed_replaces)
{
	struct space s;
	char *p;

	open_space(&s);
	p = anon(SMALL, RW, 0);
	memset(p, SECRET, SMALL);
	managed_at(s.fd, p + PAGE, SMALL - 2 * PAGE);
	EXPECT_BYTES(p, PAGE, SECRET);
	EXPECT_BYTES(p + PAGE, SMALL - 2 * PAGE, 0);
	EXPECT_BYTES(p + SMALL - PAGE, PAGE, SECRET);

	memset(p + PAGE, SECRET, SMALL - 2 * PAGE);
	managed_at(s.fd, p + 3 * PAGE, 5 * PAGE);
	EXPECT_BYTES(p, 3 * PAGE, SECRET);
	EXPECT_BYTES(p + 3 * PAGE, 5 * PAGE, 0);
	EXPECT_BYTES(p + 8 * PAGE, SMALL - 8 * PAGE, SECRET);

	/* and the other way round */
	ASSERT_TRUE(mmap(p + 4 * PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			 -1, 0) == p + 4 * PAGE);
	EXPECT_BYTES(p + 3 * PAGE, 5 * PAGE, 0);
	space_close(&s);
}

/* Whoever maps keeps the file; what is there outlives both descriptors. */
TEST(files_closed)
{
	struct managed_account was;
	struct space s;
	int copy;
	char *p, *q;

	open_space(&s);
	managed_account_read(s.fd, &was);
	copy = dup(s.fd);
	p = pattern(copy, SMALL, 1);
	q = managed(s.fd, SMALL);
	q[PAGE] = 1;
	close(copy);
	space_close(&s);
	EXPECT_PATTERN(p, SMALL, 1);
	/* also what nobody has touched yet, and by whole new entries */
	EXPECT_BYTES(q + 2 * PAGE, SMALL - 2 * PAGE, 0);
	pattern_fill(p, SMALL, 2);
	EXPECT_RET(madvise(p, SMALL, MADV_DONTNEED), 0);
	EXPECT_PATTERN(p, SMALL, 2);
	ASSERT_RET(munmap(p, SMALL), 0);
	ASSERT_RET(munmap(q, SMALL), 0);
	EXPECT_TRUE(managed_blocks_return(was.blocks));
	EXPECT_TRUE(list_forgets(getpid()));
}

/* ---- zero at first ---- */

/* Whatever memory is handed out next, somebody else's bytes were in it. */
static void spread_secrets(size_t length)
{
	struct space s;
	pid_t pid;
	char *p;

	pid = child();
	if (!pid) {
		memset(anon(length, RW, 0), SECRET, length);
		ASSERT_RET(space_open(&s), 0);
		p = managed(s.fd, length);
		memset(p, SECRET, length);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
}

TEST(first_touch)
{
	const size_t length = 4 * HUGE;
	struct space s;
	unsigned int i;
	char *p;

	open_space(&s);
	spread_secrets(4 * length);
	p = managed(s.fd, length);
	/* a part by stores, a part by loads, a part by the kernel */
	for (i = 0; i < length / PAGE; i += 3)
		p[i * PAGE + i % PAGE] = 0;
	EXPECT_RET(madvise(p + HUGE, HUGE, MADV_POPULATE_READ), 0);
	EXPECT_RET(madvise(p + 2 * HUGE, HUGE, MADV_POPULATE_WRITE), 0);
	EXPECT_BYTES(p, length, 0);
	for (i = 0; i < 4; i++) {
		memset(p, SECRET, length);
		ASSERT_RET(munmap(p, length), 0);
		ASSERT_RET(managed_try(s.fd, p, length), 0);
		EXPECT_BYTES(p, length, 0);
	}
	space_close(&s);
}

/* Each page is itself. */
TEST(touched_alone)
{
	struct managed_account was, now;
	struct space s;
	size_t i;
	char *p;

	open_space(&s);
	managed_account_read(s.fd, &was);
	p = managed(s.fd, 2 * HUGE);
	for (i = 7; i < 2 * HUGE / PAGE; i += 100)
		p[i * PAGE] = i;
	managed_account_read(s.fd, &now);
	if (was.cpu >= 0)
		EXPECT_GE(now.cpu, was.cpu + (2 * HUGE / PAGE + 92) / 100);
	for (i = 0; i < 2 * HUGE / PAGE; i++) {
		EXPECT_EQ(p[i * PAGE], (char)(i % 100 == 7 ? i : 0));
		EXPECT_BYTES(p + i * PAGE + 1, PAGE - 1, 0);
	}
	ASSERT_RET(munmap(p, 2 * HUGE), 0);
	EXPECT_TRUE(managed_account_returns(s.fd, &was));
	space_close(&s);
}

/* What is touched comes alone, or the test is skipped. */
static void single_pages(const char *p, size_t length)
{
	if (madvise((void *)p, length, MADV_NOHUGEPAGE))
		SKIP("the kernel knows nothing of huge pages");
}

static unsigned long cpu_pages(struct space *s, const char *p)
{
	struct range_answer range;

	ASSERT_RET(range_query(s->fd, p, &range), 0);
	return range_pages(&range, UVM_PROCESSOR_CPU);
}

/* How many come along with one that is touched, and those are its mapping's own. */
TEST(pieces)
{
	const size_t piece = 16 * PAGE;
	struct managed_account was;
	struct space s;
	char *p, *q;

	open_space(&s);
	managed_account_read(s.fd, &was);
	p = managed(s.fd, 3 * HUGE);
	/* all of an empty block */
	p[HUGE + 5 * PAGE] = 1;
	EXPECT_EQ(cpu_pages(&s, p), HUGE / PAGE);
	EXPECT_BYTES(p + HUGE + 6 * PAGE, HUGE - 6 * PAGE, 0);
	/* what goes away is free, page by page */
	ASSERT_RET(munmap(p + HUGE, 3 * PAGE), 0);
	EXPECT_EQ(cpu_pages(&s, p + 2 * HUGE), HUGE / PAGE - 3);
	EXPECT_EQ(p[HUGE + 5 * PAGE], 1);
	/* of one that isn't whole, or isn't empty, 64 KiB, if these are */
	ASSERT_RET(managed_try(s.fd, p + HUGE, 3 * PAGE), 0);
	EXPECT_EQ(p[HUGE + PAGE], 0);
	EXPECT_EQ(cpu_pages(&s, p), HUGE / PAGE - 2);
	EXPECT_EQ(p[HUGE], 0);
	ASSERT_RET(munmap(p + HUGE, piece), 0);
	EXPECT_EQ(cpu_pages(&s, p + 2 * HUGE), HUGE / PAGE - piece / PAGE);
	ASSERT_RET(managed_try(s.fd, p + HUGE, piece), 0);
	EXPECT_EQ(p[HUGE + 3 * PAGE], 0);
	EXPECT_EQ(cpu_pages(&s, p), HUGE / PAGE);
	/* one where that is said */
	single_pages(p, HUGE);
	p[7 * PAGE] = 1;
	EXPECT_EQ(p[8 * PAGE], 0);
	EXPECT_EQ(cpu_pages(&s, p), HUGE / PAGE + 2);
	ASSERT_RET(munmap(p, 3 * HUGE), 0);
	EXPECT_TRUE(managed_account_returns(s.fd, &was));

	/* another one's pages don't come, though they are in the same block */
	q = managed_room(HUGE);
	managed_at(s.fd, q, piece / 2);
	q[PAGE] = 1;
	EXPECT_EQ(cpu_pages(&s, q), 1);
	ASSERT_RET(munmap(q, piece / 2), 0);
	EXPECT_TRUE(managed_account_returns(s.fd, &was));
	space_close(&s);
}

/* One that is short of memory gets less. */
TEST(pieces_limited)
{
	struct space s;
	struct group g;
	pid_t pid;
	char *p;

	managed_need();
	group_new(&g);
	pid = child();
	if (!pid) {
		group_enter(&g);
		open_space(&s);
		p = managed(s.fd, HUGE);
		group_limit(&g, (group_current(&g) + group_slack()) * PAGE + MIB);
		p[0] = 1;
		EXPECT_GE(cpu_pages(&s, p), 1);
		EXPECT_LE(cpu_pages(&s, p), (MIB + group_slack() * PAGE) / PAGE);
		space_close(&s);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_EQ(group_kills(&g), 0);
	group_end(&g);
}

/* All pages of @p are in the same state. */
static void expect_states(struct space *s, const char *p, size_t pages, int where, int prot)
{
	struct uvm_page_state st[SMALL / PAGE];
	size_t i;

	ASSERT_RET(residency(s->fd, p, pages * PAGE, st), 0);
	for (i = 0; i < pages; i++) {
		EXPECT_EQ(st[i].where, where);
		EXPECT_EQ(st[i].prot, prot);
	}
}

/* What is where is told by whoever has it, not by who has it mapped. */
TEST(where_it_is)
{
	const int rw = UVM_PAGE_READ | UVM_PAGE_WRITE;
	struct space s, other;
	char *p;

	open_space(&s);
	open_space(&other);
	p = managed(s.fd, SMALL);
	single_pages(p, SMALL);
	expect_states(&s, p, SMALL / PAGE, UVM_WHERE_NONE, 0);
	p[0] = 1;
	EXPECT_EQ(p[3 * PAGE], 0);
	expect_states(&s, p, 1, UVM_WHERE_CPU, rw);
	expect_states(&s, p + PAGE, 2, UVM_WHERE_NONE, 0);
	expect_states(&s, p + 3 * PAGE, 1, UVM_WHERE_CPU, rw);
	expect_states(&s, p + 4 * PAGE, SMALL / PAGE - 4, UVM_WHERE_NONE, 0);
	ASSERT_RET(madvise(p, SMALL, MADV_DONTNEED), 0);
	expect_states(&s, p, 1, UVM_WHERE_CPU, rw);
	expect_states(&other, p, 1, UVM_WHERE_CPU, rw);
	ASSERT_RET(mprotect(p, SMALL, PROT_READ), 0);
	expect_states(&s, p, 1, UVM_WHERE_CPU, UVM_PAGE_READ);
	expect_states(&s, p + PAGE, 2, UVM_WHERE_NONE, 0);
	ASSERT_RET(munmap(p, SMALL), 0);
	expect_states(&s, p, SMALL / PAGE, UVM_WHERE_NONE, 0);
	space_close(&other);
	space_close(&s);
}

/* As much as this is reserved, and hardly any of it touched. */
#define SPARSE		(48UL << 40)

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* What is nowhere isn't looked at, block by block: what is told, and the end, come at once. */
TEST(sparse)
{
	char *p = (char *)(16UL << 40);
	struct managed_account was;
	struct range_answer range;
	struct space s;
	double start;

	open_space(&s);
	managed_account_read(s.fd, &was);
	if (managed_try(s.fd, p, SPARSE))
		SKIP("no room for %lu TiB", SPARSE >> 40);
	single_pages(p, SPARSE);
	p[0] = 1;
	p[SPARSE / 2 + 5 * PAGE] = 1;
	p[SPARSE - 1] = 1;
	start = seconds();
	ASSERT_RET(range_query(s.fd, p + SPARSE / 4, &range), 0);
	EXPECT_EQ(range.q.out_base, ADDR(p));
	EXPECT_EQ(range.q.out_length, SPARSE);
	EXPECT_EQ(range.q.out_count, 1);
	EXPECT_EQ(range_pages(&range, UVM_PROCESSOR_CPU), 3);
	EXPECT_LT(seconds() - start, 1);
	start = seconds();
	ASSERT_RET(munmap(p, SPARSE), 0);
	EXPECT_LT(seconds() - start, 1);
	EXPECT_TRUE(managed_account_returns(s.fd, &was));
	space_close(&s);
}

#define TOUCHERS	4

struct toucher {
	pthread_t thread;
	pthread_barrier_t *barrier;
	char *p;
	unsigned int nr, rounds;
};

static void *touch_same(void *arg)
{
	struct toucher *t = arg;
	unsigned int i;

	for (i = 0; i < t->rounds; i++) {
		pthread_barrier_wait(t->barrier);
		t->p[i * PAGE + 64 * t->nr] = t->nr + 1;
		__atomic_fetch_add((uint64_t *)(t->p + i * PAGE + 1024), 1,
				   __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* Threads that touch a page first all at once have the same one. */
TEST(touched_by_many)
{
	unsigned int rounds = 512, i, k;
	struct toucher t[TOUCHERS];
	struct space s;
	char *p;

	open_space(&s);
	p = managed(s.fd, rounds * PAGE);
	for (k = 0; k < TOUCHERS; k++) {
		t[k] = (struct toucher){ .p = p, .nr = k, .rounds = rounds };
		t[k].barrier = k ? t[0].barrier : shared_barrier(TOUCHERS);
		ASSERT_EQ(pthread_create(&t[k].thread, NULL, touch_same, &t[k]), 0);
	}
	for (k = 0; k < TOUCHERS; k++)
		pthread_join(t[k].thread, NULL);
	for (i = 0; i < rounds; i++) {
		for (k = 0; k < TOUCHERS; k++)
			EXPECT_EQ(p[i * PAGE + 64 * k], k + 1);
		EXPECT_EQ(*(uint64_t *)(p + i * PAGE + 1024), TOUCHERS);
	}
	space_close(&s);
}

/* ---- in part ---- */

#define THREE		(3 * HUGE)
#define THREE_PAGES	(THREE / PAGE)

static const struct {
	size_t first, pages;
} parts[] = {
	{ 0, 1 }, { 1, 1 }, { 511, 1 }, { 512, 1 }, { 1535, 1 },
	{ 511, 2 }, { 1023, 2 }, { 15, 2 }, { 100, 16 },
	{ 0, 512 }, { 512, 512 }, { 1024, 512 },
	{ 0, 600 }, { 256, 512 }, { 500, 536 }, { 1000, 536 },
	{ 1, 1534 }, { 0, 1535 }, { 1, 1535 }, { 0, 1536 },
};

/* Where the pages are when it happens: here, or all or half of them on the GPU */
enum where { HERE, HALF, THERE, NR_WHERE };

/* With a GPU a slow kernel does some of what there is, others each time. */
static size_t where_step(enum where where, size_t *first)
{
	size_t step = where == HERE ? 1 : harness_stride(7);

	*first = (harness_seed + where) % step;
	return step;
}

static void put(struct fix *f, char *p, size_t length, enum where where)
{
	size_t at;

	if (where == THERE)
		fix_to_gpu(f, p, length);
	/* every other 128 KiB */
	for (at = 0; where == HALF && at < length; at += 64 * PAGE)
		fix_to_gpu(f, p + at, 32 * PAGE);
}

static void part_unmapped(struct fix *f, char *p, size_t i, enum where where)
{
	size_t first = parts[i].first, pages = parts[i].pages, end = first + pages;

	managed_at(f->s.fd, p, THREE);
	pattern_fill(p, THREE, i);
	put(f, p, THREE, where);
	ASSERT_RET(munmap(p + first * PAGE, pages * PAGE), 0);
	EXPECT_EQ(signal_of(p + first * PAGE, false), SIGSEGV);
	EXPECT_EQ(signal_of(p + (end - 1) * PAGE, true), SIGSEGV);
	expect_pages(p, 0, first, i);
	expect_pages(p, end, THREE_PAGES, i);
	/* those beside it belong to nobody else yet */
	EXPECT_RET(managed_try(f->s.fd, p + first * PAGE, pages * PAGE), 0);
	EXPECT_BYTES(p + first * PAGE, pages * PAGE, 0);
	pattern_fill_from(p + first * PAGE, pages * PAGE, i, first);
	EXPECT_PATTERN(p, THREE, i);
}

static void parts_unmapped(struct fix *f, enum where where)
{
	struct managed_account was;
	uint64_t free = 0;
	char *p = managed_room(THREE);
	size_t i, step = where_step(where, &i);

	if (where != HERE)
		free = gpu_free(&f->gpu);
	managed_account_read(f->s.fd, &was);
	for (; i < NR(parts); i += step) {
		part_unmapped(f, p, i, where);
		ASSERT_RET(munmap(p, THREE), 0);
		EXPECT_TRUE(managed_account_returns(f->s.fd, &was));
		if (where != HERE)
			EXPECT_TRUE(gpu_free_returns(&f->gpu, free));
	}
}

TEST_T(munmap_part, 60)
{
	struct fix f = { 0 };

	open_space(&f.s);
	parts_unmapped(&f, HERE);
	space_close(&f.s);
}

static void part_protected(struct fix *f, char *p, size_t i, enum where where)
{
	size_t first = parts[i].first, pages = parts[i].pages, end = first + pages;
	char *from = p + first * PAGE, *last = p + (end - 1) * PAGE;

	put(f, p, THREE, where);
	ASSERT_RET(mprotect(from, pages * PAGE, PROT_READ), 0);
	EXPECT_EQ(signal_of(from, true), SIGSEGV);
	EXPECT_EQ(signal_of(last, true), SIGSEGV);
	EXPECT_PATTERN(p, THREE, 1);
	put(f, p, THREE, where);
	ASSERT_RET(mprotect(from, pages * PAGE, PROT_NONE), 0);
	expect_signals(from, 1, SIGSEGV, SIGSEGV);
	expect_signals(last, 1, SIGSEGV, SIGSEGV);
	/* the neighbours go on */
	if (first)
		expect_signals(from - PAGE, 1, 0, 0);
	if (end < THREE_PAGES)
		expect_signals(last + PAGE, 1, 0, 0);
	expect_pages(p, 0, first, 1);
	expect_pages(p, end, THREE_PAGES, 1);
	ASSERT_RET(mprotect(from, pages * PAGE, RW), 0);
	expect_signals(from, 1, 0, 0);
	EXPECT_PATTERN(p, THREE, 1);
}

static void parts_protected(struct fix *f, enum where where)
{
	char *p = pattern(f->s.fd, THREE, 1);
	size_t i, step = where_step(where, &i);

	for (; i < NR(parts); i += step)
		part_protected(f, p, i, where);
	ASSERT_RET(munmap(p, THREE), 0);
}

TEST_T(mprotect_part, 60)
{
	struct fix f = { 0 };

	open_space(&f.s);
	parts_protected(&f, HERE);
	space_close(&f.s);
}

TEST(mprotect_exec)
{
	struct space s;
	char *p;

	open_space(&s);
	p = pattern(s.fd, SMALL, 1);
	EXPECT_EQ(mprotect(p, SMALL, RW | PROT_EXEC), -1);
	EXPECT_EQ(errno, EACCES);
	EXPECT_EQ(mprotect(p, SMALL, PROT_EXEC), -1);
	EXPECT_EQ(errno, EACCES);
	expect_mapped(p, SMALL);
	EXPECT_PATTERN(p, SMALL, 1);
	space_close(&s);
}

/* A policy ends with what is unmapped, and nowhere else. */
TEST(policies_split)
{
	struct policy q;
	struct space s;
	uint32_t group;
	char *p;

	open_space(&s);
	p = managed(s.fd, THREE);
	ASSERT_RET(group_create(s.fd, &group), 0);
	ASSERT_RET(policy_group(s.fd, p, THREE, group), 0);
	ASSERT_RET(policy_switch(s.fd, UVM_SET_PREFETCH, p, THREE, 0), 0);
	ASSERT_RET(mprotect(p + HUGE, HUGE, PROT_READ), 0);
	ASSERT_RET(policy_query(s.fd, p + HUGE + PAGE, &q), 0);
	EXPECT_EQ(q.q.out_base, ADDR(p));
	EXPECT_EQ(q.q.out_length, THREE);
	EXPECT_EQ(q.q.out_group, group);
	ASSERT_RET(mprotect(p + HUGE, HUGE, RW), 0);

	ASSERT_RET(munmap(p + HUGE, PAGE), 0);
	ASSERT_RET(managed_try(s.fd, p + HUGE, PAGE), 0);
	ASSERT_RET(policy_query(s.fd, p, &q), 0);
	EXPECT_EQ(q.q.out_base, ADDR(p));
	EXPECT_EQ(q.q.out_length, HUGE);
	EXPECT_EQ(q.q.out_group, group);
	EXPECT_EQ(q.q.out_policy & UVM_POLICY_PREFETCH, 0);
	ASSERT_RET(policy_query(s.fd, p + HUGE, &q), 0);
	EXPECT_EQ(q.q.out_policy, POLICY_DEFAULT);
	EXPECT_EQ(q.q.out_group, 0);
	EXPECT_EQ(q.q.out_length, PAGE);
	ASSERT_RET(policy_query(s.fd, p + HUGE + PAGE, &q), 0);
	EXPECT_EQ(q.q.out_base, ADDR(p) + HUGE + PAGE);
	EXPECT_EQ(q.q.out_length, THREE - HUGE - PAGE);
	EXPECT_EQ(q.q.out_group, group);

	/* what has the same policy again is one range again */
	ASSERT_RET(policy_group(s.fd, p + HUGE, PAGE, group), 0);
	ASSERT_RET(policy_switch(s.fd, UVM_SET_PREFETCH, p + HUGE, PAGE, 0), 0);
	ASSERT_RET(policy_query(s.fd, p, &q), 0);
	EXPECT_EQ(q.q.out_length, THREE);
	space_close(&s);
}

/* ---- fork ---- */

static void child_has_none(char *p, size_t length)
{
	pid_t pid = child();

	if (!pid) {
		expect_signals(p, length / PAGE, SIGSEGV, SIGSEGV);
		/* its own may be there */
		ASSERT_TRUE(mmap(p, length, RW, MAP_PRIVATE | MAP_ANONYMOUS |
				 MAP_FIXED_NOREPLACE, -1, 0) == p);
		memset(p, 3, length);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
}

TEST(fork_plain)
{
	struct managed_account was;
	struct space s;
	char *p;

	open_space(&s);
	p = pattern(s.fd, SMALL, 1);
	managed_account_read(s.fd, &was);
	child_has_none(p, SMALL);
	EXPECT_PATTERN(p, SMALL, 1);
	EXPECT_TRUE(managed_account_returns(s.fd, &was));
	space_close(&s);
}

/* The ways in which a child gets rid of a mapping that it should not have got */
enum child_end { CHILD_EXITS, CHILD_UNMAPS, CHILD_UNMAPS_PART, CHILD_MAPS_OVER, CHILD_KILLED,
	NR_CHILD_ENDS };

static void child_with_mapping(char *p, size_t length, enum child_end end)
{
	expect_signals(p, length / PAGE, SIGBUS, SIGBUS);
	EXPECT_RET(mprotect(p + PAGE, PAGE, PROT_READ), 0);
	switch (end) {
	case CHILD_UNMAPS:
		EXPECT_RET(munmap(p, length), 0);
		break;
	case CHILD_UNMAPS_PART:
		EXPECT_RET(munmap(p + 3 * PAGE, 5 * PAGE), 0);
		break;
	case CHILD_MAPS_OVER:
		ASSERT_TRUE(mmap(p, length, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				 -1, 0) == p);
		memset(p, 3, length);
		break;
	case CHILD_KILLED:
		kill(getpid(), SIGKILL);
		break;
	default:
		break;
	}
}

static void dofork_children(struct fix *f, char *p, size_t length, enum where where)
{
	struct managed_account was;
	enum child_end end;
	pid_t pid;

	if (madvise(p, length, MADV_DOFORK))
		SKIP("the kernel has no MADV_DOFORK for it");
	for (end = 0; end < NR_CHILD_ENDS; end++) {
		put(f, p, length, where);
		managed_account_read(f->s.fd, &was);
		pid = child();
		if (!pid) {
			child_with_mapping(p, length, end);
			child_exit();
		}
		EXPECT_EQ(child_wait(pid), end == CHILD_KILLED ? 128 + SIGKILL : 0);
		EXPECT_TRUE(managed_account_returns(f->s.fd, &was));
		/* what the parent has mapped it would see in any case */
		ASSERT_RET(madvise(p, length, MADV_DONTNEED), 0);
		EXPECT_PATTERN(p, length, 1);
	}
	/* the parent gets rid of it first */
	pid = child();
	if (!pid) {
		pause();
		child_exit();
	}
	ASSERT_RET(munmap(p, length), 0);
	kill(pid, SIGKILL);
	EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
}

/* Pages that were free by mistake would be somebody else's soon. */
TEST(fork_dofork)
{
	struct managed_account was;
	struct fix f = { 0 };
	char *p;

	open_space(&f.s);
	managed_account_read(f.s.fd, &was);
	p = pattern(f.s.fd, SMALL, 1);
	dofork_children(&f, p, SMALL, HERE);
	EXPECT_TRUE(managed_account_returns(f.s.fd, &was));
	space_close(&f.s);
}

/* ---- mremap ---- */

static int remapped(void *p, size_t from, size_t to, int flags, void *at)
{
	void *q = mremap(p, from, to, flags, at);

	return q == MAP_FAILED ? -errno : 0;
}

static void refuse_mremap(struct fix *f, enum where where)
{
	struct managed_account was;
	struct policy q;
	unsigned long left;
	char *p, *to;

	managed_account_read(f->s.fd, &was);
	to = anon(SMALL, PROT_NONE, 0);
	/* there is room to grow */
	p = hole(2 * SMALL);
	ASSERT_RET(managed_try(f->s.fd, p, SMALL), 0);
	pattern_fill(p, SMALL, 1);
	put(f, p, SMALL, where);
	ASSERT_RET(policy_switch(f->s.fd, UVM_SET_PREFETCH, p, SMALL, 0), 0);

	EXPECT_RET(remapped(p, SMALL, 2 * SMALL, 0, NULL), -EFAULT);
	EXPECT_RET(remapped(p, SMALL, 2 * SMALL, MREMAP_MAYMOVE, NULL), -EFAULT);
	EXPECT_RET(remapped(p, SMALL, SMALL, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL),
		   -EINVAL);
	EXPECT_RET(remapped(p, SMALL, SMALL, MREMAP_MAYMOVE | MREMAP_FIXED, to), -EINVAL);
	EXPECT_RET(remapped(p + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			    to + PAGE), -EINVAL);
	EXPECT_RET(remapped(p, 0, SMALL, MREMAP_MAYMOVE, NULL), -EFAULT);

	EXPECT_PATTERN(p, SMALL, 1);
	ASSERT_RET(policy_query(f->s.fd, p + 3 * PAGE, &q), 0);
	EXPECT_EQ(q.q.out_base, ADDR(p));
	EXPECT_EQ(q.q.out_length, SMALL);
	EXPECT_EQ(q.q.out_policy & UVM_POLICY_PREFETCH, 0);

	put(f, p, SMALL, where);
	/* to be smaller is to be unmapped in part */
	EXPECT_RET(remapped(p, SMALL, SMALL / 2, 0, NULL), 0);
	EXPECT_EQ(signal_of(p + SMALL / 2, false), SIGSEGV);
	EXPECT_PATTERN(p, SMALL / 2, 1);
	if (where != HERE) {
		left = fix_on_gpu(f, p, SMALL / 2);
		EXPECT_EQ(!left, private_kind(f));
		expect_mine(f, &f->gpu, left);
	}
	ASSERT_RET(managed_try(f->s.fd, p + SMALL / 2, SMALL / 2), 0);
	EXPECT_BYTES(p + SMALL / 2, SMALL / 2, 0);
	ASSERT_RET(munmap(p, SMALL), 0);
	EXPECT_TRUE(managed_account_returns(f->s.fd, &was));
}

TEST(mremap_all)
{
	struct fix f = { 0 };

	open_space(&f.s);
	refuse_mremap(&f, HERE);
	space_close(&f.s);
}

TEST(remap_pages)
{
	struct space s;
	char *p;

	open_space(&s);
	p = pattern(s.fd, SMALL, 1);
	EXPECT_EQ(remap_file_pages(p, PAGE, 0, ADDR(p) / PAGE + 1, 0), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_PATTERN(p, SMALL, 1);
	space_close(&s);
}

/* ---- mlock, madvise ---- */

/* It isn't locked, and isn't counted, but it is all there. */
TEST(mlock_populates)
{
	struct managed_account was, now;
	struct space s;
	long locked;
	char *p;

	open_space(&s);
	locked = status_pages("VmLck:");
	managed_account_read(s.fd, &was);
	p = managed(s.fd, SMALL);
	EXPECT_RET(mlock(p, SMALL), 0);
	EXPECT_EQ(status_pages("VmLck:"), locked);
	managed_account_read(s.fd, &now);
	if (was.cpu >= 0)
		EXPECT_EQ(now.cpu, was.cpu + (long)(SMALL / PAGE));
	EXPECT_BYTES(p, SMALL, 0);
	EXPECT_RET(munlock(p, SMALL), 0);
	ASSERT_RET(munmap(p, SMALL), 0);

	p = hole(SMALL);
	ASSERT_TRUE(mmap(p, SMALL, RW, MAP_SHARED | MAP_LOCKED, s.fd, ADDR(p)) == p);
	EXPECT_EQ(status_pages("VmLck:"), locked);
	EXPECT_BYTES(p, SMALL, 0);
	ASSERT_RET(munmap(p, SMALL), 0);
	ASSERT_TRUE(mmap(p, SMALL, RW, MAP_SHARED | MAP_POPULATE, s.fd, ADDR(p)) == p);
	managed_account_read(s.fd, &now);
	if (was.cpu >= 0)
		EXPECT_EQ(now.cpu, was.cpu + (long)(SMALL / PAGE));
	EXPECT_BYTES(p, SMALL, 0);
	ASSERT_RET(munmap(p, SMALL), 0);
	EXPECT_TRUE(managed_account_returns(s.fd, &was));
	space_close(&s);
}

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#define EITHER		1	/* some kernels do, some don't */

static const struct {
	const char *name;
	int advice, want;
} advices[] = {
	{ "NORMAL", MADV_NORMAL, 0 },
	{ "RANDOM", MADV_RANDOM, 0 },
	{ "SEQUENTIAL", MADV_SEQUENTIAL, 0 },
	{ "WILLNEED", MADV_WILLNEED, 0 },
	{ "DONTNEED", MADV_DONTNEED, 0 },
	{ "COLD", MADV_COLD, 0 },
	{ "PAGEOUT", MADV_PAGEOUT, 0 },
	{ "POPULATE_READ", MADV_POPULATE_READ, 0 },
	{ "POPULATE_WRITE", MADV_POPULATE_WRITE, 0 },
	{ "DONTFORK", MADV_DONTFORK, 0 },
	{ "DONTDUMP", MADV_DONTDUMP, 0 },
	{ "FREE", MADV_FREE, -EINVAL },
	{ "WIPEONFORK", MADV_WIPEONFORK, -EINVAL },
	/* of a special file */
	{ "REMOVE", MADV_REMOVE, -ENODEV },
	{ "DODUMP", MADV_DODUMP, EITHER },
	{ "HUGEPAGE", MADV_HUGEPAGE, EITHER },
	{ "NOHUGEPAGE", MADV_NOHUGEPAGE, EITHER },
	{ "COLLAPSE", MADV_COLLAPSE, EITHER },
	{ "MERGEABLE", MADV_MERGEABLE, EITHER },
	{ "UNMERGEABLE", MADV_UNMERGEABLE, EITHER },
};

static void advise_all(struct fix *f, enum where where)
{
	char *p = pattern(f->s.fd, HUGE, 1);
	size_t i, part, step = where_step(where, &i);
	int ret;

	for (; i < NR(advices); i += step) {
		for (part = 0; part < 2; part++) {
			put(f, p, HUGE, where);
			ret = madvise(p + part * 5 * PAGE, part ? 9 * PAGE : HUGE,
				      advices[i].advice) ? -errno : 0;
			if (advices[i].want != EITHER)
				harness_check(ret == advices[i].want, false, __FILE__,
					      __LINE__, "%s: wanted %d, saw %d",
					      advices[i].name, advices[i].want, ret);
			if (!EXPECT_PATTERN(p, HUGE, 1))
				harness_note("after %s", advices[i].name);
		}
	}
	ASSERT_RET(munmap(p, HUGE), 0);
}

/* There is no advice that costs a byte. */
TEST(madvise_all)
{
	struct fix f = { 0 };

	open_space(&f.s);
	advise_all(&f, HERE);
	space_close(&f.s);
}

/* ---- the kernel reads and writes it ---- */

/* By system calls that copy: at odd addresses, across pages */
TEST(read_write)
{
	const size_t length = 5 * PAGE + 123, at = PAGE - 77;
	char *p, *want = anon(SMALL, RW, 0);
	struct space s;
	int fd[2];

	open_space(&s);
	ASSERT_EQ(pipe2(fd, O_CLOEXEC), 0);
	p = managed(s.fd, SMALL);
	pattern_fill(want, SMALL, 1);
	/* into what is not there yet */
	ASSERT_EQ(write(fd[1], want + at, length), (ssize_t)length);
	EXPECT_EQ(read(fd[0], p + at, length), (ssize_t)length);
	EXPECT_BYTES(p, at, 0);
	EXPECT_EQ(memcmp(p + at, want + at, length), 0);
	EXPECT_BYTES(p + at + length, SMALL - at - length, 0);
	memset(want, 0, SMALL);
	EXPECT_EQ(write(fd[1], p + at, length), (ssize_t)length);
	ASSERT_EQ(read(fd[0], want + at, length), (ssize_t)length);
	EXPECT_EQ(memcmp(p, want, SMALL), 0);
	/* out of what is not there yet */
	EXPECT_EQ(write(fd[1], p + 20 * PAGE, PAGE), (ssize_t)PAGE);
	ASSERT_EQ(read(fd[0], want, PAGE), (ssize_t)PAGE);
	EXPECT_BYTES(want, PAGE, 0);
	space_close(&s);
}

#define RAMDISK		"/dev/ram0"

/* A file that reads and writes user pages themselves, or SKIPs */
static int direct_file(void)
{
	int fd = open(RAMDISK, O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		SKIP("no " RAMDISK);
	return fd;
}

static void direct_fill(int fd, size_t length, uint64_t seed)
{
	char *p = anon(length, RW, 0);

	pattern_fill(p, length, seed);
	ASSERT_EQ(pwrite(fd, p, length, 0), (ssize_t)length);
	munmap(p, length);
}

static void direct_io(struct fix *f, enum where where)
{
	int fd = direct_file();
	char *p = managed(f->s.fd, SMALL), *q = anon(SMALL, RW, 0);

	direct_fill(fd, SMALL, 1);
	put(f, p, SMALL, where);
	EXPECT_EQ(pread(fd, p, SMALL, 0), (ssize_t)SMALL);
	EXPECT_PATTERN(p, SMALL, 1);
	pattern_fill(p, SMALL, 2);
	put(f, p, SMALL, where);
	EXPECT_EQ(pwrite(fd, p, SMALL, 0), (ssize_t)SMALL);
	ASSERT_EQ(pread(fd, q, SMALL, 0), (ssize_t)SMALL);
	EXPECT_PATTERN(q, SMALL, 2);
	munmap(q, SMALL);
	munmap(p, SMALL);
	close(fd);
}

TEST(direct)
{
	struct fix f = { 0 };

	open_space(&f.s);
	direct_io(&f, HERE);
	space_close(&f.s);
}

#define PIPE_PAGES	8

/* Whoever has the page keeps it, also when nobody has mapped it any more. */
TEST(pinned_beyond)
{
	const size_t length = PIPE_PAGES * PAGE;
	char *p, *q, *seen = anon(SMALL, RW, 0);
	struct managed_account was;
	struct space s;
	int fd[2];

	open_space(&s);
	managed_account_read(s.fd, &was);
	ASSERT_EQ(pipe2(fd, O_CLOEXEC), 0);
	p = pattern(s.fd, length, 1);
	splice_in(fd[1], p, length);
	ASSERT_RET(munmap(p, length), 0);
	EXPECT_TRUE(managed_account_returns(s.fd, &was));
	/* who comes next gets others */
	ASSERT_RET(managed_try(s.fd, p, length), 0);
	memset(p, SECRET, length);
	q = managed(s.fd, 4 * HUGE);
	memset(q, SECRET, 4 * HUGE);
	ASSERT_EQ(read(fd[0], seen, length), (ssize_t)length);
	EXPECT_PATTERN(seen, length, 1);
	space_close(&s);
}

/* Other processes, and debuggers, see what is there, and may write it. */
TEST(by_others)
{
	char *p, *seen = anon(SMALL, RW, 0), path[64];
	pid_t pid, parent = getpid();
	struct iovec local, remote;
	struct space s;
	int fd;

	open_space(&s);
	p = pattern(s.fd, SMALL, 1);
	pid = child();
	if (!pid) {
		local = (struct iovec){ seen, SMALL };
		remote = (struct iovec){ p, SMALL };
		EXPECT_EQ(process_vm_readv(parent, &local, 1, &remote, 1, 0), (ssize_t)SMALL);
		EXPECT_PATTERN(seen, SMALL, 1);
		pattern_fill(seen, SMALL, 2);
		EXPECT_EQ(process_vm_writev(parent, &local, 1, &remote, 1, 0), (ssize_t)SMALL);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_PATTERN(p, SMALL, 2);

	snprintf(path, sizeof(path), "/proc/%d/mem", parent);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(pread(fd, seen, SMALL, ADDR(p)), (ssize_t)SMALL);
	EXPECT_PATTERN(seen, SMALL, 2);
	pattern_fill(seen, SMALL, 3);
	EXPECT_EQ(pwrite(fd, seen, SMALL, ADDR(p)), (ssize_t)SMALL);
	EXPECT_PATTERN(p, SMALL, 3);
	close(fd);
	space_close(&s);
}

/*
 * Whoever holds a page for good holds it against moving, so a kernel refuses that, or
 * the page stays; no byte is lost either way.
 */
TEST(pinned_for_good)
{
	struct space s;
	char *p;
	int fd;

	open_space(&s);
	p = pattern(s.fd, SMALL, 1);
	fd = longterm_pin(p, SMALL);
	harness_note("buffers of io_uring are %s", fd < 0 ? "refused" : "pinned");
	EXPECT_PATTERN(p, SMALL, 1);
	ASSERT_RET(munmap(p, SMALL), 0);
	if (fd >= 0)
		close(fd);
	space_close(&s);
}

/* ---- charged ---- */

#define CHARGED		(8 * MIB)

static void charged_process(const struct group *g)
{
	long start, slack = group_slack(), pages = CHARGED / PAGE;
	struct space s;
	char *p;

	group_enter(g);
	open_space(&s);
	start = group_current(g);
	p = managed(s.fd, CHARGED);
	EXPECT_LE((long)group_current(g), start + slack);
	memset(p, 1, CHARGED);
	EXPECT_GE((long)group_current(g), start + pages - slack);
	EXPECT_LE((long)group_current(g), start + pages + pages / 8 + slack);
	/* a part of it */
	ASSERT_RET(munmap(p, CHARGED / 2), 0);
	EXPECT_TRUE(WAIT_FOR((long)group_current(g) <= start + pages / 2 + pages / 8 + slack));
	EXPECT_GE((long)group_current(g), start + pages / 2 - slack);
	ASSERT_RET(munmap(p + CHARGED / 2, CHARGED / 2), 0);
	EXPECT_TRUE(WAIT_FOR((long)group_current(g) <= start + slack));
	space_close(&s);
	group_leave();
}

TEST(charged)
{
	struct group g;
	pid_t pid;

	managed_need();
	group_new(&g);
	pid = child();
	if (!pid) {
		charged_process(&g);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	group_end(&g);
}

/* The group whose process wants more than it may have is the one that suffers. */
TEST(limited)
{
	struct space s;
	struct group g;
	pid_t pid;
	char *p;

	managed_need();
	group_new(&g);
	group_limit(&g, CHARGED);
	pid = child();
	if (!pid) {
		group_enter(&g);
		ASSERT_RET(space_open(&s), 0);
		p = managed(s.fd, 4 * CHARGED);
		memset(p, 1, CHARGED / 2);
		EXPECT_BYTES(p, CHARGED / 2, 1);
		memset(p, 2, 4 * CHARGED);
		/* not reached */
		EXPECT_TRUE(false);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
	EXPECT_GE(group_kills(&g), 1);
	group_end(&g);
}

/* ---- spaces, files, processes ---- */

/* Each file has its own; neither takes anything from the other. */
TEST(two_spaces)
{
	struct managed_account was1, was2;
	struct space s1, s2;
	char *p, *q;

	open_space(&s1);
	open_space(&s2);
	managed_account_read(s1.fd, &was1);
	managed_account_read(s2.fd, &was2);
	p = managed_room(4 * SMALL);
	managed_at(s1.fd, p, 2 * SMALL);
	q = p + 2 * SMALL;
	managed_at(s2.fd, q, 2 * SMALL);
	pattern_fill(p, 4 * SMALL, 1);
	/* side by side in one block of addresses, and each in a block of its own */
	EXPECT_REFUSED(s2.fd, p + PAGE, PAGE, RW, MAP_SHARED, ADDR(p) + PAGE, -EEXIST);
	ASSERT_RET(munmap(p + SMALL, SMALL), 0);
	ASSERT_RET(munmap(q, SMALL), 0);
	EXPECT_PATTERN(p, SMALL, 1);
	expect_pages(p, 3 * SMALL / PAGE, 4 * SMALL / PAGE, 1);

	/* one takes the other's place */
	managed_at(s2.fd, p, SMALL);
	EXPECT_BYTES(p, SMALL, 0);
	memset(p, 7, SMALL);
	space_close(&s1);
	EXPECT_BYTES(p, SMALL, 7);
	expect_pages(p, 3 * SMALL / PAGE, 4 * SMALL / PAGE, 1);
	ASSERT_RET(munmap(p, 4 * SMALL), 0);
	EXPECT_TRUE(managed_account_returns(s2.fd, &was2));
	space_close(&s2);
}

/* The pages go with the mm, though the new program has the files. */
TEST(exec)
{
	struct managed_account was;
	struct space s, own;
	int out;
	pid_t pid;

	open_space(&own);
	managed_account_need(own.fd);
	managed_account_read(own.fd, &was);
	pid = child();
	if (!pid) {
		ASSERT_RET(space_open(&s), 0);
		pattern(s.fd, 2 * HUGE, 1);
		fcntl(s.fd, F_SETFD, 0);
		fcntl(s.mm_fd, F_SETFD, 0);
		out = open("/dev/null", O_WRONLY | O_CLOEXEC);
		dup2(out, STDOUT_FILENO);
		execl("/proc/self/exe", "managed", "-l", NULL);
		_exit(1);
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_TRUE(managed_account_returns(own.fd, &was));
	EXPECT_TRUE(list_forgets(pid));
	space_close(&own);
}

/* Who gets the file over a socket can't map it, and keeps no pages. */
TEST(sent)
{
	struct managed_account was, now;
	struct space s, own;
	int sock[2], fd;
	pid_t pid;
	char *p;

	open_space(&own);
	managed_account_read(own.fd, &was);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
	pid = child();
	if (!pid) {
		ASSERT_RET(space_open(&s), 0);
		pattern(s.fd, 2 * HUGE, 1);
		ASSERT_RET(fd_send(sock[1], s.fd), 0);
		/* until it was tried */
		hear(sock[1]);
		child_exit();
	}
	fd = fd_receive(sock[0]);
	ASSERT_GE(fd, 0);
	p = hole(SMALL);
	EXPECT_REFUSED(fd, p, SMALL, RW, MAP_SHARED, ADDR(p), -EPERM);
	tell(sock[0], 'x');
	EXPECT_EQ(child_wait(pid), 0);
	/* whose mm is gone */
	EXPECT_NE(map_once(fd, p, SMALL, RW, MAP_SHARED, ADDR(p)), 0);
	managed_account_read(fd, &now);
	if (now.cpu >= 0)
		EXPECT_EQ(now.cpu, 0);
	EXPECT_TRUE(managed_account_returns(own.fd, &was));
	close(fd);
	space_close(&own);
}

/* Exit, whatever it has, and kill, whatever it does */
TEST_T(killed, 60)
{
	unsigned int i, rounds = harness_rounds(40);
	struct managed_account was;
	struct space s, own;
	pid_t pid;
	char *p;

	open_space(&own);
	managed_account_read(own.fd, &was);
	for (i = 0; i < rounds; i++) {
		pid = child();
		if (!pid) {
			ASSERT_RET(space_open(&s), 0);
			for (;;) {
				p = pattern(s.fd, HUGE, 1);
				ASSERT_RET(munmap(p + i * PAGE, 300 * PAGE), 0);
				EXPECT_PATTERN(p, i * PAGE, 1);
			}
		}
		usleep(1000 + i * 1000);
		kill(pid, SIGKILL);
		EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
	}
	EXPECT_TRUE(managed_account_returns(own.fd, &was));
	space_close(&own);
}

/* ---- GPUs, wherever the pages are ---- */

TEST_V(gpu_uses, kinds)
{
	struct fix f;
	char *p, *q;

	open_in_place(&f, v);
	p = fix_pattern(&f, f.length, 1);
	q = fix_pattern(&f, f.length, 1);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(q, f.length));
	fix_xor(&f, p, f.length, 5);
	cpu_xor(q, f.length, 5);
	EXPECT_EQ(memcmp(p, q, f.length), 0);
	fix_fill(&f, p + 3 * PAGE + 100, 9 * PAGE, 0x77);
	memset(q + 3 * PAGE + 100, 0x77, 9 * PAGE);
	EXPECT_EQ(memcmp(p, q, f.length), 0);
	fix_copy(&f, q + PAGE, p + 20 * PAGE, 5 * PAGE);
	EXPECT_EQ(memcmp(q + PAGE, p + 20 * PAGE, 5 * PAGE), 0);
	fix_close(&f);
}

/* Whatever memory is handed out next, also by the GPU, was somebody's. */
TEST_V(gpu_first_touch, kinds)
{
	struct fix f;
	size_t i;
	char *p;

	open_in_place(&f, v);
	spread_secrets(16 * MIB);
	p = fix_buffer(&f, HUGE);
	EXPECT_EQ(fix_gpu_sum(&f, p, HUGE / 2), 0);
	for (i = HUGE / 2; i < HUGE; i += 7 * PAGE)
		fix_fill(&f, p + i + 8, 8, 0x11);
	for (i = 0; i < HUGE; i += PAGE) {
		if (i >= HUGE / 2 && !((i - HUGE / 2) % (7 * PAGE))) {
			EXPECT_BYTES(p + i + 8, 8, 0x11);
			memset(p + i + 8, 0, 8);
		}
	}
	EXPECT_BYTES(p, HUGE, 0);
	fix_close(&f);
}

/* Pages that the CPU has entries for */
static unsigned long cpu_entries(const char *p, size_t length)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned long i, nr = 0;
	uint64_t entry;

	ASSERT_GE(fd, 0);
	for (i = 0; i < length / PAGE; i++) {
		ASSERT_EQ(pread(fd, &entry, sizeof(entry), (ADDR(p) / PAGE + i) * 8), 8);
		nr += entry >> 63;
	}
	close(fd);
	return nr;
}

/* What a GPU uses needs no entry of the CPU's, and what one has the other needn't have. */
TEST_V(gpu_leaves_cpu_out, kinds)
{
	struct fix f;
	size_t half;
	char *p;

	open_in_place(&f, v);
	p = fix_buffer(&f, f.length);
	half = f.length / 2;
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), 0);
	fix_fill(&f, p, f.length, 0x33);
	EXPECT_EQ(cpu_entries(p, f.length), 0);
	EXPECT_BYTES(p, half, 0x33);
	EXPECT_EQ(cpu_entries(p, f.length), half / PAGE);
	fix_xor(&f, p, f.length, 0);
	memset(p, 0x44, half);
	EXPECT_EQ(cpu_entries(p, f.length), half / PAGE);
	/* entries go, bytes don't */
	ASSERT_RET(madvise(p, f.length, MADV_DONTNEED), 0);
	EXPECT_EQ(cpu_entries(p, f.length), 0);
	fix_copy(&f, p + half, p, half);
	EXPECT_EQ(cpu_entries(p, f.length), 0);
	EXPECT_BYTES(p, f.length, 0x44);
	fix_close(&f);
}

static void expect_no_store(struct fix *f, char *p, int reason)
{
	fix_expect_fault(f, CMD(FILL, .dst = ADDR(p), .length = 8, .arg0 = 0xdd), p,
			 reason, UVM_ACCESS_WRITE);
}

static void expect_no_load(struct fix *f, char *p, int reason)
{
	fix_expect_fault(f, CMD(TOUCH, .dst = ADDR(p), .length = 8, .arg0 = 8), p,
			 reason, UVM_ACCESS_READ);
}

/* A GPU may do what the process may, from the moment on that the call returned. */
TEST_V(gpu_rights, kinds)
{
	struct fix f;
	char *p;

	open_in_place(&f, v);
	p = fix_pattern(&f, f.length, 1);
	fix_xor(&f, p, f.length, 5);
	ASSERT_RET(mprotect(p + 3 * PAGE, PAGE, PROT_READ), 0);
	expect_no_store(&f, p + 3 * PAGE, UVM_FAULT_PERMISSION);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	ASSERT_RET(mprotect(p + 3 * PAGE, PAGE, PROT_NONE), 0);
	expect_no_load(&f, p + 3 * PAGE, UVM_FAULT_PERMISSION);
	ASSERT_RET(mprotect(p + 3 * PAGE, PAGE, RW), 0);
	fix_xor(&f, p, f.length, 5);
	EXPECT_PATTERN(p, f.length, 1);
	ASSERT_RET(munmap(p + 5 * PAGE, PAGE), 0);
	expect_no_load(&f, p + 5 * PAGE, UVM_FAULT_NO_MAPPING);
	expect_no_store(&f, p + 5 * PAGE, UVM_FAULT_NO_MAPPING);
	fix_xor(&f, p, 5 * PAGE, 5);
	fix_xor(&f, p, 5 * PAGE, 5);
	expect_pages(p, 0, 5, 1);
	/* another page in its place */
	managed_at(f.s.fd, p + 5 * PAGE, PAGE);
	EXPECT_EQ(fix_gpu_sum(&f, p + 5 * PAGE, PAGE), 0);
	fix_close(&f);
}

/* A child that was forced to have the mapping has no page of it, for its GPU neither. */
TEST_V(gpu_of_child, kinds)
{
	struct fix f;
	pid_t pid;
	char *p;

	open_in_place(&f, v);
	p = fix_pattern(&f, f.length, 1);
	if (madvise(p, f.length, MADV_DOFORK))
		SKIP("the kernel has no MADV_DOFORK for it");
	pid = child();
	if (!pid) {
		fix_reopen(&f);
		expect_no_load(&f, p, UVM_FAULT_BUS);
		expect_no_store(&f, p + PAGE, UVM_FAULT_BUS);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	fix_xor(&f, p, f.length, 5);
	cpu_xor(p, f.length, 5);
	EXPECT_PATTERN(p, f.length, 1);
	fix_close(&f);
}

/* Another VA space of the process: its GPU sees the same bytes, and may change them. */
TEST_V(gpu_of_other_space, kinds)
{
	struct fix f, other;
	uint64_t key = 9;
	int i;
	char *p;

	open_in_place(&f, v);
	open_in_place(&other, v);
	p = fix_pattern(&f, f.length, 1);
	for (i = 0; i < 4; i++) {
		fix_xor(&f, p, f.length, key);
		fix_xor(&other, p, f.length, key + 1);
		cpu_xor(p, f.length, key);
		cpu_xor(p, f.length, key + 1);
		EXPECT_PATTERN(p, f.length, 1);
	}
	fix_close(&other);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	fix_close(&f);
}

/* ---- to a GPU, and back ---- */

static void expect_where(struct fix *f, const char *p, size_t length, unsigned long cpu,
			 unsigned long gpu, unsigned long none)
{
	struct tally t = fix_tally(f, p, length);

	EXPECT_EQ(t.cpu, cpu);
	EXPECT_EQ(t.gpu, gpu);
	EXPECT_EQ(t.none, none);
	EXPECT_EQ(t.gpu2 + t.other, 0);
}

/* All of it was on the GPU, and the CPU has touched it. */
static void expect_touched(struct fix *f, const char *p, size_t length)
{
	unsigned long home = private_kind(f) ? length / PAGE : 0;

	expect_where(f, p, length, home, length / PAGE - home, 0);
	expect_mine(f, &f->gpu, length / PAGE - home);
}

TEST_V(round_trip, managed_devices)
{
	const size_t pages = HUGE / PAGE;
	struct uvm_migrate m;
	struct fix f;
	char *p;
	int i;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	expect_where(&f, p, HUGE, pages, 0, 0);
	for (i = 0; i < 3; i++) {
		ASSERT_RET(migrate(f.s.fd, p, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_moved, pages);
		expect_where(&f, p, HUGE, 0, pages, 0);
		expect_mine(&f, &f.gpu, pages);
		ASSERT_RET(migrate(f.s.fd, p, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_already, pages);
		fix_xor(&f, p, HUGE, 3);
		expect_where(&f, p, HUGE, 0, pages, 0);
		ASSERT_RET(migrate(f.s.fd, p, HUGE, UVM_DEST_CPU, 0, NULL, &m), 0);
		expect_accounts(&m);
		EXPECT_EQ(m.out_moved, pages);
		expect_where(&f, p, HUGE, pages, 0, 0);
		expect_mine(&f, &f.gpu, 0);
		cpu_xor(p, HUGE, 3);
		EXPECT_PATTERN(p, HUGE, 1);
		ASSERT_RET(migrate(f.s.fd, p, HUGE, UVM_DEST_CPU, 0, NULL, &m), 0);
		EXPECT_EQ(m.out_already, pages);
	}
	fix_close(&f);
}

/* Absent pages: zeros on a GPU, and nothing to move to the CPU */
TEST_V(holes, managed_devices)
{
	struct uvm_migrate m;
	struct fix f;
	size_t i;
	char *p;

	fix_open(&f, v);
	spread_secrets(16 * MIB);
	/* the GPU's memory was somebody's, too */
	p = fix_buffer(&f, f.gpu.memory_size);
	memset(p, SECRET, f.gpu.memory_size);
	fix_to_gpu(&f, p, f.gpu.memory_size);
	ASSERT_RET(munmap(p, f.gpu.memory_size), 0);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));

	p = fix_buffer(&f, HUGE);
	ASSERT_RET(migrate(f.s.fd, p, HUGE, UVM_DEST_CPU, 0, NULL, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_HOLE_NOT_POPULATED], HUGE / PAGE);
	expect_where(&f, p, HUGE, 0, 0, HUGE / PAGE);
	for (i = 0; i < HUGE / PAGE; i += 5)
		p[i * PAGE + 8] = 0x33;
	fix_to_gpu(&f, p, HUGE);
	fix_to_cpu(&f, p, HUGE);
	for (i = 0; i < HUGE / PAGE; i += 5) {
		EXPECT_EQ(p[i * PAGE + 8], 0x33);
		p[i * PAGE + 8] = 0;
	}
	EXPECT_BYTES(p, HUGE, 0);
	fix_close(&f);
}

/* A process that fills the GPU's memory, until it is killed */
static void fill_gpu(const struct variant *v, int end)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_buffer(&f, f.gpu.memory_size);
	memset(p, SECRET, f.gpu.memory_size);
	fix_to_gpu(&f, p, f.gpu.memory_size);
	tell(end, 'f');
	pause();
	child_exit();
}

/* What a process that was killed had on the GPU nobody finds there. */
TEST_V(killed_with_secrets, managed_devices)
{
	struct fix f;
	int ends[2];
	pid_t pid;
	char *p;

	fix_open(&f, v);
	link_new(ends);
	pid = child();
	if (!pid)
		fill_gpu(v, ends[1]);
	ASSERT_EQ(hear(ends[0]), 'f');
	kill(pid, SIGKILL);
	EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	/* by UVM_MIGRATE, and by the GPU's own touch, where it shall begin */
	p = fix_buffer(&f, 2 * HUGE);
	fix_to_gpu(&f, p, HUGE);
	ASSERT_RET(policy_accessed_by(f.s.fd, p + HUGE, HUGE, f.gpu.uuid, 1), 0);
	EXPECT_EQ(fix_gpu_sum(&f, p, 2 * HUGE), 0);
	EXPECT_EQ(fix_on_gpu(&f, p, 2 * HUGE), 2 * HUGE / PAGE);
	EXPECT_BYTES(p, 2 * HUGE, 0);
	fix_close(&f);
}

TEST_V(gpu_fault_moves, managed_devices)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	EXPECT_EQ(fix_gpu_sum(&f, p, HUGE), sum64(p, HUGE));
	fix_to_cpu(&f, p, HUGE);
	fix_xor(&f, p, HUGE, 7);
	expect_where(&f, p, HUGE, 0, HUGE / PAGE, 0);
	/* stores bring it home as loads do, unless it can be used there */
	cpu_xor(p, HUGE, 7);
	expect_touched(&f, p, HUGE);
	EXPECT_PATTERN(p, HUGE, 1);
	fix_close(&f);
}

/* The CPU loads and stores in a coherent GPU's memory, and nothing is copied for that. */
TEST_V(cpu_in_place, managed_coherent)
{
	uint64_t key = harness_seed;
	struct fix f;
	long bytes;
	char *p;
	int i;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	fix_to_gpu(&f, p, HUGE);
	bytes = sim_stat(&f.gpu, "bytes");
	for (i = 0; i < 3; i++) {
		EXPECT_PATTERN(p, HUGE, 1);
		cpu_xor(p, HUGE, key + i);
		fix_xor(&f, p, HUGE, key + i);
	}
	EXPECT_EQ(sim_stat(&f.gpu, "bytes"), bytes);
	expect_touched(&f, p, HUGE);
	/* what is mapped there leaves as other pages do, with what was stored */
	cpu_xor(p, HUGE, key);
	fix_to_cpu(&f, p, HUGE);
	expect_mine(&f, &f.gpu, 0);
	cpu_xor(p, HUGE, key);
	EXPECT_PATTERN(p, HUGE, 1);
	fix_close(&f);
}

/* Memory whose place is the CPU's, or which is to be duplicated, comes all the same. */
TEST_V(cpu_comes_by_policy, managed_coherent)
{
	size_t pages = SMALL / PAGE;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, 2 * SMALL, 1);
	fix_to_gpu(&f, p, 2 * SMALL);
	EXPECT_PATTERN(p, 2 * SMALL, 1);
	ASSERT_RET(policy_prefer(f.s.fd, p, SMALL / 2, UVM_DEST_CPU, 0, NULL), 0);
	ASSERT_RET(policy_prefer(f.s.fd, p + SMALL / 2, SMALL / 2, UVM_DEST_CPU_NODE, 0, NULL),
		   0);
	ASSERT_RET(policy_switch(f.s.fd, UVM_SET_READ_MOSTLY, p + SMALL, SMALL, 1), 0);
	/* nothing is unmapped for a policy's sake */
	EXPECT_EQ(fix_on_gpu(&f, p, 2 * SMALL), 2 * pages);
	ASSERT_RET(mprotect(p, 2 * SMALL, PROT_NONE), 0);
	ASSERT_RET(mprotect(p, 2 * SMALL, RW), 0);
	ASSERT_RET(madvise(p, 2 * SMALL, MADV_DONTNEED), 0);
	EXPECT_PATTERN(p, 2 * SMALL, 1);
	EXPECT_EQ(fix_on_cpu(&f, p, 2 * SMALL), 2 * pages);
	expect_mine(&f, &f.gpu, pages);
	fix_close(&f);
}

/* Who has a page of the GPU's keeps it there, and keeps it from others beyond its mapping. */
TEST_V(pinned_in_place, managed_coherent)
{
	const size_t pages = PIPE_PAGES, length = pages * PAGE;
	char *p, *seen = anon(SMALL, RW, 0);
	struct uvm_migrate m;
	struct fix f;
	int fd[2];

	fix_open(&f, v);
	ASSERT_EQ(pipe2(fd, O_CLOEXEC), 0);
	p = fix_pattern(&f, 2 * length, 1);
	fix_to_gpu(&f, p, 2 * length);
	splice_in(fd[1], p, length);
	EXPECT_EQ(fix_on_gpu(&f, p, 2 * length), 2 * pages);
	ASSERT_RET(migrate(f.s.fd, p, 2 * length, UVM_DEST_CPU, 0, NULL, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_BUSY], pages);
	EXPECT_EQ(m.out_moved, pages);
	/* a store of either reaches the page that he has */
	fix_fill(&f, p, length, 0x42);
	memset(p, 0x43, PAGE);
	expect_where(&f, p, length, 0, pages, 0);
	ASSERT_EQ(read(fd[0], seen, PAGE), PAGE);
	EXPECT_BYTES(seen, PAGE, 0x43);
	ASSERT_RET(munmap(p, 2 * length), 0);
	expect_mine(&f, &f.gpu, pages - 1);
	/* nobody else gets them meanwhile */
	p = fix_buffer(&f, f.gpu.memory_size);
	memset(p, SECRET, f.gpu.memory_size);
	ASSERT_RET(migrate(f.s.fd, p, f.gpu.memory_size, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	expect_accounts(&m);
	ASSERT_EQ(read(fd[0], seen, length - PAGE), (ssize_t)(length - PAGE));
	EXPECT_BYTES(seen, length - PAGE, 0x42);
	ASSERT_RET(munmap(p, f.gpu.memory_size), 0);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	fix_close(&f);
}

/* The CPU's touch of one page leaves no page behind that it didn't bring, or needn't. */
TEST_V(cpu_touch, managed_devices)
{
	size_t i, pages = HUGE / PAGE;
	struct tally t;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	for (i = 0; i < pages; i += 97) {
		fix_to_gpu(&f, p, HUGE);
		EXPECT_EQ(pattern_check_from(p + i * PAGE, PAGE, 1, i), -1);
		t = fix_tally(&f, p, HUGE);
		EXPECT_EQ(t.cpu + t.gpu, pages);
		expect_mine(&f, &f.gpu, t.gpu);
		EXPECT_EQ(!!t.cpu, private_kind(&f));
		EXPECT_EQ(fix_on_cpu(&f, p + i * PAGE, PAGE), private_kind(&f));
	}
	EXPECT_PATTERN(p, HUGE, 1);
	fix_close(&f);
}

TEST_V(other_gpu, managed_devices)
{
	struct fix f;
	char *p;

	fix_pair(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	fix_to_gpu(&f, p, HUGE);
	fix_to_gpu2(&f, p, HUGE);
	expect_mine(&f, &f.gpu, 0);
	expect_mine(&f, &f.gpu2, HUGE / PAGE);
	fix_to_gpu(&f, p, HUGE / 2);
	expect_mine(&f, &f.gpu, HUGE / PAGE / 2);
	expect_mine(&f, &f.gpu2, HUGE / PAGE / 2);
	EXPECT_PATTERN(p, HUGE, 1);
	expect_mine(&f, &f.gpu, private_kind(&f) ? 0 : HUGE / PAGE / 2);
	expect_mine(&f, &f.gpu2, private_kind(&f) ? 0 : HUGE / PAGE / 2);
	fix_close(&f);
}

TEST_VT(munmap_part_on_gpu, managed_devices, 90)
{
	struct fix f;

	fix_open(&f, v);
	parts_unmapped(&f, THERE);
	parts_unmapped(&f, HALF);
	fix_close(&f);
}

TEST_VT(mprotect_part_on_gpu, managed_devices, 90)
{
	struct fix f;

	fix_open(&f, v);
	parts_protected(&f, THERE);
	parts_protected(&f, HALF);
	fix_close(&f);
}

TEST_V(fork_on_gpu, managed_devices)
{
	enum where where;
	struct fix f;
	char *p;

	fix_open(&f, v);
	for (where = HALF; where < NR_WHERE; where++) {
		p = fix_pattern(&f, SMALL, 1);
		put(&f, p, SMALL, where);
		child_has_none(p, SMALL);
		EXPECT_PATTERN(p, SMALL, 1);
		dofork_children(&f, p, SMALL, where);
	}
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	fix_close(&f);
}

TEST_V(mremap_on_gpu, managed_devices)
{
	struct fix f;

	fix_open(&f, v);
	refuse_mremap(&f, THERE);
	refuse_mremap(&f, HALF);
	fix_close(&f);
}

TEST_V(madvise_on_gpu, managed_devices)
{
	struct fix f;

	fix_open(&f, v);
	advise_all(&f, THERE);
	advise_all(&f, HALF);
	fix_close(&f);
}

TEST_V(direct_on_gpu, managed_devices)
{
	struct fix f;

	fix_open(&f, v);
	direct_io(&f, THERE);
	direct_io(&f, HALF);
	fix_close(&f);
}

TEST_V(mlock_touches, managed_devices)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, SMALL, 1);
	fix_to_gpu(&f, p, SMALL);
	EXPECT_RET(mlock(p, SMALL), 0);
	expect_touched(&f, p, SMALL);
	/* it pins nothing */
	fix_to_gpu(&f, p, SMALL);
	EXPECT_PATTERN(p, SMALL, 1);
	fix_close(&f);
}

/* What a child in a group and its parent, who has none, tell each other */
struct limited {
	atomic_int full;
	atomic_int lifted;
};

/* It may have as much more as this, until what the caller does then is over. */
static void limit_to(struct limited *l, const struct group *g, unsigned long room)
{
	int full = atomic_load(&l->full);

	while (atomic_load(&l->lifted) != full)
		usleep(1000);
	group_limit(g, (group_current(g) + group_slack()) * PAGE + room);
}

/* There may be nothing left for the caller to open a file with. */
static void limit_no_more(struct limited *l)
{
	int full = atomic_fetch_add(&l->full, 1) + 1;

	while (atomic_load(&l->lifted) != full)
		usleep(1000);
}

static void limited_process(struct limited *l, const struct group *g,
			    const struct variant *v)
{
	const size_t length = 6 * MIB, pages = length / PAGE, touched = 964 * KIB;
	struct uvm_migrate m;
	struct fix f;
	char *p;
	long at;

	group_enter(g);
	fix_open(&f, v);
	p = fix_pattern(&f, length, 1);
	fix_to_gpu(&f, p, length);
	memset(&m, 0, sizeof(m));
	limit_to(l, g, MIB);
	ASSERT_RET(migrate(f.s.fd, p, length, UVM_DEST_CPU, 0, NULL, &m), 0);
	limit_no_more(l);
	expect_accounts(&m);
	EXPECT_GE(m.out_moved, MIB / PAGE);
	EXPECT_GE(m.out_skipped[UVM_SKIP_NO_MEMORY], 2 * MIB / PAGE);
	expect_where(&f, p, length, m.out_moved, pages - m.out_moved, 0);
	EXPECT_PATTERN(p, length, 1);

	/* each window is twice the one before, if there is memory for all of it */
	fix_to_gpu(&f, p, length);
	limit_to(l, g, MIB);
	at = pattern_check_from(p, touched, 1, 0);
	limit_no_more(l);
	EXPECT_EQ(at, -1);
	EXPECT_PATTERN(p, length, 1);
	fix_close(&f);
	child_exit();
}

/*
 * It is charged when it comes home, and so may have to stay. Nobody is killed for what
 * nobody touched.
 */
TEST_VT(limited_homecoming, managed_devices, 60)
{
	struct limited *l = shared_page();
	struct uvm_gpu_info gpu;
	struct group g;
	pid_t pid;
	int step;

	memory_need(v);
	gpu_need(v->kind, 0, &gpu);
	group_new(&g);
	pid = child();
	if (!pid)
		limited_process(l, &g, v);
	for (step = 1; step <= 2; step++) {
		EXPECT_TRUE(SOON(atomic_load(&l->full) == step, 20));
		EXPECT_TRUE(group_write(&g, "memory.max", "max"));
		atomic_store(&l->lifted, step);
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_EQ(group_kills(&g), 0);
	group_end(&g);
}

/* ---- the kernel has pages while they are to move ---- */

struct mover {
	struct fix *f;
	char *p;
	size_t length;
	atomic_bool *stop;
	unsigned long rounds;
};

/* There and back, by UVM_MIGRATE and by faults */
static void *move_about(void *arg)
{
	struct mover *m = arg;
	struct uvm_migrate c;

	while (!atomic_load(m->stop)) {
		switch (m->rounds++ % 4) {
		case 0:
		case 1:
			ASSERT_RET(migrate(m->f->s.fd, m->p, m->length, UVM_DEST_GPU, 0,
					   m->f->gpu.uuid, &c), 0);
			break;
		case 2:
			ASSERT_RET(migrate(m->f->s.fd, m->p, m->length, UVM_DEST_CPU, 0,
					   NULL, &c), 0);
			break;
		default:
			fix_gpu_sum(m->f, m->p, m->length);
		}
	}
	return NULL;
}

typedef void (*mover_fn)(char *p, size_t length, unsigned int round);

static void while_moving(struct fix *f, unsigned int rounds, mover_fn fn)
{
	const size_t length = PIPE_PAGES * PAGE;
	struct mover m = { .f = f, .length = length };
	char *p = pattern(f->s.fd, length, 0);
	pthread_t thread;
	atomic_bool stop;
	unsigned int i;

	atomic_init(&stop, false);
	m.p = p;
	m.stop = &stop;
	ASSERT_EQ(pthread_create(&thread, NULL, move_about, &m), 0);
	for (i = 1; i <= rounds; i++)
		fn(p, length, i);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	EXPECT_PATTERN(p, length, rounds);
	EXPECT_GT(m.rounds, 0);
	ASSERT_RET(munmap(p, length), 0);
}

static int moving_pipe[2], moving_file;

/* Copied into and out of it */
static void move_and_copy(char *p, size_t length, unsigned int round)
{
	static char buf[PIPE_PAGES * PAGE];

	pattern_fill(buf, length, round);
	ASSERT_EQ(write(moving_pipe[1], buf, length), (ssize_t)length);
	EXPECT_EQ(read(moving_pipe[0], p, length), (ssize_t)length);
	EXPECT_EQ(write(moving_pipe[1], p, length), (ssize_t)length);
	memset(buf, 0, length);
	ASSERT_EQ(read(moving_pipe[0], buf, length), (ssize_t)length);
	EXPECT_PATTERN(buf, length, round);
}

/* Pages themselves, which a pipe has for a while */
static void move_and_splice(char *p, size_t length, unsigned int round)
{
	static char buf[PIPE_PAGES * PAGE];

	pattern_fill(p, length, round);
	splice_in(moving_pipe[1], p, length);
	ASSERT_EQ(read(moving_pipe[0], buf, length), (ssize_t)length);
	EXPECT_PATTERN(buf, length, round);
}

/* The device reads into them, and writes from them. */
static void move_and_direct(char *p, size_t length, unsigned int round)
{
	static char buf[PIPE_PAGES * PAGE] __attribute__((aligned(4096)));

	pattern_fill(buf, length, round);
	ASSERT_EQ(pwrite(moving_file, buf, length, 0), (ssize_t)length);
	EXPECT_EQ(pread(moving_file, p, length, 0), (ssize_t)length);
	EXPECT_PATTERN(p, length, round);
	EXPECT_EQ(pwrite(moving_file, p, length, length), (ssize_t)length);
	memset(buf, 0, length);
	ASSERT_EQ(pread(moving_file, buf, length, length), (ssize_t)length);
	EXPECT_PATTERN(buf, length, round);
}

TEST_VT(copied_while_moving, managed_devices, 60)
{
	struct fix f;

	fix_open(&f, v);
	ASSERT_EQ(pipe2(moving_pipe, O_CLOEXEC), 0);
	while_moving(&f, harness_rounds(300), move_and_copy);
	fix_close(&f);
}

TEST_VT(spliced_while_moving, managed_devices, 60)
{
	struct fix f;

	fix_open(&f, v);
	ASSERT_EQ(pipe2(moving_pipe, O_CLOEXEC), 0);
	while_moving(&f, harness_rounds(300), move_and_splice);
	fix_close(&f);
}

TEST_VT(direct_while_moving, managed_devices, 60)
{
	struct fix f;

	moving_file = direct_file();
	fix_open(&f, v);
	while_moving(&f, harness_rounds(300), move_and_direct);
	fix_close(&f);
}

/* A page that somebody has stays, is counted, and moves once he has let go. */
TEST_V(pinned, managed_devices)
{
	const size_t pages = PIPE_PAGES, length = pages * PAGE;
	char *p, *seen = anon(SMALL, RW, 0);
	struct uvm_migrate m;
	struct fix f;
	int fd[2];

	fix_open(&f, v);
	ASSERT_EQ(pipe2(fd, O_CLOEXEC), 0);
	p = fix_pattern(&f, 2 * length, 1);
	splice_in(fd[1], p, length);
	ASSERT_RET(migrate(f.s.fd, p, 2 * length, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_BUSY], pages);
	EXPECT_EQ(m.out_moved, pages);
	/* a GPU's store reaches the page that he has */
	fix_fill(&f, p, length, 0x42);
	expect_where(&f, p, length, pages, 0, 0);
	ASSERT_EQ(read(fd[0], seen, length), (ssize_t)length);
	EXPECT_BYTES(seen, length, 0x42);
	fix_to_gpu(&f, p, 2 * length);
	EXPECT_BYTES(p, length, 0x42);
	expect_pages(p, pages, 2 * pages, 1);
	fix_close(&f);
}

/* ---- races ---- */

struct mapper {
	struct fix *f;
	char *p;
	atomic_bool *stop;
};

/* A GPU uses what may be gone: it gets its bytes, or dies of it. */
static void *use_by_gpu(void *arg)
{
	struct mapper *m = arg;
	struct uvm_sim_cmd c = CMD(TOUCH, .dst = ADDR(m->p), .length = SMALL,
				   .arg0 = PAGE, .arg1 = 1);
	uint32_t channel;
	int ret;

	while (!atomic_load(m->stop)) {
		ASSERT_RET(channel_create(m->f->s.fd, m->f->gpu.uuid, &channel), 0);
		ret = channel_run(m->f->s.fd, channel, &c, 1);
		EXPECT_RET2(ret, 0, -ECANCELED);
		ASSERT_RET(channel_destroy(m->f->s.fd, channel), 0);
	}
	return NULL;
}

static void *migrate_about(void *arg)
{
	struct mapper *m = arg;
	struct uvm_migrate c;
	unsigned int i = 0;
	int ret;

	while (!atomic_load(m->stop)) {
		if (i++ % 2)
			ret = migrate(m->f->s.fd, m->p, SMALL, UVM_DEST_CPU, 0, NULL, &c);
		else
			ret = migrate(m->f->s.fd, m->p, SMALL, UVM_DEST_GPU, 0,
				      m->f->gpu.uuid, &c);
		EXPECT_RET2(ret, 0, -EFAULT);
	}
	return NULL;
}

/* What is mapped anew is zero, whatever was on its way when its addresses were freed. */
static void map_again_and_again(struct fix *f, unsigned int rounds)
{
	struct mapper m = { .f = f, .p = managed_room(SMALL) };
	pthread_t thread[2];
	atomic_bool stop;
	unsigned int i;

	atomic_init(&stop, false);
	m.stop = &stop;
	managed_at(f->s.fd, m.p, SMALL);
	ASSERT_EQ(pthread_create(&thread[0], NULL, use_by_gpu, &m), 0);
	ASSERT_EQ(pthread_create(&thread[1], NULL, migrate_about, &m), 0);
	for (i = 0; i < rounds; i++) {
		/* a store to its first byte is all that the GPU makes */
		EXPECT_BYTES(m.p + 8, PAGE - 8, 0);
		EXPECT_BYTES(m.p + SMALL - PAGE + 8, PAGE - 8, 0);
		memset(m.p + PAGE + 8, SECRET, PAGE - 8);
		EXPECT_BYTES(m.p + PAGE + 8, PAGE - 8, SECRET);
		switch (i % 3) {
		case 0:
			managed_at(f->s.fd, m.p, SMALL);
			break;
		case 1:
			ASSERT_RET(munmap(m.p + PAGE, SMALL - 2 * PAGE), 0);
			ASSERT_RET(munmap(m.p, SMALL), 0);
			ASSERT_RET(managed_try(f->s.fd, m.p, SMALL), 0);
			break;
		default:
			ASSERT_RET(mprotect(m.p, SMALL, PROT_NONE), 0);
			ASSERT_RET(mprotect(m.p, SMALL, RW), 0);
			managed_at(f->s.fd, m.p + PAGE, PAGE);
		}
		EXPECT_BYTES(m.p + PAGE + 8, PAGE - 8, 0);
	}
	atomic_store(&stop, true);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	ASSERT_RET(munmap(m.p, SMALL), 0);
}

TEST_VT(race_map, managed_devices, 60)
{
	struct managed_account was;
	struct fix f;

	fix_open(&f, v);
	managed_account_read(f.s.fd, &was);
	map_again_and_again(&f, harness_rounds(300));
	EXPECT_TRUE(managed_account_returns(f.s.fd, &was));
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	fix_close(&f);
}

TEST_VT(race_map_widened, managed_devices, 60)
{
	struct managed_account was;
	struct fix f;

	fix_open(&f, v);
	delays_need();
	managed_account_read(f.s.fd, &was);
	map_again_and_again(&f, harness_rounds(60));
	delays_off();
	EXPECT_TRUE(managed_account_returns(f.s.fd, &was));
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	fix_close(&f);
}

struct reader {
	pthread_t thread;
	atomic_int tid;
	const char *p;
	atomic_bool stop;
	atomic_uint at;
};

static void *read_one_by_one(void *arg)
{
	struct reader *r = arg;

	atomic_store(&r->tid, gettid());
	while (!atomic_load(&r->stop) && atomic_load(&r->at) < HUGE / PAGE)
		(void)*(volatile const char *)(r->p + atomic_fetch_add(&r->at, 1) * PAGE);
	return NULL;
}

static void reader_start(struct reader *r, const char *p)
{
	memset(r, 0, sizeof(*r));
	r->p = p;
	ASSERT_EQ(pthread_create(&r->thread, NULL, read_one_by_one, r), 0);
}

static void reader_stop(struct reader *r)
{
	atomic_store(&r->stop, true);
	pthread_join(r->thread, NULL);
}

/* The CPU has them, and has none mapped. */
static void unmapped_here(struct fix *f, const char *p)
{
	fix_to_gpu(f, p, HUGE);
	fix_to_cpu(f, p, HUGE);
}

/*
 * A page that a fault was given just then is mapped before it moves: so it moves like the
 * others, and isn't taken for one that somebody keeps.
 */
TEST_VT(given_just_then, managed_devices, 60)
{
	unsigned int i, rounds = harness_rounds(6), pages = HUGE / PAGE;
	uint64_t random = harness_seed;
	struct uvm_migrate m;
	struct reader r;
	struct fix f;
	char *p;

	delays_need_at("managed", "4000");
	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	for (i = 0; i < rounds; i++) {
		unmapped_here(&f, p);
		reader_start(&r, p);
		ASSERT_TRUE(SOON(atomic_load(&r.at) >= 3, 10));
		/* at whatever moment of the fault */
		usleep(harness_random(&random) % 4000);
		ASSERT_RET(migrate(f.s.fd, p, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
		EXPECT_EQ(m.out_moved, pages);
		reader_stop(&r);
	}
	delays_off();
	EXPECT_PATTERN(p, HUGE, 1);
	fix_close(&f);
}

struct leaver {
	pthread_t thread;
	atomic_int tid;
	struct fix *f;
	const char *p;
};

static void *leave(void *arg)
{
	struct leaver *l = arg;
	struct uvm_migrate m;

	atomic_store(&l->tid, gettid());
	ASSERT_RET(migrate(l->f->s.fd, l->p, HUGE, UVM_DEST_GPU, 0, l->f->gpu.uuid, &m), 0);
	return NULL;
}

/* How many faults does it take? */
static long store_faults(char *p)
{
	struct rusage before, after;

	getrusage(RUSAGE_THREAD, &before);
	*(volatile char *)p = 1;
	getrusage(RUSAGE_THREAD, &after);
	return after.ru_minflt - before.ru_minflt;
}

/* Is the thread in that function of the kernel's, and waits there? */
static bool thread_in(atomic_int *tid, const char *function)
{
	char path[64], stack[4096];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stack", atomic_load(tid));
	return read_text(path, stack, sizeof(stack)) && strstr(stack, function);
}

/*
 * A store to a page that is mapped, but not to be written, and about to move, waits. The
 * mover waits meanwhile: for somebody who is given another page of the block. So there are
 * a few faults, and not as many as a CPU can take.
 */
TEST_VT(store_waits, managed_devices, 60)
{
	unsigned int i, rounds = harness_rounds(4), met = 0;
	struct leaver l;
	struct reader r;
	char *p, *store;
	struct fix f;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	store = p + 64 * PAGE;
	for (i = 0; i < rounds; i++) {
		unmapped_here(&f, p);
		/* but for one */
		(void)*(volatile char *)store;
		delays_need_at("managed", "400000");
		reader_start(&r, p);
		ASSERT_TRUE(SOON(thread_in(&r.tid, "uvm_delay"), 10));
		/* this page, and no other */
		atomic_store(&r.stop, true);
		l = (struct leaver){ .f = &f, .p = p };
		ASSERT_EQ(pthread_create(&l.thread, NULL, leave, &l), 0);
		/* or the machine was too slow, and there is nobody to wait for any more */
		ASSERT_TRUE(SOON(thread_in(&l.tid, "uvm_managed_begin") ||
				 !thread_in(&r.tid, "uvm_delay"), 10));
		met += thread_in(&l.tid, "uvm_managed_begin");
		EXPECT_LE(store_faults(store), 20);
		pthread_join(l.thread, NULL);
		reader_stop(&r);
		delays_off();
		EXPECT_EQ(*store, 1);
	}
	EXPECT_GT(met, 0);
	fix_close(&f);
}

#define COUNTERS	8

struct adder {
	pthread_t thread;
	char *p;
	unsigned int rounds;
};

static void *add_by_cpu(void *arg)
{
	struct adder *a = arg;
	unsigned int i;

	for (i = 0; i < a->rounds; i++)
		__atomic_fetch_add((uint64_t *)(a->p + i % COUNTERS * PAGE), 1,
				   __ATOMIC_SEQ_CST);
	return NULL;
}

/* CPU threads, and a GPU in another word of each page, while all of it moves: no store is lost. */
TEST_VT(race_stores, managed_devices, 60)
{
	unsigned int rounds = harness_rounds(200), i;
	struct mover m = { 0 };
	struct adder a[2];
	pthread_t thread;
	atomic_bool stop;
	uint64_t *word;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_buffer(&f, COUNTERS * PAGE);
	atomic_init(&stop, false);
	m = (struct mover){ .f = &f, .p = p, .length = COUNTERS * PAGE, .stop = &stop };
	for (i = 0; i < NR(a); i++) {
		a[i] = (struct adder){ .p = p + 64 * i, .rounds = rounds * COUNTERS };
		ASSERT_EQ(pthread_create(&a[i].thread, NULL, add_by_cpu, &a[i]), 0);
	}
	ASSERT_EQ(pthread_create(&thread, NULL, move_about, &m), 0);
	for (i = 0; i < rounds; i++)
		fix_fill(&f, p + i % COUNTERS * PAGE + 2048, 64, i % 250 + 1);
	for (i = 0; i < NR(a); i++)
		pthread_join(a[i].thread, NULL);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	for (i = 0; i < COUNTERS; i++) {
		word = (uint64_t *)(p + i * PAGE);
		EXPECT_EQ(word[0], rounds);
		EXPECT_EQ(word[8], rounds);
		EXPECT_BYTES(p + i * PAGE + 2048, 64,
			     (rounds - COUNTERS + i - rounds % COUNTERS +
			      (i < rounds % COUNTERS ? COUNTERS : 0)) % 250 + 1);
	}
	fix_close(&f);
}

/* ---- ends ---- */

TEST_V(unregistered, managed_devices)
{
	struct uvm_unregister_gpu u;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	fix_to_gpu(&f, p, HUGE);
	ASSERT_RET(unregister_counted(f.s.fd, f.gpu.uuid, &u), 0);
	EXPECT_EQ(u.out_moved, HUGE / PAGE);
	EXPECT_EQ(u.out_left, 0);
	EXPECT_EQ(fix_on_cpu(&f, p, HUGE), HUGE / PAGE);
	EXPECT_PATTERN(p, HUGE, 1);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	fix_close(&f);
}

/* The CPU has its pages also when nobody can command the GPU any more. */
TEST_V(released, managed_devices)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	fix_to_gpu(&f, p, HUGE);
	close(f.s.mm_fd);
	f.s.mm_fd = -1;
	EXPECT_PATTERN(p, HUGE / 2, 1);
	close(f.s.fd);
	f.s.fd = -1;
	EXPECT_PATTERN(p, HUGE, 1);
	ASSERT_RET(munmap(p, HUGE), 0);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
}

/* Without a touch, too */
TEST_V(unmapped_after_release, managed_devices)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	fix_to_gpu(&f, p, HUGE);
	fix_close(&f);
	ASSERT_RET(munmap(p, HUGE / 2), 0);
	expect_pages(p, HUGE / PAGE / 2, HUGE / PAGE, 1);
	ASSERT_RET(munmap(p + HUGE / 2, HUGE / 2), 0);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
}

static void busy_child(struct fix *f)
{
	struct mover m = { .f = f, .length = HUGE };
	atomic_bool stop;
	pthread_t thread;
	unsigned int i;

	fix_reopen(f);
	atomic_init(&stop, false);
	m.p = pattern(f->s.fd, HUGE, 1);
	m.stop = &stop;
	ASSERT_EQ(pthread_create(&thread, NULL, move_about, &m), 0);
	for (i = 0;; i++)
		(void)*(volatile char *)(m.p + i * 7 % (HUGE / PAGE) * PAGE);
}

TEST_VT(killed_while_moving, managed_devices, 60)
{
	unsigned int i, rounds = harness_rounds(30);
	struct managed_account was;
	struct fix f, theirs;
	pid_t pid;

	fix_open(&f, v);
	managed_account_read(f.s.fd, &was);
	for (i = 0; i < rounds; i++) {
		pid = child();
		if (!pid) {
			theirs = (struct fix){ .gpu = f.gpu, .managed = true };
			busy_child(&theirs);
		}
		usleep(5000 + i * 1000);
		kill(pid, SIGKILL);
		EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
	}
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	EXPECT_TRUE(managed_account_returns(f.s.fd, &was));
	fix_close(&f);
}

/* The device goes; its pages are home, whoever has them. */
TEST_VT(unplugged, managed_devices, 60)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	fix_to_gpu(&f, p, HUGE);
	unbind(&f.gpu);
	EXPECT_EQ(fix_on_cpu(&f, p, HUGE), HUGE / PAGE);
	EXPECT_PATTERN(p, HUGE, 1);
	rebind(&f.gpu);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	fix_close(&f);
	/* it is like any other that comes */
	fix_reopen(&f);
	p = fix_pattern(&f, HUGE, 2);
	fix_to_gpu(&f, p, HUGE);
	EXPECT_PATTERN(p, HUGE, 2);
	fix_close(&f);
}

/* With nobody left who could command it */
TEST_VT(unplugged_after_release, managed_private, 60)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	fix_to_gpu(&f, p, HUGE);
	fix_close(&f);
	unbind(&f.gpu);
	EXPECT_PATTERN(p, HUGE, 1);
	ASSERT_RET(munmap(p, HUGE), 0);
	rebind(&f.gpu);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
}

/* ---- more than there is, policies, discard ---- */

TEST_VT(more_than_there_is, managed_devices, 60)
{
	struct fix f;
	struct set s;
	int i;

	pressure_need(v);
	fix_open(&f, v);
	set_make(&s, &f, 2 * f.gpu.memory_size, 1);
	for (i = 0; i < 2; i++) {
		set_turn_all(&s);
		set_check_by_gpu(&s);
	}
	EXPECT_LE(my_pages(&f, &f.gpu), f.gpu.memory_size / PAGE);
	set_check_by_cpu(&s);
	set_free(&s);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	fix_close(&f);
}

/* The ranges of a group stay together, wherever they are. */
TEST_V(group_of_ranges, managed_devices)
{
	struct uvm_migrate m;
	uint32_t group;
	struct fix f;
	char *p, *q;

	fix_open(&f, v);
	p = fix_pattern(&f, SMALL, 1);
	q = fix_pattern(&f, SMALL, 2);
	ASSERT_RET(group_create(f.s.fd, &group), 0);
	ASSERT_RET(policy_group(f.s.fd, p, SMALL, group), 0);
	ASSERT_RET(policy_group(f.s.fd, q, SMALL, group), 0);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	fix_xor(&f, p, SMALL, 3);
	fix_xor(&f, q, SMALL, 3);
	expect_where(&f, p, SMALL, SMALL / PAGE, 0, 0);
	expect_where(&f, q, SMALL, SMALL / PAGE, 0, 0);
	ASSERT_RET(migrate(f.s.fd, p, SMALL, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_POLICY], SMALL / PAGE);
	ASSERT_RET(group_allow(f.s.fd, group, 1), 0);
	fix_to_gpu(&f, p, SMALL);
	/* it is mapped where it is: until that ends, nobody faults */
	ASSERT_RET(mprotect(q, SMALL, PROT_READ), 0);
	ASSERT_RET(mprotect(q, SMALL, RW), 0);
	fix_xor(&f, q, SMALL, 3);
	expect_where(&f, q, SMALL, 0, SMALL / PAGE, 0);
	/* a part of one that leaves the group goes its own way */
	ASSERT_RET(policy_group(f.s.fd, q, SMALL / 2, 0), 0);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	ASSERT_RET(migrate(f.s.fd, q, SMALL, UVM_DEST_CPU, 0, NULL, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_moved, SMALL / PAGE / 2);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_POLICY], SMALL / PAGE / 2);
	/* what the CPU couldn't use otherwise comes all the same */
	cpu_xor(p, SMALL, 3);
	EXPECT_PATTERN(p, SMALL, 1);
	EXPECT_PATTERN(q, SMALL, 2);
	fix_close(&f);
}

static void expect_discarded(struct fix *f, const char *p, size_t length, uint32_t flags)
{
	struct uvm_discard d;

	ASSERT_RET(discard(f->s.fd, p, length, flags, &d), 0);
	discard_expect_accounts(&d);
	EXPECT_EQ(d.out_discarded, length / PAGE);
}

TEST_V(discarded, managed_private)
{
	struct uvm_discard d;
	struct fix f;
	size_t i;
	long bytes;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, HUGE, 1);
	/* in system memory there is nothing to discard */
	ASSERT_RET(discard(f.s.fd, p, HUGE, 0, &d), 0);
	EXPECT_EQ(d.out_skipped[UVM_DISCARD_SKIP_NOT_ON_GPU], HUGE / PAGE);
	EXPECT_PATTERN(p, HUGE, 1);

	fix_to_gpu(&f, p, HUGE);
	expect_discarded(&f, p, HUGE, 0);
	bytes = sim_stat(&f.gpu, "bytes");
	fix_to_cpu(&f, p, HUGE);
	EXPECT_EQ(sim_stat(&f.gpu, "bytes"), bytes);
	EXPECT_BYTES(p, HUGE, 0);

	/* what is written afterwards is kept, by whomever */
	pattern_fill(p, HUGE, 2);
	fix_to_gpu(&f, p, HUGE);
	expect_discarded(&f, p, HUGE, 0);
	for (i = 0; i < HUGE / PAGE; i += 9)
		fix_fill(&f, p + i * PAGE, PAGE, i % 200 + 1);
	for (i = 4; i < HUGE / PAGE; i += 9)
		memset(p + i * PAGE, i % 200 + 1, PAGE);
	for (i = 0; i < HUGE / PAGE; i += 9)
		EXPECT_BYTES(p + i * PAGE, PAGE, i % 200 + 1);
	for (i = 4; i < HUGE / PAGE; i += 9)
		EXPECT_BYTES(p + i * PAGE, PAGE, i % 200 + 1);

	pattern_fill(p, HUGE, 3);
	fix_to_gpu(&f, p, HUGE);
	expect_discarded(&f, p + PAGE, HUGE - PAGE, UVM_DISCARD_EAGER);
	expect_mine(&f, &f.gpu, 1);
	EXPECT_BYTES(p + PAGE, HUGE - PAGE, 0);
	expect_pages(p, 0, 1, 3);
	fix_close(&f);
}

/* Another space of the process has no say in where pages are that aren't its own. */
TEST_V(moved_by_other_space, managed_devices)
{
	struct fix f, other;
	struct uvm_migrate m;
	char *p;

	fix_open(&f, v);
	fix_open(&other, v);
	p = fix_pattern(&f, SMALL, 1);
	ASSERT_RET(migrate(other.s.fd, p, SMALL, UVM_DEST_GPU, 0, other.gpu.uuid, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_VMA_KIND], SMALL / PAGE);
	expect_where(&f, p, SMALL, SMALL / PAGE, 0, 0);
	/* but its GPU uses them, while they move, too */
	fix_to_gpu(&f, p, SMALL);
	fix_xor(&other, p, SMALL, 4);
	fix_to_gpu(&f, p, SMALL);
	fix_xor(&other, p, SMALL, 4);
	EXPECT_PATTERN(p, SMALL, 1);
	fix_close(&other);
	fix_close(&f);
}

/* ---- thousands of rounds ---- */

#define CHAOS_PAGES	(3 * HUGE / PAGE)

/**
 * struct chaos - a place with mappings that come and go
 * @f: the files, and maybe a GPU
 * @gpu: there is a GPU that managed memory moves to
 * @room: as much as CHAOS_PAGES
 * @byte: what each page holds; 0 also if it isn't mapped
 * @mapped: is it?
 * @rng: random numbers
 */
struct chaos {
	struct fix f;
	bool gpu;
	char *room;
	unsigned char byte[CHAOS_PAGES];
	bool mapped[CHAOS_PAGES];
	uint64_t rng;
};

static size_t chaos_pick(struct chaos *c, size_t n)
{
	return harness_random(&c->rng) % n;
}

static void chaos_range(struct chaos *c, size_t *first, size_t *pages)
{
	*first = chaos_pick(c, CHAOS_PAGES);
	*pages = 1 + chaos_pick(c, chaos_pick(c, 8) ? 8 : HUGE / PAGE);
	if (*pages > CHAOS_PAGES - *first)
		*pages = CHAOS_PAGES - *first;
}

static void chaos_map(struct chaos *c, size_t first, size_t pages)
{
	managed_at(c->f.s.fd, c->room + first * PAGE, pages * PAGE);
	memset(c->mapped + first, true, pages);
	memset(c->byte + first, 0, pages);
}

static void chaos_unmap(struct chaos *c, size_t first, size_t pages)
{
	/* nobody else may come there */
	retire(c->room + first * PAGE, pages * PAGE);
	memset(c->mapped + first, false, pages);
	memset(c->byte + first, 0, pages);
}

static void chaos_use(struct chaos *c, size_t first, size_t pages)
{
	size_t i;

	if (pages > 16)
		pages = 16;
	for (i = first; i < first + pages; i++) {
		if (!c->mapped[i])
			continue;
		EXPECT_EQ(c->room[i * PAGE + i], (char)c->byte[i]);
		c->byte[i] = 1 + chaos_pick(c, 255);
		c->room[i * PAGE + i] = c->byte[i];
	}
}

static void chaos_protect(struct chaos *c, size_t first, size_t pages)
{
	char *p = c->room + first * PAGE;
	size_t i;

	for (i = first; i < first + pages; i++)
		if (!c->mapped[i])
			return;
	ASSERT_RET(mprotect(p, pages * PAGE, PROT_READ), 0);
	EXPECT_EQ(signal_of(p, true), SIGSEGV);
	ASSERT_RET(mprotect(p, pages * PAGE, RW), 0);
	chaos_use(c, first, pages);
}

/* A child that ends by itself, or is killed; with the mapping or without it */
static void chaos_fork(struct chaos *c, size_t first, size_t pages)
{
	bool with = c->mapped[first] && chaos_pick(c, 2), kills = chaos_pick(c, 2);
	char *p = c->room + first * PAGE;
	pid_t pid;

	if (with)
		with = !madvise(p, PAGE, MADV_DOFORK);
	pid = child();
	if (!pid) {
		EXPECT_EQ(signal_of(p, true), with ? SIGBUS : SIGSEGV);
		if (kills)
			pause();
		child_exit();
	}
	if (kills)
		kill(pid, SIGKILL);
	EXPECT_EQ(child_wait(pid), kills ? 128 + SIGKILL : 0);
	if (with)
		ASSERT_RET(madvise(p, PAGE, MADV_DONTFORK), 0);
	/* it isn't only mapped still, it is there */
	if (c->mapped[first])
		ASSERT_RET(madvise(p, PAGE, MADV_DONTNEED), 0);
	chaos_use(c, first, 1);
}

static void chaos_move(struct chaos *c, size_t first, size_t pages)
{
	struct uvm_migrate m;
	bool there;
	size_t i;

	for (i = first; i < first + pages; i++)
		if (!c->mapped[i])
			return;
	there = chaos_pick(c, 4);
	ASSERT_RET(migrate(c->f.s.fd, c->room + first * PAGE, pages * PAGE,
			   there ? UVM_DEST_GPU : UVM_DEST_CPU, 0,
			   there ? c->f.gpu.uuid : NULL, &m), 0);
	expect_accounts(&m);
}

static void chaos_round(struct chaos *c)
{
	size_t first, pages;

	chaos_range(c, &first, &pages);
	switch (chaos_pick(c, 16)) {
	case 0 ... 3:
		chaos_map(c, first, pages);
		break;
	case 4 ... 6:
		chaos_unmap(c, first, pages);
		break;
	case 7:
	case 8:
		chaos_protect(c, first, pages);
		break;
	case 9:
		if (!chaos_pick(c, 16))
			chaos_fork(c, first, pages);
		break;
	case 10:
	case 11:
		if (c->gpu)
			chaos_move(c, first, pages);
		break;
	default:
		chaos_use(c, first, pages);
	}
}

/* It is killed at any moment, once it is at it. */
static void chaos_child(struct chaos *c, unsigned int rounds, int end)
{
	unsigned int i;

	if (c->gpu)
		fix_reopen(&c->f);
	else
		ASSERT_RET(space_open(&c->f.s), 0);
	c->room = managed_room(CHAOS_PAGES * PAGE);
	for (i = 0; i < rounds; i++) {
		if (i == rounds / 2)
			tell(end, 'h');
		chaos_round(c);
	}
	/* until it is killed */
	for (;;)
		chaos_round(c);
}

/*
 * Free pages on the processors' own lists. They count as free nowhere, and since 6.7
 * there may be an eighth of all memory there for a while.
 */
static long memory_on_lists(void)
{
	char word[64];
	long sum = 0, n;
	FILE *f;

	f = fopen("/proc/zoneinfo", "r");
	ASSERT_TRUE(f != NULL);
	while (fscanf(f, "%63s", word) == 1)
		if (!strcmp(word, "count:") && fscanf(f, "%ld", &n) == 1)
			sum += n;
	fclose(f);
	return sum;
}

/*
 * Pages that are free, or of which the kernel tells what they are for. Slabs are among
 * them: a debug kernel keeps what was freed there for a long time.
 */
static long memory_told(void)
{
	static const char * const uses[] = {
		"MemFree:", "Buffers:", "Cached:", "AnonPages:", "Slab:", "KernelStack:",
		"PageTables:", "Percpu:",
	};
	char text[8192], *line;
	long sum = memory_on_lists();
	size_t i;

	ASSERT_TRUE(read_text("/proc/meminfo", text, sizeof(text)));
	for (i = 0; i < NR(uses); i++) {
		line = strstr(text, uses[i]);
		ASSERT_TRUE(line != NULL);
		sum += strtol(line + strlen(uses[i]), NULL, 10) / 4;
	}
	return sum;
}

#define CHAOS_LIVES	20
/* of each; half as many on a slow kernel */
#define CHAOS_ROUNDS	1000

/*
 * What a process has of managed memory when it is killed goes with it. A page lost in
 * each round would be 40 MB, on any kernel, whatever it tells.
 */
static void chaos(struct chaos *c, int own)
{
	unsigned int rounds = harness_rounds(CHAOS_ROUNDS), i;
	struct managed_account was;
	long told;
	int ends[2];
	pid_t pid;

	managed_account_read(own, &was);
	told = memory_told();
	for (i = 0; i < CHAOS_LIVES; i++) {
		c->rng = harness_seed + i;
		link_new(ends);
		pid = child();
		if (!pid) {
			close(ends[0]);
			chaos_child(c, rounds, ends[1]);
		}
		close(ends[1]);
		EXPECT_EQ(hear(ends[0]), 'h');
		usleep(chaos_pick(c, 20000));
		kill(pid, SIGKILL);
		EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
		close(ends[0]);
	}
	EXPECT_TRUE(managed_account_returns(own, &was));
	EXPECT_TRUE(WAIT_FOR(memory_told() > told - 4096));
}

TEST_T(chaos, 120)
{
	static struct chaos c;
	struct space own;

	open_space(&own);
	chaos(&c, own.fd);
	space_close(&own);
}

TEST_VT(chaos_gpu, managed_devices, 180)
{
	static struct chaos c;
	struct fix f;

	fix_open(&f, v);
	c.gpu = true;
	c.f = (struct fix){ .gpu = f.gpu, .managed = true };
	chaos(&c, f.s.fd);
	EXPECT_TRUE(gpu_free_returns(&f.gpu, f.gpu.memory_size));
	fix_close(&f);
}

static void __attribute__((constructor)) install(void)
{
	devices_install();
}

HARNESS_MAIN()
