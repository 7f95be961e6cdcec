/* Nodes over TLS: who is let in, who is not, and why. */
#include "base/log.h"
#include "net/certificates.h"
#include "tests/net/fixture.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { HELLO_MS = 60000 }; /* nobody is refused for being slow */

/* ---- files: three authorities' worth ---- */

static char dir[100];

typedef struct files {
    char ca[150], cert[150], key[150];
} files;

static files good, other_ca, expired, elsewhere, both_cas;

static const char *path(const char *name)
{
    static char paths[8][150];
    static unsigned next;
    char *p = paths[next++ % 8];
    snprintf(p, 150, "%s/%.40s", dir, name);
    return p;
}

static void make_authority(const char *name)
{
    char cert[40], key[40];
    gn_error err = {0};
    snprintf(cert, sizeof cert, "%s.pem", name);
    snprintf(key, sizeof key, "%s.key", name);
    gn_certificate_request request = {.cert = path(cert), .key = path(key), .name = name, .days = 30};
    assert_int_equal(gn_certificates_authority(&request, &err), GN_OK);
}

static files make_node(const char *name, const char *ca, const char *host, int64_t from_s)
{
    files f;
    gn_error err = {0};
    char ca_key[150];
    snprintf(ca_key, sizeof ca_key, "%s/%s.key", dir, ca);
    snprintf(f.ca, sizeof f.ca, "%s/%s.pem", dir, ca);
    snprintf(f.cert, sizeof f.cert, "%s/%s.pem", dir, name);
    snprintf(f.key, sizeof f.key, "%s/%s.key", dir, name);
    gn_certificate_request request = {
        .cert = f.cert, .key = f.key, .name = name, .days = 5, .from_s = from_s, .hosts = &host, .n_hosts = 1};
    assert_int_equal(gn_certificates_node(&request, f.ca, ca_key, &err), GN_OK);
    return f;
}

