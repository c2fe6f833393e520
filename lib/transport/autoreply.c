/* The autoreply transport: answers a message with one of its own. The answer has an empty sender and says that it is
 * automatic (RFC 3834), and is never given to what is automatic itself. */
#include "helper.h"

struct autoreply {
	struct transport transport;
	bool file_expand, file_optional, return_message;
	const struct expansion *bcc, *cc, *file, *from, *headers, *log, *once, *once_repeat, *reply_to,
	    *subject, *text, *to;
	const struct match_list *never_mail;
	int64_t mode, once_file_size;
};

#define R struct autoreply
static const struct conf_option autoreply_options[] = {
    OPT_EXPAND(R, bcc, NULL, "further recipients, unseen"),
    OPT_EXPAND(R, cc, NULL, "further recipients"),
    OPT_EXPAND(R, file, NULL, "text from a file"),
    OPT_BOOL(R, file_expand, "no", "each of its lines is expanded"),
    OPT_BOOL(R, file_optional, "no", "the file need not exist"),
    OPT_EXPAND(R, from, NULL, "From:"),
    OPT_EXPAND(R, headers, NULL, "further header fields"),
    OPT_EXPAND(R, log, NULL, "a file that is told of each answer"),
    OPT_OCTAL(R, mode, "0600", "of the files of log and once"),
    OPT_ADDRESSES(R, never_mail, NULL, "who gets no answer"),
    OPT_EXPAND(R, once, NULL, "each recipient gets one answer; the name is that of the set"),
    OPT_INT(R, once_file_size, "0", "the set has so many bytes at most: the oldest are forgotten"),
    OPT_EXPAND(R, once_repeat, "0s", "and another after this time"),
    OPT_EXPAND(R, reply_to, NULL, "Reply-To:"),
    OPT_BOOL(R, return_message, "no", "the message goes back with the answer"),
    OPT_EXPAND(R, subject, NULL, "Subject:"),
    OPT_EXPAND(R, text, NULL, "the text"),
    OPT_EXPAND(R, to, NULL, "who gets the answer"),
};

#define FILE_SIZE_MAX      (1024u * 1024)
#define RECIPIENTS_MAX     100
#define ONCE_FILE_SIZE_MAX (1024u * 1024) /* it is read and written whole */
#define RETURN_SIZE_MAX    (256u * 1024)
#define REFERENCES_MAX     900 /* of a header line */

static enum rc autoreply_check(struct conf *conf, void *instance, struct err *err)
{
	R *r = instance;

	/* Without to, cc and bcc it is for filters, which say themselves who gets the reply. */
	(void)conf;
	if (r->once_file_size < 0 || r->once_file_size > ONCE_FILE_SIZE_MAX)
		return err_set(err, FAIL, "once_file_size must be between 0 and %u", ONCE_FILE_SIZE_MAX);
	return OK;
}

/* ---- Who -------------------------------------------------------------------------------------------------------------- */

struct reply {
	struct scope *sc;
	const R *options;
	struct err *err;
	const struct filter_reply *filter; /* it says everything, and our options nothing; NULL: they do */
	struct identity who;
	struct slice recipients[RECIPIENTS_MAX];
	unsigned recipient_count;
	struct str text;
};

/* What the option says, or, for a filter's reply, the filter. */
static enum rc reply_value(struct reply *reply, const struct expansion *option, size_t filter_field,
			   struct slice *ret)
{
	if (!reply->filter)
		return expand_option(reply->sc, option, ret, reply->err);
	memcpy(ret, (const char *)reply->filter + filter_field, sizeof(*ret));
	if (!ret->ptr)
		*ret = SLICE_EMPTY;
	return OK;
}
#define VALUE(reply, name, ret) \
	reply_value(reply, (reply)->options->name, offsetof(struct filter_reply, name), ret)

/* Filters name files below the user's home. */
static struct slice reply_path(struct reply *reply, struct slice path)
{
	struct slice home = reply->sc->address->home, full;

	if (!reply->filter || path.len == 0 || path.ptr[0] == '/' || !home.ptr || home.len == 0)
		return path;
	full = arena_printf(reply->sc->task->arena, "%.*s/%.*s", SLICE_ARG(home), SLICE_ARG(path));
	full.taint = home.taint | path.taint;
	return full.ptr ? full : path;
}

