/* private_key: keys that sign. What a file holds is kept for each shard; its time is looked at once a second at most, and a file
 * that has changed is read again. RSA is worked out by a helper thread: it takes milliseconds, which no shard has. */
#include "kept.h"
#include "sign.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/rsa.h>

#define KEY_TEXT_MAX  (64u * 1024)
#define KEY_FILES_MAX 4096 /* kept by a shard */
#define KEY_FRESH_NS  NS_PER_S

/* ---- Texts ------------------------------------------------------------------------------------------------------ */

/* The base64 between the lines of dashes; text without them is all base64. */
static bool pem_body(struct slice text, struct slice *body_ret)
{
	ptrdiff_t begin = slice_search(text, SLICE("-----BEGIN")), end;

	*body_ret = text;
	if (begin < 0)
		return true;
	text = slice_from(text, (size_t)begin + 10);
	begin = slice_search(text, SLICE("-----"));
	if (begin < 0)
		return false;
	text = slice_from(text, (size_t)begin + 5);
	end = slice_search(text, SLICE("-----END"));
	if (end < 0)
		return false;
	*body_ret = slice_sub(text, 0, (size_t)end);
	return slice_find(*body_ret, ':') < 0; /* encrypted ones have header lines */
}

static enum rc take_ed25519(struct arena *arena, const byte *seed, struct mailauth_key *key, struct err *err)
{
	char *bytes = arena_bytes(arena, ED25519_KEY_SIZE + ED25519_PUB_KEY_SIZE);
	ed25519_key ed;
	int made;

	if (!bytes)
		return err_memory(err);
	memcpy(bytes, seed, ED25519_KEY_SIZE);
	if (wc_ed25519_init(&ed) != 0)
		return err_memory(err);
	made = wc_ed25519_import_private_only(seed, ED25519_KEY_SIZE, &ed);
	if (made == 0)
		made = wc_ed25519_make_public(&ed, (byte *)bytes + ED25519_KEY_SIZE, ED25519_PUB_KEY_SIZE);
	wc_ed25519_free(&ed);
	if (made != 0)
		return err_set(err, FAIL, "the Ed25519 key is not one");
	key->type = KEY_ED25519;
	key->bits = 256;
	key->bytes = slice_make(bytes, ED25519_KEY_SIZE + ED25519_PUB_KEY_SIZE, CLEAN);
	return OK;
}

static bool is_rsa(struct slice der, unsigned *bits_ret)
{
	RsaKey rsa;
	word32 at = 0;
	bool good;

	if (wc_InitRsaKey(&rsa, NULL) != 0)
		return false;
	good = wc_RsaPrivateKeyDecode((const byte *)der.ptr, &at, &rsa, der.len) == 0;
	if (good)
		*bits_ret = (unsigned)wc_RsaEncryptSize(&rsa) * 8;
	wc_FreeRsaKey(&rsa);
	return good;
}

static bool is_ed25519(struct slice der, byte *seed)
{
	ed25519_key ed;
	word32 at = 0, size = ED25519_KEY_SIZE;
	bool good;

	if (wc_ed25519_init(&ed) != 0)
		return false;
	good = wc_Ed25519PrivateKeyDecode((const byte *)der.ptr, &at, &ed, der.len) == 0 &&
	       wc_ed25519_export_private_only(&ed, seed, &size) == 0;
	wc_ed25519_free(&ed);
	return good;
}

enum rc mailauth_key_parse(struct arena *arena, struct slice text, const struct mailauth_key **key_ret,
			   struct err *err)
{
	struct mailauth_key *key = arena_make(arena, struct mailauth_key);
	struct slice body, der;
	byte seed[ED25519_KEY_SIZE];
	enum rc rc = OK;

	if (!key)
		return err_memory(err);
	if (text.len > KEY_TEXT_MAX || !pem_body(text, &body))
		return err_set(err, FAIL, "the private key is no PEM text without a pass phrase");
	if (!tag_base64(arena, body, KEY_TEXT_MAX, &der))
		return der.ptr ? err_set(err, FAIL, "the private key is no base64") : err_memory(err);
	if (der.len == ED25519_KEY_SIZE) {
		rc = take_ed25519(arena, (const byte *)der.ptr, key, err);
	} else if (is_rsa(der, &key->bits)) {
		key->type = KEY_RSA;
		key->bytes = der;
		/* RFC 8301 section 3.2: signers MUST use at least 1024 bits. */
		if (key->bits < 1024)
			rc = err_set(err, FAIL, "the RSA key has %u bits: 1024 are the least", key->bits);
	} else if (is_ed25519(der, seed)) {
		rc = take_ed25519(arena, seed, key, err);
		explicit_bzero(seed, sizeof(seed));
	} else {
		rc = err_set(err, FAIL, "the private key is neither RSA nor Ed25519");
	}
	if (rc == OK)
		*key_ret = key;
	return rc;
}

