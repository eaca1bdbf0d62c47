// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: Memory port
 *
 * Owns the TLB of each channel, and makes the compute engine's accesses: look up
 * or walk, resolve, touch at most one page, all under &sim_tlb.lock. So whoever
 * has taken the lock once after a change knows that no older access is under way:
 * sim_tlb_invalidate() does so for translations, sim_channel_leave() for the
 * channel's state. Both wait for one access at most, and for nothing else.
 *
 * Invariants: the TLB caches valid leaves only, never a miss. A cached leaf
 * serves an access if it grants it, without a look at the tables, however old it
 * is; if it doesn't grant it, or a store would have to set dirty, the tables are
 * walked. So more rights need no invalidate, and fewer do.
 *
 * An atomic in a GPU's memory is one transaction. One in system memory is a read
 * and a write, and the bus is free in between, for a while on purpose: whoever
 * gave the leaf its right to atomics must have kept the CPU and other GPUs away, and
 * if he didn't their stores are lost. The GPU's own atomics wait for each other
 * (&sim_gpu.atomics), outside of &sim_tlb.lock, so nobody but they wait for the
 * window. An invalidate in it makes the atomic start anew, so that the write isn't
 * an old access under way.
 */

#include <linux/delay.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "sim.h"

/* How long an atomic in system memory leaves the bus to others. */
#define SIM_ATOMIC_WINDOW_US	1

static unsigned int leaf_shift(u64 pte)
{
	return pte & UVM_SIM_PTE_HUGE ? UVM_SIM_HUGE_SHIFT : UVM_SIM_PAGE_SHIFT;
}

static struct sim_tlb_entry *tlb_slot(struct sim_tlb *tlb, u64 va,
				      unsigned int shift)
{
	return &tlb->entries[(va >> shift) % UVM_SIM_TLB_ENTRIES];
}

static u64 tlb_find(struct sim_tlb *tlb, u64 va, unsigned int shift)
{
	const struct sim_tlb_entry *entry = tlb_slot(tlb, va, shift);

	if (entry->pte && leaf_shift(entry->pte) == shift &&
	    entry->page == va >> shift)
		return entry->pte;
	return 0;
}

static void tlb_fill(struct sim_tlb *tlb, u64 va, u64 pte)
{
	struct sim_tlb_entry *entry = tlb_slot(tlb, va, leaf_shift(pte));

	entry->page = va >> leaf_shift(pte);
	entry->pte = pte;
}

static bool serves(u64 pte, u32 access)
{
	u64 need = UVM_SIM_PTE_VALID;

	if (access != UVM_ACCESS_READ)
		need |= UVM_SIM_PTE_WRITE | UVM_SIM_PTE_DIRTY;
	if (access == UVM_ACCESS_ATOMIC)
		need |= UVM_SIM_PTE_ATOMIC;
	return (pte & need) == need;
}

static u64 translate(struct sim_channel *ch, u64 va, u32 access)
{
	struct sim_tlb *tlb = &ch->tlb;
	u64 pte;

	lockdep_assert_held(&tlb->lock);
	pte = tlb_find(tlb, va, UVM_SIM_PAGE_SHIFT);
	if (!serves(pte, access))
		pte = tlb_find(tlb, va, UVM_SIM_HUGE_SHIFT);
	if (serves(pte, access)) {
		tlb->hits++;
		return pte;
	}
	tlb->misses++;
	pte = sim_walk(ch->as, va, access);
	if (pte)
		tlb_fill(tlb, va, pte);
	return pte;
}

/**
 * struct access - an access under way
 * @va: address
 * @len: bytes, within a page
 * @kind: enum uvm_access
 * @pte: the leaf that served it
 */
struct access {
	u64 va;
	u32 len;
	u32 kind;
	u64 pte;
};

static bool is_remote(u64 pte)
{
	return pte & (UVM_SIM_PTE_SYSTEM | UVM_SIM_PTE_PEER);
}

static struct sim_target target_of(u64 pte)
{
	struct sim_target target = { .aperture = UVM_APERTURE_DEVICE };

	if (pte & UVM_SIM_PTE_SYSTEM) {
		target.aperture = UVM_APERTURE_SYSTEM;
	} else if (pte & UVM_SIM_PTE_PEER) {
		target.aperture = UVM_APERTURE_PEER;
		target.peer = (pte & UVM_SIM_PTE_PEER_NUMBER) >>
			      UVM_SIM_PTE_PEER_SHIFT;
	}
	return target;
}

