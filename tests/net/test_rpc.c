/* Requests between nodes in simulated clusters, over networks that lose, double and reorder. */
#include "base/memory.h"
#include "tests/base/cmocka_all.h"
#include "tests/net/rpc_fleet.h"

#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#ifdef __SANITIZE_THREAD__ /* one thread, so there is nothing to find, and it takes twenty times as long */
enum { CHAOS_SEEDS = 24, LIVE_SEEDS = 3, ENOUGH = 10 };
#else
enum { CHAOS_SEEDS = 600, LIVE_SEEDS = 30, ENOUGH = 100 };
#endif

static void assert_sound(fleet *f)
{
    fleet_check(f);
    assert_int_equal(f->ran_twice, 0);
    assert_int_equal(f->done_twice, 0);
    assert_int_equal(f->wrong_answers, 0);
    assert_int_equal(f->ran_though_unavailable, 0);
}

/* ---- chaos ---- */

static size_t some_size(gn_sim *sim)
{
    return gn_sim_chance(sim, 0.05) ? 70000 + gn_sim_random(sim, 100000) : 8 + gn_sim_random(sim, 200);
}

static void ask_somebody(fleet *f)
{
    gn_node_id from = 1 + gn_sim_random(f->sim, f->n), to = 1 + gn_sim_random(f->sim, f->n);
    uint64_t timeout = gn_sim_chance(f->sim, 0.3) ? 1 + gn_sim_random(f->sim, 2 * SECOND) : 0;
    if (!f->nodes[from])
        return;
    asked *a = fleet_ask(f, from, to, (uint16_t)gn_sim_random(f->sim, UNKNOWN_METHOD + 1), some_size(f->sim), timeout);
    if (gn_sim_chance(f->sim, 0.05) && !a->done) {
        gn_sim_run_for(f->sim, gn_sim_random(f->sim, 20 * MS));
        gn_rpc_cancel(f->nodes[from]->rpc, &a->call);
        assert_true(a->done);
    }
}

static void trouble(fleet *f)
{
    gn_node_id node = 1 + gn_sim_random(f->sim, f->n), other = 1 + gn_sim_random(f->sim, f->n);
    switch (gn_sim_random(f->sim, 6)) {
    case 0:
        if (f->nodes[node])
            fleet_crash(f, node);
        break;
    case 1:
    case 2:
        if (!f->nodes[node])
            fleet_restart(f, node);
        break;
    case 3:
        gn_sim_cut(f->sim, node, other, true);
        break;
    default:
        gn_sim_cut(f->sim, 0, 0, false);
    }
}

static fleet *run_chaos(uint64_t seed, unsigned steps)
{
    fleet *f = fleet_create(seed, 3, 4);
    fleet_links(f, 0.2, 0.1, gn_sim_chance(f->sim, 0.5) ? 5 * MS : 200 * MS);
    for (unsigned i = 0; i < steps; i++) {
        ask_somebody(f);
        if (gn_sim_chance(f->sim, 0.08))
            trouble(f);
        gn_sim_run_for(f->sim, gn_sim_random(f->sim, gn_sim_chance(f->sim, 0.1) ? 500 * MS : 10 * MS));
    }
    return f;
}

static void whatever_happens_requests_run_at_most_once_and_calls_end_once(void **state)
{
    (void)state;
    unsigned seen[GN_INDEX_CORRUPT + 1] = {0};
    for (uint64_t seed = 1; seed <= CHAOS_SEEDS; seed++) {
        fleet *f = run_chaos(seed, 100);
        gn_sim_cut(f->sim, 0, 0, false);
        for (gn_node_id id = 1; id <= 3; id++) {
            if (!f->nodes[id])
                fleet_restart(f, id);
        }
        if (seed % 4) /* else they are destroyed with calls and handlers under way */
            assert_true(gn_sim_run_until(f->sim, fleet_all_done, f, MINUTE));
        fleet_close(f);
        assert_sound(f);
        for (unsigned i = 0; i < f->n_asked; i++)
            seen[f->asked[i]->code]++;
        fleet_destroy(f);
    }
    static const gn_code ends[] = {GN_OK, GN_UNIQUE, GN_UNAVAILABLE, GN_TIMEOUT, GN_CANCELED, GN_SHUTDOWN};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        assert_true(seen[ends[i]] > ENOUGH); /* the runs reach them all */
}

