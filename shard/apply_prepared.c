/* Applying the parts of transactions over several groups: prepare, commit, abort, forget.
 *
 * A prepare runs the writes as a commit would, with all its checks, notes what they would write, and takes them back.
 * The commit runs the same command again under its SCN; what the prepare has held in between sees to it that nothing
 * can go wrong any more. */
#include "base/assert.h"
#include "base/versions.h"
#include "shard/apply_private.h"

#include <stdlib.h>

enum { RECORD_KEY = 9, DECISION_VERSION = GN_FORMAT_DECISION, ABORTS_MAX = 65536 };
static const uint64_t ABORT_KEPT_MS = 3600 * 1000;

/* ---- records ---- */

static void record_key(uint8_t out[RECORD_KEY], uint8_t kind, uint64_t txn_id)
{
    out[0] = kind;
    gn_put_be64(out + 1, txn_id);
}

static void put_record(gn_applier *ap, uint8_t kind, uint64_t txn_id, gn_bytes value)
{
    uint8_t key[RECORD_KEY];
    record_key(key, kind, txn_id);
    rocksdb_writebatch_put(ap->batch, (const char *)key, sizeof key, (const char *)value.data, value.len);
    ap->batch_bytes += sizeof key + value.len + 16;
}

static void delete_record(gn_applier *ap, uint8_t kind, uint64_t txn_id)
{
    uint8_t key[RECORD_KEY];
    record_key(key, kind, txn_id);
    rocksdb_writebatch_delete(ap->batch, (const char *)key, sizeof key);
    ap->batch_bytes += sizeof key + 16;
}

static void decide(gn_applier *ap, uint64_t txn_id, gn_decision_state state, gn_scn scn, const uint64_t *groups,
                   uint32_t n)
{
    gn_buf value;
    gn_buf_init(&value, NULL, SIZE_MAX / 2);
    gn_buf_append_u8(&value, DECISION_VERSION);
    gn_buf_append_u8(&value, (uint8_t)state);
    gn_buf_append_be64(&value, scn);
    gn_buf_append_varint(&value, n);
    for (uint32_t i = 0; i < n; i++)
        gn_buf_append_varint(&value, groups[i]);
    put_record(ap, GN_KIND_DECISION, txn_id, gn_buf_bytes(&value));
    gn_buf_close(&value);
    gn_decided_add(&ap->shard->prepared, txn_id, state, scn, groups, n);
}

/* From now on a prepare that began before the newest abort that is dropped is refused. */
static void drop_old_aborts(gn_applier *ap, gn_scn now)
{
    gn_prepared_list *list = &ap->shard->prepared;
    gn_scn kept = ABORT_KEPT_MS << GN_SCN_COUNTER_BITS, floor = list->abort_floor;
    while (list->aborts_at < list->n_aborts) {
        const gn_decided *oldest = list->aborts[list->aborts_at];
        if (oldest->scn + kept >= now && list->n_aborts - list->aborts_at <= ABORTS_MAX)
            break;
        floor = oldest->scn;
        delete_record(ap, GN_KIND_DECISION, oldest->txn_id);
        gn_decided_remove(list, oldest->txn_id);
    }
    if (floor == list->abort_floor)
        return;
    list->abort_floor = floor;
    uint8_t value[9] = {DECISION_VERSION};
    gn_put_be64(value + 1, floor);
    put_record(ap, GN_KIND_DECISION, 0, gn_bytes_of(value, sizeof value));
}

/* ---- prepare ---- */

static gn_code too_late(gn_error *err)
{
    gn_error_set(err, GN_SERIALIZATION,
                 "could not serialize access: the transaction has been decided without this part");
    gn_error_hint(err, "The transaction might succeed if retried.");
    return GN_SERIALIZATION;
}

/* Once for each section, before and after the writes were tried: where their hidden keys began. */
static size_t first_rowids(gn_applier *ap, gn_bytes sections, gn_first_rowid *out)
{
    size_t n = 0;
    gn_reader r = gn_reader_of(sections);
    gn_section s;
    while (gn_section_next(&r, &s)) {
        const gn_schema_table *t = gn_schema_find(ap->schema, s.table_id);
        uint64_t first = t && t->desc->hidden_key ? gn_apply_table_state(ap, t->desc)->next_rowid : 1;
        if (out)
            out[n] = (gn_first_rowid){s.table_id, first};
        n++;
    }
    return n;
}

/* Hidden keys are used up whatever is decided, so that no other row gets them. */
static void spend_rowids(gn_applier *ap, gn_bytes sections)
{
    gn_reader r = gn_reader_of(sections);
    gn_section s;
    while (gn_section_next(&r, &s)) {
        const gn_schema_table *t = gn_schema_find(ap->schema, s.table_id);
        if (t && t->desc->hidden_key)
            gn_apply_table_state(ap, t->desc)->next_rowid += s.n;
    }
}

