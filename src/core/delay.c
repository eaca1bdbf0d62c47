// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Delays for tests
 *
 * Widens the windows of races, in debug kernels, by the kernel's fault injection
 * framework: debugfs uvm/delay has the framework's files, plus "usecs", the longest
 * delay, and "points": reading tells where delays happen, and writing names, with
 * blanks between them, or "all", decides that.
 */
#include "core.h"

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/fault-inject.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#ifdef CONFIG_FAULT_INJECTION_DEBUG_FS

static DECLARE_FAULT_ATTR(uvm_delay_attr);
static u32 uvm_delay_usecs = 2000;
static u32 uvm_delay_points = BIT(UVM_DELAY_NR) - 1;

static const char * const uvm_delay_names[UVM_DELAY_NR] = {
	[UVM_DELAY_RETAINED] = "retained",
	[UVM_DELAY_LINK] = "link",
	[UVM_DELAY_SHUTDOWN] = "shutdown",
	[UVM_DELAY_REGISTER] = "register",
	[UVM_DELAY_UNREGISTER] = "unregister",
	[UVM_DELAY_CHANNEL] = "channel",
	[UVM_DELAY_SUBMIT] = "submit",
	[UVM_DELAY_FAULT] = "fault",
	[UVM_DELAY_MIRROR] = "mirror",
	[UVM_DELAY_MIGRATE] = "migrate",
	[UVM_DELAY_EVACUATE] = "evacuate",
	[UVM_DELAY_CPU_FAULT] = "cpu-fault",
	[UVM_DELAY_PARK] = "park",
	[UVM_DELAY_MANAGED] = "managed",
};

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

static int uvm_delay_points_show(struct seq_file *m, void *unused)
{
	u32 points = READ_ONCE(uvm_delay_points);
	unsigned int i;

	for (i = 0; i < UVM_DELAY_NR; i++)
		if (points & BIT(i))
			seq_printf(m, "%s\n", uvm_delay_names[i]);
	return 0;
}

/* Returns a mask, or 0 for a name that is none. */
static u32 uvm_delay_point(const char *name)
{
	unsigned int i;

	if (!strcmp(name, "all"))
		return BIT(UVM_DELAY_NR) - 1;
	for (i = 0; i < UVM_DELAY_NR; i++)
		if (!strcmp(name, uvm_delay_names[i]))
			return BIT(i);
	return 0;
}

static ssize_t uvm_delay_points_write(struct file *filp, const char __user *ubuf,
				      size_t size, loff_t *pos)
{
	u32 point = 1, points = 0;
	char *names, *at, *name;

	if (size >= PAGE_SIZE)
		return -EINVAL;
	names = memdup_user_nul(ubuf, size);
	if (IS_ERR(names))
		return PTR_ERR(names);
	at = names;
	while (point && (name = strsep(&at, "\n "))) {
		if (!*name)
			continue;
		point = uvm_delay_point(name);
		points |= point;
	}
	kfree(names);
	if (!point)
		return -EINVAL;
	WRITE_ONCE(uvm_delay_points, points);
	return size;
}

static int uvm_delay_points_open(struct inode *inode, struct file *filp)
{
	return single_open(filp, uvm_delay_points_show, NULL);
}

static const struct file_operations uvm_delay_points_fops = {
	.owner = THIS_MODULE,
	.open = uvm_delay_points_open,
	.read = seq_read,
	.write = uvm_delay_points_write,
	.llseek = seq_lseek,
	.release = single_release,
};

/* Goes with @dir. */
void uvm_delay_init(struct dentry *dir)
{
	dir = fault_create_debugfs_attr("delay", dir, &uvm_delay_attr);
	if (IS_ERR(dir))
		return;
	debugfs_create_u32("usecs", 0600, dir, &uvm_delay_usecs);
	debugfs_create_file("points", 0600, dir, NULL, &uvm_delay_points_fops);
}

#endif
