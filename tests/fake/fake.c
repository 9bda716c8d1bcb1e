/* SPDX-License-Identifier: MIT */
/*
 * The fake machine.
 *
 * Why. QEMU has a coherent memory and throws its TLB away so often that a missing invalidation or
 * barrier hardly ever shows. Here it shows at once.
 *
 * Memory. RAM is a few stretches of physical addresses backed by host memory; a physical address
 * is never a valid pointer, and a hole is a violation. The code under test sees its own stores at
 * once. Page walks see a store only once it is published: until then `pending` keeps what
 * they see instead.
 *
 * CPUs. Each has a TLB of leaves and a cache of table entries (the paging-structure or walk
 * cache), filled by touches and by speculation: before each store to a live entry some CPU may
 * walk there. Nothing is ever evicted but by an invalidation, or by chance when a cache is full.
 * A leaf with the contiguous hint is cached with its whole run.
 * Rights of table entries are cached with what is below them: a leaf or a table that was cached below an entry that
 * allowed writing allows it until it is forgotten, and a leaf that was cached as written notes no write.
 * An invalidation drops exactly what it names: leaves of that level, and cached table entries
 * only where `tables` is set. It reaches the CPU that runs the code under test, and the others
 * where the machine broadcasts.
 *
 * What is a violation (each a panic "fake: ..."):
 *   - a valid entry replaced by another valid one where the ISA wants break-before-make, or a
 *     valid entry made while some CPU still caches what stood there before
 *   - a frame mapped that nothing leads to any more, but some TLB still does: two addresses at once
 *   - a frame freed while some TLB maps it, while an entry maps it, or while it is a linked table
 *     or some CPU caches the way to it
 *   - after an operation (fake_settled): a TLB entry that grants more than the tables do, or
 *     leads elsewhere; a cached table that is not linked any more; an unpublished store
 *   - an access to a hole; a linked table mapped as memory
 *
 * Frames know what they are: `struct fake_frame` tells for each whether it is a linked table, of which
 * level and for which addresses, and how many leaves map it.
 */
#include "tests/fake/fake.h"

#include "arch/check.h"
#include "mm/frame.h"
#include "mm/tlb.h"
#include "tests/fake/machine.h"
#include "tests/host/support.h"

#include <loam/cpu.h>

#include <sys/mman.h>

#define PENDING_MAX 4096u
#define KEY_NONE    UINT64_MAX

struct ram {
	struct fake_range range;
	char *host;
	struct fake_frame *info;
};

static struct loam_mmu mmu;
static struct ram ram[FAKE_RANGES];
static unsigned ram_count, cpu_count;
struct fake_cpu fake_cpu[FAKE_CPUS];
static struct {
	uint64_t pa, seen;
} pending[PENDING_MAX];
static unsigned pending_count;
static uint64_t next_frame, invalidated, flushed;
static uint64_t events; /* stores to live entries, publications, invalidations: all checked */
static struct rng rng;
static void (*on_write)(uint64_t va, uint64_t base, uint64_t size);
static void (*forgotten)(void);
static bool calm;

void fake_violation(const char *fmt, ...)
{
	char msg[300] = "fake: ";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg + 6, sizeof(msg) - 6, fmt, ap);
	va_end(ap);
	loam_host_panic(__FILE__, __LINE__, msg);
}

/* ---- memory ---- */

static struct ram *find_ram(uint64_t pa)
{
	for (unsigned i = 0; i < ram_count; i++) {
		if (pa - ram[i].range.base < ram[i].range.size)
			return &ram[i];
	}
	return NULL;
}

static struct ram *ram_of(uint64_t pa)
{
	struct ram *r = find_ram(pa);

	if (r == NULL)
		fake_violation("physical address %#llx is not RAM", (unsigned long long)pa);
	return r;
}

struct fake_frame *fake_info_of(uint64_t pa)
{
	struct ram *r = ram_of(pa);

	return &r->info[(pa - r->range.base) >> LOAM_PAGE_SHIFT];
}

