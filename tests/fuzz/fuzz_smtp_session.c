/* Any bytes as one client's side of a whole session: from the greeting to the end, in simulated time, on a spool in
 * memory. The first byte picks a configuration; a byte 0xff and the one behind it are what the client does beside
 * sending:
 *   w wait for replies    s a minute's silence   S an hour's        h half-close      r reset     q read no more
 *   anything else: what comes now is another packet
 * Checked: replies are well-formed lines of at most 512 bytes with nothing in them that is no text; no 250 for a message
 * without its commit; no bare CR or LF in what was stored, and its counts are right; the session ends, and all that it held
 * is given back. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Accepted messages come to us and not to the deliverer. */
#define deliver_accepted fuzz_accepted
#include "smtp/finish.c"
#undef deliver_accepted

/* What the fake disk says when something is wrong with a test. */
#define assert_true(cond)      ASSERT(cond)
#define assert_int_equal(a, b) ASSERT((a) == (b))
#define assert_non_null(p)     ASSERT((p) != NULL)
#define fail_msg(...)          ASSERT(!"the fake disk")

#define message segment_message /* the spool's own name for what it keeps of one */
#include "spool/log.h"
#undef message
#include "../unit/spool/fake_disk.h"

#include "dns/dns.h"
#include "reactor/shard.h"
#include "reactor/sim.h"
#include "redis/redis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REPLIES_MAX (256 * 1024)

static struct {
	struct world *world;
	struct fake_disk *disk;
	struct shard *shard;
	struct conf *conf;
	const uint8_t *data;
	size_t size;
	struct smtp_session *session;
	bool local, deaf, lost;
	bool cut; /* the server closed while the client was still sending: that resets the connection */
	char replies[REPLIES_MAX];
	size_t replies_len;
	unsigned committed, blackholed;
	char ids[1000][sizeof(struct message_id)];
} run;

/* ---- Configurations ------------------------------------------------------------------------------------------- */

#define COMMON                                                                                                                 \
	"primary_hostname = mx.test\nlog_selector = +all\nspool_directory = /spool\nlog_file_path = /spool/log/%s\n"           \
	"smtp_max_synprot_errors = 30\nsmtp_max_unknown_commands = 20\ncheck_spool_space = 0\ncheck_spool_inodes = 0\n"        \
	"acl_smtp_helo = helo\nacl_smtp_mail = mail\nacl_smtp_rcpt = rcpt\nacl_smtp_predata = predata\nacl_smtp_data = data\n" \
	"acl_smtp_vrfy = accept\nacl_smtp_notquit = accept\nacl_smtp_quit = accept\ndsn_advertise_hosts = *\n"                 \
	"smtp_accept_max_nonmail = 50\ntls_advertise_hosts =\n"
#define POLICY                                                                                                                 \
	"begin acl\n"                                                                                                          \
	"helo:\n deny condition = ${if eq{$sender_helo_name}{refused}}\n message = no $sender_helo_name\n accept\n"            \
	"mail:\n deny senders = refused@test\n message = no $smtp_command\n defer senders = deferred@test\n"                   \
	" drop senders = dropped@test\n accept set acl_m_x = $acl_m_x$sender_address\n set acl_c_x = $smtp_command_history\n"  \
	"rcpt:\n deny local_parts = refused\n message = 553-5.1.1 no\\n553 5.1.1 $local_part\n defer local_parts = deferred\n" \
	" discard local_parts = gone\n warn local_parts = queued\n control = queue_only\n warn local_parts = late\n"           \
	" control = fakereject\n warn add_header = X-Rcpt: $local_part\n accept message = yes $acl_m_x\n"                      \
	"predata:\n deny senders = nodata@test\n accept\n"                                                                     \
	"data:\n deny condition = ${if match{$h_subject:}{refuse}}\n message = $h_subject: no\n"                               \
	" discard condition = ${if eq{$h_subject:}{discard}}\n warn remove_header = X-Gone\n accept\n"                         \
	"begin routers\nr:\n driver = accept\n transport = t\nbegin transports\nt:\n driver = appendfile\n file = /dev/null\n"

