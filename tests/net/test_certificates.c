/* What the certificate maker writes, and what it will not. */
#include "net/certificates.h"
#include "tests/base/cmocka_all.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[100];

static const char *in_dir(const char *name)
{
    static char paths[8][200];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, 200, "%s/%s", dir, name);
    return path;
}

static gn_code authority(const char *name, gn_error *err)
{
    char cert[100], key[100];
    snprintf(cert, sizeof cert, "%s.pem", name);
    snprintf(key, sizeof key, "%s.key", name);
    gn_certificate_request request = {.cert = in_dir(cert), .key = in_dir(key), .name = name, .days = 30};
    return gn_certificates_authority(&request, err);
}

static gn_code node_certificate(const char *host, const char *ca, gn_error *err)
{
    char ca_cert[100], ca_key[100];
    snprintf(ca_cert, sizeof ca_cert, "%s.pem", ca);
    snprintf(ca_key, sizeof ca_key, "%s.key", ca);
    gn_certificate_request request = {.cert = in_dir("node.pem"),
                                      .key = in_dir("node.key"),
                                      .name = "node",
                                      .days = 10,
                                      .hosts = (const char *[]){"127.0.0.1", host, "::1"},
                                      .n_hosts = 3};
    return gn_certificates_node(&request, in_dir(ca_cert), in_dir(ca_key), err);
}

static void remove_node_files(void)
{
    unlink(in_dir("node.pem"));
    unlink(in_dir("node.key"));
}

static X509 *read_cert(const char *name)
{
    FILE *file = fopen(in_dir(name), "re");
    assert_non_null(file);
    X509 *cert = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(cert);
    return cert;
}

static void a_node_certificate_is_good_for_both_ends_and_its_hosts(void **state)
{
    (void)state;
    gn_error err = {0};
    struct stat st;
    assert_int_equal(authority("ca", &err), GN_OK);
    assert_int_equal(node_certificate("node-1.example", "ca", &err), GN_OK);
    X509 *ca = read_cert("ca.pem"), *node = read_cert("node.pem");
    X509_STORE *store = X509_STORE_new();
    X509_STORE_add_cert(store, ca);
    static const int purposes[] = {X509_PURPOSE_SSL_CLIENT, X509_PURPOSE_SSL_SERVER};
    for (unsigned i = 0; i < 2; i++) {
        X509_STORE_CTX *ctx = X509_STORE_CTX_new();
        X509_STORE_CTX_init(ctx, store, node, NULL);
        X509_STORE_CTX_set_purpose(ctx, purposes[i]);
        X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT);
        assert_int_equal(X509_verify_cert(ctx), 1);
        X509_STORE_CTX_free(ctx);
    }
    assert_int_equal(X509_check_host(node, "node-1.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(node, "node-2.example", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(node, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(node, "::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(node, "127.0.0.2", 0), 0);
    assert_int_equal(X509_check_ca(node), 0);
    int days, seconds;
    ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(node), X509_get0_notAfter(node));
    assert_int_equal(days, 10);
    assert_int_equal(stat(in_dir("node.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(in_dir("ca.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    X509_STORE_free(store);
    X509_free(ca);
    X509_free(node);
    remove_node_files();
}

static void nothing_is_overwritten_and_no_half_is_left(void **state)
{
    (void)state;
    gn_error err = {0};
    assert_int_equal(authority("ca", &err), GN_CONFIGURATION);
    assert_non_null(strstr(err.message, "File exists"));
    FILE *file = fopen(in_dir("node.pem"), "we");
    fclose(file);
    assert_int_equal(node_certificate("x", "ca", &err), GN_CONFIGURATION);
    assert_int_equal(access(in_dir("node.key"), F_OK), -1);
    remove_node_files();
}

static void what_cannot_be_asked_for(void **state)
{
    (void)state;
    gn_error err = {0};
    assert_int_equal(node_certificate("two words", "ca", &err), GN_CONFIGURATION);
    assert_int_equal(node_certificate("a,DNS:evil", "ca", &err), GN_CONFIGURATION);
    assert_int_equal(node_certificate("", "ca", &err), GN_CONFIGURATION);
    assert_int_equal(node_certificate("x", "nobody", &err), GN_CONFIGURATION);
    assert_int_equal(node_certificate("x", "ca", &err), GN_OK);
    assert_int_equal(rename(in_dir("node.key"), in_dir("leaf.key")), 0);
    assert_int_equal(rename(in_dir("node.pem"), in_dir("leaf.pem")), 0);
    assert_int_equal(node_certificate("x", "leaf", &err), GN_CONFIGURATION); /* signs nobody */
    assert_int_equal(authority("other", &err), GN_OK);
    assert_int_equal(rename(in_dir("other.key"), in_dir("ca2.key")), 0);
    assert_int_equal(link(in_dir("ca.pem"), in_dir("ca2.pem")), 0);
    assert_int_equal(node_certificate("x", "ca2", &err), GN_CONFIGURATION); /* another's key */
    gn_certificate_request request = {.cert = in_dir("a.pem"), .key = in_dir("a.key"), .name = "a"};
    assert_int_equal(gn_certificates_authority(&request, &err), GN_CONFIGURATION); /* no days */
    request.days = 1;
    request.name = "";
    assert_int_equal(gn_certificates_authority(&request, &err), GN_CONFIGURATION);
    request.name = "a";
    request.key = in_dir("missing/a.key");
    assert_int_equal(gn_certificates_authority(&request, &err), GN_IO);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s/gnomon-certs-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[150];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_certificate_is_good_for_both_ends_and_its_hosts),
        cmocka_unit_test(nothing_is_overwritten_and_no_half_is_left),
        cmocka_unit_test(what_cannot_be_asked_for),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
