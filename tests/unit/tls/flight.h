/* Flights of servers for tests and fuzzers: messages in records, in the clear or sealed as TLS 1.3 does it. */
#ifndef TEST_TLS_FLIGHT_H
#define TEST_TLS_FLIGHT_H

#include "tls/flight.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

static inline void put_number(struct str *str, uint32_t number, unsigned bytes)
{
	while (bytes--)
		str_addc(str, (char)(number >> (8 * bytes)));
}

/* A vector of what is in it, with a length of so many bytes. */
static inline void put_vector(struct str *str, unsigned bytes, struct slice body)
{
	put_number(str, body.len, bytes);
	str_add(str, body);
}

static inline void put_record(struct str *str, unsigned type, struct slice body)
{
	put_number(str, type, 1);
	put_number(str, 0x0303, 2);
	put_vector(str, 2, body);
}

/* RFC 8446 section 5.2, with some padding. */
static inline void put_sealed(struct str *str, const struct flight_key *key, uint64_t sequence, unsigned type,
			      struct slice body, unsigned padding)
{
	unsigned tag_len = key->suite == 0x1305 ? 8 : 16, key_len = key->suite == 0x1302 ? 32 : 16;
	struct str plain = str_make(str->arena), head = str_make(str->arena);
	byte nonce[12], *out;
	Aes aes;

	str_add(&plain, body);
	str_addc(&plain, (char)type);
	while (padding--)
		str_addc(&plain, 0);
	put_number(&head, 23, 1);
	put_number(&head, 0x0303, 2);
	put_number(&head, plain.len + tag_len, 2);
	memcpy(nonce, key->iv, sizeof(nonce));
	for (unsigned i = 0; i < 8; i++)
		nonce[11 - i] ^= (byte)(sequence >> (8 * i));
	out = (byte *)arena_bytes(str->arena, plain.len + 16ul);
	if (!out)
		return;
	if (key->suite == 0x1303) {
		(void)wc_ChaCha20Poly1305_Encrypt(key->key, nonce, (byte *)head.ptr, head.len,
						  (byte *)plain.ptr, plain.len, out, out + plain.len);
	} else {
		(void)wc_AesInit(&aes, NULL, INVALID_DEVID);
		if (key->suite < 0x1303) {
			(void)wc_AesGcmSetKey(&aes, key->key, key_len);
			(void)wc_AesGcmEncrypt(&aes, out, (byte *)plain.ptr, plain.len, nonce, sizeof(nonce),
					       out + plain.len, tag_len, (byte *)head.ptr, head.len);
		} else {
			(void)wc_AesCcmSetKey(&aes, key->key, key_len);
			(void)wc_AesCcmEncrypt(&aes, out, (byte *)plain.ptr, plain.len, nonce, sizeof(nonce),
					       out + plain.len, tag_len, (byte *)head.ptr, head.len);
		}
		wc_AesFree(&aes);
	}
	str_add(str, str_slice(&head));
	str_add(str, slice_make((char *)out, plain.len + (size_t)tag_len, CLEAN));
}

#endif
