// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: IOMMU
 *
 * Owns the DMA addresses of one device: a window of 4 KiB pages far from any
 * physical address, a bitmap of those in use, and a flat array that leads each to
 * a page frame. A mapping may be made and undone in any context, so the lock is
 * irq-safe and nothing is allocated. Engines read the array without a lock, as
 * hardware does: to undo a mapping that an engine still uses is the driver's
 * error, to be noticed by whoever finds the entry gone.
 *
 * Invariants: addresses are handed out round the window, so a stale one isn't
 * soon valid again. A mapping is aligned to its size up to 2 MiB, so that a huge
 * folio can have a huge PTE. A mapping that isn't made for both directions grants
 * only the one it is made for. What is unmapped must be exactly what was mapped.
 *
 * Without DMA operations of its own (a kernel without them) a device has
 * dma-direct: a DMA address is a physical one, and nothing can be checked.
 */

#include <linux/align.h>
#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "sim.h"

#define SIM_IOVA_BASE	BIT_ULL(40)

/* Bits of an entry; the frame number is above them. */
#define SIM_IO_READ	BIT(0)
#define SIM_IO_WRITE	BIT(1)
#define SIM_IO_FIRST	BIT(2)
#define SIM_IO_SHIFT	3

static struct sim_gpu *to_gpu(struct device *dev)
{
	return dev_get_drvdata(dev);
}

static unsigned long slots_of(phys_addr_t addr, size_t size)
{
	return PAGE_ALIGN(offset_in_page(addr) + size) >> PAGE_SHIFT;
}

/* First of @nr free slots in a row, or a number past the window. */
static unsigned long find_slots(struct sim_iommu *iommu, unsigned long nr)
{
	unsigned long align, slot;

	lockdep_assert_held(&iommu->lock);
	align = min_t(unsigned long, roundup_pow_of_two(nr),
		      SIM_HUGE_SIZE >> PAGE_SHIFT) - 1;
	slot = bitmap_find_next_zero_area(iommu->used, iommu->slots,
					  iommu->next, nr, align);
	if (slot >= iommu->slots)
		slot = bitmap_find_next_zero_area(iommu->used, iommu->slots, 0,
						  nr, align);
	return slot;
}

static unsigned long rights_of(enum dma_data_direction dir)
{
	switch (dir) {
	case DMA_TO_DEVICE:
		return SIM_IO_READ;
	case DMA_FROM_DEVICE:
		return SIM_IO_WRITE;
	default:
		return SIM_IO_READ | SIM_IO_WRITE;
	}
}

static dma_addr_t sim_iommu_map(struct sim_gpu *gpu, phys_addr_t phys,
				size_t size, enum dma_data_direction dir)
{
	struct sim_iommu *iommu = &gpu->iommu;
	unsigned long i, slot, entry, flags;
	unsigned long nr = slots_of(phys, size);

	if (!nr)
		return DMA_MAPPING_ERROR;
	spin_lock_irqsave(&iommu->lock, flags);
	slot = find_slots(iommu, nr);
	if (slot >= iommu->slots) {
		spin_unlock_irqrestore(&iommu->lock, flags);
		return DMA_MAPPING_ERROR;
	}
	bitmap_set(iommu->used, slot, nr);
	iommu->next = slot + nr;
	iommu->mapped += nr;
	entry = PHYS_PFN(phys) << SIM_IO_SHIFT | rights_of(dir);
	for (i = 0; i < nr; i++, entry += 1UL << SIM_IO_SHIFT)
		WRITE_ONCE(iommu->entries[slot + i],
			   i ? entry : entry | SIM_IO_FIRST);
	spin_unlock_irqrestore(&iommu->lock, flags);
	return SIM_IOVA_BASE + ((u64)slot << PAGE_SHIFT) + offset_in_page(phys);
}

/* Is [@slot, @slot + @nr) one whole mapping? */
static bool is_mapping(struct sim_iommu *iommu, unsigned long slot,
		       unsigned long nr)
{
	unsigned long i, entry;

	lockdep_assert_held(&iommu->lock);
	if (!nr || slot >= iommu->slots || nr > iommu->slots - slot)
		return false;
	for (i = 0; i < nr; i++) {
		entry = iommu->entries[slot + i];
		if (!entry || !i != !!(entry & SIM_IO_FIRST))
			return false;
	}
	if (slot + nr == iommu->slots)
		return true;
	entry = iommu->entries[slot + nr];
	return !entry || entry & SIM_IO_FIRST;
}

