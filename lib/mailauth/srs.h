/* srs: what the two kinds of rewritten senders share. Private to the room. */
#ifndef MAILAUTH_SRS_H
#define MAILAUTH_SRS_H

#include "mailauth/mailauth.h"

#define SRS_DAYS 1024 /* a stamp counts modulo that */

/* Two characters of A-Z2-7, the high five bits first. */
void srs_stamp(uint64_t day, bool upper, char out[2]);
/* -1: none. Case does not count. */
int srs_stamp_read(struct slice text);
/* Days from the stamp to today, modulo 1024. */
static inline unsigned srs_age(uint64_t today, int stamp)
{
	return (unsigned)((today + SRS_DAYS - (unsigned)stamp) % SRS_DAYS);
}
/* HMAC of the text in lower case. Returns the bytes written to out (16 or 20). */
unsigned srs_hmac(bool sha1, struct slice secret, struct arena *arena, struct slice text, uint8_t out[20]);
/* Takes the same time wherever they differ. */
bool srs_hash_eq(struct slice a, struct slice b, bool nocase);
static inline uint64_t srs_today(const struct scope *sc)
{
	return shard_wall(sc->task->shard) / NS_PER_S / 86400;
}

#endif
