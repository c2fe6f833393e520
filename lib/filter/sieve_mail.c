/* Sieve's vacation (RFC 5230) and notify (RFC 5435, by mailto: RFC 5436). */
#include "sieve.h"

#define DAYS_DEFAULT 7
#define DAYS_MAX     31
#define DAY_S        86400

struct vacation {
	uint64_t days;
	struct slice subject, from, handle, reason; /* ptr NULL: not given */
	struct string_list *addresses;
	bool mime;
};

static enum rc vacation_option(struct sieve *s, struct vacation *v, bool *taken_ret)
{
	static const char *const words[] = {":days", ":subject", ":from", ":addresses", ":mime", ":handle"};
	unsigned which = 0;
	bool found = true;
	enum rc rc;

	while (which < ARRAY_COUNT(words) && !sieve_word(s, words[which]))
		which++;
	*taken_ret = which < ARRAY_COUNT(words);
	if (!*taken_ret)
		return OK;
	rc = sieve_space(s);
	if (rc != OK)
		return rc;
	switch (which) {
	case 0:
		rc = sieve_number(s, &v->days, &found);
		return rc == OK && !found ? sieve_error(s, "missing number") : rc;
	case 1:
		return sieve_need_string(s, &v->subject, "missing string");
	case 2:
		return sieve_need_string(s, &v->from, "missing string");
	case 3:
		return sieve_need_list(s, &v->addresses, "address string list expected");
	case 4:
		v->mime = true;
		return OK;
	default:
		return sieve_need_string(s, &v->handle, "missing string");
	}
}

/* Different answers are counted apart: by their handle, or by what they say. */
static struct slice once_name(struct sieve *s, const struct vacation *v)
{
	struct str key = str_make(s->arena);
	uint64_t hash = 14695981039346656037ull; /* FNV-1a: the name has to be the same after a restart */

	if (v->handle.ptr) {
		str_add(&key, v->handle);
	} else {
		str_printf(&key, "%.*s\n%.*s\n%d\n%.*s", (int)v->subject.len,
			   v->subject.ptr ? v->subject.ptr : "", (int)v->from.len,
			   v->from.ptr ? v->from.ptr : "", v->mime, SLICE_ARG(v->reason));
	}
	for (uint32_t i = 0; i < key.len; i++)
		hash = (hash ^ (unsigned char)key.ptr[i]) * 1099511628211ull;
	return arena_printf(s->arena, "%.*s/%016llx", SLICE_ARG(s->run->rules->sieve_vacation_directory),
			    (unsigned long long)hash);
}

static enum rc default_subject(struct sieve *s, struct slice *ret)
{
	struct header *h = header_find(&s->run->sc->message->headers, SLICE("subject"), NULL);
	struct str text = str_make(s->arena);
	struct slice old = h ? header_body(h) : SLICE_EMPTY;

	if (old.len == 0) {
		*ret = SLICE("Automated reply");
		return OK;
	}
	str_addz(&text, "Auto: ");
	for (uint32_t i = 0; i < old.len; i++)
		if (old.ptr[i] != '\n' && old.ptr[i] != '\r')
			str_addc(&text, old.ptr[i]);
	*ret = str_slice(&text);
	return ret->ptr ? OK : err_memory(s->err);
}

/* :mime: the reason begins with header lines of its own. */
static void split_mime(struct filter_reply *reply, struct slice reason)
{
	ptrdiff_t end = slice_search(reason, SLICE("\n\n"));

	reply->headers = slice_rtrim(end < 0 ? reason : slice_sub(reason, 0, (size_t)end));
	reply->text = end < 0 ? SLICE_EMPTY : slice_from(reason, (size_t)end + 2);
}

static const struct slice plain_headers = SLICE_INIT(
    "MIME-Version: 1.0\nContent-Type: text/plain; charset=\"utf-8\"\nContent-Transfer-Encoding: 8bit");

