/* The redirect router: aliases, forward files, lists. An address becomes others, a file, a pipe, or a verdict. */
#include <errno.h>
#include <stdarg.h>

#include "redirect.h"

#define FILE_SIZE_MAX (16u * 1024 * 1024)
#define INCLUDE_MAX   10     /* files inside files */
#define CHILDREN_MAX  100000 /* members of one list */

#define D struct redirect
static const struct conf_option redirect_options[] = {
    OPT_BOOL(D, allow_defer, "no", ":defer: may be used"),
    OPT_BOOL(D, allow_fail, "no", ":fail: may be used"),
    OPT_BOOL(D, allow_filter, "no", "data may be a filter"),
    OPT_BOOL(D, allow_freeze, "no", "a filter may freeze the message"),
    OPT_BOOL(D, check_ancestor, "no", "an ancestor among the new addresses means this one"),
    OPT_BOOL(D, check_group, NULL, "the file's group must be right"),
    OPT_BOOL(D, check_owner, NULL, "the file's owner must be right"),
    OPT_EXPAND(D, data, NULL, "the list"),
    OPT_EXPAND(D, directory_transport, NULL, "for items like /a/directory/"),
    OPT_EXPAND(D, file, NULL, "the file that holds the list"),
    OPT_EXPAND(D, file_transport, NULL, "for items like /a/file"),
    OPT_BOOL(D, filter_prepend_home, "yes", "for relative names in filters"),
    OPT_BOOL(D, forbid_blackhole, "no", NULL),
    OPT_BOOL(D, forbid_exim_filter, "no", NULL),
    OPT_BOOL(D, forbid_file, "no", NULL),
    OPT_BOOL(D, forbid_filter_dlfunc, "no", NULL),
    OPT_BOOL(D, forbid_filter_existstest, "no", NULL),
    OPT_BOOL(D, forbid_filter_logwrite, "no", NULL),
    OPT_BOOL(D, forbid_filter_lookup, "no", NULL),
    OPT_BOOL(D, forbid_filter_perl, "no", NULL),
    OPT_BOOL(D, forbid_filter_readfile, "no", NULL),
    OPT_BOOL(D, forbid_filter_readsocket, "no", NULL),
    OPT_BOOL(D, forbid_filter_reply, "no", NULL),
    OPT_BOOL(D, forbid_filter_run, "no", NULL),
    OPT_BOOL(D, forbid_include, "no", NULL),
    OPT_BOOL(D, forbid_pipe, "no", NULL),
    OPT_BOOL(D, forbid_sieve_filter, "no", NULL),
    OPT_BOOL(D, forbid_smtp_code, "no", "reply codes in :fail: and :defer: texts do not count"),
    OPT_BOOL(D, hide_child_in_errmsg, "no", "bounces do not name the new addresses"),
    OPT_BOOL(D, ignore_eacces, "no", "a file that may not be read is not there"),
    OPT_BOOL(D, ignore_enotdir, "no", "nor is one below something that is no directory"),
    OPT_STRING(D, include_directory, NULL, "where :include: files have to be"),
    OPT_OCTAL(D, modemask, "022", "mode bits that the file must not have"),
    OPT_BOOL(D, one_time, "no", "new addresses stay what they are after the first attempt"),
    OPT_UID_LIST(D, owners, NULL, "who else may own the file"),
    OPT_GID_LIST(D, owngroups, NULL, "which groups the file may have"),
    OPT_EXPAND(D, pipe_transport, NULL, "for items like |command"),
    OPT_EXPAND(D, qualify_domain, NULL, "for new addresses without a domain"),
    OPT_BOOL(D, qualify_preserve_domain, "no", "they get the domain of this one"),
    {"repeat_use", &conf_bool, offsetof(D, router.repeat_use), "yes", "works on its own descendants", 0},
    OPT_EXPAND(D, reply_transport, NULL, "for automatic replies of filters"),
    OPT_BOOL(D, rewrite, "yes", "new addresses are rewritten as others are"),
    OPT_EXPAND(D, sieve_enotify_mailto_owner, NULL, NULL),
    OPT_EXPAND(D, sieve_inbox, "inbox", NULL),
    OPT_EXPAND(D, sieve_subaddress, NULL, NULL),
    OPT_EXPAND(D, sieve_useraddress, NULL, NULL),
    OPT_EXPAND(D, sieve_vacation_directory, NULL, NULL),
    OPT_BOOL(D, skip_syntax_errors, "no", "malformed items are left out"),
    OPT_STRING(D, srs, NULL, "forward, reverse or reverseandforward: senders rewritten, and back"),
    OPT_EXPAND(D, srs_alias, NULL, "the domain of rewritten senders; unset: the address's own"),
    OPT_EXPAND(D, srs_condition, NULL, "whether srs is done"),
    OPT_EXPAND(D, srs_dbinsert, NULL, "expanded to keep $srs_db_address under $srs_db_key"),
    OPT_EXPAND(D, srs_dbselect, NULL, "the sender that is kept under $srs_db_key"),
    OPT_EXPAND(D, syntax_errors_text, NULL, "begins the message to syntax_errors_to"),
    OPT_STRING(D, syntax_errors_to, NULL, "who is told of malformed items"),
};

