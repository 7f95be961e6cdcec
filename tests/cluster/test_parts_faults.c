/* Parts on other nodes when nodes and messages are lost: what the client is told is true, and nothing is kept for ever.
 */
#include "cluster/methods_private.h"
#include "cluster/part_wire_private.h"
#include "remote.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(remote *r, gn_dtxn *txn, const char *name, int64_t id, int64_t n)
{
    (void)r;
    gn_error err = {0};
    ASSERT_OK(insert(txn, name, &(row){id, NULL, n, NULL}, &err), &err);
}

static void put_alone(remote *r, const char *name, int64_t id)
{
    gn_error err = {0};
    gn_dtxn *txn = begin(r);
    put(r, txn, name, id, id);
    ASSERT_OK(commit(txn, &err), &err);
}

static void pause_for(gn_world *world, uint64_t ns)
{
    gn_event never;
    gn_event_init(&never, world);
    gn_event_wait(&never, gn_now_ns(world) + ns);
}

/* ---- one thing at a time ---- */

static void lost_and_doubled_messages_change_nothing(void **state)
{
    remote *r = *state;
    make_table(r, "t", r->there);
    gn_sim_link_set(r->sim, 0, 0, &(gn_sim_link){.loss = 0.3, .duplicate = 0.3, .min_ns = MS / 10, .max_ns = 30 * MS});
    for (int i = 1; i <= 20; i++)
        put_alone(r, "t", i);
    char *text = NULL;
    gn_code code;
    gn_error err = {0};
    gn_dtxn *txn = begin(r);
    text = rows(txn, "t", &(look){.limit = 3, .reverse = true}, &code, &err);
    ASSERT_OK(code, &err);
    assert_string_equal(text, "20:-:20 19:-:19 18:-:18 ");
    free(text);
    gn_dtxn_abort(txn);
}

static void a_part_whose_node_dies_is_refused(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    gn_code code;
    make_table(r, "t", r->there);
    put_alone(r, "t", 1);
    gn_dtxn *reader = begin(r), *writer = begin(r), *committer = begin(r);
    assert_rows(r, reader, "t", NULL, "1:-:1 ");
    assert_rows(r, writer, "t", NULL, "1:-:1 ");
    assert_rows(r, committer, "t", NULL, "1:-:1 ");
    put(r, committer, "t", 2, 2);
    half_crash(r, B);
    assert_null(rows(reader, "t", NULL, &code, &err));
    ASSERT_CODE(code, GN_SERIALIZATION, &err);
    assert_non_null(strstr(err.message, "became unavailable"));
    assert_null(rows(reader, "t", NULL, &code, &err)); /* and stays so */
    ASSERT_CODE(code, GN_SERIALIZATION, &err);
    half_restart(r, B);
    put(r, writer, "t", 3, 3);
    ASSERT_CODE(gn_dtxn_flush(writer, &err), GN_SERIALIZATION, &err);
    ASSERT_CODE(commit(committer, &err), GN_SERIALIZATION, &err); /* the new incarnation surely has not committed it */
    gn_dtxn_abort(reader);
    gn_dtxn_abort(writer);
    assert_rows(r, NULL, "t", NULL, "1:-:1 ");
}

/* It does not know any more who leads which group. */
static void restart_coordinator(remote *r)
{
    half_crash(r, A);
    half_restart(r, A);
}

static void nothing_done_yet_goes_to_another_replica(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    make_table(r, "t", r->there);
    restart_coordinator(r);
    half_crash(r, C); /* whom the placement names first: no refusal now, but silence */
    uint64_t before = gn_sim_now_ns(r->sim);
    gn_dtxn *txn = begin(r);
    put(r, txn, "t", 1, 1);
    assert_rows(r, txn, "t", NULL, "1:-:1 ");
    ASSERT_OK(commit(txn, &err), &err);
    assert_in_range(gn_sim_now_ns(r->sim) - before, SECOND / 2, 3 * SECOND);
    before = gn_sim_now_ns(r->sim); /* from then on it is known who leads the group */
    put_alone(r, "t", 2);
    assert_in_range(gn_sim_now_ns(r->sim) - before, 0, SECOND / 2);
    half_restart(r, C);
}

