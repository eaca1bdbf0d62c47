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
	printf("\n%-34s %8s %15s %-10s %8s %15s %7s %5s\n", unit, "ours",
	       "min-max", "peer", "median", "min-max", "ratio", "aim");
}

static void print_line(const struct row *row, double ours, double theirs)
{
	const struct series *a = row->ours, *b = row->theirs;

	printf("%-34s %8.1f %7.0f-%-7.0f %-10s %8.1f %7.0f-%-7.0f %7.3f",
	       row->metric, ours, a->value[0], a->value[a->count - 1],
	       row->peer, theirs, b->value[0], b->value[b->count - 1],
	       ours / theirs);
	if (row->aim)
		printf(" %5g", row->aim);
	printf("\n");
}

void print_row(bool csv, const char *lane, const struct row *row)
{
	struct utsname uts;
	double a, b;

	if (!row->ours->count || !row->theirs->count) {
		if (!csv)
			printf("%-34s skipped: no measurement of %s\n",
			       row->metric,
			       row->ours->count ? row->peer : "ours");
		return;
	}

	a = series_median(row->ours);
	b = series_median(row->theirs);
	uname(&uts);
	if (csv)
		printf("CSV,%s,%s,%s,%.1f,%.1f,%.3f,%s\n", uts.release, lane,
		       row->metric, a, b, a / b, row->unit);
	else
		print_line(row, a, b);
}