static void the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    uint64_t hash[2];
    for (int i = 0; i < 2; i++) {
        fleet *f = run_chaos(77, 60);
        hash[i] = gn_sim_trace_hash(f->sim);
        fleet_destroy(f);
    }
    assert_int_equal(hash[0], hash[1]);
}

/* The canary: a check that cannot fail shows nothing. */
static void without_memory_of_what_was_seen_requests_run_twice(void **state)
{
    (void)state;
    gn_rpc_test_forgetful = true;
    fleet *f = run_chaos(5, 100);
    gn_sim_run_until(f->sim, fleet_all_done, f, MINUTE);
    gn_rpc_test_forgetful = false;
    assert_true(f->ran_twice > 0);
    fleet_destroy(f);
}

static void a_live_peer_is_heard_through_any_loss(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= LIVE_SEEDS; seed++) {
        fleet *f = fleet_create(seed, 2, 0);
        fleet_links(f, 0.2, 0.1, 20 * MS);
        for (unsigned i = 0; i < 100; i++) {
            static const uint16_t methods[] = {ECHO, LATER, BLOCK, LARGE};
            fleet_ask(f, 1, 2, methods[i % 4], i % 10 == 0 ? 150000 : 8, 0);
            gn_sim_run_for(f->sim, gn_sim_random(f->sim, 20 * MS));
        }
        assert_true(gn_sim_run_until(f->sim, fleet_all_done, f, MINUTE));
        for (unsigned i = 0; i < f->n_asked; i++)
            assert_int_equal(f->asked[i]->code, GN_OK);
        assert_sound(f);
        fleet_destroy(f);
    }
}

/* ---- one thing at a time ---- */

static void finish(fleet *f)
{
    assert_true(gn_sim_run_until(f->sim, fleet_all_done, f, MINUTE));
    assert_sound(f);
}

static void meet(fleet *f)
{
    asked *a = fleet_ask(f, 1, 2, ECHO, 8, 0);
    finish(f);
    assert_int_equal(a->code, GN_OK);
}

static void a_node_asks_itself_without_the_network(void **state)
{
    (void)state;
    fleet *f = fleet_create(1, 1, 0);
    fleet_links(f, 1.0, 0, 1 * MS);
    for (uint16_t method = ECHO; method <= LARGE; method++)
        fleet_ask(f, 1, 1, method, method == BLOCK ? 2000000 : 8, 0);
    finish(f);
    for (unsigned i = 0; i < f->n_asked; i++)
        assert_int_equal(f->asked[i]->code, i == FAIL ? GN_UNIQUE : GN_OK);
    assert_int_equal(gn_rpc_stats_of(f->nodes[1]->rpc).entries, 0);
    fleet_destroy(f);
}

static void what_cannot_run_is_refused_and_did_not_run(void **state)
{
    (void)state;
    fleet *f = fleet_create(2, 2, 0);
    asked *unknown = fleet_ask(f, 1, 2, UNKNOWN_METHOD, 8, 0);
    finish(f);
    assert_int_equal(unknown->code, GN_UNAVAILABLE);
    gn_rpc_stop(f->nodes[2]->rpc);
    asked *stopping = fleet_ask(f, 1, 2, ECHO, 8, 0);
    finish(f);
    assert_int_equal(stopping->code, GN_UNAVAILABLE);
    asked *here = fleet_ask(f, 2, 1, ECHO, 8, 0);
    assert_true(here->done);
    assert_int_equal(here->code, GN_SHUTDOWN);
    assert_sound(f);
    fleet_destroy(f);
}

static void a_request_that_is_too_large_is_not_sent(void **state)
{
    (void)state;
    fleet *f = fleet_create(3, 2, 0);
    gn_bytes huge = gn_bytes_of("", (size_t)GN_MAX_RPC + 1);
    gn_error err = {0};
    gn_code code = gn_rpc_ask(f->nodes[1]->rpc, 2, ECHO, huge, 0, NULL, NULL, &err);
    assert_int_equal(code, GN_LIMIT);
    assert_true(err.message[0]);
    fleet_destroy(f);
}

