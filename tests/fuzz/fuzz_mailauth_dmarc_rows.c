/* fuzz_mailauth_dmarc_rows: any bytes as a bucket of aggregate rows, with another row merged into it, and the XML of that; and as a key. */
#include "mailauth/dmarc_aggregate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the XML is made of stands between tags only. */
static void check_xml(struct slice xml)
{
	for (uint32_t i = 0; i < xml.len; i++)
		ASSERT(xml.ptr[i] == '\n' || (xml.ptr[i] >= ' ' && xml.ptr[i] <= '~'));
	ASSERT(slice_ends(xml, SLICE("</feedback>\n")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char merged[HINTS_VALUE_MAX];
	static const struct slice added = SLICE_INIT(
	    "t\tr\t-\t-\tr\tr\t0\tn\tmailto:a@b.test\n0000000001\t192.0.2.1\tp\ty\ty\t\tb.test\tb.test\t\n");
	const struct dmarc_reporter reporter = {
	    .organization = SLICE("us"), .contact = SLICE("a@us"), .extra = SLICE_EMPTY};
	struct slice text = slice_make((const char *)data, size < HINTS_VALUE_MAX ? size : HINTS_VALUE_MAX,
				       TAINTED),
		     bucket_text;
	struct dmarc_gathered g = {
	    .domain = SLICE("b.test"), .id = SLICE("1"), .buckets = &bucket_text, .bucket_count = 1};
	struct dmarc_bucket bucket;
	struct dmarc_key key;
	struct arena arena;
	uint64_t messages;
	unsigned rows;
	ptrdiff_t len;

	arena_init(&arena, 0);
	if (dmarc_key_read(text, &key))
		ASSERT(slice_eq_nocase(dmarc_key_write(&arena, &key), text));
	len = dmarc_bucket_merge(text, added, merged);
	ASSERT(len > 0 && len <= DMARC_BUCKET_MAX + 2048);
	bucket_text = slice_make(merged, (size_t)len, TAINTED);
	ASSERT(dmarc_bucket_read(bucket_text, &bucket));
	bucket_text = text;
	if (dmarc_bucket_read(text, &bucket)) {
		struct slice xml = dmarc_xml(&arena, &reporter, &g, &messages, &rows);
		if (xml.ptr)
			check_xml(xml);
		ASSERT(xml.ptr || !rows);
	}
	len = dmarc_bucket_merge((struct slice){NULL, 0, CLEAN}, text, merged);
	ASSERT(len <= DMARC_BUCKET_MAX);
	arena_done(&arena);
	return 0;
}