void *loam_frame_ptr(struct loam_paddr pa)
{
	struct ram *r = ram_of(pa.raw);

	return r->host + (pa.raw - r->range.base);
}

uint64_t *fake_entry(uint64_t pa)
{
	struct ram *r = ram_of(pa);

	return (uint64_t *)(void *)(r->host + (pa - r->range.base));
}

/* What a page walk reads: the entry as it was before stores that are not published yet. */
static uint64_t walk_load(uint64_t pa)
{
	for (unsigned i = 0; i < pending_count; i++) {
		if (pending[i].pa == pa)
			return pending[i].seen;
	}
	return *fake_entry(pa);
}

static void remember_unpublished(uint64_t pa)
{
	for (unsigned i = 0; i < pending_count; i++) {
		if (pending[i].pa == pa)
			return;
	}
	if (pending_count == PENDING_MAX) /* stores drain in time whatever software does */
		memmove(pending, pending + 1, --pending_count * sizeof(pending[0]));
	pending[pending_count].pa = pa;
	pending[pending_count++].seen = *fake_entry(pa);
}

static void publish_one(uint64_t pa)
{
	for (unsigned i = 0; i < pending_count; i++) {
		if (pending[i].pa == pa)
			pending[i] = pending[--pending_count];
	}
}

bool fake_unpublished(uint64_t *pa)
{
	if (pending_count > 0)
		*pa = pending[0].pa;
	return pending_count > 0;
}

/* ---- addresses ---- */

uint64_t fake_canonical(uint64_t raw)
{
	uint64_t top = ~UINT64_C(0) << mmu.va_bits;

	/* one half of one table (x86_64), or a table for the upper half alone (aarch64) */
	if (mmu.va_min == top || (raw >> (mmu.va_bits - 1) & 1) != 0)
		return raw | top;
	return raw;
}

static bool covers(uint64_t va, unsigned level, uint64_t at)
{
	return at - va < loam_level_size(level);
}

/* ---- CPUs ---- */

static struct fake_tlb *tlb_find(struct fake_cpu *c, uint64_t va)
{
	for (unsigned i = 0; i < c->tlb_count; i++) {
		if (va - c->tlb[i].va < c->tlb[i].size)
			return &c->tlb[i];
	}
	return NULL;
}

static void tlb_fill(struct fake_cpu *c, struct fake_tlb e)
{
	unsigned at = c->tlb_count < TLB_ENTRIES ? c->tlb_count++
						 : (unsigned)rng_below(&rng, TLB_ENTRIES);

	c->tlb[at] = e;
}

static void walk_fill(struct fake_cpu *c, uint64_t va, unsigned level, uint64_t table, bool closed)
{
	unsigned at = 0;

	while (at < c->walk_count && !(c->walk[at].va == va && c->walk[at].level == level))
		at++;
	if (at == c->walk_count)
		at = at < WALK_ENTRIES ? c->walk_count++ : (unsigned)rng_below(&rng, WALK_ENTRIES);
	c->walk[at] = (struct fake_walk){va, table, level, closed};
}

/* Where a walk for `va` begins: in the lowest cached table, else in the root. */
static uint64_t walk_start(const struct fake_cpu *c, uint64_t va, unsigned *level, bool *closed)
{
	uint64_t table = fake_root().raw;

	*closed = false;
	*level = mmu.levels - 1u;
	for (unsigned i = 0; i < c->walk_count; i++) {
		if (covers(c->walk[i].va, c->walk[i].level, va) && c->walk[i].level - 1 <= *level) {
			*level = c->walk[i].level - 1;
			table = c->walk[i].table;
			*closed = c->walk[i].closed;
		}
	}
	return table;
}

/* The leaf at index `index` of `table` carries the contiguous hint: one entry for all of its run, if
 * the run is whole as walks see it. */
