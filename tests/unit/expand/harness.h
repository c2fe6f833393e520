/* What the tests of this room share: the language of this room and of message, a snapshot, a shard with a
 * fiber on which expansions run. */
#ifndef EXPAND_HARNESS_H
#define EXPAND_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "expand/expand.h"

static const struct variable_table *const harness_variables[] = {&expand_variables, &message_variables, NULL};
static const struct expand_item *const *const harness_items[] = {expand_items, NULL};
static const struct expand_operator *const *const harness_operators[] = {expand_operators, NULL};
static const struct expand_condition *const *const harness_conditions[] = {expand_conditions, NULL};
static struct language harness_language = {
    .variables = harness_variables,
    .items = harness_items,
    .operators = harness_operators,
    .conditions = harness_conditions,
};
static const struct conf_group *const harness_groups[] = {&expand_conf_group, &message_conf_group,
							  &log_conf_group, NULL};
static const struct conf_section *const harness_sections[] = {NULL};
static const struct conf_language harness_registry = {
    .groups = harness_groups, .sections = harness_sections, .language = &harness_language};

struct harness {
	struct shard *shard;
	struct conf *conf;
	struct arena arena, err_arena;
	struct task task;
	struct scope scope;
	struct client client;
	void (*f)(struct harness *);
};

static void harness_fiber(void *arg)
{
	struct harness *h = arg;

	h->f(h);
	shard_stop(h->shard);
}

static void harness_start(struct shard *shard, void *arg)
{
	struct harness *h = arg;

	task_init(&h->task, shard, &h->arena, UNTIL_NEVER);
	scope_init(&h->scope, &h->task, h->conf);
	h->scope.client = &h->client;
	assert_int_equal(fiber_spawn(shard, harness_fiber, h), OK);
}

static struct conf *harness_conf(const char *text)
{
	char path[] = "/tmp/sluice-expand-XXXXXX";
	struct conf_load_options options = {.file = path, .trusted = true};
	struct arena arena;
	struct conf *conf = NULL;
	struct err err;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	arena_init(&arena, 0);
	err = err_make(&arena);
	if (conf_load(&harness_registry, &options, &conf, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	unlink(path);
	arena_done(&arena);
	return conf;
}

#define HARNESS_CONF                                                                                \
	"primary_hostname = mx.example.org\nqualify_domain = example.org\n"                         \
	"domainlist local_domains = a.example : b.example : +other\ndomainlist other = c.example\n" \
	"hostlist relays = 127.0.0.1 : ::::1\naddresslist bad = a@b : *@c.example\n"                \
	"localpartlist roles = postmaster : abuse\n"

static inline void harness_run(const char *conf_text, void (*f)(struct harness *))
{
	struct harness h = {.f = f};
	struct shard_options options = {.cpu = -1, .count = 1, .buf_count = 16};
	struct err err;

	arena_init(&h.arena, 0);
	arena_init(&h.err_arena, 0);
	client_clear(&h.client);
	h.client.arena = &h.err_arena;
	err = err_make(&h.err_arena);
	if (!harness_language.names.count && language_init(&harness_language, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	h.conf = harness_conf(conf_text);
	if (shard_new(&options, &h.shard, &err) != OK || shard_run(h.shard, harness_start, &h, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	expand_done(h.shard);
	shard_free(h.shard);
	conf_unref(h.conf);
	arena_done(&h.arena);
	arena_done(&h.err_arena);
	arena_pool_done();
}

#endif
