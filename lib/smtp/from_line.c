/* from_line: "From user@host Fri Jan  5 12:35 GMT 1996" in front of a message, UUCP's way to tell its sender. uucp_from_pattern
 * says what such a line is; over SMTP it is one only from those who are known to send it. */
#include "session.h"

bool from_line_expected(struct smtp_session *s)
{
	struct err err = err_make(NULL);

	if (s->local)
		return s->options->ignore_fromline_local;
	return s->options->ignore_fromline_hosts &&
	       match_client(session_scope(s), s->options->ignore_fromline_hosts, NULL, &err) == OK;
}

bool from_line_take(const struct smtp_options *o, struct slice *text, struct slice *numbers,
		    unsigned numbers_max, unsigned *count_ret)
{
	struct err err = err_make(NULL);
	ptrdiff_t end;
	struct slice line;

	/* Exim's own pattern, and any that makes sense, begins so: all other messages are spared the regular expression. */
	if (!o->from_line || !slice_starts(*text, SLICE("From ")))
		return false;
	end = slice_find(*text, '\n');
	line = slice_sub(*text, 0, end < 0 ? text->len : (size_t)end + 1);
	if (regex_match(o->from_line, line, numbers, numbers_max, count_ret, &err) != OK)
		return false;
	*text = slice_from(*text, line.len);
	return true;
}

enum rc from_line_sender(struct scope *sc, const struct smtp_options *o, struct slice *text,
			 struct slice *sender_ret, struct err *err)
{
	struct slice sender;
	struct address_parts parts;
	enum rc rc;

	if (!from_line_take(o, text, sc->numeric, ARRAY_COUNT(sc->numeric), &sc->numeric_count))
		return FAIL;
	rc = expand_option(sc, o->uucp_from_sender, &sender, err);
	sc->numeric_count = 0;
	if (rc != OK) {
		err_prefix(err, "expansion of uucp_from_sender failed after matching \"From \" line");
		return DEFER;
	}
	if (address_parse(sc->task->arena, sender,
			  ADDRESS_ALLOW_EMPTY | ADDRESS_ALLOW_UNQUALIFIED | address_flags(sc->conf), &parts,
			  err) == OK)
		*sender_ret = sender;
	return OK;
}
