/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Types and functions that cross the files of uvm.ko.
 */
#ifndef _UVM_CORE_H
#define _UVM_CORE_H

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <uvm/gpu.h>

#include "compat.h"
#include "delay.h"
#include "devmem.h"
#include "evict.h"
#include "memory.h"
#include "policy.h"
#include "resident.h"
#include "stats.h"
#include "thrash.h"

/**
 * DOC: Locks, outermost first
 *
 * &uvm_mm.lock: the VA spaces of an mm
 * → &uvm_va_space.teardown: one teardown of a GPU space at a time. Its holder waits
 *   for the users of the GPU space, who may hold mmap_lock.
 * → &uvm_va_space.advise_lock: the first change of a policy
 * → mmap_lock
 * → &uvm_block.lock: where the pages of a managed block are. Never two of them. Under
 *   it page locks of pages that aren't in a move, and core's i_mmap_rwsem
 * → &uvm_va_space.lock: GPU spaces, channels, range groups and the state of the mm link
 * → &uvm_channel.lock: the backend's half of a channel
 * → &uvm_gpu.counter_lock: who wants access counters
 * → &uvm_thrash.lock: pages that bounce
 * → &uvm_lru.sweep_lock, &uvm_lru.search_lock: tried for only
 * → &uvm_tenant.lock: residents of an mm in a GPU's memory
 * → &uvm_gpu_space.notifier_lock: GPU page tables and DMA addresses in them.
 *   The MMU notifier takes it, so it is taken under reclaim: nothing is
 *   allocated, copied or waited for under it.
 * → &uvm_memory_events.lock, a spinlock: who wants to know when memory gets scarce
 * → spinlocks: &uvm_va_space.mm_lock, &uvm_mm.pin_lock, &uvm_devmem.watch_lock
 *   and under it &uvm_devmem_zone.lock, &uvm_policies.lock, &uvm_windows.lock,
 *   the lock of &uvm_managed.blocks, &uvm_lru.lock, uvm_zaps_lock and under it &uvm_zaps.lock
 *
 * uvm_gpus_lock (the registry) may be taken under mmap_lock, and takes none but
 * spinlocks.
 *
 * mmap_lock, and whatever else user space can make somebody wait for (a page fault
 * that a file system in user space serves), is never waited for inside
 * uvm_gpu_space_enter(): teardown waits for those who entered.
 */

/* Blocks are the unit of migration and of fault service: one huge page. */
#define UVM_BLOCK_SHIFT		21
#define UVM_BLOCK_SIZE		(1UL << UVM_BLOCK_SHIFT)
#define UVM_BLOCK_PAGES		(UVM_BLOCK_SIZE >> PAGE_SHIFT)

/* With the CPU they fit into the masks of &struct uvm_processor. */
#define UVM_MAX_GPUS		63
#define UVM_MAX_CHANNELS	256
#define UVM_MAX_SUBMIT		SZ_32K
#define UVM_MAX_QUERY		SZ_64K

/*
 * In every dev_pagemap of ours, so that one walk finds all our pages: some address
 * that is nobody else's.
 */
extern const struct file_operations uvm_fops;
#define UVM_PGMAP_OWNER		((void *)&uvm_fops)

/* ---- what a CPU fault brings home (window.c) ---- */

#define UVM_WINDOW_MIN	((unsigned long)SZ_64K)
#define UVM_WINDOW_MAX	((unsigned long)SZ_32M)
#define UVM_WINDOW_BITS	5

/**
 * struct uvm_window - a window of some mm
 * @mm: whose; compared, never followed
 * @next: where it ended
 * @size: how large it was, before a VMA or a block cut it
 */
struct uvm_window {
	const struct mm_struct *mm;
	unsigned long next;
	unsigned long size;
};

/**
 * struct uvm_windows - the last windows in a GPU's memory
 * @lock: protects @slots
 * @slots: by mm and address
 */
struct uvm_windows {
	spinlock_t lock;
	struct uvm_window slots[1 << UVM_WINDOW_BITS];
};

void uvm_window_init(struct uvm_windows *windows);
void uvm_window_get(struct uvm_windows *windows, const struct vm_area_struct *vma,
		    unsigned long address, unsigned long min, unsigned long *start,
		    unsigned long *end);

/* ---- GPUs (gpu.c) ---- */

/*
 * No memory of this world has page frames from here on. Each GPU without struct pages has
 * some of its own, so that what tells of pages by page frame tells of its pages too. All
 * are below the flags of HMM.
 */
#define UVM_PSEUDO_PFN		BIT_ULL(44)
#define UVM_PSEUDO_SHIFT	30

