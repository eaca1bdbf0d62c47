/* SPDX-License-Identifier: MIT */
#ifndef _UVMCTL_H
#define _UVMCTL_H

#include <stdio.h>

#include <libuvm/uvm.h>

#define MIB		(1024.0 * 1024.0)
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Exit statuses; a subcommand returns one. */
#define EXIT_OK		0
#define EXIT_FAILED	1
#define EXIT_USAGE	2

int cmd_info(int argc, char **argv);
int cmd_gpus(int argc, char **argv);
int cmd_topology(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_memory(int argc, char **argv);
int cmd_demo(int argc, char **argv);

/* Says so if there are any; @argc and @argv as for a subcommand. */
int no_arguments(int argc, char **argv);

/* Says on stderr what went wrong in @cmd, and what to do next. */
void complain(const char *what, unsigned int cmd, int err);

/*
 * Has a file of the driver's in debugfs printed, says what is wrong if there is none,
 * or if @print returns -1, and returns an exit status.
 */
int print_debugfs(const char *name, int (*print)(FILE *in));

/* The driver's list of VA spaces, read from @in, as a table; -1 if it is none. */
int print_va_spaces(FILE *in);

/* The driver's counters of its GPUs, the same way */
int print_stats(FILE *in);

/* Who has the GPUs' memory, the same way; and the GPUs' own numbers, as a subcommand. */
int print_memory_users(FILE *in);
int show_gpu_memory(void);

/* The name of a process's program; "-" if the process is gone. */
void program_of(int pid, char *name, size_t size);

#endif /* _UVMCTL_H */
