// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: The window of a CPU fault
 *
 * Owns the guess how much a CPU that touches private memory of a GPU will want to have
 * at home: 64 KiB at first, and twice as much each time that it goes on where the last
 * window ended, up to a block.
 *
 * A process whose memory is on a GPU need not have a VA space (a child after fork), so
 * what is remembered is kept with the GPU, in a few slots that those who fall into the
 * same one take from each other. An mm is compared, and never followed.
 */
#include "core.h"

#include <linux/hash.h>

/**
 * uvm_window_init() - nothing is known yet
 * @windows: of a GPU
 */
void uvm_window_init(struct uvm_windows *windows)
{
	spin_lock_init(&windows->lock);
	memset(windows->slots, 0, sizeof(windows->slots));
}

static struct uvm_window *uvm_window_slot(struct uvm_windows *windows,
					  const struct mm_struct *mm,
					  unsigned long address)
{
	unsigned long key = (unsigned long)mm ^ (address >> UVM_SPAN_SHIFT);

	return &windows->slots[hash_long(key, UVM_WINDOW_BITS)];
}

/**
 * uvm_window_get() - what a CPU fault brings home
 * @windows: of the GPU that has the page
 * @vma: where the fault is; mmap_lock is held
 * @address: of the page
 * @min: the least that has to come, a power of two: then aligned to it
 * @start: first byte of the window, in @vma
 * @end: the byte after its last one, in @vma and in the same block
 */
void uvm_window_get(struct uvm_windows *windows, const struct vm_area_struct *vma,
		    unsigned long address, unsigned long min, unsigned long *start,
		    unsigned long *end)
{
	struct uvm_window *slot = uvm_window_slot(windows, vma->vm_mm, address);
	unsigned long block = ALIGN_DOWN(address, UVM_BLOCK_SIZE);
	unsigned long size = max(min, UVM_WINDOW_MIN);

	spin_lock(&windows->lock);
	if (size == UVM_WINDOW_MIN && slot->mm == vma->vm_mm &&
	    slot->next == address) {
		size = min(2 * slot->size, UVM_BLOCK_SIZE);
		*start = address;
	} else {
		*start = ALIGN_DOWN(address, size);
	}
	*end = min(*start + size, block + UVM_BLOCK_SIZE);
	slot->mm = vma->vm_mm;
	slot->next = *end;
	slot->size = size;
	spin_unlock(&windows->lock);
	*start = max(*start, vma->vm_start);
	*end = min(*end, vma->vm_end);
}
