/* Messages. Going out, they wait in the group's outbox until the turn's end, and longer while the term they speak for,
 * or a CHANGE they carry, is not durable; then those of all groups to one peer go in one frame. Coming in, they are
 * checked against the group's state before the core sees them. */
#include "raft/raft_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- peers ---- */

/* The first whose id is not below this one. */
static size_t peer_place(const gn_raft_host *host, gn_node_id id)
{
    size_t lo = 0, hi = host->n_peers;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (host->peers[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static gn_raft_peer *known_peer(const gn_raft_host *host, gn_node_id id)
{
    size_t at = peer_place(host, id);
    return at < host->n_peers && host->peers[at]->id == id ? host->peers[at] : NULL;
}

static gn_raft_peer *peer_of(gn_raft_host *host, gn_node_id id)
{
    size_t lo = peer_place(host, id);
    if (lo < host->n_peers && host->peers[lo]->id == id)
        return host->peers[lo];
    if (host->n_peers == host->cap_peers) {
        host->cap_peers = host->cap_peers ? host->cap_peers * 2 : 8;
        host->peers = gn_xrealloc(host->peers, host->cap_peers * sizeof(gn_raft_peer *));
    }
    gn_raft_peer *peer = gn_xcalloc(1, sizeof *peer);
    peer->id = id;
    gn_buf_init(&peer->frame, NULL, SIZE_MAX);
    memmove(host->peers + lo + 1, host->peers + lo, (host->n_peers - lo) * sizeof(gn_raft_peer *));
    host->peers[lo] = peer;
    host->n_peers++;
    return peer;
}

static gn_buf *frame_to(gn_raft_host *host, gn_node_id id)
{
    gn_raft_peer *peer = peer_of(host, id);
    if (peer->frame.len == 0)
        gn_raft_wire_begin(&peer->frame);
    gn_counter_add(host->metrics.messages_sent, 1);
    return &peer->frame;
}

static void send_frame(gn_raft_host *host, gn_raft_peer *peer)
{
    if (peer->frame.len > 0 && !peer->frame.failed)
        gn_net_send(host->world, peer->id, GN_RAFT_CHANNEL, gn_buf_bytes(&peer->frame));
    if (peer->frame.cap > GN_MAX_RAFT_MESSAGE) { /* give a large one back */
        gn_buf_close(&peer->frame);
        gn_buf_init(&peer->frame, NULL, SIZE_MAX);
    }
    gn_buf_clear(&peer->frame);
}

void gn_raft_transport_flush(gn_raft_host *host)
{
    for (size_t i = 0; i < host->n_peers; i++)
        send_frame(host, host->peers[i]);
}

void gn_raft_transport_close(gn_raft_host *host)
{
    for (size_t i = 0; i < host->n_peers; i++) {
        gn_buf_close(&host->peers[i]->frame);
        free(host->peers[i]);
    }
    free(host->peers);
}

void gn_raft_transport_probe(gn_raft_group *group, gn_node_id to, bool ack, uint64_t term, uint64_t round)
{
    gn_raft_wire_put_probe(frame_to(group->host, to), group->id, ack, term, round);
}

/* ---- going out ---- */

void gn_raft_outbox_add(gn_raft_group *group, const struct raft_message *message)
{
    if (group->n_outbox == GN_RAFT_OUTBOX)
        return; /* as lost as any datagram */
    if (group->n_outbox == group->cap_outbox) {
        group->cap_outbox = group->cap_outbox ? group->cap_outbox * 2 : 8;
        group->outbox = gn_xrealloc(group->outbox, group->cap_outbox * sizeof *group->outbox);
    }
    group->outbox[group->n_outbox++] = *message;
}

/* Whether it carries a CHANGE that a crash could still take from this leader. */
static bool carries_volatile_change(const gn_raft_group *group, const struct raft_append_entries *m)
{
    for (size_t i = group->n_changes; i > 0; i--) {
        uint64_t index = group->changes[i - 1].index;
        if (index <= group->raft.last_stored || index <= m->prev_log_index)
            return false;
        if (index <= m->prev_log_index + m->n_entries)
            return true;
    }
    return false;
}

/* As many messages as their size asks for. The core gave previous index and count; the entries are loaded now. */
static void send_append_entries(gn_raft_group *group, struct raft_message message)
{
    struct raft_append_entries *m = &message.append_entries;
    gn_raft_host *host = group->host;
    size_t left = m->n_entries;
    do {
        size_t n = 0;
        gn_raft_host_scratch(host, left ? left : 1);
        if (left > 0) {
            n = gn_raft_log_load(group, m->prev_log_index + 1, left, GN_MAX_RAFT_MESSAGE, host->slots);
            if (n == 0)
                return; /* cut since, or the host failed; the core will ask again */
        }
        m->n_entries = (unsigned)n;
        gn_buf *frame = frame_to(host, message.server_id);
        gn_raft_wire_put(frame, group->id, &message, host->slots, NULL);
        if (frame->len > GN_MAX_RAFT_MESSAGE)
            send_frame(host, peer_of(host, message.server_id));
        for (size_t i = 0; i < n; i++) {
            m->prev_log_term = gn_raft_record_term(host->slots[i].record);
            gn_raft_segment_unref(host->slots[i].segment);
        }
        m->prev_log_index += n;
        left -= n;
    } while (left > 0);
}

/* A heartbeat that the follower rejects while its snapshot is on the way makes the core send the snapshot again. */
static bool sent_lately(gn_raft_group *group, gn_node_id to, uint64_t index)
{
    uint64_t now = gn_raft_now_ms(group->host);
    struct gn_raft_sent *sent = NULL;
    for (size_t i = 0; i < group->n_sent && !sent; i++)
        if (group->sent[i].to == to)
            sent = &group->sent[i];
    if (sent && sent->index == index && now - sent->ms < group->host->options.election_timeout_ms)
        return true;
    if (!sent)
        sent = &group->sent[group->n_sent < GN_MAX_PEERS ? group->n_sent++ : to % GN_MAX_PEERS];
    sent->to = to;
    sent->index = index;
    sent->ms = now;
    return false;
}

static void send_snapshot(gn_raft_group *group, const struct raft_message *message)
{
    const struct raft_install_snapshot *m = &message->install_snapshot;
    if (!group->snapshot_bytes || group->snapshot.index != m->last_index ||
        sent_lately(group, message->server_id, m->last_index))
        return;
    GN_ASSERT(m->conf_index == group->snapshot.configuration_index && m->last_term == group->snapshot.term);
    gn_log_info("raft", "sends snapshot", GN_KV_U64("group", group->id), GN_KV_U64("to", message->server_id),
                GN_KV_U64("index", m->last_index));
    gn_raft_wire_put(frame_to(group->host, message->server_id), group->id, message, NULL, &group->snapshot);
}

/* False: it must wait. What a leader of a past term wanted to say is dropped: its log may be another's by now. */
static bool send_message(gn_raft_group *group, const struct raft_message *message)
{
    bool own_term;
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        own_term = group->leads && message->append_entries.term == group->term;
        if (own_term && carries_volatile_change(group, &message->append_entries))
            return false;
        if (own_term)
            send_append_entries(group, *message);
        return true;
    case RAFT_INSTALL_SNAPSHOT:
        if (group->leads && message->install_snapshot.term == group->term)
            send_snapshot(group, message);
        return true;
    default:
        gn_raft_wire_put(frame_to(group->host, message->server_id), group->id, message, NULL, NULL);
        return true;
    }
}

void gn_raft_outbox_flush(gn_raft_group *group)
{
    size_t sent = 0;
    if (!gn_raft_state_durable(group))
        return;
    while (sent < group->n_outbox && !group->stopped && send_message(group, &group->outbox[sent]))
        sent++;
    if (sent == 0)
        return;
    memmove(group->outbox, group->outbox + sent, (group->n_outbox - sent) * sizeof *group->outbox);
    group->n_outbox -= sent;
}

/* ---- telling what is committed ----
 *
 * An empty AppendEntries behind what the member is known to have: any such message is a leader's right, and its answer
 * is like any other. Without it a member that has everything learns of a commit with the next entry or heartbeat. */

void gn_raft_wish_add(gn_raft_group *group, gn_node_id member)
{
    size_t i = 0;
    while (i < group->n_wishes && group->wishes[i].member != member)
        i++;
    if (i == GN_MAX_PEERS)
        return;
    group->wishes[i] = (struct gn_raft_wish){.member = member, .index = group->commit};
    if (i == group->n_wishes)
        group->n_wishes++;
}

/* 0: it is not in the log any more. */
static uint64_t term_at(gn_raft_group *group, uint64_t index)
{
    gn_raft_slot slot;
    if (index == group->last_index)
        return group->last_term;
    if (index == group->snapshot.index)
        return group->snapshot.term;
    if (index < group->first_index || gn_raft_log_load(group, index, 1, 0, &slot) == 0)
        return 0;
    uint64_t term = gn_raft_record_term(slot.record);
    gn_raft_segment_unref(slot.segment);
    return term;
}

static void tell_commit(gn_raft_group *group, gn_node_id member, uint64_t match)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES, .server_id = member};
    message.append_entries = (struct raft_append_entries){.term = group->term,
                                                          .prev_log_index = match,
                                                          .prev_log_term = term_at(group, match),
                                                          .leader_commit = group->raft.commit_index};
    if (message.append_entries.prev_log_term != 0 && !group->stopped)
        gn_raft_outbox_add(group, &message);
}

