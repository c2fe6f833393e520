/* Whatever was answered OK is there after the power fails, whether the disk kept, lost or tore the writes that were
 * not yet synced: promises (1) to (7). Several clients store, change and end messages on a disk that is slow, fails
 * and fills up, until the power is cut at a random moment; then everything that they were told is compared with what
 * is found. Each seed is another history of several cuts.
 *
 *	SLUICE_SEEDS=1317,1 unit_spool_test_power	one seed again */
#include "harness.h"
#include "fake_disk.h"

#define CLIENTS      5
#define MESSAGES_MAX 400
#define CUTS         4

struct version {
	uint64_t seed;
	uint32_t len;
};

/* What a client knows of one of its messages. */
struct told {
	uint64_t number;
	struct version envelope, envelope_maybe; /* maybe: asked for, and never answered */
	uint64_t body_len;
	bool stored, refused, refused_surely;
	bool ended, ended_surely;
	unsigned outcomes, outcomes_surely;
	bool frozen, frozen_surely, frozen_known;
	struct spool_entry *entry;
};

struct client {
	struct world *world;
	struct arena arena;
	struct told told[MESSAGES_MAX];
	unsigned count;
};

struct world {
	uint64_t seed;
	struct fake_disk *disk;
	struct spool *spool;
	struct client clients[CLIENTS];
	unsigned operations, cut_at;
	uint64_t next_number;
	unsigned stored, checked, moved, reused;
};

static uint64_t dice(struct world *w, uint64_t below)
{
	return fake_random(w->disk, below);
}

