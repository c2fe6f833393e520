/* Records and messages of a server's first flight (RFC 5246, RFC 8446): read, never answered. */
#include "flight.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

#include <stdlib.h>

#define RECORD_HEAD      5u
#define RECORD_CHANGE    20
#define RECORD_ALERT     21
#define RECORD_HANDSHAKE 22
#define RECORD_DATA      23
#define MESSAGE_HEAD     4u
#define MESSAGE_CERTS    11
#define MESSAGE_KEY      12
#define MESSAGE_SIGNED   15
#define MESSAGE_STATUS   22
#define MESSAGE_FINISHED 20
#define STATUS_OCSP      1
#define EXTENSION_STATUS 5
#define TAG_LEN          16u

/* ---- Keeping ------------------------------------------------------------------------------------------------------- */

static uint32_t number(const char *at, unsigned bytes)
{
	uint32_t n = 0;

	while (bytes--)
		n = n << 8 | (uint8_t)*at++;
	return n;
}

static bool keep(struct flight *f, struct slice bytes)
{
	uint32_t room = f->room ? f->room : 4096;
	char *grown;

	if (bytes.len > FLIGHT_MAX - f->len)
		return false;
	while (room < f->len + bytes.len)
		room *= 2;
	if (room != f->room) {
		grown = realloc(f->bytes, room);
		if (!grown)
			return false;
		f->bytes = grown;
		f->room = room;
	}
	memcpy(f->bytes + f->len, bytes.ptr, bytes.len);
	f->len += bytes.len;
	return true;
}

bool flight_add(struct flight *f, struct slice bytes)
{
	if (f->failed || !bytes.len)
		return false;
	if (!keep(f, bytes)) {
		f->failed = true;
		return false;
	}
	while (f->len - f->record >= RECORD_HEAD) {
		uint32_t whole = RECORD_HEAD + number(f->bytes + f->record + 3, 2);

		if (f->len - f->record < whole)
			break;
		f->record += whole;
	}
	return !f->keyed && f->record < f->len && f->bytes[f->record] == RECORD_DATA;
}

void flight_done(struct flight *f)
{
	free(f->bytes);
	explicit_bzero(f, sizeof(*f));
}

/* ---- Decrypting ---------------------------------------------------------------------------------------------------- */

static unsigned key_len(unsigned suite)
{
	return suite == 0x1302 || suite == 0x1303 ? 32 : 16;
}

static bool aes(const struct flight_key *key, const byte *nonce, const byte *head, const byte *in, word32 len,
		byte *out)
{
	word32 tag_len = key->suite == 0x1305 ? 8 : TAG_LEN;
	Aes *cipher = malloc(sizeof(*cipher)); /* half a kilobyte: not a fiber's */
	int rc = -1;

	if (cipher && len >= tag_len && wc_AesInit(cipher, NULL, INVALID_DEVID) == 0) {
		len -= tag_len;
		if (key->suite == 0x1301 || key->suite == 0x1302) {
			if (wc_AesGcmSetKey(cipher, key->key, key_len(key->suite)) == 0)
				rc = wc_AesGcmDecrypt(cipher, out, in, len, nonce, sizeof(key->iv), in + len,
						      tag_len, head, RECORD_HEAD);
		} else if (wc_AesCcmSetKey(cipher, key->key, key_len(key->suite)) == 0) {
			rc = wc_AesCcmDecrypt(cipher, out, in, len, nonce, sizeof(key->iv), in + len, tag_len,
					      head, RECORD_HEAD);
		}
		wc_AesFree(cipher);
	}
	free(cipher);
	return rc == 0;
}

/* The plain text of a record (RFC 8446 section 5.2), in the arena; the type of what is inside. */
static bool open_record(struct arena *arena, const struct flight_key *key, uint64_t sequence,
			struct slice record, struct slice *plain_ret, uint8_t *type_ret)
{
	const byte *head = (const byte *)record.ptr, *in = head + RECORD_HEAD;
	uint32_t len = record.len - RECORD_HEAD, tag_len = key->suite == 0x1305 ? 8 : TAG_LEN;
	char *out;
	byte nonce[12];
	bool fine;

	if (len <= tag_len)
		return false;
	out = arena_bytes(arena, len);
	if (!out)
		return false;
	memcpy(nonce, key->iv, sizeof(nonce));
	for (unsigned i = 0; i < 8; i++)
		nonce[4 + i] ^= (byte)(sequence >> (8 * (7 - i)));
	if (key->suite == 0x1303)
		fine = wc_ChaCha20Poly1305_Decrypt(key->key, nonce, head, RECORD_HEAD, in, len - TAG_LEN,
						   in + len - TAG_LEN, (byte *)out) == 0;
	else
		fine = aes(key, nonce, head, in, len, (byte *)out);
	len -= tag_len;
	while (fine && len && !out[len - 1])
		len--;
	if (!fine || !len)
		return false;
	*type_ret = (uint8_t)out[len - 1];
	*plain_ret = slice_make(out, len - 1, TAINTED);
	return true;
}

/* ---- Messages ------------------------------------------------------------------------------------------------------ */

