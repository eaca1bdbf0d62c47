// SPDX-License-Identifier: GPL-2.0-only
/* What disturbers do to the address space; see the DOC block of model.c. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib_memory.h"
#include "lib_model.h"
#include "lib_policy.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* ---- what keeps the content, done to any pages at any moment ---- */

static void fail_range(struct actor *a, const struct range *r, const char *what, int ret)
{
	model_fail(a, r->first * PAGE, "%s of %zu pages gave %d (%s)", what, r->count,
		   ret, strerror(ret < 0 ? -ret : ret));
}

/* Somebody else may have unmapped a part of it for a while. */
static bool move_range(struct actor *a, struct range r, int kind, int node,
		       const uint8_t *uuid)
{
	struct torn t = torn_begin(a->w, &r);
	struct uvm_migrate m;
	int ret;

	range_note(a, &r);
	ret = migrate(a->w->s.fd, range_start(a->w, &r), range_size(&r), kind, node,
		      uuid, &m);
	if (ret == -EFAULT && torn(a->w, &t))
		return true;
	if (ret)
		fail_range(a, &r, "UVM_MIGRATE", ret);
	expect_accounts(&m);
	EXPECT_EQ(m.out_done, m.length);
	return true;
}

static bool move_pages(struct actor *a, int kind, int node, const uint8_t *uuid)
{
	return move_range(a, range_pick(a), kind, node, uuid);
}

static bool to_gpu(struct actor *a)
{
	const struct uvm_gpu_info *gpu = &a->w->gpu[pick(a, a->w->gpus)];

	return move_pages(a, UVM_DEST_GPU, 0, gpu->uuid);
}

/* All of the region: more than a GPU has room for, so something must go for it. */
static bool flood(struct actor *a)
{
	const struct uvm_gpu_info *gpu = &a->w->gpu[pick(a, a->w->gpus)];

	return move_range(a, (struct range){ 0, PAGES }, UVM_DEST_GPU, 0, gpu->uuid);
}

static bool to_cpu(struct actor *a)
{
	return move_pages(a, UVM_DEST_CPU, 0, NULL);
}

static bool to_node(struct actor *a)
{
	return move_pages(a, UVM_DEST_CPU_NODE, a->w->node[pick(a, a->w->nodes)], NULL);
}

static bool has_nodes(const struct world *w)
{
	return w->nodes;
}

static bool advise_range(struct actor *a, const struct range *r, int advice)
{
	struct torn t = torn_begin(a->w, r);

	range_note(a, r);
	if (madvise(range_start(a->w, r), range_size(r), advice) &&
	    !(errno == ENOMEM && torn(a->w, &t)))
		fail_range(a, r, "madvise", -errno);
	return true;
}

static bool advise(struct actor *a, int advice)
{
	struct range r = range_pick(a);

	return advise_range(a, &r, advice);
}

static int switch_at_random(struct actor *a, const struct range *r)
{
	static const unsigned long cmds[] = {
		UVM_SET_FAULT_MIGRATION, UVM_SET_PREFETCH, UVM_SET_READ_MOSTLY,
	};

	return policy_switch(a->w->s.fd, cmds[pick(a, 3)], range_start(a->w, r),
			     range_size(r), pick(a, 2));
}

static int prefer_at_random(struct actor *a, const struct range *r)
{
	const struct uvm_gpu_info *gpu = &a->w->gpu[pick(a, a->w->gpus)];
	int kind = pick(a, a->w->nodes ? 4 : 3);

	return policy_prefer(a->w->s.fd, range_start(a->w, r), range_size(r), kind,
			     kind == UVM_DEST_CPU_NODE ?
			     a->w->node[pick(a, a->w->nodes)] : 0,
			     kind == UVM_DEST_GPU ? gpu->uuid : NULL);
}

