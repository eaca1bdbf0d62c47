// SPDX-License-Identifier: MIT
/*
 * Samples, and the lines that tell of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "bench.h"

int series_add(struct series *s, double value)
{
	double *more;

	if (s->count == s->room) {
		more = realloc(s->value, (s->room + 64) * 2 * sizeof(*more));
		if (!more) {
			fprintf(stderr, "uvm_bench: no memory for samples\n");
			return -1;
		}
		s->value = more;
		s->room = (s->room + 64) * 2;
	}
	s->value[s->count++] = value;
	return 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void series_sort(struct series *s)
{
	if (s->count)
		qsort(s->value, s->count, sizeof(s->value[0]), compare);
}

double series_median(const struct series *s)
{
	unsigned int half = s->count / 2;

	return s->count % 2 ? s->value[half] :
			      (s->value[half - 1] + s->value[half]) / 2;
}

void print_head(const char *unit)
{
	printf("\n%-34s %8s %15s %-10s %8s %15s %7s\n", unit, "ours", "min-max",
	       "peer", "median", "min-max", "ratio");
}

void print_row(bool csv, const char *lane, const char *unit, const char *metric,
	       const char *peer, const struct series *ours,
	       const struct series *theirs)
{
	struct utsname uts;
	double a, b;

	if (!ours->count || !theirs->count) {
		if (!csv)
			printf("%-34s skipped: no measurement of %s\n", metric,
			       ours->count ? peer : "ours");
		return;
	}

	a = series_median(ours);
	b = series_median(theirs);
	uname(&uts);
	if (csv)
		printf("CSV,%s,%s,%s,%.1f,%.1f,%.3f,%s\n", uts.release, lane,
		       metric, a, b, a / b, unit);
	else
		printf("%-34s %8.1f %7.0f-%-7.0f %-10s %8.1f %7.0f-%-7.0f %7.3f\n",
		       metric, a, ours->value[0], ours->value[ours->count - 1],
		       peer, b, theirs->value[0],
		       theirs->value[theirs->count - 1], a / b);
}