/* The addresses of one option, without those that never_mail names; the rest comes back as a header body. */
static enum rc add_recipients(struct reply *reply, const struct expansion *option, size_t filter_field,
			      struct slice *header_ret)
{
	struct arena *arena = reply->sc->task->arena;
	struct str header = str_make(arena);
	struct slice rest;
	struct address_parts parts;
	enum rc rc = reply_value(reply, option, filter_field, &rest);
	struct slice all;

	*header_ret = SLICE_EMPTY;
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	all = slice_trim(rest);
	while (reply->recipient_count < RECIPIENTS_MAX) {
		rc = address_next(arena, &rest, 0, &parts, reply->err);
		if (rc != OK && reply->err->text.len == 0)
			break;
		if (rc != OK || parts.full.len == 0)
			continue;
		rc = reply->options->never_mail
			 ? match_address(reply->sc, reply->options->never_mail, parts.full, NULL, reply->err)
			 : FAIL;
		if (rc == OK)
			continue;
		if (rc != FAIL)
			return rc;
		reply->recipients[reply->recipient_count++] = parts.full;
		str_printf(&header, "%s%.*s", header.len ? ",\n  " : "", SLICE_ARG(parts.full));
	}
	/* A filter's words stand in the header line as they are; it has seen to their line ends. */
	*header_ret = reply->filter && header.len ? all : str_slice(&header);
	return header_ret->ptr ? OK : err_memory(reply->err);
}

static bool header_says(const struct message *message, const char *name, const char *const *words)
{
	struct header *h = header_find(&message->headers, slice_of(name), NULL);

	for (; h && *words; words++)
		if (slice_starts_nocase(header_body(h), slice_of(*words)))
			return true;
	return false;
}

/* Was the message made by a program or a list? Then its sender gets no automatic answer (RFC 3834 section 2). */
static bool is_automatic(const struct message *message)
{
	static const char *const bulk[] = {"bulk", "list", "junk", NULL}, *const no[] = {"no", NULL};

	if (message->sender.len == 0 || header_says(message, "precedence", bulk) ||
	    header_find(&message->headers, SLICE("list-id"), NULL))
		return true;
	return header_find(&message->headers, SLICE("auto-submitted"), NULL) &&
	       !header_says(message, "auto-submitted", no);
}

static bool only_to_sender(const struct reply *reply)
{
	for (unsigned i = 0; i < reply->recipient_count; i++)
		if (!slice_eq_nocase(reply->recipients[i], reply->sc->message->sender))
			return false;
	return true;
}

/* ---- Once ------------------------------------------------------------------------------------------------------------------ */

/* The name of the set, and who is in it. ptr NULL: everyone gets an answer each time. */
static enum rc once_names(struct reply *reply, struct slice *set_ret, struct slice *who_ret)
{
	struct str who = str_make(reply->sc->task->arena);
	struct slice name;
	enum rc rc = VALUE(reply, once, &name);

	*set_ret = (struct slice){NULL, 0, CLEAN};
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	if (name.len == 0)
		return OK;
	for (unsigned i = 0; i < reply->recipient_count; i++)
		str_printf(&who, "%s%.*s", i ? " " : "", SLICE_ARG(reply->recipients[i]));
	*set_ret = reply_path(reply, name);
	*who_ret = str_slice(&who);
	return who_ret->ptr ? OK : err_memory(reply->err);
}

static struct slice once_key(struct reply *reply, struct slice set, struct slice who)
{
	struct slice key =
	    arena_printf(reply->sc->task->arena, "once %.*s %.*s", SLICE_ARG(set), SLICE_ARG(who));

	return key.ptr ? key : SLICE("once");
}

/* Were they answered before, and not long enough ago? when: the time of the last answer. */
static enum rc too_soon(struct reply *reply, uint64_t when, bool *ret)
{
	uint64_t now = shard_wall(reply->sc->task->shard) / NS_PER_S;
	struct slice text;
	int64_t repeat = 0;
	enum rc rc;

