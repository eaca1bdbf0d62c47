/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The frame that a suite's tests run in; output is TAP.
 *
 * Every test runs in a child of its own, in a process group of its own, under a
 * time limit. It fails when a check fails, when the child (or the kernel: see
 * the taint check in lib_harness.c) dies, when the limit passes, when it made no
 * check at all, and when the suite's harness_after hook finds something left
 * behind. Checks are counted in shared memory, so those of grandchildren and
 * threads count too.
 *
 *	TEST(name) { EXPECT_EQ(1 + 1, 2); }
 *	TEST_V(name, variants) { use(v->kind); }
 *	HARNESS_MAIN()
 *
 * Arguments: -l lists the tests; any other argument is a substring, and only
 * tests with one of them in their name run. Environment: UVM_ITER scales loops
 * and limits, UVM_SEED repeats a run's seed, UVM_TIME_SCALE stretches the limits.
 */
#ifndef SELFTESTS_HARNESS_H
#define SELFTESTS_HARNESS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct variant - one row of what a test is run over
 * @name: appended to the test's name after a dot; NULL ends an array
 * @kind: enum uvm_memory_kind, or whatever the suite wants
 * @huge: back the test's memory by huge pages
 * @managed: its memory is a mapping of the VA space
 */
struct variant {
	const char *name;
	int kind;
	bool huge;
	bool managed;
};

struct harness_test {
	const char *name;
	const struct variant *variants;
	void (*run)(const struct variant *v);
	unsigned int seconds;
	struct harness_test *next;
};

/* Runs in the parent around each test: before(), then after() once it is gone.
 * after() returns false and fills in @why if the test left something behind.
 */
struct harness_hook {
	void (*before)(void);
	bool (*after)(char *why, size_t size);
};
extern struct harness_hook harness_hook;

void harness_add(struct harness_test *test);
int harness_main(int argc, char **argv);

#define HARNESS_MAIN()							\
	int main(int argc, char **argv)					\
	{								\
		return harness_main(argc, argv);			\
	}

#define HARNESS_TEST(name_, variants_, seconds_)			\
	static void test_##name_(const struct variant *v);		\
	static struct harness_test desc_##name_ = {			\
		.name = #name_,						\
		.variants = variants_,					\
		.run = test_##name_,					\
		.seconds = seconds_,					\
	};								\
	static void __attribute__((constructor)) add_##name_(void)	\
	{								\
		harness_add(&desc_##name_);				\
	}								\
	static void test_##name_(const struct variant *v __attribute__((unused)))

#define HARNESS_SECONDS	30

#define TEST(name)			HARNESS_TEST(name, NULL, HARNESS_SECONDS)
#define TEST_T(name, seconds)		HARNESS_TEST(name, NULL, seconds)
#define TEST_V(name, variants)		HARNESS_TEST(name, variants, HARNESS_SECONDS)
#define TEST_VT(name, variants, seconds) HARNESS_TEST(name, variants, seconds)

/* The test's own random numbers; a run's seed is printed at its start. */
extern uint64_t harness_seed;
uint64_t harness_random(uint64_t *state);
/* @n rounds, times UVM_ITER */
unsigned int harness_rounds(unsigned int n);

/*
 * A slow kernel goes through a long list of combinations in strides of @n, from a
 * random start (harness_seed), unless UVM_ITER asks for more.
 */
unsigned int harness_stride(unsigned int n);

void harness_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void harness_skip(const char *fmt, ...)
	__attribute__((format(printf, 1, 2), noreturn));
bool harness_check(bool good, bool fatal, const char *file, int line,
		   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
bool harness_compare(bool good, bool fatal, const char *file, int line,
		     const char *seen_text, const char *op,
		     const char *want_text, long long seen, long long want);
bool harness_result(bool fatal, const char *file, int line, const char *text,
		    int seen, int want, int alternative);

#define SKIP(...)	harness_skip(__VA_ARGS__)

#define HARNESS_COMPARE(fatal, seen, op, want) ({			\
	long long seen_ = (long long)(seen);				\
	long long want_ = (long long)(want);				\
									\
	harness_compare(seen_ op want_, fatal, __FILE__, __LINE__,	\
			#seen, #op, #want, seen_, want_);		\
})

#define EXPECT_EQ(seen, want)	HARNESS_COMPARE(false, seen, ==, want)
#define EXPECT_NE(seen, want)	HARNESS_COMPARE(false, seen, !=, want)
#define EXPECT_LE(seen, want)	HARNESS_COMPARE(false, seen, <=, want)
#define EXPECT_GE(seen, want)	HARNESS_COMPARE(false, seen, >=, want)
#define EXPECT_LT(seen, want)	HARNESS_COMPARE(false, seen, <, want)
#define EXPECT_GT(seen, want)	HARNESS_COMPARE(false, seen, >, want)
#define ASSERT_EQ(seen, want)	HARNESS_COMPARE(true, seen, ==, want)
#define ASSERT_NE(seen, want)	HARNESS_COMPARE(true, seen, !=, want)
#define ASSERT_LE(seen, want)	HARNESS_COMPARE(true, seen, <=, want)
#define ASSERT_GE(seen, want)	HARNESS_COMPARE(true, seen, >=, want)
#define ASSERT_GT(seen, want)	HARNESS_COMPARE(true, seen, >, want)

#define EXPECT_TRUE(cond)						\
	harness_check(!!(cond), false, __FILE__, __LINE__,		\
		      "wanted true, saw false: %s", #cond)
#define ASSERT_TRUE(cond)						\
	harness_check(!!(cond), true, __FILE__, __LINE__,		\
		      "wanted true, saw false: %s", #cond)

/* For calls that return 0 or -errno; the failure names the errnos. */
#define EXPECT_RET(call, want)						\
	harness_result(false, __FILE__, __LINE__, #call, call, want, want)
#define ASSERT_RET(call, want)						\
	harness_result(true, __FILE__, __LINE__, #call, call, want, want)
#define EXPECT_RET2(call, want, or)					\
	harness_result(false, __FILE__, __LINE__, #call, call, want, or)

/* A child of the test. child() is fork(); in the child run, then child_exit(). */
pid_t child(void);
void child_exit(void) __attribute__((noreturn));
/* exit status, or 128 + signal */
int child_wait(pid_t pid);

#endif /* SELFTESTS_HARNESS_H */
