// SPDX-License-Identifier: MIT
/*
 * Words for people: errors with the way out of them, and names of values.
 */
#include <errno.h>

#include "internal.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

struct advice {
	unsigned int cmd;
	int err;
	const char *text;
};

/* The same in every command that sets the policy of a range. */
#define ADVICE_RANGE(cmd)						\
	{ cmd, EINVAL,							\
	  "the range is empty, not page aligned or too long: give the pages that cover the data" }, \
	{ cmd, EFAULT,							\
	  "part of the range isn't mapped, or has no access: set the policy of mapped memory only" }, \
	{ cmd, ENOSPC,							\
	  "the limit of ranges with policies of their own is reached: take some back, or set fewer and larger ones" }, \
	ADVICE_NO_MM(cmd)
#define ADVICE_NO_MM(cmd)						\
	{ cmd, EOPNOTSUPP,						\
	  "a VA space for several processes has nobody's memory: set policies in one that belongs to this process" }
#define ADVICE_GPU(cmd)							\
	{ cmd, ENOENT,							\
	  "the GPU isn't registered in this context, or not any more: register it first" }
#define ADVICE_MEMORY(cmd)						\
	ADVICE_GPU(cmd),						\
	{ cmd, EOPNOTSUPP,						\
	  "the GPU's memory is a NUMA node, which the system's own tools show and limit; or the VA space has nobody's memory: ask of another GPU, or in a VA space of this process" }
#define ADVICE_GROUP(cmd)						\
	{ cmd, ENOENT, "there is no such range group: create it first" }
#define ADVICE_SETTLE(cmd)						\
	{ cmd, EINTR,							\
	  "interrupted: pages whose move began before may move still; repeat to be sure that they don't" }

