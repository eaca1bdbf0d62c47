// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that processes which together want more of a GPU's memory than there is
 * don't hurt each other: each finds its bytes as it left them, whatever the others do,
 * and whatever becomes of them. They are killed, close their files, unregister the GPU,
 * and unmap, move, protect and fork their memory just when it is being evicted, thousands
 * of times. In the end nothing is left of them.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "harness.h"
#include "lib_lifetime.h"
#include "lib_policy.h"
#include "lib_pressure.h"
#include "lib_uvm.h"

#define NR(array)	(sizeof(array) / sizeof((array)[0]))

/* ---- many at once ---- */

#define MAX_CROWD	8

/* All of them begin when the last one is ready. */
static void crowd_member(const struct variant *v, const struct scene *c, size_t units,
			 pthread_barrier_t *start, uint64_t rng)
{
	struct memory m;
	struct fix f;
	struct set s;

	fix_open(&f, v);
	set_make(&s, &f, units * UNIT, rng);
	s.contended = true;
	pthread_barrier_wait(start);
	scene_play(&s, c, rng);
	memory_of(&f, &m);
	EXPECT_LE(m.mine, m.total);
	fix_close(&f);
	child_exit();
}

static void crowd(const struct variant *v, const struct scene *c, size_t n, size_t room)
{
	size_t units = room * c->quarters / 4 / n / UNIT_PAGES, i;
	pthread_barrier_t *start = shared_barrier(n);
	struct memory before, after;
	pid_t pid[MAX_CROWD];
	struct fix f;
	char name[40];

	scene_name(c, name);
	for (i = 0; i < n; i++) {
		pid[i] = child();
		if (!pid[i])
			crowd_member(v, c, units, start, harness_seed + i);
	}
	fix_open(&f, v);
	memory_of(&f, &before);
	for (i = 0; i < n; i++)
		harness_check(!child_wait(pid[i]), false, __FILE__, __LINE__,
			      "%zu processes, %s: one failed", n, name);
	memory_of(&f, &after);
	harness_note("%zu processes, %s: %ld evicted, %ld came back", n, name,
		     after.evicted - before.evicted, after.refaulted - before.refaulted);
	if (c->order == STREAM && c->by_migrate)
		EXPECT_GT(after.evicted - before.evicted, 0);
	fix_close(&f);
	munmap(start, PAGE);
}

TEST_VT(scenes, devices_huge_managed, 90)
{
	static const size_t crowds[] = { 2, 8 };
	size_t room = pressure_need(v), i, step;

	step = slow_kernel() ? harness_stride(29) : harness_rounds(1) > 1 ? 1 : 7;
	for (i = harness_seed % step; i < NR_SCENES * NR(crowds); i += step)
		crowd(v, &scenes[i / NR(crowds)], crowds[i % NR(crowds)], room);
}

/* ---- killed ---- */

/* More than there is, again and again, by whatever can be killed in the middle */
static void victim(const struct variant *v, int proof, size_t pages, atomic_uint *turns)
{
	struct uvm_migrate m;
	struct fix f;
	char *p;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	proof_map(proof, true);
	fix_open(&f, v);
	p = aligned_buffer(&f, pages * PAGE);
	for (;;) {
		ASSERT_RET(to_gpu(&f, p, pages * PAGE, &m), 0);
		atomic_fetch_add(turns, 1);
		fix_fill(&f, p, pages * PAGE, *turns);
		if (*turns % 3 == 0)
			madvise(p, pages * PAGE, MADV_DONTNEED);
		p[*turns % pages * PAGE]++;
	}
}

/* Busy for a moment that no clock of the kernel divides */
static void spin(uint64_t turns)
{
	volatile uint64_t n = turns;

	while (n)
		n--;
}

struct marked {
	pid_t pid;
	int proof;
	atomic_uint *turns;
};

static void marked_start(struct marked *k, const struct variant *v, size_t pages)
{
	k->proof = proof_new();
	*k->turns = 0;
	k->pid = child();
	if (!k->pid)
		victim(v, k->proof, pages, k->turns);
}

static void marked_kill(struct marked *k)
{
	ASSERT_EQ(kill(k->pid, SIGKILL), 0);
	EXPECT_EQ(child_wait(k->pid), 128 + SIGKILL);
	EXPECT_TRUE(list_forgets(k->pid));
}

#define VICTIMS		2

