// SPDX-License-Identifier: GPL-2.0-only
/*
 * The software GPU's compute engine: what it says that a command will access next is
 * what the command then accesses. Every command misses once, at each of its accesses
 * in turn; what the look ahead told at that moment is compared with the rest of the run.
 */
#include "../../src/sim/compute.c"

#include <kunit/test.h>
#include <linux/container_of.h>

#define MAX_SEEN	256
#define ALL		MAX_SEEN

struct seen {
	u64 va;
	u32 access;
};

/* Records accesses; the one with number @miss misses, once. */
struct recorder {
	struct sim_port port;
	struct sim_task task;
	unsigned int miss;
	unsigned int nr;
	struct seen seen[MAX_SEEN];
	unsigned int nr_ahead;
	struct seen ahead[MAX_SEEN];
	unsigned int nr_want;
	struct seen want[MAX_SEEN];
};

static struct recorder *to_recorder(struct sim_port *port)
{
	return container_of(port, struct recorder, port);
}

static int record(struct sim_port *port, u64 va, u32 access)
{
	struct recorder *r = to_recorder(port);

	if (r->nr == r->miss) {
		r->miss = MAX_SEEN;
		return -EAGAIN;
	}
	if (r->nr == MAX_SEEN)
		return -EFAULT;
	r->seen[r->nr++] = (struct seen){ va, access };
	return 0;
}

static int record_read(struct sim_port *port, u64 va, void *buf, u32 len)
{
	memset(buf, 0, len);
	return record(port, va, UVM_ACCESS_READ);
}

static int record_fold(struct sim_port *port, u64 va, u32 len, sim_fold_t fold,
		       struct sim_task *task)
{
	static const u8 zeros[SIM_PAGE_SIZE] __aligned(8);
	int ret = record(port, va, UVM_ACCESS_READ);

	if (!ret)
		fold(task, zeros, len);
	return ret;
}

static int record_write(struct sim_port *port, u64 va, const void *buf, u32 len)
{
	return record(port, va, UVM_ACCESS_WRITE);
}

static int record_touch(struct sim_port *port, u64 va)
{
	return record(port, va, UVM_ACCESS_WRITE);
}

static int record_add(struct sim_port *port, u64 va, u64 value)
{
	return record(port, va, UVM_ACCESS_ATOMIC);
}

static void record_ahead(struct sim_port *port, u64 va, u32 access)
{
	struct recorder *r = to_recorder(port);

	if (r->nr_ahead < MAX_SEEN)
		r->ahead[r->nr_ahead++] = (struct seen){ va, access };
}

static struct recorder *recorder(struct kunit *test)
{
	struct recorder *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, r);
	r->port.read = record_read;
	r->port.fold = record_fold;
	r->port.write = record_write;
	r->port.touch = record_touch;
	r->port.add = record_add;
	r->port.ahead = record_ahead;
	return r;
}

/* Runs until the end, or until an access misses. */
static int run(struct recorder *r)
{
	int ret;

	do {
		ret = sim_task_step(&r->task, &r->port);
	} while (ret > 0);
	return ret;
}

static u64 page_of(u64 va)
{
	return va / SIM_PAGE_SIZE;
}

/* The strongest access to the page of @va among the first @n. */
static u32 strongest(const struct seen *seen, unsigned int n, u64 va)
{
	u32 access = 0;
	unsigned int i;

	for (i = 0; i < n; i++)
		if (page_of(seen[i].va) == page_of(va) && seen[i].access > access)
			access = seen[i].access;
	return access;
}

/*
 * What the run from access @first, which missed, should have been told: each page that
 * it had not accessed so before, or just asked for, by its first address.
 */
static void expect_from(struct recorder *r, unsigned int first)
{
	const struct seen *seen = r->seen;
	unsigned int i;
	u32 access;

	r->nr_want = 0;
	for (i = first + 1; i < r->nr; i++) {
		access = strongest(seen + i, r->nr - i, seen[i].va);
		if (strongest(seen, first + 1, seen[i].va) >= access ||
		    strongest(r->want, r->nr_want, seen[i].va))
			continue;
		r->want[r->nr_want++] = (struct seen){ seen[i].va, access };
	}
}

/* Pages that the command had already may be told again. */
static void drop_known(struct recorder *r, unsigned int first)
{
	unsigned int i, n = 0;

	for (i = 0; i < r->nr_ahead; i++)
		if (strongest(r->seen, first, r->ahead[i].va) < r->ahead[i].access)
			r->ahead[n++] = r->ahead[i];
	r->nr_ahead = n;
}

static void expect_told(struct kunit *test, struct recorder *r, unsigned int first)
{
	unsigned int i;

	expect_from(r, first);
	drop_known(r, first);
	KUNIT_EXPECT_EQ(test, r->nr_ahead, r->nr_want);
	for (i = 0; i < min(r->nr_ahead, r->nr_want); i++) {
		KUNIT_EXPECT_EQ(test, r->ahead[i].va, r->want[i].va);
		KUNIT_EXPECT_EQ(test, r->ahead[i].access, r->want[i].access);
	}
}

