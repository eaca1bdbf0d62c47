// SPDX-License-Identifier: GPL-2.0-only
/* See lib_managed.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "lib_lifetime.h"
#include "lib_managed.h"
#include "lib_memory.h"

#define BLOCKS_FILE	"/sys/kernel/debug/uvm/managed_blocks"

void managed_need(void)
{
	if (!(feature_mask() & UVM_FEATURE_MANAGED))
		SKIP("this driver has no managed memory");
}

void duplication_need(void)
{
	managed_need();
	if (!(feature_mask() & UVM_FEATURE_READ_DUPLICATION))
		SKIP("this driver copies no read-mostly pages");
}

int managed_try(int fd, void *at, size_t length)
{
	void *p = mmap(at, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, ADDR(at));

	if (p == MAP_FAILED)
		return -errno;
	ASSERT_TRUE(p == at);
	return 0;
}

void managed_at(int fd, void *at, size_t length)
{
	ASSERT_TRUE(mmap(at, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			 ADDR(at)) == at);
}

char *managed_room(size_t length)
{
	char *area = anon(length + 3 * HUGE, PROT_NONE, MAP_NORESERVE);

	return (char *)((ADDR(area) + 2 * HUGE - 1) & ~(HUGE - 1));
}

void *managed(int fd, size_t length)
{
	void *p = length < HUGE ? anon(length, PROT_NONE, MAP_NORESERVE) :
				  managed_room(length);

	managed_at(fd, p, length);
	return p;
}

void managed_gpus_need(void)
{
	managed_need();
	gpus_for_managed();
}

/* ---- the account ---- */

long fdinfo_number(int fd, const char *name)
{
	size_t n = strlen(name);
	char path[64], line[200], unit[2];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, n) && line[n] == ':' &&
		    sscanf(line + n + 1, "%ld %1[B]", &value, unit) == 2)
			value /= PAGE;
	fclose(f);
	return value;
}

void managed_account_read(int fd, struct managed_account *a)
{
	*a = (struct managed_account){
		.cpu = fdinfo_number(fd, "uvm-managed-cpu"),
		.blocks = read_number(BLOCKS_FILE),
	};
}

static bool account_is(int fd, const struct managed_account *was)
{
	struct managed_account now;

	managed_account_read(fd, &now);
	return now.cpu == was->cpu && now.blocks == was->blocks;
}

bool managed_account_returns(int fd, const struct managed_account *was)
{
	struct managed_account now;

	if (WAIT_FOR(account_is(fd, was)))
		return true;
	managed_account_read(fd, &now);
	harness_note("system memory: %ld, was %ld; blocks: %ld, were %ld", now.cpu,
		     was->cpu, now.blocks, was->blocks);
	return false;
}

bool managed_blocks_return(long blocks)
{
	return WAIT_FOR(read_number(BLOCKS_FILE) == blocks);
}

void managed_account_need(int fd)
{
	struct managed_account a;

	managed_account_read(fd, &a);
	if (a.cpu < 0 && a.blocks < 0)
		SKIP("the driver tells nothing of managed memory");
}

const struct variant managed_private[] = {
	{ "private_managed", UVM_MEMORY_PRIVATE, .managed = true },
	{ 0 },
};

void open_space(struct space *s)
{
	managed_need();
	ASSERT_RET(space_open(s), 0);
}

unsigned long my_pages(struct fix *f, const struct uvm_gpu_info *gpu)
{
	struct uvm_query_memory q;

	ASSERT_RET(memory_query(f->s.fd, gpu->uuid, &q), 0);
	return q.out_mine / PAGE;
}

void expect_mine(struct fix *f, const struct uvm_gpu_info *gpu, unsigned long pages)
{
	if (!WAIT_FOR(my_pages(f, gpu) == pages))
		EXPECT_EQ(my_pages(f, gpu), pages);
	else
		EXPECT_TRUE(true);
}

void splice_in(int fd, const char *p, size_t length)
{
	struct iovec iov = { (void *)p, length };

	ASSERT_EQ(vmsplice(fd, &iov, 1, 0), (ssize_t)length);
}
