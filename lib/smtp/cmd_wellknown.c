/* cmd_wellknown: WELLKNOWN, Exim's extension that is to mail what RFC 8615 is to the web: a client asks for a file about this
 * host by a key, in xtext (RFC 3461 section 4), and the ACL says which file that is. */
#include "session.h"

#define WELLKNOWN_COLUMNS 75 /* of xtext in a line, about: the last byte may be three characters */

bool wellknown_offered(struct smtp_session *s)
{
	struct err err = err_make(NULL);

	return s->options->acl[ACL_WHERE_WELLKNOWN] &&
	       match_client(session_scope(s), s->options->wellknown_advertise_hosts, NULL, &err) == OK;
}

/* The size, then the file in xtext. A line of the reply ends where one of the file does, or when it is long enough. */
static struct slice wellknown_text(struct arena *arena, struct slice file)
{
	struct str text = str_make(arena);
	uint32_t start = 0;

	str_reserve(&text, 32 + 4 * file.len);
	str_printf(&text, "SIZE=%u", file.len);
	for (uint32_t i = 0; i < file.len; i++) {
		if (i == 0 || file.ptr[i - 1] == '\n' || text.len - start >= WELLKNOWN_COLUMNS) {
			str_addc(&text, '\n');
			start = text.len;
		}
		xtext_encode(&text, slice_sub(file, i, 1));
	}
	return text.failed ? (struct slice){NULL, 0, 0} : str_slice(&text);
}

void cmd_wellknown(struct smtp_session *s, struct slice argument)
{
	struct acl_outcome outcome;
	enum acl_result result;
	struct slice text;
	struct err err;

	if (!wellknown_offered(s)) {
		log_session(s, LOG_TO_MAIN | LOG_TO_REJECT, "rejected \"%.*s\" from %.*s",
			    SLICE_ARG(s->serving->scope.smtp_command), SLICE_ARG(client_caller(s)));
		reply(s, 554, "5.7.1", SLICE("not permitted"));
		return;
	}
	result = session_acl(s, ACL_WHERE_WELLKNOWN, &outcome, &err);
	/* An ACL that accepts and names no file has forgotten something. */
	if ((result == ACL_ACCEPT || result == ACL_DISCARD) && !outcome.wellknown.ptr) {
		(void)err_set(&err, DEFER, "no control = wellknown");
		outcome.user_message = outcome.log_message = (struct slice){NULL, 0, 0};
		result = ACL_DEFER;
	}
	if (!acl_verdict(s, ACL_WHERE_WELLKNOWN, result, &outcome, &err, verb_name(VERB_WELLKNOWN), argument))
		return;
	text = wellknown_text(&s->serving->arena, outcome.wellknown);
	if (!text.ptr)
		reply(s, 451, "4.3.0", SLICE("out of memory, please try again later"));
	else
		reply_long(s, 250, text); /* an enhanced code would be part of the file */
}
