// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Commands about policies
 *
 * Owns the range groups of a VA space, under its lock, and the notifier that takes
 * policies away with their mappings. policy.c owns the policies.
 *
 * A policy is set under mmap_lock, after a look at the mappings, so an address never
 * has a policy of a mapping that is gone: munmap() either comes before the look or
 * after the change. The notifier is there from the first change until the VA space
 * goes, since it costs something at every change of the address space.
 */
#include "managed.h"

#include <linux/hashtable.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define UVM_MAX_RANGE_GROUPS	1024

/* VA spaces with policies, by mm, for those who have nothing but that. */
static DEFINE_HASHTABLE(uvm_advised, 8);
static DEFINE_SPINLOCK(uvm_advised_lock);

static void uvm_advised_add(struct uvm_va_space *vs)
{
	spin_lock(&uvm_advised_lock);
	hash_add_rcu(uvm_advised, &vs->policies_node, (unsigned long)vs->mm);
	spin_unlock(&uvm_advised_lock);
}

/* Who looks at it still finds no policies soon; its memory stays for that long. */
static void uvm_advised_del(struct uvm_va_space *vs)
{
	spin_lock(&uvm_advised_lock);
	hash_del_rcu(&vs->policies_node);
	spin_unlock(&uvm_advised_lock);
}

/**
 * uvm_advise_clip() - which neighbours of a page may move along with it
 * @mm: whose page it is; with VA spaces or without
 * @addr: as for uvm_policies_clip(), as are
 * @start: the first byte
 * @end: and the last one
 *
 * What one VA space of the mm forbids is forbidden. Waits for nothing.
 */
void uvm_advise_clip(const struct mm_struct *mm, unsigned long addr,
		     unsigned long *start, unsigned long *end)
{
	struct uvm_va_space *vs;

	rcu_read_lock();
	hash_for_each_possible_rcu(uvm_advised, vs, policies_node, (unsigned long)mm)
		if (vs->mm == mm)
			uvm_policies_clip(&vs->policies, addr, start, end);
	rcu_read_unlock();
}

/**
 * uvm_advise_allows() - may a page leave where it is?
 * @mm: whose page it is; with VA spaces or without
 * @addr: its address
 * @last: the last byte for which the answer is asked; receives the last one, not after
 *	that, for which it is the same
 *
 * What one VA space of the mm forbids is forbidden. Waits for nothing.
 *
 * Return: true if it may.
 */
bool uvm_advise_allows(const struct mm_struct *mm, unsigned long addr,
		       unsigned long *last)
{
	struct uvm_va_space *vs;
	unsigned long low, high;
	bool allowed = true;

	rcu_read_lock();
	hash_for_each_possible_rcu(uvm_advised, vs, policies_node, (unsigned long)mm) {
		if (vs->mm != mm || !READ_ONCE(vs->policies.nr))
			continue;
		allowed &= uvm_policies_allow(&vs->policies, addr, &low, &high);
		*last = min(*last, high);
	}
	rcu_read_unlock();
	return allowed;
}

/* What a range group is in &uvm_va_space.range_groups. */
#define UVM_GROUP_ALLOWED	xa_mk_value(1)
#define UVM_GROUP_FIXED		xa_mk_value(0)

static bool uvm_policy_invalidate(struct mmu_interval_notifier *mni,
				  const struct mmu_notifier_range *range,
				  unsigned long cur_seq)
{
	struct uvm_va_space *vs =
		container_of(mni, struct uvm_va_space, policy_notifier);

	mmu_interval_set_seq(mni, cur_seq);
	if (READ_ONCE(vs->policies.nr) && uvm_range_is_unmapped(range))
		uvm_policies_clear(&vs->policies, range->start, range->end - 1);
	return true;
}

static const struct mmu_interval_notifier_ops uvm_policy_notifier_ops = {
	.invalidate = uvm_policy_invalidate,
};

void uvm_advise_init(struct uvm_va_space *vs)
{
	mutex_init(&vs->advise_lock);
	xa_init_flags(&vs->range_groups, XA_FLAGS_ALLOC1);
	uvm_policies_init(&vs->policies);
}

