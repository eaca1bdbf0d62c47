// SPDX-License-Identifier: GPL-2.0
#include <linux/gfp.h>
#include <linux/mm.h>

struct folio *probe(struct vm_area_struct *vma)
{
	return vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma, 0);
}
