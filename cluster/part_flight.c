/* Requests of a remote part: sending, waiting, another node when one does not answer, and what a failure means. */
#include "base/assert.h"
#include "base/limits.h"
#include "cluster/methods_private.h"
#include "cluster/part_remote_private.h"
#include "cluster/splits_private.h"

#include <inttypes.h>
#include <stdatomic.h>

enum { PATIENT_TRIES = 2 /* after them with a pause */, MOST_DOUBLINGS = 3, KEEP_ROOM = 4 << 20 };
static const uint64_t CANCEL_LOOK_NS = 100000000, CANCEL_AGAIN_NS = 1000000000, FIRST_PAUSE_NS = 10000000,
                      PATIENCE_NS = 10000000000; /* until somebody takes the part, as with a group without a leader */

/* ---- sending ---- */

gn_code gn_remote_request(gn_remote_part *p, gn_part_action action, bool with_writes, gn_error *err)
{
    gn_code code = gn_remote_settle(p, err);
    if (code != GN_OK)
        return code;
    gn_part_request r = {.action = action,
                         .begin = !p->established,
                         .global = p->options.global,
                         .read_only = p->options.read_only,
                         .unconfirmed = p->options.unconfirmed,
                         .past = p->options.stale,
                         .incarnation = gn_parts_incarnation(p->cluster->parts),
                         .part = p->number,
                         .group = p->group_id,
                         .read_scn = p->options.read_scn,
                         .slot_lo = p->options.slot_lo,
                         .slot_hi = p->options.slot_hi};
    if (p->request.cap > KEEP_ROOM)
        gn_buf_close(&p->request);
    gn_buf_clear(&p->request);
    gn_part_request_write(&p->request, &r, gn_buf_bytes(&p->closed),
                          with_writes ? gn_buf_bytes(&p->writes) : gn_bytes_of(NULL, 0));
    p->action = action;
    gn_buf_clear(&p->closed);
    if (!with_writes)
        return GN_OK;
    p->has_writes |= p->n_writes > 0;
    p->n_writes = 0;
    p->table_id = 0;
    p->batch++;
    gn_buf_clear(&p->writes);
    return GN_OK;
}

/* The last to touch the part: whoever waits may free it. */
static void answered(gn_rpc_call *call, gn_code code)
{
    gn_remote_part *p = GN_CONTAINER(call, gn_remote_part, call);
    p->transport = code;
    gn_remote_call_ended(p);
}

static void start(gn_remote_part *p)
{
    gn_cluster *c = p->cluster;
    gn_routes *routes = gn_parts_routes(c->parts);
    if (!p->established) {
        gn_node_id node = p->options.stale ? gn_routes_pick_near(routes, p->group_id, p->tries)
                                           : gn_routes_pick(routes, p->group_id, p->tries);
        gn_parts_moves(c->parts, p, node, p->tries > 0);
    }
    gn_part_request_renumber(&p->request, p->number);
    gn_buf_close(&p->call.response);
    p->call = (gn_rpc_call){
        .to = p->node, .method = GN_METHOD_PART_RUN, .request = gn_buf_bytes(&p->request), .done = answered};
    gn_event_init(&p->done, c->world);
    p->asked_ns = gn_now_ns(c->world);
    atomic_store_explicit(&p->used_ns, p->asked_ns, memory_order_relaxed);
    gn_remote_hedge_plan(p);
    if (p->node) {
        gn_rpc_start(c->rpc, &p->call);
    } else {
        gn_error_set(&p->call.error, GN_UNAVAILABLE, "no node with a replica of group %" PRIu64 " is known",
                     p->group_id);
        answered(&p->call, GN_UNAVAILABLE);
    }
}

static bool is_read(gn_part_action action)
{
    return action == GN_PART_SCAN || action == GN_PART_RUN || action == GN_PART_VECTOR_SCAN ||
           action == GN_PART_VECTOR_RUN;
}

gn_code gn_remote_send(gn_remote_part *p, gn_remote_scan *for_scan, gn_error *err)
{
    GN_ASSERT(!p->under_way);
    if (p->request.failed)
        return gn_error_oom(err, p->request.account);
    p->tries = 0;
    p->begun_ns = gn_now_ns(p->cluster->world);
    p->canceled = false;
    p->for_scan = for_scan;
    p->hedgeable = is_read(p->action) && !p->established && !p->has_writes && !p->options.unconfirmed;
    p->under_way = true;
    start(p);
    return GN_OK;
}

/* ---- what a failure means ---- */

/* It surely did not run: it was refused, or never sent. */
static bool has_not_run(gn_code transport)
{
    return transport == GN_UNAVAILABLE || transport == GN_LIMIT;
}

/* There is nobody else to be asked, and meanwhile a replica has been opened here. */
static bool has_come_here(const gn_remote_part *p)
{
    gn_shard *here = p->node == 0 && !p->established ? gn_group_hold_member(p->cluster, p->group_id) : NULL;
    gn_group_release(p->cluster, here);
    return here != NULL;
}

