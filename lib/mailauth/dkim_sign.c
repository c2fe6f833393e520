/* dkim_sign: DKIM-Signature fields for a message as it will be sent (RFC 6376 section 5). */
#include "sign.h"

#define LINE_MAX_BYTES 76

#define NAMES(F)                                                                                                                                                                                                                                                                                                             \
	F("From")                                                                                                                                                                                                                                                                                                            \
	":" F("Sender") ":" F("Reply-To") ":" F("Subject") ":" F("Date") ":" F("Message-ID") ":" F("To") ":" F("Cc") ":" F("MIME-Version") ":" F("Content-Type") ":" F("Content-Transfer-Encoding") ":" F("Content-ID") ":" F("Content-Description") ":" F("Resent-Date") ":" F("Resent-From") ":" F("Resent-Sender") ":" F( \
	    "Resent-To") ":" F("Resent-Cc") ":" F("Resent-Message-ID") ":" F("In-Reply-To") ":" F("References") ":" F("List-Id") ":" F("List-Help") ":" F("List-Unsubscribe") ":" F("List-Subscribe") ":" F("List-Post") ":" F("List-Owner") ":" F("List-Archive")
#define PLAIN(name) name
#define OVER(name)  "+" name
const char dkim_sign_headers[] = NAMES(PLAIN);

void mailauth_macros(struct conf *conf)
{
	conf_macro_text(conf, "_DKIM_SIGN_HEADERS", NAMES(PLAIN));
	conf_macro_text(conf, "_DKIM_OVERSIGN_HEADERS", NAMES(OVER));
}

/* ---- The text ----------------------------------------------------------------------------------------------------- */

enum rc mailauth_text_init(struct mailauth_text *text, struct err *err)
{
	struct arena *arena = text->task->arena;
	struct slice rest = text->header;
	unsigned room = 1;

	for (uint32_t i = 0; i < rest.len; i++)
		room += rest.ptr[i] == '\n';
	text->fields = arena_array(arena, struct slice, room);
	text->hashes = arena_make(arena, struct body_hashes);
	text->field_count = 0;
	if (!text->fields || !text->hashes)
		return err_memory(err);
	while (rest.len) {
		ptrdiff_t end = slice_find(rest, '\n');
		struct slice line = slice_sub(rest, 0, end < 0 ? rest.len : (size_t)end + 1);

		rest = slice_from(rest, line.len);
		if (text->field_count && (line.ptr[0] == ' ' || line.ptr[0] == '\t'))
			text->fields[text->field_count - 1].len += line.len;
		else
			text->fields[text->field_count++] = line;
	}
	return OK;
}

/* ---- Digests that are known ------------------------------------------------------------------------------------- */

/* A message for a hundred hosts, or tried at several of one, is hashed once. By form (simple, relaxed) and hash; those of whole bodies. */
struct body_digests {
	struct body_digest {
		bool known;
		uint8_t digest[HASH_SIZE_MAX];
	} all[2][HASH_SHA512 + 1];
};

static struct body_digest *digest_of(struct body_digests *digests, const struct body_hash *hash)
{
	return &digests->all[hash->relaxed][hash->kind];
}

/* What verification has made of the same bytes, when they came in. */
static const uint8_t *verified_digest(const struct message *message, const struct body_hash *wanted)
{
	const struct dkim_state *state = dkim_state_of(message);

	/* A body with LF line ends is another than the one that is sent. */
	if (!state || !state->body.done || message->body.lf)
		return NULL;
	for (unsigned i = 0; i < state->body.count; i++) {
		const struct body_hash *hash = state->body.hashes[i];

		if (hash->relaxed == wanted->relaxed && hash->kind == wanted->kind &&
		    hash->length == wanted->length)
			return hash->digest;
	}
	return NULL;
}

