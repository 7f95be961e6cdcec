#include "base/assert.h"
#include "query/computed.h"
#include "shard/index_entry_private.h"

#include <stdio.h>
#include <stdlib.h>

static bool needs(const gn_index_desc *index, uint32_t column_id)
{
    for (uint32_t i = 0; i < index->n_columns; i++)
        if (index->columns[i] == column_id)
            return true;
    return index->predicate == column_id; /* 0 is no column's */
}

gn_code gn_index_columns_init(gn_index_columns *c, const gn_table_desc *desc, const gn_index_desc *only, gn_error *err)
{
    *c = (gn_index_columns){.desc = desc, .arena = gn_arena_create(NULL), .scratch = gn_arena_create(NULL)};
    c->ordinals = gn_arena_calloc(c->arena, desc->n_columns, sizeof *c->ordinals);
    c->dense = gn_arena_calloc(c->arena, desc->n_columns, sizeof *c->dense);
    c->values = gn_arena_calloc(c->arena, desc->n_columns, sizeof *c->values);
    if (!c->ordinals || !c->dense || !c->values)
        return gn_error_oom(err, NULL);
    for (uint32_t i = 0; i < desc->n_columns; i++) {
        bool needed = only && needs(only, desc->columns[i].id);
        for (uint32_t j = 0; !only && !needed && j < desc->n_indexes; j++)
            needed = desc->indexes[j].kind == GN_INDEX_BTREE && needs(&desc->indexes[j], desc->columns[i].id);
        if (needed)
            c->ordinals[c->n++] = i;
    }
    return GN_OK;
}

void gn_index_columns_close(gn_index_columns *c)
{
    gn_arena_destroy(c->arena);
    gn_arena_destroy(c->scratch);
    *c = (gn_index_columns){0};
}

gn_code gn_index_columns_read(gn_index_columns *c, gn_bytes row, gn_error *err)
{
    gn_arena_reset(c->scratch);
    gn_code code = gn_row_decode(c->desc, row, c->ordinals, c->n, c->dense, c->scratch, err);
    for (uint32_t i = 0; code == GN_OK && i < c->n; i++)
        c->values[c->ordinals[i]] = c->dense[i];
    return code;
}

gn_code gn_index_entry_of(const gn_index_columns *c, const gn_index_desc *index, gn_bytes primary_key, gn_buf *out,
                          gn_index_entry *entry, gn_error *err)
{
    bool has_null;
    gn_buf_clear(out);
    *entry = (gn_index_entry){.left_out = !gn_index_takes(c->desc, index, c->values)};
    if (entry->left_out)
        return GN_OK;
    gn_code code = gn_key_of_index(c->desc, index, c->values, out, &has_null, err);
    if (code != GN_OK)
        return code;
    entry->parts = out->len;
    entry->unique = index->unique && !has_null;
    if (!entry->unique)
        gn_buf_append_bytes(out, primary_key);
    if (out->failed)
        return gn_error_set(err, GN_LIMIT, "an entry of index \"%s\" is too long", index->name);
    entry->key = gn_buf_bytes(out);
    return GN_OK;
}

static gn_type column_type(const gn_table_desc *desc, uint32_t column_id)
{
    int ordinal = gn_table_column_by_id(desc, column_id);
    GN_ASSERT(ordinal >= 0);
    return desc->columns[ordinal].type;
}

gn_code gn_index_entry_primary(const gn_table_desc *desc, const gn_index_desc *index, gn_bytes key, gn_bytes value,
                               gn_bytes *primary_key, gn_error *err)
{
    if (value.len) {
        *primary_key = value;
        return GN_OK;
    }
    for (uint32_t i = 0; i < index->n_columns; i++) {
        gn_code code = gn_key_skip(&key, column_type(desc, index->columns[i]), index->descending[i], err);
        if (code != GN_OK)
            return code;
    }
    *primary_key = key;
    return GN_OK;
}

