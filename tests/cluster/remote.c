#include "remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void assert_code(gn_code code, gn_code expected, const gn_error *err, const char *file, int line)
{
    if (code != expected)
        print_error("%s, not %s: %s\n", gn_code_name(code), gn_code_name(expected), err ? err->message : "");
    _assert_int_equal((uintmax_t)code, (uintmax_t)expected, file, line);
}

/* ---- nodes ---- */

void half_open(remote *r, gn_node_id id)
{
    half *h = &r->halves[id];
    gn_error err = {0};
    gn_cluster_options options = {.data_dir = h->dir, .block_cache_bytes = 1 << 20, .memtable_bytes = 1 << 20};
    ASSERT_OK(gn_cluster_open(h->world, &options, &h->cluster, &err), &err);
}

void half_close(remote *r, gn_node_id id, bool clean)
{
    half *h = &r->halves[id];
    gn_cluster *c = h->cluster;
    if (!c)
        return;
    h->cluster = NULL;
    gn_cluster_close(c, clean);
}

void half_crash(remote *r, gn_node_id id)
{
    gn_sim_crash(r->sim, id, GN_SIM_TEAR);
    half_close(r, id, false);
}

void half_restart(remote *r, gn_node_id id)
{
    r->halves[id].world = gn_sim_restart(r->sim, id);
    half_open(r, id);
}

uint32_t parts_at(remote *r, gn_node_id id)
{
    return gn_part_server_count(gn_parts_server(r->halves[id].cluster->parts));
}

/* The database has one clock; where it is served is not what is tested here. */
static void one_clock(void *ctx)
{
    remote *r = ctx;
    gn_scn newest = 0;
    for (int i = 1; i <= NODES; i++)
        if (r->halves[i].cluster && gn_clock_newest(r->halves[i].cluster->clock) > newest)
            newest = gn_clock_newest(r->halves[i].cluster->clock);
    for (int i = 1; i <= NODES; i++)
        if (r->halves[i].cluster)
            gn_clock_raise(r->halves[i].cluster->clock, newest);
}

static gn_group_place place(uint64_t id, uint64_t distribution, uint32_t lo, uint32_t hi, uint32_t n, gn_node_id first,
                            gn_node_id second)
{
    return (gn_group_place){.id = id,
                            .distribution_id = distribution,
                            .slot_lo = lo,
                            .slot_hi = hi,
                            .n_members = n,
                            .members = {first, second}};
}

static void make_group(remote *r, gn_node_id at, uint64_t id)
{
    gn_error err = {0};
    gn_raft_member self = {.id = at, .role = GN_RAFT_VOTER};
    ASSERT_OK(gn_group_open(r->halves[at].cluster, id, &self, 1, &err), &err);
}

/* A and B think alike of who has what. */
static void record_placement(remote *r, gn_cluster *c)
{
    gn_error err = {0};
    gn_txn *meta;
    const gn_group_place groups[] = {place(4, r->there, 0, GN_SLOTS, 2, C, B), /* C has none after all */
                                     place(6, r->both, 0, GN_SLOTS / 2, 1, A, 0),
                                     place(5, r->both, GN_SLOTS / 2, GN_SLOTS, 1, B, 0)};
    const gn_distribution distributions[] = {{.id = r->there, .shards = 1, .replicas = 2},
                                             {.id = r->both, .shards = 2, .replicas = 1}};
    ASSERT_OK(gn_txn_begin(c->meta, NULL, &meta, &err), &err);
    for (int i = 0; i < 2; i++)
        ASSERT_OK(gn_meta_put_distribution(meta, &distributions[i], &err), &err);
    for (int i = 0; i < 3; i++)
        ASSERT_OK(gn_meta_put_group(meta, &groups[i], &err), &err);
    ASSERT_OK(gn_txn_commit(meta, NULL, &err), &err);
    ASSERT_OK(gn_meta_refresh(c, false, &err), &err);
}

remote *remote_start(uint64_t seed)
{
    remote *r = calloc(1, sizeof *r);
    gn_error err = {0};
    uint64_t unused;
    const char *tmp = getenv("TMPDIR");
    tmp = tmp ? tmp : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(r->dir, sizeof r->dir, "%s/gnomon-remote-XXXXXX", tmp);
    assert_non_null(mkdtemp(r->dir));
    r->sim = gn_sim_create(seed, NODES);
    for (gn_node_id id = 1; id <= NODES; id++) {
        r->halves[id].world = gn_sim_world(r->sim, id);
        snprintf(r->halves[id].dir, sizeof r->halves[id].dir, "%s/%d", r->dir, (int)id);
        half_open(r, id);
    }
    gn_sim_on_step(r->sim, one_clock, r);
    ASSERT_OK(gn_cluster_distribution(r->halves[A].cluster, 1, 1, &r->here, &err), &err);
    ASSERT_OK(gn_cluster_distribution(r->halves[B].cluster, 1, 1, &unused, &err), &err);
    r->there = 1000;
    r->both = 1001;
    make_group(r, A, 6);
    make_group(r, B, 4);
    make_group(r, B, 5);
    record_placement(r, r->halves[A].cluster);
    record_placement(r, r->halves[B].cluster);
    return r;
}

