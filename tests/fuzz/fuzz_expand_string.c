/* Any text is compiled and evaluated, off a shard: whatever would wait, read files or run commands refuses by
 * itself there. Compiled trees are evaluated twice, and the second result must be the first. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "expand/expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct variable_table *const variables[] = {&expand_variables, &message_variables, NULL};
static const struct expand_item *const *const items[] = {expand_items, NULL};
static const struct expand_operator *const *const operators[] = {expand_operators, NULL};
static const struct expand_condition *const *const conditions[] = {expand_conditions, NULL};
static struct language language = {
    .variables = variables, .items = items, .operators = operators, .conditions = conditions};
static const struct conf_group *const groups[] = {&expand_conf_group, &message_conf_group, &log_conf_group,
						  NULL};
static const struct conf_section *const sections[] = {NULL};
static const struct conf_language registry = {.groups = groups, .sections = sections, .language = &language};

static struct conf *conf_make(void)
{
	static const char text[] =
	    "primary_hostname = mx.example.org\ndomainlist d = a : +e\ndomainlist e = b : +d\n";
	char path[] = "/tmp/sluice-fuzz-XXXXXX";
	struct conf_load_options options = {.file = path, .trusted = true};
	struct conf *conf = NULL;
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, text, sizeof(text) - 1) < 0 || language_init(&language, NULL) != OK ||
	    conf_load(&registry, &options, &conf, NULL) != OK)
		abort();
	close(fd);
	unlink(path);
	return conf;
}

static enum rc run(const struct conf *conf, struct arena *arena, const struct expansion *expansion,
		   struct slice *ret)
{
	struct task task;
	struct scope sc;
	enum rc rc;

	task_init(&task, NULL, arena, UNTIL_NEVER);
	scope_init(&sc, &task, conf);
	sc.value = slice_tainted(SLICE("some <value@example.com>"));
	rc = expand(&sc, expansion, ret, NULL);
	if (sc.depth != 0)
		abort();
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf *conf;
	const struct expansion *expansion;
	struct slice first, second;
	struct arena arena;

	if (!conf)
		conf = conf_make();
	if (size > 16384)
		return 0;
	arena_init(&arena, 8 * 1024 * 1024);
	expansion = expand_compile(&language, &arena, slice_make((const char *)data, size, CLEAN));
	if (expansion && run(conf, &arena, expansion, &first) == OK &&
	    run(conf, &arena, expansion, &second) == OK && !slice_eq(first, second))
		abort();
	arena_done(&arena);
	return 0;
}