static const char *const texts[] = {
    COMMON
    "recipients_max = 5\nrecipients_max_reject\nmessage_size_limit = 20K\nheader_maxsize = 4K\n"
    "header_line_maxsize = 500\nsmtp_accept_max_per_connection = 20\nreceived_headers_max = 3\n" POLICY,
    COMMON
    "smtp_bare_newline = space\nsmtp_enforce_sync = false\nmessage_size_limit = 0\nhelo_allow_chars = _\n"
    "sender_unqualified_hosts = *\nrecipient_unqualified_hosts = *\nallow_domain_literals\n" POLICY,
};

static const struct variable_table *const variables[] = {
    &expand_variables, &message_variables,   &match_variables,
    &route_variables,  &transport_variables, &acl_variables,
    &smtp_variables,   &deliver_variables,   NULL,
};
static const struct expand_item *const *const items[] = {expand_items, lookup_items, acl_items, NULL};
static const struct expand_operator *const *const operators[] = {expand_operators, NULL};
static const struct expand_condition *const *const conditions[] = {expand_conditions, match_conditions,
								   acl_conditions, NULL};
static struct language words = {
    .variables = variables,
    .items = items,
    .operators = operators,
    .conditions = conditions,
    .lookup_quote = lookup_quote,
};
static const struct conf_group *const groups[] = {
    &log_conf_group,
    &message_conf_group,
    &expand_conf_group,
    &lookup_conf_group,
    &match_conf_group,
    &route_conf_group,
    &transport_conf_group,
    &smtp_conf_group,
    &smtp_tls_conf_group,
    &deliver_conf_group,
    NULL,
};
static const struct conf_section *const sections[] = {
    &acl_conf_section, &route_conf_section, &transport_conf_section, &retry_conf_section, NULL,
};
static const struct conf_language registry = {
    .groups = groups,
    .sections = sections,
    .named_list = match_named_list,
    .language = &words,
    .expand_early = expand_early,
};

static struct conf *conf_of(unsigned which)
{
	static struct conf *confs[ARRAY_COUNT(texts)];
	struct conf_load_options load = {.trusted = true};
	struct arena arena;
	struct err err;
	char path[64];
	int fd;

	if (confs[which])
		return confs[which];
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || write(fd, texts[which], strlen(texts[which])) != (ssize_t)strlen(texts[which]))
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	load.file = path;
	arena_init(&arena, 0);
	err = err_make(&arena);
	if ((!words.names.count && language_init(&words, &err) != OK) ||
	    conf_load(&registry, &load, &confs[which], &err) != OK) {
		fprintf(stderr, "%.*s\n", SLICE_ARG(err.text));
		abort();
	}
	arena_done(&arena);
	close(fd);
	return confs[which];
}

/* ---- What was accepted ------------------------------------------------------------------------------------------ */

static void check_header(const struct message *m)
{
	LIST_EACH (l, &m->headers.list) {
		struct header *h = LIST_ITEM(l, struct header, link);

		ASSERT(h->text.len && h->text.ptr[h->text.len - 1] == '\n');
		/* Inside of a field a line end is followed by white space, or it would be another field. */
		for (uint32_t i = 0; i + 1 < h->text.len; i++)
			ASSERT(h->text.ptr[i] != '\r' &&
			       (h->text.ptr[i] != '\n' || h->text.ptr[i + 1] == ' ' ||
				h->text.ptr[i + 1] == '\t'));
	}
}

static void check_body(struct message *m)
{
	struct err err = err_make(&m->arena);
	struct body_reader reader;
	struct slice piece;
	uint64_t size = 0, lines = 0, zeros = 0;
	char last = '\n';
	bool cr = false;

	body_reader_init(&reader, m);
	while (body_next(&run.session->task, &reader, &piece, &err) == OK) {
		size += piece.len;
		for (uint32_t i = 0; i < piece.len; i++) {
			last = piece.ptr[i];
			ASSERT(cr == (last == '\n')); /* CR before each LF, LF behind each CR */
			cr = last == '\r';
			lines += last == '\n';
			zeros += last == 0;
		}
	}
	ASSERT(!err.text.len && last == '\n' && size == m->body.size && lines == m->body.line_count &&
	       zeros == m->body.zero_count);
}

void fuzz_accepted(struct deliverer *deliverer, struct message *message, enum deliver_when when)
{
	(void)deliverer;
	(void)when;
	ASSERT(message->entry && message->recipient_count && run.committed < ARRAY_COUNT(run.ids));
	strcpy(run.ids[run.committed++], message->id.text);
	check_header(message);
	check_body(message);
	spool_done(message->spool, message->entry);
	message_unref(message);
}

