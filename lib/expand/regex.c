/* regex: PCRE2, with limits that make a hostile pattern or subject an error instead of a stop, and without
 * the system's allocator: patterns live in the arena they were compiled into. There is no JIT: machine code
 * would need memory of its own that no arena gives back, and a match would run on a second stack. */

#define PCRE2_CODE_UNIT_WIDTH 8
#include "regex.h"

#include <pcre2.h>
#include <stdlib.h>

/* Steps of one match. A step takes some ten nanoseconds, so the worst pattern stops the shard for some
 * milliseconds. */
#define REGEX_STEPS_MAX    500000
#define REGEX_DEPTH_MAX    20000
#define REGEX_HEAP_KIB_MAX 8192
#define REGEX_PATTERN_MAX  (64u * 1024)
/* The compiler has workspaces of some 20 KiB on the stack before it begins to recurse. */
#define REGEX_COMPILE_STACK_MIN (40u * 1024)
#define REGEX_NEST_MAX          100
/* Patterns a shard remembers that were known only at run time. When there are more, all go: a generation is
 * cheap to make again, and nobody has to keep a list in order. */
#define REGEX_CACHE_MAX       512
#define REGEX_CACHE_BYTES_MAX (8u * 1024 * 1024)
#define REGEX_GROUPS_MAX      32

struct regex {
	pcre2_code *code;
	uint32_t group_count;
};
struct regex_shard {
	struct arena arena;
	struct map cache[2]; /* by flags: pattern -> struct regex * */
	struct arena match_arena;
	pcre2_match_data *match_data;
	pcre2_match_context *match_context;
};

static struct shard_slot slot;

static void *memory_take(PCRE2_SIZE size, void *arena)
{
	return arena_alloc(arena, size, _Alignof(max_align_t));
}

static void memory_give(void *ptr, void *arena)
{
	(void)ptr; /* goes with the arena */
	(void)arena;
}

/* PCRE2's compiler recurses where parentheses nest. */
static int stack_guard(uint32_t depth, void *unused)
{
	(void)depth;
	(void)unused;
	return fiber_stack_left() < REGEX_COMPILE_STACK_MIN / 2;
}

enum rc regex_compile(struct arena *arena, struct slice pattern, unsigned flags, const struct regex **ret,
		      struct err *err)
{
	pcre2_general_context *general = pcre2_general_context_create(memory_take, memory_give, arena);
	pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
	struct regex *regex = arena_make(arena, struct regex);
	char message[128];
	size_t offset;
	int code;

	if (!context || !regex)
		return err_memory(err);
	(void)pcre2_set_parens_nest_limit(context, REGEX_NEST_MAX);
	(void)pcre2_set_compile_recursion_guard(context, stack_guard, NULL);
	if (fiber_stack_left() < REGEX_COMPILE_STACK_MIN)
		return err_set(err, FAIL, "regular expression is nested too deeply in an expansion");
	if (pattern.len > REGEX_PATTERN_MAX)
		return err_set(err, FAIL, "regular expression is too long");
	/* \C would cut characters, callouts would call us, and (*LIMIT...) can only lower our limits. */
	regex->code = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len,
				    (flags & REGEX_NOCASE ? PCRE2_CASELESS : 0), &code, &offset, context);
	if (!regex->code) {
		if (code == PCRE2_ERROR_HEAP_FAILED)
			return err_memory(err);
		pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof(message));
		return err_set(err, FAIL, "regular expression error in \"%.*s\": %s at offset %zu",
			       SLICE_ARG(pattern), message, offset);
	}
	(void)pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &regex->group_count);
	*ret = regex;
	return OK;
}

unsigned regex_group_count(const struct regex *regex)
{
	return regex->group_count;
}

static void cache_clear(struct regex_shard *state)
{
	arena_clear(&state->arena);
	for (unsigned i = 0; i < 2; i++)
		map_init(&state->cache[i], &state->arena, false);
}

static bool match_tools_make(struct regex_shard *state)
{
	pcre2_general_context *general;

	arena_init(&state->arena, REGEX_CACHE_BYTES_MAX);
	cache_clear(state);
	/* PCRE2 grows its frames by taking a larger block each time: twice the limit is never exceeded. What
	 * it has grown to is kept, so later matches take nothing. */
	arena_init(&state->match_arena, (size_t)REGEX_HEAP_KIB_MAX * 1024 * 4);
	general = pcre2_general_context_create(memory_take, memory_give, &state->match_arena);
	state->match_data = general ? pcre2_match_data_create(REGEX_GROUPS_MAX, general) : NULL;
	state->match_context = general ? pcre2_match_context_create(general) : NULL;
	if (!state->match_data || !state->match_context)
		return false;
	pcre2_set_match_limit(state->match_context, REGEX_STEPS_MAX);
	pcre2_set_depth_limit(state->match_context, REGEX_DEPTH_MAX);
	pcre2_set_heap_limit(state->match_context, REGEX_HEAP_KIB_MAX);
	return true;
}

