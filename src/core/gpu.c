// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: GPU registry
 *
 * Owns the list of GPUs that backends registered, and their struct pages.
 * uvm_gpus_lock protects the list and &uvm_gpu.dead; nothing sleeps under it but the
 * wait for itself. Who only looks a page frame up does so under RCU.
 *
 * A GPU lives until its backend unregisters it. Whoever uses one holds a
 * reference of uvm_gpu_get(), which pins the backend's module too; each page in
 * use does the same through &uvm_devmem.owner. So the backend's module can't be
 * unloaded while anybody can reach the GPU, and uvm_gpu_unregister() called from
 * its exit has nothing to wait for. A device that goes away while its module stays
 * is another matter: it is taken from every VA space, and its pages are brought home.
 * Those that can't come now are parked (park.c): the backend is let go, and the GPU stays
 * until the last of them has gone, in a list of its own, where only page frames are looked
 * up. It takes no slot, and its uuid is free.
 *
 * References are held by GPU spaces until they are out of their table, and by calls
 * that wait for nothing that user space has in hand. So a GPU that goes away waits
 * for neither.
 */
#include "core.h"

#include <linux/cc_platform.h>
#include <linux/device.h>
#include <linux/hmm.h>
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/slab.h>

#define UVM_COPY_TIMEOUT_MS	10000

static DEFINE_MUTEX(uvm_gpus_lock);
static struct uvm_gpu __rcu *uvm_gpus[UVM_MAX_GPUS];
static u32 uvm_next_gpu_id;

/* By &uvm_gpu.parked_link; protected by uvm_gpus_lock, and by RCU. */
static LIST_HEAD(uvm_parked_gpus);

/* By node: one more than the id of the GPU that it is, or 0. */
static int uvm_node_gpu[MAX_NUMNODES];

/*
 * True for one caller: no page of a parked GPU is in use any more, and he is to have it
 * freed.
 */
static bool uvm_gpu_is_last(struct uvm_gpu *gpu)
{
	/* Pairs with uvm_gpu_leave_behind(): pages were given back, or it is not left yet. */
	smp_mb();
	return READ_ONCE(gpu->left) && !uvm_devmem_used_pages(&gpu->mem) &&
	       !atomic_xchg(&gpu->reaping, 1);
}

static void uvm_gpu_do_free_pages(struct uvm_gpu *gpu, unsigned long index,
				  unsigned int count)
{
	uvm_resident_free(gpu, index, count);
	uvm_devmem_free(&gpu->mem, index, count);
	uvm_park_forget(gpu, index, count);
	if (uvm_gpu_is_last(gpu))
		queue_work(uvm_evacuate_wq, &gpu->reaper);
	uvm_scrub_kick(gpu);
}

/**
 * uvm_gpu_take_pages() - pages are known by number from now on
 * @gpu: their GPU
 * @index: number of the first one, which a resident has
 * @count: how many
 *
 * Struct pages of coherent memory get a reference, since the CPU's page table, and who
 * gets pages from there, takes more.
 */
void uvm_gpu_take_pages(struct uvm_gpu *gpu, unsigned long index, unsigned int count)
{
	for (; count && uvm_gpu_is_coherent(gpu); count--)
		unlock_page(uvm_gpu_alloc_page(gpu, index++, 0));
}

/**
 * uvm_gpu_free_pages() - give back pages that are known by number
 * @gpu: their GPU; gone afterwards, if it is parked and these were the last
 * @index: number of the first one, for which uvm_gpu_take_pages() was called
 * @count: how many
 *
 * Of coherent memory they are free when nobody has a reference any more.
 */
void uvm_gpu_free_pages(struct uvm_gpu *gpu, unsigned long index, unsigned int count)
{
	int srcu;

	if (uvm_gpu_is_coherent(gpu)) {
		while (count--)
			put_page(pfn_to_page(gpu->base_pfn + index++));
		return;
	}
	/* The reaper waits for us. */
	srcu = uvm_mirror_look_begin();
	uvm_gpu_do_free_pages(gpu, index, count);
	uvm_mirror_look_end(srcu);
}

