// SPDX-License-Identifier: GPL-2.0
#include <linux/file.h>

struct file *probe(struct fd f)
{
	return fd_file(f);
}
