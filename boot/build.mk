# The boot image and how to run it. Included by the Makefile.

ld_x86_64  := $(CROSS_x86_64)ld
ld_aarch64 := $(CROSS_aarch64)ld
objcopy_aarch64 := $(CROSS_aarch64)objcopy
# What QEMU is given: the ELF by its PVH note, or a flat Linux Image.
image_x86_64  = $(call outdir,x86_64)/loam.elf
image_aarch64 = $(call outdir,aarch64)/loam.img
image = $(image_$(ARCH))
TRACE ?= tests/tools/traces/perl.loamtrace
INPUT ?= $(wildcard $(TRACE))

define boot_rules
boot_obj_$(1) := $$(addprefix $(call outdir,$(1))/,$$(addsuffix .o,$$(basename $$(loam_boot_src) $$(loam_boot_$(1)_src))))
demo_obj_$(1) := $$(addprefix $(call outdir,$(1))/,$$(addsuffix .o,$$(basename $$(loam_demo_src) $$(loam_selftest_$(1)_src))))
$(call outdir,$(1))/loam.elf: $$(boot_obj_$(1)) $$(demo_obj_$(1)) $(call outdir,$(1))/libloam.a linker/$(1).ld
	$$(Q)echo "  LD      $$@"
	$$(Q)$$(ld_$(1)) -nostdlib --gc-sections -z max-page-size=4096 --no-warn-rwx-segments -T linker/$(1).ld \
		$$(filter %.o,$$^) $$(filter %.a,$$^) -o $$@
endef
$(eval $(call boot_rules,x86_64))
$(eval $(call boot_rules,aarch64))

$(call outdir,aarch64)/loam.img: $(call outdir,aarch64)/loam.elf
	$(Q)$(objcopy_aarch64) -O binary $< $@

.PHONY: images run run-qemu gdb record embed
images: $(image_x86_64) $(image_aarch64) ## boot images for both ISAs

run: deps run-qemu ## set up, build, boot the main job (ARCH=, MEM=, INPUT=, DEPTH=)

run-qemu: $(image) ## the same without the set-up
	$(Q)python3 tests/tools/qemu_run.py --arch $(ARCH) --mem $(MEM) --smp $(CPUS) $(if $(INPUT),--initrd $(INPUT)) \
		--append "depth=$(DEPTH) $(APPEND)" $(image)

gdb: $(image) ## boot halted and attach gdb, with the image's symbols
	$(Q)python3 tests/tools/qemu_run.py --arch $(ARCH) --mem $(MEM) --smp $(CPUS) $(if $(INPUT),--initrd $(INPUT)) \
		--append "depth=$(DEPTH) $(APPEND)" --gdb $(call outdir,$(ARCH))/loam.elf $(image)

PROG ?= ls -lR .
OUT  ?= $(BUILD)/recorded.loamtrace
record: $(BUILD)/librecord.so ## record a program's allocations for INPUT= (PROG='program args' OUT=file)
	$(Q)rm -f $(OUT)
	$(Q)env LD_PRELOAD=$(abspath $<) LOAM_TRACE=$(abspath $(OUT)) $(PROG) > /dev/null
	$(Q)test -s $(OUT) || { echo "nothing was recorded: PROG must be a dynamically linked program, not a script"; exit 1; }
$(BUILD)/librecord.so: tests/tools/record.c boot/replay.h
	$(Q)mkdir -p $(@D)
	$(Q)$(HOST_CC) -std=gnu11 $(warn) -O2 -g -fPIC -shared -pthread -D_GNU_SOURCE -Iinclude -I. $(test_cflags) $< -o $@ -ldl

# The README's example in a kernel of its own, through linker/embed.mk.
embed_image_x86_64  = $(BUILD)/embed-x86_64/kernel.elf
embed_image_aarch64 = $(BUILD)/embed-aarch64/kernel.img
embed: ## the README's example, compiled through linker/embed.mk and linked to a kernel, both ISAs
	$(Q)$(foreach a,x86_64 aarch64,$(MAKE) --no-print-directory -C tests/embed LOAM_ARCH=$(a) OUT=$(abspath $(BUILD))/embed-$(a) \
		CC='$(cc_$(a))' LD='$(ld_$(a))' OBJCOPY='$(CROSS_$(a))objcopy' &&) true