/* The reaper waits for us: core mm gives the page's reference to the pgmap up after this. */
static void uvm_gpu_page_free(struct uvm_pgmap_arg *arg)
{
	struct page *page = uvm_pgmap_arg_page(arg);
	struct uvm_gpu *gpu = uvm_gpu_of_page(page);

	uvm_gpu_do_free_pages(gpu, page_to_pfn(page) - gpu->base_pfn,
			      uvm_pgmap_arg_pages(arg));
}

static const struct dev_pagemap_ops uvm_pgmap_ops = {
	.UVM_PGMAP_FREE = uvm_gpu_page_free,
	.migrate_to_ram = uvm_migrate_to_ram,
};

/**
 * uvm_gpu_of_page() - the GPU that a device page belongs to
 * @page: for which uvm_page_is_ours() holds, and which the caller keeps from
 *	being freed
 *
 * Return: the GPU, valid as long as the page is.
 */
struct uvm_gpu *uvm_gpu_of_page(struct page *page)
{
	return container_of(page_pgmap(page), struct uvm_gpu, pgmap);
}

/*
 * Makes device pages ready for a migration, as one folio: locked, with one reference.
 * An @order other than 0 is for private memory. Their content is of a former life; the
 * caller overwrites it before anyone looks. So are the flags that a migration hands on,
 * which nobody clears when a device page is freed: without this, a page that was active
 * once and is mlocked now would be both active and unevictable, which core takes for a
 * bug.
 */
struct page *uvm_gpu_alloc_page(struct uvm_gpu *gpu, unsigned long index,
				unsigned int order)
{
	struct page *page = pfn_to_page(gpu->base_pfn + index);
	struct folio *folio;

	uvm_zone_device_folio_init(page, &gpu->pgmap, order);
	folio = page_folio(page);
	folio_clear_referenced(folio);
	folio_clear_dirty(folio);
	folio_clear_active(folio);
	folio_clear_workingset(folio);
	folio_clear_swapbacked(folio);
	folio_clear_unevictable(folio);
	return page;
}

static int uvm_gpu_add_private(struct uvm_gpu *gpu)
{
	struct resource *res;

	res = request_free_mem_region(&iomem_resource, gpu->desc.memory_size,
				      gpu->name);
	if (IS_ERR(res))
		return PTR_ERR(res);
	gpu->pgmap.type = MEMORY_DEVICE_PRIVATE;
	gpu->pgmap.range.start = res->start;
	gpu->pgmap.range.end = res->end;
	return 0;
}

static void uvm_gpu_del_private(struct uvm_gpu *gpu)
{
	if (gpu->has_pages && gpu->desc.memory_kind == UVM_MEMORY_PRIVATE)
		release_mem_region(gpu->pgmap.range.start,
				   range_len(&gpu->pgmap.range));
}

/* Where its struct pages are to be. */
static int uvm_gpu_add_region(struct uvm_gpu *gpu)
{
	const struct uvm_gpu_desc *desc = &gpu->desc;
	int ret;

	if (desc->memory_kind == UVM_MEMORY_PRIVATE) {
		ret = uvm_gpu_add_private(gpu);
		if (ret)
			return ret;
	} else {
		gpu->pgmap.type = MEMORY_DEVICE_COHERENT;
		gpu->pgmap.range.start = desc->memory_base;
		gpu->pgmap.range.end = desc->memory_base + desc->memory_size - 1;
	}
	gpu->pgmap.nr_range = 1;
	gpu->pgmap.ops = &uvm_pgmap_ops;
	gpu->pgmap.owner = UVM_PGMAP_OWNER;
	gpu->base_pfn = PHYS_PFN(gpu->pgmap.range.start);
	return 0;
}

/* Its memory: the account of its pages, and their struct pages, if there are to be any. */
static int uvm_gpu_add_pages(struct uvm_gpu *gpu)
{
	const struct uvm_gpu_desc *desc = &gpu->desc;
	void *addr = NULL;
	int ret = 0;

	if (gpu->has_pages)
		ret = uvm_gpu_add_region(gpu);
	if (ret)
		return ret;
	ret = uvm_devmem_init(&gpu->mem, desc->owner,
			      desc->memory_size >> PAGE_SHIFT);
	if (ret)
		goto err_region;
	ret = uvm_lru_init(&gpu->lru, desc->memory_size >> PAGE_SHIFT);
	if (ret)
		goto err_devmem;
	ret = uvm_evict_init(gpu);
	if (ret)
		goto err_lru;
	if (gpu->has_pages)
		addr = memremap_pages(&gpu->pgmap, dev_to_node(desc->dev));
	if (IS_ERR(addr)) {
		ret = PTR_ERR(addr);
		goto err_evict;
	}
	ret = uvm_scrub_init(gpu);
	if (ret)
		goto err_pages;
	return 0;

err_pages:
	memunmap_pages(&gpu->pgmap);
err_evict:
	uvm_evict_fini(gpu);
err_lru:
	uvm_lru_fini(&gpu->lru);
err_devmem:
	uvm_devmem_fini(&gpu->mem);
err_region:
	uvm_gpu_del_private(gpu);
	return ret;
}

