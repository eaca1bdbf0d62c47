// SPDX-License-Identifier: GPL-2.0
/* dev_pagemap_ops.folio_free, where it took page_free's place */
#include <linux/memremap.h>

static void probe_free(struct folio *folio)
{
}

const struct dev_pagemap_ops probe = { .folio_free = probe_free };
