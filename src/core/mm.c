// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: The mm link and its file
 *
 * Owns the state that ties a VA space to its process's mm (&enum uvm_mm_state).
 *
 * The mm file holds one mm_users reference, and the VA space's file. So, while
 * the state is UVM_MM_ALIVE, the mm can't be torn down, and retaining it is a
 * count under a spinlock. Only the release of the mm file drops that reference,
 * after the state says that nobody can take a new retainer and the count of
 * retainers is 0: a retainer never drops the last mm_users, and so never runs
 * exit_mmap() in a context of its own.
 *
 * The VA space itself may be mapped by the process one day, which makes its file
 * live until exit_mmap(); that is why a second file, which is never mapped, has
 * to say when the GPUs' use of the mm ends.
 */
#include "core.h"

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/sched/mm.h>

/**
 * uvm_mm_retain() - keep the mm alive for a while
 * @vs: the VA space
 *
 * Any context that may take a spinlock. Pair with uvm_mm_release().
 *
 * Return: 0, -EBADFD before UVM_MM_INIT, -ESRCH once the mm file is being closed.
 */
int uvm_mm_retain(struct uvm_va_space *vs)
{
	int ret = 0;

	spin_lock(&vs->mm_lock);
	if (vs->mm_state == UVM_MM_ALIVE)
		vs->retainers++;
	else
		ret = vs->mm_state == UVM_MM_UNINITIALIZED ? -EBADFD : -ESRCH;
	spin_unlock(&vs->mm_lock);
	return ret;
}

/**
 * uvm_mm_release() - end what uvm_mm_retain() began
 * @vs: the VA space
 *
 * The wake-up happens under the lock: once the lock is free with no retainer left,
 * the mm file's release may go on to free the VA space.
 */
void uvm_mm_release(struct uvm_va_space *vs)
{
	spin_lock(&vs->mm_lock);
	if (!--vs->retainers)
		wake_up_all(&vs->mm_idle);
	spin_unlock(&vs->mm_lock);
}

bool uvm_mm_initialized(struct uvm_va_space *vs)
{
	return READ_ONCE(vs->mm_state) != UVM_MM_UNINITIALIZED;
}

/* Whoever works long under a retained mm asks this now and then, and stops. */
bool uvm_mm_releasing(struct uvm_va_space *vs)
{
	return READ_ONCE(vs->mm_state) > UVM_MM_ALIVE;
}

static void uvm_mm_set_state(struct uvm_va_space *vs, enum uvm_mm_state state)
{
	spin_lock(&vs->mm_lock);
	WRITE_ONCE(vs->mm_state, state);
	spin_unlock(&vs->mm_lock);
}

/*
 * Binds the fresh file to the VA space of @va_file and takes over its reference.
 * Both locks order against a second UVM_MM_INIT: the file's for this file, the
 * VA space's for that VA space.
 */
static int uvm_mm_link(struct uvm_file *file, struct file *va_file,
		       struct uvm_va_space *vs)
{
	int ret = -EBADFD;

	mutex_lock(&file->lock);
	down_write(&vs->lock);
	if (file->kind != UVM_FILE_FRESH ||
	    vs->mm_state != UVM_MM_UNINITIALIZED)
		goto out;
	mmget(vs->mm);
	uvm_mm_set_state(vs, UVM_MM_ALIVE);
	file->va_file = va_file;
	/* Pairs with uvm_file_kind(). */
	smp_store_release(&file->kind, UVM_FILE_MM);
	ret = 0;
out:
	up_write(&vs->lock);
	mutex_unlock(&file->lock);
	return ret;
}

/**
 * uvm_mm_init_ioctl() - UVM_MM_INIT
 * @ucmd: on a fresh file
 *
 * Return: 0, -EBADF, -EBADFD, -EPERM, -ENOMEM.
 */
int uvm_mm_init_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_mm_init *cmd = ucmd->cmd;
	struct uvm_file *va;
	struct file *va_file;
	int ret;

	va_file = fget(cmd->va_space_fd);
	if (!va_file)
		return -EBADF;
	ret = -EBADF;
	if (va_file->f_op != &uvm_fops)
		goto err_put;
	va = va_file->private_data;
	ret = -EBADFD;
	if (uvm_file_kind(va) != UVM_FILE_VA_SPACE)
		goto err_put;
	ret = -EPERM;
	if (va->vs->mm != current->mm)
		goto err_put;
	ret = uvm_mm_link(ucmd->file, va_file, va->vs);
	if (ret)
		goto err_put;
	return 0;

err_put:
	fput(va_file);
	return ret;
}

/*
 * The last reference to the mm file is gone. From UVM_MM_RELEASING on nobody
 * registers a GPU or creates a channel; then the channels are stopped, the page
 * tables torn down, and, when the last retainer has left, the mm let go.
 */
void uvm_mm_file_release(struct uvm_file *file)
{
	struct file *va_file = file->va_file;
	struct uvm_va_space *vs = ((struct uvm_file *)va_file->private_data)->vs;

	down_write(&vs->lock);
	uvm_mm_set_state(vs, UVM_MM_RELEASING);
	up_write(&vs->lock);

	uvm_va_space_shutdown_gpus(vs);
	uvm_mm_set_state(vs, UVM_MM_RELEASED);

	wait_event(vs->mm_idle, !READ_ONCE(vs->retainers));
	/* The last uvm_mm_release() may still be inside the lock. */
	spin_lock(&vs->mm_lock);
	spin_unlock(&vs->mm_lock);
	mmput(vs->mm);
	fput(va_file);
}