static void uvm_gpu_del_pages(struct uvm_gpu *gpu)
{
	uvm_scrub_stop(gpu);
	if (gpu->has_pages)
		memunmap_pages(&gpu->pgmap);
	uvm_scrub_fini(gpu);
	uvm_lru_fini(&gpu->lru);
	uvm_devmem_fini(&gpu->mem);
}

static bool uvm_gpu_desc_valid(const struct uvm_gpu_desc *desc)
{
	bool coherent = desc->memory_kind == UVM_MEMORY_COHERENT;

	if (!desc->ops || !desc->dev || !desc->name || !desc->copy_engines ||
	    !desc->fault_entries ||
	    !(desc->page_sizes & PAGE_SIZE) || desc->va_bits <= UVM_BLOCK_SHIFT ||
	    desc->va_bits > 64)
		return false;
	if (desc->memory_kind == UVM_MEMORY_NUMA)
		return desc->numa_node >= 0 && desc->numa_node < MAX_NUMNODES;
	if (!coherent && desc->memory_kind != UVM_MEMORY_PRIVATE)
		return false;
	return desc->memory_size &&
	       desc->memory_size >> PAGE_SHIFT <= 1UL << UVM_PSEUDO_SHIFT &&
	       IS_ALIGNED(desc->memory_size, UVM_BLOCK_SIZE) &&
	       IS_ALIGNED(desc->memory_base, UVM_BLOCK_SIZE) &&
	       !!desc->memory_base == coherent;
}

static struct uvm_gpu *uvm_gpus_at(int i)
{
	return rcu_dereference_protected(uvm_gpus[i],
					 lockdep_is_held(&uvm_gpus_lock));
}

static struct uvm_gpu *uvm_gpus_find(const u8 *uuid)
{
	struct uvm_gpu *gpu;
	int i;

	for (i = 0; i < UVM_MAX_GPUS; i++) {
		gpu = uvm_gpus_at(i);
		if (gpu && !gpu->dead &&
		    !memcmp(gpu->desc.uuid, uuid, UVM_UUID_LEN))
			return gpu;
	}
	return NULL;
}

static int uvm_gpus_add(struct uvm_gpu *gpu)
{
	int i, ret = -ENOSPC;

	mutex_lock(&uvm_gpus_lock);
	if (uvm_gpus_find(gpu->desc.uuid) ||
	    (uvm_gpu_is_numa(gpu) && uvm_node_gpu[gpu->desc.numa_node])) {
		ret = -EEXIST;
		goto out;
	}
	/* &uvm_page_state.id has room for no more. */
	for (i = 0; i < UVM_MAX_GPUS && uvm_next_gpu_id <= U16_MAX; i++) {
		if (uvm_gpus_at(i))
			continue;
		gpu->id = uvm_next_gpu_id++;
		if (!gpu->has_pages)
			gpu->base_pfn = UVM_PSEUDO_PFN +
					((unsigned long)gpu->id << UVM_PSEUDO_SHIFT);
		rcu_assign_pointer(uvm_gpus[i], gpu);
		if (uvm_gpu_is_numa(gpu))
			WRITE_ONCE(uvm_node_gpu[gpu->desc.numa_node],
				   gpu->id + 1);
		ret = 0;
		break;
	}
out:
	mutex_unlock(&uvm_gpus_lock);
	return ret;
}

static void uvm_gpus_give_slot(struct uvm_gpu *gpu)
{
	int i;

	lockdep_assert_held(&uvm_gpus_lock);
	for (i = 0; i < UVM_MAX_GPUS; i++)
		if (uvm_gpus_at(i) == gpu)
			RCU_INIT_POINTER(uvm_gpus[i], NULL);
}

