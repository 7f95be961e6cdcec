/* Merging two groups, step by step; each step looks at what there is, so it may be repeated by anybody after whatever
 * crash. The survivor's leader drives:
 *
 *  1. It asks the victim's leader what that has, and reserves the survivor (gn_shard_merge_reserve).
 *  2. It has the victim's leader seal the victim. If that is refused, it has it refuse for good, and cancels.
 *  3. It reads the victim piece by piece, at any replica, and adds that to the survivor's log; then it takes the slots.
 *  4. It says so in the placement: the survivor's slots; of the victim only that it has ended.
 *  5. Coordinators wait for 4 (gn_slots_moved); each node removes its replica of the victim.
 *
 * From 2 on there is no way back, and none is needed: the warden of whoever leads the survivor goes on. */
#include "base/log.h"
#include "cluster/balance_private.h"
#include "cluster/loads_private.h"
#include "cluster/merges_private.h"
#include "cluster/methods_private.h"
#include "cluster/splits_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_VERSION = GN_FORMAT_MERGE, WARDENS_PIECES = 16 };
#define HOLD_NS 1000000000u
#define ASK_NS 10000000000u
#define WHOLE_NS 60000000000u
#define PAUSE_NS 10000000u
#define ENDED_NS 15000000000u
#define NO_HOLD_NS 3000000000u
#define LONG_PREPARED_NS 2000000000u

typedef enum merge_request {
    ASK_STATE = 1,
    ASK_SEAL = 2,
    ASK_REFUSE = 3,
    ASK_READ = 4,
    ASK_APPLIED = 5,
    ASK_SIZE = 6,
    ASK_BEGIN = 7,
} merge_request;

/* What a group's leader says of it. */
typedef struct group_state {
    uint64_t generation, into, victim, seals, bytes, rate;
    uint32_t lo, hi;
} group_state;

static void pause_for(gn_cluster *c, uint64_t ns)
{
    gn_event never;
    gn_event_init(&never, c->world);
    gn_event_wait(&never, gn_now_ns(c->world) + ns);
}

static bool leads(const gn_cluster *c, gn_shard *shard)
{
    uint64_t term;
    return gn_raft_leader(gn_shard_raft_group(shard), &term) == gn_net_self(c->world);
}

gn_code gn_slots_now(gn_cluster *c, gn_shard *shard, gn_slots *out, gn_error *err)
{
    gn_txn *txn;
    const gn_txn_options options = {
        .read_only = true, .own_slots = true, .cancel = &c->stopping, .deadline_ns = gn_now_ns(c->world) + ASK_NS};
    if (!leads(c, shard))
        return gn_error_set(err, GN_NOT_LEADER, "this node does not lead group %" PRIu64, gn_group_of(c, shard));
    gn_code code = gn_txn_begin(shard, &options, &txn, err);
    if (code != GN_OK)
        return code;
    gn_txn_abort(txn);
    gn_shard_slots(shard, out);
    return GN_OK;
}

/* ---- answering ---- */

static gn_code serve_state(gn_cluster *c, gn_shard *shard, uint64_t group, gn_buf *answer, gn_error *err)
{
    gn_slots own;
    gn_shard_totals totals;
    gn_code code = gn_slots_now(c, shard, &own, err);
    gn_shard_totals_get(shard, &totals);
    gn_buf_append_be64(answer, own.generation);
    gn_buf_append_be64(answer, own.into);
    gn_buf_append_be64(answer, own.victim);
    gn_buf_append_be64(answer, own.seals);
    gn_buf_append_be64(answer, totals.bytes_estimate);
    gn_buf_append_be32(answer, own.lo);
    gn_buf_append_be32(answer, own.hi);
    gn_buf_append_be64(answer, (uint64_t)gn_loads_rate(c, group));
    return code;
}

/* What is copied is all versions, and how many these are nobody keeps count of. */
static gn_code check_size(gn_cluster *c, gn_shard *shard, gn_error *err)
{
    uint64_t bytes;
    gn_code code = gn_shard_merge_size(shard, c->merge_most, &bytes, err);
    if (code == GN_OK && bytes > c->merge_most)
        code = gn_error_set(err, GN_NOT_IN_STATE,
                            "group %" PRIu64 " has more than %" PRIu64 " MiB of rows, with their older versions: only "
                            "small groups are merged, since their rows have to wait",
                            gn_group_of(c, shard), c->merge_most >> 20);
    return code;
}

static gn_code seal(gn_cluster *c, gn_shard *shard, const gn_merge *m, gn_error *err)
{
    gn_slots own;
    gn_shard_slots(shard, &own);
    gn_code code = own.into ? GN_OK : check_size(c, shard, err); /* it may have grown, and there is no way back */
    return code == GN_OK ? gn_shard_merge_seal(shard, m, HOLD_NS, err) : code;
}

