// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves the contract of include/uapi/linux/uvm.h: for every command, every
 * documented error, from a table of all commands (a command that the kernel has
 * and the table lacks fails unknown_commands); that a call that failed changed
 * nothing; the state machine of the two files; the channel contract. What policies are
 * has a suite of its own.
 *
 * The ioctls are issued raw: nothing stands between a check and the kernel.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "lib_env.h"
#include "lib_managed.h"
#include "lib_memory.h"
#include "lib_policy.h"
#include "lib_uvm.h"

/* ---- the table of all commands ---- */

/* how a command answers in a state */
enum answer { OK, BADFD, SRCH, NOSUPP, NOENT };

struct bytes {
	size_t offset;
	size_t length;
};
#define FIELD(type, member)	\
	{ offsetof(struct type, member), sizeof(((struct type *)0)->member) }

union any {
	struct { __u32 size, flags; } head;
	struct uvm_info info;
	struct uvm_init init;
	struct uvm_mm_init mm_init;
	struct uvm_enum_gpus enum_gpus;
	struct uvm_register_gpu register_gpu;
	struct uvm_unregister_gpu unregister_gpu;
	struct uvm_channel_create channel_create;
	struct uvm_channel_submit channel_submit;
	struct uvm_channel_query channel_query;
	struct uvm_channel_destroy channel_destroy;
	struct uvm_wait wait;
	struct uvm_migrate migrate;
	struct uvm_query_residency query_residency;
	struct uvm_query_processors query_processors;
	struct uvm_set_preferred_location set_preferred;
	struct uvm_set_accessed_by set_accessed_by;
	struct uvm_set_switch set_switch;
	struct uvm_destroy_range_group destroy_group;
	struct uvm_set_range_group set_group;
	struct uvm_allow_migration allow;
	struct uvm_query_policy query_policy;
	struct uvm_query_range query_range;
	struct uvm_set_access_counters counters;
	struct uvm_query_memory memory;
	struct uvm_set_memory_limit limit;
	struct uvm_set_memory_event event;
	struct uvm_discard discard;
	unsigned char bytes[2 * PAGE];
};

struct command {
	const char *name;
	unsigned long cmd;
	size_t size;
	size_t first_size;		/* of its first version, if that was another */
	uint32_t flags;			/* that it knows */
	enum state home;		/* the state in which good() works */
	enum answer answer[NR_STATES];
	bool other_mm;			/* EPERM from another process */
	void (*good)(struct env *e, enum state state, union any *a);
	struct bytes reserved[3];	/* must be zero */
	struct bytes out[14];		/* ignored on the way in */
	struct bytes pointers[2];	/* a bad one is EFAULT */
};

static void good_none(struct env *e, enum state state, union any *a)
{
	(void)e;
	(void)state;
	(void)a;
}

static void good_mm_init(struct env *e, enum state state, union any *a)
{
	(void)state;
	a->mm_init.va_space_fd = e->fd[VA_ONLY];
}

static void good_enum(struct env *e, enum state state, union any *a)
{
	(void)state;
	a->enum_gpus.gpus = ADDR(e->gpus);
	a->enum_gpus.count = MAX_GPUS;
	a->enum_gpus.entry_size = sizeof(struct uvm_gpu_info);
}

static void good_register(struct env *e, enum state state, union any *a)
{
	(void)state;
	memcpy(a->register_gpu.uuid, e->gpu.uuid, UVM_UUID_LEN);
}

static void good_unregister(struct env *e, enum state state, union any *a)
{
	(void)state;
	memcpy(a->unregister_gpu.uuid, e->gpu.uuid, UVM_UUID_LEN);
}

static void good_create(struct env *e, enum state state, union any *a)
{
	(void)state;
	memcpy(a->channel_create.uuid, e->gpu.uuid, UVM_UUID_LEN);
}

static uint32_t channel_of(struct env *e, enum state state)
{
	if (state == RELEASED)
		return e->dead_channel;
	return state == MULTI ? e->multi_channel : e->channel;
}

static void good_submit(struct env *e, enum state state, union any *a)
{
	a->channel_submit.channel = channel_of(e, state);
	a->channel_submit.length = sizeof(e->nop);
	a->channel_submit.commands = ADDR(&e->nop);
}

static void good_query(struct env *e, enum state state, union any *a)
{
	a->channel_query.channel = channel_of(e, state);
}

static void good_destroy(struct env *e, enum state state, union any *a)
{
	a->channel_destroy.channel = channel_of(e, state);
}

static void good_wait(struct env *e, enum state state, union any *a)
{
	a->wait.channel = channel_of(e, state);
	a->wait.point = e->point;
	a->wait.timeout_ns = 0;
}

static void good_migrate(struct env *e, enum state state, union any *a)
{
	(void)state;
	a->migrate.base = ADDR(e->buf);
	a->migrate.length = BUF_SIZE;
	a->migrate.dest_kind = UVM_DEST_CPU;
}

static void good_residency(struct env *e, enum state state, union any *a)
{
	(void)state;
	a->query_residency.base = ADDR(e->buf);
	a->query_residency.length = BUF_SIZE;
	a->query_residency.pages = ADDR(e->st);
}

static void good_processors(struct env *e, enum state state, union any *a)
{
	(void)state;
	a->query_processors.processors = ADDR(e->processors);
	a->query_processors.count = MAX_GPUS + 1;
	a->query_processors.entry_size = sizeof(struct uvm_processor);
}

static void good_preferred(struct env *e, enum state state, union any *a)
{
	(void)state;
	a->set_preferred.base = ADDR(e->buf);
	a->set_preferred.length = BUF_SIZE;
	a->set_preferred.dest_kind = UVM_DEST_CPU;
}

static void good_accessed_by(struct env *e, enum state state, union any *a)
{
	(void)state;
	a->set_accessed_by.base = ADDR(e->buf);
	a->set_accessed_by.length = BUF_SIZE;
	memcpy(a->set_accessed_by.uuid, e->gpu.uuid, UVM_UUID_LEN);
	a->set_accessed_by.enable = 1;
}

/* What isn't the default */
static void good_off(struct env *e, enum state state, union any *a)
{
	(void)state;
	a->set_switch.base = ADDR(e->buf);
	a->set_switch.length = BUF_SIZE;
}

static void good_on(struct env *e, enum state state, union any *a)
{
	good_off(e, state, a);
	a->set_switch.enable = 1;
}

static uint32_t group_of(struct env *e, enum state state)
{
	return state == RELEASED ? e->dead_group : e->group;
}

static void good_destroy_group(struct env *e, enum state state, union any *a)
{
	a->destroy_group.group = group_of(e, state);
}

static void good_set_group(struct env *e, enum state state, union any *a)
{
	a->set_group.base = ADDR(e->buf);
	a->set_group.length = BUF_SIZE;
	a->set_group.group = group_of(e, state);
}

static void good_forbid(struct env *e, enum state state, union any *a)
{
	a->allow.group = group_of(e, state);
}

/* Of a page whose accessed-by set isn't empty */
static void good_policy(struct env *e, enum state state, union any *a)
{
	(void)state;
	a->query_policy.address = ADDR(e->buf + PAGE);
	a->query_policy.accessed_by = ADDR(e->accessed_by);
	a->query_policy.count = POLICY_ROOM;
}

/* Of memory that is there */
static void good_range(struct env *e, enum state state, union any *a)
{
	(void)state;
	a->query_range.address = ADDR(e->buf + PAGE);
	a->query_range.copies = ADDR(e->copies);
	a->query_range.count = RANGE_ROOM;
}

static void good_counters(struct env *e, enum state state, union any *a)
{
	(void)state;
	memcpy(a->counters.uuid, e->gpu.uuid, UVM_UUID_LEN);
	a->counters.enable = 1;
}

static void good_memory(struct env *e, enum state state, union any *a)
{
	(void)state;
	memcpy(a->memory.uuid, e->gpu.uuid, UVM_UUID_LEN);
}

static void good_limit(struct env *e, enum state state, union any *a)
{
	(void)state;
	memcpy(a->limit.uuid, e->gpu.uuid, UVM_UUID_LEN);
	a->limit.limit = 4 * PAGE;
	a->limit.reserved = PAGE;
}

static void good_event(struct env *e, enum state state, union any *a)
{
	(void)state;
	memcpy(a->event.uuid, e->gpu.uuid, UVM_UUID_LEN);
	a->event.threshold = PAGE;
	a->event.eventfd = e->eventfd;
}

static void good_discard(struct env *e, enum state state, union any *a)
{
	(void)state;
	a->discard.base = ADDR(e->buf);
	a->discard.length = BUF_SIZE;
}

#define ANSWERS(fresh_, va_only_, va_, mm_, released_, multi_) \
	{ [FRESH] = fresh_, [VA_ONLY] = va_only_, [VA] = va_, [MM] = mm_, \
	  [RELEASED] = released_, [MULTI] = multi_ }
#define COMMAND(name_, type_) \
	.name = #name_, .cmd = UVM_##name_, .size = sizeof(struct type_)

static const struct command commands[] = {
	{
		COMMAND(INFO, uvm_info), .home = VA, .good = good_none,
		.answer = ANSWERS(OK, OK, OK, BADFD, OK, OK),
		.out = { FIELD(uvm_info, out_version), FIELD(uvm_info, out_page_size),
			 FIELD(uvm_info, out_features), FIELD(uvm_info, out_max_gpus),
			 FIELD(uvm_info, out_max_channels),
			 FIELD(uvm_info, out_max_submit),
			 FIELD(uvm_info, out_max_query) },
	}, {
		COMMAND(INIT, uvm_init), .home = FRESH, .good = good_none,
		.flags = UVM_INIT_MULTI_PROCESS,
		.answer = ANSWERS(OK, BADFD, BADFD, BADFD, BADFD, BADFD),
	}, {
		COMMAND(MM_INIT, uvm_mm_init), .home = FRESH, .good = good_mm_init,
		.answer = ANSWERS(OK, BADFD, BADFD, BADFD, BADFD, BADFD),
		.other_mm = true,
		.reserved = { FIELD(uvm_mm_init, __reserved) },
	}, {
		COMMAND(ENUM_GPUS, uvm_enum_gpus), .home = VA, .good = good_enum,
		.answer = ANSWERS(OK, OK, OK, BADFD, OK, OK),
		.reserved = { FIELD(uvm_enum_gpus, __reserved) },
		.out = { FIELD(uvm_enum_gpus, out_count) },
		.pointers = { FIELD(uvm_enum_gpus, gpus) },
	}, {
		COMMAND(REGISTER_GPU, uvm_register_gpu), .home = VA,
		.good = good_register,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, OK),
		.other_mm = true,
		.out = { FIELD(uvm_register_gpu, out_numa_enabled),
			 FIELD(uvm_register_gpu, out_numa_node) },
	}, {
		COMMAND(UNREGISTER_GPU, uvm_unregister_gpu), .home = VA,
		.first_size = offsetof(struct uvm_unregister_gpu, out_moved),
		.out = { FIELD(uvm_unregister_gpu, out_moved),
			 FIELD(uvm_unregister_gpu, out_left) },
		.good = good_unregister,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, OK, OK),
		.other_mm = true,
	}, {
		COMMAND(CHANNEL_CREATE, uvm_channel_create), .home = VA,
		.good = good_create,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, OK),
		.other_mm = true,
		.reserved = { FIELD(uvm_channel_create, __reserved) },
		.out = { FIELD(uvm_channel_create, out_channel) },
	}, {
		COMMAND(CHANNEL_SUBMIT, uvm_channel_submit), .home = VA,
		.good = good_submit,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, OK),
		.other_mm = true,
		.out = { FIELD(uvm_channel_submit, out_point) },
		.pointers = { FIELD(uvm_channel_submit, commands) },
	}, {
		COMMAND(CHANNEL_QUERY, uvm_channel_query), .home = VA,
		.good = good_query,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, OK, OK),
		.other_mm = true,
		.out = { FIELD(uvm_channel_query, out_state),
			 FIELD(uvm_channel_query, out_reason),
			 FIELD(uvm_channel_query, out_access),
			 FIELD(uvm_channel_query, out_address),
			 FIELD(uvm_channel_query, out_submitted),
			 FIELD(uvm_channel_query, out_completed) },
	}, {
		COMMAND(CHANNEL_DESTROY, uvm_channel_destroy), .home = VA,
		.good = good_destroy,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, OK, OK),
		.other_mm = true,
		.reserved = { FIELD(uvm_channel_destroy, __reserved) },
	}, {
		COMMAND(WAIT, uvm_wait), .home = VA, .good = good_wait,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, OK, OK),
		.other_mm = true,
		.reserved = { FIELD(uvm_wait, __reserved) },
		.out = { FIELD(uvm_wait, out_completed) },
	}, {
		COMMAND(MIGRATE, uvm_migrate), .home = VA, .good = good_migrate,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		/* both have to be 0 for the CPU */
		.reserved = { FIELD(uvm_migrate, dest_node),
			      FIELD(uvm_migrate, dest_uuid) },
		.out = { FIELD(uvm_migrate, out_moved), FIELD(uvm_migrate, out_already),
			 FIELD(uvm_migrate, out_skipped), FIELD(uvm_migrate, out_done) },
	}, {
		COMMAND(QUERY_RESIDENCY, uvm_query_residency), .home = VA,
		.good = good_residency,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.pointers = { FIELD(uvm_query_residency, pages) },
	}, {
		COMMAND(QUERY_PROCESSORS, uvm_query_processors), .home = VA,
		.good = good_processors,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, OK, OK),
		.other_mm = true,
		.reserved = { FIELD(uvm_query_processors, __reserved) },
		.out = { FIELD(uvm_query_processors, out_count) },
		.pointers = { FIELD(uvm_query_processors, processors) },
	}, {
		COMMAND(SET_PREFERRED_LOCATION, uvm_set_preferred_location),
		.home = VA, .good = good_preferred,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		/* both have to be 0 for the CPU */
		.reserved = { FIELD(uvm_set_preferred_location, dest_node),
			      FIELD(uvm_set_preferred_location, dest_uuid) },
	}, {
		COMMAND(SET_ACCESSED_BY, uvm_set_accessed_by), .home = VA,
		.good = good_accessed_by,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.reserved = { FIELD(uvm_set_accessed_by, __reserved) },
	}, {
		COMMAND(SET_FAULT_MIGRATION, uvm_set_switch), .home = VA,
		.good = good_off,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.reserved = { FIELD(uvm_set_switch, __reserved) },
	}, {
		COMMAND(SET_PREFETCH, uvm_set_switch), .home = VA, .good = good_off,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.reserved = { FIELD(uvm_set_switch, __reserved) },
	}, {
		COMMAND(SET_READ_MOSTLY, uvm_set_switch), .home = VA, .good = good_on,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.reserved = { FIELD(uvm_set_switch, __reserved) },
	}, {
		COMMAND(CREATE_RANGE_GROUP, uvm_create_range_group), .home = VA,
		.good = good_none,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.reserved = { FIELD(uvm_create_range_group, __reserved) },
		.out = { FIELD(uvm_create_range_group, out_group) },
	}, {
		COMMAND(DESTROY_RANGE_GROUP, uvm_destroy_range_group), .home = VA,
		.good = good_destroy_group,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, OK, NOENT),
		.other_mm = true,
		.reserved = { FIELD(uvm_destroy_range_group, __reserved) },
	}, {
		COMMAND(SET_RANGE_GROUP, uvm_set_range_group), .home = VA,
		.good = good_set_group,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.reserved = { FIELD(uvm_set_range_group, __reserved) },
	}, {
		COMMAND(ALLOW_MIGRATION, uvm_allow_migration), .home = VA,
		.good = good_forbid,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
	}, {
		COMMAND(QUERY_POLICY, uvm_query_policy), .home = VA,
		.good = good_policy,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.out = { FIELD(uvm_query_policy, out_base),
			 FIELD(uvm_query_policy, out_length),
			 FIELD(uvm_query_policy, out_policy),
			 FIELD(uvm_query_policy, out_group),
			 FIELD(uvm_query_policy, out_dest_kind),
			 FIELD(uvm_query_policy, out_dest_node),
			 FIELD(uvm_query_policy, out_dest_uuid),
			 FIELD(uvm_query_policy, out_count) },
		.pointers = { FIELD(uvm_query_policy, accessed_by) },
	}, {
		COMMAND(SET_ACCESS_COUNTERS, uvm_set_access_counters), .home = VA,
		.good = good_counters,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, OK),
		.other_mm = true,
		.reserved = { FIELD(uvm_set_access_counters, __reserved) },
	}, {
		COMMAND(QUERY_MEMORY, uvm_query_memory), .home = VA,
		.good = good_memory,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.reserved = { FIELD(uvm_query_memory, __reserved) },
		.out = { FIELD(uvm_query_memory, out_total),
			 FIELD(uvm_query_memory, out_used),
			 FIELD(uvm_query_memory, out_free),
			 FIELD(uvm_query_memory, out_largest_free),
			 FIELD(uvm_query_memory, out_evictable),
			 FIELD(uvm_query_memory, out_pinned),
			 FIELD(uvm_query_memory, out_mine),
			 FIELD(uvm_query_memory, out_limit),
			 FIELD(uvm_query_memory, out_reserved),
			 FIELD(uvm_query_memory, out_evicted),
			 FIELD(uvm_query_memory, out_refaulted),
			 FIELD(uvm_query_memory, out_my_evicted),
			 FIELD(uvm_query_memory, out_my_refaulted),
			 FIELD(uvm_query_memory, out_thrash) },
	}, {
		COMMAND(SET_MEMORY_LIMIT, uvm_set_memory_limit), .home = VA,
		.good = good_limit,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
	}, {
		COMMAND(SET_MEMORY_EVENT, uvm_set_memory_event), .home = VA,
		.good = good_event,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.reserved = { FIELD(uvm_set_memory_event, __reserved) },
	}, {
		COMMAND(DISCARD, uvm_discard), .home = VA, .good = good_discard,
		.flags = UVM_DISCARD_EAGER,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.out = { FIELD(uvm_discard, out_discarded), FIELD(uvm_discard, out_skipped),
			 FIELD(uvm_discard, out_done) },
	}, {
		COMMAND(QUERY_RANGE, uvm_query_range), .home = VA, .good = good_range,
		.answer = ANSWERS(BADFD, BADFD, OK, BADFD, SRCH, NOSUPP),
		.other_mm = true,
		.out = { FIELD(uvm_query_range, out_base),
			 FIELD(uvm_query_range, out_length),
			 FIELD(uvm_query_range, out_kind),
			 FIELD(uvm_query_range, out_policy),
			 FIELD(uvm_query_range, out_count) },
		.pointers = { FIELD(uvm_query_range, copies) },
	},
};
#define NR_COMMANDS	(sizeof(commands) / sizeof(commands[0]))

