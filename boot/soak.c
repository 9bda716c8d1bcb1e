/* SPDX-License-Identifier: MIT */
/*
 * Each CPU changes a graph of its own, and hands lists of nodes to others, while the heap collects at every N-th
 * allocation. What is live at the end of an epoch depends on the seed alone: not on when a collection came, nor on
 * the barrier, nor on the machine. So its checksum tells whether any run has lost anything.
 *
 *   own graph      a table of nodes, as long as the generator says. A node has links to nodes of the same table, or
 *                  that were in it; the links of one that leaves it are cleared, so that dead ones hold no chains.
 *                  Nodes are typed, or conservative, or with many more links, or with a leaf without pointers.
 *   chains         lists and leaves that are in one place alone are taken out, are on the stack for a while, and go in elsewhere: where
 *                  the collector has been, while it has not been where they were.
 *   hand-over      a list goes into a shared slot, and whatever was there comes out, is checked, summed and dropped. Who
 *                  gets which is a matter of time, but the sum of all that were sent is not.
 *   next CPU       at the end of an epoch each sends its neighbour a list, which goes into that one's table.
 *
 * Pointers are stored by put and its kin: by loam_store with LOAM_BARRIER_SOFTWARE, else plainly.
 *
 * Epochs: even ones collect wholly at every N-th allocation, odd ones do a step of a cycle; N goes up by one every two epochs.
 * Each cycle's marks are checked (loam_gc_set_check). Between epochs all threads are detached but the first. When all have summed
 * theirs it collects once more, verifies the heap and says the sums.
 */
#include "boot/soak.h"

#include "arch/check.h"
#include "boot/smp.h"
#include "gc/heap.h"
#include "mm/print.h"

#include <loam/cpu.h>

void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);

#define LINKS	   3u
#define SLOTS	   64u	  /* shared */
#define TABLE_MIN  CHAINS /* own: entries */
#define TABLE_MAX  512u
#define MORE_MAX   200u /* links of a large node; now and then so many times MORE_TIMES */
#define MORE_TIMES 40u
#define LEAF_MAX   500u /* words */
#define LIST_MAX   6u
#define CHAINS	   64u /* lists that are in one place alone */
#define HELD	   4u
#define OPS	   24u /* for N = 1 */
#define STEP_OPS   8u  /* times as many if only steps are done */
#define N_MAX	   200u
#define WORK_MAX   65536u

enum kind { TYPED, CONSERVATIVE, LARGE, WITH_LEAF, KINDS };

struct node {
	uint64_t id, kind, more_count, seen;
	struct node *link[LINKS];
	uint64_t *leaf; /* its words, an id, and what that makes of the rest; or NULL */
	struct node *more[];
};

static const uint64_t node_pointers = 0xf0;
static const struct loam_type node_type = {
	.size = sizeof(struct node), .ptr_words = 8, .ptr_bits = &node_pointers, .name = "soak"};

/* One CPU's. The pointers are roots. */
struct share {
	struct node **table, **chains;
	struct node *inbox, *outbox; /* from the neighbour: for this epoch, for the next */
	uint64_t count;		     /* entries of the table */
	uint64_t rng, next_id, sent, got, live_sum, live_count;
};

static struct share share[LOAM_BOOT_CPUS];
static struct loam_thread thread[LOAM_BOOT_CPUS] LOAM_BOOT_NO_ROOTS;
static struct node **slots; /* SLOTS; an object */
static const char *bad;	    /* atomic: the first thing that went wrong */
static uint64_t ops, epoch; /* of the running epoch */
static bool barrier;	    /* the software one */

