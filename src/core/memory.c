// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Numbers and limits
 *
 * Owns what user space sees of a GPU's memory, and may set: numbers, the limit and the
 * reservation of a process, and the event that says that memory gets scarce. What the
 * numbers are, and what a limit means, the tenants know (resident.c).
 *
 * An event is told when less than its threshold is free, and again only after as much as
 * that was free in between. Memory is taken in process context, by who says so right
 * afterwards: uvm_memory_taken() looks, and tells. It is freed in any context, where
 * nothing is done but to remember the most that was free since the last look
 * (&uvm_devmem.peak), which arms the events again when somebody looks. So:
 *
 * - Who is told, is told of a fall: when he was told before, less was free than his
 *   threshold, and since then there was as much.
 * - A fall that lasts is told: whoever made it looks when he has taken his pages. He finds
 *   less free than the threshold, and by the peak whether there was as much since the last
 *   look, whoever freed the pages, and whenever.
 * - A fall that is over when he looks isn't told, nor is the rise that ended it lost: the
 *   event stays armed, or is armed by it.
 *
 * Who sets an event looks, too. He and somebody who takes memory at the same time can't
 * miss each other though uvm_memory_taken() takes no lock when there is no event:
 * &uvm_devmem_zone.lock orders the two. If the pages were taken before he looks, he sees it; if
 * after, then the list of events, which was filled before, isn't found empty.
 */
#include "core.h"

#include <linux/capability.h>
#include <linux/eventfd.h>
#include <linux/moduleparam.h>

static unsigned int uvm_reserve_percent = 50;
module_param_named(reserve_percent, uvm_reserve_percent, uint, 0644);
MODULE_PARM_DESC(reserve_percent,
		 "percent of a GPU's memory that all processes without CAP_SYS_RESOURCE may reserve together (default 50)");

void uvm_memory_events_init(struct uvm_memory_events *events)
{
	spin_lock_init(&events->lock);
	INIT_LIST_HEAD(&events->list);
}

/* Arms the events for which there was enough memory, tells those for which there isn't. */
static void uvm_memory_look(struct uvm_gpu *gpu)
{
	struct uvm_memory_events *events = &gpu->events;
	struct uvm_memory_event *event;
	unsigned long free, peak;

	lockdep_assert_held(&events->lock);
	free = uvm_devmem_watch(&gpu->mem, &peak);
	list_for_each_entry(event, &events->list, link) {
		event->armed |= peak >= event->threshold;
		if (!event->armed || free >= event->threshold)
			continue;
		event->armed = false;
		uvm_eventfd_signal(event->ctx);
	}
}

/**
 * uvm_memory_taken() - pages of a GPU's memory were taken
 * @gpu: the GPU
 *
 * Process context, no spinlock held; page locks and mmap_lock may be.
 */
void uvm_memory_taken(struct uvm_gpu *gpu)
{
	if (list_empty(&gpu->events.list))
		return;
	spin_lock(&gpu->events.lock);
	uvm_memory_look(gpu);
	spin_unlock(&gpu->events.lock);
}

/* Takes over the reference to @ctx, which is NULL for no event any more. */
static void uvm_memory_event_set(struct uvm_gpu_space *gs, struct eventfd_ctx *ctx,
				 unsigned long threshold)
{
	struct uvm_memory_events *events = &gs->gpu->events;
	struct uvm_memory_event *event = &gs->event;
	struct eventfd_ctx *old;

	spin_lock(&events->lock);
	old = event->ctx;
	event->ctx = ctx;
	event->threshold = threshold;
	event->armed = true;
	if (ctx) {
		list_move_tail(&event->link, &events->list);
		uvm_devmem_set_watched(&gs->gpu->mem, true);
		uvm_memory_look(gs->gpu);
	} else {
		list_del_init(&event->link);
		uvm_devmem_set_watched(&gs->gpu->mem, !list_empty(&events->list));
	}
	spin_unlock(&events->lock);
	if (old)
		eventfd_ctx_put(old);
}

/* Nobody is in the GPU space any more. */
void uvm_memory_event_end(struct uvm_gpu_space *gs)
{
	uvm_memory_event_set(gs, NULL, 0);
}

static void uvm_memory_put(struct uvm_gpu_space *gs)
{
	uvm_gpu_space_leave(gs);
	uvm_gpu_space_put(gs);
}

/* Finds and enters a GPU space whose GPU's memory we hand out. */
static struct uvm_gpu_space *uvm_memory_get(struct uvm_va_space *vs, const u8 *uuid)
{
	struct uvm_gpu_space *gs = uvm_gpu_space_get(vs, uuid);

