/* The strands that run handlers which block: started when a request finds none idle, up to max_strands; the one that
 * was idle last is woken first, so that those not needed any more stay idle long enough to end. */
#include "base/assert.h"
#include "base/memory.h"
#include "net/rpc_private.h"

#include <stdlib.h>

/* ---- what waits ---- */

static void append_waiting(gn_rpc *rpc, rpc_entry *entry)
{
    entry->after = NULL;
    if (rpc->waiting)
        rpc->last_waiting->after = entry;
    else
        rpc->waiting = entry;
    rpc->last_waiting = entry;
}

static rpc_entry *take_waiting(gn_rpc *rpc)
{
    rpc_entry *entry = rpc->waiting;
    if (entry)
        rpc->waiting = entry->after;
    return entry;
}

void gn_rpc_strands_take(gn_rpc *rpc, rpc_work *work, rpc_entry *entry)
{
    rpc_worker *worker = rpc->idle;
    if (!worker) {
        append_waiting(rpc, entry);
        work->start_strand = rpc->n_strands < rpc->max_strands;
        rpc->n_strands += work->start_strand;
        return;
    }
    rpc->idle = worker->next;
    worker->entry = entry;
    worker->woken = true;
    work->wake = worker;
}

/* ---- one strand ---- */

/* Not one whose starter has not yet written down what to join. */
static rpc_worker *take_ended(gn_rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    rpc_worker **link = &rpc->ended;
    while (*link && !(*link)->strand)
        link = &(*link)->next;
    rpc_worker *worker = *link;
    if (worker)
        *link = worker->next;
    pthread_mutex_unlock(&rpc->lock);
    return worker;
}

static void reap(gn_rpc *rpc)
{
    for (rpc_worker *ended; (ended = take_ended(rpc));) {
        gn_strand_join(ended->strand);
        free(ended);
    }
}

static void stop_being_idle(gn_rpc *rpc, rpc_worker *worker)
{
    rpc_worker **link = &rpc->idle;
    while (*link != worker)
        link = &(*link)->next;
    *link = worker->next;
}

/* Whoever ends waits for those that ended before; so at most one has ended and was not waited for. */
static void leave(rpc_worker *worker)
{
    gn_rpc *rpc = worker->rpc;
    reap(rpc);
    pthread_mutex_lock(&rpc->lock);
    rpc->n_strands--;
    worker->next = rpc->ended;
    rpc->ended = worker;
    gn_rpc_signal_if_empty(rpc);
    pthread_mutex_unlock(&rpc->lock);
}

/* NULL: none comes, the strand is to end. */
static rpc_entry *wait_for_entry(rpc_worker *worker)
{
    gn_rpc *rpc = worker->rpc;
    pthread_mutex_lock(&rpc->lock);
    worker->entry = take_waiting(rpc);
    bool idle = !worker->entry && !rpc->closing;
    if (idle) {
        gn_event_init(&worker->wake, rpc->world);
        worker->woken = false;
        worker->next = rpc->idle;
        rpc->idle = worker;
    }
    pthread_mutex_unlock(&rpc->lock);
    if (!idle || gn_event_wait(&worker->wake, gn_now_ns(rpc->world) + RPC_IDLE_STRAND) == GN_OK)
        return worker->entry;
    pthread_mutex_lock(&rpc->lock);
    bool woken = worker->woken;
    if (!woken)
        stop_being_idle(rpc, worker);
    pthread_mutex_unlock(&rpc->lock);
    if (woken)
        gn_event_wait(&worker->wake, UINT64_MAX);
    return worker->entry;
}

/* False: its asker waits for it no more; it need not run. */
static bool begin(rpc_entry *entry)
{
    gn_rpc *rpc = entry->rpc;
    pthread_mutex_lock(&rpc->lock);
    bool wanted = entry->asker;
    entry->state = RPC_RUNS;
    pthread_mutex_unlock(&rpc->lock);
    return wanted;
}

static void work_strand(void *arg)
{
    rpc_worker *worker = arg;
    for (rpc_entry *entry; (entry = wait_for_entry(worker));) {
        if (begin(entry))
            gn_rpc_run(entry);
        else
            gn_rpc_refuse(entry, "it is not waited for any more");
    }
    leave(worker);
}

/* No strand can be had at all: what waits would wait for ever. */
static void refuse_waiting(gn_rpc *rpc)
{
    for (;;) {
        pthread_mutex_lock(&rpc->lock);
        rpc_entry *entry = rpc->n_strands == 0 ? take_waiting(rpc) : NULL;
        pthread_mutex_unlock(&rpc->lock);
        if (!entry)
            return;
        gn_rpc_refuse(entry, "it cannot start a thread");
    }
}

/* The place was counted under the lock that saw the need. */
void gn_rpc_strand_more(gn_rpc *rpc)
{
    rpc_worker *worker = gn_xcalloc(1, sizeof *worker);
    worker->rpc = rpc;
    gn_event_init(&worker->wake, rpc->world);
    gn_strand *strand = gn_strand_start(rpc->world, "rpc", work_strand, worker);
    pthread_mutex_lock(&rpc->lock);
    worker->strand = strand;
    if (!strand)
        rpc->n_strands--;
    pthread_mutex_unlock(&rpc->lock);
    if (strand)
        return;
    free(worker);
    refuse_waiting(rpc);
}

void gn_rpc_strands_close(gn_rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    GN_ASSERT(rpc->closing && !rpc->waiting);
    rpc_worker *idle = rpc->idle;
    rpc->idle = NULL;
    for (rpc_worker *w = idle; w; w = w->next)
        w->woken = true;
    pthread_mutex_unlock(&rpc->lock);
    for (rpc_worker *next; idle; idle = next) {
        next = idle->next;
        gn_event_signal(&idle->wake);
    }
    gn_rpc_wait_until_empty(rpc);
    reap(rpc);
    GN_ASSERT(!rpc->ended);
}
