// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: Devices
 *
 * Owns the module's parameters and devices: platform devices for GPUs with
 * private memory, on a NUMA node, or on a reserved physical range, and QEMU's
 * ivshmem-plain PCI functions, whose BAR 2 is the memory of a coherent GPU. All
 * parameters are checked before the first device is made.
 *
 * What a probe acquires is released by devres, in reverse; the drivers have no
 * remove callback. rmmod is refused while a GPU is in use; a device that is unbound
 * through sysfs, or unplugged, goes all the same, and the core brings home what is in
 * its memory. No locks: the driver core serializes probe and removal, and init and
 * exit are single-threaded.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpumask.h>
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/topology.h>

#include "sim.h"

#define SIM_PCI_VENDOR	0x1af4
#define SIM_PCI_DEVICE	0x1110
#define SIM_PCI_BAR	2
#define SIM_IOVA_MAX	(64U << 10)
#define SIM_MAX_LANES	256

static unsigned int gpus = 1;
module_param(gpus, uint, 0444);
MODULE_PARM_DESC(gpus, "platform GPUs, 0 to 8 (default 1)");

static char *kind[SIM_MAX_GPUS] = { "private" };
static unsigned int nr_kind = 1;
module_param_array(kind, charp, &nr_kind, 0444);
MODULE_PARM_DESC(kind, "memory of each platform GPU: private or numa; the last one holds for the rest (default private)");

static unsigned int mem[SIM_MAX_GPUS] = { 64 };
static unsigned int nr_mem = 1;
module_param_array(mem, uint, &nr_mem, 0444);
MODULE_PARM_DESC(mem, "MiB of private memory of each platform GPU, even; the last one holds for the rest (default 64)");

static int node[SIM_MAX_GPUS] = { NUMA_NO_NODE };
static unsigned int nr_node = 1;
module_param_array(node, int, &nr_node, 0444);
MODULE_PARM_DESC(node, "for each platform GPU: the memory-only NUMA node that a kind=numa one is; -1 for the others");

static unsigned int ces = 2;
module_param(ces, uint, 0444);
MODULE_PARM_DESC(ces, "copy engines of a GPU, 1 to 16 (default 2)");

static bool pci;
module_param(pci, bool, 0444);
MODULE_PARM_DESC(pci, "make a coherent GPU of each ivshmem-plain PCI function (default N)");

static unsigned int pcimem;
module_param(pcimem, uint, 0444);
MODULE_PARM_DESC(pcimem, "use only so many MiB of a PCI function's memory, even (default: all)");

static char *range;
module_param(range, charp, 0444);
MODULE_PARM_DESC(range, "make a coherent GPU of the reserved physical range start,size (K, M and G are understood)");

static unsigned int iova = 4096;
module_param(iova, uint, 0444);
MODULE_PARM_DESC(iova, "MiB of DMA addresses of a GPU, 64 to 65536, even (default 4096)");

static unsigned int copy_timeout;
module_param(copy_timeout, uint, 0444);
MODULE_PARM_DESC(copy_timeout, "ms after which a batch of copies counts as hung (default 0: the core's default)");

static bool system_atomics = true;
module_param(system_atomics, bool, 0444);
MODULE_PARM_DESC(system_atomics, "GPUs can do atomics on system memory; else those fault (default Y)");

static unsigned int granule = 64;
module_param(granule, uint, 0444);
MODULE_PARM_DESC(granule, "KiB that have an access counter, a power of two from 4 to 2048, or 0 for no access counters (default 64)");

static unsigned int lanes = 32;
module_param(lanes, uint, 0444);
MODULE_PARM_DESC(lanes, "pages of a command that may fault at once, 1 to 256 (default 32)");

static bool peers = true;
module_param(peers, bool, 0444);
MODULE_PARM_DESC(peers, "GPUs can reach each other's memory (default Y)");

