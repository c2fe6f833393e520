/* text: operators that write a string in another way: case, quoting, escapes, base64, UTF-8, RFC 2047. */

#include <stdio.h>

#include "items.h"
#include "tree.h"

static bool is_print(unsigned char c)
{
	return c >= ' ' && c < 127;
}

static enum rc change_case(struct scope *sc, struct slice subject, char (*change)(char), struct slice *ret,
			   struct err *err)
{
	char *out = arena_bytes(sc->task->arena, subject.len + 1);

	if (!out)
		return err_memory(err);
	for (uint32_t i = 0; i < subject.len; i++)
		out[i] = change(subject.ptr[i]);
	*ret = slice_make(out, subject.len, (enum taint)subject.taint);
	return OK;
}

static enum rc op_lc(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		     struct err *err)
{
	(void)arg;
	return change_case(sc, subject, ascii_lower, ret, err);
}

static enum rc op_uc(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		     struct err *err)
{
	(void)arg;
	return change_case(sc, subject, ascii_upper, ret, err);
}

static enum rc op_expand(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
			 struct err *err)
{
	enum rc rc;

	(void)arg;
	/* Refused even where there is nothing to expand: who writes this trusts the text, and is told that he
	 * should not. */
	rc = subject.taint == TAINTED
		 ? err_set(err, FAIL, "attempt to expand tainted string '%.*s'", SLICE_ARG(subject))
		 : expand_text(sc, subject, ret, err);
	if (rc == FAIL && err)
		err_prefix(err, "internal expansion of \"%.*s\" failed", SLICE_ARG(subject));
	return rc;
}

/* ---- Quoting ----------------------------------------------------------------------------------------------
 */

void quoted_add(struct str *out, struct slice s)
{
	out->taint = s.taint;
	str_addc(out, '"');
	for (uint32_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '\n' || c == '\r') {
			str_addz(out, c == '\n' ? "\\n" : "\\r");
			continue;
		}
		if (c == '"' || c == '\\')
			str_addc(out, '\\');
		str_addc(out, c);
	}
	str_addc(out, '"');
}

static enum rc op_quote(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
			struct err *err)
{
	struct str str = str_make(sc->task->arena);
	bool needed = subject.len == 0;

	(void)arg;
	for (uint32_t i = 0; i < subject.len && !needed; i++)
		needed =
		    !ascii_is_alnum(subject.ptr[i]) && !strchr("_-.", subject.ptr[i] ? subject.ptr[i] : ' ');
	if (!needed) {
		*ret = subject;
		return OK;
	}
	quoted_add(&str, subject);
	return str_result(&str, ret, err);
}

static enum rc op_rxquote(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
			  struct err *err)
{
	struct str str = str_make(sc->task->arena);

	(void)arg;
	str.taint = subject.taint;
	for (uint32_t i = 0; i < subject.len; i++) {
		if (!ascii_is_alnum(subject.ptr[i]))
			str_addc(&str, '\\');
		str_addc(&str, subject.ptr[i]);
	}
	return str_result(&str, ret, err);
}

enum rc op_hexquote(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		    struct err *err)
{
	struct str str = str_make(sc->task->arena);

	(void)arg;
	str.taint = subject.taint;
	for (uint32_t i = 0; i < subject.len; i++) {
		unsigned char c = (unsigned char)subject.ptr[i];

		if (c > ' ' && c < 127)
			str_addc(&str, (char)c);
		else
			str_printf(&str, "\\x%02x", c);
	}
	return str_result(&str, ret, err);
}

static const char *escape_of(char c)
{
	switch (c) {
	case '\n':
		return "\\n";
	case '\r':
		return "\\r";
	case '\t':
		return "\\t";
	case '\b':
		return "\\b";
	case '\f':
		return "\\f";
	case '\v':
		return "\\v";
	}
	return NULL;
}

enum rc op_escape(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		  struct err *err)
{
	bool top_bits = log_prints_topbitchars(sc->conf);
	struct str str = str_make(sc->task->arena);

	(void)arg;
	str.taint = subject.taint;
	for (uint32_t i = 0; i < subject.len; i++) {
		unsigned char c = (unsigned char)subject.ptr[i];
		const char *named = escape_of((char)c);

		/* A tab is left alone, as is everything that prints. */
		if (is_print(c) || c == '\t' || (c >= 128 && top_bits))
			str_addc(&str, (char)c);
		else if (named)
			str_addz(&str, named);
		else
			str_printf(&str, "\\%03o", c);
	}
	return str_result(&str, ret, err);
}

