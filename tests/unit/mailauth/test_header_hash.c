/* Header hashes made ahead of the body, and beside it: of random headers in all forms, with chains of several lengths. Which are made
 * ahead, that they are those which are made later, and that the whole message verifies; and the same with a byte changed. */
#include "../reactor/harness.h"

#include "message_case.h"

#define SECRET "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=" /* RFC 8463, appendix A */
#define PUBLIC "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static const struct zone_row rows[] = {{"ed._domainkey.good.test", "TXT", "v=DKIM1; k=ed25519; p=" PUBLIC}};

static uint64_t seed = 1;

static unsigned chance(unsigned below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % below;
}

/* A field with spaces, tabs and folds in odd places. */
static void add_random_field(struct str *text, const char *name, unsigned bytes)
{
	static const char *const parts[] = {
	    " ", "  ", "\t", "\r\n ", "\r\n\t x", "abc", "A long word of many letters", ";", "\xc3\xa9"};
	uint32_t start = text->len;

	str_printf(text, "%s%s:", name, chance(4) ? "" : " ");
	while (text->len - start < bytes)
		str_addz(text, parts[chance(ARRAY_COUNT(parts))]);
	str_addz(text, "x\r\n");
}

/* "sign" or "arc", in front of the text. */
static struct slice signed_text(struct task *task, const char *what, bool header_relaxed, bool body_relaxed,
				struct slice text)
{
	char word[8], domain[] = "good.test", selector[] = "ed", secret[] = SECRET, relaxed[] = "relaxed",
		      simple[] = "simple";
	char *words[] = {word,
			 domain,
			 selector,
			 secret,
			 header_relaxed ? relaxed : simple,
			 body_relaxed ? relaxed : simple};
	struct str out = str_make(task->arena);
	struct err err = err_make(task->arena);

	snprintf(word, sizeof(word), "%s", what);
	if (sign(task, words, text, &out, &err) != OK)
		fail_msg("cannot sign: %.*s", SLICE_ARG(err.text));
	str_add(&out, text);
	return str_slice(&out);
}

/* What was made ahead, which is expected or not of signatures, of the chain's and of its seals, is what is made later. */
static void compare(struct task *task, struct slice text, bool expected, bool messages_expected,
		    bool seals_expected)
{
	struct message *message = arena_make(task->arena, struct message);
	struct zone zone = {.rows = rows, .count = ARRAY_COUNT(rows)};
	struct mailauth_resolver resolver = zone_resolver(&zone);
	struct err err = err_make(task->arena);
	struct dkim_work work = {.task = task};
	uint8_t ahead[32], later[32];
	struct dkim_state *state;
	struct arc_state *arc;
	uint32_t used;

	arena_init(&message->arena, 0);
	header_block_init(&message->headers);
	assert_int_equal(header_block_parse(&message->arena, text, &message->headers, &used, &err), OK);
	assert_int_equal(dkim_header_done(task, message, &resolver, &err), OK);
	state = dkim_state_of(message);
	arc = arc_state_of(message);
	dkim_body(message, text.ptr + used, text.len - used > 100 ? 100 : text.len - used);
	work.index = dkim_fields(message);
	for (unsigned i = 0; i < state->count; i++) {
		struct dkim_signature *s = state->signatures[i];

		assert_int_equal(s->reason, REASON_NONE);
		assert_int_equal(s->ahead != NULL, expected);
		assert_true(header_hash(&work, s, ahead) && header_hash(&work, s, later));
		assert_memory_equal(ahead, later, 32);
	}
	if (arc) {
		assert_int_equal(arc->sets[1]->ahead != NULL, seals_expected);
		assert_int_equal(arc->sets[arc->count]->message->ahead != NULL, messages_expected);
		header_hash_seals(arc, work.index->fields);
		memcpy(ahead, arc->sets[arc->count]->digest, 32);
		header_hash_seals(arc, work.index->fields);
		assert_memory_equal(ahead, arc->sets[arc->count]->digest, 32);
	}
	arena_done(&message->arena);
}

static void verify(struct task *task, struct slice text, unsigned sets)
{
	struct zone zone = {.rows = rows, .count = ARRAY_COUNT(rows)};
	struct slice found = check(task, &zone, text, 1 + chance(3000));
	struct str other = str_make(task->arena);
	ptrdiff_t subject = slice_search(text, SLICE("\r\nSubject"));

	if (!slice_eq(found, sets ? SLICE("pass arc pass") : SLICE("pass")))
		fail_msg("%.*s: %.*s", SLICE_ARG(found), SLICE_ARG(text));
	str_add(&other, text);
	assert_true(subject > 0);
	/* A letter of the subject, which all sign. */
	while (!ascii_is_alpha(other.ptr[subject + 10]))
		subject++;
	other.ptr[subject + 10] ^= 1;
	found = check(task, &zone, str_slice(&other), 4096);
	assert_true(slice_starts(found, sets ? SLICE("fail/signature_incorrect arc fail")
					     : SLICE("fail/signature_incorrect")));
}

static void random_headers(struct task *task, void *arg)
{
	struct slice plain;

	(void)arg;
	/* Nobody has asked for a chain yet: it is not hashed ahead. */
	plain = SLICE(
	    "From: a@good.test\r\nSubject: x\r\nAuthentication-Results: good.test; none\r\n\r\nHello.\r\n");
	compare(task, signed_text(task, "arc", true, true, plain), false, false, false);
	arc_is_wanted(task->shard);
	for (unsigned round = 0; round < 120; round++) {
		unsigned sets = chance(4), bytes = 0;
		struct str text = str_make(task->arena);
		bool big = round % 10 == 9, hard = sha256_is_hard();
		struct slice whole;

		add_random_field(&text, "From", 10 + chance(100));
		add_random_field(&text, chance(2) ? "To" : "TO", chance(300));
		add_random_field(&text, "Subject", big ? 17000 : chance(200));
		for (unsigned more = chance(5); more; more--)
			add_random_field(&text, "X-Other", chance(100));
		add_random_field(&text, "date", chance(40));
		str_addz(&text, "Authentication-Results: good.test; spf=pass smtp.mailfrom=a@b.test\r\n\r\n");
		for (unsigned lines = chance(80); lines; lines--)
			str_printf(&text, "Line%s%u of the body\r\n", chance(3) ? " " : " \t", lines);
		names_to_sign = chance(2) ? "" : "+From:+To:+Subject:Date:X-Other";
		whole = signed_text(task, "sign", chance(2), chance(2), str_slice(&text));
		names_to_sign = "";
		for (unsigned set = 1; set <= sets; set++) {
			whole = signed_text(task, "arc", true, true, whole);
			whole =
			    arena_printf(task->arena, "Authentication-Results: good.test; arc=pass\r\n%.*s",
					 SLICE_ARG(whole));
		}
		bytes = (unsigned)slice_search(whole, SLICE("\r\n\r\n"));
		assert_true(big || bytes < 4000);
		compare(task, whole, hard && !big, hard && !big && sets <= 2, hard && sets <= 2);
		verify(task, whole, sets);
	}
	mailauth_done(task->shard);
}

static void test_random_headers(void **state)
{
	(void)state;
	run_fn(random_headers, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_headers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
