/* The last resort, on the log of a node that does not run: its groups go on with this node alone.
 *
 * Unsafe, and what it costs cannot be known: entries that only others had are lost though they were acknowledged, and
 * entries that nobody else had become committed. It is sound only if no other member ever runs again with what it had:
 * two halves of a group would each go on. So the caller gives the node a cluster of its own. */
#ifndef GN_RAFT_FORCE_H
#define GN_RAFT_FORCE_H

#include "raft/host.h"

typedef enum gn_raft_force_state {
    GN_RAFT_FORCE_CAN,        /* this node is one of several members */
    GN_RAFT_FORCE_ALONE,      /* it is the only one already */
    GN_RAFT_FORCE_NOT_MEMBER, /* it waits to be added, or was removed: what it has is no replica */
    GN_RAFT_FORCE_INSTALLING, /* a snapshot's install was cut off: what it has may be half of it */
} gn_raft_force_state;

typedef struct gn_raft_force_group {
    uint64_t id, term, last_term, last_index; /* of two survivors, the later (last_term, last_index) has more */
    gn_raft_force_state state;
    size_t n_members;
    gn_raft_member members[64];
} gn_raft_force_group;

/* What the log has, by group; *out to be freed. The world's node is the log's. apply: those that can are forced, all in
 * one write; may be repeated. GN_LOCKED: the node runs. GN_CORRUPT. From the main thread. */
gn_code gn_raft_force_alone(gn_world *world, const char *log_dir, bool apply, gn_raft_force_group **out, size_t *n,
                            gn_error *err);
/* The same for these groups only, all in one write. Those that are alone already are left as they are. GN_NOT_IN_STATE:
 * one of them cannot; then none was forced. */
gn_code gn_raft_force_groups(gn_world *world, const char *log_dir, const uint64_t *groups, size_t n, gn_error *err);

#endif
