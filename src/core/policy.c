// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Policies
 *
 * Owns what user space wants for ranges of addresses. Only ranges with a policy other
 * than the default are kept. A change splits ranges at its ends, and neighbours that
 * come to have the same policy are merged, so what is kept depends on the policies
 * alone, and not on how they came about.
 *
 * A policy goes with the mapping: the MMU notifier clears it when addresses are
 * unmapped, under the spinlock and without memory of its own. Changes need memory: they
 * count what they need, get it without the lock, and count again.
 */
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "policy.h"

static const struct uvm_policy uvm_policy_default;

void uvm_policies_init(struct uvm_policies *policies)
{
	spin_lock_init(&policies->lock);
	policies->tree = RB_ROOT_CACHED;
	policies->nr = 0;
	policies->lost = 0;
}

static struct uvm_policy_range *uvm_policy_first(struct uvm_policies *policies,
						 unsigned long start,
						 unsigned long last)
{
	struct interval_tree_node *node =
		interval_tree_iter_first(&policies->tree, start, last);

	return node ? container_of(node, struct uvm_policy_range, it) : NULL;
}

static struct uvm_policy_range *uvm_policy_next(struct uvm_policy_range *range,
						unsigned long start,
						unsigned long last)
{
	struct interval_tree_node *node =
		interval_tree_iter_next(&range->it, start, last);

	return node ? container_of(node, struct uvm_policy_range, it) : NULL;
}

static void uvm_policy_insert(struct uvm_policies *policies,
			      struct uvm_policy_range *range, unsigned long start,
			      unsigned long last)
{
	range->it.start = start;
	range->it.last = last;
	interval_tree_insert(&range->it, &policies->tree);
}

static void uvm_policy_resize(struct uvm_policies *policies,
			      struct uvm_policy_range *range, unsigned long start,
			      unsigned long last)
{
	interval_tree_remove(&range->it, &policies->tree);
	uvm_policy_insert(policies, range, start, last);
}

static void uvm_policy_remove(struct uvm_policies *policies,
			      struct uvm_policy_range *range)
{
	interval_tree_remove(&range->it, &policies->tree);
	policies->nr--;
	kfree(range);
}

static void uvm_policy_add(struct uvm_policies *policies,
			   struct uvm_policy_range *range, unsigned long start,
			   unsigned long last, const struct uvm_policy *policy)
{
	range->policy = *policy;
	uvm_policy_insert(policies, range, start, last);
	policies->nr++;
}

/* Whoever still looks at them finds none. */
void uvm_policies_fini(struct uvm_policies *policies)
{
	struct uvm_policy_range *range, *next;
	struct rb_root_cached tree;

	spin_lock(&policies->lock);
	tree = policies->tree;
	policies->tree = RB_ROOT_CACHED;
	policies->nr = 0;
	spin_unlock(&policies->lock);
	rbtree_postorder_for_each_entry_safe(range, next, &tree.rb_root, it.rb)
		kfree(range);
}

static bool uvm_policy_equal(const struct uvm_policy *a, const struct uvm_policy *b)
{
	return a->dest_kind == b->dest_kind && a->dest_id == b->dest_id &&
	       a->odd == b->odd && a->group == b->group &&
	       a->accessed_by == b->accessed_by;
}

static bool uvm_policy_is_default(const struct uvm_policy *policy)
{
	return uvm_policy_equal(policy, &uvm_policy_default);
}

static struct uvm_policy uvm_policy_changed(const struct uvm_policy *policy,
					    const struct uvm_policy_change *change)
{
	const struct uvm_policy *value = &change->value;
	struct uvm_policy new = *policy;

	switch (change->what) {
	case UVM_POLICY_SET_DEST:
		new.dest_kind = value->dest_kind;
		new.dest_id = value->dest_id;
		break;
	case UVM_POLICY_SET_SWITCH:
		new.odd &= ~change->mask;
		new.odd |= value->odd & change->mask;
		break;
	case UVM_POLICY_SET_ACCESSED_BY:
		new.accessed_by |= value->accessed_by;
		break;
	case UVM_POLICY_CLEAR_ACCESSED_BY:
		new.accessed_by &= ~value->accessed_by;
		break;
	case UVM_POLICY_SET_GROUP:
		new.group = value->group;
		new.odd &= ~UVM_POLICY_ALLOW_MIGRATION;
		new.odd |= value->odd & UVM_POLICY_ALLOW_MIGRATION;
		break;
	}
	return new;
}

/* Is there a range that goes on across the border between @at - 1 and @at? */
static struct uvm_policy_range *uvm_policy_across(struct uvm_policies *policies,
						  unsigned long at)
{
	struct uvm_policy_range *range;

	if (!at)
		return NULL;
	range = uvm_policy_first(policies, at - 1, at - 1);
	return range && range->it.last >= at ? range : NULL;
}

