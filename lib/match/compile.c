/* compile: the text of a list becomes a few entries: runs of literals a hash table, runs of networks a trie,
 * in the order and with the signs of the list. */

#include <stdlib.h>

#include "list.h"

/* An item as it stands in the list. */
struct item {
	struct slice text; /* without "!" and what surrounds it */
	bool negated;
};
/* While a list is compiled. Items are collected on the heap: their number is not known before, and an arena
 * would keep what growing leaves behind. */
struct compiling {
	struct arena *arena;
	unsigned kind, flags;
	struct item *items;
	uint32_t count, room;
	struct compiled *list;
};

static bool item_add(struct compiling *c, struct slice text)
{
	struct item *item;

	if (c->count == c->room) {
		uint32_t room = c->room ? c->room * 2 : 16;
		struct item *more = room < UINT32_MAX / 2 ? realloc(c->items, room * sizeof(*more)) : NULL;

		if (!more)
			return false;
		c->items = more;
		c->room = room;
	}
	item = &c->items[c->count++];
	item->negated = text.len && text.ptr[0] == '!';
	item->text = item->negated ? slice_ltrim(slice_from(text, 1)) : text;
	return true;
}

/* A line of a file: "#" begins a comment, in lists of local parts and addresses only behind white space. */
static struct slice line_strip(unsigned kind, struct slice line)
{
	bool anywhere = kind == LIST_DOMAIN || kind == LIST_HOST;

	for (uint32_t i = 0; i < line.len; i++) {
		if (line.ptr[i] == '#' && (anywhere || i == 0 || ascii_is_space(line.ptr[i - 1]))) {
			line = slice_sub(line, 0, i);
			break;
		}
	}
	return slice_trim(line);
}

static bool items_split(struct compiling *c, struct slice text)
{
	struct slice item;
	char separator = 0;

	if (c->flags & COMPILE_ONE)
		return item_add(c, c->flags & COMPILE_PATTERN ? slice_trim(text) : text);
	if (c->flags & COMPILE_FILE) {
		while (slice_split(&text, '\n', &item)) {
			item = line_strip(c->kind, item);
			if (item.len && !item_add(c, item))
				return false;
		}
		return true;
	}
	while (list_next(c->arena, &text, &separator, &item)) {
		if (!item.ptr || !item_add(c, item))
			return false;
	}
	return true;
}

/* ---- Runs ------------------------------------------------------------------------------- */

static bool has(struct slice s, char c)
{
	return slice_find(s, c) >= 0;
}

/* A name or local part that stands for itself. ";" makes a lookup of it. */
static bool is_plain(unsigned kind, struct slice s)
{
	if (s.len == 0)
		return kind == LIST_DOMAIN || kind == LIST_LOCAL_PART || kind == LIST_STRING;
	return !has(s, ';') && s.ptr[0] != '^' && s.ptr[0] != '*' && s.ptr[0] != '+' && s.ptr[0] != '/' &&
	       !(s.ptr[0] == '@' && kind == LIST_DOMAIN);
}

static bool as_domain(struct slice s, enum set_kind whole, struct set_item *ret)
{
	if (s.len > 1 && s.ptr[0] == '*' && s.ptr[1] == '.' && !has(s, ';')) {
		*ret = (struct set_item){s.ptr + 1, s.len - 1, (uint8_t)(whole + 1), 1};
		return true;
	}
	if (!is_plain(LIST_DOMAIN, s))
		return false;
	*ret = (struct set_item){s.ptr, s.len, (uint8_t)whole, 0};
	return true;
}

static bool as_address(struct slice s, struct set_item *ret)
{
	ptrdiff_t at = slice_rfind(s, '@');
	struct slice domain;

	if (at < 0)
		return s.len > 0 && as_domain(s, SET_DOMAIN, ret);
	domain = slice_from(s, (size_t)at + 1);
	if (s.ptr[0] == '@' || s.ptr[0] == '+' || s.ptr[0] == '^' || s.ptr[0] == '/' || domain.len == 0 ||
	    ascii_is_space(domain.ptr[0]))
		return false;
	if (at > 0 && s.ptr[at - 1] == '@')
		return false;
	if (at == 1 && s.ptr[0] == '*') {
		if (!as_domain(domain, SET_DOMAIN, ret))
			return false;
		ret->prefix = (uint8_t)(ret->prefix + 2);
		return true;
	}
	if (s.ptr[0] == '*' || has(s, ';') || !is_plain(LIST_DOMAIN, domain))
		return false;
	*ret = (struct set_item){s.ptr, s.len, SET_WHOLE, 0};
	return true;
}

