/* gsasl: mechanisms of GNU SASL (SCRAM-SHA-1, SCRAM-SHA-256, and the plainer ones), as server and as client. The library asks for
 * names and secrets through a callback, which runs on our fiber and may park; what is made of a password by thousands of
 * rounds of a hash is computed on a helper thread before the library wants to do it itself. No channel binding. */
#include "driver.h"

#include <gsasl.h>
#include <stdlib.h>
#include <string.h>

struct gsasl {
	struct authenticator a;
	const struct expansion *client_authz, *client_password, *client_spassword, *client_username;
	const struct expansion *server_hostname, *server_key, *server_password, *server_realm,
	    *server_scram_iter, *server_scram_salt, *server_skey;
	struct slice server_mech, server_service;
	bool client_channelbinding, server_channelbinding;
	const char *mechanism;
	bool scram, judges_by_condition, server_begins;
	Gsasl_hash hash; /* of SCRAM */
};

#define G struct gsasl
static const struct conf_option options[] = {
    OPT_EXPAND(G, client_authz, NULL, "as whom to act, if not as client_username"),
    OPT_BOOL(G, client_channelbinding, "no", "bind the login to the TLS session"),
    OPT_EXPAND(G, client_password, NULL, "the password"),
    OPT_EXPAND(G, client_spassword, NULL, "SCRAM: the salted password, in hexadecimal"),
    OPT_EXPAND(G, client_username, NULL, "the name"),
    OPT_BOOL(G, server_channelbinding, "no", "bind logins to the TLS session"),
    OPT_EXPAND(G, server_hostname, "$primary_hostname", "the name that mechanisms mix in"),
    OPT_EXPAND(G, server_key, NULL, "SCRAM: ServerKey of $auth1, in base64"),
    OPT_STRING(G, server_mech, NULL, "the mechanism; unset: public_name"),
    OPT_EXPAND(G, server_password, NULL, "the password of $auth1"),
    OPT_EXPAND(G, server_realm, NULL, "the realm that mechanisms mix in"),
    OPT_EXPAND(G, server_scram_iter, "4096", "SCRAM: rounds"),
    OPT_EXPAND(G, server_scram_salt, NULL, "SCRAM: salt of $auth1, in base64; unset: a new one each time"),
    OPT_STRING(G, server_service, "smtp", "the service that mechanisms mix in"),
    OPT_EXPAND(G, server_skey, NULL, "SCRAM: StoredKey of $auth1, in base64"),
};

/* Each round is two hashes: a server that asks for more than this wants our time, not a proof. */
#define ITERATIONS_MAX 1000000u
#define PASSWORD_MAX   1024
#define SALT_MAX       256
#define KEY_MAX        GSASL_HASH_SHA256_SIZE

/* One login, on its fiber's stack. */
struct exchange {
	const G *g;
	struct scope *sc;
	struct arena *arena;
	struct auth_server *server; /* NULL: we are the client */
	struct auth_client *client;
	struct slice name, authz, password; /* of a client; ptr NULL: not set */
	enum auth_result result;            /* of a callback, when it is not AUTH_OK */
	bool judged;                        /* server_condition has been asked */
	bool keys_set;
};

static size_t key_size(const G *g)
{
	return g->hash == GSASL_HASH_SHA256 ? GSASL_HASH_SHA256_SIZE : GSASL_HASH_SHA1_SIZE;
}

/* ---- Keys of SCRAM (RFC 5802 section 3), on a helper thread -------------------------------------------------------- */

/* Heap memory: the fiber may leave while the thread works. */
struct derivation {
	Gsasl_hash hash;
	char password[PASSWORD_MAX + 1], salt[SALT_MAX];
	size_t salt_len;
	unsigned iterations;
	char salted[KEY_MAX], client[KEY_MAX], server[KEY_MAX], stored[KEY_MAX];
	int rc;
};

static void derivation_free(void *arg)
{
	explicit_bzero(arg, sizeof(struct derivation));
	free(arg);
}

static void derive(void *arg)
{
	struct derivation *d = arg;
	char *prepared = NULL;

	d->rc = gsasl_saslprep(d->password, 0, &prepared, NULL);
	if (d->rc != GSASL_OK)
		return;
	d->rc = gsasl_scram_secrets_from_password(d->hash, prepared, d->iterations, d->salt, d->salt_len,
						  d->salted, d->client, d->server, d->stored);
	explicit_bzero(prepared, strlen(prepared));
	gsasl_free(prepared);
}