	if (IS_ERR(gs) || gs->tenant)
		return gs;
	uvm_memory_put(gs);
	return ERR_PTR(-EOPNOTSUPP);
}

/**
 * uvm_query_memory_ioctl() - UVM_QUERY_MEMORY
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -ENODEV, -ENOENT, -EOPNOTSUPP.
 */
int uvm_query_memory_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_query_memory *cmd = ucmd->cmd;
	struct uvm_memory_numbers n = {};
	struct uvm_gpu_space *gs;

	gs = uvm_memory_get(ucmd->vs, cmd->uuid);
	if (IS_ERR(gs))
		return PTR_ERR(gs);
	uvm_tenant_numbers(gs->tenant, &n);
	cmd->out_total = gs->gpu->desc.memory_size;
	uvm_memory_put(gs);

	cmd->out_used = n.used << PAGE_SHIFT;
	cmd->out_free = n.free << PAGE_SHIFT;
	cmd->out_largest_free = n.largest_free << PAGE_SHIFT;
	cmd->out_evictable = n.evictable << PAGE_SHIFT;
	cmd->out_pinned = n.pinned << PAGE_SHIFT;
	cmd->out_mine = n.mine << PAGE_SHIFT;
	cmd->out_limit = n.limit << PAGE_SHIFT;
	cmd->out_reserved = n.reserved << PAGE_SHIFT;
	cmd->out_evicted = n.evicted;
	cmd->out_refaulted = n.refaulted;
	cmd->out_my_evicted = n.my_evicted;
	cmd->out_my_refaulted = n.my_refaulted;
	cmd->out_thrash = n.thrash;
	return 0;
}

/**
 * uvm_set_memory_limit_ioctl() - UVM_SET_MEMORY_LIMIT
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -EINVAL, -ENODEV, -ENOENT, -ENOSPC, -EOPNOTSUPP, -EPERM.
 */
int uvm_set_memory_limit_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_set_memory_limit *cmd = ucmd->cmd;
	struct uvm_gpu_space *gs;
	bool trusted;
	int ret = -EINVAL;

	if (!PAGE_ALIGNED(cmd->limit | cmd->reserved) ||
	    (cmd->limit && cmd->reserved > cmd->limit))
		return -EINVAL;
	gs = uvm_memory_get(ucmd->vs, cmd->uuid);
	if (IS_ERR(gs))
		return PTR_ERR(gs);
	/* Who reserves nothing needs no capability, and isn't seen to use one. */
	trusted = cmd->reserved && capable(CAP_SYS_RESOURCE);
	if (cmd->reserved <= gs->gpu->desc.memory_size)
		ret = uvm_tenant_set_limit(gs->tenant, cmd->limit >> PAGE_SHIFT,
					   cmd->reserved >> PAGE_SHIFT, trusted,
					   READ_ONCE(uvm_reserve_percent));
	/* What can't leave now does when more is wanted. */
	if (!ret && uvm_tenant_excess(gs->tenant))
		uvm_evict(gs->gpu, gs->tenant, 0, UVM_EVICT_ANY);
	uvm_memory_put(gs);
	return ret;
}

/* NULL for no event. */
static struct eventfd_ctx *uvm_memory_eventfd(const struct uvm_set_memory_event *cmd)
{
	if (!PAGE_ALIGNED(cmd->threshold) || (cmd->eventfd == -1) != !cmd->threshold)
		return ERR_PTR(-EINVAL);
	if (cmd->eventfd == -1)
		return NULL;
	if (!IS_ENABLED(CONFIG_EVENTFD))
		return ERR_PTR(-EOPNOTSUPP);
	return eventfd_ctx_fdget(cmd->eventfd);
}

/**
 * uvm_set_memory_event_ioctl() - UVM_SET_MEMORY_EVENT
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -EBADF, -EINVAL, -ENODEV, -ENOENT, -EOPNOTSUPP.
 */
int uvm_set_memory_event_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_set_memory_event *cmd = ucmd->cmd;
	struct eventfd_ctx *ctx;
	struct uvm_gpu_space *gs;
	int ret;

	ctx = uvm_memory_eventfd(cmd);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	gs = uvm_memory_get(ucmd->vs, cmd->uuid);
	if (IS_ERR(gs)) {
		ret = PTR_ERR(gs);
		goto err_ctx;
	}
	if (cmd->threshold > gs->gpu->desc.memory_size) {
		ret = -EINVAL;
		goto err_space;
	}
	uvm_memory_event_set(gs, ctx, cmd->threshold >> PAGE_SHIFT);
	uvm_memory_put(gs);
	return 0;

err_space:
	uvm_memory_put(gs);
err_ctx:
	if (ctx)
		eventfd_ctx_put(ctx);
	return ret;
}
