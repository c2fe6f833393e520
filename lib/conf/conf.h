/* conf: the configuration reader. It turns a file in Exim's language (macros, .include, .ifdef, continuation
 * lines, sections, option settings) into one immutable snapshot, struct conf. It knows option *tables* and
 * *sections*, which their owners register through struct conf_language; what an ACL or a router is, they
 * know.
 *
 * A snapshot is built whole or not at all: a bad file gives errors with file and line, and what runs keeps
 * what it has. Running work holds a reference to the snapshot it began with.
 *
 * Errors have two lines, like Exim's: "configuration error in line N of FILE:\n  TEXT". N is where the
 * setting begins (Exim names the last of its continuation lines). Where TEXT names an unknown word, the
 * nearest known one follows.
 *
 * Two places where this reader is not Exim's: a predefined macro (_HAVE_..., _OPT_...) is only replaced where
 * it stands as a whole word, so ".ifdef _HAVE_TLS_SOMETHING" is not true just because _HAVE_TLS is defined;
 * and "driver =" may come after private options. */
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
	size_t size;      /* of the field */
	/* Fills in *field from the text, which is already unquoted and lives in the snapshot. FAIL with what
	 * was expected. Negated boolean forms (no_x) come as text "no". */
	enum rc (*read)(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			struct err *err);
	/* Appends the value as -bP shows it (without the name); an unset value appends nothing and returns
	 * false. */
	bool (*print)(const struct conf_option *option, const void *field, struct str *str);
	/* May stand without "= value" (read as "yes"), and negated as no_x and not_x (read as "no"). print()
	 * gives "yes" or "no", which -bP shows as x and no_x; anything else as x = value. */
	bool boolean;
	bool bare;         /* -bP shows "name =", not "name = ", when it is unset */
	const void *unset; /* what the field holds when it is unset and has no default; NULL: zeros */
};

