# Host tests. Included by the Makefile.
#
# tests/host/test_*.c   against libloam.a for Linux (config host)
# tests/fake/test_*.c   against real codecs over the fake machine (configs fake-x86_64, fake-aarch64)

# In a release nobody is held up at a place (gc/check.h).
need_places           := tests/host/test_thread_order.c
test_src_host         := $(filter-out $(if $(filter release,$(FLAVOUR)),$(need_places)),$(wildcard tests/host/test_*.c))
test_bins_host        := $(patsubst tests/host/%.c,$(call outdir,host)/tests/%,$(test_src_host))
test_bins_fake-x86_64 := $(patsubst tests/fake/%.c,$(call outdir,fake-x86_64)/tests/%,$(wildcard tests/fake/test_*.c))
test_bins_fake-aarch64:= $(patsubst tests/fake/%.c,$(call outdir,fake-aarch64)/tests/%,$(wildcard tests/fake/test_*.c))

comma := ,
define test_rules
$(call outdir,$(1))/tests/%: $(call outdir,$(1))/tests/$(2)/%.o $(call outdir,$(1))/tests/host/support.o $(call outdir,$(1))/tests/host/sys_model.o $(call outdir,$(1))/tests/host/sys_fail.o $$(libs_$(2)) $(call outdir,$(1))/libloam.a
	$$(Q)mkdir -p $$(@D)
	$$(Q)echo "  LD      $$@"
	$$(Q)$(cc_$(1)) $$(cflags_$(1)) $$(ldflags_$(2)) $$^ -lcmocka -lm -o $$@
endef
# The fake looks at every frame that is freed.
ldflags_fake := -Wl,--wrap=loam_frame_free,--wrap=loam_frame_list_free
$(call outdir,host)/libboot.a: $(addprefix $(call outdir,host)/,$(loam_boot_portable_src:.c=.o))
	$(Q)rm -f $@ && ar rcs $@ $^
# The heap's driver of operations: random, from a corpus, from the fuzzer.
heap_ops_src := $(addprefix tests/fuzz/,heap_ops.c ops.c shadow.c order.c input.c)
$(call outdir,host)/libheapops.a: $(addprefix $(call outdir,host)/,$(heap_ops_src:.c=.o))
	$(Q)rm -f $@ && ar rcs $@ $^
libs_host = $(call outdir,host)/libheapops.a $(call outdir,host)/libboot.a
# test_cycle does something in the moment before a stop, or before a page is scanned again.
$(call outdir,host)/tests/test_cycle: ldflags_host := -Wl,--wrap=loam_host_world_stop,--wrap=loam_mark_page
# test_example is the Linux program of the top README, as it stands there.
example := $(call outdir,host)/tests/host/example.inc
$(call outdir,host)/tests/host/test_example.o: $(example)
extra_tests/host/test_example := -I$(dir $(example))
$(example): README.md
	$(Q)mkdir -p $(@D)
	$(Q)sed -n '/<!-- linux-example -->/,/<!-- \/linux-example -->/p' $< | sed '/^<!--/d; /^```/d' > $@
# test_oom fails requests for memory.
$(call outdir,host)/tests/test_oom: ldflags_host := $(addprefix -Wl$(comma)--wrap=loam_sys_,reserve map used alloc hugepage nohugepage collapse)
# test_check loses marks.
$(call outdir,host)/tests/test_white: ldflags_host := -Wl,--wrap=loam_sys_dirty_round
$(call outdir,host)/tests/test_check: ldflags_host := -Wl,--wrap=loam_checkmark_run
# These have a clock of their own.
$(foreach t,trace pageheap assist,$(call outdir,host)/tests/test_$t): ldflags_host := -Wl$(comma)--wrap=loam_host_now_ns
$(eval $(call test_rules,host,host))
$(eval $(call test_rules,fake-x86_64,fake))
$(eval $(call test_rules,fake-aarch64,fake))
# Tests may use what the product may not.
.SECONDARY:


# ---- the driver's other front ends ----
fuzz_objects = $(addprefix $(call outdir,host)/tests/,fuzz/$(1).o host/support.o) $(libs_host) $(call outdir,host)/libloam.a
$(call outdir,host)/tests/random_ops: $(call fuzz_objects,random_ops)
	$(Q)$(cc_host) $(cflags_host) $^ -lcmocka -o $@
