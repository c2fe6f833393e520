/* floor_tls: what the floor program needs of the library for STARTTLS: its own calls, memory to memory, and nothing around them. */
#ifndef PERF_FLOOR_TLS_H
#define PERF_FLOOR_TLS_H

#include <stddef.h>

struct tls_floor; /* certificate and ticket key, for all threads */
struct tls_conn;

/* Ends the program with a message when the library will not. */
struct tls_floor *tls_floor_open(const char *certificate, const char *key);
struct tls_conn *tls_conn_new(struct tls_floor *tls);
void tls_conn_free(struct tls_conn *c);

/* Bytes from the peer: all are taken. */
void tls_conn_feed(struct tls_conn *c, const char *bytes, size_t len);
/* The next plain text that they held, in memory of this thread's that lasts until the next call; 0: there is no more, -1: the session is broken. */
long tls_conn_read(struct tls_conn *c, char **text);
void tls_conn_write(struct tls_conn *c, const char *text, size_t len);
void tls_conn_close(struct tls_conn *c);
/* What is to be sent to the peer; it is forgotten then. */
size_t tls_conn_take(struct tls_conn *c, const char **bytes);

#endif
