/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * DOC: The software GPU
 *
 * A GPU made of threads: page tables and TLBs (mmu.c, port.c), a compute engine
 * (compute.c) that channels drive (channel.c), copy engines (copy.c), a fault
 * ring (fault.c), access counters (counter.c), its own memory (memory.c), a link to
 * other GPUs (peer.c), and an IOMMU in front of everything else (iommu.c). It is
 * strict: it does what hardware does to a wrong driver.
 *
 * Locks, outermost first; none is held across a call into the core:
 *
 * - &sim_as.prepare_lock, &sim_ce.reset_lock, &sim_channel.submit_lock,
 *   &sim_gpu.atomics, sim_peers_lock: mutexes, none inside another
 * - &sim_gpu.channels (xa_lock) or &sim_as.channels_lock
 * - &sim_tlb.lock
 * - &sim_ce.lock, &sim_fault_ring.lock, &sim_counters.lock, &sim_iommu.lock
 *   (irq-safe): leaves
 */
#ifndef _SIM_H
#define _SIM_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/completion.h>
#include <linux/dma-fence.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uvm.h>
#include <linux/uvm_sim.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include <uvm/gpu.h>

#include "compute.h"

#define SIM_NAME	"uvm_sim"
#define SIM_HUGE_SIZE	BIT_ULL(UVM_SIM_HUGE_SHIFT)
#define SIM_MAX_GPUS	8
#define SIM_MAX_CES	16

struct dentry;
struct device;
struct sim_gpu;
struct task_struct;

/* What debugfs counts; names in debugfs.c. */
enum sim_stat {
	SIM_STAT_BATCHES,
	SIM_STAT_SEGMENTS,
	SIM_STAT_BYTES,
	SIM_STAT_PEER_BYTES,
	SIM_STAT_COPY_NS,
	SIM_STAT_BATCH_ERRORS,
	SIM_STAT_COMMANDS,
	SIM_STAT_TLB_HITS,
	SIM_STAT_TLB_MISSES,
	SIM_STAT_TLB_INVALIDATES,
	SIM_STAT_HARVESTS,
	SIM_STAT_PAGES_ACCESSED,
	SIM_STAT_SYSTEM_ATOMICS,
	SIM_STAT_SYSTEM_ATOMIC_RETRIES,
	SIM_STAT_PEER_ACCESSES,
	SIM_STAT_FAULTS,
	SIM_STAT_FAULT_RING_FULL,
	SIM_STAT_FAULTS_AHEAD,
	SIM_STAT_FAULTS_AHEAD_LOST,
	SIM_STAT_REPLAYS,
	SIM_STAT_CANCELS,
	SIM_STAT_COUNTER_NOTIFICATIONS,
	SIM_STAT_COUNTER_RING_FULL,
	SIM_STAT_COUNTERS_LOST,
	SIM_STAT_RESETS,
	SIM_STAT_BAD_ACCESSES,
	SIM_STAT_BAD_UNMAPS,
	SIM_STAT_NR,
};

/**
 * struct sim_config - what a GPU is asked to be
 * @name: for people and debugfs
 * @uuid: stable name
 * @kind: enum uvm_memory_kind
 * @base: physical address of coherent memory
 * @size: bytes of memory; a multiple of 2 MiB
 * @node: the NUMA node it is, or NUMA_NO_NODE
 * @ces: number of copy engines
 * @iova_mib: MiB of DMA addresses
 * @copy_timeout_ms: as &uvm_gpu_desc.copy_timeout_ms
 * @caps: as &uvm_gpu_desc.caps
 * @access_granule: as &uvm_gpu_desc.access_granule
 * @lanes: pages of a command that may miss at once
 * @peers: it may reach the memory of the module's other GPUs, and they its
 * @accessed: it tells which pages it accessed
 */
struct sim_config {
	char name[UVM_NAME_LEN];
	u8 uuid[UVM_UUID_LEN];
	enum uvm_memory_kind kind;
	u64 base;
	u64 size;
	int node;
	unsigned int ces;
	unsigned int iova_mib;
	unsigned int copy_timeout_ms;
	u64 caps;
	u64 access_granule;
	unsigned int lanes;
	bool peers;
	bool accessed;
};