$(call outdir,host)/tests/fuzz_heap: $(call fuzz_objects,fuzz_heap)
	$(Q)$(cc_host) $(cflags_host) -fsanitize=fuzzer $^ -lcmocka -o $@

OPS ?= 10000000
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 60
corpus := tests/fuzz/corpus/heap
grown   = $(BUILD)/fuzz/heap
.PHONY: fuzz fuzz-run fuzz-min fuzz-min-run fuzz-ops fuzz-ops-run soak-oom
fuzz: deps ## libFuzzer on the heap's calls (FUZZ_SECONDS=); finds go to build/fuzz
	$(Q)$(MAKE) --no-print-directory fuzz-run FLAVOUR=fuzz COMPILER=clang
fuzz-run: $(call outdir,host)/tests/fuzz_heap
	$(Q)mkdir -p $(grown)
	$(Q)$< -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=60 -print_final_stats=1 -verbosity=1 \
		-artifact_prefix=$(BUILD)/fuzz/ $(grown) $(corpus)

fuzz-min: deps ## fewest programs that cover what corpus and finds do; they become the corpus
	$(Q)$(MAKE) --no-print-directory fuzz-min-run FLAVOUR=fuzz COMPILER=clang
fuzz-min-run: $(call outdir,host)/tests/fuzz_heap
	$(Q)rm -rf $(BUILD)/fuzz/min && mkdir -p $(grown) $(BUILD)/fuzz/min
	$(Q)$< -merge=1 -use_counters=0 $(BUILD)/fuzz/min $(corpus) $(grown)
	$(Q)find $(corpus) -type f ! -name 'random-*' -delete && cp $(BUILD)/fuzz/min/* $(corpus)/ && ls $(corpus) | wc -l

fuzz-ops: deps ## random operations on the heap (OPS=, SEED=); a program that fails is kept in build/fuzz
	$(Q)$(MAKE) --no-print-directory fuzz-ops-run FLAVOUR=$(FLAVOUR)
fuzz-ops-run: $(call outdir,host)/tests/random_ops
	$(Q)mkdir -p $(BUILD)/fuzz
	$(Q)$< $(OPS) $(if $(SEED),$(SEED),20261124) $(BUILD)/fuzz/failed

soak-oom: $(call outdir,host)/tests/test_oom ## random operations with the live set at 16 MiB (SOAK_SECONDS=, SEED=)
	$(Q)SEED=$(SEED) SOAK=$(SOAK_SECONDS) $< soak

T ?=
TIMEOUT ?= 600
CONFIGS ?= host fake-x86_64 fake-aarch64
test_bins = $(foreach c,$(CONFIGS),$(foreach b,$(test_bins_$(c)),$(if $(T),$(if $(findstring $(T),$(notdir $(b))),$(b)),$(b))))

.PHONY: test test-flavour test-build mutants
test-build: $(test_bins)

test-flavour: $(test_bins)
	$(Q)$(if $(strip $(test_bins)),,echo "no test has the word '$(T)'; there are: $(sort $(foreach c,$(CONFIGS),$(notdir $(test_bins_$(c)))))"; exit 1)
	$(Q)SEED=$(SEED) python3 tests/tools/taprun.py --timeout $(TIMEOUT) $(test_bins)

test: deps ## host tests: plain, ASan+UBSan, TSan where threads run (T=, SEED=)
	$(Q)$(MAKE) --no-print-directory test-flavour FLAVOUR=debug
	$(Q)$(MAKE) --no-print-directory test-flavour FLAVOUR=asan
	$(Q)$(MAKE) --no-print-directory test-flavour FLAVOUR=tsan T=$(if $(T),$(T),thread)

ONLY ?=
SOAK ?= 2
.PHONY: test-qemu test-qemu-flavour
recorded = $(BUILD)/ls.loamtrace
test-qemu-flavour: images embed
	$(Q)$(MAKE) --no-print-directory record PROG='ls -lR .' OUT=$(recorded)
	$(Q)python3 tests/tools/taprun.py --timeout 3600 \
		$(foreach a,x86_64 aarch64,'python3 tests/tools/qemu_test.py --trace $(TRACE) --soak $(SOAK) $(if $(ONLY),--only "$(ONLY)") --embed $(embed_image_$(a)) --recorded $(recorded) $(a)=$(image_$(a))')

test-qemu: deps ## boot tests, both ISAs: self-tests, main job, faults, CPUs, bad input (ONLY=, SOAK=seconds)
	$(Q)$(MAKE) --no-print-directory test-qemu-flavour FLAVOUR=debug
	$(Q)$(MAKE) --no-print-directory test-qemu-flavour FLAVOUR=release ONLY='$(if $(ONLY),$(ONLY),main job)'

.PHONY: soak
soak: deps ## one program with a write barrier and without, both ISAs, 4 CPUs: the same must be live (SOAK_SECONDS=3600, SEED=)
	$(Q)$(MAKE) --no-print-directory images FLAVOUR=debug
	$(Q)python3 -u tests/tools/soak.py --seconds $(if $(filter command line environment,$(origin SOAK_SECONDS)),$(SOAK_SECONDS),3600) \
		--seed $(if $(SEED),$(SEED),1) $(foreach a,x86_64 aarch64,$(a)=$(subst -release,-debug,$(image_$(a))))

mutants: deps ## seed faults into a copy of the code, one by one, and see the tests fail (ONLY=, PART=k/n)
	$(Q)python3 tests/tools/taprun.py --timeout 3600 'python3 tests/tools/mutants.py $(if $(ONLY),--only "$(ONLY)") $(if $(PART),--part $(PART))'

# What clang-format and clang-tidy look at.
c_sources = $(shell find include arch mm gc boot tests -name '*.[ch]')
.PHONY: lint fmt fmt-check db tidy sys-table
sys_table_test = $(call outdir,host)/tests/test_sys
sys-table: $(sys_table_test) ## the table of bad input in mm/README.md, from the test
	$(Q)SYS_TABLE=1 $< 2>&1 >/dev/null | grep '^|'

lint: $(call outdir,x86_64)/libloam.a $(call outdir,aarch64)/libloam.a $(sys_table_test) ## layering, headers, archive symbols, documents, tags
	$(Q)python3 tests/tools/taprun.py 'python3 tests/lint/lint.py --x86_64 $(call outdir,x86_64)/libloam.a --aarch64 $(call outdir,aarch64)/libloam.a --sys-table $(sys_table_test)'

fmt: ## format all C sources in place
	$(Q)$(CLANG_FORMAT) -i $(c_sources)

fmt-check: ## fail if fmt would change anything
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(c_sources)

tidy: db ## clang-tidy over the product
	$(Q)printf '%s\n' $(wildcard mm/*.c gc/*.c boot/*.c arch/x86_64/*.c arch/aarch64/*.c boot/x86_64/*.c boot/aarch64/*.c) | \
		xargs -P $(shell nproc) -n 6 $(CLANG_TIDY) -p . --quiet 2>/dev/null

db: ## compile_commands.json for editors and clang-tidy
	$(Q)python3 tests/tools/compile_db.py "$(MAKE)" > compile_commands.json
	$(Q)echo "wrote compile_commands.json"

.PHONY: bench bench-boot bench-vm bench-pause bench-frames bench-heap bench-growth bench-gc bench-instructions bench-programs test-all
bench: bench-boot bench-vm bench-pause bench-frames bench-heap bench-growth bench-gc bench-instructions ## all benchmarks; rows go to build/bench/results.csv

bench-boot: ## guest time to boot, by size of RAM
	$(Q)$(MAKE) --no-print-directory images FLAVOUR=release
	$(Q)python3 tests/bench/boot.py --csv $(BUILD)/bench/results.csv \
		$(foreach a,x86_64 aarch64,$(a)=$(subst -debug,-release,$(image_$(a))))

bench-vm: ## ns per page of faults, populate, unmap, protect: ours beside Linux in the same emulator
	$(Q)$(MAKE) --no-print-directory images FLAVOUR=release
	$(Q)python3 tests/bench/vm.py --out $(BUILD)/bench --csv $(BUILD)/bench/results.csv \
		$(foreach a,x86_64 aarch64,$(a)=$(subst -debug,-release,$(image_$(a))))

pauses = $(BUILD)/bench/pause
bench-pause: deps ## stops and utilisation by live heap, in the emulator, both ISAs; a plot (QUICK=1, ONLY=pattern)
	$(Q)$(MAKE) --no-print-directory images FLAVOUR=release
	$(Q)python3 tests/bench/pause.py $(if $(filter 1,$(QUICK)),--quick) $(if $(ONLY),--only '$(ONLY)') --csv $(BUILD)/bench/results.csv \
		--data $(pauses).csv $(foreach a,x86_64 aarch64,$(a)=$(subst -debug,-release,$(image_$(a))))
	$(Q)gnuplot -e 'csv="$(pauses).csv"; svg="$(pauses).svg"' tests/bench/pause.gp
	$(Q)echo "plot: $(pauses).svg"

# The frame allocator alone, with a RAM that is never touched.
$(BUILD)/bench/frames: tests/bench/frames.c mm/numa.c mm/zone.c mm/frame.c mm/framecache.c mm/buddy.c mm/early.c mm/memmap.c mm/lockrank.c
	$(Q)mkdir -p $(@D)
	$(Q)$(HOST_CC) $(common) -O2 -pthread -D_GNU_SOURCE -DLOAM_DEBUG=0 $(test_cflags) -Itests/bench -Iarch/$(host_arch) $^ -o $@
bench-frames: deps $(BUILD)/bench/frames ## ns to take and give frames, by threads, RAM and order; fragmentation; a plot (host)
	$(Q)$(BUILD)/bench/frames > $(BUILD)/bench/frames.csv
	$(Q)awk -F, '{printf "%-9s %s threads  %-55s %8s %s\n", $$2, $$5, $$6, $$7, $$8}' $(BUILD)/bench/frames.csv
	$(Q)test -f $(BUILD)/bench/results.csv || echo bench,workload,subject,version,threads,metric,value,unit > $(BUILD)/bench/results.csv
	$(Q)cat $(BUILD)/bench/frames.csv >> $(BUILD)/bench/results.csv
	$(Q)gnuplot -e 'csv="$(BUILD)/bench/frames.csv"; svg="$(BUILD)/bench/frames.svg"' tests/bench/frames.gp
	$(Q)echo "plot: $(BUILD)/bench/frames.svg"

# The heap beside others: a program a subject, all from one source (tests/bench/subject).
heap_subjects  := loam loam-gc mimalloc jemalloc glibc bdwgc none
count_subjects := loam mimalloc jemalloc glibc
heap_libs_loam     = $(call outdir,host)/libloam.a
heap_libs_loam-gc  = $(call outdir,host)/libloam.a
heap_libs_loam-4k  = $(call outdir,host)/libloam.a
heap_libs_mimalloc = -lmimalloc
heap_libs_jemalloc = -ljemalloc
heap_libs_bdwgc    = -lgc
# The decoder of traces alone is taken from boot/replay.c; the linker drops the rest.
heap_cflags = $(common) -O2 -pthread -D_GNU_SOURCE -DLOAM_DEBUG=0 $(test_cflags) -ffunction-sections -Wl,--gc-sections
$(BUILD)/bench/heap-%: tests/bench/heap.c boot/replay.c tests/bench/subject/%.h $(wildcard tests/bench/subject/*.h) $(call outdir,host)/libloam.a
	$(Q)mkdir -p $(@D)
	$(Q)echo "  LD      $@"
	$(Q)$(HOST_CC) $(heap_cflags) -DHEAP_SUBJECT='"tests/bench/subject/$*.h"' $(filter %.c,$^) $(heap_libs_$*) -o $@
$(BUILD)/bench/instructions-%: tests/bench/instructions.c tests/bench/subject/%.h $(wildcard tests/bench/subject/*.h) $(call outdir,host)/libloam.a
	$(Q)mkdir -p $(@D)
	$(Q)echo "  LD      $@"
	$(Q)$(HOST_CC) $(heap_cflags) -DHEAP_SUBJECT='"tests/bench/subject/$*.h"' $(filter %.c,$^) $(heap_libs_$*) -o $@
$(BUILD)/bench/heap-go: tests/bench/heap_go/main.go
	$(Q)mkdir -p $(@D)
	$(Q)echo "  GO      $@"
	$(Q)GO111MODULE=off GOTOOLCHAIN=local GOPROXY=off go build -o $@ $<

# Collectors: a program a subject, all from one source; the names loam has already are found in its headers.
gc_subjects := loam loam-4k bdwgc mimalloc
gc_has = $(if $(shell grep -l '\<$(1)\>' include/loam/*.h),1,0)
gc_flags_loam = -DLOAM_BENCH_BARRIER=$(call gc_has,LOAM_BARRIER_SOFTWARE) -DLOAM_BENCH_STORE=$(call gc_has,loam_store) \
	-DLOAM_BENCH_PAUSE_MAX=$(call gc_has,pause_max_ns) -Wl,--wrap=loam_host_world_stop,--wrap=loam_host_world_start
gc_flags_loam-4k = $(gc_flags_loam)
$(BUILD)/bench/gc-%: tests/bench/gc.c tests/bench/subject/gc-%.h $(wildcard tests/bench/subject/*.h include/loam/*.h) $(call outdir,host)/libloam.a
	$(Q)mkdir -p $(@D)
	$(Q)echo "  LD      $@"
	$(Q)$(HOST_CC) $(heap_cflags) $(gc_flags_$*) -DGC_SUBJECT='"tests/bench/subject/gc-$*.h"' $(filter %.c,$^) $(heap_libs_$*) -o $@
$(BUILD)/bench/gc-go: tests/bench/gc_go/main.go
	$(Q)mkdir -p $(@D)
	$(Q)echo "  GO      $@"
	$(Q)GO111MODULE=off GOTOOLCHAIN=local GOPROXY=off go build -o $@ $<

go_programs = $(BUILD)/bench/heap-go $(BUILD)/bench/gc-go
bench-programs: deps
	$(Q)$(MAKE) -s --no-print-directory FLAVOUR=release \
		$(heap_subjects:%=$(BUILD)/bench/heap-%) $(count_subjects:%=$(BUILD)/bench/instructions-%) \
		$(gc_subjects:%=$(BUILD)/bench/gc-%)
	$(Q)rm -f $(if $(shell command -v go),,$(go_programs))
	$(Q)$(if $(shell command -v go),$(MAKE) -s --no-print-directory $(go_programs),echo 'go: no toolchain')

QUICK ?=
heap_args = --csv $(BUILD)/bench/results.csv --programs $(BUILD)/bench $(if $(filter 1,$(QUICK)),--quick)
bench-heap: bench-programs ## the heap beside mimalloc, jemalloc, glibc, bdwgc and Go (host; QUICK=1, ONLY=)
	$(Q)python3 tests/bench/heap.py $(heap_args) --traces tests/tools/traces $(if $(ONLY),--only '$(ONLY)')

bench-growth: bench-programs ## time for an operation against live heap, 1 MiB to 4 GiB; a plot (host; QUICK=1)
	$(Q)python3 tests/bench/growth.py $(heap_args) --out $(BUILD)/bench/heap-growth.csv
	$(Q)gnuplot -e 'csv="$(BUILD)/bench/heap-growth.csv"; svg="$(BUILD)/bench/heap-growth.svg"' tests/bench/growth.gp
	$(Q)echo "plot: $(BUILD)/bench/heap-growth.svg"

curve = $(BUILD)/bench/gc-curve
bench-gc: bench-programs ## the collector beside Go, bdwgc and mimalloc: time, stalls, stops; a plot (host; QUICK=1, ONLY=)
	$(Q)rm -f $(curve).csv
	$(Q)python3 tests/bench/gc.py $(heap_args) --curve $(curve).csv $(if $(ONLY),--only '$(ONLY)')
	$(Q)if test -f $(curve).csv; then \
		gnuplot -e 'csv="$(curve).csv"; svg="$(curve).svg"' tests/bench/gc.gp && echo "plot: $(curve).svg"; fi

bench-instructions: bench-programs ## instructions of an allocation and of a free, beside others (host, Valgrind)
	$(Q)python3 tests/bench/instructions.py --csv $(BUILD)/bench/results.csv --programs $(BUILD)/bench

test-all: ## everything that the gate runs
	$(Q).ci/run

.PHONY: model
model: deps ## Spin models of the protocols, and their broken twins, which must fail
	$(Q)python3 tests/tools/taprun.py --timeout 1800 'python3 tests/tools/model.py $(wildcard tests/model/*.pml)'
