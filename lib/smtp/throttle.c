/* throttle: slowing down and queueing by what the host can take: smtp_ratelimit_mail and its kin, queue_only_file, the load
 * average, smtp_backlog_monitor. Nothing here costs anything where its option is not set. */
#include "session.h"

#include <netinet/tcp.h>
#include <sys/stat.h>

#define DELAY_MS_MAX 3600000.0 /* an hour: no client waits longer, and no product of factors overflows */

/* ---- smtp_ratelimit_mail, smtp_ratelimit_rcpt --------------------------------------------------------------- */

/* A number that may have a fraction; false: none. */
static bool take_number(struct slice *text, double *ret)
{
	double value = 0, place = 1;
	bool any = false, point = false;
	uint32_t i = 0;

	*text = slice_trim(*text);
	for (; i < text->len && i < 16; i++) {
		char c = text->ptr[i];

		if (c == '.' && !point) {
			point = true;
			continue;
		}
		if (!ascii_is_digit(c))
			break;
		any = true;
		value = value * 10 + (c - '0');
		place = point ? place * 10 : place;
	}
	*text = slice_from(*text, i);
	*ret = value / place;
	return any;
}

/* "1.5s": milliseconds. */
static bool take_time(struct slice text, double *ms_ret)
{
	static const char units[] = "smhdw";
	static const double seconds[] = {1, 60, 3600, 86400, 604800};
	const char *unit;

	if (!take_number(&text, ms_ret))
		return false;
	unit = text.len == 1 ? memchr(units, text.ptr[0], sizeof(units) - 1) : NULL;
	*ms_ret *= 1000 * (unit ? seconds[unit - units] : 1);
	return !text.len || unit;
}

bool rate_slope_parse(struct slice text, struct rate_slope *ret)
{
	struct slice parts[4];
	double threshold;

	*ret = (struct rate_slope){0};
	for (unsigned i = 0; i < 4; i++)
		if (!slice_split(&text, ',', &parts[i]))
			return false;
	if (text.ptr && text.len)
		return false;
	if (!take_number(&parts[0], &threshold) || parts[0].len || !take_time(parts[1], &ret->first_ms) ||
	    !take_number(&parts[2], &ret->factor) || parts[2].len || !take_time(parts[3], &ret->max_ms))
		return false;
	ret->threshold = (uint32_t)(threshold < 1e9 ? threshold : 1e9);
	if (ret->max_ms > DELAY_MS_MAX)
		ret->max_ms = DELAY_MS_MAX;
	ret->set = true;
	return true;
}

bool rate_slope_wait(struct smtp_session *s, const struct rate_slope *slope, uint32_t count, float *delay_ms,
		     const char *verb)
{
	struct err err = err_make(&s->serving->arena);
	double ms;

	if (!slope->set || s->local || s->dry_run || count <= slope->threshold ||
	    match_client(session_scope(s), s->options->smtp_ratelimit_hosts, NULL, &err) != OK)
		return true;
	if (*delay_ms <= 0)
		*delay_ms = slope->first_ms;
	ms = *delay_ms < slope->max_ms ? *delay_ms : slope->max_ms;
	*delay_ms = ms * slope->factor;
	reply_flush(s); /* what was answered before waits for nobody */
	if (s->over)
		return false;
	session_deadline(s, (uint64_t)ms + 60000);
	if (task_sleep(&s->task, shard_now(s->server->shard) + (uint64_t)(ms * 1e6)) == OK)
		return true;
	log_session(s, LOG_TO_MAIN, "delay of %s ended before its time%.*s", verb,
		    SLICE_ARG(client_phrase(s)));
	s->over = true;
	return false;
}

/* ---- Messages that wait for a queue run ---------------------------------------------------------------------- */

/* Is one of the files of queue_only_file there? With "smtp" in front of its name it holds up only what goes out. */
static enum rc queue_only_file_there(struct task *task, const struct smtp_options *o, bool *queue_ret,
				     bool *queue_smtp_ret)
{
	struct slice rest = o->queue_only_file, path;
	struct err err = err_make(task->arena);
	struct stat st;
	char separator = 0;

	while (rest.ptr && list_next(task->arena, &rest, &separator, &path)) {
		bool smtp = slice_starts(path, SLICE("smtp"));
		const char *name;

		if (smtp)
			path = slice_from(path, 4);
		if (!path.len || path.ptr[0] != '/' || !(name = arena_cstr(task->arena, path)))
			continue;
		if (file_stat(task, name, true, &st, &err) == OK) {
			*(smtp ? queue_smtp_ret : queue_ret) = true;
			continue;
		}
		if (task->cancelled)
			return CANCELLED;
	}
	return OK;
}

enum rc queue_only_now(struct smtp_session *s, bool *queue_ret, bool *queue_smtp_ret)
{
	const struct smtp_options *o = s->options;
	bool told = o->queue_only_override && (s->queue_only || s->deliver_now);

	if (conf_main(s->conf)->mua_wrapper) {
		*queue_smtp_ret = *queue_ret = false;
		return OK;
	}
	*queue_smtp_ret = s->queue_smtp;
	*queue_ret = told ? s->queue_only : o->queue_only;
	if (*queue_ret || told || !o->queue_only_file.ptr)
		return OK;
	return queue_only_file_there(&s->task, o, queue_ret, queue_smtp_ret);
}

bool load_queues(struct smtp_session *s)
{
	int64_t load;

	if (s->load_latched)
		return true;
	/* Who only receives, as a fuzzer does, has no deliverer. */
	if (!s->server->deliverer || !deliver_load_too_high(s->server->deliverer, &load))
		return false;
	s->load_latched = s->options->queue_only_load_latch;
	return true;
}

bool log_has_room(struct smtp_server *server, const struct smtp_options *o)
{
	uint64_t now = shard_now(server->shard);

	if (o->check_log_space <= 0 && o->check_log_inodes <= 0)
		return true;
	if (!server->log_checked || now - server->log_checked >= NS_PER_S) {
		server->log_checked = now ? now : 1;
		if (!log_space(server->conf, &server->log_bytes, &server->log_inodes))
			server->log_bytes = server->log_inodes = -1;
	}
	return (server->log_bytes < 0 || server->log_bytes >= o->check_log_space) &&
	       (server->log_inodes < 0 || server->log_inodes >= o->check_log_inodes);
}

/* ---- smtp_backlog_monitor -------------------------------------------------------------------------------------- */

void backlog_monitor(struct smtp_server *server, const struct smtp_options *o)
{
	for (unsigned i = 0; i < server->listener_count; i++) {
		struct tcp_info info;
		socklen_t len = sizeof(info);

		/* Of a listening socket, what it counts as unacknowledged is the connections that nobody accepted yet. */
		if (getsockopt(server->listener_fds[i], IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
		    (int64_t)info.tcpi_unacked > o->smtp_backlog_monitor)
			log_printf(server->shard, server->conf, LOG_TO_MAIN, NULL, "listen backlog %u",
				   info.tcpi_unacked);
	}
}
