/* dmarc_report: failure reports (RFC 9991, in the form of RFC 6591) to those who ask for them with ruf=, when a configuration says
 * so: they tell what a recipient gets. */
#include <stdio.h>

#include "dmarc.h"
#include "dmarc_state.h"

#define REPORTS_MAX 3 /* of one message: whoever publishes the record chooses the addresses */

static bool wanted(const struct dmarc_state *state)
{
	const struct dmarc_result *r = &state->result;
	bool spf_failed = !r->align_spf, dkim_failed = !r->align_dkim;

	/* A registry hears of no single messages (RFC 9990, section 6.3). */
	if (r->record.psd == 'y' && !slice_eq(r->from, r->used_domain))
		return false;
	if (!state->forensic || !r->used_domain.len || !r->record.ruf.len || state->reports >= REPORTS_MAX)
		return false;
	if (r->status != DMARC_REJECT && r->status != DMARC_QUARANTINE && r->status != DMARC_NONE &&
	    r->status != DMARC_ACCEPT)
		return false;
	if (r->record.fo & DMARC_FO_ANY && (spf_failed || dkim_failed))
		return true;
	if (r->record.fo & DMARC_FO_DKIM && dkim_failed && state->dkim_count)
		return true;
	if (r->record.fo & DMARC_FO_SPF && state->spf != MAILAUTH_PASS)
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

static void add_feedback(struct str *out, struct scope *sc, const struct dmarc_state *state,
			 struct slice sender, struct slice ip)
{
	const struct dmarc_result *r = &state->result;

	str_addz(out, "Feedback-Type: auth-failure\nUser-Agent: sluice\nVersion: 1\n");
	add_line(out, "Original-Mail-From: ", sender.len ? sender : SLICE("<>"));
	str_addz(out, "Arrival-Date: ");
	date_rfc5322(out, shard_wall(sc->task->shard) / NS_PER_S);
	str_addc(out, '\n');
	add_line(out, "Source-IP: ", ip);
	add_line(out, "Reported-Domain: ", r->from);
	str_addz(out, "Authentication-Results: ");
	str_add(out, conf_main(sc->conf)->primary_hostname);
	str_addz(out, "; dmarc=");
	str_add(out, dmarc_authres_word(r));
	add_line(out, " header.from=", r->from);
	str_addz(out, "Auth-Failure: dmarc\n");
	str_printf(out, "Identity-Alignment: %s\n",
		   r->align_spf && r->align_dkim ? "spf,dkim"
		   : r->align_spf                ? "spf"
		   : r->align_dkim               ? "dkim"
						 : "none");
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

static bool compose(struct scope *sc, const struct dmarc_state *state, struct dmarc_report *ret)
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
	add_feedback(&out, sc, state, sender, ip);
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

	if (!state || !wanted(state) || !next_recipient(sc, resolver, state, &ret->recipient))
		return false;
	state->reports++;
	return compose(sc, state, ret);
}
