// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves of managed memory that is read mostly that its copies are all alike, and as many
 * as there should be, whatever happens to them; and of UVM_QUERY_RANGE that it tells what
 * there is, and who has it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
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
#define KIB		(1UL << 10)
#define MIB		(1UL << 20)

/*
 * Who has a copy of a page. The pages of a unit have the same fate: what is done is done
 * to all of them, and they are alone in their block.
 */
#define BY_CPU		1U
#define BY_GPU		2U
#define BY_GPU2		4U
#define BY_GPUS		(BY_GPU | BY_GPU2)
#define BY_ALL		(BY_CPU | BY_GPUS)

enum event {
	CPU_READS, CPU_WRITES, GPU_READS, GPU_WRITES, GPU2_READS, GPU2_WRITES,
	TO_CPU, TO_GPU, TO_GPU2, EVICTED, SWITCHED_OFF, NR_EVENTS,
};

static const char * const event_names[NR_EVENTS] = {
	"the CPU reads", "the CPU writes", "a GPU reads", "a GPU writes",
	"the other GPU reads", "the other GPU writes", "it is to go to the CPU",
	"it is to go to a GPU", "it is to go to the other GPU", "a GPU evicts it",
	"read-mostly is off",
};

static const unsigned int actors[NR_EVENTS] = {
	[CPU_READS] = BY_CPU, [CPU_WRITES] = BY_CPU, [TO_CPU] = BY_CPU,
	[GPU_READS] = BY_GPU, [GPU_WRITES] = BY_GPU, [TO_GPU] = BY_GPU,
	[GPU2_READS] = BY_GPU2, [GPU2_WRITES] = BY_GPU2, [TO_GPU2] = BY_GPU2,
};

/* The table: who has it after @event; @may: and who else may have it */
static unsigned int holders_after(const struct fix *f, unsigned int holders,
				  enum event event, unsigned int *may)
{
	unsigned int who = actors[event];

	*may = 0;
	switch (event) {
	case CPU_WRITES:
	case GPU_WRITES:
	case GPU2_WRITES:
		return who;
	case TO_CPU:
		return holders ? holders | who : 0;
	case EVICTED:
		if (holders == BY_GPU)
			return BY_CPU;
		return holders & ~BY_GPU;
	case SWITCHED_OFF:
		if (holders & BY_CPU)
			return BY_CPU;
		if (holders == BY_GPUS)
			return f->gpu.id < f->gpu2.id ? BY_GPU : BY_GPU2;
		return holders;
	default:
		/* between GPUs that don't reach each other's memory it goes by the CPU */
		if (holders && !(holders & who) && who != BY_CPU)
			*may = BY_CPU;
		return holders | who;
	}
}

/**
 * struct unit - pages that have the same fate
 * @f: two GPUs
 * @p: UNIT bytes
 * @want: what they hold
 * @holders: who has them
 */
struct unit {
	struct fix *f;
	char *p;
	char want[UNIT];
	unsigned int holders;
};

static void read_mostly(struct fix *f, const char *p, size_t length, bool on)
{
	ASSERT_RET(policy_switch(f->s.fd, UVM_SET_READ_MOSTLY, p, length, on), 0);
}

#define NOBODY_KNOWS	(~0U)

/* All pages of a GPU's memory that the process has are the unit's. */
static unsigned int held(struct unit *u, const struct uvm_gpu_info *gpu, unsigned int who)
{
	unsigned long n = my_pages(u->f, gpu);

	if (n && n != UNIT_PAGES)
		return NOBODY_KNOWS;
	return n ? who : 0;
}

