/* base: what every room stands on: slices, arenas, a string builder, results and errors, assertions, lists,
 * a hash map, encodings, checksums, clocks, message ids. Knows nothing of mail, files or networks. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include "base/assert.h"
#include "base/slice.h"
#include "base/arena.h"
#include "base/str.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/codec.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/id.h"
#include "base/addr.h"
#include "base/debug.h"

#endif
