/* Merging: a group (the survivor) takes in the rows of its neighbour (the victim), which ends. The steps are entries of
 * the two logs (docs/decisions/cluster.md says why):
 *
 *     survivor  RESERVE  it neither splits nor merges otherwise; what it may have of the victim's slots is removed
 *     victim    SEAL     nobody begins, commits or prepares there any more
 *     survivor  ADD ...  the victim's versions under the very same keys, in pieces, each where the one before ended
 *     survivor  TAKE     it owns the victim's slots
 *
 * Between RESERVE and TAKE the survivor looks at the slot of each row that it reads, as after a split, so the rows that
 * are there already are shown to nobody. Every entry says what it was meant for and is refused otherwise: it may come
 * twice, late, and from whoever takes himself for the leader. */
#include "base/assert.h"
#include "shard/apply_private.h"
#include "shard/files_private.h"
#include "shard/slots_private.h"
#include "shard/vector_feed_private.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- applying: common ---- */

static gn_code not_now(const gn_applier *ap, const char *why, gn_error *err)
{
    return gn_error_set(err, GN_OBJECT_IN_USE, "group %" PRIu64 ": %s", ap->shard->group_id, why);
}

static gn_code not_ever(const gn_applier *ap, const char *why, gn_error *err)
{
    return gn_error_set(err, GN_NOT_IN_STATE, "group %" PRIu64 ": %s", ap->shard->group_id, why);
}

static gn_code check_own(const gn_applier *ap, const gn_merge *m, gn_error *err)
{
    const gn_slots *own = &ap->shard->slots;
    if (own->generation != m->generation || (own->generation && (own->lo != m->lo || own->hi != m->hi)))
        return not_ever(ap, "it has been split or merged meanwhile", err);
    return GN_OK;
}

static bool somebody_is_prepared(const gn_applier *ap)
{
    for (const gn_prepared *p = ap->shard->prepared.first; p; p = p->next)
        if (!p->decided)
            return true;
    return false;
}

/* Applying a definition makes indexes anew, from the rows of this group alone. None can be prepared in both once the
 * victim is sealed. */
static bool somebody_defines(const gn_applier *ap)
{
    for (const gn_prepared *p = ap->shard->prepared.first; p; p = p->next)
        if (!p->decided && p->defines)
            return true;
    return false;
}

/* What came before is in the store. Readers see the slots together with all else that changes with them. */
static gn_code put_slots(gn_applier *ap, uint64_t index, const gn_slots *slots, gn_bytes at)
{
    uint8_t key[GN_META_KEY_MAX];
    size_t len = gn_meta_key(key, GN_META_MERGE, NULL, 0);
    gn_slots_put(ap->batch, slots);
    rocksdb_writebatch_put(ap->batch, (const char *)key, len, (const char *)at.data, at.len);
    ap->slots = slots;
    ap->merge_at = at;
    pthread_mutex_lock(&ap->shard->clean_lock);
    gn_code code = gn_apply_flush(ap, index);
    pthread_mutex_unlock(&ap->shard->clean_lock);
    ap->slots = NULL;
    return code;
}

static void tell(gn_shard *shard)
{
    if (shard->has_split)
        shard->has_split(shard->has_split_ctx, shard);
}

/* ---- RESERVE, CANCEL ---- */

/* What a split has left here of slots that are others': it would be mixed up with what comes. The keeper waits for
 * those who may read it; now they are told. */
static gn_code remove_others(gn_applier *ap, gn_error *err)
{
    gn_shard *shard = ap->shard;
    gn_slots slots;
    gn_shard_slots(shard, &slots);
    if (slots.cleaned >= slots.generation)
        return GN_OK;
    gn_task_long(shard->world);
    shard->slots_torn = slots.generation;
    return gn_slots_clean_all(shard, ap->schema, err);
}

/* Another attempt, of the same two, has another count of seals. */
static bool is_reserved_for(const gn_slots *slots, const gn_merge *m)
{
    return slots->victim == m->other && slots->victim_generation == m->other_generation &&
           slots->victim_seals == m->seals;
}

