/* Are the replicas of a group the same? Each computes checksums of what can be seen at one SCN in its own store, piece
 * by piece; who asks compares: one replica says where a piece ends, and the others take the same range. Two replicas at
 * one SCN have the same rows, or one of them has lost or changed something. */
#include "base/limits.h"
#include "cluster/admin_private.h"
#include "cluster/system_tables_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* a state on the stack */
#include <xxhash.h>

enum { MAX_ROWS = 1 << 20, MAX_BYTES = 64 << 20, PATIENCE_S = 60 };

/* ---- keys as hex digits ---- */

static void write_hex(gn_json_writer *j, const char *key, gn_bytes bytes)
{
    static const char DIGITS[] = "0123456789abcdef";
    char *text = gn_xmalloc(2 * bytes.len + 1);
    for (size_t i = 0; i < bytes.len; i++) {
        text[2 * i] = DIGITS[bytes.data[i] >> 4];
        text[2 * i + 1] = DIGITS[bytes.data[i] & 15];
    }
    gn_jw_text(j, key, gn_bytes_of(text, 2 * bytes.len));
    free(text);
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static gn_code read_hex(const gn_admin_job *job, unsigned arg, gn_bytes *out, gn_error *err)
{
    const char *text = job->request->args[arg];
    size_t n = strlen(text) / 2;
    uint8_t *bytes = gn_arena_alloc(job->arena, n + 1);
    if (!bytes)
        return gn_error_oom(err, gn_arena_account(job->arena));
    bool fine = strlen(text) % 2 == 0 && n <= GN_MAX_KEY;
    for (size_t i = 0; i < n && fine; i++) {
        int hi = digit(text[2 * i]), lo = digit(text[2 * i + 1]);
        fine = hi >= 0 && lo >= 0;
        bytes[i] = (uint8_t)((hi << 4 | lo) & 255);
    }
    *out = gn_bytes_of(bytes, n);
    return fine ? GN_OK : gn_error_set(err, GN_INVALID_PARAMETER, "a key must be written in hex digits");
}

/* ---- one replica's piece ---- */

typedef struct piece {
    uint64_t group, table;
    gn_scn scn;
    uint64_t max_rows, max_bytes;
    gn_bytes from, to; /* from < key <= to; empty: from the start, to the end or as far as the limits reach */
    /* what was found */
    XXH3_state_t hash;
    uint64_t rows, bytes;
    gn_buf last; /* the key of the last row */
    bool end;    /* there is nothing behind it */
} piece;

static void add_row(piece *p, gn_bytes key, gn_bytes row)
{
    uint32_t lengths[2] = {(uint32_t)key.len, (uint32_t)row.len};
    XXH3_64bits_update(&p->hash, lengths, sizeof lengths);
    XXH3_64bits_update(&p->hash, key.data, key.len);
    if (row.len)
        XXH3_64bits_update(&p->hash, row.data, row.len);
    p->rows++;
    p->bytes += key.len + row.len;
    gn_buf_clear(&p->last);
    gn_buf_append_bytes(&p->last, key);
}

/* Rows are compared as they are stored, which is one form for one value. Columns dropped since are not. */
static gn_code add_batch(piece *p, const gn_table_desc *table, const gn_batch *batch, const gn_bytes *keys,
                         const int *column_of, gn_value *values, gn_buf *row, gn_error *err)
{
    for (uint32_t r = 0; r < batch->n_rows; r++) {
        if (p->rows >= p->max_rows || p->bytes >= p->max_bytes)
            return GN_NO_DATA;
        for (uint32_t i = 0; i < table->n_columns; i++)
            values[i] = column_of[i] < 0 ? (gn_value){.is_null = true, .type = table->columns[i].type}
                                         : gn_column_get(&batch->columns[column_of[i]], r);
        gn_buf_clear(row);
        gn_code code = gn_row_encode(table, values, row, err);
        if (code != GN_OK)
            return code;
        add_row(p, keys[r], gn_buf_bytes(row));
    }
    return GN_OK;
}

typedef struct walk {
    const gn_table_desc *table;
    gn_batch batch;
    gn_bytes *keys;
    gn_value *values;
    uint32_t *ordinals;
    int *column_of; /* by ordinal; -1: not stored */
    uint32_t n;
    gn_buf row;
    gn_arena *arena;
} walk;

static void walk_init(walk *w, const gn_table_desc *table, gn_account *account)
{
    uint32_t n = table->n_columns;
    *w = (walk){.table = table, .arena = gn_arena_create(account)};
    w->keys = gn_xcalloc(GN_BATCH_ROWS, sizeof *w->keys);
    w->values = gn_xcalloc(n, sizeof *w->values);
    w->ordinals = gn_xcalloc(n, sizeof *w->ordinals);
    w->column_of = gn_xcalloc(n, sizeof *w->column_of);
    for (uint32_t i = 0; i < n; i++) {
        w->column_of[i] = gn_column_is_shown(&table->columns[i]) ? (int)w->n : -1;
        if (gn_column_is_shown(&table->columns[i]))
            w->ordinals[w->n++] = i;
    }
    w->batch = (gn_batch){.n_columns = w->n, .arena = w->arena};
    gn_buf_init(&w->row, account, GN_MAX_ROW);
}

static void walk_close(walk *w)
{
    gn_buf_close(&w->row);
    free(w->keys);
    free(w->values);
    free(w->ordinals);
    free(w->column_of);
    gn_arena_destroy(w->arena);
}

static gn_code sum_table(gn_txn *txn, const gn_table_desc *table, gn_account *account, piece *p, gn_error *err)
{
    walk w;
    gn_scan *scan = NULL;
    walk_init(&w, table, account);
    gn_scan_spec spec = {.table = table,
                         .range = {.lo = p->from, .lo_exclusive = p->from.len, .hi = p->to, .hi_inclusive = p->to.len},
                         .ordinals = w.ordinals,
                         .n_ordinals = w.n};
    if (!p->from.len)
        spec.range.lo = gn_bytes_of(NULL, 0);
    if (!p->to.len)
        spec.range.hi = gn_bytes_of(NULL, 0);
    gn_code code = gn_scan_open(txn, &spec, &scan, err);
    while (code == GN_OK) {
        code = gn_scan_next(scan, &w.batch, w.keys, err);
        if (code == GN_OK && w.batch.n_rows == 0) {
            p->end = p->to.len == 0;
            break;
        }
        if (code == GN_OK)
            code = add_batch(p, table, &w.batch, w.keys, w.column_of, w.values, &w.row, err);
    }
    gn_scan_close(scan);
    walk_close(&w);
    return code == GN_NO_DATA ? GN_OK : code;
}

static gn_code sum_replica(gn_cluster *c, gn_shard *shard, piece *p, gn_error *err)
{
    gn_txn_options options = {.read_scn = p->scn,
                              .global = c->clocked,
                              .read_only = true,
                              .own_slots = true,
                              .account = c->account,
                              .deadline_ns = gn_now_ns(c->world) + PATIENCE_S * 1000000000ull};
    gn_txn *txn;
    gn_code code = gn_txn_begin(shard, &options, &txn, err);
    if (code != GN_OK)
        return code;
    p->scn = gn_txn_read_scn(txn);
    const gn_table_desc *table = gn_txn_table(txn, p->table);
    if (table)
        code = sum_table(txn, table, c->account, p, err);
    else
        code = gn_error_set(err, GN_NO_TABLE, "group %" PRIu64 " has no table %" PRIu64 " at that time", p->group,
                            p->table);
    gn_txn_abort(txn);
    return code;
}

static gn_code sum_piece(gn_cluster *c, piece *p, gn_error *err)
{
    gn_shard *shard = gn_group_hold(c, p->group);
    gn_code code = shard ? sum_replica(c, shard, p, err)
                         : gn_error_set(err, GN_NO_OBJECT, "this node has no replica of group %" PRIu64, p->group);
    gn_group_release(c, shard);
    return code;
}

static gn_code read_piece(const gn_admin_job *job, piece *p, gn_error *err)
{
    const gn_admin_request *r = job->request;
    gn_code code = gn_admin_number(job, 0, "a group", &p->group, err);
    if (code == GN_OK)
        code = gn_admin_number(job, 1, "a table", &p->table, err);
    if (code == GN_OK)
        code = gn_admin_number(job, 2, "an SCN", &p->scn, err);
    if (code == GN_OK)
        code = gn_admin_number(job, 3, "a number of rows", &p->max_rows, err);
    if (code == GN_OK && (p->max_rows == 0 || p->max_rows > MAX_ROWS))
        code = gn_error_set(err, GN_INVALID_PARAMETER, "a piece may have 1 to %d rows", MAX_ROWS);
    if (code == GN_OK && r->n_args > 4)
        code = read_hex(job, 4, &p->from, err);
    if (code == GN_OK && r->n_args > 5)
        code = read_hex(job, 5, &p->to, err);
    p->max_bytes = MAX_BYTES;
    if (p->to.len) /* taken as a whole */
        p->max_rows = p->max_bytes = UINT64_MAX;
    return code;
}

gn_code gn_admin_checksum(gn_admin_job *job, gn_error *err)
{
    piece p = {0};
    XXH3_64bits_reset(&p.hash);
    gn_buf_init(&p.last, NULL, GN_MAX_KEY);
    gn_code code = read_piece(job, &p, err);
    if (code == GN_OK)
        code = sum_piece(job->cluster, &p, err);
    if (code == GN_OK) {
        char sum[17];
        snprintf(sum, sizeof sum, "%016" PRIx64, (uint64_t)XXH3_64bits_digest(&p.hash));
        gn_jw_open(job->json, NULL, '{');
        gn_jw_str(job->json, "checksum", sum);
        gn_jw_u64(job->json, "rows", p.rows);
        gn_jw_u64(job->json, "bytes", p.bytes);
        gn_jw_u64(job->json, "scn", p.scn);
        gn_jw_bool(job->json, "end", p.end);
        write_hex(job->json, "last", gn_buf_bytes(&p.last));
        gn_jw_close(job->json, '}');
    }
    gn_buf_close(&p.last);
    return code;
}

/* ---- an index beside its rows ---- */

static void write_findings(gn_json_writer *j, gn_scn scn, const gn_index_findings *f)
{
    gn_jw_open(j, NULL, '{');
    gn_jw_u64(j, "scn", scn);
    gn_jw_bool(j, "same", f->same);
    gn_jw_bool(j, "behind", f->behind);
    gn_jw_u64(j, "rows", f->rows);
    gn_jw_u64(j, "entries", f->entries);
    gn_jw_u64(j, "missing", f->missing);
    gn_jw_u64(j, "extra", f->extra);
    write_hex(j, "example", gn_buf_bytes(&f->example));
    gn_jw_close(j, '}');
}

static gn_code check_index_in(gn_admin_job *job, gn_txn *txn, uint64_t table_id, uint64_t index_id, gn_error *err)
{
    const gn_table_desc *table = gn_txn_table(txn, table_id);
    const gn_index_desc *index = NULL;
    gn_index_findings found;
    for (uint32_t i = 0; table && i < table->n_indexes; i++)
        if (table->indexes[i].id == index_id)
            index = &table->indexes[i];
    if (!index)
        return gn_error_set(err, GN_NO_TABLE, "there is no such index at that time");
    gn_code code = gn_txn_check_index(txn, table, index, &found, err);
    if (code == GN_OK)
        write_findings(job->json, gn_txn_read_scn(txn), &found);
    gn_buf_close(&found.example);
    return code;
}

gn_code gn_admin_check_index(gn_admin_job *job, gn_error *err)
{
    static const char *const NAMES[] = {"a group", "a table", "an index", "an SCN"};
    gn_cluster *c = job->cluster;
    uint64_t v[4];
    gn_txn *txn;
    gn_code code = GN_OK;
    for (unsigned i = 0; i < 4 && code == GN_OK; i++)
        code = gn_admin_number(job, i, NAMES[i], &v[i], err);
    if (code != GN_OK)
        return code;
    gn_shard *shard = gn_group_hold(c, v[0]);
    if (!shard)
        return gn_error_set(err, GN_NO_OBJECT, "this node has no replica of group %" PRIu64, v[0]);
    gn_txn_options options = {.read_scn = v[3],
                              .global = c->clocked,
                              .read_only = true,
                              .own_slots = true,
                              .account = c->account,
                              .cancel = &c->stopping,
                              .deadline_ns = gn_now_ns(c->world) + PATIENCE_S * 1000000000ull};
    code = gn_txn_begin(shard, &options, &txn, err);
    if (code == GN_OK) {
        code = check_index_in(job, txn, v[1], v[2], err);
        gn_txn_abort(txn);
    }
    gn_group_release(c, shard);
    return code;
}

/* ---- what there is to compare ---- */

static void write_indexes(gn_json_writer *j, const gn_table_desc *t)
{
    gn_jw_open(j, "indexes", '[');
    for (uint32_t i = 0; i < t->n_indexes; i++) {
        gn_jw_open(j, NULL, '{');
        gn_jw_u64(j, "index", t->indexes[i].id);
        gn_jw_str(j, "name", t->indexes[i].name);
        gn_jw_close(j, '}');
    }
    gn_jw_close(j, ']');
}

static void write_table(gn_json_writer *j, gn_cluster *c, uint64_t group, const gn_table_desc *t)
{
    gn_shard *shard = gn_group_hold(c, group);
    gn_jw_open(j, NULL, '{');
    gn_jw_u64(j, "group", group);
    gn_jw_u64(j, "table", t->id);
    gn_jw_str(j, "name", t->name);
    if (shard) {
        gn_table_stats stats;
        gn_shard_table_stats(shard, t->id, &stats);
        gn_jw_u64(j, "rows", stats.rows_estimate);
    }
    gn_group_release(c, shard);
    write_indexes(j, t);
    gn_jw_close(j, '}');
}

static void write_groups_of(gn_json_writer *j, gn_cluster *c, const gn_placement *p, const gn_table_desc *t)
{
    const gn_distribution *d = gn_placement_distribution(p, t->distribution_id);
    if (!d)
        write_table(j, c, GN_META_GROUP, t);
    for (uint32_t i = 0; d && i < d->n; i++)
        write_table(j, c, p->groups[d->first + i].id, t);
}

static gn_code write_tables(gn_admin_job *job, gn_txn *meta, const gn_placement *p, const char *only, gn_error *err)
{
    const gn_table_desc **tables;
    size_t n;
    bool found = false;
    gn_code code = gn_txn_tables(meta, job->arena, &tables, &n, err);
    if (code != GN_OK)
        return code;
    for (size_t i = 0; i < n; i++)
        if (!only || strcmp(tables[i]->name, only) == 0) {
            found = true;
            write_groups_of(job->json, job->cluster, p, tables[i]);
        }
    for (uint64_t id = GN_FIRST_SYSTEM_ID; id < GN_SYS_END; id++) {
        const gn_table_desc *t = gn_txn_table(meta, id);
        if (t && (!only || strcmp(t->name, only) == 0)) {
            found = true;
            write_table(job->json, job->cluster, GN_META_GROUP, t);
        }
    }
    return found || !only ? GN_OK : gn_error_set(err, GN_NO_TABLE, "there is no table \"%s\"", only);
}

/* Every node has a replica of the meta group. */
static void write_replicas(gn_json_writer *j, const gn_placement *p)
{
    gn_jw_open(j, "groups", '[');
    for (uint32_t i = 0; i < p->n_groups; i++) {
        const gn_group_place *g = &p->groups[i];
        gn_jw_open(j, NULL, '{');
        gn_jw_u64(j, "group", g->id);
        gn_jw_open(j, "nodes", '[');
        for (uint32_t k = 0; k < p->n_nodes; k++)
            if (g->id == GN_META_GROUP ? strcmp(p->nodes[k].state, "gone") != 0
                                       : gn_group_has_member(g, p->nodes[k].id))
                gn_jw_u64(j, NULL, p->nodes[k].id);
        gn_jw_close(j, ']');
        gn_jw_close(j, '}');
    }
    gn_jw_close(j, ']');
}

gn_code gn_admin_check_plan(gn_admin_job *job, gn_error *err)
{
    gn_txn *meta;
    gn_placement *p = NULL;
    gn_txn_options options = {.read_only = true};
    gn_code code = gn_txn_begin(job->cluster->meta, &options, &meta, err);
    if (code != GN_OK)
        return code;
    code = gn_placement_load(meta, &p, err);
    if (code == GN_OK) {
        gn_jw_open(job->json, NULL, '{');
        write_replicas(job->json, p);
        gn_jw_open(job->json, "pieces", '[');
        code = write_tables(job, meta, p, job->request->n_args ? job->request->args[0] : NULL, err);
        gn_jw_close(job->json, ']');
        gn_jw_close(job->json, '}');
    }
    gn_txn_abort(meta);
    gn_placement_release(p);
    return code;
}