/* Parts of [start, last] that have the default policy. */
static unsigned long uvm_policy_gaps(struct uvm_policies *policies,
				     unsigned long start, unsigned long last)
{
	struct uvm_policy_range *range;
	unsigned long gaps = 0, at = start;

	for (range = uvm_policy_first(policies, start, last); range;
	     range = uvm_policy_next(range, start, last)) {
		gaps += at < range->it.start;
		at = range->it.last + 1;
	}
	return gaps + (at <= last);
}

/* How many ranges uvm_policy_rewrite() adds, before it merges. */
static unsigned long uvm_policy_need(struct uvm_policies *policies,
				     unsigned long start, unsigned long last,
				     const struct uvm_policy_change *change)
{
	struct uvm_policy fresh = uvm_policy_changed(&uvm_policy_default, change);
	unsigned long need = 0;

	lockdep_assert_held(&policies->lock);
	need += !!uvm_policy_across(policies, start);
	need += !!uvm_policy_across(policies, last + 1);
	if (!uvm_policy_is_default(&fresh))
		need += uvm_policy_gaps(policies, start, last);
	return need;
}

static void uvm_policy_free_spares(struct uvm_policy_range *spare)
{
	struct uvm_policy_range *next;

	for (; spare; spare = next) {
		next = spare->spare;
		kfree(spare);
	}
}

/* Adds @count ranges to those at @spares. */
static int uvm_policy_get_spares(struct uvm_policy_range **spares,
				 unsigned long count)
{
	struct uvm_policy_range *range;

	while (count--) {
		range = kmalloc(sizeof(*range), GFP_KERNEL_ACCOUNT);
		if (!range)
			return -ENOMEM;
		range->spare = *spares;
		*spares = range;
	}
	return 0;
}

static struct uvm_policy_range *uvm_policy_take_spare(struct uvm_policy_range **spares)
{
	struct uvm_policy_range *range = *spares;

	*spares = range->spare;
	return range;
}

static void uvm_policy_split(struct uvm_policies *policies, unsigned long at,
			     struct uvm_policy_range **spares)
{
	struct uvm_policy_range *range = uvm_policy_across(policies, at);
	unsigned long last;

	if (!range)
		return;
	last = range->it.last;
	uvm_policy_resize(policies, range, range->it.start, at - 1);
	uvm_policy_add(policies, uvm_policy_take_spare(spares), at, last,
		       &range->policy);
}

/* Merges neighbours that have the same policy, from the one before @start on. */
static void uvm_policy_merge(struct uvm_policies *policies, unsigned long start,
			     unsigned long last)
{
	unsigned long first = start ? start - 1 : 0;
	unsigned long end = last + 1;
	struct uvm_policy_range *range, *next;

	range = uvm_policy_first(policies, first, end);
	while (range) {
		next = uvm_policy_next(range, first, end);
		if (!next)
			break;
		if (range->it.last + 1 == next->it.start &&
		    uvm_policy_equal(&range->policy, &next->policy)) {
			end = max(end, next->it.last);
			uvm_policy_resize(policies, range, range->it.start,
					  next->it.last);
			uvm_policy_remove(policies, next);
		} else {
			range = next;
		}
	}
}

/* Changes the ranges that are there, all of them inside of [start, last]. */
static void uvm_policy_change_ranges(struct uvm_policies *policies,
				     unsigned long start, unsigned long last,
				     const struct uvm_policy_change *change)
{
	struct uvm_policy_range *range, *next;

	for (range = uvm_policy_first(policies, start, last); range; range = next) {
		next = uvm_policy_next(range, start, last);
		range->policy = uvm_policy_changed(&range->policy, change);
		if (uvm_policy_is_default(&range->policy))
			uvm_policy_remove(policies, range);
	}
}

/* What has the default policy gets one that is changed from that. */
static void uvm_policy_fill_gaps(struct uvm_policies *policies, unsigned long start,
				 unsigned long last, const struct uvm_policy *policy,
				 struct uvm_policy_range **spares)
{
	struct uvm_policy_range *range;
	unsigned long at = start;

	for (range = uvm_policy_first(policies, start, last); range;
	     range = uvm_policy_next(range, start, last)) {
		if (at < range->it.start)
			uvm_policy_add(policies, uvm_policy_take_spare(spares), at,
				       range->it.start - 1, policy);
		if (range->it.last == last)
			return;
		at = range->it.last + 1;
	}
	uvm_policy_add(policies, uvm_policy_take_spare(spares), at, last, policy);
}

