// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: GPU spaces
 *
 * Owns the GPUs that are registered in VA spaces.
 *
 * &uvm_va_space.lock protects the tables of GPU spaces and channels. It is held
 * to look up and to publish, never across an op of a backend or a wait: what is
 * taken out of a table under it is torn down after it is dropped.
 *
 * A GPU space is published only when it can't fail any more. It goes down once, step
 * by step: its channels stop; it is detached, so that nobody new works with its GPU
 * and those who do have left; the fault buffer is emptied; nothing stays mapped; and
 * what the backend holds for it is freed. That is begun by UVM_UNREGISTER_GPU, by the
 * release of the mm, by the GPU going away or by the end of the VA space;
 * &uvm_va_space.teardown keeps them apart, and each step is done once, by whoever
 * comes to it first. After the release of the mm it stays in the table, empty, until
 * one of the others takes it out. Whoever holds the mutex may walk the GPU spaces
 * without the lock, since only a holder takes one out.
 *
 * Who works with the GPU of a GPU space enters it, and leaves it before he waits for
 * anything that user space has in hand, a page fault above all: so the teardown waits
 * for no user. After such a wait he enters again, or finds that there is nothing left
 * to enter.
 */
#include "core.h"

#include <linux/sched/mm.h>
#include <linux/slab.h>

/**
 * uvm_gpu_space_enter() - work with the GPU
 * @gs: GPU space that the caller holds a reference to
 *
 * Return: true, to be ended by uvm_gpu_space_leave() soon; false if the GPU space is
 * going down: nothing of it may be touched but &uvm_gpu_space.ref.
 */
bool uvm_gpu_space_enter(struct uvm_gpu_space *gs)
{
	return !READ_ONCE(gs->dying) && refcount_inc_not_zero(&gs->users);
}

void uvm_gpu_space_leave(struct uvm_gpu_space *gs)
{
	if (refcount_dec_and_test(&gs->users))
		complete(&gs->idle);
}

static void uvm_gpu_space_free(struct kref *ref)
{
	struct uvm_gpu_space *gs = container_of(ref, struct uvm_gpu_space, ref);

	uvm_mirror_free(gs);
	uvm_fault_queue_free(gs->faults);
	uvm_thrash_fini(&gs->thrash);
	xa_destroy(&gs->channels);
	mutex_destroy(&gs->notifier_lock);
	kfree(gs);
}

