/* submit: a message that a local user hands in whole, on a program's standard input: no dialogue, but the same way through
 * header fix-ups, ACL and group commit as over SMTP. It borrows a session without a stream for that. */
#include "session.h"

#define BLOCK_SIZE  (64 * 1024) /* of the body's copy with CRLF line ends */
#define BLOCK_COUNT (BODY_KEEP_MAX / BLOCK_SIZE)

struct submit {
	struct smtp_server *server;
	const struct smtp_submission *in;
	struct task *task;
	struct smtp_session *s;
	struct transaction *t;
	struct message *m;
	struct err *err;
	struct slice text;      /* what is not yet taken of in->text */
	struct slice malformed; /* the first address that is none, with the reason */
	unsigned malformed_count;
};

/* ---- Who and to whom ------------------------------------------------------------------------------------------ */

static struct slice qualified(struct arena *arena, struct slice local_part, struct slice domain)
{
	struct str str = str_make(arena);

	str_add(&str, local_part);
	str_addc(&str, '@');
	str_add(&str, domain);
	return str_slice(&str);
}

/* The client is the user who called. The addresses of both senders are made here, too. */
static bool set_client(struct submit *w)
{
	struct client *c = &w->s->client;
	struct arena *arena = &w->m->arena;

	c->arena = arena;
	client_clear(c);
	c->login = c->ident = arena_copy(arena, w->in->login);
	c->uid = w->in->uid;
	c->gid = w->in->gid;
	c->protocol_base = SLICE("local");
	if (!w->in->sender.ptr || !w->in->trusted) {
		c->authenticated_id = c->login;
		c->authenticated_sender = qualified(arena, local_part_quote(arena, c->login),
						    conf_main(w->s->conf)->qualify_domain);
	}
	client_tell(w->s, w->in->told);
	w->m->dont_deliver = w->s->dont_deliver;
	if (w->in->told && w->in->told->about.ptr)
		(void)message_id_parse(w->in->told->about, &w->m->about);
	w->m->client = c;
	return c->login.ptr && c->authenticated_sender.ptr;
}

/* A trusted user may say who sends; any user, that nobody does (a bounce), or what untrusted_set_sender allows. */
static enum rc set_sender(struct submit *w)
{
	struct arena *arena = &w->m->arena;
	struct slice domain = conf_main(w->s->conf)->qualify_domain;
	struct slice own = qualified(arena, local_part_quote(arena, w->s->client.login), domain);
	struct address_parts parts;

	w->m->sender = w->m->sender_original = own;
	if (!own.ptr)
		return err_memory(w->err);
	w->m->local = true;
	if (!w->in->sender.ptr)
		return OK;
	if (address_parse(arena, w->in->sender,
			  ADDRESS_ALLOW_EMPTY | ADDRESS_ALLOW_UNQUALIFIED | address_flags(w->s->conf), &parts,
			  w->err) != OK) {
		err_prefix(w->err, "bad sender address \"%.*s\"", SLICE_ARG(w->in->sender));
		return FAIL;
	}
	if (parts.full.len && !parts.domain.len)
		parts.full = qualified(arena, parts.local_part, domain);
	if (!parts.full.ptr)
		return err_memory(w->err);
	if (!w->in->trusted && parts.full.len) {
		enum rc rc = match_address(session_scope(w->s), w->s->options->untrusted_set_sender,
					   parts.full, NULL, w->err);
		if (rc == DEFER || rc == CANCELLED)
			return rc;
		if (rc != OK)
			return OK; /* as if it had not been said */
	}
	w->m->local = !w->in->trusted;
	w->m->sender_set_untrusted = !w->in->trusted;
	w->m->sender = w->m->sender_original = parts.full;
	return OK;
}

static void malformed(void *arg, struct slice item, struct slice why)
{
	struct submit *w = arg;

	if (!w->malformed_count++)
		w->malformed = arena_printf(w->task->arena, "%.*s: %.*s", SLICE_ARG(item), SLICE_ARG(why));
}

