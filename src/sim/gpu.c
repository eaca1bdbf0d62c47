// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: A GPU
 *
 * Puts one GPU together on a device, presents it to the core, and takes it apart
 * again when the device goes. The core pins this module while it uses a GPU, so
 * at rmmod nothing is left to wait for but fences in release. No locks.
 */

#include <linux/device.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/numa.h>
#include <linux/slab.h>

#include "sim.h"

static int sim_reset(struct uvm_gpu *core, int scope, unsigned int engine)
{
	struct sim_gpu *gpu = uvm_gpu_priv(core);
	unsigned int i;

	if (sim_knob_fires(&gpu->reset_fails))
		return -EIO;
	sim_count(gpu, SIM_STAT_RESETS, 1);
	if (scope == UVM_RESET_ENGINE) {
		if (engine >= gpu->nr_ces)
			return -EIO;
		sim_ce_reset(&gpu->ces[engine]);
		return 0;
	}
	sim_channels_fail(gpu);
	for (i = 0; i < gpu->nr_ces; i++)
		sim_ce_reset(&gpu->ces[i]);
	return 0;
}

static const struct uvm_gpu_ops sim_gpu_ops = {
	.as_create = sim_as_create,
	.as_destroy = sim_as_destroy,
	.map_prepare = sim_map_prepare,
	.map = sim_map,
	.unmap = sim_unmap,
	.tlb_invalidate = sim_tlb_invalidate,
	.harvest = sim_harvest,
	.copy = sim_copy,
	.peer_access = sim_peer_access,
	.channel_create = sim_channel_create,
	.channel_submit = sim_channel_submit,
	.channel_stop = sim_channel_stop,
	.channel_destroy = sim_channel_destroy,
	.fault_fetch = sim_fault_fetch,
	.fault_replay = sim_fault_replay,
	.fault_cancel = sim_fault_cancel,
	.counter_enable = sim_counter_enable,
	.counter_fetch = sim_counter_fetch,
	.counter_clear = sim_counter_clear,
	.reset = sim_reset,
};

static int register_gpu(struct sim_gpu *gpu)
{
	const struct sim_config *config = &gpu->config;
	struct uvm_gpu_desc desc = {
		.name = config->name,
		.dev = gpu->dev,
		.owner = THIS_MODULE,
		.ops = &gpu->ops,
		.priv = gpu,
		.memory_kind = config->kind,
		.memory_size = config->size,
		.memory_base = config->base,
		.numa_node = config->node,
		.page_sizes = BIT(UVM_SIM_PAGE_SHIFT) | BIT(UVM_SIM_HUGE_SHIFT),
		.va_bits = UVM_SIM_VA_BITS,
		.copy_engines = gpu->nr_ces,
		.fault_entries = UVM_SIM_FAULT_ENTRIES,
		.copy_timeout_ms = config->copy_timeout_ms,
		.caps = config->caps,
		.access_granule = config->access_granule,
	};

	gpu->ops = sim_gpu_ops;
	if (!config->accessed)
		gpu->ops.harvest = NULL;
	memcpy(desc.uuid, config->uuid, sizeof(desc.uuid));
	gpu->core = uvm_gpu_register(&desc);
	return PTR_ERR_OR_ZERO(gpu->core);
}

static void sim_gpu_remove(void *data)
{
	struct sim_gpu *gpu = data;

	uvm_gpu_unregister(gpu->core);
	WARN_ON_ONCE(!xa_empty(&gpu->channels));
	sim_debugfs_remove(gpu);
	sim_peer_remove(gpu);
	sim_ces_fini(gpu);
	sim_counters_fini(gpu);
	sim_fault_fini(gpu);
	sim_memory_fini(gpu);
	sim_iommu_fini(gpu);
	dev_set_drvdata(gpu->dev, NULL);
	mutex_destroy(&gpu->atomics);
	kfree(gpu);
}

/**
 * sim_gpu_probe() - make a GPU of a device
 * @dev: bound to a driver of this module, which need not do anything at remove
 * @config: what the GPU is
 *
 * Return: 0 or -errno.
 */
int sim_gpu_probe(struct device *dev, const struct sim_config *config)
{
	struct sim_gpu *gpu;
	int ret;

	gpu = kzalloc(sizeof(*gpu), GFP_KERNEL);
	if (!gpu)
		return -ENOMEM;
	gpu->dev = dev;
	gpu->config = *config;
	gpu->nr_ces = config->ces;
	mutex_init(&gpu->atomics);
	xa_init(&gpu->channels);
	dev_set_drvdata(dev, gpu);

	ret = sim_iommu_init(gpu);
	if (ret)
		goto err_free;
	ret = sim_memory_init(gpu);
	if (ret)
		goto err_iommu;
	ret = sim_fault_init(gpu);
	if (ret)
		goto err_memory;
	ret = sim_counters_init(gpu);
	if (ret)
		goto err_fault;
	ret = sim_ces_init(gpu);
	if (ret)
		goto err_counters;
	sim_peer_add(gpu);
	sim_debugfs_add(gpu);
	ret = register_gpu(gpu);
	if (ret)
		goto err_debugfs;
	return devm_add_action_or_reset(dev, sim_gpu_remove, gpu);

err_debugfs:
	sim_debugfs_remove(gpu);
	sim_peer_remove(gpu);
	sim_ces_fini(gpu);
err_counters:
	sim_counters_fini(gpu);
err_fault:
	sim_fault_fini(gpu);
err_memory:
	sim_memory_fini(gpu);
err_iommu:
	sim_iommu_fini(gpu);
err_free:
	dev_set_drvdata(dev, NULL);
	mutex_destroy(&gpu->atomics);
	kfree(gpu);
	return ret;
}
