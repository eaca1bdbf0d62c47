// SPDX-License-Identifier: MIT
/*
 * uvmctl demo: a file's bytes go to a GPU and back.
 *
 * Nothing is taken on trust. Where pages are is asked of the kernel after each
 * step; what the GPU computes is compared with the CPU's own results; and the
 * data is compared with a copy that never left the CPU.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libuvm/uvm_sim.h>

#include "cpu.h"
#include "progress.h"
#include "uvmctl.h"

#define KEY_SEED	0x75766D2D64656D6FULL

/*
 * malloc() serves small requests from the heap, whose pages hold other things
 * that the CPU touches all the time: they would come home on their own. From
 * this size on it maps pages for the request alone.
 */
#define OWN_PAGES	(256U << 10)

#define IO_PART		((size_t)4 << 20)
#define MIGRATE_PART	((size_t)16 << 20)
#define MIGRATE_TRIES	4

/* The software GPU may be emulated on an emulated machine. */
#define GPU_SECONDS		120
#define GPU_BYTES_PER_SECOND	(128U << 10)

/* Written by the GPU, so in pages of its own. */
struct results {
	uint64_t counters[256];
	uint64_t crc;
};

struct demo {
	const char *path;
	struct uvm_ctx *ctx;
	struct uvm_gpu_info gpu;
	uint32_t channel;

	bool managed;		/* ordinary memory can't go to the GPU on this kernel */
	uint8_t *data;		/* the bytes that travel: ordinary malloc memory, or so */
	uint8_t *plain;		/* what the file says they are */
	size_t length;
	size_t room;		/* what was allocated for them */
	uint8_t *base;		/* the pages that cover data */
	size_t span;
	size_t pages;
	struct uvm_page_state *state;

	struct results *gpu_results;
	struct results cpu_results;
};

enum place { ANYWHERE, ON_CPU, ON_GPU };

