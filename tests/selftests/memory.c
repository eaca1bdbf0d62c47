// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves what users are told of a GPU's memory: that the numbers add up, wherever pages
 * go, and are the same for every process; that reservations are refused which can't all
 * be kept, and end with the processes; that an eventfd is signalled when free memory
 * falls below its threshold, once for each fall, and is let go; and that a process keeps
 * within its limit, and what is reserved.
 *
 * UVM_QUERY_MEMORY is judged by where UVM_QUERY_RESIDENCY finds pages, events by a model,
 * and who holds an eventfd by whether its number is given to another one.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include "harness.h"
#include "lib_device.h"
#include "lib_memory.h"
#include "lib_uvm.h"

#define MIB		(1UL << 20)

/* ---- what every test needs ---- */

static struct uvm_query_memory ask(const struct fix *f)
{
	struct uvm_query_memory q;

	ASSERT_RET(memory_query(f->s.fd, f->gpu.uuid, &q), 0);
	return q;
}

/* Pages in use, once they are as many: they are freed a moment after they went. */
static bool used_comes_to(const struct fix *f, unsigned long pages)
{
	return SOON(ask(f).out_used == pages * PAGE, 5);
}

static void expect_sane(const struct fix *f, const struct uvm_query_memory *q)
{
	EXPECT_EQ(q->out_total, f->gpu.memory_size);
	EXPECT_EQ(q->out_used + q->out_free, q->out_total);
	EXPECT_LE(q->out_largest_free, q->out_free);
	EXPECT_LE(q->out_largest_free, HUGE);
	EXPECT_EQ(!q->out_largest_free, !q->out_free);
	EXPECT_LE(q->out_evictable + q->out_pinned, q->out_used);
	EXPECT_LE(q->out_mine, q->out_used);
	EXPECT_EQ((q->out_used | q->out_largest_free | q->out_evictable |
		   q->out_pinned | q->out_mine) % PAGE, 0);
	EXPECT_LE(q->out_my_evicted, q->out_evicted);
	EXPECT_LE(q->out_my_refaulted, q->out_refaulted);
	EXPECT_LE(q->out_thrash, 1000);
	EXPECT_EQ(gpu_free(&f->gpu), q->out_free);
}

static void expect_used(const struct fix *f, unsigned long pages)
{
	struct uvm_query_memory q;

	EXPECT_TRUE(used_comes_to(f, pages));
	q = ask(f);
	expect_sane(f, &q);
	EXPECT_EQ(q.out_used / PAGE, pages);
}

static int new_event(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	ASSERT_GE(fd, 0);
	return fd;
}

