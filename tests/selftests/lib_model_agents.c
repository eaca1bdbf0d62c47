// SPDX-License-Identifier: GPL-2.0-only
/* What agents do: CPU threads, and GPU channels; see the DOC block of model.c. */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "lib_model.h"

/* ---- what CPUs do ---- */

static bool cpu_read(struct actor *a)
{
	uint8_t seen[SPAN_MAX];
	struct span s;

	if (!span_pick(a, false, &s))
		return false;
	memcpy(seen, region_at(a, s.at), s.length);
	model_compare(a, &s, seen, shadow_at(a, s.at));
	span_leave(a->w, &s);
	return true;
}

static bool cpu_write(struct actor *a)
{
	uint8_t data[SPAN_MAX];
	struct span s;

	if (!span_pick(a, true, &s))
		return false;
	random_bytes(a, data, s.length);
	model_store(a, &s, data);
	memcpy(region_at(a, s.at), data, s.length);
	span_leave(a->w, &s);
	return true;
}

/* The kernel reads for the process, and writes. */
static bool cpu_syscall(struct actor *a)
{
	uint8_t data[SPAN_MAX];
	bool in = pick(a, 2);
	ssize_t length;
	struct span s;

	if (!span_pick(a, in, &s))
		return false;
	length = s.length;
	if (in) {
		random_bytes(a, data, s.length);
		model_store(a, &s, data);
		ASSERT_EQ(write(a->pipe[1], data, length), length);
		ASSERT_EQ(read(a->pipe[0], region_at(a, s.at), length), length);
	} else {
		ASSERT_EQ(write(a->pipe[1], region_at(a, s.at), length), length);
		ASSERT_EQ(read(a->pipe[0], data, length), length);
		model_compare(a, &s, data, shadow_at(a, s.at));
	}
	span_leave(a->w, &s);
	return true;
}

/* The shadow first: it is never behind. */
static bool cpu_add(struct actor *a)
{
	uint64_t n = 1 + pick(a, MAX_ADD);
	struct span s;

	if (!span_pick_counter(a, &s))
		return false;
	__atomic_fetch_add((uint64_t *)shadow_at(a, s.at), n, __ATOMIC_SEQ_CST);
	__atomic_fetch_add((uint64_t *)region_at(a, s.at), n, __ATOMIC_SEQ_CST);
	span_leave(a->w, &s);
	return true;
}

/* What has begun may be counted already; what is under way is all that may lack. */
static bool cpu_count(struct actor *a)
{
	const uint64_t under_way = AGENTS * BATCH * MAX_ADD * MAX_TIMES;
	uint64_t before, seen, after;
	struct span s;

	if (!span_pick_counter(a, &s))
		return false;
	before = __atomic_load_n((uint64_t *)shadow_at(a, s.at), __ATOMIC_SEQ_CST);
	seen = __atomic_load_n((uint64_t *)region_at(a, s.at), __ATOMIC_SEQ_CST);
	after = __atomic_load_n((uint64_t *)shadow_at(a, s.at), __ATOMIC_SEQ_CST);
	if (after - seen > after - before + under_way)
		model_fail(a, s.at, "wanted a count from 0x%llx to 0x%llx, saw 0x%llx",
			   (unsigned long long)(before - under_way),
			   (unsigned long long)after, (unsigned long long)seen);
	span_leave(a->w, &s);
	return true;
}

/* A store that changes nothing, to anybody's bytes */
static bool cpu_touch(struct actor *a)
{
	size_t word = pick(a, PAGE / 4) * 4;
	struct span s;
	size_t at;

	if (!span_enter_pages(a, &s))
		return false;
	for (at = word; at < s.length; at += PAGE)
		__atomic_fetch_or((uint32_t *)(region_at(a, s.at) + at), 0,
				  __ATOMIC_SEQ_CST);
	span_leave(a->w, &s);
	return true;
}

static const struct op cpu_ops[] = {
	{ "reads", cpu_read, 10, NULL },
	{ "writes", cpu_write, 10, NULL },
	{ "reads or writes by system call", cpu_syscall, 3, NULL },
	{ "adds", cpu_add, 5, NULL },
	{ "counts", cpu_count, 3, NULL },
	{ "touches", cpu_touch, 1, NULL },
};

