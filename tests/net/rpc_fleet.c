#include "tests/net/rpc_fleet.h"

#include "base/assert.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

/* ---- answering ---- */

static unsigned id_of(gn_bytes request)
{
    gn_reader r = gn_reader_of(request);
    unsigned id = (unsigned)gn_read_be64(&r);
    GN_ASSERT(!r.failed);
    return id;
}

static asked *note_run(fleet *f, gn_bytes request)
{
    asked *a = f->asked[id_of(request)];
    GN_ASSERT(gn_bytes_eq(request, gn_buf_bytes(&a->request)));
    if (++a->ran > 1)
        f->ran_twice++;
    return a;
}

/* Up to `size` bytes, others for each id. */
static void fill(gn_buf *out, unsigned id, size_t size)
{
    uint8_t some[251];
    for (size_t i = 0; i < sizeof some; i++)
        some[i] = (uint8_t)(id + i);
    while (out->len < size)
        gn_buf_append(out, some, size - out->len < sizeof some ? size - out->len : sizeof some);
}

static void append_answer(gn_buf *out, unsigned id, size_t size)
{
    gn_buf_append_be64(out, (uint64_t)id * 7919);
    fill(out, id, size);
}

static void echo(void *ctx, gn_rpc_request *request)
{
    fleet_node *node = ctx;
    gn_buf answer;
    asked *a = note_run(node->fleet, request->bytes);
    gn_buf_init(&answer, NULL, 64);
    append_answer(&answer, a->id, 8);
    gn_rpc_answer(request, GN_OK, gn_buf_bytes(&answer), NULL);
    gn_buf_close(&answer);
}

typedef struct later {
    gn_task task;
    gn_timer timer;
    gn_rpc_request *request;
    fleet_node *node;
    uint64_t due_ns;
} later;

static void later_now(gn_timer *timer)
{
    later *l = GN_CONTAINER(timer, later, timer);
    gn_buf answer;
    gn_buf_init(&answer, NULL, 64);
    append_answer(&answer, id_of(l->request->bytes), 8);
    gn_rpc_answer(l->request, GN_OK, gn_buf_bytes(&answer), NULL);
    gn_buf_close(&answer);
    gn_timer_close(timer);
    free(l);
}

static void later_wait(gn_task *task)
{
    later *l = GN_CONTAINER(task, later, task);
    gn_timer_init(&l->timer, l->node->queue, later_now);
    gn_timer_start(&l->timer, l->due_ns);
}

static void answer_later(void *ctx, gn_rpc_request *request)
{
    fleet_node *node = ctx;
    note_run(node->fleet, request->bytes);
    later *l = gn_xcalloc(1, sizeof *l);
    l->request = request;
    l->node = node;
    l->due_ns = gn_now_ns(node->world) + gn_sim_random(node->fleet->sim, node->fleet->longest_ns);
    l->task.run = later_wait;
    gn_queue_post(node->queue, &l->task);
}

static gn_code block(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response, gn_error *err)
{
    fleet_node *node = ctx;
    gn_event never;
    (void)from;
    (void)err;
    asked *a = note_run(node->fleet, request);
    gn_event_init(&never, node->world);
    gn_event_wait(&never, gn_now_ns(node->world) + gn_sim_random(node->fleet->sim, node->fleet->longest_ns));
    append_answer(response, a->id, 8);
    return GN_OK;
}

static gn_code fail(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response, gn_error *err)
{
    fleet_node *node = ctx;
    (void)from;
    asked *a = note_run(node->fleet, request);
    append_answer(response, a->id, 8); /* not heard: only what goes with GN_OK is */
    gn_error_set(err, GN_UNIQUE, "words of %u", a->id);
    gn_error_detail(err, "detail of %u", a->id);
    gn_error_hint(err, "hint of %u", a->id);
    gn_error_context(err, "context of %u", a->id);
    strcpy(err->object[1], "table");
    return GN_UNIQUE;
}

static gn_code large(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response, gn_error *err)
{
    fleet_node *node = ctx;
    (void)from;
    (void)err;
    append_answer(response, note_run(node->fleet, request)->id, 100000);
    return GN_OK;
}

/* ---- asking ---- */

static bool is_right(const asked *a)
{
    char words[64];
    if (a->code == GN_UNIQUE) {
        snprintf(words, sizeof words, "words of %u", a->id);
        return a->call.method == FAIL && strcmp(a->call.error.message, words) == 0 &&
               strncmp(a->call.error.detail, "detail", 6) == 0 && strncmp(a->call.error.hint, "hint", 4) == 0 &&
               strncmp(a->call.error.context, "context", 7) == 0 && strcmp(a->call.error.object[1], "table") == 0;
    }
    if (a->code != GN_OK)
        return a->call.error.code == a->code && a->call.error.message[0] && a->call.response.len == 0;
    gn_buf right;
    gn_buf_init(&right, NULL, 200000);
    append_answer(&right, a->id, a->call.method == LARGE ? 100000 : 8);
    bool same = gn_bytes_eq(gn_buf_bytes(&right), gn_buf_bytes(&a->call.response));
    gn_buf_close(&right);
    return same && a->ran == 1;
}