/* NULL: *why tells. Parks; derivation_free() is the caller's. */
static struct derivation *derive_keys(struct exchange *x, struct slice password, struct slice salt64,
				      uint64_t iterations, const char **why)
{
	struct derivation *d = calloc(1, sizeof(*d));
	struct str salt = str_make(x->arena);
	struct err err = err_make(x->arena);

	*why = "out of memory";
	if (!d)
		return NULL;
	if (!base64_decode(&salt, salt64) || salt.failed || !salt.len || salt.len > SALT_MAX)
		*why = "the salt is not base64 of 1 to 256 bytes";
	else if (!iterations || iterations > ITERATIONS_MAX)
		*why = "the number of rounds is not between 1 and 1000000";
	else if (!password.len || password.len > PASSWORD_MAX || memchr(password.ptr, 0, password.len))
		*why = "the password is empty, too long, or has a NUL in it";
	else
		*why = NULL;
	if (*why) {
		derivation_free(d);
		return NULL;
	}
	d->hash = x->g->hash;
	memcpy(d->password, password.ptr, password.len);
	memcpy(d->salt, salt.ptr, salt.len);
	d->salt_len = salt.len;
	d->iterations = (unsigned)iterations;
	*why = "no helper thread was free";
	if (offload_call(x->sc->task, derive, d, derivation_free, &err) != OK)
		return NULL;
	if (d->rc == GSASL_OK)
		return d;
	*why = gsasl_strerror(d->rc);
	derivation_free(d);
	return NULL;
}

/* ---- Properties ------------------------------------------------------------------------------------------------------- */

static struct slice property(Gsasl_session *session, Gsasl_property name, struct arena *arena)
{
	const char *value = gsasl_property_fast(session, name);

	return value ? slice_tainted(arena_copy(arena, slice_of(value))) : SLICE_EMPTY;
}

static int set_property(Gsasl_session *session, Gsasl_property name, struct slice value)
{
	return gsasl_property_set_raw(session, name, value.ptr, value.len) == GSASL_OK ? GSASL_OK
										       : GSASL_MALLOC_ERROR;
}

static void set_variables(struct exchange *x, Gsasl_session *session, Gsasl_property second,
			  Gsasl_property third)
{
	auth_strings_clear(x->sc);
	auth_string_add(x->sc, property(session, GSASL_AUTHID, x->arena));
	auth_string_add(x->sc, property(session, second, x->arena));
	auth_string_add(x->sc, property(session, third, x->arena));
}

static int give_up(struct exchange *x, enum auth_result result)
{
	x->result = result;
	return GSASL_AUTHENTICATION_ERROR;
}

/* ---- As a server ------------------------------------------------------------------------------------------------------ */

static int set_expanded(struct exchange *x, Gsasl_session *session, Gsasl_property name,
			const struct expansion *option)
{
	struct slice value;
	enum auth_result result;

	if (!option)
		return GSASL_NO_CALLBACK;
	result = auth_expand(x->server, option, &value);
	if (result == AUTH_FAIL) /* forced: the password is not to be known now */
		result = auth_defer(x->server, "expansion of an option was forced to fail");
	return result == AUTH_OK ? set_property(session, name, value) : give_up(x, result);
}

static int judge(struct exchange *x)
{
	enum auth_result result = auth_condition(x->server);

	x->judged = true;
	return result == AUTH_OK ? GSASL_OK : give_up(x, result);
}

static int server_iterations(struct exchange *x, Gsasl_session *session)
{
	struct slice value;
	enum auth_result result = auth_expand(x->server, x->g->server_scram_iter, &value);
	uint64_t number;

	if (result == AUTH_OK &&
	    (!parse_u64(slice_trim(value), &number) || !number || number > ITERATIONS_MAX))
		result = auth_defer(x->server, "server_scram_iter is not between 1 and %u", ITERATIONS_MAX);
	return result == AUTH_OK ? set_property(session, GSASL_SCRAM_ITER, slice_trim(value))
				 : give_up(x, result);
}

