/* lmdb: keys in an LMDB file (one data file, no directory), in its unnamed database.
 *
 * The file is read with our own bounded reader of the format, not mapped by the library: the library trusts
 *every offset in the file, and a mapping makes a truncated file a SIGBUS and each page that is not in memory
 *a stop of the whole shard. Reads go through the reactor, so only the asking fiber waits for the disk. No
 *lock file is needed, and none written.
 *
 * Writers never overwrite a page of the newest committed snapshot before the next one is committed. So a walk
 * from the newest meta page is sound if, at its end, that meta page is still the newest; else it is repeated.
 *Pages that a sound walk has read are kept for the next ones, until the snapshot changes; a walk that finds
 *all its pages there reads nothing.
 *
 * Format (64-bit, little-endian, version 1), page size P:
 *	page	 u64 number, u16 pad, u16 flags, u16 lower, u16 upper (overflow: u32 pages), u16 node[...]
 *	meta	 pages 0 and 1, behind the head: u32 magic, u32 version, u64 address, u64 map size,
 *		 two databases (free list, main), u64 last page, u64 transaction
 *	database u32 pad (free list: P), u16 flags, u16 depth, 4 x u64 counts, u64 root
 *	node	 u16 low, u16 high, u16 flags, u16 key length, key, data; in leaves low and high are the
 *data's length, in branches they and flags are the child page. */

#include <stdlib.h>

#include "shard_files.h"
#include "types.h"

#define MAGIC           0xBEEFC0DEu
#define VERSION         1u
#define PAGE_HEAD       16u
#define META_SIZE       (PAGE_HEAD + 24u + 2 * DB_SIZE + 16u)
#define DB_SIZE         48u
#define PAGE_SIZE_MIN   512u
#define PAGE_SIZE_MAX   65536u
#define DEPTH_MAX       32
#define VALUE_SIZE_MAX  (16u * 1024 * 1024)
#define WALKS_MAX       64                  /* a writer that commits faster than we read: give up some time */
#define CACHE_SIZE_MAX  (64u * 1024 * 1024) /* of one database on one shard */
#define NO_PAGE         UINT64_MAX
#define PAGE_NUMBER_MAX (INT64_MAX / PAGE_SIZE_MAX - 1)

enum { PAGE_BRANCH = 0x01, PAGE_LEAF = 0x02, PAGE_OVERFLOW = 0x04, PAGE_META = 0x08, PAGE_LEAF2 = 0x20 };
enum { NODE_BIG = 0x01, NODE_SUB = 0x02, NODE_DUP = 0x04 };
enum { DB_REVERSE_KEY = 0x02, DB_INTEGER_KEY = 0x08 };

/* One committed state of a database, with the pages of it that were read so far. */
struct snapshot {
	uint64_t transaction, root;
	struct file_stamp stamp; /* a file that was overwritten as a whole may have any transaction number */
	uint32_t page_size;
	uint16_t db_flags;
	uint64_t checked_at; /* shard_now() */
	uint32_t refs;       /* walks, and the open file */
	uint32_t page_count, room;
	uint64_t bytes; /* of all of them */
	struct page {
		uint64_t number;
		uint8_t *bytes;      /* NULL: a free place */
		struct heads *heads; /* NULL: none could be made */
	} * pages;                   /* open addressing */
};
/* What is most asked of a page that is kept, in a few cache lines: eight bytes of each key, behind what all its keys begin
 * with. All of its nodes were found to be sound when these were made. */
struct heads {
	uint32_t count, prefix_len;
	const uint8_t *prefix;
	uint64_t head[]; /* by node */
};
struct walk {
	struct scope *sc;
	struct open_file *file;
	struct err *err;
	struct snapshot *snapshot;
	const uint8_t *page;
	const struct heads *heads;       /* of the page; NULL: it was just read */
	struct page read[2 * DEPTH_MAX]; /* from the disk: not yet known to be the snapshot's */
	unsigned read_count;
	bool read_any;
};
struct node {
	const uint8_t *key, *data;
	uint32_t key_len;
	uint32_t data_len;  /* as claimed; behind the page's end for NODE_BIG */
	uint32_t data_here; /* what the page holds of it */
	uint64_t child;
	uint16_t flags;
};

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) | (uint32_t)get16(at + 2) << 16;
}