/* Each argument may be a list. */
static bool take_arguments(struct submit *w, struct slice **taken_ret, unsigned *count_ret)
{
	unsigned flags = ADDRESS_ALLOW_UNQUALIFIED | address_flags(w->s->conf);
	struct arena *arena = &w->m->arena;
	struct err err = err_make(arena);
	struct slice *taken = NULL;
	unsigned count = 0, room = 0;

	for (unsigned i = 0; i < w->in->recipient_count; i++) {
		struct slice rest = w->in->recipients[i], gap, item;

		while (address_next_item(&rest, &gap, &item)) {
			struct address_parts parts;
			enum rc rc = address_parse(arena, item, flags, &parts, &err);

			if (rc == FAIL) {
				malformed(w, item, err.text);
				continue;
			}
			if (rc == OK && !parts.domain.len)
				parts.full = qualified(arena, parts.local_part,
						       conf_main(w->s->conf)->qualify_recipient);
			if (rc != OK || !parts.full.ptr)
				return false;
			if (count == room) {
				struct slice *more = arena_array(arena, struct slice, room ? room * 2 : 8);
				if (!more)
					return false;
				if (count)
					memcpy(more, taken, count * sizeof(*more));
				taken = more;
				room = room ? room * 2 : 8;
			}
			taken[count++] = parts.full;
		}
	}
	*taken_ret = taken;
	*count_ret = count;
	return true;
}

static enum rc set_recipients(struct submit *w)
{
	bool extract = w->in->extract_recipients;
	struct fixup fixup = {.qualify_recipient = conf_main(w->s->conf)->qualify_recipient};
	unsigned flags = address_flags(w->s->conf), count;
	struct slice *taken;

	if (!take_arguments(w, &taken, &count))
		return err_memory(w->err);
	for (unsigned i = 0; i < count && (!extract || !w->s->options->extract_addresses_remove_arguments);
	     i++) {
		struct recipient recipient = {.address = taken[i],
					      .original = taken[i],
					      .orcpt = SLICE_EMPTY,
					      .errors_to = SLICE_EMPTY,
					      .parent = -1};
		if (!message_add_recipient(w->m, &recipient))
			return err_memory(w->err);
	}
	/* Nor are they to get it by way of an alias. */
	for (unsigned i = 0; i < count && extract && w->s->options->extract_addresses_remove_arguments; i++)
		if (!message_add_nonrecipient(w->m, taken[i]))
			return err_memory(w->err);
	fixup.allow_utf8 = flags & ADDRESS_ALLOW_UTF8;
	fixup.strip_dot = flags & ADDRESS_STRIP_DOT;
	if (extract && message_recipients_from_headers(
			   w->m, &fixup, w->s->options->extract_addresses_remove_arguments ? taken : NULL,
			   w->s->options->extract_addresses_remove_arguments ? count : 0, malformed, w) != OK)
		return err_memory(w->err);
	if (w->m->recipient_count) {
		if (w->malformed_count)
			log_printf(w->server->shard, w->s->conf, LOG_TO_MAIN, &w->m->id,
				   "%u malformed address%s ignored: %.*s", w->malformed_count,
				   w->malformed_count > 1 ? "es" : "", SLICE_ARG(w->malformed));
		return OK;
	}
	if (w->malformed_count)
		return err_set(w->err, FAIL, "malformed address: %.*s", SLICE_ARG(w->malformed));
	return err_set(w->err, FAIL, extract ? "no recipients found in headers" : "no recipients");
}

/* ---- The text --------------------------------------------------------------------------------------------------- */

/* "From user@host Fri Jan  5 12:35 GMT 1996" in front of all: an envelope sender in the way of UUCP, unless the command has
 * named another. */
static enum rc take_from_line(struct submit *w, struct smtp_submission *with_sender)
{
	struct slice sender = {NULL, 0, 0};
	enum rc rc = from_line_sender(session_scope(w->s), w->s->options, &w->text, &sender, w->err);