/* Signals since it was asked last */
static unsigned long signals(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void set_event(const struct fix *f, int event, uint64_t threshold)
{
	ASSERT_RET(memory_event(f->s.fd, f->gpu.uuid, event, threshold), 0);
}

static int set_limit(const struct fix *f, uint64_t limit, uint64_t reserved)
{
	return memory_limit(f->s.fd, f->gpu.uuid, limit, reserved);
}

/* ---- numbers ---- */

TEST_V(numbers_add_up, devices_huge)
{
	struct uvm_query_memory q;
	unsigned long there;
	struct fix f;
	size_t step;
	char *p;
	int i;

	fix_open(&f, v);
	step = f.huge ? HUGE : 100 * PAGE;
	p = fix_pattern(&f, 3 * step, 1);
	expect_used(&f, 0);
	q = ask(&f);
	EXPECT_EQ(q.out_largest_free, HUGE);
	EXPECT_EQ(q.out_limit + q.out_reserved, 0);
	EXPECT_EQ(q.out_my_evicted + q.out_my_refaulted, 0);
	for (i = 0; i < 6; i++) {
		if (i < 3)
			fix_to_gpu(&f, p + i * step, step);
		else
			fix_to_cpu(&f, p + (5 - i) * step, step);
		there = fix_on_gpu(&f, p, 3 * step);
		EXPECT_EQ(there, (i < 3 ? i + 1 : 5 - i) * step / PAGE);
		expect_used(&f, there);
	}
	EXPECT_PATTERN(p, 3 * step, 1);
	fix_close(&f);
}

/* By faults of GPU and CPU, and where nobody asked */
TEST_V(numbers_by_faults, devices)
{
	struct fix f;
	uint64_t sum;
	char *p;

	fix_open(&f, v);
	f.stay = true;
	p = anon(64 * PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(p, 64 * PAGE, 2);
	sum = sum64(p, 64 * PAGE);
	EXPECT_EQ(fix_gpu_sum(&f, p, 64 * PAGE), sum);
	expect_used(&f, fix_on_gpu(&f, p, 64 * PAGE));
	EXPECT_PATTERN(p, 64 * PAGE, 2);
	expect_used(&f, fix_on_gpu(&f, p, 64 * PAGE));
	fix_to_gpu(&f, p, 64 * PAGE);
	expect_used(&f, 64);
	ASSERT_RET(munmap(p, 32 * PAGE), 0);
	expect_used(&f, 32);
	fix_close(&f);
	ASSERT_RET(munmap(p + 32 * PAGE, 32 * PAGE), 0);
}

/* To the last page. */
TEST_V(numbers_when_full, devices)
{
	struct uvm_query_memory q;
	struct fix f;
	size_t all;
	char *p;

	fix_open(&f, v);
	all = f.gpu.memory_size;
	p = fix_pattern(&f, all, 3);
	fix_to_gpu(&f, p, all - PAGE);
	expect_used(&f, all / PAGE - 1);
	q = ask(&f);
	EXPECT_EQ(q.out_free, PAGE);
	EXPECT_EQ(q.out_largest_free, PAGE);
	fix_to_gpu(&f, p + all - PAGE, PAGE);
	expect_used(&f, all / PAGE);
	fix_to_cpu(&f, p + HUGE, HUGE);
	expect_used(&f, (all - HUGE) / PAGE);
	EXPECT_PATTERN(p, all, 3);
	fix_close(&f);
}

/* The GPUs of one process have each their own. */
TEST_V(numbers_of_two_gpus, devices)
{
	struct uvm_query_memory q;
	struct fix f;
	char *p;

	fix_pair(&f, v);
	p = fix_pattern(&f, f.length, 4);
	fix_to_gpu2(&f, p, f.length);
	expect_used(&f, 0);
	ASSERT_RET(memory_query(f.s.fd, f.gpu2.uuid, &q), 0);
	EXPECT_EQ(q.out_used, f.length);
	ASSERT_RET(memory_limit(f.s.fd, f.gpu2.uuid, f.length, PAGE), 0);
	q = ask(&f);
	EXPECT_EQ(q.out_limit + q.out_reserved, 0);
	EXPECT_RET(set_limit(&f, 0, f.gpu.memory_size), 0);
	fix_close(&f);
}

/* ---- several processes ---- */

/*
 * A child with files of its own, and the means to take turns with it: what is between two
 * turns of one happens while the other waits.
 */
struct peer {
	struct fix f;
	pthread_barrier_t *turn;
	pid_t pid;
};

static void turn(struct peer *p)
{
	pthread_barrier_wait(p->turn);
}

/* True in the child, which ends by child_exit(). */
static bool peer_start(struct peer *p, const struct fix *f)
{
	p->f = *f;
	p->turn = shared_barrier(2);
	p->pid = child();
	if (p->pid)
		return false;
	close(f->s.mm_fd);
	close(f->s.fd);
	fix_reopen(&p->f);
	return true;
}

TEST_V(numbers_are_everybodys, devices)
{
	struct uvm_query_memory q;
	struct peer peer;
	struct fix f;
	char *p;

	fix_open(&f, v);
	if (peer_start(&peer, &f)) {
		turn(&peer);
		expect_used(&peer.f, 64);
		q = ask(&peer.f);
		EXPECT_EQ(q.out_limit + q.out_reserved, 0);
		p = fix_pattern(&peer.f, 10 * PAGE, 1);
		fix_to_gpu(&peer.f, p, 10 * PAGE);
		EXPECT_RET(set_limit(&peer.f, MIB, 0), 0);
		turn(&peer);
		turn(&peer);
		fix_close(&peer.f);
		child_exit();
	}
	p = fix_pattern(&f, 64 * PAGE, 2);
	fix_to_gpu(&f, p, 64 * PAGE);
	EXPECT_RET(set_limit(&f, 4 * MIB, MIB), 0);
	turn(&peer);
	turn(&peer);
	expect_used(&f, 74);
	q = ask(&f);
	EXPECT_EQ(q.out_limit, 4 * MIB);
	EXPECT_EQ(q.out_reserved, MIB);
	turn(&peer);
	EXPECT_EQ(child_wait(peer.pid), 0);
	expect_used(&f, 64);
	fix_close(&f);
}

#define USERS	"/sys/kernel/debug/uvm/memory"

/* The line of debugfs about this process, without its number; "" if there is none. */
static void listed(const struct fix *f, char *line, size_t size)
{
	FILE *file = fopen(USERS, "re");
	char text[200], start[30];
	bool first = true;

	ASSERT_TRUE(file);
	snprintf(start, sizeof(start), "%d %u ", getpid(), f->gpu.id);
	*line = 0;
	while (fgets(text, sizeof(text), file)) {
		if (first)
			EXPECT_EQ(strcmp(text, "pid gpu used limit reserved evicted refaulted\n"),
				  0);
		else if (!strncmp(text, start, strlen(start)))
			snprintf(line, size, "%s", text + strlen(start));
		first = false;
	}
	fclose(file);
}

/* What root sees of everybody */
TEST_V(numbers_in_debugfs, devices)
{
	struct uvm_query_memory q;
	char line[200], want[200];
	struct fix f;
	char *p;

	if (access(USERS, R_OK))
		SKIP("no debugfs");
	fix_open(&f, v);
	EXPECT_RET(set_limit(&f, 3 * MIB, 2 * PAGE), 0);
	p = fix_pattern(&f, f.length, 1);
	fix_to_gpu(&f, p, f.length);
	q = ask(&f);
	snprintf(want, sizeof(want), "%llu %lu %lu %llu %llu\n", q.out_mine, 3 * MIB,
		 2 * PAGE, q.out_my_evicted, q.out_my_refaulted);
	listed(&f, line, sizeof(line));
	EXPECT_EQ(strcmp(line, want), 0);
	EXPECT_RET(unregister_gpu(f.s.fd, f.gpu.uuid), 0);
	listed(&f, line, sizeof(line));
	EXPECT_EQ(strcmp(line, ""), 0);
	fix_close(&f);
}

/* The tool, on what is really there */
TEST_V(numbers_by_uvmctl, devices)
{
	char line[200], *text;
	bool gpu = false, mine = false;
	struct fix f;
	FILE *out;

	if (access("/bin/uvmctl", X_OK) || access(USERS, R_OK))
		SKIP("no uvmctl here, or no debugfs");
	fix_open(&f, v);
	out = popen("/bin/uvmctl memory", "re");
	ASSERT_TRUE(out);
	while (fgets(line, sizeof(line), out)) {
		text = strstr(line, "  id ");
		gpu |= text && atoi(text + 5) == (int)f.gpu.id;
		mine |= atoi(line) == getpid() && strstr(line, "memory");
	}
	EXPECT_EQ(pclose(out), 0);
	EXPECT_TRUE(gpu);
	EXPECT_TRUE(mine);
	fix_close(&f);
}

/* The limit is the process's, in whichever of its VA spaces it was set. */
TEST_V(limit_of_two_spaces, devices)
{
	struct uvm_query_memory q;
	struct fix f, g;

	fix_open(&f, v);
	g = f;
	EXPECT_RET(set_limit(&f, MIB, PAGE), 0);
	fix_reopen(&g);
	q = ask(&g);
	EXPECT_EQ(q.out_limit, MIB);
	EXPECT_EQ(q.out_reserved, PAGE);
	EXPECT_RET(set_limit(&g, 2 * MIB, 2 * PAGE), 0);
	EXPECT_RET(unregister_gpu(f.s.fd, f.gpu.uuid), 0);
	q = ask(&g);
	EXPECT_EQ(q.out_limit, 2 * MIB);
	EXPECT_EQ(q.out_reserved, 2 * PAGE);
	fix_close(&g);
	EXPECT_RET(register_gpu(f.s.fd, f.gpu.uuid), 0);
	q = ask(&f);
	EXPECT_EQ(q.out_limit + q.out_reserved, 0);
	fix_close(&f);
}

TEST_V(reservations_add_up, devices)
{
	struct uvm_query_memory q;
	struct peer peer;
	uint64_t all;
	struct fix f;

	fix_open(&f, v);
	all = f.gpu.memory_size;
	if (peer_start(&peer, &f)) {
		EXPECT_RET(set_limit(&peer.f, 0, all - 4 * PAGE), 0);
		turn(&peer);
		turn(&peer);
		/* of its own it may change what it likes */
		EXPECT_RET(set_limit(&peer.f, 0, all - 3 * PAGE), -ENOSPC);
		EXPECT_RET(set_limit(&peer.f, 0, all), -ENOSPC);
		q = ask(&peer.f);
		EXPECT_EQ(q.out_reserved, all - 4 * PAGE);
		EXPECT_RET(set_limit(&peer.f, 0, 2 * PAGE), 0);
		turn(&peer);
		turn(&peer);
		EXPECT_RET(set_limit(&peer.f, 0, 3 * PAGE), -ENOSPC);
		EXPECT_RET(set_limit(&peer.f, 0, 0), 0);
		turn(&peer);
		turn(&peer);
		fix_close(&peer.f);
		child_exit();
	}
	turn(&peer);
	EXPECT_RET(set_limit(&f, 0, 5 * PAGE), -ENOSPC);
	EXPECT_RET(set_limit(&f, all, all), -ENOSPC);
	q = ask(&f);
	EXPECT_EQ(q.out_limit + q.out_reserved, 0);
	/* a limit alone takes from nobody */
	EXPECT_RET(set_limit(&f, all, 0), 0);
	EXPECT_RET(set_limit(&f, 0, 4 * PAGE), 0);
	turn(&peer);
	turn(&peer);
	EXPECT_RET(set_limit(&f, 0, all - 2 * PAGE), 0);
	EXPECT_RET(set_limit(&f, 0, all - PAGE), -ENOSPC);
	turn(&peer);
	turn(&peer);
	EXPECT_RET(set_limit(&f, 0, all), 0);
	turn(&peer);
	EXPECT_EQ(child_wait(peer.pid), 0);
	fix_close(&f);
}

/* ---- how they end ---- */

/* Has this thread the capability, as far as it counts? */
static void set_capable(int cap, bool on)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

	ASSERT_RET(syscall(SYS_capget, &head, caps), 0);
	if (on)
		caps[CAP_TO_INDEX(cap)].effective |= CAP_TO_MASK(cap);
	else
		caps[CAP_TO_INDEX(cap)].effective &= ~CAP_TO_MASK(cap);
	ASSERT_RET(syscall(SYS_capset, &head, caps), 0);
}

/* All without the capability have a half; who has it has what is left. */
TEST_V(reservations_without_capability, devices)
{
	struct peer peer;
	struct fix f;
	uint64_t all;

	fix_open(&f, v);
	all = f.gpu.memory_size;
	if (peer_start(&peer, &f)) {
		set_capable(CAP_SYS_RESOURCE, false);
		EXPECT_RET(set_limit(&peer.f, 0, all / 2 + PAGE), -EPERM);
		EXPECT_RET(set_limit(&peer.f, 0, all), -EPERM);
		EXPECT_EQ(ask(&peer.f).out_reserved, 0);
		EXPECT_RET(set_limit(&peer.f, 0, all / 2), 0);
		turn(&peer);
		turn(&peer);
		EXPECT_RET(set_limit(&peer.f, 0, all / 2 - PAGE), 0);
		turn(&peer);
		turn(&peer);
		EXPECT_RET(set_limit(&peer.f, 0, all / 2), -EPERM);
		EXPECT_EQ(ask(&peer.f).out_reserved, all / 2 - PAGE);
		fix_close(&peer.f);
		child_exit();
	}
	turn(&peer);
	EXPECT_RET(set_limit(&f, 0, all / 2 + PAGE), -ENOSPC);
	EXPECT_RET(set_limit(&f, 0, all / 2), 0);
	set_capable(CAP_SYS_RESOURCE, false);
	/* that was granted, and less is no more */
	EXPECT_RET(set_limit(&f, 0, all / 2), 0);
	EXPECT_RET(set_limit(&f, 0, PAGE), 0);
	EXPECT_RET(set_limit(&f, 0, 2 * PAGE), -EPERM);
	EXPECT_RET(set_limit(&f, 0, 0), 0);
	EXPECT_RET(set_limit(&f, all, 0), 0);
	EXPECT_RET(set_limit(&f, all, PAGE), -EPERM);
	turn(&peer);
	turn(&peer);
	EXPECT_RET(set_limit(&f, 0, PAGE), 0);
	turn(&peer);
	EXPECT_EQ(child_wait(peer.pid), 0);
	set_capable(CAP_SYS_RESOURCE, true);
	EXPECT_RET(set_limit(&f, 0, all), 0);
	fix_close(&f);
}

enum end {
	END_REMOVED, END_REPLACED, END_UNREGISTERED, END_MM_CLOSED, END_CLOSED,
	END_EXIT, END_KILL, END_EXEC, END_UNBOUND,
};

static const struct variant ends[] = {
	{ "removed", END_REMOVED, 0 }, { "replaced", END_REPLACED, 0 },
	{ "unregistered", END_UNREGISTERED, 0 }, { "mm_closed", END_MM_CLOSED, 0 },
	{ "closed", END_CLOSED, 0 }, { "exit", END_EXIT, 0 }, { "kill", END_KILL, 0 },
	{ "exec", END_EXEC, 0 }, { "unbound", END_UNBOUND, 0 }, { NULL, 0, 0 },
};

#define EXEC_ENV	"UVM_TEST_EXEC"

/* In the child: what was set ends. */
static void end_by(struct fix *f, enum end end)
{
	switch (end) {
	case END_REMOVED:
		set_event(f, -1, 0);
		EXPECT_RET(set_limit(f, 0, 0), 0);
		break;
	case END_REPLACED:
		set_event(f, new_event(), PAGE);
		EXPECT_RET(set_limit(f, PAGE, 0), 0);
		break;
	case END_UNREGISTERED:
		EXPECT_RET(unregister_gpu(f->s.fd, f->gpu.uuid), 0);
		break;
	case END_MM_CLOSED:
		close(f->s.mm_fd);
		break;
	case END_CLOSED:
		fix_close(f);
		break;
	case END_EXIT:
		child_exit();
	case END_KILL:
		raise(SIGKILL);
		break;
	case END_EXEC:
		setenv(EXEC_ENV, "1", 1);
		execl("/proc/self/exe", "memory", NULL);
		_exit(103);
	case END_UNBOUND:
		break;
	}
}

/* The kernel's number of an eventfd: the lowest that none has which is still there. */
static int event_id(int fd)
{
	char path[50], text[400], *line;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (!read_text(path, text, sizeof(text)))
		return -1;
	line = strstr(text, "eventfd-id:");
	return line ? atoi(line + strlen("eventfd-id:")) : -1;
}

static int next_id(void)
{
	int fd = new_event(), id = event_id(fd);

	close(fd);
	return id;
}

/*
 * A process has an event, the last to know its eventfd, and all of the memory reserved.
 * However that ends: the eventfd is gone, and others can reserve the memory.
 */
TEST_V(set_and_end, ends)
{
	static const struct variant any;
	int event, id, want = v->kind == END_KILL ? 128 + SIGKILL : 0;
	struct peer peer;
	struct fix f;

	fix_open(&f, &any);
	event = new_event();
	id = event_id(event);
	if (id < 0)
		SKIP("eventfds have no numbers here");
	if (peer_start(&peer, &f)) {
		set_event(&peer.f, event, PAGE);
		EXPECT_RET(set_limit(&peer.f, 0, f.gpu.memory_size), 0);
		close(event);
		turn(&peer);
		turn(&peer);
		end_by(&peer.f, v->kind);
		turn(&peer);
		turn(&peer);
		child_exit();
	}
	turn(&peer);
	EXPECT_EQ(next_id() == id, false);
	close(event);
	EXPECT_EQ(next_id() == id, false);
	EXPECT_RET(set_limit(&f, 0, PAGE), -ENOSPC);
	turn(&peer);
	if (v->kind >= END_EXIT && v->kind <= END_EXEC)
		EXPECT_EQ(child_wait(peer.pid), want);
	else
		turn(&peer);
	if (v->kind == END_UNBOUND) {
		unbind(&f.gpu);
		rebind(&f.gpu);
		EXPECT_RET(register_gpu(f.s.fd, f.gpu.uuid), 0);
	}
	EXPECT_TRUE(SOON(next_id() == id, 5));
	EXPECT_TRUE(SOON(!set_limit(&f, 0, f.gpu.memory_size), 5));
	if (v->kind < END_EXIT || v->kind > END_EXEC) {
		turn(&peer);
		EXPECT_EQ(child_wait(peer.pid), 0);
	}
	fix_close(&f);
}

/* ---- events ---- */

/* Below is below: at the threshold itself there is enough. */
TEST_V(event_edges, devices_huge)
{
	struct fix f;
	size_t half;
	int event;
	char *p;

	fix_open(&f, v);
	half = f.gpu.memory_size / 2;
	p = fix_pattern(&f, half + (f.huge ? HUGE : 10 * PAGE), 1);
	event = new_event();
	set_event(&f, event, half);
	EXPECT_EQ(signals(event), 0);
	fix_to_gpu(&f, p, half);
	EXPECT_EQ(signals(event), 0);
	fix_to_gpu(&f, p + half, PAGE);
	EXPECT_EQ(signals(event), 1);
	/* still below */
	fix_to_gpu(&f, p + half + PAGE, 9 * PAGE);
	EXPECT_EQ(signals(event), 0);
	fix_to_cpu(&f, p + half, 9 * PAGE);
	EXPECT_TRUE(used_comes_to(&f, half / PAGE + 1));
	fix_to_gpu(&f, p + half, 9 * PAGE);
	EXPECT_EQ(signals(event), 0);
	/* to the threshold, and no further */
	fix_to_cpu(&f, p + half, 10 * PAGE);
	EXPECT_TRUE(used_comes_to(&f, half / PAGE));
	EXPECT_EQ(signals(event), 0);
	fix_to_gpu(&f, p + half, PAGE);
	EXPECT_EQ(signals(event), 1);
	/* far above, seen by nobody */
	fix_to_cpu(&f, p, half + PAGE);
	EXPECT_TRUE(used_comes_to(&f, 0));
	fix_to_gpu(&f, p, half);
	EXPECT_EQ(signals(event), 0);
	fix_to_gpu(&f, p + half, 2 * PAGE);
	EXPECT_EQ(signals(event), 1);
	EXPECT_PATTERN(p, half + 10 * PAGE, 1);
	fix_close(&f);
}

TEST_V(event_at_once, devices)
{
	uint64_t all;
	struct fix f;
	int event;
	char *p;

	fix_open(&f, v);
	all = f.gpu.memory_size;
	event = new_event();
	p = fix_pattern(&f, PAGE, 1);
	fix_to_gpu(&f, p, PAGE);
	set_event(&f, event, all - PAGE);
	EXPECT_EQ(signals(event), 0);
	set_event(&f, event, all);
	EXPECT_EQ(signals(event), 1);
	/* a new one, though it looks the same */
	set_event(&f, event, all);
	EXPECT_EQ(signals(event), 1);
	set_event(&f, -1, 0);
	EXPECT_EQ(signals(event), 0);
	fix_close(&f);
}

/* One of two eventfds, then the other, then none */
TEST_V(event_replaced, devices)
{
	int first, second;
	uint64_t all;
	struct fix f;
	char *p;

	fix_open(&f, v);
	all = f.gpu.memory_size;
	p = fix_pattern(&f, PAGE, 1);
	first = new_event();
	second = new_event();
	set_event(&f, first, all);
	fix_to_gpu(&f, p, PAGE);
	EXPECT_EQ(signals(first), 1);
	fix_to_cpu(&f, p, PAGE);
	EXPECT_TRUE(used_comes_to(&f, 0));
	set_event(&f, second, all);
	fix_to_gpu(&f, p, PAGE);
	EXPECT_EQ(signals(first), 0);
	EXPECT_EQ(signals(second), 1);
	fix_to_cpu(&f, p, PAGE);
	EXPECT_TRUE(used_comes_to(&f, 0));
	set_event(&f, -1, 0);
	fix_to_gpu(&f, p, PAGE);
	EXPECT_EQ(signals(first) + signals(second), 0);
	fix_close(&f);
}

/* Every VA space has its own, and each is told of what anybody takes. */
TEST_V(event_of_others, devices)
{
	int mine, of_peer, of_second;
	struct peer peer;
	struct fix f, g;
	uint64_t all;
	char *p;

	fix_open(&f, v);
	g = f;
	fix_reopen(&g);
	all = f.gpu.memory_size;
	mine = new_event();
	of_second = new_event();
	of_peer = new_event();
	set_event(&f, mine, all);
	set_event(&g, of_second, all - 10 * PAGE);
	if (peer_start(&peer, &f)) {
		set_event(&peer.f, of_peer, all - PAGE);
		p = fix_pattern(&peer.f, 10 * PAGE, 1);
		fix_to_gpu(&peer.f, p, 10 * PAGE);
		turn(&peer);
		turn(&peer);
		fix_close(&peer.f);
		child_exit();
	}
	turn(&peer);
	EXPECT_EQ(signals(mine), 1);
	EXPECT_EQ(signals(of_peer), 1);
	EXPECT_EQ(signals(of_second), 0);
	turn(&peer);
	EXPECT_EQ(child_wait(peer.pid), 0);
	EXPECT_TRUE(used_comes_to(&f, 0));
	p = fix_pattern(&f, 11 * PAGE, 1);
	fix_to_gpu(&f, p, 11 * PAGE);
	EXPECT_EQ(signals(mine), 1);
	EXPECT_EQ(signals(of_second), 1);
	EXPECT_EQ(signals(of_peer), 0);
	fix_close(&g);
	fix_close(&f);
}

/* Who sleeps in poll() is woken. */
TEST_V(event_wakes, devices)
{
	struct pollfd wait = { .events = POLLIN };
	struct peer peer;
	struct fix f;
	char *p;

	fix_open(&f, v);
	wait.fd = new_event();
	set_event(&f, wait.fd, f.gpu.memory_size);
	EXPECT_EQ(poll(&wait, 1, 0), 0);
	if (peer_start(&peer, &f)) {
		p = fix_pattern(&peer.f, PAGE, 1);
		fix_to_gpu(&peer.f, p, PAGE);
		fix_close(&peer.f);
		child_exit();
	}
	EXPECT_EQ(poll(&wait, 1, PATIENCE / 1000000), 1);
	EXPECT_EQ(signals(wait.fd), 1);
	EXPECT_EQ(child_wait(peer.pid), 0);
	fix_close(&f);
}

/* What an event should tell, from where the pages are */
struct model {
	struct fix f;
	uint64_t random;
	char *p;
	unsigned long pages;
	unsigned long there;
	uint64_t threshold;
	int event;
	bool armed;
};

static uint64_t model_free(const struct model *m)
{
	return m->f.gpu.memory_size - m->there * PAGE;
}

static unsigned long model_wants(struct model *m)
{
	bool below = model_free(m) < m->threshold;
	bool told = m->armed && below;

	m->armed = !below;
	return told;
}

static void model_step(struct model *m)
{
	unsigned long first, nr;
	char *p;

	/* parts of blocks only: for a whole one a chunk is taken before it is needed */
	nr = 1 + harness_random(&m->random) % 255;
	first = harness_random(&m->random) % (m->pages - nr + 1);
	p = m->p + first * PAGE;
	if (harness_random(&m->random) % 2)
		fix_to_gpu(&m->f, p, nr * PAGE);
	else
		fix_to_cpu(&m->f, p, nr * PAGE);
	m->there = fix_on_gpu(&m->f, m->p, m->pages * PAGE);
	ASSERT_TRUE(used_comes_to(&m->f, m->there));
}

TEST_VT(event_model, devices, 60)
{
	unsigned int i, rounds = harness_rounds(300);
	struct model m = { .random = harness_seed };

	fix_open(&m.f, v);
	m.pages = 2 * HUGE / PAGE;
	m.p = fix_pattern(&m.f, m.pages * PAGE, 5);
	m.event = new_event();
	for (i = 0; i < rounds; i++) {
		if (i % 20 == 0) {
			m.threshold = m.f.gpu.memory_size -
				      harness_random(&m.random) % m.pages * PAGE;
			set_event(&m.f, m.event, m.threshold);
			m.armed = true;
			EXPECT_EQ(signals(m.event), model_wants(&m));
		}
		model_step(&m);
		EXPECT_EQ(signals(m.event), model_wants(&m));
	}
	EXPECT_PATTERN(m.p, m.pages * PAGE, 5);
	fix_close(&m.f);
}

/* A thread that takes a page when it is told to */
struct taker {
	struct fix *f;
	pthread_barrier_t start;
	pthread_barrier_t end;
	unsigned int rounds;
	char *p;
};

static void *take(void *arg)
{
	struct taker *t = arg;
	unsigned int i;

	for (i = 0; i < t->rounds; i++) {
		pthread_barrier_wait(&t->start);
		fix_to_gpu(t->f, t->p, PAGE);
		pthread_barrier_wait(&t->end);
	}
	return NULL;
}

/* An event is set while memory is taken: in either order it is told, and once. */
TEST_VT(event_set_while_taken, devices, 60)
{
	struct taker t = { .rounds = harness_rounds(300) };
	pthread_t thread;
	unsigned int i;
	struct fix f;
	int event;

	fix_open(&f, v);
	event = new_event();
	t.f = &f;
	t.p = fix_pattern(&f, PAGE, 1);
	pthread_barrier_init(&t.start, NULL, 2);
	pthread_barrier_init(&t.end, NULL, 2);
	ASSERT_EQ(pthread_create(&thread, NULL, take, &t), 0);
	for (i = 0; i < t.rounds; i++) {
		pthread_barrier_wait(&t.start);
		set_event(&f, event, f.gpu.memory_size);
		pthread_barrier_wait(&t.end);
		EXPECT_EQ(signals(event), 1);
		fix_to_cpu(&f, t.p, PAGE);
		ASSERT_TRUE(used_comes_to(&f, 0));
		set_event(&f, -1, 0);
	}
	pthread_join(thread, NULL);
	fix_close(&f);
}

/* Back and forth, by several, until they are told to stop */
struct mover {
	struct fix *f;
	char *p;
	atomic_bool *stop;
	unsigned long moves;
};

static void *move(void *arg)
{
	struct mover *m = arg;

	for (; !atomic_load(m->stop); m->moves++) {
		fix_to_gpu(m->f, m->p, PAGE);
		fix_to_cpu(m->f, m->p, PAGE);
	}
	return NULL;
}

/* Events come and go, are told and closed, all at once. */
TEST_VT(event_storm, devices, 60)
{
	unsigned int i, rounds = harness_rounds(500);
	unsigned long told = 0, moves = 0;
	struct mover m[2];
	atomic_bool stop;
	pthread_t thread[2];
	struct fix f;
	int event;

	fix_open(&f, v);
	atomic_init(&stop, false);
	for (i = 0; i < 2; i++) {
		m[i] = (struct mover){ .f = &f, .stop = &stop };
		m[i].p = fix_pattern(&f, PAGE, i);
		ASSERT_EQ(pthread_create(&thread[i], NULL, move, &m[i]), 0);
	}
	event = new_event();
	for (i = 0; i < rounds; i++) {
		set_event(&f, event, f.gpu.memory_size - i % 2 * PAGE);
		told += signals(event);
		if (i % 3 == 0)
			set_event(&f, -1, 0);
		if (i % 5 == 0) {
			close(event);
			event = new_event();
		}
	}
	set_event(&f, event, f.gpu.memory_size);
	atomic_store(&stop, true);
	for (i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_PATTERN(m[i].p, PAGE, i);
		moves += m[i].moves;
	}
	told += signals(event);
	/* each time that one was set, and each time that a page was taken */
	EXPECT_LE(told, rounds + 1 + moves);
	ASSERT_TRUE(used_comes_to(&f, 0));
	fix_to_gpu(&f, m[0].p, PAGE);
	EXPECT_EQ(signals(event), 1);
	fix_close(&f);
}

/* ---- what a process has ---- */

TEST_V(mine_adds_up, devices_huge)
{
	struct peer peer;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 1);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(ask(&f).out_mine, f.length);
	if (peer_start(&peer, &f)) {
		/* what it shares with its parent is the parent's */
		EXPECT_EQ(ask(&peer.f).out_mine, 0);
		p = fix_pattern(&peer.f, f.length, 2);
		fix_to_gpu(&peer.f, p, f.length);
		EXPECT_EQ(ask(&peer.f).out_mine, f.length);
		turn(&peer);
		turn(&peer);
		fix_to_cpu(&peer.f, p, f.length);
		EXPECT_TRUE(SOON(!ask(&peer.f).out_mine, 5));
		fix_close(&peer.f);
		child_exit();
	}
	turn(&peer);
	EXPECT_EQ(ask(&f).out_mine, f.length);
	EXPECT_EQ(ask(&f).out_used, 2 * f.length);
	turn(&peer);
	EXPECT_EQ(child_wait(peer.pid), 0);
	EXPECT_EQ(ask(&f).out_mine, f.length);
	fix_to_cpu(&f, p, f.length / 2);
	EXPECT_TRUE(SOON(ask(&f).out_mine == f.length / 2, 5));
	ASSERT_RET(munmap(p, f.length), 0);
	EXPECT_TRUE(SOON(!ask(&f).out_mine, 5));
	fix_close(&f);
}