/* Also one that is the first thing the node hears of its transaction: it may have run. */
static void a_commit_that_nobody_answers_is_unknown(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    make_table(r, "t", r->there);
    put_alone(r, "t", 1);
    gn_sim_pause(r->sim, B, true);
    gn_dtxn *txn = begin_with(r, &(gn_dtxn_options){0});
    put(r, txn, "t", 2, 2);
    ASSERT_CODE(commit(txn, &err), GN_OUTCOME_UNKNOWN, &err);
    gn_sim_pause(r->sim, B, false);
    gn_sim_run_for(r->sim, 2 * SECOND);
    assert_rows(r, NULL, "t", &(look){.limit = 1}, "1:-:1 ");
}

/* Its log cannot be written just when it is to decide: what it has appended may come to be committed yet. */
static void a_decision_of_a_replica_that_fails_is_unknown(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    gn_code code;
    int64_t id = 0;
    gn_dtxn *txn = NULL;
    make_table(r, "t", r->both);
    while (parts_at(r, B) == 0) { /* the first row decides: one whose group is there */
        gn_dtxn_abort(txn);
        txn = begin(r);
        put(r, txn, "t", ++id, 0);
        ASSERT_OK(gn_dtxn_flush(txn, &err), &err);
    }
    for (int64_t other = 100; other < 110; other++)
        put(r, txn, "t", other, 0);
    ASSERT_OK(gn_dtxn_flush(txn, &err), &err);
    gn_sim_disk_faults broken = gn_sim_disk_good;
    broken.fail_write = 1;
    broken.fail_code = GN_DISK_FULL;
    gn_sim_disk_set(r->sim, B, &broken);
    ASSERT_CODE(commit(txn, &err), GN_OUTCOME_UNKNOWN, &err);
    gn_sim_disk_set(r->sim, B, &gn_sim_disk_good);
    half_crash(r, B);
    half_restart(r, B);
    gn_sim_run_for(r->sim, 20 * SECOND);
    txn = begin_with(r, &(gn_dtxn_options){.several = true, .read_only = true});
    char *text = rows(txn, "t", NULL, &code, &err);
    ASSERT_OK(code, &err);
    int n = 0;
    for (const char *at = text; (at = strchr(at, ' ')); at++)
        n++;
    assert_true(n == 0 || n == 11);
    free(text);
    gn_dtxn_abort(txn);
}

static void nobody_there_is_unavailable(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    gn_code code;
    make_table(r, "t", r->there);
    half_crash(r, B);
    half_crash(r, C);
    gn_dtxn *txn = begin_with(r, &(gn_dtxn_options){.read_only = true});
    assert_null(rows(txn, "t", NULL, &code, &err));
    ASSERT_CODE(code, GN_UNAVAILABLE, &err);
    gn_dtxn_abort(txn);
    half_restart(r, B);
    half_restart(r, C);
    assert_rows(r, NULL, "t", NULL, "");
}

static void what_its_coordinator_forgets_is_aborted(void **state)
{
    remote *r = *state;
    make_table(r, "t", r->there);
    put_alone(r, "t", 1);
    gn_dtxn *txn = begin(r);
    put(r, txn, "t", 2, 2);
    assert_rows(r, txn, "t", NULL, "1:-:1 2:-:2 ");
    assert_int_equal(parts_at(r, B), 1);
    gn_sim_crash(r->sim, A, GN_SIM_TEAR);
    gn_dtxn_abort(txn); /* in the ghost: nobody hears of it */
    half_close(r, A, false);
    gn_sim_run_for(r->sim, (GN_PART_LEASE_S - 10) * SECOND);
    assert_int_equal(parts_at(r, B), 1);
    gn_sim_run_for(r->sim, 20 * SECOND);
    assert_int_equal(parts_at(r, B), 0);
    half_restart(r, A);
    assert_rows(r, NULL, "t", NULL, "1:-:1 ");
}

