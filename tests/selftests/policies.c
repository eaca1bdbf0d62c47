// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves the contract of include/uapi/linux/uvm.h about policies: what is refused, and
 * changes nothing; which policies hold where, as UVM_QUERY_POLICY tells them; how they
 * split, merge, and end with their memory; and that all of that holds when others change
 * mappings meanwhile.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "lib_env.h"
#include "lib_memory.h"
#include "lib_policy.h"
#include "lib_uvm.h"

/* ---- policies: bad input ---- */

/* The commands that take a range; .kind is the command's number. */
static const struct variant setters[] = {
	{ "preferred_location", UVM_CMD_SET_PREFERRED_LOCATION, 0 },
	{ "accessed_by", UVM_CMD_SET_ACCESSED_BY, 0 },
	{ "fault_migration", UVM_CMD_SET_FAULT_MIGRATION, 0 },
	{ "prefetch", UVM_CMD_SET_PREFETCH, 0 },
	{ "read_mostly", UVM_CMD_SET_READ_MOSTLY, 0 },
	{ "range_group", UVM_CMD_SET_RANGE_GROUP, 0 },
	{ NULL, 0, 0 },
};

/* Each takes the range away from the default. */
static int set_at(struct env *e, int cmd, uint64_t base, uint64_t length)
{
	const void *p = (const void *)base;
	int fd = e->fd[VA];

	switch (cmd) {
	case UVM_CMD_SET_PREFERRED_LOCATION:
		return policy_prefer(fd, p, length, UVM_DEST_GPU, 0, e->gpu.uuid);
	case UVM_CMD_SET_ACCESSED_BY:
		return policy_accessed_by(fd, p, length, e->gpu.uuid, 1);
	case UVM_CMD_SET_RANGE_GROUP:
		return policy_group(fd, p, length, e->group);
	default:
		return policy_switch(fd, _IO(UVM_TYPE, cmd), p, length,
				     cmd == UVM_CMD_SET_READ_MOSTLY);
	}
}

/* Pages @first to @end - 1 of @p have the default policy. */
static void expect_default(int fd, const char *p, int first, int end)
{
	static const uint8_t none[UVM_UUID_LEN];
	struct policy policy;
	int i;

	for (i = first; i < end; i++) {
		ASSERT_RET(policy_query(fd, p + i * PAGE, &policy), 0);
		EXPECT_EQ(policy.q.out_policy, POLICY_DEFAULT);
		EXPECT_EQ(policy.q.out_group, 0);
		EXPECT_EQ(policy.q.out_dest_kind, UVM_DEST_NONE);
		EXPECT_EQ(policy.q.out_dest_node, 0);
		EXPECT_EQ(memcmp(policy.q.out_dest_uuid, none, UVM_UUID_LEN), 0);
		EXPECT_EQ(policy.q.out_count, 0);
		EXPECT_LE(policy.q.out_base, ADDR(p + first * PAGE));
		EXPECT_GE(policy.q.out_base + policy.q.out_length, ADDR(p + end * PAGE));
	}
}

/* Pages @first to @end - 1 of @p have one policy, and those beside them others. */
static struct policy run_of(int fd, const char *p, int first, int end)
{
	struct policy policy = { 0 };
	int i;

	for (i = first; i < end; i++) {
		/* anywhere in the page */
		ASSERT_RET(policy_query(fd, p + i * PAGE + i, &policy), 0);
		EXPECT_EQ(policy.q.out_base, ADDR(p + first * PAGE));
		EXPECT_EQ(policy.q.out_length, (end - first) * PAGE);
	}
	return policy;
}

TEST_V(policy_ranges, setters)
{
	struct sight was;
	uint64_t base;
	struct env e;
	char *area;

	env_open(&e);
	base = ADDR(e.buf);
	env_look(&e, &was);
	EXPECT_RET(set_at(&e, v->kind, base, 0), -EINVAL);
	EXPECT_RET(set_at(&e, v->kind, base + 1, PAGE), -EINVAL);
	EXPECT_RET(set_at(&e, v->kind, base + PAGE / 2, PAGE), -EINVAL);
	EXPECT_RET(set_at(&e, v->kind, base, 1), -EINVAL);
	EXPECT_RET(set_at(&e, v->kind, base, PAGE + 8), -EINVAL);
	EXPECT_RET(set_at(&e, v->kind, base, -PAGE), -EINVAL);
	EXPECT_RET(set_at(&e, v->kind, -PAGE, 2 * PAGE), -EINVAL);
	EXPECT_RET(set_at(&e, v->kind, -PAGE, PAGE), -EINVAL);
	EXPECT_RET2(set_at(&e, v->kind, TASK_END, PAGE), -EINVAL, -EFAULT);
	EXPECT_RET2(set_at(&e, v->kind, base, TASK_END), -EINVAL, -EFAULT);
	EXPECT_RET(set_at(&e, v->kind, KERNEL_ADDR, PAGE), -EINVAL);
	EXPECT_RET(set_at(&e, v->kind, 0x8000000000000000ULL, PAGE), -EINVAL);
	EXPECT_RET(set_at(&e, v->kind, 0, PAGE), -EFAULT);
	expect_unchanged(&e, &was, "a bad range");

	/* a hole in the middle, at the start, at the end; then PROT_NONE */
	area = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	base = ADDR(area);
	ASSERT_RET(munmap(area + 3 * PAGE, PAGE), 0);
	ASSERT_RET(mprotect(area + 6 * PAGE, PAGE, PROT_NONE), 0);
	EXPECT_RET(set_at(&e, v->kind, base, 6 * PAGE), -EFAULT);
	EXPECT_RET(set_at(&e, v->kind, base + 3 * PAGE, 2 * PAGE), -EFAULT);
	EXPECT_RET(set_at(&e, v->kind, base + 2 * PAGE, 2 * PAGE), -EFAULT);
	EXPECT_RET(set_at(&e, v->kind, base + 4 * PAGE, 4 * PAGE), -EFAULT);
	EXPECT_RET(set_at(&e, v->kind, base + 6 * PAGE, PAGE), -EFAULT);
	expect_default(e.fd[VA], area, 0, 8);
	expect_unchanged(&e, &was, "a range with a hole");

	/* any access is enough */
	ASSERT_RET(mprotect(area + 6 * PAGE, PAGE, PROT_WRITE), 0);
	ASSERT_RET(mprotect(area + 7 * PAGE, PAGE, PROT_EXEC), 0);
	EXPECT_RET(set_at(&e, v->kind, base + 4 * PAGE, 4 * PAGE), 0);
	run_of(e.fd[VA], area, 4, 8);
	expect_default(e.fd[VA], area, 0, 4);
	munmap(area, 8 * PAGE);
	env_close(&e);
}

