// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves what ends when: in whatever order a process closes its two files, exits,
 * is killed or execs, and whoever else holds them, its GPU work stops, its memory
 * is let go, and nothing stays behind; and nobody but the process itself, not a
 * forked child, not a stranger, can bring that about.
 *
 * That an mm is gone is shown by a seal (proof_gone()), which the kernel grants
 * only then. The test is mostly the stranger: it forks the owner of the VA space
 * and looks at it from outside.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "lib_lifetime.h"
#include "lib_managed.h"
#include "lib_memory.h"
#include "lib_policy.h"
#include "lib_uvm.h"

#define KIT_PAGES	32
#define KIT_SIZE	(KIT_PAGES * PAGE)
#define NR(array)	(sizeof(array) / sizeof((array)[0]))

/* ---- a process's usual things ---- */

struct kit {
	struct space s;
	struct uvm_gpu_info gpu;
	struct uvm_gpu_info gpu2;
	bool two;		/* there is a second GPU of the same kind */
	uint32_t channel;
	uint64_t reached;	/* a point that the channel has reached */
	uint64_t unreached;	/* and one that it won't, of kit_endless() */
	volatile uint64_t *counter;
	char *buf;		/* a pattern; the first half is on the GPU */
};

/* The memory of kits is managed memory. */
static bool managed_kits;

static void *kit_memory(struct kit *k, size_t size)
{
	return managed_kits ? managed(k->s.fd, size) :
			      anon(size, PROT_READ | PROT_WRITE, 0);
}

/* The files, the GPU, a channel: no memory of its own */
static void kit_bare(struct kit *k)
{
	struct uvm_sim_cmd nop = CMD(NOP);

	memset(k, 0, sizeof(*k));
	gpu_need(0, 0, &k->gpu);
	k->two = gpu_find(k->gpu.memory_kind, 1, &k->gpu2);
	ASSERT_RET(space_open(&k->s), 0);
	ASSERT_RET(register_gpu(k->s.fd, k->gpu.uuid), 0);
	ASSERT_RET(channel_create(k->s.fd, k->gpu.uuid, &k->channel), 0);
	ASSERT_RET(channel_submit(k->s.fd, k->channel, &nop, 1, &k->reached), 0);
	ASSERT_RET(channel_wait(k->s.fd, k->channel, k->reached, PATIENCE, NULL), 0);
}

static void kit_open(struct kit *k)
{
	struct uvm_migrate m;

	kit_bare(k);
	k->buf = kit_memory(k, KIT_SIZE);
	/* fails on a kernel without huge pages, which is as good */
	madvise(k->buf, KIT_SIZE, MADV_NOHUGEPAGE);
	pattern_fill(k->buf, KIT_SIZE, 1);
	ASSERT_RET(migrate(k->s.fd, k->buf, KIT_SIZE / 2, UVM_DEST_GPU, 0,
			   k->gpu.uuid, &m), 0);
	ASSERT_EQ(m.out_moved, KIT_PAGES / 2);
}

/* Work that only a stop ends, and that shows whether it goes on */
static void kit_endless(struct kit *k)
{
	struct uvm_sim_cmd add = CMD(ATOMIC_ADD, .arg0 = 1, .arg1 = 1ULL << 40);

	k->counter = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	/* where the CPU can watch it without a hand in the matter */
	stay(k->s.fd, (void *)k->counter, PAGE);
	add.dst = ADDR(k->counter);
	ASSERT_RET(channel_submit(k->s.fd, k->channel, &add, 1, &k->unreached), 0);
	ASSERT_TRUE(WAIT_FOR(*k->counter));
}

static bool counter_moves(struct kit *k)
{
	uint64_t was = *k->counter;

	return WAIT_FOR(*k->counter != was);
}

/* Ten times the time that the engine needs for one addition, and more */
static bool counter_stands(struct kit *k)
{
	uint64_t was = *k->counter;
	int i;

	for (i = 0; i < 3; i++)
		tick();
	return *k->counter == was;
}

static int fresh(void)
{
	int fd = uvm_open();

	ASSERT_GE(fd, 0);
	return fd;
}