static void an_idle_transaction_is_kept(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    make_table(r, "t", r->there);
    gn_dtxn *txn = begin(r);
    put(r, txn, "t", 1, 1);
    ASSERT_OK(gn_dtxn_flush(txn, &err), &err);
    gn_sim_run_for(r->sim, 10 * GN_PART_LEASE_S * SECOND);
    assert_int_equal(parts_at(r, B), 1);
    ASSERT_OK(commit(txn, &err), &err);
    assert_rows(r, NULL, "t", NULL, "1:-:1 ");
}

static void a_node_that_is_cut_off_too_long_loses_its_parts(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    make_table(r, "t", r->there);
    gn_dtxn *txn = begin(r), *brief = begin(r);
    put(r, txn, "t", 1, 1);
    ASSERT_OK(gn_dtxn_flush(txn, &err), &err);
    gn_sim_cut(r->sim, A, B, true);
    gn_sim_run_for(r->sim, 20 * SECOND); /* as long as nobody asks */
    gn_sim_cut(r->sim, A, B, false);
    put(r, brief, "t", 2, 2);
    ASSERT_OK(gn_dtxn_flush(txn, &err), &err);
    ASSERT_OK(commit(brief, &err), &err);
    gn_sim_cut(r->sim, A, B, true);
    gn_sim_run_for(r->sim, (GN_PART_LEASE_S + 20) * SECOND);
    gn_sim_cut(r->sim, A, B, false);
    assert_int_equal(parts_at(r, B), 0);
    put(r, txn, "t", 3, 3);
    ASSERT_CODE(commit(txn, &err), GN_SERIALIZATION, &err);
    assert_rows(r, NULL, "t", NULL, "2:-:2 ");
}

typedef struct canceling {
    gn_world *world;
    _Atomic bool cancel;
} canceling;

static void cancel_soon(void *arg)
{
    canceling *c = arg;
    pause_for(c->world, 300 * MS);
    c->cancel = true;
}

static void waiting_ends_when_the_user_cancels(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    gn_code code;
    make_table(r, "t", r->there);
    canceling c = {.world = r->halves[C].world};
    gn_dtxn *txn = begin_with(r, &(gn_dtxn_options){.cancel = &c.cancel, .several = true});
    put(r, txn, "t", 1, 1);
    ASSERT_OK(gn_dtxn_flush(txn, &err), &err);
    gn_strand *strand = gn_strand_start(c.world, "canceler", cancel_soon, &c);
    gn_sim_pause(r->sim, B, true);
    uint64_t before = gn_sim_now_ns(r->sim);
    assert_null(rows(txn, "t", NULL, &code, &err));
    ASSERT_CODE(code, GN_CANCELED, &err);
    assert_in_range(gn_sim_now_ns(r->sim) - before, 300 * MS, 500 * MS);
    gn_dtxn_abort(txn);
    gn_sim_pause(r->sim, B, false);
    gn_strand_join(strand);
    gn_sim_run_for(r->sim, 5 * SECOND);
    assert_int_equal(parts_at(r, B), 0);
}

/* ---- hostile requests ---- */

static gn_code ask(remote *r, gn_node_id from, uint16_t method, gn_bytes request)
{
    gn_buf response;
    gn_error err = {0};
    gn_buf_init(&response, NULL, GN_MAX_RPC);
    gn_code code = gn_rpc_ask(r->halves[from].cluster->rpc, B, method, request, 0, NULL, &response, &err);
    if (code == GN_OK && response.len > 0) { /* whatever it is, reading it is safe */
        gn_part_answer a;
        if (gn_part_answer_read(gn_buf_bytes(&response), &a, &err))
            code = a.code;
    }
    gn_buf_close(&response);
    return code;
}