enum rc op_escape8bit(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		      struct err *err)
{
	struct str str = str_make(sc->task->arena);

	(void)arg;
	str.taint = subject.taint;
	for (uint32_t i = 0; i < subject.len; i++) {
		unsigned char c = (unsigned char)subject.ptr[i];

		if (c >= 127 || c == '\\')
			str_printf(&str, "\\%03o", c);
		else
			str_addc(&str, (char)c);
	}
	return str_result(&str, ret, err);
}

/* ${quote_TYPE: and ${quote_TYPE_OPTION: of lookups. */
static enum rc op_quote_lookup(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
			       struct err *err)
{
	struct slice type = arg, option = SLICE_EMPTY;
	ptrdiff_t at = slice_find(arg, '_');

	if (arg.len == 0)
		return op_quote(sc, arg, subject, ret, err);
	if (at >= 0) {
		type = slice_sub(arg, 0, (size_t)at);
		option = slice_from(arg, (size_t)at + 1);
	}
	if (!sc->conf->language->lookup_quote)
		return err_set(err, FAIL, "unknown lookup type \"%.*s\"", SLICE_ARG(type));
	return sc->conf->language->lookup_quote(sc, type, option, subject, ret, err);
}

/* ---- base64, hex, xtext -----------------------------------------------------------------------------------
 */

enum rc op_base64(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		  struct err *err)
{
	struct str str = str_make(sc->task->arena);
	enum rc rc = certificate_bytes(sc, &subject, err);

	(void)arg;
	if (rc != OK)
		return rc;
	base64_encode(&str, subject);
	str.taint = subject.taint;
	return str_result(&str, ret, err);
}

/* White space is nothing; what is left has to be whole. */
enum rc op_base64d(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		   struct err *err)
{
	struct str packed = str_make(sc->task->arena), str = str_make(sc->task->arena);

	(void)arg;
	for (uint32_t i = 0; i < subject.len; i++)
		if (!ascii_is_space(subject.ptr[i]))
			str_addc(&packed, subject.ptr[i]);
	if (packed.failed)
		return err_memory(err);
	if (!base64_decode(&str, str_slice(&packed)))
		return err_set(err, FAIL, "string \"%.*s\" is not well-formed for \"base64d\" operator",
			       SLICE_ARG(subject));
	str.taint = subject.taint;
	return str_result(&str, ret, err);
}

enum rc op_hex2b64(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		   struct err *err)
{
	struct str bytes = str_make(sc->task->arena), str = str_make(sc->task->arena);

	(void)arg;
	for (uint32_t i = 0; i < subject.len; i++)
		if (hex_digit(subject.ptr[i]) < 0)
			return err_set(err, FAIL, "\"%.*s\" is not a hex string", SLICE_ARG(subject));
	if (subject.len % 2)
		return err_set(err, FAIL, "\"%.*s\" contains an odd number of characters",
			       SLICE_ARG(subject));
	if (!hex_decode(&bytes, subject) || bytes.failed)
		return err_memory(err);
	base64_encode(&str, str_slice(&bytes));
	str.taint = subject.taint;
	return str_result(&str, ret, err);
}

enum rc op_xtextd(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		  struct err *err)
{
	struct str str = str_make(sc->task->arena);

	(void)arg;
	if (!xtext_decode(&str, subject)) {
		*ret = SLICE_EMPTY;
		return OK;
	}
	str.taint = subject.taint;
	return str_result(&str, ret, err);
}

/* ---- Character sets ---------------------------------------------------------------------------------------
 */

/* What the first byte of a sequence promises; 1 for those that cannot begin one. */
static unsigned sequence_length(unsigned char c)
{
	if (c >= 0xc2 && c < 0xe0)
		return 2;
	if (c >= 0xe0 && c < 0xf0)
		return 3;
	return c >= 0xf0 && c < 0xf5 ? 4 : 1;
}

enum rc op_utf8clean(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		     struct err *err)
{
	struct str str = str_make(sc->task->arena);
	struct slice rest = subject;