/* The GPU serves the VA space. */
static void expect_alive(struct kit *k)
{
	struct uvm_sim_cmd nop = CMD(NOP);
	struct uvm_channel_query q;
	struct view view;

	EXPECT_RET(channel_query(k->s.fd, k->channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_RUNNING);
	EXPECT_RET(channel_run(k->s.fd, k->channel, &nop, 1), 0);
	ASSERT_TRUE(view_read(0, k->s.fd, &view));
	EXPECT_EQ(strcmp(view.state, "alive"), 0);
}

/* The owner, with its VA space file open, after the release */
static void expect_released(struct kit *k)
{
	struct uvm_sim_cmd nop = CMD(NOP);
	struct uvm_channel_query q;
	struct view view;

	EXPECT_RET(channel_query(k->s.fd, k->channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_STOPPED);
	EXPECT_RET(channel_wait(k->s.fd, k->channel, k->reached, 0, NULL), 0);
	if (k->unreached) {
		EXPECT_RET(channel_wait(k->s.fd, k->channel, k->unreached,
					5 * SECOND, NULL), -ECANCELED);
		EXPECT_TRUE(counter_stands(k));
	}
	EXPECT_RET(channel_submit(k->s.fd, k->channel, &nop, 1, NULL), -ESRCH);
	EXPECT_RET(register_gpu(k->s.fd, k->gpu.uuid), -ESRCH);
	ASSERT_TRUE(view_read(0, k->s.fd, &view));
	EXPECT_EQ(strcmp(view.state, "released"), 0);
}

/* What a process that isn't the owner gets, dead or alive the owner */
static void expect_stranger(int va, const struct uvm_gpu_info *gpu)
{
	struct uvm_info info = { .size = sizeof(info) };
	struct uvm_sim_cmd nop = CMD(NOP);
	struct uvm_channel_query q;
	struct uvm_page_state st;
	struct policy policy;
	struct uvm_migrate m;
	uint32_t channel;
	char *p = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	int mm = fresh();

	*p = 1;
	EXPECT_RET(register_gpu(va, gpu->uuid), -EPERM);
	EXPECT_RET(unregister_gpu(va, gpu->uuid), -EPERM);
	EXPECT_RET(channel_create(va, gpu->uuid, &channel), -EPERM);
	EXPECT_RET(channel_submit(va, 1, &nop, 1, NULL), -EPERM);
	EXPECT_RET(channel_query(va, 1, &q), -EPERM);
	EXPECT_RET(channel_wait(va, 1, 0, 0, NULL), -EPERM);
	EXPECT_RET(channel_destroy(va, 1), -EPERM);
	EXPECT_RET(migrate(va, p, PAGE, UVM_DEST_CPU, 0, NULL, &m), -EPERM);
	EXPECT_RET(residency(va, p, PAGE, &st), -EPERM);
	EXPECT_RET(processors_count(va), -EPERM);
	EXPECT_RET(policy_switch(va, UVM_SET_PREFETCH, p, PAGE, 0), -EPERM);
	EXPECT_RET(policy_query(va, p, &policy), -EPERM);
	EXPECT_RET(group_create(va, &channel), -EPERM);
	EXPECT_RET(group_destroy(va, 1), -EPERM);
	EXPECT_RET2(init_mm(mm, va), -EPERM, -EBADFD);
	EXPECT_RET(uvm_ioctl(va, UVM_INFO, &info), 0);
	close(mm);
	munmap(p, PAGE);
}

/* ---- threads that work until the ground goes away ---- */

enum job { JOB_WAIT, JOB_SUBMIT, JOB_MIGRATE, JOB_QUERY, JOB_REGISTER, JOB_FAULT,
	   JOB_POLICY, NR_JOBS };

struct worker {
	struct kit *k;
	enum job job;
	pthread_t thread;
	uint32_t channel;
	char *buf;
	atomic_uint turns;
};

/* Checks an answer, and says whether it means that the end has come. */
static bool is_end(int ret, int or)
{
	static const int fine[] = { 0, -ESRCH, -EBADF, -ECANCELED };
	unsigned int i;

	for (i = 0; i < NR(fine); i++)
		if (ret == fine[i])
			break;
	harness_check(i < NR(fine) || ret == or, false, __FILE__, __LINE__,
		      "a worker got %d", ret);
	return ret && ret != or;
}

static bool work_submit(struct worker *w)
{
	struct uvm_sim_cmd fill = CMD(FILL, .dst = ADDR(w->buf), .length = PAGE);

	return is_end(channel_run(w->k->s.fd, w->channel, &fill, 1), 0);
}

static bool work_migrate(struct worker *w)
{
	bool to_gpu = !(w->turns & 1);
	struct uvm_migrate m;

	return is_end(migrate(w->k->s.fd, w->k->buf + KIT_SIZE / 2, KIT_SIZE / 2,
			      to_gpu ? UVM_DEST_GPU : UVM_DEST_CPU, 0,
			      to_gpu ? w->k->gpu.uuid : NULL, &m), 0);
}

static bool work_query(struct worker *w)
{
	struct uvm_page_state st[KIT_PAGES];
	struct uvm_channel_query q;
	struct view view;
	int n = processors_count(w->k->s.fd);

	view_read(0, w->k->s.fd, &view);
	return is_end(n < 0 ? n : 0, 0) ||
	       is_end(channel_query(w->k->s.fd, w->k->channel, &q), 0) ||
	       is_end(residency(w->k->s.fd, w->k->buf, KIT_SIZE, st), -EBUSY);
}

static bool work_register(struct worker *w)
{
	uint32_t channel;

	if (w->k->two)
		return is_end(register_gpu(w->k->s.fd, w->k->gpu2.uuid), 0) ||
		       is_end(unregister_gpu(w->k->s.fd, w->k->gpu2.uuid), 0);
	return is_end(channel_create(w->k->s.fd, w->k->gpu.uuid, &channel), 0) ||
	       is_end(channel_destroy(w->k->s.fd, channel), 0);
}

static bool work_fault(struct worker *w)
{
	struct uvm_sim_cmd wild = CMD(FILL, .dst = 8, .length = 8);
	uint32_t channel;

	if (is_end(channel_create(w->k->s.fd, w->k->gpu.uuid, &channel), 0))
		return true;
	if (is_end(channel_run(w->k->s.fd, channel, &wild, 1), -ECANCELED))
		return true;
	return is_end(channel_destroy(w->k->s.fd, channel), 0);
}

/* Policies of a page that comes and goes */
static bool work_policy(struct worker *w)
{
	int fd = w->k->s.fd;
	struct policy policy;
	uint32_t group;

	w->buf = mmap(w->buf, PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return is_end(group_create(fd, &group), 0) ||
	       is_end(policy_group(fd, w->buf, PAGE, group), 0) ||
	       is_end(policy_prefer(fd, w->buf, PAGE, UVM_DEST_GPU, 0, w->k->gpu.uuid),
		      0) ||
	       is_end(policy_query(fd, w->buf, &policy), 0) ||
	       is_end(group_destroy(fd, group), 0);
}

static void *work(void *arg)
{
	static bool (* const jobs[NR_JOBS])(struct worker *w) = {
		[JOB_SUBMIT] = work_submit, [JOB_MIGRATE] = work_migrate,
		[JOB_QUERY] = work_query, [JOB_REGISTER] = work_register,
		[JOB_FAULT] = work_fault, [JOB_POLICY] = work_policy,
	};
	struct worker *w = arg;

	if (w->job == JOB_WAIT) {
		w->turns = 1;
		EXPECT_RET2(channel_wait(w->k->s.fd, w->k->channel, w->k->unreached,
					 UVM_WAIT_FOREVER, NULL), -ECANCELED, -EBADF);
		return NULL;
	}
	do
		w->turns++;
	while (!jobs[w->job](w));
	return NULL;
}

/* Returns when all of them are at it. */
static void work_start(struct worker *workers, struct kit *k)
{
	struct worker *w;
	int i;

	for (i = 0; i < NR_JOBS; i++) {
		w = &workers[i];
		*w = (struct worker){ .k = k, .job = i };
		w->buf = anon(PAGE, PROT_READ | PROT_WRITE, 0);
		ASSERT_RET(channel_create(k->s.fd, k->gpu.uuid, &w->channel), 0);
	}
	for (i = 0; i < NR_JOBS; i++)
		ASSERT_EQ(pthread_create(&workers[i].thread, NULL, work,
					 &workers[i]), 0);
	for (i = 0; i < NR_JOBS; i++)
		ASSERT_TRUE(WAIT_FOR(workers[i].turns));
}

static void work_join(struct worker *workers)
{
	int i;

	for (i = 0; i < NR_JOBS; i++)
		EXPECT_EQ(pthread_join(workers[i].thread, NULL), 0);
}

/* ---- every way to end it, whoever else holds the files ---- */

enum holder { NOBODY, FORKED_BEFORE, FORKED, SHARER, STRANGER, QUEUE, NR_HOLDERS };

static const char * const holder_names[] = {
	"nobody", "child forked before", "forked child", "sharer of the files",
	"stranger", "unread queue",
};

struct play {
	const struct way *way;
	enum holder holder;
	bool busy;
	struct kit k;
	struct worker workers[NR_JOBS];
	int null;
	int proof;
	int talk[2];		/* test, owner */
	int hold[2];		/* test, holder */
	int park[2];		/* what is sent to [1] is never read */
	int va;			/* the test's own, as a stranger */
	int mm;
	pid_t owner;
};

/*
 * How the owner ends it. With an @end that returns, the owner lives on, and both its
 * files are closed then. Otherwise it is dead, or has become another program, and
 * exits with @status.
 */
struct way {
	void (*end)(struct play *p);
	bool lives;
	bool execs;
	char poke;		/* what the new program has to do, or 0 */
	int status;
};

static void end_mm_first(struct play *p)
{
	EXPECT_EQ(close(p->k.s.mm_fd), 0);
	expect_released(&p->k);
	EXPECT_EQ(close(p->k.s.fd), 0);
}

/* Without the VA space's descriptor the work goes on, until the mm file goes. */
static void end_va_first(struct play *p)
{
	EXPECT_EQ(close(p->k.s.fd), 0);
	EXPECT_TRUE(counter_moves(&p->k));
	EXPECT_EQ(close(p->k.s.mm_fd), 0);
	EXPECT_TRUE(counter_stands(&p->k));
}

struct closer {
	pthread_barrier_t *start;
	int fd;
	int ret;
};

static void *close_it(void *arg)
{
	struct closer *c = arg;

	if (c->start)
		pthread_barrier_wait(c->start);
	c->ret = close(c->fd);
	return NULL;
}

static void close_at_once(int a, int b)
{
	pthread_barrier_t start;
	pthread_t thread[2];
	struct closer c[2] = { { &start, a, -1 }, { &start, b, -1 } };
	int i;

	pthread_barrier_init(&start, NULL, 2);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(pthread_create(&thread[i], NULL, close_it, &c[i]), 0);
	for (i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_EQ(c[i].ret, 0);
	}
}

static void end_both(struct play *p)
{
	close_at_once(p->k.s.fd, p->k.s.mm_fd);
	EXPECT_TRUE(counter_stands(&p->k));
}

/* A duplicate is as good as the original. */
static void end_dup(struct play *p)
{
	int copy = dup(p->k.s.mm_fd);

	ASSERT_GE(copy, 0);
	EXPECT_EQ(close(copy), 0);
	expect_released(&p->k);
	EXPECT_EQ(close(p->k.s.mm_fd), 0);
	expect_released(&p->k);
	EXPECT_EQ(close(p->k.s.fd), 0);
}

static void end_dup2(struct play *p)
{
	EXPECT_EQ(dup2(p->null, p->k.s.mm_fd), p->k.s.mm_fd);
	expect_released(&p->k);
	EXPECT_EQ(close(p->k.s.fd), 0);
}

static void end_close_range(struct play *p)
{
	ASSERT_EQ(p->k.s.mm_fd, p->k.s.fd + 1);
	EXPECT_EQ(syscall(SYS_close_range, p->k.s.fd, p->k.s.mm_fd, 0), 0);
	EXPECT_TRUE(counter_stands(&p->k));
}

static void end_other_thread(struct play *p)
{
	struct closer c = { NULL, p->k.s.mm_fd, -1 };
	pthread_t thread;

	ASSERT_EQ(pthread_create(&thread, NULL, close_it, &c), 0);
	pthread_join(thread, NULL);
	EXPECT_EQ(c.ret, 0);
	expect_released(&p->k);
	EXPECT_EQ(close(p->k.s.fd), 0);
}

static void end_exit(struct play *p)
{
	_exit(0);
}

static void end_kill(struct play *p)
{
	raise(SIGKILL);
}

static void *exit_after(void *arg)
{
	char path[64], text[400];
	const char *state;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
	/* the first thread is a zombie, since it isn't the last */
	while (read_text(path, text, sizeof(text))) {
		state = strrchr(text, ')');
		if (state && state[2] == 'Z')
			break;
		tick();
	}
	_exit(0);
}

/* The last thread takes the files with it, not the first one. */
static void end_first_thread(struct play *p)
{
	pthread_t thread;

	ASSERT_EQ(pthread_create(&thread, NULL, exit_after, NULL), 0);
	syscall(SYS_exit, 0);
}

static void become(struct play *p, int va, int mm)
{
	char talk[16], va_text[16], mm_text[16];

	snprintf(talk, sizeof(talk), "%d", p->talk[1]);
	snprintf(va_text, sizeof(va_text), "%d", va);
	snprintf(mm_text, sizeof(mm_text), "%d", mm);
	ASSERT_EQ(fcntl(p->talk[1], F_SETFD, 0), 0);
	if (va >= 0)
		ASSERT_EQ(fcntl(va, F_SETFD, 0), 0);
	if (mm >= 0)
		ASSERT_EQ(fcntl(mm, F_SETFD, 0), 0);
	execl("/proc/self/exe", "lifetime", "--held", talk, va_text, mm_text, NULL);
	_exit(99);
}

static void end_exec(struct play *p)
{
	become(p, -1, -1);
}

static void end_exec_keep(struct play *p)
{
	become(p, p->k.s.fd, p->k.s.mm_fd);
}

static void end_exec_keep_mm(struct play *p)
{
	become(p, -1, p->k.s.mm_fd);
}

static const struct way ways[] = {
	{ end_mm_first, .lives = true },
	{ end_va_first, .lives = true },
	{ end_both, .lives = true },
	{ end_dup, .lives = true },
	{ end_dup2, .lives = true },
	{ end_close_range, .lives = true },
	{ end_other_thread, .lives = true },
	{ .end = end_exit },
	{ end_kill, .status = 128 + SIGKILL },
	{ .end = end_first_thread },
	{ end_exec, .execs = true },
	{ end_exec_keep, .execs = true, .poke = 'v' },
	{ end_exec_keep_mm, .execs = true, .poke = 'm' },
};

/* .kind indexes ways[] */
static const struct variant way_names[NR(ways) + 1] = {
	{ "mm_first", 0, 0 }, { "va_first", 1, 0 }, { "both_at_once", 2, 0 },
	{ "dup_closed", 3, 0 }, { "dup2", 4, 0 }, { "close_range", 5, 0 },
	{ "other_thread", 6, 0 }, { "exit", 7, 0 }, { "kill", 8, 0 },
	{ "first_thread", 9, 0 }, { "exec", 10, 0 }, { "exec_keep", 11, 0 },
	{ "exec_keep_mm", 12, 0 }, { NULL, 0, 0 },
};

/* Any command of a process with another mm on either file. */
static bool poke(int va, int mm, char what)
{
	struct uvm_info info = { .size = sizeof(info) };
	struct uvm_channel_query q;

	if (what == 'v')
		return channel_query(va, 1, &q) == -EPERM;
	return uvm_ioctl(mm, UVM_INFO, &info) == -EBADFD;
}

static void holder_main(int end, int va, int mm)
{
	int what;

	while ((what = hear(end)) > 0)
		tell(end, poke(va, mm, what) ? '.' : '!');
	_exit(0);
}

/* main() of the program that the owner becomes */
static int held_main(char **argv)
{
	int end = atoi(argv[2]), va = atoi(argv[3]), mm = atoi(argv[4]);
	char what = 'x';

	while (send(end, &what, 1, MSG_NOSIGNAL) == 1 &&
	       recv(end, &what, 1, 0) == 1 && what != 'e')
		what = poke(va, mm, what) ? '.' : '!';
	return 0;
}

/* The owner's memory and page tables, and not its files, are the child's own. */
static void start_holder(struct play *p)
{
	long pid;

	if (p->holder == SHARER)
		pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	else
		pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		holder_main(p->hold[1], p->k.s.fd, p->k.s.mm_fd);
}

static void owner_main(struct play *p)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	proof_map(p->proof, false);
	if (p->holder == FORKED_BEFORE)
		start_holder(p);
	kit_open(&p->k);
	kit_endless(&p->k);
	if (p->holder == FORKED || p->holder == SHARER)
		start_holder(p);
	if (p->holder == STRANGER || p->holder == QUEUE) {
		int to = p->holder == QUEUE ? p->park[1] : p->talk[1];

		ASSERT_RET(fd_send(to, p->k.s.fd), 0);
		ASSERT_RET(fd_send(to, p->k.s.mm_fd), 0);
	}
	if (p->busy)
		work_start(p->workers, &p->k);
	tell(p->talk[1], 'r');
	ASSERT_EQ(hear(p->talk[1]), 'g');

	p->way->end(p);
	if (p->busy)
		work_join(p->workers);
	EXPECT_PATTERN(p->k.buf, KIT_SIZE, 1);
	tell(p->talk[1], 'c');
	ASSERT_EQ(hear(p->talk[1]), 'e');
	_exit(0);
}

/* Exec and a sharer's table leave it to the next command to notice. */
static bool gone_by_poking(struct play *p, int end, char what)
{
	unsigned int ms = patience_ms();

	for (; ms; ms--) {
		tell(end, what);
		EXPECT_EQ(hear(end), '.');
		if (!fcntl(p->proof, F_ADD_SEALS, F_SEAL_WRITE))
			return true;
		tick();
	}
	return false;
}

static bool somebody_holds(const struct play *p)
{
	if (p->holder == SHARER)
		return !p->way->lives;
	return p->holder == FORKED || p->holder == STRANGER || p->holder == QUEUE;
}

/* Its line says "released" for as long as somebody holds the VA space's file. */
static void expect_listed(struct play *p)
{
	struct listed line;

	if (!list_present() || !somebody_holds(p))
		return;
	EXPECT_EQ(list_count(p->owner, &line), 1);
	EXPECT_EQ(strcmp(line.state, "released"), 0);
	EXPECT_EQ(line.retainers, 0);
}

/* From the owner's end to its death */
static void play_end(struct play *p)
{
	bool sharer_has = p->holder == SHARER && !p->way->lives;

	tell(p->talk[0], 'g');
	if (p->way->lives) {
		ASSERT_EQ(hear(p->talk[0]), 'c');
		expect_listed(p);
		tell(p->talk[0], 'e');
	} else if (p->way->execs) {
		ASSERT_EQ(hear(p->talk[0]), 'x');
		if (p->way->poke)
			EXPECT_TRUE(gone_by_poking(p, p->talk[0], p->way->poke));
		else if (sharer_has)
			EXPECT_TRUE(gone_by_poking(p, p->hold[0], 'v'));
		/* and all that while the process, as another program, lives */
		EXPECT_TRUE(proof_gone(p->proof));
		tell(p->talk[0], 'e');
	}
	EXPECT_EQ(child_wait(p->owner), p->way->status);
	if (sharer_has)
		EXPECT_TRUE(gone_by_poking(p, p->hold[0], 'v'));
}

static void play_close(struct play *p)
{
	int i;

	close(p->va);
	close(p->mm);
	for (i = 0; i < 2; i++)
		close(p->park[i]);
	if (p->holder == FORKED_BEFORE || p->holder == FORKED || p->holder == SHARER) {
		ASSERT_EQ(shutdown(p->hold[0], SHUT_WR), 0);
		EXPECT_EQ(hear(p->hold[0]), -1);
	}
	EXPECT_TRUE(list_forgets(p->owner));
	close(p->talk[0]);
	close(p->hold[0]);
	close(p->proof);
}

static void play_open(struct play *p)
{
	p->va = -1;
	p->mm = -1;
	p->proof = proof_new();
	link_new(p->talk);
	link_new(p->hold);
	link_new(p->park);
	p->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	ASSERT_GE(p->null, 0);
	p->owner = child();
	if (!p->owner)
		owner_main(p);
	close(p->null);
	close(p->talk[1]);
	close(p->hold[1]);
	if (p->holder == STRANGER) {
		p->va = fd_receive(p->talk[0]);
		p->mm = fd_receive(p->talk[0]);
		ASSERT_GE(p->va, 0);
		ASSERT_GE(p->mm, 0);
	}
	ASSERT_EQ(hear(p->talk[0]), 'r');
}

static void play(const struct way *way, enum holder holder, bool busy,
		 const struct uvm_gpu_info *gpu)
{
	struct play *p = anon(sizeof(*p), PROT_READ | PROT_WRITE, 0);

	p->way = way;
	p->holder = holder;
	p->busy = busy;
	play_open(p);
	EXPECT_TRUE(proof_held(p->proof));
	play_end(p);
	harness_check(proof_gone(p->proof), false, __FILE__, __LINE__,
		      "the owner's memory is still there: holder: %s, %s",
		      holder_names[holder], busy ? "busy" : "idle");
	expect_listed(p);
	if (holder == STRANGER)
		expect_stranger(p->va, gpu);
	if (holder == FORKED) {
		tell(p->hold[0], 'v');
		EXPECT_EQ(hear(p->hold[0]), '.');
	}
	play_close(p);
	munmap(p, sizeof(*p));
}

static void end_ways(const struct variant *v)
{
	unsigned int step = harness_stride(5), n = 2 * NR_HOLDERS;
	uint64_t rng = harness_seed + v->kind;
	struct uvm_gpu_info gpu;
	unsigned int i;

	gpu_need(0, 0, &gpu);
	for (i = step > 1 ? harness_random(&rng) % step : 0; i < n; i += step)
		play(&ways[v->kind], i / 2, i & 1, &gpu);
}

TEST_VT(end, way_names, 60)
{
	end_ways(v);
}

/* A mapping has the VA space's file, too, and ends nothing later than it would. */
TEST_VT(end_managed, way_names, 60)
{
	managed_gpus_need();
	managed_kits = true;
	end_ways(v);
}

/* ---- who can't end it ---- */

static void close_files(struct kit *k)
{
	close(k->s.mm_fd);
	close(k->s.fd);
}

TEST(forked_child_closes)
{
	struct kit k;
	pid_t pid;
	int how;

	kit_open(&k);
	kit_endless(&k);
	for (how = 0; how < 3; how++) {
		pid = child();
		if (!pid) {
			if (how == 0)
				close_files(&k);
			if (how == 1)
				close_at_once(k.s.fd, k.s.mm_fd);
			child_exit();
		}
		EXPECT_EQ(child_wait(pid), 0);
		EXPECT_TRUE(counter_moves(&k));
	}
	EXPECT_EQ(close(k.s.mm_fd), 0);
	expect_released(&k);
}

/* A child that borrows the mm has a table of files of its own. */
TEST(vforked_child_closes)
{
	static struct kit k;
	pid_t pid;

	kit_bare(&k);
	pid = vfork();
	if (!pid) {
		close(k.s.mm_fd);
		_exit(0);
	}
	ASSERT_GE(pid, 0);
	EXPECT_EQ(child_wait(pid), 0);
	expect_alive(&k);
	pid = vfork();
	if (!pid) {
		execl("/proc/self/exe", "lifetime", "--nothing", NULL);
		_exit(99);
	}
	ASSERT_GE(pid, 0);
	EXPECT_EQ(child_wait(pid), 0);
	expect_alive(&k);
	EXPECT_EQ(close(k.s.mm_fd), 0);
	expect_released(&k);
}

TEST(spawned_child_closes)
{
	char name[] = "lifetime", what[] = "--nothing";
	char *argv[3] = { name, what, NULL };
	char *envp[1] = { NULL };
	posix_spawn_file_actions_t actions;
	struct kit k;
	pid_t pid;

	kit_bare(&k);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addclose(&actions, k.s.mm_fd);
	posix_spawn_file_actions_adddup2(&actions, 2, k.s.fd);
	ASSERT_EQ(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, envp), 0);
	EXPECT_EQ(child_wait(pid), 0);
	expect_alive(&k);
	EXPECT_EQ(close(k.s.mm_fd), 0);
	expect_released(&k);
}

/* Whoever shares the table of files closes the process's own descriptor. */
TEST(sharer_closes)
{
	struct kit k;
	long pid;

	kit_open(&k);
	kit_endless(&k);
	pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(k.s.mm_fd);
		_exit(0);
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_EQ(fcntl(k.s.mm_fd, F_GETFD), -1);
	expect_released(&k);
	EXPECT_EQ(close(k.s.fd), 0);
}

static void *close_own_copy(void *arg)
{
	struct kit *k = arg;

	ASSERT_EQ(unshare(CLONE_FILES), 0);
	EXPECT_EQ(close(k->s.mm_fd), 0);
	return NULL;
}

/* A thread with a table of files of its own is like a forked child. */
TEST(unshared_thread_closes)
{
	pthread_t thread;
	struct kit k;

	kit_bare(&k);
	ASSERT_EQ(pthread_create(&thread, NULL, close_own_copy, &k), 0);
	pthread_join(thread, NULL);
	expect_alive(&k);
	EXPECT_EQ(close(k.s.mm_fd), 0);
	expect_released(&k);
}

/* A stranger asks, and closes, and exits; the owner notices nothing. */
TEST(stranger_closes)
{
	int talk[2], va, mm;
	struct kit k;
	pid_t pid;

	link_new(talk);
	pid = child();
	if (!pid) {
		struct uvm_gpu_info gpu;

		gpu_need(0, 0, &gpu);
		va = fd_receive(talk[1]);
		mm = fd_receive(talk[1]);
		ASSERT_GE(mm, 0);
		expect_stranger(va, &gpu);
		EXPECT_TRUE(poke(va, mm, 'm'));
		close(mm);
		close(va);
		tell(talk[1], 'c');
		ASSERT_EQ(hear(talk[1]), 'e');
		child_exit();
	}
	kit_open(&k);
	ASSERT_RET(fd_send(talk[0], k.s.fd), 0);
	ASSERT_RET(fd_send(talk[0], k.s.mm_fd), 0);
	ASSERT_EQ(hear(talk[0]), 'c');
	expect_alive(&k);
	tell(talk[0], 'e');
	EXPECT_EQ(child_wait(pid), 0);
	expect_alive(&k);
	EXPECT_EQ(close(k.s.mm_fd), 0);
	expect_released(&k);
}

/* It never had an mm file: there is nothing but the process to end it. */
TEST(no_mm_file)
{
	int talk[2], va, proof = proof_new();
	struct listed line;
	struct view view;
	pid_t pid;

	link_new(talk);
	pid = child();
	if (!pid) {
		proof_map(proof, false);
		va = fresh();
		ASSERT_RET(init_va(va, 0), 0);
		ASSERT_RET(fd_send(talk[1], va), 0);
		ASSERT_EQ(hear(talk[1]), 'e');
		child_exit();
	}
	va = fd_receive(talk[0]);
	ASSERT_GE(va, 0);
	EXPECT_TRUE(proof_held(proof));
	ASSERT_TRUE(view_read(0, va, &view));
	EXPECT_EQ(strcmp(view.state, "uninitialized"), 0);
	EXPECT_EQ(view.pid, pid);
	tell(talk[0], 'e');
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_TRUE(proof_gone(proof));
	ASSERT_TRUE(view_read(0, va, &view));
	EXPECT_EQ(strcmp(view.state, "released"), 0);
	if (list_present()) {
		EXPECT_EQ(list_count(pid, &line), 1);
		EXPECT_EQ(strcmp(line.state, "released"), 0);
	}
	close(va);
	EXPECT_TRUE(list_forgets(pid));
}

/* Bound to nobody, it outlives its maker, and pins nobody's memory. */
TEST(multi_process)
{
	struct uvm_sim_cmd wild = CMD(FILL, .dst = PAGE, .length = 8);
	struct uvm_sim_cmd nop = CMD(NOP);
	int talk[2], va, mm, proof = proof_new();
	struct uvm_channel_query q;
	struct uvm_gpu_info gpu;
	struct view view;
	uint32_t channel;
	pid_t pid;

	gpu_need(0, 0, &gpu);
	link_new(talk);
	pid = child();
	if (!pid) {
		proof_map(proof, false);
		va = fresh();
		ASSERT_RET(init_va(va, UVM_INIT_MULTI_PROCESS), 0);
		ASSERT_RET(register_gpu(va, gpu.uuid), 0);
		ASSERT_RET(channel_create(va, gpu.uuid, &channel), 0);
		ASSERT_EQ(write(talk[1], &channel, sizeof(channel)), sizeof(channel));
		ASSERT_RET(fd_send(talk[1], va), 0);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_TRUE(proof_gone(proof));
	ASSERT_EQ(read(talk[0], &channel, sizeof(channel)), sizeof(channel));
	va = fd_receive(talk[0]);
	ASSERT_GE(va, 0);
	ASSERT_TRUE(view_read(0, va, &view));
	EXPECT_EQ(strcmp(view.state, "none"), 0);
	EXPECT_RET(channel_run(va, channel, &nop, 1), 0);
	EXPECT_RET(channel_run(va, channel, &wild, 1), -ECANCELED);
	EXPECT_RET(channel_query(va, channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_FAULTED);
	EXPECT_EQ(q.out_reason, UVM_FAULT_NO_MAPPING);
	EXPECT_RET(unregister_gpu(va, gpu.uuid), 0);
	EXPECT_RET(register_gpu(va, gpu.uuid), 0);
	mm = fresh();
	EXPECT_RET(init_mm(mm, va), -EOPNOTSUPP);
	close(mm);
	close(va);
	EXPECT_TRUE(list_forgets(pid));
}

/* ---- killed in the middle of something ---- */

struct phase {
	struct kit k;
	char *big;
	size_t size;		/* of @big: so much that a turn takes a while */
	unsigned int turn;
};

static int phase_init(struct phase *ph)
{
	int fd = fresh(), ret = init_va(fd, 0);

	close(fd);
	return ret;
}

static int phase_mm_init(struct phase *ph)
{
	struct space s;
	int ret = space_open(&s);

	if (ph->turn & 1)
		close(s.fd);
	space_close(&s);
	return ret;
}

static int phase_register(struct phase *ph)
{
	int ret = unregister_gpu(ph->k.s.fd, ph->k.gpu.uuid);

	return ret ? ret : register_gpu(ph->k.s.fd, ph->k.gpu.uuid);
}

static int phase_create(struct phase *ph)
{
	uint32_t channel;
	int ret = channel_create(ph->k.s.fd, ph->k.gpu.uuid, &channel);

	return ret ? ret : channel_destroy(ph->k.s.fd, channel);
}

static int phase_submit(struct phase *ph)
{
	struct uvm_sim_cmd fill = CMD(FILL, .dst = ADDR(ph->big), .length = ph->size,
				      .arg0 = ph->turn);

	return channel_run(ph->k.s.fd, ph->k.channel, &fill, 1);
}

static int to_gpu(struct phase *ph)
{
	struct uvm_migrate m;

	return migrate(ph->k.s.fd, ph->big, ph->size, UVM_DEST_GPU, 0, ph->k.gpu.uuid, &m);
}

static int phase_migrate(struct phase *ph)
{
	struct uvm_migrate m;
	int ret = to_gpu(ph);

	return ret ? ret : migrate(ph->k.s.fd, ph->big, ph->size, UVM_DEST_CPU, 0, NULL, &m);
}

/* Each turn drops the GPU's translations of it, and so each page faults anew. */
static int phase_gpu_faults(struct phase *ph)
{
	struct uvm_sim_cmd touch = CMD(TOUCH, .dst = ADDR(ph->big), .length = ph->size,
				       .arg0 = PAGE, .arg1 = 1);

	madvise(ph->big, ph->size, MADV_DONTNEED);
	return channel_run(ph->k.s.fd, ph->k.channel, &touch, 1);
}

static int phase_cpu_faults(struct phase *ph)
{
	int ret = to_gpu(ph);
	size_t i;

	for (i = 0; i < ph->size; i += PAGE)
		((volatile char *)ph->big)[i]++;
	return ret;
}

static int phase_unregister(struct phase *ph)
{
	int ret = to_gpu(ph);
	uint64_t moved, left;

	if (!ret)
		ret = unregister_gpu_pages(ph->k.s.fd, ph->k.gpu.uuid, &moved, &left);
	return ret ? ret : register_gpu(ph->k.s.fd, ph->k.gpu.uuid);
}

static int (* const phases[])(struct phase *ph) = {
	phase_init, phase_mm_init, phase_register, phase_create, phase_submit,
	phase_migrate, phase_gpu_faults, phase_cpu_faults, phase_unregister,
};

static const struct variant phase_names[NR(phases) + 1] = {
	{ "init", 0, 0 }, { "mm_init", 1, 0 }, { "register", 2, 0 },
	{ "channel_create", 3, 0 }, { "submit", 4, 0 }, { "migrate", 5, 0 },
	{ "gpu_faults", 6, 0 }, { "cpu_faults", 7, 0 }, { "unregister", 8, 0 },
	{ NULL, 0, 0 },
};

static void victim(int phase, int proof, atomic_uint *turns)
{
	struct phase ph = { 0 };
	uint32_t channel;

	proof_map(proof, true);
	ph.size = slow_kernel() ? 1UL << 19 : 4UL << 20;
	kit_open(&ph.k);
	ph.big = kit_memory(&ph.k, ph.size);
	memset(ph.big, 1, ph.size);
	ASSERT_RET(policy_switch(ph.k.s.fd, UVM_SET_PREFETCH, ph.big, ph.size, 0), 0);
	for (;; ph.turn++) {
		EXPECT_RET(phases[phase](&ph), 0);
		if (phases[phase] == phase_register ||
		    phases[phase] == phase_unregister)
			ASSERT_RET(channel_create(ph.k.s.fd, ph.k.gpu.uuid,
						  &channel), 0);
		atomic_fetch_add(turns, 1);
	}
}

/* Busy for a moment that no clock of the kernel divides */
static void spin(uint64_t turns)
{
	volatile uint64_t n = turns;

	while (n)
		n--;
}

static void compute_anew(void)
{
	/* not on the stack, which would stay in the GPU's memory */
	uint64_t *seen = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uvm_sim_cmd sum;
	struct kit k;

	kit_open(&k);
	sum = CMD(SUM, .dst = ADDR(seen), .src = ADDR(k.buf), .length = KIT_SIZE);
	EXPECT_RET(channel_run(k.s.fd, k.channel, &sum, 1), 0);
	EXPECT_EQ(seen[0], sum64(k.buf, KIT_SIZE));
	EXPECT_PATTERN(k.buf, KIT_SIZE, 1);
	space_close(&k.s);
	munmap(k.buf, KIT_SIZE);
	munmap(seen, PAGE);
}

static void expect_all_free(const struct uvm_gpu_info *gpus, int n)
{
	int i;

	for (i = 0; i < n; i++)
		EXPECT_TRUE(gpu_free_returns(&gpus[i], gpus[i].memory_free));
}

static void kill_rounds(int phase, unsigned int rounds)
{
	atomic_uint *turns = shared_page();
	uint64_t rng = harness_seed + phase;
	struct uvm_gpu_info gpus[MAX_GPUS];
	unsigned int wanted;
	int n, proof;
	pid_t pid;

	n = gpus_list(gpus, MAX_GPUS);
	ASSERT_GT(n, 0);
	while (rounds--) {
		proof = proof_new();
		*turns = 0;
		pid = child();
		if (!pid)
			victim(phase, proof, turns);
		wanted = 1 + harness_random(&rng) % 3;
		ASSERT_TRUE(WAIT_FOR(*turns >= wanted));
		spin(harness_random(&rng) % 300000);
		ASSERT_EQ(kill(pid, SIGKILL), 0);
		EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
		EXPECT_TRUE(proof_gone(proof));
		EXPECT_TRUE(list_forgets(pid));
		expect_all_free(gpus, n);
		compute_anew();
		close(proof);
	}
}

TEST_VT(killed, phase_names, 60)
{
	struct uvm_gpu_info gpu;

	gpu_need(0, 0, &gpu);
	kill_rounds(v->kind, harness_rounds(4));
}

TEST_VT(killed_managed, phase_names, 60)
{
	managed_gpus_need();
	managed_kits = true;
	kill_rounds(v->kind, harness_rounds(4));
}

/* ---- a page that user space keeps everybody waiting for ---- */

/* Closing may wait about a second for those who use the mm, and no longer. */
static long bound_ms(void)
{
	return patience_ms();
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

enum delayed { BY_GPU, BY_MIGRATE, BY_SUBMIT, BY_RESIDENCY, BY_WAIT };

static const struct variant delayed_names[] = {
	{ "gpu", BY_GPU, 0 }, { "migrate", BY_MIGRATE, 0 },
	{ "submit", BY_SUBMIT, 0 }, { "residency", BY_RESIDENCY, 0 },
	{ "wait", BY_WAIT, 0 }, { NULL, 0, 0 },
};

struct delay {
	struct kit k;
	enum delayed by;
	int uffd;
	char *late;		/* memory that user space is to supply */
	pthread_t thread;
	atomic_bool done;
	int ret;
};

static int delayed_call(struct delay *d)
{
	struct uvm_sim_cmd fill = CMD(FILL, .dst = ADDR(d->late), .length = 8);
	struct uvm_migrate m;
	int fd = d->k.s.fd;

	switch (d->by) {
	case BY_GPU:
		return channel_run(fd, d->k.channel, &fill, 1);
	case BY_MIGRATE:
		return migrate(fd, d->late, PAGE, UVM_DEST_GPU, 0, d->k.gpu.uuid, &m);
	case BY_SUBMIT:
		return channel_submit(fd, d->k.channel, (void *)d->late, 1, NULL);
	case BY_RESIDENCY:
		return residency(fd, d->k.buf, PAGE, (void *)d->late);
	case BY_WAIT:
		return uvm_ioctl(fd, UVM_WAIT, d->late);
	}
	return 1;
}

static void *delayed_thread(void *arg)
{
	struct delay *d = arg;

	d->ret = delayed_call(d);
	d->done = true;
	return NULL;
}

static int uffd_new(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		SKIP("no userfaultfd");
	return fd;
}

static void delay_register(struct delay *d)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	d->uffd = uffd_new();
	d->late = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	madvise(d->late, PAGE, MADV_NOHUGEPAGE);
	reg.range.start = ADDR(d->late);
	reg.range.len = PAGE;
	ASSERT_EQ(ioctl(d->uffd, UFFDIO_REGISTER, &reg), 0);
}

/*
 * Up to where the thread waits for its page. Not all wait: the GPU's fault may be a
 * bus error, and an absent page may simply not be moved.
 */
static void delay_start(struct delay *d, enum delayed by)
{
	struct pollfd pending = { .events = POLLIN };

	memset(d, 0, sizeof(*d));
	d->by = by;
	kit_open(&d->k);
	delay_register(d);
	ASSERT_EQ(pthread_create(&d->thread, NULL, delayed_thread, d), 0);
	pending.fd = d->uffd;
	ASSERT_TRUE(WAIT_FOR(d->done || poll(&pending, 1, 0) == 1));
	if (by != BY_GPU && by != BY_MIGRATE)
		ASSERT_TRUE(!d->done);
}

/* The page that is late: zeros (a NOP, too), or an argument for UVM_WAIT */
static void delay_supply(struct delay *d)
{
	char *page = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uffdio_copy copy = {
		.dst = ADDR(d->late), .src = ADDR(page), .len = PAGE,
	};

	if (d->by == BY_WAIT)
		*(struct uvm_wait *)page = (struct uvm_wait){
			.size = sizeof(struct uvm_wait),
			.channel = d->k.channel,
			.point = d->k.reached,
			.timeout_ns = UVM_WAIT_FOREVER,
		};
	/* EEXIST: it was moved, and so became one of zeros */
	if (ioctl(d->uffd, UFFDIO_COPY, &copy))
		EXPECT_EQ(errno, EEXIST);
}

static void expect_delayed_result(struct delay *d)
{
	switch (d->by) {
	case BY_GPU:
		EXPECT_RET(d->ret, -ECANCELED);
		break;
	case BY_MIGRATE:
	case BY_RESIDENCY:
		EXPECT_RET2(d->ret, 0, -ESRCH);
		break;
	case BY_SUBMIT:
		EXPECT_RET2(d->ret, -ESRCH, -ECANCELED);
		break;
	case BY_WAIT:
		EXPECT_RET(d->ret, 0);
		break;
	}
}

/* UVM_MM_INIT under way, while its argument waits for user space. */
struct opening {
	int fd;
	int uffd;
	char *late;
	int ret;
};

static void *opening_thread(void *arg)
{
	struct opening *o = arg;

	o->ret = uvm_ioctl(o->fd, UVM_MM_INIT, o->late);
	return NULL;
}

static void opening_supply(struct opening *o, int va_fd)
{
	char *page = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uffdio_copy copy = {
		.dst = ADDR(o->late), .src = ADDR(page), .len = PAGE,
	};

	*(struct uvm_mm_init *)page = (struct uvm_mm_init){
		.size = sizeof(struct uvm_mm_init), .va_space_fd = va_fd,
	};
	ASSERT_EQ(ioctl(o->uffd, UFFDIO_COPY, &copy), 0);
}

/* Its own descriptor is closed before there is an mm file; another holds the file. */
static void open_and_close(int talk, int proof)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct pollfd pending = { .events = POLLIN };
	struct opening o = { .uffd = uffd_new(), .fd = uvm_open() };
	int va_fd = uvm_open();
	pthread_t thread;
	struct view view;

	ASSERT_TRUE(proof_map(proof, false) != NULL);
	ASSERT_RET(init_va(va_fd, 0), 0);
	ASSERT_RET(fd_send(talk, o.fd), 0);
	o.late = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	madvise(o.late, PAGE, MADV_NOHUGEPAGE);
	reg.range.start = ADDR(o.late);
	reg.range.len = PAGE;
	ASSERT_EQ(ioctl(o.uffd, UFFDIO_REGISTER, &reg), 0);
	ASSERT_EQ(pthread_create(&thread, NULL, opening_thread, &o), 0);
	pending.fd = o.uffd;
	ASSERT_TRUE(WAIT_FOR(poll(&pending, 1, 0) == 1));
	ASSERT_EQ(close(o.fd), 0);
	opening_supply(&o, va_fd);
	pthread_join(thread, NULL);
	EXPECT_RET(o.ret, -EBADF);
	ASSERT_TRUE(view_read(0, va_fd, &view));
	EXPECT_EQ(strcmp(view.state, "released"), 0);
}

TEST(closed_while_mm_init)
{
	int talk[2], proof = proof_new(), fd;
	pid_t pid;

	close(uffd_new());
	link_new(talk);
	pid = child();
	if (!pid) {
		open_and_close(talk[1], proof);
		child_exit();
	}
	fd = fd_receive(talk[0]);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(child_wait(pid), 0);
	/* the file that this process holds keeps nothing */
	EXPECT_TRUE(proof_gone(proof));
	close(fd);
}

TEST_V(delayed_close, delayed_names)
{
	struct delay d;
	bool was_done;
	long from;

	delay_start(&d, v->kind);
	was_done = d.done;
	from = now_ms();
	EXPECT_EQ(close(d.k.s.mm_fd), 0);
	EXPECT_LT(now_ms() - from, bound_ms());
	/* it was the page that it waited for, not us */
	if (v->kind != BY_GPU && v->kind != BY_MIGRATE)
		EXPECT_TRUE(!was_done && !d.done);
	EXPECT_RET(register_gpu(d.k.s.fd, d.k.gpu.uuid), -ESRCH);
	delay_supply(&d);
	ASSERT_TRUE(WAIT_FOR(d.done));
	pthread_join(d.thread, NULL);
	expect_delayed_result(&d);
	d.k.unreached = 0;
	if (v->kind != BY_GPU)
		expect_released(&d.k);
	EXPECT_PATTERN(d.k.buf, KIT_SIZE, 1);
	close(d.k.s.fd);
	EXPECT_TRUE(list_forgets(getpid()));
}

/* The supplier lives in another process, so its death doesn't end the waiting. */
TEST_V(delayed_exit, delayed_names)
{
	int talk[2], uffd, way, proof;
	struct delay d;
	pid_t pid;
	long from;

	gpu_need(0, 0, &d.k.gpu);
	close(uffd_new());
	for (way = 0; way < 2; way++) {
		link_new(talk);
		proof = proof_new();
		pid = child();
		if (!pid) {
			proof_map(proof, false);
			delay_start(&d, v->kind);
			ASSERT_RET(fd_send(talk[1], d.uffd), 0);
			if (way)
				_exit(0);
			for (;;)
				pause();
		}
		close(talk[1]);
		uffd = fd_receive(talk[0]);
		ASSERT_GE(uffd, 0);
		from = now_ms();
		if (!way)
			ASSERT_EQ(kill(pid, SIGKILL), 0);
		EXPECT_EQ(child_wait(pid), way ? 0 : 128 + SIGKILL);
		EXPECT_LT(now_ms() - from, bound_ms());
		close(uffd);
		EXPECT_TRUE(proof_gone(proof));
		EXPECT_TRUE(list_forgets(pid));
		close(talk[0]);
		close(proof);
	}
}

/* ---- a copy that hangs, until its engine is reset ---- */

static bool hang_copy(const struct uvm_gpu_info *gpu, const char *times)
{
	char path[200];

	snprintf(path, sizeof(path), "/sys/kernel/debug/uvm_sim/%s/hang_copy",
		 gpu->name);
	return write_text(path, times);
}

static long retainers(int fd)
{
	struct view view;

	return view_read(0, fd, &view) ? view.retainers : -1;
}

static void *migrate_all(void *arg)
{
	struct kit *k = arg;
	struct uvm_migrate m;
	int ret = migrate(k->s.fd, k->buf, KIT_SIZE, UVM_DEST_GPU, 0, k->gpu.uuid, &m);

	EXPECT_RET2(ret, 0, -ESRCH);
	return NULL;
}

/* With a migration under way that makes no progress */
static void hung_open(struct kit *k, pthread_t *thread)
{
	kit_open(k);
	if (!hang_copy(&k->gpu, "1"))
		SKIP("no knobs of the GPU");
	ASSERT_EQ(pthread_create(thread, NULL, migrate_all, k), 0);
	ASSERT_TRUE(WAIT_FOR(retainers(k->s.fd) > 0));
}

TEST(hung_copy_close)
{
	pthread_t thread;
	struct kit k;
	long from;

	hung_open(&k, &thread);
	from = now_ms();
	EXPECT_EQ(close(k.s.mm_fd), 0);
	EXPECT_LT(now_ms() - from, bound_ms());
	expect_released(&k);
	pthread_join(thread, NULL);
	EXPECT_TRUE(WAIT_FOR(retainers(k.s.fd) == 0));
	hang_copy(&k.gpu, "0");
	EXPECT_PATTERN(k.buf, KIT_SIZE, 1);
	close(k.s.fd);
	EXPECT_TRUE(list_forgets(getpid()));
}

TEST(hung_copy_exit)
{
	int way, proof, talk[2];
	struct uvm_gpu_info gpu;
	pthread_t thread;
	struct kit k;
	pid_t pid;
	long from;

	gpu_need(0, 0, &gpu);
	if (!hang_copy(&gpu, "0"))
		SKIP("no knobs of the GPU");
	for (way = 0; way < 2; way++) {
		link_new(talk);
		proof = proof_new();
		pid = child();
		if (!pid) {
			proof_map(proof, false);
			hung_open(&k, &thread);
			tell(talk[1], 'h');
			if (way)
				_exit(0);
			for (;;)
				pause();
		}
		ASSERT_EQ(hear(talk[0]), 'h');
		from = now_ms();
		if (!way)
			ASSERT_EQ(kill(pid, SIGKILL), 0);
		EXPECT_EQ(child_wait(pid), way ? 0 : 128 + SIGKILL);
		EXPECT_LT(now_ms() - from, bound_ms());
		EXPECT_TRUE(proof_gone(proof));
		EXPECT_TRUE(list_forgets(pid));
		hang_copy(&gpu, "0");
		compute_anew();
		close(proof);
	}
}

/* ---- what every command answers after the release ---- */

struct late {
	struct kit k;
	int spare;		/* a fresh file */
	uint32_t group;		/* has the buffer */
};

static int late_info(struct late *l)
{
	struct uvm_info info = { .size = sizeof(info) };

	return uvm_ioctl(l->k.s.fd, UVM_INFO, &info);
}

static int late_init(struct late *l)
{
	return init_va(l->k.s.fd, 0);
}

static int late_mm_init(struct late *l)
{
	return init_mm(l->spare, l->k.s.fd);
}

static int late_enum(struct late *l)
{
	struct uvm_gpu_info gpus[MAX_GPUS];
	struct uvm_enum_gpus e = {
		.size = sizeof(e), .gpus = ADDR(gpus), .count = MAX_GPUS,
		.entry_size = sizeof(gpus[0]),
	};
	int ret = uvm_ioctl(l->k.s.fd, UVM_ENUM_GPUS, &e);

	EXPECT_GE(e.out_count, 1);
	return ret;
}

static int late_register(struct late *l)
{
	return register_gpu(l->k.s.fd, l->k.gpu.uuid);
}

/* Is the page on the GPU? Another VA space can say so, too. */
static bool on_gpu(const volatile void *p)
{
	struct uvm_page_state st;
	struct space s;

	ASSERT_RET(space_open(&s), 0);
	ASSERT_RET(residency(s.fd, (const void *)p, PAGE, &st), 0);
	space_close(&s);
	return st.where == UVM_WHERE_GPU;
}

/*
 * The process lives, so its pages come home. One more is the counter's, if atomics
 * can't be had where it was.
 */
static int late_unregister(struct late *l)
{
	bool counter = on_gpu(l->k.counter);
	uint64_t moved = 0, left = 1;
	int ret = unregister_gpu_pages(l->k.s.fd, l->k.gpu.uuid, &moved, &left);

	EXPECT_EQ(moved, KIT_PAGES / 2 + counter);
	EXPECT_EQ(left, 0);
	EXPECT_RET(unregister_gpu(l->k.s.fd, l->k.gpu.uuid), -ENOENT);
	EXPECT_RET(register_gpu(l->k.s.fd, l->k.gpu.uuid), -ESRCH);
	return ret;
}

static int late_create(struct late *l)
{
	uint32_t channel;

	return channel_create(l->k.s.fd, l->k.gpu.uuid, &channel);
}

static int late_submit(struct late *l)
{
	struct uvm_sim_cmd nop = CMD(NOP);

	return channel_submit(l->k.s.fd, l->k.channel, &nop, 1, NULL);
}

static int late_query(struct late *l)
{
	struct uvm_channel_query q;
	int ret = channel_query(l->k.s.fd, l->k.channel, &q);

	EXPECT_EQ(q.out_state, UVM_CHANNEL_STOPPED);
	EXPECT_EQ(q.out_reason, UVM_FAULT_NONE);
	EXPECT_EQ(q.out_submitted, l->k.unreached);
	EXPECT_EQ(q.out_completed, l->k.reached);
	return ret;
}

static int late_destroy(struct late *l)
{
	int ret = channel_destroy(l->k.s.fd, l->k.channel);

	EXPECT_RET(channel_destroy(l->k.s.fd, l->k.channel), -ENOENT);
	return ret;
}

static int late_wait(struct late *l)
{
	uint64_t completed = ~0ULL;

	EXPECT_RET(channel_wait(l->k.s.fd, l->k.channel, l->k.unreached,
				UVM_WAIT_FOREVER, &completed), -ECANCELED);
	EXPECT_EQ(completed, l->k.reached);
	return channel_wait(l->k.s.fd, l->k.channel, l->k.reached, 0, NULL);
}

static int late_migrate(struct late *l)
{
	struct uvm_migrate m;

	EXPECT_RET(migrate(l->k.s.fd, l->k.buf, KIT_SIZE, UVM_DEST_CPU, 0, NULL, &m),
		   -ESRCH);
	return migrate(l->k.s.fd, l->k.buf, KIT_SIZE, UVM_DEST_GPU, 0, l->k.gpu.uuid,
		       &m);
}

static int late_residency(struct late *l)
{
	struct uvm_page_state st[KIT_PAGES];

	return residency(l->k.s.fd, l->k.buf, KIT_SIZE, st);
}

static int late_processors(struct late *l)
{
	int n = processors_count(l->k.s.fd);

	EXPECT_EQ(n, 2);
	return n < 0 ? n : 0;
}

static int late_prefer(struct late *l)
{
	EXPECT_RET(policy_prefer(l->k.s.fd, l->k.buf, KIT_SIZE, UVM_DEST_NONE, 0, NULL),
		   -ESRCH);
	return policy_prefer(l->k.s.fd, l->k.buf, KIT_SIZE, UVM_DEST_GPU, 0,
			     l->k.gpu.uuid);
}

static int late_accessed_by(struct late *l)
{
	EXPECT_RET(policy_accessed_by(l->k.s.fd, l->k.buf, KIT_SIZE, NULL, 1), -ESRCH);
	return policy_accessed_by(l->k.s.fd, l->k.buf, KIT_SIZE, l->k.gpu.uuid, 0);
}

static int late_fault_migration(struct late *l)
{
	return policy_switch(l->k.s.fd, UVM_SET_FAULT_MIGRATION, l->k.buf, KIT_SIZE, 0);
}

static int late_prefetch(struct late *l)
{
	return policy_switch(l->k.s.fd, UVM_SET_PREFETCH, l->k.buf, KIT_SIZE, 0);
}

static int late_read_mostly(struct late *l)
{
	return policy_switch(l->k.s.fd, UVM_SET_READ_MOSTLY, l->k.buf, KIT_SIZE, 1);
}

static int late_create_group(struct late *l)
{
	uint32_t group;

	return group_create(l->k.s.fd, &group);
}

static int late_destroy_group(struct late *l)
{
	int ret = group_destroy(l->k.s.fd, l->group);

	EXPECT_RET(group_destroy(l->k.s.fd, l->group), -ENOENT);
	return ret;
}

static int late_set_group(struct late *l)
{
	EXPECT_RET(policy_group(l->k.s.fd, l->k.buf, KIT_SIZE, 0), -ESRCH);
	return policy_group(l->k.s.fd, l->k.buf, KIT_SIZE, l->group);
}

static int late_allow(struct late *l)
{
	EXPECT_RET(group_allow(l->k.s.fd, l->group, 1), -ESRCH);
	return group_allow(l->k.s.fd, l->group, 0);
}

static int late_policy(struct late *l)
{
	struct policy policy;

	return policy_query(l->k.s.fd, l->k.buf, &policy);
}

static int late_counters(struct late *l)
{
	EXPECT_RET(access_counters(l->k.s.fd, l->k.gpu.uuid, 0), -ESRCH);
	return access_counters(l->k.s.fd, l->k.gpu.uuid, 1);
}

static int late_memory(struct late *l)
{
	struct uvm_query_memory q;

	return memory_query(l->k.s.fd, l->k.gpu.uuid, &q);
}

static int late_limit(struct late *l)
{
	EXPECT_RET(memory_limit(l->k.s.fd, l->k.gpu.uuid, 0, 0), -ESRCH);
	return memory_limit(l->k.s.fd, l->k.gpu.uuid, PAGE, PAGE);
}

static int late_event(struct late *l)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), ret;

	EXPECT_RET(memory_event(l->k.s.fd, l->k.gpu.uuid, -1, 0), -ESRCH);
	ret = memory_event(l->k.s.fd, l->k.gpu.uuid, fd, PAGE);
	close(fd);
	return ret;
}

