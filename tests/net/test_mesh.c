/* Nodes that speak to each other over loopback, and what becomes of those that do it wrongly. */
#include "base/log.h"
#include "base/metrics.h"
#include "tests/net/fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define STRANGER (GN_MESH_STRANGER + 77)

/* ---- frames ---- */

static void frames_go_both_ways_in_order_in_each_class(void **state)
{
    (void)state;
    node a, b;
    node_open(&a, 1, NULL);
    node_open(&b, 2, NULL);
    introduce(&a, &b);
    for (uint64_t i = 1; i <= 500; i++)
        for (uint8_t channel = 1; channel <= 3; channel++) {
            send_number(&a, 2, channel, i, i * 37 % 9000);
            send_number(&b, 1, channel, i, i * 41 % 9000);
        }
    for (uint8_t channel = 1; channel <= 3; channel++) {
        assert_true(inbox_wait(&a, channel, 500));
        assert_true(inbox_wait(&b, channel, 500));
        assert_int_equal(a.inboxes[channel].damaged + b.inboxes[channel].damaged, 0);
        assert_int_equal(a.inboxes[channel].from, 2);
        assert_int_equal(b.inboxes[channel].from, 1);
    }
    gn_mesh_peer_status status = peer_status(&a, 2);
    assert_true(status.frames_in == 1500 && status.frames_dropped == 0 && status.heard_ns > 0);
    assert_true(status.bytes_in > 1500 * 16);
    node_close(&a);
    node_close(&b);
}

static void frames_to_nobody_and_to_oneself(void **state)
{
    (void)state;
    node a;
    node_open(&a, 1, NULL);
    send_number(&a, 99, 1, 1, 10); /* dropped */
    send_number(&a, 1, 2, 1, 10);
    assert_true(inbox_wait(&a, 2, 1));
    assert_int_equal(a.inboxes[2].from, 1);
    assert_int_equal(gn_mesh_peers(a.mesh, NULL, 0), 0);
    node_close(&a);
}

static void a_hundred_thousand_small_frames_arrive(void **state)
{
    (void)state;
    node a, b;
    node_open(&a, 1, NULL);
    node_open(&b, 2, NULL);
    introduce(&a, &b);
    send_number(&a, 2, 1, 1, 10);
    assert_true(inbox_wait(&b, 1, 1));
    for (uint64_t i = 2; i <= 100000; i++)
        send_number(&a, 2, 1, i, 10);
    assert_true(inbox_wait(&b, 1, 100000));
    assert_int_equal(b.inboxes[1].disorder + b.inboxes[1].damaged, 0);
    node_close(&a);
    node_close(&b);
}

static void a_frame_of_64_mib_arrives_and_nobody_sends_an_empty_one(void **state)
{
    (void)state;
    node a, b;
    node_open(&a, 1, NULL);
    node_open(&b, 2, NULL);
    introduce(&a, &b);
    send_number(&a, 2, 3, 1, 64u << 20);
    send_number(&a, 2, 3, 2, 100);
    gn_net_send(a.world, 2, 2, (gn_bytes){0});
    assert_true(inbox_wait(&b, 3, 1));
    assert_int_equal(b.inboxes[2].frames, 0);
    assert_int_equal(b.inboxes[3].damaged, 0);
    node_close(&a);
    node_close(&b);
}

/* ---- who is let in ---- */

static void other_clusters_and_wrong_numbers_are_refused(void **state)
{
    (void)state;
    node a, b, c, twin;
    gn_node_id id;
    gn_error err;
    node_open(&a, 1, NULL);
    node_open(&b, 2, NULL);
    node_open(&c, 3, &(gn_mesh_options){.cluster_id = OTHER_CLUSTER});
    node_open(&twin, 1, NULL);
    uint64_t us = refusals("us", "cluster"), them = refusals("them", "cluster");
    assert_int_equal(contact(&a, gn_mesh_address(c.mesh), &id, &err), GN_CONNECTION_FAILURE);
    assert_non_null(strstr(err.message, "node 3 and node 1 belong to different clusters"));
    assert_true(refusals("us", "cluster") == us + 1 && refusals("them", "cluster") == them + 1);

    us = refusals("us", "self");
    assert_int_equal(contact(&a, gn_mesh_address(twin.mesh), &id, &err), GN_CONNECTION_FAILURE);
    assert_int_equal(contact(&a, gn_mesh_address(a.mesh), &id, &err), GN_CONNECTION_FAILURE);
    assert_non_null(strstr(err.message, "of its own number"));
    assert_int_equal(refusals("us", "self"), us + 2);

    assert_int_equal(contact(&a, gn_mesh_address(b.mesh), &id, &err), GN_OK);
    assert_int_equal(id, 2);
    node_close(&twin);
    node_close(&a);
    node_close(&b);
    node_close(&c);
}

