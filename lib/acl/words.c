/* words: the one list of all conditions and modifiers. A new one is a file with its row, and a line here. */
#include "list.h"

const struct acl_word *const acl_words[] = {
    &acl_word_acl,
    &acl_word_add_header,
    &acl_word_authenticated,
    &acl_word_condition,
    &acl_word_continue,
    &acl_word_control,
    &acl_word_delay,
    &acl_word_dkim_signers,
    &acl_word_dkim_status,
    &acl_word_dmarc_status,
    &acl_word_dnslists,
    &acl_word_domains,
    &acl_word_encrypted,
    &acl_word_endpass,
    &acl_word_hosts,
    &acl_word_local_parts,
    &acl_word_log_message,
    &acl_word_log_reject_target,
    &acl_word_logwrite,
    &acl_word_message,
    &acl_word_queue,
    &acl_word_ratelimit,
    &acl_word_recipients,
    &acl_word_remove_header,
    &acl_word_sender_domains,
    &acl_word_seen,
    &acl_word_senders,
    &acl_word_set,
    &acl_word_spf,
    &acl_word_spf_guess,
    &acl_word_udpsend,
    &acl_word_verify,
    NULL,
};

/* Words of the language whose systems this version does not have: a configuration that names them loads, with a warning,
 * and a statement that comes to them defers (451) instead of passing unseen. */
static enum acl_test unavailable(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	(void)value;
	(void)err_set(run->err, FAIL, "the ACL condition \"%s\" is not available in this version",
		      item->word->name);
	return TEST_ERROR;
}

#define UNAVAILABLE(name)                                  \
	{                                                  \
		name, CONDITION, VALUE_RAW, 0, unavailable \
	}
const struct acl_word acl_words_unavailable[] = {
    UNAVAILABLE("atrn_domains"),
    UNAVAILABLE("dcc"),
    UNAVAILABLE("decode"),
    UNAVAILABLE("malware"),
    UNAVAILABLE("mime_regex"),
    UNAVAILABLE("regex"),
    UNAVAILABLE("spam"),
    {"bmi_optin", MODIFIER, VALUE_RAW, 0, unavailable},
    {NULL, CONDITION, VALUE_RAW, 0, NULL},
};

const struct acl_word *acl_word_find(struct slice name)
{
	for (unsigned i = 0; acl_words[i]; i++)
		if (slice_eq(name, slice_of(acl_words[i]->name)))
			return acl_words[i];
	for (unsigned i = 0; acl_words_unavailable[i].name; i++)
		if (slice_eq(name, slice_of(acl_words_unavailable[i].name)))
			return &acl_words_unavailable[i];
	return NULL;
}

bool acl_word_unavailable(const struct acl_word *word)
{
	return word->run == unavailable;
}

enum rc acl_word_check(const struct acl_word *word, struct arena *arena, struct slice value, struct err *err)
{
	static const struct {
		const struct acl_word *word;
		enum rc (*check)(struct arena *arena, struct slice value, struct err *err);
	} checks[] = {
	    {&acl_word_control, acl_check_control},     {&acl_word_delay, acl_check_delay},
	    {&acl_word_ratelimit, acl_check_ratelimit}, {&acl_word_seen, acl_check_seen},
	    {&acl_word_verify, acl_check_verify},
	};

	for (unsigned i = 0; i < ARRAY_COUNT(checks); i++)
		if (checks[i].word == word)
			return checks[i].check(arena, value, err);
	return OK;
}

const char *acl_word_nearest(struct slice name)
{
	const char *names[256];
	unsigned count = 0;

	for (unsigned i = 0; acl_words[i] && count < ARRAY_COUNT(names); i++)
		names[count++] = acl_words[i]->name;
	return conf_nearest(name, names, count);
}

void acl_macros(struct conf *conf)
{
	for (unsigned i = 0; acl_words[i]; i++) {
		const struct acl_word *word = acl_words[i];
		struct str name = str_make(&conf->arena);
		const char *text;

		str_printf(&name, "_ACL_%s_", word->kind == CONDITION ? "COND" : "MOD");
		for (const char *c = word->name; *c; c++)
			str_addc(&name, ascii_upper(*c));
		text = name.failed ? NULL : arena_cstr(&conf->arena, str_slice(&name));
		if (text)
			conf_macro(conf, text);
	}
}
