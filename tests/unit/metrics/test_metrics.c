/* Metrics: what is written is what a strict reader of the format takes, and the numbers are the sums over the shards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <pthread.h>

#include "metrics/metrics.h"

struct shop {
	struct tally sold[2], guests, turns;
	struct metric_names papers;
};
static const struct metric rows[] = {
    METRIC_COUNTER(struct shop, sold[0], "sluice_sold_total", "what=\"bread\"",
		   "things sold,\nwith a \\ in it"),
    METRIC_COUNTER(struct shop, sold[1], "sluice_sold_total", "what=\"milk\"", ""),
    METRIC_GAUGE(struct shop, guests, "sluice_guests", "", "who is here"),
    METRIC_SHARD_COUNTER(struct shop, turns, "sluice_turns_total", "turns"),
    METRIC_TIME(struct shop, papers, 0, METRIC_KIND_AGE, "sluice_paper_age_seconds", "paper", "age"),
    METRIC_TIME(struct shop, papers, 1, METRIC_KIND_LEFT, "sluice_paper_left_seconds", "paper", "left"),
};
static const struct metric_table shop_table = {rows, ARRAY_COUNT(rows), sizeof(struct shop)};
static const struct metric_table other_table = {rows, 0, 8};
static const struct metric_table *const tables[] = {&shop_table, NULL};

#define NOW 1000000

static struct metrics *open_shop(struct shop *shops[3])
{
	struct metrics *m;

	assert_int_equal(metrics_new(tables, 3, &m, NULL), OK);
	for (unsigned i = 0; i < 3; i++) {
		shops[i] = metrics_block(m, i, &shop_table, NULL);
		assert_non_null(shops[i]);
		assert_int_equal((uintptr_t)shops[i] % 64, 0); /* no line of the cache has two writers */
	}
	return m;
}

static struct slice text_of(struct arena *arena, const struct metrics *m)
{
	struct str out = str_make(arena);

	metrics_write(m, NOW, &out);
	assert_false(out.failed);
	return str_slice(&out);
}

static void has(struct slice text, const char *line, bool there)
{
	char whole[256];
	int len = snprintf(whole, sizeof(whole), "\n%s\n", line);

	if ((slice_search(text, slice_make(whole, (size_t)len, CLEAN)) >= 0) != there)
		fail_msg("%s: %s\n%.*s", there ? "missing" : "should not be there", line, SLICE_ARG(text));
}

static void sums(void **state)
{
	struct shop *shops[3];
	struct metrics *m = open_shop(shops);
	struct arena arena;
	struct slice text;

	(void)state;
	arena_init(&arena, 0);
	tally_up(&shops[0]->sold[0]);
	tally_add(&shops[2]->sold[0], 41);
	tally_add(&shops[1]->sold[1], UINT64_MAX / 2);
	tally_set(&shops[0]->guests, 3);
	tally_down(&shops[0]->guests);
	tally_up(&shops[1]->turns);
	text = text_of(&arena, m);
	has(text, "# HELP sluice_sold_total things sold,\\nwith a \\\\ in it", true);
	has(text, "# TYPE sluice_sold_total counter", true);
	has(text, "sluice_sold_total{what=\"bread\"} 42", true);
	has(text, "sluice_sold_total{what=\"milk\"} 9223372036854775807", true);
	has(text, "# TYPE sluice_guests gauge", true);
	has(text, "sluice_guests 2", true);
	has(text, "sluice_turns_total{shard=\"0\"} 0", true);
	has(text, "sluice_turns_total{shard=\"1\"} 1", true);
	has(text, "sluice_shards 3", true);
	/* A gauge that was read while it moved from one shard to another is never a number of twenty digits. */
	tally_set(&shops[0]->guests, 0);
	tally_set(&shops[1]->guests, (uint64_t)-1);
	has(text_of(&arena, m), "sluice_guests 0", true);
	arena_done(&arena);
	metrics_free(m);
}

/* Each line is a comment or a sample, each name has one head, in front of its samples, which stand together. */
static void form(void **state)
{
	struct shop *shops[3];
	struct metrics *m = open_shop(shops);
	struct arena arena;
	struct slice rest, line, seen[64];
	struct slice name = SLICE_EMPTY;
	unsigned count = 0;

	(void)state;
	arena_init(&arena, 0);
	rest = text_of(&arena, m);
	assert_true(slice_ends(rest, SLICE("\n")));
	while (rest.len && slice_split(&rest, '\n', &line)) {
		uint32_t end = 0;

		if (slice_starts(line, SLICE("# HELP "))) {
			name = slice_from(line, 7);
			name = slice_sub(name, 0, (size_t)slice_find(name, ' '));
			for (unsigned i = 0; i < count; i++)
				assert_false(slice_eq(seen[i], name));
			seen[count++] = name;
			continue;
		}
		if (slice_starts(line, SLICE("# TYPE "))) {
			assert_true(slice_starts(slice_from(line, 7), name));
			continue;
		}
		while (end < line.len && (ascii_is_alnum(line.ptr[end]) || line.ptr[end] == '_'))
			end++;
		assert_true(slice_eq(slice_sub(line, 0, end), name));
		assert_true(line.ptr[end] == ' ' || line.ptr[end] == '{');
	}
	arena_done(&arena);
	metrics_free(m);
}

