/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * uvm: unified virtual memory for accelerators. User interface of /dev/uvm.
 */
#ifndef _UAPI_LINUX_UVM_H
#define _UAPI_LINUX_UVM_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: Conventions
 *
 * Every command takes one structure whose first two members are @size (bytes,
 * set by the caller to sizeof()) and @flags. Structures grow at the tail only.
 * A kernel that knows a shorter structure accepts the longer one as long as the
 * bytes it does not know are zero (-E2BIG otherwise); one that knows a longer
 * structure takes the missing members as zero. A @size below the first
 * published structure is -EINVAL, and so are unknown flags and reserved members
 * that are not zero. Members called out_* are written by the kernel, and read
 * by nobody. Pointers travel as __u64, so 32-bit callers need no translation.
 *
 * Addresses and lengths are in bytes; page counts are in units of
 * &uvm_info.out_page_size.
 *
 * An errno means the same in every command:
 *
 * ================ =====================================================
 * EINVAL           malformed: size, flags, reserved, alignment, wrap, value
 * E2BIG            the structure has a non-zero tail this kernel ignores
 * ENOTTY           no such command
 * EFAULT           a bad user pointer, or no accessible memory at an address
 * EBADF            a member that should name a file does not
 * EBADFD           the file is of the wrong kind or in the wrong state
 * EPERM            the VA space belongs to another process's mm
 * ESRCH            the mm was released, or is gone
 * ENODEV           no such GPU, or it went away
 * ENOENT           no such object, or GPU not registered in this VA space
 * EEXIST           already registered
 * ENOMEM           out of host memory
 * EOPNOTSUPP       this GPU or this kernel cannot
 * EBUSY            not now; retry
 * EINTR            a fatal signal arrived; progress is in the out members
 * ETIMEDOUT        the wait ended before its point was reached
 * ECANCELED        the channel was stopped before it reached the point
 * ENOSPC           more objects, or more memory, than there can be
 * ================ =====================================================
 *
 * A command that fails changes nothing, unless its description says that it
 * reports partial progress.
 *
 * The two files. A process opens /dev/uvm twice. UVM_INIT makes the first one
 * a VA space bound to the caller's mm. UVM_MM_INIT makes the second one the mm
 * file: it pins the address space for the GPUs' use until it is closed. From then
 * on the mm is *released*: what needs it is -ESRCH, the rest still works.
 *
 * Closed it is when the process that called UVM_MM_INIT closes a descriptor of it,
 * any descriptor: also one of several that dup() made, and also by exit or exec
 * (close-on-exec). References that others hold (a child after fork, a socket, a
 * process that got it over one) don't put that off. A process that keeps the
 * descriptor over exec releases the mm, too: at the latest when the new program
 * calls any command on either file.
 */

#define UVM_TYPE	0xE7
#define UVM_VERSION	1

enum uvm_cmd {
	UVM_CMD_BASE = 0x40,
	UVM_CMD_INFO = UVM_CMD_BASE,
	UVM_CMD_INIT,
	UVM_CMD_MM_INIT,
	UVM_CMD_ENUM_GPUS,
	UVM_CMD_REGISTER_GPU,
	UVM_CMD_UNREGISTER_GPU,
	UVM_CMD_CHANNEL_CREATE,
	UVM_CMD_CHANNEL_SUBMIT,
	UVM_CMD_CHANNEL_QUERY,
	UVM_CMD_CHANNEL_DESTROY,
	UVM_CMD_WAIT,
	UVM_CMD_MIGRATE,
	UVM_CMD_QUERY_RESIDENCY,
	UVM_CMD_QUERY_PROCESSORS,
	UVM_CMD_SET_PREFERRED_LOCATION,
	UVM_CMD_SET_ACCESSED_BY,
	UVM_CMD_SET_FAULT_MIGRATION,
	UVM_CMD_SET_PREFETCH,
	UVM_CMD_SET_READ_MOSTLY,
	UVM_CMD_CREATE_RANGE_GROUP,
	UVM_CMD_DESTROY_RANGE_GROUP,
	UVM_CMD_SET_RANGE_GROUP,
	UVM_CMD_ALLOW_MIGRATION,
	UVM_CMD_QUERY_POLICY,
	UVM_CMD_SET_ACCESS_COUNTERS,
	UVM_CMD_QUERY_MEMORY,
	UVM_CMD_SET_MEMORY_LIMIT,
	UVM_CMD_SET_MEMORY_EVENT,
	UVM_CMD_DISCARD,
	UVM_CMD_QUERY_RANGE,
};

#define UVM_UUID_LEN	16
#define UVM_NAME_LEN	32

/* &uvm_info.out_features */
#define UVM_FEATURE_DEVICE_PRIVATE	(1ULL << 0)
#define UVM_FEATURE_DEVICE_COHERENT	(1ULL << 1)
#define UVM_FEATURE_NUMA_DESTINATION	(1ULL << 2)
#define UVM_FEATURE_MULTI_PROCESS	(1ULL << 3)
/* UVM_SET_READ_MOSTLY makes copies; without it, it is only remembered */
#define UVM_FEATURE_READ_DUPLICATION	(1ULL << 4)
/*
 * GPUs that can do atomics in private anonymous memory that stays where it is. While one
 * does, it alone has the page: who touches it next takes it back.
 */
#define UVM_FEATURE_SYSTEM_ATOMICS	(1ULL << 5)
/* Private memory holds huge pages as such. */
#define UVM_FEATURE_HUGE_PAGES		(1ULL << 6)
/* mmap() of a VA space's file: memory of the driver's, shared with GPUs */
#define UVM_FEATURE_MANAGED		(1ULL << 7)

/**
 * struct uvm_info - ioctl(UVM_INFO)
 * @size: sizeof(struct uvm_info)
 * @flags: must be 0
 * @out_version: UVM_VERSION of the running module
 * @out_page_size: bytes in a page, the unit of all page counts
 * @out_features: mask of UVM_FEATURE_*
 * @out_max_gpus: GPUs that can be present at once
 * @out_max_channels: channels one VA space may hold
 * @out_max_submit: bytes of commands one UVM_CHANNEL_SUBMIT takes
 * @out_max_query: pages one UVM_QUERY_RESIDENCY answers for
 *
 * Works on a fresh file and on a VA space.
 *
 * Errors: EBADFD on an mm file.
 */
struct uvm_info {
	__u32 size;
	__u32 flags;
	__u32 out_version;
	__u32 out_page_size;
	__aligned_u64 out_features;
	__u32 out_max_gpus;
	__u32 out_max_channels;
	__u32 out_max_submit;
	__u32 out_max_query;
};
#define UVM_INFO _IO(UVM_TYPE, UVM_CMD_INFO)

/* &uvm_init.flags */
#define UVM_INIT_MULTI_PROCESS	(1 << 0)

