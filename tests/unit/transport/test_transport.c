/* Deliveries with real files, real commands and a scripted server: what arrives, byte for byte, and what is said when it does
 * not. */
#define HARNESS_MATCH
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "transport/transport.h"

#define HARNESS_MORE_VARIABLES &route_variables, &transport_variables,
#define HARNESS_MORE_GROUPS    &route_conf_group, &transport_conf_group,
#define HARNESS_SECTIONS       &route_conf_section, &transport_conf_section,
#include "../lookup/harness.h"
#include "../smtp_client/script.h"

static struct script server;

#define HOLDS(h, what)                                                                 \
	do {                                                                           \
		if (!(what)) {                                                         \
			print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
			(h)->wrong++;                                                  \
		}                                                                      \
	} while (0)

#define HEAD    "Received: by me\nSubject: test\nX-Remove: no\n"
#define BODY    "first\r\nFrom here\r\n.dot\r\nbare\rcr\r\nlast\r\n"
#define BODY_LF "first\nFrom here\n.dot\nbare\rcr\nlast\n"

struct sending {
	struct harness *h;
	struct delivery delivery;
	struct delivery_outcome outcomes[4];
	struct address *addresses[4];
	struct err err;
};

static struct message *make_message(struct harness *h, const char *body)
{
	struct message *m = message_new(h->conf, 0);
	struct buf *buf = buf_new(h->task.shard);
	uint32_t used, len = (uint32_t)strlen(body);

	if (!m || !buf || header_block_parse(&m->arena, SLICE(HEAD "\n"), &m->headers, &used, NULL) != OK)
		abort();
	ASSERT(len <= buf->size);
	memcpy(buf->bytes, body, len);
	buf->len = len;
	if (!body_add(m, buf, buf->bytes, len))
		abort();
	buf_unref(buf);
	m->sender = m->sender_original = SLICE("sender@s.example");
	m->client = &h->client;
	(void)message_id_parse(SLICE("1vM0aB-00000000123-0001"), &m->id);
	return m;
}

static void sending_add(struct sending *s, const char *address)
{
	struct address *a = address_new(&s->h->arena, slice_of(address));

	s->addresses[s->delivery.count++] = a;
}

static void sending_init(struct sending *s, struct harness *h, const char *transport, const char *address)
{
	*s = (struct sending){.h = h, .err = err_make(&h->err_arena)};
	s->delivery.addresses = s->addresses;
	s->delivery.outcomes = s->outcomes;
	s->delivery.transport = conf_instance_find(h->conf, CONF_SECTION_TRANSPORTS, slice_of(transport));
	if (!s->delivery.transport)
		abort();
	sending_add(s, address);
}

static enum rc send_it(struct sending *s)
{
	if (!s->h->scope.message)
		s->h->scope.message = make_message(s->h, BODY);
	transport_deliver(&s->h->scope, &s->delivery);
	return s->outcomes[0].rc;
}

static void done(struct harness *h)
{
	message_unref(h->scope.message);
	smtp_pool_done(h->task.shard);
	route_done(h->task.shard);
	transport_done(h->task.shard);
}

/* The only file in the directory, or "" . */
static struct slice only_file(struct harness *h, const char *directory, char *name_ret)
{
	struct slice path = with_dir(h, directory);
	DIR *d = opendir(arena_cstr(&h->arena, path));
	char name[600] = "";
	static char bytes[65536];
	unsigned count = 0;
	FILE *f;

	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.') {
			count++;
			snprintf(name, sizeof(name), "%.*s/%s", SLICE_ARG(path), e->d_name);
			if (name_ret)
				snprintf(name_ret, 256, "%s", e->d_name);
		}
	if (d)
		closedir(d);
	f = count == 1 ? fopen(name, "r") : NULL;
	if (!f)
		return arena_printf(&h->arena, "(%u files)", count);
	size_t len = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	return arena_copy(&h->arena, slice_make(bytes, len, CLEAN));
}

static struct slice file_text(struct harness *h, const char *name)
{
	static char bytes[65536];
	FILE *f = fopen(arena_cstr(&h->arena, with_dir(h, name)), "r");
	size_t len;

	if (!f)
		return SLICE("(no file)");
	len = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	return arena_copy(&h->arena, slice_make(bytes, len, CLEAN));
}

static bool says(const struct sending *s, const char *text)
{
	if (slice_search(s->outcomes[0].message, slice_of(text)) >= 0)
		return true;
	print_error("it says \"%.*s\"\n", SLICE_ARG(s->outcomes[0].message));
	return false;
}