static bool was_set(const D *d, const char *name)
{
	for (unsigned i = 0; i < ARRAY_COUNT(redirect_options); i++)
		if (strcmp(redirect_options[i].name, name) == 0)
			return d->router.instance.was_set &&
			       d->router.instance.was_set[router_generic_option_count + i];
	return false;
}

static enum rc redirect_check(struct conf *conf, void *instance, struct err *err)
{
	D *d = instance;

	(void)conf;
	if (!d->data == !d->file)
		return err_set(err, FAIL, "%s",
			       d->data ? "\"file\" and \"data\" are mutually exclusive"
				       : "one of \"file\" or \"data\" must be specified");
	if (d->one_time) {
		d->forbid_pipe = d->forbid_file = d->forbid_filter_reply = true;
		if (d->router.headers_add.ptr || d->router.headers_remove.ptr)
			return err_set(
			    err, FAIL,
			    "\"headers_add\" and \"headers_remove\" are not permitted with \"one_time\"");
		if (d->router.unseen && !slice_eq(expansion_text(d->router.unseen), SLICE("no")) &&
		    !slice_eq(expansion_text(d->router.unseen), SLICE("false")))
			return err_set(err, FAIL, "\"unseen\" may not be used with \"one_time\"");
	}
	if (d->srs.len && !slice_eq(d->srs, SLICE("forward")) && !slice_eq(d->srs, SLICE("reverse")) &&
	    !slice_eq(d->srs, SLICE("reverseandforward")))
		return err_set(err, FAIL,
			       "\"srs\" is to be \"forward\", \"reverse\" or \"reverseandforward\"");
	if (d->qualify_preserve_domain && d->qualify_domain)
		return err_set(err, FAIL,
			       "only one of \"qualify_domain\" or \"qualify_preserve_domain\" may be set");
	if (d->allow_filter && !d->router.check_local_user && !d->router.user)
		return err_set(err, FAIL,
			       "\"user\" or \"check_local_user\" must be set with \"allow_filter\"");
	if (!was_set(d, "check_owner"))
		d->check_owner = d->router.check_local_user || d->owners.set;
	if (!was_set(d, "check_group"))
		d->check_group = (d->router.check_local_user && !(d->modemask & 020)) || d->owngroups.set;
	return OK;
}

enum verdict redirect_broken(struct interpretation *in, const char *format, ...)
{
	struct str text = str_make(routing_arena(in->r));
	va_list args;

	va_start(args, format);
	str_vprintf(&text, format, args);
	va_end(args);
	in->r->out->os = ROUTE_SHOW_REDIRECT;
	(void)route_say(in->r, ROUTE_DEFER, "error in redirect %s: %.*s", in->d->data ? "data" : "file",
			(int)text.len, text.len ? text.ptr : "");
	return LIST_ERROR;
}

/* ---- Children ---------------------------------------------------------------------------------------------- */

void redirect_add_child(struct interpretation *in, struct address *child)
{
	child->start_router = in->r->router->redirect_to;
	list_append(&in->made, &child->link);
	in->children++;
}

static bool is_ancestor(const struct address *address, struct slice full)
{
	for (; address; address = address->parent)
		if (slice_eq_nocase(address->full, full))
			return true;
	return false;
}

/* The domain that a bare local part gets. */
static enum rc qualifier(struct interpretation *in, bool backslash, struct slice *domain_ret)
{
	const struct conf_main *options = conf_main(in->r->sc->conf);