static void grow_to_run(uint64_t table, unsigned index, struct fake_tlb *e)
{
	const uint32_t noted = LOAM_ATTR_ACCESSED | LOAM_ATTR_DIRTY;
	unsigned first = index & ~15u;
	uint64_t size = loam_level_size(e->level), pa = e->pa - (index - first) * size;

	if (!mmu.contig || (e->attr & LOAM_ATTR_CONTIG) == 0)
		return;
	for (unsigned i = 0; i < 16; i++) {
		uint64_t pte = walk_load(table + (first + i) * 8);

		if (loam_pte_kind(&mmu, pte, e->level) != LOAM_PTE_LEAF ||
		    loam_pte_pa(&mmu, pte, e->level).raw != pa + i * size ||
		    ((loam_pte_attr(&mmu, pte, e->level) ^ e->attr) & ~noted) != 0)
			return;
	}
	e->va -= (index - first) * size;
	e->pa = pa;
	e->size = 16 * size;
}

/* Walk as the hardware does, through its caches; true if a leaf was found. */
static bool hardware_walk(struct fake_cpu *c, uint64_t va, struct fake_tlb *found,
			  uint64_t *entry_pa)
{
	unsigned level;
	bool closed;
	uint64_t table = walk_start(c, va, &level, &closed);

	for (;; level--) {
		uint64_t pa = table + loam_pt_index(&mmu, va, level) * 8, pte = walk_load(pa);
		enum loam_pte_kind kind = loam_pte_kind(&mmu, pte, level);

		if (kind == LOAM_PTE_NONE)
			return false;
		if (kind == LOAM_PTE_LEAF) {
			*found = (struct fake_tlb){
				.va = loam_align_down(va, loam_level_size(level)),
				.pa = loam_pte_pa(&mmu, pte, level).raw,
				.size = loam_level_size(level),
				.attr = loam_pte_attr(&mmu, pte, level),
				.level = level,
				.closed = closed,
			};
			grow_to_run(table, loam_pt_index(&mmu, va, level), found);
			*entry_pa = pa;
			return true;
		}
		table = loam_pte_pa(&mmu, pte, level).raw;
		closed |= (loam_pte_attr(&mmu, pte, level) & LOAM_ATTR_WRITE) == 0;
		walk_fill(c, loam_align_down(va, loam_level_size(level)), level, table, closed);
	}
}

/* Set accessed or dirty in the live entry, as hardware does: atomically, on coherent memory. False: the leaf is
 * not what it was when it was cached. */
static bool hardware_note(uint64_t entry_pa, struct fake_tlb *e, uint32_t bits)
{
	uint64_t *p = fake_entry(entry_pa);

	publish_one(entry_pa);
	if (loam_pte_kind(&mmu, *p, e->level) != LOAM_PTE_LEAF)
		return false;
	if ((bits & LOAM_ATTR_DIRTY) != 0 &&
	    (loam_pte_attr(&mmu, *p, e->level) & LOAM_ATTR_WRITE) == 0)
		return false;
	e->attr = loam_pte_attr(&mmu, *p, e->level) | bits;
	*p = loam_pte_leaf(&mmu, e->level, loam_pte_pa(&mmu, *p, e->level), e->attr);
	return true;
}

static bool allowed(const struct fake_tlb *e, enum loam_access access)
{
	if (access == LOAM_ACCESS_EXEC)
		return (e->attr & LOAM_ATTR_EXEC) != 0;
	return access == LOAM_ACCESS_READ || ((e->attr & LOAM_ATTR_WRITE) != 0 && !e->closed);
}