/* A variant for every command: .kind indexes the table. */
static const struct variant each_command[NR_COMMANDS + 1] = {
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
_Static_assert(NR_COMMANDS == UVM_CMD_QUERY_RANGE - UVM_CMD_BASE + 1,
	       "a command is missing from the table, or it isn't the last one");

static const struct command *command_of(const struct variant *v)
{
	const struct command *c = &commands[v->kind];

	ASSERT_EQ(strcmp(c->name, v->name), 0);
	return c;
}

static void fill_good(const struct command *c, struct env *e, enum state state,
		      union any *a)
{
	memset(a, 0, sizeof(*a));
	c->good(e, state, a);
	a->head.size = c->size;
}

/* What good() needs before it: REGISTER_GPU wants a GPU that isn't registered. */
static void make_good(const struct command *c, struct env *e, enum state state)
{
	if (c->cmd == UVM_REGISTER_GPU)
		ASSERT_RET(unregister_gpu(e->fd[state], e->gpu.uuid), 0);
}

/* A call that has to fail with @want (or @or), and to change nothing. */
static void bad_call(const struct command *c, struct env *e, int fd, void *arg,
		     int want, int or, const char *what)
{
	struct sight was;
	char text[200];
	int ret;

	snprintf(text, sizeof(text), "%s, %s", c->name, what);
	env_look(e, &was);
	ret = uvm_ioctl(fd, c->cmd, arg);
	harness_result(false, __FILE__, __LINE__, text, ret, want, or);
	expect_unchanged(e, &was, text);
}

/* ---- generic: over the whole table ---- */

TEST_V(good_call, each_command)
{
	const struct command *c = command_of(v);
	struct env e;
	union any a;

	env_open(&e);
	make_good(c, &e, c->home);
	fill_good(c, &e, c->home, &a);
	EXPECT_RET(uvm_ioctl(e.fd[c->home], c->cmd, &a), 0);
	EXPECT_EQ(a.head.size, c->size);
	EXPECT_EQ(a.head.flags, 0);
	/* out members are written, and the kernel writes nothing past the end */
	EXPECT_BYTES(a.bytes + c->size, sizeof(a) - c->size, 0);
	env_close(&e);
}

TEST_V(wrong_state, each_command)
{
	static const int error[] = {
		[OK] = 0, [BADFD] = -EBADFD, [SRCH] = -ESRCH,
		[NOSUPP] = -EOPNOTSUPP, [NOENT] = -ENOENT,
	};
	const struct command *c = command_of(v);
	struct env e;
	union any a;
	int state;

	for (state = 0; state < NR_STATES; state++) {
		env_open(&e);
		if (c->answer[state] == OK)
			make_good(c, &e, state);
		fill_good(c, &e, state, &a);
		if (c->answer[state] == OK)
			harness_result(false, __FILE__, __LINE__,
				       state_names[state],
				       uvm_ioctl(e.fd[state], c->cmd, &a), 0, 0);
		else
			bad_call(c, &e, e.fd[state], &a, error[c->answer[state]],
				 error[c->answer[state]], state_names[state]);
		env_close(&e);
	}
}

/* Files that are none of ours don't know the commands. */
TEST_V(foreign_file, each_command)
{
	const struct command *c = command_of(v);
	struct env e;
	union any a;
	int null, pipes[2], path;

	env_open(&e);
	fill_good(c, &e, c->home, &a);
	null = open("/dev/null", O_RDWR);
	path = open("/dev/uvm", O_PATH);
	ASSERT_GE(null, 0);
	ASSERT_GE(path, 0);
	ASSERT_EQ(pipe(pipes), 0);
	bad_call(c, &e, null, &a, -ENOTTY, -ENOTTY, "on /dev/null");
	bad_call(c, &e, pipes[0], &a, -ENOTTY, -ENOTTY, "on a pipe");
	bad_call(c, &e, path, &a, -EBADF, -EBADF, "on an O_PATH file");
	bad_call(c, &e, -1, &a, -EBADF, -EBADF, "on file -1");
	env_close(&e);
}

TEST_V(flags, each_command)
{
	const struct command *c = command_of(v);
	struct env e;
	union any a;
	char what[40];
	int bit;

	env_open(&e);
	for (bit = 0; bit < 32; bit++) {
		if (c->flags & 1U << bit)
			continue;
		fill_good(c, &e, c->home, &a);
		a.head.flags = 1U << bit;
		snprintf(what, sizeof(what), "flag bit %d", bit);
		bad_call(c, &e, e.fd[c->home], &a, -EINVAL, -EINVAL, what);
	}
	env_close(&e);
}

TEST_V(reserved, each_command)
{
	const struct command *c = command_of(v);
	const struct bytes *r;
	struct env e;
	union any a;
	char what[40];
	size_t i, n;

	if (!c->reserved[0].length)
		SKIP("it has no reserved member");
	env_open(&e);
	for (n = 0; n < 3; n++) {
		r = &c->reserved[n];
		for (i = r->offset; i < r->offset + r->length; i++) {
			fill_good(c, &e, c->home, &a);
			a.bytes[i] = 1;
			snprintf(what, sizeof(what), "byte %zu not zero", i);
			bad_call(c, &e, e.fd[c->home], &a, -EINVAL, -EINVAL, what);
		}
	}
	env_close(&e);
}

TEST_V(short_size, each_command)
{
	const struct command *c = command_of(v);
	uint32_t first = c->first_size ? c->first_size : c->size;
	uint32_t sizes[] = { 0, 1, 4, 7, first - 1 };
	struct env e;
	union any a;
	char what[40];
	size_t i;

	env_open(&e);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill_good(c, &e, c->home, &a);
		a.head.size = sizes[i];
		snprintf(what, sizeof(what), "size %u", sizes[i]);
		bad_call(c, &e, e.fd[c->home], &a, -EINVAL, -EINVAL, what);
	}
	env_close(&e);
}

/* A program that was built when the structure was shorter: nothing past its end. */
TEST_V(first_size, each_command)
{
	const struct command *c = command_of(v);
	uint32_t size;
	struct env e;
	union any a;

	if (!c->first_size)
		SKIP("its structure never grew");
	for (size = c->first_size; size < c->size; size++) {
		env_open(&e);
		make_good(c, &e, c->home);
		fill_good(c, &e, c->home, &a);
		memset(a.bytes + size, 0x5a, sizeof(a) - size);
		a.head.size = size;
		EXPECT_RET(uvm_ioctl(e.fd[c->home], c->cmd, &a), 0);
		EXPECT_EQ(a.head.size, size);
		EXPECT_BYTES(a.bytes + size, sizeof(a) - size, 0x5a);
		env_close(&e);
	}
}

TEST_V(long_size_zero_tail, each_command)
{
	const struct command *c = command_of(v);
	uint32_t sizes[] = { c->size + 1, c->size + 8, PAGE };
	struct env e;
	union any a;
	char what[40];
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		env_open(&e);
		make_good(c, &e, c->home);
		fill_good(c, &e, c->home, &a);
		a.head.size = sizes[i];
		snprintf(what, sizeof(what), "%s, size %u", c->name, sizes[i]);
		harness_result(false, __FILE__, __LINE__, what,
			       uvm_ioctl(e.fd[c->home], c->cmd, &a), 0, 0);
		EXPECT_EQ(a.head.size, sizes[i]);
		EXPECT_BYTES(a.bytes + c->size, sizeof(a) - c->size, 0);
		env_close(&e);
	}
}

TEST_V(long_size_dirty_tail, each_command)
{
	const struct command *c = command_of(v);
	uint32_t sizes[] = { c->size + 1, c->size + 8, PAGE };
	struct env e;
	union any a;
	char what[60];
	size_t i;

	env_open(&e);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill_good(c, &e, c->home, &a);
		a.head.size = sizes[i];
		a.bytes[sizes[i] - 1] = 0x80;
		snprintf(what, sizeof(what), "size %u, last byte set", sizes[i]);
		bad_call(c, &e, e.fd[c->home], &a, -E2BIG, -E2BIG, what);
		if (sizes[i] == c->size + 1)
			continue;
		a.bytes[sizes[i] - 1] = 0;
		a.bytes[c->size] = 1;
		snprintf(what, sizeof(what), "size %u, first tail byte set",
			 sizes[i]);
		bad_call(c, &e, e.fd[c->home], &a, -E2BIG, -E2BIG, what);
	}
	env_close(&e);
}

/* Sizes no structure will ever have: refused, whatever is mapped behind. */
TEST_V(absurd_size, each_command)
{
	static const uint32_t sizes[] = { 0x7fffffff, 0x80000000, 0xffffffff };
	const struct command *c = command_of(v);
	struct sight was;
	struct env e;
	union any *a;
	char *area;
	size_t i;
	int ret;

	env_open(&e);
	area = anon(sizeof(*a) + PAGE, PROT_READ | PROT_WRITE, 0);
	ASSERT_RET(munmap(area + sizeof(*a), PAGE), 0);
	a = (union any *)area;
	for (i = 0; i < 3; i++) {
		fill_good(c, &e, c->home, a);
		a->head.size = sizes[i];
		env_look(&e, &was);
		ret = uvm_ioctl(e.fd[c->home], c->cmd, a);
		harness_check(ret == -E2BIG || ret == -EINVAL || ret == -EFAULT,
			      false, __FILE__, __LINE__,
			      "%s, size 0x%x: wanted E2BIG, EINVAL or EFAULT, saw %d",
			      c->name, sizes[i], ret);
		expect_unchanged(&e, &was, c->name);
	}
	env_close(&e);
}

TEST_V(bad_argument, each_command)
{
	const struct command *c = command_of(v);
	struct env e;
	union any a;
	char *area;

	env_open(&e);
	area = anon(2 * PAGE, PROT_READ | PROT_WRITE, 0);
	ASSERT_RET(mprotect(area + PAGE, PAGE, PROT_NONE), 0);
	bad_call(c, &e, e.fd[c->home], NULL, -EFAULT, -EFAULT, "NULL");
	bad_call(c, &e, e.fd[c->home], (void *)KERNEL_ADDR, -EFAULT, -EFAULT,
		 "a kernel address");
	bad_call(c, &e, e.fd[c->home], (void *)0x8000000000000000ULL, -EFAULT,
		 -EFAULT, "a non-canonical address");
	bad_call(c, &e, e.fd[c->home], (void *)-8L, -EFAULT, -EFAULT,
		 "an address that wraps");
	bad_call(c, &e, e.fd[c->home], area + PAGE, -EFAULT, -EFAULT,
		 "a PROT_NONE page");

	fill_good(c, &e, c->home, &a);
	memcpy(area + PAGE - 4, &a, 4);
	bad_call(c, &e, e.fd[c->home], area + PAGE - 4, -EFAULT, -EFAULT,
		 "only its size readable");
	memcpy(area + PAGE - (c->size - 1), &a, c->size - 1);
	bad_call(c, &e, e.fd[c->home], area + PAGE - (c->size - 1), -EFAULT,
		 -EFAULT, "its last byte not readable");
	env_close(&e);
}

/* Results that can't be delivered: EFAULT, and the deed isn't done either. */
TEST_V(read_only_argument, each_command)
{
	const struct command *c = command_of(v);
	struct env e;
	union any *a;
	int ret;

	if (!c->out[0].length)
		SKIP("it returns nothing in its structure");
	env_open(&e);
	make_good(c, &e, c->home);
	a = anon(sizeof(*a), PROT_READ | PROT_WRITE, 0);
	fill_good(c, &e, c->home, a);
	ASSERT_RET(mprotect(a, sizeof(*a), PROT_READ), 0);
	ret = uvm_ioctl(e.fd[c->home], c->cmd, a);
	EXPECT_RET(ret, -EFAULT);
	EXPECT_PATTERN(e.buf, BUF_SIZE, 1);
	if (c->cmd == UVM_REGISTER_GPU)
		EXPECT_RET(register_gpu(e.fd[VA], e.gpu.uuid), 0);
	if (c->cmd == UVM_UNREGISTER_GPU)
		EXPECT_RET(register_gpu(e.fd[VA], e.gpu.uuid), -EEXIST);
	env_close(&e);
}

