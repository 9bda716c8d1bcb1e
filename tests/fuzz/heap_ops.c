/* SPDX-License-Identifier: MIT */
/* The driver: runs programs, and tells where one failed. Theory: heap_ops.h, ops.c, shadow.h. */
#include "tests/fuzz/heap_ops.h"

#include "tests/fuzz/input.h"
#include "tests/fuzz/ops.h"
#include "tests/fuzz/shadow.h"
#include "tests/host/heap_setup.h"

#define OP_NAME(upper, lower, weight)	#lower,
#define OP_WEIGHT(upper, lower, weight) weight,
#define OP_CASE(upper, lower, weight) \
	case OP_##upper:              \
		op_##lower();         \
		break;

struct run run;
const char *heap_ops_dump;
static const char *const op_name[] = {OPS(OP_NAME)};
static const unsigned op_weight[] = {OPS(OP_WEIGHT)};
static const bool op_lets_go[OP_COUNT] = {
	[OP_FREE] = true, [OP_FREE_STALE] = true, [OP_DROP] = true, [OP_UNLINK] = true};
static uint64_t op_count[OP_COUNT];

static void tell_where(void)
{
	print_error("heap ops: operation %llu (%s), byte %zu", (unsigned long long)run.ops,
		    op_name[run.op], input.taken);
	if (input.endless)
		print_error(", seed %llu", (unsigned long long)input.seed);
	print_error("\n");
	if (heap_ops_dump != NULL) {
		print_error("heap ops: the program is in %s\n", heap_ops_dump);
		input_save(heap_ops_dump);
	}
}

void heap_ops_fail(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	tell_where();
	fail_msg("%s", text);
	abort(); /* not reached */
}

static void on_panic(const char *file, int line, const char *msg)
{
	(void)file;
	(void)line;
	(void)msg;
	tell_where(); /* and the host aborts */
}

void heap_ops_print(FILE *to)
{
	for (unsigned i = 0; i < OP_COUNT; i++)
		fprintf(to, "# %-12s %llu\n", op_name[i], (unsigned long long)op_count[i]);
}

/* ---- running ---- */

static void step(unsigned b)
{
	static unsigned char op_of[256];
	static bool known;

	for (unsigned op = 0, at = 0; !known && op < OP_COUNT; op++) {
		for (unsigned n = 0; n < op_weight[op]; n++)
			op_of[at++ & 255] = (unsigned char)op;
	}
	known = true;
	run.op = (enum op)op_of[b];
	if (run.soak && op_lets_go[run.op])
		run.op = OP_ALLOC;
	op_count[run.op]++;
	run.ops++;
	switch (run.op) {
		OPS(OP_CASE)
	case OP_COUNT:
		break;
	}
	if (run.window > 0 && --run.window == 0)
		close_window();
}

static void learn_once(void)
{
	static bool known;

	if (known)
		return;
	heap_up(NULL);
	order_learn();
	heap_down(NULL);
	known = true;
}

static void begin(bool soak)
{
	static const int limit[] = {48, 256, 1024, SHADOW_MAX};
	unsigned world = input_byte(), size = input_byte();

	learn_once();
	memset(&run, 0, sizeof(run));
	run.soak = run.had_window = soak;
	run.hoard = soak || size / 4 % 2 != 0;
	run.stale = size / 8 % 4 == 0;
	run.profile = soak ? PROFILE_LARGE : (enum order_profile)(world % PROFILE_COUNT);
	run.cap = soak ? (size_t)1 << 40 : (size_t)4 << 20 << size % 4;
	shadow_reset(soak ? SHADOW_MAX : limit[world / 4 % 4]);
	heap_up(NULL);
	loam_host_on_panic(on_panic);
	run.up = true;
	REQUIRE(loam_root_add(graph.slot, graph.slot + SHADOW_EXTRA) == LOAM_OK, "root_add");
}

static void end(void)
{
	close_window();
	run.soak = false;
	op_heap_verify();
	collect_and_count();
	run.hoard = false;
	if (graph.extra)
		op_extra_roots();
	REQUIRE(loam_root_remove(graph.slot, graph.slot + SHADOW_EXTRA) == LOAM_OK, "root_remove");
	for (unsigned r = 0; r < SHADOW_ROOTS; r++)
		shadow_store((struct shadow_ref){-1, r}, -1, 0);
	collect_and_count();
	loam_host_on_panic(NULL);
	heap_down(NULL);
	run.up = false;
}

/* A program that failed left its heap up. */
static void clean_up(void)
{
	if (!run.up)
		return;
	run.up = false;
	loam_host_on_panic(NULL);
	loam_host_fail_at(0);
	loam_sys_set_limit(UINT64_MAX);
	if (loam_host_thread() != NULL && loam_thread_detach(&test_thread) != LOAM_OK)
		return;
	loam_gc_shutdown();
	loam_mm_reset();
}

static void set_stack_base(void)
{
	/* as heap_up does: above all frames of ours */
	run.stack_base = (void *)loam_align_up((uintptr_t)__builtin_frame_address(0) + 4096, 16);
}

__attribute__((noinline)) static uint64_t execute(uint64_t ops)
{
	begin(false);
	set_stack_base();
	while (!input.over && run.ops < ops)
		step(input_byte());
	end();
	return run.ops;
}

static void from_seed(uint64_t seed)
{
	clean_up();
	input_seed(seed);
}

uint64_t heap_ops_run(const unsigned char *bytes, size_t size)
{
	clean_up();
	input_string(bytes, size);
	return execute(UINT64_MAX);
}

uint64_t heap_ops_random(uint64_t seed, uint64_t ops)
{
	from_seed(seed);
	return execute(ops);
}

uint64_t heap_ops_soak(uint64_t seed, unsigned seconds, uint64_t limit_bytes, uint64_t *nulls)
{
	uint64_t until = loam_host_now_ns() + (uint64_t)seconds * 1000000000u;

	from_seed(seed);
	begin(true);
	set_stack_base();
	loam_sys_set_limit(limit_bytes);
	REQUIRE(loam_gc_set_limit(limit_bytes) == LOAM_OK, "set_limit");
	while (run.ops % 64 != 0 || loam_host_now_ns() < until) {
		uint64_t before = run.nulls;

		/* up to the limit nothing is let go of; there, the heads of some lists are */
		step(input_byte());
		for (unsigned n = 0; run.nulls != before && n < 4; n++)
			shadow_pop(input_byte() % SHADOW_ROOTS);
	}
	*nulls = run.nulls;
	end();
	return run.ops;
}