bool fake_touch(unsigned cpu, uint64_t va, enum loam_access access, struct loam_paddr *pa)
{
	struct fake_cpu *c = &fake_cpu[cpu];
	struct fake_tlb *hit = tlb_find(c, va), e;
	uint64_t entry_pa = KEY_NONE;

	if (c->asleep)
		return false;
	if (hit != NULL)
		e = *hit;
	else if (!hardware_walk(c, va, &e, &entry_pa))
		return false;
	if (!allowed(&e, access))
		return false;
	if ((e.attr & LOAM_ATTR_ACCESSED) == 0 && !mmu.hw_access)
		return false;
	if (access == LOAM_ACCESS_WRITE && (e.attr & LOAM_ATTR_DIRTY) == 0) {
		struct fake_tlb again;

		if (!mmu.hw_dirty || !hardware_walk(c, va, &again, &entry_pa))
			return false;
		if (!hardware_note(entry_pa, &e, LOAM_ATTR_DIRTY | LOAM_ATTR_ACCESSED))
			return false;
	} else if ((e.attr & LOAM_ATTR_ACCESSED) == 0 && entry_pa != KEY_NONE) {
		(void)hardware_note(entry_pa, &e, LOAM_ATTR_ACCESSED);
	}
	if (hit != NULL)
		*hit = e;
	else
		tlb_fill(c, e);
	if (access == LOAM_ACCESS_WRITE && on_write != NULL)
		on_write(va, e.va, e.size);
	if (pa != NULL)
		*pa = loam_paddr(e.pa + (va - e.va));
	return true;
}

/* Some CPU looks at `va`, for no reason that software can know. */
static void speculate(uint64_t va)
{
	if (rng_below(&rng, 2) == 0)
		(void)fake_touch((unsigned)rng_below(&rng, cpu_count), va, LOAM_ACCESS_READ, NULL);
}

/* ---- live entries ---- */

static void count_leaf(uint64_t pte, unsigned level, int by)
{
	uint64_t pa = loam_pte_pa(&mmu, pte, level).raw;

	for (uint64_t at = 0; at < loam_level_size(level); at += LOAM_PAGE_SIZE) {
		/* a device may be mapped: only RAM is counted */
		if (find_ram(pa + at) == NULL)
			continue;
		fake_info_of(pa + at)->leaves += (unsigned)by;
		if (by > 0 && fake_info_of(pa + at)->table)
			fake_violation("table %#llx is mapped as memory",
				       (unsigned long long)(pa + at));
	}
}

/* A leaf is made where there was none. Memory that moves from one address to another must be forgotten
 * at the first by every CPU. */
static void check_made(uint64_t pte, unsigned level, uint64_t va)
{
	uint64_t pa = loam_pte_pa(&mmu, pte, level).raw, size = loam_level_size(level);

	for (unsigned c = 0; c < cpu_count; c++) {
		for (unsigned i = 0; i < fake_cpu[c].tlb_count; i++) {
			const struct fake_tlb *e = &fake_cpu[c].tlb[i];
			uint64_t both = pa > e->pa ? pa : e->pa;

			if (fake_overlap(e->pa, e->size, pa, size) && find_ram(both) != NULL &&
			    fake_info_of(both)->leaves == 0)
				fake_violation(
					"%#llx leads to a frame that CPU %u reaches by %#llx",
					(unsigned long long)va, c, (unsigned long long)e->va);
		}
	}
}

/* A table becomes, or ceases to be, reachable from the root. */
static void link_table(uint64_t table, unsigned level, uint64_t va, bool on)
{
	struct fake_frame *info = fake_info_of(table);

	*info = (struct fake_frame){
		.table = on, .level = (uint8_t)level, .leaves = info->leaves, .va = va};
	for (unsigned i = 0; i < LOAM_PT_ENTRIES; i++) {
		uint64_t pte = *fake_entry(table + i * 8);
		enum loam_pte_kind kind = loam_pte_kind(&mmu, pte, level);

		if (kind == LOAM_PTE_LEAF && on)
			check_made(pte, level, fake_canonical(va + i * loam_level_size(level)));
		if (kind == LOAM_PTE_LEAF)
			count_leaf(pte, level, on ? 1 : -1);
		else if (kind == LOAM_PTE_TABLE)
			link_table(loam_pte_pa(&mmu, pte, level).raw, level - 1,
				   va + i * loam_level_size(level), on);
	}
}

