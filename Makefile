# SPDX-License-Identifier: GPL-2.0-only
# `make help` says what there is.

KDIR ?= $(firstword $(wildcard /lib/modules/$(shell uname -r)/build \
			       /usr/src/linux-headers-*-amd64))
# name of the build directory of the modules
NAME ?= local
OUT := build/user
WERROR ?= 1

CFLAGS ?= -O2 -g
USER_CFLAGS := -std=gnu11 -Wall -Wextra -Wno-unused-parameter \
	       $(if $(filter 1,$(WERROR)),-Werror) -fPIC -MMD -MP -pthread \
	       -Iinclude -Iinclude/uapi -Itests/selftests

.PHONY: all modules user demo check check-all bench lint clean help
all: modules user

modules:
	@scripts/deps.sh build
	@kdir="$(KDIR)"; [ -n "$$kdir" ] || kdir=$$(scripts/kernel.sh stock)/build; \
		scripts/modules.sh "$$kdir" $(NAME) $(if $(W),W=$(W)) $(if $(C),C=$(C))

# --- user space: one static set of programs that every guest can run ---------

objs = $(patsubst %.c,$(OUT)/obj/%.o,$(1))
lib_srcs := $(wildcard src/libuvm/*.c)
ctl_srcs := $(wildcard src/uvmctl/*.c)
test_lib := $(wildcard tests/selftests/lib_*.c)
suites := $(filter-out $(test_lib),$(wildcard tests/selftests/*.c))
bench_srcs := $(wildcard tests/bench/*.c)

programs := $(if $(ctl_srcs),$(OUT)/uvmctl) \
	    $(if $(bench_srcs),$(OUT)/uvm_bench) \
	    $(patsubst tests/selftests/%.c,$(OUT)/selftests/%,$(suites))

user: $(if $(lib_srcs),$(OUT)/libuvm.a $(OUT)/libuvm.so) $(programs)

$(OUT)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(USER_CFLAGS) $(CFLAGS) -c -o $@ $<

$(OUT)/libuvm.a: $(call objs,$(lib_srcs))
	@rm -f $@
	$(AR) rcs $@ $^

$(OUT)/libuvm.so: $(call objs,$(lib_srcs))
	$(CC) -shared -Wl,-soname,libuvm.so.0 -o $@ $^ $(LDFLAGS)

link = @mkdir -p $(@D); \
       $(CC) -static -pthread -o $@ $^ $(LDFLAGS) -lnuma
libuvm := $(if $(lib_srcs),$(OUT)/libuvm.a)

$(OUT)/uvmctl: $(call objs,$(ctl_srcs)) $(libuvm)
	$(link)
$(OUT)/uvm_bench: $(call objs,$(bench_srcs)) $(libuvm)
	$(link)
$(OUT)/selftests/%: $(OUT)/obj/tests/selftests/%.o $(call objs,$(test_lib)) $(libuvm)
	$(link)

.SECONDARY:
-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)

# --- the rest is scripts ------------------------------------------------------

demo:
	@KERNEL="$(KERNEL)" GPU="$(GPU)" FILE="$(FILE)" scripts/demo.sh
check:
	@KERNEL="$(KERNEL)" SUITE="$(SUITE)" ITER="$(ITER)" scripts/check.sh
check-all:
	@KERNEL="$(KERNEL)" SUITE="$(SUITE)" ITER="$(or $(ITER),20)" RESUME=1 \
		scripts/check.sh
bench:
	@scripts/bench.sh
lint:
	@scripts/lint.sh
clean:
	rm -rf build

help:
	@echo 'make                modules (for KDIR=, default: the running kernel) and user programs'
	@echo 'make modules|user   either; W=1 and C=1 go to kbuild'
	@echo 'make demo           boot a kernel in QEMU and watch data move'
	@echo '                    KERNEL=stock|6.1|6.12|7.3  GPU=private|coherent  FILE=path'
	@echo 'make check          all tests on all kernels, in QEMU guests'
	@echo '                    KERNEL=stock|6.1|6.12|7.3  SUITE=name  ITER=n'
	@echo 'make check-all      the same with large counts; continues where it was stopped'
	@echo 'make bench          ratios to the peers, into build/bench/results.csv'
	@echo 'make lint           checkpatch, sparse, kernel-doc'
	@echo 'make clean          remove build/ (kernels stay in ~/.cache/uvm, or UVM_CACHE)'
