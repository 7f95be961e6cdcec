/* How long reads took is kept for each node and kind in a histogram with four buckets to an octave, which forgets: when
 * it is full, all is halved. The delay is the node's 95th percentile, but not more than four times that of the best
 * node: one that is slow all the time is not waited for by its own measure. */
#include "base/memory.h"
#include "base/metrics.h"
#include "cluster/hedges_private.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    NODES = 64,        /* by number; two of one slot take it from each other */
    BUCKETS = 80,      /* up to 34 s */
    FIRST_OCTAVE = 16, /* 66 us */
    FULL = 512,
    ENOUGH = 20, /* reads, before they say anything */
    LOOK_EACH = 16,
    OF_BEST = 4,
    ONE = 100,       /* hedge, in the budget's coin */
    MOST_SAVED = 10, /* hedges: what is not used for long is not there at once */
};
#define FLOOR_NS UINT64_C(10000000)
#define GUESS_NS UINT64_C(250000000) /* as long as nothing is known */

typedef struct latencies {
    uint32_t n, since; /* since p95_ns was looked for */
    uint64_t p95_ns;   /* 0: not known yet */
    uint16_t counts[BUCKETS];
} latencies;

typedef struct hedge_node {
    gn_node_id id;
    latencies kinds[GN_HEDGE_KINDS];
} hedge_node;

struct gn_hedges {
    unsigned percent;
    gn_metric *asked, *won, *withheld;
    pthread_mutex_t lock; /* of what follows */
    unsigned saved;
    uint64_t best[GN_HEDGE_KINDS]; /* the lowest p95_ns of all; 0: none is known */
    hedge_node nodes[NODES];
};

gn_hedges *gn_hedges_create(unsigned percent)
{
    gn_hedges *h = gn_xcalloc(1, sizeof *h);
    h->percent = percent;
    h->asked = gn_counter("gnomon_hedges_total", NULL, "Reads that were asked of a second replica as well.");
    h->won = gn_counter("gnomon_hedges_won_total", NULL, "Reads that the second replica answered first.");
    h->withheld = gn_counter("gnomon_hedges_withheld_total", NULL,
                             "Reads that were not asked of a second replica, since too many had been.");
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

void gn_hedges_free(gn_hedges *h)
{
    if (!h)
        return;
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* ---- how long it takes ---- */

static unsigned bucket_of(uint64_t ns)
{
    if (ns < UINT64_C(1) << FIRST_OCTAVE)
        return 0;
    unsigned octave = 63 - (unsigned)__builtin_clzll(ns), quarter = (ns >> (octave - 2)) & 3;
    unsigned bucket = (octave - FIRST_OCTAVE) * 4 + quarter + 1;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* The least that is above all of the bucket. */
static uint64_t above(unsigned bucket)
{
    unsigned octave = FIRST_OCTAVE + (bucket + 3) / 4 - 1, quarter = (bucket + 3) % 4;
    return bucket ? (uint64_t)(5 + quarter) << (octave - 2) : UINT64_C(1) << FIRST_OCTAVE;
}

static void look_for_best(gn_hedges *h, gn_hedge_kind kind)
{
    uint64_t best = UINT64_MAX;
    for (unsigned i = 0; i < NODES; i++) {
        uint64_t ns = h->nodes[i].kinds[kind].p95_ns;
        best = ns && ns < best ? ns : best;
    }
    h->best[kind] = best == UINT64_MAX ? 0 : best;
}

static void look(latencies *l)
{
    uint32_t left = l->n / 20;
    unsigned bucket = BUCKETS - 1;
    while (bucket > 0 && l->counts[bucket] <= left)
        left -= l->counts[bucket--];
    l->p95_ns = above(bucket);
    l->since = 0;
}

static void halve(latencies *l)
{
    l->n = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        l->n += l->counts[i] /= 2;
}

static hedge_node *node_of(gn_hedges *h, gn_node_id id)
{
    hedge_node *node = &h->nodes[id % NODES];
    if (node->id != id)
        *node = (hedge_node){.id = id};
    return node;
}

void gn_hedges_took(gn_hedges *h, gn_hedge_kind kind, gn_node_id id, uint64_t ns)
{
    pthread_mutex_lock(&h->lock);
    latencies *l = &node_of(h, id)->kinds[kind];
    l->counts[bucket_of(ns)]++;
    l->n++;
    l->since++;
    if (l->n >= ENOUGH && (l->p95_ns == 0 || l->since >= LOOK_EACH)) {
        look(l);
        look_for_best(h, kind);
    }
    if (l->n >= FULL)
        halve(l);
    pthread_mutex_unlock(&h->lock);
}

/* ---- whether ---- */

uint64_t gn_hedges_patience(gn_hedges *h, gn_hedge_kind kind, gn_node_id id)
{
    if (h->percent == 0)
        return UINT64_MAX;
    pthread_mutex_lock(&h->lock);
    if (h->saved < MOST_SAVED * ONE)
        h->saved += h->percent;
    uint64_t own = node_of(h, id)->kinds[kind].p95_ns, best = h->best[kind];
    pthread_mutex_unlock(&h->lock);
    uint64_t ns = own ? own : GUESS_NS;
    ns = best && OF_BEST * best < ns ? OF_BEST * best : ns;
    return ns < FLOOR_NS ? FLOOR_NS : ns;
}

bool gn_hedges_afford(gn_hedges *h)
{
    pthread_mutex_lock(&h->lock);
    bool can = h->saved >= ONE;
    h->saved -= can ? ONE : 0;
    pthread_mutex_unlock(&h->lock);
    gn_counter_add(can ? h->asked : h->withheld, 1);
    return can;
}

void gn_hedges_won(gn_hedges *h)
{
    gn_counter_add(h->won, 1);
}
