/* Private to the room: what a load needs while it runs (struct conf_reader), and what a snapshot keeps of it
 * for conf_print() (struct conf_state). */
#ifndef CONF_READER_H
#define CONF_READER_H

#include "conf/conf.h"

/* Limits on what a file may ask for, so that a mistake with macros or includes ends in an error and not in
 * swapping. */
#define CONF_FILE_SIZE_MAX     (64u * 1024 * 1024)
#define CONF_LINE_SIZE_MAX     (1024u * 1024) /* a logical line: an inline domain list can be long */
#define CONF_LINES_MAX         2000000u       /* physical, over all files */
#define CONF_INCLUDE_DEPTH_MAX 32
#define CONF_INCLUDES_MAX      10000 /* in all: files that include twice, one below the other, grow by powers */
#define CONF_IFDEF_DEPTH_MAX   200
#define CONF_MACROS_MAX        20000

/* ---- Macros (macro.c) ---- */

struct macro {
	struct slice name, text;
	bool command_line; /* -D: definitions in the file do not count */
	struct macro *next;
};
struct macro_table {
	struct macro *first,
	    *last; /* the file's and -D's, in the order of definition, which is that of substitution */
	unsigned count;
	struct map by_name;
	struct macro *builtin_first, *builtin_last;
	struct map builtin; /* name -> struct macro */
};

/* The line with all macros replaced. defined_ret: at least one was. The result is the line itself or in the
 * arena; ptr NULL: no memory, or longer than CONF_LINE_SIZE_MAX. at_start: a definition's own name is left
 * alone. */
struct slice macro_expand(const struct macro_table *table, struct arena *arena, struct slice line,
			  bool at_start, bool *replaced_ret);
/* The text is "NAME = ..." or "NAME == ...". */
bool macro_is_definition(struct slice text);
NODISCARD enum rc macro_define(struct conf *conf, struct macro_table *table, struct slice text,
			       const struct conf_place *place, struct err *err);
/* -D's argument. */
NODISCARD enum rc macro_define_arg(struct conf *conf, struct macro_table *table, const char *arg,
				   struct err *err);
void macro_define_options(struct conf *conf, const char *prefix, const char *driver,
			  const struct conf_option *options, unsigned count);
/* All the predefined ones: options, drivers, and the registry's hook. */
void macro_define_builtins(struct conf *conf);

/* ---- Input (input.c) ---- */

struct input_file {
	struct slice rest;
	const char *name; /* in the snapshot */
	unsigned line;    /* of the physical line read last */
	uint64_t dev, ino;
};
enum cond_state {
	COND_ON,      /* lines count */
	COND_SEEKING, /* no branch was taken yet */
	COND_OVER,    /* a branch was taken; the rest does not count */
	COND_SKIPPED, /* inside lines that do not count */
};
struct conf_reader {
	struct conf *conf;
	struct conf_state *state;
	bool trusted;
	struct arena scratch;   /* file contents; gone after the load */
	struct arena expanding; /* what becomes of one physical line */
	struct input_file files[CONF_INCLUDE_DEPTH_MAX];
	unsigned depth;  /* files that are open */
	unsigned opened; /* files so far */
	unsigned lines;  /* physical lines so far */
	uint8_t conds[CONF_IFDEF_DEPTH_MAX];
	struct conf_place cond_places[CONF_IFDEF_DEPTH_MAX];
	unsigned cond_depth;
	struct conf_line line; /* read last */
	bool unread;
	bool section_over;
	struct slice next_section; /* name behind "begin"; ptr NULL: end of the file */
	struct conf_place section_place;
	struct err fault; /* an error of the files themselves */
	bool failed;
};
NODISCARD enum rc input_open(struct conf_reader *reader, const char *file, const struct conf_place *from,
			     struct err *err);
/* The next logical line, comments and blank ones left out. FAIL: end of all files, or reader->failed. */
NODISCARD enum rc input_line(struct conf_reader *reader, struct conf_line *line_ret);

