// SPDX-License-Identifier: MIT
/*
 * Opening and closing: the two files of a process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

#define UVM_DEVICE	"/dev/uvm"

int libuvm_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

static int open_device(void)
{
	int fd = open(UVM_DEVICE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int get_info(int fd, struct uvm_info *info)
{
	*info = (struct uvm_info){ .size = sizeof(*info) };
	return libuvm_ioctl(fd, UVM_INFO, info);
}

static int init_va_space(struct uvm_ctx *ctx)
{
	struct uvm_init init = { .size = sizeof(init) };
	struct uvm_info info;
	int ret;

	ret = get_info(ctx->fd, &info);
	if (ret)
		return ret;
	if (info.out_version != UVM_VERSION || !info.out_page_size ||
	    !info.out_max_query)
		return -EPROTONOSUPPORT;

	ctx->page_size = info.out_page_size;
	ctx->max_query = info.out_max_query;
	return libuvm_ioctl(ctx->fd, UVM_INIT, &init);
}

static int init_mm(struct uvm_ctx *ctx)
{
	struct uvm_mm_init mm_init = {
		.size = sizeof(mm_init),
		.va_space_fd = ctx->fd,
	};

	return libuvm_ioctl(ctx->mm_fd, UVM_MM_INIT, &mm_init);
}

int uvm_open(struct uvm_ctx **out)
{
	struct uvm_ctx *ctx;
	int ret;

	*out = NULL;
	ctx = malloc(sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;

	ret = ctx->fd = open_device();
	if (ret < 0)
		goto err_free;
	ret = init_va_space(ctx);
	if (ret)
		goto err_close;
	ret = ctx->mm_fd = open_device();
	if (ret < 0)
		goto err_close;
	ret = init_mm(ctx);
	if (ret)
		goto err_close_mm;

	*out = ctx;
	return 0;

err_close_mm:
	close(ctx->mm_fd);
err_close:
	close(ctx->fd);
err_free:
	free(ctx);
	return ret;
}

void uvm_close(struct uvm_ctx *ctx)
{
	if (!ctx)
		return;

	/*
	 * The mm file first: that stops GPU work and lets go of the mm. It holds
	 * a reference on the VA space, which could not end before it.
	 */
	close(ctx->mm_fd);
	close(ctx->fd);
	free(ctx);
}

int uvm_fd(const struct uvm_ctx *ctx)
{
	return ctx->fd;
}

int uvm_mm_fd(const struct uvm_ctx *ctx)
{
	return ctx->mm_fd;
}

int uvm_get_info(struct uvm_ctx *ctx, struct uvm_info *info)
{
	return get_info(ctx->fd, info);
}

size_t uvm_page_size(const struct uvm_ctx *ctx)
{
	return ctx->page_size;
}