/**
 * struct uvm_init - ioctl(UVM_INIT)
 * @size: sizeof(struct uvm_init)
 * @flags: mask of UVM_INIT_*
 *
 * Makes a fresh file a VA space, for good, and binds it to the caller's mm.
 *
 * With UVM_INIT_MULTI_PROCESS it is bound to none: whoever holds the file may use
 * it, it takes no mm file, and its GPUs live until the file is closed for the last
 * time. Nobody's ordinary memory is in it, so a GPU access to any address stops the
 * channel with UVM_FAULT_NO_MAPPING, and what needs an mm (UVM_MM_INIT, UVM_MIGRATE,
 * UVM_QUERY_RESIDENCY, the commands about policies) is EOPNOTSUPP.
 *
 * Errors: EBADFD if the file is a VA space or an mm file already; ENOMEM; EINTR for a
 * fatal signal.
 */
struct uvm_init {
	__u32 size;
	__u32 flags;
};
#define UVM_INIT _IO(UVM_TYPE, UVM_CMD_INIT)

/**
 * struct uvm_mm_init - ioctl(UVM_MM_INIT)
 * @size: sizeof(struct uvm_mm_init)
 * @flags: must be 0
 * @va_space_fd: a VA space of this process
 * @__reserved: must be 0
 *
 * Makes a fresh file the mm file of @va_space_fd. It holds the mm's users count
 * until it is closed (DOC: Conventions says when that is), which stops all GPU work
 * of the VA space; and the VA space until its last reference is gone. It can't be
 * mapped and answers no other command.
 *
 * Errors: EBADF if @va_space_fd is no uvm file, or if this file was closed meanwhile,
 * which released the mm; EBADFD if this file is not fresh, if @va_space_fd is no VA
 * space, or if that VA space has, or had, an mm file; EPERM if the VA space is bound to
 * another process's mm; EOPNOTSUPP if it is UVM_INIT_MULTI_PROCESS.
 */
struct uvm_mm_init {
	__u32 size;
	__u32 flags;
	__s32 va_space_fd;
	__u32 __reserved;
};
#define UVM_MM_INIT _IO(UVM_TYPE, UVM_CMD_MM_INIT)

/**
 * enum uvm_memory_kind - how a GPU's memory joins the system
 * @UVM_MEMORY_PRIVATE: the CPU can't address it; a CPU touch migrates back
 * @UVM_MEMORY_COHERENT: the CPU reads and writes it in place
 * @UVM_MEMORY_NUMA: it is a NUMA node
 */
enum uvm_memory_kind {
	UVM_MEMORY_PRIVATE = 1,
	UVM_MEMORY_COHERENT = 2,
	UVM_MEMORY_NUMA = 3,
};

/**
 * struct uvm_gpu_info - one entry of UVM_ENUM_GPUS
 * @uuid: the GPU's name in every other command
 * @name: NUL-terminated text for people
 * @id: small number used by UVM_QUERY_RESIDENCY; not reused before a reboot of
 *	the module
 * @memory_kind: enum uvm_memory_kind
 * @memory_size: bytes of device memory
 * @memory_free: bytes of it that are free now; 0 for UVM_MEMORY_NUMA
 * @numa_node: the node that UVM_MEMORY_NUMA is, else -1
 * @nearest_node: the CPU node next to the GPU, or -1
 * @page_sizes: mask of page sizes its MMU maps
 * @va_bits: width of its virtual addresses
 * @copy_engines: number of its copy engines
 */
struct uvm_gpu_info {
	__u8 uuid[UVM_UUID_LEN];
	char name[UVM_NAME_LEN];
	__u32 id;
	__u32 memory_kind;
	__aligned_u64 memory_size;
	__aligned_u64 memory_free;
	__s32 numa_node;
	__s32 nearest_node;
	__aligned_u64 page_sizes;
	__u32 va_bits;
	__u32 copy_engines;
};

/**
 * struct uvm_enum_gpus - ioctl(UVM_ENUM_GPUS)
 * @size: sizeof(struct uvm_enum_gpus)
 * @flags: must be 0
 * @gpus: array of struct uvm_gpu_info to fill; may be 0 if @count is 0
 * @count: entries that fit into @gpus
 * @entry_size: sizeof(struct uvm_gpu_info); entries are cut to, or zero-padded
 *	up to, this many bytes
 * @out_count: GPUs present; compare with @count to see whether any are missing
 * @__reserved: must be 0
 *
 * Works on a fresh file and on a VA space.
 *
 * Errors: EINVAL for an @entry_size of 0 or above 4096; EFAULT; EBADFD on an mm
 * file.
 */
struct uvm_enum_gpus {
	__u32 size;
	__u32 flags;
	__aligned_u64 gpus;
	__u32 count;
	__u32 entry_size;
	__u32 out_count;
	__u32 __reserved;
};
#define UVM_ENUM_GPUS _IO(UVM_TYPE, UVM_CMD_ENUM_GPUS)

/**
 * struct uvm_register_gpu - ioctl(UVM_REGISTER_GPU)
 * @size: sizeof(struct uvm_register_gpu)
 * @flags: must be 0
 * @uuid: the GPU
 * @out_numa_enabled: 1 if its memory is a NUMA node
 * @out_numa_node: that node, else -1
 *
 * Gives the GPU page tables for this VA space.
 *
 * GPUs whose memory the CPU can address (UVM_MEMORY_COHERENT, UVM_MEMORY_NUMA) and
 * GPUs whose memory it can't (UVM_MEMORY_PRIVATE) don't mix in a VA space.
 *
 * Errors: EBADFD before UVM_INIT or UVM_MM_INIT; EPERM; ESRCH; ENODEV; EEXIST;
 * EOPNOTSUPP for a GPU that doesn't go with those registered; ENOMEM.
 */
struct uvm_register_gpu {
	__u32 size;
	__u32 flags;
	__u8 uuid[UVM_UUID_LEN];
	__u32 out_numa_enabled;
	__s32 out_numa_node;
};
#define UVM_REGISTER_GPU _IO(UVM_TYPE, UVM_CMD_REGISTER_GPU)

/**
 * struct uvm_unregister_gpu - ioctl(UVM_UNREGISTER_GPU)
 * @size: sizeof(struct uvm_unregister_gpu)
 * @flags: must be 0
 * @uuid: the GPU
 * @out_moved: pages that were in the GPU's memory and are in system memory now
 * @out_left: pages that are in the GPU's memory still, since they were busy or
 *	there was no system memory for them. They stay valid, and come back when
 *	somebody touches or migrates them.
 *
 * Stops and destroys the channels that this VA space has on the GPU, and its
 * page tables, and brings the process's pages home. Other GPUs don't notice.
 * Pages on a GPU that is a NUMA node are in system memory as it is, and stay.
 *
 * Errors: EBADFD; EPERM; ENOENT if it is not registered here; ENODEV if there is no
 * such GPU, or it went away; ENOMEM; EINTR for a fatal signal: before anything was
 * done, or with the GPU unregistered, not all pages at home, and @out_left unknown.
 * Works after the mm was released.
 */
