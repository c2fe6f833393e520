/* tag: lists of tag=value (RFC 6376 section 3.2), which DKIM and ARC header fields, key records and DMARC records are made of.
 * Private to the room. */
#ifndef MAILAUTH_TAG_H
#define MAILAUTH_TAG_H

#include "base/codec.h"
#include "base/err.h"

/* The longest lists seen in mail have about fifteen. */
#define TAG_COUNT_MAX 40

struct tag {
	struct slice name;
	struct slice value;  /* without the white space around it; folding inside is left as it is */
	uint32_t start, end; /* of the value in the text, the white space around it included */
};
struct tag_list {
	struct tag tags[TAG_COUNT_MAX];
	unsigned count;
	uint8_t by_letter[64]; /* of names of one letter: which tag it is, and one; capitals come first */
};
/* The whole text is a list, whose slices point into it. FAIL: it is not, has a tag twice, or too many; err says which. */
NODISCARD enum rc tag_list_parse(struct slice text, struct tag_list *list_ret, struct err *err);
/* NULL: not there. Tag names are case-sensitive, and not empty. */
const struct tag *tag_find_slice(const struct tag_list *list, struct slice name);
/* Inline, so that the length of a literal is known: a signature is asked for twenty tags. */
static inline const struct tag *tag_find(const struct tag_list *list, const char *name)
{
	struct slice whole = slice_of(name);
	unsigned which;

	if (whole.len != 1)
		return tag_find_slice(list, whole);
	which = list->by_letter[name[0] & 63];
	return which ? &list->tags[which - 1] : NULL;
}
/* Its value; ptr NULL: not there. */
static inline struct slice tag_value(const struct tag_list *list, const char *name)
{
	const struct tag *tag = tag_find(list, name);

	return tag ? tag->value : (struct slice){NULL, 0, CLEAN};
}

/* Of folding white space. */
static inline bool tag_is_space(char c)
{
	return (unsigned char)c <= ' ' && (c == ' ' || c == '\n' || c == '\t' || c == '\r');
}
static inline struct slice tag_trim(struct slice s)
{
	const char *start = s.ptr, *end = start + s.len;

	while (start < end && tag_is_space(*start))
		start++;
	while (start < end && tag_is_space(end[-1]))
		end--;
	return (struct slice){start, (uint32_t)(end - start), s.taint};
}
/* Digits only, at most digits_max; numbers past 2^64 are 2^64 - 1. */
bool tag_number(struct slice value, unsigned digits_max, uint64_t *ret);
/* Base64 with folding white space between its characters, into the arena. false: it is not, or the result would have more than
 * size_max bytes; with bytes_ret->ptr NULL: no memory. */
bool tag_base64(struct arena *arena, struct slice value, uint32_t size_max, struct slice *bytes_ret);
/* The same of what tag_squeeze() has left. */
bool tag_base64_plain(struct arena *arena, struct slice text, uint32_t size_max, struct slice *bytes_ret);
/* The next item of a list with colons, trimmed. false: no more. An empty item is handed out as such. */
bool tag_item(struct slice *rest, struct slice *item_ret);
/* Is the word one of the list? */
bool tag_item_is_in(struct slice list, struct slice word);
/* Without folding white space anywhere. ptr NULL: no memory. */
struct slice tag_squeeze(struct arena *arena, struct slice value);
/* dkim-quoted-printable (section 2.11) undone; what is malformed is left as it is. ptr NULL: no memory. */
struct slice tag_unquote(struct arena *arena, struct slice value);
/* A domain name of at least so many labels: letters, digits, hyphens inside; U-labels (RFC 8616); with underscore, that too. */
bool tag_is_domain(struct slice name, unsigned labels_min, bool underscore);

#endif