static uint64_t get64(const uint8_t *at)
{
	return (uint64_t)get32(at) | (uint64_t)get32(at + 4) << 32;
}

static enum rc corrupt(const struct walk *w, const char *what)
{
	return err_set(w->err, DEFER, "LMDB: Unable to read %.*s: %s", SLICE_ARG(w->file->path), what);
}

static enum rc read_exactly(const struct walk *w, void *bytes, size_t len, uint64_t offset)
{
	size_t got;
	enum rc rc;

	rc = file_read(w->sc->task, w->file->fd, bytes, len, offset, &got, w->err);
	if (rc == CANCELLED)
		return rc;
	if (rc != OK) {
		err_prefix(w->err, "LMDB: Unable to read %.*s", SLICE_ARG(w->file->path));
		return DEFER;
	}
	return got == len ? OK : corrupt(w, "the file is shorter than it should be");
}

/* ---- The snapshot ----------------------------------------------------------------------- */

static bool meta_valid(const uint8_t *meta)
{
	return (get16(meta + 10) & PAGE_META) && get32(meta + PAGE_HEAD) == MAGIC &&
	       get32(meta + PAGE_HEAD + 4) == VERSION;
}

static uint64_t meta_transaction(const uint8_t *meta)
{
	return get64(meta + META_SIZE - 8);
}

/* Takes the newer of the two meta pages. */
static enum rc snapshot_read(struct walk *w, struct snapshot *s)
{
	uint8_t first[META_SIZE], second[META_SIZE];
	const uint8_t *meta = first, *db;
	enum rc rc;

	rc = read_exactly(w, first, sizeof(first), 0);
	if (rc != OK)
		return rc;
	if (!meta_valid(first))
		return corrupt(w, "not an LMDB file");
	s->page_size = get32(first + PAGE_HEAD + 24);
	if (s->page_size < PAGE_SIZE_MIN || s->page_size > PAGE_SIZE_MAX ||
	    (s->page_size & (s->page_size - 1)))
		return corrupt(w, "impossible page size");
	rc = read_exactly(w, second, sizeof(second), s->page_size);
	if (rc != OK)
		return rc;
	if (meta_valid(second) && meta_transaction(second) > meta_transaction(first))
		meta = second;
	db = meta + PAGE_HEAD + 24 + DB_SIZE;
	s->transaction = meta_transaction(meta);
	s->db_flags = get16(db + 4);
	s->root = get64(db + 40);
	s->stamp = w->file->stamp;
	return OK;
}

static void snapshot_put(void *arg)
{
	struct snapshot *s = arg;

	if (--s->refs)
		return;
	for (uint32_t i = 0; i < s->room; i++) {
		free(s->pages[i].bytes);
		free(s->pages[i].heads);
	}
	free(s->pages);
	free(s);
}

static bool snapshot_same(const struct snapshot *a, const struct snapshot *b)
{
	return a->transaction == b->transaction && a->root == b->root && a->page_size == b->page_size &&
	       file_stamp_eq(&a->stamp, &b->stamp);
}

/* The present state: the one at hand, if a look at the file finds no other. It is the walk's until
 * snapshot_put(). */
static enum rc snapshot_get(struct walk *w)
{
	struct shard *shard = w->sc->task->shard;
	struct snapshot *s = w->file->extra, now = {.refs = 1};
	enum rc rc;