TEST_V(out_members_ignored, each_command)
{
	const struct command *c = command_of(v);
	struct env e;
	union any a;
	size_t n;

	if (!c->out[0].length)
		SKIP("it has no out members");
	env_open(&e);
	make_good(c, &e, c->home);
	fill_good(c, &e, c->home, &a);
	for (n = 0; n < sizeof(c->out) / sizeof(c->out[0]); n++)
		memset(a.bytes + c->out[n].offset, 0xff, c->out[n].length);
	EXPECT_RET(uvm_ioctl(e.fd[c->home], c->cmd, &a), 0);
	env_close(&e);
}

TEST_V(bad_pointer, each_command)
{
	const struct command *c = command_of(v);
	const struct bytes *p;
	uint64_t bad[6];
	char *area;
	struct env e;
	union any a;
	char what[60];
	size_t i, n;

	if (!c->pointers[0].length)
		SKIP("it has no pointer member");
	env_open(&e);
	area = anon(3 * PAGE, PROT_READ | PROT_WRITE, 0);
	ASSERT_RET(mprotect(area + PAGE, PAGE, PROT_NONE), 0);
	bad[0] = 0;
	bad[1] = KERNEL_ADDR;
	bad[2] = ADDR(area + PAGE);
	bad[3] = ADDR(area + PAGE - 4);		/* begins well */
	bad[4] = 0x8000000000000000ULL;
	bad[5] = -8ULL;
	for (n = 0; n < 2; n++) {
		p = &c->pointers[n];
		for (i = 0; p->length && i < 6; i++) {
			fill_good(c, &e, c->home, &a);
			memcpy(a.bytes + p->offset, &bad[i], sizeof(bad[i]));
			snprintf(what, sizeof(what), "pointer 0x%llx",
				 (unsigned long long)bad[i]);
			bad_call(c, &e, e.fd[c->home], &a, -EFAULT, -EFAULT, what);
		}
	}
	env_close(&e);
}

/* Another process: by fork, by socket, by exec. The owner notices nothing. */
TEST_V(forked_process, each_command)
{
	const struct command *c = command_of(v);
	struct sight was;
	struct env e;
	union any a;
	pid_t pid;

	env_open(&e);
	/* the first fork takes write access away, until the next write */
	pid = child();
	if (!pid) {
		EXPECT_PATTERN(e.buf, BUF_SIZE, 1);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	env_look(&e, &was);
	pid = child();
	if (!pid) {
		fill_good(c, &e, c->home, &a);
		EXPECT_RET(uvm_ioctl(e.fd[c->home], c->cmd, &a),
			   c->other_mm ? -EPERM : 0);
		child_exit();
	}
	EXPECT_EQ(child_wait(pid), 0);
	expect_unchanged(&e, &was, c->name);
	env_close(&e);
}

TEST_V(sent_to_process, each_command)
{
	const struct command *c = command_of(v);
	struct sight was;
	struct env e;
	union any a;
	int pair[2], i;
	pid_t pid;

	if (!c->other_mm)
		SKIP("it is everybody's");
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pid = child();
	if (!pid) {
		memset(&e, 0, sizeof(e));
		for (i = 0; i < NR_STATES; i++) {
			e.fd[i] = fd_receive(pair[1]);
			ASSERT_GE(e.fd[i], 0);
		}
		ASSERT_EQ(read(pair[1], &e.gpu, sizeof(e.gpu)), sizeof(e.gpu));
		ASSERT_EQ(read(pair[1], &e.channel, sizeof(e.channel)),
			  sizeof(e.channel));
		e.nop = CMD(NOP);
		e.point = 1;
		e.buf = anon(BUF_SIZE, PROT_READ | PROT_WRITE, 0);
		memset(e.buf, 1, BUF_SIZE);
		fill_good(c, &e, c->home, &a);
		EXPECT_RET(uvm_ioctl(e.fd[c->home], c->cmd, &a), -EPERM);
		child_exit();
	}
	env_open(&e);
	env_look(&e, &was);
	for (i = 0; i < NR_STATES; i++)
		ASSERT_RET(fd_send(pair[0], e.fd[i]), 0);
	ASSERT_EQ(write(pair[0], &e.gpu, sizeof(e.gpu)), sizeof(e.gpu));
	ASSERT_EQ(write(pair[0], &e.channel, sizeof(e.channel)), sizeof(e.channel));
	EXPECT_EQ(child_wait(pid), 0);
	expect_unchanged(&e, &was, c->name);
	env_close(&e);
}

/* main() of the program that exec() starts: registers on the inherited file */
#define EXEC_FD		"UVM_TEST_EXEC_FD"

static int exec_main(const char *text)
{
	struct uvm_gpu_info gpu;
	int fd = atoi(text), ret;

	if (!gpu_find(0, 0, &gpu))
		return 100;
	ret = register_gpu(fd, gpu.uuid);
	if (ret != -EPERM)
		return ret ? 101 : 102;
	return 0;
}

TEST(execed_program)
{
	struct uvm_gpu_info gpu;
	char text[20];
	int va, mm;
	pid_t pid;

	gpu_need(0, 0, &gpu);
	pid = child();
	if (!pid) {
		va = file_va_only();
		mm = file_fresh();
		ASSERT_RET(mm_init(mm, va), 0);
		ASSERT_EQ(fcntl(va, F_SETFD, 0), 0);
		ASSERT_EQ(fcntl(mm, F_SETFD, 0), 0);
		snprintf(text, sizeof(text), "%d", va);
		setenv(EXEC_FD, text, 1);
		execl("/proc/self/exe", "uapi", NULL);
		_exit(103);
	}
	EXPECT_EQ(child_wait(pid), 0);
}

/* Every number of our type is either in the table or unknown to the kernel. */
TEST(unknown_commands)
{
	struct sight was;
	struct env e;
	union any a;
	unsigned int nr, dir, i;
	bool known;

	env_open(&e);
	env_look(&e, &was);
	for (nr = 0; nr < 256; nr++) {
		known = false;
		for (i = 0; i < NR_COMMANDS; i++)
			known |= commands[i].cmd == _IO(UVM_TYPE, nr);
		memset(&a, 0, sizeof(a));
		a.head.size = 8;
		if (!known)
			harness_check(uvm_ioctl(e.fd[VA], _IO(UVM_TYPE, nr), &a) ==
				      -ENOTTY, false, __FILE__, __LINE__,
				      "command %u: wanted ENOTTY", nr);
		/* the encoding is part of the number */
		for (dir = 1; dir < 4; dir++)
			harness_check(uvm_ioctl(e.fd[VA],
						_IOC(dir, UVM_TYPE, nr, 8), &a) ==
				      -ENOTTY, false, __FILE__, __LINE__,
				      "command %u with direction %u: wanted ENOTTY",
				      nr, dir);
		EXPECT_RET(uvm_ioctl(e.fd[VA], _IO(UVM_TYPE + 1, nr), &a), -ENOTTY);
	}
	expect_unchanged(&e, &was, "unknown commands");
	for (i = 0; i < NR_STATES; i++)
		EXPECT_RET(uvm_ioctl(e.fd[i], _IO(UVM_TYPE, 0xff), &a), -ENOTTY);
	env_close(&e);
}

/* ---- files ---- */

TEST(open_close)
{
	int fd, i, fds[64];

	for (i = 0; i < 64; i++) {
		fds[i] = file_fresh();
		EXPECT_GE(fds[i], 0);
	}
	for (i = 0; i < 64; i++)
		EXPECT_EQ(close(fds[i]), 0);
	fd = file_fresh();
	close(fd);
}

TEST(read_write_mmap_poll)
{
	char byte = 0;
	struct pollfd p;
	struct env e;
	void *area;
	int i;

	env_open(&e);
	for (i = 0; i < NR_STATES; i++) {
		EXPECT_EQ(read(e.fd[i], &byte, 1), -1);
		EXPECT_EQ(write(e.fd[i], &byte, 1), -1);
		p.fd = e.fd[i];
		p.events = POLLIN;
		EXPECT_GE(poll(&p, 1, 0), 0);
		/* a VA space may have mappings of its own one day */
		area = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, e.fd[i], 0);
		if (i == FRESH || i == MM)
			EXPECT_TRUE(area == MAP_FAILED);
		if (area != MAP_FAILED)
			munmap(area, PAGE);
	}
	EXPECT_RET(channel_run(e.fd[VA], e.channel, &e.nop, 1), 0);
	env_close(&e);
}

TEST(info)
{
	struct uvm_info a = { .size = sizeof(a) };
	int fd = file_fresh();

	ASSERT_RET(uvm_ioctl(fd, UVM_INFO, &a), 0);
	EXPECT_EQ(a.out_version, UVM_VERSION);
	EXPECT_EQ(a.out_page_size, sysconf(_SC_PAGESIZE));
	EXPECT_EQ(a.out_features & ~(UVM_FEATURE_DEVICE_PRIVATE |
				     UVM_FEATURE_DEVICE_COHERENT |
				     UVM_FEATURE_NUMA_DESTINATION |
				     UVM_FEATURE_MULTI_PROCESS |
				     UVM_FEATURE_READ_DUPLICATION |
				     UVM_FEATURE_SYSTEM_ATOMICS |
				     UVM_FEATURE_HUGE_PAGES |
				     UVM_FEATURE_MANAGED), 0);
	EXPECT_TRUE(a.out_features & UVM_FEATURE_MULTI_PROCESS);
	/* with the CPU they have a bit each in the masks of UVM_QUERY_PROCESSORS */
	EXPECT_EQ(a.out_max_gpus, 63);
	EXPECT_GE(a.out_max_channels, 2);
	EXPECT_GE(a.out_max_submit, sizeof(struct uvm_sim_cmd));
	EXPECT_GE(a.out_max_query, 1);
	close(fd);
}

TEST(mm_init_files)
{
	int va = file_va_only(), other = file_va_only(), mm = file_fresh(), spare = file_fresh();
	int null = open("/dev/null", O_RDWR), pipes[2];

	ASSERT_EQ(pipe(pipes), 0);
	EXPECT_RET(mm_init(mm, -1), -EBADF);
	EXPECT_RET(mm_init(mm, 1 << 20), -EBADF);
	EXPECT_RET(mm_init(mm, null), -EBADF);
	EXPECT_RET(mm_init(mm, pipes[0]), -EBADF);
	EXPECT_RET(mm_init(mm, spare), -EBADFD);
	EXPECT_RET(mm_init(mm, mm), -EBADFD);
	EXPECT_RET(mm_init(va, other), -EBADFD);
	EXPECT_RET(mm_init(va, va), -EBADFD);
	/* none of that used anything up */
	EXPECT_RET(mm_init(mm, va), 0);
	EXPECT_RET(mm_init(spare, mm), -EBADFD);
	EXPECT_RET(mm_init(spare, va), -EBADFD);
	EXPECT_RET(mm_init(mm, other), -EBADFD);
	EXPECT_RET(va_init(mm, 0), -EBADFD);
	EXPECT_RET(va_init(mm, UVM_INIT_MULTI_PROCESS), -EBADFD);
	close(mm);
	/* had one */
	EXPECT_RET(mm_init(spare, va), -EBADFD);
	/* the spare file is fresh still */
	EXPECT_RET(mm_init(spare, other), 0);
}

/* One of several descriptors is as good as all of them. */
TEST(mm_file_dup_closed)
{
	struct uvm_gpu_info gpu;
	struct uvm_channel_query q;
	struct space s;
	uint32_t channel;
	uint64_t point;
	int copy, way;

	gpu_need(0, 0, &gpu);
	for (way = 0; way < 3; way++) {
		ready_space(&s, &gpu, &channel, &point);
		copy = dup(s.mm_fd);
		ASSERT_GE(copy, 0);
		EXPECT_RET(unregister_gpu(s.fd, gpu.uuid), 0);
		EXPECT_RET(register_gpu(s.fd, gpu.uuid), 0);
		ASSERT_RET(channel_create(s.fd, gpu.uuid, &channel), 0);
		switch (way) {
		case 0:
			close(copy);
			break;
		case 1:
			close(s.mm_fd);
			break;
		default:
			/* another file takes its place */
			ASSERT_GE(dup2(s.fd, copy), 0);
		}
		EXPECT_RET(register_gpu(s.fd, gpu.uuid), -ESRCH);
		EXPECT_RET(channel_query(s.fd, channel, &q), 0);
		EXPECT_EQ(q.out_state, UVM_CHANNEL_STOPPED);
		EXPECT_RET(unregister_gpu(s.fd, gpu.uuid), 0);
		/* the rest of them change nothing more */
		close(s.mm_fd);
		close(copy);
		EXPECT_RET(register_gpu(s.fd, gpu.uuid), -ESRCH);
		close(s.fd);
	}
}

/* What a child holds puts nothing off, and what it closes begins nothing. */
TEST(mm_file_inherited)
{
	struct uvm_gpu_info gpu;
	struct space s;
	uint32_t channel;
	uint64_t point;
	int to_child[2], to_parent[2];
	pid_t pid;
	char byte = 0;

	gpu_need(0, 0, &gpu);
	ready_space(&s, &gpu, &channel, &point);
	ASSERT_EQ(pipe(to_child), 0);
	ASSERT_EQ(pipe(to_parent), 0);
	pid = child();
	if (!pid) {
		int copy = dup(s.mm_fd);

		close(to_child[1]);
		close(s.mm_fd);
		ASSERT_EQ(write(to_parent[1], &byte, 1), 1);
		/* holds the copy until it is told to go */
		EXPECT_EQ(read(to_child[0], &byte, 1), 0);
		close(copy);
		child_exit();
	}
	close(to_child[0]);
	ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
	EXPECT_RET(unregister_gpu(s.fd, gpu.uuid), 0);
	EXPECT_RET(register_gpu(s.fd, gpu.uuid), 0);
	close(s.mm_fd);
	EXPECT_RET(register_gpu(s.fd, gpu.uuid), -ESRCH);
	close(to_child[1]);
	EXPECT_EQ(child_wait(pid), 0);
	EXPECT_RET(unregister_gpu(s.fd, gpu.uuid), 0);
	EXPECT_RET(register_gpu(s.fd, gpu.uuid), -ESRCH);
	close(s.fd);
}

/* The mm file holds the VA space, so the other order of closing is legal too. */
TEST(va_file_closed_first)
{
	struct uvm_gpu_info gpu;
	struct space s;
	uint32_t channel;
	uint64_t point;

	gpu_need(0, 0, &gpu);
	ready_space(&s, &gpu, &channel, &point);
	EXPECT_EQ(close(s.fd), 0);
	EXPECT_EQ(close(s.mm_fd), 0);
	ready_space(&s, &gpu, &channel, &point);
	EXPECT_EQ(close(s.mm_fd), 0);
	EXPECT_EQ(close(s.fd), 0);
}

