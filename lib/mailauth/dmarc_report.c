/* dmarc_report: failure reports (RFC 9991, in the form of RFC 6591) to those who ask for them with ruf=, when a configuration says
 * so: they tell what a recipient gets. */
#include <stdio.h>

#include "dmarc.h"
#include "dmarc_state.h"
#include "spf.h"

#define REPORTS_MAX 3   /* of one message: whoever publishes the record chooses the addresses */
#define RECORD_MAX  900 /* bytes of an SPF record that are shown */

/* A signature that was looked at and is not good: fo=d, and what the report tells of. */
static bool has_failed(const struct dkim_result *dkim)
{
	return dkim->result != MAILAUTH_PASS && dkim->result != MAILAUTH_NONE &&
	       dkim->result != MAILAUTH_UNKNOWN;
}

static bool wanted(const struct dmarc_state *state)
{
	const struct dmarc_result *r = &state->result;
	bool spf_failed = !r->align_spf, dkim_failed = !r->align_dkim;

	/* A registry hears of no single messages (RFC 9991, section 2). */
	if (r->record.psd == 'y')
		return false;
	if (!state->forensic || !r->used_domain.len || !r->record.ruf.len || state->reports >= REPORTS_MAX)
		return false;
	if (r->status != DMARC_REJECT && r->status != DMARC_QUARANTINE && r->status != DMARC_NONE &&
	    r->status != DMARC_ACCEPT)
		return false;
	if (r->record.fo & DMARC_FO_ANY && (spf_failed || dkim_failed))
		return true;
	for (unsigned i = 0; r->record.fo & DMARC_FO_DKIM && i < state->dkim_count; i++)
		if (has_failed(&state->dkim[i]))
			return true;
	if (r->record.fo & DMARC_FO_SPF && state->spf != MAILAUTH_PASS && state->spf != MAILAUTH_NONE &&
	    state->spf != MAILAUTH_UNKNOWN)
		return true;
	return !r->record.fo && spf_failed && dkim_failed;
}

static void add_line(struct str *out, const char *name, struct slice value)
{
	str_addz(out, name);
	for (uint32_t i = 0; i < value.len; i++)
		str_addc(out, value.ptr[i] >= ' ' && value.ptr[i] <= '~' ? value.ptr[i] : '?');
	str_addc(out, '\n');
}

static void add_statement(struct str *out, struct scope *sc, const struct dmarc_state *state,
			  struct slice sender, struct slice ip)
{
	const struct dmarc_result *r = &state->result;

	str_addz(out, "A message claiming to be from you has failed the published DMARC\n"
		      "policy for your domain.\n\n");
	add_line(out, "  Sender Domain: ", r->from.len ? r->from : sender);
	add_line(out, "  Sender IP Address: ", ip);
	str_addz(out, "  Received Date: ");
	date_rfc5322(out, shard_wall(sc->task->shard) / NS_PER_S);
	str_printf(out, "\n  SPF Alignment: %s\n  DKIM Alignment: %s\n", r->align_spf ? "yes" : "no",
		   r->align_dkim ? "yes" : "no");
	add_line(out, "  DMARC Results: ", dmarc_status_word(r->status));
}

static bool below_or_same(struct slice name, struct slice domain)
{
	return slice_eq_nocase(name, domain) ||
	       (name.len > domain.len && name.ptr[name.len - domain.len - 1] == '.' &&
		slice_ends_nocase(name, domain));
}

/* The author's, or one that might have been taken for it. */
static bool is_near(const struct dmarc_result *r, struct slice domain)
{
	return domain.len && (below_or_same(domain, r->used_domain) || below_or_same(r->from, domain));
}

/* RFC 9991, section 4, wants them of a signature that failed and whose domain would have counted: the topmost. */
static void add_dkim(struct str *out, const struct dmarc_state *state)
{
	for (unsigned i = 0; i < state->dkim_count; i++) {
		const struct dkim_result *d = &state->dkim[i];

		if (!has_failed(d) || !is_near(&state->result, d->domain))
			continue;
		add_line(out, "DKIM-Domain: ", d->domain);
		if (d->identity.len)
			add_line(out, "DKIM-Identity: ", d->identity);
		else
			add_line(out, "DKIM-Identity: @", d->domain);
		add_line(out, "DKIM-Selector: ", d->selector);
		return;
	}
}

