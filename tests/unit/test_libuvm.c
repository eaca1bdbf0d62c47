// SPDX-License-Identifier: MIT
/*
 * libuvm: its pure parts, and what it asks of the kernel.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libuvm/uvm_sim.h>

#include "../../src/libuvm/internal.h"
#include "fake_uvm.h"
#include "test.h"

static struct uvm_ctx *open_fake(unsigned int kind)
{
	struct uvm_ctx *ctx;

	fake_reset(kind);
	assert_int_equal(uvm_open(&ctx), 0);
	return ctx;
}

static void close_fake(struct uvm_ctx *ctx)
{
	uvm_close(ctx);
	assert_int_equal(fake.opens, fake.closes);
	assert_int_equal(fake.bad_calls, 0);
}

static void span_covers(void **state)
{
	uintptr_t base;

	(void)state;
	assert_int_equal(libuvm_span(0x10010, 1, 4096, &base), 4096);
	assert_int_equal(base, 0x10000);
	assert_int_equal(libuvm_span(0x10000, 4096, 4096, &base), 4096);
	assert_int_equal(libuvm_span(0x10010, 4096, 4096, &base), 8192);
	assert_int_equal(libuvm_span(0x10fff, 2, 4096, &base), 8192);
	assert_int_equal(libuvm_span(0x10fff, 1, 4096, &base), 4096);
	assert_int_equal(libuvm_span(0x1ffff, 1, 65536, &base), 65536);
	assert_int_equal(base, 0x10000);
	assert_int_equal(libuvm_span(0x10010, 0, 4096, &base), 0);
	assert_int_equal(libuvm_span(UINTPTR_MAX - 10, 100, 4096, &base), 0);
	assert_int_equal(libuvm_span(UINTPTR_MAX - 10, 5, 4096, &base), 0);
	assert_int_equal(libuvm_span(0x10010, SIZE_MAX, 4096, &base), 0);
}

static void picks_gpu(void **state)
{
	const struct uvm_gpu_info *gpus = fake.gpus;

	(void)state;
	fake_reset(UVM_MEMORY_NUMA);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 0, NULL), NULL);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 1, NULL), &gpus[0]);
	fake_add_gpu("second", UVM_MEMORY_COHERENT);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 2, NULL), &gpus[1]);
	fake_add_gpu("0", UVM_MEMORY_PRIVATE);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, NULL), &gpus[2]);
	memset(fake.gpus[3].name, 'x', UVM_NAME_LEN);

	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, "coherent"), &gpus[1]);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, "numa"), &gpus[0]);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 2, "private"), NULL);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, "second"), &gpus[1]);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, "0"), &gpus[2]);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 2, "0"), &gpus[0]);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, "1"), &gpus[1]);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, "3"), NULL);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, "1x"), NULL);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, "-1"), NULL);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, ""), NULL);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, "4294967296"), NULL);
	assert_ptr_equal(libuvm_pick_gpu(gpus, 3, "99999999999999999999999"), NULL);
}

static void opens_and_closes_in_order(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_PRIVATE);

	(void)state;
	assert_int_equal(fake.opens, 2);
	assert_int_equal(uvm_page_size(ctx), 4096);
	assert_int_not_equal(uvm_fd(ctx), uvm_mm_fd(ctx));
	close_fake(ctx);
	assert_int_equal(fake.closed_first, 'm');
	assert_int_equal(fake.last_closed, 'v');
	uvm_close(NULL);
}

static void failed_open_leaves_nothing(void **state)
{
	static const unsigned int cmds[] = {
		UVM_CMD_INFO, UVM_CMD_INIT, UVM_CMD_MM_INIT,
	};
	struct uvm_ctx *ctx = (void *)state;

	for (unsigned int i = 1; i <= 2; i++) {
		fake_reset(UVM_MEMORY_PRIVATE);
		fake.fail_open = i;
		fake.fail_errno = EMFILE;
		assert_int_equal(uvm_open(&ctx), -EMFILE);
		assert_null(ctx);
		assert_int_equal(fake.closes, i - 1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
		fake_reset(UVM_MEMORY_PRIVATE);
		fake.fail_cmd = cmds[i];
		fake.fail_errno = ESRCH;
		assert_int_equal(uvm_open(&ctx), -ESRCH);
		assert_null(ctx);
		assert_int_equal(fake.opens, fake.closes);
	}
	fake_reset(UVM_MEMORY_PRIVATE);
	fake.version = UVM_VERSION + 1;
	assert_int_equal(uvm_open(&ctx), -EPROTONOSUPPORT);
	assert_int_equal(fake.opens, fake.closes);
}

static void enumerates(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_PRIVATE);
	struct uvm_gpu_info *gpus, gpu;
	unsigned int count;

	(void)state;
	assert_int_equal(uvm_enum_gpus(ctx, &gpus, &count), 0);
	assert_int_equal(count, 1);
	assert_string_equal(gpus[0].name, "fake0");
	free(gpus);

	fake.hotplug = 2;
	assert_int_equal(uvm_enum_gpus(ctx, &gpus, &count), 0);
	assert_int_equal(count, 3);
	assert_string_equal(gpus[2].name, "late");
	free(gpus);
	assert_int_equal(uvm_find_gpu(ctx, "coherent", &gpu), 0);
	assert_int_equal(gpu.id, 8);

	fake.nr_gpus = 0;
	assert_int_equal(uvm_enum_gpus(ctx, &gpus, &count), 0);
	assert_int_equal(count, 0);
	assert_null(gpus);
	assert_int_equal(uvm_find_gpu(ctx, NULL, &gpu), -ENODEV);
	close_fake(ctx);
}

static void registers(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_NUMA);
	uint8_t *uuid = fake.gpus[0].uuid;
	int node = 77;

	(void)state;
	assert_int_equal(uvm_register_gpu(ctx, uuid, &node), 0);
	assert_int_equal(node, 5);
	node = 77;
	assert_int_equal(uvm_register_gpu(ctx, uuid, &node), -EEXIST);
	assert_int_equal(node, 77);
	assert_int_equal(uvm_unregister_gpu(ctx, uuid), 0);
	assert_int_equal(uvm_unregister_gpu(ctx, uuid), -ENOENT);
	fake.gpus[0].memory_kind = UVM_MEMORY_PRIVATE;
	assert_int_equal(uvm_register_gpu(ctx, uuid, NULL), 0);
	assert_int_equal(uvm_unregister_gpu(ctx, uuid), 0);
	assert_int_equal(uvm_register_gpu(ctx, uuid, &node), 0);
	assert_int_equal(node, -1);
	/* A kind that doesn't go with it, and one that is not there. */
	fake_add_gpu("other", UVM_MEMORY_COHERENT);
	assert_int_equal(uvm_register_gpu(ctx, fake.gpus[1].uuid, &node), -EOPNOTSUPP);
	assert_int_equal(uvm_unregister_gpu(ctx, fake.gpus[1].uuid), -ENOENT);
	assert_int_equal(uvm_unregister_gpu(ctx, (const uint8_t *)"nobody's uuid..."),
			 -ENODEV);
	close_fake(ctx);
}

