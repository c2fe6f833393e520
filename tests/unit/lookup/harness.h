/* What the tests of lookups and lists share: a directory of files, a snapshot of a small configuration, the
 * language with everything these rooms add, a shard with a fiber; and, with SLUICE_ORACLE naming an Exim
 * binary, a second opinion on each row of a table. */
#ifndef LOOKUP_HARNESS_H
#define LOOKUP_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lookup/lookup.h"
#ifdef HARNESS_MATCH
#include "match/match.h"
#endif

/* What the tests log is of no interest; where the room log is linked, its own function counts. */
__attribute__((weak)) bool log_wants(const struct conf *conf, enum log_selector selector)
{
	(void)conf;
	(void)selector;
	return false;
}

/* Rooms above add theirs before they include this. */
#ifndef HARNESS_MORE_VARIABLES
#define HARNESS_MORE_VARIABLES
#define HARNESS_MORE_GROUPS
#define HARNESS_SECTIONS
#endif

#ifdef HARNESS_MATCH
static const struct variable_table *const harness_variables[] = {
    &expand_variables, &message_variables, &match_variables, HARNESS_MORE_VARIABLES NULL};
static const struct expand_condition *const *const harness_conditions[] = {expand_conditions,
									   match_conditions, NULL};
static const struct conf_group *const harness_groups[] = {
    &expand_conf_group, &message_conf_group, &lookup_conf_group, &match_conf_group, HARNESS_MORE_GROUPS NULL};
#else
static const struct variable_table *const harness_variables[] = {&expand_variables, &message_variables, NULL};
static const struct expand_condition *const *const harness_conditions[] = {expand_conditions, NULL};
static const struct conf_group *const harness_groups[] = {&expand_conf_group, &message_conf_group,
							  &lookup_conf_group, NULL};
#endif
static const struct expand_item *const *const harness_items[] = {expand_items, lookup_items, NULL};
static const struct expand_operator *const *const harness_operators[] = {expand_operators, NULL};
static struct language harness_language = {
    .variables = harness_variables,
    .items = harness_items,
    .operators = harness_operators,
    .conditions = harness_conditions,
    .lookup_quote = lookup_quote,
};
static const struct conf_section *const harness_sections[] = {HARNESS_SECTIONS NULL};
static const struct conf_language harness_registry = {
    .groups = harness_groups,
    .sections = harness_sections,
    .language = &harness_language,
#ifdef HARNESS_MATCH
    .named_list = match_named_list,
#endif
};

struct harness {
	struct shard *shard;
	struct conf *conf;
	struct arena arena, err_arena, client_arena;
	struct task task;
	struct scope scope;
	struct client client;
	void (*f)(struct harness *);
	char dir[64], conf_path[96];
	unsigned
	    wrong; /* rows; told at the end, since a failed assertion must not jump off a fiber's stack */
};

static inline void file_make(const struct harness *h, const char *name, const char *text, size_t len)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", h->dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static inline void text_make(const struct harness *h, const char *name, const char *text)
{
	file_make(h, name, text, strlen(text));
}

/* The text with each "@D" replaced by the directory. */
static inline struct slice with_dir(struct harness *h, const char *text)
{
	struct str s = str_make(&h->arena);
	const char *at;

	while ((at = strstr(text, "@D"))) {
		str_add(&s, slice_make(text, (size_t)(at - text), CLEAN));
		str_addz(&s, h->dir);
		text = at + 2;
	}
	str_addz(&s, text);
	return str_slice(&s);
}

static inline void harness_fiber(void *arg)
{
	struct harness *h = arg;

	h->f(h);
	shard_stop(h->shard);
}

static inline void harness_start(struct shard *shard, void *arg)
{
	struct harness *h = arg;

	task_init(&h->task, shard, &h->arena, UNTIL_NEVER);
	scope_init(&h->scope, &h->task, h->conf);
	h->scope.client = &h->client;
	assert_int_equal(fiber_spawn(shard, harness_fiber, h), OK);
}

#define HARNESS_CONF "primary_hostname = me.example\n"

/* Loads the text ("@D" is the directory) and runs f on a fiber. prepare makes the files first; may be NULL.
 */
