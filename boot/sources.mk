# Sources of boot/: the example host kernel. The stub is what any kernel can be put behind; the
# demo is the kernel we put there.
loam_boot_src         := boot/main.c boot/map.c boot/paging.c boot/probe.c boot/cmdline.c boot/host_log.c boot/host_smp.c boot/smp.c boot/world.c
loam_boot_x86_64_src  := boot/x86_64/entry.S boot/x86_64/vectors.S boot/x86_64/traps.c \
	boot/x86_64/machine.c boot/x86_64/clock.c boot/x86_64/smp.c boot/x86_64/trampoline.S \
	boot/pvh.c boot/acpi.c
loam_boot_aarch64_src := boot/aarch64/entry.S boot/aarch64/vectors.S boot/aarch64/traps.c \
	boot/aarch64/machine.c boot/aarch64/clock.c boot/aarch64/smp.c boot/aarch64/gic.c boot/fdt.c
loam_selftest_src     := $(addprefix tests/kernel/selftest,.c _mmu.c _frame.c _sys.c _vm.c _dirty.c _stack.c _smp.c _numa.c _soak.c _heap.c _world.c _shutdown.c _fault.c _oracle.c)
# by ISA
loam_selftest_x86_64_src  := $(addprefix tests/kernel/x86_64/,hold.S spoil.S)
loam_selftest_aarch64_src := $(addprefix tests/kernel/aarch64/,hold.S spoil.S)
loam_demo_src         := boot/demo.c boot/job.c boot/vmbench.c boot/pause.c boot/soak.c boot/bintree.c boot/replay.c $(loam_selftest_src)
# What of it runs anywhere: for the host tests and tools.
loam_boot_portable_src := boot/map.c boot/cmdline.c boot/pvh.c boot/acpi.c boot/fdt.c boot/replay.c boot/bintree.c
