/* Replies and what EHLO offers. A server is a stranger: each length is bounded, each line has to say the same code. */
#include "reply.h"

void reply_parser_init(struct reply_parser *parser, struct arena *arena)
{
	*parser = (struct reply_parser){.text = str_make(arena), .line = str_make(arena)};
	parser->text.taint = TAINTED;
}

/* One whole line, without its end. */
static enum reply_state take_line(struct reply_parser *parser, struct slice line)
{
	int code;

	if (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	if (line.len < 3 || line.ptr[0] < '1' || line.ptr[0] > '5' || !ascii_is_digit(line.ptr[1]) ||
	    !ascii_is_digit(line.ptr[2]) || (line.len > 3 && line.ptr[3] != ' ' && line.ptr[3] != '-'))
		return REPLY_BAD;
	code = (line.ptr[0] - '0') * 100 + (line.ptr[1] - '0') * 10 + (line.ptr[2] - '0');
	if (parser->code && code != parser->code)
		return REPLY_BAD;
	if (parser->text.len + line.len > SMTP_REPLY_SIZE_MAX)
		return REPLY_BAD;
	if (parser->code)
		str_addc(&parser->text, '\n');
	parser->code = code;
	str_add(&parser->text, line);
	if (parser->text.failed)
		return REPLY_BAD;
	return line.len > 3 && line.ptr[3] == '-' ? REPLY_MORE : REPLY_DONE;
}

enum reply_state reply_parser_feed(struct reply_parser *parser, struct slice bytes, size_t *used_ret)
{
	enum reply_state state = REPLY_MORE;
	size_t used = 0;

	while (state == REPLY_MORE && used < bytes.len) {
		struct slice rest = slice_from(bytes, used);
		ptrdiff_t end = slice_find(rest, '\n');
		struct slice part = end < 0 ? rest : slice_sub(rest, 0, (size_t)end);

		if (parser->line.len + part.len > SMTP_REPLY_LINE_MAX) {
			state = REPLY_BAD;
			break;
		}
		used += part.len + (end >= 0);
		if (end >= 0 && parser->line.len == 0) {
			state = take_line(parser, part);
			continue;
		}
		str_add(&parser->line, part);
		if (parser->line.failed)
			state = REPLY_BAD;
		else if (end >= 0) {
			state = take_line(parser, str_slice(&parser->line));
			str_clear(&parser->line);
		}
	}
	*used_ret = used;
	return state;
}

static void limits_parse(struct slice rest, struct ehlo_offer *offer)
{
	struct slice word;
	uint64_t number;

	while (slice_word(&rest, &word)) {
		if (slice_starts_nocase(word, SLICE("RCPTMAX=")) && parse_u64(slice_from(word, 8), &number) &&
		    number > 0)
			offer->rcpt_max = number > 100000 ? 100000 : (unsigned)number;
		else if (slice_starts_nocase(word, SLICE("MAILMAX=")) &&
			 parse_u64(slice_from(word, 8), &number) && number > 0)
			offer->mail_max = number > 100000 ? 100000 : (unsigned)number;
	}
}

static void keyword_parse(struct slice line, struct ehlo_offer *offer)
{
	static const struct {
		struct slice name;
		unsigned bit;
	} known[] = {
	    {SLICE_INIT("SIZE"), SMTP_EXT_SIZE},
	    {SLICE_INIT("PIPELINING"), SMTP_EXT_PIPELINING},
	    {SLICE_INIT("CHUNKING"), SMTP_EXT_CHUNKING},
	    {SLICE_INIT("8BITMIME"), SMTP_EXT_8BITMIME},
	    {SLICE_INIT("DSN"), SMTP_EXT_DSN},
	    {SLICE_INIT("STARTTLS"), SMTP_EXT_STARTTLS},
	    {SLICE_INIT("AUTH"), SMTP_EXT_AUTH},
	    {SLICE_INIT("SMTPUTF8"), SMTP_EXT_UTF8},
	    {SLICE_INIT("PRDR"), SMTP_EXT_PRDR},
	    {SLICE_INIT("LIMITS"), SMTP_EXT_LIMITS},
	    {SLICE_INIT("ENHANCEDSTATUSCODES"), SMTP_EXT_ENHANCED},
	    {SLICE_INIT("IGNOREQUOTA"), SMTP_EXT_IGNOREQUOTA},
	};
	struct slice word, argument;
	uint64_t size;

	if (!slice_word(&line, &word))
		return;
	if (slice_starts_nocase(word, SLICE("AUTH="))) { /* what servers said before RFC 2554 */
		line = slice_make(word.ptr + 5, (size_t)(line.ptr + line.len - word.ptr - 5),
				  (enum taint)line.taint);
		word.len = 4;
	}
	for (unsigned i = 0; i < ARRAY_COUNT(known); i++)
		if (slice_eq_nocase(word, known[i].name))
			offer->extensions |= known[i].bit;
	if (slice_eq_nocase(word, SLICE("AUTH")) && slice_trim(line).len > offer->auth.len)
		offer->auth = slice_trim(line);
	if (slice_eq_nocase(word, SLICE("LIMITS")))
		limits_parse(line, offer);
	if (slice_eq_nocase(word, SLICE("SIZE")) && slice_word(&line, &argument) &&
	    parse_u64(argument, &size))
		offer->size_max = size;
}

void ehlo_parse(struct slice text, struct ehlo_offer *offer_ret)
{
	struct slice rest = text, line;
	bool first = true;

	*offer_ret = (struct ehlo_offer){0};
	for (; slice_split(&rest, '\n', &line); first = false)
		if (!first && line.len > 4)
			keyword_parse(slice_from(line, 4), offer_ret);
}
