/* spf_record: an SPF record taken apart, strictly by the grammar of RFC 7208, section 12: one mistake anywhere, and there is
 * no record to evaluate. */
#include <arpa/inet.h>

#include "kept.h"
#include "spf.h"

static const struct {
	struct slice name;
	enum spf_mechanism mechanism;
} mechanisms[] = {
    {SLICE_INIT("all"), SPF_ALL}, {SLICE_INIT("include"), SPF_INCLUDE}, {SLICE_INIT("a"), SPF_A},
    {SLICE_INIT("mx"), SPF_MX},   {SLICE_INIT("ptr"), SPF_PTR},         {SLICE_INIT("ip4"), SPF_IP4},
    {SLICE_INIT("ip6"), SPF_IP6}, {SLICE_INIT("exists"), SPF_EXISTS},
};

bool spf_record_is(struct slice text)
{
	return slice_starts_nocase(text, SLICE("v=spf1")) && (text.len == 6 || text.ptr[6] == ' ');
}

/* "/" and a number without leading zeros at the end of *text, which is taken off; false: there is none. Nothing else that a
 * domain-spec may end with looks like that. */
static bool take_length(struct slice *text, unsigned max, uint8_t *bits_ret)
{
	uint32_t i = text->len;
	unsigned bits = 0;

	while (i > 0 && ascii_is_digit(text->ptr[i - 1]))
		i--;
	if (i == text->len || i == 0 || text->ptr[i - 1] != '/' || text->len - i > 3)
		return false;
	if (text->ptr[i] == '0' && text->len - i > 1)
		return false;
	for (uint32_t k = i; k < text->len; k++)
		bits = bits * 10 + (unsigned)(text->ptr[k] - '0');
	if (bits > max)
		return false;
	*bits_ret = (uint8_t)bits;
	*text = slice_sub(*text, 0, i - 1);
	return true;
}

/* [ip4-cidr-length] ["/" ip6-cidr-length]: "/24", "//64", "/24//64". */
static void take_dual_length(struct slice *text, struct spf_term *term)
{
	struct slice before = *text;
	uint8_t bits;

	if (take_length(text, 128, &bits)) {
		if (text->len && text->ptr[text->len - 1] == '/') {
			term->bits6 = bits;
			text->len--;
		} else {
			*text = before;
		}
	}
	if (take_length(text, 32, &bits))
		term->bits4 = bits;
}

/* Numbers without leading zeros, which inet_pton() of some systems takes as octal. */
static bool ip4_parse(struct slice text, struct ip_addr *ip)
{
	struct slice part;
	unsigned count = 0;

	*ip = (struct ip_addr){.family = 4};
	while (slice_split(&text, '.', &part)) {
		unsigned number = 0;
		if (count == 4 || part.len == 0 || part.len > 3 || (part.len > 1 && part.ptr[0] == '0'))
			return false;
		for (uint32_t i = 0; i < part.len; i++) {
			if (!ascii_is_digit(part.ptr[i]))
				return false;
			number = number * 10 + (unsigned)(part.ptr[i] - '0');
		}
		if (number > 255)
			return false;
		ip->bytes[count++] = (uint8_t)number;
	}
	return count == 4;
}

/* Not ip_parse(), which makes IPv4 of mapped addresses: this network is one of IPv6 clients. */
static bool ip6_parse(struct slice text, struct ip_addr *ip)
{
	char copy[IP_TEXT_MAX];

	if (text.len >= sizeof(copy) || memchr(text.ptr, 0, text.len))
		return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = 0;
	*ip = (struct ip_addr){.family = 6};
	return inet_pton(AF_INET6, copy, ip->bytes) == 1;
}

/* What stands behind the mechanism's name: "" or ":..." or "/...". */
static bool argument_parse(struct spf_term *term, struct slice rest)
{
	bool colon = rest.len && rest.ptr[0] == ':';

	if (colon)
		rest = slice_from(rest, 1);
	term->bits4 = 32;
	term->bits6 = 128;
	switch ((enum spf_mechanism)term->mechanism) {
	case SPF_ALL:
		return !colon && !rest.len;
	case SPF_IP4:
		(void)take_length(&rest, 32, &term->bits4);
		return colon && ip4_parse(rest, &term->ip);
	case SPF_IP6:
		(void)take_length(&rest, 128, &term->bits6);
		return colon && ip6_parse(rest, &term->ip);
	case SPF_A:
	case SPF_MX:
		take_dual_length(&rest, term);
		break;
	case SPF_PTR:
		break;
	case SPF_INCLUDE:
	case SPF_EXISTS:
		if (!colon)
			return false;
		break;
	}
	term->domain = rest;
	return colon ? spf_domain_spec_valid(rest) : !rest.len;
}

