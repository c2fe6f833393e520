/* engine: the private face of the tls room: what its files ask of each other. The only place, with the files that include it,
 * that knows of wolfSSL's types. */
#ifndef TLS_ENGINE_H
#define TLS_ENGINE_H

#include "tls/tls.h"

#endif
