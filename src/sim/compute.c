// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: Compute engine
 *
 * Owns the meaning of the commands in <linux/uvm_sim.h>. Takes no locks: a task
 * belongs to the one thread that steps it.
 *
 * A command runs in steps of at most one piece: as many bytes as neither source
 * nor destination cross a page. Each step returns 1 if there is more to do, 0 if
 * the command is complete, or the error of the access that failed. After -EAGAIN
 * the same step resumes at that access. Memory is read and written exactly once:
 * what a step loaded before its store stalled is kept in the task. What only goes into
 * a result is taken from where it is (&sim_port.fold): a GPU loads it into registers.
 *
 * A GPU has many threads, and all of them may miss at once. Here the one that steps
 * tells what the others would access (sim_task_ahead()): the next pages of the
 * command, in the order in which the steps will come to them, and how. A page that
 * is read to be written is told as a store.
 */

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/math.h>
#include <linux/string.h>
#include <linux/uvm.h>

#include "compute.h"

#define SIM_WORD	8U
#define SIM_BINS	256U

/* What a command uses and demands; whatever it doesn't use must be 0. */
#define SIM_DST		BIT(0)
#define SIM_SRC		BIT(1)
#define SIM_LEN		BIT(2)
#define SIM_ARG0	BIT(3)
#define SIM_ARG1	BIT(4)
#define SIM_DST_WORD	BIT(5)
#define SIM_SRC_WORD	BIT(6)
#define SIM_LEN_WORD	BIT(7)

/**
 * struct sim_ahead - a look at what comes next
 * @port: who wants to know
 * @pages: how many pages he wants to be told
 */
struct sim_ahead {
	struct sim_port *port;
	unsigned int pages;
};

/**
 * struct sim_op - one operation of the engine
 * @step: run one piece
 * @ahead: tell what comes after the access that missed; NULL if nothing is known
 * @rules: mask of SIM_*
 * @result: bytes stored at dst, or 0 for as many as the command's length
 */
struct sim_op {
	int (*step)(struct sim_task *task, struct sim_port *port);
	void (*ahead)(const struct sim_task *task, struct sim_ahead *ahead);
	u32 rules;
	u32 result;
};

/* Slicing by eight: entry [k][b] is byte b followed by k zero bytes. */
static u32 crc_table[SIM_WORD][256];

/**
 * sim_compute_init() - compute the CRC tables
 */
void sim_compute_init(void)
{
	unsigned int b, k;
	u32 crc;

	for (b = 0; b < 256; b++) {
		crc = b;
		for (k = 0; k < 8; k++)
			crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78U : 0);
		crc_table[0][b] = crc;
	}
	for (k = 1; k < SIM_WORD; k++)
		for (b = 0; b < 256; b++) {
			crc = crc_table[k - 1][b];
			crc_table[k][b] = (crc >> 8) ^ crc_table[0][crc & 0xff];
		}
}

static u32 crc32c(u32 crc, const u8 *p, u32 n)
{
	for (; n >= SIM_WORD; n -= SIM_WORD, p += SIM_WORD) {
		crc ^= p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 |
		       (u32)p[3] << 24;
		crc = crc_table[7][crc & 0xff] ^
		      crc_table[6][(crc >> 8) & 0xff] ^
		      crc_table[5][(crc >> 16) & 0xff] ^
		      crc_table[4][crc >> 24] ^
		      crc_table[3][p[4]] ^ crc_table[2][p[5]] ^
		      crc_table[1][p[6]] ^ crc_table[0][p[7]];
	}
	for (; n; n--)
		crc = (crc >> 8) ^ crc_table[0][(crc ^ *p++) & 0xff];
	return crc;
}

/* Bytes from @va to the end of its page, at most @left. */
static u32 piece(u64 left, u64 va)
{
	u32 room = SIM_PAGE_SIZE - (va & (SIM_PAGE_SIZE - 1));

	return left < room ? left : room;
}