	if (!s || shard_now(shard) - s->checked_at >= FILE_FRESH_NS ||
	    !file_stamp_eq(&s->stamp, &w->file->stamp)) {
		rc = snapshot_read(w, &now);
		if (rc != OK)
			return rc;
		s = w->file->extra; /* another fiber may have been faster */
		if (!s || w->file->racy || !snapshot_same(s, &now)) {
			s = malloc(sizeof(*s)); /* it outlives the message */
			if (!s)
				return err_memory(w->err);
			*s = now;
			if (w->file->extra)
				snapshot_put(w->file->extra);
			w->file->extra = s;
			w->file->extra_free = snapshot_put;
		}
		s->checked_at = shard_now(shard);
	}
	s->refs++;
	w->snapshot = s;
	return OK;
}

static struct page *snapshot_place(const struct snapshot *s, uint64_t number)
{
	uint32_t i = (uint32_t)((number * 0x9e3779b97f4a7c15u) >> 40) & (s->room - 1);

	while (s->pages[i].bytes && s->pages[i].number != number)
		i = (i + 1) & (s->room - 1);
	return &s->pages[i];
}

static bool snapshot_grow(struct snapshot *s)
{
	struct page *old = s->pages;
	uint32_t old_room = s->room;
	struct page *pages = calloc(old_room ? old_room * 2 : 64, sizeof(*pages));

	if (!pages)
		return false;
	s->pages = pages;
	s->room = old_room ? old_room * 2 : 64;
	for (uint32_t i = 0; i < old_room; i++) {
		if (old[i].bytes)
			*snapshot_place(s, old[i].number) = old[i];
	}
	free(old);
	return true;
}

/* ---- Pages and nodes -------------------------------------------------------------------- */

static enum rc page_read(struct walk *w, uint64_t number)
{
	struct snapshot *s = w->snapshot;
	const struct page *kept = s->room ? snapshot_place(s, number) : NULL;
	struct page *page;
	enum rc rc;

	if (kept && kept->bytes) {
		w->page = kept->bytes;
		w->heads = kept->heads;
		return OK;
	}
	w->heads = NULL;
	if (number > PAGE_NUMBER_MAX)
		return corrupt(w, "an impossible page number");
	ASSERT(w->read_count < ARRAY_COUNT(w->read));
	page = &w->read[w->read_count];
	*page = (struct page){.number = number, .bytes = malloc(s->page_size)};
	if (!page->bytes)
		return err_memory(w->err);
	w->read_count++;
	w->read_any = true;
	w->page = page->bytes;
	rc = read_exactly(w, page->bytes, s->page_size, number * s->page_size);
	if (rc == OK && get64(page->bytes) != number)
		return corrupt(w, "a page is not what it should be");
	return rc;
}

/* Page or sub-page: its nodes. false: damaged. */
static bool page_count(const uint8_t *page, uint32_t size, uint32_t *count_ret)
{
	uint16_t lower;

	if (size < PAGE_HEAD)
		return false;
	lower = get16(page + 12);
	if (lower < PAGE_HEAD || lower > size)
		return false;
	*count_ret = (lower - PAGE_HEAD) / 2;
	return true;
}

static bool node_get(const uint8_t *page, uint32_t size, uint32_t index, struct node *node_ret)
{
	uint32_t at = get16(page + PAGE_HEAD + 2 * index), room;
	const uint8_t *node = page + at;

	if (at < PAGE_HEAD || at + 8 > size)
		return false;
	room = size - at - 8;
	*node_ret = (struct node){
	    .key = node + 8,
	    .key_len = get16(node + 6),
	    .flags = get16(node + 4),
	    .data_len = get32(node),
	    .child = (uint64_t)get32(node) | (uint64_t)get16(node + 4) << 32,
	};
	if (node_ret->key_len > room)
		return false;
	node_ret->data = node_ret->key + node_ret->key_len;
	node_ret->data_here = room - node_ret->key_len;
	return true;
}

/* Eight bytes from there on, as a number in the order of the keys; a key that ends is followed by zeros. */
static uint64_t head_of(const uint8_t *key, uint32_t len, uint32_t from)
{
	uint64_t head = 0;

	for (uint32_t i = 0; i < 8; i++)
		head = head << 8 | (from + i < len ? key[from + i] : 0);
	return head;
}