static void check_change(uint64_t old, uint64_t pte, unsigned level, uint64_t va)
{
	enum loam_pte_kind from = loam_pte_kind(&mmu, old, level);
	enum loam_pte_kind to = loam_pte_kind(&mmu, pte, level);
	enum loam_pte_change change = loam_pte_change(&mmu, old, pte, level);

	if (change == LOAM_PTE_FORBIDDEN)
		fake_violation("illegal entry %#llx at level %u", (unsigned long long)pte, level);
	if (change == LOAM_PTE_BREAK)
		fake_violation(
			"entry for %#llx changed from valid to valid without break-before-make",
			(unsigned long long)va);
	if (from != LOAM_PTE_NONE || to == LOAM_PTE_NONE)
		return;
	for (unsigned c = 0; c < cpu_count; c++) {
		for (unsigned i = 0; i < fake_cpu[c].tlb_count; i++) {
			if (fake_overlap(fake_cpu[c].tlb[i].va, fake_cpu[c].tlb[i].size, va,
					 loam_level_size(level)))
				fake_violation(
					"entry for %#llx made while CPU %u caches the old one",
					(unsigned long long)va, c);
		}
		for (unsigned i = 0; i < fake_cpu[c].walk_count; i++) {
			if (fake_cpu[c].walk[i].level == level && fake_cpu[c].walk[i].va == va)
				fake_violation(
					"entry for %#llx made while CPU %u caches the old table",
					(unsigned long long)va, c);
		}
	}
}

/* The rights of a table entry are about to change: until then, and a little later, others write there. */
static void write_below(uint64_t va, unsigned level)
{
	for (unsigned n = 0; n < 4 && !calm; n++)
		(void)fake_touch((unsigned)rng_below(&rng, cpu_count),
				 va + rng_below(&rng, loam_level_size(level)), LOAM_ACCESS_WRITE,
				 NULL);
}

static bool same_table(uint64_t old, uint64_t pte, unsigned level)
{
	return loam_pte_kind(&mmu, old, level) == LOAM_PTE_TABLE &&
	       loam_pte_kind(&mmu, pte, level) == LOAM_PTE_TABLE &&
	       loam_pte_pa(&mmu, old, level).raw == loam_pte_pa(&mmu, pte, level).raw;
}

static void change_entry(struct loam_paddr table, unsigned index, uint64_t pte)
{
	struct fake_frame info = *fake_info_of(table.raw);
	uint64_t pa = table.raw + index * 8, *p = fake_entry(pa), old = *p, va;

	if (index >= LOAM_PT_ENTRIES || !loam_is_aligned(table.raw, LOAM_PAGE_SIZE))
		fake_violation("store to entry %u of table %#llx", index,
			       (unsigned long long)table.raw);
	if (!info.table) {
		*p = pte; /* nobody walks here yet: published together with the entry that links it */
		return;
	}
	va = fake_canonical(info.va + index * loam_level_size(info.level));
	speculate(va + rng_below(&rng, loam_level_size(info.level)));
	events++;
	old = *p; /* speculation may have set the accessed bit */
	check_change(old, pte, info.level, va);
	if (loam_pte_kind(&mmu, old, info.level) == LOAM_PTE_NONE &&
	    loam_pte_kind(&mmu, pte, info.level) == LOAM_PTE_LEAF)
		check_made(pte, info.level, va);
	if (old == pte)
		return;
	if (same_table(old, pte, info.level)) {
		write_below(va, info.level);
		remember_unpublished(pa);
		*p = pte;
		write_below(va, info.level);
		return;
	}
	remember_unpublished(pa);
	*p = pte;
	if (loam_pte_kind(&mmu, old, info.level) == LOAM_PTE_TABLE &&
	    loam_pte_kind(&mmu, pte, info.level) != LOAM_PTE_TABLE)
		link_table(loam_pte_pa(&mmu, old, info.level).raw, info.level - 1u, va, false);
	if (loam_pte_kind(&mmu, old, info.level) == LOAM_PTE_LEAF)
		count_leaf(old, info.level, -1);
	if (loam_pte_kind(&mmu, pte, info.level) == LOAM_PTE_LEAF)
		count_leaf(pte, info.level, 1);
	if (loam_pte_kind(&mmu, pte, info.level) == LOAM_PTE_TABLE)
		link_table(loam_pte_pa(&mmu, pte, info.level).raw, info.level - 1u,
			   info.va + index * loam_level_size(info.level), true);
	/* tag to tag: nothing a walk could care about */
	if (loam_pte_kind(&mmu, old, info.level) == LOAM_PTE_NONE &&
	    loam_pte_kind(&mmu, pte, info.level) == LOAM_PTE_NONE)
		publish_one(pa);
}

