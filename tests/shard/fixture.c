#include "fixture.h"

#include "index/distance.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void assert_code(gn_code code, gn_code expected, const gn_error *err, const char *file, int line)
{
    if (code == expected)
        return;
    print_error("%s (wanted %s): %s; %s\n", gn_code_name(code), gn_code_name(expected), err ? err->message : "",
                err ? err->detail : "");
    _fail(file, line);
}

void fixture_open(fixture *fx)
{
    gn_error err = {0};
    gn_raft_options raft = {.log_dir = fx->log_dir, .election_timeout_ms = 50, .heartbeat_ms = 10};
    ASSERT_OK(gn_raft_host_open(fx->world, &raft, &fx->host, &err), &err);
    ASSERT_OK(gn_shard_open(fx->world, fx->host, &fx->options, &fx->shard, &err), &err);
    ASSERT_OK(gn_shard_wait_ready(fx->shard, gn_now_ns(fx->world) + 120000000000ull, &err), &err);
}

void fixture_close(fixture *fx, bool clean)
{
    gn_shard_close(fx->shard, clean);
    gn_raft_host_close(fx->host);
    fx->shard = NULL;
    fx->host = NULL;
}

void fixture_reopen(fixture *fx, bool clean)
{
    fixture_close(fx, clean);
    fixture_open(fx);
}

int fixture_setup(void **state)
{
    static const gn_raft_member self = {.id = 1, .role = GN_RAFT_VOTER};
    fixture *fx = calloc(1, sizeof *fx);
    const char *tmp = getenv("TMPDIR");
    snprintf(fx->dir, sizeof fx->dir, "%s/gnomon-shard-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(fx->dir));
    snprintf(fx->shard_dir, sizeof fx->shard_dir, "%s/shard", fx->dir);
    snprintf(fx->log_dir, sizeof fx->log_dir, "%s/log", fx->dir);
    fx->world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 1});
    fx->options = (gn_shard_options){.dir = fx->shard_dir, .group_id = 1, .members = &self, .n_members = 1};
    fixture_open(fx);
    *state = fx;
    return 0;
}

int fixture_teardown(void **state)
{
    fixture *fx = *state;
    if (fx->shard)
        fixture_close(fx, true);
    gn_world_real_destroy(fx->world);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", fx->dir);
    int status = system(command);
    free(fx);
    return status;
}

/* ---- tables ---- */

gn_table_desc *make_table(uint64_t id)
{
    static const struct {
        const char *name;
        gn_type type;
    } columns[] = {{"id", {GN_T_INT8, false, -1}},
                   {"name", {GN_T_TEXT, false, -1}},
                   {"n", {GN_T_INT8, false, -1}},
                   {"v", {GN_T_VECTOR, false, DIMENSIONS}}};
    gn_table_desc *d = calloc(1, sizeof *d);
    d->id = id;
    d->version = 1;
    snprintf(d->name, sizeof d->name, "t%llu", (unsigned long long)id);
    snprintf(d->key_name, sizeof d->key_name, "t%llu_pkey", (unsigned long long)id);
    d->n_columns = 4;
    d->next_column_id = 5;
    d->columns = calloc(4, sizeof *d->columns);
    for (uint32_t i = 0; i < 4; i++) {
        d->columns[i].id = i + 1;
        d->columns[i].type = columns[i].type;
        snprintf(d->columns[i].name, sizeof d->columns[i].name, "%s", columns[i].name);
    }
    d->columns[0].not_null = true;
    d->n_key = 1;
    d->key[0] = COL_ID;
    return d;
}

void free_table(gn_table_desc *desc)
{
    free(desc->columns);
    free(desc->indexes);
    free(desc);
}

gn_index_desc *add_index(gn_table_desc *desc, uint64_t id, uint32_t column, bool unique)
{
    desc->indexes = realloc(desc->indexes, (desc->n_indexes + 1) * sizeof *desc->indexes);
    gn_index_desc *x = &desc->indexes[desc->n_indexes++];
    memset(x, 0, sizeof *x);
    x->id = id;
    snprintf(x->name, sizeof x->name, "i%llu", (unsigned long long)id);
    x->kind = GN_INDEX_BTREE;
    x->unique = unique;
    x->n_columns = 1;
    x->columns[0] = column;
    desc->version++;
    return x;
}

gn_index_desc *add_vector_index(gn_table_desc *desc, uint64_t id, uint8_t metric)
{
    gn_index_desc *x = add_index(desc, id, COL_V, false);
    x->kind = GN_INDEX_HNSW;
    x->metric = metric;
    x->m = 8;
    x->ef_construction = 32;
    return x;
}

gn_code put_table(fixture *fx, const gn_table_desc *desc, gn_error *err)
{
    gn_txn *txn = begin(fx);
    gn_code code = gn_txn_put_table(txn, desc, err);
    if (code != GN_OK) {
        gn_txn_abort(txn);
        return code;
    }
    return gn_txn_commit(txn, NULL, err);
}

