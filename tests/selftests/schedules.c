// SPDX-License-Identifier: GPL-2.0-only
/*
 * Anything, in any order: rounds of processes with threads, children and strangers
 * that open, share, use and close the two files at random, exec, exit and are killed.
 * In the end nothing is left of them: no mm, no VA space, no GPU memory.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "lib_lifetime.h"
#include "lib_policy.h"
#include "lib_uvm.h"

#define NR(array)	(sizeof(array) / sizeof((array)[0]))

#define SLOTS		8
#define ACTOR_PAGES	16
#define ACTOR_SIZE	(ACTOR_PAGES * PAGE)
#define MAX_PROCESSES	12

/* What the processes of a round share */
struct world {
	int queue[2];		/* descriptors travel here; neither end blocks */
	int proof;
	struct uvm_gpu_info gpu[MAX_GPUS];
	int gpus;
	unsigned int round;
	uint64_t seed;
	atomic_uint *processes;
};

/*
 * A process. Its threads share the slots and race for them: whoever has a number
 * that was closed meanwhile gets EBADF, or another of our files.
 */
struct actor {
	struct world *w;
	atomic_int slot[SLOTS];
	atomic_int kid;		/* the last child's pid, or 0 */
	char *data;		/* a pattern, which moves and is never written */
	char *scratch;		/* for the GPU to write */
	unsigned int depth;
};

struct turn {
	struct actor *a;
	uint64_t rng;
	unsigned int ops;
};

static uint64_t pick(struct turn *t, uint64_t n)
{
	return harness_random(&t->rng) % n;
}

static int any_fd(struct turn *t)
{
	return t->a->slot[pick(t, SLOTS)];
}

static const uint8_t *any_gpu(struct turn *t)
{
	return t->a->w->gpu[pick(t, t->a->w->gpus)].uuid;
}

/* Channels of a VA space have small numbers. */
static uint32_t any_channel(struct turn *t)
{
	return 1 + pick(t, 3);
}

static void keep(struct turn *t, int fd)
{
	int old;

	if (fd < 0)
		return;
	old = atomic_exchange(&t->a->slot[pick(t, SLOTS)], fd);
	if (old >= 0)
		close(old);
}

static int op_open(struct turn *t)
{
	int fd = uvm_open();

	keep(t, fd);
	return fd < 0 ? fd : 0;
}

static int op_init(struct turn *t)
{
	return init_va(any_fd(t), pick(t, 8) ? 0 : UVM_INIT_MULTI_PROCESS);
}

static int op_mm_init(struct turn *t)
{
	return init_mm(any_fd(t), any_fd(t));
}

/* A VA space that is ready: else few of the others would find one. */
static int op_space(struct turn *t)
{
	uint32_t channel;
	struct space s;
	int ret = space_open(&s);

	if (!ret)
		ret = register_gpu(s.fd, any_gpu(t));
	if (!ret)
		channel_create(s.fd, any_gpu(t), &channel);
	keep(t, s.fd);
	keep(t, s.mm_fd);
	return ret;
}

static int op_register(struct turn *t)
{
	return register_gpu(any_fd(t), any_gpu(t));
}

static int op_unregister(struct turn *t)
{
	return unregister_gpu(any_fd(t), any_gpu(t));
}

static int op_create(struct turn *t)
{
	uint32_t channel;

	return channel_create(any_fd(t), any_gpu(t), &channel);
}

static int op_destroy(struct turn *t)
{
	return channel_destroy(any_fd(t), any_channel(t));
}

static int op_submit(struct turn *t)
{
	struct uvm_sim_cmd c = CMD(FILL, .dst = ADDR(t->a->scratch),
				   .length = ACTOR_SIZE, .arg0 = 7);
	struct uvm_sim_cmd wild = CMD(FILL, .dst = PAGE, .length = 8);
	struct uvm_sim_cmd add = CMD(ATOMIC_ADD, .dst = ADDR(t->a->scratch),
				     .arg0 = 1, .arg1 = 1ULL << 40);

	switch (pick(t, 8)) {
	case 0:
		return channel_submit(any_fd(t), any_channel(t), &wild, 1, NULL);
	case 1:
		return channel_submit(any_fd(t), any_channel(t), &add, 1, NULL);
	default:
		return channel_submit(any_fd(t), any_channel(t), &c, 1, NULL);
	}
}