static void tells_processors(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_COHERENT);
	struct uvm_processor *p;
	unsigned int count;

	(void)state;
	assert_int_equal(uvm_query_processors(ctx, &p, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(p[0].id, UVM_PROCESSOR_CPU);
	assert_int_equal(p[0].access, 1);
	free(p);

	/* More than the library has room for at first. */
	fake_add_gpu("second", UVM_MEMORY_NUMA);
	fake_add_gpu("third", UVM_MEMORY_COHERENT);
	fake_add_gpu("fourth", UVM_MEMORY_COHERENT);
	for (int i = 0; i < 4; i++)
		assert_int_equal(uvm_register_gpu(ctx, fake.gpus[i].uuid, NULL), 0);
	assert_int_equal(uvm_query_processors(ctx, &p, &count), 0);
	assert_int_equal(count, 5);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(p[i + 1].id, fake.gpus[i].id);
		assert_memory_equal(p[i + 1].uuid, fake.gpus[i].uuid, UVM_UUID_LEN);
		assert_int_equal(p[i + 1].access, 1 | 1 << 2 | 2 << i);
	}
	assert_int_equal(p[0].access, 0x1f);
	assert_int_equal(p[0].copy, 0x1f);
	free(p);

	fake.fail_cmd = UVM_CMD_QUERY_PROCESSORS;
	fake.fail_errno = EPERM;
	p = (void *)ctx;
	count = 77;
	assert_int_equal(uvm_query_processors(ctx, &p, &count), -EPERM);
	assert_ptr_equal(p, ctx);
	assert_int_equal(count, 77);
	fake.fail_cmd = 0;
	close_fake(ctx);
}

static void channels(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_COHERENT);
	uint8_t *uuid = fake.gpus[0].uuid;
	struct uvm_channel_query query;
	struct uvm_sim_cmd cmd;
	uint64_t point, done = 55, crc = 0;
	uint32_t channel;

	(void)state;
	assert_int_equal(uvm_channel_create(ctx, uuid, &channel), 0);
	cmd = uvm_sim_crc32c(&crc, "123456789", 9);
	assert_int_equal(uvm_channel_submit(ctx, channel, &cmd, sizeof(cmd),
					    &point), 0);
	assert_int_equal(uvm_wait(ctx, channel, point, 0, &done), 0);
	assert_int_equal(done, point);
	assert_int_equal(crc, 0xE3069283);
	assert_int_equal(uvm_channel_query(ctx, channel, &query), 0);
	assert_int_equal(query.out_state, UVM_CHANNEL_RUNNING);
	assert_int_equal(uvm_channel_submit(ctx, channel, &cmd,
					    (1ULL << 32) + sizeof(cmd), NULL),
			 -EINVAL);

	fake.faults = true;
	assert_int_equal(uvm_channel_submit(ctx, channel, &cmd, sizeof(cmd),
					    NULL), 0);
	assert_int_equal(uvm_wait(ctx, channel, point + 1, UVM_WAIT_FOREVER,
				  &done), -ECANCELED);
	assert_int_equal(done, point);
	assert_int_equal(uvm_channel_query(ctx, channel, &query), 0);
	assert_int_equal(query.out_state, UVM_CHANNEL_FAULTED);
	assert_int_equal(uvm_channel_destroy(ctx, channel), 0);
	assert_int_equal(uvm_channel_destroy(ctx, channel + 1), -ENOENT);
	done = 55;
	assert_int_equal(uvm_wait(ctx, channel + 1, 1, 0, &done), -ENOENT);
	assert_int_equal(done, 55);
	close_fake(ctx);
}

