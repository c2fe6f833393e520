/* spf_macro: macro strings (RFC 7208, section 7): their syntax, checked before anything of a record is used, and what they
 * come to. All arithmetic on parts is bounded by what is there: a number of parts too large is "all of them". */
#include <stdio.h>

#include "spf.h"

#define TARGET_MAX 253
/* A sensible macro string makes a name of 253 bytes or a line of text; a malicious one repeats a long local part. */
#define EXPANDED_MAX 8192

struct macro {
	char letter;    /* in lower case */
	bool escape;    /* it was a capital */
	unsigned parts; /* 0: all */
	bool reverse;
	struct slice delimiters; /* empty: "." */
	bool plain;              /* no transformer, no delimiter: not split at all */
};

static bool is_delimiter(char c)
{
	return c && strchr(".-+,/_=", c);
}

/* text begins behind "%{"; *len_ret: up to and with "}". */
static bool macro_parse(struct slice text, bool explain, struct macro *macro, uint32_t *len_ret)
{
	uint32_t i = 0;

	if (!text.len)
		return false;
	*macro = (struct macro){.letter = ascii_lower(text.ptr[0]), .delimiters = SLICE_EMPTY};
	macro->escape = macro->letter != text.ptr[0];
	if (!macro->letter || !strchr(explain ? "slodiphvcrt" : "slodiphv", macro->letter))
		return false;
	macro->plain = true;
	if (++i < text.len && ascii_is_digit(text.ptr[i])) {
		for (; i < text.len && ascii_is_digit(text.ptr[i]); i++)
			if (macro->parts < 1000)
				macro->parts = macro->parts * 10 + (unsigned)(text.ptr[i] - '0');
		if (!macro->parts)
			return false;
		macro->plain = false;
	}
	if (i < text.len && ascii_lower(text.ptr[i]) == 'r') {
		macro->reverse = true;
		macro->plain = false;
		i++;
	}
	macro->delimiters = slice_sub(text, i, 0);
	while (i < text.len && is_delimiter(text.ptr[i])) {
		macro->delimiters.len++;
		macro->plain = false;
		i++;
	}
	if (i == text.len || text.ptr[i] != '}')
		return false;
	*len_ret = i + 1;
	return true;
}

/* The length of the macro-expand at the start of text (which is a "%"); 0: malformed. */
static uint32_t expand_length(struct slice text, bool explain, struct macro *macro)
{
	uint32_t len;

	if (text.len < 2)
		return 0;
	if (text.ptr[1] == '%' || text.ptr[1] == '_' || text.ptr[1] == '-')
		return 2;
	if (text.ptr[1] != '{' || !macro_parse(slice_from(text, 2), explain, macro, &len))
		return 0;
	return len + 2;
}

bool spf_macro_valid(struct slice text, bool explain)
{
	struct macro macro;

	for (uint32_t i = 0, len; i < text.len; i += len) {
		unsigned char c = (unsigned char)text.ptr[i];
		len = 1;
		if (c == '%')
			len = expand_length(slice_from(text, i), explain, &macro);
		else if (c > '~' || c < (explain ? ' ' : '!'))
			return false;
		if (!len)
			return false;
	}
	return true;
}