static u64 left(const struct sim_task *task)
{
	return task->cmd.length - task->done;
}

static int more(const struct sim_task *task)
{
	return task->done < task->cmd.length;
}

static int step_nop(struct sim_task *task, struct sim_port *port)
{
	return 0;
}

static int step_fill(struct sim_task *task, struct sim_port *port)
{
	u64 dst = task->cmd.dst + task->done;
	u32 n = piece(left(task), dst);
	int ret;

	if (!task->done)
		memset(task->buf.bytes, (u8)task->cmd.arg0, SIM_PAGE_SIZE);
	ret = port->write(port, dst, task->buf.bytes, n);
	if (ret)
		return ret;
	task->done += n;
	return more(task);
}

/* Load the piece of @n bytes at @src, unless a stall interrupted its store. */
static int load(struct sim_task *task, struct sim_port *port, u64 src, u32 n)
{
	int ret;

	if (task->loaded)
		return 0;
	ret = port->read(port, src, task->buf.bytes, n);
	return ret ? ret : 1;
}

static int store(struct sim_task *task, struct sim_port *port, u64 dst, u32 n)
{
	int ret;

	task->loaded = true;
	ret = port->write(port, dst, task->buf.bytes, n);
	if (!ret)
		task->loaded = false;
	return ret;
}

static int step_copy(struct sim_task *task, struct sim_port *port)
{
	u64 src = task->cmd.src + task->done;
	u64 dst = task->cmd.dst + task->done;
	u32 n = piece(piece(left(task), src), dst);
	int ret;

	ret = load(task, port, src, n);
	if (ret < 0)
		return ret;
	ret = store(task, port, dst, n);
	if (ret)
		return ret;
	task->done += n;
	return more(task);
}

static void apply_keystream(struct sim_task *task, u32 n)
{
	u64 pos = task->done, word = 0;
	u32 i;

	for (i = 0; i < n; i++, pos++) {
		if (!i || !(pos % SIM_WORD))
			word = uvm_sim_keystream(task->cmd.arg0,
						 pos / SIM_WORD);
		task->buf.bytes[i] ^= word >> (8 * (pos % SIM_WORD));
	}
}

static int step_xor(struct sim_task *task, struct sim_port *port)
{
	u64 dst = task->cmd.dst + task->done;
	u32 n = piece(left(task), dst);
	int ret;

	ret = load(task, port, dst, n);
	if (ret < 0)
		return ret;
	if (ret)
		apply_keystream(task, n);
	ret = store(task, port, dst, n);
	if (ret)
		return ret;
	task->done += n;
	return more(task);
}

/* Fold the next piece of the source; its bytes, 0 at the end, or an error. */
static int next_piece(struct sim_task *task, struct sim_port *port, sim_fold_t fold)
{
	u64 src = task->cmd.src + task->done;
	u32 n = piece(left(task), src);
	int ret;

	if (!n)
		return 0;
	ret = port->fold(port, src, n, fold, task);
	if (ret)
		return ret;
	task->done += n;
	return n;
}

static int store_word(struct sim_task *task, struct sim_port *port, u64 value)
{
	return port->write(port, task->cmd.dst, &value, SIM_WORD);
}

static int add_counts(struct sim_task *task, struct sim_port *port)
{
	u64 dst = task->cmd.dst + task->stored;
	u32 first = task->stored / SIM_WORD;
	u32 n = piece(SIM_BINS * SIM_WORD - task->stored, dst);
	u32 i;
	int ret;

	ret = load(task, port, dst, n);
	if (ret < 0)
		return ret;
	if (ret)
		for (i = 0; i < n / SIM_WORD; i++)
			task->buf.words[i] += task->counts[first + i];
	ret = store(task, port, dst, n);
	if (ret)
		return ret;
	task->stored += n;
	return task->stored < SIM_BINS * SIM_WORD;
}