static void migrates_and_queries(void **state)
{
	enum { PAGES = 250 };
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_COHERENT);
	struct uvm_page_state pages[PAGES + 1];
	struct uvm_migrate_result result;
	struct uvm_residency sum;
	uint8_t *uuid = fake.gpus[0].uuid;
	char *data = aligned_alloc(4096, PAGES * 4096);

	(void)state;
	memset(&result, 0xff, sizeof(result));
	assert_int_equal(uvm_migrate_to_gpu(ctx, uuid, data, 4096, &result),
			 -ENOENT);
	assert_int_equal(result.done, 0);
	assert_int_equal(uvm_migrate_skipped(&result), 0);

	assert_int_equal(uvm_register_gpu(ctx, uuid, NULL), 0);
	fake.busy = 1;
	assert_int_equal(uvm_migrate_to_gpu(ctx, uuid, data, PAGES * 4096,
					    &result), 0);
	assert_int_equal(result.moved, PAGES - 1);
	assert_int_equal(result.skipped[UVM_SKIP_BUSY], 1);
	assert_int_equal(uvm_migrate_skipped(&result), 1);
	assert_int_equal(result.done, PAGES * 4096);

	/* The fake answers for 100 pages at once; nobody writes past the end. */
	memset(pages, 0xee, sizeof(pages));
	assert_int_equal(uvm_query_residency(ctx, data, PAGES * 4096, pages), 0);
	assert_int_equal(fake.queries, 3);
	assert_int_equal(pages[PAGES].where, 0xee);
	assert_int_equal(pages[0].where, UVM_WHERE_CPU);
	uvm_count_residency(pages, PAGES, &sum);
	assert_int_equal(sum.gpu, PAGES - 1);
	assert_int_equal(sum.cpu, 1);
	assert_int_equal(sum.none + sum.other_device, 0);

	assert_int_equal(uvm_migrate_to_node(ctx, 0, data, 4096 * 3, NULL), 0);
	assert_int_equal(uvm_migrate_to_cpu(ctx, data, PAGES * 4096, &result), 0);
	assert_int_equal(result.moved, PAGES - 3);
	assert_int_equal(result.already, 3);

	assert_int_equal(uvm_query_residency(ctx, data, 0, pages), -EINVAL);
	assert_int_equal(uvm_query_residency(ctx, data + 8, 4096, pages), -EINVAL);
	assert_int_equal(uvm_query_residency(ctx, data, 4097, pages), -EINVAL);
	assert_int_equal(uvm_query_residency(ctx, data, -4096UL, pages), -EINVAL);
	assert_int_equal(fake.queries, 3);
	free(data);
	close_fake(ctx);
}

/* Somewhere in the one range of the fake that has a policy */
static struct uvm_query_policy policy_of(struct uvm_ctx *ctx, const void *address)
{
	struct uvm_query_policy policy;

	memset(&policy, 0xff, sizeof(policy));
	assert_int_equal(uvm_query_policy(ctx, address, &policy, NULL), 0);
	return policy;
}

static char *const range = (char *)0x10000;
#define RANGE_SIZE	0x3000

static void prefers_locations(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_COHERENT);
	uint8_t *uuid = fake.gpus[0].uuid;
	struct uvm_query_policy policy;

	(void)state;
	assert_int_equal(uvm_set_preferred_gpu(ctx, uuid, range, RANGE_SIZE), -ENOENT);
	assert_int_equal(uvm_set_preferred_gpu(ctx, (const uint8_t *)"nobody's uuid...",
					       range, RANGE_SIZE), -ENODEV);
	assert_int_equal(uvm_register_gpu(ctx, uuid, NULL), 0);
	assert_int_equal(uvm_set_preferred_gpu(ctx, uuid, NULL, RANGE_SIZE), -EFAULT);
	assert_int_equal(policy_of(ctx, range).out_dest_kind, UVM_DEST_NONE);

	assert_int_equal(uvm_set_preferred_gpu(ctx, uuid, range, RANGE_SIZE), 0);
	policy = policy_of(ctx, range + RANGE_SIZE - 1);
	assert_int_equal(policy.out_base, (uintptr_t)range);
	assert_int_equal(policy.out_length, RANGE_SIZE);
	assert_int_equal(policy.out_dest_kind, UVM_DEST_GPU);
	assert_memory_equal(policy.out_dest_uuid, uuid, UVM_UUID_LEN);
	assert_int_equal(policy_of(ctx, range + RANGE_SIZE).out_dest_kind,
			 UVM_DEST_NONE);

	assert_int_equal(uvm_set_preferred_cpu(ctx, range, RANGE_SIZE), 0);
	assert_int_equal(policy_of(ctx, range).out_dest_kind, UVM_DEST_CPU);
	assert_int_equal(uvm_set_preferred_node(ctx, 3, range, RANGE_SIZE), 0);
	policy = policy_of(ctx, range);
	assert_int_equal(policy.out_dest_kind, UVM_DEST_CPU_NODE);
	assert_int_equal(policy.out_dest_node, 3);
	assert_int_equal(uvm_set_preferred_none(ctx, range, RANGE_SIZE), 0);
	assert_int_equal(policy_of(ctx, range).out_dest_kind, UVM_DEST_NONE);
	assert_int_equal(fake.bad_calls, 0);

	assert_int_equal(uvm_set_preferred_cpu(ctx, range + 1, RANGE_SIZE), -EINVAL);
	assert_int_equal(uvm_set_preferred_cpu(ctx, range, 0), -EINVAL);
	assert_int_equal(uvm_set_preferred_node(ctx, -1, range, RANGE_SIZE), -EINVAL);
	assert_int_equal(fake.bad_calls, 3);
	fake.bad_calls = 0;
	close_fake(ctx);
}