/* ---- Files --------------------------------------------------------------------------------------------------------- */

struct key_file {
	struct slice path;
	struct arena arena; /* the text */
	struct slice text;
	struct timespec changed;
	off_t size;
	ino_t inode;
	uint64_t looked;
};
struct key_shard {
	struct map files; /* by path */
};
static struct shard_slot slot;

static struct key_shard *key_shard(struct shard *shard)
{
	struct key_shard *state = shard_slot(shard, &slot);

	if (!state && (state = calloc(1, sizeof(*state)))) { /* once per shard */
		map_init(&state->files, NULL, false);
		shard_slot_set(shard, &slot, state);
	}
	return state;
}

static void key_file_free(struct key_file *file)
{
	if (file->text.len)
		explicit_bzero((void *)(uintptr_t)file->text.ptr, file->text.len);
	arena_done(&file->arena);
	free((void *)(uintptr_t)file->path.ptr);
	free(file);
}

static void forget_all(struct key_shard *state)
{
	struct map_entry *entry;

	for (uint32_t at = 0; (entry = map_next(&state->files, &at));)
		key_file_free(entry->value);
	map_done(&state->files);
	map_init(&state->files, NULL, false);
}

void mailauth_done(struct shard *shard)
{
	struct key_shard *state = shard_slot(shard, &slot);

	if (state) {
		forget_all(state);
		map_done(&state->files);
	}
	free(state);
	shard_slot_set(shard, &slot, NULL);
	kept_done(shard);
}

static bool same_file(const struct key_file *file, const struct stat *st)
{
	return file->inode == st->st_ino && file->size == st->st_size &&
	       file->changed.tv_sec == st->st_mtim.tv_sec && file->changed.tv_nsec == st->st_mtim.tv_nsec;
}

/* Remembers what was read. Without memory nothing is remembered, and the file is read again the next time. */
static void remember(struct key_shard *state, struct slice path, struct slice text, const struct stat *st,
		     uint64_t now)
{
	struct key_file *file = map_remove(&state->files, path);

	if (file)
		key_file_free(file);
	if (state->files.count >= KEY_FILES_MAX)
		forget_all(state);
	/* Lives as long as the shard uses the key: once per key and change. */
	file = calloc(1, sizeof(*file));
	if (!file)
		return;
	arena_init_small(&file->arena, 0);
	file->text = arena_copy(&file->arena, text);
	file->path = slice_make(strndup(path.ptr, path.len), path.len, CLEAN);
	file->changed = st->st_mtim;
	file->size = st->st_size;
	file->inode = st->st_ino;
	file->looked = now;
	if (!file->text.ptr || !file->path.ptr || !map_set(&state->files, file->path, file))
		key_file_free(file);
}

static enum rc file_text(struct task *task, struct slice path, struct slice *text_ret, struct err *err)
{
	struct key_shard *state = key_shard(task->shard);
	struct key_file *file;
	uint64_t now = shard_now(task->shard);
	char *name = arena_cstr(task->arena, path);
	struct stat st;
	enum rc rc;

	if (!state || !name)
		return err_memory(err);
	if (slice_find(path, 0) >= 0)
		return err_set(err, FAIL, "a file name with a NUL");
	file = map_get(&state->files, path);
	if (file && now - file->looked < KEY_FRESH_NS) {
		*text_ret = arena_copy(task->arena, file->text);
		return text_ret->ptr ? OK : err_memory(err);
	}
	rc = file_stat(task, name, true, &st, err);
	if (rc != OK)
		return rc;
	file = map_get(&state->files, path); /* the fiber has been parked */
	if (file && same_file(file, &st)) {
		file->looked = now;
		*text_ret = arena_copy(task->arena, file->text);
		return text_ret->ptr ? OK : err_memory(err);
	}
	rc = file_slurp(task, name, KEY_TEXT_MAX, text_ret, err);
	if (rc == OK)
		remember(state, path, *text_ret, &st, now);
	return rc;
}

/* 32 bytes in base64: an Ed25519 key, of which one in 64 begins with a slash. */
static bool looks_like_seed(struct slice value)
{
	if (value.len != 44 || value.ptr[43] != '=')
		return false;
	for (unsigned i = 0; i < 43; i++)
		if (!ascii_is_alnum(value.ptr[i]) && value.ptr[i] != '/' && value.ptr[i] != '+')
			return false;
	return true;
}

/* value_ret, which has the name, gets the text. FAIL, too, where a stranger chose the name. */
static enum rc named_text(struct task *task, struct slice path, struct slice *value_ret, struct err *err)
{
	if (path.taint != CLEAN)
		return err_set(err, FAIL, "tainted file name \"%.*s\" for a private key", SLICE_ARG(path));
	return file_text(task, path, value_ret, err);
}

enum rc mailauth_key_get(struct task *task, struct slice value, const struct mailauth_key **key_ret,
			 struct err *err)
{
	struct slice path;
	enum rc rc;

