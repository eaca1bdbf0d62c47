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

/*
 * Whether dma_map_ops of a device are honoured at all. Before they were gated by
 * ARCH_HAS_DMA_OPS the symbol was DMA_OPS.
 */
#define SIM_HAVE_DMA_OPS \
	(IS_ENABLED(CONFIG_DMA_OPS) || IS_ENABLED(CONFIG_ARCH_HAS_DMA_OPS))

#endif /* _SIM_COMPAT_H */
