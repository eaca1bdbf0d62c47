// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that a GPU with private memory goes away in bounded time, whatever is in it and
 * whoever is in the way: pages come home, or are parked in system memory if they can't
 * come; no byte is lost either way, the GPU comes back under its uuid meanwhile, and
 * nothing is left behind once the last parked page was touched or freed.
 *
 * What keeps pages from coming home here is an mm that no task has any more, because
 * somebody reads it by /proc/PID/mem and user space doesn't let him go on: that can be
 * had on any kernel. For a locked mmap_lock see locked.c.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "lib_device.h"
#include "lib_lifetime.h"
#include "lib_policy.h"
#include "lib_sim.h"
#include "lib_unplug.h"
#include "lib_uvm.h"

/* What changes hands with its VA space, or its address, isn't managed. */
static const struct variant ordinary[] = {
	{ "private", UVM_MEMORY_PRIVATE, false },
	{ "private-thp", UVM_MEMORY_PRIVATE, true },
	{ 0 },
};

/* ---- an mm that no task has ---- */

struct kept {
	struct uvm_gpu_info gpu;
	char *p;		/* in the mm that is kept */
	size_t length;
	int mem;		/* its /proc/PID/mem */
	int uffd;
	char *late;
	long held;		/* users of uvm that its mappings are, whoever has files */
	pthread_t reader;
	volatile pid_t tid;
	char *room;
};

static void *keeper_main(void *arg)
{
	struct kept *k = arg;

	k->tid = syscall(SYS_gettid);
	/* It waits for the page that it writes to, with the other mm held. */
	EXPECT_EQ(pread(k->mem, k->late, 1, ADDR(k->p)), 1);
	return NULL;
}

static void keep_late(struct kept *k)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };

	k->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (k->uffd < 0 || ioctl(k->uffd, UFFDIO_API, &api))
		SKIP("no userfaultfd");
	k->late = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	madvise(k->late, PAGE, MADV_NOHUGEPAGE);
	reg.range.start = ADDR(k->late);
	reg.range.len = PAGE;
	ASSERT_EQ(ioctl(k->uffd, UFFDIO_REGISTER, &reg), 0);
}

