/* dmarc_record: policy records (RFC 9989, section 4.7, 4.8; RFC 7489, section 6.3). Only the version is strict: a mistake
 * behind it costs the tag that it stands in. */
#include "dmarc.h"

static struct slice trim(struct slice s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
		s = slice_from(s, 1);
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

static bool tag_split(struct slice part, struct slice *name, struct slice *value)
{
	ptrdiff_t equal = slice_find(part, '=');

	if (equal <= 0)
		return false;
	*name = trim(slice_sub(part, 0, (size_t)equal));
	*value = trim(slice_from(part, (size_t)equal + 1));
	return name->len;
}

/* n, q, r; '?': none of these. */
static char request(struct slice value)
{
	static const struct slice words[] = {SLICE_INIT("none"), SLICE_INIT("quarantine"),
					     SLICE_INIT("reject")};

	for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
		if (slice_eq_nocase(value, words[i]))
			return words[i].ptr[0];
	return '?';
}

/* One letter of those allowed; otherwise what it is without the tag. */
static char letter(struct slice value, const char *allowed, char otherwise)
{
	char c = value.len == 1 ? ascii_lower(value.ptr[0]) : 0;

	return c && strchr(allowed, c) ? c : otherwise;
}

/* "0" and "1" exclude each other: then it is as if nothing were said. */
static unsigned fo_parse(struct slice value)
{
	struct slice word;
	bool both_only = false;
	unsigned fo = 0;

	while (slice_split(&value, ':', &word)) {
		char c = letter(trim(word), "01ds", 0);
		fo |= c == '1' ? DMARC_FO_ANY : c == 'd' ? DMARC_FO_DKIM : c == 's' ? DMARC_FO_SPF : 0;
		both_only |= c == '0';
	}
	return both_only && fo & DMARC_FO_ANY ? 0 : fo;
}

enum {
	SEEN_P,
	SEEN_SP,
	SEEN_NP,
	SEEN_ADKIM,
	SEEN_ASPF,
	SEEN_PSD,
	SEEN_T,
	SEEN_PCT,
	SEEN_FO,
	SEEN_RUA,
	SEEN_RUF
};
static const struct slice tag_names[] = {
    [SEEN_P] = SLICE_INIT("p"),         [SEEN_SP] = SLICE_INIT("sp"),     [SEEN_NP] = SLICE_INIT("np"),
    [SEEN_ADKIM] = SLICE_INIT("adkim"), [SEEN_ASPF] = SLICE_INIT("aspf"), [SEEN_PSD] = SLICE_INIT("psd"),
    [SEEN_T] = SLICE_INIT("t"),         [SEEN_PCT] = SLICE_INIT("pct"),   [SEEN_FO] = SLICE_INIT("fo"),
    [SEEN_RUA] = SLICE_INIT("rua"),     [SEEN_RUF] = SLICE_INIT("ruf"),
};

/* Of tags that come twice the first counts. */
static void tag_take(struct dmarc_record *r, unsigned *seen, struct slice name, struct slice value)
{
	uint64_t number;
	unsigned tag = 0;

	while (tag < ARRAY_COUNT(tag_names) && !slice_eq_nocase(name, tag_names[tag]))
		tag++;
	if (tag == ARRAY_COUNT(tag_names) || *seen & 1u << tag)
		return;
	*seen |= 1u << tag;
	switch (tag) {
	case SEEN_P:
		r->p = request(value);
		break;
	case SEEN_SP:
		r->sp = request(value);
		break;
	case SEEN_NP:
		r->np = request(value);
		break;
	case SEEN_ADKIM:
		r->adkim = letter(value, "rs", 'r');
		break;
	case SEEN_ASPF:
		r->aspf = letter(value, "rs", 'r');
		break;
	case SEEN_PSD:
		r->psd = letter(value, "ynu", 'u');
		break;
	case SEEN_T:
		r->testing = letter(value, "yn", 'n') == 'y';
		break;
	case SEEN_PCT:
		if (parse_u64(value, &number) && number <= 100)
			r->pct = (unsigned)number;
		break;
	case SEEN_FO:
		r->fo = fo_parse(value);
		break;
	case SEEN_RUA:
		r->rua = value;
		break;
	case SEEN_RUF:
		r->ruf = value;
		break;
	}
}

static bool has_uri(struct slice list)
{
	struct slice item;

	while (slice_split(&list, ',', &item)) {
		ptrdiff_t colon = slice_find(trim(item), ':');
		if (colon > 0 && (size_t)colon + 1 < trim(item).len)
			return true;
	}
	return false;
}

bool dmarc_record_parse(struct slice text, bool legacy, struct dmarc_record *ret)
{
	struct dmarc_record r = {
	    .adkim = 'r', .aspf = 'r', .psd = 'u', .pct = 100, .rua = SLICE_EMPTY, .ruf = SLICE_EMPTY};
	struct slice part, name, value;
	unsigned seen = 0;

	if (!text.len || !slice_split(&text, ';', &part) || !tag_split(part, &name, &value))
		return false;
	if (!slice_eq_nocase(name, SLICE("v")) || !slice_eq(value, SLICE("DMARC1")) ||
	    part.ptr[0] != name.ptr[0])
		return false;
	while (text.ptr && slice_split(&text, ';', &part))
		if (tag_split(part, &name, &value))
			tag_take(&r, &seen, name, value);
	if (!r.p && !legacy)
		r.p = 'n';
	if (legacy)
		r.np = 0; /* RFC 7489 does not know it: whatever it says is nothing */
	/* Section 4.10.1: a request that nobody understands is none; who wants to hear of it is told. Without any p= it is none (4.7),
	 * and sp= and np= say what they say. */
	if (!r.p || r.p == '?' || r.sp == '?' || r.np == '?') {
		r.unusable = !has_uri(r.rua);
		r.p = 'n';
		r.sp = r.np = 0;
	}
	*ret = r;
	return true;
}

/* A dot-string at a domain: percent signs have hidden what would end a line, a command or a header field. */
static bool is_plain_address(struct slice address)
{
	ptrdiff_t at = slice_find(address, '@');

	if (at <= 0 || at > 64 || (size_t)at + 1 >= address.len || address.len > 318)
		return false;
	for (uint32_t i = 0; i < address.len; i++) {
		char c = address.ptr[i];
		const char *more = i < at ? "!#$%&'*+-/=?^_`{|}~." : "-._";

		if (i != at && !ascii_is_alnum(c) && (!c || !strchr(more, c)))
			return false;
	}
	return true;
}

bool dmarc_uri_next(struct arena *arena, struct slice *rest, struct slice *address_ret)
{
	struct slice item;

	while (rest->ptr && slice_split(rest, ',', &item)) {
		struct str out = str_make(arena);
		ptrdiff_t limit;

		item = trim(item);
		if (!slice_starts_nocase(item, SLICE("mailto:")))
			continue;
		item = slice_from(item, 7);
		limit = slice_rfind(item, '!');
		if (limit >= 0)
			item = slice_sub(item, 0, (size_t)limit);
		limit = slice_find(item, '?');
		if (limit >= 0)
			item = slice_sub(item, 0, (size_t)limit);
		for (uint32_t i = 0; i < item.len; i++) {
			int high = item.ptr[i] == '%' && i + 2 < item.len ? hex_digit(item.ptr[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(item.ptr[i + 2]) : -1;
			str_addc(&out, low >= 0 ? (char)(high * 16 + low) : item.ptr[i]);
			i += low >= 0 ? 2 : 0;
		}
		*address_ret = slice_tainted(str_slice(&out));
		if (address_ret->ptr && is_plain_address(*address_ret))
			return true;
	}
	return false;
}
