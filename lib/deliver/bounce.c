/* bounce: reports to senders: failures and delays, as multipart/report (RFC 3462, 3464), in Exim's words since people and
 * programs know them. A report has the null reverse-path and enters the queue as any message does. */
#include "work.h"

#include <stdarg.h>

/* Addresses told in one report, and failures listed in one X-Failed-Recipients line. */
#define FAILED_LINE_MAX 50
#define REASON_LINE     45 /* bytes of a reason that stand on one line in any case */

enum report_kind { REPORT_FAILURE, REPORT_DELAY };
struct report {
	struct attempt *a;
	enum report_kind kind;
	struct slice to;
	struct slice boundary;
	struct slice delay; /* "3 hours" */
	struct template template;
	struct report_facts facts;
	struct str text; /* the body, LF line ends */
	struct address **addresses;
	unsigned count;
};

static struct slice original_of(const struct address *address)
{
	while (address->parent)
		address = address->parent;
	return address->recipient ? address->recipient->original : address->full;
}

/* An address as its sender may see it: not the file or command that a redirection led to. */
static struct slice shown_of(const struct address *address)
{
	return address->pipe.len || address->file.len ? original_of(address) : address->full;
}

static uint8_t dsn_flags_of(const struct address *address)
{
	while (address->parent)
		address = address->parent;
	return address->recipient ? address->recipient->dsn_flags : address->dsn_flags;
}

static struct slice errors_to_of(const struct attempt *a, const struct address *address)
{
	return address->errors_to.ptr ? address->errors_to : a->m->sender;
}

/* What the recipient's NOTIFY asks for (RFC 3461 section 4.1); nothing was asked: failures and delays. */
static bool wanted(const struct address *address, enum report_kind kind)
{
	uint8_t flags = dsn_flags_of(address) & (2 | 4 | 8 | 16);

	return !flags || flags & (kind == REPORT_FAILURE ? 8 : 16);
}

/* ---- Parts --------------------------------------------------------------------------------------------------------- */

static void add_header(struct message *m, struct str *line)
{
	struct header *h = line->failed ? NULL : header_make(&m->arena, str_slice(line));

	if (h)
		header_append(&m->headers, h);
}

static void header_line(struct message *m, const char *format, ...) PRINTF_LIKE(2, 3);
static void header_line(struct message *m, const char *format, ...)
{
	struct str line = str_make(&m->arena);
	va_list args;

	va_start(args, format);
	str_vprintf(&line, format, args);
	va_end(args);
	add_header(m, &line);
}

static struct slice from_text(struct attempt *a)
{
	struct err err = err_make(&a->arena);
	struct slice from;

	if (expand_option(&a->scope, a->options->dsn_from, &from, &err) == OK && from.len &&
	    slice_find(from, '\n') < 0)
		return from;
	return arena_printf(&a->arena, "Mail Delivery System <Mailer-Daemon@%.*s>",
			    SLICE_ARG(conf_main(a->d->conf)->qualify_domain));
}

/* The first item of a template: whole header lines. false: there is none. */
static bool write_template_headers(struct report *r, struct message *m)
{
	struct err err = err_make(&r->a->arena);
	struct header_block block;
	struct slice text;
	uint32_t used;
	struct link *l;

	if (!template_item(r->a, &r->template, 0, &text))
		return false;
	text = arena_printf(&m->arena, "%.*s\n", SLICE_ARG(slice_trim(text)));
	if (!text.ptr || header_block_parse(&m->arena, text, &block, &used, &err) != OK)
		return false;
	while ((l = list_shift(&block.list)))
		header_append(&m->headers, LIST_ITEM(l, struct header, link));
	return true;
}