/**
 * struct sim_iommu - translation of DMA addresses
 * @lock: irq-safe; guards all but reads of @entries
 * @entries: one word a 4 KiB page of the window: pfn and rights; 0 is unmapped.
 *	Engines read it without the lock
 * @used: bitmap of the slots in use
 * @slots: pages in the window
 * @next: where the next search starts, so that an address is reused late
 * @mapped: slots in use now
 * @strict: the device's DMA operations are ours; else a DMA address is a
 *	physical one and nothing is checked
 */
struct sim_iommu {
	spinlock_t lock;
	unsigned long *entries;
	unsigned long *used;
	unsigned long slots;
	unsigned long next;
	unsigned long mapped;
	bool strict;
};

/**
 * struct sim_target - where an address on the bus leads
 * @aperture: enum uvm_aperture
 * @peer: number, for UVM_APERTURE_PEER
 */
struct sim_target {
	u8 aperture;
	u8 peer;
};

/**
 * struct sim_pt - driver's view of one page table
 * @entries: the table as the MMU sees it
 * @child: the tables below, each kept until the address space is destroyed,
 *	also while a larger leaf hides it. None at level 0.
 */
struct sim_pt {
	u64 *entries;
	struct sim_pt *child[];
};

/**
 * struct sim_as - address space
 * @base: the core's part
 * @gpu: whose
 * @root: level 3 table
 * @prepare_lock: serializes the growth of the tree
 * @channels_lock: guards @channels
 * @channels: whose TLBs may hold translations of this address space
 */
struct sim_as {
	struct uvm_gpu_as base;
	struct sim_gpu *gpu;
	struct sim_pt *root;
	struct mutex prepare_lock;
	spinlock_t channels_lock;
	struct list_head channels;
};

/**
 * struct sim_tlb_entry - one cached leaf
 * @page: virtual address >> page shift of the leaf
 * @pte: the leaf; 0 if there is none
 */
struct sim_tlb_entry {
	u64 page;
	u64 pte;
};

/**
 * struct sim_tlb - TLB of one channel
 * @lock: held from translation to the end of the access
 * @entries: direct-mapped by virtual page
 * @split: address of an atomic in system memory between its read and its write
 * @split_valid: no invalidate hit @split since the read
 * @hits: lookups that were served from here
 * @misses: lookups that walked the tables
 */
struct sim_tlb {
	spinlock_t lock;
	struct sim_tlb_entry entries[UVM_SIM_TLB_ENTRIES];
	u64 split;
	bool split_valid;
	u64 hits;
	u64 misses;
};

/**
 * enum sim_channel_state - life of a channel; only moves down
 * @SIM_CHANNEL_RUNNING: executes what is in the ring
 * @SIM_CHANNEL_FAILED: hit an error of its own; the core is told
 * @SIM_CHANNEL_STOPPED: the core stopped or cancelled it
 */
enum sim_channel_state {
	SIM_CHANNEL_RUNNING,
	SIM_CHANNEL_FAILED,
	SIM_CHANNEL_STOPPED,
};

/**
 * struct sim_channel - command queue
 * @base: the core's part
 * @as: address space
 * @gpu: whose
 * @as_node: in &sim_as.channels
 * @state: enum sim_channel_state; written under @tlb.lock, so that no access
 *	starts once it is left
 * @submit_lock: serializes producers
 * @ring: UVM_SIM_RING_ENTRIES slots
 * @put: next slot to fill; written by the producer
 * @get: next slot to execute; written by the thread
 * @doorbell: where the thread waits for work
 * @thread: executes the ring
 * @halted: the thread makes no more accesses and no more calls
 * @tlb: cached translations
 * @port: the compute engine's way to memory
 * @task: command under way
 * @ticket: changes whenever an access is over; written by the thread
 */
struct sim_channel {
	struct uvm_gpu_channel base;
	struct sim_as *as;
	struct sim_gpu *gpu;
	struct list_head as_node;
	int state;
	struct mutex submit_lock;
	struct uvm_sim_ring_entry *ring;
	u32 put;
	u32 get;
	wait_queue_head_t doorbell;
	struct task_struct *thread;
	struct completion halted;
	struct sim_tlb tlb;
	struct sim_port port;
	struct sim_task task;
	u64 ticket;
};

/**
 * struct sim_fault_ring - fault buffer
 * @lock: guards all of it
 * @entries: UVM_SIM_FAULT_ENTRIES slots
 * @put: slots ever written
 * @get: slots ever taken
 */
