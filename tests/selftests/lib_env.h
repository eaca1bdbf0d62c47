/* SPDX-License-Identifier: GPL-2.0-only */
/* An environment in which commands fail: all states that a file can be in. */
#ifndef SELFTESTS_LIB_ENV_H
#define SELFTESTS_LIB_ENV_H

#include "lib_policy.h"
#include "lib_uvm.h"

#define BUF_PAGES	4
#define BUF_SIZE	(BUF_PAGES * PAGE)
#define KERNEL_ADDR	0xffff888000000000ULL
#define TASK_END	0x7ffffffff000ULL

enum state { FRESH, VA_ONLY, VA, MM, RELEASED, MULTI, NR_STATES };

extern const char * const state_names[NR_STATES];

/* No GPU has this one. */
extern const uint8_t nobody[UVM_UUID_LEN];

struct env {
	struct uvm_gpu_info gpu;
	int fd[NR_STATES];	/* the file of that state */
	uint32_t channel;	/* of VA, on gpu; one command done */
	uint32_t dead_channel;	/* of RELEASED */
	uint32_t multi_channel;	/* of MULTI */
	uint64_t point;		/* completed by all three */
	uint32_t group;		/* of VA */
	uint32_t dead_group;	/* of RELEASED */
	char *buf;		/* its second and third page have policies */
	struct uvm_page_state st[BUF_PAGES];
	struct uvm_gpu_info gpus[MAX_GPUS];
	struct uvm_processor processors[MAX_GPUS + 1];
	uint8_t accessed_by[POLICY_ROOM][UVM_UUID_LEN];
	struct uvm_range_copies copies[RANGE_ROOM];
	struct uvm_sim_cmd nop;
	int eventfd;
};

int file_fresh(void);
int file_va_only(void);
/* A VA space with a mm file of its own, one GPU and a channel, ready */
void ready_space(struct space *s, const struct uvm_gpu_info *gpu,
		 uint32_t *channel, uint64_t *point);

void env_open(struct env *e);
void env_close(struct env *e);

/* What anybody can see of the state; compared before and after a bad call. */
struct sight {
	int gpu_count;
	struct uvm_gpu_info gpus[MAX_GPUS];
	struct uvm_channel_query channel;
	struct uvm_page_state st[BUF_PAGES];
	struct policy policy[BUF_PAGES];
	int again;		/* registering again */
	uint64_t limit;
	uint64_t reserved;
	long pattern;
};

void env_look(struct env *e, struct sight *s);
/* @what: that failed */
void expect_unchanged(struct env *e, const struct sight *was, const char *what);

#endif /* SELFTESTS_LIB_ENV_H */