/* What an error means in one command more precisely than everywhere; the first counts. */
static const struct advice special[] = {
	{ UVM_CMD_OPEN, ENOENT,
	  "there is no /dev/uvm: load the module (modprobe uvm, or insmod uvm.ko) and a GPU's driver" },
	{ UVM_CMD_OPEN, EACCES,
	  "no permission to open /dev/uvm: run as root, or have its owner and mode changed" },
	{ UVM_CMD_OPEN, EPERM,
	  "no permission to open /dev/uvm: run as root, or allow the device in the container" },
	{ UVM_CMD_OPEN, ENOTTY,
	  "/dev/uvm isn't uvm's: load the module, or remove the stale node and load it again" },
	{ UVM_CMD_OPEN, ENXIO,
	  "/dev/uvm has no driver behind it: load the module (modprobe uvm, or insmod uvm.ko)" },
	{ UVM_CMD_OPEN, ENODEV,
	  "/dev/uvm has no driver behind it: load the module (modprobe uvm, or insmod uvm.ko)" },
	{ UVM_CMD_OPEN, EPROTONOSUPPORT,
	  "the loaded module speaks another version than this program: use the two of one release" },
	{ UVM_CMD_OPEN, EMFILE,
	  "too many open files in this process: close some, or raise ulimit -n" },
	{ UVM_CMD_ENUM_GPUS, ENODEV,
	  "there is no such GPU: load a GPU's driver (modprobe uvm_sim gives a software GPU), or choose one that uvmctl gpus lists" },
	{ UVM_CMD_REGISTER_GPU, ENOMEM,
	  "out of memory for the GPU's page tables: free some and repeat" },
	{ UVM_CMD_REGISTER_GPU, EEXIST,
	  "the GPU is registered already: go on and use it" },
	{ UVM_CMD_REGISTER_GPU, EOPNOTSUPP,
	  "private GPUs and GPUs whose memory the CPU can address don't mix: unregister the others first, or open another context for this one" },
	{ UVM_CMD_REGISTER_GPU, ENODEV,
	  "there is no such GPU, or it went away: choose one that uvmctl gpus lists" },
	{ UVM_CMD_MM_INIT, EOPNOTSUPP,
	  "the VA space is one for several processes, which has no mm file: use it without, or make another one" },
	{ UVM_CMD_MM_INIT, EBADF,
	  "the VA space's descriptor isn't /dev/uvm: check it" },
	{ UVM_CMD_CHANNEL_CREATE, ENODEV,
	  "there is no such GPU, or it went away: list the GPUs again, and register one" },
	{ UVM_CMD_CHANNEL_CREATE, ENOSPC,
	  "the limit of channels is reached: destroy one first" },
	{ UVM_CMD_CHANNEL_CREATE, ENOENT,
	  "the GPU isn't registered in this context: register it first" },
	{ UVM_CMD_UNREGISTER_GPU, ENOENT,
	  "the GPU isn't registered in this context: nothing is left to do" },
	{ UVM_CMD_UNREGISTER_GPU, ENODEV,
	  "there is no such GPU, or it went away and its pages came home: nothing is left to do" },
	{ UVM_CMD_UNREGISTER_GPU, EINTR,
	  "interrupted: pages may be left in the GPU's memory; they stay valid, and come back as they are touched" },
	{ UVM_CMD_CHANNEL_SUBMIT, ENODEV,
	  "the channel's GPU went away: destroy the channel, and register another GPU or this one when it is back" },
	{ UVM_CMD_CHANNEL_SUBMIT, EINVAL,
	  "the GPU doesn't know one of the commands, or their length is 0, too long or no whole number of commands: check them, split long lists" },
	{ UVM_CMD_CHANNEL_SUBMIT, EBUSY,
	  "the channel's queue is full: wait for an earlier point, then submit again" },
	{ UVM_CMD_CHANNEL_SUBMIT, ECANCELED,
	  "the channel was stopped: query it for the reason, then make a new one" },
	{ UVM_CMD_CHANNEL_SUBMIT, EFAULT,
	  "the commands can't be read: check their address and length" },
	{ UVM_CMD_CHANNEL_SUBMIT, ENOENT,
	  "there is no such channel: create it first" },
	{ UVM_CMD_CHANNEL_QUERY, ENOENT,
	  "there is no such channel: create it first" },
	{ UVM_CMD_CHANNEL_DESTROY, ENOENT,
	  "there is no such channel: nothing is left to do" },
	{ UVM_CMD_WAIT, ENOENT,
	  "there is no such channel: create it first" },
	{ UVM_CMD_WAIT, EINVAL,
	  "the point was never handed out on this channel: wait for one that submitting returned" },
	{ UVM_CMD_WAIT, ECANCELED,
	  "the channel stopped before it reached the point: query it for the fault or error" },
	{ UVM_CMD_MIGRATE, EINVAL,
	  "the range is empty, not page aligned or too long, or the node has no memory: give the pages that cover the data" },
	{ UVM_CMD_MIGRATE, EFAULT,
	  "part of the range isn't mapped, or has no access: migrate mapped memory only" },
	{ UVM_CMD_MIGRATE, ENOENT,
	  "the GPU isn't registered in this context, or not any more: register it first" },
	{ UVM_CMD_MIGRATE, ENODEV,
	  "there is no such GPU, or it went away; no data is lost: list the GPUs again" },
	{ UVM_CMD_MIGRATE, EOPNOTSUPP,
	  "a VA space for several processes has nobody's memory: migrate in one that belongs to this process" },
	{ UVM_CMD_QUERY_RESIDENCY, EOPNOTSUPP,
	  "a VA space for several processes has nobody's memory: ask one that belongs to this process" },
	{ UVM_CMD_QUERY_RESIDENCY, EINVAL,
	  "the range is empty, not page aligned or too long: give the pages that cover the data" },
	{ UVM_CMD_QUERY_RESIDENCY, EBUSY,
	  "the address space kept changing: query again" },
	{ UVM_CMD_QUERY_RESIDENCY, EFAULT,
	  "the answer can't be stored: check the array's address and length" },
	{ UVM_CMD_QUERY_PROCESSORS, EFAULT,
	  "the answer can't be stored: check the array's address and length" },
	{ UVM_CMD_QUERY_PROCESSORS, EINVAL,
	  "the entries' size is 0 or above 4096: give that of the structure" },
	{ UVM_CMD_SET_PREFERRED_LOCATION, EINVAL,
	  "the range is empty, not page aligned or too long, or the node has no memory: give the pages that cover the data" },
	ADVICE_RANGE(UVM_CMD_SET_PREFERRED_LOCATION),
	ADVICE_GPU(UVM_CMD_SET_PREFERRED_LOCATION),
	ADVICE_RANGE(UVM_CMD_SET_ACCESSED_BY),
	ADVICE_GPU(UVM_CMD_SET_ACCESSED_BY),
	ADVICE_RANGE(UVM_CMD_SET_FAULT_MIGRATION),
	ADVICE_RANGE(UVM_CMD_SET_PREFETCH),
	ADVICE_RANGE(UVM_CMD_SET_READ_MOSTLY),
	{ UVM_CMD_CREATE_RANGE_GROUP, ENOSPC,
	  "the limit of range groups is reached: destroy one first" },
	ADVICE_NO_MM(UVM_CMD_CREATE_RANGE_GROUP),
	{ UVM_CMD_DESTROY_RANGE_GROUP, ENOENT,
	  "there is no such range group: nothing is left to do" },
	ADVICE_RANGE(UVM_CMD_SET_RANGE_GROUP),
	ADVICE_GROUP(UVM_CMD_SET_RANGE_GROUP),
	ADVICE_SETTLE(UVM_CMD_SET_RANGE_GROUP),
	ADVICE_NO_MM(UVM_CMD_ALLOW_MIGRATION),
	ADVICE_GROUP(UVM_CMD_ALLOW_MIGRATION),
	ADVICE_SETTLE(UVM_CMD_ALLOW_MIGRATION),
	ADVICE_GPU(UVM_CMD_SET_ACCESS_COUNTERS),
	{ UVM_CMD_SET_ACCESS_COUNTERS, EOPNOTSUPP,
	  "the GPU has no access counters: go on without, or have pages moved by uvm_migrate_to_gpu()" },
	ADVICE_MEMORY(UVM_CMD_QUERY_MEMORY),
	ADVICE_MEMORY(UVM_CMD_SET_MEMORY_LIMIT),
	{ UVM_CMD_SET_MEMORY_LIMIT, EINVAL,
	  "limit and reservation must be whole pages, and the reservation no more than the limit and the GPU's memory: check them" },
	{ UVM_CMD_SET_MEMORY_LIMIT, ENOSPC,
	  "others have reserved too much of the GPU's memory: reserve less, or have them reserve less" },
	ADVICE_MEMORY(UVM_CMD_SET_MEMORY_EVENT),
	{ UVM_CMD_SET_MEMORY_EVENT, EBADF,
	  "the event isn't open: give an eventfd, or -1 to end the event" },
	{ UVM_CMD_SET_MEMORY_EVENT, EINVAL,
	  "the event is no eventfd, or the threshold is 0, no whole pages or above the GPU's memory: check them" },
	{ UVM_CMD_DISCARD, EINVAL,
	  "the range is no whole pages, or the flags are wrong: align it with uvm_page_span()" },
	{ UVM_CMD_QUERY_POLICY, EINVAL,
	  "no process has memory at the address: check it" },
	{ UVM_CMD_QUERY_POLICY, EFAULT,
	  "the answer can't be stored: check the array's address and length" },
	{ UVM_CMD_QUERY_POLICY, EOPNOTSUPP,
	  "a VA space for several processes has nobody's memory: ask one that belongs to this process" },
	{ UVM_CMD_QUERY_RANGE, EINVAL,
	  "no process has memory at the address: check it" },
	{ UVM_CMD_QUERY_RANGE, EFAULT,
	  "the answer can't be stored: check the array's address and length" },
	{ UVM_CMD_QUERY_RANGE, EOPNOTSUPP,
	  "a VA space for several processes has nobody's memory: ask one that belongs to this process" },
};