static void must(bool ok, const char *what)
{
	const char *none = NULL;

	if (!ok)
		__atomic_compare_exchange_n(&bad, &none, what, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED);
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t below(struct share *s, uint64_t n)
{
	return mix(s->rng += UINT64_C(0x9e3779b97f4a7c15)) % n;
}

/* ---- stores ---- */

static void put(void *slot, void *value)
{
	if (barrier)
		loam_store(slot, value);
	else
		*(void *volatile *)slot = value;
}

static void *exchange(void *slot, void *value)
{
	return barrier ? loam_store_exchange(slot, value)
		       : __atomic_exchange_n((void **)slot, value, __ATOMIC_ACQ_REL);
}

static void move(void *to, const void *from, size_t size)
{
	if (barrier)
		loam_store_move(to, from, size);
	else
		memmove(to, from, size);
}

/* ---- nodes ---- */

static uint64_t *make_leaf(struct share *s, uint64_t id)
{
	uint64_t words = 2 + below(s, LEAF_MAX);
	uint64_t *leaf = loam_alloc_noscan(words * 8);

	must(leaf != NULL, "out of memory");
	if (leaf == NULL)
		return NULL;
	leaf[0] = words;
	leaf[1] = id;
	for (uint64_t i = 2; i < words; i++) {
		must(leaf[i] == 0, "a new leaf is not zero");
		leaf[i] = mix(id + i);
	}
	return leaf;
}

static struct node *make_node(struct share *s, enum kind kind)
{
	uint64_t more = kind != LARGE ? 0 : 1 + below(s, MORE_MAX);
	struct node *node;

	if (more > 0 && below(s, 20) == 0)
		more *= MORE_TIMES;
	node = kind == TYPED ? loam_alloc_type(&node_type, 1)
			     : loam_alloc(sizeof(*node) + more * sizeof(void *));
	must(node != NULL, "out of memory");
	if (node == NULL)
		return NULL;
	must(node->id == 0 && node->seen == 0 && node->link[0] == NULL && node->leaf == NULL,
	     "a new node is not zero");
	node->id = s->next_id++;
	node->kind = kind;
	node->more_count = more;
	if (kind == WITH_LEAF)
		put(&node->leaf, make_leaf(s, node->id));
	return node;
}

static void check_leaf(const uint64_t *leaf)
{
	if (leaf == NULL)
		return;
	must(loam_object_base(leaf) == leaf && leaf[0] - 2 <= LEAF_MAX, "a leaf was freed");
	for (uint64_t i = 2; i < leaf[0] && i < LEAF_MAX + 2; i++)
		must(leaf[i] == mix(leaf[1] + i), "a leaf has changed");
}

/* ---- lists ---- */

static struct node *make_list(struct share *s)
{
	struct node *list = NULL;

	for (uint64_t n = 1 + below(s, LIST_MAX); n > 0; n--) {
		struct node *node = make_node(s, below(s, 2) != 0 ? TYPED : WITH_LEAF);

		if (node == NULL)
			return list;
		put(&node->link[0], list);
		list = node;
	}
	return list;
}

static uint64_t list_sum(const struct node *list)
{
	uint64_t sum = 0;

	for (; list != NULL; list = list->link[0]) {
		must(loam_object_base(list) == list, "a node of a list was freed");
		check_leaf(list->leaf);
		sum += mix(list->id);
	}
	return sum;
}

static void hand_over(struct share *s)
{
	struct node *list = make_list(s), *old;

	s->sent += list_sum(list);
	old = exchange(&slots[below(s, SLOTS)], list);
	s->got += list_sum(old);
}

/* ---- the own graph ---- */

static struct node *any(struct share *s)
{
	return s->table[below(s, s->count)];
}

static void clear_links(struct node *node)
{
	for (unsigned k = 0; k < LINKS; k++)
		put(&node->link[k], NULL);
	if (barrier)
		loam_store_zero(node->more, node->more_count * sizeof(void *));
	else
		memset(node->more, 0, node->more_count * sizeof(void *));
}

static void replace(struct share *s)
{
	struct node *node = make_node(s, (enum kind)below(s, KINDS)), *old;
	uint64_t at = below(s, s->count);

	if (node == NULL)
		return;
	for (unsigned k = 0; k < LINKS; k++)
		put(&node->link[k], any(s));
	for (uint64_t i = 0; i < node->more_count; i += 1 + node->more_count / 50)
		put(&node->more[i], any(s));
	old = s->table[at];
	put(&s->table[at], node);
	if (old != NULL)
		clear_links(old);
}

static void relink(struct share *s)
{
	struct node *from = any(s), *to = any(s);
	uint64_t k = below(s, LINKS);

	if (from != NULL)
		put(&from->link[k], to);
}

/* Many links at once, and two places that change places: the only pointer to a node is in no memory meanwhile. */
static void shuffle(struct share *s)
{
	uint64_t a = below(s, s->count), b = below(s, s->count),
		 n = below(s, s->count - (a > b ? a : b) + 1);
	struct node *node = s->table[a];

	put(&s->table[a], s->table[b]);
	put(&s->table[b], node);
	if (below(s, 16) == 0)
		move(&s->table[a], &s->table[b], n * sizeof(void *));
}

/* The leaf is nobody else's: it can be freed, and moved. */
static void change_leaf(struct share *s)
{
	struct node *node = any(s);
	uint64_t words = 2 + below(s, LEAF_MAX);
	uint64_t *leaf;

	if (node == NULL || node->leaf == NULL)
		return;
	check_leaf(node->leaf);
	if (words % 2 == 0) {
		leaf = node->leaf;
		put(&node->leaf, NULL);
		must(loam_free(leaf) == LOAM_OK, "a leaf could not be freed");
		return;
	}
	leaf = loam_realloc(node->leaf, words * 8);
	must(leaf != NULL, "out of memory");
	if (leaf == NULL)
		return;
	for (uint64_t i = leaf[0]; i < words; i++)
		leaf[i] = mix(leaf[1] + i);
	leaf[0] = words;
	put(&node->leaf, leaf);
}

/* ---- what is on the stack alone ---- */

struct held {
	struct node *list;
	uint64_t *leaf;
};

/* Out of memory, or into it, where something else may be. */
static void hold_leaf(struct share *s, struct held *held)
{
	struct node *node = any(s);
	uint64_t *leaf;

	if (node == NULL)
		return;
	leaf = node->leaf;
	check_leaf(leaf);
	check_leaf(held->leaf);
	put(&node->leaf, held->leaf);
	held->leaf = leaf;
}

static void hold_list(struct share *s, struct held *held)
{
	uint64_t at = below(s, CHAINS);
	struct node *list = s->chains[at];

	if (list == NULL)
		list = make_list(s);
	(void)list_sum(list);
	(void)list_sum(held->list);
	put(&s->chains[at], held->list);
	held->list = list;
}

static void change_table(struct share *s)
{
	uint64_t to = TABLE_MIN + below(s, TABLE_MAX - TABLE_MIN);
	struct node **table;

	for (uint64_t i = to; i < s->count; i++) {
		if (s->table[i] != NULL)
			clear_links(s->table[i]);
	}
	table = loam_realloc(s->table, to * sizeof(void *));
	must(table != NULL, "out of memory");
	if (table == NULL)
		return;
	put(&s->table, table);
	s->count = to;
}

static void step(struct share *s, struct held *held)
{
	switch (below(s, 20)) {
	case 0:
	case 1:
		hand_over(s);
		break;
	case 16:
	case 17:
		hold_leaf(s, &held[below(s, HELD)]);
		break;
	case 18:
	case 19:
		hold_list(s, &held[below(s, HELD)]);
		break;
	case 2:
		change_leaf(s);
		break;
	case 3:
		if (below(s, 16) == 0)
			change_table(s);
		break;
	case 4:
		(void)loam_gc_work(20000);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		replace(s);
		break;
	case 9:
		shuffle(s);
		break;
	default:
		relink(s);
		break;
	}
}

/* ---- sums ---- */

static uint64_t id_of(const struct node *node)
{
	return node != NULL ? node->id : 0;
}

static void visit(struct node *node, struct node **work, uint64_t *waiting)
{
	if (node == NULL || node->seen == epoch || *waiting == WORK_MAX)
		return;
	node->seen = epoch;
	work[(*waiting)++] = node;
}

/* All that the table holds: how many, and which, and how they hang together. */
static void sum_up(struct share *s)
{
	/* no pointers, for the collector: all is held by the table */
	struct node **work = loam_alloc_noscan(WORK_MAX * sizeof(void *));
	uint64_t waiting = 0;

	s->live_sum = s->live_count = 0;
	must(work != NULL, "out of memory");
	for (uint64_t i = 0; i < CHAINS; i++)
		s->live_sum += mix(i + list_sum(s->chains[i]));
	for (uint64_t i = 0; work != NULL && i < s->count; i++) {
		s->live_sum += mix(i * 7 + mix(id_of(s->table[i])));
		visit(s->table[i], work, &waiting);
	}
	while (waiting > 0) {
		struct node *node = work[--waiting];
		uint64_t sum = mix(node->id) + node->kind + node->more_count;

		check_leaf(node->leaf);
		sum += node->leaf != NULL ? mix(node->leaf[0] + node->leaf[1]) : 0;
		for (unsigned k = 0; k < LINKS; k++) {
			sum = mix(sum + id_of(node->link[k]));
			visit(node->link[k], work, &waiting);
		}
		for (uint64_t i = 0; i < node->more_count; i++) {
			sum = mix(sum + id_of(node->more[i]));
			visit(node->more[i], work, &waiting);
		}
		must(waiting < WORK_MAX, "the graph is larger than it can be");
		s->live_sum += sum;
		s->live_count++;
	}
}

/* ---- epochs ---- */

static void start(struct share *s)
{
	put(&s->table, loam_alloc(TABLE_MIN * sizeof(void *)));
	put(&s->chains, loam_alloc(CHAINS * sizeof(void *)));
	must(s->table != NULL && s->chains != NULL, "out of memory");
	if (s->table == NULL || s->chains == NULL)
		return;
	s->count = TABLE_MIN;
	for (unsigned i = 0; i < CHAINS; i++) {
		put(&s->table[i], make_node(s, (enum kind)(i % KINDS)));
		put(&s->chains[i], make_list(s));
	}
}

static void take_inbox(struct share *s)
{
	uint64_t at = 0;

	for (struct node *node = s->inbox; node != NULL && at < s->count; node = node->link[0])
		put(&s->table[at++], node);
	put(&s->inbox, NULL);
}

static void work(void)
{
	unsigned cpu = loam_host_cpu_id(), cpus = loam_smp_count();
	struct held held[HELD] = {{NULL, NULL}};
	struct share *s = &share[cpu];
	struct node *list;

	take_inbox(s);
	for (uint64_t i = 0; i < ops && __atomic_load_n(&bad, __ATOMIC_RELAXED) == NULL; i++) {
		step(s, held);
		if (i % 8 == 0)
			loam_cpu_quiescent();
	}
	for (unsigned i = 0; i < HELD; i++) {
		check_leaf(held[i].leaf);
		put(&s->chains[i], held[i].list);
	}
	list = make_list(s);
	sum_up(s);
	/* after the sum: nobody has looked into it yet. Only this CPU writes that one, and its CPU reads it when all
	 * have stopped. */
	put(&share[(cpu + 1) % cpus].outbox, list);
}

static void work_as_a_thread(void *arg)
{
	struct loam_thread *self = &thread[loam_host_cpu_id()];

	(void)arg;
	must(loam_thread_attach(self, loam_smp_stack_base()) == LOAM_OK, "attach failed");
	work();
	must(loam_thread_detach(self) == LOAM_OK, "detach failed");
}

/* What is left in the slots is got, too; and what came for a CPU is its. */
static void empty_slots(void)
{
	uint64_t sent = 0, got = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		got += list_sum(slots[i]);
		put(&slots[i], NULL);
	}
	for (unsigned cpu = 0; cpu < loam_smp_count(); cpu++) {
		struct share *s = &share[cpu];

		put(&s->inbox, s->outbox);
		put(&s->outbox, NULL);
		sent += s->sent;
		got += s->got;
		s->got = s->sent = 0;
	}
	must(sent == got, "what was handed over is not what came");
}

