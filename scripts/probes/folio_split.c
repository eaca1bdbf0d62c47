// SPDX-License-Identifier: GPL-2.0
/* dev_pagemap_ops.folio_split: private memory can be a large folio */
#include <linux/memremap.h>

static void probe_split(struct folio *head, struct folio *tail)
{
}

const struct dev_pagemap_ops probe = { .folio_split = probe_split };
