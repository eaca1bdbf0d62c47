// SPDX-License-Identifier: MIT
/*
 * A clock of work, whoever does it: for what is left to other threads and waited
 * for.
 *
 * On a machine of one CPU whose clock counts instructions (see instructions.c),
 * time elapsed is the work of all threads, unless the CPU is idle: then it jumps.
 * Here it never is. A thread that gives way to every other spins while they all
 * wait, and what it used up is taken off the time elapsed.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define WAIT_NS		10000000
/* Of a wait that is nothing but a wait. */
#define MOST_WORK	0.05

static pthread_t spinner;
static clockid_t spinner_clock;
static sem_t ready;
static bool stopping;
static int spin_error;

static void *spin(void *unused)
{
	struct sched_param param = { 0 };

	spin_error = sched_setscheduler(0, SCHED_IDLE, &param);
	sem_post(&ready);
	while (!spin_error && !__atomic_load_n(&stopping, __ATOMIC_RELAXED))
		;
	return unused;
}

static double read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

double work_clock_now(void)
{
	return read_clock(CLOCK_MONOTONIC) - read_clock(spinner_clock);
}

void work_clock_stop(void)
{
	__atomic_store_n(&stopping, true, __ATOMIC_RELAXED);
	pthread_join(spinner, NULL);
	sem_destroy(&ready);
}

/* Nobody works while this thread sleeps. */
static int check_wait(void)
{
	struct timespec ts = { .tv_nsec = WAIT_NS };
	double work = work_clock_now();

	nanosleep(&ts, NULL);
	work = work_clock_now() - work;
	printf("calibration: a wait of %d ns counted as %.0f\n", WAIT_NS, work);
	if (work >= 0 && work <= WAIT_NS * MOST_WORK)
		return 0;
	fprintf(stderr, "uvm_bench: time that nobody works isn't told from work\n");
	return -1;
}

int work_clock_start(void)
{
	int ret;

	stopping = false;
	sem_init(&ready, 0, 0);
	ret = pthread_create(&spinner, NULL, spin, NULL);
	if (ret) {
		sem_destroy(&ready);
		fprintf(stderr, "uvm_bench: no thread: %s\n", strerror(ret));
		return -1;
	}
	sem_wait(&ready);
	if (spin_error)
		fprintf(stderr, "uvm_bench: no idle priority\n");
	if (spin_error || pthread_getcpuclockid(spinner, &spinner_clock) ||
	    check_wait()) {
		work_clock_stop();
		return -1;
	}
	return 0;
}
