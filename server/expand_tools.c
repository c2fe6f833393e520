/* expand_tools: -be: strings are expanded, alone or as if a message were at hand (-bem FILE, -Mset ID). */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_SIZE_MAX (64ul * 1024 * 1024)

/* What is kept from line to line. */
struct expanding {
	struct once *o;
	struct message *message; /* NULL: none */
	struct client client;
	struct lookup_results *lookup_results; /* of all lines */
};

/* The user who asks, as when he sends mail. */
static void set_client(struct expanding *e)
{
	struct arena *arena = &e->o->arena;
	struct client *client = &e->client;

	client_clear(client);
	client->arena = arena;
	client->login = client->ident = client->authenticated_id = slice_of(e->o->caller->login);
	client->authenticated_sender = arena_printf(arena, "%s@%.*s", e->o->caller->login,
						    SLICE_ARG(conf_main(e->o->conf)->qualify_domain));
	if (!client->authenticated_sender.ptr)
		client->authenticated_sender = SLICE_EMPTY;
}

static void scope_of(struct expanding *e, struct scope *sc)
{
	scope_init(sc, &e->o->task, e->o->conf);
	sc->client = e->message && e->message->client ? e->message->client : &e->client;
	sc->message = e->message;
	sc->lookup_results = &e->lookup_results;
	if (!e->message)
		sc->sender = e->o->cl->sender ? slice_of(e->o->cl->sender) : e->client.authenticated_sender;
}

/* ---- Lines ---------------------------------------------------------------------------------------------------------- */

/* "set acl_m_x = text". */
static void set_variable(struct expanding *e, struct slice text)
{
	struct slice name, value;
	struct acl_variable **list;
	struct err err = err_make(&e->o->arena);
	struct scope sc;
	bool of_message;

	if (!slice_split(&text, '=', &name) || !text.ptr || (name = slice_trim(name)).len < 6 ||
	    !(slice_starts(name, SLICE("acl_m")) || slice_starts(name, SLICE("acl_c")))) {
		printf("Failed: \"set\" wants acl_c... or acl_m..., and a value behind =\n");
		return;
	}
	scope_of(e, &sc);
	if (expand_text(&sc, slice_trim(text), &value, &err) != OK) {
		printf("Failed: %.*s\n", SLICE_ARG(err.text));
		return;
	}
	of_message = name.ptr[4] == 'm';
	list = of_message && e->message ? &e->message->acl_m
	       : of_message             ? &sc.client->acl_m
					: &sc.client->acl_c;
	name = arena_copy(&e->o->arena, slice_from(name, 5));
	value = arena_copy(&e->o->arena, value);
	if (name.ptr && value.ptr && acl_variable_set(&e->o->arena, list, name, value))
		printf("variable %c%.*s set\n", of_message ? 'm' : 'c', SLICE_ARG(name));
}

static void expand_line(struct expanding *e, struct slice text)
{
	struct once *o = e->o;
	struct err err = err_make(&o->arena);
	struct slice value;
	struct scope sc;

	task_limit(&o->task, 60000);
	if (o->caller->admin) {
		bool empty = !text.len;
		if (conf_replace_macros(o->conf, &o->arena, text, &text, &err) != OK) {
			printf("Failed: %.*s\n", SLICE_ARG(err.text));
			return;
		}
		if (!empty && !text.len)
			return; /* a definition */
	}
	if (slice_starts(text, SLICE("set "))) {
		set_variable(e, slice_from(text, 4));
		return;
	}
	scope_of(e, &sc);
	switch (expand_text(&sc, text, &value, &err)) {
	case OK:
		printf("%.*s\n", SLICE_ARG(value));
		return;
	case FAIL:
		printf("Failed: %.*s\n", SLICE_ARG(err.text));
		return;
	default:
		printf("Temporary failure: %.*s\n", SLICE_ARG(err.text));
		return;
	}
}

/* Lines of standard input; a backslash at the end continues one, without the white space that the next begins with. */
static void expand_input(struct expanding *e)
{
	struct str text = str_make(&e->o->arena);
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	printf("> ");
	fflush(stdout);
	while ((len = getline(&line, &room, stdin)) >= 0) {
		struct slice piece = slice_rtrim(slice_make(line, (size_t)len, CLEAN));
		bool more = piece.len && piece.ptr[piece.len - 1] == '\\';

		if (text.len)
			piece = slice_ltrim(piece);
		str_add(&text, slice_sub(piece, 0, piece.len - more));
		if (more)
			continue;
		expand_line(e, arena_copy(&e->o->arena, str_slice(&text)));
		str_clear(&text);
		printf("> ");
		fflush(stdout);
	}
	printf("\n");
	free(line);
}

/* ---- A message ------------------------------------------------------------------------------------------------------ */

static enum rc read_file(struct once *o, const char *name, struct slice *ret, struct err *err)
{
	struct str text = str_make(&o->arena);
	FILE *f = fopen(name, "r");
	char block[65536];
	size_t got;

	if (!f)
		return err_os(err, FAIL, errno, "%s", name);
	while ((got = fread(block, 1, sizeof(block), f)) > 0 && text.len + got <= MESSAGE_SIZE_MAX)
		str_add(&text, slice_make(block, got, TAINTED));
	if (got || ferror(f))
		(void)err_set(err, FAIL, "%s cannot be read, or is too large", name);
	fclose(f);
	*ret = str_slice(&text);
	return err->text.len ? FAIL : ret->ptr ? OK : err_memory(err);
}