static void sets_switches(void **state)
{
	const uint32_t usual = UVM_POLICY_FAULT_MIGRATION | UVM_POLICY_PREFETCH |
			       UVM_POLICY_ALLOW_MIGRATION;
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_PRIVATE);

	(void)state;
	assert_int_equal(policy_of(ctx, range).out_policy, usual);
	assert_int_equal(uvm_set_fault_migration(ctx, range, RANGE_SIZE, false), 0);
	assert_int_equal(policy_of(ctx, range).out_policy,
			 usual & ~UVM_POLICY_FAULT_MIGRATION);
	assert_int_equal(uvm_set_prefetch(ctx, range, RANGE_SIZE, false), 0);
	assert_int_equal(policy_of(ctx, range).out_policy, UVM_POLICY_ALLOW_MIGRATION);
	assert_int_equal(uvm_set_read_mostly(ctx, range, RANGE_SIZE, true), 0);
	assert_int_equal(uvm_set_fault_migration(ctx, range, RANGE_SIZE, true), 0);
	assert_int_equal(uvm_set_prefetch(ctx, range, RANGE_SIZE, true), 0);
	assert_int_equal(policy_of(ctx, range).out_policy,
			 usual | UVM_POLICY_READ_MOSTLY);
	assert_int_equal(uvm_set_read_mostly(ctx, range, RANGE_SIZE, false), 0);
	assert_int_equal(policy_of(ctx, range).out_policy, usual);
	assert_int_equal(uvm_set_prefetch(ctx, NULL, RANGE_SIZE, true), -EFAULT);
	close_fake(ctx);
}

static void groups_ranges(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_PRIVATE);
	uint32_t first, second, third, group = 77;

	(void)state;
	assert_int_equal(uvm_create_range_group(ctx, &first), 0);
	assert_int_equal(uvm_create_range_group(ctx, &second), 0);
	assert_int_equal(uvm_create_range_group(ctx, &third), 0);
	assert_int_not_equal(first, second);
	assert_int_equal(uvm_create_range_group(ctx, &group), -ENOSPC);
	assert_int_equal(group, 77);

	assert_int_equal(uvm_set_range_group(ctx, second, range, RANGE_SIZE), 0);
	assert_int_equal(policy_of(ctx, range).out_group, second);
	assert_int_equal(uvm_allow_migration(ctx, second, false), 0);
	assert_false(policy_of(ctx, range).out_policy & UVM_POLICY_ALLOW_MIGRATION);
	assert_int_equal(uvm_set_range_group(ctx, first, range, RANGE_SIZE), 0);
	assert_true(policy_of(ctx, range).out_policy & UVM_POLICY_ALLOW_MIGRATION);
	assert_int_equal(uvm_set_range_group(ctx, second, range, RANGE_SIZE), 0);
	assert_int_equal(uvm_allow_migration(ctx, second, true), 0);
	assert_true(policy_of(ctx, range).out_policy & UVM_POLICY_ALLOW_MIGRATION);

	assert_int_equal(uvm_destroy_range_group(ctx, second), 0);
	assert_int_equal(policy_of(ctx, range).out_group, 0);
	assert_int_equal(uvm_destroy_range_group(ctx, second), -ENOENT);
	assert_int_equal(uvm_set_range_group(ctx, second, range, RANGE_SIZE), -ENOENT);
	assert_int_equal(uvm_allow_migration(ctx, second, true), -ENOENT);
	assert_int_equal(uvm_set_range_group(ctx, third, range, RANGE_SIZE), 0);
	assert_int_equal(uvm_set_range_group(ctx, 0, range, RANGE_SIZE), 0);
	assert_int_equal(policy_of(ctx, range).out_group, 0);

	/* in the place of the one that went, and not under its name */
	assert_int_equal(uvm_create_range_group(ctx, &group), 0);
	assert_int_not_equal(group, second);
	assert_int_equal(uvm_set_range_group(ctx, second, range, RANGE_SIZE), -ENOENT);
	close_fake(ctx);
}

static void sets_access_counters(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_PRIVATE);
	uint8_t *uuid = fake.gpus[0].uuid;

	(void)state;
	fake.counters = 1;
	fake_add_gpu("plain", UVM_MEMORY_PRIVATE);
	assert_int_equal(uvm_set_access_counters(ctx, uuid, true), -ENOENT);
	assert_int_equal(uvm_set_access_counters(ctx, (const uint8_t *)"nobody's uuid...",
						 true), -ENODEV);
	assert_int_equal(uvm_register_gpu(ctx, uuid, NULL), 0);
	assert_int_equal(uvm_register_gpu(ctx, fake.gpus[1].uuid, NULL), 0);
	assert_int_equal(uvm_set_access_counters(ctx, uuid, true), 0);
	assert_int_equal(fake.counting, 1);
	assert_int_equal(uvm_set_access_counters(ctx, fake.gpus[1].uuid, true),
			 -EOPNOTSUPP);
	assert_int_equal(fake.counting, 1);
	assert_int_equal(uvm_set_access_counters(ctx, uuid, false), 0);
	assert_int_equal(fake.counting, 0);
	close_fake(ctx);
}

