#ifndef BASE_CODEC_H
#define BASE_CODEC_H

#include "base/str.h"

/* Each appends the coded form to str. The decoders return false, with str as it was, where the text is not
 * of the form; they never read past it. */
void base64_encode(struct str *str, struct slice bytes); /* RFC 4648 section 4, padded, one line */
bool base64_decode(struct str *str, struct slice text);  /* strict: padding required, no white space */
void hex_encode(struct str *str, struct slice bytes, bool upper);
bool hex_decode(struct str *str, struct slice text);
/* RFC 3461 section 4: printable but for "+" and "="; the rest as +XX. */
void xtext_encode(struct str *str, struct slice bytes);
bool xtext_decode(struct str *str, struct slice text);
/* digits most significant first, left-padded with "0" to width (0: as many as needed) */
void base62_encode(struct str *str, uint64_t number, unsigned width);
bool base62_decode(struct slice text, uint64_t *number_ret);
/* Value of a hexadecimal digit, or -1. */
int hex_digit(char c);
/* Length in bytes (1 to 4) of the well-formed UTF-8 sequence at the start, 0 if there is none (RFC 3629). */
unsigned utf8_sequence(struct slice s);
bool utf8_valid(struct slice s);
bool ascii_only(struct slice s);

#endif