/* Others go on meanwhile: it is they who evict what the dead one had. */
TEST_VT(killed, devices_huge_managed, 120)
{
	size_t room = pressure_need(v), pages = room - BLOCK_PAGES;
	unsigned int rounds = harness_rounds(30), i;
	struct marked marked[VICTIMS], *k;
	uint64_t rng = harness_seed;
	struct uvm_gpu_info gpu;
	struct hog h;

	ASSERT_TRUE(gpu_find(v->kind, 0, &gpu));
	hog_start(&h, v, 2 * HUGE);
	for (i = 0; i < VICTIMS; i++) {
		marked[i].turns = shared_page();
		marked_start(&marked[i], v, pages);
	}
	while (rounds--) {
		k = &marked[rounds % VICTIMS];
		ASSERT_TRUE(WAIT_FOR(*k->turns));
		spin(harness_random(&rng) % 1000000);
		marked_kill(k);
		EXPECT_TRUE(proof_gone(k->proof));
		close(k->proof);
		marked_start(k, v, pages);
		if (rounds % 8 == 0) {
			HOG_DO(&h, HOG_TRY);
			HOG_DO(&h, HOG_USE);
			HOG_DO(&h, HOG_CHECK);
		}
	}
	for (i = 0; i < VICTIMS; i++) {
		marked_kill(&marked[i]);
		EXPECT_TRUE(proof_gone(marked[i].proof));
	}
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
	EXPECT_TRUE(gpu_free_returns(&gpu, gpu.memory_free));
}

/* ---- memory that changes while it is evicted ---- */

#define FIELD_BLOCKS	2
#define FIELD_PAGES	(FIELD_BLOCKS * BLOCK_PAGES)

/* Memory that one thread changes: each page has its pattern, or is zero. */
struct field {
	struct fix *f;
	char *p;
	char *aside;
	uint32_t seed[FIELD_PAGES];	/* 0: zero */
	uint64_t rng;
	unsigned int ops;
	atomic_bool over;
};

struct part {
	size_t first;
	size_t count;
};

static uint64_t pick(struct field *d, uint64_t n)
{
	return harness_random(&d->rng) % n;
}

static struct part part_pick(struct field *d)
{
	size_t most = pick(d, 4) ? 40 : BLOCK_PAGES, first = pick(d, FIELD_PAGES);
	size_t count = 1 + pick(d, most);

	return (struct part){ first, count < FIELD_PAGES - first ? count :
			      FIELD_PAGES - first };
}

static char *field_page(struct field *d, size_t page)
{
	return d->p + page * PAGE;
}

static void field_write(struct field *d, size_t page)
{
	d->seed[page] = 1 + pick(d, 1U << 20);
	pattern_fill_from(field_page(d, page), PAGE, d->seed[page], page);
}

static bool page_good(const char *p, uint32_t seed, size_t page)
{
	return (seed ? pattern_check_from(p, PAGE, seed, page) :
		bytes_check(p, PAGE, 0)) == -1;
}

static void field_check(struct field *d, const struct part *r)
{
	size_t i;

	for (i = r->first; i < r->first + r->count; i++)
		harness_check(page_good(field_page(d, i), d->seed[i], i), false,
			      __FILE__, __LINE__, "operation %u: page %zu is wrong",
			      d->ops, i);
}

static void field_zero(struct field *d, const struct part *r)
{
	memset(d->seed + r->first, 0, r->count * sizeof(d->seed[0]));
}