struct sim_fault_ring {
	spinlock_t lock;
	struct uvm_sim_fault_entry *entries;
	u32 put;
	u32 get;
};

struct sim_counter;

/**
 * struct sim_counters - access counters
 * @lock: guards the rest; @threshold is read without it
 * @threshold: when to notify; 0 while disabled
 * @shift: log2 of a granule
 * @slots: UVM_SIM_COUNTERS counters; NULL if the GPU has none
 * @ring: UVM_SIM_COUNTER_ENTRIES slots
 * @put: slots ever written
 * @get: slots ever taken
 */
struct sim_counters {
	spinlock_t lock;
	u32 threshold;
	unsigned int shift;
	struct sim_counter *slots;
	struct uvm_sim_counter_entry *ring;
	u32 put;
	u32 get;
};

/**
 * struct sim_ce - copy engine
 * @gpu: whose
 * @name: of its timeline
 * @lock: guards @queue, @current_job, @seqno and @resetting
 * @queue: jobs to run
 * @current_job: the one that runs
 * @seqno: last of the timeline
 * @context: the timeline
 * @resetting: the engine drops what it runs, and takes nothing
 * @reset_lock: serializes resets
 * @work: where the thread waits for jobs, or hangs
 * @idle: where a reset waits for the thread
 * @thread: runs jobs
 */
struct sim_ce {
	struct sim_gpu *gpu;
	char name[UVM_NAME_LEN + 16];
	spinlock_t lock;
	struct list_head queue;
	struct dma_fence *current_job;
	u64 seqno;
	u64 context;
	bool resetting;
	struct mutex reset_lock;
	wait_queue_head_t work;
	wait_queue_head_t idle;
	struct task_struct *thread;
};

/**
 * struct sim_gpu - a software GPU
 * @dev: device for DMA
 * @config: what it is
 * @core: the core's object
 * @ops: what the core may ask of it
 * @memory: CPU address of device address 0; NULL for UVM_MEMORY_NUMA
 * @iommu: translation of DMA addresses
 * @atomics: held from the read to the write of an atomic in system memory: those of
 *	a GPU meet in its L2 cache
 * @faults: fault ring
 * @counters: access counters
 * @channels: by id; its lock keeps a channel that was found
 * @replay_seq: number of replays
 * @stall: where stalled channels wait
 * @ces: copy engines
 * @nr_ces: number of them
 * @peer: its number among peers, or -1
 * @jobs: fences that exist, plus one until the GPU is removed
 * @jobs_gone: @jobs fell to zero
 * @stats: by enum sim_stat
 * @hang_copy: debug knob: so many batches hang
 * @fail_copy: debug knob: so many batches fail
 * @reset_fails: debug knob: so many resets fail
 * @debugfs: directory
 */
struct sim_gpu {
	struct device *dev;
	struct sim_config config;
	struct uvm_gpu *core;
	struct uvm_gpu_ops ops;
	void *memory;
	struct sim_iommu iommu;
	struct mutex atomics;
	struct sim_fault_ring faults;
	struct sim_counters counters;
	struct xarray channels;
	atomic_t replay_seq;
	wait_queue_head_t stall;
	struct sim_ce *ces;
	unsigned int nr_ces;
	int peer;
	atomic_t jobs;
	struct completion jobs_gone;
	atomic64_t stats[SIM_STAT_NR];
	atomic_t hang_copy;
	atomic_t fail_copy;
	atomic_t reset_fails;
	struct dentry *debugfs;
};

static inline void sim_count(struct sim_gpu *gpu, enum sim_stat stat, u64 n)
{
	atomic64_add(n, &gpu->stats[stat]);
}

/* Use up one shot of a debug knob. */
static inline bool sim_knob_fires(atomic_t *knob)
{
	return unlikely(atomic_read(knob) > 0) &&
	       atomic_dec_if_positive(knob) >= 0;
}

static inline struct sim_as *to_sim_as(struct uvm_gpu_as *as)
{
	return container_of(as, struct sim_as, base);
}

static inline struct sim_channel *to_sim_channel(struct uvm_gpu_channel *channel)
{
	return container_of(channel, struct sim_channel, base);
}

/* gpu.c */
int sim_gpu_probe(struct device *dev, const struct sim_config *config);