	if (backslash || in->d->qualify_preserve_domain) {
		*domain_ret = in->r->address->domain;
		return OK;
	}
	if (in->d->qualify_domain)
		return expand(in->r->sc, in->d->qualify_domain, domain_ret, in->r->err);
	*domain_ret = options->qualify_recipient.ptr && options->qualify_recipient.len
			  ? options->qualify_recipient
			  : options->qualify_domain;
	if (!domain_ret->ptr || domain_ret->len == 0)
		*domain_ret = options->primary_hostname;
	return OK;
}

enum verdict redirect_add_address(struct interpretation *in, const struct redirect_item *item,
				  struct address **child_ret)
{
	struct arena *arena = routing_arena(in->r);
	struct slice full = item->text, domain;
	struct address *child;

	if (item->unqualified) {
		switch (qualifier(in, item->backslash, &domain)) {
		case OK:
			break;
		case FAIL:
			return LIST_DECLINE;
		default:
			return redirect_broken(in, "qualify_domain: %.*s", SLICE_ARG(in->r->err->text));
		}
		struct str text = str_make(arena);
		str_add(&text, item->text);
		str_addc(&text, '@');
		str_add(&text, domain);
		full = str_slice(&text);
	}
	if (full.ptr && in->d->rewrite &&
	    rewrite_address(in->r->sc, rewrite_rules(in->r->sc->conf), REWRITE_ENV_TO, full, &full,
			    in->r->err) != OK)
		return LIST_ERROR;
	if (full.ptr && in->d->check_ancestor && is_ancestor(in->r->address->parent, full))
		full = in->r->address->full;
	child = full.ptr ? address_child(arena, in->r->address, full) : NULL;
	if (!child)
		return redirect_broken(in, "out of memory");
	redirect_add_child(in, child);
	if (child_ret)
		*child_ret = child;
	return LIST_CHILDREN;
}

struct address *redirect_delivery_child(struct interpretation *in, struct slice full,
					const struct expansion *option, const char *name)
{
	struct routing *r = in->r;
	struct address *child = address_child(routing_arena(r), r->address, full);

	if (!child) {
		(void)redirect_broken(in, "out of memory");
		return NULL;
	}
	child->full = full;
	child->local_part = r->address->local_part;
	child->cased_local_part = r->address->cased_local_part;
	child->domain = r->address->domain;
	child->local_part_data = r->address->local_part_data;
	child->domain_data = r->address->domain_data;
	child->prefix = r->address->prefix;
	child->prefix_v = r->address->prefix_v;
	child->suffix = r->address->suffix;
	child->suffix_v = r->address->suffix_v;
	child->router = r->router;
	if (!router_find_transport(r, option, name, &child->transport) || !router_set_owner(r, child) ||
	    !router_set_directories(r, child))
		return NULL;
	if (!child->transport && !routing_verifies(r)) {
		(void)route_say(r, ROUTE_DEFER, "%s unset in %.*s router", name,
				SLICE_ARG(r->router->instance.name));
		return NULL;
	}
	redirect_add_child(in, child);
	child->start_router = NULL;
	return child;
}

/* "/path", "/path/" or "|command": a delivery of its own, with this address as its parent. */
enum verdict redirect_add_delivery(struct interpretation *in, const struct redirect_item *item,
				   struct address **child_ret)
{
	bool pipe = item->kind == REDIRECT_PIPE;
	bool directory = !pipe && item->text.len && item->text.ptr[item->text.len - 1] == '/';
	const struct expansion *option = pipe        ? in->d->pipe_transport
					 : directory ? in->d->directory_transport
						     : in->d->file_transport;
	struct address *child;

	if (pipe ? in->d->forbid_pipe : in->d->forbid_file)
		return redirect_broken(in, "%s \"%.*s\" is not permitted", pipe ? "pipe" : "file",
				       SLICE_ARG(item->text));
	if (slice_eq(item->text,
		     SLICE("/dev/null"))) { /* bypassed: a delivery that is over before it begins */
		in->children++;
		return LIST_CHILDREN;
	}
	child = redirect_delivery_child(in, item->text, option,
					pipe        ? "pipe_transport"
					: directory ? "directory_transport"
						    : "file_transport");
	if (!child)
		return LIST_ERROR;
	*(pipe ? &child->pipe : &child->file) = item->text;
	if (child_ret)
		*child_ret = child;
	return LIST_CHILDREN;
}

