// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: /dev/uvm
 *
 * Owns the character device, the open files and the command table. The
 * dispatcher does for every command what must never differ between two of them:
 * it checks the size, copies the argument, refuses unknown flags and non-zero
 * reserved members, checks the file's kind, its owner and the state of its mm, and
 * copies the result back.
 */
#include "core.h"

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "managed.h"

struct workqueue_struct *uvm_gpu_wq;
struct workqueue_struct *uvm_release_wq;
struct workqueue_struct *uvm_evacuate_wq;

static int uvm_info_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_info *cmd = ucmd->cmd;

	cmd->out_version = UVM_VERSION;
	cmd->out_page_size = PAGE_SIZE;
	cmd->out_features = UVM_FEATURE_DEVICE_COHERENT |
			    UVM_FEATURE_MULTI_PROCESS | UVM_FEATURE_MANAGED |
			    UVM_FEATURE_READ_DUPLICATION;
	if (IS_ENABLED(CONFIG_DEVICE_PRIVATE))
		cmd->out_features |= UVM_FEATURE_DEVICE_PRIVATE;
	if (IS_ENABLED(CONFIG_DEVICE_PRIVATE) && UVM_EXCLUSIVE_OF_LARGE)
		cmd->out_features |= UVM_FEATURE_SYSTEM_ATOMICS;
	if (UVM_HUGE_MOVES && IS_ENABLED(CONFIG_DEVICE_PRIVATE))
		cmd->out_features |= UVM_FEATURE_HUGE_PAGES;
	if (IS_ENABLED(CONFIG_NUMA))
		cmd->out_features |= UVM_FEATURE_NUMA_DESTINATION;
	cmd->out_max_gpus = UVM_MAX_GPUS;
	cmd->out_max_channels = UVM_MAX_CHANNELS;
	cmd->out_max_submit = UVM_MAX_SUBMIT;
	cmd->out_max_query = UVM_MAX_QUERY;
	return 0;
}

/* Copies a structure to a caller that may know a shorter or a longer one. */
int uvm_copy_entry(void __user *dst, size_t usize, const void *src, size_t ksize)
{
	size_t size = min(usize, ksize);

	if (copy_to_user(dst, src, size) ||
	    clear_user(dst + size, usize - size))
		return -EFAULT;
	return 0;
}

static int uvm_enum_gpus_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_enum_gpus *cmd = ucmd->cmd;
	struct uvm_gpu_info *info;
	unsigned int i, nr;
	int ret = 0;

	if (!cmd->entry_size || cmd->entry_size > SZ_4K)
		return -EINVAL;
	info = kcalloc(UVM_MAX_GPUS, sizeof(*info), GFP_KERNEL);
	if (!info)
		return -ENOMEM;
	nr = uvm_gpu_fill_info(info, UVM_MAX_GPUS);
	for (i = 0; i < min(nr, cmd->count); i++) {
		u64 dst = cmd->gpus + (u64)i * cmd->entry_size;

		ret = uvm_copy_entry(u64_to_user_ptr(dst), cmd->entry_size,
				     &info[i], sizeof(*info));
		if (ret)
			break;
	}
	cmd->out_count = nr;
	kfree(info);
	return ret;
}

/* Which file a command is for. */
enum uvm_want {
	UVM_WANT_FRESH,		/* an open that is nothing yet */
	UVM_WANT_NOT_MM,	/* anything but an mm file */
	UVM_WANT_VA_SPACE,	/* a VA space of this process that has, or had, an mm;
				 * or one of all processes
				 */
	UVM_WANT_LIVE,		/* the same, and the mm, if any, stays retained */
	UVM_WANT_MM,		/* the same, and there is one */
};

struct uvm_ioctl_op {
	unsigned int size;
	unsigned int min_size;
	unsigned int reserved_at;	/* a __u32 that must be 0, or 0 */
	u32 flags;			/* those that the command knows */
	enum uvm_want want;
	bool out;			/* there are results to copy back */
	bool partial;			/* also on errors */
	int (*execute)(struct uvm_ucmd *ucmd);
};

