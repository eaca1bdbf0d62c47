// SPDX-License-Identifier: MIT
/*
 * uvmctl topology: who can do what with whose memory.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uvmctl.h"

struct group {
	const char *title;
	bool private;
};

/* GPUs of one group can be registered together. */
static const struct group groups[] = {
	{ "GPUs whose memory the CPU can't address", true },
	{ "GPUs whose memory the CPU can address", false },
};

static bool in_group(const struct group *group, const struct uvm_gpu_info *gpu)
{
	return (gpu->memory_kind == UVM_MEMORY_PRIVATE) == group->private;
}

/* Index in the list of GPUs, which is what people call them by. */
static int index_of(const struct uvm_processor *p, const struct uvm_gpu_info *gpus,
		    unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (!memcmp(p->uuid, gpus[i].uuid, UVM_UUID_LEN))
			return i;
	return -1;
}

static void print_cell(const struct uvm_processor *p, unsigned int of)
{
	printf("  %c%c%c", p->access >> of & 1 ? 'a' : '-',
	       p->copy >> of & 1 ? 'c' : '-', p->reach >> of & 1 ? 'r' : '-');
}

static void print_table(const struct uvm_processor *p, unsigned int nr,
			const struct uvm_gpu_info *gpus, unsigned int count)
{
	printf("  %-28s  CPU", "");
	for (unsigned int i = 1; i < nr; i++)
		printf("  %3d", index_of(&p[i], gpus, count));
	printf("\n");
	for (unsigned int i = 0; i < nr; i++) {
		int index = i ? index_of(&p[i], gpus, count) : -1;
		char name[UVM_NAME_LEN + 16] = "CPU";

		if (i && index >= 0)
			snprintf(name, sizeof(name), "%d: %.*s", index,
				 UVM_NAME_LEN, gpus[index].name);
		else if (i)
			snprintf(name, sizeof(name), "id %u", p[i].id);
		printf("  %-28s", name);
		for (unsigned int of = 0; of < nr; of++)
			print_cell(&p[i], of);
		printf("\n");
	}
}

static int register_group(struct uvm_ctx *ctx, const struct group *group,
			  const struct uvm_gpu_info *gpus, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		int ret;

		if (!in_group(group, &gpus[i]))
			continue;
		ret = uvm_register_gpu(ctx, gpus[i].uuid, NULL);
		if (ret) {
			complain("can't register a GPU", UVM_CMD_REGISTER_GPU, ret);
			return EXIT_FAILED;
		}
	}
	return EXIT_OK;
}

static void unregister_group(struct uvm_ctx *ctx, const struct group *group,
			     const struct uvm_gpu_info *gpus, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (in_group(group, &gpus[i]))
			uvm_unregister_gpu(ctx, gpus[i].uuid);
}

static int show_group(struct uvm_ctx *ctx, const struct group *group,
		      const struct uvm_gpu_info *gpus, unsigned int count)
{
	struct uvm_processor *processors;
	unsigned int nr;
	int ret, status;

	status = register_group(ctx, group, gpus, count);
	if (status)
		goto out;
	ret = uvm_query_processors(ctx, &processors, &nr);
	if (ret) {
		complain("can't ask for the processors", UVM_CMD_QUERY_PROCESSORS,
			 ret);
		status = EXIT_FAILED;
		goto out;
	}
	if (nr > 1) {
		printf("%s\n", group->title);
		print_table(processors, nr, gpus, count);
		printf("\n");
	}
	free(processors);
out:
	unregister_group(ctx, group, gpus, count);
	return status;
}

int cmd_topology(int argc, char **argv)
{
	struct uvm_gpu_info *gpus;
	struct uvm_ctx *ctx;
	unsigned int count;
	int ret, status = EXIT_OK;

	if (!no_arguments(argc, argv))
		return EXIT_USAGE;

	ret = uvm_open(&ctx);
	if (ret) {
		complain("can't open the driver", UVM_CMD_OPEN, ret);
		return EXIT_FAILED;
	}
	ret = uvm_enum_gpus(ctx, &gpus, &count);
	if (ret) {
		complain("can't list the GPUs", UVM_CMD_ENUM_GPUS, ret);
		uvm_close(ctx);
		return EXIT_FAILED;
	}

	for (size_t i = 0; i < ARRAY_SIZE(groups) && !status; i++)
		status = show_group(ctx, &groups[i], gpus, count);
	uvm_close(ctx);
	free(gpus);
	if (status)
		return status;
	if (count)
		printf("A row is who, a column whose memory:\n"
		       "  a  loads from it and stores to it in place\n"
		       "  c  copies from it with one copy engine\n"
		       "  r  pages can come from it\n");
	else
		fprintf(stderr,
			"uvmctl: there is no GPU: load a GPU's driver (modprobe uvm_sim gives a software GPU)\n");
	return EXIT_OK;
}