static void write_headers(struct report *r, struct message *m)
{
	struct attempt *a = r->a;
	struct slice id = a->m->message_id_header;

	if (r->kind == REPORT_FAILURE) {
		struct str line = str_make(&m->arena);
		unsigned listed = 0;
		for (unsigned i = 0; i < r->count; i++) {
			if (fate_of(r->addresses[i])->hidden)
				continue;
			if (listed == FAILED_LINE_MAX) {
				add_header(m, &line);
				line = str_make(&m->arena);
				listed = 0;
			}
			str_addz(&line, listed++ ? ",\n  " : "X-Failed-Recipients: ");
			str_add(&line, shown_of(r->addresses[i]));
		}
		if (line.len)
			add_header(m, &line);
	}
	if (a->options->errors_reply_to.len)
		header_line(m, "Reply-To: %.*s", SLICE_ARG(a->options->errors_reply_to));
	header_line(m, "Auto-Submitted: auto-replied");
	header_line(m, "From: %.*s", SLICE_ARG(from_text(a)));
	header_line(m, "To: %.*s", SLICE_ARG(r->to));
	if (id.len)
		header_line(m, "References: <%.*s>", SLICE_ARG(id));
	header_line(m, "Content-Type: multipart/report; report-type=delivery-status; boundary=%.*s",
		    SLICE_ARG(r->boundary));
	header_line(m, "MIME-Version: 1.0");
	if (write_template_headers(r, m))
		return;
	if (r->kind == REPORT_FAILURE)
		header_line(m, "Subject: Mail delivery failed%s",
			    slice_eq(r->to, a->m->sender) ? ": returning message to sender" : "");
	else
		header_line(m, "Subject: Warning: message %s delayed %.*s", a->m->id.text,
			    SLICE_ARG(r->delay));
}

/* An error text may have several lines (a remote server's reply), each indented here. */
static void add_indented(struct str *text, struct slice what, const char *indent)
{
	struct slice rest = what, line;

	while (slice_split(&rest, '\n', &line)) {
		str_addz(text, indent);
		str_add(text, slice_rtrim(line));
		str_addc(text, '\n');
	}
}

/* The same, where a long line goes on below its next ": ": what went wrong, and then what was said. */
static void add_reason(struct str *text, struct slice what, const char *indent)
{
	struct slice rest = what, line;

	while (slice_split(&rest, '\n', &line)) {
		ptrdiff_t colon;

		while (line.len > REASON_LINE &&
		       (colon = slice_search(slice_from(line, REASON_LINE), SLICE(": "))) >= 0) {
			colon += REASON_LINE;
			add_indented(text, slice_sub(line, 0, (size_t)colon + 1), indent);
			line = slice_from(line, (size_t)colon + 2);
		}
		add_indented(text, line, indent);
	}
}

/* What the sender may know of it: what was meant for senders, or said by another host. Paths, commands and system errors
 * of this host stay in its log. */
static struct slice reason_text(struct attempt *a, const struct fate *fate)
{
	const struct transport *transport = fate->address->transport;
	const struct delivery_outcome *o = &fate->outcome;
	struct slice text = o->user_message;

	if (!text.len && transport && transport->is_local)
		text = SLICE("local delivery failed");
	else if (!text.len && (o->rc == FAIL || transport))
		text = fate_text(fate->address);
	if (fate->timed_out)
		text = arena_printf(&a->arena, "%.*s%sretry timeout exceeded", SLICE_ARG(text),
				    text.len ? ": " : "");
	return text.ptr ? text : SLICE("retry timeout exceeded");
}

static void write_addresses(struct report *r)
{
	for (unsigned i = 0; i < r->count; i++) {
		struct address *address = r->addresses[i];
		struct fate *fate = fate_of(address);

		str_addz(&r->text, "  ");
		if (fate->hidden) {
			str_addz(&r->text, "an undisclosed address\n    (generated from ");
			str_add(&r->text, original_of(address));
			str_addz(&r->text, ")\n");
			continue; /* nor why */
		} else {
			str_add(&r->text, address->pipe.len   ? address->pipe
					  : address->file.len ? address->file
							      : address->full);
			str_addc(&r->text, '\n');
			if (address->parent) {
				str_addz(&r->text, "    (generated from ");
				str_add(&r->text, original_of(address));
				str_addz(&r->text, ")\n");
			}
		}
		if (fate->outcome.host.name.len) {
			str_addz(&r->text, "    host ");
			str_add(&r->text, fate->outcome.host.name);
			str_addz(&r->text, " [");
			str_add_ip(&r->text, &fate->outcome.host.ip);
			str_addz(&r->text, "]\n");
		}
		if (r->kind == REPORT_DELAY)
			str_addz(&r->text, "    Delay reason: ");
		add_reason(&r->text, reason_text(r->a, fate), r->kind == REPORT_DELAY ? "" : "    ");
	}
}