/* NOBODY_KNOWS if pages differ, or if what is told of them doesn't go together */
static unsigned int holders_of(struct unit *u)
{
	unsigned int h = held(u, &u->f->gpu, BY_GPU) | held(u, &u->f->gpu2, BY_GPU2);
	struct uvm_page_state st[UNIT_PAGES];
	unsigned int where;
	size_t i;

	ASSERT_RET(residency(u->f->s.fd, u->p, UNIT, st), 0);
	if (st[0].where == UVM_WHERE_CPU)
		h |= BY_CPU;
	where = h & BY_CPU ? UVM_WHERE_CPU : h ? UVM_WHERE_GPU : UVM_WHERE_NONE;
	for (i = 0; i < UNIT_PAGES; i++)
		if (st[i].where != where ||
		    !!(st[i].prot & UVM_PAGE_COPIED) != !!(h & (h - 1)))
			return NOBODY_KNOWS;
	return h;
}

/* Nobody else has it, but for @may; what is freed is so a moment later. */
static bool holders_come(struct unit *u, unsigned int want, unsigned int may)
{
	return WAIT_FOR(((u->holders = holders_of(u)) & ~may) == (want & ~may));
}

static void read_by_gpu(struct unit *u, uint32_t channel)
{
	struct uvm_sim_cmd c = CMD(CRC32C, .src = ADDR(u->p), .length = UNIT);
	volatile uint64_t *out = anon(PAGE, RW, 0);

	stay(u->f->s.fd, (void *)out, PAGE);
	c.dst = ADDR(out);
	ASSERT_RET(channel_run(u->f->s.fd, channel, &c, 1), 0);
	EXPECT_EQ(*out, crc32c(u->want, UNIT));
	munmap((void *)out, PAGE);
}

static void write_by_gpu(struct unit *u, uint32_t channel, unsigned int byte)
{
	struct uvm_sim_cmd c[UNIT_PAGES];
	size_t i;

	/* one word a page is enough of a write */
	for (i = 0; i < UNIT_PAGES; i++) {
		c[i] = CMD(FILL, .dst = ADDR(u->p + i * PAGE + 80), .length = 8,
			   .arg0 = byte);
		memset(u->want + i * PAGE + 80, byte, 8);
	}
	ASSERT_RET(channel_run(u->f->s.fd, channel, c, UNIT_PAGES), 0);
}

static void write_by_cpu(struct unit *u, unsigned int byte)
{
	size_t i;

	for (i = 0; i < UNIT_PAGES; i++) {
		u->p[i * PAGE + 160] = byte;
		u->want[i * PAGE + 160] = byte;
	}
}

static void move_unit(struct unit *u, int kind, const uint8_t *uuid)
{
	struct uvm_migrate m;

	ASSERT_RET(migrate(u->f->s.fd, u->p, UNIT, kind, 0, uuid, &m), 0);
	expect_accounts(&m);
}

/* It has to go if the process may have one page only, and another one comes. */
static void evict_unit(struct unit *u)
{
	struct fix *f = u->f;
	char *page = managed(f->s.fd, HUGE);

	*page = 1;
	ASSERT_RET(limit_pages(f, 1, 0), 0);
	fix_to_gpu(f, page, PAGE);
	EXPECT_EQ(my_pages(f, &f->gpu), 1);
	ASSERT_RET(limit_pages(f, 0, 0), 0);
	ASSERT_RET(munmap(page, HUGE), 0);
}

static void happen(struct unit *u, enum event event, unsigned int byte)
{
	struct fix *f = u->f;

	switch (event) {
	case CPU_READS:
		EXPECT_EQ(memcmp(u->p, u->want, UNIT), 0);
		break;
	case CPU_WRITES:
		write_by_cpu(u, byte);
		break;
	case GPU_READS:
		read_by_gpu(u, f->channel);
		break;
	case GPU_WRITES:
		write_by_gpu(u, f->channel, byte);
		break;
	case GPU2_READS:
		read_by_gpu(u, f->channel2);
		break;
	case GPU2_WRITES:
		write_by_gpu(u, f->channel2, byte);
		break;
	case TO_CPU:
		move_unit(u, UVM_DEST_CPU, NULL);
		break;
	case TO_GPU:
		move_unit(u, UVM_DEST_GPU, f->gpu.uuid);
		break;
	case TO_GPU2:
		move_unit(u, UVM_DEST_GPU, f->gpu2.uuid);
		break;
	case EVICTED:
		evict_unit(u);
		break;
	case SWITCHED_OFF:
		read_mostly(f, u->p, UNIT, false);
		break;
	default:
		break;
	}
}

