/* conf: the configuration reader. It turns a file in Exim's language (macros, .include, .ifdef, continuation lines,
 * sections, option settings) into one immutable snapshot, struct conf. It knows option *tables* and *sections*,
 * which their owners register through struct conf_language; what an ACL or a router is, they know.
 *
 * A snapshot is built whole or not at all: a bad file gives errors with file and line, and what runs keeps what
 * it has. Running work holds a reference to the snapshot it began with. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <sys/types.h>

#include "base/base.h"

struct conf;
struct language; /* lib/expand's: variables, items, operators, conditions, lookups */

/* Where something stands in the files. */
struct conf_place {
	const char *file;
	unsigned line;
};

/* ---- Options --------------------------------------------------------------------------------------- */

struct conf_option;

/* How a kind of value is read and shown. Owners define more: expansions in expand.h, lists in match.h. */
struct conf_type {
	const char *name; /* as errors call it: "a time interval" */
	size_t size;	  /* of the field */
	/* Fills in *field from the text, which is already unquoted and lives in the snapshot. FAIL with what was
	 * expected. Negated boolean forms (no_x) come as text "no". */
	enum rc (*read)(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			struct err *err);
	/* Appends the value as -bP shows it (without the name); an unset value appends nothing and returns false. */
	bool (*print)(const struct conf_option *option, const void *field, struct str *str);
};

enum {
	OPTION_ALIAS = 1,     /* an older name of the option at the same offset: not printed */
	OPTION_NO_EFFECT = 2, /* accepted, warned of: help says why */
	OPTION_REPEATABLE = 4, /* may be set several times; the values are joined (headers_add with LF, condition, set) */
};
struct conf_option {
	const char *name;
	const struct conf_type *type;
	size_t offset;
	const char *default_text; /* as it would stand in a file; NULL: unset */
	const char *help;
	unsigned flags;
};

/* The row of a table; the static assertion keeps table and struct from disagreeing. */
#define CONF_ROW(st, field, ctype, type_ptr, default_text, help, flags)                                           \
	{#field, type_ptr,                                                                                        \
	 offsetof(st, field) + 0 * sizeof(char[__builtin_types_compatible_p(typeof(((st *)0)->field), ctype) ? 1 : -1]), \
	 default_text, help, flags}

extern const struct conf_type conf_bool;     /* bool */
extern const struct conf_type conf_int;	     /* int64_t, with K M G */
extern const struct conf_type conf_octal;    /* int64_t */
extern const struct conf_type conf_time;     /* int64_t, seconds: 1w2d3h4m5s */
extern const struct conf_type conf_timelist; /* struct conf_timelist */
extern const struct conf_type conf_fixed;    /* int64_t, thousandths */
extern const struct conf_type conf_string;   /* struct slice, not expanded; ptr NULL: unset */
extern const struct conf_type conf_uid;	     /* struct conf_owner: a number or a login name, looked up while reading */
extern const struct conf_type conf_gid;
#define OPT_BOOL(st, f, d, h)	  CONF_ROW(st, f, bool, &conf_bool, d, h, 0)
#define OPT_INT(st, f, d, h)	  CONF_ROW(st, f, int64_t, &conf_int, d, h, 0)
#define OPT_OCTAL(st, f, d, h)	  CONF_ROW(st, f, int64_t, &conf_octal, d, h, 0)
#define OPT_TIME(st, f, d, h)	  CONF_ROW(st, f, int64_t, &conf_time, d, h, 0)
#define OPT_TIMELIST(st, f, d, h) CONF_ROW(st, f, struct conf_timelist, &conf_timelist, d, h, 0)
#define OPT_FIXED(st, f, d, h)	  CONF_ROW(st, f, int64_t, &conf_fixed, d, h, 0)
#define OPT_STRING(st, f, d, h)	  CONF_ROW(st, f, struct slice, &conf_string, d, h, 0)
#define OPT_UID(st, f, d, h)	  CONF_ROW(st, f, struct conf_owner, &conf_uid, d, h, 0)
#define OPT_GID(st, f, d, h)	  CONF_ROW(st, f, struct conf_owner, &conf_gid, d, h, 0)
/* A name that is known but does nothing here. */
#define OPT_NO_EFFECT(name, why) {name, &conf_string, 0, NULL, why, OPTION_NO_EFFECT}

struct conf_timelist {
	const int64_t *seconds;
	unsigned count;
};
struct conf_owner {
	uint32_t id;
	bool set;
	struct slice expand; /* uid/gid given as an expandable string; ptr NULL otherwise */
};