/**
 * struct uvm_gpu - a GPU that a backend registered
 * @desc: what the backend told, copied
 * @name: storage of @desc.name
 * @id: handed out once in the life of the module
 * @ref: the registry, GPU spaces, and whoever works with it
 * @gone: the last reference is dropped
 * @dead: the backend unregisters it; set once, under uvm_gpus_lock
 * @has_pages: there are struct pages of its memory, or it is a node: ordinary memory
 *	moves there. For want of CONFIG_DEVICE_PRIVATE a UVM_MEMORY_PRIVATE one has none
 * @pgmap: struct pages of its memory; not for UVM_MEMORY_NUMA
 * @base_pfn: page frame of device address 0; without struct pages one of nothing, from
 *	UVM_PSEUDO_PFN on, which names a page all the same
 * @mem: which pages are in use
 * @spaces: GPU spaces by &uvm_gpu_as.id, for the fault worker; xa_lock guards
 *	the step from finding one to &uvm_gpu_space.users
 * @fault_work: empties the fault buffer
 * @faults: its room
 * @counter_work: empties the buffer of access counters
 * @counters: its room
 * @counter_lock: protects @counter_users and &uvm_gpu_space.counters, and serializes the
 *	backend's switch
 * @counter_users: GPU spaces that want it to count
 * @next_engine: spreads copies over the engines
 * @lost: an engine could not be reset: nothing is copied by the GPU any more
 * @reset_lock: serializes resets; innermost but for the backend's own locks
 * @resets: how many there were; written under @reset_lock
 * @strays: batches of other GPUs that may read its memory for ever: their engines could
 *	not be reset
 * @batches: batches of its engines that are not over
 * @stats: what its faults, and those of the CPU in its memory, took
 * @windows: what CPU faults in its memory brought home last
 * @lru: who uses its memory; not for UVM_MEMORY_NUMA
 * @events: who wants to know when its memory gets scarce
 * @scrub: fills what is free; not for UVM_MEMORY_NUMA
 * @debugfs: the account of its memory; not for UVM_MEMORY_NUMA
 * @parked: its pages are in @copies, and its backend has let go of it: @desc.ops and
 *	@desc.dev are gone. Set once, under uvm_gpus_lock; read inside
 *	uvm_engines_hold()
 * @parked_link: in the list of parked GPUs
 * @copies: host copies of its pages, by page number, see park.c
 * @reaper: frees it with the last of its pages, once it is parked
 * @left: its backend has unregistered it, and pages of it are parked still
 * @reaping: somebody has begun @reaper
 */
struct uvm_gpu {
	struct uvm_gpu_desc desc;
	char name[UVM_NAME_LEN];
	u32 id;
	struct kref ref;
	struct completion gone;
	bool dead;
	bool has_pages;
	struct dev_pagemap pgmap;
	unsigned long base_pfn;
	struct uvm_devmem mem;
	struct xarray spaces;
	struct work_struct fault_work;
	struct uvm_gpu_fault *faults;
	struct work_struct counter_work;
	struct uvm_gpu_counter *counters;
	struct mutex counter_lock;
	unsigned int counter_users;
	atomic_t next_engine;
	bool lost;
	struct mutex reset_lock;
	unsigned int resets;
	atomic_t strays;
	atomic_t batches;
	struct uvm_stats stats;
	struct uvm_windows windows;
	struct uvm_lru lru;
	struct uvm_memory_events events;
	struct uvm_scrub *scrub;
	struct dentry *debugfs;
	bool parked;
	struct list_head parked_link;
	struct xarray copies;
	struct work_struct reaper;
	bool left;
	atomic_t reaping;
};

struct uvm_gpu *uvm_gpu_get(const u8 *uuid);
const struct uvm_gpu *uvm_gpu_by_id(u32 id);
void uvm_gpu_put(struct uvm_gpu *gpu);
int uvm_gpu_nearest_node(const struct uvm_gpu *gpu);
bool uvm_gpu_present(const u8 *uuid);
struct uvm_gpu *uvm_gpu_of_page(struct page *page);
int uvm_gpu_id_of_pfn(unsigned long pfn);
struct uvm_gpu *uvm_gpu_of_hmm(unsigned long hmm_pfn);
int uvm_gpu_id_of_node(int node);
void uvm_gpu_take_pages(struct uvm_gpu *gpu, unsigned long index, unsigned int count);
void uvm_gpu_free_pages(struct uvm_gpu *gpu, unsigned long index, unsigned int count);
void uvm_gpu_set_parked(struct uvm_gpu *gpu);
void uvm_gpus_for_each(void (*fn)(struct uvm_gpu *gpu, void *arg), void *arg);
unsigned int uvm_gpu_fill_info(struct uvm_gpu_info *info, unsigned int max);

static inline bool uvm_gpu_is_numa(const struct uvm_gpu *gpu)
{
	return gpu->desc.memory_kind == UVM_MEMORY_NUMA;
}

