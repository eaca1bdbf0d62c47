// SPDX-License-Identifier: MIT
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"

static struct {
	const char *step;
	double start;
	double next;
	bool tty;
	bool shown;
} state;

double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

void progress_begin(const char *step)
{
	state.step = step;
	state.tty = isatty(STDERR_FILENO);
	state.shown = false;
	state.start = seconds_now();
	state.next = state.start + (state.tty ? 1 : 5);
}

void progress(int percent)
{
	double now = seconds_now();

	if (now < state.next)
		return;
	state.next = now + (state.tty ? 0.5 : 5);
	state.shown = true;

	fprintf(stderr, "%s  %s: %.0f s", state.tty ? "\r" : "", state.step,
		now - state.start);
	if (percent >= 0)
		fprintf(stderr, ", %d %%", percent);
	fprintf(stderr, " ...%s", state.tty ? "" : "\n");
}

double progress_end(void)
{
	double seconds = seconds_now() - state.start;

	/* Wipe the line: the table follows. */
	if (state.shown && state.tty)
		fprintf(stderr, "\r%78s\r", "");
	state.shown = false;
	return seconds;
}
