/* spf: the sender of a message judged once, and what policy can read of that: variables, comment, header field. */
#include "spf.h"

struct spf_state {
	struct spf_result real, guess; /* result UNKNOWN: not evaluated */
	bool guessing;                 /* the last condition was spf_guess: the variables are its */
	struct spf_query query;        /* of the last one */
};

const struct spf_result *spf_result_get(const struct message *message)
{
	const struct mailauth *mailauth = message ? message->extra[MAILAUTH_EXTRA] : NULL;
	const struct spf_state *state = mailauth ? mailauth->spf : NULL;
	const struct spf_result *result = !state ? NULL : state->guessing ? &state->guess : &state->real;

	return result && result->result != MAILAUTH_UNKNOWN ? result : NULL;
}

const struct spf_result *spf_result_real(const struct message *message)
{
	const struct mailauth *mailauth = message ? message->extra[MAILAUTH_EXTRA] : NULL;
	const struct spf_state *state = mailauth ? mailauth->spf : NULL;

	if (!state)
		return NULL;
	if (state->real.result != MAILAUTH_UNKNOWN)
		return &state->real;
	return NULL;
}

static struct slice our_name(const struct scope *sc)
{
	return sc->client && sc->client->active_hostname.len ? sc->client->active_hostname
							     : conf_main(sc->conf)->primary_hostname;
}

static bool result_keep(struct arena *arena, struct spf_result *r)
{
	r->domain = arena_copy(arena, r->domain);
	r->mechanism = arena_copy(arena, r->mechanism);
	r->explanation = arena_copy(arena, r->explanation);
	r->problem = arena_copy(arena, r->problem);
	return r->domain.ptr && r->mechanism.ptr && r->explanation.ptr && r->problem.ptr;
}

static enum rc query_make(struct scope *sc, bool guess, struct spf_query *query, struct err *err)
{
	const struct mailauth_options *o = mailauth_options(sc->conf);
	const struct client *client = sc->client;
	enum rc rc;

	*query = (struct spf_query){
	    .ip = client->ip,
	    .sender = scope_sender(sc),
	    .helo = client->helo,
	    .receiver = our_name(sc),
	    .guess = SLICE_EMPTY,
	    .explanation = SLICE_EMPTY,
	    .now_s = shard_wall(sc->task->shard) / NS_PER_S,
	};
	rc = expand_option(sc, o->spf_smtp_comment_template, &query->explanation, err);
	if (rc == OK && guess)
		rc = expand_option(sc, o->spf_guess, &query->guess, err);
	return rc;
}

enum rc spf_evaluate(struct scope *sc, const struct mailauth_resolver *resolver, bool guess, struct err *err)
{
	struct mailauth *mailauth = sc->message ? mailauth_of(sc->message) : NULL;
	struct arena *arena;
	struct spf_state *state;
	struct spf_result *result;
	enum rc rc;

	if (!mailauth)
		return err_memory(err);
	arena = &sc->message->arena;
	if (!mailauth->spf && !(mailauth->spf = arena_make(arena, struct spf_state)))
		return err_memory(err);
	state = mailauth->spf;
	state->guessing = guess;
	result = guess ? &state->guess : &state->real;
	if (result->result != MAILAUTH_UNKNOWN)
		return OK;
	*result = (struct spf_result){.domain = SLICE_EMPTY,
				      .mechanism = SLICE_EMPTY,
				      .explanation = SLICE_EMPTY,
				      .problem = SLICE_EMPTY};
	if (!sc->client || !sc->client->ip.family) {
		result->result = MAILAUTH_PERMERROR;
		result->problem = SLICE("no client to check");
		return OK;
	}
	rc = query_make(sc, guess, &state->query, err);
	if (rc != OK)
		return rc;
	if (ip_is_loopback(&sc->client->ip)) {
		/* It is this host itself; nobody publishes that. */
		ptrdiff_t at = slice_rfind(state->query.sender, '@');
		result->helo_identity = !state->query.sender.len;
		result->domain =
		    at >= 0 ? slice_from(state->query.sender, (size_t)at + 1) : state->query.helo;
		result->mechanism = SLICE("loopback");
		result->result = MAILAUTH_PASS;
	} else {
		rc = spf_check(sc->task, resolver, &state->query, result);
		if (rc != OK)
			return rc;
	}
	/* A record of one's own stands for both conditions. */
	if (!result_keep(arena, result)) {
		result->result = MAILAUTH_UNKNOWN;
		return err_memory(err);
	}
	if (guess && !result->guessed)
		state->real = *result;
	return OK;
}

void spf_ahead(struct shard *shard, struct slice sender, struct slice helo)
{
	ptrdiff_t at = slice_rfind(sender, '@');
	struct slice domain = at >= 0 ? slice_from(sender, (size_t)at + 1) : sender.len ? sender : helo;

	if (domain.len && domain.ptr[0] != '[' && slice_find(domain, '.') > 0 && spf_name_valid(&domain))
		dns_prefetch(shard, domain, DNS_TXT);
}

/* ---- What is read of it --------------------------------------------------------------------------------- */

