/* submit: messages that are made here: reports, and what a transport answers. */
#include "work.h"

#include <unistd.h>

enum rc submit_message(struct task *task, struct deliverer *d, struct message *m, struct err *err)
{
	struct str text = str_make(&m->arena);
	struct header *received, *id, *date;
	uint64_t wall = shard_wall_exact(d->shard);
	const struct conf_main *o = conf_main(d->conf);
	enum rc rc;

	m->id = message_id_next(&d->ids, wall);
	m->received = m->received_complete = wall;
	m->local = true;
	m->protocol = SLICE("local");
	if (!header_find(&m->headers, SLICE("message-id"), NULL)) {
		str_printf(&text, "Message-Id: <E%s@%.*s>", m->id.text, SLICE_ARG(o->primary_hostname));
		id = header_make(&m->arena, str_slice(&text));
		if (!id)
			return err_memory(err);
		header_append(&m->headers, id);
	}
	if (!header_find(&m->headers, SLICE("date"), NULL)) {
		struct str line = str_make(&m->arena);
		str_addz(&line, "Date: ");
		date_rfc5322(&line, wall / NS_PER_S);
		date = header_make(&m->arena, str_slice(&line));
		if (!date)
			return err_memory(err);
		header_append(&m->headers, date);
	}
	if (m->client && !m->client->ident.len)
		m->client->ident = m->client->login.len ? m->client->login : slice_of(d->login);
	struct str by = str_make(&m->arena);
	if (received_default(m, m->client, o, m->sender, false, &by) != OK)
		return err_memory(err);
	received = received_make(m, str_slice(&by), wall / NS_PER_S);
	if (!received)
		return err_memory(err);
	header_prepend(&m->headers, received);
	message_read_headers(m);
	rc = message_commit(task, d->spool, m, err);
	if (rc != OK)
		return rc;
	log_printf(d->shard, d->conf, LOG_TO_MAIN, &m->id, "<= %.*s%s%.*s U=%.*s P=local S=%llu",
		   SLICE_ARG(m->sender.len ? m->sender : SLICE("<>")), m->about.text[0] ? " R=" : "",
		   SLICE_ARG(slice_of(m->about.text)),
		   SLICE_ARG(m->client && m->client->login.len ? m->client->login : slice_of(d->login)),
		   (unsigned long long)message_size(m));
	message_ref(m);
	deliver_accepted(d, m, DELIVER_NOW);
	return OK;
}

/* A transport's own message (autoreply): header and body as a user would type them. */
static enum rc submit(void *arg, struct scope *sc, const struct submission *submission, struct err *err)
{
	struct deliverer *d = arg;
	struct message *m = message_new(d->conf, 0);
	struct slice body;
	struct str wire;
	uint32_t used = 0;
	bool cr = false;
	enum rc rc = DEFER;

	if (!m)
		return err_memory(err);
	m->client = arena_make(&m->arena, struct client);
	if (!m->client)
		goto out;
	client_clear(m->client);
	m->client->uid = submission->uid;
	m->client->gid = submission->gid;
	m->sender_local = true;
	m->sender = m->sender_original = arena_copy(&m->arena, submission->sender);
	if (submission->about)
		m->about = submission->about->id;
	for (unsigned i = 0; i < submission->recipient_count; i++) {
		struct recipient r = {.parent = -1, .orcpt = SLICE_EMPTY};
		r.address = r.original = arena_copy(&m->arena, submission->recipients[i]);
		if (!r.address.ptr || !message_add_recipient(m, &r))
			goto out;
	}
	if (header_block_parse(&m->arena, submission->text, &m->headers, &used, err) == DEFER)
		goto out;
	body = slice_from(submission->text, used);
	wire = str_make(&m->arena);
	if (!str_reserve(&wire, (size_t)body.len * 2 + 2))
		goto out;
	wire.len = (uint32_t)lf_to_crlf(&cr, body, wire.ptr);
	if (wire.len && wire.ptr[wire.len - 1] != '\n')
		str_addz(&wire, "\r\n");
	if (!body_add(m, NULL, wire.ptr, wire.len))
		goto out;
	m->body.in_memory = true;
	rc = submit_message(sc->task, d, m, err);
out:
	message_unref(m);
	if (rc != OK && !err->text.len)
		return err_memory(err);
	return rc;
}

enum rc deliver_tell_frozen(struct scope *sc, struct deliverer *deliverer, const struct message *message,
			    struct err *err)
{
	const struct deliver_options *o = conf_group(deliverer->conf, CONF_DELIVER);
	const struct conf_main *main_options = conf_main(deliverer->conf);
	struct submission submission = {
	    .sender = SLICE_EMPTY, .about = message, .uid = getuid(), .gid = getgid()};
	struct slice to[20], rest = o->freeze_tell;
	struct str text = str_make(sc->task->arena);

	/* A bounce that is frozen is no news, and telling of it could go round in circles. */
	if (!rest.ptr || !message->sender.len)
		return OK;
	str_printf(
	    &text,
	    "Auto-Submitted: auto-replied\nFrom: Mail Delivery System <Mailer-Daemon@%.*s>\nTo: %.*s\n"
	    "Subject: Message frozen on arrival\n\nMessage %s was frozen when it arrived, as an ACL told.\n"
	    "The sender is <%.*s>.\n",
	    SLICE_ARG(main_options->qualify_domain), SLICE_ARG(rest), message->id.text,
	    SLICE_ARG(message->sender));
	while (submission.recipient_count < ARRAY_COUNT(to) &&
	       slice_split(&rest, ',', &to[submission.recipient_count])) {
		struct slice *one = &to[submission.recipient_count];
		*one = slice_trim(*one);
		if (one->len && slice_find(*one, '@') < 0)
			*one = arena_printf(sc->task->arena, "%.*s@%.*s", SLICE_ARG(*one),
					    SLICE_ARG(main_options->qualify_domain));
		submission.recipient_count += one->len > 0;
	}
	submission.recipients = to;
	submission.text = str_slice(&text);
	if (text.failed)
		return err_memory(err);
	return submission.recipient_count ? submit(deliverer, sc, &submission, err) : OK;
}

void submit_hooks(struct deliverer *d)
{
	d->submit = (struct transport_submit){.submit = submit, .arg = d};
	transport_set_submit(d->shard, &d->submit);
}
