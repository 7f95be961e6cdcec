/* Configurations in libraft's encoding: version (1), count (8, little-endian), then id (8), address (text, NUL) and
 * role (1) of each server, padded to 8 bytes. libraft's decoder trusts its input, so bytes from a disk or a peer pass
 * gn_raft_configuration_valid first. A server's address is its id as text; the network takes ids. */
#include "raft/raft_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool read_le64(gn_reader *r, uint64_t *out)
{
    gn_bytes b = gn_read_bytes(r, 8);
    if (r->failed)
        return false;
    *out = 0;
    for (int i = 7; i >= 0; i--)
        *out = *out << 8 | b.data[i];
    return true;
}

static bool server_valid(gn_reader *r, uint64_t *id, bool *votes)
{
    char expected[24];
    if (!read_le64(r, id) || *id == 0)
        return false;
    const char *address = gn_read_cstr(r);
    snprintf(expected, sizeof expected, "%" PRIu64, *id);
    if (!address || strcmp(address, expected) != 0)
        return false;
    uint8_t role = gn_read_u8(r);
    *votes = role == RAFT_VOTER;
    return !r->failed && (role == RAFT_VOTER || role == RAFT_STANDBY);
}

bool gn_raft_configuration_valid(gn_bytes encoded)
{
    gn_reader r = gn_reader_of(encoded);
    uint64_t n, ids[GN_MAX_PEERS];
    size_t voters = 0;
    if (gn_read_u8(&r) != 1 || !read_le64(&r, &n) || n == 0 || n > GN_MAX_PEERS)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        bool votes;
        if (!server_valid(&r, &ids[i], &votes))
            return false;
        voters += votes;
        for (uint64_t j = 0; j < i; j++)
            if (ids[j] == ids[i])
                return false;
    }
    return voters > 0 && gn_reader_left(&r) < 8;
}

static int member_order(const void *a, const void *b)
{
    const gn_raft_member *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

gn_bytes gn_raft_configuration_encode(const gn_raft_member *members, size_t n)
{
    gn_raft_member sorted[GN_MAX_PEERS];
    struct raft_configuration c;
    struct raft_buffer buffer;
    GN_ASSERT(n > 0 && n <= GN_MAX_PEERS);
    memcpy(sorted, members, n * sizeof *members);
    qsort(sorted, n, sizeof *sorted, member_order);
    raft_configuration_init(&c);
    for (size_t i = 0; i < n; i++) {
        char address[24];
        snprintf(address, sizeof address, "%" PRIu64, sorted[i].id);
        int rv = raft_configuration_add(&c, sorted[i].id, address,
                                        sorted[i].role == GN_RAFT_VOTER ? RAFT_VOTER : RAFT_STANDBY);
        GN_ASSERT(rv == 0);
    }
    int rv = raft_configuration_encode(&c, &buffer);
    GN_ASSERT(rv == 0);
    raft_configuration_close(&c);
    return gn_bytes_of(buffer.base, buffer.len);
}

void gn_raft_configuration_decode(gn_bytes encoded, struct raft_configuration *out)
{
    struct raft_buffer buffer = {.base = (void *)(uintptr_t)encoded.data, .len = encoded.len};
    int rv = raft_configuration_decode(&buffer, out);
    GN_ASSERT(rv == 0);
}