/* ---- Special items ------------------------------------------------------------------------------------------- */

/* :fail: and :defer:, with a text for the log, the bounce and, in verification, the client. */
static enum verdict forced(struct interpretation *in, const struct redirect_item *item)
{
	bool fail = item->kind == REDIRECT_FAIL;
	struct slice text = item->text, plain;

	if (!(fail ? in->d->allow_fail : in->d->allow_defer))
		return redirect_broken(in, "\":%s:\" is not permitted", fail ? "fail" : "defer");
	if (in->d->forbid_smtp_code) {
		(void)redirect_code(&text, 0);
		plain = text;
	} else {
		(void)redirect_code(&text, fail ? '5' : '4');
		plain = text;
	}
	in->r->out->user_message = text.len ? text : (struct slice){NULL, 0, CLEAN};
	if (plain.len)
		(void)route_say(in->r, ROUTE_FAIL, "%.*s", SLICE_ARG(plain));
	else
		(void)route_say(in->r, ROUTE_FAIL, fail ? "forced rejection" : "forced defer");
	return fail ? LIST_FAIL : LIST_DEFER;
}

static enum verdict interpret(struct interpretation *in, struct slice text);

static bool inside_directory(struct slice path, struct slice directory)
{
	while (directory.len > 1 && directory.ptr[directory.len - 1] == '/')
		directory.len--;
	return slice_starts(path, directory) && path.len > directory.len && path.ptr[directory.len] == '/' &&
	       slice_search(path, SLICE("/../")) < 0 && !slice_ends(path, SLICE("/.."));
}

static enum verdict include(struct interpretation *in, struct slice path)
{
	struct routing *r = in->r;
	enum verdict verdict;
	struct slice text;
	char *name;
	enum rc rc;

	if (in->d->forbid_include)
		return redirect_broken(in, "included files not permitted");
	if (path.len == 0 || path.ptr[0] != '/')
		return redirect_broken(in, "included file \"%.*s\" is not an absolute path", SLICE_ARG(path));
	if (path.taint == TAINTED)
		return redirect_broken(in, "attempt to use tainted filename '%.*s' for included file",
				       SLICE_ARG(path));
	if (in->d->include_directory.ptr && !inside_directory(path, in->d->include_directory))
		return redirect_broken(in, "included file %.*s is not in directory %.*s", SLICE_ARG(path),
				       SLICE_ARG(in->d->include_directory));
	if (in->depth >= INCLUDE_MAX)
		return redirect_broken(in, "more than %d files include each other", INCLUDE_MAX);
	name = arena_cstr(routing_arena(r), path);
	if (!name)
		return redirect_broken(in, "out of memory");
	rc = file_reader_slurp(r, &in->reader, name, FILE_SIZE_MAX, &text);
	if (rc == FAIL && ((r->err->os == EACCES && in->d->ignore_eacces) ||
			   (r->err->os == ENOTDIR && in->d->ignore_enotdir)))
		return LIST_EMPTY;
	if (rc != OK)
		return redirect_broken(in, "failed to open included file %s: %.*s", name,
				       SLICE_ARG(r->err->text));
	text.taint = CLEAN; /* an administrator's or the user's own file, like the one that names it */
	in->depth++;
	verdict = interpret(in, text);
	in->depth--;
	return verdict;
}

static enum verdict syntax_error(struct interpretation *in, const struct redirect_item *item)
{
	if (!in->d->skip_syntax_errors)
		return redirect_broken(in, "%.*s in \"%.*s\"", SLICE_ARG(item->error), SLICE_ARG(item->text));
	if (in->skipped.len)
		str_addc(&in->skipped, '\n');
	str_printf(&in->skipped, "%.*s: %.*s", SLICE_ARG(item->error), SLICE_ARG(item->text));
	return LIST_EMPTY;
}

static enum verdict interpret_item(struct interpretation *in, const struct redirect_item *item)
{
	switch (item->kind) {
	case REDIRECT_ADDRESS:
		return redirect_add_address(in, item, NULL);
	case REDIRECT_FILE:
	case REDIRECT_PIPE:
		return redirect_add_delivery(in, item, NULL);
	case REDIRECT_INCLUDE:
		return include(in, item->text);
	case REDIRECT_BLACKHOLE:
		return in->d->forbid_blackhole ? redirect_broken(in, "\":blackhole:\" is not permitted")
					       : LIST_BLACKHOLE;
	case REDIRECT_UNKNOWN:
		return LIST_DECLINE;
	case REDIRECT_DEFER:
	case REDIRECT_FAIL:
		return forced(in, item);
	case REDIRECT_NOTHING:
		in->children++;
		return LIST_CHILDREN;
	case REDIRECT_ERROR:
		return syntax_error(in, item);
	}
	return LIST_EMPTY;
}

