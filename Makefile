# loam: build, run, test. `make help` lists targets and variables.
#
# Objects go to build/<config>-<flavour>/, where config is what the code runs on:
#   x86_64, aarch64            the real thing, freestanding
#   host                       Linux: arch/host under mm/sys.c and gc
#   fake-x86_64, fake-aarch64  Linux: real codecs and walker over tests/fake, a software MMU

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
-include local.mk

ARCH     ?= x86_64
FLAVOUR  ?= debug
COMPILER ?= gcc
MODEL    ?= kernel
MEM      ?= 256M
CPUS     ?= 1
DEPTH    ?= 12
V        ?= 0
Q        := $(if $(filter 1,$(V)),,@)
BUILD    := build

# One suffix per way of compiling, so that they never share an object.
variant := $(FLAVOUR)$(if $(filter clang,$(COMPILER)),-clang)$(if $(filter-out kernel,$(MODEL)),-$(MODEL))

include arch/sources.mk mm/sources.mk gc/sources.mk boot/sources.mk

# ---- tools ---------------------------------------------------------------------------------

host_arch      := $(shell uname -m)
CROSS_x86_64   ?= $(if $(filter x86_64,$(host_arch)),,x86_64-linux-gnu-)
CROSS_aarch64  ?= $(if $(filter aarch64,$(host_arch)),,aarch64-linux-gnu-)
HOST_CC        := $(if $(filter clang,$(COMPILER)),clang-14,gcc)
cc_x86_64      := $(if $(filter clang,$(COMPILER)),clang-14 --target=x86_64-linux-gnu,$(CROSS_x86_64)gcc)
cc_aarch64     := $(if $(filter clang,$(COMPILER)),clang-14 --target=aarch64-linux-gnu,$(CROSS_aarch64)gcc)
CLANG_FORMAT   := clang-format-14
CLANG_TIDY     := clang-tidy-14

# ---- flags ---------------------------------------------------------------------------------

warn := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla \
	-Wpointer-arith -Wwrite-strings -Wno-unused-parameter
common := -std=gnu11 $(warn) -g -fno-common -MMD -MP -Iinclude -I.

# LOAM_DEBUG: 0 release, 2 debug kernels, 3 everything on the host.
opt_debug   := -O2
opt_release := -O2
opt_asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
opt_tsan    := -O1 -fsanitize=thread -fno-omit-frame-pointer
opt_fuzz    := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
opt_cov     := -O0 --coverage
kernel_debug_level := $(if $(filter release,$(FLAVOUR)),0,2)
host_debug_level   := $(if $(filter release,$(FLAVOUR)),0,3)

include linker/flags.mk

# What each function takes of the stack, and whom it calls, beside its object: for lint.
call_graph := $(if $(filter clang,$(COMPILER)),,-fcallgraph-info=su)
kernel_flags = $(common) $(opt_$(if $(filter release,$(FLAVOUR)),release,debug)) $(loam_freestanding) \
	$(loam_isa_$(1)) $(loam_model_$(1)_$(MODEL)) -Iarch/$(1) -DLOAM_DEBUG=$(kernel_debug_level) $(call_graph)
hosted_flags = $(common) $(opt_$(FLAVOUR)) -pthread -D_GNU_SOURCE -DLOAM_DEBUG=$(host_debug_level)

# Tests ignore results on purpose and own no headers.
test_cflags := -Wno-unused-result -Wno-missing-prototypes

cflags_x86_64       = $(call kernel_flags,x86_64)
cflags_aarch64      = $(call kernel_flags,aarch64)
cflags_host         = $(hosted_flags) -Iarch/host -DLOAM_THREAD_HEADER='"arch/host/self.h"'
cflags_fake-x86_64  = $(hosted_flags) -Itests/fake -Iarch/x86_64
cflags_fake-aarch64 = $(hosted_flags) -Itests/fake -Iarch/aarch64
cc_host            := $(HOST_CC)
cc_fake-x86_64     := $(HOST_CC)
cc_fake-aarch64    := $(HOST_CC)

# ---- what goes into libloam.a, by config ---------------------------------------------------

