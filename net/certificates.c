#include "net/certificates.h"

#include "base/buf.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_DAYS = 36500, MAX_NAME = 64, MAX_HOSTS = 100, SLACK_S = 300 };

static gn_code openssl_failed(gn_error *err, const char *what)
{
    char words[200] = "";
    if (ERR_peek_last_error())
        ERR_error_string_n(ERR_peek_last_error(), words, sizeof words);
    ERR_clear_error();
    gn_error_set(err, GN_IO, "could not %s", what);
    if (words[0])
        gn_error_detail(err, "%s", words);
    return GN_IO;
}

/* ---- what is asked for ---- */

static bool is_ip(const char *host)
{
    uint8_t address[16];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* The text goes into an extension's value, where commas and colons have a meaning. */
static bool is_host_name(const char *host)
{
    size_t n = strlen(host);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)host[i]) && !strchr(i == 0 ? "*" : ".-_", host[i]))
            return false;
    return n > 0 && n < 254;
}

static gn_code check_request(const gn_certificate_request *request, bool node, gn_error *err)
{
    size_t n = strlen(request->name);
    if (n == 0 || n > MAX_NAME)
        return gn_error_set(err, GN_CONFIGURATION, "a certificate's name has 1 to %d bytes", MAX_NAME);
    if (request->days == 0 || request->days > MAX_DAYS)
        return gn_error_set(err, GN_CONFIGURATION, "a certificate is good for 1 to %d days", MAX_DAYS);
    if (node ? request->n_hosts == 0 || request->n_hosts > MAX_HOSTS : request->n_hosts != 0)
        return gn_error_set(
            err, GN_CONFIGURATION,
            node ? "a node's certificate names 1 to %d hosts" : "an authority's certificate names no host", MAX_HOSTS);
    for (size_t i = 0; i < request->n_hosts; i++)
        if (!is_ip(request->hosts[i]) && !is_host_name(request->hosts[i]))
            return gn_error_set(err, GN_CONFIGURATION, "\"%.200s\" is not the name or address of a host",
                                request->hosts[i]);
    return GN_OK;
}

/* ---- certificates ---- */

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool add_hosts(X509 *cert, const gn_certificate_request *request)
{
    gn_buf names;
    gn_buf_init(&names, NULL, 64u << 10);
    for (size_t i = 0; i < request->n_hosts; i++)
        gn_buf_printf(&names, "%s%s:%s", i > 0 ? "," : "", is_ip(request->hosts[i]) ? "IP" : "DNS", request->hosts[i]);
    gn_buf_append_u8(&names, 0);
    bool ok = !names.failed && add_extension(cert, cert, NID_subject_alt_name, (const char *)names.data);
    gn_buf_close(&names);
    return ok;
}

/* RFC 5280, 4.1.2.2: positive, unique, at most 20 bytes. */
static bool set_serial(X509 *cert)
{
    uint8_t bytes[16];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return false;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return ok;
}

static bool fill(X509 *cert, EVP_PKEY *key, const gn_certificate_request *request, X509 *issuer)
{
    time_t from = request->from_s ? (time_t)request->from_s : time(NULL) - SLACK_S;
    X509_NAME *name = X509_get_subject_name(cert);
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           X509_time_adj_ex(X509_getm_notBefore(cert), 0, 0, &from) &&
           X509_time_adj_ex(X509_getm_notAfter(cert), (int)request->days, 0, &from) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)request->name, -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1 && X509_set_pubkey(cert, key) == 1 &&
           add_extension(cert, issuer, NID_subject_key_identifier, "hash") &&
           add_extension(cert, issuer, NID_authority_key_identifier, "keyid:always");
}

