/* SPDX-License-Identifier: MIT */
/* Explicit mappings, rights and demand paging on the fake machine, in every mode of this ISA. */
#include "mm/lockrank.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "mm/sys.h"
#include "tests/fake/fake_test.h"

#define MIB    ((size_t)1 << 20)
#define DEVICE UINT64_C(0x2000000000) /* no RAM there */

static uintptr_t window;

static bool no_gigapage; /* for the next up() */

static void up(const struct fake_mode *mode)
{
	fake_up_default(&mode->mmu, test_seed());
	window = fake_mm_up(mode, no_gigapage);
}

static void settled(void)
{
	const struct loam_ptab *pt = loam_space_ptab();

	fake_settled();
	loam_ptab_verify(pt, pt->mmu->va_min, pt->mmu->va_max);
	loam_sys_verify();
}

static void down(void)
{
	settled();
	loam_frame_verify();
	loam_mm_reset();
	fake_down();
}

static void mappings_with_rights_and_types(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		for (unsigned memory = 0; memory < LOAM_VM_MEMORY_COUNT; memory++) {
			unsigned rights = memory % 2 ? LOAM_VM_READ | LOAM_VM_WRITE : LOAM_VM_READ;
			struct loam_vm_info info;
			struct loam_sys_info sys;
			struct loam_sys_stats stats;
			uintptr_t base = 0;

			up(mode);
			assert_int_equal(
				loam_vm_map(0, loam_paddr(DEVICE), 5 * MIB, rights, memory, &base),
				LOAM_OK);
			assert_true(loam_is_aligned(base,
						    LOAM_HUGE_SIZE)); /* so that large leaves fit */
			assert_int_equal(loam_vm_query(base + 4 * MIB + 5, &info), LOAM_OK);
			assert_int_equal(info.pa.raw, DEVICE + 4 * MIB + 5);
			assert_int_equal(info.rights, rights);
			assert_int_equal(info.memory, memory);
			assert_int_equal(info.leaf_bytes, LOAM_PAGE_SIZE);
			assert_int_equal(loam_vm_query(base, &info), LOAM_OK);
			assert_int_equal(info.leaf_bytes, LOAM_HUGE_SIZE);
			assert_int_equal(loam_sys_query(base, &sys), LOAM_OK);
			assert_int_equal(sys.state, LOAM_STATE_MAPPED);
			loam_sys_stats(&stats);
			assert_int_equal(stats.state_bytes[LOAM_STATE_MAPPED], 5 * MIB);
			/* none of the ten calls touches it */
			assert_int_equal(loam_sys_map(base, MIB, LOAM_OWNER_TEST), LOAM_INVAL);
			assert_int_equal(loam_sys_used(base, MIB, NULL), LOAM_INVAL);
			assert_int_equal(loam_sys_unused(base, MIB), LOAM_INVAL);
			assert_int_equal(loam_sys_fault(base, MIB), LOAM_INVAL);
			assert_int_equal(loam_sys_free(base, MIB), LOAM_INVAL);
			assert_int_equal(loam_sys_hugepage(base, 2 * MIB), LOAM_INVAL);
			assert_int_equal(loam_sys_collapse(base, 2 * MIB), LOAM_INVAL);
			fake_spread(base, 64 * LOAM_PAGE_SIZE);
			/* a part out of the middle of a large leaf, then the rest */
			assert_int_equal(loam_vm_unmap(base + 7 * LOAM_PAGE_SIZE, LOAM_PAGE_SIZE),
					 LOAM_OK);
			settled();
			assert_int_equal(loam_vm_query(base + 7 * LOAM_PAGE_SIZE, &info),
					 LOAM_NOENT);
			assert_int_equal(loam_vm_query(base + 8 * LOAM_PAGE_SIZE, &info), LOAM_OK);
			assert_int_equal(info.pa.raw, DEVICE + 8 * LOAM_PAGE_SIZE);
			assert_int_equal(loam_vm_unmap(base, 5 * MIB), LOAM_INVAL);
			assert_int_equal(loam_vm_unmap(base, 7 * LOAM_PAGE_SIZE), LOAM_OK);
			assert_int_equal(loam_vm_unmap(base + 8 * LOAM_PAGE_SIZE,
						       5 * MIB - 8 * LOAM_PAGE_SIZE),
					 LOAM_OK);
			down();
		}
	}
}

static uint64_t leaf_of_two_gib(const struct fake_mode *mode)
{
	struct loam_vm_info info;
	uintptr_t base;

	up(mode);
	assert_int_equal(loam_vm_map(0, loam_paddr(DEVICE), 2 * LOAM_GIANT_SIZE,
				     LOAM_VM_READ | LOAM_VM_WRITE, LOAM_VM_DEVICE, &base),
			 LOAM_OK);
	assert_int_equal(loam_vm_query(base, &info), LOAM_OK);
	assert_int_equal(loam_vm_unmap(base, 2 * LOAM_GIANT_SIZE), LOAM_OK);
	down();
	return info.leaf_bytes;
}

