/* tools: the commands that look and test: -be, -bt, -bv, -bh, -brt, -brw, -bV, -bP. */
#include "server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- -be --------------------------------------------------------------------------------------------------------- */

static void expand_line(struct once *o, struct slice text)
{
	struct err err = err_make(&o->arena);
	struct scope sc;
	struct slice value;

	o->task.until = task_until(&o->task, 60000);
	scope_init(&sc, &o->task, o->conf);
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

int tool_expand(struct once *o)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	for (unsigned i = 0; i < o->cl->operand_count; i++)
		expand_line(o, slice_of(o->cl->operands[i]));
	if (o->cl->operand_count)
		return 0;
	/* Lines of standard input; a backslash at the end continues one. */
	struct str text = str_make(&o->arena);
	while ((len = getline(&line, &room, stdin)) >= 0) {
		while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			len--;
		bool more = len && line[len - 1] == '\\';
		str_add(&text, slice_make(line, (size_t)len - more, CLEAN));
		if (more)
			continue;
		expand_line(o, arena_copy(&o->arena, str_slice(&text)));
		fflush(stdout);
		str_clear(&text);
	}
	free(line);
	return 0;
}

/* ---- -bt, -bv ----------------------------------------------------------------------------------------------------- */

static void trace_none(struct scope *sc, const char *format, ...)
{
	(void)sc;
	(void)format;
}

static bool qualify(struct once *o, const char *operand, bool sender, struct slice *ret)
{
	const struct conf_main *m = conf_main(o->conf);
	struct address_parts parts;
	struct err err = err_make(&o->arena);

	if (address_parse(&o->arena, slice_of(operand), ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8, &parts, &err) != OK) {
		printf("syntax error: %.*s\n", SLICE_ARG(err.text));
		return false;
	}
	*ret = parts.domain.len ? parts.full
				: arena_printf(&o->arena, "%.*s@%.*s", SLICE_ARG(parts.local_part),
					       SLICE_ARG(sender ? m->qualify_domain : m->qualify_recipient));
	return ret->ptr != NULL;
}

static void print_hosts(const struct host_list *hosts)
{
	size_t width = 0, ip_width = 0;
	char text[IP_TEXT_MAX];

	for (const struct host_item *h = hosts ? hosts->first : NULL; h; h = h->next) {
		if (h->name.len > width)
			width = h->name.len;
		if (ip_format(&h->ip, text).len + 2 > ip_width)
			ip_width = ip_format(&h->ip, text).len + 2;
	}
	for (const struct host_item *h = hosts ? hosts->first : NULL; h; h = h->next) {
		struct slice ip = ip_format(&h->ip, text);
		printf("  host %-*.*s ", (int)width, SLICE_ARG(h->name));
		if (h->ip.family)
			printf("[%.*s]", SLICE_ARG(ip));
		if (h->mx != MX_NONE)
			printf("%*s MX=%d", (int)(ip_width - ip.len - 2), "", h->mx);
		if (h->port)
			printf(" port=%u", h->port);
		printf("\n");
	}
}

static void print_parents(const struct address *a)
{
	for (const struct address *p = a->parent; p; p = p->parent)
		printf("    <-- %.*s\n", SLICE_ARG(p->full));
}

static void print_routed(const struct address *a)
{
	printf("%.*s\n", SLICE_ARG(a->pipe.len ? a->pipe : a->file.len ? a->file : a->full));
	print_parents(a);
	printf("  router = %.*s, transport = %.*s\n", SLICE_ARG(a->router ? a->router->instance.name : SLICE("unset")),
	       SLICE_ARG(a->transport ? a->transport->instance.name : SLICE("unset")));
	print_hosts(a->hosts);
}

