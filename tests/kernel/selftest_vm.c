/* SPDX-License-Identifier: MIT */
/* Explicit mappings, rights, demand paging and stacks on the real MMU. */
#include "arch/mmu.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "mm/sys.h"
#include "tests/kernel/selftest.h"

#define MIB	   ((size_t)1 << 20)
#define READ_WRITE (LOAM_VM_READ | LOAM_VM_WRITE)

static uint64_t free_frames(void)
{
	struct loam_frame_stats stats;

	loam_frame_stats(&stats);
	return stats.free;
}

static void a_frame_has_two_names(const struct loam_boot_info *info)
{
	struct loam_vm_info vm;
	struct loam_pfn pfn;
	volatile uint64_t *direct;
	uintptr_t base;

	(void)info;
	EXPECT(loam_frame_alloc(0, LOAM_FRAME_ZERO, LOAM_OWNER_TEST, &pfn) == LOAM_OK);
	direct = loam_frame_ptr(loam_pfn_to_paddr(pfn));
	EXPECT(loam_vm_map(0, loam_pfn_to_paddr(pfn), 4096, LOAM_VM_READ, LOAM_VM_WRITE_BACK,
			   &base) == LOAM_OK);
	*direct = 4711;
	EXPECT(*(volatile uint64_t *)base == 4711);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, base));
	EXPECT(loam_vm_protect(base, 4096, READ_WRITE) == LOAM_OK);
	*(volatile uint64_t *)base = 42;
	EXPECT(*direct == 42);
	EXPECT(loam_vm_query(base + 8, &vm) == LOAM_OK);
	EXPECT(vm.pa.raw == loam_pfn_to_paddr(pfn).raw + 8 && vm.rights == READ_WRITE && vm.dirty);
	EXPECT(loam_vm_protect(base, 4096, LOAM_VM_READ) == LOAM_OK);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, base));
	loam_oracle_look("a frame under a second name");
	EXPECT(loam_vm_unmap(base, 4096) == LOAM_OK);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, base));
	EXPECT(loam_frame_free(pfn, 0) == LOAM_OK);
}

static void bad_mappings_are_refused(const struct loam_boot_info *info)
{
	const uint64_t top = UINT64_C(1) << loam_space_ptab()->mmu->pa_bits;
	uintptr_t base = 1;

	(void)info;
	EXPECT(loam_vm_map(0, loam_paddr(top), 4096, READ_WRITE, LOAM_VM_DEVICE, &base) ==
	       LOAM_INVAL);
	EXPECT(loam_vm_map(0, loam_paddr(1), 4096, READ_WRITE, LOAM_VM_DEVICE, &base) ==
	       LOAM_INVAL);
	EXPECT(loam_vm_map(LOAM_BOOT_DIRECT, loam_paddr(0), 4096, READ_WRITE, LOAM_VM_DEVICE,
			   NULL) == LOAM_INVAL);
	EXPECT(loam_vm_map(0, loam_paddr(0x1000), 4096, READ_WRITE | LOAM_VM_EXEC,
			   LOAM_VM_WRITE_BACK, NULL) == LOAM_INVAL);
}