static bool is(struct slice got, const char *want)
{
	if (slice_eq(got, slice_of(want)))
		return true;
	print_error("it is \"%.*s\"\n", SLICE_ARG(got));
	return false;
}

/* ---- Files ------------------------------------------------------------------------------------------------------ */

#define CONF "primary_hostname = me.example\nqualify_domain = q.example\nbegin transports\n"
#define FILES                                                                                                                        \
	CONF                                                                                                                         \
	    "maildir:\n driver = appendfile\n directory = @D/md/${lookup{$local_part}lsearch{@D/users}}\n maildir_format\n"          \
	    " return_path_add\n envelope_to_add\n headers_remove = x-remove : none\n headers_add = X-Added: $local_part\n"           \
	    "tagged:\n driver = appendfile\n directory = @D/tagged\n maildir_format\n maildir_tag = ,S=$message_size\n"              \
	    "tainted:\n driver = appendfile\n directory = @D/md/$local_part\n maildir_format\n"                                      \
	    "below:\n driver = appendfile\n directory = @D/below/$local_part\n maildir_format\n create_file = @D/below\n"            \
	    "nocreate:\n driver = appendfile\n directory = @D/nocreate\n maildir_format\n no_create_directory\n"                     \
	    "plain:\n driver = appendfile\n directory = @D/plain\n directory_file = f$inode.x\n use_crlf\n"                          \
	    "store:\n driver = appendfile\n directory = @D/store\n mailstore_format\n"                                               \
	    "mbox:\n driver = appendfile\n file = @D/spool/mbox\n lock_retries = 1\n lock_interval = 1s\n"                           \
	    "bsmtp:\n driver = appendfile\n file = @D/bsmtp\n use_bsmtp\n batch_max = 10\n"                                          \
	    "headers:\n driver = appendfile\n file = @D/headers\n headers_only\n message_prefix =\n message_suffix =\n"              \
	    "body:\n driver = appendfile\n file = @D/body\n body_only\n message_prefix =\n message_suffix =\n check_string =\n"      \
	    "escaped:\n driver = appendfile\n file = @D/escaped\n body_only\n message_prefix = BEGIN\\n\n message_suffix = END\\n\n" \
	    " check_string = .\n escape_string = >>\n"                                                                               \
	    "small:\n driver = appendfile\n file = @D/small\n message_size_limit = 10\n"                                             \
	    "quota:\n driver = appendfile\n directory = @D/quota\n maildir_format\n quota = 200\n"                                   \
	    "quotafile:\n driver = appendfile\n file = @D/quotafile\n quota = 200\n"                                                 \
	    "count:\n driver = appendfile\n directory = @D/count\n maildir_format\n quota = 1M\n quota_filecount = 1\n"              \
	    "sized:\n driver = appendfile\n directory = @D/sized\n maildir_format\n quota = 300\n maildir_use_size_file\n"           \
	    "address_file:\n driver = appendfile\n"                                                                                  \
	    "root:\n driver = appendfile\n file = @D/root\n user = root\n group = root\n"

static void files_prepare(struct harness *h)
{
	text_make(h, "users", "joe: joe\nann: ann\n");
}

static void maildir_rows(struct harness *h)
{
	struct sending s;
	char name[256] = "";

	sending_init(&s, h, "maildir", "Joe@q.example");
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	HOLDS(h, is(only_file(h, "@D/md/joe/new", name),
		    "Return-path: <sender@s.example>\nEnvelope-to: Joe@q.example\n"
		    "Received: by me\nSubject: test\nX-Added: joe\n\n" BODY_LF));
	HOLDS(h, strstr(name, ".me.example") && strchr(name, 'H') && strchr(name, 'P'));
	HOLDS(h, is(only_file(h, "@D/md/joe/tmp", NULL), "(0 files)"));
	HOLDS(h, is(only_file(h, "@D/md/joe/cur", NULL), "(0 files)"));
	for (unsigned i = 0; i < 20; i++)
		HOLDS(h, send_it(&s) == OK);
	HOLDS(h, is(only_file(h, "@D/md/joe/new", NULL), "(21 files)"));
	/* The tag's size is the file's. */
	sending_init(&s, h, "tagged", "joe@q.example");
	HOLDS(h, send_it(&s) == OK);
	struct slice text = only_file(h, "@D/tagged/new", name);
	struct slice tag = arena_printf(&h->arena, ",S=%u", text.len);
	HOLDS(h, text.len > 50 && slice_ends(slice_of(name), tag));
	sending_init(&s, h, "tainted", "joe@q.example");
	s.addresses[0]->local_part.taint = TAINTED;
	HOLDS(h, send_it(&s) == DEFER && says(&s, "Tainted"));
	sending_init(&s, h, "below", "joe@q.example");
	s.addresses[0]->local_part.taint = TAINTED;
	HOLDS(h, send_it(&s) == OK);
	sending_init(&s, h, "below", "..@q.example");
	s.addresses[0]->local_part = slice_tainted(SLICE(".."));
	HOLDS(h, send_it(&s) == DEFER && says(&s, "Tainted"));
	sending_init(&s, h, "nocreate", "joe@q.example");
	HOLDS(h, send_it(&s) == DEFER && says(&s, "create_directory"));
	done(h);
}