static void sim_iommu_unmap(struct sim_gpu *gpu, dma_addr_t addr, size_t size)
{
	struct sim_iommu *iommu = &gpu->iommu;
	unsigned long i, flags, nr = slots_of(addr, size);
	u64 slot = (addr - SIM_IOVA_BASE) >> PAGE_SHIFT;
	bool ok;

	spin_lock_irqsave(&iommu->lock, flags);
	ok = is_mapping(iommu, slot, nr);
	if (ok) {
		for (i = 0; i < nr; i++)
			WRITE_ONCE(iommu->entries[slot + i], 0);
		bitmap_clear(iommu->used, slot, nr);
		iommu->mapped -= nr;
	}
	spin_unlock_irqrestore(&iommu->lock, flags);
	if (ok)
		return;

	sim_count(gpu, SIM_STAT_BAD_UNMAPS, 1);
	dev_err(gpu->dev, "unmap of %#llx, %zu bytes: no such mapping\n",
		(u64)addr, size);
	WARN_ONCE(1, "uvm_sim: DMA unmap of what is not mapped\n");
}

static int sim_dma_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
			  enum dma_data_direction dir, unsigned long attrs)
{
	struct sim_gpu *gpu = to_gpu(dev);
	struct scatterlist *sg;
	dma_addr_t addr;
	int i, done;

	for_each_sg(sgl, sg, nents, i) {
		addr = sim_iommu_map(gpu, sg_phys(sg), sg->length, dir);
		if (addr == DMA_MAPPING_ERROR)
			goto err_unmap;
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = sg->length;
	}
	return nents;

err_unmap:
	done = i;
	for_each_sg(sgl, sg, done, i)
		sim_iommu_unmap(gpu, sg_dma_address(sg), sg_dma_len(sg));
	return -ENOMEM;
}

static void sim_dma_unmap_sg(struct device *dev, struct scatterlist *sgl,
			     int nents, enum dma_data_direction dir,
			     unsigned long attrs)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		sim_iommu_unmap(to_gpu(dev), sg_dma_address(sg),
				sg_dma_len(sg));
}

static void *sim_dma_alloc(struct device *dev, size_t size, dma_addr_t *addr,
			   gfp_t gfp, unsigned long attrs)
{
	struct page *page;

	page = alloc_pages_node(dev_to_node(dev), gfp | __GFP_ZERO,
				get_order(size));
	if (!page)
		return NULL;
	*addr = sim_iommu_map(to_gpu(dev), page_to_phys(page), size,
			      DMA_BIDIRECTIONAL);
	if (*addr == DMA_MAPPING_ERROR) {
		__free_pages(page, get_order(size));
		return NULL;
	}
	return page_address(page);
}

static void sim_dma_free(struct device *dev, size_t size, void *vaddr,
			 dma_addr_t addr, unsigned long attrs)
{
	sim_iommu_unmap(to_gpu(dev), addr, size);
	__free_pages(virt_to_page(vaddr), get_order(size));
}

#ifdef UVM_HAVE_DMA_OPS_MAP_PHYS
static dma_addr_t sim_dma_map_phys(struct device *dev, phys_addr_t phys,
				   size_t size, enum dma_data_direction dir,
				   unsigned long attrs)
{
	/* Registers of other devices have no page that an engine could use. */
	if (attrs & DMA_ATTR_MMIO)
		return DMA_MAPPING_ERROR;
	return sim_iommu_map(to_gpu(dev), phys, size, dir);
}
#else
static dma_addr_t sim_dma_map_page(struct device *dev, struct page *page,
				   unsigned long offset, size_t size,
				   enum dma_data_direction dir,
				   unsigned long attrs)
{
	return sim_iommu_map(to_gpu(dev), page_to_phys(page) + offset, size,
			     dir);
}
#endif

static void sim_dma_unmap(struct device *dev, dma_addr_t addr, size_t size,
			  enum dma_data_direction dir, unsigned long attrs)
{
	sim_iommu_unmap(to_gpu(dev), addr, size);
}

static u64 last_address(struct sim_iommu *iommu)
{
	return SIM_IOVA_BASE + ((u64)iommu->slots << PAGE_SHIFT) - 1;
}

static int sim_dma_supported(struct device *dev, u64 mask)
{
	return mask >= last_address(&to_gpu(dev)->iommu);
}

static u64 sim_dma_required_mask(struct device *dev)
{
	return DMA_BIT_MASK(fls64(last_address(&to_gpu(dev)->iommu)));
}

static const struct dma_map_ops sim_dma_ops = {
	.alloc = sim_dma_alloc,
	.free = sim_dma_free,
#ifdef UVM_HAVE_DMA_OPS_MAP_PHYS
	.map_phys = sim_dma_map_phys,
	.unmap_phys = sim_dma_unmap,
#else
	.map_page = sim_dma_map_page,
	.unmap_page = sim_dma_unmap,
#endif
	.map_sg = sim_dma_map_sg,
	.unmap_sg = sim_dma_unmap_sg,
	.dma_supported = sim_dma_supported,
	.get_required_mask = sim_dma_required_mask,
};

