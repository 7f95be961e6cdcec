/* Decisions about prepared transactions at groups that may be elsewhere. All of them may be repeated, so a node that
 * does not answer is no reason to stop: another replica is asked. */
#include "base/limits.h"
#include "base/versions.h"
#include "cluster/methods_private.h"
#include "cluster/part_wire_private.h"
#include "cluster/parts_private.h"

#include <inttypes.h>
#include <stdlib.h>

enum { DECIDE_VERSION = GN_FORMAT_DECIDE, DECIDE_COMMIT = 1, MOST_DOUBLINGS = 3 };
static const uint64_t PAUSE_NS = 20000000, PATIENCE_NS = 5000000000;

/* ---- groups that have ended ---- they were merged into others, when nobody was prepared there any more and everybody
 * knew what had been committed there. So who still asks hears that it is aborted; to whom commits are told, they knew.
 * False: ask it. */

static bool answer_for_ended(gn_cluster *c, uint64_t group, bool commit, gn_decision *out, gn_code *code, gn_error *err)
{
    if (!gn_group_has_ended(c, group))
        return false;
    if (out)
        *out = (gn_decision){.state = commit ? GN_UNKNOWN_TXN : GN_ABORTED};
    *code = commit ? gn_error_set(err, GN_NO_OBJECT, "group %" PRIu64 " has ended", group) : GN_OK;
    return true;
}

/* ---- asking ---- */

static gn_code no_replica(uint64_t group_id, gn_error *err)
{
    return gn_error_set(err, GN_UNAVAILABLE, "no replica of group %" PRIu64 " is at hand", group_id);
}

/* request: version (1) flags (1) group (8) transaction (8) SCN (8). *answer points into `response`. */
static gn_code ask(gn_cluster *c, gn_method method, uint64_t group, uint64_t txn_id, bool commit, gn_scn scn,
                   gn_buf *response, gn_part_answer *answer, gn_error *err)
{
    gn_buf request;
    gn_error last = {0};
    bool perhaps = false; /* somebody may have done it */
    gn_code code = c->parts ? GN_TIMEOUT : no_replica(group, &last);
    gn_buf_init(&request, NULL, 64);
    gn_buf_append_u8(&request, DECIDE_VERSION);
    gn_buf_append_u8(&request, commit ? DECIDE_COMMIT : 0);
    gn_buf_append_be64(&request, group);
    gn_buf_append_be64(&request, txn_id);
    gn_buf_append_be64(&request, scn);
    uint64_t until = gn_now_ns(c->world) + PATIENCE_NS;
    for (unsigned i = 0; c->parts && code != GN_OK && (i == 0 || (!c->stopping && gn_now_ns(c->world) < until)); i++) {
        gn_event pause;
        gn_event_init(&pause, c->world);
        if (i > 0)
            gn_event_wait(&pause, gn_now_ns(c->world) + (PAUSE_NS << (i < MOST_DOUBLINGS ? i : MOST_DOUBLINGS)));
        gn_node_id node = gn_routes_pick(gn_parts_routes(c->parts), group, i);
        gn_buf_clear(response);
        gn_error_clear(&last);
        code = node ? gn_rpc_ask(c->rpc, node, (uint16_t)method, gn_buf_bytes(&request), 0, NULL, response, &last)
                    : no_replica(group, &last);
        if (node && code == GN_TIMEOUT)
            gn_routes_silent(gn_parts_routes(c->parts), node);
        perhaps |= code != GN_OK && code != GN_UNAVAILABLE;
        if (code != GN_OK && code != GN_UNAVAILABLE && code != GN_TIMEOUT)
            break;
    }
    gn_buf_close(&request);
    if (code == GN_OK && !gn_part_answer_read(gn_buf_bytes(response), answer, &last))
        code = gn_error_set(&last, GN_CORRUPT, "an answer about a decision cannot be read");
    else if (code == GN_OK)
        code = answer->code;
    else if (perhaps && method == GN_METHOD_GROUP_DECIDE)
        code = gn_error_set(&last, GN_OUTCOME_UNKNOWN, "%s", gn_code_text(GN_OUTCOME_UNKNOWN));
    if (code != GN_OK && err)
        *err = last;
    return code;
}

static gn_code decision_read(gn_reader *in, gn_decision *out, gn_error *err)
{
    uint8_t state = gn_read_u8(in);
    *out = (gn_decision){.state = (gn_decision_state)state};
    out->scn = gn_read_be64(in);
    if (state <= GN_ABORTED && gn_wire_groups_read(in, &out->groups, &out->n_groups) && !in->failed)
        return GN_OK;
    gn_decision_close(out);
    *out = (gn_decision){0};
    return gn_error_set(err, GN_CORRUPT, "an answer about a decision cannot be read");
}

