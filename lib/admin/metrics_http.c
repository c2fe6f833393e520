/* metrics_http: the metrics for a collector that comes over HTTP. libmicrohttpd does the talking, one thread of it an address, so
 * that nothing of this is done on a shard: however slow a collector is, or whoever else finds the port, mail does not notice.
 *
 * Limits: what is listened on is what the configuration says, and nothing is listened on without; a few connections at a time, fewer
 * of one host; ten seconds of silence end a connection, and no request has a body that is kept. */
#include "inside.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define CONNECTIONS_MAX     32u
#define CONNECTIONS_OF_HOST 16u
#define SILENCE_S           10u
#define CONNECTION_MEMORY   (16u * 1024) /* a request's head, and that of the answer */
#define ANSWER_MAX          (4u * 1024 * 1024)

struct metrics_http {
	const struct metrics *metrics;
	struct MHD_Daemon *daemons[METRICS_LISTEN_MAX];
	unsigned count;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, struct slice text,
			      const char *type)
{
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(text.len, (void *)(uintptr_t)text.ptr, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result = MHD_NO;

	if (response && MHD_add_response_header(response, "Content-Type", type) == MHD_YES)
		result = MHD_queue_response(connection, status, response);
	if (response)
		MHD_destroy_response(response);
	return result;
}

/* On the library's thread. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_len, void **request)
{
	const struct metrics_http *http = arg;
	enum MHD_Result result;
	struct arena arena;
	struct str text;

	(void)version;
	(void)upload;
	(void)upload_len;
	(void)request;
	if (strcmp(method, "GET") != 0 || strcmp(url, "/metrics") != 0)
		return answer(connection, MHD_HTTP_NOT_FOUND, SLICE("GET /metrics is all there is.\n"),
			      "text/plain");
	arena_init(&arena, ANSWER_MAX);
	text = str_make(&arena);
	metrics_write(http->metrics, (int64_t)time(NULL), &text);
	result = text.failed
		     ? answer(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, SLICE("no memory\n"), "text/plain")
		     : answer(connection, MHD_HTTP_OK, str_slice(&text),
			      "text/plain; version=0.0.4; charset=utf-8");
	arena_done(&arena);
	arena_pool_done(); /* the thread is not ours, and nobody else would at its end */
	return result;
}

static void on_log(void *arg, const char *format, va_list args)
{
	(void)arg;
	(void)format;
	(void)args; /* what strangers do wrong on this port is nothing to log */
}

/* Bound by us: the library would say no more of a failure than that there was one. */
static int listen_on(const struct ip_addr *ip, struct err *err)
{
	struct sockaddr_storage sa;
	socklen_t len = ip_to_sockaddr(ip, &sa);
	char text[IP_TEXT_MAX];
	int one = 1, fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	    (sa.ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == 0) &&
	    bind(fd, (struct sockaddr *)&sa, len) == 0 && listen(fd, 16) == 0)
		return fd;
	(void)err_os(err, FAIL, errno, "[%.*s]:%u", SLICE_ARG(ip_format(ip, text)), ip->port);
	if (fd >= 0)
		close(fd);
	return -1;
}

static enum rc add(struct metrics_http *http, const struct conf *conf, const struct ip_addr *ip,
		   struct err *err)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct ip_addr bound = *ip;
	char text[IP_TEXT_MAX];
	int fd = listen_on(ip, err);
	struct MHD_Daemon *daemon;

	if (fd < 0)
		return FAIL;
	if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
		bound = ip_from_sockaddr((struct sockaddr *)&sa);
	daemon =
	    MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, on_request, http,
			     MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
			     MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
			     CONNECTIONS_OF_HOST, MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_S,
			     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
	if (!daemon) {
		close(fd);
		return err_set(err, FAIL, "the HTTP library could not start");
	}
	http->daemons[http->count++] = daemon; /* the descriptor is its own now */
	log_direct(conf, LOG_TO_MAIN, "metrics are served on [%.*s]:%u", SLICE_ARG(ip_format(&bound, text)),
		   bound.port);
	return OK;
}

enum rc metrics_http_start(const struct metrics *metrics, const struct conf *conf, struct metrics_http **ret,
			   struct err *err)
{
	const struct admin_options *o = conf_group(conf, CONF_ADMIN);
	struct metrics_http *http;
	enum rc rc = OK;

	*ret = NULL;
	if (!o->metrics_address_count)
		return OK;
	http = calloc(1, sizeof(*http));
	if (!http)
		return err_memory(err);
	http->metrics = metrics;
	for (unsigned i = 0; i < o->metrics_address_count && rc == OK; i++)
		rc = add(http, conf, &o->metrics_addresses[i], err);
	if (rc != OK) {
		metrics_http_stop(http);
		return rc;
	}
	*ret = http;
	return OK;
}

void metrics_http_stop(struct metrics_http *http)
{
	for (unsigned i = 0; http && i < http->count; i++)
		MHD_stop_daemon(http->daemons[i]);
	free(http);
}
