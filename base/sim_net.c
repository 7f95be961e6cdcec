/* The simulated network. A frame is a copy that becomes a task of the receiver's queue when its delay is over. */
#include "base/assert.h"
#include "base/memory.h"
#include "base/sim_private.h"

#include <stdlib.h>
#include <string.h>

#define MAX_UNDER_WAY 10000u /* frames of one direction; more are dropped, as by a full buffer */

const gn_sim_link gn_sim_link_good = {.min_ns = 100000, .max_ns = 1000000};

typedef struct frame {
    sim_timed timed;
    gn_task task;
    sim_node *from, *to;
    sim_world *receiver;
    uint8_t channel;
    size_t len;
    uint8_t bytes[];
} frame;

void gn_sim_net_open(gn_sim *sim)
{
    for (unsigned i = 0; i < sim->n_nodes; i++) {
        sim_node *node = &sim->nodes[i];
        node->links = gn_xmalloc(sim->n_nodes * sizeof node->links[0]);
        node->under_way = gn_xcalloc(sim->n_nodes, sizeof node->under_way[0]);
        for (unsigned j = 0; j < sim->n_nodes; j++)
            node->links[j] = gn_sim_link_good;
    }
}

static gn_sim_link *link_of(const frame *f)
{
    return &f->from->links[f->to->id - 1];
}

static void deliver_task(gn_task *task)
{
    frame *f = GN_CONTAINER(task, frame, task);
    const sim_listener *listener = &f->receiver->listeners[f->channel];
    if (listener->handler && gn_queue_is_current(listener->queue))
        listener->handler(listener->ctx, f->from->id, gn_bytes_of(f->bytes, f->len));
    free(f);
}

static void arrive(sim_timed *timed)
{
    frame *f = GN_CONTAINER(timed, frame, timed);
    f->from->under_way[f->to->id - 1]--;
    sim_world *receiver = f->to->world;
    const sim_listener *listener = receiver ? &receiver->listeners[f->channel] : NULL;
    if (!receiver || link_of(f)->cut || !listener->handler) {
        gn_sim_tell(f->to, "frame from node %llu lost on arrival", (unsigned long long)f->from->id);
        free(f);
        return;
    }
    gn_sim_tell(f->to, "frame of %zu bytes from node %llu", f->len, (unsigned long long)f->from->id);
    f->receiver = receiver;
    f->task.run = deliver_task;
    gn_queue_post(listener->queue, &f->task);
}

static void launch(sim_node *from, sim_node *to, uint8_t channel, gn_bytes bytes)
{
    gn_sim *sim = from->sim;
    const gn_sim_link *link = &from->links[to->id - 1];
    if (gn_sim_rng_chance(&sim->rng, link->loss) || from->under_way[to->id - 1] >= MAX_UNDER_WAY)
        return;
    frame *f = gn_xmalloc(sizeof *f + bytes.len);
    *f = (frame){.timed = {.place = SIM_NOWHERE, .happen = arrive},
                 .from = from,
                 .to = to,
                 .channel = channel,
                 .len = bytes.len};
    if (bytes.len)
        memcpy(f->bytes, bytes.data, bytes.len);
    from->under_way[to->id - 1]++;
    gn_sim_schedule(sim, &f->timed, sim->now_ns + gn_sim_rng_delay(&sim->rng, link->min_ns, link->max_ns));
}

void gn_sim_net_send(gn_world *base, gn_node_id to, uint8_t channel, gn_bytes bytes)
{
    sim_world *world = sim_world_of(base);
    gn_sim *sim = world->sim;
    if (world->ghost || to == 0 || to > sim->n_nodes)
        return;
    sim_node *from = world->node, *receiver = gn_sim_node(sim, to);
    gn_sim_note(sim, from->id << 32 | to << 8 | channel);
    gn_sim_note_bytes(sim, bytes);
    if (sim->on_frame && !sim->on_frame(sim->on_frame_ctx, from->id, to, channel, bytes))
        return;
    if (from->links[to - 1].cut)
        return;
    launch(from, receiver, channel, bytes);
    if (gn_sim_rng_chance(&sim->rng, from->links[to - 1].duplicate))
        launch(from, receiver, channel, bytes);
}

void gn_sim_tell_gone(gn_sim *sim, gn_node_id node, uint8_t channel)
{
    sim_node *from = gn_sim_node(sim, node);
    for (unsigned i = 0; i < sim->n_nodes; i++)
        if (&sim->nodes[i] != from && sim->nodes[i].world && !from->links[i].cut)
            launch(from, &sim->nodes[i], channel, gn_bytes_of(NULL, 0));
}

gn_node_id gn_sim_net_self(gn_world *world)
{
    return sim_world_of(world)->node->id;
}

void gn_sim_net_listen(gn_world *base, uint8_t channel, gn_queue *queue, gn_net_handler handler, void *ctx)
{
    sim_world *world = sim_world_of(base);
    world->listeners[channel] = (sim_listener){.queue = queue, .handler = handler, .ctx = ctx};
}

void gn_sim_on_frame(gn_sim *sim,
                     bool (*fn)(void *ctx, gn_node_id from, gn_node_id to, uint8_t channel, gn_bytes frame), void *ctx)
{
    sim->on_frame = fn;
    sim->on_frame_ctx = ctx;
}

/* Calls fn for every direction that `from` and `to` name. */
static void each_link(gn_sim *sim, gn_node_id from, gn_node_id to, void (*fn)(gn_sim_link *, const void *),
                      const void *arg)
{
    GN_ASSERT(from <= sim->n_nodes && to <= sim->n_nodes);
    for (unsigned i = 1; i <= sim->n_nodes; i++) {
        for (unsigned j = 1; j <= sim->n_nodes; j++) {
            if (i != j && (from == 0 || from == i) && (to == 0 || to == j))
                fn(&sim->nodes[i - 1].links[j - 1], arg);
        }
    }
}

static void set_link(gn_sim_link *link, const void *arg)
{
    *link = *(const gn_sim_link *)arg;
    GN_ASSERT(link->min_ns <= link->max_ns);
}

static void set_cut(gn_sim_link *link, const void *arg)
{
    link->cut = *(const bool *)arg;
}

void gn_sim_link_set(gn_sim *sim, gn_node_id from, gn_node_id to, const gn_sim_link *link)
{
    gn_sim_trace(sim, "link %llu -> %llu: loss %.2f duplicate %.2f delay %llu to %llu us%s", (unsigned long long)from,
                 (unsigned long long)to, link->loss, link->duplicate, (unsigned long long)link->min_ns / 1000,
                 (unsigned long long)link->max_ns / 1000, link->cut ? " cut" : "");
    each_link(sim, from, to, set_link, link);
}

void gn_sim_cut(gn_sim *sim, gn_node_id from, gn_node_id to, bool cut)
{
    gn_sim_trace(sim, "link %llu -> %llu %s", (unsigned long long)from, (unsigned long long)to, cut ? "cut" : "mended");
    each_link(sim, from, to, set_cut, &cut);
}

void gn_sim_net_close(gn_sim *sim)
{
    for (size_t i = 0; i < sim->heap_n;) {
        if (sim->heap[i]->happen != arrive) {
            i++;
            continue;
        }
        frame *f = GN_CONTAINER(sim->heap[i], frame, timed);
        gn_sim_unschedule(sim, &f->timed); /* may move any other to before i */
        free(f);
        i = 0;
    }
    for (unsigned i = 0; i < sim->n_nodes; i++) {
        free(sim->nodes[i].links);
        free(sim->nodes[i].under_way);
    }
}
