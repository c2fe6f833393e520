/* cdb and LMDB files: made here (LMDB by its own library), read back, changed under way, damaged in every
 * byte. */

#include "harness.h"

#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* ---- LMDB ------------------------------------------------------------------------------- */

static MDB_env *lmdb_env(const struct harness *h, const char *name)
{
	char path[200];
	MDB_env *env;

	snprintf(path, sizeof(path), "%s/%s", h->dir, name);
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_mapsize(env, 256ul << 20), 0);
	assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOTLS, 0644), 0);
	return env;
}

static void lmdb_put(MDB_env *env, unsigned db_flags, const char *key, const void *value, size_t len)
{
	MDB_val k = {strlen(key), (void *)key}, v = {len, (void *)value};
	MDB_txn *txn;
	MDB_dbi db;

	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, db_flags, &db), 0);
	assert_int_equal(mdb_put(txn, db, &k, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
}

/* Numbered keys with values of `size` bytes, "v7......". */
static void lmdb_fill(MDB_env *env, unsigned count, size_t size)
{
	char key[32], *value = calloc(1, size + 32);
	MDB_txn *txn;
	MDB_dbi db;

	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &db), 0);
	for (unsigned i = 0; i < count; i++) {
		MDB_val k = {(size_t)snprintf(key, sizeof(key), "key%u", i), key}, v = {0, value};

		memset(value, '.', size);
		v.mv_size = (size_t)sprintf(value, "v%u", i);
		if (v.mv_size < size) {
			value[v.mv_size] = '.';
			v.mv_size = size;
		}
		assert_int_equal(mdb_put(txn, db, &k, &v, 0), 0);
	}
	assert_int_equal(mdb_txn_commit(txn), 0);
	free(value);
}

static enum rc find(struct harness *h, const char *type, const char *name, const char *key,
		    struct slice *value, struct err *err)
{
	struct lookup_spec spec;
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", h->dir, name);
	*err = err_make(&h->err_arena);
	assert_int_equal(lookup_spec_parse(slice_of(type), &spec, err), OK);
	return lookup_find(&h->scope, &spec, arena_copy(&h->arena, slice_of(path)), slice_of(key), value,
			   NULL, NULL, err);
}

/* Tallies what does not hold: assertions must not jump off a fiber. */
#define HOLDS(h, expression)                                                                 \
	do {                                                                                 \
		if (!(expression)) {                                                         \
			print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #expression); \
			(h)->wrong++;                                                        \
		}                                                                            \
	} while (0)

/* Longer than a look at a file counts. */
static void rest(struct harness *h)
{
	HOLDS(h, task_sleep(&h->task, shard_now(h->shard) + 2 * NS_PER_MS) == OK);
}

static bool found(struct harness *h, const char *type, const char *name, const char *key, const char *want)
{
	struct slice value;
	struct err err;
	enum rc rc = find(h, type, name, key, &value, &err);

	if (rc != OK)
		print_error("%s %s: %s %.*s\n", name, key, rc_name(rc), SLICE_ARG(err.text));
	return rc == OK && slice_eq(value, slice_of(want));
}

static bool absent(struct harness *h, const char *type, const char *name, const char *key)
{
	struct slice value;
	struct err err;

	return find(h, type, name, key, &value, &err) == FAIL;
}

static bool deferred(struct harness *h, const char *type, const char *name, const char *text)
{
	struct slice value;
	struct err err;
	enum rc rc = find(h, type, name, "key1", &value, &err);

	if (rc != DEFER || slice_search(err.text, slice_of(text)) < 0)
		print_error("%s: %s %.*s\n", name, rc_name(rc), SLICE_ARG(err.text));
	return rc == DEFER && slice_search(err.text, slice_of(text)) >= 0;
}

