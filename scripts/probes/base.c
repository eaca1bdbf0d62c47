// SPDX-License-Identifier: GPL-2.0
/* Must compile everywhere: when it does not, the kernel tree is at fault. */
#include <linux/module.h>
#include <linux/mm.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mmu_notifier.h>
#include <linux/hmm.h>

int probe(struct migrate_vma *args)
{
	return migrate_vma_setup(args);
}
