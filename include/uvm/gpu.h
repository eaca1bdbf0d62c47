/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a GPU driver sees of uvm.
 */
#ifndef _UVM_GPU_H
#define _UVM_GPU_H

#include <linux/bits.h>
#include <linux/dma-fence.h>
#include <linux/types.h>
#include <linux/uvm.h>

struct device;
struct module;
struct uvm_gpu;

/**
 * DOC: Writing a GPU backend
 *
 * A backend describes its GPU in a &struct uvm_gpu_desc, implements
 * &struct uvm_gpu_ops, and calls uvm_gpu_register(). The core then owns all
 * policy: what is resident where, who maps what, when things move. The backend
 * owns all hardware: page tables, TLBs, engines, queues.
 *
 * The core never touches GPU memory with a CPU pointer. It names memory in three
 * ways (&enum uvm_aperture): a *device address*, an offset into the GPU's own
 * memory; a *DMA address* that it got from the DMA API for &uvm_gpu_desc.dev; or a
 * device address of a *peer*, see DOC: Peers.
 *
 * Objects that both sides know are embedded: the backend allocates its own
 * structure around &struct uvm_gpu_as or &struct uvm_gpu_channel and returns a
 * pointer to the embedded part. Ids are handed out by the core and never used
 * twice while the module is loaded, so that whatever the hardware reports late
 * can't hit a stranger.
 *
 * Calls for one address space, and calls for one channel, are serialized by the
 * core, with the exceptions named at the operation. Calls for different objects
 * run in parallel.
 */

/**
 * enum uvm_aperture - what an address is an address of
 * @UVM_APERTURE_DEVICE: offset in the GPU's own memory
 * @UVM_APERTURE_SYSTEM: DMA address of system memory
 * @UVM_APERTURE_PEER: offset in the memory of another GPU, which is named beside it
 */
enum uvm_aperture {
	UVM_APERTURE_DEVICE = 0,
	UVM_APERTURE_SYSTEM = 1,
	UVM_APERTURE_PEER = 2,
};

/**
 * DOC: Peers
 *
 * A GPU may be able to reach the memory of another, its peer, by itself. If
 * &uvm_gpu_ops.peer_access says so, entries and copies of the one may name memory of
 * the other by UVM_APERTURE_PEER. It need not be so the other way round.
 *
 * A peer may go away first. The core sees to it that, before uvm_gpu_unregister() of
 * the peer returns, all entries that lead to it are unmapped and invalidated, and all
 * copies from and to it are over: their fences have signaled, or their engine was
 * reset. Where that failed, it doesn't return before their fences signal. The core keeps
 * that order also where only a page leaves the peer: entries first, then the page is
 * given to somebody else. So a backend need not follow who reaches
 * whom, and between two calls of the core an entry never names a GPU that is gone.
 */

/**
 * DOC: Rights of an entry
 *
 * &uvm_gpu_entry.flags is a mask of them; an entry is always readable.
 *
 * - UVM_ENTRY_WRITE: stores are allowed.
 * - UVM_ENTRY_ATOMIC: atomics are allowed, together with UVM_ENTRY_WRITE only. An
 *   atomic that finds no entry with it faults with UVM_ACCESS_ATOMIC, also where a
 *   store would be allowed. On device memory the backend sees to it that an atomic is
 *   one against everybody who can reach that memory. On system memory it is one among
 *   the atomics of this GPU, and no more: it may be a read and a write on the bus, so
 *   an entry that says UVM_ENTRY_ATOMIC there must keep out the CPU and other GPUs.
 *   The core writes none unless the GPU has UVM_GPU_CAP_SYSTEM_ATOMICS. On memory of a
 *   peer an atomic is one as in the peer's own hands, and the core writes no such
 *   entry unless the GPU has UVM_GPU_CAP_PEER_ATOMICS.
 */