#define EXPECT(w, cond)                                                                  \
	do {                                                                             \
		if (!(cond))                                                             \
			fail_msg("seed %llu: %s", (unsigned long long)(w)->seed, #cond); \
	} while (0)

static struct told *pick(struct client *c)
{
	struct told *t;

	if (!c->count)
		return NULL;
	t = &c->told[dice(c->world, c->count)];
	return t->stored && !t->ended ? t : NULL;
}

/* Everything that was taken before a commit began is on the disk once that is. */
struct before {
	unsigned outcomes[MESSAGES_MAX];
	bool ended[MESSAGES_MAX];
	unsigned count;
};

static void remember(const struct client *c, struct before *before)
{
	before->count = c->count;
	for (unsigned i = 0; i < c->count; i++) {
		before->outcomes[i] = c->told[i].outcomes;
		before->ended[i] = c->told[i].ended;
	}
}

static void now_sure(struct client *c, const struct before *before)
{
	for (unsigned i = 0; i < before->count; i++) {
		struct told *t = &c->told[i];

		if (before->outcomes[i] > t->outcomes_surely)
			t->outcomes_surely = before->outcomes[i];
		t->ended_surely = t->ended_surely || before->ended[i];
	}
}

static void store(struct task *task, struct client *c)
{
	struct world *w = c->world;
	struct told *t = &c->told[c->count];
	struct message_id id = id_of(w->next_number);
	struct err err = err_make(task->arena);
	uint32_t envelope_len = (uint32_t)dice(w, 600) + 1, spilled = 0;
	uint32_t body_len = (uint32_t)dice(w, dice(w, 10) ? 3000 : 60000);
	char *envelope = malloc(envelope_len), *body = malloc(body_len + 1);
	struct iovec iov = {envelope, envelope_len};
	struct before *before = malloc(sizeof(*before));
	struct spill *spill = NULL;
	struct frag frags[2];
	bool cancelled = false;
	enum rc rc = OK;

	if (c->count == MESSAGES_MAX)
		goto out;
	*t = (struct told){.number = w->next_number++, .body_len = body_len};
	t->envelope = (struct version){t->number, envelope_len};
	pattern(envelope, envelope_len, t->number, 1000000);
	pattern(body, body_len, t->number, 0);
	c->count++;
	remember(c, before);
	if (dice(w, 4) == 0) {
		rc = spill_begin(task, w->spool, &spill, &err);
		while (rc == OK && body_len - spilled > 1000 && dice(w, 5)) {
			uint32_t part = (uint32_t)dice(w, body_len - spilled) + 1;

			frags[0] = (struct frag){NULL, body + spilled, part};
			rc = spill_append(task, spill, frags, 1, &err);
			spilled += part;
		}
		if (rc != OK || dice(w, 8) == 0) {
			spill_cancel(spill);
			rc = DEFER;
		}
	}
	if (rc == OK) {
		uint32_t half = (body_len - spilled) / 2;

		frags[0] = (struct frag){NULL, body + spilled, half};
		frags[1] = (struct frag){NULL, body + spilled + half, body_len - spilled - half};
		rc = spool_commit(task, w->spool, &id, t->number / 7, &iov, 1, spill, frags, 2, &t->entry,
				  &err);
	}
	EXPECT(w, rc == OK || rc == DEFER || (rc == CANCELLED && cancelled));
	if (rc == OK) {
		t->stored = true;
		w->stored++;
		now_sure(c, before);
		for (int i = 0; i < CLIENTS; i++)
			for (unsigned k = 0; k < w->clients[i].count; k++)
				w->clients[i].told[k].refused_surely = w->clients[i].told[k].refused;
	} else if (!w->disk->cut) {
		t->refused = true;
	}
out:
	free(before);
	free(envelope);
	free(body);
}

static void same_envelope(struct world *w, const struct told *t, struct slice found)
{
	char *expected = calloc(1, found.len + 1);
	bool good = false;

	for (int i = 0; i < 2; i++) {
		const struct version *v = i ? &t->envelope_maybe : &t->envelope;

		if (v->len != found.len)
			continue;
		pattern(expected, v->len, v->seed, 1000000);
		good = good || memcmp(expected, found.ptr, found.len) == 0;
	}
	free(expected);
	EXPECT(w, good);
}

struct outcomes_seen {
	struct world *w;
	unsigned count;
};

static void see_outcome(void *arg, struct slice record)
{
	struct outcomes_seen *seen = arg;
	char expected[20];

	snprintf(expected, sizeof(expected), "o%u", seen->count++);
	EXPECT(seen->w, slice_eq(record, slice_of(expected)));
}

/* All of it is as the client knows it. DEFER only after the cut. */
static void check(struct task *task, struct world *w, struct told *t)
{
	struct err err = err_make(task->arena);
	struct outcomes_seen seen = {w, 0};
	struct slice envelope;
	char *body = malloc(t->body_len + 10), *expected = malloc(t->body_len + 1);
	size_t got;
	enum rc rc;

	rc = spool_envelope(task, w->spool, t->entry, &envelope, &err);
	if (rc == OK)
		same_envelope(w, t, envelope);
	if (rc == OK)
		rc = spool_body(task, w->spool, t->entry, 0, body, t->body_len + 10, &got, &err);
	if (rc == OK) {
		EXPECT(w, got == t->body_len);
		pattern(expected, t->body_len, t->number, 0);
		EXPECT(w, memcmp(expected, body, got) == 0);
		rc = spool_outcomes(task, w->spool, t->entry, see_outcome, &seen, &err);
	}
	/* Outcomes of which some still wait have to be written first, which a disk that fails may refuse. */
	if (rc != OK && !w->disk->cut && !w->disk->fail_one_in && !w->disk->space)
		fail_msg("seed %llu: %s %.*s", (unsigned long long)w->seed, rc_name(rc), SLICE_ARG(err.text));
	if (rc == OK) {
		if (seen.count > t->outcomes || seen.count < t->outcomes_surely)
			fail_msg("seed %llu: %u outcomes of %u, at least %u", (unsigned long long)w->seed,
				 seen.count, t->outcomes, t->outcomes_surely);
		EXPECT(w, seen.count == t->entry->outcome_count);
	}
	w->checked++;
	free(body);
	free(expected);
}

static void outcome(struct task *task, struct client *c, struct told *t)
{
	struct err err = err_make(task->arena);
	bool wait = dice(c->world, 4) == 0;
	char text[20];
	unsigned before = t->outcomes + 1;
	enum rc rc;

	snprintf(text, sizeof(text), "o%u", t->outcomes++);
	rc = spool_outcome(task, c->world->spool, t->entry, slice_of(text), wait, &err);
	EXPECT(c->world, rc == OK || (wait && rc == DEFER));
	if (rc == OK && wait && before > t->outcomes_surely)
		t->outcomes_surely = before;
}

static void rewrite(struct task *task, struct client *c, struct told *t)
{
	struct world *w = c->world;
	struct err err = err_make(task->arena);
	struct version v = {w->next_number + 77777, (uint32_t)dice(w, 900) + 1};
	char *bytes = malloc(v.len);
	enum rc rc;

	pattern(bytes, v.len, v.seed, 1000000);
	t->envelope_maybe = v;
	rc = spool_rewrite(task, w->spool, t->entry, slice_make(bytes, v.len, CLEAN), &err);
	if (rc == OK) {
		t->envelope = v;
		t->envelope_maybe.len = 0;
	} else {
		EXPECT(w, rc == DEFER);
		if (!w->disk->cut)
			t->envelope_maybe = v; /* refused: a start that comes at once may still find it */
	}
	free(bytes);
}

static void client_step(struct task *task, struct client *c)
{
	struct told *t = pick(c);

	switch (dice(c->world, 12)) {
	case 0:
	case 1:
		if (t)
			outcome(task, c, t);
		break;
	case 2:
		if (t && dice(c->world, 2))
			rewrite(task, c, t);
		break;
	case 3:
	case 4:
	case 5:
	case 6:
		if (t && (dice(c->world, 20) || c->count > 50)) {
			spool_done(c->world->spool, t->entry);
			t->ended = true;
		}
		break;
	case 7:
		if (t)
			check(task, c->world, t);
		break;
	case 8:
		if (t)
			spool_mark(c->world->spool, t->entry, dice(c->world, 2));
		break;
	default:
		store(task, c);
		break;
	}
}

static void client_run(struct task *parent, void *arg)
{
	struct client *c = arg;
	struct world *w = c->world;
	struct task task;

	task_init(&task, parent->shard, &c->arena, UNTIL_NEVER);
	while (!w->disk->cut) {
		if (++w->operations >= w->cut_at) {
			w->disk->cut = true;
			break;
		}
		client_step(&task, c);
		arena_clear(&c->arena);
		if (task_yield(&task) != OK)
			break;
	}
}

static void compare(struct task *task, struct world *w)
{
	unsigned found = 0;

	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &w->clients[i];

		for (unsigned k = 0; k < c->count; k++) {
			struct told *t = &c->told[k];
			struct message_id id = id_of(t->number);

			t->entry = spool_find(w->spool, &id);
			found += t->entry != NULL;
			if (!t->entry) {
				EXPECT(w, !t->stored || t->ended);
				t->ended = t->ended_surely = true; /* and gone for good */
				continue;
			}
			EXPECT(w, !t->ended_surely);
			EXPECT(w, !t->refused_surely);
			t->stored = true;
			t->ended = false;
			check(task, w, t);
			t->outcomes = t->outcomes_surely = t->entry->outcome_count;
			if (t->refused) {
				spool_done(w->spool, t->entry);
				t->ended = true;
			}
			if (t->envelope_maybe.len) { /* whichever it is now */
				struct err err = err_make(task->arena);
				struct slice envelope;
				char *expected = malloc(t->envelope_maybe.len);

				EXPECT(w, spool_envelope(task, w->spool, t->entry, &envelope, &err) == OK);
				pattern(expected, t->envelope_maybe.len, t->envelope_maybe.seed, 1000000);
				if (envelope.len == t->envelope_maybe.len &&
				    memcmp(envelope.ptr, expected, envelope.len) == 0)
					t->envelope = t->envelope_maybe;
				t->envelope_maybe.len = 0;
				free(expected);
			}
		}
	}
	EXPECT(w, found == spool_count(w->spool) + 0u || spool_count(w->spool) <= found);
}

