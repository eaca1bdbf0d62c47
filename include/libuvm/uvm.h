/* SPDX-License-Identifier: MIT */
/*
 * libuvm: unified virtual memory for accelerators, from an application.
 */
#ifndef _LIBUVM_UVM_H
#define _LIBUVM_UVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/uvm.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/**
 * DOC: Conventions
 *
 * A function that returns int returns 0, or a negative errno. The meaning of
 * each errno is the one that <linux/uvm.h> documents for the command beneath;
 * uvm_strerror() puts it into words. Pointers to results may be NULL where that
 * is said. Results are written on success only, unless stated otherwise.
 *
 * A &struct uvm_ctx doesn't change between uvm_open() and uvm_close(), and
 * libuvm keeps no other state: any number of threads may use one context, and
 * one process any number of contexts. Only uvm_close() must be the last call.
 *
 * A context belongs to the process that opened it. fork() leaves it with the
 * parent: in the child every call fails with -EPERM, except uvm_close(), which
 * frees the child's copy and does the parent no harm, and uvm_get_info() and
 * the functions that enumerate. exec() closes it.
 *
 * Structures of <linux/uvm.h> appear in this interface as they are. The soname
 * changes when one of those grows.
 */

/** UVM_CMD_OPEN - for uvm_strerror(): the error came from uvm_open() */
#define UVM_CMD_OPEN	0U

struct uvm_ctx;

/**
 * uvm_open() - make the calling process known to the driver
 * @ctx: receives the context; NULL on failure
 *
 * Opens /dev/uvm twice, close-on-exec: a VA space bound to the caller's address
 * space (UVM_INIT), and its mm file (UVM_MM_INIT).
 *
 * Return: 0; -ENOENT: no /dev/uvm, as the module isn't loaded; -EACCES: no
 * permission to open it; -ENOTTY: it is something else; -EPROTONOSUPPORT: the
 * module speaks a version that this library doesn't; -ENOMEM, -EMFILE, -ENFILE,
 * or an error of the two commands.
 */
int uvm_open(struct uvm_ctx **ctx);

/**
 * uvm_close() - give everything back
 * @ctx: from uvm_open(); NULL is ignored
 *
 * Stops all GPU work of this context, then closes the mm file and the VA space,
 * in that order. Pages in GPU memory stay valid, and come back as they are
 * touched. No other thread may be using @ctx, nor use it later.
 */
void uvm_close(struct uvm_ctx *ctx);

/**
 * uvm_fd() - the VA space's file descriptor
 * @ctx: from uvm_open()
 *
 * For ioctls of one's own. It stays the context's: don't close it.
 *
 * Return: the descriptor.
 */
int uvm_fd(const struct uvm_ctx *ctx);

/**
 * uvm_mm_fd() - the mm file's descriptor
 * @ctx: from uvm_open()
 *
 * Return: the descriptor, which stays the context's.
 */
int uvm_mm_fd(const struct uvm_ctx *ctx);

/**
 * uvm_get_info() - version, page size, features and limits
 * @ctx: from uvm_open()
 * @info: receives the answer (UVM_INFO)
 *
 * Return: 0 or a negative errno.
 */
int uvm_get_info(struct uvm_ctx *ctx, struct uvm_info *info);

/**
 * uvm_page_size() - bytes in a page
 * @ctx: from uvm_open()
 *
 * Return: the unit of all page counts of this context.
 */
size_t uvm_page_size(const struct uvm_ctx *ctx);

/**
 * uvm_enum_gpus() - list the GPUs that are present
 * @ctx: from uvm_open()
 * @gpus: receives an array, to be released with free(3); NULL if there is none
 * @count: receives the number of its entries
 *
 * Return: 0, also when there is no GPU; or a negative errno.
 */
int uvm_enum_gpus(struct uvm_ctx *ctx, struct uvm_gpu_info **gpus,
		  unsigned int *count);

/**
 * uvm_find_gpu() - choose a GPU
 * @ctx: from uvm_open()
 * @which: NULL for the best there is: the first private one, else the first
 *	coherent one, else the first; a kind ("private", "coherent", "numa") for
 *	the first of that kind; a GPU's name; or its index in uvm_enum_gpus() as
 *	a decimal number. A name wins over an index.
 * @gpu: receives its description
 *
 * Return: 0; -ENODEV if there is none; or a negative errno.
 */