/* Lookups by page frame need it until its pages are gone. */
static void uvm_gpus_del(struct uvm_gpu *gpu)
{
	mutex_lock(&uvm_gpus_lock);
	if (gpu->parked)
		list_del_rcu(&gpu->parked_link);
	else
		uvm_gpus_give_slot(gpu);
	if (uvm_gpu_is_numa(gpu))
		WRITE_ONCE(uvm_node_gpu[gpu->desc.numa_node], 0);
	mutex_unlock(&uvm_gpus_lock);
	synchronize_rcu();
}

/**
 * uvm_gpu_set_parked() - from here on its pages are in their host copies
 * @gpu: every page in use has one
 */
void uvm_gpu_set_parked(struct uvm_gpu *gpu)
{
	mutex_lock(&uvm_gpus_lock);
	list_add_rcu(&gpu->parked_link, &uvm_parked_gpus);
	/* Pairs with uvm_gpu_is_parked(): then the copies are seen, too. */
	smp_store_release(&gpu->parked, true);
	mutex_unlock(&uvm_gpus_lock);
	/* Who doesn't find it in its slot looks in the list after that, and finds it there. */
	synchronize_rcu();
	mutex_lock(&uvm_gpus_lock);
	uvm_gpus_give_slot(gpu);
	mutex_unlock(&uvm_gpus_lock);
}

static void uvm_gpu_last_put(struct kref *ref)
{
	struct uvm_gpu *gpu = container_of(ref, struct uvm_gpu, ref);

	complete(&gpu->gone);
}

/* No page of it is in use any more. */
static void uvm_gpu_free(struct uvm_gpu *gpu)
{
	if (!uvm_gpu_is_numa(gpu))
		uvm_gpu_del_pages(gpu);
	uvm_gpus_del(gpu);
	uvm_gpu_del_private(gpu);
	uvm_park_fini(gpu);
	mutex_destroy(&gpu->reset_lock);
	kfree(gpu);
}

/* The last page of a parked GPU is gone. */
static void uvm_gpu_reap(struct work_struct *work)
{
	struct uvm_gpu *gpu = container_of(work, struct uvm_gpu, reaper);

	pr_info("%s: none of its pages is parked any more\n", gpu->name);
	/* Whoever looks at one of its pages without holding it has looked. */
	uvm_mirror_sync();
	uvm_gpu_free(gpu);
	module_put(THIS_MODULE);
}

/* The last of its pages, which may be gone already, takes a parked GPU along. */
static void uvm_gpu_leave_behind(struct uvm_gpu *gpu)
{
	/* Who frees the last page meanwhile has it reaped: that waits for us. */
	int srcu = uvm_mirror_look_begin();

	__module_get(THIS_MODULE);
	uvm_devmem_bequeath(&gpu->mem);
	WRITE_ONCE(gpu->left, true);
	/* Pairs with uvm_gpu_is_last(): who doesn't see that is seen to have given back. */
	smp_mb();
	if (uvm_gpu_is_last(gpu))
		queue_work(uvm_evacuate_wq, &gpu->reaper);
	uvm_mirror_look_end(srcu);
}

/**
 * uvm_gpu_register() - make a GPU known
 * @desc: what it is; copied, except for @desc->ops
 *
 * From here on the backend's ops may be called. Sleeps. On a kernel without
 * CONFIG_DEVICE_PRIVATE only managed memory moves to UVM_MEMORY_PRIVATE.
 *
 * Return: the GPU, or an ERR_PTR: -EINVAL for a bad description, -EEXIST for a
 * uuid or node that is there already, -ENOSPC past the limit of GPUs at once or of
 * ids that user space can be told, -EOPNOTSUPP in a confidential guest, -ENOMEM, or what
 * memremap_pages() says of the memory range.
 */
struct uvm_gpu *uvm_gpu_register(const struct uvm_gpu_desc *desc)
{
	struct uvm_gpu *gpu;
	int ret;