static int late_discard(struct late *l)
{
	struct uvm_discard d;

	EXPECT_RET(discard(l->k.s.fd, l->k.buf, PAGE, UVM_DISCARD_EAGER, &d), -ESRCH);
	return discard(l->k.s.fd, l->k.buf, PAGE, 0, &d);
}

static int late_range(struct late *l)
{
	struct range_answer range;

	return range_query(l->k.s.fd, l->k.buf, &range);
}

static const struct {
	int (*call)(struct late *l);
	int want;
} lates[] = {
	{ late_info, 0 }, { late_init, -EBADFD }, { late_mm_init, -EBADFD },
	{ late_enum, 0 }, { late_register, -ESRCH }, { late_unregister, 0 },
	{ late_create, -ESRCH }, { late_submit, -ESRCH }, { late_query, 0 },
	{ late_destroy, 0 }, { late_wait, 0 }, { late_migrate, -ESRCH },
	{ late_residency, -ESRCH }, { late_processors, 0 },
	{ late_prefer, -ESRCH }, { late_accessed_by, -ESRCH },
	{ late_fault_migration, -ESRCH }, { late_prefetch, -ESRCH },
	{ late_read_mostly, -ESRCH }, { late_create_group, -ESRCH },
	{ late_destroy_group, 0 }, { late_set_group, -ESRCH },
	{ late_allow, -ESRCH }, { late_policy, -ESRCH }, { late_counters, -ESRCH },
	{ late_memory, -ESRCH }, { late_limit, -ESRCH }, { late_event, -ESRCH },
	{ late_discard, -ESRCH }, { late_range, -ESRCH },
};

