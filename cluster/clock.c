/* See clock_private.h. One thread at a time drives (`busy`), as in shard/propose.c: whoever came first, then whoever
 * brings an answer. What may block, reserving a block and waiting for a leader to be elected, is done on a strand. */
#include "base/assert.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/versions.h"
#include "cluster/clock_private.h"
#include "cluster/methods_private.h"
#include "cluster/system_tables_private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { REQUEST_VERSION = GN_FORMAT_CLOCK, REQUEST_BYTES = 1 + 4 + 8 + 8 };
#define BLOCK_SCNS ((int64_t)3000 << GN_SCN_COUNTER_BITS) /* three seconds */
#define PATIENCE_NS 3000000000u
#define ASK_NS 1500000000u
#define PAUSE_NS 10000000u
#define SKEW_LIMIT_US 500000u
#define COMPLAIN_EVERY_NS 60000000000u
#define MAX_BATCH (1u << GN_SCN_COUNTER_BITS)

enum { PHASE_ASKING, PHASE_ANSWERED, PHASE_LEFT };
typedef enum errand { NO_ERRAND, RESERVE_BLOCK, LOOK_AGAIN, END } errand;

struct gn_clock {
    gn_world *world;
    gn_shard *meta;
    gn_raft_group *group;
    gn_rpc *rpc;

    pthread_mutex_t lock; /* of what follows, down to `strand` */
    gn_scn_request *first, *last;
    bool busy, closing;
    errand errand;
    gn_event *wake; /* the strand waits */
    gn_strand *strand;

    /* whose who drives */
    gn_scn_request *batch;
    uint32_t n; /* SCNs that it needs */
    gn_scn above;
    uint64_t deadline_ns; /* when it is given up */
    uint64_t term;        /* in which it is being answered */
    gn_raft_request read;
    gn_rpc_call call;
    gn_buf request;
    uint64_t asked_ns, no_complaint_before;
    gn_metric *skew;
    bool asked, own; /* this node's group, else the leader's node */
    gn_code code;
    _Atomic int phase;
    _Atomic gn_scn newest;
    struct {
        uint64_t term;
        gn_scn next, end;
    } block;
};

/* ---- the strand's errands ---- */

static void send_on_errand(gn_clock *c, errand what)
{
    pthread_mutex_lock(&c->lock);
    if (c->errand != END)
        c->errand = what;
    gn_event *wake = c->wake;
    c->wake = NULL;
    pthread_mutex_unlock(&c->lock);
    if (wake)
        gn_event_signal(wake);
}

static errand next_errand(gn_clock *c)
{
    for (;;) {
        gn_event event;
        pthread_mutex_lock(&c->lock);
        errand what = c->errand;
        if (what != END)
            c->errand = NO_ERRAND;
        gn_event_init(&event, c->world);
        c->wake = what == NO_ERRAND ? &event : NULL;
        pthread_mutex_unlock(&c->lock);
        if (what != NO_ERRAND)
            return what;
        gn_event_wait(&event, UINT64_MAX);
    }
}

static void pause_a_little(gn_clock *c)
{
    gn_event never;
    gn_event_init(&never, c->world);
    gn_event_wait(&never, gn_now_ns(c->world) + PAUSE_NS);
}

static gn_scn wall(const gn_clock *c)
{
    return gn_wall_us(c->world) / 1000 << GN_SCN_COUNTER_BITS;
}

/* A block is of use only if this node led one term from before until after. */
static void reserve(gn_clock *c)
{
    int64_t first;
    uint64_t before, after;
    gn_error err = {0};
    gn_node_id self = gn_net_self(c->world);
    gn_scn above = wall(c), last = gn_shard_last_scn(c->meta);
    if (above < last) /* from before the clock was used */
        above = last;
    if (above < c->above)
        above = c->above;
    if (above < c->newest)
        above = c->newest;
    if (gn_raft_leader(c->group, &before) != self)
        return;
    gn_code code = gn_shard_reserve(c->meta, GN_CLOCK_SEQUENCE, (int64_t)above, BLOCK_SCNS, &first, &err);
    if (code == GN_OK && gn_raft_leader(c->group, &after) == self && before == after) {
        c->block.term = after;
        c->block.next = (gn_scn)first;
        c->block.end = (gn_scn)first + BLOCK_SCNS;
    } else if (code != GN_OK) {
        gn_log_info("cluster", "the clock has no numbers", GN_KV_STR("error", err.message));
        pause_a_little(c);
    }
}