/* Its bytes are not looked at. */
static void answer_too_much(void *ctx, gn_rpc_request *request)
{
    (void)ctx;
    gn_rpc_answer(request, GN_OK, gn_bytes_of("", (size_t)GN_MAX_RPC + 1), NULL);
}

static void an_answer_that_is_too_large_is_an_error(void **state)
{
    (void)state;
    enum { TOO_MUCH = UNKNOWN_METHOD + 1 };
    fleet *f = fleet_create(8, 2, 0);
    gn_rpc_serve(f->nodes[2]->rpc, TOO_MUCH, answer_too_much, NULL);
    gn_buf answer;
    gn_error err = {0};
    gn_buf_init(&answer, NULL, 1000);
    gn_code code = gn_rpc_ask(f->nodes[1]->rpc, 2, TOO_MUCH, gn_bytes_of("", 1), 0, NULL, &answer, &err);
    assert_int_equal(code, GN_LIMIT);
    assert_non_null(strstr(err.message, "larger than"));
    assert_int_equal(answer.len, 0);
    gn_buf_close(&answer);
    fleet_destroy(f);
}

static void a_dead_peer_ends_its_calls_soon(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        fleet *f = fleet_create(seed, 3, 0);
        f->longest_ns = 20 * SECOND;
        meet(f);
        asked *running = fleet_ask(f, 1, 2, BLOCK, 8, 0);
        gn_sim_run_for(f->sim, seed % 2 ? 5 * MS : 500 * MS);
        gn_sim_cut(f->sim, 2, 0, true);
        uint64_t cut_ns = gn_sim_now_ns(f->sim);
        asked *sent = fleet_ask(f, 1, 2, ECHO, 8, 0);
        finish(f);
        assert_int_equal(running->code, GN_TIMEOUT);
        assert_int_equal(sent->code, GN_TIMEOUT);
        assert_true(running->done_ns - cut_ns < (GN_RPC_SILENCE_MS + 350) * MS);
        assert_true(sent->done_ns - cut_ns < (GN_RPC_SILENCE_MS + 350) * MS);
        assert_true(sent->done_ns - cut_ns >= 900 * MS);
        fleet_destroy(f);
    }
}

/* Its machine says that nobody listens there any more. */
static void calls_to_a_process_that_is_gone_end_at_once(void **state)
{
    (void)state;
    fleet *f = fleet_create(6, 3, 0);
    meet(f);
    asked *running = fleet_ask(f, 1, 2, BLOCK, 2000000, 0), *other = fleet_ask(f, 1, 3, BLOCK, 8, 0);
    gn_sim_run_for(f->sim, 5 * MS);
    fleet_crash(f, 2);
    gn_sim_tell_gone(f->sim, 2, GN_RPC_CHANNEL);
    gn_sim_run_for(f->sim, 2 * MS);
    assert_true(running->done);
    assert_int_equal(running->code, GN_TIMEOUT); /* it may have run */
    assert_false(other->done);
    asked *next = fleet_ask(f, 1, 2, ECHO, 8, 0);
    assert_true(next->done);
    assert_int_equal(next->code, GN_UNAVAILABLE);
    fleet_restart(f, 2);
    fleet_ask(f, 2, 1, ECHO, 8, 0); /* it is heard */
    gn_sim_run_for(f->sim, 20 * MS);
    asked *back = fleet_ask(f, 1, 2, ECHO, 8, 0);
    finish(f);
    assert_int_equal(back->code, GN_OK);
    fleet_destroy(f);
}

/* It started again at once and says nothing of itself. */
static void a_process_that_is_back_is_asked_again_at_once(void **state)
{
    (void)state;
    fleet *f = fleet_create(6, 2, 0);
    meet(f);
    gn_sim_run_for(f->sim, SECOND);
    fleet_crash(f, 2);
    gn_sim_tell_gone(f->sim, 2, GN_RPC_CHANNEL);
    gn_sim_run_for(f->sim, 2 * MS);
    fleet_restart(f, 2);
    asked *refused = fleet_ask(f, 1, 2, ECHO, 8, 0);
    assert_true(refused->done);
    assert_int_equal(refused->code, GN_UNAVAILABLE);
    gn_sim_run_for(f->sim, 20 * MS);
    asked *back = fleet_ask(f, 1, 2, ECHO, 8, 0);
    finish(f);
    assert_int_equal(back->code, GN_OK);
    fleet_destroy(f);
}

