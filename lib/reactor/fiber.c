/* Fibers: stacks from a pool, and the switch between them and the loop. Only the loop resumes a fiber and
 * only a fiber parks itself, so there is never a switch from fiber to fiber. */
#include "shard.h"

#include <sys/mman.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(low, high) 0u
#define VALGRIND_STACK_DEREGISTER(id)      ((void)(id))
#endif

#ifdef SLUICE_SANITIZE
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef SLUICE_TSAN
#include <sanitizer/tsan_interface.h>
#endif

void fiber_switch(void **sp_save, void *sp_to);
void fiber_start(void);

#define GUARD_SIZE 4096u

/* ---- Switching ---- */

static void enter(struct shard *shard, struct fiber *fiber)
{
	shard->running = fiber;
	debug_here = fiber->debug;
#ifdef SLUICE_SANITIZE
	__sanitizer_start_switch_fiber(&shard->loop_fake_stack, fiber->stack, fiber->stack_size);
#endif
#ifdef SLUICE_TSAN
	shard->loop_tsan =
	    __tsan_get_current_fiber(); /* of this thread: shard_new() may have been called on another */
	__tsan_switch_to_fiber(fiber->tsan, 0);
#endif
	fiber_switch(&shard->loop_sp, fiber->sp);
#ifdef SLUICE_SANITIZE
	__sanitizer_finish_switch_fiber(shard->loop_fake_stack, NULL, NULL);
#endif
	debug_here = NULL;
	shard->running = NULL;
}

/* ended: the fiber will not be resumed where it stands, so its fake stack can go. */
static void leave(struct shard *shard, struct fiber *fiber, bool ended)
{
#ifdef SLUICE_SANITIZE
	__sanitizer_start_switch_fiber(ended ? NULL : &fiber->fake_stack, shard->loop_stack,
				       shard->loop_stack_size);
#endif
	(void)ended;
#ifdef SLUICE_TSAN
	__tsan_switch_to_fiber(shard->loop_tsan, 0);
#endif
	fiber_switch(&fiber->sp, shard->loop_sp);
#ifdef SLUICE_SANITIZE
	__sanitizer_finish_switch_fiber(fiber->fake_stack, &shard->loop_stack, &shard->loop_stack_size);
#endif
}

void fiber_park(struct shard *shard)
{
	ASSERT(shard->running);
	shard->stats.parks++;
	leave(shard, shard->running, false);
}

_Noreturn static void fiber_main(struct fiber *fiber)
{
	struct shard *shard = fiber->shard;

#ifdef SLUICE_SANITIZE
	__sanitizer_finish_switch_fiber(NULL, &shard->loop_stack, &shard->loop_stack_size);
#endif
	fiber->f(fiber->arg);
	fiber->f = NULL;
	leave(shard, fiber, true);
	abort(); /* nobody resumes a fiber that has ended */
}

/* The frame that fiber_switch() will pop: r15 r14 r13 r12 rbx rbp, return address. What lies above it is a
 * multiple of 64, so that fiber_start makes its call with the stack aligned as the ABI wants. */
static void fiber_prepare(struct fiber *fiber)
{
#if defined(__x86_64__)
	uintptr_t *sp = (uintptr_t *)((uintptr_t)fiber & ~(uintptr_t)63) - 7;

	memset(sp, 0, 7 * sizeof(*sp));
	sp[2] = (uintptr_t)fiber_main; /* r13 */
	sp[3] = (uintptr_t)fiber;      /* r12 */
	sp[6] = (uintptr_t)fiber_start;
	fiber->sp = sp;
#elif defined(__aarch64__)
	uintptr_t *sp = (uintptr_t *)((uintptr_t)fiber & ~(uintptr_t)63);

	sp -= 20;
	memset(sp, 0, 20 * sizeof(*sp));
	sp[0] = (uintptr_t)fiber;        /* x19 */
	sp[1] = (uintptr_t)fiber_main;   /* x20 */
	sp[11] = (uintptr_t)fiber_start; /* x30 */
	fiber->sp = sp;
#else
#error "fiber_switch() has to be written for this processor"
#endif
}

/* ---- Stacks ---- */

static struct fiber *stack_new(struct shard *shard)
{
	char *map = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	struct fiber *fiber;

