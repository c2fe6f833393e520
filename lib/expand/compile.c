/* compile: from the text of an expansion to its tree. One pass, recursive where braces nest; the innermost
 * rules (what ends a name, which blanks count) are those of the language's users since Exim 3.
 *
 * A mistake does not stop the load: the tree ends there, in a node that tells it when evaluation comes that
 * far. */

#include "tree.h"

#include <stdlib.h>

struct node_list {
	struct arena *arena;
	struct node *nodes;
	unsigned count, room;
	struct str text;  /* a run of plain text under way, when it has escapes */
	struct slice run; /* the same without: bytes of the source */
	bool failed;
};

void parse_skip_space(struct expand_parse *p)
{
	p->rest = slice_ltrim(p->rest);
}

bool parse_take(struct expand_parse *p, char c)
{
	if (p->rest.len == 0 || p->rest.ptr[0] != c)
		return false;
	p->rest = slice_from(p->rest, 1);
	return true;
}

static bool next_is(const struct expand_parse *p, char c)
{
	return p->rest.len && p->rest.ptr[0] == c;
}

struct slice parse_name(struct expand_parse *p, const char *extra)
{
	uint32_t n = 0;
	struct slice name;

	while (n < p->rest.len && p->rest.ptr[n] &&
	       (ascii_is_alnum(p->rest.ptr[n]) || strchr(extra, p->rest.ptr[n])))
		n++;
	name = slice_sub(p->rest, 0, n);
	p->rest = slice_from(p->rest, n);
	return name;
}

void *language_find(const struct language *language, char kind, struct slice name)
{
	char key[80];

	if (name.len + 1 > sizeof(key))
		return NULL;
	key[0] = kind;
	memcpy(key + 1, name.ptr, name.len);
	return map_get(&language->names, slice_make(key, name.len + 1, CLEAN));
}

/* ---- Names ------------------------------------------------------------------------------------------------
 */