void gn_raft_wishes_advance(gn_raft_group *group)
{
    size_t kept = 0;
    for (size_t i = 0; i < group->n_wishes && group->leads && !group->stopped; i++) {
        struct gn_raft_wish wish = group->wishes[i];
        raft_index match = 0;
        if (raft_match_index(&group->raft, wish.member, &match) != 0)
            continue; /* no member */
        if (match < wish.index || match == 0)
            group->wishes[kept++] = wish;
        else
            tell_commit(group, wish.member, match);
    }
    group->n_wishes = kept;
}

/* ---- coming in ---- */

/* Copies the entries into a segment and the scratch arrays. False when one is damaged. */
static bool take_records(gn_raft_group *group, const gn_raft_wire *wire, gn_raft_segment *segment)
{
    gn_raft_host *host = group->host;
    const struct raft_append_entries *m = &wire->core.append_entries;
    gn_reader r = gn_reader_of(wire->records);
    void *batch = raft_malloc(1); /* the core frees it, or gives it back with the entries */
    size_t at = 0;
    GN_ASSERT(batch);
    for (unsigned i = 0; i < m->n_entries; i++) {
        gn_raft_record record;
        gn_bytes bytes = gn_read_bytes(&r, gn_read_be32(&r));
        uint8_t *copy = segment->data + at;
        memcpy(copy, bytes.data, bytes.len);
        if (!gn_raft_record_read(gn_bytes_of(copy, bytes.len), group->id, m->prev_log_index + 1 + i, &record) ||
            (record.type == RAFT_CHANGE && !gn_raft_configuration_valid(record.payload))) {
            raft_free(batch);
            return false;
        }
        host->slots[i] = (gn_raft_slot){.segment = segment, .record = copy, .len = (uint32_t)bytes.len};
        host->entries[i] = (struct raft_entry){.term = record.term, .type = record.type, .batch = batch};
        host->entries[i].buf.base = copy + GN_RAFT_RECORD_HEADER;
        host->entries[i].buf.len = record.payload.len;
        at += bytes.len;
    }
    return true;
}

