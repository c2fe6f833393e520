/* canon: canonical forms, straight into hashes: nothing is copied but a few bytes around changed white space. */
#include "canon.h"
#include "scan.h"

unsigned hash_size(enum hash_kind kind)
{
	return kind == HASH_SHA1     ? WC_SHA_DIGEST_SIZE
	       : kind == HASH_SHA256 ? WC_SHA256_DIGEST_SIZE
				     : WC_SHA512_DIGEST_SIZE;
}

/* None of these can fail without hardware of its own. */
void hash_init(struct hash *hash, enum hash_kind kind)
{
	hash->kind = kind;
	switch (kind) {
	case HASH_SHA1:
		ASSERT(wc_InitSha(&hash->state.sha1) == 0);
		break;
	case HASH_SHA256:
		sha256_init(&hash->state.sha256, false);
		break;
	case HASH_SHA512:
		ASSERT(wc_InitSha512(&hash->state.sha512) == 0);
		break;
	}
}

void hash_update(struct hash *hash, const void *bytes, size_t len)
{
	if (!len)
		return;
	switch (hash->kind) {
	case HASH_SHA1:
		ASSERT(wc_ShaUpdate(&hash->state.sha1, bytes, (word32)len) == 0);
		break;
	case HASH_SHA256:
		sha256_update(&hash->state.sha256, bytes, len);
		break;
	case HASH_SHA512:
		ASSERT(wc_Sha512Update(&hash->state.sha512, bytes, (word32)len) == 0);
		break;
	}
}

void hash_update_beside(struct hash *hash, const void *bytes, size_t len, struct sha256_waiting **line)
{
	if (hash->kind == HASH_SHA256)
		sha256_update_beside(&hash->state.sha256, bytes, len, line);
	else
		hash_update(hash, bytes, len);
}

void hash_final(struct hash *hash, uint8_t *digest)
{
	switch (hash->kind) {
	case HASH_SHA1:
		ASSERT(wc_ShaFinal(&hash->state.sha1, digest) == 0);
		wc_ShaFree(&hash->state.sha1);
		break;
	case HASH_SHA256:
		sha256_final(&hash->state.sha256, digest);
		break;
	case HASH_SHA512:
		ASSERT(wc_Sha512Final(&hash->state.sha512, digest) == 0);
		wc_Sha512Free(&hash->state.sha512);
		break;
	}
}

void hash_copy(struct hash *copy, struct hash *hash)
{
	copy->kind = hash->kind;
	switch (hash->kind) {
	case HASH_SHA1:
		ASSERT(wc_ShaCopy(&hash->state.sha1, &copy->state.sha1) == 0);
		break;
	case HASH_SHA256:
		sha256_copy(&copy->state.sha256, &hash->state.sha256);
		break;
	case HASH_SHA512:
		ASSERT(wc_Sha512Copy(&hash->state.sha512, &copy->state.sha512) == 0);
		break;
	}
}

void hash_drop(struct hash *hash)
{
	uint8_t digest[HASH_SIZE_MAX];

	/* Only the library's states have something to give back. */
	if (hash->kind != HASH_SHA256 || !hash->state.sha256.hard)
		hash_final(hash, digest);
}

/* ---- Header fields ------------------------------------------------------------------------------------------ */

void hash_sink_init(struct hash_sink *sink, struct hash *hash)
{
	hash_sink_init_into(sink, hash, sink->own, sizeof(sink->own));
}

void hash_sink_init_into(struct hash_sink *sink, struct hash *hash, char *bytes, unsigned room)
{
	ASSERT(room >= HASH_SINK_LEAST);
	sink->hash = hash;
	sink->total = 0;
	sink->len = 0;
	sink->room = room;
	sink->bytes = bytes;
}

void hash_sink_flush(struct hash_sink *sink)
{
	hash_update(sink->hash, sink->bytes, sink->len);
	sink->total += sink->len;
	sink->len = 0;
}

static inline void need_room(struct hash_sink *sink, unsigned bytes)
{
	if (sink->room - sink->len < bytes)
		hash_sink_flush(sink);
}