static void state_free(struct regex_shard *state)
{
	arena_done(&state->arena);
	arena_done(&state->match_arena);
	free(state);
}

/* The shard's tools, made at first use: once a shard, so from the heap. Off a shard (while a file is read, in
 * tests) they are made for the call and *own is set. */
static struct regex_shard *state_get(struct shard *shard, bool *own)
{
	struct regex_shard *state = shard ? shard_slot(shard, &slot) : NULL;

	*own = false;
	if (state)
		return state;
	state = calloc(1, sizeof(*state));
	if (!state)
		return NULL;
	if (!match_tools_make(state)) {
		state_free(state);
		return NULL;
	}
	if (shard)
		shard_slot_set(shard, &slot, state);
	else
		*own = true;
	return state;
}

void expand_done(struct shard *shard)
{
	struct regex_shard *state = shard_slot(shard, &slot);

	if (state)
		state_free(state);
	shard_slot_set(shard, &slot, NULL);
}

enum rc regex_cached(struct shard *shard, struct slice pattern, unsigned flags, const struct regex **ret,
		     struct err *err)
{
	bool own;
	struct regex_shard *state = state_get(shard, &own);
	const struct regex *made;
	struct regex *regex;
	struct slice key;
	enum rc rc;

	if (!state)
		return err_memory(err);
	ASSERT(!own && flags <= 1); /* the cache is a shard's */
	regex = map_get(&state->cache[flags], pattern);
	if (!regex) {
		if (state->cache[0].count + state->cache[1].count >= REGEX_CACHE_MAX ||
		    state->arena.used > REGEX_CACHE_BYTES_MAX / 2)
			cache_clear(state);
		rc = regex_compile(&state->arena, pattern, flags, &made, err);
		if (rc != OK)
			return rc;
		regex = (struct regex *)(uintptr_t)made;
		key = arena_copy(&state->arena, pattern);
		if (!key.ptr || !map_set(&state->cache[flags], key, regex))
			return err_memory(err);
	}
	*ret = regex;
	return OK;
}

static void numbers_fill(const pcre2_match_data *match_data, struct slice subject, int pairs,
			 struct slice *numbers, unsigned numbers_max, unsigned *count_ret)
{
	const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer((pcre2_match_data *)(uintptr_t)match_data);
	unsigned count = (unsigned)pairs < numbers_max ? (unsigned)pairs : numbers_max;

	for (unsigned i = 0; i < count; i++) {
		size_t from = ovector[2 * i], to = ovector[2 * i + 1];

		if (from == PCRE2_UNSET || to < from)
			numbers[i] = (struct slice){NULL, 0, subject.taint};
		else
			numbers[i] = slice_sub(subject, from, to - from);
	}
	*count_ret = count;
}

enum rc regex_match_at(const struct regex *regex, struct slice subject, size_t start, bool not_empty,
		       struct slice *numbers, unsigned numbers_max, unsigned *count_ret, struct err *err)
{
	bool own;
	struct regex_shard *state = state_get(shard_here(), &own);
	enum rc rc = OK;
	int pairs;

	if (!state)
		return err_memory(err);
	pairs = pcre2_match(regex->code, (PCRE2_SPTR)subject.ptr, subject.len, start,
			    not_empty ? PCRE2_NOTEMPTY_ATSTART | PCRE2_ANCHORED : 0, state->match_data,
			    state->match_context);
	if (pairs == 0)
		pairs = REGEX_GROUPS_MAX; /* more groups than anyone can ask for */
	if (pairs > 0)
		numbers_fill(state->match_data, subject, pairs, numbers, numbers_max, count_ret);
	else if (pairs == PCRE2_ERROR_NOMATCH)
		rc = FAIL;
	else
		rc = err_set(err, DEFER,
			     "regular expression gave up: too much work for this subject (PCRE2 error %d)",
			     pairs);
	if (own)
		state_free(state);
	return rc;
}

enum rc regex_match(const struct regex *regex, struct slice subject, struct slice *numbers,
		    unsigned numbers_max, unsigned *count_ret, struct err *err)
{
	return regex_match_at(regex, subject, 0, false, numbers, numbers_max, count_ret, err);
}
