// SPDX-License-Identifier: GPL-2.0
/* one page per call; declared, but not there, without DEVICE_PRIVATE */
#include <linux/rmap.h>

#if !IS_ENABLED(CONFIG_DEVICE_PRIVATE)
#error "needs CONFIG_DEVICE_PRIVATE"
#endif

struct page *probe(struct mm_struct *mm, void *owner, struct folio **folio)
{
	return make_device_exclusive(mm, 0, owner, folio);
}
