#include "base/versions.h"
#include "cluster/balance_private.h"
#include "cluster/loads_private.h"
#include "cluster/methods_private.h"

#include <stdlib.h>

enum { VERSION = GN_FORMAT_LOADS, ITEM_BYTES = 24, MOST_GROUPS = 1 << 16 };
#define ASK_NS 1000000000u
#define WINDOW_NS 30000000000u

static int by_group(const void *a, const void *b)
{
    uint64_t x = ((const gn_group_load *)a)->group, y = ((const gn_group_load *)b)->group;
    return (x > y) - (x < y);
}

static const gn_group_load *find(const gn_loads *loads, uint64_t group)
{
    const gn_group_load key = {.group = group};
    return loads->n ? bsearch(&key, loads->items, loads->n, sizeof key, by_group) : NULL;
}

gn_group_load gn_loads_of(const gn_loads *loads, uint64_t group)
{
    const gn_group_load *found = find(loads, group);
    return found ? *found : (gn_group_load){.group = group};
}

/* ---- here ---- */

/* An average in which what is as long ago as the window counts for a third. */
static void sample(gn_local_group *g, uint64_t index, uint64_t now)
{
    uint64_t since = now - g->sampled_ns;
    if (g->sampled_ns && since && index >= g->sampled_index) {
        double rate = (double)(index - g->sampled_index) * 1e9 / (double)since;
        double part = since < WINDOW_NS ? (double)since / (double)WINDOW_NS : 1;
        g->rate += (rate - g->rate) * part;
    }
    g->sampled_index = index;
    g->sampled_ns = now;
}

void gn_loads_sample(gn_cluster *c)
{
    uint64_t now = gn_now_ns(c->world);
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n_groups; i++)
        sample(&c->groups[i], gn_raft_applied(gn_shard_raft_group(c->groups[i].shard)), now);
    pthread_mutex_unlock(&c->lock);
}

double gn_loads_rate(gn_cluster *c, uint64_t group)
{
    double rate = 0;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n_groups; i++)
        if (c->groups[i].id == group)
            rate = c->groups[i].rate;
    pthread_mutex_unlock(&c->lock);
    return rate;
}

void gn_loads_halve(gn_cluster *c, uint64_t group)
{
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n_groups; i++)
        if (c->groups[i].id == group)
            c->groups[i].rate /= 2;
    pthread_mutex_unlock(&c->lock);
}

static gn_code serve(void *ctx, gn_node_id from, gn_bytes request, gn_buf *answer, gn_error *err)
{
    gn_cluster *c = ctx;
    gn_local_group *groups;
    gn_reader r = gn_reader_of(request);
    (void)from;
    if (gn_read_u8(&r) != VERSION || r.failed)
        return gn_error_set(err, GN_PROTOCOL, "a request for groups' loads is malformed");
    size_t n = gn_group_list(c, &groups);
    for (size_t i = 0; i < n; i++) {
        uint64_t term;
        gn_shard_totals totals;
        if (gn_raft_leader(gn_shard_raft_group(groups[i].shard), &term) != gn_net_self(c->world))
            continue;
        gn_shard_totals_get(groups[i].shard, &totals);
        gn_buf_append_be64(answer, groups[i].id);
        gn_buf_append_be64(answer, totals.bytes_estimate);
        gn_buf_append_be64(answer, (uint64_t)groups[i].rate);
    }
    gn_group_list_free(c, groups, n);
    return GN_OK;
}

void gn_loads_serve(gn_cluster *c)
{
    gn_rpc_serve_strand(c->rpc, GN_METHOD_LOADS, serve, c);
}

/* ---- asking ---- */

typedef struct question {
    gn_rpc_call call;
    gn_event answered;
    gn_code code;
} question;

static void answered(gn_rpc_call *call, gn_code code)
{
    question *q = GN_CONTAINER(call, question, call);
    q->code = code;
    gn_event_signal(&q->answered);
}

static void read_answer(gn_bytes bytes, gn_loads *loads)
{
    size_t n = bytes.len / ITEM_BYTES;
    gn_reader r = gn_reader_of(bytes);
    if (n == 0 || bytes.len % ITEM_BYTES || loads->n + n > MOST_GROUPS)
        return;
    loads->items = gn_xrealloc(loads->items, (loads->n + n) * sizeof *loads->items);
    for (size_t i = 0; i < n; i++) {
        gn_group_load *l = &loads->items[loads->n++];
        l->group = gn_read_be64(&r);
        l->bytes = gn_read_be64(&r);
        l->rate = gn_read_be64(&r);
    }
}

/* Two may believe that they lead a group: the larger figures hold. */
static void sort_out(gn_loads *loads)
{
    size_t n = 0;
    if (loads->n)
        qsort(loads->items, loads->n, sizeof *loads->items, by_group);
    for (size_t i = 0; i < loads->n; i++) {
        gn_group_load *last = n ? &loads->items[n - 1] : NULL;
        if (!last || last->group != loads->items[i].group) {
            loads->items[n++] = loads->items[i];
            continue;
        }
        last->bytes = last->bytes > loads->items[i].bytes ? last->bytes : loads->items[i].bytes;
        last->rate = last->rate > loads->items[i].rate ? last->rate : loads->items[i].rate;
    }
    loads->n = n;
}

static void ask_all(gn_cluster *c, const gn_placement *p, gn_loads *loads)
{
    static const uint8_t version = VERSION;
    question *questions = gn_xcalloc(p->n_nodes + 1, sizeof *questions);
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        question *q = &questions[i];
        gn_event_init(&q->answered, c->world);
        q->call = (gn_rpc_call){.to = p->nodes[i].id,
                                .method = GN_METHOD_LOADS,
                                .request = gn_bytes_of(&version, 1),
                                .deadline_ns = gn_now_ns(c->world) + ASK_NS,
                                .done = answered};
        if (gn_node_is_gone(p, p->nodes[i].id))
            answered(&q->call, GN_UNAVAILABLE);
        else
            gn_rpc_start(c->rpc, &q->call);
    }
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        gn_event_wait(&questions[i].answered, UINT64_MAX);
        if (questions[i].code == GN_OK)
            read_answer(gn_buf_bytes(&questions[i].call.response), loads);
        gn_buf_close(&questions[i].call.response);
    }
    free(questions);
}

/* Groups of which every member is gone tell nothing any more. */
static bool is_complete(const gn_placement *p, const gn_loads *loads)
{
    for (uint32_t g = 0; g < p->n_groups; g++)
        if (p->groups[g].distribution_id && !gn_group_is_lost(p, &p->groups[g]) && !find(loads, p->groups[g].id))
            return false;
    return true;
}

bool gn_loads_gather(gn_cluster *c, gn_loads *out)
{
    gn_loads loads = {0};
    gn_placement *p = gn_meta_placement(c);
    bool complete = true;
    if (gn_cluster_is_at(c, GN_SINCE_LOADS)) {
        ask_all(c, p, &loads);
        sort_out(&loads);
        complete = is_complete(p, &loads);
    }
    gn_placement_release(p);
    gn_loads *unused = complete ? out : &loads;
    free(unused->items);
    if (complete)
        *out = loads;
    return complete;
}
