/* Begin, commit, abort. */
#include "base/assert.h"
#include "shard/txn_private.h"

#include <stdlib.h>

/* ---- begin ---- */

/* The SCN at which to read; 0: the newest that is applied, at the time when the view is taken. What was acknowledged
 * before is at or below that as long as nobody is prepared: who is may have been committed by its first group. */
static gn_code choose_scn(gn_txn *txn, const gn_txn_options *o, gn_scn *scn, gn_error *err)
{
    gn_shard *shard = txn->shard;
    *scn = o->read_scn;
    bool ask = *scn == 0 && (o->global || (shard->clocked && gn_prepared_any(&shard->prepared)));
    txn->exact = o->global || ask;
    return ask ? gn_shard_ask_clock(shard, scn, err) : GN_OK;
}

/* Everything that must be seen has been applied when it returns. */
static gn_code settle_past(gn_txn *txn, const gn_txn_options *o, gn_scn *scn, gn_error *err)
{
    gn_shard *shard = txn->shard;
    for (bool again = true; again;) {
        gn_code code = choose_scn(txn, o, scn, err);
        if (code == GN_OK && !(o->caught_up && *scn))
            code = gn_shard_catch_up(shard, &txn->patience, err);
        if (code != GN_OK)
            return code;
        again = *scn == 0 && shard->clocked && gn_prepared_any(&shard->prepared); /* prepared meanwhile */
    }
    return *scn ? gn_prepared_await_definitions(&shard->prepared, *scn, &txn->patience, err) : GN_OK;
}

/* Who is prepared may have been committed by its first group, and what is read here may be from before that: if it is
 * what that one writes, whoever goes on with it is refused. But nobody goes on with definitions that are about to
 * change. */
static bool may_go_unconfirmed(const gn_shard *shard, const gn_txn_options *o)
{
    return o->unconfirmed && !o->read_scn && !o->global && shard->leader.ask && !gn_raft_answers_alone(shard->group) &&
           !gn_prepared_any_defines(&shard->prepared);
}

/* Under view_lock. What was taken in with a merge lacks the history that its group had let go; who has just read other
 * groups as of a moment before the merge had better begin again. */
static gn_code check_history(const gn_shard *shard, gn_scn read_scn, gn_error *err)
{
    const gn_scn recently = (gn_scn)60000 << GN_SCN_COUNTER_BITS;
    gn_scn oldest = shard->horizon > shard->slots.history ? shard->horizon : shard->slots.history;
    if (read_scn >= oldest)
        return GN_OK;
    if (read_scn < shard->horizon || read_scn + recently < shard->slots.merged)
        return gn_error_set(err, GN_SNAPSHOT_TOO_OLD, "history before SCN %llu has been collected",
                            (unsigned long long)oldest);
    gn_error_set(err, GN_SERIALIZATION, "could not serialize access: the group has been merged with another");
    gn_error_hint(err, "The transaction might succeed if retried.");
    return GN_SERIALIZATION;
}

static gn_code take_view(gn_txn *txn, const gn_txn_options *o, gn_scn wanted, gn_error *err)
{
    gn_shard *shard = txn->shard;
    pthread_mutex_lock(&shard->view_lock);
    gn_code code = gn_slot_view_take(&shard->slots, o, &txn->slots, err);
    /* A moment that has not come is read as now: what commits later must not appear in it. One that the clock gave has
     * come. */
    txn->read_scn = wanted && (txn->exact || wanted < shard->last_scn) ? wanted : shard->last_scn;
    txn->slots.shard = shard;
    txn->slots.epoch = shard->slots_epoch;
    if (code == GN_OK)
        code = check_history(shard, txn->read_scn, err);
    if (code == GN_OK) {
        gn_reader_register(shard, &txn->mark, txn->read_scn);
        txn->store = gn_store_retain(shard->store);
        txn->schema = gn_schema_retain(shard->schema);
    }
    pthread_mutex_unlock(&shard->view_lock);
    return code;
}

static gn_code take_schema(gn_txn *txn, gn_error *err)
{
    if (txn->schema->changed <= txn->read_scn)
        return GN_OK;
    gn_schema *then;
    gn_code code = gn_schema_load(txn->store, &txn->chain, &then, err);
    if (code != GN_OK)
        return code;
    gn_schema_release(txn->schema);
    txn->schema = then;
    return GN_OK;
}

