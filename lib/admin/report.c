/* report: a message that was refused as it was handed in goes back to its sender, with the reason (-oem, -oee). */
#include "admin/admin.h"

#define COPY_MAX (100u * 1024) /* of the message: as much as a bounce brings back by default */

static bool write_text(struct str *text, const struct smtp_submission *refused, struct slice to,
		       struct slice domain, struct slice why)
{
	struct slice copy = slice_sub(refused->text, 0, COPY_MAX);

	str_printf(
	    text, "Auto-Submitted: auto-replied\nFrom: Mail Delivery System <Mailer-Daemon@%.*s>\nTo: %.*s\n",
	    SLICE_ARG(domain), SLICE_ARG(to));
	str_printf(
	    text,
	    "Subject: Mail failure - message refused\n\nA message that you handed in on this host was not accepted:\n\n"
	    "  %.*s\n\n",
	    SLICE_ARG(why));
	if (copy.len < refused->text.len)
		str_printf(text, "------ These are its first %u bytes. ------\n\n", COPY_MAX);
	else
		str_addz(text, "------ This is a copy of it, with its header. ------\n\n");
	str_add(text, copy);
	return !text->failed;
}

enum rc submission_report(struct task *task, struct smtp_server *server, const struct conf *conf,
			  const struct smtp_submission *refused, struct slice why, struct err *err)
{
	const struct conf_main *o = conf_main(conf);
	struct slice to = refused->trusted && refused->sender.ptr ? refused->sender : refused->login;
	struct str text = str_make(task->arena);
	const struct smtp_told told = {.queue_only = refused->told && refused->told->queue_only,
				       .queue_smtp = refused->told && refused->told->queue_smtp};
	struct smtp_submission report = {
	    .sender = SLICE("<>"),
	    .recipients = &to,
	    .recipient_count = 1,
	    .login = refused->login,
	    .full_name = SLICE_EMPTY,
	    .uid = refused->uid,
	    .gid = refused->gid,
	    .trusted = true,
	    .told = &told,
	};
	struct message_id id;

	if (!to.len || slice_eq(to, SLICE("<>")))
		return err_set(err, FAIL, "there is no sender to send a report to");
	if (!write_text(&text, refused, to, o->qualify_domain, why))
		return err_memory(err);
	report.text = str_slice(&text);
	return smtp_submit(task, server, &report, &id, err);
}