static void lmdb_prepare(struct harness *h)
{
	static char big[300000];
	MDB_env *env = lmdb_env(h, "small");
	char name[20];

	lmdb_put(env, 0, "Key", "upper", 5);
	lmdb_put(env, 0, "key", "lower", 5);
	lmdb_put(env, 0, "empty", "", 0);
	lmdb_put(env, 0, "*.a.b", "partial", 7);
	lmdb_put(env, 0, "*", "default", 7);
	memset(big, 'b', sizeof(big));
	lmdb_put(env, 0, "big", big, sizeof(big));
	mdb_env_close(env);
	env = lmdb_env(h, "deep");
	lmdb_fill(env, 100000, 10);
	mdb_env_close(env);
	env = lmdb_env(h, "nothing");
	mdb_env_close(env);
	env = lmdb_env(h, "dups");
	lmdb_put(env, MDB_DUPSORT, "few", "b", 1);
	lmdb_put(env, MDB_DUPSORT, "few", "a", 1);
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "%06u", i);
		lmdb_put(env, MDB_DUPSORT, "many", name, 6);
	}
	mdb_env_close(env);
	env = lmdb_env(h, "fixed");
	for (unsigned i = 1000; i < 1010; i++) {
		snprintf(name, sizeof(name), "%06u", i);
		lmdb_put(env, MDB_DUPSORT | MDB_DUPFIXED, "k", name, 6);
	}
	mdb_env_close(env);
	env = lmdb_env(h, "reverse");
	lmdb_put(env, MDB_REVERSEKEY, "key1", "x", 1);
	mdb_env_close(env);
	text_make(h, "text", "this is no database at all, whatever its name may say\n");
	text_make(h, "empty", "");
}

static void lmdb_check(struct harness *h)
{
	struct slice value;
	struct err err;
	char key[20], want[20];

	HOLDS(h, found(h, "lmdb", "small", "Key", "upper"));
	HOLDS(h, found(h, "lmdb", "small", "key", "lower"));
	HOLDS(h, found(h, "lmdb", "small", "empty", ""));
	HOLDS(h, absent(h, "lmdb", "small", "KEY"));
	HOLDS(h, absent(h, "lmdb", "small", "a"));
	HOLDS(h, absent(h, "lmdb", "small", "zzz"));
	HOLDS(h, absent(h, "lmdb", "nothing", "key1"));
	HOLDS(h, found(h, "partial-lmdb", "small", "x.a.b", "partial"));
	HOLDS(h, found(h, "lmdb*", "small", "none", "default"));
	HOLDS(h, found(h, "lmdb,ret=key", "small", "Key", "Key"));
	HOLDS(h, find(h, "lmdb", "small", "big", &value, &err) == OK && value.len == 300000 &&
		     value.ptr[299999] == 'b');
	HOLDS(h, found(h, "lmdb", "dups", "few", "a"));
	HOLDS(h, found(h, "lmdb", "dups", "many", "000000"));
	HOLDS(h, found(h, "lmdb", "fixed", "k", "001000"));
	for (unsigned i = 0; i < 100000; i += 997) {
		snprintf(key, sizeof(key), "key%u", i);
		snprintf(want, sizeof(want), "v%u...........", i);
		want[10] = '\0';
		HOLDS(h, found(h, "lmdb", "deep", key, want));
		snprintf(key, sizeof(key), "key%u!", i);
		HOLDS(h, absent(h, "lmdb", "deep", key));
	}
	HOLDS(h, deferred(h, "lmdb", "missing", "LMDB: Unable to open database: failed to open"));
	HOLDS(h, deferred(h, "lmdb", "text", "LMDB: Unable to read"));
	HOLDS(h, deferred(h, "lmdb", "empty", "shorter than it should be"));
	HOLDS(h, deferred(h, "lmdb", "reverse", "not in the usual order"));
	HOLDS(h, deferred(h, "lmdb", ".", "is not a regular file"));
}

static void test_lmdb(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, lmdb_prepare, lmdb_check);
}

/* Written in place by its library, and replaced by another: each change is seen by the next lookup. */
static void lmdb_change(struct harness *h)
{
	char from[100], to[100], value[20];
	MDB_env *env = lmdb_env(h, "live"), *other = lmdb_env(h, "other");

	snprintf(from, sizeof(from), "%s/other", h->dir);
	snprintf(to, sizeof(to), "%s/live", h->dir);
	lmdb_put(other, 0, "k", "replaced", 8);
	lmdb_fill(env, 2000, 20);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(value, sizeof(value), "value %u", i);
		lmdb_put(env, 0, "k", value, strlen(value));
		rest(h);
		HOLDS(h, found(h, "lmdb", "live", "k", value));
	}
	mdb_env_close(env);
	mdb_env_close(other);
	HOLDS(h, rename(from, to) == 0);
	rest(h);
	HOLDS(h, found(h, "lmdb", "live", "k", "replaced"));
	HOLDS(h, truncate(to, 5000) == 0);
	rest(h);
	HOLDS(h, deferred(h, "lmdb", "live", "LMDB: Unable to read"));
	HOLDS(h, unlink(to) == 0);
	rest(h);
	HOLDS(h, deferred(h, "lmdb", "live", "No such file"));
}