static void on_log(void *arg, unsigned where, struct slice line)
{
	(void)arg;
	(void)where;
	for (uint32_t i = 0; i < line.len; i++)
		ASSERT((unsigned char)line.ptr[i] >= ' ' || line.ptr[i] == '\n' || line.ptr[i] == '\t');
	if (memmem(line.ptr, line.len, "=> blackhole", 12))
		run.blackholed++;
}

/* ---- What was answered -------------------------------------------------------------------------------------------- */

static bool is_committed(struct slice id)
{
	for (unsigned i = 0; i < run.committed; i++)
		if (slice_eq(id, slice_of(run.ids[i])))
			return true;
	return false;
}

static void check_line(struct slice line, unsigned *promised)
{
	ASSERT(line.len >= 4 && line.len <= REPLY_LINE_MAX - 2);
	ASSERT(line.ptr[0] >= '2' && line.ptr[0] <= '5' && ascii_is_digit(line.ptr[1]) &&
	       ascii_is_digit(line.ptr[2]) && (line.ptr[3] == ' ' || line.ptr[3] == '-'));
	for (struct slice rest = line; rest.len;) {
		unsigned len = utf8_sequence(rest);

		ASSERT(len && ((unsigned char)rest.ptr[0] >= ' ' || rest.ptr[0] == '\t') &&
		       rest.ptr[0] != 0x7f);
		rest = slice_from(rest, len);
	}
	ptrdiff_t id = -1;
	if (slice_starts(line, SLICE("250 2.0.0 OK id=")))
		id = 16;
	else if (slice_starts(line, SLICE("250 OK id=")))
		id = 10;
	if (id >= 0) {
		++*promised;
		ASSERT(is_committed(slice_from(line, (size_t)id)) || run.blackholed);
	}
}

/* Whole lines but for the last, which a lost connection may have cut. */
static void check_replies(void)
{
	struct slice rest = slice_make(run.replies, run.replies_len, CLEAN);
	char code[3] = {0};
	unsigned promised = 0;

	while (rest.len) {
		ptrdiff_t end = slice_find(rest, '\n');

		if (end < 0) {
			ASSERT(run.lost || run.deaf || run.cut || run.replies_len == REPLIES_MAX);
			break;
		}
		ASSERT(end > 0 && rest.ptr[end - 1] == '\r');
		struct slice line = slice_sub(rest, 0, (size_t)end - 1);
		check_line(line, &promised);
		ASSERT(!code[0] || memcmp(code, line.ptr, 3) == 0);
		memcpy(code, line.ptr, 3);
		if (line.ptr[3] == ' ')
			code[0] = 0;
		rest = slice_from(rest, (size_t)end + 1);
	}
	ASSERT(promised <= run.committed + run.blackholed);
}

/* ---- The client ------------------------------------------------------------------------------------------------------ */

static void on_reply(struct stream *stream, void *arg)
{
	(void)arg;
	while (!run.deaf && stream_pending(stream)) {
		struct slice in = slice_sub(stream_peek(stream), 0, REPLIES_MAX - run.replies_len);

		if (!in.len)
			break;
		memcpy(run.replies + run.replies_len, in.ptr, in.len);
		run.replies_len += in.len;
		stream_consume(stream, in.len);
	}
}

static void pause_s(struct task *task, uint64_t seconds)
{
	ASSERT(task_sleep(task, shard_now(task->shard) + seconds * NS_PER_S) == OK);
}

/* false: it is of no use to go on. */
static bool act(struct task *task, struct stream *stream, uint8_t what)
{
	switch (what) {
	case 'w':
		pause_s(task, 2);
		break;
	case 's':
		pause_s(task, 60);
		break;
	case 'S':
		pause_s(task, 3600);
		break;
	case 'h':
		stream_shutdown_write(stream);
		return false;
	case 'r':
		run.lost = true;
		return false;
	case 'q':
		run.deaf = true;
		break;
	default:
		pause_s(task, 1);
	}
	return true;
}

static void client_speak(struct task *task, struct stream *stream)
{
	const uint8_t *at = run.data, *end = run.data + run.size;

	while (at < end) {
		const uint8_t *mark = memchr(at, 0xff, (size_t)(end - at));
		size_t len = (size_t)((mark ? mark : end) - at);

		task->until = task_until(task, 600 * 1000);
		if (len && stream_write(task, stream, slice_make((const char *)at, len, CLEAN), NULL) != OK) {
			run.cut = true;
			return;
		}
		task->until = UNTIL_NEVER;
		if (!mark || mark + 1 == end || !act(task, stream, mark[1]))
			return;
		at = mark + 2;
	}
}

