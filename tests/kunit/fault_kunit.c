// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fault batches: sorting, runs, and the access that a page's faults add up to.
 * What fault.c calls elsewhere is recorded here instead, to see who is blamed.
 */
/* mm.c has a file of its own, in the same module. */
#define uvm_mm_retain		stub_mm_retain
#define uvm_mm_release		stub_mm_release
#define uvm_mm_releasing	stub_mm_releasing
#define uvm_mm_check_abandoned	stub_mm_check_abandoned
#define uvm_gpu_fault_pending	stub_gpu_fault_pending

#include "fault.c"

#include <kunit/test.h>

static int stub_result;
static unsigned int stub_calls;
static u8 stub_bad_page;

struct uvm_mirror_request *uvm_mirror_request_alloc(void)
{
	return kzalloc(1, GFP_KERNEL);
}

void uvm_mirror_request_free(struct uvm_mirror_request *req)
{
	kfree(req);
}

struct uvm_service *uvm_service_alloc(struct uvm_gpu_space *gs)
{
	return kzalloc(1, GFP_KERNEL);
}

void uvm_service_free(struct uvm_service *svc)
{
	kfree(svc);
}

const unsigned long *uvm_service_hold(const struct uvm_service *svc)
{
	static const unsigned long none[BITS_TO_LONGS(UVM_BLOCK_PAGES)];

	return none;
}

const unsigned long *uvm_mirror_atomics_left(const struct uvm_mirror_request *req)
{
	return NULL;
}

bool uvm_service_atomics(struct uvm_service *svc, unsigned long base, u8 *access,
			 const unsigned long *pages, bool renew)
{
	return true;
}

bool uvm_service_again(const struct uvm_service *svc)
{
	return false;
}

bool uvm_service_hot(struct uvm_service *svc, unsigned long start,
		     unsigned long end)
{
	return true;
}

struct uvm_gpu_space *uvm_gpu_space_by_as(struct uvm_gpu *gpu, u64 id)
{
	return NULL;
}

bool uvm_service_throttled(struct uvm_service *svc)
{
	return false;
}

unsigned int uvm_thrash_nap_us(void)
{
	return 0;
}

bool uvm_service_block(struct uvm_service *svc, unsigned long base, u8 *access)
{
	return true;
}

void uvm_service_set_stream(struct uvm_service *svc, bool stream)
{
}

bool uvm_service_wants_ahead(struct uvm_service *svc, unsigned long base)
{
	return false;
}

int uvm_mirror_block(struct uvm_gpu_space *gs, struct uvm_mirror_request *req,
		     unsigned long base, const u8 *access,
		     const unsigned long *hold)
{
	stub_calls++;
	return access[stub_bad_page] ? stub_result : 0;
}

int uvm_mm_retain(struct uvm_va_space *vs)
{
	return 0;
}

void uvm_mm_release(struct uvm_va_space *vs)
{
}

bool uvm_mm_releasing(struct uvm_va_space *vs)
{
	return false;
}

void uvm_mm_check_abandoned(struct uvm_va_space *vs)
{
}

bool uvm_gpu_space_enter(struct uvm_gpu_space *gs)
{
	return true;
}

void uvm_gpu_space_leave(struct uvm_gpu_space *gs)
{
}

void uvm_gpu_space_put(struct uvm_gpu_space *gs)
{
}

void uvm_gpu_fault_pending(struct uvm_gpu *gpu)
{
}

int uvm_gpu_nearest_node(const struct uvm_gpu *gpu)
{
	return NUMA_NO_NODE;
}

static u64 stub_faulted;

void uvm_channel_faulted(struct uvm_gpu_space *gs,
			 const struct uvm_gpu_fault *fault, u32 reason)
{
	stub_faulted |= BIT_ULL(fault->channel_id);
}

static bool stub_stalls = true;

static bool stub_cancel(struct uvm_gpu *gpu, const struct uvm_gpu_fault *fault)
{
	return stub_stalls;
}