static gn_code ask_decision(gn_cluster *c, gn_method method, uint64_t group, uint64_t txn_id, bool commit, gn_scn scn,
                            gn_decision *out, gn_error *err)
{
    gn_buf response;
    gn_part_answer answer;
    gn_decision decision = {0};
    gn_buf_init(&response, NULL, GN_MAX_FIELD);
    gn_code code = ask(c, method, group, txn_id, commit, scn, &response, &answer, err);
    if (code == GN_OK)
        code = decision_read(&answer.body, &decision, err);
    gn_buf_close(&response);
    if (out)
        *out = decision;
    else
        gn_decision_close(&decision);
    return code;
}

gn_code gn_group_decide(gn_cluster *c, uint64_t group_id, uint64_t txn_id, bool commit, gn_scn scn, gn_decision *out,
                        gn_error *err)
{
    gn_code ended;
    gn_shard *shard = gn_group_hold_member(c, group_id);
    if (!shard && answer_for_ended(c, group_id, commit, out, &ended, err))
        return ended;
    if (!shard)
        return ask_decision(c, GN_METHOD_GROUP_DECIDE, group_id, txn_id, commit, scn, out, err);
    gn_code code = gn_shard_decide(shard, txn_id, commit, scn, out, err);
    gn_group_release(c, shard);
    return code;
}

gn_code gn_group_decision(gn_cluster *c, uint64_t group_id, uint64_t txn_id, gn_decision *out, gn_error *err)
{
    gn_code ended;
    gn_shard *shard = gn_group_hold_member(c, group_id);
    if (!shard && answer_for_ended(c, group_id, false, out, &ended, err))
        return ended;
    if (!shard)
        return ask_decision(c, GN_METHOD_GROUP_DECISION, group_id, txn_id, false, 0, out, err);
    gn_code code = gn_shard_decision(shard, txn_id, out, err);
    gn_group_release(c, shard);
    return code;
}

gn_code gn_group_forget(gn_cluster *c, uint64_t group_id, uint64_t txn_id, gn_error *err)
{
    gn_code ended;
    gn_shard *shard = gn_group_hold_member(c, group_id);
    if (!shard && answer_for_ended(c, group_id, false, NULL, &ended, err))
        return ended;
    if (!shard)
        return ask_decision(c, GN_METHOD_GROUP_FORGET, group_id, txn_id, false, 0, NULL, err);
    gn_code code = gn_shard_forget(shard, txn_id, err);
    gn_group_release(c, shard);
    return code;
}

/* ---- answering ---- */

static gn_code answer(gn_cluster *c, gn_method method, gn_bytes request, gn_buf *response, gn_error *err)
{
    gn_reader in = gn_reader_of(request);
    uint8_t version = gn_read_u8(&in), flags = gn_read_u8(&in);
    uint64_t group = gn_read_be64(&in), txn_id = gn_read_be64(&in);
    gn_scn scn = gn_read_be64(&in);
    gn_shard *shard = in.failed || version != DECIDE_VERSION ? NULL : gn_group_hold(c, group);
    gn_decision d = {0};
    gn_error why = {0};
    if (!shard)
        return no_replica(group, err);
    gn_part_answer a = {0};
    if (method == GN_METHOD_GROUP_DECIDE)
        a.code = gn_shard_decide(shard, txn_id, flags & DECIDE_COMMIT, scn, &d, &why);
    else if (method == GN_METHOD_GROUP_DECISION)
        a.code = gn_shard_decision(shard, txn_id, &d, &why);
    else
        a.code = gn_shard_forget(shard, txn_id, &why);
    gn_group_release(c, shard);
    if (a.code == GN_NOT_LEADER || a.code == GN_UNAVAILABLE) { /* another replica may be able to */
        gn_decision_close(&d);
        *err = why;
        return GN_UNAVAILABLE;
    }
    gn_part_answer_begin(response);
    gn_buf_append_u8(response, (uint8_t)d.state);
    gn_buf_append_be64(response, d.scn);
    gn_wire_groups_write(response, d.groups, d.groups ? d.n_groups : 0);
    gn_part_answer_end(response, &a, &why);
    gn_decision_close(&d);
    return GN_OK;
}

static gn_code on_decide(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response, gn_error *err)
{
    (void)from;
    return answer(ctx, GN_METHOD_GROUP_DECIDE, request, response, err);
}

static gn_code on_decision(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response, gn_error *err)
{
    (void)from;
    return answer(ctx, GN_METHOD_GROUP_DECISION, request, response, err);
}

static gn_code on_forget(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response, gn_error *err)
{
    (void)from;
    return answer(ctx, GN_METHOD_GROUP_FORGET, request, response, err);
}

void gn_group_decide_serve(gn_cluster *cluster)
{
    gn_rpc_serve_strand(cluster->rpc, GN_METHOD_GROUP_DECIDE, on_decide, cluster);
    gn_rpc_serve_strand(cluster->rpc, GN_METHOD_GROUP_DECISION, on_decision, cluster);
    gn_rpc_serve_strand(cluster->rpc, GN_METHOD_GROUP_FORGET, on_forget, cluster);
}
