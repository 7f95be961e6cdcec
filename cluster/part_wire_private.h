/* What a coordinator and the node with its part say to each other. All numbers are big endian.
 *
 *   request   version (1)  action (1)  flags (1)  incarnation (8)  part (8)  group (8)  read SCN (8)
 *             if the flags say so, slots: from (4) to (4)
 *             scans that were closed: count (4)  id (4)*     writes: length (4)  write*     what the action needs
 *   answer    version (1)  flags (1)  the group's leader (8)  error | what the action gives
 *
 * A part is named by its coordinator: node, incarnation (random, since it started), number. The first request that gets
 * through begins it. Writes travel with whatever comes next. Every read function gives false for bytes that are not
 * what it wants, and what it gives points into them. */
#ifndef GN_CLUSTER_PART_WIRE_PRIVATE_H
#define GN_CLUSTER_PART_WIRE_PRIVATE_H

#include "base/buf.h"
#include "shard/slots.h"
#include "shard/txn.h"

enum {
    GN_WIRE_BATCH_BYTES = 4 << 20, /* about so much of a batch goes into one answer */
    GN_WIRE_MAX_RANGE = 1 << 20,   /* a bound of a range */
    GN_WIRE_MAX_RANGES = 65536,    /* of one scan */
    GN_WIRE_MAX_GROUPS = 65536,    /* of one transaction */
    GN_WIRE_MAX_PARTS = 4096,      /* in one list */
};

typedef enum gn_part_action {
    GN_PART_FLUSH = 1,
    GN_PART_COMMIT,
    GN_PART_PREPARE,
    GN_PART_ROLLBACK_TO,
    GN_PART_SCAN,
    GN_PART_VECTOR_SCAN,
    GN_PART_NEXT,       /* of either */
    GN_PART_RUN,        /* a scan with more ranges and a fragment; since GN_SINCE_FRAGMENTS, as: */
    GN_PART_VECTOR_RUN, /* a vector scan with a fragment */
    GN_PART_DECIDE,     /* the first group's part, when the others are prepared; since GN_SINCE_DECIDE */
} gn_part_action;

static inline bool gn_part_action_ends(gn_part_action action)
{
    return action == GN_PART_COMMIT || action == GN_PART_PREPARE || action == GN_PART_DECIDE;
}

typedef struct gn_part_request {
    gn_part_action action;
    /* begin: unless it has begun; past: it reads at an SCN from a while ago, of which this replica may know all (a
     * build that does not know this asks its leader as for any other) */
    bool begin, global, read_only, unconfirmed, past;
    uint64_t incarnation, part, group;
    gn_scn read_scn;
    uint32_t slot_lo, slot_hi; /* 0, 0: as the group was made */
    gn_reader closed, writes, body;
} gn_part_request;

/* closed: ids as they lie in a request. The action's body is appended by the caller. */
void gn_part_request_write(gn_buf *out, const gn_part_request *request, gn_bytes closed, gn_bytes writes);
void gn_part_request_renumber(gn_buf *request, uint64_t part); /* the same to another node */
bool gn_part_request_read(gn_bytes bytes, gn_part_request *out);

typedef struct gn_part_answer {
    bool has_writes;   /* the part has, after this */
    bool ended;        /* the scan has; no further rows */
    bool gone;         /* the node does not have the part */
    gn_node_id leader; /* of the group, as far as the node knows; 0 = none */
    gn_code code;
    gn_reader body;
} gn_part_answer;

/* Begins an answer; the body is appended. gn_part_answer_end completes it, or replaces it by an error. */
void gn_part_answer_begin(gn_buf *out);
void gn_part_answer_end(gn_buf *out, const gn_part_answer *answer, const gn_error *err);
/* err: gets the words. */
bool gn_part_answer_read(gn_bytes bytes, gn_part_answer *out, gn_error *err);

/* ---- writes ---- */