bool header_form_of(struct slice name, enum header_form *form_ret, unsigned *prefix_len_ret)
{
	static const struct {
		struct slice prefix;
		enum header_form form;
	} forms[] = {
	    {SLICE_INIT("h_"), HEADER_DECODED}, {SLICE_INIT("header_"), HEADER_DECODED},
	    {SLICE_INIT("bh_"), HEADER_BASIC},  {SLICE_INIT("bheader_"), HEADER_BASIC},
	    {SLICE_INIT("rh_"), HEADER_RAW},    {SLICE_INIT("rheader_"), HEADER_RAW},
	    {SLICE_INIT("lh_"), HEADER_LIST},   {SLICE_INIT("lheader_"), HEADER_LIST},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		if (slice_starts(name, forms[i].prefix)) {
			*form_ret = forms[i].form;
			*prefix_len_ret = forms[i].prefix.len;
			return true;
		}
	return false;
}

/* RFC 5322 section 2.2: any printing character but space and colon. The colon behind it goes with it. */
struct slice parse_header_name(struct expand_parse *p)
{
	uint32_t n = 0;
	struct slice name;

	while (n < p->rest.len && (unsigned char)p->rest.ptr[n] > ' ' &&
	       (unsigned char)p->rest.ptr[n] < 127 && p->rest.ptr[n] != ':')
		n++;
	name = slice_sub(p->rest, 0, n);
	p->rest = slice_from(p->rest, n);
	(void)parse_take(p, ':');
	return name;
}

/* The families end in a digit or an underscore and what follows: $acl_c0, $acl_m_foo, $r_x. */
static const struct variable *variable_family(const struct language *language, struct slice name)
{
	struct variable *row;
	char key[80];

	if (name.len + 1 > sizeof(key))
		return NULL;
	for (uint32_t len = name.len; len > 0; len--) {
		if (len > 16)
			len = 16;
		memcpy(key, name.ptr, len);
		key[len] = '*';
		row = language_find(language, 'v', slice_make(key, len + 1, CLEAN));
		if (row)
			return row;
	}
	return NULL;
}

enum rc variable_find(const struct expand_parse *p, struct slice name, const struct variable **ret)
{
	const struct variable *row = language_find(p->language, 'v', name);
	struct variable *own;

	if (!row) {
		row = variable_family(p->language, name);
		if (!row)
			return FAIL;
		if (slice_starts(name, SLICE("acl_")) && name.len > 5 && !ascii_is_digit(name.ptr[5]) &&
		    name.ptr[5] != '_')
			return FAIL;
		own = arena_make(p->arena, struct variable);
		if (!own)
			return DEFER;
		*own = *row;
		own->name = arena_cstr(p->arena, name);
		if (!own->name)
			return DEFER;
		row = own;
	}
	*ret = row;
	return OK;
}

enum rc variable_unknown(const struct expand_parse *p, const char *front, struct slice name,
			 const char *behind, struct err *err)
{
	struct slice hint;

	if (slice_starts(name, SLICE("acl_c")) || slice_starts(name, SLICE("acl_m")))
		hint = SLICE(" (6th character of a user-defined ACL variable must be a digit or underscore)");
	else if (slice_starts(name, SLICE("acl_")))
		hint = SLICE(" (user-defined ACL variables must start acl_c or acl_m)");
	else
		hint = name_hint(p->language, p->arena, 'v', name);
	return err_set(err, FAIL, "%s%.*s%s%.*s", front, SLICE_ARG(name), behind, SLICE_ARG(hint));
}

/* ---- Collecting nodes -------------------------------------------------------------------------------------
 */

static struct node *node_room(struct node_list *list)
{
	if (list->count == list->room) {
		unsigned room = list->room ? list->room * 2 : 4;
		struct node *nodes = arena_array(list->arena, struct node, room);

		if (!nodes) {
			list->failed = true;
			return NULL;
		}
		if (list->count)
			memcpy(nodes, list->nodes, list->count * sizeof(*nodes));
		list->nodes = nodes;
		list->room = room;
	}
	return &list->nodes[list->count++];
}

/* Ends the run of plain text. */
static void text_end(struct node_list *list)
{
	struct slice text = list->text.len || list->text.failed ? str_slice(&list->text) : list->run;
	struct node *node;

	if (!text.ptr) {
		list->failed = true;
		return;
	}
	if (text.len) {
		node = node_room(list);
		if (node)
			*node = (struct node){.kind = NODE_TEXT, .text = text};
	}
	list->text = str_make(list->arena);
	list->run = SLICE_EMPTY;
}

/* More plain text: bytes of the source stay where they are as long as they are one run. */
static void text_add(struct node_list *list, struct slice s, bool of_source)
{
	if (s.len == 0)
		return;
	if (of_source && !list->text.len) {
		if (!list->run.len) {
			list->run = s;
			return;
		}
		if (list->run.ptr + list->run.len == s.ptr) {
			list->run.len += s.len;
			return;
		}
	}
	if (list->run.len) {
		str_add(&list->text, list->run);
		list->run = SLICE_EMPTY;
	}
	str_add(&list->text, s);
}

static void node_add(struct node_list *list, struct node node)
{
	struct node *place;

	text_end(list);
	place = node_room(list);
	if (place)
		*place = node;
}

/* ---- Backslashes ------------------------------------------------------------------------------------------
 */

/* Behind a backslash: at most three octal digits, x and at most two hexadecimal ones, or a letter. */
static char escape_read(struct expand_parse *p)
{
	char c = p->rest.ptr[0];
	unsigned value = 0, n = 0;

	p->rest = slice_from(p->rest, 1);
	switch (c) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'v':
		return '\v';
	case 'x':
		while (n < 2 && n < p->rest.len && hex_digit(p->rest.ptr[n]) >= 0)
			value = value * 16 + (unsigned)hex_digit(p->rest.ptr[n++]);
		p->rest = slice_from(p->rest, n);
		return (char)value;
	}
	if (c < '0' || c > '7')
		return c;
	value = (unsigned)(c - '0');
	while (n < 2 && n < p->rest.len && p->rest.ptr[n] >= '0' && p->rest.ptr[n] <= '7')
		value = value * 8 + (unsigned)(p->rest.ptr[n++] - '0');
	p->rest = slice_from(p->rest, n);
	return (char)value;
}

