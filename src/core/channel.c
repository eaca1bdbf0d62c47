// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Channels
 *
 * Owns &struct uvm_channel: what user space knows of a command queue, around the
 * backend's half of it.
 *
 * A channel runs until something stops it, once: a fault that can't be served, an
 * error of the GPU, or uvm_channel_kill(), which also frees the backend's half.
 * The rest stays, to be asked why, until it is destroyed or its GPU unregistered.
 * Completions come from the backend in any context, so they are an atomic and a
 * wake-up; they end before channel_destroy() returns.
 */
#include "core.h"

#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

/* Ids are never used twice, so nothing late can hit a stranger. */
u64 uvm_next_id(void)
{
	static atomic64_t next;

	return atomic64_inc_return(&next);
}

static void uvm_channel_free(struct kref *ref)
{
	struct uvm_channel *ch = container_of(ref, struct uvm_channel, ref);

	mutex_destroy(&ch->lock);
	kfree(ch);
}

void uvm_channel_put(struct uvm_channel *ch)
{
	kref_put(&ch->ref, uvm_channel_free);
}

static struct uvm_channel *uvm_channel_get(struct uvm_va_space *vs, u32 id)
{
	struct uvm_channel *ch;

	down_read(&vs->lock);
	ch = xa_load(&vs->channels, id);
	if (ch)
		kref_get(&ch->ref);
	up_read(&vs->lock);
	return ch;
}

/* The first cause stands; later ones are its consequences. */
static void uvm_channel_set_stopped(struct uvm_channel *ch, u32 state, u32 reason,
				    u32 access, u64 address)
{
	unsigned long flags;

	spin_lock_irqsave(&ch->stop_lock, flags);
	if (ch->state == UVM_CHANNEL_RUNNING) {
		ch->reason = reason;
		ch->access = access;
		ch->address = address;
		WRITE_ONCE(ch->state, state);
	}
	spin_unlock_irqrestore(&ch->stop_lock, flags);
	wake_up_all(&ch->wait);
}

/**
 * uvm_channel_complete() - the timeline reached a point
 * @channel: the backend's half
 * @point: as given to &uvm_gpu_ops.channel_submit; never lower than before
 *
 * Any context.
 */
void uvm_channel_complete(struct uvm_gpu_channel *channel, u64 point)
{
	struct uvm_channel *ch = channel->core;

	/* Whoever sees the point sees what the commands wrote. */
	atomic64_set_release(&ch->completed, point);
	wake_up_all(&ch->wait);
}
EXPORT_SYMBOL_GPL(uvm_channel_complete);

/**
 * uvm_channel_failed() - the GPU stopped a channel for an error of its own
 * @channel: the backend's half; it runs no command any more
 * @address: where, or 0
 *
 * Any context.
 */
void uvm_channel_failed(struct uvm_gpu_channel *channel, u64 address)
{
	uvm_channel_set_stopped(channel->core, UVM_CHANNEL_FAILED,
				UVM_FAULT_NONE, 0, address);
}
EXPORT_SYMBOL_GPL(uvm_channel_failed);

/*
 * Records why the channel of @fault stopped, which the backend did just now.
 * A channel that is gone is none of our business any more.
 */
void uvm_channel_faulted(struct uvm_gpu_space *gs,
			 const struct uvm_gpu_fault *fault, u32 reason)
{
	struct uvm_channel *ch;

	xa_lock(&gs->channels);
	ch = xa_load(&gs->channels, fault->channel_id);
	if (ch)
		kref_get(&ch->ref);
	xa_unlock(&gs->channels);
	if (!ch)
		return;
	uvm_channel_set_stopped(ch, UVM_CHANNEL_FAULTED, reason, fault->access,
				fault->address);
	uvm_channel_put(ch);
}

/**
 * uvm_channel_next() - walk the channels of a GPU space
 * @gs: the GPU space
 * @id: 0 at first; where the walk is
 *
 * Return: a reference to a channel that has a backend's half, or had one just now;
 * or NULL at the end.
 */
