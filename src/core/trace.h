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

#endif /* _UVM_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