/* Does the CPU use its pages in place? They have references then, see uvm_gpu_take_pages(). */
static inline bool uvm_gpu_is_coherent(const struct uvm_gpu *gpu)
{
	return gpu->desc.memory_kind == UVM_MEMORY_COHERENT;
}

static inline bool uvm_gpu_has_pfn(const struct uvm_gpu *gpu, unsigned long pfn)
{
	return !uvm_gpu_is_numa(gpu) && pfn >= gpu->base_pfn &&
	       pfn - gpu->base_pfn < gpu->desc.memory_size >> PAGE_SHIFT;
}

/* Private or coherent memory of one of our GPUs; of a page that the caller holds. */
static inline bool uvm_page_is_ours(const struct page *page)
{
	return (is_device_private_page(page) || is_device_coherent_page(page)) &&
	       page_pgmap(page)->owner == UVM_PGMAP_OWNER;
}

struct page *uvm_gpu_alloc_page(struct uvm_gpu *gpu, unsigned long index,
				unsigned int order);

/* Empties fault buffers. Waits for engines only. */
extern struct workqueue_struct *uvm_gpu_wq;
/* Releases mms. Waits for engines, and for works of uvm_gpu_wq. */
extern struct workqueue_struct *uvm_release_wq;
/* Brings pages home. Tries for mmap_locks at most, and waits for none. */
extern struct workqueue_struct *uvm_evacuate_wq;

/* ---- VA spaces (va_space.c, mm.c) ---- */

/**
 * struct uvm_managed - the managed ranges of a VA space, see managed.c
 * @inode: what its file maps; that of &uvm_file.inode
 * @blocks: &struct uvm_block by address >> UVM_BLOCK_SHIFT; xa_lock guards the step from
 *	finding one to its reference
 * @cpu_pages: pages of blocks that the CPU holds
 */
struct uvm_managed {
	struct inode *inode;
	struct xarray blocks;
	atomic_long_t cpu_pages;
};

/**
 * enum uvm_mm_state - what a VA space may do with its mm; moves forward only
 * @UVM_MM_NONE: it has none, and never will: UVM_INIT_MULTI_PROCESS
 * @UVM_MM_UNINITIALIZED: there is no mm file yet
 * @UVM_MM_ALIVE: the VA space holds mm_users; the mm may be retained
 * @UVM_MM_RELEASING: no new retainers, no new registrations; channels are going
 *	down
 * @UVM_MM_RELEASED: no GPU can reach the mm any more
 */
enum uvm_mm_state {
	UVM_MM_NONE,
	UVM_MM_UNINITIALIZED,
	UVM_MM_ALIVE,
	UVM_MM_RELEASING,
	UVM_MM_RELEASED,
};

/**
 * struct uvm_zaps - who unmaps pages of an mm, and which of them mustn't go just now
 * @node: in the table of all of them, by @mm, while there is a VA space
 * @mm: the mm
 * @mni: tells of all of the mm
 * @lock: protects what follows
 * @active: unmappings under way, counted by the plain notifier
 * @start: the first byte that one of them is about
 * @end: the byte after the last one
 * @reaped: somebody unmapped who can't wait: the mm is being killed
 * @moves: moves of huge private pages, by &uvm_move.zaps_link
 * @moved: for who waits for one of them
 */
struct uvm_zaps {
	struct hlist_node node;
	struct mm_struct *mm;
	struct mmu_interval_notifier mni;
	spinlock_t lock;
	unsigned int active;
	unsigned long start;
	unsigned long end;
	bool reaped;
	struct list_head moves;
	wait_queue_head_t moved;
};

/**
 * struct uvm_mm - what the VA spaces of one mm share
 * @mn: tells when the mm goes, and of unmappings; carries the reference count, too
 * @lock: protects @spaces, and that @zaps is in use as long as there are any
 * @spaces: VA spaces of the mm, by &uvm_va_space.mm_link
 * @zaps: see zaps.c
 * @pin_lock: protects @pins
 * @pins: mm_users references that our mm files hold. Taken along with them, and
 *	given up before them: while @pin_lock is held, mm_users can equal @pins only
 *	if nobody else holds any.
 */
struct uvm_mm {
	struct mmu_notifier mn;
	struct mutex lock;
	struct list_head spaces;
	struct uvm_zaps zaps;
	spinlock_t pin_lock;
	unsigned int pins;
};