static enum rc backslash(struct expand_parse *p, struct node_list *list, struct err *err)
{
	p->rest = slice_from(p->rest, 1);
	if (p->rest.len == 0)
		return err_set(err, FAIL, "\\ at end of string");
	if (parse_take(p, 'N')) {
		/* Protected up to the next \N, or to the end. */
		ptrdiff_t end = slice_search(p->rest, SLICE("\\N"));

		text_add(list, slice_sub(p->rest, 0, end < 0 ? p->rest.len : (size_t)end), true);
		p->rest = slice_from(p->rest, end < 0 ? p->rest.len : (size_t)end + 2);
		return OK;
	}
	if (ascii_is_alnum(p->rest.ptr[0])) {
		char c = escape_read(p);

		text_add(list, slice_make(&c, 1, CLEAN), false);
	} else {
		text_add(list, slice_sub(p->rest, 0, 1), true);
		p->rest = slice_from(p->rest, 1);
	}
	return OK;
}

/* ---- Arguments --------------------------------------------------------------------------------------------
 */

bool expand_parse_at_brace(struct expand_parse *parse)
{
	parse_skip_space(parse);
	return next_is(parse, '{');
}

struct slice expand_parse_word(struct expand_parse *parse)
{
	uint32_t n = 0;
	struct slice word;

	parse_skip_space(parse);
	while (n < parse->rest.len && !ascii_is_space(parse->rest.ptr[n]) && parse->rest.ptr[n] != '{' &&
	       parse->rest.ptr[n] != '}')
		n++;
	word = slice_sub(parse->rest, 0, n);
	parse->rest = slice_from(parse->rest, n);
	return word;
}

static enum rc parse_arg(struct expand_parse *p, unsigned flags, const struct expansion **ret,
			 struct err *err)
{
	enum rc rc;

	if (!expand_parse_at_brace(p))
		return err_set(err, FAIL, "missing {");
	p->rest = slice_from(p->rest, 1);
	rc = compile_string(p, flags | COMPILE_BRACE_ENDS, ret, err);
	if (rc == OK && !parse_take(p, '}'))
		rc = err_set(err, FAIL, "missing } at end of string");
	return rc;
}

enum rc expand_parse_arg(struct expand_parse *parse, const struct expansion **ret, struct err *err)
{
	return parse_arg(parse, 0, ret, err);
}

enum rc expand_parse_arg_literal(struct expand_parse *parse, const struct expansion **ret, struct err *err)
{
	return parse_arg(parse, COMPILE_LITERAL_DOLLAR, ret, err);
}

enum rc expand_parse_end(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	parse_skip_space(parse);
	if (parse_take(parse, '}'))
		return OK;
	if (next_is(parse, '{'))
		return err_set(err, FAIL, "Too many arguments for '%.*s' (max is %u)", SLICE_ARG(call->name),
			       call->item->arg_max);
	return err_set(err, FAIL, "missing '}' after '%.*s'", SLICE_ARG(call->name));
}

static enum rc yes_no_error(struct expand_parse *p, const char *what, struct err *err)
{
	return err_set(err, FAIL,
		       "curly-bracket problem in conditional yes/no parsing: %s\n remaining string is '%.*s'",
		       what, SLICE_ARG(p->rest));
}

enum rc expand_parse_yes_no(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	enum rc rc;
	struct slice word;

	parse_skip_space(parse);
	if (parse_take(parse, '}'))
		return OK;
	if (!next_is(parse, '{'))
		return yes_no_error(parse, "'yes' part did not start with '{'", err);
	rc = expand_parse_arg(parse, &call->yes, err);
	if (rc != OK)
		return rc;
	parse_skip_space(parse);
	if (next_is(parse, '{')) {
		rc = expand_parse_arg(parse, &call->no, err);
		if (rc != OK)
			return rc;
	} else if (!next_is(parse, '}')) {
		word = parse_name(parse, "_");
		if (!slice_eq(word, SLICE("fail")))
			return err_set(err, FAIL, "syntax error in \"%.*s\" item - \"fail\" expected",
				       SLICE_ARG(call->name));
		call->no_fails = true;
	}
	parse_skip_space(parse);
	if (!parse_take(parse, '}'))
		return yes_no_error(parse, "did not close with '}'", err);
	return OK;
}