struct uvm_unregister_gpu {
	__u32 size;
	__u32 flags;
	__u8 uuid[UVM_UUID_LEN];
	__aligned_u64 out_moved;
	__aligned_u64 out_left;
};
#define UVM_UNREGISTER_GPU _IO(UVM_TYPE, UVM_CMD_UNREGISTER_GPU)

/**
 * struct uvm_channel_create - ioctl(UVM_CHANNEL_CREATE)
 * @size: sizeof(struct uvm_channel_create)
 * @flags: must be 0
 * @uuid: a registered GPU
 * @out_channel: id of the new channel, unique within the VA space for its life
 * @__reserved: must be 0
 *
 * A channel is a queue of commands in the GPU's own format. It runs them in
 * order; channels run independently of each other. All memory operands are
 * addresses of this process.
 *
 * Errors: EBADFD; EPERM; ESRCH; ENODEV; ENOENT; ENOMEM; ENOSPC past
 * &uvm_info.out_max_channels.
 */
struct uvm_channel_create {
	__u32 size;
	__u32 flags;
	__u8 uuid[UVM_UUID_LEN];
	__u32 out_channel;
	__u32 __reserved;
};
#define UVM_CHANNEL_CREATE _IO(UVM_TYPE, UVM_CMD_CHANNEL_CREATE)

/**
 * struct uvm_channel_submit - ioctl(UVM_CHANNEL_SUBMIT)
 * @size: sizeof(struct uvm_channel_submit)
 * @flags: must be 0
 * @channel: from UVM_CHANNEL_CREATE
 * @length: bytes at @commands
 * @commands: commands in the GPU's format (for the software GPU: an array of
 *	struct uvm_sim_cmd), read before the call returns
 * @out_point: the channel's timeline reaches this value when all commands of
 *	this call, and of all earlier ones, are complete
 *
 * Takes all the commands or none.
 *
 * Errors: EBADFD; EPERM; ESRCH; ENODEV; ENOENT; EFAULT; EINVAL for a command
 * that the GPU doesn't know and a @length that is 0, above
 * &uvm_info.out_max_submit or no multiple of its command size; EBUSY if the
 * queue is full: wait for an earlier point; ENODEV if the GPU went away; ECANCELED
 * if the channel was stopped for another reason.
 */
struct uvm_channel_submit {
	__u32 size;
	__u32 flags;
	__u32 channel;
	__u32 length;
	__aligned_u64 commands;
	__aligned_u64 out_point;
};
#define UVM_CHANNEL_SUBMIT _IO(UVM_TYPE, UVM_CMD_CHANNEL_SUBMIT)

/**
 * enum uvm_channel_state - what a channel does
 * @UVM_CHANNEL_RUNNING: executes commands, or waits for some
 * @UVM_CHANNEL_FAULTED: stopped by a fault that could not be served
 * @UVM_CHANNEL_FAILED: stopped by an error of the GPU
 * @UVM_CHANNEL_STOPPED: stopped because the GPU or the mm went away
 */
enum uvm_channel_state {
	UVM_CHANNEL_RUNNING = 1,
	UVM_CHANNEL_FAULTED = 2,
	UVM_CHANNEL_FAILED = 3,
	UVM_CHANNEL_STOPPED = 4,
};

/**
 * enum uvm_fault_reason - why a fault could not be served
 * @UVM_FAULT_NONE: there was none
 * @UVM_FAULT_NO_MAPPING: the process has nothing mapped at the address
 * @UVM_FAULT_PERMISSION: the process may not make that access either
 * @UVM_FAULT_BUS: the mapping has no memory to give there (past the end of a
 *	file, poisoned, out of memory): what the CPU gets as SIGBUS. Also memory of
 *	memfd_secret() and shadow stacks, which are for the CPU alone
 * @UVM_FAULT_NO_MEMORY: out of memory for the GPU's mapping
 * @UVM_FAULT_NO_ATOMIC: an atomic on memory that can't move to the GPU, and on which
 *	the GPU or the kernel can't do atomics where it is: shared and file mappings,
 *	without UVM_FEATURE_SYSTEM_ATOMICS any system memory
 */
enum uvm_fault_reason {
	UVM_FAULT_NONE = 0,
	UVM_FAULT_NO_MAPPING = 1,
	UVM_FAULT_PERMISSION = 2,
	UVM_FAULT_BUS = 3,
	UVM_FAULT_NO_MEMORY = 4,
	UVM_FAULT_NO_ATOMIC = 5,
};

/**
 * enum uvm_access - what an access wanted
 * @UVM_ACCESS_READ: load
 * @UVM_ACCESS_WRITE: store
 * @UVM_ACCESS_ATOMIC: read-modify-write
 */
enum uvm_access {
	UVM_ACCESS_READ = 1,
	UVM_ACCESS_WRITE = 2,
	UVM_ACCESS_ATOMIC = 3,
};

/**
 * struct uvm_channel_query - ioctl(UVM_CHANNEL_QUERY)
 * @size: sizeof(struct uvm_channel_query)
 * @flags: must be 0
 * @channel: from UVM_CHANNEL_CREATE
 * @out_state: enum uvm_channel_state
 * @out_reason: enum uvm_fault_reason, for UVM_CHANNEL_FAULTED
 * @out_access: enum uvm_access of the faulting access, else 0
 * @out_address: address of the faulting access, or of the failed one
 * @out_submitted: the last point handed out
 * @out_completed: the point the timeline has reached
 *
 * Errors: EBADFD; EPERM; ENOENT. Works after the mm was released.
 */
struct uvm_channel_query {
	__u32 size;
	__u32 flags;
	__u32 channel;
	__u32 out_state;
	__u32 out_reason;
	__u32 out_access;
	__aligned_u64 out_address;
	__aligned_u64 out_submitted;
	__aligned_u64 out_completed;
};
#define UVM_CHANNEL_QUERY _IO(UVM_TYPE, UVM_CMD_CHANNEL_QUERY)

/**
 * struct uvm_channel_destroy - ioctl(UVM_CHANNEL_DESTROY)
 * @size: sizeof(struct uvm_channel_destroy)
 * @flags: must be 0
 * @channel: from UVM_CHANNEL_CREATE
 * @__reserved: must be 0
 *
 * Stops the channel where it is and frees it. Waiters get ECANCELED.
 *
 * Errors: EBADFD; EPERM; ENOENT. Works after the mm was released.
 */
struct uvm_channel_destroy {
	__u32 size;
	__u32 flags;
	__u32 channel;
	__u32 __reserved;
};
#define UVM_CHANNEL_DESTROY _IO(UVM_TYPE, UVM_CMD_CHANNEL_DESTROY)