static void a_peer_that_others_do_not_hear_is_given_less_time(void **state)
{
    (void)state;
    fleet *f = fleet_create(7, 3, 0);
    meet(f);
    fleet_ask(f, 1, 3, ECHO, 8, 0);
    finish(f);
    gn_sim_run_for(f->sim, SECOND);
    gn_rpc_suspect(f->nodes[1]->rpc, 2); /* wrongly */
    gn_rpc_suspect(f->nodes[1]->rpc, 3);
    gn_sim_cut(f->sim, 3, 0, true);
    asked *there = fleet_ask(f, 1, 2, ECHO, 8, 0), *gone = fleet_ask(f, 1, 3, ECHO, 8, 0);
    finish(f);
    assert_int_equal(there->code, GN_OK);
    assert_int_not_equal(gone->code, GN_OK);
    assert_true(gone->done_ns - gone->started_ns < (GN_RPC_SILENCE_MS / 2) * MS);
    fleet_destroy(f);
}

static void a_peer_never_heard_of_was_sent_nothing(void **state)
{
    (void)state;
    fleet *f = fleet_create(4, 2, 0);
    fleet_crash(f, 2);
    asked *silent = fleet_ask(f, 1, 2, ECHO, 8, 0), *hurried = fleet_ask(f, 1, 2, ECHO, 8, 50 * MS);
    asked *canceled = fleet_ask(f, 1, 2, ECHO, 8, 0);
    gn_rpc_cancel(f->nodes[1]->rpc, &canceled->call);
    finish(f);
    assert_int_equal(silent->code, GN_UNAVAILABLE);
    assert_int_equal(hurried->code, GN_TIMEOUT);
    assert_int_equal(canceled->code, GN_CANCELED);
    assert_true(silent->done_ns - silent->started_ns < (GN_RPC_SILENCE_MS + 100) * MS);
    fleet_destroy(f);
}

/* It talks, but what we say does not get there. */
static void a_peer_that_cannot_hear_ends_calls_too(void **state)
{
    (void)state;
    fleet *f = fleet_create(5, 2, 0);
    meet(f);
    gn_sim_cut(f->sim, 1, 2, true);
    asked *a = fleet_ask(f, 1, 2, ECHO, 8, 0);
    for (int i = 0; i < 200 && !a->done; i++) {
        fleet_ask(f, 2, 1, ECHO, 8, 500 * MS);
        gn_sim_run_for(f->sim, 50 * MS);
    }
    assert_int_equal(a->code, GN_TIMEOUT);
    gn_sim_cut(f->sim, 0, 0, false);
    finish(f);
    fleet_destroy(f);
}

static void a_peer_that_restarted_ends_the_calls_that_its_past_had(void **state)
{
    (void)state;
    fleet *f = fleet_create(6, 2, 0);
    f->longest_ns = 600 * MS; /* which its ghost needs to end */
    meet(f);
    asked *old = fleet_ask(f, 1, 2, BLOCK, 8, 0);
    gn_sim_run_for(f->sim, 10 * MS);
    fleet_crash(f, 2);
    fleet_restart(f, 2);
    asked *new = fleet_ask(f, 1, 2, ECHO, 8, 0);
    finish(f);
    assert_int_equal(old->code, GN_TIMEOUT);
    assert_int_equal(old->ran, 1);
    assert_int_equal(new->code, GN_TIMEOUT); /* it went to the past as well */
    asked *newer = fleet_ask(f, 1, 2, ECHO, 8, 0);
    finish(f);
    assert_int_equal(newer->code, GN_OK);
    fleet_destroy(f);
}