	if (reply->filter) {
		repeat = reply->filter->once_repeat_s;
	} else {
		rc = expand_option(reply->sc, reply->options->once_repeat, &text, reply->err);
		if (rc != OK)
			return rc == FAIL ? DEFER : rc;
		text = slice_trim(text);
		if (text.len && !conf_parse_time(text, &repeat))
			return err_set(reply->err, DEFER, "invalid time value \"%.*s\" for once_repeat",
				       SLICE_ARG(text));
	}
	*ret = repeat == 0 || when + (uint64_t)repeat > now;
	return OK;
}

static enum rc answered_before(struct reply *reply, struct slice key, bool *ret)
{
	struct task *task = reply->sc->task;
	struct slice value;
	uint64_t then;
	enum rc rc = hints_get(task->shard, HINTS_SEEN, key, task->arena, &value, reply->err);

	*ret = false;
	if (rc != OK)
		return rc == FAIL ? OK : rc;
	if (parse_u64(value, &then))
		return too_soon(reply, then, ret);
	*ret = true;
	return OK;
}

static void remember(struct reply *reply, struct slice key)
{
	struct shard *shard = reply->sc->task->shard;
	struct slice now =
	    arena_printf(reply->sc->task->arena, "%llu", (unsigned long long)(shard_wall(shard) / NS_PER_S));

	if (now.ptr)
		hints_put(shard, HINTS_SEEN, key, now);
}

/* once_file_size: one list of all, "TIME RECIPIENTS" lines, the oldest first. */
static struct slice set_key(struct reply *reply, struct slice name)
{
	struct slice key = arena_printf(reply->sc->task->arena, "once-set %.*s", SLICE_ARG(name));

	return key.ptr ? key : SLICE("once-set");
}

static enum rc set_read(struct reply *reply, struct slice name, struct slice *lines_ret)
{
	struct task *task = reply->sc->task;
	enum rc rc =
	    hints_get(task->shard, HINTS_SEEN, set_key(reply, name), task->arena, lines_ret, reply->err);

	if (rc == FAIL)
		*lines_ret = SLICE_EMPTY;
	return rc == FAIL ? OK : rc;
}

static enum rc set_answered_before(struct reply *reply, struct slice name, struct slice who, bool *ret)
{
	struct slice lines, line, when;
	uint64_t then;
	enum rc rc = set_read(reply, name, &lines);

	*ret = false;
	while (rc == OK && !*ret && slice_split(&lines, '\n', &line))
		if (slice_split(&line, ' ', &when) && slice_eq_nocase(line, who) && parse_u64(when, &then))
			rc = too_soon(reply, then, ret);
	return rc;
}

/* The new line goes behind all others but an older one of the same; the first ones go when there is no room. */
static void set_remember(struct reply *reply, struct slice name, struct slice who)
{
	struct shard *shard = reply->sc->task->shard;
	struct arena *arena = reply->sc->task->arena;
	struct slice lines, rest, line, added, when;
	struct str text = str_make(arena);

	added = arena_printf(arena, "%llu %.*s\n", (unsigned long long)(shard_wall(shard) / NS_PER_S),
			     SLICE_ARG(who));
	if (!added.ptr || added.len > reply->options->once_file_size || set_read(reply, name, &lines) != OK)
		return;
	for (rest = lines; slice_split(&rest, '\n', &line);) {
		struct slice whole = line;
		if (slice_split(&line, ' ', &when) && line.ptr && !slice_eq_nocase(line, who))
			str_printf(&text, "%.*s\n", SLICE_ARG(whole));
	}
	str_add(&text, added);
	rest = str_slice(&text);
	while (rest.len > reply->options->once_file_size)
		(void)slice_split(&rest, '\n', &line);
	if (rest.ptr)
		hints_put(shard, HINTS_SEEN, set_key(reply, name), rest);
}

/* ---- The answer --------------------------------------------------------------------------------------------------------------- */

/* A header line from an option; line ends inside would begin a new one, so they become spaces. */
static enum rc add_line(struct reply *reply, const char *name, const struct expansion *option,
			size_t filter_field, struct slice otherwise)
{
	struct slice value;
	enum rc rc = reply_value(reply, option, filter_field, &value);

	if (rc != OK) {
		err_prefix(reply->err, "expansion of %s failed", name);
		return rc == FAIL ? DEFER : rc;
	}
	if (value.len == 0)
		value = otherwise;
	if (value.len == 0)
		return OK;
	str_printf(&reply->text, "%s: ", name);
	for (uint32_t i = 0; i < value.len; i++)
		str_addc(&reply->text, value.ptr[i] == '\n' || value.ptr[i] == '\r' ? ' ' : value.ptr[i]);
	str_addc(&reply->text, '\n');
	return OK;
}

