// SPDX-License-Identifier: GPL-2.0-only
/* See lib_lifetime.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib_lifetime.h"

#define PROOF_SIZE	(32UL << 20)
#define VA_SPACES	"/sys/kernel/debug/uvm/va_spaces"
#define GPUS		"/sys/kernel/debug/uvm/gpus"
#define DELAY		"/sys/kernel/debug/uvm/delay/"
#define INSTANCE	"instances/uvm_lifetime"
#define EVENT		"events/uvm/uvm_mm_shutdown/enable"

static unsigned int time_scale(void)
{
	const char *text = getenv("UVM_TIME_SCALE");
	int scale = text ? atoi(text) : 1;

	return scale > 0 ? scale : 1;
}

unsigned int patience_ms(void)
{
	return 5000 * time_scale();
}

bool slow_kernel(void)
{
	return time_scale() > 1;
}

void tick(void)
{
	struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

/* ---- is the mm gone? ---- */

int proof_new(void)
{
	int fd = memfd_create("proof", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(ftruncate(fd, PROOF_SIZE), 0);
	return fd;
}

/* Nobody touches it: a page of it that is pinned would put the seal off, too. */
void *proof_map(int proof, bool inherit)
{
	void *p = mmap(NULL, PROOF_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		       proof, 0);

	ASSERT_TRUE(p != MAP_FAILED);
	if (!inherit)
		ASSERT_EQ(madvise(p, PROOF_SIZE, MADV_DONTFORK), 0);
	return p;
}

bool proof_held(int proof)
{
	return fcntl(proof, F_ADD_SEALS, F_SEAL_WRITE) && errno == EBUSY;
}

bool proof_gone(int proof)
{
	return WAIT_FOR(!fcntl(proof, F_ADD_SEALS, F_SEAL_WRITE));
}

/* ---- fdinfo ---- */

void uuid_text(const uint8_t *uuid, char *text)
{
	int i;

	for (i = 0; i < UVM_UUID_LEN; i++)
		text += sprintf(text, i == 4 || i == 6 || i == 8 || i == 10 ?
				"-%02x" : "%02x", uuid[i]);
}

static const char * const counter_names[NR_COUNTERS] = {
	[BATCHES] = "batches", [FAULTS] = "faults", [DUPLICATES] = "duplicates",
	[MOVED] = "moved", [PREFETCHED] = "prefetched", [CANCELS] = "cancels",
	[REPLAYS] = "replays", [RETRIES] = "retries", [THROTTLED] = "throttled",
	[PINNED] = "pinned", [UNPINNED] = "unpinned", [COPIES] = "duplicated",
	[COLLAPSED] = "collapsed", [HOT_MOVED] = "hot-moved",
	[NOTIFICATIONS] = "notifications", [CPU_FAULTS] = "cpu-faults",
	[CPU_MOVED] = "cpu-moved",
};

static bool view_add_gpu(struct view *view, unsigned int id, const char *uuid)
{
	if (view->gpus == VIEW_GPUS)
		return false;
	/* all numbers are -1 */
	memset(&view->gpu[view->gpus], 0xff, sizeof(view->gpu[0]));
	view->gpu[view->gpus].id = id;
	snprintf(view->gpu[view->gpus++].uuid, sizeof(view->gpu[0].uuid), "%s", uuid);
	return true;
}

/* A line about a GPU comes after the one that names it, and once. */
static bool view_gpu_line(struct view *view, const char *line)
{
	char name[40], text[40], *dash, unit[2] = "";
	long long value, *place;
	unsigned int id;
	int i, n;

	if (sscanf(line, "uvm-gpu-%u:\t%36s", &id, text) == 2)
		return view_add_gpu(view, id, text);
	if (sscanf(line, "uvm-%39[^:]:\t%lld %1[B]", name, &value, unit) < 2)
		return false;
	dash = strrchr(name, '-');
	if (!dash || sscanf(dash, "-%u", &id) != 1)
		return false;
	*dash = 0;
	for (i = 0; i < view->gpus && view->gpu[i].id != id; i++)
		;
	if (i == view->gpus)
		return false;
	for (n = 0; n < VIEW_COUNTERS && strcmp(name, counter_names[n]); n++)
		;
	if (n < VIEW_COUNTERS)
		place = &view->gpu[i].counter[n];
	else if (!strcmp(name, "resident"))
		place = &view->gpu[i].resident;
	else
		return false;
	if (*place != -1 || value < 0 || !*unit != (n < VIEW_COUNTERS))
		return false;
	*place = value;
	return true;
}

static bool view_line(struct view *view, const char *line)
{
	if (strncmp(line, "uvm-", 4))
		return true;
	return sscanf(line, "uvm-file:\t%15s", view->file) == 1 ||
	       sscanf(line, "uvm-state:\t%15s", view->state) == 1 ||
	       sscanf(line, "uvm-pid:\t%ld", &view->pid) == 1 ||
	       sscanf(line, "uvm-retainers:\t%ld", &view->retainers) == 1 ||
	       sscanf(line, "uvm-channels:\t%ld", &view->channels) == 1 ||
	       sscanf(line, "uvm-policies:\t%ld", &view->policies) == 1 ||
	       sscanf(line, "uvm-policies-lost:\t%ld B", &view->policies_lost) == 1 ||
	       sscanf(line, "uvm-managed-cpu:\t%ld", &view->managed_cpu) == 1 ||
	       view_gpu_line(view, line);
}

bool view_read(pid_t pid, int fd, struct view *view)
{
	char path[64], text[8192], *line, *rest = text;

	memset(view, 0, sizeof(*view));
	view->pid = -1;
	view->retainers = -1;
	view->channels = -1;
	view->policies = -1;
	view->policies_lost = -1;
	view->managed_cpu = -1;
	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	else
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (!read_text(path, text, sizeof(text)))
		return false;
	while ((line = strsep(&rest, "\n")))
		if (!view_line(view, line))
			view->wrong = true;
	return true;
}

/* ---- debugfs ---- */

bool list_present(void)
{
	return !access(VA_SPACES, R_OK);
}

int list_count(pid_t pid, struct listed *line)
{
	struct listed l;
	char text[200];
	int count = 0;
	FILE *f;
	int p;

	f = fopen(VA_SPACES, "re");
	if (!f)
		return -1;
	if (!fgets(text, sizeof(text), f) ||
	    strcmp(text, "pid state retainers channels gpus\n"))
		harness_check(false, false, __FILE__, __LINE__,
			      "%s has no header", VA_SPACES);
	while (fgets(text, sizeof(text), f)) {
		if (!harness_check(sscanf(text, "%d %15s %ld %ld %ld\n", &p, l.state,
					  &l.retainers, &l.channels, &l.gpus) == 5,
				   false, __FILE__, __LINE__,
				   "%s: not in the format: %s", VA_SPACES, text))
			continue;
		if (pid && p != pid)
			continue;
		if (!count++ && line)
			*line = l;
	}
	fclose(f);
	return count;
}

bool list_forgets(pid_t pid)
{
	return WAIT_FOR(list_count(pid, NULL) <= 0);
}

/* The header names the counters, in this order. */
static bool counters_header(FILE *f)
{
	char text[400], want[400] = "id";
	int i;

	for (i = 0; i < NR_COUNTERS; i++)
		sprintf(want + strlen(want), " %s", counter_names[i]);
	strcat(want, " name\n");
	return harness_check(fgets(text, sizeof(text), f) && !strcmp(text, want), false,
			     __FILE__, __LINE__, "%s has another header", GPUS);
}

bool gpu_counters(const struct uvm_gpu_info *gpu, long long counter[NR_COUNTERS])
{
	FILE *f = fopen(GPUS, "re");
	bool found = false;
	unsigned int id;
	char name[40];
	int i, n;

	if (!f)
		return false;
	if (counters_header(f)) {
		while (!found && fscanf(f, "%u", &id) == 1) {
			for (i = n = 0; i < NR_COUNTERS; i++)
				n += fscanf(f, "%lld", &counter[i]) == 1;
			n += fscanf(f, " %39[^\n]", name) == 1;
			EXPECT_EQ(n, NR_COUNTERS + 1);
			found = id == gpu->id;
		}
	}
	fclose(f);
	if (found)
		EXPECT_EQ(strcmp(name, gpu->name), 0);
	return found;
}

long long view_counter(pid_t pid, int fd, const struct uvm_gpu_info *gpu,
		       enum counter which)
{
	struct view view;
	int i;

	if (!view_read(pid, fd, &view))
		return -1;
	for (i = 0; i < view.gpus; i++)
		if (view.gpu[i].id == gpu->id)
			return view.gpu[i].counter[which];
	return -1;
}

/* ---- the trace ---- */

static const char *trace_root(void)
{
	static const char * const roots[] = {
		"/sys/kernel/tracing/", "/sys/kernel/debug/tracing/",
	};
	unsigned int i;
	char path[100];

	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%sinstances", roots[i]);
		if (!access(path, W_OK))
			return roots[i];
		mount("tracefs", roots[i], "tracefs", 0, NULL);
		if (!access(path, W_OK))
			return roots[i];
	}
	return NULL;
}

