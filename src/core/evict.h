/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_EVICT_H
#define _UVM_EVICT_H

#include <linux/types.h>

struct uvm_gpu;
struct uvm_tenant;

/**
 * enum uvm_evict_mode - what may be evicted
 * @UVM_EVICT_COLD: what wasn't used for long, and of who has more than his share, if the
 *	one who wants the room has less
 * @UVM_EVICT_ANY: what was used longest ago
 */
enum uvm_evict_mode {
	UVM_EVICT_COLD,
	UVM_EVICT_ANY,
};

int uvm_evict_init(struct uvm_gpu *gpu);
void uvm_evict_fini(struct uvm_gpu *gpu);
unsigned long uvm_evict_room(struct uvm_gpu *gpu, struct uvm_tenant *tenant);
bool uvm_evict_has_chunk(struct uvm_gpu *gpu);
long uvm_evict(struct uvm_gpu *gpu, struct uvm_tenant *tenant, unsigned long want,
	       enum uvm_evict_mode mode);
void uvm_evict_ahead(struct uvm_gpu *gpu, struct uvm_tenant *tenant);
void uvm_evict_stayed(struct uvm_gpu *gpu, struct uvm_tenant *tenant,
		      unsigned long base);

#endif /* _UVM_EVICT_H */
