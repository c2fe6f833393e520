/* Reads the text of an -H file, ours or any Exim's since 4.20: see envelope_write.c for the form. The text may come from
 * another program or a broken disk: whatever is not of the form is a format error, and lengths count only as far as
 * there is text. */
#include "message/envelope.h"
#include "message/internal.h"

struct reader {
	struct message *message;
	struct slice rest;
	unsigned line; /* the number of the line last taken */
	int rank;      /* of the option line last read */
	uint32_t kept_room;
};

static bool next_line(struct reader *r, struct slice *line_ret)
{
	const char *lf = memchr(r->rest.ptr, '\n', r->rest.len);

	if (!lf)
		return false; /* each line of a whole file has its end */
	*line_ret = slice_sub(r->rest, 0, (size_t)(lf - r->rest.ptr));
	if (memchr(line_ret->ptr, 0, line_ret->len))
		return false;
	r->rest = slice_from(r->rest, line_ret->len + 1u);
	r->line++;
	return true;
}

static bool read_owner(struct reader *r, struct client *client)
{
	struct slice line, gid, uid;
	int64_t number;
	ptrdiff_t space;

	if (!next_line(r, &line) || (space = slice_rfind(line, ' ')) < 0)
		return false;
	gid = slice_from(line, (size_t)space + 1);
	line = slice_sub(line, 0, (size_t)space);
	if ((space = slice_rfind(line, ' ')) < 0)
		return false;
	uid = slice_from(line, (size_t)space + 1);
	client->login = slice_sub(line, 0, (size_t)space);
	client->login.taint = CLEAN;
	if (!parse_i64(uid, &number))
		return false;
	client->uid = (uint32_t)number;
	if (!parse_i64(gid, &number))
		return false;
	client->gid = (uint32_t)number;
	return true;
}

static bool read_head(struct reader *r, struct client *client)
{
	struct message *m = r->message;
	struct slice line;
	uint64_t number;
	ptrdiff_t space;

	if (!next_line(r, &line) || !slice_ends(line, SLICE("-H")) ||
	    !message_id_parse(slice_sub(line, 0, line.len - 2), &m->id))
		return false;
	if (!read_owner(r, client))
		return false;
	if (!next_line(r, &line) || line.len < 2 || line.ptr[0] != '<' || line.ptr[line.len - 1] != '>')
		return false;
	m->sender = m->sender_original = slice_sub(line, 1, line.len - 2);
	if (!next_line(r, &line) || (space = slice_find(line, ' ')) < 0)
		return false;
	if (!parse_u64(slice_sub(line, 0, (size_t)space), &number) || number > UINT64_MAX / NS_PER_S - 1)
		return false;
	m->received = number * NS_PER_S;
	if (!parse_u64(slice_from(line, (size_t)space + 1), &number))
		return false;
	m->warning_count = (uint32_t)number;
	return true;
}

/* ---- The lines with dashes ----------------------------------------------------------------------------------- */

/* "[ip]:port", or "ip.port" as before 4.96, or without a port. */
static bool read_ip(struct slice value, struct ip_addr *ip_ret)
{
	struct slice port = SLICE_EMPTY;
	uint64_t number = 0;

	if (slice_starts(value, SLICE("["))) {
		ptrdiff_t end = slice_find(value, ']');
		if (end < 0)
			return false;
		port = slice_from(value, (size_t)end + 1);
		if (port.len && port.ptr[0] != ':' && port.ptr[0] != '.')
			return false;
		port = slice_from(port, 1);
		value = slice_sub(value, 1, (size_t)end - 1);
	} else if (!ip_parse(value, ip_ret)) {
		ptrdiff_t dot = slice_rfind(value, '.');
		if (dot < 0)
			return false;
		port = slice_from(value, (size_t)dot + 1);
		value = slice_sub(value, 0, (size_t)dot);
	}
	if (!ip_parse(value, ip_ret) || (port.len && (!parse_u64(port, &number) || number > 65535)))
		return false;
	ip_ret->port = (uint16_t)number;
	return true;
}

/* ".123456", the digits as many as there are. */
static bool read_usec(struct slice value, uint64_t *ns_ret)
{
	uint64_t number;

	if (value.len < 2 || value.len > 7 || value.ptr[0] != '.' ||
	    !parse_u64(slice_from(value, 1), &number))
		return false;
	for (uint32_t i = value.len; i < 7; i++)
		number *= 10;
	*ns_ret = number * 1000;
	return true;
}