TEST(released)
{
	struct uvm_gpu_info gpu;
	struct uvm_sim_cmd nop = CMD(NOP);
	struct uvm_channel_query q;
	struct uvm_migrate m;
	struct uvm_page_state st;
	struct space s;
	uint32_t channel, other;
	uint64_t point;
	char *p = anon(PAGE, PROT_READ | PROT_WRITE, 0);

	*p = 1;
	gpu_need(0, 0, &gpu);
	ready_space(&s, &gpu, &channel, &point);
	close(s.mm_fd);
	EXPECT_RET(register_gpu(s.fd, gpu.uuid), -ESRCH);
	EXPECT_RET(channel_create(s.fd, gpu.uuid, &other), -ESRCH);
	EXPECT_RET(channel_submit(s.fd, channel, &nop, 1, NULL), -ESRCH);
	EXPECT_RET(migrate(s.fd, p, PAGE, UVM_DEST_GPU, 0, gpu.uuid, &m), -ESRCH);
	EXPECT_RET(migrate(s.fd, p, PAGE, UVM_DEST_CPU, 0, NULL, &m), -ESRCH);
	EXPECT_RET(residency(s.fd, p, PAGE, &st), -ESRCH);
	/* what works after the mm was released */
	EXPECT_RET(channel_query(s.fd, channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_STOPPED);
	EXPECT_EQ(q.out_completed, point);
	EXPECT_RET(channel_wait(s.fd, channel, point, UVM_WAIT_FOREVER, NULL), 0);
	EXPECT_RET(channel_destroy(s.fd, channel), 0);
	EXPECT_RET(channel_query(s.fd, channel, &q), -ENOENT);
	EXPECT_RET(unregister_gpu(s.fd, gpu.uuid), 0);
	EXPECT_RET(unregister_gpu(s.fd, gpu.uuid), -ENOENT);
	close(s.fd);
}

/* ---- GPUs ---- */

TEST(enum_gpus)
{
	struct uvm_gpu_info gpus[MAX_GPUS];
	int i, j, n = gpus_list(gpus, MAX_GPUS);
	uint64_t features = feature_mask();

	if (!n)
		SKIP("no GPU");
	ASSERT_GT(n, 0);
	for (i = 0; i < n; i++) {
		EXPECT_GE(gpus[i].memory_kind, UVM_MEMORY_PRIVATE);
		EXPECT_LE(gpus[i].memory_kind, UVM_MEMORY_NUMA);
		if (gpus[i].memory_kind == UVM_MEMORY_PRIVATE)
			EXPECT_TRUE(features & (UVM_FEATURE_DEVICE_PRIVATE |
						UVM_FEATURE_MANAGED));
		EXPECT_TRUE(memchr(gpus[i].name, 0, UVM_NAME_LEN) != NULL);
		EXPECT_NE(gpus[i].name[0], 0);
		EXPECT_GT(gpus[i].memory_size, 0);
		EXPECT_EQ(gpus[i].memory_size % HUGE, 0);
		EXPECT_LE(gpus[i].memory_free, gpus[i].memory_size);
		if (gpus[i].memory_kind == UVM_MEMORY_NUMA) {
			EXPECT_GE(gpus[i].numa_node, 0);
			EXPECT_EQ(gpus[i].memory_free, 0);
		} else {
			EXPECT_EQ(gpus[i].numa_node, -1);
			EXPECT_GT(gpus[i].memory_free, 0);
		}
		EXPECT_TRUE(gpus[i].page_sizes & PAGE);
		EXPECT_GE(gpus[i].va_bits, 47);
		EXPECT_GE(gpus[i].copy_engines, 1);
		for (j = 0; j < i; j++) {
			EXPECT_NE(memcmp(gpus[i].uuid, gpus[j].uuid, UVM_UUID_LEN), 0);
			EXPECT_NE(gpus[i].id, gpus[j].id);
		}
	}
}

TEST(enum_gpus_sizes)
{
	struct uvm_gpu_info all[MAX_GPUS], one[2];
	struct uvm_enum_gpus a = { .size = sizeof(a) };
	unsigned char *area = anon(MAX_GPUS * PAGE, PROT_READ | PROT_WRITE, 0);
	int fd = file_fresh(), n = gpus_list(all, MAX_GPUS), i;

	if (!n)
		SKIP("no GPU");
	ASSERT_GT(n, 0);

	a.entry_size = sizeof(one[0]);
	EXPECT_RET(uvm_ioctl(fd, UVM_ENUM_GPUS, &a), 0);
	EXPECT_EQ(a.out_count, n);

	/* no more entries than there is room for */
	memset(one, 0x5a, sizeof(one));
	a.gpus = ADDR(one);
	a.count = 1;
	EXPECT_RET(uvm_ioctl(fd, UVM_ENUM_GPUS, &a), 0);
	EXPECT_EQ(a.out_count, n);
	EXPECT_EQ(memcmp(one, all, sizeof(one[0])), 0);
	EXPECT_BYTES(&one[1], sizeof(one[1]), 0x5a);

	/* entries are cut short */
	memset(area, 0x5a, PAGE);
	a.gpus = ADDR(area);
	a.count = MAX_GPUS;
	a.entry_size = 16;
	EXPECT_RET(uvm_ioctl(fd, UVM_ENUM_GPUS, &a), 0);
	for (i = 0; i < n; i++)
		EXPECT_EQ(memcmp(area + i * 16, all[i].uuid, 16), 0);
	EXPECT_BYTES(area + n * 16, 16, 0x5a);

	/* or padded with zeroes */
	memset(area, 0x5a, n * PAGE);
	a.entry_size = PAGE;
	EXPECT_RET(uvm_ioctl(fd, UVM_ENUM_GPUS, &a), 0);
	for (i = 0; i < n; i++) {
		EXPECT_EQ(memcmp(area + i * PAGE, &all[i], sizeof(all[i])), 0);
		EXPECT_BYTES(area + i * PAGE + sizeof(all[i]),
			     PAGE - sizeof(all[i]), 0);
	}

	a.entry_size = 0;
	EXPECT_RET(uvm_ioctl(fd, UVM_ENUM_GPUS, &a), -EINVAL);
	a.entry_size = PAGE + 1;
	EXPECT_RET(uvm_ioctl(fd, UVM_ENUM_GPUS, &a), -EINVAL);
	a.entry_size = ~0U;
	EXPECT_RET(uvm_ioctl(fd, UVM_ENUM_GPUS, &a), -EINVAL);
	/* a count beyond all memory is fine as long as the GPUs fit */
	a.entry_size = sizeof(one[0]);
	a.count = ~0U;
	EXPECT_RET(uvm_ioctl(fd, UVM_ENUM_GPUS, &a), 0);
	/* the array ends in a page that can't be written */
	ASSERT_RET(mprotect(area + PAGE, PAGE, PROT_READ), 0);
	a.gpus = ADDR(area + PAGE - 8);
	EXPECT_RET(uvm_ioctl(fd, UVM_ENUM_GPUS, &a), -EFAULT);
	close(fd);
}

TEST(unknown_gpu)
{
	static const uint8_t zero[UVM_UUID_LEN];
	struct uvm_migrate m;
	struct sight was;
	struct env e;
	uint32_t channel;

	env_open(&e);
	env_look(&e, &was);
	EXPECT_RET(register_gpu(e.fd[VA], nobody), -ENODEV);
	EXPECT_RET(register_gpu(e.fd[VA], zero), -ENODEV);
	EXPECT_RET(unregister_gpu(e.fd[VA], nobody), -ENODEV);
	EXPECT_RET(unregister_gpu(e.fd[VA], zero), -ENODEV);
	EXPECT_RET2(channel_create(e.fd[VA], nobody, &channel), -ENODEV, -ENOENT);
	EXPECT_RET2(migrate(e.fd[VA], e.buf, BUF_SIZE, UVM_DEST_GPU, 0, nobody, &m),
		    -ENODEV, -ENOENT);
	expect_unchanged(&e, &was, "an unknown GPU");
	env_close(&e);
}

/* All GPUs that go with @first, in one VA space */
static void register_like(const struct uvm_gpu_info *first)
{
	struct uvm_register_gpu r = { .size = sizeof(r) };
	struct uvm_gpu_info gpus[MAX_GPUS];
	int i, round, n = gpus_list(gpus, MAX_GPUS);
	struct uvm_migrate m;
	struct space s;
	uint32_t channel;
	char *p = anon(PAGE, PROT_READ | PROT_WRITE, 0);

	*p = 1;
	ASSERT_RET(space_open(&s), 0);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < n; i++) {
			EXPECT_RET(unregister_gpu(s.fd, gpus[i].uuid), -ENOENT);
			EXPECT_RET(channel_create(s.fd, gpus[i].uuid, &channel),
				   -ENOENT);
			EXPECT_RET(migrate(s.fd, p, PAGE, UVM_DEST_GPU, 0,
					   gpus[i].uuid, &m), -ENOENT);
			if (!gpus_mix(first, &gpus[i]))
				continue;
			memcpy(r.uuid, gpus[i].uuid, UVM_UUID_LEN);
			EXPECT_RET(uvm_ioctl(s.fd, UVM_REGISTER_GPU, &r), 0);
			EXPECT_EQ(r.out_numa_enabled,
				  gpus[i].memory_kind == UVM_MEMORY_NUMA);
			EXPECT_EQ(r.out_numa_node, gpus[i].numa_node);
			EXPECT_RET(register_gpu(s.fd, gpus[i].uuid), -EEXIST);
		}
		for (i = 0; i < n; i++)
			if (!gpus_mix(first, &gpus[i]))
				EXPECT_RET(register_gpu(s.fd, gpus[i].uuid),
					   -EOPNOTSUPP);
		for (i = 0; i < n; i++)
			if (gpus_mix(first, &gpus[i]))
				EXPECT_RET(unregister_gpu(s.fd, gpus[i].uuid), 0);
	}
	space_close(&s);
	munmap(p, PAGE);
}

TEST(register_states)
{
	struct uvm_gpu_info gpus[MAX_GPUS];
	int i, n = gpus_list(gpus, MAX_GPUS);

	if (!n)
		SKIP("no GPU");
	register_like(&gpus[0]);
	for (i = 1; i < n && gpus_mix(&gpus[0], &gpus[i]); i++)
		;
	if (i < n)
		register_like(&gpus[i]);
}

/* Unregistering takes the channels along, and brings the data home. */
TEST(unregister_with_work)
{
	/* a pointer to itself: endless, and no page moves for it that stays by policy */
	uint64_t *loop = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uvm_sim_cmd chase = CMD(CHASE, .dst = ADDR(loop + 1), .src = ADDR(loop),
				       .arg0 = 1ULL << 48);
	struct uvm_channel_query q;
	struct uvm_unregister_gpu u;
	struct uvm_migrate m;
	struct uvm_gpu_info gpu;
	struct space s;
	uint32_t channel;
	uint64_t point;
	char *p = anon(BUF_SIZE, PROT_READ | PROT_WRITE, 0);

	gpu_need(0, 0, &gpu);
	ready_space(&s, &gpu, &channel, &point);
	pattern_fill(p, BUF_SIZE, 2);
	ASSERT_RET(migrate(s.fd, p, BUF_SIZE, UVM_DEST_GPU, 0, gpu.uuid, &m), 0);
	stay(s.fd, loop, PAGE);
	*loop = ADDR(loop);
	ASSERT_RET(channel_submit(s.fd, channel, &chase, 1, &point), 0);
	EXPECT_RET(unregister_counted(s.fd, gpu.uuid, &u), 0);
	/* a node's memory is system memory */
	EXPECT_EQ(u.out_moved, gpu.memory_kind == UVM_MEMORY_NUMA ? 0 : m.out_moved);
	EXPECT_EQ(u.out_left, 0);
	EXPECT_RET(channel_query(s.fd, channel, &q), -ENOENT);
	EXPECT_RET(channel_destroy(s.fd, channel), -ENOENT);
	EXPECT_PATTERN(p, BUF_SIZE, 2);
	EXPECT_RET(register_gpu(s.fd, gpu.uuid), 0);
	EXPECT_RET(channel_create(s.fd, gpu.uuid, &channel), 0);
	space_close(&s);
}

/* One GPU in many spaces, of one process and of several */
TEST(many_spaces)
{
	struct uvm_sim_cmd fill;
	struct uvm_gpu_info gpu;
	struct space s[8];
	uint32_t channel[8];
	uint64_t point;
	unsigned char *p = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	pid_t pid[4];
	int i;

	gpu_need(0, 0, &gpu);
	for (i = 0; i < 8; i++)
		ready_space(&s[i], &gpu, &channel[i], &point);
	for (i = 0; i < 8; i++) {
		fill = CMD(FILL, .dst = ADDR(p + i * PAGE), .length = PAGE,
			   .arg0 = i + 1);
		EXPECT_RET(channel_run(s[i].fd, channel[i], &fill, 1), 0);
	}
	for (i = 0; i < 8; i++)
		EXPECT_BYTES(p + i * PAGE, PAGE, i + 1);
	for (i = 0; i < 8; i += 2)
		space_close(&s[i]);
	for (i = 1; i < 8; i += 2) {
		fill = CMD(FILL, .dst = ADDR(p), .length = PAGE, .arg0 = i);
		EXPECT_RET(channel_run(s[i].fd, channel[i], &fill, 1), 0);
		EXPECT_BYTES(p, PAGE, i);
	}
	/* the same addresses in several processes are different memory */
	for (i = 0; i < 4; i++) {
		pid[i] = child();
		if (pid[i])
			continue;
		ready_space(&s[0], &gpu, &channel[0], &point);
		fill = CMD(FILL, .dst = ADDR(p), .length = PAGE, .arg0 = 100 + i);
		EXPECT_RET(channel_run(s[0].fd, channel[0], &fill, 1), 0);
		EXPECT_BYTES(p, PAGE, 100 + i);
		child_exit();
	}
	for (i = 0; i < 4; i++)
		EXPECT_EQ(child_wait(pid[i]), 0);
	EXPECT_BYTES(p, PAGE, 7);
}

/* ---- ranges ---- */

static int migrate_at(struct env *e, uint64_t base, uint64_t length, int dest,
		      int node)
{
	struct uvm_migrate m = {
		.size = sizeof(m),
		.base = base,
		.length = length,
		.dest_kind = dest,
		.dest_node = node,
	};

	if (dest == UVM_DEST_GPU)
		memcpy(m.dest_uuid, e->gpu.uuid, UVM_UUID_LEN);
	return uvm_ioctl(e->fd[VA], UVM_MIGRATE, &m);
}

static const struct variant dests[] = {
	{ "gpu", UVM_DEST_GPU, 0 },
	{ "cpu", UVM_DEST_CPU, 0 },
	{ "cpu_node", UVM_DEST_CPU_NODE, 0 },
	{ NULL, 0, 0 },
};