static void *direct_lookup(u64 addr, u32 *len)
{
	if (!pfn_valid(PHYS_PFN(addr)))
		return NULL;
	*len = min_t(u32, *len, PAGE_SIZE - offset_in_page(addr));
	return phys_to_virt(addr);
}

/* Bytes from @offset in the page of @slot up to @len that are contiguous. */
static u32 run_length(struct sim_iommu *iommu, u64 slot, u32 offset, u32 len)
{
	unsigned long next = READ_ONCE(iommu->entries[slot]) & ~SIM_IO_FIRST;
	u32 n = PAGE_SIZE - offset;

	for (; n < len; n += PAGE_SIZE) {
		next += 1UL << SIM_IO_SHIFT;
		if (++slot == iommu->slots ||
		    (READ_ONCE(iommu->entries[slot]) & ~SIM_IO_FIRST) != next)
			return n;
	}
	return len;
}

/**
 * sim_iommu_lookup() - translate an access
 * @iommu: of the device
 * @addr: DMA address
 * @len: bytes wanted; cut to what is contiguous in physical memory
 * @write: the access is a store
 *
 * Return: the CPU address, or NULL if @addr isn't mapped for the access.
 */
void *sim_iommu_lookup(struct sim_iommu *iommu, u64 addr, u32 *len, bool write)
{
	u64 slot = (addr - SIM_IOVA_BASE) >> PAGE_SHIFT;
	u32 offset = offset_in_page(addr);
	unsigned long entry;

	if (unlikely(!iommu->strict))
		return direct_lookup(addr, len);
	if (unlikely(slot >= iommu->slots))
		return NULL;
	entry = READ_ONCE(iommu->entries[slot]);
	if (unlikely(!(entry & (write ? SIM_IO_WRITE : SIM_IO_READ))))
		return NULL;
	if (*len > PAGE_SIZE - offset)
		*len = run_length(iommu, slot, offset, *len);
	return pfn_to_kaddr(entry >> SIM_IO_SHIFT) + offset;
}

static int alloc_window(struct sim_iommu *iommu, unsigned int mib)
{
	iommu->slots = (unsigned long)mib << (20 - PAGE_SHIFT);
	iommu->entries = vzalloc(array_size(iommu->slots,
					    sizeof(*iommu->entries)));
	if (!iommu->entries)
		return -ENOMEM;
	iommu->used = bitmap_zalloc(iommu->slots, GFP_KERNEL);
	if (!iommu->used) {
		vfree(iommu->entries);
		return -ENOMEM;
	}
	return 0;
}

static void free_window(struct sim_iommu *iommu)
{
	bitmap_free(iommu->used);
	vfree(iommu->entries);
}

/**
 * sim_iommu_init() - put an IOMMU in front of a device
 * @gpu: its GPU, already the device's drvdata
 *
 * Return: 0, -ENOMEM, or -EOPNOTSUPP for a device behind a real IOMMU: its DMA
 * addresses mean nothing to a thread.
 */
int sim_iommu_init(struct sim_gpu *gpu)
{
	struct sim_iommu *iommu = &gpu->iommu;
	struct device *dev = gpu->dev;
	int ret;

	if (device_iommu_mapped(dev)) {
		dev_err(dev, "behind an IOMMU: boot without one (iommu=off)\n");
		return -EOPNOTSUPP;
	}
	spin_lock_init(&iommu->lock);
	ret = alloc_window(iommu, gpu->config.iova_mib);
	if (ret)
		return ret;

	set_dma_ops(dev, &sim_dma_ops);
	iommu->strict = SIM_HAVE_DMA_OPS && get_dma_ops(dev) == &sim_dma_ops;
	if (!iommu->strict)
		dev_warn(dev, "this kernel has no dma_map_ops: DMA isn't checked\n");

	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (ret)
		goto err_ops;
	dma_set_max_seg_size(dev, UINT_MAX);
	dma_set_seg_boundary(dev, ULONG_MAX);
	return 0;

err_ops:
	set_dma_ops(dev, NULL);
	free_window(iommu);
	return ret;
}

/**
 * sim_iommu_fini() - take the IOMMU away
 * @gpu: nobody uses it any more
 */
void sim_iommu_fini(struct sim_gpu *gpu)
{
	struct sim_iommu *iommu = &gpu->iommu;

	WARN_ONCE(iommu->mapped, "uvm_sim: %lu pages are still mapped for DMA\n",
		  iommu->mapped);
	set_dma_ops(gpu->dev, NULL);
	free_window(iommu);
}