/* Copies of what is read, and one again */
static bool read_mostly(struct actor *a)
{
	struct range r = range_pick(a);
	struct torn t = torn_begin(a->w, &r);
	int ret;

	range_note(a, &r);
	ret = policy_switch(a->w->s.fd, UVM_SET_READ_MOSTLY, range_start(a->w, &r),
			    range_size(&r), pick(a, 4) > 0);
	if (ret && !(ret == -EFAULT && torn(a->w, &t)))
		fail_range(a, &r, "UVM_SET_READ_MOSTLY", ret);
	return true;
}

/*
 * A range comes into a group, or goes; or the ranges of one, as there are more and more of
 * them, may not move until somebody allows it again.
 */
static bool group(struct actor *a)
{
	uint32_t group = a->w->group[pick(a, MODEL_GROUPS)];
	struct range r = range_pick(a);
	struct torn t = torn_begin(a->w, &r);
	int fd = a->w->s.fd, ret;

	if (!pick(a, 3)) {
		ret = group_allow(fd, group, pick(a, 3) > 0);
		if (ret)
			fail_range(a, &r, "UVM_ALLOW_MIGRATION", ret);
		return true;
	}
	range_note(a, &r);
	ret = policy_group(fd, range_start(a->w, &r), range_size(&r),
			   pick(a, 2) ? group : 0);
	if (ret && !(ret == -EFAULT && torn(a->w, &t)))
		fail_range(a, &r, "UVM_SET_RANGE_GROUP", ret);
	return true;
}

/* Its migration is forbidden for a moment. */
static int group_at_random(struct actor *a, const struct range *r)
{
	int fd = a->w->s.fd, ret;
	uint32_t group;

	ASSERT_RET(group_create(fd, &group), 0);
	ret = policy_group(fd, range_start(a->w, r), range_size(r), group);
	ASSERT_RET(group_allow(fd, group, 0), 0);
	if (pick(a, 2))
		ASSERT_RET(group_allow(fd, group, 1), 0);
	ASSERT_RET(group_destroy(fd, group), 0);
	return ret;
}

/* Somebody else may have unmapped a part of it for a while. */
static bool set_policy(struct actor *a)
{
	const struct uvm_gpu_info *gpu = &a->w->gpu[pick(a, a->w->gpus)];
	struct range r = range_pick(a);
	struct torn t = torn_begin(a->w, &r);
	int ret;

	range_note(a, &r);
	switch (pick(a, 4)) {
	case 0:
		ret = switch_at_random(a, &r);
		break;
	case 1:
		ret = prefer_at_random(a, &r);
		break;
	case 2:
		ret = policy_accessed_by(a->w->s.fd, range_start(a->w, &r),
					 range_size(&r), gpu->uuid, pick(a, 2));
		break;
	default:
		ret = group_at_random(a, &r);
	}
	if (ret && !(ret == -EFAULT && torn(a->w, &t)))
		fail_range(a, &r, "a policy", ret);
	return true;
}

/* What was freed goes without being written to swap, unless it was written since. */
static bool page_out(struct actor *a)
{
	struct range r = a->lazy;

	a->lazy.count = 0;
	if (r.count && pick(a, 4))
		return advise_range(a, &r, MADV_PAGEOUT);
	return advise(a, MADV_PAGEOUT);
}

static bool swap_in(struct actor *a)
{
	return advise(a, MADV_WILLNEED);
}

static bool cool(struct actor *a)
{
	return advise(a, MADV_COLD);
}

static bool allow_huge(struct actor *a)
{
	return advise(a, MADV_HUGEPAGE);
}

static bool forbid_huge(struct actor *a)
{
	return advise(a, MADV_NOHUGEPAGE);
}

/* Fails where a part of the block is on a GPU, on its way, or of another kind. */
static bool collapse(struct actor *a)
{
	struct range r = block_of(page_pick(a));

	range_note(a, &r);
	madvise(range_start(a->w, &r), HUGE, MADV_COLLAPSE);
	return true;
}