TEST_V(migrate_ranges, dests)
{
	struct sight was;
	uint64_t base;
	struct env e;
	char *area;

	env_open(&e);
	base = ADDR(e.buf);
	env_look(&e, &was);
	EXPECT_RET(migrate_at(&e, base, 0, v->kind, 0), -EINVAL);
	EXPECT_RET(migrate_at(&e, base + 1, PAGE, v->kind, 0), -EINVAL);
	EXPECT_RET(migrate_at(&e, base + PAGE / 2, PAGE, v->kind, 0), -EINVAL);
	EXPECT_RET(migrate_at(&e, base, 1, v->kind, 0), -EINVAL);
	EXPECT_RET(migrate_at(&e, base, PAGE + 8, v->kind, 0), -EINVAL);
	EXPECT_RET(migrate_at(&e, base, -PAGE, v->kind, 0), -EINVAL);
	EXPECT_RET(migrate_at(&e, -PAGE, 2 * PAGE, v->kind, 0), -EINVAL);
	EXPECT_RET2(migrate_at(&e, -PAGE, PAGE, v->kind, 0), -EINVAL, -EFAULT);
	EXPECT_RET2(migrate_at(&e, TASK_END, PAGE, v->kind, 0), -EFAULT, -EINVAL);
	EXPECT_RET2(migrate_at(&e, base, TASK_END, v->kind, 0), -EFAULT, -EINVAL);
	EXPECT_RET2(migrate_at(&e, KERNEL_ADDR, PAGE, v->kind, 0), -EFAULT, -EINVAL);
	EXPECT_RET2(migrate_at(&e, 0x8000000000000000ULL, PAGE, v->kind, 0),
		    -EFAULT, -EINVAL);
	expect_unchanged(&e, &was, "a bad range");

	/* a hole in the middle, at the start, at the end; then PROT_NONE */
	area = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(area, 8 * PAGE, 3);
	ASSERT_RET(munmap(area + 3 * PAGE, PAGE), 0);
	EXPECT_RET(migrate_at(&e, ADDR(area), 8 * PAGE, v->kind, 0), -EFAULT);
	EXPECT_RET(migrate_at(&e, ADDR(area + 3 * PAGE), 2 * PAGE, v->kind, 0),
		   -EFAULT);
	EXPECT_RET(migrate_at(&e, ADDR(area + 2 * PAGE), 2 * PAGE, v->kind, 0),
		   -EFAULT);
	ASSERT_RET(mprotect(area + 6 * PAGE, PAGE, PROT_NONE), 0);
	EXPECT_RET(migrate_at(&e, ADDR(area + 4 * PAGE), 4 * PAGE, v->kind, 0),
		   -EFAULT);
	EXPECT_RET(migrate_at(&e, ADDR(area + 6 * PAGE), PAGE, v->kind, 0), -EFAULT);
	/* found before anything moved */
	expect_unchanged(&e, &was, "a range with a hole");
	ASSERT_RET(mprotect(area + 6 * PAGE, PAGE, PROT_READ), 0);
	EXPECT_PATTERN(area, 3 * PAGE, 3);
	EXPECT_EQ(pattern_check_from(area + 4 * PAGE, 4 * PAGE, 3, 4), -1);
	EXPECT_RET(migrate_at(&e, ADDR(area + 4 * PAGE), 4 * PAGE, v->kind, 0), 0);
	munmap(area, 8 * PAGE);
	env_close(&e);
}

static int discard_at(struct env *e, uint64_t base, uint64_t length, uint32_t flags)
{
	struct uvm_discard d;

	return discard(e->fd[VA], (void *)base, length, flags, &d);
}

static const struct variant lazy_or_eager[] = {
	{ "lazy", 0, 0 },
	{ "eager", UVM_DISCARD_EAGER, 0 },
	{ NULL, 0, 0 },
};

/* Nothing is discarded, of what is on the GPU, too. */
TEST_V(discard_ranges, lazy_or_eager)
{
	uint32_t flags = v->kind;
	struct uvm_migrate m;
	struct uvm_discard d;
	struct sight was;
	uint64_t base;
	struct env e;
	char *area;

	env_open(&e);
	base = ADDR(e.buf);
	ASSERT_RET(migrate(e.fd[VA], e.buf, BUF_SIZE, UVM_DEST_GPU, 0, e.gpu.uuid, &m), 0);
	env_look(&e, &was);
	ASSERT_RET(migrate(e.fd[VA], e.buf, BUF_SIZE, UVM_DEST_GPU, 0, e.gpu.uuid, &m), 0);
	EXPECT_RET(discard_at(&e, base, 0, flags), -EINVAL);
	EXPECT_RET(discard_at(&e, base + 1, PAGE, flags), -EINVAL);
	EXPECT_RET(discard_at(&e, base + PAGE / 2, PAGE, flags), -EINVAL);
	EXPECT_RET(discard_at(&e, base, 1, flags), -EINVAL);
	EXPECT_RET(discard_at(&e, base, PAGE + 8, flags), -EINVAL);
	EXPECT_RET(discard_at(&e, base, -PAGE, flags), -EINVAL);
	EXPECT_RET(discard_at(&e, -PAGE, 2 * PAGE, flags), -EINVAL);
	EXPECT_RET2(discard_at(&e, -PAGE, PAGE, flags), -EINVAL, -EFAULT);
	EXPECT_RET2(discard_at(&e, TASK_END, PAGE, flags), -EFAULT, -EINVAL);
	EXPECT_RET2(discard_at(&e, base, TASK_END, flags), -EFAULT, -EINVAL);
	EXPECT_RET2(discard_at(&e, KERNEL_ADDR, PAGE, flags), -EFAULT, -EINVAL);
	EXPECT_RET2(discard_at(&e, 0x8000000000000000ULL, PAGE, flags), -EFAULT, -EINVAL);

	area = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(area, 8 * PAGE, 3);
	ASSERT_RET(migrate(e.fd[VA], area, 8 * PAGE, UVM_DEST_GPU, 0, e.gpu.uuid, &m), 0);
	ASSERT_RET(munmap(area + 3 * PAGE, PAGE), 0);
	EXPECT_RET(discard_at(&e, ADDR(area), 8 * PAGE, flags), -EFAULT);
	EXPECT_RET(discard_at(&e, ADDR(area + 3 * PAGE), 2 * PAGE, flags), -EFAULT);
	EXPECT_RET(discard_at(&e, ADDR(area + 2 * PAGE), 2 * PAGE, flags), -EFAULT);
	ASSERT_RET(mprotect(area + 6 * PAGE, PAGE, PROT_NONE), 0);
	EXPECT_RET(discard(e.fd[VA], area + 4 * PAGE, 4 * PAGE, flags, &d), -EFAULT);
	EXPECT_EQ(d.out_discarded + d.out_done, 0);
	EXPECT_RET(discard_at(&e, ADDR(area + 6 * PAGE), PAGE, flags), -EFAULT);
	ASSERT_RET(mprotect(area + 6 * PAGE, PAGE, PROT_READ), 0);
	/* found before anything was discarded */
	EXPECT_PATTERN(area, 3 * PAGE, 3);
	EXPECT_EQ(pattern_check_from(area + 4 * PAGE, 4 * PAGE, 3, 4), -1);
	munmap(area, 8 * PAGE);
	/* what the CPU read brought its neighbours home */
	ASSERT_RET(migrate(e.fd[VA], e.buf, BUF_SIZE, UVM_DEST_GPU, 0, e.gpu.uuid, &m), 0);
	expect_unchanged(&e, &was, "a bad range");
	env_close(&e);
}

TEST(migrate_holes_move_nothing)
{
	struct uvm_page_state st[3];
	struct uvm_migrate m;
	struct env e;
	char *area;

	env_open(&e);
	area = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(area, 4 * PAGE, 3);
	ASSERT_RET(munmap(area + 3 * PAGE, PAGE), 0);
	EXPECT_RET(migrate(e.fd[VA], area, 4 * PAGE, UVM_DEST_GPU, 0, e.gpu.uuid, &m),
		   -EFAULT);
	EXPECT_EQ(m.out_moved, 0);
	ASSERT_RET(residency(e.fd[VA], area, 3 * PAGE, st), 0);
	EXPECT_EQ(st[0].where, UVM_WHERE_CPU);
	EXPECT_EQ(st[1].where, UVM_WHERE_CPU);
	EXPECT_EQ(st[2].where, UVM_WHERE_CPU);
	env_close(&e);
}

TEST(migrate_destinations)
{
	static const int nodes[] = { -1, -2, 1023, 1024, 1 << 20, 0x7fffffff };
	struct sight was;
	uint64_t base;
	struct env e;
	size_t i;

	env_open(&e);
	base = ADDR(e.buf);
	env_look(&e, &was);
	EXPECT_RET(migrate_at(&e, base, PAGE, 0, 0), -EINVAL);
	EXPECT_RET(migrate_at(&e, base, PAGE, 4, 0), -EINVAL);
	EXPECT_RET(migrate_at(&e, base, PAGE, -1, 0), -EINVAL);
	EXPECT_RET(migrate_at(&e, base, PAGE, UVM_DEST_GPU, 1), -EINVAL);
	EXPECT_RET(migrate_at(&e, base, PAGE, UVM_DEST_CPU, 1), -EINVAL);
	for (i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		EXPECT_RET(migrate_at(&e, base, PAGE, UVM_DEST_CPU_NODE, nodes[i]),
			   -EINVAL);
	expect_unchanged(&e, &was, "a bad destination");
	EXPECT_RET(migrate_at(&e, base, PAGE, UVM_DEST_CPU_NODE, 0), 0);
	env_close(&e);
}

static int residency_at(struct env *e, uint64_t base, uint64_t length, void *st)
{
	struct uvm_query_residency q = {
		.size = sizeof(q),
		.base = base,
		.length = length,
		.pages = ADDR(st),
	};

	return uvm_ioctl(e->fd[VA], UVM_QUERY_RESIDENCY, &q);
}

TEST(residency_ranges)
{
	struct uvm_info info = { .size = sizeof(info) };
	struct uvm_page_state *st, guard;
	struct sight was;
	uint64_t base, max;
	struct env e;
	char *low;

	env_open(&e);
	/* far below the end of the address space */
	low = mmap((void *)0x100000000000, PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_TRUE(low != MAP_FAILED);
	*low = 1;
	base = ADDR(low);
	ASSERT_RET(uvm_ioctl(e.fd[VA], UVM_INFO, &info), 0);
	max = info.out_max_query;
	st = anon((max + 2) * sizeof(*st), PROT_READ | PROT_WRITE, 0);
	env_look(&e, &was);
	EXPECT_RET(residency_at(&e, base, 0, st), -EINVAL);
	EXPECT_RET(residency_at(&e, base + 1, PAGE, st), -EINVAL);
	EXPECT_RET(residency_at(&e, base, PAGE + 1, st), -EINVAL);
	EXPECT_RET(residency_at(&e, -PAGE, 2 * PAGE, st), -EINVAL);
	EXPECT_RET(residency_at(&e, base, (max + 1) * PAGE, st), -EINVAL);
	EXPECT_RET(residency_at(&e, base, -PAGE, st), -EINVAL);
	EXPECT_RET2(residency_at(&e, TASK_END, PAGE, st), 0, -EINVAL);
	EXPECT_RET2(residency_at(&e, KERNEL_ADDR, PAGE, st), 0, -EINVAL);
	EXPECT_EQ(st[0].where, UVM_WHERE_NONE);
	expect_unchanged(&e, &was, "a bad range");

	/* all it takes, and not an entry more */
	memset(st, 0x5a, (max + 2) * sizeof(*st));
	memset(&guard, 0x5a, sizeof(guard));
	EXPECT_RET(residency_at(&e, base, max * PAGE, st), 0);
	EXPECT_EQ(memcmp(&st[max], &guard, sizeof(guard)), 0);
	EXPECT_EQ(st[0].where, UVM_WHERE_CPU);
	EXPECT_EQ(st[0].prot, UVM_PAGE_READ | UVM_PAGE_WRITE);
	env_close(&e);
}

/* Looking doesn't touch, and knows what isn't mapped. */
TEST(residency_answers)
{
	struct uvm_page_state st[8];
	struct env e;
	char *area;
	int i, round;

	env_open(&e);
	area = anon(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	madvise(area, 8 * PAGE, MADV_NOHUGEPAGE);
	area[1 * PAGE] = 1;
	area[2 * PAGE] = 1;
	area[3 * PAGE] = 1;
	ASSERT_RET(mprotect(area + 2 * PAGE, PAGE, PROT_READ), 0);
	ASSERT_RET(mprotect(area + 3 * PAGE, PAGE, PROT_NONE), 0);
	ASSERT_RET(munmap(area + 5 * PAGE, 2 * PAGE), 0);
	for (round = 0; round < 2; round++) {
		memset(st, 0xff, sizeof(st));
		ASSERT_RET(residency(e.fd[VA], area, 8 * PAGE, st), 0);
		EXPECT_EQ(st[0].where, UVM_WHERE_NONE);
		EXPECT_EQ(st[0].prot, 0);
		EXPECT_EQ(st[0].id, 0);
		EXPECT_EQ(st[1].where, UVM_WHERE_CPU);
		EXPECT_EQ(st[1].prot, UVM_PAGE_READ | UVM_PAGE_WRITE);
		EXPECT_EQ(st[2].where, UVM_WHERE_CPU);
		EXPECT_EQ(st[2].prot, UVM_PAGE_READ);
		EXPECT_EQ(st[3].prot, 0);
		for (i = 4; i < 8; i++)
			EXPECT_EQ(st[i].where, UVM_WHERE_NONE);
	}
	env_close(&e);
}

TEST(residency_read_only_result)
{
	struct uvm_page_state *st = anon(PAGE, PROT_READ, 0);
	struct env e;

	env_open(&e);
	EXPECT_RET(residency_at(&e, ADDR(e.buf), BUF_SIZE, st), -EFAULT);
	env_close(&e);
}

/* ---- of a GPU in a VA space ---- */

/* The switch is a GPU's in a VA space, and is off when it is registered. */
TEST(access_counters_errors)
{
	static const uint8_t zero[UVM_UUID_LEN];
	struct sight was;
	struct env e;
	int fd;

	env_open(&e);
	fd = e.fd[VA];
	env_look(&e, &was);
	EXPECT_RET(access_counters(fd, e.gpu.uuid, 2), -EINVAL);
	EXPECT_RET(access_counters(fd, e.gpu.uuid, ~0U), -EINVAL);
	EXPECT_RET(access_counters(fd, zero, 1), -ENODEV);
	EXPECT_RET(access_counters(fd, (const uint8_t *)"no such GPU....", 1), -ENODEV);
	expect_unchanged(&e, &was, "access counters");
	/* to say it twice is no error, and neither is to work on meanwhile */
	EXPECT_RET(access_counters(fd, e.gpu.uuid, 0), 0);
	EXPECT_RET(access_counters(fd, e.gpu.uuid, 1), 0);
	EXPECT_RET(access_counters(fd, e.gpu.uuid, 1), 0);
	EXPECT_RET(channel_run(fd, e.channel, &e.nop, 1), 0);
	EXPECT_RET(access_counters(fd, e.gpu.uuid, 0), 0);
	EXPECT_RET(access_counters(fd, e.gpu.uuid, 1), 0);
	EXPECT_RET(unregister_gpu(fd, e.gpu.uuid), 0);
	EXPECT_RET(access_counters(fd, e.gpu.uuid, 0), -ENOENT);
	EXPECT_RET(access_counters(fd, e.gpu.uuid, 1), -ENOENT);
	EXPECT_RET(register_gpu(fd, e.gpu.uuid), 0);
	EXPECT_RET(access_counters(fd, e.gpu.uuid, 1), 0);
	env_close(&e);
}

/* What names no registered GPU whose memory is handed out, in each of the three */
static void expect_no_memory(int fd, int event, const uint8_t *uuid, int want)
{
	struct uvm_query_memory q;

	EXPECT_RET(memory_query(fd, uuid, &q), want);
	EXPECT_RET(memory_limit(fd, uuid, PAGE, PAGE), want);
	EXPECT_RET(memory_limit(fd, uuid, 0, 0), want);
	EXPECT_RET(memory_event(fd, uuid, event, PAGE), want);
	EXPECT_RET(memory_event(fd, uuid, -1, 0), want);
}

TEST(memory_gpus)
{
	static const uint8_t zero[UVM_UUID_LEN];
	struct uvm_gpu_info node;
	struct sight was;
	struct space s;
	struct env e;
	int fd;

	env_open(&e);
	fd = e.fd[VA];
	env_look(&e, &was);
	expect_no_memory(fd, e.eventfd, zero, -ENODEV);
	expect_no_memory(fd, e.eventfd, (const uint8_t *)"no such GPU....", -ENODEV);
	expect_unchanged(&e, &was, "memory of a GPU that isn't there");
	if (gpu_find(UVM_MEMORY_NUMA, 0, &node)) {
		ASSERT_RET(space_open(&s), 0);
		ASSERT_RET(register_gpu(s.fd, node.uuid), 0);
		expect_no_memory(s.fd, e.eventfd, node.uuid, -EOPNOTSUPP);
		space_close(&s);
	}
	EXPECT_RET(unregister_gpu(fd, e.gpu.uuid), 0);
	expect_no_memory(fd, e.eventfd, e.gpu.uuid, -ENOENT);
	env_close(&e);
}

TEST(memory_limit_errors)
{
	static const uint64_t odd[] = { 1, 8, PAGE - 1, PAGE + 1, 2 * PAGE - 8, ~0ULL };
	struct sight was;
	struct env e;
	uint64_t all;
	size_t i;
	int fd;

	env_open(&e);
	fd = e.fd[VA];
	all = e.gpu.memory_size;
	EXPECT_RET(memory_limit(fd, e.gpu.uuid, 8 * PAGE, 4 * PAGE), 0);
	env_look(&e, &was);
	EXPECT_EQ(was.limit, 8 * PAGE);
	EXPECT_EQ(was.reserved, 4 * PAGE);
	for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		EXPECT_RET(memory_limit(fd, e.gpu.uuid, odd[i], 0), -EINVAL);
		EXPECT_RET(memory_limit(fd, e.gpu.uuid, 0, odd[i]), -EINVAL);
		EXPECT_RET(memory_limit(fd, e.gpu.uuid, all, odd[i]), -EINVAL);
	}
	EXPECT_RET(memory_limit(fd, e.gpu.uuid, PAGE, 2 * PAGE), -EINVAL);
	EXPECT_RET(memory_limit(fd, e.gpu.uuid, all, all + PAGE), -EINVAL);
	EXPECT_RET(memory_limit(fd, e.gpu.uuid, 0, all + PAGE), -EINVAL);
	EXPECT_RET(memory_limit(fd, e.gpu.uuid, 0, 1ULL << 63), -EINVAL);
	EXPECT_RET(memory_limit(fd, e.gpu.uuid, -PAGE, -PAGE), -EINVAL);
	expect_unchanged(&e, &was, "a bad limit");
	/* the largest ones there are, and nothing */
	EXPECT_RET(memory_limit(fd, e.gpu.uuid, -PAGE, all), 0);
	env_look(&e, &was);
	EXPECT_EQ(was.limit, -PAGE);
	EXPECT_EQ(was.reserved, all);
	EXPECT_RET(memory_limit(fd, e.gpu.uuid, 0, all), 0);
	EXPECT_RET(memory_limit(fd, e.gpu.uuid, PAGE, PAGE), 0);
	EXPECT_RET(memory_limit(fd, e.gpu.uuid, 0, 0), 0);
	env_look(&e, &was);
	EXPECT_EQ(was.limit + was.reserved, 0);
	env_close(&e);
}

static uint64_t signals(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

TEST(memory_event_errors)
{
	static const int bad[] = { -2, INT32_MIN, INT32_MAX, 1 << 20 };
	int fd, pipes[2], null, other;
	struct uvm_migrate m;
	struct env e;
	uint64_t all;
	size_t i;

	env_open(&e);
	fd = e.fd[VA];
	all = e.gpu.memory_size;
	ASSERT_EQ(pipe(pipes), 0);
	null = open("/dev/null", O_RDWR);
	ASSERT_GE(null, 0);
	other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_GE(other, 0);
	close(other);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, other, PAGE), -EBADF);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT_RET(memory_event(fd, e.gpu.uuid, bad[i], PAGE), -EBADF);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, null, PAGE), -EINVAL);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, pipes[1], PAGE), -EINVAL);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, fd, PAGE), -EINVAL);

	EXPECT_RET(memory_event(fd, e.gpu.uuid, e.eventfd, 0), -EINVAL);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, e.eventfd, 1), -EINVAL);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, e.eventfd, all - 1), -EINVAL);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, e.eventfd, all + PAGE), -EINVAL);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, e.eventfd, -PAGE), -EINVAL);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, -1, PAGE), -EINVAL);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, -1, 1), -EINVAL);
	EXPECT_EQ(signals(e.eventfd), 0);

	/* to end what there isn't is no error, nor is it to say the same twice */
	EXPECT_RET(memory_event(fd, e.gpu.uuid, -1, 0), 0);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, e.eventfd, all), 0);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, e.eventfd, all), 0);
	EXPECT_EQ(signals(e.eventfd), 0);
	/* what is refused leaves what there is */
	EXPECT_RET(memory_event(fd, e.gpu.uuid, null, PAGE), -EINVAL);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, -1, PAGE), -EINVAL);
	ASSERT_RET(migrate(fd, e.buf, BUF_SIZE, UVM_DEST_GPU, 0, e.gpu.uuid, &m), 0);
	EXPECT_EQ(m.out_moved, BUF_PAGES);
	EXPECT_EQ(signals(e.eventfd), 1);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, -1, 0), 0);
	EXPECT_RET(memory_event(fd, e.gpu.uuid, -1, 0), 0);
	close(null);
	close(pipes[0]);
	close(pipes[1]);
	env_close(&e);
}

