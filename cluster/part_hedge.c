/* Hedges: a read that its node does not answer in time is asked of another replica as well, and the first good answer
 * counts. What the second says that is no good does not: so an error means what it does without hedges. The loser is
 * cancelled, and its node is told that nobody wants the part.
 *
 * Only the first request of a part that has written nothing: from then on the part is where it was answered. A replica
 * that does not lead asks its leader for what it needs to answer, as it does when it is asked alone, so either answer
 * is right. */
#include "base/assert.h"
#include "cluster/methods_private.h"
#include "cluster/part_remote_private.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { MOST_BYTES = 64 << 10 }; /* of a request that is sent twice */

struct gn_remote_hedge {
    gn_remote_part *part;
    gn_rpc_call call;
    gn_buf request;
    gn_node_id node;
    uint64_t number, begun_ns, answered_ns;
    gn_code transport;
    _Atomic bool heard; /* `first` is signalled by whoever ends first */
    gn_event first, done;
    bool alone; /* the first request has failed */
    bool lost;  /* this one has ended, and is no good */
};

static gn_hedge_kind kind_of(const gn_remote_part *p)
{
    return p->action == GN_PART_SCAN ? GN_HEDGE_ROWS : p->action == GN_PART_RUN ? GN_HEDGE_WORK : GN_HEDGE_VECTORS;
}

static gn_hedges *hedges_of(const gn_remote_part *p)
{
    return gn_parts_hedges(p->cluster->parts);
}

void gn_remote_hedge_plan(gn_remote_part *p)
{
    p->hedge_ns = UINT64_MAX;
    p->stage = GN_REMOTE_ALONE;
    if (!p->hedgeable || p->node == 0 || p->request.len > MOST_BYTES)
        return;
    uint64_t patience = gn_hedges_patience(hedges_of(p), kind_of(p), p->node);
    if (patience != UINT64_MAX)
        p->hedge_ns = p->asked_ns + patience;
}

/* ---- ends of requests ---- on any thread */

static void tell_first(gn_remote_hedge *h)
{
    if (!atomic_exchange(&h->heard, true))
        gn_event_signal(&h->first);
}

void gn_remote_call_ended(gn_remote_part *p)
{
    p->answered_ns = gn_now_ns(p->cluster->world);
    if (atomic_exchange(&p->stage, GN_REMOTE_ENDED) == GN_REMOTE_HEDGED)
        tell_first(p->hedge);
    gn_event_signal(&p->done);
}

static void hedge_ended(gn_rpc_call *call, gn_code code)
{
    gn_remote_hedge *h = GN_CONTAINER(call, gn_remote_hedge, call);
    h->transport = code;
    h->answered_ns = gn_now_ns(h->part->cluster->world);
    tell_first(h);
    gn_event_signal(&h->done);
}

/* ---- starting ---- */

void gn_remote_hedge_start(gn_remote_part *p)
{
    gn_world *world = p->cluster->world;
    int stage = GN_REMOTE_ALONE;
    gn_node_id node = gn_routes_other(gn_parts_routes(p->cluster->parts), p->group_id, p->node);
    p->hedge_ns = UINT64_MAX;
    if (!node || p->canceled || (p->options.cancel && *p->options.cancel) || !gn_hedges_afford(hedges_of(p)))
        return;
    gn_remote_hedge *h = gn_xcalloc(1, sizeof *h);
    h->part = p;
    h->node = node;
    h->number = gn_parts_number(p->cluster->parts);
    h->begun_ns = gn_now_ns(world);
    gn_event_init(&h->first, world);
    gn_event_init(&h->done, world);
    gn_buf_init(&h->request, p->options.account, MOST_BYTES);
    gn_buf_append_bytes(&h->request, gn_buf_bytes(&p->request));
    p->hedge = h;
    if (h->request.failed || !atomic_compare_exchange_strong(&p->stage, &stage, GN_REMOTE_HEDGED)) {
        p->hedge = NULL; /* no memory, or it has just ended */
        gn_buf_close(&h->request);
        free(h);
        return;
    }
    p->hedges++;
    gn_part_request_renumber(&h->request, h->number);
    h->call = (gn_rpc_call){
        .to = h->node, .method = GN_METHOD_PART_RUN, .request = gn_buf_bytes(&h->request), .done = hedge_ended};
    gn_rpc_start(p->cluster->rpc, &h->call);
}