TEST(policy_destinations)
{
	static const int nodes[] = { -1, -2, 1023, 1024, 1 << 20, 0x7fffffff };
	static const uint8_t one[UVM_UUID_LEN] = { [15] = 1 };
	struct sight was;
	struct env e;
	size_t i;
	int fd;

	env_open(&e);
	fd = e.fd[VA];
	env_look(&e, &was);
	EXPECT_RET(policy_prefer(fd, e.buf, PAGE, 4, 0, NULL), -EINVAL);
	EXPECT_RET(policy_prefer(fd, e.buf, PAGE, -1, 0, NULL), -EINVAL);
	EXPECT_RET(policy_prefer(fd, e.buf, PAGE, UVM_DEST_NONE, 1, NULL), -EINVAL);
	EXPECT_RET(policy_prefer(fd, e.buf, PAGE, UVM_DEST_CPU, 1, NULL), -EINVAL);
	EXPECT_RET(policy_prefer(fd, e.buf, PAGE, UVM_DEST_GPU, 1, e.gpu.uuid), -EINVAL);
	EXPECT_RET(policy_prefer(fd, e.buf, PAGE, UVM_DEST_NONE, 0, one), -EINVAL);
	EXPECT_RET(policy_prefer(fd, e.buf, PAGE, UVM_DEST_CPU, 0, one), -EINVAL);
	EXPECT_RET(policy_prefer(fd, e.buf, PAGE, UVM_DEST_CPU_NODE, 0, one), -EINVAL);
	for (i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		EXPECT_RET(policy_prefer(fd, e.buf, PAGE, UVM_DEST_CPU_NODE, nodes[i],
					 NULL), -EINVAL);
	EXPECT_RET(policy_prefer(fd, e.buf, PAGE, UVM_DEST_GPU, 0, NULL), -ENODEV);
	EXPECT_RET(policy_prefer(fd, e.buf, PAGE, UVM_DEST_GPU, 0, nobody), -ENODEV);
	EXPECT_RET(policy_accessed_by(fd, e.buf, PAGE, nobody, 1), -ENODEV);
	EXPECT_RET(policy_accessed_by(fd, e.buf, PAGE, nobody, 0), -ENODEV);
	EXPECT_RET(policy_accessed_by(fd, e.buf, PAGE, one, 1), -ENODEV);
	expect_unchanged(&e, &was, "a bad place for pages");
	env_close(&e);
}

/* GPUs that are there, and not here */
TEST(policy_unregistered_gpu)
{
	char *p = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uvm_gpu_info gpus[MAX_GPUS];
	int i, n = gpus_list(gpus, MAX_GPUS);
	struct space s;

	if (!n)
		SKIP("no GPU");
	ASSERT_RET(space_open(&s), 0);
	for (i = 0; i < n; i++) {
		EXPECT_RET(policy_prefer(s.fd, p, PAGE, UVM_DEST_GPU, 0, gpus[i].uuid),
			   -ENOENT);
		EXPECT_RET(policy_accessed_by(s.fd, p, PAGE, gpus[i].uuid, 1), -ENOENT);
		EXPECT_RET(policy_accessed_by(s.fd, p, PAGE, gpus[i].uuid, 0), -ENOENT);
		expect_default(s.fd, p, 0, 1);
		ASSERT_RET(register_gpu(s.fd, gpus[i].uuid), 0);
		EXPECT_RET(policy_prefer(s.fd, p, PAGE, UVM_DEST_GPU, 0, gpus[i].uuid),
			   0);
		ASSERT_RET(unregister_gpu(s.fd, gpus[i].uuid), 0);
	}
	space_close(&s);
}

/* Switches are 0 or 1. */
TEST(policy_switch_values)
{
	static const unsigned long cmds[] = {
		UVM_SET_FAULT_MIGRATION, UVM_SET_PREFETCH, UVM_SET_READ_MOSTLY,
	};
	static const uint32_t bad[] = { 2, 3, 0x100, 0x80000000, 0xffffffff };
	struct sight was;
	struct env e;
	size_t i, n;

	env_open(&e);
	env_look(&e, &was);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (n = 0; n < sizeof(cmds) / sizeof(cmds[0]); n++)
			EXPECT_RET(policy_switch(e.fd[VA], cmds[n], e.buf, BUF_SIZE,
						 bad[i]), -EINVAL);
		EXPECT_RET(policy_accessed_by(e.fd[VA], e.buf, BUF_SIZE, e.gpu.uuid,
					      bad[i]), -EINVAL);
		EXPECT_RET(group_allow(e.fd[VA], e.group, bad[i]), -EINVAL);
	}
	expect_unchanged(&e, &was, "a switch that is neither on nor off");
	env_close(&e);
}

TEST(unknown_group)
{
	uint32_t ids[] = { 0, MAX_GROUPS + 1, 0x7fffffff, 0xffffffff, 0, 0 }, id;
	struct sight was;
	struct space s;
	struct env e;
	size_t i;

	env_open(&e);
	ASSERT_RET(space_open(&s), 0);
	/* one that is gone, and one of another VA space, which has more of them */
	ASSERT_RET(group_create(e.fd[VA], &ids[4]), 0);
	ASSERT_RET(group_destroy(e.fd[VA], ids[4]), 0);
	for (i = 0; i < 3; i++)
		ASSERT_RET(group_create(s.fd, &ids[5]), 0);
	ASSERT_NE(ids[5], e.group);
	env_look(&e, &was);
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		EXPECT_RET(group_destroy(e.fd[VA], ids[i]), -ENOENT);
		EXPECT_RET(group_allow(e.fd[VA], ids[i], 0), -ENOENT);
		EXPECT_RET(group_allow(e.fd[VA], ids[i], 1), -ENOENT);
		if (ids[i])
			EXPECT_RET(policy_group(e.fd[VA], e.buf, BUF_SIZE, ids[i]),
				   -ENOENT);
	}
	expect_unchanged(&e, &was, "an unknown range group");
	EXPECT_RET(group_destroy(s.fd, ids[5]), 0);
	EXPECT_RET(group_create(e.fd[VA], &id), 0);
	space_close(&s);
	env_close(&e);
}

TEST_T(max_groups, 60)
{
	static uint32_t ids[MAX_GROUPS];
	bool seen[MAX_GROUPS + 1] = { false };
	struct uvm_create_range_group *undelivered;
	uint32_t extra = 77, next;
	struct space s;
	int i;

	ASSERT_RET(space_open(&s), 0);
	/* a group whose id could not be delivered isn't there, and costs nothing */
	undelivered = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	undelivered->size = sizeof(*undelivered);
	ASSERT_RET(mprotect(undelivered, PAGE, PROT_READ), 0);
	for (i = 0; i < 10; i++)
		EXPECT_RET(uvm_ioctl(s.fd, UVM_CREATE_RANGE_GROUP, undelivered),
			   -EFAULT);
	for (i = 0; i < MAX_GROUPS; i++) {
		ASSERT_RET(group_create(s.fd, &ids[i]), 0);
		ASSERT_TRUE(ids[i] && (ids[i] > MAX_GROUPS || !seen[ids[i]]));
		if (ids[i] <= MAX_GROUPS)
			seen[ids[i]] = true;
	}
	EXPECT_RET(group_create(s.fd, &extra), -ENOSPC);
	EXPECT_RET(group_create(s.fd, &extra), -ENOSPC);
	EXPECT_EQ(extra, 77);
	EXPECT_RET(group_allow(s.fd, ids[MAX_GROUPS - 1], 0), 0);
	EXPECT_RET(group_destroy(s.fd, ids[500]), 0);
	EXPECT_RET(group_create(s.fd, &extra), 0);
	EXPECT_RET(group_create(s.fd, &next), -ENOSPC);
	/* an id is handed out once */
	for (i = 0; i < MAX_GROUPS; i++)
		EXPECT_NE(extra, ids[i]);
	for (i = 0; i < 10; i++) {
		EXPECT_RET(group_destroy(s.fd, extra), 0);
		next = extra;
		EXPECT_RET(group_create(s.fd, &extra), 0);
		EXPECT_GT(extra, next);
		EXPECT_RET(group_allow(s.fd, next, 1), -ENOENT);
	}
	space_close(&s);
}