static int server_salt(struct exchange *x, Gsasl_session *session)
{
	struct str text = str_make(x->arena);
	struct slice value = SLICE_EMPTY;
	enum auth_result result = auth_expand(x->server, x->g->server_scram_salt, &value);
	char bytes[12];

	if (result != AUTH_OK)
		return give_up(x, result);
	if (!value.len) {
		shard_random(x->sc->task->shard, bytes, sizeof(bytes));
		base64_encode(&text, slice_make(bytes, sizeof(bytes), CLEAN));
		value = str_slice(&text);
	}
	return value.ptr ? set_property(session, GSASL_SCRAM_SALT, value) : GSASL_MALLOC_ERROR;
}

static int set_key(struct exchange *x, Gsasl_session *session, Gsasl_property name, const char *key)
{
	struct str text = str_make(x->arena);

	base64_encode(&text, slice_make(key, key_size(x->g), CLEAN));
	return text.failed ? GSASL_MALLOC_ERROR : set_property(session, name, str_slice(&text));
}

/* Keys that the administrator has of the right length. false: he has not. */
static bool stored_keys(struct exchange *x, Gsasl_session *session)
{
	struct slice server_key, stored_key;
	size_t size = (key_size(x->g) + 2) / 3 * 4;

	return x->g->server_key && x->g->server_skey &&
	       auth_expand(x->server, x->g->server_key, &server_key) == AUTH_OK &&
	       auth_expand(x->server, x->g->server_skey, &stored_key) == AUTH_OK && server_key.len == size &&
	       stored_key.len == size &&
	       set_property(session, GSASL_SCRAM_SERVERKEY, server_key) == GSASL_OK &&
	       set_property(session, GSASL_SCRAM_STOREDKEY, stored_key) == GSASL_OK;
}

/* What SCRAM compares with: the stored keys, or those made of the password. */
static int server_keys(struct exchange *x, Gsasl_session *session)
{
	struct slice password = SLICE_EMPTY;
	struct derivation *d;
	enum auth_result result;
	uint64_t iterations = 0;
	const char *why;
	int rc;

	if (x->keys_set)
		return GSASL_OK;
	if (stored_keys(x, session)) {
		x->keys_set = true;
		return GSASL_OK;
	}
	result = auth_expand(x->server, x->g->server_password, &password);
	if (result == AUTH_FAIL)
		result = auth_defer(x->server, "no password is to be had");
	if (result != AUTH_OK)
		return give_up(x, result);
	if (!password.len) /* nobody there, or nobody who may log in */
		return give_up(x, AUTH_FAIL);
	if (!parse_u64(property(session, GSASL_SCRAM_ITER, x->arena), &iterations))
		iterations = 0;
	d = derive_keys(x, password, property(session, GSASL_SCRAM_SALT, x->arena), iterations, &why);
	if (!d)
		return give_up(x, auth_defer(x->server, "%s", why));
	rc = set_key(x, session, GSASL_SCRAM_SERVERKEY, d->server);
	if (rc == GSASL_OK)
		rc = set_key(x, session, GSASL_SCRAM_STOREDKEY, d->stored);
	derivation_free(d);
	x->keys_set = rc == GSASL_OK;
	return rc;
}

static int on_server(struct exchange *x, Gsasl_session *session, Gsasl_property name)
{
	switch ((int)name) {
	case GSASL_VALIDATE_SIMPLE:
		set_variables(x, session, GSASL_AUTHZID, GSASL_PASSWORD);
		return judge(x);
	case GSASL_VALIDATE_EXTERNAL:
		auth_strings_clear(x->sc);
		auth_string_add(x->sc, property(session, GSASL_AUTHZID, x->arena));
		return judge(x);
	case GSASL_VALIDATE_ANONYMOUS:
		auth_strings_clear(x->sc);
		auth_string_add(x->sc, property(session, GSASL_ANONYMOUS_TOKEN, x->arena));
		return judge(x);
	case GSASL_SERVICE:
		return set_property(session, name, x->g->server_service);
	case GSASL_HOSTNAME:
		return set_expanded(x, session, name, x->g->server_hostname);
	default:
		break;
	}
	set_variables(x, session, GSASL_AUTHZID, GSASL_REALM);
	switch ((int)name) {
	case GSASL_REALM:
		return set_expanded(x, session, name, x->g->server_realm);
	case GSASL_PASSWORD:
		return x->g->scram ? GSASL_NO_CALLBACK
				   : set_expanded(x, session, name, x->g->server_password);
	case GSASL_SCRAM_ITER:
		return server_iterations(x, session);
	case GSASL_SCRAM_SALT:
		return server_salt(x, session);
	case GSASL_SCRAM_SERVERKEY:
	case GSASL_SCRAM_STOREDKEY:
		return server_keys(x, session);
	default:
		return GSASL_NO_CALLBACK;
	}
}

