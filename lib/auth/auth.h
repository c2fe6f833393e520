/* auth: SMTP authentication (RFC 4954), both ways: as a server that clients log in to, and as a client of other servers.
 * The "begin authenticators" section; one file a driver. A driver is a function in direct style: the server's asks
 * auth_prompt() and judges the answer, the client's says auth_say() and reads the reply. What carries the lines is the
 * caller's (lib/smtp, lib/transport): this room knows no sockets but those to Dovecot.
 *
 * Secrets (passwords, responses, digests) are never put into an error's text or a log line, and comparisons of digests take
 * the same time wherever they differ. */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "match/match.h"

/* A response of a client, in base64: RFC 4954 section 4 asks for 12288 bytes and more. */
#define AUTH_LINE_MAX 16384
/* Strings that a client's responses may give: $1, $2..., as many as there are numbers. */
#define AUTH_STRING_MAX 19

/* What every authenticator has; a driver's struct begins with it. */
struct authenticator {
	struct conf_instance instance;
	struct slice public_name; /* of the mechanism; the instance's name when the file says nothing */
	const struct expansion *client_condition, *client_set_id, *server_advertise_condition,
	    *server_condition;
	const struct expansion *server_debug_print, *server_mail_auth_condition, *server_set_id;
	/* Made by the driver when the file is checked: */
	bool is_server, is_client;
	bool client_fixed; /* what it says as a client depends on the host at most, not on the message */
};

enum auth_result {
	AUTH_OK,
	AUTH_FAIL,       /* wrong name or password; a client: the server said 5yz */
	AUTH_DEFER,      /* could not find out; a client: the server said 4yz, or the connection was lost */
	AUTH_BAD_BASE64, /* server: the client did not send base64 */
	AUTH_CANCELLED,  /* server: the client sent "*" */
	AUTH_UNEXPECTED, /* server: an initial response where the mechanism has none */
	AUTH_GONE,       /* server: there is no client any more, and nothing to be said */
	AUTH_SKIPPED, /* client: forced failure of an option, or a challenge that is none: try the next one */
	AUTH_ERROR,   /* client: an option of ours is wrong */
};

/* ---- As a server ------------------------------------------------------------------------------------------ */

struct auth_server {
	struct scope *sc; /* client set; $auth1 and $1 are left in it */
	const struct authenticator *authenticator;
	struct slice initial; /* the initial response, decoded; ptr NULL: the client gave none */
	/* Sends the challenge (clear; the caller encodes it) and gives the client's response, decoded, in the task's arena,
	 * tainted. Parks. OK, BAD_BASE64, CANCELLED, GONE. */
	enum auth_result (*prompt)(void *arg, struct slice challenge, struct slice *response_ret);
	void *arg;
	/* Results. */
	struct slice id;          /* server_set_id, made printable; empty: none */
	struct slice defer_text;  /* with DEFER: why, for the log */
	struct slice client_text; /* with DEFER: what the client is told besides */
};
/* The whole exchange, with server_condition and server_set_id. Parks. */
enum auth_result auth_server_run(struct auth_server *server);
/* Is the mechanism offered to this client now (server_advertise_condition)? OK, FAIL, DEFER with err. Parks. */
NODISCARD enum rc auth_advertised(struct scope *sc, const struct authenticator *authenticator,
				  struct err *err);
/* server_mail_auth_condition: may the AUTH= of MAIL be believed? DEFER and FAIL are no. Parks. */
bool auth_sender_trusted(struct scope *sc, const struct authenticator *authenticator);
/* The mechanism behind AUTH's first word; NULL: none that is a server. */
const struct authenticator *auth_find_server(const struct conf *conf, struct slice mechanism);
/* The one of the tls driver, which is asked when TLS begins, without any command; NULL: none. */
const struct authenticator *auth_find_tls(const struct conf *conf);

/* ---- As a client ------------------------------------------------------------------------------------------ */

struct auth_reply {
	int code;          /* 0: the connection was lost */
	struct slice text; /* lines joined with LF, with their codes */
};
struct auth_client {
	struct scope *sc; /* host set */
	const struct authenticator *authenticator;
	/* Sends the line and reads the reply. shown is what logs may show of it. FAIL and DEFER: lost, code 0. Parks. */
	enum rc (*say)(void *arg, struct slice line, struct slice shown, struct auth_reply *reply_ret);
	void *arg;
	/* Results. */
	struct auth_reply reply; /* the last one */
	struct slice text;       /* with SKIPPED and ERROR: why; empty: nothing to log */
};
/* Should this one be used here (client_condition)? An error is told through text_ret and counts as no. Parks. */
bool auth_client_wanted(struct scope *sc, const struct authenticator *authenticator);
/* OK, FAIL, DEFER, SKIPPED, ERROR. Parks. */
enum auth_result auth_client_run(struct auth_client *client);
/* client_set_id; empty: none. Parks. */
struct slice auth_client_id(struct scope *sc, const struct authenticator *authenticator);
/* Do all that we say as a client depend on the host at most? Then a connection may be used for another message. */
bool auth_clients_fixed(const struct conf *conf);

extern const struct conf_section auth_conf_section; /* begin authenticators */
extern const struct conf_feature auth_features[];

#endif
