/* match: lists as options and arguments: compiled while a configuration is read, evaluated against one
 * subject. */

#include "list.h"

#define COMPILE_ITEM (COMPILE_ONE | COMPILE_PATTERN)

/* A text that expands to the same each time is compiled now; others find the compiled form of what they
 * become in the shard's cache. */
static struct match_list *compile(const struct language *language, struct arena *arena, unsigned kind,
				  struct slice text, bool item)
{
	struct match_list *list = arena_make(arena, struct match_list);

	if (!list)
		return NULL;
	list->kind = kind;
	list->item = item;
	list->text = text; /* as written: what -bP shows */
	if (language && (slice_find(text, '$') >= 0 || slice_find(text, '\\') >= 0)) {
		list->expansion = expand_compile(language, arena, text);
		if (!list->expansion)
			return NULL;
		if (!expansion_is_literal(list->expansion))
			return list;
		text = expansion_literal(list->expansion);
	}
	list->compiled = list_compile(arena, kind, text, item ? COMPILE_ITEM : COMPILE_REGEX);
	return list->compiled ? list : NULL;
}

const struct match_list *match_compile(const struct conf *conf, struct arena *arena, enum conf_list_kind kind,
				       struct slice text)
{
	return compile(conf ? conf->language : NULL, arena, kind, text, false);
}

const struct match_list *match_compile_item(const struct conf *conf, struct arena *arena, struct slice text)
{
	return compile(conf ? conf->language : NULL, arena, LIST_ADDRESS, text, true);
}

struct slice match_list_text(const struct match_list *list)
{
	return list ? list->text : SLICE_EMPTY;
}

enum rc match_list_available(const struct match_list *list, struct err *err)
{
	if (!list)
		return OK;
	if (list->compiled && list->compiled->missing)
		return lookup_type_missing(list->compiled->missing, FAIL, err);
	return expansion_available(list->expansion, err);
}

/* ---- Options ---------------------------------------------------------------------------- */

static enum rc read_list(struct conf *conf, unsigned kind, const struct conf_option *option,
			 struct slice text, void *field, struct err *err)
{
	struct match_list *list = compile(conf->language, &conf->arena, kind, text, false);

	if (!list)
		return err_memory(err);
	list->option = option->name;
	*(const struct match_list **)field = list;
	return match_list_available(list, err);
}

static bool print_list(const struct conf_option *option, const void *field, struct str *str)
{
	const struct match_list *list = *(const struct match_list *const *)field;

	(void)option;
	if (!list)
		return false;
	str_add(str, list->text);
	return true;
}

#define LIST_TYPE(id, kind)                                                                              \
	static enum rc read_##id(struct conf *conf, const struct conf_option *option, struct slice text, \
				 void *field, struct err *err)                                           \
	{                                                                                                \
		return read_list(conf, kind, option, text, field, err);                                  \
	}
LIST_TYPE(domain_list, LIST_DOMAIN)
LIST_TYPE(host_list, LIST_HOST)
LIST_TYPE(address_list, LIST_ADDRESS)
LIST_TYPE(local_part_list, LIST_LOCAL_PART)

#define LIST_CONF_TYPE(what, reader)                                                                         \
	{                                                                                                    \
		.name = what, .size = sizeof(const struct match_list *), .read = reader, .print = print_list \
	}
const struct conf_type conf_domain_list = LIST_CONF_TYPE("a domain list", read_domain_list);
const struct conf_type conf_host_list = LIST_CONF_TYPE("a host list", read_host_list);
const struct conf_type conf_address_list = LIST_CONF_TYPE("an address list", read_address_list);
const struct conf_type conf_local_part_list = LIST_CONF_TYPE("a local part list", read_local_part_list);

/* ---- Named lists ------------------------------------------------------------------------ */

