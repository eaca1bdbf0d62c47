// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: Access counters
 *
 * Owns what is counted of accesses to memory that is not the GPU's own, and the
 * ring of notifications. A counter belongs to a granule of an address space. It
 * grows by one for each 64 bytes of an access, or part of them, and an access is
 * what the port does at once: a page at most. When it reaches the threshold it is
 * written to the ring, and rests until it is cleared.
 *
 * The table is small and set-associative, and forgets: a granule that is new takes
 * the place of the one in its set that was used least. Only one that has notified
 * keeps its place until it is cleared, so it doesn't notify again; a granule that
 * finds nothing but such in its set isn't counted.
 *
 * If the ring is full the notification is dropped, and tried again with the next
 * access. Nothing waits for room.
 *
 * &sim_counters.lock is a leaf. While the counters are disabled the table is empty,
 * and an access costs one look at the threshold.
 */

#include <linux/errno.h>
#include <linux/hash.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "sim.h"

#define SIM_COUNTER_WAYS	4U
#define SIM_COUNTER_SET_BITS	8
#define SIM_COUNTER_UNIT	64U

static_assert(SIM_COUNTER_WAYS << SIM_COUNTER_SET_BITS == UVM_SIM_COUNTERS);

/**
 * struct sim_counter - count of one granule
 * @as_id: address space
 * @granule: virtual address >> &sim_counters.shift
 * @count: what was counted; 0 if the slot is free
 * @notified: it was written to the ring, and counts no further
 */
struct sim_counter {
	u64 as_id;
	u64 granule;
	u32 count;
	bool notified;
};

/**
 * sim_counters_init() - make the counters, disabled
 * @gpu: its configuration says how large a granule is, or that it has no counters
 *
 * Return: 0 or -ENOMEM.
 */
int sim_counters_init(struct sim_gpu *gpu)
{
	struct sim_counters *c = &gpu->counters;

	spin_lock_init(&c->lock);
	if (!gpu->config.access_granule)
		return 0;
	c->shift = ilog2(gpu->config.access_granule);
	c->slots = kvcalloc(UVM_SIM_COUNTERS, sizeof(*c->slots), GFP_KERNEL);
	c->ring = kvcalloc(UVM_SIM_COUNTER_ENTRIES, sizeof(*c->ring), GFP_KERNEL);
	if (c->slots && c->ring)
		return 0;
	sim_counters_fini(gpu);
	return -ENOMEM;
}

void sim_counters_fini(struct sim_gpu *gpu)
{
	kvfree(gpu->counters.ring);
	kvfree(gpu->counters.slots);
}

static struct sim_counter *set_of(struct sim_counters *c, u64 as_id, u64 granule)
{
	u32 set = hash_64(granule ^ hash_64(as_id, 64), SIM_COUNTER_SET_BITS);

	return &c->slots[set * SIM_COUNTER_WAYS];
}

static struct sim_counter *find_counter(struct sim_counters *c, u64 as_id,
					u64 granule)
{
	struct sim_counter *slot = set_of(c, as_id, granule);
	unsigned int i;

	lockdep_assert_held(&c->lock);
	for (i = 0; i < SIM_COUNTER_WAYS; i++, slot++)
		if (slot->count && slot->as_id == as_id &&
		    slot->granule == granule)
			return slot;
	return NULL;
}

/* A counter at 0 for a granule that has none, or NULL. */
static struct sim_counter *new_counter(struct sim_gpu *gpu, u64 as_id,
				       u64 granule)
{
	struct sim_counter *slot = set_of(&gpu->counters, as_id, granule);
	struct sim_counter *least = NULL;
	unsigned int i;

	lockdep_assert_held(&gpu->counters.lock);
	for (i = 0; i < SIM_COUNTER_WAYS; i++, slot++)
		if (!slot->notified && (!least || slot->count < least->count))
			least = slot;
	if (!least || least->count)
		sim_count(gpu, SIM_STAT_COUNTERS_LOST, 1);
	if (least)
		*least = (struct sim_counter){
			.as_id = as_id,
			.granule = granule,
		};
	return least;
}

