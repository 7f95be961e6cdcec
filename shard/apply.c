/* The batch loop: decode, decide, write, publish.
 *
 * What a command does depends on the log alone, never on this replica's clock, memory or open readers, so that all
 * replicas come to the same rows under the same SCNs. */
#include "base/assert.h"
#include "shard/apply_private.h"
#include "shard/vector_feed_private.h"

#include <stdlib.h>

gn_applier *gn_applier_create(gn_shard *shard)
{
    gn_applier *ap = gn_xcalloc(1, sizeof *ap);
    ap->shard = shard;
    ap->batch = rocksdb_writebatch_create();
    ap->arena = gn_arena_create(NULL);
    gn_overlay_init(&ap->overlay, 1024);
    gn_buf_init(&ap->key, NULL, GN_STORE_KEY_MAX);
    gn_buf_init(&ap->value, NULL, (size_t)GN_MAX_ROW + GN_ROW_HEADER);
    gn_buf_init(&ap->entry, NULL, GN_STORE_KEY_MAX);
    gn_buf_init(&ap->old_entry, NULL, GN_STORE_KEY_MAX);
    gn_buf_init(&ap->rowid, NULL, GN_MAX_KEY);
    gn_recent_init(&ap->recent);
    gn_change_writer_init(&ap->changes);
    gn_applier_reset(ap);
    return ap;
}

void gn_applier_reset(gn_applier *ap)
{
    gn_point_close(&ap->point);
    rocksdb_writebatch_clear(ap->batch);
    gn_overlay_clear(&ap->overlay);
    gn_recent_close(&ap->recent);
    gn_recent_init(&ap->recent);
    gn_schema_release(ap->schema);
    ap->store = ap->shard->store;
    ap->schema = gn_schema_retain(ap->shard->schema);
    ap->last_scn = ap->recent.complete_from = ap->shard->last_scn;
    ap->n_pending = ap->batch_bytes = 0;
    gn_point_open(&ap->point, ap->store);
}

void gn_applier_destroy(gn_applier *ap)
{
    if (!ap)
        return;
    gn_point_close(&ap->point);
    gn_overlay_close(&ap->overlay);
    gn_recent_close(&ap->recent);
    gn_change_writer_close(&ap->changes);
    gn_schema_release(ap->schema);
    gn_arena_destroy(ap->arena);
    gn_buf_close(&ap->key);
    gn_buf_close(&ap->value);
    gn_buf_close(&ap->entry);
    gn_buf_close(&ap->old_entry);
    gn_buf_close(&ap->rowid);
    rocksdb_writebatch_destroy(ap->batch);
    free(ap);
}

void gn_apply_put(gn_applier *ap, const gn_space *space, gn_bytes key, gn_scn scn, gn_bytes head, gn_bytes tail)
{
    gn_version_key(&ap->key, space, key, scn);
    gn_buf_clear(&ap->value);
    gn_buf_append_bytes(&ap->value, head);
    gn_buf_append_bytes(&ap->value, tail);
    GN_ASSERT(!ap->value.failed);
    rocksdb_writebatch_put(ap->batch, (const char *)ap->key.data, ap->key.len, (const char *)ap->value.data,
                           ap->value.len);
    ap->batch_bytes += ap->key.len + ap->value.len + 16;
}

/* ---- sections ---- */

gn_section_pass gn_section_begin(const gn_section *section, bool hidden, uint64_t first_rowid, gn_buf *key)
{
    return (gn_section_pass){
        .r = gn_reader_of(section->body), .left = section->n, .hidden = hidden, .next_rowid = first_rowid, .key = key};
}

gn_code gn_section_write(gn_section_pass *pass, gn_write *out, gn_error *err)
{
    if (pass->left == 0 && gn_reader_left(&pass->r) == 0)
        return GN_NO_DATA;
    if (pass->left == 0 || !gn_write_unpack(&pass->r, out))
        return gn_error_set(err, GN_CORRUPT, "the writes of a command are malformed");
    pass->left--;
    if (pass->hidden && out->op == GN_WRITE_INSERT) {
        gn_value id = {.type = gn_type_of(GN_T_INT8), .as.i64 = (int64_t)pass->next_rowid++};
        gn_buf_clear(pass->key);
        gn_code code = gn_key_append(pass->key, &id, false, false, err);
        out->key = gn_buf_bytes(pass->key);
        return code;
    }
    return GN_OK;
}