/* id > 5, the three with the first texts. */
static void append_fragment(const gn_table_desc *t, const uint32_t *ordinals, const gn_vector_scan_spec *vectors,
                            gn_buf *out)
{
    const gn_type int8 = gn_type_of(GN_T_INT8);
    gn_type types[3], wanted[2], result;
    for (int i = 0; i < 3; i++)
        types[i] = t->columns[ordinals[i]].type;
    gn_expr id = {.kind = GN_E_COLUMN, .type = int8}, five = {.kind = GN_E_CONST, .type = int8};
    five.value = (gn_value){.type = int8, .as.i64 = 5};
    gn_expr *args[] = {&id, &five}, text = {.kind = GN_E_COLUMN, .type = types[1], .column = 1};
    gn_expr filter = {.kind = GN_E_CALL, .type = gn_type_of(GN_T_BOOL), .n_args = 2, .args = args};
    assert_int_equal(gn_function_resolve(gn_bytes_str(">"), true, (gn_type[]){int8, int8}, 2, &filter.function, wanted,
                                         &result, NULL),
                     GN_OK);
    gn_sort_key sort = {.expr = &text};
    uint32_t columns[] = {0, 1};
    gn_fragment f = {.types = types,
                     .n_types = 3,
                     .filter = &filter,
                     .sort = &sort,
                     .n_sort = vectors ? 0 : 1,
                     .keep = 3,
                     .columns = columns,
                     .n_columns = 2};
    gn_buf packed;
    gn_buf_init(&packed, NULL, 1 << 20);
    assert_true(gn_fragment_pack(&f, &packed));
    gn_key_range more[2] = {{.lo = gn_bytes_str("\x80\1"), .hi = gn_bytes_str("\x80\2")}, {.lo_exclusive = true}};
    if (vectors) {
        gn_vector_scan_spec spec = *vectors;
        spec.bounds = (gn_vector_bound[]){{.ranges = more, .n_ranges = 2}, {.ranges = more, .n_ranges = 1}};
        spec.n_bounds = 2;
        gn_wire_vector_run_write(out, &spec, gn_buf_bytes(&packed));
    } else {
        gn_wire_run_write(out, more, 2, gn_buf_bytes(&packed));
    }
    gn_buf_close(&packed);
}