static void fold_histogram(struct sim_task *task, const void *data, u32 len)
{
	const u8 *p = data, *end = p + len;

	while (p < end)
		task->counts[*p++]++;
}

static int step_histogram(struct sim_task *task, struct sim_port *port)
{
	int n;

	if (!task->done)
		memset(task->counts, 0, sizeof(task->counts));
	n = next_piece(task, port, fold_histogram);
	if (!n)
		return add_counts(task, port);
	return n < 0 ? n : 1;
}

static void fold_crc32c(struct sim_task *task, const void *data, u32 len)
{
	task->acc = crc32c(task->acc, data, len);
}

static int step_crc32c(struct sim_task *task, struct sim_port *port)
{
	int n;

	if (!task->done)
		task->acc = ~0U;
	n = next_piece(task, port, fold_crc32c);
	if (!n)
		return store_word(task, port, (u32)~task->acc);
	return n < 0 ? n : 1;
}

/* In lanes, as wide as a cache line. */
static void fold_sum(struct sim_task *task, const void *data, u32 len)
{
	const __le64 *p = data, *end = p + len / SIM_WORD;
	u64 sum = task->acc;

	for (; end - p >= 8; p += 8)
		sum += le64_to_cpu(p[0]) + le64_to_cpu(p[1]) +
		       le64_to_cpu(p[2]) + le64_to_cpu(p[3]) +
		       le64_to_cpu(p[4]) + le64_to_cpu(p[5]) +
		       le64_to_cpu(p[6]) + le64_to_cpu(p[7]);
	while (p < end)
		sum += le64_to_cpu(*p++);
	task->acc = sum;
}

static int step_sum(struct sim_task *task, struct sim_port *port)
{
	int n = next_piece(task, port, fold_sum);

	if (!n)
		return store_word(task, port, task->acc);
	return n < 0 ? n : 1;
}

static int step_atomic_add(struct sim_task *task, struct sim_port *port)
{
	int ret;

	if (task->done == task->cmd.arg1)
		return 0;
	ret = port->add(port, task->cmd.dst, task->cmd.arg0);
	if (ret)
		return ret;
	return ++task->done < task->cmd.arg1;
}

static int step_chase(struct sim_task *task, struct sim_port *port)
{
	u64 next;
	int ret;

	if (!task->done)
		task->acc = task->cmd.src;
	if (task->done == task->cmd.arg0)
		return store_word(task, port, task->acc);
	if (task->acc % SIM_WORD) {
		port->address = task->acc;
		return -EFAULT;
	}
	ret = port->read(port, task->acc, &next, SIM_WORD);
	if (ret)
		return ret;
	task->acc = next;
	task->done++;
	return 1;
}

static int step_touch(struct sim_task *task, struct sim_port *port)
{
	u64 dst = task->cmd.dst + task->done;
	int ret;
	u8 byte;

	if (task->cmd.arg1)
		ret = port->touch(port, dst);
	else
		ret = port->read(port, dst, &byte, 1);
	if (ret)
		return ret;
	if (left(task) <= task->cmd.arg0)
		return 0;
	task->done += task->cmd.arg0;
	return 1;
}

static void look(struct sim_ahead *ahead, u64 va, u32 access)
{
	if (!ahead->pages)
		return;
	ahead->pages--;
	ahead->port->ahead(ahead->port, va, access);
}

/* The pages from @base + @at to @base + @end. */
static void look_range(struct sim_ahead *ahead, u64 base, u64 at, u64 end,
		       u32 access)
{
	for (; at < end && ahead->pages; at += piece(end - at, base + at))
		look(ahead, base + at, access);
}

static void ahead_fill(const struct sim_task *task, struct sim_ahead *ahead)
{
	u64 dst = task->cmd.dst;
	u64 next = task->done + piece(left(task), dst + task->done);

	look_range(ahead, dst, next, task->cmd.length, UVM_ACCESS_WRITE);
}