/**
 * struct uvm_va_space - a process's unified address space
 * @ref: the file, and whoever looks at VA spaces of others
 * @rcu: for who looks at its policies for the sake of its mm
 * @id: index in uvm_va_spaces
 * @filp: the file. Whoever keeps the file from going may take another reference.
 * @pid: the process that called UVM_INIT
 * @mm: the process's; mmgrab()bed for the life of the VA space. NULL if it has none.
 * @umm: what it shares with other VA spaces of @mm
 * @mm_link: in &uvm_mm.spaces
 * @fault_wq: serves the faults of its GPUs; made with the first of them
 * @teardown: serializes whoever takes GPU spaces down
 * @lock: protects @gpu_spaces and @channels, and orders registrations against
 *	the step to UVM_MM_RELEASING
 * @gpu_spaces: registered GPUs, by &uvm_gpu.id
 * @channels: by the id that user space knows
 * @next_channel: where the search for the next id starts
 * @nr_channels: entries of @channels
 * @mm_lock: protects @mm_state, @retainers and @drain_late
 * @mm_state: see &enum uvm_mm_state
 * @retainers: users of the mm between uvm_mm_retain() and uvm_mm_release();
 *	the VA space holds mm_users on behalf of all of them
 * @drain_late: the shutdown didn't wait for the last retainer, who starts
 *	@drain_work
 * @mm_idle: woken when @retainers drops to 0
 * @mm_down: the shutdown is over
 * @shutdown_work: runs the shutdown for somebody who can't
 * @drain_work: lets the mm go
 * @policies: what user space wants for ranges
 * @policy_notifier: clears them when memory is unmapped; with the first of them
 * @policies_watched: it is there. Protected by @advise_lock
 * @policies_node: then others find them by @mm
 * @advise_lock: see DOC: Locks
 * @range_groups: by id; protected by @lock, as are
 * @nr_range_groups: their number
 * @next_range_group: where the search for the next id starts
 * @managed: what it maps of its file
 * @snapshot: HMM wants a notifier even for a look without a promise; this one
 *	covers the first page, which never holds anything
 */
struct uvm_va_space {
	struct kref ref;
	struct rcu_head rcu;
	u32 id;
	struct file *filp;
	struct pid *pid;
	struct mm_struct *mm;
	struct uvm_mm *umm;
	struct list_head mm_link;
	struct workqueue_struct *fault_wq;
	struct mutex teardown;
	struct rw_semaphore lock;
	struct xarray gpu_spaces;
	struct xarray channels;
	u32 next_channel;
	u32 nr_channels;
	spinlock_t mm_lock;
	enum uvm_mm_state mm_state;
	unsigned int retainers;
	bool drain_late;
	wait_queue_head_t mm_idle;
	struct completion mm_down;
	struct work_struct shutdown_work;
	struct work_struct drain_work;
	struct uvm_policies policies;
	struct mmu_interval_notifier policy_notifier;
	bool policies_watched;
	struct hlist_node policies_node;
	struct mutex advise_lock;
	struct xarray range_groups;
	u32 nr_range_groups;
	u32 next_range_group;
	struct uvm_managed managed;
	struct mmu_interval_notifier snapshot;
};

struct uvm_fault_queue;

/**
 * struct uvm_gpu_space - a GPU registered in a VA space
 * @ref: the VA space's table, and whoever works with it; memory only
 * @vs: the VA space; valid while the mm is retained, or while one of @users
 * @gpu: holds a reference, and the backend's module with it, until it leaves the
 *	table; valid while one of @users
 * @slot: its bit in &uvm_policy.accessed_by; while it is in the VA space's table
 * @as: page tables in the GPU; NULL once they are gone
 * @users: those who use @gpu through it (uvm_gpu_space_enter()), plus one until
 *	detached
 * @idle: @users dropped to 0
 * @faults: faults being served
 * @notifier_lock: see DOC: Locks
 * @spans: by address >> UVM_SPAN_SHIFT; added by the work of @faults
 * @channels: by &uvm_gpu_channel.id, until killed; xa_lock guards the step from
 *	finding one to &uvm_channel.ref
 * @counters: it wants the GPU to count accesses
 * @tenant: what the mm has in the GPU's memory; NULL for UVM_MEMORY_NUMA, and without an
 *	mm. Valid for those who entered
 * @event: it wants to know when the GPU's memory gets scarce
 * @thrash: pages that bounce
 * @stats: what its faults took
 * @dying: nobody may enter any more
 * @detached: nobody is in it any more. Protected by &uvm_va_space.teardown, as is
 * @unmapped: nothing is mapped any more
 */
struct uvm_gpu_space {
	struct kref ref;
	struct uvm_va_space *vs;
	struct uvm_gpu *gpu;
	unsigned int slot;
	struct uvm_gpu_as *as;
	refcount_t users;
	struct completion idle;
	struct uvm_fault_queue *faults;
	struct mutex notifier_lock;
	struct xarray spans;
	struct xarray channels;
	bool counters;
	struct uvm_tenant *tenant;
	struct uvm_memory_event event;
	struct uvm_thrash thrash;
	struct uvm_stats stats;
	bool dying;
	bool detached;
	bool unmapped;
};

enum uvm_file_kind { UVM_FILE_FRESH, UVM_FILE_VA_SPACE, UVM_FILE_MM };

