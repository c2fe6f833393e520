/* Ticket keys and the tickets themselves.
 *
 * The set of keys is guarded by a mutex. A shard has a copy, and looks at the set's number (an atomic, raised by whoever changes
 * the set, under the mutex) before it uses it: the mutex is taken once an hour. A helper thread rotates the keys.
 *
 * The LMDB environment has one database, "name" -> struct stored. LMDB never writes to a page in place, so that a key that was
 * deleted stays readable in a free page for a while; a few commits more after each deletion make LMDB use those pages again. */
#include "tickets.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <time.h>

#include <linux/magic.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>

#define GCM_IV_LEN   12
#define GCM_TAG_LEN  16
#define MAP_SIZE     (1u << 20)
#define SCRUB_ROUNDS 4
#define LOOK_EVERY_S 30 /* the helper's pause */

struct stored {           /* little-endian, as LMDB itself: the host's own */
	uint32_t version; /* 1 */
	uint32_t reserved;
	int64_t created;
	uint8_t key[32];
};
static_assert(sizeof(struct stored) == 48, "layout of the database");

struct tls_tickets {
	pthread_mutex_t lock;
	struct ticket_key keys[TICKET_KEYS_MAX]; /* newest first */
	unsigned count;
	_Atomic uint64_t generation;
	MDB_env *env; /* NULL: none */
	MDB_dbi dbi;
	int64_t looked; /* when the database was last read because of a name that nobody knew */
	pthread_t helper;
	pthread_cond_t wake;
	bool helper_runs, stop;
};

/* A shard's copy. */
struct shard_keys {
	struct tls_tickets *tickets;
	uint64_t generation;
	struct ticket_key keys[TICKET_KEYS_MAX];
	unsigned count;
};

/* ---- The set ------------------------------------------------------------------------------------------------------- */

static bool key_is_alive(const struct ticket_key *key, int64_t now_s)
{
	/* A clock that was set back must not make keys eternal. */
	return key->created > now_s - TICKET_LIFE_S && key->created <= now_s + TICKET_KEY_S;
}

/* Under the lock. The oldest gives way when there are too many. */
static void add_key(struct tls_tickets *t, const struct ticket_key *key)
{
	unsigned at = 0;

	for (unsigned i = 0; i < t->count; i++)
		if (memcmp(t->keys[i].name, key->name, TICKET_NAME_LEN) == 0)
			return;
	while (at < t->count && t->keys[at].created > key->created)
		at++;
	if (at == TICKET_KEYS_MAX)
		return;
	if (t->count == TICKET_KEYS_MAX)
		t->count--;
	memmove(t->keys + at + 1, t->keys + at, (t->count - at) * sizeof(*key));
	t->keys[at] = *key;
	t->count++;
	t->generation++;
}

static void forget_old(struct tls_tickets *t, int64_t now_s)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < t->count; i++)
		if (key_is_alive(&t->keys[i], now_s))
			t->keys[kept++] = t->keys[i];
	if (kept < t->count) {
		explicit_bzero(t->keys + kept, (t->count - kept) * sizeof(*t->keys));
		t->count = kept;
		t->generation++;
	}
}

static bool key_make(struct ticket_key *key, int64_t now_s)
{
	uint8_t bytes[TICKET_NAME_LEN + sizeof(key->key)];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return false;
	memcpy(key->name, bytes, TICKET_NAME_LEN);
	memcpy(key->key, bytes + TICKET_NAME_LEN, sizeof(key->key));
	key->created = now_s;
	explicit_bzero(bytes, sizeof(bytes));
	return true;
}

static bool newest_is_fresh(const struct tls_tickets *t, int64_t now_s)
{
	return t->count > 0 && t->keys[0].created > now_s - TICKET_KEY_S;
}

/* ---- The database ---------------------------------------------------------------------------------------------------- */