static enum rc add_reply(struct sieve *s, struct filter_reply *reply)
{
	struct filter_action *action = run_action(s->run, FILTER_REPLY, false, false);

	if (!action)
		return FAIL;
	action->reply = reply;
	action->text = reply->to;
	return OK;
}

/* To the sender, if the message is for this user himself and from a person. */
static enum rc answer(struct sieve *s, const struct vacation *v)
{
	struct filter_reply *reply = arena_make(s->arena, struct filter_reply);
	struct alias *aliases = NULL;
	bool personal = false;
	enum rc rc;

	if (!reply)
		return err_memory(s->err);
	for (const struct string_list *a = v->addresses; a; a = a->next) {
		struct alias *alias = arena_make(s->arena, struct alias);
		if (!alias)
			return err_memory(s->err);
		*alias = (struct alias){.next = aliases, .text = a->text};
		aliases = alias;
	}
	rc = personal_test(s->run, aliases, &personal);
	if (rc != OK || !personal || s->run->rules->print)
		return rc;
	if (!s->run->rules->sieve_vacation_directory.ptr)
		return sieve_error(s, "vacation disabled");
	*reply = (struct filter_reply){.to = scope_sender(s->run->sc),
				       .from = v->from,
				       .subject = v->subject,
				       .once_repeat_s = (int64_t)(v->days < 1          ? 1
								  : v->days > DAYS_MAX ? DAYS_MAX
										       : v->days) *
							DAY_S,
				       .once = once_name(s, v)};
	if (v->mime) {
		split_mime(reply, v->reason);
	} else {
		reply->headers = plain_headers;
		reply->text = v->reason;
	}
	if (!reply->subject.ptr)
		rc = default_subject(s, &reply->subject);
	return rc == OK ? add_reply(s, reply) : rc;
}

enum rc sieve_vacation(struct sieve *s, bool exec)
{
	struct vacation v = {.days = DAYS_DEFAULT};
	bool taken = true;
	enum rc rc = OK;

	if (!(s->required & SIEVE_VACATION))
		return sieve_error(s, "missing previous require \"vacation\";");
	if (exec && s->vacation_done)
		return sieve_error(s, "trying to execute vacation more than once");
	while (rc == OK && taken) {
		rc = sieve_space(s);
		if (rc == OK)
			rc = vacation_option(s, &v, &taken);
	}
	if (rc == OK)
		rc = sieve_need_string(s, &v.reason, "missing reason string");
	if (rc == OK && !sieve_sign(s, ';'))
		return sieve_error(s, "missing semicolon");
	if (rc != OK || !exec)
		return rc;
	s->vacation_done = true;
	return answer(s, &v);
}

/* ---- notify -------------------------------------------------------------------------------------------------------------- */

static struct slice percent_decode(struct sieve *s, struct slice text)
{
	struct str out = str_make(s->arena);
	struct slice result;