/* ---- Who registers what ------------------------------------------------------------------------------ */

/* The main section's options, by the room that owns them: a struct of that room and its table. A room gets its
 * struct from a snapshot with conf_group(conf, CONF_SMTP). */
enum conf_group_id {
	CONF_MAIN, /* conf's own: names, users, what many rooms ask for */
	CONF_LOG, CONF_DNS, CONF_TLS, CONF_SPOOL, CONF_MESSAGE, CONF_EXPAND, CONF_LOOKUP, CONF_MATCH, CONF_ROUTE,
	CONF_TRANSPORT, CONF_ACL, CONF_DELIVER, CONF_SMTP, CONF_MAILAUTH, CONF_SCAN, CONF_ADMIN,
	CONF_GROUP_COUNT,
};
struct conf_group {
	enum conf_group_id id;
	size_t size;
	const struct conf_option *options;
	unsigned option_count;
	/* After the whole file has been read: relations between options, derived values. May be NULL. */
	enum rc (*check)(struct conf *conf, void *group, struct err *err);
};

/* A driver of the sections routers, transports, authenticators. An instance is a struct of `size` bytes that
 * begins with the section's head struct, which begins with struct conf_instance. */
struct conf_driver {
	const char *name;
	size_t size;
	const struct conf_option *options;
	unsigned option_count;
	/* At load time, with all options set: errors name file, line and option. May be NULL. */
	enum rc (*check)(struct conf *conf, void *instance, struct err *err);
	const void *ops; /* the section's: struct router_ops and so on */
};
struct conf_instance {
	struct slice name;
	const struct conf_driver *driver;
	struct conf_place place;
	const uint8_t *was_set; /* one byte an option, generic ones first: 1 if the file set it */
};

/* A line of input as sections see it: macros replaced, continuations joined, comments gone, trimmed. */
struct conf_line {
	struct slice text;
	struct conf_place place;
};
struct conf_reader;
/* The next line of the present section: FAIL at its end (the next "begin", or the end of the file). */
enum rc conf_next_line(struct conf_reader *reader, struct conf_line *line_ret, struct err *err);
/* Puts the line just read back. */
void conf_unread_line(struct conf_reader *reader);
struct conf *conf_reader_conf(struct conf_reader *reader);
/* Names file and line in front of the error. FAIL. */
enum rc conf_error(struct err *err, const struct conf_place *place, const char *format, ...) PRINTF_LIKE(3, 4);
/* A remark that does not stop the load ("deprecated, now X"): kept in the snapshot, shown by -bV and in the log. */
void conf_warn(struct conf *conf, const struct conf_place *place, const char *format, ...) PRINTF_LIKE(3, 4);

enum conf_section_id {
	CONF_SECTION_ACL, CONF_SECTION_ROUTERS, CONF_SECTION_TRANSPORTS, CONF_SECTION_AUTHENTICATORS,
	CONF_SECTION_RETRY, CONF_SECTION_REWRITE, CONF_SECTION_LOCAL_SCAN, CONF_SECTION_COUNT,
};
/* A "begin NAME" section. Either read() takes its lines and returns what conf_section() gives back, or, with
 * drivers, the reader makes the list of instances by itself (conf_instances()). */
struct conf_section {
	enum conf_section_id id;
	const char *name;
	enum rc (*read)(struct conf_reader *reader, void **section_ret, struct err *err);
	const struct conf_driver *const *drivers; /* NULL-terminated, or NULL */
	const struct conf_option *generic;	  /* options of every driver of the section */
	unsigned generic_count;
	size_t head_size;
	enum rc (*check)(struct conf *conf, void *instance, struct err *err); /* generic check, before the driver's */
};

/* The named lists of the main section: "domainlist local_domains = ...". */
enum conf_list_kind { LIST_DOMAIN, LIST_HOST, LIST_ADDRESS, LIST_LOCAL_PART, LIST_KIND_COUNT };
struct conf_named_list {
	struct slice name;
	struct slice text; /* the right-hand side */
	enum conf_list_kind kind;
	bool cache;  /* ..._cache: results are cached even where the list has a $ */
	bool hide;
	void *compiled; /* lib/match's */
	struct conf_place place;
};

