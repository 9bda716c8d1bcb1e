# How loam must be compiled to go into a kernel, by ISA and code model. Read by the Makefile and by
# linker/embed.mk.
#
# What kernels ask of a foreign archive: no FP or SIMD, no red zone, no TLS, no canaries, no libgcc.
loam_freestanding := -ffreestanding -fno-stack-protector -fno-lto -fno-asynchronous-unwind-tables \
	-fno-unwind-tables -ffunction-sections -fdata-sections -fno-omit-frame-pointer
loam_isa_x86_64   := -m64 -mno-red-zone -mgeneral-regs-only -fcf-protection=none
loam_isa_aarch64  := -mgeneral-regs-only -ffixed-x18 -mbranch-protection=none -mno-outline-atomics
# kernel: linked in the top 2 GiB; low: in the low 2 GiB; pic: anywhere, nothing exported.
loam_model_x86_64_kernel  := -mcmodel=kernel -fno-pic -fno-pie
loam_model_x86_64_low     := -mcmodel=small -fno-pic -fno-pie
loam_model_x86_64_pic     := -fPIC -fvisibility=hidden
loam_model_aarch64_kernel := -fno-pic -fno-pie
loam_model_aarch64_low    := -fno-pic -fno-pie
loam_model_aarch64_pic    := -fPIC -fvisibility=hidden
# The compiler must not turn the body of memset into a call of memset.
loam_mem_gcc   := -fno-builtin -fno-tree-loop-distribute-patterns
loam_mem_clang := -fno-builtin
