/* digest: md5, sha1, sha2, sha3 and hmac, by wolfCrypt. */

#include "digest.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/hmac.h>

#include "items.h"
#include "tree.h"

static enum wc_HashType wolf_type(enum digest_kind kind)
{
	switch (kind) {
	case DIGEST_MD5:
		return WC_HASH_TYPE_MD5;
	case DIGEST_SHA1:
		return WC_HASH_TYPE_SHA;
	case DIGEST_SHA256:
		return WC_HASH_TYPE_SHA256;
	case DIGEST_SHA384:
		return WC_HASH_TYPE_SHA384;
	case DIGEST_SHA512:
		return WC_HASH_TYPE_SHA512;
	case DIGEST_SHA3_224:
		return WC_HASH_TYPE_SHA3_224;
	case DIGEST_SHA3_256:
		return WC_HASH_TYPE_SHA3_256;
	case DIGEST_SHA3_384:
		return WC_HASH_TYPE_SHA3_384;
	case DIGEST_SHA3_512:
		return WC_HASH_TYPE_SHA3_512;
	}
	return WC_HASH_TYPE_NONE;
}

unsigned digest(enum digest_kind kind, struct slice bytes, uint8_t out[DIGEST_SIZE_MAX])
{
	int size = wc_HashGetDigestSize(wolf_type(kind));

	if (size <= 0 || size > DIGEST_SIZE_MAX)
		return 0;
	return wc_Hash(wolf_type(kind), (const byte *)bytes.ptr, bytes.len, out, (word32)size) == 0
		   ? (unsigned)size
		   : 0;
}

/* RFC 2104. */
unsigned digest_hmac(enum digest_kind kind, struct slice key, struct slice bytes,
		     uint8_t out[DIGEST_SIZE_MAX])
{
	Hmac hmac;
	int size = wc_HashGetDigestSize(wolf_type(kind)), failed;

	if (size <= 0 || size > DIGEST_SIZE_MAX || wc_HmacInit(&hmac, NULL, INVALID_DEVID) != 0)
		return 0;
	failed = wc_HmacSetKey(&hmac, (int)wolf_type(kind), (const byte *)key.ptr, key.len) != 0 ||
		 wc_HmacUpdate(&hmac, (const byte *)bytes.ptr, bytes.len) != 0 ||
		 wc_HmacFinal(&hmac, out) != 0;
	wc_HmacFree(&hmac);
	return failed ? 0 : (unsigned)size;
}

static enum rc digest_result(struct scope *sc, const uint8_t *bytes, unsigned size, bool upper,
			     struct slice *ret, struct err *err)
{
	struct str str = str_make(sc->task->arena);

	if (!size)
		return err_set(err, FAIL, "this hash function is not available");
	hex_encode(&str, slice_make((const char *)bytes, size, CLEAN), upper);
	return str_result(&str, ret, err);
}

static enum rc digest_op(struct scope *sc, enum digest_kind kind, struct slice subject, struct slice *ret,
			 struct err *err)
{
	uint8_t out[DIGEST_SIZE_MAX];
	struct slice bytes = subject;
	enum rc rc = certificate_bytes(sc, &bytes, err);
	bool upper = kind != DIGEST_MD5 ||
		     bytes.ptr != subject.ptr; /* MD5 alone is told in lower case, but not a certificate's */

	if (rc != OK)
		return rc;
	return digest_result(sc, out, digest(kind, bytes, out), upper, ret, err);
}

enum rc op_md5(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret, struct err *err)
{
	(void)arg;
	return digest_op(sc, DIGEST_MD5, subject, ret, err);
}

enum rc op_sha1(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret, struct err *err)
{
	(void)arg;
	return digest_op(sc, DIGEST_SHA1, subject, ret, err);
}

enum rc op_sha2(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret, struct err *err)
{
	if (arg.len == 0 || slice_eq(arg, SLICE("256")))
		return digest_op(sc, DIGEST_SHA256, subject, ret, err);
	if (slice_eq(arg, SLICE("384")))
		return digest_op(sc, DIGEST_SHA384, subject, ret, err);
	if (slice_eq(arg, SLICE("512")))
		return digest_op(sc, DIGEST_SHA512, subject, ret, err);
	return err_set(err, FAIL, "unrecognised sha2 variant");
}

enum rc op_sha3(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret, struct err *err)
{
	if (arg.len == 0 || slice_eq(arg, SLICE("256")))
		return digest_op(sc, DIGEST_SHA3_256, subject, ret, err);
	if (slice_eq(arg, SLICE("224")))
		return digest_op(sc, DIGEST_SHA3_224, subject, ret, err);
	if (slice_eq(arg, SLICE("384")))
		return digest_op(sc, DIGEST_SHA3_384, subject, ret, err);
	if (slice_eq(arg, SLICE("512")))
		return digest_op(sc, DIGEST_SHA3_512, subject, ret, err);
	return err_set(err, FAIL, "unrecognised sha3 variant");
}

static enum rc hmac_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	uint8_t out[DIGEST_SIZE_MAX];
	struct slice args[3];
	enum digest_kind kind;
	enum rc rc = OK;

	for (unsigned i = 0; i < 3 && rc == OK; i++)
		rc = expand(sc, call->args[i], &args[i], err);
	if (rc != OK)
		return rc;
	if (slice_eq(args[0], SLICE("md5")))
		kind = DIGEST_MD5;
	else if (slice_eq(args[0], SLICE("sha1")))
		kind = DIGEST_SHA1;
	else
		return err_set(err, FAIL, "hmac algorithm \"%.*s\" is not recognised", SLICE_ARG(args[0]));
	return digest_result(sc, out, digest_hmac(kind, args[1], args[2], out), false, ret, err);
}

const struct expand_item item_hmac = {"hmac", 3, 3, 0, hmac_eval, NULL};