static gn_code serve_seal(gn_cluster *c, gn_shard *shard, bool refuse, gn_reader *r, gn_error *err)
{
    gn_merge m = {.generation = gn_read_be64(r), .other = gn_read_be64(r), .seals = gn_read_be64(r)};
    m.lo = gn_read_be32(r);
    m.hi = gn_read_be32(r);
    m.other_lo = gn_read_be32(r);
    m.other_hi = gn_read_be32(r);
    if (r->failed)
        return gn_error_set(err, GN_PROTOCOL, "a request about a merge cannot be read");
    return refuse ? gn_shard_merge_refuse(shard, &m, err) : seal(c, shard, &m, err);
}

static gn_code serve_read(gn_shard *shard, gn_reader *r, gn_buf *answer, gn_error *err)
{
    uint64_t into = gn_read_be64(r);
    gn_bytes from = gn_read_bytes(r, gn_reader_left(r));
    gn_merge_rows rows;
    if (r->failed)
        return gn_error_set(err, GN_PROTOCOL, "a request about a merge cannot be read");
    gn_merge_rows_init(&rows);
    gn_code code = gn_shard_merge_read(shard, into, from, &rows, err);
    if (code == GN_OK) {
        gn_buf_append_be64(answer, rows.history);
        gn_buf_append_be64(answer, rows.last_scn);
        gn_buf_append_be32(answer, (uint32_t)rows.to.len);
        gn_buf_append_bytes(answer, gn_buf_bytes(&rows.to));
        gn_buf_append_bytes(answer, gn_buf_bytes(&rows.entries));
    }
    gn_merge_rows_close(&rows);
    return code;
}

/* What this replica has applied; whether something is in its directory that another group is waiting for; whether all
 * that a split has left of others' rows is gone. */
static gn_code serve_applied(gn_cluster *c, gn_shard *shard, uint64_t group, gn_buf *answer)
{
    gn_slots own;
    gn_shard_slots(shard, &own);
    gn_buf_append_be64(answer, own.generation);
    gn_buf_append_u8(answer, gn_split_has_left(c, group));
    gn_buf_append_u8(answer, own.cleaned >= own.generation);
    return GN_OK;
}

static gn_code serve_begin(gn_cluster *c, gn_shard *shard, uint64_t group, gn_reader *r, gn_error *err);

/* request: version (1) what (1) group (8), then its own */
static gn_code serve(void *ctx, gn_node_id from, gn_bytes request, gn_buf *answer, gn_error *err)
{
    gn_cluster *c = ctx;
    gn_reader r = gn_reader_of(request);
    uint8_t version = gn_read_u8(&r), what = gn_read_u8(&r);
    uint64_t group = gn_read_be64(&r);
    (void)from;
    if (r.failed || version != REQUEST_VERSION)
        return gn_error_set(err, GN_PROTOCOL, "a request about a merge cannot be read");
    gn_shard *shard = gn_group_hold(c, group);
    gn_code code = !shard ? gn_error_set(err, GN_UNAVAILABLE, "this node has no replica of group %" PRIu64, group)
                   : what == ASK_STATE                      ? serve_state(c, shard, group, answer, err)
                   : what == ASK_SEAL || what == ASK_REFUSE ? serve_seal(c, shard, what == ASK_REFUSE, &r, err)
                   : what == ASK_READ                       ? serve_read(shard, &r, answer, err)
                   : what == ASK_APPLIED                    ? serve_applied(c, shard, group, answer)
                   : what == ASK_SIZE                       ? check_size(c, shard, err)
                   : what == ASK_BEGIN                      ? serve_begin(c, shard, group, &r, err)
                                       : gn_error_set(err, GN_PROTOCOL, "a request about a merge is not known");
    gn_group_release(c, shard);
    return code;
}

void gn_merges_serve(gn_cluster *c)
{
    gn_rpc_serve_strand(c->rpc, GN_METHOD_MERGE, serve, c);
}

/* ---- asking ---- */

static void begin_request(gn_buf *request, merge_request what, uint64_t group)
{
    gn_buf_init(request, NULL, GN_MAX_FIELD);
    gn_buf_append_u8(request, REQUEST_VERSION);
    gn_buf_append_u8(request, (uint8_t)what);
    gn_buf_append_be64(request, group);
}

static gn_code ask_node(gn_cluster *c, gn_node_id node, gn_bytes request, gn_buf *answer, gn_error *err)
{
    if (node == gn_net_self(c->world))
        return serve(c, node, request, answer, err);
    return gn_rpc_ask(c->rpc, node, GN_METHOD_MERGE, request, gn_now_ns(c->world) + ASK_NS, &c->stopping, answer, err);
}