	if (map == MAP_FAILED)
		return NULL;
	if (mprotect(map, GUARD_SIZE, PROT_NONE)) {
		munmap(map, GUARD_SIZE + STACK_SIZE);
		return NULL;
	}
	fiber = (struct fiber *)(map + GUARD_SIZE + STACK_SIZE - ((sizeof(*fiber) + 63) & ~63ul));
	*fiber = (struct fiber){.shard = shard, .stack = map + GUARD_SIZE};
	fiber->stack_size = (size_t)((char *)fiber - fiber->stack);
	fiber->valgrind_id = VALGRIND_STACK_REGISTER(fiber->stack, (char *)fiber);
#ifdef SLUICE_TSAN
	fiber->tsan = __tsan_create_fiber(0);
#endif
	list_init(&fiber->ready);
	list_append(&shard->fibers, &fiber->all);
	return fiber;
}

static void stack_free(struct fiber *fiber)
{
	list_remove(&fiber->all);
	VALGRIND_STACK_DEREGISTER(fiber->valgrind_id);
#ifdef SLUICE_TSAN
	__tsan_destroy_fiber(fiber->tsan);
#endif
#ifdef SLUICE_SANITIZE
	__asan_unpoison_memory_region(fiber->stack, fiber->stack_size);
#endif
	munmap(fiber->stack - GUARD_SIZE, GUARD_SIZE + STACK_SIZE);
}

static void stack_release(struct shard *shard, struct fiber *fiber)
{
	shard->stats.fibers_running--;
	if (shard->stats.stacks_idle >= STACKS_IDLE_MAX) {
		stack_free(fiber);
		return;
	}
	shard->stats.stacks_idle++;
	list_prepend(&shard->stacks, &fiber->ready); /* the warmest is used next */
}

void fibers_init(struct shard *shard)
{
	list_init(&shard->ready);
	list_init(&shard->stacks);
	list_init(&shard->fibers);
}

/* Those that still wait end here too: where they stand, without another instruction. */
void fibers_done(struct shard *shard)
{
	while (!list_empty(&shard->fibers))
		stack_free(LIST_ITEM(shard->fibers.next, struct fiber, all));
}

/* ---- The door ---- */

enum rc fiber_spawn(struct shard *shard, void (*f)(void *arg), void *arg)
{
	struct fiber *fiber;

	if (shard->stats.fibers_running >= shard->options.fiber_count_max) {
		shard->stats.fibers_refused++;
		return DEFER;
	}
	if (!list_empty(&shard->stacks)) {
		fiber = LIST_ITEM(list_shift(&shard->stacks), struct fiber, ready);
		shard->stats.stacks_idle--;
	} else {
		fiber = stack_new(shard);
		if (!fiber) {
			shard->stats.fibers_refused++;
			return DEFER;
		}
	}
	fiber->f = f;
	fiber->arg = arg;
	fiber->debug = NULL;
	fiber_prepare(fiber);
	shard->stats.fibers_running++;
	shard->stats.fibers_started++;
	fiber_ready(fiber);
	return OK;
}

void fibers_run(struct shard *shard)
{
	struct link now, *l;

	if (list_empty(&shard->ready))
		return;
	/* Take the whole list: who becomes ready while it runs waits for the next round, so that two fibers
	 * which keep waking each other cannot keep the loop from the kernel. */
	list_init(&now);
	now.next = shard->ready.next;
	now.prev = shard->ready.prev;
	now.next->prev = &now;
	now.prev->next = &now;
	list_init(&shard->ready);
	shard->batch = shard->ready_count;
	shard->ready_count = 0;
	while ((l = list_shift(&now))) {
		struct fiber *fiber = LIST_ITEM(l, struct fiber, ready);

		enter(shard, fiber);
		if (!fiber->f)
			stack_release(shard, fiber);
	}
}

void fiber_debug(struct debug *debug)
{
	struct shard *shard = shard_here();

	if (shard && shard->running)
		shard->running->debug = debug;
	debug_here = debug;
}

bool fiber_running(void)
{
	struct shard *shard = shard_here();

	return shard && shard->running;
}

/* noinline: the address of a local is the measure, and it must be of a frame that is really here. Under
 * AddressSanitizer locals may live on a fake stack, so the frame address is asked for instead. */
__attribute__((noinline)) size_t fiber_stack_left(void)
{
	struct shard *shard = shard_here();
	const char *here = __builtin_frame_address(0);

	if (!shard || !shard->running)
		return 1024 * 1024; /* the loop's own stack, which is the system's */
	return here > shard->running->stack ? (size_t)(here - shard->running->stack) : 0;
}