/* The meaning that an error has in every command. */
static const struct advice general[] = {
	{ 0, EINVAL, "malformed arguments: check alignment, length and flags" },
	{ 0, E2BIG,
	  "the program is newer than the module and uses what that doesn't know: update the module" },
	{ 0, ENOTTY,
	  "the module doesn't know this command: update it, or use the program of its release" },
	{ 0, EFAULT, "bad address: check the pointers" },
	{ 0, EBADF, "the file isn't /dev/uvm: check the descriptor" },
	{ 0, EBADFD,
	  "the file is of the wrong kind, or not yet or already initialized: open a new context" },
	{ 0, EPERM,
	  "the context belongs to another process: open one in this process (after fork() too)" },
	{ 0, ESRCH,
	  "the address space was released: open a new context" },
	{ 0, ENODEV,
	  "there is no such GPU, or it went away: list the GPUs again" },
	{ 0, ENOENT, "no such object: create or register it first" },
	{ 0, EEXIST, "it exists already: go on and use it" },
	{ 0, ENOMEM, "out of host memory: free some and repeat" },
	{ 0, ENOSPC, "the limit of such objects is reached: destroy one first" },
	{ 0, EOPNOTSUPP,
	  "this GPU or this kernel can't do it: see uvmctl info for what they can" },
	{ 0, EBUSY, "not now: repeat" },
	{ 0, EINTR, "interrupted: repeat for what is left" },
	{ 0, ETIMEDOUT,
	  "the time was over first: wait longer, or query the channel" },
	{ 0, ECANCELED,
	  "the channel was stopped: query it for the reason, then make a new one" },
	{ 0, EMFILE,
	  "too many open files in this process: close some, or raise ulimit -n" },
	{ 0, ENFILE, "too many open files in the system: close some" },
};

