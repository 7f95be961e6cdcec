#include "query/computed.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/versions.h"
#include "query/expr_pack.h"
#include "query/row.h"

enum { MAX_PACKED = 1 << 20 };

bool gn_computed_pack(const gn_expr *expr, gn_buf *out)
{
    size_t from = out->len;
    gn_buf_append_u8(out, GN_FORMAT_COMPUTED);
    gn_expr_pack(expr, out);
    return !out->failed && out->len - from <= MAX_PACKED;
}

static gn_code corrupt(const gn_table_desc *desc, gn_error *err)
{
    return gn_error_set(err, GN_CORRUPT, "an expression that table \"%s\" is indexed by cannot be read", desc->name);
}

static gn_code unpack(const gn_table_desc *desc, uint32_t ordinal, const gn_type *types, gn_arena *arena, gn_expr **out,
                      gn_error *err)
{
    gn_error ignored = {0};
    gn_expr_source source = {.in = gn_reader_of(desc->columns[ordinal].packed),
                             .columns = types,
                             .n_columns = desc->n_columns,
                             .arena = arena,
                             .err = &ignored};
    if (gn_read_u8(&source.in) != GN_FORMAT_COMPUTED || gn_expr_unpack(&source, out) != GN_OK ||
        gn_reader_left(&source.in) || !gn_type_same((*out)->type, desc->columns[ordinal].type))
        return corrupt(desc, err);
    return GN_OK;
}

/* False: it is over another computed column. */
static bool mark_inputs(const gn_table_desc *desc, const gn_expr *e, uint8_t *used)
{
    if (e->kind == GN_E_COLUMN) {
        used[e->column] = 1;
        return desc->columns[e->column].packed.len == 0;
    }
    for (uint32_t i = 0; i < e->n_args; i++)
        if (!mark_inputs(desc, e->args[i], used))
            return false;
    return true;
}

static void columns_to_params(gn_expr *e)
{
    if (e->kind == GN_E_COLUMN)
        e->kind = GN_E_PARAM;
    for (uint32_t i = 0; i < e->n_args; i++)
        columns_to_params(e->args[i]);
}

gn_code gn_computed_open(const gn_table_desc *desc, uint32_t ordinal, gn_arena *arena, const gn_computed **out,
                         gn_error *err)
{
    gn_computed *c = gn_arena_calloc(arena, 1, sizeof *c);
    gn_type *types = gn_arena_calloc(arena, desc->n_columns + 1, sizeof *types);
    uint8_t *used = gn_arena_calloc(arena, desc->n_columns + 1, 1);
    gn_expr *expr, *program;
    if (!c || !types || !used || !(c->inputs = gn_arena_calloc(arena, desc->n_columns + 1, sizeof *c->inputs)))
        return gn_error_oom(err, gn_arena_account(arena));
    for (uint32_t i = 0; i < desc->n_columns; i++)
        types[i] = desc->columns[i].type;
    gn_code code = unpack(desc, ordinal, types, arena, &expr, err);
    if (code == GN_OK)
        code = unpack(desc, ordinal, types, arena, &program, err);
    if (code != GN_OK)
        return code;
    if (!mark_inputs(desc, expr, used))
        return corrupt(desc, err);
    columns_to_params(program);
    for (uint32_t i = 0; i < desc->n_columns; i++)
        if (used[i])
            c->inputs[c->n_inputs++] = i;
    c->n_values = c->n_inputs ? c->inputs[c->n_inputs - 1] + 1 : 0;
    c->expr = expr;
    c->program = program;
    *out = c;
    return GN_OK;
}

gn_code gn_computed_value(const gn_computed *c, const gn_value *values, gn_arena *arena, gn_value *out, gn_error *err)
{
    static const gn_format plain = {.extra_float_digits = 1};
    const gn_eval eval = {.format = &plain, .arena = arena, .params = values, .n_params = c->n_values, .err = err};
    return gn_expr_eval_one(c->program, &eval, out);
}

static gn_code compute_by_id(const gn_table_desc *desc, uint32_t column_id, gn_value *values, gn_arena *arena,
                             gn_error *err)
{
    int ordinal = gn_table_column_by_id(desc, column_id);
    GN_ASSERT(ordinal >= 0);
    const gn_computed *c = desc->columns[ordinal].computed;
    return c ? gn_computed_value(c, values, arena, &values[ordinal], err) : GN_OK;
}

gn_code gn_index_compute(const gn_table_desc *desc, const gn_index_desc *index, gn_value *values, gn_arena *arena,
                         gn_error *err)
{
    gn_code code = index->predicate ? compute_by_id(desc, index->predicate, values, arena, err) : GN_OK;
    if (code != GN_OK || !gn_index_takes(desc, index, values))
        return code;
    for (uint32_t i = 0; i < index->n_columns && code == GN_OK; i++)
        code = compute_by_id(desc, index->columns[i], values, arena, err);
    return code;
}

bool gn_computed_uses(const gn_computed *c, uint32_t ordinal)
{
    for (uint32_t i = 0; i < c->n_inputs; i++)
        if (c->inputs[i] == ordinal)
            return true;
    return false;
}