static gn_code reserve(gn_applier *ap, uint64_t index, const gn_merge *m, gn_commit_op *op)
{
    gn_shard *shard = ap->shard;
    gn_slots slots;
    gn_shard_slots(shard, &slots);
    gn_code code = check_own(ap, m, &op->err);
    if (code != GN_OK || is_reserved_for(&slots, m))
        return code;
    if (slots.into || slots.victim)
        return not_ever(ap, "another merge of it is under way", &op->err);
    code = gn_apply_flush(ap, index - 1);
    if (code == GN_OK && (code = remove_others(ap, &op->err)) != GN_OK)
        return gn_apply_is_refusal(code) ? gn_error_set(&op->err, GN_IO, "rows of others could not be removed") : code;
    slots.lo = m->lo;
    slots.hi = m->hi;
    slots.victim = m->other;
    slots.victim_lo = m->other_lo;
    slots.victim_hi = m->other_hi;
    slots.victim_generation = m->other_generation;
    slots.victim_seals = m->seals;
    slots.victim_copied = false;
    slots.victim_history = 0;
    if (slots.generation == 0) {
        shard->slots_were_lo = m->lo;
        shard->slots_were_hi = m->hi;
    }
    if (code == GN_OK)
        code = put_slots(ap, index, &slots, gn_bytes_of(NULL, 0));
    shard->slots_epoch++; /* who begins from here on knows; who began before knows by this, before any row comes */
    return code;
}

/* abandon: also if rows have come; they go. Who would have seen them looks at each row's slot, and nobody else will. */
static gn_code cancel(gn_applier *ap, uint64_t index, const gn_merge *m, bool abandon, gn_commit_op *op)
{
    gn_shard *shard = ap->shard;
    gn_slots slots;
    gn_shard_slots(shard, &slots);
    if (!is_reserved_for(&slots, m) || slots.generation != m->generation)
        return GN_OK; /* it is of another attempt */
    bool has_rows = shard->merge_at.len > 0;
    if (has_rows && !abandon)
        return not_ever(ap, "it has rows of the other group already", &op->err);
    gn_code code = gn_apply_flush(ap, index - 1);
    if (code == GN_OK && has_rows) {
        gn_task_long(shard->world);
        code = gn_slots_clean_all(shard, ap->schema, &op->err);
    }
    if (code != GN_OK)
        return gn_apply_is_refusal(code) ? gn_error_set(&op->err, GN_IO, "rows of others could not be removed") : code;
    slots.victim = slots.victim_generation = slots.victim_seals = slots.victim_history = 0;
    slots.victim_lo = slots.victim_hi = 0;
    slots.victim_copied = false;
    return put_slots(ap, index, &slots, gn_bytes_of(NULL, 0));
}

/* ---- SEAL ---- */

/* A transaction that committed here, as its first group, and that others may yet ask about. */
static bool somebody_may_ask(const gn_applier *ap)
{
    const gn_prepared_list *list = &ap->shard->prepared;
    for (size_t i = 0; i < list->table_cap; i++)
        for (const gn_decided *d = list->table[i]; d; d = d->next)
            if (d->state == GN_COMMITTED)
                return true;
    return false;
}

static gn_code seal(gn_applier *ap, uint64_t index, const gn_command *c, gn_commit_op *op)
{
    const gn_merge *m = &c->merge;
    gn_slots slots;
    gn_shard_slots(ap->shard, &slots);
    if (slots.into == m->other && slots.generation == m->generation + 1)
        return GN_OK;
    gn_code code = check_own(ap, m, &op->err);
    if (code != GN_OK)
        return code;
    if (slots.into || slots.victim || slots.seals != m->seals)
        return not_ever(ap, "another merge of it is under way", &op->err);
    if (somebody_is_prepared(ap) || somebody_may_ask(ap))
        return not_now(ap, "transactions over several groups are about to commit", &op->err);
    op->scn = gn_apply_next_scn(ap, c);
    code = gn_apply_flush(ap, index - 1);
    slots.generation = m->generation + 1;
    slots.lo = m->lo;
    slots.hi = m->hi;
    slots.since = op->scn;
    slots.into = m->other;
    slots.child = 0;
    ap->last_scn = op->scn;
    if (code == GN_OK)
        code = put_slots(ap, index, &slots, gn_bytes_of(NULL, 0));
    if (code == GN_OK)
        gn_log_info("shard", "group sealed", GN_KV_U64("group", ap->shard->group_id), GN_KV_U64("into", m->other));
    return code;
}