/**
 * DOC: Accessed bits
 *
 * A GPU may note in its page tables which entries it used. If &uvm_gpu_ops.harvest is
 * there, the core asks for that from time to time, to find out which pages can leave
 * the GPU's memory with the least regret. An entry has one bit, whatever its size and
 * whatever memory it leads to.
 *
 * A GPU sets the bit when it reads the entry to translate an access, and from then on
 * may serve accesses from a TLB, which nobody notes. Three rules keep the bits honest:
 *
 * - What a TLB holds was read from the tables, so its bit is set, or was harvested
 *   after that. Whoever clears bits must therefore invalidate the TLB before they mean
 *   anything again: without that, what is used all the time looks as if nobody ever
 *   did. The core does so after each @harvest that found any, for all of the range.
 *   An access that begins after the invalidate returned is found by the next harvest.
 * - The core doesn't invalidate where @map gives more rights, or writes once more what
 *   is there. So an entry that replaces one with the bit set begins with it set; the
 *   same goes for a large entry in place of small ones of which any has it, and, where
 *   a small entry takes the place of a large one, for the small one.
 * - Any other entry begins with the bit clear, and an entry that @unmap clears takes
 *   its bit along.
 */

/* &uvm_gpu_entry.flags, see DOC: Rights of an entry */
#define UVM_ENTRY_WRITE		BIT(0)
#define UVM_ENTRY_ATOMIC	BIT(1)

/**
 * struct uvm_gpu_entry - one page table entry to write
 * @va: GPU virtual address, aligned to the page
 * @addr: device or DMA address, aligned to the page
 * @peer: for UVM_APERTURE_PEER: whose memory it is; else of no meaning
 * @shift: log2 of the page size; one of &uvm_gpu_desc.page_sizes
 * @aperture: enum uvm_aperture
 * @flags: mask of UVM_ENTRY_*, see DOC: Rights of an entry
 */
struct uvm_gpu_entry {
	u64 va;
	u64 addr;
	struct uvm_gpu *peer;
	u8 shift;
	u8 aperture;
	u16 flags;
};

/**
 * enum uvm_copy_kind - what the copy engine does with a segment
 * @UVM_COPY_PLAIN: copy @length bytes from @src to @dst
 * @UVM_COPY_FILL: fill @dst with the 8-byte pattern @src
 */
enum uvm_copy_kind {
	UVM_COPY_PLAIN = 0,
	UVM_COPY_FILL = 1,
};

/**
 * struct uvm_gpu_segment - one piece of a copy batch
 * @src: source address, or the pattern of a fill
 * @dst: destination address
 * @peer: whose memory the side with UVM_APERTURE_PEER is in; if both sides have it,
 *	both are. Else of no meaning
 * @length: bytes; a multiple of the page size
 * @src_aperture: enum uvm_aperture of @src
 * @dst_aperture: enum uvm_aperture of @dst
 * @kind: enum uvm_copy_kind
 */
struct uvm_gpu_segment {
	u64 src;
	u64 dst;
	struct uvm_gpu *peer;
	u32 length;
	u8 src_aperture;
	u8 dst_aperture;
	u8 kind;
};

/*
 * &uvm_gpu_fault.flags: the access isn't stalled yet, but the channel will come to it
 * unless something stops it before. Worth serving along with the others. If it can't
 * be served nothing happens: the channel is not cancelled for it.
 */
#define UVM_FAULT_SPECULATIVE	BIT(0)

/**
 * struct uvm_gpu_fault - one entry of the fault buffer
 * @as_id: address space
 * @channel_id: channel whose access stalled
 * @address: faulting address
 * @access: enum uvm_access
 * @flags: mask of UVM_FAULT_SPECULATIVE
 * @ticket: the backend's own, for @fault_cancel: which access of the channel it was. A
 *	replay for somebody else makes a stalled access report itself again, and what
 *	it reported may be read when it is long over.
 */
struct uvm_gpu_fault {
	u64 as_id;
	u64 channel_id;
	u64 address;
	u32 access;
	u32 flags;
	u64 ticket;
};

/**
 * struct uvm_gpu_counter - one entry of the buffer of access counters
 * @as_id: address space
 * @address: GPU virtual address of the granule, see &uvm_gpu_desc.access_granule
 * @count: what was counted there, at least the threshold
 */
struct uvm_gpu_counter {
	u64 as_id;
	u64 address;
	u32 count;
};