static bool read_complete(struct reader *r, struct slice value)
{
	ptrdiff_t dot = slice_find(value, '.');
	uint64_t seconds, ns = 0;

	if (!parse_u64(slice_sub(value, 0, dot < 0 ? value.len : (size_t)dot), &seconds) ||
	    seconds > UINT64_MAX / NS_PER_S - 1)
		return false;
	if (dot >= 0 && !read_usec(slice_from(value, (size_t)dot), &ns))
		return false;
	r->message->received_complete = seconds * NS_PER_S + ns;
	return true;
}

/* "<name> <length>", and the value on the following line or lines. */
static bool read_variable(struct reader *r, struct slice value, struct acl_variable **list)
{
	ptrdiff_t space = slice_rfind(value, ' ');
	struct slice name, text;
	uint64_t len;

	if (space < 1 || !parse_u64(slice_from(value, (size_t)space + 1), &len) || len >= r->rest.len ||
	    r->rest.ptr[len] != '\n')
		return false;
	name = slice_sub(value, 0, (size_t)space);
	text = slice_sub(r->rest, 0, len);
	text.taint = value.taint;
	r->rest = slice_from(r->rest, len + 1);
	for (uint32_t i = 0; i < text.len; i++)
		r->line += text.ptr[i] == '\n';
	r->line++;
	return acl_variable_set(&r->message->arena, list, name, text);
}

static struct slice unescape_pem(struct arena *arena, struct slice value)
{
	char *out = arena_bytes(arena, value.len + 1ul);
	uint32_t len = 0;

	if (!out)
		return SLICE_EMPTY;
	for (uint32_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];
		if (c == '\\' && i + 1 < value.len) {
			c = value.ptr[++i];
			c = c == 'n' ? '\n' : c;
		}
		out[len++] = c;
	}
	return slice_make(out, len, value.taint);
}

static bool keep_line(struct reader *r, struct slice line)
{
	struct message *m = r->message;

	if (m->unsupported_count == r->kept_room) {
		uint32_t room = r->kept_room ? r->kept_room * 2 : 8;
		struct envelope_line *more = arena_array(&m->arena, struct envelope_line, room);
		if (!more)
			return false;
		if (m->unsupported_count)
			memcpy(more, m->unsupported_lines, m->unsupported_count * sizeof(*more));
		m->unsupported_lines = more;
		r->kept_room = room;
	}
	m->unsupported_lines[m->unsupported_count++] =
	    (struct envelope_line){line, (uint32_t)(r->rank < 0 ? 0 : r->rank)};
	return true;
}

static bool read_number(struct slice value, uint64_t max, uint64_t *number_ret)
{
	return parse_u64(value, number_ret) && *number_ret <= max;
}

static bool read_text(struct slice value, struct slice *field)
{
	*field = value;
	return true;
}

static bool read_tls_line(struct reader *r, int rank, struct slice value, struct slice line)
{
	struct client *client = r->message->client;
	uint64_t number;

	switch (rank) {
	case RANK_TLS_VERIFIED:
		return client->tls_certificate_verified = true;
	case RANK_TLS_CIPHER:
		return read_text(value, &client->tls_cipher);
	case RANK_TLS_PEERCERT:
		return read_text(unescape_pem(&r->message->arena, value), &client->tls_peercert);
	case RANK_TLS_PEERDN:
		return read_text(value, &client->tls_peerdn);
	case RANK_TLS_SNI:
		return read_text(value, &client->tls_sni);
	case RANK_TLS_OURCERT:
		return read_text(unescape_pem(&r->message->arena, value), &client->tls_ourcert);
	case RANK_TLS_OCSP:
		if (!read_number(value, 4, &number))
			return false;
		client->tls_ocsp = (uint8_t)number;
		return number > 0 || keep_line(r, line);
	case RANK_TLS_RESUMPTION:
		if (value.len != 1 || value.ptr[0] < 'A' || value.ptr[0] > 'A' + 31)
			return false;
		client->tls_resumption = (uint8_t)(value.ptr[0] - 'A');
		/* Exim writes this line even where there was no TLS. */
		return client->tls_resumption > 0 || keep_line(r, line);
	case RANK_TLS_VER:
		return read_text(value, &client->tls_version);
	default:
		return keep_line(r, line);
	}
}

