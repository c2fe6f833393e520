/* What the files of the redirect router share: its options, and the work on one list or filter. */
#ifndef ROUTE_REDIRECT_H
#define ROUTE_REDIRECT_H

#include "redirect_list.h"
#include "routing.h"

struct redirect {
	struct router router;
	bool allow_defer, allow_fail, allow_filter, allow_freeze, check_ancestor, check_group, check_owner;
	bool filter_prepend_home, forbid_blackhole, forbid_exim_filter, forbid_file, forbid_filter_dlfunc;
	bool forbid_filter_existstest, forbid_filter_logwrite, forbid_filter_lookup, forbid_filter_perl;
	bool forbid_filter_readfile, forbid_filter_readsocket, forbid_filter_reply, forbid_filter_run,
	    forbid_include;
	bool forbid_pipe, forbid_sieve_filter, forbid_smtp_code, hide_child_in_errmsg, ignore_eacces,
	    ignore_enotdir;
	bool one_time, qualify_preserve_domain, rewrite, skip_syntax_errors;
	const struct expansion *data, *file, *directory_transport, *file_transport, *pipe_transport,
	    *reply_transport;
	const struct expansion *qualify_domain, *syntax_errors_text;
	const struct expansion *sieve_enotify_mailto_owner, *sieve_inbox, *sieve_subaddress,
	    *sieve_useraddress;
	const struct expansion *sieve_vacation_directory;
	struct slice include_directory, syntax_errors_to;
	struct conf_id_list owners, owngroups;
	int64_t modemask;
	struct slice srs; /* "forward", "reverse", "reverseandforward"; empty: none */
	const struct expansion *srs_alias, *srs_condition, *srs_dbinsert, *srs_dbselect;
};

/* What the whole list comes to. */
enum verdict { LIST_EMPTY, LIST_CHILDREN, LIST_BLACKHOLE, LIST_DECLINE, LIST_DEFER, LIST_FAIL, LIST_ERROR };

struct interpretation {
	struct routing *r;
	const struct redirect *d;
	unsigned depth; /* of includes */
	unsigned children;
	struct link made;   /* the new addresses */
	struct str skipped; /* syntax errors that were left out */
	struct file_reader reader;
};

/* Leaves the words for log and bounce behind "error in redirect data: ". */
enum verdict redirect_broken(struct interpretation *in, const char *format, ...) PRINTF_LIKE(2, 3);

/* redirect.c: one of the new addresses, taken into in->made. LIST_CHILDREN, or what went wrong. */
enum verdict redirect_add_address(struct interpretation *in, const struct redirect_item *item,
				  struct address **child_ret);
enum verdict redirect_add_delivery(struct interpretation *in, const struct redirect_item *item,
				   struct address **child_ret);
void redirect_add_child(struct interpretation *in, struct address *child);
/* A child for a delivery of its own, with what it needs from its parent. NULL: r->out->message tells. */
struct address *redirect_delivery_child(struct interpretation *in, struct slice full,
					const struct expansion *option, const char *option_name);
/* What was left out, for the log and syntax_errors_to. */
void redirect_report_skipped(struct interpretation *in);
/* A plain list of addresses, as queryprogram has them: no files, pipes or includes. Parks. */
enum route_result redirect_to_list(struct routing *r, struct slice text);
/* redirect_srs.c: the address being routed taken for a rewritten sender, and the sender rewritten, as the option srs says. Before
 * the data is expanded. *sender_ret: the new return path; ptr NULL: as it was. ROUTE_ACCEPT: go on; else what the router
 * answers. Parks. */
enum route_result redirect_srs(struct routing *r, const struct redirect *d, struct slice *sender_ret);
/* redirect_filter.c: the data is a filter. Parks. */
enum route_result redirect_run_filter(struct interpretation *in, enum filter_language language,
				      struct slice text);

#endif