int uvm_find_gpu(struct uvm_ctx *ctx, const char *which,
		 struct uvm_gpu_info *gpu);

/**
 * uvm_register_gpu() - give a GPU page tables for this process
 * @ctx: from uvm_open()
 * @uuid: &uvm_gpu_info.uuid
 * @numa_node: receives the node that its memory is, or -1; may be NULL
 *
 * GPUs whose memory the CPU can address (coherent, numa) and GPUs whose memory it
 * can't (private) don't mix: a process that wants both opens two contexts.
 *
 * Return: 0; -EEXIST if it is registered already; -EOPNOTSUPP if it doesn't go with
 * those that are; -ENODEV, -EPERM, -ESRCH, -ENOMEM.
 */
int uvm_register_gpu(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
		     int *numa_node);

/**
 * uvm_unregister_gpu() - undo uvm_register_gpu()
 * @ctx: from uvm_open()
 * @uuid: a registered GPU
 *
 * Destroys the channels on it, and brings the pages of this process that are in its
 * memory back to system memory; those of a GPU that is a NUMA node stay on the node.
 * A page that was busy stays behind, valid, and comes back when somebody touches or
 * migrates it. Other GPUs don't notice. How many pages came and stayed the command
 * UVM_UNREGISTER_GPU on uvm_fd() tells.
 *
 * Return: 0; -ENOENT if it isn't registered; -ENODEV if there is no such GPU, or it
 * went away, and its registration with it; -EPERM; -EINTR on a fatal signal.
 */
int uvm_unregister_gpu(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN]);

/**
 * uvm_query_processors() - who can do what with whose memory
 * @ctx: from uvm_open()
 * @processors: receives an array, to be released with free(3): the CPU, then the
 *	registered GPUs, by id
 * @count: receives the number of its entries, at least 1
 *
 * Bit n of an entry's masks is entry n of the same array.
 *
 * Return: 0; -EPERM, -ENOMEM.
 */
int uvm_query_processors(struct uvm_ctx *ctx, struct uvm_processor **processors,
			 unsigned int *count);

/**
 * uvm_channel_create() - make a command queue
 * @ctx: from uvm_open()
 * @uuid: a registered GPU
 * @channel: receives the channel's id
 *
 * Return: 0; -ENOSPC beyond &uvm_info.out_max_channels; -ENOENT, -ENODEV,
 * -EPERM, -ESRCH, -ENOMEM.
 */
int uvm_channel_create(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
		       uint32_t *channel);

/**
 * uvm_channel_submit() - queue commands
 * @ctx: from uvm_open()
 * @channel: from uvm_channel_create()
 * @commands: in the GPU's own format; not needed after the call
 * @length: bytes at @commands, at most &uvm_info.out_max_submit
 * @point: receives the value that the channel's timeline reaches when these
 *	commands, and all before them, are complete; may be NULL
 *
 * Takes all the commands or none. Commands of several threads on one channel run
 * in the order of the calls.
 *
 * Return: 0; -EINVAL for commands that the GPU doesn't know, or a bad @length;
 * -EBUSY if the queue is full: uvm_wait() for an earlier point, then repeat;
 * -ENODEV if its GPU went away; -ECANCELED if the channel was stopped for another
 * reason; -EFAULT, -ENOENT, -EPERM, -ESRCH.
 */
int uvm_channel_submit(struct uvm_ctx *ctx, uint32_t channel,
		       const void *commands, size_t length, uint64_t *point);

/**
 * uvm_channel_query() - look at a channel
 * @ctx: from uvm_open()
 * @channel: from uvm_channel_create()
 * @query: receives state, progress, and the fault that stopped it, if one did;
 *	its input members are overwritten
 *
 * Return: 0; -ENOENT, -EPERM.
 */
int uvm_channel_query(struct uvm_ctx *ctx, uint32_t channel,
		      struct uvm_channel_query *query);

/**
 * uvm_channel_destroy() - stop a channel where it is, and free it
 * @ctx: from uvm_open()
 * @channel: from uvm_channel_create()
 *
 * Threads in uvm_wait() on it get -ECANCELED.
 *
 * Return: 0; -ENOENT, -EPERM.
 */