/**
 * uvm_advise_fini() - forget all policies
 * @vs: VA space that nobody uses any more, but which still has its mm
 */
void uvm_advise_fini(struct uvm_va_space *vs)
{
	if (vs->policies_watched) {
		uvm_advised_del(vs);
		mmu_interval_notifier_remove(&vs->policy_notifier);
	}
	uvm_policies_fini(&vs->policies);
	xa_destroy(&vs->range_groups);
	mutex_destroy(&vs->advise_lock);
}

/*
 * The mm has interval notifiers already, so the insertion waits for no mmap_lock. While
 * others are told of a change, it is put off: so the end of that is waited for.
 */
static int uvm_policies_insert(struct uvm_va_space *vs)
{
	int ret;

	ret = mmu_interval_notifier_insert(&vs->policy_notifier, vs->mm, 0, ULONG_MAX,
					   &uvm_policy_notifier_ops);
	if (!ret)
		mmu_interval_read_begin(&vs->policy_notifier);
	return ret;
}

static int uvm_policies_watch(struct uvm_va_space *vs)
{
	int ret = 0;

	mutex_lock(&vs->advise_lock);
	if (!vs->policies_watched) {
		ret = uvm_policies_insert(vs);
		vs->policies_watched = !ret;
		if (!ret)
			uvm_advised_add(vs);
	}
	mutex_unlock(&vs->advise_lock);
	return ret;
}

/*
 * mmap_lock is held for the change, and for what finds out that it makes sense:
 * between the two calls there is nothing but a lookup.
 */
static int uvm_advise_begin(struct uvm_va_space *vs, u64 base, u64 length)
{
	int ret;

	ret = uvm_check_range(base, length);
	if (!ret)
		ret = uvm_policies_watch(vs);
	if (ret)
		return ret;
	if (mmap_read_lock_killable(vs->mm))
		return -EINTR;
	ret = uvm_check_mapped(vs->mm, base, base + length);
	if (ret)
		mmap_read_unlock(vs->mm);
	return ret;
}

static void uvm_advise_end(struct uvm_va_space *vs)
{
	mmap_read_unlock(vs->mm);
}

static int uvm_advise(struct uvm_va_space *vs, u64 base, u64 length,
		      const struct uvm_policy_change *change)
{
	return uvm_policies_apply(&vs->policies, base, base + length - 1, change);
}

/* For a GPU that is registered; @vs's lock keeps it so. */
static struct uvm_gpu_space *uvm_advise_gpu(struct uvm_va_space *vs, const u8 *uuid)
{
	struct uvm_gpu_space *gs;

	lockdep_assert_held(&vs->lock);
	if (!uvm_gpu_present(uuid))
		return ERR_PTR(-ENODEV);
	gs = uvm_gpu_space_find(vs, uuid);
	return gs ? gs : ERR_PTR(-ENOENT);
}

/* Under &uvm_va_space.lock a GPU can't be unregistered between look and change. */
static int uvm_advise_dest(struct uvm_va_space *vs,
			   const struct uvm_set_preferred_location *cmd)
{
	struct uvm_policy_change change = {
		.what = UVM_POLICY_SET_DEST,
		.value.dest_kind = cmd->dest_kind,
	};
	struct uvm_gpu_space *gs;
	int ret = 0;

	down_read(&vs->lock);
	if (cmd->dest_kind == UVM_DEST_GPU) {
		gs = uvm_advise_gpu(vs, cmd->dest_uuid);
		if (IS_ERR(gs))
			ret = PTR_ERR(gs);
		else
			change.value.dest_id = gs->gpu->id;
	} else if (cmd->dest_kind == UVM_DEST_CPU_NODE) {
		change.value.dest_id = cmd->dest_node;
	}
	if (!ret)
		ret = uvm_advise(vs, cmd->base, cmd->length, &change);
	up_read(&vs->lock);
	return ret;
}