static bool has_error(node *n, void *ctx)
{
    return strstr(peer_status(n, 9).last_error, ctx) != NULL;
}

static bool is_connected(node *n, void *ctx)
{
    return peer_status(n, *(gn_node_id *)ctx).connected;
}

static void another_node_at_the_address_is_refused(void **state)
{
    (void)state;
    node a, b, c;
    node_open(&a, 1, NULL);
    node_open(&b, 2, NULL);
    node_open(&c, 9, NULL);
    uint64_t us = refusals("us", "node");
    gn_mesh_peer(a.mesh, 9, gn_mesh_address(b.mesh));
    send_number(&a, 9, 2, 1, 10);
    assert_true(eventually(&a, has_error, "this is node 2, not node 9"));
    assert_true(refusals("us", "node") > us);
    gn_mesh_peer(a.mesh, 9, gn_mesh_address(c.mesh)); /* what waited goes to the right one */
    assert_true(inbox_wait(&c, 2, 1));
    assert_string_equal(peer_status(&a, 9).last_error, "");
    node_close(&a);
    node_close(&b);
    node_close(&c);
}

static void strangers_are_let_in_only_where_they_may(void **state)
{
    (void)state;
    node open, closed, stranger, late;
    gn_node_id id;
    gn_error err = {0};
    gn_mesh *none;
    node_open(&open, 1, &(gn_mesh_options){.cluster_id = CLUSTER, .admit_strangers = true});
    node_open(&closed, 2, NULL);
    node_open(&stranger, STRANGER, &(gn_mesh_options){.cluster_id = ""});
    node_open(&late, STRANGER + 1, &(gn_mesh_options){.cluster_id = ""});
    assert_int_equal(contact(&stranger, gn_mesh_address(closed.mesh), &id, &err), GN_CONNECTION_FAILURE);
    assert_non_null(strstr(err.message, "admits no node that is in no cluster"));
    assert_int_equal(contact(&stranger, gn_mesh_address(late.mesh), &id, &err), GN_CONNECTION_FAILURE);
    assert_int_equal(contact(&closed, gn_mesh_address(stranger.mesh), &id, &err), GN_CONNECTION_FAILURE);
    assert_int_equal(contact(&stranger, gn_mesh_address(open.mesh), &id, &err), GN_OK);
    assert_int_equal(id, 1);
    for (uint8_t channel = 1; channel <= 3; channel++) {
        send_number(&stranger, 1, channel, 1, 100);
        assert_true(inbox_wait(&open, channel, 1));
        assert_true(open.inboxes[channel].from == STRANGER);
        send_number(&open, STRANGER, channel, 1, 100); /* on the connection that the stranger made */
        assert_true(inbox_wait(&stranger, channel, 1));
    }
    /* A node that is in no cluster has no number of one. */
    gn_world *world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 5});
    assert_int_equal(gn_mesh_open(world, &(gn_mesh_options){.listen = "127.0.0.1:0", .cluster_id = ""}, &none, &err),
                     GN_CONFIGURATION);
    gn_world_real_destroy(world);
    node_close(&stranger);
    node_close(&late);
    node_close(&closed);
    node_close(&open);
}