int uvm_channel_destroy(struct uvm_ctx *ctx, uint32_t channel);

/**
 * uvm_wait() - wait until a channel has come to a point
 * @ctx: from uvm_open()
 * @channel: from uvm_channel_create()
 * @point: from uvm_channel_submit(), or any lower value
 * @timeout_ns: nanoseconds; 0 only looks, UVM_WAIT_FOREVER has no limit
 * @completed: receives the point that the timeline had reached, also with
 *	-ETIMEDOUT and -ECANCELED; may be NULL
 *
 * Sleeps in the kernel; a signal handler runs after the wait, so choose a
 * timeout if signals matter.
 *
 * Return: 0; -ETIMEDOUT; -ECANCELED if the channel stopped short of @point (ask
 * uvm_channel_query() why); -EINVAL for a point that was never handed out;
 * -ENOENT, -EPERM.
 */
int uvm_wait(struct uvm_ctx *ctx, uint32_t channel, uint64_t point,
	     uint64_t timeout_ns, uint64_t *completed);

/**
 * struct uvm_migrate_result - what a migration did
 * @moved: pages that moved, those that were populated at the destination
 *	included
 * @already: pages that were there before
 * @skipped: pages left where they were, by &enum uvm_skip
 * @done: bytes from the start of the range that @moved, @already and @skipped
 *	account for
 */
struct uvm_migrate_result {
	uint64_t moved;
	uint64_t already;
	uint64_t skipped[UVM_SKIP_SLOTS];
	uint64_t done;
};

/**
 * uvm_migrate_to_gpu() - move pages into a GPU's memory
 * @ctx: from uvm_open()
 * @uuid: a registered GPU
 * @base: first byte; page aligned (see uvm_page_span())
 * @length: bytes; a multiple of the page size, not 0
 * @result: receives what was done, on errors too (all zero if nothing was); may
 *	be NULL
 *
 * A page that can't move is no error: it is counted in @result, and stays valid
 * where it is. So 0 alone doesn't say that everything moved.
 *
 * Return: 0; -EINVAL for a malformed range; -EFAULT if part of it isn't mapped
 * or can't be accessed; -ENOENT if the GPU isn't registered, or was unregistered
 * meanwhile; -ENODEV if there is none, or it went away meanwhile; -EPERM, -ESRCH,
 * -ENOMEM, -EINTR.
 */
int uvm_migrate_to_gpu(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
		       void *base, size_t length,
		       struct uvm_migrate_result *result);

/**
 * uvm_migrate_to_cpu() - move pages into system memory, on any node
 * @ctx: from uvm_open()
 * @base: see uvm_migrate_to_gpu()
 * @length: see uvm_migrate_to_gpu()
 * @result: see uvm_migrate_to_gpu()
 *
 * Return: as uvm_migrate_to_gpu().
 */
int uvm_migrate_to_cpu(struct uvm_ctx *ctx, void *base, size_t length,
		       struct uvm_migrate_result *result);

/**
 * uvm_migrate_to_node() - move pages into the system memory of one node
 * @ctx: from uvm_open()
 * @node: a NUMA node with memory
 * @base: see uvm_migrate_to_gpu()
 * @length: see uvm_migrate_to_gpu()
 * @result: see uvm_migrate_to_gpu()
 *
 * Return: as uvm_migrate_to_gpu(); -EINVAL also for a bad @node.
 */
int uvm_migrate_to_node(struct uvm_ctx *ctx, int node, void *base,
			size_t length, struct uvm_migrate_result *result);

/**
 * uvm_migrate_skipped() - pages that a migration left behind
 * @result: from a migration
 *
 * Return: the sum over all reasons.
 */
uint64_t uvm_migrate_skipped(const struct uvm_migrate_result *result);

/**
 * struct uvm_discard_result - what a discard did
 * @discarded: pages whose contents are given up
 * @skipped: pages left as they were, by &enum uvm_discard_skip
 * @done: bytes from the start of the range that @discarded and @skipped account for
 */
struct uvm_discard_result {
	uint64_t discarded;
	uint64_t skipped[UVM_DISCARD_SKIP_SLOTS];
	uint64_t done;
};

