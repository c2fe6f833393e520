/* authres: ${authresults{id}}: what was checked so far, as an Authentication-Results field (RFC 8601); and the removal of fields
 * that claim to be ours. */
#include "base/codec.h"
#include "mailauth/mailauth.h"

#include "dmarc_state.h"

#define LINE_MAX_BYTES  900 /* RFC 5322 section 2.1.1: no line above 998 */
#define VALUE_MAX_BYTES 600 /* what is longer is nobody's domain */
#define USUAL_BYTES     512 /* a field with a method or two of each kind */

/* ---- Making ------------------------------------------------------------------------------------------------------- */

static bool is_token(struct slice s)
{
	static const bool special[256] = {
	    [0 ... ' '] = true, ['('] = true, [')'] = true, ['<'] = true,  ['>'] = true, ['@'] = true,
	    [','] = true,       [';'] = true, [':'] = true, ['\\'] = true, ['"'] = true, ['/'] = true,
	    ['['] = true,       [']'] = true, ['?'] = true, ['='] = true,  [0x7f] = true};

	for (uint32_t i = 0; i < s.len; i++)
		if (special[(unsigned char)s.ptr[i]])
			return false;
	return s.len;
}

static void add_quoted(struct str *out, struct slice s)
{
	str_addc(out, '"');
	for (uint32_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (c == '"' || c == '\\')
			str_addc(out, '\\');
		str_addc(out, (c < ' ' && c != '\t') || c == 0x7f ? ' ' : (char)c);
	}
	str_addc(out, '"');
}

/* A token, [local-part]@domain, or a quoted string (section 2.2: pvalue). */
static void add_value(struct str *out, struct slice value)
{
	ptrdiff_t at;

	if (is_token(value)) {
		str_add(out, value);
		return;
	}
	at = slice_rfind(value, '@');
	if (at >= 0 && is_token(slice_from(value, (size_t)at + 1)) &&
	    (at == 0 || is_token(slice_sub(value, 0, (size_t)at))))
		str_add(out, value);
	else
		add_quoted(out, value);
}

void authres_method(struct authres_maker *maker, struct slice method, struct slice result,
		    struct slice comment)
{
	str_addz(maker->out, ";\n\t");
	maker->line = maker->out->len;
	maker->count++;
	str_add(maker->out, method);
	str_addc(maker->out, '=');
	str_add(maker->out, result);
	if (!comment.len)
		return;
	str_addz(maker->out, " (");
	for (uint32_t i = 0; i < comment.len && i < VALUE_MAX_BYTES; i++) {
		unsigned char c = (unsigned char)comment.ptr[i];
		if (c == '(' || c == ')' || c == '\\')
			str_addc(maker->out, '\\');
		str_addc(maker->out, c < ' ' || c == 0x7f ? ' ' : (char)c);
	}
	str_addc(maker->out, ')');
}

void authres_property(struct authres_maker *maker, struct slice name, struct slice value)
{
	if (value.len > VALUE_MAX_BYTES)
		return;
	if (maker->out->len - maker->line + value.len * 2 > LINE_MAX_BYTES) {
		str_addz(maker->out, "\n\t\t");
		maker->line = maker->out->len;
	} else {
		str_addc(maker->out, ' ');
	}
	str_add(maker->out, name);
	str_addc(maker->out, '=');
	add_value(maker->out, value);
}

/* ---- What is known without a room of its own -------------------------------------------------------------------------- */

static void add_remote_ip(struct authres_maker *maker, const struct client *client)
{
	char text[IP_TEXT_MAX];

	authres_property(maker, SLICE("smtp.remote-ip"), ip_format(&client->ip, text));
}

/* Where the message came in: by a program of this host, or from an address that has a name or not. */
static void add_client(struct scope *sc, struct authres_maker *maker)
{
	const struct client *c = sc->client;

	if (!c)
		return;
	if (!c->ip.family) {
		if (client_is_local(c) && sc->message) {
			authres_method(maker, SLICE("local"), SLICE("pass"),
				       arena_printf(sc->task->arena, "non-smtp, %.*s",
						    SLICE_ARG(conf_main(sc->conf)->primary_hostname)));
			authres_property(maker, SLICE("policy.u"), c->ident.len ? c->ident : c->login);
		}
		return;
	}
	if (c->host_name.len)
		authres_method(maker, SLICE("iprev"), SLICE("pass"), c->host_name);
	else if (c->host_lookup_deferred)
		authres_method(maker, SLICE("iprev"), SLICE("temperror"), SLICE_EMPTY);
	else if (c->host_lookup_failed)
		authres_method(maker, SLICE("iprev"), SLICE("fail"), SLICE_EMPTY);
	else
		return;
	add_remote_ip(maker, c);
}

static void add_auth(struct scope *sc, struct authres_maker *maker)
{
	const struct client *c = sc->client;

	if (!c || !c->ip.family || !c->authenticator_name.len)
		return;
	authres_method(maker, SLICE("auth"), SLICE("pass"),
		       c->authenticator_pubname.len ? c->authenticator_pubname : c->authenticator_name);
	if (c->authenticated_id.len)
		authres_property(maker, SLICE("smtp.auth"), c->authenticated_id);
	if (sc->message && sc->message->auth_sender.len)
		authres_property(maker, SLICE("smtp.mailfrom"), sc->message->auth_sender);
}