static void giant_leaves_where_the_cpu_has_them(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		assert_int_equal(leaf_of_two_gib(mode),
				 (mode->mmu.leaf_mask & 4) != 0 ? LOAM_GIANT_SIZE : LOAM_HUGE_SIZE);
		no_gigapage = true;
		assert_int_equal(leaf_of_two_gib(mode), LOAM_HUGE_SIZE);
		no_gigapage = false;
	}
}

static void bad_mappings_change_nothing(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		const unsigned rw = LOAM_VM_READ | LOAM_VM_WRITE;
		const uint64_t top = UINT64_C(1) << mode->mmu.pa_bits;
		struct loam_frame_stats before, after;
		struct loam_pfn heap, host;
		uintptr_t base = 4711, taken;

		up(mode);
		assert_int_equal(loam_sys_reserve(0, MIB, 0, &taken), LOAM_OK);
		assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_HEAP, &heap), LOAM_OK);
		assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_HOST, &host), LOAM_OK);
		loam_frame_stats(&before);
#define MAP(at, pa, size, rights, memory) \
	loam_vm_map(at, loam_paddr(pa), size, rights, memory, &base)
		assert_int_equal(MAP(0, DEVICE + 1, 4096, rw, LOAM_VM_DEVICE), LOAM_INVAL);
		assert_int_equal(MAP(0, DEVICE, 4097, rw, LOAM_VM_DEVICE), LOAM_INVAL);
		assert_int_equal(MAP(0, DEVICE, 0, rw, LOAM_VM_DEVICE), LOAM_INVAL);
		assert_int_equal(MAP(window + 8, DEVICE, 4096, rw, LOAM_VM_DEVICE), LOAM_INVAL);
		assert_int_equal(MAP(0, top, 4096, rw, LOAM_VM_DEVICE), LOAM_INVAL);
		assert_int_equal(MAP(0, top - 4096, 8192, rw, LOAM_VM_DEVICE), LOAM_INVAL);
		assert_int_equal(MAP(0, UINT64_MAX - 4095, 8192, rw, LOAM_VM_DEVICE), LOAM_INVAL);
		assert_int_equal(MAP(UINTPTR_MAX - 4095, DEVICE, 8192, rw, LOAM_VM_DEVICE),
				 LOAM_INVAL);
		assert_int_equal(MAP(0x400000, DEVICE, 4096, rw, LOAM_VM_DEVICE), LOAM_INVAL);
		assert_int_equal(MAP(0, DEVICE, 4096, rw | LOAM_VM_EXEC, LOAM_VM_WRITE_BACK),
				 LOAM_INVAL);
		assert_int_equal(MAP(0, DEVICE, 4096, 0, LOAM_VM_DEVICE), LOAM_INVAL);
		assert_int_equal(MAP(0, DEVICE, 4096, LOAM_VM_WRITE, LOAM_VM_DEVICE), LOAM_INVAL);
		assert_int_equal(MAP(0, DEVICE, 4096, 0x80 | rw, LOAM_VM_DEVICE), LOAM_INVAL);
		assert_int_equal(MAP(0, DEVICE, 4096, rw, LOAM_VM_MEMORY_COUNT), LOAM_INVAL);
		/* overlap */
		assert_int_equal(MAP(taken, DEVICE, 4096, rw, LOAM_VM_DEVICE), LOAM_EXIST);
		assert_int_equal(MAP(taken + MIB - 4096, DEVICE, 8192, rw, LOAM_VM_DEVICE),
				 LOAM_EXIST);
		/* more than the window has */
		assert_int_equal(MAP(0, DEVICE, 9 * LOAM_GIANT_SIZE, rw, LOAM_VM_DEVICE),
				 LOAM_NOVIRT);
		/* RAM: free, the heap's, a page table; the caller's own, but not as device memory */
		assert_int_equal(MAP(0, loam_pfn_to_paddr(heap).raw, 4096, rw, LOAM_VM_WRITE_BACK),
				 LOAM_INVAL);
		assert_int_equal(MAP(0, 0x41000000, 4096, rw, LOAM_VM_WRITE_BACK), LOAM_INVAL);
		assert_int_equal(MAP(0, loam_pfn_to_paddr(host).raw, 4096, rw, LOAM_VM_DEVICE),
				 LOAM_INVAL);
		assert_int_equal(base, 4711);
		loam_frame_stats(&after);
		assert_int_equal(before.free, after.free);
		assert_int_equal(MAP(0, loam_pfn_to_paddr(host).raw, 4096, rw, LOAM_VM_WRITE_BACK),
				 LOAM_OK);
		assert_true(fake_write(0, base, 1));
		assert_int_equal(loam_vm_unmap(base, 4096), LOAM_OK);
		/* out of frames for tables, whichever fails */
		for (uint64_t n = 1;; n++) {
			enum loam_err err;

			loam_frame_stats(&before);
			loam_frame_fail_at(n);
			err = MAP(0, DEVICE, 4096, rw, LOAM_VM_DEVICE);
			loam_frame_fail_at(0);
			loam_frame_stats(&after);
			if (err == LOAM_OK)
				break;
			assert_int_equal(err, LOAM_NOMEM);
			assert_int_equal(before.free, after.free);
			loam_sys_verify();
		}
