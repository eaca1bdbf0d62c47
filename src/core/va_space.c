// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: VA spaces
 *
 * Owns &struct uvm_va_space and the GPUs registered in it. A VA space lives as
 * long as its file; the mm file holds that file, so a VA space always goes after
 * its mm was released.
 *
 * &uvm_va_space.lock protects the tables of GPU spaces and channels. It is held
 * to look up and to publish, never across an op of a backend or a wait: what is
 * taken out of a table under it is torn down after it is dropped.
 *
 * A GPU space is published only when it can't fail any more, and is shut down
 * once: by UVM_UNREGISTER_GPU, which takes it out of the table first, or by the
 * release of the mm, after which nobody can add one. Shut down, it stays in the
 * table until it is unregistered or the VA space goes. &uvm_va_space.teardown
 * keeps these two apart; whoever holds it may walk the GPU spaces without the
 * lock, since only a holder takes one out.
 */
#include "core.h"

#include <linux/sched/mm.h>
#include <linux/slab.h>

/**
 * uvm_init_ioctl() - UVM_INIT
 * @ucmd: on a fresh file
 *
 * Return: 0, -EBADFD, -ENOMEM.
 */
int uvm_init_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_file *file = ucmd->file;
	struct uvm_va_space *vs;
	int ret;

	vs = kzalloc(sizeof(*vs), GFP_KERNEL_ACCOUNT);
	if (!vs)
		return -ENOMEM;
	mutex_init(&vs->teardown);
	init_rwsem(&vs->lock);
	xa_init(&vs->gpu_spaces);
	xa_init_flags(&vs->channels, XA_FLAGS_ALLOC1);
	spin_lock_init(&vs->mm_lock);
	init_waitqueue_head(&vs->mm_idle);
	vs->mm = current->mm;

	mmgrab(vs->mm);
	ret = mmu_interval_notifier_insert(&vs->snapshot, vs->mm, 0, PAGE_SIZE,
					   &uvm_snapshot_ops);
	if (ret)
		goto err_mm;

	mutex_lock(&file->lock);
	if (file->kind != UVM_FILE_FRESH) {
		mutex_unlock(&file->lock);
		ret = -EBADFD;
		goto err_notifier;
	}
	file->vs = vs;
	/* Pairs with uvm_file_kind(). */
	smp_store_release(&file->kind, UVM_FILE_VA_SPACE);
	mutex_unlock(&file->lock);
	return 0;

err_notifier:
	mmu_interval_notifier_remove(&vs->snapshot);
err_mm:
	mmdrop(vs->mm);
	kfree(vs);
	return ret;
}

struct uvm_gpu_space *uvm_gpu_space_find(struct uvm_va_space *vs, const u8 *uuid)
{
	struct uvm_gpu_space *gs;
	unsigned long id;

	lockdep_assert_held(&vs->lock);
	xa_for_each(&vs->gpu_spaces, id, gs)
		if (!memcmp(gs->gpu->desc.uuid, uuid, UVM_UUID_LEN))
			return gs;
	return NULL;
}

/*
 * A reference to the GPU @uuid if it is registered here; -ENOENT if it isn't, and
 * -ENODEV if there is none.
 */
struct uvm_gpu *uvm_va_space_get_gpu(struct uvm_va_space *vs, const u8 *uuid)
{
	struct uvm_gpu *gpu = uvm_gpu_get(uuid);
	struct uvm_gpu_space *gs;
	bool registered;

	if (!gpu)
		return ERR_PTR(-ENODEV);
	down_read(&vs->lock);
	gs = uvm_gpu_space_find(vs, uuid);
	registered = gs && gs->gpu == gpu;
	up_read(&vs->lock);
	if (!registered) {
		uvm_gpu_put(gpu);
		return ERR_PTR(-ENOENT);
	}
	return gpu;
}

void uvm_gpu_space_put(struct uvm_gpu_space *gs)
{
	if (refcount_dec_and_test(&gs->users))
		complete(&gs->idle);
}