	if (!uvm_gpu_desc_valid(desc))
		return ERR_PTR(-EINVAL);
	/*
	 * Devices reach a confidential guest's memory through bounce buffers only: the
	 * mirror would show the GPU stale copies.
	 */
	if (cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT)) {
		pr_err("%s: not in a confidential guest: its memory can't be mapped for a GPU\n",
		       desc->name);
		return ERR_PTR(-EOPNOTSUPP);
	}
	gpu = kzalloc(sizeof(*gpu), GFP_KERNEL);
	if (!gpu)
		return ERR_PTR(-ENOMEM);
	gpu->desc = *desc;
	strscpy(gpu->name, desc->name, sizeof(gpu->name));
	gpu->desc.name = gpu->name;
	gpu->has_pages = desc->memory_kind != UVM_MEMORY_PRIVATE ||
			 IS_ENABLED(CONFIG_DEVICE_PRIVATE);
	if (!gpu->desc.copy_timeout_ms)
		gpu->desc.copy_timeout_ms = UVM_COPY_TIMEOUT_MS;
	kref_init(&gpu->ref);
	init_completion(&gpu->gone);
	mutex_init(&gpu->reset_lock);
	xa_init(&gpu->spaces);
	uvm_window_init(&gpu->windows);
	uvm_memory_events_init(&gpu->events);
	INIT_WORK(&gpu->fault_work, uvm_fault_worker);
	INIT_WORK(&gpu->reaper, uvm_gpu_reap);
	uvm_park_init(gpu);
	gpu->faults = kvcalloc(UVM_FAULT_BATCH, sizeof(*gpu->faults), GFP_KERNEL);
	if (!gpu->faults) {
		ret = -ENOMEM;
		goto err_free;
	}
	ret = uvm_counter_init(gpu);
	if (ret)
		goto err_faults;
	if (!uvm_gpu_is_numa(gpu)) {
		ret = uvm_gpu_add_pages(gpu);
		if (ret)
			goto err_counter;
	}
	ret = uvm_gpus_add(gpu);
	if (ret)
		goto err_pages;
	if (!uvm_gpu_is_numa(gpu)) {
		uvm_debugfs_add_gpu(gpu);
		uvm_scrub_kick(gpu);
	}
	return gpu;

err_pages:
	if (!uvm_gpu_is_numa(gpu)) {
		uvm_evict_fini(gpu);
		uvm_gpu_del_pages(gpu);
		uvm_gpu_del_private(gpu);
	}
err_counter:
	uvm_counter_fini(gpu);
err_faults:
	kvfree(gpu->faults);
err_free:
	mutex_destroy(&gpu->reset_lock);
	kfree(gpu);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(uvm_gpu_register);

/* Engines of other GPUs, that nothing stops, may still read its memory. */
static void uvm_gpu_wait_strays(struct uvm_gpu *gpu)
{
	if (!atomic_read(&gpu->strays))
		return;
	pr_err("%s is going away, but another GPU that could not be reset may still read its memory: waiting for that\n",
	       gpu->name);
	wait_event(uvm_devmem_idle, !atomic_read(&gpu->strays));
}

/**
 * uvm_gpu_unregister() - take a GPU away
 * @gpu: from uvm_gpu_register()
 *
 * From the first moment, commands that name it are -ENODEV. Then its channels stop,
 * every VA space unregisters it, and the pages in its memory are brought home, so
 * its engines must work until this returns. From the backend's module exit there is
 * none of that to do. Pages of UVM_MEMORY_NUMA are the node's: the backend
 * takes the node offline itself.
 *
 * Pages that can't be moved for long, because a process's address space is locked or
 * somebody holds them, are parked if they are of UVM_MEMORY_PRIVATE: copied to system
 * memory, where they wait to be touched or freed; so this comes to an end, as long as
 * there is memory for that. Those of UVM_MEMORY_COHERENT are waited for. Either is told
 * in the kernel's log. If an engine could not be reset, pages may be left: they are lost,
 * and a process that touches one gets SIGBUS. If an engine of another GPU could not be
 * reset while it copied from this one, it waits until the fence of that copy signals. No
 * op is called after it returns, the device isn't used, and the backend announces no
 * fault any more. Sleeps.
 */