void hash_sink_add(struct hash_sink *sink, struct slice text)
{
	if (sink->room - sink->len < text.len)
		hash_sink_flush(sink);
	if (sink->room < text.len) {
		hash_update(sink->hash, text.ptr, text.len);
		sink->total += text.len;
		return;
	}
	memcpy(sink->bytes + sink->len, text.ptr, text.len);
	sink->len += text.len;
}

static inline void put(struct hash_sink *sink, char c)
{
	need_room(sink, 1);
	sink->bytes[sink->len++] = c;
}

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

static void field_simple(struct hash_sink *sink, struct slice text, uint32_t skip_start, uint32_t skip_end)
{
	for (uint32_t i = 0; i < text.len; i++) {
		if (i == skip_start && skip_end > skip_start) {
			i = skip_end - 1;
			continue;
		}
		if (text.ptr[i] == '\n' && (i == 0 || text.ptr[i - 1] != '\r'))
			put(sink, '\r');
		put(sink, text.ptr[i]);
	}
}

/* In the sixteen bytes of v, which next follows one byte on: where the relaxed form ceases to be the same; 16: nowhere. */
static inline unsigned plain_first(bytes16 v, bytes16 next)
{
	return bytes16_first((bytes16)(v <= ' ') & ((bytes16)(v != ' ') | (bytes16)(next <= ' ')));
}

/* The last sixteen bytes or fewer; a space at the very end does not stay. */
static size_t put_plain_end(struct hash_sink *sink, const unsigned char *at, unsigned left)
{
	bytes16 v = left < 16 ? bytes16_tail(at, left) : bytes16_at(at), none = {0};
	unsigned plain = plain_first(
	    v, __builtin_shufflevector(v, none, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16));

	need_room(sink, 16);
	memcpy(sink->bytes + sink->len, &v, 16);
	sink->len += plain;
	return plain;
}

/* Copies the text as far as its relaxed form is the same, which single spaces between visible bytes do not end; how far that is. Sixteen
 * bytes are copied with each look, and those that were not meant are written over by what comes next. */
static size_t put_plain(struct hash_sink *sink, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len, *at = p;

	while (end - at > 16) {
		bytes16 v = bytes16_at(at);
		unsigned plain = plain_first(v, bytes16_at(at + 1));

		need_room(sink, 16);
		memcpy(sink->bytes + sink->len, &v, 16);
		if (plain < 16) {
			sink->len += plain;
			return (size_t)(at - p) + plain;
		}
		/* By a number that is known before the look has come to its end. */
		sink->len += 16;
		at += 16;
	}
	return (size_t)(at - p) + put_plain_end(sink, at, (unsigned)(end - at));
}

static void put_name(struct hash_sink *sink, const char *name, uint32_t len)
{
	for (uint32_t at = 0; at < len; at += 16) {
		uint32_t left = len - at;
		const unsigned char *p = (const unsigned char *)name + at;
		bytes16 v = left < 16 ? bytes16_tail(p, left) : bytes16_at(p);

		v |= (bytes16)(v >= 'A') & (bytes16)(v <= 'Z') & ' ';
		need_room(sink, 16);
		memcpy(sink->bytes + sink->len, &v, 16);
		sink->len += left < 16 ? left : 16;
	}
}

static void field_relaxed(struct hash_sink *sink, struct slice text, uint32_t skip_start, uint32_t skip_end)
{
	uint32_t colon = scan_colon(text.ptr, text.len), name = colon, i;
	bool space = false, any = false;

	while (name && is_wsp(text.ptr[name - 1]))
		name--;
	put_name(sink, text.ptr, name);
	if (colon == text.len)
		return;
	put(sink, ':');
	for (i = colon + 1; i < text.len;) {
		uint32_t stop = i < skip_start && skip_start < text.len ? skip_start : text.len;
		unsigned char c = (unsigned char)text.ptr[i];

		if (i == skip_start && skip_end > skip_start) {
			i = skip_end;
			continue;
		}
		/* Unfolded: a line end inside is nothing, the white space behind it counts. */
		if (c == '\n' || (c == '\r' && i + 1 < text.len && text.ptr[i + 1] == '\n')) {
			i++;
			continue;
		}
		if (is_wsp((char)c)) {
			space = any;
			i++;
			continue;
		}
		if (space)
			put(sink, ' ');
		space = false;
		any = true;
		if (c > ' ') {
			i += (uint32_t)put_plain(sink, text.ptr + i, stop - i);
		} else {
			put(sink, (char)c);
			i++;
		}
	}
}