static void read_entry(struct tls_tickets *t, const MDB_val *name, const MDB_val *value, int64_t now_s)
{
	struct stored stored;
	struct ticket_key key;

	if (name->mv_size != TICKET_NAME_LEN || value->mv_size != sizeof(stored))
		return;
	memcpy(&stored, value->mv_data, sizeof(stored));
	if (stored.version != 1)
		return;
	memcpy(key.name, name->mv_data, TICKET_NAME_LEN);
	memcpy(key.key, stored.key, sizeof(key.key));
	key.created = stored.created;
	if (key_is_alive(&key, now_s))
		add_key(t, &key);
	explicit_bzero(&stored, sizeof(stored));
	explicit_bzero(&key, sizeof(key));
}

/* In a transaction of either kind; drop: those that have had their time are deleted. true: there were some. */
static bool read_all(struct tls_tickets *t, MDB_txn *txn, int64_t now_s, bool drop)
{
	MDB_cursor *cursor;
	MDB_val name, value;
	bool dropped = false;

	if (mdb_cursor_open(txn, t->dbi, &cursor) != 0)
		return false;
	while (mdb_cursor_get(cursor, &name, &value, MDB_NEXT) == 0) {
		int64_t created;

		read_entry(t, &name, &value, now_s);
		if (!drop || name.mv_size != TICKET_NAME_LEN)
			continue;
		memcpy(&created, (char *)value.mv_data + offsetof(struct stored, created), sizeof(created));
		if (created <= now_s - TICKET_LIFE_S && mdb_cursor_del(cursor, 0) == 0)
			dropped = true;
	}
	mdb_cursor_close(cursor);
	return dropped;
}

static int store(MDB_txn *txn, MDB_dbi dbi, const struct ticket_key *key)
{
	struct stored stored = {.version = 1, .created = key->created};
	MDB_val name = {TICKET_NAME_LEN, (void *)(uintptr_t)key->name}, value = {sizeof(stored), &stored};
	int failed;

	memcpy(stored.key, key->key, sizeof(stored.key));
	failed = mdb_put(txn, dbi, &name, &value, 0);
	explicit_bzero(&stored, sizeof(stored));
	return failed;
}

static void scrub(struct tls_tickets *t)
{
	for (uint32_t i = 0; i < SCRUB_ROUNDS; i++) {
		MDB_val name = {5, (void *)(uintptr_t) "scrub"}, value = {sizeof(i), &i};
		MDB_txn *txn;

		if (mdb_txn_begin(t->env, NULL, 0, &txn) != 0)
			return;
		if (mdb_put(txn, t->dbi, &name, &value, 0) != 0)
			mdb_txn_abort(txn);
		else
			(void)mdb_txn_commit(txn);
	}
}

/* Under LMDB's lock, so that of all processes one makes the next key; the others find it. */
static enum rc rotate_stored(struct tls_tickets *t, int64_t now_s, struct err *err)
{
	struct ticket_key key;
	MDB_txn *txn;
	bool dropped;
	int failed = mdb_txn_begin(t->env, NULL, 0, &txn);

	if (failed)
		return err_set(err, DEFER, "ticket keys: %s", mdb_strerror(failed));
	dropped = read_all(t, txn, now_s, true);
	if (!newest_is_fresh(t, now_s) && key_make(&key, now_s)) {
		failed = store(txn, t->dbi, &key);
		if (!failed)
			add_key(t, &key);
		explicit_bzero(&key, sizeof(key));
	}
	if (failed)
		mdb_txn_abort(txn);
	else
		failed = mdb_txn_commit(txn);
	if (failed)
		return err_set(err, DEFER, "ticket keys: %s", mdb_strerror(failed));
	if (dropped)
		scrub(t);
	return OK;
}

static void read_stored(struct tls_tickets *t, int64_t now_s)
{
	MDB_txn *txn;

	if (mdb_txn_begin(t->env, NULL, MDB_RDONLY, &txn) != 0)
		return;
	(void)read_all(t, txn, now_s, false);
	mdb_txn_abort(txn);
}

