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
demo_obj_$(1) := $$(addprefix $(call outdir,$(1))/,$$(addsuffix .o,$$(basename $$(loam_demo_src))))
$(call outdir,$(1))/loam.elf: $$(boot_obj_$(1)) $$(demo_obj_$(1)) $(call outdir,$(1))/libloam.a linker/$(1).ld
	$$(Q)echo "  LD      $$@"
	$$(Q)$$(ld_$(1)) -nostdlib --gc-sections -z max-page-size=4096 --no-warn-rwx-segments -T linker/$(1).ld \
		$$(filter %.o,$$^) $$(filter %.a,$$^) -o $$@
-include $$(boot_obj_$(1):.o=.d) $$(demo_obj_$(1):.o=.d)
endef
$(eval $(call boot_rules,x86_64))
$(eval $(call boot_rules,aarch64))

$(call outdir,aarch64)/loam.img: $(call outdir,aarch64)/loam.elf
	$(Q)$(objcopy_aarch64) -O binary $< $@

.PHONY: images run run-qemu gdb
images: $(image_x86_64) $(image_aarch64) ## boot images for both ISAs

run: deps run-qemu ## set up, build, boot the main job (ARCH=, MEM=, INPUT=, DEPTH=)

run-qemu: $(image) ## the same without the set-up
	$(Q)python3 tests/tools/qemu_run.py --arch $(ARCH) --mem $(MEM) $(if $(INPUT),--initrd $(INPUT)) \
		--append "depth=$(DEPTH) $(APPEND)" $(image)

gdb: $(image) ## boot halted and attach gdb, with the image's symbols
	$(Q)python3 tests/tools/qemu_run.py --arch $(ARCH) --mem $(MEM) $(if $(INPUT),--initrd $(INPUT)) \
		--append "depth=$(DEPTH) $(APPEND)" --gdb $(call outdir,$(ARCH))/loam.elf $(image)