#undef MAP
		assert_int_equal(loam_vm_unmap(base, 4096), LOAM_OK);
		assert_int_equal(loam_vm_protect(window, 4096, LOAM_VM_WRITE | LOAM_VM_EXEC),
				 LOAM_INVAL);
		assert_int_equal(loam_vm_protect(taken, 4096, LOAM_VM_READ), LOAM_NOENT);
		down();
	}
}

/* Rights of Ready memory: taken away everywhere at once, given back with no invalidation. */
static void rights_of_ready_memory(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		for (unsigned huge = 0; huge < 2; huge++) {
			const size_t size = 2 * LOAM_HUGE_SIZE;
			uint64_t invalidations;
			uintptr_t base, page;
			uint64_t value;

			up(mode);
			assert_int_equal(loam_sys_reserve(0, size, LOAM_HUGE_SIZE, &base), LOAM_OK);
			assert_int_equal(loam_sys_map(base, size, LOAM_OWNER_TEST), LOAM_OK);
			if (huge)
				assert_int_equal(loam_sys_hugepage(base, size), LOAM_OK);
			assert_int_equal(loam_sys_used(base, size, NULL), LOAM_OK);
			page = base + 9 * LOAM_PAGE_SIZE;
			assert_true(fake_write(0, page, 42));
			fake_spread(base, 32 * LOAM_PAGE_SIZE);
			assert_int_equal(loam_vm_protect(page, LOAM_PAGE_SIZE, LOAM_VM_READ),
					 LOAM_OK);
			settled();
			for (unsigned c = 0; c < fake_cpu_count(); c++) {
				assert_false(touch(c, page, LOAM_ACCESS_WRITE));
				assert_true(touch(c, page + LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE));
				assert_true(fake_read(c, page, &value));
				assert_int_equal(value, 42);
			}
			/* one leaf has one set of rights */
			assert_int_equal(loam_sys_collapse(base, LOAM_HUGE_SIZE), LOAM_BUSY);
			invalidations = fake_invalidated() + fake_flushed();
			assert_int_equal(
				loam_vm_protect(page, LOAM_PAGE_SIZE, LOAM_VM_READ | LOAM_VM_WRITE),
				LOAM_OK);
			assert_int_equal(fake_invalidated() + fake_flushed(), invalidations);
			for (unsigned c = 0; c < fake_cpu_count(); c++)
				assert_true(
					touch(c, page,
					      LOAM_ACCESS_WRITE)); /* a spurious fault is mended */
			/* code: written, then executable and not writable any more */
			assert_int_equal(
				loam_vm_protect(base, LOAM_HUGE_SIZE, LOAM_VM_READ | LOAM_VM_EXEC),
				LOAM_OK);
			settled();
			assert_true(touch(0, page, LOAM_ACCESS_EXEC));
			assert_false(touch(0, page, LOAM_ACCESS_WRITE));
			assert_int_equal(loam_sys_free(base, size), LOAM_OK);
			assert_false(touch(0, page, LOAM_ACCESS_READ));
			down();
		}
	}
}

/* Hardware may note a write in any leaf of a contiguous run: it counts for all 64 KiB. */
static void a_run_is_written_as_a_whole(void **state)
{
	const size_t size = 16 * LOAM_PAGE_SIZE;

	(void)state;
	for_each_mode(mode)
	{
		struct loam_vm_info info;
		struct loam_sys_info sys;
		uintptr_t base;

		up(mode);
		fake_calm(true);
		assert_int_equal(loam_sys_reserve(0, size, size, &base), LOAM_OK);
		assert_int_equal(loam_sys_map(base, size, LOAM_OWNER_TEST), LOAM_OK);
		assert_int_equal(loam_sys_hugepage(base, size), LOAM_OK);
		assert_int_equal(loam_sys_used(base, size, NULL), LOAM_OK);
		for (unsigned wrote = 0; wrote < 2; wrote++) {
			for (unsigned i = 0; i < 16; i++) {
				uintptr_t va = base + i * LOAM_PAGE_SIZE;
				bool here = wrote != 0 && (mode->mmu.contig || i == 5);

				assert_int_equal(loam_vm_query(va, &info), LOAM_OK);
				assert_int_equal(loam_sys_query(va, &sys), LOAM_OK);
				assert_int_equal(info.dirty, !mode->mmu.hw_dirty || here);
				assert_int_equal(info.dirty, sys.dirty);
			}
			assert_true(touch(1, base + 5 * LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE));
		}
		down();
	}
}