static void addresses_that_cannot_be(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "localhost", "localhost:", "localhost:70000", "localhost:1x",
                                      "a b:1", "a/b:1",     "[::1]",      "[::1]1",          ":1",
                                      "@x:1"};
    gn_world *world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 5});
    gn_mesh *mesh;
    gn_error err = {0};
    gn_mesh_options options = {.cluster_id = CLUSTER};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        options.listen = bad[i];
        assert_int_equal(gn_mesh_open(world, &options, &mesh, &err), GN_CONFIGURATION);
    }
    options.listen = "0.0.0.0:0"; /* everybody, without TLS */
    assert_int_equal(gn_mesh_open(world, &options, &mesh, &err), GN_CONFIGURATION);
    options.insecure = true;
    assert_int_equal(gn_mesh_open(world, &options, &mesh, &err), GN_OK);
    gn_mesh_close(mesh);
    options = (gn_mesh_options){.listen = "127.0.0.1:0", .cluster_id = "abc"};
    assert_int_equal(gn_mesh_open(world, &options, &mesh, &err), GN_CONFIGURATION);
    options = (gn_mesh_options){.listen = "127.0.0.1:0", .cluster_id = CLUSTER, .tls_ca = "ca.pem"};
    assert_int_equal(gn_mesh_open(world, &options, &mesh, &err), GN_CONFIGURATION);
    gn_world_real_destroy(world);

    node a, b;
    gn_node_id id;
    node_open(&a, 1, &(gn_mesh_options){.listen = "[::1]:0", .cluster_id = CLUSTER});
    gn_mesh_options taken = {.listen = gn_mesh_address(a.mesh), .cluster_id = CLUSTER};
    assert_int_equal(gn_mesh_open(a.world, &taken, &mesh, &err), GN_IO);
    node_open(&b, 2, NULL);
    assert_int_equal(contact(&b, gn_mesh_address(a.mesh), &id, &err), GN_OK);
    assert_int_equal(contact(&b, "192.0.2.1:1", &id, &err), GN_CONNECTION_FAILURE);
    assert_non_null(strstr(err.message, "without TLS"));
    assert_int_equal(contact(&b, "nonsense", &id, &err), GN_CONNECTION_FAILURE);
    node_close(&b);
    node_close(&a);
}

/* ---- who does it wrongly ---- */

static void hello_bytes(gn_buf *out, const mesh_hello *hello)
{
    gn_buf_init(out, NULL, 4096);
    gn_mesh_hello_write(out, hello);
}

static mesh_hello good_hello(void)
{
    mesh_hello hello = {.version_min = 1,
                        .version_max = 1,
                        .can = {1, 1},
                        .class = MESH_REQUESTS,
                        .in_cluster = true,
                        .from = 7,
                        .to = 1,
                        .incarnation = 5,
                        .number = 1};
    for (unsigned i = 0; i < 16; i++)
        hello.cluster[i] = (uint8_t)(i * 17);
    return hello;
}

static void a_protocol_of_another_time_is_refused(void **state)
{
    (void)state;
    node a;
    unsigned refusal;
    char words[MESH_MAX_REASON];
    gn_buf bytes, answer;
    mesh_hello hello = good_hello();
    hello.version_min = 2;
    hello.version_max = 9;
    node_open(&a, 1, NULL);
    hello_bytes(&bytes, &hello);
    int fd = raw_connect(&a);
    raw_write(fd, bytes.data, bytes.len);
    shutdown(fd, SHUT_WR);
    assert_true(raw_read_to_end(fd, &answer));
    assert_true(find_refusal(gn_buf_bytes(&answer), &refusal, words));
    assert_int_equal(refusal, MESH_REFUSE_VERSION);
    assert_non_null(strstr(words, "speaks 2 to 9"));
    close(fd);
    gn_buf_close(&bytes);
    gn_buf_close(&answer);
    node_close(&a);
}

/* A hello of 64 bytes, as the first release says it, or a whole one; the refusal's words. */
static void is_refused_for_its_versions(node *n, const mesh_hello *hello, bool first_release, char *words)
{
    unsigned refusal;
    gn_buf bytes, answer;
    hello_bytes(&bytes, hello);
    if (first_release)
        gn_mesh_head_write(bytes.data, MESH_HELLO, 0, gn_bytes_of(bytes.data + MESH_HEAD_BYTES, MESH_HELLO_BYTES));
    int fd = raw_connect(n);
    raw_write(fd, bytes.data, first_release ? MESH_HEAD_BYTES + MESH_HELLO_BYTES : bytes.len);
    shutdown(fd, SHUT_WR);
    assert_true(raw_read_to_end(fd, &answer));
    assert_true(find_refusal(gn_buf_bytes(&answer), &refusal, words));
    assert_int_equal(refusal, MESH_REFUSE_VERSION);
    close(fd);
    gn_buf_close(&bytes);
    gn_buf_close(&answer);
}

