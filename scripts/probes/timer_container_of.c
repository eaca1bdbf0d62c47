// SPDX-License-Identifier: GPL-2.0
/* timer_container_of() came with the timer_ prefix of the whole family */
#include <linux/timer.h>

#ifndef timer_container_of
#error "no timer_container_of"
#endif
