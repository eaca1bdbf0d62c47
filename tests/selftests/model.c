// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: The model checker
 *
 * CPU threads and GPU channels read, write and count in one region at the same time,
 * while others change the address space under them in every way there is. What any
 * byte may be is known at every moment, so whatever they see is judged at once.
 *
 * A region of three 2 MiB blocks has a *shadow*: what it must hold. The shadow is
 * exact, though much happens at once, since everybody keeps to rules:
 *
 * - *Agents* are the CPU threads and the GPU channels. In each *phase* it is drawn
 *   anew what belongs to whom: in most *lots* of two pages each *cell* of 64 bytes has
 *   an owner, so that everybody writes to the same page, and often to the same cache
 *   line's neighbour. Some lots are one agent's as a whole, and some nobody's: they
 *   keep still, and everybody may read them. Only its owner writes a cell, in an order
 *   that he knows, so he brings the shadow up to date as he writes, and what he reads
 *   can have one value only.
 * - One cell of each shared page has *counters*. All CPU threads add to them, so their
 *   sum is exact whenever nobody is adding, and known within what is being added
 *   otherwise. So do channels, if GPUs can do atomics in any memory of the region,
 *   wherever it is (UVM_FEATURE_SYSTEM_ATOMICS); else they don't add at all.
 * - *Disturbers* do two kinds of things. What must not change any content (migration,
 *   huge pages and small ones, reclaim) they do at any moment and to any pages.
 *   For what does change content, rights or mappings they first *claim* the pages: they
 *   wait for accesses under way that it would hurt, and agents keep off, or only read,
 *   until the pages are *released*. Neighbours in the same block go on.
 * - Who claimed pages without access knows what the GPU must get there: it sends a
 *   channel to its death, and asks it for the address and the reason.
 * - After MADV_FREE a page may be as it was or zero, up to the first write to it. So it is
 *   *freed* until somebody claims it again: then each of its cells may be either, and must
 *   be written as a whole, until it is *settled* by a store, after which it must be all
 *   of the one or all of the other, but for what was written meanwhile.
 * - Managed memory (the variants of that name) knows no MADV_FREE and MADV_DONTNEED that
 *   lose anything, no swap, no mremap elsewhere, and no child that has it. Instead there
 *   are copies of what is read mostly, and the CPU, too, takes part in them.
 * - A child of fork() has what the claimed pages held, checks it while its parent writes
 *   to them, writes itself, on the GPU too, and has what it wrote.
 *
 * All of them take one step at a time together (a *slice*: a few operations of each
 * disturber, more of each agent), so that everything happens beside everything else,
 * in a fixed ratio. A *round* is some phases in a process of its own. Its seed fixes
 * what each of them does, though not who comes first:
 *
 *	UVM_SEED=seed UVM_OPS=1 ./model agrees.private
 *
 * is the round with this seed once more. UVM_OPS says how many operations are done in
 * all, by at least one round: a run that is out of time before has failed. Without it
 * they are as many as UVM_ITER scales, or fewer if they take too long. Every wait is for
 * something that takes a bounded time, or gives up after PATIENCE.
 *
 * To add an operation, write it a function and an entry in the table at the end of
 * lib_model_agents.c or lib_model_disturb.c.
 *
 * A GPU should have less memory than the region, so that pages are evicted all the time.
 * How many were is told; in a long run some must have been.
 *
 * That it can fail is shown by `notices`: rounds in which something is done behind the
 * model's back.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <numa.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "lib_lifetime.h"
#include "lib_memory.h"
#include "lib_model.h"
#include "lib_policy.h"
#include "lib_uvm.h"

#define PHASES		8
#define SLICES		4
#define CPU_OPS		64
#define DISTURBANCES	4
/* A run that takes longer is stopped: then what UVM_OPS asks for isn't done. */
#define MAX_SECONDS	(30 * 60)
/* Without UVM_OPS: so many, or what so much time is enough for; see harness_rounds() */
#define OPS		30000
#define SLOW_OPS	40000
#define SECONDS		20
#define SLOW_SECONDS	90
/* So many that no kind of operation is missing by chance */
#define MANY_OPS	20000

static const struct table *tables[TABLES] = {
	&cpu_table, &gpu_table, &disturbance_table,
};

static unsigned int table_of(const struct actor *a)
{
	return a->id < CPUS ? 0 : a->id < AGENTS ? 1 : 2;
}

