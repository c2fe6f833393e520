/* A connection that a recipient's callout leaves open: for the callouts of further recipients, for the message's text
 * (cutthrough.c), or for the delivery that comes soon.
 *
 * What the host was told and what our client was told have to agree: a recipient that the host has accepted and the ACL then
 * has not would get the message all the same. Where that happens, and when the connection is lost, cutthrough is over. */
#include "next_hop.h"

struct next_hop *next_hop_of(struct message *message)
{
	if (!message->next_hop)
		message->next_hop = arena_make(&message->arena, struct next_hop);
	return message->next_hop;
}

void next_hop_drop(struct next_hop *hop)
{
	struct smtp_connection *connection = hop->connection;

	hop->connection = NULL;
	hop->told = false;
	if (hop->count)
		hop->over = true;
	if (!connection)
		return;
	if (hop->text)
		smtp_abandon(connection);
	else
		smtp_close(connection);
	hop->text = false;
}

void next_hop_done(struct message *message, bool accepted)
{
	struct next_hop *hop = message->next_hop;

	if (!hop || !hop->connection)
		return;
	if (!accepted || !hop->hold || hop->text) {
		next_hop_drop(hop);
		return;
	}
	/* The delivery finds it in the pool, and begins with RSET if the envelope that was told is still open. */
	smtp_release(hop->connection,
		     hop->s->connection_max_messages > 0 ? (unsigned)hop->s->connection_max_messages : 0);
	hop->connection = NULL;
}

/* ---- What has to outlive the command ------------------------------------------------------------------------------ */

static bool keep_slice(struct arena *arena, struct slice *slice)
{
	if (!slice->ptr)
		return true;
	*slice = arena_copy(arena, *slice);
	return slice->ptr != NULL;
}

static bool keep_headers(struct arena *arena, const struct header_block *from, struct header_block *to)
{
	*to = (struct header_block){.count = 0};
	list_init(&to->list);
	if (!from->count)
		return true;
	LIST_EACH (l, &from->list) {
		struct slice text = arena_copy(arena, LIST_ITEM(l, struct header, link)->text);
		struct header *h = text.ptr ? header_make(arena, text) : NULL;

		if (!h)
			return false;
		header_append(to, h);
	}
	return true;
}

static struct acl_variable *keep_variables(struct arena *arena, const struct acl_variable *from)
{
	struct acl_variable *first = NULL, **end = &first;

	for (; from; from = from->next) {
		struct acl_variable *v = arena_make(arena, struct acl_variable);

		if (!v)
			return NULL; /* a variable that is not there expands to nothing; the delivery does not fail for it */
		*v = *from;
		v->next = NULL;
		if (!keep_slice(arena, &v->name) || !keep_slice(arena, &v->value))
			return NULL;
		*end = v;
		end = &v->next;
	}
	return first;
}

/* What the delivery and its log lines need of it. NULL: no memory. */
static struct address *keep_address(struct arena *arena, const struct address *from)
{
	struct address *a = arena_make(arena, struct address);
	struct slice *slices[] = {
	    a ? &a->full : NULL, &a->local_part,  &a->domain,       &a->cased_local_part,
	    &a->prefix,          &a->prefix_v,    &a->suffix,       &a->suffix_v,
	    &a->local_part_data, &a->domain_data, &a->address_data, &a->self_hostname,
	    &a->errors_to,       &a->srs_sender,  &a->orcpt,        &a->headers_remove};

	if (!a)
		return NULL;
	*a = *from;
	list_init(&a->link);
	a->hosts = NULL;
	a->extra = NULL;
	a->recipient = NULL;
	for (unsigned i = 0; i < ARRAY_COUNT(slices); i++)
		if (!keep_slice(arena, slices[i]))
			return NULL;
	a->router_variables = keep_variables(arena, from->router_variables);
	if (!keep_headers(arena, &from->headers_add, &a->headers_add))
		return NULL;
	if (from->parent) {
		a->parent = keep_address(arena, from->parent);
		if (!a->parent)
			return NULL;
	}
	return a;
}

static bool remember(struct next_hop *hop, const struct hop_question *q)
{
	struct arena *arena = &q->sc->message->arena;
	struct address *address = keep_address(arena, q->address);
	struct slice recipient = arena_copy(arena, q->recipient);

	if (!address || !recipient.ptr)
		return false;
	if (hop->count == hop->room) {
		unsigned room = hop->room ? 2 * hop->room : 4;
		struct address **addresses = arena_array(arena, struct address *, room);
		struct slice *recipients = arena_array(arena, struct slice, room);

		if (!addresses || !recipients)
			return false;
		if (hop->count) {
			memcpy(addresses, hop->addresses, hop->count * sizeof(*addresses));
			memcpy(recipients, hop->recipients, hop->count * sizeof(*recipients));
		}
		hop->addresses = addresses;
		hop->recipients = recipients;
		hop->room = room;
	}
	hop->addresses[hop->count] = address;
	hop->recipients[hop->count++] = recipient;
	return true;
}

/* The host has accepted it. What we cannot remember, we cannot deliver that way. */
static void told(struct next_hop *hop, const struct hop_question *q)
{
	const unsigned dsn_success = 4;

	hop->told = true;
	hop->told_again = false;
	if (!remember(hop, q) ||
	    /* The report that was asked for is ours to make if the host does not make any (RFC 3461 section 5.2.2). */
	    ((q->address->dsn_flags & dsn_success) && !(hop->smtp_extensions & SMTP_EXT_DSN)))
		hop->over = true;
}

/* ---- Asking over it -------------------------------------------------------------------------------------------------- */

