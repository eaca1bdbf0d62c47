// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Processors
 *
 * Owns the rules of who can do what with whose memory: the CPU and the GPUs of a VA
 * space. They follow from the kinds of memory alone, so nothing is kept. NULL stands
 * for the CPU and its memory.
 *
 * A GPU reaches the system's memory, and that of a GPU that is a NUMA node, by the DMA
 * API; it reaches its own memory. It reaches the own memory of another GPU if its
 * backend says so; else pages go from one to the other by way of the system's.
 */
#include "core.h"

#include <linux/slab.h>
#include <linux/uaccess.h>

/* The CPU, and as many GPUs as there can be. */
#define UVM_MAX_PROCESSORS	(UVM_MAX_GPUS + 1)

/* Is its memory the system's? */
static bool uvm_is_system(const struct uvm_gpu *gpu)
{
	return !gpu || uvm_gpu_is_numa(gpu);
}

static bool uvm_is_cpu_addressable(const struct uvm_gpu *gpu)
{
	return !gpu || gpu->desc.memory_kind != UVM_MEMORY_PRIVATE;
}

/**
 * uvm_is_peer() - does a GPU reach the own memory of another?
 * @who: the GPU
 * @whose: the other
 *
 * What is told of a GPU that goes away is that it doesn't, so that nobody gets at its
 * memory any more. Asked in a look at the mirror, inside uvm_engines_hold(), or of GPUs
 * of GPU spaces: its backend waits for all of them.
 *
 * Return: true if its entries and copies may name that memory.
 */
bool uvm_is_peer(struct uvm_gpu *who, struct uvm_gpu *whose)
{
	const struct uvm_gpu_ops *ops = who->desc.ops;

	return who != whose && !uvm_is_system(who) && !uvm_is_system(whose) &&
	       !READ_ONCE(whose->dead) && ops->peer_access && ops->peer_access(who, whose);
}

/* Does @who load from and store to the memory of @whose, in place? */
static bool uvm_can_access(struct uvm_gpu *who, struct uvm_gpu *whose)
{
	if (!who)
		return uvm_is_cpu_addressable(whose);
	return who == whose || uvm_is_system(whose) || uvm_is_peer(who, whose);
}

/*
 * Is there one engine that copies from @whose to @who? System to system the CPU does
 * it. Between system memory and a GPU's own, it is that GPU's.
 */
static bool uvm_can_copy(struct uvm_gpu *who, struct uvm_gpu *whose)
{
	return who == whose || uvm_is_system(who) || uvm_is_system(whose) ||
	       uvm_is_peer(who, whose);
}

/**
 * uvm_gpus_mix() - may both be in one VA space?
 * @a: a GPU
 * @b: another
 *
 * With both kinds in one VA space nobody could say whether the CPU's touch moves a
 * page.
 *
 * Return: true if the CPU can address the memory of both, or of neither.
 */
bool uvm_gpus_mix(const struct uvm_gpu *a, const struct uvm_gpu *b)
{
	return uvm_is_cpu_addressable(a) == uvm_is_cpu_addressable(b);
}

static void uvm_processor_fill(struct uvm_processor *p, const struct uvm_gpu *gpu)
{
	memset(p, 0, sizeof(*p));
	p->id = UVM_PROCESSOR_CPU;
	p->nearest_node = NUMA_NO_NODE;
	if (!gpu)
		return;
	memcpy(p->uuid, gpu->desc.uuid, UVM_UUID_LEN);
	p->id = gpu->id;
	p->nearest_node = uvm_gpu_nearest_node(gpu);
}

static void uvm_processors_relate(struct uvm_processor *p,
				  struct uvm_gpu **gpus, unsigned int nr)
{
	unsigned int i, j;

	for (i = 0; i < nr; i++) {
		for (j = 0; j < nr; j++) {
			if (uvm_can_access(gpus[i], gpus[j]))
				p[i].access |= BIT_ULL(j);
			if (uvm_can_copy(gpus[i], gpus[j]))
				p[i].copy |= BIT_ULL(j);
			/* By way of the system's memory, if need be. */
			p[i].reach |= BIT_ULL(j);
		}
	}
}

/* Returns how many there are. */
static unsigned int uvm_processors_get(struct uvm_va_space *vs,
				       struct uvm_processor *p)
{
	struct uvm_gpu *gpus[UVM_MAX_PROCESSORS];
	struct uvm_gpu_space *gs;
	unsigned int i, nr = 0;
	unsigned long id;

	gpus[nr++] = NULL;
	/* While they are in the table, GPU spaces keep their GPUs. */
	down_read(&vs->lock);
	xa_for_each(&vs->gpu_spaces, id, gs)
		if (nr < UVM_MAX_PROCESSORS)
			gpus[nr++] = gs->gpu;
	for (i = 0; i < nr; i++)
		uvm_processor_fill(&p[i], gpus[i]);
	uvm_processors_relate(p, gpus, nr);
	up_read(&vs->lock);
	return nr;
}

/**
 * uvm_query_processors_ioctl() - UVM_QUERY_PROCESSORS
 * @ucmd: on a VA space, also one whose mm was released
 *
 * Return: 0, -EINVAL, -EFAULT, -ENOMEM.
 */
int uvm_query_processors_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_query_processors *cmd = ucmd->cmd;
	struct uvm_processor *p;
	unsigned int i, nr;
	int ret = 0;

	if (!cmd->entry_size || cmd->entry_size > SZ_4K)
		return -EINVAL;
	p = kcalloc(UVM_MAX_PROCESSORS, sizeof(*p), GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	nr = uvm_processors_get(ucmd->vs, p);
	for (i = 0; !ret && i < min(nr, cmd->count); i++)
		ret = uvm_copy_entry(u64_to_user_ptr(cmd->processors +
						     (u64)i * cmd->entry_size),
				     cmd->entry_size, &p[i], sizeof(*p));
	cmd->out_count = nr;
	kfree(p);
	return ret;
}