struct uvm_channel *uvm_channel_next(struct uvm_gpu_space *gs, unsigned long *id)
{
	struct uvm_channel *ch;

	xa_lock(&gs->channels);
	ch = xa_find_after(&gs->channels, id, ULONG_MAX, XA_PRESENT);
	if (ch)
		kref_get(&ch->ref);
	xa_unlock(&gs->channels);
	return ch;
}

/*
 * No command of the channel runs any more, and none will. The backend's half stays.
 * The caller keeps &uvm_channel.gs from going while @hw is there.
 */
void uvm_channel_stop(struct uvm_channel *ch)
{
	mutex_lock(&ch->lock);
	if (ch->hw)
		ch->gs->gpu->desc.ops->channel_stop(ch->hw);
	mutex_unlock(&ch->lock);
	uvm_channel_set_stopped(ch, UVM_CHANNEL_STOPPED, UVM_FAULT_NONE, 0, 0);
}

/* Before it is killed, so that whoever finds it dead knows why. */
void uvm_channel_gpu_gone(struct uvm_channel *ch)
{
	mutex_lock(&ch->lock);
	ch->gpu_gone = true;
	mutex_unlock(&ch->lock);
}

/*
 * Stops the channel and frees the backend's half. Idempotent, also against
 * itself. The caller keeps &uvm_channel.gs from going while @hw is there.
 */
void uvm_channel_kill(struct uvm_channel *ch)
{
	const struct uvm_gpu_ops *ops;

	mutex_lock(&ch->lock);
	if (ch->hw) {
		ops = ch->gs->gpu->desc.ops;
		ops->channel_stop(ch->hw);
		xa_erase(&ch->gs->channels, ch->hw_id);
		ops->channel_destroy(ch->hw);
		ch->hw = NULL;
	}
	mutex_unlock(&ch->lock);
	uvm_channel_set_stopped(ch, UVM_CHANNEL_STOPPED, UVM_FAULT_NONE, 0, 0);
}

/* The VA space goes: so do channels whose GPUs went away before. */
void uvm_channels_forget(struct uvm_va_space *vs)
{
	struct uvm_channel *ch;
	unsigned long id;

	xa_for_each(&vs->channels, id, ch) {
		xa_erase(&vs->channels, id);
		uvm_channel_put(ch);
	}
}

/* The caller has entered @gs. */
static struct uvm_channel *uvm_channel_alloc(struct uvm_gpu_space *gs)
{
	const struct uvm_gpu_ops *ops = gs->gpu->desc.ops;
	struct uvm_channel *ch;
	int ret;

	ch = kzalloc(sizeof(*ch), GFP_KERNEL_ACCOUNT);
	if (!ch)
		return ERR_PTR(-ENOMEM);
	kref_init(&ch->ref);
	mutex_init(&ch->lock);
	spin_lock_init(&ch->stop_lock);
	init_waitqueue_head(&ch->wait);
	ch->gs = gs;
	ch->gpu_id = gs->gpu->id;
	ch->state = UVM_CHANNEL_RUNNING;
	ch->hw_id = uvm_next_id();

	ch->hw = ops->channel_create(gs->as, ch->hw_id);
	if (IS_ERR(ch->hw)) {
		ret = PTR_ERR(ch->hw);
		ch->hw = NULL;
		goto err_free;
	}
	ch->hw->core = ch;
	ret = xa_err(xa_store(&gs->channels, ch->hw_id, ch, GFP_KERNEL_ACCOUNT));
	if (ret)
		goto err_hw;
	return ch;

err_hw:
	ops->channel_stop(ch->hw);
	ops->channel_destroy(ch->hw);
err_free:
	uvm_channel_put(ch);
	return ERR_PTR(ret);
}

