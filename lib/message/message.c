/* A message in memory: everything of it in one arena, the message itself included, so that a small one costs a single
 * chunk of the shard's pool and ends all at once. */
#include "message/message.h"

#define RECIPIENT_ROOM_FIRST 4

struct message *message_new(struct conf *conf, size_t size_max)
{
	struct arena arena;
	struct message *message;

	arena_init(&arena, size_max);
	message = arena_make(&arena, struct message);
	if (!message) {
		arena_done(&arena);
		return NULL;
	}
	/* From here on the arena lives inside of what it holds. */
	message->arena = arena;
	message->conf = conf ? conf_ref(conf) : NULL;
	message->sender = message->sender_original = SLICE_EMPTY;
	message->protocol = message->dsn_envid = message->auth_sender = message->queue_name = SLICE_EMPTY;
	message->message_id_header = message->nonrecipients_text = message->body.start = SLICE_EMPTY;
	message->body.in_memory = true;
	message->refs = 1;
	header_block_init(&message->headers);
	return message;
}

void message_ref(struct message *message)
{
	message->refs++;
}

void message_unref(struct message *message)
{
	struct arena arena;

	if (!message || --message->refs)
		return;
	body_drop(&message->body);
	if (message->body.spill)
		spill_cancel(message->body.spill);
	if (message->conf)
		conf_unref(message->conf);
	arena = message->arena;
	arena_done(&arena);
}

bool message_add_recipient(struct message *message, const struct recipient *recipient)
{
	struct recipient *at;

	if (message->recipient_count == message->recipient_room) {
		uint32_t room = message->recipient_room ? message->recipient_room * 2 : RECIPIENT_ROOM_FIRST;
		struct recipient *more = arena_array(&message->arena, struct recipient, room);

		if (!more)
			return false;
		if (message->recipient_count)
			memcpy(more, message->recipients, message->recipient_count * sizeof(*more));
		message->recipients = more;
		message->recipient_room = room;
	}
	at = &message->recipients[message->recipient_count++];
	*at = *recipient;
	/* What the caller left out is empty, as everywhere. */
	if (!at->original.ptr)
		at->original = at->address;
	if (!at->orcpt.ptr)
		at->orcpt = SLICE_EMPTY;
	if (!at->errors_to.ptr)
		at->errors_to = SLICE_EMPTY;
	list_init(&at->link);
	return true;
}

bool message_add_nonrecipient(struct message *message, struct slice address)
{
	if (message->nonrecipient_count == message->nonrecipient_room) {
		uint32_t room =
		    message->nonrecipient_room ? message->nonrecipient_room * 2 : RECIPIENT_ROOM_FIRST;
		struct slice *more = arena_array(&message->arena, struct slice, room);

		if (!more)
			return false;
		if (message->nonrecipient_count)
			memcpy(more, message->nonrecipients, message->nonrecipient_count * sizeof(*more));
		message->nonrecipients = more;
		message->nonrecipient_room = room;
	}
	message->nonrecipients[message->nonrecipient_count++] = address;
	return true;
}

void scope_init(struct scope *sc, struct task *task, const struct conf *conf)
{
	memset(sc, 0, sizeof(*sc));
	sc->task = task;
	sc->conf = conf;
	sc->smtp_command = SLICE_EMPTY;
	for (size_t i = 0; i < ARRAY_COUNT(sc->numeric); i++)
		sc->numeric[i] = SLICE_EMPTY;
	for (size_t i = 0; i < ARRAY_COUNT(sc->auth); i++)
		sc->auth[i] = SLICE_EMPTY;
}

void message_read_headers(struct message *message)
{
	bool resent = false;

	message->received_hops = 0;
	message->message_id_header = SLICE_EMPTY;
	for (struct header *h = header_next(&message->headers, NULL); h;
	     h = header_next(&message->headers, h)) {
		bool again = h->type == 'I' && slice_starts_nocase(h->text, SLICE("Resent-"));

		if (h->type == 'P') {
			message->received_hops++;
		} else if (h->type == 'I' && !resent && (again || !message->message_id_header.len)) {
			/* A message that was sent again is known by its second id. */
			struct slice id = header_body(h);
			if (id.len >= 2 && id.ptr[0] == '<' && id.ptr[id.len - 1] == '>')
				id = slice_sub(id, 1, id.len - 2);
			message->message_id_header = id;
			resent = again;
		}
	}
}
