/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The software GPU's programming model: everything that crosses the line
 * between its driver and its "hardware". No kernel header is needed, so that the
 * same GPU can run outside the kernel behind the same rings.
 */
#ifndef _UAPI_LINUX_UVM_SIM_H
#define _UAPI_LINUX_UVM_SIM_H

#include <linux/types.h>

/**
 * DOC: Commands
 *
 * A channel runs struct uvm_sim_cmd in order. Every operand is a GPU virtual
 * address in the channel's address space, with no alignment unless stated. The
 * compute engine translates page by page: an access that has no translation, or
 * not the right, stalls the channel, and is repeated after a replay; nothing
 * before it in the command is repeated. A command is not atomic: another channel,
 * or the CPU, sees its stores as they happen.
 *
 * An atomic in a GPU's memory, its own or a peer's, is one for everybody. In system memory it is a
 * read and, some time later, a write. Only one of a GPU is between the two, so the
 * atomics of a GPU don't disturb each other; what the CPU or another GPU does in
 * between is lost. The driver must keep them away.
 */

/**
 * enum uvm_sim_op - what a command does
 * @UVM_SIM_NOP: nothing
 * @UVM_SIM_FILL: byte (__u8)@arg0 to @length bytes at @dst
 * @UVM_SIM_COPY: @length bytes from @src to @dst; an overlap is undefined
 * @UVM_SIM_XOR: byte i of @length bytes at @dst ^= byte i of the key stream of
 *	@arg0 (uvm_sim_keystream())
 * @UVM_SIM_HISTOGRAM: adds to the 256 __u64 counters at @dst (8-byte aligned)
 *	the number of times each byte value occurs in @length bytes at @src
 * @UVM_SIM_CRC32C: stores the CRC-32C (polynomial 0x1EDC6F41 reflected, initial
 *	value and final XOR all ones, as in RFC 3720) of @length bytes at @src as
 *	a __u64 at @dst (8-byte aligned)
 * @UVM_SIM_SUM: stores the sum mod 2^64 of the @length / 8 little-endian __u64
 *	at @src as a __u64 at @dst (both 8-byte aligned, @length a multiple of 8)
 * @UVM_SIM_ATOMIC_ADD: adds @arg0 to the __u64 at @dst (8-byte aligned), @arg1
 *	times, each time atomically; see DOC: Commands
 * @UVM_SIM_CHASE: follows @arg0 pointers: p = @src, then p = *(__u64 *)p; stores
 *	the last p at @dst (all 8-byte aligned)
 * @UVM_SIM_TOUCH: reads one byte (@arg1 == 0), or writes back the byte it reads
 *	(@arg1 == 1), at @dst, @dst + @arg0, … below @dst + @length; @arg0 is not 0
 * @UVM_SIM_OP_NR: number of operations
 */
enum uvm_sim_op {
	UVM_SIM_NOP = 0,
	UVM_SIM_FILL = 1,
	UVM_SIM_COPY = 2,
	UVM_SIM_XOR = 3,
	UVM_SIM_HISTOGRAM = 4,
	UVM_SIM_CRC32C = 5,
	UVM_SIM_SUM = 6,
	UVM_SIM_ATOMIC_ADD = 7,
	UVM_SIM_CHASE = 8,
	UVM_SIM_TOUCH = 9,
	UVM_SIM_OP_NR,
};

/**
 * struct uvm_sim_cmd - one command
 * @op: enum uvm_sim_op
 * @flags: must be 0
 * @dst: see the operation; unused operands must be 0
 * @src: see the operation
 * @length: bytes; 0 is allowed and does nothing
 * @arg0: see the operation
 * @arg1: see the operation
 */
struct uvm_sim_cmd {
	__u32 op;
	__u32 flags;
	__aligned_u64 dst;
	__aligned_u64 src;
	__aligned_u64 length;
	__aligned_u64 arg0;
	__aligned_u64 arg1;
};

/**
 * uvm_sim_keystream() - eight bytes of the XOR command's key stream
 * @seed: the command's arg0
 * @word: index of the 8-byte word in the stream
 *
 * Byte i of the stream is byte i % 8 (little-endian) of word i / 8. The mixing
 * function is SplitMix64's finalizer, so that any word can be had on its own.
 *
 * Return: the word.
 */
static inline __u64 uvm_sim_keystream(__u64 seed, __u64 word)
{
	__u64 z = seed + (word + 1) * 0x9E3779B97F4A7C15ULL;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
	return z ^ (z >> 31);
}

/**
 * DOC: Channel ring
 *
 * The driver writes struct uvm_sim_ring_entry at put and rings the doorbell; the
 * compute engine executes from get to put. An entry with a fence value publishes
 * it once its command is complete.
 */

#define UVM_SIM_RING_ENTRIES	1024

/**
 * struct uvm_sim_ring_entry - a slot of a channel's ring
 * @cmd: the command
 * @point: timeline value to publish after it, or 0 for none
 */
struct uvm_sim_ring_entry {
	struct uvm_sim_cmd cmd;
	__aligned_u64 point;
};

/**
 * DOC: Page tables
 *
 * Four levels of 512 eight-byte entries translate 48 bits. Level 3 is the root.
 * An entry of level 1 with UVM_SIM_PTE_HUGE maps 2 MiB; an entry of level 0 maps
 * 4 KiB. A table entry has UVM_SIM_PTE_VALID alone and the table's address. The
 * MMU caches valid leaf entries only, in a TLB for each channel, and drops them
 * only when told.
 *
 * A leaf leads to the GPU's own memory, or to system memory with UVM_SIM_PTE_SYSTEM, or
 * to the memory of a peer with UVM_SIM_PTE_PEER: then the bits of
 * UVM_SIM_PTE_PEER_NUMBER are the peer's number. The driver gives each GPU one of
 * UVM_SIM_PEERS numbers, at the link between them.
 *
 * A leaf is readable; a store needs UVM_SIM_PTE_WRITE, and an atomic also
 * UVM_SIM_PTE_ATOMIC.
 *
 * The MMU sets UVM_SIM_PTE_ACCESSED in the leaf that it takes into a TLB, and with it
 * UVM_SIM_PTE_DIRTY for a store or an atomic. An access that the TLB serves sets
 * neither; a store or an atomic isn't served by what was not dirty when it was taken.
 */

