// SPDX-License-Identifier: GPL-2.0
/* mmu_interval_notifier_ops in two passes: start them all, then wait */
#include <linux/mmu_notifier.h>

unsigned long probe(void)
{
	return offsetof(struct mmu_interval_notifier_ops, invalidate_start);
}