/* alphanumeric with a letter, or with hyphens inside. */
static bool toplabel_valid(struct slice label)
{
	bool letter = false, hyphen = false;

	if (!label.len || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
		return false;
	for (uint32_t i = 0; i < label.len; i++) {
		char c = label.ptr[i];
		letter |= ascii_is_alpha(c);
		hyphen |= c == '-';
		if (!ascii_is_alnum(c) && c != '-')
			return false;
	}
	return letter || hyphen;
}

bool spf_domain_spec_valid(struct slice text)
{
	struct macro macro;
	uint32_t end = 0; /* of the last macro-expand */
	struct slice tail;
	ptrdiff_t dot;

	if (!text.len || !spf_macro_valid(text, false))
		return false;
	for (uint32_t i = 0, len; i < text.len; i += len) {
		len = 1;
		if (text.ptr[i] == '%') {
			len = expand_length(slice_from(text, i), false, &macro);
			end = i + len;
		}
	}
	if (end == text.len)
		return true;
	tail = slice_from(text, end);
	if (tail.ptr[tail.len - 1] == '.')
		tail.len--;
	dot = slice_rfind(tail, '.');
	return dot >= 0 && toplabel_valid(slice_from(tail, (size_t)dot + 1));
}

bool spf_macro_needs_dns(struct slice text)
{
	for (uint32_t i = 0; i + 2 < text.len; i++) {
		if (text.ptr[i] != '%')
			continue;
		if (text.ptr[i + 1] == '{' && ascii_lower(text.ptr[i + 2]) == 'p')
			return true;
		i++;
	}
	return false;
}

/* ---- Expansion ------------------------------------------------------------------------------------------ */

static struct slice dotted_ip(struct arena *arena, const struct ip_addr *ip)
{
	char text[64];
	unsigned len = 0;

	if (ip->family == 4) {
		char plain[IP_TEXT_MAX];
		return arena_copy(arena, ip_format(ip, plain));
	}
	for (unsigned i = 0; i < 16; i++)
		len += (unsigned)snprintf(text + len, sizeof(text) - len, "%s%x.%x", i ? "." : "",
					  ip->bytes[i] >> 4, ip->bytes[i] & 15);
	return arena_copy(arena, slice_make(text, len, CLEAN));
}

static enum rc macro_value(struct spf_work *work, const struct macro *macro, struct slice domain,
			   struct slice *ret)
{
	struct arena *arena = work->task->arena;
	const struct spf_query *q = work->query;
	char plain[IP_TEXT_MAX];
	enum rc rc;

	switch (macro->letter) {
	case 's':
	case 'l':
		if (work->local_part_foreign)
			return FAIL;
		*ret = macro->letter == 's' ? work->sender : work->local_part;
		return OK;
	case 'o':
		*ret = work->sender_domain;
		return OK;
	case 'd':
		*ret = domain;
		return OK;
	case 'i':
		*ret = dotted_ip(arena, &q->ip);
		return ret->ptr ? OK : DEFER;
	case 'p':
		rc = spf_client_name(work, domain, true, ret);
		if (rc == FAIL || rc == DEFER)
			*ret = SLICE("unknown");
		return rc == CANCELLED ? rc : OK;
	case 'v':
		*ret = q->ip.family == 6 ? SLICE("ip6") : SLICE("in-addr");
		return OK;
	case 'h':
		*ret = q->helo;
		return OK;
	case 'c':
		*ret = arena_copy(arena, ip_format(&q->ip, plain));
		return ret->ptr ? OK : DEFER;
	case 'r':
		*ret = q->receiver.len ? q->receiver : SLICE("unknown");
		return OK;
	default: /* 't' */
		*ret = arena_printf(arena, "%llu", (unsigned long long)q->now_s);
		return ret->ptr ? OK : DEFER;
	}
}

static bool splits(const struct macro *macro, char c)
{
	return macro->delimiters.len ? slice_find(macro->delimiters, c) >= 0 : c == '.';
}

static void add_escaped(struct str *out, struct slice text, bool escape)
{
	for (uint32_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (!escape || ascii_is_alnum(c) || (c && strchr("-._~", c)))
			str_addc(out, c);
		else
			str_printf(out, "%%%02X", (unsigned char)c);
	}
}

/* The last `parts` parts of the value, which may be taken in reverse order first, joined by dots. */
static void add_parts(struct str *out, const struct macro *macro, struct slice value)
{
	unsigned count = 1, first, at = 0;
	uint32_t start = 0, end = value.len;

	for (uint32_t i = 0; i < value.len; i++)
		count += splits(macro, value.ptr[i]);
	first = macro->parts && macro->parts < count ? count - macro->parts : 0;
	while (at < count) {
		uint32_t i;
		if (macro->reverse) {
			for (i = end; i > 0 && !splits(macro, value.ptr[i - 1]); i--)
				;
			if (at >= first)
				add_escaped(out, slice_sub(value, i, end - i), macro->escape);
			end = i ? i - 1 : 0;
		} else {
			for (i = start; i < value.len && !splits(macro, value.ptr[i]); i++)
				;
			if (at >= first)
				add_escaped(out, slice_sub(value, start, i - start), macro->escape);
			start = i + 1;
		}
		if (at >= first && at + 1 < count)
			str_addc(out, '.');
		at++;
	}
}

enum rc spf_macro_expand(struct spf_work *work, struct slice text, struct slice domain, struct slice *ret)
{
	struct str out = str_make(work->task->arena);

	work->particular = true;
	out.taint = TAINTED;
	for (uint32_t i = 0, len; i < text.len && out.len <= EXPANDED_MAX; i += len) {
		struct macro macro;
		struct slice value;
		enum rc rc;

		len = 1;
		if (text.ptr[i] != '%') {
			str_addc(&out, text.ptr[i]);
			continue;
		}
		len = expand_length(slice_from(text, i), true, &macro);
		if (!len)
			return FAIL;
		if (len == 2) {
			str_addz(&out, text.ptr[i + 1] == '%' ? "%" : text.ptr[i + 1] == '_' ? " " : "%20");
			continue;
		}
		rc = macro_value(work, &macro, domain, &value);
		if (rc != OK)
			return rc;
		if (macro.plain)
			add_escaped(&out, value, macro.escape);
		else
			add_parts(&out, &macro, value);
	}
	if (out.failed)
		return DEFER;
	*ret = str_slice(&out);
	return out.len <= EXPANDED_MAX ? OK : FAIL;
}

bool spf_name_valid(struct slice *name)
{
	uint32_t label = 0;

	if (name->len && name->ptr[name->len - 1] == '.')
		name->len--;
	if (!name->len || name->len > TARGET_MAX)
		return false;
	for (uint32_t i = 0; i <= name->len; i++) {
		unsigned char c = i < name->len ? (unsigned char)name->ptr[i] : '.';
		if (c == '.') {
			if (!label || label > 63)
				return false;
			label = 0;
			continue;
		}
		if (c <= ' ' || c > '~')
			return false;
		label++;
	}
	return true;
}

enum rc spf_target(struct spf_work *work, struct slice spec, struct slice domain, struct slice *ret)
{
	struct slice name = domain;
	enum rc rc;

	if (spec.len && slice_find(spec, '%') < 0) {
		name = slice_tainted(spec);
	} else if (spec.len) {
		rc = spf_macro_expand(work, spec, domain, &name);
		if (rc != OK)
			return rc;
	}
	if (name.len && name.ptr[name.len - 1] == '.')
		name.len--;
	/* Labels go from the left, whole, until the rest fits (section 7.3). */
	while (name.len > TARGET_MAX) {
		ptrdiff_t dot = slice_find(name, '.');
		if (dot < 0)
			return FAIL;
		name = slice_from(name, (size_t)dot + 1);
	}
	if (!spf_name_valid(&name))
		return FAIL;
	*ret = name;
	return OK;
}