static X509 *make_authority(EVP_PKEY *key, const gn_certificate_request *request)
{
    X509 *cert = X509_new();
    if (cert && fill(cert, key, request, cert) &&
        add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        X509_sign(cert, key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

/* Every node connects and is connected to. */
static X509 *make_node(EVP_PKEY *key, const gn_certificate_request *request, X509 *ca, EVP_PKEY *ca_key)
{
    X509 *cert = X509_new();
    if (cert && fill(cert, key, request, ca) && add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") &&
        add_extension(cert, ca, NID_ext_key_usage, "serverAuth,clientAuth") && add_hosts(cert, request) &&
        X509_sign(cert, ca_key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

/* ---- files ---- */

static gn_code write_new(const char *path, BIO *text, mode_t mode, gn_error *err)
{
    gn_code code = GN_OK;
    char *data;
    long len = BIO_get_mem_data(text, &data);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        code = gn_error_errno(err, errno == EEXIST ? GN_CONFIGURATION : GN_IO, errno, "could not create \"%s\"", path);
        if (code == GN_CONFIGURATION)
            gn_error_hint(err, "Nothing is overwritten: remove it first, or name another file.");
        return code;
    }
    for (long done = 0; code == GN_OK && done < len;) {
        ssize_t n = write(fd, data + done, (size_t)(len - done));
        if (n < 0 && errno != EINTR)
            code = gn_error_errno(err, GN_IO, errno, "could not write \"%s\"", path);
        done += n > 0 ? n : 0;
    }
    if (code == GN_OK && fsync(fd) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not sync \"%s\"", path);
    close(fd);
    if (code != GN_OK)
        unlink(path);
    return code;
}

static gn_code write_both(const gn_certificate_request *request, X509 *cert, EVP_PKEY *key, gn_error *err)
{
    gn_code code;
    BIO *cert_text = BIO_new(BIO_s_mem()), *key_text = BIO_new(BIO_s_secmem());
    if (!cert_text || !key_text || PEM_write_bio_X509(cert_text, cert) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL) != 1)
        code = openssl_failed(err, "write a certificate");
    else if ((code = write_new(request->key, key_text, 0600, err)) == GN_OK &&
             (code = write_new(request->cert, cert_text, 0644, err)) != GN_OK)
        unlink(request->key);
    BIO_free(cert_text);
    BIO_free(key_text);
    return code;
}

static gn_code open_pem(const char *path, BIO **out, gn_error *err)
{
    *out = BIO_new_file(path, "r");
    if (*out)
        return GN_OK;
    ERR_clear_error();
    return gn_error_errno(err, GN_CONFIGURATION, errno, "could not open \"%s\"", path);
}

static int no_password(char *out, int size, int writing, void *ctx)
{
    (void)out, (void)size, (void)writing, (void)ctx;
    return -1;
}

static gn_code read_authority(const char *cert_path, const char *key_path, X509 **cert, EVP_PKEY **key, gn_error *err)
{
    BIO *cert_text = NULL, *key_text = NULL;
    gn_code code = open_pem(cert_path, &cert_text, err);
    if (code == GN_OK)
        code = open_pem(key_path, &key_text, err);
    if (code != GN_OK)
        goto out;
    *cert = PEM_read_bio_X509(cert_text, NULL, NULL, NULL);
    *key = PEM_read_bio_PrivateKey(key_text, NULL, no_password, NULL);
    if (!*cert || X509_check_ca(*cert) != 1)
        code = gn_error_set(err, GN_CONFIGURATION, "\"%s\" is not the certificate of an authority", cert_path);
    else if (!*key || X509_check_private_key(*cert, *key) != 1)
        code = gn_error_set(err, GN_CONFIGURATION, "\"%s\" is not the private key of \"%s\", without a password",
                            key_path, cert_path);
    ERR_clear_error();
out:
    BIO_free(cert_text);
    BIO_free(key_text);
    return code;
}

/* ---- the two makers ---- */

gn_code gn_certificates_authority(const gn_certificate_request *request, gn_error *err)
{
    gn_code code = check_request(request, false, err);
    if (code != GN_OK)
        return code;
    ERR_clear_error();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? make_authority(key, request) : NULL;
    code = cert ? write_both(request, cert, key, err) : openssl_failed(err, "make a certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
    return code;
}

gn_code gn_certificates_node(const gn_certificate_request *request, const char *ca_cert, const char *ca_key,
                             gn_error *err)
{
    X509 *ca = NULL, *cert = NULL;
    EVP_PKEY *signing = NULL, *key = NULL;
    gn_code code = check_request(request, true, err);
    ERR_clear_error();
    if (code == GN_OK)
        code = read_authority(ca_cert, ca_key, &ca, &signing, err);
    if (code != GN_OK)
        goto out;
    key = EVP_EC_gen("P-256");
    cert = key ? make_node(key, request, ca, signing) : NULL;
    code = cert ? write_both(request, cert, key, err) : openssl_failed(err, "make a certificate");
out:
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(signing);
    return code;
}
