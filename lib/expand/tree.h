/* tree: what a string is compiled to. Private to the room. */
#ifndef EXPAND_TREE_H
#define EXPAND_TREE_H

#include "expand/expand.h"

/* Braces may nest this deep when a string is compiled. A level of evaluation takes a few hundred bytes of
 * stack, and EXPAND_STACK_MIN is kept free for what the innermost one calls. */
#define EXPAND_DEPTH_MAX 400
#define EXPAND_STACK_MIN (24u * 1024)
/* What one outermost expansion may do before it is given up: a loop in a loop in a loop, over lists that a stranger may
 * have made long. A unit is a string that was evaluated, or 256 bytes of it: some fifty nanoseconds. Each turn the others
 * of the shard get theirs. Memory: what lies in the task's arena until it ends, which loops cannot give back. */
#define EXPAND_WORK_MAX   5000000u
#define EXPAND_WORK_TURN  20000u
#define EXPAND_WORK_BYTES 256u
#define EXPAND_MEMORY_MAX (256u * 1024 * 1024)
/* Of one result. Larger ones are a mistake or an attack, and would be copied at each level. */
#define EXPAND_RESULT_MAX (16u * 1024 * 1024)

enum node_kind {
	NODE_TEXT,     /* text, as it is */
	NODE_VARIABLE, /* $name */
	NODE_NUMBER,   /* $1 */
	NODE_HEADER,   /* $h_name: */
	NODE_CALL,     /* ${name{..}..} */
	NODE_OPERATOR, /* ${name:...} */
	NODE_ERROR,    /* here the string was found to be malformed: text says why */
};

struct operation {
	const struct expand_operator *op;
	struct slice arg; /* behind the "_" */
	const struct expansion *subject;
};
struct node {
	enum node_kind kind;
	unsigned number;   /* NODE_NUMBER; NODE_HEADER: enum header_form */
	struct slice text; /* NODE_TEXT, NODE_ERROR; NODE_HEADER: its name */
	union {
		const struct variable *variable;
		const struct expand_call *call;
		const struct operation *operation;
	};
};
struct expansion {
	struct slice text;        /* as written */
	const struct node *nodes; /* none: the empty string */
	unsigned count;
	bool literal;         /* at most one node, and that is text */
	struct slice missing; /* why this server can't evaluate it; empty: it can */
};

enum condition_kind {
	CONDITION_CALL, /* name{..}{..} */
	CONDITION_AND,
	CONDITION_OR,
	CONDITION_VARIABLE, /* def:name */
	CONDITION_HEADER,   /* def:h_name: */
	CONDITION_EACH,     /* forany, forall and their kin */
};
struct condition {
	enum condition_kind kind;
	bool negate;
	struct slice text;       /* as written, without "!" */
	bool sets_numbers;       /* $1... or $value may be changed: ${if restores them */
	bool all;                /* forall */
	bool json, json_strings; /* the list is a JSON array; its strings lose their quotes */
	enum header_form form;
	struct slice name;
	const struct variable *variable;
	const struct expand_condition *condition;
	const struct expand_call *call;
	const struct expansion *list;
	const struct condition *first,
	    *next; /* the inner ones of and, or, forany; the next of the same list */
};

/* ---- compile.c --------------------------------------------------------------------------------------------
 */

enum { COMPILE_BRACE_ENDS = 1, COMPILE_LITERAL_DOLLAR = 2 };
/* Up to the end, or to the closing brace (not taken) with COMPILE_BRACE_ENDS. FAIL: malformed; DEFER: memory.
 */