static bool peer_atomics = true;
module_param(peer_atomics, bool, 0644);
MODULE_PARM_DESC(peer_atomics, "they can do atomics there, too; read when a device is bound (default Y)");

static bool accessed = true;
module_param(accessed, bool, 0444);
MODULE_PARM_DESC(accessed, "GPUs tell which pages they accessed (default Y)");

/* Platform GPUs, and one on a physical range. */
static struct sim_config configs[SIM_MAX_GPUS + 1];
static struct platform_device *devices[SIM_MAX_GPUS + 1];
static unsigned int nr_configs;

/* A version 8 UUID: "uvmsim", the kind of device, and its number. */
static void make_uuid(u8 *uuid, u8 bus, u32 number)
{
	static const u8 prefix[] = { 'u', 'v', 'm', 's', 'i', 'm' };

	memset(uuid, 0, UVM_UUID_LEN);
	memcpy(uuid, prefix, sizeof(prefix));
	uuid[6] = 0x80;
	uuid[7] = bus;
	uuid[8] = 0x80;
	uuid[12] = number >> 24;
	uuid[13] = number >> 16;
	uuid[14] = number >> 8;
	uuid[15] = number;
}

#define SIM_BUS_PLATFORM	1
#define SIM_BUS_PCI		2
#define SIM_BUS_RANGE		3

/* What all GPUs have in common. */
static void init_config(struct sim_config *config)
{
	config->node = NUMA_NO_NODE;
	config->ces = ces;
	config->iova_mib = iova;
	config->copy_timeout_ms = copy_timeout;
	config->access_granule = (u64)granule * SZ_1K;
	config->lanes = lanes;
	config->peers = peers;
	config->accessed = accessed;
	if (system_atomics)
		config->caps |= UVM_GPU_CAP_SYSTEM_ATOMICS;
}

static int sim_probe(struct device *dev, const struct sim_config *config)
{
	struct sim_config bound = *config;

	if (peers && READ_ONCE(peer_atomics))
		bound.caps |= UVM_GPU_CAP_PEER_ATOMICS;
	return sim_gpu_probe(dev, &bound);
}

static int sim_platform_probe(struct platform_device *pdev)
{
	return sim_probe(&pdev->dev, dev_get_platdata(&pdev->dev));
}

static struct platform_driver sim_platform_driver = {
	.probe = sim_platform_probe,
	.driver = {
		.name = SIM_NAME,
		.probe_type = PROBE_FORCE_SYNCHRONOUS,
	},
};

static void disable_device(void *data)
{
	pci_disable_device(data);
}

static void release_bar(void *data)
{
	pci_release_region(data, SIM_PCI_BAR);
}

static int claim_bar(struct pci_dev *pdev)
{
	struct device *dev = &pdev->dev;
	int ret;

	ret = pci_enable_device_mem(pdev);
	if (ret)
		return ret;
	ret = devm_add_action_or_reset(dev, disable_device, pdev);
	if (ret)
		return ret;
	ret = pci_request_region(pdev, SIM_PCI_BAR, SIM_NAME);
	if (ret)
		return ret;
	return devm_add_action_or_reset(dev, release_bar, pdev);
}

static u64 bar_size(struct pci_dev *pdev)
{
	u64 size = pci_resource_len(pdev, SIM_PCI_BAR);

	if (pcimem)
		size = min(size, (u64)pcimem * SZ_1M);
	return ALIGN_DOWN(size, SIM_HUGE_SIZE);
}