TEST(policy_addresses)
{
	static const uint64_t bad[] = {
		KERNEL_ADDR, 0x8000000000000000ULL, -PAGE, -1ULL,
	};
	struct policy policy;
	struct space s;
	size_t i;

	ASSERT_RET(space_open(&s), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT_RET(policy_query(s.fd, (const void *)bad[i], &policy), -EINVAL);
	/* nothing has a policy: all that can be mapped is one range */
	EXPECT_RET(policy_query(s.fd, NULL, &policy), 0);
	EXPECT_EQ(policy.q.out_base, 0);
	EXPECT_GE(policy.q.out_length, TASK_END);
	EXPECT_RET(policy_query(s.fd, (const void *)(TASK_END - 1), &policy), 0);
	EXPECT_EQ(policy.q.out_base, 0);
	EXPECT_GE(policy.q.out_length, TASK_END);
	EXPECT_EQ(policy.q.out_policy, POLICY_DEFAULT);
	space_close(&s);
}

/* No more uuids than there is room for, the CPU's first */
TEST(policy_room)
{
	struct uvm_query_policy q = { .size = sizeof(q) };
	uint8_t uuids[3][UVM_UUID_LEN];
	struct env e;
	char *area;

	env_open(&e);
	area = anon(2 * PAGE, PROT_READ | PROT_WRITE, 0);
	ASSERT_RET(mprotect(area + PAGE, PAGE, PROT_READ), 0);
	q.address = ADDR(e.buf + PAGE);
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_QUERY_POLICY, &q), 0);
	EXPECT_EQ(q.out_count, 2);
	/* nothing to store, nowhere to store it */
	q.accessed_by = KERNEL_ADDR;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_QUERY_POLICY, &q), 0);

	memset(uuids, 0x5a, sizeof(uuids));
	q.accessed_by = ADDR(uuids);
	q.count = 1;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_QUERY_POLICY, &q), 0);
	EXPECT_EQ(q.out_count, 2);
	EXPECT_BYTES(uuids[0], UVM_UUID_LEN, 0);
	EXPECT_BYTES(uuids[1], 2 * UVM_UUID_LEN, 0x5a);
	q.count = ~0U;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_QUERY_POLICY, &q), 0);
	EXPECT_EQ(q.out_count, 2);
	EXPECT_EQ(memcmp(uuids[1], e.gpu.uuid, UVM_UUID_LEN), 0);
	EXPECT_BYTES(uuids[2], UVM_UUID_LEN, 0x5a);

	/* the array ends in a page that can't be written */
	q.accessed_by = ADDR(area + PAGE - UVM_UUID_LEN);
	q.count = 1;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_QUERY_POLICY, &q), 0);
	q.count = 2;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_QUERY_POLICY, &q), -EFAULT);
	env_close(&e);
}

/* ---- policies: what they are ---- */

#define NO_MIGRATION	(POLICY_DEFAULT & ~UVM_POLICY_FAULT_MIGRATION)
#define NO_PREFETCH	(POLICY_DEFAULT & ~UVM_POLICY_PREFETCH)
#define NOT_ALLOWED	(POLICY_DEFAULT & ~UVM_POLICY_ALLOW_MIGRATION)

static void set_prefetch(int fd, const char *p, int first, int end, int enable)
{
	ASSERT_RET(policy_switch(fd, UVM_SET_PREFETCH, p + first * PAGE,
				 (end - first) * PAGE, enable), 0);
}

static void set_migration(int fd, const char *p, int first, int end, int enable)
{
	ASSERT_RET(policy_switch(fd, UVM_SET_FAULT_MIGRATION, p + first * PAGE,
				 (end - first) * PAGE, enable), 0);
}

static void set_group(int fd, const char *p, int first, int end, uint32_t group)
{
	ASSERT_RET(policy_group(fd, p + first * PAGE, (end - first) * PAGE, group), 0);
}

#define MAX_POLICIES	16384

/*
 * There is a limit to ranges with policies of their own. Beyond it nothing is changed;
 * what needs no more of them works, and so does unmapping.
 */
TEST_T(policy_limit, 60)
{
	/* one of three pages, and one that is cut into as many as there can be */
	const int first = 4, end = first + MAX_POLICIES, behind = end + 1;
	char *p = anon((behind + 1) * PAGE, PROT_READ, MAP_NORESERVE);
	char *last = p + behind * PAGE;
	struct policy was, now;
	struct space s;
	int i;

	ASSERT_RET(space_open(&s), 0);
	set_prefetch(s.fd, p, 0, 3, 0);
	set_prefetch(s.fd, p, first, end, 0);
	for (i = first + 1; i < end - 1; i += 2)
		set_migration(s.fd, p, i, i + 1, 0);
	ASSERT_RET(policy_query(s.fd, last, &was), 0);
	EXPECT_RET(policy_switch(s.fd, UVM_SET_PREFETCH, last, PAGE, 0), -ENOSPC);
	EXPECT_RET(policy_prefer(s.fd, last, PAGE, UVM_DEST_CPU, 0, NULL), -ENOSPC);
	EXPECT_RET(policy_accessed_by(s.fd, last, PAGE, NULL, 1), -ENOSPC);
	EXPECT_RET(policy_switch(s.fd, UVM_SET_READ_MOSTLY, p + PAGE, PAGE, 1), -ENOSPC);
	ASSERT_RET(policy_query(s.fd, last, &now), 0);
	EXPECT_EQ(memcmp(&was, &now, sizeof(was)), 0);
	EXPECT_EQ(run_of(s.fd, p, 0, 3).q.out_policy, NO_PREFETCH);

	EXPECT_RET(policy_switch(s.fd, UVM_SET_FAULT_MIGRATION, p, 3 * PAGE, 0), 0);
	EXPECT_EQ(run_of(s.fd, p, 0, 3).q.out_policy, NO_PREFETCH & NO_MIGRATION);
	EXPECT_RET(policy_switch(s.fd, UVM_SET_FAULT_MIGRATION, p, 3 * PAGE, 1), 0);
	/* one goes, one comes */
	set_prefetch(s.fd, p, 0, 3, 1);
	set_prefetch(s.fd, p, behind, behind + 1, 0);
	EXPECT_RET(policy_switch(s.fd, UVM_SET_PREFETCH, p, 3 * PAGE, 0), -ENOSPC);
	set_prefetch(s.fd, p, behind, behind + 1, 1);
	set_prefetch(s.fd, p, 0, 3, 0);
	/* a hole makes two of one */
	ASSERT_RET(munmap(p + PAGE, PAGE), 0);
	run_of(s.fd, p, 0, 1);
	run_of(s.fd, p, 2, 3);
	EXPECT_RET(policy_switch(s.fd, UVM_SET_PREFETCH, last, PAGE, 0), -ENOSPC);
	ASSERT_RET(munmap(p + 2 * PAGE, 100 * PAGE), 0);
	set_prefetch(s.fd, p, behind, behind + 1, 0);
	set_prefetch(s.fd, p, 0, 1, 1);
	expect_default(s.fd, p, 0, 102);
	space_close(&s);
}