/* NULL: there is nothing to gain, no memory, or the page is damaged, which a search will tell. */
static struct heads *heads_make(const uint8_t *page, uint32_t size)
{
	uint32_t count, first = get16(page + 10) & PAGE_BRANCH ? 1 : 0; /* a branch's first node has no key */
	struct node low, high, node;
	struct heads *heads;

	if (!(get16(page + 10) & (PAGE_BRANCH | PAGE_LEAF)) || get16(page + 10) & PAGE_LEAF2 ||
	    !page_count(page, size, &count) || count <= first || count > (size - PAGE_HEAD) / 2 ||
	    !node_get(page, size, first, &low) || !node_get(page, size, count - 1, &high))
		return NULL;
	heads = malloc(sizeof(*heads) + (size_t)count * sizeof(heads->head[0])); /* as long as the page */
	if (!heads)
		return NULL;
	*heads = (struct heads){.count = count, .prefix = low.key};
	while (heads->prefix_len < low.key_len && heads->prefix_len < high.key_len &&
	       low.key[heads->prefix_len] == high.key[heads->prefix_len])
		heads->prefix_len++;
	for (uint32_t i = 0; i < count; i++) {
		if (!node_get(page, size, i, &node) ||
		    (i >= first && (node.key_len < heads->prefix_len ||
				    memcmp(node.key, heads->prefix, heads->prefix_len) != 0))) {
			free(heads);
			return NULL;
		}
		heads->head[i] = i < first ? 0 : head_of(node.key, node.key_len, heads->prefix_len);
	}
	return heads;
}

/* Keeps the page, or frees it: the first ones to come are the upper levels of the tree, so a full cache stays
 * as it is. */
static void snapshot_keep(struct snapshot *s, struct page page)
{
	struct page *place = NULL;

	page.heads = NULL;
	if (s->bytes + s->page_size <= CACHE_SIZE_MAX && (s->page_count < s->room / 2 || snapshot_grow(s)))
		place = snapshot_place(s, page.number);
	if (!place || place->bytes) {
		free(page.bytes);
		return;
	}
	page.heads = heads_make(page.bytes, s->page_size);
	s->bytes += s->page_size + (page.heads ? page.heads->count * sizeof(page.heads->head[0]) : 0);
	*place = page;
	s->page_count++;
}

static int node_compare(const struct node *node, struct slice key)
{
	return slice_cmp(slice_make((const char *)node->key, node->key_len, CLEAN), key);
}

/* The same as page_search(), by the heads; nodes are looked at where these are equal. */
static enum rc heads_search(struct walk *w, bool branch, struct slice key, struct node *node_ret,
			    bool *equal_ret)
{
	const struct heads *heads = w->heads;
	const uint8_t *bytes = (const uint8_t *)key.ptr;
	uint32_t low = branch ? 1 : 0, high = heads->count;
	uint32_t shared = key.len < heads->prefix_len ? key.len : heads->prefix_len;
	int side = shared ? memcmp(bytes, heads->prefix, shared) : 0;
	uint64_t want;

	*equal_ret = false;
	if (side < 0 || (side == 0 && key.len < heads->prefix_len))
		high = low; /* less than all of them */
	else if (side > 0)
		low = high;
	want = low < high ? head_of(bytes, key.len, heads->prefix_len) : 0;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = heads->head[middle] < want ? -1 : heads->head[middle] > want;

		if (order == 0) {
			struct node node;

			if (!node_get(w->page, w->snapshot->page_size, middle, &node))
				return corrupt(w, "a node is damaged");
			order = node_compare(&node, key);
		}
		if (order <= 0)
			low = middle + 1;
		else
			high = middle;
		if (order == 0) {
			*equal_ret = true;
			break;
		}
	}
	if (low == 0)
		return FAIL;
	return node_get(w->page, w->snapshot->page_size, low - 1, node_ret) ? OK
									    : corrupt(w, "a node is damaged");
}

