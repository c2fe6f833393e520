/* The appendfile transport: its options, where the message goes, and writing it; the formats have files of their own. */
#include "appendfile.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define A struct appendfile
/* Said to the owner of a mailbox that has grown past quota_warn_threshold. */
#define DEFAULT_WARNING                                                                                                 \
	"To: $local_part@$domain\\nSubject: Your mailbox\\n\\nThis message is written by the mail system itself.\\n\\n" \
	"Your mailbox has grown past the size at which\\nthe administrator wants you to be told of it.\\n"

static const struct conf_option appendfile_options[] = {
    OPT_BOOL(A, allow_fifo, "no", "the file may be a named pipe that somebody reads"),
    OPT_BOOL(A, allow_symlink, "no", "the file may be a symbolic link"),
    OPT_EXPAND(A, batch_id, NULL, "addresses with equal values may go together"),
    OPT_INT(A, batch_max, "1", "addresses at a time"),
    OPT_BOOL(A, check_group, "no", "the file's group must be the delivery's"),
    OPT_BOOL(A, check_owner, "yes", "the file's owner must be the delivery's"),
    OPT_STRING(A, check_string, NULL, "what lines must not begin with"),
    OPT_BOOL(A, create_directory, "yes", "make missing directories"),
    OPT_STRING(A, create_file, "anywhere", "where files may be made"),
    OPT_EXPAND(A, directory, NULL, "a new file in here"),
    OPT_EXPAND(A, directory_file, "q${base62:$tod_epoch}-$inode",
	       "its name, if neither maildir nor mailstore"),
    OPT_OCTAL(A, directory_mode, "0700", "of new directories"),
    OPT_STRING(A, escape_string, NULL, "what stands in the place of check_string"),
    OPT_EXPAND(A, file, NULL, "append to this file"),
    OPT_STRING(A, file_format, NULL, "transports for files that begin with certain bytes"),
    OPT_BOOL(A, file_must_exist, "no", "do not make the file"),
    OPT_TIME(A, lock_fcntl_timeout, "0s", "wait for a lock so long"),
    OPT_TIME(A, lock_flock_timeout, "0s", "wait for a lock so long"),
    OPT_TIME(A, lock_interval, "3s", "between attempts"),
    OPT_INT(A, lock_retries, "10", "attempts"),
    OPT_OCTAL(A, lockfile_mode, "0600", "of the lock file"),
    OPT_TIME(A, lockfile_timeout, "30m", "older lock files are forgotten ones"),
    OPT_EXPAND(A, mailbox_filecount, NULL, "how many files the mailbox holds"),
    OPT_EXPAND(A, mailbox_size, NULL, "how large it is"),
    OPT_BOOL(A, maildir_format, "no", "the directory is a maildir"),
    OPT_STRING(A, maildir_quota_directory_regex, "^(?:cur|new|\\..*)$", "directories that count"),
    OPT_INT(A, maildir_retries, "10", "attempts to find a free name"),
    OPT_EXPAND(A, maildir_tag, NULL, "goes behind the name"),
    OPT_BOOL(A, maildir_use_size_file, "no", "keep a maildirsize file"),
    OPT_STRING(A, maildirfolder_create_regex, NULL, "directories that are folders"),
    OPT_BOOL(A, mailstore_format, "no", "two files: envelope and message"),
    OPT_EXPAND(A, mailstore_prefix, NULL, "first line of the envelope file"),
    OPT_EXPAND(A, mailstore_suffix, NULL, "its last line"),
    OPT_BOOL(A, mbx_format, "no", "the MBX format"),
    OPT_EXPAND(A, message_prefix, NULL, "before the message"),
    OPT_EXPAND(A, message_suffix, NULL, "behind it"),
    OPT_OCTAL(A, mode, "0600", "of the file"),
    OPT_BOOL(A, mode_fail_narrower, "yes", "a file that others may not read enough defers"),
    OPT_LATER(A, notify_comsat, bool, &conf_bool, "no", "nobody runs comsat any more"),
    OPT_EXPAND(A, quota, NULL, "bytes; K, M, G"),
    OPT_EXPAND(A, quota_directory, NULL, "where they are counted"),
    OPT_EXPAND(A, quota_filecount, "0", "files"),
    OPT_BOOL(A, quota_is_inclusive, "yes", "the new message counts too"),
    OPT_STRING(A, quota_size_regex, NULL, "finds the size in a file's name"),
    OPT_EXPAND(A, quota_warn_message, NULL, "sent when the threshold is passed"),
    OPT_EXPAND(A, quota_warn_threshold, "0", "bytes, or % of the quota"),
    OPT_BOOL(A, use_bsmtp, "no", "as batch SMTP"),
    OPT_BOOL(A, use_crlf, "no", "lines end in CRLF"),
    OPT_BOOL(A, use_fcntl_lock, NULL, "lock with fcntl()"),
    OPT_BOOL(A, use_flock_lock, "no", "lock with flock()"),
    OPT_BOOL(A, use_lockfile, NULL, "lock with a file"),
    OPT_BOOL(A, use_mbx_lock, NULL, "lock as MBX does"),
};