static gn_code keep_prepared(gn_apply_txn *txn, uint64_t index, gn_bytes bytes, const gn_first_rowid *rowids, size_t n)
{
    gn_applier *ap = txn->ap;
    gn_buf record;
    gn_buf_init(&record, NULL, SIZE_MAX / 2);
    bool packed = gn_prepared_pack(txn->scn, rowids, n, txn->footprint, bytes, &record);
    GN_ASSERT(packed);
    gn_code code = gn_prepared_add(&ap->shard->prepared, txn->command->txn_id, gn_buf_bytes(&record), index, txn->err);
    if (code == GN_OK)
        put_record(ap, GN_KIND_PREPARED, txn->command->txn_id, gn_buf_bytes(&record));
    gn_buf_close(&record);
    return code;
}

static gn_code try_writes(gn_apply_txn *txn, uint64_t index, gn_bytes bytes)
{
    gn_applier *ap = txn->ap;
    gn_bytes sections = txn->command->writes;
    size_t n = first_rowids(ap, sections, NULL);
    gn_first_rowid *rowids = gn_xcalloc(n + 1, sizeof *rowids);
    first_rowids(ap, sections, rowids);
    gn_code code = gn_apply_txn_writes(txn, index);
    if (code == GN_OK) {
        spend_rowids(ap, sections);
        code = keep_prepared(txn, index, bytes, rowids, n);
    }
    if (code == GN_OK)
        ap->last_scn = txn->scn;
    free(txn->footprint);
    free(rowids);
    return code;
}

static bool has_been_decided(gn_applier *ap, const gn_command *c)
{
    gn_prepared_list *list = &ap->shard->prepared;
    gn_scn scn;
    bool forgotten = list->abort_floor && c->start_scn <= list->abort_floor; /* a new group reads at 0 */
    return gn_decided_find(list, c->txn_id) || forgotten || gn_recent_find_txn(&ap->recent, c->txn_id, &scn);
}

gn_code gn_apply_prepare(gn_applier *ap, uint64_t index, const gn_command *command, gn_bytes bytes, gn_commit_op *op)
{
    gn_apply_txn txn = {.ap = ap, .command = command, .err = &op->err, .tries = true};
    const gn_prepared *twin = gn_prepared_find(&ap->shard->prepared, command->txn_id);
    if (twin) {
        op->scn = twin->scn;
        return GN_OK;
    }
    gn_code code = gn_apply_complete_window(ap, index, command->start_scn, txn.err);
    if (code == GN_OK && has_been_decided(ap, command))
        return too_late(txn.err);
    if (code == GN_OK)
        code = gn_apply_check_txn(&txn);
    bool alone;
    if (code == GN_OK)
        code = gn_apply_make_room(&txn, index, &alone);
    if (code != GN_OK)
        return code;
    txn.scn = gn_apply_next_scn(ap, command);
    code = try_writes(&txn, index, bytes);
    if (code == GN_OK)
        op->scn = txn.scn;
    return code;
}

/* ---- the first group's part, if that comes last ---- */

/* Its coordinator was given up, and who waited for it has had it aborted. What has committed is among the recent. */
gn_code gn_apply_may_decide(gn_applier *ap, const gn_command *command, gn_error *err)
{
    return has_been_decided(ap, command) ? too_late(err) : GN_OK;
}

void gn_apply_note_commit(gn_applier *ap, const gn_command *command, gn_scn scn)
{
    gn_reader r = gn_reader_of(command->groups);
    uint64_t *groups = gn_xcalloc(command->groups.len + 1, sizeof *groups);
    uint32_t n = 0;
    while (gn_reader_left(&r) > 0 && !r.failed)
        groups[n++] = gn_read_varint(&r);
    decide(ap, command->txn_id, GN_COMMITTED, scn, groups, n);
    free(groups);
}

/* ---- what was decided ---- */

/* Of what is neither prepared nor noted here: it may be among the recent commits. */
static gn_code find_recent(gn_applier *ap, uint64_t index, const gn_command *c, bool *found, gn_commit_op *op)
{
    gn_code code = gn_apply_complete_window(ap, index, 0, &op->err);
    *found = code == GN_OK && gn_recent_find_txn(&ap->recent, c->txn_id, &op->scn);
    if (*found)
        op->state = GN_COMMITTED;
    return code;
}

/* The command as it was prepared; points into the record. */
static gn_code stored_command(gn_applier *ap, uint64_t txn_id, gn_buf *record, gn_command *c, gn_error *err)
{
    uint8_t key[RECORD_KEY];
    record_key(key, GN_KIND_PREPARED, txn_id);
    bool found;
    gn_bytes bytes;
    gn_code code = gn_store_get(ap->store, gn_bytes_of(key, sizeof key), record, &found, err);
    if (code == GN_OK && !found)
        code = gn_error_set(err, GN_CORRUPT, "the record of a prepared transaction is gone");
    if (code == GN_OK)
        code = gn_prepared_command(gn_buf_bytes(record), &bytes, err);
    if (code == GN_OK)
        code = gn_command_decode(bytes, c, err);
    return code;
}

