/* gnomond --force-alone: after a majority of the nodes was lost for ever, one of those that are left becomes a cluster
 * of its own, with what it has. */
#ifndef GN_NODE_FORCE_H
#define GN_NODE_FORCE_H

#include "node/config.h"

/* Writes what each group has, and with `apply` has them go on with this node alone, under a new cluster id: so no node
 * of before can speak to it any more. The node must not run. */
gn_code gn_force_alone(const gn_config *config, bool apply, gn_buf *report, gn_error *err);

#endif