static gn_code ask_leader(gn_cluster *c, uint64_t group, gn_bytes request, gn_buf *answer, gn_error *err)
{
    gn_group_members *members = gn_xcalloc(1, sizeof *members);
    gn_code code = gn_group_members_get(c, group, members, err);
    if (code == GN_OK)
        code = ask_node(c, members->leader, request, answer, err);
    free(members);
    return code;
}

static gn_code ask_state(gn_cluster *c, uint64_t group, group_state *out, gn_error *err)
{
    gn_buf request, answer;
    begin_request(&request, ASK_STATE, group);
    gn_buf_init(&answer, NULL, 1024);
    gn_code code = ask_leader(c, group, gn_buf_bytes(&request), &answer, err);
    gn_reader r = gn_reader_of(gn_buf_bytes(&answer));
    *out = (group_state){.generation = gn_read_be64(&r)};
    out->into = gn_read_be64(&r);
    out->victim = gn_read_be64(&r);
    out->seals = gn_read_be64(&r);
    out->bytes = gn_read_be64(&r);
    out->lo = gn_read_be32(&r);
    out->hi = gn_read_be32(&r);
    out->rate = gn_read_be64(&r);
    if (code == GN_OK && r.failed)
        code = gn_error_set(err, GN_PROTOCOL, "an answer about a merge cannot be read");
    gn_buf_close(&request);
    gn_buf_close(&answer);
    return code;
}

static gn_code ask_size(gn_cluster *c, uint64_t group, gn_error *err)
{
    gn_buf request;
    begin_request(&request, ASK_SIZE, group);
    gn_code code = ask_leader(c, group, gn_buf_bytes(&request), NULL, err);
    gn_buf_close(&request);
    return code;
}

static gn_code ask_seal(gn_cluster *c, uint64_t survivor, const gn_slots *own, bool refuse, gn_error *err)
{
    gn_buf request;
    begin_request(&request, refuse ? ASK_REFUSE : ASK_SEAL, own->victim);
    gn_buf_append_be64(&request, own->victim_generation);
    gn_buf_append_be64(&request, survivor);
    gn_buf_append_be64(&request, own->victim_seals);
    gn_buf_append_be32(&request, own->victim_lo);
    gn_buf_append_be32(&request, own->victim_hi);
    gn_buf_append_be32(&request, own->lo);
    gn_buf_append_be32(&request, own->hi);
    gn_code code = ask_leader(c, own->victim, gn_buf_bytes(&request), NULL, err);
    gn_buf_close(&request);
    return code;
}

static bool read_rows(gn_bytes answer, gn_merge_rows *rows)
{
    gn_reader r = gn_reader_of(answer);
    rows->history = gn_read_be64(&r);
    rows->last_scn = gn_read_be64(&r);
    gn_buf_clear(&rows->to);
    gn_buf_clear(&rows->entries);
    gn_buf_append_bytes(&rows->to, gn_read_bytes(&r, gn_read_be32(&r)));
    gn_buf_append_bytes(&rows->entries, gn_read_bytes(&r, gn_reader_left(&r)));
    return !r.failed && !rows->to.failed && !rows->entries.failed;
}

/* Any replica that knows that it is sealed will do: this node's, or the first that answers. */
static gn_code ask_rows(gn_cluster *c, uint64_t survivor, uint64_t victim, gn_bytes from, gn_merge_rows *rows,
                        gn_error *err)
{
    gn_buf request, answer;
    begin_request(&request, ASK_READ, victim);
    gn_buf_append_be64(&request, survivor);
    gn_buf_append_bytes(&request, from);
    gn_buf_init(&answer, NULL, GN_MAX_RPC);
    gn_code code = ask_node(c, gn_net_self(c->world), gn_buf_bytes(&request), &answer, err);
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *row = gn_placement_group(p, victim);
    for (uint32_t i = 0; code != GN_OK && row && i < row->n_members; i++) {
        if (row->members[i] == gn_net_self(c->world))
            continue;
        gn_buf_clear(&answer);
        gn_error_clear(err);
        code = ask_node(c, row->members[i], gn_buf_bytes(&request), &answer, err);
    }
    gn_placement_release(p);
    if (code == GN_OK && !read_rows(gn_buf_bytes(&answer), rows))
        code = gn_error_set(err, GN_PROTOCOL, "an answer about a merge cannot be read");
    gn_buf_close(&request);
    gn_buf_close(&answer);
    return code;
}

/* ---- going on ---- */