/* Far beyond RAM and never touched: only the leaves are looked at. */
static void giant_leaves(const struct loam_boot_info *info)
{
	const struct loam_mmu *mmu = loam_space_ptab()->mmu;
	struct loam_paddr far = loam_paddr((UINT64_C(1) << mmu->pa_bits) - 2 * LOAM_GIANT_SIZE);
	uint64_t before = free_frames();
	struct loam_vm_info vm;
	uintptr_t base;

	(void)info;
	EXPECT(loam_vm_map(0, far, 2 * LOAM_GIANT_SIZE, LOAM_VM_READ, LOAM_VM_DEVICE, &base) ==
	       LOAM_OK);
	EXPECT(loam_vm_query(base, &vm) == LOAM_OK);
	EXPECT(vm.leaf_bytes == ((mmu->leaf_mask & 4) != 0 ? LOAM_GIANT_SIZE : LOAM_HUGE_SIZE));
	loam_oracle_look("the largest leaves at the top of physical memory");
	EXPECT(loam_vm_unmap(base + MIB, LOAM_PAGE_SIZE) == LOAM_OK); /* cuts every level */
	EXPECT(loam_vm_query(base, &vm) == LOAM_OK && vm.leaf_bytes == LOAM_PAGE_SIZE);
	loam_oracle_look("the largest leaves, cut");
	EXPECT(loam_vm_unmap(base, MIB) == LOAM_OK);
	EXPECT(loam_vm_unmap(base + MIB + LOAM_PAGE_SIZE,
			     2 * LOAM_GIANT_SIZE - MIB - LOAM_PAGE_SIZE) == LOAM_OK);
	EXPECT(before - free_frames() <= 4);
	loam_sys_verify();
}

/* Beyond RAM and never touched: what the tables say of each type, under a huge leaf and small ones. */
static void memory_types_are_told_apart(const struct loam_boot_info *info)
{
	const size_t size = LOAM_HUGE_SIZE + LOAM_PAGE_SIZE;
	const uint64_t top = UINT64_C(1) << loam_space_ptab()->mmu->pa_bits;
	uintptr_t base[LOAM_VM_MEMORY_COUNT];
	struct loam_vm_info vm;

	(void)info;
	for (unsigned m = 0; m < LOAM_VM_MEMORY_COUNT; m++) {
		struct loam_paddr far = loam_paddr(top - (m + 1) * 2 * LOAM_HUGE_SIZE);

		EXPECT(loam_vm_map(0, far, size, m % 2 == 0 ? READ_WRITE : LOAM_VM_READ,
				   (enum loam_vm_memory)m, &base[m]) == LOAM_OK);
		for (size_t at = 0; at < size; at += LOAM_HUGE_SIZE) {
			EXPECT(loam_vm_query(base[m] + at, &vm) == LOAM_OK && vm.memory == m);
			EXPECT(vm.pa.raw == far.raw + at);
		}
	}
	loam_oracle_look("each memory type");
	for (unsigned m = 0; m < LOAM_VM_MEMORY_COUNT; m++)
		EXPECT(loam_vm_unmap(base[m], size) == LOAM_OK);
}

/* Code is written, then made executable; then it cannot be written any more. */
static void write_then_execute(const struct loam_boot_info *info)
{
	void *p;
	/* the function must not depend on where it runs: it only returns its argument */
	extern const char loam_boot_identity[], loam_boot_identity_end[];
	uint64_t (*f)(uint64_t);

	(void)info;
	EXPECT(loam_sys_alloc(LOAM_PAGE_SIZE, LOAM_OWNER_TEST, &p) == LOAM_OK);
	for (size_t i = 0; i < (size_t)(loam_boot_identity_end - loam_boot_identity); i++)
		((volatile char *)p)[i] = loam_boot_identity[i];
	EXPECT(loam_selftest_traps(LOAM_ACCESS_EXEC, (uintptr_t)p));
	EXPECT(loam_vm_protect((uintptr_t)p, LOAM_PAGE_SIZE, READ_WRITE | LOAM_VM_EXEC) ==
	       LOAM_INVAL);
	EXPECT(loam_vm_protect((uintptr_t)p, LOAM_PAGE_SIZE, LOAM_VM_READ | LOAM_VM_EXEC) ==
	       LOAM_OK);
	loam_icache_sync(p, LOAM_PAGE_SIZE);
	f = (uint64_t(*)(uint64_t))(uintptr_t)p;
	EXPECT(f(4711) == 4711);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, (uintptr_t)p));
	loam_oracle_look("a page of code");
	EXPECT(loam_sys_free((uintptr_t)p, LOAM_PAGE_SIZE) == LOAM_OK);
}