/* What commands wrote before they failed, where the transport says that the sender may see it. */
static void write_output(struct report *r)
{
	struct slice introduction = SLICE_EMPTY;
	bool introduced = false;
	unsigned count = 0;

	for (unsigned i = 0; i < r->count; i++)
		count += fate_of(r->addresses[i])->outcome.output.len > 0;
	for (unsigned i = 0; i < r->count; i++) {
		struct slice said = fate_of(r->addresses[i])->outcome.output;

		if (!said.len)
			continue;
		if (!introduced) {
			str_addc(&r->text, '\n');
			if (template_item(r->a, &r->template, 2, &introduction))
				str_add(&r->text, introduction);
			else
				str_printf(
				    &r->text,
				    "The following text was generated during the delivery attempt%s:\n",
				    count > 1 ? "s" : "");
			introduced = true;
		}
		str_printf(&r->text, "\n------ %.*s ------\n\n", SLICE_ARG(shown_of(r->addresses[i])));
		add_indented(&r->text, said, "");
	}
}

static void open_part(struct report *r, const char *type)
{
	str_printf(&r->text, "--%.*s\nContent-type: %s\n\n", SLICE_ARG(r->boundary), type);
}

static void write_failure_text(struct report *r)
{
	struct attempt *a = r->a;
	struct slice beginning;

	if (template_item(a, &r->template, 1, &beginning)) {
		str_add(&r->text, beginning);
	} else {
		str_addz(&r->text, "This message was created automatically by mail delivery software.\n\n");
		if (a->options->bounce_message_text.len) {
			str_add(&r->text, a->options->bounce_message_text);
			str_addz(&r->text, "\n\n");
		}
		if (slice_eq(r->to, a->m->sender))
			str_addz(
			    &r->text,
			    "A message that you sent could not be delivered to one or more of its\n"
			    "recipients. This is a permanent error. The following address(es) failed:\n\n");
		else
			str_printf(
			    &r->text,
			    "A message sent by\n\n  <%.*s>\n\ncould not be delivered to one or more of its "
			    "recipients. The following\naddress(es) failed:\n\n",
			    SLICE_ARG(a->m->sender));
	}
	write_addresses(r);
	write_output(r);
	str_addc(&r->text, '\n');
}

static void write_delay_beginning(struct report *r)
{
	struct attempt *a = r->a;
	struct header *subject = header_find(&a->m->headers, SLICE("subject"), NULL);
	struct header *date = header_find(&a->m->headers, SLICE("date"), NULL);

	str_addz(&r->text, "This message was created automatically by mail delivery software.\n\n");
	str_printf(
	    &r->text,
	    "A message that you sent has not yet been delivered to one or more of its\n"
	    "recipients after more than %.*s on the queue on %.*s.\n\nThe message identifier is:     %s\n",
	    SLICE_ARG(r->delay), SLICE_ARG(conf_main(a->d->conf)->primary_hostname), a->m->id.text);
	if (subject)
		str_printf(&r->text, "The subject of the message is: %.*s\n",
			   SLICE_ARG(slice_trim(header_body(subject))));
	if (date)
		str_printf(&r->text, "The date of the message is:    %.*s\n",
			   SLICE_ARG(slice_trim(header_body(date))));
	str_addz(&r->text, "\nThe following address(es) have not yet been delivered:\n\n");
}