static void uvm_policy_rewrite(struct uvm_policies *policies, unsigned long start,
			       unsigned long last,
			       const struct uvm_policy_change *change,
			       struct uvm_policy_range **spares)
{
	struct uvm_policy fresh = uvm_policy_changed(&uvm_policy_default, change);

	lockdep_assert_held(&policies->lock);
	uvm_policy_split(policies, start, spares);
	uvm_policy_split(policies, last + 1, spares);
	/* Gaps first: a range that gets the default leaves a gap that is none. */
	if (!uvm_policy_is_default(&fresh))
		uvm_policy_fill_gaps(policies, start, last, &fresh, spares);
	uvm_policy_change_ranges(policies, start, last, change);
	uvm_policy_merge(policies, start, last);
}

/**
 * uvm_policies_apply() - change the policy of a range
 * @policies: the policies
 * @start: first byte
 * @last: last byte, below ULONG_MAX
 * @change: the change
 *
 * Sleeps. What the notifier changes meanwhile may take another round; each gets more
 * memory than the one before.
 *
 * Return: 0; or -ENOMEM, or -ENOSPC if it takes more ranges than there may be, with
 * nothing changed.
 */
int uvm_policies_apply(struct uvm_policies *policies, unsigned long start,
		       unsigned long last, const struct uvm_policy_change *change)
{
	struct uvm_policy_range *spares = NULL;
	unsigned long need, have = 0;
	bool full;
	int ret = 0;

	for (;;) {
		spin_lock(&policies->lock);
		need = uvm_policy_need(policies, start, last, change);
		full = need && policies->nr + need > UVM_MAX_POLICIES;
		if (need <= have && !full)
			break;
		spin_unlock(&policies->lock);
		ret = full ? -ENOSPC :
			     uvm_policy_get_spares(&spares, need - have);
		if (ret)
			goto out;
		have = need;
	}
	uvm_policy_rewrite(policies, start, last, change, &spares);
	spin_unlock(&policies->lock);
out:
	uvm_policy_free_spares(spares);
	return ret;
}

/*
 * Takes a hole out of one range. Where there is no memory for the part behind the hole,
 * not even from the reserves, that loses its policy.
 */
static void uvm_policy_punch(struct uvm_policies *policies,
			     struct uvm_policy_range *range, unsigned long start,
			     unsigned long last)
{
	unsigned long end = range->it.last;
	struct uvm_policy_range *rest;

	uvm_policy_resize(policies, range, range->it.start, start - 1);
	rest = kmalloc(sizeof(*rest), GFP_ATOMIC | __GFP_NOWARN);
	if (rest)
		uvm_policy_add(policies, rest, last + 1, end, &range->policy);
	else
		policies->lost += end - last;
}

/**
 * uvm_policies_clear() - a range gets the default policy
 * @policies: the policies
 * @start: first byte
 * @last: last byte
 *
 * Any context that may take a spinlock: the MMU notifier's.
 */
void uvm_policies_clear(struct uvm_policies *policies, unsigned long start,
			unsigned long last)
{
	struct uvm_policy_range *range, *next;

	spin_lock(&policies->lock);
	for (range = uvm_policy_first(policies, start, last); range; range = next) {
		next = uvm_policy_next(range, start, last);
		if (range->it.start < start && range->it.last > last)
			uvm_policy_punch(policies, range, start, last);
		else if (range->it.start < start)
			uvm_policy_resize(policies, range, range->it.start,
					  start - 1);
		else if (range->it.last > last)
			uvm_policy_resize(policies, range, last + 1,
					  range->it.last);
		else
			uvm_policy_remove(policies, range);
	}
	spin_unlock(&policies->lock);
}

/* Which GPU or group, for those who edit all policies. */
struct uvm_policy_subject {
	u32 id;
	unsigned int slot;
	bool fixed;
};

typedef void uvm_policy_edit_fn(struct uvm_policy *policy,
				const struct uvm_policy_subject *subject);

static void uvm_policies_edit(struct uvm_policies *policies,
			      uvm_policy_edit_fn *edit,
			      const struct uvm_policy_subject *subject)
{
	struct uvm_policy_range *range, *next;

	spin_lock(&policies->lock);
	for (range = uvm_policy_first(policies, 0, ULONG_MAX); range; range = next) {
		next = uvm_policy_next(range, 0, ULONG_MAX);
		edit(&range->policy, subject);
		if (uvm_policy_is_default(&range->policy))
			uvm_policy_remove(policies, range);
	}
	uvm_policy_merge(policies, 0, ULONG_MAX - 1);
	spin_unlock(&policies->lock);
}

