// SPDX-License-Identifier: MIT
/*
 * uvmctl ps: the processes that use GPUs.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "uvmctl.h"

void program_of(int pid, char *name, size_t size)
{
	char path[40];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (!file || !fgets(name, size, file))
		snprintf(name, size, "-");
	name[strcspn(name, "\n")] = 0;
	/* A process calls itself what it likes; a terminal shows text only. */
	for (char *c = name; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
	if (file)
		fclose(file);
}

int print_va_spaces(FILE *in)
{
	unsigned int retainers, channels, gpus;
	char line[200], state[32], name[20];
	int pid, end, count = 0;

	if (!fgets(line, sizeof(line), in) || strncmp(line, "pid ", 4))
		return -1;
	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "%d %31s %u %u %u %n", &pid, state, &retainers,
			   &channels, &gpus, &end) != 5 || line[end])
			return -1;
		if (!count++)
			printf("%8s  %-15s  %-13s  %4s  %8s  %5s\n", "PID", "PROGRAM",
			       "STATE", "GPUS", "CHANNELS", "CALLS");
		program_of(pid, name, sizeof(name));
		printf("%8d  %-15s  %-13s  %4u  %8u  %5u\n", pid, name, state, gpus,
		       channels, retainers);
	}
	if (!count)
		printf("no process uses GPUs\n");
	return ferror(in) ? -1 : 0;
}

int cmd_ps(int argc, char **argv)
{
	if (!no_arguments(argc, argv))
		return EXIT_USAGE;
	return print_debugfs("va_spaces", print_va_spaces);
}
