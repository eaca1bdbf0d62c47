// SPDX-License-Identifier: GPL-2.0-only
/*
 * What modules.sh lets run between loading and unloading the modules.
 *
 *	count		print the number of GPUs
 *	private		succeed if there is one with private memory
 *	run		register all GPUs, compute, migrate, check, exit with
 *			pages still on the last GPU
 *	space		hold a VA space, with no GPU registered
 *	hold		like run, and then hold everything
 *	resident	like run, close both files, hold only the pages
 *	churn		migrate for ever
 *	kept		like resident, of a process that is killed while its mm is kept
 *
 * All but count, private and run print "ready" once they are where they should be, and
 * wait to be killed; after two minutes they give up by themselves. SIGUSR1 makes
 * hold, resident and kept check their data and exit.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "lib_uvm.h"

#define PAGES	128
#define LENGTH	(PAGES * PAGE)

static struct uvm_gpu_info gpus[MAX_GPUS];
static int count;
/* kinds of memory don't mix: private GPUs in one, the others in the other */
static struct space spaces[2];
static char *buf;
static uint64_t seed;

static int fail(const char *what, long seen)
{
	fprintf(stderr, "# modworker: %s: %ld\n", what, seen);
	return 1;
}

static int space_of(int i)
{
	return spaces[gpus[i].memory_kind == UVM_MEMORY_PRIVATE].fd;
}

/* Those that ordinary memory can move to */
static int gpus_to_use(void)
{
	int n = 0;

	while (n < MAX_GPUS && gpu_find(0, n, &gpus[n]))
		n++;
	return n;
}

static int setup(void)
{
	int i, ret;

	count = gpus_to_use();
	if (count <= 0)
		return fail("no GPU", count);
	for (i = 0; i < 2; i++) {
		ret = space_open(&spaces[i]);
		if (ret)
			return fail("space", ret);
	}
	for (i = 0; i < count; i++) {
		ret = register_gpu(space_of(i), gpus[i].uuid);
		if (ret)
			return fail("register", ret);
	}
	seed = getpid();
	buf = anon(LENGTH, PROT_READ | PROT_WRITE, 0);
	pattern_fill(buf, LENGTH, seed);
	return 0;
}

/* One round on every GPU; leaves the pages on the last one. */
static int work(void)
{
	uint64_t *out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	uint64_t sum = sum64(buf, LENGTH);
	struct uvm_sim_cmd c;
	struct uvm_migrate m;
	uint32_t channel;
	int i, ret;

	for (i = 0; i < count; i++) {
		ret = channel_create(space_of(i), gpus[i].uuid, &channel);
		if (ret)
			return fail("channel", ret);
		ret = migrate(space_of(i), buf, LENGTH, UVM_DEST_GPU, 0,
			      gpus[i].uuid, &m);
		if (ret)
			return fail("migrate", ret);
		if (m.out_moved + m.out_already != PAGES)
			return fail("pages that moved", m.out_moved);
		c = CMD(SUM, .dst = ADDR(out), .src = ADDR(buf), .length = LENGTH);
		ret = channel_run(space_of(i), channel, &c, 1);
		if (ret)
			return fail("run", ret);
		if (*out != sum)
			return fail("wrong sum on GPU", i);
		ret = channel_destroy(space_of(i), channel);
		if (ret)
			return fail("destroy", ret);
		if (i + 1 == count)
			break;
		if (pattern_check(buf, LENGTH, seed) != -1)
			return fail("wrong data from GPU", i);
	}
	munmap(out, PAGE);
	return 0;
}

static void ready(void)
{
	if (write(STDOUT_FILENO, "ready\n", 6) != 6)
		_exit(1);
	close(STDOUT_FILENO);
}

static int wait_and_check(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ready();
	sigwait(&set, &number);
	if (pattern_check(buf, LENGTH, seed) != -1)
		return fail("data lost while waiting", 0);
	return 0;
}

/* ---- the pages of a process that is dead, in an mm that isn't ---- */

static int kept_mem;
static char *kept_late;

/* Holds the mm until user space provides the page that it writes to. */
static void *keeper(void *arg)
{
	pread(kept_mem, kept_late, 1, (uintptr_t)arg);
	return NULL;
}

