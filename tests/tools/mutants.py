#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Break the code, one seeded fault at a time, and see the tests fail. Prints TAP.

Usage: mutants.py [--only WORD] [--jobs N]

Works on a copy of the tree. A fault that no test notices is `not ok`, and so is one whose place
in the code is gone: the list below must follow the code.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# name, file, what stands there, what the fault makes of it, tests that must notice, on which configs
BOTH = ("fake-x86_64", "fake-aarch64")
HOST = ("host",)
BOOT = ("boot-x86_64", "boot-aarch64")  # the test is a word in the name of a boot
MUTANTS = [
    ("unmap forgets to invalidate", "mm/ptab.c",
     "\t\t\t\tpages++;\n", "\t\t\t\t(void)0;\n", "ptab", BOTH),
    ("unmap forgets the last page of a row", "mm/ptab.c",
     "end - pages * LOAM_PAGE_SIZE, pages,", "end - pages * LOAM_PAGE_SIZE, pages - 1,", "ptab", BOTH),
    ("unmap invalidates the wrong level", "mm/ptab.c",
     "loam_tlb_batch_add(batch, slot.va, 1, slot.level, false);",
     "loam_tlb_batch_add(batch, slot.va, 1, 0, false);", "ptab", BOTH),
    ("map forgets to publish", "mm/ptab.c",
     "\tloam_pt_publish(pt->mmu);\n\treturn LOAM_OK;\n}\n\nstatic struct fill fill_map",
     "\treturn LOAM_OK;\n}\n\nstatic struct fill fill_map", "ptab", BOTH),
    ("protect forgets to publish", "mm/ptab.c",
     "\t\tloam_tlb_batch_add(batch, first, count, level, false);\n\tloam_pt_publish(pt->mmu);\n",
     "\t\tloam_tlb_batch_add(batch, first, count, level, false);\n", "ptab", BOTH),
    ("rights of a row are taken and its end is remembered", "mm/ptab.c",
     "\tif (count > 0)\n\t\tloam_tlb_batch_add(batch, first, count, level", "\tif (count > 1)\n\t\tloam_tlb_batch_add(batch, first, count - 1, level",
     "ptab", BOTH),
    ("valid to valid without break-before-make", "mm/ptab.c",
     "\tif (change == LOAM_PTE_BREAK)\n\t\t(void)break_slot(pt, slot);\n", "", "test_sys", BOTH),
    ("break without waiting for the TLBs", "mm/ptab.c",
     "\tinvalidate_slot(pt, slot, slot->kind);\n\treturn old;", "\treturn old;", "ptab", BOTH),
    ("a leaf becomes a table in place", "mm/ptab.c",
     "\told = break_slot(pt, slot);\n", "\told = slot->pte;\n", "ptab", BOTH),
    ("an empty table goes back while CPUs cache the way to it", "mm/ptab.c",
     "loam_tlb_batch_add(batch, va, 1, slot.level - 1, true);",
     "loam_tlb_batch_add(batch, va, 1, slot.level - 1, false);", "ptab", BOTH),
    ("a dirty bit set meanwhile is overwritten", "mm/ptab.c",
     "loam_pte_attr(pt->mmu, break_slot(pt, slot), slot->level);",
     "(break_slot(pt, slot), loam_pte_attr(pt->mmu, slot->pte, slot->level));", "ptab", ("fake-aarch64",)),
    ("rights are taken away without invalidating", "mm/ptab.c",
     "(LOAM_ATTR_WRITE | LOAM_ATTR_EXEC | LOAM_ATTR_USER)) != 0",
     "(LOAM_ATTR_EXEC | LOAM_ATTR_USER)) != 0", "ptab", BOTH),
    ("a table is linked with an entry that maps it", "mm/ptab.c",
     "\tif (hole < LOAM_PT_ENTRIES)\n", "\tif (hole > LOAM_PT_ENTRIES)\n", "test_sys", BOTH),
    ("frames are released before the invalidation", "mm/tlb.c",
     "\tif (order == 0) {\n",
     "\tif (loam_frame_free(pfn, order) == LOAM_OK)\n\t\treturn;\n\tif (order == 0) {\n", "tlb", BOTH),
    ("a range of a batch loses its last page", "mm/tlb.c",
     "\trange->count += count;\n", "\trange->count += count > 1;\n", "tlb", BOTH),
    ("commit hands out memory that is not zero", "mm/commit.c",
     "(prepared_bytes - taken) / LOAM_PAGE_SIZE, LOAM_FRAME_ZERO, owner);",
     "(prepared_bytes - taken) / LOAM_PAGE_SIZE, 0, owner);", "test_sys", BOTH),
    ("a huge commit leaks the table it replaces", "mm/commit.c",
     "\tloam_frame_list_free(&tables);\n", "", "test_sys", BOTH),
    ("collapse copies one page too few", "mm/commit.c",
     "\t\tmemcpy(loam_frame_ptr(", "\t\tif (i + 1 < LOAM_PT_ENTRIES)\n\t\tmemcpy(loam_frame_ptr(",
     "test_sys", BOTH),
    ("a contiguous run is cut and stays one", "mm/ptab.c",
     "\tloam_contig_cut(pt, va);\n", "", "huge", ("fake-aarch64",)),
    ("a run is unfolded and remembered by TLBs", "mm/contig.c",
     "\tif (!pt->mmu->bbm2)\n\t\tloam_tlb_everywhere(pt->mmu, va", "\tif (false)\n\t\tloam_tlb_everywhere(pt->mmu, va",
     "huge", ("fake-aarch64",)),
    ("what is noted of a run is known of one page alone", "mm/contig.c",
     "\treturn attr & NOTED;", "\treturn loam_pte_attr(pt->mmu, slot->pte, slot->level) & NOTED;", "huge",
     ("fake-aarch64",)),
    ("runs are made where memory is not aligned alike", "mm/contig.c",
     "!loam_is_aligned(pa.raw, LOAM_CONTIG_ENTRIES * loam_level_size(slot->level))", "pa.raw == 1", "huge",
     ("fake-aarch64",)),
    ("the table kept with a leaf of 1 GiB is lost", "mm/space.c",
     "\t\t\tfree_deposit(&slot);\n\t\tif (slot_last", "\t\t\t(void)0;\n\t\tif (slot_last", "huge", BOTH),
    ("a huge leaf that goes whole leaves its run in pieces", "mm/space.c",
     "split && !sticks_out && prepare_whole(&slot)", "split && sticks_out && prepare_whole(&slot)", "huge", BOTH),
    ("demand paging fills 2 MiB past the limit", "mm/demand.c",
     "r->hugepage && loam_sys_may_fill(LOAM_HUGE_SIZE)", "true", "test_vm", BOTH),
    ("memory moves before it is forgotten at its old address", "mm/move.c",
     "\t\tloam_tlb_batch_finish(&batch); /* [MOVE-1] */\n\t\tput_in(&m, done, end);\n",
     "\t\tput_in(&m, done, end);\n\t\tloam_tlb_batch_finish(&batch);\n", "test_move", BOTH),
    ("a table moves while CPUs cache the way to it", "mm/move.c",
     "to->va, 1, LOAM_LEVEL_PAGE, true);", "to->va, 1, LOAM_LEVEL_PAGE, false);", "test_move", BOTH),
    ("a page is moved to while its old frame waits", "mm/move.c",
     "\tloam_epoch_settle(to, size);\n", "", "test_move", BOTH),
    ("a leaf that cannot move whole is not counted", "mm/move.c",
     " || unit_level(m, va - m->from) < level)", ")", "test_move", BOTH),
    ("a run moves to where it cannot be one", "mm/move.c",
     "!loam_is_aligned(m->from ^ m->to, LOAM_CONTIG_ENTRIES * loam_level_size(level));", "false;", "test_move",
     ("fake-aarch64",)),
    ("what is noted of a run is lost where it moves", "mm/move.c",
     "\t\tattr |= loam_pte_attr(mmu, in_flight[i].from, level) & noted;\n", "\t\tattr |= 0 & noted;\n", "test_move",
     ("fake-aarch64",)),
    ("memory moves to another owner", "mm/sys.c",
     "!owned_by(to, size, loam_vspace_find(from)->owner))", "false)", "test_sys", HOST + BOTH),
    ("other CPUs are not asked to forget", "mm/tlb.c",
     "\tif (others != 0) {\n", "\tothers = 0;\n\tif (others != 0) {\n", "tlb", ("fake-x86_64",)),
    ("a CPU answers without forgetting", "mm/tlb.c",
     "\t\tforget(request.mmu, request.all, request.range, request.count);\n", "", "ptab", ("fake-x86_64",)),
    ("demand paging hands out old bytes", "mm/commit.c",
     "\twhile (loam_frame_alloc(0, LOAM_FRAME_ZERO, (enum loam_owner)r->owner, &pfn) != LOAM_OK)",
     "\twhile (loam_frame_alloc(0, 0, (enum loam_owner)r->owner, &pfn) != LOAM_OK)", "test_vm", BOTH),
    ("memory of the heap's can be mapped by anybody", "mm/vm.c",
     "if ((owner != LOAM_OWNER_HOST && owner != LOAM_OWNER_TEST) ||", "if (", "test_vm", BOTH),
    ("a mapping may end beyond what the CPU can address", "mm/vm.c",
     "!loam_mmu_pa_ok(mmu, pa.raw, size)", "!loam_mmu_pa_ok(mmu, pa.raw, 1)", "test_vm", BOTH),
    ("the fault handler takes a lock that this CPU holds", "mm/demand.c",
     "\tif (loam_lockrank_held())\n\t\treturn mend(fault, false);\n", "", "test_vm", BOTH),
    ("a page is filled by whoever holds a lock", "mm/demand.c", "\tif (!locked || f->access", "\tif (f->access", "test_vm", BOTH),
    ("a write to the caller's stack under a lock is a bug", "mm/demand.c",
     "\t\treturn mend(fault, false);\n", "\t\treturn false;\n", "test_dirty", BOTH),
    ("write tracking: leaves are told before CPUs know that tables are closed", "mm/dirty.c",
     "\t\tflush(&p); /* [DIRTY-2] */\n", "\t\t(void)0;\n", "dirty", BOTH),
    ("write tracking: CPUs remember notes that are gone", "mm/dirty.c",
     "\t\tflush(&p); /* [DIRTY-3] */\n", "\t\t(void)0;\n", "dirty", BOTH),
    ("write tracking: told first, closed afterwards", "mm/dirty.c",
     "\tgo_through(&p, base, size, close_some);\n\tif (p.closed)\n\t\tflush(&p); /* [DIRTY-2] */\n"
     "\tgo_through(&p, base, size, tell_some);\n\tif (p.cleared)\n",
     "\tgo_through(&p, base, size, tell_some);\n\tif (p.cleared)\n\t\tflush(&p);\n"
     "\tgo_through(&p, base, size, close_some);\n\tif (p.closed)\n", "dirty", BOTH),
    ("write tracking: a first write does not open the table entry", "mm/demand.c",
     "\t\tloam_dirty_open(pt, slot->va); /* first: [DIRTY-1] */\n", "", "dirty", BOTH),
    ("write tracking: an entry that a write has opened is closed", "mm/dirty.c",
     "(attr_of(p, slot->pte, slot->level) & LOAM_ATTR_WRITE) == 0 &&\n\t    va == slot->va",
     "attr_of(p, slot->pte, slot->level) != 0 &&\n\t    va == slot->va", "dirty", BOTH),
    ("write tracking: what is outside of the range is closed too", "mm/dirty.c",
     "== 0 || slot->va < va ||\n\t    loam_ptab_slot_last(slot) > last)", "== 0)", "dirty", BOTH),
    ("write tracking: a leaf that sticks out loses its note", "mm/dirty.c",
     "if (p->clear && inside(s, va, size)) {", "if (p->clear) {", "dirty", BOTH),
    ("write tracking: aliases are passed by", "mm/dirty.c", "n <= alias_count; n++) {\n\t\tuint64_t va = 0;\n\n\t\tif (span_get(n, base, size, &s))\n\t\t\tva = s.va;\n\t\twhile (va != 0 && va <= s.last) {",
     "n < 1; n++) {\n\t\tuint64_t va = 0;\n\n\t\tif (span_get(n, base, size, &s))\n\t\t\tva = s.va;\n\t\twhile (va != 0 && va <= s.last) {", "dirty", BOTH),
    ("write tracking: a look passes by what moved amid a round", "mm/dirty.c",
     "slot.kind == LOAM_PTE_TABLE && attr_of(p, slot.pte, slot.level) != 0)",
     "slot.kind == LOAM_PTE_TABLE && (attr_of(p, slot.pte, slot.level) == LOAM_ATTR_WRITE || p->clear))", "dirty_model", BOTH),
    ("write tracking: a split forgets what was noted at the last moment", "mm/ptab.c",
     "\tattr = loam_pte_attr(pt->mmu, old, slot->level);\n", "\tattr = loam_pte_attr(pt->mmu, old, slot->level) & ~LOAM_ATTR_DIRTY;\n", "dirty", BOTH),
    ("write tracking: what is gathered into a huge leaf was not written", "mm/commit.c",
     "\treturn noted & LOAM_ATTR_DIRTY;\n", "\treturn noted & 0;\n", "dirty", BOTH),
    ("write tracking: written pages move to below a closed entry", "mm/move.c",
     "\t\t\tloam_dirty_open(m->pt, to.va); /* [DIRTY-5] */\n", "\t\t\t(void)0;\n", "dirty", BOTH),
    ("write tracking: read-only memory forgets that it was written", "mm/ptab.c",
     "\tconst uint32_t noted = LOAM_ATTR_ACCESSED | LOAM_ATTR_DIRTY;\n",
     "\tconst uint32_t noted = (attr & LOAM_ATTR_WRITE) != 0 ? LOAM_ATTR_ACCESSED | LOAM_ATTR_DIRTY : LOAM_ATTR_ACCESSED;\n", "dirty", BOTH),
    ("write tracking: fresh memory counts as written", "mm/commit.c",
     "mmu_of()->hw_dirty || loam_dirty_tracks(owner) ?", "mmu_of()->hw_dirty ?", "dirty", ("fake-aarch64",)),
    ("a run that is unmade in place is remembered by TLBs", "mm/contig.c",
     "\t\tnote_all(pt, slot->table, first, level, noted);\n", "\t\t(void)note_all;\n", "dirty_model", ("fake-aarch64",)),
    ("write tracking on Linux: a look protects again", "arch/host/dirty.c",
     "clear ? SCAN_WP | SCAN_CHECK : 0", "SCAN_WP", "test_dirty", HOST),
    ("write tracking on Linux: a round protects nothing", "arch/host/dirty.c",
     "clear ? SCAN_WP | SCAN_CHECK : 0", "0", "test_dirty", HOST),
    ("a leaf may be executed though it must not", "arch/x86_64/isa/pte.h",
     "mmu->nx && (attr & LOAM_ATTR_EXEC) == 0 ? LOAM_X86_XD : 0", "0", "pte", ("fake-x86_64",)),
    ("LPA2 loses the top address bits", "arch/aarch64/isa/pte.h",
     "((pa >> 50) & 3) << LOAM_ARM_SH_SHIFT", "((pa >> 51) & 3) << LOAM_ARM_SH_SHIFT", "pte",
     ("fake-aarch64",)),
    ("a run is freed with any order", "mm/frame.c",
     "r->state == LOAM_FRAME_HEAD && r->order == order", "r->state == LOAM_FRAME_HEAD", "frame", BOTH),
    ("a failed list keeps what it took", "mm/frame.c",
     "\t\tloam_frame_list_free(&dirty);\n\t\treturn LOAM_NOMEM;", "\t\treturn LOAM_NOMEM;", "frame", BOTH),
    ("a frame can be freed twice at once", "mm/frame.c",
     "\tif (owner == LOAM_OWNER_NONE)\n\t\treturn LOAM_INVAL;\n\tpoison_write(pfn, 0);", "\tpoison_write(pfn, 0);",
     "frame", BOTH),
    ("caches keep their frames when memory is out", "mm/frame.c",
     "\tif (err != LOAM_OK && !failing() && loam_framecache_drain(false)) {\n", "\tif (false) {\n", "frame", BOTH),
    ("anybody may have what is kept for interrupt handlers", "mm/frame.c",
     "(flags & LOAM_FRAME_IRQ) != 0 && order", "order", "frame", BOTH),
    ("what is freed does not fill the reserve", "mm/framecache.c",
     "reserve_is_full() && reserve_put(pfn", "reserve_is_full() && keep == 0 && reserve_put(pfn", "frame", BOTH),
    ("a frame of another node stays with the CPU that freed it", "mm/frame.c",
     "loam_numa_nodes == 1 || loam_zone_of(pfn)->node", "true || loam_zone_of(pfn)->node", "frame", BOTH),
    ("a strict request is served by another node", "mm/frame.c",
     "if (z == NULL && !place->strict)", "if (z == NULL)", "frame", BOTH),
    ("another node's frames go before known-zero ones", "mm/frame.c",
     "\tnear.strict = true; /*", "\tnear.strict = place->strict; /*", "frame", BOTH),
    ("a CPU that is moved keeps what it has", "mm/numa.c",
     "\t(void)loam_framecache_drain(false); /*", "\t(void)cpu; /*", "frame", BOTH),
    ("a zone has memory of two nodes", "mm/zone.c",
     "z->node != node || end", "end", "frame", BOTH),
    ("memory that the SRAT calls off has a node", "boot/acpi.c",
     "e[1] >= 40 && (le32(e + 28) & 1) != 0)", "e[1] >= 40)", "test_boot", HOST),
    ("a broken SRAT is half believed", "boot/acpi.c",
     "\tmap->node_range_count = 0;\n", "", "test_boot", HOST),
    ("a node's number is the firmware's", "boot/map.c",
     "\t\t\tm->node_range[kept++].node = n;\n", "\t\t\tkept++;\n", "test_boot", HOST),
    ("CPUs of the device tree have no node", "boot/fdt.c",
     "n->has_numa_node ? (uint64_t)n->numa_node + 1 : 0", "0", "test_boot", HOST),
    ("only one alike neighbour is merged", "mm/vspace.c",
     "\twhile ((next = loam_vspace_next(r)) != NULL && alike(r, next))",
     "\tif ((next = loam_vspace_next(r)) != NULL && alike(r, next))", "vspace", HOST),
    ("free forgets a part that was Prepared", "mm/sys.c",
     "\t\tprepared[r->owner] += sign > 0 ? c.prepared_bytes : -c.prepared_bytes;\n",
     "\t\tprepared[r->owner] += sign > 0 ? c.prepared_bytes : 0;\n", "test_sys", HOST + BOTH),
    ("the limit is off by one page", "mm/sys.c",
     "bytes <= limit_bytes - ready_total", "bytes <= limit_bytes + 4096 - ready_total",
     "test_sys", HOST),
    ("reserved memory is rounded inward", "mm/memmap.c",
     "range_cut(map, loam_align_down(base, LOAM_PAGE_SIZE), end);",
     "range_cut(map, loam_align_up(base, LOAM_PAGE_SIZE), end);", "memmap", HOST),
    ("early memory stays in the map", "mm/early.c",
     "\t\tloam_memmap_reserve(map, base, size);\n", "", "memmap", HOST),
    ("pointer bits are not backed up to the span's end", "gc/typed.c",
     "i <= (page + span->pages - 1) / PIECE_PAGES; i++)", "i < (page + span->pages - 1) / PIECE_PAGES; i++)", "test_gc", HOST),
    ("the one pointer of two words is taken for the other", "gc/typed.c",
     "type->size == LOAM_GRANULE && type_bit(type, 1)", "type->size == LOAM_GRANULE && type_bit(type, 0)", "objects", HOST),
    ("a free by another thread is not announced", "gc/remote.c",
     "\tif (!announce(span, owner))\n\t\tsend_on(cache, span);\n\treturn LOAM_OK;", "\treturn LOAM_OK;", "thread_remote", HOST),
    ("the middle of an object can be freed", "gc/free.c", "(uint32_t)quotient >= span->magic || ", "", "test_heap", HOST),
    ("a full span with a slot freed stays off the lists", "gc/free.c", "if (__builtin_expect(care == LOAM_CARE_FULL, 0))", "if (false)",
     "test_heap", HOST),
    ("a pair's pointer is always its first word", "gc/alloc.c", "slot, pointers >> 1, 1);", "slot, 0, 1);", "test_objects", HOST),
    ("pages are fresh for ever", "gc/pageheap.c", "\tph->fresh = end;\n", "", "test_pageheap", HOST),
    ("given-back pages are fresh when they come again", "gc/pageheap.c",
     "ph->fresh_end = ph->fresh; /* [PAGES-3] */", "ph->fresh = ph->fresh + 0;", "test_pageheap", HOST),
    ("a cache's pages that were used are zero still", "gc/pageheap.c", "\t\tpc->zero &= ~mask;\n", "", "test_pageheap", HOST),
    ("memory is made Ready ahead past a limit", "gc/pageheap.c", "!loam_scavenge_room(LOAM_HUGE_HEAP_PAGES) ||", "false ||",
     "test_pageheap", HOST),
    ("the heap never makes a whole huge page Ready", "gc/pageheap.c", "huge = take_rest_locked(pc);", "huge = take_rest_locked(pc) && false;",
     "test_pageheap", HOST),
    ("a page cache takes pages that are too few", "gc/pagealloc.c", "uint64_t at = find(pa, pages), chunk;",
     "uint64_t at = find(pa, 1), chunk;", "test_pagealloc", HOST),
    ("the scavenger keeps everything", "gc/scavenge.c", "return goal != 0 && have > goal ? have - goal : 0;", "return have > goal ? 0 : 0;",
     "test_pageheap", HOST),
    ("the scavenger's goal is less than what is in use", "gc/scavenge.c", "\tif (keep < h->pages.used)\n\t\tkeep = h->pages.used;\n", "",
     "test_pageheap", HOST),
    ("claimed slots are swept", "gc/mark.c",
     "\t\t\tbin->span->mark_bits[bin->span->window_word] |= loam_bin_claimed(bin);\n", "", "test_gc", HOST),
    ("small slots that were used are not zeroed", "gc/alloc.c",
     "memset(take(bin, &bin->dirty), 0, bin->slot_bytes);", "(void)take(bin, &bin->dirty);", "test_heap", HOST),
    ("what is pinned can be freed", "gc/free.c",
     "\tif (span->special && loam_pin_count(", "\tif (false && loam_pin_count(", "objects", HOST),
    ("an interior pointer can be freed", "gc/free.c",
     "\tif (addr != span->base + slot * span->slot_bytes)\n", "\tif (false)\n", "test_heap", HOST),
    ("pages that had memory are taken for zero", "gc/pageheap.c",
     "*zeroed = *scavenged + take_fresh(at, pages, &from) == pages;", "*zeroed = take_fresh(at, pages, &from) <= pages;",
     "test_heap", HOST),
    ("free pages: a change is not passed up", "gc/pagealloc.c",
     "\t\t\tchanged = changed || pa->level[level - 1][i] != sum;\n", "", "pagealloc", HOST),
    ("free pages: densely used chunks are not spared", "gc/scavindex.c",
     "\treturn use->in_use < DENSE && (", "\treturn true || (", "pagealloc", HOST),
    ("no fence stands behind an object", "gc/efence.c",
     "\tloam_pages_fence(end, 1);\n", "", "objects", HOST),
    ("a failed table is taken for reserved", "gc/table.c",
     "\tif (err == LOAM_OK)\n\t\ttable->size = bytes;\n\treturn err;", "\ttable->size = bytes;\n\treturn err;", "oom", HOST),
    ("what overflowed the mark stack is forgotten", "gc/mark.c",
     "\t\toverflowed = true;\n", "", "test_gc", HOST),
    ("a scan leaves out the last word", "gc/mark.c",
     "for (; at < end; at++) {", "for (; at + 1 < end; at++) {", "test_gc", HOST),
    ("a scan looks at three words of four", "gc/mark.c", "if ((at[0] | at[1] | at[2] | at[3]) != 0) {",
     "if ((at[0] | at[1] | at[2]) != 0) {", "test_gc", HOST),
    ("a block that grows has old bytes behind its end", "gc/alloc.c",
     "memset(p + keep, 0, slot_bytes - keep);", "memset(p + keep, 0, (slot_bytes - keep) / 2);", "test_heap", HOST),
    ("memory moves where there is room to copy to", "gc/pageheap.c", "pages - scavenged > old / 2", "pages - scavenged > pages",
     "test_pageheap", HOST),
    ("memory never moves", "gc/pageheap.c", "pages - scavenged > old / 2", "pages - scavenged <= pages", "test_pageheap", HOST),
    ("an epoch is passed without a flush", "mm/epoch.c",
     "\tloam_tlb_local_all(mmu_used);\n", "", "epoch", BOTH),
    ("the way out of idle does not flush", "mm/epoch.c",
     "\t\tpassed = catch_up(cpu); /* [EPOCH-3] */\n", "\t\t(void)0;\n", "epoch", BOTH),
    ("a thread asks for its CPU before it has interrupts off", "mm/epoch.c",
     "\tirq = loam_irq_save();\n\tcpu = loam_host_cpu_id();\n", "\tcpu = loam_host_cpu_id();\n\tirq = loam_irq_save();\n",
     "epoch", BOTH),
    ("whoever wakes up last forgets the frames that wait", "mm/epoch.c",
     "another may have passed while this one was neither idle nor had passed */\n\tif (passed)",
     "another may have passed while this one was neither idle nor had passed */\n\tif (passed && false)", "epoch", BOTH),
    ("whoever goes offline last forgets the frames that wait", "mm/tlb.c",
     "\tloam_epoch_leave();\n", "", "epoch", BOTH),
    ("a frame goes back an epoch early", "mm/epoch.c",
     "__ATOMIC_SEQ_CST) < stamp &&", "__ATOMIC_SEQ_CST) + 1 < stamp &&", "epoch", BOTH),
    ("busy CPUs count as idle", "mm/epoch.c",
     "&cpu_state[cpu].idle, __ATOMIC_SEQ_CST) == 0)", "&cpu_state[cpu].idle, __ATOMIC_SEQ_CST) == 2)", "epoch", BOTH),
    ("a page whose old frame waits gets a new one", "mm/epoch.c",
     "if (piece_count > 0 && overlaps(base, size))", "if (piece_count > 99 && overlaps(base, size))", "epoch", BOTH),
    ("a page is filled on demand while its old frame waits", "mm/commit.c",
     "\t\tloam_epoch_settle(slot->va, LOAM_PAGE_SIZE);\n", "\t\t(void)0;\n", "epoch", BOTH),
    ("frames that wait are settled without telling the TLBs", "mm/epoch.c",
     "\t\tloam_tlb_everywhere_all(mmu_used);\n", "", "epoch", BOTH),
    ("the registers of an interrupted thread are no roots", "boot/world.c",
     "\t\tif (p->regs != NULL)\n", "\t\tif (false)\n", "one heap, 2 CPUs", BOOT),
    ("the stack of a stopped thread is no root", "boot/world.c",
     "\t\tvisit(arg, (const void *)p->sp,", "\t\tvisit(arg, (const void *)loam_percpu[cpu].stack_high,", "one heap, 2 CPUs", BOOT),
    ("a thread is stopped in the allocator", "boot/world.c",
     "\tif (loam_thread_may_stop(self->thread))\n", "\tif (true)\n", "one heap, 2 CPUs", BOOT),
    ("who stops the world does not wait", "boot/world.c",
     "\t\t\twait_for(cpu, now, began);\n", "\t\t\tif (began == 1)\n\t\t\t\twait_for(cpu, now, began);\n", "one heap, 2 CPUs", BOOT),
    ("a thread attaches while the world is stopped", "boot/world.c",
     "\tuintptr_t irq = enter();\n\tstruct loam_percpu *self", "\tuintptr_t irq = thread ? loam_irq_save() : enter();\n\tstruct loam_percpu *self",
     "one heap, 2 CPUs", BOOT),
    ("a parked CPU answers no shootdown", "boot/world.c",
     "\t\tloam_cpu_poll(); /* [WORLD-4] */\n\t\tloam_cpu_relax();\n\t}\n}\n\nvoid loam_world_interrupt", "\t\tloam_cpu_relax();\n\t}\n}\n\nvoid loam_world_interrupt",
     "one heap, 2 CPUs", ("boot-x86_64",)),
    ("the link register of an interrupted thread is no root", "boot/aarch64/traps.c",
     "loam_world_interrupt(f, f + 1, f->sp);", "loam_world_interrupt(f, &f->x[30], f->sp);", "one heap, 2 CPUs", ("boot-aarch64",)),
    ("whoever has no thread is waited for", "boot/world.c",
     "\t\tif (cpu != self && loam_percpu[cpu].thread != NULL)\n\t\t\twait_for", "\t\tif (cpu != self && loam_percpu[cpu].irqs)\n\t\t\twait_for",
     "one heap, 2 CPUs", BOOT),
    ("memory that persists: pieces overlap where one was aligned", "gc/persistent.c",
     "\t*at = base + bytes;\n", "\t*at += bytes;\n", "fixalloc", HOST),
    ("memory that persists: a range without a record is lost", "gc/persistent.c",
     "\t\tgive_back((uintptr_t)memory, bytes);\n", "", "fixalloc", HOST),
    ("memory that persists: large ranges stay at the end", "gc/persistent.c",
     "\t\tfree_list(pool[o].singles); /* first: their records lie in chunks */\n", "", "fixalloc", HOST),
    ("fixed-size objects: a failed step stays Prepared", "gc/fixalloc.c",
     "\tundone = loam_sys_fault(at, bytes);", "\tundone = LOAM_OK;", "fixalloc", HOST),
    ("fixed-size objects: free ones but the last are forgotten", "gc/fixalloc.c",
     "\t\tf->free = *item;\n", "\t\tf->free = 0;\n", "fixalloc", HOST),
    ("fixed-size objects: a freed one loses its contents", "gc/fixalloc.c",
     "\t*(uint32_t *)item = f->free;\n", "\tmemset(item, 0, f->item_bytes);\n\t*(uint32_t *)item = f->free;\n",
     "fixalloc", HOST),
    ("a kept stack is not marked", "mm/stackpool.c",
     "\tr->pooled = true;\n", "", "stack", BOTH),
    ("a kept stack keeps all that it used", "mm/stackpool.c",
     "loam_sys_unused_locked(r->base, r->size - LOAM_PAGE_SIZE) == LOAM_OK;", "true;", "stack", BOTH),
    ("a stack with other rights is kept", "mm/stackpool.c",
     "r->hugepage || loam_space_plain(r->base + r->size - LOAM_PAGE_SIZE) == NULL", "r->hugepage", "stack", ("fake-x86_64",)),
    ("a stack that was written to after the free is handed out", "mm/stackpool.c",
     "\tcheck_poison(r);\n", "\t(void)check_poison;\n", "stack", BOTH),
    ("kept stacks stay when memory runs short", "mm/sys.c",
     "\t       loam_stackpool_release_locked() > 0;", "\t       false;", "stack", BOTH),
    ("a fault fills a stack that was freed", "mm/demand.c",
     "if (!r->lazy || r->mapped || r->pooled)", "if (!r->lazy || r->mapped)", "stack", BOTH),
    ("shutdown: tables at the root stay", "mm/space.c",
     "\t(void)root_tables(true);\n", "", "shutdown", BOTH),
    ("shutdown: pages of region records stay", "mm/space.c",
     "\tloam_frame_list_free(&records);\n", "", "shutdown", BOTH),
    ("shutdown: known-zero frames stay on their lists", "mm/frame.c",
     "\t\t(void)drain_locked(node);\n", "\t\t(void)node;\n", "shutdown", BOTH),
    ("shutdown: a frame behind no page is no hindrance", "mm/shutdown.c",
     "frames[o]);\n", "0 * frames[o]);\n", "shutdown", BOTH),
    ("shutdown: other CPUs are no hindrance", "mm/shutdown.c",
     "\treturn held || others || ", "\treturn held || ", "shutdown", BOTH),
    ("shutdown: memory that persists stays", "gc/init.c",
     "\tloam_persistent_reset();\n", "", "shutdown", HOST),
    ("shutdown: other threads are no hindrance", "gc/init.c",
     "\t\tothers |= c != self;\n", "\t\tothers |= c == NULL;\n", "shutdown", HOST),
    ("pacer: stacks and globals do not count for the goal", "gc/pacer.c",
     "scanned = p->marked_bytes + p->last.stack_bytes + p->last.global_bytes, to;", "scanned = p->marked_bytes, to;", "pacer", HOST),
    ("pacer: memory beside the heap does not count against the limit", "gc/pacer.c",
     "\ttaken = m->ready_bytes - heap;", "\ttaken = 0 * (m->ready_bytes - heap);", "pacer", HOST),
    ("pacer: the goal does not wait for sweeping", "gc/pacer.c",
     "\tto = most_of(to, *floor);\n", "\t*floor = 0;\n", "pacer", HOST),
    ("pacer: only the last collection is remembered", "gc/pacer.c",
     "p->cons_mark_next = (p->cons_mark_next + 1) % LOAM_PACER_HISTORY;", "p->cons_mark_next = 0;", "pacer", HOST),
    ("pacer: the share of the machine is taken for the ratio to the rest", "gc/pacer.c",
     "loam_ratio(busy, all - busy)", "loam_ratio(busy, all)", "pacer_sim", HOST),
    ("pacer: it begins late although nothing is known", "gc/pacer.c",
     "\tif (!p->taught)\n", "\tif (0 * p->taught)\n", "pacer", HOST),
    ("pacer: the goal moves out as far as the work asks", "gc/pacer.c",
     "return least(from + cut(grown), to + percent_of(to, percent));", "return from + cut(grown);", "pacer", HOST),
    ("pacer: past the goal only what was expected is reckoned with", "gc/pacer.c",
     "\t\tto += to / OVERSHOOT;\n\t\texpected = p->max_work;\n", "\t\tto += to / OVERSHOOT;\n", "test_pacer", HOST),
    ("pacer: who pays is not quite done in time", "gc/pacer.c",
     "store(&p->work_per_byte, loam_ratio_up(work, room));", "store(&p->work_per_byte, loam_ratio(work, room));", "test_pacer", HOST),
    ("pacer: sweeping ends at the trigger", "gc/pacer.c",
     "room = end > live + SWEEP_ROOM ? end - live - SWEEP_ROOM : 0;", "room = end > live ? end - live : 0;", "test_pacer", HOST),
    ("pacer: assists go on after marking", "gc/pacer.c",
     "\tstore(&p->work_per_byte, 0);\n", "", "test_pacer", HOST),
    ("ratios: a product that does not fit wraps", "gc/ratio.h",
     "\tover |= __builtin_add_overflow(sum, rl * vh, &sum);\n", "\tsum += rl * vh;\n", "test_pacer", HOST),
    ("limiter: a pause counts for one thread", "gc/limiter.c",
     "\tpour(l, window(l, now_ns));\n", "\tpour(l, window(l, now_ns) / (int64_t)l->threads);\n", "limiter", HOST),
    ("limiter: idle time told late looks like collecting", "gc/limiter.c",
     "(idle < all ? idle : all)", "idle", "limiter", HOST),
    ("limiter: fewer threads do not make it limit", "gc/limiter.c",
     "/* no overflow: nobody has collected for it */\n\tset_limiting(l);\n", "\n", "limiter", HOST),
    ("limiter: credit for time without collections", "gc/limiter.c",
     "l->fill_ns -= by < l->fill_ns ? by : l->fill_ns;", "l->fill_ns -= by;", "limiter", HOST),
]