lib_x86_64       := $(loam_arch_x86_64_src) $(loam_mm_src) $(loam_mm_mmu_src) $(loam_mm_mem_src) $(loam_gc_src)
lib_aarch64      := $(loam_arch_aarch64_src) $(loam_mm_src) $(loam_mm_mmu_src) $(loam_mm_mem_src) $(loam_gc_src)
lib_host         := $(loam_arch_host_src) $(loam_mm_src) $(loam_gc_src)
lib_fake-x86_64  := $(filter-out tests/fake/test_%,$(wildcard tests/fake/*.c)) $(loam_mm_src) $(loam_mm_mmu_src)
lib_fake-aarch64 := $(lib_fake-x86_64) tests/fake/aarch64/modes.c
lib_fake-x86_64  += tests/fake/x86_64/modes.c

configs := x86_64 aarch64 host fake-x86_64 fake-aarch64
outdir = $(BUILD)/$(1)-$(variant)

define config_rules
lib_obj_$(1) := $$(addprefix $(call outdir,$(1))/,$$(addsuffix .o,$$(basename $$(lib_$(1)))))
$(call outdir,$(1))/libloam.a: $$(lib_obj_$(1))
	$$(Q)echo "  AR      $$@"
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
$(call outdir,$(1))/%.o: %.c $(call outdir,$(1))/flags
	$$(Q)mkdir -p $$(@D)
	$$(Q)echo "  CC      $$@"
	$$(Q)$(cc_$(1)) $$(cflags_$(1)) $$(extra_$$*) $$(if $$(filter tests/%,$$*),$$(test_cflags)) -c $$< -o $$@
$(call outdir,$(1))/%.o: %.S $(call outdir,$(1))/flags
	$$(Q)mkdir -p $$(@D)
	$$(Q)echo "  AS      $$@"
	$$(Q)$(cc_$(1)) $$(cflags_$(1)) -c $$< -o $$@
# A changed flag rebuilds: the stamp's time moves only when its text does.
$(call outdir,$(1))/flags: FORCE
	$$(Q)mkdir -p $$(@D)
	$$(Q)echo '$(cc_$(1)) $$(cflags_$(1))' | cmp -s - $$@ || echo '$(cc_$(1)) $$(cflags_$(1))' > $$@
-include $$(shell find $(call outdir,$(1)) -name '*.d' 2>/dev/null)
endef
$(foreach c,$(configs),$(eval $(call config_rules,$(c))))
FORCE:

$(foreach f,$(basename $(loam_mm_mem_src)),$(eval extra_$(f) := $(loam_mem_$(COMPILER))))

include boot/build.mk tests/build.mk

# ---- targets -------------------------------------------------------------------------------

.PHONY: help deps all lib install size doctor clean FORCE
help: ## this text
	@echo "loam: a freestanding memory subsystem for x86_64 and aarch64"
	@echo
	@echo "Targets:"
	@grep -hE '^[a-z][a-z0-9-]*:.*##' Makefile boot/build.mk tests/build.mk | sed -E 's/:[^#]*## /\t/' | \
		awk -F'\t' '{printf "  %-18s %s\n", $$1, $$2}'
	@echo
	@echo "Variables (default):"
	@echo "  ARCH=x86_64|aarch64 ($(ARCH))   FLAVOUR=debug|release|asan|tsan|cov ($(FLAVOUR))"
	@echo "  COMPILER=gcc|clang ($(COMPILER))    MODEL=kernel|low|pic ($(MODEL))   V=1 shows commands"
	@echo "  run:  MEM=256M CPUS=1 DEPTH=12 INPUT=trace-file"
	@echo "  test: T=name-filter SEED=number"
	@echo
	@echo "Examples:"
	@echo "  make run                       set up, build, boot the main job in QEMU"
	@echo "  make run ARCH=aarch64 MEM=32M  the same on the other machine, with 32 MiB"
	@echo "  make test T=buddy SEED=7       one host test, one seed"

deps: ## install every Debian package that any target needs; quiet when all is there
	$(Q)sh tests/tools/deps.sh

lib: $(call outdir,x86_64)/libloam.a $(call outdir,aarch64)/libloam.a $(call outdir,host)/libloam.a ## libloam.a for both ISAs and Linux

all: lib images ## everything that ships: archives and boot images

PREFIX ?= /usr/local
install: lib ## headers to PREFIX/include/loam; archives, and hooks for one CPU as C, to PREFIX/lib/loam/<config>
	$(Q)install -d $(DESTDIR)$(PREFIX)/include/loam
	$(Q)install -m 644 include/loam/*.h $(DESTDIR)$(PREFIX)/include/loam
	$(Q)for c in x86_64 aarch64 host; do \
		install -d $(DESTDIR)$(PREFIX)/lib/loam/$$c && \
		install -m 644 $(BUILD)/$$c-$(variant)/libloam.a $(DESTDIR)$(PREFIX)/lib/loam/$$c; done
	$(Q)for c in x86_64 aarch64; do \
		install -m 644 boot/host_up.c boot/$$c/clock.c $(DESTDIR)$(PREFIX)/lib/loam/$$c; done

size: ## code and data of libloam.a, release, by folder
	$(Q)$(MAKE) --no-print-directory lib FLAVOUR=release
	$(Q)python3 tests/tools/size.py x86_64=$(BUILD)/x86_64-release/libloam.a aarch64=$(BUILD)/aarch64-release/libloam.a

doctor: ## what of the needed tools is there, and which versions
	$(Q)for t in gcc $(cc_x86_64) $(cc_aarch64) clang-14 $(CLANG_FORMAT) $(CLANG_TIDY) qemu-system-x86_64 \
		qemu-system-aarch64 python3 spin valgrind gdb-multiarch; do \
		case $$t in spin) version=-V;; *) version=--version;; esac; \
		printf '%-24s ' $$t; $$t $$version 2>/dev/null | head -1; \
		command -v $$t >/dev/null || echo "missing: make deps"; done

clean: ## remove build/
	$(Q)rm -rf $(BUILD)