/* ---- As a client ------------------------------------------------------------------------------------------------------ */

/* $auth1 the name, $auth2 the rounds, $auth3 the salt; later $auth4 what was made of the password with them. */
static int client_salted(struct exchange *x, Gsasl_session *session)
{
	struct str hex = str_make(x->arena);
	struct slice value = SLICE_EMPTY, rounds = property(session, GSASL_SCRAM_ITER, x->arena),
		     salt = property(session, GSASL_SCRAM_SALT, x->arena);
	struct derivation *d;
	uint64_t iterations = 0;
	const char *why;

	auth_strings_clear(x->sc);
	auth_string_add(x->sc, x->name);
	auth_string_add(x->sc, rounds);
	auth_string_add(x->sc, salt);
	if (x->g->client_spassword) {
		x->result = auth_client_expand(x->client, expansion_text(x->g->client_spassword), &value);
		if (x->result == AUTH_ERROR)
			return GSASL_AUTHENTICATION_ERROR;
		x->result = AUTH_OK;
	}
	if (value.len != 2 * key_size(x->g)) {
		if (!parse_u64(rounds, &iterations))
			iterations = 0;
		d = derive_keys(x, x->password.ptr ? x->password : SLICE_EMPTY, salt, iterations, &why);
		if (!d) {
			x->client->text = slice_of(why);
			return give_up(x, AUTH_SKIPPED);
		}
		hex_encode(&hex, slice_make(d->salted, key_size(x->g), CLEAN), false);
		derivation_free(d);
		value = str_slice(&hex);
	}
	auth_string_add(x->sc, value);
	return value.ptr ? set_property(session, GSASL_SCRAM_SALTED_PASSWORD, value) : GSASL_MALLOC_ERROR;
}

static int on_client(struct exchange *x, Gsasl_session *session, Gsasl_property name)
{
	struct slice value;

	switch ((int)name) {
	case GSASL_AUTHID:
	case GSASL_ANONYMOUS_TOKEN:
		return set_property(session, name, x->name);
	case GSASL_AUTHZID:
		return x->authz.len ? set_property(session, name, x->authz) : GSASL_NO_CALLBACK;
	case GSASL_PASSWORD:
		return x->password.ptr && !x->g->scram ? set_property(session, name, x->password)
						       : GSASL_NO_CALLBACK;
	case GSASL_SERVICE:
		return set_property(session, name, SLICE("smtp"));
	case GSASL_HOSTNAME:
		return auth_client_expand(x->client, SLICE("$host"), &value) == AUTH_OK
			   ? set_property(session, name, value)
			   : GSASL_NO_CALLBACK;
	case GSASL_SCRAM_SALTED_PASSWORD:
		return client_salted(x, session);
	default:
		return GSASL_NO_CALLBACK;
	}
}

/* ---- Both ----------------------------------------------------------------------------------------------------------------- */

static int on_property(Gsasl *library, Gsasl_session *session, Gsasl_property name)
{
	struct exchange *x = gsasl_session_hook_get(session);

	(void)library;
	return x->server ? on_server(x, session, name) : on_client(x, session, name);
}

/* The library's own state lives on the heap, for one login: a login is rare, and nothing is shared between shards. */
static bool begin(struct exchange *x, Gsasl **library, Gsasl_session **session)
{
	int rc = gsasl_init(library);

	if (rc != GSASL_OK)
		return false;
	gsasl_callback_set(*library, on_property);
	rc = x->server ? gsasl_server_start(*library, x->g->mechanism, session)
		       : gsasl_client_start(*library, x->g->mechanism, session);
	if (rc != GSASL_OK) {
		gsasl_done(*library);
		return false;
	}
	gsasl_session_hook_set(*session, x);
	return true;
}

static void end(Gsasl *library, Gsasl_session *session)
{
	gsasl_finish(session);
	gsasl_done(library);
}

