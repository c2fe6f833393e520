/* tls: TLS 1.2 and 1.3 on a stream, by wolfSSL on fibers, inbound and outbound. A handshake parks like any read; the layer
 * that it leaves on the stream makes plain bytes of what comes and records of what goes. Certificates, keys and lists are
 * given as expanded text: who may ask for what, policy decides above. */
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include "conf/conf.h"
#include "log/log.h"
#include "reactor/reactor.h"

#endif