static void trace_path(char *path, size_t size, const char *file)
{
	snprintf(path, size, "%s" INSTANCE "%s%s", trace_root(),
		 file ? "/" : "", file ? file : "");
}

/* The clock is a counter: the order of the lines is the order of the events. */
void trace_start(void)
{
	char path[200];

	if (!trace_root())
		SKIP("no tracefs");
	trace_path(path, sizeof(path), NULL);
	if (mkdir(path, 0700) && errno != EEXIST)
		SKIP("no instances of the trace: %s", strerror(errno));
	trace_path(path, sizeof(path), "trace_clock");
	ASSERT_TRUE(write_text(path, "counter"));
	trace_path(path, sizeof(path), EVENT);
	ASSERT_TRUE(write_text(path, "1"));
}

void trace_stop(void)
{
	char path[200];

	if (!trace_root())
		return;
	trace_path(path, sizeof(path), NULL);
	rmdir(path);
}

void trace_read(pid_t pid, struct trace *trace)
{
	char path[200], line[400], step[16];
	const char *at;
	FILE *f;
	int p, n;

	memset(trace, 0, sizeof(*trace));
	trace_path(path, sizeof(path), "trace");
	f = fopen(path, "re");
	ASSERT_TRUE(f != NULL);
	while (fgets(line, sizeof(line), f)) {
		at = strstr(line, "uvm_mm_shutdown: ");
		if (!at || line[0] == '#')
			continue;
		n = sscanf(at, "uvm_mm_shutdown: pid=%d step=%15s", &p, step);
		EXPECT_EQ(n, 2);
		if (n == 2 && p == pid && trace->nr < TRACE_STEPS)
			memcpy(trace->step[trace->nr++], step, sizeof(step));
	}
	fclose(f);
}