static int make_files(void **state)
{
    (void)state;
    char command[500];
    snprintf(dir, sizeof dir, "%s/gnomon-tls-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(dir))
        return -1;
    make_authority("ca");
    make_authority("second");
    good = make_node("good", "ca", "127.0.0.1", 0);
    expired = make_node("expired", "ca", "127.0.0.1", time(NULL) - 10 * 86400);
    elsewhere = make_node("elsewhere", "ca", "node.example", 0);
    other_ca = make_node("other", "second", "127.0.0.1", 0);
    both_cas = good;
    snprintf(both_cas.ca, sizeof both_cas.ca, "%s/both.pem", dir);
    snprintf(command, sizeof command, "cat '%s/second.pem' '%s/ca.pem' > '%s/both.pem'", dir, dir, dir);
    return system(command);
}

static int remove_files(void **state)
{
    (void)state;
    char command[150];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static gn_mesh_options with(const files *f)
{
    return (gn_mesh_options){
        .cluster_id = CLUSTER, .tls_ca = f->ca, .tls_cert = f->cert, .tls_key = f->key, .hello_ms = HELLO_MS};
}

static void open_with(node *n, gn_node_id id, const files *f)
{
    gn_mesh_options options = with(f);
    node_open(n, id, &options);
}

/* ---- what works ---- */

static void frames_flow_between_nodes_with_certificates(void **state)
{
    (void)state;
    node a, b;
    open_with(&a, 1, &good);
    open_with(&b, 2, &good);
    introduce(&a, &b);
    for (uint64_t i = 1; i <= 2000; i++)
        for (uint8_t channel = 1; channel <= 3; channel++) {
            send_number(&a, 2, channel, i, i * 37 % 2000);
            send_number(&b, 1, channel, i, i * 41 % 2000);
        }
    send_number(&a, 2, 3, 3000, 32u << 20);
    for (uint8_t channel = 1; channel <= 3; channel++) {
        assert_true(inbox_wait(&a, channel, 2000));
        assert_true(inbox_wait(&b, channel, channel == 3 ? 2001 : 2000));
        assert_int_equal(a.inboxes[channel].damaged + b.inboxes[channel].damaged, 0);
    }
    node_close(&a);
    node_close(&b);
}

static void several_authorities_and_a_change_of_them(void **state)
{
    (void)state;
    node a, b, c;
    gn_node_id id;
    gn_error err;
    files second_knows_both = other_ca;
    snprintf(second_knows_both.ca, sizeof second_knows_both.ca, "%s", both_cas.ca);
    open_with(&a, 1, &both_cas);
    open_with(&b, 2, &second_knows_both);
    open_with(&c, 3, &good);
    assert_int_equal(contact(&a, gn_mesh_address(b.mesh), &id, &err), GN_OK);
    assert_int_equal(contact(&b, gn_mesh_address(a.mesh), &id, &err), GN_OK);
    assert_int_equal(contact(&c, gn_mesh_address(a.mesh), &id, &err), GN_OK);
    assert_int_equal(contact(&c, gn_mesh_address(b.mesh), &id, &err), GN_CONNECTION_FAILURE);
    node_close(&a);
    node_close(&b);
    node_close(&c);
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
    gn_mesh_options options = with(&good);
    open_with(&a, 1, &good);
    open_with(&b, 2, &good);
    for (uint64_t round = 1; round <= 10; round++) {
        introduce(&a, &b);
        send_number(&a, 2, 2, round, 3000);
        send_number(&b, 1, 2, round, 3000);
        assert_true(inbox_wait(&a, 2, round));
        assert_true(inbox_wait(&b, 2, round));
        assert_true(eventually(&a, is_single, &two));
        assert_true(eventually(&b, is_single, &one));
        node_reopen(&a, &options);
        node_reopen(&b, &options);
    }
    node_close(&a);
    node_close(&b);
}

static void a_receiver_that_does_not_come_to_it_stops_the_sender(void **state)
{
    (void)state;
    node a, b;
    gn_mesh_options options = with(&good);
    options.queue_bytes = 4u << 20;
    node_open(&a, 1, &options);
    node_open(&b, 2, &options);
    introduce(&a, &b);
    inbox_shut(&b, 3, true);
    uint64_t sent = 0;
    for (; peer_status(&a, 2).frames_dropped == 0 && sent < 2000; sent++)
        send_number(&a, 2, 3, sent + 1, 1u << 20);
    inbox_shut(&b, 3, false);
    assert_true(inbox_wait(&b, 3, sent - peer_status(&a, 2).frames_dropped));
    assert_int_equal(b.inboxes[3].disorder + b.inboxes[3].damaged, 0);
    node_close(&a);
    node_close(&b);
}

/* ---- who is not let in ---- */

/* Neither way; the one who dials learns it, and soon. */
static void cannot_meet(const files *x, const files *y)
{
    node a, b;
    gn_node_id id;
    gn_error err;
    open_with(&a, 1, x);
    open_with(&b, 2, y);
    assert_int_equal(contact(&a, gn_mesh_address(b.mesh), &id, &err), GN_CONNECTION_FAILURE);
    assert_null(strstr(err.message, "in time"));
    assert_int_equal(contact(&b, gn_mesh_address(a.mesh), &id, &err), GN_CONNECTION_FAILURE);
    assert_null(strstr(err.message, "in time"));
    assert_false(peer_status(&a, 2).connected || peer_status(&b, 1).connected);
    node_close(&a);
    node_close(&b);
}

static void another_authority_is_refused(void **state)
{
    (void)state;
    cannot_meet(&good, &other_ca);
}

static void an_expired_certificate_is_refused(void **state)
{
    (void)state;
    cannot_meet(&good, &expired);
}

static void plain_and_tls_do_not_mix(void **state)
{
    (void)state;
    node a, b;
    gn_node_id id;
    gn_error err;
    open_with(&a, 1, &good);
    node_open(&b, 2, &(gn_mesh_options){.cluster_id = CLUSTER, .hello_ms = HELLO_MS});
    assert_int_equal(contact(&a, gn_mesh_address(b.mesh), &id, &err), GN_CONNECTION_FAILURE);
    assert_int_equal(contact(&b, gn_mesh_address(a.mesh), &id, &err), GN_CONNECTION_FAILURE);
    node_close(&a);
    node_close(&b);
}

static void a_certificate_of_another_host_is_refused(void **state)
{
    (void)state;
    node a, b;
    gn_node_id id;
    gn_error err;
    open_with(&a, 1, &good);
    open_with(&b, 2, &elsewhere);
    assert_int_equal(contact(&a, gn_mesh_address(b.mesh), &id, &err), GN_CONNECTION_FAILURE);
    assert_non_null(strstr(err.message, "certificate of the other side was not accepted"));
    /* Whoever dials is asked for no name: it may come from anywhere. */
    assert_int_equal(contact(&b, gn_mesh_address(a.mesh), &id, &err), GN_OK);
    assert_int_equal(id, 1);
    node_close(&a);
    node_close(&b);
}

/* A client of our own making; true if it can say and hear anything. */
static bool client_gets_in(node *n, int version, bool certificate)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(ctx, version);
    if (certificate) {
        assert_int_equal(SSL_CTX_use_certificate_file(ctx, good.cert, SSL_FILETYPE_PEM), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, good.key, SSL_FILETYPE_PEM), 1);
    }
    SSL *ssl = SSL_new(ctx);
    int fd = raw_connect(n);
    SSL_set_fd(ssl, fd);
    gn_buf hello;
    gn_buf_init(&hello, NULL, 4096);
    mesh_hello words = {.version_min = 1,
                        .version_max = 1,
                        .can = {1, 1},
                        .class = MESH_REQUESTS,
                        .in_cluster = true,
                        .from = 7,
                        .to = n->id,
                        .incarnation = 5,
                        .number = 1};
    for (unsigned i = 0; i < 16; i++)
        words.cluster[i] = (uint8_t)(i * 17);
    gn_mesh_hello_write(&hello, &words);
    uint8_t answer[MESH_HEAD_BYTES];
    bool in = SSL_connect(ssl) == 1 && SSL_write(ssl, hello.data, (int)hello.len) == (int)hello.len &&
              SSL_read(ssl, answer, sizeof answer) == (int)sizeof answer;
    gn_buf_close(&hello);
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return in;
}