static gn_code find_section(gn_bytes sections, uint64_t table_id, gn_section *out, bool *found, gn_error *err)
{
    gn_reader r = gn_reader_of(sections);
    *found = false;
    while (gn_section_next(&r, out))
        if (out->table_id == table_id) {
            *found = true;
            return GN_OK;
        }
    return r.failed ? gn_error_set(err, GN_CORRUPT, "the writes of a command are malformed") : GN_OK;
}

static gn_code count_writes(gn_bytes sections, uint64_t *n, gn_error *err)
{
    gn_reader r = gn_reader_of(sections);
    gn_section s;
    *n = 0;
    while (gn_section_next(&r, &s))
        *n += s.n;
    return r.failed ? gn_error_set(err, GN_CORRUPT, "the writes of a command are malformed") : GN_OK;
}

/* ---- one transaction ---- */

static gn_code changed_table(gn_error *err)
{
    gn_error_set(err, GN_SERIALIZATION, "could not serialize access: the definition of a table has changed");
    gn_error_hint(err, "The transaction might succeed if retried.");
    return GN_SERIALIZATION;
}

/* What the transaction believed of the tables must still hold. Tables of this commit's making are its own business. */
static gn_code check_tables(gn_apply_txn *txn)
{
    gn_reader r = gn_reader_of(txn->command->tables);
    while (gn_reader_left(&r) > 0) {
        const gn_schema_table *t = gn_schema_find(txn->ap->schema, gn_read_varint(&r));
        if (r.failed)
            return gn_error_set(txn->err, GN_CORRUPT, "a command's table list is malformed");
        if (!t || t->since > txn->command->start_scn)
            return changed_table(txn->err);
    }
    return GN_OK;
}

static gn_code check_reads(gn_apply_txn *txn)
{
    gn_read_set reads;
    gn_code code = gn_read_set_unpack(txn->command->reads, txn->ap->arena, &reads, txn->err);
    if (code == GN_OK)
        code = gn_recent_validate(&txn->ap->recent, &reads, txn->command->start_scn, txn->err);
    if (code == GN_OK && gn_prepared_any(&txn->ap->shard->prepared))
        code = gn_prepared_check_reads(&txn->ap->shard->prepared, txn->command, &reads, txn->err);
    return code;
}

static gn_code apply_sections(gn_apply_txn *txn)
{
    gn_applier *ap = txn->ap;
    gn_bytes sections = txn->command->writes;
    gn_section s;
    bool has_catalog;
    gn_code code = find_section(sections, GN_CATALOG_TABLE, &s, &has_catalog, txn->err);
    if (code == GN_OK && has_catalog)
        code = gn_apply_schema(txn, &s, sections);
    gn_reader r = gn_reader_of(sections);
    while (code == GN_OK && gn_section_next(&r, &s)) {
        const gn_table_desc *desc = gn_catalog_desc();
        if (s.table_id != GN_CATALOG_TABLE) {
            const gn_schema_table *t = gn_schema_find(ap->schema, s.table_id);
            if (!t || (t->since > txn->command->start_scn && t->since != txn->scn) || t->desc->data_epoch != s.epoch)
                return changed_table(txn->err);
            desc = t->desc;
        }
        code = gn_apply_rows(txn, desc, &s);
    }
    return code;
}

static void record_commit(gn_apply_txn *txn)
{
    gn_applier *ap = txn->ap;
    gn_buf packed;
    gn_buf_init(&packed, NULL, SIZE_MAX / 2);
    gn_recent_pack_indexes(&ap->recent, &packed);
    gn_change_end(&ap->changes, gn_buf_bytes(&packed));
    gn_buf_close(&packed);
    gn_recent_add(&ap->recent, gn_recent_finish(&ap->recent, txn->scn, txn->command->txn_id, gn_bytes_of(NULL, 0)));
    if (ap->last_scn < txn->scn) /* what was prepared may commit below */
        ap->last_scn = txn->scn;
    ap->n_commits++;
}

/* The window holds what was committed since the open; an older transaction needs the rest of it. */
gn_code gn_apply_complete_window(gn_applier *ap, uint64_t index, gn_scn start_scn, gn_error *err)
{
    if (start_scn >= ap->recent.complete_from)
        return GN_OK;
    gn_code code = gn_apply_flush(ap, index - 1);
    if (code != GN_OK)
        return code;
    gn_recent_close(&ap->recent);
    gn_recent_init(&ap->recent);
    return gn_change_load_recent(ap->store, ap->shard->log_floor, &ap->recent, err);
}