static void op_unmap(struct field *d, const struct part *r)
{
	char *p = field_page(d, r->first);

	ASSERT_RET(munmap(p, r->count * PAGE), 0);
	ASSERT_TRUE(mmap(p, r->count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == p);
	madvise(p, r->count * PAGE, d->f->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	field_zero(d, r);
}

static void op_drop(struct field *d, const struct part *r)
{
	ASSERT_RET(madvise(field_page(d, r->first), r->count * PAGE, MADV_DONTNEED), 0);
	field_zero(d, r);
}

/* Most kernels move no more than one mapping at a time: then page by page. */
static void remap(char *from, char *to, size_t length)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	size_t i;

	if (mremap(from, length, length, flags, to) == to)
		return;
	for (i = 0; i < length; i += PAGE)
		ASSERT_TRUE(mremap(from + i, PAGE, PAGE, flags, to + i) == to + i);
}

static void op_move(struct field *d, const struct part *r)
{
	char *p = field_page(d, r->first), *q = d->aside + r->first * PAGE;
	size_t i;

	remap(p, q, r->count * PAGE);
	for (i = 0; i < r->count; i += 1 + pick(d, 4))
		EXPECT_TRUE(page_good(q + i * PAGE, d->seed[r->first + i], r->first + i));
	remap(q, p, r->count * PAGE);
}

static void op_protect(struct field *d, const struct part *r)
{
	static const int prots[] = { PROT_NONE, PROT_READ };
	char *p = field_page(d, r->first);

	ASSERT_RET(mprotect(p, r->count * PAGE, prots[pick(d, 2)]), 0);
	spin(pick(d, 2000));
	ASSERT_RET(mprotect(p, r->count * PAGE, PROT_READ | PROT_WRITE), 0);
}

/* The child writes some, and goes while it's evicted for both. */
static void op_fork(struct field *d, const struct part *r)
{
	struct part some = { r->first, r->count < 8 ? r->count : 8 };
	pid_t pid = child();

	if (!pid) {
		field_check(d, &some);
		field_write(d, r->first);
		field_check(d, &some);
		child_exit();
	}
	if (pick(d, 2))
		field_write(d, r->first);
	EXPECT_EQ(child_wait(pid), 0);
}

static void op_exec(struct field *d, const struct part *r)
{
	pid_t pid = child();

	if (!pid) {
		field_write(d, r->first);
		execl("/proc/self/exe", "crowds", "--nothing", NULL);
		_exit(99);
	}
	EXPECT_EQ(child_wait(pid), 0);
}

static void op_write(struct field *d, const struct part *r)
{
	size_t i;

	for (i = r->first; i < r->first + r->count; i += 1 + pick(d, 16))
		field_write(d, i);
}

static void op_take(struct field *d, const struct part *r)
{
	struct uvm_migrate m;

	ASSERT_RET(to_gpu(d->f, field_page(d, r->first), r->count * PAGE, &m), 0);
	expect_accounts(&m);
}

static void (* const field_ops[])(struct field *d, const struct part *r) = {
	op_unmap, op_drop, op_drop, op_move, op_move, op_protect, op_fork, op_exec,
	op_write, op_write, op_take, op_take, op_take,
};

static void field_make(struct field *d, struct fix *f)
{
	memset(d, 0, sizeof(*d));
	d->f = f;
	d->rng = harness_seed;
	d->p = aligned_buffer(f, FIELD_PAGES * PAGE);
	d->aside = aligned_buffer(f, FIELD_PAGES * PAGE);
	ASSERT_RET(munmap(d->aside, FIELD_PAGES * PAGE), 0);
}

static void *field_work(void *arg)
{
	struct field *d = arg;
	unsigned int n = harness_rounds(120);
	const struct part all = { 0, FIELD_PAGES };
	struct part r;

	while (d->ops < n) {
		r = part_pick(d);
		field_ops[pick(d, NR(field_ops))](d, &r);
		r = part_pick(d);
		field_check(d, &r);
		d->ops++;
	}
	field_check(d, &all);
	d->over = true;
	return NULL;
}

/*
 * Brings what another thread may just have unmapped. Nothing can be evicted from a
 * process while a thread of it changes its mappings, so there may be no memory for a
 * moment. Returns pages that found none.
 */
static unsigned long take_torn(struct fix *f, char *p, size_t length)
{
	struct uvm_migrate m;
	int ret = to_gpu(f, p, length, &m);

	EXPECT_RET2(ret, 0, -EFAULT);
	if (ret)
		return 0;
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, length);
	return m.out_skipped[UVM_SKIP_NO_MEMORY];
}

/* The process's own memory is what presses. */
TEST_VT(changed_by_owner, devices_huge, 90)
{
	size_t room = pressure_need(v), starved = 0, i;
	struct memory before, after;
	static struct field d;
	pthread_t thread;
	struct fix f;
	struct set s;

	fix_open(&f, v);
	set_make(&s, &f, room * PAGE, 1);
	field_make(&d, &f);
	memory_of(&f, &before);
	ASSERT_EQ(pthread_create(&thread, NULL, field_work, &d), 0);
	for (i = 0; !d.over; i++) {
		starved += take_torn(&f, d.p, FIELD_PAGES * PAGE);
		starved += take_torn(&f, s.p + i * HUGE % set_size(&s), HUGE);
		set_turn(&s, &(size_t){ i % s.units }, 1);
	}
	pthread_join(thread, NULL);
	memory_of(&f, &after);
	harness_note("%u operations, %ld pages evicted, %zu found no memory", d.ops,
		     after.my_evicted - before.my_evicted, starved);
	EXPECT_GT(after.my_evicted - before.my_evicted, 0);
	/* now that it's over */
	expect_taken(&f, s.p, set_size(&s));
	set_check_by_gpu(&s);
	set_check_by_cpu(&s);
	fix_close(&f);
}

/* Somebody else's is. */
TEST_VT(changed_while_taken, devices_huge, 90)
{
	size_t room = pressure_need(v);
	struct memory before, after;
	static struct field d;
	pthread_t thread;
	struct fix f;
	struct hog h;

	hog_start(&h, v, room * PAGE);
	fix_open(&f, v);
	field_make(&d, &f);
	memory_of(&f, &before);
	hog_run(&h);
	ASSERT_EQ(pthread_create(&thread, NULL, field_work, &d), 0);
	while (!d.over)
		take_torn(&f, d.p, FIELD_PAGES * PAGE);
	pthread_join(thread, NULL);
	hog_rest(&h);
	memory_of(&f, &after);
	harness_note("%u operations, %ld pages evicted", d.ops,
		     after.my_evicted - before.my_evicted);
	EXPECT_GT(after.my_evicted - before.my_evicted, 0);
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
	fix_close(&f);
}

