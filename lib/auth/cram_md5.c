/* cram_md5: CRAM-MD5 (RFC 2195): the client proves that it knows the secret without sending it. */
#include "driver.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <unistd.h>
#include <sys/random.h>

struct cram_md5 {
	struct authenticator a;
	const struct expansion *server_secret, *client_name, *client_secret;
};

static const struct conf_option options[] = {
    OPT_EXPAND(struct cram_md5, client_name, NULL, "the name; unset: primary_hostname"),
    OPT_EXPAND(struct cram_md5, client_secret, NULL, "the password"),
    OPT_EXPAND(struct cram_md5, server_secret, NULL, "the password of $auth1"),
};

#define DIGEST_HEX 32

/* HMAC-MD5 (RFC 2104) in lower-case hexadecimal. */
static bool digest_hex(struct slice secret, struct slice challenge, struct str *hex)
{
	uint8_t raw[WC_MD5_DIGEST_SIZE];
	Hmac hmac;
	bool good;

	if (wc_HmacInit(&hmac, NULL, INVALID_DEVID) != 0)
		return false;
	good = wc_HmacSetKey(&hmac, WC_MD5, (const byte *)secret.ptr, secret.len) == 0 &&
	       wc_HmacUpdate(&hmac, (const byte *)challenge.ptr, challenge.len) == 0 &&
	       wc_HmacFinal(&hmac, raw) == 0;
	wc_HmacFree(&hmac);
	if (good)
		hex_encode(hex, slice_make((const char *)raw, sizeof(raw), CLEAN), false);
	return good && !hex->failed;
}

/* <random.time@host>: of the form of a Message-ID, never the same twice, and not to be guessed. */
static struct slice make_challenge(struct scope *sc)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return (struct slice){NULL, 0, CLEAN};
	return arena_printf(sc->task->arena, "<%llu.%llu@%.*s>", (unsigned long long)random,
			    (unsigned long long)(shard_wall(sc->task->shard) / NS_PER_S),
			    SLICE_ARG(conf_main(sc->conf)->primary_hostname));
}

static enum auth_result server_run(struct auth_server *server)
{
	const struct cram_md5 *c = (const struct cram_md5 *)server->authenticator;
	struct scope *sc = server->sc;
	struct str hex = str_make(sc->task->arena);
	struct slice challenge, response, name, secret;
	enum auth_result result;
	ptrdiff_t space;

	if (server->initial.ptr)
		return AUTH_UNEXPECTED;
	challenge = make_challenge(sc);
	if (!challenge.ptr)
		return auth_defer(server, "no challenge could be made");
	result = auth_prompt(server, challenge, &response);
	if (result != AUTH_OK)
		return result;
	/* The name may have spaces: the digest is what follows the last one. */
	space = slice_rfind(response, ' ');
	name = space < 0 ? response : slice_rtrim(slice_sub(response, 0, (size_t)space));
	auth_string_add(sc, name);
	if (space < 0 || response.len - (size_t)space - 1 != DIGEST_HEX)
		return AUTH_FAIL;
	result = auth_expand(server, c->server_secret, &secret);
	if (result != AUTH_OK)
		return result;
	if (!digest_hex(secret, challenge, &hex))
		return auth_defer(server, "HMAC-MD5 could not be computed");
	if (!auth_same(str_slice(&hex), slice_from(response, (size_t)space + 1)))
		return AUTH_FAIL;
	return auth_condition(server);
}

static enum auth_result client_run(struct auth_client *client)
{
	const struct cram_md5 *c = (const struct cram_md5 *)client->authenticator;
	struct arena *arena = client->sc->task->arena;
	struct str response = str_make(arena);
	struct slice name = conf_main(client->sc->conf)->primary_hostname, secret, challenge;
	enum auth_result result = AUTH_OK;

	if (c->client_name)
		result = auth_client_expand(client, expansion_text(c->client_name), &name);
	if (result == AUTH_OK)
		result = auth_client_expand(client, expansion_text(c->client_secret), &secret);
	if (result == AUTH_OK)
		result = auth_say_first(client, (struct slice){NULL, 0, CLEAN});
	if (result != AUTH_OK || client->reply.code / 100 == 2)
		return result;
	if (!auth_challenge(client, &challenge)) {
		auth_say_cancel(client);
		client->text = SLICE("bad base64 string in server response");
		return AUTH_SKIPPED;
	}
	str_add(&response, name);
	str_addc(&response, ' ');
	if (!digest_hex(secret, challenge, &response) || response.failed) {
		auth_say_cancel(client);
		client->text = SLICE("HMAC-MD5 could not be computed");
		return AUTH_ERROR;
	}
	result = auth_say_response(client, str_slice(&response));
	return result == AUTH_OK && client->reply.code / 100 != 2 ? AUTH_DEFER : result;
}

static enum rc check(struct conf *conf, void *instance, struct err *err)
{
	struct cram_md5 *c = instance;

	(void)conf;
	c->a.is_server = c->server_secret != NULL;
	c->a.is_client = c->client_secret != NULL;
	c->a.client_fixed = auth_text_fixed(expansion_text(c->client_name)) &&
			    auth_text_fixed(expansion_text(c->client_secret));
	if (c->client_name && !c->client_secret)
		return err_set(err, FAIL, "client_name is set, but client_secret is not");
	return OK;
}

static const struct auth_ops ops = {.server = server_run, .client = client_run};
const struct conf_driver auth_cram_md5_driver = {
    .name = "cram_md5",
    .size = sizeof(struct cram_md5),
    .options = options,
    .option_count = ARRAY_COUNT(options),
    .check = check,
    .ops = &ops,
};
