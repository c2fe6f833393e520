/* lines: what the main log says of deliveries, in Exim's form. */
#include "work.h"

static void add_host(struct str *line, const struct attempt *a, const struct delivery_outcome *o)
{
	if (!o->host.name.len && !o->host.ip.family)
		return;
	str_addz(line, " H=");
	str_add(line, o->host.name);
	if (o->host.ip.family) {
		str_addz(line, " [");
		str_add_ip(line, &o->host.ip);
		str_addc(line, ']');
		if (log_wants(a->d->conf, LOG_OUTGOING_PORT)) {
			str_addc(line, ':');
			str_addu(line, o->host.port ? o->host.port : o->host.ip.port);
		}
	}
	if (o->continued)
		str_addc(line, '*');
	if (log_wants(a->d->conf, LOG_OUTGOING_INTERFACE) && o->local.family) {
		str_addz(line, " I=[");
		str_add_ip(line, &o->local);
		str_addc(line, ']');
		if (log_wants(a->d->conf, LOG_OUTGOING_PORT)) {
			str_addc(line, ':');
			str_addu(line, o->local.port);
		}
	}
}

static void add_address(struct str *line, const struct attempt *a, const struct address *address, bool local_form)
{
	const struct address *top = address;

	while (top->parent)
		top = top->parent;
	if (address->pipe.len || address->file.len)
		str_add(line, address->pipe.len ? address->pipe : address->file);
	else if (local_form)
		str_add(line, address->cased_local_part.ptr && address->cased_local_part.len ? address->cased_local_part : address->local_part);
	else
		str_add(line, address->full);
	if (log_wants(a->d->conf, LOG_ALL_PARENTS))
		for (const struct address *p = address->parent; p && p->parent; p = p->parent) {
			str_addz(line, " (");
			str_add(line, p->full);
			str_addc(line, ')');
		}
	if (local_form || address->parent || address->pipe.len || address->file.len) {
		str_addz(line, " <");
		str_add(line, top->recipient ? top->recipient->address : top->full);
		str_addc(line, '>');
	}
}

static void add_common(struct str *line, struct attempt *a, struct address *address)
{
	struct fate *fate = fate_of(address);
	const struct router *router = address->router ? address->router : fate->router;

	if (log_wants(a->d->conf, LOG_SENDER_ON_DELIVERY)) {
		str_addz(line, " F=<");
		str_add(line, a->m->sender);
		str_addc(line, '>');
	}
	if (log_wants(a->d->conf, LOG_RETURN_PATH_ON_DELIVERY)) {
		str_addz(line, " P=<");
		str_add(line, address->errors_to.ptr ? address->errors_to : a->m->sender);
		str_addc(line, '>');
	}
	if (router) {
		str_addz(line, " R=");
		str_add(line, router->instance.name);
	}
	if (address->transport) {
		str_addz(line, " T=");
		str_add(line, address->transport->instance.name);
	}
}

static void add_times(struct str *line, struct attempt *a)
{
	if (log_wants(a->d->conf, LOG_QUEUE_TIME)) {
		str_addz(line, " QT=");
		str_printf(line, "%.3fs", (double)(shard_wall(a->d->shard) - a->m->received) / 1e9);
	}
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

void log_delivered(struct attempt *a, struct address *address, bool further)
{
	struct str line = str_make(&a->arena);
	const struct delivery_outcome *o = &fate_of(address)->outcome;

	str_addz(&line, further ? "-> " : "=> ");
	add_address(&line, a, address, address->transport->is_local);
	add_common(&line, a, address);
	if (log_wants(a->d->conf, LOG_DELIVERY_SIZE) && o->size) {
		str_addz(&line, " S=");
		str_addu(&line, o->size);
	}
	add_host(&line, a, o);
	if (o->tls_cipher.len && log_wants(a->d->conf, LOG_TLS_CIPHER)) {
		str_addz(&line, " X=");
		str_add(&line, o->tls_cipher);
	}
	if (o->pipelining && log_wants(a->d->conf, LOG_PIPELINING))
		str_addz(&line, " L");
	if (o->chunking)
		str_addz(&line, " K");
	if ((o->message.len || o->reply_text.len) && log_wants(a->d->conf, LOG_SMTP_CONFIRMATION)) {
		str_addz(&line, " C=\"");
		add_quoted(&line, o->message.len ? o->message : o->reply_text);
		str_addc(&line, '"');
	}
	str_add(&line, o->special_log);
	add_times(&line, a);
	log_write(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, str_slice(&line));
}

struct slice fate_text(struct attempt *a, struct address *address, bool with_router)
{
	struct fate *fate = fate_of(address);
	struct str text = str_make(&a->arena);

	(void)with_router;
	str_add(&text, fate->outcome.message.len ? fate->outcome.message : SLICE("no reason was given"));
	if (fate->outcome.user_message.len && !slice_eq(fate->outcome.user_message, fate->outcome.message)) {
		str_addz(&text, ": ");
		str_add(&text, fate->outcome.user_message);
	}
	return text.failed ? SLICE("out of memory") : str_slice(&text);
}

void log_not_delivered(struct attempt *a, struct address *address, bool failed)
{
	struct str line = str_make(&a->arena);
	const struct delivery_outcome *o = &fate_of(address)->outcome;

	str_addz(&line, failed ? "** " : "== ");
	add_address(&line, a, address, false);
	add_common(&line, a, address);
	add_host(&line, a, o);
	if (!failed)
		str_printf(&line, " defer (%d)", o->os);
	str_addz(&line, ": ");
	str_add(&line, fate_text(a, address, false));
	log_write(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, str_slice(&line));
}

void log_completed(struct attempt *a)
{
	if (log_wants(a->d->conf, LOG_QUEUE_TIME_OVERALL))
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->q->entry->id, "Completed QT=%.3fs",
			   (double)(shard_wall(a->d->shard) - a->m->received) / 1e9);
	else
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->q->entry->id, "Completed");
}