static void a_handler_may_take_long(void **state)
{
    (void)state;
    fleet *f = fleet_create(7, 2, 0);
    fleet_links(f, 0.2, 0.1, 20 * MS);
    f->longest_ns = 20 * SECOND;
    for (int i = 0; i < 20; i++)
        fleet_ask(f, 1, 2, i % 2 ? BLOCK : LATER, i % 5 ? 8 : 100000, 0);
    finish(f);
    uint64_t longest = 0;
    for (unsigned i = 0; i < f->n_asked; i++) {
        assert_int_equal(f->asked[i]->code, GN_OK);
        uint64_t took = f->asked[i]->done_ns - f->asked[i]->started_ns;
        longest = took > longest ? took : longest;
    }
    assert_true(longest > 10 * SECOND);
    fleet_destroy(f);
}

static void a_deadline_is_kept(void **state)
{
    (void)state;
    fleet *f = fleet_create(8, 2, 0);
    f->longest_ns = MINUTE / 2;
    meet(f);
    for (unsigned i = 1; i <= 40; i++) {
        asked *a = fleet_ask(f, 1, 2, BLOCK, 8, i * 37 * MS);
        finish(f);
        if (a->code == GN_OK)
            continue; /* a short one was drawn */
        assert_int_equal(a->code, GN_TIMEOUT);
        uint64_t took = a->done_ns - a->started_ns;
        assert_true(took >= i * 37 * MS && took < i * 37 * MS + 2 * MS);
    }
    fleet_destroy(f);
}

/* More requests than strands: they wait, and none is lost. */
static void requests_wait_for_strands(void **state)
{
    (void)state;
    fleet *f = fleet_create(9, 2, 3);
    f->longest_ns = 100 * MS;
    for (int i = 0; i < 100; i++)
        fleet_ask(f, 1, 2, BLOCK, 8, 0);
    gn_sim_run_for(f->sim, 100 * MS);
    assert_int_equal(gn_rpc_stats_of(f->nodes[2]->rpc).strands, 3);
    finish(f);
    for (unsigned i = 0; i < f->n_asked; i++)
        assert_int_equal(f->asked[i]->code, GN_OK);
    gn_sim_run_for(f->sim, MINUTE); /* idle ones end */
    assert_int_equal(gn_rpc_stats_of(f->nodes[2]->rpc).strands, 0);
    meet(f);
    fleet_destroy(f);
}

static void nothing_is_kept_of_what_is_over(void **state)
{
    (void)state;
    fleet *f = fleet_create(10, 3, 4);
    fleet_links(f, 0.2, 0.1, 20 * MS);
    f->longest_ns = 50 * MS;
    for (int i = 0; i < 1000; i++) {
        fleet_ask(f, 1 + (unsigned)i % 3, 1 + (unsigned)(i / 3) % 3, (uint16_t)(i % 5), 8, i % 7 ? 0 : 30 * MS);
        gn_sim_run_for(f->sim, gn_sim_random(f->sim, 3 * MS));
    }
    finish(f);
    gn_sim_run_for(f->sim, MINUTE); /* an acknowledgement may be lost; old answers are dropped then */
    for (gn_node_id id = 1; id <= 3; id++) {
        gn_rpc_stats stats = gn_rpc_stats_of(f->nodes[id]->rpc);
        assert_int_equal(stats.calls, 0);
        assert_int_equal(stats.answered, 0);
        assert_int_equal(stats.held_answers, 0);
        assert_int_equal(stats.held_requests, 0);
        assert_true(stats.entries < 100); /* numbers seen, until the next call says that they are over */
    }
    fleet_destroy(f);
}

/* One call that runs long must not keep the answers of all later ones. */
static void a_long_call_keeps_nothing_of_the_short_ones(void **state)
{
    (void)state;
    fleet *f = fleet_create(11, 2, 0);
    f->longest_ns = MINUTE;
    asked *slow = fleet_ask(f, 1, 2, LATER, 8, 0);
    for (int i = 0; i < 2000; i++) {
        fleet_ask(f, 1, 2, ECHO, 8, 0);
        gn_sim_run_for(f->sim, 1 * MS);
    }
    assert_false(slow->done);
    gn_sim_run_for(f->sim, SECOND / 2);
    gn_rpc_stats stats = gn_rpc_stats_of(f->nodes[2]->rpc);
    assert_int_equal(stats.answered, 0);
    assert_true(stats.entries <= 2);
    finish(f);
    fleet_destroy(f);
}

