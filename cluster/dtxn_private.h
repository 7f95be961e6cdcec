/* A distributed transaction from inside: its parts. */
#ifndef GN_CLUSTER_DTXN_PRIVATE_H
#define GN_CLUSTER_DTXN_PRIVATE_H

#include "cluster/cluster_private.h"
#include "cluster/dtxn.h"
#include "cluster/part_private.h"

struct gn_dtxn {
    gn_cluster *cluster;
    gn_dtxn_options options;
    gn_placement *placement; /* as it was at the beginning */
    bool past;               /* read_scn was not asked for: it is a time gone by */
    bool looked, asked;      /* at definitions; a group that judges by its own */
    gn_scn read_scn;         /* of the clock, for all parts that begin from now on; 0 = each reads what is newest */
    gn_part **parts;         /* parts[0]: the meta group's, always there */
    uint32_t n_parts;
    uint64_t *missing; /* groups that were left out, by number */
    uint32_t n_missing, most_asked;
    gn_buf key;
};

/* Whether the group's failure is none, since partial answers are wanted: then it is noted. */
bool gn_dtxn_leave_out(gn_dtxn *txn, uint64_t group_id, gn_code code);

/* The part in this group, begun on first use. */
gn_code gn_dtxn_part(gn_dtxn *txn, uint64_t group_id, gn_part **out, gn_error *err);

/* The parts in these groups, begun all at once where they are missing. out: n of them; NULL: left out. */
gn_code gn_dtxn_parts(gn_dtxn *txn, const gn_group_place *groups, uint32_t n, gn_part **out, gn_error *err);

/* It was begun without asking the group's leader, so what is read in it may be old. */
bool gn_part_unconfirmed(const gn_part *part);

gn_code gn_dtxn_run_again(gn_error *err); /* GN_SERIALIZATION, with words that say so */

/* The groups that a scan of the table must ask: all of its distribution, or the one that the range leads to. The
 * places are the placement's. */
gn_code gn_dtxn_groups(gn_dtxn *txn, const gn_table_desc *table, const gn_key_range *range,
                       const gn_group_place **first, uint32_t *n, gn_error *err);

#endif
