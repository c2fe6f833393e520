/* fields: the header fields of a message by name, so that a signature takes each from the bottom up (RFC 6376 section 5.4.2)
 * in time that does not grow with the square of what a stranger sends. */
#include "base/hash.h"
#include "dkim.h"

struct slice field_name_of(struct slice field)
{
	ptrdiff_t colon = slice_find(field, ':');

	return slice_rtrim(slice_sub(field, 0, colon < 0 ? field.len : (size_t)colon));
}

/* With so few fields whoever makes all their names collide has won nothing: a keyed hash would cost more than it saves. */
#define FEW_FIELDS 128

static uint32_t quick_hash(struct slice name)
{
	uint32_t hash = name.len;

	if (name.len)
		hash += (uint32_t)(ascii_lower(name.ptr[0]) * 7 + ascii_lower(name.ptr[name.len / 2]) * 13 +
				   ascii_lower(name.ptr[name.len - 1]) * 3);
	return hash;
}

static struct field_name *find(const struct field_index *index, struct slice name)
{
	uint32_t hash = index->count <= FEW_FIELDS ? quick_hash(name) : (uint32_t)hash_slice_nocase(name);
	uint32_t at = hash & (index->name_room - 1);

	while (index->names[at].name.ptr && !slice_eq_nocase(index->names[at].name, name))
		at = (at + 1) & (index->name_room - 1);
	return &index->names[at];
}

bool field_index_init(struct field_index *index, struct arena *arena, const struct slice *fields,
		      uint32_t count)
{
	uint32_t room = 16;

	while (room < count * 2)
		room *= 2;
	*index = (struct field_index){.fields = fields, .count = count, .name_room = room};
	index->above = arena_array(arena, uint32_t, count + 1);
	index->names = arena_array(arena, struct field_name, room);
	if (!index->above || !index->names)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		struct slice name = field_name_of(fields[i]);
		struct field_name *entry = find(index, name);

		index->above[i] = entry->name.ptr ? entry->lowest : UINT32_MAX;
		entry->name = name;
		entry->lowest = i;
	}
	return true;
}

void field_index_begin(struct field_index *index)
{
	index->round++;
}

uint32_t field_index_take(struct field_index *index, struct slice name)
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
