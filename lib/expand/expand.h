/* expand: the $ language. A string is compiled once into a tree in its snapshot's arena and evaluated on a
 * fiber; a string without $ or backslash costs nothing. What there is to expand (variables, items, operators,
 * conditions) is registered by those who own it through struct language: nothing here names SMTP, ACLs or
 * lookups.
 *
 * A malformed string is no load error: as its users expect, the mistake is kept in the tree and told when
 * evaluation comes to it, since whole branches are never evaluated. */
#ifndef EXPAND_EXPAND_H
#define EXPAND_EXPAND_H

#include "message/message.h"

struct expansion;

/* Compiles the text (borrowed: it must live as long as the arena) into the arena. NULL only when memory is
 * out. */
const struct expansion *expand_compile(const struct language *language, struct arena *arena,
				       struct slice text);
/* The text as it was written; empty for NULL. */
struct slice expansion_text(const struct expansion *expansion);
bool expansion_is_literal(const struct expansion *expansion);
/* What a literal one always gives: its text with backslashes and \N undone. */
struct slice expansion_literal(const struct expansion *expansion);

/* Does it ask for what this server does not have, whatever comes of it (a lookup type, a condition that needs a library)?
 * FAIL: err says for what. For those who read configurations: better refused when it is loaded than when mail comes. */
NODISCARD enum rc expansion_available(const struct expansion *expansion, struct err *err);

/* Evaluates. May park. The result lives in sc->task->arena, or in the snapshot.
 * OK     *ret is the string.
 * FAIL   it cannot be expanded: err->text says why, in Exim's words; err->forced when the string itself said
 * "fail". DEFER  a lookup could not be done. */
NODISCARD enum rc expand(struct scope *sc, const struct expansion *expansion, struct slice *ret,
			 struct err *err);
/* Compiles and evaluates a string that is known only now. */
NODISCARD enum rc expand_text(struct scope *sc, struct slice text, struct slice *ret, struct err *err);
/* A condition text ("and{...}", as in ${if): for tests and -be. */
NODISCARD enum rc expand_condition(struct scope *sc, struct slice text, bool *ret, struct err *err);
/* The truth of an expanded string as router conditions and the ACL condition see it: "", "0", "no", "false"
 * are false, "1", "yes", "true" and non-zero numbers true; anything else: FAIL ("invalid condition value"),
 * or, with lax, true. */
NODISCARD enum rc expand_truth(struct slice value, bool lax, bool *ret, struct err *err);

/* What a scope may forbid (sc->expand_forbidden), as a redirect router does for the filters of users. */
enum {
	EXPAND_NO_DLFUNC = 1,
	EXPAND_NO_EXISTS = 2,
	EXPAND_NO_LOOKUP = 4,
	EXPAND_NO_PERL = 8,
	EXPAND_NO_READFILE = 16,
	EXPAND_NO_READSOCKET = 32,
	EXPAND_NO_RUN = 64,
};

/* An option that is expanded before use: const struct expansion *, NULL when unset. */
extern const struct conf_type conf_expansion;
#define OPT_EXPAND(st, f, d, h) CONF_ROW(st, f, const struct expansion *, &conf_expansion, d, h, 0)
/* An option debug_print or the like: what it comes to is told, if somebody listens to anything at all (base/debug.h). NULL: it is
 * unset. Parks. */
void expand_debug_print(struct scope *sc, const struct expansion *text);
/* A list whose items are expanded one by one when they are needed, in struct slice. */
extern const struct conf_type conf_expanded_items;
/* The value of such an option: OK with an empty slice when it is unset. A forced failure counts as unset. */
NODISCARD enum rc expand_option(struct scope *sc, const struct expansion *option, struct slice *ret,
				struct err *err);
NODISCARD enum rc expand_option_int(struct scope *sc, const struct expansion *option, int64_t unset,
				    int64_t *ret, struct err *err);
NODISCARD enum rc expand_option_bool(struct scope *sc, const struct expansion *option, bool unset, bool *ret,
				     struct err *err);

