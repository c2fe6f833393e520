/* dkim_signature: a DKIM-Signature (RFC 6376 section 3.5) or ARC-Message-Signature (RFC 8617 section 4.1.2) taken apart, with
 * all that section 6.1.1 asks to be checked before a key is fetched. */
#include "dkim.h"
#include "scan.h"

static enum rc bad(struct dkim_signature *s, enum dkim_reason reason, const char *detail)
{
	s->reason = reason;
	s->detail = slice_of(detail);
	return FAIL;
}

static enum rc parse_algorithm(struct dkim_signature *s, struct slice value, bool arc)
{
	static const struct {
		const char *name;
		enum dkim_key_type key;
		enum hash_kind hash;
	} algorithms[] = {
	    {"rsa-sha256", KEY_RSA, HASH_SHA256},
	    {"ed25519-sha256", KEY_ED25519, HASH_SHA256},
	    {"rsa-sha1", KEY_RSA, HASH_SHA1},
	    {"rsa-sha512", KEY_RSA, HASH_SHA512}, /* in no RFC; Exim signs so if it is told to */
	};

	if (!value.ptr)
		return bad(s, REASON_SYNTAX, "no a= tag");
	s->algorithm_text = value;
	for (unsigned i = 0; i < ARRAY_COUNT(algorithms); i++)
		if (slice_eq(value, slice_of(algorithms[i].name))) {
			s->key_type = algorithms[i].key;
			s->hash_kind = algorithms[i].hash;
			/* What an old signer of mail may still be forgiven has never been in ARC. */
			if (arc && s->hash_kind != HASH_SHA256)
				break;
			return OK;
		}
	return bad(s, REASON_ALGORITHM, "unknown algorithm in a=");
}

static bool canon_word(struct slice word, bool *relaxed_ret)
{
	*relaxed_ret = slice_eq(word, SLICE("relaxed"));
	return *relaxed_ret || slice_eq(word, SLICE("simple"));
}

/* c=: header form, slash, body form; the second is simple if it is not there. */
static enum rc parse_canon(struct dkim_signature *s, struct slice value)
{
	struct slice header;

	if (!value.ptr)
		return OK;
	if (!slice_split(&value, '/', &header) || !canon_word(header, &s->header_relaxed) ||
	    (value.ptr && !canon_word(value, &s->body_relaxed)))
		return bad(s, REASON_SYNTAX, "unknown canonicalization in c=");
	return OK;
}

/* A field name cannot hold what ends it, white space or what is not ASCII. Takes it off the front, with what surrounds it. */
static enum rc take_name(struct dkim_signature *s, const char **p, const char *end, struct slice *ret)
{
	const char *start;

	while (*p < end && tag_is_space(**p))
		++*p;
	start = *p;
	*p += scan_name(start, (size_t)(end - start));
	*ret = slice_make(start, (size_t)(*p - start), TAINTED);
	while (*p < end && tag_is_space(**p))
		++*p;
	if (*p < end && **p != ':')
		return bad(s, REASON_SYNTAX, "bad field name in h=");
	return ret->len ? OK : bad(s, REASON_SYNTAX, "empty name in h=");
}

/* h=: From has to be among the names (section 5.4). */
static enum rc parse_names(struct arena *arena, struct dkim_signature *s, bool arc)
{
	const char *p = s->names.ptr, *end;
	uint32_t count = 1;
	bool from = false;

	if (!p)
		return bad(s, REASON_SYNTAX, "no h= tag");
	end = p + s->names.len;
	for (const char *at = p; (at = memchr(at, ':', (size_t)(end - at))); at++)
		count++;
	if (count > DKIM_NAMES_MAX)
		return bad(s, REASON_SYNTAX, "too many names in h=");
	s->name_list = arena_array(arena, struct slice, count);
	if (!s->name_list)
		return DEFER;
	for (uint32_t i = 0; i < count; i++) {
		struct slice *name = &s->name_list[i];
		enum rc rc = take_name(s, &p, end, name);

		if (rc != OK)
			return rc;
		p++; /* the colon, or one beyond the end of the last */
		from |= slice_eq_nocase(*name, SLICE("from"));
		if (arc && slice_eq_nocase(*name, SLICE("arc-seal")))
			return bad(s, REASON_SYNTAX, "ARC-Seal in h="); /* RFC 8617 section 4.1.2 */
	}
	s->name_count = count;
	return from ? OK : bad(s, REASON_SYNTAX, "From is not signed");
}