const struct table cpu_table = TABLE("CPU threads", cpu_ops);

/* ---- what GPUs do: each adds a command to the batch ---- */

static uint8_t *slot(struct actor *a, uint8_t *base)
{
	return base + a->nr * SPAN_MAX;
}

/* @check bytes of result are to be as in the slot of @want. */
static bool gpu_queue(struct actor *a, struct uvm_sim_cmd cmd, const struct span *s,
		      const struct span *other, size_t check)
{
	struct job *job = &a->job[a->nr];

	*job = (struct job){
		.verb = a->verb,
		.ticket = a->ticket,
		.check = check,
		.span[0] = *s,
	};
	if (other)
		job->span[1] = *other;
	a->cmd[a->nr++] = cmd;
	return true;
}

static bool gpu_read(struct actor *a)
{
	struct span s;

	if (!span_pick(a, false, &s))
		return false;
	memcpy(slot(a, a->want), shadow_at(a, s.at), s.length);
	return gpu_queue(a, CMD(COPY, .dst = ADDR(slot(a, a->out)),
				.src = ADDR(region_at(a, s.at)), .length = s.length),
			 &s, NULL, s.length);
}

/* Whole words, of which the span may be a part: they are in the same area. */
static void whole_words(struct span *s)
{
	size_t end = (s->at + s->length + 7) & ~7UL;

	s->at &= ~7UL;
	s->length = end - s->at;
}

static bool gpu_digest(struct actor *a)
{
	bool sum = pick(a, 2);
	uint64_t want;
	struct span s;

	if (!span_pick(a, false, &s))
		return false;
	if (s.may_be_zero) {
		span_leave(a->w, &s);
		return false;
	}
	whole_words(&s);
	want = sum ? sum64(shadow_at(a, s.at), s.length) :
	       crc32c(shadow_at(a, s.at), s.length);
	memcpy(slot(a, a->want), &want, 8);
	return gpu_queue(a, (struct uvm_sim_cmd){
				.op = sum ? UVM_SIM_SUM : UVM_SIM_CRC32C,
				.dst = ADDR(slot(a, a->out)),
				.src = ADDR(region_at(a, s.at)), .length = s.length,
			 }, &s, NULL, 8);
}

static bool gpu_write(struct actor *a)
{
	struct span s;

	if (!span_pick(a, true, &s))
		return false;
	random_bytes(a, slot(a, a->in), s.length);
	model_store(a, &s, slot(a, a->in));
	return gpu_queue(a, CMD(COPY, .dst = ADDR(region_at(a, s.at)),
				.src = ADDR(slot(a, a->in)), .length = s.length),
			 &s, NULL, 0);
}

static bool gpu_fill(struct actor *a)
{
	uint8_t data[SPAN_MAX];
	int byte = pick(a, 256);
	struct span s;

	if (!span_pick(a, true, &s))
		return false;
	memset(data, byte, s.length);
	model_store(a, &s, data);
	return gpu_queue(a, CMD(FILL, .dst = ADDR(region_at(a, s.at)),
				.length = s.length, .arg0 = byte), &s, NULL, 0);
}

/* One's own bytes, to be changed depending on what they are: that must be known. */
static bool span_pick_known(struct actor *a, struct span *s)
{
	if (!span_pick(a, true, s))
		return false;
	if (!s->may_be_zero)
		return true;
	span_leave(a->w, s);
	return false;
}

static bool gpu_xor(struct actor *a)
{
	uint64_t key = harness_random(&a->rng);
	struct span s;

	if (!span_pick_known(a, &s))
		return false;
	model_xor(a, s.at, s.length, key);
	return gpu_queue(a, CMD(XOR, .dst = ADDR(region_at(a, s.at)),
				.length = s.length, .arg0 = key), &s, NULL, 0);
}

