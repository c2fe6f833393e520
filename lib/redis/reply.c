/* reply: hiredis reads the protocol; what it finds becomes a struct redis_reply in an arena, so that an answer
 * costs no call of the allocator. */
#include "reply.h"

#include <hiredis/read.h>
#include <stdlib.h>

struct reply_reader {
	redisReader *parser;
	struct arena arena; /* of the reply that is being read, or was read last */
	bool whole;         /* the reply in the arena has been handed out */
};

/* Where the value that was just read belongs: an item of the array that it stands in, or the reply itself. */
static struct redis_reply *place_of(const redisReadTask *at, enum redis_kind kind)
{
	struct reply_reader *reader = at->privdata;
	struct redis_reply *reply;

	if (at->parent)
		reply = &((struct redis_reply *)at->parent->obj)->items[at->idx];
	else
		reply = arena_make(&reader->arena, struct redis_reply);
	if (reply)
		reply->kind = kind;
	return reply;
}

static void *on_string(const redisReadTask *at, char *bytes, size_t len)
{
	struct reply_reader *reader = at->privdata;
	enum redis_kind kind = at->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
			       : at->type == REDIS_REPLY_STATUS ? REDIS_STATUS
								: REDIS_STRING;
	struct redis_reply *reply = place_of(at, kind);

	if (!reply || len > REDIS_REPLY_SIZE_MAX)
		return NULL;
	reply->text = arena_copy(&reader->arena, slice_make(bytes, len, CLEAN));
	return reply->text.ptr ? reply : NULL;
}

static void *on_array(const redisReadTask *at, int count)
{
	struct reply_reader *reader = at->privdata;
	struct redis_reply *reply = place_of(at, REDIS_ARRAY);

	if (!reply)
		return NULL;
	reply->items = arena_array(&reader->arena, struct redis_reply, count > 0 ? (size_t)count : 1);
	reply->count = count > 0 ? (uint32_t)count : 0;
	return reply->items ? reply : NULL;
}

static void *on_integer(const redisReadTask *at, long long integer)
{
	struct redis_reply *reply = place_of(at, REDIS_INTEGER);

	if (reply)
		reply->integer = integer;
	return reply;
}

static void *on_nil(const redisReadTask *at)
{
	return place_of(at, REDIS_NIL);
}

static void on_free(void *reply)
{
	(void)reply; /* the arena's */
}

static redisReplyObjectFunctions functions = {on_string, on_array, on_integer, on_nil, on_free};

struct reply_reader *reply_reader_new(void)
{
	struct reply_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return NULL;
	arena_init(&reader->arena, REDIS_REPLY_SIZE_MAX);
	reader->parser = redisReaderCreateWithFunctions(&functions);
	if (!reader->parser) {
		free(reader);
		return NULL;
	}
	reader->parser->privdata = reader;
	return reader;
}

void reply_reader_free(struct reply_reader *reader)
{
	if (!reader)
		return;
	redisReaderFree(reader->parser);
	arena_done(&reader->arena);
	free(reader);
}

/* A long string is collected in the parser's buffer: it is bounded here, before its end has come. */
bool reply_reader_feed(struct reply_reader *reader, struct slice bytes)
{
	if (reader->parser->len - reader->parser->pos + bytes.len > REDIS_REPLY_SIZE_MAX + 64)
		return false;
	return redisReaderFeed(reader->parser, bytes.ptr, bytes.len) == 0;
}

enum rc reply_reader_next(struct reply_reader *reader, const struct redis_reply **reply_ret,
			  const char **why_ret)
{
	void *reply = NULL;

	if (reader->whole)
		arena_clear(&reader->arena);
	reader->whole = false;
	if (redisReaderGetReply(reader->parser, &reply)) {
		*why_ret = reader->parser->err == REDIS_ERR_OOM ? "reply too large" : "malformed reply";
		return FAIL;
	}
	if (!reply)
		return DEFER;
	reader->whole = true;
	*reply_ret = reply;
	return OK;
}

/* Not deeper than the parser goes (nine levels). */
bool reply_copy(struct arena *arena, const struct redis_reply *from, struct redis_reply *to)
{
	*to = *from;
	if (from->text.ptr) {
		to->text = arena_copy(arena, from->text);
		if (!to->text.ptr)
			return false;
	} else {
		to->text = SLICE_EMPTY;
	}
	if (!from->items)
		return true;
	to->items = arena_array(arena, struct redis_reply, from->count ? from->count : 1);
	if (!to->items)
		return false;
	for (uint32_t i = 0; i < from->count; i++)
		if (!reply_copy(arena, &from->items[i], &to->items[i]))
			return false;
	return true;
}
