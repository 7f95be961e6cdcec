/* Requests over real connections, in both directions, while one node's connections after the other's go and come back
 * at another address: each runs at most once. */
#include "base/limits.h"
#include "base/log.h"
#include "net/mesh.h"
#include "net/rpc.h"
#include "tests/base/cmocka_all.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define S UINT64_C(1000000000)

enum { ECHO, COUNT, N_ASKERS = 6, N_NUMBERS = 20000 };

typedef struct node {
    gn_node_id id;
    gn_world *world;
    gn_mesh *mesh;
    gn_rpc *rpc;
    _Atomic uint8_t ran[N_NUMBERS]; /* by the number that a request of COUNT carries */
} node;

static node a = {.id = 1}, b = {.id = 2};

static void echo(void *ctx, gn_rpc_request *request)
{
    (void)ctx;
    gn_rpc_answer(request, GN_OK, request->bytes, NULL);
}

static gn_code count(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response, gn_error *err)
{
    node *n = ctx;
    uint32_t number;
    if (request.len != sizeof number)
        return gn_error_set(err, GN_PROTOCOL, "no number from node %llu", (unsigned long long)from);
    memcpy(&number, request.data, sizeof number);
    atomic_fetch_add(&n->ran[number % N_NUMBERS], 1);
    gn_buf_append_bytes(response, request);
    return GN_OK;
}

static void open_mesh(node *n)
{
    gn_error err = {0};
    gn_mesh_options options = {.listen = "127.0.0.1:0", .cluster_id = "00112233445566778899aabbccddeeff"};
    if (gn_mesh_open(n->world, &options, &n->mesh, &err) != GN_OK)
        fail_msg("no mesh: %s", err.message);
}

static void introduce(void)
{
    gn_mesh_peer(a.mesh, b.id, gn_mesh_address(b.mesh));
    gn_mesh_peer(b.mesh, a.id, gn_mesh_address(a.mesh));
}

static int open_nodes(void **state)
{
    (void)state;
    node *nodes[] = {&a, &b};
    for (unsigned i = 0; i < 2; i++) {
        node *n = nodes[i];
        memset((void *)n->ran, 0, sizeof n->ran);
        n->world = gn_world_real_create(&(gn_world_options){.threads = 3, .node_id = n->id});
        n->rpc = gn_rpc_create(n->world, 0);
        gn_rpc_serve(n->rpc, ECHO, echo, n);
        gn_rpc_serve_strand(n->rpc, COUNT, count, n);
        open_mesh(n);
    }
    introduce();
    return 0;
}

/* The connections go first: who asks then is told that the other is silent. */
static int close_nodes(void **state)
{
    (void)state;
    gn_mesh_close(a.mesh);
    gn_mesh_close(b.mesh);
    gn_rpc_destroy(a.rpc);
    gn_rpc_destroy(b.rpc);
    gn_world_real_destroy(a.world);
    gn_world_real_destroy(b.world);
    return 0;
}

static gn_code ask(node *from, gn_node_id to, uint16_t method, const void *data, size_t len, gn_buf *response)
{
    gn_error err = {0};
    gn_buf_init(response, NULL, GN_MAX_RPC);
    gn_code code = gn_rpc_ask(from->rpc, to, method, gn_bytes_of(data, len), gn_now_ns(from->world) + 60 * S, NULL,
                              response, &err);
    if (code != GN_OK)
        print_message("%zu bytes: %s\n", len, err.message);
    return code;
}

/* A slow machine is soon taken for a silent one, each time for a second. */
static gn_code ask_patiently(node *from, gn_node_id to, const void *data, size_t len, gn_buf *response)
{
    gn_code code = ask(from, to, ECHO, data, len, response);
    for (unsigned tries = 0; tries < 60 && (code == GN_TIMEOUT || code == GN_UNAVAILABLE); tries++) {
        gn_buf_close(response);
        code = ask(from, to, ECHO, data, len, response);
    }
    return code;
}

/* ---- askers ---- */

typedef struct asker {
    node *from;
    gn_node_id to;
    uint32_t first, asked, answered, unknown;
    _Atomic bool *stop;
} asker;

static void keep_asking(void *arg)
{
    asker *s = arg;
    for (; !atomic_load(s->stop) && s->asked < N_NUMBERS / N_ASKERS; s->asked++) {
        uint32_t number = s->first + s->asked;
        gn_buf response;
        gn_code code = ask(s->from, s->to, COUNT, &number, sizeof number, &response);
        bool right = response.len == sizeof number && memcmp(response.data, &number, sizeof number) == 0;
        s->answered += code == GN_OK && right;
        s->unknown += code == GN_TIMEOUT || code == GN_UNAVAILABLE;
        gn_buf_close(&response);
    }
}

static void requests_while_connections_come_and_go(void **state)
{
    (void)state;
    _Atomic bool stop = false;
    asker askers[N_ASKERS];
    gn_strand *strands[N_ASKERS];
    uint32_t answered = 0, asked = 0;
    for (unsigned i = 0; i < N_ASKERS; i++) {
        bool back = i % 2;
        askers[i] =
            (asker){.from = back ? &b : &a, .to = back ? 1 : 2, .first = i * (N_NUMBERS / N_ASKERS), .stop = &stop};
        strands[i] = gn_strand_start(askers[i].from->world, "asker", keep_asking, &askers[i]);
    }
    for (unsigned round = 0; round < 8; round++) {
        node *n = round % 2 ? &a : &b, *other = round % 2 ? &b : &a;
        gn_buf response;
        assert_int_equal(ask_patiently(other, n->id, "here", 4, &response), GN_OK);
        gn_buf_close(&response);
        gn_mesh_close(n->mesh);
        open_mesh(n);
        introduce();
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < N_ASKERS; i++) {
        gn_strand_join(strands[i]);
        answered += askers[i].answered;
        asked += askers[i].asked;
        assert_int_equal(askers[i].answered + askers[i].unknown, askers[i].asked);
    }
    assert_true(answered > 0);
    for (unsigned i = 0; i < N_NUMBERS; i++)
        assert_true(a.ran[i] <= 1 && b.ran[i] <= 1); /* at most once */
    if (answered < asked)
        print_message("%u of %u answered\n", answered, asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_while_connections_come_and_go, open_nodes, close_nodes),
    };
    gn_log_configure(getenv("GN_TEST_LOG") ? GN_LOG_INFO : GN_LOG_OFF, false, STDERR_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