#define UVM_SIM_VA_BITS		48
#define UVM_SIM_PT_SHIFT	9
#define UVM_SIM_PT_ENTRIES	(1 << UVM_SIM_PT_SHIFT)
#define UVM_SIM_PT_LEVELS	4
#define UVM_SIM_PAGE_SHIFT	12
#define UVM_SIM_HUGE_SHIFT	21

#define UVM_SIM_PTE_VALID	(1ULL << 0)
#define UVM_SIM_PTE_WRITE	(1ULL << 1)
#define UVM_SIM_PTE_ATOMIC	(1ULL << 2)
#define UVM_SIM_PTE_SYSTEM	(1ULL << 3)
#define UVM_SIM_PTE_HUGE	(1ULL << 4)
#define UVM_SIM_PTE_ACCESSED	(1ULL << 5)
#define UVM_SIM_PTE_DIRTY	(1ULL << 6)
#define UVM_SIM_PTE_PEER	(1ULL << 7)
#define UVM_SIM_PTE_PEER_SHIFT	8
#define UVM_SIM_PTE_PEER_NUMBER	(0xFULL << UVM_SIM_PTE_PEER_SHIFT)
#define UVM_SIM_PTE_ADDR	0xFFFFFFFFFFFFF000ULL

#define UVM_SIM_PEERS		16
#define UVM_SIM_TLB_ENTRIES	64

/**
 * DOC: Fault ring
 *
 * A translation that misses writes one entry at put and raises the fault
 * interrupt. A full ring is no loss: the channel stays stalled and writes its
 * entry when there is room. The driver takes entries from get to put.
 *
 * The lanes of the compute engine work ahead. When a command stalls, each page that
 * it will access next, as many as there are lanes, is looked up too, and writes an
 * entry with UVM_SIM_FAULT_SPECULATIVE if it misses and the ring has room. Nothing
 * waits for those. A command whose next address depends on what it reads
 * (UVM_SIM_CHASE), or that stays where it is (UVM_SIM_ATOMIC_ADD), has none.
 */

#define UVM_SIM_FAULT_ENTRIES	512
#define UVM_SIM_FAULT_SPECULATIVE	(1U << 0)

/**
 * struct uvm_sim_fault_entry - a slot of the fault ring
 * @as_id: address space of the channel
 * @channel_id: the channel
 * @address: the access's first byte in the page
 * @access: 1 read, 2 write, 3 atomic
 * @flags: mask of UVM_SIM_FAULT_SPECULATIVE
 * @ticket: the same as long as the channel stalls at this access, however often it
 *	reports it
 */
struct uvm_sim_fault_entry {
	__aligned_u64 as_id;
	__aligned_u64 channel_id;
	__aligned_u64 address;
	__u32 access;
	__u32 flags;
	__aligned_u64 ticket;
};

/**
 * DOC: Access counters
 *
 * While the driver has set a threshold, accesses through leaves with
 * UVM_SIM_PTE_SYSTEM or UVM_SIM_PTE_PEER count, for the granule of virtual address
 * space they are in: one for each 64 bytes of an access within a page, or part of
 * them. A granule that reaches the threshold writes one entry at put, raises the counter interrupt, and
 * rests until the driver clears it. A full ring drops the entry; the next access
 * tries again. There are UVM_SIM_COUNTERS counters; those used least are lost to
 * others.
 */

#define UVM_SIM_COUNTERS	1024
#define UVM_SIM_COUNTER_ENTRIES	256

/**
 * struct uvm_sim_counter_entry - a slot of the counter ring
 * @as_id: address space
 * @address: first byte of the granule
 * @count: what was counted
 * @__reserved: 0
 */
struct uvm_sim_counter_entry {
	__aligned_u64 as_id;
	__aligned_u64 address;
	__u32 count;
	__u32 __reserved;
};

/**
 * DOC: Copy engine descriptors
 *
 * A copy engine runs a batch of struct uvm_sim_copy_desc in order. Addresses are
 * physical: an offset into the GPU's memory, a DMA address, or an offset into the
 * memory of the peer whose number is in the flags.
 */

#define UVM_SIM_COPY_SRC_SYSTEM	(1U << 0)
#define UVM_SIM_COPY_DST_SYSTEM	(1U << 1)
#define UVM_SIM_COPY_FILL	(1U << 2)
#define UVM_SIM_COPY_SRC_PEER	(1U << 3)
#define UVM_SIM_COPY_DST_PEER	(1U << 4)
#define UVM_SIM_COPY_PEER_SHIFT	8

/**
 * struct uvm_sim_copy_desc - one segment of a batch
 * @src: source, or the 8-byte pattern with UVM_SIM_COPY_FILL
 * @dst: destination
 * @length: bytes
 * @flags: mask of UVM_SIM_COPY_*, and a peer's number << UVM_SIM_COPY_PEER_SHIFT
 */
struct uvm_sim_copy_desc {
	__aligned_u64 src;
	__aligned_u64 dst;
	__u32 length;
	__u32 flags;
};

#endif /* _UAPI_LINUX_UVM_SIM_H */