#define UVM_WAIT_FOREVER	(~0ULL)

/**
 * struct uvm_wait - ioctl(UVM_WAIT)
 * @size: sizeof(struct uvm_wait)
 * @flags: must be 0
 * @channel: from UVM_CHANNEL_CREATE
 * @__reserved: must be 0
 * @point: a value that UVM_CHANNEL_SUBMIT returned, or any lower one
 * @timeout_ns: 0 only looks; UVM_WAIT_FOREVER waits without limit
 * @out_completed: the point the timeline had reached, also on ETIMEDOUT and
 *	ECANCELED
 *
 * Errors: EBADFD; EPERM; ENOENT; EINVAL for a @point that was never handed out;
 * ETIMEDOUT; ECANCELED; EINTR on a fatal signal.
 */
struct uvm_wait {
	__u32 size;
	__u32 flags;
	__u32 channel;
	__u32 __reserved;
	__aligned_u64 point;
	__aligned_u64 timeout_ns;
	__aligned_u64 out_completed;
};
#define UVM_WAIT _IO(UVM_TYPE, UVM_CMD_WAIT)

/**
 * enum uvm_dest - where UVM_MIGRATE moves pages, or where they had better be
 * @UVM_DEST_NONE: no preference; not for UVM_MIGRATE
 * @UVM_DEST_GPU: memory of the GPU &uvm_migrate.dest_uuid
 * @UVM_DEST_CPU: system memory, on a node of the kernel's choice; pages that
 *	are in system memory stay where they are
 * @UVM_DEST_CPU_NODE: system memory of the node &uvm_migrate.dest_node
 */
enum uvm_dest {
	UVM_DEST_NONE = 0,
	UVM_DEST_GPU = 1,
	UVM_DEST_CPU = 2,
	UVM_DEST_CPU_NODE = 3,
};

/**
 * enum uvm_skip - why UVM_MIGRATE left a page where it was
 * @UVM_SKIP_HOLE_NOT_POPULATED: there is no page, or only the zero page, and the
 *	destination is the CPU
 * @UVM_SKIP_VMA_KIND: file, shared, hugetlb or special mapping, or one that may be
 *	written or executed but not read
 * @UVM_SKIP_OTHER_DEVICE: it is in the memory of a device that isn't ours
 * @UVM_SKIP_NO_MEMORY: no memory was left at the destination, or no DMA address for
 *	the copy. A page that came from another GPU is in system memory then.
 * @UVM_SKIP_BUSY: pinned, locked, raced with, or part of a large folio that the
 *	kernel doesn't split; core mm doesn't tell which. Also a page merged by
 *	KSM, and a failed copy.
 * @UVM_SKIP_POLICY: its range group forbids migration
 * @UVM_SKIP_NR: number of reasons
 */
enum uvm_skip {
	UVM_SKIP_HOLE_NOT_POPULATED = 0,
	UVM_SKIP_VMA_KIND = 1,
	UVM_SKIP_OTHER_DEVICE = 2,
	UVM_SKIP_NO_MEMORY = 3,
	UVM_SKIP_BUSY = 4,
	UVM_SKIP_POLICY = 5,
	UVM_SKIP_NR = 6,
};
#define UVM_SKIP_SLOTS	8

/**
 * struct uvm_migrate - ioctl(UVM_MIGRATE)
 * @size: sizeof(struct uvm_migrate)
 * @flags: must be 0
 * @base: first byte; page aligned
 * @length: bytes; page aligned, not 0
 * @dest_kind: enum uvm_dest
 * @dest_node: a node with memory, for UVM_DEST_CPU_NODE; else 0
 * @dest_uuid: a registered GPU, for UVM_DEST_GPU; else 0
 * @out_moved: pages that moved, those that were populated at the destination
 *	included
 * @out_already: pages that were there before
 * @out_skipped: pages left where they were, by enum uvm_skip
 * @out_done: bytes from @base that were dealt with. out_moved, out_already and
 *	out_skipped account for every page of them.
 *
 * Not moving a page is no error: it is counted. Data is never lost. Absent and
 * zero pages of anonymous memory become zeroed pages in a GPU's memory; if it is a
 * NUMA node, only where the process may write.
 *
 * Errors: EBADFD; EPERM; ESRCH; EOPNOTSUPP without an mm; ENODEV and ENOENT, also
 * for a GPU that went away or was unregistered meanwhile; EINVAL for a range that is
 * empty, unaligned, wraps or ends where no process has memory; EFAULT if any
 * part of the range is not mapped, or has no access at all (PROT_NONE), found
 * before anything moved; EINTR, EFAULT for an area unmapped meanwhile, and
 * ENOMEM for the driver's own needs with the progress in the out members, which
 * are written on every error after the arguments were accepted.
 */
struct uvm_migrate {
	__u32 size;
	__u32 flags;
	__aligned_u64 base;
	__aligned_u64 length;
	__u32 dest_kind;
	__s32 dest_node;
	__u8 dest_uuid[UVM_UUID_LEN];
	__aligned_u64 out_moved;
	__aligned_u64 out_already;
	__aligned_u64 out_skipped[UVM_SKIP_SLOTS];
	__aligned_u64 out_done;
};
#define UVM_MIGRATE _IO(UVM_TYPE, UVM_CMD_MIGRATE)

/**
 * enum uvm_where - where a page is
 * @UVM_WHERE_NONE: no page: never touched, swapped out, being migrated, in the
 *	private memory of another driver's device, or in system memory that a GPU has
 *	for itself (UVM_FEATURE_SYSTEM_ATOMICS)
 * @UVM_WHERE_CPU: in system memory
 * @UVM_WHERE_GPU: in the memory of a GPU of this driver
 * @UVM_WHERE_OTHER_DEVICE: in the memory of another driver's device
 */
enum uvm_where {
	UVM_WHERE_NONE = 0,
	UVM_WHERE_CPU = 1,
	UVM_WHERE_GPU = 2,
	UVM_WHERE_OTHER_DEVICE = 3,
};

/* &uvm_page_state.prot */
#define UVM_PAGE_READ	(1 << 0)
#define UVM_PAGE_WRITE	(1 << 1)
#define UVM_PAGE_COPIED	(1 << 2)

/**
 * struct uvm_page_state - the answer for one page
 * @where: enum uvm_where
 * @prot: mask of UVM_PAGE_*: what the CPU's page table grants now. A page that
 *	is writable by right but will be copied on the first write is not
 *	UVM_PAGE_WRITE. Of a managed page: its mapping's rights. UVM_PAGE_COPIED: others
 *	have copies of it, see UVM_SET_READ_MOSTLY; @where then is the CPU if it has one.
 * @id: NUMA node for UVM_WHERE_CPU, &uvm_gpu_info.id for UVM_WHERE_GPU, else 0
 */
struct uvm_page_state {
	__u8 where;
	__u8 prot;
	__u16 id;
};