/* One step; what is to be said is in the arena, ptr NULL: nothing. */
static int step(struct exchange *x, Gsasl_session *session, struct slice said, struct slice *say_ret)
{
	char *out = NULL;
	size_t len = 0;
	int rc = gsasl_step(session, said.ptr, said.len, &out, &len);

	*say_ret = (struct slice){NULL, 0, CLEAN};
	if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE)
		return rc;
	if (out)
		*say_ret = arena_copy(x->arena, slice_make(out, len, CLEAN));
	if (out && !say_ret->ptr)
		rc = GSASL_MALLOC_ERROR;
	gsasl_free(out);
	return rc;
}

static enum auth_result failed(struct exchange *x, int rc)
{
	if (x->result != AUTH_OK)
		return x->result;
	return rc == GSASL_MALLOC_ERROR || rc == GSASL_CRYPTO_ERROR || rc == GSASL_NO_CALLBACK
		   ? auth_defer(x->server, "%s", gsasl_strerror(rc))
		   : AUTH_FAIL;
}

static enum auth_result server_loop(struct exchange *x, Gsasl_session *session)
{
	struct slice said = x->server->initial, say;
	enum auth_result result;
	int rc;

	if (!said.ptr && !x->g->server_begins) { /* the client begins: it is asked to */
		result = auth_prompt(x->server, SLICE_EMPTY, &said);
		if (result != AUTH_OK)
			return result;
	}
	for (;;) {
		rc = step(x, session, said, &say);
		if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE)
			return failed(x, rc);
		if (rc == GSASL_OK && !say.len)
			return AUTH_OK;
		result = auth_prompt(x->server, say.ptr ? say : SLICE_EMPTY, &said);
		if (result != AUTH_OK)
			return result;
		if (rc == GSASL_OK) /* the last word was ours: an empty response says that it was heard */
			return said.len ? AUTH_FAIL : AUTH_OK;
	}
}

static enum auth_result server_run(struct auth_server *server)
{
	struct exchange x = {.g = (const G *)server->authenticator,
			     .sc = server->sc,
			     .arena = server->sc->task->arena,
			     .server = server,
			     .result = AUTH_OK};
	Gsasl_session *session;
	Gsasl *library;
	enum auth_result result;

	if (server->initial.ptr && x.g->server_begins)
		return AUTH_UNEXPECTED;
	if (!begin(&x, &library, &session))
		return auth_defer(server, "the library does not work");
	result = server_loop(&x, session);
	if (result == AUTH_OK && !x.judged) {
		set_variables(&x, session, GSASL_AUTHZID, GSASL_REALM);
		result = auth_condition(server);
	}
	end(library, session);
	return result;
}

/* rc of the step before: has the mechanism come to its end on our side? */
static enum auth_result client_loop(struct exchange *x, Gsasl_session *session)
{
	struct auth_client *client = x->client;
	struct slice say, challenge;
	enum auth_result result;
	int rc = GSASL_NEEDS_MORE;

	say = (struct slice){NULL, 0, CLEAN};
	if (!x->g->server_begins)
		rc = step(x, session, SLICE_EMPTY, &say);
	if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE) {
		client->text = slice_of(gsasl_strerror(rc));
		return x->result != AUTH_OK ? x->result : AUTH_ERROR;
	}
	result = auth_say_first(client, say);
	while (result == AUTH_OK && client->reply.code / 100 != 2) {
		if (!auth_challenge(client, &challenge)) {
			auth_say_cancel(client);
			client->text = SLICE("bad base64 string in server response");
			return AUTH_SKIPPED;
		}
		say = SLICE_EMPTY;
		if (rc != GSASL_OK || challenge.len)
			rc = step(x, session, challenge, &say);
		if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE) {
			auth_say_cancel(client);
			if (!client->text.len)
				client->text = slice_of(gsasl_strerror(rc));
			return x->result != AUTH_OK ? x->result : AUTH_SKIPPED;
		}
		result = auth_say_response(client, say.ptr ? say : SLICE_EMPTY);
	}
	/* A server that says yes before it has proved that it knows the password too is not the one that we want. */
	if (result == AUTH_OK && rc != GSASL_OK && x->g->scram) {
		client->text = SLICE("the server did not prove itself");
		return AUTH_DEFER;
	}
	return result;
}

static enum auth_result client_run(struct auth_client *client)
{
	const G *g = (const G *)client->authenticator;
	struct exchange x = {.g = g,
			     .sc = client->sc,
			     .arena = client->sc->task->arena,
			     .client = client,
			     .name = SLICE_EMPTY,
			     .authz = SLICE_EMPTY,
			     .result = AUTH_OK};
	Gsasl_session *session;
	Gsasl *library;
	enum auth_result result = auth_client_expand(client, expansion_text(g->client_username), &x.name);