/* Ranges split where policies differ, and merge where they don't any more. */
TEST(policy_split_merge)
{
	char *p = anon(16 * PAGE, PROT_READ | PROT_WRITE, 0);
	struct policy policy;
	struct space s;

	ASSERT_RET(space_open(&s), 0);
	set_migration(s.fd, p, 4, 12, 0);
	EXPECT_EQ(run_of(s.fd, p, 4, 12).q.out_policy, NO_MIGRATION);
	/* what is before and behind reaches as far as it can */
	ASSERT_RET(policy_query(s.fd, p + 3 * PAGE, &policy), 0);
	EXPECT_EQ(policy.q.out_base, 0);
	EXPECT_EQ(policy.q.out_length, ADDR(p + 4 * PAGE));
	ASSERT_RET(policy_query(s.fd, p + 12 * PAGE, &policy), 0);
	EXPECT_EQ(policy.q.out_base, ADDR(p + 12 * PAGE));
	EXPECT_GE(policy.q.out_base + policy.q.out_length, TASK_END);

	set_prefetch(s.fd, p, 8, 10, 0);
	EXPECT_EQ(run_of(s.fd, p, 4, 8).q.out_policy, NO_MIGRATION);
	EXPECT_EQ(run_of(s.fd, p, 8, 10).q.out_policy, NO_MIGRATION & NO_PREFETCH);
	EXPECT_EQ(run_of(s.fd, p, 10, 12).q.out_policy, NO_MIGRATION);
	set_prefetch(s.fd, p, 8, 10, 1);
	run_of(s.fd, p, 4, 12);

	/* grows at both ends, over what has another policy, and in two steps */
	set_prefetch(s.fd, p, 10, 14, 0);
	run_of(s.fd, p, 4, 10);
	run_of(s.fd, p, 10, 12);
	EXPECT_EQ(run_of(s.fd, p, 12, 14).q.out_policy, NO_PREFETCH);
	set_migration(s.fd, p, 0, 5, 0);
	run_of(s.fd, p, 0, 10);
	set_migration(s.fd, p, 12, 16, 0);
	run_of(s.fd, p, 10, 14);
	set_prefetch(s.fd, p, 9, 15, 1);
	EXPECT_EQ(run_of(s.fd, p, 0, 16).q.out_policy, NO_MIGRATION);

	/* a hole of one page, at the ends and in the middle */
	set_migration(s.fd, p, 0, 1, 1);
	set_migration(s.fd, p, 7, 8, 1);
	set_migration(s.fd, p, 15, 16, 1);
	run_of(s.fd, p, 1, 7);
	expect_default(s.fd, p, 7, 8);
	run_of(s.fd, p, 8, 15);
	set_migration(s.fd, p, 0, 16, 0);
	run_of(s.fd, p, 0, 16);
	set_migration(s.fd, p, 0, 16, 1);
	expect_default(s.fd, p, 0, 16);
	space_close(&s);
}

/* What each command sets, and that the others' don't mix with it */
TEST(policy_members)
{
	struct policy policy;
	struct env e;
	char *p;
	int fd;

	env_open(&e);
	fd = e.fd[VA];
	p = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	ASSERT_RET(policy_prefer(fd, p, PAGE, UVM_DEST_GPU, 0, e.gpu.uuid), 0);
	ASSERT_RET(policy_switch(fd, UVM_SET_READ_MOSTLY, p, PAGE, 1), 0);
	ASSERT_RET(policy_group(fd, p, PAGE, e.group), 0);
	ASSERT_RET(policy_accessed_by(fd, p, PAGE, e.gpu.uuid, 1), 0);
	policy = run_of(fd, p, 0, 1);
	EXPECT_EQ(policy.q.out_dest_kind, UVM_DEST_GPU);
	EXPECT_EQ(policy.q.out_dest_node, 0);
	EXPECT_EQ(memcmp(policy.q.out_dest_uuid, e.gpu.uuid, UVM_UUID_LEN), 0);
	EXPECT_EQ(policy.q.out_policy, POLICY_DEFAULT | UVM_POLICY_READ_MOSTLY);
	EXPECT_EQ(policy.q.out_group, e.group);
	EXPECT_EQ(policy.q.out_count, 1);
	EXPECT_TRUE(policy_has(&policy, e.gpu.uuid));

	ASSERT_RET(policy_prefer(fd, p, PAGE, UVM_DEST_CPU_NODE, 0, NULL), 0);
	ASSERT_RET(policy_accessed_by(fd, p, PAGE, NULL, 1), 0);
	ASSERT_RET(policy_accessed_by(fd, p, PAGE, e.gpu.uuid, 0), 0);
	/* again, and what isn't there */
	ASSERT_RET(policy_accessed_by(fd, p, PAGE, NULL, 1), 0);
	ASSERT_RET(policy_accessed_by(fd, p, PAGE, e.gpu.uuid, 0), 0);
	policy = run_of(fd, p, 0, 1);
	EXPECT_EQ(policy.q.out_dest_kind, UVM_DEST_CPU_NODE);
	EXPECT_BYTES(policy.q.out_dest_uuid, UVM_UUID_LEN, 0);
	EXPECT_EQ(policy.q.out_count, 1);
	EXPECT_TRUE(policy_has(&policy, NULL));

	ASSERT_RET(policy_prefer(fd, p, PAGE, UVM_DEST_CPU, 0, NULL), 0);
	EXPECT_EQ(run_of(fd, p, 0, 1).q.out_dest_kind, UVM_DEST_CPU);
	ASSERT_RET(policy_prefer(fd, p, PAGE, UVM_DEST_NONE, 0, NULL), 0);
	ASSERT_RET(policy_switch(fd, UVM_SET_READ_MOSTLY, p, PAGE, 0), 0);
	ASSERT_RET(policy_accessed_by(fd, p, PAGE, NULL, 0), 0);
	ASSERT_RET(policy_group(fd, p, PAGE, 0), 0);
	expect_default(fd, p, 0, 1);
	env_close(&e);
}