/**
 * uvm_set_preferred_location_ioctl() - UVM_SET_PREFERRED_LOCATION
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -EINVAL, -EFAULT, -ENODEV, -ENOENT, -ENOMEM, -ENOSPC, -EINTR.
 */
int uvm_set_preferred_location_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_set_preferred_location *cmd = ucmd->cmd;
	int ret;

	ret = uvm_check_dest(cmd->dest_kind, cmd->dest_node, cmd->dest_uuid);
	if (!ret)
		ret = uvm_advise_begin(ucmd->vs, cmd->base, cmd->length);
	if (ret)
		return ret;
	ret = uvm_advise_dest(ucmd->vs, cmd);
	uvm_advise_end(ucmd->vs);
	return ret;
}

static int uvm_advise_accessed_by(struct uvm_va_space *vs,
				  const struct uvm_set_accessed_by *cmd)
{
	struct uvm_policy_change change = {
		.what = cmd->enable ? UVM_POLICY_SET_ACCESSED_BY :
				      UVM_POLICY_CLEAR_ACCESSED_BY,
		.value.accessed_by = BIT_ULL(UVM_POLICY_CPU_BIT),
	};
	struct uvm_gpu_space *gs;
	int ret = 0;

	down_read(&vs->lock);
	if (memchr_inv(cmd->uuid, 0, UVM_UUID_LEN)) {
		gs = uvm_advise_gpu(vs, cmd->uuid);
		if (IS_ERR(gs))
			ret = PTR_ERR(gs);
		else
			change.value.accessed_by = BIT_ULL(gs->slot);
	}
	if (!ret)
		ret = uvm_advise(vs, cmd->base, cmd->length, &change);
	up_read(&vs->lock);
	return ret;
}

/**
 * uvm_set_accessed_by_ioctl() - UVM_SET_ACCESSED_BY
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -EINVAL, -EFAULT, -ENODEV, -ENOENT, -ENOMEM, -ENOSPC, -EINTR.
 */
int uvm_set_accessed_by_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_set_accessed_by *cmd = ucmd->cmd;
	int ret;

	if (cmd->enable > 1)
		return -EINVAL;
	ret = uvm_advise_begin(ucmd->vs, cmd->base, cmd->length);
	if (ret)
		return ret;
	ret = uvm_advise_accessed_by(ucmd->vs, cmd);
	uvm_advise_end(ucmd->vs);
	return ret;
}

static int uvm_set_switch(struct uvm_ucmd *ucmd, u8 which)
{
	struct uvm_set_switch *cmd = ucmd->cmd;
	struct uvm_policy_change change = {
		.what = UVM_POLICY_SET_SWITCH,
		.mask = which,
	};
	int ret;

	if (cmd->enable > 1)
		return -EINVAL;
	change.value.odd = (cmd->enable ? which : 0) ^ (UVM_POLICY_DEFAULT & which);
	ret = uvm_advise_begin(ucmd->vs, cmd->base, cmd->length);
	if (ret)
		return ret;
	ret = uvm_advise(ucmd->vs, cmd->base, cmd->length, &change);
	if (!ret && which == UVM_POLICY_READ_MOSTLY && !cmd->enable)
		ret = uvm_managed_collapse(ucmd->vs, cmd->base, cmd->base + cmd->length);
	uvm_advise_end(ucmd->vs);
	return ret;
}

/*
 * UVM_SET_FAULT_MIGRATION, UVM_SET_PREFETCH and UVM_SET_READ_MOSTLY, on a VA space
 * whose mm is retained. Return 0, -EINVAL, -EFAULT, -ENOMEM, -ENOSPC, -EINTR.
 */
int uvm_set_fault_migration_ioctl(struct uvm_ucmd *ucmd)
{
	return uvm_set_switch(ucmd, UVM_POLICY_FAULT_MIGRATION);
}

int uvm_set_prefetch_ioctl(struct uvm_ucmd *ucmd)
{
	return uvm_set_switch(ucmd, UVM_POLICY_PREFETCH);
}

