// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: What people see
 *
 * Shows VA spaces: each file in its fdinfo, and all of them in debugfs. Nothing here
 * keeps a VA space from going, nor its mm for longer than one look.
 */
#include "core.h"

#include <linux/debugfs.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

static struct dentry *uvm_debugfs_dir;

/* What a GPU is, to be shown when its VA space isn't locked any more. */
struct uvm_shown_gpu {
	u8 uuid[UVM_UUID_LEN];
	u32 id;
};

static unsigned int uvm_shown_gpus(struct uvm_va_space *vs,
				   struct uvm_shown_gpu *shown)
{
	struct uvm_gpu_space *gs;
	unsigned int nr = 0;
	unsigned long id;

	down_read(&vs->lock);
	xa_for_each(&vs->gpu_spaces, id, gs) {
		memcpy(shown[nr].uuid, gs->gpu->desc.uuid, UVM_UUID_LEN);
		shown[nr++].id = gs->gpu->id;
	}
	up_read(&vs->lock);
	return nr;
}

/* Looks through the whole address space, as smaps does. */
static void uvm_show_resident(struct seq_file *m, struct uvm_va_space *vs, u32 id)
{
	unsigned long *pfns;
	long pages;

	pfns = kvmalloc_array(UVM_BLOCK_PAGES, sizeof(*pfns), GFP_KERNEL);
	if (!pfns)
		return;
	if (uvm_mm_retain(vs)) {
		kvfree(pfns);
		return;
	}
	pages = uvm_resident_pages(vs, id, pfns);
	uvm_mm_release(vs);
	kvfree(pfns);
	if (pages >= 0)
		seq_printf(m, "uvm-resident-%u:\t%lu B\n", id,
			   (unsigned long)pages << PAGE_SHIFT);
}

static void uvm_show_va_space(struct seq_file *m, struct uvm_va_space *vs,
			      struct pid_namespace *ns)
{
	struct uvm_shown_gpu shown[UVM_MAX_GPUS];
	unsigned int i, nr;

	seq_printf(m, "uvm-state:\t%s\n", uvm_mm_state_name(vs));
	seq_printf(m, "uvm-pid:\t%d\n", pid_nr_ns(vs->pid, ns));
	seq_printf(m, "uvm-retainers:\t%u\n", READ_ONCE(vs->retainers));
	seq_printf(m, "uvm-channels:\t%u\n", READ_ONCE(vs->nr_channels));
	nr = uvm_shown_gpus(vs, shown);
	for (i = 0; i < nr; i++) {
		seq_printf(m, "uvm-gpu-%u:\t%pUb\n", shown[i].id, shown[i].uuid);
		uvm_show_resident(m, vs, shown[i].id);
	}
}

/**
 * uvm_show_fdinfo() - /proc/PID/fdinfo/FD
 * @m: where to
 * @filp: a file of ours
 */
void uvm_show_fdinfo(struct seq_file *m, struct file *filp)
{
	static const char * const kinds[] = {
		[UVM_FILE_FRESH] = "fresh",
		[UVM_FILE_VA_SPACE] = "va-space",
		[UVM_FILE_MM] = "mm",
	};
	struct uvm_file *file = filp->private_data;
	enum uvm_file_kind kind = uvm_file_kind(file);

	seq_printf(m, "uvm-file:\t%s\n", kinds[kind]);
	if (kind != UVM_FILE_FRESH)
		uvm_show_va_space(m, file->vs,
				  proc_pid_ns(file_inode(m->file)->i_sb));
}

static int uvm_va_spaces_show(struct seq_file *m, void *unused)
{
	struct uvm_va_space *vs;
	u32 id = 0;

	seq_puts(m, "pid state retainers channels gpus\n");
	while ((vs = uvm_va_space_next(&id))) {
		seq_printf(m, "%d %s %u %u %u\n", pid_nr(vs->pid),
			   uvm_mm_state_name(vs), READ_ONCE(vs->retainers),
			   READ_ONCE(vs->nr_channels),
			   uvm_va_space_nr_gpus(vs));
		uvm_va_space_put(vs);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(uvm_va_spaces);

void uvm_debugfs_init(void)
{
	uvm_debugfs_dir = debugfs_create_dir("uvm", NULL);
	debugfs_create_file("va_spaces", 0400, uvm_debugfs_dir, NULL,
			    &uvm_va_spaces_fops);
	uvm_delay_init(uvm_debugfs_dir);
}

void uvm_debugfs_exit(void)
{
	debugfs_remove(uvm_debugfs_dir);
}