static void a_node_that_cannot_do_the_clusters_version_is_refused(void **state)
{
    (void)state;
    node a;
    char words[MESH_MAX_REASON];
    mesh_hello hello = good_hello();
    node_open(&a, 1, &(gn_mesh_options){.cluster_id = CLUSTER, .versions = {2, 4}});
    gn_mesh_cluster_version(a.mesh, 3);
    hello.can = (gn_version_range){1, 2};
    is_refused_for_its_versions(&a, &hello, false, words);
    assert_non_null(strstr(words, "at version 3, and the gnomond of node 7 can do 1 to 2: it is too old"));
    is_refused_for_its_versions(&a, &hello, true, words);
    assert_non_null(strstr(words, "can do 1 to 1: it is too old"));
    hello.can = (gn_version_range){4, 5};
    is_refused_for_its_versions(&a, &hello, false, words);
    assert_non_null(strstr(words, "can do 4 to 5: it is too new"));
    hello.can = (gn_version_range){2, 5}; /* it could, but knows of a version that we cannot do */
    hello.at = 5;
    is_refused_for_its_versions(&a, &hello, false, words);
    assert_non_null(strstr(words, "at version 5, and the gnomond of node 1 can do 2 to 4: it is too old"));
    node_close(&a);
}

static bool was_refused(node *n, void *ctx)
{
    (void)n;
    return refusals("us", "version") > *(uint64_t *)ctx;
}

static void connections_to_older_nodes_end_when_the_version_rises(void **state)
{
    (void)state;
    node a, b;
    uint64_t before = refusals("us", "version");
    node_open(&a, 1, &(gn_mesh_options){.cluster_id = CLUSTER, .versions = {1, 2}});
    node_open(&b, 2, &(gn_mesh_options){.cluster_id = CLUSTER, .versions = {1, 1}});
    introduce(&a, &b);
    gn_mesh_cluster_version(a.mesh, 1);
    send_number(&b, 1, 2, 1, 100);
    assert_true(inbox_wait(&a, 2, 1));
    gn_mesh_cluster_version(a.mesh, 2);
    send_number(&b, 1, 2, 2, 100);
    assert_true(eventually(&b, was_refused, &before));
    assert_int_equal(inbox_frames(&a, 2), 1);
    node_close(&b);
    node_close(&a);
}

/* Sends that and expects to be hung up on. */
static void is_hung_up_on(node *n, bool hello, const void *data, size_t len, bool ends)
{
    gn_buf bytes, answer;
    mesh_hello good = good_hello();
    hello_bytes(&bytes, &good);
    int fd = raw_connect(n);
    if (hello)
        raw_write(fd, bytes.data, bytes.len);
    raw_write(fd, data, len);
    if (ends)
        shutdown(fd, SHUT_WR);
    assert_true(raw_read_to_end(fd, &answer));
    close(fd);
    gn_buf_close(&bytes);
    gn_buf_close(&answer);
}