static bool may_go_elsewhere(gn_remote_part *p)
{
    p->canceled |= p->options.cancel && *p->options.cancel;
    uint64_t now = gn_now_ns(p->cluster->world);
    if (p->established || p->canceled || now - p->begun_ns >= PATIENCE_NS ||
        (p->options.deadline_ns && now >= p->options.deadline_ns) || gn_group_has_ended(p->cluster, p->group_id) ||
        has_come_here(p))
        return false;
    return p->transport == GN_UNAVAILABLE || (p->transport == GN_TIMEOUT && !gn_part_action_ends(p->action));
}

static void go_elsewhere(gn_remote_part *p)
{
    gn_world *world = p->cluster->world;
    if (!has_not_run(p->transport))
        gn_parts_give_up(p->cluster->parts, p->node, p->number);
    if (++p->tries >= PATIENT_TRIES) {
        unsigned doublings = p->tries - PATIENT_TRIES;
        gn_event pause;
        gn_event_init(&pause, world);
        gn_event_wait(&pause,
                      gn_now_ns(world) + (FIRST_PAUSE_NS << (doublings < MOST_DOUBLINGS ? doublings : MOST_DOUBLINGS)));
    }
    start(p);
}

/* Of a request that got no answer. */
static gn_code failure(gn_remote_part *p, gn_error *err)
{
    bool not_run = has_not_run(p->transport);
    const char *words = p->call.error.message;
    if (gn_part_action_ends(p->action) && !not_run)
        return gn_error_set(err, GN_OUTCOME_UNKNOWN, "node %" PRIu64 " did not answer; whether it committed is unknown",
                            p->node);
    if (p->canceled)
        return gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
    if (p->established)
        return gn_error_set(err, GN_SERIALIZATION, "could not serialize access: node %" PRIu64 " became unavailable",
                            p->node);
    if (has_come_here(p)) {
        gn_error_set(err, GN_SERIALIZATION, "could not serialize access: group %" PRIu64 " was not open yet",
                     p->group_id);
        gn_error_hint(err, "The transaction might succeed if retried.");
        return GN_SERIALIZATION;
    }
    if (gn_group_has_ended(p->cluster, p->group_id)) /* it was merged into another */
        return gn_slots_moved(p->cluster, p->group_id, p->options.slot_lo, p->options.slot_hi, p->options.cancel, err);
    gn_code code = p->transport == GN_TIMEOUT ? GN_UNAVAILABLE : p->transport;
    return gn_error_set(err, code, "group %" PRIu64 " cannot be reached: %s", p->group_id,
                        words[0] ? words : gn_code_text(p->transport));
}

static gn_code lose(gn_remote_part *p, gn_code code, const gn_error *err)
{
    p->lost = code;
    p->why = *err;
    return code;
}

/* ---- waiting ---- */

/* What ends the part is waited for whoever cancels, since its outcome would only be lost; but its node is told, and
 * does not wait for other transactions any more. Again and again, since the note may be there before the request. */
static void await_done(gn_remote_part *p)
{
    gn_world *world = p->cluster->world;
    const _Atomic bool *cancel = p->options.cancel;
    for (;;) {
        uint64_t pause = !cancel || (p->canceled && !gn_part_action_ends(p->action)) ? UINT64_MAX
                         : p->canceled                                               ? CANCEL_AGAIN_NS
                                                                                     : CANCEL_LOOK_NS;
        uint64_t until = pause == UINT64_MAX ? pause : gn_now_ns(world) + pause;
        bool hedges = p->hedge_ns < until;
        if (gn_event_wait(gn_remote_next_event(p), hedges ? p->hedge_ns : until) == GN_OK) {
            if (gn_remote_is_over(p))
                return;
            continue;
        }
        if (hedges)
            gn_remote_hedge_start(p);
        if (!cancel || !*cancel || (p->canceled && hedges))
            continue;
        p->canceled = true;
        if (gn_part_action_ends(p->action)) {
            gn_parts_give_up(p->cluster->parts, p->node, p->number);
        } else {
            gn_rpc_cancel(p->cluster->rpc, &p->call);
            gn_remote_hedge_cancel(p);
        }
    }
}

/* The code of the answer, or what it means that there is none. */
static gn_code receive(gn_remote_part *p, gn_part_answer *a, gn_error *err)
{
    gn_routes *routes = gn_parts_routes(p->cluster->parts);
    *a = (gn_part_answer){0};
    await_done(p);
    while (p->transport != GN_OK && may_go_elsewhere(p)) {
        if (p->transport == GN_TIMEOUT)
            gn_routes_silent(routes, p->node);
        go_elsewhere(p);
        await_done(p);
    }
    if (p->transport == GN_OK)
        gn_routes_heard(routes, p->node);
    else if (p->transport == GN_TIMEOUT)
        gn_routes_silent(routes, p->node);
    p->under_way = false;
    atomic_store_explicit(&p->used_ns, gn_now_ns(p->cluster->world), memory_order_relaxed);
    p->bytes += p->call.response.len;
    if (p->transport == GN_OK && gn_part_answer_read(gn_buf_bytes(&p->call.response), a, err)) {
        gn_routes_leader(routes, p->group_id, a->leader);
        p->ended = gn_part_action_ends(p->action);
        p->has_writes = a->has_writes;
        p->established |= !a->gone;
        if (a->code == GN_MOVED)
            a->code =
                gn_slots_moved(p->cluster, p->group_id, p->options.slot_lo, p->options.slot_hi, p->options.cancel, err);
        return a->gone ? lose(p, a->code, err) : a->code;
    }
    gn_error why = {0};
    gn_code code = p->transport == GN_OK
                       ? gn_error_set(&why, gn_part_action_ends(p->action) ? GN_OUTCOME_UNKNOWN : GN_CORRUPT,
                                      "an answer of node %" PRIu64 " cannot be read", p->node)
                       : failure(p, &why);
    *err = why;
    return lose(p, code, &why);
}