static void fault_sort_and_run(struct kunit *test)
{
	struct uvm_gpu_fault f[] = {
		{ .as_id = 2, .address = 0x1000 },
		{ .as_id = 1, .address = UVM_BLOCK_SIZE + 0x3000 },
		{ .as_id = 1, .address = 0x5000 },
		{ .as_id = 1, .address = 0x4fff },
		{ .as_id = 1, .address = UVM_BLOCK_SIZE },
		{ .as_id = 1, .address = UVM_BLOCK_SIZE - 1 },
	};

	sort(f, ARRAY_SIZE(f), sizeof(f[0]), uvm_fault_cmp, NULL);
	KUNIT_EXPECT_EQ(test, f[0].address, 0x4fffULL);
	KUNIT_EXPECT_EQ(test, f[5].as_id, 2ULL);
	KUNIT_EXPECT_EQ(test, uvm_fault_space_run(f, 6), 5U);
	KUNIT_EXPECT_EQ(test, uvm_fault_space_run(f + 5, 1), 1U);
	KUNIT_EXPECT_EQ(test, uvm_fault_block_run(f, 5), 3U);
	KUNIT_EXPECT_EQ(test, uvm_fault_block_run(f + 3, 2), 2U);
}

static void fault_collect_strongest(struct kunit *test)
{
	struct uvm_gpu_fault f[] = {
		{ .address = 0x1000, .access = UVM_ACCESS_WRITE },
		{ .address = 0x1fff, .access = UVM_ACCESS_READ },
		{ .address = 0x2000, .access = UVM_ACCESS_READ },
		{ .address = 0x2008, .access = UVM_ACCESS_ATOMIC },
	};
	u8 *access = kunit_kzalloc(test, UVM_BLOCK_PAGES, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, access);
	memset(access, 0xff, UVM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, uvm_fault_collect(access, f, ARRAY_SIZE(f)), 2U);
	KUNIT_EXPECT_EQ(test, access[0], 0);
	KUNIT_EXPECT_EQ(test, access[1], UVM_ACCESS_WRITE);
	KUNIT_EXPECT_EQ(test, access[2], UVM_ACCESS_ATOMIC);
	KUNIT_EXPECT_EQ(test, access[3], 0);
}

/* One page fails: its channel is stopped, the others are served one by one. */
static void fault_blames_the_right_one(struct kunit *test)
{
	struct uvm_gpu_fault f[] = {
		{ .channel_id = 1, .address = 0x1000, .access = UVM_ACCESS_READ },
		{ .channel_id = 2, .address = 0x2000, .access = UVM_ACCESS_READ },
		{ .channel_id = 3, .address = 0x3000, .access = UVM_ACCESS_READ },
	};
	static const struct uvm_gpu_ops ops = { .fault_cancel = stub_cancel };
	struct uvm_fault_queue *queue;
	struct uvm_va_space *vs = kunit_kzalloc(test, sizeof(*vs), GFP_KERNEL);
	struct uvm_gpu *gpu = kunit_kzalloc(test, sizeof(*gpu), GFP_KERNEL);
	struct uvm_gpu_space *gs = kunit_kzalloc(test, sizeof(*gs), GFP_KERNEL);

	KUNIT_ASSERT_TRUE(test, vs && gpu && gs);
	queue = uvm_fault_queue_alloc(gs);
	KUNIT_ASSERT_NOT_NULL(test, queue);
	gpu->desc.ops = &ops;
	gs->gpu = gpu;
	gs->vs = vs;
	stub_bad_page = 2;
	stub_result = -ENOMEM;
	stub_calls = 0;
	stub_faulted = 0;
	uvm_fault_serve_block(queue, f, ARRAY_SIZE(f));
	KUNIT_EXPECT_EQ(test, stub_calls, 4U);
	KUNIT_EXPECT_EQ(test, stub_faulted, BIT_ULL(2));

	/* An access that is over is nobody's fault. */
	stub_stalls = false;
	stub_faulted = 0;
	uvm_fault_serve_block(queue, f, ARRAY_SIZE(f));
	KUNIT_EXPECT_EQ(test, stub_faulted, 0ULL);
	stub_stalls = true;

	/* A block that keeps changing is nobody's fault. */
	stub_result = -EBUSY;
	stub_faulted = 0;
	uvm_fault_serve_block(queue, f, ARRAY_SIZE(f));
	KUNIT_EXPECT_EQ(test, stub_faulted, 0ULL);

	/* Nor is anybody to blame when the GPU space is gone: nothing more is done. */
	stub_result = -ESRCH;
	stub_calls = 0;
	KUNIT_EXPECT_FALSE(test, uvm_fault_serve_block(queue, f, ARRAY_SIZE(f)));
	KUNIT_EXPECT_EQ(test, stub_calls, 1U);
	KUNIT_EXPECT_EQ(test, stub_faulted, 0ULL);
	uvm_fault_queue_free(queue);
}

