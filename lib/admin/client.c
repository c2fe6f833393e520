/* client: a short-lived command's side of the control socket. Blocking, since it has nothing else to do. */
#include "admin/admin.h"

#include <errno.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

enum rc control_connect(const char *directory, int *fd_ret, struct err *err)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd, len = snprintf(un.sun_path, sizeof(un.sun_path), "%s/control", directory);

	if (len < 0 || (size_t)len >= sizeof(un.sun_path))
		return err_set(err, FAIL, "the spool directory's name is too long for a control socket");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_os(err, FAIL, errno, "control socket");
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		int os = errno;
		close(fd);
		return err_os(err, FAIL, os, "%s", un.sun_path);
	}
	*fd_ret = fd;
	return OK;
}

static enum rc send_all(int fd, const char *bytes, size_t len, struct err *err)
{
	while (len) {
		ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return err_os(err, FAIL, errno, "control socket");
		bytes += sent;
		len -= (size_t)sent;
	}
	return OK;
}

/* The head, with the descriptors. */
static enum rc send_head(int fd, const char *head, size_t len, const int *fds, unsigned fd_count,
			 struct err *err)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)head, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	if (fd_count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
	if (sent < 0)
		return err_os(err, FAIL, errno, "control socket");
	return send_all(fd, head + sent, len - (size_t)sent, err);
}

static void give(struct str *out, const char *bytes, size_t len)
{
	if (out)
		str_add(out, slice_make(bytes, len, CLEAN));
	else
		fwrite(bytes, 1, len, stdout);
}

/* The last line begins with \1 and says how it went. */
static enum rc read_answer(int fd, struct str *out, struct err *err)
{
	struct str last = str_make(err->arena);
	char block[65536];
	bool in_last = false;

	for (;;) {
		ssize_t got = read(fd, block, sizeof(block));
		char *mark;
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		if (in_last) {
			str_add(&last, slice_make(block, (size_t)got, CLEAN));
			continue;
		}
		mark = memchr(block, 1, (size_t)got);
		give(out, block, mark ? (size_t)(mark - block) : (size_t)got);
		if (mark) {
			in_last = true;
			str_add(&last, slice_make(mark + 1, (size_t)(block + got - mark - 1), CLEAN));
		}
	}
	if (!in_last)
		return err_set(err, FAIL, "the daemon went away");
	struct slice verdict = slice_rtrim(str_slice(&last));
	if (slice_eq(verdict, SLICE("OK")))
		return OK;
	return err_set(err, FAIL, "%.*s",
		       SLICE_ARG(slice_starts(verdict, SLICE("FAIL ")) ? slice_from(verdict, 5) : verdict));
}

enum rc control_ask(int fd, const struct slice *words, unsigned word_count, struct slice text, const int *fds,
		    unsigned fd_count, struct str *out, struct err *err)
{
	struct str all = str_make(err->arena);
	char head[64];
	int len;
	enum rc rc;

	for (unsigned i = 0; i < word_count; i++) {
		str_add(&all, words[i]);
		str_addc(&all, 0);
	}
	if (all.failed)
		return err_memory(err);
	len = snprintf(head, sizeof(head), "%u %u\n", all.len, text.len);
	rc = send_head(fd, head, (size_t)len, fds, fd_count, err);
	if (rc == OK)
		rc = send_all(fd, all.ptr, all.len, err);
	if (rc == OK)
		rc = send_all(fd, text.ptr, text.len, err);
	return rc == OK ? read_answer(fd, out, err) : rc;
}
