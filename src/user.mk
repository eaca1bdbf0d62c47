# SPDX-License-Identifier: MIT
# What the user-space Makefiles share. Variables for the caller:
#   O=DIR       where to build, never the source tree (default build/user)
#   STATIC=1    static programs
#   V=1         show the commands
#   CC, CFLAGS, LDFLAGS as usual

root := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/..)
O ?= $(root)/build/user
override O := $(abspath $(O))
VERSION := 0.1.0

CFLAGS ?= -O2 -g
override CPPFLAGS += -D_FILE_OFFSET_BITS=64 \
	-I$(root)/include -I$(root)/include/uapi
override CFLAGS += -std=gnu11 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes
ifeq ($(STATIC),1)
program_ldflags := -static
endif

ifneq ($(V),1)
Q := @
say = @echo "  $(1)	$(patsubst $(O)/%,%,$@)"
endif

compile = $(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
link = $(Q)$(CC) $(CFLAGS) $(program_ldflags) $(LDFLAGS) -o $@ \
	$(filter %.o %.a,$^) $(LDLIBS)

all:
.PHONY: all clean install FORCE
.DELETE_ON_ERROR:
