#include "tests/raft/puppet.h"

#include "tests/base/cmocka_all.h"

#include <stdlib.h>

static void note(puppet *p, gn_node_id from, const gn_raft_wire *wire)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        p->heard = gn_xrealloc(p->heard, p->cap * sizeof *p->heard);
    }
    heard *h = &p->heard[p->n++];
    *h = (heard){.from = from, .wire = *wire, .frame = p->frames};
    if (wire->type != RAFT_APPEND_ENTRIES)
        return;
    gn_reader r = gn_reader_of(wire->records);
    h->first_index = wire->core.append_entries.prev_log_index + 1;
    for (unsigned i = 0; i < wire->core.append_entries.n_entries; i++) {
        gn_bytes bytes = gn_read_bytes(&r, gn_read_be32(&r));
        gn_raft_record record;
        assert_true(gn_raft_record_read(bytes, wire->group, h->first_index + i, &record));
        if (i == 0)
            h->first_term = record.term;
        if (i < sizeof h->types)
            h->types[i] = record.type;
    }
}

static void receive(void *ctx, gn_node_id from, gn_bytes frame)
{
    puppet *p = ctx;
    gn_reader r = gn_reader_of(frame);
    gn_raft_wire wire;
    if (frame.len == 0) /* somebody is gone */
        return;
    bool bad = gn_read_u8(&r) != GN_RAFT_WIRE_VERSION;
    p->frames++;
    while (!bad && gn_raft_wire_next(&r, &wire, &bad))
        note(p, from, &wire);
    assert_false(bad);
}

static void listen(gn_task *task)
{
    puppet *p = GN_CONTAINER(task, puppet, task);
    gn_net_listen(gn_sim_world(p->cluster->sim, p->id), GN_RAFT_CHANNEL, p->queue, p->listening ? NULL : receive, p);
    p->listening = !p->listening;
}

static void toggle(puppet *p)
{
    p->task.run = listen;
    gn_queue_post(p->queue, &p->task);
    gn_sim_run_for(p->cluster->sim, MS);
}

void puppet_start(puppet *p, cluster *c, unsigned id)
{
    *p = (puppet){.cluster = c, .id = id, .queue = gn_queue_create(gn_sim_world(c->sim, id), "puppet")};
    toggle(p);
}

void puppet_stop(puppet *p)
{
    toggle(p);
    gn_queue_destroy(p->queue);
    free(p->heard);
}

void puppet_forget(puppet *p)
{
    p->n = 0;
}

const heard *puppet_last(const puppet *p, int type)
{
    for (size_t i = p->n; i > 0; i--)
        if (p->heard[i - 1].wire.type == type)
            return &p->heard[i - 1];
    return NULL;
}

size_t puppet_count(const puppet *p, int type)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += p->heard[i].wire.type == type;
    return n;
}

const heard *puppet_entry(const puppet *p, uint8_t type)
{
    for (size_t i = p->n; i > 0; i--) {
        const heard *h = &p->heard[i - 1];
        for (size_t j = 0; j < sizeof h->types; j++)
            if (h->types[j] == type)
                return h;
    }
    return NULL;
}

void puppet_raw(puppet *p, unsigned to, gn_bytes frame)
{
    gn_net_send(gn_sim_world(p->cluster->sim, p->id), to, GN_RAFT_CHANNEL, frame);
}

static void send(puppet *p, unsigned to, const struct raft_message *message, const gn_raft_slot *slots,
                 const gn_raft_snapshot_record *snapshot)
{
    gn_buf frame;
    gn_buf_init(&frame, NULL, SIZE_MAX);
    gn_raft_wire_begin(&frame);
    gn_raft_wire_put(&frame, CLUSTER_GROUP, message, slots, snapshot);
    puppet_raw(p, to, gn_buf_bytes(&frame));
    gn_buf_close(&frame);
}

void puppet_send(puppet *p, unsigned to, const struct raft_message *message)
{
    send(p, to, message, NULL, NULL);
}