union uvm_ucmd_buffer {
	struct uvm_info info;
	struct uvm_init init;
	struct uvm_mm_init mm_init;
	struct uvm_enum_gpus enum_gpus;
	struct uvm_register_gpu register_gpu;
	struct uvm_unregister_gpu unregister_gpu;
	struct uvm_channel_create channel_create;
	struct uvm_channel_submit channel_submit;
	struct uvm_channel_query channel_query;
	struct uvm_channel_destroy channel_destroy;
	struct uvm_wait wait;
	struct uvm_migrate migrate;
	struct uvm_query_residency query_residency;
	struct uvm_query_processors query_processors;
	struct uvm_set_preferred_location set_preferred_location;
	struct uvm_set_accessed_by set_accessed_by;
	struct uvm_set_switch set_switch;
	struct uvm_create_range_group create_range_group;
	struct uvm_destroy_range_group destroy_range_group;
	struct uvm_set_range_group set_range_group;
	struct uvm_allow_migration allow_migration;
	struct uvm_query_policy query_policy;
	struct uvm_set_access_counters set_access_counters;
	struct uvm_query_memory query_memory;
	struct uvm_set_memory_limit set_memory_limit;
	struct uvm_set_memory_event set_memory_event;
	struct uvm_discard discard;
	struct uvm_query_range query_range;
};

/* _last is the last member of the first published version of the structure. */
#define UVM_OP(_cmd, _fn, _struct, _last, _want, ...)			\
	[_IOC_NR(_cmd) - UVM_CMD_BASE] = {				\
		.size = sizeof(struct _struct) +			\
			BUILD_BUG_ON_ZERO(sizeof(union uvm_ucmd_buffer) < \
					  sizeof(struct _struct)),	\
		.min_size = offsetofend(struct _struct, _last),		\
		.want = _want,						\
		.execute = _fn,						\
		__VA_ARGS__						\
	}

#define UVM_RESERVED(_struct)						\
	.reserved_at = offsetof(struct _struct, __reserved)