/* In the order of the numbers of the commands; .kind indexes lates[] */
static const struct variant late_names[NR(lates) + 1] = {
	{ "INFO", 0, 0 }, { "INIT", 1, 0 }, { "MM_INIT", 2, 0 },
	{ "ENUM_GPUS", 3, 0 }, { "REGISTER_GPU", 4, 0 },
	{ "UNREGISTER_GPU", 5, 0 }, { "CHANNEL_CREATE", 6, 0 },
	{ "CHANNEL_SUBMIT", 7, 0 }, { "CHANNEL_QUERY", 8, 0 },
	{ "CHANNEL_DESTROY", 9, 0 }, { "WAIT", 10, 0 }, { "MIGRATE", 11, 0 },
	{ "QUERY_RESIDENCY", 12, 0 }, { "QUERY_PROCESSORS", 13, 0 },
	{ "SET_PREFERRED_LOCATION", 14, 0 }, { "SET_ACCESSED_BY", 15, 0 },
	{ "SET_FAULT_MIGRATION", 16, 0 }, { "SET_PREFETCH", 17, 0 },
	{ "SET_READ_MOSTLY", 18, 0 }, { "CREATE_RANGE_GROUP", 19, 0 },
	{ "DESTROY_RANGE_GROUP", 20, 0 }, { "SET_RANGE_GROUP", 21, 0 },
	{ "ALLOW_MIGRATION", 22, 0 }, { "QUERY_POLICY", 23, 0 },
	{ "SET_ACCESS_COUNTERS", 24, 0 }, { "QUERY_MEMORY", 25, 0 },
	{ "SET_MEMORY_LIMIT", 26, 0 }, { "SET_MEMORY_EVENT", 27, 0 },
	{ "DISCARD", 28, 0 }, { "QUERY_RANGE", 29, 0 }, { NULL, 0, 0 },
};
_Static_assert(NR(lates) == UVM_CMD_QUERY_RANGE - UVM_CMD_BASE + 1,
	       "a command is missing from the table, or it isn't the last one");