void gn_remote_finish(gn_remote_part *p)
{
    gn_part_answer a;
    gn_error err = {0};
    gn_remote_scan *s = p->for_scan;
    gn_code code = receive(p, &a, &err);
    bool opened = code == GN_OK;
    p->for_scan = NULL;
    if (s && code == GN_OK && !gn_account_charge(p->options.account, p->call.response.cap))
        code = gn_error_oom(&err, p->options.account);
    if (s) {
        s->waiting = false;
        s->ready = code == GN_OK;
        s->code = code;
        s->error = err;
        s->there |= opened;
        s->ended = a.ended;
        s->body = a.body;
        gn_buf_close(&s->packed);
        if (code == GN_OK) { /* the scan's from now on, and charged */
            s->packed = p->call.response;
            s->packed.account = p->options.account;
            p->call.response = (gn_buf){0};
        }
    } else if (code != GN_OK && p->lost == GN_OK && p->action != GN_PART_NEXT) {
        p->late = code;
        p->late_error = err;
    }
}

gn_code gn_remote_settle(gn_remote_part *p, gn_error *err)
{
    static const gn_error none;
    if (p->under_way)
        gn_remote_finish(p);
    gn_code code = p->lost != GN_OK ? p->lost : p->late;
    if (code != GN_OK && err)
        *err = p->lost != GN_OK ? p->why : p->late_error;
    p->late = GN_OK;
    p->late_error = none;
    return code;
}

gn_code gn_remote_settle_writes(gn_remote_part *p, gn_error *err)
{
    return p->under_way && p->for_scan ? GN_OK : gn_remote_settle(p, err);
}

/* ---- ends ---- */

/* Of what was just sent; not through gn_remote_finish, since the answer has a body. */
static gn_code ended(gn_remote_part *p, gn_scn *scn, gn_error *err)
{
    gn_part_answer a;
    gn_error why = {0};
    gn_code code = receive(p, &a, &why);
    gn_scn at = gn_read_be64(&a.body);
    if (code == GN_OK && a.body.failed)
        code = gn_error_set(&why, GN_OUTCOME_UNKNOWN, "an answer of node %" PRIu64 " cannot be read", p->node);
    if (code == GN_OK && scn)
        *scn = at;
    if (code != GN_OK && err)
        *err = why;
    return code;
}

gn_code gn_remote_commit(gn_remote_part *p, gn_scn *scn, gn_error *err)
{
    gn_remote_scans_end(p);
    gn_code code = gn_remote_request(p, GN_PART_COMMIT, true, err);
    if (code == GN_OK)
        code = gn_remote_send(p, NULL, err);
    return code == GN_OK ? ended(p, scn, err) : code;
}

static gn_code send_end(gn_remote_part *p, gn_part_action action, uint64_t txn_id, const uint64_t *groups,
                        uint32_t n_groups, gn_scn above, gn_error *err)
{
    gn_remote_scans_end(p);
    gn_code code = gn_remote_request(p, action, true, err);
    if (code != GN_OK)
        return code;
    gn_buf_append_be64(&p->request, txn_id);
    gn_wire_groups_write(&p->request, groups, n_groups);
    if (action == GN_PART_DECIDE)
        gn_buf_append_be64(&p->request, above);
    return gn_remote_send(p, NULL, err);
}

void gn_remote_prepare_start(gn_remote_part *p, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups)
{
    p->start_code = send_end(p, GN_PART_PREPARE, txn_id, groups, n_groups, 0, &p->start_error);
}

gn_code gn_remote_prepare_await(gn_remote_part *p, gn_scn *prepared, gn_error *err)
{
    if (p->start_code == GN_OK)
        return ended(p, prepared, err);
    if (err)
        *err = p->start_error;
    return p->start_code;
}

gn_code gn_remote_decide(gn_remote_part *p, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn above,
                         gn_scn *scn, gn_error *err)
{
    gn_code code = send_end(p, GN_PART_DECIDE, txn_id, groups, n_groups, above, err);
    return code == GN_OK ? ended(p, scn, err) : code;
}

void gn_remote_part_traffic(const gn_remote_part *p, gn_group_figures *out)
{
    out->node = p->node;
    out->bytes = p->bytes;
    out->hedges = p->hedges;
}
