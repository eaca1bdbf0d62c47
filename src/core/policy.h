/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_POLICY_H
#define _UVM_POLICY_H

#include <linux/interval_tree.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uvm.h>

/* What is on by default, of UVM_POLICY_*. */
#define UVM_POLICY_DEFAULT \
	(UVM_POLICY_FAULT_MIGRATION | UVM_POLICY_PREFETCH | UVM_POLICY_ALLOW_MIGRATION)

/* &uvm_policy.accessed_by: the CPU; GPUs have bit &uvm_gpu_space.slot */
#define UVM_POLICY_CPU_BIT	63

/**
 * struct uvm_policy - what user space wants for some addresses; all 0 by default
 * @dest_kind: enum uvm_dest of the preferred location, or UVM_DEST_NONE
 * @odd: mask of the UVM_POLICY_* that are not as in UVM_POLICY_DEFAULT
 * @dest_id: for UVM_DEST_GPU: &uvm_gpu.id; for UVM_DEST_CPU_NODE: the node; else 0
 * @group: range group, or 0
 * @accessed_by: who should have it mapped where it is
 */
struct uvm_policy {
	u8 dest_kind;
	u8 odd;
	u32 dest_id;
	u32 group;
	u64 accessed_by;
};

/**
 * struct uvm_policy_range - addresses with a policy that isn't the default
 * @it: first and last byte
 * @spare: before it is in the tree, the next one that isn't
 * @policy: theirs
 */
struct uvm_policy_range {
	union {
		struct interval_tree_node it;
		struct uvm_policy_range *spare;
	};
	struct uvm_policy policy;
};

/* What is done to all of them at once takes no more than some milliseconds. */
#define UVM_MAX_POLICIES	16384

/**
 * struct uvm_policies - the policies of a VA space
 * @lock: protects the rest; taken in the MMU notifier, so nothing is waited for under
 *	it
 * @tree: &struct uvm_policy_range: disjoint, none with the default policy, no
 *	neighbours with the same one
 * @nr: their number, at most UVM_MAX_POLICIES but for those that unmapping splits
 * @lost: bytes that got the default back for want of memory
 */
struct uvm_policies {
	spinlock_t lock;
	struct rb_root_cached tree;
	unsigned long nr;
	unsigned long lost;
};

/* &uvm_policy_change.what */
enum uvm_policy_field {
	UVM_POLICY_SET_DEST,
	UVM_POLICY_SET_SWITCH,
	UVM_POLICY_SET_ACCESSED_BY,
	UVM_POLICY_CLEAR_ACCESSED_BY,
	UVM_POLICY_SET_GROUP,
};

/**
 * struct uvm_policy_change - a change to policies
 * @what: which field
 * @mask: for UVM_POLICY_SET_SWITCH: which of &uvm_policy.odd
 * @value: has the new value of the field; for UVM_POLICY_*_ACCESSED_BY those who come
 *	or go
 */
struct uvm_policy_change {
	enum uvm_policy_field what;
	u8 mask;
	struct uvm_policy value;
};

static inline u32 uvm_policy_switches(const struct uvm_policy *policy)
{
	return policy->odd ^ UVM_POLICY_DEFAULT;
}

void uvm_policies_init(struct uvm_policies *policies);
void uvm_policies_fini(struct uvm_policies *policies);
int uvm_policies_apply(struct uvm_policies *policies, unsigned long start,
		       unsigned long last, const struct uvm_policy_change *change);
void uvm_policies_clear(struct uvm_policies *policies, unsigned long start,
			unsigned long last);
void uvm_policies_forget_gpu(struct uvm_policies *policies, u32 gpu_id,
			     unsigned int slot);
void uvm_policies_set_group(struct uvm_policies *policies, u32 group, bool fixed);
void uvm_policies_forget_group(struct uvm_policies *policies, u32 group);
bool uvm_policies_allow(struct uvm_policies *policies, unsigned long addr,
			unsigned long *first, unsigned long *last);
void uvm_policies_clip(struct uvm_policies *policies, unsigned long addr,
		       unsigned long *start, unsigned long *end);
void uvm_policies_lookup(struct uvm_policies *policies, unsigned long addr,
			 struct uvm_policy *policy, unsigned long *first,
			 unsigned long *last);

#endif /* _UVM_POLICY_H */