void puppet_append(puppet *p, unsigned to, uint64_t term, uint64_t prev, uint64_t prev_term, uint64_t commit,
                   const puppet_entry_of *entries, unsigned n)
{
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES};
    gn_raft_slot slots[32];
    uint8_t bytes[32][64];
    assert_true(n <= 32);
    m.append_entries.term = term;
    m.append_entries.prev_log_index = prev;
    m.append_entries.prev_log_term = prev_term;
    m.append_entries.leader_commit = commit;
    m.append_entries.n_entries = n;
    for (unsigned i = 0; i < n; i++) {
        gn_raft_record record = {.term = entries[i].term, .type = RAFT_BARRIER};
        if (entries[i].command) {
            record.type = RAFT_COMMAND;
            record.payload = gn_bytes_str(entries[i].command);
        }
        gn_raft_record_write(bytes[i], CLUSTER_GROUP, prev + 1 + i, &record);
        slots[i] = (gn_raft_slot){.record = bytes[i], .len = (uint32_t)(GN_RAFT_RECORD_HEADER + record.payload.len)};
    }
    send(p, to, &m, slots, NULL);
}

void puppet_append_result(puppet *p, unsigned to, uint64_t term, uint64_t rejected, uint64_t last)
{
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES_RESULT};
    m.append_entries_result.term = term;
    m.append_entries_result.rejected = rejected;
    m.append_entries_result.last_log_index = last;
    puppet_send(p, to, &m);
}

void puppet_ask_vote(puppet *p, unsigned to, uint64_t term, uint64_t last, uint64_t last_term)
{
    struct raft_message m = {.type = RAFT_REQUEST_VOTE};
    m.request_vote.version = 2;
    m.request_vote.term = term;
    m.request_vote.candidate_id = p->id;
    m.request_vote.last_log_index = last;
    m.request_vote.last_log_term = last_term;
    puppet_send(p, to, &m);
}

void puppet_vote(puppet *p, unsigned to, uint64_t term, bool pre)
{
    struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT};
    m.request_vote_result.version = 2;
    m.request_vote_result.term = term;
    m.request_vote_result.vote_granted = true;
    m.request_vote_result.pre_vote = pre;
    puppet_send(p, to, &m);
}

void puppet_snapshot(puppet *p, unsigned to, uint64_t term, uint64_t last, uint64_t last_term, const char *manifest,
                     size_t len)
{
    const gn_raft_member members[] = {{1, GN_RAFT_VOTER}, {2, GN_RAFT_VOTER}, {3, GN_RAFT_VOTER}};
    struct raft_message m = {.type = RAFT_INSTALL_SNAPSHOT};
    gn_bytes configuration = gn_raft_configuration_encode(members, 3);
    gn_raft_snapshot_record record = {.index = last,
                                      .term = last_term,
                                      .configuration_index = 1,
                                      .configuration = configuration,
                                      .manifest = gn_bytes_of(manifest, len)};
    m.install_snapshot.term = term;
    send(p, to, &m, NULL, &record);
    raft_free((void *)(uintptr_t)configuration.data);
}

static bool asks_for_vote(void *ctx)
{
    return puppet_last(ctx, RAFT_REQUEST_VOTE) != NULL;
}

void puppet_elect(puppet *p)
{
    for (int phase = 0; phase < 2; phase++) {
        puppet_forget(p);
        assert_true(gn_sim_run_until(p->cluster->sim, asks_for_vote, p, 20 * SECOND));
        const struct raft_request_vote *asked = &puppet_last(p, RAFT_REQUEST_VOTE)->wire.core.request_vote;
        puppet_vote(p, 1, asked->term, asked->pre_vote);
        gn_sim_run_for(p->cluster->sim, 10 * MS);
        if (cluster_status(p->cluster, 1).leads)
            return;
    }
    assert_true(cluster_status(p->cluster, 1).leads);
}