/* ---- The server ------------------------------------------------------------------------------------------------------ */

static void rooms_leave(struct shard *shard)
{
	smtp_pool_done(shard);
	transport_done(shard);
	route_done(shard);
	match_done(shard);
	lookup_done(shard);
	redis_done(shard);
	expand_done(shard);
	dns_done(shard);
}

static void session_begin(struct smtp_server *server, int fd)
{
	struct ip_addr client = {.family = 4, .port = 4711, .bytes = {192, 0, 2, 1}};
	struct ip_addr here = {.family = 4, .port = 25, .bytes = {192, 0, 2, 25}};

	ASSERT(session_new(server, fd, fd, &run.session, NULL) == OK);
	run.session->local = run.local;
	run.session->client.connected = shard_wall(run.shard);
	if (run.local)
		run.session->client.login = run.session->client.ident = SLICE("bin");
	else {
		run.session->client.ip = client;
		run.session->client.local = here;
	}
	session_wake(run.session);
}

static void all_is_given_back(struct smtp_server *server)
{
	const struct buf_pool *pool = &run.shard->bufs;

	ASSERT(list_empty(&server->sessions) && tally_get(&server->metrics->sessions) == 0);
	ASSERT(smtp_connection_count(server->shared) == 0);
	ASSERT(pool->free_count + pool->offered_count == pool->count);
}

static void whole_session(void *arg)
{
	struct spool_options options = {
	    .directory = "/spool", .segment_size = SEGMENT_SIZE_MIN, .sync = true};
	struct smtp_start start = {.conf = run.conf, .shared = arg, .id_unique = 1};
	struct smtp_server *server;
	struct stream *stream;
	struct arena arena;
	struct task task;
	int fds[2];

	arena_init(&arena, 0);
	task_init(&task, run.shard, &arena, UNTIL_NEVER);
	struct err err = err_make(&arena);
	ASSERT(spool_open_on(&run.disk->disk, &task, &options, NULL, NULL, &start.spool, &err) == OK);
	ASSERT(smtp_server_new(run.shard, &start, &server, &err) == OK);
	world_socketpair(run.world, fds);
	session_begin(server, fds[0]);
	ASSERT(stream_new(run.shard, fds[1], fds[1], on_reply, NULL, &stream, &err) == OK);
	pause_s(&task, 1);
	client_speak(&task, stream);
	if (run.lost) {
		stream_close(stream, true);
	} else {
		stream_shutdown_write(stream);
	}
	/* Whatever the client did: an hour later the session is over. */
	for (unsigned minutes = 0; !list_empty(&server->sessions) && minutes < 60; minutes++)
		pause_s(&task, 60);
	pause_s(&task, 60);
	if (!run.lost)
		stream_close(stream, false);
	pause_s(&task, 1);
	all_is_given_back(server);
	smtp_server_free(server);
	spool_close(&task, start.spool);
	rooms_leave(run.shard);
	arena_done(&arena);
	shard_stop(run.shard);
}

static void on_start(struct shard *shard, void *arg)
{
	log_capture(shard, on_log, NULL);
	ASSERT(fiber_spawn(shard, whole_session, arg) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct smtp_shared *shared;
	struct shard_options options;
	struct err err = err_make(NULL);

	if (!size)
		return 0;
	if (!shared)
		shared = smtp_shared_new();
	memset(&run, 0, offsetof(typeof(run), ids));
	run.conf = conf_of(data[0] & 1);
	run.local = data[0] & 2;
	run.data = data + 1;
	run.size = size - 1;
	run.world = world_new(&(struct world_options){.seed = data[0]});
	run.disk = fake_disk_new(1);
	options = world_shard(run.world);
	options.buf_count = 16;
	options.buf_memory_max = 1024 * 1024;
	ASSERT(shard_new(&options, &run.shard, &err) == OK);
	ASSERT(log_attach(run.shard, &err) == OK);
	ASSERT(shard_run(run.shard, on_start, shared, &err) == OK);
	ASSERT(!world_stuck(run.world));
	check_replies();
	log_detach(run.shard);
	shard_free(run.shard);
	world_free(run.world);
	fake_disk_free(run.disk);
	return 0;
}