static bool name_char(char c)
{
	return ascii_is_alnum(c) || c == '-' || c == '_' || c == '.';
}

static bool directive_parse(struct slice word, struct spf_term *term)
{
	uint32_t len = 0;

	*term = (struct spf_term){.qualifier = '+', .text = word, .domain = SLICE_EMPTY};
	if (word.len && memchr("+-~?", word.ptr[0], 4)) {
		term->qualifier = word.ptr[0];
		word = slice_from(word, 1);
	}
	while (len < word.len && word.ptr[len] != ':' && word.ptr[len] != '/')
		len++;
	for (unsigned i = 0; i < ARRAY_COUNT(mechanisms); i++)
		if (slice_eq_nocase(slice_sub(word, 0, len), mechanisms[i].name)) {
			term->mechanism = (uint8_t)mechanisms[i].mechanism;
			return argument_parse(term, slice_from(word, len));
		}
	return false;
}

/* name "=" value; false: it is no modifier. Those that nobody knows are checked and passed over. */
static bool is_modifier(struct slice word, struct slice *name_ret, struct slice *value_ret)
{
	uint32_t len = 0;

	if (!word.len || !ascii_is_alpha(word.ptr[0]))
		return false;
	while (len < word.len && name_char(word.ptr[len]))
		len++;
	if (len == word.len || word.ptr[len] != '=')
		return false;
	*name_ret = slice_sub(word, 0, len);
	*value_ret = slice_from(word, len + 1);
	return true;
}

static const char *modifier_parse(struct slice name, struct slice value, struct spf_record *record)
{
	struct slice *known = slice_eq_nocase(name, SLICE("redirect")) ? &record->redirect
			      : slice_eq_nocase(name, SLICE("exp"))    ? &record->explanation
								       : NULL;

	if (!known)
		return spf_macro_valid(value, false) ? NULL : "a modifier with a malformed value";
	if (known->ptr)
		return "a modifier that is given twice";
	if (!spf_domain_spec_valid(value))
		return "a modifier without a proper domain";
	*known = value;
	return NULL;
}

static unsigned words_count(struct slice text)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < text.len; i++)
		count += text.ptr[i] != ' ' && (i == 0 || text.ptr[i - 1] == ' ');
	return count;
}

enum rc spf_record_parse(struct arena *arena, struct slice text, struct spf_record *ret, struct err *err)
{
	struct slice rest = slice_from(text, 6), word, name, value;

	*ret = (struct spf_record){.redirect = {NULL, 0, 0}, .explanation = {NULL, 0, 0}};
	ret->terms = arena_array(arena, struct spf_term, words_count(rest) + 1);
	if (!ret->terms)
		return err_memory(err);
	while (rest.ptr && slice_split(&rest, ' ', &word)) {
		const char *why = NULL;

		if (!word.len)
			continue;
		if (is_modifier(word, &name, &value))
			why = modifier_parse(name, value, ret);
		else if (!directive_parse(word, &ret->terms[ret->count]))
			why = "neither mechanism nor modifier, or malformed";
		else if (ret->terms[ret->count++].mechanism == SPF_ALL)
			ret->has_all = true;
		if (why)
			return err_set(err, FAIL, "syntax error in SPF record: \"%.*s\" is %s",
				       SLICE_ARG(slice_sub(word, 0, 100)), why);
	}
	return OK;
}

/* ---- Records that are kept ---------------------------------------------------------------------------------- */

struct spf_kept {
	struct spf_record record;
	enum rc rc;
	struct slice problem;
};

static bool kept_make(struct arena *arena, struct slice text, void *object)
{
	struct err err = err_make(arena);
	struct spf_kept *kept = object;

	kept->rc = spf_record_parse(arena, text, &kept->record, &err);
	kept->problem = err.text;
	return kept->rc != DEFER;
}

static const struct kept_kind records = {
    .number = KEPT_SPF_RECORDS, .count_max = 2000, .size = sizeof(struct spf_kept), .make = kept_make};

enum rc spf_record_get(struct spf_work *work, struct slice name, struct slice text,
		       const struct spf_record **record_ret, struct spf_kept **kept_ret)
{
	struct spf_kept *kept = kept_get(work->task->shard, &records, name, text);
	struct spf_record *record;
	enum rc rc;

	*kept_ret = NULL;
	if (kept && kept->rc == OK) {
		*record_ret = &kept->record;
		*kept_ret = kept;
		return OK;
	}
	if (kept) {
		rc = err_set(&work->problem, kept->rc, "%.*s", SLICE_ARG(kept->problem));
		kept_release(kept);
		return rc;
	}
	record = arena_make(work->task->arena, struct spf_record);
	if (!record)
		return err_memory(&work->problem);
	*record_ret = record;
	return spf_record_parse(work->task->arena, text, record, &work->problem);
}
