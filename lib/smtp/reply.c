/* reply: what goes back to the client. Replies to pipelined commands are gathered and sent together (RFC 2920). */
#include "session.h"

#include <stdarg.h>

static bool is_enhanced(struct slice text, int code, uint32_t *len_ret)
{
	uint32_t i = 0;

	/* RFC 2034 section 4: class "." subject "." detail, class as the first digit of the code. */
	if (text.len < 5 || text.ptr[0] != '0' + code / 100 || text.ptr[1] != '.')
		return false;
	for (i = 2; i < text.len && ascii_is_digit(text.ptr[i]); i++)
		;
	if (i == 2 || i > 5 || i >= text.len || text.ptr[i] != '.')
		return false;
	uint32_t dot = i++;
	while (i < text.len && ascii_is_digit(text.ptr[i]))
		i++;
	if (i == dot + 1 || i > dot + 4 || (i < text.len && !ascii_is_space(text.ptr[i])))
		return false;
	*len_ret = i;
	return true;
}

static bool prints(struct slice line)
{
	bool others = false;

	for (uint32_t i = 0; i < line.len; i++) /* to its end, as a compiler likes it */
		others |= (unsigned char)(line.ptr[i] - ' ') >= 0x7f - ' ';
	return !others;
}

/* Whatever an administrator, a remote host or the client itself put into a reply: it is one line on the wire, and nothing
 * in it steers a terminal. UTF-8 may stand in a reply (RFC 6531 section 3.5); other bytes above ASCII may not. */
static void add_clean(struct str *out, struct slice text)
{
	while (text.len) {
		unsigned char c = (unsigned char)text.ptr[0];
		unsigned len = utf8_sequence(text);
		bool control =
		    c < ' ' || c == 0x7f || (len == 2 && c == 0xc2 && (unsigned char)text.ptr[1] < 0xa0);

		if (!len || (control && c != '\t'))
			str_addc(out, '?');
		else
			str_add(out, slice_sub(text, 0, len));
		text = slice_from(text, len ? len : 1);
	}
}

static void add_line(struct smtp_session *s, int code, bool more, struct slice enhanced, struct slice line)
{
	struct str *out = &s->serving->out;
	char head[4] = {(char)('0' + code / 100 % 10), (char)('0' + code / 10 % 10), (char)('0' + code % 10),
			more ? '-' : ' '};

	DEBUG(DEBUG_RECEIVE, "SMTP>> %.4s%.*s%s%.*s", head, SLICE_ARG(enhanced), enhanced.len ? " " : "",
	      SLICE_ARG(code == 334 ? SLICE("(not shown)") : line));
	if (!str_reserve(out, sizeof(head) + enhanced.len + 1 + line.len + 2))
		return;
	str_add(out, slice_make(head, sizeof(head), CLEAN));
	if (enhanced.len) {
		str_add(out, enhanced);
		str_addc(out, ' ');
	}
	if (prints(line))
		str_add(out, line);
	else
		add_clean(out, line);
	str_add(out, SLICE("\r\n"));
}

/* How much of the text fits into one line of a reply: all, or up to a space, or at least whole characters. */
static uint32_t line_fit(struct slice text, struct slice enhanced)
{
	uint32_t max = REPLY_LINE_MAX - 4 - 2 - (enhanced.len ? enhanced.len + 1 : 0), fit = max;

	if (text.len <= max)
		return text.len;
	while (fit > max / 2 && text.ptr[fit] != ' ')
		fit--;
	if (text.ptr[fit] == ' ')
		return fit;
	for (fit = max; fit > max - 3 && ((unsigned char)text.ptr[fit] & 0xc0) == 0x80;)
		fit--;
	return fit;
}

void reply(struct smtp_session *s, int code, const char *enhanced, struct slice text)
{
	struct slice rest = slice_rtrim(text), line, given = SLICE_EMPTY;
	uint32_t len;

	if (s->batch) {
		if (code >= 400)
			s->stdio->rejected_ret = true;
		return;
	}
	if (is_enhanced(rest, code, &len)) {
		if (s->enhanced_ok) {
			given = slice_sub(rest, 0, len);
			rest = slice_ltrim(slice_from(rest, len));
		}
	} else if (enhanced && s->enhanced_ok) {
		given = slice_of(enhanced);
	}
	if (s->multiline_off) {
		ptrdiff_t end = slice_find(rest, '\n');
		if (end >= 0)
			rest = slice_sub(rest, 0, (size_t)end);
	}
	while (slice_split(&rest, '\n', &line)) {
		if (slice_starts(line, given) && given.len)
			line = slice_ltrim(slice_from(line, given.len));
		line = slice_rtrim(line);
		do {
			uint32_t fit = line_fit(line, given);
			struct slice piece = slice_sub(line, 0, fit);
			line = s->multiline_off ? SLICE_EMPTY : slice_ltrim(slice_from(line, fit));
			add_line(s, code, rest.ptr != NULL || line.len, given, piece);
		} while (line.len);
	}
}