static void add_list(struct reply *reply, const char *name, struct slice addresses)
{
	if (addresses.len == 0)
		return;
	str_printf(&reply->text, "%s: %.*s\n", name, SLICE_ARG(addresses));
}

static void add_references(struct reply *reply)
{
	struct header *id = header_find(&reply->sc->message->headers, SLICE("message-id"), NULL);
	struct header *references = header_find(&reply->sc->message->headers, SLICE("references"), NULL);
	struct slice text = id ? header_body(id) : SLICE_EMPTY;

	if (text.len == 0 || text.len > REFERENCES_MAX || slice_find(text, '\n') >= 0)
		return;
	str_printf(&reply->text, "In-Reply-To: %.*s\nReferences: ", SLICE_ARG(text));
	if (references && header_body(references).len + text.len < REFERENCES_MAX)
		str_printf(&reply->text, "%.*s\n ", SLICE_ARG(header_body(references)));
	str_printf(&reply->text, "%.*s\n", SLICE_ARG(text));
}

static enum rc add_headers(struct reply *reply, const struct slice lists[3])
{
	const struct address *address = reply->sc->address;
	struct slice self = arena_printf(reply->sc->task->arena, "%.*s@%.*s", SLICE_ARG(address->local_part),
					 SLICE_ARG(address->domain));
	struct slice more;
	enum rc rc = self.ptr ? add_line(reply, "From", reply->options->from,
					 offsetof(struct filter_reply, from), self)
			      : err_memory(reply->err);

	if (rc == OK)
		rc = add_line(reply, "Reply-To", reply->options->reply_to,
			      offsetof(struct filter_reply, reply_to), SLICE_EMPTY);
	add_list(reply, "To", lists[0]);
	add_list(reply, "Cc", lists[1]);
	if (rc == OK)
		rc = add_line(reply, "Subject", reply->options->subject,
			      offsetof(struct filter_reply, subject), SLICE_EMPTY);
	add_references(reply);
	str_addz(&reply->text, "Auto-Submitted: auto-replied\n");
	if (rc == OK)
		rc = VALUE(reply, headers, &more);
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	more = slice_trim(more);
	if (more.len) {
		str_add(&reply->text, more);
		str_addc(&reply->text, '\n');
	}
	str_addc(&reply->text, '\n');
	return OK;
}

/* With the rights of whoever the reply is for. */
static enum rc read_user_file(struct reply *reply, const char *name, struct slice *ret)
{
	struct task *task = reply->sc->task;
	struct stat st;
	size_t got = 0;
	char *bytes;
	int fd;
	enum rc rc;

	if (!reply->who.switched)
		return file_slurp(task, name, FILE_SIZE_MAX, ret, reply->err);
	rc = user_open(task, &reply->who, name, O_RDONLY | O_CLOEXEC, 0, &fd, reply->err);
	if (rc != OK)
		return rc;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > (off_t)FILE_SIZE_MAX) {
		file_close(task->shard, fd);
		return err_set(reply->err, DEFER, "%s is not a regular file, or too large", name);
	}
	bytes = arena_bytes(task->arena, (size_t)st.st_size + 1);
	rc = bytes ? file_read(task, fd, bytes, (size_t)st.st_size, 0, &got, reply->err)
		   : err_memory(reply->err);
	file_close(task->shard, fd);
	if (rc == OK)
		*ret = slice_make(bytes, got, TAINTED);
	return rc;
}

static enum rc add_file(struct reply *reply)
{
	struct slice path, bytes, line, value;
	char *name;
	bool expand_lines = reply->filter ? reply->filter->file_expand : reply->options->file_expand;
	enum rc rc = VALUE(reply, file, &path);