static bool gpu_copy(struct actor *a)
{
	struct span from, to, part;

	if (!span_pick_known(a, &to))
		return false;
	if (!span_pick(a, false, &from)) {
		span_leave(a->w, &to);
		return false;
	}
	if (from.may_be_zero ||
	    (from.at < to.at + to.length && to.at < from.at + from.length)) {
		span_leave(a->w, &to);
		span_leave(a->w, &from);
		return false;
	}
	part = to;
	if (part.length > from.length)
		part.length = from.length;
	model_store(a, &part, shadow_at(a, from.at));
	return gpu_queue(a, CMD(COPY, .dst = ADDR(region_at(a, part.at)),
				.src = ADDR(region_at(a, from.at)),
				.length = part.length), &to, &from, 0);
}

/* To the word that the span begins in */
static bool gpu_queue_add(struct actor *a, const struct span *s)
{
	uint64_t n = 1 + pick(a, MAX_ADD), times = 1 + pick(a, MAX_TIMES);
	size_t word = s->at & ~7UL;

	__atomic_fetch_add((uint64_t *)shadow_at(a, word), n * times, __ATOMIC_SEQ_CST);
	return gpu_queue(a, CMD(ATOMIC_ADD, .dst = ADDR(region_at(a, word)), .arg0 = n,
				.arg1 = times), s, NULL, 0);
}

static bool gpu_add(struct actor *a)
{
	struct span s;

	return span_pick_known(a, &s) && gpu_queue_add(a, &s);
}

static bool gpu_count(struct actor *a)
{
	struct span s;

	return span_pick_counter(a, &s) && gpu_queue_add(a, &s);
}

static bool counts_everywhere(const struct world *w)
{
	return w->counts_everywhere;
}

static bool gpu_touch(struct actor *a)
{
	size_t skip = pick(a, PAGE);
	struct span s;

	if (!span_enter_pages(a, &s))
		return false;
	return gpu_queue(a, CMD(TOUCH, .dst = ADDR(region_at(a, s.at)) + skip,
				.length = s.length - skip, .arg0 = PAGE,
				.arg1 = pick(a, 2)), &s, NULL, 0);
}

static const struct op gpu_ops[] = {
	{ "GPU reads", gpu_read, 10, NULL },
	{ "GPU sums or checks", gpu_digest, 5, NULL },
	{ "GPU writes", gpu_write, 6, NULL },
	{ "GPU fills", gpu_fill, 3, NULL },
	{ "GPU xors", gpu_xor, 4, NULL },
	{ "GPU copies", gpu_copy, 3, NULL },
	{ "GPU adds", gpu_add, 4, counts_everywhere },
	{ "GPU counts", gpu_count, 5, counts_everywhere },
	{ "GPU touches", gpu_touch, 2, NULL },
};

const struct table gpu_table = TABLE("channels", gpu_ops);

static void channel_check(struct actor *a, int ret)
{
	struct uvm_channel_query q = { 0 };
	size_t at = 0;

	if (!ret)
		return;
	channel_query(a->w->s.fd, a->channel, &q);
	if (q.out_address - ADDR(a->w->region) < REGION_SIZE)
		at = q.out_address - ADDR(a->w->region);
	model_fail(a, at, "a batch gave %d; channel: state %u, reason %u, access %u, address 0x%llx",
		   ret, q.out_state, q.out_reason, q.out_access,
		   (unsigned long long)q.out_address);
}

static void job_finish(struct actor *a, unsigned int i)
{
	struct job *job = &a->job[i];
	struct span seen = job->span[0];

	a->verb = job->verb;
	a->ticket = job->ticket;
	seen.length = job->check;
	if (job->check)
		model_compare(a, &seen, a->out + i * SPAN_MAX, a->want + i * SPAN_MAX);
	span_leave(a->w, &job->span[0]);
	if (job->span[1].length)
		span_leave(a->w, &job->span[1]);
}

void gpu_flush(struct actor *a)
{
	unsigned int i;

	if (!a->nr)
		return;
	memset(a->out, 0xa5, a->nr * SPAN_MAX);
	channel_check(a, channel_run(a->w->s.fd, a->channel, a->cmd, a->nr));
	for (i = 0; i < a->nr; i++)
		job_finish(a, i);
	a->nr = 0;
}

void gpu_run(struct actor *a, struct uvm_sim_cmd cmd)
{
	channel_check(a, channel_run(a->w->s.fd, a->channel, &cmd, 1));
}
