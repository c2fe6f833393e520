/* Domain names: their form, and their two spellings under IDNA (RFC 5891). */
#include "message/message.h"

#include <idn2.h>

#define DOMAIN_LEN_MAX 253 /* RFC 1035 section 2.3.4, without the final dot */
#define LABEL_LEN_MAX  63

bool domain_valid(struct slice domain, bool allow_utf8)
{
	uint32_t label = 0;

	if (domain.len == 0 || domain.len > DOMAIN_LEN_MAX)
		return false;
	for (uint32_t i = 0; i < domain.len; i++) {
		unsigned char c = (unsigned char)domain.ptr[i];
		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
			continue;
		}
		if (!ascii_is_alnum((char)c) && c != '_' && !(c == '-' && label) &&
		    !(c >= 0x80 && allow_utf8))
			return false;
		if (++label > LABEL_LEN_MAX)
			return false;
	}
	return label > 0 && (!allow_utf8 || utf8_valid(domain));
}

/* libidn2 answers in memory of its own, which is copied and freed at once: the only names that come here are those
 * that really are international. */
static enum rc convert(struct arena *arena, struct slice domain, bool to_ascii, struct slice *ret,
		       struct err *err)
{
	char *text, *converted = NULL;
	int result;

	if (domain.len > 4 * DOMAIN_LEN_MAX || slice_find(domain, 0) >= 0)
		return err_set(err, FAIL, "domain name is too long or malformed");
	text = arena_cstr(arena, domain);
	if (!text)
		return err_memory(err);
	if (to_ascii)
		result = idn2_to_ascii_8z(text, &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	else
		result = idn2_to_unicode_8z8z(text, &converted, 0);
	if (result == IDN2_MALLOC)
		return err_memory(err);
	if (result != IDN2_OK)
		return err_set(err, FAIL, "%s", idn2_strerror(result));
	*ret = arena_copy(arena, slice_of(converted));
	ret->taint = domain.taint;
	idn2_free(converted);
	return ret->ptr ? OK : err_memory(err);
}

enum rc domain_to_ascii(struct arena *arena, struct slice domain, struct slice *ret, struct err *err)
{
	if (ascii_only(domain)) {
		*ret = domain;
		return OK;
	}
	return convert(arena, domain, true, ret, err);
}

enum rc domain_to_utf8(struct arena *arena, struct slice domain, struct slice *ret, struct err *err)
{
	for (uint32_t i = 0; i + 4 <= domain.len; i++)
		if ((i == 0 || domain.ptr[i - 1] == '.') &&
		    slice_starts_nocase(slice_from(domain, i), SLICE("xn--")))
			return convert(arena, domain, false, ret, err);
	*ret = domain;
	return OK;
}