int uvm_set_read_mostly_ioctl(struct uvm_ucmd *ucmd)
{
	return uvm_set_switch(ucmd, UVM_POLICY_READ_MOSTLY);
}

/**
 * uvm_create_range_group_ioctl() - UVM_CREATE_RANGE_GROUP
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -ENOSPC, -ENOMEM.
 */
int uvm_create_range_group_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_create_range_group *cmd = ucmd->cmd;
	struct uvm_va_space *vs = ucmd->vs;
	int ret = -ENOSPC;

	down_write(&vs->lock);
	if (vs->nr_range_groups < UVM_MAX_RANGE_GROUPS)
		ret = xa_alloc_cyclic(&vs->range_groups, &cmd->out_group,
				      UVM_GROUP_ALLOWED, xa_limit_32b,
				      &vs->next_range_group, GFP_KERNEL_ACCOUNT);
	if (ret >= 0)
		vs->nr_range_groups++;
	up_write(&vs->lock);
	return min(ret, 0);
}

/**
 * uvm_destroy_range_group_ioctl() - UVM_DESTROY_RANGE_GROUP
 * @ucmd: on a VA space, also one whose mm was released
 *
 * Return: 0, -ENOENT.
 */
int uvm_destroy_range_group_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_destroy_range_group *cmd = ucmd->cmd;
	struct uvm_va_space *vs = ucmd->vs;
	int ret = -ENOENT;

	down_write(&vs->lock);
	if (xa_erase(&vs->range_groups, cmd->group)) {
		vs->nr_range_groups--;
		uvm_policies_forget_group(&vs->policies, cmd->group);
		ret = 0;
	}
	up_write(&vs->lock);
	return ret;
}

static int uvm_advise_group(struct uvm_va_space *vs,
			    const struct uvm_set_range_group *cmd)
{
	struct uvm_policy_change change = {
		.what = UVM_POLICY_SET_GROUP,
		.value.group = cmd->group,
	};
	void *state = UVM_GROUP_ALLOWED;
	int ret = -ENOENT;

	down_read(&vs->lock);
	if (cmd->group)
		state = xa_load(&vs->range_groups, cmd->group);
	if (state == UVM_GROUP_FIXED)
		change.value.odd = UVM_POLICY_ALLOW_MIGRATION;
	if (state)
		ret = uvm_advise(vs, cmd->base, cmd->length, &change);
	up_read(&vs->lock);
	return ret;
}

/*
 * Whoever moves pages looks at policies under mmap_lock: after this, those who saw the
 * old ones are through.
 */
static int uvm_advise_settle(struct uvm_va_space *vs)
{
	if (mmap_write_lock_killable(vs->mm))
		return -EINTR;
	mmap_write_unlock(vs->mm);
	return 0;
}

/**
 * uvm_set_range_group_ioctl() - UVM_SET_RANGE_GROUP
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -EINVAL, -EFAULT, -ENOENT, -ENOMEM, -ENOSPC, -EINTR.
 */
int uvm_set_range_group_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_set_range_group *cmd = ucmd->cmd;
	int ret;

	ret = uvm_advise_begin(ucmd->vs, cmd->base, cmd->length);
	if (ret)
		return ret;
	ret = uvm_advise_group(ucmd->vs, cmd);
	uvm_advise_end(ucmd->vs);
	return ret || !cmd->group ? ret : uvm_advise_settle(ucmd->vs);
}

/**
 * uvm_allow_migration_ioctl() - UVM_ALLOW_MIGRATION
 * @ucmd: on a VA space whose mm is retained
 *
 * Return: 0, -EINVAL, -ENOENT, -EINTR.
 */
int uvm_allow_migration_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_allow_migration *cmd = ucmd->cmd;
	struct uvm_va_space *vs = ucmd->vs;
	int ret = -ENOENT;

	if (cmd->allow > 1)
		return -EINVAL;
	down_write(&vs->lock);
	if (xa_load(&vs->range_groups, cmd->group)) {
		/* In the place of an entry, so nothing is allocated. */
		xa_store(&vs->range_groups, cmd->group,
			 cmd->allow ? UVM_GROUP_ALLOWED : UVM_GROUP_FIXED,
			 GFP_KERNEL);
		uvm_policies_set_group(&vs->policies, cmd->group, !cmd->allow);
		ret = 0;
	}
	up_write(&vs->lock);
	return ret || cmd->allow ? ret : uvm_advise_settle(vs);
}