	if (result == AUTH_OK && g->client_password)
		result = auth_client_expand(client, expansion_text(g->client_password), &x.password);
	if (result == AUTH_OK && g->client_authz)
		result = auth_client_expand(client, expansion_text(g->client_authz), &x.authz);
	if (result != AUTH_OK)
		return result;
	if (!begin(&x, &library, &session)) {
		client->text = SLICE("the library does not work");
		return AUTH_ERROR;
	}
	auth_string_add(x.sc, x.name); /* for client_set_id */
	result = client_loop(&x, session);
	end(library, session);
	return result;
}

/* ---- The file ------------------------------------------------------------------------------------------------------------- */

static enum rc find_mechanism(struct conf *conf, G *g, struct err *err)
{
	static const char *const by_condition[] = {"PLAIN", "LOGIN", "EXTERNAL", "ANONYMOUS"};
	static const char *const by_password[] = {"CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"};
	struct slice name = g->server_mech.ptr ? g->server_mech : g->a.public_name;

	for (unsigned i = 0; i < ARRAY_COUNT(by_condition); i++)
		if (slice_eq_nocase(name, slice_of(by_condition[i]))) {
			g->mechanism = by_condition[i];
			g->judges_by_condition = true;
		}
	for (unsigned i = 0; i < ARRAY_COUNT(by_password); i++)
		if (slice_eq_nocase(name, slice_of(by_password[i])))
			g->mechanism = by_password[i];
	(void)conf;
	if (slice_ends_nocase(name, SLICE("-PLUS")))
		return err_set(err, FAIL,
			       "mechanism %.*s needs channel binding, which this version does not have",
			       SLICE_ARG(name));
	if (!g->mechanism)
		return err_set(err, FAIL, "mechanism %.*s is not available", SLICE_ARG(name));
	g->scram = strncmp(g->mechanism, "SCRAM", 5) == 0;
	g->hash = strcmp(g->mechanism, "SCRAM-SHA-256") == 0 ? GSASL_HASH_SHA256 : GSASL_HASH_SHA1;
	g->server_begins = strstr(g->mechanism, "MD5") || strcmp(g->mechanism, "LOGIN") == 0;
	return OK;
}

static enum rc check(struct conf *conf, void *instance, struct err *err)
{
	G *g = instance;
	bool keys = g->server_key && g->server_skey;
	enum rc rc = find_mechanism(conf, g, err);

	if (rc != OK)
		return rc;
	if ((g->server_key || g->server_skey) && !keys)
		return err_set(err, FAIL, "server_key and server_skey go together");
	if (g->server_channelbinding || g->client_channelbinding)
		conf_warn(conf, &g->a.instance.place,
			  "channel binding has no effect: logins are not bound to TLS");
	g->a.is_server =
	    g->judges_by_condition ? g->a.server_condition != NULL : g->server_password || (g->scram && keys);
	g->a.is_client = g->client_username &&
			 (g->client_password || g->client_spassword ||
			  strcmp(g->mechanism, "EXTERNAL") == 0 || strcmp(g->mechanism, "ANONYMOUS") == 0);
	g->a.client_fixed = auth_text_fixed(expansion_text(g->client_username)) &&
			    auth_text_fixed(expansion_text(g->client_password)) &&
			    auth_text_fixed(expansion_text(g->client_spassword)) &&
			    auth_text_fixed(expansion_text(g->client_authz));
	if (g->judges_by_condition && g->server_password && !g->a.server_condition)
		return err_set(err, FAIL, "mechanism %s needs server_condition, which judges the password",
			       g->mechanism);
	if (!g->judges_by_condition && g->a.server_condition && !g->a.is_server)
		return err_set(err, FAIL, "mechanism %s needs server_password%s", g->mechanism,
			       g->scram ? ", or server_key and server_skey" : "");
	return OK;
}

static const struct auth_ops ops = {.server = server_run, .client = client_run};
const struct conf_driver auth_gsasl_driver = {
    .name = "gsasl",
    .size = sizeof(G),
    .options = options,
    .option_count = ARRAY_COUNT(options),
    .check = check,
    .ops = &ops,
};
