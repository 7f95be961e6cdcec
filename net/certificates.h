/* Makes what TLS between nodes needs: a certificate authority for a cluster, and a certificate for each node. EC P-256,
 * signed with SHA-256, in PEM files; keys are readable by their owner alone. Nothing that is there is overwritten.
 *
 * An operator with an authority of their own needs none of this: nodes take any certificate that is signed by the
 * configured authority, good for both ends of a connection, and names the host it is reached by. */
#ifndef GN_NET_CERTIFICATES_H
#define GN_NET_CERTIFICATES_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct gn_certificate_request {
    const char *cert, *key; /* files to write */
    const char *name;       /* common name, 1 to 64 bytes; no meaning to TLS */
    unsigned days;          /* how long it is good: 1 to 36500 */
    int64_t from_s;         /* since the Unix epoch; 0: five minutes ago, for clocks that differ */
    /* For a node: names and addresses that it is reached by, at least one. For an authority: none. */
    const char *const *hosts;
    size_t n_hosts;
} gn_certificate_request;

/* GN_CONFIGURATION (request not possible, or a file is there already), GN_IO, GN_DISK_FULL. On failure none of the two
 * files has been left behind. */
gn_code gn_certificates_authority(const gn_certificate_request *request, gn_error *err);
/* Signed by the authority of these two files. */
gn_code gn_certificates_node(const gn_certificate_request *request, const char *ca_cert, const char *ca_key,
                             gn_error *err);

#endif