/* ---- the end, in the middle of it ---- */

enum ending { CLOSE_MM, CLOSE_BOTH, KILL, EXIT, UNREGISTER, NR_ENDINGS };

static const struct variant endings[] = {
	{ "close_mm", CLOSE_MM, 0 }, { "close_both", CLOSE_BOTH, 0 },
	{ "kill", KILL, 0 }, { "exit", EXIT, 0 }, { "unregister", UNREGISTER, 0 },
	{ NULL, 0, 0 },
};

struct ender {
	struct fix f;
	char *p;
	size_t length;
	atomic_uint *turns;
};

/* Its GPU space may be gone, or its VA space, or its mm. */
static void *ender_work(void *arg)
{
	struct ender *e = arg;
	struct uvm_migrate m;
	int ret;

	do {
		ret = to_gpu(&e->f, e->p, e->length, &m);
		atomic_fetch_add(e->turns, 1);
	} while (!ret);
	harness_check(ret == -ESRCH || ret == -EBADF || ret == -ENOENT, false, __FILE__,
		      __LINE__, "UVM_MIGRATE ended with %d", ret);
	return NULL;
}

static void ender_end(struct ender *e, enum ending how)
{
	uint64_t moved, left;

	switch (how) {
	case CLOSE_MM:
		EXPECT_EQ(close(e->f.s.mm_fd), 0);
		break;
	case CLOSE_BOTH:
		EXPECT_EQ(close(e->f.s.fd), 0);
		EXPECT_EQ(close(e->f.s.mm_fd), 0);
		break;
	case UNREGISTER:
		EXPECT_RET(unregister_gpu_pages(e->f.s.fd, e->f.gpu.uuid, &moved, &left),
			   0);
		EXPECT_EQ(left, 0);
		break;
	case EXIT:
		_exit(0);
	case KILL:
	default:
		raise(SIGKILL);
	}
}

/* Two thirds of the memory: with another process's as much it's more than there is. */
static void ender_main(const struct variant *kind, enum ending how, int proof,
		       size_t length, atomic_uint *turns, uint64_t rng)
{
	struct ender e = { .length = length, .turns = turns };
	pthread_t thread;

	proof_map(proof, true);
	fix_open(&e.f, kind);
	e.p = aligned_pattern(&e.f, length, 2);
	ASSERT_EQ(pthread_create(&thread, NULL, ender_work, &e), 0);
	ASSERT_TRUE(WAIT_FOR(*turns > 1));
	spin(harness_random(&rng) % 3000000);
	ender_end(&e, how);
	pthread_join(thread, NULL);
	/* wherever it is */
	EXPECT_PATTERN(e.p, length, 2);
	_exit(0);
}

static const struct variant *some_kind(uint64_t *rng)
{
	static struct variant kind = { "", UVM_MEMORY_COHERENT, false };
	struct uvm_gpu_info gpu;

	if (gpu_find(UVM_MEMORY_PRIVATE, 0, &gpu))
		kind.kind = UVM_MEMORY_PRIVATE;
	kind.huge = thp_ready() && harness_random(rng) % 2;
	return &kind;
}

/* A hog takes what the process has, and the process takes it back, when it ends. */
static void end_rounds(enum ending how, unsigned int rounds)
{
	atomic_uint *turns = shared_page();
	uint64_t rng = harness_seed + how;
	const struct variant *kind = some_kind(&rng);
	size_t room = pressure_need(kind), length = room * 3 / 4 * PAGE & ~(HUGE - 1);
	struct hog h;
	pid_t pid;
	int proof;

	hog_start(&h, kind, length);
	hog_run(&h);
	while (rounds--) {
		kind = some_kind(&rng);
		proof = proof_new();
		*turns = 0;
		pid = child();
		if (!pid)
			ender_main(kind, how, proof, length, turns, rng);
		EXPECT_EQ(child_wait(pid), how == KILL ? 128 + SIGKILL : 0);
		EXPECT_TRUE(proof_gone(proof));
		EXPECT_TRUE(list_forgets(pid));
		close(proof);
		harness_random(&rng);
	}
	hog_rest(&h);
	HOG_DO(&h, HOG_CHECK);
	hog_end(&h);
}

TEST_VT(ends, endings, 90)
{
	end_rounds(v->kind, harness_rounds(8));
}

TEST_VT(ends_widened, endings, 90)
{
	delays_need_at("migrate retained", "5000");
	end_rounds(v->kind, harness_rounds(4));
	delays_off();
}

static void __attribute__((constructor)) install(void)
{
	clean_up_install();
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--nothing"))
		return 0;
	return harness_main(argc, argv);
}
