/* OCSP responses, certificates, PEM and lists of revoked certificates: the first byte chooses which. */
#include "tls/names.h"
#include "tls/ocsp.h"
#include "tls/revoked.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct slice text, response, label;
	struct ocsp_answer answer;
	struct arena arena;
	struct x509 cert;
	volatile enum rc rc; /* what is found is not judged here */

	if (size < 1 || size > 65536)
		return 0;
	text = slice_make((const char *)bytes + 1, size - 1, TAINTED);
	arena_init(&arena, 1 << 22);
	switch (bytes[0] % 4) {
	case 0: /* a certificate, and what can be asked of it */
		if (!x509_parse(text, &cert))
			break;
		rc = names_match_host(&arena, &cert, SLICE("mx.example.org"));
		rc = names_match_host(&arena, &cert, SLICE("192.0.2.1"));
		(void)x509_access_uri(&cert, oid_ocsp, 1, &response);
		rc = ocsp_check(text, &cert, &cert, 1800000000, &answer, NULL);
		break;
	case 1: /* a certificate with a response behind it: it is its own issuer */
	{
		struct slice rest = text;
		struct der_item item;

		if (der_next(&rest, &item) && x509_parse(item.whole, &cert))
			rc = ocsp_check(rest, &cert, &cert, 1800000000, &answer, NULL);
	} break;
	case 2:
		for (unsigned n = 0; n < 4; n++)
			rc = ocsp_read(&arena, text, true, n, &response, NULL);
		while (pem_next(&arena, &text, &label, &response, NULL) == OK)
			;
		break;
	case 3: {
		struct revoked revoked = {NULL};

		rc = revoked_add(&revoked, &arena, text, NULL);
		revoked_sort(&revoked);
		if (x509_parse(text, &cert))
			(void)revoked_has(&revoked, &cert);
		revoked_done(&revoked);
	} break;
	}
	(void)rc;
	arena_done(&arena);
	return 0;
}