/* ---- channels ---- */

TEST(unknown_channel)
{
	uint32_t ids[] = { 0, 0xffffffff, 0x7fffffff, 0 };
	struct uvm_channel_query q;
	struct sight was;
	struct env e;
	size_t i;

	env_open(&e);
	ASSERT_RET(channel_create(e.fd[VA], e.gpu.uuid, &ids[3]), 0);
	ASSERT_NE(ids[3], e.channel);
	ASSERT_RET(channel_destroy(e.fd[VA], ids[3]), 0);
	env_look(&e, &was);
	for (i = 0; i < 4; i++) {
		if (ids[i] == e.channel)
			continue;
		EXPECT_RET(channel_query(e.fd[VA], ids[i], &q), -ENOENT);
		EXPECT_RET(channel_destroy(e.fd[VA], ids[i]), -ENOENT);
		EXPECT_RET(channel_wait(e.fd[VA], ids[i], 0, 0, NULL), -ENOENT);
		EXPECT_RET(channel_submit(e.fd[VA], ids[i], &e.nop, 1, NULL), -ENOENT);
	}
	expect_unchanged(&e, &was, "an unknown channel");
	env_close(&e);
}

/* A channel's id belongs to its own space. */
TEST(channel_of_another_space)
{
	struct uvm_channel_query q;
	struct env e;
	struct space s;
	uint32_t first, second;

	env_open(&e);
	ASSERT_RET(space_open(&s), 0);
	ASSERT_RET(register_gpu(s.fd, e.gpu.uuid), 0);
	/* more there than here, so that one id is foreign for sure */
	ASSERT_RET(channel_create(s.fd, e.gpu.uuid, &first), 0);
	ASSERT_RET(channel_create(s.fd, e.gpu.uuid, &second), 0);
	if (second == e.channel)
		second = first;
	EXPECT_RET(channel_query(e.fd[VA], second, &q), -ENOENT);
	EXPECT_RET(channel_destroy(e.fd[VA], second), -ENOENT);
	EXPECT_RET(channel_query(s.fd, second, &q), 0);
	space_close(&s);
	env_close(&e);
}

TEST_T(max_channels, 60)
{
	struct uvm_info info = { .size = sizeof(info) };
	struct uvm_gpu_info gpu;
	struct space s;
	uint32_t *ids, i, extra;

	gpu_need(0, 0, &gpu);
	ASSERT_RET(space_open(&s), 0);
	ASSERT_RET(register_gpu(s.fd, gpu.uuid), 0);
	ASSERT_RET(uvm_ioctl(s.fd, UVM_INFO, &info), 0);
	ids = calloc(info.out_max_channels, sizeof(*ids));
	for (i = 0; i < info.out_max_channels; i++) {
		ASSERT_RET(channel_create(s.fd, gpu.uuid, &ids[i]), 0);
		if (i)
			EXPECT_NE(ids[i], ids[i - 1]);
	}
	EXPECT_RET(channel_create(s.fd, gpu.uuid, &extra), -ENOSPC);
	EXPECT_RET(channel_create(s.fd, gpu.uuid, &extra), -ENOSPC);
	EXPECT_RET(channel_destroy(s.fd, ids[0]), 0);
	EXPECT_RET(channel_create(s.fd, gpu.uuid, &extra), 0);
	/* unique within the life of the space */
	for (i = 0; i < info.out_max_channels; i++)
		EXPECT_NE(extra, ids[i]);
	EXPECT_RET(channel_create(s.fd, gpu.uuid, &ids[0]), -ENOSPC);
	space_close(&s);
}

/* A channel whose id could not be delivered isn't there, and costs nothing. */
TEST_T(undelivered_channel, 60)
{
	struct uvm_info info = { .size = sizeof(info) };
	struct uvm_channel_create *c;
	struct env e;
	uint32_t i, id;

	env_open(&e);
	ASSERT_RET(uvm_ioctl(e.fd[VA], UVM_INFO, &info), 0);
	c = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	c->size = sizeof(*c);
	memcpy(c->uuid, e.gpu.uuid, UVM_UUID_LEN);
	ASSERT_RET(mprotect(c, PAGE, PROT_READ), 0);
	for (i = 0; i < info.out_max_channels + 1; i++)
		EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_CHANNEL_CREATE, c), -EFAULT);
	EXPECT_RET(channel_create(e.fd[VA], e.gpu.uuid, &id), 0);
	env_close(&e);
}

TEST(submit_lengths)
{
	struct uvm_channel_submit s = { .size = sizeof(s) };
	struct uvm_info info = { .size = sizeof(info) };
	size_t one = sizeof(struct uvm_sim_cmd), most;
	struct uvm_channel_query q;
	struct sight was;
	struct env e;
	char *cmds;

	env_open(&e);
	ASSERT_RET(uvm_ioctl(e.fd[VA], UVM_INFO, &info), 0);
	most = info.out_max_submit / one * one;
	cmds = anon(info.out_max_submit + 2 * one, PROT_READ | PROT_WRITE, 0);
	s.channel = e.channel;
	s.commands = ADDR(cmds);
	env_look(&e, &was);
	s.length = 0;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_CHANNEL_SUBMIT, &s), -EINVAL);
	s.length = 1;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_CHANNEL_SUBMIT, &s), -EINVAL);
	s.length = one - 1;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_CHANNEL_SUBMIT, &s), -EINVAL);
	s.length = one + 1;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_CHANNEL_SUBMIT, &s), -EINVAL);
	s.length = most + one;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_CHANNEL_SUBMIT, &s), -EINVAL);
	s.length = ~0U / one * one;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_CHANNEL_SUBMIT, &s), -EINVAL);
	expect_unchanged(&e, &was, "a bad length");

	s.length = most;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_CHANNEL_SUBMIT, &s), 0);
	EXPECT_GT(s.out_point, e.point);
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, s.out_point, PATIENCE, NULL), 0);
	EXPECT_RET(channel_query(e.fd[VA], e.channel, &q), 0);
	EXPECT_EQ(q.out_submitted, s.out_point);
	EXPECT_EQ(q.out_completed, s.out_point);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_RUNNING);
	env_close(&e);
}

/* Commands are taken all or none; what was read is what runs. */
TEST(submit_bad_memory)
{
	struct uvm_channel_submit s = { .size = sizeof(s) };
	size_t one = sizeof(struct uvm_sim_cmd);
	struct uvm_sim_cmd *cmds;
	struct sight was;
	struct env e;
	char *area;

	env_open(&e);
	area = anon(2 * PAGE, PROT_READ | PROT_WRITE, 0);
	cmds = (struct uvm_sim_cmd *)(area + PAGE - one);
	cmds[0] = CMD(FILL, .dst = ADDR(e.buf), .length = PAGE, .arg0 = 0x77);
	cmds[1] = CMD(NOP);
	ASSERT_RET(mprotect(area + PAGE, PAGE, PROT_NONE), 0);
	env_look(&e, &was);
	s.channel = e.channel;
	s.commands = ADDR(cmds);
	s.length = 2 * one;
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_CHANNEL_SUBMIT, &s), -EFAULT);
	EXPECT_RET(channel_run(e.fd[VA], e.channel, &e.nop, 1), 0);
	EXPECT_PATTERN(e.buf, BUF_SIZE, 1);
	ASSERT_RET(mprotect(area + PAGE, PAGE, PROT_READ), 0);
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_CHANNEL_SUBMIT, &s), 0);
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, s.out_point, PATIENCE, NULL), 0);
	EXPECT_BYTES(e.buf, PAGE, 0x77);
	env_close(&e);
}

/* A submission whose point can't be told has not happened. */
TEST(submit_undelivered)
{
	struct uvm_sim_cmd fill;
	struct uvm_channel_submit *s;
	struct sight was;
	struct env e;

	env_open(&e);
	fill = CMD(FILL, .dst = ADDR(e.buf), .length = PAGE, .arg0 = 0x77);
	s = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	s->size = sizeof(*s);
	s->channel = e.channel;
	s->commands = ADDR(&fill);
	s->length = sizeof(fill);
	ASSERT_RET(mprotect(s, PAGE, PROT_READ), 0);
	env_look(&e, &was);
	EXPECT_RET(uvm_ioctl(e.fd[VA], UVM_CHANNEL_SUBMIT, s), -EFAULT);
	expect_unchanged(&e, &was, "a submission into a read-only structure");
	EXPECT_RET(channel_run(e.fd[VA], e.channel, &e.nop, 1), 0);
	EXPECT_PATTERN(e.buf, BUF_SIZE, 1);
	env_close(&e);
}