/* i=: an address of which the local part may be missing, in d= or below (section 3.5). */
static enum rc parse_identity(struct arena *arena, struct dkim_signature *s, struct slice value)
{
	struct slice domain;
	ptrdiff_t at;

	s->identity = SLICE_EMPTY;
	if (!value.ptr)
		return OK;
	value = tag_unquote(arena, value);
	if (!value.ptr)
		return DEFER;
	at = slice_rfind(value, '@');
	if (at < 0)
		return bad(s, REASON_SYNTAX, "no @ in i=");
	domain = slice_from(value, (size_t)at + 1);
	if (!tag_is_domain(domain, 2, false))
		return bad(s, REASON_SYNTAX, "bad domain in i=");
	if (!slice_ends_nocase(domain, s->domain) ||
	    (domain.len > s->domain.len && domain.ptr[domain.len - s->domain.len - 1] != '.'))
		return bad(s, REASON_SYNTAX, "i= is not in d=");
	s->identity = value;
	return OK;
}

static enum rc parse_times(struct dkim_signature *s, const struct tag_list *list)
{
	struct slice created = tag_value(list, "t"), expires = tag_value(list, "x"),
		     length = tag_value(list, "l");

	s->has_created = created.ptr;
	s->has_expires = expires.ptr;
	s->has_length = length.ptr;
	if (created.ptr && !tag_number(created, 12, &s->created))
		return bad(s, REASON_SYNTAX, "bad number in t=");
	if (expires.ptr && !tag_number(expires, 12, &s->expires))
		return bad(s, REASON_SYNTAX, "bad number in x=");
	if (created.ptr && expires.ptr && s->expires <= s->created)
		return bad(s, REASON_SYNTAX, "x= is not behind t=");
	if (length.ptr && !tag_number(length, 76, &s->length))
		return bad(s, REASON_SYNTAX, "bad number in l=");
	return OK;
}

/* Who signs, with what: first, so that what else is wrong can be told of them. */
static enum rc parse_signer(struct dkim_signature *s, const struct tag_list *list)
{
	struct slice domain = tag_value(list, "d"), selector = tag_value(list, "s");

	if (domain.ptr && tag_is_domain(domain, 2, false))
		s->domain = domain;
	if (selector.ptr && tag_is_domain(selector, 1, true))
		s->selector = selector;
	if (!s->domain.len)
		return bad(s, REASON_SYNTAX, domain.ptr ? "bad domain in d=" : "no d= tag");
	if (!s->selector.len)
		return bad(s, REASON_SYNTAX, selector.ptr ? "bad name in s=" : "no s= tag");
	return OK;
}

static enum rc parse_bytes(struct arena *arena, struct dkim_signature *s, const struct tag_list *list)
{
	const struct tag *b = tag_find(list, "b");
	struct slice bh = tag_value(list, "bh");

	if (!b)
		return bad(s, REASON_SYNTAX, "no b= tag");
	if (!bh.ptr)
		return bad(s, REASON_SYNTAX, "no bh= tag");
	s->b_start = b->start;
	s->b_end = b->end;
	s->b_text = tag_squeeze(arena, slice_sub(b->value, 0, DKIM_SIGNATURE_MAX * 4));
	if (!s->b_text.ptr)
		return DEFER;
	if (b->value.len > s->b_text.len * 2 + 1024)
		return bad(s, REASON_SYNTAX, "b= is no base64");
	if (!tag_base64_plain(arena, s->b_text, DKIM_SIGNATURE_MAX, &s->signature))
		return s->signature.ptr ? bad(s, REASON_SYNTAX, "b= is no base64") : DEFER;
	if (!tag_base64(arena, bh, HASH_SIZE_MAX, &s->digest))
		return s->digest.ptr ? bad(s, REASON_SYNTAX, "bh= is no base64") : DEFER;
	if (s->digest.len != hash_size(s->hash_kind))
		return bad(s, REASON_SYNTAX, "bh= is not as long as its hash");
	return OK;
}