/* ---- large ones ---- */

typedef struct counted {
    size_t bytes;
} counted;

static bool count_bytes(void *ctx, gn_node_id from, gn_node_id to, uint8_t channel, gn_bytes frame)
{
    (void)from;
    (void)to;
    assert_true(channel == GN_RPC_BULK_CHANNEL || frame.len <= RPC_BULK + 1000);
    ((counted *)ctx)->bytes += frame.len;
    return true;
}

static void a_large_request_under_way_is_not_sent_again(void **state)
{
    (void)state;
    fleet *f = fleet_create(15, 2, 0);
    counted sent = {0};
    meet(f);
    gn_sim_link slow = {.min_ns = 240 * MS, .max_ns = 240 * MS};
    gn_sim_link_set(f->sim, 0, 0, &slow);
    gn_sim_on_frame(f->sim, count_bytes, &sent);
    fleet_ask(f, 1, 2, LATER, 3000000, 0);
    finish(f);
    assert_int_equal(f->asked[1]->code, GN_OK);
    assert_true(sent.bytes > 3000000 && sent.bytes < 3010000);
    fleet_destroy(f);
}

static void large_requests_get_through_loss(void **state)
{
    (void)state;
    fleet *f = fleet_create(16, 2, 0);
    counted sent = {0};
    fleet_links(f, 0.2, 0.1, 20 * MS);
    gn_sim_on_frame(f->sim, count_bytes, &sent);
    for (int i = 0; i < 40; i++)
        fleet_ask(f, 1, 2, i % 2 ? LARGE : ECHO, i % 4 ? 100000 : 2000000, 0);
    finish(f);
    for (unsigned i = 0; i < f->n_asked; i++)
        assert_int_equal(f->asked[i]->code, GN_OK);
    fleet_destroy(f);
}

/* "I do not have it", said before the request came there, heard after "I have it". */
static void a_word_that_was_overtaken_ends_nothing(void **state)
{
    (void)state;
    fleet *f = fleet_create(18, 2, 0);
    f->longest_ns = 20 * SECOND;
    meet(f);
    asked *a = fleet_ask(f, 1, 2, LATER, 100000, 0);
    gn_sim_run_for(f->sim, 500 * MS);
    assert_true(a->call.pending && a->call.confirmed);
    gn_buf late;
    gn_rpc_frame_begin(&late, RPC_STATUS, f->nodes[2]->rpc->incarnation, f->nodes[1]->rpc->incarnation);
    gn_buf_append_be16(&late, 1);
    gn_buf_append_be64(&late, a->call.number);
    gn_buf_append_u8(&late, RPC_UNKNOWN);
    gn_rpc_receive(f->nodes[1]->rpc, 2, gn_buf_bytes(&late));
    gn_buf_close(&late);
    finish(f);
    assert_int_equal(a->code, GN_OK);
    fleet_destroy(f);
}

/* ---- peers ---- */

static void peers_that_forgot_each_other_meet_again(void **state)
{
    (void)state;
    fleet *f = fleet_create(17, 2, 0);
    for (int i = 0; i < 10; i++) {
        meet(f);
        gn_sim_run_for(f->sim, i % 2 ? 30 * MINUTE : MINUTE);
        if (i % 2)
            assert_int_equal(gn_rpc_stats_of(f->nodes[1]->rpc).peers, 0);
    }
    for (int i = 0; i < 5; i++) { /* one forgets the other alone */
        fleet_ask(f, 2, 1, LATER, 8, 0);
        meet(f);
        gn_sim_pause(f->sim, 2, true);
        gn_sim_run_for(f->sim, 30 * MINUTE);
        gn_sim_pause(f->sim, 2, false);
    }
    meet(f);
    fleet_destroy(f);
}