static void garbage_ends_a_connection_and_nothing_else(void **state)
{
    (void)state;
    node a, b, brief;
    uint8_t garbage[8192], head[MESH_HEAD_BYTES], frame[MESH_HEAD_BYTES + 100];
    node_open(&a, 1, &(gn_mesh_options){.cluster_id = CLUSTER, .hello_ms = 600000}); /* nothing ends by that */
    node_open(&b, 2, NULL);
    node_open(&brief, 3, &(gn_mesh_options){.cluster_id = CLUSTER, .hello_ms = 300});
    introduce(&a, &b);
    send_number(&b, 1, 1, 1, 10);
    assert_true(inbox_wait(&a, 1, 1));
    for (size_t i = 0; i < sizeof garbage; i++)
        garbage[i] = (uint8_t)(i * 131 + 89);
    is_hung_up_on(&a, false, garbage, sizeof garbage, false);
    is_hung_up_on(&a, true, garbage, sizeof garbage, false);
    is_hung_up_on(&a, false, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 28, false);
    is_hung_up_on(&brief, false, "", 0, false); /* silence, for 300 ms */
    is_hung_up_on(&a, false, "", 0, true);
    /* A frame before the hello; one that is longer than any; one that ends early; one whose bytes have changed. */
    gn_mesh_head_write(head, MESH_DATA, 1, (gn_bytes){0});
    is_hung_up_on(&a, false, head, sizeof head, false);
    memcpy(head, "\xff\xff\xff\xff", 4);
    is_hung_up_on(&a, true, head, sizeof head, false);
    memcpy(head, "\x20\0\0\0", 4); /* 512 MiB that never come: no memory is taken for them */
    is_hung_up_on(&a, true, head, sizeof head, true);
    memset(frame, 'x', sizeof frame);
    gn_mesh_head_write(frame, MESH_DATA, 1, gn_bytes_of(frame + MESH_HEAD_BYTES, 100));
    is_hung_up_on(&a, true, frame, 50, true);
    assert_int_equal(inbox_frames(&a, 1), 1);
    frame[60] ^= 1;
    is_hung_up_on(&a, true, frame, sizeof frame, false);
    assert_int_equal(inbox_frames(&a, 1), 1);
    frame[60] ^= 1;
    is_hung_up_on(&a, true, frame, sizeof frame, true);
    assert_true(inbox_wait(&a, 1, 2));
    assert_int_equal(a.inboxes[1].from, 7);
    /* A second hello; a word that there is not. */
    gn_buf again;
    mesh_hello good = good_hello();
    hello_bytes(&again, &good);
    is_hung_up_on(&a, true, again.data, again.len, false);
    gn_buf_close(&again);
    gn_mesh_head_write(head, (mesh_kind)77, 1, (gn_bytes){0});
    is_hung_up_on(&a, true, head, sizeof head, false);
    send_number(&b, 1, 1, 2, 10); /* nobody else has noticed */
    assert_true(inbox_wait(&a, 1, 3));
    node_close(&a);
    node_close(&b);
    node_close(&brief);
}

/* Who takes longer than is allowed for a hello is refused like any other, and tries again. */
static bool gets_in(node *n, void *ctx)
{
    gn_node_id id;
    gn_error err;
    return contact(n, gn_mesh_address(((node *)ctx)->mesh), &id, &err) == GN_OK;
}

static void half_open_connections_are_bounded(void **state)
{
    (void)state;
    enum { N = 100 };
    node a, b;
    int fds[N];
    node_open(&a, 1, &(gn_mesh_options){.cluster_id = CLUSTER, .hello_ms = 500});
    node_open(&b, 2, NULL);
    for (int i = 0; i < N; i++)
        fds[i] = raw_connect(&a);
    for (int i = 0; i < N; i++) {
        gn_buf answer;
        assert_true(raw_read_to_end(fds[i], &answer));
        close(fds[i]);
        gn_buf_close(&answer);
    }
    assert_true(eventually(&b, gets_in, &a));
    node_close(&a);
    node_close(&b);
}

static void a_contact_that_says_nothing(void **state)
{
    (void)state;
    node a, patient;
    gn_node_id id;
    gn_error err = {0};
    char address[64], nobody[64];
    int fd = raw_listen(address, sizeof address), reserved = raw_reserve(nobody, sizeof nobody);
    node_open(&a, 1, &(gn_mesh_options){.cluster_id = CLUSTER, .hello_ms = 300});
    node_open(&patient, 2, &(gn_mesh_options){.cluster_id = CLUSTER, .hello_ms = 600000});
    assert_int_equal(contact(&a, address, &id, &err), GN_CONNECTION_FAILURE);
    assert_non_null(strstr(err.message, "did not say hello in time"));
    assert_int_equal(gn_mesh_contact(patient.mesh, address, gn_now_ns(patient.world) + 20000000, &id, &err),
                     GN_TIMEOUT);
    assert_int_equal(gn_mesh_contact(patient.mesh, address, gn_now_ns(patient.world), &id, &err), GN_TIMEOUT);
    assert_int_equal(contact(&a, nobody, &id, &err), GN_CONNECTION_FAILURE);
    close(fd);
    close(reserved);
    node_close(&a);
    node_close(&patient);
}

/* ---- connections come and go ---- */

typedef struct delivery {
    node *to;
    size_t frames; /* already there */
    uint64_t number;
} delivery;

/* A frame may go out on a connection whose other end is gone already; like whoever sends frames, says it again. */
static bool is_delivered(node *n, void *ctx)
{
    delivery *d = ctx;
    if (inbox_frames(d->to, 2) > d->frames)
        return true;
    send_number(n, d->to->id, 2, ++d->number, 50);
    return false;
}