typedef enum gn_part_write_kind {
    GN_WRITE_TABLE = 1, /* the following rows are of this table: id, version, data_epoch */
    GN_WRITE_INSERT,    /* row */
    GN_WRITE_UPDATE,    /* key, row */
    GN_WRITE_DELETE,    /* key */
    GN_WRITE_PUT_TABLE, /* descriptor */
    GN_WRITE_DROP_TABLE,
    GN_WRITE_MARK, /* id of a savepoint */
    GN_WRITE_UNMARK,
} gn_part_write_kind;

typedef struct gn_part_write {
    gn_part_write_kind kind;
    uint64_t id; /* table, or mark */
    uint64_t version, epoch;
    gn_bytes key, row; /* row: also a descriptor */
} gn_part_write;

void gn_part_write_append(gn_buf *out, const gn_part_write *write);
bool gn_part_write_read(gn_reader *in, gn_part_write *out);

/* ---- bodies ---- */

typedef struct gn_wire_scan {
    uint32_t id;
    uint64_t table_id, version, epoch, index_id; /* index 0: the primary key */
    bool with_keys;
    uint32_t n_ordinals;
    gn_reader ordinals;
    /* scans */
    gn_key_range range;
    bool reverse;
    uint64_t limit_hint;
    /* vector scans */
    gn_bytes query; /* floats as they lie in memory */
    uint64_t k_hint;
    uint32_t ef;
    float target_recall;
    bool exact;
} gn_wire_scan;

void gn_wire_scan_write(gn_buf *out, uint32_t id, const gn_scan_spec *spec);
void gn_wire_vector_scan_write(gn_buf *out, uint32_t id, const gn_vector_scan_spec *spec);
bool gn_wire_scan_read(gn_reader *in, bool vector, gn_wire_scan *out);

/* What follows a scan in GN_PART_RUN: more ranges, behind the scan's own, and a fragment (query/fragment.h) or nothing.
 *   count (4)  (flags (1)  lo  hi)*   length (4)  fragment */
void gn_wire_run_write(gn_buf *out, const gn_key_range *more, uint32_t n_more, gn_bytes fragment);
typedef struct gn_wire_run {
    uint32_t n_more;
    gn_reader more; /* for gn_wire_range_read; as many as it says */
    gn_bytes fragment;
} gn_wire_run;
bool gn_wire_run_read(gn_reader *in, gn_wire_run *out);
bool gn_wire_range_read(gn_reader *in, gn_key_range *out);

/* What follows a vector scan in GN_PART_VECTOR_RUN:
 *   has a radius (1)  radius (8)  the filter is true within all bounds (1)
 *   count (1)  bound*  length (4)  fragment
 * and a bound is: index (8)  count (4)  range* */
void gn_wire_vector_run_write(gn_buf *out, const gn_vector_scan_spec *spec, gn_bytes fragment);
typedef struct gn_wire_vector_run {
    bool has_radius;
    double radius;
    bool whole;
    uint32_t n_bounds;
    struct {
        uint64_t index; /* 0: the primary key */
        uint32_t n_ranges;
        gn_reader ranges;
    } bounds[GN_VECTOR_MOST_BOUNDS];
    gn_bytes fragment;
} gn_wire_vector_run;
bool gn_wire_vector_run_read(gn_reader *in, gn_wire_vector_run *out);

/* whole: with what GN_PART_VECTOR_RUN tells */
void gn_wire_stats_write(gn_buf *out, bool whole, const gn_vector_scan_stats *stats);
bool gn_wire_stats_read(gn_reader *in, bool whole, gn_vector_scan_stats *out);

void gn_wire_groups_write(gn_buf *out, const uint64_t *groups, uint32_t n);
/* *groups: to be freed. */
bool gn_wire_groups_read(gn_reader *in, uint64_t **groups, uint32_t *n);

/* A run of bytes behind its length (4). */
void gn_wire_bytes_write(gn_buf *out, gn_bytes bytes);
gn_bytes gn_wire_bytes_read(gn_reader *in);

/* An error with all its words. Codes go by name: their numbers differ between versions. */
void gn_wire_error_write(gn_buf *out, gn_code code, const gn_error *err);
bool gn_wire_error_read(gn_reader *in, gn_code *code, gn_error *err);

#endif
