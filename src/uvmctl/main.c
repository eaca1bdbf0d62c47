// SPDX-License-Identifier: MIT
/*
 * uvmctl: look at uvm from the command line, and see it work.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uvmctl.h"

static const char usage_text[] =
	"Usage: uvmctl COMMAND\n"
	"\n"
	"  info                     version, features and limits of the loaded module\n"
	"  gpus                     the GPUs that are present\n"
	"  topology                 who can do what with whose memory\n"
	"  ps                       the processes that use GPUs (for root)\n"
	"  stats                    what page faults took, by GPU (for root)\n"
	"  memory                   what becomes of the GPUs' memory, and who has it (for\n"
	"                           root)\n"
	"  demo FILE [--gpu=GPU]    move FILE's bytes to a software GPU, compute on them\n"
	"                           there, move them back, and check every byte; GPU is a\n"
	"                           name, an index, private, coherent or numa\n"
	"  help                     this text\n"
	"\n"
	"Exit status: 0 all right, 1 something failed, 2 wrong usage.\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "info", cmd_info },
	{ "gpus", cmd_gpus },
	{ "topology", cmd_topology },
	{ "ps", cmd_ps },
	{ "stats", cmd_stats },
	{ "memory", cmd_memory },
	{ "demo", cmd_demo },
};

void complain(const char *what, unsigned int cmd, int err)
{
	fprintf(stderr, "uvmctl: %s: %s (%s)\n", what, uvm_strerror(cmd, err),
		strerror(abs(err)));
}

int no_arguments(int argc, char **argv)
{
	if (argc == 1)
		return 1;
	fprintf(stderr, "uvmctl: %s takes no arguments\n\n", argv[0]);
	return 0;
}

static int usage_error(const char *what, const char *which)
{
	fprintf(stderr, "uvmctl: %s%s\n\n%s", what, which, usage_text);
	return EXIT_USAGE;
}

static int is_help(const char *arg)
{
	return !strcmp(arg, "help") || !strcmp(arg, "--help") ||
	       !strcmp(arg, "-h");
}

/* A full disk must not look like success. */
static int finish(int status)
{
	if (fflush(stdout) || ferror(stdout)) {
		perror("uvmctl: standard output");
		return status ? status : EXIT_FAILED;
	}
	return status;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage_error("a command is missing", "");

	if (is_help(argv[1])) {
		fputs(usage_text, stdout);
		return finish(EXIT_OK);
	}

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		int status;

		if (strcmp(argv[1], commands[i].name))
			continue;
		status = commands[i].run(argc - 1, argv + 1);
		if (status == EXIT_USAGE)
			fputs(usage_text, stderr);
		return finish(status);
	}
	return usage_error("no such command: ", argv[1]);
}
