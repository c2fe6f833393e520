/* The word to the owner of a mailbox that a delivery has made larger than quota_warn_threshold. */
#include "appendfile.h"

#define RECIPIENTS_MAX 100

bool quota_warns(const struct appendfile *a)
{
	return a->quota_warn_threshold && !slice_eq(expansion_text(a->quota_warn_threshold), SLICE("0"));
}

/* "10M", or "75%" of the quota. 0: none. */
static enum rc threshold(struct append *append, uint64_t *ret)
{
	struct slice text;
	int64_t number;
	bool percent;
	enum rc rc = expand_option(append->sc, append->options->quota_warn_threshold, &text, append->err);

	*ret = 0;
	if (rc != OK)
		return rc;
	text = slice_trim(text);
	percent = text.len && text.ptr[text.len - 1] == '%';
	text.len -= percent;
	if (text.len == 0 || !conf_parse_int(slice_trim(text), &number) || number < 0)
		return err_set(append->err, FAIL, "malformed value \"%.*s\" for quota_warn_threshold",
			       SLICE_ARG(text));
	*ret = percent ? append->quota * (uint64_t)number / 100 : (uint64_t)number;
	return OK;
}

static bool has_field(const struct header_block *block, struct slice name)
{
	return header_find(block, name, NULL);
}

/* The text with the fields that it lacks, and whom its To: names. */
static enum rc make_warning(struct append *append, struct slice text, struct submission *submission)
{
	struct arena *arena = append->sc->task->arena;
	struct slice *recipients = arena_array(arena, struct slice, RECIPIENTS_MAX), rest;
	struct str whole = str_make(arena);
	struct header_block block;
	struct address_parts parts;
	struct header *to;
	uint32_t used;

	header_block_init(&block);
	if (!recipients || header_block_parse(arena, text, &block, &used, append->err) == DEFER)
		return err_memory(append->err);
	to = header_find(&block, SLICE("to"), NULL);
	if (!to)
		return err_set(append->err, FAIL, "quota_warn_message has no To: line");
	rest = header_body(to);
	while (submission->recipient_count < RECIPIENTS_MAX) {
		enum rc rc = address_next(arena, &rest, 0, &parts, append->err);
		if (rc != OK && append->err->text.len == 0)
			break;
		if (rc == OK && parts.full.len)
			recipients[submission->recipient_count++] = parts.full;
	}
	str_addz(&whole, "Auto-Submitted: auto-generated\n");
	if (!has_field(&block, SLICE("from")))
		str_printf(&whole, "From: Mail Delivery System <mailer-daemon@%.*s>\n",
			   SLICE_ARG(conf_main(append->sc->conf)->qualify_domain));
	str_add(&whole, text);
	submission->recipients = recipients;
	submission->text = str_slice(&whole);
	return submission->text.ptr ? OK : err_memory(append->err);
}

static enum rc warn(struct append *append)
{
	struct transport_shard *state = transport_shard(append->sc->task->shard);
	struct submission submission = {.sender = SLICE_EMPTY,
					.about = append->sc->message,
					.uid = append->who.uid,
					.gid = append->who.gid};
	uint64_t limit;
	struct slice text;
	enum rc rc = threshold(append, &limit);

	if (rc != OK || limit == 0 || append->size_before > limit ||
	    append->size_before + append->size <= limit)
		return rc;
	rc = expand_option(append->sc, append->options->quota_warn_message, &text, append->err);
	if (rc == OK)
		rc = make_warning(append, text, &submission);
	if (rc != OK || submission.recipient_count == 0)
		return rc;
	if (!state || !state->submit.submit)
		return err_set(append->err, DEFER, "this process cannot submit messages");
	return state->submit.submit(state->submit.arg, append->sc, &submission, append->err);
}

void quota_warn(struct append *append)
{
	struct scope *sc = append->sc;

	/* The message is in the mailbox: whatever goes wrong from here on is for the log. */
	if (quota_warns(append->options) && !append->quota_bypassed && warn(append) != OK &&
	    !sc->task->cancelled)
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN | LOG_TO_PANIC, &sc->message->id,
			   "no warning about the size of %s was sent: %.*s", append->path,
			   SLICE_ARG(append->err->text));
}