/* One run that misses at access @first; false if there is no such access. */
static bool check_miss(struct kunit *test, const struct uvm_sim_cmd *cmd,
		       unsigned int first)
{
	struct recorder *r = recorder(test);
	bool missed;
	int ret;

	KUNIT_ASSERT_EQ(test, sim_cmd_check(cmd), 0);
	r->miss = first;
	sim_task_start(&r->task, cmd);
	ret = run(r);
	missed = ret == -EAGAIN;
	if (missed) {
		sim_task_ahead(&r->task, &r->port, ALL);
		ret = run(r);
	}
	KUNIT_EXPECT_EQ(test, ret, 0);
	if (missed)
		expect_told(test, r, first);
	kunit_kfree(test, r);
	return missed;
}

static void check_command(struct kunit *test, struct uvm_sim_cmd cmd)
{
	unsigned int first = 0;

	while (check_miss(test, &cmd, first))
		first++;
	KUNIT_EXPECT_GT(test, first, 0U);
}

/* Operands at all kinds of places in their pages. */
static const u64 offsets[] = { 0, 8, 0xff8 };
static const u64 lengths[] = { 8, 0x1008, 0x2000, 0x2ff8 };

static void check_lengths(struct kunit *test, struct uvm_sim_cmd cmd)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		cmd.length = lengths[i];
		check_command(test, cmd);
	}
}

static void check_places(struct kunit *test, struct uvm_sim_cmd cmd)
{
	bool source = sim_ops[cmd.op].rules & SIM_SRC;
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		cmd.dst = 0x100000 + offsets[i];
		for (k = 0; source && k < ARRAY_SIZE(offsets); k++) {
			cmd.src = 0x200000 + offsets[k];
			check_lengths(test, cmd);
		}
		if (!source)
			check_lengths(test, cmd);
	}
}

#define AHEAD_TEST(name, op_, ...)					\
	static void name(struct kunit *test)				\
	{								\
		check_places(test, (struct uvm_sim_cmd){		\
			.op = UVM_SIM_##op_, __VA_ARGS__ });		\
	}

AHEAD_TEST(ahead_of_fill, FILL, .arg0 = 1)
AHEAD_TEST(ahead_of_copy, COPY)
AHEAD_TEST(ahead_of_xor, XOR, .arg0 = 1)
AHEAD_TEST(ahead_of_histogram, HISTOGRAM)
AHEAD_TEST(ahead_of_crc32c, CRC32C)
AHEAD_TEST(ahead_of_sum, SUM)
AHEAD_TEST(ahead_of_touch, TOUCH, .arg0 = 0x1000)
AHEAD_TEST(ahead_of_wide_touch, TOUCH, .arg0 = 0x2ffd, .arg1 = 1)
AHEAD_TEST(ahead_of_close_touch, TOUCH, .arg0 = 0x333)

/* A stride that leads past the end of everything. */
static void ahead_of_far_touch(struct kunit *test)
{
	check_command(test, (struct uvm_sim_cmd){
		.op = UVM_SIM_TOUCH, .dst = 0x1000, .length = 0x10000,
		.arg0 = ~0ULL,
	});
}

/* No more is told than was asked for, and nothing where nothing can be known. */
static void ahead_is_bounded(struct kunit *test)
{
	struct uvm_sim_cmd sum = {
		.op = UVM_SIM_SUM, .dst = 0x100000, .src = 0x200000,
		.length = 0x8000,
	};
	struct uvm_sim_cmd chase = {
		.op = UVM_SIM_CHASE, .dst = 0x100000, .src = 0x200000,
		.arg0 = 9,
	};
	struct recorder *r = recorder(test);

	sim_task_start(&r->task, &sum);
	KUNIT_EXPECT_EQ(test, run(r), -EAGAIN);
	sim_task_ahead(&r->task, &r->port, 0);
	KUNIT_EXPECT_EQ(test, r->nr_ahead, 0U);
	sim_task_ahead(&r->task, &r->port, 3);
	KUNIT_EXPECT_EQ(test, r->nr_ahead, 3U);
	KUNIT_EXPECT_EQ(test, r->ahead[2].va, 0x203000ULL);

	r->nr_ahead = 0;
	r->miss = 0;
	sim_task_start(&r->task, &chase);
	KUNIT_EXPECT_EQ(test, run(r), -EAGAIN);
	sim_task_ahead(&r->task, &r->port, ALL);
	KUNIT_EXPECT_EQ(test, r->nr_ahead, 0U);
}

static struct kunit_case compute_cases[] = {
	KUNIT_CASE(ahead_of_fill),
	KUNIT_CASE(ahead_of_copy),
	KUNIT_CASE(ahead_of_xor),
	KUNIT_CASE(ahead_of_histogram),
	KUNIT_CASE(ahead_of_crc32c),
	KUNIT_CASE(ahead_of_sum),
	KUNIT_CASE(ahead_of_touch),
	KUNIT_CASE(ahead_of_wide_touch),
	KUNIT_CASE(ahead_of_close_touch),
	KUNIT_CASE(ahead_of_far_touch),
	KUNIT_CASE(ahead_is_bounded),
	{}
};

static struct kunit_suite compute_suite = {
	.name = "uvm_sim_compute",
	.test_cases = compute_cases,
};

kunit_test_suite(compute_suite);
