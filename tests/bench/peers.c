// SPDX-License-Identifier: MIT
/*
 * Whom we are measured against: the kernel's HMM test driver (lib/test_hmm) and
 * move_pages(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

/*
 * lib/test_hmm. Its header isn't installed; this is our own definition of its
 * one command structure.
 */
struct dmirror_cmd {
	uint64_t addr;
	uint64_t ptr;
	uint64_t npages;
	uint64_t cpages;
	uint64_t faults;
};

_Static_assert(sizeof(struct dmirror_cmd) == 40, "test_hmm's structure");

#define DMIRROR_READ		_IOWR('H', 0x00, struct dmirror_cmd)
#define DMIRROR_MIGRATE_TO_DEV	_IOWR('H', 0x02, struct dmirror_cmd)
#define DMIRROR_MIGRATE_TO_SYS	_IOWR('H', 0x03, struct dmirror_cmd)
#define DMIRROR_SNAPSHOT	_IOWR('H', 0x04, struct dmirror_cmd)

#define DMIRROR_PROT_PLACE		0x70
#define DMIRROR_PROT_PRIVATE_LOCAL	0x20

static int dmirror_fd = -1;
static uint8_t *dmirror_data;	/* what it reads back */

/*
 * An open file of it has a notifier over all of our memory, which every
 * migration would call, ours too. So it is open for its own samples only.
 */
static int dmirror_begin(void)
{
	dmirror_fd = open(DMIRROR_DEVICE, O_RDWR | O_CLOEXEC);
	if (dmirror_fd >= 0)
		return 0;
	fprintf(stderr, "uvm_bench: %s: %s\n", DMIRROR_DEVICE,
		strerror(errno));
	return -1;
}

static void dmirror_end(void)
{
	close(dmirror_fd);
	dmirror_fd = -1;
}

static int dmirror_open(const char *arg, size_t *length)
{
	(void)arg;
	if (access(DMIRROR_DEVICE, R_OK | W_OK)) {
		printf("skipped: rows against test_hmm: %s: %s (modprobe test_hmm, if this kernel has it)\n",
		       DMIRROR_DEVICE, strerror(errno));
		return 0;
	}
	dmirror_data = malloc(*length);
	if (!dmirror_data) {
		fprintf(stderr, "uvm_bench: no memory for test_hmm's copy\n");
		return -1;
	}
	/* Populated, or its faults would be on test_hmm's account. */
	memset(dmirror_data, 0xff, *length);
	return 1;
}

static double dmirror_call(const struct buffer *buf, unsigned long op,
			   void *answer, const char *name)
{
	struct dmirror_cmd cmd = {
		.addr = (uintptr_t)buf->base,
		.ptr = (uintptr_t)answer,
		.npages = buf->length / page_size(),
	};
	double start = seconds_now(), seconds;
	int ret;

	ret = ioctl(dmirror_fd, op, &cmd);
	seconds = seconds_now() - start;
	if (!ret)
		return seconds;
	fprintf(stderr, "uvm_bench: test_hmm's %s: %s\n", name,
		strerror(errno));
	return -1;
}

/* It doesn't say how much it moved; a page left behind flatters it. */
static int dmirror_count(const struct buffer *buf)
{
	size_t pages = buf->length / page_size(), there = 0;
	uint8_t *prot = calloc(pages, 1);
	int ret = -1;

	if (!prot || dmirror_call(buf, DMIRROR_SNAPSHOT, prot, "SNAPSHOT") < 0)
		goto out;
	for (size_t i = 0; i < pages; i++)
		there += (prot[i] & DMIRROR_PROT_PLACE) ==
			 DMIRROR_PROT_PRIVATE_LOCAL;
	if (there != pages)
		printf("note: test_hmm left %zu of %zu pages behind\n",
		       pages - there, pages);
	ret = 0;
out:
	free(prot);
	return ret;
}

/*
 * MIGRATE_TO_DEV also reads what it moved back into the caller's buffer. READ
 * alone, right after, tells how long that part took.
 */
