/* Rows from arrays: each is a column, taken apart item by item; where one has ended, NULL follows. */
#include "coord/exec_private.h"
#include "query/array.h"

typedef struct unnest_source {
    gn_operator op;
    gn_exec *x;
    const gn_path *path;
    gn_batch batch;
    gn_array_iter *arrays;
    uint32_t n_arrays; /* as many as columns, but for the row's number */
    int64_t number;    /* of the last row */
    bool started;
} unnest_source;

static gn_code fill(unnest_source *s, gn_error *err)
{
    gn_array_builder *columns = gn_arena_calloc(s->x->arena, s->path->n_types, sizeof *columns);
    if (!columns)
        return gn_error_oom(err, s->x->account);
    for (uint32_t i = 0; i < s->path->n_types; i++)
        gn_array_begin(&columns[i], s->path->types[i], s->x->arena);
    gn_code code = s->path->fill(s->x, s->path, columns, err);
    for (uint32_t i = 0; i < s->path->n_types && code == GN_OK; i++) {
        gn_value v = {.type = gn_type_array_of((gn_type_id)s->path->types[i].id)};
        code = gn_array_end(&columns[i], &v, err);
        if (code == GN_OK)
            s->arrays[i] = gn_array_open(&v);
    }
    return code;
}

/* The last first: of json_each it is the values that tell what is wrong with the document. */
static gn_code start(unnest_source *s, gn_error *err)
{
    gn_code code = GN_OK;
    s->started = true;
    if (s->path->fill)
        return fill(s, err);
    for (uint32_t i = s->path->n_arrays; i-- > 0 && code == GN_OK;) {
        gn_value v;
        code = gn_exec_value(s->x, s->path->arrays[i], &v, err);
        if (code == GN_OK && !v.is_null)
            s->arrays[i] = gn_array_open(&v);
    }
    return code;
}

static gn_code unnest_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    unnest_source *s = (unnest_source *)op;
    gn_code code = s->started ? GN_OK : start(s, err);
    gn_batch_clear(&s->batch);
    while (code == GN_OK && s->batch.n_rows < GN_BATCH_ROWS) {
        bool any = false;
        for (uint32_t i = 0; i < s->n_arrays; i++)
            any |= s->arrays[i].at < s->arrays[i].n_items;
        if (!any)
            break;
        for (uint32_t i = 0; i < s->n_arrays; i++) {
            gn_value item;
            if (gn_array_next(&s->arrays[i], &item) && !item.is_null)
                gn_column_set(&s->batch.columns[i], s->batch.n_rows, &item);
            else
                gn_column_set_null(&s->batch.columns[i], s->batch.n_rows);
        }
        if (s->path->ordinality)
            s->batch.columns[s->n_arrays].i64[s->batch.n_rows] = ++s->number;
        s->batch.n_rows++;
    }
    *out = &s->batch;
    return code;
}

static void unnest_close(gn_operator *op)
{
    (void)op;
}

gn_code gn_unnest_source(gn_exec *x, const gn_path *path, gn_operator **out, gn_error *err)
{
    static const gn_operator_ops ops = {"Function Scan", unnest_next, unnest_close};
    unnest_source *s = gn_arena_calloc(x->arena, 1, sizeof *s);
    if (s)
        s->arrays = gn_arena_calloc(x->arena, path->n_types, sizeof *s->arrays);
    if (!s || !s->arrays)
        return gn_error_oom(err, x->account);
    s->op = (gn_operator){
        .ops = &ops, .n_columns = path->n_types, .types = path->types, .eval = &x->eval, .timed = x->timed};
    s->x = x;
    s->n_arrays = path->n_types - path->ordinality;
    s->path = path;
    *out = &s->op;
    return gn_batch_init(&s->batch, path->types, path->n_types, x->arena, err);
}
