/* Header blocks out of any bytes: every field is a line with its end, without CR and NUL, and the block as it leaves reads
 * back the same. The fix-ups and the recipients of -t get the same block. */
#include "message/message.h"

static void malformed(void *arg, struct slice item, struct slice why)
{
	(void)arg;
	ASSERT(item.len && why.len);
}

static void read_back(struct message *message)
{
	struct header_block block;
	struct str wire = str_make(&message->arena);
	struct header *a = NULL, *b = NULL;
	uint32_t used;

	ASSERT(headers_to_wire(&message->headers, &wire) == OK);
	ASSERT(header_block_parse(&message->arena, str_slice(&wire), &block, &used, NULL) == OK);
	ASSERT(used == wire.len);
	while ((a = header_next(&message->headers, a))) {
		b = header_next(&block, b);
		ASSERT(b && slice_eq(a->text, b->text));
		ASSERT(a->text.ptr[a->text.len - 1] == '\n' && !memchr(a->text.ptr, 0, a->text.len) &&
		       !memchr(a->text.ptr, '\r', a->text.len));
	}
	ASSERT(!header_next(&block, b));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fixup fixup = {
	    .qualify_domain = SLICE("q.example"),
	    .qualify_recipient = SLICE("qr.example"),
	    .primary_hostname = SLICE("mx.example"),
	    .remove_return_path = true,
	    .local = true,
	    .qualify_sender = true,
	    .qualify_recipients = true,
	    .from_check = true,
	    .login = SLICE("user"),
	    .name = SLICE("A User"),
	    .from_prefix = SLICE("*-"),
	    .from_suffix = SLICE("+*"),
	    .now = 1,
	};
	struct message *message;
	uint32_t used;

	if (size > 65536)
		return 0;
	message = message_new(NULL, 256ul * 1024 * 1024);
	ASSERT(header_block_parse(&message->arena, slice_make((const char *)bytes, size, TAINTED),
				  &message->headers, &used, NULL) == OK);
	ASSERT(used <= size);
	read_back(message);
	ASSERT(message_id_parse(SLICE("1xUZSM-000000003OG-2TAU"), &message->id));
	if (message_recipients_from_headers(message, &fixup, NULL, 0, malformed, NULL) == OK &&
	    message_fix(message, &fixup, NULL) == OK) {
		ASSERT(header_find(&message->headers, SLICE("Date"), NULL) ||
		       header_find(&message->headers, SLICE("Resent-Date"), NULL));
		read_back(message);
	}
	message_unref(message);
	return 0;
}