static bool read_client_line(struct reader *r, int rank, struct slice value, struct slice line)
{
	struct client *client = r->message->client;

	switch (rank) {
	case RANK_HELO_NAME:
		return read_text(value, &client->helo);
	case RANK_HOST_ADDRESS:
		return read_ip(value, &client->ip);
	case RANK_HOST_NAME:
		client->host_lookup_done = true;
		return read_text(value, &client->host_name);
	case RANK_HOST_AUTH:
		return read_text(value, &client->authenticator_name);
	case RANK_HOST_AUTH_PUBNAME:
		return read_text(value, &client->authenticator_pubname);
	case RANK_INTERFACE_ADDRESS:
		return read_ip(value, &client->local);
	case RANK_ACTIVE_HOSTNAME:
		return read_text(value, &client->active_hostname);
	case RANK_IDENT:
		return read_text(value, &client->ident);
	case RANK_AUTH_ID:
		return read_text(value, &client->authenticated_id);
	case RANK_LOOKUP_DEFERRED:
		return client->host_lookup_deferred = true;
	case RANK_LOOKUP_FAILED:
		return client->host_lookup_failed = client->host_lookup_done = true;
	default:
		return read_tls_line(r, rank, value, line);
	}
}

/* "0x4". */
static bool read_topics(struct slice value, uint64_t *ret)
{
	uint64_t topics = 0;

	if (!slice_starts(value, SLICE("0x")) || value.len < 3 || value.len > 10)
		return false;
	for (uint32_t i = 2; i < value.len; i++) {
		const char *digits = "0123456789abcdef", *digit = strchr(digits, ascii_lower(value.ptr[i]));

		if (!digit || !*digit)
			return false;
		topics = topics << 4 | (uint64_t)(digit - digits);
	}
	*ret = topics;
	return true;
}

static bool read_message_line(struct reader *r, int rank, struct slice value, struct slice line)
{
	struct message *m = r->message;
	uint64_t number;

	switch (rank) {
	case RANK_RECEIVED_USEC:
		if (!read_usec(value, &number))
			return false;
		m->received += number;
		return true;
	case RANK_RECEIVED_COMPLETE:
		return read_complete(r, value);
	case RANK_RECEIVED_PROTOCOL:
		return read_text(value, &m->protocol);
	case RANK_ACLC:
		return read_variable(r, value, &m->client->acl_c);
	case RANK_ACLM:
		return read_variable(r, value, &m->acl_m);
	case RANK_WIREFORMAT:
		m->body.lf = false;
		return true;
	case RANK_BODY_LINECOUNT:
		return read_number(value, UINT64_MAX, &m->body.line_count);
	case RANK_MAX_LINELENGTH:
		if (!read_number(value, UINT32_MAX, &number))
			return false;
		m->body.line_length_max = (uint32_t)number;
		return true;
	case RANK_BODY_ZEROCOUNT:
		return read_number(value, UINT64_MAX, &m->body.zero_count);
	case RANK_AUTH_SENDER:
		m->client->authenticated_sender = value;
		return read_text(value, &m->auth_sender);
	case RANK_FIRSTTIME:
		return m->deliver_firsttime = true;
	case RANK_FROZEN:
		m->frozen = true;
		return read_number(value, UINT64_MAX, &m->frozen_since);
	case RANK_N:
		return m->dont_deliver = true;
	case RANK_LOCAL:
		return m->local = true;
	case RANK_LOCALERROR:
		return m->sender_local = true;
	case RANK_MANUAL_THAW:
		return m->manual_thaw = true;
	case RANK_SENDER_SET_UNTRUSTED:
		return m->sender_set_untrusted = true;
	case RANK_SMTPUTF8:
		return m->smtputf8 = true;
	case RANK_UTF8_DOWNCVT:
		m->utf8_downconvert = 1;
		return true;
	case RANK_UTF8_OPTDOWNCVT:
		m->utf8_downconvert = -1;
		return true;
	case RANK_DSN_ENVID:
		return read_text(value, &m->dsn_envid);
	case RANK_DEBUG_SELECTOR:
		return read_topics(value, &m->debug_topics);
	case RANK_DEBUGLOG_NAME:
		m->debug_name = value;
		return true;
	case RANK_DSN_RET:
		if (!read_number(value, 2, &number))
			return false;
		m->dsn_ret = (uint8_t)number;
		return true;
	default:
		return read_client_line(r, rank, value, line);
	}
}