	if (rc == DEFER) {
		log_printf(w->server->shard, w->s->conf, LOG_TO_MAIN | LOG_TO_PANIC, &w->m->id, "%.*s",
			   SLICE_ARG(w->err->text));
		return OK;
	}
	if (rc != OK || !sender.ptr || w->in->sender.ptr)
		return rc == CANCELLED ? rc : OK;
	with_sender->sender = arena_copy(&w->m->arena, slice_tainted(sender));
	if (w->in->trusted)
		with_sender->full_name = SLICE_EMPTY;
	return with_sender->sender.ptr ? OK : err_memory(w->err);
}

static enum rc take_header(struct submit *w)
{
	const struct message_options *o = conf_group(w->s->conf, CONF_MESSAGE);
	uint64_t max = o ? (uint64_t)o->header_maxsize : 1024 * 1024;
	struct slice bytes = w->text, rest = w->text;
	uint32_t used = 0;

	/* Up to the empty line, and no further than a header may be long. */
	while (rest.len && bytes.len - rest.len <= max) {
		ptrdiff_t end = slice_find(rest, '\n');
		bool empty = end == 0 || (end == 1 && rest.ptr[0] == '\r');

		rest = slice_from(rest, end < 0 ? rest.len : (size_t)end + 1);
		if (empty)
			break;
	}
	bytes = slice_tainted(slice_sub(bytes, 0, bytes.len - rest.len));
	if (header_block_parse(&w->m->arena, bytes, &w->m->headers, &used, w->err) != OK)
		return err_memory(w->err);
	if (w->m->headers.bytes > max)
		return err_set(w->err, FAIL, "message header section is too big");
	for (struct header *h = header_next(&w->m->headers, NULL); h; h = header_next(&w->m->headers, h)) {
		struct slice lines = h->text, line;
		while (slice_split(&lines, '\n', &line))
			if (line.len > w->m->body.line_length_max)
				w->m->body.line_length_max = line.len;
	}
	w->text = slice_from(w->text, used);
	return OK;
}

/* The body with CRLF line ends, through blocks that are used again once the spool has them. */
static enum rc take_body(struct submit *w)
{
	char *blocks[BLOCK_COUNT] = {NULL};
	unsigned at = 0;
	bool pending = false;
	char last = '\n';

	while (w->text.len) {
		struct slice piece = slice_sub(w->text, 0, BLOCK_SIZE / 2);
		size_t len;

		if (at == BLOCK_COUNT) {
			enum rc rc = body_spill(w->task, w->server->spool, w->m, w->err);
			if (rc != OK)
				return rc;
			at = 0;
		}
		if (!blocks[at])
			blocks[at] = arena_bytes(&w->m->arena,
						 piece.len < BLOCK_SIZE / 2 ? 2 * piece.len : BLOCK_SIZE);
		if (!blocks[at])
			return err_memory(w->err);
		len = lf_to_crlf(&pending, piece, blocks[at]);
		if (!body_add(w->m, NULL, blocks[at++], (uint32_t)len))
			return err_memory(w->err);
		last = piece.ptr[piece.len - 1];
		w->text = slice_from(w->text, piece.len);
	}
	if (last != '\n' && last != '\r' && !body_add(w->m, NULL, "\r\n", 2))
		return err_memory(w->err);
	return OK;
}

static enum rc check_size(struct submit *w)
{
	int64_t max;
	enum rc rc = expand_option_int(session_scope(w->s), w->s->options->message_size_limit,
				       50 * 1024 * 1024, &max, w->err);

	if (rc != OK) {
		err_prefix(w->err, "unable to expand message_size_limit");
		return rc == CANCELLED ? rc : DEFER;
	}
	if (max > 0 && w->in->text.len > (uint64_t)max)
		return err_set(w->err, FAIL, "message too big: size=%u max=%lld", w->in->text.len,
			       (long long)max);
	return OK;
}

/* ---- Judged and kept ---------------------------------------------------------------------------------------------- */

