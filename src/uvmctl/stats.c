// SPDX-License-Identifier: MIT
/*
 * uvmctl stats: what page faults took.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "uvmctl.h"

#define MAX_STATS	32

/* The names of the counters, cut apart in @line; -1 if it is no such list. */
static int split_header(char *line, char *names[MAX_STATS])
{
	char *word, *rest = line;
	int count = 0;

	line[strcspn(line, "\n")] = 0;
	word = strsep(&rest, " ");
	if (strcmp(word, "id"))
		return -1;
	while ((word = strsep(&rest, " ")) && strcmp(word, "name")) {
		if (!*word || count == MAX_STATS)
			return -1;
		names[count++] = word;
	}
	return word ? count : -1;
}

/* One GPU: its id, its counters, and its name, which goes on to the end. */
static int print_counters(const char *line, char *const names[MAX_STATS], int count)
{
	unsigned long long values[MAX_STATS];
	unsigned int id;
	int used;

	if (sscanf(line, "%u%n", &id, &used) != 1)
		return -1;
	line += used;
	for (int i = 0; i < count; i++) {
		if (sscanf(line, "%llu%n", &values[i], &used) != 1)
			return -1;
		line += used;
	}
	if (line[0] != ' ' || !isprint((unsigned char)line[1]))
		return -1;
	printf("%s  id %u\n", line + 1, id);
	for (int i = 0; i < count; i++)
		printf("  %-13s  %12llu\n", names[i], values[i]);
	return 0;
}

int print_stats(FILE *in)
{
	char header[500], line[500], *names[MAX_STATS];
	int count, gpus = 0;

	if (!fgets(header, sizeof(header), in))
		return -1;
	count = split_header(header, names);
	if (count < 0)
		return -1;
	for (; fgets(line, sizeof(line), in); gpus++) {
		line[strcspn(line, "\n")] = 0;
		if (print_counters(line, names, count))
			return -1;
	}
	if (!gpus)
		printf("there is no GPU\n");
	return ferror(in) ? -1 : 0;
}

int cmd_stats(int argc, char **argv)
{
	if (!no_arguments(argc, argv))
		return EXIT_USAGE;
	return print_debugfs("gpus", print_stats);
}
