// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Access counters
 *
 * Owns the way from a GPU's access counters to the address space that uses memory
 * which isn't the GPU's own, more than it is worth leaving it there. The GPU counts by
 * granules of its virtual addresses; a count that reaches the threshold is fetched,
 * handed to the fault work of its address space, which moves what may move, and begins
 * anew.
 *
 * A GPU counts while some VA space wants it to (UVM_SET_ACCESS_COUNTERS). A count is a
 * hint: what finds no room, or an address space that is gone, is dropped, and its
 * granule begins anew.
 */
#include "core.h"

#include <linux/moduleparam.h>
#include <linux/slab.h>

static unsigned int uvm_counter_threshold = 256;
module_param_named(counter_threshold, uvm_counter_threshold, uint, 0644);
MODULE_PARM_DESC(counter_threshold,
		 "accesses of a GPU to a granule of remote memory before it moves (default 256)");

static void uvm_counter_dispatch(struct uvm_gpu *gpu,
				 const struct uvm_gpu_counter *counter)
{
	struct uvm_gpu_space *gs = uvm_gpu_space_by_as(gpu, counter->as_id);

	if (!gs)
		return;
	if (!READ_ONCE(gs->counters) || !uvm_fault_queue_hot(gs, counter))
		gpu->desc.ops->counter_clear(gpu, counter);
	uvm_gpu_space_leave(gs);
	uvm_gpu_space_put(gs);
}

/* The GPU's worker. As many as come at once: the rest is for the next time. */
static void uvm_counter_worker(struct work_struct *work)
{
	struct uvm_gpu *gpu = container_of(work, struct uvm_gpu, counter_work);
	struct uvm_gpu_counter *counters = gpu->counters;
	unsigned int i, nr;

	nr = gpu->desc.ops->counter_fetch(gpu, counters, UVM_COUNTER_BATCH);
	for (i = 0; i < nr; i++)
		uvm_counter_dispatch(gpu, &counters[i]);
	uvm_stats_add(&gpu->stats, UVM_STAT_NOTIFICATIONS, nr);
	if (nr == UVM_COUNTER_BATCH)
		uvm_gpu_counters_pending(gpu);
}

/**
 * uvm_counter_init() - make room for a GPU's access counters
 * @gpu: new
 *
 * Return: 0 or -ENOMEM.
 */
int uvm_counter_init(struct uvm_gpu *gpu)
{
	mutex_init(&gpu->counter_lock);
	INIT_WORK(&gpu->counter_work, uvm_counter_worker);
	gpu->counters = kvcalloc(UVM_COUNTER_BATCH, sizeof(*gpu->counters),
				 GFP_KERNEL);
	return gpu->counters ? 0 : -ENOMEM;
}

/* No address space of the GPU is left, so nobody wants it to count any more. */
void uvm_counter_fini(struct uvm_gpu *gpu)
{
	cancel_work_sync(&gpu->counter_work);
	kvfree(gpu->counters);
	mutex_destroy(&gpu->counter_lock);
}

/**
 * uvm_gpu_counters_pending() - there are access counters to fetch
 * @gpu: from uvm_gpu_register()
 *
 * Any context. May be called more often than needed; must be called after every
 * entry that was written.
 */
void uvm_gpu_counters_pending(struct uvm_gpu *gpu)
{
	queue_work_node(uvm_gpu_nearest_node(gpu), uvm_gpu_wq, &gpu->counter_work);
}
EXPORT_SYMBOL_GPL(uvm_gpu_counters_pending);

/**
 * uvm_counter_set() - does a GPU space want its GPU to count?
 * @gs: GPU space; entered, or nobody can enter it any more
 * @on: it does
 *
 * Return: 0 or what the backend says.
 */
int uvm_counter_set(struct uvm_gpu_space *gs, bool on)
{
	u32 threshold = max(READ_ONCE(uvm_counter_threshold), 1U);
	struct uvm_gpu *gpu = gs->gpu;
	int ret = 0;

	mutex_lock(&gpu->counter_lock);
	if (gs->counters == on)
		goto out;
	if (on)
		ret = gpu->desc.ops->counter_enable(gpu, threshold);
	else if (gpu->counter_users == 1)
		gpu->desc.ops->counter_enable(gpu, 0);
	if (!ret) {
		WRITE_ONCE(gs->counters, on);
		gpu->counter_users += on ? 1 : -1;
	}
out:
	mutex_unlock(&gpu->counter_lock);
	return ret;
}

/**
 * uvm_set_access_counters_ioctl() - UVM_SET_ACCESS_COUNTERS
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -EINVAL, -ENODEV, -ENOENT, -EOPNOTSUPP, or what the backend says.
 */
int uvm_set_access_counters_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_set_access_counters *cmd = ucmd->cmd;
	struct uvm_gpu_space *gs;
	int ret = -EOPNOTSUPP;

	if (cmd->enable > 1)
		return -EINVAL;
	gs = uvm_gpu_space_get(ucmd->vs, cmd->uuid);
	if (IS_ERR(gs))
		return PTR_ERR(gs);
	if (gs->gpu->desc.access_granule)
		ret = uvm_counter_set(gs, cmd->enable);
	uvm_gpu_space_leave(gs);
	uvm_gpu_space_put(gs);
	return ret;
}