/* The survivor as its log has it, and that is led here. */
typedef struct merging {
    gn_cluster *c;
    gn_shard *shard;
    uint64_t id;
    gn_slots own;
    gn_merge_rows rows;
    gn_buf at;
} merging;

static gn_merge reserved_by(const gn_slots *own)
{
    return (gn_merge){.generation = own->generation,
                      .lo = own->lo,
                      .hi = own->hi,
                      .other = own->victim,
                      .other_generation = own->victim_generation,
                      .other_lo = own->victim_lo,
                      .other_hi = own->victim_hi,
                      .seals = own->victim_seals};
}

/* All who had a replica of it are gone for good: nobody will ever seal it. */
static bool is_lost(gn_cluster *c, uint64_t group)
{
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *row = gn_placement_group(p, group);
    bool lost = row && gn_group_is_lost(p, row);
    gn_placement_release(p);
    return lost;
}

/* What was refused is given up, once it is sure that it does not come about after all. */
static gn_code call_off(merging *m, gn_code why, gn_error *err)
{
    gn_error ignored = {0};
    const gn_merge reserved = reserved_by(&m->own);
    gn_placement *p = gn_meta_placement(m->c);
    bool ended = gn_placement_has_ended(p, m->own.victim);
    gn_placement_release(p);
    gn_code code = ended ? GN_OK : ask_seal(m->c, m->id, &m->own, true, &ignored);
    if (code == GN_UNAVAILABLE && m->at.len == 0 && is_lost(m->c, m->own.victim))
        code = GN_OK;
    if (code == GN_OBJECT_IN_USE)
        return GN_OK; /* it is sealed: an answer was lost */
    if (code == GN_OK)
        code = m->at.len == 0 ? gn_shard_merge_cancel(m->shard, &reserved, &ignored)
                              : gn_shard_merge_abandon(m->shard, &reserved, &ignored);
    if (code == GN_OK)
        gn_log_info("cluster", "a merge is called off", GN_KV_U64("group", m->id), GN_KV_U64("victim", m->own.victim),
                    GN_KV_STR("why", err->message));
    return why;
}

/* Once rows of it have come, the victim must stay as it is: it is not sealed again. If it was recovered from replicas
 * that did not know, it goes on by itself, and what has come is too old. */
static gn_code check_sealed(merging *m, gn_error *err)
{
    group_state theirs;
    gn_code code = ask_state(m->c, m->own.victim, &theirs, err);
    if (code != GN_OK || (theirs.into == m->id && theirs.generation == m->own.victim_generation + 1))
        return code;
    gn_error_set(err, GN_NOT_IN_STATE, "group %" PRIu64 " is not sealed any more", m->own.victim);
    return call_off(m, GN_NOT_IN_STATE, err);
}

static gn_code copy_some(merging *m, unsigned pieces, gn_error *err)
{
    gn_code code = GN_OK;
    const gn_merge reserved = reserved_by(&m->own);
    for (unsigned i = 0; i < pieces && code == GN_OK && !m->own.victim_copied && m->own.victim; i++) {
        gn_shard_merge_cursor(m->shard, &m->at);
        code = ask_rows(m->c, m->id, m->own.victim, gn_buf_bytes(&m->at), &m->rows, err);
        if (code == GN_OK)
            code = gn_shard_merge_add(m->shard, &reserved, gn_buf_bytes(&m->at), &m->rows, err);
        gn_shard_slots(m->shard, &m->own);
    }
    return code;
}

/* Nobody new prepares while it tries, but for a while after it was in vain: who is prepared may have to wait for others
 * that cannot be reached. */
static gn_code take(merging *m, gn_error *err)
{
    uint64_t now = gn_now_ns(m->c->world);
    const gn_merge reserved = reserved_by(&m->own);
    bool holds = now >= m->c->no_hold_before;
    gn_shard_merge_cursor(m->shard, &m->at);
    gn_code code = ask_rows(m->c, m->id, m->own.victim, gn_buf_bytes(&m->at), &m->rows, err);
    if (code == GN_OK)
        code = gn_shard_merge_take(m->shard, &reserved, &m->rows, holds ? HOLD_NS : 0, err);
    if (code == GN_OBJECT_IN_USE && holds)
        m->c->no_hold_before = gn_now_ns(m->c->world) + NO_HOLD_NS;
    return code;
}

/* Once the victim is sealed its rows wait until nobody is prepared in the survivor. Who has been for long may wait for
 * a group that cannot be reached. */
static gn_code have_sealed(merging *m, gn_error *err)
{
    if (gn_shard_undecided_for(m->shard) < LONG_PREPARED_NS)
        return ask_seal(m->c, m->id, &m->own, false, err);
    return gn_error_set(err, GN_OBJECT_IN_USE,
                        "a transaction that is prepared in group %" PRIu64 " has waited for its decision for long",
                        m->id);
}