struct conf_language {
	const struct conf_group *const *groups;	    /* NULL-terminated */
	const struct conf_section *const *sections; /* NULL-terminated */
	/* Called for each list when the main section ends, to compile it into list->compiled. May be NULL. */
	enum rc (*named_list)(struct conf *conf, struct conf_named_list *list, struct err *err);
	const struct language *language;
	/* Adds predefined macros beyond those of options and drivers (_HAVE_..., _EXP_..., _LOG_..., _ACL_...) through
	 * conf_macro(). May be NULL. */
	void (*macros)(struct conf *conf);
};

/* ---- The snapshot ------------------------------------------------------------------------------------ */

/* What many rooms ask for. */
struct conf_main {
	struct slice primary_hostname;	/* never unset after loading */
	struct slice qualify_domain, qualify_recipient;
	struct slice spool_directory;	/* expanded */
	struct conf_owner exim_user, exim_group;
	struct slice exim_path, exim_version;
	struct slice localhost_number;
	int64_t localhost_number_value; /* -1: unset */
	bool disable_ipv6;
	struct slice keep_environment, add_environment;
	struct slice never_users, trusted_users, trusted_groups, admin_groups;
	bool prod_requires_admin, commandline_checks_require_admin, queue_list_requires_admin;
	int64_t shards; /* sluice's own: threads; 0: the CPUs that the process may use */
	/* ... and the names that are accepted without effect */
};

struct conf {
	struct arena arena; /* all of the snapshot */
	const struct conf_language *registry;
	const struct language *language;
	const char *file; /* the main file, absolute */
	void *groups[CONF_GROUP_COUNT];
	void *sections[CONF_SECTION_COUNT];
	struct map named_lists[LIST_KIND_COUNT]; /* name -> struct conf_named_list * */
	struct link warnings;
	uint32_t refs; /* atomic: taken by any shard, the last one frees */
	uint64_t serial; /* 1 for the first snapshot of the process, and so on */
	void *reader;	 /* lib/conf's: macros, places... */
};

struct conf_load_options {
	const char *file;  /* or a colon list: the first that exists */
	const char *const *macros; /* -D: "NAME=value" or "NAME", NULL-terminated; may be NULL */
	bool trusted;	   /* the caller may use any file and -D; otherwise ownership rules as Exim's */
};

/* Reads, checks and builds. May block (start-up and reload run it on a helper thread). FAIL with "file:line" text. */
NODISCARD enum rc conf_load(const struct conf_language *registry, const struct conf_load_options *options,
			    struct conf **conf_ret, struct err *err);
struct conf *conf_ref(struct conf *conf);  /* any thread */
void conf_unref(struct conf *conf);	   /* any thread; NULL is fine */

static inline void *conf_group(const struct conf *conf, enum conf_group_id id)
{
	return conf->groups[id];
}
static inline const struct conf_main *conf_main(const struct conf *conf)
{
	return conf->groups[CONF_MAIN];
}
/* What the section's read() returned; NULL when the file has no such section. */
static inline void *conf_section(const struct conf *conf, enum conf_section_id id)
{
	return conf->sections[id];
}
/* The instances of a driver section in the order of the file. */
struct conf_instances {
	void **items;
	unsigned count;
};
const struct conf_instances *conf_instances(const struct conf *conf, enum conf_section_id id);
void *conf_instance_find(const struct conf *conf, enum conf_section_id id, struct slice name);
const struct conf_named_list *conf_named_list(const struct conf *conf, enum conf_list_kind kind, struct slice name);

void conf_macro(struct conf *conf, const char *name); /* a predefined macro, replaced by "y" */

/* Values of the language's kinds, for owners of types: FAIL and no text on bad input. */
bool conf_parse_time(struct slice text, int64_t *seconds_ret);
bool conf_parse_int(struct slice text, int64_t *number_ret); /* octal 0, hex 0x, K M G */
bool conf_parse_bool(struct slice text, bool *value_ret);    /* true yes false no */
void conf_print_time(struct str *str, int64_t seconds);      /* 1d2h */

/* -bP: what is one of: "" (all main options), an option's name, "config", "macros", "environment", "local_scan",
 * "router_list", "transport_list", "authenticator_list", "routers", "transports", "authenticators", "router NAME",
 * "transport NAME", "authenticator NAME", "driver option_name", "+name" (named list)... Appends Exim's form.
 * admin: hidden values are shown. FAIL: no such thing. */
NODISCARD enum rc conf_print(const struct conf *conf, struct slice what, bool admin, bool names_only, struct str *str,
			     struct err *err);

#endif