enum rc tickets_rotate(struct tls_tickets *t, int64_t now_s, struct err *err)
{
	struct ticket_key key;
	enum rc rc = OK;

	pthread_mutex_lock(&t->lock);
	forget_old(t, now_s);
	if (t->env)
		rc = rotate_stored(t, now_s, err);
	/* With the database out of order, at least this process goes on. */
	if (!newest_is_fresh(t, now_s) && key_make(&key, now_s)) {
		add_key(t, &key);
		explicit_bzero(&key, sizeof(key));
	}
	pthread_mutex_unlock(&t->lock);
	return rc;
}

/* ---- Opening ------------------------------------------------------------------------------------------------------------ */

static enum rc check_directory(const char *directory, struct err *err)
{
	struct statfs fs;
	struct stat st;

	if (mkdir(directory, 0700) != 0 && errno != EEXIST)
		return err_os(err, FAIL, errno, "directory for ticket keys %s", directory);
	if (stat(directory, &st) != 0 || statfs(directory, &fs) != 0)
		return err_os(err, FAIL, errno, "directory for ticket keys %s", directory);
	if (!S_ISDIR(st.st_mode) || (st.st_mode & 077) || st.st_uid != geteuid())
		return err_set(err, FAIL, "directory for ticket keys %s: others may look into it", directory);
	if (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC)
		return err_set(err, FAIL, "directory for ticket keys %s: not on a file system in memory",
			       directory);
	return OK;
}

static enum rc open_stored(struct tls_tickets *t, const char *directory, struct err *err)
{
	MDB_txn *txn;
	int failed = mdb_env_create(&t->env), dead;

	if (!failed)
		failed = mdb_env_set_mapsize(t->env, MAP_SIZE);
	/* NOSYNC: it is memory already. NOTLS: any thread may read. */
	if (!failed)
		failed = mdb_env_open(t->env, directory, MDB_NOTLS | MDB_NOSYNC, 0600);
	if (!failed)
		failed = mdb_reader_check(t->env, &dead);
	if (!failed)
		failed = mdb_txn_begin(t->env, NULL, 0, &txn);
	if (!failed) {
		failed = mdb_dbi_open(txn, NULL, 0, &t->dbi);
		if (failed)
			mdb_txn_abort(txn);
		else
			failed = mdb_txn_commit(txn);
	}
	if (!failed)
		return OK;
	mdb_env_close(t->env);
	t->env = NULL;
	return err_set(err, FAIL, "ticket keys in %s: %s", directory, mdb_strerror(failed));
}