void gn_clock_raise(gn_clock *c, gn_scn scn)
{
    gn_scn newest = c->newest;
    while (newest < scn && !atomic_compare_exchange_weak(&c->newest, &newest, scn))
        ;
}

gn_scn gn_clock_newest(gn_clock *c)
{
    return c->newest;
}

/* ---- answering ---- */

/* A request that is answered may be gone. */
static void answer_batch(gn_clock *c, gn_code code, gn_scn first)
{
    gn_scn_request *r = c->batch;
    c->batch = NULL;
    for (gn_scn_request *next; r; r = next) {
        uint32_t n = r->n;
        next = r->next;
        r->done(r, code, first);
        first += n;
    }
}

/* Under confirmed leadership of the term. False: a block is needed first. */
static bool hand_out(gn_clock *c)
{
    gn_scn now = wall(c), first = c->block.next, newest = c->newest;
    if (first <= newest)
        first = newest + 1;
    if (first <= c->above)
        first = c->above + 1;
    if (first < now)
        first = now;
    if (c->block.term != c->term || first >= c->block.end || c->block.end - first < c->n)
        return false;
    c->block.next = first + c->n;
    gn_clock_raise(c, first + c->n - 1);
    answer_batch(c, GN_OK, first);
    return true;
}

/* ---- driving ---- */

/* Under the lock. */
static void take_batch(gn_clock *c)
{
    gn_scn_request **end = &c->batch;
    c->n = 0;
    c->above = 0;
    while (c->first && c->n + c->first->n <= MAX_BATCH) {
        gn_scn_request *r = c->first;
        c->first = r->next;
        c->n += r->n;
        if (r->above > c->above)
            c->above = r->above;
        *end = r;
        end = &r->next;
    }
    *end = NULL;
    if (!c->first)
        c->last = NULL;
    c->deadline_ns = gn_now_ns(c->world) + PATIENCE_NS;
}

static void drive(gn_clock *c);

static void answered(gn_clock *c, gn_code code)
{
    c->code = code;
    if (atomic_exchange(&c->phase, PHASE_ANSWERED) == PHASE_LEFT)
        drive(c);
}

static void confirmed(gn_raft_request *request, gn_code code)
{
    answered(GN_CONTAINER(request, gn_clock, read), code);
}

static void heard(gn_rpc_call *call, gn_code code)
{
    answered(GN_CONTAINER(call, gn_clock, call), code);
}

static void ask_leader(gn_clock *c, gn_node_id leader)
{
    gn_buf_clear(&c->request);
    gn_buf_append_u8(&c->request, REQUEST_VERSION);
    gn_buf_append_be32(&c->request, c->n);
    gn_buf_append_be64(&c->request, c->above);
    gn_buf_append_be64(&c->request, c->term); /* this node's voucher, which a program before 0.2 does not read */
    c->call = (gn_rpc_call){.to = leader,
                            .method = GN_METHOD_CLOCK,
                            .request = gn_buf_bytes(&c->request),
                            .deadline_ns = gn_now_ns(c->world) + ASK_NS,
                            .done = heard};
    c->asked_ns = gn_now_ns(c->world);
    gn_rpc_start(c->rpc, &c->call);
}

/* One that is good for the whole batch. */
static gn_raft_voucher voucher_of(const gn_scn_request *batch)
{
    for (const gn_scn_request *r = batch->next; r; r = r->next)
        if (r->voucher.node != batch->voucher.node || r->voucher.term != batch->voucher.term)
            return (gn_raft_voucher){0};
    return batch->voucher;
}

/* False: nobody can be asked now. */
static bool ask(gn_clock *c)
{
    gn_node_id leader = gn_raft_leader(c->group, &c->term);
    c->own = leader == gn_net_self(c->world);
    if (leader == 0 || (!c->own && !c->rpc))
        return false;
    atomic_store(&c->phase, PHASE_ASKING);
    c->asked = true;
    if (c->own) {
        c->read = (gn_raft_request){.done = confirmed, .voucher = voucher_of(c->batch)};
        gn_raft_read_index(c->group, &c->read);
    } else {
        ask_leader(c, leader);
    }
    return true;
}

