// SPDX-License-Identifier: MIT
/*
 * The smallest useful program: a software GPU sums up an array that malloc()
 * gave, first where the CPU left it, then from the GPU's own memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <libuvm/uvm.h>
#include <libuvm/uvm_sim.h>

#define COUNT	(1 << 20)
#define SECOND	1000000000ULL

static void die(const char *what, unsigned int cmd, int err)
{
	fprintf(stderr, "%s: %s\n", what, uvm_strerror(cmd, err));
	exit(1);
}

static void sum_on_gpu(struct uvm_ctx *ctx, uint32_t channel, uint64_t *sum,
		       const uint64_t *array)
{
	struct uvm_sim_cmd cmd = uvm_sim_sum(sum, array, COUNT * sizeof(*array));
	uint64_t point;
	int ret;

	/* Plain pointers: the GPU faults in whatever it can't reach yet. */
	ret = uvm_channel_submit(ctx, channel, &cmd, sizeof(cmd), &point);
	if (ret)
		die("submit", UVM_CMD_CHANNEL_SUBMIT, ret);
	ret = uvm_wait(ctx, channel, point, 60 * SECOND, NULL);
	if (ret)
		die("wait", UVM_CMD_WAIT, ret);
}

int main(void)
{
	uint64_t *array = malloc(COUNT * sizeof(*array));
	uint64_t *sum = calloc(1, sizeof(*sum));
	uint64_t expected = 0, first;
	struct uvm_migrate_result moved;
	struct uvm_gpu_info gpu;
	struct uvm_ctx *ctx;
	uint32_t channel;
	size_t length;
	void *base;
	int ret;

	if (!array || !sum)
		die("malloc", 0, ENOMEM);
	for (uint64_t i = 0; i < COUNT; i++)
		expected += array[i] = i * i;

	ret = uvm_open(&ctx);
	if (ret)
		die("open", UVM_CMD_OPEN, ret);
	ret = uvm_find_gpu(ctx, NULL, &gpu);
	if (ret)
		die("find a GPU", UVM_CMD_ENUM_GPUS, ret);
	ret = uvm_register_gpu(ctx, gpu.uuid, NULL);
	if (ret)
		die("register", UVM_CMD_REGISTER_GPU, ret);
	ret = uvm_channel_create(ctx, gpu.uuid, &channel);
	if (ret)
		die("channel", UVM_CMD_CHANNEL_CREATE, ret);

	sum_on_gpu(ctx, channel, sum, array);
	first = *sum;

	length = uvm_page_span(ctx, array, COUNT * sizeof(*array), &base);
	ret = uvm_migrate_to_gpu(ctx, gpu.uuid, base, length, &moved);
	if (ret)
		die("migrate", UVM_CMD_MIGRATE, ret);
	printf("%" PRIu64 " pages are in GPU memory, %" PRIu64 " stayed\n",
	       moved.moved + moved.already, uvm_migrate_skipped(&moved));
	sum_on_gpu(ctx, channel, sum, array);

	printf("GPU: %" PRIu64 ", then %" PRIu64 "; CPU: %" PRIu64 "\n", first,
	       *sum, expected);
	ret = first != expected || *sum != expected;
	uvm_close(ctx);
	free(array);
	free(sum);
	return ret;
}
