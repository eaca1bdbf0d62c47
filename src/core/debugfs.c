// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: What people see
 *
 * Shows VA spaces: each file in its fdinfo, and all of them in debugfs, with what they
 * have of the GPUs' memory. Nothing here keeps a VA space from going, nor its mm for
 * longer than one look.
 */
#include "core.h"

#include <linux/debugfs.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "managed.h"

static struct dentry *uvm_debugfs_dir;
static struct dentry *uvm_debugfs_chunks;

static const char * const uvm_stat_names[UVM_STAT_NR] = {
	[UVM_STAT_BATCHES] = "batches",
	[UVM_STAT_FAULTS] = "faults",
	[UVM_STAT_DUPLICATES] = "duplicates",
	[UVM_STAT_MOVED] = "moved",
	[UVM_STAT_PREFETCHED] = "prefetched",
	[UVM_STAT_CANCELS] = "cancels",
	[UVM_STAT_REPLAYS] = "replays",
	[UVM_STAT_RETRIES] = "retries",
	[UVM_STAT_THROTTLED] = "throttled",
	[UVM_STAT_PINNED] = "pinned",
	[UVM_STAT_UNPINNED] = "unpinned",
	[UVM_STAT_DUPLICATED] = "duplicated",
	[UVM_STAT_COLLAPSED] = "collapsed",
	[UVM_STAT_HOT_MOVED] = "hot-moved",
	[UVM_STAT_NOTIFICATIONS] = "notifications",
	[UVM_STAT_CPU_FAULTS] = "cpu-faults",
	[UVM_STAT_CPU_MOVED] = "cpu-moved",
};

/* What a GPU is, to be shown when its VA space isn't locked any more. */
struct uvm_shown_gpu {
	u8 uuid[UVM_UUID_LEN];
	u32 id;
	u64 stats[UVM_STAT_GPU_ONLY];
};

static unsigned int uvm_shown_gpus(struct uvm_va_space *vs,
				   struct uvm_shown_gpu *shown)
{
	struct uvm_gpu_space *gs;
	unsigned int i, nr = 0;
	unsigned long id;

