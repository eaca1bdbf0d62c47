// SPDX-License-Identifier: GPL-2.0
#include <linux/migrate.h>

unsigned long probe(void)
{
	return MIGRATE_PFN_COMPOUND | MIGRATE_VMA_SELECT_COMPOUND;
}