static unsigned int weight(const struct world *w, const struct table *t, unsigned int i)
{
	const struct op *op = &t->ops[i];

	if (op->usable && !op->usable(w))
		return 0;
	if (w->only && t == &disturbance_table && strcmp(w->only, op->name))
		return 0;
	return op->weight;
}

static unsigned int any_op(struct actor *a, const struct table *t)
{
	unsigned int sum = 0, i;
	uint64_t n;

	for (i = 0; i < t->nr; i++)
		sum += weight(a->w, t, i);
	n = pick(a, sum);
	for (i = 0; n >= weight(a->w, t, i); i++)
		n -= weight(a->w, t, i);
	return i;
}

static void act(struct actor *a)
{
	unsigned int table = table_of(a), i = any_op(a, tables[table]);
	const struct op *op = &tables[table]->ops[i];

	a->verb = op->name;
	a->ticket = atomic_fetch_add(&a->w->tickets, 1);
	if (op->run(a))
		atomic_fetch_add(&a->w->verdict->done[table][i], 1);
}

/* ---- a round ---- */

/* Somewhere in the middle of what the others do */
static void spin(struct actor *a)
{
	uint64_t n;

	for (n = pick(a, 5000); n; n--)
		__asm__ volatile("" ::: "memory");
}

struct round {
	struct world *w;
	pthread_barrier_t step;
	struct actor actor[CHECKER + 1];
};

static void take_slice(struct actor *a)
{
	static const unsigned int ops[TABLES] = { CPU_OPS, BATCH, DISTURBANCES };
	unsigned int n = ops[table_of(a)], i;

	for (i = 0; i < n; i++) {
		if (a->id < CPUS || a->id >= AGENTS)
			spin(a);
		act(a);
	}
	gpu_flush(a);
}

static __thread struct actor *self;

static void *actor_main(void *arg)
{
	struct actor *a = self = arg;
	int phase, slice;

	for (phase = 0; phase < PHASES; phase++) {
		for (slice = 0; slice < SLICES; slice++) {
			pthread_barrier_wait(a->step);
			take_slice(a);
		}
		/* from here to the next phase the checker is alone */
		pthread_barrier_wait(a->step);
	}
	return NULL;
}

/* A CPU's access that the kernel refuses though the model knows that it's allowed */
static void signalled(int number, siginfo_t *info, void *context)
{
	uint64_t at = ADDR(info->si_addr) - ADDR(self->w->region);

	signal(number, SIG_DFL);
	if (at < REGION_SIZE)
		model_fail(self, at, "a CPU's access ended with signal %d", number);
}

static void actor_init(struct actor *a, struct world *w, unsigned int id)
{
	const size_t room = BATCH * SPAN_MAX;

	a->w = w;
	a->id = id;
	a->rng = w->seed + (id + 1) * 0xD1B54A32D192ED03ULL;
	ASSERT_EQ(pipe2(a->pipe, O_CLOEXEC), 0);
	a->gpu = &w->gpu[id % w->gpus];
	if ((id < CPUS || id >= AGENTS) && id != CHECKER)
		return;
	a->in = anon(room, PROT_READ | PROT_WRITE, 0);
	a->out = anon(room, PROT_READ | PROT_WRITE, 0);
	a->want = anon(room, PROT_READ | PROT_WRITE, 0);
	/* what moves is the region */
	stay(w->s.fd, a->in, room);
	stay(w->s.fd, a->out, room);
	ASSERT_RET(channel_create(w->s.fd, a->gpu->uuid, &a->channel), 0);
}

static void compare_by_cpu(struct actor *a, size_t first, size_t count)
{
	size_t page;

	for (page = first; page < first + count; page++)
		model_compare_page(a, page, region_at(a, page * PAGE));
}

/* As many as there is room for results */
#define LOOK_PAGES	(BATCH * SPAN_MAX / PAGE)

static void compare_by_gpu(struct actor *a, size_t first, size_t count)
{
	struct uvm_sim_cmd cmd = CMD(COPY, .dst = ADDR(a->out),
				     .src = ADDR(region_at(a, first * PAGE)),
				     .length = count * PAGE);
	size_t i;

	memset(a->out, 0xa5, count * PAGE);
	gpu_run(a, cmd);
	for (i = 0; i < count; i++)
		model_compare_page(a, first + i, a->out + i * PAGE);
}