static void call_done(gn_rpc_call *call, gn_code code)
{
    asked *a = GN_CONTAINER(call, asked, call);
    fleet *f = a->fleet;
    if (a->done)
        f->done_twice++;
    a->done = true;
    a->code = code;
    a->done_ns = gn_sim_now_ns(f->sim);
    if (!is_right(a))
        f->wrong_answers++;
    gn_buf_close(&call->response);
}

asked *fleet_ask(fleet *f, gn_node_id from, gn_node_id to, uint16_t method, size_t size, uint64_t timeout_ns)
{
    GN_ASSERT(f->n_asked < MAX_ASKED && f->nodes[from]->rpc);
    asked *a = gn_xcalloc(1, sizeof *a);
    a->fleet = f;
    a->id = f->n_asked;
    f->asked[f->n_asked++] = a;
    gn_buf_init(&a->request, NULL, (size_t)4 << 20);
    gn_buf_append_be64(&a->request, a->id);
    fill(&a->request, a->id, size);
    a->started_ns = gn_sim_now_ns(f->sim);
    a->call.to = to;
    a->call.method = method;
    a->call.bulk = gn_sim_chance(f->sim, 0.2);
    a->call.request = gn_buf_bytes(&a->request);
    a->call.deadline_ns = timeout_ns ? fleet_now(f, from) + timeout_ns : 0;
    a->call.done = call_done;
    gn_rpc_start(f->nodes[from]->rpc, &a->call);
    return a;
}

bool fleet_all_done(void *ctx)
{
    const fleet *f = ctx;
    for (unsigned i = f->n_asked; i-- > 0;) {
        if (!f->asked[i]->done)
            return false;
    }
    return true;
}

void fleet_check(fleet *f)
{
    for (unsigned i = 0; i < f->n_asked; i++) {
        const asked *a = f->asked[i];
        if (a->done && a->code == GN_UNAVAILABLE && a->ran)
            f->ran_though_unavailable++;
    }
}

uint64_t fleet_now(const fleet *f, gn_node_id node)
{
    return gn_now_ns(f->nodes[node]->world);
}

/* ---- life ---- */

static void bring_up(fleet *f, gn_node_id id, gn_world *world, unsigned max_strands)
{
    fleet_node *node = gn_xcalloc(1, sizeof *node);
    node->fleet = f;
    node->id = id;
    node->world = world;
    node->queue = gn_queue_create(world, "later");
    node->rpc = gn_rpc_create(world, max_strands);
    gn_rpc_serve(node->rpc, ECHO, echo, node);
    gn_rpc_serve(node->rpc, LATER, answer_later, node);
    gn_rpc_serve_strand(node->rpc, BLOCK, block, node);
    gn_rpc_serve_strand(node->rpc, FAIL, fail, node);
    gn_rpc_serve_strand(node->rpc, LARGE, large, node);
    f->nodes[id] = node;
}

static void take_down(fleet *f, gn_node_id id)
{
    fleet_node *node = f->nodes[id];
    f->nodes[id] = NULL;
    gn_rpc_destroy(node->rpc);
    gn_queue_destroy(node->queue);
    free(node);
}

fleet *fleet_create(uint64_t seed, unsigned n, unsigned max_strands)
{
    fleet *f = gn_xcalloc(1, sizeof *f);
    f->sim = gn_sim_create(seed, n);
    f->n = n;
    f->longest_ns = 500 * MS;
    for (unsigned id = 1; id <= n; id++)
        bring_up(f, id, gn_sim_world(f->sim, id), max_strands);
    return f;
}

void fleet_crash(fleet *f, gn_node_id node)
{
    gn_sim_crash(f->sim, node, GN_SIM_FORGET);
    take_down(f, node);
}

void fleet_restart(fleet *f, gn_node_id node)
{
    bring_up(f, node, gn_sim_restart(f->sim, node), 4);
}

void fleet_links(fleet *f, double loss, double duplicate, uint64_t max_ns)
{
    gn_sim_link link = {.loss = loss, .duplicate = duplicate, .min_ns = 100000, .max_ns = max_ns};
    gn_sim_link_set(f->sim, 0, 0, &link);
}

void fleet_close(fleet *f)
{
    for (unsigned id = 1; id <= f->n; id++) {
        if (f->nodes[id])
            take_down(f, id);
    }
    GN_ASSERT(fleet_all_done(f));
}

void fleet_destroy(fleet *f)
{
    fleet_close(f);
    gn_sim_destroy(f->sim);
    for (unsigned i = 0; i < f->n_asked; i++) {
        gn_buf_close(&f->asked[i]->request);
        free(f->asked[i]);
    }
    free(f);
}