TEST_V(after_release, late_names)
{
	struct late l;

	kit_open(&l.k);
	kit_endless(&l.k);
	l.spare = fresh();
	ASSERT_RET(group_create(l.k.s.fd, &l.group), 0);
	ASSERT_RET(policy_group(l.k.s.fd, l.k.buf, KIT_SIZE, l.group), 0);
	ASSERT_RET(policy_accessed_by(l.k.s.fd, l.k.buf, KIT_SIZE, l.k.gpu.uuid, 1), 0);
	EXPECT_EQ(close(l.k.s.mm_fd), 0);
	EXPECT_RET(lates[v->kind].call(&l), lates[v->kind].want);
	/* it spoilt nothing */
	if (v->kind != UVM_CMD_CHANNEL_DESTROY - UVM_CMD_BASE &&
	    v->kind != UVM_CMD_UNREGISTER_GPU - UVM_CMD_BASE)
		expect_released(&l.k);
	EXPECT_RET(init_va(l.spare, 0), 0);
	EXPECT_PATTERN(l.k.buf, KIT_SIZE, 1);
	EXPECT_EQ(close(l.k.s.fd), 0);
	EXPECT_PATTERN(l.k.buf, KIT_SIZE, 1);
}

/* Pages on a GPU outlive the VA space, both files and a second one's life. */
TEST(pages_after_release)
{
	struct kit k, other;
	struct uvm_page_state st[KIT_PAGES];
	int i;

	kit_open(&k);
	EXPECT_EQ(close(k.s.mm_fd), 0);
	EXPECT_EQ(close(k.s.fd), 0);
	kit_open(&other);
	ASSERT_RET(residency(other.s.fd, k.buf, KIT_SIZE, st), 0);
	for (i = 0; i < KIT_PAGES; i++)
		EXPECT_EQ(st[i].where, i < KIT_PAGES / 2 ? UVM_WHERE_GPU :
							   UVM_WHERE_CPU);
	space_close(&other.s);
	EXPECT_PATTERN(k.buf, KIT_SIZE, 1);
	EXPECT_PATTERN(other.buf, KIT_SIZE, 1);
}