void row_values(const row *r, gn_value *values)
{
    values[0] = (gn_value){.type = gn_type_of(GN_T_INT8), .as.i64 = r->id};
    values[1] = r->name ? (gn_value){.type = gn_type_of(GN_T_TEXT), .as.bytes = gn_bytes_str(r->name)}
                        : gn_value_null(gn_type_of(GN_T_TEXT));
    values[2] =
        r->n_null ? gn_value_null(gn_type_of(GN_T_INT8)) : (gn_value){.type = gn_type_of(GN_T_INT8), .as.i64 = r->n};
    values[3] = r->v ? (gn_value){.type = gn_type_of(GN_T_VECTOR), .as.bytes = gn_bytes_of(r->v, DIMENSIONS * 4)}
                     : gn_value_null(gn_type_of(GN_T_VECTOR));
}

void key_of(int64_t id, gn_buf *out)
{
    gn_value v = {.type = gn_type_of(GN_T_INT8), .as.i64 = id};
    gn_buf_init(out, NULL, 100);
    assert_int_equal(gn_key_append(out, &v, false, false, NULL), GN_OK);
}

/* ---- transactions ---- */

gn_txn *begin_with(fixture *fx, const gn_txn_options *options)
{
    gn_txn *txn;
    gn_error err = {0};
    ASSERT_OK(gn_txn_begin(fx->shard, options, &txn, &err), &err);
    return txn;
}

gn_txn *begin(fixture *fx)
{
    return begin_with(fx, NULL);
}

gn_code commit(gn_txn *txn)
{
    return gn_txn_commit(txn, NULL, NULL);
}

gn_code insert(gn_txn *txn, const gn_table_desc *desc, const row *r, gn_error *err)
{
    gn_value values[4];
    row_values(r, values);
    return gn_txn_insert(txn, desc, values, err);
}

gn_code update(gn_txn *txn, const gn_table_desc *desc, int64_t id, const row *r, gn_error *err)
{
    gn_value values[4];
    gn_buf key;
    row_values(r, values);
    key_of(id, &key);
    gn_code code = gn_txn_update(txn, desc, gn_buf_bytes(&key), values, err);
    gn_buf_close(&key);
    return code;
}

gn_code erase(gn_txn *txn, const gn_table_desc *desc, int64_t id, gn_error *err)
{
    gn_buf key;
    key_of(id, &key);
    gn_code code = gn_txn_delete(txn, desc, gn_buf_bytes(&key), err);
    gn_buf_close(&key);
    return code;
}

static void print_row(const gn_batch *b, uint32_t i, gn_buf *out)
{
    gn_value id = gn_column_get(&b->columns[0], i), name = gn_column_get(&b->columns[1], i),
             n = gn_column_get(&b->columns[2], i);
    gn_buf_printf(out, "%lld:%.*s:", (long long)id.as.i64, name.is_null ? 1 : (int)name.as.bytes.len,
                  name.is_null ? "-" : (const char *)name.as.bytes.data);
    if (n.is_null)
        gn_buf_append_str(out, "- ");
    else
        gn_buf_printf(out, "%lld ", (long long)n.as.i64);
}

char *dump(gn_txn *txn, const gn_table_desc *desc, const gn_index_desc *index, const gn_key_range *range, bool reverse)
{
    static const uint32_t ordinals[] = {0, 1, 2};
    static const gn_type types[] = {{GN_T_INT8, false, -1}, {GN_T_TEXT, false, -1}, {GN_T_INT8, false, -1}};
    gn_scan_spec spec = {.table = desc, .index = index, .reverse = reverse, .ordinals = ordinals, .n_ordinals = 3};
    if (range)
        spec.range = *range;
    gn_error err = {0};
    gn_scan *scan;
    gn_arena *arena = gn_arena_create(NULL);
    gn_batch batch;
    gn_buf out;
    gn_buf_init(&out, NULL, 64 << 20);
    ASSERT_OK(gn_batch_init(&batch, types, 3, arena, &err), &err);
    ASSERT_OK(gn_scan_open(txn, &spec, &scan, &err), &err);
    do {
        ASSERT_OK(gn_scan_next(scan, &batch, NULL, &err), &err);
        for (uint32_t i = 0; i < batch.n_rows; i++)
            print_row(&batch, i, &out);
    } while (batch.n_rows > 0);
    gn_scan_close(scan);
    gn_arena_destroy(arena);
    gn_buf_append_u8(&out, 0);
    char *text = strdup((const char *)out.data);
    gn_buf_close(&out);
    return text;
}

char *dump_now(fixture *fx, const gn_table_desc *desc, const gn_index_desc *index)
{
    gn_txn *txn = begin_with(fx, &(gn_txn_options){.read_only = true});
    char *text = dump(txn, desc, index, NULL, false);
    gn_txn_abort(txn);
    return text;
}

bool has_row(gn_txn *txn, const gn_table_desc *desc, int64_t id, int64_t *n)
{
    gn_buf key;
    key_of(id, &key);
    gn_key_range range = {.lo = gn_buf_bytes(&key), .hi = gn_buf_bytes(&key), .hi_inclusive = true};
    char *text = dump(txn, desc, NULL, &range, false);
    bool found = text[0] != '\0';
    if (found && n)
        *n = strtoll(strrchr(text, ':') + 1, NULL, 10);
    free(text);
    gn_buf_close(&key);
    return found;
}
