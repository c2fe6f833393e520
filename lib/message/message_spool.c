/* Messages to and from the spool. */
#include "message/message.h"

enum rc message_commit(struct task *task, struct spool *spool, struct message *message, struct err *err)
{
	struct body *body = &message->body;
	struct str str = str_make(task->arena);
	struct spool_entry *entry;
	struct iovec iov;
	enum rc rc;

	rc = envelope_write(message, &str);
	if (rc == FAIL)
		return err_set(err, FAIL, "an address has a line end in it");
	if (rc != OK)
		return err_memory(err);
	iov = (struct iovec){str.ptr, str.len};
	rc = spool_commit(task, spool, &message->id, message->received / NS_PER_S, &iov, 1, body->spill,
			  body->frags, body->frag_count, &entry, err);
	if (rc != OK)
		return rc;
	body->spill = NULL; /* it is the entry's now */
	message->entry = entry;
	message->spool = spool;
	return OK;
}

enum rc message_load(struct task *task, struct spool *spool, struct spool_entry *entry, struct conf *conf,
		     struct message **message_ret, struct err *err)
{
	struct message *message;
	struct slice text;
	enum rc rc;

	rc = spool_envelope(task, spool, entry, &text, err);
	if (rc != OK)
		return rc;
	message = message_new(conf, 0);
	if (!message)
		return err_memory(err);
	rc = envelope_read(message, text, err);
	if (rc != OK) {
		message_unref(message);
		return rc;
	}
	message->spool = spool;
	message->entry = entry;
	message->deliver_firsttime &= entry->outcome_count == 0;
	message->body.size = entry->body_len;
	message->body.in_memory = entry->body_len == 0;
	*message_ret = message;
	return OK;
}
