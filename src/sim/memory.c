// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: Memory
 *
 * Owns the GPU's own memory, and answers where an engine's address leads.
 *
 * - Private memory is one vmalloc area, allocated whole at probe, so that no
 *   engine ever allocates. It starts out as garbage, as memory does.
 * - Coherent memory is a physical range. The core adds it to the linear map
 *   (memremap_pages()) before it hands out the first device address, so its CPU
 *   address is only computed here, and first used after that.
 * - A NUMA node has no device addresses: its pages are system memory.
 *
 * The memory of a peer is found as its own would be.
 *
 * All kernels this can run on are 64-bit, where each page has a linear address,
 * and so a system page needs no kmap. No locks.
 */

#include <linux/device.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "sim.h"

#define SIM_GARBAGE	0xdb

static_assert(PAGE_SIZE == SIM_PAGE_SIZE, "the GPU's pages are the kernel's");
static_assert(IS_ENABLED(CONFIG_64BIT), "system pages need linear addresses");

int sim_memory_init(struct sim_gpu *gpu)
{
	const struct sim_config *config = &gpu->config;

	switch (config->kind) {
	case UVM_MEMORY_PRIVATE:
		gpu->memory = vmalloc_node(config->size, dev_to_node(gpu->dev));
		if (!gpu->memory)
			return -ENOMEM;
		memset(gpu->memory, SIM_GARBAGE, config->size);
		return 0;
	case UVM_MEMORY_COHERENT:
		gpu->memory = phys_to_virt(config->base);
		return 0;
	case UVM_MEMORY_NUMA:
		return 0;
	}
	return -EINVAL;
}

void sim_memory_fini(struct sim_gpu *gpu)
{
	if (gpu->config.kind == UVM_MEMORY_PRIVATE)
		vfree(gpu->memory);
}

static const char * const aperture_names[] = {
	[UVM_APERTURE_DEVICE] = "device",
	[UVM_APERTURE_SYSTEM] = "DMA",
	[UVM_APERTURE_PEER] = "peer",
};

static void *device_memory_at(struct sim_gpu *gpu, u64 addr, u32 len)
{
	const u64 size = gpu->config.size;

	if (!gpu->memory || addr >= size || len > size - addr)
		return NULL;
	return gpu->memory + addr;
}

/**
 * sim_memory_at() - resolve an address that an engine put on the bus
 * @gpu: the GPU
 * @addr: device address, DMA address or device address of a peer
 * @len: bytes wanted; cut to what is contiguous from @addr on, which is at least
 *	the rest of the page
 * @target: which of them
 * @write: the access is a store
 *
 * Context: an RCU section that lasts until the access is over, for a peer may go.
 *
 * Return: the CPU address, or NULL if there is nothing, or no right. That is
 * always a driver's error, so it is logged.
 */
void *sim_memory_at(struct sim_gpu *gpu, u64 addr, u32 *len,
		    struct sim_target target, bool write)
{
	struct sim_gpu *owner = gpu;
	void *p;

	if (target.aperture == UVM_APERTURE_PEER)
		owner = sim_peer_find(target.peer);
	if (target.aperture == UVM_APERTURE_SYSTEM)
		p = sim_iommu_lookup(&gpu->iommu, addr, len, write);
	else
		p = owner ? device_memory_at(owner, addr, *len) : NULL;
	if (likely(p))
		return p;

	sim_count(gpu, SIM_STAT_BAD_ACCESSES, 1);
	dev_err_ratelimited(gpu->dev, "%s: bad %s of %s address %#llx\n",
			    gpu->config.name, write ? "write" : "read",
			    aperture_names[target.aperture], addr);
	return NULL;
}