/*
 * Nobody else is at it. A GPU looks at one piece in @share, CPUs at the others, and
 * both at pages side by side: those of a piece come and go together.
 */
static void check_pages(struct actor *a, size_t first, size_t count,
			unsigned int share)
{
	size_t end = first + count, n;

	a->verb = "checks";
	a->ticket = atomic_fetch_add(&a->w->tickets, 1);
	range_settle(a, &(struct range){ first, count });
	for (; first < end; first += n) {
		n = end - first < LOOK_PAGES ? end - first : LOOK_PAGES;
		if (pick(a, share))
			compare_by_cpu(a, first, n);
		else
			compare_by_gpu(a, first, n);
	}
}

/* ---- on purpose ---- */

struct spoil {
	void (*run)(struct actor *a, size_t page);
	/* the one disturbance from then on: no other that puts it right again */
	const char *only;
};

static void spoil_by_cpu(struct actor *a, size_t page)
{
	*region_at(a, page * PAGE + pick(a, PAGE)) ^= 0x40;
}

static void spoil_by_gpu(struct actor *a, size_t page)
{
	size_t at = page * PAGE + pick(a, PAGE);

	gpu_run(a, CMD(FILL, .dst = ADDR(region_at(a, at)), .length = 1,
		       .arg0 = *shadow_at(a, at) ^ 0x40));
}

static void spoil_by_loss(struct actor *a, size_t page)
{
	ASSERT_RET(madvise(region_at(a, page * PAGE), PAGE, MADV_DONTNEED), 0);
}

/* Somebody counts, and doesn't tell. */
static void spoil_count(struct actor *a, size_t page)
{
	struct world *w = a->w;
	struct span s;

	/* where it is looked at before somebody owns it */
	do {
		ASSERT_TRUE(span_pick_counter(a, &s));
		span_leave(w, &s);
	} while (s.at / PAGE - w->window >= WINDOW_PAGES);
	++*(uint64_t *)region_at(a, s.at);
	w->verdict->from = ADDR(region_at(a, s.at));
	w->verdict->length = s.length;
}