static enum rc parse_tags(struct arena *arena, struct dkim_signature *s, const struct tag_list *list,
			  bool arc)
{
	struct slice version = tag_value(list, "v"), query = tag_value(list, "q"), z = tag_value(list, "z");
	enum rc rc = parse_signer(s, list);

	s->algorithm_text = tag_value(list, "a").ptr ? tag_value(list, "a") : SLICE_EMPTY;
	s->names = tag_value(list, "h");
	if (rc == OK && !arc && !version.ptr)
		rc = bad(s, REASON_SYNTAX, "no v= tag");
	if (rc == OK && !arc && !slice_eq(version, SLICE("1")))
		rc = bad(s, REASON_VERSION, "unknown version in v=");
	if (rc == OK)
		rc = parse_algorithm(s, tag_value(list, "a"), arc);
	if (rc == OK)
		rc = parse_canon(s, tag_value(list, "c"));
	if (rc == OK)
		rc = parse_names(arena, s, arc);
	if (rc == OK && query.ptr && !tag_item_is_in(query, SLICE("dns/txt")))
		rc = bad(s, REASON_SYNTAX, "no known way to the key in q=");
	if (rc == OK)
		rc = parse_times(s, list);
	if (rc == OK && !arc)
		rc = parse_identity(arena, s, tag_value(list, "i"));
	if (rc == OK)
		rc = parse_bytes(arena, s, list);
	if (rc == OK && z.ptr) {
		s->copied = tag_unquote(arena, z);
		rc = s->copied.ptr ? OK : DEFER;
	}
	return rc;
}

static void clear(struct dkim_signature *s, struct slice text)
{
	*s = (struct dkim_signature){
	    .text = text,
	    .domain = SLICE_EMPTY,
	    .selector = SLICE_EMPTY,
	    .algorithm_text = SLICE_EMPTY,
	    .identity = SLICE_EMPTY,
	    .names = SLICE_EMPTY,
	    .copied = SLICE_EMPTY,
	    .b_text = SLICE_EMPTY,
	    .detail = SLICE_EMPTY,
	    .key_service = SLICE("*"),
	    .key_granularity = SLICE("*"),
	    .key_notes = SLICE_EMPTY,
	    .status_set = {NULL, 0, CLEAN},
	    .reason_set = {NULL, 0, CLEAN},
	};
}

enum rc dkim_signature_read(struct arena *arena, struct slice text, const struct tag_list *list,
			    uint32_t front, bool arc, struct dkim_signature *s, struct err *err)
{
	enum rc rc;

	clear(s, text);
	rc = parse_tags(arena, s, list, arc);
	s->b_start += front;
	s->b_end += front;
	if (!s->names.ptr)
		s->names = SLICE_EMPTY;
	return rc == DEFER ? err_memory(err) : rc;
}

enum rc dkim_signature_parse(struct arena *arena, struct slice text, bool arc, struct dkim_signature *s,
			     struct err *err)
{
	ptrdiff_t colon = slice_find(text, ':');
	uint32_t front = colon < 0 ? text.len : (uint32_t)colon + 1;
	struct slice value = slice_from(text, front);
	struct err why = err_make(arena);
	struct tag_list list;

	if (value.len && value.ptr[value.len - 1] == '\n')
		value.len--;
	if (tag_list_parse(value, &list, &why) == OK)
		return dkim_signature_read(arena, text, &list, front, arc, s, err);
	clear(s, text);
	s->reason = REASON_SYNTAX;
	s->detail = why.text;
	return FAIL;
}