static bool expect_holders(struct unit *u, unsigned int want, unsigned int may,
			   const char *what)
{
	unsigned int before = u->holders;

	return harness_check(holders_come(u, want, may), false, __FILE__, __LINE__,
			     "%s, and 0x%x had it: wanted 0x%x, or 0x%x beside it, saw 0x%x",
			     what, before, want, may, u->holders);
}

static void unit_open(struct unit *u, struct fix *f)
{
	u->f = f;
	u->p = managed(f->s.fd, HUGE);
	u->holders = 0;
	memset(u->want, 0, UNIT);
	/* where it begins, nobody copies */
	read_mostly(f, u->p, HUGE, false);
}

static void unit_close(struct unit *u)
{
	ASSERT_RET(munmap(u->p, HUGE), 0);
	expect_mine(u->f, &u->f->gpu, 0);
	expect_mine(u->f, &u->f->gpu2, 0);
}

/* Zeros that nobody has, or a pattern that @holders have */
static void unit_begin(struct unit *u, unsigned int holders)
{
	struct fix *f = u->f;

	if (holders) {
		pattern_fill(u->p, UNIT, holders);
		pattern_fill(u->want, UNIT, holders);
	}
	if (holders == BY_GPU || holders == BY_GPUS)
		fix_to_gpu(f, u->p, UNIT);
	if (holders == BY_GPU2)
		fix_to_gpu2(f, u->p, UNIT);
	read_mostly(f, u->p, UNIT, true);
	if (holders == BY_GPUS)
		read_by_gpu(u, f->channel2);
	if (holders & BY_CPU && holders & BY_GPU)
		read_by_gpu(u, f->channel);
	if (holders & BY_CPU && holders & BY_GPU2)
		read_by_gpu(u, f->channel2);
	/* between GPUs that don't reach each other's memory it goes by the CPU */
	ASSERT_TRUE(holders_come(u, holders, holders == BY_GPUS ? BY_CPU : 0));
}

/* Each thing that can happen, whoever has the page */
TEST_VT(copies_table, managed_devices, 90)
{
	static const unsigned int beginnings[] = {
		0, BY_CPU, BY_GPU, BY_GPU2, BY_GPUS, BY_CPU | BY_GPU, BY_CPU | BY_GPU2, BY_ALL,
	};
	static struct unit u;
	unsigned int want, may;
	enum event event;
	struct fix f;
	size_t i;

	duplication_need();
	fix_pair(&f, v);
	for (i = 0; i < NR(beginnings); i++) {
		for (event = 0; event < NR_EVENTS; event++) {
			unit_open(&u, &f);
			unit_begin(&u, beginnings[i]);
			want = holders_after(&f, u.holders, event, &may);
			happen(&u, event, 0x61);
			expect_holders(&u, want, may, event_names[event]);
			/* everybody sees the same */
			happen(&u, GPU_READS, 0);
			happen(&u, GPU2_READS, 0);
			happen(&u, CPU_READS, 0);
			unit_close(&u);
		}
	}
	fix_close(&f);
}

