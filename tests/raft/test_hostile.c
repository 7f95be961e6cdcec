/* Peers that send nonsense: every message well-formed, its contents drawn. libraft's core asserts what an honest peer
 * would never say; the host must refuse it first. The group may stop when a peer contradicts what is committed; the
 * process may not. */
#include "tests/base/cmocka_all.h"
#include "tests/raft/puppet.h"

#include <stdio.h>
#include <stdlib.h>

static cluster c;
static puppet peers[2];
static gn_raft_segment *segment;

static uint64_t below(uint64_t n)
{
    return gn_sim_random(c.sim, n);
}

static uint64_t some_term(void)
{
    uint64_t term = cluster_status(&c, 1).term;
    switch (below(8)) {
    case 0:
        return below(4);
    case 1:
        return term + below(3);
    case 2:
        return term ? term - 1 : 0;
    default:
        return term;
    }
}

static uint64_t some_index(void)
{
    gn_raft_status status = cluster_status(&c, 1);
    switch (below(8)) {
    case 0:
        return below(3);
    case 1:
        return UINT64_C(1) << below(63);
    case 2:
        return status.commit_index + below(3);
    case 3:
        return status.first_index + below(3) - 1;
    default:
        return status.last_index + below(5) - 2;
    }
}

/* Mostly that of the host's own entry. */
static uint64_t known_term(uint64_t index)
{
    const gn_raft_slot *slot = gn_raft_tail_get(&c.node[1].group->tail, index);
    return slot && below(8) ? gn_raft_record_term(slot->record) : some_term();
}

static void send_append(puppet *p)
{
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES};
    gn_raft_slot slots[8];
    uint64_t term = some_term(), prev = some_index();
    m.append_entries.term = term;
    m.append_entries.prev_log_index = prev;
    m.append_entries.prev_log_term = prev ? known_term(prev) : below(10) == 0;
    m.append_entries.leader_commit = below(16) ? 0 : some_index();
    m.append_entries.n_entries = (unsigned)below(8);
    uint8_t *at = segment->data;
    for (unsigned i = 0; i < m.append_entries.n_entries; i++) {
        gn_raft_record record = {
            .term = below(8) ? term : some_term(), .type = RAFT_COMMAND, .payload = gn_bytes_str("command")};
        const gn_raft_member members[] = {
            {1 + below(2), GN_RAFT_VOTER}, {3, GN_RAFT_VOTER}, {4 + below(2), GN_RAFT_NON_VOTER}};
        gn_bytes configuration = gn_raft_configuration_encode(members, 1 + below(3));
        if (below(4) == 0) {
            record.type = RAFT_CHANGE;
            record.payload = configuration;
        } else if (below(4) == 0) {
            record.type = RAFT_BARRIER;
            record.payload = (gn_bytes){0};
        }
        if (record.term == 0)
            record.term = 1;
        gn_raft_record_write(at, CLUSTER_GROUP, prev + 1 + i, &record);
        slots[i] = (gn_raft_slot){.record = at, .len = (uint32_t)(GN_RAFT_RECORD_HEADER + record.payload.len)};
        at += slots[i].len;
        raft_free((void *)(uintptr_t)configuration.data);
    }
    gn_buf frame;
    gn_buf_init(&frame, NULL, SIZE_MAX);
    gn_raft_wire_begin(&frame);
    gn_raft_wire_put(&frame, CLUSTER_GROUP, &m, slots, NULL);
    puppet_raw(p, 1, gn_buf_bytes(&frame));
    gn_buf_close(&frame);
}

static void send_vote_result(puppet *p)
{
    struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT};
    m.request_vote_result.version = (unsigned char)below(4);
    m.request_vote_result.term = some_term() + below(2);
    m.request_vote_result.vote_granted = below(2);
    m.request_vote_result.pre_vote = below(2);
    puppet_send(p, 1, &m);
}

