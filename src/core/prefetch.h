/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UVM_PREFETCH_H
#define _UVM_PREFETCH_H

void uvm_prefetch_grow(unsigned long *want, const unsigned long *there,
		       const unsigned long *may, unsigned int threshold);

#endif /* _UVM_PREFETCH_H */
