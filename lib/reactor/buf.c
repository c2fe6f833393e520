/* Receive buffers: a bounded pool in slabs, of which a fixed number is offered to the kernel. When the kernel
 * has filled one, another takes its place at once, so a message may keep what it was received into as long as
 * the pool lasts; after that numbers go hungry, receives end with ENOBUFS, and go on when buffers come back.
 */
#include "shard.h"

#include <sys/mman.h>

#ifdef SLUICE_SANITIZE
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(ptr, len)   ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(ptr, len) ((void)0)
#endif

#define SLAB_COUNT  64u
#define BUF_COPY_ID UINT32_MAX /* not of the pool: a small copy on the heap */
/* The largest record of TLS is in one piece, so that it is no third completion for its last 22 bytes: a message of a megabyte took a
 * tenth more with 8 KiB, in the clear as with TLS; small messages the same. */
#define BUF_DEFAULT  16640u
#define OFFER_COUNT  512u /* 8 MiB go round: more falls out of the cache, fewer run out in one round */
#define POOL_DEFAULT (64ul * 1024 * 1024)

struct buf_slab {
	struct buf_slab *next;
	char *bytes;
	size_t size;
	struct buf bufs[SLAB_COUNT];
};

static bool slab_add(struct shard *shard)
{
	struct buf_pool *pool = &shard->bufs;
	unsigned count = pool->count_max - pool->count;
	struct buf_slab *slab;

	if (count > SLAB_COUNT)
		count = SLAB_COUNT;
	slab = count ? calloc(1, sizeof(*slab)) : NULL;
	if (!slab)
		return false;
	slab->size = (size_t)count * shard->options.buf_size;
	slab->bytes = mmap(NULL, slab->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (slab->bytes == MAP_FAILED) {
		free(slab);
		return false;
	}
	slab->next = pool->slabs;
	pool->slabs = slab;
	for (unsigned i = 0; i < count; i++) {
		struct buf *buf = &slab->bufs[i];

		buf->id = pool->count++;
		buf->size = shard->options.buf_size;
		buf->shard = shard;
		buf->bytes = slab->bytes + (size_t)i * buf->size;
		buf->next = pool->free;
		pool->free = buf;
		pool->free_count++;
		ASAN_POISON_MEMORY_REGION(buf->bytes, buf->size);
	}
	return true;
}

struct buf *buf_new(struct shard *shard)
{
	struct buf_pool *pool = &shard->bufs;
	struct buf *buf;

	if (!pool->free && !slab_add(shard))
		return NULL;
	buf = pool->free;
	pool->free = buf->next;
	pool->free_count--;
	buf->next = NULL;
	buf->refs = 1;
	buf->len = 0;
	ASAN_UNPOISON_MEMORY_REGION(buf->bytes, buf->size);
	return buf;
}

static void buf_offer(struct shard *shard, struct buf *buf, unsigned number)
{
	shard->bufs.offered[number] = buf;
	shard->bufs.offered_count++;
	shard->backend->offer(shard, buf, number);
}

void buf_unref(struct buf *buf)
{
	struct shard *shard = buf->shard;
	struct buf_pool *pool = &shard->bufs;

	ASSERT(buf->refs);
	if (--buf->refs)
		return;
	if (buf->id == BUF_COPY_ID) {
		free(buf);
		return;
	}
	if (pool->hungry_count && shard->open) {
		buf->refs = 1;
		buf->len = 0;
		buf_offer(shard, buf, pool->hungry[--pool->hungry_count]);
		return;
	}
	ASAN_POISON_MEMORY_REGION(buf->bytes, buf->size);
	buf->next = pool->free;
	pool->free = buf;
	pool->free_count++;
}

struct buf *buf_taken(struct shard *shard, unsigned number, size_t len)
{
	struct buf_pool *pool = &shard->bufs;
	struct buf *buf, *other;

	ASSERT(number < shard->options.buf_count && pool->offered[number]);
	buf = pool->offered[number];
	ASSERT(len <= buf->size);
	buf->len = (uint32_t)len;
	pool->offered[number] = NULL;
	pool->offered_count--;
	other = buf_new(shard);
	if (other)
		buf_offer(shard, other, number);
	else
		pool->hungry[pool->hungry_count++] = (uint16_t)number;
	return buf;
}

bool bufs_scarce(const struct shard *shard)
{
	const struct buf_pool *pool = &shard->bufs;

	return pool->count == pool->count_max && pool->free_count + pool->offered_count < pool->count_max / 4;
}

/* The heap is asked only when the pool is nearly used up: a thousand slow clients, each with the first bytes
 * of a line, must not hold a thousand whole buffers then. */
struct buf *buf_copy(struct shard *shard, const struct buf *buf)
{
	struct buf *copy = malloc(sizeof(*copy) + buf->len);

	if (!copy)
		return NULL;
	*copy = (struct buf){.refs = 1, .len = buf->len, .size = buf->len, .id = BUF_COPY_ID, .shard = shard};
	copy->bytes = (char *)(copy + 1);
	memcpy(copy->bytes, buf->bytes, buf->len);
	return copy;
}

enum rc bufs_init(struct shard *shard, struct err *err)
{
	struct buf_pool *pool = &shard->bufs;
	struct shard_options *o = &shard->options;

	if (!o->buf_size)
		o->buf_size = BUF_DEFAULT;
	if (!o->buf_count)
		o->buf_count = OFFER_COUNT;
	if (!o->buf_memory_max)
		o->buf_memory_max = POOL_DEFAULT;
	if (o->buf_count > 32768 || (o->buf_count & (o->buf_count - 1)))
		return err_set(err, FAIL, "the number of receive buffers must be a power of two up to 32768");
	pool->count_max = (unsigned)(o->buf_memory_max / o->buf_size);
	if (pool->count_max < o->buf_count + SLAB_COUNT)
		pool->count_max = o->buf_count + SLAB_COUNT;
	list_init(&pool->starved);
	pool->offered = calloc(o->buf_count, sizeof(*pool->offered));
	pool->hungry = calloc(o->buf_count, sizeof(*pool->hungry));
	if (!pool->offered || !pool->hungry)
		return err_memory(err);
	return OK;
}

void bufs_offer_all(struct shard *shard)
{
	for (unsigned i = 0; i < shard->options.buf_count; i++) {
		struct buf *buf = buf_new(shard);

		if (buf)
			buf_offer(shard, buf, i);
		else
			shard->bufs.hungry[shard->bufs.hungry_count++] = (uint16_t)i;
	}
}

void bufs_done(struct shard *shard)
{
	struct buf_pool *pool = &shard->bufs;
	struct buf_slab *slab;

	while ((slab = pool->slabs)) {
		pool->slabs = slab->next;
		ASAN_UNPOISON_MEMORY_REGION(slab->bytes, slab->size);
		munmap(slab->bytes, slab->size);
		free(slab);
	}
	free(pool->offered);
	free(pool->hungry);
}