static int late_page(void)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		return -1;
	kept_late = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	madvise(kept_late, PAGE, MADV_NOHUGEPAGE);
	reg.range.start = ADDR(kept_late);
	reg.range.len = PAGE;
	return ioctl(fd, UFFDIO_REGISTER, &reg) ? -1 : fd;
}

/* The first GPU with private memory, or -1 */
static int find_private(void)
{
	int i;

	for (i = 0; i < count; i++)
		if (gpus[i].memory_kind == UVM_MEMORY_PRIVATE)
			return i;
	return -1;
}

static void kept_main(char **shared, int fd)
{
	int i, ret = setup();
	struct uvm_migrate m;

	if (!ret)
		ret = work();
	i = find_private();
	if (ret || i < 0 ||
	    migrate(space_of(i), buf, LENGTH, UVM_DEST_CPU, 0, NULL, &m) ||
	    migrate(space_of(i), buf, LENGTH, UVM_DEST_GPU, 0, gpus[i].uuid, &m) ||
	    m.out_moved != PAGES)
		_exit(1);
	shared[0] = buf;
	if (write(fd, &seed, sizeof(seed)) != sizeof(seed))
		_exit(1);
	pause();
	_exit(0);
}

static int kept(void)
{
	char path[40], **shared = shared_page(), *room;
	int sync[2], uffd = late_page();
	struct uffd_msg msg;
	pthread_t thread;
	sigset_t set;
	int number;
	pid_t pid;

	if (uffd < 0 || pipe(sync))
		return fail("no userfaultfd", uffd);
	pid = fork();
	if (!pid) {
		close(uffd);
		close(STDOUT_FILENO);
		kept_main(shared, sync[1]);
	}
	close(sync[1]);
	if (read(sync[0], &seed, sizeof(seed)) != sizeof(seed))
		return fail("the process didn't get its pages there", 0);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	kept_mem = open(path, O_RDWR | O_CLOEXEC);
	if (kept_mem < 0 || pthread_create(&thread, NULL, keeper, &count) ||
	    read(uffd, &msg, sizeof(msg)) != sizeof(msg))
		return fail("the mm isn't kept", kept_mem);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ready();
	sigwait(&set, &number);
	room = anon(LENGTH, PROT_READ | PROT_WRITE, 0);
	if (pread(kept_mem, room, LENGTH, ADDR(shared[0])) != LENGTH ||
	    pattern_check(room, LENGTH, seed) != -1)
		return fail("data lost while waiting", 0);
	return 0;
}

static int churn(void)
{
	struct uvm_migrate m;
	long i;
	int ret;

	for (i = 0; i < 1000000; i++) {
		ret = migrate(space_of(i % count), buf, LENGTH, UVM_DEST_GPU, 0,
			      gpus[i % count].uuid, &m);
		if (ret)
			return fail("migrate", ret);
		if (i == count)
			ready();
		if (i % 3 == 0 && pattern_check(buf, LENGTH, seed) != -1)
			return fail("wrong data", i);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	sigset_t set;
	int ret;

	alarm(120);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);

	if (!strcmp(mode, "count")) {
		count = gpus_list(gpus, MAX_GPUS);
		if (count < 0)
			return fail("can't count GPUs", count);
		printf("%d\n", count);
		return 0;
	}
	if (!strcmp(mode, "space")) {
		ret = space_open(&spaces[0]);
		if (ret)
			return fail("space", ret);
		ready();
		pause();
		return 0;
	}

	if (!strcmp(mode, "private")) {
		count = gpus_to_use();
		return find_private() < 0;
	}
	if (!strcmp(mode, "kept"))
		return kept();

	ret = setup();
	if (!ret)
		ret = work();
	if (ret)
		return ret;
	if (!strcmp(mode, "run"))
		return 0;
	if (!strcmp(mode, "churn"))
		return churn();
	if (!strcmp(mode, "resident")) {
		space_close(&spaces[0]);
		space_close(&spaces[1]);
		return wait_and_check();
	}
	if (!strcmp(mode, "hold"))
		return wait_and_check();
	return fail("unknown mode", argc);
}