static void tells_of_memory(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_PRIVATE);
	uint8_t *uuid = fake.gpus[0].uuid;
	struct uvm_query_memory memory;

	(void)state;
	fake.gpus[0].memory_free -= 8 << 20;
	assert_int_equal(uvm_query_memory(ctx, uuid, &memory), -ENOENT);
	assert_int_equal(uvm_query_memory(ctx, (const uint8_t *)"nobody's uuid...",
					  &memory), -ENODEV);
	assert_int_equal(uvm_register_gpu(ctx, uuid, NULL), 0);
	assert_int_equal(uvm_query_memory(ctx, uuid, &memory), 0);
	assert_int_equal(memory.out_total, 1 << 30);
	assert_int_equal(memory.out_used, 8 << 20);
	assert_int_equal(memory.out_free, (1 << 30) - (8 << 20));
	assert_int_equal(memory.out_mine, 2 << 20);
	assert_int_equal(memory.out_thrash, 125);

	/* nothing is written on failure */
	fake.fail_cmd = UVM_CMD_QUERY_MEMORY;
	fake.fail_errno = ESRCH;
	memory.out_total = 77;
	assert_int_equal(uvm_query_memory(ctx, uuid, &memory), -ESRCH);
	assert_int_equal(memory.out_total, 77);
	fake.fail_cmd = 0;
	close_fake(ctx);
}

static void limits_memory(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_PRIVATE);
	uint8_t *uuid = fake.gpus[0].uuid;
	struct uvm_query_memory memory;

	(void)state;
	assert_int_equal(uvm_set_memory_limit(ctx, uuid, 4096, 0), -ENOENT);
	assert_int_equal(uvm_register_gpu(ctx, uuid, NULL), 0);
	assert_int_equal(uvm_set_memory_limit(ctx, uuid, 3 << 20, 1 << 20), 0);
	assert_int_equal(uvm_query_memory(ctx, uuid, &memory), 0);
	assert_int_equal(memory.out_limit, 3 << 20);
	assert_int_equal(memory.out_reserved, 1 << 20);
	fake.others_reserved = 1 << 20;
	assert_int_equal(uvm_set_memory_limit(ctx, uuid, 0, 1 << 30), -ENOSPC);
	assert_int_equal(fake.bad_calls, 0);
	assert_int_equal(uvm_set_memory_limit(ctx, uuid, 4095, 0), -EINVAL);
	assert_int_equal(uvm_set_memory_limit(ctx, uuid, 0, 4095), -EINVAL);
	assert_int_equal(uvm_set_memory_limit(ctx, uuid, 4096, 8192), -EINVAL);
	assert_int_equal(uvm_set_memory_limit(ctx, uuid, 0, 2ULL << 30), -EINVAL);
	assert_int_equal(fake.limit[0], 3 << 20);
	assert_int_equal(uvm_set_memory_limit(ctx, uuid, 0, 0), 0);
	assert_int_equal(fake.limit[0] | fake.reserved[0], 0);
	fake.bad_calls = 0;
	close_fake(ctx);
}

static void sets_memory_event(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_COHERENT);
	uint8_t *uuid = fake.gpus[0].uuid;

	(void)state;
	fake_add_gpu("node", UVM_MEMORY_NUMA);
	assert_int_equal(uvm_set_memory_event(ctx, uuid, 5, 4096), -ENOENT);
	assert_int_equal(uvm_register_gpu(ctx, uuid, NULL), 0);
	assert_int_equal(uvm_register_gpu(ctx, fake.gpus[1].uuid, NULL), 0);
	assert_int_equal(uvm_set_memory_event(ctx, uuid, 5, 4096), 0);
	assert_int_equal(fake.event[0], 5);
	assert_int_equal(fake.threshold[0], 4096);
	assert_int_equal(uvm_set_memory_event(ctx, fake.gpus[1].uuid, 5, 4096),
			 -EOPNOTSUPP);
	assert_int_equal(uvm_set_memory_event(ctx, uuid, -2, 4096), -EBADF);
	assert_int_equal(fake.threshold[0], 4096);
	assert_int_equal(uvm_set_memory_event(ctx, uuid, -1, 0), 0);
	assert_int_equal(fake.event[0], -1);
	assert_int_equal(fake.threshold[0], 0);
	assert_int_equal(fake.bad_calls, 0);
	assert_int_equal(uvm_set_memory_event(ctx, uuid, 5, 0), -EINVAL);
	assert_int_equal(uvm_set_memory_event(ctx, uuid, -1, 4096), -EINVAL);
	fake.bad_calls = 0;
	close_fake(ctx);
}