/* A seal that is on its way somewhere comes too late. Nobody else has to know: this is no change of slots. */
static gn_code refuse(gn_applier *ap, uint64_t index, const gn_merge *m, gn_commit_op *op)
{
    gn_slots slots;
    gn_shard_slots(ap->shard, &slots);
    if (slots.into == m->other && slots.generation == m->generation + 1)
        return not_now(ap, "it is sealed", &op->err);
    if (slots.into || slots.generation != m->generation || slots.seals != m->seals)
        return GN_OK;
    gn_code code = gn_apply_flush(ap, index - 1);
    slots.lo = m->lo;
    slots.hi = m->hi;
    slots.seals++;
    gn_buf at;
    gn_buf_init(&at, NULL, GN_MERGE_CURSOR_MAX);
    gn_shard_merge_cursor(ap->shard, &at);
    if (code == GN_OK)
        code = put_slots(ap, index, &slots, gn_buf_bytes(&at));
    gn_buf_close(&at);
    return code;
}

/* ---- ADD ---- */

static bool next_entry(gn_reader *r, gn_bytes *key, gn_bytes *value)
{
    if (gn_reader_left(r) == 0)
        return false;
    *key = gn_read_varbytes(r);
    *value = gn_read_varbytes(r);
    r->failed = r->failed || !gn_is_versioned(*key) || key->len > GN_STORE_KEY_MAX || value->len == 0;
    return !r->failed;
}

static bool are_entries(gn_bytes entries)
{
    gn_reader r = gn_reader_of(entries);
    gn_bytes key, value;
    while (next_entry(&r, &key, &value))
        ;
    return !r.failed;
}

static bool is_end(gn_bytes at)
{
    return at.len == GN_MERGE_CURSOR_HEAD && gn_get_be64(at.data) == UINT64_MAX;
}

static bool is_cursor(gn_bytes at)
{
    return is_end(at) || (at.len >= GN_MERGE_CURSOR_HEAD && at.len <= GN_MERGE_CURSOR_MAX);
}

static gn_code add(gn_applier *ap, uint64_t index, const gn_command *c, gn_commit_op *op)
{
    gn_slots slots;
    gn_shard_slots(ap->shard, &slots);
    if (!is_reserved_for(&slots, &c->merge) || slots.victim_copied ||
        !gn_bytes_eq(gn_buf_bytes(&ap->shard->merge_at), c->from))
        return not_ever(ap, "these rows of the other group are not the next", &op->err);
    if (!is_cursor(c->to) || !are_entries(c->entries))
        return not_ever(ap, "these are no rows", &op->err);
    if (somebody_defines(ap))
        return not_now(ap, "a definition is about to be committed", &op->err);
    gn_code code = gn_apply_flush(ap, index - 1);
    gn_reader r = gn_reader_of(c->entries);
    gn_bytes key, value;
    while (code == GN_OK && next_entry(&r, &key, &value)) {
        rocksdb_writebatch_put(ap->batch, (const char *)key.data, key.len, (const char *)value.data, value.len);
        ap->batch_bytes += key.len + value.len + 16;
        ap->n_tombstones += value.data[0] == GN_VALUE_TOMBSTONE || value.data[0] == GN_VALUE_ENTRY_DEAD;
    }
    if (slots.victim_history < c->history)
        slots.victim_history = c->history;
    slots.victim_copied = is_end(c->to);
    return code == GN_OK ? put_slots(ap, index, &slots, c->to) : code;
}

/* ---- TAKE ---- */