static bool was_set(const A *a, const char *name)
{
	return transport_option_was_set(&a->transport, name);
}

static enum rc check_locks(A *a, struct err *err)
{
	if (!was_set(a, "use_fcntl_lock"))
		a->use_fcntl_lock = !was_set(a, "use_flock_lock") || !a->use_flock_lock;
	if (!was_set(a, "use_lockfile"))
		a->use_lockfile = true;
	if (a->file && !a->use_fcntl_lock && !a->use_flock_lock && !a->use_lockfile)
		return err_set(err, FAIL, "no locking configured");
	return OK;
}

/* The separators of BSD mailboxes are for single files only. */
static bool check_texts(struct conf *conf, A *a)
{
	bool single = !a->directory && !a->maildir_format && !a->mailstore_format;

	if (a->use_bsmtp) {
		a->check_string = SLICE(".");
		a->escape_string = SLICE("..");
		return true;
	}
	if (!single)
		return true;
	if (!was_set(a, "check_string") && !was_set(a, "escape_string")) {
		a->check_string = SLICE("From ");
		a->escape_string = SLICE(">From ");
	}
	if (!was_set(a, "message_prefix"))
		a->message_prefix =
		    expand_compile(conf->language, &conf->arena,
				   SLICE("From ${if def:return_path{$return_path}{MAILER-DAEMON}} "
					 "${tod_bsdinbox}\\n"));
	if (!was_set(a, "message_suffix"))
		a->message_suffix = expand_compile(conf->language, &conf->arena, SLICE("\\n"));
	return a->message_prefix && a->message_suffix;
}

static enum rc check_create_file(A *a, struct err *err)
{
	if (slice_eq(a->create_file, SLICE("anywhere")))
		a->create_policy = CREATE_ANYWHERE;
	else if (slice_eq(a->create_file, SLICE("inhome")))
		a->create_policy = CREATE_IN_HOME;
	else if (slice_eq(a->create_file, SLICE("belowhome")))
		a->create_policy = CREATE_BELOW_HOME;
	else if (a->create_file.len && a->create_file.ptr[0] == '/')
		a->create_policy = CREATE_BELOW_PATH;
	else
		return err_set(err, FAIL, "invalid value given for \"file_create\" (create_file): \"%.*s\"",
			       SLICE_ARG(a->create_file));
	return OK;
}

static enum rc compile(struct conf *conf, struct slice text, const struct regex **ret, struct err *err)
{
	return text.ptr && text.len ? regex_compile(&conf->arena, text, 0, ret, err) : OK;
}

static enum rc appendfile_check(struct conf *conf, void *instance, struct err *err)
{
	A *a = instance;
	enum rc rc;

	if (a->file && a->directory)
		return err_set(err, FAIL, "only one of \"file\" or \"directory\" can be specified");
	if (a->maildir_format && a->mailstore_format)
		return err_set(err, FAIL, "only one of maildir_format and mailstore_format may be specified");
	if (a->mbx_format || a->use_mbx_lock)
		return err_set(err, FAIL,
			       "the MBX format and its locking are not supported: use maildir_format");
	if (a->file_format.ptr)
		return err_set(err, FAIL, "file_format is not supported yet");
	rc = check_locks(a, err);
	if (rc == OK)
		rc = check_create_file(a, err);
	if (rc != OK)
		return rc;
	if (!check_texts(conf, a))
		return err_memory(err);
	if (compile(conf, a->maildirfolder_create_regex, &a->folder_regex, err) != OK ||
	    compile(conf, a->quota_size_regex, &a->size_regex, err) != OK ||
	    compile(conf, a->maildir_quota_directory_regex, &a->directory_regex, err) != OK)
		return FAIL;
	if (!a->quota_warn_message)
		a->quota_warn_message = expand_compile(conf->language, &conf->arena, SLICE(DEFAULT_WARNING));
	if (!a->quota_warn_message)
		return err_memory(err);
	a->transport.batch_id = a->batch_id;
	a->transport.batch_max = a->batch_max;
	return OK;
}

/* ---- Where ---------------------------------------------------------------------------------------------------------- */

