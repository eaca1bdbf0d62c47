/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a test sees, from outside, what a VA space holds and where its release has
 * got to: a proof that an mm is gone, fdinfo, debugfs, the trace, and the knobs
 * that widen race windows.
 */
#ifndef SELFTESTS_LIB_LIFETIME_H
#define SELFTESTS_LIB_LIFETIME_H

#include "lib_uvm.h"

/* Milliseconds that anything asynchronous may take; longer on a slow kernel. */
unsigned int patience_ms(void);
bool slow_kernel(void);
void tick(void);

/* Polls @cond, for at most patience_ms(). */
#define WAIT_FOR(cond) ({						\
	unsigned int ms_ = patience_ms();				\
	bool good_;							\
									\
	while (!(good_ = (cond)) && ms_--)				\
		tick();							\
	good_;								\
})

/*
 * The proof that an mm is gone: a memfd takes F_SEAL_WRITE only when no mm has a
 * writable shared mapping of it. Every mm that is to be watched maps it; when all
 * are torn down, the seal is granted. Sealing is for good, so a proof that is
 * "gone" stays it, and can't be mapped again.
 */
int proof_new(void);
/* with @inherit, a forked child's mm counts too */
void *proof_map(int proof, bool inherit);
bool proof_held(int proof);
bool proof_gone(int proof);

#define VIEW_GPUS	8

/* Counters of faults. The last three are of GPUs only, not of VA spaces. */
enum counter {
	BATCHES, FAULTS, DUPLICATES, MOVED, PREFETCHED, CANCELS, REPLAYS, RETRIES,
	THROTTLED, PINNED, UNPINNED, COPIES, COLLAPSED, HOT_MOVED, NOTIFICATIONS,
	CPU_FAULTS, CPU_MOVED,
	NR_COUNTERS,
};
#define VIEW_COUNTERS	NOTIFICATIONS

/* What /proc/PID/fdinfo/FD says. Numbers that are absent are -1. */
struct view {
	char file[16];
	char state[16];
	long pid;
	long retainers;
	long channels;
	long policies;
	long policies_lost;
	long managed_cpu;
	int gpus;
	struct {
		unsigned int id;
		char uuid[40];
		long long resident;
		long long counter[VIEW_COUNTERS];
	} gpu[VIEW_GPUS];
	bool wrong;		/* a line that isn't in the format */
};

/* @pid 0: this process */
bool view_read(pid_t pid, int fd, struct view *view);
void uuid_text(const uint8_t *uuid, char *text);

/* A line of debugfs' list of VA spaces */
struct listed {
	char state[16];
	long retainers;
	long channels;
	long gpus;
};

bool list_present(void);
/* lines with @pid (0: all); the first one into @line, if it isn't NULL */
int list_count(pid_t pid, struct listed *line);
/* waits until the list has none of @pid; true if there is no list */
bool list_forgets(pid_t pid);

/* A GPU's counters, from debugfs; false if there are none of it */
bool gpu_counters(const struct uvm_gpu_info *gpu, long long counter[NR_COUNTERS]);
/* one of a VA space and a GPU of it, or -1 */
long long view_counter(pid_t pid, int fd, const struct uvm_gpu_info *gpu,
		       enum counter which);

/* The trace of one test, in an instance of its own */
#define TRACE_STEPS	64

struct trace {
	int nr;
	char step[TRACE_STEPS][16];
};

/* SKIPs without tracefs; a kernel without the event fails the test */
void trace_start(void);
void trace_stop(void);
/* what the VA spaces of @pid went through */
void trace_read(pid_t pid, struct trace *trace);

/* false if the kernel can't delay */
bool delays_on(void);
/* only at these points, by their names in debugfs, up to so long */
bool delays_at(const char *points, const char *usecs);
void delays_off(void);
/* delays_on(), or SKIPs */
void delays_need(void);
/* delays_at(), or SKIPs */
void delays_need_at(const char *points, const char *usecs);

/* leak_check_install(), and after each test nothing is traced or delayed any more */
void clean_up_install(void);

/* ---- what lib_uvm.h lacks ---- */

/* number of processors, or -errno */
int processors_count(int fd);
int init_va(int fd, uint32_t flags);
int init_mm(int fd, int va_fd);
/* out_moved is in @moved, unless it is NULL */
int unregister_gpu_pages(int fd, const uint8_t *uuid, uint64_t *moved,
			 uint64_t *left);

/* Messages of one byte; hear() gives -1 at the end, and fails if nothing comes. */
void link_new(int ends[2]);
void tell(int end, char what);
int hear(int end);

#endif /* SELFTESTS_LIB_LIFETIME_H */