static void touched_memory_is_there(const struct loam_boot_info *info)
{
	uint64_t before = free_frames();
	volatile uint64_t *p;
	uintptr_t base;

	(void)info;
	EXPECT(loam_sys_reserve(0, 4 * MIB, LOAM_HUGE_SIZE, &base) == LOAM_OK);
	EXPECT(loam_sys_map(base, 4 * MIB, LOAM_OWNER_TEST) == LOAM_OK);
	EXPECT(loam_vm_lazy(base, 4 * MIB, true) == LOAM_OK);
	before = free_frames();
	for (size_t at = 0; at < LOAM_HUGE_SIZE; at += 4 * LOAM_PAGE_SIZE) {
		p = (volatile uint64_t *)(base + at);
		EXPECT(*p == 0);
		*p = at;
	}
	EXPECT(before - free_frames() == LOAM_HUGE_SIZE / LOAM_PAGE_SIZE / 4);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_EXEC, base));
	if (loam_space_huge_sizes() != 0) {
		struct loam_vm_info vm;

		EXPECT(loam_sys_hugepage(base, 4 * MIB) == LOAM_OK);
		*(volatile uint64_t *)(base + LOAM_HUGE_SIZE + 1000) = 1;
		EXPECT(loam_vm_query(base + LOAM_HUGE_SIZE, &vm) == LOAM_OK);
		EXPECT(vm.leaf_bytes == LOAM_HUGE_SIZE);
	}
	loam_oracle_look("one page in four was touched");
	EXPECT(loam_sys_free(base, 4 * MIB) == LOAM_OK);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, base));
}

__attribute__((noinline)) static unsigned deep(unsigned n)
{
	char food[500];
	unsigned below;

	__asm__ volatile("" : : "r"(food) : "memory");
	food[0] = 0;
	below = n == 0 ? 0 : deep(n - 1) + 1;
	__asm__ volatile("" : : "r"(food) : "memory");
	return below;
}

static void run_deep(void *result)
{
	*(unsigned *)result = deep(300);
}

/* A function runs on one of loam's stacks, which grows under it, and is trimmed afterwards. */
static void stacks_grow_under_a_function(const struct loam_boot_info *info)
{
	struct loam_stack s;
	unsigned result = 0;

	(void)info;
	EXPECT(loam_stack_alloc(MIB, &s) == LOAM_OK);
	EXPECT(loam_stack_committed(&s) == LOAM_PAGE_SIZE);
	loam_boot_call_on(s.high, run_deep, &result);
	EXPECT(result == 300);
	EXPECT(loam_stack_committed(&s) >= 150000 && loam_stack_committed(&s) < MIB / 2);
	EXPECT(loam_stack_trim(&s, s.high) > 0);
	EXPECT(loam_stack_committed(&s) <= 2 * LOAM_PAGE_SIZE);
	EXPECT(s.high_water >= 150000);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, s.low - 8));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, s.high));
	loam_oracle_look("a stack with its guards");
	EXPECT(loam_stack_free(&s) == LOAM_OK);
}

/* An entry with address bits that this CPU has not: nothing is missing, so nothing can be given. */
static void a_bad_entry_is_no_missing_right(const struct loam_boot_info *info)
{
	const struct loam_ptab *pt = loam_space_ptab();
	struct loam_ptab_slot slot;
	struct loam_fault fault;
	uintptr_t base;
	void *page = NULL;
	uint64_t far;
	bool trapped;

	(void)info;
	EXPECT(loam_sys_alloc(LOAM_PAGE_SIZE, LOAM_OWNER_TEST, &page) == LOAM_OK);
	base = (uintptr_t)page;
	loam_ptab_walk(pt, base, LOAM_LEVEL_PAGE, &slot);
	far = loam_pte_pa(pt->mmu, slot.pte, slot.level).raw | UINT64_C(1) << pt->mmu->pa_bits;
	far = loam_pte_leaf(pt->mmu, slot.level, loam_paddr(far), LOAM_ATTR_DATA);
	if (far != loam_pte_leaf(pt->mmu, slot.level, loam_pte_pa(pt->mmu, slot.pte, slot.level),
				 LOAM_ATTR_DATA)) {
		loam_pt_store(slot.table, slot.index, far);
		loam_pt_publish(pt->mmu);
		loam_tlb_local_all(pt->mmu);
		trapped = loam_boot_probe(LOAM_ACCESS_READ, page, &fault);
		loam_pt_store(slot.table, slot.index, slot.pte);
		loam_pt_publish(pt->mmu);
		loam_tlb_local_all(pt->mmu);
		EXPECT(trapped && fault.external && fault.addr == base);
	} /* else entries have no such bit */
	EXPECT(!loam_boot_probe(LOAM_ACCESS_READ, page, NULL));
	EXPECT(loam_sys_free(base, LOAM_PAGE_SIZE) == LOAM_OK);
}