static bool split(struct actor *a)
{
	struct range r = range_pick(a);
	char text[80];

	range_note(a, &r);
	snprintf(text, sizeof(text), "%d,0x%llx,0x%llx", getpid(),
		 (unsigned long long)ADDR(range_start(a->w, &r)),
		 (unsigned long long)ADDR(range_start(a->w, &r) + range_size(&r)));
	write_text(SPLIT_HUGE_PAGES, text);
	return true;
}

/* Managed memory only loses its entries by it. */
static bool has_swap(const struct world *w)
{
	return w->swap || w->managed;
}

static bool has_huge(const struct world *w)
{
	return w->huge && !w->managed;
}

static bool can_split(const struct world *w)
{
	return w->split && !w->managed;
}

static bool is_managed(const struct world *w)
{
	return w->managed;
}

static bool is_ordinary(const struct world *w)
{
	return !w->managed;
}

static bool where_is(struct actor *a)
{
	struct uvm_page_state st[HUGE / PAGE];
	struct range r = range_pick(a);
	int ret = residency(a->w->s.fd, range_start(a->w, &r), range_size(&r), st);
	size_t i;

	if (ret && ret != -EBUSY)
		fail_range(a, &r, "UVM_QUERY_RESIDENCY", ret);
	for (i = 0; !ret && i < r.count; i++)
		if (st[i].where == UVM_WHERE_OTHER_DEVICE)
			model_fail(a, (r.first + i) * PAGE, "on a device of others");
	return true;
}

/* ---- what changes content, rights and mappings, of claimed pages ---- */

/* What an access must end with that no CPU could make either */
struct refusal {
	struct uvm_sim_cmd cmd;
	unsigned int reason;
	unsigned int access;
};

static void expect_refused(struct actor *a, size_t at, const struct refusal *want)
{
	const uint8_t *uuid = a->w->gpu[pick(a, a->w->gpus)].uuid;
	struct uvm_channel_query q;
	int fd = a->w->s.fd, ret;
	uint32_t channel;

	ASSERT_RET(channel_create(fd, uuid, &channel), 0);
	ret = channel_run(fd, channel, &want->cmd, 1);
	ASSERT_RET(channel_query(fd, channel, &q), 0);
	if (ret != -ECANCELED || q.out_state != UVM_CHANNEL_FAULTED ||
	    q.out_reason != want->reason || q.out_access != want->access ||
	    q.out_address != want->cmd.dst)
		model_fail(a, at, "wanted a fault of reason %u, access %u; wait gave %d, channel: state %u, reason %u, access %u, address 0x%llx",
			   want->reason, want->access, ret, q.out_state, q.out_reason,
			   q.out_access, (unsigned long long)q.out_address);
	ASSERT_RET(channel_destroy(fd, channel), 0);
}

static size_t byte_pick(struct actor *a, const struct range *r)
{
	return r->first * PAGE + pick(a, range_size(r));
}

static void expect_no_read(struct actor *a, const struct range *r, unsigned int reason)
{
	size_t at = byte_pick(a, r);

	expect_refused(a, at, &(struct refusal){
		.cmd = CMD(TOUCH, .dst = ADDR(region_at(a, at)), .length = 1,
			   .arg0 = 1),
		.reason = reason,
		.access = UVM_ACCESS_READ,
	});
}

static void expect_no_write(struct actor *a, const struct range *r, unsigned int reason)
{
	size_t at = byte_pick(a, r) & ~7UL;
	uint64_t dst = ADDR(region_at(a, at));
	struct refusal want = { .reason = reason, .access = UVM_ACCESS_WRITE };

	switch (pick(a, 3)) {
	case 0:
		want.cmd = CMD(FILL, .dst = dst, .length = 8, .arg0 = 0xdd);
		break;
	case 1:
		want.cmd = CMD(TOUCH, .dst = dst, .length = 1, .arg0 = 1, .arg1 = 1);
		break;
	case 2:
		want.cmd = CMD(ATOMIC_ADD, .dst = dst, .arg0 = 1, .arg1 = 1);
		want.access = UVM_ACCESS_ATOMIC;
		break;
	}
	expect_refused(a, at, &want);
}

