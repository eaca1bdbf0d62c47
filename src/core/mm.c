// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: The mm link and its file
 *
 * Owns the state that ties a VA space to its process's mm (&enum uvm_mm_state).
 *
 * From UVM_MM_INIT on the VA space holds one mm_users reference. So, while the
 * state is UVM_MM_ALIVE, the mm can't be torn down, and retaining it is a count
 * under a spinlock. Only the shutdown drops that reference, after the state says
 * that nobody can take a new retainer and the count of retainers is 0: a retainer
 * never drops the last mm_users, and so never runs exit_mmap() in a context of its
 * own.
 *
 * The VA space itself may be mapped by the process one day, which makes its file
 * live until exit_mmap(); that is why a second file, which is never mapped, has
 * to say when the GPUs' use of the mm ends.
 *
 * The shutdown happens once. It is begun by the first of these:
 *
 * - the process that called UVM_MM_INIT closes the mm file (&file_operations.flush
 *   with its files_struct: close, exit, exec). Others may hold the file as long as
 *   they like (a child, a socket's queue): what they hold keeps no memory of a dead
 *   process. That files_struct can't be freed before it closed the file, so a new one
 *   at its address is no concern: the shutdown was begun.
 * - the last reference to the mm file goes;
 * - somebody finds that nobody has the mm any more but our mm files
 *   (uvm_mm_check_abandoned()): the process went on to another program and kept
 *   the descriptors;
 * - the mm goes (&mmu_notifier_ops.release); that can only be before UVM_MM_INIT, or
 *   after the shutdown.
 *
 * It waits for engines only, which are bounded by their time limits. A retainer may
 * be held up by user space, in a page fault that a file system in user space serves,
 * so after a while the shutdown leaves the last step to the last of them.
 */
#include "core.h"

#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/jiffies.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "move.h"

/* Nothing but user space makes a retainer take longer than this. */
#define UVM_MM_DRAIN_MS		1000

static struct uvm_mm *uvm_mm_of_notifier(struct mmu_notifier *mn)
{
	return container_of(mn, struct uvm_mm, mn);
}

/**
 * uvm_mm_retain() - keep the mm alive for a while
 * @vs: the VA space
 *
 * May sleep in debug kernels. Pair with uvm_mm_release().
 *
 * Return: 0, -EBADFD before UVM_MM_INIT, -ESRCH once the shutdown has begun,
 * -EOPNOTSUPP if there is no mm.
 */
int uvm_mm_retain(struct uvm_va_space *vs)
{
	int ret = 0;

	spin_lock(&vs->mm_lock);
	switch (vs->mm_state) {
	case UVM_MM_ALIVE:
		vs->retainers++;
		break;
	case UVM_MM_NONE:
		ret = -EOPNOTSUPP;
		break;
	case UVM_MM_UNINITIALIZED:
		ret = -EBADFD;
		break;
	default:
		ret = -ESRCH;
	}
	spin_unlock(&vs->mm_lock);
	uvm_delay(UVM_DELAY_RETAINED);
	return ret;
}

/**
 * uvm_mm_release() - end what uvm_mm_retain() began
 * @vs: the VA space
 *
 * The wake-up happens under the lock: once the lock is free with no retainer left,
 * the shutdown may go on to free the VA space.
 */
void uvm_mm_release(struct uvm_va_space *vs)
{
	spin_lock(&vs->mm_lock);
	if (!--vs->retainers) {
		wake_up_all(&vs->mm_idle);
		if (vs->drain_late)
			queue_work(uvm_release_wq, &vs->drain_work);
	}
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

const char *uvm_mm_state_name(struct uvm_va_space *vs)
{
	static const char * const names[] = {
		[UVM_MM_NONE] = "none",
		[UVM_MM_UNINITIALIZED] = "uninitialized",
		[UVM_MM_ALIVE] = "alive",
		[UVM_MM_RELEASING] = "releasing",
		[UVM_MM_RELEASED] = "released",
	};

	return names[READ_ONCE(vs->mm_state)];
}

static void uvm_mm_set_state(struct uvm_va_space *vs, enum uvm_mm_state state)
{
	spin_lock(&vs->mm_lock);
	WRITE_ONCE(vs->mm_state, state);
	spin_unlock(&vs->mm_lock);
}

/*
 * The only way out of UVM_MM_UNINITIALIZED but UVM_MM_INIT, and out of UVM_MM_ALIVE.
 * Returns true to the one caller who has to run the shutdown. From here on nobody
 * retains the mm, registers a GPU or creates a channel.
 */
static bool uvm_mm_begin_shutdown(struct uvm_va_space *vs)
{
	enum uvm_mm_state was;

	down_write(&vs->lock);
	was = vs->mm_state;
	if (was == UVM_MM_UNINITIALIZED)
		uvm_mm_set_state(vs, UVM_MM_RELEASED);
	else if (was == UVM_MM_ALIVE)
		uvm_mm_set_state(vs, UVM_MM_RELEASING);
	up_write(&vs->lock);
	if (was == UVM_MM_UNINITIALIZED)
		complete_all(&vs->mm_down);
	return was == UVM_MM_ALIVE;
}

/* Nobody retains the mm. What is left is mmput(), which may take as long as it likes. */
static void uvm_mm_unpin(struct uvm_va_space *vs)
{
	spin_lock(&vs->umm->pin_lock);
	vs->umm->pins--;
	spin_unlock(&vs->umm->pin_lock);
	uvm_mm_step(vs, UVM_MM_STEP_MMPUT);
}

static void uvm_mm_drain_work(struct work_struct *work)
{
	struct uvm_va_space *vs =
		container_of(work, struct uvm_va_space, drain_work);

	/* The last uvm_mm_release() may still be inside the lock. */
	spin_lock(&vs->mm_lock);
	spin_unlock(&vs->mm_lock);
	uvm_mm_step(vs, UVM_MM_STEP_DRAIN);
	uvm_mm_unpin(vs);
	mmput_async(vs->mm);
	fput(vs->filp);
}

/*
 * Waits for the retainers, with @wait, or makes the last of them see to the rest.
 * Returns true if there are none.
 */
static bool uvm_mm_drain(struct uvm_va_space *vs, bool wait)
{
	bool idle;

	if (wait)
		wait_event_timeout(vs->mm_idle, !READ_ONCE(vs->retainers),
				   msecs_to_jiffies(UVM_MM_DRAIN_MS));
	/* The last uvm_mm_release() may still be inside the lock. */
	spin_lock(&vs->mm_lock);
	idle = !vs->retainers;
	if (!idle) {
		get_file(vs->filp);
		vs->drain_late = true;
	}
	spin_unlock(&vs->mm_lock);
	return idle;
}

/*
 * Its caller keeps the VA space's file, and is the only one. Whoever waits for the
 * shutdown doesn't wait for the end of the mm. Without @wait nor does the caller, who
 * may be a worker that others need; nor for retainers.
 */
static void uvm_mm_run_shutdown(struct uvm_va_space *vs, bool wait)
{
	bool idle;

	uvm_mm_step(vs, UVM_MM_STEP_REFUSE);
	uvm_gpu_spaces_stop(vs);
	uvm_mm_set_state(vs, UVM_MM_RELEASED);
	uvm_mm_step(vs, UVM_MM_STEP_RELEASED);
	uvm_gpu_spaces_free(vs);
	uvm_mm_step(vs, UVM_MM_STEP_FREE);
	idle = uvm_mm_drain(vs, wait);
	if (idle) {
		uvm_mm_step(vs, UVM_MM_STEP_DRAIN);
		uvm_mm_unpin(vs);
	}
	complete_all(&vs->mm_down);
	if (idle && wait)
		mmput(vs->mm);
	else if (idle)
		mmput_async(vs->mm);
}

/* The caller keeps the VA space's file. The mm is released when it returns. */
static void uvm_mm_shutdown(struct uvm_va_space *vs, bool wait)
{
	if (uvm_mm_begin_shutdown(vs))
		uvm_mm_run_shutdown(vs, wait);
	else
		wait_for_completion(&vs->mm_down);
}

static void uvm_mm_shutdown_work(struct work_struct *work)
{
	struct uvm_va_space *vs =
		container_of(work, struct uvm_va_space, shutdown_work);

	uvm_mm_run_shutdown(vs, false);
	fput(vs->filp);
}

static bool uvm_mm_is_abandoned(struct uvm_va_space *vs)
{
	struct uvm_mm *umm = vs->umm;
	bool abandoned;

	spin_lock(&umm->pin_lock);
	abandoned = umm->pins && atomic_read(&vs->mm->mm_users) == umm->pins;
	spin_unlock(&umm->pin_lock);
	return abandoned;
}

/**
 * uvm_mm_check_abandoned() - release an mm that nobody has but us
 * @vs: the VA space, whose file the caller keeps, or whose mm it retains
 *
 * A task that has the mm holds mm_users, so once there are only those of our mm
 * files there never will be a task again. Others who hold some, without a task, make
 * this miss it; there will be a next time. Doesn't wait for the shutdown.
 */
void uvm_mm_check_abandoned(struct uvm_va_space *vs)
{
	if (!vs->mm || uvm_mm_releasing(vs) || !uvm_mm_is_abandoned(vs) ||
	    !uvm_mm_begin_shutdown(vs))
		return;
	get_file(vs->filp);
	queue_work(uvm_release_wq, &vs->shutdown_work);
}

static struct mmu_notifier *uvm_mm_alloc_notifier(struct mm_struct *mm)
{
	struct uvm_mm *umm = kzalloc(sizeof(*umm), GFP_KERNEL_ACCOUNT);

	if (!umm)
		return ERR_PTR(-ENOMEM);
	mutex_init(&umm->lock);
	INIT_LIST_HEAD(&umm->spaces);
	uvm_zaps_init(&umm->zaps);
	spin_lock_init(&umm->pin_lock);
	return &umm->mn;
}

static void uvm_mm_free_notifier(struct mmu_notifier *mn)
{
	struct uvm_mm *umm = uvm_mm_of_notifier(mn);

	mutex_destroy(&umm->lock);
	kfree(umm);
}

/*
 * Core mm takes all locks of the mm to add a notifier, and doesn't while a signal is
 * pending. Nothing was changed, so once it is handled the call begins anew.
 */
static int uvm_mm_attach_error(int ret)
{
	if (ret == -EINTR && !fatal_signal_pending(current))
		return restart_syscall();
	return ret;
}

/* A VA space that is alive holds mm_users: there is none in such an mm. */
static void uvm_mm_notifier_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct uvm_mm *umm = uvm_mm_of_notifier(mn);
	struct uvm_va_space *vs;

	mutex_lock(&umm->lock);
	list_for_each_entry(vs, &umm->spaces, mm_link)
		WARN_ON_ONCE(uvm_mm_begin_shutdown(vs));
	mutex_unlock(&umm->lock);
}

/* It never refuses: it couldn't, as it wants to hear of the end. */
static int uvm_mm_invalidate_start(struct mmu_notifier *mn,
				   const struct mmu_notifier_range *range)
{
	uvm_zaps_began(&uvm_mm_of_notifier(mn)->zaps, range);
	return 0;
}

static void uvm_mm_invalidate_end(struct mmu_notifier *mn,
				  const struct mmu_notifier_range *range)
{
	uvm_zaps_ended(&uvm_mm_of_notifier(mn)->zaps, range);
}

static const struct mmu_notifier_ops uvm_mm_notifier_ops = {
	.alloc_notifier = uvm_mm_alloc_notifier,
	.free_notifier = uvm_mm_free_notifier,
	.release = uvm_mm_notifier_release,
	.invalidate_range_start = uvm_mm_invalidate_start,
	.invalidate_range_end = uvm_mm_invalidate_end,
};

static int uvm_mm_join(struct uvm_va_space *vs, struct uvm_mm *umm, struct mm_struct *mm)
{
	int ret = 0;

	mutex_lock(&umm->lock);
	if (list_empty(&umm->spaces))
		ret = uvm_zaps_watch(&umm->zaps, mm);
	if (!ret)
		list_add_tail(&vs->mm_link, &umm->spaces);
	mutex_unlock(&umm->lock);
	return ret;
}

static void uvm_mm_part(struct uvm_va_space *vs)
{
	struct uvm_mm *umm = vs->umm;

	mutex_lock(&umm->lock);
	list_del(&vs->mm_link);
	if (list_empty(&umm->spaces))
		uvm_zaps_unwatch(&umm->zaps);
	mutex_unlock(&umm->lock);
}

/**
 * uvm_mm_attach() - bind a new VA space to an mm
 * @vs: nobody else knows it
 * @mm: the caller's, or NULL for none
 *
 * Return: 0, -ENOMEM, -EINTR if killed, or what makes the system call begin anew.
 */
int uvm_mm_attach(struct uvm_va_space *vs, struct mm_struct *mm)
{
	struct mmu_notifier *mn;
	int ret;

	spin_lock_init(&vs->mm_lock);
	init_waitqueue_head(&vs->mm_idle);
	init_completion(&vs->mm_down);
	INIT_WORK(&vs->shutdown_work, uvm_mm_shutdown_work);
	INIT_WORK(&vs->drain_work, uvm_mm_drain_work);
	if (!mm)
		return 0;

	mn = mmu_notifier_get(&uvm_mm_notifier_ops, mm);
	if (IS_ERR(mn))
		return uvm_mm_attach_error(PTR_ERR(mn));
	ret = mmu_interval_notifier_insert(&vs->snapshot, mm, 0, PAGE_SIZE,
					   &uvm_snapshot_ops);
	if (ret)
		goto err_put;
	ret = uvm_mm_join(vs, uvm_mm_of_notifier(mn), mm);
	if (ret)
		goto err_snapshot;
	mmgrab(mm);
	vs->mm = mm;
	vs->mm_state = UVM_MM_UNINITIALIZED;
	vs->umm = uvm_mm_of_notifier(mn);
	return 0;

err_snapshot:
	mmu_interval_notifier_remove(&vs->snapshot);
err_put:
	mmu_notifier_put(mn);
	return uvm_mm_attach_error(ret);
}

/**
 * uvm_mm_detach() - undo uvm_mm_attach()
 * @vs: its mm is released, or never was alive
 *
 * Waits for a notifier under way. What memory of @vs it looks at stays until the VA
 * space is freed.
 */
void uvm_mm_detach(struct uvm_va_space *vs)
{
	if (!vs->mm)
		return;
	uvm_mm_part(vs);
	mmu_interval_notifier_remove(&vs->snapshot);
	mmu_notifier_put(&vs->umm->mn);
	mmdrop(vs->mm);
}

static void uvm_mm_pin(struct uvm_va_space *vs)
{
	spin_lock(&vs->umm->pin_lock);
	mmget(vs->mm);
	vs->umm->pins++;
	spin_unlock(&vs->umm->pin_lock);
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
	uvm_mm_pin(vs);
	uvm_mm_set_state(vs, UVM_MM_ALIVE);
	file->va_file = va_file;
	file->vs = vs;
	file->owner = current->files;
	/* Pairs with uvm_file_kind(). */
	smp_store_release(&file->kind, UVM_FILE_MM);
	ret = 0;
out:
	up_write(&vs->lock);
	mutex_unlock(&file->lock);
	return ret;
}

static int uvm_mm_is_file(const void *filp, struct file *file, unsigned int fd)
{
	return file == filp;
}

/*
 * Somebody may have closed the descriptor while UVM_MM_INIT was under way, on a file
 * that was none of ours to end then. Who closes it from here on ends it.
 */
static bool uvm_mm_is_open(struct file *filp)
{
	return iterate_fd(current->files, 0, uvm_mm_is_file, filp);
}

static int uvm_mm_may_link(struct file *va_file)
{
	struct uvm_file *va;

	if (va_file->f_op != &uvm_fops)
		return -EBADF;
	va = va_file->private_data;
	if (uvm_file_kind(va) != UVM_FILE_VA_SPACE)
		return -EBADFD;
	if (!va->vs->mm)
		return -EOPNOTSUPP;
	return va->vs->mm == current->mm ? 0 : -EPERM;
}

/**
 * uvm_mm_init_ioctl() - UVM_MM_INIT
 * @ucmd: on a fresh file
 *
 * Return: 0, -EBADF, -EBADFD, -EPERM, -EOPNOTSUPP. -EBADF also if this file was closed
 * meanwhile: then it is a closed mm file.
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
	ret = uvm_mm_may_link(va_file);
	if (ret)
		goto err_put;
	uvm_delay(UVM_DELAY_LINK);
	va = va_file->private_data;
	ret = uvm_mm_link(ucmd->file, va_file, va->vs);
	if (ret)
		goto err_put;
	if (!uvm_mm_is_open(ucmd->filp)) {
		uvm_mm_shutdown(va->vs, true);
		return -EBADF;
	}
	return 0;

err_put:
	fput(va_file);
	return ret;
}

/**
 * uvm_mm_file_flush() - somebody closes a descriptor of an mm file
 * @file: the mm file
 * @id: the files_struct that it is closed in
 */
void uvm_mm_file_flush(struct uvm_file *file, fl_owner_t id)
{
	if (id && file->owner == id)
		uvm_mm_shutdown(file->vs, true);
}

/**
 * uvm_mm_file_release() - the last reference to an mm file is gone
 * @file: the mm file
 */
void uvm_mm_file_release(struct uvm_file *file)
{
	uvm_mm_shutdown(file->vs, false);
	uvm_mm_step(file->vs, UVM_MM_STEP_PUT);
	fput(file->va_file);
}