static const uint8_t *known_digest(const struct mailauth_text *text, const struct body_hash *wanted)
{
	const struct mailauth *auth = text->message->extra[MAILAUTH_EXTRA];

	if (!auth)
		return NULL;
	if (auth->digests && digest_of(auth->digests, wanted)->known)
		return digest_of(auth->digests, wanted)->digest;
	return verified_digest(text->message, wanted);
}

/* Everything that is wanted, or nothing: the body is read once in either case. */
static bool take_digests(struct mailauth_text *text)
{
	struct body_hashes *hashes = text->hashes;

	for (unsigned i = 0; i < hashes->count; i++)
		if (!known_digest(text, hashes->hashes[i]))
			return false;
	for (unsigned i = 0; i < hashes->count; i++) {
		memcpy(hashes->hashes[i]->digest, known_digest(text, hashes->hashes[i]), HASH_SIZE_MAX);
		hash_drop(&hashes->hashes[i]->hash);
	}
	hashes->done = true;
	return true;
}

/* Without memory nothing is kept. */
static void keep_digests(struct mailauth_text *text)
{
	struct mailauth *auth = mailauth_of(text->message);

	if (auth && !auth->digests)
		auth->digests = arena_make(&text->message->arena, struct body_digests);
	if (!auth || !auth->digests)
		return;
	for (unsigned i = 0; i < text->hashes->count; i++) {
		struct body_digest *kept = digest_of(auth->digests, text->hashes->hashes[i]);

		memcpy(kept->digest, text->hashes->hashes[i]->digest, HASH_SIZE_MAX);
		kept->known = true;
	}
}

enum rc mailauth_text_read(struct mailauth_text *text, struct err *err)
{
	struct slice piece;
	enum rc rc = FAIL;

	if (!text->hashes->count || (text->message && take_digests(text)))
		return OK;
	while ((rc = text->next(text, &piece, err)) == OK)
		body_hashes_add(text->hashes, piece.ptr, piece.len);
	if (rc != FAIL || err->text.len)
		return rc == FAIL ? DEFER : rc;
	body_hashes_end(text->hashes);
	if (text->message)
		keep_digests(text);
	return OK;
}

static void add_name(struct str *names, struct slice name)
{
	if (names->len)
		str_addc(names, ':');
	str_add(names, name);
}

static bool is_field_name(struct slice name)
{
	for (uint32_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] > '~' || name.ptr[i] == ';')
			return false;
	return name.len;
}

static bool is_from(struct slice name)
{
	return slice_eq_nocase(name, SLICE("from"));
}

static bool has_from(const struct mailauth_text *text)
{
	for (unsigned i = 0; i < text->field_count; i++)
		if (is_from(field_name_of(text->fields[i])))
			return true;
	return false;
}

/* An entry of the list of names: "=" takes all fields of the name, "+" those and one that is not there. */
struct wanted {
	struct slice name;
	char how; /* '=', '+', 0 */
	bool taken;
};

/* NULL: no memory. */
static struct wanted *wanted_parse(struct arena *arena, struct slice list, unsigned *count_ret)
{
	struct wanted *wanted = arena_array(arena, struct wanted, list.len / 2 + 2);
	unsigned count = 0;
	struct slice item;
	char separator = 0;
	bool from = false;

	*count_ret = 0;
	if (!wanted)
		return NULL;
	while (list_next(arena, &list, &separator, &item)) {
		char how = item.len && (item.ptr[0] == '=' || item.ptr[0] == '+') ? item.ptr[0] : 0;

		if (how)
			item = slice_trim(slice_from(item, 1));
		if (!is_field_name(item))
			continue;
		from |= is_from(item);
		wanted[count++] = (struct wanted){.name = item, .how = how};
	}
	/* A signature without From is none (section 5.4). */
	if (!from)
		wanted[count++] = (struct wanted){.name = SLICE("From")};
	*count_ret = count;
	return wanted;
}

static void take_field(struct str *names, struct wanted *wanted, unsigned count, struct slice name)
{
	for (unsigned i = 0; i < count; i++) {
		if (wanted[i].taken || !slice_eq_nocase(wanted[i].name, name))
			continue;
		add_name(names, name);
		wanted[i].taken = !wanted[i].how;
		return;
	}
}

