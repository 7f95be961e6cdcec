/* Keys and records of the log store. Every record carries a checksum over its place and content that each load
 * verifies: a record that is damaged, or lies where another belongs, stops the replica instead of entering the state
 * machine. */
#include "base/versions.h"
#include "raft/raft_private.h"

#include <xxhash.h>

enum {
    RECORD_VERSION = GN_FORMAT_LOG_ENTRY,
    STATE_VERSION = GN_FORMAT_LOG_STATE,
    SNAPSHOT_VERSION = GN_FORMAT_LOG_SNAPSHOT,
};

static void put_be64(uint8_t *out, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}

static uint64_t get_be64(const uint8_t *in)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | in[i];
    return v;
}

void gn_raft_key(uint8_t key[GN_RAFT_KEY_SIZE], uint64_t group, gn_raft_kind kind, uint64_t index)
{
    put_be64(key, group);
    key[8] = (uint8_t)kind;
    put_be64(key + 9, index);
}

bool gn_raft_key_read(gn_bytes key, uint64_t *group, gn_raft_kind *kind, uint64_t *index)
{
    if (key.len != GN_RAFT_KEY_SIZE || key.data[8] > GN_RAFT_KIND_ENTRY)
        return false;
    *group = get_be64(key.data);
    *kind = (gn_raft_kind)key.data[8];
    *index = get_be64(key.data + 9);
    return true;
}

/* Of the place and header, then of the payload seeded with it. */
static uint64_t checksum(uint64_t group, gn_raft_kind kind, uint64_t index, uint8_t version, uint8_t type,
                         uint64_t term, gn_bytes payload)
{
    uint8_t head[27];
    put_be64(head, group);
    put_be64(head + 8, index);
    put_be64(head + 16, term);
    head[24] = (uint8_t)kind;
    head[25] = version;
    head[26] = type;
    return XXH3_64bits_withSeed(payload.data, payload.len, XXH3_64bits(head, sizeof head));
}

void gn_raft_record_write(uint8_t *out, uint64_t group, uint64_t index, const gn_raft_record *record)
{
    GN_ASSERT(record->type >= RAFT_COMMAND && record->type <= RAFT_CHANGE);
    out[0] = RECORD_VERSION;
    out[1] = record->type;
    put_be64(out + 2, record->term);
    put_be64(out + 10,
             checksum(group, GN_RAFT_KIND_ENTRY, index, RECORD_VERSION, record->type, record->term, record->payload));
    if (record->payload.len)
        memcpy(out + GN_RAFT_RECORD_HEADER, record->payload.data, record->payload.len);
}

bool gn_raft_record_read(gn_bytes bytes, uint64_t group, uint64_t index, gn_raft_record *record)
{
    if (bytes.len < GN_RAFT_RECORD_HEADER || bytes.data[0] != RECORD_VERSION || bytes.data[1] < RAFT_COMMAND ||
        bytes.data[1] > RAFT_CHANGE)
        return false;
    record->type = bytes.data[1];
    record->term = get_be64(bytes.data + 2);
    record->payload = gn_bytes_of(bytes.data + GN_RAFT_RECORD_HEADER, bytes.len - GN_RAFT_RECORD_HEADER);
    return record->term != 0 && get_be64(bytes.data + 10) == checksum(group, GN_RAFT_KIND_ENTRY, index, RECORD_VERSION,
                                                                      record->type, record->term, record->payload);
}

uint64_t gn_raft_record_term(const uint8_t *record)
{
    return get_be64(record + 2);
}

uint8_t gn_raft_record_type(const uint8_t *record)
{
    return record[1];
}

void gn_raft_state_write(uint8_t out[GN_RAFT_STATE_SIZE], uint64_t group, uint64_t term, uint64_t vote)
{
    out[0] = STATE_VERSION;
    put_be64(out + 1, term);
    put_be64(out + 9, vote);
    put_be64(out + 17, checksum(group, GN_RAFT_KIND_STATE, 0, STATE_VERSION, 0, 0, gn_bytes_of(out, 17)));
}

bool gn_raft_state_read(gn_bytes bytes, uint64_t group, uint64_t *term, uint64_t *vote)
{
    if (bytes.len != GN_RAFT_STATE_SIZE || bytes.data[0] != STATE_VERSION)
        return false;
    *term = get_be64(bytes.data + 1);
    *vote = get_be64(bytes.data + 9);
    return get_be64(bytes.data + 17) ==
           checksum(group, GN_RAFT_KIND_STATE, 0, STATE_VERSION, 0, 0, gn_bytes_of(bytes.data, 17));
}

void gn_raft_snapshot_write(gn_buf *out, uint64_t group, const gn_raft_snapshot_record *snapshot)
{
    size_t start = out->len;
    gn_buf_append_u8(out, SNAPSHOT_VERSION);
    gn_buf_append_be64(out, snapshot->index);
    gn_buf_append_be64(out, snapshot->term);
    gn_buf_append_be64(out, snapshot->configuration_index);
    gn_buf_append_be32(out, (uint32_t)snapshot->configuration.len);
    gn_buf_append_bytes(out, snapshot->configuration);
    gn_buf_append_be32(out, (uint32_t)snapshot->manifest.len);
    gn_buf_append_bytes(out, snapshot->manifest);
    gn_buf_append_be64(out, checksum(group, GN_RAFT_KIND_SNAPSHOT, 0, SNAPSHOT_VERSION, 0, 0,
                                     gn_bytes_of(out->data + start, out->len - start)));
}

bool gn_raft_snapshot_read(gn_bytes bytes, uint64_t group, gn_raft_snapshot_record *snapshot)
{
    gn_reader r = gn_reader_of(bytes);
    if (gn_read_u8(&r) != SNAPSHOT_VERSION)
        return false;
    snapshot->index = gn_read_be64(&r);
    snapshot->term = gn_read_be64(&r);
    snapshot->configuration_index = gn_read_be64(&r);
    snapshot->configuration = gn_read_bytes(&r, gn_read_be32(&r));
    snapshot->manifest = gn_read_bytes(&r, gn_read_be32(&r));
    size_t body = bytes.len - gn_reader_left(&r);
    uint64_t sum = gn_read_be64(&r);
    return !r.failed && gn_reader_left(&r) == 0 &&
           sum == checksum(group, GN_RAFT_KIND_SNAPSHOT, 0, SNAPSHOT_VERSION, 0, 0, gn_bytes_of(bytes.data, body)) &&
           snapshot->index > 0 && snapshot->term > 0 && snapshot->configuration_index > 0 &&
           snapshot->configuration_index <= snapshot->index && gn_raft_configuration_valid(snapshot->configuration);
}