void remote_stop(remote *r)
{
    char command[300];
    for (gn_node_id id = 1; id <= NODES; id++)
        half_close(r, id, false);
    gn_sim_destroy(r->sim);
    snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
    assert_int_equal(system(command), 0);
    free(r);
}

int remote_setup(void **state)
{
    *state = remote_start(1);
    return 0;
}

int remote_teardown(void **state)
{
    remote_stop(*state);
    return 0;
}

/* ---- tables ---- */

void make_table(remote *r, const char *name, uint64_t distribution)
{
    gn_error err = {0};
    gn_cluster *c = r->halves[A].cluster;
    gn_column_desc columns[4] = {{.id = 1, .name = "id", .type = {GN_T_INT8, false, -1}, .not_null = true},
                                 {.id = 2, .name = "name", .type = {GN_T_TEXT, false, -1}},
                                 {.id = 3, .name = "n", .type = {GN_T_INT8, false, -1}},
                                 {.id = 4, .name = "v", .type = {GN_T_VECTOR, false, DIMENSIONS}}};
    gn_index_desc indexes[2] = {
        {.kind = GN_INDEX_BTREE, .unique = true, .n_columns = 1, .columns = {2}},
        {.kind = GN_INDEX_HNSW, .n_columns = 1, .columns = {4}, .metric = GN_METRIC_L2, .m = 8, .ef_construction = 32}};
    gn_table_desc t = {.version = 1,
                       .next_column_id = 5,
                       .n_columns = 4,
                       .columns = columns,
                       .n_key = 1,
                       .key = {1},
                       .n_indexes = 2,
                       .indexes = indexes,
                       .distribution_id = distribution,
                       .n_shard_key = 1,
                       .shard_key = {1}};
    snprintf(t.name, sizeof t.name, "%s", name);
    snprintf(t.key_name, sizeof t.key_name, "%s_pkey", name);
    ASSERT_OK(gn_cluster_new_ids(c, 3, &t.id, &err), &err);
    for (int i = 0; i < 2; i++) {
        indexes[i].id = t.id + 1 + (uint64_t)i;
        snprintf(indexes[i].name, sizeof indexes[i].name, "%s_%s", name, i ? "v" : "name");
    }
    gn_dtxn *txn = begin(r);
    ASSERT_OK(gn_dtxn_put_table(txn, &t, &err), &err);
    ASSERT_OK(commit(txn, &err), &err);
    gn_sim_run_for(r->sim, SECOND); /* all groups know: each half has a meta group of its own, and could not ask A's */
}

/* ---- transactions ---- */

gn_dtxn *begin_with(remote *r, const gn_dtxn_options *options)
{
    gn_error err = {0};
    gn_dtxn *txn;
    ASSERT_OK(gn_dtxn_begin(r->halves[A].cluster, options, &txn, &err), &err);
    return txn;
}

gn_dtxn *begin(remote *r)
{
    return begin_with(r, &(gn_dtxn_options){.several = true});
}

const gn_table_desc *table(gn_dtxn *txn, const char *name)
{
    const gn_table_desc *t = gn_dtxn_table_named(txn, gn_bytes_str(name));
    assert_non_null(t);
    return t;
}

static void key_of(int64_t id, gn_buf *out)
{
    gn_value v = {.type = gn_type_of(GN_T_INT8), .as.i64 = id};
    gn_buf_init(out, NULL, 100);
    assert_int_equal(gn_key_append(out, &v, false, false, NULL), GN_OK);
}

static void values_of(const row *r, gn_value *v)
{
    v[0] = (gn_value){.type = gn_type_of(GN_T_INT8), .as.i64 = r->id};
    v[1] = r->name ? (gn_value){.type = gn_type_of(GN_T_TEXT), .as.bytes = gn_bytes_str(r->name)}
                   : gn_value_null(gn_type_of(GN_T_TEXT));
    v[2] = (gn_value){.type = gn_type_of(GN_T_INT8), .as.i64 = r->n};
    v[3] = r->v ? (gn_value){.type = gn_type_of(GN_T_VECTOR), .as.bytes = gn_bytes_of(r->v, DIMENSIONS * 4)}
                : gn_value_null(gn_type_of(GN_T_VECTOR));
}

gn_code insert(gn_dtxn *txn, const char *name, const row *r, gn_error *err)
{
    gn_value values[4];
    values_of(r, values);
    return gn_dtxn_insert(txn, table(txn, name), values, err);
}

gn_code update(gn_dtxn *txn, const char *name, int64_t id, const row *r, gn_error *err)
{
    gn_value values[4];
    gn_buf key;
    values_of(r, values);
    key_of(id, &key);
    gn_code code = gn_dtxn_update(txn, table(txn, name), gn_buf_bytes(&key), values, err);
    gn_buf_close(&key);
    return code;
}

gn_code erase(gn_dtxn *txn, const char *name, int64_t id, gn_error *err)
{
    gn_buf key;
    key_of(id, &key);
    gn_code code = gn_dtxn_delete(txn, table(txn, name), gn_buf_bytes(&key), err);
    gn_buf_close(&key);
    return code;
}

