/* The lines of Dovecot's auth client protocol, version 1: words between tabs, ended by LF. */
#include "dovecot.h"

enum rc dovecot_greeting_line(struct dovecot_greeting *g, struct slice line, struct slice mechanism,
			      struct err *err)
{
	struct slice rest = line, word, value;

	if (!slice_split(&rest, '\t', &word))
		return OK;
	if (!rest.ptr || !slice_split(&rest, '\t', &value))
		value = SLICE_EMPTY;
	if (slice_eq(word, SLICE("VERSION"))) {
		if (!slice_eq(value, SLICE("1")))
			return err_set(err, FAIL, "its protocol has the version %.*s, not 1",
				       SLICE_ARG(slice_sub(value, 0, 20)));
		g->version = true;
	} else if (slice_eq(word, SLICE("SPID"))) {
		g->spid = true;
		/* Only the socket for its own processes names its process before any mechanism. */
		if (!g->mechanisms)
			return err_set(err, FAIL, "it is an auth-master socket, not one for clients");
	} else if (slice_eq(word, SLICE("MECH"))) {
		g->mechanisms = true;
		if (slice_eq_nocase(value, mechanism))
			g->offered = true;
	} else if (slice_eq(word, SLICE("DONE"))) {
		if (!g->version)
			return err_set(err, FAIL, "it did not tell its version");
		if (!g->offered)
			return err_set(err, FAIL, "it does not offer %.*s", SLICE_ARG(mechanism));
		g->done = true;
	}
	return OK; /* words of later minor versions are none of our business */
}

/* Tabs, line ends and NULs stand as \001 and a letter. */
static struct slice unescape(struct arena *arena, struct slice text)
{
	static const char from[] = "01trn", to[] = "\0\001\t\r\n";
	struct str out = str_make(arena);

	for (uint32_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == 1 && i + 1 < text.len) {
			const char *at = memchr(from, text.ptr[++i], sizeof(from) - 1);
			c = at ? to[at - from] : text.ptr[i];
		}
		str_addc(&out, c);
	}
	return out.failed ? SLICE_EMPTY : slice_tainted(str_slice(&out));
}

static enum rc parse_challenge(struct arena *arena, struct slice text, struct slice *ret, struct err *err)
{
	struct str clear = str_make(arena);

	if (!base64_decode(&clear, text))
		return err_set(err, FAIL, "its challenge is not base64");
	if (clear.failed)
		return err_memory(err);
	*ret = slice_tainted(str_slice(&clear));
	return OK;
}

enum rc dovecot_answer_parse(struct arena *arena, struct slice line, unsigned id, struct dovecot_answer *a,
			     struct err *err)
{
	struct slice rest = line, word, value;
	uint64_t number;

	*a = (struct dovecot_answer){.user = SLICE_EMPTY, .challenge = SLICE_EMPTY};
	if (!slice_split(&rest, '\t', &word))
		return err_set(err, FAIL, "it said nothing");
	if (slice_eq(word, SLICE("OK")))
		a->kind = DOVECOT_OK;
	else if (slice_eq(word, SLICE("FAIL")))
		a->kind = DOVECOT_FAIL;
	else if (slice_eq(word, SLICE("CONT")))
		a->kind = DOVECOT_CONT;
	else
		return err_set(err, FAIL, "its answer is unknown");
	if (!rest.ptr || !slice_split(&rest, '\t', &value) || !parse_u64(value, &number) || number != id)
		return err_set(err, FAIL, "it answers a request that was not made");
	if (a->kind == DOVECOT_CONT) {
		if (!rest.ptr || !slice_split(&rest, '\t', &value))
			value = SLICE_EMPTY;
		return parse_challenge(arena, value, &a->challenge, err);
	}
	while (rest.ptr && slice_split(&rest, '\t', &value)) {
		if (slice_starts(value, SLICE("user=")))
			a->user = unescape(arena, slice_from(value, 5));
		else if (slice_eq(value, SLICE("temp")))
			a->temporary = true;
	}
	if (a->kind == DOVECOT_OK && !a->user.len)
		return err_set(err, FAIL, "it did not tell who the user is");
	return OK;
}