static void *helper_main(void *arg)
{
	struct tls_tickets *t = arg;
	struct timespec now;
	struct err err = err_make(NULL);

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		clock_gettime(CLOCK_REALTIME, &now);
		now.tv_sec += LOOK_EVERY_S;
		(void)pthread_cond_timedwait(&t->wake, &t->lock, &now);
		if (t->stop)
			break;
		clock_gettime(CLOCK_REALTIME, &now);
		if (newest_is_fresh(t, now.tv_sec) &&
		    t->keys[t->count - 1].created > now.tv_sec - TICKET_LIFE_S)
			continue;
		pthread_mutex_unlock(&t->lock);
		/* What fails now is tried again after a pause, and the process's own key serves meanwhile. */
		(void)(tickets_rotate(t, now.tv_sec, &err) == OK);
		pthread_mutex_lock(&t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

enum rc tickets_open(const char *directory, int64_t now_s, struct tls_tickets **ret, struct err *err)
{
	struct tls_tickets *t = calloc(1, sizeof(*t));
	enum rc rc = OK;

	if (!t)
		return err_memory(err);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	if (directory)
		rc = check_directory(directory, err);
	if (rc == OK && directory)
		rc = open_stored(t, directory, err);
	if (rc == OK)
		rc = tickets_rotate(t, now_s, err);
	if (rc == OK && pthread_create(&t->helper, NULL, helper_main, t) != 0)
		rc = err_set(err, FAIL, "ticket keys: no thread");
	if (rc != OK) {
		tickets_close(t);
		return FAIL;
	}
	t->helper_runs = true;
	*ret = t;
	return OK;
}

void tickets_close(struct tls_tickets *t)
{
	if (!t)
		return;
	if (t->helper_runs) {
		pthread_mutex_lock(&t->lock);
		t->stop = true;
		pthread_cond_signal(&t->wake);
		pthread_mutex_unlock(&t->lock);
		pthread_join(t->helper, NULL);
	}
	if (t->env)
		mdb_env_close(t->env);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	explicit_bzero(t->keys, sizeof(t->keys));
	free(t);
}

unsigned tickets_keys(struct tls_tickets *t, struct ticket_key keys[TICKET_KEYS_MAX])
{
	unsigned count;

	pthread_mutex_lock(&t->lock);
	count = t->count;
	memcpy(keys, t->keys, count * sizeof(*keys));
	pthread_mutex_unlock(&t->lock);
	return count;
}

static bool named_among(const struct ticket_key *keys, unsigned count, const struct ticket_key *key)
{
	for (unsigned i = 0; i < count; i++)
		if (memcmp(keys[i].name, key->name, TICKET_NAME_LEN) == 0)
			return true;
	return false;
}

bool tickets_exchange(struct tls_tickets *t, const struct ticket_key *theirs, unsigned count, int64_t now_s,
		      struct ticket_key missing_ret[TICKET_KEYS_MAX], unsigned *missing_count_ret)
{
	unsigned missing = 0;

	if (pthread_mutex_trylock(&t->lock) != 0)
		return false;
	for (unsigned i = 0; i < t->count; i++)
		if (key_is_alive(&t->keys[i], now_s) && !named_among(theirs, count, &t->keys[i]))
			missing_ret[missing++] = t->keys[i];
	for (unsigned i = 0; i < count; i++)
		if (key_is_alive(&theirs[i], now_s))
			add_key(t, &theirs[i]);
	pthread_mutex_unlock(&t->lock);
	*missing_count_ret = missing;
	return true;
}

/* ---- A shard's tickets ------------------------------------------------------------------------------------------------- */

static struct shard_slot keys_slot;

static struct shard_keys *keys_here(const struct shard *shard)
{
	return shard_slot(shard, &keys_slot);
}

bool tickets_attach(struct tls_tickets *tickets, struct shard *shard)
{
	struct shard_keys *here = calloc(1, sizeof(*here));

	if (!here)
		return false;
	tickets_detach(shard);
	here->tickets = tickets;
	shard_slot_set(shard, &keys_slot, here);
	return true;
}

void tickets_detach(struct shard *shard)
{
	struct shard_keys *here = keys_here(shard);

	if (!here)
		return;
	explicit_bzero(here->keys, sizeof(here->keys));
	free(here);
	shard_slot_set(shard, &keys_slot, NULL);
}

bool tickets_attached(const struct shard *shard)
{
	return keys_here(shard) != NULL;
}

struct tls_tickets *tickets_of(const struct shard *shard)
{
	const struct shard_keys *here = keys_here(shard);

	return here ? here->tickets : NULL;
}

/* A busy lock means that keys are being changed right now, perhaps by a process that is slow: the copy is good enough then. */
static void copy_if_changed(struct shard_keys *here)
{
	struct tls_tickets *t = here->tickets;

	if (here->generation == atomic_load_explicit(&t->generation, memory_order_acquire) ||
	    pthread_mutex_trylock(&t->lock) != 0)
		return;
	here->generation = t->generation;
	here->count = t->count;
	memcpy(here->keys, t->keys, t->count * sizeof(*t->keys));
	pthread_mutex_unlock(&t->lock);
}

/* A name that is not known may be another process's new key: the database is looked at, once a second at most, since anybody can
 * send names. */
static void look_for_new(struct shard_keys *here, int64_t now_s)
{
	struct tls_tickets *t = here->tickets;

	if (!t->env || pthread_mutex_trylock(&t->lock) != 0)
		return;
	if (t->looked != now_s) {
		t->looked = now_s;
		read_stored(t, now_s);
	}
	pthread_mutex_unlock(&t->lock);
	copy_if_changed(here);
}

static const struct ticket_key *find_key(const struct shard_keys *here, const uint8_t *name)
{
	for (unsigned i = 0; i < here->count; i++)
		if (memcmp(here->keys[i].name, name, TICKET_NAME_LEN) == 0)
			return &here->keys[i];
	return NULL;
}

/* What the ticket is bound to: the key's name, its length, and what the caller says. */
struct bound {
	uint8_t name[TICKET_NAME_LEN];
	uint32_t len, binding_len;
	uint8_t binding[64];
};

static bool bound_make(struct bound *bound, struct slice binding, const uint8_t *name, uint32_t len)
{
	*bound = (struct bound){.len = len, .binding_len = binding.len};
	if (binding.len > sizeof(bound->binding))
		return false;
	memcpy(bound->name, name, TICKET_NAME_LEN);
	memcpy(bound->binding, binding.ptr, binding.len);
	return true;
}

bool tickets_seal(struct shard *shard, struct slice binding, uint8_t name[TICKET_NAME_LEN],
		  uint8_t iv[TICKET_IV_LEN], uint8_t mac[TICKET_MAC_LEN], uint8_t *bytes, uint32_t len)
{
	struct shard_keys *here = keys_here(shard);
	struct bound bound;
	bool sealed = false;
	Aes aes;

	if (!here)
		return false;
	copy_if_changed(here);
	if (!here->count || !bound_make(&bound, binding, here->keys[0].name, len) ||
	    wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
		return false;
	memcpy(name, here->keys[0].name, TICKET_NAME_LEN);
	memset(iv, 0, TICKET_IV_LEN);
	memset(mac, 0, TICKET_MAC_LEN);
	/* Random nonces of 96 bits: at a hundred thousand tickets a second for an hour, the chance of two alike is below 1e-11. */
	shard_random(shard, iv, GCM_IV_LEN);
	sealed = wc_AesGcmSetKey(&aes, here->keys[0].key, sizeof(here->keys[0].key)) == 0 &&
		 wc_AesGcmEncrypt(&aes, bytes, bytes, len, iv, GCM_IV_LEN, mac, GCM_TAG_LEN,
				  (const byte *)&bound, sizeof(bound)) == 0;
	wc_AesFree(&aes);
	explicit_bzero(&aes, sizeof(aes));
	return sealed;
}

enum ticket_verdict tickets_unseal(struct shard *shard, struct slice binding,
				   const uint8_t name[TICKET_NAME_LEN], const uint8_t iv[TICKET_IV_LEN],
				   const uint8_t mac[TICKET_MAC_LEN], uint8_t *bytes, uint32_t len)
{
	struct shard_keys *here = keys_here(shard);
	int64_t now_s = (int64_t)(shard_wall(shard) / NS_PER_S);
	const struct ticket_key *key;
	struct bound bound;
	bool opened;
	Aes aes;

	if (!here)
		return TICKET_REFUSED;
	copy_if_changed(here);
	key = find_key(here, name);
	if (!key) {
		look_for_new(here, now_s);
		key = find_key(here, name);
	}
	if (!key || !key_is_alive(key, now_s) || !bound_make(&bound, binding, name, len) ||
	    wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
		return TICKET_REFUSED;
	opened = wc_AesGcmSetKey(&aes, key->key, sizeof(key->key)) == 0 &&
		 wc_AesGcmDecrypt(&aes, bytes, bytes, len, iv, GCM_IV_LEN, mac, GCM_TAG_LEN,
				  (const byte *)&bound, sizeof(bound)) == 0;
	wc_AesFree(&aes);
	explicit_bzero(&aes, sizeof(aes));
	if (!opened)
		return TICKET_REFUSED;
	return key->created > now_s - TICKET_KEY_S ? TICKET_GOOD : TICKET_OLD;
}