static const char *find_advice(const struct advice *table, size_t count,
			       unsigned int cmd, int err)
{
	for (size_t i = 0; i < count; i++)
		if (table[i].cmd == cmd && table[i].err == err)
			return table[i].text;
	return NULL;
}

const char *uvm_strerror(unsigned int cmd, int err)
{
	const char *text;

	if (!err)
		return "success";
	/* Not -err: it has no value for INT_MIN. */
	if (err < 0)
		err = (int)(0U - (unsigned int)err);

	text = find_advice(special, ARRAY_SIZE(special), cmd, err);
	if (!text)
		text = find_advice(general, ARRAY_SIZE(general), 0, err);
	return text ? text : "unexpected error: see the kernel log (dmesg)";
}

static const char *name(const char *const *names, size_t count,
			unsigned int value)
{
	return value < count && names[value] ? names[value] : "unknown";
}

const char *uvm_memory_kind_name(unsigned int kind)
{
	static const char *const names[] = {
		[UVM_MEMORY_PRIVATE] = "private",
		[UVM_MEMORY_COHERENT] = "coherent",
		[UVM_MEMORY_NUMA] = "numa",
	};

	return name(names, ARRAY_SIZE(names), kind);
}

const char *uvm_channel_state_name(unsigned int state)
{
	static const char *const names[] = {
		[UVM_CHANNEL_RUNNING] = "running",
		[UVM_CHANNEL_FAULTED] = "faulted",
		[UVM_CHANNEL_FAILED] = "failed",
		[UVM_CHANNEL_STOPPED] = "stopped",
	};

	return name(names, ARRAY_SIZE(names), state);
}

const char *uvm_fault_reason_name(unsigned int reason)
{
	static const char *const names[] = {
		[UVM_FAULT_NONE] = "no fault",
		[UVM_FAULT_NO_MAPPING] = "nothing is mapped there",
		[UVM_FAULT_PERMISSION] = "the process may not do that either",
		[UVM_FAULT_BUS] = "the mapping has no memory to give there",
		[UVM_FAULT_NO_MEMORY] = "out of memory for the GPU's mapping",
		[UVM_FAULT_NO_ATOMIC] = "atomics can't be done where the page is, and it can't move",
	};

	return name(names, ARRAY_SIZE(names), reason);
}

const char *uvm_access_name(unsigned int access)
{
	static const char *const names[] = {
		[UVM_ACCESS_READ] = "read",
		[UVM_ACCESS_WRITE] = "write",
		[UVM_ACCESS_ATOMIC] = "atomic",
	};

	return name(names, ARRAY_SIZE(names), access);
}

const char *uvm_skip_name(unsigned int skip)
{
	static const char *const names[] = {
		[UVM_SKIP_HOLE_NOT_POPULATED] = "not populated",
		[UVM_SKIP_VMA_KIND] = "not private anonymous memory",
		[UVM_SKIP_OTHER_DEVICE] = "on another driver's device",
		[UVM_SKIP_NO_MEMORY] = "no memory left at the destination",
		[UVM_SKIP_BUSY] = "busy (pinned, locked, or in use by the kernel)",
		[UVM_SKIP_POLICY] = "kept there by its range group",
	};

	return name(names, ARRAY_SIZE(names), skip);
}

const char *uvm_where_name(unsigned int where)
{
	static const char *const names[] = {
		[UVM_WHERE_NONE] = "none",
		[UVM_WHERE_CPU] = "cpu",
		[UVM_WHERE_GPU] = "gpu",
		[UVM_WHERE_OTHER_DEVICE] = "other-device",
	};

	return name(names, ARRAY_SIZE(names), where);
}