/**
 * struct uvm_file - an open of /dev/uvm
 * @lock: serializes the one step of @kind away from UVM_FILE_FRESH
 * @kind: set once, released after the members below are valid
 * @inode: what it maps: an address_space of its own, so that nobody else's mappings are
 *	found through it
 * @vs: of UVM_FILE_VA_SPACE: its own; of UVM_FILE_MM: that of @va_file
 * @va_file: of UVM_FILE_MM: the VA space's file, held
 * @owner: of UVM_FILE_MM: the files that UVM_MM_INIT was called with; compared, never
 *	followed
 */
struct uvm_file {
	struct mutex lock;
	enum uvm_file_kind kind;
	struct inode *inode;
	struct uvm_va_space *vs;
	struct file *va_file;
	fl_owner_t owner;
};

/**
 * struct uvm_ucmd - an ioctl under way
 * @filp: the open file
 * @file: what it is, of the kind that the command wants
 * @vs: its VA space, for commands that want one
 * @cmd: the argument, in kernel memory, of the size that the kernel knows
 */
struct uvm_ucmd {
	struct file *filp;
	struct uvm_file *file;
	struct uvm_va_space *vs;
	void *cmd;
};

static inline enum uvm_file_kind uvm_file_kind(const struct uvm_file *file)
{
	/* Pairs with the release when the kind is set: members are valid. */
	return smp_load_acquire(&file->kind);
}

int uvm_init_ioctl(struct uvm_ucmd *ucmd);
void uvm_va_space_close(struct uvm_va_space *vs);
struct uvm_va_space *uvm_va_space_next(u32 *id);
void uvm_va_space_put(struct uvm_va_space *vs);
unsigned int uvm_va_space_nr_gpus(struct uvm_va_space *vs);

/* The steps of a shutdown, in order. */
enum uvm_mm_step {
	UVM_MM_STEP_REFUSE,
	UVM_MM_STEP_STOP,
	UVM_MM_STEP_DETACH,
	UVM_MM_STEP_FLUSH,
	UVM_MM_STEP_UNSET,
	UVM_MM_STEP_DEFERRED,
	UVM_MM_STEP_RELEASED,
	UVM_MM_STEP_FREE,
	UVM_MM_STEP_DRAIN,
	UVM_MM_STEP_MMPUT,
	UVM_MM_STEP_PUT,
};

void uvm_mm_step(struct uvm_va_space *vs, enum uvm_mm_step step);

int uvm_mm_init_ioctl(struct uvm_ucmd *ucmd);
int uvm_mm_attach(struct uvm_va_space *vs, struct mm_struct *mm);
void uvm_mm_detach(struct uvm_va_space *vs);
void uvm_mm_file_flush(struct uvm_file *file, fl_owner_t id);
void uvm_mm_file_release(struct uvm_file *file);
int uvm_mm_retain(struct uvm_va_space *vs);
void uvm_mm_release(struct uvm_va_space *vs);
void uvm_mm_check_abandoned(struct uvm_va_space *vs);
bool uvm_mm_initialized(struct uvm_va_space *vs);
bool uvm_mm_releasing(struct uvm_va_space *vs);
const char *uvm_mm_state_name(struct uvm_va_space *vs);

/* ---- GPU spaces (gpu_space.c) ---- */

int uvm_register_gpu_ioctl(struct uvm_ucmd *ucmd);
int uvm_unregister_gpu_ioctl(struct uvm_ucmd *ucmd);
void uvm_gpu_spaces_stop(struct uvm_va_space *vs);
void uvm_gpu_spaces_free(struct uvm_va_space *vs);
void uvm_gpu_spaces_remove(struct uvm_va_space *vs);
void uvm_gpu_spaces_forget(struct uvm_gpu *gpu);
void uvm_gpu_spaces_forget_peer(struct uvm_gpu *peer);
struct uvm_gpu_space *uvm_gpu_space_find(struct uvm_va_space *vs, const u8 *uuid);
struct uvm_gpu_space *uvm_gpu_space_get(struct uvm_va_space *vs, const u8 *uuid);
void uvm_gpu_space_put(struct uvm_gpu_space *gs);
bool uvm_gpu_space_enter(struct uvm_gpu_space *gs);
void uvm_gpu_space_leave(struct uvm_gpu_space *gs);

/* For the fault work, which entered. */
static inline void uvm_gpu_space_count(struct uvm_gpu_space *gs, enum uvm_stat which,
				       unsigned long n)
{
	uvm_stats_add(&gs->stats, which, n);
	uvm_stats_add(&gs->gpu->stats, which, n);
}

struct uvm_gpu_space *uvm_gpu_space_by_as(struct uvm_gpu *gpu, u64 id);

/* ---- access counters (counter.c) ---- */

/* Counters fetched at once. */
#define UVM_COUNTER_BATCH	256

