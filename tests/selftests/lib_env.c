// SPDX-License-Identifier: GPL-2.0-only
#include "lib_env.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "lib_memory.h"

const uint8_t nobody[UVM_UUID_LEN] = "no such GPU";

const char * const state_names[] = {
	"fresh file", "VA space without mm file", "VA space", "mm file",
	"VA space whose mm file was closed", "multi-process VA space",
};

/*
 * One that can do atomics. Where the kernel can't give it a page of system memory for
 * itself, a GPU needs memory of its own for that.
 */
static void gpu_that_adds(struct uvm_gpu_info *gpu)
{
	bool anywhere = feature_mask() & UVM_FEATURE_SYSTEM_ATOMICS;
	int n = 0;

	do
		gpu_need(0, n++, gpu);
	while (!anywhere && gpu->memory_kind == UVM_MEMORY_NUMA);
}

int file_fresh(void)
{
	int fd = uvm_open();

	ASSERT_GE(fd, 0);
	return fd;
}

int file_va_only(void)
{
	int fd = file_fresh();

	ASSERT_RET(va_init(fd, 0), 0);
	return fd;
}

/* One GPU and a channel, ready */
static void ready_gpu(int fd, const struct uvm_gpu_info *gpu, uint32_t *channel,
		      uint64_t *point)
{
	struct uvm_sim_cmd nop = CMD(NOP);

	ASSERT_RET(register_gpu(fd, gpu->uuid), 0);
	ASSERT_RET(channel_create(fd, gpu->uuid, channel), 0);
	ASSERT_RET(channel_submit(fd, *channel, &nop, 1, point), 0);
	ASSERT_RET(channel_wait(fd, *channel, *point, PATIENCE, NULL), 0);
}

/* The same, with a mm file of its own */
void ready_space(struct space *s, const struct uvm_gpu_info *gpu,
			uint32_t *channel, uint64_t *point)
{
	ASSERT_RET(space_open(s), 0);
	ready_gpu(s->fd, gpu, channel, point);
}

static void env_set_policies(struct env *e)
{
	char *second = e->buf + PAGE, *third = second + PAGE;
	int fd = e->fd[VA];

	ASSERT_RET(group_create(fd, &e->group), 0);
	ASSERT_RET(policy_prefer(fd, second, PAGE, UVM_DEST_CPU_NODE, 0, NULL), 0);
	ASSERT_RET(policy_accessed_by(fd, second, PAGE, NULL, 1), 0);
	ASSERT_RET(policy_accessed_by(fd, second, PAGE, e->gpu.uuid, 1), 0);
	ASSERT_RET(policy_switch(fd, UVM_SET_PREFETCH, third, PAGE, 0), 0);
	ASSERT_RET(policy_group(fd, third, PAGE, e->group), 0);
}

void env_open(struct env *e)
{
	struct space s;
	uint64_t point;

	memset(e, 0, sizeof(*e));
	gpu_that_adds(&e->gpu);
	e->nop = CMD(NOP);
	e->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_GE(e->eventfd, 0);
	e->fd[FRESH] = file_fresh();
	e->fd[VA_ONLY] = file_va_only();

	ready_space(&s, &e->gpu, &e->channel, &e->point);
	e->fd[VA] = s.fd;
	e->fd[MM] = s.mm_fd;

	ready_space(&s, &e->gpu, &e->dead_channel, &point);
	ASSERT_RET(group_create(s.fd, &e->dead_group), 0);
	close(s.mm_fd);
	e->fd[RELEASED] = s.fd;
	e->point = e->point < point ? e->point : point;

	e->fd[MULTI] = file_fresh();
	ASSERT_RET(va_init(e->fd[MULTI], UVM_INIT_MULTI_PROCESS), 0);
	ready_gpu(e->fd[MULTI], &e->gpu, &e->multi_channel, &point);
	e->point = e->point < point ? e->point : point;

	e->buf = anon(BUF_SIZE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(e->buf, BUF_SIZE, 1);
	env_set_policies(e);
}

void env_close(struct env *e)
{
	int i;

	for (i = 0; i < NR_STATES; i++)
		close(e->fd[i]);
	close(e->eventfd);
	munmap(e->buf, BUF_SIZE);
}

void env_look(struct env *e, struct sight *s)
{
	struct uvm_query_memory q;
	int i;

	memset(s, 0, sizeof(*s));
	ASSERT_RET(memory_query(e->fd[VA], e->gpu.uuid, &q), 0);
	s->limit = q.out_limit;
	s->reserved = q.out_reserved;
	s->gpu_count = gpus_list(s->gpus, MAX_GPUS);
	ASSERT_GT(s->gpu_count, 0);
	ASSERT_RET(channel_query(e->fd[VA], e->channel, &s->channel), 0);
	ASSERT_RET(residency(e->fd[VA], e->buf, BUF_SIZE, s->st), 0);
	for (i = 0; i < BUF_PAGES; i++)
		ASSERT_RET(policy_query(e->fd[VA], e->buf + i * PAGE, &s->policy[i]), 0);
	s->again = register_gpu(e->fd[VA], e->gpu.uuid);
	s->pattern = pattern_check(e->buf, BUF_SIZE, 1);
}

void expect_unchanged(struct env *e, const struct sight *was,
			     const char *what)
{
	struct sight now;

	env_look(e, &now);
	harness_check(!memcmp(was, &now, sizeof(now)), false, __FILE__, __LINE__,
		      "%s failed, and yet changed something%s%s%s%s%s%s%s", what,
		      memcmp(was->gpus, now.gpus, sizeof(now.gpus)) ? ": GPUs" : "",
		      memcmp(&was->channel, &now.channel, sizeof(now.channel)) ?
		      ": channel" : "",
		      memcmp(was->st, now.st, sizeof(now.st)) ? ": residency" : "",
		      memcmp(was->policy, now.policy, sizeof(now.policy)) ?
		      ": policies" : "",
		      was->again != now.again ? ": registration" : "",
		      was->limit != now.limit || was->reserved != now.reserved ?
		      ": limits" : "",
		      was->pattern != now.pattern ? ": data" : "");
	EXPECT_RET(now.again, -EEXIST);
}