/**
 * uvm_discard() - say that nobody needs what memory holds
 * @ctx: from uvm_open()
 * @base: first byte; page aligned (see uvm_page_span())
 * @length: bytes; a multiple of the page size, not 0
 * @eager: pages leave the GPU's memory at once
 * @result: receives what was done, on errors too (all zero if nothing was); may
 *	be NULL
 *
 * The next move of the pages copies nothing. Until then they stay where they are, unless
 * @eager is set. The first read of a page finds what it held, or zeros, and what it finds
 * stays; whatever is written after this returned is kept. Only pages in a GPU's own
 * memory that no other process shares are discarded, others are counted in @result.
 *
 * Return: 0; -EINVAL for a malformed range; -EFAULT if part of it isn't mapped
 * or can't be accessed; -EPERM, -ESRCH, -ENOMEM, -EINTR.
 */
int uvm_discard(struct uvm_ctx *ctx, void *base, size_t length, bool eager,
		struct uvm_discard_result *result);

/**
 * uvm_query_residency() - where pages are now
 * @ctx: from uvm_open()
 * @base: first byte; page aligned
 * @length: bytes; a multiple of the page size, not 0
 * @pages: receives one entry a page: @length / uvm_page_size() of them
 *
 * Touches nothing. Splits ranges that are longer than the kernel answers for at
 * once; the parts are then snapshots of different moments. @pages holds the
 * answers up to the part that failed.
 *
 * Return: 0; -EINVAL for a malformed range; -EBUSY if the address space kept
 * changing; -EPERM, -ESRCH, -ENOMEM, -EFAULT.
 */
int uvm_query_residency(struct uvm_ctx *ctx, const void *base, size_t length,
			struct uvm_page_state *pages);

/**
 * struct uvm_residency - how many pages of a range are where
 * @none: &enum uvm_where UVM_WHERE_NONE
 * @cpu: UVM_WHERE_CPU
 * @gpu: UVM_WHERE_GPU, on whichever GPU
 * @other_device: UVM_WHERE_OTHER_DEVICE
 */
struct uvm_residency {
	uint64_t none;
	uint64_t cpu;
	uint64_t gpu;
	uint64_t other_device;
};

/**
 * uvm_count_residency() - sum up uvm_query_residency()
 * @pages: its answer
 * @count: number of entries
 * @sum: receives the counts
 */
void uvm_count_residency(const struct uvm_page_state *pages, size_t count,
			 struct uvm_residency *sum);

/**
 * uvm_page_span() - the pages that cover a piece of memory
 * @ctx: from uvm_open()
 * @addr: first byte, anywhere
 * @length: bytes, not 0
 * @base: receives the first byte of the first page
 *
 * What malloc() returns isn't page aligned, migration works on pages: this is
 * the range to migrate. Its ends may hold neighbours' data, which migrate along
 * and stay valid.
 *
 * Return: bytes from @base to the end of the last page; 0 if @length is 0 or
 * the memory would wrap.
 */
size_t uvm_page_span(const struct uvm_ctx *ctx, const void *addr, size_t length,
		     void **base);

/**
 * uvm_set_preferred_gpu() - pages had better be in a GPU's memory
 * @ctx: from uvm_open()
 * @uuid: a registered GPU
 * @base: first byte; page aligned (see uvm_page_span())
 * @length: bytes; a multiple of the page size, not 0
 *
 * The first of the functions that set a policy: what should become of the pages of a
 * range when processors fault on them. None of them moves a page. A policy ends with the
 * mapping and with the context, and what it says of a GPU with the GPU's registration.
 *
 * Return: 0; -EINVAL for a malformed range; -EFAULT if part of it isn't mapped or
 * can't be accessed; -ENOENT if the GPU isn't registered; -ENODEV if there is none, or
 * it went away; -ENOSPC if there would be too many ranges with policies of their own;
 * -EPERM, -ESRCH, -ENOMEM, -EINTR. Nothing was changed then.
 */
int uvm_set_preferred_gpu(struct uvm_ctx *ctx,
			  const uint8_t uuid[UVM_UUID_LEN], const void *base,
			  size_t length);

/**
 * uvm_set_preferred_cpu() - pages had better be in system memory, on any node
 * @ctx: from uvm_open()
 * @base: see uvm_set_preferred_gpu()
 * @length: see uvm_set_preferred_gpu()
 *
 * Return: as uvm_set_preferred_gpu().
 */