static void history(struct task *task, void *arg)
{
	struct world *w = arg;
	struct spool_options options = {
	    .directory = "/spool", .segment_size = SEGMENT_SIZE_MIN, .sync = true};
	struct err err = err_make(task->arena);
	struct spool_stats stats;

	for (unsigned cut = 0; cut <= CUTS; cut++) {
		struct group group;

		w->disk->slow = false;
		w->disk->fail_one_in = 0;
		if (spool_open_on(&w->disk->disk, task, &options, NULL, NULL, &w->spool, &err) != OK)
			fail_msg("seed %llu: %.*s", (unsigned long long)w->seed, SLICE_ARG(err.text));
		if (err.text.len)
			fail_msg("seed %llu: %.*s", (unsigned long long)w->seed, SLICE_ARG(err.text));
		compare(task, w);
		if (cut == CUTS)
			break;
		w->disk->slow = dice(w, 8) != 0;
		w->disk->fail_one_in = dice(w, 3) ? 0 : 15;
		w->operations = 0;
		w->cut_at = (unsigned)dice(w, dice(w, 4) ? 1500 : 100) + 1;
		group_init(&group);
		for (int i = 0; i < CLIENTS; i++)
			EXPECT(w, group_spawn(task, &group, client_run, &w->clients[i]) == OK);
		EXPECT(w, group_wait(task, &group) == OK);
		w->disk->cut = true;
		spool_stats(w->spool, &stats);
		w->moved += (unsigned)stats.compactions;
		spool_close(task, w->spool);
		fake_disk_restart(w->disk);
	}
	w->disk->fail_one_in = 0;
	spool_close(task, w->spool);
}

static void run_seed(uint64_t seed, unsigned *stored, unsigned *moved)
{
	struct world *w = calloc(1, sizeof(*w));

	w->seed = seed;
	w->disk = fake_disk_new(seed);
	w->disk->space = seed % 3 ? 0 : 2560 * 1024;
	w->next_number = 1;
	for (int i = 0; i < CLIENTS; i++) {
		w->clients[i].world = w;
		arena_init(&w->clients[i].arena, 0);
	}
	run_on(0, 1, history, w);
	*stored += w->stored;
	*moved += w->moved;
	for (int i = 0; i < CLIENTS; i++)
		arena_done(&w->clients[i].arena);
	fake_disk_free(w->disk);
	free(w);
}

static void promises_are_kept(void **state)
{
	const char *seeds = getenv("SLUICE_SEEDS");
	unsigned long long first = 1, count = 150;
	unsigned stored = 0, moved = 0;

	(void)state;
	if (seeds)
		assert_int_equal(sscanf(seeds, "%llu,%llu", &first, &count), 2);
	for (uint64_t seed = first; seed < first + count; seed++)
		run_seed(seed, &stored, &moved);
	printf("%llu seeds, %u messages stored, %u moved\n", count, stored, moved);
	if (!seeds) {
		assert_true(stored > 1000);
		assert_true(moved > 100); /* or compaction was not tested */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(promises_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