/**
 * struct uvm_query_residency - ioctl(UVM_QUERY_RESIDENCY)
 * @size: sizeof(struct uvm_query_residency)
 * @flags: must be 0
 * @base: first byte; page aligned
 * @length: bytes; page aligned, not 0, at most &uvm_info.out_max_query pages
 * @pages: array of struct uvm_page_state, one a page
 *
 * Looks without touching: populates nothing, moves nothing. The answer is a
 * snapshot, old as soon as it is given. Parts that are not mapped read as
 * UVM_WHERE_NONE.
 *
 * Errors: EBADFD; EPERM; ESRCH; EOPNOTSUPP without an mm; EINVAL; EFAULT for a bad
 * @pages; ENOMEM; EINTR; EBUSY if the address space kept changing.
 */
struct uvm_query_residency {
	__u32 size;
	__u32 flags;
	__aligned_u64 base;
	__aligned_u64 length;
	__aligned_u64 pages;
};
#define UVM_QUERY_RESIDENCY _IO(UVM_TYPE, UVM_CMD_QUERY_RESIDENCY)

#define UVM_PROCESSOR_CPU	(~0U)

/**
 * struct uvm_processor - one entry of UVM_QUERY_PROCESSORS
 * @uuid: the GPU, or zero for the CPU
 * @id: &uvm_gpu_info.id, or UVM_PROCESSOR_CPU
 * @nearest_node: of a GPU: the NUMA node whose CPUs and memory are next to it, or
 *	-1. The CPU work for the GPU is done there. -1 for the CPU.
 * @access: whose memory it loads from and stores to in place, without pages moving
 * @copy: whose memory it can copy from, to its own memory, with one copy engine and
 *	without a stop on the way
 * @reach: whose memory pages can come from to its own memory, one way or another
 *
 * Bit n of the masks is entry n of the same answer; a processor's own bit is set in
 * all of them.
 */
struct uvm_processor {
	__u8 uuid[UVM_UUID_LEN];
	__u32 id;
	__s32 nearest_node;
	__aligned_u64 access;
	__aligned_u64 copy;
	__aligned_u64 reach;
};

/**
 * struct uvm_query_processors - ioctl(UVM_QUERY_PROCESSORS)
 * @size: sizeof(struct uvm_query_processors)
 * @flags: must be 0
 * @processors: array of struct uvm_processor to fill; may be 0 if @count is 0
 * @count: entries that fit into @processors
 * @entry_size: sizeof(struct uvm_processor); entries are cut to, or zero-padded up
 *	to, this many bytes
 * @out_count: processors of the VA space; compare with @count to see whether any
 *	are missing
 * @__reserved: must be 0
 *
 * Who can do what with whose memory in this VA space. Entry 0 is the CPU; the
 * registered GPUs follow, by id.
 *
 * Errors: EBADFD; EPERM; EINVAL for an @entry_size of 0 or above 4096; EFAULT;
 * ENOMEM. Works after the mm was released.
 */
struct uvm_query_processors {
	__u32 size;
	__u32 flags;
	__aligned_u64 processors;
	__u32 count;
	__u32 entry_size;
	__u32 out_count;
	__u32 __reserved;
};
#define UVM_QUERY_PROCESSORS _IO(UVM_TYPE, UVM_CMD_QUERY_PROCESSORS)

/**
 * DOC: Policies
 *
 * A policy says what user space wants for the pages of a range when processors fault
 * on them. It ends with the mapping: with munmap, and with mremap to another place, where
 * the default applies. mprotect and fork leave it alone; a child has none. Setting one
 * moves nothing. Ranges are split where policies differ, and merged again where they
 * don't.
 *
 * When a GPU faults on a page of private anonymous memory that is not in its own
 * memory, the first of these that applies decides:
 *
 * 1. the range group forbids migration, or UVM_SET_FAULT_MIGRATION turned it off: the
 *    page stays
 * 2. the preferred location is that GPU: the page moves there
 * 3. the preferred location is system memory: the page goes, or stays, there
 * 4. the GPU is in the accessed-by set, and the page is in system memory: it stays
 * 5. the page moves to the GPU
 *
 * A page that stays in system memory is mapped for the GPU where it is. So is one for
 * which the GPU has no memory left, one that can't move, and memory that isn't private
 * and anonymous. A GPU that is a NUMA node has faulting pages moved only by 2.
 *
 * The commands that take a range want @base and @length in bytes, page aligned, not
 * empty, without a wrap (EINVAL), and mapped, with access, from end to end (EFAULT).
 * They all have these errors: EBADFD; EPERM; ESRCH; EOPNOTSUPP without an mm; EINVAL;
 * EFAULT; ENOMEM; EINTR for a fatal signal; ENOSPC if there would be more than 16384
 * ranges that don't have the default. What splits a range counts before anything is
 * merged. Unmapping part of a range never fails for that.
 */

/**
 * struct uvm_set_preferred_location - ioctl(UVM_SET_PREFERRED_LOCATION)
 * @size: sizeof(struct uvm_set_preferred_location)
 * @flags: must be 0
 * @base: first byte; page aligned
 * @length: bytes; page aligned, not 0
 * @dest_kind: enum uvm_dest; UVM_DEST_NONE takes the preference back
 * @dest_node: a node with memory, for UVM_DEST_CPU_NODE; else 0
 * @dest_uuid: a registered GPU, for UVM_DEST_GPU; else 0
 *
 * Errors: see DOC: Policies; ENODEV, ENOENT.
 */
struct uvm_set_preferred_location {
	__u32 size;
	__u32 flags;
	__aligned_u64 base;
	__aligned_u64 length;
	__u32 dest_kind;
	__s32 dest_node;
	__u8 dest_uuid[UVM_UUID_LEN];
};
#define UVM_SET_PREFERRED_LOCATION \
	_IO(UVM_TYPE, UVM_CMD_SET_PREFERRED_LOCATION)

/**
 * struct uvm_set_accessed_by - ioctl(UVM_SET_ACCESSED_BY)
 * @size: sizeof(struct uvm_set_accessed_by)
 * @flags: must be 0
 * @base: first byte; page aligned
 * @length: bytes; page aligned, not 0
 * @uuid: a registered GPU, or 0 for the CPU
 * @enable: 1 to put it into the set of the range, 0 to take it out
 * @__reserved: must be 0
 *
 * A processor in the set uses pages where they are, if it can.
 *
 * Errors: see DOC: Policies; ENODEV, ENOENT.
 */
struct uvm_set_accessed_by {
	__u32 size;
	__u32 flags;
	__aligned_u64 base;
	__aligned_u64 length;
	__u8 uuid[UVM_UUID_LEN];
	__u32 enable;
	__u32 __reserved;
};
#define UVM_SET_ACCESSED_BY _IO(UVM_TYPE, UVM_CMD_SET_ACCESSED_BY)