void uvm_gpu_unregister(struct uvm_gpu *gpu)
{
	unsigned long used = 0;

	mutex_lock(&uvm_gpus_lock);
	WRITE_ONCE(gpu->dead, true);
	mutex_unlock(&uvm_gpus_lock);

	uvm_debugfs_del_gpu(gpu);
	uvm_gpu_spaces_forget(gpu);
	kref_put(&gpu->ref, uvm_gpu_last_put);
	wait_for_completion(&gpu->gone);
	cancel_work_sync(&gpu->fault_work);
	uvm_counter_fini(gpu);
	if (!uvm_gpu_is_numa(gpu)) {
		uvm_evict_fini(gpu);
		uvm_scrub_stop(gpu);
		uvm_evacuate_gpu(gpu);
	}
	uvm_gpu_wait_strays(gpu);
	/* Whoever looks at one of its pages without holding it has looked. */
	uvm_mirror_sync();
	xa_destroy(&gpu->spaces);
	kvfree(gpu->faults);
	if (gpu->parked) {
		uvm_gpu_leave_behind(gpu);
		return;
	}
	if (!uvm_gpu_is_numa(gpu))
		used = uvm_devmem_used_pages(&gpu->mem);
	if (!used) {
		uvm_gpu_free(gpu);
		return;
	}
	pr_err("%s: could not be reset, %lu pages of its memory are lost: what describes them stays\n",
	       gpu->name, used);
	uvm_park_fini(gpu);
	uvm_gpus_del(gpu);
}
EXPORT_SYMBOL_GPL(uvm_gpu_unregister);

/**
 * uvm_gpu_priv() - the backend's own data
 * @gpu: from uvm_gpu_register()
 *
 * Return: &uvm_gpu_desc.priv.
 */
void *uvm_gpu_priv(struct uvm_gpu *gpu)
{
	return gpu->desc.priv;
}
EXPORT_SYMBOL_GPL(uvm_gpu_priv);

/**
 * uvm_gpu_fault_pending() - there are faults to fetch
 * @gpu: from uvm_gpu_register()
 *
 * Any context. May be called more often than needed; must be called after every
 * entry that was written, or a stalled access may wait forever.
 */
void uvm_gpu_fault_pending(struct uvm_gpu *gpu)
{
	queue_work_node(uvm_gpu_nearest_node(gpu), uvm_gpu_wq, &gpu->fault_work);
}
EXPORT_SYMBOL_GPL(uvm_gpu_fault_pending);

/* A reference to the GPU @uuid that pins its backend, or NULL. */
struct uvm_gpu *uvm_gpu_get(const u8 *uuid)
{
	struct uvm_gpu *gpu;

	mutex_lock(&uvm_gpus_lock);
	gpu = uvm_gpus_find(uuid);
	if (gpu && try_module_get(gpu->desc.owner))
		kref_get(&gpu->ref);
	else
		gpu = NULL;
	mutex_unlock(&uvm_gpus_lock);
	return gpu;
}

/* Calls @fn, which waits for nothing, for all GPUs. */
void uvm_gpus_for_each(void (*fn)(struct uvm_gpu *gpu, void *arg), void *arg)
{
	struct uvm_gpu *gpu;
	int i;

	mutex_lock(&uvm_gpus_lock);
	for (i = 0; i < UVM_MAX_GPUS; i++) {
		gpu = uvm_gpus_at(i);
		if (gpu && !gpu->parked)
			fn(gpu, arg);
	}
	list_for_each_entry(gpu, &uvm_parked_gpus, parked_link)
		fn(gpu, arg);
	mutex_unlock(&uvm_gpus_lock);
}

/* Is there a GPU @uuid now? */
bool uvm_gpu_present(const u8 *uuid)
{
	bool present;

	mutex_lock(&uvm_gpus_lock);
	present = uvm_gpus_find(uuid);
	mutex_unlock(&uvm_gpus_lock);
	return present;
}

/* Where work for the GPU is done: what it allocates is near the GPU then. */
int uvm_gpu_nearest_node(const struct uvm_gpu *gpu)
{
	return dev_to_node(gpu->desc.dev);
}

void uvm_gpu_put(struct uvm_gpu *gpu)
{
	struct module *owner = gpu->desc.owner;

	kref_put(&gpu->ref, uvm_gpu_last_put);
	module_put(owner);
}

/* Under RCU. Returns NULL if the page frame is in no GPU's memory. */
static struct uvm_gpu *uvm_gpus_by_pfn(unsigned long pfn)
{
	struct uvm_gpu *gpu;
	int i;

