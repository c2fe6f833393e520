/* The tests of Sieve (RFC 5228 section 5). */
#include "sieve.h"

enum match_type { MATCH_IS, MATCH_CONTAINS, MATCH_MATCHES };
enum comparator { COMPARE_CASEMAP, COMPARE_OCTET, COMPARE_NUMERIC };
enum part { PART_ALL, PART_LOCAL, PART_DOMAIN, PART_USER, PART_DETAIL };
struct how {
	enum match_type match;
	enum comparator comparator;
	enum part part;
	bool match_set, comparator_set, part_set;
};

enum rc sieve_enter(struct sieve *s)
{
	return ++s->depth > FILTER_DEPTH_MAX ? sieve_error(s, "nested too deeply") : OK;
}

/* ---- Comparing -------------------------------------------------------------------------------------------------------- */

static bool same_byte(char a, char b, bool octet)
{
	return octet ? a == b : ascii_lower(a) == ascii_lower(b);
}

static bool starts(struct slice text, struct slice what, bool octet)
{
	return octet ? slice_starts(text, what) : slice_starts_nocase(text, what);
}

/* "*", "?" and backslash. One star is remembered at a time, so that it takes no more than length by length. */
static bool glob(struct slice text, struct slice pattern, bool octet)
{
	uint32_t t = 0, p = 0, star_p = UINT32_MAX, star_t = 0;

	while (t < text.len) {
		bool escaped = p + 1 < pattern.len && pattern.ptr[p] == '\\';
		if (p < pattern.len && pattern.ptr[p] == '*') {
			star_p = ++p;
			star_t = t;
		} else if (p < pattern.len && ((!escaped && pattern.ptr[p] == '?') ||
					       same_byte(pattern.ptr[p + escaped], text.ptr[t], octet))) {
			p += 1u + escaped;
			t++;
		} else if (star_p != UINT32_MAX) {
			p = star_p;
			t = ++star_t;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.ptr[p] == '*')
		p++;
	return p == pattern.len;
}

/* RFC 4790 section 9.1: the digits in front; what has none is larger than every number, and equal to its like. */
static bool numbers_equal(struct slice a, struct slice b)
{
	uint32_t i = 0, j = 0;

	while (i < a.len && ascii_is_digit(a.ptr[i]))
		i++;
	while (j < b.len && ascii_is_digit(b.ptr[j]))
		j++;
	a.len = i;
	b.len = j;
	if (!i || !j)
		return i == j;
	while (a.len > 1 && a.ptr[0] == '0')
		a = slice_from(a, 1);
	while (b.len > 1 && b.ptr[0] == '0')
		b = slice_from(b, 1);
	return slice_eq(a, b);
}

static bool compare(const struct how *how, struct slice text, struct slice key)
{
	bool octet = how->comparator == COMPARE_OCTET;

	if (how->comparator == COMPARE_NUMERIC)
		return numbers_equal(text, key);
	switch (how->match) {
	case MATCH_IS:
		return text.len == key.len && starts(text, key, octet);
	case MATCH_CONTAINS:
		for (uint32_t at = 0; at + key.len <= text.len; at++)
			if (starts(slice_from(text, at), key, octet))
				return true;
		return false;
	case MATCH_MATCHES:
		return glob(text, key, octet);
	}
	return false;
}

static enum rc any_key(struct sieve *s, const struct how *how, struct slice text,
		       const struct string_list *keys, bool *ret)
{
	enum rc rc = OK;

	for (; keys && rc == OK && !*ret; keys = keys->next) {
		rc = run_step(s->run);
		*ret = rc == OK && compare(how, text, keys->text);
	}
	return rc;
}

/* ---- Tagged arguments ---------------------------------------------------------------------------------------------------- */

static enum rc take_comparator(struct sieve *s, struct how *how)
{
	struct slice name;
	enum rc rc = sieve_space(s);

	if (how->comparator_set)
		return sieve_error(s, "comparator already specified");
	if (rc == OK)
		rc = sieve_need_string(s, &name, "missing comparator");
	if (rc != OK)
		return rc;
	how->comparator_set = true;
	if (slice_eq_nocase(name, SLICE("i;octet")))
		how->comparator = COMPARE_OCTET;
	else if (slice_eq_nocase(name, SLICE("i;ascii-casemap")))
		how->comparator = COMPARE_CASEMAP;
	else if (!slice_eq_nocase(name, SLICE("i;ascii-numeric")))
		return sieve_error(s, "invalid comparator");
	else if (!(s->required & SIEVE_NUMERIC))
		return sieve_error(s, "missing previous require \"comparator-i;ascii-numeric\";");
	else
		how->comparator = COMPARE_NUMERIC;
	return OK;
}

static bool take_match(struct sieve *s, struct how *how)
{
	static const char *const words[] = {":is", ":contains", ":matches"};

	for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
		if (sieve_word(s, words[i])) {
			how->match = (enum match_type)i;
			return true;
		}
	return false;
}

static bool take_part(struct sieve *s, struct how *how)
{
	static const char *const words[] = {":all", ":localpart", ":domain", ":user", ":detail"};

	for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
		if (sieve_word(s, words[i])) {
			how->part = (enum part)i;
			return true;
		}
	return false;
}

static enum rc take_how(struct sieve *s, struct how *how, bool with_part)
{
	enum rc rc = OK;

	*how = (struct how){0};
	while (rc == OK && s->rest.len && s->rest.ptr[0] == ':') {
		if (sieve_word(s, ":comparator")) {
			rc = take_comparator(s, how);
		} else if (take_match(s, how)) {
			if (how->match_set)
				return sieve_error(s, "match type already specified");
			how->match_set = true;
		} else if (with_part && take_part(s, how)) {
			if (how->part_set)
				return sieve_error(s, "address part already specified");
			if (how->part >= PART_USER && !(s->required & SIEVE_SUBADDRESS))
				return sieve_error(s, "missing previous require \"subaddress\";");
			how->part_set = true;
		} else {
			break;
		}
		if (rc == OK)
			rc = sieve_space(s);
	}
	if (rc == OK && how->comparator == COMPARE_NUMERIC && how->match != MATCH_IS)
		return sieve_error(s, "comparator does not offer specified matchtype");
	return rc;
}

/* ---- header, address, envelope, exists, size ---------------------------------------------------------------------------- */

static bool header_name_fits(struct slice name)
{
	for (uint32_t i = 0; i < name.len; i++)
		if ((unsigned char)name.ptr[i] <= ' ' || name.ptr[i] == ':' || name.ptr[i] == 127)
			return false;
	return name.len > 0;
}

static enum rc header_test(struct sieve *s, bool exec, bool *ret)
{
	struct string_list *names, *keys;
	struct how how;
	enum rc rc = take_how(s, &how, false);

	if (rc == OK)
		rc = sieve_need_list(s, &names, "header string list expected");
	if (rc == OK)
		rc = sieve_need_list(s, &keys, "key string list expected");
	*ret = false;
	for (; rc == OK && names && !*ret; names = names->next) {
		if (!header_name_fits(names->text))
			return sieve_error(s, "invalid header field");
		if (!exec)
			continue;
		const struct message *m = s->run->sc->message;
		for (struct header *h = header_find(&m->headers, names->text, NULL); h && rc == OK && !*ret;
		     h = header_find(&m->headers, names->text, h)) {
			struct slice utf8 = SLICE("utf-8");
			struct slice text = rfc2047_decode_to(s->arena, header_body(h), true, &utf8);
			rc = text.ptr ? any_key(s, &how, text, keys, ret) : err_memory(s->err);
		}
	}
	return rc;
}

/* Which part of an address is asked for. false: it has none. */
static bool part_of(const struct how *how, const struct address_parts *a, struct slice *ret)
{
	switch (how->part) {
	case PART_ALL:
		*ret = a->full;
		return true;
	case PART_LOCAL:
		*ret = a->local_part;
		return true;
	case PART_DOMAIN:
		*ret = a->domain;
		return true;
	default:
		return false;
	}
}

static enum rc test_addresses(struct sieve *s, const struct how *how, struct slice rest,
			      const struct string_list *keys, bool *ret)
{
	struct address_parts parts;
	struct slice part;
	enum rc rc = OK;

	while (rc == OK && !*ret) {
		struct err err = err_make(s->arena);

		rc = address_next(s->arena, &rest,
				  ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8,
				  &parts, &err);
		if (rc == FAIL && err.text.len == 0)
			return OK;
		if (rc == FAIL) {
			rc = run_step(s->run);
			continue;
		}
		if (rc == OK && part_of(how, &parts, &part))
			rc = any_key(s, how, part, keys, ret);
		else if (rc == OK)
			rc = run_step(s->run);
	}
	return rc;
}

static bool holds_addresses(struct slice name)
{
	static const char *const names[] = {
	    "from",         "to",          "cc",         "bcc",        "sender",        "reply-to",
	    "resent-from",  "resent-to",   "resent-cc",  "resent-bcc", "resent-sender", "resent-reply-to",
	    "delivered-to", "envelope-to", "return-path"};

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		if (slice_eq_nocase(name, slice_of(names[i])))
			return true;
	return false;
}

static enum rc address_test(struct sieve *s, bool exec, bool *ret)
{
	struct string_list *names, *keys;
	struct how how;
	enum rc rc = take_how(s, &how, true);

	if (rc == OK)
		rc = sieve_need_list(s, &names, "header string list expected");
	if (rc == OK)
		rc = sieve_need_list(s, &keys, "key string list expected");
	*ret = false;
	for (; rc == OK && names && !*ret; names = names->next) {
		if (!holds_addresses(names->text))
			return sieve_error(s, "invalid header field");
		if (!exec)
			continue;
		const struct message *m = s->run->sc->message;
		for (struct header *h = header_find(&m->headers, names->text, NULL); h && rc == OK && !*ret;
		     h = header_find(&m->headers, names->text, h))
			rc = test_addresses(s, &how, header_value(h), keys, ret);
	}
	return rc;
}

static enum rc envelope_one(struct sieve *s, const struct how *how, bool from, const struct string_list *keys,
			    bool *ret)
{
	const struct filter_rules *rules = s->run->rules;
	const struct address *me = s->run->sc->address;
	struct address_parts a = {.full = SLICE_EMPTY, .local_part = SLICE_EMPTY, .domain = SLICE_EMPTY};
	struct slice part = SLICE_EMPTY;
	ptrdiff_t at;

	if (!from && how->part >= PART_USER) {
		part = how->part == PART_USER ? rules->sieve_useraddress : rules->sieve_subaddress;
		return part.ptr ? any_key(s, how, part, keys, ret) : OK;
	}
	a.full = from ? scope_sender(s->run->sc) : me ? me->full : SLICE_EMPTY;
	at = slice_rfind(a.full, '@');
	a.local_part = slice_sub(a.full, 0, at < 0 ? a.full.len : (size_t)at);
	a.domain = at < 0 ? SLICE_EMPTY : slice_from(a.full, (size_t)at + 1);
	return part_of(how, &a, &part) ? any_key(s, how, part, keys, ret) : OK;
}

static enum rc envelope_test(struct sieve *s, bool exec, bool *ret)
{
	struct string_list *names, *keys;
	struct how how;
	enum rc rc;

	if (!(s->required & SIEVE_ENVELOPE))
		return sieve_error(s, "missing previous require \"envelope\";");
	rc = take_how(s, &how, true);
	if (rc == OK)
		rc = sieve_need_list(s, &names, "envelope string list expected");
	if (rc == OK)
		rc = sieve_need_list(s, &keys, "key string list expected");
	*ret = false;
	for (; rc == OK && names && !*ret; names = names->next) {
		bool from = slice_eq_nocase(names->text, SLICE("from"));
		if (!from && !slice_eq_nocase(names->text, SLICE("to")))
			return sieve_error(s, "invalid envelope string");
		if (exec)
			rc = envelope_one(s, &how, from, keys, ret);
	}
	return rc;
}

static enum rc exists_test(struct sieve *s, bool exec, bool *ret)
{
	struct string_list *names;
	enum rc rc = sieve_need_list(s, &names, "header string list expected");

	*ret = true;
	for (; rc == OK && names && *ret; names = names->next) {
		if (!header_name_fits(names->text))
			return sieve_error(s, "header string expansion failed");
		if (exec)
			*ret = header_find(&s->run->sc->message->headers, names->text, NULL);
	}
	return rc;
}

static enum rc size_test(struct sieve *s, bool exec, bool *ret)
{
	uint64_t limit = 0, size;
	bool over, found;
	enum rc rc;

	over = sieve_word(s, ":over");
	if (!over && !sieve_word(s, ":under"))
		return sieve_error(s, "missing :over or :under");
	rc = sieve_space(s);
	if (rc == OK)
		rc = sieve_number(s, &limit, &found);
	if (rc == OK && !found)
		return sieve_error(s, "missing number");
	if (rc == OK && exec) {
		size = message_size(s->run->sc->message);
		*ret = over ? size > limit : size < limit;
	}
	return rc;
}

/* The first that decides ends the evaluation; the others are only parsed. */
static enum rc list_test(struct sieve *s, bool exec, bool all, bool *ret)
{
	bool found, value;
	enum rc rc;

	if (!sieve_sign(s, '('))
		return sieve_error(s, "missing test list");
	*ret = all;
	do {
		rc = sieve_space(s);
		if (rc == OK)
			rc = sieve_test(s, exec && *ret == all, &value, &found);
		if (rc == OK && !found)
			return sieve_error(s, "missing test");
		if (rc != OK)
			return rc;
		if (exec && *ret == all)
			*ret = value;
	} while (sieve_sign(s, ','));
	return sieve_sign(s, ')') ? OK : sieve_error(s, "missing closing paren");
}

static enum rc not_test(struct sieve *s, bool exec, bool *ret)
{
	bool found;
	enum rc rc = sieve_test(s, exec, ret, &found);

	if (rc == OK && !found)
		return sieve_error(s, "missing test");
	*ret = !*ret;
	return rc;
}

static enum rc method_test(struct sieve *s, bool exec, bool *ret)
{
	struct string_list *methods;
	enum rc rc;

	if (!(s->required & SIEVE_ENOTIFY))
		return sieve_error(s, "missing previous require \"enotify\";");
	rc = sieve_need_list(s, &methods, "URI string list expected");
	*ret = true;
	for (; rc == OK && exec && methods; methods = methods->next)
		*ret &= slice_starts_nocase(methods->text, SLICE("mailto:"));
	return rc;
}

static enum rc test_after_word(struct sieve *s, unsigned which, bool exec, bool *ret)
{
	switch (which) {
	case 0:
		return address_test(s, exec, ret);
	case 1:
	case 2:
		return list_test(s, exec, which == 1, ret);
	case 3:
		return envelope_test(s, exec, ret);
	case 4:
		return exists_test(s, exec, ret);
	case 5:
	case 6:
		*ret = which == 6;
		return OK;
	case 7:
		return header_test(s, exec, ret);
	case 8:
		return not_test(s, exec, ret);
	case 9:
		return size_test(s, exec, ret);
	default:
		return method_test(s, exec, ret);
	}
}

enum rc sieve_test(struct sieve *s, bool exec, bool *ret, bool *found_ret)
{
	static const char *const words[] = {
	    "address", "allof", "anyof", "envelope",           "exists", "false", "true",
	    "header",  "not",   "size",  "valid_notify_method"};
	unsigned which = 0;
	enum rc rc;

	*ret = false;
	while (which < ARRAY_COUNT(words) && !sieve_word(s, words[which]))
		which++;
	*found_ret = which < ARRAY_COUNT(words);
	if (!*found_ret)
		return OK;
	rc = sieve_enter(s);
	if (rc == OK)
		rc = sieve_space(s);
	if (rc == OK)
		rc = test_after_word(s, which, exec, ret);
	s->depth--;
	return rc == OK ? sieve_space(s) : rc;
}
