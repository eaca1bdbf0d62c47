// SPDX-License-Identifier: GPL-2.0
/* set_dma_ops() is an empty function where no architecture code needs it */
#include <linux/dma-map-ops.h>

#if !IS_ENABLED(CONFIG_DMA_OPS) && !IS_ENABLED(CONFIG_ARCH_HAS_DMA_OPS)
#error "needs CONFIG_DMA_OPS or CONFIG_ARCH_HAS_DMA_OPS"
#endif

void probe(struct device *dev, const struct dma_map_ops *ops)
{
	set_dma_ops(dev, ops);
}