/* Nobody may have more rights than the claim left. That there are copies is none. */
static void expect_rights(struct actor *a, const struct range *r, unsigned int most)
{
	struct uvm_page_state st[HUGE / PAGE];
	int ret = residency(a->w->s.fd, range_start(a->w, r), range_size(r), st);
	size_t i;

	if (ret && ret != -EBUSY)
		fail_range(a, r, "UVM_QUERY_RESIDENCY", ret);
	for (i = 0; !ret && i < r->count; i++)
		if (st[i].prot & ~(most | UVM_PAGE_COPIED))
			model_fail(a, (r->first + i) * PAGE, "wanted rights 0x%x at most, saw 0x%x",
				   most, st[i].prot);
}

static void change_rights(struct actor *a, const struct range *r, int prot)
{
	if (mprotect(range_start(a->w, r), range_size(r), prot))
		fail_range(a, r, "mprotect", -errno);
}

static void map_again(struct actor *a, const struct range *r)
{
	uint8_t *p = range_start(a->w, r);

	if (!region_map(a->w, p, range_size(r)))
		fail_range(a, r, "mmap", -errno);
	madvise(p, range_size(r), pick(a, 2) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static bool unmap(struct actor *a)
{
	struct range r = range_pick(a);

	if (!range_claim(a, &r, 0))
		return false;
	if (munmap(range_start(a->w, &r), range_size(&r)))
		fail_range(a, &r, "munmap", -errno);
	expect_rights(a, &r, 0);
	if (pick(a, 2))
		expect_no_read(a, &r, UVM_FAULT_NO_MAPPING);
	else
		expect_no_write(a, &r, UVM_FAULT_NO_MAPPING);
	map_again(a, &r);
	range_zero(a->w, &r);
	range_release(a->w, &r);
	return true;
}

/* Of managed memory only the entries go. */
static bool drop(struct actor *a)
{
	struct range r = range_pick(a);

	if (!range_claim(a, &r, MAPPED))
		return false;
	if (madvise(range_start(a->w, &r), range_size(&r), MADV_DONTNEED))
		fail_range(a, &r, "madvise", -errno);
	if (!a->w->managed)
		range_zero(a->w, &r);
	range_release(a->w, &r);
	return true;
}

/* By a channel that there is for nothing else */
static void gpu_fills(struct actor *a, size_t at, size_t length, int byte)
{
	const uint8_t *uuid = a->w->gpu[pick(a, a->w->gpus)].uuid;
	struct uvm_sim_cmd cmd = CMD(FILL, .dst = ADDR(region_at(a, at)),
				     .length = length, .arg0 = byte);
	int fd = a->w->s.fd, ret;
	uint32_t channel;

	ASSERT_RET(channel_create(fd, uuid, &channel), 0);
	ret = channel_run(fd, channel, &cmd, 1);
	if (ret)
		model_fail(a, at, "a store by GPU gave %d", ret);
	ASSERT_RET(channel_destroy(fd, channel), 0);
}

static void fill_by_gpu(struct actor *a, const struct range *r, int byte)
{
	gpu_fills(a, r->first * PAGE, range_size(r), byte);
}

/* A GPU writes a cell. */
static void write_by_gpu(struct actor *a, size_t at)
{
	const struct span s = { .at = at, .length = CELL };
	int byte = pick(a, 256);
	uint8_t data[CELL];

	memset(data, byte, CELL);
	model_store(a, &s, data);
	gpu_fills(a, at, CELL, byte);
}

static void bring_home(struct actor *a, const struct range *r)
{
	struct uvm_migrate m;
	int ret = migrate(a->w->s.fd, range_start(a->w, r), range_size(r), UVM_DEST_CPU,
			  0, NULL, &m);

	if (ret)
		fail_range(a, r, "UVM_MIGRATE", ret);
}

/*
 * Of a freed range, what is written must stay, and reclaim drops what it takes for
 * clean: only the driver knows of stores that a GPU makes in system memory.
 */
static void write_freed(struct actor *a, const struct range *r)
{
	stay(a->w->s.fd, range_start(a->w, r), range_size(r));
	write_by_gpu(a, byte_pick(a, r) / CELL * CELL);
	if (madvise(range_start(a->w, r), range_size(r), MADV_PAGEOUT))
		fail_range(a, r, "madvise", -errno);
}

static bool free_lazily(struct actor *a)
{
	struct range r = range_pick(a);
	bool in_place = a->w->swap && pick(a, 2);
	size_t i;

	if (!range_claim(a, &r, MAPPED))
		return false;
	range_settle(a, &r);
	if (in_place)
		bring_home(a, &r);
	if (madvise(range_start(a->w, &r), range_size(&r), MADV_FREE))
		fail_range(a, &r, "madvise", -errno);
	for (i = 0; i < r.count; i++)
		a->w->pages[r.first + i].freed = true;
	a->lazy = r;
	if (in_place)
		write_freed(a, &r);
	range_release(a->w, &r);
	return true;
}

/* Agents may read all the while, also when the rights are just being changed. */
static bool forbid_writes(struct actor *a)
{
	struct range r = range_pick(a);
	struct uvm_migrate m;
	int ret;

	if (!range_claim(a, &r, MAPPED | MAY_READ))
		return false;
	change_rights(a, &r, PROT_READ | a->w->spoilt_prot);
	expect_rights(a, &r, UVM_PAGE_READ);
	if (pick(a, 2)) {
		ret = migrate(a->w->s.fd, range_start(a->w, &r), range_size(&r),
			      UVM_DEST_GPU, 0, a->w->gpu[0].uuid, &m);
		if (ret)
			fail_range(a, &r, "UVM_MIGRATE", ret);
		expect_accounts(&m);
	}
	expect_no_write(a, &r, UVM_FAULT_PERMISSION);
	change_rights(a, &r, PROT_READ | PROT_WRITE);
	range_release(a->w, &r);
	return true;
}

static bool forbid_all(struct actor *a)
{
	struct range r = range_pick(a);
	struct uvm_migrate m;
	int ret;

	if (!range_claim(a, &r, 0))
		return false;
	change_rights(a, &r, PROT_NONE);
	expect_rights(a, &r, 0);
	expect_no_read(a, &r, UVM_FAULT_PERMISSION);
	ret = migrate(a->w->s.fd, range_start(a->w, &r), range_size(&r), UVM_DEST_CPU,
		      0, NULL, &m);
	if (ret != -EFAULT)
		fail_range(a, &r, "UVM_MIGRATE, which must fail,", ret);
	change_rights(a, &r, PROT_READ | PROT_WRITE);
	range_release(a->w, &r);
	return true;
}

/* Two ranges of the same length, with nothing in common */
static bool range_pick_two(struct actor *a, struct range *r, struct range *q)
{
	*r = range_pick(a);
	q->first = page_pick(a);
	q->count = r->count;
	if (r->count == HUGE / PAGE)
		q->first -= q->first % (HUGE / PAGE);
	return q->first + q->count <= PAGES && !ranges_overlap(r, q);
}

static bool claim_two(struct actor *a, const struct range *r, const struct range *q)
{
	if (!range_claim(a, r, 0))
		return false;
	if (range_claim(a, q, 0))
		return true;
	range_release(a->w, r);
	return false;
}

/* Most kernels move no more than one mapping at a time: then page by page. */
static void remap(struct actor *a, const struct range *r, uint8_t *from, uint8_t *to,
		  int flags)
{
	size_t length = range_size(r), i;

	flags |= MREMAP_MAYMOVE | MREMAP_FIXED;
	if (mremap(from, length, length, flags, to) == to)
		return;
	for (i = 0; i < length; i += PAGE)
		if (mremap(from + i, PAGE, PAGE, flags, to + i) != to + i)
			fail_range(a, r, "mremap", -errno);
}

static bool change_places(struct actor *a)
{
	struct world *w = a->w;
	struct range r, q;
	uint8_t *aside;
	size_t i;

	if (!range_pick_two(a, &r, &q) || !claim_two(a, &r, &q))
		return false;
	/* nobody else's: it belongs to the claimed range */
	aside = w->aside + r.first * PAGE;
	range_settle(a, &r);
	range_settle(a, &q);
	remap(a, &r, range_start(w, &r), aside, 0);
	remap(a, &q, range_start(w, &q), range_start(w, &r), 0);
	remap(a, &r, aside, range_start(w, &q), 0);
	for (i = 0; i < range_size(&r); i++) {
		uint8_t *x = w->shadow + r.first * PAGE + i;
		uint8_t *y = w->shadow + q.first * PAGE + i, byte = *x;

		*x = *y;
		*y = byte;
	}
	range_release(w, &r);
	range_release(w, &q);
	return true;
}

/* The one gets the pages of the other, which is left with none. */
static bool take_over(struct actor *a)
{
	struct world *w = a->w;
	struct range r, q;

	if (!range_pick_two(a, &r, &q) || !claim_two(a, &r, &q))
		return false;
	range_settle(a, &r);
	remap(a, &r, range_start(w, &r), range_start(w, &q), MREMAP_DONTUNMAP);
	range_zero(w, &q);
	memcpy(w->shadow + q.first * PAGE, w->shadow + r.first * PAGE, range_size(&r));
	range_zero(w, &r);
	range_release(w, &r);
	range_release(w, &q);
	return true;
}

/* ---- fork ---- */

static void child_compare(struct actor *a, const struct range *r)
{
	uint8_t seen[PAGE];
	size_t page;

	for (page = r->first; page < r->first + r->count; page++) {
		memcpy(seen, region_at(a, page * PAGE), PAGE);
		model_compare_page(a, page, seen);
	}
}

static void child_write(struct actor *a, const struct range *r)
{
	size_t length = 1 + pick(a, range_size(r));
	size_t at = r->first * PAGE + pick(a, range_size(r) - length + 1), i;

	for (i = at; i < at + length; i++)
		*region_at(a, i) = *shadow_at(a, i) = i * 7 + a->ticket;
}

/* The child's GPU work is in a VA space of its own, over memory that may be shared. */
static void child_gpu(struct actor *a, const struct range *r)
{
	const uint8_t *uuid = a->w->gpu[pick(a, a->w->gpus)].uuid;
	size_t length = 1 + pick(a, range_size(r));
	size_t at = r->first * PAGE + pick(a, range_size(r) - length + 1);
	struct uvm_migrate m;

	ASSERT_RET(space_open(&a->w->s), 0);
	ASSERT_RET(register_gpu(a->w->s.fd, uuid), 0);
	ASSERT_RET(channel_create(a->w->s.fd, uuid, &a->channel), 0);
	if (pick(a, 2)) {
		ASSERT_RET(migrate(a->w->s.fd, range_start(a->w, r), range_size(r),
				   UVM_DEST_GPU, 0, uuid, &m), 0);
		expect_accounts(&m);
	}
	gpu_run(a, CMD(XOR, .dst = ADDR(region_at(a, at)), .length = length,
		       .arg0 = a->ticket));
	model_xor(a, at, length, a->ticket);
}

static void child_main(struct actor *a, const struct range *r)
{
	a->verb = "child";
	child_compare(a, r);
	child_write(a, r);
	child_compare(a, r);
	if (!pick(a, 3)) {
		child_gpu(a, r);
		child_compare(a, r);
	}
	child_exit();
}

void kid_reap(struct actor *a)
{
	if (!a->kid)
		return;
	/* it has told why */
	ASSERT_EQ(child_wait(a->kid), 0);
	a->kid = 0;
}

static bool fork_child(struct actor *a)
{
	struct range r = range_pick(a);

	kid_reap(a);
	if (r.count > WINDOW_PAGES)
		r.count = WINDOW_PAGES;
	if (!range_claim(a, &r, MAPPED))
		return false;
	range_settle(a, &r);
	/* they may read while it is being forked, and write while it runs */
	range_grant(a->w, &r, MAPPED | MAY_READ);
	a->kid = child();
	if (!a->kid)
		child_main(a, &r);
	range_release(a->w, &r);
	return true;
}

/* A child that has nothing of the region, and its end, while all goes on */
static bool fork_bare(struct actor *a)
{
	struct range r = range_pick(a);
	unsigned char there;

	kid_reap(a);
	range_note(a, &r);
	a->kid = child();
	if (!a->kid) {
		/* ENOMEM: not mapped */
		ASSERT_EQ(mincore(range_start(a->w, &r), PAGE, &there), -1);
		child_exit();
	}
	return true;
}

/* ---- discard ---- */

/* Nobody knows what is there until somebody writes all of it: the GPU, or the CPU. */
static bool discard_and_write(struct actor *a)
{
	struct range r = range_pick(a);
	struct uvm_discard d;
	int ret, byte = pick(a, 256);

	if (!range_claim(a, &r, MAPPED))
		return false;
	range_settle(a, &r);
	ret = discard(a->w->s.fd, range_start(a->w, &r), range_size(&r),
		      pick(a, 2) ? UVM_DISCARD_EAGER : 0, &d);
	if (ret)
		fail_range(a, &r, "UVM_DISCARD", ret);
	discard_expect_accounts(&d);
	memset(a->w->shadow + r.first * PAGE, byte, range_size(&r));
	if (pick(a, 2))
		memset(range_start(a->w, &r), byte, range_size(&r));
	else
		fill_by_gpu(a, &r, byte);
	range_release(a->w, &r);
	return true;
}

/* ---- the table ---- */

static const struct op disturbances[] = {
	{ "to a GPU", to_gpu, 20, NULL },
	{ "all to a GPU", flood, 3, NULL },
	{ "to the CPU", to_cpu, 8, NULL },
	{ "to a node", to_node, 5, has_nodes },
	{ "policy", set_policy, 12, NULL },
	{ "read-mostly", read_mostly, 6, NULL },
	{ "group", group, 3, NULL },
	{ "out to swap", page_out, 6, has_swap },
	{ "in from swap", swap_in, 3, has_swap },
	{ "cold", cool, 3, NULL },
	{ "huge pages", allow_huge, 3, has_huge },
	{ "no huge pages", forbid_huge, 3, has_huge },
	{ "collapse", collapse, 3, has_huge },
	{ "split", split, 3, can_split },
	{ "where", where_is, 3, NULL },
	{ "munmap, mmap", unmap, 4, NULL },
	{ "MADV_DONTNEED", drop, 4, NULL },
	{ "MADV_FREE", free_lazily, 4, is_ordinary },
	{ "read-only", forbid_writes, 4, NULL },
	{ "no access", forbid_all, 3, NULL },
	{ "mremap", change_places, 4, is_ordinary },
	{ "mremap, source kept", take_over, 6, is_ordinary },
	{ "fork", fork_child, 3, is_ordinary },
	{ "fork, nothing to have", fork_bare, 3, is_managed },
	{ "discard, write", discard_and_write, 4, NULL },
};

const struct table disturbance_table = TABLE("disturbers", disturbances);