static enum verdict interpret(struct interpretation *in, struct slice text)
{
	enum verdict whole = LIST_EMPTY, one;
	struct redirect_item item;

	while (redirect_next(routing_arena(in->r), &text, &item)) {
		if (in->children >= CHILDREN_MAX)
			return redirect_broken(in, "more than %d items", CHILDREN_MAX);
		one = interpret_item(in, &item);
		if (one != LIST_EMPTY && one != LIST_CHILDREN)
			return one; /* such an item decides for the whole list */
		if (one == LIST_CHILDREN)
			whole = LIST_CHILDREN;
	}
	return whole;
}

/* ---- The data -------------------------------------------------------------------------------------------------- */

/* ENOENT may mean that a file system is not mounted: only a directory that is there makes it an answer. */
static enum rc missing_file(struct routing *r, const D *d, const struct file_reader *reader, const char *path)
{
	struct stat st;
	char *parent = arena_cstr(routing_arena(r), slice_of(path));
	char *slash = parent ? strrchr(parent, '/') : NULL;

	if (d->ignore_enotdir || !slash)
		return FAIL;
	slash[slash == parent] = '\0';
	if (file_reader_stat(r, reader, parent, &st) == OK)
		return FAIL;
	return err_set(r->err, DEFER, "failed to stat directory %s for \"file\" of %.*s router", parent,
		       SLICE_ARG(r->router->instance.name));
}

static enum rc check_file(struct routing *r, const D *d, const char *path, const struct stat *st)
{
	bool owner = !d->check_owner || (r->user && st->st_uid == r->user->uid) ||
		     conf_id_listed(&d->owners, st->st_uid);
	bool group = !d->check_group || (r->user && st->st_gid == r->user->gid) ||
		     conf_id_listed(&d->owngroups, st->st_gid);

	if (!S_ISREG(st->st_mode))
		return err_set(r->err, DEFER, "%s is not a regular file", path);
	if (st->st_mode & (mode_t)d->modemask)
		return err_set(r->err, DEFER, "bad mode (0%o) for %s: 0%o bit(s) unexpected",
			       st->st_mode & 07777, path, (unsigned)(st->st_mode & (mode_t)d->modemask));
	if (!owner || !group)
		return err_set(r->err, DEFER, "bad %s for %s", owner ? "group" : "owner", path);
	return OK;
}

static enum rc read_file(struct routing *r, const D *d, const struct file_reader *reader, struct slice *text)
{
	struct slice path;
	struct stat st;
	char *name;
	enum rc rc = expand(r->sc, d->file, &path, r->err);

	if (rc != OK)
		return rc == FAIL && !r->err->forced ? DEFER : rc;
	path = slice_trim(path);
	if (path.len == 0 || path.ptr[0] != '/')
		return err_set(r->err, DEFER, "\"%.*s\" is not an absolute path for \"file\"",
			       SLICE_ARG(path));
	if (path.taint == TAINTED)
		return err_set(r->err, DEFER, "attempt to use tainted filename '%.*s' for \"file\"",
			       SLICE_ARG(path));
	name = arena_cstr(routing_arena(r), path);
	if (!name)
		return err_memory(r->err);
	rc = file_reader_stat(r, reader, name, &st);
	if (rc == OK)
		rc = check_file(r, d, name, &st);
	if (rc == OK)
		rc = file_reader_slurp(r, reader, name, FILE_SIZE_MAX, text);
	if (rc == OK) {
		text->taint = CLEAN;
		return OK;
	}
	if (rc == FAIL && r->err->os == ENOENT)
		return missing_file(r, d, reader, name);
	if (rc == FAIL &&
	    ((r->err->os == EACCES && d->ignore_eacces) || (r->err->os == ENOTDIR && d->ignore_enotdir)))
		return FAIL;
	return rc == FAIL ? DEFER : rc;
}

static enum rc read_data(struct routing *r, const D *d, const struct file_reader *reader, struct slice *text)
{
	enum rc rc;