/* A sound request for group 4, with writes to table id and then an action. */
static void make_request(remote *r, const gn_table_desc *t, int action, uint64_t part, gn_buf *out)
{
    static const uint32_t ordinals[] = {0, 1, 3};
    static const float query[DIMENSIONS] = {1};
    gn_buf writes, key, encoded;
    gn_value id = {.type = gn_type_of(GN_T_INT8), .as.i64 = (int64_t)part};
    gn_value values[4] = {id, gn_value_null(gn_type_of(GN_T_TEXT)), id, gn_value_null(t->columns[3].type)};
    gn_buf_init(&writes, NULL, 1 << 20);
    gn_buf_init(&key, NULL, 1 << 20);
    gn_buf_init(&encoded, NULL, 1 << 20);
    gn_buf_init(out, NULL, 1 << 20);
    assert_int_equal(gn_row_encode(t, values, &encoded, NULL), GN_OK);
    assert_int_equal(gn_key_append(&key, &id, false, false, NULL), GN_OK);
    gn_part_write all[] = {
        {GN_WRITE_TABLE, .id = t->id, .version = t->version, .epoch = t->data_epoch},
        {GN_WRITE_MARK, .id = 1},
        {GN_WRITE_INSERT, .row = gn_buf_bytes(&encoded)},
        {GN_WRITE_UPDATE, .key = gn_buf_bytes(&key), .row = gn_buf_bytes(&encoded)},
        {GN_WRITE_DELETE, .key = gn_buf_bytes(&key)},
        {GN_WRITE_UNMARK, .id = 9},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        gn_part_write_append(&writes, &all[i]);
    gn_part_request head = {
        .action = (gn_part_action)action, .begin = true, .incarnation = 77, .part = part, .group = 4};
    gn_part_request_write(out, &head, gn_bytes_of("\0\0\0\5", 4), gn_buf_bytes(&writes));
    gn_scan_spec scan = {.table = t,
                         .ordinals = ordinals,
                         .n_ordinals = 3,
                         .range = {.lo = gn_buf_bytes(&key), .hi = gn_buf_bytes(&key), .hi_inclusive = true}};
    gn_vector_scan_spec vector = {.table = t,
                                  .index = &t->indexes[1],
                                  .query = query,
                                  .dimensions = DIMENSIONS,
                                  .ordinals = ordinals,
                                  .n_ordinals = 3};
    if (action == GN_PART_SCAN || action == GN_PART_RUN)
        gn_wire_scan_write(out, 1, &scan);
    else if (action == GN_PART_VECTOR_SCAN || action == GN_PART_VECTOR_RUN)
        gn_wire_vector_scan_write(out, 1, &vector);
    else if (action == GN_PART_PREPARE || action == GN_PART_DECIDE || action == GN_PART_ROLLBACK_TO)
        gn_buf_append_be64(out, 1);
    else if (action == GN_PART_NEXT)
        gn_buf_append_be32(out, 1);
    if (action == GN_PART_RUN || action == GN_PART_VECTOR_RUN)
        append_fragment(t, ordinals, action == GN_PART_VECTOR_RUN ? &vector : NULL, out);
    if (action == GN_PART_PREPARE || action == GN_PART_DECIDE)
        gn_wire_groups_write(out, (uint64_t[]){4, 4}, 2);
    if (action == GN_PART_DECIDE)
        gn_buf_append_be64(out, 1);
    gn_buf_close(&writes);
    gn_buf_close(&key);
    gn_buf_close(&encoded);
    (void)r;
}

static void hostile_requests_do_no_harm(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    make_table(r, "t", r->there);
    put_alone(r, "t", 1);
    gn_dtxn *txn = begin(r);
    const gn_table_desc *t = table(txn, "t");
    uint64_t part = 100;
    for (int action = GN_PART_FLUSH; action <= GN_PART_DECIDE; action++) {
        gn_buf request;
        part += 1000; /* no row has the number yet */
        make_request(r, t, action, part++, &request);
        gn_code code = ask(r, C, GN_METHOD_PART_RUN, gn_buf_bytes(&request));
        if (action != GN_PART_NEXT && action != GN_PART_PREPARE &&
            action != GN_PART_DECIDE) /* what is damaged below is sound */
            ASSERT_OK(code, &err);
        for (size_t len = 0; len < request.len; len += 1 + len / 16)
            ask(r, C, GN_METHOD_PART_RUN, gn_bytes_of(request.data, len));
        for (int i = 0; i < 300; i++) {
            gn_buf bad;
            make_request(r, t, action, gn_sim_chance(r->sim, 0.5) ? part++ : part, &bad);
            for (uint64_t flips = 1 + gn_sim_random(r->sim, 3); flips--;)
                bad.data[gn_sim_random(r->sim, bad.len)] = (uint8_t)gn_sim_random(r->sim, 256);
            ask(r, C, GN_METHOD_PART_RUN, gn_buf_bytes(&bad));
            gn_buf_close(&bad);
        }
        gn_buf_close(&request);
    }
    for (int i = 0; i < 500; i++) {
        uint8_t bytes[64];
        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (uint8_t)gn_sim_random(r->sim, gn_sim_chance(r->sim, 0.3) ? 256 : 3);
        uint16_t method = (uint16_t)(GN_METHOD_PART_RUN + gn_sim_random(r->sim, 7));
        if (method != GN_METHOD_GROUP_DECIDE || bytes[1] != 1) /* a peer may say what it wants about transactions */
            ask(r, C, method, gn_bytes_of(bytes, gn_sim_random(r->sim, sizeof bytes)));
    }
    gn_dtxn_abort(txn);
    gn_sim_run_for(r->sim, 2 * GN_PART_LEASE_S * SECOND);
    assert_int_equal(parts_at(r, B), 0);
    put_alone(r, "t", 1000000);
    gn_code code;
    txn = begin(r);
    char *text = rows(txn, "t", NULL, &code, &err);
    ASSERT_OK(code, &err);
    assert_non_null(strstr(text, "1:-:1 "));
    free(text);
    gn_dtxn_abort(txn);
}

static void a_peer_has_so_many_parts_and_no_more(void **state)
{
    remote *r = *state;
    make_table(r, "t", r->there);
    gn_buf request;
    gn_dtxn *txn = begin(r);
    gn_buf_init(&request, NULL, 1 << 20);
    for (uint64_t i = 1; i <= GN_PARTS_PER_PEER + 1; i++) {
        gn_part_request head = {.action = GN_PART_FLUSH, .begin = true, .incarnation = 1, .part = i, .group = 4};
        gn_buf_clear(&request);
        gn_part_request_write(&request, &head, gn_bytes_of(NULL, 0), gn_bytes_of(NULL, 0));
        assert_int_equal(ask(r, C, GN_METHOD_PART_RUN, gn_buf_bytes(&request)),
                         i <= GN_PARTS_PER_PEER ? GN_OK : GN_UNAVAILABLE);
    }
    gn_buf_close(&request);
    put(r, txn, "t", 1, 1);
    assert_rows(r, txn, "t", NULL, "1:-:1 "); /* another peer's are its own */
    gn_dtxn_abort(txn);
}

/* ---- everything at once: transfers between accounts here and there ---- */

enum { ACCOUNTS = 8, START = 100, WORKERS = 3, TRANSFERS = 12, CHAOS_SEEDS = 24 };

typedef struct chaos {
    remote *r;
    int working;
    _Atomic bool refuse; /* the coordinator is going */
    gn_code outcome[WORKERS][TRANSFERS];
    int committed, unknown;
} chaos;

typedef struct worker {
    chaos *c;
    int number;
} worker;

static gn_code account(gn_dtxn *txn, int64_t id, int64_t *n, gn_error *err)
{
    gn_code code;
    char *text = rows(txn, "t", &(look){.ranged = true, .lo = id, .hi = id}, &code, err);
    if (code == GN_OK)
        *n = strtoll(strrchr(text, ':') + 1, NULL, 10);
    free(text);
    return code;
}

/* Moves one, and leaves a row that tells that it did. */
static gn_code transfer(remote *r, const _Atomic bool *cancel, int64_t from, int64_t to, int64_t receipt)
{
    gn_error err = {0};
    gn_dtxn *txn;
    int64_t a = 0, b = 0;
    gn_code code =
        gn_dtxn_begin(r->halves[A].cluster, &(gn_dtxn_options){.several = true, .cancel = cancel}, &txn, &err);
    if (code != GN_OK)
        return code;
    code = account(txn, from, &a, &err);
    if (code == GN_OK)
        code = account(txn, to, &b, &err);
    if (code == GN_OK)
        code = update(txn, "t", from, &(row){from, NULL, a - 1, NULL}, &err);
    if (code == GN_OK)
        code = update(txn, "t", to, &(row){to, NULL, b + 1, NULL}, &err);
    if (code == GN_OK)
        code = insert(txn, "t", &(row){receipt, NULL, 0, NULL}, &err);
    if (code == GN_OK)
        return commit(txn, &err);
    gn_dtxn_abort(txn);
    return code;
}

static void work(void *arg)
{
    worker *w = arg;
    chaos *c = w->c;
    for (int i = 0; i < TRANSFERS; i++) {
        gn_code *outcome = &c->outcome[w->number][i];
        int64_t from = (int64_t)gn_sim_random(c->r->sim, ACCOUNTS);
        int64_t to = (from + 1 + (int64_t)gn_sim_random(c->r->sim, ACCOUNTS - 1)) % ACCOUNTS;
        *outcome = c->refuse ? GN_CANCELED : transfer(c->r, &c->refuse, from, to, 1000 * (w->number + 1) + i);
        c->committed += *outcome == GN_OK;
        c->unknown += *outcome == GN_OUTCOME_UNKNOWN;
        if (!c->refuse)
            pause_for(c->r->halves[A].world, gn_sim_random(c->r->sim, 100 * MS));
    }
    c->working--;
}

static bool all_done(void *ctx)
{
    return ((chaos *)ctx)->working == 0;
}

static bool has_receipt(const char *text, int64_t receipt)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, " %lld:-:0 ", (long long)receipt);
    return strstr(text, wanted) != NULL;
}

