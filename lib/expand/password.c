/* password: the condition crypteq. Hashing a password may take long on purpose, so crypt() runs on a helper
 * thread. */

#include <crypt.h>
#include <stdlib.h>

#include "digest.h"
#include "items.h"
#include "tree.h"

/* Longer ones are no passwords: crypt() itself takes no more. */
#define PASSWORD_SIZE_MAX 512

/* The work of one crypt(): from the heap, since the thread may outlive the caller. */
struct crypt_job {
	char password[PASSWORD_SIZE_MAX + 1];
	char stored[PASSWORD_SIZE_MAX + 1];
	bool crypt16, equal;
	struct crypt_data data;
};

/* In constant time for its length. */
static bool same(const char *a, const char *b)
{
	size_t len = strlen(a);
	unsigned char diff = 0;

	if (len != strlen(b))
		return false;
	for (size_t i = 0; i < len; i++)
		diff |= (unsigned char)(a[i] ^ b[i]);
	return diff == 0;
}

static void crypt_run(void *arg)
{
	struct crypt_job *job = arg;
	char first[CRYPT_OUTPUT_SIZE], head[9], *out;

	if (!job->crypt16 || strlen(job->password) <= 8) {
		out = crypt_r(job->password, job->stored, &job->data);
		job->equal = out && out[0] != '*' && same(out, job->stored);
		return;
	}
	/* crypt16: two DES hashes, of the first and the second eight bytes, under the same salt. */
	memcpy(head, job->password, 8);
	head[8] = 0;
	out = crypt_r(head, job->stored, &job->data);
	if (!out || out[0] == '*')
		return;
	memcpy(first, out, strlen(out) + 1);
	memcpy(head, job->password + 8, strlen(job->password + 8) < 8 ? strlen(job->password + 8) + 1 : 8);
	out = crypt_r(head, job->stored, &job->data);
	if (out && strlen(out) > 2 && strlen(first) + strlen(out + 2) < sizeof(first)) {
		memcpy(first + strlen(first), out + 2, strlen(out + 2) + 1);
		job->equal = same(first, job->stored);
	}
}

static void crypt_free(void *arg)
{
	explicit_bzero(arg, sizeof(struct crypt_job));
	free(arg);
}

static enum rc crypt_equal(struct scope *sc, struct slice password, struct slice stored, bool crypt16,
			   bool *ret, struct err *err)
{
	struct crypt_job *job;
	enum rc rc = shard_needed(sc, "crypteq", err);

	if (rc != OK)
		return rc;

	*ret = false;
	if (password.len > PASSWORD_SIZE_MAX || stored.len > PASSWORD_SIZE_MAX ||
	    slice_find(password, 0) >= 0)
		return OK;
	/* Of the size of a page stack and needed by another thread: so it is the heap's. */
	job = calloc(1, sizeof(*job));
	if (!job)
		return err_memory(err);
	memcpy(job->password, password.ptr, password.len);
	memcpy(job->stored, stored.ptr, stored.len);
	job->crypt16 = crypt16;
	rc = offload_call(sc->task, crypt_run, job, crypt_free, err);
	if (rc != OK)
		return rc;
	*ret = job->equal;
	crypt_free(job);
	return OK;
}

static bool digest_equal(struct scope *sc, enum digest_kind kind, uint32_t base64_len, struct slice password,
			 struct slice stored)
{
	struct str text = str_make(sc->task->arena);
	uint8_t out[DIGEST_SIZE_MAX];
	unsigned size = digest(kind, password, out);
	struct slice bytes = slice_make((const char *)out, size, CLEAN);

	if (!size)
		return false;
	if (stored.len == base64_len) {
		base64_encode(&text, bytes);
		return slice_eq(str_slice(&text), stored);
	}
	if (stored.len != 2 * size)
		return false;
	hex_encode(&text, bytes, false);
	return slice_eq_nocase(str_slice(&text), stored);
}

enum rc crypteq_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	struct slice password, stored, rest;
	enum rc rc = expand(sc, call->args[0], &password, err);

	if (rc == OK)
		rc = expand(sc, call->args[1], &stored, err);
	if (rc != OK)
		return rc;
	if (slice_starts_nocase(stored, SLICE("{md5}"))) {
		*ret = digest_equal(sc, DIGEST_MD5, 24, password, slice_from(stored, 5));
		return OK;
	}
	if (slice_starts_nocase(stored, SLICE("{sha1}"))) {
		*ret = digest_equal(sc, DIGEST_SHA1, 28, password, slice_from(stored, 6));
		return OK;
	}
	rest = stored;
	if (slice_starts_nocase(stored, SLICE("{crypt16}")))
		return crypt_equal(sc, password, slice_from(stored, 9), true, ret, err);
	if (slice_starts_nocase(stored, SLICE("{crypt}")))
		rest = slice_from(stored, 7);
	else if (slice_starts(stored, SLICE("{")))
		return err_set(err, FAIL, "unknown encryption mechanism in \"%.*s\"", SLICE_ARG(stored));
	return crypt_equal(sc, password, rest, false, ret, err);
}