	(void)arg;
	str.taint = subject.taint;
	while (rest.len) {
		unsigned len = utf8_sequence(rest);

		if (len) {
			str_add(&str, slice_sub(rest, 0, len));
			rest = slice_from(rest, len);
			continue;
		}
		/* One mark for a broken sequence, however much of it there is; bytes that begin none have one
		 * each. */
		len = sequence_length((unsigned char)rest.ptr[0]);
		str_addc(&str, '?');
		do
			rest = slice_from(rest, 1);
		while (--len && rest.len && ((unsigned char)rest.ptr[0] & 0xc0) == 0x80);
	}
	return str_result(&str, ret, err);
}

enum rc op_from_utf8(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		     struct err *err)
{
	struct str str = str_make(sc->task->arena);
	struct slice rest = subject;

	(void)arg;
	str.taint = subject.taint;
	while (rest.len) {
		unsigned char c = (unsigned char)rest.ptr[0];
		unsigned len = utf8_sequence(rest);

		if (c < 128)
			str_addc(&str, (char)c);
		else if (len == 2 && c < 0xc4)
			str_addc(&str, (char)((c & 3) << 6 | ((unsigned char)rest.ptr[1] & 0x3f)));
		else
			str_addc(&str, '_');
		rest = slice_from(rest, len ? len : 1);
	}
	return str_result(&str, ret, err);
}

/* One character (a UTF-8 sequence is not torn apart) in the Q encoding of RFC 2047 section 4.2. Returns its
 * length. */
static unsigned q_character(struct slice rest, char *out, unsigned *len_ret)
{
	unsigned len = utf8_sequence(rest), out_len = 0;
	unsigned char c = (unsigned char)rest.ptr[0];

	*len_ret = len ? len : 1;
	if (c == ' ' || (c > ' ' && c < 127 && !strchr("?=()<>@,;:\\\".[]_", c))) {
		*out = c == ' ' ? '_' : (char)c;
		return 1;
	}
	for (unsigned i = 0; i < *len_ret; i++)
		out_len += (unsigned)sprintf(out + out_len, "=%02X", (unsigned char)rest.ptr[i]);
	return out_len;
}

static bool q_needed(struct slice s)
{
	for (uint32_t i = 0; i < s.len; i++)
		if (!is_print((unsigned char)s.ptr[i]) || strchr("?=()<>@,;:\\\".[]_", s.ptr[i]))
			return true;
	return false;
}

/* An encoded word is at most so long (RFC 2047 section 2). */
#define ENCODED_WORD_MAX 75

/* More eager than what the message room does to header fields: in this operator's result no character is left
 * that means something in a structured field. */
enum rc op_rfc2047(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		   struct err *err)
{
	const struct message_options *options = conf_group(sc->conf, CONF_MESSAGE);
	struct slice charset =
	    options && options->headers_charset.len ? options->headers_charset : SLICE("UTF-8");
	struct str str = str_make(sc->task->arena);
	struct slice rest = subject;
	unsigned word = 0, len, out_len;
	char out[16];

	(void)arg;
	if (!q_needed(subject)) {
		*ret = subject;
		return OK;
	}
	str.taint = subject.taint;
	for (; rest.len; rest = slice_from(rest, len)) {
		out_len = q_character(rest, out, &len);
		if (word + out_len + 2 > ENCODED_WORD_MAX) {
			str_addz(&str, "?= ");
			word = 0;
		}
		if (!word) {
			str_printf(&str, "=?%.*s?Q?", SLICE_ARG(charset));
			word = charset.len + 5;
		}
		str_add(&str, slice_make(out, out_len, CLEAN));
		word += out_len;
	}
	str_addz(&str, "?=");
	return str_result(&str, ret, err);
}

enum rc op_rfc2047d(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		    struct err *err)
{
	const struct message_options *options = conf_group(sc->conf, CONF_MESSAGE);

	(void)arg;
	*ret = rfc2047_decode(sc->task->arena, subject, !options || options->check_rfc2047_length);
	return ret->ptr ? OK : err_memory(err);
}

/* The digits at the front of the text. */
static uint64_t leading_number(struct slice text)
{
	uint64_t value = 0;
	uint32_t n = 0;

	while (n < text.len && ascii_is_digit(text.ptr[n]))
		n++;
	return n && parse_u64(slice_sub(text, 0, n), &value) ? value : 0;
}

#define WRAP_INDENT    8 /* columns of the tab that a folded line begins with */
#define WRAP_COLUMNS   80
#define WRAP_BYTES_MAX 998

/* One line off the front of the text: to its line end, or as much as there is room for. */
static struct slice wrap_line(struct slice *rest, uint64_t room)
{
	ptrdiff_t at = slice_find(*rest, '\n');
	struct slice line;

