// SPDX-License-Identifier: MIT
/*
 * uvmctl info, uvmctl gpus: what the driver says of itself.
 */
#include <stdio.h>
#include <stdlib.h>

#include "uvmctl.h"

static const struct {
	uint64_t bit;
	const char *text;
} features[] = {
	{ UVM_FEATURE_DEVICE_PRIVATE, "device-private memory" },
	{ UVM_FEATURE_DEVICE_COHERENT, "device-coherent memory" },
	{ UVM_FEATURE_NUMA_DESTINATION, "NUMA nodes as destinations" },
	{ UVM_FEATURE_MULTI_PROCESS, "VA spaces of many processes" },
	{ UVM_FEATURE_READ_DUPLICATION, "copies of read-mostly pages" },
	{ UVM_FEATURE_SYSTEM_ATOMICS, "atomics on system memory" },
	{ UVM_FEATURE_HUGE_PAGES, "huge pages in private memory" },
	{ UVM_FEATURE_MANAGED, "managed memory" },
};

static void print_features(uint64_t mask)
{
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		printf("  %-28s %s\n", features[i].text,
		       mask & features[i].bit ? "yes" : "no");
}

int cmd_info(int argc, char **argv)
{
	struct uvm_info info;
	struct uvm_ctx *ctx;
	int ret;

	if (!no_arguments(argc, argv))
		return EXIT_USAGE;

	ret = uvm_open(&ctx);
	if (ret) {
		complain("can't open the driver", UVM_CMD_OPEN, ret);
		return EXIT_FAILED;
	}
	ret = uvm_get_info(ctx, &info);
	uvm_close(ctx);
	if (ret) {
		complain("can't get its description", UVM_CMD_INFO, ret);
		return EXIT_FAILED;
	}

	printf("interface version %u\n", info.out_version);
	printf("limits\n");
	printf("  %-28s %u\n", "bytes in a page", info.out_page_size);
	printf("  %-28s %u\n", "GPUs", info.out_max_gpus);
	printf("  %-28s %u\n", "channels of a process", info.out_max_channels);
	printf("  %-28s %u\n", "bytes in one submission", info.out_max_submit);
	printf("  %-28s %u\n", "pages in one residency query",
	       info.out_max_query);
	printf("features\n");
	print_features(info.out_features);
	return EXIT_OK;
}

static void print_uuid(const uint8_t uuid[UVM_UUID_LEN])
{
	for (int i = 0; i < UVM_UUID_LEN; i++)
		printf("%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
		       uuid[i]);
}

static void print_node(const char *name, int node)
{
	if (node >= 0)
		printf("  %s %d\n", name, node);
}

static void print_page_sizes(uint64_t sizes)
{
	printf("  page sizes ");
	for (int bit = 0; bit < 64; bit++) {
		if (!(sizes >> bit & 1))
			continue;
		if (bit >= 20)
			printf(" %llu MiB", 1ULL << (bit - 20));
		else
			printf(" %.4g KiB", (double)(1ULL << bit) / 1024);
	}
	printf("\n");
}

static void print_gpu(unsigned int index, const struct uvm_gpu_info *gpu)
{
	printf("%u: %.*s\n", index, UVM_NAME_LEN, gpu->name);
	printf("  id %u, uuid ", gpu->id);
	print_uuid(gpu->uuid);
	printf("\n  memory %s, %.1f MiB", uvm_memory_kind_name(gpu->memory_kind),
	       gpu->memory_size / MIB);
	if (gpu->memory_kind != UVM_MEMORY_NUMA)
		printf(", %.1f MiB free", gpu->memory_free / MIB);
	printf("\n");
	print_node("memory is node", gpu->numa_node);
	print_node("nearest node", gpu->nearest_node);
	print_page_sizes(gpu->page_sizes);
	printf("  %u-bit virtual addresses, %u copy engine%s\n", gpu->va_bits,
	       gpu->copy_engines, gpu->copy_engines == 1 ? "" : "s");
}

int cmd_gpus(int argc, char **argv)
{
	struct uvm_gpu_info *gpus;
	struct uvm_ctx *ctx;
	unsigned int count;
	int ret;

	if (!no_arguments(argc, argv))
		return EXIT_USAGE;

	ret = uvm_open(&ctx);
	if (ret) {
		complain("can't open the driver", UVM_CMD_OPEN, ret);
		return EXIT_FAILED;
	}
	ret = uvm_enum_gpus(ctx, &gpus, &count);
	uvm_close(ctx);
	if (ret) {
		complain("can't list the GPUs", UVM_CMD_ENUM_GPUS, ret);
		return EXIT_FAILED;
	}

	for (unsigned int i = 0; i < count; i++)
		print_gpu(i, &gpus[i]);
	if (!count)
		fprintf(stderr,
			"uvmctl: there is no GPU: load a GPU's driver (modprobe uvm_sim gives a software GPU)\n");
	free(gpus);
	return EXIT_OK;
}