static void other_rows(struct harness *h)
{
	struct sending s;
	char name[256];

	sending_init(&s, h, "plain", "joe@q.example");
	HOLDS(h, send_it(&s) == OK);
	HOLDS(h, is(only_file(h, "@D/plain", name),
		    "Received: by me\r\nSubject: test\r\nX-Remove: no\r\n\r\n" BODY));
	HOLDS(h, name[0] == 'f' && slice_ends(slice_of(name), SLICE(".x")));
	sending_init(&s, h, "store", "joe@q.example");
	HOLDS(h, send_it(&s) == OK);
	sending_init(&s, h, "bsmtp", "joe@q.example");
	sending_add(&s, "ann@q.example");
	HOLDS(h, send_it(&s) == OK && s.outcomes[1].rc == OK);
	HOLDS(h,
	      is(file_text(h, "@D/bsmtp"),
		 "MAIL FROM:<sender@s.example>\nRCPT TO:<joe@q.example>\nRCPT TO:<ann@q.example>\nDATA\n" HEAD
		 "\nfirst\nFrom here\n..dot\nbare\rcr\nlast\n.\n"));
	sending_init(&s, h, "headers", "joe@q.example");
	HOLDS(h, send_it(&s) == OK && is(file_text(h, "@D/headers"), HEAD "\n"));
	sending_init(&s, h, "body", "joe@q.example");
	HOLDS(h, send_it(&s) == OK && is(file_text(h, "@D/body"), BODY_LF));
	sending_init(&s, h, "escaped", "joe@q.example");
	HOLDS(h, send_it(&s) == OK &&
		     is(file_text(h, "@D/escaped"), "BEGIN\nfirst\nFrom here\n>>dot\nbare\rcr\nlast\nEND\n"));
	sending_init(&s, h, "small", "joe@q.example");
	HOLDS(h, send_it(&s) == FAIL && says(&s, "message is too big (transport limit = 10)"));
	sending_init(&s, h, "address_file", "joe@q.example");
	s.addresses[0]->file = with_dir(h, "@D/af");
	HOLDS(h, send_it(&s) == OK && slice_starts(file_text(h, "@D/af"), SLICE("From sender@s.example ")));
	sending_init(&s, h, "address_file", "joe@q.example");
	s.addresses[0]->file = with_dir(h, "@D/adir/");
	HOLDS(h, send_it(&s) == OK && slice_starts(only_file(h, "@D/adir", NULL), SLICE("From ")));
	s.addresses[0]->file = SLICE("relative");
	HOLDS(h, send_it(&s) == DEFER && says(&s, "not absolute"));
	sending_init(&s, h, "root", "joe@q.example");
	HOLDS(h, send_it(&s) == DEFER || geteuid() == 0);
	done(h);
}

static void mbox_rows(struct harness *h)
{
	struct sending s;
	struct slice text, one;
	char lock[200];
	FILE *f;

	sending_init(&s, h, "mbox", "joe@q.example");
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	text = file_text(h, "@D/spool/mbox");
	HOLDS(h, slice_starts(text, SLICE("From sender@s.example ")));
	HOLDS(h, slice_ends(text, SLICE("\n" HEAD "\nfirst\n>From here\n.dot\nbare\rcr\nlast\n\n")));
	HOLDS(h, send_it(&s) == OK);
	one = text;
	text = file_text(h, "@D/spool/mbox");
	HOLDS(h, text.len == 2 * one.len && slice_starts(text, one));
	HOLDS(h, is(only_file(h, "@D/spool", NULL), arena_cstr(&h->arena, text))); /* no lock is left */
	/* Somebody else has the lock. */
	snprintf(lock, sizeof(lock), "%s/spool/mbox.lock", h->dir);
	f = fopen(lock, "w");
	HOLDS(h, f && fclose(f) == 0);
	HOLDS(h, send_it(&s) == DEFER && says(&s, "failed to lock mailbox"));
	unlink(lock);
	/* A file that may not be written to by others is not touched. */
	HOLDS(h, symlink("/etc/passwd", lock) == 0 && unlink(lock) == 0);
	snprintf(lock, sizeof(lock), "rm %s/spool/mbox && ln -s /tmp %s/spool/mbox", h->dir, h->dir);
	HOLDS(h, system(lock) == 0);
	HOLDS(h, send_it(&s) == DEFER && says(&s, "is not a regular file"));
	done(h);
}

