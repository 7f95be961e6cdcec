/* Removing what others own: after a split each half has all rows of both. Each replica does it by itself, a piece at a
 * time; nobody can see these rows any more, so it changes no answer. What was cleaned is forgotten by a restart and
 * looked at again.
 *
 * Readers that began before the split may see rows that have gone since: it begins when there are none. */
#include "shard/index_entry_private.h"
#include "shard/slots_private.h"
#include "shard/vector_feed_private.h"

#include <stdlib.h>

enum { PIECE = 4000, BATCH = 500 };

/* Where the next piece begins: the rows of a table, then the entries of its indexes in order. */
struct gn_slots_cleaner {
    const gn_store *store; /* not held: only to see that it was replaced */
    uint64_t generation, table_id;
    uint32_t space; /* 0: rows; n: the table's index n - 1 */
    gn_buf at;      /* store key; empty: from the beginning of the space */
};

void gn_slots_clean_close(gn_shard *shard)
{
    if (!shard->cleaner)
        return;
    gn_buf_close(&shard->cleaner->at);
    free(shard->cleaner);
    shard->cleaner = NULL;
}

typedef struct piece {
    gn_shard *shard;
    gn_store *store;
    gn_schema *schema;
    gn_slots slots;
    struct gn_slots_cleaner *cleaner;
    rocksdb_writebatch_t *batch;
    uint64_t n, looked, removed;
    bool on_queue; /* nobody else is at it, nor reads who may not know */
    bool ended;    /* rows of others are wanted now */
    /* rows that have gone from a table with vector indexes */
    gn_arena *arena;
    gn_bytes *forgotten; /* PIECE at most */
    size_t n_forgotten;
} piece;

static bool has_vectors(const gn_table_desc *t)
{
    for (uint32_t i = 0; i < t->n_indexes; i++)
        if (t->indexes[i].kind == GN_INDEX_HNSW)
            return true;
    return false;
}

/* Rows of others are wanted now, or it is decided otherwise who they are. */
static bool is_over(const piece *p, const gn_slots *now)
{
    return !p->on_queue && (now->victim || now->generation != p->slots.generation);
}

/* Vector indexes are the queue's to write. */
typedef struct forgetting {
    gn_task task;
    gn_event done;
    const piece *p;
    const gn_table_desc *table;
} forgetting;

static void forget_on_queue(gn_task *task)
{
    forgetting *f = GN_CONTAINER(task, forgetting, task);
    gn_slots now;
    gn_shard_slots(f->p->shard, &now);
    if (!is_over(f->p, &now))
        gn_feeds_forget(f->p->shard->feeds, f->table, f->p->forgotten, f->p->n_forgotten, f->p->slots.since);
    gn_event_signal(&f->done);
}

static void forget_vectors(piece *p, const gn_table_desc *table)
{
    if (p->n_forgotten == 0)
        return;
    if (p->on_queue) {
        gn_feeds_forget(p->shard->feeds, table, p->forgotten, p->n_forgotten, p->slots.since);
        p->n_forgotten = 0;
        return;
    }
    forgetting f = {.task.run = forget_on_queue, .p = p, .table = table};
    gn_event_init(&f.done, p->shard->world);
    gn_queue_post(p->shard->queue, &f.task);
    gn_event_wait(&f.done, UINT64_MAX);
    p->n_forgotten = 0;
}

static void note_forgotten(piece *p, gn_bytes key)
{
    uint8_t *copy = gn_arena_memdup(p->arena, key.data, key.len);
    if (copy && p->n_forgotten < PIECE) /* one that is not noted takes room until the index is made anew */
        p->forgotten[p->n_forgotten++] = gn_bytes_of(copy, key.len);
}

/* False: there is nothing to do, or somebody reads what would go. */
static bool begin(gn_shard *shard, piece *p)
{
    *p = (piece){.shard = shard};
    pthread_mutex_lock(&shard->view_lock);
    p->slots = shard->slots;
    bool due = !p->slots.victim && !p->slots.into && p->slots.cleaned < p->slots.generation &&
               shard->last_scn >= p->slots.since;
    for (gn_reader_mark *m = shard->readers.next; due && m != &shard->readers; m = m->next)
        due = m->scn >= p->slots.since;
    if (due) {
        p->store = gn_store_retain(shard->store);
        p->schema = gn_schema_retain(shard->schema);
    }
    pthread_mutex_unlock(&shard->view_lock);
    return due;
}