static gn_txn *txn_alloc(gn_shard *shard, const gn_txn_options *o)
{
    gn_txn *txn = gn_xcalloc(1, sizeof *txn);
    txn->shard = shard;
    txn->account = o->account;
    txn->cancel = o->cancel;
    txn->patience = (gn_patience){.deadline_ns = o->deadline_ns, .cancel = o->cancel};
    txn->read_only = o->read_only || o->stale || (o->read_scn != 0 && !o->global);
    txn->no_read_set = o->no_read_set;
    txn->branch = o->branch ? o->branch : GN_BRANCH_MAIN;
    txn->scans.prev = txn->scans.next = &txn->scans;
    txn->reads.account = o->account;
    gn_buf_init(&txn->key, NULL, GN_MAX_KEY);
    gn_buf_init(&txn->row, o->account, GN_MAX_ROW);
    gn_buf_init(&txn->entry, NULL, GN_STORE_KEY_MAX);
    return txn;
}

gn_code gn_txn_begin(gn_shard *shard, const gn_txn_options *options, gn_txn **out, gn_error *err)
{
    static const gn_txn_options defaults;
    const gn_txn_options *o = options ? options : &defaults;
    gn_code code = gn_shard_failed(shard);
    if (code != GN_OK)
        return gn_error_set(err, code, "%s", gn_code_text(code));
    if (o->branch > GN_BRANCH_MAIN)
        return gn_error_set(err, GN_NO_OBJECT, "branch %llu does not exist", (unsigned long long)o->branch);
    gn_txn *txn = txn_alloc(shard, o);
    gn_scn scn = o->stale ? o->read_scn : 0;
    txn->exact = o->stale && scn;
    txn->unconfirmed = !o->stale && may_go_unconfirmed(shard, o);
    if (!o->stale && !txn->unconfirmed)
        code = settle_past(txn, o, &scn, err);
    if (code == GN_OK)
        code = take_view(txn, o, scn, err);
    if (code == GN_MOVED && (o->stale || txn->unconfirmed)) { /* or this replica is behind */
        gn_error_clear(err);
        code = gn_shard_catch_up(shard, &txn->patience, err);
        if (code == GN_OK)
            code = take_view(txn, o, scn, err);
    }
    if (code == GN_OK) {
        txn->pending = gn_prepared_before(&shard->prepared, txn->read_scn);
        txn->chain = (gn_chain){.n = 1, .links = {{.branch = txn->branch, .scn = txn->read_scn}}};
        gn_point_open(&txn->point, txn->store);
        code = take_schema(txn, err);
    }
    if (code != GN_OK) {
        gn_txn_abort(txn);
        return code;
    }
    *out = txn;
    return GN_OK;
}

/* What was prepared in a store that a snapshot has replaced is decided in the new one alone. */
static bool is_current(gn_txn *txn)
{
    pthread_mutex_lock(&txn->shard->view_lock);
    bool same = txn->shard->store == txn->store;
    pthread_mutex_unlock(&txn->shard->view_lock);
    return same;
}

gn_code gn_txn_await_slow(gn_txn *txn, const gn_space *space, const gn_key_span *span, gn_error *err)
{
    bool none;
    uint64_t published;
    gn_code code = gn_prepared_await_read(&txn->shard->prepared, txn->read_scn, space, span, &txn->patience, &published,
                                          &none, err);
    if (code == GN_OK && !is_current(txn))
        code = gn_error_set(err, GN_SERIALIZATION,
                            "could not serialize access: a snapshot took the place of what this transaction reads");
    if (code != GN_OK)
        return code;
    if (published != txn->published) { /* an iterator from before does not see what has been decided since */
        gn_point_close(&txn->point);
        gn_point_open(&txn->point, txn->store);
    }
    txn->published = published;
    txn->pending = !none;
    return GN_OK;
}

gn_code gn_txn_await_key_slow(gn_txn *txn, const gn_space *space, gn_bytes key, gn_error *err)
{
    gn_buf end;
    gn_buf_init(&end, NULL, GN_STORE_KEY_MAX);
    gn_buf_append_bytes(&end, key);
    gn_buf_append_u8(&end, 0); /* the least key above it */
    gn_key_span span = {.start = key, .end = gn_buf_bytes(&end)};
    gn_code code = gn_txn_await_slow(txn, space, &span, err);
    gn_buf_close(&end);
    return code;
}

gn_scn gn_txn_read_scn(const gn_txn *txn)
{
    return txn->read_scn;
}

