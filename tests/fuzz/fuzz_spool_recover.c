/* Any bytes as the segments of a spool: a start never crashes on them, what it finds can be read or refused, and
 * afterwards the spool works. The first byte says what the rest is: a file as it lies there; records, of which only
 * the payloads are strange; or the items of an index, likewise. In simulated time, on a disk in memory. */
#include <stdio.h>
#include <stdlib.h>

#define assert_true(cond)      ASSERT(cond)
#define assert_int_equal(a, b) ASSERT((a) == (b))
#define assert_non_null(p)     ASSERT((p) != NULL)
#define fail_msg(...)          ASSERT(!"the fake disk")

#include "spool/log.h"
#include "../unit/spool/fake_disk.h"
#include "reactor/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_disk *disk;
static uint64_t stored;
static bool much; /* work enough afterwards for compaction to come by */

#define LIFE 0x1122334455667788ull

/* ---- From the input to a file ------------------------------------------------------------------------- */

struct input {
	const uint8_t *at;
	size_t left;
};

static uint64_t number(struct input *in, unsigned bytes)
{
	uint64_t n = 0;

	for (; bytes && in->left; bytes--, in->left--)
		n = n << 8 | *in->at++;
	return n;
}

static char *new_file(const char *name)
{
	struct fake_file *f = disk->files;

	while (f->name)
		f++;
	f->name = strdup(name);
	f->name_durable = true;
	fake_resize(f, SEGMENT_SIZE_MIN);
	return f->now;
}

static void put_head(char *file)
{
	struct segment_head *head = (struct segment_head *)file;

	head->number = 3;
	head->first_seq = 1;
	head->life = LIFE;
	head->size = SEGMENT_SIZE_MIN;
	segment_head_finish(head);
}

/* What a payload says of itself is made right half of the time, so that more than its first check is reached. */
static uint32_t put_payload(char *payload, uint32_t room, unsigned type, struct input *in)
{
	uint32_t len = (uint32_t)number(in, 2), take;

	if (len > room)
		len = room;
	take = len < in->left ? len : (uint32_t)in->left;
	memcpy(payload, in->at, take);
	memset(payload + take, 0, len - take);
	in->at += take;
	in->left -= take;
	if (type == RECORD_COMMIT && len > sizeof(struct commit_fixed) && payload[0] & 1) {
		struct commit_fixed fixed;
		uint32_t rest = len - (uint32_t)sizeof(fixed);

		memcpy(&fixed, payload, sizeof(fixed));
		memcpy(fixed.id, "1tABCD-00000000001-0abc", 24);
		fixed.id[5] = "0123456789"[(uint8_t)payload[1] % 10];
		fixed.serial %= 8;
		fixed.extent_count %= 4;
		fixed.body_len = 0;
		if (fixed.extent_count * sizeof(struct extent) > rest)
			fixed.extent_count = 0;
		rest -= (uint32_t)(fixed.extent_count * sizeof(struct extent));
		for (uint32_t i = 0; i < fixed.extent_count; i++) {
			struct extent e;
			char *at = payload + sizeof(fixed) + i * sizeof(e);

			memcpy(&e, at, sizeof(e));
			e.segment = 1 + e.segment % 4;
			e.offset = (SPOOL_BLOCK + e.offset % SEGMENT_SIZE_MIN) & ~7u;
			e.len = e.len % (e.len & 1 ? 5000 : 200000) + 1;
			fixed.body_len += e.len;
			memcpy(at, &e, sizeof(e));
		}
		fixed.outcomes_len = rest ? fixed.outcomes_len % rest : 0;
		fixed.envelope_len = rest - fixed.outcomes_len;
		memcpy(payload, &fixed, sizeof(fixed));
	} else if (type != RECORD_BODY && len >= 8 && type != RECORD_COMMIT) {
		uint64_t serial;

		memcpy(&serial, payload, sizeof(serial));
		serial %= 8;
		memcpy(payload, &serial, sizeof(serial));
	}
	return len;
}

static void put_records(char *file, struct input *in)
{
	uint32_t at = SPOOL_BLOCK, end = segment_index_at(SEGMENT_SIZE_MIN);
	uint64_t seq = 1;

	put_head(file);
	while (in->left && end - at > sizeof(struct record_head) + 70000) {
		struct record_head *head = (struct record_head *)(file + at);
		unsigned type = (unsigned)number(in, 1) % 8;
		uint32_t len = put_payload((char *)(head + 1), 65535, type, in);

		record_finish(head, LIFE, (enum record_type)type, seq++, len);
		at += (uint32_t)record_size(len);
		if (number(in, 1) & 1)
			at = (at + SPOOL_BLOCK - 1) & ~(SPOOL_BLOCK - 1);
	}
}