/* One thing after another */
TEST_VT(copies_walk, managed_devices, 90)
{
	unsigned int rounds = harness_rounds(600), i, want, may;
	uint64_t rng = harness_seed;
	static struct unit u;
	enum event event;
	struct fix f;

	duplication_need();
	fix_pair(&f, v);
	unit_open(&u, &f);
	unit_begin(&u, 0);
	for (i = 0; i < rounds; i++) {
		event = harness_random(&rng) % NR_EVENTS;
		want = holders_after(&f, u.holders, event, &may);
		happen(&u, event, 1 + i % 255);
		if (!expect_holders(&u, want, may, event_names[event]))
			harness_note("round %u", i);
		if (event == SWITCHED_OFF)
			read_mostly(&f, u.p, UNIT, true);
	}
	EXPECT_EQ(memcmp(u.p, u.want, UNIT), 0);
	unit_close(&u);
	fix_close(&f);
}

struct unit_race {
	pthread_barrier_t *barrier;
	struct fix *f;
	char *p;
};

/* Two GPUs have some pages, one has the others: all go to one that has some already. */
TEST_V(copies_of_some, managed_devices)
{
	struct uvm_sim_cmd c = CMD(CRC32C, .length = PAGE);
	volatile uint64_t *out = anon(PAGE, RW, 0);
	struct uvm_migrate m;
	unsigned long some;
	struct fix f;
	char *p;

	duplication_need();
	fix_pair(&f, v);
	stay(f.s.fd, (void *)out, PAGE);
	p = managed(f.s.fd, HUGE);
	pattern_fill(p, HUGE, 1);
	fix_to_gpu2(&f, p, HUGE);
	read_mostly(&f, p, HUGE, true);
	c.src = ADDR(p);
	c.dst = ADDR(out);
	ASSERT_RET(channel_run(f.s.fd, f.channel, &c, 1), 0);
	some = my_pages(&f, &f.gpu);
	harness_note("%lu pages came, and %lu of the other GPU's are left", some,
		     my_pages(&f, &f.gpu2));
	EXPECT_GT(some, 0);
	EXPECT_LT(some, HUGE / PAGE);
	ASSERT_RET(migrate(f.s.fd, p, HUGE, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	expect_accounts(&m);
	EXPECT_EQ(m.out_moved, HUGE / PAGE - some);
	EXPECT_EQ(m.out_already, some);
	expect_mine(&f, &f.gpu, HUGE / PAGE);
	EXPECT_PATTERN(p, HUGE, 1);
	ASSERT_RET(munmap(p, HUGE), 0);
	expect_mine(&f, &f.gpu, 0);
	expect_mine(&f, &f.gpu2, 0);
	munmap((void *)out, PAGE);
	fix_close(&f);
}

static void *migrate_to_first(void *arg)
{
	struct unit_race *r = arg;
	struct uvm_migrate m;

	pthread_barrier_wait(r->barrier);
	ASSERT_RET(migrate(r->f->s.fd, r->p, HUGE, UVM_DEST_GPU, 0, r->f->gpu.uuid, &m), 0);
	expect_accounts(&m);
	return NULL;
}

/* A GPU's reads bring what UVM_MIGRATE brings there, too: each page comes once. */
TEST_VT(copies_come_once, managed_devices, 60)
{
	struct uvm_sim_cmd c = CMD(TOUCH, .length = HUGE, .arg0 = PAGE);
	unsigned int i, rounds = harness_rounds(60);
	struct unit_race r;
	pthread_t thread;
	struct fix f;

	duplication_need();
	fix_pair(&f, v);
	r.f = &f;
	r.barrier = shared_barrier(2);
	for (i = 0; i < rounds; i++) {
		r.p = managed(f.s.fd, HUGE);
		pattern_fill(r.p, HUGE, i);
		fix_to_gpu2(&f, r.p, HUGE);
		read_mostly(&f, r.p, HUGE, true);
		c.dst = ADDR(r.p);
		ASSERT_EQ(pthread_create(&thread, NULL, migrate_to_first, &r), 0);
		pthread_barrier_wait(r.barrier);
		EXPECT_RET(channel_run(f.s.fd, f.channel, &c, 1), 0);
		pthread_join(thread, NULL);
		expect_mine(&f, &f.gpu, HUGE / PAGE);
		EXPECT_PATTERN(r.p, HUGE, i);
		ASSERT_RET(munmap(r.p, HUGE), 0);
		expect_mine(&f, &f.gpu, 0);
		expect_mine(&f, &f.gpu2, 0);
	}
	fix_close(&f);
}

/* Once all have it, nobody copies, and nobody faults. */
TEST_V(copies_are_quiet, managed_devices)
{
	long long faults, faults2;
	static struct unit u;
	long bytes, bytes2;
	struct fix f;
	int i;

	duplication_need();
	fix_pair(&f, v);
	unit_open(&u, &f);
	unit_begin(&u, BY_ALL);
	bytes = sim_stat(&f.gpu, "bytes");
	bytes2 = sim_stat(&f.gpu2, "bytes");
	/* what the sums are written to is mapped anew each time */
	faults = view_counter(0, f.s.fd, &f.gpu, MOVED);
	faults2 = view_counter(0, f.s.fd, &f.gpu2, MOVED);
	for (i = 0; i < 20; i++) {
		happen(&u, GPU_READS, 0);
		happen(&u, GPU2_READS, 0);
		happen(&u, CPU_READS, 0);
	}
	EXPECT_EQ(sim_stat(&f.gpu, "bytes"), bytes);
	EXPECT_EQ(sim_stat(&f.gpu2, "bytes"), bytes2);
	EXPECT_EQ(view_counter(0, f.s.fd, &f.gpu, MOVED), faults);
	EXPECT_EQ(view_counter(0, f.s.fd, &f.gpu2, MOVED), faults2);
	EXPECT_EQ(holders_of(&u), BY_ALL);
	unit_close(&u);
	fix_close(&f);
}

static long counted(struct fix *f, const char *what)
{
	char name[40];
	long n;

	snprintf(name, sizeof(name), "uvm-%s-%u", what, f->gpu.id);
	n = fdinfo_number(f->s.fd, name);
	EXPECT_GE(n, 0);
	return n;
}

TEST_V(copies_counted, managed_devices)
{
	long duplicated, collapsed;
	static struct unit u;
	struct fix f;

	duplication_need();
	fix_pair(&f, v);
	unit_open(&u, &f);
	unit_begin(&u, BY_CPU);
	duplicated = counted(&f, "duplicated");
	collapsed = counted(&f, "collapsed");
	happen(&u, GPU_READS, 0);
	EXPECT_EQ(counted(&f, "duplicated"), duplicated + (long)UNIT_PAGES);
	EXPECT_EQ(counted(&f, "collapsed"), collapsed);
	happen(&u, GPU_READS, 0);
	EXPECT_EQ(counted(&f, "duplicated"), duplicated + (long)UNIT_PAGES);
	happen(&u, GPU_WRITES, 3);
	EXPECT_EQ(counted(&f, "duplicated"), duplicated + (long)UNIT_PAGES);
	EXPECT_EQ(counted(&f, "collapsed"), collapsed + (long)UNIT_PAGES);
	unit_close(&u);
	fix_close(&f);
}

/* A group that forbids migration forbids copies. */
TEST_V(copies_forbidden, managed_devices)
{
	static struct unit u;
	uint32_t group;
	struct fix f;

	duplication_need();
	fix_pair(&f, v);
	unit_open(&u, &f);
	unit_begin(&u, BY_CPU);
	ASSERT_RET(group_create(f.s.fd, &group), 0);
	ASSERT_RET(policy_group(f.s.fd, u.p, UNIT, group), 0);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	happen(&u, GPU_READS, 0);
	expect_holders(&u, BY_CPU, 0, "it is forbidden");
	ASSERT_RET(group_allow(f.s.fd, group, 1), 0);
	happen(&u, TO_GPU, 0);
	expect_holders(&u, BY_CPU | BY_GPU, 0, "it is allowed again");
	unit_close(&u);
	fix_close(&f);
}

/* Who has a page may write it without a word, so there is no other one. */
TEST_V(copies_of_pinned, managed_devices)
{
	static char seen[UNIT];
	static struct unit u;
	unsigned int early;
	struct fix f;
	int fd[2];

	duplication_need();
	fix_pair(&f, v);
	ASSERT_EQ(pipe2(fd, O_CLOEXEC), 0);
	fcntl(fd[1], F_SETPIPE_SZ, UNIT);
	for (early = 0; early < 2; early++) {
		unit_open(&u, &f);
		unit_begin(&u, early ? BY_CPU : BY_CPU | BY_GPU);
		splice_in(fd[1], u.p, UNIT);
		if (early) {
			happen(&u, GPU_READS, 0);
			expect_holders(&u, BY_CPU, 0, "pinned, a GPU reads");
		}
		happen(&u, GPU_WRITES, 0x21);
		expect_holders(&u, BY_CPU, 0, "pinned, a GPU writes");
		ASSERT_EQ(read(fd[0], seen, UNIT), (ssize_t)UNIT);
		EXPECT_EQ(memcmp(seen, u.want, UNIT), 0);
		happen(&u, CPU_READS, 0);
		unit_close(&u);
	}
	fix_close(&f);
}

/* What is unmapped is free everywhere, and what is beside it is where it was. */
TEST_V(copies_unmapped, managed_devices)
{
	static struct unit u;
	struct fix f;

	duplication_need();
	fix_pair(&f, v);
	unit_open(&u, &f);
	unit_begin(&u, BY_ALL);
	ASSERT_RET(munmap(u.p + 3 * PAGE, 5 * PAGE), 0);
	expect_mine(&f, &f.gpu, UNIT_PAGES - 5);
	expect_mine(&f, &f.gpu2, UNIT_PAGES - 5);
	EXPECT_EQ(memcmp(u.p, u.want, 3 * PAGE), 0);
	EXPECT_EQ(memcmp(u.p + 8 * PAGE, u.want + 8 * PAGE, UNIT - 8 * PAGE), 0);
	managed_at(f.s.fd, u.p + 3 * PAGE, 5 * PAGE);
	memset(u.want + 3 * PAGE, 0, 5 * PAGE);
	happen(&u, GPU_READS, 0);
	happen(&u, GPU2_READS, 0);
	happen(&u, CPU_READS, 0);
	unit_close(&u);
	fix_close(&f);
}

TEST_V(copies_discarded, managed_private)
{
	static struct unit u;
	struct uvm_discard d;
	struct fix f;

	duplication_need();
	fix_pair(&f, v);
	unit_open(&u, &f);
	unit_begin(&u, BY_ALL);
	ASSERT_RET(discard(f.s.fd, u.p, UNIT, 0, &d), 0);
	discard_expect_accounts(&d);
	/* what the CPU has is not discarded, and the copies say the same */
	EXPECT_EQ(d.out_skipped[UVM_DISCARD_SKIP_NOT_ON_GPU], UNIT_PAGES);
	expect_holders(&u, BY_ALL, 0, "discarded");
	happen(&u, GPU_READS, 0);
	happen(&u, CPU_READS, 0);
	write_by_gpu(&u, f.channel, 0x17);
	expect_holders(&u, BY_GPU, 0, "discarded, and a GPU writes");
	EXPECT_BYTES(u.p + 80, 8, 0x17);
	unit_close(&u);
	fix_close(&f);
}

/* More copies than there is memory for: they go, the bytes stay. */
TEST_VT(copies_more_than_room, managed_devices, 60)
{
	struct fix f;
	struct set s;
	int i;

	duplication_need();
	pressure_need(v);
	fix_open(&f, v);
	set_make(&s, &f, 2 * f.gpu.memory_size, 1);
	read_mostly(&f, s.p, set_size(&s), true);
	for (i = 0; i < 3; i++) {
		set_check_by_gpu(&s);
		set_check_by_cpu(&s);
		set_turn_all(&s);
	}
	EXPECT_LE(my_pages(&f, &f.gpu), f.gpu.memory_size / PAGE);
	set_free(&s);
	fix_close(&f);
}

/*
 * Everybody counts in the same word, and looks at it. Whoever looks sees at least what
 * was finished before he began, though there were copies a moment ago.
 */
struct counting {
	struct fix *f;
	uint64_t *word;
	atomic_ulong finished;
	atomic_bool stop;
};

static void *count_by_gpus(void *arg)
{
	struct counting *c = arg;
	uint32_t channel[2];
	unsigned int i;

	ASSERT_RET(channel_create(c->f->s.fd, c->f->gpu.uuid, &channel[0]), 0);
	ASSERT_RET(channel_create(c->f->s.fd, c->f->gpu2.uuid, &channel[1]), 0);
	for (i = 0; !atomic_load(&c->stop); i++) {
		struct uvm_sim_cmd add = CMD(ATOMIC_ADD, .dst = ADDR(c->word), .arg0 = 1,
					     .arg1 = 1);

		ASSERT_RET(channel_run(c->f->s.fd, channel[i % 2], &add, 1), 0);
		atomic_fetch_add(&c->finished, 1);
	}
	return NULL;
}

static void *count_by_cpu(void *arg)
{
	struct counting *c = arg;

	while (!atomic_load(&c->stop)) {
		__atomic_fetch_add(c->word, 1, __ATOMIC_SEQ_CST);
		atomic_fetch_add(&c->finished, 1);
	}
	return NULL;
}

static uint64_t look_by_gpu(struct counting *c, uint32_t channel, volatile uint64_t *out)
{
	struct uvm_sim_cmd copy = CMD(COPY, .dst = ADDR(out), .src = ADDR(c->word),
				      .length = 8);

	ASSERT_RET(channel_run(c->f->s.fd, channel, &copy, 1), 0);
	return *out;
}

TEST_VT(copies_race, managed_devices, 90)
{
	unsigned int rounds = harness_rounds(600), i;
	unsigned long least;
	struct counting c = { 0 };
	volatile uint64_t *out;
	pthread_t thread[2];
	uint64_t seen;
	struct fix f;

	duplication_need();
	fix_pair(&f, v);
	c.f = &f;
	c.word = managed(f.s.fd, HUGE);
	read_mostly(&f, (char *)c.word, HUGE, true);
	out = anon(PAGE, RW, 0);
	stay(f.s.fd, (void *)out, PAGE);
	ASSERT_EQ(pthread_create(&thread[0], NULL, count_by_gpus, &c), 0);
	ASSERT_EQ(pthread_create(&thread[1], NULL, count_by_cpu, &c), 0);
	for (i = 0; i < rounds; i++) {
		least = atomic_load(&c.finished);
		if (i % 3 == 0)
			seen = __atomic_load_n(c.word, __ATOMIC_SEQ_CST);
		else
			seen = look_by_gpu(&c, i % 3 == 1 ? f.channel : f.channel2, out);
		EXPECT_GE(seen, least);
	}
	atomic_store(&c.stop, true);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	EXPECT_EQ(*c.word, atomic_load(&c.finished));
	fix_close(&f);
}

/* ---- what UVM_QUERY_RANGE tells ---- */

static void expect_range(int fd, const char *p, int kind, const char *base, size_t length)
{
	struct range_answer range;

	ASSERT_RET(range_query(fd, p, &range), 0);
	EXPECT_EQ(range.q.out_kind, kind);
	EXPECT_EQ(range.q.out_base, ADDR(base));
	EXPECT_EQ(range.q.out_length, length);
}

/* Mappings side by side are one range, and policies and holes end it. */
TEST(range_extents)
{
	struct space s, other;
	char *p;

	open_space(&s);
	ASSERT_RET(space_open(&other), 0);
	p = managed(s.fd, 3 * HUGE);
	expect_range(s.fd, p + HUGE, UVM_RANGE_MANAGED, p, 3 * HUGE);
	ASSERT_RET(mprotect(p + HUGE, HUGE, PROT_READ), 0);
	expect_range(s.fd, p + HUGE + 5, UVM_RANGE_MANAGED, p, 3 * HUGE);
	ASSERT_RET(policy_switch(s.fd, UVM_SET_PREFETCH, p + HUGE, 2 * HUGE, 0), 0);
	expect_range(s.fd, p, UVM_RANGE_MANAGED, p, HUGE);
	expect_range(s.fd, p + 3 * HUGE - 1, UVM_RANGE_MANAGED, p + HUGE, 2 * HUGE);
	ASSERT_RET(munmap(p + HUGE, PAGE), 0);
	expect_range(s.fd, p + HUGE, UVM_RANGE_NONE, p + HUGE, PAGE);
	expect_range(s.fd, p + 2 * HUGE, UVM_RANGE_MANAGED, p + HUGE + PAGE, 2 * HUGE - PAGE);
	ASSERT_TRUE(mmap(p + HUGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		    p + HUGE);
	expect_range(s.fd, p + HUGE, UVM_RANGE_ORDINARY, p + HUGE, PAGE);
	/* to another VA space it is memory like any other */
	expect_range(other.fd, p, UVM_RANGE_ORDINARY, p, HUGE);
	space_close(&other);
	space_close(&s);
}

/* Who has pages, ordinary ones and managed ones */
TEST_V(range_copies, managed_devices)
{
	struct uvm_query_range q;
	struct range_answer range;
	struct uvm_migrate m;
	struct fix f;
	char *p, *q2;

	duplication_need();
	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 1);
	ASSERT_RET(range_query(f.s.fd, p, &range), 0);
	EXPECT_EQ(range.q.out_count, 1);
	EXPECT_EQ(range_pages(&range, UVM_PROCESSOR_CPU), f.length / PAGE);
	fix_to_gpu(&f, p, 3 * PAGE);
	ASSERT_RET(policy_switch(f.s.fd, UVM_SET_READ_MOSTLY, p, f.length, 1), 0);
	/* who has them keeps them */
	ASSERT_RET(migrate(f.s.fd, p + 3 * PAGE, 2 * PAGE, UVM_DEST_GPU, 0, f.gpu.uuid, &m),
		   0);
	ASSERT_RET(range_query(f.s.fd, p, &range), 0);
	EXPECT_EQ(range.q.out_count, 2);
	EXPECT_EQ(range.q.out_policy & UVM_POLICY_READ_MOSTLY, UVM_POLICY_READ_MOSTLY);
	EXPECT_EQ(range_pages(&range, f.gpu.id), 5);
	EXPECT_EQ(range_pages(&range, UVM_PROCESSOR_CPU), f.length / PAGE - 3);
	/* by id, the CPU last; and what doesn't fit isn't written */
	EXPECT_EQ(range.copies[0].id, f.gpu.id);
	q = range.q;
	q.copies = 1;
	q.count = 0;
	EXPECT_RET(uvm_ioctl(f.s.fd, UVM_QUERY_RANGE, &q), 0);
	EXPECT_EQ(q.out_count, 2);
	q.count = 1;
	EXPECT_RET(uvm_ioctl(f.s.fd, UVM_QUERY_RANGE, &q), -EFAULT);
	q2 = anon(4 * PAGE, RW, 0);
	q2[PAGE] = 1;
	ASSERT_RET(range_query(f.s.fd, q2, &range), 0);
	EXPECT_EQ(range.q.out_kind, UVM_RANGE_ORDINARY);
	EXPECT_GE(range_pages(&range, UVM_PROCESSOR_CPU), 1);
	fix_close(&f);
}

static void __attribute__((constructor)) install(void)
{
	devices_install();
}

HARNESS_MAIN()
