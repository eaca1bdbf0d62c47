// SPDX-License-Identifier: GPL-2.0
#include <linux/dma-map-ops.h>

static dma_addr_t probe_map(struct device *dev, struct page *page,
			    unsigned long offset, size_t size,
			    enum dma_data_direction dir, unsigned long attrs)
{
	return 0;
}

const struct dma_map_ops probe = { .map_page = probe_map };
