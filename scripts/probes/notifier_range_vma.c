// SPDX-License-Identifier: GPL-2.0
#include <linux/mmu_notifier.h>

struct vm_area_struct *probe(const struct mmu_notifier_range *range)
{
	return range->vma;
}