typedef struct saved_counters {
    gn_table_state *state;
    uint64_t epoch;
    int64_t rows, bytes;
    uint64_t next_rowid;
} saved_counters;

static saved_counters *save_counters(gn_applier *ap, gn_bytes sections, size_t *n)
{
    gn_reader r = gn_reader_of(sections);
    gn_section s;
    *n = 0;
    while (gn_section_next(&r, &s))
        ++*n;
    saved_counters *saved = gn_xcalloc(*n + 1, sizeof *saved);
    r = gn_reader_of(sections);
    for (size_t i = 0; gn_section_next(&r, &s); i++) {
        const gn_schema_table *t = gn_schema_find(ap->schema, s.table_id);
        if (!t && s.table_id != GN_CATALOG_TABLE)
            continue; /* of this transaction's making */
        gn_table_state *state = gn_apply_table_state(ap, t ? t->desc : gn_catalog_desc());
        saved[i] = (saved_counters){state, state->epoch, state->rows, state->bytes, state->next_rowid};
    }
    return saved;
}

/* Readers look at the epoch, under the lock. */
static void restore_counters(gn_shard *shard, const saved_counters *saved, size_t n)
{
    pthread_mutex_lock(&shard->view_lock);
    for (size_t i = 0; i < n; i++) {
        if (!saved[i].state)
            continue;
        saved[i].state->epoch = saved[i].epoch;
        saved[i].state->rows = saved[i].rows;
        saved[i].state->bytes = saved[i].bytes;
        saved[i].state->next_rowid = saved[i].next_rowid;
    }
    pthread_mutex_unlock(&shard->view_lock);
}

/* Refusals follow from the log alone; what remains is this replica's own trouble, with which it must not go on. */
bool gn_apply_is_refusal(gn_code code)
{
    return code != GN_OK && code != GN_CORRUPT && code != GN_IO && code != GN_DISK_FULL && code != GN_OUT_OF_MEMORY &&
           code != GN_INTERNAL;
}

/* What others are about to write or have read may not be written. A prepare keeps what it would write. */
static gn_code check_held(gn_apply_txn *txn)
{
    gn_applier *ap = txn->ap;
    if (txn->prepared || (!txn->tries && !gn_prepared_any(&ap->shard->prepared)))
        return GN_OK;
    gn_recent_commit *writes = gn_recent_finish(&ap->recent, txn->scn, txn->command->txn_id, gn_bytes_of(NULL, 0));
    gn_code code = gn_prepared_check_writes(&ap->shard->prepared, writes, txn->err);
    if (txn->tries && code == GN_OK)
        txn->footprint = writes;
    else
        free(writes);
    return code;
}

/* All or nothing: a refused transaction leaves no trace in the batch, nor does one that is only tried. */
gn_code gn_apply_txn_writes(gn_apply_txn *txn, uint64_t index)
{
    gn_applier *ap = txn->ap;
    size_t n_saved;
    saved_counters *saved = save_counters(ap, txn->command->writes, &n_saved);
    gn_schema *before = gn_schema_retain(ap->schema);
    txn->before = before;
    rocksdb_writebatch_set_save_point(ap->batch);
    gn_recent_begin(&ap->recent);
    gn_change_begin(&ap->changes, ap->batch, txn->scn, txn->command->txn_id);
    gn_code code = apply_sections(txn);
    if (code == GN_OK)
        code = check_held(txn);
    if (code == GN_OK && !txn->tries) {
        gn_feed_commit(ap->shard->feeds, txn);
        record_commit(txn);
        rocksdb_writebatch_pop_save_point(ap->batch, &(char *){NULL});
    } else {
        rocksdb_writebatch_rollback_to_save_point(ap->batch, &(char *){NULL});
        restore_counters(ap->shard, saved, n_saved);
        gn_schema_release(ap->schema);
        ap->schema = gn_schema_retain(before);
        if (code == GN_OK ||
            gn_apply_is_refusal(
                code)) { /* the overlay may know of writes that are gone: empty it with what came before */
            gn_code flushed = gn_apply_flush(ap, index - 1);
            code = flushed == GN_OK ? code : flushed;
        }
    }
    gn_schema_release(before);
    free(saved);
    return code;
}

/* What it read and where it writes was judged by slots that are the group's no more: its coordinator has to look where
 * they are now. What was committed in a group that was taken in is not in the window of recent commits, so whoever read
 * as of before that is not validated but refused. */