static struct gn_slots_cleaner *cleaner_of(gn_shard *shard, const piece *p)
{
    struct gn_slots_cleaner *c = shard->cleaner;
    if (!c) {
        c = shard->cleaner = gn_xcalloc(1, sizeof *c);
        gn_buf_init(&c->at, NULL, GN_STORE_KEY_MAX + 8);
    }
    if (c->store != p->store || c->generation != p->slots.generation) {
        c->store = p->store;
        c->generation = p->slots.generation;
        c->table_id = c->space = 0;
        gn_buf_clear(&c->at);
    }
    return c;
}

/* Not once that is over: what was read before, and is not gone yet, has been dealt with then, and may have come again.
 */
static gn_code write_batch(piece *p, gn_error *err)
{
    gn_slots now;
    pthread_mutex_lock(&p->shard->clean_lock);
    gn_shard_slots(p->shard, &now);
    p->ended = is_over(p, &now);
    gn_code code = !p->ended && rocksdb_writebatch_count(p->batch) ? gn_store_write(p->store, p->batch, err) : GN_OK;
    pthread_mutex_unlock(&p->shard->clean_lock);
    rocksdb_writebatch_clear(p->batch);
    p->removed += p->n;
    p->n = 0;
    return code;
}

/* The primary key that a store key is about; *known false: it is a dead entry that does not say, which goes in time. */
static gn_code primary_key(const gn_table_desc *desc, const gn_index_desc *index, size_t prefix, gn_bytes key,
                           gn_bytes value, gn_bytes *pk, bool *known, gn_error *err)
{
    gn_bytes stem = gn_version_stem(key), row;
    bool dead;
    *pk = gn_bytes_of(stem.data + prefix, stem.len - prefix);
    *known = true;
    if (!index)
        return GN_OK;
    gn_code code = gn_value_open(value, &dead, &row, err);
    if (code != GN_OK)
        return code;
    *known = !dead || row.len > 0 || !index->unique;
    return *known ? gn_index_entry_primary(desc, index, *pk, row, pk, err) : GN_OK;
}

gn_code gn_slots_have_entry(uint32_t lo, uint32_t hi, const gn_table_desc *desc, const gn_index_desc *index,
                            size_t prefix, gn_bytes key, gn_bytes value, bool *ours, gn_error *err)
{
    gn_bytes pk;
    bool known;
    *ours = true;
    gn_code code = primary_key(desc, index, prefix, key, value, &pk, &known, err);
    return code == GN_OK && known ? gn_slots_pass(lo, hi, desc, pk, ours, err) : code;
}

static gn_code look(piece *p, const gn_table_desc *desc, const gn_index_desc *index, size_t prefix, gn_bytes key,
                    gn_bytes value, gn_error *err)
{
    bool ours;
    gn_code code = gn_slots_have_entry(p->slots.lo, p->slots.hi, desc, index, prefix, key, value, &ours, err);
    if (code != GN_OK || ours)
        return code;
    gn_bytes stem = gn_version_stem(key);
    if (!index && p->forgotten && has_vectors(desc))
        note_forgotten(p, gn_bytes_of(stem.data + prefix, stem.len - prefix));
    rocksdb_writebatch_delete(p->batch, (const char *)key.data, key.len);
    return ++p->n >= BATCH ? write_batch(p, err) : GN_OK;
}

/* *ended: the space has been gone through. */
static gn_code clean_space(piece *p, const gn_table_desc *desc, const gn_index_desc *index, bool *ended, gn_error *err)
{
    gn_buf *at = &p->cleaner->at;
    gn_space space = index ? gn_index_space(desc, index, GN_BRANCH_MAIN) : gn_row_space(desc, GN_BRANCH_MAIN);
    uint8_t lower[GN_SPACE_PREFIX_MAX], upper[GN_SPACE_PREFIX_MAX];
    size_t prefix = gn_space_prefix(&space, lower), n = gn_space_prefix(&space, upper);
    n = gn_prefix_successor(upper, n);
    gn_store_iter iter;
    gn_store_iter_open(&iter, p->store, gn_bytes_of(lower, prefix), gn_bytes_of(upper, n), false);
    if (at->len)
        rocksdb_iter_seek(iter.it, (const char *)at->data, at->len);
    else
        rocksdb_iter_seek_to_first(iter.it);
    gn_code code = GN_OK;
    for (; code == GN_OK && !p->ended && p->looked < PIECE && gn_store_iter_valid(&iter); p->looked++) {
        code = look(p, desc, index, prefix, gn_store_iter_key(&iter), gn_store_iter_value(&iter), err);
        rocksdb_iter_next(iter.it);
    }
    *ended = !gn_store_iter_valid(&iter);
    gn_buf_clear(at);
    if (!*ended)
        gn_buf_append_bytes(at, gn_store_iter_key(&iter));
    if (code == GN_OK)
        code = gn_store_iter_status(&iter, err);
    gn_store_iter_close(&iter);
    return code;
}

