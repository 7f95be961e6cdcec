/* An engine for NNG's TLS streams (nng/supplemental/tls/engine.h). Debian's NNG comes with mbedTLS 2, which has no TLS
 * 1.3; an engine may be registered at run time. NNG moves the bytes and holds a connection's lock around every call
 * here; OpenSSL reads and writes through a BIO that asks NNG, so that nothing is buffered twice.
 *
 * NNG may ask to send or receive before the handshake is done, and starts it by nothing else: so both drive it. */
#include "base/log.h"
#include "base/memory.h"
#include "net/tls_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <nng/supplemental/tls/engine.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One record, with what it costs, fits NNG's buffer of 16 KiB: more would be written in two turns. */
#define RECORD_BYTES 16000

struct nng_tls_engine_config {
    SSL_CTX *ctx;
    char *host; /* the name or address that the other's certificate must bear; NULL: any */
    bool client;
};

struct nng_tls_engine_conn {
    SSL *ssl; /* NULL until conn_init: NNG ends connections that it never began */
    void *tls;
    bool ready;
    int failure; /* NNG's number of the first; every later call gives it again */
};

static BIO_METHOD *bio_method;

/* ---- what OpenSSL says ---- */

static void openssl_words(char *out, size_t size)
{
    unsigned long code = ERR_peek_last_error();
    if (code)
        ERR_error_string_n(code, out, size);
    else
        snprintf(out, size, "no further words from OpenSSL");
    ERR_clear_error();
}

static int conn_failed(nng_tls_engine_conn *conn, const char *doing)
{
    char words[200];
    long verified = SSL_get_verify_result(conn->ssl);
    conn->failure = verified == X509_V_OK ? NNG_ECRYPTO : NNG_EPEERAUTH;
    openssl_words(words, sizeof words);
    gn_log_warn("net", "TLS failed", GN_KV_STR("doing", doing), GN_KV_STR("error", words),
                GN_KV_STR("certificate", verified == X509_V_OK ? "ok" : X509_verify_cert_error_string(verified)),
                GN_KV_STR("side", SSL_is_server(conn->ssl) ? "server" : "client"));
    return conn->failure;
}

/* What an unsuccessful call means to NNG. */
static int conn_result(nng_tls_engine_conn *conn, int rv, const char *doing)
{
    switch (SSL_get_error(conn->ssl, rv)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return NNG_EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return conn->failure = NNG_ECLOSED;
    case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        return conn->failure = NNG_ECONNSHUT;
    default:
        return conn_failed(conn, doing);
    }
}

/* ---- the BIO: bytes from and to NNG ---- */

static int bio_write(BIO *bio, const char *data, int len)
{
    size_t n = len > 0 ? (size_t)len : 0;
    BIO_clear_retry_flags(bio);
    int rv = nng_tls_engine_send(BIO_get_data(bio), (const uint8_t *)data, &n);
    if (rv == 0)
        return (int)n;
    if (rv == NNG_EAGAIN)
        BIO_set_retry_write(bio);
    return -1;
}

static int bio_read(BIO *bio, char *data, int len)
{
    size_t n = len > 0 ? (size_t)len : 0;
    BIO_clear_retry_flags(bio);
    int rv = nng_tls_engine_recv(BIO_get_data(bio), (uint8_t *)data, &n);
    if (rv == 0)
        return (int)n;
    if (rv == NNG_EAGAIN)
        BIO_set_retry_read(bio);
    return -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static bool make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "nng");
    return bio_method && BIO_meth_set_write(bio_method, bio_write) == 1 &&
           BIO_meth_set_read(bio_method, bio_read) == 1 && BIO_meth_set_ctrl(bio_method, bio_ctrl) == 1 &&
           BIO_meth_set_create(bio_method, bio_create) == 1;
}

/* ---- connections ---- */