/* ---- Options (option.c) ---- */

/* A setting as written: [hide] [no_|not_]name [= value] */
struct setting {
	struct slice name;  /* with its prefix */
	struct slice plain; /* without no_ or not_ */
	struct slice value; /* unquoted later */
	bool hide, negated, has_value;
	struct slice rest; /* what stood behind the name when there was no "=" */
	struct conf_place place;
};
NODISCARD enum rc setting_parse(const struct conf_line *line, struct setting *setting_ret, struct err *err);
/* A value that begins with a double quote, without it and with its escapes replaced. */
NODISCARD enum rc setting_unquote(struct conf *conf, const struct setting *setting, struct slice *ret,
				  struct err *err);

/* Where a setting goes. */
struct option_slot {
	const struct conf_option *option;
	void *field;
	bool *set;
	struct slice *text; /* as read so far, for repeatable ones */
};
NODISCARD enum rc option_apply(struct conf *conf, const struct setting *setting, struct option_slot *slot,
			       struct err *err);
/* Writes the default into the field. An error here is our own mistake in a table, told as such. */
NODISCARD enum rc option_default(struct conf *conf, const struct conf_option *option, void *field,
				 struct err *err);
const struct conf_option *option_find(const struct conf_option *options, unsigned count, struct slice name);
/* ", did you mean "x"?" for the error about an unknown word, or "". */
struct slice option_hint(struct conf *conf, const char *nearest);

/* ---- The main section (main_section.c, pending.c) ---- */

struct main_option {
	const struct conf_option *option;
	void *field;
	struct slice text;
	bool set, hidden;
	bool pending; /* of conf_pending_options: nothing reads it yet */
	struct conf_place place;
	struct main_option *same; /* OPTION_ALIAS: the row it is an older name of */
};
/* Older names and what they mean today, for all rooms: their tables need no rows for them. */
struct conf_old_name {
	const char *old, *now;
};
extern const struct conf_old_name conf_old_names[];
extern const size_t conf_old_name_count;
/* All main options of Exim: the type of each, for those that no group owns yet. */
extern const struct conf_option conf_pending_options[];
extern const size_t conf_pending_option_count;
extern const struct conf_group conf_main_group;

NODISCARD enum rc main_options_init(struct conf *conf, struct err *err);
NODISCARD enum rc main_section_read(struct conf_reader *reader, struct err *err);
struct main_option *main_option_find(const struct conf_state *state, struct slice name);

/* ---- Driver sections (drivers.c) ---- */

NODISCARD enum rc drivers_read(struct conf_reader *reader, const struct conf_section *section,
			       struct err *err);
NODISCARD enum rc drivers_check(struct conf *conf, const struct conf_section *section, struct err *err);
const struct conf_section *conf_section_of(const struct conf *conf, enum conf_section_id id);

/* ---- What the snapshot keeps ---- */

struct conf_source { /* a logical line, for -bP config */
	struct conf_line line;
	struct conf_source *next;
};
struct at_free {
	void (*fn)(void *arg);
	void *arg;
	struct at_free *next;
};
struct conf_state {
	struct macro_table macros;
	struct main_option *options; /* sorted by name */
	unsigned option_count;
	struct map options_by_name; /* name -> struct main_option */
	struct conf_instances instances[CONF_SECTION_COUNT];
	struct map hidden; /* driver options set with "hide": key the row's address, as bytes */
	struct conf_source *source_first, *source_last;
	struct at_free *at_free;
};
static inline struct conf_state *conf_state(const struct conf *conf)
{
	return conf->reader;
}
bool conf_row_hidden(const struct conf *conf, const struct conf_option *option);
void conf_row_hide(struct conf *conf, const struct conf_option *option);
extern const char *const conf_section_names[CONF_SECTION_COUNT]; /* as behind "begin" */

#endif