	if (rc != OK || path.len == 0)
		return rc == FAIL ? DEFER : rc;
	path = reply_path(reply, path);
	if (path.ptr[0] != '/' || path.taint == TAINTED)
		return err_set(reply->err, DEFER, "file \"%.*s\" of autoreply is not absolute, or tainted",
			       SLICE_ARG(path));
	name = arena_cstr(reply->sc->task->arena, path);
	if (!name)
		return err_memory(reply->err);
	rc = read_user_file(reply, name, &bytes);
	if (rc == FAIL && (reply->filter ? reply->filter->text.ptr != NULL : reply->options->file_optional))
		return OK;
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	if (!expand_lines) {
		str_add(&reply->text, bytes);
		return OK;
	}
	bytes.taint = CLEAN; /* the administrator's or the user's own words: they are to be expanded */
	while (slice_split(&bytes, '\n', &line)) {
		rc = expand_text(reply->sc, line, &value, reply->err);
		if (rc != OK && !(rc == FAIL && reply->err->forced))
			return rc == FAIL ? DEFER : rc;
		if (rc == OK) {
			str_add(&reply->text, value);
			str_addc(&reply->text, '\n');
		}
	}
	return OK;
}

static enum rc collect(void *arg, struct slice block, struct err *err)
{
	struct reply *reply = arg;

	if (reply->text.len + block.len > RETURN_SIZE_MAX + FILE_SIZE_MAX)
		return OK; /* cut: it is a reminder, not an archive */
	str_add(&reply->text, block);
	return reply->text.failed ? err_memory(err) : OK;
}

static enum rc add_original(struct reply *reply, const struct delivery *delivery)
{
	struct text_writer writer = {
	    .write = collect, .arg = reply, .check = SLICE_EMPTY, .escape = SLICE_EMPTY};
	enum rc rc = text_writer_init(&writer, reply->sc->task->arena, reply->err);

	str_addz(&reply->text,
		 "\n------ This is a copy of the message, including all the headers. ------\n\n");
	if (rc == OK)
		rc =
		    text_writer_message(reply->sc, &reply->options->transport, delivery, &writer, reply->err);
	return rc == OK ? text_writer_flush(&writer, reply->err) : rc;
}

static enum rc make_answer(struct reply *reply, const struct delivery *delivery, const struct slice lists[3])
{
	struct slice text;
	enum rc rc = add_headers(reply, lists);

	if (rc == OK)
		rc = VALUE(reply, text, &text);
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	if (text.len) {
		str_add(&reply->text, text);
		if (text.ptr[text.len - 1] != '\n')
			str_addc(&reply->text, '\n');
	}
	rc = add_file(reply);
	if (rc == OK && (reply->filter ? reply->filter->return_message : reply->options->return_message))
		rc = add_original(reply, delivery);
	return rc == OK && reply->text.failed ? err_memory(reply->err) : rc;
}

/* "log": a few lines for each answer. If they cannot be written, the answer was sent all the same. */
static void write_log(struct reply *reply, const struct slice lists[3])
{
	static const char *const names[] = {"To", "Cc", "Bcc"};
	struct task *task = reply->sc->task;
	struct str text = str_make(task->arena);
	struct err err = err_make(task->arena);
	struct slice path, subject;
	struct iovec iov;
	char *name;
	int fd;

	if (VALUE(reply, log, &path) != OK) {
		log_printf(task->shard, reply->sc->conf, LOG_TO_MAIN, &reply->sc->message->id,
			   "autoreply log: %.*s", SLICE_ARG(reply->err->text));
		return;
	}
	if (path.len == 0)
		return;
	path = reply_path(reply, path);
	name = path.ptr[0] == '/' && path.taint == CLEAN ? arena_cstr(task->arena, path) : NULL;
	date_rfc5322(&text, shard_wall(task->shard) / NS_PER_S);
	str_addc(&text, '\n');
	for (unsigned i = 0; i < 3; i++)
		if (lists[i].len)
			str_printf(&text, "  %s: %.*s\n", names[i], SLICE_ARG(lists[i]));
	if (VALUE(reply, subject, &subject) == OK && subject.len)
		str_printf(&text, "  Subject: %.*s\n", SLICE_ARG(subject));
	iov = (struct iovec){.iov_base = text.ptr, .iov_len = text.len};
	if (!name || text.failed ||
	    user_open(task, &reply->who, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
		      (mode_t)reply->options->mode, &fd, &err) != OK) {
		log_printf(task->shard, reply->sc->conf, LOG_TO_MAIN, &reply->sc->message->id,
			   "autoreply log \"%.*s\": %.*s", SLICE_ARG(path), SLICE_ARG(err.text));
		return;
	}
	if (file_writev(task, fd, &iov, 1, UINT64_MAX, &err) != OK)
		log_printf(task->shard, reply->sc->conf, LOG_TO_MAIN, &reply->sc->message->id,
			   "autoreply log \"%.*s\": %.*s", SLICE_ARG(path), SLICE_ARG(err.text));
	file_close(task->shard, fd);
}