static const struct uvm_ioctl_op uvm_ioctl_ops[] = {
	UVM_OP(UVM_INFO, uvm_info_ioctl, uvm_info, out_max_query,
	       UVM_WANT_NOT_MM, .out = true),
	UVM_OP(UVM_INIT, uvm_init_ioctl, uvm_init, flags, UVM_WANT_FRESH,
	       .flags = UVM_INIT_MULTI_PROCESS),
	UVM_OP(UVM_MM_INIT, uvm_mm_init_ioctl, uvm_mm_init, __reserved,
	       UVM_WANT_FRESH, UVM_RESERVED(uvm_mm_init)),
	UVM_OP(UVM_ENUM_GPUS, uvm_enum_gpus_ioctl, uvm_enum_gpus, __reserved,
	       UVM_WANT_NOT_MM, UVM_RESERVED(uvm_enum_gpus), .out = true),
	UVM_OP(UVM_REGISTER_GPU, uvm_register_gpu_ioctl, uvm_register_gpu,
	       out_numa_node, UVM_WANT_LIVE, .out = true),
	UVM_OP(UVM_UNREGISTER_GPU, uvm_unregister_gpu_ioctl, uvm_unregister_gpu,
	       uuid, UVM_WANT_VA_SPACE, .partial = true, .out = true),
	UVM_OP(UVM_CHANNEL_CREATE, uvm_channel_create_ioctl, uvm_channel_create,
	       __reserved, UVM_WANT_LIVE, UVM_RESERVED(uvm_channel_create),
	       .out = true),
	UVM_OP(UVM_CHANNEL_SUBMIT, uvm_channel_submit_ioctl, uvm_channel_submit,
	       out_point, UVM_WANT_VA_SPACE, .out = true),
	UVM_OP(UVM_CHANNEL_QUERY, uvm_channel_query_ioctl, uvm_channel_query,
	       out_completed, UVM_WANT_VA_SPACE, .out = true),
	UVM_OP(UVM_CHANNEL_DESTROY, uvm_channel_destroy_ioctl,
	       uvm_channel_destroy, __reserved, UVM_WANT_VA_SPACE,
	       UVM_RESERVED(uvm_channel_destroy)),
	UVM_OP(UVM_WAIT, uvm_wait_ioctl, uvm_wait, out_completed,
	       UVM_WANT_VA_SPACE, UVM_RESERVED(uvm_wait), .partial = true, .out = true),
	UVM_OP(UVM_MIGRATE, uvm_migrate_ioctl, uvm_migrate, out_done,
	       UVM_WANT_MM, .partial = true, .out = true),
	UVM_OP(UVM_QUERY_RESIDENCY, uvm_query_residency_ioctl,
	       uvm_query_residency, pages, UVM_WANT_VA_SPACE),
	UVM_OP(UVM_QUERY_PROCESSORS, uvm_query_processors_ioctl,
	       uvm_query_processors, __reserved, UVM_WANT_VA_SPACE,
	       UVM_RESERVED(uvm_query_processors), .out = true),
	UVM_OP(UVM_SET_PREFERRED_LOCATION, uvm_set_preferred_location_ioctl,
	       uvm_set_preferred_location, dest_uuid, UVM_WANT_MM),
	UVM_OP(UVM_SET_ACCESSED_BY, uvm_set_accessed_by_ioctl,
	       uvm_set_accessed_by, __reserved, UVM_WANT_MM,
	       UVM_RESERVED(uvm_set_accessed_by)),
	UVM_OP(UVM_SET_FAULT_MIGRATION, uvm_set_fault_migration_ioctl,
	       uvm_set_switch, __reserved, UVM_WANT_MM,
	       UVM_RESERVED(uvm_set_switch)),
	UVM_OP(UVM_SET_PREFETCH, uvm_set_prefetch_ioctl, uvm_set_switch,
	       __reserved, UVM_WANT_MM, UVM_RESERVED(uvm_set_switch)),
	UVM_OP(UVM_SET_READ_MOSTLY, uvm_set_read_mostly_ioctl, uvm_set_switch,
	       __reserved, UVM_WANT_MM, UVM_RESERVED(uvm_set_switch)),
	UVM_OP(UVM_CREATE_RANGE_GROUP, uvm_create_range_group_ioctl,
	       uvm_create_range_group, __reserved, UVM_WANT_MM,
	       UVM_RESERVED(uvm_create_range_group), .out = true),
	UVM_OP(UVM_DESTROY_RANGE_GROUP, uvm_destroy_range_group_ioctl,
	       uvm_destroy_range_group, __reserved, UVM_WANT_VA_SPACE,
	       UVM_RESERVED(uvm_destroy_range_group)),
	UVM_OP(UVM_SET_RANGE_GROUP, uvm_set_range_group_ioctl,
	       uvm_set_range_group, __reserved, UVM_WANT_MM,
	       UVM_RESERVED(uvm_set_range_group)),
	UVM_OP(UVM_ALLOW_MIGRATION, uvm_allow_migration_ioctl,
	       uvm_allow_migration, allow, UVM_WANT_MM),
	UVM_OP(UVM_SET_ACCESS_COUNTERS, uvm_set_access_counters_ioctl,
	       uvm_set_access_counters, __reserved, UVM_WANT_LIVE,
	       UVM_RESERVED(uvm_set_access_counters)),
	UVM_OP(UVM_QUERY_POLICY, uvm_query_policy_ioctl, uvm_query_policy,
	       out_count, UVM_WANT_VA_SPACE, .out = true),
	UVM_OP(UVM_QUERY_MEMORY, uvm_query_memory_ioctl, uvm_query_memory,
	       __reserved, UVM_WANT_MM, UVM_RESERVED(uvm_query_memory), .out = true),
	UVM_OP(UVM_SET_MEMORY_LIMIT, uvm_set_memory_limit_ioctl,
	       uvm_set_memory_limit, reserved, UVM_WANT_MM),
	UVM_OP(UVM_SET_MEMORY_EVENT, uvm_set_memory_event_ioctl,
	       uvm_set_memory_event, __reserved, UVM_WANT_MM,
	       UVM_RESERVED(uvm_set_memory_event)),
	UVM_OP(UVM_DISCARD, uvm_discard_ioctl, uvm_discard, out_done, UVM_WANT_MM,
	       .flags = UVM_DISCARD_EAGER, .partial = true, .out = true),
	UVM_OP(UVM_QUERY_RANGE, uvm_query_range_ioctl, uvm_query_range, out_count,
	       UVM_WANT_VA_SPACE, .out = true),
};

