/* lines: what the main log says of deliveries, in the form that programs which read Exim's logs know. Each line tells the
 * message's own log too (msglog.c), in that one's words. */
#include "work.h"

/* ---- Items of a line ----------------------------------------------------------------------------------------------- */

static void add_host(struct str *line, const struct conf *conf, const struct delivery_outcome *o)
{
	if (!o->host.name.len && !o->host.ip.family)
		return;
	str_addz(line, " H=");
	str_add(line, o->host.name);
	if (o->host.dnssec_authentic && log_wants(conf, LOG_DNSSEC))
		str_addz(line, " DS");
	if (o->host.ip.family) {
		str_addz(line, " [");
		str_add_ip(line, &o->host.ip);
		str_addc(line, ']');
		if (log_wants(conf, LOG_OUTGOING_PORT)) {
			str_addc(line, ':');
			str_addu(line, o->host.port ? o->host.port : o->host.ip.port);
		}
	}
	if (o->proxy.family && log_wants(conf, LOG_PROXY)) {
		str_addz(line, " PRX=[");
		str_add_ip(line, &o->proxy);
		str_addc(line, ']');
		if (log_wants(conf, LOG_OUTGOING_PORT)) {
			str_addc(line, ':');
			str_addu(line, o->proxy.port);
		}
	}
}

/* Our own end of the connection: both selectors have to ask for it. */
static void add_interface(struct str *line, const struct conf *conf, const struct delivery_outcome *o)
{
	if (o->continued)
		str_addc(line, '*');
	if (!o->local.family || !log_wants(conf, LOG_OUTGOING_INTERFACE) ||
	    !log_wants(conf, LOG_INCOMING_INTERFACE))
		return;
	str_addz(line, " I=[");
	str_add_ip(line, &o->local);
	str_addc(line, ']');
	if (log_wants(conf, LOG_OUTGOING_PORT)) {
		str_addc(line, ':');
		str_addu(line, o->local.port);
	}
}

/* The addresses between this one and the recipient, the nearest first. */
static void add_parents(struct str *line, const struct address *address)
{
	const char *before = " (";

	for (const struct address *p = address->parent; p && p->parent; p = p->parent) {
		str_addz(line, before);
		str_add(line, p->full);
		before = ", ";
	}
	if (address->parent && address->parent->parent)
		str_addc(line, ')');
}

/* A file, a command, a mailbox or an address; and the recipient that it comes from, unless that is the same word. */
static void add_address(struct str *line, const struct conf *conf, const struct address *address,
			bool delivered)
{
	bool mailbox = delivered && address->full.len && address->transport && address->transport->is_local &&
		       address->router && address->router->log_as_local;
	struct slice shown = address->pipe.len                        ? address->pipe
			     : address->file.len                      ? address->file
			     : mailbox && address->full.ptr[0] != '>' ? address->local_part
								      : address->full; /* ">": a reply */
	const struct address *top = address;
	struct slice recipient;

	while (top->parent)
		top = top->parent;
	recipient = top->recipient ? top->recipient->address : top->full;
	str_add(line, shown);
	if (delivered && log_wants(conf, LOG_ALL_PARENTS))
		add_parents(line, address);
	if (!slice_eq(shown, recipient)) {
		str_addz(line, " <");
		str_add(line, recipient);
		str_addc(line, '>');
	}
}

static void add_envelope(struct str *line, struct attempt *a, const struct address *address)
{
	if (log_wants(a->d->conf, LOG_SENDER_ON_DELIVERY)) {
		str_addz(line, " F=<");
		str_add(line, a->m->sender);
		str_addc(line, '>');
	}
	if (address->transport && log_wants(a->d->conf, LOG_RETURN_PATH_ON_DELIVERY)) {
		str_addz(line, " P=<");
		str_add(line, address->return_path.ptr ? address->return_path
			      : address->errors_to.ptr ? address->errors_to
						       : a->m->sender);
		str_addc(line, '>');
	}
	if (address->srs_sender.ptr) {
		str_addz(line, " SRS=<");
		str_add(line, address->srs_sender);
		str_addc(line, '>');
	}
}

static void add_drivers(struct str *line, struct address *address)
{
	const struct router *router = address->router ? address->router : fate_of(address)->router;

	if (router) {
		str_addz(line, " R=");
		str_add(line, router->instance.name);
	}
	if (address->transport) {
		str_addz(line, " T=");
		str_add(line, address->transport->instance.name);
	}
}

/* Whole seconds in the units of the configuration, or seconds with three digits when milliseconds are logged. */
static void add_duration(struct str *line, const struct attempt *a, const char *name, uint64_t ns)
{
	str_addc(line, ' ');
	str_addz(line, name);
	str_addc(line, '=');
	if (log_wants(a->d->conf, LOG_MILLISEC))
		str_printf(line, "%llu.%03llus", (unsigned long long)(ns / NS_PER_S),
			   (unsigned long long)(ns % NS_PER_S / NS_PER_MS));
	else
		conf_print_time(line, (int64_t)(ns / NS_PER_S));
}

