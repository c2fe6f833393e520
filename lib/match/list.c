/* list: is it in the list? Entries are asked from left to right, the first that matches decides; behind the
 * end, a list whose last item is negated holds everything else (specification, chapter 10, section 2). */

#include "tell.h"

/* What "+include_unknown" and its kin have switched on so far; each list has its own. */
struct list_flags {
	bool include_unknown, ignore_unknown, include_defer, ignore_defer;
};

/* ---- Entries that all kinds of list know ------------------------------------------------ */

void numbers_begin(struct matching *m)
{
	m->sc->numeric[0] = m->given;
	m->sc->numeric_count = m->number = 1;
}

void number_add(struct matching *m, struct slice part)
{
	if (m->number >= ARRAY_COUNT(m->sc->numeric))
		return;
	m->sc->numeric[m->number++] = part.ptr ? part : SLICE_EMPTY;
	m->sc->numeric_count = m->number;
}

/* All but regular expressions see the subject in lower case unless letters count by case. */
static struct slice key_subject(const struct matching *m)
{
	return m->caseful ? m->subject : m->subject_lower;
}

/* $0, $1...: what the pattern matched, for lists of domains and local parts; and for match_item(), whose parts come one
 * behind the other. */
static void numbers_set(struct matching *m, const struct slice *numbers, unsigned count)
{
	if (m->item) {
		if (m->kind == LIST_ADDRESS)
			numbers_begin(m);
		for (unsigned i = 1; i < count; i++)
			number_add(m, numbers[i]);
		return;
	}
	if (m->in_address || (m->kind != LIST_DOMAIN && m->kind != LIST_LOCAL_PART && m->kind != LIST_STRING))
		return;
	for (unsigned i = 0; i < count; i++)
		m->sc->numeric[i] = numbers[i].ptr ? numbers[i] : SLICE_EMPTY;
	m->sc->numeric_count = count;
}

/* $0 alone: an item without wildcards matched. */
static void subject_number_set(struct matching *m)
{
	struct slice subject = key_subject(m);

	if (!m->item)
		numbers_set(m, &subject, 1);
}

static enum rc regex_entry_match(struct matching *m, const struct entry *entry, struct slice subject)
{
	const struct regex *regex = m->caseful ? NULL : entry->regex;
	struct slice numbers[ARRAY_COUNT(m->sc->numeric)];
	unsigned count = 0;
	enum rc rc = OK;

	if (!regex)
		rc = regex_cached(m->sc->task->shard, entry->text, m->caseful ? 0 : REGEX_NOCASE, &regex,
				  m->err);
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	rc = regex_match(regex, subject, numbers, ARRAY_COUNT(numbers), &count, m->err);
	if (rc != OK)
		return rc;
	numbers[0] = subject; /* all of it, even where the pattern matched only a part */
	numbers_set(m, numbers, count);
	m->value = m->kind == LIST_ADDRESS ? SLICE_EMPTY : entry->text;
	return OK;
}

static enum rc suffix_entry_match(struct matching *m, const struct entry *entry, struct slice subject)
{
	struct slice end = slice_from(entry->text, 1), numbers[2];

	if (!(m->caseful ? slice_ends(subject, end) : slice_ends_nocase(subject, end)))
		return FAIL;
	numbers[0] = subject;
	numbers[1] = slice_sub(subject, 0, subject.len - end.len);
	numbers_set(m, numbers, 2);
	m->value = entry->text;
	return OK;
}

/* $0 is the subject, $1 and $2 the wild and the fixed part of the key. */
static void lookup_numbers_set(struct matching *m, struct slice wild, struct slice fixed)
{
	struct slice numbers[3] = {key_subject(m), wild, fixed};

	numbers_set(m, numbers, fixed.ptr ? 3 : wild.ptr ? 2 : 1);
}

static enum rc lookup_entry_match(struct matching *m, const struct entry *entry, struct slice subject)
{
	const struct lookup_spec *spec = &entry->lookup.spec;
	struct slice file = entry->lookup.rest, key = subject, wild = {NULL, 0, CLEAN}, fixed = wild;
	struct lookup_spec whole;
	enum rc rc;

	if (spec->type->query) {
		file = SLICE_EMPTY;
		key = entry->lookup.rest;
	} else if (!subject.len && m->kind != LIST_DOMAIN && m->kind != LIST_LOCAL_PART) {
		return FAIL;
	}
	if (m->kind == LIST_ADDRESS && spec->partial >= 0) { /* whole addresses have no parts */
		whole = *spec;
		whole.partial = -1;
		spec = &whole;
	}
	rc = lookup_find(m->sc, spec, file, key, &m->value, &wild, &fixed, m->err);
	if (rc == OK && !m->item)
		lookup_numbers_set(m, wild, fixed);
	if (rc == OK && m->item && m->kind == LIST_DOMAIN && wild.ptr) {
		number_add(m, wild);
		number_add(m, fixed);
	}
	return rc;
}