void reply_long(struct smtp_session *s, int code, struct slice text)
{
	struct slice line;

	if (s->batch)
		return;
	while (!s->over && slice_split(&text, '\n', &line)) {
		if (s->multiline_off)
			text.ptr = NULL;
		add_line(s, code, text.ptr != NULL, SLICE_EMPTY, line);
		if (s->serving->out.len >= REPLY_FLUSH_BYTES)
			reply_flush(s);
	}
}

static struct slice vformat(struct smtp_session *s, const char *format, va_list args)
{
	struct str text = str_make(&s->serving->arena);

	str_vprintf(&text, format, args);
	return text.failed ? SLICE("out of memory") : str_slice(&text);
}

void reply_challenge(struct smtp_session *s, struct slice encoded)
{
	add_line(s, 334, false, SLICE_EMPTY, encoded);
}

void replyf(struct smtp_session *s, int code, const char *enhanced, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	struct slice text = vformat(s, format, args);
	va_end(args);
	reply(s, code, enhanced, text);
}

void reply_user(struct smtp_session *s, int code, const char *enhanced, struct slice text)
{
	uint64_t given;

	if (text.len >= 3 && parse_u64(slice_sub(text, 0, 3), &given) && given >= 200 && given < 600 &&
	    (text.len == 3 || text.ptr[3] == ' ' || text.ptr[3] == '-')) {
		/* A code of another class is not said: a refusal stays one. */
		if ((int)given / 100 == code / 100)
			code = (int)given;
		text = slice_from(text, 4);
	}
	reply(s, code, enhanced, text);
}

void reply_flush(struct smtp_session *s)
{
	struct slice bytes = str_slice(&s->serving->out);
	struct err err = err_make(NULL);
	enum rc rc = DEFER;

	if (bytes.ptr && !bytes.len)
		return;
	/* Where TLS was to come first, or is under way, nothing is said in the clear. */
	if (s->tls_pending || (s->tls_greeting && !s->tls)) {
		str_clear(&s->serving->out);
		return;
	}
	session_deadline(s, session_patience_s(s) * 1000);
	if (s->over)
		stream_last_words(s->stream);
	if (bytes.ptr)
		rc = stream_write(&s->task, s->stream, bytes, &err);
	str_clear(&s->serving->out);
	if (rc != OK) {
		/* Nobody reads: there is no one to say anything to. */
		s->over = true;
		if (!s->notquit_reason)
			s->notquit_reason = rc == DEFER ? "command-timeout" : "connection-lost";
	}
}

void reply_error(struct smtp_session *s, int code, const char *enhanced, const char *format, ...)
{
	va_list args;
	struct slice text;

	va_start(args, format);
	text = vformat(s, format, args);
	va_end(args);
	reply_error_about(s, code, enhanced, SLICE_EMPTY, text);
}

void reply_error_about(struct smtp_session *s, int code, const char *enhanced, struct slice about,
		       struct slice text)
{
	tally_up(&s->server->metrics->errors);
	if (log_wants(s->conf, code == 503 ? LOG_SMTP_PROTOCOL_ERROR : LOG_SMTP_SYNTAX_ERROR))
		log_session(s, LOG_TO_MAIN, "SMTP %s error in \"%.*s\"%.*s %.*s",
			    code == 503 ? "protocol" : "syntax", SLICE_ARG(s->serving->scope.smtp_command),
			    SLICE_ARG(client_phrase(s)), SLICE_ARG(text));
	if (about.len)
		text = arena_printf(&s->serving->arena, "%.*s: %.*s", SLICE_ARG(about), SLICE_ARG(text));
	reply_counted(s, code, enhanced, text);
}

void reply_counted(struct smtp_session *s, int code, const char *enhanced, struct slice text)
{
	if (++s->synprot_errors <= s->options->smtp_max_synprot_errors) {
		reply(s, code, enhanced, text);
		return;
	}
	struct str both = str_make(&s->serving->arena), history = str_make(&s->serving->arena);
	str_add(&both, text);
	str_addz(&both, "\nToo many syntax or protocol errors");
	reply(s, code, enhanced, str_slice(&both));
	log_history(&history, s);
	log_session(
	    s, LOG_TO_MAIN | LOG_TO_REJECT,
	    "SMTP call from %.*s dropped: too many syntax or protocol errors (last command was \"%.*s\",  %.*s)",
	    SLICE_ARG(client_caller(s)), SLICE_ARG(s->serving->scope.smtp_command),
	    SLICE_ARG(str_slice(&history)));
	s->end_told = true;
	s->notquit_reason = "bad-commands";
	s->over = true;
}