static gn_code go_on(merging *m, unsigned pieces, gn_error *err)
{
    gn_code code = gn_slots_now(m->c, m->shard, &m->own, err);
    if (code != GN_OK || !m->own.victim)
        return code;
    gn_shard_merge_cursor(m->shard, &m->at);
    if (m->at.len == 0) {
        code = have_sealed(m, err);
        /* Refused, or there is nobody who could be asked any more. Anything else is tried again. */
        if (code == GN_OBJECT_IN_USE || code == GN_NOT_IN_STATE || code == GN_UNAVAILABLE)
            code = call_off(m, code, err);
    } else {
        code = check_sealed(m, err);
    }
    if (code == GN_OK)
        code = copy_some(m, pieces, err);
    if (code == GN_OK && m->own.victim && m->own.victim_copied)
        code = take(m, err);
    return code;
}

/* One at a time on a node: the warden, or who has asked for a merge. GN_OBJECT_IN_USE: somebody is at it. */
static gn_code advance(gn_cluster *c, gn_shard *shard, uint64_t id, unsigned pieces, gn_error *err)
{
    bool free_now = false;
    if (!atomic_compare_exchange_strong(&c->merging, &free_now, true))
        return gn_error_set(err, GN_TIMEOUT, "another merge is under way on this node");
    merging m = {.c = c, .shard = shard, .id = id};
    gn_merge_rows_init(&m.rows);
    gn_buf_init(&m.at, NULL, GN_MAX_FIELD);
    gn_code code = go_on(&m, pieces, err);
    gn_merge_rows_close(&m.rows);
    gn_buf_close(&m.at);
    c->merging = false;
    return code;
}

/* ---- the placement ---- */

static bool is_unpublished(const gn_placement *p, uint64_t group, const gn_slots *own)
{
    const gn_group_place *row = gn_placement_group(p, group), *victim = gn_placement_group(p, own->taken);
    return own->taken && row && victim && row->distribution_id == victim->distribution_id &&
           victim->slot_lo == own->taken_lo && victim->slot_hi == own->taken_hi &&
           (row->slot_hi == own->taken_lo || row->slot_lo == own->taken_hi);
}

static gn_code put_rows(gn_txn *meta, const gn_placement *p, uint64_t group, const gn_slots *own, gn_error *err)
{
    gn_group_place row = *gn_placement_group(p, group),
                   ended = {.id = own->taken, .generation = (uint32_t)own->taken_generation};
    row.slot_lo = own->lo;
    row.slot_hi = own->hi;
    row.changes |= GN_MERGED_CHANGES;
    row.generation = (uint32_t)own->generation;
    gn_code code = gn_meta_put_group(meta, &row, err);
    return code == GN_OK ? gn_meta_put_group(meta, &ended, err) : code;
}

/* What the survivor's log has is looked up after the placement was read: a row that says more than this knew, or that
 * changes from here on, fails the transaction. */