static void tells_accessed_by(void **state)
{
	static const uint8_t cpu[UVM_UUID_LEN];
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_PRIVATE);
	uint8_t *uuid = fake.gpus[0].uuid, *uuids = (void *)ctx;
	struct uvm_query_policy policy;

	(void)state;
	assert_int_equal(uvm_query_policy(ctx, range, &policy, &uuids), 0);
	assert_int_equal(policy.out_count, 0);
	assert_null(uuids);
	assert_int_equal(uvm_set_accessed_by(ctx, uuid, range, RANGE_SIZE, true),
			 -ENOENT);
	assert_int_equal(uvm_register_gpu(ctx, uuid, NULL), 0);
	assert_int_equal(uvm_set_accessed_by(ctx, uuid, range, RANGE_SIZE, true), 0);

	/* One joins between the call that asks for the number and the next. */
	fake.late_accessor = 1U << FAKE_MAX_GPUS;
	fake.queries = 0;
	assert_int_equal(uvm_query_policy(ctx, range, &policy, &uuids), 0);
	assert_int_equal(fake.queries, 3);
	assert_int_equal(policy.out_count, 2);
	assert_memory_equal(uuids, cpu, UVM_UUID_LEN);
	assert_memory_equal(uuids + UVM_UUID_LEN, uuid, UVM_UUID_LEN);
	free(uuids);

	/* Who doesn't want them asks once. */
	assert_int_equal(uvm_query_policy(ctx, range, &policy, NULL), 0);
	assert_int_equal(fake.queries, 4);
	assert_int_equal(policy.out_count, 2);
	assert_int_equal(uvm_set_accessed_by(ctx, NULL, range, RANGE_SIZE, false), 0);
	assert_int_equal(uvm_set_accessed_by(ctx, uuid, range, RANGE_SIZE, false), 0);
	assert_int_equal(policy_of(ctx, range).out_count, 0);
	assert_int_equal(uvm_set_accessed_by(ctx, NULL, range, RANGE_SIZE, true), 0);
	assert_int_equal(fake.policy.accessed_by, 1U << FAKE_MAX_GPUS);

	fake.fail_cmd = UVM_CMD_QUERY_POLICY;
	fake.fail_errno = ESRCH;
	uuids = (void *)ctx;
	policy.out_count = 77;
	assert_int_equal(uvm_query_policy(ctx, range, &policy, &uuids), -ESRCH);
	assert_int_equal(policy.out_count, 77);
	assert_ptr_equal(uuids, ctx);
	fake.fail_cmd = 0;
	close_fake(ctx);
}

static void tells_copies(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_PRIVATE);
	struct uvm_range_copies *copies = (void *)ctx;
	struct uvm_query_range answer;

	(void)state;
	assert_int_equal(uvm_query_range(ctx, range, &answer, &copies), 0);
	assert_int_equal(answer.out_kind, UVM_RANGE_MANAGED);
	assert_int_equal(answer.out_count, 0);
	assert_null(copies);

	/* One more between the call that asks for the number and the next. */
	fake.copies = 1;
	fake.late_copies = 1;
	fake.queries = 0;
	assert_int_equal(uvm_query_range(ctx, range, &answer, &copies), 0);
	assert_int_equal(fake.queries, 3);
	assert_int_equal(answer.out_count, 2);
	assert_int_equal(copies[0].id, 0);
	assert_int_equal(copies[0].pages, 10);
	assert_int_equal(copies[1].id, UVM_PROCESSOR_CPU);
	assert_int_equal(copies[1].pages, 11);
	free(copies);

	/* Who doesn't want them asks once. */
	assert_int_equal(uvm_query_range(ctx, range, &answer, NULL), 0);
	assert_int_equal(fake.queries, 4);
	assert_int_equal(answer.out_count, 2);
	assert_int_equal(uvm_query_range(ctx, (void *)(1ULL << 47), &answer, NULL), -EINVAL);
	assert_int_equal(fake.bad_calls, 1);
	fake.bad_calls = 0;

	fake.fail_cmd = UVM_CMD_QUERY_RANGE;
	fake.fail_errno = ESRCH;
	copies = (void *)ctx;
	answer.out_count = 77;
	assert_int_equal(uvm_query_range(ctx, range, &answer, &copies), -ESRCH);
	assert_int_equal(answer.out_count, 77);
	assert_ptr_equal(copies, ctx);
	fake.fail_cmd = 0;
	fake.copies = 0;
	close_fake(ctx);
}

static void counts_every_place(void **state)
{
	static const struct uvm_page_state pages[] = {
		{ .where = UVM_WHERE_NONE }, { .where = UVM_WHERE_CPU },
		{ .where = UVM_WHERE_GPU }, { .where = UVM_WHERE_OTHER_DEVICE },
		{ .where = UVM_WHERE_GPU },
	};
	struct uvm_residency sum;

	(void)state;
	uvm_count_residency(pages, 5, &sum);
	assert_int_equal(sum.none, 1);
	assert_int_equal(sum.cpu, 1);
	assert_int_equal(sum.gpu, 2);
	assert_int_equal(sum.other_device, 1);
	uvm_count_residency(pages, 0, &sum);
	assert_int_equal(sum.none + sum.cpu + sum.gpu + sum.other_device, 0);
}

