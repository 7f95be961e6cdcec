/* Frames between hosts: a version byte, then messages: length (4), group (8), type (1), fields, all big-endian. What a
 * message says is checked here as far as it can be without the group's state, since libraft's core trusts its input:
 * lengths, ranges of terms and indexes, the order of terms within a run of entries. */
#include "raft/raft_private.h"

static const uint64_t MAX_NUMBER = UINT64_C(1) << 62; /* of a term or index: +1 must not overflow */

enum { VOTE_DISRUPT = 1, VOTE_PRE = 2, RESULT_GRANTED = 1, RESULT_PRE = 2 };

/* ---- writing ---- */

void gn_raft_wire_begin(gn_buf *frame)
{
    gn_buf_append_u8(frame, GN_RAFT_WIRE_VERSION);
}

static size_t begin_message(gn_buf *frame, uint64_t group, uint8_t type)
{
    size_t at = frame->len;
    gn_buf_append_be32(frame, 0);
    gn_buf_append_be64(frame, group);
    gn_buf_append_u8(frame, type);
    return at;
}

static void end_message(gn_buf *frame, size_t at)
{
    if (frame->failed)
        return;
    uint32_t len = (uint32_t)(frame->len - at - 4);
    for (int i = 0; i < 4; i++)
        frame->data[at + i] = (uint8_t)(len >> (24 - 8 * i));
}

static void put_append_entries(gn_buf *frame, const struct raft_append_entries *m, const gn_raft_slot *slots)
{
    gn_buf_append_u8(frame, m->version);
    gn_buf_append_be64(frame, m->term);
    gn_buf_append_be64(frame, m->prev_log_index);
    gn_buf_append_be64(frame, m->prev_log_term);
    gn_buf_append_be64(frame, m->leader_commit);
    gn_buf_append_be32(frame, m->n_entries);
    for (unsigned i = 0; i < m->n_entries; i++) {
        gn_buf_append_be32(frame, slots[i].len);
        gn_buf_append(frame, slots[i].record, slots[i].len);
    }
}

static void put_append_entries_result(gn_buf *frame, const struct raft_append_entries_result *m)
{
    gn_buf_append_u8(frame, m->version);
    gn_buf_append_be64(frame, m->term);
    gn_buf_append_be64(frame, m->rejected);
    gn_buf_append_be64(frame, m->last_log_index);
    gn_buf_append_be16(frame, m->features);
    gn_buf_append_be16(frame, m->capacity);
}

static void put_request_vote(gn_buf *frame, const struct raft_request_vote *m)
{
    gn_buf_append_u8(frame, m->version);
    gn_buf_append_be64(frame, m->term);
    gn_buf_append_be64(frame, m->candidate_id);
    gn_buf_append_be64(frame, m->last_log_index);
    gn_buf_append_be64(frame, m->last_log_term);
    gn_buf_append_u8(frame, (uint8_t)((m->disrupt_leader ? VOTE_DISRUPT : 0) | (m->pre_vote ? VOTE_PRE : 0)));
}

static void put_request_vote_result(gn_buf *frame, const struct raft_request_vote_result *m)
{
    gn_buf_append_u8(frame, m->version);
    gn_buf_append_be64(frame, m->term);
    gn_buf_append_u8(frame, (uint8_t)((m->vote_granted ? RESULT_GRANTED : 0) | (m->pre_vote ? RESULT_PRE : 0)));
    gn_buf_append_be16(frame, m->features);
    gn_buf_append_be16(frame, m->capacity);
}

static void put_install_snapshot(gn_buf *frame, const struct raft_install_snapshot *m,
                                 const gn_raft_snapshot_record *snapshot)
{
    gn_buf_append_u8(frame, m->version);
    gn_buf_append_be64(frame, m->term);
    gn_buf_append_be64(frame, snapshot->index);
    gn_buf_append_be64(frame, snapshot->term);
    gn_buf_append_be64(frame, snapshot->configuration_index);
    gn_buf_append_be32(frame, (uint32_t)snapshot->configuration.len);
    gn_buf_append_bytes(frame, snapshot->configuration);
    gn_buf_append_be32(frame, (uint32_t)snapshot->manifest.len);
    gn_buf_append_bytes(frame, snapshot->manifest);
}

