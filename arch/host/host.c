/* SPDX-License-Identifier: MIT */
/*
 * The hooks of <loam/host.h> on Linux: log, panic, time, and threads over pthreads.
 *
 * Stopping the world. Each attached thread has a node in a registry. loam_host_world_stop takes
 * the registry's mutex, so that nobody attaches, detaches or stops meanwhile, makes `world` odd,
 * and asks every other thread twice: with the allocator's own flag, which a thread looks at
 * whenever it leaves the allocator, and with a signal, for threads that are elsewhere. Whichever
 * comes first parks the thread: it publishes its stack pointer, posts a semaphore, and waits on
 * the futex `world` until that is even again. A thread inside the allocator when the signal
 * comes runs on until it leaves; its registers are spilled to its stack when it parks (by the
 * signal frame or by loam_cpu_spill), where the scan finds them.
 *
 *   [WORLD-1] While world is odd, every registered thread but the stopper is parked once the
 *             semaphore has been taken as often as there are others.
 *
 * A thread that does not park within ten seconds (signal blocked, stuck in the kernel) is named
 * in a panic instead of hanging for ever.
 */
#include "arch/host/host.h"
#include "arch/host/self.h"

#include "arch/cpu.h"
#include "arch/check.h"

#include <loam/gc.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STOP_SIGNAL  (SIGRTMIN + 3)
#define WATCHDOG_SEC 10
#define CPU_SLOT_MAX 64

struct node {
	struct loam_thread *thread; /* NULL: slot not in use by an attached thread */
	pthread_t id;
	const void *stack_base;
	const void *sp;	     /* while parked */
	unsigned parked_for; /* atomic: value of `world` it parked for */
	struct node *next;
};

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct node *nodes; /* registry */
static unsigned world;	   /* atomic, futex: odd while stopped */
static sem_t parked;
static uint64_t cpu_slots; /* atomic: bit n taken */
static __thread struct node self;
__thread struct loam_thread *loam_host_self;
static __thread unsigned cpu_slot_plus_1;
static pthread_key_t exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static loam_host_panic_handler *on_panic;
static loam_host_log_handler *on_log;

/* ---- text ---- */

void loam_host_on_panic(loam_host_panic_handler *handler)
{
	on_panic = handler;
}

void loam_host_on_log(loam_host_log_handler *handler)
{
	on_log = handler;
}

/* Not by stdio: whoever is stopped may hold its lock, and we may be inside the allocator, or the one who stops. */
static void say(const char *text, size_t length)
{
	while (length > 0) {
		ssize_t said = write(STDERR_FILENO, text, length);

		if (said < 0 && errno != EINTR)
			return;
		text += said > 0 ? said : 0;
		length -= said > 0 ? (size_t)said : 0;
	}
}

void loam_host_panic(const char *file, int line, const char *msg)
{
	char text[512];
	int length;

	if (on_panic != NULL)
		on_panic(file, line, msg);
	length = snprintf(text, sizeof(text), "loam: panic: %s:%d: %s\n", file, line, msg);
	say(text, length < (int)sizeof(text) ? (size_t)length : sizeof(text) - 1);
	abort();
}

void loam_host_log(enum loam_log_level level, const char *buf, size_t len)
{
	if (on_log != NULL)
		on_log(level, buf, len);
	else if (level != LOAM_LOG_DEBUG)
		say(buf, len);
}

uint64_t loam_host_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- CPUs: a small number for each thread that runs loam code ---- */

static void thread_exit(void *unused)
{
	(void)unused;
	if (cpu_slot_plus_1 != 0) /* release: the slot's next user sees our last writes */
		__atomic_fetch_and(&cpu_slots, ~((uint64_t)1 << (cpu_slot_plus_1 - 1)),
				   __ATOMIC_RELEASE);
	cpu_slot_plus_1 = 0;
}

static void init_once(void)
{
	pthread_key_create(&exit_key, thread_exit);
	sem_init(&parked, 0, 0);
}