static void a_peer_that_starts_anew_is_found_at_its_new_address(void **state)
{
    (void)state;
    node a, b;
    node_open(&a, 1, NULL);
    node_open(&b, 2, NULL);
    introduce(&a, &b);
    for (unsigned round = 0; round < 6; round++) {
        assert_true(eventually(&a, is_delivered, &(delivery){.to = &b, .frames = inbox_frames(&b, 2)}));
        assert_true(eventually(&b, is_delivered, &(delivery){.to = &a, .frames = inbox_frames(&a, 2)}));
        node_reopen(round % 2 ? &a : &b, NULL);
        introduce(&a, &b);
    }
    node_close(&a);
    node_close(&b);
}

static bool is_single(node *n, void *ctx)
{
    gn_mesh_peer_status status = peer_status(n, *(gn_node_id *)ctx);
    return status.connected && status.connections == 1;
}

static void one_of_two_simultaneous_connections_is_kept(void **state)
{
    (void)state;
    node a, b;
    gn_node_id one = 1, two = 2;
    node_open(&a, 1, NULL);
    node_open(&b, 2, NULL);
    for (uint64_t round = 1; round <= 50; round++) {
        introduce(&a, &b);
        for (uint64_t i = 1; i <= 5; i++) {
            send_number(&a, 2, 2, round * 10 + i, 3000);
            send_number(&b, 1, 2, round * 10 + i, 3000);
        }
        assert_true(inbox_wait(&a, 2, 5 * round));
        assert_true(inbox_wait(&b, 2, 5 * round));
        assert_true(eventually(&a, is_single, &two));
        assert_true(eventually(&b, is_single, &one));
        assert_int_equal(inbox_frames(&a, 2), 5 * round); /* none twice */
        assert_int_equal(inbox_frames(&b, 2), 5 * round);
        if (round < 50) {
            node_reopen(&a, NULL);
            node_reopen(&b, NULL);
        }
    }
    node_close(&a);
    node_close(&b);
}

/* The time that is allowed is so long since on a busy machine even a live node may say nothing for a while. */
static void an_idle_connection_stays_and_a_dead_one_goes(void **state)
{
    (void)state;
    node a, b;
    gn_mesh_options brisk = {.cluster_id = CLUSTER, .silence_ms = 2000};
    gn_node_id two = 2, seven = 7;
    node_open(&a, 1, &brisk);
    node_open(&b, 2, &brisk);
    introduce(&a, &b);
    send_number(&a, 2, 2, 1, 50);
    assert_true(inbox_wait(&b, 2, 1));
    assert_true(eventually(&a, is_connected, &two));

    gn_buf bytes, answer;
    mesh_hello hello = good_hello();
    hello_bytes(&bytes, &hello);
    int fd = raw_connect(&a);
    raw_write(fd, bytes.data, bytes.len);
    assert_true(eventually(&a, is_connected, &seven));
    assert_true(raw_read_to_end(fd, &answer)); /* it is told that the other lives, until its silence is too long */
    assert_true(answer.len > MESH_HEAD_BYTES + MESH_HELLO_BYTES);
    assert_false(peer_status(&a, 7).connected);
    close(fd);
    gn_buf_close(&bytes);
    gn_buf_close(&answer);
    assert_int_equal(peer_status(&a, 2).connections, 1); /* silent as long, but alive */
    assert_string_equal(peer_status(&a, 2).last_error, "");
    node_close(&a);
    node_close(&b);
}

static bool has_dropped(node *n, void *ctx)
{
    return peer_status(n, 2).frames_dropped == *(uint64_t *)ctx;
}

static bool has_failed(node *n, void *ctx)
{
    (void)ctx;
    return peer_status(n, 2).last_error[0] != 0;
}