int uvm_counter_init(struct uvm_gpu *gpu);
void uvm_counter_fini(struct uvm_gpu *gpu);
int uvm_counter_set(struct uvm_gpu_space *gs, bool on);
int uvm_set_access_counters_ioctl(struct uvm_ucmd *ucmd);

/* ---- what users see of memory, and set (memory.c) ---- */

int uvm_query_memory_ioctl(struct uvm_ucmd *ucmd);
int uvm_set_memory_limit_ioctl(struct uvm_ucmd *ucmd);
int uvm_set_memory_event_ioctl(struct uvm_ucmd *ucmd);
void uvm_memory_event_end(struct uvm_gpu_space *gs);
void uvm_memory_taken(struct uvm_gpu *gpu);

/* ---- who can do what with whose memory (processor.c) ---- */

bool uvm_is_peer(struct uvm_gpu *who, struct uvm_gpu *whose);
bool uvm_gpus_mix(const struct uvm_gpu *a, const struct uvm_gpu *b);
int uvm_query_processors_ioctl(struct uvm_ucmd *ucmd);

/* ---- what user space wants (advise.c) ---- */

void uvm_advise_init(struct uvm_va_space *vs);
void uvm_advise_fini(struct uvm_va_space *vs);
void uvm_advise_clip(const struct mm_struct *mm, unsigned long addr,
		     unsigned long *start, unsigned long *end);
bool uvm_advise_allows(const struct mm_struct *mm, unsigned long addr,
		       unsigned long *last);
int uvm_set_preferred_location_ioctl(struct uvm_ucmd *ucmd);
int uvm_set_accessed_by_ioctl(struct uvm_ucmd *ucmd);
int uvm_set_fault_migration_ioctl(struct uvm_ucmd *ucmd);
int uvm_set_prefetch_ioctl(struct uvm_ucmd *ucmd);
int uvm_set_read_mostly_ioctl(struct uvm_ucmd *ucmd);
int uvm_create_range_group_ioctl(struct uvm_ucmd *ucmd);
int uvm_destroy_range_group_ioctl(struct uvm_ucmd *ucmd);
int uvm_set_range_group_ioctl(struct uvm_ucmd *ucmd);
int uvm_allow_migration_ioctl(struct uvm_ucmd *ucmd);
int uvm_query_policy_ioctl(struct uvm_ucmd *ucmd);

/* ---- ranges (range.c) ---- */

int uvm_query_range_ioctl(struct uvm_ucmd *ucmd);

/* ---- pages leave a GPU (evacuate.c) ---- */

int uvm_evacuate_va_space(struct uvm_va_space *vs, u32 gpu_id,
			  unsigned long *pfns, u64 *moved, u64 *left);
void uvm_evacuate_gpu(struct uvm_gpu *gpu);
long uvm_evacuate_strays(struct uvm_gpu *gpu, unsigned long want);
void uvm_evacuate_forget(struct uvm_gpu *gpu);
bool uvm_vma_may_have_pages(const struct vm_area_struct *vma);

/* ---- pages stay behind (park.c) ---- */

int uvm_engines_hold(void);
void uvm_engines_release(int idx);
unsigned long uvm_park_patience(const struct uvm_gpu *gpu);
int uvm_park_gpu(struct uvm_gpu *gpu);
int uvm_park_read(struct uvm_gpu *gpu, unsigned long index, struct page *dst);
void uvm_park_forget(struct uvm_gpu *gpu, unsigned long index, unsigned int nr);
void uvm_park_init(struct uvm_gpu *gpu);
void uvm_park_fini(struct uvm_gpu *gpu);

/*
 * Inside uvm_engines_hold() false is for good until the end of it; true is for ever, and
 * the host copies are there.
 */
static inline bool uvm_gpu_is_parked(const struct uvm_gpu *gpu)
{
	/* Pairs with uvm_gpu_set_parked(). */
	return smp_load_acquire(&gpu->parked);
}

/* ---- what people see (debugfs.c) ---- */

void uvm_debugfs_init(void);
void uvm_debugfs_exit(void);
void uvm_debugfs_add_gpu(struct uvm_gpu *gpu);
void uvm_debugfs_del_gpu(struct uvm_gpu *gpu);
void uvm_show_fdinfo(struct seq_file *m, struct file *filp);

/* ---- channels (channel.c) ---- */

/**
 * struct uvm_channel - a command queue
 * @ref: the VA space's, plus whoever works with it
 * @link: for the one who takes it out of the VA space's table
 * @gs: where it was created; valid while @hw is
 * @gpu_id: &uvm_gpu.id
 * @lock: protects @hw, @gpu_gone and @submitted
 * @gpu_gone: its GPU went away
 * @hw: the backend's half; NULL once stopped for good
 * @hw_id: &uvm_gpu_channel.id; index in &uvm_gpu_space.channels
 * @submitted: last point handed out
 * @completed: point reached; written by the backend, never goes back
 * @stop_lock: protects the four below
 * @state: enum uvm_channel_state; leaves UVM_CHANNEL_RUNNING once
 * @reason: enum uvm_fault_reason
 * @access: enum uvm_access
 * @address: of the access that stopped it
 * @wait: woken when @completed or @state changes
 */