uint64_t loam_pt_load(struct loam_paddr table, unsigned index)
{
	return *fake_entry(table.raw + index * 8);
}

void loam_pt_store(struct loam_paddr table, unsigned index, uint64_t pte)
{
	change_entry(table, index, pte);
}

uint64_t loam_pt_swap(struct loam_paddr table, unsigned index, uint64_t pte)
{
	struct fake_frame info = *fake_info_of(table.raw);
	uint64_t old;

	/* hardware may note a write until the very moment of the exchange */
	if (info.table && mmu.hw_dirty && !calm && rng_below(&rng, 2) == 0)
		(void)fake_touch((unsigned)rng_below(&rng, cpu_count),
				 fake_canonical(info.va + index * loam_level_size(info.level)),
				 LOAM_ACCESS_WRITE, NULL);
	old = loam_pt_load(table, index);
	change_entry(table, index, pte);
	return old;
}

bool loam_pt_cas(struct loam_paddr table, unsigned index, uint64_t old, uint64_t pte)
{
	if (loam_pt_load(table, index) != old)
		return false;
	change_entry(table, index, pte);
	return true;
}

/* ---- publishing and invalidation ---- */

void loam_pt_publish(const struct loam_mmu *m)
{
	(void)m;
	events++;
	pending_count = 0;
}

static void drop_one(struct fake_cpu *c, uint64_t va, unsigned level, bool tables)
{
	for (unsigned i = 0; i < c->tlb_count;) {
		if (c->tlb[i].level == level && va - c->tlb[i].va < c->tlb[i].size)
			c->tlb[i] = c->tlb[--c->tlb_count];
		else
			i++;
	}
	for (unsigned i = 0; tables && i < c->walk_count;) {
		if (covers(c->walk[i].va, c->walk[i].level, va))
			c->walk[i] = c->walk[--c->walk_count];
		else
			i++;
	}
}

/* Every CPU, or the one that runs the code under test. */
static bool reached(unsigned cpu, bool everywhere)
{
	return everywhere || cpu == fake_running();
}

void fake_forgotten(void (*others)(void))
{
	forgotten = others;
}

static void after_forgetting(void)
{
	void (*others)(void) = forgotten;

	if (others == NULL)
		return;
	forgotten = NULL;
	others();
	forgotten = others;
}

static void drop(bool everywhere, uint64_t va, uint64_t count, unsigned level, bool tables)
{
	pending_count = 0; /* an invalidation waits for earlier stores */
	for (uint64_t n = 0; n < count; n++) {
		for (unsigned c = 0; c < cpu_count; c++) {
			if (reached(c, everywhere))
				drop_one(&fake_cpu[c], va + n * loam_level_size(level), level,
					 tables);
		}
		invalidated++;
		events++;
	}
	after_forgetting();
}

static void drop_all(bool everywhere)
{
	pending_count = 0;
	for (unsigned c = 0; c < cpu_count; c++) {
		if (!reached(c, everywhere))
			continue;
		fake_cpu[c].tlb_count = 0;
		fake_cpu[c].walk_count = 0;
	}
	flushed++;
	events++;
	after_forgetting();
}

void loam_tlb_local(const struct loam_mmu *m, uint64_t va, uint64_t count, unsigned level,
		    bool tables)
{
	(void)m;
	drop(false, va, count, level, tables);
}

void loam_tlb_local_all(const struct loam_mmu *m)
{
	(void)m;
	fake_others_act();
	drop_all(false);
}

