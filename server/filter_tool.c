/* filter_tool: -bf and -bF: what a filter, or a forward file, would do with the message on standard input. */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE_SIZE_MAX (64u * 1024 * 1024)

struct test {
	struct once *o;
	const struct command_line *cl;
	struct scope sc;
	struct message *m;
	struct address *address;
	struct err err;
};

static void print(void *arg, struct slice line)
{
	(void)arg;
	fwrite(line.ptr, 1, line.len, stdout);
	fputc('\n', stdout);
}

/* The descriptor's bytes to the end. false: told. */
static bool read_all(struct once *o, int fd, const char *name, size_t max, struct slice *ret)
{
	struct str text = str_make(&o->arena);
	char block[16384];
	ssize_t got;

	while ((got = read(fd, block, sizeof(block))) > 0 && text.len < max)
		str_add(&text, slice_make(block, (size_t)got, CLEAN));
	if (got < 0)
		printf("exim: error while reading %s: %s\n", name, strerror(errno));
	else if (got > 0)
		fprintf(stderr, "sluice: %s is too long (max = %zu bytes)\n", name, max);
	*ret = str_slice(&text);
	return got == 0 && ret->ptr;
}

static bool read_file(struct once *o, int fd, const char *name, struct slice *ret)
{
	return read_all(o, fd, name, FILTER_SIZE_MAX, ret);
}

/* ---- The message ------------------------------------------------------------------------------------------------------ */

static bool set_sender(struct test *t, struct slice text)
{
	struct address_parts parts;

	if (slice_eq(text, SLICE("<>")) || text.len == 0) {
		t->m->sender = t->m->sender_original = SLICE_EMPTY;
		return true;
	}
	if (address_parse(&t->m->arena, text,
			  ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8, &parts,
			  &t->err) != OK) {
		fprintf(stderr, "sluice: bad -f address \"%.*s\": %.*s\n", SLICE_ARG(text),
			SLICE_ARG(t->err.text));
		return false;
	}
	t->m->sender = t->m->sender_original =
	    parts.domain.len ? arena_copy(&t->m->arena, parts.full)
			     : arena_printf(&t->m->arena, "%.*s@%.*s", SLICE_ARG(parts.full),
					    SLICE_ARG(conf_main(t->o->conf)->qualify_domain));
	return t->m->sender.ptr != NULL;
}

/* "From joe@x Fri Jan  1 ...", as mailbox files have it in front of a message. */
static bool take_from_line(struct test *t, struct slice *text)
{
	struct slice line, word;
	ptrdiff_t end;

	if (!slice_starts(*text, SLICE("From ")))
		return true;
	end = slice_find(*text, '\n');
	line = slice_sub(*text, 5, end < 0 ? SIZE_MAX : (size_t)end - 5);
	*text = slice_from(*text, end < 0 ? text->len : (size_t)end + 1);
	if (t->cl->sender)
		return true;
	if (!slice_word(&line, &word))
		return true;
	printf("Sender taken from \"From \" line\n");
	return set_sender(t, word);
}

static bool set_body(struct test *t, struct slice body)
{
	struct str wire = str_make(&t->m->arena);
	bool cr = false;

	if (!str_reserve(&wire, (size_t)body.len * 2 + 2))
		return false;
	wire.len = (uint32_t)lf_to_crlf(&cr, body, wire.ptr);
	if (wire.len && !body_add(t->m, NULL, wire.ptr, wire.len))
		return false;
	t->m->body.in_memory = true;
	return true;
}

/* What a user's own message gets on its way in. */
static bool complete(struct test *t)
{
	const struct conf_main *main = conf_main(t->o->conf);
	const struct caller *caller = t->o->caller;
	struct fixup fixup = {
	    .qualify_domain = main->qualify_domain,
	    .qualify_recipient = main->qualify_recipient,
	    .primary_hostname = main->primary_hostname,
	    .local = true,
	    .trusted = caller->trusted,
	    .qualify_sender = true,
	    .qualify_recipients = true,
	    .login = slice_of(caller->login),
	    .name = slice_of(caller->name),
	    .now = shard_wall(t->o->shard) / NS_PER_S,
	};

	if (message_fix(t->m, &fixup, &t->err) != OK)
		return false;
	message_read_headers(t->m);
	t->m->received_hops++; /* our own Received: field, which the test leaves out */
	return true;
}