/* The record that did not let the client pass, as a quoted string that is folded where it has spaces. It was asked for a moment ago, and
 * the answer is in the cache; what cannot be had is left out. Parks. */
static void add_spf(struct str *out, struct scope *sc, const struct mailauth_resolver *resolver,
		    const struct dmarc_state *state)
{
	struct dns_answer answer = {.count = 0};
	struct err err = err_make(sc->task->arena);
	uint32_t column = 0;

	if (state->spf == MAILAUTH_PASS || !is_near(&state->result, state->spf_domain) ||
	    resolver->query(sc->task, resolver->arg, state->spf_domain, DNS_TXT, &answer, &err) != OK)
		return;
	for (unsigned i = 0; i < answer.count; i++) {
		struct slice text = slice_sub(answer.records[i].text, 0, RECORD_MAX);

		if (!spf_record_is(text))
			continue;
		str_addz(out, "SPF-DNS: txt : ");
		str_add(out, state->spf_domain);
		str_addz(out, " :\n \"");
		for (uint32_t k = 0; k < text.len; k++, column++) {
			char c = text.ptr[k];
			if (c == ' ' && column > 60) {
				str_addc(out, '\n');
				column = 0;
			}
			if (c == '"' || c == '\\')
				str_addc(out, '\\');
			str_addc(out, c >= ' ' && c <= '~' ? c : '?');
		}
		str_addz(out, "\"\n");
		return;
	}
}

static void add_feedback(struct str *out, struct scope *sc, const struct mailauth_resolver *resolver,
			 const struct dmarc_state *state, struct slice sender, struct slice ip)
{
	const struct dmarc_result *r = &state->result;
	struct authres_maker maker = {.out = out};

	str_addz(out, "Feedback-Type: auth-failure\nUser-Agent: sluice\nVersion: 1\n");
	add_line(out, "Original-Mail-From: ", sender.len ? sender : SLICE("<>"));
	str_addz(out, "Arrival-Date: ");
	date_rfc5322(out, shard_wall(sc->task->shard) / NS_PER_S);
	str_addc(out, '\n');
	add_line(out, "Source-IP: ", ip);
	add_line(out, "Reported-Domain: ", r->from);
	str_addz(out, "Authentication-Results: ");
	str_add(out, conf_main(sc->conf)->primary_hostname);
	dmarc_authres(&maker, r, SLICE_EMPTY);
	str_addc(out, '\n');
	str_addz(out, "Auth-Failure: dmarc\n");
	/* Those that failed; "none" of them did (RFC 9991, section 4). */
	str_printf(out, "Identity-Alignment: %s\n",
		   r->align_spf && r->align_dkim ? "none"
		   : r->align_spf                ? "dkim"
		   : r->align_dkim               ? "spf"
						 : "dkim, spf");
	add_dkim(out, state);
	add_spf(out, sc, resolver, state);
	add_line(out, "Delivery-Result: ",
		 r->status == DMARC_REJECT       ? SLICE("reject")
		 : r->status == DMARC_QUARANTINE ? SLICE("policy")
						 : SLICE("delivered"));
}

static void add_headers(struct str *out, const struct message *m)
{
	for (struct header *h = header_next(&m->headers, NULL); h && out->len < 64 * 1024;
	     h = header_next(&m->headers, h))
		str_add(out, h->text);
}