/* Each is refused, and so is the good command before it. */
TEST(malformed_commands)
{
	struct env e;

	env_open(&e);
	{
		uint64_t p = ADDR(e.buf) + PAGE;
		const struct uvm_sim_cmd bad[] = {
			{ .op = UVM_SIM_OP_NR },
			{ .op = 0xffffffff },
			CMD(NOP, .flags = 1),
			CMD(NOP, .flags = 1U << 31),
			CMD(NOP, .dst = p),
			CMD(NOP, .src = p),
			CMD(NOP, .length = 1),
			CMD(NOP, .arg0 = 1),
			CMD(NOP, .arg1 = 1),
			CMD(FILL, .dst = p, .length = 8, .src = p),
			CMD(FILL, .dst = p, .length = 8, .arg1 = 1),
			CMD(COPY, .dst = p, .src = p + 64, .length = 8, .arg0 = 1),
			CMD(COPY, .dst = p, .src = p + 64, .length = 8, .arg1 = 1),
			CMD(XOR, .dst = p, .src = p, .length = 8),
			CMD(XOR, .dst = p, .length = 8, .arg1 = 1),
			CMD(HISTOGRAM, .dst = p + 4, .src = p, .length = 8),
			CMD(HISTOGRAM, .dst = p, .src = p, .length = 8, .arg0 = 1),
			CMD(CRC32C, .dst = p + 1, .src = p, .length = 8),
			CMD(CRC32C, .dst = p, .src = p, .length = 8, .arg0 = 1),
			CMD(SUM, .dst = p + 4, .src = p, .length = 8),
			CMD(SUM, .dst = p, .src = p + 4, .length = 8),
			CMD(SUM, .dst = p, .src = p, .length = 12),
			CMD(SUM, .dst = p, .src = p, .length = 8, .arg1 = 1),
			CMD(ATOMIC_ADD, .dst = p + 4, .arg0 = 1, .arg1 = 1),
			CMD(ATOMIC_ADD, .dst = p, .src = p, .arg0 = 1, .arg1 = 1),
			CMD(ATOMIC_ADD, .dst = p, .length = 8, .arg0 = 1, .arg1 = 1),
			CMD(CHASE, .dst = p + 4, .src = p, .arg0 = 1),
			CMD(CHASE, .dst = p, .src = p + 4, .arg0 = 1),
			CMD(CHASE, .dst = p, .src = p, .arg0 = 1, .length = 8),
			CMD(CHASE, .dst = p, .src = p, .arg0 = 1, .arg1 = 1),
			CMD(TOUCH, .dst = p, .length = 8, .arg0 = 0),
			CMD(TOUCH, .dst = p, .length = 8, .arg0 = 8, .arg1 = 2),
			CMD(TOUCH, .dst = p, .src = p, .length = 8, .arg0 = 8),
		};
		struct uvm_sim_cmd pair[2];
		struct sight was;
		size_t i;

		pair[0] = CMD(FILL, .dst = ADDR(e.buf), .length = PAGE, .arg0 = 0x66);
		for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			pair[1] = bad[i];
			env_look(&e, &was);
			harness_check(channel_submit(e.fd[VA], e.channel, pair, 2,
						     NULL) == -EINVAL,
				      false, __FILE__, __LINE__,
				      "malformed command %zu (op %u): wanted EINVAL",
				      i, bad[i].op);
			expect_unchanged(&e, &was, "a malformed command");
		}
	}
	/* nothing of it was only late */
	EXPECT_RET(channel_run(e.fd[VA], e.channel, &e.nop, 1), 0);
	EXPECT_PATTERN(e.buf, BUF_SIZE, 1);
	env_close(&e);
}

/* Every operation does what its description says. */
TEST(operations)
{
	uint64_t *out, sum, counts[256] = { 0 };
	unsigned char *p, *q;
	struct uvm_sim_cmd c;
	struct env e;
	size_t i, n = 3 * PAGE;

	env_open(&e);
	p = anon(n, PROT_READ | PROT_WRITE, 0);
	q = anon(n, PROT_READ | PROT_WRITE, 0);
	out = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(p, n, 9);
#define RUN(op, ...) do {						\
		c = CMD(op, __VA_ARGS__);				\
		ASSERT_RET(channel_run(e.fd[VA], e.channel, &c, 1), 0);	\
	} while (0)

	RUN(CRC32C, .dst = ADDR(out), .src = ADDR(p), .length = n);
	EXPECT_EQ(out[0], crc32c(p, n));
	RUN(CRC32C, .dst = ADDR(out), .src = ADDR(p + 3), .length = n - 10);
	EXPECT_EQ(out[0], crc32c(p + 3, n - 10));
	memcpy(q, "123456789", 9);
	RUN(CRC32C, .dst = ADDR(out), .src = ADDR(q), .length = 9);
	EXPECT_EQ(out[0], 0xE3069283);
	RUN(SUM, .dst = ADDR(out), .src = ADDR(p), .length = n);
	EXPECT_EQ(out[0], sum64(p, n));
	sum = 7;
	for (i = 0; i < n - 5; i++)
		counts[p[i + 5]]++;
	counts[0] += sum;
	memset(out, 0, PAGE);
	out[0] = sum;
	RUN(HISTOGRAM, .dst = ADDR(out), .src = ADDR(p + 5), .length = n - 5);
	EXPECT_EQ(memcmp(out, counts, sizeof(counts)), 0);

	memset(q, 0x11, n);
	RUN(FILL, .dst = ADDR(q + 1), .length = n - 2, .arg0 = 0x1ab);
	EXPECT_EQ(q[0], 0x11);
	EXPECT_BYTES(q + 1, n - 2, 0xab);
	EXPECT_EQ(q[n - 1], 0x11);
	RUN(COPY, .dst = ADDR(q + 9), .src = ADDR(p + 2), .length = n - 20);
	EXPECT_EQ(memcmp(q + 9, p + 2, n - 20), 0);
	EXPECT_BYTES(q + 1, 8, 0xab);
	EXPECT_BYTES(q + n - 11, 10, 0xab);
	memcpy(q, p, n);
	RUN(XOR, .dst = ADDR(q), .length = n - 3, .arg0 = 42);
	for (i = 0; i < n; i++) {
		uint8_t key = uvm_sim_keystream(42, i / 8) >> (i % 8 * 8);

		if (q[i] != (p[i] ^ (i < n - 3 ? key : 0)))
			break;
	}
	EXPECT_EQ(i, n);
	out[0] = 5;
	RUN(ATOMIC_ADD, .dst = ADDR(out), .arg0 = 3, .arg1 = 1000);
	EXPECT_EQ(out[0], 3005);
	for (i = 0; i < n / 64; i++)
		*(uint64_t *)(q + i * 64) = ADDR(q + (i + 1) * 64 % n);
	RUN(CHASE, .dst = ADDR(out), .src = ADDR(q), .arg0 = n / 64 - 1);
	EXPECT_EQ(out[0], ADDR(q + n - 64));
	RUN(CHASE, .dst = ADDR(out), .src = ADDR(q), .arg0 = 0);
	EXPECT_EQ(out[0], ADDR(q));
	RUN(TOUCH, .dst = ADDR(p), .length = n, .arg0 = 100, .arg1 = 1);
	RUN(TOUCH, .dst = ADDR(p), .length = n, .arg0 = PAGE, .arg1 = 0);
	EXPECT_PATTERN(p, n, 9);
	/* length 0 does nothing, wherever it points */
	RUN(FILL, .dst = 64, .length = 0, .arg0 = 1);
	RUN(COPY, .dst = 64, .src = 128, .length = 0);
#undef RUN
	env_close(&e);
}

/* A command that runs until it is stopped. The page it adds to is its own. */
static uint64_t *endless(struct env *e, uint32_t channel, uint64_t *point)
{
	uint64_t *counter = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	struct uvm_sim_cmd c = CMD(ATOMIC_ADD, .dst = ADDR(counter), .arg0 = 1,
				   .arg1 = 1ULL << 48);

	*counter = 0;
	ASSERT_RET(channel_submit(e->fd[VA], channel, &c, 1, point), 0);
	return counter;
}

TEST(wait_results)
{
	struct uvm_channel_query q;
	uint64_t point, completed;
	struct env e;

	env_open(&e);
	completed = 1234;
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, e.point, 0, &completed), 0);
	EXPECT_EQ(completed, e.point);
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, 0, 0, NULL), 0);
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, e.point, UVM_WAIT_FOREVER, NULL),
		   0);
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, e.point + 1, 0, NULL), -EINVAL);
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, e.point + 1, UVM_WAIT_FOREVER,
				NULL), -EINVAL);
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, ~0ULL, 0, NULL), -EINVAL);

	endless(&e, e.channel, &point);
	EXPECT_GT(point, e.point);
	completed = 1234;
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, point, 0, &completed),
		   -ETIMEDOUT);
	EXPECT_EQ(completed, e.point);
	completed = 1234;
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, point, 20000000, &completed),
		   -ETIMEDOUT);
	EXPECT_EQ(completed, e.point);
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, e.point, 0, NULL), 0);
	EXPECT_RET(channel_query(e.fd[VA], e.channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_RUNNING);
	EXPECT_EQ(q.out_reason, UVM_FAULT_NONE);
	EXPECT_EQ(q.out_access, 0);
	EXPECT_EQ(q.out_submitted, point);
	EXPECT_EQ(q.out_completed, e.point);
	EXPECT_RET(channel_destroy(e.fd[VA], e.channel), 0);
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, point, 0, NULL), -ENOENT);
}

TEST(wait_really_waits)
{
	struct timespec from, to;
	uint64_t point, ms;
	struct env e;

	env_open(&e);
	endless(&e, e.channel, &point);
	clock_gettime(CLOCK_MONOTONIC, &from);
	EXPECT_RET(channel_wait(e.fd[VA], e.channel, point, SECOND / 5, NULL),
		   -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &to);
	ms = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
	EXPECT_GE(ms, 199);
	EXPECT_LE(ms, 10000);
}

struct waiter {
	struct env *e;
	uint32_t channel;
	uint64_t point;
	uint64_t completed;
	volatile pid_t tid;
	int ret;
};

static void *wait_forever(void *arg)
{
	struct waiter *w = arg;

	w->tid = syscall(SYS_gettid);
	w->ret = channel_wait(w->e->fd[VA], w->channel, w->point,
			      UVM_WAIT_FOREVER, &w->completed);
	return NULL;
}

static pthread_t start_waiter(struct waiter *w)
{
	pthread_t thread;
	int i;

	w->ret = 1;
	ASSERT_EQ(pthread_create(&thread, NULL, wait_forever, w), 0);
	for (i = 0; i < 5000 && !w->tid; i++)
		usleep(1000);
	ASSERT_GT(w->tid, 0);
	ASSERT_TRUE(thread_sleeps(w->tid));
	EXPECT_EQ(w->ret, 1);
	return thread;
}

static const struct variant enders[] = {
	{ "destroy", 0, 0 }, { "unregister", 1, 0 }, { "mm_close", 2, 0 },
	{ NULL, 0, 0 },
};

TEST_V(wait_canceled, enders)
{
	struct waiter w[3] = { 0 };
	pthread_t thread[3];
	struct env e;
	uint64_t point;
	int i;

	env_open(&e);
	endless(&e, e.channel, &point);
	for (i = 0; i < 3; i++) {
		w[i].e = &e;
		w[i].channel = e.channel;
		w[i].point = point;
		thread[i] = start_waiter(&w[i]);
	}
	if (v->kind == 0)
		EXPECT_RET(channel_destroy(e.fd[VA], e.channel), 0);
	else if (v->kind == 1)
		EXPECT_RET(unregister_gpu(e.fd[VA], e.gpu.uuid), 0);
	else
		EXPECT_EQ(close(e.fd[MM]), 0);
	for (i = 0; i < 3; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_RET(w[i].ret, -ECANCELED);
		EXPECT_EQ(w[i].completed, e.point);
	}
}

static void on_signal(int number)
{
	(void)number;
}