/* What a child writes reaches its parent. */
static void spoil_fork(struct actor *a, size_t page)
{
	uint8_t *window = region_at(a, a->w->window * PAGE);
	size_t length = WINDOW_PAGES * PAGE;

	ASSERT_TRUE(mmap(window, length, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == window);
	memcpy(window, shadow_at(a, a->w->window * PAGE), length);
	a->w->verdict->from = ADDR(window);
	a->w->verdict->length = length;
}

/* Who takes the right to write away doesn't. */
static void spoil_rights(struct actor *a, size_t page)
{
	a->w->spoilt_prot = PROT_WRITE;
	a->w->verdict->from = ADDR(a->w->region);
	a->w->verdict->length = REGION_SIZE;
}

enum {
	SPOIL_NOTHING,
	SPOIL_CPU,
	SPOIL_GPU,
	SPOIL_LOSS,
	SPOIL_COUNT,
	SPOIL_FORK,
	SPOIL_RIGHTS,
};

static const struct spoil spoils[] = {
	[SPOIL_CPU] = { spoil_by_cpu, "to a GPU" },
	[SPOIL_GPU] = { spoil_by_gpu, "to a GPU" },
	[SPOIL_LOSS] = { spoil_by_loss, "to a GPU" },
	[SPOIL_COUNT] = { spoil_count, "to a GPU" },
	[SPOIL_FORK] = { spoil_fork, "fork" },
	[SPOIL_RIGHTS] = { spoil_rights, "read-only" },
};

static const struct variant ways_to_spoil[] = {
	{ "cpu", SPOIL_CPU, false }, { "gpu", SPOIL_GPU, false },
	{ "loss", SPOIL_LOSS, false }, { "count", SPOIL_COUNT, false },
	{ "fork", SPOIL_FORK, false }, { "rights", SPOIL_RIGHTS, false },
	{ NULL, 0, false },
};

/* A page that nobody writes in this phase, with content that no page is born with. */
static size_t still_page(struct actor *a)
{
	struct world *w = a->w;
	size_t page = w->window;

	while (!page_is_still(w, page))
		page = (page + 1) % PAGES;
	range_settle(a, &(struct range){ page, 1 });
	random_bytes(a, shadow_at(a, page * PAGE), SPAN_MAX);
	memcpy(region_at(a, page * PAGE), shadow_at(a, page * PAGE), PAGE);
	return page;
}

static void spoil(struct actor *a)
{
	struct world *w = a->w;
	size_t page = still_page(a);

	w->verdict->from = ADDR(region_at(a, page * PAGE));
	w->verdict->length = PAGE;
	w->only = spoils[w->spoilt].only;
	spoils[w->spoilt].run(a, page);
}

/* ---- */

static void round_open(struct round *r, struct world *w)
{
	struct sigaction sa = { .sa_sigaction = signalled, .sa_flags = SA_SIGINFO };
	unsigned int i;

	ASSERT_RET(space_open(&w->s), 0);
	world_init(w);
	for (i = 0; i < w->gpus; i++)
		ASSERT_RET(register_gpu(w->s.fd, w->gpu[i].uuid), 0);
	for (i = 0; i < MODEL_GROUPS; i++)
		ASSERT_RET(group_create(w->s.fd, &w->group[i]), 0);
	r->w = w;
	/* the checker takes the steps, too */
	ASSERT_EQ(pthread_barrier_init(&r->step, NULL, CHECKER + 1), 0);
	for (i = 0; i <= CHECKER; i++) {
		actor_init(&r->actor[i], w, i);
		r->actor[i].step = &r->step;
	}
	self = &r->actor[CHECKER];
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
}

/*
 * What the blocks begin a phase with: whether faulting pages move, bring others along,
 * and are copied. Disturbers change it for parts of them.
 */
static void phase_policies(struct actor *a)
{
	int fd = a->w->s.fd;
	uint8_t *block;

	for (block = a->w->region; block < a->w->region + REGION_SIZE; block += HUGE) {
		ASSERT_RET(policy_switch(fd, UVM_SET_PREFETCH, block, HUGE,
					 !pick(a, 3)), 0);
		ASSERT_RET(policy_switch(fd, UVM_SET_FAULT_MIGRATION, block, HUGE,
					 !!pick(a, 4)), 0);
		ASSERT_RET(policy_switch(fd, UVM_SET_READ_MOSTLY, block, HUGE,
					 !pick(a, 2)), 0);
	}
}

static void round_phase(struct round *r, unsigned int phase)
{
	struct actor *checker = &r->actor[CHECKER];
	struct world *w = r->w;
	int slice;

	phase_init(w, phase);
	phase_policies(checker);
	if (w->spoilt && phase == 1) {
		/* settles it */
		check_pages(checker, w->window, WINDOW_PAGES, 2);
		spoil(checker);
	}
	for (slice = 0; slice <= SLICES; slice++)
		pthread_barrier_wait(&r->step);
	check_pages(checker, w->window, WINDOW_PAGES, 2);
}

static void count_evictions(struct world *w)
{
	struct uvm_query_memory q;
	unsigned int i;

	for (i = 0; i < w->gpus; i++) {
		if (w->gpu[i].memory_kind == UVM_MEMORY_NUMA)
			continue;
		ASSERT_RET(memory_query(w->s.fd, w->gpu[i].uuid, &q), 0);
		atomic_fetch_add(&w->verdict->evicted, q.out_my_evicted);
	}
}

static void round_main(struct world *w)
{
	static struct round r;
	pthread_t thread[CHECKER];
	unsigned int i;

	round_open(&r, w);
	for (i = 0; i < CHECKER; i++)
		ASSERT_EQ(pthread_create(&thread[i], NULL, actor_main, &r.actor[i]), 0);
	for (i = 0; i < PHASES; i++)
		round_phase(&r, i);
	for (i = 0; i < CHECKER; i++) {
		pthread_join(thread[i], NULL);
		kid_reap(&r.actor[i]);
	}
	check_pages(&r.actor[CHECKER], 0, PAGES, 16);
	count_evictions(w);
	child_exit();
}

static int round_run(struct world *w)
{
	pid_t pid = child();

	if (!pid)
		round_main(w);
	return child_wait(pid);
}

/* ---- tests ---- */

static void add_gpus(struct world *w, int kind)
{
	int nth = 0;

	while (w->gpus < MODEL_GPUS && gpu_find(kind, nth++, &w->gpu[w->gpus]))
		w->gpus++;
}

/* All GPUs of the kind, and those that go together with it */
static void world_prepare(struct world *w, int kind)
{
	int node;

	add_gpus(w, kind);
	if (kind == UVM_MEMORY_COHERENT)
		add_gpus(w, UVM_MEMORY_NUMA);
	for (node = 0; node <= numa_max_node(); node++)
		if (w->nodes < MODEL_NODES && numa_node_size64(node, NULL) > 0)
			w->node[w->nodes++] = node;
	w->swap = swap_on();
	w->huge = thp_ready();
	w->split = w->huge && !access(SPLIT_HUGE_PAGES, W_OK);
	w->counts_everywhere = feature_mask() & UVM_FEATURE_SYSTEM_ATOMICS;
	w->verdict = shared_page();
}

static unsigned long total(const struct verdict *v)
{
	unsigned long sum = 0;
	size_t t, i;

	for (t = 0; t < TABLES; t++)
		for (i = 0; i < tables[t]->nr; i++)
			sum += v->done[t][i];
	return sum;
}

static void tell_done(const struct world *w)
{
	size_t t, i;

	for (t = 0; t < TABLES; t++)
		for (i = 0; i < tables[t]->nr; i++)
			harness_note("%s: %s: %lu", tables[t]->name,
				     tables[t]->ops[i].name, w->verdict->done[t][i]);
}

/* A kind of operation that never finds anything to do proves nothing. */
static void expect_all_done(const struct world *w)
{
	size_t t, i;

	for (t = 0; t < TABLES; t++)
		for (i = 0; i < tables[t]->nr; i++)
			harness_check(w->verdict->done[t][i] ||
				      !weight(w, tables[t], i), false,
				      __FILE__, __LINE__, "never done: %s",
				      tables[t]->ops[i].name);
}

/* Asked for in so many words; or 0 */
static unsigned long ops_demanded(void)
{
	const char *text = getenv("UVM_OPS");

	return text ? strtoul(text, NULL, 0) : 0;
}

static unsigned long ops_wanted(void)
{
	unsigned long n = ops_demanded();

	return n ? n : harness_rounds(slow_kernel() ? SLOW_OPS : OPS);
}

static time_t seconds_allowed(void)
{
	if (ops_demanded())
		return MAX_SECONDS;
	return harness_rounds(slow_kernel() ? SLOW_SECONDS : SECONDS);
}

static time_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

TEST_VT(agrees, devices_managed, 60)
{
	unsigned long wanted = ops_wanted();
	static struct world w;
	unsigned int round;
	time_t start;

	memory_need(v);
	gpu_need(v->kind, 0, &w.gpu[0]);
	world_prepare(&w, v->kind);
	w.managed = v->managed;
	/* in a range that is to stay where it is GPUs can't count */
	w.counts_everywhere &= !w.managed;
	start = seconds();
	for (round = 0; !round || total(w.verdict) < wanted; round++) {
		if (seconds() - start > seconds_allowed())
			break;
		w.seed = harness_seed + round * 0x9E3779B97F4A7C15ULL;
		if (!EXPECT_EQ(round_run(&w), 0))
			break;
	}
	harness_note("%lu operations in %u rounds, %ld s; %lu pages evicted",
		     total(w.verdict), round, (long)(seconds() - start),
		     w.verdict->evicted);
	tell_done(&w);
	EXPECT_GE(total(w.verdict), ops_demanded());
	if (total(w.verdict) >= MANY_OPS) {
		expect_all_done(&w);
		if (w.gpu[0].memory_size < REGION_SIZE)
			EXPECT_GT(w.verdict->evicted, 0);
	}
	if (w.swap)
		EXPECT_RET(swap_off(), 0);
}

TEST_VT(notices, ways_to_spoil, 60)
{
	static struct world w;

	gpu_need(0, 0, &w.gpu[0]);
	world_prepare(&w, w.gpu[0].memory_kind);
	w.spoilt = v->kind;
	w.seed = harness_seed;
	EXPECT_EQ(round_run(&w), 0);
	EXPECT_TRUE(w.verdict->noticed);
	EXPECT_GE(w.verdict->address, w.verdict->from);
	EXPECT_LT(w.verdict->address, w.verdict->from + w.verdict->length);
	if (w.swap)
		EXPECT_RET(swap_off(), 0);
}

static void __attribute__((constructor)) install(void)
{
	leak_check_install();
}

HARNESS_MAIN()