static bool told_before(const struct next_hop *hop, struct slice recipient)
{
	for (unsigned i = 0; i < hop->count; i++)
		if (slice_eq(hop->recipients[i], recipient))
			return true;
	return false;
}

/* The host is one of those that the address was routed to, and not a worse one than others. */
static enum rc leads_here(const struct next_hop *hop, const struct hop_question *q, bool *ret)
{
	struct host_list hosts;
	uint16_t port;
	enum rc rc = smtp_find_hosts(q->sc, q->s, q->address->hosts, &hosts, q->err);

	*ret = false;
	if (rc == OK)
		rc = smtp_port(q->sc, q->s, &port, q->err);
	if (rc != OK)
		return rc;
	for (const struct host_item *host = hosts.first; host && host->mx == hosts.first->mx;
	     host = host->next)
		if (ip_eq(&host->ip, &hop->host.ip) && (host->port ? host->port : port) == hop->host.ip.port)
			*ret = true;
	return OK;
}

static bool multi_domain(const struct hop_question *q)
{
	bool multi = true;

	if (q->s->multi_domain && expand_option_bool(q->sc, q->s->multi_domain, true, &multi, q->err) != OK)
		multi = false;
	return multi;
}

static bool fits(const struct next_hop *hop, const struct hop_question *q)
{
	unsigned most = smtp_recipient_max(hop->connection);
	struct smtp_connect_options options;
	struct host_item host = hop->host;
	bool here;

	if (q->s != hop->s || !slice_eq(q->from, hop->sender) || smtp_is_dead(hop->connection) ||
	    leads_here(hop, q, &here) != OK || !here)
		return false;
	if ((most && hop->count >= most) || (hop->max_rcpt > 0 && hop->count >= hop->max_rcpt))
		return false;
	if (hop->count &&
	    (!address_headers_equal(hop->addresses[0], q->address) ||
	     (!slice_eq_nocase(hop->addresses[0]->domain, q->address->domain) && !multi_domain(q))))
		return false;
	q->sc->host = &host;
	return smtp_host_options(q->sc, q->s, &host, true, &options, q->err) == OK &&
	       smtp_fits(hop->connection, q->sc->task->arena, &options);
}

enum rc next_hop_ask(struct next_hop *hop, const struct hop_question *q, bool *asked_ret)
{
	struct arena *arena = q->sc->task->arena;
	struct slice line;
	enum rc rc;

	*asked_ret = false;
	if (!hop->connection)
		return OK;
	if (!fits(hop, q)) {
		next_hop_drop(hop);
		return OK;
	}
	*asked_ret = true;
	if (told_before(hop, q->recipient)) {
		hop->told = hop->told_again = true;
		return OK;
	}
	line = arena_printf(
	    arena, "RCPT TO:<%.*s>%.*s", SLICE_ARG(rcpt_address(arena, &q->s->transport, q->address)),
	    SLICE_ARG(smtp_rcpt_parameters(arena, &q->s->transport, q->address, hop->smtp_extensions)));
	rc = line.ptr ? smtp_command(q->sc, hop->connection, line, q->reply, q->err) : err_memory(q->err);
	if (rc == CANCELLED)
		return rc;
	if (rc != OK || smtp_is_dead(hop->connection)) {
		next_hop_drop(hop);
		*asked_ret = false;
		return OK;
	}
	if (q->reply->code / 100 == 2) {
		told(hop, q);
		return OK;
	}
	return err_set(q->err, q->reply->code / 100 == 5 ? FAIL : DEFER, "response to \"%.*s\" was: %.*s",
		       SLICE_ARG(line), SLICE_ARG(q->reply->text));
}

void next_hop_keep(struct next_hop *hop, const struct hop_question *q, const struct host_item *host,
		   struct smtp_connection *connection, bool accepted)
{
	struct arena *arena = &q->sc->message->arena;

	hop->s = q->s;
	hop->host = *host;
	hop->host.next = NULL;
	hop->sender = arena_copy(arena, q->from);
	hop->host.name = arena_copy(arena, host->name);
	hop->smtp_extensions = smtp_extensions(connection);
	if (!hop->sender.ptr || !hop->host.name.ptr ||
	    expand_option_int(q->sc, q->s->max_rcpt, 100, &hop->max_rcpt, q->err) != OK) {
		smtp_close(connection);
		return;
	}
	/* RFC 6531 section 3.5; the delivery says so to the sender. */
	if (q->sc->message->smtputf8 && !(hop->smtp_extensions & SMTP_EXT_UTF8))
		hop->over = true;
	hop->connection = connection;
	smtp_set_in_transaction(connection);
	if (accepted)
		told(hop, q);
}

enum rc next_hop_mail_parameters(const struct hop_question *q, unsigned extensions, struct slice *ret,
				 struct err *err)
{
	const struct message *m = q->sc->message;
	struct str out = str_make(q->sc->task->arena);
	struct slice more;
	enum rc rc = smtp_mail_parameters(q->sc, &q->s->transport, extensions, &more, err);

	if (rc != OK)
		return rc;
	if ((extensions & SMTP_EXT_SIZE) && m->size_declared && q->s->size_addition >= 0)
		str_printf(&out, " SIZE=%llu",
			   (unsigned long long)m->size_declared + (unsigned long long)q->s->size_addition);
	if ((extensions & SMTP_EXT_8BITMIME) && m->body_8bit == 8)
		str_addz(&out, " BODY=8BITMIME");
	if ((extensions & SMTP_EXT_UTF8) && m->smtputf8)
		str_addz(&out, " SMTPUTF8");
	str_add(&out, more);
	*ret = str_slice(&out);
	return ret->ptr ? OK : err_memory(err);
}