static void send_vote_request(puppet *p)
{
    struct raft_message m = {.type = RAFT_REQUEST_VOTE};
    m.request_vote.version = (unsigned char)below(4);
    m.request_vote.term = some_term() + below(2);
    m.request_vote.candidate_id = below(8) ? p->id : below(5);
    m.request_vote.last_log_index = some_index();
    m.request_vote.last_log_term = some_term();
    m.request_vote.disrupt_leader = below(2);
    m.request_vote.pre_vote = below(2);
    puppet_send(p, 1, &m);
}

static void send_timeout_now(puppet *p)
{
    struct raft_message m = {.type = RAFT_TIMEOUT_NOW};
    m.timeout_now.term = some_term();
    m.timeout_now.last_log_index = some_index();
    m.timeout_now.last_log_term = some_term();
    puppet_send(p, 1, &m);
}

static void send_probe(puppet *p)
{
    gn_buf frame;
    gn_buf_init(&frame, NULL, SIZE_MAX);
    gn_raft_wire_begin(&frame);
    gn_raft_wire_put_probe(&frame, CLUSTER_GROUP, below(2), some_term() + 1, 1 + below(5));
    puppet_raw(p, 1, gn_buf_bytes(&frame));
    gn_buf_close(&frame);
}

static void send_something(puppet *p)
{
    switch (below(8)) {
    case 0:
        send_vote_request(p);
        break;
    case 1:
        send_vote_result(p);
        break;
    case 2:
        send_timeout_now(p);
        break;
    case 3:
        if (below(4) == 0)
            puppet_snapshot(p, 1, some_term() + 1, some_index() + 1, some_term() + 1, "x", 2);
        else
            send_probe(p);
        break;
    case 4:
        puppet_append_result(p, 1, some_term() + 1, below(2) ? some_index() : 0, some_index());
        break;
    default:
        send_append(p);
    }
}

static void ignore(gn_raft_request *request, gn_code code)
{
    (void)code;
    free(request);
}

static void submit_something(void)
{
    gn_raft_request *request = gn_xcalloc(1, sizeof *request);
    request->done = ignore;
    request->command = gn_bytes_str("own");
    if (below(2))
        gn_raft_submit(c.node[1].group, request);
    else if (below(4))
        gn_raft_read_index(c.node[1].group, request);
    else
        gn_raft_take_snapshot(c.node[1].group, request);
}

static void nonsense_from_peers_does_not_end_the_process(void **state)
{
    (void)state;
    gn_raft_options options = {.log_keep_bytes = 100, .snapshot_threshold_bytes = 1000};
    size_t stopped = 0, installs = 0, applied = 0;
    gn_log_configure(GN_LOG_OFF, false, 2);
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        cluster_start_with(&c, seed, 3, 3, 2, &options);
        segment = gn_raft_segment_create(4096);
        puppet_start(&peers[0], &c, 2);
        puppet_start(&peers[1], &c, 3);
        for (int i = 0; i < 150; i++) {
            if (cluster_status(&c, 1).stopped) {
                stopped++;
                cluster_crash(&c, 1, GN_SIM_TEAR);
                cluster_restart(&c, 1);
            }
            send_something(&peers[below(2)]);
            if (below(4) == 0)
                submit_something();
            gn_sim_run_for(c.sim, below(20) ? below(3 * MS) : 1500 * MS);
        }
        installs += c.node[1].recorder->installs;
        applied += c.node[1].recorder->n;
        puppet_stop(&peers[0]);
        puppet_stop(&peers[1]);
        gn_raft_segment_unref(segment);
        cluster_stop(&c);
    }
    gn_log_configure(GN_LOG_WARN, false, 2);
    print_message("%zu stops, %zu installs, %zu commands applied\n", stopped, installs, applied);
    assert_true(stopped > 0 && installs > 0 && applied > 1000); /* it went deep enough */
}