/* ---- the steps, in order, and once ---- */

static const char * const steps[] = {
	"refuse", "stop", "detach", "flush", "unset", "deferred", "released", "free",
	"drain", "mmput", "put",
};

/* @want: how many of steps[] there have been */
static void expect_steps(pid_t pid, unsigned int want)
{
	struct trace trace;
	unsigned int i;

	trace_read(pid, &trace);
	EXPECT_EQ(trace.nr, want);
	for (i = 0; i < want && i < (unsigned int)trace.nr; i++)
		harness_check(!strcmp(trace.step[i], steps[i]), false, __FILE__,
			      __LINE__, "step %u: wanted %s, saw %s", i, steps[i],
			      trace.step[i]);
}

static int steps_seen(pid_t pid)
{
	struct trace trace;

	trace_read(pid, &trace);
	return trace.nr;
}

enum tracing { TRACE_CLOSE, TRACE_EXIT, TRACE_KILL, TRACE_EXEC, TRACE_EXEC_KEEP,
	       TRACE_HELD };

static const struct variant tracings[] = {
	{ "close", TRACE_CLOSE, 0 }, { "exit", TRACE_EXIT, 0 },
	{ "kill", TRACE_KILL, 0 }, { "exec", TRACE_EXEC, 0 },
	{ "exec_keep", TRACE_EXEC_KEEP, 0 }, { "held", TRACE_HELD, 0 },
	{ NULL, 0, 0 },
};

static const int traced_ways[] = {
	[TRACE_CLOSE] = 0, [TRACE_EXIT] = 7, [TRACE_KILL] = 8, [TRACE_EXEC] = 10,
	[TRACE_EXEC_KEEP] = 11, [TRACE_HELD] = 0,
};

/* While somebody holds the mm file, it keeps the VA space's. */
TEST_V(steps, tracings)
{
	struct play *p = anon(sizeof(*p), PROT_READ | PROT_WRITE, 0);
	struct uvm_gpu_info gpu;

	gpu_need(0, 0, &gpu);
	trace_start();
	p->way = &ways[traced_ways[v->kind]];
	p->holder = v->kind == TRACE_HELD ? STRANGER : NOBODY;
	p->busy = true;
	play_open(p);
	expect_steps(p->owner, 0);
	play_end(p);
	EXPECT_TRUE(proof_gone(p->proof));
	if (p->holder == STRANGER) {
		expect_steps(p->owner, NR(steps) - 1);
		close(p->va);
		expect_steps(p->owner, NR(steps) - 1);
		close(p->mm);
	}
	WAIT_FOR(steps_seen(p->owner) >= (int)NR(steps));
	expect_steps(p->owner, NR(steps));
	play_close(p);
	expect_steps(p->owner, NR(steps));
	trace_stop();
}

/* Several descriptors are closed, by threads and by exit, and a child's too. */
static void close_storm(struct kit *k)
{
	pthread_barrier_t start;
	struct closer c[4];
	pthread_t thread;
	int i;

	pthread_barrier_init(&start, NULL, NR(c) + 1);
	for (i = 0; i < (int)NR(c); i++) {
		c[i].start = &start;
		c[i].fd = i ? dup(k->s.mm_fd) : k->s.mm_fd;
		ASSERT_GE(c[i].fd, 0);
	}
	for (i = 0; i < (int)NR(c); i++)
		ASSERT_EQ(pthread_create(&thread, NULL, close_it, &c[i]), 0);
	if (!fork())
		_exit(0);
	pthread_barrier_wait(&start);
	_exit(0);
}