/* memory.c */
int sim_memory_init(struct sim_gpu *gpu);
void sim_memory_fini(struct sim_gpu *gpu);
void *sim_memory_at(struct sim_gpu *gpu, u64 addr, u32 *len,
		    struct sim_target target, bool write);

/* iommu.c */
int sim_iommu_init(struct sim_gpu *gpu);
void sim_iommu_fini(struct sim_gpu *gpu);
void *sim_iommu_lookup(struct sim_iommu *iommu, u64 addr, u32 *len,
		       bool write);

/* mmu.c */
struct uvm_gpu_as *sim_as_create(struct uvm_gpu *core, u64 id);
void sim_as_destroy(struct uvm_gpu_as *as);
int sim_map_prepare(struct uvm_gpu_as *as, u64 start, u64 length);
void sim_map(struct uvm_gpu_as *as, const struct uvm_gpu_entry *entries,
	     unsigned int count);
unsigned long sim_unmap(struct uvm_gpu_as *as, u64 start, u64 length);
unsigned int sim_harvest(struct uvm_gpu_as *as, u64 start, u64 length,
			 unsigned long *accessed);
u64 sim_walk(struct sim_as *as, u64 va, u32 access);
bool sim_translates(struct sim_as *as, u64 va, u32 access);

/* port.c */
void sim_tlb_invalidate(struct uvm_gpu_as *as, u64 start, u64 length);
void sim_port_init(struct sim_channel *ch);

/* channel.c */
struct uvm_gpu_channel *sim_channel_create(struct uvm_gpu_as *as, u64 id);
int sim_channel_submit(struct uvm_gpu_channel *channel, const void *commands,
		       u32 length, u64 point);
void sim_channel_stop(struct uvm_gpu_channel *channel);
void sim_channel_destroy(struct uvm_gpu_channel *channel);
void sim_channel_leave(struct sim_channel *ch, enum sim_channel_state state);
void sim_channels_fail(struct sim_gpu *gpu);

/* fault.c */
int sim_fault_init(struct sim_gpu *gpu);
void sim_fault_fini(struct sim_gpu *gpu);
void sim_fault_stall(struct sim_channel *ch);
void sim_fault_ahead(struct sim_channel *ch, u64 va, u32 access);
unsigned int sim_fault_fetch(struct uvm_gpu *core, struct uvm_gpu_fault *faults,
			     unsigned int max);
void sim_fault_replay(struct uvm_gpu *core);
bool sim_fault_cancel(struct uvm_gpu *core, const struct uvm_gpu_fault *fault);

/* counter.c */
int sim_counters_init(struct sim_gpu *gpu);
void sim_counters_fini(struct sim_gpu *gpu);
bool sim_counters_access(struct sim_gpu *gpu, u64 as_id, u64 va, u32 len);
void sim_counters_forget(struct sim_gpu *gpu, u64 as_id);
int sim_counter_enable(struct uvm_gpu *core, u32 threshold);
unsigned int sim_counter_fetch(struct uvm_gpu *core,
			       struct uvm_gpu_counter *counters,
			       unsigned int max);
void sim_counter_clear(struct uvm_gpu *core,
		       const struct uvm_gpu_counter *counter);

/* copy.c */
int sim_ces_init(struct sim_gpu *gpu);
void sim_ces_fini(struct sim_gpu *gpu);
struct dma_fence *sim_copy(struct uvm_gpu *core, unsigned int engine,
			   const struct uvm_gpu_segment *segments,
			   unsigned int count, struct dma_fence *after);
void sim_ce_reset(struct sim_ce *ce);

/* peer.c */
void sim_peer_add(struct sim_gpu *gpu);
void sim_peer_remove(struct sim_gpu *gpu);
int sim_peer_number(const struct sim_gpu *gpu, struct uvm_gpu *core);
bool sim_peer_access(struct uvm_gpu *core, struct uvm_gpu *peer);
struct sim_gpu *sim_peer_find(unsigned int number);
void sim_peer_use(unsigned int number);
void sim_peer_unuse(unsigned int number);
int sim_peer_uses(const struct sim_gpu *gpu);

/* debugfs.c */
void sim_debugfs_init(void);
void sim_debugfs_fini(void);
void sim_debugfs_add(struct sim_gpu *gpu);
void sim_debugfs_remove(struct sim_gpu *gpu);

#endif /* _SIM_H */