static bool read_option(struct reader *r, struct slice line)
{
	struct slice name = slice_from(line, 1), value;
	uint32_t taint = CLEAN, len;
	int rank;

	if (slice_starts(name, SLICE("-"))) {
		taint = TAINTED;
		name = slice_from(name, 1);
		/* "(type)": the value was quoted for that kind of lookup. It stays tainted without. */
		if (slice_starts(name, SLICE("("))) {
			ptrdiff_t end = slice_find(name, ')');
			name = slice_from(name, end < 0 ? name.len : (size_t)end + 1);
		}
	}
	for (len = 0; len < name.len && name.ptr[len] != ' '; len++)
		;
	if (!len)
		return false;
	value = slice_from(name, len + 1);
	value.taint = taint;
	name = slice_sub(name, 0, len);
	/* Before 4.64: numbers for names, connection's first. */
	if (slice_eq(name, SLICE("acl"))) {
		uint64_t number, at = 0;
		struct slice index = value;
		ptrdiff_t space = slice_find(value, ' ');
		char digits[2];

		index.len = space < 0 ? 0 : (uint32_t)space;
		if (!read_number(index, 19, &number))
			return false;
		at = number % 10;
		digits[0] = (char)('0' + at);
		digits[1] = 0;
		struct acl_variable *one = NULL;
		if (!read_variable(r, value, &one))
			return false;
		return acl_variable_set(&r->message->arena,
					number < 10 ? &r->message->client->acl_c : &r->message->acl_m,
					slice_of(digits), one->value);
	}
	rank = envelope_rank(name);
	if (rank < 0)
		return keep_line(r, line);
	r->rank = rank;
	return read_message_line(r, rank, value, line);
}

/* ---- Those done with ------------------------------------------------------------------------------------------- */

static bool read_nonrecipients(struct reader *r, struct slice line)
{
	const char *start = line.ptr;
	uint64_t pending = 1;

	if (slice_eq(line, SLICE("XX")))
		return true;
	for (;;) {
		if (line.len < 4 || (line.ptr[0] != 'Y' && line.ptr[0] != 'N') ||
		    (line.ptr[1] != 'Y' && line.ptr[1] != 'N') || line.ptr[2] != ' ')
			return false;
		if (!message_add_nonrecipient(r->message, slice_from(line, 3)))
			return false;
		pending += (line.ptr[0] == 'Y') + (line.ptr[1] == 'Y');
		if (--pending == 0)
			break;
		if (!next_line(r, &line))
			return false;
	}
	r->message->nonrecipients_text = slice_make(start, (size_t)(r->rest.ptr - start), TAINTED);
	return true;
}

static bool mark_done(struct message *m)
{
	struct map map;
	uint32_t done = 0;

	if (!m->nonrecipient_count)
		return true;
	map_init(&map, &m->arena, false);
	for (uint32_t i = 0; i < m->nonrecipient_count; i++)
		if (!map_set(&map, m->nonrecipients[i], m))
			return false;
	for (uint32_t i = 0; i < m->recipient_count; i++)
		if (map_get(&map, m->recipients[i].address)) {
			m->recipients[i].done = true;
			done++;
		}
	m->nonrecipients_text_count = m->nonrecipient_count + done;
	return true;
}

/* ---- Recipients and headers ---------------------------------------------------------------------------------------- */

/* Takes " <text> <len>,<number>" off the end of the line. */
static bool take_counted(struct slice *line, struct slice *text_ret, int64_t *number_ret)
{
	ptrdiff_t comma = slice_rfind(*line, ','), space;
	uint64_t len;
	uint32_t end;

	if (comma < 0 || !parse_i64(slice_from(*line, (size_t)comma + 1), number_ret))
		return false;
	space = slice_rfind(slice_sub(*line, 0, (size_t)comma), ' ');
	if (space < 0 || !parse_u64(slice_sub(*line, (size_t)space + 1, (size_t)(comma - space - 1)), &len))
		return false;
	end = (uint32_t)space;
	if (len + 1 > end || line->ptr[end - len - 1] != ' ')
		return false;
	*text_ret = slice_sub(*line, end - len, len);
	*line = slice_sub(*line, 0, end - len - 1);
	return true;
}

