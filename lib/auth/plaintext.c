/* plaintext: PLAIN (RFC 4616) and LOGIN, and whatever else sends its strings in clear. */
#include "driver.h"

struct plaintext {
	struct authenticator a;
	const struct expansion *server_prompts;
	bool client_ignore_invalid_base64;
	const struct expansion
	    *client_send; /* a list: each item is expanded by itself, when its turn comes */
};

static const struct conf_option options[] = {
    OPT_BOOL(struct plaintext, client_ignore_invalid_base64, "no",
	     "a challenge that is not base64 counts as empty"),
    OPT_EXPAND(struct plaintext, client_send, NULL, "a list: what is sent, ^ for NUL"),
    OPT_EXPAND(struct plaintext, server_prompts, NULL, "a list: what the client is asked"),
};

/* ---- Server -------------------------------------------------------------------------------------------------- */

static enum auth_result server_run(struct auth_server *server)
{
	const struct plaintext *p = (const struct plaintext *)server->authenticator;
	struct scope *sc = server->sc;
	struct slice prompts, prompt, response;
	enum auth_result result;
	char separator = 0;
	unsigned number = 1;

	/* The prompts first: they must not see what a client sends. */
	result = auth_expand(server, p->server_prompts, &prompts);
	if (result != AUTH_OK)
		return result == AUTH_FAIL
			   ? auth_defer(server, "expansion of server_prompts was forced to fail")
			   : result;
	if (server->initial.ptr)
		auth_strings_split(sc, server->initial);
	while (auth_string_count(sc) < AUTH_STRING_MAX &&
	       list_next(sc->task->arena, &prompts, &separator, &prompt)) {
		if (!prompt.ptr)
			return auth_defer(server, "out of memory");
		if (number++ <= auth_string_count(sc))
			continue;
		result = auth_prompt(server, prompt, &response);
		if (result != AUTH_OK)
			return result;
		auth_strings_split(sc, response);
	}
	/* Nothing was asked and nothing was given. */
	if (!auth_string_count(sc))
		return AUTH_FAIL;
	return auth_condition(server);
}

/* ---- Client -------------------------------------------------------------------------------------------------- */

/* "^" is NUL, "^^" is "^". */
static struct slice circumflexes(struct arena *arena, struct slice text)
{
	struct str out = str_make(arena);

	for (uint32_t i = 0; i < text.len; i++) {
		bool twice = text.ptr[i] == '^' && i + 1 < text.len && text.ptr[i + 1] == '^';
		str_addc(&out, text.ptr[i] == '^' && !twice ? 0 : text.ptr[i]);
		i += twice;
	}
	return out.failed ? (struct slice){NULL, 0, CLEAN} : str_slice(&out);
}

/* Takes the challenge of the last reply as the next $auth. */
static bool take_challenge(struct auth_client *client, unsigned *count)
{
	const struct plaintext *p = (const struct plaintext *)client->authenticator;
	struct slice challenge;

	if (!auth_challenge(client, &challenge)) {
		if (!p->client_ignore_invalid_base64)
			return false;
		challenge = SLICE_EMPTY;
	}
	if (*count < ARRAY_COUNT(client->sc->auth))
		client->sc->auth[(*count)++] = challenge;
	return true;
}

static enum auth_result client_run(struct auth_client *client)
{
	const struct plaintext *p = (const struct plaintext *)client->authenticator;
	struct arena *arena = client->sc->task->arena;
	struct slice list = expansion_text(p->client_send), item, data;
	enum auth_result result = AUTH_OK;
	unsigned challenges = 0;
	bool first = true;
	char separator = 0;

	for (; list_next(arena, &list, &separator, &item); first = false) {
		if (!first && !take_challenge(client, &challenges)) {
			auth_say_cancel(client);
			client->text = SLICE("invalid base64 string in server response");
			return AUTH_SKIPPED;
		}
		result = item.ptr ? auth_client_expand(client, item, &data) : AUTH_ERROR;
		if (result == AUTH_OK) {
			data = circumflexes(arena, data);
			if (!data.ptr)
				result = AUTH_ERROR;
		}
		if (result != AUTH_OK) {
			if (!first)
				auth_say_cancel(client);
			return result;
		}
		if (first && !data.len)
			data.ptr = NULL; /* nothing goes with the command */
		result = first ? auth_say_first(client, data) : auth_say_response(client, data);
		/* A server that is content before all was said has said enough. */
		if (result != AUTH_OK || client->reply.code / 100 == 2)
			return result;
	}
	auth_say_cancel(client);
	client->text = arena_printf(arena, "Too few items in client_send in %.*s authenticator",
				    SLICE_ARG(client->authenticator->instance.name));
	return AUTH_ERROR;
}

static enum rc check(struct conf *conf, void *instance, struct err *err)
{
	struct plaintext *p = instance;

	(void)conf;
	(void)err;
	p->a.is_server = p->a.server_condition != NULL;
	p->a.is_client = p->client_send != NULL;
	p->a.client_fixed = auth_text_fixed(expansion_text(p->client_send));
	return OK;
}

static const struct auth_ops ops = {.server = server_run, .client = client_run};
const struct conf_driver auth_plaintext_driver = {
    .name = "plaintext",
    .size = sizeof(struct plaintext),
    .options = options,
    .option_count = ARRAY_COUNT(options),
    .check = check,
    .ops = &ops,
};