/* When what was prepared has been decided, the total is what it was and each outcome was the truth. */
static void check(chaos *c)
{
    gn_error err = {0};
    gn_code code = GN_UNAVAILABLE;
    char *text = NULL;
    for (int i = 0; i < 50 && code != GN_OK; i++) {
        gn_dtxn *txn = begin_with(c->r, &(gn_dtxn_options){.several = true, .read_only = true});
        text = rows(txn, "t", &(look){.ordered = true}, &code, &err);
        gn_dtxn_abort(txn);
    }
    ASSERT_OK(code, &err);
    int64_t total = 0;
    const char *at = text;
    for (int i = 0; i < ACCOUNTS; i++, at = strchr(at, ' ') + 1)
        total += strtoll(strstr(at, ":-:") + 3, NULL, 10);
    assert_int_equal(total, ACCOUNTS * START);
    for (int w = 0; w < WORKERS; w++)
        for (int i = 0; i < TRANSFERS; i++)
            if (c->outcome[w][i] != GN_OUTCOME_UNKNOWN)
                assert_int_equal(has_receipt(text, 1000 * (w + 1) + i), c->outcome[w][i] == GN_OK);
    free(text);
}

/* Crashes B, or A with those who work there. */
static void strike(chaos *c, gn_node_id id)
{
    remote *r = c->r;
    if (id == B) {
        half_crash(r, B);
        gn_sim_run_for(r->sim, gn_sim_random(r->sim, 2 * SECOND));
        half_restart(r, B);
        return;
    }
    gn_sim_crash(r->sim, A, GN_SIM_TEAR);
    c->refuse = true;
    if (!gn_sim_run_until(r->sim, all_done, c, 600 * SECOND))
        fail_msg("a canceled transaction waits for ever");
    half_close(r, A, false);
    half_restart(r, A);
}

