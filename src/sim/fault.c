// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: Fault ring
 *
 * Owns the ring of faults, and the waiting of stalled channels. Entries hold ids,
 * never pointers: a channel may be gone by the time the core reads its fault.
 *
 * A stalled channel writes one entry, announces it, and waits until the replay
 * sequence moves or the channel is stopped; then it repeats its access, which may
 * fault anew. The sequence is read before the entry is written: a replay that
 * answers the entry can't be missed. If the ring is full, the channel waits for
 * room first.
 *
 * After its entry and before the announcement come those of its lanes: pages that
 * the command will access next and that have no translation either, marked as
 * speculative. They take what room there is, and wait for nothing.
 *
 * &sim_fault_ring.lock is a leaf, held for copies of entries only. The wait is
 * idle: a fault may take as long as the core needs.
 */

#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "sim.h"

int sim_fault_init(struct sim_gpu *gpu)
{
	struct sim_fault_ring *ring = &gpu->faults;

	ring->entries = kvcalloc(UVM_SIM_FAULT_ENTRIES, sizeof(*ring->entries),
				 GFP_KERNEL);
	if (!ring->entries)
		return -ENOMEM;
	spin_lock_init(&ring->lock);
	init_waitqueue_head(&gpu->stall);
	return 0;
}

void sim_fault_fini(struct sim_gpu *gpu)
{
	kvfree(gpu->faults.entries);
}

static bool ring_has_room(struct sim_fault_ring *ring)
{
	return READ_ONCE(ring->put) - READ_ONCE(ring->get) <
	       UVM_SIM_FAULT_ENTRIES;
}

static bool ring_write(struct sim_fault_ring *ring,
		       const struct uvm_sim_fault_entry *entry)
{
	bool room;

	spin_lock(&ring->lock);
	room = ring_has_room(ring);
	if (room) {
		ring->entries[ring->put % UVM_SIM_FAULT_ENTRIES] = *entry;
		WRITE_ONCE(ring->put, ring->put + 1);
	}
	spin_unlock(&ring->lock);
	return room;
}

/* Nothing to wait for: the access can be repeated, or must not be. */
static bool stall_over(struct sim_channel *ch, int seq)
{
	return atomic_read_acquire(&ch->gpu->replay_seq) != seq ||
	       READ_ONCE(ch->state) != SIM_CHANNEL_RUNNING;
}

static struct uvm_sim_fault_entry make_entry(const struct sim_channel *ch, u64 va,
					     u32 access, u32 flags)
{
	return (struct uvm_sim_fault_entry){
		.as_id = ch->as->base.id,
		.channel_id = ch->base.id,
		.address = va,
		.access = access,
		.flags = flags,
		.ticket = ch->ticket,
	};
}

/**
 * sim_fault_ahead() - report a page that a stalled command will miss next
 * @ch: channel of the calling thread, in sim_fault_stall()
 * @va: first address there
 * @access: enum uvm_access
 */
void sim_fault_ahead(struct sim_channel *ch, u64 va, u32 access)
{
	struct uvm_sim_fault_entry entry =
		make_entry(ch, va, access, UVM_SIM_FAULT_SPECULATIVE);
	bool room = ring_write(&ch->gpu->faults, &entry);

	sim_count(ch->gpu, room ? SIM_STAT_FAULTS_AHEAD :
				  SIM_STAT_FAULTS_AHEAD_LOST, 1);
}

/**
 * sim_fault_stall() - report the access that missed, and wait
 * @ch: channel of the calling thread; its port holds the address and access, its
 *	task what comes next
 *
 * Returns when the access should be repeated or the channel was stopped.
 */
void sim_fault_stall(struct sim_channel *ch)
{
	struct uvm_sim_fault_entry entry =
		make_entry(ch, ch->port.address, ch->port.access, 0);
	struct sim_gpu *gpu = ch->gpu;
	int seq = atomic_read(&gpu->replay_seq);

	while (!ring_write(&gpu->faults, &entry)) {
		sim_count(gpu, SIM_STAT_FAULT_RING_FULL, 1);
		wait_event_idle(gpu->stall, ring_has_room(&gpu->faults) ||
				stall_over(ch, seq));
		if (stall_over(ch, seq))
			return;
	}
	sim_count(gpu, SIM_STAT_FAULTS, 1);
	sim_task_ahead(&ch->task, &ch->port, gpu->config.lanes - 1);
	uvm_gpu_fault_pending(ch->base.as->gpu);
	wait_event_idle(gpu->stall, stall_over(ch, seq));
}

unsigned int sim_fault_fetch(struct uvm_gpu *core, struct uvm_gpu_fault *faults,
			     unsigned int max)
{
	struct sim_gpu *gpu = uvm_gpu_priv(core);
	struct sim_fault_ring *ring = &gpu->faults;
	const struct uvm_sim_fault_entry *entry;
	unsigned int i, n;

	spin_lock(&ring->lock);
	n = min(ring->put - ring->get, max);
	for (i = 0; i < n; i++) {
		entry = &ring->entries[(ring->get + i) % UVM_SIM_FAULT_ENTRIES];
		faults[i].as_id = entry->as_id;
		faults[i].channel_id = entry->channel_id;
		faults[i].address = entry->address;
		faults[i].access = entry->access;
		faults[i].flags = entry->flags & UVM_SIM_FAULT_SPECULATIVE ?
				  UVM_FAULT_SPECULATIVE : 0;
		faults[i].ticket = entry->ticket;
	}
	WRITE_ONCE(ring->get, ring->get + n);
	spin_unlock(&ring->lock);

	if (n)
		wake_up_all(&gpu->stall);
	return n;
}

void sim_fault_replay(struct uvm_gpu *core)
{
	struct sim_gpu *gpu = uvm_gpu_priv(core);

	sim_count(gpu, SIM_STAT_REPLAYS, 1);
	atomic_inc_return_release(&gpu->replay_seq);
	wake_up_all(&gpu->stall);
}

/* Is the channel stalled at the very access that the fault is about? */
static bool stalls_at(const struct sim_channel *ch, const struct uvm_gpu_fault *fault)
{
	return READ_ONCE(ch->ticket) == fault->ticket &&
	       READ_ONCE(ch->port.address) == fault->address &&
	       !(fault->flags & UVM_FAULT_SPECULATIVE);
}

bool sim_fault_cancel(struct uvm_gpu *core, const struct uvm_gpu_fault *fault)
{
	struct sim_gpu *gpu = uvm_gpu_priv(core);
	struct sim_channel *ch;
	bool stalls;

	xa_lock(&gpu->channels);
	ch = xa_load(&gpu->channels, fault->channel_id);
	stalls = ch && stalls_at(ch, fault);
	if (stalls) {
		sim_count(gpu, SIM_STAT_CANCELS, 1);
		sim_channel_leave(ch, SIM_CHANNEL_STOPPED);
	}
	xa_unlock(&gpu->channels);
	return stalls;
}