/* ---- Items and operators ----------------------------------------------------------------------------------
 */

static enum rc parse_item_plain(struct expand_parse *p, struct expand_call *call, struct err *err)
{
	const struct expand_item *item = call->item;
	const struct expansion **args = arena_array(p->arena, const struct expansion *, item->arg_max + 1);
	enum rc rc;

	if (!args)
		return err_memory(err);
	call->args = args;
	if (item->flags & ITEM_OPTION)
		call->option = expand_parse_word(p);
	while (call->arg_count < item->arg_max && expand_parse_at_brace(p)) {
		rc = expand_parse_arg(p, &args[call->arg_count], err);
		if (rc != OK)
			return rc;
		call->arg_count++;
	}
	if (call->arg_count < item->arg_min)
		return err_set(err, FAIL, "Not enough arguments for '%.*s' (min is %u)",
			       SLICE_ARG(call->name), item->arg_min);
	return item->flags & ITEM_YES_NO ? expand_parse_yes_no(p, call, err) : expand_parse_end(p, call, err);
}

static enum rc parse_item(struct expand_parse *p, const struct expand_item *item, struct slice name,
			  struct node_list *list, struct err *err)
{
	struct expand_call *call = arena_make(p->arena, struct expand_call);
	enum rc rc;

	if (!call)
		return err_memory(err);
	call->item = item;
	call->name = name;
	call->option = SLICE_EMPTY;
	rc = item->parse ? item->parse(p, call, err) : parse_item_plain(p, call, err);
	if (rc != OK)
		return rc;
	if (item->flags & ITEM_MISSING && !p->missing.len) {
		struct err why = err_make(p->arena);

		(void)item->eval(NULL, call, NULL, &why);
		p->missing = why.text;
	}
	/* "${" stands before the name. */
	call->text = slice_make(name.ptr - 2, (size_t)(p->rest.ptr - name.ptr) + 2, CLEAN);
	node_add(list, (struct node){.kind = NODE_CALL, .call = call});
	return OK;
}

/* Names such as time_eval have an underscore of their own; in others it begins the argument: substr_1_2. */
static const struct expand_operator *operator_find(const struct language *language, struct slice name,
						   struct slice *arg_ret)
{
	const struct expand_operator *op = language_find(language, 'o', name);
	ptrdiff_t at;

	*arg_ret = SLICE_EMPTY;
	if (op)
		return op;
	at = slice_find(name, '_');
	if (at < 0)
		return NULL;
	/* "sha2_" is not "sha2": the underscore then stands for itself, and suits nobody. */
	*arg_ret = slice_from(name, (size_t)at + (name.len - (size_t)at > 1));
	return language_find(language, 'o', slice_sub(name, 0, (size_t)at));
}

static enum rc parse_operator(struct expand_parse *p, struct slice name, struct node_list *list,
			      struct err *err)
{
	struct operation *operation = arena_make(p->arena, struct operation);
	struct slice arg;
	enum rc rc;

	if (!operation)
		return err_memory(err);
	operation->op = operator_find(p->language, name, &arg);
	operation->arg = arg;
	rc = compile_string(p, COMPILE_BRACE_ENDS, &operation->subject, err);
	if (rc != OK)
		return rc;
	if (!parse_take(p, '}'))
		return err_set(err, FAIL, "missing } at end of string");
	if (!operation->op) {
		enum header_form form;
		struct slice hint;
		unsigned prefix;

		if (header_form_of(name, &form, &prefix))
			return err_set(err, FAIL, "non-digit after underscore in \"%.*s\"", SLICE_ARG(name));
		hint = name_hint(p->language, p->arena, 'o', name);
		return err_set(err, FAIL, "unknown expansion operator \"%.*s\"%.*s", SLICE_ARG(name),
			       SLICE_ARG(hint));
	}
	node_add(list, (struct node){.kind = NODE_OPERATOR, .operation = operation});
	return OK;
}