void uvm_gpu_space_put(struct uvm_gpu_space *gs)
{
	kref_put(&gs->ref, uvm_gpu_space_free);
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

/**
 * uvm_gpu_space_get() - find and enter
 * @vs: the VA space
 * @uuid: the GPU
 *
 * Return: the GPU space, with a reference and entered; or an ERR_PTR: -ENODEV if
 * there is no such GPU, -ESRCH if the mm is released, -ENOENT if it isn't registered.
 */
struct uvm_gpu_space *uvm_gpu_space_get(struct uvm_va_space *vs, const u8 *uuid)
{
	struct uvm_gpu_space *gs;

	if (!uvm_gpu_present(uuid))
		return ERR_PTR(-ENODEV);
	down_read(&vs->lock);
	gs = uvm_gpu_space_find(vs, uuid);
	if (gs && uvm_gpu_space_enter(gs))
		kref_get(&gs->ref);
	else
		gs = ERR_PTR(uvm_mm_releasing(vs) ? -ESRCH : -ENOENT);
	up_read(&vs->lock);
	return gs;
}

static struct uvm_gpu_space *uvm_gpu_space_alloc(struct uvm_va_space *vs,
						 struct uvm_gpu *gpu)
{
	struct uvm_gpu_space *gs = kzalloc(sizeof(*gs), GFP_KERNEL_ACCOUNT);

	if (!gs)
		return NULL;
	kref_init(&gs->ref);
	gs->vs = vs;
	gs->gpu = gpu;
	refcount_set(&gs->users, 1);
	init_completion(&gs->idle);
	mutex_init(&gs->notifier_lock);
	xa_init(&gs->spans);
	xa_init(&gs->channels);
	INIT_LIST_HEAD(&gs->event.link);
	uvm_thrash_init(&gs->thrash, gs);

	/* The notifier runs under reclaim: make lockdep see that at once. */
	fs_reclaim_acquire(GFP_KERNEL);
	might_lock(&gs->notifier_lock);
	fs_reclaim_release(GFP_KERNEL);

	gs->faults = uvm_fault_queue_alloc(gs);
	if (!gs->faults) {
		mutex_destroy(&gs->notifier_lock);
		kfree(gs);
		return NULL;
	}
	return gs;
}

/* So many works of a VA space may hang in page faults before its others wait. */
#define UVM_FAULT_WORKS		8

/* The first GPU makes the workqueue. */
static int uvm_gpu_space_need_wq(struct uvm_va_space *vs)
{
	struct workqueue_struct *wq;

	if (READ_ONCE(vs->fault_wq))
		return 0;
	wq = alloc_workqueue("uvm_fault", WQ_UNBOUND | WQ_HIGHPRI, UVM_FAULT_WORKS);
	if (!wq)
		return -ENOMEM;
	if (cmpxchg(&vs->fault_wq, NULL, wq))
		destroy_workqueue(wq);
	return 0;
}

/* No more pages go to the GPU through it. Notifiers may still come, and ask for it. */
static void uvm_gpu_space_leave_memory(struct uvm_gpu_space *gs)
{
	struct uvm_tenant *tenant;

	mutex_lock(&gs->notifier_lock);
	tenant = gs->tenant;
	gs->tenant = NULL;
	mutex_unlock(&gs->notifier_lock);
	if (tenant)
		uvm_tenant_leave(tenant);
}

/* Takes over the reference to @gpu on success. */
static struct uvm_gpu_space *uvm_gpu_space_create(struct uvm_va_space *vs,
						  struct uvm_gpu *gpu)
{
	const struct uvm_gpu_ops *ops = gpu->desc.ops;
	struct uvm_gpu_space *gs;
	int ret;

	ret = uvm_gpu_space_need_wq(vs);
	if (ret)
		return ERR_PTR(ret);
	gs = uvm_gpu_space_alloc(vs, gpu);
	if (!gs)
		return ERR_PTR(-ENOMEM);
	gs->as = ops->as_create(gpu, uvm_next_id());
	if (IS_ERR(gs->as)) {
		ret = PTR_ERR(gs->as);
		goto err_put;
	}
	gs->as->gpu = gpu;
	if (vs->mm && !uvm_gpu_is_numa(gpu)) {
		gs->tenant = uvm_tenant_join(gpu, vs->mm);
		ret = gs->tenant ? 0 : -ENOMEM;
		if (ret)
			goto err_as;
	}
	ret = xa_err(xa_store(&gpu->spaces, gs->as->id, gs, GFP_KERNEL_ACCOUNT));
	if (ret)
		goto err_tenant;
	return gs;

err_tenant:
	uvm_gpu_space_leave_memory(gs);
err_as:
	ops->as_destroy(gs->as);
err_put:
	uvm_gpu_space_put(gs);
	return ERR_PTR(ret);
}

/* Nothing runs on the GPU any more. */
static void uvm_gpu_space_stop(struct uvm_gpu_space *gs)
{
	struct uvm_channel *ch;
	unsigned long id = 0;

	lockdep_assert_held(&gs->vs->teardown);
	while ((ch = uvm_channel_next(gs, &id))) {
		uvm_channel_stop(ch);
		uvm_channel_put(ch);
	}
}

/*
 * Nobody works with the GPU any more: the fault work, a migration, whoever creates a
 * channel (which he then kills himself). What faults from here on names an address
 * space that isn't found, and is dropped.
 */
static void uvm_gpu_space_detach(struct uvm_gpu_space *gs)
{
	lockdep_assert_held(&gs->vs->teardown);
	if (gs->detached)
		return;
	/* Without it, some could enter as long as others have not left. */
	WRITE_ONCE(gs->dying, true);
	xa_erase(&gs->gpu->spaces, gs->as->id);
	uvm_gpu_space_leave(gs);
	wait_for_completion(&gs->idle);
	uvm_thrash_stop(&gs->thrash);
	uvm_counter_set(gs, false);
	uvm_memory_event_end(gs);
	uvm_gpu_space_leave_memory(gs);
	gs->detached = true;
}

/* The GPU can't reach any memory through this address space any more. */
static void uvm_gpu_space_unmap(struct uvm_gpu_space *gs)
{
	lockdep_assert_held(&gs->vs->teardown);
	if (gs->unmapped)
		return;
	uvm_mirror_shutdown(gs);
	gs->unmapped = true;
}

/**
 * uvm_gpu_space_by_as() - find and enter, for what the GPU reports
 * @gpu: the GPU
 * @id: &uvm_gpu_as.id
 *
 * Return: the GPU space, with a reference and entered; or NULL.
 */
struct uvm_gpu_space *uvm_gpu_space_by_as(struct uvm_gpu *gpu, u64 id)
{
	struct uvm_gpu_space *gs;

	xa_lock(&gpu->spaces);
	gs = xa_load(&gpu->spaces, id);
	if (gs && uvm_gpu_space_enter(gs))
		kref_get(&gs->ref);
	else
		gs = NULL;
	xa_unlock(&gpu->spaces);
	return gs;
}

/* The backend has nothing of it any more. */
static void uvm_gpu_space_destroy_hw(struct uvm_gpu_space *gs)
{
	struct uvm_channel *ch;
	unsigned long id = 0;

	lockdep_assert_held(&gs->vs->teardown);
	if (!gs->as)
		return;
	while ((ch = uvm_channel_next(gs, &id))) {
		uvm_channel_kill(ch);
		uvm_channel_put(ch);
	}
	gs->gpu->desc.ops->as_destroy(gs->as);
	gs->as = NULL;
}

/* All of it, for one that is in no table. Drops the table's reference. */
static void uvm_gpu_space_destroy(struct uvm_gpu_space *gs)
{
	uvm_gpu_space_stop(gs);
	uvm_gpu_space_detach(gs);
	uvm_fault_flush(gs->gpu);
	uvm_gpu_space_unmap(gs);
	uvm_gpu_space_destroy_hw(gs);
	uvm_gpu_put(gs->gpu);
	uvm_gpu_space_put(gs);
}

static int uvm_gpu_space_may_publish(struct uvm_gpu_space *gs)
{
	struct uvm_va_space *vs = gs->vs;
	struct uvm_gpu_space *other;
	unsigned long id;

	lockdep_assert_held_write(&vs->lock);
	if (uvm_mm_releasing(vs))
		return -ESRCH;
	if (READ_ONCE(gs->gpu->dead))
		return -ENODEV;
	xa_for_each(&vs->gpu_spaces, id, other) {
		if (other->gpu == gs->gpu)
			return -EEXIST;
		if (!uvm_gpus_mix(other->gpu, gs->gpu))
			return -EOPNOTSUPP;
	}
	return 0;
}

static unsigned int uvm_gpu_space_free_slot(struct uvm_va_space *vs)
{
	struct uvm_gpu_space *gs;
	unsigned long id;
	u64 used = 0;

	lockdep_assert_held_write(&vs->lock);
	xa_for_each(&vs->gpu_spaces, id, gs)
		used |= BIT_ULL(gs->slot);
	return ffz(used);
}

static int uvm_gpu_space_publish(struct uvm_gpu_space *gs)
{
	struct uvm_va_space *vs = gs->vs;
	int ret;

	uvm_delay(UVM_DELAY_REGISTER);
	down_write(&vs->lock);
	ret = uvm_gpu_space_may_publish(gs);
	gs->slot = uvm_gpu_space_free_slot(vs);
	if (!ret)
		ret = xa_insert(&vs->gpu_spaces, gs->gpu->id, gs,
				GFP_KERNEL_ACCOUNT);
	up_write(&vs->lock);
	return ret;
}

/**
 * uvm_register_gpu_ioctl() - UVM_REGISTER_GPU
 * @ucmd: on a VA space whose mm is retained, if it has one
 *
 * Return: 0, -ENODEV, -EEXIST, -EOPNOTSUPP, -ESRCH, -ENOMEM.
 */
int uvm_register_gpu_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_register_gpu *cmd = ucmd->cmd;
	struct uvm_va_space *vs = ucmd->vs;
	struct uvm_gpu_space *gs;
	struct uvm_gpu *gpu;
	int ret;

	gpu = uvm_gpu_get(cmd->uuid);
	if (!gpu)
		return -ENODEV;
	gs = uvm_gpu_space_create(vs, gpu);
	if (IS_ERR(gs)) {
		uvm_gpu_put(gpu);
		return PTR_ERR(gs);
	}
	cmd->out_numa_enabled = uvm_gpu_is_numa(gpu);
	cmd->out_numa_node = uvm_gpu_is_numa(gpu) ? gpu->desc.numa_node :
						    NUMA_NO_NODE;
	ret = uvm_gpu_space_publish(gs);
	if (ret) {
		mutex_lock(&vs->teardown);
		uvm_gpu_space_destroy(gs);
		mutex_unlock(&vs->teardown);
	}
	return ret;
}

