/* admin: the control socket, by which the command line talks to a running daemon: <spool>/control. Who asks is known from
 * the kernel (SO_PEERCRED).
 *
 * A request is "words text\n" (two decimal numbers: bytes of words, bytes of text), then the words, each ended by NUL, then
 * the text. Descriptors come with the first byte. The answer is text, ended by a line that begins with \1: "\1OK" or
 * "\1FAIL reason"; then the connection closes. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "smtp/smtp.h"

/* ---- Who asks ------------------------------------------------------------------------------------------------------ */

#define CALLER_GROUPS_MAX \
	64 /* more are not looked at: who is in hundreds of groups has none of them to thank for this */
struct caller {
	uint32_t uid, gid;
	uint32_t groups[CALLER_GROUPS_MAX];
	unsigned group_count;
	bool trusted; /* may name senders, hosts, protocols */
	bool admin;   /* may list and change the queue, see hidden values, start daemons */
	bool unknown; /* to the password file */
	char login[64], name[256],
	    home[256]; /* of the password file; the uid in digits, "" and "/", when it is not there */
};
/* This process; the process at the other end. Neither trusted nor admin so far. false: the socket has no credentials. */
void caller_self(struct caller *ret);
bool caller_of_socket(int fd, struct caller *ret);
/* login and name as the configuration wants them: gecos_pattern, gecos_name, unknown_login, unknown_username. */
void caller_name(struct caller *caller, const struct conf *conf);
/* trusted and admin, by the configuration: root, exim_user, trusted_users and _groups; exim_group, admin_groups. owner: the spool
 * is his own (a daemon that a user runs for himself). */
void caller_judge(struct caller *caller, const struct conf *conf, bool owner);
/* Is it his, or would it be if he made it? */
bool caller_owns_spool(const struct caller *caller, const char *spool_directory);

/* ---- What a command says of what it hands in ------------------------------------------------------------------------- */

#define TOLD_WORDS_MAX 16
/* As words of a request; how many. The words are in the arena; one whose ptr is NULL: no memory. */
unsigned told_write(const struct smtp_told *told, struct arena *arena, struct slice words[TOLD_WORDS_MAX]);
/* One word back. false: it is none of these, or malformed. Texts stay where the word is. */
bool told_read(struct slice word, struct smtp_told *told);

/* A message to the sender of one that smtp_submit() refused, with the reason and a copy. Parks; results as smtp_submit(); FAIL,
 * too, when the refused one has no sender. */
NODISCARD enum rc submission_report(struct task *task, struct smtp_server *server, const struct conf *conf,
				    const struct smtp_submission *refused, struct slice why, struct err *err);

/* Sends the DMARC aggregate reports of all days before that one. One round at a time. Parks. OK, FAIL (no reports are configured), DEFER
 * (the hints cannot be read), CANCELLED. */
struct dmarc_round {
	unsigned sent, waiting, dropped;
};
NODISCARD enum rc dmarc_reports_send(struct task *task, const struct conf *conf, uint64_t day_limit,
				     struct dmarc_round *ret, struct err *err);
void dmarc_round_print(const struct dmarc_round *round, struct str *out);

/* Do addresses follow the id, or more ids? */
static inline bool queue_action_takes_addresses(enum queue_action action)
{
	return action == QUEUE_ADD_RECIPIENT || action == QUEUE_EDIT_SENDER || action == QUEUE_MARK_DELIVERED;
}

/* ---- The daemon's side ------------------------------------------------------------------------------------------------ */

/* What a shard of the daemon has, for those who administer it. */
struct admin_shard {
	struct shard *shard;
	struct spool *spool;
	struct deliverer *deliverer;
	struct smtp_server *smtp;
	struct conf *conf; /* the present snapshot; replaced on reload by the shard itself */
};
struct admin;
extern const struct conf_group admin_conf_group;

/* In front of the reason, when a submission was refused and a report of that is on its way (-oee). */
#define CONTROL_MAILED "mailed: "

/* On shard 0, when all shards are up: listens on <directory>/control. shards[] has one entry a shard, which only that shard reads and
 * writes (deliverer NULL: it is ending), and outlives the admin; so do the metrics. */
NODISCARD enum rc admin_new(struct shard *shard, const char *directory, struct admin_shard *shards,
			    unsigned shard_count, const struct metrics *metrics, struct admin **admin_ret,
			    struct err *err);
void admin_free(struct admin *admin);

/* ---- Metrics over HTTP: metrics_listen ------------------------------------------------------------------------------- */

/* GET /metrics on the addresses of metrics_listen, by a thread of its own; *ret NULL: none are set. What listens is told to the log.
 * Blocks, for no longer than a socket takes. FAIL: an address cannot be had; nothing listens then. */
struct metrics_http;
NODISCARD enum rc metrics_http_start(const struct metrics *metrics, const struct conf *conf,
				     struct metrics_http **ret, struct err *err);
void metrics_http_stop(struct metrics_http *http); /* NULL is fine; before the metrics go */

/* ---- The other side, for short-lived commands: blocking calls, no shard ------------------------------------------- */

/* FAIL: no daemon answers there. */
NODISCARD enum rc control_connect(const char *directory, int *fd_ret, struct err *err);
/* Sends the words, the text and up to two descriptors; the answer goes to standard output as it comes, or, with out not NULL,
 * there. OK or FAIL as the daemon says, with its reason in err. */
NODISCARD enum rc control_ask(int fd, const struct slice *words, unsigned word_count, struct slice text,
			      const int *fds, unsigned fd_count, struct str *out, struct err *err);

#endif
