/* What the tests of this room share: a small language (a group of main options, routers with two drivers, an
 * acl section of raw lines), and loading from text. */
#ifndef CONF_TEST_H
#define CONF_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <netdb.h>
#include <sys/utsname.h>

#include "conf/conf.h"

/* The machine's name and the name service: doubles, so that no test asks a real one. */
static const char *test_nodename = "host", *test_canonical = "host.example";
int uname(struct utsname *name)
{
	memset(name, 0, sizeof(*name));
	snprintf(name->nodename, sizeof(name->nodename), "%s", test_nodename);
	return 0;
}
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	static struct addrinfo answer;

	assert_string_equal(name, test_nodename);
	assert_null(service);
	assert_int_equal(hints->ai_flags, AI_CANONNAME);
	answer.ai_canonname = (char *)(uintptr_t)test_canonical;
	*found = &answer;
	return test_canonical ? 0 : EAI_AGAIN;
}
void freeaddrinfo(struct addrinfo *found)
{
	(void)found;
}

struct test_group {
	bool queue_only, smtp_enforce_sync;
	int64_t smtp_accept_max, check_spool_space, auto_thaw, deliver_queue_load_max, modemask;
	struct conf_timelist delay_warning;
	struct slice errors_reply_to;
};
static const struct conf_option test_options[] = {
    OPT_BOOL(struct test_group, queue_only, "no", ""),
    OPT_BOOL(struct test_group, smtp_enforce_sync, "yes", ""),
    OPT_INT(struct test_group, smtp_accept_max, "20", ""),
    OPT_SIZE(struct test_group, check_spool_space, "10M", ""),
    OPT_TIME(struct test_group, auto_thaw, "0s", ""),
    OPT_FIXED(struct test_group, deliver_queue_load_max, NULL, ""),
    OPT_TIMELIST(struct test_group, delay_warning, "1d", ""),
    OPT_OCTAL(struct test_group, modemask, "022", ""),
    OPT_STRING(struct test_group, errors_reply_to, NULL, ""),
    {"auto_unfreeze", &conf_time, offsetof(struct test_group, auto_thaw), NULL, NULL, OPTION_ALIAS},
    OPT_NO_EFFECT("test_nothing", "a test"),
};
static const struct conf_group test_conf_group = {.id = CONF_SMTP,
						  .size = sizeof(struct test_group),
						  .options = test_options,
						  .option_count = ARRAY_COUNT(test_options)};

struct test_router {
	struct conf_instance instance;
	struct slice transport, condition, headers_add, headers_remove, set;
	bool more;
	struct conf_owner user;
};
struct test_redirect {
	struct test_router head;
	struct slice data;
	bool allow_fail;
};
static const struct conf_option router_generic[] = {
    OPT_STRING(struct test_router, transport, NULL, ""),
    CONF_ROW(struct test_router, condition, struct slice, &conf_string, NULL, "", OPTION_REPEATABLE),
    CONF_ROW(struct test_router, headers_add, struct slice, &conf_string, NULL, "", OPTION_REPEATABLE),
    CONF_ROW(struct test_router, headers_remove, struct slice, &conf_string, NULL, "", OPTION_REPEATABLE),
    CONF_ROW(struct test_router, set, struct slice, &conf_string, NULL, "", OPTION_REPEATABLE),
    OPT_BOOL(struct test_router, more, "yes", ""),
    OPT_UID(struct test_router, user, NULL, ""),
};
static const struct conf_option redirect_options[] = {
    OPT_STRING(struct test_redirect, data, NULL, ""),
    OPT_BOOL(struct test_redirect, allow_fail, "no", ""),
};
static enum rc redirect_check(struct conf *conf, void *instance, struct err *err)
{
	(void)conf;
	if (!((struct test_redirect *)instance)->data.ptr)
		return err_set(err, FAIL, "data must be given");
	return OK;
}
static const struct conf_driver test_accept = {.name = "accept", .size = sizeof(struct test_router)};
static const struct conf_driver test_redirect = {.name = "redirect",
						 .size = sizeof(struct test_redirect),
						 .options = redirect_options,
						 .option_count = ARRAY_COUNT(redirect_options),
						 .check = redirect_check};
