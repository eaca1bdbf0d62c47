/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_KUNIT_H
#define _UVM_KUNIT_H

#include <linux/list.h>

static inline size_t list_count(struct list_head *head)
{
	struct list_head *pos;
	size_t n = 0;

	list_for_each(pos, head)
		n++;
	return n;
}

#endif