int uvm_set_preferred_cpu(struct uvm_ctx *ctx, const void *base, size_t length);

/**
 * uvm_set_preferred_node() - pages had better be in the system memory of one node
 * @ctx: from uvm_open()
 * @node: a NUMA node with memory
 * @base: see uvm_set_preferred_gpu()
 * @length: see uvm_set_preferred_gpu()
 *
 * Return: as uvm_set_preferred_gpu(); -EINVAL also for a bad @node.
 */
int uvm_set_preferred_node(struct uvm_ctx *ctx, int node, const void *base,
			   size_t length);

/**
 * uvm_set_preferred_none() - take back what the three functions above set
 * @ctx: from uvm_open()
 * @base: see uvm_set_preferred_gpu()
 * @length: see uvm_set_preferred_gpu()
 *
 * Return: as uvm_set_preferred_gpu().
 */
int uvm_set_preferred_none(struct uvm_ctx *ctx, const void *base, size_t length);

/**
 * uvm_set_accessed_by() - a processor should use pages where they are, if it can
 * @ctx: from uvm_open()
 * @uuid: a registered GPU, or NULL for the CPU
 * @base: see uvm_set_preferred_gpu()
 * @length: see uvm_set_preferred_gpu()
 * @enable: put it into the set of such processors, or take it out
 *
 * Return: as uvm_set_preferred_gpu().
 */
int uvm_set_accessed_by(struct uvm_ctx *ctx, const uint8_t *uuid,
			const void *base, size_t length, bool enable);

/**
 * uvm_set_fault_migration() - may faults move pages?
 * @ctx: from uvm_open()
 * @base: see uvm_set_preferred_gpu()
 * @length: see uvm_set_preferred_gpu()
 * @enable: they may, which is the default; else they map pages where they are
 *
 * Return: as uvm_set_preferred_gpu().
 */
int uvm_set_fault_migration(struct uvm_ctx *ctx, const void *base,
			    size_t length, bool enable);

/**
 * uvm_set_prefetch() - may pages around a fault be moved along?
 * @ctx: from uvm_open()
 * @base: see uvm_set_preferred_gpu()
 * @length: see uvm_set_preferred_gpu()
 * @enable: they may, which is the default
 *
 * Return: as uvm_set_preferred_gpu().
 */
int uvm_set_prefetch(struct uvm_ctx *ctx, const void *base, size_t length,
		     bool enable);

/**
 * uvm_set_read_mostly() - is a range rarely written?
 * @ctx: from uvm_open()
 * @base: see uvm_set_preferred_gpu()
 * @length: see uvm_set_preferred_gpu()
 * @enable: it is; the default is that it isn't
 *
 * In managed memory who reads a page then gets a copy, and whoever had it keeps his; who
 * writes it is the only one who has it afterwards. Of other memory it is only remembered.
 *
 * Return: as uvm_set_preferred_gpu().
 */
int uvm_set_read_mostly(struct uvm_ctx *ctx, const void *base, size_t length,
			bool enable);

/**
 * uvm_create_range_group() - make a set of ranges that can be kept where they are
 * @ctx: from uvm_open()
 * @group: receives its id, never 0, and never that of another one before
 *
 * It starts without ranges, and with migration allowed.
 *
 * Return: 0; -ENOSPC if there are too many; -EPERM, -ESRCH, -ENOMEM.
 */
int uvm_create_range_group(struct uvm_ctx *ctx, uint32_t *group);

/**
 * uvm_destroy_range_group() - undo uvm_create_range_group()
 * @ctx: from uvm_open()
 * @group: from uvm_create_range_group()
 *
 * Its ranges are in no group then.
 *
 * Return: 0; -ENOENT, -EPERM.
 */
int uvm_destroy_range_group(struct uvm_ctx *ctx, uint32_t group);

/**
 * uvm_set_range_group() - put a range into a group
 * @ctx: from uvm_open()
 * @group: from uvm_create_range_group(), or 0 for none
 * @base: see uvm_set_preferred_gpu()
 * @length: see uvm_set_preferred_gpu()
 *
 * It is in no other one any more. If the group forbids migration, moves of its pages that
 * began before are over.
 *
 * Return: as uvm_set_preferred_gpu(); -ENOENT if there is no such group; -EINTR also if the
 * range is in the group, but such moves may be under way still.
 */