/* All VA spaces of a process tell the same. */
TEST_V(mine_of_two_spaces, devices)
{
	struct fix f, g;
	char *p;

	fix_open(&f, v);
	g = f;
	fix_reopen(&g);
	p = fix_pattern(&f, f.length, 1);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(ask(&f).out_mine, f.length);
	EXPECT_EQ(ask(&g).out_mine, f.length);
	fix_close(&f);
	EXPECT_EQ(ask(&g).out_mine, f.length);
	fix_close(&g);
}

/* ---- limits are kept ---- */

/* Looks all the time that the process has no more than it may. */
struct sampler {
	struct fix *f;
	uint64_t limit;
	atomic_bool stop;
	unsigned long looks;
	pthread_t thread;
};

static void *sample(void *arg)
{
	struct sampler *s = arg;

	do {
		EXPECT_LE(ask(s->f).out_mine, s->limit);
		s->looks++;
	} while (!atomic_load(&s->stop));
	return NULL;
}

static void sampler_start(struct sampler *s, struct fix *f, uint64_t limit)
{
	memset(s, 0, sizeof(*s));
	s->f = f;
	s->limit = limit;
	ASSERT_RET(set_limit(f, limit, 0), 0);
	ASSERT_EQ(pthread_create(&s->thread, NULL, sample, s), 0);
}

