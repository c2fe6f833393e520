#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/slice.h"

/* Memory that ends all at once: a command's, a message's, a connection's, a snapshot's. No lock: it is one
 * shard's. Under a sanitizer each piece is a block of its own, so overruns inside are still found.
 *
 * An arena starts without memory and takes chunks from a pool of its thread, which keeps a bounded number
 * of standard chunks for reuse: in the steady state a message costs no call of the system's allocator. */
struct arena_chunk;
struct arena {
	struct arena_chunk *chunk; /* newest first */
	char *next;                /* free bytes of the newest chunk */
	size_t left;
	size_t used;         /* bytes of all chunks */
	size_t size_max;     /* a limit on used */
	uint32_t chunk_size; /* 0: the standard */
};

/* size_max in bytes; 0 stands for ARENA_SIZE_MAX. Cannot fail: memory is taken when it is asked for. */
#define ARENA_SIZE_MAX (1024ul * 1024 * 1024)
void arena_init(struct arena *arena, size_t size_max);
/* The same in chunks of a few hundred bytes, for what lives long in great numbers and holds a few strings: an idle
 * connection. */
void arena_init_small(struct arena *arena, size_t size_max);
/* The same in chunks of a size of its own, which come from the allocator each time; of a kilobyte and more only the first three. */
void arena_init_chunks(struct arena *arena, size_t size_max, uint32_t chunk_size);
/* Everything that was allocated is gone; the arena can be used again (clear keeps one chunk at hand). */
void arena_clear(struct arena *arena);
void arena_done(struct arena *arena);

#define arena_make(arena, type) ((type *)arena_alloc((arena), sizeof(type), _Alignof(type)))
#define arena_array(arena, type, count) \
	((type *)arena_alloc_array((arena), (count), sizeof(type), _Alignof(type)))

/* Zeroed. NULL past the arena's limit: the owner decides whether that is a 452 or a refused reload. */
NODISCARD void *arena_alloc(struct arena *arena, size_t size, size_t align);
NODISCARD void *arena_alloc_array(struct arena *arena, size_t count, size_t size, size_t align);
/* Not zeroed, for bytes that are written at once; align 1. */
NODISCARD char *arena_bytes(struct arena *arena, size_t size);
/* Makes the piece that ends at end longer by so many bytes. false: something stands behind it, or its chunk is full; nothing was
 * changed. */
bool arena_extend(struct arena *arena, const char *end, size_t more);

/* A copy of the bytes with the same taint. On lack of memory the result's ptr is NULL. */
struct slice arena_copy(struct arena *arena, struct slice s);
/* The same, NUL-terminated, for interfaces that want that; NULL on lack of memory. A NUL inside the slice
 * cuts the string for those who read it: check with slice_find() first where that matters. */
NODISCARD char *arena_cstr(struct arena *arena, struct slice s);
struct slice arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);

/* Gives the chunks that this thread keeps for reuse back to the system: at the end of a thread. */
void arena_pool_done(void);
/* Memory that will be looked at all over the place, if it is much: asks the system for large pages. */
void memory_is_large(void *memory, size_t size);

#endif