/* A vector with a length of so many bytes in front. */
static bool take_vector(struct slice *rest, unsigned bytes, struct slice *ret)
{
	uint32_t len;

	if (rest->len < bytes)
		return false;
	len = number(rest->ptr, bytes);
	if (len > rest->len - bytes)
		return false;
	*ret = slice_sub(*rest, bytes, len);
	*rest = slice_from(*rest, bytes + (size_t)len);
	return true;
}

/* CertificateStatus (RFC 6066 section 8). */
static bool read_status(struct slice body, struct flight_shown *shown)
{
	if (!body.len || body.ptr[0] != STATUS_OCSP)
		return false;
	body = slice_from(body, 1);
	return take_vector(&body, 3, &shown->proof) && !body.len;
}

static bool read_extensions(struct slice list, struct flight_shown *shown)
{
	struct slice body;

	while (list.len) {
		uint32_t type = list.len >= 2 ? number(list.ptr, 2) : 0;

		list = slice_from(list, list.len >= 2 ? 2 : list.len);
		if (!take_vector(&list, 2, &body) || (type == EXTENSION_STATUS && !read_status(body, shown)))
			return false;
	}
	return true;
}

static bool read_certs(struct slice body, bool tls13, struct flight_shown *shown)
{
	struct slice context, list, cert, extensions;
	struct flight_shown others = {.proof = SLICE_EMPTY};

	if ((tls13 && !take_vector(&body, 1, &context)) || !take_vector(&body, 3, &list))
		return false;
	while (list.len && shown->cert_count < FLIGHT_CERTS_MAX) {
		if (!take_vector(&list, 3, &cert) || (tls13 && !take_vector(&list, 2, &extensions)))
			return false;
		/* Proofs of authorities may come with theirs; nobody asked for these. */
		if (tls13 && !read_extensions(extensions, shown->cert_count ? &others : shown))
			return false;
		shown->certs[shown->cert_count++] = cert;
	}
	return shown->cert_count > 0;
}

/* The scheme behind the parameters of the key exchange in TLS 1.2: a named curve and a point (RFC 8422 section 5.4), or three numbers
 * (RFC 5246 section 7.4.3). */
static unsigned read_scheme12(struct slice body)
{
	struct slice part;

	if (body.len > 3 && body.ptr[0] == 3) {
		body = slice_from(body, 3);
		if (!take_vector(&body, 1, &part))
			return 0;
	} else {
		for (unsigned i = 0; i < 3; i++)
			if (!take_vector(&body, 2, &part))
				return 0;
	}
	return body.len > 2 ? number(body.ptr, 2) : 0;
}

/* Whole messages off the front of *text, up to the last that matters. true: there is nothing more to wait for. */
static bool read_messages(struct slice *text, bool tls13, struct flight_shown *shown, bool *wrong)
{
	while (text->len >= MESSAGE_HEAD) {
		uint8_t type = (uint8_t)text->ptr[0];
		struct slice rest = slice_from(*text, 1), body;

		if (!take_vector(&rest, 3, &body))
			return false;
		*text = rest;
		if (type == MESSAGE_CERTS)
			*wrong = !read_certs(body, tls13, shown);
		else if (type == MESSAGE_STATUS && !tls13)
			*wrong = !read_status(body, shown);
		else if (type == MESSAGE_KEY && !tls13)
			shown->scheme = read_scheme12(body);
		else if (type == MESSAGE_SIGNED && tls13)
			shown->scheme = body.len > 2 ? number(body.ptr, 2) : 0;
		if (*wrong || type == MESSAGE_FINISHED || (tls13 && type == MESSAGE_SIGNED))
			return true;
	}
	return false;
}

bool flight_read(struct arena *arena, const struct flight *f, struct flight_shown *ret)
{
	struct slice rest = slice_make(f->bytes ? f->bytes : "", f->len, TAINTED), text, plain;
	struct str messages = str_make(arena);
	uint64_t sequence = 0;
	bool wrong = false, tls13 = false;
	uint8_t type;
	size_t read = 0;

	*ret = (struct flight_shown){.proof = SLICE_EMPTY};
	(void)str_reserve(&messages, f->len); /* so that nothing moves any more */
	while (!f->failed && rest.len >= RECORD_HEAD) {
		uint32_t len = number(rest.ptr + 3, 2);
		struct slice record = slice_sub(rest, 0, RECORD_HEAD + (size_t)len);

		if (record.len < RECORD_HEAD + len)
			break;
		rest = slice_from(rest, record.len);
		type = (uint8_t)record.ptr[0];
		plain = slice_from(record, RECORD_HEAD);
		if (type == RECORD_DATA) {
			/* What was in the clear before is another conversation: no message goes across. */
			if (!tls13)
				read = messages.len;
			tls13 = true;
			if (!f->keyed || !open_record(arena, &f->key, sequence++, record, &plain, &type))
				break;
		}
		/* With TLS 1.2 what follows is encrypted; with TLS 1.3 this record says nothing. */
		if (type == RECORD_ALERT || (type == RECORD_CHANGE && ret->cert_count))
			break;
		if (type != RECORD_HANDSHAKE)
			continue;
		str_add(&messages, plain);
		if (messages.failed)
			return false;
		text = slice_from(str_slice(&messages), read);
		if (read_messages(&text, tls13, ret, &wrong))
			break;
		read = messages.len - text.len;
	}
	return !wrong && ret->cert_count > 0;
}
