/* external: EXTERNAL (RFC 4422 appendix A): the client says who it is, and something else (its certificate) proves it. */
#include "driver.h"

struct external {
	struct authenticator a;
	const struct expansion *client_send, *server_param2, *server_param3;
};

static const struct conf_option options[] = {
    OPT_EXPAND(struct external, client_send, NULL, "the name to say"),
    OPT_EXPAND(struct external, server_param2, NULL, "$auth2"),
    OPT_EXPAND(struct external, server_param3, NULL, "$auth3"),
};

static enum auth_result server_run(struct auth_server *server)
{
	const struct external *e = (const struct external *)server->authenticator;
	const struct expansion *const params[] = {e->server_param2, e->server_param3};
	struct slice name = server->initial;
	enum auth_result result = AUTH_OK;

	if (!name.ptr)
		result = auth_prompt(server, SLICE_EMPTY, &name);
	if (result != AUTH_OK)
		return result;
	/* A name with a NUL in it is another name to whoever compares C strings. */
	if (slice_find(name, 0) >= 0)
		return AUTH_FAIL;
	auth_string_add(server->sc, name);
	for (unsigned i = 0; i < ARRAY_COUNT(params); i++) {
		struct slice value = SLICE_EMPTY;

		result = auth_expand(server, params[i], &value);
		if (result != AUTH_OK)
			return result;
		auth_string_add(server->sc, value);
	}
	return auth_condition(server);
}

static enum auth_result client_run(struct auth_client *client)
{
	const struct external *e = (const struct external *)client->authenticator;
	struct slice name;
	enum auth_result result = auth_client_expand(client, expansion_text(e->client_send), &name);

	if (result == AUTH_OK)
		result = auth_say_first(client, name);
	if (result != AUTH_OK || client->reply.code / 100 == 2)
		return result;
	result = auth_say_response(client, name); /* a server that did not look at the initial response */
	return result == AUTH_OK && client->reply.code / 100 != 2 ? AUTH_DEFER : result;
}

static enum rc check(struct conf *conf, void *instance, struct err *err)
{
	struct external *e = instance;

	(void)conf;
	(void)err;
	e->a.is_server = e->a.server_condition != NULL;
	e->a.is_client = e->client_send != NULL;
	e->a.client_fixed = auth_text_fixed(expansion_text(e->client_send));
	return OK;
}

static const struct auth_ops ops = {.server = server_run, .client = client_run};
const struct conf_driver auth_external_driver = {
    .name = "external",
    .size = sizeof(struct external),
    .options = options,
    .option_count = ARRAY_COUNT(options),
    .check = check,
    .ops = &ops,
};
