/* ident: asking a client's own host which of its users made the connection (RFC 1413). What it answers is what that host says, and
 * no more; a host that is silent costs rfc1413_query_timeout, and only its own client waits for it. */
#include "session.h"

#include <unistd.h>

#define IDENT_PORT       113
#define IDENT_ANSWER_MAX 1000 /* RFC 1413 section 4: longer ones need not be read */
#define IDENT_USER_MAX   127

/* Digits with white space around, to the separator or the end. */
static bool take_field(struct slice *rest, char separator, struct slice *field_ret)
{
	ptrdiff_t at = slice_find(*rest, separator);

	if (at < 0)
		return false;
	*field_ret = slice_trim(slice_sub(*rest, 0, (size_t)at));
	*rest = slice_from(*rest, (size_t)at + 1);
	return true;
}

/* "6193, 23 : USERID : UNIX : name": the name may have anything in it. */
bool ident_parse(struct slice line, uint16_t their_port, uint16_t our_port, struct slice *user_ret)
{
	struct slice rest = line, theirs, ours, word, system;
	uint64_t number;

	if (!take_field(&rest, ',', &theirs) || !take_field(&rest, ':', &ours) ||
	    !take_field(&rest, ':', &word) || !take_field(&rest, ':', &system))
		return false;
	if (!parse_u64(theirs, &number) || number != their_port || !parse_u64(ours, &number) ||
	    number != our_port || !slice_eq_nocase(word, SLICE("USERID")))
		return false;
	*user_ret = slice_sub(slice_trim(rest), 0, IDENT_USER_MAX);
	return user_ret->len > 0;
}

/* It stands in header lines: what a terminal or a parser of mail should not see is written as digits. */
static struct slice printable(struct arena *arena, struct slice user)
{
	struct str str = str_make(arena);
	struct slice done;

	str_add_printable(&str, user);
	done = str_slice(&str);
	return done.ptr ? slice_tainted(done) : SLICE_EMPTY;
}

/* A whole line, without its end. */
static enum rc read_line(struct task *task, struct stream *stream, struct slice *line_ret, struct err *err)
{
	char *bytes = arena_bytes(task->arena, IDENT_ANSWER_MAX);
	uint32_t len = 0;

	if (!bytes)
		return err_memory(err);
	for (;;) {
		struct slice in = slice_sub(stream_peek(stream), 0, IDENT_ANSWER_MAX - len);
		ptrdiff_t end = slice_find(in, '\n');
		uint32_t part = end < 0 ? in.len : (uint32_t)end;

		if (part)
			memcpy(bytes + len, in.ptr, part);
		len += part;
		stream_consume(stream, end < 0 ? part : part + 1);
		if (end >= 0) {
			*line_ret = slice_make(bytes, len, TAINTED);
			return OK;
		}
		if (len == IDENT_ANSWER_MAX)
			return err_set(err, FAIL, "an answer that does not end");
		if (in.len == 0) {
			enum rc rc = stream_fill(task, stream, err);
			if (rc != OK)
				return rc;
		}
	}
}

static enum rc ask(struct smtp_session *s, struct slice *line_ret, struct err *err)
{
	struct ip_addr to = s->client.ip, from = s->client.local;
	struct stream *stream;
	struct slice question;
	enum rc rc;
	int fd;

	to.port = IDENT_PORT;
	from.port =
	    0; /* the address that the client talks to: its host may know the connection by nothing else */
	rc = connect_tcp(&s->task, &to, &from, &fd, err);
	if (rc != OK)
		return rc;
	rc = stream_new(s->server->shard, fd, fd, NULL, NULL, &stream, err);
	if (rc != OK) {
		(void)close(fd); /* never used */
		return rc;
	}
	question = arena_printf(s->task.arena, "%u , %u\r\n", s->client.ip.port, s->client.local.port);
	rc = question.ptr ? stream_write(&s->task, stream, question, err) : err_memory(err);
	if (rc == OK)
		rc = read_line(&s->task, stream, line_ret, err);
	stream_close(stream, rc != OK);
	return rc;
}

void ident_ask(struct smtp_session *s)
{
	const struct smtp_options *o = s->options;
	struct err err = err_make(&s->serving->arena);
	uint64_t until = s->task.until;
	struct slice line, user;
	enum rc rc;

	if (o->rfc1413_query_timeout <= 0 || s->local || !s->client.ip.port || !s->client.local.port ||
	    match_client(session_scope(s), o->rfc1413_hosts, NULL, &err) != OK)
		return;
	s->task.until = task_until(&s->task, (uint64_t)o->rfc1413_query_timeout * 1000);
	rc = ask(s, &line, &err);
	s->task.until = until;
	if (rc == OK && ident_parse(line, s->client.ip.port, s->client.local.port, &user))
		s->client.ident = printable(&s->arena, user);
	else if (rc == DEFER && log_wants(s->conf, LOG_IDENT_TIMEOUT))
		log_session(s, LOG_TO_MAIN, "ident connection to %.*s timed out",
			    SLICE_ARG(client_caller(s)));
}