TEST(steps_once)
{
	unsigned int i, rounds = harness_rounds(10);
	struct uvm_gpu_info gpu;
	struct kit k;
	pid_t pid;

	gpu_need(0, 0, &gpu);
	/* children of the owner that it leaves behind come here */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	trace_start();
	for (i = 0; i < rounds; i++) {
		pid = child();
		if (!pid) {
			kit_open(&k);
			kit_endless(&k);
			close_storm(&k);
		}
		EXPECT_EQ(child_wait(pid), 0);
		while (waitpid(-1, NULL, 0) > 0)
			;
		EXPECT_TRUE(list_forgets(pid));
		WAIT_FOR(steps_seen(pid) >= (int)NR(steps));
		expect_steps(pid, NR(steps));
	}
	trace_stop();
}

/* ---- fdinfo and the list ---- */

static void expect_view(pid_t pid, int fd, const char *file, const char *state,
			pid_t owner, long channels, int gpus)
{
	struct view view;

	ASSERT_TRUE(view_read(pid, fd, &view));
	EXPECT_TRUE(!view.wrong);
	harness_check(!strcmp(view.file, file) && !strcmp(view.state, state), false,
		      __FILE__, __LINE__, "wanted %s %s, saw %s %s", file, state,
		      view.file, view.state);
	EXPECT_EQ(view.pid, owner);
	EXPECT_EQ(view.channels, channels);
	EXPECT_EQ(view.retainers, owner < 0 ? -1 : 0);
	EXPECT_EQ(view.policies, owner < 0 ? -1 : 0);
	EXPECT_EQ(view.gpus, gpus);
}

static void expect_line(const char *state, long channels, long gpus)
{
	struct listed line;

	EXPECT_EQ(list_count(getpid(), &line), 1);
	EXPECT_EQ(strcmp(line.state, state), 0);
	EXPECT_EQ(line.retainers, 0);
	EXPECT_EQ(line.channels, channels);
	EXPECT_EQ(line.gpus, gpus);
}

/* Both files and the list, through the VA space's life */
TEST(views)
{
	int va = fresh(), mm = fresh();
	struct uvm_gpu_info gpu;
	uint32_t channel[2];
	pid_t me = getpid();

	gpu_need(0, 0, &gpu);
	if (access("/sys/kernel/debug/uvm_sim", R_OK))
		SKIP("no debugfs");
	EXPECT_TRUE(WAIT_FOR(list_count(0, NULL) == 0));
	expect_view(0, va, "fresh", "", -1, -1, 0);
	ASSERT_RET(init_va(va, 0), 0);
	expect_view(0, va, "va-space", "uninitialized", me, 0, 0);
	expect_view(0, mm, "fresh", "", -1, -1, 0);
	expect_line("uninitialized", 0, 0);
	ASSERT_RET(init_mm(mm, va), 0);
	expect_view(0, va, "va-space", "alive", me, 0, 0);
	expect_view(0, mm, "mm", "alive", me, 0, 0);
	ASSERT_RET(register_gpu(va, gpu.uuid), 0);
	ASSERT_RET(channel_create(va, gpu.uuid, &channel[0]), 0);
	ASSERT_RET(channel_create(va, gpu.uuid, &channel[1]), 0);
	expect_view(0, va, "va-space", "alive", me, 2, 1);
	expect_view(0, mm, "mm", "alive", me, 2, 1);
	expect_line("alive", 2, 1);
	ASSERT_RET(channel_destroy(va, channel[0]), 0);
	expect_line("alive", 1, 1);
	ASSERT_RET(unregister_gpu(va, gpu.uuid), 0);
	expect_view(0, mm, "mm", "alive", me, 0, 0);
	expect_line("alive", 0, 0);
	close(mm);
	expect_view(0, va, "va-space", "released", me, 0, 0);
	expect_line("released", 0, 0);
	close(va);
	EXPECT_TRUE(list_forgets(me));
	EXPECT_EQ(list_count(0, NULL), 0);
}

static long long resident(int fd, const struct uvm_gpu_info *gpu)
{
	struct view view;
	char text[40];

	ASSERT_TRUE(view_read(0, fd, &view));
	ASSERT_EQ(view.gpus, 1);
	EXPECT_EQ(view.gpu[0].id, gpu->id);
	uuid_text(gpu->uuid, text);
	EXPECT_EQ(strcmp(view.gpu[0].uuid, text), 0);
	return view.gpu[0].resident;
}

/* What of the process is on the GPU, and on which one */
TEST(view_resident)
{
	struct uvm_migrate m;
	struct kit k;

	kit_open(&k);
	EXPECT_EQ(resident(k.s.fd, &k.gpu), KIT_SIZE / 2);
	EXPECT_EQ(resident(k.s.mm_fd, &k.gpu), KIT_SIZE / 2);
	ASSERT_RET(migrate(k.s.fd, k.buf, KIT_SIZE, UVM_DEST_GPU, 0, k.gpu.uuid, &m), 0);
	EXPECT_EQ(resident(k.s.fd, &k.gpu), KIT_SIZE);
	ASSERT_RET(migrate(k.s.fd, k.buf, PAGE, UVM_DEST_CPU, 0, NULL, &m), 0);
	EXPECT_EQ(resident(k.s.fd, &k.gpu), KIT_SIZE - PAGE);
	munmap(k.buf, KIT_SIZE / 2);
	EXPECT_TRUE(WAIT_FOR(resident(k.s.fd, &k.gpu) == KIT_SIZE / 2));
	close(k.s.mm_fd);
	EXPECT_EQ(resident(k.s.fd, &k.gpu), -1);
	close(k.s.fd);
}

static long policies(int fd)
{
	struct view view;

	ASSERT_TRUE(view_read(0, fd, &view));
	EXPECT_TRUE(!view.wrong);
	return view.policies;
}

/* Ranges that split are two, and one when they have merged again. */
TEST(view_policies)
{
	char *p = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	struct space s;

	ASSERT_RET(space_open(&s), 0);
	EXPECT_EQ(policies(s.fd), 0);
	ASSERT_RET(policy_switch(s.fd, UVM_SET_PREFETCH, p, 6 * PAGE, 0), 0);
	EXPECT_EQ(policies(s.fd), 1);
	ASSERT_RET(policy_accessed_by(s.fd, p + 2 * PAGE, 2 * PAGE, NULL, 1), 0);
	EXPECT_EQ(policies(s.fd), 3);
	EXPECT_EQ(policies(s.mm_fd), 3);
	ASSERT_RET(policy_accessed_by(s.fd, p, 8 * PAGE, NULL, 0), 0);
	EXPECT_EQ(policies(s.fd), 1);
	ASSERT_RET(munmap(p + PAGE, PAGE), 0);
	EXPECT_EQ(policies(s.fd), 2);
	ASSERT_RET(policy_switch(s.fd, UVM_SET_PREFETCH, p + 2 * PAGE, 4 * PAGE, 1), 0);
	EXPECT_EQ(policies(s.fd), 1);
	ASSERT_RET(munmap(p, 8 * PAGE), 0);
	EXPECT_EQ(policies(s.fd), 0);
	space_close(&s);
}

/* What the VA space's only GPU counts; what a debugfs that is there says isn't less. */
static void counters(struct kit *k, long long counter[VIEW_COUNTERS])
{
	long long all[NR_COUNTERS];
	struct view view;
	int i;

	ASSERT_TRUE(view_read(0, k->s.fd, &view));
	EXPECT_TRUE(!view.wrong);
	ASSERT_EQ(view.gpus, 1);
	memcpy(counter, view.gpu[0].counter, sizeof(view.gpu[0].counter));
	for (i = 0; i < VIEW_COUNTERS; i++)
		EXPECT_GE(counter[i], 0);
	if (!list_present())
		return;
	ASSERT_TRUE(gpu_counters(&k->gpu, all));
	for (i = 0; i < VIEW_COUNTERS; i++)
		EXPECT_GE(all[i], counter[i]);
}

static void gpu_writes(struct kit *k, char *p, int want)
{
	struct uvm_sim_cmd fill = CMD(FILL, .dst = ADDR(p), .length = 8, .arg0 = 1);

	EXPECT_RET(channel_run(k->s.fd, k->channel, &fill, 1), want);
}

/* Each fault is counted: that moves a page, that doesn't, and that can't be served. */
TEST(view_counters)
{
	long long was[VIEW_COUNTERS], now[VIEW_COUNTERS];
	char *p = anon(5 * HUGE, PROT_READ | PROT_WRITE, 0), *far;
	struct kit k;
	int i;

	madvise(p, 5 * HUGE, MADV_NOHUGEPAGE);
	/* whole blocks, and no neighbours, which would be a stream */
	p += -ADDR(p) % HUGE;
	far = p + 3 * HUGE;
	memset(p, 2, PAGE * 16);
	memset(far, 2, PAGE * 16);
	kit_bare(&k);
	counters(&k, was);
	for (i = 0; i < VIEW_COUNTERS; i++)
		EXPECT_EQ(was[i], 0);

	gpu_writes(&k, p, 0);
	counters(&k, now);
	EXPECT_GE(now[BATCHES], 1);
	EXPECT_GE(now[FAULTS], now[BATCHES]);
	EXPECT_EQ(now[MOVED], 1);
	EXPECT_GE(now[PREFETCHED], 1);
	EXPECT_GE(now[REPLAYS], 1);
	EXPECT_EQ(now[CANCELS], 0);

	/* where pages stay */
	ASSERT_RET(policy_switch(k.s.fd, UVM_SET_FAULT_MIGRATION, far, HUGE, 0), 0);
	counters(&k, was);
	gpu_writes(&k, far, 0);
	counters(&k, now);
	EXPECT_GT(now[FAULTS], was[FAULTS]);
	EXPECT_EQ(now[MOVED], was[MOVED]);
	EXPECT_EQ(now[PREFETCHED], was[PREFETCHED]);

	gpu_writes(&k, (char *)8, -ECANCELED);
	counters(&k, now);
	EXPECT_GE(now[CANCELS], 1);
	EXPECT_EQ(p[0], 1);
	EXPECT_EQ(far[0], 1);
	close(k.s.mm_fd);
	/* they tell of the past */
	counters(&k, was);
	EXPECT_EQ(was[MOVED], now[MOVED]);
	EXPECT_EQ(was[CANCELS], now[CANCELS]);
	close(k.s.fd);
}

/* What the CPU brings home, by touching it */
TEST(gpu_counters)
{
	long long was[NR_COUNTERS], now[NR_COUNTERS];
	struct kit k;

	if (!list_present())
		SKIP("no debugfs");
	kit_open(&k);
	ASSERT_TRUE(gpu_counters(&k.gpu, was));
	EXPECT_EQ(*(volatile char *)k.buf, *k.buf);
	ASSERT_TRUE(gpu_counters(&k.gpu, now));
	if (k.gpu.memory_kind == UVM_MEMORY_PRIVATE) {
		EXPECT_GE(now[CPU_FAULTS], was[CPU_FAULTS] + 1);
		EXPECT_GE(now[CPU_MOVED], was[CPU_MOVED] + 1);
	} else {
		EXPECT_EQ(now[CPU_FAULTS], was[CPU_FAULTS]);
		EXPECT_EQ(now[CPU_MOVED], was[CPU_MOVED]);
	}
	close(k.s.mm_fd);
	close(k.s.fd);
}