static void discards(void **state)
{
	enum { PAGES = 20 };
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_COHERENT);
	struct uvm_page_state pages[PAGES];
	struct uvm_discard_result result;
	struct uvm_residency sum;
	uint8_t *uuid = fake.gpus[0].uuid;
	char *data = aligned_alloc(4096, PAGES * 4096);

	(void)state;
	memset(&result, 0xff, sizeof(result));
	assert_int_equal(uvm_discard(ctx, data + 1, 4096, false, &result), -EINVAL);
	assert_int_equal(result.done + result.discarded, 0);
	assert_int_equal(uvm_register_gpu(ctx, uuid, NULL), 0);
	assert_int_equal(uvm_migrate_to_gpu(ctx, uuid, data, 15 * 4096, NULL), 0);
	assert_int_equal(uvm_discard(ctx, data, PAGES * 4096, false, &result), 0);
	assert_int_equal(result.discarded, 15);
	assert_int_equal(result.skipped[UVM_DISCARD_SKIP_NOT_ON_GPU], PAGES - 15);
	assert_int_equal(result.done, PAGES * 4096);
	assert_int_equal(uvm_discard(ctx, data, 5 * 4096, true, NULL), 0);
	assert_int_equal(uvm_query_residency(ctx, data, PAGES * 4096, pages), 0);
	uvm_count_residency(pages, PAGES, &sum);
	assert_int_equal(sum.gpu, 10);
	assert_int_equal(fake.discards, 2);
	fake.fail_cmd = UVM_CMD_DISCARD;
	fake.fail_errno = ESRCH;
	assert_int_equal(uvm_discard(ctx, data, 4096, false, &result), -ESRCH);
	fake.fail_cmd = 0;
	uvm_close(ctx);
	free(data);
}

/* Zero, at its place, and nothing else is taken or left. */
static void allocates(struct uvm_ctx *ctx, size_t length, size_t size, size_t align)
{
	uint64_t before = fake.addresses, managed = fake.managed;
	char *p = NULL;

	assert_int_equal(uvm_managed_alloc(ctx, length, (void **)&p), 0);
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % align, 0);
	assert_int_equal(fake.managed - managed, size);
	assert_int_equal(fake.addresses - before, size);
	for (size_t i = 0; i < size; i += 4096)
		assert_int_equal(p[i] + p[i + 4095], 0);
	memset(p, 1, size);
	assert_int_equal(uvm_managed_free(ctx, p, length), 0);
	assert_int_equal(fake.addresses, before);
}

static void allocates_managed_memory(void **state)
{
	struct uvm_ctx *ctx = open_fake(UVM_MEMORY_PRIVATE);
	void *p = ctx;

	(void)state;
	allocates(ctx, 1, 4096, 4096);
	allocates(ctx, 4096, 4096, 4096);
	allocates(ctx, 4097, 8192, 4096);
	allocates(ctx, (2 << 20) - 4096, (2 << 20) - 4096, 4096);
	/* It is the pages that count. */
	allocates(ctx, (2 << 20) - 1, 2 << 20, 2 << 20);
	allocates(ctx, 2 << 20, 2 << 20, 2 << 20);
	allocates(ctx, (5 << 20) + 1, (5 << 20) + 4096, 2 << 20);

	assert_int_equal(uvm_managed_free(ctx, NULL, 4096), 0);
	assert_int_equal(uvm_managed_free(ctx, p, 0), -EINVAL);
	assert_int_equal(uvm_managed_alloc(ctx, 0, &p), -EINVAL);
	assert_int_equal(uvm_managed_alloc(ctx, SIZE_MAX, &p), -EINVAL);
	assert_int_equal(uvm_managed_alloc(ctx, SIZE_MAX / 2, &p), -ENOMEM);
	fake.fail_mmap = ESRCH;
	assert_int_equal(uvm_managed_alloc(ctx, 3 << 20, &p), -ESRCH);
	assert_int_equal(uvm_managed_alloc(ctx, 1, &p), -ESRCH);
	assert_ptr_equal(p, ctx);
	assert_int_equal(fake.addresses, 0);
	close_fake(ctx);
}

static void errors_have_words(void **state)
{
	static const int errs[] = {
		EINVAL, E2BIG, ENOTTY, EFAULT, EBADF, EBADFD, EPERM, ESRCH,
		ENODEV, ENOENT, EEXIST, ENOMEM, ENOSPC, EOPNOTSUPP, EBUSY, EINTR,
		ETIMEDOUT, ECANCELED,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
		for (unsigned int cmd = UVM_CMD_BASE;
		     cmd <= UVM_CMD_QUERY_RANGE; cmd++) {
			const char *text = uvm_strerror(cmd, errs[i]);

			assert_null(strstr(text, "unexpected"));
			/* What happened: what to do. */
			assert_non_null(strstr(text, ": "));
			assert_ptr_equal(text, uvm_strerror(cmd, -errs[i]));
		}
	}
	assert_non_null(strstr(uvm_strerror(UVM_CMD_OPEN, ENOENT), "insmod"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_OPEN, EACCES), "root"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_WAIT, EDOM), "unexpected"));
	assert_non_null(strstr(uvm_strerror(12345, INT32_MIN), "unexpected"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_REGISTER_GPU, EOPNOTSUPP), "mix"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_UNREGISTER_GPU, ENODEV),
			       "nothing is left"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_CHANNEL_SUBMIT, ENODEV),
			       "went away"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_MM_INIT, EOPNOTSUPP),
			       "several processes"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_SET_PREFERRED_LOCATION, EINVAL),
			       "the node has no memory"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_SET_RANGE_GROUP, EINVAL),
			       "page aligned"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_ALLOW_MIGRATION, ENOENT),
			       "range group: create"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_SET_PREFETCH, ENOSPC), "ranges"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_CREATE_RANGE_GROUP, ENOSPC),
			       "range groups"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_ALLOW_MIGRATION, EINTR), "repeat"));
	assert_non_null(strstr(uvm_strerror(UVM_CMD_SET_ACCESS_COUNTERS, EOPNOTSUPP),
			       "access counters"));
	assert_string_equal(uvm_strerror(UVM_CMD_INFO, 0), "success");
}