/* A policy ends with the mapping, and the rest of its range doesn't notice. */
TEST(policy_ends_with_mapping)
{
	char *p = anon(16 * PAGE, PROT_READ | PROT_WRITE, 0);
	struct policy policy;
	struct space s;

	ASSERT_RET(space_open(&s), 0);
	set_prefetch(s.fd, p, 0, 16, 0);
	ASSERT_RET(munmap(p + 5 * PAGE, 2 * PAGE), 0);
	EXPECT_EQ(run_of(s.fd, p, 0, 5).q.out_policy, NO_PREFETCH);
	expect_default(s.fd, p, 5, 7);
	EXPECT_EQ(run_of(s.fd, p, 7, 16).q.out_policy, NO_PREFETCH);

	/* what comes to the same place is new */
	ASSERT_TRUE(mmap(p + 5 * PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + 5 * PAGE);
	expect_default(s.fd, p, 5, 7);
	set_prefetch(s.fd, p, 4, 8, 0);
	run_of(s.fd, p, 0, 16);

	/* over a part, at an end, and over two ranges at once */
	ASSERT_TRUE(mmap(p + 10 * PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + 10 * PAGE);
	ASSERT_RET(munmap(p, PAGE), 0);
	expect_default(s.fd, p, 0, 1);
	run_of(s.fd, p, 1, 10);
	expect_default(s.fd, p, 10, 12);
	run_of(s.fd, p, 12, 16);
	ASSERT_RET(munmap(p + 8 * PAGE, 6 * PAGE), 0);
	run_of(s.fd, p, 1, 8);
	expect_default(s.fd, p, 8, 14);
	run_of(s.fd, p, 14, 16);

	ASSERT_RET(munmap(p, 16 * PAGE), 0);
	ASSERT_RET(policy_query(s.fd, p, &policy), 0);
	EXPECT_EQ(policy.q.out_base, 0);
	EXPECT_GE(policy.q.out_length, TASK_END);
	space_close(&s);
}

static void move(char *from, int pages, int flags, char *to)
{
	void *now = mremap(from, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | flags, to);

	ASSERT_TRUE(now != MAP_FAILED);
	EXPECT_TRUE(!(flags & MREMAP_FIXED) || now == to);
}

/* With mremap() it ends at the old place, and doesn't begin at the new one. */
TEST(policy_ends_with_mremap)
{
	char *p = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	char *q = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	struct space s;

	ASSERT_RET(space_open(&s), 0);
	set_prefetch(s.fd, p, 0, 8, 0);
	set_migration(s.fd, q, 0, 8, 0);
	pattern_fill(p, 8 * PAGE, 4);
	move(p + 2 * PAGE, 2, MREMAP_FIXED, q + 4 * PAGE);
	EXPECT_EQ(pattern_check_from(q + 4 * PAGE, 2 * PAGE, 4, 2), -1);
	EXPECT_EQ(run_of(s.fd, p, 0, 2).q.out_policy, NO_PREFETCH);
	expect_default(s.fd, p, 2, 4);
	EXPECT_EQ(run_of(s.fd, p, 4, 8).q.out_policy, NO_PREFETCH);
	EXPECT_EQ(run_of(s.fd, q, 0, 4).q.out_policy, NO_MIGRATION);
	expect_default(s.fd, q, 4, 6);
	EXPECT_EQ(run_of(s.fd, q, 6, 8).q.out_policy, NO_MIGRATION);

	/* shorter, and longer again, in place */
	ASSERT_TRUE(mremap(p + 4 * PAGE, 4 * PAGE, 3 * PAGE, 0) == p + 4 * PAGE);
	run_of(s.fd, p, 4, 7);
	ASSERT_TRUE(mremap(p + 4 * PAGE, 3 * PAGE, 4 * PAGE, 0) == p + 4 * PAGE);
	run_of(s.fd, p, 4, 7);
	expect_default(s.fd, p, 7, 8);

	/* the pages move, the mapping stays */
	move(q, 2, MREMAP_DONTUNMAP, NULL);
	expect_default(s.fd, q, 0, 2);
	run_of(s.fd, q, 2, 4);
	space_close(&s);
}

/* Pages of a huge file that go, while the mapping stays, are no end of anything. */
TEST(policy_stays_in_hugetlb)
{
	char *p = hugetlb_page(), *q;
	struct policy policy;
	struct space s;
	int fd;

	fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(ftruncate(fd, HUGE), 0);
	q = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_TRUE(q != MAP_FAILED);
	ASSERT_RET(space_open(&s), 0);
	set_prefetch(s.fd, p, 0, HUGE / PAGE, 0);
	set_migration(s.fd, q, 0, HUGE / PAGE, 0);
	p[0] = 1;
	q[0] = 1;
	/* old kernels can't */
	madvise(p, HUGE, MADV_DONTNEED);
	run_of(s.fd, p, 0, HUGE / PAGE);
	ASSERT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE), 0);
	EXPECT_EQ(q[0], 0);
	run_of(s.fd, q, 0, HUGE / PAGE);
	munmap(p, HUGE);
	munmap(q, HUGE);
	ASSERT_RET(policy_query(s.fd, p, &policy), 0);
	EXPECT_EQ(policy.q.out_policy, POLICY_DEFAULT);
	ASSERT_RET(policy_query(s.fd, q, &policy), 0);
	EXPECT_EQ(policy.q.out_policy, POLICY_DEFAULT);
	space_close(&s);
	close(fd);
	hugetlb_done();
}

/* A child has its parent's files, and none of its policies. */
static void policy_child(struct env *e, char *p)
{
	struct policy policy;
	struct space s;

	EXPECT_RET(policy_query(e->fd[VA], p, &policy), -EPERM);
	ASSERT_RET(space_open(&s), 0);
	expect_default(s.fd, p, 0, 8);
	set_migration(s.fd, p, 0, 8, 0);
	memset(p, 7, 8 * PAGE);
	ASSERT_RET(munmap(p, 8 * PAGE), 0);
	child_exit();
}

TEST(policy_stays)
{
	struct policy was, now;
	struct uvm_migrate m;
	struct env e;
	pid_t pid;
	char *p;
	int step;

	env_open(&e);
	p = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	memset(p, 1, 8 * PAGE);
	set_group(e.fd[VA], p, 2, 6, e.group);
	ASSERT_RET(policy_accessed_by(e.fd[VA], p + 2 * PAGE, 4 * PAGE, NULL, 1), 0);
	was = run_of(e.fd[VA], p, 2, 6);
	for (step = 0; step < 8; step++) {
		switch (step) {
		case 0:
			ASSERT_RET(mprotect(p, 4 * PAGE, PROT_NONE), 0);
			break;
		case 1:
			ASSERT_RET(mprotect(p, 4 * PAGE, PROT_READ), 0);
			break;
		case 2:
			ASSERT_RET(mprotect(p, 8 * PAGE, PROT_READ | PROT_WRITE), 0);
			break;
		case 3:
			ASSERT_RET(madvise(p, 4 * PAGE, MADV_DONTNEED), 0);
			break;
		case 4:
			ASSERT_RET(madvise(p, 8 * PAGE, MADV_FREE), 0);
			break;
		case 5:
			memset(p, 2, 8 * PAGE);
			ASSERT_RET(migrate(e.fd[VA], p, 8 * PAGE, UVM_DEST_GPU, 0,
					   e.gpu.uuid, &m), 0);
			break;
		case 6:
			ASSERT_RET(migrate(e.fd[VA], p, 8 * PAGE, UVM_DEST_CPU, 0, NULL,
					   &m), 0);
			break;
		default:
			pid = child();
			if (!pid)
				policy_child(&e, p);
			EXPECT_EQ(child_wait(pid), 0);
			memset(p, 3, 8 * PAGE);
		}
		now = run_of(e.fd[VA], p, 2, 6);
		harness_check(!memcmp(&was, &now, sizeof(now)), false, __FILE__,
			      __LINE__, "step %d changed the policy", step);
		expect_default(e.fd[VA], p, 0, 2);
		expect_default(e.fd[VA], p, 6, 8);
	}
	env_close(&e);
}

/* Whatever it is: who doesn't migrate it maps it */
TEST(policy_of_any_mapping)
{
	int fd = memfd_create("any", MFD_CLOEXEC), i;
	struct space s;
	char *p;

	ASSERT_RET(space_open(&s), 0);
	ASSERT_EQ(ftruncate(fd, 4 * PAGE), 0);
	for (i = 0; i < 2; i++) {
		p = mmap(NULL, 4 * PAGE, PROT_READ, i ? MAP_SHARED : MAP_PRIVATE, fd, 0);
		ASSERT_TRUE(p != MAP_FAILED);
		set_prefetch(s.fd, p, 1, 3, 0);
		run_of(s.fd, p, 1, 3);
		ASSERT_RET(munmap(p, 4 * PAGE), 0);
		expect_default(s.fd, p, 0, 4);
	}
	/* one command, several mappings */
	p = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	ASSERT_TRUE(mmap(p + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) ==
		    p + PAGE);
	ASSERT_RET(mprotect(p + 2 * PAGE, PAGE, PROT_READ), 0);
	set_prefetch(s.fd, p, 0, 4, 0);
	run_of(s.fd, p, 0, 4);
	space_close(&s);
}