static bool path_has_dots(struct slice path)
{
	return slice_search(path, SLICE("/../")) >= 0 || slice_ends(path, SLICE("/.."));
}

/* Is the path inside the directory? below: it may not climb out with "..". */
static bool path_inside(struct slice path, struct slice directory, bool below)
{
	while (directory.len > 1 && directory.ptr[directory.len - 1] == '/')
		directory.len--;
	if (directory.len == 0 || !slice_starts(path, directory))
		return false;
	if (path.len > directory.len && path.ptr[directory.len] != '/' && directory.len > 1)
		return false;
	return !below || !path_has_dots(path);
}

enum rc append_may_create(struct append *append, const char *path)
{
	const A *a = append->options;
	struct slice home = append->sc->address->home;

	if (a->create_policy == CREATE_ANYWHERE)
		return OK;
	if (a->create_policy == CREATE_BELOW_PATH)
		home = a->create_file;
	if (home.ptr && path_inside(slice_of(path), home, a->create_policy != CREATE_IN_HOME))
		return OK;
	return fault(append->err, FAULT_CREATE,
		     "mailbox %s does not exist, but creation outside the %s is not permitted", path,
		     a->create_policy == CREATE_BELOW_PATH ? "directory that create_file names"
							   : "home directory");
}

/* The option's value, or what redirection said. *tainted: it was made from a stranger's bytes. */
/* A filter may name a file without its directory: that is the home, or the root. */
static struct slice absolute_path(struct scope *sc)
{
	struct slice path = sc->address->file, home = sc->address->home, full;

	if (!sc->address->action || (path.len && path.ptr[0] == '/'))
		return path;
	full = arena_printf(sc->task->arena, "%.*s/%.*s", (int)(home.ptr ? home.len : 0),
			    home.ptr ? home.ptr : "", SLICE_ARG(path));
	full.taint = path.taint | (home.ptr ? home.taint : CLEAN);
	return full;
}

static enum rc find_path(struct append *append)
{
	const A *a = append->options;
	struct scope *sc = append->sc;
	const struct expansion *option = a->directory ? a->directory : a->file;
	struct slice path;
	enum rc rc;

	append->mode =
	    (mode_t)(sc->address->action && sc->address->action->mode >= 0 ? sc->address->action->mode & 0777
									   : a->mode);
	append->is_directory = a->directory || a->maildir_format || a->mailstore_format;
	if (option) {
		rc = expand(sc, option, &path, append->err);
		if (rc != OK) {
			if (rc == CANCELLED)
				return rc;
			return fault(
			    append->err, FAULT_UNKNOWN,
			    "Expansion of \"%.*s\" (file or directory name for %.*s transport) failed: %.*s",
			    SLICE_ARG(expansion_text(option)), SLICE_ARG(a->transport.instance.name),
			    SLICE_ARG(append->err->text));
		}
	} else if (sc->address->file.ptr) {
		path = absolute_path(sc);
		if (!path.ptr)
			return err_memory(append->err);
		append->is_directory |= path.len && path.ptr[path.len - 1] == '/';
	} else {
		return fault(append->err, FAULT_UNKNOWN,
			     "Mandatory file or directory option missing from %.*s transport",
			     SLICE_ARG(a->transport.instance.name));
	}
	if (path.len == 0 || path.ptr[0] != '/' || memchr(path.ptr, 0, path.len))
		return fault(append->err, FAULT_NOT_ABSOLUTE,
			     "appendfile: file or directory name \"%.*s\" is not absolute", SLICE_ARG(path));
	if (path.taint == TAINTED &&
	    !((a->create_policy == CREATE_BELOW_HOME && sc->address->home.ptr &&
	       path_inside(path, sc->address->home, true)) ||
	      (a->create_policy == CREATE_BELOW_PATH && path_inside(path, a->create_file, true))))
		return fault(append->err, FAULT_UNKNOWN,
			     "Tainted '%.*s' (file or directory name for %.*s transport) not permitted",
			     SLICE_ARG(path), SLICE_ARG(a->transport.instance.name));
	while (path.len > 1 && path.ptr[path.len - 1] == '/')
		path.len--;
	append->path = arena_cstr(sc->task->arena, path);
	return append->path ? OK : err_memory(append->err);
}

enum rc append_make_directory(struct append *append, const char *path)
{
	char *part = arena_cstr(append->sc->task->arena, slice_of(path));
	mode_t mode = (mode_t)append->options->directory_mode;
	enum rc rc;

