// SPDX-License-Identifier: GPL-2.0
#include <linux/hmm.h>

int probe(struct hmm_range *range)
{
	return hmm_range_fault_unlocked_timeout(range, 1);
}