/* OK: go on; *log_ret: as if it were delivered, and what the log says of that; ptr NULL: no. */
static enum rc judge(struct submit *w, struct slice *log_ret)
{
	struct acl_outcome outcome;
	struct slice user;
	struct err err;
	enum acl_result result;
	bool temporary;

	headers_apply(w->s, w->m, w->t);
	*log_ret = (struct slice){NULL, 0, CLEAN};
	if (!w->s->options->acl[ACL_WHERE_NOT_SMTP])
		return OK;
	(void)session_scope(w->s);
	result = session_acl(w->s, ACL_WHERE_NOT_SMTP, &outcome, &err);
	headers_apply(w->s, w->m, w->t);
	if (result == ACL_DISCARD)
		*log_ret = outcome.log_message.ptr    ? outcome.log_message
			   : outcome.user_message.ptr ? outcome.user_message
						      : SLICE_EMPTY;
	if (result == ACL_ACCEPT || result == ACL_DISCARD)
		return OK;
	if (w->s->task.cancelled)
		return CANCELLED;
	temporary = result == ACL_DEFER || result == ACL_ERROR;
	user = outcome.user_message.ptr && result != ACL_ERROR ? outcome.user_message
	       : temporary ? SLICE("Temporary local problem - please try later")
			   : SLICE("Administrative prohibition");
	log_printf(w->server->shard, w->s->conf, outcome.reject_targets, &w->m->id,
		   "F=<%.*s> %srejected by non-SMTP ACL: %.*s", SLICE_ARG(w->m->sender),
		   temporary ? "temporarily " : "",
		   SLICE_ARG(result == ACL_ERROR       ? err.text
			     : outcome.log_message.ptr ? outcome.log_message
						       : user));
	tally_up(&w->server->metrics->rejected_data);
	return err_set(w->err, temporary ? DEFER : FAIL, "%.*s", SLICE_ARG(user));
}

static enum rc keep(struct submit *w, struct message_id *id_ret)
{
	bool first_pass = w->t->controls & ACL_CONTROL_QUEUE_FIRST_PASS;
	bool queue;
	enum rc rc;

	if (queue_only_now(w->s, &w->m->queue_only, &w->m->queue_smtp) == CANCELLED)
		return CANCELLED;
	queue = w->m->queue_only || (w->t->controls & ACL_CONTROL_QUEUE && !first_pass);
	if (w->in->queued_ret)
		*w->in->queued_ret = queue;
	if (!log_healthy(w->server->shard))
		return err_set(w->err, DEFER, "the main log cannot be written");
	if (w->t->controls & ACL_CONTROL_FREEZE) {
		w->m->frozen = true;
		w->m->frozen_since = w->m->received / NS_PER_S;
	}
	w->m->queue_smtp |= first_pass;
	/* The facts go with the message. */
	w->m->client = client_copy(&w->m->arena, &w->s->client);
	if (!w->m->client)
		return err_memory(w->err);
	w->m->received_complete = shard_wall(w->server->shard);
	message_debug(w->s, w->m);
	rc = message_commit(w->task, w->server->spool, w->m, w->err);
	if (rc != OK)
		return rc;
	log_arrival(w->s, w->m);
	if (w->m->frozen)
		frozen_told(w->s, session_scope(w->s), w->m);
	tally_up(&w->server->metrics->messages);
	tally_add(&w->server->metrics->bytes, w->m->body.size);
	*id_ret = w->m->id;
	/* Its blocks are the message's own memory, so the deliverer may have them for as long as it holds it. */
	message_ref(w->m);
	deliver_accepted(w->server->deliverer, w->m, queue ? DELIVER_QUEUE : DELIVER_NOW);
	return OK;
}

static void discard(struct submit *w, struct slice log, struct message_id *id_ret)
{
	log_arrival(w->s, w->m);
	log_printf(w->server->shard, w->s->conf, LOG_TO_MAIN, &w->m->id,
		   "=> blackhole (non-SMTP ACL discarded recipients)%s%.*s", log.len ? ": " : "",
		   SLICE_ARG(log));
	log_printf(w->server->shard, w->s->conf, LOG_TO_MAIN, &w->m->id, "Completed");
	*id_ret = w->m->id;
}

