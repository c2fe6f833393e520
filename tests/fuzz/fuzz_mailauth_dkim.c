/* Any bytes as a key record and a message: whatever its signatures say, they get a result, and the same one when the body comes in
 * other pieces. The first line is the record of every key. */
#include <stddef.h>
#include <stdint.h>

#include "mailauth/arc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static enum rc answer(struct task *task, void *arg, struct slice name, enum dns_type type,
		      struct dns_answer *ret, struct err *err)
{
	struct dns_record *record = arena_make(task->arena, struct dns_record);

	(void)type;
	(void)err;
	ASSERT(record && name.len <= 253);
	record->text = *(struct slice *)arg;
	*ret = (struct dns_answer){.records = record, .count = 1};
	return OK;
}

/* What was hashed ahead is what is hashed when it is wanted. */
static void same_later(struct dkim_work *work, struct dkim_signature *s)
{
	uint8_t ahead[HASH_SIZE_MAX], later[HASH_SIZE_MAX];

	if (!s->ahead)
		return;
	ASSERT(header_hash(work, s, ahead) && !s->ahead && header_hash(work, s, later));
	ASSERT(memcmp(ahead, later, hash_size(s->hash_kind)) == 0);
	work->header_bytes = 0;
}

static unsigned results(struct slice text, struct slice key, uint32_t piece, enum dkim_reason *reasons)
{
	struct mailauth_resolver resolver = {.query = answer, .arg = &key};
	struct dkim_limits limits = {.hashes = 1u << HASH_SHA1 | 1u << HASH_SHA256 | 1u << HASH_SHA512,
				     .key_types = 1u << KEY_RSA | 1u << KEY_ED25519,
				     .now = 1};
	struct dkim_work work = {.resolver = &resolver, .limits = &limits};
	struct message *message;
	struct arena arena, own;
	struct task task;
	struct err err;
	struct dkim_state *state;
	unsigned count;
	uint32_t used;

	arena_init(&arena, 0);
	arena_init(&own, 0);
	err = err_make(&arena);
	task_init(&task, NULL, &arena, UINT64_MAX);
	message = arena_make(&own, struct message);
	arena_init(&message->arena, 0);
	header_block_init(&message->headers);
	ASSERT(header_block_parse(&message->arena, text, &message->headers, &used, &err) == OK);
	ASSERT(dkim_header_done(&task, message, &resolver, &err) == OK);
	for (struct slice rest = slice_from(text, used); rest.len; rest = slice_from(rest, piece))
		dkim_body(message, rest.ptr, slice_sub(rest, 0, piece).len);
	state = dkim_state_of(message);
	body_hashes_end(&state->body);
	work.task = &task;
	work.arena = &message->arena;
	work.index = dkim_fields(message);
	count = state->count;
	for (unsigned i = 0; i < count; i++) {
		if (piece == 1)
			same_later(&work, state->signatures[i]);
		ASSERT(dkim_signature_verify(&work, state->signatures[i], &err) == OK);
		reasons[i] = state->signatures[i]->reason;
		ASSERT(dkim_status_word(state->signatures[i]).len);
	}
	if (arc_state_of(message)) {
		ASSERT(arc_evaluate(&work, message, &err) == OK);
		ASSERT(arc_state_of(message)->result == MAILAUTH_PASS || arc_state_of(message)->reason.len);
	}
	arena_done(&message->arena);
	arena_done(&own);
	arena_done(&arena);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct slice text = slice_make((const char *)bytes, size > 65536 ? 65536 : size, TAINTED), key;
	enum dkim_reason reasons[2][DKIM_SIGNATURES_MAX];
	unsigned count;

	if (!slice_split(&text, '\n', &key) || !text.ptr)
		return 0;
	count = results(text, key, UINT32_MAX, reasons[0]);
	ASSERT(results(text, key, 1, reasons[1]) == count);
	for (unsigned i = 0; i < count; i++)
		ASSERT(reasons[0][i] == reasons[1][i]);
	return 0;
}