static void write_delay_text(struct report *r)
{
	struct slice text;

	if (template_item(r->a, &r->template, 1, &text))
		str_add(&r->text, text);
	else
		write_delay_beginning(r);
	write_addresses(r);
	str_addc(&r->text, '\n');
	if (template_item(r->a, &r->template, 2, &text))
		str_add(&r->text, text);
	else
		str_addz(&r->text,
			 "No action is required on your part. Delivery attempts will continue for\n"
			 "some time, and this warning may be repeated at intervals if the message\n"
			 "remains undelivered. Eventually the mail delivery software will give up,\n"
			 "and when that happens, the message will be returned to you.\n");
	str_addc(&r->text, '\n');
}

static void write_text(struct report *r)
{
	open_part(r, "text/plain; charset=us-ascii");
	if (r->kind == REPORT_FAILURE)
		write_failure_text(r);
	else
		write_delay_text(r);
}

/* RFC 3464. */
static void write_status(struct report *r)
{
	struct attempt *a = r->a;
	struct str envid = str_make(&a->arena);

	open_part(r, "message/delivery-status");
	str_printf(&r->text, "Reporting-MTA: dns; %.*s\n",
		   SLICE_ARG(conf_main(a->d->conf)->primary_hostname));
	if (a->m->dsn_envid.len) {
		if (xtext_decode(&envid, a->m->dsn_envid) && slice_find(str_slice(&envid), '\n') < 0)
			str_printf(&r->text, "Original-Envelope-ID: %.*s\n", SLICE_ARG(str_slice(&envid)));
		else
			str_addz(&r->text, "X-Original-Envelope-ID: error decoding xtext formatted ENVID\n");
	}
	str_addc(&r->text, '\n');
	for (unsigned i = 0; i < r->count; i++) {
		struct address *address = r->addresses[i];
		const struct delivery_outcome *o = &fate_of(address)->outcome;

		if (address->orcpt.len)
			str_printf(&r->text, "Original-Recipient: %.*s\n", SLICE_ARG(address->orcpt));
		str_printf(&r->text, "Action: %s\nFinal-Recipient: rfc822;%.*s\nStatus: %s\n",
			   r->kind == REPORT_FAILURE ? "failed" : "delayed", SLICE_ARG(original_of(address)),
			   r->kind == REPORT_FAILURE ? "5.0.0" : "4.0.0");
		if (o->host.name.len) {
			str_printf(&r->text, "Remote-MTA: dns; %.*s\n", SLICE_ARG(o->host.name));
			if (o->reply_text.len) {
				struct slice rest = slice_sub(o->reply_text, 0, 900), line;
				bool first = true;
				str_addz(&r->text, "Diagnostic-Code: smtp; ");
				while (slice_split(&rest, '\n', &line)) {
					if (!first)
						str_addc(&r->text, ' ');
					str_add(&r->text, slice_rtrim(line));
					str_addc(&r->text, '\n');
					first = false;
				}
			}
		}
		str_addc(&r->text, '\n');
	}
}

/* The returned message, or only its header. */
static void write_original(struct report *r)
{
	struct attempt *a = r->a;
	const struct deliver_options *o = a->options;
	bool body = r->kind == REPORT_FAILURE && o->bounce_return_body && a->m->dsn_ret != 2 &&
		    (o->bounce_return_size_limit <= 0 ||
		     message_size(a->m) <= (uint64_t)o->bounce_return_size_limit) &&
		    (o->bounce_return_linesize_limit <= 0 ||
		     a->m->body.line_length_max <= o->bounce_return_linesize_limit);
	struct body_reader reader;
	struct err err = err_make(&a->arena);
	struct slice piece;
	bool cr = false;

	if (!o->bounce_return_message && r->kind == REPORT_FAILURE)
		return;
	open_part(r, body ? "message/rfc822" : "text/rfc822-headers");
	if (!body && r->kind == REPORT_FAILURE && a->m->dsn_ret == 1)
		str_addz(&r->text,
			 "X-Exim-DSN-Information: Due to administrative limits only headers are returned\n");
	str_printf(&r->text, "Return-path: <%.*s>\n", SLICE_ARG(a->m->sender));
	LIST_EACH (l, &a->m->headers.list) {
		struct header *h = LIST_ITEM(l, struct header, link);
		if (h->type != '*')
			str_add(&r->text, h->text);
	}
	str_addc(&r->text, '\n');
	if (!body)
		return;
	body_reader_init(&reader, a->m);
	task_limit(&a->task, 60000);
	while (body_next(&a->task, &reader, &piece, &err) == OK) {
		if (!str_reserve(&r->text, (size_t)piece.len + 1))
			return;
		r->text.len += (uint32_t)crlf_to_lf(&cr, piece, r->text.ptr + r->text.len);
	}
}

