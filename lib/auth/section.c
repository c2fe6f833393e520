/* The authenticators section: generic options, and the one list of all drivers. */
#include "driver.h"

#define A struct authenticator
static const struct conf_option generic[] = {
    OPT_EXPAND(A, client_condition, NULL, "as a client: use it only if this is true"),
    OPT_EXPAND(A, client_set_id, NULL, "as a client: the name for the log"),
    OPT_STRING(A, public_name, NULL, "of the mechanism; unset: the authenticator's name"),
    OPT_EXPAND(A, server_advertise_condition, NULL, "offer it only if this is true"),
    OPT_EXPAND(A, server_condition, NULL, "is the client who it says?"),
    OPT_EXPAND(A, server_debug_print, NULL, "text for -d and control = debug"),
    OPT_EXPAND(A, server_mail_auth_condition, NULL, "believe the AUTH= of MAIL only if this is true"),
    OPT_EXPAND(A, server_set_id, NULL, "$authenticated_id"),
};

static const struct conf_driver *const drivers[] = {
    &auth_cram_md5_driver,  &auth_cyrus_sasl_driver,
    &auth_dovecot_driver,   &auth_external_driver,
    &auth_gsasl_driver,     &auth_heimdal_gssapi_driver,
    &auth_plaintext_driver, &auth_spa_driver,
    &auth_tls_driver,       NULL,
};

#define NAME_MAX_LEN 64

static enum rc check(struct conf *conf, void *instance, struct err *err)
{
	struct authenticator *a = instance;

	(void)conf;
	if (a->instance.name.len > NAME_MAX_LEN)
		return err_set(err, FAIL, "the name is longer than %d characters", NAME_MAX_LEN);
	if (!a->public_name.ptr)
		a->public_name = a->instance.name;
	/* It becomes a word of our EHLO reply and of commands to other servers. */
	for (uint32_t i = 0; i < a->public_name.len; i++)
		if (!ascii_is_alnum(a->public_name.ptr[i]) && a->public_name.ptr[i] != '-' &&
		    a->public_name.ptr[i] != '_')
			return err_set(err, FAIL, "public_name \"%.*s\" is no name of a mechanism",
				       SLICE_ARG(a->public_name));
	return a->public_name.len ? OK : err_set(err, FAIL, "public_name is empty");
}

const struct conf_section auth_conf_section = {
    .id = CONF_SECTION_AUTHENTICATORS,
    .name = "authenticators",
    .drivers = drivers,
    .generic = generic,
    .generic_count = ARRAY_COUNT(generic),
    .head_size = sizeof(struct authenticator),
    .check = check,
};

const struct conf_feature auth_features[] = {
#ifdef SLUICE_GSASL
    {"_HAVE_AUTH_GSASL_SCRAM_S_KEY", NULL},
#endif
    {NULL, NULL},
};

const struct authenticator *auth_find_server(const struct conf *conf, struct slice mechanism)
{
	const struct conf_instances *all = conf_instances(conf, CONF_SECTION_AUTHENTICATORS);

	for (unsigned i = 0; i < all->count; i++) {
		const struct authenticator *a = all->items[i];

		if (a->is_server && a->instance.driver != &auth_tls_driver &&
		    slice_eq_nocase(a->public_name, mechanism))
			return a;
	}
	return NULL;
}

const struct authenticator *auth_find_tls(const struct conf *conf)
{
	const struct conf_instances *all = conf_instances(conf, CONF_SECTION_AUTHENTICATORS);

	for (unsigned i = 0; i < all->count; i++) {
		const struct authenticator *a = all->items[i];

		if (a->is_server && a->instance.driver == &auth_tls_driver)
			return a;
	}
	return NULL;
}

bool auth_clients_fixed(const struct conf *conf)
{
	const struct conf_instances *all = conf_instances(conf, CONF_SECTION_AUTHENTICATORS);

	for (unsigned i = 0; i < all->count; i++) {
		const struct authenticator *a = all->items[i];

		if (a->is_client &&
		    !(a->client_fixed && auth_text_fixed(expansion_text(a->client_condition)) &&
		      auth_text_fixed(expansion_text(a->client_set_id))))
			return false;
	}
	return true;
}