/* True: the batch is answered. */
static bool use_own_answer(gn_clock *c, errand *otherwise)
{
    uint64_t term;
    if (c->code != GN_OK || gn_raft_leader(c->group, &term) != gn_net_self(c->world) || term != c->term)
        return false;
    *otherwise = RESERVE_BLOCK;
    return hand_out(c);
}

/* Wall clocks matter for what SCNs say of the time, and for staleness, not for their order; so it is said, and that is
 * all. The answer's age is what cannot be told from a difference. */
static void compare_walls(gn_clock *c, uint64_t leaders_us)
{
    uint64_t own_us = gn_wall_us(c->world), now = gn_now_ns(c->world), age_us = (now - c->asked_ns) / 1000;
    uint64_t apart_us = own_us > leaders_us ? own_us - leaders_us : leaders_us - own_us;
    apart_us = apart_us > age_us ? apart_us - age_us : 0;
    gn_gauge_set(c->skew, (double)apart_us / 1e6);
    if (apart_us < SKEW_LIMIT_US || now < c->no_complaint_before)
        return;
    c->no_complaint_before = now + COMPLAIN_EVERY_NS;
    gn_log_warn("cluster", "the wall clocks of this node and of the meta group's leader differ",
                GN_KV_U64("milliseconds", apart_us / 1000), GN_KV_U64("leader", c->call.to));
}

static bool use_leaders_answer(gn_clock *c)
{
    gn_reader r = gn_reader_of(gn_buf_bytes(&c->call.response));
    gn_scn first = gn_read_be64(&r);
    uint64_t wall_us = gn_read_be64(&r);
    bool ok = c->code == GN_OK && !r.failed && first > c->above;
    gn_buf_close(&c->call.response);
    if (ok)
        compare_walls(c, wall_us);
    if (ok)
        answer_batch(c, GN_OK, first);
    return ok;
}

/* The batch could not be answered yet. True: it is given up. */
static bool give_up(gn_clock *c, errand otherwise)
{
    pthread_mutex_lock(&c->lock);
    bool closing = c->closing;
    pthread_mutex_unlock(&c->lock);
    if (!closing && gn_now_ns(c->world) < c->deadline_ns) {
        send_on_errand(c, otherwise);
        return false;
    }
    answer_batch(c, closing ? GN_SHUTDOWN : GN_UNAVAILABLE, 0);
    return true;
}

static bool next_batch(gn_clock *c)
{
    pthread_mutex_lock(&c->lock);
    if (!c->batch)
        take_batch(c);
    c->busy = c->batch != NULL;
    bool more = c->busy;
    pthread_mutex_unlock(&c->lock);
    return more;
}

static void drive(gn_clock *c)
{
    for (;;) {
        errand otherwise = LOOK_AGAIN;
        if (c->asked) {
            c->asked = false;
            if (!(c->own ? use_own_answer(c, &otherwise) : use_leaders_answer(c)) && !give_up(c, otherwise))
                return;
        }
        if (!next_batch(c))
            return;
        if (!ask(c)) {
            if (!give_up(c, LOOK_AGAIN))
                return;
            continue;
        }
        if (atomic_exchange(&c->phase, PHASE_LEFT) == PHASE_ASKING)
            return; /* the answer drives on */
    }
}

static void run_errands(void *arg)
{
    gn_clock *c = arg;
    for (errand what; (what = next_errand(c)) != END;) {
        if (what == RESERVE_BLOCK)
            reserve(c);
        else
            pause_a_little(c);
        drive(c);
    }
}

static void next(void *ctx, gn_scn_request *request)
{
    gn_clock *c = ctx;
    GN_ASSERT(request->n > 0 && request->n <= MAX_BATCH);
    request->next = NULL;
    pthread_mutex_lock(&c->lock);
    bool closing = c->closing;
    bool first = !closing && !c->busy;
    if (!closing) {
        if (c->last)
            c->last->next = request;
        else
            c->first = request;
        c->last = request;
        c->busy = true;
    }
    pthread_mutex_unlock(&c->lock);
    if (closing)
        request->done(request, GN_SHUTDOWN, 0);
    else if (first)
        drive(c);
}

/* ---- the clock ---- */