/* The commit index of a message is clipped to what the message itself vouches for: an old message must neither commit
 * entries that it did not compare nor move the commit index back. */
static bool receive_append_entries(gn_raft_group *group, gn_raft_wire *wire, struct raft_event *event)
{
    struct raft_append_entries *m = &wire->core.append_entries;
    gn_raft_host *host = group->host;
    if (group->leads && m->term == group->term)
        return false; /* two leaders in one term: the core asserts that it cannot be */
    if (m->leader_commit > m->prev_log_index + m->n_entries)
        m->leader_commit = m->prev_log_index + m->n_entries;
    if (m->n_entries == 0) {
        gn_raft_step(group, event);
        return true;
    }
    gn_raft_segment *segment = gn_raft_segment_create(wire->records.len);
    gn_raft_host_scratch(host, m->n_entries);
    bool sound = take_records(group, wire, segment);
    m->entries = host->entries;
    if (sound)
        gn_raft_step(group, event);
    gn_raft_segment_unref(segment);
    return sound;
}

/* Whether a snapshot up to a committed entry names another term for it. The core would believe it and forget what is
 * committed. */
static bool contradicts_commit(gn_raft_group *group, const struct raft_install_snapshot *m)
{
    gn_raft_slot slot;
    if (m->last_index > group->commit || m->last_index < group->first_index || group->install != GN_RAFT_INSTALL_NONE ||
        gn_raft_log_load(group, m->last_index, 1, 0, &slot) == 0)
        return false;
    uint64_t term = gn_raft_record_term(slot.record);
    gn_raft_segment_unref(slot.segment);
    return term != m->last_term;
}

