/* syslog: datagrams to the local daemon, sent without waiting (RFC 3164 form, which is what /dev/log takes).
 */

#include "inside.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_MS   1000
#define PIECE_MAX  870 /* bytes of a line in one datagram, so that with its head it stays below 1024 */
#define PIECES_MAX 64

static bool connect_to(struct log_syslog *out, const struct log_conf *conf, uint64_t now)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	if (out->fd >= 0)
		return true;
	if (now < out->retry_at || conf->syslog_socket.len >= sizeof(sun.sun_path))
		return false;
	memcpy(sun.sun_path, conf->syslog_socket.ptr, conf->syslog_socket.len);
	out->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (out->fd >= 0 && connect(out->fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return true;
	log_syslog_close(out);
	out->retry_at = now + RETRY_MS * NS_PER_MS;
	return false;
}

void log_syslog_close(struct log_syslog *out)
{
	if (out->fd >= 0)
		(void)close(out->fd); /* datagrams: what was sent is sent */
	out->fd = -1;
}

static void send_one(struct log_syslog *out, const struct log_conf *conf, int priority, int pid, uint64_t now,
		     const struct tm *tm, struct slice text)
{
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	char bytes[PIECE_MAX + 256], process[24] = "";
	int len;

	if (!connect_to(out, conf, now)) {
		out->lost++;
		return;
	}
	if (conf->syslog_pid)
		snprintf(process, sizeof(process), "[%d]", pid);
	len = snprintf(bytes, sizeof(bytes), "<%d>%s %2d %02d:%02d:%02d %.*s%s: %.*s",
		       conf->facility | priority, months[tm->tm_mon], tm->tm_mday, tm->tm_hour, tm->tm_min,
		       tm->tm_sec, SLICE_ARG(conf->syslog_processname), process, SLICE_ARG(text));
	if (len < 0)
		return;
	if ((size_t)len >= sizeof(bytes))
		len = sizeof(bytes) - 1;
	if (send(out->fd, bytes, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return;
	out->lost++;
	if (errno != EAGAIN && errno != ENOBUFS &&
	    errno != EINTR) { /* the daemon was restarted, or is gone */
		log_syslog_close(out);
		out->retry_at = 0;
		if (connect_to(out, conf, now) &&
		    send(out->fd, bytes, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			out->lost--;
	}
}

/* Cuts the line at its newlines, and where it is too long; *cut_ret tells which it was. */
static bool next_piece(struct slice *rest, struct slice *piece_ret, char *cut_ret)
{
	ptrdiff_t newline = slice_find(*rest, '\n');

	if (rest->len == 0)
		return false;
	if (newline >= 0 && newline <= PIECE_MAX) {
		*piece_ret = slice_sub(*rest, 0, (size_t)newline);
		*rest = slice_from(*rest, (size_t)newline + 1);
		*cut_ret = '\\';
		return true;
	}
	*piece_ret = slice_sub(*rest, 0, PIECE_MAX);
	*rest = slice_from(*rest, piece_ret->len);
	*cut_ret = '/';
	return true;
}

/* One message says how many were lost, once there is someone to tell. */
static void tell_lost(struct log_syslog *out, const struct log_conf *conf, int priority, int pid,
		      uint64_t now, const struct tm *tm)
{
	char text[80];
	uint64_t lost = out->lost;

	if (lost == 0 || !connect_to(out, conf, now))
		return;
	snprintf(text, sizeof(text), "%llu lines for syslog were lost", (unsigned long long)lost);
	out->lost = 0;
	send_one(out, conf, priority, pid, now, tm, slice_of(text));
	if (out->lost > 0)
		out->lost = lost;
}

void log_syslog_send(struct log_syslog *out, const struct log_conf *conf, int priority, int pid, uint64_t now,
		     uint64_t wall_ns, struct slice line)
{
	char bytes[PIECE_MAX + 32], cut;
	struct slice rest = line, piece;
	unsigned count = 0, number = 0;
	time_t t = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;

	localtime_r(&t, &tm);
	tell_lost(out, conf, priority, pid, now, &tm);
	while (count < PIECES_MAX && next_piece(&rest, &piece, &cut))
		count++;
	if (count == 1) {
		send_one(out, conf, priority, pid, now, &tm, piece);
		return;
	}
	rest = line;
	while (number < count && next_piece(&rest, &piece, &cut)) {
		number++;
		snprintf(bytes, sizeof(bytes), "[%u%c%u] %.*s", number, number == count ? '/' : cut, count,
			 SLICE_ARG(piece));
		send_one(out, conf, priority, pid, now, &tm, slice_of(bytes));
	}
}