static void quota_rows(struct harness *h)
{
	struct sending s;

	sending_init(&s, h, "quota", "joe@q.example");
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	HOLDS(h, send_it(&s) == DEFER && says(&s, "mailbox is full") &&
		     s.outcomes[0].error == RETRY_ERROR_QUOTA);
	sending_init(&s, h, "quotafile", "joe@q.example");
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	HOLDS(h, send_it(&s) == DEFER && says(&s, "mailbox is full"));
	sending_init(&s, h, "count", "joe@q.example");
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	HOLDS(h, send_it(&s) == DEFER && says(&s, "mailbox is full"));
	sending_init(&s, h, "sized", "joe@q.example");
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	HOLDS(h, slice_starts(file_text(h, "@D/sized/maildirsize"), SLICE("300S,0C\n")));
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	HOLDS(h, send_it(&s) == DEFER && says(&s, "mailbox is full"));
	done(h);
}

static void test_maildir(void **state)
{
	(void)state;
	harness_run(FILES, files_prepare, maildir_rows);
}

static void test_other(void **state)
{
	(void)state;
	harness_run(FILES, files_prepare, other_rows);
}

static void test_mbox(void **state)
{
	(void)state;
	harness_run(FILES, files_prepare, mbox_rows);
}

static void test_quota(void **state)
{
	(void)state;
	harness_run(FILES, files_prepare, quota_rows);
}

/* ---- Commands -------------------------------------------------------------------------------------------------------- */

#define PIPES                                                                                                                                \
	CONF                                                                                                                                 \
	    "cat:\n driver = pipe\n command = /bin/sh -c \"cat > @D/cat\"\n message_prefix =\n message_suffix =\n"                           \
	    "args:\n driver = pipe\n command = /bin/sh @D/args.sh '${if eq{$local_part}{joe}{joe}}' 'a b' \"c \\\"d\\\"\" $pipe_addresses\n" \
	    " environment = X=1 : Y=$local_part\n"                                                                                           \
	    "shell:\n driver = pipe\n use_shell\n command = cat | wc -l > @D/shell\n"                                                        \
	    "fail:\n driver = pipe\n command = /bin/false\n return_fail_output\n"                                                            \
	    "temp:\n driver = pipe\n command = /bin/sh -c \"exit 75\"\n"                                                                     \
	    "noise:\n driver = pipe\n command = /bin/sh -c \"echo some words; exit 3\"\n return_fail_output\n log_fail_output\n"             \
	    "output:\n driver = pipe\n command = /bin/echo hello\n return_output\n"                                                          \
	    "ignore:\n driver = pipe\n command = /bin/false\n ignore_status\n"                                                               \
	    "signal:\n driver = pipe\n command = /bin/sh -c \"kill -9 \\\\$\\\\$\"\n freeze_signal\n"                                        \
	    "none:\n driver = pipe\n command = /no/such/command\n"                                                                           \
	    "nowhere:\n driver = pipe\n command = nosuchcommand\n"                                                                           \
	    "slow:\n driver = pipe\n command = /bin/sleep 30\n timeout = 1s\n"                                                               \
	    "much:\n driver = pipe\n command = /bin/sh -c \"yes; true\"\n max_output = 1000\n"                                               \
	    "deaf:\n driver = pipe\n command = /bin/true\n"                                                                                  \
	    "allow:\n driver = pipe\n allow_commands = /bin/true\n"                                                                          \
	    "tainted:\n driver = pipe\n command = $local_part\n"                                                                             \
	    "path:\n driver = pipe\n restrict_to_path\n"

static void pipes_prepare(struct harness *h)
{
	struct slice text =
	    with_dir(h, "for a; do echo \"<$a>\"; done > @D/args; env | sort >> @D/args; pwd >> @D/args\n");

	file_make(h, "args.sh", text.ptr, text.len);
}

