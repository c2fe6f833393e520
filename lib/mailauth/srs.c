/* srs: stamps, hashes and variables of rewritten senders. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hmac.h>

#include "srs.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

void srs_stamp(uint64_t day, bool upper, char out[2])
{
	unsigned n = (unsigned)(day % SRS_DAYS);

	out[0] = upper ? alphabet[n >> 5] : ascii_lower(alphabet[n >> 5]);
	out[1] = upper ? alphabet[n & 31] : ascii_lower(alphabet[n & 31]);
}

int srs_stamp_read(struct slice text)
{
	int value = 0;

	if (text.len != 2)
		return -1;
	for (unsigned i = 0; i < 2; i++) {
		const char *at = text.ptr[i] ? strchr(alphabet, ascii_upper(text.ptr[i])) : NULL;
		if (!at)
			return -1;
		value = value * 32 + (int)(at - alphabet);
	}
	return value;
}

unsigned srs_hmac(bool sha1, struct slice secret, struct arena *arena, struct slice text, uint8_t out[20])
{
	struct slice lower = arena_copy(arena, text);
	char *bytes = (char *)lower.ptr; /* our own copy */
	Hmac hmac;
	bool failed;

	if (!bytes || wc_HmacInit(&hmac, NULL, INVALID_DEVID) != 0)
		return 0;
	for (uint32_t i = 0; i < lower.len; i++)
		bytes[i] = ascii_lower(bytes[i]);
	failed = wc_HmacSetKey(&hmac, sha1 ? WC_SHA : WC_MD5, (const byte *)secret.ptr, secret.len) != 0 ||
		 wc_HmacUpdate(&hmac, (const byte *)lower.ptr, lower.len) != 0 ||
		 wc_HmacFinal(&hmac, out) != 0;
	wc_HmacFree(&hmac);
	return failed ? 0 : sha1 ? 20 : 16;
}

bool srs_hash_eq(struct slice a, struct slice b, bool nocase)
{
	unsigned differ = a.len != b.len;

	for (uint32_t i = 0; i < a.len && i < b.len; i++)
		differ |= (unsigned char)(nocase ? ascii_lower(a.ptr[i]) : a.ptr[i]) ^
			  (unsigned char)(nocase ? ascii_lower(b.ptr[i]) : b.ptr[i]);
	return !differ;
}

/* ---- Variables ------------------------------------------------------------------------------------------ */

static enum rc get(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	const struct slice *value = (const struct slice *)(const void *)((const char *)sc + variable->arg);

	(void)err;
	*ret = value->ptr ? *value : SLICE_EMPTY;
	return OK;
}

/* Nothing ever set it. */
static enum rc get_status(struct scope *sc, const struct variable *variable, struct slice *ret,
			  struct err *err)
{
	(void)sc;
	(void)variable;
	(void)err;
	*ret = SLICE_EMPTY;
	return OK;
}

static const struct variable rows[] = {
    {"srs_db_address", get, offsetof(struct scope, srs_db_address)},
    {"srs_db_key", get, offsetof(struct scope, srs_db_key)},
    {"srs_orig_address", get, offsetof(struct scope, srs_orig_sender)},
    {"srs_orig_recipient", get, offsetof(struct scope, srs_orig_recipient)},
    {"srs_orig_sender", get, offsetof(struct scope, srs_orig_sender)},
    {"srs_recipient", get, offsetof(struct scope, srs_recipient)},
    {"srs_status", get_status, 0},
};
const struct variable_table srs_variables = {rows, sizeof(rows) / sizeof(*rows)};
