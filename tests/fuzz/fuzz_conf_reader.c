/* The configuration reader on any bytes: it ends with a snapshot or an error that has a text, and what it
 * printed of the snapshot with -bP has no unprintable bytes. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/conf.h"

struct head {
	struct conf_instance instance;
	struct slice transport, condition, headers_add;
	bool more;
	int64_t number, octal, seconds, fixed, size;
	struct conf_timelist times;
};
static const struct conf_option options[] = {
    OPT_STRING(struct head, transport, NULL, ""),
    CONF_ROW(struct head, condition, struct slice, &conf_string, NULL, "", OPTION_REPEATABLE),
    CONF_ROW(struct head, headers_add, struct slice, &conf_string, NULL, "", OPTION_REPEATABLE),
    OPT_BOOL(struct head, more, "yes", ""),
    OPT_INT(struct head, number, NULL, ""),
    OPT_SIZE(struct head, size, NULL, ""),
    OPT_OCTAL(struct head, octal, NULL, ""),
    OPT_TIME(struct head, seconds, NULL, ""),
    OPT_FIXED(struct head, fixed, NULL, ""),
    OPT_TIMELIST(struct head, times, NULL, ""),
};
static const struct conf_driver driver = {.name = "accept",
					  .size = sizeof(struct head),
					  .options = options + 3,
					  .option_count = ARRAY_COUNT(options) - 3};
static const struct conf_driver *const drivers[] = {&driver, NULL};
static const struct conf_section routers = {.id = CONF_SECTION_ROUTERS,
					    .name = "routers",
					    .drivers = drivers,
					    .generic = options,
					    .generic_count = 3,
					    .head_size = sizeof(struct head)};

static enum rc acl_read(struct conf_reader *reader, void **section_ret, struct err *err)
{
	struct conf_line line;

	(void)section_ret;
	while (conf_next_line(reader, &line, err) == OK) {
		if (conf_line_is_macro(&line) && conf_define_macro(reader, &line, err) != OK)
			return FAIL;
	}
	return OK;
}
static const struct conf_section acl = {.id = CONF_SECTION_ACL, .name = "acl", .read = acl_read};
static const struct conf_section *const sections[] = {&routers, &acl, NULL};
static const struct conf_feature features[] = {{"_HAVE_TLS", "TLS"}, {NULL, NULL}};
static const struct conf_feature *const rooms[] = {features, NULL};
static const struct conf_language language = {
    .features = rooms, .sections = sections, .macros = conf_feature_macros};

static void print_all(const struct conf *conf, struct arena *arena)
{
	static const char *const words[] = {"", "routers", "router_list", "+a", "config", "macros", "nosuch"};

	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		struct str str = str_make(arena);
		struct err err = err_make(arena);
		bool config = slice_eq(slice_of(words[i]), SLICE("config")); /* is as it was read */

		if (conf_print(conf, slice_of(words[i]), true, false, &str, &err) != OK)
			continue;
		for (uint32_t at = 0; !config && at < str.len; at++)
			ASSERT(str.ptr[at] == '\n' ||
			       ((unsigned char)str.ptr[at] >= 32 && (unsigned char)str.ptr[at] < 127));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* The name is set, so that the name service is left alone; an .include finds what the machine has. */
	static const char first[] = "primary_hostname = fuzz.example\n";
	struct conf_load_options load = {.trusted = true};
	struct conf *conf = NULL;
	struct arena arena;
	struct err err;
	char path[64];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0)
		abort();
	if (write(fd, first, sizeof(first) - 1) != (ssize_t)sizeof(first) - 1 ||
	    write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	load.file = path;
	arena_init(&arena, 0);
	err = err_make(&arena);
	if (conf_load(&language, &load, &conf, &err) == OK) {
		print_all(conf, &arena);
		conf_unref(conf);
	} else {
		ASSERT(err.text.len > 0);
	}
	arena_done(&arena);
	close(fd);
	return 0;
}