/* Two VA spaces of a process have each their own. */
TEST(policy_of_two_spaces)
{
	char *p = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	struct space s[2];

	ASSERT_RET(space_open(&s[0]), 0);
	ASSERT_RET(space_open(&s[1]), 0);
	set_prefetch(s[0].fd, p, 0, 3, 0);
	expect_default(s[1].fd, p, 0, 4);
	set_migration(s[1].fd, p, 1, 4, 0);
	EXPECT_EQ(run_of(s[0].fd, p, 0, 3).q.out_policy, NO_PREFETCH);
	EXPECT_EQ(run_of(s[1].fd, p, 1, 4).q.out_policy, NO_MIGRATION);
	ASSERT_RET(munmap(p + 2 * PAGE, PAGE), 0);
	run_of(s[0].fd, p, 0, 2);
	run_of(s[1].fd, p, 1, 2);
	run_of(s[1].fd, p, 3, 4);
	space_close(&s[0]);
	run_of(s[1].fd, p, 1, 2);
	space_close(&s[1]);
}

/* Unregistering takes away what policies say of that GPU, and nothing else. */
TEST(policy_of_unregistered_gpu)
{
	struct policy policy;
	struct env e;
	char *p;
	int fd;

	env_open(&e);
	fd = e.fd[VA];
	p = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	ASSERT_RET(policy_prefer(fd, p, 6 * PAGE, UVM_DEST_GPU, 0, e.gpu.uuid), 0);
	ASSERT_RET(policy_accessed_by(fd, p + 2 * PAGE, 6 * PAGE, e.gpu.uuid, 1), 0);
	ASSERT_RET(policy_accessed_by(fd, p + 5 * PAGE, 3 * PAGE, NULL, 1), 0);
	ASSERT_RET(unregister_gpu(fd, e.gpu.uuid), 0);
	expect_default(fd, p, 0, 5);
	/* two ranges that have become the same */
	policy = run_of(fd, p, 5, 8);
	EXPECT_EQ(policy.q.out_dest_kind, UVM_DEST_NONE);
	EXPECT_EQ(policy.q.out_count, 1);
	EXPECT_TRUE(policy_has(&policy, NULL));
	/* it has to be said anew */
	ASSERT_RET(register_gpu(fd, e.gpu.uuid), 0);
	expect_default(fd, p, 0, 5);
	run_of(fd, p, 5, 8);
	ASSERT_RET(policy_accessed_by(fd, p, PAGE, e.gpu.uuid, 1), 0);
	run_of(fd, p, 0, 1);
	env_close(&e);
}

/* Another GPU, which registers in the place of the one that went, gets nothing of it. */
TEST(policy_of_one_of_two)
{
	struct uvm_gpu_info a, b;
	struct policy policy;
	struct space s;
	int n = 1;
	char *p;

	gpu_need(0, 0, &a);
	do
		gpu_need(0, n++, &b);
	while (!gpus_mix(&a, &b));
	ASSERT_RET(space_open(&s), 0);
	p = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	ASSERT_RET(register_gpu(s.fd, a.uuid), 0);
	ASSERT_RET(policy_accessed_by(s.fd, p, PAGE, a.uuid, 1), 0);
	ASSERT_RET(unregister_gpu(s.fd, a.uuid), 0);
	ASSERT_RET(register_gpu(s.fd, b.uuid), 0);
	expect_default(s.fd, p, 0, 1);

	ASSERT_RET(policy_accessed_by(s.fd, p, PAGE, b.uuid, 1), 0);
	ASSERT_RET(policy_prefer(s.fd, p, PAGE, UVM_DEST_GPU, 0, b.uuid), 0);
	ASSERT_RET(register_gpu(s.fd, a.uuid), 0);
	policy = run_of(s.fd, p, 0, 1);
	EXPECT_EQ(policy.q.out_count, 1);
	EXPECT_TRUE(policy_has(&policy, b.uuid));
	ASSERT_RET(policy_accessed_by(s.fd, p, PAGE, a.uuid, 1), 0);
	policy = run_of(s.fd, p, 0, 1);
	EXPECT_EQ(policy.q.out_count, 2);
	EXPECT_TRUE(policy_has(&policy, a.uuid) && policy_has(&policy, b.uuid));
	ASSERT_RET(unregister_gpu(s.fd, a.uuid), 0);
	policy = run_of(s.fd, p, 0, 1);
	EXPECT_EQ(policy.q.out_count, 1);
	EXPECT_TRUE(policy_has(&policy, b.uuid));
	EXPECT_EQ(memcmp(policy.q.out_dest_uuid, b.uuid, UVM_UUID_LEN), 0);
	ASSERT_RET(unregister_gpu(s.fd, b.uuid), 0);
	expect_default(s.fd, p, 0, 1);
	space_close(&s);
}

/* Migration of a group's ranges is allowed and forbidden together. */
TEST(policy_groups)
{
	char *p = anon(12 * PAGE, PROT_READ | PROT_WRITE, 0);
	uint32_t one, two;
	struct space s;

	ASSERT_RET(space_open(&s), 0);
	ASSERT_RET(group_create(s.fd, &one), 0);
	ASSERT_RET(group_create(s.fd, &two), 0);
	set_group(s.fd, p, 0, 4, one);
	set_group(s.fd, p, 4, 6, two);
	set_group(s.fd, p, 8, 10, one);
	EXPECT_EQ(run_of(s.fd, p, 0, 4).q.out_policy, POLICY_DEFAULT);
	EXPECT_EQ(run_of(s.fd, p, 0, 4).q.out_group, one);

	ASSERT_RET(group_allow(s.fd, one, 0), 0);
	EXPECT_EQ(run_of(s.fd, p, 0, 4).q.out_policy, NOT_ALLOWED);
	EXPECT_EQ(run_of(s.fd, p, 4, 6).q.out_policy, POLICY_DEFAULT);
	EXPECT_EQ(run_of(s.fd, p, 4, 6).q.out_group, two);
	EXPECT_EQ(run_of(s.fd, p, 8, 10).q.out_policy, NOT_ALLOWED);
	expect_default(s.fd, p, 6, 8);
	expect_default(s.fd, p, 10, 12);

	/* who comes and goes later */
	set_group(s.fd, p, 6, 8, one);
	EXPECT_EQ(run_of(s.fd, p, 6, 10).q.out_policy, NOT_ALLOWED);
	set_group(s.fd, p, 2, 4, two);
	EXPECT_EQ(run_of(s.fd, p, 0, 2).q.out_policy, NOT_ALLOWED);
	EXPECT_EQ(run_of(s.fd, p, 2, 6).q.out_policy, POLICY_DEFAULT);
	set_group(s.fd, p, 9, 10, 0);
	expect_default(s.fd, p, 9, 12);
	run_of(s.fd, p, 6, 9);

	ASSERT_RET(group_allow(s.fd, one, 1), 0);
	EXPECT_EQ(run_of(s.fd, p, 0, 2).q.out_policy, POLICY_DEFAULT);
	EXPECT_EQ(run_of(s.fd, p, 6, 9).q.out_policy, POLICY_DEFAULT);
	ASSERT_RET(group_allow(s.fd, one, 0), 0);
	ASSERT_RET(group_allow(s.fd, one, 0), 0);

	/* it leaves ranges that may migrate, and what else is set for them */
	set_prefetch(s.fd, p, 1, 3, 0);
	ASSERT_RET(group_destroy(s.fd, one), 0);
	expect_default(s.fd, p, 0, 1);
	EXPECT_EQ(run_of(s.fd, p, 1, 2).q.out_policy, NO_PREFETCH);
	EXPECT_EQ(run_of(s.fd, p, 1, 2).q.out_group, 0);
	EXPECT_EQ(run_of(s.fd, p, 2, 3).q.out_group, two);
	expect_default(s.fd, p, 6, 12);
	/* a new one is not forbidden because an old one was */
	ASSERT_RET(group_create(s.fd, &one), 0);
	set_group(s.fd, p, 6, 8, one);
	EXPECT_EQ(run_of(s.fd, p, 6, 8).q.out_policy, POLICY_DEFAULT);
	space_close(&s);
}

