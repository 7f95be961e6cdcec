/* Requests over the real connections between nodes: small, large, many, and to a node that goes away. */
#include "base/limits.h"
#include "net/mesh.h"
#include "net/rpc.h"
#include "tests/base/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#define CLUSTER "00112233445566778899aabbccddeeff"

typedef struct node {
    gn_world *world;
    gn_mesh *mesh;
    gn_rpc *rpc;
} node;

enum { ECHO, ECHO_ON_STRAND };

static void echo(void *ctx, gn_rpc_request *request)
{
    (void)ctx;
    gn_rpc_answer(request, GN_OK, request->bytes, NULL);
}

static gn_code echo_on_strand(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response, gn_error *err)
{
    (void)ctx;
    (void)from;
    (void)err;
    gn_buf_append_bytes(response, request);
    return GN_OK;
}

static void open_node(node *n, gn_node_id id)
{
    gn_error err = {0};
    gn_mesh_options options = {.listen = "127.0.0.1:0", .cluster_id = CLUSTER};
    n->world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = id});
    assert_int_equal(gn_mesh_open(n->world, &options, &n->mesh, &err), GN_OK);
    n->rpc = gn_rpc_create(n->world, 8);
    gn_rpc_serve(n->rpc, ECHO, echo, NULL);
    gn_rpc_serve_strand(n->rpc, ECHO_ON_STRAND, echo_on_strand, NULL);
}

static void close_node(node *n)
{
    gn_rpc_destroy(n->rpc);
    gn_mesh_close(n->mesh);
    gn_world_real_destroy(n->world);
}

static void open_pair(node *a, node *b)
{
    open_node(a, 1);
    open_node(b, 2);
    gn_mesh_peer(a->mesh, 2, gn_mesh_address(b->mesh));
    gn_mesh_peer(b->mesh, 1, gn_mesh_address(a->mesh));
}

typedef struct asker {
    gn_rpc *rpc;
    gn_node_id to;
    unsigned n, failed;
    size_t size;
} asker;

/* On a busy machine a node is taken for dead that was only slow; nothing else is a reason to ask again. */
static gn_code ask_patiently(const asker *a, uint16_t method, gn_bytes request, gn_buf *response)
{
    enum { MOST = 20 };
    for (unsigned i = 0;; i++) {
        gn_error err = {0};
        gn_code code = gn_rpc_ask(a->rpc, a->to, method, request, 0, NULL, response, &err);
        if (code == GN_OK || !strstr(err.message, "says nothing") || i == MOST)
            return code;
        gn_buf_clear(response);
    }
}

static void ask_many(void *arg)
{
    asker *a = arg;
    uint8_t *bytes = malloc(a->size);
    assert_non_null(bytes);
    memset(bytes, 7, a->size);
    for (unsigned i = 0; i < a->n; i++) {
        gn_buf response;
        memcpy(bytes, &i, sizeof i);
        gn_buf_init(&response, NULL, GN_MAX_RPC);
        gn_bytes request = gn_bytes_of(bytes, a->size);
        gn_code code = ask_patiently(a, i % 2 ? ECHO : ECHO_ON_STRAND, request, &response);
        a->failed += code != GN_OK || !gn_bytes_eq(request, gn_buf_bytes(&response));
        gn_buf_close(&response);
    }
    free(bytes);
}

static void small_and_large_requests_go_side_by_side(void **state)
{
    (void)state;
    node a, b;
    open_pair(&a, &b);
    asker askers[] = {{.rpc = a.rpc, .to = 2, .n = 200, .size = 100},
                      {.rpc = b.rpc, .to = 1, .n = 200, .size = 3000},
                      {.rpc = a.rpc, .to = 2, .n = 20, .size = 200000},
                      {.rpc = a.rpc, .to = 2, .n = 2, .size = (size_t)8 << 20}};
    gn_strand *strands[4];
    for (int i = 0; i < 4; i++)
        strands[i] = gn_strand_start(i == 1 ? b.world : a.world, "asker", ask_many, &askers[i]);
    for (int i = 0; i < 4; i++) {
        gn_strand_join(strands[i]);
        assert_int_equal(askers[i].failed, 0);
    }
    close_node(&a);
    close_node(&b);
}

static void a_node_that_went_away_is_not_waited_for(void **state)
{
    (void)state;
    node a, b;
    open_pair(&a, &b);
    asker before = {.rpc = a.rpc, .to = 2, .n = 1, .size = 100};
    ask_many(&before);
    assert_int_equal(before.failed, 0);
    close_node(&b);
    gn_error err = {0};
    gn_code code = gn_rpc_ask(a.rpc, 2, ECHO, (gn_bytes){0}, 0, NULL, NULL, &err);
    assert_true(code == GN_TIMEOUT || code == GN_UNAVAILABLE);
    assert_true(err.message[0]);
    close_node(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_and_large_requests_go_side_by_side),
        cmocka_unit_test(a_node_that_went_away_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
