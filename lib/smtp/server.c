/* server: the listening side of a shard: accepts, counts, hands connections to sessions, drains. */
#include "session.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

enum rc smtp_server_new(struct shard *shard, const struct smtp_start *start, struct smtp_server **server_ret,
			struct err *err)
{
	struct smtp_server *server = calloc(1, sizeof(*server));

	if (!server)
		return err_memory(err);
	server->shard = shard;
	server->metrics = shard_metrics(shard, &smtp_metric_table, &server->own_metrics);
	server->conf = conf_ref(start->conf);
	server->shared = start->shared;
	server->spool = start->spool;
	server->deliverer = start->deliverer;
	server->ids.unique = start->id_unique;
	/* No server before us has had so many connections since its start. */
	server->connection_next = shard_wall_exact(shard) / 1000;
	server->tls_on_connect = start->tls_on_connect;
	server->debug = start->debug;
	server->debug_direct = start->debug_direct;
	server->patience_s = start->patience_s;
	server->ids.host_number = (int)conf_main(start->conf)->localhost_number_value;
	list_init(&server->sessions);
	list_init(&server->etrn_runs);
	waitq_init(&server->drained);
	*server_ret = server;
	return OK;
}

void smtp_server_free(struct smtp_server *server)
{
	if (!server)
		return;
	for (unsigned i = 0; i < server->listener_count; i++)
		listener_close(server->listeners[i]);
	LIST_EACH (l, &server->sessions) {
		struct smtp_session *s = LIST_ITEM(l, struct smtp_session, link);
		if (s->serving)
			task_cancel(&s->task);
		else
			session_free(s);
	}
	ocsp_refresh_stop(server);
	ticket_share_stop(server);
	while (server->pool) {
		struct smtp_session *s = server->pool;
		server->pool = s->link.next ? LIST_ITEM(s->link.next, struct smtp_session, link) : NULL;
		free(s);
	}
	conf_unref(server->conf);
	free(server);
}

void smtp_server_reload(struct smtp_server *server, struct conf *conf)
{
	struct conf *old = server->conf;

	server->conf = conf_ref(conf);
	conf_unref(old);
}

/* Overload is answered at once, without a fiber and without a look at anything. */
static void turn_away(struct smtp_server *server, int fd)
{
	static const char text[] = "421 Too many concurrent SMTP connections; please try again later.\r\n";

	tally_up(&server->metrics->refused);
	if (send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EPIPE)
		tally_up(&server->metrics->lost);
	file_close(server->shard, fd);
}

static void on_accept(void *arg, int fd)
{
	struct smtp_server *server = arg;
	const struct smtp_options *o = conf_group(server->conf, CONF_SMTP);
	struct err err = err_make(NULL);
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct smtp_session *s;
	unsigned count;
	int one = 1;

	tally_up(&server->metrics->connections);
	if (o->smtp_backlog_monitor > 0)
		backlog_monitor(server, o);
	if (!shared_connection_begin(server->shared, o->smtp_accept_max, &count)) {
		if (log_wants(server->conf, LOG_CONNECTION_REJECT) &&
		    getpeername(fd, (struct sockaddr *)&sa, &len) == 0) {
			struct ip_addr ip = ip_from_sockaddr((struct sockaddr *)&sa);
			char text[IP_TEXT_MAX];
			log_printf(server->shard, server->conf, LOG_TO_MAIN, NULL,
				   "Connection from [%.*s] refused: too many connections",
				   SLICE_ARG(ip_format(&ip, text)));
		}
		turn_away(server, fd);
		return;
	}
	if (session_new(server, fd, fd, &s, &err) != OK) {
		shared_connection_end(server->shared);
		turn_away(server, fd);
		return;
	}
	s->counted = true;
	s->count_at_start = count;
	s->client.connected = shard_wall(server->shard);
	if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0)
		s->client.ip = ip_from_sockaddr((struct sockaddr *)&sa);
	len = sizeof(sa);
	if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
		s->client.local = ip_from_sockaddr((struct sockaddr *)&sa);
	if (!s->client.ip.family) {
		session_free(s); /* gone before we looked */
		return;
	}
	/* Replies are gathered by us; waiting for more would only delay them. */
	if (o->tcp_nodelay)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (o->smtp_accept_keepalive)
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	session_wake(s);
}

static void on_error(void *arg, int os)
{
	struct smtp_server *server = arg;
	char words[128];

	log_printf(
	    server->shard, server->conf, LOG_TO_MAIN | LOG_TO_PANIC, NULL,
	    "accepting connections is paused: %s (raise the limit of open files, or lower smtp_accept_max)",
	    strerror_r(os, words, sizeof(words)));
}

enum rc smtp_listen(struct smtp_server *server, int fd, struct err *err)
{
	enum rc rc;

	if (server->listener_count == ARRAY_COUNT(server->listeners))
		return err_set(err, FAIL, "more than %zu listening sockets", ARRAY_COUNT(server->listeners));
	rc = listener_new(server->shard, fd, on_accept, on_error, server,
			  &server->listeners[server->listener_count], err);
	if (rc == OK)
		server->listener_fds[server->listener_count++] = fd;
	if (rc == OK) {
		ocsp_refresh_start(server);
		ticket_share_start(server);
	}
	return rc;
}