/* What can't be served ahead of time is no fault of the channel, served or not. */
static void fault_spares_speculative(struct kunit *test)
{
	struct uvm_gpu_fault f[] = {
		{ .channel_id = 1, .address = 0x1000, .access = UVM_ACCESS_READ },
		{ .channel_id = 1, .address = 0x2000, .access = UVM_ACCESS_READ,
		  .flags = UVM_FAULT_SPECULATIVE },
		{ .channel_id = 2, .address = 0x2008, .access = UVM_ACCESS_READ },
	};
	static const struct uvm_gpu_ops ops = { .fault_cancel = stub_cancel };
	struct uvm_va_space *vs = kunit_kzalloc(test, sizeof(*vs), GFP_KERNEL);
	struct uvm_gpu *gpu = kunit_kzalloc(test, sizeof(*gpu), GFP_KERNEL);
	struct uvm_gpu_space *gs = kunit_kzalloc(test, sizeof(*gs), GFP_KERNEL);
	struct uvm_fault_queue *queue;

	KUNIT_ASSERT_TRUE(test, vs && gpu && gs);
	queue = uvm_fault_queue_alloc(gs);
	KUNIT_ASSERT_NOT_NULL(test, queue);
	gpu->desc.ops = &ops;
	gs->gpu = gpu;
	gs->vs = vs;
	stub_bad_page = 2;
	stub_result = -EFAULT;
	stub_calls = 0;
	stub_faulted = 0;
	KUNIT_EXPECT_TRUE(test, uvm_fault_serve_block(queue, f, 2));
	KUNIT_EXPECT_EQ(test, stub_calls, 3U);
	KUNIT_EXPECT_EQ(test, stub_faulted, 0ULL);

	/* Another channel's access to the same page has stalled. */
	KUNIT_EXPECT_TRUE(test, uvm_fault_serve_block(queue, f, 3));
	KUNIT_EXPECT_EQ(test, stub_faulted, BIT_ULL(2));

	/* Nor is it in an address space without memory. */
	stub_faulted = 0;
	memcpy(queue->faults, f, sizeof(f));
	queue->nr = 2;
	uvm_fault_cancel_all(queue);
	KUNIT_EXPECT_EQ(test, stub_faulted, BIT_ULL(1));
	queue->faults[0].flags = UVM_FAULT_SPECULATIVE;
	stub_faulted = 0;
	uvm_fault_cancel_all(queue);
	KUNIT_EXPECT_EQ(test, stub_faulted, 0ULL);
	uvm_fault_queue_free(queue);
}

/* What a test of one queue needs; the work does nothing. */
struct fault_one {
	struct uvm_gpu_ops ops;
	struct uvm_gpu gpu;
	struct uvm_va_space vs;
	struct uvm_gpu_space gs;
	struct uvm_fault_queue *queue;
};

static struct uvm_fault_queue *fault_hot_queue;
static unsigned int fault_hot_served;

/* The GPU goes on using what was just served. */
static void fault_hot_again(struct uvm_gpu *gpu, const struct uvm_gpu_counter *counter)
{
	fault_hot_served++;
	if (fault_hot_served < 100 * UVM_FAULT_HOT)
		uvm_fault_queue_hot(fault_hot_queue->gs, counter);
}

static void fault_no_work(struct work_struct *work)
{
}