/* Estimates, of tables as they are; and what the applier knew of where tables end holds no more. */
static void add_counts(gn_applier *ap, gn_bytes counts)
{
    gn_reader r = gn_reader_of(counts);
    while (gn_reader_left(&r) > 0 && !r.failed) {
        const gn_schema_table *t = gn_schema_find(ap->schema, gn_read_varint(&r));
        uint64_t rows = gn_read_varint(&r), bytes = gn_read_varint(&r);
        if (r.failed || !t || rows > INT64_MAX / 4 || bytes > INT64_MAX / 4)
            continue;
        gn_table_state *state = gn_apply_table_state(ap, t->desc);
        state->rows += (int64_t)rows;
        state->bytes += (int64_t)bytes;
    }
    for (size_t i = 0; i < ap->shard->tables.n; i++) {
        ap->shard->tables.items[i]->knows_greatest = false;
        ap->shard->tables.items[i]->dirty = true;
    }
}

static gn_slots merged_slots(const gn_slots *own, gn_scn scn)
{
    uint64_t theirs = own->victim_generation + 1; /* sealed */
    return (gn_slots){.generation = (own->generation > theirs ? own->generation : theirs) + 1,
                      .lo = own->lo < own->victim_lo ? own->lo : own->victim_lo,
                      .hi = own->hi > own->victim_hi ? own->hi : own->victim_hi,
                      .since = scn,
                      .cleaned = own->cleaned,
                      .seals = own->seals,
                      .taken = own->victim,
                      .taken_lo = own->victim_lo,
                      .taken_hi = own->victim_hi,
                      .taken_generation = theirs,
                      .merged = scn,
                      .history = own->history > own->victim_history ? own->history : own->victim_history};
}

/* A split may have left files for the group that has ended now. */
static void remove_split(const gn_shard *shard, uint64_t victim)
{
    char path[GN_PATH_BYTES];
    bool there;
    if (gn_split_path(shard->dir, victim, path, sizeof path, &there, NULL) == GN_OK && there)
        gn_dir_remove(path, NULL);
}

static gn_code take(gn_applier *ap, uint64_t index, const gn_command *c, gn_commit_op *op)
{
    gn_shard *shard = ap->shard;
    gn_slots slots;
    gn_shard_slots(shard, &slots);
    if (slots.taken == c->merge.other && slots.taken_generation == c->merge.other_generation + 1) {
        op->scn = slots.merged;
        return GN_OK;
    }
    if (!is_reserved_for(&slots, &c->merge) || !slots.victim_copied)
        return not_ever(ap, "it does not have the other group's rows", &op->err);
    if (somebody_is_prepared(ap))
        return not_now(ap, "transactions over several groups are about to commit", &op->err);
    if (slots.victim_history < c->history)
        slots.victim_history = c->history;
    gn_code code = gn_apply_flush(ap, index - 1);
    if (code != GN_OK)
        return code;
    op->scn = gn_apply_next_scn(ap, c);
    if (op->scn <= c->last_scn)
        op->scn = c->last_scn + 1;
    slots = merged_slots(&slots, op->scn);
    add_counts(ap, c->entries);
    gn_feeds_rows_came(shard->feeds);
    ap->last_scn = op->scn;
    code = put_slots(ap, index, &slots, gn_bytes_of(NULL, 0));
    if (code != GN_OK)
        return code;
    remove_split(shard, slots.taken);
    gn_log_info("shard", "group merged", GN_KV_U64("group", shard->group_id), GN_KV_U64("taken", slots.taken),
                GN_KV_U64("from_slot", slots.lo), GN_KV_U64("to_slot", slots.hi), GN_KV_U64("index", index));
    tell(shard);
    return GN_OK;
}

gn_code gn_apply_merge(gn_applier *ap, uint64_t index, const gn_command *c, gn_commit_op *op)
{
    switch (c->step) {
    case GN_MERGE_RESERVE:
        return reserve(ap, index, &c->merge, op);
    case GN_MERGE_CANCEL:
        return cancel(ap, index, &c->merge, false, op);
    case GN_MERGE_ABANDON:
        return cancel(ap, index, &c->merge, true, op);
    case GN_MERGE_SEAL:
        return seal(ap, index, c, op);
    case GN_MERGE_REFUSE:
        return refuse(ap, index, &c->merge, op);
    case GN_MERGE_ADD:
        return add(ap, index, c, op);
    case GN_MERGE_TAKE:
        return take(ap, index, c, op);
    }
    return gn_error_set(&op->err, GN_CORRUPT, "a merge in the log is malformed");
}