static void pipe_rows(struct harness *h)
{
	struct sending s;

	sending_init(&s, h, "cat", "joe@q.example");
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	HOLDS(h, is(file_text(h, "@D/cat"), HEAD "\n" BODY_LF));
	sending_init(&s, h, "args", "joe@q.example");
	s.addresses[0]->local_part.taint = TAINTED;
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	struct slice args = file_text(h, "@D/args");
	HOLDS(h, slice_starts(args, SLICE("<joe>\n<a b>\n<c \"d\">\n<joe@q.example>\n")));
	HOLDS(h, slice_search(args, SLICE("\nSENDER=sender@s.example\n")) >= 0);
	HOLDS(h, slice_search(args, SLICE("\nY=joe\n")) >= 0 &&
		     slice_search(args, SLICE("\nDOMAIN=q.example\n")) >= 0);
	HOLDS(h,
	      slice_search(args, SLICE("\nPATH=/bin:/usr/bin\n")) >= 0 && slice_ends(args, SLICE("\n/\n")));
	sending_init(&s, h, "shell", "joe@q.example");
	HOLDS(h, send_it(&s) == OK && is(slice_trim(file_text(h, "@D/shell")), "11"));
	sending_init(&s, h, "fail", "joe@q.example");
	HOLDS(h, send_it(&s) == FAIL &&
		     says(&s, "Child process of fail transport returned 1 from command: /bin/false"));
	sending_init(&s, h, "temp", "joe@q.example");
	HOLDS(h, send_it(&s) == DEFER && says(&s, "returned 75"));
	sending_init(&s, h, "noise", "joe@q.example");
	HOLDS(h, send_it(&s) == FAIL && is(s.outcomes[0].output, "some words"));
	sending_init(&s, h, "output", "joe@q.example");
	HOLDS(h, send_it(&s) == FAIL && is(s.outcomes[0].output, "hello") &&
		     says(&s, "return message generated"));
	sending_init(&s, h, "ignore", "joe@q.example");
	HOLDS(h, send_it(&s) == OK);
	sending_init(&s, h, "signal", "joe@q.example");
	HOLDS(h, send_it(&s) == DEFER && s.outcomes[0].freeze && says(&s, "signal 9"));
	sending_init(&s, h, "none", "joe@q.example");
	HOLDS(h, send_it(&s) == FAIL && says(&s, "returned 127 (could mean unable to exec"));
	sending_init(&s, h, "nowhere", "joe@q.example");
	HOLDS(h, send_it(&s) == FAIL && says(&s, "command not found"));
	sending_init(&s, h, "slow", "joe@q.example");
	HOLDS(h, send_it(&s) == FAIL && says(&s, "timed out"));
	sending_init(&s, h, "much", "joe@q.example");
	HOLDS(h, send_it(&s) == FAIL && says(&s, "terminated by signal 9"));
	sending_init(&s, h, "deaf", "joe@q.example");
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	sending_init(&s, h, "allow", "joe@q.example");
	s.addresses[0]->pipe = SLICE("|/bin/true");
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	s.addresses[0]->pipe = SLICE("| /bin/false");
	HOLDS(h, send_it(&s) == FAIL && says(&s, "not permitted"));
	sending_init(&s, h, "tainted", "true@q.example");
	s.addresses[0]->local_part.taint = TAINTED;
	HOLDS(h, send_it(&s) == DEFER && says(&s, "Tainted"));
	sending_init(&s, h, "path", "joe@q.example");
	s.addresses[0]->pipe = SLICE("|true");
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	s.addresses[0]->pipe = SLICE("|/bin/true");
	HOLDS(h, send_it(&s) == FAIL && says(&s, "security reasons"));
	done(h);
}

static void test_pipe(void **state)
{
	(void)state;
	harness_run(PIPES, pipes_prepare, pipe_rows);
}

/* ---- Hosts ------------------------------------------------------------------------------------------------------------- */

static char smtp_conf[2000];
static struct host_item hosts[3];

static void remote(struct sending *s, const char *first, uint16_t first_port, const char *second,
		   uint16_t second_port)
{
	struct host_list *list = arena_make(&s->h->arena, struct host_list);
	const char *names[] = {first, second};
	uint16_t ports[] = {first_port, second_port};

	for (unsigned i = 0; i < 2; i++) {
		hosts[i] = (struct host_item){
		    .name = names[i] ? slice_of(names[i]) : SLICE_EMPTY, .port = ports[i], .mx = MX_NONE};
		if (names[i] && ip_parse(hosts[i].name, &hosts[i].ip))
			host_list_append(list, &hosts[i]);
	}
	s->delivery.hosts = list;
}