static void frames_for_a_peer_that_is_gone_are_dropped_in_time(void **state)
{
    (void)state;
    node a, patient;
    char address[64];
    uint64_t two = 2, three = 3;
    int fd = raw_reserve(address, sizeof address);
    node_open(&a, 1, &(gn_mesh_options){.cluster_id = CLUSTER, .silence_ms = 200, .queue_bytes = 1000});
    node_open(&patient, 3, &(gn_mesh_options){.cluster_id = CLUSTER, .silence_ms = 600000, .queue_bytes = 1000});
    gn_mesh_peer(a.mesh, 2, address);
    gn_mesh_peer(patient.mesh, 2, address);
    send_number(&patient, 2, 2, 1, 2000); /* alone: taken though it is more than the bound */
    assert_int_equal(peer_status(&patient, 2).frames_dropped, 0);
    send_number(&patient, 2, 2, 2, 100); /* there is no room, and none comes */
    assert_int_equal(peer_status(&patient, 2).frames_dropped, 1);
    send_number(&a, 2, 2, 1, 2000);
    send_number(&a, 2, 1, 1, 100);
    assert_true(eventually(&a, has_dropped, &two));
    send_number(&a, 2, 2, 3, 100); /* there is room again */
    assert_true(eventually(&a, has_dropped, &three));
    assert_true(eventually(&a, has_failed, NULL));
    close(fd);
    node_close(&a);
    node_close(&patient);
}

static bool is_said_to_be_gone(node *n, void *ctx)
{
    (void)ctx;
    bool said = true;
    for (uint8_t channel = 1; channel <= 2; channel++) {
        inbox *in = &n->inboxes[channel];
        pthread_mutex_lock(&in->lock);
        said = said && in->gone > 0 && in->from == 2;
        pthread_mutex_unlock(&in->lock);
    }
    return said;
}

/* Its machine refuses the connection, and nothing else is heard of it. */
static void a_peer_whose_process_is_gone_is_said_to_be(void **state)
{
    (void)state;
    node a, b;
    node_open(&a, 1, NULL);
    node_open(&b, 2, NULL);
    introduce(&a, &b);
    send_number(&a, 2, 2, 1, 10);
    assert_true(inbox_wait(&b, 2, 1));
    assert_false(is_said_to_be_gone(&a, NULL));
    node_close(&b);
    assert_true(eventually(&a, is_said_to_be_gone, NULL));
    assert_int_equal(inbox_frames(&a, 1) + inbox_frames(&a, 2), 0);
    node_close(&a);
}

/* ---- pressure ---- */

typedef struct backlog {
    node *to;
    uint64_t sent, most; /* most: the other reads no more than so many while it handles none */
} backlog;

/* Few frames wait, or the other has stopped reading. */
static bool may_send_more(node *n, void *ctx)
{
    const backlog *b = ctx;
    return peer_status(n, b->to->id).frames_out + 4 >= b->sent || peer_status(b->to, n->id).frames_in >= b->most;
}

static void a_receiver_that_does_not_come_to_it_stops_the_sender(void **state)
{
    (void)state;
    enum { FRAMES = 100, READ = 1 + 16, MIB = 1 << 20 };
    node a, b;
    node_open(&a, 1, &(gn_mesh_options){.cluster_id = CLUSTER, .queue_bytes = 8 * MIB, .silence_ms = 2000});
    node_open(&b, 2, &(gn_mesh_options){.cluster_id = CLUSTER, .silence_ms = 2000});
    introduce(&a, &b);
    send_number(&a, 2, 3, 1, 100);
    assert_true(inbox_wait(&b, 3, 1));
    inbox_shut(&b, 3, true);
    uint64_t sent = 1;
    for (; peer_status(&a, 2).frames_dropped == 0 && sent < FRAMES * 10; sent++) {
        assert_true(eventually(&a, may_send_more, &(backlog){.to = &b, .sent = sent, .most = READ}));
        send_number(&a, 2, 3, sent + 1, MIB);
    }
    assert_true(sent > READ && sent < FRAMES);
    send_number(&a, 2, 1, 1, 100); /* the other classes flow */
    assert_true(inbox_wait(&b, 1, 1));
    gn_event never;
    gn_event_init(&never, a.world);
    gn_event_wait(&never, gn_now_ns(a.world) + 2600000000); /* longer than silence is borne */
    inbox_shut(&b, 3, false);
    uint64_t dropped = peer_status(&a, 2).frames_dropped;
    assert_true(inbox_wait(&b, 3, sent - dropped));
    assert_int_equal(b.inboxes[3].disorder + b.inboxes[3].damaged, 0);
    assert_int_equal(peer_status(&a, 2).frames_dropped, dropped);
    assert_int_equal(inbox_frames(&b, 3), sent - dropped);
    send_number(&a, 2, 3, 10000, MIB);
    assert_true(inbox_wait(&b, 3, sent - dropped + 1));
    node_close(&a);
    node_close(&b);
}