static bool read_recipient(struct slice line, struct recipient *recipient)
{
	uint32_t digits = 0;
	uint64_t marks;
	int64_t number;

	*recipient = (struct recipient){.orcpt = SLICE_EMPTY, .errors_to = SLICE_EMPTY, .parent = -1};
	while (digits < line.len && ascii_is_digit(line.ptr[line.len - 1 - digits]))
		digits++;
	if (digits && digits < line.len && line.ptr[line.len - digits - 1] == '#') {
		if (!parse_u64(slice_from(line, line.len - digits), &marks))
			return false;
		line = slice_sub(line, 0, line.len - digits - 1);
		if (marks & 1) {
			if (!take_counted(&line, &recipient->errors_to, &number) || number < -1 ||
			    number > INT32_MAX)
				return false;
			recipient->parent = (int32_t)number;
		}
		if (marks & 2) {
			if (!take_counted(&line, &recipient->orcpt, &number) || number < 0 || number > 255)
				return false;
			recipient->dsn_flags = (uint8_t)number;
		}
	} else if (digits && digits + 1 < line.len && line.ptr[line.len - digits - 1] == ' ') {
		/* "<address> <parent>" */
		if (!parse_i64(slice_from(line, line.len - digits), &number) || number > INT32_MAX)
			return false;
		recipient->parent = (int32_t)number;
		line = slice_sub(line, 0, line.len - digits - 1);
	}
	recipient->address = recipient->original = line;
	return line.len > 0;
}

static bool read_recipients(struct reader *r)
{
	struct message *m = r->message;
	struct recipient recipient;
	struct slice line;
	uint64_t count;

	/* Each recipient takes two bytes of text at least. */
	if (!next_line(r, &line) || !parse_u64(line, &count) || count > r->rest.len / 2)
		return false;
	if (count) {
		m->recipients = arena_array(&m->arena, struct recipient, count);
		if (!m->recipients)
			return false;
		m->recipient_room = (uint32_t)count;
	}
	for (uint64_t i = 0; i < count; i++)
		if (!next_line(r, &line) || !read_recipient(line, &recipient) ||
		    !message_add_recipient(m, &recipient))
			return false;
	for (uint64_t i = 0; i < count; i++)
		if (m->recipients[i].parent >= (int64_t)count)
			return false;
	return next_line(r, &line) && line.len == 0;
}

static bool read_header(struct reader *r)
{
	struct slice rest = r->rest, text;
	uint32_t digits = 0;
	struct header *header;
	uint64_t len;

	while (digits < rest.len && ascii_is_digit(rest.ptr[digits]))
		digits++;
	if (digits < 3 || digits + 2 > rest.len || rest.ptr[digits + 1] != ' ' ||
	    !parse_u64(slice_sub(rest, 0, digits), &len) || len == 0 || len > rest.len - digits - 2)
		return false;
	text = slice_sub(rest, digits + 2, len);
	if (text.ptr[len - 1] != '\n' || memchr(text.ptr, 0, text.len))
		return false;
	header = header_place(&r->message->arena, text);
	if (!header)
		return false;
	/* Their type, not ours: it says which ones are deleted. */
	header->type = rest.ptr[digits];
	if (header->type != '*' && header->type != ' ' && !ascii_is_alpha(header->type))
		return false;
	header_append(&r->message->headers, header);
	r->rest = slice_from(rest, digits + 2 + len);
	r->line++;
	return true;
}

static bool read_all(struct reader *r)
{
	struct slice line;

	if (!read_head(r, r->message->client))
		return false;
	for (;;) {
		if (!next_line(r, &line))
			return false;
		if (!slice_starts(line, SLICE("-")))
			break;
		if (!read_option(r, line))
			return false;
	}
	if (!read_nonrecipients(r, line) || !read_recipients(r) || !mark_done(r->message))
		return false;
	while (r->rest.len)
		if (!read_header(r))
			return false;
	return true;
}

enum rc envelope_read(struct message *message, struct slice text, struct err *err)
{
	struct reader r = {.message = message, .rank = -1};

	/* One copy, and everything else points into it. */
	r.rest = arena_copy(&message->arena, slice_tainted(text));
	message->client = arena_make(&message->arena, struct client);
	if (!r.rest.ptr || !message->client)
		return err_memory(err);
	message->client->arena = &message->arena;
	client_clear(message->client);
	message->body.lf = true; /* unless a line says otherwise */
	if (!read_all(&r))
		return err_set(err, FAIL, "spool format error: line %u", r.line + 1);
	message_read_headers(message);
	return OK;
}
