/* ASSERT is for our own mistakes and stays on in production: a restart loses no accepted mail, corrupted
 * memory may. Nothing that a peer, a file or a database can send may ever trip one. */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#define NODISCARD                       __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a)               __attribute__((format(printf, f, a)))
#define LIKELY(x)                       __builtin_expect(!!(x), 1)
#define UNLIKELY(x)                     __builtin_expect(!!(x), 0)
#define ARRAY_COUNT(array)              (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - __builtin_offsetof(type, member)))

/* Writes what failed and where to standard error, then aborts. */
_Noreturn void assert_failed(const char *what, const char *file, int line);

#define ASSERT(cond) (LIKELY(cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__))

#endif