/* What the overlay borrows lives as long as the batch. */
static gn_code keep_writes(gn_apply_txn *txn, gn_command *c)
{
    c->writes.data = gn_arena_memdup(txn->ap->arena, c->writes.data, c->writes.len);
    return c->writes.data ? GN_OK : gn_error_oom(txn->err, NULL);
}

static gn_code commit_prepared(gn_applier *ap, uint64_t index, gn_prepared *p, gn_scn scn, gn_commit_op *op)
{
    gn_command command;
    gn_apply_txn txn = {.ap = ap, .command = &command, .scn = scn, .prepared = p, .err = &op->err};
    gn_buf record;
    gn_buf_init(&record, NULL, SIZE_MAX / 2);
    /* The record may be in the batch. */
    gn_code code = p->index > ap->shard->applied_index ? gn_apply_flush(ap, index - 1) : GN_OK;
    if (code == GN_OK)
        code = stored_command(ap, p->txn_id, &record, &command, txn.err);
    bool alone = false;
    if (code == GN_OK)
        code = gn_apply_make_room(&txn, index, &alone);
    if (code == GN_OK && !alone)
        code = keep_writes(&txn, &command);
    if (code == GN_OK)
        code = gn_apply_txn_writes(&txn, index);
    if (gn_apply_is_refusal(code)) /* it was promised */
        code = gn_error_set(txn.err, GN_INTERNAL, "a prepared transaction could not be committed");
    if (code == GN_OK) {
        delete_record(ap, GN_KIND_PREPARED, p->txn_id);
        if (p->groups[0] == ap->shard->group_id)
            decide(ap, p->txn_id, GN_COMMITTED, scn, p->groups, p->n_groups);
        gn_prepared_mark_decided(&ap->shard->prepared, p);
        op->state = GN_COMMITTED;
        op->scn = scn;
        if (alone)
            code = gn_apply_flush(ap, index);
    }
    gn_buf_close(&record);
    return code;
}

static bool decided_before(gn_applier *ap, const gn_command *c, gn_commit_op *op)
{
    const gn_decided *d = gn_decided_find(&ap->shard->prepared, c->txn_id);
    if (!d)
        return false;
    op->state = d->state;
    op->scn = d->scn;
    return true;
}

static gn_code apply_commit(gn_applier *ap, uint64_t index, const gn_command *c, gn_commit_op *op)
{
    gn_prepared *p = gn_prepared_find(&ap->shard->prepared, c->txn_id);
    if (p && c->scn <= p->scn)
        return gn_error_set(&op->err, GN_INVALID_PARAMETER, "a commit SCN is not above that of the prepare");
    if (p)
        return commit_prepared(ap, index, p, c->scn, op);
    if (decided_before(ap, c, op))
        return GN_OK;
    bool found;
    gn_code code = find_recent(ap, index, c, &found, op);
    if (code == GN_OK && !found)
        code = gn_error_set(&op->err, GN_NO_OBJECT, "transaction %016llx is not prepared here",
                            (unsigned long long)c->txn_id);
    return code;
}

static gn_code apply_abort(gn_applier *ap, uint64_t index, const gn_command *c, gn_commit_op *op)
{
    gn_prepared *p = gn_prepared_find(&ap->shard->prepared, c->txn_id);
    gn_code code = GN_OK;
    bool found = false;
    if (!p && decided_before(ap, c, op))
        return GN_OK;
    if (!p)
        code = find_recent(ap, index, c, &found, op);
    if (code != GN_OK || found)
        return code;
    op->state = GN_ABORTED;
    op->scn = ap->last_scn = gn_apply_next_scn(ap, c);
    decide(ap, c->txn_id, GN_ABORTED, op->scn, NULL, 0);
    drop_old_aborts(ap, op->scn);
    if (p) {
        delete_record(ap, GN_KIND_PREPARED, c->txn_id);
        gn_prepared_mark_decided(&ap->shard->prepared, p);
    }
    return GN_OK;
}

static gn_code apply_forget(gn_applier *ap, const gn_command *c, gn_commit_op *op)
{
    const gn_decided *d = gn_decided_find(&ap->shard->prepared, c->txn_id);
    if (gn_prepared_find(&ap->shard->prepared, c->txn_id))
        return gn_error_set(&op->err, GN_NOT_IN_STATE, "transaction %016llx has not been decided",
                            (unsigned long long)c->txn_id);
    if (d && d->state == GN_COMMITTED) { /* aborts stay, against late prepares */
        delete_record(ap, GN_KIND_DECISION, c->txn_id);
        gn_decided_remove(&ap->shard->prepared, c->txn_id);
    }
    return GN_OK;
}

gn_code gn_apply_decision(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op)
{
    switch (command->kind) {
    case GN_COMMAND_COMMIT:
        return apply_commit(ap, index, command, op);
    case GN_COMMAND_ABORT:
        return apply_abort(ap, index, command, op);
    default:
        return apply_forget(ap, command, op);
    }
}