void smtp_server_drain(struct task *task, struct smtp_server *server)
{
	server->draining = true;
	for (unsigned i = 0; i < server->listener_count; i++)
		listener_close(server->listeners[i]);
	server->listener_count = 0;
	/* Who rests between two messages is told now; who is in a transaction may finish it. */
	LIST_EACH (l, &server->sessions) {
		struct smtp_session *s = LIST_ITEM(l, struct smtp_session, link);
		if (!s->serving && !s->at_rest_soon && s->started && !s->transaction) {
			struct str line = str_make(&s->arena);
			str_printf(&line, "421 %.*s: shutting down, please try again\r\n",
				   SLICE_ARG(conf_main(s->conf)->primary_hostname));
			if (!line.failed)
				(void)stream_write_now(s->stream, str_slice(&line));
			session_free(s);
		}
	}
	etrn_cancel_all(server);
	ocsp_refresh_stop(server);
	ticket_share_stop(server);
	while (!list_empty(&server->sessions) || server->etrn_count || server->ocsp_refresh ||
	       server->ticket_share)
		if (waitq_wait(task, &server->drained) != OK)
			break;
}

static const struct metric metric_rows[] = {
    METRIC_COUNTER(struct smtp_metrics, connections, "sluice_smtp_connections_total", "",
		   "connections that came"),
    METRIC_COUNTER(struct smtp_metrics, refused, "sluice_smtp_connections_refused_total", "",
		   "of them, those that were refused: too many, by an ACL, by a list of hosts"),
    METRIC_GAUGE(struct smtp_metrics, sessions, "sluice_smtp_sessions", "", "sessions that are open"),
    METRIC_COUNTER(struct smtp_metrics, commands, "sluice_smtp_commands_total", "", "SMTP commands"),
    METRIC_COUNTER(struct smtp_metrics, messages, "sluice_messages_received_total", "",
		   "messages accepted, by whichever way they came"),
    METRIC_COUNTER(struct smtp_metrics, bytes, "sluice_messages_received_bytes_total", "",
		   "bytes of their bodies"),
    METRIC_COUNTER(struct smtp_metrics, rejected_rcpt, "sluice_smtp_rejected_total", "at=\"rcpt\"",
		   "recipients refused, and messages refused after their data"),
    METRIC_COUNTER(struct smtp_metrics, rejected_data, "sluice_smtp_rejected_total", "at=\"data\"", ""),
    METRIC_COUNTER(struct smtp_metrics, errors, "sluice_smtp_errors_total", "",
		   "commands that were wrong: unknown, malformed, out of order"),
    METRIC_COUNTER(struct smtp_metrics, timeouts, "sluice_smtp_timeouts_total", "",
		   "sessions ended since the client was silent"),
    METRIC_COUNTER(struct smtp_metrics, lost, "sluice_smtp_lost_total", "",
		   "sessions that the client ended without QUIT"),
    METRIC_COUNTER(struct smtp_metrics, proofs_fetched, "sluice_ocsp_refresh_total", "result=\"ok\"",
		   "proofs (OCSP) asked for by tls_ocsp_refresh"),
    METRIC_COUNTER(struct smtp_metrics, proofs_failed, "sluice_ocsp_refresh_total", "result=\"failed\"", ""),
};
const struct metric_table smtp_metric_table = {metric_rows, ARRAY_COUNT(metric_rows),
					       sizeof(struct smtp_metrics)};

/* In the words of a trusted user. */
void client_tell(struct smtp_session *s, const struct smtp_told *told)
{
	struct client *c = &s->client;

	if (!told)
		return;
	s->suppress_fixups |= told->suppress_fixups;
	s->dont_deliver |= told->dont_deliver;
	s->queue_only |= told->queue_only;
	s->queue_smtp |= told->queue_smtp;
	s->deliver_now |= told->deliver_now;
	s->patience_s = told->patience_s;
	if (told->host.family) {
		s->local = false;
		c->ip = told->host;
	}
	if (told->interface.family)
		c->local = told->interface;
	if (told->host_name.ptr)
		c->host_name = told->host_name;
	if (told->ident.ptr)
		c->ident = told->ident;
	if (told->protocol.ptr)
		c->protocol_base = told->protocol;
	if (told->authenticator.ptr)
		c->authenticator_name = told->authenticator;
	if (told->authenticated_id.ptr)
		c->authenticated_id = told->authenticated_id;
	if (told->authenticated_sender.ptr)
		c->authenticated_sender = told->authenticated_sender;
}

enum rc smtp_serve_stdio(struct task *task, struct smtp_server *server, struct smtp_stdio *stdio,
			 struct err *err)
{
	struct smtp_session *s;
	enum rc rc = session_new(server, stdio->fd_in, stdio->fd_out, &s, err);

	if (rc != OK)
		return rc;
	s->stdio = stdio;
	s->local = !stdio->ip.family;
	s->batch = stdio->batch;
	s->dry_run = stdio->dry_run;
	s->trusted = stdio->trusted;
	s->client.ip = stdio->ip;
	s->client.local = stdio->local;
	s->client.login = stdio->login;
	s->client.ident = stdio->login;
	s->client.uid = stdio->uid;
	s->client.gid = stdio->gid;
	s->client.connected = shard_wall(server->shard);
	client_tell(s, stdio->told);
	if (stdio->dry_run || (stdio->told && stdio->told->host.family))
		s->sync_off = true; /* a person or a script types */
	session_wake(s);
	rc = waitq_wait(task, &s->ended);
	if (rc != OK) {
		task_cancel(&s->task);
		return rc;
	}
	free(s);
	return OK;
}