enum rc pattern_entry_match(struct matching *m, const struct entry *entry, struct slice subject)
{
	switch (entry->kind) {
	case ENTRY_REGEX:
		return regex_entry_match(m, entry, subject);
	case ENTRY_SUFFIX:
		return suffix_entry_match(m, entry, subject);
	case ENTRY_LOOKUP:
		return lookup_entry_match(m, entry, subject);
	case ENTRY_HOST_TEXT:
		return slice_eq_nocase(entry->text, subject) ? OK : FAIL;
	default:
		return FAIL;
	}
}

/* The least index of the items that match the domain: its whole, and what begins at each of its dots. */
static uint32_t set_find_domain(const struct set *set, enum set_kind whole, struct slice domain)
{
	uint32_t least = set_find(set, whole, domain, 0);

	for (uint32_t i = 0; set->has[whole + 1] && i < domain.len; i++) {
		uint32_t index;

		if (domain.ptr[i] != '.')
			continue;
		index = set_find(set, whole + 1, slice_from(domain, i), 0);
		if (index < least)
			least = index;
	}
	return least;
}

/* For match_item(): letters of domains count by case, and the parts are told. false: it is no match after all. */
static bool set_item_parts(struct matching *m, const struct set_item *item, struct slice text)
{
	struct slice domain = m->kind == LIST_ADDRESS ? m->domain : m->subject;
	ptrdiff_t at = slice_rfind(text, '@');
	struct slice pattern = slice_from(text, (size_t)(at + 1));
	bool wild = slice_starts(pattern, SLICE("*."));

	if (!slice_ends(domain, wild ? slice_from(pattern, 1) : pattern))
		return false;
	if (m->kind == LIST_ADDRESS)
		numbers_begin(m);
	if (item->kind >= SET_DOMAIN && at == 1)
		number_add(m, m->local);
	if (wild)
		number_add(m, slice_sub(domain, 0, domain.len + 1 - pattern.len));
	return true;
}

static enum rc set_entry_match(struct matching *m, const struct entry *entry)
{
	const struct set *set = &entry->set;
	struct slice numbers[2], text;
	uint32_t index, other;

	switch (m->kind) {
	case LIST_DOMAIN:
		index = set_find_domain(set, SET_WHOLE, m->subject);
		break;
	case LIST_ADDRESS:
		index = set_find(set, SET_WHOLE, m->subject, m->caseful ? m->local.len : 0);
		other = m->subject.len ? set_find_domain(set, SET_DOMAIN, m->domain) : UINT32_MAX;
		if (other < index)
			index = other;
		break;
	default:
		index = set_find(set, SET_WHOLE, m->subject, m->caseful ? m->subject.len : 0);
	}
	if (index == UINT32_MAX)
		return FAIL;
	m->hit = index;
	m->value = text = set_item_text(set, index);
	if (m->item && !set_item_parts(m, &set->items[index], text))
		return FAIL;
	if (!m->item) { /* else its numbers are set */
		numbers[0] = key_subject(m);
		if (set->items[index].kind == SET_SUFFIX)
			numbers[1] = slice_sub(numbers[0], 0, m->subject.len - set->items[index].len);
		numbers_set(m, numbers, set->items[index].kind == SET_SUFFIX ? 2 : 1);
	}
	if (set->items[index].kind >= SET_DOMAIN && !m->in_file && slice_find(text, '@') < 0) {
		m->value = arena_printf(m->sc->task->arena, "@%.*s", SLICE_ARG(text));
		if (!m->value.ptr)
			return err_memory(m->err);
	}
	return OK;
}

/* ---- Lists inside lists ----------------------------------------------------------------- */

static enum rc named_entry_match(struct matching *m, const struct entry *entry)
{
	static const char *const kinds[LIST_KINDS] = {"domain", "host", "address", "local part", "string"};
	struct slice name = slice_from(entry->text, 1), value = m->value;
	const struct conf_named_list *named =
	    m->sc->conf ? conf_named_list(m->sc->conf, (enum conf_list_kind)m->kind, name) : NULL;
	const struct match_list *list = named ? named->compiled : NULL;
	const char *option = m->option;
	struct slice text;
	enum rc rc;

	if (!list)
		return err_set(m->err, DEFER, "unknown named %s list \"+%.*s\"", kinds[m->kind],
			       SLICE_ARG(name));
	DEBUG(TOLD, " start sublist %.*s", SLICE_ARG(name));
	m->option = NULL;
	debug_indent(2);
	if (list->compiled) {
		rc = list_match(m, list->compiled);
	} else {
		rc = expand(m->sc, list->expansion, &text, m->err);
		if (rc == OK)
			rc = list_match_text(m, text);
		else if (rc == FAIL)
			rc = m->err && m->err->forced ? FAIL : DEFER;
	}
	debug_indent(-2);
	m->option = option;
	DEBUG(TOLD, " end sublist %.*s", SLICE_ARG(name));
	if (rc != OK)
		m->value = value;
	return rc;
}