static void put_timeout_now(gn_buf *frame, const struct raft_timeout_now *m)
{
    gn_buf_append_u8(frame, m->version);
    gn_buf_append_be64(frame, m->term);
    gn_buf_append_be64(frame, m->last_log_index);
    gn_buf_append_be64(frame, m->last_log_term);
}

void gn_raft_wire_put(gn_buf *frame, uint64_t group, const struct raft_message *message, const gn_raft_slot *slots,
                      const gn_raft_snapshot_record *snapshot)
{
    size_t at = begin_message(frame, group, (uint8_t)message->type);
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        put_append_entries(frame, &message->append_entries, slots);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        put_append_entries_result(frame, &message->append_entries_result);
        break;
    case RAFT_REQUEST_VOTE:
        put_request_vote(frame, &message->request_vote);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        put_request_vote_result(frame, &message->request_vote_result);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        put_install_snapshot(frame, &message->install_snapshot, snapshot);
        break;
    case RAFT_TIMEOUT_NOW:
        put_timeout_now(frame, &message->timeout_now);
        break;
    }
    end_message(frame, at);
}

void gn_raft_wire_put_probe(gn_buf *frame, uint64_t group, bool ack, uint64_t term, uint64_t round)
{
    size_t at = begin_message(frame, group, ack ? GN_RAFT_WIRE_READ_ACK : GN_RAFT_WIRE_READ_PROBE);
    gn_buf_append_be64(frame, term);
    gn_buf_append_be64(frame, round);
    end_message(frame, at);
}

/* ---- reading ---- */

/* A number of the log; sets failed beyond its range. */
static uint64_t number(gn_reader *r)
{
    uint64_t v = gn_read_be64(r);
    if (v > MAX_NUMBER)
        r->failed = true;
    return v;
}

static uint64_t positive(gn_reader *r)
{
    uint64_t v = number(r);
    if (v == 0)
        r->failed = true;
    return v;
}

/* Walks the records without copying: their lengths, and terms that do not go back. */
static bool check_records(gn_bytes records, unsigned n, uint64_t prev_term, uint64_t term)
{
    gn_reader r = gn_reader_of(records);
    for (unsigned i = 0; i < n; i++) {
        uint32_t len = gn_read_be32(&r);
        if (r.failed || len < GN_RAFT_RECORD_HEADER || len > GN_MAX_ENTRY)
            return false;
        gn_bytes record = gn_read_bytes(&r, len);
        if (r.failed)
            return false;
        uint64_t t = gn_raft_record_term(record.data);
        if (t < prev_term || t == 0 || t > term)
            return false;
        prev_term = t;
    }
    return gn_reader_left(&r) == 0;
}

static bool get_append_entries(gn_reader *r, gn_raft_wire *out)
{
    struct raft_append_entries *m = &out->core.append_entries;
    m->version = gn_read_u8(r);
    m->term = positive(r);
    m->prev_log_index = number(r);
    m->prev_log_term = number(r);
    m->leader_commit = number(r);
    m->n_entries = gn_read_be32(r);
    m->entries = NULL;
    if (r->failed || m->n_entries > GN_RAFT_STEP_ENTRIES || (m->prev_log_index == 0) != (m->prev_log_term == 0) ||
        m->prev_log_term > m->term)
        return false;
    out->records = gn_read_bytes(r, gn_reader_left(r));
    return check_records(out->records, m->n_entries, m->prev_log_term, m->term);
}