static void *access_resolve(struct sim_channel *ch, struct access *a)
{
	u32 len = a->len;
	u64 offset;
	void *p;

	lockdep_assert_held(&ch->tlb.lock);
	if (ch->state != SIM_CHANNEL_RUNNING)
		return ERR_PTR(-ECANCELED);
	ch->port.address = a->va;
	ch->port.access = a->kind;
	a->pte = translate(ch, a->va, a->kind);
	if (!a->pte)
		return ERR_PTR(-EAGAIN);
	offset = a->va & ((1ULL << leaf_shift(a->pte)) - 1);
	p = sim_memory_at(ch->gpu, (a->pte & UVM_SIM_PTE_ADDR) + offset, &len,
			  target_of(a->pte), a->kind != UVM_ACCESS_READ);
	return p ? p : ERR_PTR(-EFAULT);
}

/*
 * Begin an access: the CPU address of it, or an ERR_PTR, with the port's error
 * members set. To be ended either way.
 */
static void *access_begin(struct sim_channel *ch, struct access *a)
	__acquires(&ch->tlb.lock) __acquires(RCU)
{
	spin_lock(&ch->tlb.lock);
	rcu_read_lock();
	return access_resolve(ch, a);
}

/* End an access that wasn't made, or is counted later. Returns @ret. */
static int access_end(struct sim_channel *ch, int ret)
	__releases(RCU) __releases(&ch->tlb.lock)
{
	rcu_read_unlock();
	spin_unlock(&ch->tlb.lock);
	return ret;
}

/* Count an access that was made, if it left the GPU. The core may be called. */
static void count_access(struct sim_channel *ch, const struct access *a)
{
	struct sim_gpu *gpu = ch->gpu;

	if (a->pte & UVM_SIM_PTE_PEER)
		sim_count(gpu, SIM_STAT_PEER_ACCESSES, 1);
	if (likely(!READ_ONCE(gpu->counters.threshold)) || !is_remote(a->pte))
		return;
	if (sim_counters_access(gpu, ch->as->base.id, a->va, a->len))
		uvm_gpu_counters_pending(ch->base.as->gpu);
}

/* End an access that was made. */
static int access_done(struct sim_channel *ch, const struct access *a)
	__releases(RCU) __releases(&ch->tlb.lock)
{
	rcu_read_unlock();
	spin_unlock(&ch->tlb.lock);
	count_access(ch, a);
	return 0;
}

static bool is_word(u64 va, u32 len)
{
	return len == sizeof(u64) && IS_ALIGNED(va, sizeof(u64));
}

static struct sim_channel *to_channel(struct sim_port *port)
{
	return container_of(port, struct sim_channel, port);
}

static int port_read(struct sim_port *port, u64 va, void *buf, u32 len)
{
	struct access a = { .va = va, .len = len, .kind = UVM_ACCESS_READ };
	struct sim_channel *ch = to_channel(port);
	void *p = access_begin(ch, &a);

	if (IS_ERR(p))
		return access_end(ch, PTR_ERR(p));
	if (is_word(va, len))
		*(u64 *)buf = READ_ONCE(*(u64 *)p);
	else
		memcpy(buf, p, len);
	return access_done(ch, &a);
}

static int port_fold(struct sim_port *port, u64 va, u32 len, sim_fold_t fold,
		     struct sim_task *task)
{
	struct access a = { .va = va, .len = len, .kind = UVM_ACCESS_READ };
	struct sim_channel *ch = to_channel(port);
	void *p = access_begin(ch, &a);

	if (IS_ERR(p))
		return access_end(ch, PTR_ERR(p));
	fold(task, p, len);
	return access_done(ch, &a);
}

static int port_write(struct sim_port *port, u64 va, const void *buf, u32 len)
{
	struct access a = { .va = va, .len = len, .kind = UVM_ACCESS_WRITE };
	struct sim_channel *ch = to_channel(port);
	void *p = access_begin(ch, &a);

	if (IS_ERR(p))
		return access_end(ch, PTR_ERR(p));
	if (is_word(va, len))
		WRITE_ONCE(*(u64 *)p, *(const u64 *)buf);
	else
		memcpy(p, buf, len);
	return access_done(ch, &a);
}

/* A store that can't lose anybody else's: an atomic OR of nothing. */
static int port_touch(struct sim_port *port, u64 va)
{
	struct access a = { .va = va, .len = 1, .kind = UVM_ACCESS_WRITE };
	struct sim_channel *ch = to_channel(port);
	void *p = access_begin(ch, &a);

	if (IS_ERR(p))
		return access_end(ch, PTR_ERR(p));
	atomic_or(0, PTR_ALIGN_DOWN((atomic_t *)p, sizeof(atomic_t)));
	return access_done(ch, &a);
}

