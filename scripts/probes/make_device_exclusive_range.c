// SPDX-License-Identifier: GPL-2.0
#include <linux/rmap.h>

#if !IS_ENABLED(CONFIG_DEVICE_PRIVATE)
#error "needs CONFIG_DEVICE_PRIVATE"
#endif

int probe(struct mm_struct *mm, struct page **pages, void *owner)
{
	return make_device_exclusive_range(mm, 0, PAGE_SIZE, pages, owner);
}