/* Can this item be in a hash table? */
static bool as_set_item(const struct compiling *c, struct slice s, struct set_item *ret)
{
	if (c->flags & COMPILE_PATTERN)
		return false;
	switch (c->kind) {
	case LIST_DOMAIN:
		return as_domain(s, SET_WHOLE, ret);
	case LIST_ADDRESS:
		return as_address(s, ret);
	case LIST_LOCAL_PART:
	case LIST_STRING:
		if (!is_plain(c->kind, s))
			return false;
		*ret = (struct set_item){s.ptr, s.len, SET_WHOLE, 0};
		return true;
	default:
		return false;
	}
}

/* The run of such items with one sign that begins at `first`: how many, and NULL when memory is out. */
static struct set_item *run_collect(struct compiling *c, uint32_t first, uint32_t *count_ret)
{
	struct set_item *items, item;
	uint32_t count = 0;

	while (first + count < c->count && c->items[first + count].negated == c->items[first].negated &&
	       as_set_item(c, c->items[first + count].text, &item))
		count++;
	items = arena_array(c->arena, struct set_item, count);
	for (uint32_t i = 0; items && i < count; i++)
		(void)as_set_item(c, c->items[first + i].text, &items[i]); /* it could, just now */
	*count_ret = count;
	return items;
}

/* Exim takes a mask that is too long for the address, but not for any, as one of full length. */
static bool net_of(struct slice s, struct ip_addr *net, unsigned *bits)
{
	ptrdiff_t slash = slice_find(s, '/');
	uint64_t long_bits;

	if (cidr_parse(s, net, bits))
		return true;
	if (slash < 0 || !ip_parse(slice_sub(s, 0, (size_t)slash), net) || net->family != 4 ||
	    !parse_u64(slice_from(s, (size_t)slash + 1), &long_bits) || long_bits > 128)
		return false;
	*bits = 32;
	return true;
}

static bool nets_build(struct compiling *c, uint32_t first, uint32_t *count_ret, struct entry *entry)
{
	struct ip_addr net;
	uint32_t count = 0;
	unsigned bits;

	while (first + count < c->count && c->items[first + count].negated == c->items[first].negated &&
	       net_of(c->items[first + count].text, &net, &bits))
		count++;
	net_set_init(&entry->nets.set);
	if (!net_set_reserve(&entry->nets.set, c->arena, count))
		return false;
	/* What stands in a file becomes $host_data. */
	entry->nets.lines = c->flags & COMPILE_FILE ? arena_array(c->arena, struct slice, count) : NULL;
	if ((c->flags & COMPILE_FILE) && !entry->nets.lines)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (entry->nets.lines)
			entry->nets.lines[i] = c->items[first + i].text;
		if (net_of(c->items[first + i].text, &net, &bits))
			net_set_add(&entry->nets.set, &net, bits, i);
	}
	net_set_finish(&entry->nets.set);
	*count_ret = entry->nets.count = count;
	entry->kind = ENTRY_NETS;
	return true;
}

/* ---- Single items ----------------------------------------------------------------------- */

static void set_bad(struct compiling *c, struct entry *entry, const char *format, struct slice what)
{
	struct err err = err_make(c->arena);

	(void)err_set(&err, FAIL, format, SLICE_ARG(what));
	entry->kind = ENTRY_BAD;
	entry->text = err.text;
}

static void compile_regex(struct compiling *c, struct entry *entry)
{
	entry->kind = ENTRY_REGEX;
	entry->regex = NULL;
	/* A mistake in it is told when matching comes to it. */
	if ((c->flags & COMPILE_REGEX) &&
	    regex_compile(c->arena, entry->text, REGEX_NOCASE, &entry->regex, NULL) != OK)
		entry->regex = NULL;
}

