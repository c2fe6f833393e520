/* Drivers that need libraries this version is not built with: their names and options are known, but a file that uses one
 * is refused. To load it would mean to refuse every login later, and nobody would know why. */
#include "driver.h"

static enum rc check(struct conf *conf, void *instance, struct err *err)
{
	const struct authenticator *a = instance;

	(void)conf;
	return err_set(err, FAIL, "the driver %s is not available in this version%s",
		       a->instance.driver->name,
		       slice_eq(slice_of(a->instance.driver->name), SLICE("spa"))
			   ? ""
			   : "; the dovecot driver reaches the same mechanisms");
}

#define KEPT(name) OPT_NO_EFFECT(name, "the driver is not available in this version")
#ifndef SLUICE_GSASL
static const struct conf_option gsasl[] = {
    KEPT("client_authz"),      KEPT("client_channelbinding"),
    KEPT("client_password"),   KEPT("client_spassword"),
    KEPT("client_username"),   KEPT("server_channelbinding"),
    KEPT("server_hostname"),   KEPT("server_key"),
    KEPT("server_mech"),       KEPT("server_password"),
    KEPT("server_realm"),      KEPT("server_scram_iter"),
    KEPT("server_scram_salt"), KEPT("server_service"),
    KEPT("server_skey"),
};
#endif
static const struct conf_option cyrus_sasl[] = {
    KEPT("server_hostname"),
    KEPT("server_mech"),
    KEPT("server_realm"),
    KEPT("server_service"),
};
static const struct conf_option heimdal_gssapi[] = {KEPT("server_hostname"), KEPT("server_keytab"),
						    KEPT("server_service")};
static const struct conf_option spa[] = {
    KEPT("client_domain"),
    KEPT("client_password"),
    KEPT("client_username"),
    KEPT("server_password"),
};

static const struct auth_ops ops = {.server = NULL};
#define DRIVER(word)                                      \
	const struct conf_driver auth_##word##_driver = { \
	    .name = #word,                                \
	    .size = sizeof(struct authenticator),         \
	    .options = word,                              \
	    .option_count = ARRAY_COUNT(word),            \
	    .check = check,                               \
	    .ops = &ops,                                  \
	}
#ifndef SLUICE_GSASL
DRIVER(gsasl);
#endif
DRIVER(cyrus_sasl);
DRIVER(heimdal_gssapi);
DRIVER(spa);
