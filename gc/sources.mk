# Sources of gc/. Read by the Makefile and by linker/embed.mk.
loam_gc_src :=
