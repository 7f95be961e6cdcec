/* The coordinator's list of its parts on other nodes, and what goes out for many of them at once. */
#include "base/versions.h"
#include "cluster/methods_private.h"
#include "cluster/part_remote_private.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { LIST_VERSION = GN_FORMAT_PART_LIST, ROUND_S = 5, KEEP_AFTER_S = 15 };
static const uint64_t SECOND_NS = 1000000000;

struct gn_parts {
    gn_cluster *cluster;
    gn_part_server *server;
    gn_routes *routes;
    gn_hedges *hedges;
    gn_strand *keeper;
    uint64_t incarnation;
    pthread_mutex_t lock; /* of what follows */
    gn_remote_part *first;
    uint64_t last_number;
    gn_event *wake;
    bool stop;
};

/* ---- lists of parts, to be sent and forgotten ---- */

typedef struct note {
    gn_rpc_call call;
    gn_buf request;
    gn_routes *routes;
} note;

static void note_done(gn_rpc_call *call, gn_code code)
{
    note *n = GN_CONTAINER(call, note, call);
    if (code == GN_OK) /* if not, leases do what this should have */
        gn_routes_heard(n->routes, call->to);
    gn_buf_close(&n->request);
    gn_buf_close(&n->call.response);
    free(n);
}

static void send_note(gn_parts *parts, gn_node_id to, gn_method method, const uint64_t *numbers, uint32_t count)
{
    gn_cluster *c = parts->cluster;
    note *n = gn_xcalloc(1, sizeof *n);
    n->routes = parts->routes;
    gn_buf_init(&n->request, NULL, 64 + (size_t)count * 8);
    gn_buf_append_u8(&n->request, LIST_VERSION);
    gn_buf_append_be64(&n->request, parts->incarnation);
    gn_buf_append_be32(&n->request, count);
    for (uint32_t i = 0; i < count; i++)
        gn_buf_append_be64(&n->request, numbers[i]);
    n->call = (gn_rpc_call){.to = to,
                            .method = method,
                            .request = gn_buf_bytes(&n->request),
                            .deadline_ns = gn_now_ns(c->world) + ROUND_S * SECOND_NS,
                            .done = note_done};
    gn_rpc_start(c->rpc, &n->call);
}

bool gn_part_list_read(gn_bytes bytes, gn_part_list *out)
{
    gn_reader in = gn_reader_of(bytes);
    uint8_t version = gn_read_u8(&in);
    *out = (gn_part_list){.incarnation = gn_read_be64(&in)};
    out->n = gn_read_be32(&in);
    out->numbers = in;
    return !in.failed && version == LIST_VERSION && out->n <= GN_WIRE_MAX_PARTS &&
           gn_reader_left(&in) == (size_t)out->n * 8;
}

/* ---- the list ---- */

uint64_t gn_parts_incarnation(const gn_parts *parts)
{
    return parts->incarnation;
}

uint64_t gn_parts_enter(gn_parts *parts, gn_remote_part *p)
{
    pthread_mutex_lock(&parts->lock);
    uint64_t number = ++parts->last_number;
    p->next = parts->first;
    if (p->next)
        p->next->prev = p;
    parts->first = p;
    pthread_mutex_unlock(&parts->lock);
    return number;
}

void gn_parts_leave(gn_parts *parts, gn_remote_part *p)
{
    pthread_mutex_lock(&parts->lock);
    *(p->prev ? &p->prev->next : &parts->first) = p->next;
    if (p->next)
        p->next->prev = p->prev;
    pthread_mutex_unlock(&parts->lock);
}

void gn_parts_moves(gn_parts *parts, gn_remote_part *p, gn_node_id node, bool renumber)
{
    pthread_mutex_lock(&parts->lock);
    p->node = node;
    p->sent = node != 0;
    if (renumber)
        p->number = ++parts->last_number;
    pthread_mutex_unlock(&parts->lock);
}

uint64_t gn_parts_number(gn_parts *parts)
{
    pthread_mutex_lock(&parts->lock);
    uint64_t number = ++parts->last_number;
    pthread_mutex_unlock(&parts->lock);
    return number;
}

void gn_parts_becomes(gn_parts *parts, gn_remote_part *p, gn_node_id node, uint64_t number)
{
    pthread_mutex_lock(&parts->lock);
    p->node = node;
    p->number = number;
    pthread_mutex_unlock(&parts->lock);
}

void gn_parts_give_up(gn_parts *parts, gn_node_id node, uint64_t part)
{
    send_note(parts, node, GN_METHOD_PART_ABORT, &part, 1);
}

/* ---- keeping ---- */

typedef struct idle {
    gn_node_id node;
    uint64_t number;
} idle;

