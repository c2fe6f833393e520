/* Connections to Dovecot's auth service. */
#ifndef AUTH_DOVECOT_DIAL_H
#define AUTH_DOVECOT_DIAL_H

#include "tls/tls.h"

struct dovecot_address {
	struct slice path; /* of a Unix socket; empty: a host */
	struct slice host; /* as it is written */
	struct ip_addr ip; /* family 0: host is a name, to be looked up */
	uint16_t port;
	bool tls;
	struct slice
	    authorities; /* by which its certificate is verified, which has to name the host; empty: any will do */
};
/* "/path", or "host port". FAIL: neither. */
NODISCARD enum rc dovecot_address_parse(struct slice text, struct dovecot_address *ret, struct err *err);
/* Looks up, connects, and secures, by task->until. Parks. DEFER: err says what did not work; CANCELLED. */
NODISCARD enum rc dovecot_dial(struct task *task, const struct conf *conf, const struct dovecot_address *to,
			       struct stream **ret, struct err *err);

#endif