/* The count of what a group kept is right, and the rest moves. */
TEST(policy_group_stays)
{
	struct uvm_migrate m;
	uint32_t group;
	struct fix f;
	char *p;

	fix_open(&f, &(struct variant){ "any", 0, 0 });
	p = fix_pattern(&f, 8 * PAGE, 6);
	ASSERT_RET(group_create(f.s.fd, &group), 0);
	set_group(f.s.fd, p, 2, 4, group);
	set_group(f.s.fd, p, 7, 8, group);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	ASSERT_RET(migrate(f.s.fd, p, 8 * PAGE, UVM_DEST_GPU, 0, f.gpu.uuid, &m), 0);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_POLICY], 3);
	EXPECT_EQ(m.out_moved + m.out_already, 5);
	expect_accounts(&m);
	EXPECT_EQ(fix_on_gpu(&f, p + 2 * PAGE, 2 * PAGE), 0);
	EXPECT_EQ(fix_on_gpu(&f, p + 7 * PAGE, PAGE), 0);

	ASSERT_RET(group_allow(f.s.fd, group, 1), 0);
	fix_to_gpu(&f, p, 8 * PAGE);
	ASSERT_RET(group_allow(f.s.fd, group, 0), 0);
	ASSERT_RET(migrate(f.s.fd, p, 8 * PAGE, UVM_DEST_CPU, 0, NULL, &m), 0);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_POLICY], 3);
	EXPECT_EQ(fix_on_gpu(&f, p + 2 * PAGE, 2 * PAGE), 2);
	/* who can't reach them otherwise gets them all the same */
	EXPECT_PATTERN(p, 8 * PAGE, 6);
	ASSERT_RET(group_destroy(f.s.fd, group), 0);
	fix_to_gpu(&f, p, 8 * PAGE);
	fix_close(&f);
}

/* ---- policies: at random, against a model that knows each page's ---- */

#define MODEL_PAGES	24

struct model_page {
	uint32_t on;		/* without UVM_POLICY_ALLOW_MIGRATION: a group's */
	uint32_t group;
	uint32_t dest;
	bool cpu;
	bool gpu;
};

struct model {
	struct env e;
	char *p;
	uint64_t rng;
	uint32_t group[2];
	bool fixed[2];
	struct model_page page[MODEL_PAGES];
};

static const struct model_page model_default = {
	.on = UVM_POLICY_FAULT_MIGRATION | UVM_POLICY_PREFETCH,
};

static bool model_same(const struct model_page *a, const struct model_page *b)
{
	return a->on == b->on && a->group == b->group && a->dest == b->dest &&
	       a->cpu == b->cpu && a->gpu == b->gpu;
}

static bool model_fixed(const struct model *m, uint32_t group)
{
	return (m->fixed[0] && group == m->group[0]) ||
	       (m->fixed[1] && group == m->group[1]);
}

static void model_check_page(struct model *m, int i)
{
	const struct model_page *page = &m->page[i];
	bool fixed = model_fixed(m, page->group);
	int first = i, end = i + 1;
	struct policy policy;

	ASSERT_RET(policy_query(m->e.fd[VA], m->p + i * PAGE, &policy), 0);
	EXPECT_EQ(policy.q.out_policy,
		  page->on | (fixed ? 0 : UVM_POLICY_ALLOW_MIGRATION));
	EXPECT_EQ(policy.q.out_group, page->group);
	EXPECT_EQ(policy.q.out_dest_kind, page->dest);
	EXPECT_EQ(policy.q.out_count, page->cpu + page->gpu);
	EXPECT_EQ(policy_has(&policy, NULL), page->cpu);
	EXPECT_EQ(policy_has(&policy, m->e.gpu.uuid), page->gpu);
	if (model_same(page, &model_default))
		return;
	while (first && model_same(page, &m->page[first - 1]))
		first--;
	while (end < MODEL_PAGES && model_same(page, &m->page[end]))
		end++;
	EXPECT_EQ(policy.q.out_base, ADDR(m->p + first * PAGE));
	EXPECT_EQ(policy.q.out_length, (end - first) * PAGE);
}

static uint64_t model_pick(struct model *m, uint64_t n)
{
	return harness_random(&m->rng) % n;
}

/* Switches, by command: as the kernel has them, and as the model does */
static void model_switch(struct model *m, int first, int end)
{
	static const struct {
		unsigned long cmd;
		uint32_t bit;
	} switches[] = {
		{ UVM_SET_FAULT_MIGRATION, UVM_POLICY_FAULT_MIGRATION },
		{ UVM_SET_PREFETCH, UVM_POLICY_PREFETCH },
		{ UVM_SET_READ_MOSTLY, UVM_POLICY_READ_MOSTLY },
	};
	int which = model_pick(m, 3), on = model_pick(m, 2);

	ASSERT_RET(policy_switch(m->e.fd[VA], switches[which].cmd, m->p + first * PAGE,
				 (end - first) * PAGE, on), 0);
	for (; first < end; first++) {
		m->page[first].on &= ~switches[which].bit;
		m->page[first].on |= on ? switches[which].bit : 0;
	}
}

static void model_prefer(struct model *m, int first, int end)
{
	uint32_t dest = model_pick(m, 4);

	ASSERT_RET(policy_prefer(m->e.fd[VA], m->p + first * PAGE, (end - first) * PAGE,
				 dest, 0, dest == UVM_DEST_GPU ? m->e.gpu.uuid : NULL),
		   0);
	for (; first < end; first++)
		m->page[first].dest = dest;
}

static void model_accessed_by(struct model *m, int first, int end)
{
	bool gpu = model_pick(m, 2), on = model_pick(m, 2);

	ASSERT_RET(policy_accessed_by(m->e.fd[VA], m->p + first * PAGE,
				      (end - first) * PAGE,
				      gpu ? m->e.gpu.uuid : NULL, on), 0);
	for (; first < end; first++)
		*(gpu ? &m->page[first].gpu : &m->page[first].cpu) = on;
}

static void model_group(struct model *m, int first, int end)
{
	uint32_t which = model_pick(m, 4), group = which < 2 ? m->group[which] : 0;

	if (which == 3) {
		which = model_pick(m, 2);
		m->fixed[which] = model_pick(m, 2);
		ASSERT_RET(group_allow(m->e.fd[VA], m->group[which], !m->fixed[which]),
			   0);
		return;
	}
	set_group(m->e.fd[VA], m->p, first, end, group);
	for (; first < end; first++)
		m->page[first].group = group;
}