static void names(void **state)
{
	struct shop *shops[3];
	struct metrics *m = open_shop(shops);
	struct metric_named *at;
	struct arena arena;
	struct slice text;
	char name[METRIC_NAME_MAX + 40];

	(void)state;
	arena_init(&arena, 0);
	at = metric_named(&shops[1]->papers, SLICE("/a \"quoted\\ \nfile\xff"));
	tally_set(&at->values[0], NOW - 60);
	tally_set(&at->values[1], NOW + 600);
	/* The latest of the shards counts; one line for all. */
	at = metric_named(&shops[0]->papers, SLICE("/b"));
	tally_set(&at->values[0], NOW - 90);
	tally_set(&at->values[1], NOW - 5);
	at = metric_named(&shops[2]->papers, SLICE("/b"));
	tally_set(&at->values[0], NOW - 80);
	assert_ptr_equal(at, metric_named(&shops[2]->papers, SLICE("/b")));
	(void)metric_named(&shops[2]->papers, SLICE("/none"));
	text = text_of(&arena, m);
	has(text, "sluice_paper_age_seconds{paper=\"/a \\\"quoted\\\\ \\nfile?\"} 60", true);
	has(text, "sluice_paper_left_seconds{paper=\"/a \\\"quoted\\\\ \\nfile?\"} 600", true);
	has(text, "sluice_paper_age_seconds{paper=\"/b\"} 80", true);
	has(text, "sluice_paper_age_seconds{paper=\"/b\"} 90", false);
	has(text, "sluice_paper_left_seconds{paper=\"/b\"} -5", true);
	has(text, "sluice_paper_left_seconds{paper=\"/none\"} 0", true);
	assert_int_equal(slice_search(text, SLICE("age_seconds{paper=\"/none\"")), -1);
	/* Long names keep their ends; there is an end of places. */
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = 'E';
	at = metric_named(&shops[0]->papers, slice_make(name, sizeof(name), CLEAN));
	assert_int_equal(at->len, METRIC_NAME_MAX);
	assert_int_equal(at->name[METRIC_NAME_MAX - 1], 'E');
	for (unsigned i = 2; i < METRIC_NAMED_MAX; i++) {
		snprintf(name, sizeof(name), "/%u", i);
		assert_non_null(metric_named(&shops[0]->papers, slice_of(name)));
	}
	assert_null(metric_named(&shops[0]->papers, SLICE("/one too many")));
	assert_null(metric_named(&shops[0]->papers, SLICE_EMPTY));
	assert_non_null(metric_named(&shops[0]->papers, SLICE("/5")));
	arena_done(&arena);
	metrics_free(m);
}

static void nowhere(void **state)
{
	struct shop *shops[3];
	struct metrics *m = open_shop(shops);
	struct arena arena;
	struct str out;
	int own;

	(void)state;
	assert_ptr_equal(metrics_block(NULL, 0, &shop_table, &own), &own);
	assert_ptr_equal(metrics_block(m, 3, &shop_table, &own), &own);
	assert_ptr_equal(metrics_block(m, 0, &other_table, &own), &own);
	/* No memory for the text: told, not cut. */
	arena_init(&arena, 100);
	out = str_make(&arena);
	metrics_write(m, NOW, &out);
	assert_true(out.failed);
	arena_done(&arena);
	metrics_free(m);
	metrics_free(NULL);
}

#define ROUNDS 20000

static void *writer(void *arg)
{
	struct shop *shop = arg;
	char name[16];

	for (unsigned i = 0; i < ROUNDS; i++) {
		tally_up(&shop->sold[0]);
		snprintf(name, sizeof(name), "/%u", i % 50);
		tally_set(&metric_named(&shop->papers, slice_of(name))->values[0], NOW);
	}
	return NULL;
}

/* Read while it is written: the thread sanitizer sees to the rest. */
static void together(void **state)
{
	struct shop *shops[3];
	struct metrics *m = open_shop(shops);
	struct arena arena;
	pthread_t threads[3];
	struct slice text;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, writer, shops[i]), 0);
	for (unsigned i = 0; i < 50; i++) {
		arena_init(&arena, 0);
		(void)text_of(&arena, m);
		arena_done(&arena);
	}
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	arena_init(&arena, 0);
	text = text_of(&arena, m);
	has(text, "sluice_sold_total{what=\"bread\"} 60000", true);
	has(text, "sluice_paper_age_seconds{paper=\"/49\"} 0", true);
	arena_done(&arena);
	metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sums),    cmocka_unit_test(form),     cmocka_unit_test(names),
	    cmocka_unit_test(nowhere), cmocka_unit_test(together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