/**
 * struct uvm_set_switch - ioctl(UVM_SET_FAULT_MIGRATION, UVM_SET_PREFETCH,
 * UVM_SET_READ_MOSTLY)
 * @size: sizeof(struct uvm_set_switch)
 * @flags: must be 0
 * @base: first byte; page aligned
 * @length: bytes; page aligned, not 0
 * @enable: 1 for on, 0 for off
 * @__reserved: must be 0
 *
 * UVM_SET_FAULT_MIGRATION, on by default: a fault may move pages; else it maps them
 * where they are. UVM_SET_PREFETCH, on by default: pages around a fault are moved along.
 * UVM_SET_READ_MOSTLY, off by default: the range is rarely written. In managed memory
 * (UVM_FEATURE_READ_DUPLICATION) who reads a page, or has it migrated to him, gets a copy,
 * and whoever had it keeps his; who writes it is then the only one who has it. Switched
 * off, one copy is left: the CPU's, or that of the GPU with the lowest id. Where somebody
 * has a reference to the CPU's page, as a system call does that reads it, there are no
 * copies. EINTR if it was off for some pages only when a signal came. Of other memory it
 * is only remembered.
 *
 * Errors: see DOC: Policies.
 */
struct uvm_set_switch {
	__u32 size;
	__u32 flags;
	__aligned_u64 base;
	__aligned_u64 length;
	__u32 enable;
	__u32 __reserved;
};
#define UVM_SET_FAULT_MIGRATION _IO(UVM_TYPE, UVM_CMD_SET_FAULT_MIGRATION)
#define UVM_SET_PREFETCH _IO(UVM_TYPE, UVM_CMD_SET_PREFETCH)
#define UVM_SET_READ_MOSTLY _IO(UVM_TYPE, UVM_CMD_SET_READ_MOSTLY)

/**
 * struct uvm_create_range_group - ioctl(UVM_CREATE_RANGE_GROUP)
 * @size: sizeof(struct uvm_create_range_group)
 * @flags: must be 0
 * @out_group: id of the new group, not 0, and never that of another one before
 * @__reserved: must be 0
 *
 * A range group is a set of ranges whose migration is allowed and forbidden together.
 * It starts empty, and allowed.
 *
 * Errors: EBADFD; EPERM; ESRCH; EOPNOTSUPP without an mm; ENOMEM; ENOSPC for more than
 * 1024.
 */
struct uvm_create_range_group {
	__u32 size;
	__u32 flags;
	__u32 out_group;
	__u32 __reserved;
};
#define UVM_CREATE_RANGE_GROUP _IO(UVM_TYPE, UVM_CMD_CREATE_RANGE_GROUP)

/**
 * struct uvm_destroy_range_group - ioctl(UVM_DESTROY_RANGE_GROUP)
 * @size: sizeof(struct uvm_destroy_range_group)
 * @flags: must be 0
 * @group: from UVM_CREATE_RANGE_GROUP
 * @__reserved: must be 0
 *
 * Its ranges are in no group any more.
 *
 * Errors: EBADFD; EPERM; ENOENT. Works after the mm was released.
 */
struct uvm_destroy_range_group {
	__u32 size;
	__u32 flags;
	__u32 group;
	__u32 __reserved;
};
#define UVM_DESTROY_RANGE_GROUP _IO(UVM_TYPE, UVM_CMD_DESTROY_RANGE_GROUP)

/**
 * struct uvm_set_range_group - ioctl(UVM_SET_RANGE_GROUP)
 * @size: sizeof(struct uvm_set_range_group)
 * @flags: must be 0
 * @base: first byte; page aligned
 * @length: bytes; page aligned, not 0
 * @group: from UVM_CREATE_RANGE_GROUP, or 0 for none
 * @__reserved: must be 0
 *
 * A range is in one group at most. When a range has come into a group that forbids
 * migration, moves that began before are over.
 *
 * Errors: see DOC: Policies; ENOENT; EINTR also with the range in the group, but moves
 * that began before under way still.
 */
struct uvm_set_range_group {
	__u32 size;
	__u32 flags;
	__aligned_u64 base;
	__aligned_u64 length;
	__u32 group;
	__u32 __reserved;
};
#define UVM_SET_RANGE_GROUP _IO(UVM_TYPE, UVM_CMD_SET_RANGE_GROUP)

/**
 * struct uvm_allow_migration - ioctl(UVM_ALLOW_MIGRATION)
 * @size: sizeof(struct uvm_allow_migration)
 * @flags: must be 0
 * @group: from UVM_CREATE_RANGE_GROUP
 * @allow: 1 to allow, 0 to forbid
 *
 * While it is forbidden, neither faults of GPUs nor UVM_MIGRATE, which counts them as
 * UVM_SKIP_POLICY, move the pages of its ranges; except for pages that somebody could not
 * use otherwise: the CPU, or another GPU, those in a GPU's private memory; a GPU, those
 * on which it can do atomics in its own memory only. When it has been forbidden, moves
 * that began before are over.
 *
 * Errors: EBADFD; EPERM; ESRCH; EOPNOTSUPP without an mm; EINVAL; ENOENT; EINTR for a
 * fatal signal: it is forbidden, but moves that began before may be under way still.
 */
struct uvm_allow_migration {
	__u32 size;
	__u32 flags;
	__u32 group;
	__u32 allow;
};
#define UVM_ALLOW_MIGRATION _IO(UVM_TYPE, UVM_CMD_ALLOW_MIGRATION)

/* &uvm_query_policy.out_policy */
#define UVM_POLICY_FAULT_MIGRATION	(1 << 0)
#define UVM_POLICY_PREFETCH		(1 << 1)
#define UVM_POLICY_READ_MOSTLY		(1 << 2)
#define UVM_POLICY_ALLOW_MIGRATION	(1 << 3)

/**
 * struct uvm_query_policy - ioctl(UVM_QUERY_POLICY)
 * @size: sizeof(struct uvm_query_policy)
 * @flags: must be 0
 * @address: any address of the process
 * @out_base: first byte of the range around @address that has the same policy
 * @out_length: its bytes; with the default policy, up to the next range that has
 *	another, mapped or not
 * @out_policy: mask of UVM_POLICY_*: what is on
 * @out_group: range group, or 0
 * @out_dest_kind: preferred location, as UVM_SET_PREFERRED_LOCATION takes it
 * @out_dest_node: see there
 * @out_dest_uuid: see there
 * @accessed_by: array to fill with the uuids (UVM_UUID_LEN bytes each) of the
 *	accessed-by set; may be 0 if @count is 0
 * @count: uuids that fit into @accessed_by
 * @out_count: uuids in the set; compare with @count to see whether any are missing
 *
 * Errors: EBADFD; EPERM; ESRCH; EOPNOTSUPP without an mm; EINVAL for an @address where
 * no process has memory; EFAULT.
 */
