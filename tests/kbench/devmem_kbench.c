// SPDX-License-Identifier: GPL-2.0-only
/*
 * What it costs to take device memory and give it back, by the memory's size. The
 * memory manager keeps accounts only, so there need not be any memory: a page, and a
 * whole chunk, from 16, 256 and 4096 MiB that are free, or in use in part and scattered,
 * or in use but for the last chunk.
 *
 * The unit is whatever get_cycles() counts: instructions, in a guest whose clock counts
 * them. All is measured as the module is loaded; debugfs' uvm_kbench has a line for
 * each: what is in use, what is taken, MiB, and the smallest, median and largest of the
 * samples.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "devmem.c"
#include "devmem_zone.c"

#include <linux/debugfs.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/seq_file.h>
#include <linux/sort.h>
#include <linux/timex.h>

#define SAMPLES		501
#define CHUNK		UVM_BLOCK_PAGES

static const unsigned int sizes_mib[] = { 16, 256, 4096 };

enum state { EMPTY, HALF, LAST, NR_STATES };
enum op { PAGE, CHUNK_OP, NR_OPS };

static const char * const state_names[NR_STATES] = {
	[EMPTY] = "empty",
	[HALF] = "half",
	[LAST] = "last",
};

static const char * const op_names[NR_OPS] = {
	[PAGE] = "page",
	[CHUNK_OP] = "chunk",
};

struct cost {
	u64 least, median, most;
};

static struct cost costs[ARRAY_SIZE(sizes_mib)][NR_STATES][NR_OPS];
static unsigned long indices[CHUNK];
static u64 samples[SAMPLES];
static struct dentry *file;

static bool take(struct uvm_devmem *mem, enum op op)
{
	if (op == PAGE)
		return uvm_devmem_alloc(mem, indices, 1);
	return uvm_devmem_alloc_block(mem, indices);
}

static void sample(struct uvm_devmem *mem, enum op op, u64 *cost)
{
	unsigned long flags;
	bool taken;
	u64 start;

	local_irq_save(flags);
	start = get_cycles();
	taken = take(mem, op);
	if (taken)
		uvm_devmem_free(mem, indices[0], op == PAGE ? 1 : CHUNK);
	*cost = get_cycles() - start;
	local_irq_restore(flags);
	WARN_ON(!taken);
}

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static void measure(struct uvm_devmem *mem, enum op op, struct cost *cost)
{
	unsigned int i;

	/* The first ones find things cold that the others don't. */
	for (i = 0; i < SAMPLES; i++)
		sample(mem, op, &samples[i]);
	for (i = 0; i < SAMPLES; i++)
		sample(mem, op, &samples[i]);
	sort(samples, SAMPLES, sizeof(samples[0]), compare, NULL);
	cost->least = samples[0];
	cost->median = samples[SAMPLES / 2];
	cost->most = samples[SAMPLES - 1];
}

static void fill(struct uvm_devmem *mem, unsigned long npages)
{
	while (npages >= CHUNK && uvm_devmem_alloc_block(mem, indices))
		npages -= CHUNK;
	WARN_ON(npages);
}

static void empty(struct uvm_devmem *mem, unsigned long *used, unsigned long npages)
{
	unsigned int first, end;

	for_each_set_bitrange(first, end, used, npages)
		while (first < end) {
			unsigned int next = min(round_up(first + 1, CHUNK), end);

			uvm_devmem_free(mem, first, next - first);
			first = next;
		}
}

/* A fourth of the chunks is free, a fourth is in use in part, page by page. */
static void scatter(struct uvm_devmem *mem, unsigned long *used, unsigned long npages)
{
	struct rnd_state rnd;
	unsigned long i, j;

	prandom_seed_state(&rnd, 1);
	for (i = 0; i < npages; i += CHUNK) {
		u32 kind = i ? prandom_u32_state(&rnd) % 4 : 1;

		if (kind > 1)
			continue;
		for (j = i; j < i + CHUNK; j++)
			if (kind || prandom_u32_state(&rnd) % 2) {
				uvm_devmem_free(mem, j, 1);
				__clear_bit(j, used);
			}
	}
}

static void measure_state(struct uvm_devmem *mem, unsigned long *used,
			  unsigned long npages, enum state state, struct cost *cost)
{
	enum op op;

	if (state != EMPTY) {
		fill(mem, npages);
		bitmap_fill(used, npages);
	}
	if (state == HALF)
		scatter(mem, used, npages);
	if (state == LAST) {
		uvm_devmem_free(mem, npages - CHUNK, CHUNK);
		bitmap_clear(used, npages - CHUNK, CHUNK);
	}
	for (op = 0; op < NR_OPS; op++)
		measure(mem, op, &cost[op]);
	empty(mem, used, npages);
	bitmap_zero(used, npages);
}

static int measure_size(unsigned int size)
{
	unsigned long npages = (unsigned long)sizes_mib[size] << (20 - PAGE_SHIFT);
	struct uvm_devmem *mem;
	unsigned long *used;
	enum state state;
	int ret = -ENOMEM;

	mem = kvzalloc(sizeof(*mem), GFP_KERNEL);
	used = kvcalloc(BITS_TO_LONGS(npages), sizeof(*used), GFP_KERNEL);
	if (!mem || !used)
		goto out;
	ret = uvm_devmem_init(mem, THIS_MODULE, npages);
	if (ret)
		goto out;
	for (state = 0; state < NR_STATES; state++)
		measure_state(mem, used, npages, state, costs[size][state]);
	uvm_devmem_fini(mem);
out:
	kvfree(used);
	kvfree(mem);
	return ret;
}

static int costs_show(struct seq_file *m, void *unused)
{
	unsigned int size, state, op;

	for (state = 0; state < NR_STATES; state++)
		for (op = 0; op < NR_OPS; op++)
			for (size = 0; size < ARRAY_SIZE(sizes_mib); size++) {
				const struct cost *cost = &costs[size][state][op];

				seq_printf(m, "%s %s %u %llu %llu %llu\n",
					   state_names[state], op_names[op],
					   sizes_mib[size], cost->least,
					   cost->median, cost->most);
			}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(costs);

static int __init kbench_init(void)
{
	unsigned int size;
	int ret;

	for (size = 0; size < ARRAY_SIZE(sizes_mib); size++) {
		ret = measure_size(size);
		if (ret)
			return ret;
	}
	file = debugfs_create_file(KBUILD_MODNAME, 0444, NULL, NULL, &costs_fops);
	return 0;
}
module_init(kbench_init);

static void __exit kbench_exit(void)
{
	debugfs_remove(file);
}
module_exit(kbench_exit);

MODULE_DESCRIPTION("What parts of uvm cost");
MODULE_LICENSE("GPL");