static void put_index(char *file, struct input *in)
{
	struct index_head *head = (struct index_head *)(file + segment_index_at(SEGMENT_SIZE_MIN));
	uint32_t room = SEGMENT_SIZE_MIN - segment_index_at(SEGMENT_SIZE_MIN) - (uint32_t)sizeof(*head);
	char *at = (char *)(head + 1), *end = at + room;

	put_head(file);
	*head = (struct index_head){.number = 3,
				    .first_seq = 1,
				    .life = LIFE,
				    .next_seq = number(in, 2),
				    .end = (uint32_t)number(in, 3)};
	if (head->next_seq < 1)
		head->next_seq = 1;
	while (in->left && end - at > 4000) {
		struct index_item item = {.offset = (uint32_t)number(in, 3),
					  .seq = number(in, 1),
					  .type = (uint32_t)number(in, 1) % 8};

		item.prefix_len = put_payload(at + sizeof(item), 3000, item.type, in);
		item.len = item.prefix_len + (uint32_t)number(in, 1);
		if (number(in, 1) == 0xff)
			item.prefix_len = (uint32_t)number(in, 4);
		memcpy(at, &item, sizeof(item));
		at += sizeof(item) + ((item.prefix_len < 4000 ? item.prefix_len + 7 : 0) & ~7u);
		if (at > end)
			at = end;
	}
	head->len = (uint32_t)(at - (char *)(head + 1));
	index_finish(head);
}

static void put_files(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	unsigned mode = (unsigned)number(&in, 1);
	char *file = new_file("/spool/segments/0-1");

	switch (mode % 3) {
	case 0:
		memcpy(file, in.at, in.left < SEGMENT_SIZE_MIN ? in.left : SEGMENT_SIZE_MIN);
		break;
	case 1:
		put_records(file, &in);
		break;
	case 2:
		put_index(file, &in);
		break;
	}
	if (mode & 0x40) { /* and a second one, with the same */
		char *second = new_file("/spool/segments/0-2");
		struct segment_head *head = (struct segment_head *)second;

		memcpy(second, file, SEGMENT_SIZE_MIN);
		head->number = 4;
		segment_head_finish(head);
	}
	for (int i = 0; i < FAKE_FILES; i++)
		if (disk->files[i].name)
			memcpy(disk->files[i].durable, disk->files[i].now, disk->files[i].size);
}

/* ---- What is done with it ----------------------------------------------------------------------------- */

static void ignore(void *arg, struct slice record)
{
	volatile char last;

	(void)arg;
	for (uint32_t i = 0; i < record.len; i++)
		last = record.ptr[i];
	(void)last;
}

static void read_all(struct task *task, struct spool *spool)
{
	static char bytes[300000];
	struct err err = err_make(task->arena);

	for (struct spool_entry *e = spool_first(spool); e; e = spool_next(spool, e)) {
		struct slice envelope;
		size_t got;

		if (spool_envelope(task, spool, e, &envelope, &err) == OK)
			ignore(NULL, envelope);
		if (spool_outcomes(task, spool, e, ignore, NULL, &err) == OK &&
		    spool_body(task, spool, e, 0, bytes, sizeof(bytes), &got, &err) == OK)
			ASSERT(got <= sizeof(bytes));
		if (spool_body(task, spool, e, e->body_len / 2, bytes, 10, &got, &err) == OK)
			ASSERT(got <= 10);
	}
}

static void store_some(struct task *task, struct spool *spool, unsigned count)
{
	struct err err = err_make(task->arena);
	static char body[60000];

	for (unsigned i = 0; i < count; i++) {
		struct id_source source = {.unique = 99, .host_number = -1};
		struct message_id id = message_id_next(&source, 1600000000000000000ull + stored++ * 2000);
		struct iovec iov = {"envelope", 8};
		struct frag frag = {NULL, body, sizeof(body)};
		struct spool_entry *entry;

		ASSERT(spool_commit(task, spool, &id, 1, &iov, 1, NULL, &frag, 1, &entry, &err) == OK);
		if (i % 4)
			spool_done(spool, entry);
	}
}

static void use_it(void *arg)
{
	struct spool_options options = {
	    .directory = "/spool", .segment_size = SEGMENT_SIZE_MIN, .sync = true};
	struct arena arena;
	struct task task;
	struct err err;
	struct spool *spool;

	(void)arg;
	arena_init(&arena, 0);
	err = err_make(&arena);
	task_init(&task, shard_here(), &arena, UNTIL_NEVER);
	for (int round = 0; round < 2; round++) {
		if (spool_open_on(&disk->disk, &task, &options, NULL, NULL, &spool, &err) != OK)
			break;
		read_all(&task, spool);
		store_some(&task, spool, much ? 40 : 3);
		read_all(&task, spool);
		if (round == 0 && spool_first(spool))
			spool_done(spool, spool_first(spool));
		spool_close(&task, spool);
		arena_clear(&arena);
	}
	arena_done(&arena);
	shard_stop(shard_here());
}

static void start(struct shard *shard, void *arg)
{
	ASSERT(fiber_spawn(shard, use_it, arg) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world *world = world_new(&(struct world_options){.seed = 1});
	struct shard_options options = {
	    .count = 1, .cpu = -1, .backend = BACKEND_SIM, .world = world, .buf_count = 4};
	struct err err = err_make(NULL);
	struct shard *shard;

	disk = fake_disk_new(1);
	put_files(data, size);
	much = size && data[0] & 0x20;
	ASSERT(shard_new(&options, &shard, &err) == OK);
	ASSERT(shard_run(shard, start, NULL, &err) == OK);
	shard_free(shard);
	world_free(world);
	fake_disk_free(disk);
	return 0;
}
