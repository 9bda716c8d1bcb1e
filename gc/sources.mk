# Sources of gc/. Read by the Makefile and by linker/embed.mk.
loam_gc_src := gc/alloc.c gc/audit.c gc/barrier.c gc/central.c gc/checkmark.c gc/clean.c \
	gc/collect.c gc/efence.c gc/finalq.c gc/fixalloc.c gc/free.c gc/histogram.c gc/history.c gc/init.c \
	gc/limiter.c gc/mark.c gc/markcheck.c gc/offheap.c gc/pace.c gc/pacer.c gc/pagealloc.c \
	gc/pagebits.c gc/pageheap.c gc/palloccheck.c gc/persistent.c gc/pin.c gc/realloc.c gc/record.c \
	gc/refill.c gc/remote.c gc/root.c gc/scavenge.c gc/scavindex.c gc/shortage.c gc/sizeclass.c \
	gc/span.c gc/special.c gc/stats.c gc/sweep.c gc/table.c gc/thread.c gc/trace.c gc/typed.c gc/verify.c \
	gc/weak.c gc/work.c