static gn_code check_slots(gn_apply_txn *txn)
{
    const gn_slots *own = &txn->ap->shard->slots;
    if (txn->command->generation == own->generation && !own->into && txn->command->start_scn >= own->merged)
        return GN_OK;
    gn_error_set(txn->err, GN_SERIALIZATION, "could not serialize access: the group has been split or merged");
    gn_error_hint(txn->err, "The transaction might succeed if retried.");
    return GN_SERIALIZATION;
}

gn_code gn_apply_check_txn(gn_apply_txn *txn)
{
    gn_code code = check_slots(txn);
    if (code == GN_OK)
        code = check_tables(txn);
    return code == GN_OK ? check_reads(txn) : code;
}

/* Alone in its batch: a large transaction, and one that reads the tables as they are to fill an index. */
gn_code gn_apply_make_room(gn_apply_txn *txn, uint64_t index, bool *alone)
{
    gn_applier *ap = txn->ap;
    uint64_t n = 0;
    gn_section catalog;
    gn_code code = count_writes(txn->command->writes, &n, txn->err);
    txn->large = *alone = n > GN_APPLY_LARGE;
    txn->newest = (gn_chain){.n = 1, .links = {{.branch = txn->command->branch, .scn = UINT64_MAX}}};
    if (code == GN_OK && !*alone)
        code = find_section(txn->command->writes, GN_CATALOG_TABLE, &catalog, alone, txn->err);
    if (code == GN_OK && *alone)
        gn_task_long(ap->shard->world);
    if (code == GN_OK && *alone && ap->n_pending > 0)
        code = gn_apply_flush(ap, index - 1);
    return code;
}

gn_scn gn_apply_next_scn(gn_applier *ap, const gn_command *command)
{
    if (command->clock > ap->last_scn)
        return command->clock;
    if (command->from_clock)
        gn_counter_add(ap->shard->metrics.scns_raised, 1);
    return ap->last_scn + 1;
}

/* A refusal is an answer; any other error means that this replica cannot go on. */
static gn_code apply_txn(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op)
{
    gn_apply_txn txn = {.ap = ap, .command = command, .err = &op->err};
    if (gn_recent_find_txn(&ap->recent, command->txn_id, &op->scn))
        return GN_OK;
    gn_code code = gn_apply_complete_window(ap, index, command->start_scn, txn.err);
    if (code == GN_OK && gn_recent_find_txn(&ap->recent, command->txn_id, &op->scn))
        return GN_OK;
    bool alone, decides = command->kind == GN_COMMAND_DECIDE;
    if (code == GN_OK && decides)
        code = gn_apply_may_decide(ap, command, txn.err);
    if (code == GN_OK)
        code = gn_apply_check_txn(&txn);
    if (code == GN_OK)
        code = gn_apply_make_room(&txn, index, &alone);
    if (code != GN_OK)
        return code;
    txn.scn = gn_apply_next_scn(ap, command);
    if (decides && txn.scn <= command->scn)
        txn.scn = command->scn + 1;
    code = gn_apply_txn_writes(&txn, index);
    if (code == GN_OK) {
        op->scn = txn.scn;
        if (decides)
            gn_apply_note_commit(ap, command, txn.scn);
        if (alone)
            code = gn_apply_flush(ap, index);
    }
    return code;
}

/* ---- sequences ---- */

static gn_code apply_sequence(gn_applier *ap, uint64_t index, const gn_command *c, gn_commit_op *op)
{
    gn_code code = ap->n_pending ? gn_apply_flush(ap, index - 1) : GN_OK; /* it may be in the batch */
    uint8_t key[GN_META_KEY_MAX];
    size_t key_len = gn_meta_key(key, GN_META_SEQUENCE, &c->sequence_id, 1);
    gn_buf_clear(&ap->value);
    bool found;
    if (code == GN_OK)
        code = gn_store_get(ap->store, gn_bytes_of(key, key_len), &ap->value, &found, &op->err);
    if (code != GN_OK)
        return code;
    if (found && ap->value.len != 8)
        return gn_error_set(&op->err, GN_CORRUPT, "a stored sequence is malformed");
    int64_t next = found ? (int64_t)gn_get_be64(ap->value.data) : c->start;
    int64_t after = next;
    switch (c->op) {
    case GN_SEQUENCE_NEXT:
        op->first = next;
        if (c->value <= 0 || __builtin_add_overflow(next, c->value, &after))
            return gn_error_set(&op->err, GN_NUMERIC_RANGE, "the sequence has reached its maximum value");
        break;
    case GN_SEQUENCE_RAISE:
        if (c->value >= next && __builtin_add_overflow(c->value, 1, &after))
            after = INT64_MAX;
        break;
    case GN_SEQUENCE_RETURN:
        if (c->value == next && c->start < next)
            after = c->start;
        break;
    }
    uint8_t value[8];
    gn_put_be64(value, (uint64_t)after);
    rocksdb_writebatch_put(ap->batch, (const char *)key, key_len, (const char *)value, sizeof value);
    ap->batch_bytes += 32;
    return GN_OK;
}