/* A signal that doesn't kill does not end a wait; one that does, does. */
TEST(wait_signals)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct waiter w = { 0 };
	pthread_t thread;
	struct env e;
	uint64_t point;
	pid_t pid;
	int sync[2];
	char byte;

	env_open(&e);
	sigaction(SIGUSR1, &sa, NULL);
	endless(&e, e.channel, &point);
	w.e = &e;
	w.channel = e.channel;
	w.point = point;
	thread = start_waiter(&w);
	pthread_kill(thread, SIGUSR1);
	EXPECT_TRUE(thread_sleeps(w.tid));
	EXPECT_EQ(w.ret, 1);
	EXPECT_RET(channel_destroy(e.fd[VA], e.channel), 0);
	pthread_join(thread, NULL);
	EXPECT_RET(w.ret, -ECANCELED);
	env_close(&e);

	ASSERT_EQ(pipe(sync), 0);
	pid = child();
	if (!pid) {
		memset(&w, 0, sizeof(w));
		env_open(&e);
		endless(&e, e.channel, &point);
		w.e = &e;
		w.channel = e.channel;
		w.point = point;
		thread = start_waiter(&w);
		ASSERT_EQ(write(sync[1], "w", 1), 1);
		pthread_join(thread, NULL);
		_exit(1);
	}
	close(sync[1]);
	ASSERT_EQ(read(sync[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	EXPECT_EQ(child_wait(pid), 128 + SIGKILL);
}

/*
 * More commands than a queue holds, behind one that takes a while. The first
 * refusal must come within what the ring can hold, and room must come back.
 */
TEST_T(ring_full, 60)
{
	struct uvm_sim_cmd batch[64] = { 0 };
	struct uvm_sim_cmd slow;
	uint64_t point, last = 0, blocker, taken = 0;
	struct timespec from, to;
	uint64_t *counter, ns, adds = 2000;
	struct uvm_info info = { .size = sizeof(info) };
	unsigned int count = 64;
	struct env e;
	int ret = 0;

	env_open(&e);
	ASSERT_RET(uvm_ioctl(e.fd[VA], UVM_INFO, &info), 0);
	if (count > info.out_max_submit / sizeof(batch[0]))
		count = info.out_max_submit / sizeof(batch[0]);
	counter = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	*counter = 0;
	/* how many additions keep it busy for about 4 s? */
	do {
		adds *= 4;
		slow = CMD(ATOMIC_ADD, .dst = ADDR(counter), .arg0 = 1, .arg1 = adds);
		clock_gettime(CLOCK_MONOTONIC, &from);
		ASSERT_RET(channel_run(e.fd[VA], e.channel, &slow, 1), 0);
		clock_gettime(CLOCK_MONOTONIC, &to);
		ns = (to.tv_sec - from.tv_sec) * SECOND + to.tv_nsec - from.tv_nsec;
	} while (ns < SECOND / 20 && adds < 1ULL << 40);
	slow.arg1 = adds * (4 * SECOND / ns);
	ASSERT_RET(channel_submit(e.fd[VA], e.channel, &slow, 1, &blocker), 0);

	while (taken < 2 * UVM_SIM_RING_ENTRIES) {
		ret = channel_submit(e.fd[VA], e.channel, batch, count, &point);
		if (ret)
			break;
		EXPECT_GT(point, last);
		last = point;
		taken += count;
	}
	EXPECT_RET(ret, -EBUSY);
	EXPECT_LE(taken, UVM_SIM_RING_ENTRIES);
	EXPECT_GT(taken, 0);
	/* wait for an earlier point, as the contract says, and go on */
	ASSERT_RET(channel_wait(e.fd[VA], e.channel, last, PATIENCE, NULL), 0);
	EXPECT_RET(channel_run(e.fd[VA], e.channel, batch, count), 0);
	env_close(&e);
}

/* Points rise, and each covers all that came before. */
TEST(points_in_order)
{
	struct uvm_channel_query q;
	struct uvm_sim_cmd c;
	uint64_t points[50];
	unsigned char *p;
	struct env e;
	int i;

	env_open(&e);
	p = anon(50 * PAGE, PROT_READ | PROT_WRITE, 0);
	for (i = 0; i < 50; i++) {
		c = CMD(FILL, .dst = ADDR(p + i * PAGE), .length = PAGE, .arg0 = i + 1);
		ASSERT_RET(channel_submit(e.fd[VA], e.channel, &c, 1, &points[i]), 0);
		EXPECT_GT(points[i], i ? points[i - 1] : e.point);
	}
	for (i = 49; i >= 0; i -= 7) {
		EXPECT_RET(channel_wait(e.fd[VA], e.channel, points[i], PATIENCE,
					NULL), 0);
		EXPECT_BYTES(p + i * PAGE, PAGE, i + 1);
	}
	for (i = 0; i < 50; i++)
		EXPECT_BYTES(p + i * PAGE, PAGE, i + 1);
	EXPECT_RET(channel_query(e.fd[VA], e.channel, &q), 0);
	EXPECT_EQ(q.out_completed, points[49]);
	env_close(&e);
}

/* ---- faults ---- */

struct fault_case {
	struct uvm_sim_cmd cmd;
	uint64_t address;
	uint32_t reason;
	uint32_t access;
};

/* One bad command on a channel of its own, while another goes on. */
static void expect_fault(struct env *e, const struct fault_case *f)
{
	struct uvm_sim_cmd two[2] = { f->cmd, CMD(NOP) };
	struct uvm_channel_query q;
	uint64_t point, other_point, completed = 99;
	uint32_t channel;

	ASSERT_RET(channel_create(e->fd[VA], e->gpu.uuid, &channel), 0);
	ASSERT_RET(channel_submit(e->fd[VA], channel, two, 2, &point), 0);
	EXPECT_RET(channel_wait(e->fd[VA], channel, point, PATIENCE, &completed),
		   -ECANCELED);
	EXPECT_LT(completed, point);
	ASSERT_RET(channel_query(e->fd[VA], channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_FAULTED);
	EXPECT_EQ(q.out_reason, f->reason);
	EXPECT_EQ(q.out_access, f->access);
	EXPECT_EQ(q.out_address, f->address);
	EXPECT_EQ(q.out_submitted, point);
	EXPECT_LT(q.out_completed, point);
	/* it stays stopped */
	EXPECT_RET(channel_submit(e->fd[VA], channel, two, 1, NULL), -ECANCELED);
	EXPECT_RET(channel_wait(e->fd[VA], channel, 0, 0, NULL), 0);
	/* nobody else noticed */
	ASSERT_RET(channel_submit(e->fd[VA], e->channel, &e->nop, 1, &other_point), 0);
	EXPECT_RET(channel_wait(e->fd[VA], e->channel, other_point, PATIENCE, NULL), 0);
	EXPECT_RET(channel_destroy(e->fd[VA], channel), 0);
}

TEST(fault_no_mapping)
{
	struct fault_case f;
	struct env e;
	char *p;

	env_open(&e);
	p = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	madvise(p, 4 * PAGE, MADV_NOHUGEPAGE);
	pattern_fill(p, 4 * PAGE, 4);
	ASSERT_RET(munmap(p + 2 * PAGE, PAGE), 0);

	/* the exact byte */
	f = (struct fault_case){
		.cmd = CMD(FILL, .dst = ADDR(p + 2 * PAGE + 123), .length = 8),
		.address = ADDR(p + 2 * PAGE + 123),
		.reason = UVM_FAULT_NO_MAPPING,
		.access = UVM_ACCESS_WRITE,
	};
	expect_fault(&e, &f);

	/* what comes before the hole is done, what comes behind isn't */
	f.cmd = CMD(FILL, .dst = ADDR(p + PAGE), .length = 3 * PAGE, .arg0 = 0x31);
	f.address = ADDR(p + 2 * PAGE);
	expect_fault(&e, &f);
	EXPECT_PATTERN(p, PAGE, 4);
	EXPECT_BYTES(p + PAGE, PAGE, 0x31);
	EXPECT_EQ(pattern_check_from(p + 3 * PAGE, PAGE, 4, 3), -1);

	/* a read */
	f.cmd = CMD(COPY, .dst = ADDR(e.buf), .src = ADDR(p + 2 * PAGE + 16),
		    .length = 8);
	f.address = ADDR(p + 2 * PAGE + 16);
	f.access = UVM_ACCESS_READ;
	expect_fault(&e, &f);

	/* an atomic */
	f.cmd = CMD(ATOMIC_ADD, .dst = ADDR(p + 2 * PAGE + 64), .arg0 = 1, .arg1 = 1);
	f.address = ADDR(p + 2 * PAGE + 64);
	f.access = UVM_ACCESS_ATOMIC;
	expect_fault(&e, &f);

	/* page 0 is mapped for nobody */
	f.cmd = CMD(TOUCH, .dst = 8, .length = 1, .arg0 = 1);
	f.address = 8;
	f.access = UVM_ACCESS_READ;
	expect_fault(&e, &f);
	EXPECT_PATTERN(e.buf, BUF_SIZE, 1);
	env_close(&e);
}

TEST(fault_permission)
{
	struct fault_case f = { .reason = UVM_FAULT_PERMISSION };
	struct uvm_sim_cmd c;
	struct env e;
	char *p;

	env_open(&e);
	p = anon(2 * PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(p, 2 * PAGE, 5);
	ASSERT_RET(mprotect(p, PAGE, PROT_READ), 0);
	f.cmd = CMD(FILL, .dst = ADDR(p + 40), .length = 8);
	f.address = ADDR(p + 40);
	f.access = UVM_ACCESS_WRITE;
	expect_fault(&e, &f);

	/* reading it is fine, and a reader's mapping gives no write */
	c = CMD(TOUCH, .dst = ADDR(p), .length = 1, .arg0 = 1);
	EXPECT_RET(channel_run(e.fd[VA], e.channel, &c, 1), 0);
	f.cmd = CMD(XOR, .dst = ADDR(p), .length = 8, .arg0 = 1);
	f.address = ADDR(p);
	expect_fault(&e, &f);

	f.cmd = CMD(ATOMIC_ADD, .dst = ADDR(p + 8), .arg0 = 1, .arg1 = 1);
	f.address = ADDR(p + 8);
	f.access = UVM_ACCESS_ATOMIC;
	expect_fault(&e, &f);

	ASSERT_RET(mprotect(p, PAGE, PROT_NONE), 0);
	f.cmd = CMD(TOUCH, .dst = ADDR(p + 3), .length = 1, .arg0 = 1);
	f.address = ADDR(p + 3);
	f.access = UVM_ACCESS_READ;
	expect_fault(&e, &f);

	ASSERT_RET(mprotect(p, PAGE, PROT_READ), 0);
	EXPECT_PATTERN(p, 2 * PAGE, 5);
	env_close(&e);
}

TEST(fault_bus)
{
	struct fault_case f = { .reason = UVM_FAULT_BUS };
	struct uvm_sim_cmd c;
	struct env e;
	char *p;
	int fd;

	env_open(&e);
	fd = memfd_create("short", MFD_CLOEXEC);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(ftruncate(fd, PAGE), 0);
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	c = CMD(FILL, .dst = ADDR(p), .length = PAGE, .arg0 = 0x12);
	EXPECT_RET(channel_run(e.fd[VA], e.channel, &c, 1), 0);
	EXPECT_BYTES(p, PAGE, 0x12);
	f.cmd = CMD(TOUCH, .dst = ADDR(p + PAGE + 5), .length = 1, .arg0 = 1);
	f.address = ADDR(p + PAGE + 5);
	f.access = UVM_ACCESS_READ;
	expect_fault(&e, &f);
	f.cmd = CMD(FILL, .dst = ADDR(p), .length = 2 * PAGE, .arg0 = 0x13);
	f.address = ADDR(p + PAGE);
	f.access = UVM_ACCESS_WRITE;
	expect_fault(&e, &f);
	EXPECT_BYTES(p, PAGE, 0x13);
	env_close(&e);
}

/* Addresses that no process can have: refused, or a fault like any other */
TEST(fault_wild_addresses)
{
	static const uint64_t wild[] = {
		KERNEL_ADDR, 0x800000000000ULL, 0x8000000000000000ULL,
		TASK_END, 0xfffffffffffff000ULL, 0x1000000000000ULL,
	};
	struct uvm_channel_query q;
	struct uvm_sim_cmd c;
	uint64_t point;
	uint32_t channel;
	struct env e;
	size_t i;
	int ret;

	env_open(&e);
	for (i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
		ASSERT_RET(channel_create(e.fd[VA], e.gpu.uuid, &channel), 0);
		c = CMD(FILL, .dst = wild[i], .length = 8, .arg0 = 1);
		ret = channel_submit(e.fd[VA], channel, &c, 1, &point);
		EXPECT_RET2(ret, 0, -EINVAL);
		if (!ret) {
			EXPECT_RET(channel_wait(e.fd[VA], channel, point, PATIENCE,
						NULL), -ECANCELED);
			EXPECT_RET(channel_query(e.fd[VA], channel, &q), 0);
			EXPECT_EQ(q.out_state, UVM_CHANNEL_FAULTED);
			EXPECT_EQ(q.out_reason, UVM_FAULT_NO_MAPPING);
			EXPECT_EQ(q.out_address, wild[i]);
		}
		EXPECT_RET(channel_destroy(e.fd[VA], channel), 0);
	}
	EXPECT_RET(channel_run(e.fd[VA], e.channel, &e.nop, 1), 0);
	env_close(&e);
}

/* Many channels fault at once; each hears of its own fault only. */
TEST_T(fault_many, 60)
{
	struct uvm_channel_query q;
	struct uvm_sim_cmd c;
	uint32_t channel[16];
	uint64_t point[16];
	unsigned int round, rounds = harness_rounds(3);
	struct env e;
	char *good;
	int i;

	env_open(&e);
	good = anon(16 * PAGE, PROT_READ | PROT_WRITE, 0);
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < 16; i++)
			ASSERT_RET(channel_create(e.fd[VA], e.gpu.uuid, &channel[i]), 0);
		for (i = 0; i < 16; i++) {
			/* page 0 is nobody's */
			c = CMD(FILL, .dst = i % 2 ? ADDR(good + i * PAGE) : i + 8ULL,
				.length = 8, .arg0 = round + 1);
			ASSERT_RET(channel_submit(e.fd[VA], channel[i], &c, 1,
						  &point[i]), 0);
		}
		for (i = 0; i < 16; i++) {
			EXPECT_RET(channel_wait(e.fd[VA], channel[i], point[i],
						PATIENCE, NULL),
				   i % 2 ? 0 : -ECANCELED);
			ASSERT_RET(channel_query(e.fd[VA], channel[i], &q), 0);
			EXPECT_EQ(q.out_state, i % 2 ? UVM_CHANNEL_RUNNING :
				  UVM_CHANNEL_FAULTED);
			EXPECT_EQ(q.out_address, i % 2 ? 0 : i + 8);
			if (i % 2)
				EXPECT_BYTES(good + i * PAGE, 8, round + 1);
			EXPECT_RET(channel_destroy(e.fd[VA], channel[i]), 0);
		}
	}
	env_close(&e);
}

/* Stopping a channel in the middle of a command takes a moment, not forever. */
TEST(destroy_while_running)
{
	struct uvm_channel_query q;
	uint64_t point, *counter, seen;
	uint32_t channel;
	struct env e;
	int i;

	env_open(&e);
	for (i = 0; i < 5; i++) {
		ASSERT_RET(channel_create(e.fd[VA], e.gpu.uuid, &channel), 0);
		counter = endless(&e, channel, &point);
		ASSERT_RET(channel_wait(e.fd[VA], channel, point, SECOND / 50, NULL),
			   -ETIMEDOUT);
		EXPECT_RET(channel_destroy(e.fd[VA], channel), 0);
		/* it is stopped: the counter stands still */
		seen = *(volatile uint64_t *)counter;
		EXPECT_RET(channel_run(e.fd[VA], e.channel, &e.nop, 1), 0);
		EXPECT_EQ(*(volatile uint64_t *)counter, seen);
		EXPECT_RET(channel_query(e.fd[VA], channel, &q), -ENOENT);
		munmap(counter, PAGE);
	}
	env_close(&e);
}

/* Threads share everything: commands of one space from several at once. */
struct worker {
	struct env *e;
	pthread_barrier_t *start;
	unsigned int id;
	unsigned int rounds;
	char *buf;
};

static void *hammer(void *arg)
{
	struct worker *w = arg;
	struct uvm_channel_query q;
	struct uvm_page_state st[4];
	struct uvm_migrate m;
	struct uvm_sim_cmd c;
	uint32_t channel;
	unsigned int i;

	pthread_barrier_wait(w->start);
	for (i = 0; i < w->rounds; i++) {
		ASSERT_RET(channel_create(w->e->fd[VA], w->e->gpu.uuid, &channel), 0);
		c = CMD(FILL, .dst = ADDR(w->buf), .length = 4 * PAGE,
			.arg0 = w->id + i);
		EXPECT_RET(channel_run(w->e->fd[VA], channel, &c, 1), 0);
		EXPECT_RET(migrate(w->e->fd[VA], w->buf, 4 * PAGE, UVM_DEST_GPU, 0,
				   w->e->gpu.uuid, &m), 0);
		EXPECT_RET(residency(w->e->fd[VA], w->buf, 4 * PAGE, st), 0);
		EXPECT_RET(channel_query(w->e->fd[VA], channel, &q), 0);
		EXPECT_BYTES(w->buf, 4 * PAGE, w->id + i);
		EXPECT_RET(channel_destroy(w->e->fd[VA], channel), 0);
	}
	return NULL;
}

TEST_T(threads, 60)
{
	pthread_barrier_t start;
	pthread_t thread[4];
	struct worker w[4];
	struct env e;
	int i;

	env_open(&e);
	pthread_barrier_init(&start, NULL, 4);
	for (i = 0; i < 4; i++) {
		w[i] = (struct worker){
			.e = &e,
			.start = &start,
			.id = i * 50,
			.rounds = harness_rounds(10),
			.buf = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0),
		};
		ASSERT_EQ(pthread_create(&thread[i], NULL, hammer, &w[i]), 0);
	}
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	env_close(&e);
}

/* The same, but the ground goes away meanwhile. */
TEST(close_under_threads)
{
	pthread_t thread[2];
	struct waiter w[2] = { 0 };
	uint64_t point;
	struct env e;
	int round, i;

	for (round = 0; round < 5; round++) {
		env_open(&e);
		endless(&e, e.channel, &point);
		for (i = 0; i < 2; i++) {
			w[i] = (struct waiter){
				.e = &e, .channel = e.channel, .point = point,
			};
			thread[i] = start_waiter(&w[i]);
		}
		/* the waiters' own reference keeps the file */
		close(e.fd[MM]);
		close(e.fd[VA]);
		for (i = 0; i < 2; i++) {
			pthread_join(thread[i], NULL);
			EXPECT_RET(w[i].ret, -ECANCELED);
		}
	}
}

static void __attribute__((constructor)) install(void)
{
	leak_check_install();
}

int main(int argc, char **argv)
{
	const char *fd = getenv(EXEC_FD);

	return fd ? exec_main(fd) : harness_main(argc, argv);
}