/* The last node whose key is not greater; the first node of a branch is less than every key. *equal_ret: it
 * is the key. */
static enum rc page_search(struct walk *w, bool branch, struct slice key, struct node *node_ret,
			   bool *equal_ret)
{
	uint32_t low = 0, high, count;
	struct node node;

	if (w->heads)
		return heads_search(w, branch, key, node_ret, equal_ret);
	*equal_ret = false;
	if (!page_count(w->page, w->snapshot->page_size, &count) || (branch && count == 0))
		return corrupt(w, "a page is damaged");
	high = count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = -1;

		if (!node_get(w->page, w->snapshot->page_size, middle, &node))
			return corrupt(w, "a node is damaged");
		if (!branch || middle > 0)
			order = node_compare(&node, key);
		if (order <= 0) {
			low = middle + 1;
			*node_ret = node;
			*equal_ret = order == 0;
		} else {
			high = middle;
		}
		if (order == 0)
			break;
	}
	return low == 0 ? FAIL : OK;
}

/* ---- Values ----------------------------------------------------------------------------- */

static enum rc value_copy(struct walk *w, const uint8_t *bytes, uint32_t len, struct slice *ret)
{
	*ret = arena_copy(w->sc->task->arena, slice_make((const char *)bytes, len, CLEAN));
	return ret->ptr ? OK : err_memory(w->err);
}

static enum rc value_big(struct walk *w, const struct node *node, struct slice *ret)
{
	uint8_t head[PAGE_HEAD];
	uint64_t number, offset;
	char *bytes;
	enum rc rc;

	if (node->data_here < 8)
		return corrupt(w, "a node is damaged");
	number = get64(node->data);
	if (number > PAGE_NUMBER_MAX)
		return corrupt(w, "an impossible page number");
	offset = number * w->snapshot->page_size;
	w->read_any = true;
	rc = read_exactly(w, head, sizeof(head), offset);
	if (rc != OK)
		return rc;
	if (get64(head) != number || !(get16(head + 10) & PAGE_OVERFLOW) ||
	    (uint64_t)node->data_len + PAGE_HEAD > (uint64_t)get32(head + 12) * w->snapshot->page_size)
		return corrupt(w, "a page is not what it should be");
	if (node->data_len > VALUE_SIZE_MAX)
		return corrupt(w, "the value is too large");
	bytes = arena_bytes(w->sc->task->arena, node->data_len + 1u);
	if (!bytes)
		return err_memory(w->err);
	*ret = slice_make(bytes, node->data_len, CLEAN);
	return read_exactly(w, bytes, node->data_len, offset + PAGE_HEAD);
}

/* The first of a page of duplicates: values are the keys there. */
static enum rc value_first(struct walk *w, const uint8_t *page, uint32_t size, struct slice *ret)
{
	struct node node;
	uint32_t count;

	if (!page_count(page, size, &count) || count == 0)
		return corrupt(w, "a page is damaged");
	if (get16(page + 10) & PAGE_LEAF2) {
		uint16_t len = get16(page + 8); /* all of one length, without nodes */

		if (PAGE_HEAD + (uint32_t)len > size)
			return corrupt(w, "a page is damaged");
		return value_copy(w, page + PAGE_HEAD, len, ret);
	}
	if (!node_get(page, size, 0, &node))
		return corrupt(w, "a node is damaged");
	return value_copy(w, node.key, node.key_len, ret);
}

/* Many duplicates have a tree of their own: down its left side. */
static enum rc value_sub(struct walk *w, const struct node *node, struct slice *ret)
{
	struct node child;
	uint32_t count;
	uint64_t page;
	enum rc rc;

