/* record: makes and checks heads, and takes commit records apart. Every length here comes from a disk and is
 * believed only after it was compared with what is there. */
#include "record.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the spool's format is little-endian, and so must the machine be"
#endif

static uint32_t head_crc(const struct record_head *head, uint64_t life)
{
	uint32_t crc = crc32c(0, &life, sizeof(life));

	return crc32c(crc, (const char *)head + sizeof(head->crc), sizeof(*head) - sizeof(head->crc));
}

void record_finish(struct record_head *head, uint64_t life, enum record_type type, uint64_t seq, uint32_t len)
{
	*head = (struct record_head){
	    .len = len, .seq = seq, .type = type, .payload_crc = crc32c(0, head + 1, len)};
	head->crc = head_crc(head, life);
}

bool record_head_good(const struct record_head *head, uint64_t life)
{
	return head->len <= SPOOL_RECORD_MAX && head->type >= RECORD_BODY && head->type < RECORD_TYPE_END &&
	       head->crc == head_crc(head, life);
}

void segment_head_finish(struct segment_head *head)
{
	head->version = SPOOL_VERSION;
	head->index_at = segment_index_at(head->size);
	head->reserved = 0;
	memcpy(head->magic, SEGMENT_MAGIC, sizeof(head->magic));
	head->crc = crc32c(0, head, offsetof(struct segment_head, crc));
}

bool segment_head_good(const struct segment_head *head)
{
	return memcmp(head->magic, SEGMENT_MAGIC, sizeof(head->magic)) == 0 &&
	       head->version == SPOOL_VERSION && head->size >= SEGMENT_SIZE_MIN &&
	       head->size <= SEGMENT_SIZE_MAX && head->index_at == segment_index_at(head->size) &&
	       head->number > 0 && head->first_seq > 0 &&
	       head->crc == crc32c(0, head, offsetof(struct segment_head, crc));
}

static uint32_t index_crc(const struct index_head *head)
{
	return crc32c(crc32c(0, head, offsetof(struct index_head, crc)), head + 1, head->len);
}

void index_finish(struct index_head *head)
{
	memcpy(head->magic, INDEX_MAGIC, sizeof(head->magic));
	head->version = SPOOL_VERSION;
	head->crc = index_crc(head);
}

bool index_head_good(const struct index_head *head, uint32_t room)
{
	return memcmp(head->magic, INDEX_MAGIC, sizeof(head->magic)) == 0 && head->version == SPOOL_VERSION &&
	       room >= sizeof(*head) && head->len <= room - sizeof(*head) && head->number > 0 &&
	       head->first_seq > 0 && head->next_seq >= head->first_seq;
}

bool index_items_good(const struct index_head *head)
{
	return head->crc == index_crc(head);
}

uint32_t record_prefix_len(enum record_type type, const void *payload, uint32_t len)
{
	struct commit_fixed fixed;

	switch (type) {
	case RECORD_COMMIT:
		memcpy(&fixed, payload, sizeof(fixed));
		return (uint32_t)(sizeof(fixed) + fixed.extent_count * sizeof(struct extent));
	case RECORD_OUTCOME:
	case RECORD_REWRITE:
		return 8;
	default:
		return len;
	}
}

bool commit_parse(const void *prefix, uint32_t prefix_len, uint32_t len, struct commit *commit_ret)
{
	struct commit c;
	uint64_t at, body = 0;

	if (prefix_len < sizeof(c.fixed) || prefix_len > len)
		return false;
	memcpy(&c.fixed, prefix, sizeof(c.fixed));
	c.extents = (const char *)prefix + sizeof(c.fixed);
	at = sizeof(c.fixed) + (uint64_t)c.fixed.extent_count * sizeof(struct extent);
	if (at > prefix_len)
		return false;
	c.outcomes_at = (uint32_t)at;
	at += c.fixed.outcomes_len;
	c.envelope_at = (uint32_t)at;
	if (at + c.fixed.envelope_len != len)
		return false;
	for (uint32_t i = 0; i < c.fixed.extent_count; i++) {
		struct extent e = commit_extent(&c, i);

		if (e.len == 0 || e.offset < SPOOL_BLOCK || e.offset % 8)
			return false;
		body += e.len;
	}
	if (body != c.fixed.body_len || memchr(c.fixed.id, 0, sizeof(c.fixed.id)) == NULL ||
	    c.fixed.id[0] == 0)
		return false;
	*commit_ret = c;
	return true;
}