/* For struct conf_language: expands into the snapshot's arena while a file is read, when there is no shard.
 * What would have to wait, to read a clock or to look at the file system is refused. Never parks. */
enum rc expand_early(struct conf *conf, struct slice text, struct slice *ret, struct err *err);

/* ---- For those who register ---------------------------------------------------------------------------- */

#define EXPAND_ARGS_MAX 10

/* A call of an item or condition, as compiled: arguments in braces, not yet evaluated. */
struct expand_call {
	const struct expand_item *item;
	struct slice name;   /* as written */
	struct slice option; /* what stood between name and first brace: lookup types, "json"... */
	const struct expansion *const *args; /* item->arg_max at most */
	unsigned arg_count;
	const struct expansion *yes, *no; /* NULL: not given; only with ITEM_YES_NO */
	bool no_fails;                    /* "fail" stood in the place of {no} */
	struct slice text;                /* the whole item, for messages */
	const void *extra;                /* what the item's own parse() left for its eval() */
};
/* Where the compiler stands in a text: for items with a parse() of their own. */
struct expand_parse {
	const struct language *language;
	struct arena *arena;
	struct slice rest;    /* not yet read */
	unsigned depth;       /* of nested braces */
	struct slice missing; /* why what was parsed can never be evaluated by this server; empty: it can */
	bool sets_numbers; /* something in here may set $1... or $value: the ${if around it restores them */
};
/* Takes "{...}" off the front, white space before it included, and compiles what is inside. FAIL: no brace
 * there, or not closed, err says so; DEFER: no memory. */
NODISCARD enum rc expand_parse_arg(struct expand_parse *parse, const struct expansion **ret, struct err *err);
/* The same, with $ standing for itself; backslashes work as ever. */
NODISCARD enum rc expand_parse_arg_literal(struct expand_parse *parse, const struct expansion **ret,
					   struct err *err);
/* Is a "{" next, behind white space (which is taken off)? */
bool expand_parse_at_brace(struct expand_parse *parse);
/* A bare word up to white space or a brace; empty: there is none. Takes white space before it off too. */
struct slice expand_parse_word(struct expand_parse *parse);
/* The end of an item with {yes}{no}: fills in call->yes, no and no_fails and takes the item's closing brace.
 */
NODISCARD enum rc expand_parse_yes_no(struct expand_parse *parse, struct expand_call *call, struct err *err);
/* The closing brace of an item without them. */
NODISCARD enum rc expand_parse_end(struct expand_parse *parse, struct expand_call *call, struct err *err);
enum {
	ITEM_YES_NO = 1, /* may be followed by {yes}{no} or {yes}fail */
	ITEM_OPTION = 2, /* may have a bare word between the name and the first brace */
	/* This server can't: eval only says why, also without a scope, and a file that names it is refused with that. */
	ITEM_MISSING = 4,
};
/* ${name{arg}{arg}...}. eval decides which arguments it evaluates, and how often, with expand(). May park. */
struct expand_item {
	const char *name;
	unsigned arg_min, arg_max; /* arg_max at most EXPAND_ARGS_MAX */
	unsigned flags;
	enum rc (*eval)(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err);
	/* Items whose arguments are of another shape parse themselves: called behind the name, leaves
	 * parse->rest behind the closing brace. call->args is theirs to fill (in parse->arena). NULL for the
	 * ordinary ones. */
	enum rc (*parse)(struct expand_parse *parse, struct expand_call *call, struct err *err);
};
/* Finishes an item with {yes}{no}: evaluates the one that applies with $value set to value for the time. */
NODISCARD enum rc expand_yes_no(struct scope *sc, const struct expand_call *call, bool yes,
				struct slice value, struct slice *ret, struct err *err);
/* ${name:string} or ${name_arg:string}: the string is already evaluated; arg is what stood behind the "_" .
 */
struct expand_operator {
	const char *name;
	enum rc (*eval)(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
			struct err *err);
};
/* name{arg}{arg} inside ${if. A condition may set sc->value and sc->numeric for the {yes} and {no} that
 * follow: ${if restores them afterwards. */