/*
 * Takes what the command wants of the file. UVM_WANT_LIVE and UVM_WANT_MM also retain
 * the mm, so that it can't go before uvm_ucmd_put(). Until then the process's memory
 * stays, so a command that copies from or to user memory, which may take forever, wants
 * UVM_WANT_VA_SPACE, and retains the mm where it needs it.
 */
static int uvm_ucmd_get(struct uvm_ucmd *ucmd, enum uvm_want want)
{
	enum uvm_file_kind kind = uvm_file_kind(ucmd->file);
	struct uvm_va_space *vs = ucmd->file->vs;

	/* A process with another mm: this one's may have gone on to another program. */
	if (kind != UVM_FILE_FRESH && vs->mm != current->mm)
		uvm_mm_check_abandoned(vs);
	if (want == UVM_WANT_FRESH)
		return kind == UVM_FILE_FRESH ? 0 : -EBADFD;
	if (want == UVM_WANT_NOT_MM)
		return kind != UVM_FILE_MM ? 0 : -EBADFD;
	if (kind != UVM_FILE_VA_SPACE)
		return -EBADFD;
	ucmd->vs = vs;
	if (!vs->mm)
		return want == UVM_WANT_MM ? -EOPNOTSUPP : 0;
	if (vs->mm != current->mm)
		return -EPERM;
	if (want >= UVM_WANT_LIVE)
		return uvm_mm_retain(vs);
	return uvm_mm_initialized(vs) ? 0 : -EBADFD;
}

static void uvm_ucmd_put(struct uvm_ucmd *ucmd, enum uvm_want want)
{
	if (want >= UVM_WANT_LIVE && ucmd->vs->mm)
		uvm_mm_release(ucmd->vs);
}

static bool uvm_cmd_has_reserved(const struct uvm_ioctl_op *op, const void *cmd)
{
	const u32 *flags = cmd + offsetof(struct uvm_init, flags);
	const u32 *reserved = cmd + op->reserved_at;

	return *flags & ~op->flags || (op->reserved_at && *reserved);
}

static long uvm_fops_ioctl(struct file *filp, unsigned int cmd,
			   unsigned long arg)
{
	struct uvm_ucmd ucmd = { .filp = filp, .file = filp->private_data };
	void __user *ubuffer = (void __user *)arg;
	unsigned int nr = _IOC_NR(cmd) - UVM_CMD_BASE;
	const struct uvm_ioctl_op *op;
	union uvm_ucmd_buffer buf;
	u32 size;
	int ret;

	if (nr >= ARRAY_SIZE(uvm_ioctl_ops) ||
	    cmd != _IO(UVM_TYPE, UVM_CMD_BASE + nr))
		return -ENOTTY;
	op = &uvm_ioctl_ops[array_index_nospec(nr, ARRAY_SIZE(uvm_ioctl_ops))];

	if (get_user(size, (u32 __user *)ubuffer))
		return -EFAULT;
	if (size < op->min_size)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&buf, op->size, ubuffer, size);
	if (ret)
		return ret;
	if (uvm_cmd_has_reserved(op, &buf))
		return -EINVAL;

	/* Nothing is done whose result could not be delivered. */
	size = min(size, op->size);
	if (op->out && copy_to_user(ubuffer, &buf, size))
		return -EFAULT;

	ucmd.cmd = &buf;
	ret = uvm_ucmd_get(&ucmd, op->want);
	if (ret)
		return ret;
	ret = op->execute(&ucmd);
	uvm_ucmd_put(&ucmd, op->want);

	if (op->out && (!ret || op->partial) &&
	    copy_to_user(ubuffer, &buf, size))
		return -EFAULT;
	return ret;
}

