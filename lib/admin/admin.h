/* admin: the control socket, by which the command line talks to a running daemon: <spool>/control. Who asks is known from
 * the kernel (SO_PEERCRED).
 *
 * A request is "words text\n" (two decimal numbers: bytes of words, bytes of text), then the words, each ended by NUL, then
 * the text. Descriptors come with the first byte. The answer is text, ended by a line that begins with \1: "\1OK" or
 * "\1FAIL reason"; then the connection closes. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "smtp/smtp.h"

/* What a shard of the daemon has, for those who administer it. */
struct admin_shard {
	struct shard *shard;
	struct spool *spool;
	struct deliverer *deliverer;
	struct smtp_server *smtp;
	struct conf *conf; /* the present snapshot; replaced on reload by the shard itself */
};
struct admin;

/* On shard 0: listens on <directory>/control. shards[] has one entry a shard and outlives the admin. */
NODISCARD enum rc admin_new(struct shard *shard, const char *directory, struct admin_shard *shards, unsigned shard_count,
			    struct admin **admin_ret, struct err *err);
void admin_free(struct admin *admin);

/* ---- The other side, for short-lived commands: blocking calls, no shard ------------------------------------------- */

/* FAIL: no daemon answers there. */
NODISCARD enum rc control_connect(const char *directory, int *fd_ret, struct err *err);
/* Sends the words, the text and up to two descriptors; the answer goes to standard output as it comes, or, with out not NULL,
 * there. OK or FAIL as the daemon says, with its reason in err. */
NODISCARD enum rc control_ask(int fd, const struct slice *words, unsigned word_count, struct slice text, const int *fds,
			      unsigned fd_count, struct str *out, struct err *err);

#endif