gn_clock *gn_clock_create(gn_world *world, gn_shard *meta, gn_rpc *rpc)
{
    gn_clock *c = gn_xcalloc(1, sizeof *c);
    *c = (gn_clock){.world = world, .meta = meta, .group = gn_shard_raft_group(meta), .rpc = rpc};
    pthread_mutex_init(&c->lock, NULL);
    gn_buf_init(&c->request, NULL, REQUEST_BYTES);
    c->skew = gn_gauge("gnomon_cluster_clock_skew_seconds", NULL,
                       "How far this node's wall clock and that of the meta group's leader are apart, at least.");
    c->strand = gn_strand_start(world, "clock", run_errands, c);
    if (c->strand)
        return c;
    gn_buf_close(&c->request);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}

void gn_clock_stop(gn_clock *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->closing = true;
    while (c->busy) {
        pthread_mutex_unlock(&c->lock);
        pause_a_little(c);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
}

void gn_clock_destroy(gn_clock *c)
{
    if (!c)
        return;
    GN_ASSERT(c->closing && !c->busy);
    send_on_errand(c, END);
    gn_strand_join(c->strand);
    gn_buf_close(&c->request);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

gn_scn_source gn_clock_source(gn_clock *c)
{
    return (gn_scn_source){.ctx = c, .next = next};
}

/* ---- who waits for one ---- */

typedef struct waiting {
    gn_scn_request request;
    gn_event event;
    gn_code code;
    gn_scn scn;
} waiting;

static void waited(gn_scn_request *request, gn_code code, gn_scn first)
{
    waiting *w = GN_CONTAINER(request, waiting, request);
    w->code = code;
    w->scn = first;
    gn_event_signal(&w->event);
}

/* Answered in bounded time, so a cancelled one waits too. */
gn_code gn_clock_ask(gn_clock *c, const _Atomic bool *cancel, gn_scn *scn, gn_error *err)
{
    waiting w = {.request = {.n = 1, .done = waited}};
    gn_event_init(&w.event, c->world);
    next(c, &w.request);
    gn_event_wait(&w.event, UINT64_MAX);
    *scn = w.scn;
    if (w.code == GN_OK)
        return GN_OK;
    if (cancel && *cancel)
        return gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
    gn_error_set(err, GN_UNAVAILABLE, "the clock of the database cannot be reached");
    gn_error_hint(err,
                  "It is kept by the meta group's leader; a majority of that group must be up. Nothing was changed.");
    return GN_UNAVAILABLE;
}

/* ---- other nodes ---- */

typedef struct serving {
    gn_scn_request request;
    gn_rpc_request *rpc;
    gn_world *world;
} serving;

static void served(gn_scn_request *request, gn_code code, gn_scn first)
{
    serving *s = GN_CONTAINER(request, serving, request);
    gn_buf answer;
    gn_buf_init(&answer, NULL, 16);
    if (code == GN_OK) {
        gn_buf_append_be64(&answer, first);
        gn_buf_append_be64(&answer, gn_wall_us(s->world));
    }
    gn_rpc_answer(s->rpc, code, gn_buf_bytes(&answer), NULL);
    gn_buf_close(&answer);
    free(s);
}

void gn_clock_serve(gn_clock *c, gn_rpc_request *request)
{
    uint64_t term;
    gn_reader r = gn_reader_of(request->bytes);
    bool known = gn_read_u8(&r) == REQUEST_VERSION;
    uint32_t n = gn_read_be32(&r);
    gn_scn above = gn_read_be64(&r);
    uint64_t vouched = gn_reader_left(&r) ? gn_read_be64(&r) : 0;
    gn_code code = !known || r.failed || n == 0 || n > MAX_BATCH              ? GN_PROTOCOL
                   : gn_raft_leader(c->group, &term) != gn_net_self(c->world) ? GN_NOT_LEADER
                                                                              : GN_OK;
    if (code != GN_OK) {
        gn_rpc_answer(request, code, gn_bytes_of(NULL, 0), NULL);
        return;
    }
    serving *s = gn_xcalloc(1, sizeof *s);
    *s = (serving){.request = {.n = n, .above = above, .done = served}, .rpc = request, .world = c->world};
    s->request.voucher = (gn_raft_voucher){.node = request->from, .term = vouched};
    next(c, &s->request);
}
