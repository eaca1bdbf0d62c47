// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that a GPU with private memory goes away in bounded time, and no byte is lost,
 * while an mmap_lock is held that it needs to bring pages home: by a CPU fault that takes
 * long, and somebody who waits to write. For that a kernel must be able to delay.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "lib_device.h"
#include "lib_lifetime.h"
#include "lib_sim.h"
#include "lib_unplug.h"
#include "lib_uvm.h"

/* How long a lock is held, or half of that. */
#define LOCK_US		"6000000"

/* What the parent and the process whose address space is locked tell each other */
struct locked {
	struct uvm_gpu_info gpu;
	pid_t pid;
	atomic_bool begun;	/* the lock is about to be asked for to write */
	atomic_bool done;	/* it is free again */
	char *touched;		/* a page on the GPU */
	volatile pid_t tid;
};

static void *toucher_main(void *arg)
{
	struct locked *s = arg;

	s->tid = syscall(SYS_gettid);
	*(volatile char *)s->touched;
	return NULL;
}

/*
 * A fault that takes long has the lock, and we, who wait to write, keep others out. Until
 * the fault is over.
 */
static void lock_own(struct locked *s, char *touched)
{
	pthread_t toucher;

	s->pid = getpid();
	s->touched = touched;
	ASSERT_EQ(pthread_create(&toucher, NULL, toucher_main, s), 0);
	ASSERT_TRUE(SOON(s->tid, 10));
	ASSERT_TRUE(thread_sleeps(s->tid));
	s->begun = true;
	anon(PAGE, PROT_READ, 0);
	s->done = true;
	pthread_join(toucher, NULL);
}

/* Waits for a lock, which nothing but its giving up ends */
static bool waits(pid_t pid)
{
	char path[40], text[400];
	const char *p = NULL;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (read_text(path, text, sizeof(text)))
		p = strrchr(text, ')');
	return p && p[2] == 'D';
}

struct plan {
	/* up to where pages are on the GPU; returns what lock_own() is to touch */
	char *(*begin)(struct fix *f, const struct variant *v, enum plight plight);
	/* just before that; or NULL */
	void (*go)(struct fix *f);
	/* all data is right */
	void (*check)(struct fix *f, char *p, enum plight plight);
};

static void locked_main(const struct plan *plan, const struct variant *v,
			enum plight plight, struct locked *s, int ready, int go)
{
	struct fix f;
	char *p, byte;

	p = plan->begin(&f, v, plight);
	s->gpu = f.gpu;
	if (plight == CHILD && fork())
		_exit(0);
	ASSERT_EQ(write(ready, "r", 1), 1);
	/* the delays begin */
	ASSERT_EQ(read(go, &byte, 1), 1);
	if (plan->go)
		plan->go(&f);
	lock_own(s, p + 5 * PAGE);
	/* the parent ended the delays */
	EXPECT_EQ(read(go, &byte, 1), 0);
	plan->check(&f, p, plight);
	child_exit();
}

/* A GPU goes away while the address space of a process that uses it is locked. */
static void locked_round(const struct plan *plan, const struct variant *v,
			 enum plight plight)
{
	struct locked *s = shared_page();
	int ready[2], go[2];
	long core = users("uvm");
	double took;
	pid_t pid;
	char byte;

	/* where there are no delays, before anybody waits for them */
	delays_need_at("cpu-fault", LOCK_US);
	delays_off();
	core_parameter_set("park_after_ms", PARK_MS);
	ASSERT_EQ(pipe(ready), 0);
	ASSERT_EQ(pipe(go), 0);
	pid = child();
	if (!pid) {
		close(ready[0]);
		close(go[1]);
		locked_main(plan, v, plight, s, ready[1], go[0]);
	}
	close(ready[1]);
	close(go[0]);
	if (read(ready[0], &byte, 1) != 1)
		SKIP("the process didn't get its pages there");
	delays_need_at("cpu-fault", LOCK_US);
	ASSERT_EQ(write(go[1], "g", 1), 1);
	ASSERT_TRUE(SOON(s->begun, 10));
	ASSERT_TRUE(SOON(waits(s->pid), 10));
	delays_off();
	took = unbind_timed(&s->gpu);
	/* it didn't wait for the lock */
	EXPECT_TRUE(!s->done);
	harness_note("%s: unbinding took %.1f s", plight_names[plight], took);
	EXPECT_LE(took, 10);
	rebind(&s->gpu);
	close(go[1]);
	/* a child whose parent is dead has no other way to say that it is over */
	while (read(ready[0], &byte, 1) == 1)
		;
	EXPECT_EQ(child_wait(pid), 0);
	close(ready[0]);
	EXPECT_TRUE(s->done);
	expect_users(core);
}