static struct uvm_gpu_space *uvm_gpu_space_create(struct uvm_va_space *vs,
						  struct uvm_gpu *gpu)
{
	struct uvm_gpu_space *gs;
	int ret;

	gs = kzalloc(sizeof(*gs), GFP_KERNEL_ACCOUNT);
	if (!gs)
		return ERR_PTR(-ENOMEM);
	gs->vs = vs;
	gs->gpu = gpu;
	refcount_set(&gs->users, 1);
	init_completion(&gs->idle);
	mutex_init(&gs->notifier_lock);
	xa_init(&gs->spans);
	xa_init(&gs->channels);

	/* The notifier runs under reclaim: make lockdep see that at once. */
	fs_reclaim_acquire(GFP_KERNEL);
	might_lock(&gs->notifier_lock);
	fs_reclaim_release(GFP_KERNEL);

	gs->faults = uvm_fault_queue_alloc(gs);
	if (!gs->faults) {
		ret = -ENOMEM;
		goto err_free;
	}
	gs->as = gpu->desc.ops->as_create(gpu, uvm_next_id());
	if (IS_ERR(gs->as)) {
		ret = PTR_ERR(gs->as);
		goto err_faults;
	}
	gs->as->gpu = gpu;
	ret = xa_err(xa_store(&gpu->spaces, gs->as->id, gs, GFP_KERNEL_ACCOUNT));
	if (ret)
		goto err_as;
	return gs;

err_as:
	gpu->desc.ops->as_destroy(gs->as);
err_faults:
	uvm_fault_queue_free(gs->faults);
err_free:
	kfree(gs);
	return ERR_PTR(ret);
}

/*
 * Ends all GPU access to the VA space. Idempotent. The caller made sure that no
 * channel can be published any more.
 *
 * First the last user leaves: the fault work, and whoever creates a channel,
 * which it then kills itself. What faults from here on names an address space that
 * isn't found, and is dropped. Then the channels stop, and only then, when no
 * access is under way, the page tables go.
 */
static void uvm_gpu_space_shutdown(struct uvm_gpu_space *gs)
{
	struct uvm_channel *ch;
	unsigned long id;

	lockdep_assert_held(&gs->vs->teardown);
	if (!gs->as)
		return;
	xa_erase(&gs->gpu->spaces, gs->as->id);
	uvm_gpu_space_put(gs);
	wait_for_completion(&gs->idle);
	xa_for_each(&gs->channels, id, ch)
		uvm_channel_kill(ch);
	uvm_mirror_shutdown(gs);
	gs->gpu->desc.ops->as_destroy(gs->as);
	gs->as = NULL;
}

static void uvm_gpu_space_destroy(struct uvm_gpu_space *gs)
{
	uvm_gpu_space_shutdown(gs);
	uvm_fault_queue_free(gs->faults);
	xa_destroy(&gs->channels);
	uvm_gpu_put(gs->gpu);
	mutex_destroy(&gs->notifier_lock);
	kfree(gs);
}

static int uvm_gpu_space_publish(struct uvm_gpu_space *gs)
{
	struct uvm_va_space *vs = gs->vs;
	int ret;

	down_write(&vs->lock);
	if (uvm_mm_releasing(vs))
		ret = -ESRCH;
	else
		ret = xa_insert(&vs->gpu_spaces, gs->gpu->id, gs,
				GFP_KERNEL_ACCOUNT);
	up_write(&vs->lock);
	return ret == -EBUSY ? -EEXIST : ret;
}

/**
 * uvm_register_gpu_ioctl() - UVM_REGISTER_GPU
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -ENODEV, -EEXIST, -ESRCH, -ENOMEM.
 */