static bool names_itself(const struct conf *conf, const struct conf_named_list *start,
			 const struct compiled *compiled, unsigned depth)
{
	for (uint32_t i = 0; compiled && i < compiled->count; i++) {
		const struct entry *entry = &compiled->entries[i];
		const struct conf_named_list *other;
		const struct match_list *list;

		if (entry->kind != ENTRY_NAMED)
			continue;
		other = conf_named_list(conf, start->kind, slice_from(entry->text, 1));
		list = other ? other->compiled : NULL;
		if (other == start || (list && (depth >= LIST_DEPTH_MAX ||
						names_itself(conf, start, list->compiled, depth + 1))))
			return true;
	}
	return false;
}

enum rc match_named_list(struct conf *conf, struct conf_named_list *list, struct err *err)
{
	static const char *const kinds[] = {"domain", "host", "address", "local part"};
	const struct match_list *compiled = match_compile(conf, &conf->arena, list->kind, list->text);
	struct err why = err_make(&conf->arena);

	if (!compiled)
		return err_memory(err);
	list->compiled = (void *)compiled;
	if (match_list_available(compiled, &why) != OK)
		return err_set(err, FAIL, "named %s list \"%.*s\": %.*s", kinds[list->kind],
			       SLICE_ARG(list->name), SLICE_ARG(why.text));
	/* The list that closes the circle comes last, when all others of it are compiled. */
	if (names_itself(conf, list, compiled->compiled, 0))
		return err_set(err, FAIL, "named %s list \"%.*s\" refers to itself", kinds[list->kind],
			       SLICE_ARG(list->name));
	return OK;
}

/* ---- Matching --------------------------------------------------------------------------- */

static struct slice lowered(struct arena *arena, struct slice s)
{
	char *bytes;

	for (uint32_t i = 0;; i++) {
		if (i == s.len)
			return s; /* as nearly always */
		if (s.ptr[i] != ascii_lower(s.ptr[i]))
			break;
	}
	bytes = arena_bytes(arena, s.len);
	if (!bytes)
		return (struct slice){NULL, 0, CLEAN};
	for (uint32_t i = 0; i < s.len; i++)
		bytes[i] = ascii_lower(s.ptr[i]);
	return slice_make(bytes, s.len, (enum taint)s.taint);
}

static enum rc finish(struct matching *m, enum rc rc, struct slice *data_ret)
{
	if (rc == RC_UNKNOWN)
		return FAIL;
	if (rc == OK && data_ret)
		*data_ret = m->value;
	return rc;
}

static enum rc run(struct matching *m, const struct match_list *list, struct slice *data_ret)
{
	struct slice text;
	enum rc rc;

	if (!list)
		return FAIL;
	m->option = list->option;
	if (list->compiled)
		return finish(m, list_match(m, list->compiled), data_ret);
	rc = expand(m->sc, list->expansion, &text, m->err);
	if (rc == FAIL && m->err && m->err->forced)
		DEBUG(DEBUG_CHECK(DEBUG_LISTS),
		      "expansion of \"%.*s\" forced failure: assume not in this list", SLICE_ARG(list->text));
	if (rc == FAIL)
		return m->err && m->err->forced ? FAIL : DEFER;
	if (rc != OK)
		return rc;
	if (list->item) {
		const struct compiled *compiled =
		    list_compile(m->sc->task->arena, list->kind, text, COMPILE_ITEM);
		return compiled ? finish(m, list_match(m, compiled), data_ret) : err_memory(m->err);
	}
	return finish(m, list_match_text(m, text), data_ret);
}

/* Prepares for a subject of the kind; false: no memory. */
static bool begin(struct matching *m, struct scope *sc, unsigned kind, struct slice subject, bool caseful,
		  struct err *err)
{
	static const struct ip_addr no_ip;

	*m = (struct matching){.sc = sc,
			       .err = err,
			       .kind = kind,
			       .subject = subject,
			       .caseful = caseful,
			       .ip = &no_ip,
			       .value = {NULL, 0, CLEAN}};
	m->subject_lower = lowered(sc->task->arena, subject);
	return m->subject_lower.ptr != NULL;
}