static enum rc parse_braced(struct expand_parse *p, struct node_list *list, struct err *err)
{
	const struct expand_item *item;
	const struct variable *variable;
	struct slice name;
	enum rc rc;

	p->rest = slice_from(p->rest, 1);
	if (p->rest.len && ascii_is_digit(p->rest.ptr[0])) {
		unsigned number = 0;

		while (p->rest.len && ascii_is_digit(p->rest.ptr[0])) {
			number = number < 100000 ? number * 10 + (unsigned)(p->rest.ptr[0] - '0') : number;
			p->rest = slice_from(p->rest, 1);
		}
		if (!parse_take(p, '}'))
			return err_set(err, FAIL, "} expected after number");
		node_add(list, (struct node){.kind = NODE_NUMBER, .number = number});
		return OK;
	}
	if (p->rest.len == 0 || !ascii_is_alpha(p->rest.ptr[0]))
		return err_set(err, FAIL, "letter or digit expected after ${");
	name = parse_name(p, "_-");
	item = language_find(p->language, 'i', name);
	/* "hash", "length", "substr" and "nhash" are items and operators. */
	if (item && !next_is(p, ':') && !(next_is(p, '}') && language_find(p->language, 'v', name)))
		return parse_item(p, item, name, list, err);
	if (parse_take(p, ':'))
		return parse_operator(p, name, list, err);
	if (!parse_take(p, '}')) {
		struct slice hint =
		    next_is(p, '{') ? name_hint(p->language, p->arena, 'i', name) : SLICE_EMPTY;

		return err_set(
		    err, FAIL,
		    "\"${%.*s\" is not a known operator (or a } is missing in a variable reference)%.*s",
		    SLICE_ARG(name), SLICE_ARG(hint));
	}
	rc = variable_find(p, name, &variable);
	if (rc == FAIL)
		return variable_unknown(p, "unknown variable in \"${", name, "}\"", err);
	if (rc != OK)
		return err_memory(err);
	node_add(list, (struct node){.kind = NODE_VARIABLE, .variable = variable});
	return OK;
}

static enum rc parse_dollar(struct expand_parse *p, struct node_list *list, struct err *err)
{
	const struct variable *variable;
	enum header_form form;
	unsigned prefix, number = 0;
	struct slice name;
	enum rc rc;

	p->rest = slice_from(p->rest, 1);
	if (next_is(p, '{'))
		return parse_braced(p, list, err);
	if (p->rest.len && ascii_is_digit(p->rest.ptr[0])) {
		while (p->rest.len && ascii_is_digit(p->rest.ptr[0])) {
			number = number < 100000 ? number * 10 + (unsigned)(p->rest.ptr[0] - '0') : number;
			p->rest = slice_from(p->rest, 1);
		}
		node_add(list, (struct node){.kind = NODE_NUMBER, .number = number});
		return OK;
	}
	if (p->rest.len == 0 || !ascii_is_alpha(p->rest.ptr[0]))
		return err_set(err, FAIL, "$ not followed by letter, digit, or {");
	if (header_form_of(p->rest, &form, &prefix)) {
		p->rest = slice_from(p->rest, prefix);
		name = parse_header_name(p);
		node_add(list, (struct node){.kind = NODE_HEADER, .number = form, .text = name});
		return OK;
	}
	name = parse_name(p, "_");
	rc = variable_find(p, name, &variable);
	if (rc == FAIL)
		return variable_unknown(p, "unknown variable name \"", name, "\"", err);
	if (rc != OK)
		return err_memory(err);
	node_add(list, (struct node){.kind = NODE_VARIABLE, .variable = variable});
	return OK;
}

/* ---- Strings ----------------------------------------------------------------------------------------------
 */

