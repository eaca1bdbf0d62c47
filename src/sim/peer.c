// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: Peers
 *
 * Owns the numbers by which the GPUs of this module name each other on the link
 * between them. A GPU takes a number before the core knows it and keeps it until
 * the core has let go of it, so the answer whether two are peers doesn't change. A
 * GPU without memory of its own has none, and so have those for which none is left:
 * they are nobody's peers, but reach the others.
 *
 * The core takes every entry and copy that leads to a GPU back before it lets go of
 * it. Leaves are counted where they change, and batches of copies from their start
 * to their end: what is left when the GPU goes is the core's error. It is logged,
 * and an access through it leads nowhere from then on, never to freed memory: an
 * engine looks the number up, and stays in the RCU section until the access is over.
 * The number isn't given to another GPU then, and otherwise not soon.
 *
 * sim_peers_lock serializes who takes and gives back a number; nothing is taken
 * under it.
 */

#include <linux/bug.h>
#include <linux/errno.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>

#include "sim.h"

/**
 * struct sim_peer - what a number stands for
 * @gpu: the GPU, or NULL
 * @uses: leaves and batches of other GPUs that lead to its memory
 */
struct sim_peer {
	struct sim_gpu __rcu *gpu;
	atomic_t uses;
};

static struct sim_peer sim_peers[UVM_SIM_PEERS];
static unsigned int sim_next_peer;
static DEFINE_MUTEX(sim_peers_lock);

static bool is_free(const struct sim_peer *peer)
{
	return !rcu_access_pointer(peer->gpu) && !atomic_read(&peer->uses);
}

/**
 * sim_peer_add() - give a GPU a number, if it is to have one
 * @gpu: the core doesn't know it yet
 */
void sim_peer_add(struct sim_gpu *gpu)
{
	unsigned int i, number;

	gpu->peer = -1;
	if (!gpu->config.peers || gpu->config.kind == UVM_MEMORY_NUMA)
		return;
	mutex_lock(&sim_peers_lock);
	for (i = 0; i < UVM_SIM_PEERS; i++) {
		number = (sim_next_peer + i) % UVM_SIM_PEERS;
		if (!is_free(&sim_peers[number]))
			continue;
		gpu->peer = number;
		rcu_assign_pointer(sim_peers[number].gpu, gpu);
		sim_next_peer = number + 1;
		break;
	}
	mutex_unlock(&sim_peers_lock);
}

/**
 * sim_peer_remove() - take its number from a GPU
 * @gpu: the core knows it no longer
 *
 * When it returns, no engine of another GPU is in its memory.
 */
void sim_peer_remove(struct sim_gpu *gpu)
{
	int uses = sim_peer_uses(gpu);

	if (gpu->peer < 0)
		return;
	WARN_ONCE(uses, "uvm_sim: %d entries or copies of others still lead to %s\n",
		  uses, gpu->config.name);
	mutex_lock(&sim_peers_lock);
	RCU_INIT_POINTER(sim_peers[gpu->peer].gpu, NULL);
	mutex_unlock(&sim_peers_lock);
	synchronize_rcu();
}

/**
 * sim_peer_number() - how a GPU names another
 * @gpu: the one that wants to reach the other
 * @core: the other, of any backend
 *
 * Return: its number; -ENXIO if it can't be reached.
 */
int sim_peer_number(const struct sim_gpu *gpu, struct uvm_gpu *core)
{
	/* Of another backend it is none that we know. */
	const void *priv = core ? uvm_gpu_priv(core) : NULL;
	unsigned int i;

	if (!gpu->config.peers || !priv || priv == gpu)
		return -ENXIO;
	for (i = 0; i < UVM_SIM_PEERS; i++)
		if (rcu_access_pointer(sim_peers[i].gpu) == priv)
			return i;
	return -ENXIO;
}

bool sim_peer_access(struct uvm_gpu *core, struct uvm_gpu *peer)
{
	return sim_peer_number(uvm_gpu_priv(core), peer) >= 0;
}

/**
 * sim_peer_find() - the GPU that a number stands for
 * @number: from an entry or a descriptor
 *
 * Context: in an RCU section, which keeps the GPU.
 *
 * Return: the GPU, or NULL if it is gone.
 */
struct sim_gpu *sim_peer_find(unsigned int number)
{
	return rcu_dereference(sim_peers[number].gpu);
}

/* An entry or a batch begins to lead to a GPU. */
void sim_peer_use(unsigned int number)
{
	atomic_inc(&sim_peers[number].uses);
}

void sim_peer_unuse(unsigned int number)
{
	atomic_dec(&sim_peers[number].uses);
}

int sim_peer_uses(const struct sim_gpu *gpu)
{
	return gpu->peer < 0 ? 0 : atomic_read(&sim_peers[gpu->peer].uses);
}
