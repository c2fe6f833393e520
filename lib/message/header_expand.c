/* Header fields as the $ language shows them: $h_, $bh_, $rh_, $lh_, $message_headers, $reply_address. */
#include "message/internal.h"

#define EXPAND_LEN_MAX (64 * 1024) /* as the language defines it */

static const struct message *visible(const struct scope *sc)
{
	return sc->message;
}

static struct slice charset_of(const struct scope *sc)
{
	const struct message_options *options = sc->conf ? conf_group(sc->conf, CONF_MESSAGE) : NULL;

	if (sc->headers_charset.ptr && sc->headers_charset.len)
		return sc->headers_charset;
	return options && options->headers_charset.ptr && options->headers_charset.len
		   ? options->headers_charset
		   : SLICE("UTF-8");
}

static bool check_length(const struct scope *sc)
{
	const struct message_options *options = sc->conf ? conf_group(sc->conf, CONF_MESSAGE) : NULL;

	return !options || options->check_rfc2047_length;
}

static void add_one(struct str *str, const struct header *header, enum header_form form)
{
	struct slice value = header_value(header);

	switch (form) {
	case HEADER_RAW:
		str_add(str, value);
		return;
	case HEADER_LIST:
		if (value.len && value.ptr[value.len - 1] == '\n')
			value.len--;
		if (str->len)
			str_addc(str, ':');
		for (struct slice part; slice_split(&value, ':', &part);) {
			str_add(str, part);
			if (value.ptr)
				str_addz(str, "::");
		}
		return;
	default:
		value = slice_trim(value);
		if (!value.len)
			return;
		if (str->len)
			str_addz(str, header->type != ' ' && strchr("BCFRST", header->type) ? ",\n" : "\n");
		str_add(str, value);
	}
}

enum rc header_expand(struct scope *sc, struct slice name, enum header_form form, struct slice *ret,
		      struct err *err)
{
	const struct message *message = visible(sc);
	struct slice charset = charset_of(sc), text;
	struct str str = str_make(sc->task->arena);
	struct header *header = NULL;

	*ret = SLICE_EMPTY;
	if (!message)
		return OK;
	while ((header = header_find(&message->headers, name, header)) && str.len < EXPAND_LEN_MAX)
		add_one(&str, header, form);
	text = str_slice(&str);
	if (!text.ptr)
		return err_memory(err);
	text = slice_sub(text, 0, EXPAND_LEN_MAX);
	text.taint = TAINTED;
	if (form == HEADER_DECODED)
		text = rfc2047_decode_to(sc->task->arena, text, check_length(sc), &charset);
	else if (form == HEADER_BASIC)
		text = rfc2047_decode_to(sc->task->arena, text, check_length(sc), NULL);
	*ret = text;
	return OK;
}

bool header_defined(const struct scope *sc, struct slice name)
{
	return visible(sc) && header_find(&visible(sc)->headers, name, NULL);
}

/* $message_headers, and with raw $message_headers_raw: all fields. */
enum rc header_expand_all(struct scope *sc, bool raw, struct slice *ret, struct err *err)
{
	const struct message *message = visible(sc);
	struct str str = str_make(sc->task->arena);
	struct slice text;

	*ret = SLICE_EMPTY;
	if (!message)
		return OK;
	for (struct header *h = header_next(&message->headers, NULL); h && str.len < EXPAND_LEN_MAX;
	     h = header_next(&message->headers, h)) {
		if (raw) {
			str_add(&str, h->text);
			continue;
		}
		if (str.len)
			str_addc(&str, '\n');
		str_add(&str, slice_rtrim(h->text));
	}
	text = str_slice(&str);
	if (!text.ptr)
		return err_memory(err);
	text = slice_sub(text, 0, EXPAND_LEN_MAX);
	text.taint = TAINTED;
	*ret = raw ? text : rfc2047_decode_to(sc->task->arena, text, check_length(sc), NULL);
	return OK;
}

/* $reply_address: Reply-To: if there is one with something in it, or From:, on one line. */
enum rc header_expand_reply(struct scope *sc, struct slice *ret, struct err *err)
{
	struct slice text;
	char *bytes;
	enum rc rc = header_expand(sc, SLICE("reply-to"), HEADER_RAW, &text, err);

	if (rc == OK && slice_trim(text).len == 0)
		rc = header_expand(sc, SLICE("from"), HEADER_RAW, &text, err);
	if (rc != OK)
		return rc;
	text = slice_trim(text);
	if (text.len) {
		bytes = arena_bytes(sc->task->arena, text.len);
		if (!bytes)
			return err_memory(err);
		for (uint32_t i = 0; i < text.len; i++)
			bytes[i] = text.ptr[i] == '\n' ? ' ' : text.ptr[i];
		text.ptr = bytes;
	}
	*ret = text;
	return OK;
}
