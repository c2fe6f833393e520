/* What the library forgets, and what only looks like it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tls/engine.h"
#include "tls/memory.h"

#include <wolfssl/wolfcrypt/asn.h>

#define PROOF_SIZE 471u
#define DER_SIZE   1100u

static struct library_memory memory;

static int begin(void **state)
{
	(void)state;
	library_init();
	memory = (struct library_memory){.leaks = slot_new_plain(),
					 .watching = true,
					 .certificate_size = DER_SIZE,
					 .proof_size = PROOF_SIZE};
	return memory.leaks ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	slot_drop(memory.leaks);
	return 0;
}

/* Records of a flight can be as long as the library's struct for a certificate. */
static void test_records_of_that_size(void **state)
{
	struct library_memory *before = library_use(&memory);
	unsigned char *records = wolfSSL_Malloc(sizeof(DecodedCert)), *more, *copy;

	(void)state;
	memset(records, 0xff, sizeof(DecodedCert));
	more = wolfSSL_Malloc(sizeof(DecodedCert));
	memset(more, 0xee, sizeof(DecodedCert));
	wolfSSL_Free(records);
	wolfSSL_Free(more);
	library_settle(&memory);
	/* None was a certificate, so this is not the copy of a proof. */
	copy = wolfSSL_Malloc(PROOF_SIZE);
	assert_false(slot_owns(copy));
	wolfSSL_Free(copy);
	(void)library_use(before);
}

/* As the library does it: decoded, given back, asked for the proof, copied. That what is inside is freed, the sanitizer sees. */
static void test_certificate(void **state)
{
	struct library_memory *before = library_use(&memory);

	(void)state;
	for (int asked = 0; asked < 2; asked++) {
		DecodedCert *certificate = wolfSSL_Malloc(sizeof(*certificate));
		void *copy;

		wc_InitDecodedCert(certificate, (const byte *)"", DER_SIZE, NULL);
		certificate->serialSz = 8;
		certificate->subjectCN = wolfSSL_Malloc(10);
		certificate->subjectCNStored = 1;
		wolfSSL_Free(certificate);
		if (asked) /* not if it has the proof still */
			library_asks_for_proof(&memory);
		copy = wolfSSL_Malloc(PROOF_SIZE);
		assert_true(slot_owns(copy));
		library_settle(&memory);
	}
	(void)library_use(before);
}

/* A proof that is asked for without a certificate: TLS 1.2. */
static void test_no_certificate(void **state)
{
	struct library_memory *before = library_use(&memory);
	void *copy;

	(void)state;
	library_asks_for_proof(&memory);
	copy = wolfSSL_Malloc(PROOF_SIZE);
	assert_false(slot_owns(copy));
	wolfSSL_Free(copy);
	(void)library_use(before);
}

/* A block that outlives the call it was made in is freed by another's. */
static void test_block_that_stays(void **state)
{
	struct library_memory *before = library_use(&memory);
	void *stays = wolfSSL_Malloc(sizeof(DecodedCert)), *grown;

	(void)state;
	library_settle(&memory);
	(void)library_use(NULL);
	wolfSSL_Free(stays);
	(void)library_use(&memory);
	grown = wolfSSL_Realloc(wolfSSL_Malloc(sizeof(DecodedCert)), 2 * sizeof(DecodedCert));
	wolfSSL_Free(grown);
	library_asks_for_proof(&memory);
	library_settle(&memory);
	(void)library_use(before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_records_of_that_size, begin, end),
	    cmocka_unit_test_setup_teardown(test_certificate, begin, end),
	    cmocka_unit_test_setup_teardown(test_no_certificate, begin, end),
	    cmocka_unit_test_setup_teardown(test_block_that_stays, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