struct uvm_channel {
	struct kref ref;
	struct list_head link;
	struct uvm_gpu_space *gs;
	u32 gpu_id;
	struct mutex lock;
	struct uvm_gpu_channel *hw;
	bool gpu_gone;
	u64 hw_id;
	u64 submitted;
	atomic64_t completed;
	spinlock_t stop_lock;
	u32 state;
	u32 reason;
	u32 access;
	u64 address;
	wait_queue_head_t wait;
};

int uvm_channel_create_ioctl(struct uvm_ucmd *ucmd);
int uvm_channel_submit_ioctl(struct uvm_ucmd *ucmd);
int uvm_channel_query_ioctl(struct uvm_ucmd *ucmd);
int uvm_channel_destroy_ioctl(struct uvm_ucmd *ucmd);
int uvm_wait_ioctl(struct uvm_ucmd *ucmd);
void uvm_channel_stop(struct uvm_channel *ch);
void uvm_channel_kill(struct uvm_channel *ch);
void uvm_channel_gpu_gone(struct uvm_channel *ch);
void uvm_channels_forget(struct uvm_va_space *vs);
struct uvm_channel *uvm_channel_next(struct uvm_gpu_space *gs, unsigned long *id);
void uvm_channel_put(struct uvm_channel *ch);
void uvm_channel_faulted(struct uvm_gpu_space *gs,
			 const struct uvm_gpu_fault *fault, u32 reason);
u64 uvm_next_id(void);

/* ---- GPU page tables (mirror.c) ---- */

/* One interval notifier covers this much, so that a fault is retried only when
 * something near it changed.
 */
#define UVM_SPAN_SHIFT		30
#define UVM_SPAN_SIZE		(1UL << UVM_SPAN_SHIFT)
#define UVM_SPAN_BLOCKS		(UVM_SPAN_SIZE >> UVM_BLOCK_SHIFT)

/**
 * struct uvm_dma_block - DMA mappings of the system pages a GPU maps in a block
 * @map: by page: DMA address, with UVM_DMA_WRITE if the GPU may write there; or
 *	UVM_DMA_NONE. The first one may be UVM_DMA_HUGE: then it is of all the
 *	block, and the others are UVM_DMA_NONE. With UVM_DMA_ALONE the GPU has the
 *	page for itself, which the CPU's page table doesn't name then. Protected by
 *	&uvm_gpu_space.notifier_lock; the fault worker alone adds.
 */
struct uvm_dma_block {
	dma_addr_t map[UVM_BLOCK_PAGES];
};

#define UVM_DMA_WRITE	((dma_addr_t)1)
#define UVM_DMA_HUGE	((dma_addr_t)2)
#define UVM_DMA_ALONE	((dma_addr_t)4)
#define UVM_DMA_FLAGS	(UVM_DMA_WRITE | UVM_DMA_HUGE | UVM_DMA_ALONE)
#define UVM_DMA_NONE	(~(dma_addr_t)0)

/**
 * struct uvm_span - a part of a GPU space under one interval notifier
 * @mni: the notifier
 * @gs: the GPU space
 * @blocks: allocated when a system page is first mapped, freed at shutdown. The span
 *	itself stays until the GPU space is freed: whoever waits in a page fault for
 *	it looks at @mni afterwards.
 */
struct uvm_span {
	struct mmu_interval_notifier mni;
	struct uvm_gpu_space *gs;
	struct uvm_dma_block *blocks[UVM_SPAN_BLOCKS];
};

struct uvm_mirror_request;
struct uvm_mirror_request *uvm_mirror_request_alloc(void);
void uvm_mirror_request_free(struct uvm_mirror_request *req);
int uvm_mirror_block(struct uvm_gpu_space *gs, struct uvm_mirror_request *req,
		     unsigned long addr, const u8 *access,
		     const unsigned long *hold);
const unsigned long *uvm_mirror_atomics_left(const struct uvm_mirror_request *req);
void uvm_mirror_unmap(struct uvm_gpu_space *gs, unsigned long start,
		      unsigned long end);
void uvm_mirror_taken(struct uvm_va_space *vs, unsigned long start,
		      unsigned long npages, unsigned long *taken);
void uvm_mirror_unmap_all(struct uvm_gpu_space *gs);
void uvm_mirror_shutdown(struct uvm_gpu_space *gs);
void uvm_mirror_free(struct uvm_gpu_space *gs);

/* ---- the CPU's page tables (look.c) ---- */

