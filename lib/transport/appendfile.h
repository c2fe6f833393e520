/* The appendfile transport, shared by its formats. */
#ifndef TRANSPORT_APPENDFILE_H
#define TRANSPORT_APPENDFILE_H

#include "helper.h"

enum create_file { CREATE_ANYWHERE, CREATE_IN_HOME, CREATE_BELOW_HOME, CREATE_BELOW_PATH };

struct appendfile {
	struct transport transport;
	bool allow_fifo, allow_symlink, check_group, check_owner, create_directory, file_must_exist,
	    maildir_format;
	bool maildir_use_size_file, mailstore_format, mbx_format, mode_fail_narrower, notify_comsat,
	    quota_is_inclusive;
	bool use_bsmtp, use_crlf, use_fcntl_lock, use_flock_lock, use_lockfile, use_mbx_lock;
	const struct expansion *batch_id, *directory, *directory_file, *file, *mailbox_filecount,
	    *mailbox_size, *maildir_tag;
	const struct expansion *mailstore_prefix, *mailstore_suffix, *message_prefix, *message_suffix, *quota,
	    *quota_directory;
	const struct expansion *quota_filecount, *quota_warn_message, *quota_warn_threshold;
	struct slice check_string, escape_string, create_file, file_format, maildir_quota_directory_regex;
	struct slice maildirfolder_create_regex, quota_size_regex;
	int64_t batch_max, directory_mode, lock_fcntl_timeout, lock_flock_timeout, lock_interval,
	    lock_retries;
	int64_t lockfile_mode, lockfile_timeout, maildir_retries, mode;
	enum create_file create_policy;
	const struct regex *folder_regex, *size_regex, *directory_regex; /* NULL: none */
};

/* One delivery of a batch into one place. */
struct append {
	struct scope *sc;
	const struct appendfile *options;
	struct delivery *delivery;
	struct identity who;
	const char *path; /* of the file, or of the directory without a final slash */
	bool is_directory, is_fifo;
	mode_t mode; /* of the file: the option's, or what a filter asked for */
	struct text_writer writer;
	int fd;
	uint64_t size; /* bytes written */
	struct err *err;
	bool quota_exceeded, quota_bypassed;
	uint64_t size_before;  /* bytes of the mailbox before this message, when somebody wants to know */
	uint64_t quota;        /* bytes; 0: none */
	bool verify;           /* nothing will be written: nothing is made either */
	const char *size_file; /* maildirsize, to be told of the message; NULL: none */
};

/* Each: OK delivered; FAIL, DEFER: append->err says why. */
enum rc maildir_deliver(struct append *append);
enum rc mailstore_deliver(struct append *append);
enum rc directory_deliver(struct append *append);
enum rc mailbox_deliver(struct append *append);

/* The whole of the message, with prefix and suffix, into append->fd. */
enum rc append_write(struct append *append);
/* Makes the directory and what is missing above it, if that is allowed. */
enum rc append_make_directory(struct append *append, const char *path);
/* May a file or directory be made here (create_file)? */
enum rc append_may_create(struct append *append, const char *path);
/* The quota of the mailbox, before the message goes into it. FAIL: it is full. */
enum rc quota_check(struct append *append);
/* The same for the message as its sender announced it, and sc->address. FAIL: it is full. */
enum rc appendfile_room(struct scope *sc, const struct appendfile *options, struct err *err);
bool transport_is_appendfile(const struct transport *transport);
/* home_directory stands before what the router set, for the transport's options and as the place to be. */
enum rc transport_set_home(struct scope *sc, const struct transport *transport, struct err *err);
/* After the message has gone in: for the maildirsize file. */
void quota_delivered(struct append *append);
/* Is there a threshold to look at? */
bool quota_warns(const struct appendfile *options);
/* Tells the owner, if this message has made the mailbox larger than quota_warn_threshold. Parks. */
void quota_warn(struct append *append);
/* Over quota: for how many seconds has nobody looked into the mailbox? 0, or less: not known. Parks. */
int64_t quota_unread(struct append *append);
/* In an expansion's text, $name and ${name} by a number: for variables that exist in this one option only. */
struct slice substitute_number(struct arena *arena, struct slice text, const char *name, uint64_t number);

#endif