/* "type;rest". false: it has no such form. */
static bool compile_lookup(struct compiling *c, struct entry *entry, struct slice s)
{
	ptrdiff_t semicolon = slice_find(s, ';');
	struct err err = err_make(c->arena);

	if (semicolon < 0)
		return false;
	entry->kind = ENTRY_LOOKUP;
	entry->lookup.rest = slice_trim(slice_from(s, (size_t)semicolon + 1));
	if (lookup_spec_parse(slice_sub(s, 0, (size_t)semicolon), &entry->lookup.spec, &err) != OK) {
		entry->kind = ENTRY_BAD;
		entry->text = err.text;
	} else if (!c->list->missing && !lookup_type_available(entry->lookup.spec.type)) {
		c->list->missing = entry->lookup.spec.type;
	}
	return true;
}

static void compile_mx(struct compiling *c, struct entry *entry)
{
	static const struct {
		struct slice name;
		enum mx_which which;
	} names[] = {{SLICE_INIT("@mx_any"), MX_ANY},
		     {SLICE_INIT("@mx_primary"), MX_PRIMARY},
		     {SLICE_INIT("@mx_secondary"), MX_SECONDARY}};
	struct slice s = entry->text, rest;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!slice_starts_nocase(s, names[i].name))
			continue;
		rest = slice_from(s, names[i].name.len);
		if (rest.len && !slice_starts_nocase(rest, SLICE("/ignore=")))
			continue;
		entry->kind = ENTRY_MX;
		entry->mx.which = names[i].which;
		entry->mx.ignore = NULL;
		if (!rest.len)
			return;
		entry->mx.ignore = list_compile(c->arena, LIST_HOST, slice_from(rest, strlen("/ignore=")),
						c->flags & COMPILE_REGEX);
		if (!entry->mx.ignore)
			set_bad(c, entry, "no memory for \"%.*s\"", s);
		return;
	}
	/* Anything else with "@" in front is a domain like others. */
	entry->kind = ENTRY_ADDRESS;
}

/* "+name" and "+caseful" and their kin. */
static bool compile_plus(struct compiling *c, struct entry *entry)
{
	static const struct {
		struct slice name;
		enum entry_flag flag;
	} flags[] = {{SLICE_INIT("+include_unknown"), FLAG_INCLUDE_UNKNOWN},
		     {SLICE_INIT("+ignore_unknown"), FLAG_IGNORE_UNKNOWN},
		     {SLICE_INIT("+include_defer"), FLAG_INCLUDE_DEFER},
		     {SLICE_INIT("+ignore_defer"), FLAG_IGNORE_DEFER},
		     {SLICE_INIT("+caseful"), FLAG_CASEFUL}};

	if (!entry->text.len || entry->text.ptr[0] != '+' || (c->flags & COMPILE_FILE))
		return false;
	for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		bool host = flags[i].flag != FLAG_CASEFUL;

		if (entry->negated || !slice_eq(entry->text, flags[i].name) ||
		    host != (c->kind == LIST_HOST) ||
		    (!host && c->kind != LIST_ADDRESS && c->kind != LIST_LOCAL_PART))
			continue;
		entry->kind = ENTRY_FLAG;
		entry->flag = flags[i].flag;
		return true;
	}
	if (c->kind == LIST_STRING)
		return false;
	entry->kind = ENTRY_NAMED;
	return true;
}

/* A literal entry of its own: where the item is no lookup, pattern or name by its form. */
static void compile_literal(struct compiling *c, struct entry *entry)
{
	struct set_item *item = arena_make(c->arena, struct set_item);

	if (item)
		*item = (struct set_item){entry->text.ptr, entry->text.len, SET_WHOLE, 0};
	entry->kind = ENTRY_SET;
	if (!item || !set_build(&entry->set, c->arena, item, 1))
		set_bad(c, entry, "no memory for \"%.*s\"", entry->text);
}

static bool is_host_name(struct slice s)
{
	for (uint32_t i = 0; i < s.len; i++) {
		if (!ascii_is_alnum(s.ptr[i]) && s.ptr[i] != '-' && s.ptr[i] != '.' && s.ptr[i] != '_')
			return false;
	}
	return true;
}

static void compile_host(struct compiling *c, struct entry *entry)
{
	struct slice s = entry->text;

	if (s.len == 0)
		entry->kind = ENTRY_EMPTY;
	else if (slice_eq(s, SLICE("*")))
		entry->kind = ENTRY_ANY;
	else if (slice_eq(s, SLICE("@[]")))
		entry->kind = ENTRY_SELF_IP;
	else if (s.ptr[0] == '^')
		compile_regex(c, entry);
	else if (compile_lookup(c, entry, s))
		return;
	else if (s.ptr[0] == '*')
		entry->kind = ENTRY_SUFFIX;
	else
		entry->kind = slice_eq(s, SLICE("@")) || is_host_name(s) ? ENTRY_HOST_NAME : ENTRY_HOST_TEXT;
}

