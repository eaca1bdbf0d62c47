# SPDX-License-Identifier: GPL-2.0-only
# `make help` says what there is.

KDIR ?= $(firstword $(wildcard /lib/modules/$(shell uname -r)/build \
			       /usr/src/linux-headers-*-amd64))
# name of the build directory of the modules
NAME ?= local
OUT := build/user
CFLAGS ?= -O2 -g

.PHONY: all modules user demo check check-all mutate bench lint clean help
all: modules user

modules:
	@scripts/deps.sh build
	@kdir="$(KDIR)"; [ -n "$$kdir" ] || kdir=$$(scripts/kernel.sh stock)/build; \
		scripts/modules.sh "$$kdir" $(NAME) $(if $(W),W=$(W)) $(if $(C),C=$(C))

# --- user space: static programs, which every guest can run -------------------

user: programs selftests

# In this order, since the others link the library.
.PHONY: programs selftests
programs:
	@$(MAKE) --no-print-directory -C src/libuvm O=$(abspath $(OUT))
	@$(MAKE) --no-print-directory -C src/uvmctl O=$(abspath $(OUT)) STATIC=1
	@$(MAKE) --no-print-directory -C tests/bench O=$(abspath $(OUT)) STATIC=1

# A suite is tests/selftests/NAME.c, linked with what lib_*.c share.
TEST_CFLAGS := -std=gnu11 -Wall -Wextra -Wno-unused-parameter \
	       -Wno-missing-field-initializers -Werror \
	       -MMD -MP -pthread -Iinclude -Iinclude/uapi -Itests/selftests
test_lib := $(wildcard tests/selftests/lib_*.c)
suites := $(filter-out $(test_lib),$(wildcard tests/selftests/*.c))
selftests: $(patsubst tests/selftests/%.c,$(OUT)/selftests/%,$(suites))

$(OUT)/obj/selftests/%.o: tests/selftests/%.c
	@mkdir -p $(@D)
	@echo "  CC	$(@:$(OUT)/%=%)"
	@$(CC) $(TEST_CFLAGS) $(CFLAGS) -c -o $@ $<

$(OUT)/selftests/%: $(OUT)/obj/selftests/%.o \
		    $(test_lib:tests/%.c=$(OUT)/obj/%.o) $(OUT)/libuvm.a
	@mkdir -p $(@D)
	@echo "  LD	$(@:$(OUT)/%=%)"
	@$(CC) -static -pthread -o $@ $^ $(LDFLAGS) -lnuma

$(OUT)/libuvm.a: programs
	@:

.SECONDARY:
-include $(wildcard $(OUT)/obj/selftests/*.d)

# --- the rest is scripts ------------------------------------------------------

demo:
	@KERNEL="$(KERNEL)" GPU="$(GPU)" FILE="$(FILE)" scripts/demo.sh
check:
	@KERNEL="$(KERNEL)" SUITE="$(SUITE)" FILTER="$(FILTER)" ITER="$(ITER)" \
		scripts/check.sh
check-all:
	@KERNEL="$(KERNEL)" SUITE="$(SUITE)" ITER="$(or $(ITER),20)" RESUME=1 \
		scripts/check.sh
mutate:
	@KERNEL="$(KERNEL)" MUTATION="$(MUTATION)" scripts/mutate.sh
bench:
	@KERNEL="$(KERNEL)" PART="$(PART)" scripts/bench.sh
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
	@echo '                    KERNEL=stock|6.1|6.12|7.3  SUITE=name  FILTER=test  ITER=n'
	@echo 'make check-all      the same with large counts; continues where it was stopped'
	@echo 'make mutate         plant known bugs and expect the tests to notice; MUTATION=name'
	@echo 'make bench          ratios to the peers, into build/bench/results.csv'
	@echo '                    PART=rates|oversubscription|instructions'
	@echo 'make lint           checkpatch, sparse, kernel-doc'
	@echo 'make clean          remove build/ (kernels stay in ~/.cache/uvm, or UVM_CACHE)'