/* ---- The message ------------------------------------------------------------------------------------------------------ */

static bool add_recipient(struct message *m, struct slice address)
{
	struct recipient recipient = {.orcpt = SLICE_EMPTY, .parent = -1};

	recipient.address = recipient.original = arena_copy(&m->arena, address);
	return recipient.address.ptr && message_add_recipient(m, &recipient);
}

/* errors_copy: "pattern address, address : pattern ...": who gets a copy of a bounce for an address that fits. The
 * addresses are expanded. */
static void add_copies(struct report *r, struct message *m)
{
	struct attempt *a = r->a;
	struct slice rest = a->options->errors_copy, item, pattern, text, one;
	struct err err = err_make(&a->arena);
	char separator = ':';

	if (r->kind != REPORT_FAILURE || !rest.ptr)
		return;
	while (list_next(&a->arena, &rest, &separator, &item)) {
		if (!slice_word(&item, &pattern))
			continue;
		const struct match_list *list = match_compile(a->d->conf, &a->arena, LIST_ADDRESS, pattern);
		if (!list || match_address(&a->scope, list, r->to, NULL, &err) != OK)
			continue;
		if (expand_text(&a->scope, slice_trim(item), &text, &err) != OK) {
			log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN | LOG_TO_PANIC, &a->m->id,
				   "errors_copy: %.*s", SLICE_ARG(err.text));
			return;
		}
		while (slice_split(&text, ',', &one)) {
			struct address_parts parts;
			if (address_parse(&a->arena, slice_trim(one), ADDRESS_ALLOW_LITERAL, &parts, &err) ==
			    OK)
				(void)add_recipient(m, parts.full);
		}
		return; /* the first pattern that fits */
	}
}

/* Header, texts, status and the returned message, into m. false: no memory. */
static bool report_write(struct report *r, struct message *m)
{
	struct attempt *a = r->a;
	struct str wire = str_make(&m->arena);
	bool cr = false;

	if (r->kind == REPORT_FAILURE)
		template_read(a, a->options->bounce_message_file, "bounce_message_file", &r->template);
	else
		template_read(a, a->options->warn_message_file, "warn_message_file", &r->template);
	write_headers(r, m);
	write_text(r);
	write_status(r);
	write_original(r);
	str_printf(&r->text, "\n--%.*s--\n", SLICE_ARG(r->boundary));
	if (r->text.failed || !str_reserve(&wire, (size_t)r->text.len * 2))
		return false;
	wire.len = (uint32_t)lf_to_crlf(&cr, str_slice(&r->text), wire.ptr);
	if (!body_add(m, NULL, wire.ptr, wire.len))
		return false;
	m->body.in_memory = true;
	return true;
}

/* bounce_sender_authentication: as whom we send a report, for hosts that want to know. */
static void set_auth_sender(struct attempt *a, struct message *m)
{
	struct err err = err_make(&a->arena);
	struct slice sender;

	if (!a->options->bounce_sender_authentication ||
	    expand(&a->scope, a->options->bounce_sender_authentication, &sender, &err) != OK)
		return;
	sender = arena_copy(&m->arena, slice_trim(sender));
	if (sender.ptr)
		m->auth_sender = sender;
}

static enum rc report_send(struct report *r, struct err *err)
{
	struct attempt *a = r->a;
	struct message *m = message_new(a->d->conf, 0);
	uint32_t random;
	enum rc rc = DEFER;

