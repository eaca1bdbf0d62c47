// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that no byte is lost when copy engines fail: a batch that fails leaves its
 * pages where they were, one that hangs is ended by a reset, and a CPU that needs a
 * page which the device can't give back gets SIGBUS, and the page later. The software
 * GPU's knobs make its engines fail (/sys/kernel/debug/uvm_sim). And that its compute
 * engine tells of many pages at once when it misses one, and that a GPU which can do
 * no more than it must is one all the same.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib_uvm.h"

/* More often than anything is tried. */
#define ALWAYS	1000000

static const struct variant private_huge[] = {
	{ "private", UVM_MEMORY_PRIVATE, false },
	{ "private_thp", UVM_MEMORY_PRIVATE, true },
	{ NULL, 0, 0 },
};

static void knob(struct fix *f, const char *name, int times)
{
	char path[200], text[20];

	snprintf(path, sizeof(path), "/sys/kernel/debug/uvm_sim/%s/%s",
		 f->gpu.name, name);
	snprintf(text, sizeof(text), "%d", times);
	ASSERT_TRUE(write_text(path, text));
}

static long stat_of(struct fix *f, const char *name)
{
	char path[200], key[100], text[4000] = "\n", *p;

	snprintf(path, sizeof(path), "/sys/kernel/debug/uvm_sim/%s/stats",
		 f->gpu.name);
	ASSERT_TRUE(read_text(path, text + 1, sizeof(text) - 1));
	snprintf(key, sizeof(key), "\n%s ", name);
	p = strstr(text, key);
	ASSERT_TRUE(p);
	return atol(p + strlen(key));
}

static void to(struct fix *f, uint32_t kind, const void *p, size_t length,
	       struct uvm_migrate *m)
{
	ASSERT_RET(migrate(f->s.fd, p, length, kind, 0,
			   kind == UVM_DEST_GPU ? f->gpu.uuid : NULL, m), 0);
	expect_accounts(m);
	EXPECT_EQ(m->out_done, length);
}

TEST_V(fails_to_gpu, devices_huge)
{
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 1);
	knob(&f, "fail_copy", ALWAYS);
	to(&f, UVM_DEST_GPU, p, f.length, &m);
	EXPECT_EQ(m.out_moved, 0);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_BUSY], f.length / PAGE);
	EXPECT_EQ(fix_on_cpu(&f, p, f.length), f.length / PAGE);
	EXPECT_PATTERN(p, f.length, 1);
	knob(&f, "fail_copy", 0);
	fix_to_gpu(&f, p, f.length);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	EXPECT_PATTERN(p, f.length, 1);
	fix_close(&f);
}

/* A passing failure is made good. */
TEST_V(fails_once, devices_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 2);
	knob(&f, "fail_copy", 1);
	fix_to_gpu(&f, p, f.length);
	EXPECT_GT(stat_of(&f, "batch_errors"), 0);
	knob(&f, "fail_copy", 1);
	fix_to_cpu(&f, p, f.length);
	knob(&f, "fail_copy", 0);
	EXPECT_PATTERN(p, f.length, 2);
	fix_close(&f);
}

TEST_V(fails_to_cpu, devices_huge)
{
	struct uvm_migrate m;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 3);
	fix_to_gpu(&f, p, f.length);
	knob(&f, "fail_copy", ALWAYS);
	to(&f, UVM_DEST_CPU, p, f.length, &m);
	EXPECT_EQ(m.out_moved, 0);
	EXPECT_EQ(m.out_skipped[UVM_SKIP_BUSY], f.length / PAGE);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	knob(&f, "fail_copy", 0);
	EXPECT_PATTERN(p, f.length, 3);
	fix_to_cpu(&f, p, f.length);
	EXPECT_PATTERN(p, f.length, 3);
	fix_close(&f);
}

/* The CPU touches: a passing failure goes unnoticed. */
TEST_V(touch_fails_once, private_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 4);
	fix_to_gpu(&f, p, f.length);
	knob(&f, "fail_copy", 1);
	EXPECT_PATTERN(p, f.length, 4);
	knob(&f, "fail_copy", 0);
	fix_close(&f);
}

/* A lasting one is SIGBUS, to the one who touches; nothing is lost. */
TEST_V(touch_fails, private_huge)
{
	struct fix f;
	int status;
	pid_t pid;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 5);
	fix_to_gpu(&f, p, f.length);
	knob(&f, "fail_copy", ALWAYS);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		*(volatile char *)p;
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(WTERMSIG(status), SIGBUS);
	knob(&f, "fail_copy", 0);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	EXPECT_PATTERN(p, f.length, 5);
	fix_close(&f);
}

/* A hung engine is reset; what it was to copy is copied in another attempt. */
TEST_V(hangs, devices_huge)
{
	struct fix f;
	long resets;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 6);
	resets = stat_of(&f, "resets");
	knob(&f, "hang_copy", 1);
	fix_to_gpu(&f, p, f.length);
	EXPECT_GE(stat_of(&f, "resets"), resets + 1);
	EXPECT_EQ(fix_gpu_sum(&f, p, f.length), sum64(p, f.length));
	fix_to_gpu(&f, p, f.length);
	knob(&f, "hang_copy", 1);
	fix_to_cpu(&f, p, f.length);
	EXPECT_GE(stat_of(&f, "resets"), resets + 2);
	EXPECT_PATTERN(p, f.length, 6);
	fix_close(&f);
}

