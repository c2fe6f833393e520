/* expand: the $ language. A string is compiled once into a tree in its snapshot's arena and evaluated on a fiber; a
 * string without $ or backslash costs nothing. What there is to expand (variables, items, operators, conditions) is
 * registered by those who own it through struct language: nothing here names SMTP, ACLs or lookups.
 *
 * A malformed string is no load error: as its users expect, the mistake is kept in the tree and told when evaluation
 * comes to it, since whole branches are never evaluated. */
#ifndef EXPAND_EXPAND_H
#define EXPAND_EXPAND_H

#include "message/message.h"

struct expansion;

/* Compiles the text (borrowed: it must live as long as the arena) into the arena. NULL only when memory is out. */
const struct expansion *expand_compile(const struct language *language, struct arena *arena, struct slice text);
/* The text as it was written; empty for NULL. */
struct slice expansion_text(const struct expansion *expansion);
bool expansion_is_literal(const struct expansion *expansion);

/* Evaluates. May park. The result lives in sc->task->arena, or in the snapshot.
 * OK     *ret is the string.
 * FAIL   it cannot be expanded: err->text says why, in Exim's words; err->forced when the string itself said "fail".
 * DEFER  a lookup could not be done. */
NODISCARD enum rc expand(struct scope *sc, const struct expansion *expansion, struct slice *ret, struct err *err);
/* Compiles and evaluates a string that is known only now. */
NODISCARD enum rc expand_text(struct scope *sc, struct slice text, struct slice *ret, struct err *err);
/* A condition text ("and{...}", as in ${if): for tests and -be. */
NODISCARD enum rc expand_condition(struct scope *sc, struct slice text, bool *ret, struct err *err);
/* The truth of an expanded string as router conditions and the ACL condition see it: "", "0", "no", "false" are false,
 * "1", "yes", "true" and non-zero numbers true; anything else: FAIL ("invalid condition value"), or, with lax, true. */
NODISCARD enum rc expand_truth(struct slice value, bool lax, bool *ret, struct err *err);

/* An option that is expanded before use: const struct expansion *, NULL when unset. */
extern const struct conf_type conf_expansion;
#define OPT_EXPAND(st, f, d, h) CONF_ROW(st, f, const struct expansion *, &conf_expansion, d, h, 0)
/* The value of such an option: OK with an empty slice when it is unset. A forced failure counts as unset. */
NODISCARD enum rc expand_option(struct scope *sc, const struct expansion *option, struct slice *ret, struct err *err);
NODISCARD enum rc expand_option_int(struct scope *sc, const struct expansion *option, int64_t unset, int64_t *ret,
				    struct err *err);
NODISCARD enum rc expand_option_bool(struct scope *sc, const struct expansion *option, bool unset, bool *ret,
				     struct err *err);

/* ---- For those who register ---------------------------------------------------------------------------- */

/* A call of an item or condition, as compiled: arguments in braces, not yet evaluated. */
struct expand_call {
	const struct expand_item *item;
	struct slice name;		      /* as written */
	struct slice option;		      /* what stood between name and first brace: lookup types, "json"... */
	const struct expansion *const *args;  /* item->arg_max at most */
	unsigned arg_count;
	const struct expansion *yes, *no;     /* NULL: not given; only with ITEM_YES_NO */
	bool no_fails;			      /* "fail" stood in the place of {no} */
	struct slice text;		      /* the whole item, for messages */
};
enum {
	ITEM_YES_NO = 1,	/* may be followed by {yes}{no} or {yes}fail */
	ITEM_OPTION = 2,	/* has bare words between the name and the first brace */
};
/* ${name{arg}{arg}...}. eval decides which arguments it evaluates, and how often, with expand(). May park. */
struct expand_item {
	const char *name;
	unsigned arg_min, arg_max;
	unsigned flags;
	enum rc (*eval)(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err);
	/* Items whose arguments are of another shape parse themselves: called behind the name, leaves *rest behind the
	 * closing brace. NULL for the ordinary ones. */
	enum rc (*parse)(const struct language *language, struct arena *arena, struct slice *rest,
			 struct expand_call *call, struct err *err);
};
/* Finishes an item with {yes}{no}: evaluates the one that applies with $value set to value for the time. */
NODISCARD enum rc expand_yes_no(struct scope *sc, const struct expand_call *call, bool yes, struct slice value,
				struct slice *ret, struct err *err);
/* ${name:string} or ${name_arg:string}: the string is already evaluated; arg is what stood behind the "_" . */
struct expand_operator {
	const char *name;
	enum rc (*eval)(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret, struct err *err);
};
/* name{arg}{arg} inside ${if. */
struct expand_condition {
	const char *name;
	unsigned arg_min, arg_max;
	enum rc (*eval)(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err);
};

struct language {
	const struct variable_table *const *variables;	      /* NULL-terminated arrays */
	const struct expand_item *const *const *items;	      /* arrays of NULL-terminated arrays, NULL-terminated */
	const struct expand_operator *const *const *operators;
	const struct expand_condition *const *const *conditions;
	/* ${quote_TYPE:...}: quotes for a lookup of that type; FAIL: no such type or nothing to quote for. */
	enum rc (*lookup_quote)(struct scope *sc, struct slice type, struct slice option, struct slice subject,
				struct slice *ret, struct err *err);
	struct map names;  /* made by language_init(): "v:x", "i:x", "o:x", "c:x" */
	struct arena arena;
};
/* Builds the name tables; once at start. FAIL: a name is registered twice. */
NODISCARD enum rc language_init(struct language *language, struct err *err);
void language_done(struct language *language);

extern const struct variable_table expand_variables;	      /* $value, $item, $0..., $runrc, $auth1, $tod..., $pid ... */
extern const struct expand_item *const expand_items[];	      /* NULL-terminated */
extern const struct expand_operator *const expand_operators[];
extern const struct expand_condition *const expand_conditions[];
extern const struct conf_group expand_conf_group;

/* ---- Regular expressions (PCRE2), for all rooms ---------------------------------------------------------- */

struct regex;
enum { REGEX_NOCASE = 1 };
/* Compiled, with match limits against catastrophic patterns, into the arena (a compiled pattern from the heap is
 * freed with it when it is a snapshot's; run-time patterns go through a bounded cache per shard). */
NODISCARD enum rc regex_compile(struct arena *arena, struct slice pattern, unsigned flags, const struct regex **ret,
				struct err *err);
/* From the shard's cache, for patterns known only at run time. Valid until the fiber parks. */
NODISCARD enum rc regex_cached(struct shard *shard, struct slice pattern, unsigned flags, const struct regex **ret,
			       struct err *err);
/* OK: matches, numbers[0..*count_ret-1] are the parts (ptr NULL: group did not take part). FAIL: does not. DEFER with
 * text: limits were hit. */
NODISCARD enum rc regex_match(const struct regex *regex, struct slice subject, struct slice *numbers, unsigned numbers_max,
			      unsigned *count_ret, struct err *err);

#endif