static struct fault_one *fault_one_alloc(struct kunit *test)
{
	struct fault_one *one = kunit_kzalloc(test, sizeof(*one), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, one);
	one->queue = uvm_fault_queue_alloc(&one->gs);
	KUNIT_ASSERT_NOT_NULL(test, one->queue);
	INIT_WORK(&one->queue->work, fault_no_work);
	one->ops.fault_cancel = stub_cancel;
	one->ops.counter_clear = fault_hot_again;
	one->gpu.desc.ops = &one->ops;
	one->gpu.desc.access_granule = SZ_64K;
	one->vs.fault_wq = system_unbound_wq;
	kref_init(&one->gs.ref);
	one->gs.gpu = &one->gpu;
	one->gs.vs = &one->vs;
	one->gs.faults = one->queue;
	one->gs.counters = true;
	return one;
}

static void fault_one_free(struct fault_one *one)
{
	flush_work(&one->queue->work);
	uvm_fault_queue_free(one->queue);
}

/* A GPU that tells of the same granules for ever leaves faults their turn. */
static void fault_hot_is_bounded(struct kunit *test)
{
	struct fault_one *one = fault_one_alloc(test);
	struct uvm_gpu_counter counter = {};
	unsigned int i;

	stub_result = 0;
	fault_hot_served = 0;
	fault_hot_queue = one->queue;
	for (i = 0; i < UVM_FAULT_HOT; i++) {
		counter.address = i * SZ_64K;
		KUNIT_EXPECT_TRUE(test, uvm_fault_queue_hot(&one->gs, &counter));
	}
	KUNIT_EXPECT_FALSE(test, uvm_fault_queue_hot(&one->gs, &counter));
	KUNIT_EXPECT_TRUE(test, uvm_fault_serve_hot(one->queue));
	KUNIT_EXPECT_EQ(test, fault_hot_served, UVM_FAULT_HOT + 0U);
	KUNIT_EXPECT_EQ(test, one->queue->nr_hot, UVM_FAULT_HOT + 0U);
	fault_one_free(one);
}

/* What takes too long is refused; what comes after that gets its time again. */
static void fault_stuck_is_over(struct kunit *test)
{
	struct fault_one *one = fault_one_alloc(test);
	struct uvm_fault_queue *queue = one->queue;
	struct uvm_gpu_fault f = {
		.channel_id = 1, .address = 0x2000, .access = UVM_ACCESS_ATOMIC,
	};

	stub_bad_page = 2;
	stub_result = -EAGAIN;
	stub_faulted = 0;
	queue->nr = 1;
	queue->faults[0] = f;
	KUNIT_EXPECT_TRUE(test, uvm_fault_serve(queue));
	KUNIT_EXPECT_EQ(test, stub_faulted, 0ULL);
	queue->stuck_since = (jiffies - 2 * UVM_FAULT_STUCK) | 1;
	KUNIT_EXPECT_TRUE(test, uvm_fault_serve(queue));
	KUNIT_EXPECT_EQ(test, stub_faulted, BIT_ULL(1));

	queue->again = false;
	stub_result = 0;
	KUNIT_EXPECT_TRUE(test, uvm_fault_serve(queue));
	KUNIT_EXPECT_FALSE(test, queue->stuck);
	stub_result = -EAGAIN;
	stub_faulted = 0;
	KUNIT_EXPECT_TRUE(test, uvm_fault_serve(queue));
	KUNIT_EXPECT_EQ(test, stub_faulted, 0ULL);
	fault_one_free(one);
}

static struct kunit_case fault_cases[] = {
	KUNIT_CASE(fault_sort_and_run),
	KUNIT_CASE(fault_collect_strongest),
	KUNIT_CASE(fault_blames_the_right_one),
	KUNIT_CASE(fault_spares_speculative),
	KUNIT_CASE(fault_hot_is_bounded),
	KUNIT_CASE(fault_stuck_is_over),
	{}
};

static struct kunit_suite fault_suite = {
	.name = "uvm_fault",
	.test_cases = fault_cases,
};

kunit_test_suite(fault_suite);
