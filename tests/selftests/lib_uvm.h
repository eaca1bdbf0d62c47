/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Thin wrappers of the ioctls, independent of libuvm, and what the suites share:
 * spaces, channels, patterns, residency. A wrapper returns 0 or -errno.
 */
#ifndef SELFTESTS_LIB_UVM_H
#define SELFTESTS_LIB_UVM_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <linux/uvm.h>
#include <linux/uvm_sim.h>

#include "harness.h"

#define PAGE		4096UL
#define HUGE		(2UL << 20)
#define MAX_GPUS	64
#define SECOND		1000000000ULL
/* Long enough for anything that works, short of a test's own limit. */
#define PATIENCE	(20 * SECOND)

struct space {
	int fd;
	int mm_fd;
};

int uvm_open(void);
int uvm_ioctl(int fd, unsigned long cmd, void *arg);
int gpus_list(struct uvm_gpu_info *gpus, int max);
/*
 * The @nth GPU of @kind (0: of any kind); false if there is none. Without DEVICE_PRIVATE
 * nothing but managed memory moves to private GPUs: then there are none of these, but for
 * tests that say that it's this which they have.
 */
bool gpu_find(int kind, int nth, struct uvm_gpu_info *gpu);
void gpus_for_managed(void);
bool gpu_by_uuid(const uint8_t *uuid, struct uvm_gpu_info *gpu);
/* SKIPs without one, or fails if UVM_EXPECT_KINDS or the kernel promises it */
void gpu_need(int kind, int nth, struct uvm_gpu_info *gpu);
const char *kind_name(int kind);
uint64_t feature_mask(void);

int space_open(struct space *s);
void space_close(struct space *s);
/* a fresh file becomes a VA space */
int va_init(int fd, uint32_t flags);
/* a fresh file becomes the mm file of @va_fd */
int mm_init(int fd, int va_fd);
int register_gpu(int fd, const uint8_t *uuid);
int unregister_gpu(int fd, const uint8_t *uuid);
/* the same, and what became of the pages */
int unregister_counted(int fd, const uint8_t *uuid, struct uvm_unregister_gpu *u);
/* Can one VA space hold both? */
bool gpus_mix(const struct uvm_gpu_info *a, const struct uvm_gpu_info *b);
/* fills in at most @max entries, returns how many there are, or -errno */
int processors(int fd, struct uvm_processor *p, unsigned int max);

int channel_create(int fd, const uint8_t *uuid, uint32_t *channel);
int channel_destroy(int fd, uint32_t channel);
int channel_submit(int fd, uint32_t channel, const struct uvm_sim_cmd *cmds,
		   unsigned int count, uint64_t *point);
int channel_query(int fd, uint32_t channel, struct uvm_channel_query *q);
int channel_wait(int fd, uint32_t channel, uint64_t point, uint64_t ns,
		 uint64_t *completed);
/* submit, and wait with patience */
int channel_run(int fd, uint32_t channel, const struct uvm_sim_cmd *cmds,
		unsigned int count);

#define CMD(op_, ...)	((struct uvm_sim_cmd){ .op = UVM_SIM_##op_, __VA_ARGS__ })
#define ADDR(p)		((uint64_t)(uintptr_t)(p))

int migrate(int fd, const void *p, size_t length, int kind, int node,
	    const uint8_t *uuid, struct uvm_migrate *m);
/* moved, already and skipped account for every page of out_done */
void expect_accounts(const struct uvm_migrate *m);
unsigned long skipped(const struct uvm_migrate *m);

int residency(int fd, const void *p, size_t length, struct uvm_page_state *st);

/*
 * GPU faults leave these pages where they are. It is lost when the memory is unmapped
 * or mapped anew, or moved by mremap().
 */
void stay(int fd, const void *p, size_t length);

/* Patterns: every 8-byte word depends on seed, page and place in the page. */
void pattern_fill(void *p, size_t length, uint64_t seed);
/* the page numbers start at @first_page instead of 0 */
void pattern_fill_from(void *p, size_t length, uint64_t seed, size_t first_page);
/* offset of the first wrong byte, or -1 */
long pattern_check(const void *p, size_t length, uint64_t seed);
long pattern_check_from(const void *p, size_t length, uint64_t seed,
			size_t first_page);
/* Of memory that somebody drops meanwhile: what is neither the pattern nor zero? */
long pattern_or_zero_check(const void *p, size_t length, uint64_t seed);
long bytes_check(const void *p, size_t length, int byte);

#define EXPECT_PATTERN(p, length, seed)					\
	EXPECT_EQ(pattern_check(p, length, seed), -1)
#define EXPECT_BYTES(p, length, byte)					\
	EXPECT_EQ(bytes_check(p, length, byte), -1)

uint64_t sum64(const void *p, size_t length);
uint32_t crc32c(const void *p, size_t length);

/* Memory */
void *anon(size_t length, int prot, int flags);
bool thp_ready(void);
/* 2 MiB aligned, populated by the caller's first write as huge pages */
void *anon_huge(size_t length);
/*
 * Gives up memory, but not its addresses: for some moments yet the driver may be about to
 * split a huge page there, and bring a part of it home.
 */
void retire(void *p, size_t length);
/* bytes of the mapping at @p that are mapped by huge entries */
size_t huge_bytes(const void *p);
/*
 * So many percent of the allocations of 2^@order pages and more that this thread makes,
 * and those that it starts, fail. False if the kernel has no such means.
 */
