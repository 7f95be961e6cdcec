/* See propose_private.h. One thread at a time drives (`busy`): it takes what has gathered, asks, and submits. It is
 * whoever came first, then whoever brings the clock's answer. */
#include "base/assert.h"
#include "shard/propose_private.h"
#include "shard/shard_private.h"

#include <stdlib.h>

enum { PHASE_ASKING, PHASE_ANSWERED, PHASE_LEFT };

void gn_proposer_init(gn_proposer *p, gn_shard *shard)
{
    *p = (gn_proposer){.shard = shard};
    gn_wait_room_init(&p->room, shard->world);
}

void gn_proposer_close(gn_proposer *p)
{
    pthread_mutex_lock(&p->room.lock);
    while (p->busy) /* every command is done: what is left of the drive is short */
        gn_wait_room_wait(&p->room, UINT64_MAX, &(gn_patience){0});
    pthread_mutex_unlock(&p->room.lock);
    GN_ASSERT(!p->first && !p->flight_first);
    gn_wait_room_close(&p->room);
}

static bool needs_scn(const gn_commit_op *op)
{
    gn_command_kind kind = gn_command_kind_of(op->request.command);
    return kind == GN_COMMAND_TXN || gn_command_is_part(kind) || kind == GN_COMMAND_ABORT || kind == GN_COMMAND_SPLIT ||
           kind == GN_COMMAND_MERGE;
}

/* ---- what is under way ---- */

/* Under the lock. */
static uint32_t take_batch(gn_proposer *p)
{
    uint32_t n = 0;
    p->batch = p->first;
    p->first = p->last = NULL;
    for (gn_commit_op *op = p->batch; op; op = op->next) {
        op->ticket = ++p->tickets;
        op->flight_next = NULL;
        op->flight_prev = p->flight_last;
        if (p->flight_last)
            p->flight_last->flight_next = op;
        else
            p->flight_first = op;
        p->flight_last = op;
        n += needs_scn(op);
    }
    return n;
}

uint64_t gn_proposer_lost(gn_proposer *p)
{
    return p->lost;
}

void gn_proposer_done(gn_proposer *p, gn_commit_op *op, gn_code code)
{
    if (code != GN_OK && code != GN_NOT_LEADER && code != GN_UNAVAILABLE)
        p->lost++;
    pthread_mutex_lock(&p->room.lock);
    if (op->flight_prev)
        op->flight_prev->flight_next = op->flight_next;
    else
        p->flight_first = op->flight_next;
    if (op->flight_next)
        op->flight_next->flight_prev = op->flight_prev;
    else
        p->flight_last = op->flight_prev;
    if (!op->flight_prev)
        gn_wait_room_wake(&p->room, p->flight_first ? p->flight_first->ticket - 1 : UINT64_MAX - 1);
    pthread_mutex_unlock(&p->room.lock);
}

gn_code gn_proposer_barrier(gn_proposer *p, const gn_patience *patience, gn_error *err)
{
    gn_code code = GN_OK;
    pthread_mutex_lock(&p->room.lock);
    uint64_t target = p->tickets;
    while (code == GN_OK && p->flight_first && p->flight_first->ticket <= target)
        code = gn_wait_room_wait(&p->room, target, patience);
    pthread_mutex_unlock(&p->room.lock);
    if (code != GN_OK)
        gn_error_set(err, code, "%s while waiting for commits that began before", gn_code_text(code));
    return code;
}

/* ---- driving ---- */

/* The term in which this node leads; one that never is if it does not, so that Raft says who does. */
static uint64_t leading_term(gn_shard *shard)
{
    gn_raft_status *status = gn_xcalloc(1, sizeof *status);
    gn_raft_status_get(shard->group, status);
    uint64_t term = status->leads ? status->term : UINT64_MAX;
    free(status);
    return term;
}

/* What needs no SCN has waited for those whose SCNs were asked for before, since a commit of what is prepared has one
 * that may be above theirs; it need not wait for the next. An operation that is done may be gone: what follows it is
 * looked at before. */
static void submit_rest(gn_proposer *p)
{
    gn_commit_op **at = &p->batch;
    for (gn_commit_op *op = *at, *next; op; op = next) {
        next = op->next;
        if (needs_scn(op)) {
            at = &op->next;
            continue;
        }
        *at = next;
        op->request.only_term = op->only_term ? op->only_term : p->term;
        gn_raft_submit(p->shard->group, &op->request);
    }
}

