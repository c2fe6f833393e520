/* lsearch: the family of text files that the language searches "linearly": lsearch (literal keys), iplsearch
 * (networks), nwildlsearch and wildlsearch (patterns).
 *
 *	key: data		ends at a colon or white space; "quoted: key" for others
 *	key data		first match in the file counts
 *	  continued		joined with one space
 *	# comment, empty line	ignored, even in the middle of an item
 *
 * lsearch files get a hash index and iplsearch files a trie when they are read; patterns are tried in turn.
 */

#include "lsearch.h"

#include <stdlib.h>

#include "shard_files.h"
#include "types.h"

/* ---- Lines ------------------------------------------------------------------------------ */

/* Takes the next line off, without its end (LF or CRLF). */
static struct slice line_take(struct slice *rest)
{
	const char *end = memchr(rest->ptr, '\n', rest->len);
	size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
	struct slice line = slice_sub(*rest, 0, len);

	*rest = slice_from(*rest, end ? len + 1 : len);
	if (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	return line;
}

static bool line_ignored(struct slice line)
{
	return line.len == 0 || line.ptr[0] == '#';
}

bool lsearch_next(struct slice *rest, struct slice *line_ret)
{
	while (rest->len) {
		struct slice line = line_take(rest);

		if (line_ignored(line) || ascii_is_space(line.ptr[0]))
			continue;
		*line_ret = line;
		return true;
	}
	return false;
}

/* One escape behind a backslash, as in quoted strings of the language. */
static char unescape(const char **at, const char *end)
{
	char c = *(*at)++;
	unsigned number = 0;
	int digit;

	switch (c) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'v':
		return '\v';
	case 'x':
		for (unsigned i = 0; i < 2 && *at < end && (digit = hex_digit(**at)) >= 0; i++, (*at)++)
			number = number * 16 + (unsigned)digit;
		return (char)number;
	default:
		if (c < '0' || c > '7')
			return c;
		number = (unsigned)(c - '0');
		for (unsigned i = 0; i < 2 && *at < end && **at >= '0' && **at <= '7'; i++, (*at)++)
			number = number * 8 + (unsigned)(**at - '0');
		return (char)number;
	}
}

struct slice lsearch_key(struct slice line, char *room, struct slice *data_ret)
{
	const char *at = line.ptr, *end = line.ptr + line.len;
	struct slice key;
	size_t len = 0;

	if (line.len && *at == '"') {
		for (at++; at < end && *at != '"';) {
			char c = *at++;

			room[len++] = c == '\\' && at < end ? unescape(&at, end) : c;
		}
		if (at < end)
			at++;
		key = slice_make(room, len, CLEAN);
	} else {
		while (at < end && *at != ':' && !ascii_is_space(*at))
			at++;
		key = slice_sub(line, 0, (size_t)(at - line.ptr));
	}
	*data_ret = slice_from(line, (size_t)(at - line.ptr));
	return key;
}

/* Behind the key: white space, one colon, white space. */
static struct slice data_start(struct slice data)
{
	data = slice_ltrim(data);
	if (data.len && data.ptr[0] == ':')
		data = slice_ltrim(slice_from(data, 1));
	return slice_rtrim(data);
}

enum rc lsearch_value(struct arena *arena, struct slice record, bool full, struct slice *ret, struct err *err)
{
	struct slice rest = record, line = line_take(&rest), data, key;
	struct str value = str_make(arena);
	char *room = arena_bytes(arena, line.len + 1u);

	if (!room)
		return err_memory(err);
	key = lsearch_key(line, room, &data);
	if (full) {
		str_add(&value, key);
		str_add(&value, slice_rtrim(data));
	} else {
		str_add(&value, data_start(data));
	}
	while (rest.len) {
		line = line_take(&rest);
		if (line_ignored(line))
			continue;
		if (!ascii_is_space(line.ptr[0]))
			break;
		line = slice_trim(line);
		if (line.len) {
			str_addc(&value, ' ');
			str_add(&value, line);
		}
	}
	*ret = str_slice(&value);
	return ret->ptr ? OK : err_memory(err);
}

/* ---- The index of literal keys ---------------------------------------------------------- */

/* Open addressing; a place holds part of the hash, and where in the file the line starts, plus one. */
struct place {
	uint32_t tag;
	uint32_t at;
};
struct lsearch_index {
	uint32_t mask;
	char *room; /* for keys with escapes: as long as the longest line */
	struct place places[];
};

