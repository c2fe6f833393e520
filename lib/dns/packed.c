/* packed: an answer in one piece of memory. Records come first, then the arrays of their strings, then all bytes; a copy is one
 * memcpy() and a step from the old place to the new one for each pointer. */
#include "packed.h"

#define ALIGNED(size) (((size) + 15) & ~(size_t)15)

static size_t size_of(const struct dns_answer *answer)
{
	size_t size = ALIGNED(sizeof(struct packed)) + ALIGNED(answer->count * sizeof(struct dns_record));

	size += answer->canonical.len;
	for (unsigned i = 0; i < answer->count; i++) {
		const struct dns_record *r = &answer->records[i];

		size +=
		    r->string_count * sizeof(struct slice) + r->name.len + r->text.len + r->soa_mailbox.len;
	}
	return size;
}

static void put(char **at, struct slice *s)
{
	if (!s->len)
		return;
	memcpy(*at, s->ptr, s->len);
	s->ptr = *at;
	*at += s->len;
}

struct packed *packed_make(struct arena *arena, const struct dns_answer *answer)
{
	size_t size = size_of(answer);
	struct packed *packed = arena_alloc(arena, size, 16);
	struct slice *strings;
	char *at;

	if (!packed)
		return NULL;
	*packed = (struct packed){.place = (uintptr_t)packed, .size = size, .answer = *answer};
	at = (char *)packed + ALIGNED(sizeof(*packed));
	packed->answer.records = (struct dns_record *)at;
	if (answer->count)
		memcpy(at, answer->records, answer->count * sizeof(struct dns_record));
	at += ALIGNED(answer->count * sizeof(struct dns_record));
	strings = (struct slice *)at;
	for (unsigned i = 0; i < answer->count; i++)
		at += answer->records[i].string_count * sizeof(struct slice);
	put(&at, &packed->answer.canonical);
	for (unsigned i = 0; i < answer->count; i++) {
		const struct dns_record *from = &answer->records[i];
		struct dns_record *r = &packed->answer.records[i];

		put(&at, &r->name);
		put(&at, &r->text);
		put(&at, &r->soa_mailbox);
		if (!r->string_count)
			continue;
		/* The strings are parts of the text. */
		r->strings = strings;
		strings += r->string_count;
		for (unsigned k = 0; k < r->string_count; k++) {
			r->strings[k] = from->strings[k];
			if (r->strings[k].len)
				r->strings[k].ptr = r->text.ptr + (from->strings[k].ptr - from->text.ptr);
		}
	}
	return packed;
}

struct step {
	uintptr_t from, to;
};

static void *moved(struct step step, const void *p)
{
	return (void *)((uintptr_t)p - step.from + step.to);
}

/* An empty slice points to no byte of ours. */
static void move(struct step step, struct slice *s)
{
	if (s->len)
		s->ptr = moved(step, s->ptr);
}

bool packed_copy(const struct packed *packed, struct arena *arena, struct dns_answer *ret)
{
	char *bytes = arena_bytes(arena, packed->size + 15);
	struct step step = {.from = packed->place};
	struct dns_answer *answer;

	if (!bytes)
		return false;
	step.to = ALIGNED((uintptr_t)bytes);
	memcpy((void *)step.to, packed, packed->size);
	answer = &((struct packed *)step.to)->answer;
	move(step, &answer->canonical);
	answer->records = answer->count ? moved(step, answer->records) : NULL;
	for (unsigned i = 0; i < answer->count; i++) {
		struct dns_record *r = &answer->records[i];

		move(step, &r->name);
		move(step, &r->text);
		move(step, &r->soa_mailbox);
		if (!r->string_count)
			continue;
		r->strings = moved(step, r->strings);
		for (unsigned k = 0; k < r->string_count; k++)
			move(step, &r->strings[k]);
	}
	*ret = *answer;
	return true;
}
