// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Delays for tests
 *
 * Widens the windows of races, in debug kernels, by the kernel's fault injection
 * framework: debugfs uvm/delay has the framework's files, plus the longest delay
 * and a mask of &enum uvm_delay_point.
 */
#include "core.h"

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/fault-inject.h>

#ifdef CONFIG_FAULT_INJECTION_DEBUG_FS

static DECLARE_FAULT_ATTR(uvm_delay_attr);
static u32 uvm_delay_usecs = 2000;
static u32 uvm_delay_points = BIT(UVM_DELAY_NR) - 1;

/**
 * uvm_delay() - maybe sleep
 * @point: where the caller is
 *
 * In a place where sleeping is allowed.
 */
void uvm_delay(enum uvm_delay_point point)
{
	unsigned int max = READ_ONCE(uvm_delay_usecs);

	might_sleep();
	if (READ_ONCE(uvm_delay_points) & BIT(point) && max &&
	    should_fail(&uvm_delay_attr, 1))
		usleep_range(max / 2, max);
}

/* Goes with @dir. */
void uvm_delay_init(struct dentry *dir)
{
	dir = fault_create_debugfs_attr("delay", dir, &uvm_delay_attr);
	if (IS_ERR(dir))
		return;
	debugfs_create_u32("usecs", 0600, dir, &uvm_delay_usecs);
	debugfs_create_u32("points", 0600, dir, &uvm_delay_points);
}

#endif