static void sampler_stop(struct sampler *s)
{
	atomic_store(&s->stop, true);
	pthread_join(s->thread, NULL);
	EXPECT_GT(s->looks, 0);
}

static const uint64_t limits[] = { PAGE, 16 * PAGE, MIB, HUGE, 2 * HUGE };
#define NR_LIMITS	(sizeof(limits) / sizeof(limits[0]))

/* More is moved there than the process may have: what came first goes. */
TEST_V(limit_kept_by_migrate, devices_huge)
{
	size_t i, length = 3 * HUGE;
	struct uvm_migrate m;
	struct sampler s;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, length, 1);
	for (i = 0; i < NR_LIMITS; i++) {
		sampler_start(&s, &f, limits[i]);
		ASSERT_RET(migrate(f.s.fd, p, length, UVM_DEST_GPU, 0, f.gpu.uuid,
				   &m), 0);
		sampler_stop(&s);
		expect_accounts(&m);
		EXPECT_EQ(m.out_done, length);
		EXPECT_LE(fix_on_gpu(&f, p, length) * PAGE, limits[i]);
		EXPECT_LE(ask(&f).out_mine, limits[i]);
		EXPECT_PATTERN(p, length, 1);
		fix_to_cpu(&f, p, length);
	}
	fix_close(&f);
}