	value = path = slice_trim(value);
	if (!value.len || value.ptr[0] != '/')
		return mailauth_key_parse(task->arena, value, key_ret, err);
	rc = named_text(task, path, &value, err);
	/* Nothing but the name of a file that is there is the name of a file. */
	if (rc == FAIL && looks_like_seed(path) &&
	    (path.taint != CLEAN || err->os == ENOENT || err->os == ENOTDIR))
		return mailauth_key_parse(task->arena, path, key_ret, err);
	if (rc != OK)
		return rc;
	rc = mailauth_key_parse(task->arena, value, key_ret, err);
	if (rc == FAIL)
		err_prefix(err, "file \"%.*s\"", SLICE_ARG(path));
	return rc;
}

/* ---- Signatures -------------------------------------------------------------------------------------------------------- */

/* A helper thread's work; in memory of its own, since the fiber may be gone before the thread is done. */
struct rsa_job {
	byte der[8192];
	byte encoded[HASH_SIZE_MAX + 64];
	byte signature[DKIM_SIGNATURE_MAX];
	word32 der_len, encoded_len;
	int len; /* of the signature; negative: wolfCrypt's error */
};

static void rsa_work(void *arg)
{
	struct rsa_job *job = arg;
	word32 at = 0;
	RsaKey rsa;
	WC_RNG rng;

	job->len = -1;
	if (wc_InitRng(&rng) != 0)
		return;
	if (wc_InitRsaKey(&rsa, NULL) == 0) {
		if (wc_RsaPrivateKeyDecode(job->der, &at, &rsa, job->der_len) == 0 &&
		    wc_RsaSetRNG(&rsa, &rng) == 0)
			job->len = wc_RsaSSL_Sign(job->encoded, job->encoded_len, job->signature,
						  sizeof(job->signature), &rsa, &rng);
		wc_FreeRsaKey(&rsa);
	}
	wc_FreeRng(&rng);
}

static void rsa_free(void *arg)
{
	explicit_bzero(arg, sizeof(struct rsa_job));
	free(arg);
}

static enum rc rsa_sign(struct task *task, const struct mailauth_key *key, enum hash_kind hash,
			const uint8_t *digest, struct slice *ret, struct err *err)
{
	struct rsa_job *job;
	enum rc rc;

	if (key->bytes.len > sizeof(job->der))
		return err_set(err, FAIL, "the RSA key is too long");
	job = calloc(1, sizeof(*job));
	if (!job)
		return err_memory(err);
	memcpy(job->der, key->bytes.ptr, key->bytes.len);
	job->der_len = key->bytes.len;
	job->encoded_len = wc_EncodeSignature(
	    job->encoded, digest, hash_size(hash),
	    wc_HashGetOID(hash == HASH_SHA512 ? WC_HASH_TYPE_SHA512 : WC_HASH_TYPE_SHA256));
	rc = offload_call(task, rsa_work, job, rsa_free, err);
	if (rc != OK)
		return rc;
	if (job->len > 0) {
		*ret = arena_copy(task->arena,
				  slice_make((const char *)job->signature, (size_t)job->len, CLEAN));
		rc = ret->ptr ? OK : err_memory(err);
	} else {
		rc = err_set(err, FAIL, "the RSA key cannot sign (wolfCrypt: %d)", job->len);
	}
	rsa_free(job);
	return rc;
}

static enum rc ed25519_sign(struct task *task, const struct mailauth_key *key, const uint8_t *digest,
			    struct slice *ret, struct err *err)
{
	const byte *bytes = (const byte *)key->bytes.ptr;
	char *signature = arena_bytes(task->arena, ED25519_SIG_SIZE);
	word32 size = ED25519_SIG_SIZE;
	ed25519_key ed;
	int rc;

	if (!signature || wc_ed25519_init(&ed) != 0)
		return err_memory(err);
	rc = wc_ed25519_import_private_key(bytes, ED25519_KEY_SIZE, bytes + ED25519_KEY_SIZE,
					   ED25519_PUB_KEY_SIZE, &ed);
	if (rc == 0)
		rc = wc_ed25519_sign_msg(digest, WC_SHA256_DIGEST_SIZE, (byte *)signature, &size, &ed);
	wc_ed25519_free(&ed);
	if (rc != 0)
		return err_set(err, FAIL, "the Ed25519 key cannot sign (wolfCrypt: %d)", rc);
	*ret = slice_make(signature, size, CLEAN);
	return OK;
}

enum rc mailauth_key_sign(struct task *task, const struct mailauth_key *key, enum hash_kind hash,
			  const uint8_t *digest, struct slice *ret, struct err *err)
{
	if (key->type == KEY_RSA)
		return rsa_sign(task, key, hash, digest, ret, err);
	if (hash != HASH_SHA256)
		return err_set(err, FAIL, "Ed25519 signs sha256 only");
	return ed25519_sign(task, key, digest, ret, err);
}
