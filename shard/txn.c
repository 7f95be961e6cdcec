/* Begin, commit, abort. */
#include "base/assert.h"
#include "shard/txn_private.h"

#include <stdlib.h>

/* ---- begin ---- */

typedef struct read_op {
    gn_raft_request request;
    gn_event event;
    gn_code code;
} read_op;

static void read_done(gn_raft_request *request, gn_code code)
{
    read_op *op = GN_CONTAINER(request, read_op, request);
    op->code = code;
    gn_event_signal(&op->event);
}

/* After this, all that was acknowledged before has been applied here. */
static gn_code read_index(gn_shard *shard, gn_error *err)
{
    read_op op = {.request.done = read_done};
    gn_event_init(&op.event, shard->world);
    gn_raft_read_index(shard->group, &op.request);
    gn_event_wait(&op.event, UINT64_MAX);
    if (op.code != GN_OK)
        return gn_error_set(err, op.code, "%s", gn_code_text(op.code));
    return GN_OK;
}

static gn_code take_view(gn_txn *txn, gn_scn wanted, gn_error *err)
{
    gn_shard *shard = txn->shard;
    gn_code code = GN_OK;
    pthread_mutex_lock(&shard->view_lock);
    /* A moment that has not come is read as now: what commits later must not appear in it. */
    txn->read_scn = wanted && wanted < shard->last_scn ? wanted : shard->last_scn;
    if (txn->read_scn < shard->horizon) {
        code = gn_error_set(err, GN_SNAPSHOT_TOO_OLD, "history before SCN %llu has been collected",
                            (unsigned long long)shard->horizon);
    } else {
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
    txn->read_only = o->read_only || o->read_scn != 0;
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
    code = read_index(shard, err);
    if (code != GN_OK)
        return code;
    gn_txn *txn = txn_alloc(shard, o);
    code = take_view(txn, o->read_scn, err);
    if (code == GN_OK) {
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

gn_scn gn_txn_read_scn(const gn_txn *txn)
{
    return txn->read_scn;
}

bool gn_txn_has_writes(const gn_txn *txn)
{
    if (txn->n_own_tables > 0)
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

/* *empty: there is nothing to write after all. */
static gn_code encode(gn_txn *txn, gn_buf *out, bool *empty, gn_error *err)
{
    gn_buf tables, reads;
    gn_buf_init(&tables, txn->account, GN_MAX_ENTRY);
    gn_buf_init(&reads, txn->account, GN_MAX_ENTRY);
    for (size_t i = 0; i < txn->n_used; i++)
        gn_buf_append_varint(&tables, txn->used[i]);
    gn_read_set_pack(&txn->reads, &reads);
    gn_command c = {.txn_id = gn_random_u64(txn->shard->world), .clock = gn_shard_clock(txn->shard)};
    c.txn_id += c.txn_id == 0;
    c.start_scn = txn->read_scn;
    c.branch = txn->branch;
    c.tables = gn_buf_bytes(&tables);
    c.reads = gn_buf_bytes(&reads);
    size_t patch;
    gn_command_begin_txn(&c, out, &patch);
    size_t before = out->len;
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

gn_code gn_txn_commit(gn_txn *txn, gn_scn *scn, gn_error *err)
{
    gn_scn at = txn->read_scn;
    gn_code code = GN_OK;
    gn_txn_settle_scans(txn);
    if (gn_txn_has_writes(txn)) {
        gn_buf command;
        gn_buf_init(&command, txn->account, GN_MAX_ENTRY);
        bool empty = false;
        code = encode(txn, &command, &empty, err);
        /* What the writes hold is in the command now; the log is about to copy it again. */
        for (size_t i = 0; i < txn->n_sets; i++)
            gn_write_set_clear(txn->sets[i]);
        gn_commit_op op = {.scn = at};
        if (code == GN_OK && !empty) {
            code = gn_shard_run_command(txn->shard, gn_buf_bytes(&command), &op);
            if (code != GN_OK && err)
                *err = op.err;
        }
        at = op.scn;
        gn_buf_close(&command);
    }
    if (code == GN_OK && scn)
        *scn = at;
    gn_txn_abort(txn);
    return code;
}