unsigned loam_host_cpu_id(void)
{
	uint64_t old;
	unsigned slot;

	if (cpu_slot_plus_1 != 0)
		return cpu_slot_plus_1 - 1;
	pthread_once(&once, init_once);
	old = __atomic_load_n(&cpu_slots, __ATOMIC_RELAXED);
	do { /* acquire: partner of thread_exit's release */
		if (old == UINT64_MAX)
			loam_host_panic(__FILE__, __LINE__, "more than 64 threads run loam code");
		slot = (unsigned)__builtin_ctzll(~old);
	} while (!__atomic_compare_exchange_n(&cpu_slots, &old, old | (uint64_t)1 << slot, false,
					      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	pthread_setspecific(exit_key, &cpu_slots);
	cpu_slot_plus_1 = slot + 1;
	return slot;
}

unsigned loam_host_cpu_count(void)
{
	return CPU_SLOT_MAX;
}

/* ---- threads ---- */

__thread unsigned loam_host_masked;
__thread bool loam_host_stop_due;

/*
 * Stop here if a stop is under way and this thread has not stopped for it. The signal may come amid this
 * and do all of it, for this stop and for later ones: whoever moves `parked_for` on is the one who
 * stops, and posts once.
 */
static void park_at(void *unused, const void *sp)
{
	unsigned now, before = __atomic_load_n(&self.parked_for, __ATOMIC_RELAXED);

	(void)unused;
	do {
		/* seq_cst: after the end of the request that led here (loam_cache_park) */
		now = __atomic_load_n(&world, __ATOMIC_SEQ_CST);
		if ((now & 1) == 0 || before == now)
			return; /* too late, or the other of the two requests was first */
				/* release: partner of the acquire in wait_for_one */
	} while (!__atomic_compare_exchange_n(&self.parked_for, &before, now, false,
					      __ATOMIC_RELEASE, __ATOMIC_RELAXED));
	self.sp = sp; /* before the post; the stack below is as the scan sees it */
	sem_post(&parked);
	/* acquire: what the collector wrote is seen after the wait */
	while (__atomic_load_n(&world, __ATOMIC_ACQUIRE) == now)
		syscall(SYS_futex, &world, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
}

void loam_host_thread_parked(void)
{
	loam_cpu_spill(park_at, NULL);
}

static void on_stop_signal(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)sig;
	(void)info;
	(void)context; /* the registers of the interrupted code lie above this frame */
	if (loam_host_masked > 0)
		loam_host_stop_due = true;
	else if (self.thread != NULL && loam_thread_may_stop(self.thread))
		loam_cpu_spill(park_at, NULL);
	errno = saved;
}

void loam_host_unmasked(void)
{
	loam_host_stop_due = false;
	/* inside the allocator it stops when it leaves */
	if (self.thread != NULL && loam_thread_may_stop(self.thread))
		loam_cpu_spill(park_at, NULL);
}

struct loam_thread *loam_host_thread(void)
{
	return loam_host_self;
}

static const void *own_stack_base(void)
{
	pthread_attr_t attr;
	void *low = NULL;
	size_t size = 0;

	if (pthread_getattr_np(pthread_self(), &attr) != 0)
		loam_host_panic(__FILE__, __LINE__, "pthread_getattr_np failed");
	pthread_attr_getstack(&attr, &low, &size);
	pthread_attr_destroy(&attr);
	return (char *)low + size;
}

/*
 * A stop holds the registry until the world starts again, and may wait for this very thread: so it
 * parks while it waits. (The signal does that too, but some thread sanitizers hold signals back while
 * a mutex is waited for.)
 */
static void lock_registry(void)
{
	while (pthread_mutex_trylock(&registry) != 0) {
		if (self.thread != NULL)
			loam_cpu_spill(park_at, NULL);
		sched_yield();
	}
}

static void install_handler(void)
{
	struct sigaction action = {.sa_sigaction = on_stop_signal,
				   .sa_flags = SA_RESTART | SA_SIGINFO};

	sigfillset(&action.sa_mask);
	sigaction(STOP_SIGNAL, &action, NULL);
}

static void unlink_self(void)
{
	for (struct node **link = &nodes; *link != NULL; link = &(*link)->next) {
		if (*link == &self) {
			*link = self.next;
			return;
		}
	}
}

void loam_host_thread_set(struct loam_thread *thread)
{
	pthread_once(&once, init_once);
	lock_registry();
	if (self.thread != NULL)
		unlink_self();
	self.thread = loam_host_self = thread;
	if (thread != NULL) {
		install_handler();
		self.id = pthread_self();
		self.stack_base = own_stack_base();
		self.next = nodes;
		nodes = &self;
	}
	pthread_mutex_unlock(&registry);
}

static void wait_for_one(unsigned now)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WATCHDOG_SEC;
	while (sem_timedwait(&parked, &until) != 0) {
		if (errno != ETIMEDOUT)
			continue;
		for (const struct node *n = nodes; n != NULL; n = n->next) {
			char text[64];

			if (n == &self || __atomic_load_n(&n->parked_for, __ATOMIC_ACQUIRE) == now)
				continue;
			say(text,
			    (size_t)snprintf(text, sizeof(text), "loam: thread %lu did not stop\n",
					     (unsigned long)n->id));
		}
		loam_host_panic(__FILE__, __LINE__, "a thread did not stop within 10 s");
	}
}

void loam_host_world_stop(void)
{
	unsigned now, others = 0;

	lock_registry();
	/* seq_cst: before the requests, so that whoever sees one sees an odd world */
	now = __atomic_add_fetch(&world, 1, __ATOMIC_SEQ_CST);
	for (struct node *n = nodes; n != NULL; n = n->next) {
		if (n == &self)
			continue;
		loam_thread_request_stop(n->thread);
		pthread_kill(n->id, STOP_SIGNAL);
		others++;
	}
	for (; others > 0; others--)
		wait_for_one(now);
}

void loam_host_world_start(void)
{
	/* release: the collector's writes come before the threads run on */
	__atomic_add_fetch(&world, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &world, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	pthread_mutex_unlock(&registry);
}

void loam_host_stacks(void (*visit)(void *arg, const void *lo, const void *hi), void *arg)
{
	for (const struct node *n = nodes; n != NULL; n = n->next) {
		if (n != &self)
			visit(arg, n->sp, n->stack_base);
	}
}