/* Out of the table of the VA space, where nobody finds it any more. */
static void uvm_gpu_space_unlist(struct uvm_gpu_space *gs)
{
	struct uvm_va_space *vs = gs->vs;

	lockdep_assert_held_write(&vs->lock);
	xa_erase(&vs->gpu_spaces, gs->gpu->id);
	/* Before anybody else gets the slot. */
	uvm_policies_forget_gpu(&vs->policies, gs->gpu->id, gs->slot);
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
		if (ch->gpu_id != gs->gpu->id)
			continue;
		xa_erase(&vs->channels, id);
		vs->nr_channels--;
		list_add(&ch->link, list);
	}
}

/* Out of the tables, then down, then gone; and so are its channels. */
static void uvm_gpu_space_remove(struct uvm_gpu_space *gs)
{
	struct uvm_va_space *vs = gs->vs;
	struct uvm_channel *ch, *next;
	LIST_HEAD(channels);

	lockdep_assert_held(&vs->teardown);
	down_write(&vs->lock);
	uvm_gpu_space_unlist(gs);
	uvm_gpu_space_unlist_channels(gs, &channels);
	up_write(&vs->lock);

	uvm_delay(UVM_DELAY_UNREGISTER);
	uvm_gpu_space_destroy(gs);
	list_for_each_entry_safe(ch, next, &channels, link)
		uvm_channel_put(ch);
}