static void ahead_xor(const struct sim_task *task, struct sim_ahead *ahead)
{
	if (!task->loaded)
		look(ahead, task->cmd.dst + task->done, UVM_ACCESS_WRITE);
	ahead_fill(task, ahead);
}

static bool begins_page(u64 va)
{
	return !(va % SIM_PAGE_SIZE);
}

static void ahead_copy(const struct sim_task *task, struct sim_ahead *ahead)
{
	u64 src = task->cmd.src, dst = task->cmd.dst;
	u64 at = task->done, end = task->cmd.length;

	if (!task->loaded)
		look(ahead, dst + at, UVM_ACCESS_WRITE);
	while (ahead->pages) {
		at += piece(piece(end - at, src + at), dst + at);
		if (at == end)
			return;
		if (begins_page(src + at))
			look(ahead, src + at, UVM_ACCESS_READ);
		if (begins_page(dst + at))
			look(ahead, dst + at, UVM_ACCESS_WRITE);
	}
}

static void ahead_touch(const struct sim_task *task, struct sim_ahead *ahead)
{
	u32 access = task->cmd.arg1 ? UVM_ACCESS_WRITE : UVM_ACCESS_READ;
	u64 stride = task->cmd.arg0, rest = left(task), step;
	u64 va = task->cmd.dst + task->done;
	u32 room;

	while (ahead->pages) {
		room = SIM_PAGE_SIZE - va % SIM_PAGE_SIZE;
		step = stride < room ? roundup(room, stride) : stride;
		if (rest <= step)
			return;
		rest -= step;
		va += step;
		look(ahead, va, access);
	}
}

static void ahead_source(const struct sim_task *task, struct sim_ahead *ahead)
{
	u64 src = task->cmd.src;
	u64 next = task->done + piece(left(task), src + task->done);

	look_range(ahead, src, next, task->cmd.length, UVM_ACCESS_READ);
}

static void ahead_histogram(const struct sim_task *task, struct sim_ahead *ahead)
{
	u64 dst = task->cmd.dst, at = task->stored;
	const u64 end = SIM_BINS * SIM_WORD;

	if (more(task)) {
		ahead_source(task, ahead);
	} else {
		if (!task->loaded)
			look(ahead, dst + at, UVM_ACCESS_WRITE);
		at += piece(end - at, dst + at);
	}
	look_range(ahead, dst, at, end, UVM_ACCESS_WRITE);
}

/* Of a command with one word for a result, which comes last. */
static void ahead_word(const struct sim_task *task, struct sim_ahead *ahead)
{
	if (!more(task))
		return;
	ahead_source(task, ahead);
	look(ahead, task->cmd.dst, UVM_ACCESS_WRITE);
}

static const struct sim_op sim_ops[UVM_SIM_OP_NR] = {
	[UVM_SIM_NOP] = { step_nop, NULL, 0 },
	[UVM_SIM_FILL] = { step_fill, ahead_fill,
		SIM_DST | SIM_LEN | SIM_ARG0 },
	[UVM_SIM_COPY] = { step_copy, ahead_copy,
		SIM_DST | SIM_SRC | SIM_LEN },
	[UVM_SIM_XOR] = { step_xor, ahead_xor,
		SIM_DST | SIM_LEN | SIM_ARG0 },
	[UVM_SIM_HISTOGRAM] = { step_histogram, ahead_histogram,
		SIM_DST | SIM_SRC | SIM_LEN | SIM_DST_WORD,
		SIM_BINS * SIM_WORD },
	[UVM_SIM_CRC32C] = { step_crc32c, ahead_word,
		SIM_DST | SIM_SRC | SIM_LEN | SIM_DST_WORD, SIM_WORD },
	[UVM_SIM_SUM] = { step_sum, ahead_word,
		SIM_DST | SIM_SRC | SIM_LEN | SIM_DST_WORD | SIM_SRC_WORD |
		SIM_LEN_WORD, SIM_WORD },
	[UVM_SIM_ATOMIC_ADD] = { step_atomic_add, NULL,
		SIM_DST | SIM_ARG0 | SIM_ARG1 | SIM_DST_WORD, SIM_WORD },
	[UVM_SIM_CHASE] = { step_chase, NULL,
		SIM_DST | SIM_SRC | SIM_ARG0 | SIM_DST_WORD | SIM_SRC_WORD,
		SIM_WORD },
	[UVM_SIM_TOUCH] = { step_touch, ahead_touch,
		SIM_DST | SIM_LEN | SIM_ARG0 | SIM_ARG1 },
};