static enum rc entries_match(struct matching *m, const struct compiled *list, struct list_flags *flags,
			     bool *decided);

/* The lines of a file stand in the place of its name: *decided when one of them matched. */
static enum rc file_entry_match(struct matching *m, const struct entry *entry, struct list_flags *flags,
				bool *decided)
{
	const struct list_file *built;
	struct text_file *file;
	enum rc rc;

	rc = text_file_get(m->sc->task, entry->text, &list_file_kinds[m->kind], &file, m->err);
	if (rc != OK)
		return rc;
	built = file->built;
	m->in_file++;
	rc = entries_match(m, built->compiled, flags, decided);
	m->in_file--;
	/* The value may be text of the file, which goes with its cache. */
	if (rc == OK && *decided && m->value.ptr) {
		m->value = arena_copy(m->sc->task->arena, m->value);
		if (!m->value.ptr)
			rc = err_memory(m->err);
	}
	text_file_put(m->sc->task->shard, file);
	return rc;
}

/* ---- Lists ------------------------------------------------------------------------------ */

static void flag_set(struct matching *m, struct list_flags *flags, enum entry_flag flag)
{
	switch (flag) {
	case FLAG_CASEFUL:
		m->caseful = true;
		break;
	case FLAG_INCLUDE_UNKNOWN:
		flags->include_unknown = true;
		flags->ignore_unknown = false;
		break;
	case FLAG_IGNORE_UNKNOWN:
		flags->ignore_unknown = true;
		flags->include_unknown = false;
		break;
	case FLAG_INCLUDE_DEFER:
		flags->include_defer = true;
		flags->ignore_defer = false;
		break;
	case FLAG_IGNORE_DEFER:
		flags->ignore_defer = true;
		flags->include_defer = false;
		break;
	}
}

static enum rc self_entry_match(struct matching *m)
{
	const struct conf_main *main = m->sc->conf ? conf_main(m->sc->conf) : NULL;

	if (!main || !slice_eq_nocase(main->primary_hostname, m->subject))
		return FAIL;
	subject_number_set(m);
	m->value = main->primary_hostname;
	return OK;
}

/* "@[]" in a domain list: a literal of one of our addresses. */
static enum rc self_literal_match(struct matching *m)
{
	struct slice s = m->subject;
	struct ip_addr ip;

	if (s.len < 3 || s.ptr[0] != '[' || s.ptr[s.len - 1] != ']')
		return FAIL;
	s = slice_sub(s, 1, s.len - 2u);
	if (slice_starts_nocase(s, SLICE("IPv6:")))
		s = slice_from(s, 5);
	if (!ip_parse(s, &ip) || !host_is_local(m->sc->conf, &ip))
		return FAIL;
	subject_number_set(m);
	m->value = SLICE("@[]");
	return OK;
}

/* Regular expressions see a domain or local part as it was given, and may want to know its case. */
static struct slice regex_subject(const struct matching *m, const struct entry *entry)
{
	return entry->kind == ENTRY_REGEX && m->kind != LIST_ADDRESS ? m->subject : key_subject(m);
}

/* One entry that is neither flag nor file. */
static enum rc entry_match(struct matching *m, const struct entry *entry)
{
	/* A local part alone is no address. */
	if (m->kind == LIST_ADDRESS && m->subject.len && !m->domain.ptr && entry->kind != ENTRY_BAD &&
	    entry->kind != ENTRY_NAMED)
		return FAIL;
	switch (entry->kind) {
	case ENTRY_BAD:
		return err_set(m->err, DEFER, "%.*s", SLICE_ARG(entry->text));
	case ENTRY_NAMED:
		return named_entry_match(m, entry);
	case ENTRY_SET:
		return set_entry_match(m, entry);
	default:
		break;
	}
	if (m->kind == LIST_HOST)
		return host_entry_match(m, entry);
	switch (entry->kind) {
	case ENTRY_EMPTY:
		if (m->subject.len)
			return FAIL;
		m->value = SLICE_EMPTY;
		return OK;
	case ENTRY_SELF:
		return self_entry_match(m);
	case ENTRY_SELF_IP:
		return self_literal_match(m);
	case ENTRY_MX:
		return mx_entry_match(m, entry);
	case ENTRY_ADDRESS:
		return address_entry_match(m, entry);
	case ENTRY_AT_LOOKUP:
		return at_lookup_match(m, entry);
	default:
		return pattern_entry_match(m, entry, regex_subject(m, entry));
	}
}