enum {
	OPTION_ALIAS = 1,     /* an older name of the option at the same offset: not printed */
	OPTION_NO_EFFECT = 2, /* accepted, warned of: help says why */
	/* May be set several times. The values are joined: condition to ${if
	 * and{{bool_lax{A}}{bool_lax{B}}}}, headers_remove with a colon, set with a semicolon, all others
	 * (headers_add) with a newline. */
	OPTION_REPEATABLE = 4,
	OPTION_LATER =
	    8, /* read, kept and shown like any other, but without effect as yet: warned of, with help */
	OPTION_SECRET =
	    16, /* its value is shown to administrators only, as if it had been written with "hide" */
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
#define CONF_ROW(st, field, ctype, type_ptr, default_text, help, flags)                                    \
	{                                                                                                  \
#field, type_ptr,                                                                          \
		    offsetof(st, field) +                                                                  \
			0 * sizeof(                                                                        \
				char[__builtin_types_compatible_p(typeof(((st *)0)->field), ctype) ? 1     \
												   : -1]), \
		    default_text, help, flags                                                              \
	}

extern const struct conf_type conf_bool; /* bool */
extern const struct conf_type conf_int;  /* int64_t, with K M G; within 32 bits, shown as a plain number */
extern const struct conf_type
    conf_size; /* int64_t, the same without that bound, shown with K M G where even */
extern const struct conf_type
    conf_space; /* as conf_size, but a number without a letter counts units of 1024 */
extern const struct conf_type conf_octal;    /* int64_t */
extern const struct conf_type conf_time;     /* int64_t, seconds: 1w2d3h4m5s */
extern const struct conf_type conf_timelist; /* struct conf_timelist */
extern const struct conf_type conf_fixed;    /* int64_t, thousandths; -1: unset */
extern const struct conf_type conf_string;   /* struct slice, not expanded; ptr NULL: unset */
extern const struct conf_type
    conf_uid; /* struct conf_owner: a number or a login name, looked up while reading */
extern const struct conf_type conf_gid;
extern const struct conf_type
    conf_uid_list; /* struct conf_id_list: names and numbers, looked up while reading */
extern const struct conf_type conf_gid_list;
#define OPT_BOOL(st, f, d, h)     CONF_ROW(st, f, bool, &conf_bool, d, h, 0)
#define OPT_INT(st, f, d, h)      CONF_ROW(st, f, int64_t, &conf_int, d, h, 0)
#define OPT_SIZE(st, f, d, h)     CONF_ROW(st, f, int64_t, &conf_size, d, h, 0)
#define OPT_SPACE(st, f, d, h)    CONF_ROW(st, f, int64_t, &conf_space, d, h, 0)
#define OPT_OCTAL(st, f, d, h)    CONF_ROW(st, f, int64_t, &conf_octal, d, h, 0)
#define OPT_TIME(st, f, d, h)     CONF_ROW(st, f, int64_t, &conf_time, d, h, 0)
#define OPT_TIMELIST(st, f, d, h) CONF_ROW(st, f, struct conf_timelist, &conf_timelist, d, h, 0)
#define OPT_FIXED(st, f, d, h)    CONF_ROW(st, f, int64_t, &conf_fixed, d, h, 0)
#define OPT_STRING(st, f, d, h)   CONF_ROW(st, f, struct slice, &conf_string, d, h, 0)
#define OPT_SECRET(st, f, d, h)   CONF_ROW(st, f, struct slice, &conf_string, d, h, OPTION_SECRET)
#define OPT_UID(st, f, d, h)      CONF_ROW(st, f, struct conf_owner, &conf_uid, d, h, 0)
#define OPT_GID(st, f, d, h)      CONF_ROW(st, f, struct conf_owner, &conf_gid, d, h, 0)
#define OPT_UID_LIST(st, f, d, h) CONF_ROW(st, f, struct conf_id_list, &conf_uid_list, d, h, 0)
#define OPT_GID_LIST(st, f, d, h) CONF_ROW(st, f, struct conf_id_list, &conf_gid_list, d, h, 0)
/* A name that is known but does nothing here; any value is taken, and none. */
/* As CONF_ROW, for an option whose system is not there yet. */
#define OPT_LATER(st, f, ctype, type_ptr, d, why) CONF_ROW(st, f, ctype, type_ptr, d, why, OPTION_LATER)
#define OPT_NO_EFFECT(name, why)                                   \
	{                                                          \
		name, &conf_string, 0, NULL, why, OPTION_NO_EFFECT \
	}

struct conf_timelist {
	const int64_t *seconds;
	unsigned count;
};
struct conf_owner {
	uint32_t id;
	bool set;
	struct slice expand; /* uid/gid given as an expandable string; ptr NULL otherwise */
};
struct conf_id_list {
	const uint32_t *ids;
	unsigned count;
	bool set;
};
bool conf_id_listed(const struct conf_id_list *list, uint32_t id);

/* ---- Who registers what ------------------------------------------------------------------------------ */

/* The main section's options, by the room that owns them: a struct of that room and its table. A room gets
 * its struct from a snapshot with conf_group(conf, CONF_SMTP). */
enum conf_group_id {
	CONF_MAIN, /* conf's own: names, users, what many rooms ask for */
	CONF_LOG,
	CONF_DNS,
	CONF_TLS,
	CONF_SPOOL,
	CONF_MESSAGE,
	CONF_EXPAND,
	CONF_LOOKUP,
	CONF_MATCH,
	CONF_ROUTE,
	CONF_TRANSPORT,
	CONF_ACL,
	CONF_DELIVER,
	CONF_SMTP,
	CONF_MAILAUTH,
	CONF_SCAN,
	CONF_ADMIN,
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
	const uint8_t *was_set; /* one byte an option row, generic ones first: 1 if the file set it */
};

/* A line of input as sections see it: macros replaced, continuations joined, comments gone, trimmed. */
struct conf_line {
	struct slice text;
	struct conf_place place;
};
struct conf_reader;
/* The next line of the present section: FAIL at its end (the next "begin", or the end of the file). A fault
 * of the files themselves (an .include that is not there, a missing .endif) ends the section too; conf_load()
 * then fails with it, whatever the section's reader made of the rest. */
enum rc conf_next_line(struct conf_reader *reader, struct conf_line *line_ret, struct err *err);
/* Puts the line just read back. */
void conf_unread_line(struct conf_reader *reader);
struct conf *conf_reader_conf(struct conf_reader *reader);
/* "NAME = text", "NAME == text" with a first letter in upper case: allowed between the items of a section
 * (not inside one), whose reader asks here wherever an item may begin, and hands the line over. */
bool conf_line_is_macro(const struct conf_line *line);
NODISCARD enum rc conf_define_macro(struct conf_reader *reader, const struct conf_line *line,
				    struct err *err);
/* The next word off the front of *rest: up to white space, or, behind a '"', up to the next one that has no backslash in
 * front (or the end), its escapes undone. OK; FAIL: no more words; DEFER: no memory. */
NODISCARD enum rc conf_word(struct conf *conf, struct slice *rest, struct slice *word_ret);
/* Names file and line in front of the error. FAIL. */
enum rc conf_error(struct err *err, const struct conf_place *place, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* Where the file set this main option; NULL when it did not. For conf_error() in a group's check. */
const struct conf_place *conf_option_place(const struct conf *conf, const char *name);
/* A remark that does not stop the load ("deprecated, now X"): kept in the snapshot, shown by -bV and in the
 * log. */
void conf_warn(struct conf *conf, const struct conf_place *place, const char *format, ...) PRINTF_LIKE(3, 4);
struct conf_warning {
	struct link link;  /* of conf->warnings, in the order they were found */
	struct slice text; /* one line: "FILE line N: text" */
};
/* The name that is most like the word, or NULL when none is like it: for "did you mean". names has count
 * entries. */
const char *conf_nearest(struct slice word, const char *const *names, size_t count);

enum conf_section_id {
	CONF_SECTION_ACL,
	CONF_SECTION_ROUTERS,
	CONF_SECTION_TRANSPORTS,
	CONF_SECTION_AUTHENTICATORS,
	CONF_SECTION_RETRY,
	CONF_SECTION_REWRITE,
	CONF_SECTION_LOCAL_SCAN,
	CONF_SECTION_COUNT,
};
/* A "begin NAME" section. Either read() takes its lines and returns what conf_section() gives back, or, with
 * drivers, the reader makes the list of instances by itself (conf_instances()). */
struct conf_section {
	enum conf_section_id id;
	const char *name;
	enum rc (*read)(struct conf_reader *reader, void **section_ret, struct err *err);
	const struct conf_driver *const *drivers; /* NULL-terminated, or NULL */
	const struct conf_option *generic;        /* options of every driver of the section */
	unsigned generic_count;
	size_t head_size;
	enum rc (*check)(struct conf *conf, void *instance,
			 struct err *err); /* generic check, before the driver's */
};

/* The named lists of the main section: "domainlist local_domains = ...". */
enum conf_list_kind { LIST_DOMAIN, LIST_HOST, LIST_ADDRESS, LIST_LOCAL_PART, LIST_KIND_COUNT };
struct conf_named_list {
	struct slice name;
	struct slice text; /* the right-hand side */
	enum conf_list_kind kind;
	bool cache; /* ..._cache: results are cached even where the list has a $ */
	bool hide;
	void *compiled; /* lib/match's */
	struct conf_place place;
};

/* A system that is there: the macro by which a file asks for it, and its word in what -bV says. Each room has an array of its
 * own, ended by an empty row, beside the code; what is not there has no row. */
struct conf_feature {
	const char *macro; /* "_HAVE_IPV6"; NULL: none */
	const char *word;  /* "IPv6"; NULL: none */
};

/* The version of Exim whose language is understood: $version_number, unless exim_version says otherwise. */
#define LANGUAGE_VERSION "4.98"

struct conf_language {
	const struct conf_group *const *groups;     /* NULL-terminated */
	const struct conf_section *const *sections; /* NULL-terminated */
	/* Called for each list when the main section ends, to compile it into list->compiled. May be NULL. */
	enum rc (*named_list)(struct conf *conf, struct conf_named_list *list, struct err *err);
	const struct language *language;
	const struct conf_feature *const *features; /* of each room; NULL-terminated */
	/* Adds predefined macros beyond those of options and drivers (_EXP_..., _LOG_..., _ACL_..., more
	 * _HAVE_...) through conf_macro(). Called before the file is read. May be NULL. */
	void (*macros)(struct conf *conf);
	/* Options that are expanded while the file is read (spool_directory, log_file_path, pid_file_path...)
	 * know $primary_hostname, $spool_directory, $qualify_domain, $config_file, $config_dir and
	 * ${env...}-free text by themselves; a text with anything else comes here. May be NULL: then it is an
	 * error. */
	enum rc (*expand_early)(struct conf *conf, struct slice text, struct slice *ret, struct err *err);
};

/* ---- The snapshot ------------------------------------------------------------------------------------ */

/* What many rooms ask for. */
struct conf_main {
	int64_t daemon_startup_retries, daemon_startup_sleep; /* seconds */
	struct slice primary_hostname;                        /* never unset after loading */
	struct slice qualify_domain, qualify_recipient;
	struct slice spool_directory; /* expanded */
	struct conf_owner exim_user, exim_group;
	struct slice exim_path, exim_version;
	struct slice bi_command, pid_file_path; /* ptr NULL: unset */
	struct slice localhost_number;
	int64_t localhost_number_value; /* -1: unset */
	bool disable_ipv6;
	bool mua_wrapper; /* nothing is queued (lib/deliver/wrapper.c) */
	struct slice keep_environment, add_environment;
	struct conf_id_list never_users, trusted_users, trusted_groups, admin_groups;
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
	struct link warnings;                    /* of struct conf_warning */
	uint32_t refs;                           /* atomic: taken by any shard, the last one frees */
	uint64_t serial;                         /* 1 for the first snapshot of the process, and so on */
	void *reader;                            /* lib/conf's: macros, places... */
};

struct conf_load_options {
	const char *file;          /* or a colon list: the first that exists */
	const char *const *macros; /* -D: "NAME=value" or "NAME", NULL-terminated; may be NULL */
	/* The caller may use any file and -D. Otherwise macros are refused, and each file is checked. */
	bool trusted;
	/* Each file must be a regular one, owned by root or by the user that this process runs as, writable by
	 * nobody else (by group root, if that is its group): for the installed file, whoever asks. */
	bool check_owner;
};

/* Reads, checks and builds. May block (start-up and reload run it on a helper thread). FAIL with "file:line"
 * text. */
NODISCARD enum rc conf_load(const struct conf_language *registry, const struct conf_load_options *options,
			    struct conf **conf_ret, struct err *err);
struct conf *conf_ref(struct conf *conf); /* any thread */
void conf_unref(struct conf *conf);       /* any thread; NULL is fine */

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
const struct conf_named_list *conf_named_list(const struct conf *conf, enum conf_list_kind kind,
					      struct slice name);

/* For -be: the text with the file's macros replaced, in the arena; a definition is taken into the snapshot, and *ret is then empty.
 * Not while others use the snapshot. FAIL: a malformed definition, or the text became too long. */
NODISCARD enum rc conf_replace_macros(struct conf *conf, struct arena *arena, struct slice text,
				      struct slice *ret, struct err *err);
void conf_macro(struct conf *conf, const char *name); /* a predefined macro, replaced by "y" */
void conf_macro_text(struct conf *conf, const char *name, const char *text);
void conf_feature_macros(struct conf *conf); /* the registry's features, for conf_language.macros */
/* An option that is expanded while the file is read: see conf_language.expand_early. The result is in the
 * snapshot. */
NODISCARD enum rc conf_expand_early(struct conf *conf, struct slice text, struct slice *ret, struct err *err);
/* fn(arg) runs when the last reference has gone, before the arena ends: for what a snapshot's values hold
 * outside it. */
NODISCARD enum rc conf_at_free(struct conf *conf, void (*fn)(void *arg), void *arg);

/* Values of the language's kinds, for owners of types: FAIL and no text on bad input. */
bool conf_parse_time(struct slice text, int64_t *seconds_ret);
bool conf_parse_int(struct slice text, int64_t *number_ret); /* octal 0, hex 0x, K M G */
bool conf_parse_bool(struct slice text, bool *value_ret);    /* true yes false no */
void conf_print_time(struct str *str, int64_t seconds);      /* 1d2h */

/* -bP: what is one of: "" or "all" (all main options), an option's name, "config", "config_file", "macros",
 * "macro_list", "macro NAME", "environment", "local_scan", "router_list", "transport_list",
 * "authenticator_list", "routers", "transports", "authenticators", "router NAME", "transport NAME",
 * "authenticator NAME", "+name" (named list). Appends Exim's form. admin: hidden values are shown, and config
 * and macros may be asked for. no_names (-n): values only. FAIL: no such thing. */
NODISCARD enum rc conf_print(const struct conf *conf, struct slice what, bool admin, bool no_names,
			     struct str *str, struct err *err);

#endif