	if (!m)
		return err_memory(err);
	shard_random(a->d->shard, &random, sizeof(random));
	r->boundary = arena_printf(&a->arena, "%llu-eximdsn-%u", (unsigned long long)a->now, random);
	r->text = str_make(&a->arena);
	r->facts = (struct report_facts){.task = &a->task, .recipient = r->to, .delay = r->delay};
	list_append(&a->d->reports, &r->facts.link);
	m->about = a->m->id;
	m->sender = m->sender_original = SLICE_EMPTY;
	set_auth_sender(a, m);
	m->sender_local = true;
	m->client = arena_make(&m->arena, struct client);
	if (m->client)
		client_clear(m->client);
	if (m->client && add_recipient(m, r->to)) {
		add_copies(r, m);
		if (report_write(r, m)) {
			task_limit(&a->task, 5 * 60 * 1000);
			rc = submit_message(&a->task, a->d, m, err);
		}
	}
	if (rc == OK)
		tally_up(&a->d->metrics->bounces);
	list_remove(&r->facts.link);
	message_unref(m);
	return rc;
}

/* Failures of which nobody is to be told go without a word to anyone but the log: errors_to is empty, or it is a bounce
 * that was kept for ignore_bounce_errors_after, or that is being given up. */
static bool may_be_ignored(const struct attempt *a)
{
	uint64_t age = a->now > a->q->entry->received ? a->now - a->q->entry->received : 0;
	int64_t limit = a->options->ignore_bounce_errors_after;

	return a->m->sender.len || a->q->give_up || (limit >= 0 && age >= (uint64_t)limit);
}

static unsigned count_of(const struct link *list)
{
	unsigned count = 0;

	for (const struct link *l = list->next; l != list; l = l->next)
		count++;
	return count;
}

/* The failures that somebody is to be told of. NULL: no memory. */
static struct address **failures_to_report(struct attempt *a, unsigned *count_ret)
{
	struct address **failures = arena_array(&a->arena, struct address *, count_of(&a->failed) + 1);

	*count_ret = 0;
	if (!failures)
		return NULL;
	LIST_EACH (l, &a->failed) {
		struct address *address = LIST_ITEM(l, struct address, link);

		if (address->ignore_errors)
			log_ignored(a, address);
		else if (!wanted(address, REPORT_FAILURE))
			log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id,
				   "%.*s: error ignored: RFC 3461 DSN, failure notify not requested",
				   SLICE_ARG(address->full));
		else
			failures[(*count_ret)++] = address;
	}
	return failures;
}

/* There is nobody to be told: the failures are forgotten, or stay undone, so that the message stays. */
static void report_to_nobody(struct attempt *a, struct report *r)
{
	bool ignored = may_be_ignored(a);

	for (unsigned i = 0; i < r->count; i++) {
		if (ignored) {
			log_ignored(a, r->addresses[i]);
			continue;
		}
		list_remove(&r->addresses[i]->link);
		list_append(&a->deferred, &r->addresses[i]->link);
	}
	if (!ignored) {
		a->freeze = true;
		a->freeze_reason = SLICE("delivery error message");
	}
}

enum rc bounce_send(struct attempt *a)
{
	struct err err = err_make(&a->arena);
	unsigned total;
	struct address **pending = failures_to_report(a, &total);

	if (!pending)
		return DEFER;
	while (total) { /* one report for each to whom errors go */
		struct report r = {
		    .a = a, .kind = REPORT_FAILURE, .to = errors_to_of(a, pending[0]), .delay = SLICE_EMPTY};
		unsigned rest = 0;

		r.addresses = arena_array(&a->arena, struct address *, total);
		if (!r.addresses)
			return DEFER;
		for (unsigned i = 0; i < total; i++) {
			if (slice_eq_nocase(errors_to_of(a, pending[i]), r.to))
				r.addresses[r.count++] = pending[i];
			else
				pending[rest++] = pending[i];
		}
		total = rest;
		if (!r.to.len) {
			report_to_nobody(a, &r);
		} else if (report_send(&r, &err) != OK) {
			log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN | LOG_TO_PANIC, &a->m->id,
				   "failed to send a bounce message: %.*s", SLICE_ARG(err.text));
			return DEFER;
		}
	}
	return OK;
}