/**
 * struct uvm_gpu_as - the part of a GPU address space that the core knows
 * @gpu: set by the core before the ops see it again
 * @id: as given to &uvm_gpu_ops.as_create
 */
struct uvm_gpu_as {
	struct uvm_gpu *gpu;
	u64 id;
};

/**
 * struct uvm_gpu_channel - the part of a channel that the core knows
 * @as: address space that it was created in
 * @id: as given to &uvm_gpu_ops.channel_create
 * @core: the core's own; the backend leaves it alone
 */
struct uvm_gpu_channel {
	struct uvm_gpu_as *as;
	u64 id;
	void *core;
};

/* &uvm_gpu_ops.reset scope */
#define UVM_RESET_ENGINE	0
#define UVM_RESET_GPU		1

/**
 * struct uvm_gpu_ops - what a backend does for the core
 *
 * @as_create: make empty page tables under @id. May sleep. Returns the embedded
 *	structure or an ERR_PTR: -ENOMEM, -ENODEV.
 * @as_destroy: free the page tables. All channels are gone, nothing is mapped, and
 *	what the fault buffer held for it has been fetched. May sleep; can't fail.
 * @map_prepare: allocate whatever page tables [@start, @start + @length) needs,
 *	so that @map and @unmap never have to. What was prepared stays until
 *	@as_destroy. May sleep and allocate; called without locks that reclaim
 *	takes. Not serialized against the other calls for @as. Returns 0 or
 *	-ENOMEM.
 * @map: write @count entries. The range was prepared. An entry replaces what is
 *	there, also a larger one around it (of which the rest then faults). The
 *	core invalidates the TLB only where it takes rights away, so the GPU must
 *	not cache missing translations. Called under the core's notifier lock: it
 *	must not allocate, and must not wait for anything that might. Can't fail.
 * @unmap: clear the entries in [@start, @start + @length), and any larger
 *	entry that overlaps it, whole: it never splits, so it never allocates.
 *	Same context as @map. Returns the number of entries that were valid: if
 *	it is 0, the core skips the invalidate.
 * @tlb_invalidate: when it returns, no access through a translation of
 *	[@start, @start + @length) that @unmap or @map changed is under way any
 *	more, in any channel. Same context as @map; the wait depends on nothing
 *	but the engines.
 *
 * @harvest: which pages of [@start, @start + @length), at most 2 MiB, were accessed?
 *	Optional, see DOC: Accessed bits. Sets bit n of @accessed, which comes zeroed,
 *	if page n (of PAGE_SIZE) from @start was accessed through its entry since the
 *	entry was written or since the last harvest, and clears the bits of these
 *	entries. A large entry sets the bits of all of its pages in the range; its
 *	own is cleared even if the range is but a part of it. No access is missed
 *	that comes while it runs: it is told now or the next time. The range need not
 *	have been prepared. Same context as @map. Returns the number of bits set: if
 *	it is 0, the core skips the invalidate.
 *
 * @copy: start a batch of @count segments, in order, on copy engine @engine;
 *	batches of different engines, and of one engine too, may overlap if their
 *	addresses don't. @segments stays valid until the fence signals. If @after is
 *	not NULL no access is made before that fence has signaled, be it with an
 *	error; @copy doesn't wait for it, and takes a reference if it needs one. It is
 *	a fence of an earlier @copy of the same GPU, whatever the engine, and that one
 *	came after nothing. A reset that comes first ends the batch all the same.
 *	Returns a fence reference for the caller, or an ERR_PTR: -ENOMEM, -ENODEV;
 *	then nothing was started. The fence signals with an error if any segment
 *	failed. May sleep; called under mmap_lock and page locks, and, for free
 *	memory, while nobody uses the GPU. The signalling path allocates nothing.
 *
 * @peer_access: can the page tables and the copy engines of @gpu address all memory of
 *	@peer, by UVM_APERTURE_PEER? Optional; without it they can't. @peer is any GPU
 *	that is registered, of any backend, @gpu itself (no) included. For two GPUs
 *	the answer is always the same. Called under any lock of the core, the notifier
 *	lock and spinlocks among them, and while pages are locked: it looks at what it
 *	knows, and neither sleeps, nor allocates, nor calls the core but for
 *	uvm_gpu_priv().
 *
 * @channel_create: make a queue. May sleep. Returns the embedded structure or an
 *	ERR_PTR.
 * @channel_submit: append commands (@length bytes in kernel memory, copied by
 *	the backend before it returns) and have the timeline reach @point, by
 *	uvm_channel_complete(), after them. All or nothing. May sleep. Returns 0,
 *	-EINVAL for malformed commands, -EBUSY if the queue is full, -ENOMEM.
 * @channel_stop: no command of the channel runs any more when it returns, and
 *	its stalled accesses are abandoned. Its faults may still be in the fault
 *	buffer. Bounded; may sleep; idempotent; can't fail. May run in parallel
 *	with @channel_submit, which then fails or queues in vain.
 * @channel_destroy: free it; it was stopped. After it returns the backend makes
 *	no more calls about it.
 *
 * @fault_fetch: take up to @max entries off the fault buffer. Returns their
 *	number. Called by one thread at a time. May sleep.
 * @fault_replay: let all stalled accesses of the GPU try again. An access that
 *	still has no translation faults anew. Called by several threads at a time,
 *	and so is @fault_cancel.
 * @fault_cancel: the access of @fault can't be served: stop its channel and no
 *	other, if it is stalled at that access still. Returns whether it was: a fault
 *	whose access was served meanwhile, or whose channel is gone, is ignored. The
 *	core then records why.
 *
 * @counter_enable: count the accesses that go through entries of memory which is not
 *	the GPU's own, by granule. When a count reaches @threshold it is written to
 *	the counter buffer, once, and announced (uvm_gpu_counters_pending()). While
 *	enabled: change the threshold. 0 disables: counts, and what the buffer holds,
 *	are forgotten. What an access counts for, more if it is larger, is the GPU's
 *	own affair, and it may forget counts: a count is a hint. Not called by
 *	several threads at a time. May sleep. Returns 0, or -errno if it can't be
 *	done; then nothing is counted.
 * @counter_fetch: take up to @max entries off the counter buffer. Returns their
 *	number. An address space may be gone by then. If the buffer is full, entries
 *	are dropped, but not for good: a granule whose entry was dropped notifies
 *	with a later access. Called by one thread at a time. May sleep.
 * @counter_clear: start anew at 0 with the granule of @counter. Until then one that
 *	has notified counts no further. If it isn't counted any more, nothing is
 *	done. Called by several threads at a time. May sleep.
 *
 *	The three are optional: a GPU has all of them and an
 *	&uvm_gpu_desc.access_granule, or none. @as_destroy forgets the counts of an
 *	address space.
 *
 * @reset: stop copy engine @engine (UVM_RESET_ENGINE) or all of the GPU
 *	(UVM_RESET_GPU). When it returns 0, all fences of the scope have signaled
 *	and the hardware makes no access for them any more. Called when a wait
 *	ran into its timeout. May sleep; bounded. Returns 0 or -EIO.
 */
