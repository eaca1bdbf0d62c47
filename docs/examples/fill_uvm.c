// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <stdlib.h>
#include <libuvm/uvm.h>
#include <libuvm/uvm_sim.h>

int main(void)
{
	size_t size = 8 << 20;
	void *start, *memory = malloc(size);		/* memory like any other */
	struct uvm_sim_cmd fill = uvm_sim_fill(memory, 0x42, size);
	struct uvm_gpu_info gpu;
	struct uvm_ctx *ctx;
	uint32_t channel;
	uint64_t point;

	if (!memory || uvm_open(&ctx) || uvm_find_gpu(ctx, NULL, &gpu) ||
	    uvm_register_gpu(ctx, gpu.uuid, NULL) ||
	    uvm_channel_create(ctx, gpu.uuid, &channel))
		return 1;
	size = uvm_page_span(ctx, memory, size, &start);
	if (uvm_migrate_to_gpu(ctx, gpu.uuid, start, size, NULL) ||
	    uvm_channel_submit(ctx, channel, &fill, sizeof(fill), &point) ||
	    uvm_wait(ctx, channel, point, UVM_WAIT_FOREVER, NULL))
		return 1;
	printf("the GPU wrote 0x%x\n", *(unsigned char *)memory);
	uvm_close(ctx);
	return 0;
}
