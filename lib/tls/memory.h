/* memory: where the library's objects of a session lie. Between two commands a session is little more than these, and the library
 * is generous with them: its session object has room for two chains of certificates, 37 KiB with Debian's build, nearly all of
 * which stays zero.
 *
 * A slot holds one session's: the two large objects, laid so that what is used of them shares pages; small ones in the gaps; and
 * pages that are zero go back to the system when the handshake is over. Slots are cut from one reservation of address space,
 * so that free() can tell; without it, or when all are taken, there is malloc(). A slot belongs to one thread at a time. */
#ifndef TLS_MEMORY_H
#define TLS_MEMORY_H

#include "base/base.h"

struct slot;

/* From now on there are slots for objects of these sizes, in bytes. Once. false: there are none. */
bool slots_init(size_t ssl_size, size_t session_size);
/* NULL: none is left. */
struct slot *slot_new(void);
/* One for small objects of any size, without places for the large ones. */
struct slot *slot_new_plain(void);
/* Whatever still lies in it is gone. NULL is fine. */
void slot_drop(struct slot *slot);
/* As soon as nothing lies in it any more it can be another's. NULL is fine. */
void slot_free(struct slot *slot);

/* From the slot if it has room for that, 16-byte aligned; NULL: it has not. */
void *slot_take(struct slot *slot, size_t size);
bool slot_owns(const void *ptr);
void slot_give(void *ptr);
/* What there is room for behind ptr: its size at least. */
size_t slot_size(const void *ptr);
/* Pages of it that are zero go back to the system. Nobody may write at the same time. */
void slot_trim(struct slot *slot);

#endif
