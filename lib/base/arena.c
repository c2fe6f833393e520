#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* A standard chunk holds what a small message needs (envelope, header block, log line) with room to spare;
 * larger pieces get a chunk of their own. */
#define CHUNK_SIZE     (16 * 1024)
#define CHUNK_SMALL    192
#define CHUNK_GROWS    1024 /* of such chunks three, then standard ones, which come from the pool */
#define POOL_COUNT_MAX 256
#define LARGE_PAGE     ((size_t)2 << 20)

struct arena_chunk {
	struct arena_chunk *older;
	size_t size; /* bytes of the whole block */
};

#if defined(SLUICE_SANITIZE) || defined(SLUICE_TSAN)
#define EACH_PIECE_A_BLOCK 1
#else
#define EACH_PIECE_A_BLOCK 0
#endif

/* A thread's chunks at rest. Thread-local, not shared: memory is freed by the shard that allocated it. */
static _Thread_local struct arena_chunk *pool;
static _Thread_local unsigned pool_count;

void memory_is_large(void *memory, size_t size)
{
	uintptr_t start = ((uintptr_t)memory + LARGE_PAGE - 1) & ~(uintptr_t)(LARGE_PAGE - 1);
	uintptr_t end = ((uintptr_t)memory + size) & ~(uintptr_t)(LARGE_PAGE - 1);

	if (size >= 4 * LARGE_PAGE && start < end)
		(void)madvise((void *)start, end - start, MADV_HUGEPAGE); /* only a hint */
}

static struct arena_chunk *chunk_new(size_t size)
{
	struct arena_chunk *chunk;

	if (size == CHUNK_SIZE && pool) {
		chunk = pool;
		pool = chunk->older;
		pool_count--;
		return chunk;
	}
	chunk = malloc(size);
	if (chunk) {
		chunk->size = size;
		memory_is_large(chunk, size);
	}
	return chunk;
}

static void chunk_free(struct arena_chunk *chunk)
{
	if (chunk->size == CHUNK_SIZE && pool_count < POOL_COUNT_MAX) {
		chunk->older = pool;
		pool = chunk;
		pool_count++;
		return;
	}
	free(chunk);
}

void arena_pool_done(void)
{
	while (pool) {
		struct arena_chunk *chunk = pool;
		pool = chunk->older;
		free(chunk);
	}
	pool_count = 0;
}

void arena_init(struct arena *arena, size_t size_max)
{
	*arena = (struct arena){.size_max = size_max ? size_max : ARENA_SIZE_MAX};
}

void arena_init_chunks(struct arena *arena, size_t size_max, uint32_t chunk_size)
{
	arena_init(arena, size_max);
	arena->chunk_size = chunk_size;
}

void arena_init_small(struct arena *arena, size_t size_max)
{
	arena_init_chunks(arena, size_max, CHUNK_SMALL);
}

void arena_done(struct arena *arena)
{
	while (arena->chunk) {
		struct arena_chunk *chunk = arena->chunk;
		arena->chunk = chunk->older;
		chunk_free(chunk);
	}
	arena->next = NULL;
	arena->left = arena->used = 0;
}

void arena_clear(struct arena *arena)
{
	/* The chunks go to the thread's pool, where the next piece finds them again. */
	arena_done(arena);
}

static void *take_new_chunk(struct arena *arena, size_t size, size_t align)
{
	size_t head = (sizeof(struct arena_chunk) + 15) & ~(size_t)15;
	size_t need = head + size + (align > 16 ? align : 0);
	size_t standard = arena->chunk_size ? arena->chunk_size : CHUNK_SIZE;
	struct arena_chunk *chunk;
	char *start;
	bool own;

	if (standard >= CHUNK_GROWS && arena->used >= 3 * standard)
		standard = CHUNK_SIZE;
	own = EACH_PIECE_A_BLOCK || need > standard / 2;
	if (!own)
		need = standard;
	if (need > arena->size_max - arena->used)
		return NULL;
	chunk = chunk_new(need);
	if (!chunk)
		return NULL;
	arena->used += need;
	start = (char *)chunk + head;
	start = (char *)(((uintptr_t)start + align - 1) & ~(uintptr_t)(align - 1));
	if (own && arena->chunk) {
		/* Behind the newest, so that what is left of that one is still used. */
		chunk->older = arena->chunk->older;
		arena->chunk->older = chunk;
		return start;
	}
	chunk->older = arena->chunk;
	arena->chunk = chunk;
	arena->next = own ? NULL : start + size;
	arena->left = own ? 0 : need - (size_t)(arena->next - (char *)chunk);
	return start;
}

static void *take(struct arena *arena, size_t size, size_t align)
{
	uintptr_t at = ((uintptr_t)arena->next + align - 1) & ~(uintptr_t)(align - 1);
	size_t pad = at - (uintptr_t)arena->next;

	if (size >= ARENA_SIZE_MAX)
		return NULL;
	if (EACH_PIECE_A_BLOCK || arena->left < pad || arena->left - pad < size)
		return take_new_chunk(arena, size, align);
	arena->next += pad + size;
	arena->left -= pad + size;
	return (void *)at;
}

void *arena_alloc(struct arena *arena, size_t size, size_t align)
{
	void *piece;

	ASSERT(align && (align & (align - 1)) == 0);
	piece = take(arena, size, align);
	if (piece)
		memset(piece, 0, size);
	return piece;
}

void *arena_alloc_array(struct arena *arena, size_t count, size_t size, size_t align)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	return arena_alloc(arena, bytes, align);
}

char *arena_bytes(struct arena *arena, size_t size)
{
	return take(arena, size, 1);
}

bool arena_extend(struct arena *arena, const char *end, size_t more)
{
	if (EACH_PIECE_A_BLOCK || end != arena->next || arena->left < more)
		return false;
	arena->next += more;
	arena->left -= more;
	return true;
}

struct slice arena_copy(struct arena *arena, struct slice s)
{
	char *bytes;

	if (s.len == 0)
		return (struct slice){"", 0, s.taint};
	bytes = arena_bytes(arena, s.len);
	if (bytes)
		memcpy(bytes, s.ptr, s.len);
	return (struct slice){bytes, bytes ? s.len : 0, s.taint};
}

char *arena_cstr(struct arena *arena, struct slice s)
{
	char *bytes = arena_bytes(arena, (size_t)s.len + 1);

	if (bytes) {
		memcpy(bytes, s.ptr, s.len);
		bytes[s.len] = 0;
	}
	return bytes;
}

struct slice arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args;
	int len;
	char *bytes;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	ASSERT(len >= 0);
	bytes = arena_bytes(arena, (size_t)len + 1);
	if (!bytes)
		return (struct slice){NULL, 0, CLEAN};
	va_start(args, format);
	vsnprintf(bytes, (size_t)len + 1, format, args);
	va_end(args);
	return (struct slice){bytes, (uint32_t)len, CLEAN};
}