static inline void harness_run(const char *conf_text, void (*prepare)(struct harness *),
			       void (*f)(struct harness *))
{
	struct harness h = {.f = f, .dir = "/tmp/sluice-lookup-XXXXXX"};
	struct shard_options options = {.cpu = -1, .count = 1, .buf_count = 16};
	struct conf_load_options load = {.file = h.conf_path, .trusted = true};
	char command[100];
	struct slice text;
	struct err err;

	assert_non_null(mkdtemp(h.dir));
	snprintf(h.conf_path, sizeof(h.conf_path), "%s/conf", h.dir);
	arena_init(&h.arena, 0);
	arena_init(&h.err_arena, 0);
	arena_init(&h.client_arena, 0);
	client_clear(&h.client);
	h.client.arena = &h.client_arena;
	err = err_make(&h.err_arena);
	text = with_dir(&h, conf_text);
	file_make(&h, "conf", text.ptr, text.len);
	if (prepare)
		prepare(&h);
	if (!harness_language.names.count && language_init(&harness_language, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	if (conf_load(&harness_registry, &load, &h.conf, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	if (shard_new(&options, &h.shard, &err) != OK || shard_run(h.shard, harness_start, &h, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
#ifdef HARNESS_MATCH
	match_done(h.shard);
#endif
	lookup_done(h.shard);
	expand_done(h.shard);
	dns_done(h.shard);
	shard_free(h.shard);
	conf_unref(h.conf);
	arena_done(&h.arena);
	arena_done(&h.err_arena);
	arena_done(&h.client_arena);
	arena_pool_done();
	snprintf(command, sizeof(command), "rm -rf %s", h.dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(h.wrong, 0);
}

/* The result as -be would print it. */
static inline struct slice expanded(struct harness *h, struct slice text)
{
	struct err err = err_make(&h->err_arena);
	struct slice result;
	enum rc rc;

	h->scope.numeric_count = 0;
	h->scope.value = (struct slice){NULL, 0, CLEAN};
	rc = expand_text(&h->scope, text, &result, &err);
	if (rc == OK)
		return result;
	return arena_printf(&h->arena, "%s: %.*s", rc == FAIL ? "Failed" : rc_name(rc), SLICE_ARG(err.text));
}

struct row {
	const char *text, *result;
	bool ours; /* known to differ from the oracle's answer, on purpose */
};

#define ROW(text, result)           \
	{                           \
		text, result, false \
	}
#define OURS(text, result)         \
	{                          \
		text, result, true \
	}

/* What Exim says to the same, or an empty slice without SLUICE_ORACLE. */
static inline struct slice oracle(struct harness *h, struct slice text)
{
	const char *binary = getenv("SLUICE_ORACLE");
	struct slice command;
	char line[4096] = "";
	size_t len;
	FILE *f;

	if (!binary)
		return SLICE_EMPTY;
	file_make(h, "expression", text.ptr, text.len);
	command = arena_printf(&h->arena, "%s -C %s/oracle.conf -be \"$(cat %s/expression)\" 2>/dev/null",
			       binary, h->dir, h->dir);
	f = popen(arena_cstr(&h->arena, command), "r");
	assert_non_null(f);
	len = fread(line, 1, sizeof(line) - 1, f);
	(void)pclose(f); /* a failed expansion exits with 1 */
	while (len && line[len - 1] == '\n')
		len--;
	return arena_copy(&h->arena, slice_make(line, len, CLEAN));
}

/* Errors need only begin as the row says. */
static inline bool row_ok(struct slice got, struct slice want)
{
	if (slice_starts(want, SLICE("Failed:")) || slice_starts(want, SLICE("DEFER")))
		return slice_starts(got, want);
	return slice_eq(got, want);
}

static inline void rows_check(struct harness *h, const struct row *rows, size_t count)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < count; i++) {
		struct slice text = with_dir(h, rows[i].text), want = with_dir(h, rows[i].result);
		struct slice got = expanded(h, text), theirs = rows[i].ours ? SLICE_EMPTY : oracle(h, text);

		if (!row_ok(got, want)) {
			print_error("%.*s\n\tgives \"%.*s\"\n\twants \"%.*s\"\n", SLICE_ARG(text),
				    SLICE_ARG(got), SLICE_ARG(want));
			wrong++;
		}
		if (getenv("SLUICE_ORACLE") && !rows[i].ours && !slice_starts(want, SLICE("DEFER")) &&
		    !row_ok(theirs, want)) {
			print_error("%.*s\n\tExim says \"%.*s\"\n\tnot       \"%.*s\"\n", SLICE_ARG(text),
				    SLICE_ARG(theirs), SLICE_ARG(want));
			wrong++;
		}
	}
	h->wrong += wrong;
}

/* A configuration that has to be refused, with this in the reason. */
static inline void harness_refused(const char *text, const char *says)
{
	char path[] = "/tmp/sluice-refused-XXXXXX";
	struct conf_load_options options = {.file = path, .trusted = true};
	struct conf *conf = NULL;
	struct arena arena;
	struct err err;
	int fd = mkstemp(path);

	arena_init(&arena, 0);
	err = err_make(&arena);
	if (!harness_language.names.count)
		assert_int_equal(language_init(&harness_language, &err), OK);
	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	assert_int_equal(conf_load(&harness_registry, &options, &conf, &err), FAIL);
	unlink(path);
	if (slice_search(err.text, slice_of(says)) < 0)
		fail_msg("%s says \"%.*s\"", text, SLICE_ARG(err.text));
	arena_done(&arena);
}

#endif
