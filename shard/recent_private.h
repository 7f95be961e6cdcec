/* The recent commits: what each wrote, for validating read sets, and which transactions they were, so that a command
 * that was proposed twice is applied once.
 *
 * All replicas must judge alike, so what is kept is a function of the log alone: in order of SCN, the longest run of
 * newest commits whose weight fits GN_RECENT_WEIGHT_MAX. A replica that opens rebuilds it from the change log, but only
 * when a command comes whose transaction began before the open (above `complete_from` all is there). A transaction that
 * began before the floor (the newest commit that was let go) and has read anything is refused. */
#ifndef GN_SHARD_RECENT_PRIVATE_H
#define GN_SHARD_RECENT_PRIVATE_H

#include "shard/read_set_private.h"

enum {
    GN_RECENT_WEIGHT_MAX = 32 << 20,
    GN_RECENT_COMMIT_WEIGHT = 64, /* of a commit beside its keys */
    GN_RECENT_KEYS_MAX = 4096,    /* keys kept of one space in one commit; more become least and greatest */
};

typedef struct gn_recent_commit {
    gn_scn scn;
    uint64_t txn_id;
    size_t len;
    uint8_t sections[]; /* kind u8, varints id epoch branch; be32 n; keys | n = UINT32_MAX: least, greatest */
} gn_recent_commit;

/* One space of the commit that is being put together. */
typedef struct gn_recent_section {
    gn_space space;
    gn_buf keys;
    uint32_t n;
    bool spans;
    gn_buf least, greatest;
} gn_recent_section;

typedef struct gn_recent {
    gn_recent_commit **ring;
    size_t head, n, cap; /* cap: a power of two */
    size_t weight;
    gn_scn floor;
    gn_scn complete_from;
    struct gn_recent_txn *txns; /* open addressing by transaction id */
    size_t txn_cap;
    gn_recent_section *sections;
    size_t n_sections, cap_sections, last;
} gn_recent;

void gn_recent_init(gn_recent *recent);
void gn_recent_close(gn_recent *recent);

/* The commit that is being put together. */
void gn_recent_begin(gn_recent *recent);
void gn_recent_key(gn_recent *recent, const gn_space *space, gn_bytes key);
/* Its sections of index spaces, packed: the change log keeps them for the rebuild. */
bool gn_recent_pack_indexes(const gn_recent *recent, gn_buf *out);
/* It becomes the newest. packed: further sections as gn_recent_pack_indexes made them (rebuild), or empty. */
gn_recent_commit *gn_recent_finish(const gn_recent *recent, gn_scn scn, uint64_t txn_id, gn_bytes packed);
void gn_recent_add(gn_recent *recent, gn_recent_commit *commit);
static inline size_t gn_recent_weight(const gn_recent_commit *commit)
{
    return commit->len + GN_RECENT_COMMIT_WEIGHT;
}

bool gn_recent_find_txn(const gn_recent *recent, uint64_t txn_id, gn_scn *scn);
/* Has the commit written anything that is in the (sorted) set? */
bool gn_recent_conflicts(const gn_recent_commit *commit, const gn_read_set *reads);
/* Adds what the commit wrote to a set of keys. False: its bytes are malformed. */
bool gn_recent_footprint(const gn_recent_commit *commit, gn_read_set *out);
/* GN_SERIALIZATION when something read was written after start_scn, or may have been. */
gn_code gn_recent_validate(const gn_recent *recent, const gn_read_set *reads, gn_scn start_scn, gn_error *err);

#endif