static int by_node(const void *a, const void *b)
{
    gn_node_id x = ((const idle *)a)->node, y = ((const idle *)b)->node;
    return x < y ? -1 : x > y;
}

static idle *list_idle(gn_parts *parts, size_t *n)
{
    uint64_t now = gn_now_ns(parts->cluster->world);
    idle *list = NULL;
    *n = 0;
    pthread_mutex_lock(&parts->lock);
    for (gn_remote_part *p = parts->first; p; p = p->next) {
        if (!p->sent || now - atomic_load_explicit(&p->used_ns, memory_order_relaxed) < KEEP_AFTER_S * SECOND_NS)
            continue;
        if ((*n & (*n - 1)) == 0)
            list = gn_xrealloc(list, (*n ? 2 * *n : 1) * sizeof *list);
        list[(*n)++] = (idle){p->node, p->number};
    }
    pthread_mutex_unlock(&parts->lock);
    return list;
}

static void keep_idle(gn_parts *parts)
{
    size_t n, run;
    idle *list = list_idle(parts, &n);
    uint64_t *numbers = gn_xcalloc(GN_WIRE_MAX_PARTS, sizeof *numbers);
    if (n)
        qsort(list, n, sizeof *list, by_node);
    for (size_t i = 0; i < n; i += run) {
        for (run = 0; i + run < n && run < GN_WIRE_MAX_PARTS && list[i + run].node == list[i].node; run++)
            numbers[run] = list[i + run].number;
        send_note(parts, list[i].node, GN_METHOD_PART_KEEP, numbers, (uint32_t)run);
    }
    free(numbers);
    free(list);
}

/* Nobody else asks them, and somebody must find out when they are back. */
static void probe_silent(gn_parts *parts)
{
    gn_node_id nodes[GN_SILENT_NODES];
    unsigned n = gn_routes_silent_nodes(parts->routes, nodes);
    for (unsigned i = 0; i < n; i++)
        send_note(parts, nodes[i], GN_METHOD_PART_KEEP, NULL, 0);
}

/* True: go on. */
static bool wait_a_round(gn_parts *parts, gn_event *event)
{
    gn_world *world = parts->cluster->world;
    gn_event_init(event, world);
    pthread_mutex_lock(&parts->lock);
    bool stop = parts->stop;
    parts->wake = stop ? NULL : event;
    pthread_mutex_unlock(&parts->lock);
    if (stop)
        return false;
    gn_event_wait(event, gn_now_ns(world) + ROUND_S * SECOND_NS);
    pthread_mutex_lock(&parts->lock);
    parts->wake = NULL;
    stop = parts->stop;
    pthread_mutex_unlock(&parts->lock);
    return !stop;
}

static void keep(void *arg)
{
    gn_parts *parts = arg;
    gn_event *event = gn_xcalloc(1, sizeof *event);
    while (wait_a_round(parts, event)) {
        keep_idle(parts);
        probe_silent(parts);
        gn_part_server_sweep(parts->server);
    }
    free(event);
}

/* ---- life ---- */

gn_parts *gn_parts_start(gn_cluster *cluster)
{
    gn_parts *parts = gn_xcalloc(1, sizeof *parts);
    parts->cluster = cluster;
    parts->incarnation = gn_random_u64(cluster->world);
    pthread_mutex_init(&parts->lock, NULL);
    parts->routes = gn_routes_create(cluster);
    parts->hedges = gn_hedges_create(cluster->hedge_percent);
    parts->server = gn_part_server_start(cluster);
    gn_group_decide_serve(cluster);
    parts->keeper = gn_strand_start(cluster->world, "parts", keep, parts);
    if (parts->keeper)
        return parts;
    gn_parts_stop(parts);
    return NULL;
}

gn_part_server *gn_parts_server(gn_parts *parts)
{
    return parts->server;
}

gn_routes *gn_parts_routes(gn_parts *parts)
{
    return parts->routes;
}

gn_hedges *gn_parts_hedges(gn_parts *parts)
{
    return parts->hedges;
}

void gn_parts_stop(gn_parts *parts)
{
    if (!parts)
        return;
    pthread_mutex_lock(&parts->lock);
    parts->stop = true;
    gn_event *wake = parts->wake;
    parts->wake = NULL;
    if (wake)
        gn_event_signal(wake); /* under the lock, which the keeper takes before the event goes */
    pthread_mutex_unlock(&parts->lock);
    if (parts->keeper)
        gn_strand_join(parts->keeper);
    gn_part_server_stop(parts->server);
}

void gn_parts_free(gn_parts *parts)
{
    if (!parts)
        return;
    gn_part_server_free(parts->server);
    gn_routes_free(parts->routes);
    gn_hedges_free(parts->hedges);
    pthread_mutex_destroy(&parts->lock);
    free(parts);
}
