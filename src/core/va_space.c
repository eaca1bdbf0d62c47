// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: VA spaces
 *
 * Owns &struct uvm_va_space and the list of all of them. A VA space works as long as
 * its file is open; the mm file holds that file, so a VA space always closes after
 * its mm was released. Its memory lives on for whoever found it in the list.
 */
#include "core.h"

#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "managed.h"

/* By &uvm_va_space.id; xa_lock guards the step from finding one to its reference. */
static DEFINE_XARRAY_ALLOC1(uvm_va_spaces);

static void uvm_va_space_free(struct kref *ref)
{
	struct uvm_va_space *vs = container_of(ref, struct uvm_va_space, ref);

	put_pid(vs->pid);
	xa_destroy(&vs->gpu_spaces);
	xa_destroy(&vs->channels);
	mutex_destroy(&vs->teardown);
	kfree_rcu(vs, rcu);
}

void uvm_va_space_put(struct uvm_va_space *vs)
{
	kref_put(&vs->ref, uvm_va_space_free);
}

/**
 * uvm_va_space_next() - walk all VA spaces
 * @id: 0 at first; where the walk is
 *
 * Return: a reference to a VA space, or NULL at the end. It may be closed already.
 */
struct uvm_va_space *uvm_va_space_next(u32 *id)
{
	unsigned long index = *id;
	struct uvm_va_space *vs;

	xa_lock(&uvm_va_spaces);
	vs = xa_find_after(&uvm_va_spaces, &index, ULONG_MAX, XA_PRESENT);
	if (vs)
		kref_get(&vs->ref);
	xa_unlock(&uvm_va_spaces);
	*id = index;
	return vs;
}

static struct uvm_va_space *uvm_va_space_create(struct mm_struct *mm)
{
	struct uvm_va_space *vs = kzalloc(sizeof(*vs), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!vs)
		return ERR_PTR(-ENOMEM);
	kref_init(&vs->ref);
	mutex_init(&vs->teardown);
	init_rwsem(&vs->lock);
	xa_init(&vs->gpu_spaces);
	xa_init_flags(&vs->channels, XA_FLAGS_ALLOC1);
	uvm_advise_init(vs);
	uvm_managed_init(vs);
	vs->pid = get_task_pid(current, PIDTYPE_TGID);
	ret = uvm_mm_attach(vs, mm);
	if (ret) {
		uvm_va_space_put(vs);
		return ERR_PTR(ret);
	}
	return vs;
}

static void uvm_va_space_destroy(struct uvm_va_space *vs)
{
	uvm_gpu_spaces_remove(vs);
	uvm_channels_forget(vs);
	/* Who works there has let go of the mm, and of the GPU spaces. */
	if (vs->fault_wq)
		destroy_workqueue(vs->fault_wq);
	uvm_managed_fini(vs);
	uvm_advise_fini(vs);
	uvm_mm_detach(vs);
	uvm_va_space_put(vs);
}

/* Makes the fresh file a VA space's; from here on others find it. */
static int uvm_va_space_publish(struct uvm_va_space *vs, struct uvm_ucmd *ucmd)
{
	struct uvm_file *file = ucmd->file;
	static u32 next;
	int ret = -EBADFD;

	mutex_lock(&file->lock);
	if (file->kind == UVM_FILE_FRESH) {
		vs->filp = ucmd->filp;
		vs->managed.inode = file->inode;
		ret = xa_alloc_cyclic(&uvm_va_spaces, &vs->id, vs, xa_limit_32b,
				      &next, GFP_KERNEL_ACCOUNT);
	}
	if (ret >= 0) {
		file->vs = vs;
		/* Pairs with uvm_file_kind(). */
		smp_store_release(&file->kind, UVM_FILE_VA_SPACE);
	}
	mutex_unlock(&file->lock);
	return min(ret, 0);
}

/**
 * uvm_init_ioctl() - UVM_INIT
 * @ucmd: on a fresh file
 *
 * Return: 0, -EBADFD, -ENOMEM.
 */
int uvm_init_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_init *cmd = ucmd->cmd;
	struct uvm_va_space *vs;
	int ret;

	vs = uvm_va_space_create(cmd->flags & UVM_INIT_MULTI_PROCESS ?
				 NULL : current->mm);
	if (IS_ERR(vs))
		return PTR_ERR(vs);
	ret = uvm_va_space_publish(vs, ucmd);
	if (ret)
		uvm_va_space_destroy(vs);
	return ret;
}

/* The VA space's file is gone, and the mm file went before it. */
void uvm_va_space_close(struct uvm_va_space *vs)
{
	xa_erase(&uvm_va_spaces, vs->id);
	uvm_va_space_destroy(vs);
}

unsigned int uvm_va_space_nr_gpus(struct uvm_va_space *vs)
{
	struct uvm_gpu_space *gs;
	unsigned int nr = 0;
	unsigned long id;

	down_read(&vs->lock);
	xa_for_each(&vs->gpu_spaces, id, gs)
		nr++;
	up_read(&vs->lock);
	return nr;
}
