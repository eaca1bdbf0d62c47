// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tracepoints.
 */
#include "core.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/**
 * uvm_mm_step() - tell that a step of the shutdown is done
 * @vs: the VA space
 * @step: which
 */
void uvm_mm_step(struct uvm_va_space *vs, enum uvm_mm_step step)
{
	trace_uvm_mm_shutdown(pid_nr(vs->pid), vs->id, step);
	uvm_delay(UVM_DELAY_SHUTDOWN);
}