static void one_epoch(uint64_t n)
{
	uint64_t cycles = loam_heap.cycles, sum = 0, count = 0, sent = 0;
	unsigned cpus = loam_smp_count();

	ops = OPS * n;
	if (epoch % 2 == 0) {
		loam_gc_set_stress(n);
	} else {
		ops *= STEP_OPS;
		loam_gc_set_steps(n, 2048 * n);
	}
	for (unsigned cpu = 1; cpu < cpus; cpu++)
		loam_smp_post(cpu, work_as_a_thread, NULL);
	work();
	loam_smp_wait();
	loam_gc_set_stress(0);
	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		sum = mix(sum + share[cpu].live_sum);
		count += share[cpu].live_count;
		sent += share[cpu].sent;
	}
	empty_slots();
	loam_gc();
	loam_heap_verify();
	loam_log(LOAM_LOG_INFO,
		 "soak epoch %llu every %llu ops %llu checksum %016llx nodes %llu cycles %llu\n",
		 (unsigned long long)epoch, (unsigned long long)n, (unsigned long long)ops * cpus,
		 (unsigned long long)mix(sum + sent), (unsigned long long)count,
		 (unsigned long long)(loam_heap.cycles - cycles));
}

const char *loam_soak_run(const struct loam_boot_info *info)
{
	uint64_t seconds = loam_cmdline_number(info->cmdline, "seconds", 8);
	uint64_t epochs = loam_cmdline_number(info->cmdline, "epochs", UINT64_MAX);
	uint64_t seed = loam_cmdline_number(info->cmdline, "seed", 1);
	uint64_t until = loam_host_now_ns() + seconds * 1000000000;

	barrier = loam_heap.barrier == LOAM_BARRIER_SOFTWARE;
	slots = loam_alloc(SLOTS * sizeof(void *));
	if (slots == NULL || loam_gc_set_check(true) != LOAM_OK)
		return "out of memory";
	for (unsigned cpu = 0; cpu < loam_smp_count(); cpu++) {
		share[cpu] = (struct share){.rng = mix(seed * 64 + cpu),
					    .next_id = ((uint64_t)cpu + 1) << 40};
		start(&share[cpu]);
	}
	/* at least the first two, whatever time they take */
	for (epoch = 1;
	     bad == NULL && epoch <= epochs && (epoch <= 2 || loam_host_now_ns() < until); epoch++)
		one_epoch(epoch / 2 % N_MAX + 1);
	loam_log(LOAM_LOG_INFO, "soak %u CPUs, %s, %llu epochs\n", loam_smp_count(),
		 barrier ? "stores with a barrier" : "plain stores", (unsigned long long)epoch - 1);
	return bad;
}