static bool get_append_entries_result(gn_reader *r, gn_raft_wire *out)
{
    struct raft_append_entries_result *m = &out->core.append_entries_result;
    m->version = gn_read_u8(r);
    m->term = positive(r);
    m->rejected = number(r);
    m->last_log_index = number(r);
    m->features = gn_read_be16(r);
    m->capacity = gn_read_be16(r);
    return true;
}

static bool get_request_vote(gn_reader *r, gn_raft_wire *out)
{
    struct raft_request_vote *m = &out->core.request_vote;
    m->version = gn_read_u8(r);
    m->term = positive(r);
    m->candidate_id = gn_read_be64(r);
    m->last_log_index = number(r);
    m->last_log_term = number(r);
    uint8_t flags = gn_read_u8(r);
    m->disrupt_leader = flags & VOTE_DISRUPT;
    m->pre_vote = flags & VOTE_PRE;
    return flags <= (VOTE_DISRUPT | VOTE_PRE) && m->candidate_id != 0 && m->last_log_term <= m->term;
}

static bool get_request_vote_result(gn_reader *r, gn_raft_wire *out)
{
    struct raft_request_vote_result *m = &out->core.request_vote_result;
    m->version = gn_read_u8(r);
    m->term = positive(r);
    uint8_t flags = gn_read_u8(r);
    m->vote_granted = flags & RESULT_GRANTED;
    m->pre_vote = flags & RESULT_PRE;
    m->features = gn_read_be16(r);
    m->capacity = gn_read_be16(r);
    return flags <= (RESULT_GRANTED | RESULT_PRE);
}

static bool get_install_snapshot(gn_reader *r, gn_raft_wire *out)
{
    struct raft_install_snapshot *m = &out->core.install_snapshot;
    m->version = gn_read_u8(r);
    m->term = positive(r);
    m->last_index = positive(r);
    m->last_term = positive(r);
    m->conf_index = positive(r);
    out->configuration = gn_read_bytes(r, gn_read_be32(r));
    out->manifest = gn_read_bytes(r, gn_read_be32(r));
    return !r->failed && m->conf_index <= m->last_index && m->last_term <= m->term &&
           out->manifest.len <= GN_MAX_RAFT_MANIFEST && gn_raft_configuration_valid(out->configuration);
}

static bool get_timeout_now(gn_reader *r, gn_raft_wire *out)
{
    struct raft_timeout_now *m = &out->core.timeout_now;
    m->version = gn_read_u8(r);
    m->term = positive(r);
    m->last_log_index = number(r);
    m->last_log_term = number(r);
    return true;
}

static bool get_body(gn_reader *r, gn_raft_wire *out)
{
    switch (out->type) {
    case RAFT_APPEND_ENTRIES:
        return get_append_entries(r, out);
    case RAFT_APPEND_ENTRIES_RESULT:
        return get_append_entries_result(r, out);
    case RAFT_REQUEST_VOTE:
        return get_request_vote(r, out);
    case RAFT_REQUEST_VOTE_RESULT:
        return get_request_vote_result(r, out);
    case RAFT_INSTALL_SNAPSHOT:
        return get_install_snapshot(r, out);
    case RAFT_TIMEOUT_NOW:
        return get_timeout_now(r, out);
    case GN_RAFT_WIRE_READ_PROBE:
    case GN_RAFT_WIRE_READ_ACK:
        out->term = positive(r);
        out->round = positive(r);
        return true;
    default:
        return false;
    }
}

bool gn_raft_wire_next(gn_reader *frame, gn_raft_wire *out, bool *bad)
{
    *bad = false;
    if (gn_reader_left(frame) == 0)
        return false;
    gn_bytes body = gn_read_bytes(frame, gn_read_be32(frame));
    gn_reader r = gn_reader_of(body);
    *out = (gn_raft_wire){.group = gn_read_be64(&r), .type = gn_read_u8(&r)};
    out->core.type = out->type;
    if (frame->failed || r.failed || out->group == 0 || !get_body(&r, out) || r.failed || gn_reader_left(&r) != 0) {
        *bad = true;
        return false;
    }
    return true;
}
