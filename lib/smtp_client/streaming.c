/* A message that is sent on while it still comes in: the envelope was said command by command (smtp_command()), DATA asks for
 * the text, and each piece goes out as it is there. Only when the end was answered is anything settled; a connection that is
 * left before that is closed in the middle of the data, so that the server forgets what it has. */
#include "connection.h"

#define IOV_MAX_OUT 64

enum rc smtp_data_begin(struct scope *sc, struct smtp_connection *c, struct smtp_reply *reply_ret,
			struct err *err)
{
	enum rc rc = connection_command(sc->task, c, SLICE("DATA"), SLICE("DATA"), reply_ret, err);

	if (rc != OK)
		return rc;
	if (reply_ret->code == 354)
		return OK;
	rc = reply_ret->code / 100 == 5 ? FAIL : DEFER;
	/* What else it may mean nobody knows: whether text or a command is expected now. */
	if (reply_ret->code / 100 != 4 && reply_ret->code / 100 != 5)
		c->dead = true;
	return err_set(err, rc, "response to \"DATA\" was: %.*s", SLICE_ARG(reply_ret->text));
}

enum rc smtp_data_pieces(struct scope *sc, struct smtp_connection *c, struct dot_stuffer *stuffer,
			 struct slice *pieces, unsigned count, struct err *err)
{
	struct iovec iov[IOV_MAX_OUT];
	unsigned filled = 0;
	enum rc rc = OK;

	for (unsigned i = 0; rc == OK && i < count; i++)
		while (rc == OK && pieces[i].len) {
			if (filled > IOV_MAX_OUT - 2) {
				rc = connection_write(sc->task, c, iov, filled, c->data_timeout_ms,
						      SLICE("message data"), err);
				filled = 0;
			}
			filled += dot_stuffer_next(stuffer, &pieces[i], iov + filled, IOV_MAX_OUT - filled);
		}
	if (rc == OK && filled)
		rc = connection_write(sc->task, c, iov, filled, c->data_timeout_ms, SLICE("message data"),
				      err);
	return rc;
}

enum rc smtp_data_end(struct scope *sc, struct smtp_connection *c, struct dot_stuffer *stuffer,
		      struct smtp_reply *reply_ret, struct err *err)
{
	struct slice end = dot_stuffer_end(stuffer), command = SLICE("end of data");
	struct iovec iov = {(void *)(uintptr_t)end.ptr, end.len};
	enum rc rc;

	*reply_ret = (struct smtp_reply){.text = SLICE_EMPTY, .command = command};
	rc = connection_write(sc->task, c, &iov, 1, c->data_timeout_ms, command, err);
	if (rc == OK)
		rc = connection_read(sc->task, c, c->final_timeout_ms, command, reply_ret, err);
	if (rc != OK)
		return rc;
	c->in_transaction = false;
	c->messages++;
	if (reply_ret->code / 100 == 2)
		return OK;
	rc = reply_ret->code / 100 == 5 ? FAIL : DEFER;
	return err_set(err, rc, "SMTP error from remote mail server after %.*s: %.*s", SLICE_ARG(command),
		       SLICE_ARG(reply_ret->text));
}

void smtp_abandon(struct smtp_connection *c)
{
	c->dead = true; /* a QUIT would be a line of the message */
	smtp_close(c);
}

void smtp_set_in_transaction(struct smtp_connection *c)
{
	c->in_transaction = true;
}

bool smtp_is_dead(const struct smtp_connection *c)
{
	return c->dead || stream_at_end(c->stream);
}
