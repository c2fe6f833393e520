/* tools: the commands that test a configuration: -bt, -bv, -bh, -brt, -brw. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- -bt, -bv ----------------------------------------------------------------------------------------------------- */

static bool qualify(struct once *o, const char *operand, bool sender, struct slice *ret)
{
	const struct conf_main *m = conf_main(o->conf);
	struct address_parts parts;
	struct err err = err_make(&o->arena);

	if (address_parse(&o->arena, slice_of(operand),
			  ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ANY_LITERAL |
			      ADDRESS_ALLOW_UTF8,
			  &parts, &err) != OK) {
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

/* As it was typed; what it became, as routing has it. */
static struct slice shown_as(const struct address *a)
{
	return a->extra ? *(const struct slice *)a->extra : a->full;
}

static void print_parents(const struct address *a)
{
	for (const struct address *p = a->parent; p; p = p->parent)
		printf("    <-- %.*s\n", SLICE_ARG(shown_as(p)));
}

/* An address, or what stands for one, and where it goes; seen: what this command has printed so far. */
static void print_routed(struct once *o, const struct address *a, struct map *seen)
{
	struct slice name = a->pipe.len ? a->pipe : a->file.len ? a->file : shown_as(a);
	struct slice transport = a->transport ? a->transport->instance.name : SLICE("unset");
	struct slice key = arena_printf(&o->arena, "%.*s %.*s", SLICE_ARG(transport), SLICE_ARG(name));
	bool again = key.ptr && map_get(seen, key) != NULL;

	if (key.ptr && !again)
		(void)!map_set(seen, key, seen); /* without memory it is printed as if new */
	printf("%.*s%s\n", SLICE_ARG(name), again ? "   [duplicate, would not be delivered]" : "");
	print_parents(a);
	printf("  router = %.*s, transport = %.*s\n",
	       SLICE_ARG(a->router ? a->router->instance.name : SLICE("unset")), SLICE_ARG(transport));
	print_hosts(a->hosts);
}

/* Why, for those who may know it: the text of a failed lookup can have passwords in it. */
static void print_failed(struct once *o, const struct address *a, const char *what, struct slice why)
{
	printf("%.*s %s", SLICE_ARG(shown_as(a)), what);
	if (o->caller->admin)
		printf(": %.*s", SLICE_ARG(why));
	printf("\n");
}

/* Routes one address of the list and prints what becomes of it; new ones join the list. The status: 0 good, 1 deferred, 2
 * undeliverable. */
static int route_one(struct once *o, struct scope *sc, struct address *a, enum route_mode mode,
		     struct link *todo, struct map *seen)
{
	struct route_output out;
	struct err err = err_make(&o->arena);
	enum route_result result;

	if (a->transport) {
		print_routed(o, a, seen);
		return 0;
	}
	route_output_init(&out);
	task_limit(&o->task, 120000);
	result = route_address(sc, a, mode, &out, &err);
	LIST_EACH (k, &out.children) {
		list_remove(k);
		list_append(todo, k);
	}
	switch (result) {
	case ROUTE_ACCEPT:
		print_routed(o, a, seen);
		return 0;
	case ROUTE_REROUTED:
		return 0;
	case ROUTE_DISCARDED:
		while (a->parent)
			a = a->parent;
		printf("mail to %.*s is discarded\n", SLICE_ARG(shown_as(a)));
		return 0;
	case ROUTE_FAIL:
		print_failed(o, a, mode == ROUTE_TEST ? "is undeliverable" : "failed to verify",
			     out.message.len ? out.message
			     : err.text.len  ? err.text
					     : SLICE("Unrouteable address"));
		print_parents(a);
		return 2;
	default:
		print_failed(o, a, "cannot be resolved at this time",
			     out.message.len ? out.message : err.text);
		print_parents(a);
		return 1;
	}
}

static void scope_for(struct once *o, struct scope *sc)
{
	scope_init(sc, &o->task, o->conf);
	sc->sender = o->cl->sender ? slice_of(o->cl->sender)
				   : arena_printf(&o->arena, "%s@%.*s", o->caller->login,
						  SLICE_ARG(conf_main(o->conf)->qualify_domain));
}

/* The address and whatever it becomes. */
static int trace_address(struct once *o, struct slice text, enum route_mode mode, struct map *seen)
{
	struct link todo, *l;
	struct scope sc;
	int status = 0, one;
	unsigned count = 0;
	struct address *first =
	    address_new(&o->arena, slice_tainted(text)); /* as one that came from outside */

	if (!first)
		return 1;
	first->extra = &text;
	list_init(&todo);
	list_append(&todo, &first->link);
	scope_for(o, &sc);
	sc.address_test = mode == ROUTE_TEST;
	while ((l = list_shift(&todo)) && count++ < 10000) {
		one = route_one(o, &sc, LIST_ITEM(l, struct address, link), mode, &todo, seen);
		status = one > status ? one : status;
	}
	return status;
}

static int test_one(struct once *o, struct slice text, struct map *seen)
{
	return trace_address(o, text, ROUTE_TEST, seen);
}

/* One line an address; with -v, its whole way. */
static int verify_one(struct once *o, struct slice text, struct map *seen)
{
	bool sender = o->cl->mode == MODE_VERIFY_SENDER;
	struct address shown = {.full = text};
	struct verify_options options = {0};
	struct route_output out;
	struct err err = err_make(&o->arena);
	struct address *result;
	struct scope sc;

	if (o->cl->verbose)
		return trace_address(o, text, sender ? ROUTE_VERIFY_SENDER : ROUTE_VERIFY_RECIPIENT, seen);
	scope_for(o, &sc);
	route_output_init(&out);
	task_limit(&o->task, 120000);
	switch (verify_address(&sc, text, sender, &options, &result, &out, &err)) {
	case OK:
		printf("%.*s verified\n", SLICE_ARG(text));
		return 0;
	case FAIL:
		print_failed(o, &shown, "failed to verify",
			     out.message.len ? out.message : SLICE("Unrouteable address"));
		return 2;
	default:
		print_failed(o, &shown, "cannot be resolved at this time",
			     out.message.len ? out.message : err.text);
		return 1;
	}
}

/* The arguments, or the lines of standard input. */
static int each_address(struct once *o, int (*f)(struct once *, struct slice, struct map *), bool sender)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	int status = 0, one;
	struct slice text;
	struct map seen;

	map_init(&seen, &o->arena, false);
	for (unsigned i = 0; i < o->cl->operand_count; i++) {
		one = qualify(o, o->cl->operands[i], sender, &text) ? f(o, text, &seen) : 2;
		status = one > status ? one : status;
	}
	if (o->cl->operand_count)
		return status;
	printf("> ");
	fflush(stdout);
	while ((len = getline(&line, &room, stdin)) >= 0) {
		struct slice given = slice_trim(slice_make(line, (size_t)len, TAINTED));

		one = qualify(o, arena_cstr(&o->arena, given), sender, &text) ? f(o, text, &seen) : 2;
		status = one > status ? one : status;
		printf("> ");
		fflush(stdout);
	}
	printf("\n");
	free(line);
	return status;
}

int tool_test_address(struct once *o)
{
	return each_address(o, test_one, false);
}

int tool_verify_address(struct once *o)
{
	return each_address(o, verify_one, o->cl->mode == MODE_VERIFY_SENDER);
}

/* ---- -bh ------------------------------------------------------------------------------------------------------------ */

/* Without the time in front, with the zone that it may have: whoever looks at the screen knows. */
static struct slice undated(struct slice line)
{
	struct slice rest = line, date, time, zone, before;

	if (!slice_word(&rest, &date) || !slice_word(&rest, &time) || date.len != 10)
		return line;
	before = rest;
	if (slice_word(&rest, &zone) && zone.len == 5 && (zone.ptr[0] == '+' || zone.ptr[0] == '-'))
		return rest;
	return before;
}

/* What would be logged is told, and not logged: this is not for real. */
static void log_print(void *arg, unsigned where, struct slice line)
{
	(void)arg;
	(void)where;
	line = slice_ltrim(undated(line));
	fprintf(stderr, "LOG: %.*s\n", SLICE_ARG(line));
}

int tool_test_host(struct once *o)
{
	struct smtp_stdio stdio = {.fd_in = 0, .fd_out = 1, .dry_run = true};
	struct slice text = slice_of(o->cl->test_host);
	struct err err = err_make(&o->arena);
	struct smtp_told told;
	char ip[IP_TEXT_MAX];
	uint16_t port;

	if (!address_port_parse(text, &stdio.ip, &port)) {
		fprintf(stderr, "sluice abandoned: \"%.*s\" is not an IP address\n", SLICE_ARG(text));
		return 1;
	}
	stdio.ip.port = port;
	stdio.callouts = o->cl->mode == MODE_TEST_HOST_CALLOUT;
	told_of(o->cl, o->caller, &told);
	told.host = (struct ip_addr){0};
	stdio.told = &told;
	fprintf(
	    stderr,
	    "\n**** SMTP testing session as if from host %.*s\n**** but without any ident (RFC 1413) callback.\n"
	    "**** This is not for real!\n\n",
	    SLICE_ARG(ip_format(&stdio.ip, ip)));
	fflush(stdout);
	o->task.until = UNTIL_NEVER;
	log_capture(o->shard, log_print, NULL);
	return smtp_serve_stdio(&o->task, o->smtp, &stdio, &err) == OK ? 0 : 1;
}

/* ---- -brt ------------------------------------------------------------------------------------------------------------- */

/* Address or domain, then a host (it has a dot), then the name of an error. */
int tool_test_retry(struct once *o)
{
	struct slice key, host = SLICE_EMPTY, error = SLICE_EMPTY;
	struct str out = str_make(&o->arena);
	struct err err = err_make(&o->arena);
	unsigned count = o->cl->operand_count, at = 1;
	struct scope sc;

	if (!count) {
		fprintf(stderr, "sluice: -brt needs a domain or address argument\n");
		return 1;
	}
	key = slice_of(o->cl->operands[0]);
	if (slice_find(key, '@') < 0 && slice_find(key, '.') < 0)
		printf("Warning: \"%.*s\" contains no '@' and no '.' characters. It is being \n"
		       "treated as a one-component domain, not as a local part.\n\n",
		       SLICE_ARG(key));
	if (at < count && strchr(o->cl->operands[at], '.'))
		host = slice_of(o->cl->operands[at++]);
	if (at < count)
		error = slice_of(o->cl->operands[at]);
	task_limit(&o->task, 60000);
	scope_init(&sc, &o->task, o->conf);
	sc.sender = o->cl->sender ? slice_of(o->cl->sender) : SLICE_EMPTY;
	if (retry_describe(&sc, key, host, error, o->cl->sender, &out, &err) != OK) {
		printf("%.*s\n", SLICE_ARG(err.text)); /* where scripts look for it */
		return 1;
	}
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
	task_limit(&o->task, 60000);
	scope_init(&sc, &o->task, o->conf);
	sc.sender = SLICE_EMPTY;
	rc = rewrite_describe(&sc, slice_of(o->cl->operands[0]), &out, &err);
	printf("%.*s", SLICE_ARG(str_slice(&out)));
	if (rc != OK)
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
	return rc != OK;
}