/* So a call to a node that died or was started again in a quiet time leaves no doubt. */
static void a_peer_not_heard_for_long_is_asked_who_it_is_first(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        fleet *f = fleet_create(seed, 2, 0);
        meet(f);
        gn_sim_run_for(f->sim, 2 * SECOND);
        fleet_crash(f, 2);
        asked *dead = fleet_ask(f, 1, 2, ECHO, 8, 0);
        finish(f);
        assert_int_equal(dead->code, GN_UNAVAILABLE);
        fleet_restart(f, 2);
        meet(f);
        fleet_destroy(f);
    }
}

/* Whoever was stopped itself does not take the others for dead. */
static void a_paused_asker_finds_its_peers_alive(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        fleet *f = fleet_create(seed, 2, 0);
        f->longest_ns = 3 * SECOND;
        meet(f);
        asked *a = fleet_ask(f, 1, 2, LATER, 8, 0);
        gn_sim_run_for(f->sim, gn_sim_random(f->sim, 300 * MS));
        gn_sim_pause(f->sim, 1, true);
        gn_sim_run_for(f->sim, 20 * SECOND);
        gn_sim_pause(f->sim, 1, false);
        finish(f);
        assert_int_equal(a->code, GN_OK);
        fleet_destroy(f);
    }
}

/* ---- an asker that floods ---- */

static void flood(gn_world *world, gn_node_id to, uint64_t target, uint64_t first, unsigned n, uint16_t method)
{
    for (unsigned i = 0; i < n; i++) {
        gn_buf frame;
        rpc_progress progress = {.floor = 1, .pending = 1};
        gn_rpc_frame_begin(&frame, RPC_REQUEST, 99, target);
        gn_rpc_frame_progress(&frame, &progress);
        gn_rpc_frame_request(&frame, first + i, method, false);
        gn_buf_append_be64(&frame, 0);
        gn_net_send(world, to, GN_RPC_CHANNEL, gn_buf_bytes(&frame));
        gn_buf_close(&frame);
    }
}

static void keep_for_ever(void *ctx, gn_rpc_request *request)
{
    gn_rpc_request **kept = ctx;
    while (*kept)
        kept++;
    *kept = request;
}

static void a_flood_of_requests_is_refused_in_the_end(void **state)
{
    (void)state;
    gn_sim *sim = gn_sim_create(12, 2);
    gn_sim_link ordered = {.min_ns = 100000, .max_ns = 100000};
    gn_sim_link_set(sim, 0, 0, &ordered);
    gn_rpc *rpc = gn_rpc_create(gn_sim_world(sim, 2), 0);
    gn_rpc_request **kept = gn_xcalloc(RPC_MAX_UNANSWERED + 2, sizeof *kept);
    gn_rpc_serve(rpc, NEVER, keep_for_ever, kept);
    for (uint64_t first = 1; first < 3 * RPC_MAX_SEEN / 2; first += 4096) {
        flood(gn_sim_world(sim, 1), 2, rpc->incarnation, first, 4096, NEVER);
        gn_sim_run_for(sim, 50 * MS);
    }
    gn_rpc_stats stats = gn_rpc_stats_of(rpc);
    assert_int_equal(stats.entries, RPC_MAX_SEEN);
    gn_sim_run_for(sim, MINUTE); /* the refusals are not fetched, and dropped */
    stats = gn_rpc_stats_of(rpc);
    assert_int_equal(stats.answered, 0);
    assert_int_equal(stats.held_answers, 0);
    for (unsigned i = 0; kept[i]; i++) {
        assert_true(i <= RPC_MAX_UNANSWERED);
        gn_rpc_answer(kept[i], GN_OK, (gn_bytes){0}, NULL);
    }
    gn_rpc_destroy(rpc);
    gn_sim_destroy(sim);
    free(kept);
}

/* ---- asking from strands ---- */

typedef struct patient {
    gn_rpc *rpc;
    _Atomic bool cancel;
    gn_code code;
    uint64_t ended_ns;
    gn_world *world;
    gn_error err;
} patient;

static void ask_patiently(void *arg)
{
    patient *p = arg;
    uint8_t id[8] = {0};
    p->code = gn_rpc_ask(p->rpc, 2, NEVER, gn_bytes_of(id, sizeof id), 0, &p->cancel, NULL, &p->err);
    p->ended_ns = gn_now_ns(p->world);
}