static bool index_find(const struct lsearch_index *index, struct slice bytes, struct slice key, char *room,
		       uint32_t *place_ret, struct slice *record_ret)
{
	uint64_t hash = hash_slice_nocase(key);
	uint32_t tag = (uint32_t)(hash >> 32), i = (uint32_t)hash & index->mask;
	struct slice data, rest, line;

	for (; index->places[i].at; i = (i + 1) & index->mask) {
		if (index->places[i].tag != tag)
			continue;
		rest = *record_ret = slice_from(bytes, index->places[i].at - 1u);
		line = line_take(&rest);
		if (slice_eq_nocase(lsearch_key(line, room, &data), key))
			return true;
	}
	*place_ret = i;
	return false;
}

static uint32_t count_records(struct slice bytes, uint32_t *line_max_ret)
{
	struct slice rest = bytes, line;
	uint32_t count = 0;

	*line_max_ret = 0;
	while (lsearch_next(&rest, &line)) {
		count++;
		if (line.len > *line_max_ret)
			*line_max_ret = line.len;
	}
	return count;
}

static enum rc lsearch_build(struct slice bytes, void **built_ret, size_t *cost_ret)
{
	uint32_t line_max, count = count_records(bytes, &line_max), room = 16, place;
	struct slice rest = bytes, line, key, data, record;
	struct lsearch_index *index;

	while (room < UINT32_C(1) << 31 && room / 3 * 2 < count)
		room *= 2;
	index = calloc(1, sizeof(*index) + room * sizeof(struct place));
	if (!index)
		return DEFER;
	index->mask = room - 1;
	index->room = malloc(2 * (size_t)line_max + 2);
	if (!index->room) {
		free(index);
		return DEFER;
	}
	while (lsearch_next(&rest, &line)) {
		key = lsearch_key(line, index->room, &data);
		if (index_find(index, bytes, key, index->room + line_max + 1, &place, &record))
			continue; /* the first one counts */
		index->places[place].tag = (uint32_t)(hash_slice_nocase(key) >> 32);
		index->places[place].at = (uint32_t)(line.ptr - bytes.ptr) + 1;
	}
	*built_ret = index;
	*cost_ret = sizeof(*index) + room * sizeof(struct place) + 2 * (size_t)line_max + 2;
	return OK;
}

static void lsearch_free(void *built)
{
	struct lsearch_index *index = built;

	free(index->room);
	free(index);
}

const struct text_file_kind lsearch_file_kind = {"linear search", lsearch_build, lsearch_free};

bool lsearch_index_find(const struct lsearch_index *index, struct slice bytes, struct slice key,
			struct slice *record_ret)
{
	uint32_t place;

	return index_find(index, bytes, key, index->room, &place, record_ret);
}

static bool wants_full(const struct lookup_request *request)
{
	struct slice want = lookup_option(request->options, SLICE("ret"));

	return want.ptr && slice_eq(want, SLICE("full"));
}

static enum rc lsearch_find(struct scope *sc, const struct lookup_type *type,
			    const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct slice record;
	struct text_file *file;
	enum rc rc;

	(void)type;
	rc = text_file_get(sc->task, request->file, &lsearch_file_kind, &file, err);
	if (rc != OK)
		return rc;
	rc = FAIL;
	if (lsearch_index_find(file->built, file->bytes, request->key, &record))
		rc = lsearch_value(sc->task->arena, record, wants_full(request), ret, err);
	text_file_put(sc->task->shard, file);
	return rc;
}

/* ---- Networks --------------------------------------------------------------------------- */

static bool key_net(struct slice line, char *room, struct ip_addr *net_ret, unsigned *bits_ret)
{
	struct slice data;

	return cidr_parse(lsearch_key(line, room, &data), net_ret, bits_ret);
}

/* Lines are numbered by where they start, so the least number is the first in the file. A key that is no
 * network, or too long to be one, is never found. */
static enum rc iplsearch_build(struct slice bytes, void **built_ret, size_t *cost_ret)
{
	uint32_t line_max, count = count_records(bytes, &line_max);
	struct net_set *set = calloc(1, sizeof(*set));
	char *room = malloc((size_t)line_max + 1);
	struct slice rest = bytes, line;
	struct ip_addr net;
	unsigned bits;

	if (!set || !room)
		goto fail;
	net_set_init(set);
	if (!net_set_reserve(set, NULL, count))
		goto fail;
	while (lsearch_next(&rest, &line)) {
		if (key_net(line, room, &net, &bits))
			net_set_add(set, &net, bits, (uint32_t)(line.ptr - bytes.ptr));
	}
	net_set_finish(set);
	free(room);
	*built_ret = set;
	*cost_ret = (size_t)count * 64;
	return OK;
fail:
	free(set);
	free(room);
	return DEFER;
}

static void iplsearch_free(void *built)
{
	net_set_done(built);
	free(built);
}

static const struct text_file_kind network_file = {"linear search", iplsearch_build, iplsearch_free};