/* A process put pages on the GPU, which are read @mostly, and is gone; its mm is not. */
static void keep_as(struct kept *k, const struct variant *v, enum plight plight,
		    uint64_t seed, bool mostly)
{
	struct shared { char *p; size_t length; struct uvm_gpu_info gpu; } *s;
	int ready[2];
	char path[40];
	struct fix f;
	pid_t pid;
	char byte;

	memset(k, 0, sizeof(*k));
	keep_late(k);
	s = shared_page();
	ASSERT_EQ(pipe(ready), 0);
	pid = child();
	if (!pid) {
		fix_open(&f, v);
		/* what is read to keep the mm is not on the GPU: it would come home */
		s->p = plight_begin(&f, plight, seed);
		s->length = f.length;
		s->gpu = f.gpu;
		if (mostly)
			ASSERT_RET(policy_switch(f.s.fd, UVM_SET_READ_MOSTLY, s->p, f.length,
						 true), 0);
		close(k->uffd);
		ASSERT_EQ(write(ready[1], "r", 1), 1);
		pause();
		_exit(0);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		SKIP("the process didn't get its pages there");
	close(ready[0]);
	k->gpu = s->gpu;
	k->length = s->length;
	k->held = v->managed;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	k->mem = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_GE(k->mem, 0);
	k->p = (char *)&harness_seed;
	ASSERT_EQ(pthread_create(&k->reader, NULL, keeper_main, k), 0);
	ASSERT_TRUE(SOON(k->tid, 10));
	ASSERT_TRUE(thread_sleeps(k->tid));
	k->p = s->p;
	k->room = anon(k->length, PROT_READ | PROT_WRITE, 0);
	kill(pid, SIGKILL);
	EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
}

static void keep(struct kept *k, const struct variant *v, enum plight plight,
		 uint64_t seed)
{
	keep_as(k, v, plight, seed, false);
}

static void expect_kept(struct kept *k, size_t first, size_t length, uint64_t seed)
{
	ASSERT_EQ(pread(k->mem, k->room, length, ADDR(k->p + first)), length);
	EXPECT_EQ(pattern_check_from(k->room, length, seed, first / PAGE), -1);
}

/* Lets the mm go. */
static void keep_end(struct kept *k)
{
	char *page = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uffdio_copy copy = {
		.dst = ADDR(k->late), .src = ADDR(page), .len = PAGE,
	};

	ASSERT_EQ(ioctl(k->uffd, UFFDIO_COPY, &copy), 0);
	pthread_join(k->reader, NULL);
	close(k->uffd);
	close(k->mem);
}

/*
 * Nobody's pages are parked, the GPU comes back beside them, and they are read where they
 * wait, changed, and freed.
 */
TEST_VT(kept_is_parked, privates, 60)
{
	long core = users("uvm"), sim = users("uvm_sim");
	struct uvm_gpu_info old;
	struct kept k;
	struct fix f;
	double took;
	char *p;

	core_parameter_set("park_after_ms", PARK_MS);
	keep(&k, v, OPEN, 1);
	took = unbind_timed(&k.gpu);
	harness_note("unbinding took %.1f s", took);
	EXPECT_GE(took, PARK_MS / 1000.0);
	EXPECT_LE(took, 10);
	expect_parked(core + k.held);
	EXPECT_EQ(users("uvm_sim"), sim);
	/* one that is touched, and some around it */
	expect_kept(&k, 9 * PAGE, PAGE, 1);
	expect_parked(core + k.held);

	old = k.gpu;
	rebind(&k.gpu);
	EXPECT_GT(k.gpu.id, old.id);
	EXPECT_EQ(k.gpu.memory_free, k.gpu.memory_size);
	fix_open(&f, v);
	EXPECT_EQ(memcmp(f.gpu.uuid, old.uuid, UVM_UUID_LEN), 0);
	p = fix_pattern(&f, f.length, 2);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	EXPECT_PATTERN(p, f.length, 2);
	munmap(p, f.length);
	fix_close(&f);

	pattern_fill_from(k.room, 4 * PAGE, 3, 0);
	ASSERT_EQ(pwrite(k.mem, k.room, 4 * PAGE, ADDR(k.p)), 4 * PAGE);
	expect_kept(&k, 4 * PAGE, k.length - 4 * PAGE, 1);
	expect_kept(&k, 0, 4 * PAGE, 3);
	/* none is left, though the mm is */
	expect_users(core + k.held);
	keep_end(&k);
	expect_users(core);
}

/* What is read mostly doesn't stay there for who reads it: the GPU is gone. */
TEST_VT(kept_copies, privates, 60)
{
	long core = users("uvm");
	struct kept k;

	core_parameter_set("park_after_ms", PARK_MS);
	keep_as(&k, v, OPEN, 8, true);
	unbind(&k.gpu);
	expect_parked(core + k.held);
	expect_kept(&k, 0, k.length, 8);
	/* none is left, though the mm is */
	expect_users(core + k.held);
	keep_end(&k);
	expect_users(core);
	rebind(&k.gpu);
}

/* Nobody ever touches them. */
TEST_VT(kept_is_freed, privates, 60)
{
	long core = users("uvm");
	struct kept k;

	core_parameter_set("park_after_ms", PARK_MS);
	keep(&k, v, CLOSED, 4);
	unbind(&k.gpu);
	expect_parked(core + k.held);
	keep_end(&k);
	expect_users(core);
	rebind(&k.gpu);
	expect_users(core);
}

/* They are freed while they are parked: by then, or it waits for no one. */
TEST_VT(freed_while_parking, privates, 90)
{
	unsigned int i, rounds = harness_rounds(4);
	uint64_t random = harness_seed;
	long core = users("uvm");
	struct timespec nap = { 0 };
	struct unbinder u;
	struct kept k;

	core_parameter_set("park_after_ms", 0);
	for (i = 0; i < rounds; i++) {
		keep(&k, v, CLOSED, 5);
		if (i % 2 == 0)
			delays_at("park", "20000");
		unbind_start(&u, &k.gpu);
		nap.tv_nsec = harness_random(&random) % 30000000;
		nanosleep(&nap, NULL);
		keep_end(&k);
		unbind_finish(&u);
		delays_off();
		expect_users(core);
		rebind(&k.gpu);
	}
}

/* It may be told to wait. */
TEST_VT(never_parked, private_managed, 60)
{
	struct timespec while_ = { .tv_sec = 3 };
	long core = users("uvm");
	struct unbinder u;
	struct kept k;

	core_parameter_set("park_after_ms", -1);
	keep(&k, v, CLOSED, 6);
	unbind_start(&u, &k.gpu);
	nanosleep(&while_, NULL);
	EXPECT_TRUE(!atomic_load(&u.done));
	/* and may still be told not to */
	core_parameter_set("park_after_ms", 0);
	unbind_finish(&u);
	expect_parked(core + k.held);
	expect_kept(&k, 0, k.length, 6);
	keep_end(&k);
	expect_users(core);
	rebind(&k.gpu);
}

/* Without memory for them, they are waited for; with it, they are parked. */
TEST_VT(no_memory, private_managed, 90)
{
	struct timespec while_ = { .tv_sec = 3 };
	long core = users("uvm");
	struct unbinder u;
	struct kept k;

	core_parameter_set("park_after_ms", 1000);
	keep(&k, v, CLOSED, 7);
	/* for the thread that unbinds, once it is inside */
	if (!pages_fail(0, 0))
		SKIP("the kernel can't have allocations fail");
	unbind_start(&u, &k.gpu);
	usleep(300000);
	pages_fail(0, 100);
	nanosleep(&while_, NULL);
	pages_fail_no_more();
	EXPECT_TRUE(!atomic_load(&u.done));
	unbind_finish(&u);
	expect_parked(core + k.held);
	expect_kept(&k, 0, k.length, 7);
	keep_end(&k);
	expect_users(core);
	rebind(&k.gpu);
}

/* An engine that hangs is reset, and the copy is made again. */
TEST_VT(copy_fails, private_managed, 60)
{
	long core = users("uvm");
	struct kept k;

	core_parameter_set("park_after_ms", 0);
	keep(&k, v, CLOSED, 8);
	sim_knob(&k.gpu, "hang_copy", 1);
	unbind(&k.gpu);
	expect_parked(core + k.held);
	expect_kept(&k, 0, k.length, 8);
	keep_end(&k);
	expect_users(core);
	rebind(&k.gpu);
}

/* So is one that hangs while it fills free memory. */
TEST_VT(scrub_hangs, private_managed, 60)
{
	long core = users("uvm");
	struct kept k;
	struct fix f;
	char *p;

	core_parameter_set("park_after_ms", PARK_MS);
	keep(&k, v, CLOSED, 8);
	fix_open(&f, v);
	p = fix_pattern(&f, PAGE, 9);
	fix_to_gpu(&f, p, PAGE);
	sim_knob(&k.gpu, "hang_copy", 1);
	/* it begins when a page is freed */
	core_parameter_set("scrub", 1);
	ASSERT_RET(munmap(p, PAGE), 0);
	ASSERT_TRUE(SOON(sim_knob_left(&k.gpu, "hang_copy") == 0, 10));
	fix_close(&f);
	unbind(&k.gpu);
	expect_parked(core + k.held);
	expect_kept(&k, 0, k.length, 8);
	keep_end(&k);
	expect_users(core);
	rebind(&k.gpu);
}

/* ---- under load ---- */

struct load {
	atomic_uint rounds;
	atomic_bool stop;
};

/* Much memory, and programs on it without an end; the GPU comes and goes. */
static void load_main(struct load *w, const struct variant *v, enum plight plight,
		      uint64_t seed, size_t length)
{
	struct fix f = { .length = length, .huge = v->huge };
	uint64_t *out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uvm_sim_cmd c;
	struct uvm_migrate m;
	uint32_t channel;
	uint64_t sum;
	char *p;

	gpu_need(v->kind, 0, &f.gpu);
	ASSERT_RET(space_open(&f.s), 0);
	p = fix_pattern(&f, length, seed);
	sum = sum64(p, length);
	c = CMD(SUM, .dst = ADDR(out), .src = ADDR(p), .length = length);
	while (!w->stop) {
		register_gpu(f.s.fd, f.gpu.uuid);
		migrate(f.s.fd, p, length, UVM_DEST_GPU, 0, f.gpu.uuid, &m);
		if (!channel_create(f.s.fd, f.gpu.uuid, &channel)) {
			*out = ~sum;
			if (!channel_run(f.s.fd, channel, &c, 1))
				EXPECT_EQ(*out, sum);
			channel_destroy(f.s.fd, channel);
		}
		w->rounds++;
		if (plight == MM_CLOSED || plight == CLOSED) {
			close(f.s.mm_fd);
			if (plight == MM_CLOSED)
				usleep(2000);
			close(f.s.fd);
			usleep(2000);
			ASSERT_RET(space_open(&f.s), 0);
		} else if (plight == REMAPPED) {
			char *to = v->huge ? anon_huge(length) :
					     anon(length, PROT_READ | PROT_WRITE, 0);

			ASSERT_TRUE(mremap(p, length, length, MREMAP_MAYMOVE |
					   MREMAP_FIXED, to) == to);
			p = to;
			c.src = ADDR(p);
		} else if (plight == CHILD && w->rounds % 4 == 1) {
			pid_t pid = child();

			if (!pid) {
				EXPECT_PATTERN(p, length, seed);
				child_exit();
			}
			EXPECT_EQ(child_wait(pid), 0);
		}
	}
	EXPECT_PATTERN(p, length, seed);
	child_exit();
}

/* With @park_ms 0 whatever doesn't make it in the first round is parked. */
static void load_test(const struct variant *v, unsigned int rounds, int park_ms)
{
	struct load *w = shared_page();
	struct uvm_gpu_info gpu;
	long core = users("uvm");
	double took, longest = 0;
	pid_t pid[NR_PLIGHTS];
	unsigned int i, k, was;
	size_t length;

	core_parameter_set("park_after_ms", park_ms);
	gpu_need(v->kind, 0, &gpu);
	if (v->huge && !thp_ready())
		SKIP("no transparent huge pages");
	/* all of it, more or less */
	length = gpu.memory_size / (NR_PLIGHTS + 1) & ~(v->huge ? HUGE - 1 : PAGE - 1);
	if (!length)
		length = HUGE;
	for (k = 0; k < NR_PLIGHTS; k++) {
		pid[k] = child();
		if (!pid[k])
			load_main(&w[k], v, k, 20 + k, length);
	}
	for (i = 0; i < rounds; i++) {
		for (k = 0; k < NR_PLIGHTS; k++) {
			was = w[k].rounds;
			ASSERT_TRUE(SOON(w[k].rounds != was, 20));
		}
		took = unbind_timed(&gpu);
		longest = took > longest ? took : longest;
		rebind(&gpu);
	}
	harness_note("unbinding took %.1f s at most", longest);
	EXPECT_LE(longest, 15);
	for (k = 0; k < NR_PLIGHTS; k++)
		w[k].stop = true;
	for (k = 0; k < NR_PLIGHTS; k++)
		EXPECT_EQ(child_wait(pid[k]), 0);
	expect_users(core);
}

TEST_VT(load, ordinary, 120)
{
	load_test(v, harness_rounds(5), 2000);
}

TEST_VT(load_parked, ordinary, 120)
{
	load_test(v, harness_rounds(5), 0);
}

static void __attribute__((constructor)) install(void)
{
	unplug_install();
}

HARNESS_MAIN()