/* As Exim puts them: what is there, from the bottom up and as it is spelled there; then what is not. */
bool sign_names(struct mailauth_text *text, struct slice list, struct str *names)
{
	unsigned count;
	struct wanted *wanted = wanted_parse(text->task->arena, list, &count);

	*names = str_make(text->task->arena);
	if (!wanted)
		return false;
	for (unsigned i = text->field_count; i--;)
		take_field(names, wanted, count, field_name_of(text->fields[i]));
	for (unsigned i = 0; i < count; i++)
		if (!wanted[i].taken && wanted[i].how != '=')
			add_name(names, wanted[i].name);
	return !names->failed;
}

void sign_hash_header(struct mailauth_text *text, struct slice names, struct slice unfinished, bool relaxed,
		      enum hash_kind kind, uint8_t *digest)
{
	struct field_index index;
	struct hash_sink sink;
	struct slice name;
	struct hash hash;

	hash_init(&hash, kind);
	hash_sink_init(&sink, &hash);
	if (field_index_init(&index, text->task->arena, text->fields, text->field_count)) {
		field_index_begin(&index);
		while (tag_item(&names, &name)) {
			uint32_t field = field_index_take(&index, name);
			if (field != UINT32_MAX)
				canon_field(&sink, text->fields[field], relaxed, 0, 0, false);
		}
	}
	canon_field(&sink, unfinished, relaxed, 0, 0, true);
	hash_sink_flush(&sink);
	hash_final(&hash, digest);
}

/* ---- The field ------------------------------------------------------------------------------------------------------- */

void field_begin(struct field_maker *maker, struct str *out, const char *name)
{
	maker->out = out;
	maker->line = out->len;
	str_addz(out, name);
	str_addc(out, ':');
}

static void fold(struct field_maker *maker)
{
	str_addz(maker->out, "\r\n\t");
	maker->line = maker->out->len - 1;
}

static bool is_full(const struct field_maker *maker, uint32_t more)
{
	return maker->out->len - maker->line + more > LINE_MAX_BYTES;
}

void field_tag(struct field_maker *maker, const char *tag, struct slice value)
{
	struct str *out = maker->out;

	if (out->len && out->ptr && out->ptr[out->len - 1] != ':')
		str_addc(out, ';');
	if (is_full(maker, (uint32_t)strlen(tag) + value.len + 3) && out->len - maker->line > 1)
		fold(maker);
	else
		str_addc(out, ' ');
	str_addz(out, tag);
	str_addc(out, '=');
	str_add(out, value);
}

void field_value(struct field_maker *maker, struct slice value, char separator)
{
	while (value.len) {
		uint32_t room = LINE_MAX_BYTES - (maker->out->len - maker->line), part = value.len;
		ptrdiff_t at = separator ? slice_find(value, separator) : -1;

		if (maker->out->len - maker->line >= LINE_MAX_BYTES)
			room = 0;
		if (separator)
			part = at < 0 ? value.len : (uint32_t)at + 1;
		else if (part > room)
			part = room;
		if (part == 0 || part > room) {
			if (maker->out->len - maker->line > 2) {
				fold(maker);
				continue;
			}
		}
		str_add(maker->out, slice_sub(value, 0, part));
		value = slice_from(value, part);
	}
}

struct slice base64_of(struct arena *arena, struct slice bytes)
{
	struct str text = str_make(arena);

	base64_encode(&text, bytes);
	return str_slice(&text);
}

enum rc dkim_sign_prepare(struct mailauth_text *text, const struct dkim_signer *signer, struct err *err)
{
	return body_hashes_want(text->task->arena, text->hashes, signer->body_relaxed,
				signer->sha512 ? HASH_SHA512 : HASH_SHA256, UINT64_MAX)
		   ? OK
		   : err_memory(err);
}