static bool notify(struct sim_gpu *gpu, struct sim_counter *slot)
{
	struct sim_counters *c = &gpu->counters;

	lockdep_assert_held(&c->lock);
	if (c->put - c->get == UVM_SIM_COUNTER_ENTRIES) {
		sim_count(gpu, SIM_STAT_COUNTER_RING_FULL, 1);
		return false;
	}
	c->ring[c->put++ % UVM_SIM_COUNTER_ENTRIES] =
		(struct uvm_sim_counter_entry){
			.as_id = slot->as_id,
			.address = slot->granule << c->shift,
			.count = slot->count,
		};
	slot->notified = true;
	sim_count(gpu, SIM_STAT_COUNTER_NOTIFICATIONS, 1);
	return true;
}

/**
 * sim_counters_access() - count an access
 * @gpu: whose counters are enabled, or were just now
 * @as_id: address space
 * @va: address of the first byte
 * @len: bytes; they don't cross a page
 *
 * Return: true if the core must be told, with no lock held.
 */
bool sim_counters_access(struct sim_gpu *gpu, u64 as_id, u64 va, u32 len)
{
	struct sim_counters *c = &gpu->counters;
	u32 weight = DIV_ROUND_UP(len, SIM_COUNTER_UNIT);
	struct sim_counter *slot;
	bool notified = false;

	spin_lock(&c->lock);
	if (!c->threshold)
		goto out;
	slot = find_counter(c, as_id, va >> c->shift);
	if (!slot)
		slot = new_counter(gpu, as_id, va >> c->shift);
	if (!slot || slot->notified)
		goto out;
	slot->count += min(weight, U32_MAX - slot->count);
	if (slot->count >= c->threshold)
		notified = notify(gpu, slot);
out:
	spin_unlock(&c->lock);
	return notified;
}

/**
 * sim_counters_forget() - an address space is gone
 * @gpu: the GPU
 * @as_id: no channel of it is left
 */
void sim_counters_forget(struct sim_gpu *gpu, u64 as_id)
{
	struct sim_counters *c = &gpu->counters;
	struct sim_counter *slot;

	if (!READ_ONCE(c->threshold))
		return;
	spin_lock(&c->lock);
	for (slot = c->slots; slot < c->slots + UVM_SIM_COUNTERS; slot++)
		if (slot->as_id == as_id)
			*slot = (struct sim_counter){};
	spin_unlock(&c->lock);
}

int sim_counter_enable(struct uvm_gpu *core, u32 threshold)
{
	struct sim_gpu *gpu = uvm_gpu_priv(core);
	struct sim_counters *c = &gpu->counters;

	if (!c->slots)
		return -EOPNOTSUPP;
	spin_lock(&c->lock);
	WRITE_ONCE(c->threshold, threshold);
	if (!threshold) {
		memset(c->slots, 0, UVM_SIM_COUNTERS * sizeof(*c->slots));
		c->get = c->put;
	}
	spin_unlock(&c->lock);
	return 0;
}

unsigned int sim_counter_fetch(struct uvm_gpu *core,
			       struct uvm_gpu_counter *counters, unsigned int max)
{
	struct sim_gpu *gpu = uvm_gpu_priv(core);
	struct sim_counters *c = &gpu->counters;
	const struct uvm_sim_counter_entry *entry;
	unsigned int i, n;

	spin_lock(&c->lock);
	n = min(c->put - c->get, max);
	for (i = 0; i < n; i++) {
		entry = &c->ring[c->get++ % UVM_SIM_COUNTER_ENTRIES];
		counters[i].as_id = entry->as_id;
		counters[i].address = entry->address;
		counters[i].count = entry->count;
	}
	spin_unlock(&c->lock);
	return n;
}

void sim_counter_clear(struct uvm_gpu *core, const struct uvm_gpu_counter *counter)
{
	struct sim_gpu *gpu = uvm_gpu_priv(core);
	struct sim_counters *c = &gpu->counters;
	struct sim_counter *slot;

	if (!c->slots)
		return;
	spin_lock(&c->lock);
	slot = find_counter(c, counter->as_id, counter->address >> c->shift);
	if (slot)
		*slot = (struct sim_counter){};
	spin_unlock(&c->lock);
}