/* ---- Delays ------------------------------------------------------------------------------------------------------------ */

/* How many warnings are due after so long. */
static unsigned warnings_due(const struct deliver_options *o, uint64_t age)
{
	unsigned due = 0;
	int64_t at = 0, gap = 0;

	for (unsigned i = 0; i < o->delay_warning.count; i++) {
		if (o->delay_warning.seconds[i] <= 0 || (int64_t)age < o->delay_warning.seconds[i])
			return due;
		gap = o->delay_warning.seconds[i] - at;
		at = o->delay_warning.seconds[i];
		due++;
	}
	/* After the last time of the list warnings go on at its last interval. */
	if (o->delay_warning.count > 1 && gap > 0)
		due += (unsigned)(((int64_t)age - at) / gap);
	return due;
}

static bool warning_allowed(struct attempt *a)
{
	struct err err = err_make(&a->arena);
	bool allowed = true;

	if (expand_option_bool(&a->scope, a->options->delay_warning_condition, true, &allowed, &err) != OK)
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN | LOG_TO_PANIC, &a->m->id,
			   "delay_warning_condition: %.*s", SLICE_ARG(err.text));
	return allowed;
}

/* In minutes at first, then in hours. */
static struct slice delay_text(struct arena *arena, uint64_t age_s)
{
	bool hours = age_s >= 2 * 3600;
	unsigned long long number = age_s / (hours ? 3600 : 60);
	struct slice text =
	    arena_printf(arena, "%llu %s%s", number, hours ? "hour" : "minute", number == 1 ? "" : "s");

	return text.ptr ? text : SLICE("some time");
}

void warning_send(struct attempt *a)
{
	uint64_t age = a->now > a->q->entry->received ? a->now - a->q->entry->received : 0;
	unsigned due = warnings_due(a->options, age);
	struct report r = {.a = a, .kind = REPORT_DELAY, .to = a->m->sender};
	struct err err = err_make(&a->arena);

	if (due <= a->m->warning_count || !a->m->sender.len || a->q->entry->frozen ||
	    list_empty(&a->deferred) || !warning_allowed(a))
		return;
	r.addresses = arena_array(&a->arena, struct address *, count_of(&a->deferred));
	if (!r.addresses)
		return;
	LIST_EACH (l, &a->deferred) {
		struct address *address = LIST_ITEM(l, struct address, link);
		if (wanted(address, REPORT_DELAY))
			r.addresses[r.count++] = address;
	}
	if (!r.count)
		return;
	r.delay = delay_text(&a->arena, age);
	if (report_send(&r, &err) == OK)
		outcome_warned(a, due);
}

void freeze_tell(struct attempt *a)
{
	struct slice rest = a->options->freeze_tell, to;

	/* A bounce that froze is no news, and telling of it could go round in circles. */
	if (!rest.ptr || !a->m->sender.len)
		return;
	while (slice_split(&rest, ',', &to)) {
		struct report r = {
		    .a = a, .kind = REPORT_DELAY, .to = slice_trim(to), .delay = SLICE("and frozen")};
		struct err err = err_make(&a->arena);
		if (!r.to.len)
			continue;
		if (slice_find(r.to, '@') < 0)
			r.to = arena_printf(&a->arena, "%.*s@%.*s", SLICE_ARG(r.to),
					    SLICE_ARG(conf_main(a->d->conf)->qualify_domain));
		r.addresses = arena_array(&a->arena, struct address *, count_of(&a->deferred) + 1);
		if (!r.addresses || !r.to.ptr)
			return;
		LIST_EACH (l, &a->deferred) {
			r.addresses[r.count++] = LIST_ITEM(l, struct address, link);
		}
		(void)(report_send(&r, &err) == OK);
	}
}