static void run_chaos(uint64_t seed, chaos *c)
{
    gn_error err = {0};
    gn_strand *strands[WORKERS];
    worker workers[WORKERS];
    remote *r = c->r = remote_start(seed);
    make_table(r, "t", r->both);
    gn_dtxn *txn = begin(r);
    for (int i = 0; i < ACCOUNTS; i++)
        put(r, txn, "t", i, START);
    ASSERT_OK(commit(txn, &err), &err);
    gn_sim_link_set(
        r->sim, 0, 0,
        &(gn_sim_link){.loss = seed % 3 ? 0.05 : 0, .duplicate = 0.05, .min_ns = MS / 10, .max_ns = 10 * MS});
    c->working = WORKERS;
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (worker){c, i};
        strands[i] = gn_strand_start(r->halves[A].world, "worker", work, &workers[i]);
    }
    for (int i = 0; i < 2 && c->working > 0; i++) {
        gn_sim_run_for(r->sim, gn_sim_random(r->sim, SECOND));
        if (c->working > 0)
            strike(c, seed % 4 == 0 && i == 1 ? A : B);
    }
    if (!gn_sim_run_until(r->sim, all_done, c, 600 * SECOND))
        fail_msg("seed %d: somebody waits for ever", (int)seed);
    for (int i = 0; i < WORKERS; i++)
        gn_strand_join(strands[i]);
    check(c);
    remote_stop(r);
}

static void crashes_leave_whole_transactions(void **state)
{
    (void)state;
    const char *one = getenv("GN_SEED"), *many = getenv("GN_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t last = one ? first : many ? strtoull(many, NULL, 10) : CHAOS_SEEDS;
    int committed = 0, unknown = 0;
    for (uint64_t seed = first; seed <= last; seed++) {
        chaos c = {0};
        run_chaos(seed, &c);
        committed += c.committed;
        unknown += c.unknown;
    }
    assert_true(one || (committed > 100 && unknown < committed));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, remote_setup, remote_teardown)
    const struct CMUnitTest tests[] = {
        TEST(lost_and_doubled_messages_change_nothing),
        TEST(a_part_whose_node_dies_is_refused),
        TEST(nothing_done_yet_goes_to_another_replica),
        TEST(a_commit_that_nobody_answers_is_unknown),
        TEST(a_decision_of_a_replica_that_fails_is_unknown),
        TEST(nobody_there_is_unavailable),
        TEST(what_its_coordinator_forgets_is_aborted),
        TEST(an_idle_transaction_is_kept),
        TEST(a_node_that_is_cut_off_too_long_loses_its_parts),
        TEST(waiting_ends_when_the_user_cancels),
        TEST(hostile_requests_do_no_harm),
        TEST(a_peer_has_so_many_parts_and_no_more),
        cmocka_unit_test(crashes_leave_whole_transactions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