static int op_wait(struct turn *t)
{
	int ret = channel_wait(any_fd(t), any_channel(t), 1, SECOND / 1000, NULL);

	/* nothing was submitted */
	return ret == -EINVAL ? 0 : ret;
}

static int op_query(struct turn *t)
{
	struct uvm_page_state st[ACTOR_PAGES];
	struct uvm_channel_query q;
	struct view view;
	int fd = any_fd(t), n;

	switch (pick(t, 4)) {
	case 0:
		return channel_query(fd, any_channel(t), &q);
	case 1:
		return residency(fd, t->a->data, ACTOR_SIZE, st);
	case 2:
		n = processors_count(fd);
		return n < 0 ? n : 0;
	default:
		return view_read(0, fd, &view) && view.wrong ? -EPROTO : 0;
	}
}

/* Range groups have small numbers, too. */
static int op_policy(struct turn *t)
{
	size_t from = pick(t, ACTOR_PAGES), n = 1 + pick(t, ACTOR_PAGES - from);
	char *p = t->a->scratch + from * PAGE;
	struct policy policy;
	int fd = any_fd(t);
	uint32_t group;

	switch (pick(t, 8)) {
	case 0:
		return group_create(fd, &group);
	case 1:
		return group_destroy(fd, 1 + pick(t, 3));
	case 2:
		return group_allow(fd, 1 + pick(t, 3), pick(t, 2));
	case 3:
		return policy_group(fd, p, n * PAGE, pick(t, 3));
	case 4:
		return policy_prefer(fd, p, n * PAGE, UVM_DEST_GPU, 0, any_gpu(t));
	case 5:
		return policy_accessed_by(fd, p, n * PAGE, any_gpu(t), pick(t, 2));
	case 6:
		return policy_switch(fd, UVM_SET_PREFETCH, p, n * PAGE, pick(t, 2));
	default:
		return policy_query(fd, p, &policy);
	}
}

static int op_migrate(struct turn *t)
{
	char *p = pick(t, 2) ? t->a->data : t->a->scratch;
	size_t from = pick(t, ACTOR_PAGES), n = 1 + pick(t, ACTOR_PAGES - from);
	bool to_gpu = pick(t, 3);
	struct uvm_migrate m;

	return migrate(any_fd(t), p + from * PAGE, n * PAGE,
		       to_gpu ? UVM_DEST_GPU : UVM_DEST_CPU, 0,
		       to_gpu ? any_gpu(t) : NULL, &m);
}

static int op_touch(struct turn *t)
{
	size_t page = pick(t, ACTOR_PAGES);

	((volatile char *)t->a->scratch)[page * PAGE]++;
	return pattern_check_from(t->a->data + page * PAGE, PAGE, 5, page) == -1 ?
	       0 : -EPROTO;
}

static int op_close(struct turn *t)
{
	int fd = atomic_exchange(&t->a->slot[pick(t, SLOTS)], -1);

	if (fd >= 0)
		close(fd);
	return 0;
}

static int op_dup(struct turn *t)
{
	int fd = any_fd(t);

	if (fd >= 0)
		keep(t, dup(fd));
	return 0;
}

static int op_send(struct turn *t)
{
	int fd = any_fd(t);

	if (fd >= 0)
		fd_send(t->a->w->queue[0], fd);
	return 0;
}

static int op_receive(struct turn *t)
{
	keep(t, fd_receive(t->a->w->queue[1]));
	return 0;
}

static void actor_main(struct actor *a, uint64_t seed) __attribute__((noreturn));

static bool may_fork(struct actor *a)
{
	if (a->depth >= 2)
		return false;
	return atomic_fetch_add(a->w->processes, 1) < MAX_PROCESSES;
}

