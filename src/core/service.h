/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_SERVICE_H
#define _UVM_SERVICE_H

#include <linux/types.h>

struct uvm_gpu_space;
struct uvm_service;

struct uvm_service *uvm_service_alloc(struct uvm_gpu_space *gs);
void uvm_service_free(struct uvm_service *svc);
void uvm_service_set_stream(struct uvm_service *svc, bool stream);
bool uvm_service_wants_ahead(struct uvm_service *svc, unsigned long base);
bool uvm_service_block(struct uvm_service *svc, unsigned long base, u8 *access);
bool uvm_service_atomics(struct uvm_service *svc, unsigned long base, u8 *access,
			 const unsigned long *pages, bool renew);
bool uvm_service_again(const struct uvm_service *svc);
bool uvm_service_hot(struct uvm_service *svc, unsigned long start,
		     unsigned long end);
const unsigned long *uvm_service_hold(const struct uvm_service *svc);
bool uvm_service_throttled(struct uvm_service *svc);

#endif /* _UVM_SERVICE_H */
