# Sources of arch/, by port. Read by the Makefile and by linker/embed.mk.
loam_arch_x86_64_src  := arch/x86_64/mmu.c arch/x86_64/spill.S
loam_arch_aarch64_src := arch/aarch64/mmu.c arch/aarch64/spill.S
loam_arch_host_src    := arch/host/space.c arch/host/dirty.c arch/host/vm.c arch/host/host.c arch/host/spill.c
