/* Names in certificates and the hosts that are meant. */
#include "names.h"

#include <idn2.h>

/* A name that holds anything but letters, digits, hyphens, underscores and dots is nobody's: a NUL or a space in it is an attempt. */
static bool plain_name(struct slice name)
{
	for (uint32_t i = 0; i < name.len; i++)
		if (!ascii_is_alnum(name.ptr[i]) && name.ptr[i] != '-' && name.ptr[i] != '.' &&
		    name.ptr[i] != '_')
			return false;
	return name.len > 0 && name.ptr[0] != '.' && slice_search(name, SLICE("..")) < 0;
}

static struct slice without_final_dot(struct slice name)
{
	return name.len > 1 && name.ptr[name.len - 1] == '.' ? slice_sub(name, 0, name.len - 1) : name;
}

bool names_match(struct slice presented, struct slice host)
{
	ptrdiff_t dot;

	presented = without_final_dot(presented);
	if (!plain_name(host))
		return false;
	if (!slice_starts(presented, SLICE("*.")))
		return plain_name(presented) && slice_eq_nocase(presented, host);
	presented = slice_from(presented, 1); /* ".example.org" */
	dot = slice_find(host, '.');
	/* Three labels at least: "*.org" would speak for everybody. */
	return dot > 0 && plain_name(slice_from(presented, 1)) &&
	       slice_find(slice_from(presented, 1), '.') > 0 &&
	       slice_eq_nocase(slice_from(host, (size_t)dot), presented);
}

static enum rc to_a_labels(struct arena *arena, struct slice host, struct slice *ret)
{
	char *text, *ascii = NULL;

	*ret = without_final_dot(host);
	if (ascii_only(*ret))
		return OK;
	if (slice_find(*ret, '\0') >= 0)
		return FAIL;
	text = arena_cstr(arena, *ret);
	if (!text)
		return DEFER;
	if (idn2_to_ascii_8z(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return FAIL;
	*ret = arena_copy(arena, slice_of(ascii));
	idn2_free(ascii);
	return ret->ptr ? OK : DEFER;
}

/* The bytes of an iPAddress name are an address in network order (RFC 5280 section 4.2.1.6). */
static bool same_address(struct slice bytes, const struct ip_addr *ip)
{
	return bytes.len == (ip->family == 4 ? 4 : 16) && memcmp(bytes.ptr, ip->bytes, bytes.len) == 0;
}

enum rc names_match_host(struct arena *arena, const struct x509 *cert, struct slice host)
{
	struct slice name, names, rest, common;
	struct der_item item;
	struct ip_addr ip;
	bool is_address = ip_parse(host, &ip), has_hosts = false;
	enum rc rc = to_a_labels(arena, host, &name);

	if (rc != OK)
		return rc;
	if (x509_subject_alt_names(cert, &names)) {
		for (rest = names; der_next(&rest, &item);) {
			if (item.tag == DER_CONTEXT(7) && is_address && same_address(item.body, &ip))
				return OK;
			if (item.tag == DER_CONTEXT(2) && !is_address && names_match(item.body, name))
				return OK;
			/* dNSName, URI and iPAddress are hosts' names; a mail address says nothing of them. */
			has_hosts |= item.tag == DER_CONTEXT(2) || item.tag == DER_CONTEXT(6) ||
				     item.tag == DER_CONTEXT(7);
		}
		if (has_hosts)
			return FAIL;
	}
	if (is_address || !x509_common_name(arena, cert, &common))
		return FAIL;
	return names_match(common, name) ? OK : FAIL;
}
