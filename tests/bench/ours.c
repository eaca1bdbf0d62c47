// SPDX-License-Identifier: MIT
/*
 * The driver under test, through libuvm.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <libuvm/uvm.h>
#include <linux/uvm_sim.h>

#include "bench.h"

#define TRIES		10
/* So many commands at once: while the GPU does some, the next are on their way. */
#define RING_SHARE	(UVM_SIM_RING_ENTRIES / 2)
/* For so many; if it isn't over then, it hangs. */
#define RUN_TIMEOUT_NS	(120 * 1000000000ULL)

static struct uvm_ctx *ctx;
static struct uvm_gpu_info gpu;
static uint32_t channel;
static double engine_seconds;
static double (*move_clock)(void) = seconds_now;

static int complain(const char *what, unsigned int cmd, int err)
{
	fprintf(stderr, "uvm_bench: %s: %s (%s)\n", what,
		uvm_strerror(cmd, err), strerror(abs(err)));
	return -1;
}

size_t ours_room(size_t length, size_t spare)
{
	size_t room = gpu.memory_free > spare ? gpu.memory_free - spare : 0;

	/* A node gives memory to whoever asks: what is free says little. */
	if (gpu.memory_kind != UVM_MEMORY_NUMA && length > room)
		length = room & ~(HUGE_SIZE - 1);
	return length;
}

static int open_gpu(const char *which, size_t *length)
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

	*length = ours_room(*length, 0);
	if (!*length) {
		fprintf(stderr,
			"uvm_bench: GPU %.*s has less than 2 MiB of free memory: give it more\n",
			UVM_NAME_LEN, gpu.name);
		return -1;
	}
	return 1;
}

static int ours_open(const char *which, size_t *length)
{
	int ret = open_gpu(which, length);

	if (ret > 0)
		printf("ours: GPU \"%.*s\", %s memory\n", UVM_NAME_LEN, gpu.name,
		       uvm_memory_kind_name(gpu.memory_kind));
	return ret;
}

int ours_change_gpu(const char *which, size_t *length)
{
	uvm_close(ctx);
	ctx = NULL;
	return open_gpu(which, length) > 0 ? 0 : -1;
}

static int count_place(const struct buffer *buf, unsigned int where,
		       size_t *count)
{
	size_t pages = buf->length / uvm_page_size(ctx);
	struct uvm_page_state *state = calloc(pages, sizeof(*state));
	int ret;

	if (!state)
		return complain("can't check", 0, -ENOMEM);
	ret = uvm_query_residency(ctx, buf->base, buf->length, state);
	*count = 0;
	for (size_t i = 0; i < pages; i++)
		*count += state[i].where == where;
	free(state);
	if (ret)
		return complain("can't query residency",
				UVM_CMD_QUERY_RESIDENCY, ret);
	return 0;
}

static int check_place(const struct buffer *buf, unsigned int where)
{
	size_t pages = buf->length / uvm_page_size(ctx), count;

	if (count_place(buf, where, &count))
		return -1;
	if (count == pages)
		return 0;
	fprintf(stderr, "uvm_bench: %zu of %zu pages are not in %s memory\n",
		pages - count, pages, uvm_where_name(where));
	return -1;
}

int ours_arrived(const struct buffer *buf, size_t *pages)
{
	return count_place(buf, UVM_WHERE_GPU, pages);
}

int ours_use_in_place(const struct buffer *buf)
{
	int ret = uvm_set_preferred_cpu(ctx, buf->base, buf->length);

	if (ret)
		return complain("can't set a preferred location",
				UVM_CMD_SET_PREFERRED_LOCATION, ret);
	return 0;
}

void ours_set_clock(double (*clock)(void))
{
	move_clock = clock;
}

bool ours_evictions(struct evictions *out)
{
#ifdef UVM_QUERY_MEMORY
	struct uvm_query_memory query = { .size = sizeof(query) };

	memcpy(query.uuid, gpu.uuid, sizeof(query.uuid));
	if (!ioctl(uvm_fd(ctx), UVM_QUERY_MEMORY, &query)) {
		out->evicted = query.out_evicted;
		out->refaulted = query.out_refaulted;
		return true;
	}
#endif
	memset(out, 0, sizeof(*out));
	return false;
}