static struct slice number(struct arena *arena, uint64_t value)
{
	struct slice s = arena_printf(arena, "%llu", (unsigned long long)value);

	return s.ptr ? s : SLICE_EMPTY;
}

/* All but the value of b=. */
static void make_field(struct mailauth_text *text, const struct dkim_signer *signer, struct slice names,
		       struct slice body_hash, struct str *out)
{
	struct arena *arena = text->task->arena;
	struct field_maker maker;
	struct slice algorithm = signer->key->type == KEY_ED25519 ? SLICE("ed25519-sha256")
				 : signer->sha512                 ? SLICE("rsa-sha512")
								  : SLICE("rsa-sha256");

	field_begin(&maker, out, "DKIM-Signature");
	field_tag(&maker, "v", SLICE("1"));
	field_tag(&maker, "a", algorithm);
	field_tag(&maker, "q", SLICE("dns/txt"));
	field_tag(&maker, "c",
		  signer->header_relaxed
		      ? (signer->body_relaxed ? SLICE("relaxed/relaxed") : SLICE("relaxed/simple"))
		      : (signer->body_relaxed ? SLICE("simple/relaxed") : SLICE("simple/simple")));
	field_tag(&maker, "d", signer->domain);
	field_tag(&maker, "s", signer->selector);
	field_tag(&maker, "h", SLICE_EMPTY);
	field_value(&maker, names, ':');
	field_tag(&maker, "bh", body_hash);
	if (signer->identity.len)
		field_tag(&maker, "i", signer->identity);
	if (signer->timestamps) {
		field_tag(&maker, "t", number(arena, signer->created));
		if (signer->expires)
			field_tag(&maker, "x", number(arena, signer->expires));
	}
	str_addc(out, ';');
	fold(&maker);
	str_addz(out, "b=");
}

static bool fits(struct slice text)
{
	for (uint32_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f || text.ptr[i] == ';')
			return false;
	return true;
}

enum rc dkim_sign(struct mailauth_text *text, const struct dkim_signer *signer, struct str *out,
		  struct err *err)
{
	struct arena *arena = text->task->arena;
	enum hash_kind kind = signer->sha512 ? HASH_SHA512 : HASH_SHA256;
	struct body_hash *body =
	    body_hashes_want(arena, text->hashes, signer->body_relaxed, kind, UINT64_MAX);
	struct str names, field = str_make(arena);
	struct field_maker maker = {.out = &field};
	struct slice signature, bytes;
	uint8_t digest[HASH_SIZE_MAX];
	enum rc rc;

	if (!tag_is_domain(signer->domain, 1, true) || !tag_is_domain(signer->selector, 1, true) ||
	    !fits(signer->identity))
		return err_set(err, FAIL, "domain, selector or identity cannot stand in a signature");
	if (signer->sha512 && signer->key->type == KEY_ED25519)
		return err_set(err, FAIL, "Ed25519 signs sha256 only");
	if (!has_from(text))
		return err_set(err, FAIL, "the message has no From field");
	if (!body ||
	    !sign_names(text, signer->sign_headers.len ? signer->sign_headers : slice_of(dkim_sign_headers),
			&names))
		return err_memory(err);
	bytes = slice_make((const char *)body->digest, hash_size(kind), CLEAN);
	make_field(text, signer, str_slice(&names), base64_of(arena, bytes), &field);
	if (field.failed)
		return err_memory(err);
	sign_hash_header(text, str_slice(&names), str_slice(&field), signer->header_relaxed, kind, digest);
	rc = mailauth_key_sign(text->task, signer->key, kind, digest, &signature, err);
	if (rc != OK)
		return rc;
	maker.line = field.len - 3;
	field_value(&maker, base64_of(arena, signature), 0);
	str_addz(&field, "\r\n");
	if (field.failed)
		return err_memory(err);
	str_add(out, str_slice(&field));
	return out->failed ? err_memory(err) : OK;
}
