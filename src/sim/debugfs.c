// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: debugfs
 *
 * Owns /sys/kernel/debug/uvm_sim: a directory for each GPU, with its counters and
 * the knobs that make it misbehave. A knob is a number of times: writing N makes
 * the next N batches (or resets) go wrong, and each that does counts it down.
 *
 * - stats: counters, one "name value" a line. bytes by copy_ns is the rate of a copy
 *   engine at work, whatever the driver does around it
 * - hang_copy: batches that never complete, until their engine is reset
 * - fail_copy: batches that complete with -EIO, nothing copied
 * - reset_fails: resets that do nothing and return -EIO
 */

#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "sim.h"

static struct dentry *sim_debugfs;

static const char * const stat_names[SIM_STAT_NR] = {
	[SIM_STAT_BATCHES] = "batches",
	[SIM_STAT_SEGMENTS] = "segments",
	[SIM_STAT_BYTES] = "bytes",
	[SIM_STAT_PEER_BYTES] = "peer_bytes",
	[SIM_STAT_COPY_NS] = "copy_ns",
	[SIM_STAT_BATCH_ERRORS] = "batch_errors",
	[SIM_STAT_COMMANDS] = "commands",
	[SIM_STAT_TLB_HITS] = "tlb_hits",
	[SIM_STAT_TLB_MISSES] = "tlb_misses",
	[SIM_STAT_TLB_INVALIDATES] = "tlb_invalidates",
	[SIM_STAT_HARVESTS] = "harvests",
	[SIM_STAT_PAGES_ACCESSED] = "pages_accessed",
	[SIM_STAT_SYSTEM_ATOMICS] = "system_atomics",
	[SIM_STAT_SYSTEM_ATOMIC_RETRIES] = "system_atomic_retries",
	[SIM_STAT_PEER_ACCESSES] = "peer_accesses",
	[SIM_STAT_FAULTS] = "faults",
	[SIM_STAT_FAULT_RING_FULL] = "fault_ring_full",
	[SIM_STAT_FAULTS_AHEAD] = "faults_ahead",
	[SIM_STAT_FAULTS_AHEAD_LOST] = "faults_ahead_lost",
	[SIM_STAT_REPLAYS] = "replays",
	[SIM_STAT_CANCELS] = "cancels",
	[SIM_STAT_COUNTER_NOTIFICATIONS] = "counter_notifications",
	[SIM_STAT_COUNTER_RING_FULL] = "counter_ring_full",
	[SIM_STAT_COUNTERS_LOST] = "counters_lost",
	[SIM_STAT_RESETS] = "resets",
	[SIM_STAT_BAD_ACCESSES] = "bad_accesses",
	[SIM_STAT_BAD_UNMAPS] = "bad_unmaps",
};

/* Channels count their own TLB; what is gone is in the GPU's counters. */
static unsigned int add_channels(struct sim_gpu *gpu, u64 *hits, u64 *misses)
{
	struct sim_channel *ch;
	unsigned int count = 0;
	unsigned long id;

	xa_lock(&gpu->channels);
	xa_for_each(&gpu->channels, id, ch) {
		*hits += READ_ONCE(ch->tlb.hits);
		*misses += READ_ONCE(ch->tlb.misses);
		count++;
	}
	xa_unlock(&gpu->channels);
	return count;
}

static int stats_show(struct seq_file *m, void *unused)
{
	struct sim_gpu *gpu = m->private;
	u64 values[SIM_STAT_NR];
	unsigned int i, channels;

	for (i = 0; i < SIM_STAT_NR; i++)
		values[i] = atomic64_read(&gpu->stats[i]);
	channels = add_channels(gpu, &values[SIM_STAT_TLB_HITS],
				&values[SIM_STAT_TLB_MISSES]);
	for (i = 0; i < SIM_STAT_NR; i++)
		seq_printf(m, "%s %llu\n", stat_names[i], values[i]);
	seq_printf(m, "channels %u\n", channels);
	seq_printf(m, "fences %d\n", atomic_read(&gpu->jobs) - 1);
	seq_printf(m, "peer %d\n", gpu->peer);
	seq_printf(m, "peer_uses %d\n", sim_peer_uses(gpu));
	seq_printf(m, "counter_threshold %u\n",
		   READ_ONCE(gpu->counters.threshold));
	seq_printf(m, "iova_mapped %lu\n", READ_ONCE(gpu->iommu.mapped));
	seq_printf(m, "iova_strict %d\n", gpu->iommu.strict);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

void sim_debugfs_init(void)
{
	sim_debugfs = debugfs_create_dir(SIM_NAME, NULL);
}

void sim_debugfs_fini(void)
{
	debugfs_remove(sim_debugfs);
}

void sim_debugfs_add(struct sim_gpu *gpu)
{
	struct dentry *dir;

	dir = debugfs_create_dir(gpu->config.name, sim_debugfs);
	debugfs_create_file("stats", 0444, dir, gpu, &stats_fops);
	debugfs_create_atomic_t("hang_copy", 0644, dir, &gpu->hang_copy);
	debugfs_create_atomic_t("fail_copy", 0644, dir, &gpu->fail_copy);
	debugfs_create_atomic_t("reset_fails", 0644, dir, &gpu->reset_fails);
	gpu->debugfs = dir;
}

void sim_debugfs_remove(struct sim_gpu *gpu)
{
	debugfs_remove(gpu->debugfs);
}