int uvm_set_range_group(struct uvm_ctx *ctx, uint32_t group, const void *base,
			size_t length);

/**
 * uvm_allow_migration() - allow or forbid the migration of a group's ranges
 * @ctx: from uvm_open()
 * @group: from uvm_create_range_group()
 * @allow: allow it
 *
 * While it is forbidden, migrations count their pages under UVM_SKIP_POLICY. Pages
 * that somebody can't use where they are move all the same when he does. When it has
 * been forbidden, moves that began before are over.
 *
 * Return: 0; -EINTR on a fatal signal, when it is forbidden, but such moves may be under
 * way still; -ENOENT, -EPERM, -ESRCH.
 */
int uvm_allow_migration(struct uvm_ctx *ctx, uint32_t group, bool allow);

/**
 * uvm_set_access_counters() - should pages move that a GPU uses a lot where they are?
 * @ctx: from uvm_open()
 * @uuid: a registered GPU
 * @enable: they should; the default is that they stay
 *
 * The GPU counts its accesses to memory that isn't its own, and of those pages that
 * policies don't keep away from it (the accessed-by set doesn't) the ones that it uses a
 * lot move to it. It ends when the GPU is unregistered.
 *
 * Return: 0; -EOPNOTSUPP if the GPU doesn't count; -ENOENT if it isn't registered;
 * -ENODEV if there is none, or it went away; -EPERM, -ESRCH, -ENOMEM.
 */
int uvm_set_access_counters(struct uvm_ctx *ctx,
			    const uint8_t uuid[UVM_UUID_LEN], bool enable);

/**
 * uvm_query_memory() - what becomes of a GPU's memory
 * @ctx: from uvm_open()
 * @uuid: a registered GPU
 * @memory: receives the numbers: of the GPU's memory in bytes, of this process's share of
 *	it, and of evictions in pages; its input members are overwritten
 *
 * Return: 0; -EOPNOTSUPP for a GPU whose memory is a NUMA node; -ENOENT if it isn't
 * registered; -ENODEV if there is none, or it went away; -EPERM, -ESRCH.
 */
int uvm_query_memory(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
		     struct uvm_query_memory *memory);

/**
 * uvm_set_memory_limit() - how much of a GPU's memory the process may have, and keeps
 * @ctx: from uvm_open()
 * @uuid: a registered GPU
 * @limit: bytes that it may have at most; a multiple of the page size; 0 for no limit
 * @reserved: bytes that others don't take away from it; a multiple of the page size
 *
 * They are the process's, in all of its contexts, until the last of these unregisters the
 * GPU; a child of fork() begins with neither. Pages over the limit make room by evicting
 * others of the process. What is reserved isn't kept free for it. All processes without
 * CAP_SYS_RESOURCE together reserve no more than a part of the memory, by default a half.
 *
 * Return: 0; -ENOSPC if there isn't as much that nobody else reserved; -EINVAL for parts
 * of pages, for more @reserved than @limit, and for more @reserved than memory;
 * -EPERM also if more is @reserved than may be without CAP_SYS_RESOURCE; -EOPNOTSUPP for
 * a GPU whose memory is a NUMA node; -ENOENT, -ENODEV, -ESRCH.
 */
int uvm_set_memory_limit(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
			 uint64_t limit, uint64_t reserved);

/**
 * uvm_set_memory_event() - be told when a GPU's memory gets scarce
 * @ctx: from uvm_open()
 * @uuid: a registered GPU
 * @event: from eventfd(2); -1 for not any more
 * @threshold: bytes: less than that being free is scarce; a multiple of the page size,
 *	not 0; with an @event of -1 it is 0
 *
 * Adds 1 to @event each time that free memory falls below @threshold, and at once if it
 * is below. A context has one event for each GPU: another one takes its place. It ends
 * when the GPU is unregistered. @event may be closed at any time.
 *
 * Return: 0; -EBADF if @event isn't open; -EINVAL if it is no eventfd, and for a bad
 * @threshold; -EOPNOTSUPP for a GPU whose memory is a NUMA node; -ENOENT, -ENODEV,
 * -EPERM, -ESRCH.
 */
