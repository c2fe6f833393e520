#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

void assert_failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "sluice: assertion failed: %s at %s:%d\n", what, file, line);
	abort();
}