/* Gives the channel its number, unless its GPU or the mm is on its way out. */
static int uvm_channel_publish(struct uvm_va_space *vs, struct uvm_channel *ch,
			       u32 *id)
{
	int ret = 0;

	uvm_delay(UVM_DELAY_CHANNEL);
	down_write(&vs->lock);
	if (uvm_mm_releasing(vs))
		ret = -ESRCH;
	else if (xa_load(&vs->gpu_spaces, ch->gpu_id) != ch->gs)
		ret = READ_ONCE(ch->gs->gpu->dead) ? -ENODEV : -ENOENT;
	else if (vs->nr_channels >= UVM_MAX_CHANNELS)
		ret = -ENOSPC;
	if (!ret)
		ret = xa_alloc_cyclic(&vs->channels, id, ch, xa_limit_31b,
				      &vs->next_channel, GFP_KERNEL_ACCOUNT);
	if (ret >= 0)
		vs->nr_channels++;
	up_write(&vs->lock);
	return min(ret, 0);
}

/**
 * uvm_channel_create_ioctl() - UVM_CHANNEL_CREATE
 * @ucmd: on a VA space whose mm is retained, if it has one
 *
 * Return: 0, -ENODEV, -ENOENT, -ESRCH, -ENOSPC, -ENOMEM.
 */
int uvm_channel_create_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_channel_create *cmd = ucmd->cmd;
	struct uvm_gpu_space *gs;
	struct uvm_channel *ch;
	int ret;

	gs = uvm_gpu_space_get(ucmd->vs, cmd->uuid);
	if (IS_ERR(gs))
		return PTR_ERR(gs);
	ch = uvm_channel_alloc(gs);
	if (IS_ERR(ch)) {
		ret = PTR_ERR(ch);
		goto out;
	}
	ret = uvm_channel_publish(ucmd->vs, ch, &cmd->out_channel);
	if (ret) {
		uvm_channel_kill(ch);
		uvm_channel_put(ch);
	}
out:
	uvm_gpu_space_leave(gs);
	uvm_gpu_space_put(gs);
	return ret;
}

static int uvm_channel_submit(struct uvm_channel *ch, const void *commands,
			      u32 length, u64 *point)
{
	int ret = -ECANCELED;

	uvm_delay(UVM_DELAY_SUBMIT);
	mutex_lock(&ch->lock);
	if (ch->gpu_gone)
		ret = -ENODEV;
	else if (ch->hw && READ_ONCE(ch->state) == UVM_CHANNEL_RUNNING)
		ret = ch->gs->gpu->desc.ops->channel_submit(ch->hw, commands,
							    length,
							    ch->submitted + 1);
	if (!ret)
		*point = ++ch->submitted;
	mutex_unlock(&ch->lock);
	return ret;
}

/**
 * uvm_channel_submit_ioctl() - UVM_CHANNEL_SUBMIT
 * @ucmd: on a VA space
 *
 * Doesn't retain the mm: the channel's lock orders it against the release.
 *
 * Return: 0, -EINVAL, -EFAULT, -ENOENT, -ENODEV, -ESRCH, -EBUSY, -ECANCELED,
 * -ENOMEM.
 */
int uvm_channel_submit_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_channel_submit *cmd = ucmd->cmd;
	struct uvm_channel *ch;
	void *commands;
	int ret;

	if (uvm_mm_releasing(ucmd->vs))
		return -ESRCH;
	if (!cmd->length || cmd->length > UVM_MAX_SUBMIT)
		return -EINVAL;
	ch = uvm_channel_get(ucmd->vs, cmd->channel);
	if (!ch)
		return -ENOENT;
	commands = vmemdup_user(u64_to_user_ptr(cmd->commands), cmd->length);
	if (IS_ERR(commands)) {
		ret = PTR_ERR(commands);
		goto out;
	}
	ret = uvm_channel_submit(ch, commands, cmd->length, &cmd->out_point);
	kvfree(commands);
out:
	uvm_channel_put(ch);
	return ret;
}