static void smtp_rows(struct harness *h)
{
	struct sending s;

	/* The first host refuses the connection, the second takes it; one recipient is refused. */
	sending_init(&s, h, "remote", "Joe@x.example");
	sending_add(&s, "no@x.example");
	sending_add(&s, "later@x.example");
	remote(&s, "127.0.0.2", 1, "127.0.0.1", server.port);
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	HOLDS(h, says(&s, "250 taken"));
	HOLDS(h,
	      s.outcomes[0].host.port == server.port && s.outcomes[0].pipelining && s.outcomes[0].dsn_aware);
	HOLDS(h, s.outcomes[1].rc == FAIL && s.outcomes[1].error == RETRY_ERROR_RCPT_4XX &&
		     is(s.outcomes[1].message,
			"SMTP error from remote mail server after RCPT TO:<no@x.example>: 550 never"));
	HOLDS(h, s.outcomes[2].rc == DEFER && s.outcomes[2].scope == DEFER_ADDRESS);
	/* The transport's own host; the pooled connection is not for another transport. */
	sending_init(&s, h, "own", "joe@x.example");
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	sending_init(&s, h, "remote", "joe@x.example");
	remote(&s, "127.0.0.2", 1, NULL, 0);
	HOLDS(h, send_it(&s) == DEFER && s.outcomes[0].scope == DEFER_HOST &&
		     s.outcomes[0].error == RETRY_ERROR_REFUSED);
	sending_init(&s, h, "tls", "joe@x.example");
	remote(&s, "127.0.0.1", server.port, NULL, 0);
	HOLDS(h, send_it(&s) == DEFER && says(&s, "a TLS session is required"));
	sending_init(&s, h, "notlocal", "joe@x.example");
	HOLDS(h, send_it(&s) == DEFER && says(&s, "allow_localhost"));
	sending_init(&s, h, "remote", "joe@x.example");
	HOLDS(h, send_it(&s) == DEFER && says(&s, "no hosts set"));
	done(h);
}

static void test_smtp(void **state)
{
	static const char *const steps[] = {"S 220 test",
					    "C EHLO me.example",
					    "S 250-test",
					    "S 250-PIPELINING",
					    "S 250-DSN",
					    "S 250 SIZE",
					    "C MAIL FROM:<sender@s.example> SIZE=",
					    "C RCPT TO:<Joe@x.example>",
					    "C RCPT TO:<no@x.example>",
					    "C RCPT TO:<later@x.example>",
					    "C DATA",
					    "S 250 ok",
					    "S 250 ok",
					    "S 550 never",
					    "S 450 later",
					    "S 354 go",
					    "D",
					    "S 250 taken",
					    "X",
					    "S 220 test",
					    "C EHLO own.name",
					    "S 250 test",
					    "C MAIL FROM:<vrp@x.example>",
					    "S 250 ok",
					    "C RCPT TO:<joe@x.example>",
					    "S 250 ok",
					    "C DATA",
					    "S 354 go",
					    "D",
					    "S 250 ok",
					    "X",
					    "S 220 test",
					    "C EHLO me.example",
					    "S 250 test",
					    NULL};

	(void)state;
	script_start(&server, steps);
	snprintf(
	    smtp_conf, sizeof(smtp_conf),
	    CONF
	    "remote:\n driver = smtp\n command_timeout = 2s\n"
	    "own:\n driver = smtp\n hosts = 127.0.0.1\n allow_localhost\n port = %u\n helo_data = own.name\n"
	    " return_path = vrp@${domain:$return_path}.no\n command_timeout = 2s\n"
	    "tls:\n driver = smtp\n hosts_require_tls = *\n"
	    "notlocal:\n driver = smtp\n hosts = 127.0.0.1\n",
	    server.port);
	char *at = strstr(smtp_conf, "vrp@${domain:$return_path}.no");
	memcpy(at, "vrp@x.example                ", strlen("vrp@${domain:$return_path}.no"));
	harness_run(smtp_conf, NULL, smtp_rows);
	script_join(&server);
	if (server.wrong[0])
		fail_msg("%s; the client said:\n%.*s", server.wrong, (int)server.log_len, server.log);
	assert_true(script_saw(&server, "\r\n"
					"bare\rcr\r\nlast\r\n.\r\n"));
	assert_true(script_saw(&server, "Subject: test\r\n"));
}

/* ---- LMTP, automatic answers, callouts --------------------------------------------------------------------------------- */

#define LMTP_STEPS                                                                                      \
	"S 220 test LMTP", "C LHLO me.example", "S 250-test", "S 250 PIPELINING",                       \
	    "C MAIL FROM:<sender@s.example>", "C RCPT TO:<joe@q.example>", "C RCPT TO:<ann@q.example>", \
	    "C DATA", "S 250 ok", "S 250 ok", "S 250 ok", "S 354 go", "D", "S 250 for joe",             \
	    "S 452 ann is full"