static void model_remap(struct model *m, int first, int end)
{
	char *at = m->p + first * PAGE;
	size_t length = (end - first) * PAGE;

	if (model_pick(m, 2))
		ASSERT_RET(munmap(at, length), 0);
	ASSERT_TRUE(mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
	for (; first < end; first++)
		m->page[first] = model_default;
}

static void model_unregister(struct model *m)
{
	int i;

	ASSERT_RET(unregister_gpu(m->e.fd[VA], m->e.gpu.uuid), 0);
	ASSERT_RET(register_gpu(m->e.fd[VA], m->e.gpu.uuid), 0);
	for (i = 0; i < MODEL_PAGES; i++) {
		m->page[i].gpu = false;
		if (m->page[i].dest == UVM_DEST_GPU)
			m->page[i].dest = UVM_DEST_NONE;
	}
}

static void model_regroup(struct model *m)
{
	int which = model_pick(m, 2), i;

	ASSERT_RET(group_destroy(m->e.fd[VA], m->group[which]), 0);
	for (i = 0; i < MODEL_PAGES; i++)
		if (m->page[i].group == m->group[which])
			m->page[i].group = 0;
	ASSERT_RET(group_create(m->e.fd[VA], &m->group[which]), 0);
	m->fixed[which] = false;
}

static void model_step(struct model *m)
{
	static void (* const steps[])(struct model *m, int first, int end) = {
		model_switch, model_switch, model_prefer, model_accessed_by,
		model_group, model_group, model_remap,
	};
	int first = model_pick(m, MODEL_PAGES);
	int end = first + 1 + model_pick(m, MODEL_PAGES - first);

	switch (model_pick(m, 20)) {
	case 0:
		model_unregister(m);
		break;
	case 1:
		model_regroup(m);
		break;
	default:
		steps[model_pick(m, sizeof(steps) / sizeof(steps[0]))](m, first, end);
	}
}

TEST_T(policy_model, 120)
{
	unsigned int rounds = harness_rounds(300);
	struct model m = { .rng = harness_seed };
	int i;

	env_open(&m.e);
	m.p = anon(MODEL_PAGES * PAGE, PROT_READ | PROT_WRITE, 0);
	for (i = 0; i < MODEL_PAGES; i++)
		m.page[i] = model_default;
	for (i = 0; i < 2; i++)
		ASSERT_RET(group_create(m.e.fd[VA], &m.group[i]), 0);
	while (rounds--) {
		model_step(&m);
		for (i = 0; i < MODEL_PAGES; i++)
			model_check_page(&m, i);
	}
	env_close(&m.e);
}

/* ---- policies: races ---- */

struct policy_worker {
	int fd;
	char *p;
	uint64_t rng;
	uint32_t group;
	unsigned int rounds;
	pthread_barrier_t *start;
};

/* EFAULT: another one has unmapped it just then. */
static void *set_policies(void *arg)
{
	struct policy_worker *w = arg;
	int first, pages;
	char *at;

	pthread_barrier_wait(w->start);
	while (w->rounds--) {
		first = harness_random(&w->rng) % 32;
		pages = 1 + harness_random(&w->rng) % (32 - first);
		at = w->p + first * PAGE;
		switch (harness_random(&w->rng) % 4) {
		case 0:
			EXPECT_RET2(policy_group(w->fd, at, pages * PAGE, w->group), 0,
				    -EFAULT);
			break;
		case 1:
			EXPECT_RET(group_allow(w->fd, w->group, first & 1), 0);
			break;
		default:
			EXPECT_RET2(policy_switch(w->fd, UVM_SET_PREFETCH, at,
						  pages * PAGE, first & 1), 0, -EFAULT);
		}
	}
	return NULL;
}

static void *remap(void *arg)
{
	struct policy_worker *w = arg;
	char *at;

	pthread_barrier_wait(w->start);
	while (w->rounds--) {
		at = w->p + harness_random(&w->rng) % 28 * PAGE;
		ASSERT_RET(munmap(at, 4 * PAGE), 0);
		ASSERT_TRUE(mmap(at, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
				 MAP_FIXED, -1, 0) == at);
	}
	return NULL;
}

/* Whatever comes first: what is unmapped has no policy. */
TEST_T(policy_threads, 60)
{
	struct policy_worker w[4];
	pthread_barrier_t start;
	pthread_t thread[4];
	struct policy policy;
	struct space s;
	char *p;
	int i;

	ASSERT_RET(space_open(&s), 0);
	p = anon(32 * PAGE, PROT_READ | PROT_WRITE, 0);
	pthread_barrier_init(&start, NULL, 4);
	for (i = 0; i < 4; i++) {
		w[i] = (struct policy_worker){
			.fd = s.fd, .p = p, .rng = harness_seed + i,
			.rounds = harness_rounds(300), .start = &start,
		};
		ASSERT_RET(group_create(s.fd, &w[i].group), 0);
		ASSERT_EQ(pthread_create(&thread[i], NULL, i ? set_policies : remap,
					 &w[i]), 0);
	}
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	ASSERT_RET(munmap(p, 32 * PAGE), 0);
	ASSERT_RET(policy_query(s.fd, p, &policy), 0);
	EXPECT_EQ(policy.q.out_policy, POLICY_DEFAULT);
	EXPECT_EQ(policy.q.out_base, 0);
	EXPECT_GE(policy.q.out_length, TASK_END);
	space_close(&s);
}

#define WIDE	(32UL << 20)

struct zapper {
	char *p;
	pthread_barrier_t *start;
};

static void *zap(void *arg)
{
	struct zapper *z = arg;

	pthread_barrier_wait(z->start);
	EXPECT_EQ(madvise(z->p, WIDE, MADV_DONTNEED), 0);
	return NULL;
}

/*
 * The first policy of a VA space, while the kernel takes pages away elsewhere, which
 * the GPU has mapped: what is unmapped next has none any more.
 */
static void first_policy(const struct uvm_gpu_info *gpu, char *wide)
{
	struct uvm_sim_cmd touch = CMD(TOUCH, .dst = ADDR(wide), .length = 1, .arg0 = 1);
	/* no part of the other mapping, which the kernel may have locked */
	char *p = anon(PAGE, PROT_READ, 0);
	pthread_barrier_t start;
	struct zapper z = { .p = wide, .start = &start };
	struct policy policy;
	pthread_t thread;
	struct space s;
	uint32_t channel;
	uint64_t point;

	ready_space(&s, gpu, &channel, &point);
	memset(wide, 1, WIDE);
	ASSERT_RET(channel_run(s.fd, channel, &touch, 1), 0);
	pthread_barrier_init(&start, NULL, 2);
	ASSERT_EQ(pthread_create(&thread, NULL, zap, &z), 0);
	pthread_barrier_wait(&start);
	ASSERT_RET(policy_switch(s.fd, UVM_SET_PREFETCH, p, PAGE, 0), 0);
	ASSERT_RET(munmap(p, PAGE), 0);
	ASSERT_RET(policy_query(s.fd, p, &policy), 0);
	EXPECT_EQ(policy.q.out_policy, POLICY_DEFAULT);
	pthread_join(thread, NULL);
	space_close(&s);
}

TEST_T(policy_first, 60)
{
	char *wide = anon(WIDE, PROT_READ | PROT_WRITE, 0);
	unsigned int rounds = harness_rounds(5);
	struct uvm_gpu_info gpu;

	gpu_need(0, 0, &gpu);
	madvise(wide, WIDE, MADV_NOHUGEPAGE);
	while (rounds--)
		first_policy(&gpu, wide);
}

static void __attribute__((constructor)) install(void)
{
	leak_check_install();
}

HARNESS_MAIN()
