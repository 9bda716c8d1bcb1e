# Sources of mm/. Read by the Makefile and by linker/embed.mk.
# Everywhere: pure algorithms, and the ten calls over a back end (mm/space.h).
loam_mm_src := mm/names.c mm/print.c mm/lockrank.c mm/memmap.c mm/early.c mm/buddy.c \
	mm/vspace.c mm/sys.c mm/stack.c mm/stackpool.c mm/shutdown.c
# Where there is an MMU: the back end.
loam_mm_mmu_src := mm/numa.c mm/zone.c mm/frame.c mm/framecache.c mm/ptab.c mm/inspect.c mm/contig.c mm/tlb.c mm/epoch.c \
	mm/space.c mm/commit.c mm/move.c mm/dirty.c mm/vm.c mm/cpu.c mm/demand.c mm/fault.c
# One archive member each, so that a kernel's own definition wins.
loam_mm_mem_src := mm/mem/memcpy.c mm/mem/memmove.c mm/mem/memset.c mm/mem/memcmp.c