/* The verdict; its value is -1. */
#define fail(format, ...) \
	(progress_end(), printf("FAIL: " format "\n", ##__VA_ARGS__), -1)

static int fail_call(const char *what, unsigned int cmd, int err)
{
	return fail("%s: %s (%s)", what, uvm_strerror(cmd, err),
		    strerror(abs(err)));
}

/* A page that can't be brought back kills the reader: that has to be said. */
static void on_sigbus(int sig)
{
	static const char text[] =
		"FAIL: the CPU got SIGBUS from a page that should have come back; see the kernel log (dmesg)\n";

	(void)sig;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(EXIT_FAILED);
	_exit(EXIT_FAILED);
}

/*
 * Residency
 */

static bool is_on_gpu(const struct demo *d, const struct uvm_page_state *page)
{
	return page->where == UVM_WHERE_GPU && page->id == d->gpu.id;
}

static int query(struct demo *d)
{
	int ret;

	for (int i = 0; i < 10; i++) {
		ret = uvm_query_residency(d->ctx, d->base, d->span, d->state);
		if (ret != -EBUSY)
			break;
	}
	if (ret)
		return fail_call("can't ask where the pages are",
				 UVM_CMD_QUERY_RESIDENCY, ret);
	return 0;
}

static size_t count(const struct demo *d, enum place where, size_t pages)
{
	size_t n = 0;

	for (size_t i = 0; i < pages; i++)
		n += where == ON_GPU ? is_on_gpu(d, &d->state[i]) :
				       d->state[i].where == UVM_WHERE_CPU;
	return n;
}

/*
 * Says in the table where the pages are after a step that dealt with @bytes, and
 * insists that the first @checked of them are @where it says.
 */
static int report(struct demo *d, const char *step, size_t bytes,
		  double seconds, enum place where, size_t checked)
{
	size_t cpu, gpu, there;

	if (query(d))
		return -1;
	cpu = count(d, ON_CPU, d->pages);
	gpu = count(d, ON_GPU, d->pages);

	printf("%-30s %8zu %8zu %8zu", step,
	       (bytes + uvm_page_size(d->ctx) - 1) / uvm_page_size(d->ctx), cpu,
	       gpu);
	if (seconds > 0)
		printf(" %9.1f", bytes / MIB / seconds);
	printf("\n");
	fflush(stdout);

	if (cpu + gpu != d->pages)
		return fail("%zu of %zu pages are neither in CPU nor in this GPU's memory after \"%s\": is the system short of memory, or another program using them?",
			    d->pages - cpu - gpu, d->pages, step);
	if (where == ANYWHERE)
		return 0;
	there = count(d, where, checked);
	if (there != checked)
		return fail("only %zu of %zu pages are in %s memory after \"%s\"",
			    there, checked, where == ON_GPU ? "GPU" : "CPU",
			    step);
	return 0;
}

/*
 * The kernel may move pages of a NUMA node on its own account once they are
 * touched (NUMA balancing), so there is nothing to insist on.
 */
static enum place unless_numa(const struct demo *d, enum place where)
{
	return d->gpu.memory_kind == UVM_MEMORY_NUMA ? ANYWHERE : where;
}

/*
 * Steps
 */

static int open_file(struct demo *d)
{
	struct stat st;
	int fd;

	fd = open(d->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail("%s: %s: name a file that can be read", d->path,
			    strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
	    (uint64_t)st.st_size > SIZE_MAX / 4) {
		close(fd);
		return fail("%s is no ordinary file with something in it: name one, best of 8 MiB or more",
			    d->path);
	}
	d->length = st.st_size;
	return fd;
}

static int read_all(struct demo *d, int fd)
{
	size_t at = 0;

	while (at < d->length) {
		size_t part = d->length - at;
		ssize_t n;

		n = read(fd, d->data + at, part < IO_PART ? part : IO_PART);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail("%s: %s", d->path, strerror(errno));
		if (!n)
			return fail("%s became shorter while it was read: name a file that nobody writes",
				    d->path);
		at += n;
		progress(at * 100.0 / d->length);
	}
	return 0;
}

/* Where ordinary memory can't go to private memory, managed memory can. */
static int choose_memory(struct demo *d)
{
	struct uvm_info info;
	int ret;

	ret = uvm_get_info(d->ctx, &info);
	if (ret)
		return fail_call("can't ask the driver", UVM_CMD_INFO, ret);
	d->managed = d->gpu.memory_kind == UVM_MEMORY_PRIVATE &&
		     !(info.out_features & UVM_FEATURE_DEVICE_PRIVATE) &&
		     info.out_features & UVM_FEATURE_MANAGED;
	return 0;
}

static void *allocate_data(struct demo *d, size_t size)
{
	void *p = NULL;

	if (!d->managed)
		return malloc(size);
	return uvm_managed_alloc(d->ctx, size, &p) ? NULL : p;
}

static int allocate(struct demo *d)
{
	size_t page = uvm_page_size(d->ctx);
	size_t room = d->length > OWN_PAGES ? d->length : OWN_PAGES;
	void *base;

	d->room = room;

#ifdef M_MMAP_THRESHOLD
	/* It is the default, but glibc raises that with use. */
	mallopt(M_MMAP_THRESHOLD, OWN_PAGES / 2);
#endif
	d->data = allocate_data(d, room);
	d->plain = malloc(room);
	if (!d->data || !d->plain)
		goto nomem;
	d->span = uvm_page_span(d->ctx, d->data, d->length, &base);
	d->base = base;
	d->pages = d->span / page;
	d->state = calloc(d->pages, sizeof(*d->state));
	if (!d->state)
		goto nomem;
	d->gpu_results = aligned_alloc(page, (sizeof(*d->gpu_results) + page - 1) /
					     page * page);
	if (!d->gpu_results)
		goto nomem;
	memset(d->gpu_results, 0, sizeof(*d->gpu_results));
	d->gpu_results->crc = ~0ULL;
	return 0;

nomem:
	return fail("no memory for two copies of %.1f MiB: name a smaller file",
		    d->length / MIB);
}

static void release(struct demo *d)
{
	if (d->managed && d->data)
		uvm_managed_free(d->ctx, d->data, d->room);
	else
		free(d->data);
	uvm_close(d->ctx);
	free(d->plain);
	free(d->state);
	free(d->gpu_results);
}

static int find_gpu(struct demo *d, const char *which)
{
	int ret;

	ret = uvm_open(&d->ctx);
	if (ret)
		return fail_call("can't open the driver", UVM_CMD_OPEN, ret);
	ret = uvm_find_gpu(d->ctx, which, &d->gpu);
	if (ret)
		return fail_call(which ? which : "no GPU", UVM_CMD_ENUM_GPUS,
				 ret);
	return 0;
}

static int load(struct demo *d)
{
	int fd, ret;

	fd = open_file(d);
	if (fd < 0)
		return -1;
	ret = allocate(d);
	if (ret)
		goto out;

	printf("%s: %zu bytes, on %zu pages of %s memory\n", d->path, d->length,
	       d->pages, d->managed ? "managed" : "malloc");
	printf("GPU \"%.*s\": %s memory, %.1f MiB\n\n", UVM_NAME_LEN,
	       d->gpu.name, uvm_memory_kind_name(d->gpu.memory_kind),
	       d->gpu.memory_size / MIB);
	printf("%-30s %8s %8s %8s %9s\n", "step", "pages", "on CPU", "on GPU",
	       "MiB/s");

	progress_begin("reading the file");
	ret = read_all(d, fd);
	if (!ret)
		ret = report(d, "read the file", d->length, progress_end(),
			     ON_CPU, d->pages);
out:
	close(fd);
	return ret;
}

static int compute_on_cpu(struct demo *d)
{
	memcpy(d->plain, d->data, d->length);

	progress_begin("computing on the CPU");
	cpu_histogram(d->data, d->length, d->cpu_results.counters);
	d->cpu_results.crc = cpu_crc32c(d->data, d->length);
	return report(d, "CPU: histogram, CRC-32C", d->length, progress_end(),
		      ON_CPU, d->pages);
}

static int register_gpu(struct demo *d)
{
	int ret;

	ret = uvm_register_gpu(d->ctx, d->gpu.uuid, NULL);
	if (ret)
		return fail_call("can't register the GPU", UVM_CMD_REGISTER_GPU,
				 ret);
	ret = uvm_channel_create(d->ctx, d->gpu.uuid, &d->channel);
	if (ret)
		return fail_call("can't make a channel", UVM_CMD_CHANNEL_CREATE,
				 ret);
	return 0;
}

static int unregister_gpu(struct demo *d)
{
	int ret;

	ret = uvm_channel_destroy(d->ctx, d->channel);
	if (ret)
		return fail_call("can't destroy the channel",
				 UVM_CMD_CHANNEL_DESTROY, ret);
	ret = uvm_unregister_gpu(d->ctx, d->gpu.uuid);
	if (ret)
		return fail_call("can't unregister the GPU",
				 UVM_CMD_UNREGISTER_GPU, ret);
	return 0;
}

static int migrate_part(struct demo *d, enum place where, uint8_t *base,
			size_t length, struct uvm_migrate_result *result)
{
	if (where == ON_GPU)
		return uvm_migrate_to_gpu(d->ctx, d->gpu.uuid, base, length,
					  result);
	return uvm_migrate_to_cpu(d->ctx, base, length, result);
}

static int fail_skipped(const struct uvm_migrate_result *result)
{
	for (unsigned int i = 0; i < UVM_SKIP_SLOTS; i++)
		if (result->skipped[i])
			return fail("%" PRIu64 " pages stayed where they were: %s%s",
				    result->skipped[i], uvm_skip_name(i),
				    i == UVM_SKIP_NO_MEMORY ?
				    "; name a smaller file or another GPU" : "");
	return -1;
}

/* Moves all pages; those that were busy get another chance. */
static int migrate_all(struct demo *d, enum place where, size_t *moved)
{
	*moved = 0;
	for (size_t at = 0; at < d->span; at += MIGRATE_PART) {
		size_t part = d->span - at;
		struct uvm_migrate_result result;
		int ret, tries = 0;

		if (part > MIGRATE_PART)
			part = MIGRATE_PART;
		do {
			ret = migrate_part(d, where, d->base + at, part,
					   &result);
			if (ret)
				return fail_call("can't migrate",
						 UVM_CMD_MIGRATE, ret);
			if (result.done != part)
				return fail("the driver dealt with %" PRIu64 " of %zu bytes, and says that all is well",
					    result.done, part);
			*moved += result.moved;
		} while (result.skipped[UVM_SKIP_BUSY] &&
			 ++tries < MIGRATE_TRIES);
		if (uvm_migrate_skipped(&result))
			return fail_skipped(&result);
		progress((at + part) * 100.0 / d->span);
	}
	return 0;
}

static int migrate_and_report(struct demo *d, enum place where,
			      const char *doing, const char *step)
{
	size_t moved, expected;
	double seconds;

	/* What is there already isn't moved again. */
	if (query(d))
		return -1;
	expected = d->pages - count(d, where, d->pages);

	progress_begin(doing);
	if (migrate_all(d, where, &moved))
		return -1;
	seconds = progress_end();
	if (report(d, step, moved * uvm_page_size(d->ctx), seconds, where,
		   d->pages))
		return -1;
	/* Of a NUMA node the kernel may have moved some meanwhile. */
	if (moved != expected && d->gpu.memory_kind != UVM_MEMORY_NUMA)
		return fail("the driver says that it moved %zu pages, but %zu were elsewhere",
			    moved, expected);
	return 0;
}

static int fail_channel(struct demo *d)
{
	struct uvm_channel_query query;
	int ret;

	ret = uvm_channel_query(d->ctx, d->channel, &query);
	if (ret)
		return fail_call("can't query the channel",
				 UVM_CMD_CHANNEL_QUERY, ret);
	if (query.out_state == UVM_CHANNEL_FAULTED)
		return fail("the GPU could not %s %#" PRIx64 ": %s",
			    uvm_access_name(query.out_access),
			    (uint64_t)query.out_address,
			    uvm_fault_reason_name(query.out_reason));
	return fail("the GPU's channel %s (state %s, address %#" PRIx64 "): see the kernel log (dmesg)",
		    query.out_state == UVM_CHANNEL_RUNNING ? "hangs" : "stopped",
		    uvm_channel_state_name(query.out_state),
		    (uint64_t)query.out_address);
}

static int run(struct demo *d, const struct uvm_sim_cmd *cmds, size_t bytes)
{
	uint64_t seconds = GPU_SECONDS + d->length / GPU_BYTES_PER_SECOND;
	uint64_t point;
	int ret;

	ret = uvm_channel_submit(d->ctx, d->channel, cmds, bytes, &point);
	if (ret)
		return fail_call("can't submit", UVM_CMD_CHANNEL_SUBMIT, ret);
	while (seconds--) {
		ret = uvm_wait(d->ctx, d->channel, point, 1000000000, NULL);
		if (ret != -ETIMEDOUT)
			break;
		progress(-1);
	}
	if (ret == -ETIMEDOUT || ret == -ECANCELED)
		return fail_channel(d);
	if (ret)
		return fail_call("can't wait for the GPU", UVM_CMD_WAIT, ret);
	return 0;
}

static int compare_results(const struct demo *d)
{
	const struct results *gpu = d->gpu_results;
	const struct results *cpu = &d->cpu_results;

	for (int i = 0; i < 256; i++)
		if (gpu->counters[i] != cpu->counters[i])
			return fail("the GPU counted byte %#04x %" PRIu64 " times, the CPU %" PRIu64,
				    i, gpu->counters[i], cpu->counters[i]);
	if (gpu->crc != cpu->crc)
		return fail("the GPU's CRC-32C is %#010" PRIx64 ", the CPU's %#010" PRIx64,
			    gpu->crc, cpu->crc);
	return 0;
}

static int compute_on_gpu(struct demo *d)
{
	const struct uvm_sim_cmd cmds[] = {
		uvm_sim_histogram(d->gpu_results->counters, d->data, d->length),
		uvm_sim_crc32c(&d->gpu_results->crc, d->data, d->length),
	};

	progress_begin("computing on the GPU");
	if (run(d, cmds, sizeof(cmds)))
		return -1;
	if (report(d, "GPU: histogram, CRC-32C", d->length, progress_end(),
		   unless_numa(d, ON_GPU), d->pages))
		return -1;
	return compare_results(d);
}

static int change_on_gpu(struct demo *d)
{
	const struct uvm_sim_cmd cmd = uvm_sim_xor(d->data, d->length, KEY_SEED);

	progress_begin("XOR on the GPU");
	if (run(d, &cmd, sizeof(cmd)))
		return -1;
	return report(d, "GPU: XOR with a key stream", d->length,
		      progress_end(), unless_numa(d, ON_GPU), d->pages);
}

/* Checks the first @length bytes against what the GPU should have made of them. */
static int check_bytes(const struct demo *d, size_t length)
{
	for (size_t from = 0; from < length; from += IO_PART) {
		size_t to = length - from < IO_PART ? length : from + IO_PART;
		size_t at;

		at = cpu_check_xor(d->data, d->plain, from, to, KEY_SEED);
		if (at != to)
			return fail("byte %zu is %#04x, and should be %#04x after the GPU's XOR (the file has %#04x)",
				    at, d->data[at],
				    d->plain[at] ^ cpu_key_byte(KEY_SEED, at),
				    d->plain[at]);
		progress(to * 100.0 / length);
	}
	return 0;
}

static int read_half(struct demo *d)
{
	size_t half = d->length - d->length / 2;
	size_t page = uvm_page_size(d->ctx);
	bool faults = d->gpu.memory_kind == UVM_MEMORY_PRIVATE;
	double seconds;
	size_t touched;

	progress_begin("reading half on the CPU");
	if (check_bytes(d, half))
		return -1;
	seconds = progress_end();

	touched = (d->data + half - d->base + page - 1) / page;
	if (faults)
		return report(d, "CPU reads half, by page fault", half, seconds,
			      ON_CPU, touched);
	return report(d, "CPU reads half, in place", half, seconds,
		      unless_numa(d, ON_GPU), d->pages);
}

static int check_all(struct demo *d)
{
	progress_begin("checking on the CPU");
	if (check_bytes(d, d->length))
		return -1;
	return report(d, "CPU: check every byte", d->length, progress_end(),
		      ON_CPU, d->pages);
}

static int demonstrate(struct demo *d, const char *which)
{
	if (find_gpu(d, which) ||
	    choose_memory(d) ||
	    load(d) ||
	    compute_on_cpu(d) ||
	    register_gpu(d) ||
	    migrate_and_report(d, ON_GPU, "migrating to the GPU",
			       "migrate to the GPU") ||
	    compute_on_gpu(d) ||
	    change_on_gpu(d) ||
	    read_half(d) ||
	    migrate_and_report(d, ON_CPU, "migrating to the CPU",
			       "migrate the rest back") ||
	    check_all(d) ||
	    unregister_gpu(d))
		return -1;

	printf("\nMiB/s depend on the machine, and for the software GPU on its CPU.\n");
	printf("PASS: %zu bytes went to the GPU and back; histogram, CRC-32C %08" PRIx64 " and every byte are right\n",
	       d->length, d->cpu_results.crc);
	return 0;
}

int cmd_demo(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_sigbus };
	struct demo d = { .path = NULL };
	const char *which = NULL;
	int ret;

	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--gpu=", 6) && argv[i][6]) {
			which = argv[i] + 6;
		} else if (argv[i][0] != '-' && !d.path) {
			d.path = argv[i];
		} else {
			fprintf(stderr, "uvmctl: demo doesn't take %s\n\n",
				argv[i]);
			return EXIT_USAGE;
		}
	}
	if (!d.path) {
		fprintf(stderr, "uvmctl: demo needs a file\n\n");
		return EXIT_USAGE;
	}

	sigaction(SIGBUS, &act, NULL);
	ret = demonstrate(&d, which);
	release(&d);
	return ret ? EXIT_FAILED : EXIT_OK;
}