static void ignore_malformed(void *arg, struct slice item, struct slice why)
{
	(void)arg;
	(void)item;
	(void)why;
}

/* Header block and body as a user would hand them in. */
static enum rc take_text(struct expanding *e, struct slice text, struct err *err)
{
	struct message *m = e->message;
	struct fixup fixup = {.qualify_recipient = conf_main(e->o->conf)->qualify_recipient};
	struct slice body;
	struct str wire = str_make(&m->arena);
	uint32_t used = 0;
	bool cr = false;

	if (header_block_parse(&m->arena, text, &m->headers, &used, err) != OK)
		return err_memory(err);
	body = slice_from(text, used);
	if (!str_reserve(&wire, 2 * (size_t)body.len + 2))
		return err_memory(err);
	wire.len = (uint32_t)lf_to_crlf(&cr, body, wire.ptr);
	if (!body_add(m, NULL, wire.ptr, wire.len))
		return err_memory(err);
	m->body.in_memory = true;
	message_read_headers(m);
	if (e->o->cl->extract &&
	    message_recipients_from_headers(m, &fixup, NULL, 0, ignore_malformed, NULL) != OK)
		return err_memory(err);
	return OK;
}

static enum rc message_of_file(struct expanding *e, const char *name, struct err *err)
{
	const struct command_line *cl = e->o->cl;
	struct message *m = message_new(e->o->conf, 4 * MESSAGE_SIZE_MAX);
	struct slice text;
	enum rc rc;

	if (!m)
		return err_memory(err);
	e->message = m;
	m->received = (uint64_t)time(NULL) * NS_PER_S;
	m->id = message_id_next(&(struct id_source){.unique = (uint64_t)getpid(), .host_number = -1},
				m->received);
	m->client = &e->client;
	m->sender = m->sender_original = cl->sender
					     ? slice_tainted(slice_of(cl->sender))
					     : arena_printf(&m->arena, "%s@%.*s", e->o->caller->login,
							    SLICE_ARG(conf_main(e->o->conf)->qualify_domain));
	rc = read_file(e->o, name, &text, err);
	if (rc == OK)
		rc = take_text(e, text, err);
	return rc;
}

/* The daemon's spool is its own, so it is asked for the parts. */
static enum rc ask_for(struct once *o, const char *directory, enum queue_action part, struct slice *ret,
		       struct err *err)
{
	struct str text = str_make(&o->arena);
	struct slice words[3] = {SLICE("act"), arena_printf(&o->arena, "%d", (int)part),
				 slice_of(o->cl->message_set)},
		     title;
	int fd;
	enum rc rc = control_connect(directory, &fd, err);

	if (rc != OK)
		return rc;
	rc = control_ask(fd, words, 3, SLICE_EMPTY, NULL, 0, &text, err);
	close(fd);
	*ret = str_slice(&text);
	/* Both begin with the name of the file that they would be with Exim; an envelope keeps it. */
	if (part == QUEUE_VIEW_BODY)
		(void)slice_split(ret, '\n', &title);
	return rc;
}

static enum rc message_of_daemon(struct expanding *e, struct err *err)
{
	const char *directory = spool_directory(e->o->conf);
	struct slice envelope, body;
	enum rc rc = ask_for(e->o, directory, QUEUE_VIEW_HEADER, &envelope, err);

	if (rc == OK)
		rc = ask_for(e->o, directory, QUEUE_VIEW_BODY, &body, err);
	if (rc != OK)
		return rc;
	e->message = message_new(e->o->conf, 4 * MESSAGE_SIZE_MAX);
	if (!e->message)
		return err_memory(err);
	rc = envelope_read(e->message, envelope, err);
	if (rc == OK && body.len && !body_add(e->message, NULL, body.ptr, body.len))
		return err_memory(err);
	e->message->body.in_memory = true;
	return rc;
}

static enum rc message_of_spool(struct expanding *e, struct err *err)
{
	struct message_id id;
	struct spool_entry *entry = NULL;

	if (message_id_parse(slice_of(e->o->cl->message_set), &id))
		entry = spool_find(e->o->spool, &id);
	if (!entry)
		return err_set(err, FAIL, "no message %s", e->o->cl->message_set);
	return message_load(&e->o->task, e->o->spool, entry, e->o->conf, &e->message, err);
}

int tool_expand(struct once *o)
{
	struct expanding e = {.o = o};
	struct err err = err_make(&o->arena);
	enum rc rc = OK;

	set_client(&e);
	task_limit(&o->task, 60000);
	if (o->cl->message_file)
		rc = message_of_file(&e, o->cl->message_file, &err);
	else if (o->cl->message_set)
		rc = o->spool ? message_of_spool(&e, &err) : message_of_daemon(&e, &err);
	if (rc != OK) {
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
	} else {
		for (unsigned i = 0; i < o->cl->operand_count; i++)
			expand_line(&e, slice_of(o->cl->operands[i]));
		if (!o->cl->operand_count)
			expand_input(&e);
	}
	if (e.message && e.message->client == &e.client)
		e.message->client = NULL;
	message_unref(e.message);
	lookup_results_clear(&e.lookup_results);
	return rc == OK ? 0 : 1;
}