/**
 * uvm_channel_query_ioctl() - UVM_CHANNEL_QUERY
 * @ucmd: on a VA space, also one whose mm was released
 *
 * Return: 0, -ENOENT.
 */
int uvm_channel_query_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_channel_query *cmd = ucmd->cmd;
	struct uvm_channel *ch = uvm_channel_get(ucmd->vs, cmd->channel);

	if (!ch)
		return -ENOENT;
	mutex_lock(&ch->lock);
	cmd->out_submitted = ch->submitted;
	mutex_unlock(&ch->lock);
	cmd->out_completed = atomic64_read_acquire(&ch->completed);
	spin_lock_irq(&ch->stop_lock);
	cmd->out_state = ch->state;
	cmd->out_reason = ch->reason;
	cmd->out_access = ch->access;
	cmd->out_address = ch->address;
	spin_unlock_irq(&ch->stop_lock);
	uvm_channel_put(ch);
	return 0;
}

/**
 * uvm_channel_destroy_ioctl() - UVM_CHANNEL_DESTROY
 * @ucmd: on a VA space, also one whose mm was released
 *
 * Taking the channel out of the table first makes this the only destroyer. Its
 * GPU space is kept by &uvm_va_space.teardown.
 *
 * Return: 0, -ENOENT.
 */
int uvm_channel_destroy_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_channel_destroy *cmd = ucmd->cmd;
	struct uvm_va_space *vs = ucmd->vs;
	struct uvm_channel *ch;

	mutex_lock(&vs->teardown);
	down_write(&vs->lock);
	ch = xa_erase(&vs->channels, cmd->channel);
	if (ch)
		vs->nr_channels--;
	up_write(&vs->lock);
	if (ch) {
		uvm_channel_kill(ch);
		uvm_channel_put(ch);
	}
	mutex_unlock(&vs->teardown);
	return ch ? 0 : -ENOENT;
}

static long uvm_wait_jiffies(u64 timeout_ns)
{
	if (timeout_ns == UVM_WAIT_FOREVER)
		return MAX_SCHEDULE_TIMEOUT;
	if (!timeout_ns)
		return 0;
	/* Round up, and one more for the jiffy that has begun. */
	return min_t(u64, nsecs_to_jiffies64(timeout_ns) + 2,
		     MAX_SCHEDULE_TIMEOUT - 1);
}

static bool uvm_channel_reached(const struct uvm_channel *ch, u64 point)
{
	return (u64)atomic64_read_acquire(&ch->completed) >= point;
}

static int uvm_channel_wait(struct uvm_channel *ch, u64 point, u64 timeout_ns)
{
	bool known;
	long left;

	mutex_lock(&ch->lock);
	known = point <= ch->submitted;
	mutex_unlock(&ch->lock);
	if (!known)
		return -EINVAL;

	left = wait_event_killable_timeout(ch->wait,
			uvm_channel_reached(ch, point) ||
			READ_ONCE(ch->state) != UVM_CHANNEL_RUNNING,
			uvm_wait_jiffies(timeout_ns));
	if (uvm_channel_reached(ch, point))
		return 0;
	if (left < 0)
		return -EINTR;
	return left ? -ECANCELED : -ETIMEDOUT;
}

/**
 * uvm_wait_ioctl() - UVM_WAIT
 * @ucmd: on a VA space, also one whose mm was released
 *
 * Return: 0, -ENOENT, -EINVAL, -ETIMEDOUT, -ECANCELED, -EINTR.
 */
int uvm_wait_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_wait *cmd = ucmd->cmd;
	struct uvm_channel *ch = uvm_channel_get(ucmd->vs, cmd->channel);
	int ret;

	if (!ch)
		return -ENOENT;
	ret = uvm_channel_wait(ch, cmd->point, cmd->timeout_ns);
	cmd->out_completed = atomic64_read_acquire(&ch->completed);
	uvm_channel_put(ch);
	return ret;
}