static bool read_message(struct test *t)
{
	struct slice text;
	uint32_t used = 0;
	struct client *client = arena_make(&t->m->arena, struct client);

	if (!client || !read_all(t->o, 0, "standard input", MESSAGE_SIZE_MAX, &text))
		return false;
	client_clear(client);
	client->uid = t->o->caller->uid;
	client->gid = t->o->caller->gid;
	client->login = client->ident = slice_of(t->o->caller->login);
	t->m->client = client;
	t->m->local = t->m->deliver_firsttime = true;
	t->m->protocol = t->cl->protocol ? slice_of(t->cl->protocol) : SLICE("local");
	t->m->received = t->m->received_complete = shard_wall(t->o->shard);
	text.taint = TAINTED;
	if (!set_sender(t, slice_of(t->cl->sender ? t->cl->sender : t->o->caller->login)) ||
	    !take_from_line(t, &text))
		return false;
	if (header_block_parse(&t->m->arena, text, &t->m->headers, &used, &t->err) == DEFER ||
	    !set_body(t, slice_from(text, used)))
		return false;
	if (t->m->headers.count == 0)
		printf("Warning: no message headers read\n");
	return complete(t);
}

/* ---- The envelope ------------------------------------------------------------------------------------------------------- */

static bool set_address(struct test *t)
{
	const struct command_line *cl = t->cl;
	struct arena *arena = &t->m->arena;
	const char *local_part = cl->filter_local_part ? cl->filter_local_part : t->o->caller->login;
	struct slice domain = cl->filter_domain ? slice_of(cl->filter_domain)
						: conf_main(t->o->conf)->qualify_domain,
		     full;
	struct recipient recipient = {.orcpt = SLICE_EMPTY, .parent = -1};

	full = arena_printf(arena, "%s%s%s@%.*s", cl->filter_prefix ? cl->filter_prefix : "", local_part,
			    cl->filter_suffix ? cl->filter_suffix : "", SLICE_ARG(domain));
	t->address = full.ptr ? address_new(arena, full) : NULL;
	if (!t->address)
		return false;
	recipient.address = recipient.original = full;
	if (!message_add_recipient(t->m, &recipient))
		return false;
	t->address->local_part = t->address->cased_local_part = slice_of(local_part);
	t->address->domain = domain;
	t->address->prefix = slice_of(cl->filter_prefix);
	t->address->suffix = slice_of(cl->filter_suffix);
	t->address->home = slice_of(t->o->caller->home);
	return true;
}

static void print_envelope(struct test *t)
{
	struct header *path = header_find(&t->m->headers, SLICE("return-path"), NULL);
	struct slice return_path;

	if (path) {
		return_path = header_body(path);
		if (return_path.len > 1 && return_path.ptr[0] == '<' &&
		    return_path.ptr[return_path.len - 1] == '>')
			return_path = slice_sub(return_path, 1, return_path.len - 2);
		t->address->errors_to = return_path;
		printf("Return-path taken from \"Return-path:\" header line\nReturn-path = %.*s\n",
		       SLICE_ARG(return_path.len ? return_path : SLICE("<>")));
	} else {
		printf("Return-path copied from sender\n");
	}
	printf("Sender      = %.*s\n", SLICE_ARG(t->m->sender.len ? t->m->sender : SLICE("<>")));
	printf("Recipient   = %.*s\n", SLICE_ARG(t->m->recipients[0].address));
	if (t->cl->filter_prefix)
		printf("Prefix    = %s\n", t->cl->filter_prefix);
	if (t->cl->filter_suffix)
		printf("Suffix    = %s\n", t->cl->filter_suffix);
}

/* ---- The filters ---------------------------------------------------------------------------------------------------------- */