gn_code commit(gn_dtxn *txn, gn_error *err)
{
    return gn_dtxn_commit(txn, NULL, err);
}

/* ---- reading ---- */

static void print_row(const gn_batch *b, uint32_t i, gn_buf *out)
{
    gn_value name = gn_column_get(&b->columns[1], i);
    gn_buf_printf(out, "%lld:%.*s:%lld ", (long long)b->columns[0].i64[i], name.is_null ? 1 : (int)name.as.bytes.len,
                  name.is_null ? "-" : (const char *)name.as.bytes.data, (long long)b->columns[2].i64[i]);
}

static void bound(const look *how, int64_t at, gn_buf *out)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)at);
    gn_value v = how->by_name ? (gn_value){.type = gn_type_of(GN_T_TEXT), .as.bytes = gn_bytes_str(text)}
                              : (gn_value){.type = gn_type_of(GN_T_INT8), .as.i64 = at};
    gn_buf_init(out, NULL, 100);
    assert_int_equal(gn_key_append(out, &v, false, false, NULL), GN_OK);
}

static char *text_of(gn_buf *out, gn_code code)
{
    gn_buf_append_u8(out, 0);
    char *text = code == GN_OK ? strdup((const char *)out->data) : NULL;
    gn_buf_close(out);
    return text;
}

char *rows(gn_dtxn *txn, const char *name, const look *how, gn_code *code, gn_error *err)
{
    static const uint32_t ordinals[] = {0, 1, 2};
    static const look all;
    gn_bytes keys[GN_BATCH_ROWS];
    how = how ? how : &all;
    const gn_table_desc *t = table(txn, name);
    gn_scan_spec spec = {.table = t,
                         .index = how->by_name ? &t->indexes[0] : NULL,
                         .reverse = how->reverse,
                         .ordinals = ordinals,
                         .n_ordinals = 3,
                         .limit_hint = how->limit};
    gn_dscan *scan = NULL;
    gn_batch batch = {.n_columns = 3, .arena = gn_arena_create(NULL)};
    gn_buf out, lo, hi;
    gn_buf_init(&out, NULL, 64 << 20);
    bound(how, how->lo, &lo);
    bound(how, how->hi, &hi);
    if (how->ranged)
        spec.range = (gn_key_range){.lo = gn_buf_bytes(&lo), .hi = gn_buf_bytes(&hi), .hi_inclusive = true};
    *code = gn_dscan_open(txn, &spec, how->ordered, &scan, err);
    for (uint64_t n = 0; *code == GN_OK && (how->limit == 0 || n < how->limit);) {
        *code = gn_dscan_next(scan, &batch, keys, err);
        for (uint32_t i = 0; *code == GN_OK && i < batch.n_rows && (how->limit == 0 || n < how->limit); i++, n++)
            print_row(&batch, i, &out);
        if (batch.n_rows == 0)
            break;
    }
    gn_dscan_close(scan);
    gn_arena_destroy(batch.arena);
    gn_buf_close(&lo);
    gn_buf_close(&hi);
    return text_of(&out, *code);
}

void assert_rows(remote *r, gn_dtxn *txn, const char *name, const look *how, const char *expected)
{
    gn_error err = {0};
    gn_code code;
    gn_dtxn *own = txn ? NULL : begin_with(r, &(gn_dtxn_options){.read_only = true});
    char *text = rows(txn ? txn : own, name, how, &code, &err);
    ASSERT_OK(code, &err);
    assert_string_equal(text, expected);
    free(text);
    gn_dtxn_abort(own);
}

char *nearest(gn_dtxn *txn, const char *name, const float *v, uint32_t k, gn_code *code, gn_error *err)
{
    static const uint32_t ordinals[] = {0};
    const gn_table_desc *t = table(txn, name);
    gn_vector_scan_spec spec = {.table = t,
                                .index = &t->indexes[1],
                                .query = v,
                                .dimensions = DIMENSIONS,
                                .k_hint = k,
                                .exact = true,
                                .ordinals = ordinals,
                                .n_ordinals = 1};
    gn_dvector_scan *scan = NULL;
    gn_batch batch = {.n_columns = 2, .arena = gn_arena_create(NULL)};
    gn_buf out;
    gn_buf_init(&out, NULL, 1 << 20);
    *code = gn_dvector_scan_open(txn, &spec, NULL, &scan, err);
    for (uint32_t n = 0; *code == GN_OK && n < k;) {
        *code = gn_dvector_scan_next(scan, &batch, NULL, err);
        for (uint32_t i = 0; *code == GN_OK && i < batch.n_rows && n < k; i++, n++)
            gn_buf_printf(&out, "%lld ", (long long)batch.columns[0].i64[i]);
        if (batch.n_rows == 0)
            break;
    }
    gn_vector_scan_stats stats;
    if (scan)
        gn_dvector_scan_stats_get(scan, &stats);
    gn_dvector_scan_close(scan);
    gn_arena_destroy(batch.arena);
    return text_of(&out, *code);
}