/* All that is left. */
static void submit_batch(gn_proposer *p)
{
    gn_raft_group *group = p->shard->group;
    gn_scn scn = p->scn;
    for (gn_commit_op *op = p->batch, *next; op; op = next) {
        next = op->next;
        op->request.only_term = op->only_term ? op->only_term : p->term;
        if (p->term != UINT64_MAX) {
            if (p->code != GN_OK) {
                op->no_clock = true;
                op->request.done(&op->request, GN_UNAVAILABLE);
                continue;
            }
            gn_command_set_clock((uint8_t *)(uintptr_t)op->request.command.data, op->request.command.len, scn++);
        }
        gn_raft_submit(group, &op->request);
    }
    p->batch = NULL;
}

static void drive(gn_proposer *p);

static void answered(gn_scn_request *request, gn_code code, gn_scn first)
{
    gn_proposer *p = GN_CONTAINER(request, gn_proposer, request);
    p->code = code;
    p->scn = first;
    if (atomic_exchange(&p->phase, PHASE_ANSWERED) == PHASE_ASKING)
        return; /* on the stack of the one who asks: who goes on */
    submit_batch(p);
    drive(p);
}

static void drive(gn_proposer *p)
{
    for (;;) {
        pthread_mutex_lock(&p->room.lock);
        uint32_t n = take_batch(p);
        p->busy = p->batch != NULL;
        if (!p->busy)
            gn_wait_room_wake(&p->room, UINT64_MAX); /* who closes */
        bool ends = !p->busy;
        pthread_mutex_unlock(&p->room.lock);
        if (ends)
            return;
        p->code = GN_OK;
        p->term = leading_term(p->shard);
        submit_rest(p);
        if (n > 0 && p->term != UINT64_MAX) {
            p->request = (gn_scn_request){.n = n, .above = gn_shard_last_scn(p->shard), .done = answered};
            atomic_store(&p->phase, PHASE_ASKING);
            p->shard->clock.next(p->shard->clock.ctx, &p->request);
            if (atomic_exchange(&p->phase, PHASE_LEFT) == PHASE_ASKING)
                return; /* the answer drives on */
        }
        submit_batch(p);
    }
}

void gn_propose(gn_proposer *p, gn_commit_op *op)
{
    op->next = NULL;
    pthread_mutex_lock(&p->room.lock);
    if (p->last)
        p->last->next = op;
    else
        p->first = op;
    p->last = op;
    bool first = !p->busy;
    p->busy = true;
    pthread_mutex_unlock(&p->room.lock);
    if (first)
        drive(p);
}

/* ---- from no clock to one ---- */

enum { LOOK_AGAIN_NS = 200000 };

/* What comes meanwhile waits, as if somebody drove, so that in the log all that has no SCN of the clock is before all
 * that has one. Whoever proposes has counted itself before it looked which way to go. */
void gn_shard_use_clock(gn_shard *shard)
{
    gn_proposer *p = &shard->proposer;
    GN_ASSERT(shard->clock.next);
    if (shard->clocked)
        return;
    pthread_mutex_lock(&p->room.lock);
    GN_ASSERT(!p->busy);
    p->busy = true;
    pthread_mutex_unlock(&p->room.lock);
    shard->clocked = true;
    while (shard->unclocked > 0) {
        gn_event never;
        gn_event_init(&never, shard->world);
        gn_event_wait(&never, gn_now_ns(shard->world) + LOOK_AGAIN_NS);
    }
    drive(p);
}

/* ---- reads ---- */

typedef struct ask {
    gn_scn_request request;
    gn_event event;
    gn_code code;
    gn_scn scn;
} ask;

static void ask_answered(gn_scn_request *request, gn_code code, gn_scn first)
{
    ask *a = GN_CONTAINER(request, ask, request);
    a->code = code;
    a->scn = first;
    gn_event_signal(&a->event);
}

gn_code gn_shard_ask_clock(gn_shard *shard, gn_scn *scn, gn_error *err)
{
    if (!shard->clocked)
        return gn_error_set(err, GN_NOT_IN_STATE, "the group has no clock");
    ask a = {.request = {.n = 1, .above = gn_shard_last_scn(shard), .done = ask_answered}};
    gn_event_init(&a.event, shard->world);
    shard->clock.next(shard->clock.ctx, &a.request);
    gn_event_wait(&a.event, UINT64_MAX);
    *scn = a.scn;
    return a.code == GN_OK ? GN_OK : gn_error_set(err, GN_UNAVAILABLE, "the clock of the database cannot be reached");
}