	for (uint32_t i = 0; i < text.len; i++) {
		int high = i + 2 < text.len && text.ptr[i] == '%' ? hex_digit(text.ptr[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(text.ptr[i + 2]) : -1;
		char c = low >= 0 ? (char)(high << 4 | low) : text.ptr[i];

		i += low >= 0 ? 2 : 0;
		str_addc(&out, c == '\n' || c == '\r' ? ' ' : c); /* nothing in it may begin a header line */
	}
	result = str_slice(&out);
	return result.ptr ? result : SLICE_EMPTY;
}

/* mailto:address,address?subject=...&body=...&cc=... (RFC 6068). Other header fields are left out. */
static void read_uri(struct sieve *s, struct slice uri, struct filter_reply *reply)
{
	struct slice fields, field;
	ptrdiff_t at = slice_find(uri, '?');

	reply->to = percent_decode(s, slice_sub(uri, 7, at < 0 ? SIZE_MAX : (size_t)at - 7));
	fields = at < 0 ? SLICE_EMPTY : slice_from(uri, (size_t)at + 1);
	while (fields.ptr && fields.len && slice_split(&fields, '&', &field)) {
		struct slice value;
		at = slice_find(field, '=');
		if (at <= 0)
			continue;
		value = percent_decode(s, slice_from(field, (size_t)at + 1));
		field = slice_sub(field, 0, (size_t)at);
		if (slice_eq_nocase(field, SLICE("subject")))
			reply->subject = value;
		else if (slice_eq_nocase(field, SLICE("body")))
			reply->text = value;
		else if (slice_eq_nocase(field, SLICE("cc")))
			reply->cc = value;
	}
}

static enum rc send_notice(struct sieve *s, struct slice method, struct slice from, struct slice message)
{
	struct filter_reply *reply = arena_make(s->arena, struct filter_reply);
	struct header *h = header_find(&s->run->sc->message->headers, SLICE("auto-submitted"), NULL);
	struct str text = str_make(s->arena);
	enum rc rc = OK;

	if (!reply)
		return err_memory(s->err);
	/* RFC 5436 section 2.7.1: what is automatic itself sets nothing off. */
	if (s->run->rules->print || (h && !slice_eq_nocase(header_body(h), SLICE("no"))))
		return OK;
	read_uri(s, method, reply);
	reply->from = from.ptr ? from : s->run->rules->sieve_enotify_mailto_owner;
	for (uint32_t i = 0; message.ptr && i < message.len; i++)
		str_addc(&text, message.ptr[i] == '\n' || message.ptr[i] == '\r' ? ' ' : message.ptr[i]);
	if (message.ptr)
		reply->subject = str_slice(&text);
	else if (!reply->subject.ptr)
		rc = default_subject(s, &reply->subject);
	reply->headers = plain_headers;
	return rc == OK && reply->to.len ? add_reply(s, reply) : rc;
}

static enum rc notify_option(struct sieve *s, struct slice *from, struct slice *message, bool *taken_ret)
{
	struct string_list *ignored;
	struct slice importance;
	enum rc rc = OK;

	*taken_ret = true;
	if (sieve_word(s, ":from")) {
		rc = sieve_space(s);
		return rc == OK ? sieve_need_string(s, from, "from string expected") : rc;
	}
	if (sieve_word(s, ":message")) {
		rc = sieve_space(s);
		return rc == OK ? sieve_need_string(s, message, "message string expected") : rc;
	}
	if (sieve_word(s, ":options")) {
		rc = sieve_space(s);
		return rc == OK ? sieve_need_list(s, &ignored, "option string list expected") : rc;
	}
	*taken_ret = sieve_word(s, ":importance");
	if (!*taken_ret)
		return OK;
	rc = sieve_space(s);
	if (rc == OK)
		rc = sieve_need_string(s, &importance, "importance string expected");
	if (rc == OK && (importance.len != 1 || importance.ptr[0] < '1' || importance.ptr[0] > '3'))
		return sieve_error(s, "invalid importance");
	return rc;
}

enum rc sieve_notify(struct sieve *s, bool exec)
{
	struct slice from = {NULL, 0, CLEAN}, message = {NULL, 0, CLEAN}, method;
	bool taken = true;
	enum rc rc = OK;

	if (!(s->required & SIEVE_ENOTIFY))
		return sieve_error(s, "missing previous require \"enotify\";");
	while (rc == OK && taken) {
		rc = sieve_space(s);
		if (rc == OK)
			rc = notify_option(s, &from, &message, &taken);
	}
	if (rc == OK)
		rc = sieve_need_string(s, &method, "missing method string");
	if (rc == OK && !sieve_sign(s, ';'))
		return sieve_error(s, "missing semicolon");
	if (rc != OK)
		return rc;
	if (!slice_starts_nocase(method, SLICE("mailto:")))
		return sieve_error(s, "unknown notification method");
	return exec ? send_notice(s, method, from, message) : OK;
}