/*
 * Add in one transaction, or else, in system memory, return 1. Then @old, unless it
 * is NULL, has what was read for the second one.
 */
static int add_or_read(struct sim_channel *ch, struct access *a, u64 value, u64 *old)
{
	void *p = access_begin(ch, a);

	if (IS_ERR(p))
		return access_end(ch, PTR_ERR(p));
	if (!(a->pte & UVM_SIM_PTE_SYSTEM)) {
		atomic64_add(value, (atomic64_t *)p);
		return access_end(ch, 0);
	}
	if (old) {
		*old = READ_ONCE(*(u64 *)p);
		ch->tlb.split = a->va;
		ch->tlb.split_valid = true;
	}
	return access_end(ch, 1);
}

/* The second transaction; returns 1 if the first one must be repeated. */
static int write_sum(struct sim_channel *ch, struct access *a, u64 sum)
{
	void *p = access_begin(ch, a);
	bool valid = ch->tlb.split_valid;

	ch->tlb.split_valid = false;
	if (IS_ERR(p))
		return access_end(ch, PTR_ERR(p));
	if (!valid)
		return access_end(ch, 1);
	WRITE_ONCE(*(u64 *)p, sum);
	return access_end(ch, 0);
}

static int add_in_system(struct sim_channel *ch, struct access *a, u64 value)
{
	u64 old;
	int ret;

	mutex_lock(&ch->gpu->atomics);
	do {
		ret = add_or_read(ch, a, value, &old);
		if (ret <= 0)
			break;
		udelay(SIM_ATOMIC_WINDOW_US);
		cond_resched();
		ret = write_sum(ch, a, old + value);
		if (ret >= 0)
			sim_count(ch->gpu, ret ? SIM_STAT_SYSTEM_ATOMIC_RETRIES :
						 SIM_STAT_SYSTEM_ATOMICS, 1);
	} while (ret > 0);
	mutex_unlock(&ch->gpu->atomics);
	return ret;
}

static int port_add(struct sim_port *port, u64 va, u64 value)
{
	struct access a = {
		.va = va,
		.len = sizeof(u64),
		.kind = UVM_ACCESS_ATOMIC,
	};
	struct sim_channel *ch = to_channel(port);
	int ret = add_or_read(ch, &a, value, NULL);

	if (ret > 0)
		ret = add_in_system(ch, &a, value);
	if (!ret)
		count_access(ch, &a);
	return ret;
}

static void port_ahead(struct sim_port *port, u64 va, u32 access)
{
	struct sim_channel *ch = to_channel(port);

	if (!sim_translates(ch->as, va, access))
		sim_fault_ahead(ch, va, access);
}

static void tlb_drop(struct sim_tlb *tlb, u64 start, u64 last)
{
	struct sim_tlb_entry *entry;
	unsigned int i, shift;
	u64 first;

	spin_lock(&tlb->lock);
	/* A huge leaf is cleared whole, however little of it is named. */
	if (tlb->split >= ALIGN_DOWN(start, SIM_HUGE_SIZE) &&
	    tlb->split <= (last | (SIM_HUGE_SIZE - 1)))
		tlb->split_valid = false;
	for (i = 0; i < UVM_SIM_TLB_ENTRIES; i++) {
		entry = &tlb->entries[i];
		if (!entry->pte)
			continue;
		shift = leaf_shift(entry->pte);
		first = entry->page << shift;
		if (first <= last && first + (1ULL << shift) > start)
			entry->pte = 0;
	}
	spin_unlock(&tlb->lock);
}

void sim_tlb_invalidate(struct uvm_gpu_as *base, u64 start, u64 length)
{
	struct sim_as *as = to_sim_as(base);
	struct sim_channel *ch;

	if (!length)
		return;
	sim_count(as->gpu, SIM_STAT_TLB_INVALIDATES, 1);
	spin_lock(&as->channels_lock);
	list_for_each_entry(ch, &as->channels, as_node)
		tlb_drop(&ch->tlb, start, start + length - 1);
	spin_unlock(&as->channels_lock);
}

/**
 * sim_port_init() - make the memory port of a channel
 * @ch: zeroed; its address space and GPU are set
 */
void sim_port_init(struct sim_channel *ch)
{
	spin_lock_init(&ch->tlb.lock);
	ch->port.read = port_read;
	ch->port.fold = port_fold;
	ch->port.write = port_write;
	ch->port.touch = port_touch;
	ch->port.add = port_add;
	ch->port.ahead = port_ahead;
}