struct uvm_gpu_ops {
	struct uvm_gpu_as *(*as_create)(struct uvm_gpu *gpu, u64 id);
	void (*as_destroy)(struct uvm_gpu_as *as);
	int (*map_prepare)(struct uvm_gpu_as *as, u64 start, u64 length);
	void (*map)(struct uvm_gpu_as *as, const struct uvm_gpu_entry *entries,
		    unsigned int count);
	unsigned long (*unmap)(struct uvm_gpu_as *as, u64 start, u64 length);
	void (*tlb_invalidate)(struct uvm_gpu_as *as, u64 start, u64 length);
	unsigned int (*harvest)(struct uvm_gpu_as *as, u64 start, u64 length,
				unsigned long *accessed);

	struct dma_fence *(*copy)(struct uvm_gpu *gpu, unsigned int engine,
				  const struct uvm_gpu_segment *segments,
				  unsigned int count, struct dma_fence *after);

	bool (*peer_access)(struct uvm_gpu *gpu, struct uvm_gpu *peer);

	struct uvm_gpu_channel *(*channel_create)(struct uvm_gpu_as *as, u64 id);
	int (*channel_submit)(struct uvm_gpu_channel *channel,
			      const void *commands, u32 length, u64 point);
	void (*channel_stop)(struct uvm_gpu_channel *channel);
	void (*channel_destroy)(struct uvm_gpu_channel *channel);