TEST_VT(limit_kept_by_faults, devices_huge, 60)
{
	size_t i, length = 3 * HUGE;
	struct sampler s;
	struct fix f;
	char *p;

	fix_open(&f, v);
	for (i = 0; i < NR_LIMITS; i++) {
		p = fix_pattern(&f, length, 1);
		sampler_start(&s, &f, limits[i]);
		fix_xor(&f, p, length, i + 1);
		sampler_stop(&s);
		EXPECT_LE(fix_on_gpu(&f, p, length) * PAGE, limits[i]);
		EXPECT_LE(ask(&f).out_mine, limits[i]);
		cpu_xor(p, length, i + 1);
		EXPECT_PATTERN(p, length, 1);
		ASSERT_RET(munmap(p, length), 0);
		EXPECT_TRUE(used_comes_to(&f, 0));
	}
	fix_close(&f);
}

/* Nobody else pays for it. */
TEST_V(limit_evicts_own, devices)
{
	struct peer peer;
	struct fix f;
	char *p;

	fix_open(&f, v);
	if (peer_start(&peer, &f)) {
		p = fix_pattern(&peer.f, HUGE, 1);
		fix_to_gpu(&peer.f, p, HUGE);
		turn(&peer);
		turn(&peer);
		EXPECT_EQ(ask(&peer.f).out_mine, HUGE);
		EXPECT_EQ(ask(&peer.f).out_my_evicted, 0);
		fix_close(&peer.f);
		child_exit();
	}
	turn(&peer);
	p = fix_pattern(&f, 3 * HUGE, 2);
	EXPECT_RET(set_limit(&f, HUGE, 0), 0);
	fix_xor(&f, p, 3 * HUGE, 3);
	EXPECT_LE(ask(&f).out_mine, HUGE);
	turn(&peer);
	EXPECT_EQ(child_wait(peer.pid), 0);
	cpu_xor(p, 3 * HUGE, 3);
	EXPECT_PATTERN(p, 3 * HUGE, 2);
	fix_close(&f);
}