/*
 * The same for a GPU that goes away. Its channels stay in the table, to be asked what
 * became of them.
 */
static void uvm_gpu_space_lose(struct uvm_gpu_space *gs)
{
	struct uvm_va_space *vs = gs->vs;
	struct uvm_channel *ch;
	unsigned long id;

	lockdep_assert_held(&vs->teardown);
	down_write(&vs->lock);
	uvm_gpu_space_unlist(gs);
	xa_for_each(&vs->channels, id, ch)
		if (ch->gpu_id == gs->gpu->id)
			uvm_channel_gpu_gone(ch);
	up_write(&vs->lock);
	uvm_gpu_space_destroy(gs);
}

/**
 * uvm_gpu_spaces_forget() - a GPU goes away
 * @gpu: dead, so no VA space registers it any more
 *
 * Bounded by the engines' time limits.
 */
void uvm_gpu_spaces_forget(struct uvm_gpu *gpu)
{
	struct uvm_gpu_space *gs;
	struct uvm_va_space *vs;
	u32 id = 0;

	while ((vs = uvm_va_space_next(&id))) {
		mutex_lock(&vs->teardown);
		/* Orders against whoever published it before it saw &uvm_gpu.dead. */
		down_read(&vs->lock);
		gs = xa_load(&vs->gpu_spaces, gpu->id);
		up_read(&vs->lock);
		if (gs)
			uvm_gpu_space_lose(gs);
		mutex_unlock(&vs->teardown);
		uvm_va_space_put(vs);
	}
}

static void uvm_gpu_space_forget_peer(struct uvm_gpu_space *gs,
				      const struct uvm_gpu *peer)
{
	lockdep_assert_held(&gs->vs->teardown);
	if (gs->gpu != peer && gs->gpu->desc.ops->peer_access && !gs->unmapped)
		uvm_mirror_unmap_all(gs);
}

/**
 * uvm_gpu_spaces_forget_peer() - no GPU reaches the memory of a peer any more
 * @peer: dead; whoever asked before that if it is a peer has written what he was to write
 *
 * All entries of whoever might have some there are taken away: which lead there nobody
 * remembers. Bounded by the engines' time limits.
 */
void uvm_gpu_spaces_forget_peer(struct uvm_gpu *peer)
{
	struct uvm_gpu_space *gs;
	struct uvm_va_space *vs;
	unsigned long index;
	u32 id = 0;

	while ((vs = uvm_va_space_next(&id))) {
		mutex_lock(&vs->teardown);
		xa_for_each(&vs->gpu_spaces, index, gs)
			uvm_gpu_space_forget_peer(gs, peer);
		mutex_unlock(&vs->teardown);
		uvm_va_space_put(vs);
	}
}