void canon_field(struct hash_sink *sink, struct slice text, bool relaxed, uint32_t skip_start,
		 uint32_t skip_end, bool last)
{
	if (text.len && text.ptr[text.len - 1] == '\n')
		text.len--;
	if (text.len && text.ptr[text.len - 1] == '\r')
		text.len--;
	if (relaxed)
		field_relaxed(sink, text, skip_start, skip_end);
	else
		field_simple(sink, text, skip_start, skip_end);
	if (last)
		return;
	put(sink, '\r');
	put(sink, '\n');
}

/* ---- Bodies ---------------------------------------------------------------------------------------------------- */

struct body_hash *body_hashes_want(struct arena *arena, struct body_hashes *hashes, bool relaxed,
				   enum hash_kind kind, uint64_t length)
{
	struct body_hash *hash;

	for (unsigned i = 0; i < hashes->count; i++) {
		hash = hashes->hashes[i];
		if (hash->relaxed == relaxed && hash->kind == kind && hash->length == length)
			return hash;
	}
	if (hashes->count == BODY_HASHES_MAX || hashes->done || hashes->canon[0].length ||
	    hashes->canon[1].length)
		return NULL;
	hash = arena_make(arena, struct body_hash);
	if (!hash)
		return NULL;
	hash->relaxed = relaxed;
	hash->kind = kind;
	hash->length = hash->left = length;
	hash_init(&hash->hash, kind);
	hashes->hashes[hashes->count++] = hash;
	hashes->canon[relaxed].wanted = true;
	return hash;
}

static void emit(struct body_hashes *hashes, bool relaxed, const char *ptr, size_t len)
{
	hashes->canon[relaxed].length += len;
	hashes->canon[relaxed].any = true;
	for (unsigned i = 0; i < hashes->count; i++) {
		struct body_hash *hash = hashes->hashes[i];
		size_t part = len < hash->left ? len : (size_t)hash->left;

		if (hash->relaxed != relaxed || !part)
			continue;
		hash_update_beside(&hash->hash, ptr, part, &hashes->line);
		hash->left -= part;
	}
}

/* Line ends that turned out to stand before something. */
static void emit_crlfs(struct body_hashes *hashes, bool relaxed)
{
	static const char crlfs[] = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
	struct body_canon *canon = &hashes->canon[relaxed];

	while (canon->crlfs) {
		uint64_t some = canon->crlfs < sizeof(crlfs) / 2 ? canon->crlfs : sizeof(crlfs) / 2;

		emit(hashes, relaxed, crlfs, (size_t)some * 2);
		canon->crlfs -= some;
	}
}

/* Takes CR and LF at p, where line ends are counted; false: what is there is no part of one. */
static bool take_line_end(struct body_hashes *hashes, bool relaxed, const char **p)
{
	struct body_canon *canon = &hashes->canon[relaxed];

	if (canon->cr) {
		canon->cr = false;
		if (**p == '\n') {
			canon->crlfs++;
			canon->space = false;
			(*p)++;
			return true;
		}
		/* Alone it is a character like others. */
		emit_crlfs(hashes, relaxed);
		if (canon->space)
			emit(hashes, relaxed, " ", 1);
		canon->space = false;
		emit(hashes, relaxed, "\r", 1);
	}
	if (**p != '\r')
		return false;
	canon->cr = true;
	(*p)++;
	return true;
}

static void add_simple(struct body_hashes *hashes, const char *p, const char *end)
{
	while (p < end) {
		const char *stop = end;

		if (take_line_end(hashes, false, &p))
			continue;
		emit_crlfs(hashes, false);
		/* All but the line ends that the piece ends in. */
		if (stop[-1] == '\r')
			stop--;
		while (stop - p > 2 && stop[-1] == '\n' && stop[-2] == '\r')
			stop -= 2;
		emit(hashes, false, p, (size_t)(stop - p));
		p = stop;
	}
}