	if (!part)
		return err_memory(append->err);
	if (!append->options->create_directory)
		return fault(append->err, ENOENT,
			     "directory %s does not exist and create_directory is not set", path);
	rc = append_may_create(append, path);
	if (rc != OK)
		return rc;
	rc = user_mkdir(append->sc->task, &append->who, part, mode, append->err);
	if (rc == FAIL && append->err->os == ENOENT) {
		for (char *slash = part; (slash = strchr(slash + 1, '/'));) {
			*slash = '\0';
			rc = user_mkdir(append->sc->task, &append->who, part, mode, append->err);
			*slash = '/';
			if (rc != OK && append->err->os != EEXIST && append->err->os != EACCES &&
			    append->err->os != EROFS)
				return rc == FAIL ? DEFER : rc;
		}
		rc = user_mkdir(append->sc->task, &append->who, part, mode, append->err);
	}
	if (rc == FAIL && append->err->os == EEXIST)
		return OK;
	if (rc == FAIL)
		rc = fault(append->err, append->err->os, "failed to create directories for %s", path);
	return rc;
}

/* ---- Writing ---------------------------------------------------------------------------------------------------------- */

struct slice substitute_number(struct arena *arena, struct slice text, const char *name, uint64_t number)
{
	struct slice plain = arena_printf(arena, "$%s", name), braced = arena_printf(arena, "${%s}", name);
	struct str out = str_make(arena);

	if (!plain.ptr || !braced.ptr)
		return (struct slice){NULL, 0, CLEAN};
	while (text.len > 0) {
		if (slice_starts(text, braced) ||
		    (slice_starts(text, plain) &&
		     (text.len == plain.len ||
		      (!ascii_is_alnum(text.ptr[plain.len]) && text.ptr[plain.len] != '_')))) {
			str_addu(&out, number);
			text = slice_from(text, text.ptr[1] == '{' ? braced.len : plain.len);
		} else {
			str_addc(&out, text.ptr[0]);
			text = slice_from(text, 1);
		}
	}
	return str_slice(&out);
}

static enum rc write_block(void *arg, struct slice block, struct err *err)
{
	struct append *append = arg;
	struct iovec iov = {(void *)(uintptr_t)block.ptr, block.len};

	return file_writev(append->sc->task, append->fd, &iov, 1, UINT64_MAX, err);
}

static enum rc write_option(struct append *append, const struct expansion *option, const char *name)
{
	struct slice text;
	enum rc rc = expand_option(append->sc, option, &text, append->err);

	if (rc != OK) {
		err_prefix(append->err, "expansion of %s failed", name);
		return rc == FAIL ? DEFER : rc;
	}
	return text.len ? text_writer_add_raw(&append->writer, text, append->err) : OK;
}

/* The envelope as SMTP commands, for use_bsmtp. */
static enum rc write_bsmtp(struct append *append)
{
	const char *end = append->options->use_crlf ? "\r\n" : "\n";
	struct str out = str_make(append->sc->task->arena);
	struct slice path;
	enum rc rc = delivery_return_path(append->sc, &append->options->transport, &path, append->err);

	if (rc != OK)
		return rc;
	str_printf(&out, "MAIL FROM:<%.*s>%s", SLICE_ARG(path), end);
	for (unsigned i = 0; i < append->delivery->count; i++) {
		struct slice to = rcpt_address(append->sc->task->arena, &append->options->transport,
					       append->delivery->addresses[i]);
		str_printf(&out, "RCPT TO:<%.*s>%s", SLICE_ARG(to), end);
	}
	str_printf(&out, "DATA%s", end);
	return out.failed ? err_memory(append->err)
			  : text_writer_add_raw(&append->writer, str_slice(&out), append->err);
}

static void say_where(struct append *append)
{
	struct err *err = append->err;
	int os = err->os;

	if (os == FAULT_FILTER)
		(void)err_set(err, DEFER, "%.*s while writing to %s", SLICE_ARG(err->text), append->path);
	else if (os == ETIMEDOUT)
		(void)fault(err, os, "error while writing to %s", append->path);
	err->os = os;
}

enum rc append_write(struct append *append)
{
	const A *a = append->options;
	enum rc rc;

	append->writer = (struct text_writer){
	    .write = write_block,
	    .arg = append,
	    .crlf = a->use_crlf,
	    .check = a->check_string.ptr && a->escape_string.ptr ? a->check_string : SLICE_EMPTY,
	    .escape = a->escape_string.ptr ? a->escape_string : SLICE_EMPTY,
	};
	rc = text_writer_init(&append->writer, append->sc->task->arena, append->err);
	if (rc == OK)
		rc = write_option(append, a->message_prefix, "message_prefix");
	if (rc == OK && a->use_bsmtp)
		rc = write_bsmtp(append);
	if (rc == OK)
		rc = text_writer_message(append->sc, &a->transport, append->delivery, &append->writer,
					 append->err);
	if (rc == OK)
		rc = write_option(append, a->message_suffix, "message_suffix");
	if (rc == OK && a->use_bsmtp)
		rc = text_writer_add_raw(&append->writer, a->use_crlf ? SLICE(".\r\n") : SLICE(".\n"),
					 append->err);
	if (rc == OK)
		rc = text_writer_flush(&append->writer, append->err);
	append->size = append->writer.written;
	if (rc == FAIL || rc == DEFER)
		say_where(append);
	return rc == FAIL ? DEFER : rc;
}