TEST_V(touch_hangs, private_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 7);
	fix_to_gpu(&f, p, f.length);
	knob(&f, "hang_copy", 1);
	EXPECT_PATTERN(p, f.length, 7);
	fix_close(&f);
}

/* A channel learns of a reset of its GPU in its own time: 5 s at most. */
static uint32_t state_after_reset(struct fix *f)
{
	struct timespec tick = { .tv_nsec = 10000000 };
	struct uvm_channel_query q;
	int i;

	for (i = 0; i < 500; i++) {
		ASSERT_RET(channel_query(f->s.fd, f->channel, &q), 0);
		if (q.out_state != UVM_CHANNEL_RUNNING)
			break;
		nanosleep(&tick, NULL);
	}
	return q.out_state;
}

/* If an engine's reset fails, the GPU's ends the batch, and the channels with it. */
TEST_V(engine_reset_fails, devices_huge)
{
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = fix_pattern(&f, f.length, 8);
	knob(&f, "reset_fails", 1);
	knob(&f, "hang_copy", 1);
	fix_to_gpu(&f, p, f.length);
	knob(&f, "reset_fails", 0);
	EXPECT_EQ(state_after_reset(&f), UVM_CHANNEL_FAILED);
	EXPECT_EQ(fix_on_gpu(&f, p, f.length), f.length / PAGE);
	EXPECT_PATTERN(p, f.length, 8);
	fix_close(&f);
}

static long parameter(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "/sys/module/uvm_sim/parameters/%s", name);
	return read_number(path);
}

static bool switched_on(const char *name)
{
	char path[200], text[8];

	snprintf(path, sizeof(path), "/sys/module/uvm_sim/parameters/%s", name);
	ASSERT_TRUE(read_text(path, text, sizeof(text)));
	return text[0] == 'Y';
}

/* Pages that nobody has touched yet: without lanes, the GPU stalls at each. */
TEST_V(lanes, devices)
{
	const size_t pages = 256;
	long stalls, ahead;
	struct uvm_sim_cmd fill;
	struct fix f;
	char *p;

	fix_open(&f, v);
	p = anon(pages * PAGE, PROT_READ | PROT_WRITE, 0);
	ASSERT_RET(madvise(p, pages * PAGE, MADV_NOHUGEPAGE), 0);
	stalls = stat_of(&f, "faults");
	ahead = stat_of(&f, "faults_ahead");
	fill = CMD(FILL, .dst = ADDR(p), .length = pages * PAGE, .arg0 = 0x5a);
	EXPECT_RET(fix_run(&f, &fill, 1), 0);
	EXPECT_BYTES(p, pages * PAGE, 0x5a);
	stalls = stat_of(&f, "faults") - stalls;
	ahead = stat_of(&f, "faults_ahead") - ahead;
	if (parameter("lanes") == 1) {
		EXPECT_GE(stalls, pages);
		EXPECT_EQ(ahead, 0);
	} else {
		EXPECT_LE(stalls, pages / 4);
		EXPECT_GE(ahead, pages / 2);
	}
	fix_close(&f);
}

/* Where a GPU can't do atomics it doesn't wait for ever; in its memory it can. */
TEST_V(no_system_atomics, devices)
{
	struct uvm_channel_query q;
	struct uvm_sim_cmd add;
	uint64_t *p, point;
	struct fix f;

	if (switched_on("system_atomics"))
		SKIP("the GPU can do atomics on system memory");
	fix_open(&f, v);
	p = fix_buffer(&f, f.length);
	memset(p, 0, f.length);
	add = CMD(ATOMIC_ADD, .dst = ADDR(p + 1), .arg0 = 1, .arg1 = 3);
	ASSERT_RET(channel_submit(f.s.fd, f.channel, &add, 1, &point), 0);
	EXPECT_RET(channel_wait(f.s.fd, f.channel, point, PATIENCE, NULL), -ECANCELED);
	ASSERT_RET(channel_query(f.s.fd, f.channel, &q), 0);
	EXPECT_EQ(q.out_state, UVM_CHANNEL_FAULTED);
	EXPECT_EQ(q.out_reason, UVM_FAULT_BUS);
	EXPECT_EQ(q.out_access, UVM_ACCESS_ATOMIC);
	EXPECT_EQ(q.out_address, add.dst);
	EXPECT_EQ(p[1], 0);

	ASSERT_RET(channel_destroy(f.s.fd, f.channel), 0);
	ASSERT_RET(channel_create(f.s.fd, f.gpu.uuid, &f.channel), 0);
	fix_to_gpu(&f, p, f.length);
	EXPECT_RET(fix_run(&f, &add, 1), 0);
	EXPECT_EQ(p[1], 3);
	fix_close(&f);
}

HARNESS_MAIN()
