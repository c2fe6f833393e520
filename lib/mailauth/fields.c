/* fields: the header fields of a message by name, so that a signature takes each from the bottom up (RFC 6376 section 5.4.2)
 * in time that does not grow with the square of what a stranger sends. */
#include "base/hash.h"
#include "dkim.h"
#include "scan.h"

struct slice field_name_of(struct slice field)
{
	uint32_t len = scan_colon(field.ptr, field.len);

	while (len && ascii_is_space(field.ptr[len - 1]))
		len--;
	return slice_sub(field, 0, len);
}

/* ---- Few fields ------------------------------------------------------------------------------------------------ */

static unsigned char mark_of(struct slice name)
{
	unsigned sum = name.len;

	if (name.len)
		sum += (unsigned)((name.ptr[0] | 0x20) * 7 + (name.ptr[name.len / 2] | 0x20) * 13 +
				  (name.ptr[name.len - 1] | 0x20) * 3);
	return (unsigned char)sum;
}

/* Bit i: field i may have that name. */
static uint64_t with_mark(const struct field_index *index, unsigned char mark)
{
	uint64_t found = 0;

	for (unsigned i = 0; i < index->count; i += 16)
		found |= (uint64_t)bytes16_bits((bytes16)(bytes16_at(index->marks + i) == mark)) << i;
	return index->count < FIELDS_FEW ? found & ((1ull << index->count) - 1) : found;
}

static void few_init(struct field_index *index)
{
	memset(index->marks, 0, sizeof(index->marks));
	for (uint32_t i = 0; i < index->count; i++) {
		struct slice name = field_name_of(index->fields[i]);

		index->marks[i] = mark_of(name);
		index->name_lens[i] = name.len;
	}
}

static uint32_t few_take(struct field_index *index, struct slice name)
{
	uint64_t left = with_mark(index, mark_of(name)) & ~index->taken;

	while (left) {
		uint32_t i = 63 - (uint32_t)__builtin_clzll(left);

		if (slice_eq_nocase(slice_sub(index->fields[i], 0, index->name_lens[i]), name)) {
			index->taken |= 1ull << i;
			return i;
		}
		left &= ~(1ull << i);
	}
	return UINT32_MAX;
}

/* ---- Many -------------------------------------------------------------------------------------------------------- */

static struct field_name *find(const struct field_index *index, struct slice name)
{
	uint32_t at = (uint32_t)hash_slice_nocase(name) & (index->name_room - 1);

	while (index->names[at].name.ptr && !slice_eq_nocase(index->names[at].name, name))
		at = (at + 1) & (index->name_room - 1);
	return &index->names[at];
}

static bool many_init(struct field_index *index, struct arena *arena)
{
	index->name_room = 256;
	while (index->name_room < index->count * 2)
		index->name_room *= 2;
	index->above = arena_array(arena, uint32_t, index->count);
	index->names = arena_array(arena, struct field_name, index->name_room);
	if (!index->above || !index->names)
		return false;
	for (uint32_t i = 0; i < index->count; i++) {
		struct slice name = field_name_of(index->fields[i]);
		struct field_name *entry = find(index, name);

		index->above[i] = entry->name.ptr ? entry->lowest : UINT32_MAX;
		entry->name = name;
		entry->lowest = i;
	}
	return true;
}

static uint32_t many_take(struct field_index *index, struct slice name)
{
	struct field_name *entry = find(index, name);
	uint32_t taken;

	if (!entry->name.ptr)
		return UINT32_MAX;
	if (entry->round != index->round) {
		entry->round = index->round;
		entry->next = entry->lowest;
	}
	taken = entry->next;
	if (taken != UINT32_MAX)
		entry->next = index->above[taken];
	return taken;
}

/* ---- Either --------------------------------------------------------------------------------------------------------- */

bool field_index_init(struct field_index *index, struct arena *arena, const struct slice *fields,
		      uint32_t count)
{
	index->fields = fields;
	index->count = count;
	index->taken = 0;
	index->round = 0;
	if (count > FIELDS_FEW)
		return many_init(index, arena);
	few_init(index);
	return true;
}

void field_index_begin(struct field_index *index)
{
	index->round++;
	index->taken = 0;
}

uint32_t field_index_take(struct field_index *index, struct slice name)
{
	return index->count > FIELDS_FEW ? many_take(index, name) : few_take(index, name);
}