static void lmtp_rows(struct harness *h)
{
	static const char *const steps[] = {LMTP_STEPS, "X", LMTP_STEPS, NULL};
	struct sending s;

	sending_init(&s, h, "lmtp", "joe@q.example");
	HOLDS(h, send_it(&s) == DEFER && says(&s, "failed to connect to socket") &&
		     s.outcomes[0].scope == DEFER_HOST);
	HOLDS(h, script_start_unix(&server, arena_cstr(&h->arena, with_dir(h, "@D/sock")), steps));
	for (unsigned i = 0; i < 2;
	     i++) { /* the second time the pooled connection has been closed: a new one is made */
		sending_init(&s, h, "lmtp", "joe@q.example");
		sending_add(&s, "ann@q.example");
		HOLDS(h, send_it(&s) == OK && is(s.outcomes[0].message, "250 for joe"));
		HOLDS(h, s.outcomes[1].rc == DEFER && s.outcomes[1].error == RETRY_ERROR_DATA_4XX);
	}
	script_join(&server);
	HOLDS(h, server.wrong[0] == 0 && server.connections == 2);
	done(h);
}

static void test_lmtp(void **state)
{
	(void)state;
	harness_run(CONF "lmtp:\n driver = lmtp\n socket = @D/sock\n batch_max = 5\n timeout = 2s\n", NULL,
		    lmtp_rows);
}

static struct slice submitted;
static unsigned submitted_count;

static enum rc take_submission(void *arg, struct scope *sc, const struct submission *submission,
			       struct err *err)
{
	struct harness *h = arg;

	(void)sc;
	(void)err;
	submitted = arena_copy(&h->arena, submission->text);
	submitted_count++;
	return submission->sender.len == 0 && submission->recipient_count == 1 &&
		       slice_eq(submission->recipients[0], SLICE("sender@s.example"))
		   ? OK
		   : FAIL;
}

static void autoreply_rows(struct harness *h)
{
	struct transport_submit submit = {take_submission, h};
	struct sending s;

	sending_init(&s, h, "vacation", "joe@q.example");
	HOLDS(h, send_it(&s) == DEFER && says(&s, "cannot submit"));
	transport_set_submit(h->task.shard, &submit);
	HOLDS(h, send_it(&s) == OK || !says(&s, ""));
	HOLDS(h, is(submitted, "From: joe@q.example\nTo: sender@s.example\nSubject: away: test Bcc: x@y\n"
			       "Auto-Submitted: auto-replied\nX-Joe: 1\n\nI am away.\nsince today\n"));
	/* Never to a bounce, to a list, to another automatic answer. */
	submitted_count = 0;
	h->scope.message->sender = SLICE("");
	HOLDS(h, send_it(&s) == OK && submitted_count == 0);
	h->scope.message->sender = SLICE("sender@s.example");
	header_append(&h->scope.message->headers,
		      header_make(&h->arena, SLICE("Auto-Submitted: auto-replied\n")));
	HOLDS(h, send_it(&s) == OK && submitted_count == 0);
	sending_init(&s, h, "never", "joe@q.example");
	HOLDS(h, send_it(&s) == OK && submitted_count == 0);
	done(h);
}

static void autoreply_files(struct harness *h)
{
	text_make(h, "away", "since today\n");
}

static void test_autoreply(void **state)
{
	(void)state;
	harness_run(
	    CONF
	    "vacation:\n driver = autoreply\n to = $sender_address\n subject = \"away: $h_subject:\\nBcc: x@y\"\n"
	    " text = I am away.\n file = @D/away\n headers = X-Joe: 1\n"
	    "never:\n driver = autoreply\n to = $sender_address\n never_mail = *@s.example\n",
	    autoreply_files, autoreply_rows);
}

static enum rc call(struct harness *h, const char *to, const struct callout_options *options, struct err *err)
{
	struct address *address = address_new(&h->arena, slice_of(to));
	struct host_list *list = arena_make(&h->arena, struct host_list);
	struct callout_answer answer;

	hosts[0] = (struct host_item){.name = SLICE("127.0.0.1"), .port = server.port, .mx = MX_NONE};
	(void)ip_parse(SLICE("127.0.0.1"), &hosts[0].ip);
	host_list_append(list, &hosts[0]);
	address->hosts = list;
	address->transport = conf_instance_find(h->conf, CONF_SECTION_TRANSPORTS, SLICE("remote"));
	*err = err_make(&h->err_arena);
	return callout(&h->scope, address, false, options, &answer, err);
}