static bool wraps(u64 va, u64 length)
{
	return length && va + (length - 1) < va;
}

static bool unused_set(const struct uvm_sim_cmd *cmd, u32 rules)
{
	return (!(rules & SIM_DST) && cmd->dst) ||
	       (!(rules & SIM_SRC) && cmd->src) ||
	       (!(rules & SIM_LEN) && cmd->length) ||
	       (!(rules & SIM_ARG0) && cmd->arg0) ||
	       (!(rules & SIM_ARG1) && cmd->arg1);
}

static bool misaligned(const struct uvm_sim_cmd *cmd, u32 rules)
{
	return (rules & SIM_DST_WORD && cmd->dst % SIM_WORD) ||
	       (rules & SIM_SRC_WORD && cmd->src % SIM_WORD) ||
	       (rules & SIM_LEN_WORD && cmd->length % SIM_WORD);
}

/**
 * sim_cmd_check() - is a command well formed?
 * @cmd: the command
 *
 * Return: 0, or -EINVAL for an unknown operation, a flag, an operand that the
 * operation doesn't use, a misaligned one, or a range that wraps.
 */
int sim_cmd_check(const struct uvm_sim_cmd *cmd)
{
	const struct sim_op *op;

	if (cmd->op >= UVM_SIM_OP_NR || cmd->flags)
		return -EINVAL;
	op = &sim_ops[cmd->op];
	if (unused_set(cmd, op->rules) || misaligned(cmd, op->rules))
		return -EINVAL;
	if (wraps(cmd->src, cmd->length) ||
	    wraps(cmd->dst, op->result ? op->result : cmd->length))
		return -EINVAL;
	if (cmd->op == UVM_SIM_TOUCH && (!cmd->arg0 || cmd->arg1 > 1))
		return -EINVAL;
	return 0;
}

/**
 * sim_task_start() - begin a command
 * @task: engine state
 * @cmd: a command that sim_cmd_check() likes
 */
void sim_task_start(struct sim_task *task, const struct uvm_sim_cmd *cmd)
{
	task->cmd = *cmd;
	task->done = 0;
	task->stored = 0;
	task->acc = 0;
	task->loaded = false;
}

/**
 * sim_task_step() - run one piece of a command
 * @task: engine state
 * @port: memory
 *
 * Return: 1 if there is more to do, 0 if the command is complete, or the error
 * of an access, see &struct sim_port.
 */
int sim_task_step(struct sim_task *task, struct sim_port *port)
{
	const struct sim_op *op = &sim_ops[task->cmd.op];

	if (op->rules & SIM_LEN && !task->cmd.length)
		return 0;
	return op->step(task, port);
}

/**
 * sim_task_ahead() - tell which pages a command will access next
 * @task: its last step ended with -EAGAIN
 * @port: whose @ahead is told
 * @pages: how many it is told at most; the page that missed isn't one of them, but
 *	for a store to it that follows a load
 */
void sim_task_ahead(const struct sim_task *task, struct sim_port *port,
		    unsigned int pages)
{
	const struct sim_op *op = &sim_ops[task->cmd.op];
	struct sim_ahead ahead = { .port = port, .pages = pages };

	if (op->ahead)
		op->ahead(task, &ahead);
}
