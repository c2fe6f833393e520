/* allocations: counts the calls of the allocator in a benchmark: every one goes through here. The sanitizer, where it is, has an
 * allocator of its own, and nothing is counted. For one source file of a program. */
#ifndef PERF_ALLOCATIONS_H
#define PERF_ALLOCATIONS_H

#include <stddef.h>

#ifndef SLUICE_SANITIZE
static unsigned long allocations;
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
	allocations++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	allocations++;
	return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	allocations++;
	return __libc_realloc(old, size);
}
#else
static const unsigned long allocations;
#endif

#endif