/* Bit i: byte i of the 64 at p is a space, a line end, or another control character. */
static inline uint64_t low_bits(const unsigned char *p)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < 64; i += 16)
		bits |= (uint64_t)bytes16_bits((bytes16)(bytes16_at(p + i) <= ' ')) << i;
	return bits;
}

static inline bool has_tab(const unsigned char *p)
{
	bytes16 tabs = (bytes16)(bytes16_at(p) == '\t') | (bytes16)(bytes16_at(p + 16) == '\t') |
		       (bytes16)(bytes16_at(p + 32) == '\t') | (bytes16)(bytes16_at(p + 48) == '\t');

	return bytes16_bits(tabs);
}

/* At least so many bytes from p on are left alone as they are by relaxing: no tab, and of two bytes that are both no visible ones
 * each pair is a line end before something visible, which is the only one that ordinary text has. A CR alone is a character as
 * others. */
static size_t plain_words(const unsigned char *p, const unsigned char *end)
{
	const unsigned char *at = p;

	for (; end - at >= 66; at += 64) {
		uint64_t low = low_bits(at), pairs = low & (low >> 1 | (uint64_t)(at[64] <= ' ') << 63);

		if (has_tab(at))
			break;
		for (; pairs; pairs &= pairs - 1) {
			const unsigned char *pair = at + __builtin_ctzll(pairs);
			if (pair[0] != '\r' || pair[1] != '\n' || pair[2] <= ' ')
				return (size_t)(at - p);
		}
	}
	return (size_t)(at - p);
}

/* Up to the first byte that relaxing changes or whose meaning depends on what follows. p is none of white space and CR. */
static const char *plain_run(const char *p, const char *end)
{
	static const bool special[256] = {[' '] = true, ['\t'] = true, ['\r'] = true};
	const unsigned char *at = (const unsigned char *)p, *stop = (const unsigned char *)end;

	for (;;) {
		at += plain_words(at, stop);
		while (at < stop && !special[*at])
			at++;
		if (stop - at > 1 && *at == ' ' && !special[at[1]])
			at += 2;
		else if (stop - at > 2 && *at == '\r' && at[1] == '\n' && !special[at[2]])
			at += 3;
		else
			return (const char *)at;
	}
}

static void add_relaxed(struct body_hashes *hashes, const char *p, const char *end)
{
	struct body_canon *canon = &hashes->canon[1];

	while (p < end) {
		const char *stop;

		if (take_line_end(hashes, true, &p))
			continue;
		if (is_wsp(*p)) {
			canon->space = true;
			p++;
			continue;
		}
		emit_crlfs(hashes, true);
		if (canon->space)
			emit(hashes, true, " ", 1);
		canon->space = false;
		stop = plain_run(p, end);
		emit(hashes, true, p, (size_t)(stop - p));
		p = stop;
	}
}

void body_hashes_add(struct body_hashes *hashes, const char *ptr, size_t len)
{
	if (!len || hashes->done)
		return;
	if (hashes->canon[0].wanted)
		add_simple(hashes, ptr, ptr + len);
	if (hashes->canon[1].wanted)
		add_relaxed(hashes, ptr, ptr + len);
}

void body_hashes_end(struct body_hashes *hashes)
{
	if (hashes->done)
		return;
	hashes->done = true;
	for (unsigned relaxed = 0; relaxed < 2; relaxed++) {
		struct body_canon *canon = &hashes->canon[relaxed];

		if (!canon->wanted)
			continue;
		if (canon->cr) {
			emit_crlfs(hashes, relaxed);
			if (canon->space)
				emit(hashes, relaxed, " ", 1);
			emit(hashes, relaxed, "\r", 1);
		}
		/* An empty body is CRLF in the simple form, nothing in the relaxed one. */
		if (canon->any || !relaxed)
			emit(hashes, relaxed, "\r\n", 2);
	}
	for (unsigned i = 0; i < hashes->count; i++)
		hash_final(&hashes->hashes[i]->hash, hashes->hashes[i]->digest);
}