/* The From: of reports, and the sender: "<>" unless the option names one. */
static bool sender_of(struct scope *sc, struct slice *from, struct slice *sender)
{
	struct err err = err_make(sc->task->arena);
	struct address_parts parts;

	*sender = *from = SLICE_EMPTY;
	if (expand_option(sc, mailauth_options(sc->conf)->dmarc_forensic_sender, from, &err) != OK)
		*from = SLICE_EMPTY;
	if (from->len && address_parse(sc->task->arena, *from, 0, &parts, &err) == OK) {
		*sender = parts.full;
		return true;
	}
	*from = arena_printf(sc->task->arena, "Mail Delivery System <Mailer-Daemon@%.*s>",
			     SLICE_ARG(conf_main(sc->conf)->primary_hostname));
	return from->ptr;
}

static bool compose(struct scope *sc, const struct mailauth_resolver *resolver,
		    const struct dmarc_state *state, struct dmarc_report *ret)
{
	struct str out = str_make(sc->task->arena);
	struct slice from, sender = scope_sender(sc);
	char ip_text[IP_TEXT_MAX], boundary[64];
	struct slice ip = ip_format(&sc->client->ip, ip_text);

	if (!sender_of(sc, &from, &ret->sender))
		return false;
	snprintf(boundary, sizeof(boundary), "=_dmarc_%s_%u", sc->message->id.text, state->reports);
	str_addz(&out, "From: ");
	str_add(&out, from);
	add_line(&out, "\nTo: ", ret->recipient);
	str_addz(&out, "Subject: DMARC Forensic Report for ");
	str_add(&out, state->result.used_domain);
	add_line(&out, " from IP ", ip);
	str_addz(&out, "Auto-Submitted: auto-generated\nMIME-Version: 1.0\n");
	str_printf(&out,
		   "Content-Type: multipart/report; report-type=feedback-report;\n\tboundary=\"%s\"\n\n",
		   boundary);
	str_printf(&out, "--%s\nContent-Type: text/plain; charset=us-ascii\n\n", boundary);
	add_statement(&out, sc, state, sender, ip);
	str_printf(&out, "\n--%s\nContent-Type: message/feedback-report\n\n", boundary);
	add_feedback(&out, sc, resolver, state, sender, ip);
	str_printf(&out, "\n--%s\nContent-Type: text/rfc822-headers\n\n", boundary);
	add_headers(&out, sc->message);
	str_printf(&out, "\n--%s--\n", boundary);
	ret->text = str_slice(&out);
	return ret->text.ptr;
}

/* The next address whose owner wants them; failures to find out are a no. */
static bool next_recipient(struct scope *sc, const struct mailauth_resolver *resolver,
			   struct dmarc_state *state, struct slice *ret)
{
	struct dmarc_query query;
	struct err err = err_make(sc->task->arena);
	struct slice address, instead;

	if (state->reports_instead.len && dmarc_uri_next(&sc->message->arena, &state->reports_instead, ret))
		return true;
	while (dmarc_uri_next(&sc->message->arena, &state->reports_left, &address)) {
		if (++state->reports_asked > REPORTS_MAX)
			return false;
		if (dmarc_query_of(sc, &query, &err) != OK ||
		    dmarc_destination(sc->task, resolver, &query, state->result.used_domain, address, true,
				      &instead) != OK)
			continue;
		*ret = address;
		if (!instead.ptr)
			return true;
		state->reports_instead = arena_copy(&sc->message->arena, instead);
		if (dmarc_uri_next(&sc->message->arena, &state->reports_instead, ret))
			return true;
	}
	return false;
}

bool dmarc_report_next(struct scope *sc, const struct mailauth_resolver *resolver, struct dmarc_report *ret)
{
	struct dmarc_state *state = dmarc_state_of(sc->message);

	while (state && wanted(state) && next_recipient(sc, resolver, state, &ret->recipient)) {
		enum dmarc_limit limit = dmarc_limit_count(sc->task, ret->recipient);

		state->reports++;
		if (limit == DMARC_LIMIT_FREE)
			return compose(sc, resolver, state, ret);
		if (limit == DMARC_LIMIT_REACHED)
			log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN, &sc->message->id,
				   "DMARC: enough failure reports to <%.*s> for this hour",
				   SLICE_ARG(ret->recipient));
	}
	return false;
}