static void a_client_needs_tls_1_3_and_a_certificate(void **state)
{
    (void)state;
    node a;
    open_with(&a, 1, &good);
    assert_true(client_gets_in(&a, TLS1_3_VERSION, true));
    assert_false(client_gets_in(&a, TLS1_3_VERSION, false));
    assert_false(client_gets_in(&a, TLS1_2_VERSION, true));
    assert_true(client_gets_in(&a, TLS1_3_VERSION, true));
    node_close(&a);
}

static void files_that_are_no_identity(void **state)
{
    (void)state;
    gn_world *world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 5});
    gn_mesh *mesh;
    gn_error err = {0};
    files bad[5] = {good, good, good, good, good};
    snprintf(bad[0].key, sizeof bad[0].key, "%s", other_ca.key);
    snprintf(bad[1].ca, sizeof bad[1].ca, "%s", good.key);
    snprintf(bad[2].cert, sizeof bad[2].cert, "%s", good.key);
    snprintf(bad[3].key, sizeof bad[3].key, "/dev/null");
    snprintf(bad[4].ca, sizeof bad[4].ca, "/nowhere/ca.pem");
    for (unsigned i = 0; i < 5; i++) {
        gn_mesh_options options = with(&bad[i]);
        options.listen = "127.0.0.1:0";
        assert_int_equal(gn_mesh_open(world, &options, &mesh, &err), GN_CONFIGURATION);
        assert_true(strlen(err.message) > 10);
    }
    gn_world_real_destroy(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_flow_between_nodes_with_certificates),
        cmocka_unit_test(several_authorities_and_a_change_of_them),
        cmocka_unit_test(one_of_two_simultaneous_connections_is_kept),
        cmocka_unit_test(a_receiver_that_does_not_come_to_it_stops_the_sender),
        cmocka_unit_test(another_authority_is_refused),
        cmocka_unit_test(an_expired_certificate_is_refused),
        cmocka_unit_test(plain_and_tls_do_not_mix),
        cmocka_unit_test(a_certificate_of_another_host_is_refused),
        cmocka_unit_test(a_client_needs_tls_1_3_and_a_certificate),
        cmocka_unit_test(files_that_are_no_identity),
    };
    gn_log_configure(getenv("GN_TEST_LOG") ? GN_LOG_INFO : GN_LOG_OFF, false, STDERR_FILENO);
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
