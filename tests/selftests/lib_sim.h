/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The software GPU's counters and knobs, and the parameters of the modules.
 */
#ifndef SELFTESTS_LIB_SIM_H
#define SELFTESTS_LIB_SIM_H

#include "lib_uvm.h"

/* a value of /sys/kernel/debug/uvm_sim/GPU/stats */
long sim_stat(const struct uvm_gpu_info *gpu, const char *name);
/* so often something goes wrong; and how often it still will */
void sim_knob(const struct uvm_gpu_info *gpu, const char *name, int times);
long sim_knob_left(const struct uvm_gpu_info *gpu, const char *name);

/* parameters of uvm_sim: a number, and one that is Y or N */
long sim_parameter(const char *name);
bool sim_switch(const char *name);

/* Parameters of uvm; 1 and 0 for Y and N. What is set holds until core_parameters_reset(). */
long core_parameter(const char *name);
void core_parameter_set(const char *name, long value);
void core_parameters_reset(void);

#endif /* SELFTESTS_LIB_SIM_H */