/* OK also when there was nobody to answer; *sent_ret tells. */
static enum rc answer(struct reply *reply, const struct delivery *delivery, bool *sent_ret)
{
	struct transport_shard *state = transport_shard(reply->sc->task->shard);
	struct slice lists[3], set, who;
	struct submission submission;
	bool before = false, limited;
	enum rc rc =
	    identity_find(reply->sc, &reply->options->transport, reply->sc->address, &reply->who, reply->err);

	*sent_ret = false;
	if (rc == OK)
		rc = add_recipients(reply, reply->options->to, offsetof(struct filter_reply, to), &lists[0]);
	if (rc == OK)
		rc = add_recipients(reply, reply->options->cc, offsetof(struct filter_reply, cc), &lists[1]);
	if (rc == OK)
		rc =
		    add_recipients(reply, reply->options->bcc, offsetof(struct filter_reply, bcc), &lists[2]);
	if (rc != OK || reply->recipient_count == 0)
		return rc;
	/* A filter has its own condition for that. */
	if (!reply->filter && is_automatic(reply->sc->message) && only_to_sender(reply))
		return OK;
	rc = once_names(reply, &set, &who);
	limited = !reply->filter && reply->options->once_file_size > 0;
	if (rc == OK && set.ptr)
		rc = limited ? set_answered_before(reply, set, who, &before)
			     : answered_before(reply, once_key(reply, set, who), &before);
	if (rc != OK || before)
		return rc;
	rc = make_answer(reply, delivery, lists);
	if (rc != OK)
		return rc;
	if (!state || !state->submit.submit)
		return err_set(reply->err, DEFER, "this process cannot submit messages");
	submission = (struct submission){.sender = SLICE_EMPTY,
					 .recipients = reply->recipients,
					 .recipient_count = reply->recipient_count,
					 .text = str_slice(&reply->text),
					 .about = reply->sc->message,
					 .uid = reply->who.uid,
					 .gid = reply->who.gid};
	rc = state->submit.submit(state->submit.arg, reply->sc, &submission, reply->err);
	if (rc == OK && set.ptr && limited)
		set_remember(reply, set, who);
	else if (rc == OK && set.ptr)
		remember(reply, once_key(reply, set, who));
	*sent_ret = rc == OK;
	if (rc == OK)
		write_log(reply, lists);
	return rc;
}

static void autoreply_deliver(struct scope *sc, const struct transport *transport, struct delivery *delivery)
{
	struct err err = err_make(sc->task->arena);
	struct reply *reply = arena_make(sc->task->arena, struct reply);
	bool sent = false;
	enum rc rc = DEFER;

	if (reply) {
		*reply = (struct reply){.sc = sc,
					.options = (const R *)transport,
					.err = &err,
					.text = str_make(sc->task->arena),
					.filter = sc->address->action ? sc->address->action->reply : NULL};
		rc = answer(reply, delivery, &sent);
	}
	if (rc == OK)
		outcome_all(sc, delivery, OK, "%s", "");
	else
		outcome_all_err(sc, delivery, rc == FAIL ? FAIL : DEFER, &err, NULL);
}

static const struct transport_ops autoreply_ops = {.deliver = autoreply_deliver, .local = true};
const struct conf_driver transport_autoreply_driver = {
    .name = "autoreply",
    .size = sizeof(R),
    .options = autoreply_options,
    .option_count = ARRAY_COUNT(autoreply_options),
    .check = autoreply_check,
    .ops = &autoreply_ops,
};