bool gn_txn_unconfirmed(const gn_txn *txn)
{
    return txn->unconfirmed;
}

bool gn_txn_has_writes(const gn_txn *txn)
{
    if (gn_txn_defines(txn))
        return true;
    for (size_t i = 0; i < txn->n_sets; i++)
        if (!gn_write_set_empty(txn->sets[i]))
            return true;
    return false;
}

/* ---- end ---- */

void gn_txn_settle_scans(gn_txn *txn)
{
    while (txn->scans.next != &txn->scans) {
        gn_scan_link *link = txn->scans.next;
        link->settle(link); /* takes itself out of the list */
    }
}

void gn_txn_abort(gn_txn *txn)
{
    if (!txn)
        return;
    gn_txn_settle_scans(txn);
    gn_reader_unregister(txn->shard, &txn->mark);
    gn_point_close(&txn->point);
    for (size_t i = 0; i < txn->n_sets; i++)
        gn_write_set_destroy(txn->sets[i]);
    free(txn->sets);
    gn_read_set_close(&txn->reads);
    gn_txn_catalog_close(txn);
    gn_schema_release(txn->schema);
    gn_store_release(txn->store);
    gn_buf_close(&txn->key);
    gn_buf_close(&txn->row);
    gn_buf_close(&txn->entry);
    free(txn);
}

static int by_table(const void *a, const void *b)
{
    const gn_write_set *x = *(gn_write_set *const *)a, *y = *(gn_write_set *const *)b;
    return x->desc->id < y->desc->id ? -1 : x->desc->id > y->desc->id;
}

/* c: its kind, transaction id and groups. *empty: there is nothing to write after all. */
static gn_code encode(gn_txn *txn, gn_command c, gn_buf *out, bool *empty, gn_error *err)
{
    gn_buf tables, reads;
    gn_buf_init(&tables, txn->account, GN_MAX_ENTRY);
    gn_buf_init(&reads, txn->account, GN_MAX_ENTRY);
    for (size_t i = 0; i < txn->n_used; i++)
        gn_buf_append_varint(&tables, txn->used[i]);
    gn_read_set_pack(&txn->reads, &reads);
    c.clock = gn_shard_clock(txn->shard);
    c.start_scn = txn->read_scn;
    c.generation = txn->slots.generation;
    c.branch = txn->branch;
    c.tables = gn_buf_bytes(&tables);
    c.reads = gn_buf_bytes(&reads);
    size_t patch;
    gn_command_begin_txn(&c, out, &patch);
    size_t before = out->len;
    if (txn->n_sets)
        qsort(txn->sets, txn->n_sets, sizeof(gn_write_set *), by_table);
    for (size_t i = 0; i < txn->n_sets; i++) {
        uint64_t n;
        gn_command_add_section(out, txn->sets[i], &n);
    }
    *empty = out->len == before;
    bool ok = !tables.failed && !reads.failed && gn_command_end_txn(out, patch);
    gn_buf_close(&tables);
    gn_buf_close(&reads);
    return ok ? GN_OK : gn_error_oom(err, txn->account);
}

/* Takes the writes: what they hold is in the command then, and the log is about to copy it again. */
static gn_code propose(gn_txn *txn, gn_command c, gn_commit_op *op, gn_error *err)
{
    gn_buf command;
    gn_buf_init(&command, txn->account, GN_MAX_ENTRY);
    bool empty = false;
    gn_code code = encode(txn, c, &command, &empty, err);
    for (size_t i = 0; i < txn->n_sets; i++)
        gn_write_set_clear(txn->sets[i]);
    if (code == GN_OK && (!empty || gn_command_is_part(c.kind))) {
        code = gn_prepared_await_write(&txn->shard->prepared, gn_buf_bytes(&command), &txn->patience, err);
        if (code == GN_OK &&
            (code = gn_shard_run_command(txn->shard, gn_buf_bytes(&command), &txn->patience, op)) != GN_OK && err)
            *err = op->err;
    }
    gn_buf_close(&command);
    return code;
}

gn_code gn_txn_commit(gn_txn *txn, gn_scn *scn, gn_error *err)
{
    gn_commit_op op = {.scn = txn->read_scn};
    gn_code code = GN_OK;
    gn_txn_settle_scans(txn);
    if (gn_txn_has_writes(txn)) {
        gn_command c = {.kind = GN_COMMAND_TXN, .txn_id = gn_random_u64(txn->shard->world)};
        c.txn_id += c.txn_id == 0;
        code = propose(txn, c, &op, err);
    }
    if (code == GN_OK && scn)
        *scn = op.scn;
    gn_txn_abort(txn);
    return code;
}

