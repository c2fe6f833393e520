/* dmarc_from: whose message it claims to be. All From: fields and all addresses in them count: that is what a forger hopes is
 * overlooked. */
#include "dmarc.h"

static bool add(struct arena *arena, struct slice domain, struct slice *domains, unsigned *count)
{
	struct err err = err_make(NULL);
	struct slice copy;

	if (domain.len && domain.ptr[domain.len - 1] == '.')
		domain.len--;
	if (!domain.len || domain.ptr[0] == '[')
		return true;
	if (!ascii_only(domain) && domain_to_ascii(arena, domain, &domain, &err) != OK)
		return true;
	copy = arena_copy(arena, domain);
	if (!copy.ptr)
		return false;
	for (uint32_t i = 0; i < copy.len; i++)
		((char *)copy.ptr)[i] = ascii_lower(copy.ptr[i]);
	for (unsigned i = 0; i < *count && i < DMARC_FROM_MAX; i++)
		if (slice_eq(domains[i], copy))
			return true;
	if (*count < DMARC_FROM_MAX)
		domains[*count] = copy;
	++*count;
	return true;
}

/* What is no address by the book may still be shown as one: the domain behind the last "@" counts. */
static bool add_malformed(struct arena *arena, struct slice item, struct slice *domains, unsigned *count)
{
	ptrdiff_t at = slice_rfind(item, '@');
	struct slice domain;
	uint32_t len = 0;

	if (at < 0)
		return true;
	domain = slice_from(item, (size_t)at + 1);
	while (len < domain.len &&
	       (ascii_is_alnum(domain.ptr[len]) || (domain.ptr[len] && strchr("-._", domain.ptr[len])) ||
		(unsigned char)domain.ptr[len] >= 0x80))
		len++;
	return add(arena, slice_sub(domain, 0, len), domains, count);
}

bool dmarc_from(struct arena *arena, const struct message *message, struct slice domains[DMARC_FROM_MAX],
		unsigned *count_ret)
{
	unsigned count = 0;

	for (struct header *h = NULL; (h = header_find(&message->headers, SLICE("from"), h));) {
		struct slice rest = header_body(h);
		unsigned before_field = count;

		while (count <= DMARC_FROM_MAX) {
			struct address_parts parts;
			struct slice before = rest;
			struct err err = err_make(arena);
			enum rc rc = address_next(arena, &rest,
						  ADDRESS_ALLOW_UTF8 | ADDRESS_ALLOW_UNQUALIFIED |
						      ADDRESS_ALLOW_LITERAL | ADDRESS_STRIP_DOT,
						  &parts, &err);
			if (rc == FAIL && !err.text.len)
				break;
			if (rc == OK && !add(arena, parts.domain, domains, &count))
				return false;
			if (rc == FAIL &&
			    !add_malformed(arena,
					   slice_sub(before, 0, before.len - (rest.ptr ? rest.len : 0)),
					   domains, &count))
				return false;
			if (rc != OK && rc != FAIL)
				return false;
		}
		/* Not even a malformed address: a comment that does not end has swallowed them, perhaps. */
		if (count == before_field && !add_malformed(arena, header_body(h), domains, &count))
			return false;
	}
	*count_ret = count <= DMARC_FROM_MAX ? count : 0;
	return true;
}