/* ---- wider races ---- */

static void delay_set(const char *name, const char *value)
{
	char path[100];

	snprintf(path, sizeof(path), DELAY "%s", name);
	harness_check(write_text(path, value), true, __FILE__, __LINE__,
		      "%s doesn't take %s", path, value);
}

bool delays_at(const char *points, const char *usecs)
{
	if (access(DELAY, F_OK))
		return false;
	delay_set("points", points);
	delay_set("usecs", usecs);
	delay_set("verbose", "0");
	delay_set("interval", "1");
	delay_set("times", "-1");
	delay_set("probability", "100");
	return true;
}

bool delays_on(void)
{
	return delays_at("all", "2000");
}

void delays_off(void)
{
	write_text(DELAY "probability", "0");
}

void delays_need(void)
{
	if (!delays_on())
		SKIP("the kernel can't widen races");
}

void delays_need_at(const char *points, const char *usecs)
{
	if (!delays_at(points, usecs))
		SKIP("the kernel can't widen races");
}

/* ---- commands ---- */

int processors_count(int fd)
{
	struct uvm_processor p[MAX_GPUS + 1];
	struct uvm_query_processors q = {
		.size = sizeof(q),
		.processors = ADDR(p),
		.count = MAX_GPUS + 1,
		.entry_size = sizeof(p[0]),
	};
	int ret = uvm_ioctl(fd, UVM_QUERY_PROCESSORS, &q);

	return ret ? ret : (int)q.out_count;
}

int init_va(int fd, uint32_t flags)
{
	struct uvm_init a = { .size = sizeof(a), .flags = flags };

	return uvm_ioctl(fd, UVM_INIT, &a);
}

int init_mm(int fd, int va_fd)
{
	struct uvm_mm_init a = { .size = sizeof(a), .va_space_fd = va_fd };

	return uvm_ioctl(fd, UVM_MM_INIT, &a);
}

int unregister_gpu_pages(int fd, const uint8_t *uuid, uint64_t *moved,
			 uint64_t *left)
{
	struct uvm_unregister_gpu u = { .size = sizeof(u) };
	int ret;

	memcpy(u.uuid, uuid, UVM_UUID_LEN);
	ret = uvm_ioctl(fd, UVM_UNREGISTER_GPU, &u);
	if (moved)
		*moved = u.out_moved;
	if (left)
		*left = u.out_left;
	return ret;
}

/* ---- messages ---- */

void link_new(int ends[2])
{
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

void tell(int end, char what)
{
	ASSERT_EQ(send(end, &what, 1, MSG_NOSIGNAL), 1);
}

int hear(int end)
{
	struct pollfd p = { .fd = end, .events = POLLIN };
	int ready;
	char what;

	do
		ready = poll(&p, 1, 4 * patience_ms());
	while (ready < 0 && errno == EINTR);
	ASSERT_EQ(ready, 1);
	return recv(end, &what, 1, 0) == 1 ? what : -1;
}

static bool (*leak_check)(char *why, size_t size);

static bool clean_up(char *why, size_t size)
{
	delays_off();
	trace_stop();
	return leak_check(why, size);
}

void clean_up_install(void)
{
	leak_check_install();
	leak_check = harness_hook.after;
	harness_hook.after = clean_up;
}