/* Every value has a name of its own, and the one beyond has none. */
static void check_names(const char *(*name)(unsigned int), unsigned int low,
			unsigned int high)
{
	for (unsigned int i = low; i <= high; i++) {
		assert_string_not_equal(name(i), "unknown");
		for (unsigned int k = low; k < i; k++)
			assert_string_not_equal(name(i), name(k));
	}
	assert_string_equal(name(high + 1), "unknown");
	assert_string_equal(name(~0U), "unknown");
}

static void values_have_names(void **state)
{
	(void)state;
	check_names(uvm_memory_kind_name, UVM_MEMORY_PRIVATE, UVM_MEMORY_NUMA);
	check_names(uvm_channel_state_name, UVM_CHANNEL_RUNNING,
		    UVM_CHANNEL_STOPPED);
	check_names(uvm_fault_reason_name, UVM_FAULT_NONE, UVM_FAULT_NO_ATOMIC);
	check_names(uvm_access_name, UVM_ACCESS_READ, UVM_ACCESS_ATOMIC);
	check_names(uvm_skip_name, 0, UVM_SKIP_NR - 1);
	check_names(uvm_where_name, UVM_WHERE_NONE, UVM_WHERE_OTHER_DEVICE);
}

/* Unused operands are 0, the used ones where the header says. */
static void check_cmd(struct uvm_sim_cmd cmd, uint32_t op, uint64_t dst,
		      uint64_t src, uint64_t length, uint64_t arg0,
		      uint64_t arg1)
{
	const struct uvm_sim_cmd want = {
		.op = op, .dst = dst, .src = src, .length = length,
		.arg0 = arg0, .arg1 = arg1,
	};

	assert_memory_equal(&cmd, &want, sizeof(want));
}

static void builds_commands(void **state)
{
	void *a = (void *)0x1000, *b = (void *)0x2000;

	(void)state;
	check_cmd(uvm_sim_nop(), UVM_SIM_NOP, 0, 0, 0, 0, 0);
	check_cmd(uvm_sim_fill(a, 7, 9), UVM_SIM_FILL, 0x1000, 0, 9, 7, 0);
	check_cmd(uvm_sim_copy(a, b, 9), UVM_SIM_COPY, 0x1000, 0x2000, 9, 0, 0);
	check_cmd(uvm_sim_xor(a, 9, 5), UVM_SIM_XOR, 0x1000, 0, 9, 5, 0);
	check_cmd(uvm_sim_histogram(a, b, 9), UVM_SIM_HISTOGRAM, 0x1000, 0x2000,
		  9, 0, 0);
	check_cmd(uvm_sim_crc32c(a, b, 9), UVM_SIM_CRC32C, 0x1000, 0x2000, 9, 0,
		  0);
	check_cmd(uvm_sim_sum(a, b, 16), UVM_SIM_SUM, 0x1000, 0x2000, 16, 0, 0);
	check_cmd(uvm_sim_atomic_add(a, 2, 3), UVM_SIM_ATOMIC_ADD, 0x1000, 0, 0,
		  2, 3);
	check_cmd(uvm_sim_chase(a, b, 4), UVM_SIM_CHASE, 0x1000, 0x2000, 0, 4, 0);
	check_cmd(uvm_sim_touch(a, 64, 8, 2), UVM_SIM_TOUCH, 0x1000, 0, 64, 8, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(span_covers),
		cmocka_unit_test(picks_gpu),
		cmocka_unit_test(opens_and_closes_in_order),
		cmocka_unit_test(failed_open_leaves_nothing),
		cmocka_unit_test(enumerates),
		cmocka_unit_test(registers),
		cmocka_unit_test(tells_processors),
		cmocka_unit_test(channels),
		cmocka_unit_test(migrates_and_queries),
		cmocka_unit_test(prefers_locations),
		cmocka_unit_test(sets_switches),
		cmocka_unit_test(groups_ranges),
		cmocka_unit_test(sets_access_counters),
		cmocka_unit_test(tells_of_memory),
		cmocka_unit_test(limits_memory),
		cmocka_unit_test(sets_memory_event),
		cmocka_unit_test(tells_accessed_by),
		cmocka_unit_test(tells_copies),
		cmocka_unit_test(counts_every_place),
		cmocka_unit_test(discards),
		cmocka_unit_test(allocates_managed_memory),
		cmocka_unit_test(errors_have_words),
		cmocka_unit_test(values_have_names),
		cmocka_unit_test(builds_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
