// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/memremap.h>

struct dev_pagemap *probe(struct page *page)
{
	return page_pgmap(page);
}