/* What was there before the limit goes, as far as it has to, and when more comes. */
TEST_V(limit_lowered, devices)
{
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, 2 * HUGE + PAGE, 1);
	fix_to_gpu(&f, p, 2 * HUGE);
	EXPECT_RET(set_limit(&f, HUGE, 0), 0);
	/* one of the two blocks it may have */
	EXPECT_GT(fix_on_gpu(&f, p, 2 * HUGE), 0);
	ASSERT_RET(migrate(f.s.fd, p + 2 * HUGE, PAGE, UVM_DEST_GPU, 0, f.gpu.uuid,
			   &m), 0);
	EXPECT_LE(fix_on_gpu(&f, p, 2 * HUGE + PAGE) * PAGE, HUGE);
	EXPECT_LE(ask(&f).out_mine, HUGE);
	EXPECT_PATTERN(p, 2 * HUGE + PAGE, 1);
	fix_close(&f);
}

/*
 * Strays come home as they are needed: all of the memory is full of them, a block wants
 * in, and no more than two go for it, as no block need be where one is.
 */
TEST_VT(strays_as_needed, devices_huge, 60)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	struct uvm_migrate m = {};
	char *p, *q, *fresh;
	struct fix f;
	size_t all, i;

	fix_open(&f, v);
	all = f.gpu.memory_size;
	p = fix_pattern(&f, all, 1);
	fresh = fix_pattern(&f, HUGE, 2);
	q = anon(all, PROT_NONE, MAP_NORESERVE);
	fix_to_gpu(&f, p, all);
	if (mremap(p, all, all, flags, q) != q)
		for (i = 0; i < all; i += PAGE)
			ASSERT_TRUE(mremap(p + i, PAGE, PAGE, flags, q + i) == q + i);
	ASSERT_EQ(ask(&f).out_used, all);
	/* Eviction may have searched not long ago. */
	EXPECT_TRUE(SOON(!migrate(f.s.fd, fresh, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid, &m) &&
			 fix_on_gpu(&f, fresh, HUGE) == HUGE / PAGE, 30));
	EXPECT_GE(fix_on_gpu(&f, q, all), (all - 2 * HUGE) / PAGE);
	EXPECT_LT(fix_on_gpu(&f, q, all), all / PAGE);
	EXPECT_PATTERN(q, all, 1);
	EXPECT_PATTERN(fresh, HUGE, 2);
	munmap(q, all);
	fix_close(&f);
}