static char *buffer_begin(struct fix *f, const struct variant *v, enum plight plight)
{
	fix_open(f, v);
	return plight_begin(f, plight, plight);
}

static void buffer_check(struct fix *f, char *p, enum plight plight)
{
	EXPECT_PATTERN(p, f->length, plight);
	pattern_fill(p, f->length, 100 + plight);
	EXPECT_PATTERN(p, f->length, 100 + plight);
}

static const struct plan plan_buffer = { buffer_begin, NULL, buffer_check };

TEST_VT(locked_open, privates, 60)
{
	locked_round(&plan_buffer, v, OPEN);
}

TEST_VT(locked_mm_closed, private_managed, 60)
{
	locked_round(&plan_buffer, v, MM_CLOSED);
}

TEST_VT(locked_closed, privates, 60)
{
	locked_round(&plan_buffer, v, CLOSED);
}

TEST_VT(locked_remapped, only_private, 60)
{
	locked_round(&plan_buffer, v, REMAPPED);
}

TEST_VT(locked_child, only_private, 60)
{
	locked_round(&plan_buffer, v, CHILD);
}

/* ---- a peer writes ---- */

enum { XORS = 1024, XORS_AT_ONCE = 128 };

static struct uvm_sim_cmd xors[XORS];
static char *xored;

/* The peer has the pages mapped. */
static char *peer_begin(struct fix *f, const struct variant *v, enum plight plight)
{
	char *p;
	int i;

	fix_pair(f, v);
	/* its pages go nowhere by themselves */
	f->stay = true;
	xored = fix_pattern(f, f->length, plight);
	p = fix_pattern(f, f->length, 12);
	fix_to_gpu(f, xored, f->length);
	fix_to_gpu(f, p, f->length);
	for (i = 0; i < XORS; i++)
		xors[i] = CMD(XOR, .dst = ADDR(xored), .length = f->length, .arg0 = i);
	ASSERT_RET(channel_run(f->s.fd, f->channel2, xors, 1), 0);
	if (fix_on_gpu(f, xored, f->length) != f->length / PAGE)
		SKIP("the GPUs are no peers");
	return p;
}

static uint64_t xors_point;

static void peer_go(struct fix *f)
{
	int i, n;

	for (i = 1; i < XORS; i += n) {
		n = XORS - i < XORS_AT_ONCE ? XORS - i : XORS_AT_ONCE;
		ASSERT_RET(channel_submit(f->s.fd, f->channel2, xors + i, n,
					  &xors_point), 0);
	}
}

static void peer_check(struct fix *f, char *p, enum plight plight)
{
	int i;

	EXPECT_RET(channel_wait(f->s.fd, f->channel2, xors_point, PATIENCE, NULL), 0);
	for (i = 0; i < XORS; i++)
		cpu_xor(xored, f->length, i);
	EXPECT_PATTERN(xored, f->length, plight);
	EXPECT_PATTERN(p, f->length, 12);
}

static const struct plan plan_peer = { peer_begin, peer_go, peer_check };

/* It writes all the time. No store is lost: each of many XORs is seen in the end. */
TEST_VT(peer_writes, private_managed, 90)
{
	locked_round(&plan_peer, v, OPEN);
}

static void __attribute__((constructor)) install(void)
{
	unplug_install();
}

HARNESS_MAIN()
