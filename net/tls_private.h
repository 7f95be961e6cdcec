/* TLS 1.3 by OpenSSL under NNG's streams. */
#ifndef GN_NET_TLS_PRIVATE_H
#define GN_NET_TLS_PRIVATE_H

#include "base/error.h"

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

/* Makes OpenSSL the engine of every TLS connection of NNG in this process. Any number of times. */
gn_code gn_tls_engine_use(gn_error *err);

/* A node's identity and whom it trusts, read from files once and found good. */
typedef struct gn_tls_identity {
    char *ca, *cert, *key; /* PEM */
} gn_tls_identity;

gn_code gn_tls_identity_load(gn_tls_identity *identity, const char *ca, const char *cert, const char *key,
                             gn_error *err);
void gn_tls_identity_close(gn_tls_identity *identity);

/* Both sides must show a certificate. host: whose name or address the other's must bear (NULL for a listener). Gives
 * an error number of NNG. */
int gn_tls_config_create(const gn_tls_identity *identity, nng_tls_mode mode, const char *host, nng_tls_config **out);

#endif