void gn_remote_hedge_cancel(gn_remote_part *p)
{
    if (p->hedge)
        gn_rpc_cancel(p->cluster->rpc, &p->hedge->call);
}

/* ---- who has won ---- */

static void hedge_free(gn_remote_part *p)
{
    gn_remote_hedge *h = p->hedge;
    p->hedge = NULL;
    gn_buf_close(&h->request);
    gn_buf_close(&h->call.response);
    free(h);
}

static bool is_good(const gn_remote_hedge *h)
{
    gn_part_answer a;
    gn_error unused = {0};
    return h->transport == GN_OK && gn_part_answer_read(gn_buf_bytes(&h->call.response), &a, &unused) &&
           a.code == GN_OK && !a.gone;
}

/* The first request's end counts, whatever it is. The other has ended, too. */
static void keep_first(gn_remote_part *p)
{
    gn_remote_hedge *h = p->hedge;
    if (p->hedgeable && p->transport == GN_OK)
        gn_hedges_took(hedges_of(p), kind_of(p), p->node, p->answered_ns - p->asked_ns);
    if (!h)
        return;
    if (h->transport != GN_UNAVAILABLE)
        gn_parts_give_up(p->cluster->parts, h->node, h->number);
    hedge_free(p);
}

/* The first node was at it for so long at least. */
static void keep_hedge(gn_remote_part *p)
{
    gn_remote_hedge *h = p->hedge;
    if (p->transport != GN_UNAVAILABLE)
        gn_parts_give_up(p->cluster->parts, p->node, p->number);
    if (p->transport == GN_TIMEOUT)
        gn_routes_silent(gn_parts_routes(p->cluster->parts), p->node);
    gn_hedges_took(hedges_of(p), kind_of(p), p->node, h->answered_ns - p->asked_ns);
    gn_hedges_took(hedges_of(p), kind_of(p), h->node, h->answered_ns - h->begun_ns);
    gn_hedges_won(hedges_of(p));
    gn_parts_becomes(p->cluster->parts, p, h->node, h->number);
    gn_buf_close(&p->call.response);
    p->call.response = h->call.response;
    p->transport = GN_OK;
    h->call.response = (gn_buf){0};
    hedge_free(p);
}

static void await(gn_event *event)
{
    gn_event_wait(event, UINT64_MAX);
}

gn_event *gn_remote_next_event(gn_remote_part *p)
{
    gn_remote_hedge *h = p->hedge;
    return !h || h->lost ? &p->done : h->alone ? &h->done : &h->first;
}

static bool first_has_ended(gn_remote_part *p)
{
    gn_remote_hedge *h = p->hedge;
    await(&p->done);
    h->alone = p->transport != GN_OK;
    if (h->alone)
        return false;
    gn_remote_hedge_cancel(p);
    await(&h->done);
    keep_first(p);
    return true;
}

static bool hedge_has_ended(gn_remote_part *p)
{
    gn_remote_hedge *h = p->hedge;
    await(&h->done);
    h->lost = !is_good(h);
    if (h->lost)
        return false;
    gn_rpc_cancel(p->cluster->rpc, &p->call);
    await(&p->done);
    keep_hedge(p);
    return true;
}

bool gn_remote_is_over(gn_remote_part *p)
{
    gn_remote_hedge *h = p->hedge;
    if (h && !h->lost && !h->alone) /* one of the two */
        return p->stage == GN_REMOTE_ENDED ? first_has_ended(p) : hedge_has_ended(p);
    if (h && h->alone && is_good(h))
        keep_hedge(p);
    else
        keep_first(p);
    return true;
}
