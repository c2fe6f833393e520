/* cdb: constant databases (D. J. Bernstein's format, https://cr.yp.to/cdb/cdb.txt), read piece by piece;
 *nothing in the file is believed.
 *
 *	256 x { u32 table, u32 places }		little-endian; places 0: the table is empty
 *	{ u32 key_len, u32 data_len, key, data }...
 *	tables: { u32 hash, u32 record }...	record 0: free
 *
 * A key is in table (hash & 255), from place (hash >> 8) % places on, up to the first free place. */

#include "shard_files.h"
#include "types.h"

#define HEADER_SIZE    2048
#define PLACES_AT_ONCE 32
#define VALUE_SIZE_MAX (16u * 1024 * 1024)

static uint32_t cdb_hash(struct slice key)
{
	uint32_t hash = 5381;

	for (uint32_t i = 0; i < key.len; i++)
		hash = ((hash << 5) + hash) ^ (uint8_t)key.ptr[i];
	return hash;
}

static uint32_t get_u32(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static enum rc corrupt(const struct open_file *file, struct err *err)
{
	return err_set(err, DEFER, "%.*s is corrupt (cdb lookup)", SLICE_ARG(file->path));
}

/* All of the bytes, or DEFER. */
static enum rc read_exactly(struct scope *sc, const struct open_file *file, void *bytes, size_t len,
			    uint64_t offset, struct err *err)
{
	size_t got;
	enum rc rc;

	rc = file_read(sc->task, file->fd, bytes, len, offset, &got, err);
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	return got == len ? OK : corrupt(file, err);
}

/* Is it this record's key? OK: yes, and *ret its data. */
static enum rc try_record(struct scope *sc, const struct open_file *file, uint32_t record, struct slice key,
			  struct slice *ret, struct err *err)
{
	uint32_t key_len, data_len;
	uint8_t head[8];
	char *bytes;
	enum rc rc;

	rc = read_exactly(sc, file, head, sizeof(head), record, err);
	if (rc != OK)
		return rc;
	key_len = get_u32(head);
	data_len = get_u32(head + 4);
	if (key_len != key.len)
		return FAIL;
	if ((uint64_t)record + 8 + key_len + data_len > file->stamp.size || data_len > VALUE_SIZE_MAX)
		return corrupt(file, err);
	bytes = arena_bytes(sc->task->arena, (size_t)key_len + data_len + 1);
	if (!bytes)
		return err_memory(err);
	rc = read_exactly(sc, file, bytes, (size_t)key_len + data_len, (uint64_t)record + 8, err);
	if (rc != OK)
		return rc;
	if (memcmp(bytes, key.ptr, key_len) != 0)
		return FAIL;
	*ret = slice_make(bytes + key_len, data_len, CLEAN);
	return OK;
}

static enum rc search_table(struct scope *sc, const struct open_file *file, uint32_t table, uint32_t places,
			    struct slice key, struct slice *ret, struct err *err)
{
	uint32_t hash = cdb_hash(key), place = (hash >> 8) % places, left = places;
	uint8_t some[PLACES_AT_ONCE * 8];
	enum rc rc;

	while (left) {
		uint32_t count = places - place < PLACES_AT_ONCE ? places - place : PLACES_AT_ONCE;

		if (count > left)
			count = left;
		rc = read_exactly(sc, file, some, count * 8u, (uint64_t)table + (uint64_t)place * 8, err);
		for (uint32_t i = 0; rc == OK && i < count; i++) {
			uint32_t record = get_u32(some + i * 8u + 4);

			if (!record)
				return FAIL;
			if (get_u32(some + i * 8u) != hash)
				continue;
			rc = try_record(sc, file, record, key, ret, err);
			if (rc != FAIL)
				return rc;
			rc = OK;
		}
		if (rc != OK)
			return rc;
		left -= count;
		place = (place + count) % places;
	}
	return FAIL;
}

static enum rc cdb_find(struct scope *sc, const struct lookup_type *type,
			const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct open_file *file;
	uint32_t table, places;
	uint8_t head[8];
	enum rc rc;

	(void)type;
	rc = open_file_get(sc, request->file, "cdb lookup", &file, err);
	if (rc != OK)
		return rc;
	if (file->stamp.size < HEADER_SIZE) {
		rc = err_set(err, DEFER, "%.*s too short for cdb lookup", SLICE_ARG(file->path));
		goto out;
	}
	rc = read_exactly(sc, file, head, sizeof(head), (cdb_hash(request->key) & 255) * 8u, err);
	if (rc != OK)
		goto out;
	table = get_u32(head);
	places = get_u32(head + 4);
	if (!places)
		rc = FAIL;
	else if ((uint64_t)table + (uint64_t)places * 8 > file->stamp.size)
		rc = corrupt(file, err);
	else
		rc = search_table(sc, file, table, places, request->key, ret, err);
out:
	open_file_put(sc->task->shard, file);
	return rc;
}

const struct lookup_type lookup_cdb = {.name = "cdb", .find = cdb_find};