static int sim_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct sim_config config = {
		.kind = UVM_MEMORY_COHERENT,
		.base = pci_resource_start(pdev, SIM_PCI_BAR),
		.size = bar_size(pdev),
	};
	int ret;

	init_config(&config);
	if (!(pci_resource_flags(pdev, SIM_PCI_BAR) & IORESOURCE_MEM) ||
	    !config.size || !IS_ALIGNED(config.base, SIM_HUGE_SIZE)) {
		dev_err(&pdev->dev, "BAR 2 isn't 2 MiB of memory or more: use ivshmem-plain with a larger memdev\n");
		return -ENODEV;
	}
	ret = claim_bar(pdev);
	if (ret)
		return ret;
	snprintf(config.name, sizeof(config.name), "uvm-sim-%s",
		 pci_name(pdev));
	make_uuid(config.uuid, SIM_BUS_PCI,
		  pci_domain_nr(pdev->bus) << 16 | pci_dev_id(pdev));
	return sim_probe(&pdev->dev, &config);
}

/* No MODULE_DEVICE_TABLE(): a function may be anybody's until pci=1 is given. */
static const struct pci_device_id sim_pci_ids[] = {
	{ PCI_DEVICE(SIM_PCI_VENDOR, SIM_PCI_DEVICE) },
	{ }
};

static struct pci_driver sim_pci_driver = {
	.name = SIM_NAME,
	.id_table = sim_pci_ids,
	.probe = sim_pci_probe,
	.driver = {
		.probe_type = PROBE_FORCE_SYNCHRONOUS,
	},
};

static int configure_private(struct sim_config *config, unsigned int mib)
{
	if (!mib || mib % 2) {
		pr_err("mem=%u: give an even number of MiB\n", mib);
		return -EINVAL;
	}
	config->kind = UVM_MEMORY_PRIVATE;
	config->size = (u64)mib * SZ_1M;
	return 0;
}

static bool memory_only(int nid)
{
	return nid >= 0 && nid < MAX_NUMNODES && node_state(nid, N_MEMORY) &&
	       cpumask_empty(cpumask_of_node(nid));
}

static int configure_numa(struct sim_config *config, int nid)
{
	if (!memory_only(nid)) {
		pr_err("node=%d: for kind=numa give a node that has memory and no CPU\n",
		       nid);
		return -EINVAL;
	}
	config->kind = UVM_MEMORY_NUMA;
	config->node = nid;
	config->size = ALIGN_DOWN((u64)node_present_pages(nid) << PAGE_SHIFT,
				  SIM_HUGE_SIZE);
	return 0;
}

static int configure_platform(struct sim_config *config, unsigned int i)
{
	const char *k = kind[min(i, nr_kind - 1)];

	init_config(config);
	snprintf(config->name, sizeof(config->name), "uvm-sim%u", i);
	make_uuid(config->uuid, SIM_BUS_PLATFORM, i);
	if (!strcmp(k, "private"))
		return configure_private(config, mem[min(i, nr_mem - 1)]);
	if (!strcmp(k, "numa"))
		return configure_numa(config, node[min(i, nr_node - 1)]);
	pr_err("kind=%s: use private or numa\n", k);
	return -EINVAL;
}

static int configure_range(struct sim_config *config)
{
	char *p = range;

	config->base = memparse(p, &p);
	if (*p == ',')
		config->size = memparse(p + 1, &p);
	if (*p || !config->size || !IS_ALIGNED(config->base, SIM_HUGE_SIZE) ||
	    !IS_ALIGNED(config->size, SIM_HUGE_SIZE)) {
		pr_err("range=%s: give start,size, both multiples of 2M\n",
		       range);
		return -EINVAL;
	}
	if (!request_mem_region(config->base, config->size, SIM_NAME)) {
		pr_err("range=%s: in use: reserve it with memmap=size$start\n",
		       range);
		return -EBUSY;
	}
	init_config(config);
	config->kind = UVM_MEMORY_COHERENT;
	strscpy(config->name, "uvm-sim-range", sizeof(config->name));
	make_uuid(config->uuid, SIM_BUS_RANGE, 0);
	return 0;
}

