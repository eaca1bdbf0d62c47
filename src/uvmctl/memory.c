// SPDX-License-Identifier: MIT
/*
 * uvmctl memory: what becomes of the GPUs' memory, and who has it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uvmctl.h"

static void print_size(const char *name, uint64_t bytes)
{
	printf("  %-13s  %10.1f MiB\n", name, bytes / MIB);
}

static void print_pages(const char *name, uint64_t pages)
{
	printf("  %-13s  %10llu pages\n", name, (unsigned long long)pages);
}

static void print_memory(const struct uvm_gpu_info *gpu,
			 const struct uvm_query_memory *q)
{
	printf("%.*s  id %u\n", UVM_NAME_LEN, gpu->name, gpu->id);
	print_size("total", q->out_total);
	print_size("used", q->out_used);
	print_size("free", q->out_free);
	print_size("largest-free", q->out_largest_free);
	print_size("evictable", q->out_evictable);
	print_size("pinned", q->out_pinned);
	print_pages("evicted", q->out_evicted);
	print_pages("refaulted", q->out_refaulted);
	printf("  %-13s  %10.1f %%\n", "thrash", q->out_thrash / 10.0);
}

/* One by one, since not all of them can be registered together. */
static int show_gpu(struct uvm_ctx *ctx, const struct uvm_gpu_info *gpu)
{
	struct uvm_query_memory q;
	int ret;

	ret = uvm_register_gpu(ctx, gpu->uuid, NULL);
	if (ret) {
		complain("can't register a GPU", UVM_CMD_REGISTER_GPU, ret);
		return ret;
	}
	ret = uvm_query_memory(ctx, gpu->uuid, &q);
	if (ret)
		complain("can't ask for a GPU's memory", UVM_CMD_QUERY_MEMORY, ret);
	else
		print_memory(gpu, &q);
	uvm_unregister_gpu(ctx, gpu->uuid);
	return ret;
}

int show_gpu_memory(void)
{
	struct uvm_gpu_info *gpus = NULL;
	unsigned int count = 0;
	struct uvm_ctx *ctx;
	int ret;

	ret = uvm_open(&ctx);
	if (ret) {
		complain("can't open the driver", UVM_CMD_OPEN, ret);
		return EXIT_FAILED;
	}
	ret = uvm_enum_gpus(ctx, &gpus, &count);
	if (ret)
		complain("can't list the GPUs", UVM_CMD_ENUM_GPUS, ret);
	/* The memory that is a node is the system's: its own tools tell of it. */
	for (unsigned int i = 0; i < count && !ret; i++)
		if (gpus[i].memory_kind != UVM_MEMORY_NUMA)
			ret = show_gpu(ctx, &gpus[i]);
	free(gpus);
	uvm_close(ctx);
	return ret ? EXIT_FAILED : EXIT_OK;
}

static void print_bytes(unsigned long long bytes, const char *none)
{
	if (bytes || !none)
		printf("  %10.1f", bytes / MIB);
	else
		printf("  %10s", none);
}

int print_memory_users(FILE *in)
{
	unsigned long long used, limit, reserved, evicted, refaulted;
	char line[200], name[20];
	int pid, end, count = 0;
	unsigned int gpu;

	if (!fgets(line, sizeof(line), in) || strncmp(line, "pid gpu ", 8))
		return -1;
	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "%d %u %llu %llu %llu %llu %llu %n", &pid, &gpu, &used,
			   &limit, &reserved, &evicted, &refaulted, &end) != 7 ||
		    line[end])
			return -1;
		if (!count++)
			printf("%8s  %-15s  %5s  %10s  %10s  %10s  %10s  %10s\n", "PID",
			       "PROGRAM", "GPU", "USED/MIB", "LIMIT", "RESERVED",
			       "EVICTED", "REFAULTED");
		program_of(pid, name, sizeof(name));
		printf("%8d  %-15s  %5u", pid, name, gpu);
		print_bytes(used, NULL);
		print_bytes(limit, "-");
		print_bytes(reserved, "-");
		printf("  %10llu  %10llu\n", evicted, refaulted);
	}
	if (!count)
		printf("no process has a GPU's memory\n");
	return ferror(in) ? -1 : 0;
}

int cmd_memory(int argc, char **argv)
{
	int status;

	if (!no_arguments(argc, argv))
		return EXIT_USAGE;
	status = show_gpu_memory();
	return status ? status : print_debugfs("memory", print_memory_users);
}