gn_code gn_apply_entry(gn_applier *ap, uint64_t index, gn_bytes bytes, gn_commit_op *op)
{
    gn_commit_op nobody = {0};
    if (!op)
        op = &nobody;
    gn_command command;
    gn_code code = gn_command_decode(bytes, &command, &op->err);
    if (code != GN_OK)
        return code;
    if (command.kind == GN_COMMAND_SEQUENCE)
        op->code = apply_sequence(ap, index, &command, op);
    else if (command.kind == GN_COMMAND_TXN || command.kind == GN_COMMAND_DECIDE)
        op->code = apply_txn(ap, index, &command, op);
    else if (command.kind == GN_COMMAND_PREPARE)
        op->code = gn_apply_prepare(ap, index, &command, bytes, op);
    else if (command.kind == GN_COMMAND_SPLIT)
        op->code = gn_apply_split(ap, index, &command, op);
    else if (command.kind == GN_COMMAND_MERGE)
        op->code = gn_apply_merge(ap, index, &command, op);
    else
        op->code = gn_apply_decision(ap, index, &command, op);
    ap->n_pending++;
    if (op->code == GN_SERIALIZATION)
        gn_counter_add(ap->shard->metrics.conflicts, 1);
    else if (op->code == GN_UNIQUE)
        gn_counter_add(ap->shard->metrics.unique_errors, 1);
    if (op->code == GN_OK || gn_apply_is_refusal(op->code))
        return ap->batch_bytes > GN_APPLY_BATCH_BYTES ? gn_apply_flush(ap, index) : GN_OK;
    return op->code;
}

/* ---- writing and publishing ---- */

void gn_counters_put(rocksdb_writebatch_t *batch, const gn_table_state *state)
{
    uint8_t key[GN_META_KEY_MAX], value[33] = {1};
    size_t len = gn_meta_key(key, GN_META_COUNTERS, &state->table_id, 1);
    gn_put_be64(value + 1, state->epoch);
    gn_put_be64(value + 9, (uint64_t)state->rows);
    gn_put_be64(value + 17, (uint64_t)state->bytes);
    gn_put_be64(value + 25, state->next_rowid);
    rocksdb_writebatch_put(batch, (const char *)key, len, (const char *)value, sizeof value);
}

void gn_state_put(rocksdb_writebatch_t *batch, uint64_t last_index, gn_scn last_scn)
{
    uint8_t key[GN_META_KEY_MAX], value[17] = {1};
    size_t len = gn_meta_key(key, GN_META_STATE, NULL, 0);
    gn_put_be64(value + 1, last_index);
    gn_put_be64(value + 9, last_scn);
    rocksdb_writebatch_put(batch, (const char *)key, len, (const char *)value, sizeof value);
}

static void publish_table(gn_table_state *state)
{
    state->public_rows = state->rows;
    state->public_bytes = state->bytes;
    state->public_knows = state->knows_greatest;
    gn_buf_clear(&state->public_greatest);
    gn_buf_append_bytes(&state->public_greatest, gn_buf_bytes(&state->greatest));
    state->dirty = false;
}

static void publish(gn_applier *ap, uint64_t last_index)
{
    gn_shard *shard = ap->shard;
    gn_schema *old = NULL;
    pthread_mutex_lock(&shard->view_lock);
    if (ap->schema_changed) {
        old = shard->schema;
        shard->schema = gn_schema_retain(ap->schema);
    }
    for (size_t i = 0; i < shard->tables.n; i++)
        if (shard->tables.items[i]->dirty)
            publish_table(shard->tables.items[i]);
    if (ap->slots) {
        uint64_t cleaned = shard->slots.cleaned;
        shard->slots = *ap->slots;
        shard->slots.cleaned = cleaned;
        gn_buf_clear(&shard->merge_at);
        gn_buf_append_bytes(&shard->merge_at, ap->merge_at);
    }
    shard->last_scn = ap->last_scn;
    shard->closed_scn = gn_prepared_closed(&shard->prepared, ap->last_scn);
    shard->applied_index = last_index;
    gn_shard_applied(shard, last_index);
    pthread_mutex_unlock(&shard->view_lock);
    gn_prepared_publish(&shard->prepared);
    if (old)
        gn_feeds_schema_changed(shard->feeds, ap->schema);
    gn_schema_release(old);
    ap->schema_changed = false;
}