/* The address and whatever it becomes. Exim's exit status: 0 good, 1 deferred, 2 undeliverable. */
static int test_one(struct once *o, struct slice text)
{
	struct link todo;
	struct scope sc;
	int status = 0;
	unsigned count = 0;
	struct address *first = address_new(&o->arena, text);
	struct link *l;

	if (!first)
		return 1;
	list_init(&todo);
	list_append(&todo, &first->link);
	scope_init(&sc, &o->task, o->conf);
	sc.address_test = true;
	sc.trace = o->cl->debug ? NULL : trace_none;
	sc.sender = o->cl->sender ? slice_of(o->cl->sender) : SLICE_EMPTY;
	while ((l = list_shift(&todo)) && count++ < 10000) {
		struct address *a = LIST_ITEM(l, struct address, link);
		struct route_output out;
		struct err err = err_make(&o->arena);
		enum route_result result;

		if (a->transport) {
			print_routed(a);
			continue;
		}
		route_output_init(&out);
		o->task.until = task_until(&o->task, 120000);
		result = route_address(&sc, a, ROUTE_TEST, &out, &err);
		LIST_EACH(k, &out.children) {
			list_remove(k);
			list_append(&todo, k);
		}
		switch (result) {
		case ROUTE_ACCEPT:
			print_routed(a);
			break;
		case ROUTE_REROUTED:
			break;
		case ROUTE_DISCARDED:
			printf("mail to %.*s is discarded\n", SLICE_ARG(a->full));
			break;
		case ROUTE_FAIL:
			printf("%.*s is undeliverable", SLICE_ARG(a->full));
			printf(": %.*s\n", SLICE_ARG(out.message.len ? out.message : err.text.len ? err.text : SLICE("Unrouteable address")));
			print_parents(a);
			status = 2;
			break;
		default:
			printf("%.*s cannot be resolved at this time", SLICE_ARG(a->full));
			printf(": %.*s\n", SLICE_ARG(out.message.len ? out.message : err.text));
			print_parents(a);
			if (!status)
				status = 1;
			break;
		}
	}
	return status;
}

static int each_address(struct once *o, int (*f)(struct once *, struct slice), bool sender)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	int status = 0, one;
	struct slice text;

	for (unsigned i = 0; i < o->cl->operand_count; i++) {
		one = qualify(o, o->cl->operands[i], sender, &text) ? f(o, text) : 2;
		status = one > status ? one : status;
	}
	if (o->cl->operand_count)
		return status;
	while ((len = getline(&line, &room, stdin)) >= 0) {
		while (len && ascii_is_space(line[len - 1]))
			line[--len] = 0;
		if (!len)
			continue;
		one = qualify(o, arena_cstr(&o->arena, slice_of(line)), sender, &text) ? f(o, text) : 2;
		status = one > status ? one : status;
		fflush(stdout);
	}
	free(line);
	return status;
}

int tool_test_address(struct once *o)
{
	return each_address(o, test_one, false);
}

static int verify_one(struct once *o, struct slice text)
{
	struct verify_options options = {0};
	struct route_output out;
	struct err err = err_make(&o->arena);
	struct address *result;
	struct scope sc;
	bool sender = o->cl->mode == MODE_VERIFY_SENDER;

	scope_init(&sc, &o->task, o->conf);
	sc.sender = o->cl->sender ? slice_of(o->cl->sender) : SLICE_EMPTY;
	route_output_init(&out);
	o->task.until = task_until(&o->task, 120000);
	switch (verify_address(&sc, text, sender, &options, &result, &out, &err)) {
	case OK:
		printf("%.*s verified\n", SLICE_ARG(text));
		return 0;
	case FAIL:
		printf("%.*s failed to verify: %.*s\n", SLICE_ARG(text), SLICE_ARG(out.message.len ? out.message : SLICE("Unrouteable address")));
		return 2;
	default:
		printf("%.*s cannot be resolved at this time: %.*s\n", SLICE_ARG(text), SLICE_ARG(out.message.len ? out.message : err.text));
		return 1;
	}
}

int tool_verify_address(struct once *o)
{
	return each_address(o, verify_one, o->cl->mode == MODE_VERIFY_SENDER);
}

/* ---- -bh ------------------------------------------------------------------------------------------------------------ */