int uvm_mirror_snapshot(struct uvm_va_space *vs, unsigned long start,
			unsigned long npages, unsigned long *pfns,
			const struct uvm_gpu *near);
void uvm_mirror_populate(struct uvm_va_space *vs, unsigned long start,
			 unsigned long npages, unsigned long *pfns, bool write);
extern const struct mmu_interval_notifier_ops uvm_snapshot_ops;
bool uvm_mirror_is_whole(const unsigned long *pfns);
int uvm_mirror_look_begin(void);
void uvm_mirror_look_end(int srcu);
void uvm_mirror_sync(void);

/* ---- copies (copy.c) ---- */

/* A batch goes to so many engines at most. */
#define UVM_COPY_PARTS	2

/**
 * struct uvm_copy_part - what one engine does of a batch
 * @engine: its number
 * @first: the first of &uvm_copy.seg
 * @nr: how many
 * @fence: signals when it is over
 */
struct uvm_copy_part {
	unsigned int engine;
	unsigned int first;
	unsigned int nr;
	struct dma_fence *fence;
};

/**
 * struct uvm_copy - one batch for copy engines
 * @gpu: whose engines
 * @nr: segments in @seg
 * @max: room in @seg
 * @seg: merged where both sides are contiguous
 * @parts: parts that were started
 * @part: those
 * @error: why not all were
 * @after: a fence that the batch is started after, or that makes the zeroes which it
 *	relies on, or NULL
 * @relies: it relies on @after
 * @unclean: it relied on zeroes which weren't made
 */
struct uvm_copy {
	struct uvm_gpu *gpu;
	unsigned int nr;
	unsigned int max;
	struct uvm_gpu_segment *seg;
	unsigned int parts;
	struct uvm_copy_part part[UVM_COPY_PARTS];
	int error;
	struct dma_fence *after;
	bool relies;
	bool unclean;
};

void uvm_copy_init(struct uvm_copy *copy, struct uvm_gpu *gpu,
		   struct uvm_gpu_segment *seg, unsigned int max);
void uvm_copy_add(struct uvm_copy *copy, const struct uvm_gpu_segment *seg);
void uvm_copy_zero(struct uvm_copy *copy, u64 dst, u32 length);
int uvm_copy_start(struct uvm_copy *copy);
int uvm_copy_finish(struct uvm_copy *copy);

/* ---- zeroes (scrub.c) ---- */

int uvm_scrub_init(struct uvm_gpu *gpu);
void uvm_scrub_stop(struct uvm_gpu *gpu);
void uvm_scrub_fini(struct uvm_gpu *gpu);
void uvm_scrub_kick(struct uvm_gpu *gpu);
void uvm_scrub_idle(struct uvm_gpu *gpu);
struct dma_fence *uvm_scrub_after(struct uvm_gpu *gpu, u64 dst, u64 length);
bool uvm_scrub_zeroed(struct uvm_gpu *gpu, u64 dst, u64 length, struct dma_fence **after);

/* ---- migration (migrate.c) and residency (residency.c) ---- */

int uvm_migrate_ioctl(struct uvm_ucmd *ucmd);
int uvm_query_residency_ioctl(struct uvm_ucmd *ucmd);
#define UVM_ANY_GPU	(~0U)
long uvm_migrate_home(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, u32 from);
long uvm_resident_pages(struct uvm_va_space *vs, u32 gpu_id, unsigned long *pfns);
long uvm_resident_in_block(struct uvm_va_space *vs, unsigned long *pfns,
			   unsigned long addr, unsigned long nr, u32 gpu_id);
int uvm_copy_entry(void __user *dst, size_t usize, const void *src, size_t ksize);
vm_fault_t uvm_migrate_to_ram(struct vm_fault *vmf);

/* ---- what nobody needs (discard.c) ---- */

int uvm_discard_ioctl(struct uvm_ucmd *ucmd);

/* ---- faults (fault.c) ---- */

/* Faults fetched at once. */
#define UVM_FAULT_BATCH		256

struct uvm_fault_queue *uvm_fault_queue_alloc(struct uvm_gpu_space *gs);
void uvm_fault_queue_free(struct uvm_fault_queue *queue);
void uvm_fault_worker(struct work_struct *work);
void uvm_fault_flush(struct uvm_gpu *gpu);
void uvm_fault_replay(struct uvm_gpu_space *gs);
bool uvm_fault_queue_hot(struct uvm_gpu_space *gs,
			 const struct uvm_gpu_counter *counter);

/* ---- checks of what user space gives (check.c) ---- */

int uvm_check_range(u64 base, u64 length);
int uvm_check_mapped(struct mm_struct *mm, unsigned long start, unsigned long end);
int uvm_check_dest(u32 kind, s32 node, const u8 *uuid);
bool uvm_vma_accessible(const struct vm_area_struct *vma);

#endif /* _UVM_CORE_H */