	if (!(node->flags & NODE_DUP))
		return corrupt(w, "the key names a database");
	if (node->data_here < DB_SIZE)
		return corrupt(w, "a node is damaged");
	page = get64(node->data + 40);
	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		rc = page_read(w, page);
		if (rc != OK)
			return rc;
		if (get16(w->page + 10) & PAGE_LEAF)
			return value_first(w, w->page, w->snapshot->page_size, ret);
		if (!page_count(w->page, w->snapshot->page_size, &count) || count == 0 ||
		    !node_get(w->page, w->snapshot->page_size, 0, &child))
			break;
		page = child.child & 0xffffffffffffu;
	}
	return corrupt(w, "a page is damaged");
}

static enum rc value_get(struct walk *w, const struct node *node, struct slice *ret)
{
	if (node->flags & NODE_SUB)
		return value_sub(w, node, ret);
	if (node->flags & NODE_BIG)
		return value_big(w, node, ret);
	if (node->data_len > node->data_here)
		return corrupt(w, "a node is damaged");
	if (node->flags & NODE_DUP)
		return value_first(w, node->data, node->data_len, ret);
	return value_copy(w, node->data, node->data_len, ret);
}

/* ---- The walk --------------------------------------------------------------------------- */

static enum rc walk_down(struct walk *w, struct slice key, struct slice *ret)
{
	uint64_t page = w->snapshot->root;
	struct node node = {0};
	bool equal;
	enum rc rc;

	if (w->snapshot->db_flags & (DB_REVERSE_KEY | DB_INTEGER_KEY))
		return corrupt(w, "its keys are not in the usual order");
	if (page == NO_PAGE)
		return FAIL; /* an empty database */
	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		uint16_t kind;

		rc = page_read(w, page);
		if (rc != OK)
			return rc;
		kind = get16(w->page + 10) & (PAGE_BRANCH | PAGE_LEAF);
		if (kind != PAGE_BRANCH && kind != PAGE_LEAF)
			return corrupt(w, "a page is not what it should be");
		rc = page_search(w, kind == PAGE_BRANCH, key, &node, &equal);
		if (rc != OK)
			return rc;
		if (kind == PAGE_LEAF)
			return equal ? value_get(w, &node, ret) : FAIL;
		page = node.child;
	}
	return corrupt(w, "it is too deep");
}

/* What was read is the snapshot's if that is still the newest one. */
static enum rc walk_verify(struct walk *w, bool *sound_ret)
{
	struct snapshot now = {0};
	enum rc rc = OK;

	*sound_ret = true;
	if (w->read_any) {
		rc = snapshot_read(w, &now);
		*sound_ret = rc == OK && snapshot_same(&now, w->snapshot);
	}
	for (unsigned i = 0; i < w->read_count; i++) {
		if (*sound_ret)
			snapshot_keep(w->snapshot, w->read[i]);
		else
			free(w->read[i].bytes);
	}
	w->read_count = 0;
	w->read_any = false;
	return rc;
}

static enum rc lmdb_find(struct scope *sc, const struct lookup_type *type,
			 const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct walk w = {.sc = sc, .err = err};
	enum rc rc, found = DEFER;
	bool sound = false;

	(void)type;
	rc = open_file_get(sc, request->file, "lmdb lookup", &w.file, err);
	if (rc != OK) {
		if (rc == DEFER)
			err_prefix(err, "LMDB: Unable to open database");
		return rc;
	}
	for (unsigned i = 0; rc == OK && !sound && i < WALKS_MAX; i++) {
		rc = snapshot_get(&w);
		if (rc != OK)
			break;
		found = walk_down(&w, request->key, ret);
		/* A damaged page may be one that a writer has just used again. */
		rc = walk_verify(&w, &sound);
		if (!sound && w.file->extra == w.snapshot)
			w.snapshot->checked_at = 0;
		snapshot_put(w.snapshot);
	}
	if (rc == OK)
		rc = sound || found == CANCELLED ? found : corrupt(&w, "it changes all the time");
	open_file_put(sc->task->shard, w.file);
	return rc;
}

const struct lookup_type lookup_lmdb = {.name = "lmdb", .find = lmdb_find};