static void add_queue_time(struct str *line, const struct attempt *a)
{
	uint64_t since = log_wants(a->d->conf, LOG_QUEUE_TIME_EXCLUSIVE) && a->m->received_complete
			     ? a->m->received_complete
			     : a->m->received;
	uint64_t now = shard_wall(a->d->shard);

	add_duration(line, a, "QT", now > since ? now - since : 0);
}

static void add_deliver_time(struct str *line, const struct attempt *a, struct address *address)
{
	if (log_wants(a->d->conf, LOG_DELIVER_TIME))
		add_duration(line, a, "DT", fate_of(address)->took_ns);
}

/* Quotes and backslashes escaped: the text stands between quotes. */
static void add_quoted(struct str *line, struct slice text)
{
	for (uint32_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			str_addc(line, '\\');
		str_addc(line, text.ptr[i]);
	}
}

static void add_tls(struct str *line, const struct conf *conf, const struct delivery_outcome *o)
{
	if (!o->tls_cipher.len)
		return;
	if (log_wants(conf, LOG_TLS_CIPHER)) {
		str_addz(line, " X=");
		str_add(line, o->tls_cipher);
		if (o->tls_resumed && log_wants(conf, LOG_TLS_RESUMPTION))
			str_addc(line, '*');
	}
	if (log_wants(conf, LOG_TLS_CERTIFICATE_VERIFIED))
		str_addz(line, o->tls_verified ? " CV=yes" : " CV=no");
	if (o->tls_peerdn.len && log_wants(conf, LOG_TLS_PEERDN)) {
		str_addz(line, " DN=\"");
		add_quoted(line, o->tls_peerdn);
		str_addc(line, '"');
	}
}

/* ---- Lines ------------------------------------------------------------------------------------------------------------ */

static void write_line(struct attempt *a, struct str *line)
{
	log_write(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, str_slice(line));
}

/* The host, how it was talked to, and what it said. */
static void add_facts(struct str *line, const struct conf *conf, const struct delivery_outcome *o)
{
	struct slice confirmation = o->message.len ? o->message : o->reply_text;

	add_host(line, conf, o);
	add_interface(line, conf, o);
	str_add(line, o->special_log);
	add_tls(line, conf, o);
	if (o->authenticator.len) {
		str_addz(line, " A=");
		str_add(line, o->authenticator);
		str_addz(line, o->authenticated_id.len ? ":" : "");
		str_add(line, o->authenticated_id);
	}
	if (o->pipelining && log_wants(conf, LOG_PIPELINING))
		str_addz(line, " L");
	if (o->chunking)
		str_addz(line, " K");
	if (confirmation.len && log_wants(conf, LOG_SMTP_CONFIRMATION)) {
		str_addz(line, " C=\"");
		add_quoted(line, confirmation);
		str_addc(line, '"');
	}
}

void deliver_line_address(struct str *line, const struct conf *conf, const struct address *address)
{
	add_address(line, conf, address, true);
}

void deliver_line_facts(struct str *line, const struct conf *conf, const struct address *address,
			const struct delivery_outcome *outcome)
{
	struct delivery_outcome o = *outcome;

	if (address->router) {
		str_addz(line, " R=");
		str_add(line, address->router->instance.name);
	}
	str_addz(line, " T=");
	str_add(line, address->transport->instance.name);
	if (log_wants(conf, LOG_DELIVERY_SIZE) && o.size && o.rc == OK) {
		str_addz(line, " S=");
		str_addu(line, o.size);
	}
	o.message = o.reply_text; /* what it said, and not what we say of it */
	add_facts(line, conf, &o);
}

void log_delivered(struct attempt *a, struct address *address, bool further)
{
	struct str line = str_make(&a->arena);
	const struct delivery_outcome *o = &fate_of(address)->outcome;

	str_addz(&line, a->m->dont_deliver ? "*> " : further ? "-> " : "=> ");
	add_address(&line, a->d->conf, address, true);
	add_envelope(&line, a, address);
	add_drivers(&line, address);
	if (log_wants(a->d->conf, LOG_DELIVERY_SIZE) && o->size) {
		str_addz(&line, " S=");
		str_addu(&line, o->size);
	}
	if (address->transport->is_local && address->hosts && address->hosts->first) {
		str_addz(&line, " H="); /* what a router said of hosts; nobody was asked */
		str_add(&line, address->hosts->first->name);
	}
	add_facts(&line, a->d->conf, o);
	if (log_wants(a->d->conf, LOG_QUEUE_TIME))
		add_queue_time(&line, a);
	add_deliver_time(&line, a, address);
	write_line(a, &line);
	msglog_delivered(a, address);
}

