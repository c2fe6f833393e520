/* tls: no mechanism of SMTP: when TLS has begun, the client's certificate says who it is. */
#include "driver.h"

struct tls_authenticator {
	struct authenticator a;
	const struct expansion *server_param1, *server_param2, *server_param3;
};

#define P1 offsetof(struct tls_authenticator, server_param1)
static const struct conf_option options[] = {
    {"server_param", &conf_expansion, P1, NULL, "server_param1", OPTION_ALIAS},
    OPT_EXPAND(struct tls_authenticator, server_param1, NULL, "$auth1"),
    OPT_EXPAND(struct tls_authenticator, server_param2, NULL, "$auth2"),
    OPT_EXPAND(struct tls_authenticator, server_param3, NULL, "$auth3"),
};

static enum auth_result server_run(struct auth_server *server)
{
	const struct tls_authenticator *t = (const struct tls_authenticator *)server->authenticator;
	const struct expansion *const params[] = {t->server_param1, t->server_param2, t->server_param3};

	for (unsigned i = 0; i < ARRAY_COUNT(params); i++) {
		struct slice value = SLICE_EMPTY;
		enum auth_result result = auth_expand(server, params[i], &value);

		if (result != AUTH_OK)
			return result;
		auth_string_add(server->sc, value);
	}
	return auth_condition(server);
}

static enum rc check(struct conf *conf, void *instance, struct err *err)
{
	struct tls_authenticator *t = instance;
	const struct conf_instances *all = conf_instances(conf, CONF_SECTION_AUTHENTICATORS);

	for (unsigned i = 0; i < all->count; i++) {
		const struct conf_instance *other = all->items[i];
		if (other != instance && other->driver == &auth_tls_driver)
			return err_set(err, FAIL, "there may be one authenticator of the tls driver at most");
	}
	if (!t->a.server_condition)
		return err_set(err, FAIL,
			       "server_condition is not set: every client would be taken for authenticated");
	t->a.is_server = true;
	return OK;
}

static const struct auth_ops ops = {.server = server_run};
const struct conf_driver auth_tls_driver = {
    .name = "tls",
    .size = sizeof(struct tls_authenticator),
    .options = options,
    .option_count = ARRAY_COUNT(options),
    .check = check,
    .ops = &ops,
};