	down_read(&vs->lock);
	xa_for_each(&vs->gpu_spaces, id, gs) {
		memcpy(shown[nr].uuid, gs->gpu->desc.uuid, UVM_UUID_LEN);
		for (i = 0; i < UVM_STAT_GPU_ONLY; i++)
			shown[nr].stats[i] = atomic64_read(&gs->stats.n[i]);
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

static void uvm_show_gpu(struct seq_file *m, struct uvm_va_space *vs,
			 const struct uvm_shown_gpu *gpu)
{
	unsigned int i;

	seq_printf(m, "uvm-gpu-%u:\t%pUb\n", gpu->id, gpu->uuid);
	uvm_show_resident(m, vs, gpu->id);
	for (i = 0; i < UVM_STAT_GPU_ONLY; i++)
		seq_printf(m, "uvm-%s-%u:\t%llu\n", uvm_stat_names[i], gpu->id,
			   gpu->stats[i]);
}

static void uvm_show_va_space(struct seq_file *m, struct uvm_va_space *vs,
			      struct pid_namespace *ns)
{
	struct uvm_shown_gpu *shown;
	unsigned int i, nr;

	seq_printf(m, "uvm-state:\t%s\n", uvm_mm_state_name(vs));
	seq_printf(m, "uvm-pid:\t%d\n", pid_nr_ns(vs->pid, ns));
	seq_printf(m, "uvm-retainers:\t%u\n", READ_ONCE(vs->retainers));
	seq_printf(m, "uvm-channels:\t%u\n", READ_ONCE(vs->nr_channels));
	seq_printf(m, "uvm-policies:\t%lu\n", READ_ONCE(vs->policies.nr));
	seq_printf(m, "uvm-policies-lost:\t%lu B\n",
		   READ_ONCE(vs->policies.lost));
	seq_printf(m, "uvm-managed-cpu:\t%lu B\n",
		   atomic_long_read(&vs->managed.cpu_pages) << PAGE_SHIFT);
	shown = kvcalloc(UVM_MAX_GPUS, sizeof(*shown), GFP_KERNEL);
	if (!shown)
		return;
	nr = uvm_shown_gpus(vs, shown);
	for (i = 0; i < nr; i++)
		uvm_show_gpu(m, vs, &shown[i]);
	kvfree(shown);
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

static void uvm_gpu_show(struct uvm_gpu *gpu, void *arg)
{
	struct seq_file *m = arg;
	unsigned int i;

	seq_printf(m, "%u", gpu->id);
	for (i = 0; i < UVM_STAT_NR; i++)
		seq_printf(m, " %lld", atomic64_read(&gpu->stats.n[i]));
	seq_printf(m, " %s\n", gpu->name);
}

static int uvm_gpus_show(struct seq_file *m, void *unused)
{
	unsigned int i;

	seq_puts(m, "id");
	for (i = 0; i < UVM_STAT_NR; i++)
		seq_printf(m, " %s", uvm_stat_names[i]);
	seq_puts(m, " name\n");
	uvm_gpus_for_each(uvm_gpu_show, m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(uvm_gpus);

static void uvm_memory_show_space(struct seq_file *m, struct uvm_gpu_space *gs)
{
	struct uvm_memory_numbers n;

	if (!uvm_gpu_space_enter(gs))
		return;
	if (gs->tenant) {
		uvm_tenant_numbers(gs->tenant, &n);
		seq_printf(m, "%d %u %llu %llu %llu %llu %llu\n", pid_nr(gs->vs->pid),
			   gs->gpu->id, n.mine << PAGE_SHIFT, n.limit << PAGE_SHIFT,
			   n.reserved << PAGE_SHIFT, n.my_evicted, n.my_refaulted);
	}
	uvm_gpu_space_leave(gs);
}

static int uvm_memory_show(struct seq_file *m, void *unused)
{
	struct uvm_gpu_space *gs;
	struct uvm_va_space *vs;
	unsigned long index;
	u32 id = 0;

	seq_puts(m, "pid gpu used limit reserved evicted refaulted\n");
	while ((vs = uvm_va_space_next(&id))) {
		down_read(&vs->lock);
		xa_for_each(&vs->gpu_spaces, index, gs)
			uvm_memory_show_space(m, gs);
		up_read(&vs->lock);
		uvm_va_space_put(vs);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(uvm_memory);

static void uvm_show_account(struct seq_file *m, const struct uvm_devmem_account *account)
{
	seq_printf(m, " %lu %lu %lu %lu %lu %lu\n", account->used,
		   account->free[UVM_DEVMEM_2M], account->free[UVM_DEVMEM_64K],
		   account->free[UVM_DEVMEM_4K], account->zeroed, account->lost);
}

static void uvm_account_add(struct uvm_devmem_account *sum,
			    const struct uvm_devmem_account *account)
{
	unsigned int size;

	sum->used += account->used;
	for (size = 0; size < UVM_DEVMEM_SIZES; size++)
		sum->free[size] += account->free[size];
	sum->zeroed += account->zeroed;
	sum->lost += account->lost;
}

/*
 * In pages. Each chunk that is neither free nor used as a whole has a line; of the others
 * there are so many, and the sum of all. Each chunk is looked at once, under its lock: so
 * what is used and what is free make the whole, whatever happens meanwhile.
 */
static int uvm_chunks_show(struct seq_file *m, void *unused)
{
	struct uvm_gpu *gpu = m->private;
	struct uvm_devmem_account sum = { }, account;
	unsigned long i, nr_free = 0, nr_used = 0;

	seq_puts(m, "chunk used free-2m free-64k free-4k zeroed lost\n");
	for (i = 0; i < gpu->mem.nr_chunks; i++) {
		uvm_devmem_account(&gpu->mem, i, &account);
		uvm_account_add(&sum, &account);
		nr_free += !account.used;
		nr_used += account.used == UVM_CHUNK_PAGES;
		if (account.used && account.used < UVM_CHUNK_PAGES) {
			seq_printf(m, "%lu", i);
			uvm_show_account(m, &account);
		}
		cond_resched();
	}
	seq_puts(m, "sum");
	uvm_show_account(m, &sum);
	seq_printf(m, "total %lu\n", i * UVM_CHUNK_PAGES);
	seq_printf(m, "chunks %lu free %lu used %lu split %lu\n", i, nr_free, nr_used,
		   i - nr_free - nr_used);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(uvm_chunks);

static int uvm_managed_blocks_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "%ld\n", uvm_blocks_count());
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(uvm_managed_blocks);

/* @gpu stays until uvm_debugfs_del_gpu(). */
void uvm_debugfs_add_gpu(struct uvm_gpu *gpu)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", gpu->id);
	gpu->debugfs = debugfs_create_file(name, 0400, uvm_debugfs_chunks, gpu,
					   &uvm_chunks_fops);
}

/* Waits for those who look. */
void uvm_debugfs_del_gpu(struct uvm_gpu *gpu)
{
	debugfs_remove(gpu->debugfs);
}

void uvm_debugfs_init(void)
{
	uvm_debugfs_dir = debugfs_create_dir("uvm", NULL);
	uvm_debugfs_chunks = debugfs_create_dir("chunks", uvm_debugfs_dir);
	debugfs_create_file("va_spaces", 0400, uvm_debugfs_dir, NULL,
			    &uvm_va_spaces_fops);
	debugfs_create_file("gpus", 0400, uvm_debugfs_dir, NULL, &uvm_gpus_fops);
	debugfs_create_file("memory", 0400, uvm_debugfs_dir, NULL, &uvm_memory_fops);
	debugfs_create_file("managed_blocks", 0400, uvm_debugfs_dir, NULL,
			    &uvm_managed_blocks_fops);
	uvm_delay_init(uvm_debugfs_dir);
}

void uvm_debugfs_exit(void)
{
	debugfs_remove(uvm_debugfs_dir);
}