static const struct conf_driver *const test_drivers[] = {&test_accept, &test_redirect, NULL};
static const struct conf_section test_routers = {.id = CONF_SECTION_ROUTERS,
						 .name = "routers",
						 .drivers = test_drivers,
						 .generic = router_generic,
						 .generic_count = ARRAY_COUNT(router_generic),
						 .head_size = sizeof(struct test_router)};

/* A section of raw lines: keeps their number and the last of them. "bad" is an error, "stop" leaves early. */
struct test_acl {
	unsigned count;
	struct conf_line last;
};
static enum rc test_acl_read(struct conf_reader *reader, void **section_ret, struct err *err)
{
	struct test_acl *acl = arena_make(&conf_reader_conf(reader)->arena, struct test_acl);
	struct conf_line line;

	assert_non_null(acl);
	*section_ret = acl;
	while (conf_next_line(reader, &line, err) == OK) {
		if (conf_line_is_macro(&line)) {
			if (conf_define_macro(reader, &line, err) != OK)
				return FAIL;
			continue;
		}
		if (slice_eq(line.text, SLICE("bad")))
			return conf_error(err, &line.place, "a bad line");
		if (slice_eq(line.text, SLICE("stop")))
			return OK;
		acl->count++;
		acl->last = line;
		conf_unread_line(reader);
		if (conf_next_line(reader, &line, err) != OK)
			return FAIL;
	}
	return OK;
}
static const struct conf_section test_acl_section = {
    .id = CONF_SECTION_ACL, .name = "acl", .read = test_acl_read};

static const struct conf_group *const test_groups[] = {&test_conf_group, NULL};
static const struct conf_section *const test_sections[] = {&test_routers, &test_acl_section, NULL};
static enum rc test_named_list(struct conf *conf, struct conf_named_list *list, struct err *err)
{
	(void)conf;
	if (slice_search(list->text, SLICE("BROKEN-")) >= 0)
		return err_set(err, FAIL, "the list is broken");
	list->compiled = list;
	return OK;
}
static const struct conf_feature test_features[] = {{"_HAVE_TLS", "TLS"}, {NULL, NULL}};
static const struct conf_feature *const test_rooms[] = {test_features, NULL};
static const struct conf_language test_language = {.features = test_rooms,
						   .groups = test_groups,
						   .sections = test_sections,
						   .named_list = test_named_list,
						   .macros = conf_feature_macros};

/* The folder that this test's files live in, and the main one of them. */
struct place {
	char dir[64], file[96];
};
static inline void place_make(struct place *place)
{
	snprintf(place->dir, sizeof(place->dir), "/tmp/sluice-conf-XXXXXX");
	assert_non_null(mkdtemp(place->dir));
	snprintf(place->file, sizeof(place->file), "%s/f", place->dir);
}
static inline void place_write(const struct place *place, const char *name, const char *text, size_t len)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", place->dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}
static inline void place_remove(const struct place *place)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", place->dir);
	assert_int_equal(system(command), 0);
}
/* Loads f; on FAIL the error's text with the folder's name replaced by @. */
static inline struct conf *load_file(const struct place *place, struct arena *arena,
				     const char *const *macros, char *error, size_t error_size)
{
	struct conf_load_options options = {.file = place->file, .macros = macros, .trusted = true};
	struct err err = err_make(arena);
	struct conf *conf = NULL;
	size_t at = 0;

	if (conf_load(&test_language, &options, &conf, &err) == OK)
		return conf;
	for (uint32_t i = 0; i < err.text.len && at + 1 < error_size;) {
		size_t dir = strlen(place->dir);
		if (err.text.len - i >= dir && memcmp(err.text.ptr + i, place->dir, dir) == 0) {
			error[at++] = '@';
			i += (uint32_t)dir;
		} else {
			error[at++] = err.text.ptr[i++];
		}
	}
	error[at] = 0;
	return NULL;
}

#endif