/* Reports the preferred location; a GPU that was just unregistered is none. */
static void uvm_tell_dest(struct uvm_va_space *vs, const struct uvm_policy *policy,
			  struct uvm_query_policy *cmd)
{
	struct uvm_gpu_space *gs;

	cmd->out_dest_kind = policy->dest_kind;
	cmd->out_dest_node = 0;
	memset(cmd->out_dest_uuid, 0, UVM_UUID_LEN);
	if (policy->dest_kind == UVM_DEST_CPU_NODE)
		cmd->out_dest_node = policy->dest_id;
	if (policy->dest_kind != UVM_DEST_GPU)
		return;
	gs = xa_load(&vs->gpu_spaces, policy->dest_id);
	if (gs)
		memcpy(cmd->out_dest_uuid, gs->gpu->desc.uuid, UVM_UUID_LEN);
	else
		cmd->out_dest_kind = UVM_DEST_NONE;
}

/* Returns how many uuids there are in the set. */
static unsigned int uvm_tell_accessed_by(struct uvm_va_space *vs,
					 const struct uvm_policy *policy,
					 u8 (*uuids)[UVM_UUID_LEN])
{
	struct uvm_gpu_space *gs;
	unsigned int nr = 0;
	unsigned long id;

	if (policy->accessed_by & BIT_ULL(UVM_POLICY_CPU_BIT))
		memset(uuids[nr++], 0, UVM_UUID_LEN);
	xa_for_each(&vs->gpu_spaces, id, gs)
		if (policy->accessed_by & BIT_ULL(gs->slot))
			memcpy(uuids[nr++], gs->gpu->desc.uuid, UVM_UUID_LEN);
	return nr;
}

static void uvm_tell_policy(struct uvm_va_space *vs, struct uvm_query_policy *cmd,
			    u8 (*uuids)[UVM_UUID_LEN])
{
	unsigned long first, last;
	struct uvm_policy policy;

	down_read(&vs->lock);
	uvm_policies_lookup(&vs->policies, cmd->address, &policy, &first, &last);
	last = min(last, TASK_SIZE - 1);
	cmd->out_base = first;
	cmd->out_length = last - first + 1;
	cmd->out_policy = uvm_policy_switches(&policy);
	cmd->out_group = policy.group;
	uvm_tell_dest(vs, &policy, cmd);
	cmd->out_count = uvm_tell_accessed_by(vs, &policy, uuids);
	up_read(&vs->lock);
}

/**
 * uvm_query_policy_ioctl() - UVM_QUERY_POLICY
 * @ucmd: on a VA space. Copies to user memory, so the mm isn't retained meanwhile.
 *
 * Return: 0, -EINVAL, -EFAULT, -ESRCH, -ENOMEM.
 */
int uvm_query_policy_ioctl(struct uvm_ucmd *ucmd)
{
	struct uvm_query_policy *cmd = ucmd->cmd;
	u8 (*uuids)[UVM_UUID_LEN];
	size_t size;
	int ret = 0;

	if (!ucmd->vs->mm)
		return -EOPNOTSUPP;
	if (uvm_mm_releasing(ucmd->vs))
		return -ESRCH;
	if (cmd->address >= TASK_SIZE)
		return -EINVAL;
	uuids = kcalloc(UVM_MAX_GPUS + 1, sizeof(*uuids), GFP_KERNEL);
	if (!uuids)
		return -ENOMEM;
	uvm_tell_policy(ucmd->vs, cmd, uuids);
	size = min(cmd->count, cmd->out_count) * sizeof(*uuids);
	if (size && copy_to_user(u64_to_user_ptr(cmd->accessed_by), uuids, size))
		ret = -EFAULT;
	kfree(uuids);
	return ret;
}
