/* What the drivers of this room share. */
#ifndef AUTH_DRIVER_H
#define AUTH_DRIVER_H

#include "auth/auth.h"

struct auth_ops {
	enum auth_result (*server)(struct auth_server *server); /* NULL: none */
	enum auth_result (*client)(struct auth_client *client);
};

extern const struct conf_driver auth_plaintext_driver, auth_cram_md5_driver, auth_external_driver,
    auth_tls_driver;
extern const struct conf_driver auth_dovecot_driver, auth_gsasl_driver, auth_cyrus_sasl_driver,
    auth_heimdal_gssapi_driver;
extern const struct conf_driver auth_spa_driver;

/* server.c: the strings that the client sent, as $auth1... and $1... */
void auth_strings_clear(struct scope *sc);
unsigned auth_string_count(const struct scope *sc);
void auth_string_add(struct scope *sc, struct slice string);
/* The pieces between NULs, at least one; past AUTH_STRING_MAX they are dropped. */
void auth_strings_split(struct scope *sc, struct slice response);
enum auth_result auth_prompt(struct auth_server *server, struct slice challenge, struct slice *response_ret);
/* An option that must be expanded: FAIL of the language that was forced is AUTH_FAIL, all else DEFER. */
enum auth_result auth_expand(struct auth_server *server, const struct expansion *option, struct slice *ret);
/* server_condition; unset is OK. */
enum auth_result auth_condition(struct auth_server *server);
enum auth_result auth_defer(struct auth_server *server, const char *format, ...) PRINTF_LIKE(2, 3);
/* Equal? Takes as long for all strings of that length. */
bool auth_same(struct slice a, struct slice b);

/* client.c */
/* "AUTH MECHANISM", with the data in base64 unless ptr is NULL; or the data alone, as a response. */
enum auth_result auth_say_first(struct auth_client *client, struct slice data);
enum auth_result auth_say_response(struct auth_client *client, struct slice data);
/* "*", since the exchange cannot go on. The reply is read and forgotten. */
void auth_say_cancel(struct auth_client *client);
/* The challenge of a 334, decoded. false: not base64. */
bool auth_challenge(struct auth_client *client, struct slice *challenge_ret);
/* For a compiled option that has to be expanded: OK, SKIPPED when it said "fail", ERROR with the text. */
enum auth_result auth_client_expand(struct auth_client *client, struct slice text, struct slice *ret);
/* Does the text ask for nothing but the host, the TLS session and what the server said? */
bool auth_text_fixed(struct slice text);

#endif