static int print_verdict(struct test *t, enum rc rc, const struct filter_result *result)
{
	static const char *const names[] = {
	    [FILTER_DEFERS] = "defer", [FILTER_FAILS] = "fail", [FILTER_FREEZES] = "freeze"};

	if (rc != OK) {
		printf("Filter error: %.*s\n", SLICE_ARG(t->err.text));
		return 1;
	}
	switch (result->verdict) {
	case FILTER_CONTINUES:
		printf("Filtering did not set up a significant delivery.\nNormal delivery will occur.\n");
		break;
	case FILTER_DELIVERED:
		printf(
		    "Filtering set up at least one significant delivery or other action.\nNo other deliveries will occur.\n");
		break;
	default:
		printf("Filtering ended by \"%s\".\n", names[result->verdict]);
		break;
	}
	return 0;
}

static int test_sieve(struct test *t, struct slice text, struct filter_rules *rules)
{
	struct filter_result result;
	enum rc rc = filter_apply(&t->sc, FILTER_SIEVE, text, rules, &result, &t->err);

	if (rc == OK) {
		printf("%s\n", result.verdict == FILTER_CONTINUES ? "Implicit keep" : "No implicit keep");
		return 0;
	}
	printf("Sieve error: %.*s\n", SLICE_ARG(t->err.text));
	return 0;
}

static int test_forward(struct test *t, struct slice text)
{
	struct str lines = str_make(&t->o->arena);

	if (forward_describe(&t->sc, text, &lines, &t->err) != OK) {
		printf("exim: error in forward file: %.*s\n", SLICE_ARG(t->err.text));
		return 1;
	}
	printf("%.*s", (int)lines.len, lines.len ? lines.ptr : "");
	return 0;
}

static int test_one(struct test *t, struct slice text, const char *name, bool system)
{
	enum filter_language language = filter_language(text);
	struct filter_rules rules = {
	    .system = system, .first_delivery = true, .print = print, .name = SLICE("filter file")};
	struct filter_result result;
	enum rc rc;

	printf("Testing %s file \"%s\"\n\n",
	       language == FILTER_SIEVE            ? "Sieve filter"
	       : language == FILTER_EXIM || system ? "Exim filter"
						   : "forward file",
	       name);
	t->sc.address = t->address;
	task_limit(&t->o->task, 60000);
	t->err = err_make(&t->o->arena);
	if (!system && language == FILTER_NONE)
		return test_forward(t, text);
	if (!system && language == FILTER_SIEVE)
		return test_sieve(t, text, &rules);
	rc = filter_apply(&t->sc, FILTER_EXIM, text, &rules, &result, &t->err);
	return print_verdict(t, rc, &result);
}

int tool_test_filter(struct once *o)
{
	const struct command_line *cl = o->cl;
	struct test t = {.o = o, .cl = cl, .err = err_make(&o->arena)};
	const char *names[2] = {cl->filter_system, cl->filter_user};
	struct slice texts[2];
	int fds[2] = {-1, -1}, status = 1;

	for (unsigned i = 0; i < 2; i++) {
		fds[i] = names[i] ? open(names[i], O_RDONLY | O_CLOEXEC) : -1;
		if (names[i] && fds[i] < 0) {
			fprintf(stderr, "exim: failed to open %s: %s\n", names[i], strerror(errno));
			goto out;
		}
	}
	t.m = message_new(o->conf, 0);
	if (!t.m || !read_message(&t) || !set_address(&t))
		goto out;
	scope_init(&t.sc, &o->task, o->conf);
	t.sc.message = t.m;
	t.sc.client = t.m->client;
	t.sc.sender = t.m->sender;
	print_envelope(&t);
	status = 0;
	for (unsigned i = 0; i < 2 && status == 0; i++)
		if (names[i])
			status = read_file(o, fds[i], names[i], &texts[i])
				     ? test_one(&t, texts[i], names[i], i == 0)
				     : 1;
out:
	for (unsigned i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (t.m)
		message_unref(t.m);
	return status;
}
