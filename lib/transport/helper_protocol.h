/* Between a worker and the privileged helper: one SEQPACKET message a request, with the socket for the reply among its
 * descriptors. Nothing in it is trusted by the helper. */
#ifndef TRANSPORT_HELPER_PROTOCOL_H
#define TRANSPORT_HELPER_PROTOCOL_H

#include <sys/stat.h>
#include <stdint.h>

enum helper_op {
	HELPER_OPEN,
	HELPER_STAT,
	HELPER_MKDIR,
	HELPER_RENAME,
	HELPER_LINK,
	HELPER_UNLINK,
	HELPER_CHMOD,
	HELPER_SPAWN,
	HELPER_OP_COUNT
};
#define HELPER_TEXT_MAX   65536
#define HELPER_GROUPS_MAX 256

/* Followed by text: NUL-terminated strings. OPEN, STAT, MKDIR, UNLINK, CHMOD: a path; RENAME, LINK: two; SPAWN: directory, then the
 * arguments, then the environment. */
struct helper_request {
	uint32_t op;
	uint32_t uid, gid;
	uint32_t flags; /* of open(); STAT: 1 follow */
	uint32_t mode;  /* of open(), mkdir() and chmod(); SPAWN: umask */
	uint32_t argc, envc;
	uint32_t text_len;
	uint32_t group_count; /* initgroups: the user's groups, gid among them; 0: gid only */
	uint32_t groups[HELPER_GROUPS_MAX];
};
struct helper_reply {
	int32_t os; /* 0: done */
	struct stat st;
};
/* Descriptors of a request: the reply's socket; for SPAWN standard input, output and the pipe for its status too. */
#define HELPER_FDS_MAX 4

/* Runs in the forked process until the last worker has gone. */
_Noreturn void helper_serve(int fd);

#endif