static void add_comment(struct str *out, const struct scope *sc, const struct spf_result *r)
{
	char plain[IP_TEXT_MAX];
	struct slice ip = sc->client ? ip_format(&sc->client->ip, plain) : SLICE_EMPTY;
	struct slice domain = slice_tainted(r->domain);

	str_add(out, our_name(sc));
	str_addz(out, ": ");
	switch (r->result) {
	case MAILAUTH_PASS:
		str_printf(out, "domain of %.*s designates %.*s as permitted sender", SLICE_ARG(domain),
			   SLICE_ARG(ip));
		break;
	case MAILAUTH_FAIL:
		str_printf(out, "domain of %.*s does not designate %.*s as permitted sender",
			   SLICE_ARG(domain), SLICE_ARG(ip));
		break;
	case MAILAUTH_SOFTFAIL:
		str_printf(out, "transitioning domain of %.*s does not designate %.*s as permitted sender",
			   SLICE_ARG(domain), SLICE_ARG(ip));
		break;
	case MAILAUTH_NEUTRAL:
		str_printf(out, "%.*s is neither permitted nor denied by domain of %.*s", SLICE_ARG(ip),
			   SLICE_ARG(domain));
		break;
	case MAILAUTH_NONE:
		str_printf(out, "domain of %.*s does not provide an SPF record", SLICE_ARG(domain));
		break;
	default:
		str_printf(out, "%s error in processing the SPF record of %.*s",
			   r->result == MAILAUTH_TEMPERROR ? "temporary" : "permanent", SLICE_ARG(domain));
		if (r->problem.len)
			str_printf(out, ": %.*s", SLICE_ARG(r->problem));
		break;
	}
	out->taint = TAINTED;
}

/* What a comment of a header field may hold (RFC 5322, section 3.2.2): the parentheses and backslashes of strangers are
 * escaped, what is not printable ASCII is hidden. */
static void add_as_comment(struct str *out, struct slice text)
{
	str_addc(out, '(');
	for (uint32_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '(' || c == ')' || c == '\\')
			str_addc(out, '\\');
		str_addc(out, c < ' ' || c > '~' ? '?' : c);
	}
	str_addc(out, ')');
}

/* RFC 7208, section 9.1: dot-atom, or a quoted string. */
static void add_value(struct str *out, const char *key, struct slice value)
{
	bool atom = value.len && value.ptr[0] != '.' && value.ptr[value.len - 1] != '.';

	for (uint32_t i = 0; atom && i < value.len; i++)
		atom = value.ptr[i] == '.'
			   ? value.ptr[i - 1] != '.'
			   : ascii_is_alnum(value.ptr[i]) ||
				 (value.ptr[i] && strchr("!#$%&'*+-/=?^_`{|}~", value.ptr[i]));
	str_printf(out, " %s=", key);
	if (!atom)
		str_addc(out, '"');
	for (uint32_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];
		if (c == '"' || c == '\\')
			str_addc(out, '\\');
		str_addc(out, (unsigned char)c < ' ' || c == 127 ? '?' : c);
	}
	if (!atom)
		str_addc(out, '"');
	str_addc(out, ';');
}

static void add_received(struct str *out, const struct scope *sc, const struct spf_result *r)
{
	struct str comment = str_make(out->arena);
	char plain[IP_TEXT_MAX];
	struct slice sender = scope_sender(sc);

	add_comment(&comment, sc, r);
	str_addz(out, "Received-SPF: ");
	str_add(out, mailauth_result_word(r->result));
	str_addc(out, ' ');
	add_as_comment(out, str_slice(&comment).ptr ? str_slice(&comment) : SLICE_EMPTY);
	if (sc->client && sc->client->ip.family)
		add_value(out, "client-ip", ip_format(&sc->client->ip, plain));
	if (!sender.len)
		sender = arena_printf(out->arena, "postmaster@%.*s", SLICE_ARG(r->domain));
	add_value(out, "envelope-from", sender);
	if (sc->client)
		add_value(out, "helo", sc->client->helo);
	out->taint = TAINTED;
}

enum { RESULT, GUESSED, DOMAIN, HEADER_COMMENT, SMTP_COMMENT, RECEIVED };

static enum rc get(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	const struct spf_result *r = spf_result_get(sc->message);
	struct str out = str_make(sc->task->arena);

	*ret = variable->arg == GUESSED ? SLICE("no") : SLICE_EMPTY;
	if (!r)
		return OK;
	switch (variable->arg) {
	case RESULT:
		*ret = mailauth_result_word(r->result);
		return OK;
	case GUESSED:
		*ret = r->guessed ? SLICE("yes") : SLICE("no");
		return OK;
	case DOMAIN:
		*ret = slice_tainted(r->domain);
		return OK;
	case SMTP_COMMENT:
		*ret = slice_tainted(r->explanation);
		return OK;
	case HEADER_COMMENT:
		add_comment(&out, sc, r);
		break;
	default:
		add_received(&out, sc, r);
		break;
	}
	*ret = str_slice(&out);
	return out.failed ? err_memory(err) : OK;
}

/* The option, as it is set. */
static enum rc get_guess(struct scope *sc, const struct variable *variable, struct slice *ret,
			 struct err *err)
{
	(void)variable;
	(void)err;
	*ret = expansion_text(mailauth_options(sc->conf)->spf_guess);
	return OK;
}

static const struct variable rows[] = {
    {"spf_guess", get_guess, 0},          {"spf_header_comment", get, HEADER_COMMENT},
    {"spf_received", get, RECEIVED},      {"spf_result", get, RESULT},
    {"spf_result_guessed", get, GUESSED}, {"spf_smtp_comment", get, SMTP_COMMENT},
    {"spf_used_domain", get, DOMAIN},
};
const struct variable_table spf_variables = {rows, sizeof(rows) / sizeof(*rows)};
