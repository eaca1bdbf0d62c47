/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM uvm

#if !defined(_UVM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _UVM_TRACE_H

#include <linux/tracepoint.h>

TRACE_DEFINE_ENUM(UVM_MM_STEP_REFUSE);
TRACE_DEFINE_ENUM(UVM_MM_STEP_STOP);
TRACE_DEFINE_ENUM(UVM_MM_STEP_DETACH);
TRACE_DEFINE_ENUM(UVM_MM_STEP_FLUSH);
TRACE_DEFINE_ENUM(UVM_MM_STEP_UNSET);
TRACE_DEFINE_ENUM(UVM_MM_STEP_DEFERRED);
TRACE_DEFINE_ENUM(UVM_MM_STEP_RELEASED);
TRACE_DEFINE_ENUM(UVM_MM_STEP_FREE);
TRACE_DEFINE_ENUM(UVM_MM_STEP_DRAIN);
TRACE_DEFINE_ENUM(UVM_MM_STEP_MMPUT);
TRACE_DEFINE_ENUM(UVM_MM_STEP_PUT);

#define uvm_show_mm_step(step)	__print_symbolic(step,		\
	{ UVM_MM_STEP_REFUSE, "refuse" },	\
	{ UVM_MM_STEP_STOP, "stop" },	\
	{ UVM_MM_STEP_DETACH, "detach" },	\
	{ UVM_MM_STEP_FLUSH, "flush" },	\
	{ UVM_MM_STEP_UNSET, "unset" },	\
	{ UVM_MM_STEP_DEFERRED, "deferred" },	\
	{ UVM_MM_STEP_RELEASED, "released" },	\
	{ UVM_MM_STEP_FREE, "free" },	\
	{ UVM_MM_STEP_DRAIN, "drain" },	\
	{ UVM_MM_STEP_MMPUT, "mmput" },	\
	{ UVM_MM_STEP_PUT, "put" })

/* A step of the shutdown of an mm link is done. */
TRACE_EVENT(uvm_mm_shutdown,
	TP_PROTO(pid_t pid, u32 va_space, int step),
	TP_ARGS(pid, va_space, step),
	TP_STRUCT__entry(
		__field(pid_t, pid)
		__field(u32, va_space)
		__field(int, step)
	),
	TP_fast_assign(
		__entry->pid = pid;
		__entry->va_space = va_space;
		__entry->step = step;
	),
	TP_printk("pid=%d step=%s va_space=%u", __entry->pid,
		  uvm_show_mm_step(__entry->step), __entry->va_space)
);

/* Eviction brought pages of a block home: a part of it, if not all of it is cold. */
TRACE_EVENT(uvm_evict,
	TP_PROTO(u32 gpu, u64 address, unsigned long pages, bool part),
	TP_ARGS(gpu, address, pages, part),
	TP_STRUCT__entry(
		__field(u32, gpu)
		__field(u64, address)
		__field(unsigned long, pages)
		__field(bool, part)
	),
	TP_fast_assign(
		__entry->gpu = gpu;
		__entry->address = address;
		__entry->pages = pages;
		__entry->part = part;
	),
	TP_printk("gpu=%u address=0x%llx pages=%lu part=%d", __entry->gpu,
		  __entry->address, __entry->pages, __entry->part)
);

/* Managed pages have another holder. */
TRACE_EVENT(uvm_duplicate,
	TP_PROTO(u32 va_space, u32 gpu, u64 address, unsigned long pages),
	TP_ARGS(va_space, gpu, address, pages),
	TP_STRUCT__entry(
		__field(u32, va_space)
		__field(u32, gpu)
		__field(u64, address)
		__field(unsigned long, pages)
	),
	TP_fast_assign(
		__entry->va_space = va_space;
		__entry->gpu = gpu;
		__entry->address = address;
		__entry->pages = pages;
	),
	TP_printk("va_space=%u gpu=%u address=0x%llx pages=%lu", __entry->va_space,
		  __entry->gpu, __entry->address, __entry->pages)
);

/* They have one again: a GPU, or the CPU. */
TRACE_EVENT(uvm_collapse,
	TP_PROTO(u32 va_space, u32 keep, u64 address, unsigned long pages),
	TP_ARGS(va_space, keep, address, pages),
	TP_STRUCT__entry(
		__field(u32, va_space)
		__field(u32, keep)
		__field(u64, address)
		__field(unsigned long, pages)
	),
	TP_fast_assign(
		__entry->va_space = va_space;
		__entry->keep = keep;
		__entry->address = address;
		__entry->pages = pages;
	),
	TP_printk("va_space=%u keep=%d address=0x%llx pages=%lu", __entry->va_space,
		  (int)__entry->keep, __entry->address, __entry->pages)
);

/* An address space is given a share of the faults that a GPU reported. */
TRACE_EVENT(uvm_fault_batch,
	TP_PROTO(u32 va_space, u32 gpu, unsigned int faults, u64 address),
	TP_ARGS(va_space, gpu, faults, address),
	TP_STRUCT__entry(
		__field(u32, va_space)
		__field(u32, gpu)
		__field(unsigned int, faults)
		__field(u64, address)
	),
	TP_fast_assign(
		__entry->va_space = va_space;
		__entry->gpu = gpu;
		__entry->faults = faults;
		__entry->address = address;
	),
	TP_printk("va_space=%u gpu=%u faults=%u first=%#llx", __entry->va_space,
		  __entry->gpu, __entry->faults, __entry->address)
);