static void lazy_memory_fills_when_touched(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_sys_stats stats;
		uintptr_t base;
		uint64_t value;

		up(mode);
		assert_int_equal(loam_sys_reserve(0, 4 * MIB, LOAM_HUGE_SIZE, &base), LOAM_OK);
		assert_int_equal(loam_vm_lazy(base, 4 * MIB, true), LOAM_OK);
		assert_false(touch(0, base, LOAM_ACCESS_READ)); /* Reserved is Reserved */
		assert_int_equal(loam_sys_map(base, 4 * MIB, LOAM_OWNER_TEST), LOAM_OK);
		for (unsigned i = 0; i < 100; i++) {
			uintptr_t at = base + (i * 37 % 400) * LOAM_PAGE_SIZE;
			unsigned cpu = i % fake_cpu_count();

			assert_true(touch(cpu, at, i % 2 ? LOAM_ACCESS_WRITE : LOAM_ACCESS_READ));
			assert_true(fake_read(cpu, at, &value));
			assert_int_equal(value, 0);
			settled();
		}
		loam_sys_stats(&stats);
		assert_int_equal(stats.ready_bytes[LOAM_OWNER_TEST], 100 * LOAM_PAGE_SIZE);
		assert_false(touch(0, base, LOAM_ACCESS_EXEC));
		/* a TLB conflict is nobody's fault, and takes no lock */
		fake_spread(base, 16 * LOAM_PAGE_SIZE);
		loam_lockrank_acquire(LOAM_RANK_FRAME);
		fake_run_on(1);
		assert_true(loam_fault_handle(
			&(struct loam_fault){.addr = base, .tlb_conflict = true}));
		fake_run_on(0);
		loam_lockrank_release(LOAM_RANK_FRAME);
		assert_int_equal(fake_cached(base, LOAM_PAGE_SIZE), FAKE_CPUS - 1);
		/* 2 MiB at once where that is asked for, and the limit allows it */
		assert_int_equal(loam_sys_hugepage(base + LOAM_HUGE_SIZE, LOAM_HUGE_SIZE), LOAM_OK);
		loam_sys_set_limit(101 * LOAM_PAGE_SIZE);
		assert_true(touch(0, base + LOAM_HUGE_SIZE + 12345, LOAM_ACCESS_WRITE));
		assert_false(touch(0, base + LOAM_HUGE_SIZE, LOAM_ACCESS_WRITE));
		loam_sys_set_limit(UINT64_MAX);
		assert_int_equal(loam_sys_unused(base + LOAM_HUGE_SIZE, LOAM_HUGE_SIZE), LOAM_OK);
		assert_true(touch(0, base + LOAM_HUGE_SIZE + 12345, LOAM_ACCESS_WRITE));
		loam_sys_stats(&stats);
		assert_int_equal(stats.huge_ready_bytes, LOAM_HUGE_SIZE);
		settled();
		/* given back, and filled again */
		assert_int_equal(loam_sys_unused(base, 4 * MIB), LOAM_OK);
		assert_true(touch(0, base, LOAM_ACCESS_READ));
		/* out of memory, and over the limit: not repaired */
		loam_frame_fail_at(1);
		assert_false(touch(0, base + 64 * LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE));
		loam_frame_fail_at(0);
		loam_sys_set_limit(0);
		assert_false(touch(0, base + 64 * LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE));
		loam_sys_set_limit(UINT64_MAX);
		assert_true(touch(0, base + 64 * LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE));
		/* with a lock of mm's held it is a bug in loam: told, not waited for */
		loam_lockrank_acquire(LOAM_RANK_FRAME);
		assert_false(touch(0, base + 65 * LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE));
		loam_lockrank_release(LOAM_RANK_FRAME);
		assert_int_equal(loam_vm_lazy(base, 4 * MIB, false), LOAM_OK);
		assert_false(touch(0, base + 66 * LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE));
		assert_int_equal(loam_sys_free(base, 4 * MIB), LOAM_OK);
		down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mappings_with_rights_and_types),
		cmocka_unit_test(giant_leaves_where_the_cpu_has_them),
		cmocka_unit_test(bad_mappings_change_nothing),
		cmocka_unit_test(rights_of_ready_memory),
		cmocka_unit_test(a_run_is_written_as_a_whole),
		cmocka_unit_test(lazy_memory_fills_when_touched),
	};
	return cmocka_run_group_tests_name("vm", tests, NULL, NULL);
}