/* The next piece: plain bytes, an escape, or what begins with a dollar. */
static enum rc parse_piece(struct expand_parse *p, unsigned flags, struct node_list *list, struct err *err)
{
	uint32_t n = 0;

	switch (p->rest.ptr[0]) {
	case '\\':
		return backslash(p, list, err);
	case '$':
		if (!(flags & COMPILE_LITERAL_DOLLAR))
			return parse_dollar(p, list, err);
		n = 1;
		break;
	}
	while (n < p->rest.len && p->rest.ptr[n] != '\\' && p->rest.ptr[n] != '$' &&
	       !(p->rest.ptr[n] == '}' && flags & COMPILE_BRACE_ENDS))
		n++;
	text_add(list, slice_sub(p->rest, 0, n), true);
	p->rest = slice_from(p->rest, n);
	return OK;
}

static struct expansion *expansion_make(struct node_list *list, struct slice text)
{
	struct expansion *expansion = arena_make(list->arena, struct expansion);

	text_end(list);
	if (!expansion || list->failed)
		return NULL;
	expansion->text = text;
	expansion->nodes = list->nodes;
	expansion->count = list->count;
	expansion->literal = list->count == 0 || (list->count == 1 && list->nodes[0].kind == NODE_TEXT);
	return expansion;
}

/* On a mistake *ret is still what stands before it, for the outermost string. */
static enum rc compile_pieces(struct expand_parse *p, unsigned flags, struct node_list *list, struct err *err)
{
	enum rc rc = OK;

	if (p->depth >= EXPAND_DEPTH_MAX || fiber_stack_left() < EXPAND_STACK_MIN)
		return err_set(err, FAIL, "expansion is nested too deeply");
	p->depth++;
	while (rc == OK && p->rest.len && !(flags & COMPILE_BRACE_ENDS && p->rest.ptr[0] == '}'))
		rc = parse_piece(p, flags, list, err);
	p->depth--;
	return rc;
}

enum rc compile_string(struct expand_parse *p, unsigned flags, const struct expansion **ret, struct err *err)
{
	struct node_list list = {.arena = p->arena, .text = str_make(p->arena), .run = SLICE_EMPTY};
	struct slice start = p->rest;
	enum rc rc = compile_pieces(p, flags, &list, err);

	if (rc != OK)
		return rc;
	*ret = expansion_make(&list, slice_sub(start, 0, (size_t)(p->rest.ptr - start.ptr)));
	return *ret ? OK : err_memory(err);
}

const struct expansion *expand_compile(const struct language *language, struct arena *arena,
				       struct slice text)
{
	struct expand_parse p = {.language = language, .arena = arena, .rest = text, .missing = SLICE_EMPTY};
	struct node_list list = {.arena = arena, .text = str_make(arena), .run = SLICE_EMPTY};
	struct err err = err_make(arena);
	struct expansion *expansion;
	enum rc rc = compile_pieces(&p, 0, &list, &err);

	if (rc == DEFER || list.failed)
		return NULL;
	if (rc != OK) {
		/* A tree of its own memory: the text may have been found malformed because the arena is full.
		 */
		if (!err.text.len)
			err.text = SLICE("malformed expansion");
		node_add(&list, (struct node){.kind = NODE_ERROR, .text = err.text});
	}
	expansion = expansion_make(&list, text);
	if (expansion)
		expansion->missing = p.missing;
	return expansion;
}

enum rc expansion_available(const struct expansion *expansion, struct err *err)
{
	if (!expansion || !expansion->missing.len)
		return OK;
	return err_set(err, FAIL, "%.*s", SLICE_ARG(expansion->missing));
}

struct slice expansion_text(const struct expansion *expansion)
{
	return expansion ? expansion->text : SLICE_EMPTY;
}

bool expansion_is_literal(const struct expansion *expansion)
{
	return expansion->literal;
}

struct slice expansion_literal(const struct expansion *expansion)
{
	ASSERT(expansion->literal);
	return expansion->count ? expansion->nodes[0].text : SLICE_EMPTY;
}