/* One of them; ahead: of an access that the channel would make later. */
TRACE_EVENT(uvm_fault,
	TP_PROTO(u32 va_space, u32 gpu, u64 channel, u64 address, u32 access,
		 bool ahead),
	TP_ARGS(va_space, gpu, channel, address, access, ahead),
	TP_STRUCT__entry(
		__field(u32, va_space)
		__field(u32, gpu)
		__field(u64, channel)
		__field(u64, address)
		__field(u32, access)
		__field(bool, ahead)
	),
	TP_fast_assign(
		__entry->va_space = va_space;
		__entry->gpu = gpu;
		__entry->channel = channel;
		__entry->address = address;
		__entry->access = access;
		__entry->ahead = ahead;
	),
	TP_printk("va_space=%u gpu=%u channel=%llu address=%#llx access=%u ahead=%d",
		  __entry->va_space, __entry->gpu, __entry->channel,
		  __entry->address, __entry->access, __entry->ahead)
);

/* A channel is stopped for a fault that can't be served. */
TRACE_EVENT(uvm_fault_cancel,
	TP_PROTO(u32 va_space, u32 gpu, u64 address, u32 access, u32 reason),
	TP_ARGS(va_space, gpu, address, access, reason),
	TP_STRUCT__entry(
		__field(u32, va_space)
		__field(u32, gpu)
		__field(u64, address)
		__field(u32, access)
		__field(u32, reason)
	),
	TP_fast_assign(
		__entry->va_space = va_space;
		__entry->gpu = gpu;
		__entry->address = address;
		__entry->access = access;
		__entry->reason = reason;
	),
	TP_printk("va_space=%u gpu=%u address=%#llx access=%u reason=%u",
		  __entry->va_space, __entry->gpu, __entry->address,
		  __entry->access, __entry->reason)
);

/* Stalled accesses of the GPU try again. */
TRACE_EVENT(uvm_fault_replay,
	TP_PROTO(u32 va_space, u32 gpu),
	TP_ARGS(va_space, gpu),
	TP_STRUCT__entry(
		__field(u32, va_space)
		__field(u32, gpu)
	),
	TP_fast_assign(
		__entry->va_space = va_space;
		__entry->gpu = gpu;
	),
	TP_printk("va_space=%u gpu=%u", __entry->va_space, __entry->gpu)
);

/* What became of pages that bounce, and of those that come ahead of a stream. */
DECLARE_EVENT_CLASS(uvm_fault_pages,
	TP_PROTO(u32 va_space, u32 gpu, unsigned long address, unsigned int pages),
	TP_ARGS(va_space, gpu, address, pages),
	TP_STRUCT__entry(
		__field(u32, va_space)
		__field(u32, gpu)
		__field(unsigned long, address)
		__field(unsigned int, pages)
	),
	TP_fast_assign(
		__entry->va_space = va_space;
		__entry->gpu = gpu;
		__entry->address = address;
		__entry->pages = pages;
	),
	TP_printk("va_space=%u gpu=%u address=%#lx pages=%u", __entry->va_space,
		  __entry->gpu, __entry->address, __entry->pages)
);

DEFINE_EVENT(uvm_fault_pages, uvm_fault_throttle,
	TP_PROTO(u32 va_space, u32 gpu, unsigned long address, unsigned int pages),
	TP_ARGS(va_space, gpu, address, pages));
DEFINE_EVENT(uvm_fault_pages, uvm_fault_pin,
	TP_PROTO(u32 va_space, u32 gpu, unsigned long address, unsigned int pages),
	TP_ARGS(va_space, gpu, address, pages));
DEFINE_EVENT(uvm_fault_pages, uvm_fault_unpin,
	TP_PROTO(u32 va_space, u32 gpu, unsigned long address, unsigned int pages),
	TP_ARGS(va_space, gpu, address, pages));
DEFINE_EVENT(uvm_fault_pages, uvm_fault_prefetch,
	TP_PROTO(u32 va_space, u32 gpu, unsigned long address, unsigned int pages),
	TP_ARGS(va_space, gpu, address, pages));

/* Pages of a block moved for faults, or came along. */
TRACE_EVENT(uvm_fault_migrate,
	TP_PROTO(u32 va_space, u32 gpu, unsigned long block, unsigned int faults,
		 unsigned int prefetched),
	TP_ARGS(va_space, gpu, block, faults, prefetched),
	TP_STRUCT__entry(
		__field(u32, va_space)
		__field(u32, gpu)
		__field(unsigned long, block)
		__field(unsigned int, faults)
		__field(unsigned int, prefetched)
	),
	TP_fast_assign(
		__entry->va_space = va_space;
		__entry->gpu = gpu;
		__entry->block = block;
		__entry->faults = faults;
		__entry->prefetched = prefetched;
	),
	TP_printk("va_space=%u gpu=%u block=%#lx faults=%u prefetched=%u",
		  __entry->va_space, __entry->gpu, __entry->block,
		  __entry->faults, __entry->prefetched)
);

#endif /* _UVM_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
