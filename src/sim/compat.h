/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * DOC: What differs between kernels
 *
 * Everything that the software GPU must know about the kernel's age is here,
 * decided by the compile probes.
 */
#ifndef _SIM_COMPAT_H
#define _SIM_COMPAT_H

#include <linux/dma-map-ops.h>
#include <uvm_probes.h>

/* Without it, set_dma_ops() does nothing and dma_map_ops are never called. */
#ifdef UVM_HAVE_SET_DMA_OPS
#define SIM_HAVE_DMA_OPS	true
#else
#define SIM_HAVE_DMA_OPS	false
#endif

#endif /* _SIM_COMPAT_H */