static struct slice system_words(struct arena *arena, int os)
{
	char words[128];

	return arena_copy(arena, slice_of(strerror_r(os, words, sizeof(words))));
}

/* The system's words for the number stand behind it, and so need not be said again where the message ends with them. */
static struct slice without_system_words(struct slice message, struct slice words)
{
	if (slice_eq(message, words))
		return SLICE_EMPTY;
	if (words.len && message.len > words.len + 2 &&
	    slice_eq(slice_from(message, message.len - words.len), words) &&
	    slice_eq(slice_sub(message, message.len - words.len - 2, 2), SLICE(": ")))
		return slice_sub(message, 0, message.len - words.len - 2);
	return message;
}

struct slice log_failure_text(struct attempt *a, const struct address *address)
{
	struct str line = str_make(&a->arena);

	add_host(&line, a->d->conf, &fate_of((struct address *)address)->outcome);
	str_addz(&line, line.len ? ": " : " ");
	str_add(&line, fate_text(address));
	return slice_from(str_slice(&line), 1);
}

void log_failed(struct attempt *a, struct address *address)
{
	struct str line = str_make(&a->arena);
	struct fate *fate = fate_of(address);

	str_addz(&line, "** ");
	add_address(&line, a->d->conf, address, false);
	if (!fate->timed_out) {
		add_envelope(&line, a, address);
		add_drivers(&line, address);
		add_host(&line, a->d->conf, &fate->outcome);
		add_tls(&line, a->d->conf, &fate->outcome);
	}
	str_addz(&line, ": ");
	str_add(&line, fate->timed_out ? SLICE("retry timeout exceeded") : fate_text(address));
	add_deliver_time(&line, a, address);
	write_line(a, &line);
	if (address->transport || fate->timed_out)
		msglog_line(a, slice_from(str_slice(&line), 3));
	else
		msglog_printf(a, "routing failed for %.*s: %.*s", SLICE_ARG(address->full),
			      SLICE_ARG(fate_text(address)));
}

void log_deferred(struct attempt *a, struct address *address)
{
	struct str line = str_make(&a->arena);
	const struct delivery_outcome *o = &fate_of(address)->outcome;
	struct slice words = o->os > 0 ? system_words(&a->arena, o->os) : SLICE_EMPTY;
	struct slice message = without_system_words(fate_text(address), words);

	str_addz(&line, "== ");
	add_address(&line, a->d->conf, address, false);
	add_drivers(&line, address);
	if (!address->router && !fate_of(address)->router && o->os != DEFER_HELD)
		str_addz(&line, " routing");
	str_printf(&line, " defer (%d)", o->os);
	add_deliver_time(&line, a, address);
	if (words.len) {
		str_addz(&line, ": ");
		str_add(&line, words);
	}
	if (message.len) {
		add_host(&line, a->d->conf, o);
		str_addz(&line, ": ");
		str_add(&line, message);
	}
	write_line(a, &line);
	msglog_line(a, slice_from(str_slice(&line), 3));
}

void log_ignored(struct attempt *a, struct address *address)
{
	const struct address *top = address;

	while (top->parent)
		top = top->parent;
	log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, "%.*s%s%.*s%s: error ignored",
		   SLICE_ARG(address->full), top != address ? " <" : "",
		   SLICE_ARG(top != address ? top->full : SLICE_EMPTY), top != address ? ">" : "");
}

/* A host that could not be used, or that sent a whole message away for now. */
void log_host_trouble(struct attempt *a, const struct delivery_outcome *o)
{
	struct str line = str_make(&a->arena);
	struct slice words = o->os > 0 ? system_words(&a->arena, o->os) : SLICE_EMPTY;
	struct slice message = without_system_words(o->message, words);

	add_host(&line, a->d->conf, o);
	if (message.len) {
		str_addz(&line, ": ");
		str_add(&line, message);
	}
	if (words.len) {
		str_addz(&line, message.len ? ": " : " ");
		str_add(&line, words);
	}
	if (!line.len)
		return;
	log_write(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, slice_from(str_slice(&line), 1));
	msglog_line(a, slice_from(str_slice(&line), 1));
}

void log_completed(struct attempt *a)
{
	struct str line = str_make(&a->arena);

	str_addz(&line, "Completed");
	if (log_wants(a->d->conf, LOG_QUEUE_TIME_OVERALL))
		add_queue_time(&line, a);
	log_write(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->q->entry->id, str_slice(&line));
}

struct slice fate_text(const struct address *address)
{
	const struct fate *fate = address->extra;

	return fate->outcome.message.len ? fate->outcome.message : SLICE("no reason was given");
}