/* Tables that are gone take their counters with them. */
static void drop_table_states(gn_applier *ap)
{
    gn_shard *shard = ap->shard;
    for (size_t i = shard->tables.n; i > 0; i--) {
        uint64_t id = shard->tables.items[i - 1]->table_id;
        if (id == GN_CATALOG_TABLE || gn_schema_find(ap->schema, id))
            continue;
        uint8_t key[GN_META_KEY_MAX];
        size_t len = gn_meta_key(key, GN_META_COUNTERS, &id, 1);
        rocksdb_writebatch_delete(ap->batch, (const char *)key, len);
        pthread_mutex_lock(&shard->view_lock);
        gn_table_states_remove(&shard->tables, id);
        pthread_mutex_unlock(&shard->view_lock);
    }
}

gn_code gn_apply_flush(gn_applier *ap, uint64_t last_index)
{
    gn_shard *shard = ap->shard;
    GN_ASSERT(last_index >= shard->applied_index);
    if (ap->schema_changed)
        drop_table_states(ap);
    for (size_t i = 0; i < shard->tables.n; i++)
        if (shard->tables.items[i]->dirty)
            gn_counters_put(ap->batch, shard->tables.items[i]);
    gn_state_put(ap->batch, last_index, ap->last_scn);
    gn_error err = {0};
    gn_code code = gn_store_write(ap->store, ap->batch, &err);
    rocksdb_writebatch_clear(ap->batch);
    gn_point_close(&ap->point);
    gn_point_open(&ap->point, ap->store);
    gn_overlay_clear(&ap->overlay);
    gn_arena_reset(ap->arena);
    if (code != GN_OK) {
        gn_shard_fail(shard, code, &err);
        return code;
    }
    gn_feeds_position(shard->feeds, gn_prepared_closed(&shard->prepared, ap->last_scn));
    publish(ap, last_index);
    uint64_t unflushed = atomic_fetch_add(&shard->unflushed_bytes, ap->batch_bytes) + ap->batch_bytes;
    shard->dead_versions += ap->n_tombstones;
    gn_counter_add(shard->metrics.commits, ap->n_commits);
    gn_counter_add(shard->metrics.rows_written, ap->n_rows);
    ap->n_commits = ap->n_rows = ap->n_tombstones = 0;
    ap->n_pending = ap->batch_bytes = 0;
    shard->recent_floor = ap->recent.complete_from == 0 ? ap->recent.floor : 0;
    if (unflushed > shard->memtable_bytes / 4 * 3)
        gn_wakeup_post(&shard->keeper_wakeup);
    return GN_OK;
}

/* ---- the queue's task ---- */

static void answer(gn_raft_apply *apply, size_t from, size_t to, gn_code code)
{
    for (size_t i = from; i < to; i++)
        if (apply->entries[i].request)
            gn_raft_request_done(apply->entries[i].request, code);
}

void gn_apply_batch(gn_shard *shard, gn_raft_apply *apply)
{
    gn_applier *ap = shard->applier;
    gn_code code = gn_shard_failed(shard);
    uint64_t start = gn_now_ns(shard->world);
    gn_error err = {0};
    size_t i = 0;
    for (; code == GN_OK && i < apply->n; i++) {
        const gn_raft_entry *entry = &apply->entries[i];
        if (entry->index <= shard->applied_index) /* the store is ahead of a snapshot that Raft knows */
            continue;
        gn_commit_op *op = entry->request ? GN_CONTAINER(entry->request, gn_commit_op, request) : NULL;
        gn_commit_op nobody = {0};
        code = gn_apply_entry(ap, entry->index, entry->command, op ? op : &nobody);
        if (code != GN_OK)
            err = op ? op->err : nobody.err;
    }
    if (code == GN_OK && apply->last_index > shard->applied_index)
        code = gn_apply_flush(ap, apply->last_index);
    if (code != GN_OK)
        gn_shard_fail(shard, code, &err);
    gn_histogram_observe(shard->metrics.apply_seconds, (double)(gn_now_ns(shard->world) - start) / 1e9);
    answer(apply, 0, apply->n, code == GN_OK ? GN_OK : GN_CRASH_SHUTDOWN);
    gn_raft_apply_done(apply, code);
}