bool pages_fail(int order, int percent);
void pages_fail_no_more(void);
/* A page of hugetlb, or SKIPs; hugetlb_done() returns what it took from the system. */
char *hugetlb_page(void);
void hugetlb_done(void);
/* a memfd of @length, mapped shared, with a pattern in it */
void *shared_file(size_t length, int *fd, uint64_t seed);
/* A swap area in memory; false if the kernel hasn't the means. */
bool swap_on(void);
int swap_off(void);
/* Has KSM merge the pages, which are all alike; SKIPs if it doesn't. */
void ksm_merge(void *p, size_t length);
/* Pins for as long as the descriptor is open that it returns; -1 if that can't be. */
int longterm_pin(void *p, size_t length);

/* The program's code; the linker has the names. */
extern const char program_start[] __asm__("__executable_start");
extern const char program_end[] __asm__("etext");

/* Time */

/* Polls every millisecond, for @seconds at most: true as soon as @cond is. */
#define SOON(cond, seconds) ({						\
	struct timespec tick_ = { .tv_nsec = 1000000 };			\
	unsigned int left_ = (seconds) * 1000;				\
									\
	while (!(cond) && left_--)					\
		nanosleep(&tick_, NULL);				\
	(cond);								\
})

/* Processes */
int fd_send(int sock, int fd);
int fd_receive(int sock);
pthread_barrier_t *shared_barrier(unsigned int count);
void *shared_page(void);
/* process_mrelease(): what the OOM reaper does, to a process that was killed */
int reap(pid_t pid);
/* Has thread @tid of this process gone to sleep? Looks for at most 5 s. */
bool thread_sleeps(pid_t tid);
/*
 * mlock() and MADV_FREE leave pages on a list of the CPU they ran on, where nobody but
 * this CPU's own migrations takes them off: to others they are busy.
 */
void stay_on_cpu(void);
bool write_text(const char *path, const char *text);
bool read_text(const char *path, char *buf, size_t size);
long read_number(const char *path);

/*
 * The usual furniture: a space with the GPU of a variant registered, and a
 * channel on it. fix_pair() adds a second GPU of the same kind.
 */
struct fix {
	struct space s;
	struct uvm_gpu_info gpu;
	struct uvm_gpu_info gpu2;
	uint32_t channel;
	uint32_t channel2;
	bool pair;
	bool huge;
	bool managed;		/* buffers are managed memory */
	bool stay;		/* GPU faults don't move the buffers made from now on */
	size_t length;		/* of a usual buffer */
};

/* Its GPU's memory can't be used by the CPU. */
static inline bool private_kind(const struct fix *f)
{
	return f->gpu.memory_kind == UVM_MEMORY_PRIVATE;
}

/* The usual variants of a test. Device memory is that which isn't a node. */
extern const struct variant all_kinds[];
extern const struct variant kinds[];
extern const struct variant kinds_huge[];	/* but for huge pages on a node */
extern const struct variant devices[];
extern const struct variant devices_huge[];
extern const struct variant only_private[];
extern const struct variant only_coherent[];
extern const struct variant in_place[];		/* what the CPU can address */
/* The same, and what of them can be had with managed memory */
extern const struct variant all_kinds_managed[];
extern const struct variant kinds_managed[];
extern const struct variant kinds_huge_managed[];
extern const struct variant devices_managed[];
extern const struct variant devices_huge_managed[];
extern const struct variant private_managed[];
/* managed memory only */
extern const struct variant managed_devices[];
extern const struct variant managed_coherent[];

/* The memory of a variant can be had, and can move to its GPU, or SKIPs. */
void memory_need(const struct variant *v);
void fix_open(struct fix *f, const struct variant *v);
void fix_pair(struct fix *f, const struct variant *v);
/* in a child, or after fork: own files, same GPUs */
void fix_reopen(struct fix *f);
void fix_close(struct fix *f);
/* a buffer of the variant's page size, not populated */
void *fix_buffer(struct fix *f, size_t length);
void *fix_pattern(struct fix *f, size_t length, uint64_t seed);
/* all of it must be there afterwards */
void fix_to_gpu(struct fix *f, const void *p, size_t length);
void fix_to_gpu2(struct fix *f, const void *p, size_t length);
void fix_to_cpu(struct fix *f, const void *p, size_t length);
int fix_run(struct fix *f, const struct uvm_sim_cmd *cmds, unsigned int count);
uint64_t fix_gpu_sum(struct fix *f, const void *p, size_t length);
void fix_fill(struct fix *f, void *p, size_t length, int byte);
void fix_copy(struct fix *f, void *to, const void *from, size_t length);
void fix_xor(struct fix *f, void *p, size_t length, uint64_t key);
void cpu_xor(void *p, size_t length, uint64_t key);
/* The command stops its channel, a fresh one, and no other. */
void fix_expect_fault(struct fix *f, struct uvm_sim_cmd c, const void *address,
		      int reason, int access);

struct tally {
	unsigned long none;
	unsigned long cpu;
	unsigned long gpu;
	unsigned long gpu2;
	unsigned long other;
};

/* Where the pages are. A page on the node of a NUMA GPU is on that GPU. */
struct tally fix_tally(struct fix *f, const void *p, size_t length);
unsigned long fix_on_gpu(struct fix *f, const void *p, size_t length);
unsigned long fix_on_gpu2(struct fix *f, const void *p, size_t length);
unsigned long fix_on_cpu(struct fix *f, const void *p, size_t length);

/* memory_free of all GPUs must return to what it was: harness hook */
void leak_check_install(void);
/* waits, for at most 5 s, until @gpu has at least @bytes free */
bool gpu_free_returns(const struct uvm_gpu_info *gpu, uint64_t bytes);
uint64_t gpu_free(const struct uvm_gpu_info *gpu);

#endif /* SELFTESTS_LIB_UVM_H */