/* Local part as given, domain in lower case. */
static bool begin_address(struct matching *m, struct scope *sc, struct slice address, struct err *err)
{
	ptrdiff_t at = slice_rfind(address, '@');

	if (!begin(m, sc, LIST_ADDRESS, address, false, err))
		return false;
	m->local = at < 0 ? address : slice_sub(address, 0, (size_t)at);
	m->domain = at < 0 ? (struct slice){NULL, 0, CLEAN} : slice_from(m->subject_lower, (size_t)at + 1);
	if (m->subject.ptr != m->subject_lower.ptr && at >= 0) {
		struct str s = str_make(sc->task->arena);

		str_add(&s, m->local);
		str_addc(&s, '@');
		str_add(&s, m->domain);
		m->subject = str_slice(&s);
	}
	return m->subject.ptr != NULL;
}

enum rc match_domain(struct scope *sc, const struct match_list *list, struct slice domain,
		     struct slice *data_ret, struct err *err)
{
	struct matching m;

	return begin(&m, sc, LIST_DOMAIN, domain, false, err) ? run(&m, list, data_ret) : err_memory(err);
}

enum rc match_local_part(struct scope *sc, const struct match_list *list, struct slice local_part,
			 bool caseful, struct slice *data_ret, struct err *err)
{
	struct matching m;

	return begin(&m, sc, LIST_LOCAL_PART, local_part, caseful, err) ? run(&m, list, data_ret)
									: err_memory(err);
}

enum rc match_address(struct scope *sc, const struct match_list *list, struct slice address,
		      struct slice *data_ret, struct err *err)
{
	struct matching m;

	return begin_address(&m, sc, address, err) ? run(&m, list, data_ret) : err_memory(err);
}

enum rc match_item(struct scope *sc, const struct match_list *item, struct slice address, struct err *err)
{
	struct matching m;

	if (!begin_address(&m, sc, address, err))
		return err_memory(err);
	m.item = m.caseful = true;
	m.given = address;
	m.number = 1;
	sc->numeric_count = 0;
	return run(&m, item, NULL);
}

/* "*" and nothing else: what most lists of hosts say that have something advertised. */
static bool is_everyone(const struct match_list *list)
{
	const struct compiled *compiled = list->compiled;

	return compiled && compiled->count == 1 && compiled->entries[0].kind == ENTRY_ANY &&
	       !compiled->entries[0].negated;
}

enum rc match_client(struct scope *sc, const struct match_list *list, struct slice *data_ret, struct err *err)
{
	struct matching m;

	if (!list)
		return FAIL;
	if (!data_ret && is_everyone(list) && !debug_on(DEBUG_CHECK(DEBUG_LISTS)))
		return OK;
	if (!begin(&m, sc, LIST_HOST, SLICE_EMPTY, false, err))
		return err_memory(err);
	if (sc->client) {
		m.client = true;
		m.ip = &sc->client->ip;
	}
	return run(&m, list, data_ret);
}

enum rc match_host(struct scope *sc, const struct match_list *list, const struct ip_addr *ip,
		   struct slice name, struct slice *data_ret, struct err *err)
{
	struct matching m;

	if (!begin(&m, sc, LIST_HOST, SLICE_EMPTY, false, err))
		return err_memory(err);
	m.ip = ip;
	m.host_name = name;
	return run(&m, list, data_ret);
}

enum rc match_string(struct scope *sc, struct slice list_text, struct slice subject, bool caseful,
		     struct slice *data_ret, struct err *err)
{
	struct matching m;

	if (!begin(&m, sc, LIST_STRING, subject, caseful, err))
		return err_memory(err);
	return finish(&m, list_match_text(&m, list_text), data_ret);
}

enum rc match_text(struct scope *sc, enum conf_list_kind kind, struct slice list_text, struct slice subject,
		   const struct ip_addr *ip, struct slice *data_ret, struct err *err)
{
	struct matching m;
	bool ok;

	ok = kind == LIST_ADDRESS
		 ? begin_address(&m, sc, subject, err)
		 : begin(&m, sc, kind, kind == LIST_HOST ? SLICE_EMPTY : subject, false, err);
	if (!ok)
		return err_memory(err);
	if (kind == LIST_HOST) {
		m.ip = ip;
		m.no_names = true;
	}
	return finish(&m, list_match_text(&m, list_text), data_ret);
}