	unsigned int (*fault_fetch)(struct uvm_gpu *gpu,
				    struct uvm_gpu_fault *faults,
				    unsigned int max);
	void (*fault_replay)(struct uvm_gpu *gpu);
	bool (*fault_cancel)(struct uvm_gpu *gpu,
			     const struct uvm_gpu_fault *fault);

	int (*counter_enable)(struct uvm_gpu *gpu, u32 threshold);
	unsigned int (*counter_fetch)(struct uvm_gpu *gpu,
				      struct uvm_gpu_counter *counters,
				      unsigned int max);
	void (*counter_clear)(struct uvm_gpu *gpu,
			      const struct uvm_gpu_counter *counter);

	int (*reset)(struct uvm_gpu *gpu, int scope, unsigned int engine);
};

/* &uvm_gpu_desc.caps: entries of system memory may have UVM_ENTRY_ATOMIC */
#define UVM_GPU_CAP_SYSTEM_ATOMICS	BIT_ULL(0)
/* &uvm_gpu_desc.caps: so may entries of a peer's memory */
#define UVM_GPU_CAP_PEER_ATOMICS	BIT_ULL(1)

/**
 * struct uvm_gpu_desc - what a GPU is
 * @name: text for people, at most UVM_NAME_LEN - 1 bytes
 * @uuid: unique name; the same GPU has the same one after a reload
 * @dev: device for the DMA API; its DMA mask is set
 * @owner: module of the backend; pinned while a VA space has the GPU registered
 *	or a page is in its memory
 * @ops: operations; must outlive the registration
 * @priv: for uvm_gpu_priv()
 * @memory_kind: enum uvm_memory_kind
 * @memory_size: bytes of memory, a multiple of 2 MiB, up to 4 TiB; device addresses
 *	run from 0 to here
 * @memory_base: physical address of device address 0, 2 MiB aligned, for
 *	UVM_MEMORY_COHERENT; else 0. The backend owns the resource; the core adds
 *	the struct pages.
 * @numa_node: the node for UVM_MEMORY_NUMA; else NUMA_NO_NODE
 * @page_sizes: mask of page sizes, bytes; 4 KiB must be one
 * @va_bits: width of virtual addresses
 * @copy_engines: at least 1
 * @fault_entries: faults that the fault buffer holds at most
 * @copy_timeout_ms: how long a batch of copies of 2 MiB may take before the
 *	engine counts as hung; 0 for the default of 10 s
 * @caps: mask of UVM_GPU_CAP_*; a GPU without any is a whole one
 * @access_granule: bytes of virtual address space that have an access counter, a
 *	power of two of at least a page; 0 if it has no access counters
 */
struct uvm_gpu_desc {
	const char *name;
	u8 uuid[UVM_UUID_LEN];
	struct device *dev;
	struct module *owner;
	const struct uvm_gpu_ops *ops;
	void *priv;
	enum uvm_memory_kind memory_kind;
	u64 memory_size;
	u64 memory_base;
	int numa_node;
	u64 page_sizes;
	unsigned int va_bits;
	unsigned int copy_engines;
	unsigned int fault_entries;
	unsigned int copy_timeout_ms;
	u64 caps;
	u64 access_granule;
};

struct uvm_gpu *uvm_gpu_register(const struct uvm_gpu_desc *desc);
void uvm_gpu_unregister(struct uvm_gpu *gpu);
void *uvm_gpu_priv(struct uvm_gpu *gpu);

void uvm_gpu_fault_pending(struct uvm_gpu *gpu);
void uvm_gpu_counters_pending(struct uvm_gpu *gpu);
void uvm_channel_complete(struct uvm_gpu_channel *channel, u64 point);
void uvm_channel_failed(struct uvm_gpu_channel *channel, u64 address);

#endif /* _UVM_GPU_H */
