// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Holders of a page
 *
 * Owns the rules of who has a managed page, and who has it next. They know nothing of
 * pages, locks and GPUs: managed_*.c carry out what is decided here.
 *
 * A page that nobody holds reads zero. One that has a single holder is where that is, and
 * may be written there. Of several holders all have the same bytes, and nobody may write:
 * who wants to has them collapsed onto one before. The CPU's page may be *pinned*, that
 * is somebody else has a reference to it, and may read or write it without a fault. Such
 * a page gets no second holder; and if it has some, it is the one that is kept.
 */
#include "holders.h"

#include <linux/bitops.h>

/* Has it several, and so nobody who may write it? */
bool uvm_holders_shared(const struct uvm_holders *h)
{
	return h->all & (h->all - 1);
}

/* Is it worth asking who has the page for it? Who is lost only if all are. */
bool uvm_holders_can_give(const struct uvm_holders *h, unsigned int who)
{
	return (h->all & ~h->lost ?: h->all) & BIT_ULL(who);
}

/**
 * uvm_holders_pick() - the holder to map, to copy from, or to keep
 * @h: not none
 * @near: the one that is wanted best, whether it is one or not
 *
 * Return: that, else the CPU, else the GPU with the lowest id; one that is lost only if all
 * are.
 */
unsigned int uvm_holders_pick(const struct uvm_holders *h, unsigned int near)
{
	if (uvm_holders_can_give(h, near))
		return near;
	return __ffs64(h->all & ~h->lost ?: h->all);
}

/**
 * uvm_holders_keep_source() - does who has a page keep it when it goes elsewhere?
 * @read_mostly: what the policy says
 * @write: it goes to be written
 */
bool uvm_holders_keep_source(bool read_mostly, bool write)
{
	return read_mostly && !write;
}

/**
 * uvm_holders_next() - who has the page after an event
 * @h: who has it
 * @event: what happens
 * @who: to whom; for UVM_HOLDERS_COLLAPSE whoever is to be left, if it has the page
 * @pinned: somebody else has a reference to the CPU's page, if there is one
 *
 * Return: the new mask. The same as the old one: it doesn't happen. UVM_HOLDERS_DROP
 * leaves the last holder alone: that must be copied first.
 */
u64 uvm_holders_next(const struct uvm_holders *h, enum uvm_holders_event event,
		     unsigned int who, bool pinned)
{
	const u64 bit = BIT_ULL(who), cpu = BIT_ULL(UVM_HOLDER_CPU);

	pinned = pinned && h->all & cpu;
	switch (event) {
	case UVM_HOLDERS_COPY_TO:
		return pinned ? h->all : h->all | bit;
	case UVM_HOLDERS_MOVE_FROM:
		return pinned && bit == cpu ? h->all : h->all & ~bit;
	case UVM_HOLDERS_DROP:
		/* Never the last that can be read. */
		return h->all & ~h->lost & ~bit ? h->all & ~bit : h->all;
	case UVM_HOLDERS_COLLAPSE:
		if (!h->all)
			return 0;
		return pinned ? cpu : BIT_ULL(uvm_holders_pick(h, who));
	}
	return h->all;
}
