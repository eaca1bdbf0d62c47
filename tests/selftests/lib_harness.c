// SPDX-License-Identifier: GPL-2.0-only
/* See harness.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define MAX_REPORTS	12
#define SLOW_MS		1000

/* What a test and its children report; shared memory. */
struct report {
	atomic_uint checks;
	atomic_uint failures;
	atomic_uint skipped;
	char reason[200];
};

/* helpers, which run no tests, report to nobody */
static struct report nobody;
static struct report *report = &nobody;
static struct harness_test *first, **last = &first;
static unsigned int iter = 1, time_scale = 1;

struct harness_hook harness_hook;
uint64_t harness_seed;

void harness_add(struct harness_test *test)
{
	*last = test;
	last = &test->next;
}

uint64_t harness_random(uint64_t *state)
{
	uint64_t x = *state += 0x9E3779B97F4A7C15ULL;

	x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93ULL;
	x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93ULL;
	return x ^ (x >> 32);
}

unsigned int harness_rounds(unsigned int n)
{
	n *= iter;
	return time_scale == 1 || n < 2 ? n : n / 2;
}

unsigned int harness_stride(unsigned int n)
{
	return time_scale == 1 || iter > 1 ? 1 : n;
}

/* One write per line: lines of several processes don't mix. */
static void say(const char *prefix, const char *fmt, va_list args)
{
	char line[600];
	size_t used = snprintf(line, sizeof(line), "%s", prefix);
	int n = vsnprintf(line + used, sizeof(line) - used - 1, fmt, args);

	if (n < 0)
		n = 0;
	used += (size_t)n < sizeof(line) - used - 1 ?
		(size_t)n : sizeof(line) - used - 2;
	line[used++] = '\n';
	if (write(STDOUT_FILENO, line, used) < 0)
		_exit(2);
}

void harness_note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("# ", fmt, args);
	va_end(args);
}

void harness_skip(const char *fmt, ...)
{
	va_list args;

	if (!atomic_fetch_add(&report->skipped, 1)) {
		va_start(args, fmt);
		vsnprintf(report->reason, sizeof(report->reason), fmt, args);
		va_end(args);
	}
	_exit(0);
}

/* An ASSERT is a precondition; only an EXPECT makes a test one. */
static bool passed(bool good, bool fatal)
{
	if (!fatal)
		atomic_fetch_add(&report->checks, 1);
	if (good)
		return true;
	return atomic_fetch_add(&report->failures, 1) >= MAX_REPORTS;
}

bool harness_check(bool good, bool fatal, const char *file, int line,
		   const char *fmt, ...)
{
	char prefix[200];
	va_list args;

	if (!passed(good, fatal)) {
		snprintf(prefix, sizeof(prefix), "# %s:%d: ", file, line);
		va_start(args, fmt);
		say(prefix, fmt, args);
		va_end(args);
	}
	if (!good && fatal)
		_exit(1);
	return good;
}

bool harness_compare(bool good, bool fatal, const char *file, int line,
		     const char *seen_text, const char *op,
		     const char *want_text, long long seen, long long want)
{
	return harness_check(good, fatal, file, line,
			     "%s %s %s: wanted %s %lld (0x%llx), saw %lld (0x%llx)",
			     seen_text, op, want_text, op, want,
			     (unsigned long long)want, seen,
			     (unsigned long long)seen);
}

static const char *result_name(int result, char *buf, size_t size)
{
	const char *name = result < 0 ? strerrorname_np(-result) : NULL;

	if (name)
		snprintf(buf, size, "-%s", name);
	else
		snprintf(buf, size, "%d", result);
	return buf;
}

bool harness_result(bool fatal, const char *file, int line, const char *text,
		    int seen, int want, int alternative)
{
	char s[32], w[32], a[32];

	return harness_check(seen == want || seen == alternative, fatal, file,
			     line, "%s: wanted %s%s%s, saw %s", text,
			     result_name(want, w, sizeof(w)),
			     want == alternative ? "" : " or ",
			     want == alternative ? "" :
			     result_name(alternative, a, sizeof(a)),
			     result_name(seen, s, sizeof(s)));
}

pid_t child(void)
{
	pid_t pid = fork();

	ASSERT_GE(pid, 0);
	return pid;
}

void child_exit(void)
{
	_exit(0);
}