static void test_lmdb_change(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, NULL, lmdb_change);
}

/* A writer that commits as fast as it can, on a thread of its own. */
struct writer {
	MDB_env *env;
	pthread_t thread;
	atomic_bool stop;
	unsigned commits;
};

static void *writer_run(void *arg)
{
	struct writer *w = arg;
	char key[20], value[200];

	while (!w->stop) {
		MDB_txn *txn;
		MDB_dbi db;

		w->commits++;
		assert_int_equal(mdb_txn_begin(w->env, NULL, 0, &txn), 0);
		assert_int_equal(mdb_dbi_open(txn, NULL, 0, &db), 0);
		for (unsigned i = 0; i < 40; i++) {
			MDB_val k = {(size_t)snprintf(key, sizeof(key), "key%u", w->commits * 7919 % 500 + i),
				     key};
			MDB_val v = {(size_t)snprintf(value, sizeof(value), "%s is %0*u", key,
						      (int)(w->commits % 100 + 1), w->commits),
				     value};

			assert_int_equal(mdb_put(txn, db, &k, &v, 0), 0);
		}
		assert_int_equal(mdb_txn_commit(txn), 0);
	}
	return NULL;
}

/* Whatever the writer does to its pages, each key is always there, with a value of its own. */
static void lmdb_busy(struct harness *h)
{
	struct writer w = {.env = lmdb_env(h, "busy"), .stop = false};
	unsigned answers = 0;

	for (unsigned i = 0; i < 540; i++) {
		char key[20], value[40];

		snprintf(key, sizeof(key), "key%u", i);
		snprintf(value, sizeof(value), "%s is new", key);
		lmdb_put(w.env, 0, key, value, strlen(value));
	}
	HOLDS(h, pthread_create(&w.thread, NULL, writer_run, &w) == 0);
	for (unsigned i = 0; i < 4000; i++) {
		struct slice value, want;
		struct err err;
		char key[20];
		enum rc rc;

		snprintf(key, sizeof(key), "key%u", i * 31 % 540);
		rc = find(h, "lmdb", "busy", key, &value, &err);
		want = arena_printf(&h->arena, "%s is ", key);
		HOLDS(h, rc == OK ||
			     (rc == DEFER && slice_search(err.text, SLICE("changes all the time")) >= 0));
		HOLDS(h, rc != OK || slice_starts(value, want));
		answers += rc == OK;
		arena_clear(&h->arena);
	}
	HOLDS(h, answers > 2000);
	w.stop = true;
	pthread_join(w.thread, NULL);
	mdb_env_close(w.env);
}

static void test_lmdb_busy(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, NULL, lmdb_busy);
}

/* ---- cdb -------------------------------------------------------------------------------- */

struct cdb {
	uint8_t bytes[65536];
	uint32_t len;
	uint32_t hash[256], at[256];
	unsigned count;
};

static void put32(uint8_t *at, uint32_t n)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (uint8_t)(n >> 8 * i);
}

static void cdb_add(struct cdb *c, const char *key, const char *value)
{
	uint32_t hash = 5381, key_len = (uint32_t)strlen(key), value_len = (uint32_t)strlen(value);

	for (const char *k = key; *k; k++)
		hash = (hash * 33) ^ (uint8_t)*k;
	c->hash[c->count] = hash;
	c->at[c->count++] = c->len;
	put32(c->bytes + c->len, key_len);
	put32(c->bytes + c->len + 4, value_len);
	memcpy(c->bytes + c->len + 8, key, key_len);
	memcpy(c->bytes + c->len + 8 + key_len, value, value_len);
	c->len += 8 + key_len + value_len;
}

