# loam inside your own build. In your makefile:
#
#   LOAM_DIR   := third_party/loam
#   LOAM_ARCH  := x86_64                 or aarch64
#   LOAM_MODEL := kernel                 or low, pic
#   include $(LOAM_DIR)/linker/embed.mk
#
# It defines, and touches nothing else of yours:
#
#   LOAM_SOURCES   what to compile and link: C and assembly, relative to where LOAM_DIR is
#   LOAM_CPPFLAGS  include paths; your own files need only -I$(LOAM_DIR)/include
#   LOAM_CFLAGS    how to compile them; add your -O and -g, and -DLOAM_DEBUG=0 to 3 (1): linker/README.md
#   LOAM_MEM_CFLAGS  besides, for $(LOAM_MEM_SOURCES)
#   LOAM_MEM_SOURCES memcpy, memmove, memset, memcmp: leave out those that you have
#   LOAM_HOST_UP   hooks for one CPU and one thread, if you have none of your own: the last of the two
#                  is the clock, loam_host_now_ns; both need only -I$(LOAM_DIR)/include

LOAM_MODEL ?= kernel
include $(LOAM_DIR)/linker/flags.mk
include $(LOAM_DIR)/arch/sources.mk $(LOAM_DIR)/mm/sources.mk $(LOAM_DIR)/gc/sources.mk

LOAM_SOURCES := $(addprefix $(LOAM_DIR)/,$(loam_arch_$(LOAM_ARCH)_src) $(loam_mm_src) $(loam_mm_mmu_src) $(loam_gc_src))
LOAM_MEM_SOURCES := $(addprefix $(LOAM_DIR)/,$(loam_mm_mem_src))
LOAM_HOST_UP := $(LOAM_DIR)/boot/host_up.c $(LOAM_DIR)/boot/$(LOAM_ARCH)/clock.c
LOAM_CPPFLAGS := -I$(LOAM_DIR)/include -I$(LOAM_DIR) -I$(LOAM_DIR)/arch/$(LOAM_ARCH)
LOAM_CFLAGS := -std=gnu11 $(loam_freestanding) $(loam_isa_$(LOAM_ARCH)) $(loam_model_$(LOAM_ARCH)_$(LOAM_MODEL))
LOAM_MEM_CFLAGS := $(loam_mem_$(if $(findstring clang,$(CC)),clang,gcc))