static void uvm_policy_forget_gpu(struct uvm_policy *policy,
				  const struct uvm_policy_subject *gpu)
{
	policy->accessed_by &= ~BIT_ULL(gpu->slot);
	if (policy->dest_kind != UVM_DEST_GPU || policy->dest_id != gpu->id)
		return;
	policy->dest_kind = UVM_DEST_NONE;
	policy->dest_id = 0;
}

/**
 * uvm_policies_forget_gpu() - a GPU is no longer registered
 * @policies: the policies
 * @gpu_id: &uvm_gpu.id
 * @slot: &uvm_gpu_space.slot
 */
void uvm_policies_forget_gpu(struct uvm_policies *policies, u32 gpu_id,
			     unsigned int slot)
{
	const struct uvm_policy_subject gpu = { .id = gpu_id, .slot = slot };

	uvm_policies_edit(policies, uvm_policy_forget_gpu, &gpu);
}

static void uvm_policy_set_group(struct uvm_policy *policy,
				 const struct uvm_policy_subject *group)
{
	if (policy->group != group->id)
		return;
	if (group->fixed)
		policy->odd |= UVM_POLICY_ALLOW_MIGRATION;
	else
		policy->odd &= ~UVM_POLICY_ALLOW_MIGRATION;
}

/**
 * uvm_policies_set_group() - allow or forbid migration of a range group
 * @policies: the policies
 * @group: its id
 * @fixed: forbid it
 */
void uvm_policies_set_group(struct uvm_policies *policies, u32 group, bool fixed)
{
	const struct uvm_policy_subject subject = { .id = group, .fixed = fixed };

	uvm_policies_edit(policies, uvm_policy_set_group, &subject);
}

static void uvm_policy_forget_group(struct uvm_policy *policy,
				    const struct uvm_policy_subject *group)
{
	if (policy->group != group->id)
		return;
	policy->group = 0;
	policy->odd &= ~UVM_POLICY_ALLOW_MIGRATION;
}

/**
 * uvm_policies_forget_group() - a range group is destroyed
 * @policies: the policies
 * @group: its id
 */
void uvm_policies_forget_group(struct uvm_policies *policies, u32 group)
{
	const struct uvm_policy_subject subject = { .id = group };

	uvm_policies_edit(policies, uvm_policy_forget_group, &subject);
}

/**
 * uvm_policies_lookup() - the policy at an address
 * @policies: the policies
 * @addr: the address
 * @policy: where to store it
 * @first: first byte of the addresses around @addr that have it
 * @last: last one
 */
void uvm_policies_lookup(struct uvm_policies *policies, unsigned long addr,
			 struct uvm_policy *policy, unsigned long *first,
			 unsigned long *last)
{
	struct uvm_policy_range *range;
	struct rb_node *node;

	*policy = uvm_policy_default;
	*first = 0;
	*last = ULONG_MAX;
	spin_lock(&policies->lock);
	node = policies->tree.rb_root.rb_node;
	while (node) {
		range = rb_entry(node, struct uvm_policy_range, it.rb);
		if (addr < range->it.start) {
			*last = range->it.start - 1;
			node = node->rb_left;
		} else if (addr > range->it.last) {
			*first = range->it.last + 1;
			node = node->rb_right;
		} else {
			*policy = range->policy;
			*first = range->it.start;
			*last = range->it.last;
			break;
		}
	}
	spin_unlock(&policies->lock);
}

/* As uvm_policies_lookup(); tells whether pages there may move. */
bool uvm_policies_allow(struct uvm_policies *policies, unsigned long addr,
			unsigned long *first, unsigned long *last)
{
	struct uvm_policy policy;

	uvm_policies_lookup(policies, addr, &policy, first, last);
	return uvm_policy_switches(&policy) & UVM_POLICY_ALLOW_MIGRATION;
}

/**
 * uvm_policies_clip() - which neighbours of a page may move along with it
 * @policies: the policies
 * @addr: address of the page, which moves in any case
 * @start: first byte of the neighbours, itself included; what may not move is cut off
 * @end: the byte after the last one
 */
void uvm_policies_clip(struct uvm_policies *policies, unsigned long addr,
		       unsigned long *start, unsigned long *end)
{
	unsigned long first, last, low, high, other;

	if (!READ_ONCE(policies->nr))
		return;
	if (!uvm_policies_allow(policies, addr, &first, &last)) {
		*start = addr;
		*end = addr + PAGE_SIZE;
		return;
	}
	for (low = first; low > *start; low = first)
		if (!uvm_policies_allow(policies, low - 1, &first, &other))
			*start = low;
	for (high = last; high < *end - 1; high = last)
		if (!uvm_policies_allow(policies, high + 1, &other, &last))
			*end = high + 1;
}
