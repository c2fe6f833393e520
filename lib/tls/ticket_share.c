/* ticket_share: ticket keys on their way between nodes. An entry is, in hexadecimal:
 *
 *	version (1 byte, 1)  name (16)  created (8, big-endian)  nonce (12)  key, encrypted (32)  tag (16)
 *
 * AES-256-GCM; version, name and created are authenticated with the key. The wrapping key is made of the nodes' secret with
 * HKDF-SHA256 (RFC 5869). What is not of this form or of this secret teaches us nothing. An entry that somebody has
 * kept and shows again is good for as long as the key in it, two hours. */
#include "tls/tickets.h"
#include "tls/tls.h"

#include "base/codec.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/hmac.h>

#define NONCE_LEN 12
#define TAG_LEN   16
#define VERSION   1

struct wrapped {
	struct {
		uint8_t version;
		uint8_t name[TICKET_NAME_LEN];
		uint8_t created[8];
	} clear;
	uint8_t nonce[NONCE_LEN];
	uint8_t key[32];
	uint8_t tag[TAG_LEN];
};
static_assert(sizeof(struct wrapped) == 85, "layout of an entry");

static bool aes_make(Aes *aes, struct slice secret)
{
	static const byte what[] = "sluice TLS ticket keys";
	byte key[32];
	bool made;

	if (wc_AesInit(aes, NULL, INVALID_DEVID) != 0)
		return false;
	made = wc_HKDF(WC_SHA256, (const byte *)secret.ptr, secret.len, NULL, 0, what, sizeof(what) - 1, key,
		       sizeof(key)) == 0 &&
	       wc_AesGcmSetKey(aes, key, sizeof(key)) == 0;
	explicit_bzero(key, sizeof(key));
	return made;
}

/* Random nonces of 96 bits: a secret would have to wrap some billions of keys before two alike are likely. */
static bool wrap(struct shard *shard, struct arena *arena, Aes *aes, const struct ticket_key *key,
		 struct tls_told_key *ret)
{
	struct wrapped w = {.clear.version = VERSION};
	struct str text = str_make(arena);

	memcpy(w.clear.name, key->name, TICKET_NAME_LEN);
	for (unsigned i = 0; i < 8; i++)
		w.clear.created[i] = (uint8_t)((uint64_t)key->created >> (56 - 8 * i));
	shard_random(shard, w.nonce, NONCE_LEN);
	if (wc_AesGcmEncrypt(aes, w.key, key->key, sizeof(w.key), w.nonce, NONCE_LEN, w.tag, TAG_LEN,
			     (const byte *)&w.clear, sizeof(w.clear)) != 0)
		return false;
	hex_encode(&text, slice_make((const char *)&w, sizeof(w), CLEAN), false);
	if (text.failed)
		return false;
	*ret = (struct tls_told_key){str_slice(&text), key->created};
	return true;
}

static bool unwrap(struct arena *arena, Aes *aes, struct slice text, struct ticket_key *key)
{
	struct str bytes = str_make(arena);
	struct wrapped w;

	if (text.len != 2 * sizeof(w) || !hex_decode(&bytes, text) || bytes.failed || bytes.len != sizeof(w))
		return false;
	memcpy(&w, bytes.ptr, sizeof(w));
	if (w.clear.version != VERSION)
		return false;
	if (wc_AesGcmDecrypt(aes, key->key, w.key, sizeof(w.key), w.nonce, NONCE_LEN, w.tag, TAG_LEN,
			     (const byte *)&w.clear, sizeof(w.clear)) != 0)
		return false;
	memcpy(key->name, w.clear.name, TICKET_NAME_LEN);
	key->created = 0;
	for (unsigned i = 0; i < 8; i++)
		key->created = (int64_t)((uint64_t)key->created << 8 | w.clear.created[i]);
	return true;
}

/* Room for both sides; keys of others do not stay on the stack. */
struct table {
	struct ticket_key theirs[TLS_TICKETS_TOLD_MAX], missing[TICKET_KEYS_MAX];
	unsigned count, missing_count;
};

/* Handshakes have the keys first: when they are being changed just now, nothing is told and nothing learned. */
static enum rc tell(struct shard *shard, struct arena *arena, Aes *aes, struct table *table,
		    struct tls_told *told, struct err *err)
{
	int64_t now_s = (int64_t)(shard_wall(shard) / NS_PER_S);

	if (!tickets_exchange(tickets_of(shard), table->theirs, table->count, now_s, table->missing,
			      &table->missing_count))
		return OK;
	told->learned = table->count;
	told->keys = arena_array(arena, struct tls_told_key, table->missing_count + 1);
	if (!told->keys)
		return err_memory(err);
	for (unsigned i = 0; i < table->missing_count; i++)
		if (!wrap(shard, arena, aes, &table->missing[i], &told->keys[told->count++]))
			return err_memory(err);
	return OK;
}

enum rc tls_tickets_tell(struct shard *shard, struct arena *arena, struct slice secret,
			 const struct slice *entries, unsigned count, struct tls_told *told_ret,
			 struct err *err)
{
	struct tls_told told = {.count = 0};
	struct table table = {.count = 0};
	enum rc rc;
	Aes aes;

	if (!tickets_of(shard) || secret.len < TLS_TICKET_SECRET_MIN)
		return err_set(err, FAIL, "no keys, or no secret");
	if (!aes_make(&aes, secret)) {
		wc_AesFree(&aes);
		return err_memory(err);
	}
	for (unsigned i = 0; i < count && i < TLS_TICKETS_TOLD_MAX; i++) {
		if (unwrap(arena, &aes, entries[i], &table.theirs[table.count]))
			table.count++;
		else
			told.unreadable++;
	}
	rc = tell(shard, arena, &aes, &table, &told, err);
	wc_AesFree(&aes);
	explicit_bzero(&aes, sizeof(aes));
	explicit_bzero(&table, sizeof(table));
	if (rc == OK)
		*told_ret = told;
	return rc;
}
