/* A cluster as the document of GN_ADMIN_CLUSTER has it, put together: what each node says of its replicas becomes one
 * view of each group; and what is wrong with it. */
#ifndef GN_OPS_MODEL_H
#define GN_OPS_MODEL_H

#include "base/world.h"

#include <jansson.h>

enum { GN_MODEL_MEMBERS = 64 };

typedef struct gn_model_node {
    gn_node_id id;
    const char *address, *zone, *state, *error; /* in the document */
    bool asked, answers;
    const json_t *report;             /* NULL: it does not answer */
    uint32_t replicas, leads, wanted; /* groups: that it has, leads, should have by the placement */
} gn_model_node;

typedef struct gn_model_replica {
    gn_node_id node;
    bool votes, answers; /* answers: its node reports it */
    bool cleaned;        /* it has no rows of a group that was split off */
    uint64_t applied, prepared, install_bytes, install_total;
} gn_model_replica;

typedef enum gn_model_state { GN_GROUP_WELL, GN_GROUP_CHANGING, GN_GROUP_DEGRADED, GN_GROUP_LEADERLESS } gn_model_state;

typedef struct gn_model_group {
    uint64_t id, distribution;
    uint32_t slot_lo, slot_hi;
    gn_node_id leader; /* 0: nobody who can serve */
    uint64_t term, last_index, rows, bytes, prepared;
    uint32_t n; /* members: as the leader has them, else as the placement has */
    gn_model_replica members[GN_MODEL_MEMBERS];
    uint32_t n_wanted; /* without nodes that are gone */
    gn_node_id wanted[GN_MODEL_MEMBERS];
    uint32_t declared; /* replicas that it should have; more than n_wanted: no node is there for the others */
    gn_model_state state;
} gn_model_group;

typedef struct gn_model {
    const char *cluster;
    gn_node_id asked;
    gn_model_node *nodes;
    uint32_t n_nodes;
    gn_model_group *groups;
    uint32_t n_groups;
} gn_model;

/* The document must stay as long as the model. False: it has not the form. */
bool gn_model_make(const json_t *document, gn_model *out);
void gn_model_close(gn_model *model);
const gn_model_node *gn_model_node_of(const gn_model *model, gn_node_id id); /* NULL: none */
const gn_model_group *gn_model_group_of(const gn_model *model, uint64_t id); /* NULL: none */
const char *gn_model_state_text(gn_model_state state);
/* A new array of {"severity": "error"|"warning"|"note", "text": ...}; *healthy: nothing but notes. */
json_t *gn_model_problems(const gn_model *model, bool *healthy);

#endif