const gn_table_desc *gn_slots_table_from(const gn_schema *schema, uint64_t id)
{
    const gn_table_desc *next = NULL;
    for (size_t i = 0; i < schema->n; i++) {
        const gn_table_desc *t = schema->by_id[i].desc;
        if (t->distribution_id && t->id >= id && (!next || t->id < next->id))
            next = t;
    }
    return next;
}

/* *done: all tables have been gone through. */
static gn_code clean_piece(piece *p, bool *done, gn_error *err)
{
    struct gn_slots_cleaner *c = p->cleaner;
    gn_code code = GN_OK;
    *done = false;
    while (code == GN_OK && !*done && !p->ended && p->looked < PIECE && !p->shard->stopping) {
        const gn_table_desc *t = gn_slots_table_from(p->schema, c->table_id);
        if (!t) {
            *done = true;
            break;
        }
        if (t->id != c->table_id) {
            c->table_id = t->id;
            c->space = 0;
            gn_buf_clear(&c->at);
        }
        bool ended = true;
        const gn_index_desc *index = c->space ? &t->indexes[c->space - 1] : NULL;
        if (!index || index->kind == GN_INDEX_BTREE)
            code = clean_space(p, t, index, &ended, err);
        forget_vectors(p, t);
        if (!ended)
            continue;
        if (c->space++ >= t->n_indexes) {
            c->table_id++;
            c->space = 0;
        }
    }
    return code == GN_OK ? write_batch(p, err) : code;
}

/* A definition that changed meanwhile changed nothing: a new index has no rows of others. */
static gn_code finish(piece *p, gn_error *err)
{
    uint8_t key[GN_META_KEY_MAX], value[8];
    size_t len = gn_meta_key(key, GN_META_CLEANED, NULL, 0);
    gn_put_be64(value, p->slots.generation);
    rocksdb_writebatch_put(p->batch, (const char *)key, len, (const char *)value, sizeof value);
    gn_code code = write_batch(p, err);
    if (code != GN_OK || p->ended)
        return code;
    pthread_mutex_lock(&p->shard->view_lock);
    if (p->shard->store == p->store && p->shard->slots.cleaned < p->slots.generation)
        p->shard->slots.cleaned = p->slots.generation;
    pthread_mutex_unlock(&p->shard->view_lock);
    gn_log_info("shard", "rows of another group have been removed", GN_KV_U64("group", p->shard->group_id));
    return GN_OK;
}

static gn_code run_piece(piece *p, bool *done, gn_error *err)
{
    p->batch = rocksdb_writebatch_create();
    p->arena = gn_arena_create(NULL);
    p->forgotten = gn_arena_calloc(p->arena, PIECE, sizeof *p->forgotten);
    p->n_forgotten = 0;
    gn_code code = clean_piece(p, done, err);
    if (code == GN_OK && *done && !p->ended)
        code = finish(p, err);
    p->shard->slots_removed += p->removed;
    p->removed = p->looked = 0;
    rocksdb_writebatch_destroy(p->batch);
    gn_arena_destroy(p->arena);
    return code;
}

gn_code gn_slots_clean(gn_shard *shard, bool *more, gn_error *err)
{
    piece p;
    bool done;
    *more = false;
    if (!begin(shard, &p))
        return GN_OK;
    p.cleaner = cleaner_of(shard, &p);
    gn_code code = run_piece(&p, &done, err);
    *more = code == GN_OK && !done && !p.ended;
    gn_schema_release(p.schema);
    gn_store_release(p.store);
    return code;
}

/* With a place of its own, from the beginning: the keeper may be somewhere in between. */
gn_code gn_slots_clean_all(gn_shard *shard, gn_schema *schema, gn_error *err)
{
    struct gn_slots_cleaner all = {0};
    gn_buf_init(&all.at, NULL, GN_STORE_KEY_MAX + 8);
    piece p = {.shard = shard, .store = shard->store, .schema = schema, .cleaner = &all, .on_queue = true};
    gn_shard_slots(shard, &p.slots);
    gn_code code = GN_OK;
    for (bool done = false; code == GN_OK && !done;) {
        code = run_piece(&p, &done, err);
        if (code == GN_OK && !done && shard->stopping)
            code = gn_error_set(err, GN_SHUTDOWN, "%s", gn_code_text(GN_SHUTDOWN));
    }
    gn_buf_close(&all.at);
    return code;
}
