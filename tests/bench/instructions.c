// SPDX-License-Identifier: MIT
/*
 * What the cheapest calls cost, in instructions of the guest.
 *
 * Made for a guest of one CPU whose clock advances by 1 ns with every instruction
 * (QEMU's -icount shift=0,sleep=off). When that CPU is idle, its clock jumps to the
 * next timer: who waits, has time pass that nobody worked. So each sample has two
 * figures, CPU time of this thread and time elapsed, from clocks that must both
 * count a known loop right before anything is measured.
 *
 * Interrupts are on whoever they interrupt, hence the median. What a call leaves to
 * other threads is in neither figure, unless it waits for them. GPU faults are served
 * by others, so they have a clock of their own (work_clock.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <libuvm/uvm.h>

#include "bench.h"

#define UVM_DEVICE	"/dev/uvm"
#define LONG_ROUNDS	200
#define SHORT_ROUNDS	10000
#define TOLERANCE	0.01

enum clock { TASK, ELAPSED, NR_CLOCKS };

static const struct {
	clockid_t id;
	const char *unit, *name;
} clocks[NR_CLOCKS] = {
	[TASK] = { CLOCK_THREAD_CPUTIME_ID, "instructions", "CPU time" },
	[ELAPSED] = { CLOCK_MONOTONIC, "ns elapsed", "time" },
};

static struct uvm_gpu_info gpu;
static struct uvm_info info = { .size = sizeof(info) };
static unsigned long loops;
static int dev_fd, null_fd;
/* What a sample of nothing takes. */
static double nothing[NR_CLOCKS];

/*
 * Work: 0, or -1 with errno.
 */

static int do_nothing(void)
{
	return 0;
}

/* Each turn is 1000 instructions, with the two that make it a loop. */
static int do_known_loop(void)
{
	for (unsigned long i = loops; i; i--)
		asm volatile(".rept 998\n\tnop\n\t.endr");
	return 0;
}

static int do_getppid(void)
{
	return syscall(SYS_getppid) < 0 ? -1 : 0;
}

/* /dev/null has no commands, so it gets as far as finding that out. */
static int do_enotty(void)
{
	if (!ioctl(null_fd, UVM_INFO, &info))
		errno = 0;
	return errno == ENOTTY ? 0 : -1;
}

static int do_info(void)
{
	return ioctl(dev_fd, UVM_INFO, &info);
}