static bool is_ip(const char *host)
{
    uint8_t address[16];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static bool expect_host(SSL *ssl, const char *host)
{
    if (is_ip(host))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

static int conn_init(nng_tls_engine_conn *conn, void *tls, nng_tls_engine_config *config)
{
    ERR_clear_error();
    BIO *bio = BIO_new(bio_method);
    conn->tls = tls;
    conn->ssl = SSL_new(config->ctx);
    if (!bio || !conn->ssl || (config->host && !expect_host(conn->ssl, config->host))) {
        BIO_free(bio);
        ERR_clear_error();
        return NNG_ENOMEM;
    }
    BIO_set_data(bio, tls);
    SSL_set_bio(conn->ssl, bio, bio); /* the connection's now, both uses of it */
    if (config->client)
        SSL_set_connect_state(conn->ssl);
    else
        SSL_set_accept_state(conn->ssl);
    return 0;
}

static void conn_fini(nng_tls_engine_conn *conn)
{
    SSL_free(conn->ssl);
    conn->ssl = NULL;
}

static void conn_close(nng_tls_engine_conn *conn)
{
    ERR_clear_error();
    if (conn->ssl && conn->ready && !conn->failure)
        SSL_shutdown(conn->ssl);
    ERR_clear_error();
}

static int conn_handshake(nng_tls_engine_conn *conn)
{
    if (conn->failure)
        return conn->failure;
    if (conn->ready)
        return 0;
    ERR_clear_error();
    int rv = SSL_do_handshake(conn->ssl);
    if (rv != 1)
        return conn_result(conn, rv, "handshake");
    conn->ready = true;
    return 0;
}

static int conn_recv(nng_tls_engine_conn *conn, uint8_t *data, size_t *len)
{
    int rv = conn_handshake(conn);
    if (rv != 0)
        return rv;
    ERR_clear_error();
    size_t n;
    rv = SSL_read_ex(conn->ssl, data, *len, &n);
    if (rv != 1)
        return conn_result(conn, rv, "receiving");
    *len = n;
    return 0;
}

static int conn_send(nng_tls_engine_conn *conn, const uint8_t *data, size_t *len)
{
    int rv = conn_handshake(conn);
    if (rv != 0)
        return rv;
    ERR_clear_error();
    size_t n;
    rv = SSL_write_ex(conn->ssl, data, *len < RECORD_BYTES ? *len : RECORD_BYTES, &n);
    if (rv != 1)
        return conn_result(conn, rv, "sending");
    *len = n;
    return 0;
}

static bool conn_verified(nng_tls_engine_conn *conn)
{
    return conn->ssl && conn->ready && SSL_get_verify_result(conn->ssl) == X509_V_OK &&
           SSL_get0_peer_certificate(conn->ssl);
}

/* ---- configurations ---- */

static void config_fini(nng_tls_engine_config *config)
{
    SSL_CTX_free(config->ctx);
    free(config->host);
}

static int config_init(nng_tls_engine_config *config, nng_tls_mode mode)
{
    ERR_clear_error();
    config->client = mode == NNG_TLS_MODE_CLIENT;
    config->ctx = SSL_CTX_new(config->client ? TLS_client_method() : TLS_server_method());
    if (!config->ctx || SSL_CTX_set_min_proto_version(config->ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_num_tickets(config->ctx, 0) != 1) {
        SSL_CTX_free(config->ctx);
        ERR_clear_error();
        return NNG_ENOMEM;
    }
    SSL_CTX_set_session_cache_mode(config->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(config->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    /* A write that waits is tried again by NNG with the same bytes, which may have moved. */
    SSL_CTX_set_mode(config->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return 0;
}

static int config_server(nng_tls_engine_config *config, const char *host)
{
    free(config->host);
    config->host = gn_xstrdup(host);
    return 0;
}

/* Nobody without a certificate: nodes of a cluster are all alike. */
static int config_auth(nng_tls_engine_config *config, nng_tls_auth_mode mode)
{
    (void)config;
    return mode == NNG_TLS_AUTH_MODE_REQUIRED ? 0 : NNG_ENOTSUP;
}

/* Gives each certificate of a PEM text to `take`, which owns it if it returns true. How many; -1 for a bad one. */
static int each_certificate(const char *pem, bool (*take)(SSL_CTX *ctx, X509 *cert, int nth), SSL_CTX *ctx)
{
    int n = 0;
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(pem, -1);
    for (X509 *cert; bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL; n++) {
        X509_check_purpose(cert, -1, 0); /* has its extensions read now, not when connections share it */
        if (!take(ctx, cert, n)) {
            X509_free(cert);
            n = -1;
            break;
        }
    }
    bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE; /* as every text ends */
    BIO_free(bio);
    if (end)
        ERR_clear_error();
    return end && n >= 0 ? n : -1;
}

static bool take_trusted(SSL_CTX *ctx, X509 *cert, int nth)
{
    (void)nth;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) != 1)
        return false;
    X509_free(cert); /* the store has its own reference */
    return true;
}

static bool take_own(SSL_CTX *ctx, X509 *cert, int nth)
{
    if (nth > 0)
        return SSL_CTX_add0_chain_cert(ctx, cert) == 1;
    if (SSL_CTX_use_certificate(ctx, cert) != 1)
        return false;
    X509_free(cert);
    return true;
}

static int config_ca_chain(nng_tls_engine_config *config, const char *pem, const char *crl)
{
    return !crl && each_certificate(pem, take_trusted, config->ctx) > 0 ? 0 : NNG_ECRYPTO;
}

/* Nobody is asked for a password on a terminal. */
static int no_password(char *out, int size, int writing, void *ctx)
{
    (void)out, (void)size, (void)writing, (void)ctx;
    return -1;
}

static int config_own_cert(nng_tls_engine_config *config, const char *cert, const char *key, const char *password)
{
    (void)password;
    if (each_certificate(cert, take_own, config->ctx) <= 0)
        return NNG_ECRYPTO;
    BIO *bio = BIO_new_mem_buf(key, -1);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    bool ok = pkey && SSL_CTX_use_PrivateKey(config->ctx, pkey) == 1;
    EVP_PKEY_free(pkey);
    return ok ? 0 : NNG_ECRYPTO;
}

static int config_version(nng_tls_engine_config *config, nng_tls_version min, nng_tls_version max)
{
    (void)config;
    return min <= NNG_TLS_1_3 && max >= NNG_TLS_1_3 ? 0 : NNG_ENOTSUP;
}

/* ---- the engine ---- */

static nng_tls_engine_config_ops config_ops = {.size = sizeof(nng_tls_engine_config),
                                               .init = config_init,
                                               .fini = config_fini,
                                               .server = config_server,
                                               .auth = config_auth,
                                               .ca_chain = config_ca_chain,
                                               .own_cert = config_own_cert,
                                               .version = config_version};
static nng_tls_engine_conn_ops conn_ops = {.size = sizeof(nng_tls_engine_conn),
                                           .init = conn_init,
                                           .fini = conn_fini,
                                           .close = conn_close,
                                           .handshake = conn_handshake,
                                           .recv = conn_recv,
                                           .send = conn_send,
                                           .verified = conn_verified};
static nng_tls_engine engine = {.version = NNG_TLS_ENGINE_VERSION,
                                .config_ops = &config_ops,
                                .conn_ops = &conn_ops,
                                .name = "gnomon-openssl",
                                .description = "OpenSSL 3, TLS 1.3"};
static pthread_once_t registered = PTHREAD_ONCE_INIT;
static bool usable;

/* NNG's own start sets its own engine, so it must come first. NNG's threads may free what is OpenSSL's while main
 * returns: OpenSSL must not clean up at that time. */
static void register_engine(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    (void)nng_tls_engine_name();
    usable = make_bio_method() && nng_tls_engine_register(&engine) == 0;
}

gn_code gn_tls_engine_use(gn_error *err)
{
    pthread_once(&registered, register_engine);
    return usable ? GN_OK : gn_error_set(err, GN_IO, "this build of NNG takes no TLS engine");
}

/* ---- identities ---- */

#define MAX_PEM (1u << 20)

static gn_code read_pem(const char *path, char **out, gn_error *err)
{
    gn_code code = GN_OK;
    char *text = NULL;
    FILE *file = fopen(path, "re");
    if (!file)
        return gn_error_errno(err, GN_CONFIGURATION, errno, "could not open \"%s\"", path);
    text = gn_xcalloc(1, MAX_PEM + 1);
    size_t n = fread(text, 1, MAX_PEM + 1, file);
    if (ferror(file))
        code = gn_error_errno(err, GN_CONFIGURATION, errno, "could not read \"%s\"", path);
    else if (n > MAX_PEM || strlen(text) != n)
        code = gn_error_set(err, GN_CONFIGURATION, "\"%s\" is not a PEM file", path);
    else
        *out = gn_xstrdup(text);
    OPENSSL_cleanse(text, MAX_PEM);
    free(text);
    fclose(file);
    return code;
}

static gn_code complain(gn_error *err, const char *what, const char *path)
{
    char words[200];
    openssl_words(words, sizeof words);
    gn_error_set(err, GN_CONFIGURATION, "\"%s\" %s", path, what);
    gn_error_detail(err, "%s", words);
    return GN_CONFIGURATION;
}

static gn_code check_identity(const gn_tls_identity *identity, const char *ca, const char *cert, const char *key,
                              gn_error *err)
{
    gn_code code = GN_OK;
    nng_tls_engine_config config = {0};
    if (config_init(&config, NNG_TLS_MODE_SERVER) != 0)
        return gn_error_set(err, GN_IO, "OpenSSL cannot do TLS 1.3");
    if (config_ca_chain(&config, identity->ca, NULL) != 0)
        code = complain(err, "holds no certificate of an authority", ca);
    else if (each_certificate(identity->cert, take_own, config.ctx) <= 0)
        code = complain(err, "holds no certificate that can be used", cert);
    else if (config_own_cert(&config, identity->cert, identity->key, NULL) != 0 ||
             SSL_CTX_check_private_key(config.ctx) != 1)
        code = complain(err, "does not hold the private key of the certificate, without a password", key);
    config_fini(&config);
    return code;
}

gn_code gn_tls_identity_load(gn_tls_identity *identity, const char *ca, const char *cert, const char *key,
                             gn_error *err)
{
    *identity = (gn_tls_identity){0};
    gn_code code = gn_tls_engine_use(err);
    if (code == GN_OK)
        code = read_pem(ca, &identity->ca, err);
    if (code == GN_OK)
        code = read_pem(cert, &identity->cert, err);
    if (code == GN_OK)
        code = read_pem(key, &identity->key, err);
    if (code == GN_OK)
        code = check_identity(identity, ca, cert, key, err);
    if (code != GN_OK)
        gn_tls_identity_close(identity);
    return code;
}

void gn_tls_identity_close(gn_tls_identity *identity)
{
    free(identity->ca);
    free(identity->cert);
    if (identity->key)
        OPENSSL_cleanse(identity->key, strlen(identity->key));
    free(identity->key);
    *identity = (gn_tls_identity){0};
}

int gn_tls_config_create(const gn_tls_identity *identity, nng_tls_mode mode, const char *host, nng_tls_config **out)
{
    nng_tls_config *config;
    int rv = nng_tls_config_alloc(&config, mode);
    if (rv != 0)
        return rv;
    if ((rv = nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_REQUIRED)) == 0 &&
        (rv = nng_tls_config_ca_chain(config, identity->ca, NULL)) == 0 &&
        (rv = nng_tls_config_own_cert(config, identity->cert, identity->key, NULL)) == 0 && host)
        rv = nng_tls_config_server_name(config, host);
    if (rv != 0) {
        nng_tls_config_free(config);
        return rv;
    }
    *out = config;
    return 0;
}