/* Others' need of memory takes nothing of what is reserved. */
TEST_V(reservation_kept, devices_huge)
{
	struct uvm_migrate m;
	struct peer peer;
	struct fix f;
	size_t all;
	char *p;

	fix_open(&f, v);
	all = f.gpu.memory_size;
	if (peer_start(&peer, &f)) {
		EXPECT_RET(set_limit(&peer.f, 0, all / 2), 0);
		p = fix_pattern(&peer.f, all / 2, 1);
		fix_to_gpu(&peer.f, p, all / 2);
		turn(&peer);
		turn(&peer);
		EXPECT_EQ(fix_on_gpu(&peer.f, p, all / 2), all / 2 / PAGE);
		EXPECT_EQ(ask(&peer.f).out_mine, all / 2);
		EXPECT_EQ(ask(&peer.f).out_my_evicted, 0);
		EXPECT_PATTERN(p, all / 2, 1);
		fix_close(&peer.f);
		child_exit();
	}
	turn(&peer);
	p = fix_pattern(&f, all, 2);
	ASSERT_RET(migrate(f.s.fd, p, all, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	fix_xor(&f, p, all, 3);
	EXPECT_LE(ask(&f).out_mine, all / 2);
	turn(&peer);
	EXPECT_EQ(child_wait(peer.pid), 0);
	cpu_xor(p, all, 3);
	EXPECT_PATTERN(p, all, 2);
	fix_close(&f);
}

static void __attribute__((constructor)) install(void)
{
	devices_install();
}

int main(int argc, char **argv)
{
	/* what END_EXEC starts: the files of the process that it was are closed */
	if (getenv(EXEC_ENV))
		return 0;
	return harness_main(argc, argv);
}