static int open_close(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

static int do_open_null(void)
{
	return open_close("/dev/null");
}

static int do_open_dmirror(void)
{
	return open_close(DMIRROR_DEVICE);
}

static int init(int va_space, int mm, bool with_gpu)
{
	struct uvm_init init = { .size = sizeof(init) };
	struct uvm_mm_init mm_init = {
		.size = sizeof(mm_init),
		.va_space_fd = va_space,
	};
	struct uvm_register_gpu reg = { .size = sizeof(reg) };

	if (ioctl(va_space, UVM_INIT, &init) ||
	    ioctl(mm, UVM_MM_INIT, &mm_init))
		return -1;
	if (!with_gpu)
		return 0;
	memcpy(reg.uuid, gpu.uuid, sizeof(reg.uuid));
	return ioctl(va_space, UVM_REGISTER_GPU, &reg);
}

static int open_both(bool with_gpu)
{
	int va_space = open(UVM_DEVICE, O_RDWR | O_CLOEXEC);
	int mm = open(UVM_DEVICE, O_RDWR | O_CLOEXEC);
	int ret = -1;

	if (va_space >= 0 && mm >= 0)
		ret = init(va_space, mm, with_gpu);
	if (close(mm) || close(va_space))
		ret = -1;
	return ret;
}

static int do_open_close(void)
{
	return open_both(false);
}

static int do_open_close_gpu(void)
{
	return open_both(true);
}

enum subject {
	OPEN_CLOSE, OPEN_CLOSE_GPU, OPEN_NULL, OPEN_DMIRROR, INFO, GETPPID,
	ENOTTY_IOCTL, NR_SUBJECTS
};

static const struct {
	const char *name;
	int (*work)(void);
	unsigned int rounds;
} subjects[NR_SUBJECTS] = {
	[OPEN_CLOSE] = { "open both", do_open_close, LONG_ROUNDS },
	[OPEN_CLOSE_GPU] = { "with GPU", do_open_close_gpu, LONG_ROUNDS },
	[OPEN_NULL] = { "/dev/null", do_open_null, LONG_ROUNDS },
	[OPEN_DMIRROR] = { "test_hmm", do_open_dmirror, LONG_ROUNDS },
	[INFO] = { "UVM_INFO", do_info, SHORT_ROUNDS },
	[GETPPID] = { "getppid", do_getppid, SHORT_ROUNDS },
	[ENOTTY_IOCTL] = { "ENOTTY", do_enotty, SHORT_ROUNDS },
};

static struct series results[NR_SUBJECTS][NR_CLOCKS];
static struct gpu_isolated gpu_faults[NR_MODES];
static struct series cpu_faults[NR_MODES];
static struct move_costs moves[NR_MODES];
static struct series touches[NR_MODES];
/* with few others, and with many */
static struct alloc_costs allocs[2][2];
static bool manages;

/* The short ones never wait: for them the two clocks say the same. */
static const struct {
	const char *name[NR_CLOCKS];
	enum subject ours, peer;
} rows[] = {
	{ { "open_close_vs_null", "open_close_elapsed_vs_null" },
	  OPEN_CLOSE, OPEN_NULL },
	{ { "open_close_vs_test_hmm", "open_close_elapsed_vs_test_hmm" },
	  OPEN_CLOSE, OPEN_DMIRROR },
	{ { "open_close_gpu_vs_null", "open_close_gpu_elapsed_vs_null" },
	  OPEN_CLOSE_GPU, OPEN_NULL },
	{ { "open_close_gpu_vs_test_hmm", "open_close_gpu_elapsed_vs_test_hmm" },
	  OPEN_CLOSE_GPU, OPEN_DMIRROR },
	{ { "cheapest_ioctl_vs_getppid", NULL }, INFO, GETPPID },
	{ { "cheapest_ioctl_vs_enotty", NULL }, INFO, ENOTTY_IOCTL },
};

/*
 * Samples
 */

static double now(enum clock clock)
{
	struct timespec ts;

	clock_gettime(clocks[clock].id, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static int take(int (*work)(void), double took[NR_CLOCKS])
{
	double task, elapsed;
	int ret;

	task = now(TASK);
	elapsed = now(ELAPSED);
	ret = work();
	took[ELAPSED] = now(ELAPSED) - elapsed - nothing[ELAPSED];
	took[TASK] = now(TASK) - task - nothing[TASK];
	return ret;
}

/* Sorted; the first tenth again only warms up. */
static int take_series(struct series out[NR_CLOCKS], int (*work)(void),
		       unsigned int rounds, const char *name)
{
	double took[NR_CLOCKS];

	for (unsigned int i = 0; i < rounds + rounds / 10; i++) {
		if (take(work, took)) {
			fprintf(stderr, "uvm_bench: %s: %s\n", name,
				strerror(errno));
			return -1;
		}
		if (i < rounds / 10)
			continue;
		for (int clock = 0; clock < NR_CLOCKS; clock++)
			if (series_add(&out[clock], took[clock]))
				return -1;
	}
	for (int clock = 0; clock < NR_CLOCKS; clock++)
		series_sort(&out[clock]);
	return 0;
}

static int take_median(double median[NR_CLOCKS], int (*work)(void),
		       unsigned int rounds)
{
	struct series s[NR_CLOCKS] = { 0 };
	int ret;

	ret = take_series(s, work, rounds, "calibration");
	for (int clock = 0; clock < NR_CLOCKS; clock++) {
		if (!ret)
			median[clock] = series_median(&s[clock]);
		free(s[clock].value);
	}
	return ret;
}

/* 10, 100 and 1000 thousand: so the clocks' own cost is right, and their pace. */
static int calibrate(void)
{
	double empty[NR_CLOCKS], took[NR_CLOCKS];

	if (take_median(empty, do_nothing, SHORT_ROUNDS))
		return -1;
	memcpy(nothing, empty, sizeof(nothing));

	for (loops = 10; loops <= 1000; loops *= 10) {
		if (take_median(took, do_known_loop, 20))
			return -1;
		for (int clock = 0; clock < NR_CLOCKS; clock++) {
			double want = loops * 1000.0;

			if (fabs(took[clock] - want) <= want * TOLERANCE)
				continue;
			fprintf(stderr,
				"uvm_bench: %.0f instructions took %.0f ns of %s: this clock doesn't count them (qemu -icount shift=0,sleep=off -smp 1 does)\n",
				want, took[clock], clocks[clock].name);
			return -1;
		}
		printf("calibration: %lu instructions counted as %.0f, elapsed %.0f\n",
		       loops * 1000, took[TASK], took[ELAPSED]);
	}
	printf("taken off each sample: %.0f, elapsed %.0f\n", nothing[TASK],
	       nothing[ELAPSED]);
	return 0;
}

/* What managed memory is compared with is counted in any case. */
static int take_mode(enum page_mode mode, bool managed_only)
{
	if (managed_only && mode != MODE_MANAGED)
		return cpu_faults_isolated(mode, work_clock_now, &cpu_faults[mode]) ||
		       touch_take(mode, work_clock_now, &touches[mode]) ? -1 : 0;
	return gpu_faults_isolated(mode, work_clock_now, &gpu_faults[mode]) ||
	       cpu_faults_isolated(mode, work_clock_now, &cpu_faults[mode]) ||
	       moves_take(mode, work_clock_now, &moves[mode]) ||
	       touch_take(mode, work_clock_now, &touches[mode]) ? -1 : 0;
}

static int take_allocs(void)
{
	for (int managed = 0; managed < 2; managed++)
		if (alloc_take(managed, MANAGED_FEW, work_clock_now, &allocs[managed][0]) ||
		    alloc_take(managed, MANAGED_LIVE, work_clock_now, &allocs[managed][1]))
			return -1;
	return 0;
}

/* Whole page faults, and moves, by whichever threads. */
static int take_faults(const char *which, bool managed_only)
{
	size_t length = HUGE_SIZE;
	int ret = 0;

	if (uvm_mover.open(which, &length) <= 0 || gpu_faults_open(length))
		return -1;
	manages = ours_manages();
	if (work_clock_start())
		return -1;
	for (int mode = 0; mode < NR_MODES && !ret; mode++)
		if (mode != MODE_MANAGED || manages)
			ret = take_mode(mode, managed_only);
	if (manages && !ret)
		ret = take_allocs();
	work_clock_stop();
	return ret ? -1 : 0;
}

/*
 * Results
 */

static const char *const fault_rows[NR_MODES] = {
	[MODE_4K] = "gpu_fault_isolated_4k",
	[MODE_THP] = "gpu_fault_isolated",
	[MODE_MANAGED] = "managed_gpu_fault_isolated",
};

static void print_faults(bool csv, const char *lane)
{
	if (!csv)
		print_head("instructions of all threads");
	for (int mode = 0; mode < NR_MODES; mode++)
		print_row(csv, lane, &(struct row){
			.metric = fault_rows[mode],
			.unit = "instructions",
			.peer = "CPU fault",
			.ours = &gpu_faults[mode].cost,
			.theirs = &cpu_faults[mode],
		});
	for (int mode = 0; !csv && mode < NR_MODES; mode++)
		if (gpu_faults[mode].accesses)
			printf("%s: %zu accesses had %zu faults, which brought %zu pages to the GPU\n",
			       fault_rows[mode], gpu_faults[mode].accesses,
			       (size_t)gpu_faults[mode].faults,
			       gpu_faults[mode].arrived);
}

static void print_moves_of(bool csv, const char *lane, enum page_mode mode,
			   const char *const names[NR_WAYS][2])
{
	const struct move_costs *ours = &moves[mode], *single = &moves[MODE_4K];

	for (int way = 0; way < NR_WAYS; way++)
		for (int part = 0; part < 2; part++)
			print_row(csv, lane, &(struct row){
				.metric = names[way][part],
				.unit = "instructions",
				.peer = "512 pages",
				.ours = part ? &ours->uncopied[way] : &ours->whole[way],
				.theirs = part ? &single->uncopied[way] :
						 &single->whole[way],
			});
}

static void print_moves(bool csv, const char *lane)
{
	static const char *const folio[NR_WAYS][2] = {
		[THERE] = { "folio_vs_pages", "folio_vs_pages_uncopied" },
		[BACK] = { "folio_vs_pages_home", "folio_vs_pages_home_uncopied" },
	};
	static const char *const managed[NR_WAYS][2] = {
		[THERE] = { "managed_vs_pages", "managed_vs_pages_uncopied" },
		[BACK] = { "managed_vs_pages_home", "managed_vs_pages_home_uncopied" },
	};

	print_moves_of(csv, lane, MODE_THP, folio);
	print_moves_of(csv, lane, MODE_MANAGED, managed);
}

static void print_managed(bool csv, const char *lane)
{
	/* Next to single pages, and to whatever the kernel gives who asks for huge ones */
	static const struct {
		const char *name, *peer;
		enum page_mode mode;
	} touched[] = {
		{ "managed_cpu_touch_insn_4k", "single pages", MODE_4K },
		{ "managed_cpu_touch_insn", "huge page", MODE_THP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(touched); i++)
		print_row(csv, lane, &(struct row){
			.metric = touched[i].name,
			.unit = "instructions",
			.peer = touched[i].peer,
			.ours = &touches[MODE_MANAGED],
			.theirs = &touches[touched[i].mode],
			.aim = 1.2,
		});
}

/* Beside a few, and what core's own share of that is */
static void print_allocs(bool csv, const char *lane)
{
	static const char *const names[2][2] = {
		{ "anonymous_alloc_free_alloc", "anonymous_alloc_free_free" },
		{ "managed_alloc_free_alloc", "managed_alloc_free_free" },
	};

	for (int managed = 1; managed >= 0; managed--)
		for (int free = 0; free < 2; free++) {
			struct alloc_costs *few = &allocs[managed][0];
			struct alloc_costs *many = &allocs[managed][1];

			print_row(csv, lane, &(struct row){
				.metric = names[managed][free],
				.unit = "instructions",
				.peer = "few live",
				.ours = free ? &many->free : &many->alloc,
				.theirs = free ? &few->free : &few->alloc,
				.aim = managed ? 1.1 : 0,
			});
		}
}

/* Of uvm_kbench: what a page or a chunk costs, at a sixteenth and 16 times of a size. */
#define KBENCH_FILE	"/sys/kernel/debug/uvm_kbench"
#define KBENCH_ROWS	6
#define KBENCH_AIM	1.1

static struct kbench_row {
	char state[16], op[16];
	struct series small, large;
} kbench[KBENCH_ROWS];
static size_t nr_kbench;

/* Three lines a row, by size: the first and the last of them are for us. */
static int read_kbench(FILE *file)
{
	struct kbench_row *row;
	double cost[3];
	unsigned int mib;

	for (size_t line = 0; line / 3 < KBENCH_ROWS; line++) {
		row = &kbench[line / 3];
		if (fscanf(file, "%15s %15s %u %lf %lf %lf", row->state, row->op, &mib,
			   &cost[0], &cost[1], &cost[2]) != 6)
			break;
		for (int i = 0; i < 3 && line % 3 != 1; i++)
			if (series_add(line % 3 ? &row->large : &row->small, cost[i]))
				return -1;
		nr_kbench = (line + 1) / 3;
	}
	return 0;
}

static int take_kbench(void)
{
	FILE *file = fopen(KBENCH_FILE, "re");
	int ret;

	if (!file) {
		printf("skipped: chunk_alloc_scaling: no module uvm_kbench\n");
		return 0;
	}
	ret = read_kbench(file);
	fclose(file);
	return ret;
}

static void print_kbench(bool csv, const char *lane)
{
	char name[64];

	for (size_t i = 0; i < nr_kbench; i++) {
		snprintf(name, sizeof(name), "chunk_alloc_scaling_%.15s_%.15s",
			 kbench[i].state, kbench[i].op);
		print_row(csv, lane, &(struct row){
			.metric = name,
			.unit = "instructions",
			.peer = "1/256 of it",
			.ours = &kbench[i].large,
			.theirs = &kbench[i].small,
			.aim = KBENCH_AIM,
		});
	}
}

static void print_results(bool csv, const char *lane, bool managed_only)
{
	for (int clock = 0; clock < NR_CLOCKS; clock++) {
		if (!csv)
			print_head(clocks[clock].unit);
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			if (!rows[i].name[clock])
				continue;
			print_row(csv, lane, &(struct row){
				.metric = rows[i].name[clock],
				.unit = clocks[clock].unit,
				.peer = subjects[rows[i].peer].name,
				.ours = &results[rows[i].ours][clock],
				.theirs = &results[rows[i].peer][clock],
			});
		}
	}
	print_faults(csv, lane);
	if (!managed_only)
		print_moves(csv, lane);
	print_managed(csv, lane);
	print_allocs(csv, lane);
	if (!managed_only)
		print_kbench(csv, lane);
}

/*
 * The GPU's name is asked for through a context that is closed again: a second VA
 * space of the mm would make the first look cheaper.
 */
static int find_gpu(const char *which)
{
	struct uvm_ctx *ctx;
	int ret;

	ret = uvm_open(&ctx);
	if (!ret) {
		ret = uvm_find_gpu(ctx, which, &gpu);
		uvm_close(ctx);
	}
	if (ret)
		fprintf(stderr, "uvm_bench: no GPU: %s\n", strerror(-ret));
	return ret;
}

int count_instructions(const char *lane, const char *which, bool managed_only)
{
	if (calibrate() || find_gpu(which))
		return -1;
	dev_fd = open(UVM_DEVICE, O_RDWR | O_CLOEXEC);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < NR_SUBJECTS; i++) {
		if (i == OPEN_DMIRROR && access(DMIRROR_DEVICE, R_OK | W_OK))
			continue;
		if (take_series(results[i], subjects[i].work,
				subjects[i].rounds, subjects[i].name))
			return -1;
	}
	if (take_faults(which, managed_only) || (!managed_only && take_kbench()))
		return -1;
	print_results(false, lane, managed_only);
	printf("\n");
	print_results(true, lane, managed_only);
	return 0;
}