static void a_waiting_strand_sees_that_it_is_canceled(void **state)
{
    (void)state;
    fleet *f = fleet_create(13, 2, 0);
    gn_rpc_request *kept[4] = {0};
    gn_rpc_serve(f->nodes[2]->rpc, NEVER, keep_for_ever, kept);
    patient p = {.rpc = f->nodes[1]->rpc, .world = f->nodes[1]->world};
    gn_strand *strand = gn_strand_start(p.world, "patient", ask_patiently, &p);
    gn_sim_run_for(f->sim, 5 * SECOND);
    uint64_t now = gn_now_ns(p.world);
    p.cancel = true;
    gn_strand_join(strand);
    assert_int_equal(p.code, GN_CANCELED);
    assert_int_equal(p.err.code, GN_CANCELED);
    assert_true(p.ended_ns - now <= 110 * MS);
    gn_rpc_answer(kept[0], GN_OK, (gn_bytes){0}, NULL);
    fleet_destroy(f);
}

static void destroying_ends_what_waits(void **state)
{
    (void)state;
    fleet *f = fleet_create(14, 2, 0);
    gn_rpc_request *kept[4] = {0};
    gn_rpc_serve(f->nodes[2]->rpc, NEVER, keep_for_ever, kept);
    patient p = {.rpc = f->nodes[1]->rpc, .world = f->nodes[1]->world};
    gn_strand *strand = gn_strand_start(p.world, "patient", ask_patiently, &p);
    asked *a = fleet_ask(f, 1, 2, BLOCK, 8, 0);
    gn_sim_run_for(f->sim, 20 * MS);
    gn_rpc_destroy(f->nodes[1]->rpc);
    f->nodes[1]->rpc = NULL;
    gn_strand_join(strand);
    assert_int_equal(p.code, GN_SHUTDOWN);
    assert_int_equal(a->code, GN_SHUTDOWN);
    gn_rpc_answer(kept[0], GN_OK, (gn_bytes){0}, NULL);
    fleet_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_asks_itself_without_the_network),
        cmocka_unit_test(what_cannot_run_is_refused_and_did_not_run),
        cmocka_unit_test(a_request_that_is_too_large_is_not_sent),
        cmocka_unit_test(a_dead_peer_ends_its_calls_soon),
        cmocka_unit_test(a_peer_never_heard_of_was_sent_nothing),
        cmocka_unit_test(a_peer_that_cannot_hear_ends_calls_too),
        cmocka_unit_test(a_peer_that_restarted_ends_the_calls_that_its_past_had),
        cmocka_unit_test(a_handler_may_take_long),
        cmocka_unit_test(a_deadline_is_kept),
        cmocka_unit_test(requests_wait_for_strands),
        cmocka_unit_test(nothing_is_kept_of_what_is_over),
        cmocka_unit_test(a_long_call_keeps_nothing_of_the_short_ones),
        cmocka_unit_test(a_large_request_under_way_is_not_sent_again),
        cmocka_unit_test(large_requests_get_through_loss),
        cmocka_unit_test(a_word_that_was_overtaken_ends_nothing),
        cmocka_unit_test(peers_that_forgot_each_other_meet_again),
        cmocka_unit_test(a_peer_not_heard_for_long_is_asked_who_it_is_first),
        cmocka_unit_test(a_paused_asker_finds_its_peers_alive),
        cmocka_unit_test(a_flood_of_requests_is_refused_in_the_end),
        cmocka_unit_test(a_waiting_strand_sees_that_it_is_canceled),
        cmocka_unit_test(destroying_ends_what_waits),
        cmocka_unit_test(an_answer_that_is_too_large_is_an_error),
        cmocka_unit_test(calls_to_a_process_that_is_gone_end_at_once),
        cmocka_unit_test(a_process_that_is_back_is_asked_again_at_once),
        cmocka_unit_test(a_peer_that_others_do_not_hear_is_given_less_time),
        cmocka_unit_test(a_live_peer_is_heard_through_any_loss),
        cmocka_unit_test(whatever_happens_requests_run_at_most_once_and_calls_end_once),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
        cmocka_unit_test(without_memory_of_what_was_seen_requests_run_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