/* ---- The delivery ------------------------------------------------------------------------------------------------------- */

static enum rc deliver_to_place(struct append *append)
{
	const A *a = append->options;
	enum rc rc = find_path(append);

	if (rc != OK)
		return rc;
	if (strcmp(append->path, "/dev/null") == 0)
		return OK;
	rc = identity_find(append->sc, &a->transport, append->sc->address, &append->who, append->err);
	if (rc == OK)
		rc = quota_check(append);
	if (rc != OK)
		return rc;
	if (!append->is_directory)
		rc = mailbox_deliver(append);
	else if (a->mailstore_format)
		rc = mailstore_deliver(append);
	else if (a->maildir_format)
		rc = maildir_deliver(append);
	else
		rc = directory_deliver(append);
	if (rc == OK)
		quota_delivered(append);
	if (rc == OK)
		quota_warn(append);
	return rc;
}

enum { SHOW_QUOTA = -22 }; /* what the log shows for a quota of ours, as administrators know it */

static void appendfile_deliver(struct scope *sc, const struct transport *transport, struct delivery *delivery)
{
	struct err err = err_make(sc->task->arena);
	struct append append = {
	    .sc = sc, .options = (const A *)transport, .delivery = delivery, .fd = -1, .err = &err};
	enum rc rc = deliver_to_place(&append);
	bool quota = append.quota_exceeded || err.os == EDQUOT || err.os == ENOSPC;
	int64_t unread_s = quota && rc != OK ? quota_unread(&append) : 0;

	if (rc == OK)
		outcome_all(sc, delivery, OK, "%s", "");
	else
		outcome_all(sc, delivery, rc == FAIL ? FAIL : DEFER, "%.*s", SLICE_ARG(err.text));
	for (unsigned i = 0; i < delivery->count; i++) {
		delivery->outcomes[i].os = rc == OK ? 0 : append.quota_exceeded ? SHOW_QUOTA : err.os;
		if (rc != OK && append.quota_exceeded) /* its path is for the log */
			delivery->outcomes[i].user_message = SLICE("mailbox is full");
		delivery->outcomes[i].size = append.size;
		delivery->outcomes[i].error = quota && rc != OK ? RETRY_ERROR_QUOTA : RETRY_ERROR_NONE;
		delivery->outcomes[i].unread_s = unread_s;
		delivery->outcomes[i].scope = DEFER_ADDRESS;
	}
}

enum rc appendfile_room(struct scope *sc, const A *options, struct err *err)
{
	struct append append = {.sc = sc, .options = options, .fd = -1, .err = err, .verify = true};
	enum rc rc = find_path(&append);

	if (rc == OK && strcmp(append.path, "/dev/null") == 0)
		return OK;
	if (rc == OK && sc->dry_run) /* -bh has no helper, and looks as whoever called it */
		append.who = (struct identity){
		    .uid = geteuid(), .gid = getegid(), .name = SLICE_EMPTY, .home = SLICE_EMPTY};
	else if (rc == OK)
		rc = identity_find(sc, &options->transport, sc->address, &append.who, err);
	if (rc == OK)
		rc = quota_check(&append);
	if (rc == OK || rc == CANCELLED)
		return rc;
	return append.quota_exceeded ? FAIL : DEFER;
}

static const struct transport_ops appendfile_ops = {.deliver = appendfile_deliver, .local = true};
const struct conf_driver transport_appendfile_driver = {
    .name = "appendfile",
    .size = sizeof(A),
    .options = appendfile_options,
    .option_count = ARRAY_COUNT(appendfile_options),
    .check = appendfile_check,
    .ops = &appendfile_ops,
};

bool transport_is_appendfile(const struct transport *transport)
{
	return transport->instance.driver == &transport_appendfile_driver;
}

const struct conf_feature transport_features[] = {
    {"_HAVE_TRANSPORT_APPEND_MAILDIR", NULL},
    {"_HAVE_TRANSPORT_APPEND_MAILSTORE", NULL},
    {NULL, NULL},
};