static int uvm_fops_open(struct inode *inode, struct file *filp)
{
	struct uvm_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!file)
		return -ENOMEM;
	ret = uvm_managed_open(file, filp);
	if (ret) {
		kfree(file);
		return ret;
	}
	mutex_init(&file->lock);
	filp->private_data = file;
	return nonseekable_open(inode, filp);
}

/* Somebody closes a descriptor; @id is the files_struct that it is in. */
static int uvm_fops_flush(struct file *filp, fl_owner_t id)
{
	struct uvm_file *file = filp->private_data;

	if (uvm_file_kind(file) == UVM_FILE_MM)
		uvm_mm_file_flush(file, id);
	return 0;
}

static int uvm_fops_release(struct inode *inode, struct file *filp)
{
	struct uvm_file *file = filp->private_data;

	switch (uvm_file_kind(file)) {
	case UVM_FILE_VA_SPACE:
		uvm_va_space_close(file->vs);
		break;
	case UVM_FILE_MM:
		uvm_mm_file_release(file);
		break;
	case UVM_FILE_FRESH:
		break;
	}
	uvm_managed_release(file);
	mutex_destroy(&file->lock);
	kfree(file);
	return 0;
}

const struct file_operations uvm_fops = {
	.owner = THIS_MODULE,
	.open = uvm_fops_open,
	.flush = uvm_fops_flush,
	.release = uvm_fops_release,
	.show_fdinfo = uvm_show_fdinfo,
	.unlocked_ioctl = uvm_fops_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = uvm_managed_mmap,
	.get_unmapped_area = uvm_managed_get_unmapped_area,
};

static struct miscdevice uvm_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "uvm",
	.fops = &uvm_fops,
	.mode = 0666,
};

static int __init uvm_make_workqueues(void)
{
	uvm_gpu_wq = alloc_workqueue("uvm_gpu", WQ_UNBOUND | WQ_HIGHPRI, 0);
	uvm_release_wq = alloc_workqueue("uvm_release", WQ_UNBOUND, 0);
	uvm_evacuate_wq = alloc_workqueue("uvm_evacuate", WQ_UNBOUND, 0);
	return uvm_gpu_wq && uvm_release_wq && uvm_evacuate_wq ? 0 : -ENOMEM;
}

static void uvm_destroy_workqueues(void)
{
	struct workqueue_struct *wqs[] = {
		uvm_evacuate_wq, uvm_release_wq, uvm_gpu_wq,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(wqs); i++)
		if (wqs[i])
			destroy_workqueue(wqs[i]);
}

static int __init uvm_module_init(void)
{
	int ret;

	ret = uvm_make_workqueues();
	if (ret)
		goto err_workqueues;
	ret = uvm_managed_mount();
	if (ret)
		goto err_workqueues;
	uvm_debugfs_init();
	ret = misc_register(&uvm_misc);
	if (ret)
		goto err_debugfs;
	return 0;

err_debugfs:
	uvm_debugfs_exit();
	uvm_managed_unmount();
err_workqueues:
	uvm_destroy_workqueues();
	return ret;
}

static void __exit uvm_module_exit(void)
{
	misc_deregister(&uvm_misc);
	uvm_debugfs_exit();
	uvm_managed_unmount();
	uvm_destroy_workqueues();
	/* The last of &mmu_notifier_ops.free_notifier has returned. */
	mmu_notifier_synchronize();
}

module_init(uvm_module_init);
module_exit(uvm_module_exit);
MODULE_DESCRIPTION("Unified virtual memory for any accelerator");
MODULE_LICENSE("GPL");