static void compile_domain(struct compiling *c, struct entry *entry)
{
	struct slice s = entry->text;

	if (s.len && s.ptr[0] == '^') {
		compile_regex(c, entry);
	} else if (s.len && s.ptr[0] == '*') {
		entry->kind = ENTRY_SUFFIX;
	} else if (c->kind == LIST_DOMAIN && slice_eq(s, SLICE("@"))) {
		entry->kind = ENTRY_SELF;
	} else if (c->kind == LIST_DOMAIN && slice_eq(s, SLICE("@[]"))) {
		entry->kind = ENTRY_SELF_IP;
	} else {
		if (c->kind == LIST_DOMAIN && s.len && s.ptr[0] == '@') {
			compile_mx(c, entry);
			if (entry->kind != ENTRY_ADDRESS)
				return;
		}
		if (!compile_lookup(c, entry, s))
			compile_literal(c, entry);
	}
}

/* Does a lookup type stand at the front? "user@lsearch;..." is an address whose domain is looked up. */
static bool starts_with_type(struct slice s)
{
	for (uint32_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == ';')
			return i > 0;
		if (c == '@' && i > 0 && s.ptr[i - 1] == '*' && i + 1 < s.len &&
		    (s.ptr[i + 1] == ';' || s.ptr[i + 1] == ','))
			continue; /* "lsearch*@;" */
		if (c == ',')
			return has(slice_from(s, i), ';');
		if (!ascii_is_alnum(c) && !strchr("-_*()!.", c))
			return false;
	}
	return false;
}

static void compile_address(struct compiling *c, struct entry *entry)
{
	struct slice s = entry->text, local, domain;
	ptrdiff_t at;

	if (s.len == 0) {
		entry->kind = ENTRY_EMPTY;
		return;
	}
	if (s.ptr[0] == '^') {
		compile_regex(c, entry);
		return;
	}
	if (slice_starts(s, SLICE("@@"))) {
		if (!compile_lookup(c, entry, slice_from(s, 2)))
			set_bad(c, entry, "no lookup type in \"%.*s\"", s);
		else if (entry->kind == ENTRY_LOOKUP)
			entry->kind = ENTRY_AT_LOOKUP;
		return;
	}
	if (starts_with_type(s)) {
		(void)compile_lookup(c, entry, s); /* it has a semicolon */
		return;
	}
	/* The first "@" behind a lookup's or pattern's local part; else the last one. */
	at = has(s, ';') || has(s, '^') ? slice_find(s, '@') : slice_rfind(s, '@');
	/* "*@@", "*@@[]", "*@@mx_any": the second "@" belongs to the domain. */
	if (at > 0 && s.ptr[at - 1] == '@' && !has(s, ';') && !has(s, '^') &&
	    (s.len == (size_t)at + 1 || slice_eq(slice_from(s, (size_t)at), SLICE("@[]")) ||
	     slice_starts(slice_from(s, (size_t)at), SLICE("@mx_"))))
		at--;
	local = at < 0 ? SLICE("*") : slice_sub(s, 0, (size_t)at);
	domain = at < 0 ? s : slice_ltrim(slice_from(s, (size_t)at + 1));
	entry->kind = ENTRY_ADDRESS;
	entry->address.bare = at < 0;
	entry->address.star = local.len && local.ptr[0] == '*';
	entry->address.local = entry->address.star ? slice_from(local, 1) : local;
	entry->address.domain = list_compile(c->arena, LIST_DOMAIN, domain,
					     COMPILE_ONE | (c->flags & (COMPILE_REGEX | COMPILE_PATTERN)));
	if (!entry->address.domain)
		set_bad(c, entry, "no memory for \"%.*s\"", s);
	else if (!c->list->missing)
		c->list->missing = entry->address.domain->missing;
}