static void a_frame_comes_and_goes(void *ok)
{
	struct loam_pfn pfn;

	*(bool *)ok = loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn) == LOAM_OK &&
		      loam_frame_free(pfn, 0) == LOAM_OK;
}

static void frames_are_counted(void *ok)
{
	*(bool *)ok = free_frames() > 0;
}

static void memory_comes_and_goes(void *ok)
{
	void *p;

	*(bool *)ok = loam_sys_alloc(2 * LOAM_PAGE_SIZE, LOAM_OWNER_TEST, &p) == LOAM_OK &&
		      loam_sys_unused((uintptr_t)p, LOAM_PAGE_SIZE) == LOAM_OK &&
		      loam_sys_used((uintptr_t)p, LOAM_PAGE_SIZE, NULL) == LOAM_OK &&
		      loam_sys_free((uintptr_t)p, 2 * LOAM_PAGE_SIZE) == LOAM_OK;
}

static void a_stack_comes_and_goes(void *ok)
{
	struct loam_stack s;

	*(bool *)ok = loam_stack_alloc(16 * LOAM_PAGE_SIZE, &s) == LOAM_OK &&
		      loam_stack_free(&s) == LOAM_OK && loam_stack_pool_release() > 0;
}

/* On a stack of which only the highest page is there loam is called from every depth, so that each call of a function inside it
 * crosses into the next page once: also those that are made with a lock held [STACK-2]. */
static void lazy_stacks_carry_loam(const struct loam_boot_info *info)
{
	static void (*const call[])(void *) = {a_frame_comes_and_goes, frames_are_counted,
					       memory_comes_and_goes, a_stack_comes_and_goes};
	struct loam_stack s;
	bool ok;

	(void)info;
	EXPECT(loam_stack_alloc(16 * LOAM_PAGE_SIZE, &s) == LOAM_OK);
	for (unsigned i = 0; i < sizeof(call) / sizeof(call[0]); i++) {
		for (size_t depth = 0; depth < LOAM_PAGE_SIZE; depth += 16) {
			ok = false;
			loam_boot_call_on(s.high - depth, call[i], &ok);
			EXPECT(ok);
			EXPECT(loam_sys_unused(s.low, 15 * LOAM_PAGE_SIZE) == LOAM_OK);
		}
	}
	EXPECT(loam_stack_free(&s) == LOAM_OK);
}

const struct selftest loam_selftest_vm[] = {
	{"vm: a frame under a second name, with rights of its own", a_frame_has_two_names},
	{"vm: bad mappings are refused", bad_mappings_are_refused},
	{"vm: an entry that is no good is reported, not mended for ever",
	 a_bad_entry_is_no_missing_right},
	{"vm: 1 GiB leaves, and cutting them", giant_leaves},
	{"vm: memory types are told apart", memory_types_are_told_apart},
	{"vm: code is written, then executed, never both", write_then_execute},
	{"vm: touched memory is there (demand paging)", touched_memory_is_there},
	{"vm: stacks grow under a running function", stacks_grow_under_a_function},
	{"vm: stacks grow under loam itself", lazy_stacks_carry_loam},
	{NULL, NULL},
};