static void cdb_finish(struct cdb *c)
{
	for (unsigned table = 0; table < 256; table++) {
		uint32_t places = 0;

		for (unsigned i = 0; i < c->count; i++)
			places += 2 * ((c->hash[i] & 255) == table);
		put32(c->bytes + 8 * table, c->len);
		put32(c->bytes + 8 * table + 4, places);
		for (unsigned i = 0; i < c->count; i++) {
			uint32_t place = places ? (c->hash[i] >> 8) % places : 0;

			if ((c->hash[i] & 255) != table)
				continue;
			while (c->bytes[c->len + 8 * place + 4] || c->bytes[c->len + 8 * place + 5])
				place = (place + 1) % places;
			put32(c->bytes + c->len + 8 * place, c->hash[i]);
			put32(c->bytes + c->len + 8 * place + 4, c->at[i]);
		}
		c->len += 8 * places;
	}
}

static void cdb_prepare(struct harness *h)
{
	static struct cdb c;
	char key[20], value[20];

	memset(&c, 0, sizeof(c));
	c.len = 2048;
	for (unsigned i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		snprintf(value, sizeof(value), "value %u", i);
		cdb_add(&c, key, value);
	}
	cdb_add(&c, "key1", "a second one");
	cdb_finish(&c);
	file_make(h, "good", (char *)c.bytes, c.len);
	file_make(h, "short", (char *)c.bytes, 100);
	file_make(h, "cut", (char *)c.bytes, 3000);
}

static void cdb_check(struct harness *h)
{
	char key[20], value[20];

	for (unsigned i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		snprintf(value, sizeof(value), "value %u", i);
		HOLDS(h, found(h, "cdb", "good", key, value));
		snprintf(key, sizeof(key), "KEY%u", i);
		HOLDS(h, absent(h, "cdb", "good", key));
	}
	HOLDS(h, deferred(h, "cdb", "short", "too short for cdb lookup"));
	HOLDS(h, deferred(h, "cdb", "cut", "is corrupt"));
	HOLDS(h, deferred(h, "cdb", "missing", "failed to open"));
}

static void test_cdb(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, cdb_prepare, cdb_check);
}

/* ---- Damage ----------------------------------------------------------------------------- */

/* Bytes of the file at random, and its end: any answer will do that comes without a crash or a hang. */
static void damage(struct harness *h, const char *type, const char *name)
{
	static uint8_t bytes[1 << 20];
	char path[200];
	struct stat st;
	unsigned seed = 1;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", h->dir, name);
	fd = open(path, O_RDONLY);
	HOLDS(h, fd >= 0 && fstat(fd, &st) == 0 && read(fd, bytes, sizeof(bytes)) == st.st_size);
	close(fd);
	fd = open(path, O_RDWR);
	for (unsigned i = 0; i < 600; i++) {
		struct slice value;
		struct err err;
		off_t at[4];

		for (unsigned n = 0; n < 4; n++) {
			uint8_t byte;

			seed = seed * 1103515245 + 12345;
			/* Heads of pages are worth more than text. */
			at[n] = seed & 0x8000 ? (off_t)(seed >> 16) % st.st_size
					      : ((off_t)(seed >> 16) * 4096 + (seed & 63)) % st.st_size;
			seed = seed * 1103515245 + 12345;
			byte = (uint8_t)(seed >> 16);
			HOLDS(h, pwrite(fd, &byte, 1, at[n]) == 1);
		}
		rest(h);
		for (unsigned k = 0; k < 200; k += 7) {
			char key[20];

			snprintf(key, sizeof(key), "key%u", k);
			HOLDS(h, find(h, type, name, key, &value, &err) != CANCELLED);
		}
		for (unsigned n = 0; n < 4; n++)
			HOLDS(h, pwrite(fd, &bytes[at[n]], 1, at[n]) == 1);
	}
	for (off_t size = st.st_size; size > 0; size -= size / 10 + 1) {
		struct slice value;
		struct err err;

		HOLDS(h, ftruncate(fd, size) == 0);
		rest(h);
		(void)find(h, type, name, "key7", &value, &err); /* whatever it finds */
	}
	close(fd);
}

static void damage_prepare(struct harness *h)
{
	MDB_env *env = lmdb_env(h, "lmdb");

	lmdb_fill(env, 3000, 30);
	mdb_env_close(env);
	cdb_prepare(h);
}

static void damage_check(struct harness *h)
{
	damage(h, "lmdb", "lmdb");
	damage(h, "cdb", "good");
}

static void test_damage(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, damage_prepare, damage_check);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lmdb), cmocka_unit_test(test_lmdb_change), cmocka_unit_test(test_lmdb_busy),
	    cmocka_unit_test(test_cdb),  cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