/* Everybody's descriptor of it says the same: it is about the owner. */
TEST(views_elsewhere)
{
	pid_t me = getpid(), pid;
	int talk[2];
	struct kit k;

	kit_bare(&k);
	link_new(talk);
	pid = child();
	if (!pid) {
		expect_view(0, k.s.fd, "va-space", "alive", me, 1, 1);
		expect_view(0, k.s.mm_fd, "mm", "alive", me, 1, 1);
		tell(talk[1], 'a');
		ASSERT_EQ(hear(talk[1]), 'r');
		expect_view(0, k.s.fd, "va-space", "released", me, 1, 1);
		expect_view(0, k.s.mm_fd, "mm", "released", me, 1, 1);
		tell(talk[1], 'd');
		ASSERT_EQ(hear(talk[1]), 'e');
		child_exit();
	}
	ASSERT_EQ(hear(talk[0]), 'a');
	/* and from outside, as top-like tools read it */
	expect_view(pid, k.s.fd, "va-space", "alive", me, 1, 1);
	EXPECT_EQ(close(k.s.mm_fd), 0);
	tell(talk[0], 'r');
	ASSERT_EQ(hear(talk[0]), 'd');
	expect_view(pid, k.s.mm_fd, "mm", "released", me, 1, 1);
	EXPECT_EQ(close(k.s.fd), 0);
	expect_view(pid, k.s.fd, "va-space", "released", me, 1, 1);
	tell(talk[0], 'e');
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_TRUE(list_forgets(me));
}

static int rank(const char *state)
{
	static const char * const order[] = { "alive", "releasing", "released" };
	int i;

	for (i = 0; i < (int)NR(order); i++)
		if (!strcmp(state, order[i]))
			return i;
	return -1;
}

/* Whoever watches a release sees it go one way. */
static void *watch(void *arg)
{
	struct kit *k = arg;
	struct view view;
	int was = 0, is;

	do {
		if (!view_read(0, k->s.fd, &view))
			break;
		is = rank(view.state);
		EXPECT_GE(is, was);
		was = is;
	} while (is >= 0 && is < 2);
	EXPECT_EQ(was, 2);
	return NULL;
}

TEST(views_one_way)
{
	unsigned int i, rounds = harness_rounds(10);
	pthread_t thread;
	struct kit k;

	for (i = 0; i < rounds; i++) {
		kit_open(&k);
		kit_endless(&k);
		ASSERT_EQ(pthread_create(&thread, NULL, watch, &k), 0);
		EXPECT_EQ(close(k.s.mm_fd), 0);
		pthread_join(thread, NULL);
		close(k.s.fd);
		munmap(k.buf, KIT_SIZE);
		munmap((void *)k.counter, PAGE);
	}
}

/* ---- the close against everything else ---- */

struct racer {
	pthread_barrier_t start;
	struct kit k;
	int copy;		/* of the mm file's descriptor */
	char *late;		/* memory that nobody has touched */
	uint64_t delay;
};

/* Returns 0 if the answer is one of those that fit. */
static int fits(int ret, int or)
{
	return ret == 0 || ret == -ESRCH || ret == or ? 0 : ret;
}

static int race_register(struct racer *r)
{
	return fits(register_gpu(r->k.s.fd, r->k.gpu.uuid), 0);
}

static int race_unregister(struct racer *r)
{
	return unregister_gpu(r->k.s.fd, r->k.gpu.uuid);
}

static int race_create(struct racer *r)
{
	uint32_t channel;

	return fits(channel_create(r->k.s.fd, r->k.gpu.uuid, &channel), 0);
}

static int race_destroy(struct racer *r)
{
	return channel_destroy(r->k.s.fd, r->k.channel);
}

static int race_submit(struct racer *r)
{
	struct uvm_sim_cmd nop = CMD(NOP);

	return fits(channel_run(r->k.s.fd, r->k.channel, &nop, 1), -ECANCELED);
}

static int race_fault(struct racer *r)
{
	struct uvm_sim_cmd touch = CMD(TOUCH, .dst = ADDR(r->late), .length = HUGE,
				       .arg0 = PAGE, .arg1 = 1);

	return fits(channel_run(r->k.s.fd, r->k.channel, &touch, 1), -ECANCELED);
}

static int race_to_gpu(struct racer *r)
{
	struct uvm_migrate m;

	return fits(migrate(r->k.s.fd, r->k.buf, KIT_SIZE, UVM_DEST_GPU, 0,
			    r->k.gpu.uuid, &m), 0);
}

static int race_to_cpu(struct racer *r)
{
	struct uvm_migrate m;

	return fits(migrate(r->k.s.fd, r->k.buf, KIT_SIZE, UVM_DEST_CPU, 0, NULL, &m),
		    0);
}

static int race_residency(struct racer *r)
{
	struct uvm_page_state st[KIT_PAGES];

	return fits(residency(r->k.s.fd, r->k.buf, KIT_SIZE, st), -EBUSY);
}

static int race_touch(struct racer *r)
{
	return pattern_check(r->k.buf, KIT_SIZE, 1) == -1 ? 0 : 1;
}

static int race_unmap(struct racer *r)
{
	return madvise(r->late, HUGE, MADV_DONTNEED);
}

static int race_close(struct racer *r)
{
	return close(r->copy);
}

static int race_fork(struct racer *r)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid < 0 ? pid : child_wait(pid);
}

static int race_look(struct racer *r)
{
	struct view view;

	if (!view_read(0, r->k.s.fd, &view) || view.wrong)
		return 1;
	return list_present() && list_count(getpid(), NULL) != 1;
}

static int (* const races[])(struct racer *r) = {
	race_register, race_unregister, race_create, race_destroy, race_submit,
	race_fault, race_to_gpu, race_to_cpu, race_residency, race_touch, race_unmap,
	race_close, race_fork, race_look,
};

static const struct variant race_names[NR(races) + 1] = {
	{ "register", 0, 0 }, { "unregister", 1, 0 }, { "channel_create", 2, 0 },
	{ "channel_destroy", 3, 0 }, { "submit", 4, 0 }, { "fault", 5, 0 },
	{ "to_gpu", 6, 0 }, { "to_cpu", 7, 0 }, { "residency", 8, 0 },
	{ "touch", 9, 0 }, { "unmap", 10, 0 }, { "close", 11, 0 }, { "fork", 12, 0 },
	{ "fdinfo", 13, 0 }, { NULL, 0, 0 },
};

static void *race_closer(void *arg)
{
	struct racer *r = arg;

	pthread_barrier_wait(&r->start);
	spin(r->delay);
	EXPECT_EQ(close(r->k.s.mm_fd), 0);
	return NULL;
}

static void race_unmap_all(struct racer *r)
{
	munmap(r->k.buf, KIT_SIZE);
	munmap(r->late, HUGE);
}

static void race_once(int race, struct racer *r, uint64_t *rng)
{
	bool no_channel = races[race] == race_register ||
			  races[race] == race_unregister ||
			  races[race] == race_destroy;
	struct uvm_channel_query q;
	struct view view;
	pthread_t thread;
	int ret;

	kit_open(&r->k);
	if (races[race] == race_register)
		ASSERT_RET(unregister_gpu(r->k.s.fd, r->k.gpu.uuid), 0);
	r->copy = dup(r->k.s.mm_fd);
	ASSERT_GE(r->copy, 0);
	r->late = kit_memory(&r->k, HUGE);
	/* a fault for each page */
	ASSERT_RET(policy_switch(r->k.s.fd, UVM_SET_PREFETCH, r->late, HUGE, 0), 0);
	r->delay = harness_random(rng) % 20000;
	pthread_barrier_init(&r->start, NULL, 2);
	ASSERT_EQ(pthread_create(&thread, NULL, race_closer, r), 0);
	pthread_barrier_wait(&r->start);
	spin(harness_random(rng) % 20000);
	EXPECT_RET(races[race](r), 0);
	pthread_join(thread, NULL);

	/* whoever was first, this is the end of it */
	EXPECT_RET(register_gpu(r->k.s.fd, r->k.gpu.uuid), -ESRCH);
	ret = channel_query(r->k.s.fd, r->k.channel, &q);
	EXPECT_RET(ret, no_channel ? -ENOENT : 0);
	if (!ret)
		EXPECT_EQ(q.out_state, UVM_CHANNEL_STOPPED);
	ASSERT_TRUE(view_read(0, r->k.s.fd, &view));
	EXPECT_EQ(strcmp(view.state, "released"), 0);
	EXPECT_PATTERN(r->k.buf, KIT_SIZE, 1);
	if (races[race] != race_close)
		close(r->copy);
	close(r->k.s.fd);
	/* a mapping of it keeps a file */
	if (managed_kits)
		race_unmap_all(r);
	EXPECT_TRUE(list_forgets(getpid()));
	if (!managed_kits)
		race_unmap_all(r);
}

static void race_rounds(int race, unsigned int rounds)
{
	uint64_t rng = harness_seed + race;
	struct racer r;

	while (rounds--)
		race_once(race, &r, &rng);
}

TEST_VT(race, race_names, 60)
{
	race_rounds(v->kind, harness_rounds(20));
}

TEST_VT(race_widened, race_names, 60)
{
	delays_need();
	race_rounds(v->kind, harness_rounds(6));
	delays_off();
}

TEST_VT(race_managed_widened, race_names, 60)
{
	managed_gpus_need();
	managed_kits = true;
	delays_need();
	race_rounds(v->kind, harness_rounds(2));
	delays_off();
}

TEST_VT(killed_widened, phase_names, 60)
{
	delays_need();
	kill_rounds(v->kind, harness_rounds(2));
	delays_off();
}

TEST_VT(killed_managed_widened, phase_names, 60)
{
	managed_gpus_need();
	managed_kits = true;
	delays_need();
	kill_rounds(v->kind, harness_rounds(1));
	delays_off();
}

/*
 * A fault is about to write its GPU entries when the GPU space goes: that has to wait,
 * or the entries are written to page tables that are gone.
 */
static void late_fault(bool unregister)
{
	struct uvm_sim_cmd touch = CMD(TOUCH, .length = PAGE, .arg0 = PAGE, .arg1 = 1);
	uint64_t point;
	struct kit k;
	char *page;

	kit_bare(&k);
	page = kit_memory(&k, PAGE);
	touch.dst = ADDR(page);
	ASSERT_RET(channel_submit(k.s.fd, k.channel, &touch, 1, &point), 0);
	ASSERT_TRUE(WAIT_FOR(retainers(k.s.fd) == 1));
	if (unregister)
		EXPECT_RET(unregister_gpu(k.s.fd, k.gpu.uuid), 0);
	else
		EXPECT_EQ(close(k.s.mm_fd), 0);
	EXPECT_TRUE(WAIT_FOR(retainers(k.s.fd) == 0));
	if (unregister)
		close(k.s.mm_fd);
	close(k.s.fd);
	munmap(page, PAGE);
}

static const struct variant late_fault_names[] = {
	{ "unregister", 1, 0 }, { "close", 0, 0 }, { NULL, 0, 0 },
};

static void late_faults(const struct variant *v, unsigned int rounds)
{
	delays_need_at("mirror", "300000");
	while (rounds--)
		late_fault(v->kind);
	delays_off();
}

TEST_VT(late_fault_widened, late_fault_names, 60)
{
	late_faults(v, harness_rounds(3));
}

TEST_VT(late_fault_managed_widened, late_fault_names, 60)
{
	managed_gpus_need();
	managed_kits = true;
	late_faults(v, harness_rounds(1));
}

TEST_VT(end_widened, way_names, 60)
{
	struct uvm_gpu_info gpu;
	uint64_t rng = harness_seed + v->kind;

	gpu_need(0, 0, &gpu);
	delays_need();
	play(&ways[v->kind], harness_random(&rng) % NR_HOLDERS, true, &gpu);
	delays_off();
}

static void __attribute__((constructor)) install(void)
{
	clean_up_install();
}

/* The programs that tests become: see become(). */
int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "--held"))
		return held_main(argv);
	if (argc == 2 && !strcmp(argv[1], "--nothing"))
		return 0;
	return harness_main(argc, argv);
}