void loam_tlb_broadcast(const struct loam_mmu *m, uint64_t va, uint64_t count, unsigned level,
			bool tables)
{
	drop(m->broadcast, va, count, level, tables);
}

void loam_tlb_broadcast_all(const struct loam_mmu *m)
{
	fake_others_act();
	drop_all(m->broadcast);
}

/* ---- for tests ---- */

void fake_calm(bool on)
{
	calm = on;
}

void fake_on_write(void (*wrote)(uint64_t va, uint64_t base, uint64_t size))
{
	on_write = wrote;
}

void fake_sleep(unsigned cpu, bool asleep)
{
	struct fake_cpu *c = &fake_cpu[cpu];

	c->asleep = asleep;
	if (asleep) {
		c->kept_tlb = c->tlb_count;
		c->kept_walk = c->walk_count;
	}
	c->tlb_count = asleep ? 0 : c->kept_tlb;
	c->walk_count = asleep ? 0 : c->kept_walk;
}

uint64_t fake_invalidated(void)
{
	return invalidated;
}

uint64_t fake_events(void)
{
	return events;
}

uint64_t fake_flushed(void)
{
	return flushed;
}

/* ---- power ---- */

void fake_up(const struct loam_mmu *m, const struct fake_range *range, unsigned range_count,
	     uint64_t seed)
{
	mmu = *m;
	rng.state = seed;
	cpu_count = FAKE_CPUS;
	ram_count = 0;
	for (unsigned i = 0; i < range_count; i++) {
		struct ram *r = &ram[ram_count++];
		size_t frames = range[i].size >> LOAM_PAGE_SHIFT;

		r->range = range[i];
		r->host = mmap(NULL, range[i].size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		r->info = calloc(frames, sizeof(struct fake_frame));
		if (r->host == MAP_FAILED || r->info == NULL)
			abort();
		/* RAM holds junk at power-on: the first word of each frame is enough to catch use */
		for (size_t f = 0; f < frames; f++)
			memset(r->host + (f << LOAM_PAGE_SHIFT), 0xa7, 64);
	}
	memset(fake_cpu, 0, sizeof(fake_cpu));
	pending_count = 0;
	on_write = NULL;
	forgotten = NULL;
	calm = false;
	fake_between(NULL);
	fake_run_on(0);
	fake_deafen(FAKE_CPUS);
	invalidated = 0;
	flushed = 0;
	next_frame = range[0].base + LOAM_PAGE_SIZE;
	memset(loam_frame_ptr(fake_root()), 0, LOAM_PAGE_SIZE);
	fake_info_of(fake_root().raw)->table = true;
	fake_info_of(fake_root().raw)->level = mmu.levels - 1u;
	fake_info_of(fake_root().raw)->va = 0;
}

void fake_down(void)
{
	for (unsigned i = 0; i < ram_count; i++) {
		munmap(ram[i].host, ram[i].range.size);
		free(ram[i].info);
	}
	ram_count = 0;
}

size_t fake_memmap(struct loam_mem_entry *entry)
{
	for (unsigned i = 0; i < ram_count; i++)
		entry[i] = (struct loam_mem_entry){ram[i].range.base, ram[i].range.size,
						   LOAM_MEM_USABLE, NULL};
	entry[ram_count] = (struct loam_mem_entry){fake_root().raw, LOAM_PAGE_SIZE,
						   LOAM_MEM_RESERVED, "root table"};
	return ram_count + 1u;
}

struct loam_paddr fake_root(void)
{
	return loam_paddr(ram[0].range.base);
}

unsigned fake_cpu_count(void)
{
	return cpu_count;
}

const struct loam_mmu *fake_mmu(void)
{
	return &mmu;
}

struct loam_paddr fake_frame(void)
{
	uint64_t pa = next_frame;

	next_frame += LOAM_PAGE_SIZE;
	if (next_frame > ram[0].range.base + ram[0].range.size)
		fake_violation("out of frames for tests");
	return loam_paddr(pa);
}
