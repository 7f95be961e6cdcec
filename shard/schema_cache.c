#include "base/assert.h"
#include "shard/schema_private.h"

#include <pthread.h>
#include <stdlib.h>

static gn_schema *schema_alloc(uint32_t n)
{
    gn_schema *s = gn_xcalloc(1, sizeof *s);
    s->refs = 1;
    s->by_id = gn_xcalloc(n ? n : 1, sizeof *s->by_id);
    s->by_name = gn_xcalloc(n ? n : 1, sizeof *s->by_name);
    return s;
}

gn_schema *gn_schema_empty(void)
{
    return schema_alloc(0);
}

gn_schema *gn_schema_retain(gn_schema *schema)
{
    uint32_t before = schema->refs++;
    GN_ASSERT(before > 0);
    return schema;
}

void gn_schema_release(gn_schema *schema)
{
    if (!schema || --schema->refs > 0)
        return;
    for (uint32_t i = 0; i < schema->n; i++)
        gn_table_desc_release(schema->by_id[i].desc);
    free(schema->by_id);
    free(schema->by_name);
    free(schema);
}

/* Where `id` is or would be. */
static uint32_t id_place(const gn_schema *s, uint64_t id)
{
    uint32_t lo = 0, hi = s->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->by_id[mid].desc->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int by_name(const void *a, const void *b, void *schema)
{
    const gn_schema *s = schema;
    return strcmp(s->by_id[*(const uint32_t *)a].desc->name, s->by_id[*(const uint32_t *)b].desc->name);
}

static void sort_names(gn_schema *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        s->by_name[i] = i;
    qsort_r(s->by_name, s->n, sizeof *s->by_name, by_name, s);
}

gn_schema *gn_schema_with(const gn_schema *old, uint64_t id, const gn_table_desc *desc, gn_scn scn)
{
    gn_schema *s = schema_alloc(old->n + 1);
    s->changed = scn > old->changed ? scn : old->changed;
    uint32_t place = id_place(old, id);
    for (uint32_t i = 0; i < place; i++)
        s->by_id[s->n++] = old->by_id[i];
    if (desc)
        s->by_id[s->n++] = (gn_schema_table){.desc = desc, .since = scn};
    for (uint32_t i = place; i < old->n; i++)
        if (old->by_id[i].desc->id != id)
            s->by_id[s->n++] = old->by_id[i];
    for (uint32_t i = 0; i < s->n; i++)
        gn_table_desc_retain(s->by_id[i].desc);
    sort_names(s);
    return s;
}

const gn_schema_table *gn_schema_find(const gn_schema *s, uint64_t id)
{
    uint32_t i = id_place(s, id);
    return i < s->n && s->by_id[i].desc->id == id ? &s->by_id[i] : NULL;
}

const gn_schema_table *gn_schema_find_name(const gn_schema *s, gn_bytes name)
{
    uint32_t lo = 0, hi = s->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const gn_schema_table *t = &s->by_id[s->by_name[mid]];
        int c = gn_bytes_cmp(gn_bytes_str(t->desc->name), name);
        if (c == 0)
            return t;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const gn_index_desc *gn_table_index(const gn_table_desc *desc, uint64_t index_id)
{
    for (uint32_t i = 0; i < desc->n_indexes; i++)
        if (desc->indexes[i].id == index_id)
            return &desc->indexes[i];
    return NULL;
}

const gn_index_desc *gn_table_index_named(const gn_table_desc *desc, gn_bytes name)
{
    for (uint32_t i = 0; i < desc->n_indexes; i++)
        if (gn_bytes_eq(gn_bytes_str(desc->indexes[i].name), name))
            return &desc->indexes[i];
    return NULL;
}

const gn_schema_table *gn_schema_find_index(const gn_schema *s, gn_bytes name, const gn_index_desc **index)
{
    for (uint32_t i = 0; i < s->n; i++) {
        *index = gn_table_index_named(s->by_id[i].desc, name);
        if (*index)
            return &s->by_id[i];
    }
    return NULL;
}

static gn_code name_taken(const gn_schema *s, const gn_table_desc *desc, const char *name, gn_error *err)
{
    gn_bytes n = gn_bytes_str(name);
    const gn_index_desc *index;
    const gn_schema_table *t = gn_schema_find_name(s, n);
    if (!t || t->desc->id == desc->id)
        t = gn_schema_find_index(s, n, &index);
    if (!t || t->desc->id == desc->id)
        return GN_OK;
    return gn_error_set(err, GN_DUPLICATE_TABLE, "relation \"%s\" already exists", name);
}

gn_code gn_schema_check_names(const gn_schema *s, const gn_table_desc *desc, gn_error *err)
{
    gn_code code = name_taken(s, desc, desc->name, err);
    for (uint32_t i = 0; code == GN_OK && i < desc->n_indexes; i++) {
        const char *name = desc->indexes[i].name;
        code = name_taken(s, desc, name, err);
        bool twice = strcmp(name, desc->name) == 0;
        for (uint32_t j = 0; j < i; j++)
            twice |= strcmp(name, desc->indexes[j].name) == 0;
        if (code == GN_OK && twice)
            code = gn_error_set(err, GN_DUPLICATE_TABLE, "relation \"%s\" already exists", name);
    }
    return code;
}

/* ---- the system table ---- */

enum { COLUMN_ID = 1, COLUMN_NAME, COLUMN_DESCRIPTOR, N_COLUMNS = 3 };

static gn_column_desc catalog_columns[N_COLUMNS] = {
    {.id = COLUMN_ID, .name = "id", .type = {GN_T_INT8, false, -1}, .not_null = true},
    {.id = COLUMN_NAME, .name = "name", .type = {GN_T_TEXT, false, -1}, .not_null = true},
    {.id = COLUMN_DESCRIPTOR, .name = "descriptor", .type = {GN_T_BYTEA, false, -1}, .not_null = true},
};

static const gn_table_desc catalog = {
    .id = GN_CATALOG_TABLE,
    .version = 1,
    .name = "gn_tables",
    .next_column_id = N_COLUMNS + 1,
    .n_columns = N_COLUMNS,
    .columns = catalog_columns,
    .n_key = 1,
    .key = {COLUMN_ID},
    .key_name = "gn_tables_pkey",
};

/* Descriptors are counted, so this one too has to be made by the decoder. */
static const gn_table_desc *counted_catalog;
static pthread_once_t catalog_once = PTHREAD_ONCE_INIT;

static void make_catalog(void)
{
    gn_buf bytes;
    gn_buf_init(&bytes, NULL, 4096);
    bool ok = gn_table_desc_encode(&catalog, &bytes) &&
              gn_table_desc_decode(gn_buf_bytes(&bytes), &counted_catalog, NULL) == GN_OK;
    GN_ASSERT(ok);
    gn_buf_close(&bytes);
}

const gn_table_desc *gn_catalog_desc(void)
{
    pthread_once(&catalog_once, make_catalog);
    return counted_catalog;
}

gn_space gn_catalog_space(uint64_t branch)
{
    return gn_row_space(gn_catalog_desc(), branch);
}

static gn_value int8_value(uint64_t v)
{
    return (gn_value){.type = gn_type_of(GN_T_INT8), .as.i64 = (int64_t)v};
}

gn_code gn_catalog_key(uint64_t table_id, gn_buf *out, gn_error *err)
{
    gn_value id = int8_value(table_id);
    return gn_key_append(out, &id, false, false, err);
}

gn_code gn_catalog_read_key(gn_bytes key, uint64_t *table_id, gn_error *err)
{
    gn_value id;
    gn_code code = gn_key_read(&key, gn_type_of(GN_T_INT8), false, false, NULL, &id, err);
    if (code == GN_OK)
        *table_id = (uint64_t)id.as.i64;
    return code;
}

gn_code gn_catalog_row(const gn_table_desc *desc, gn_buf *out, gn_error *err)
{
    gn_buf bytes;
    gn_buf_init(&bytes, NULL, GN_MAX_FIELD);
    gn_code code = GN_OK;
    if (!gn_table_desc_encode(desc, &bytes)) {
        code = gn_error_set(err, GN_LIMIT, "the definition of table \"%s\" is too long", desc->name);
    } else {
        gn_value values[N_COLUMNS] = {
            int8_value(desc->id),
            {.type = gn_type_of(GN_T_TEXT), .as.bytes = gn_bytes_str(desc->name)},
            {.type = gn_type_of(GN_T_BYTEA), .as.bytes = gn_buf_bytes(&bytes)},
        };
        code = gn_row_encode(gn_catalog_desc(), values, out, err);
    }
    gn_buf_close(&bytes);
    return code;
}

gn_code gn_catalog_read_row(gn_bytes row, const gn_table_desc **out, gn_error *err)
{
    static const uint32_t ordinal = COLUMN_DESCRIPTOR - 1;
    gn_arena *arena = gn_arena_create(NULL);
    gn_value value;
    gn_code code = gn_row_decode(gn_catalog_desc(), row, &ordinal, 1, &value, arena, err);
    if (code == GN_OK)
        code = gn_table_desc_decode(value.as.bytes, out, err);
    gn_arena_destroy(arena);
    return code;
}

/* Catalog rows come in order of id. */
static void append_table(gn_schema *s, uint32_t *cap, const gn_table_desc *desc, gn_scn since)
{
    if (s->n == *cap) {
        *cap = *cap ? 2 * *cap : 16;
        s->by_id = gn_xrealloc(s->by_id, *cap * sizeof *s->by_id);
        s->by_name = gn_xrealloc(s->by_name, *cap * sizeof *s->by_name);
    }
    GN_ASSERT(s->n == 0 || s->by_id[s->n - 1].desc->id < desc->id);
    s->by_id[s->n++] = (gn_schema_table){.desc = desc, .since = since};
    if (s->changed < since)
        s->changed = since;
}

gn_code gn_schema_load(gn_store *store, const gn_chain *chain, gn_schema **out, gn_error *err)
{
    gn_schema *schema = gn_schema_empty();
    uint32_t cap = 0;
    gn_space space = gn_catalog_space(GN_BRANCH_MAIN);
    gn_key_span all = {.end_open = true};
    gn_mvcc_cursor cursor;
    gn_mvcc_open(&cursor, store, &space, chain, &all, false);
    gn_code code;
    do {
        gn_bytes key;
        gn_version version;
        const gn_table_desc *desc;
        code = gn_mvcc_next(&cursor, &key, &version, err);
        if (code == GN_OK)
            code = gn_catalog_read_row(version.row, &desc, err);
        if (code == GN_OK)
            append_table(schema, &cap, desc, version.scn);
    } while (code == GN_OK);
    gn_mvcc_close(&cursor);
    if (code != GN_NO_DATA) {
        gn_schema_release(schema);
        return code;
    }
    sort_names(schema);
    *out = schema;
    return GN_OK;
}