int uvm_register_gpu_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_register_gpu *cmd = ucmd->cmd;
	struct uvm_gpu_space *gs;
	struct uvm_gpu *gpu;
	bool registered;
	int ret;

	gpu = uvm_gpu_get(cmd->uuid);
	if (!gpu)
		return -ENODEV;
	down_read(&ucmd->vs->lock);
	registered = uvm_gpu_space_find(ucmd->vs, cmd->uuid);
	up_read(&ucmd->vs->lock);
	if (registered) {
		ret = -EEXIST;
		goto err_gpu;
	}
	gs = uvm_gpu_space_create(ucmd->vs, gpu);
	if (IS_ERR(gs)) {
		ret = PTR_ERR(gs);
		goto err_gpu;
	}
	cmd->out_numa_enabled = uvm_gpu_is_numa(gpu);
	cmd->out_numa_node = uvm_gpu_is_numa(gpu) ? gpu->desc.numa_node :
						    NUMA_NO_NODE;
	ret = uvm_gpu_space_publish(gs);
	if (ret) {
		mutex_lock(&ucmd->vs->teardown);
		uvm_gpu_space_destroy(gs);
		mutex_unlock(&ucmd->vs->teardown);
	}
	return ret;

err_gpu:
	uvm_gpu_put(gpu);
	return ret;
}

/* Takes the channels of @gs out of the table that user space sees. */
static void uvm_gpu_space_unlist_channels(struct uvm_gpu_space *gs,
					  struct list_head *list)
{
	struct uvm_va_space *vs = gs->vs;
	struct uvm_channel *ch;
	unsigned long id;

	lockdep_assert_held_write(&vs->lock);
	xa_for_each(&vs->channels, id, ch) {
		if (ch->gs != gs)
			continue;
		xa_erase(&vs->channels, id);
		vs->nr_channels--;
		list_add(&ch->link, list);
	}
}

/* Unregisters @gs: out of the tables, then down, then gone. */
static void uvm_gpu_space_remove(struct uvm_gpu_space *gs)
{
	struct uvm_va_space *vs = gs->vs;
	struct uvm_channel *ch, *next;
	LIST_HEAD(channels);

	lockdep_assert_held(&vs->teardown);
	down_write(&vs->lock);
	xa_erase(&vs->gpu_spaces, gs->gpu->id);
	uvm_gpu_space_unlist_channels(gs, &channels);
	up_write(&vs->lock);

	list_for_each_entry_safe(ch, next, &channels, link) {
		uvm_channel_kill(ch);
		uvm_channel_put(ch);
	}
	uvm_gpu_space_destroy(gs);
}

/**
 * uvm_unregister_gpu_ioctl() - UVM_UNREGISTER_GPU
 * @ucmd: on a VA space, also one whose mm was released
 *
 * Return: 0, -ENOENT.
 */
int uvm_unregister_gpu_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_unregister_gpu *cmd = ucmd->cmd;
	struct uvm_va_space *vs = ucmd->vs;
	struct uvm_gpu_space *gs;

	mutex_lock(&vs->teardown);
	down_read(&vs->lock);
	gs = uvm_gpu_space_find(vs, cmd->uuid);
	up_read(&vs->lock);
	if (gs)
		uvm_gpu_space_remove(gs);
	mutex_unlock(&vs->teardown);
	return gs ? 0 : -ENOENT;
}

/*
 * The mm is being released, so nobody adds GPU spaces or channels any more: end
 * all GPU access to it.
 */
void uvm_va_space_shutdown_gpus(struct uvm_va_space *vs)
{
	struct uvm_gpu_space *gs;
	unsigned long id;

	mutex_lock(&vs->teardown);
	xa_for_each(&vs->gpu_spaces, id, gs)
		uvm_gpu_space_shutdown(gs);
	mutex_unlock(&vs->teardown);
}

/* The VA space's file is gone, and the mm file went before it. */
void uvm_va_space_destroy(struct uvm_va_space *vs)
{
	struct uvm_gpu_space *gs;
	unsigned long id;

	mutex_lock(&vs->teardown);
	xa_for_each(&vs->gpu_spaces, id, gs)
		uvm_gpu_space_remove(gs);
	mutex_unlock(&vs->teardown);
	mmu_interval_notifier_remove(&vs->snapshot);
	mmdrop(vs->mm);
	xa_destroy(&vs->gpu_spaces);
	xa_destroy(&vs->channels);
	mutex_destroy(&vs->teardown);
	kfree(vs);
}
