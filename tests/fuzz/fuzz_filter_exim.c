/* Exim filters: whatever a user writes is compiled or refused. */
#include "filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return filter_compiled_or_refused(FILTER_EXIM, data, size);
}