	if (at >= 0 && (uint64_t)at <= room) {
		line = slice_sub(*rest, 0, (size_t)at);
		*rest = slice_from(*rest, (size_t)at + 1);
	} else if (rest->len <= room) {
		line = *rest;
		*rest = slice_from(*rest, rest->len);
	} else {
		line = slice_rtrim(slice_sub(*rest, 0, (size_t)room));
		*rest = slice_ltrim(slice_from(*rest, (size_t)room));
	}
	return line;
}

/* ${headerwrap_COLUMNS_LIMIT:: folds at line ends and columns, and cuts at the limit of bytes in all. Too few columns
 * for more than the indent: nothing is folded. */
enum rc op_headerwrap(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		      struct err *err)
{
	struct str str = str_make(sc->task->arena);
	struct slice limit_text = SLICE_EMPTY, rest = subject;
	ptrdiff_t at = slice_find(arg, '_');
	uint64_t columns = arg.len ? leading_number(arg) : WRAP_COLUMNS, limit;

	if (at >= 0)
		limit_text = slice_from(arg, (size_t)at + 1);
	limit = leading_number(limit_text);
	if (!limit)
		limit = WRAP_BYTES_MAX;
	if (columns <= WRAP_INDENT)
		columns = UINT32_MAX;
	str.taint = subject.taint;
	str_add(&str, wrap_line(&rest, columns));
	while (rest.len && str.len < limit) {
		str_addz(&str, "\n\t");
		str_add(&str, wrap_line(&rest, columns - WRAP_INDENT));
	}
	if (str.len > limit)
		str.len = (uint32_t)limit;
	return str_result(&str, ret, err);
}

#define ROW(name, eval)                 \
	&(const struct expand_operator) \
	{                               \
		name, eval              \
	}

const struct expand_operator *const expand_operators[] = {
    ROW("lc", op_lc),
    ROW("uc", op_uc),
    ROW("expand", op_expand),
    ROW("quote", op_quote_lookup),
    ROW("quote_local_part", op_quote_local_part),
    ROW("rxquote", op_rxquote),
    ROW("hexquote", op_hexquote),
    ROW("escape", op_escape),
    ROW("escape8bit", op_escape8bit),
    ROW("base64", op_base64),
    ROW("str2b64", op_base64),
    ROW("base64d", op_base64d),
    ROW("hex2b64", op_hex2b64),
    ROW("xtextd", op_xtextd),
    ROW("utf8clean", op_utf8clean),
    ROW("from_utf8", op_from_utf8),
    ROW("rfc2047", op_rfc2047),
    ROW("rfc2047d", op_rfc2047d),
    ROW("headerwrap", op_headerwrap),
    ROW("substr", op_substr),
    ROW("s", op_substr),
    ROW("length", op_length),
    ROW("l", op_length),
    ROW("hash", op_hash),
    ROW("h", op_hash),
    ROW("nhash", op_nhash),
    ROW("nh", op_nhash),
    ROW("md5", op_md5),
    ROW("sha1", op_sha1),
    ROW("sha2", op_sha2),
    ROW("sha256", op_sha2),
    ROW("sha3", op_sha3),
    ROW("eval", op_eval),
    ROW("eval10", op_eval10),
    ROW("base32", op_base32),
    ROW("base32d", op_base32d),
    ROW("base62", op_base62),
    ROW("base62d", op_base62d),
    ROW("time_eval", op_time_eval),
    ROW("time_interval", op_time_interval),
    ROW("randint", op_randint),
    ROW("strlen", op_strlen),
    ROW("stat", op_stat),
    ROW("address", op_address),
    ROW("addresses", op_addresses),
    ROW("domain", op_domain),
    ROW("local_part", op_local_part),
    ROW("ipv6norm", op_ipv6norm),
    ROW("ipv6denorm", op_ipv6denorm),
    ROW("mask", op_mask),
    ROW("reverse_ip", op_reverse_ip),
    ROW("listcount", op_listcount),
    ROW("listnamed", op_listnamed),
    ROW("utf8_domain_to_alabel", op_domain_to_alabel),
    ROW("utf8_domain_from_alabel", op_domain_from_alabel),
    ROW("utf8_localpart_to_alabel", op_localpart_to_alabel),
    ROW("utf8_localpart_from_alabel", op_localpart_from_alabel),
    NULL,
};