gn_code gn_index_row_vector(const gn_table_desc *desc, const gn_index_desc *index, gn_bytes row, gn_arena *arena,
                            gn_value *out, gn_error *err)
{
    int ordinal = gn_table_column_by_id(desc, index->columns[0]);
    uint32_t wanted = (uint32_t)ordinal, predicate;
    gn_code code = GN_OK;
    gn_value takes;
    *out = (gn_value){.is_null = true};
    if (ordinal < 0)
        return GN_OK;
    if (index->predicate) {
        ordinal = gn_table_column_by_id(desc, index->predicate);
        predicate = (uint32_t)ordinal;
        if (ordinal < 0)
            return GN_OK;
        code = gn_row_decode(desc, row, &predicate, 1, &takes, arena, err);
        if (code != GN_OK || takes.is_null || !takes.as.boolean)
            return code;
    }
    return gn_row_decode(desc, row, &wanted, 1, out, arena, err);
}

/* The column's name, or the expression. */
static void describe_column(const gn_table_desc *desc, uint32_t ordinal, gn_buf *out)
{
    const gn_column_desc *c = &desc->columns[ordinal];
    const char **names = c->computed ? gn_xcalloc(desc->n_columns, sizeof *names) : NULL;
    for (uint32_t i = 0; names && i < desc->n_columns; i++)
        names[i] = desc->columns[i].name;
    if (!names)
        gn_buf_append_str(out, c->name);
    else
        gn_expr_print(c->computed->expr, names, desc->n_columns, out);
    free(names);
}

/* "(a, b)=(1, 2)", as far as it fits. */
static void describe_key(const gn_table_desc *desc, const gn_index_desc *index, gn_bytes parts, gn_buf *out)
{
    uint32_t n = index ? index->n_columns : desc->n_key;
    const uint32_t *columns = index ? index->columns : desc->key;
    gn_buf_append_str(out, "(");
    for (uint32_t i = 0; i < n; i++) {
        int ordinal = gn_table_column_by_id(desc, columns[i]);
        gn_buf_append_str(out, i ? ", " : "");
        describe_column(desc, (uint32_t)ordinal, out);
    }
    gn_buf_append_str(out, ")=(");
    gn_arena *arena = gn_arena_create(NULL);
    const gn_format format = {.extra_float_digits = 1};
    for (uint32_t i = 0; i < n; i++) {
        gn_value value;
        bool descending = index && index->descending[i], nulls_first = index && index->nulls_first[i];
        if (gn_key_read(&parts, column_type(desc, columns[i]), descending, nulls_first, arena, &value, NULL) != GN_OK)
            break;
        gn_buf_append_str(out, i ? ", " : "");
        if (value.is_null)
            gn_buf_append_str(out, "null");
        else
            gn_value_print(&value, &format, out);
    }
    gn_buf_append_str(out, ")");
    gn_arena_destroy(arena);
}

gn_code gn_unique_error(const gn_table_desc *desc, const gn_index_desc *index, gn_bytes parts, bool building,
                        gn_error *err)
{
    const char *name = index ? index->name : desc->key_name;
    if (!err)
        return GN_UNIQUE;
    if (building)
        gn_error_set(err, GN_UNIQUE, "could not create unique index \"%s\"", name);
    else
        gn_error_set(err, GN_UNIQUE, "duplicate key value violates unique constraint \"%s\"", name);
    gn_buf text;
    gn_buf_init(&text, NULL, 64 << 10);
    describe_key(desc, index, parts, &text);
    gn_error_detail(err, "Key %.*s %s.", (int)(text.len < 300 ? text.len : 300), (const char *)text.data,
                    building ? "is duplicated" : "already exists");
    gn_buf_close(&text);
    snprintf(err->object[0], sizeof err->object[0], "public");
    snprintf(err->object[1], sizeof err->object[1], "%s", desc->name);
    snprintf(err->object[3], sizeof err->object[3], "%s", name);
    return GN_UNIQUE;
}