/* Tells the id of the GPU whose pages are to come home, if it has any of its own. */
static int uvm_unregister_gpu(struct uvm_va_space *vs, const u8 *uuid, u32 *gpu_id)
{
	struct uvm_gpu_space *gs;
	int ret = 0;

	if (mutex_lock_killable(&vs->teardown))
		return -EINTR;
	down_read(&vs->lock);
	gs = uvm_gpu_space_find(vs, uuid);
	up_read(&vs->lock);
	if (gs) {
		*gpu_id = uvm_gpu_is_numa(gs->gpu) ? UVM_ANY_GPU : gs->gpu->id;
		uvm_gpu_space_remove(gs);
	} else {
		ret = uvm_gpu_present(uuid) ? -ENOENT : -ENODEV;
	}
	mutex_unlock(&vs->teardown);
	return ret;
}

/**
 * uvm_unregister_gpu_ioctl() - UVM_UNREGISTER_GPU
 * @ucmd: on a VA space, also one whose mm was released
 *
 * The pages come home when nobody of the VA space can bring new ones any more. The
 * caller is a task of the mm, so the mm need not be retained. Nor is the GPU, since
 * user space can make this wait for mmap_lock: its pages keep it where it matters.
 *
 * Return: 0, -ENOENT, -ENODEV, -EINTR, -ENOMEM.
 */
int uvm_unregister_gpu_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_unregister_gpu *cmd = ucmd->cmd;
	struct uvm_va_space *vs = ucmd->vs;
	unsigned long *pfns;
	u32 gpu_id;
	int ret;

	/* What could fail does so before anything is done. */
	pfns = kvmalloc_array(UVM_BLOCK_PAGES, sizeof(*pfns), GFP_KERNEL);
	if (!pfns)
		return -ENOMEM;
	ret = uvm_unregister_gpu(vs, cmd->uuid, &gpu_id);
	if (ret)
		goto out;
	cmd->out_moved = 0;
	cmd->out_left = 0;
	if (vs->mm && gpu_id != UVM_ANY_GPU)
		ret = uvm_evacuate_va_space(vs, gpu_id, pfns, &cmd->out_moved,
					    &cmd->out_left);
out:
	kvfree(pfns);
	return ret;
}

/**
 * uvm_gpu_spaces_stop() - end all GPU access to an mm
 * @vs: its VA space, where nobody registers a GPU or creates a channel any more
 *
 * Bounded by the engines' time limits. All GPUs take a step before any takes the next.
 */
void uvm_gpu_spaces_stop(struct uvm_va_space *vs)
{
	struct uvm_gpu_space *gs;
	unsigned long id;

	mutex_lock(&vs->teardown);
	xa_for_each(&vs->gpu_spaces, id, gs)
		uvm_gpu_space_stop(gs);
	uvm_mm_step(vs, UVM_MM_STEP_STOP);
	xa_for_each(&vs->gpu_spaces, id, gs)
		uvm_gpu_space_detach(gs);
	uvm_mm_step(vs, UVM_MM_STEP_DETACH);
	xa_for_each(&vs->gpu_spaces, id, gs)
		uvm_fault_flush(gs->gpu);
	uvm_mm_step(vs, UVM_MM_STEP_FLUSH);
	xa_for_each(&vs->gpu_spaces, id, gs)
		uvm_gpu_space_unmap(gs);
	uvm_mm_step(vs, UVM_MM_STEP_UNSET);
	mutex_unlock(&vs->teardown);
	/*
	 * Others took GPU spaces out of the table and down only under @teardown, so none
	 * is on its way any more.
	 */
	uvm_mm_step(vs, UVM_MM_STEP_DEFERRED);
}

/**
 * uvm_gpu_spaces_free() - free what the backends hold for a VA space
 * @vs: after uvm_gpu_spaces_stop()
 */
void uvm_gpu_spaces_free(struct uvm_va_space *vs)
{
	struct uvm_gpu_space *gs;
	unsigned long id;

	mutex_lock(&vs->teardown);
	xa_for_each(&vs->gpu_spaces, id, gs)
		uvm_gpu_space_destroy_hw(gs);
	mutex_unlock(&vs->teardown);
}

/**
 * uvm_gpu_spaces_remove() - unregister all GPUs
 * @vs: VA space whose file is gone
 */
void uvm_gpu_spaces_remove(struct uvm_va_space *vs)
{
	struct uvm_gpu_space *gs;
	unsigned long id;

	mutex_lock(&vs->teardown);
	xa_for_each(&vs->gpu_spaces, id, gs)
		uvm_gpu_space_remove(gs);
	mutex_unlock(&vs->teardown);
}
