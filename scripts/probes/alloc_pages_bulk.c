// SPDX-License-Identifier: GPL-2.0
/* the array form without _array in its name */
#include <linux/gfp.h>

unsigned long probe(struct page **pages)
{
	return alloc_pages_bulk(GFP_KERNEL, 4, pages);
}