/* RFC 8601 section 2.7.2. */
static void add_spf(struct scope *sc, struct authres_maker *maker)
{
	const struct spf_result *r = spf_result_get(sc->message);
	struct slice sender = scope_sender(sc);

	if (!r || r->result == MAILAUTH_UNKNOWN)
		return;
	authres_method(maker, SLICE("spf"), mailauth_result_word(r->result),
		       r->guessed                   ? SLICE("best guess record for domain")
		       : r->result == MAILAUTH_PASS ? SLICE_EMPTY
						    : r->problem);
	if (r->helo_identity || !sender.len)
		authres_property(maker, SLICE("smtp.helo"), r->domain);
	else
		authres_property(maker, SLICE("smtp.mailfrom"), r->domain);
}

static void add_dmarc(struct scope *sc, struct authres_maker *maker)
{
	const struct dmarc_result *r = dmarc_result_get(sc->message);

	if (r)
		dmarc_authres(maker, r, r->problem);
}

static void add_dkim(struct scope *sc, struct authres_maker *maker)
{
	struct dkim_result r;

	for (unsigned i = 0; dkim_result_get(sc->message, i, &r); i++) {
		struct slice comment = r.comment;

		if (r.testing && r.result != MAILAUTH_PASS)
			comment =
			    arena_printf(sc->task->arena, "%.*s; key is in testing mode", SLICE_ARG(comment));
		authres_method(maker, SLICE("dkim"), mailauth_result_word(r.result),
			       comment.ptr ? comment : SLICE_EMPTY);
		if (r.domain.len)
			authres_property(maker, SLICE("header.d"), r.domain);
		if (r.identity.len)
			authres_property(maker, SLICE("header.i"), r.identity);
		if (r.selector.len)
			authres_property(maker, SLICE("header.s"), r.selector);
		if (r.algorithm.len)
			authres_property(maker, SLICE("header.a"), r.algorithm);
	}
}

/* RFC 8617 section 10.2: 0 says that all message signatures are good. */
static void add_arc(struct scope *sc, struct authres_maker *maker)
{
	struct slice comment = SLICE_EMPTY;
	struct arc_result r;

	if (!arc_result_get(sc->message, &r))
		return;
	if (r.result == MAILAUTH_PASS) {
		struct str count = str_make(sc->task->arena);

		str_addz(&count, "i=");
		str_addu(&count, r.count);
		comment = str_slice(&count);
	} else if (r.result == MAILAUTH_FAIL)
		comment = r.reason;
	authres_method(maker, SLICE("arc"), mailauth_result_word(r.result),
		       comment.ptr ? comment : SLICE_EMPTY);
	if (r.result == MAILAUTH_PASS) {
		if (r.selector.len)
			authres_property(maker, SLICE("header.s"), r.selector);
		authres_property(maker, SLICE("header.oldest-pass"),
				 r.oldest_pass == 1 ? SLICE("0")
						    : arena_printf(sc->task->arena, "%u", r.oldest_pass));
	}
	/* Of whom the chain came; without one, of nobody. */
	if (r.count && sc->client && sc->client->ip.family)
		add_remote_ip(maker, sc->client);
}

static enum rc authresults_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
				struct err *err)
{
	struct str out = str_make(sc->task->arena);
	struct authres_maker maker = {.out = &out};
	struct slice id;
	enum rc rc = expand(sc, call->args[0], &id, err);

	if (rc != OK)
		return rc;
	id = slice_trim(id);
	if (!id.len || id.len > VALUE_MAX_BYTES) {
		/* A field without an id is none. */
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN | LOG_TO_PANIC,
			   sc->message ? &sc->message->id : NULL,
			   "${authresults: \"%.*s\" is no name for Authentication-Results", SLICE_ARG(id));
		*ret = SLICE_EMPTY;
		return OK;
	}
	(void)str_reserve(&out, USUAL_BYTES);
	str_addz(&out, "Authentication-Results: ");
	if (is_token(id))
		str_add(&out, id);
	else
		add_quoted(&out, id);
	add_client(sc, &maker);
	add_auth(sc, &maker);
	if (sc->message) {
		add_spf(sc, &maker);
		add_dkim(sc, &maker);
		add_dmarc(sc, &maker);
		add_arc(sc, &maker);
	}
	if (!maker.count)
		str_addz(&out, "; none");
	*ret = str_slice(&out);
	return ret->ptr ? OK : err_memory(err);
}

static const struct expand_item item_authresults = {"authresults", 1, 1, 0, authresults_eval, NULL};
const struct expand_item *const mailauth_items[] = {&item_authresults, NULL};

/* ---- Removing ----------------------------------------------------------------------------------------------------------- */

void authres_removed(struct message *message)
{
	struct mailauth *auth = message->extra[MAILAUTH_EXTRA];

	if (!auth || !auth->authres_removed.len)
		return;
	for (struct header *h = NULL;
	     (h = header_find(&message->headers, SLICE("authentication-results"), h));) {
		struct err err = err_make(NULL);
		struct authres fields;

		if (!h->arrived)
			continue; /* an ACL has added it meanwhile */
		/* What cannot be read is worse than a known lie: others may read it in their way. */
		if (authres_parse(&message->arena, header_body(h), &fields, &err) != OK ||
		    slice_eq_nocase(fields.id, auth->authres_removed))
			header_delete(h);
	}
}

bool authres_remove(struct message *message, struct slice id)
{
	struct mailauth *auth = message ? mailauth_of(message) : NULL;

	if (!auth)
		return false;
	auth->authres_removed = arena_copy(&message->arena, id);
	if (!auth->authres_removed.ptr) {
		auth->authres_removed = SLICE_EMPTY;
		return false;
	}
	authres_removed(message);
	return true;
}
