/* SPDX-License-Identifier: GPL-2.0-only */
/* What the suites share in which GPUs with private memory go away. */
#ifndef SELFTESTS_LIB_UNPLUG_H
#define SELFTESTS_LIB_UNPLUG_H

#include "lib_uvm.h"

/* Pages are parked soon. */
#define PARK_MS		300

extern const struct variant privates[];

/* What the process looked like when it died */
enum plight { OPEN, MM_CLOSED, CLOSED, REMAPPED, CHILD, NR_PLIGHTS };

extern const char * const plight_names[NR_PLIGHTS];

/* Puts pages on the GPU and gets into the plight; returns where they are. */
char *plight_begin(struct fix *f, enum plight plight, uint64_t seed);

/* Users of a module, or -1 where the kernel doesn't say */
long users(const char *module);
/* Nothing is parked any more: then uvm has as many users as before. */
void expect_users(long was);
void expect_parked(long was);

/* Returns the seconds that it took. */
double unbind_timed(const struct uvm_gpu_info *gpu);

/* devices_install(); before each test parameters are reset, and after it nothing is delayed */
void unplug_install(void);

#endif /* SELFTESTS_LIB_UNPLUG_H */