static void trace_print(struct scope *sc, const char *format, ...) PRINTF_LIKE(2, 3);
static void trace_print(struct scope *sc, const char *format, ...)
{
	va_list args;

	(void)sc;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* What would be logged is told, and not logged: this is not for real. */
static void log_print(void *arg, unsigned where, struct slice line)
{
	(void)arg;
	(void)where;
	fprintf(stderr, "LOG: %.*s\n", SLICE_ARG(line));
}

int tool_test_host(struct once *o)
{
	struct smtp_stdio stdio = {.fd_in = 0, .fd_out = 1, .dry_run = true, .trace = trace_print};
	struct slice text = slice_of(o->cl->test_host), address = text;
	struct err err = err_make(&o->arena);
	ptrdiff_t at;
	uint64_t port = 0;

	/* "[1.2.3.4]:25", "1.2.3.4.25" and "1.2.3.4" */
	if (text.len && text.ptr[0] == '[' && (at = slice_find(text, ']')) > 0) {
		address = slice_sub(text, 1, (size_t)at - 1);
		(void)parse_u64(slice_from(text, (size_t)at + 2), &port);
	} else if (!ip_parse(text, &stdio.ip) && (at = slice_rfind(text, '.')) > 0) {
		address = slice_sub(text, 0, (size_t)at);
		(void)parse_u64(slice_from(text, (size_t)at + 1), &port);
	}
	if (!ip_parse(address, &stdio.ip)) {
		fprintf(stderr, "sluice: \"%.*s\" is not an IP address\n", SLICE_ARG(text));
		return 1;
	}
	stdio.ip.port = (uint16_t)port;
	if (o->cl->interface)
		(void)ip_parse(slice_of(o->cl->interface), &stdio.local);
	fprintf(stderr, "\n**** SMTP testing session as if from host %.*s\n**** but without any ident (RFC 1413) callback.\n"
			"**** This is not for real!\n\n", SLICE_ARG(text));
	fflush(stdout);
	o->task.until = UNTIL_NEVER;
	log_capture(o->shard, log_print, NULL);
	return smtp_serve_stdio(&o->task, o->smtp, &stdio, &err) == OK ? 0 : 1;
}

/* ---- -brt ------------------------------------------------------------------------------------------------------------- */

int tool_test_retry(struct once *o)
{
	struct str out = str_make(&o->arena);
	struct scope sc;

	if (!o->cl->operand_count) {
		fprintf(stderr, "sluice: -brt needs a domain or address argument\n");
		return 1;
	}
	scope_init(&sc, &o->task, o->conf);
	sc.sender = SLICE_EMPTY;
	retry_describe(&sc, slice_of(o->cl->operands[0]), o->cl->operand_count > 1 ? slice_of(o->cl->operands[1]) : SLICE_EMPTY, &out);
	fwrite(out.ptr, 1, out.len, stdout);
	return 0;
}

/* ---- -brw ------------------------------------------------------------------------------------------------------------- */

int tool_test_rewrite(struct once *o)
{
	struct str out = str_make(&o->arena);
	struct err err = err_make(&o->arena);
	struct scope sc;
	enum rc rc;

	if (!o->cl->operand_count) {
		fprintf(stderr, "sluice: -brw needs an address argument\n");
		return 1;
	}
	o->task.until = task_until(&o->task, 60000);
	scope_init(&sc, &o->task, o->conf);
	sc.sender = SLICE_EMPTY;
	rc = rewrite_describe(&sc, slice_of(o->cl->operands[0]), &out, &err);
	printf("%.*s", SLICE_ARG(str_slice(&out)));
	if (rc != OK)
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
	return rc != OK;
}

/* ---- -bV, -bP ----------------------------------------------------------------------------------------------------------- */

static void print_names(const char *title, const struct conf *conf, enum conf_section_id id)
{
	const struct conf_driver *const *drivers = NULL;

	for (const struct conf_section *const *s = conf->registry->sections; *s; s++)
		if ((*s)->id == id)
			drivers = (*s)->drivers;
	printf("%s:", title);
	for (; drivers && *drivers; drivers++)
		printf(" %s", (*drivers)->name);
	printf("\n");
}

int tool_version(const struct conf *conf, bool with_config)
{
	printf("sluice version %s\n", SLUICE_VERSION);
	printf("Support for: IPv6 PIPELINING CHUNKING SMTPUTF8 LIMITS io_uring\n");
	printf("Lookups (built-in):");
	for (unsigned i = 0; lookup_types[i]; i++)
		printf(" %s", lookup_types[i]->name);
	printf("\n");
	print_names("Routers", conf, CONF_SECTION_ROUTERS);
	print_names("Transports", conf, CONF_SECTION_TRANSPORTS);
	if (with_config) {
		say_warnings(conf);
		printf("Configuration file is %s\n", conf->file);
	}
	return 0;
}

static int print_one(const struct command_line *cl, const struct caller *caller, const struct conf *conf, struct slice what, struct arena *arena)
{
	struct str out = str_make(arena);
	struct err err = err_make(arena);

	if (conf_print(conf, what, caller->admin, cl->names_only, &out, &err) != OK) {
		fprintf(stderr, "%.*s\n", SLICE_ARG(err.text));
		return 1;
	}
	fwrite(out.ptr, 1, out.len, stdout);
	return 0;
}

int tool_print(const struct command_line *cl, const struct caller *caller, const struct conf *conf)
{
	struct arena arena;
	int status = 0;

	arena_init(&arena, 0);
	if (!cl->operand_count)
		status = print_one(cl, caller, conf, SLICE_EMPTY, &arena);
	for (unsigned i = 0; i < cl->operand_count; i++) {
		const char *word = cl->operands[i];
		bool two = i + 1 < cl->operand_count &&
			   (strcmp(word, "router") == 0 || strcmp(word, "transport") == 0 || strcmp(word, "authenticator") == 0 ||
			    strcmp(word, "macro") == 0);
		struct slice what = two ? arena_printf(&arena, "%s %s", word, cl->operands[i + 1]) : slice_of(word);
		i += two;
		status |= print_one(cl, caller, conf, what, &arena);
	}
	arena_done(&arena);
	return status;
}
