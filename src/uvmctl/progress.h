/* SPDX-License-Identifier: MIT */
/*
 * Times a step, and keeps whoever watches a long one informed on stderr: every
 * half second on a terminal, else a line every five. One step at a time.
 */
#ifndef _UVMCTL_PROGRESS_H
#define _UVMCTL_PROGRESS_H

double seconds_now(void);

void progress_begin(const char *step);

/* @percent may be -1 if it isn't known. */
void progress(int percent);

/* Ends the step; returns how many seconds it took. */
double progress_end(void);

#endif /* _UVMCTL_PROGRESS_H */
