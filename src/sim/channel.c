// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: Channels
 *
 * Owns the command queues: a ring of struct uvm_sim_ring_entry each, and a thread
 * that executes it from get to put, step by step, and stalls where an access
 * misses.
 *
 * The state only moves away from RUNNING, once, under &sim_tlb.lock; an access
 * checks it under the same lock. So when sim_channel_leave() returns, the channel
 * makes no access any more, whatever its thread is doing. A thread that sees the
 * end of RUNNING tells the core if the failure is its own, completes @halted, and
 * waits to be destroyed: after that it makes no calls. Cancel and GPU reset only
 * leave; stop waits for @halted as well.
 *
 * Progress: @get passes a command before its point is published, so that whoever
 * waited for the point finds room. Points are published by the one thread, in
 * order.
 *
 * &sim_gpu.channels finds a channel by id; its lock keeps what was found from
 * being freed. No lock is held in a call to the core.
 */

#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "sim.h"

static bool running(struct sim_channel *ch)
{
	return READ_ONCE(ch->state) == SIM_CHANNEL_RUNNING;
}

/**
 * sim_channel_leave() - end the execution of a channel
 * @ch: it can't go away during the call
 * @state: new state, unless RUNNING was left before
 *
 * When it returns, no access of the channel is under way, and none will be.
 * Context: any that may take a spinlock; waits for one access at most.
 */
void sim_channel_leave(struct sim_channel *ch, enum sim_channel_state state)
{
	spin_lock(&ch->tlb.lock);
	if (ch->state == SIM_CHANNEL_RUNNING)
		WRITE_ONCE(ch->state, state);
	spin_unlock(&ch->tlb.lock);
	wake_up_all(&ch->doorbell);
	wake_up_all(&ch->gpu->stall);
}

/**
 * sim_channels_fail() - the GPU was reset: its channels are lost
 * @gpu: the GPU
 */
void sim_channels_fail(struct sim_gpu *gpu)
{
	struct sim_channel *ch;
	unsigned long id;

	xa_lock(&gpu->channels);
	xa_for_each(&gpu->channels, id, ch)
		sim_channel_leave(ch, SIM_CHANNEL_FAILED);
	xa_unlock(&gpu->channels);
}

/* Run the task to its end; false if the channel left RUNNING before. */
static bool execute(struct sim_channel *ch)
{
	int ret;

	while (running(ch)) {
		ret = sim_task_step(&ch->task, &ch->port);
		if (ret == -EAGAIN) {
			sim_fault_stall(ch);
			continue;
		}
		/* What was reported of it is history. */
		WRITE_ONCE(ch->ticket, ch->ticket + 1);
		if (!ret)
			return true;
		if (ret == -EFAULT)
			sim_channel_leave(ch, SIM_CHANNEL_FAILED);
		cond_resched();
	}
	return false;
}

static void run_ring(struct sim_channel *ch)
{
	/* Pairs with ring_append(): the entries are written. */
	u32 put = smp_load_acquire(&ch->put);
	const struct uvm_sim_ring_entry *entry;
	u64 point;

	while (ch->get != put) {
		entry = &ch->ring[ch->get % UVM_SIM_RING_ENTRIES];
		point = entry->point;
		sim_task_start(&ch->task, &entry->cmd);
		if (!execute(ch))
			return;
		sim_count(ch->gpu, SIM_STAT_COMMANDS, 1);
		/* Pairs with ring_append(): the entry has been read. */
		smp_store_release(&ch->get, ch->get + 1);
		if (point)
			uvm_channel_complete(&ch->base, point);
		cond_resched();
	}
}

static bool has_work(struct sim_channel *ch)
{
	return READ_ONCE(ch->put) != ch->get;
}

static int channel_thread(void *data)
{
	struct sim_channel *ch = data;

	while (running(ch)) {
		wait_event_idle(ch->doorbell, has_work(ch) || !running(ch));
		run_ring(ch);
	}
	if (ch->state == SIM_CHANNEL_FAILED)
		uvm_channel_failed(&ch->base, ch->port.address);
	complete_all(&ch->halted);

	wait_event_idle(ch->doorbell, kthread_should_stop());
	return 0;
}

static struct sim_channel *channel_alloc(struct sim_as *as, u64 id)
{
	struct sim_channel *ch;