/* ---- proposing ---- */

/* patience 0: as any command; else held until nobody is prepared. */
static gn_code run(gn_shard *shard, gn_command c, uint64_t patience_ns, gn_error *err)
{
    gn_buf command;
    gn_commit_op op;
    gn_buf_init(&command, shard->account, GN_MAX_ENTRY);
    c.kind = GN_COMMAND_MERGE;
    c.txn_id = c.merge.other;
    c.clock = gn_shard_clock(shard);
    gn_code code = gn_command_encode_merge(&c, &command) ? GN_OK : gn_error_oom(err, shard->account);
    if (code == GN_OK && patience_ns) {
        code = gn_split_run_held(shard, gn_buf_bytes(&command), patience_ns, err);
    } else if (code == GN_OK) {
        code = gn_shard_run_command_here(shard, gn_buf_bytes(&command), 0, &op);
        if (code != GN_OK && err)
            *err = op.err;
    }
    gn_buf_close(&command);
    return code;
}

static bool is_merge(const gn_merge *m)
{
    return m->lo < m->hi && m->hi <= GN_SLOTS && m->other_lo < m->other_hi && m->other_hi <= GN_SLOTS && m->other &&
           (m->hi == m->other_lo || m->other_hi == m->lo);
}

gn_code gn_shard_merge_reserve(gn_shard *shard, const gn_merge *m, gn_error *err)
{
    if (!is_merge(m) || m->other == shard->group_id)
        return gn_error_set(err, GN_INVALID_PARAMETER, "these groups are no neighbours");
    return run(shard, (gn_command){.step = GN_MERGE_RESERVE, .merge = *m}, 0, err);
}

gn_code gn_shard_merge_cancel(gn_shard *shard, const gn_merge *m, gn_error *err)
{
    return run(shard, (gn_command){.step = GN_MERGE_CANCEL, .merge = *m}, 0, err);
}

gn_code gn_shard_merge_abandon(gn_shard *shard, const gn_merge *m, gn_error *err)
{
    return run(shard, (gn_command){.step = GN_MERGE_ABANDON, .merge = *m}, 0, err);
}

gn_code gn_shard_merge_seal(gn_shard *shard, const gn_merge *m, uint64_t patience_ns, gn_error *err)
{
    if (!is_merge(m) || m->other == shard->group_id)
        return gn_error_set(err, GN_INVALID_PARAMETER, "these groups are no neighbours");
    return run(shard, (gn_command){.step = GN_MERGE_SEAL, .merge = *m}, patience_ns, err);
}

gn_code gn_shard_merge_refuse(gn_shard *shard, const gn_merge *m, gn_error *err)
{
    return run(shard, (gn_command){.step = GN_MERGE_REFUSE, .merge = *m}, 0, err);
}

gn_code gn_shard_merge_add(gn_shard *shard, const gn_merge *m, gn_bytes from, const gn_merge_rows *rows, gn_error *err)
{
    return run(shard,
               (gn_command){.step = GN_MERGE_ADD,
                            .merge = *m,
                            .history = rows->history,
                            .from = from,
                            .to = gn_buf_bytes(&rows->to),
                            .entries = gn_buf_bytes(&rows->entries)},
               0, err);
}

gn_code gn_shard_merge_take(gn_shard *shard, const gn_merge *m, const gn_merge_rows *rows, uint64_t patience_ns,
                            gn_error *err)
{
    return run(shard,
               (gn_command){.step = GN_MERGE_TAKE,
                            .merge = *m,
                            .history = rows->history,
                            .last_scn = rows->last_scn,
                            .entries = gn_buf_bytes(&rows->entries)},
               patience_ns, err);
}

void gn_shard_merge_cursor(gn_shard *shard, gn_buf *out)
{
    pthread_mutex_lock(&shard->view_lock);
    gn_buf_clear(out);
    gn_buf_append_bytes(out, gn_buf_bytes(&shard->merge_at));
    pthread_mutex_unlock(&shard->view_lock);
}