int child_wait(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/*
 * The kernel's own verdict: died, bad page, WARN or soft lockup. What tainted it
 * before the test isn't the test's fault, and is not seen again.
 */
#define TAINTS ((1UL << 5) | (1UL << 7) | (1UL << 9) | (1UL << 14))

static unsigned long taints(void)
{
	char buf[32] = "";
	int fd = open("/proc/sys/kernel/tainted", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (read(fd, buf, sizeof(buf) - 1) < 0)
		buf[0] = 0;
	close(fd);
	return strtoul(buf, NULL, 10) & TAINTS;
}

static int wait_pid(pid_t pid, int *status, int ms)
{
	struct pollfd p = { .events = POLLIN };
	int n;

	p.fd = syscall(SYS_pidfd_open, pid, 0);
	if (p.fd < 0)
		return -1;
	do
		n = poll(&p, 1, ms);
	while (n < 0 && errno == EINTR);
	close(p.fd);
	if (n != 1)
		return -1;
	return waitpid(pid, status, 0) == pid ? 0 : -1;
}

/* Ends what the test left running; it must be gone before anything is compared. */
static bool end_group(pid_t group)
{
	struct timespec tick = { .tv_nsec = 10000000 };
	int i;

	for (i = 0; i < 1000; i++) {
		if (kill(-group, SIGKILL) && errno == ESRCH)
			return true;
		while (waitpid(-group, NULL, WNOHANG) > 0)
			;
		nanosleep(&tick, NULL);
	}
	return false;
}

static bool run_one(unsigned int number, const char *name,
		    const struct harness_test *test, const struct variant *v)
{
	unsigned int limit = test->seconds * time_scale * iter;
	unsigned long tainted = taints();
	bool good, timed_out, gone = true;
	struct timespec from, to;
	char why[300] = "";
	int status = 0;
	long ms;
	pid_t pid;

	memset(report, 0, sizeof(*report));
	if (harness_hook.before)
		harness_hook.before();
	clock_gettime(CLOCK_MONOTONIC, &from);

	pid = fork();
	if (pid < 0) {
		harness_note("fork: %s", strerror(errno));
		dprintf(STDOUT_FILENO, "not ok %u - %s\n", number, name);
		return false;
	}
	if (!pid) {
		setpgid(0, 0);
		test->run(v);
		_exit(0);
	}
	setpgid(pid, pid);

	timed_out = wait_pid(pid, &status, limit * 1000) != 0;
	if (timed_out) {
		harness_note("%s: still running after %u s; stopped", name, limit);
		kill(-pid, SIGKILL);
		if (wait_pid(pid, &status, 10000))
			harness_note("%s: process %d does not die", name, pid);
	}
	gone = end_group(pid);
	if (!gone)
		harness_note("%s: a process of the test does not die", name);
	clock_gettime(CLOCK_MONOTONIC, &to);
	ms = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;

	good = !timed_out && gone && !report->failures;
	if (!timed_out && WIFSIGNALED(status)) {
		harness_note("%s: killed by signal %d", name, WTERMSIG(status));
		good = false;
	} else if (!timed_out && WEXITSTATUS(status) && !report->failures) {
		harness_note("%s: exit status %d", name, WEXITSTATUS(status));
		good = false;
	}
	if (report->failures > MAX_REPORTS)
		harness_note("%u failures in all", report->failures);
	if (good && !report->skipped && !report->checks) {
		harness_note("%s: checked nothing", name);
		good = false;
	}
	if (harness_hook.after && !harness_hook.after(why, sizeof(why))) {
		harness_note("%s: %s", name, why);
		good = false;
	}
	if (taints() & ~tainted) {
		harness_note("%s: the kernel complained: taint 0x%lx", name,
			     taints() & ~tainted);
		good = false;
	}

	if (ms >= SLOW_MS)
		harness_note("%s: %u checks, %ld ms", name, report->checks, ms);

	if (good && report->skipped)
		dprintf(STDOUT_FILENO, "ok %u - %s # SKIP %s\n", number, name,
			report->reason);
	else
		dprintf(STDOUT_FILENO, "%sok %u - %s\n", good ? "" : "not ",
			number, name);
	return good;
}

/*
 * UVM_MANAGED=1: only what is over managed memory; 0: only what isn't; else all.
 */
static bool is_memory_wanted(const struct variant *v)
{
	const char *text = getenv("UVM_MANAGED");

	return !text || !*text || v->managed == (*text == '1');
}

static bool selected(const char *name, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return argc <= 1;
}

static unsigned int env_number(const char *name, unsigned int otherwise)
{
	const char *text = getenv(name);
	unsigned long n = text ? strtoul(text, NULL, 0) : 0;

	return n && n <= 1000 ? n : otherwise;
}

/* Calls @run for every selected test and variant, or only counts if it is NULL. */
static unsigned int each(int argc, char **argv, unsigned int *failed, bool list)
{
	static const struct variant none[] = { { 0 }, { 0 } };
	const struct harness_test *test;
	const struct variant *v;
	unsigned int n = 0;
	char name[200];

	for (test = first; test; test = test->next) {
		v = test->variants ? test->variants : none;
		do {
			snprintf(name, sizeof(name), "%s%s%s", test->name,
				 v->name ? "." : "", v->name ? v->name : "");
			if (!is_memory_wanted(v) || !selected(name, argc, argv))
				continue;
			n++;
			if (list)
				dprintf(STDOUT_FILENO, "%s\n", name);
			else if (failed && !run_one(n, name, test, v))
				(*failed)++;
		} while ((++v)->name);
	}
	return n;
}

int harness_main(int argc, char **argv)
{
	struct rlimit no_core = { 0 };
	unsigned int failed = 0;
	const char *seed;

	if (argc > 1 && !strcmp(argv[1], "-l")) {
		each(argc - 1, argv + 1, NULL, true);
		return 0;
	}

	iter = env_number("UVM_ITER", 1);
	time_scale = env_number("UVM_TIME_SCALE", 1);
	seed = getenv("UVM_SEED");
	if (seed)
		harness_seed = strtoull(seed, NULL, 0);
	else if (getrandom(&harness_seed, sizeof(harness_seed), GRND_NONBLOCK) !=
		 sizeof(harness_seed))
		harness_seed = time(NULL);

	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		return 2;
	setrlimit(RLIMIT_CORE, &no_core);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);

	dprintf(STDOUT_FILENO, "1..%u\n",
		each(argc, argv, NULL, false));
	harness_note("UVM_SEED=0x%llx UVM_ITER=%u",
		     (unsigned long long)harness_seed, iter);
	each(argc, argv, &failed, false);
	return failed != 0;
}