	ch = kvzalloc(sizeof(*ch), GFP_KERNEL_ACCOUNT);
	if (!ch)
		return NULL;
	ch->ring = kvcalloc(UVM_SIM_RING_ENTRIES, sizeof(*ch->ring),
			    GFP_KERNEL_ACCOUNT);
	if (!ch->ring) {
		kvfree(ch);
		return NULL;
	}
	ch->base.as = &as->base;
	ch->base.id = id;
	ch->as = as;
	ch->gpu = as->gpu;
	ch->state = SIM_CHANNEL_RUNNING;
	mutex_init(&ch->submit_lock);
	init_waitqueue_head(&ch->doorbell);
	init_completion(&ch->halted);
	sim_port_init(ch);
	return ch;
}

static void channel_free(struct sim_channel *ch)
{
	mutex_destroy(&ch->submit_lock);
	kvfree(ch->ring);
	kvfree(ch);
}

struct uvm_gpu_channel *sim_channel_create(struct uvm_gpu_as *base, u64 id)
{
	struct sim_as *as = to_sim_as(base);
	struct sim_gpu *gpu = as->gpu;
	struct sim_channel *ch;
	int ret;

	ch = channel_alloc(as, id);
	if (!ch)
		return ERR_PTR(-ENOMEM);
	ch->thread = kthread_create(channel_thread, ch, "%s/%llu",
				    gpu->config.name, id);
	if (IS_ERR(ch->thread)) {
		ret = PTR_ERR(ch->thread);
		goto err_free;
	}
	ret = xa_insert(&gpu->channels, id, ch, GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_thread;

	spin_lock(&as->channels_lock);
	list_add_tail(&ch->as_node, &as->channels);
	spin_unlock(&as->channels_lock);
	wake_up_process(ch->thread);
	return &ch->base;

err_thread:
	kthread_stop(ch->thread);
err_free:
	channel_free(ch);
	return ERR_PTR(ret);
}

static int check_commands(const struct uvm_sim_cmd *cmds, u32 count)
{
	u32 i;
	int ret;

	for (i = 0; i < count; i++) {
		ret = sim_cmd_check(&cmds[i]);
		if (ret)
			return ret;
	}
	return 0;
}

static int ring_append(struct sim_channel *ch, const struct uvm_sim_cmd *cmds,
		       u32 count, u64 point)
{
	struct uvm_sim_ring_entry *entry;
	u32 i, get, put = ch->put;

	lockdep_assert_held(&ch->submit_lock);
	if (!running(ch))
		return -ECANCELED;
	/* Pairs with run_ring(): entries before get are free. */
	get = smp_load_acquire(&ch->get);
	if (count > UVM_SIM_RING_ENTRIES - (put - get))
		return -EBUSY;
	for (i = 0; i < count; i++) {
		entry = &ch->ring[(put + i) % UVM_SIM_RING_ENTRIES];
		entry->cmd = cmds[i];
		entry->point = i == count - 1 ? point : 0;
	}
	/* Pairs with run_ring(). */
	smp_store_release(&ch->put, put + count);
	return 0;
}

int sim_channel_submit(struct uvm_gpu_channel *base, const void *commands,
		       u32 length, u64 point)
{
	struct sim_channel *ch = to_sim_channel(base);
	u32 count = length / sizeof(struct uvm_sim_cmd);
	int ret;

	if (!count || count > UVM_SIM_RING_ENTRIES ||
	    length % sizeof(struct uvm_sim_cmd))
		return -EINVAL;
	ret = check_commands(commands, count);
	if (ret)
		return ret;

	mutex_lock(&ch->submit_lock);
	ret = ring_append(ch, commands, count, point);
	mutex_unlock(&ch->submit_lock);
	if (!ret)
		wake_up_all(&ch->doorbell);
	return ret;
}

void sim_channel_stop(struct uvm_gpu_channel *base)
{
	struct sim_channel *ch = to_sim_channel(base);

	sim_channel_leave(ch, SIM_CHANNEL_STOPPED);
	wait_for_completion(&ch->halted);
}

void sim_channel_destroy(struct uvm_gpu_channel *base)
{
	struct sim_channel *ch = to_sim_channel(base);
	struct sim_gpu *gpu = ch->gpu;

	sim_channel_stop(base);
	xa_erase(&gpu->channels, ch->base.id);
	spin_lock(&ch->as->channels_lock);
	list_del(&ch->as_node);
	spin_unlock(&ch->as->channels_lock);
	kthread_stop(ch->thread);
	sim_count(gpu, SIM_STAT_TLB_HITS, ch->tlb.hits);
	sim_count(gpu, SIM_STAT_TLB_MISSES, ch->tlb.misses);
	channel_free(ch);
}