struct uvm_query_policy {
	__u32 size;
	__u32 flags;
	__aligned_u64 address;
	__aligned_u64 out_base;
	__aligned_u64 out_length;
	__u32 out_policy;
	__u32 out_group;
	__u32 out_dest_kind;
	__s32 out_dest_node;
	__u8 out_dest_uuid[UVM_UUID_LEN];
	__aligned_u64 accessed_by;
	__u32 count;
	__u32 out_count;
};
#define UVM_QUERY_POLICY _IO(UVM_TYPE, UVM_CMD_QUERY_POLICY)

/**
 * struct uvm_set_access_counters - ioctl(UVM_SET_ACCESS_COUNTERS)
 * @size: sizeof(struct uvm_set_access_counters)
 * @flags: must be 0
 * @uuid: a registered GPU
 * @enable: 1 for on, 0 for off
 * @__reserved: must be 0
 *
 * Off by default, and again when the GPU is unregistered; to say the same twice is no
 * error. While it is on, the GPU counts its accesses to memory that isn't its own, and
 * pages which it uses a lot move to it: those that a fault would move there (DOC:
 * Policies), and those that stay for rule 4. The module's parameter counter_threshold
 * says how much a lot is. Other VA spaces that have the GPU don't notice.
 *
 * Errors: EBADFD; EPERM; ESRCH; EINVAL; ENODEV; ENOENT; EOPNOTSUPP if the GPU doesn't
 * count; ENOMEM.
 */
struct uvm_set_access_counters {
	__u32 size;
	__u32 flags;
	__u8 uuid[UVM_UUID_LEN];
	__u32 enable;
	__u32 __reserved;
};
#define UVM_SET_ACCESS_COUNTERS _IO(UVM_TYPE, UVM_CMD_SET_ACCESS_COUNTERS)

/**
 * struct uvm_query_memory - ioctl(UVM_QUERY_MEMORY)
 * @size: sizeof(struct uvm_query_memory)
 * @flags: must be 0
 * @uuid: a registered GPU
 * @out_total: bytes of the GPU's memory
 * @out_used: bytes of it in use, by whomever
 * @out_free: the others
 * @out_largest_free: bytes of the largest free piece that can be had as one; a huge
 *	page at most
 * @out_evictable: bytes in use that can be had by eviction
 * @out_pinned: bytes in use that can't, since somebody holds the pages
 * @out_mine: bytes in use by the calling process
 * @out_limit: the process's limit, in bytes; 0 if there is none
 * @out_reserved: bytes that are reserved for it
 * @out_evicted: pages that were evicted from the GPU's memory, since it is there
 * @out_refaulted: pages that came back to it after they had been evicted
 * @out_my_evicted: the same of the process's pages only
 * @out_my_refaulted: the same of the process's pages only
 * @out_thrash: how many, in 1000, of the pages that came lately had been evicted
 *	shortly before: 0 is well, and near 1000 nothing is done but moving
 * @__reserved: must be 0
 *
 * The numbers are of one moment each, not all of the same. Memory in use that is
 * neither evictable nor pinned is being moved, or nobody has tried yet.
 *
 * Errors: EBADFD; EPERM; ESRCH; ENODEV; ENOENT; EOPNOTSUPP without an mm, and for
 * UVM_MEMORY_NUMA, of whose memory the system's own tools tell.
 */
struct uvm_query_memory {
	__u32 size;
	__u32 flags;
	__u8 uuid[UVM_UUID_LEN];
	__aligned_u64 out_total;
	__aligned_u64 out_used;
	__aligned_u64 out_free;
	__aligned_u64 out_largest_free;
	__aligned_u64 out_evictable;
	__aligned_u64 out_pinned;
	__aligned_u64 out_mine;
	__aligned_u64 out_limit;
	__aligned_u64 out_reserved;
	__aligned_u64 out_evicted;
	__aligned_u64 out_refaulted;
	__aligned_u64 out_my_evicted;
	__aligned_u64 out_my_refaulted;
	__u32 out_thrash;
	__u32 __reserved;
};
#define UVM_QUERY_MEMORY _IO(UVM_TYPE, UVM_CMD_QUERY_MEMORY)

/**
 * struct uvm_set_memory_limit - ioctl(UVM_SET_MEMORY_LIMIT)
 * @size: sizeof(struct uvm_set_memory_limit)
 * @flags: must be 0
 * @uuid: a registered GPU
 * @limit: bytes of the GPU's memory that the process may have at most; 0 for no limit
 * @reserved: bytes of it that are the process's before they are anybody else's
 *
 * Both are whole pages, and both are 0 at first. They are the process's: all of its VA
 * spaces that have the GPU registered share them, and they end when the last of these
 * unregisters it. What the process has above the limit leaves at once, as far as it can;
 * what can't now does when the process wants more. Whoever moves pages there over the limit
 * evicts others of the same process before. Of what is reserved nothing is kept free,
 * but others' need of memory evicts no page of a process that has no more than that.
 * All reservations made without CAP_SYS_RESOURCE together fit into a part of the memory,
 * by default a half: reserve_percent= of the module. A child of fork begins with neither.
 *
 * Errors: EBADFD; EPERM; ESRCH; EINVAL if one is no whole number of pages, or if
 * @reserved is above @limit, where there is one, or above the GPU's memory; ENODEV;
 * ENOENT; ENOSPC if all reservations together would be above the GPU's memory; EPERM
 * also if those without CAP_SYS_RESOURCE would be above their part of it; EOPNOTSUPP without an mm, and for UVM_MEMORY_NUMA.
 */
struct uvm_set_memory_limit {
	__u32 size;
	__u32 flags;
	__u8 uuid[UVM_UUID_LEN];
	__aligned_u64 limit;
	__aligned_u64 reserved;
};
#define UVM_SET_MEMORY_LIMIT _IO(UVM_TYPE, UVM_CMD_SET_MEMORY_LIMIT)

/**
 * struct uvm_set_memory_event - ioctl(UVM_SET_MEMORY_EVENT)
 * @size: sizeof(struct uvm_set_memory_event)
 * @flags: must be 0
 * @uuid: a registered GPU
 * @threshold: bytes, a whole number of pages, not 0, at most the GPU's memory; 0 with
 *	an @eventfd of -1
 * @eventfd: what to signal; -1 for nothing any more
 * @__reserved: must be 0
 *
 * Adds 1 to @eventfd when less than @threshold of the GPU's memory is free: at once if
 * that is so already, then each time that it becomes so after as much, or more, was
 * free. A fall that is over before anybody could be told may go unsaid. A VA space has
 * one such event for each GPU: another one takes its place. It ends when the GPU is
 * unregistered, or goes away, and when the mm is released. Closing @eventfd ends
 * nothing, and needs nothing else.
 *
 * Errors: EBADFD; EPERM; ESRCH; EBADF if @eventfd is no open file; EINVAL if it is no
 * eventfd, and for a bad @threshold; ENODEV; ENOENT; EOPNOTSUPP without an mm, for
 * UVM_MEMORY_NUMA, and on a kernel without eventfds.
 */