static enum rc iplsearch_find(struct scope *sc, const struct lookup_type *type,
			      const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct text_file *file;
	struct ip_addr ip;
	uint32_t at;
	enum rc rc;

	(void)type;
	/* Defaults ("iplsearch*") look for the key "*", which no network matches. */
	if (slice_eq(request->key, SLICE("*")))
		return FAIL;
	if (!request->key.len)
		return FAIL; /* and no mistake: it may be a variable that is not set */
	if (!ip_parse(request->key, &ip))
		return err_set(
		    err, DEFER,
		    "\"%.*s\" is not a valid iplsearch key (an IP address, with optional CIDR mask, is "
		    "wanted): in a host list, use net-iplsearch as the search type",
		    SLICE_ARG(request->key));
	rc = text_file_get(sc->task, request->file, &network_file, &file, err);
	if (rc != OK)
		return rc;
	at = net_set_find(file->built, &ip);
	rc = FAIL;
	if (at != NET_NONE)
		rc = lsearch_value(sc->task->arena, slice_from(file->bytes, at), wants_full(request), ret,
				   err);
	text_file_put(sc->task->shard, file);
	return rc;
}

/* ---- Patterns --------------------------------------------------------------------------- */

static const struct text_file_kind pattern_file = {.name = "linear search"};

static enum rc pattern_matches(struct scope *sc, struct slice pattern, struct slice key, struct err *err)
{
	const struct regex *regex;
	struct lookup_spec spec;
	struct slice value;
	ptrdiff_t semicolon;
	unsigned count;
	enum rc rc;

	if (pattern.len && pattern.ptr[0] == '^') {
		rc = regex_cached(sc->task->shard, pattern, REGEX_NOCASE, &regex, err);
		if (rc != OK)
			return rc == FAIL ? DEFER : rc;
		return regex_match(regex, key, NULL, 0, &count, err);
	}
	if (pattern.len && pattern.ptr[0] == '*')
		return slice_ends_nocase(key, slice_from(pattern, 1)) ? OK : FAIL;
	semicolon = slice_find(pattern, ';');
	if (semicolon > 0 && lookup_spec_parse(slice_sub(pattern, 0, (size_t)semicolon), &spec, NULL) == OK) {
		struct slice rest = slice_ltrim(slice_from(pattern, (size_t)semicolon + 1));

		if (fiber_stack_left() < 32 * 1024)
			return err_set(err, DEFER, "lookups are nested too deeply");
		return lookup_find(sc, &spec, spec.type->query ? SLICE_EMPTY : rest,
				   spec.type->query ? rest : key, &value, NULL, NULL, err);
	}
	return slice_eq_nocase(pattern, key) ? OK : FAIL;
}

static enum rc pattern_find(struct scope *sc, const struct lookup_type *type,
			    const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct slice rest, line = SLICE_EMPTY, pattern, data;
	struct text_file *file;
	enum rc rc;
	bool negated;

	rc = text_file_get(sc->task, request->file, &pattern_file, &file, err);
	if (rc != OK)
		return rc;
	rest = file->bytes;
	rc = FAIL;
	while (rc == FAIL && request->key.len && lsearch_next(&rest, &line)) {
		char *room = line.ptr[0] == '"' ? arena_bytes(sc->task->arena, line.len) : NULL;

		if (line.ptr[0] == '"' && !room) {
			rc = err_memory(err);
			break;
		}
		pattern = lsearch_key(line, room, &data);
		if (type == &lookup_wildlsearch) {
			rc = expand_text(sc, pattern, &pattern, err);
			if (rc != OK) {
				rc = rc == FAIL && !err->forced ? DEFER : rc;
				continue; /* a forced failure: the line is left out */
			}
		}
		negated = pattern.len && pattern.ptr[0] == '!';
		if (negated)
			pattern = slice_ltrim(slice_from(pattern, 1));
		rc = pattern_matches(sc, pattern, request->key, err);
		if (negated && (rc == OK || rc == FAIL))
			rc = rc == OK ? FAIL : OK;
	}
	if (rc == OK)
		rc = lsearch_value(sc->task->arena,
				   slice_from(file->bytes, (size_t)(line.ptr - file->bytes.ptr)),
				   wants_full(request), ret, err);
	text_file_put(sc->task->shard, file);
	return rc;
}

const struct lookup_type lookup_iplsearch = {.name = "iplsearch", .find = iplsearch_find};
const struct lookup_type lookup_lsearch = {.name = "lsearch", .find = lsearch_find};
const struct lookup_type lookup_nwildlsearch = {.name = "nwildlsearch", .kept = true, .find = pattern_find};
const struct lookup_type lookup_wildlsearch = {.name = "wildlsearch", .kept = true, .find = pattern_find};
