// SPDX-License-Identifier: MIT
/*
 * The driver under test, through libuvm.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libuvm/uvm.h>

#include "bench.h"

#define TRIES	10

static struct uvm_ctx *ctx;
static struct uvm_gpu_info gpu;

static int complain(const char *what, unsigned int cmd, int err)
{
	fprintf(stderr, "uvm_bench: %s: %s (%s)\n", what,
		uvm_strerror(cmd, err), strerror(abs(err)));
	return -1;
}

static int ours_open(const char *which, size_t *length)
{
	int ret;

	ret = uvm_open(&ctx);
	if (ret)
		return complain("can't open the driver", UVM_CMD_OPEN, ret);
	ret = uvm_find_gpu(ctx, which, &gpu);
	if (ret)
		return complain(which ? which : "no GPU", UVM_CMD_ENUM_GPUS,
				ret);
	ret = uvm_register_gpu(ctx, gpu.uuid, NULL);
	if (ret)
		return complain("can't register the GPU", UVM_CMD_REGISTER_GPU,
				ret);

	if (gpu.memory_kind != UVM_MEMORY_NUMA && *length > gpu.memory_free)
		*length = gpu.memory_free & ~(HUGE_SIZE - 1);
	if (!*length) {
		fprintf(stderr,
			"uvm_bench: GPU %.*s has less than 2 MiB of free memory: give it more\n",
			UVM_NAME_LEN, gpu.name);
		return -1;
	}
	printf("ours: GPU \"%.*s\", %s memory\n", UVM_NAME_LEN, gpu.name,
	       uvm_memory_kind_name(gpu.memory_kind));
	return 1;
}

static int check_place(const struct buffer *buf, unsigned int where)
{
	size_t pages = buf->length / uvm_page_size(ctx), wrong = 0;
	struct uvm_page_state *state = calloc(pages, sizeof(*state));
	int ret;

	if (!state)
		return complain("can't check", 0, -ENOMEM);
	ret = uvm_query_residency(ctx, buf->base, buf->length, state);
	for (size_t i = 0; i < pages; i++)
		wrong += state[i].where != where;
	free(state);
	if (ret)
		return complain("can't query residency",
				UVM_CMD_QUERY_RESIDENCY, ret);

	if (!wrong)
		return 0;
	fprintf(stderr, "uvm_bench: %zu of %zu pages are not in %s memory\n",
		wrong, pages, uvm_where_name(where));
	return -1;
}

/* What was busy is tried again, on our own time. */
static double move(const struct buffer *buf, bool to_gpu)
{
	struct uvm_migrate_result result;
	double start = seconds_now(), seconds;
	int ret, tries = 0;

	do {
		if (to_gpu)
			ret = uvm_migrate_to_gpu(ctx, gpu.uuid, buf->base,
						 buf->length, &result);
		else
			ret = uvm_migrate_to_cpu(ctx, buf->base, buf->length,
						 &result);
	} while (!ret && uvm_migrate_skipped(&result) && ++tries < TRIES);
	seconds = seconds_now() - start;

	if (ret)
		return complain("can't migrate", UVM_CMD_MIGRATE, ret);
	for (unsigned int i = 0; i < UVM_SKIP_SLOTS; i++)
		if (result.skipped[i])
			fprintf(stderr, "uvm_bench: %" PRIu64 " pages stayed: %s\n",
				result.skipped[i], uvm_skip_name(i));
	if (check_place(buf, to_gpu ? UVM_WHERE_GPU : UVM_WHERE_CPU))
		return -1;
	return seconds;
}

static double ours_to_device(const struct buffer *buf)
{
	return move(buf, true);
}

static double ours_to_system(const struct buffer *buf)
{
	return move(buf, false);
}

static bool ours_faults_back(void)
{
	return gpu.memory_kind == UVM_MEMORY_PRIVATE;
}

static int ours_check_home(const struct buffer *buf)
{
	return check_place(buf, UVM_WHERE_CPU);
}

static void ours_close(void)
{
	uvm_close(ctx);
	ctx = NULL;
}

const struct mover uvm_mover = {
	.name = "uvm",
	.open = ours_open,
	.to_device = ours_to_device,
	.to_system = ours_to_system,
	.faults_back = ours_faults_back,
	.check_home = ours_check_home,
	.close = ours_close,
};