static void compile_item(struct compiling *c, const struct item *item, struct entry *entry)
{
	entry->text = item->text;
	if (compile_plus(c, entry))
		return;
	if (item->text.len && item->text.ptr[0] == '/' && !(c->flags & (COMPILE_FILE | COMPILE_PATTERN)) &&
	    c->kind != LIST_STRING) {
		entry->kind = ENTRY_FILE;
		return;
	}
	switch (c->kind) {
	case LIST_HOST:
		compile_host(c, entry);
		break;
	case LIST_ADDRESS:
		compile_address(c, entry);
		break;
	default:
		compile_domain(c, entry);
	}
}

/* ---- Lists ------------------------------------------------------------------------------ */

/* One entry for the run or item at `first`; how many items it took, 0 when memory is out. */
static uint32_t entry_build(struct compiling *c, uint32_t first, struct entry *entry)
{
	struct set_item item, *items;
	struct ip_addr net;
	uint32_t count = 1;
	unsigned bits;

	entry->negated = c->items[first].negated;
	if (c->kind == LIST_HOST && net_of(c->items[first].text, &net, &bits))
		return nets_build(c, first, &count, entry) ? count : 0;
	if (!as_set_item(c, c->items[first].text, &item)) {
		compile_item(c, &c->items[first], entry);
		return 1;
	}
	items = run_collect(c, first, &count);
	entry->kind = ENTRY_SET;
	return items && set_build(&entry->set, c->arena, items, count) ? count : 0;
}

static bool entries_build(struct compiling *c)
{
	struct entry *entries = NULL, *more;
	uint32_t room = 0, took;

	for (uint32_t i = 0; i < c->count; i += took) {
		if (c->list->count == room) {
			room = room ? room * 2 : c->count < 4 ? c->count : 4;
			more = arena_array(c->arena, struct entry, room);
			if (!more)
				return false;
			if (entries)
				memcpy(more, entries, c->list->count * sizeof(*more));
			entries = more;
		}
		took = entry_build(c, i, &entries[c->list->count]);
		entries[c->list->count++].first = i;
		if (!took)
			return false;
	}
	c->list->entries = entries;
	c->list->item_count = c->count;
	for (uint32_t i = c->list->count; i-- > 0;) {
		if (entries[i].kind == ENTRY_FLAG)
			continue; /* a flag is no item that could be the last one */
		c->list->ends_negated = entries[i].negated;
		break;
	}
	return true;
}

const struct compiled *list_compile(struct arena *arena, unsigned kind, struct slice text, unsigned flags)
{
	struct compiling c = {.arena = arena, .kind = kind, .flags = flags};
	bool ok;

	c.list = arena_make(arena, struct compiled);
	if (!c.list)
		return NULL;
	c.list->kind = kind;
	c.list->in_file = flags & COMPILE_FILE;
	c.list->taint = text.taint;
	c.list->text = text;
	c.list->one = flags & COMPILE_ONE;
	ok = items_split(&c, text) && entries_build(&c);
	free(c.items);
	return ok ? c.list : NULL;
}

/* ---- Lists in files --------------------------------------------------------------------- */

static enum rc file_build(unsigned kind, struct slice bytes, void **built_ret, size_t *cost_ret)
{
	struct list_file *file = calloc(1, sizeof(*file));

	if (!file)
		return DEFER;
	arena_init(&file->arena, 0);
	file->compiled = list_compile(&file->arena, kind, bytes, COMPILE_FILE);
	if (!file->compiled) {
		arena_done(&file->arena);
		free(file);
		return DEFER;
	}
	*built_ret = file;
	*cost_ret = file->arena.used + sizeof(*file);
	return OK;
}

static void file_free(void *built)
{
	struct list_file *file = built;

	arena_done(&file->arena);
	free(file);
}

#define FILE_BUILD(name, kind)                                                      \
	static enum rc name(struct slice bytes, void **built_ret, size_t *cost_ret) \
	{                                                                           \
		return file_build(kind, bytes, built_ret, cost_ret);                \
	}
FILE_BUILD(domain_file, LIST_DOMAIN)
FILE_BUILD(host_file, LIST_HOST)
FILE_BUILD(address_file, LIST_ADDRESS)
FILE_BUILD(local_part_file, LIST_LOCAL_PART)

const struct text_file_kind list_file_kinds[LIST_KINDS] = {
    [LIST_DOMAIN] = {"list matching", domain_file, file_free},
    [LIST_HOST] = {"list matching", host_file, file_free},
    [LIST_ADDRESS] = {"list matching", address_file, file_free},
    [LIST_LOCAL_PART] = {"list matching", local_part_file, file_free},
};