uint64_t ours_stat(const char *name)
{
	uint64_t value, found = 0;
	char path[128], is[64];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/kernel/debug/uvm_sim/%.*s/stats",
		 UVM_NAME_LEN, gpu.name);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fscanf(file, "%63s %" SCNu64, is, &value) == 2)
		if (!strcmp(is, name))
			found = value;
	fclose(file);
	return found;
}

/* What was busy is tried again, on our own time. */
static double move(const struct buffer *buf, bool to_gpu)
{
	struct uvm_migrate_result result;
	double start = move_clock(), seconds;
	int ret, tries = 0;

	do {
		if (to_gpu)
			ret = uvm_migrate_to_gpu(ctx, gpu.uuid, buf->base,
						 buf->length, &result);
		else
			ret = uvm_migrate_to_cpu(ctx, buf->base, buf->length,
						 &result);
	} while (!ret && uvm_migrate_skipped(&result) && ++tries < TRIES);
	seconds = move_clock() - start;

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

/* From what the engines say they copied, and how long that took them. */
static double ours_to_device(const struct buffer *buf)
{
	uint64_t bytes = ours_stat("bytes"), ns = ours_stat("copy_ns");
	double seconds = move(buf, true);

	bytes = ours_stat("bytes") - bytes;
	ns = ours_stat("copy_ns") - ns;
	engine_seconds = bytes ? ns / 1e9 * buf->length / bytes : 0;
	return seconds;
}

double ours_engine_seconds(void)
{
	return engine_seconds;
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

int ours_open_channel(void)
{
	int ret = uvm_channel_create(ctx, gpu.uuid, &channel);

	if (ret)
		return complain("no channel", UVM_CMD_CHANNEL_CREATE, ret);
	return 0;
}

static int complain_channel(const char *what, unsigned int cmd, int err)
{
	struct uvm_channel_query query;

	if (!uvm_channel_query(ctx, channel, &query))
		fprintf(stderr, "uvm_bench: the channel is %s, at %#" PRIx64 ": %s\n",
			uvm_channel_state_name(query.out_state),
			(uint64_t)query.out_address,
			uvm_fault_reason_name(query.out_reason));
	return complain(what, cmd, err);
}

int ours_run(const struct uvm_sim_cmd *cmds, size_t count)
{
	uint64_t point = 0, before;
	size_t at, n;
	int ret;

	for (at = 0; at < count; at += n) {
		n = count - at < RING_SHARE ? count - at : RING_SHARE;
		before = point;
		ret = uvm_channel_submit(ctx, channel, cmds + at,
					 n * sizeof(*cmds), &point);
		if (ret)
			return complain_channel("can't submit commands",
						UVM_CMD_CHANNEL_SUBMIT, ret);
		/* Then there is room for as many again. */
		ret = uvm_wait(ctx, channel, at + n < count ? before : point,
			       RUN_TIMEOUT_NS, NULL);
		if (ret)
			return complain_channel("commands don't complete",
						UVM_CMD_WAIT, ret);
	}
	return 0;
}

/*
 * Managed memory
 */

int ours_managed_at(void *at, size_t length)
{
	if (mmap(at, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, uvm_fd(ctx),
		 (uintptr_t)at) == at)
		return 0;
	return complain("no managed memory", 0, -errno);
}

static bool ours_moves_managed(void)
{
	struct uvm_migrate_result result;
	struct buffer buf;
	int ret;

	if (buffer_map(&buf, MODE_MANAGED, HUGE_SIZE))
		return false;
	*buf.base = 1;
	ret = uvm_migrate_to_gpu(ctx, gpu.uuid, buf.base, buf.length, &result);
	buffer_free(&buf);
	return !ret && !result.skipped[UVM_SKIP_VMA_KIND];
}

bool ours_manages(void)
{
	struct uvm_info info = { .size = sizeof(info) };

	if (ioctl(uvm_fd(ctx), UVM_INFO, &info) ||
	    !(info.out_features & UVM_FEATURE_MANAGED)) {
		printf("skipped: rows of managed memory: this driver has none\n");
		return false;
	}
	if (ours_moves_managed())
		return true;
	printf("skipped: rows of managed memory: this driver doesn't move it\n");
	return false;
}

int ours_read_mostly(const struct buffer *buf)
{
	int ret = uvm_set_read_mostly(ctx, buf->base, buf->length, true);

	if (ret)
		return complain("can't have copies", UVM_CMD_SET_READ_MOSTLY, ret);
	return 0;
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