def run(tree, target, env):
    return subprocess.run(["make", "--no-print-directory", "TIMEOUT=60", *target], cwd=tree, env=env, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def attempt_boot(tree, arch, test, jobs, env):
    """The same, of the self-tests in the image."""
    image = f"build/{arch}-debug/loam.{'elf' if arch == 'x86_64' else 'img'}"
    built = run(tree, [f"-j{jobs}", image], env)
    if built.returncode != 0:
        return "does not compile:\n" + built.stdout.decode(errors="replace")[-2000:]
    booted = subprocess.run([sys.executable, "tests/tools/qemu_test.py", "--trace", "tests/tools/traces/perl.loamtrace", "--hang", "60",
                             "--only", test, f"{arch}={image}"], cwd=tree, env=env, check=False, stdout=subprocess.DEVNULL)
    return None if booted.returncode != 0 else f"boot-{arch}: no test noticed"


def attempt(tree, mutant, jobs, env):
    """None if the tests notice the fault, else what is wrong."""
    _, path, old, new, test, configs = mutant
    file = tree / path
    text = file.read_text()
    if text.count(old) != 1:
        return f"{path} has this text {text.count(old)} times:\n{old}"
    file.write_text(text.replace(old, new))
    try:
        for config in configs:
            if config.startswith("boot-"):
                if why := attempt_boot(tree, config.removeprefix("boot-"), test, jobs, env):
                    return why
                continue
            args = [f"-j{jobs}", "test-flavour", f"T={test}", f"CONFIGS={config}"]
            built = run(tree, [f"-j{jobs}", "test-build", f"T={test}", f"CONFIGS={config}"], env)
            if built.returncode != 0:
                return "does not compile:\n" + built.stdout.decode(errors="replace")[-2000:]
            if run(tree, args, env).returncode == 0:
                return f"{config}: no test noticed"
    finally:
        file.write_text(text)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    env = {k: v for k, v in os.environ.items() if k not in ("TAP_SUMS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    failed = count = 0
    with tempfile.TemporaryDirectory() as tmp:
        tree = pathlib.Path(tmp) / "loam"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("build", ".git"))
        for mutant in MUTANTS:
            if args.only not in mutant[0]:
                continue
            why = attempt(tree, mutant, args.jobs, env)
            count += 1
            failed += why is not None
            print(f"{'ok' if why is None else 'not ok'} {count} - {mutant[0]}: noticed by {mutant[4]} on "
                  f"{', '.join(mutant[5])}", flush=True)
            for line in (why or "").splitlines():
                print(f"#   {line}", flush=True)
    print(f"1..{count}")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