static void bytes_that_are_no_frame_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[200];
    gn_log_configure(GN_LOG_OFF, false, 2);
    cluster_start_with(&c, 7, 3, 3, 2, NULL);
    puppet_start(&peers[0], &c, 2);
    for (int i = 0; i < 3000; i++) {
        size_t len = below(sizeof bytes);
        for (size_t j = 0; j < len; j++)
            bytes[j] = (uint8_t)(below(3) ? below(4) : below(256));
        if (len > 14 && below(2)) { /* the beginning of a sound message */
            memset(bytes, 0, 14);
            bytes[0] = GN_RAFT_WIRE_VERSION;
            bytes[4] = (uint8_t)(len - 5);
            bytes[12] = CLUSTER_GROUP;
            bytes[13] = (uint8_t)(1 + below(9));
        }
        puppet_raw(&peers[0], 1, gn_bytes_of(bytes, len));
        gn_sim_run_for(c.sim, MS);
    }
    assert_false(cluster_status(&c, 1).stopped);
    puppet_stop(&peers[0]);
    cluster_stop(&c);
    gn_log_configure(GN_LOG_WARN, false, 2);
}

static void every_message_comes_out_as_it_went_in(void **state)
{
    (void)state;
    gn_buf frame;
    gn_raft_wire wire;
    bool bad;
    struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT};
    m.request_vote_result.version = 2;
    m.request_vote_result.term = 77;
    m.request_vote_result.pre_vote = true;
    m.request_vote_result.features = 3;
    m.request_vote_result.capacity = 4;
    gn_buf_init(&frame, NULL, SIZE_MAX);
    gn_raft_wire_begin(&frame);
    gn_raft_wire_put(&frame, 5, &m, NULL, NULL);
    m = (struct raft_message){.type = RAFT_APPEND_ENTRIES_RESULT};
    m.append_entries_result.version = 1;
    m.append_entries_result.term = 78;
    m.append_entries_result.rejected = 9;
    m.append_entries_result.last_log_index = 8;
    gn_raft_wire_put(&frame, 6, &m, NULL, NULL);
    gn_reader r = gn_reader_of(gn_buf_bytes(&frame));
    assert_int_equal(gn_read_u8(&r), GN_RAFT_WIRE_VERSION);
    assert_true(gn_raft_wire_next(&r, &wire, &bad));
    assert_int_equal(wire.group, 5);
    assert_int_equal(wire.core.request_vote_result.term, 77);
    assert_int_equal(wire.core.request_vote_result.version, 2);
    assert_true(wire.core.request_vote_result.pre_vote);
    assert_false(wire.core.request_vote_result.vote_granted);
    assert_true(gn_raft_wire_next(&r, &wire, &bad));
    assert_int_equal(wire.group, 6);
    assert_int_equal(wire.core.append_entries_result.rejected, 9);
    assert_int_equal(wire.core.append_entries_result.last_log_index, 8);
    assert_false(gn_raft_wire_next(&r, &wire, &bad));
    assert_false(bad);
    for (size_t cut = 1; cut < frame.len; cut++) { /* no prefix passes as whole */
        r = gn_reader_of(gn_bytes_of(frame.data, cut));
        gn_read_u8(&r);
        int n = 0;
        while (gn_raft_wire_next(&r, &wire, &bad))
            n++;
        assert_true(n < 2);
    }
    gn_buf_close(&frame);
}

static void a_record_in_a_wrong_place_or_changed_is_noticed(void **state)
{
    (void)state;
    uint8_t bytes[64];
    gn_raft_record record = {.term = 3, .type = RAFT_COMMAND, .payload = gn_bytes_str("twelve bytes")}, out;
    gn_bytes whole = gn_bytes_of(bytes, GN_RAFT_RECORD_HEADER + 12);
    gn_raft_record_write(bytes, 4, 5, &record);
    assert_true(gn_raft_record_read(whole, 4, 5, &out));
    assert_true(out.term == 3 && gn_bytes_eq(out.payload, record.payload));
    assert_false(gn_raft_record_read(whole, 4, 6, &out));
    assert_false(gn_raft_record_read(whole, 5, 5, &out));
    for (size_t bit = 0; bit < whole.len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(gn_raft_record_read(whole, 4, 5, &out));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < whole.len; len++)
        assert_false(gn_raft_record_read(gn_bytes_of(bytes, len), 4, 5, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_out_as_it_went_in),
        cmocka_unit_test(a_record_in_a_wrong_place_or_changed_is_noticed),
        cmocka_unit_test(bytes_that_are_no_frame_are_refused),
        cmocka_unit_test(nonsense_from_peers_does_not_end_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