static bool receive_snapshot(gn_raft_group *group, gn_raft_wire *wire, struct raft_event *event)
{
    struct raft_install_snapshot *m = &wire->core.install_snapshot;
    if (group->leads && m->term == group->term)
        return false;
    if (contradicts_commit(group, m)) {
        gn_raft_group_stop(group, GN_CORRUPT, "a peer's snapshot conflicts with a committed entry");
        return true;
    }
    if (group->stopped)
        return true;
    gn_raft_configuration_decode(wire->configuration, &m->conf);
    m->data.base = raft_malloc(wire->manifest.len + 1);
    GN_ASSERT(m->data.base);
    memcpy(m->data.base, wire->manifest.data, wire->manifest.len);
    m->data.len = wire->manifest.len;
    gn_raft_step(group, event);
    return true;
}

/* False when no honest peer could have sent it. */
static bool receive_message(gn_raft_group *group, gn_node_id from, gn_raft_wire *wire)
{
    struct raft_event event = {.type = RAFT_RECEIVE};
    event.receive.message = &wire->core;
    switch (wire->type) {
    case GN_RAFT_WIRE_READ_PROBE:
        gn_raft_read_probe(group, from, wire->term, wire->round);
        return true;
    case GN_RAFT_WIRE_READ_ACK:
        gn_raft_read_ack(group, from, wire->term, wire->round);
        return true;
    case RAFT_APPEND_ENTRIES:
        return receive_append_entries(group, wire, &event);
    case RAFT_INSTALL_SNAPSHOT:
        return receive_snapshot(group, wire, &event);
    case RAFT_REQUEST_VOTE:
        if (wire->core.request_vote.candidate_id != from)
            return false;
        gn_raft_step_forget_silent(group);
        break;
    case RAFT_REQUEST_VOTE_RESULT: /* a granted pre-vote is for the next term, or an old one */
        if (wire->core.request_vote_result.vote_granted && wire->core.request_vote_result.term > group->term + 1)
            return false;
        break;
    default:
        break;
    }
    gn_raft_step(group, &event);
    return true;
}

uint64_t gn_raft_transport_heard_ms(const gn_raft_host *host, gn_node_id id)
{
    const gn_raft_peer *peer = known_peer(host, id);
    return peer ? peer->heard_ms : 0;
}

bool gn_raft_transport_hears(const gn_raft_host *host, gn_node_id id)
{
    uint64_t heard = gn_raft_transport_heard_ms(host, id);
    return heard && gn_raft_now_ms(host) - heard <= host->options.election_timeout_ms / 2;
}

/* Nobody listens where it did: the groups that it led look for another leader. */
static void peer_gone(gn_raft_host *host, gn_node_id id)
{
    gn_raft_peer *peer = known_peer(host, id);
    if (!peer || peer->gone)
        return;
    peer->gone = true;
    peer->heard_ms = 0;
    gn_log_info("raft", "a node's process is gone", GN_KV_U64("node", id));
    for (size_t i = 0; i < host->n_groups; i++)
        if (gn_raft_is_at_work(host->groups[i]))
            gn_raft_step_leader_gone(host->groups[i], id);
    gn_raft_host_turn(host);
}

void gn_raft_transport_receive(void *ctx, gn_node_id from, gn_bytes frame)
{
    gn_raft_host *host = ctx;
    if (frame.len == 0) {
        peer_gone(host, from);
        return;
    }
    gn_reader r = gn_reader_of(frame);
    gn_raft_wire wire = {0};
    char address[24];
    bool bad = gn_read_u8(&r) != GN_RAFT_WIRE_VERSION || from == 0 || from == host->self;
    gn_raft_peer *peer = known_peer(host, from);
    if (peer) {
        peer->heard_ms = gn_raft_now_ms(host);
        peer->gone = false;
    }
    snprintf(address, sizeof address, "%" PRIu64, from);
    while (!bad && !host->failed && gn_raft_wire_next(&r, &wire, &bad)) {
        gn_raft_group *group = gn_raft_host_find(host, wire.group);
        gn_counter_add(host->metrics.messages_received, 1);
        if (!group || !gn_raft_is_at_work(group))
            continue;
        wire.core.server_id = from;
        wire.core.server_address = address; /* libraft wants one */
        bad = !receive_message(group, from, &wire);
    }
    if (bad) {
        gn_counter_add(host->metrics.messages_bad, 1);
        gn_log_warn("raft", "message refused", GN_KV_U64("from", from), GN_KV_U64("group", wire.group),
                    GN_KV_U64("type", wire.type));
    }
    gn_raft_host_turn(host);
}
