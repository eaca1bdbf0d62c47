/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * DOC: Interface of the compute engine
 *
 * The engine knows commands and a memory port, nothing else: no kernel object,
 * no lock, no page table. Whoever drives it calls sim_task_step() again and again
 * and may stop between any two steps.
 */
#ifndef _SIM_COMPUTE_H
#define _SIM_COMPUTE_H

#include <linux/types.h>
#include <linux/uvm_sim.h>

#define SIM_PAGE_SIZE	(1U << UVM_SIM_PAGE_SHIFT)

struct sim_task;

/* Takes @len bytes at @data in, where they are; looks at each once. */
typedef void (*sim_fold_t)(struct sim_task *task, const void *data, u32 len);

/**
 * struct sim_port - how the compute engine reaches memory
 * @read: load @len bytes at @va
 * @fold: load @len bytes at @va straight into what @task makes of them
 * @write: store @len bytes at @va
 * @touch: store back the byte at @va, whatever it is
 * @add: add @value to the aligned __u64 at @va, as one atomic access
 * @ahead: the command will access the page of @va, there first at @va, unless it
 *	stops before; see sim_task_ahead()
 * @address: set with an error: the first byte of the access
 * @access: set with -EAGAIN: what it wanted, 1 read, 2 write, 3 atomic
 *
 * An access never crosses a page. It returns 0; -EAGAIN if it has no translation
 * (nothing happened, repeat it after a replay); -ECANCELED if the channel was
 * stopped; -EFAULT if the translation led nowhere.
 */
struct sim_port {
	int (*read)(struct sim_port *port, u64 va, void *buf, u32 len);
	int (*fold)(struct sim_port *port, u64 va, u32 len, sim_fold_t fold,
		    struct sim_task *task);
	int (*write)(struct sim_port *port, u64 va, const void *buf, u32 len);
	int (*touch)(struct sim_port *port, u64 va);
	int (*add)(struct sim_port *port, u64 va, u64 value);
	void (*ahead)(struct sim_port *port, u64 va, u32 access);
	u64 address;
	u32 access;
};

/**
 * struct sim_task - a command under way
 * @cmd: the command
 * @done: progress: bytes of @length, or repetitions
 * @stored: progress of the result's store, bytes
 * @acc: CRC, sum, or pointer
 * @loaded: @buf holds the piece at @done, ready to be stored
 * @counts: histogram
 * @buf: one piece
 *
 * Progress advances after each access that succeeded, so that a stall repeats
 * exactly the access that missed.
 */
struct sim_task {
	struct uvm_sim_cmd cmd;
	u64 done;
	u64 stored;
	u64 acc;
	bool loaded;
	u64 counts[256];
	union {
		u8 bytes[SIM_PAGE_SIZE];
		u64 words[SIM_PAGE_SIZE / 8];
	} buf;
};

void sim_compute_init(void);
int sim_cmd_check(const struct uvm_sim_cmd *cmd);
void sim_task_start(struct sim_task *task, const struct uvm_sim_cmd *cmd);
int sim_task_step(struct sim_task *task, struct sim_port *port);
void sim_task_ahead(const struct sim_task *task, struct sim_port *port,
		    unsigned int pages);

#endif /* _SIM_COMPUTE_H */