static gn_code publish(gn_cluster *c, gn_shard *shard, uint64_t group, gn_error *err)
{
    gn_txn *meta;
    gn_placement *p = NULL;
    gn_scn scn;
    gn_slots own;
    gn_code code = gn_meta_begin(c, false, false, &meta, err);
    if (code != GN_OK)
        return code;
    code = gn_placement_load(meta, &p, err);
    if (code == GN_OK)
        code = gn_slots_now(c, shard, &own, err);
    bool due = code == GN_OK && is_unpublished(p, group, &own);
    if (due)
        code = put_rows(meta, p, group, &own, err);
    gn_placement_release(p);
    if (code == GN_OK && due)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

static bool look_at(gn_cluster *c, const gn_local_group *g, const gn_placement *p, bool *unfinished)
{
    gn_slots own;
    gn_error err = {0};
    gn_shard_slots(g->shard, &own);
    if (!leads(c, g->shard) || (!own.victim && !is_unpublished(p, g->id, &own)))
        return false;
    *unfinished = true;
    gn_code code = own.victim ? advance(c, g->shard, g->id, WARDENS_PIECES, &err) : GN_OK;
    gn_shard_slots(g->shard, &own);
    bool due = code == GN_OK && is_unpublished(p, g->id, &own);
    if (due)
        code = publish(c, g->shard, g->id, &err);
    if (code != GN_OK && code != GN_TIMEOUT)
        gn_log_info("cluster", "a merge is not finished yet", GN_KV_U64("group", g->id), GN_KV_STR("why", err.message));
    return due && code == GN_OK;
}

bool gn_merges_look(gn_cluster *c, bool *unfinished)
{
    gn_local_group *groups;
    gn_placement *p = gn_meta_placement(c);
    size_t n = gn_group_list(c, &groups);
    bool published = false;
    *unfinished = false;
    for (size_t i = 0; i < n; i++)
        published |= look_at(c, &groups[i], p, unfinished);
    gn_group_list_free(c, groups, n);
    gn_placement_release(p);
    gn_error err = {0};
    if (published && gn_meta_refresh(c, false, &err) == GN_OK)
        gn_nodes_nudge_all(c);
    return published;
}

/* ---- beginning ---- */

gn_code gn_merge_neighbour(gn_cluster *c, uint64_t victim, uint64_t *into, gn_error *err)
{
    gn_code code = gn_meta_refresh(c, false, err);
    if (code != GN_OK)
        return code;
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *row = gn_placement_group(p, victim), *best = NULL;
    for (uint32_t i = 0; row && row->distribution_id && i < p->n_groups; i++) {
        const gn_group_place *g = &p->groups[i];
        if (g->distribution_id == row->distribution_id && (g->slot_hi == row->slot_lo || g->slot_lo == row->slot_hi) &&
            (!best || g->slot_hi - g->slot_lo < best->slot_hi - best->slot_lo))
            best = g;
    }
    *into = best ? best->id : 0;
    if (!row)
        code = gn_error_set(err, GN_NO_OBJECT, "there is no group %" PRIu64, victim);
    else if (row->distribution_id == 0)
        code = gn_error_set(err, GN_NOT_IN_STATE, "the meta group cannot be merged");
    else if (!best)
        code = gn_error_set(err, GN_NOT_IN_STATE, "group %" PRIu64 " has no neighbour", victim);
    gn_placement_release(p);
    return code;
}

static gn_code check_rows(const gn_group_place *row, const gn_group_place *victim, uint64_t id, uint64_t victim_id,
                          gn_error *err)
{
    if (!row || !victim)
        return gn_error_set(err, GN_NO_OBJECT, "there is no group %" PRIu64, row ? victim_id : id);
    if (row->distribution_id == 0 || victim->distribution_id == 0)
        return gn_error_set(err, GN_NOT_IN_STATE, "the meta group cannot be merged");
    if (row->distribution_id != victim->distribution_id ||
        (row->slot_hi != victim->slot_lo && row->slot_lo != victim->slot_hi))
        return gn_error_set(err, GN_INVALID_PARAMETER,
                            "groups %" PRIu64 " and %" PRIu64 " are no neighbours: slots %u to %u%s, and %u to %u", id,
                            victim_id, row->slot_lo, row->slot_hi - 1,
                            row->distribution_id != victim->distribution_id ? " of other tables" : "", victim->slot_lo,
                            victim->slot_hi - 1);
    return GN_OK;
}

/* What a replica says of itself; false: nothing. */
static bool ask_applied(gn_cluster *c, gn_node_id node, uint64_t group, uint64_t *generation, bool *left, bool *cleaned)
{
    gn_buf request, answer;
    gn_error why = {0};
    begin_request(&request, ASK_APPLIED, group);
    gn_buf_init(&answer, NULL, 1024);
    gn_code code = ask_node(c, node, gn_buf_bytes(&request), &answer, &why);
    gn_reader r = gn_reader_of(gn_buf_bytes(&answer));
    *generation = gn_read_be64(&r);
    *left = gn_read_u8(&r) != 0;
    *cleaned = gn_read_u8(&r) != 0;
    gn_buf_close(&request);
    gn_buf_close(&answer);
    return code == GN_OK && !r.failed;
}

/* A replica of the victim that has not applied its last split, or has not given away what that has left, may be needed
 * for the group that was split off: once the victim has ended nobody brings it up to date. Those that become members
 * from here on get what comes after that split. */
static gn_code check_victims(gn_cluster *c, const gn_placement *p, const gn_group_place *victim, uint64_t generation,
                             gn_error *err)
{
    gn_group_members actual;
    gn_code code = gn_group_members_get(c, victim->id, &actual, err);
    if (code == GN_OK && !gn_group_is_settled(p, victim, &actual))
        code = gn_error_set(err, GN_OBJECT_IN_USE, "the members of group %" PRIu64 " are changing", victim->id);
    for (uint32_t i = 0; code == GN_OK && i < actual.n && generation; i++) {
        uint64_t theirs;
        bool left, cleaned;
        gn_node_id node = actual.members[i].id;
        if (gn_node_is_gone(p, node))
            continue;
        bool says = ask_applied(c, node, victim->id, &theirs, &left, &cleaned);
        if (!says || theirs < generation || left)
            code = gn_error_set(err, GN_OBJECT_IN_USE, "node %" PRIu64 " %s an earlier split of group %" PRIu64, node,
                                says ? "has not finished" : "does not say whether it has finished", victim->id);
    }
    return code;
}

/* Who has rows of others yet would have to remove them when it applies the RESERVE, and nothing else meanwhile. Who
 * does not answer can wait for that. */
static gn_code check_survivors(gn_cluster *c, const gn_group_place *row, uint64_t generation, gn_error *err)
{
    for (uint32_t i = 0; i < row->n_members && generation; i++) {
        uint64_t theirs;
        bool left, cleaned;
        if (ask_applied(c, row->members[i], row->id, &theirs, &left, &cleaned) && !cleaned)
            return gn_error_set(err, GN_OBJECT_IN_USE,
                                "group %" PRIu64 " is removing what an earlier split has left, on node %" PRIu64,
                                row->id, row->members[i]);
    }
    return GN_OK;
}

static gn_code plan_merge(gn_cluster *c, gn_shard *shard, const gn_placement *p, const gn_group_place *row,
                          const gn_group_place *victim, gn_merge *out, gn_error *err)
{
    gn_slots own;
    group_state theirs;
    gn_code code = gn_slots_now(c, shard, &own, err);
    if (code == GN_OK)
        code = ask_state(c, victim->id, &theirs, err);
    if (code != GN_OK)
        return code;
    if (theirs.bytes > c->merge_most)
        return gn_error_set(err, GN_NOT_IN_STATE,
                            "group %" PRIu64 " has %" PRIu64 " MiB of rows: only small groups are merged, of up to "
                            "%" PRIu64 " MiB, since their rows have to wait",
                            victim->id, theirs.bytes >> 20, c->merge_most >> 20);
    if (own.victim || own.into || theirs.into || theirs.victim)
        return gn_error_set(err, GN_OBJECT_IN_USE, "another merge of these groups is under way");
    if ((own.generation && (own.lo != row->slot_lo || own.hi != row->slot_hi)) ||
        (theirs.generation && (theirs.lo != victim->slot_lo || theirs.hi != victim->slot_hi)))
        return gn_error_set(err, GN_OBJECT_IN_USE, "an earlier split or merge of these groups is not finished");
    if ((code = check_survivors(c, row, own.generation, err)) != GN_OK ||
        (code = check_victims(c, p, victim, theirs.generation, err)) != GN_OK ||
        (code = ask_size(c, victim->id, err)) != GN_OK)
        return code;
    *out = (gn_merge){.generation = own.generation,
                      .lo = row->slot_lo,
                      .hi = row->slot_hi,
                      .other = victim->id,
                      .other_generation = theirs.generation,
                      .other_lo = victim->slot_lo,
                      .other_hi = victim->slot_hi,
                      .seals = theirs.seals};
    return GN_OK;
}

/* Until the placement says that the group has ended, or it is clear that nothing comes of it. */
static gn_code await_merged(gn_cluster *c, gn_shard *shard, const gn_merge *m, gn_error *err)
{
    uint64_t until = gn_now_ns(c->world) + WHOLE_NS;
    gn_local_group g = {.id = gn_group_of(c, shard), .shard = shard};
    for (;;) {
        gn_error why = {0};
        gn_slots own;
        bool unfinished;
        gn_code code = advance(c, shard, g.id, WARDENS_PIECES, &why);
        gn_shard_slots(shard, &own);
        if ((code == GN_OBJECT_IN_USE || code == GN_NOT_IN_STATE) && own.victim != m->other && own.taken != m->other) {
            *err = why;
            return code;
        }
        gn_merges_look(c, &unfinished);
        gn_meta_refresh(c, true, &why);
        gn_placement *p = gn_meta_placement(c);
        bool done = gn_placement_has_ended(p, m->other);
        gn_placement_release(p);
        if (done)
            return GN_OK;
        if (own.victim != m->other && own.taken != m->other)
            return gn_error_set(err, GN_OBJECT_IN_USE, "the merge was called off");
        if (gn_now_ns(c->world) >= until || c->stopping)
            return gn_error_set(err, GN_TIMEOUT, "the merge takes longer than usual, and goes on by itself");
        pause_for(c, PAUSE_NS);
    }
}

static gn_code begin(gn_cluster *c, gn_shard *shard, uint64_t victim_id, uint64_t into, gn_merge *out, gn_error *err)
{
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *row = gn_placement_group(p, into), *victim = gn_placement_group(p, victim_id);
    gn_code code = check_rows(row, victim, into, victim_id, err);
    if (code == GN_OK && !shard)
        code = gn_error_set(err, GN_NOT_LEADER, "this node does not lead group %" PRIu64, into);
    if (code == GN_OK)
        code = plan_merge(c, shard, p, row, victim, out, err);
    gn_placement_release(p);
    if (code != GN_OK)
        return code;
    gn_log_info("cluster", "merging a group into its neighbour", GN_KV_U64("group", into),
                GN_KV_U64("victim", victim_id));
    return gn_shard_merge_reserve(shard, out, err);
}

static gn_code may_merge(gn_cluster *c, gn_error *err)
{
    if (gn_cluster_is_at(c, GN_SINCE_MERGES))
        return gn_meta_refresh(c, false, err);
    gn_error_set(err, GN_NOT_IN_STATE, "groups cannot be merged while the cluster is at an older version");
    gn_error_hint(err, "End the upgrade: gnomonctl upgrade --finish.");
    return GN_NOT_IN_STATE;
}

static gn_code serve_begin(gn_cluster *c, gn_shard *shard, uint64_t group, gn_reader *r, gn_error *err)
{
    gn_merge m;
    uint64_t victim = gn_read_be64(r);
    gn_code code =
        r->failed ? gn_error_set(err, GN_PROTOCOL, "a request about a merge cannot be read") : may_merge(c, err);
    code = code == GN_OK ? begin(c, shard, victim, group, &m, err) : code;
    if (code == GN_OK)
        gn_warden_nudge(c->warden);
    return code;
}

gn_code gn_merge_ask(gn_cluster *c, uint64_t victim, uint64_t into, gn_error *err)
{
    gn_buf request;
    begin_request(&request, ASK_BEGIN, into);
    gn_buf_append_be64(&request, victim);
    gn_code code = ask_leader(c, into, gn_buf_bytes(&request), NULL, err);
    gn_buf_close(&request);
    return code;
}

gn_code gn_merge_groups(gn_cluster *c, uint64_t victim, uint64_t into, gn_merged *out, gn_error *err)
{
    gn_merge m;
    gn_code code = may_merge(c, err);
    if (code != GN_OK)
        return code;
    gn_shard *shard = gn_group_hold(c, into);
    code = begin(c, shard, victim, into, &m, err);
    if (code == GN_OK)
        *out = (gn_merged){.group = into,
                           .victim = victim,
                           .slot_lo = m.lo < m.other_lo ? m.lo : m.other_lo,
                           .slot_hi = m.hi > m.other_hi ? m.hi : m.other_hi};
    code = code == GN_OK ? await_merged(c, shard, &m, err) : code;
    gn_group_release(c, shard);
    return code;
}

gn_code gn_merge_weigh(gn_cluster *c, uint64_t group, gn_group_weight *out, gn_error *err)
{
    group_state s;
    gn_code code = ask_state(c, group, &s, err);
    *out = (gn_group_weight){.bytes = s.bytes, .rate = s.rate, .merging = s.into || s.victim};
    return code;
}

/* ---- the end of a group ---- */

/* What it holds has gone elsewhere: it was sealed, so the survivor has its rows; or it has at least applied all splits
 * before that, since nothing else of its log is wanted here. And what these have left for other groups they have. */
static bool may_go(gn_cluster *c, uint64_t group)
{
    gn_slots own = {0};
    gn_placement *p = gn_meta_placement(c);
    const gn_ended_group *ended = gn_placement_ended(p, group);
    uint64_t sealed = ended ? ended->generation : 0;
    gn_placement_release(p);
    gn_shard *shard = gn_group_hold(c, group);
    if (shard)
        gn_shard_slots(shard, &own);
    bool applied = !shard || own.into || (sealed && own.generation + 1 >= sealed) /* no shard: it is leaving */
                   || !gn_replica_has_begun(shard); /* it came too late to be given anything */
    gn_group_release(c, shard);
    return applied && !gn_split_has_left(c, group);
}

bool gn_merges_remove_ended(gn_cluster *c)
{
    enum { AT_ONCE = 16 };
    uint64_t ended[AT_ONCE];
    bool waits;
    size_t n = gn_groups_ended(c, ENDED_NS, ended, AT_ONCE, &waits);
    for (size_t i = 0; i < n; i++) {
        gn_error err = {0};
        gn_code code = may_go(c, ended[i]) ? gn_group_end(c, ended[i], &err) : GN_OBJECT_IN_USE;
        waits |= code != GN_OK;
        if (code == GN_OK)
            gn_log_info("cluster", "the replica of a group that has ended is removed", GN_KV_U64("group", ended[i]));
        else if (code != GN_OBJECT_IN_USE)
            gn_log_error("cluster", "the replica of a group that has ended is not removed",
                         GN_KV_U64("group", ended[i]), GN_KV_STR("error", err.message));
    }
    return waits;
}