enum {
	CONDITION_LITERAL_LAST =
	    1, /* in the last argument $ stands for itself: the lists of match_domain and its kin */
	CONDITION_BRACED = 2,  /* all arguments stand in one more pair of braces: acl{{name}{arg}} */
	CONDITION_PURE = 4,    /* never sets $value or numbers, so there is nothing to restore */
	CONDITION_MISSING = 8, /* as ITEM_MISSING */
};
struct expand_condition {
	const char *name;
	unsigned arg_min, arg_max;
	unsigned flags;
	enum rc (*eval)(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err);
};

struct language {
	const struct variable_table *const *variables; /* NULL-terminated arrays */
	const struct expand_item *const *const *items; /* arrays of NULL-terminated arrays, NULL-terminated */
	const struct expand_operator *const *const *operators;
	const struct expand_condition *const *const *conditions;
	/* ${quote_TYPE:...}: quotes for a lookup of that type; FAIL: no such type or nothing to quote for. */
	enum rc (*lookup_quote)(struct scope *sc, struct slice type, struct slice option,
				struct slice subject, struct slice *ret, struct err *err);
	struct map names; /* made by language_init(): "vx", "ix", "ox", "cx" */
	struct arena arena;
};
/* Builds the name tables; once at start, before shards run. FAIL: a name is registered twice.
 * A variable registered as "name*" is a family: its getter is called with a struct variable whose name is the
 * one that was written ("acl_c_foo" for "acl_c*"). */
NODISCARD enum rc language_init(struct language *language, struct err *err);
void language_done(struct language *language);
/* _EXP_ITEM_..., _EXP_OP_..., _EXP_COND_... and _EXP_VAR_... of all that is registered: for conf_language.macros. */
void language_macros(struct conf *conf);

extern const struct variable_table
    expand_variables; /* $value, $item, $0..., $runrc, $auth1, $tod..., $pid ... */
extern const struct expand_item *const expand_items[]; /* NULL-terminated */
extern const struct expand_operator *const expand_operators[];
extern const struct expand_condition *const expand_conditions[];
extern const struct conf_feature expand_features[];
extern const struct conf_group expand_conf_group;
struct expand_options {
	bool strict_acl_vars;
	struct slice saslauthd_socket;
};
static inline const struct expand_options *expand_options(const struct conf *conf)
{
	return conf_group(conf, CONF_EXPAND);
}
/* Frees what the shard keeps for this room, when it ends. */
void expand_done(struct shard *shard);

/* ---- Lists
 * -------------------------------------------------------------------------------------------------- */

/* Takes the next item off an expanded list, with its separator rules (first "<;" form, doubled separators,
 * white space trimmed). *separator: 0 at first, kept between calls. false: no more. The item is in the arena
 * if it had doubled separators, else inside the list. When memory is out the item's ptr is NULL. */
bool list_next(struct arena *arena, struct slice *rest, char *separator, struct slice *item_ret);
/* Appends an item to a list that is being built: the separator before it unless it is the first (*count is
 * 0), separators inside doubled, an empty item that is not the first as a space. */
void list_add(struct str *list, unsigned *count, char separator, struct slice item);

/* ---- Regular expressions (PCRE2), for all rooms ----------------------------------------------------------
 */

struct regex;
enum { REGEX_NOCASE = 1 };
/* Compiled into the arena, and gone with it. FAIL: not a regular expression, err says where. */
NODISCARD enum rc regex_compile(struct arena *arena, struct slice pattern, unsigned flags,
				const struct regex **ret, struct err *err);
/* From the shard's cache, for patterns known only at run time. Valid until the fiber parks. */
NODISCARD enum rc regex_cached(struct shard *shard, struct slice pattern, unsigned flags,
			       const struct regex **ret, struct err *err);
/* With limits against catastrophic patterns. OK: matches, numbers[0..*count_ret-1] are the parts (ptr NULL:
 * group did not take part). FAIL: does not. DEFER with text: limits were hit. Never parks. */
NODISCARD enum rc regex_match(const struct regex *regex, struct slice subject, struct slice *numbers,
			      unsigned numbers_max, unsigned *count_ret, struct err *err);

#endif