int uvm_set_memory_event(struct uvm_ctx *ctx, const uint8_t uuid[UVM_UUID_LEN],
			 int event, uint64_t threshold);

/**
 * uvm_query_policy() - the policy at an address
 * @ctx: from uvm_open()
 * @address: any address, mapped or not
 * @policy: receives the policy, and the range around @address that has it; its
 *	input members are overwritten
 * @accessed_by: receives the uuids of the accessed-by set, one behind the other,
 *	&uvm_query_policy.out_count times UVM_UUID_LEN bytes, to be released with
 *	free(3); NULL if it is empty; may be NULL. All bytes of the CPU's are 0.
 *
 * Return: 0; -EINVAL for an address where no process has memory; -EPERM, -ESRCH,
 * -ENOMEM.
 */
int uvm_query_policy(struct uvm_ctx *ctx, const void *address,
		     struct uvm_query_policy *policy, uint8_t **accessed_by);

/* ---- managed memory ---- */

/**
 * uvm_managed_alloc() - memory of the driver's own
 * @ctx: from uvm_open()
 * @length: bytes, not 0; what is allocated are whole pages
 * @memory: receives where it is; from 2 MiB on a multiple of 2 MiB
 *
 * It is zero, and belongs to this process: a child of fork() doesn't have it. It moves to
 * all GPUs on all kernels, and is used like other memory. It stays after uvm_close().
 *
 * Return: 0; -EINVAL; -ENOMEM; -EOPNOTSUPP in a context of several processes; -EPERM,
 * -ESRCH.
 */
int uvm_managed_alloc(struct uvm_ctx *ctx, size_t length, void **memory);

/**
 * uvm_managed_free() - give it back
 * @ctx: from uvm_open()
 * @memory: from uvm_managed_alloc(), or a part of it that begins at a page; NULL does
 *	nothing
 * @length: its bytes
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int uvm_managed_free(struct uvm_ctx *ctx, void *memory, size_t length);

/**
 * uvm_query_range() - what there is at an address
 * @ctx: from uvm_open()
 * @address: any address, mapped or not
 * @range: receives the range around @address, its kind and what policy is on; its input
 *	members are overwritten
 * @copies: receives who has pages of it, &uvm_query_range.out_count entries, to be
 *	released with free(3); NULL if nobody has; may be NULL
 *
 * Return: 0; -EINVAL for an address where no process has memory; -EOPNOTSUPP in a context
 * of several processes; -EPERM, -ESRCH, -EINTR, -ENOMEM.
 */
int uvm_query_range(struct uvm_ctx *ctx, const void *address,
		    struct uvm_query_range *range, struct uvm_range_copies **copies);

/**
 * uvm_strerror() - an error in words, and what to do about it
 * @cmd: the &enum uvm_cmd that failed, or UVM_CMD_OPEN for uvm_open()
 * @err: the errno, positive or negative
 *
 * Return: constant text, one line without a full stop; never NULL.
 */
const char *uvm_strerror(unsigned int cmd, int err);

/**
 * uvm_memory_kind_name() - "private", "coherent", "numa"
 * @kind: &enum uvm_memory_kind
 *
 * Return: constant text; "unknown" for values that this library doesn't know.
 * The functions below do the same for their enumerations.
 */
const char *uvm_memory_kind_name(unsigned int kind);

/**
 * uvm_channel_state_name() - name of an &enum uvm_channel_state
 * @state: the value
 *
 * Return: constant text.
 */
const char *uvm_channel_state_name(unsigned int state);

/**
 * uvm_fault_reason_name() - an &enum uvm_fault_reason in words
 * @reason: the value
 *
 * Return: constant text.
 */
const char *uvm_fault_reason_name(unsigned int reason);

/**
 * uvm_access_name() - name of an &enum uvm_access
 * @access: the value
 *
 * Return: constant text.
 */
const char *uvm_access_name(unsigned int access);

/**
 * uvm_skip_name() - an &enum uvm_skip in words
 * @skip: the value
 *
 * Return: constant text.
 */
const char *uvm_skip_name(unsigned int skip);

/**
 * uvm_where_name() - name of an &enum uvm_where
 * @where: the value
 *
 * Return: constant text.
 */
const char *uvm_where_name(unsigned int where);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* _LIBUVM_UVM_H */