static int check_params(void)
{
	if (gpus > SIM_MAX_GPUS) {
		pr_err("gpus=%u: give 0 to %d\n", gpus, SIM_MAX_GPUS);
		return -EINVAL;
	}
	if (!ces || ces > SIM_MAX_CES) {
		pr_err("ces=%u: give 1 to %d\n", ces, SIM_MAX_CES);
		return -EINVAL;
	}
	if (iova < 64 || iova > SIM_IOVA_MAX || iova % 2) {
		pr_err("iova=%u: give an even number of MiB from 64 to %u\n",
		       iova, SIM_IOVA_MAX);
		return -EINVAL;
	}
	if (!lanes || lanes > SIM_MAX_LANES) {
		pr_err("lanes=%u: give 1 to %d\n", lanes, SIM_MAX_LANES);
		return -EINVAL;
	}
	if (granule && (granule < 4 || granule > 2048 ||
			!is_power_of_2(granule))) {
		pr_err("granule=%u: give 0 or a power of two from 4 to 2048\n",
		       granule);
		return -EINVAL;
	}
	if (pcimem % 2) {
		pr_err("pcimem=%u: give an even number of MiB\n", pcimem);
		return -EINVAL;
	}
	return 0;
}

static void release_range(void)
{
	const struct sim_config *last;

	if (!range || !nr_configs)
		return;
	last = &configs[nr_configs - 1];
	if (last->kind == UVM_MEMORY_COHERENT)
		release_mem_region(last->base, last->size);
}

/* Fill configs[] from the parameters; a range is the last one. */
static int configure(void)
{
	int i, ret;

	ret = check_params();
	if (ret)
		return ret;
	for (i = 0; i < gpus; i++) {
		ret = configure_platform(&configs[nr_configs], i);
		if (ret)
			return ret;
		nr_configs++;
	}
	if (range) {
		ret = configure_range(&configs[nr_configs]);
		if (ret)
			return ret;
		nr_configs++;
	}
	if (!nr_configs && !pci)
		pr_warn("no GPU: gpus=0, and neither pci=1 nor range=\n");
	return 0;
}

static int add_device(unsigned int i)
{
	struct platform_device_info info = {
		.name = SIM_NAME,
		.id = i,
		.data = &configs[i],
		.size_data = sizeof(configs[i]),
		.dma_mask = DMA_BIT_MASK(64),
	};
	struct platform_device *pdev;

	pdev = platform_device_register_full(&info);
	if (IS_ERR(pdev))
		return PTR_ERR(pdev);
	devices[i] = pdev;
	/* The driver is there already: unless it is bound now, probe failed. */
	if (!platform_get_drvdata(pdev)) {
		pr_err("%s: probe failed\n", configs[i].name);
		return -ENODEV;
	}
	return 0;
}

static void remove_devices(void)
{
	unsigned int i = ARRAY_SIZE(devices);

	while (i--) {
		platform_device_unregister(devices[i]);
		devices[i] = NULL;
	}
}

static int add_devices(void)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr_configs && !ret; i++)
		ret = add_device(i);
	if (ret)
		remove_devices();
	return ret;
}

static int __init sim_init(void)
{
	int ret;

	ret = configure();
	if (ret)
		return ret;
	sim_compute_init();
	sim_debugfs_init();
	ret = platform_driver_register(&sim_platform_driver);
	if (ret)
		goto err_debugfs;
	ret = add_devices();
	if (ret)
		goto err_platform;
	ret = pci ? pci_register_driver(&sim_pci_driver) : 0;
	if (ret)
		goto err_devices;
	return 0;

err_devices:
	remove_devices();
err_platform:
	platform_driver_unregister(&sim_platform_driver);
err_debugfs:
	sim_debugfs_fini();
	release_range();
	return ret;
}

static void __exit sim_exit(void)
{
	if (pci)
		pci_unregister_driver(&sim_pci_driver);
	remove_devices();
	platform_driver_unregister(&sim_platform_driver);
	sim_debugfs_fini();
	release_range();
}

module_init(sim_init);
module_exit(sim_exit);

MODULE_DESCRIPTION("uvm: software GPU");
MODULE_LICENSE("GPL");