/* ---- transactions over several groups ---- */

static gn_code check_part(const gn_txn *txn, uint64_t txn_id, uint32_t n_groups, gn_error *err)
{
    if (!txn->shard->clocked)
        return gn_error_set(err, GN_NOT_IN_STATE, "the group has no clock");
    if (txn_id == 0 || n_groups == 0)
        return gn_error_set(err, GN_INVALID_PARAMETER, "a part of a transaction needs its id and its groups");
    if (txn->read_only)
        return gn_error_set(err, GN_READ_ONLY_TRANSACTION, "cannot prepare a read-only transaction");
    return GN_OK;
}

static gn_code end_part(gn_txn *txn, gn_command c, const uint64_t *groups, uint32_t n_groups, gn_scn *scn,
                        gn_error *err)
{
    gn_commit_op op = {0};
    gn_buf packed;
    gn_buf_init(&packed, NULL, GN_MAX_FIELD);
    gn_txn_settle_scans(txn);
    gn_code code = check_part(txn, c.txn_id, n_groups, err);
    for (uint32_t i = 0; i < n_groups; i++)
        gn_buf_append_varint(&packed, groups[i]);
    c.groups = gn_buf_bytes(&packed);
    if (code == GN_OK)
        code = propose(txn, c, &op, err);
    if (code == GN_OK && scn)
        *scn = op.scn;
    gn_buf_close(&packed);
    gn_txn_abort(txn);
    return code;
}

gn_code gn_txn_prepare(gn_txn *txn, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn *prepared,
                       gn_error *err)
{
    return end_part(txn, (gn_command){.kind = GN_COMMAND_PREPARE, .txn_id = txn_id}, groups, n_groups, prepared, err);
}

gn_code gn_txn_decide(gn_txn *txn, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn above,
                      gn_scn *scn, gn_error *err)
{
    gn_command c = {.kind = GN_COMMAND_DECIDE, .txn_id = txn_id, .scn = above};
    return end_part(txn, c, groups, n_groups, scn, err);
}

static gn_code run_decision(gn_shard *shard, gn_command c, gn_commit_op *op, gn_error *err)
{
    gn_buf command;
    gn_buf_init(&command, NULL, 256);
    c.clock = gn_shard_clock(shard);
    gn_command_encode_decision(&c, &command);
    GN_ASSERT(!command.failed);
    gn_code code = gn_shard_run_command(shard, gn_buf_bytes(&command), NULL, op);
    if (code != GN_OK && err)
        *err = op->err;
    gn_buf_close(&command);
    return code;
}

gn_code gn_shard_decide(gn_shard *shard, uint64_t txn_id, bool commit, gn_scn scn, gn_decision *out, gn_error *err)
{
    if (txn_id == 0 || commit != (scn != 0))
        return gn_error_set(err, GN_INVALID_PARAMETER, "a decision needs a transaction, and an SCN just to commit");
    gn_commit_op op = {0};
    gn_command c = {.kind = commit ? GN_COMMAND_COMMIT : GN_COMMAND_ABORT, .txn_id = txn_id, .scn = scn};
    gn_code code = run_decision(shard, c, &op, err);
    if (out)
        *out = (gn_decision){.state = code == GN_OK ? op.state : GN_UNKNOWN_TXN, .scn = code == GN_OK ? op.scn : 0};
    return code;
}

gn_code gn_shard_forget(gn_shard *shard, uint64_t txn_id, gn_error *err)
{
    if (txn_id == 0)
        return gn_error_set(err, GN_INVALID_PARAMETER, "no transaction has the id 0");
    gn_commit_op op = {0};
    return run_decision(shard, (gn_command){.kind = GN_COMMAND_FORGET, .txn_id = txn_id}, &op, err);
}

gn_code gn_shard_decision(gn_shard *shard, uint64_t txn_id, gn_decision *out, gn_error *err)
{
    *out = (gn_decision){0};
    gn_code code = gn_shard_failed(shard);
    if (code != GN_OK)
        return gn_error_set(err, code, "%s", gn_code_text(code));
    code = gn_shard_catch_up(shard, &(gn_patience){0}, err);
    return code == GN_OK ? gn_prepared_decision(&shard->prepared, txn_id, out) : code;
}
