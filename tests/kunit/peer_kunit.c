// SPDX-License-Identifier: GPL-2.0-only
/*
 * The software GPU's peers: who reaches whom, and who has which number.
 */
#include "../../src/sim/sim.h"

/* Here a GPU is its own handle. */
#define uvm_gpu_priv(core)	((void *)(core))

#include "../../src/sim/peer.c"

#include <kunit/test.h>

static struct sim_gpu *peer_gpu(struct kunit *test, enum uvm_memory_kind kind,
				bool peers)
{
	struct sim_gpu *gpu = kunit_kzalloc(test, sizeof(*gpu), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, gpu);
	gpu->config.kind = kind;
	gpu->config.peers = peers;
	sim_peer_add(gpu);
	return gpu;
}

static bool reaches(struct sim_gpu *gpu, struct sim_gpu *peer)
{
	return sim_peer_access((struct uvm_gpu *)gpu, (struct uvm_gpu *)peer);
}

static void peers_reach(struct kunit *test)
{
	struct sim_gpu *a = peer_gpu(test, UVM_MEMORY_PRIVATE, true);
	struct sim_gpu *b = peer_gpu(test, UVM_MEMORY_COHERENT, true);
	struct sim_gpu *node = peer_gpu(test, UVM_MEMORY_NUMA, true);
	struct sim_gpu *alone = peer_gpu(test, UVM_MEMORY_PRIVATE, false);
	struct sim_gpu foreign = {};

	KUNIT_EXPECT_TRUE(test, reaches(a, b));
	KUNIT_EXPECT_TRUE(test, reaches(b, a));
	KUNIT_EXPECT_FALSE(test, reaches(a, a));
	KUNIT_EXPECT_TRUE(test, reaches(node, a));
	KUNIT_EXPECT_FALSE(test, reaches(a, node));
	KUNIT_EXPECT_FALSE(test, reaches(alone, a));
	KUNIT_EXPECT_FALSE(test, reaches(a, alone));
	KUNIT_EXPECT_FALSE(test, reaches(a, &foreign));
	KUNIT_EXPECT_FALSE(test, reaches(a, NULL));
	KUNIT_EXPECT_EQ(test, node->peer, -1);
	KUNIT_EXPECT_EQ(test, alone->peer, -1);

	rcu_read_lock();
	KUNIT_EXPECT_TRUE(test, sim_peer_find(b->peer) == b);
	rcu_read_unlock();
	sim_peer_remove(b);
	KUNIT_EXPECT_FALSE(test, reaches(a, b));
	rcu_read_lock();
	KUNIT_EXPECT_TRUE(test, !sim_peer_find(b->peer));
	rcu_read_unlock();
	sim_peer_remove(a);
	sim_peer_remove(node);
	sim_peer_remove(alone);
}

/* A number that was given back isn't given to the next. */
static void peers_numbers_rest(struct kunit *test)
{
	struct sim_gpu *gpu;
	int i, last = -1;

	for (i = 0; i < 2 * UVM_SIM_PEERS; i++) {
		gpu = peer_gpu(test, UVM_MEMORY_PRIVATE, true);
		KUNIT_EXPECT_TRUE(test, gpu->peer >= 0);
		KUNIT_EXPECT_TRUE(test, gpu->peer != last);
		last = gpu->peer;
		sim_peer_use(last);
		KUNIT_EXPECT_EQ(test, sim_peer_uses(gpu), 1);
		sim_peer_unuse(last);
		sim_peer_remove(gpu);
	}
}

/* Who comes too late has no number, and reaches the others all the same. */
static void peers_run_out(struct kunit *test)
{
	struct sim_gpu *gpus[UVM_SIM_PEERS + 1];
	unsigned long seen = 0;
	int i;

	for (i = 0; i <= UVM_SIM_PEERS; i++)
		gpus[i] = peer_gpu(test, UVM_MEMORY_PRIVATE, true);
	for (i = 0; i < UVM_SIM_PEERS; i++)
		seen |= BIT(gpus[i]->peer);
	KUNIT_EXPECT_EQ(test, seen, BIT(UVM_SIM_PEERS) - 1);
	KUNIT_EXPECT_EQ(test, gpus[i]->peer, -1);
	KUNIT_EXPECT_TRUE(test, reaches(gpus[i], gpus[0]));
	KUNIT_EXPECT_FALSE(test, reaches(gpus[0], gpus[i]));
	for (i = 0; i <= UVM_SIM_PEERS; i++)
		sim_peer_remove(gpus[i]);
}

static struct kunit_case peer_cases[] = {
	KUNIT_CASE(peers_reach),
	KUNIT_CASE(peers_numbers_rest),
	KUNIT_CASE(peers_run_out),
	{}
};

static struct kunit_suite peer_suite = {
	.name = "uvm_sim_peer",
	.test_cases = peer_cases,
};

kunit_test_suite(peer_suite);