typedef struct talker {
    node *from;
    gn_node_id to;
    _Atomic bool stop;
} talker;

static void talk(void *arg)
{
    talker *t = arg;
    for (uint64_t i = 1; !t->stop; i++)
        for (uint8_t channel = 1; channel <= 3; channel++)
            send_number(t->from, t->to, channel, i, i % 50 ? 300 : 300000);
}

static void a_mesh_closes_while_frames_flow(void **state)
{
    (void)state;
    node a, b;
    node_open(&a, 1, NULL);
    node_open(&b, 2, NULL);
    talker talkers[] = {{.from = &a, .to = 2}, {.from = &b, .to = 1}};
    introduce(&a, &b);
    gn_strand *one = gn_strand_start(a.world, "talker", talk, &talkers[0]);
    gn_strand *two = gn_strand_start(b.world, "talker", talk, &talkers[1]);
    for (unsigned round = 0; round < 10; round++) {
        size_t before = inbox_frames(&a, 2);
        assert_true(inbox_wait(&a, 2, before + 20));
        node_reopen(round % 2 ? &a : &b, NULL);
        introduce(&a, &b);
    }
    talkers[0].stop = talkers[1].stop = true;
    gn_strand_join(one);
    gn_strand_join(two);
    node_close(&b);
    node_close(&a);
}

static size_t count_descriptors(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static bool has_descriptors(node *n, void *ctx)
{
    (void)n;
    return count_descriptors() <= *(size_t *)ctx; /* what tests before have closed may still have been there */
}

static void a_closed_mesh_leaves_nothing_open(void **state)
{
    (void)state;
    node a, b, stays;
    gn_node_id id;
    gn_error err;
    node_open(&stays, 3, NULL);
    size_t before = count_descriptors();
    for (unsigned round = 0; round < 20; round++) {
        node_open(&a, 1, NULL);
        node_open(&b, 2, NULL);
        introduce(&a, &b);
        send_number(&a, 2, 1, 1, 100);
        send_number(&a, 2, 3, 1, 100000);
        assert_true(inbox_wait(&b, 1, 1));
        assert_int_equal(contact(&b, gn_mesh_address(a.mesh), &id, &err), GN_OK);
        node_close(&a);
        node_close(&b);
    }
    assert_true(eventually(&stays, has_descriptors, &before)); /* NNG closes in a thread of its own */
    node_close(&stays);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_go_both_ways_in_order_in_each_class),
        cmocka_unit_test(frames_to_nobody_and_to_oneself),
        cmocka_unit_test(a_hundred_thousand_small_frames_arrive),
        cmocka_unit_test(a_frame_of_64_mib_arrives_and_nobody_sends_an_empty_one),
        cmocka_unit_test(other_clusters_and_wrong_numbers_are_refused),
        cmocka_unit_test(another_node_at_the_address_is_refused),
        cmocka_unit_test(strangers_are_let_in_only_where_they_may),
        cmocka_unit_test(addresses_that_cannot_be),
        cmocka_unit_test(a_protocol_of_another_time_is_refused),
        cmocka_unit_test(a_node_that_cannot_do_the_clusters_version_is_refused),
        cmocka_unit_test(connections_to_older_nodes_end_when_the_version_rises),
        cmocka_unit_test(garbage_ends_a_connection_and_nothing_else),
        cmocka_unit_test(half_open_connections_are_bounded),
        cmocka_unit_test(a_contact_that_says_nothing),
        cmocka_unit_test(a_peer_that_starts_anew_is_found_at_its_new_address),
        cmocka_unit_test(one_of_two_simultaneous_connections_is_kept),
        cmocka_unit_test(an_idle_connection_stays_and_a_dead_one_goes),
        cmocka_unit_test(frames_for_a_peer_that_is_gone_are_dropped_in_time),
        cmocka_unit_test(a_peer_whose_process_is_gone_is_said_to_be),
        cmocka_unit_test(a_receiver_that_does_not_come_to_it_stops_the_sender),
        cmocka_unit_test(a_mesh_closes_while_frames_flow),
        cmocka_unit_test(a_closed_mesh_leaves_nothing_open),
    };
    gn_log_configure(getenv("GN_TEST_LOG") ? GN_LOG_INFO : GN_LOG_OFF, false, STDERR_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