static double dmirror_to_device(const struct buffer *buf)
{
	double both, read;

	/* Both find this memory alike, whatever happened to it since the last time. */
	memset(dmirror_data, 0xff, buf->length);
	both = dmirror_call(buf, DMIRROR_MIGRATE_TO_DEV, dmirror_data,
			    "MIGRATE_TO_DEV");
	if (both < 0)
		return -1;
	memset(dmirror_data, 0xff, buf->length);
	read = dmirror_call(buf, DMIRROR_READ, dmirror_data, "READ");
	if (read < 0 || dmirror_count(buf) ||
	    pattern_verify(dmirror_data, buf->length, buf->seed, "test_hmm READ"))
		return -1;
	/* Noise may make the part longer than the whole: no measurement. */
	return both > read ? both - read : 0;
}

static double dmirror_to_system(const struct buffer *buf)
{
	return dmirror_call(buf, DMIRROR_MIGRATE_TO_SYS, dmirror_data,
			    "MIGRATE_TO_SYS");
}

static bool dmirror_faults_back(void)
{
	return true;
}

static int dmirror_check_home(const struct buffer *buf)
{
	(void)buf;
	return 0;
}

static void dmirror_close(void)
{
	free(dmirror_data);
}

const struct mover dmirror_mover = {
	.name = "test_hmm",
	.open = dmirror_open,
	.begin = dmirror_begin,
	.end = dmirror_end,
	.to_device = dmirror_to_device,
	.to_system = dmirror_to_system,
	.faults_back = dmirror_faults_back,
	.check_home = dmirror_check_home,
	.close = dmirror_close,
};

/*
 * move_pages(2)
 */
#define MPOL_MF_MOVE	(1 << 1)

static int nodes[2];

/* Nodes that have a CPU: the others may be somebody's device. */
static bool node_is_plain(int node)
{
	char path[64], text[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist",
		 node);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(text, sizeof(text), file))
		text[0] = 0;
	fclose(file);
	return text[0] >= '0' && text[0] <= '9';
}

int move_pages_open(void)
{
	int found = 0;

	for (int node = 0; node < 64 && found < 2; node++)
		if (node_is_plain(node))
			nodes[found++] = node;
	if (found == 2)
		return 1;
	printf("skipped: rows against move_pages: this machine has no two CPU nodes\n");
	return 0;
}

static int move_to(void **pages, int *status, size_t count, int *target)
{
	for (size_t i = 0; i < count; i++)
		target[i] = target[0];
	/* A positive result counts what it left behind; count_there() does too. */
	if (syscall(SYS_move_pages, 0, count, pages, target, status,
		    MPOL_MF_MOVE) < 0)
		return -errno;
	return 0;
}

static size_t count_there(void **pages, int *status, size_t count, int node)
{
	size_t there = 0;

	if (syscall(SYS_move_pages, 0, count, pages, NULL, status, 0))
		return 0;
	for (size_t i = 0; i < count; i++)
		there += status[i] == node;
	return there;
}

double move_pages_run(const struct buffer *buf, enum page_mode mode)
{
	/* Of a huge page the first address stands for all. */
	size_t step = mode == MODE_THP ? HUGE_SIZE : page_size();
	size_t count = buf->length / step, there;
	void **pages = calloc(count, sizeof(*pages));
	int *status = calloc(count, sizeof(*status));
	int *target = calloc(count, sizeof(*target));
	double start, seconds = -1;
	int ret = -ENOMEM;

	if (!pages || !status || !target)
		goto out;
	for (size_t i = 0; i < count; i++)
		pages[i] = buf->base + i * step;

	target[0] = nodes[0];
	ret = move_to(pages, status, count, target);
	if (ret < 0)
		goto out;
	target[0] = nodes[1];
	start = seconds_now();
	ret = move_to(pages, status, count, target);
	seconds = seconds_now() - start;
	there = count_there(pages, status, count, nodes[1]);
	if (!ret && there != count)
		printf("note: move_pages left %zu of %zu pages behind\n",
		       count - there, count);
out:
	if (ret) {
		fprintf(stderr, "uvm_bench: move_pages: %s\n", strerror(-ret));
		seconds = -1;
	}
	free(pages);
	free(status);
	free(target);
	return seconds;
}
