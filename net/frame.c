#include "net/frame_private.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <xxhash.h>

static const char MAGIC[8] = {'G', 'N', 'M', 'E', 'S', 'H', '\r', '\n'};

static void put_be(uint8_t *out, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
}

static uint64_t get_be(const uint8_t *in, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | in[i];
    return v;
}

/* XXH3 may be given NULL with no bytes, but its declaration says otherwise. */
static uint64_t checksum(gn_bytes payload, uint64_t seed)
{
    return XXH3_64bits_withSeed(payload.len ? payload.data : (const uint8_t *)MAGIC, payload.len, seed);
}

/* ---- heads ---- */

void gn_mesh_head_write(uint8_t *out, mesh_kind kind, uint8_t channel, gn_bytes payload)
{
    put_be(out, payload.len, 4);
    out[4] = (uint8_t)kind;
    out[5] = channel;
    out[6] = out[7] = 0;
    put_be(out + 8, checksum(payload, get_be(out, 8)), 8);
}

const char *gn_mesh_head_read(const uint8_t *in, mesh_head *head)
{
    *head = (mesh_head){.length = (uint32_t)get_be(in, 4),
                        .kind = (mesh_kind)in[4],
                        .channel = in[5],
                        .checksum = get_be(in + 8, 8),
                        .seed = get_be(in, 8)};
    if (in[4] < MESH_HELLO || in[4] > MESH_BYE_HEARD || in[6] != 0 || in[7] != 0)
        return "what came is not this protocol";
    if (head->length > (head->kind == MESH_DATA ? (uint32_t)GN_MAX_NET_FRAME : MESH_MAX_CONTROL))
        return "a frame is longer than allowed";
    return NULL;
}

bool gn_mesh_head_matches(const mesh_head *head, gn_bytes payload)
{
    return payload.len == head->length && checksum(payload, head->seed) == head->checksum;
}

static void append_frame(gn_buf *out, mesh_kind kind, gn_bytes payload)
{
    uint8_t head[MESH_HEAD_BYTES];
    gn_mesh_head_write(head, kind, 0, payload);
    gn_buf_append(out, head, sizeof head);
    gn_buf_append_bytes(out, payload);
}

/* ---- hello ---- */

void gn_mesh_hello_write(gn_buf *out, const mesh_hello *hello)
{
    uint8_t p[MESH_HELLO_BYTES + 8] = {0};
    memcpy(p, MAGIC, 8);
    put_be(p + 8, hello->version_min, 2);
    put_be(p + 10, hello->version_max, 2);
    p[12] = hello->class;
    p[13] = hello->in_cluster;
    memcpy(p + 16, hello->cluster, 16);
    put_be(p + 32, hello->from, 8);
    put_be(p + 40, hello->to, 8);
    put_be(p + 48, hello->incarnation, 8);
    put_be(p + 56, hello->number, 8);
    put_be(p + 64, hello->can.least, 2);
    put_be(p + 66, hello->can.most, 2);
    put_be(p + 68, hello->at, 2);
    append_frame(out, MESH_HELLO, gn_bytes_of(p, sizeof p));
}

const char *gn_mesh_hello_read(gn_bytes payload, mesh_hello *hello)
{
    const uint8_t *p = payload.data;
    if (payload.len < MESH_HELLO_BYTES || memcmp(p, MAGIC, 8) != 0)
        return "what came is not a hello of this protocol";
    *hello = (mesh_hello){.version_min = (uint16_t)get_be(p + 8, 2),
                          .version_max = (uint16_t)get_be(p + 10, 2),
                          .class = p[12],
                          .in_cluster = p[13] & 1,
                          .from = get_be(p + 32, 8),
                          .to = get_be(p + 40, 8),
                          .incarnation = get_be(p + 48, 8),
                          .number = get_be(p + 56, 8),
                          .can = {1, 1}};
    if (payload.len >= MESH_HELLO_BYTES + 8) {
        hello->can = (gn_version_range){(uint16_t)get_be(p + 64, 2), (uint16_t)get_be(p + 66, 2)};
        hello->at = (uint16_t)get_be(p + 68, 2);
    }
    memcpy(hello->cluster, p + 16, 16);
    if (hello->can.least > hello->can.most || hello->can.least == 0)
        return "a hello names no cluster version";
    if (hello->class >= MESH_CLASSES || hello->from == 0)
        return "a hello names no node, or no class of channels that there is";
    return NULL;
}

/* ---- refusals ---- */

const char *gn_mesh_refusal_name(unsigned refusal)
{
    static const char *const names[MESH_REFUSALS] = {
        [MESH_REFUSE_VERSION] = "version",   [MESH_REFUSE_CLUSTER] = "cluster", [MESH_REFUSE_NODE] = "node",
        [MESH_REFUSE_STRANGER] = "stranger", [MESH_REFUSE_SELF] = "self",       [MESH_REFUSE_BUSY] = "busy"};
    return refusal < MESH_REFUSALS && names[refusal] ? names[refusal] : "other";
}

void gn_mesh_refusal_write(gn_buf *out, mesh_refusal refusal, const char *words)
{
    uint8_t p[1 + MESH_MAX_REASON];
    size_t n = strlen(words);
    n = n < MESH_MAX_REASON ? n : MESH_MAX_REASON - 1;
    p[0] = (uint8_t)refusal;
    memcpy(p + 1, words, n);
    append_frame(out, MESH_REFUSAL, gn_bytes_of(p, 1 + n));
}

bool gn_mesh_refusal_read(gn_bytes payload, unsigned *refusal, char *words)
{
    if (payload.len == 0)
        return false;
    *refusal = payload.data[0];
    size_t n = payload.len - 1 < MESH_MAX_REASON ? payload.len - 1 : MESH_MAX_REASON - 1;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = payload.data[1 + i];
        words[i] = c >= ' ' && c < 0x7f ? (char)c : '?';
    }
    words[n] = 0;
    return true;
}

/* ---- addresses ---- */

bool gn_mesh_address_split(const char *address, char *host, size_t host_size, unsigned *port)
{
    bool bracketed = address[0] == '[';
    const char *from = address + bracketed;
    const char *to = bracketed ? strchr(from, ']') : strrchr(from, ':');
    if (!to || to == from || (size_t)(to - from) >= host_size)
        return false;
    for (const char *p = from; p < to; p++)
        if (!isalnum((unsigned char)*p) && *p != '.' && (bracketed ? *p != ':' : *p != '-' && *p != '_'))
            return false;
    const char *digits = to + bracketed;
    if (*digits++ != ':' || !isdigit((unsigned char)*digits) || strlen(digits) > 5)
        return false;
    char *end;
    unsigned long n = strtoul(digits, &end, 10);
    if (*end || n > 65535)
        return false;
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = 0;
    *port = (unsigned)n;
    return true;
}

bool gn_mesh_is_loopback(const char *host)
{
    uint8_t v4[4];
    if (strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0)
        return true;
    return inet_pton(AF_INET, host, v4) == 1 && v4[0] == 127;
}