static int op_fork(struct turn *t)
{
	uint64_t seed = harness_random(&t->rng);
	pid_t pid;

	if (!may_fork(t->a))
		return 0;
	pid = fork();
	if (!pid) {
		t->a->kid = 0;
		t->a->depth++;
		actor_main(t->a, seed);
	}
	if (pid > 0)
		t->a->kid = pid;
	return 0;
}

/* Nobody reaps before the end of the round, so the number stays the child's. */
static int op_kill(struct turn *t)
{
	pid_t kid = t->a->kid;

	if (kid > 0)
		kill(kid, SIGKILL);
	else if (!pick(t, 4))
		kill(getpid(), SIGKILL);
	return 0;
}

static int op_exec(struct turn *t)
{
	int i, fd;

	if (pick(t, 4))
		return 0;
	for (i = 0; i < SLOTS; i++) {
		fd = t->a->slot[i];
		if (fd >= 0)
			fcntl(fd, F_SETFD, pick(t, 2) ? FD_CLOEXEC : 0);
	}
	execl("/proc/self/exe", "schedules", "--inherited", NULL);
	return -errno;
}

static int op_exit(struct turn *t)
{
	if (!pick(t, 4))
		_exit(0);
	return 0;
}

static const struct op {
	const char *name;
	int (*run)(struct turn *t);
	unsigned int weight;
} ops[] = {
	{ "open", op_open, 2 }, { "init", op_init, 2 }, { "mm_init", op_mm_init, 2 },
	{ "space", op_space, 6 }, { "register", op_register, 4 },
	{ "unregister", op_unregister, 2 }, { "create", op_create, 4 },
	{ "destroy", op_destroy, 2 }, { "submit", op_submit, 8 },
	{ "wait", op_wait, 4 }, { "query", op_query, 4 }, { "migrate", op_migrate, 8 },
	{ "policy", op_policy, 4 },
	{ "touch", op_touch, 4 }, { "close", op_close, 6 }, { "dup", op_dup, 3 },
	{ "send", op_send, 4 }, { "receive", op_receive, 4 }, { "fork", op_fork, 4 },
	{ "kill", op_kill, 1 }, { "exec", op_exec, 1 }, { "exit", op_exit, 1 },
};

static const struct op *any_op(struct turn *t)
{
	unsigned int i, sum = 0;
	uint64_t n;

	for (i = 0; i < NR(ops); i++)
		sum += ops[i].weight;
	n = pick(t, sum);
	for (i = 0; n >= ops[i].weight; i++)
		n -= ops[i].weight;
	return &ops[i];
}

/* Anything can be in the wrong state; nothing may be malformed or out of memory. */
static bool is_fine(int ret)
{
	static const int fine[] = {
		0, -EBADF, -EBADFD, -EPERM, -ESRCH, -ENOENT, -EEXIST, -ECANCELED,
		-ETIMEDOUT, -EBUSY, -EOPNOTSUPP, -ENOTTY,
	};
	unsigned int i;

	for (i = 0; i < NR(fine); i++)
		if (ret == fine[i])
			return true;
	return false;
}

static void *take_turns(void *arg)
{
	struct turn *t = arg;
	struct world *w = t->a->w;
	const struct op *op;
	int ret;

	while (t->ops--) {
		op = any_op(t);
		ret = op->run(t);
		harness_check(is_fine(ret), false, __FILE__, __LINE__,
			      "round %u, seed 0x%llx: %s gave %d", w->round,
			      (unsigned long long)w->seed, op->name, ret);
	}
	return NULL;
}

static void actor_main(struct actor *a, uint64_t seed)
{
	/* a forked child has its parent's turns on its stack; these are its own */
	static struct turn turns[3];
	pthread_t thread[3];
	int i, threads;

	for (i = 0; i < 3; i++)
		turns[i] = (struct turn){ .a = a, .rng = seed + i, .ops = 10 };
	threads = pick(&turns[0], 3);
	for (i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, take_turns, &turns[i + 1]))
			break;
	threads = i;
	take_turns(&turns[0]);
	/* sometimes it leaves while its threads are at work */
	if (seed & 1)
		for (i = 0; i < threads; i++)
			pthread_join(thread[i], NULL);
	_exit(0);
}

