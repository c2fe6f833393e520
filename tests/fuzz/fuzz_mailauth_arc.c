/* Any header as the fields of ARC: collected, judged by form and by signatures, never read past their ends; and sealed once more. */
#include <stddef.h>
#include <stdint.h>

#include "mailauth/arc.h"
#include "mailauth/sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static enum rc answer(struct task *task, void *arg, struct slice name, enum dns_type type,
		      struct dns_answer *ret, struct err *err)
{
	static const char record_text[] = "k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
	struct dns_record *record = arena_make(task->arena, struct dns_record);

	(void)arg;
	(void)name;
	(void)type;
	(void)err;
	ASSERT(record);
	record->text = slice_of(record_text);
	*ret = (struct dns_answer){.records = record, .count = 1};
	return OK;
}

/* What was hashed ahead is what is hashed when it is wanted. */
static void same_later(struct arc_state *arc, const struct field_index *index)
{
	uint8_t ahead[ARC_INSTANCE_MAX][32];

	if (!arc->count || !arc->sets[1] || !arc->sets[1]->ahead)
		return;
	header_hash_seals(arc, index->fields);
	for (unsigned i = 0; i < arc->count; i++)
		memcpy(ahead[i], arc->sets[i + 1]->digest, sizeof(ahead[i]));
	ASSERT(!arc->sets[1]->ahead);
	header_hash_seals(arc, index->fields);
	for (unsigned i = 0; i < arc->count; i++)
		ASSERT(memcmp(ahead[i], arc->sets[i + 1]->digest, sizeof(ahead[i])) == 0);
}

static void judge(struct task *task, struct slice text)
{
	struct mailauth_resolver resolver = {.query = answer};
	struct dkim_limits limits = {
	    .hashes = 1u << HASH_SHA256, .key_types = 1u << KEY_RSA | 1u << KEY_ED25519, .now = 1};
	struct message *message = arena_make(task->arena, struct message);
	struct dkim_work work = {
	    .task = task, .arena = &message->arena, .resolver = &resolver, .limits = &limits};
	struct err err = err_make(task->arena);
	uint32_t used;

	arena_init(&message->arena, 0);
	header_block_init(&message->headers);
	ASSERT(header_block_parse(&message->arena, text, &message->headers, &used, &err) == OK);
	ASSERT(dkim_header_done(task, message, &resolver, &err) == OK);
	if (arc_state_of(message)) {
		if (text.len % 2)
			same_later(arc_state_of(message), dkim_fields(message));
		ASSERT(arc_evaluate(&work, message, &err) == OK);
		ASSERT(arc_state_of(message)->result == MAILAUTH_PASS || arc_state_of(message)->reason.len);
		ASSERT(arc_state_of(message)->count <= ARC_INSTANCE_MAX);
	}
	arena_done(&message->arena);
}

static enum rc no_body(struct mailauth_text *text, struct slice *piece_ret, struct err *err)
{
	(void)text;
	(void)piece_ret;
	(void)err;
	return FAIL;
}

static void seal(struct task *task, struct slice header)
{
	struct mailauth_text text = {.task = task, .header = header, .next = no_body};
	struct arc_signer signer = {.domain = SLICE("a.test"), .selector = SLICE("s")};
	struct err err = err_make(task->arena);
	struct str out = str_make(task->arena);
	enum rc rc;

	ASSERT(mailauth_key_parse(task->arena, SLICE("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="),
				  &signer.key, &err) == OK);
	ASSERT(mailauth_text_init(&text, &err) == OK);
	ASSERT(arc_sign_prepare(&text, &err) == OK && mailauth_text_read(&text, &err) == OK);
	rc = arc_sign(&text, &signer, &out, &err);
	ASSERT(rc == FAIL || (rc == OK && out.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct slice text = slice_make((const char *)bytes, size > 65536 ? 65536 : size, TAINTED);
	struct arena arena;
	struct task task;

	arena_init(&arena, 0);
	task_init(&task, NULL, &arena, UINT64_MAX);
	judge(&task, text);
	seal(&task, text);
	arena_done(&arena);
	return 0;
}
