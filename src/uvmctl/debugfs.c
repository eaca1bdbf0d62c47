// SPDX-License-Identifier: MIT
/*
 * What the driver shows in debugfs.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "uvmctl.h"

#define DEBUGFS		"/sys/kernel/debug"
#define DEBUGFS_ID	0x64626720

static void complain_about_file(const char *path, int err)
{
	struct statfs fs;

	if (err == EACCES || err == EPERM)
		fprintf(stderr,
			"uvmctl: no permission to read %s: run as root (%s)\n",
			path, strerror(err));
	else if (!statfs(DEBUGFS, &fs) && fs.f_type != DEBUGFS_ID)
		fprintf(stderr,
			"uvmctl: debugfs isn't mounted: mount -t debugfs none %s\n",
			DEBUGFS);
	else if (err == ENOENT)
		fprintf(stderr,
			"uvmctl: there is no %s: load the module (modprobe uvm, or insmod uvm.ko), on a kernel with debugfs\n",
			path);
	else
		fprintf(stderr, "uvmctl: %s: %s\n", path, strerror(err));
}

int print_debugfs(const char *name, int (*print)(FILE *in))
{
	char path[64];
	FILE *file;
	int ret;

	snprintf(path, sizeof(path), DEBUGFS "/uvm/%s", name);
	file = fopen(path, "re");
	if (!file) {
		complain_about_file(path, errno);
		return EXIT_FAILED;
	}
	ret = print(file);
	fclose(file);
	if (!ret)
		return EXIT_OK;
	fprintf(stderr,
		"uvmctl: %s isn't the list that this program knows: use the module and the program of one release\n",
		path);
	return EXIT_FAILED;
}