static void callout_rows(struct harness *h)
{
	struct callout_options plain = {.timeout_s = 2, .no_cache = true}, random = plain, postmaster = plain,
			       lenient = plain;
	struct address local = {.full = SLICE("x@y")};
	struct callout_answer answer;
	struct err err;

	random.random = postmaster.postmaster = lenient.defer_ok = true;
	HOLDS(h, call(h, "yes@x.example", &plain, &err) == OK);
	HOLDS(h, call(h, "no@x.example", &plain, &err) == FAIL &&
		     is(err.text, "response to \"RCPT TO:<no@x.example>\" was: 550 no"));
	HOLDS(h, call(h, "later@x.example", &plain, &err) == DEFER);
	HOLDS(h, call(h, "all@x.example", &random, &err) == OK);
	HOLDS(h, call(h, "yes@x.example", &postmaster, &err) == FAIL &&
		     slice_search(err.text, SLICE("postmaster@x.example")) >= 0);
	HOLDS(h, call(h, "yes@x.example", &lenient, &err) == OK);
	HOLDS(h, callout(&h->scope, &local, false, &plain, &answer, &err) == OK); /* nobody to ask */
	route_done(h->task.shard);
	transport_done(h->task.shard);
	smtp_pool_done(h->task.shard);
}

static void test_callout(void **state)
{
#define HELLO "S 220 test", "C EHLO me.example", "S 250 test", "C MAIL FROM:<>", "S 250 ok"
	static const char *const steps[] = {HELLO,         "C RCPT TO:<yes@x.example>",
					    "S 250 ok",    "W",
					    HELLO,         "C RCPT TO:<no@x.example>",
					    "S 550 no",    "W",
					    HELLO,         "C RCPT TO:<later@x.example>",
					    "S 450 later", "W",
					    HELLO,         "C RCPT TO:<me.example-",
					    "S 250 ok",    "W",
					    HELLO,         "C RCPT TO:<yes@x.example>",
					    "S 250 ok",    "C RSET",
					    "S 250 ok",    "C MAIL FROM:<>",
					    "S 250 ok",    "C RCPT TO:<postmaster@x.example>",
					    "S 550 no",    "W",
					    "S 220 test",  "X",
					    NULL};

	(void)state;
	script_start(&server, steps);
	harness_run(CONF "remote:\n driver = smtp\n", NULL, callout_rows);
	script_join(&server);
	if (server.wrong[0])
		fail_msg("%s; the client said:\n%.*s", server.wrong, (int)server.log_len, server.log);
}

/* ---- What is refused when the file is read -------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
	    {"t:\n driver = nosuch\n", "cannot find transport driver"},
	    {"t:\n driver = smtp\n nosuch = 1\n", "option \"nosuch\" unknown"},
	    {"t:\n driver = smtp\n protocol = x\n", "protocol"},
	    {"t:\n driver = smtp\n command_timeout = 0s\n", "greater than zero"},
	    {"t:\n driver = appendfile\n file = /a\n directory = /b\n", "only one of"},
	    {"t:\n driver = appendfile\n file = /a\n mbx_format\n", "MBX"},
	    {"t:\n driver = appendfile\n file = /a\n no_use_lockfile\n no_use_fcntl_lock\n",
	     "no locking configured"},
	    {"t:\n driver = appendfile\n file = /a\n create_file = here\n", "create_file"},
	    {"t:\n driver = appendfile\n file = /a\n body_only\n headers_only\n", "mutually exclusive"},
	    {"t:\n driver = pipe\n command = /a\n use_shell\n restrict_to_path\n", "use_shell"},
	    {"t:\n driver = pipe\n command = /a\n return_output\n return_fail_output\n", "return_output"},
	    {"t:\n driver = lmtp\n", "one (and only one) of command or socket"},
	    {"t:\n driver = queuefile\n directory = /a\n", "not supported"},
	    {"t:\n driver = smtp\n shadow_transport = t\n", "not allowed on a remote"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		char *text = NULL;

		assert_true(asprintf(&text, "%s%s", CONF, rows[i].text) > 0);
		harness_refused(text, rows[i].says);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_maildir), cmocka_unit_test(test_other),     cmocka_unit_test(test_mbox),
	    cmocka_unit_test(test_quota),   cmocka_unit_test(test_pipe),      cmocka_unit_test(test_smtp),
	    cmocka_unit_test(test_lmtp),    cmocka_unit_test(test_autoreply), cmocka_unit_test(test_callout),
	    cmocka_unit_test(test_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