	for (i = 0; i < UVM_MAX_GPUS; i++) {
		gpu = rcu_dereference(uvm_gpus[i]);
		if (gpu && uvm_gpu_has_pfn(gpu, pfn))
			return gpu;
	}
	list_for_each_entry_rcu(gpu, &uvm_parked_gpus, parked_link)
		if (uvm_gpu_has_pfn(gpu, pfn))
			return gpu;
	return NULL;
}

/* To be compared only: nobody keeps it. NULL if there is none. */
const struct uvm_gpu *uvm_gpu_by_id(u32 id)
{
	const struct uvm_gpu *gpu, *found = NULL;
	int i;

	rcu_read_lock();
	for (i = 0; i < UVM_MAX_GPUS; i++) {
		gpu = rcu_dereference(uvm_gpus[i]);
		if (gpu && gpu->id == id)
			found = gpu;
	}
	list_for_each_entry_rcu(gpu, &uvm_parked_gpus, parked_link)
		if (gpu->id == id)
			found = gpu;
	rcu_read_unlock();
	return found;
}

/*
 * Which GPU's memory a page frame is in, or -1. For page frames of a snapshot:
 * nothing keeps their pages, so struct page is no way to the GPU. That GPU may be gone
 * and the page parked: its id is nobody else's, ever.
 */
int uvm_gpu_id_of_pfn(unsigned long pfn)
{
	struct uvm_gpu *gpu;
	int id;

	rcu_read_lock();
	gpu = uvm_gpus_by_pfn(pfn);
	id = gpu ? gpu->id : -1;
	rcu_read_unlock();
	return id;
}

/**
 * uvm_gpu_of_hmm() - the GPU whose private or coherent memory a page is in
 * @hmm_pfn: what HMM said about it, which has HMM_PFN_VALID
 *
 * Nobody holds the page, and core may be splitting its folio, so the folio is no way to
 * the GPU.
 *
 * Return: NULL if the page is not in the memory of a GPU of ours. The GPU is valid
 * until uvm_mirror_look_end(), if HMM was asked since uvm_mirror_look_begin(). It may be
 * parked.
 */
struct uvm_gpu *uvm_gpu_of_hmm(unsigned long hmm_pfn)
{
	const unsigned long pfn = hmm_pfn & ~HMM_PFN_FLAGS;
	struct uvm_gpu *gpu;

	if (pfn < UVM_PSEUDO_PFN && !is_zone_device_page(hmm_pfn_to_page(hmm_pfn)))
		return NULL;
	rcu_read_lock();
	gpu = uvm_gpus_by_pfn(pfn);
	rcu_read_unlock();
	return gpu;
}

/* The GPU that is NUMA node @node, or -1. No lock: asked for every page. */
int uvm_gpu_id_of_node(int node)
{
	return READ_ONCE(uvm_node_gpu[node]) - 1;
}

static void uvm_gpu_fill_one(struct uvm_gpu *gpu, struct uvm_gpu_info *info)
{
	const struct uvm_gpu_desc *desc = &gpu->desc;

	memcpy(info->uuid, desc->uuid, UVM_UUID_LEN);
	strscpy(info->name, gpu->name, sizeof(info->name));
	info->id = gpu->id;
	info->memory_kind = desc->memory_kind;
	info->memory_size = desc->memory_size;
	info->numa_node = NUMA_NO_NODE;
	if (uvm_gpu_is_numa(gpu))
		info->numa_node = desc->numa_node;
	else
		info->memory_free =
			uvm_devmem_free_pages(&gpu->mem)
			<< PAGE_SHIFT;
	info->nearest_node = uvm_gpu_nearest_node(gpu);
	info->page_sizes = desc->page_sizes;
	info->va_bits = desc->va_bits;
	info->copy_engines = desc->copy_engines;
}

/* Describes up to @max GPUs. Returns how many there are. */
unsigned int uvm_gpu_fill_info(struct uvm_gpu_info *info, unsigned int max)
{
	struct uvm_gpu *gpu;
	unsigned int i, nr = 0;

	mutex_lock(&uvm_gpus_lock);
	for (i = 0; i < UVM_MAX_GPUS; i++) {
		gpu = uvm_gpus_at(i);
		if (!gpu || gpu->dead)
			continue;
		if (nr < max)
			uvm_gpu_fill_one(gpu, &info[nr]);
		nr++;
	}
	mutex_unlock(&uvm_gpus_lock);
	return nr;
}
