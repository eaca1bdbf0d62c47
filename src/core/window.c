// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: The window of a CPU fault
 *
 * Owns the guess how much a CPU that touches private memory of a GPU will want to have
 * at home: 64 KiB at first, or a huge page, and twice as much each time that it goes on
 * where the last window ended, up to 32 MiB.
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
 * @address: of the page, or of the huge page that it is part of
 * @min: the least that has to come, a power of two: UVM_WINDOW_MIN, or a block
 * @start: first byte of the window, in @vma
 * @end: the byte after its last one, in @vma
 */
void uvm_window_get(struct uvm_windows *windows, const struct vm_area_struct *vma,
		    unsigned long address, unsigned long min, unsigned long *start,
		    unsigned long *end)
{
	struct uvm_window *slot = uvm_window_slot(windows, vma->vm_mm, address);
	unsigned long block = ALIGN_DOWN(address, UVM_BLOCK_SIZE);
	unsigned long size = min;

	*start = ALIGN_DOWN(address, size);
	spin_lock(&windows->lock);
	if (slot->mm == vma->vm_mm && slot->next == address) {
		size = clamp(2 * slot->size, min, UVM_WINDOW_MAX);
		*start = address;
	}
	*end = *start + size;
	/* In another block there may be a huge page, which is not to be cut. */
	if (*end - block > UVM_BLOCK_SIZE)
		*end = ALIGN_DOWN(*end, UVM_BLOCK_SIZE);
	slot->mm = vma->vm_mm;
	slot->next = *end;
	slot->size = size;
	spin_unlock(&windows->lock);
	*start = max(*start, vma->vm_start);
	*end = min(*end, vma->vm_end);
}