	if (d->file)
		return read_file(r, d, reader, text);
	rc = expand(r->sc, d->data, text, r->err);
	return rc == FAIL && !r->err->forced ? DEFER : rc;
}

static enum route_result conclude(struct interpretation *in, enum verdict verdict)
{
	struct routing *r = in->r;

	switch (verdict) {
	case LIST_CHILDREN:
		break;
	case LIST_EMPTY:
	case LIST_DECLINE:
		return ROUTE_DECLINE;
	case LIST_BLACKHOLE:
		return ROUTE_DISCARDED;
	case LIST_FAIL:
		return ROUTE_FAIL;
	case LIST_DEFER:
	case LIST_ERROR:
		return ROUTE_DEFER;
	}
	r->out->one_time = in->d->one_time;
	r->out->hide_child_in_errors = in->d->hide_child_in_errmsg;
	if (list_empty(&in->made))
		return ROUTE_DISCARDED;
	list_join(&r->out->children, &in->made);
	return ROUTE_REROUTED;
}

void redirect_report_skipped(struct interpretation *in)
{
	struct slice text = SLICE_EMPTY;

	if (in->skipped.len == 0)
		return;
	in->r->out->syntax_errors = str_slice(&in->skipped);
	in->r->out->syntax_errors_to = in->d->syntax_errors_to;
	if (in->d->syntax_errors_text &&
	    expand(in->r->sc, in->d->syntax_errors_text, &text, in->r->err) == OK)
		in->r->out->syntax_errors_text = text;
}

enum route_result redirect_to_list(struct routing *r, struct slice text)
{
	struct redirect *d = arena_make(routing_arena(r), struct redirect);
	struct interpretation in = {.r = r, .d = d, .skipped = str_make(routing_arena(r))};
	enum route_result result;

	if (!d)
		return route_say(r, ROUTE_DEFER, "out of memory");
	d->router = *r->router;
	d->data = r->router->transport; /* only said to be data and not a file */
	d->forbid_file = d->forbid_pipe = d->forbid_include = d->forbid_blackhole = true;
	d->allow_fail = d->allow_defer = d->forbid_smtp_code = true;
	list_init(&in.made);
	if (!router_set_errors_to(r, &r->address->errors_to) || !router_set_headers(r, r->address))
		return ROUTE_DEFER;
	result = conclude(&in, interpret(&in, text));
	if (result == ROUTE_DECLINE)
		return route_say(r, ROUTE_DEFER, "error in redirect data: no addresses supplied");
	return result;
}

static enum route_result redirect_route(struct routing *r)
{
	const D *d = (const D *)r->router;
	struct interpretation in = {.r = r, .d = d, .skipped = str_make(routing_arena(r))};
	enum filter_language filter;
	enum verdict verdict;
	struct slice text, srs_sender = {NULL, 0, 0};
	enum route_result result;

	list_init(&in.made);
	if (file_reader_init(r, &in.reader) != OK)
		return ROUTE_DEFER;
	if (d->srs.len && (result = redirect_srs(r, d, &srs_sender)) != ROUTE_ACCEPT)
		return result;
	switch (read_data(r, d, &in.reader, &text)) {
	case OK:
		break;
	case FAIL:
		return ROUTE_DECLINE;
	default:
		return route_say(r, ROUTE_DEFER, "%.*s", SLICE_ARG(r->err->text));
	}
	filter = filter_language(text);
	if (filter != FILTER_NONE && !d->allow_filter)
		return route_say(r, ROUTE_DEFER, "error in filter %s: filtering not enabled",
				 d->data ? "data" : "file");
	if (!router_set_errors_to(r, &r->address->errors_to) || !router_set_headers(r, r->address))
		return ROUTE_DEFER;
	if (srs_sender.ptr && !r->router->errors_to)
		r->address->errors_to = r->address->srs_sender = srs_sender;
	if (filter != FILTER_NONE)
		return redirect_run_filter(&in, filter, text);
	verdict = interpret(&in, text);
	redirect_report_skipped(&in);
	return conclude(&in, verdict);
}

static const struct router_ops redirect_ops = {.route = redirect_route};
const struct conf_driver router_redirect_driver = {
    .name = "redirect",
    .size = sizeof(D),
    .options = redirect_options,
    .option_count = ARRAY_COUNT(redirect_options),
    .check = redirect_check,
    .ops = &redirect_ops,
};
