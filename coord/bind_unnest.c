/* Functions in FROM that give rows. Each column is an array that is computed once and taken apart
 * (query/function_set.c); where they differ in length, the shorter go on with NULL, as PostgreSQL's ROWS FROM does. */
#include "coord/plan_private.h"

/* The functions whose columns are not one of the same name. */
static const struct {
    const char *name;
    const char *arrays[2];  /* the functions that compute the columns */
    const char *columns[2]; /* NULL: the alias, or the name of the function */
} known[] = {
    {"string_to_table", {"string_to_array"}, {NULL}},
    {"regexp_split_to_table", {"regexp_split_to_array"}, {NULL}},
    {"json_array_elements", {"json_array_elements"}, {"value"}},
    {"jsonb_array_elements", {"jsonb_array_elements"}, {"value"}},
    {"json_array_elements_text", {"json_array_elements_text"}, {"value"}},
    {"jsonb_array_elements_text", {"jsonb_array_elements_text"}, {"value"}},
    {"json_each", {"json_object_keys", "json_each"}, {"key", "value"}},
    {"jsonb_each", {"jsonb_object_keys", "jsonb_each"}, {"key", "value"}},
    {"json_each_text", {"json_object_keys", "json_each_text"}, {"key", "value"}},
    {"jsonb_each_text", {"jsonb_object_keys", "jsonb_each_text"}, {"key", "value"}},
};

/* -1: it computes its one column itself. */
static int known_at(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* One column: `function` over the arguments from..to of the call, bound anew, since no two trees share a node. */
static gn_code bind_column(gn_binder *b, const gn_ast_expr *call, const char *function, uint32_t from, uint32_t to,
                           gn_expr **out)
{
    gn_expr **args = gn_arena_calloc(b->arena, to - from + 1, sizeof *args);
    if (!args)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t i = from; i < to; i++) {
        gn_code code = gn_bind_expr(b, call->args.items[i], &args[i - from]);
        if (code != GN_OK)
            return code;
    }
    return gn_bind_function(b, function, false, args, to - from, call->position, out);
}

static gn_code not_in_from(gn_binder *b, const gn_ast_expr *call)
{
    return gn_bind_unsupported(
        b, call->position, "this function is not supported in FROM",
        "generate_series(start, stop [, step]) over integers is, and what takes arrays, json and "
        "text apart.");
}

gn_code gn_bind_unnest(gn_binder *b, const gn_ast_from *from, gn_query *q, gn_relation *r)
{
    const gn_ast_expr *call = from->call;
    const char *name = call->call.name;
    bool unnest = strcmp(name, "unnest") == 0;
    int at = known_at(name);
    uint32_t n = unnest && call->args.n > 1 ? call->args.n : at >= 0 && known[at].arrays[1] ? 2 : 1;
    uint32_t n_columns = n + from->ordinality;
    if (n_columns > GN_MAX_COLUMNS)
        return gn_bind_fail(b, call->position, GN_TOO_MANY_COLUMNS, "functions in FROM can return at most %d columns",
                            (int)GN_MAX_COLUMNS);
    gn_type *types = gn_arena_calloc(b->arena, n_columns, sizeof *types);
    const char **names = gn_arena_calloc(b->arena, n_columns, sizeof *names);
    q->path.arrays = gn_arena_calloc(b->arena, n, sizeof *q->path.arrays);
    if (!types || !names || !q->path.arrays)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    b->clause = GN_IN_FROM;
    for (uint32_t i = 0; i < n; i++) {
        bool split = unnest && n > 1;
        gn_code code = bind_column(b, call, at >= 0 ? known[at].arrays[i] : name, split ? i : 0,
                                   split ? i + 1 : call->args.n, &q->path.arrays[i]);
        if (code != GN_OK)
            return code;
        gn_expr *e = q->path.arrays[i];
        if (at < 0 && !gn_function_returns_set(e->function))
            return not_in_from(b, call);
        types[i] = gn_type_of((gn_type_id)e->type.id);
        const char *out = at >= 0 ? known[at].columns[i] : NULL;
        names[i] = out ? out : from->alias && n == 1 ? from->alias : name;
    }
    if (from->ordinality) {
        types[n] = gn_type_of(GN_T_INT8);
        names[n] = "ordinality";
    }
    *r =
        (gn_relation){.name = from->alias ? from->alias : name, .n_columns = n_columns, .names = names, .types = types};
    q->path.kind = GN_PATH_UNNEST;
    q->path.ordinality = from->ordinality;
    q->path.n_arrays = n;
    q->path.function = name;
    return GN_OK;
}