/* An address without a domain is none that an entry could mean, not even "*". */
static bool is_unqualified(const struct matching *m)
{
	return m->kind == LIST_ADDRESS && m->subject.len && slice_find(m->subject, '@') < 0;
}

/* unknown_in_list: the list says no because of what is not known. */
static void log_unknown(const struct matching *m)
{
	if (m->unknown.ptr && m->sc->task->shard && log_wants(m->sc->conf, LOG_UNKNOWN_IN_LIST))
		log_printf(m->sc->task->shard, m->sc->conf, LOG_TO_MAIN, NULL,
			   "list matching forced to fail: %.*s", SLICE_ARG(m->unknown));
}

/* Entries in turn; *decided: one matched, or could not be asked, and the result is that of the list. */
static enum rc entries_match(struct matching *m, const struct compiled *list, struct list_flags *flags,
			     bool *decided)
{
	struct slice none = {NULL, 0, CLEAN};
	bool unqualified = is_unqualified(m), told = m->tale && !list->in_file;

	*decided = true;
	for (uint32_t i = 0; i < list->count; i++) {
		const struct entry *entry = &list->entries[i];
		bool decided_inside = true;
		enum rc rc;

		m->value = none;
		if (entry->kind == ENTRY_FLAG) {
			flag_set(m, flags, entry->flag);
			continue;
		}
		if (told && debug_on(TOLD))
			tell_item(entry);
		if (unqualified && entry->kind != ENTRY_BAD && entry->kind != ENTRY_NAMED)
			continue;
		rc = entry->kind == ENTRY_FILE ? file_entry_match(m, entry, flags, &decided_inside)
					       : entry_match(m, entry);
		if (told && debug_on(TOLD))
			tell_run(m, entry, rc == OK);
		if (rc == CANCELLED)
			return rc;
		if (rc == RC_UNKNOWN && flags->ignore_unknown)
			continue;
		/* The flags are for what the DNS does not tell; a mistake, or what became of another list, is none
		 * of that. */
		if (rc == DEFER && (entry->kind == ENTRY_BAD || entry->kind == ENTRY_NAMED))
			return rc;
		if (rc == DEFER && flags->ignore_defer)
			continue;
		/* Lines of a file leave it to the list that they stand in: the answer is for all of it. */
		if ((rc == RC_UNKNOWN || rc == DEFER) && list->in_file)
			return rc;
		if (rc == RC_UNKNOWN && !flags->include_unknown)
			log_unknown(m);
		if (rc == RC_UNKNOWN)
			return flags->include_unknown ? OK : FAIL;
		if (rc == DEFER)
			return flags->include_defer ? OK : DEFER;
		if (entry->kind == ENTRY_FILE ? !decided_inside : rc != OK)
			continue;
		if (entry->kind == ENTRY_SET)
			m->value.taint = list->taint; /* text of a clean list is clean, whatever it matched */
		if (rc == OK && list->in_file && entry->kind != ENTRY_SET && entry->kind != ENTRY_NETS)
			m->value = entry->text; /* the line, not what it found */
		if (told && debug_on(TOLD))
			tell_hit(m, entry);
		if ((rc == OK) != entry->negated)
			return OK;
		m->value = none;
		return FAIL;
	}
	m->value = none;
	*decided = false;
	return FAIL;
}

enum rc list_decide(struct matching *m, const struct compiled *list, bool *decided)
{
	struct list_flags flags = {false};
	bool caseful = m->caseful;
	enum rc rc;

	*decided = true;
	if (m->depth >= LIST_DEPTH_MAX || (fiber_running() && fiber_stack_left() < LIST_STACK_MIN))
		return err_set(m->err, DEFER, "lists are nested too deeply");
	m->depth++;
	rc = entries_match(m, list, &flags, decided);
	m->depth--;
	m->caseful = caseful;
	return rc;
}

enum rc list_match(struct matching *m, const struct compiled *list)
{
	struct list_tale tale;
	bool decided, told = debug_on(TOLD);
	enum rc rc;

	if (told)
		tell_list_begin(m, list, &tale);
	rc = list_decide(m, list, &decided);
	if (!decided)
		rc = list->ends_negated ? OK : FAIL;
	if (told)
		tell_list_end(m, list, &tale, rc);
	return rc;
}

enum rc list_match_text(struct matching *m, struct slice text)
{
	struct cached_list *cached;
	enum rc rc;

	rc = list_cache_get(m->sc->task->shard, m->kind, text, &cached, m->err);
	if (rc != OK)
		return rc;
	rc = list_match(m, cached->compiled);
	if (rc == OK && m->value.ptr) {
		m->value = arena_copy(m->sc->task->arena, m->value);
		if (!m->value.ptr)
			rc = err_memory(m->err);
	}
	list_cache_put(cached);
	return rc;
}