enum rc compile_string(struct expand_parse *p, unsigned flags, const struct expansion **ret, struct err *err);
void parse_skip_space(struct expand_parse *p);
/* Takes the byte off the front if it is there. */
bool parse_take(struct expand_parse *p, char c);
/* Letters, digits and those given. */
struct slice parse_name(struct expand_parse *p, const char *extra);
/* Is this the name of a header form ("h_x", "lheader_x")? Then *name behind its prefix. */
bool header_form_of(struct slice name, enum header_form *form_ret, unsigned *prefix_len_ret);
struct slice parse_header_name(struct expand_parse *p);
/* FAIL: no such variable. DEFER: memory. */
enum rc variable_find(const struct expand_parse *p, struct slice name, const struct variable **ret);
/* What is said of a name that is none: the text in front of it, the text behind it, and what may have been meant. */
enum rc variable_unknown(const struct expand_parse *p, const char *front, struct slice name,
			 const char *behind, struct err *err);

/* ---- suggest.c --------------------------------------------------------------------------------------------
 */

/* "; did you mean "x"?" for a name that the language does not have in the place of this kind (language_find()), or that
 * it is something else; empty when nothing is like it. */
struct slice name_hint(const struct language *language, struct arena *arena, char kind, struct slice name);
void *language_find(const struct language *language, char kind, struct slice name);

/* ---- condition.c ------------------------------------------------------------------------------------------
 */

enum rc condition_parse(struct expand_parse *p, const struct condition **ret, struct err *err);
enum rc condition_eval(struct scope *sc, const struct condition *condition, bool *ret, struct err *err);
extern const struct expand_item item_if, item_filter;

/* ---- eval.c -----------------------------------------------------------------------------------------------
 */

/* The string of a builder, or the error that memory ran out. */
enum rc str_result(const struct str *str, struct slice *ret, struct err *err);
/* Between quotes, as addresses and ${quote: have it; the string gets its taint. */
void quoted_add(struct str *out, struct slice s);
/* Asked by what waits, reads a clock or the file system: FAIL where there is no shard, in expand_early(). */
enum rc shard_needed(const struct scope *sc, const char *what, struct err *err);
/* Is the item or condition of that name forbidden here? OK, or FAIL with the reason. */
enum rc not_forbidden(const struct scope *sc, const char *name, struct err *err);
/* The limits of depth, asked for at each level. OK, or FAIL with the reason. */
enum rc depth_enter(struct scope *sc, struct err *err);
/* Counts so many units of work. May park. FAIL: they are too many; DEFER, CANCELLED: the task has no time left. */
enum rc work_add(struct scope *sc, uint64_t units, struct err *err);
/* For what has no length that tells its cost: the time now, 0 while little was done, and the units since then. */
uint64_t work_clock(const struct scope *sc);
enum rc work_since(struct scope *sc, uint64_t start, struct err *err);

/* ---- tell.c -----------------------------------------------------------------------------------------------
 */

/* Only if debug_on(DEBUG_EXPAND): the beginning of one, its parts, and what came of it. */
void tell_expansion(const struct expansion *expansion) __attribute__((cold));
void tell_node(const struct node *node, enum rc rc, struct slice value) __attribute__((cold));
void tell_expanded(const struct expansion *expansion, enum rc rc, struct slice value, const struct err *err)
    __attribute__((cold));
void tell_condition(const struct condition *condition, enum rc rc, bool value) __attribute__((cold));

/* ---- known.c ----------------------------------------------------------------------------------------------
 */

extern const struct variable_table expand_known_variables;

/* ---- numbers.c --------------------------------------------------------------------------------------------
 */

/* An integer as conditions read it: decimal with sign, octal and hexadecimal not, K M G behind it; empty is
 * 0. */
enum rc integer_read(struct slice text, int64_t *ret, struct err *err);

/* ---- json.c -----------------------------------------------------------------------------------------------
 */

/* Takes the next element off the front of the inside of an array, white space trimmed; false: no more. */
bool json_next(struct slice *rest, struct slice *element_ret);
/* The inside of {...} or [...], false when the text is no such thing. */
bool json_inside(struct slice text, char open, char close, struct slice *inside_ret);
/* A string without its quotes; false: it is no string. */
bool json_unquote(struct slice text, struct slice *ret);

#endif