static void actor_start(struct world *w, uint64_t seed)
{
	struct actor a = { .w = w };
	int i;

	for (i = 0; i < SLOTS; i++)
		a.slot[i] = -1;
	proof_map(w->proof, true);
	a.data = anon(ACTOR_SIZE, PROT_READ | PROT_WRITE, 0);
	a.scratch = anon(ACTOR_SIZE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(a.data, ACTOR_SIZE, 5);
	actor_main(&a, seed);
}

/* The program that an actor becomes: whatever it kept, it is a stranger to. */
static int inherited_main(void)
{
	struct uvm_channel_query q;
	int fd;

	for (fd = 3; fd < 64; fd++)
		channel_query(fd, 1, &q);
	return 0;
}

static void reap_all(struct world *w)
{
	int status;
	pid_t pid;

	for (;;) {
		pid = waitpid(-1, &status, 0);
		if (pid < 0 && errno == ECHILD)
			return;
		harness_check(pid > 0 && (WIFEXITED(status) ? !WEXITSTATUS(status) :
					  WTERMSIG(status) == SIGKILL),
			      false, __FILE__, __LINE__,
			      "round %u, seed 0x%llx: process %d ended with 0x%x",
			      w->round, (unsigned long long)w->seed, pid, status);
	}
}

static void round_check(struct world *w)
{
	bool proof = proof_gone(w->proof);
	bool list = WAIT_FOR(list_count(0, NULL) <= 0), room = true;
	int i;

	for (i = 0; i < w->gpus; i++)
		room &= gpu_free_returns(&w->gpu[i], w->gpu[i].memory_free);
	harness_check(proof && list && room, true, __FILE__, __LINE__,
		      "round %u, seed 0x%llx left behind:%s%s%s", w->round,
		      (unsigned long long)w->seed, proof ? "" : " an mm",
		      list ? "" : " a VA space", room ? "" : " GPU memory");
	EXPECT_TRUE(proof && list && room);
}

static void round_run(struct world *w)
{
	uint64_t rng = w->seed;
	unsigned int n = 1 + harness_random(&rng) % 3, i;
	uint64_t seed;

	ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
			     w->queue), 0);
	w->proof = proof_new();
	*w->processes = n;
	for (i = 0; i < n; i++) {
		seed = harness_random(&rng);
		if (!child())
			actor_start(w, seed);
	}
	reap_all(w);
	/* what nobody has received */
	close(w->queue[0]);
	close(w->queue[1]);
	round_check(w);
	close(w->proof);
}

/*
 * UVM_ROUNDS says how many; a round takes some milliseconds, or some hundred on a
 * debug kernel under emulation. One that fails is repeated by its own seed:
 * UVM_SEED=seed UVM_ROUNDS=1.
 */
static unsigned int schedule_rounds(void)
{
	const char *text = getenv("UVM_ROUNDS");

	if (text && atoi(text) > 0)
		return atoi(text);
	return harness_rounds(slow_kernel() ? 50 : 300);
}

TEST_T(schedules, 60)
{
	unsigned int n = schedule_rounds(), i;
	struct world w = { 0 };

	w.gpus = gpus_list(w.gpu, MAX_GPUS);
	if (w.gpus <= 0)
		SKIP("no GPU");
	w.processes = shared_page();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (i = 0; i < n; i++) {
		w.round = i;
		w.seed = harness_seed + i * 0x9E3779B97F4A7C15ULL;
		round_run(&w);
	}
}

TEST_T(schedules_widened, 60)
{
	struct world w = { 0 };

	w.gpus = gpus_list(w.gpu, MAX_GPUS);
	if (w.gpus <= 0)
		SKIP("no GPU");
	delays_need();
	w.processes = shared_page();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (w.round = 0; w.round < harness_rounds(20); w.round++) {
		w.seed = harness_seed + w.round;
		round_run(&w);
	}
	delays_off();
}

static void __attribute__((constructor)) install(void)
{
	clean_up_install();
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--inherited"))
		return inherited_main();
	return harness_main(argc, argv);
}