struct uvm_set_memory_event {
	__u32 size;
	__u32 flags;
	__u8 uuid[UVM_UUID_LEN];
	__aligned_u64 threshold;
	__s32 eventfd;
	__u32 __reserved;
};
#define UVM_SET_MEMORY_EVENT _IO(UVM_TYPE, UVM_CMD_SET_MEMORY_EVENT)

/* Flags of UVM_DISCARD: the pages leave the GPU's memory at once. */
#define UVM_DISCARD_EAGER	(1U << 0)

/**
 * enum uvm_discard_skip - why UVM_DISCARD left a page as it was
 * @UVM_DISCARD_SKIP_NOT_ON_GPU: it isn't in a GPU's memory, or there is none; or the CPU
 *	has a copy, which is what it is then
 * @UVM_DISCARD_SKIP_MEMORY_KIND: it is in memory of a kind that can't be discarded:
 *	UVM_MEMORY_NUMA; and UVM_MEMORY_COHERENT but with UVM_DISCARD_EAGER, since nobody
 *	would notice that the CPU writes there
 * @UVM_DISCARD_SKIP_SHARED: another process may have it, too, since a fork; or the
 *	process may not write it
 * @UVM_DISCARD_SKIP_BUSY: pinned, locked, or raced with
 * @UVM_DISCARD_SKIP_NO_MEMORY: with UVM_DISCARD_EAGER: there was no system memory for it
 * @UVM_DISCARD_SKIP_POLICY: with UVM_DISCARD_EAGER: its range group forbids migration
 * @UVM_DISCARD_SKIP_NR: number of reasons
 */
enum uvm_discard_skip {
	UVM_DISCARD_SKIP_NOT_ON_GPU = 0,
	UVM_DISCARD_SKIP_MEMORY_KIND = 1,
	UVM_DISCARD_SKIP_SHARED = 2,
	UVM_DISCARD_SKIP_BUSY = 3,
	UVM_DISCARD_SKIP_NO_MEMORY = 4,
	UVM_DISCARD_SKIP_POLICY = 5,
	UVM_DISCARD_SKIP_NR = 6,
};
#define UVM_DISCARD_SKIP_SLOTS	8

/**
 * struct uvm_discard - ioctl(UVM_DISCARD)
 * @size: sizeof(struct uvm_discard)
 * @flags: 0 or UVM_DISCARD_EAGER
 * @base: first byte; page aligned
 * @length: bytes; page aligned, not 0
 * @out_discarded: pages whose contents are given up
 * @out_skipped: pages left as they were, by enum uvm_discard_skip
 * @out_done: bytes from @base that were dealt with. out_discarded and out_skipped
 *	account for every page of them.
 *
 * Nobody needs what the range holds. The first read of a page that was discarded finds
 * what it held before, or zeros, and never what was somebody else's; what it finds stays.
 * Whatever is written after the command returned is kept; what is written while it is
 * under way may be lost. A child of a fork that comes after it finds the same.
 *
 * Such pages stay where they are, but no GPU maps them, and when they move nothing is
 * copied; and they are the first to be evicted. A page that a GPU touches is like any
 * other again. With UVM_DISCARD_EAGER they leave at once, and system memory of zeros
 * takes their place.
 *
 * Errors: EBADFD; EPERM; ESRCH, also for an mm that is released meanwhile; EOPNOTSUPP
 * without an mm; EINVAL for an unknown flag, and for a range that is empty, unaligned,
 * wraps or ends where no process has memory; EFAULT if any part of the range is not
 * mapped, or has no access at all (PROT_NONE), found before anything was discarded;
 * EINTR, EFAULT for an area unmapped meanwhile, and ENOMEM for the driver's own needs
 * with the progress in the out members, which are written on every error after the
 * arguments were accepted.
 */
struct uvm_discard {
	__u32 size;
	__u32 flags;
	__aligned_u64 base;
	__aligned_u64 length;
	__aligned_u64 out_discarded;
	__aligned_u64 out_skipped[UVM_DISCARD_SKIP_SLOTS];
	__aligned_u64 out_done;
};
#define UVM_DISCARD _IO(UVM_TYPE, UVM_CMD_DISCARD)

/**
 * enum uvm_range_kind - what there is at an address
 * @UVM_RANGE_NONE: nothing is mapped
 * @UVM_RANGE_ORDINARY: memory of the process: anonymous, of files, or another driver's; and
 *	managed memory of another VA space
 * @UVM_RANGE_MANAGED: managed memory of this VA space
 */
enum uvm_range_kind {
	UVM_RANGE_NONE = 0,
	UVM_RANGE_ORDINARY = 1,
	UVM_RANGE_MANAGED = 2,
};

/**
 * struct uvm_range_copies - who has pages of a range
 * @id: &uvm_gpu_info.id of a GPU, of one also that is gone if its pages are parked; or
 *	UVM_PROCESSOR_CPU
 * @__reserved: 0
 * @pages: how many
 */
struct uvm_range_copies {
	__u32 id;
	__u32 __reserved;
	__aligned_u64 pages;
};

/**
 * struct uvm_query_range - ioctl(UVM_QUERY_RANGE)
 * @size: sizeof(struct uvm_query_range)
 * @flags: must be 0
 * @address: any address of the process
 * @out_base: first byte of the range around @address: the mapping, or those side by side
 *	that are managed, as far as they have the policy that holds at @address; of
 *	nothing, all that is unmapped around it
 * @out_length: its bytes
 * @out_kind: enum uvm_range_kind
 * @out_policy: mask of UVM_POLICY_*: what is on
 * @copies: array of struct uvm_range_copies to fill, by id; may be 0 if @count is 0
 * @count: entries that fit into it
 * @out_count: entries in all; compare with @count to see whether any are missing
 *
 * A page of which there are copies counts for each who has one; one that nobody touched
 * yet for nobody. Of memory that the process may not read (PROT_NONE) and that isn't
 * managed nothing is found. Pages that move meanwhile may be found twice, or not at all.
 *
 * Errors: EBADFD; EPERM; ESRCH; EOPNOTSUPP without an mm; EINVAL for an @address where no
 * process has memory; EFAULT; EINTR for a fatal signal; ENOMEM.
 */
struct uvm_query_range {
	__u32 size;
	__u32 flags;
	__aligned_u64 address;
	__aligned_u64 out_base;
	__aligned_u64 out_length;
	__u32 out_kind;
	__u32 out_policy;
	__aligned_u64 copies;
	__u32 count;
	__u32 out_count;
};
#define UVM_QUERY_RANGE _IO(UVM_TYPE, UVM_CMD_QUERY_RANGE)

#endif /* _UAPI_LINUX_UVM_H */