static enum rc submit(struct submit *w, struct message_id *id_ret)
{
	const struct message_options *o = conf_group(w->s->conf, CONF_MESSAGE);
	struct smtp_submission with_sender = *w->in;
	struct acl_outcome outcome;
	struct slice discarded;
	struct err err;
	enum rc rc;

	w->text = w->in->text;
	w->s->client.arena = &w->m->arena;
	client_clear(&w->s->client);
	rc = take_from_line(w, &with_sender);
	if (rc != OK)
		return rc;
	w->in = w->s->submission = &with_sender;
	if (!set_client(w))
		return err_memory(w->err);
	rc = set_sender(w);
	if (rc == OK)
		rc = check_size(w);
	if (rc != OK)
		return rc;
	if (w->s->options->acl[ACL_WHERE_NOT_SMTP_START]) {
		/* It cannot refuse, only set things. */
		(void)session_scope(w->s);
		(void)session_acl(w->s, ACL_WHERE_NOT_SMTP_START, &outcome, &err);
	}
	rc = take_header(w);
	if (rc == OK)
		rc = set_recipients(w);
	if (rc == OK)
		rc = take_body(w);
	if (rc != OK)
		return rc;
	message_read_headers(w->m);
	if (w->m->received_hops > (uint64_t)(o ? o->received_headers_max : 30))
		return err_set(w->err, FAIL, "too many \"Received\" headers - suspected mail loop");
	w->m->protocol = w->s->client.protocol_base;
	if (!header_complete(w->s, w->m))
		return err_memory(w->err);
	rc = judge(w, &discarded);
	if (rc != OK)
		return rc;
	if (!discarded.ptr)
		return keep(w, id_ret);
	discard(w, discarded, id_ret);
	return OK;
}

enum rc smtp_submit(struct task *task, struct smtp_server *server, const struct smtp_submission *submission,
		    struct message_id *id_ret, struct err *err)
{
	struct submit w = {.server = server, .in = submission, .task = task, .err = err};
	struct serving serving;
	struct smtp_session *s = arena_make(task->arena, struct smtp_session);
	struct debug *outer = debug_here;
	struct message *m;
	enum rc rc;

	if (!s)
		return err_memory(err);
	m = message_new(server->conf, 64ul * 1024 * 1024);
	w.t = m ? arena_make(&m->arena, struct transaction) : NULL;
	if (!w.t) {
		message_unref(m);
		return err_memory(err);
	}
	w.s = s;
	w.m = w.t->message = m;
	w.t->headers_end = &w.t->headers;
	arena_init(&serving.arena, 64ul * 1024 * 1024);
	arena_init(&serving.out_arena, 1024 * 1024);
	serving.out = str_make(&serving.out_arena);
	serving.scope.smtp_command = SLICE_EMPTY;
	*s = (struct smtp_session){
	    .server = server,
	    .conf = conf_ref(server->conf),
	    .options = conf_group(server->conf, CONF_SMTP),
	    .serving = &serving,
	    .transaction = w.t,
	    .local = true,
	    .trusted = submission->trusted,
	    .submission = submission,
	    .until_max = task->until,
	    .authenticated_fail_id = SLICE_EMPTY,
	};
	s->connection_id = smtp_connection_id(server);
	task_init(&s->task, server->shard, &serving.arena, task->until);
	m->received = shard_wall(server->shard);
	m->id = message_id_next(&server->ids, m->received);
	m->deliver_firsttime = true;
	rc = submit(&w, id_ret);
	if (rc != OK && m->client == &s->client)
		m->client = NULL;
	fiber_debug(outer);
	log_debug_end(s->debug, false);
	message_unref(m);
	conf_unref(s->conf);
	lookup_results_clear(&s->lookup_results);
	arena_done(&serving.arena);
	arena_done(&serving.out_arena);
	return rc;
}
