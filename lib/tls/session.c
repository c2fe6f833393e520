/* session: one end of a connection under TLS: the layer that it is on the stream, and its handshake. */
#include "tls/engine.h"

struct tls_session {
	struct tls_facts facts;
};

const struct tls_facts *tls_session_facts(const struct tls_session *session)
{
	return &session->facts;
}

bool tls_server_begin(struct stream *stream, const struct tls_server *server,
		      struct tls_session **session_ret)
{
	(void)stream;
	(void)server;
	*session_ret = NULL;
	return true;
}

enum tls_progress tls_handshake(struct task *task, struct tls_session *session, struct err *err)
{
	(void)task;
	(void)session;
	(void)err_set(err, FAIL, "TLS is not available");
	return TLS_FAILED;
}

enum rc tls_accept(struct task *task, struct stream *stream, const struct tls_server *server,
		   struct tls_session **session_ret, struct err *err)
{
	(void)task;
	(void)stream;
	(void)server;
	(void)session_ret;
	return err_set(err, FAIL, "TLS is not available");
}

enum rc tls_connect(struct task *task, struct stream *stream, const struct tls_client *client,
		    struct tls_session **session_ret, struct err *err)
{
	(void)task;
	(void)stream;
	(void)client;
	(void)session_ret;
	return err_set(err, FAIL, "TLS is not available");
}

struct slice tls_session_export(struct tls_session *session, struct arena *arena)
{
	(void)session;
	(void)arena;
	return SLICE_EMPTY;
}

void tls_done(struct shard *shard)
{
	(void)shard;
}

void tls_stats(const struct shard *shard, struct tls_stats *stats_ret)
{
	(void)shard;
	*stats_ret = (struct tls_stats){0};
}
