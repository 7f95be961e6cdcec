/* GROUP BY: expressions above an aggregate are rewritten over its output, which is the group keys, then the aggregates.
 * What is neither a key, nor within an aggregate, nor settled by the primary key among the keys, is PostgreSQL's error
 * 42803. */
#include "coord/plan_private.h"

typedef struct regroup {
    gn_binder *b;
    gn_query *q;
    bool key_is_grouped; /* the whole primary key is among the keys: every column follows from it */
} regroup;

static int find_key(const gn_query *q, const gn_expr *e)
{
    for (uint32_t k = 0; k < q->n_keys; k++)
        if (gn_expr_equal(q->keys[k], e))
            return (int)k;
    return -1;
}

static bool column_is_key(const gn_query *q, uint32_t ordinal)
{
    for (uint32_t k = 0; k < q->n_keys; k++)
        if (q->keys[k]->kind == GN_E_COLUMN && q->keys[k]->column == ordinal)
            return true;
    return false;
}

static bool primary_key_is_grouped(const gn_query *q)
{
    const gn_table_desc *t = q->path.table;
    if (!t || t->n_key == 0)
        return false;
    for (uint32_t i = 0; i < t->n_key; i++)
        if (!column_is_key(q, (uint32_t)gn_table_column_by_id(t, t->key[i])))
            return false;
    return true;
}

static gn_code add_key(regroup *g, gn_expr *e)
{
    gn_query *q = g->q;
    gn_expr **keys = gn_arena_alloc(g->b->arena, (q->n_keys + 1) * sizeof *keys);
    if (!keys)
        return gn_error_oom(g->b->err, gn_arena_account(g->b->arena));
    memcpy(keys, q->keys, q->n_keys * sizeof *keys);
    keys[q->n_keys++] = e;
    q->keys = keys;
    return GN_OK;
}

static gn_code key_ref(regroup *g, const gn_expr *e, uint32_t key, gn_expr **out)
{
    gn_code code = gn_bind_node(g->b, GN_E_COLUMN, e->type, e->position, 0, out);
    if (code == GN_OK)
        (*out)->column = key;
    return code;
}

static gn_code not_grouped(regroup *g, const gn_expr *e)
{
    const gn_relation *r = &g->b->relations[0];
    uint32_t at = e->column & ~(uint32_t)GN_APPENDED;
    for (uint32_t i = 1; i < g->b->n_relations && (e->column & GN_APPENDED); i++)
        if (g->b->relations[i].base <= at)
            r = &g->b->relations[i];
    return gn_bind_fail(g->b, e->position, GN_GROUPING,
                        "column \"%s.%s\" must appear in the GROUP BY clause or be used in an aggregate function",
                        r->name, gn_relation_column(r, at - r->base));
}

static gn_code rewrite(regroup *g, gn_expr *e, gn_expr **out)
{
    int key = find_key(g->q, e);
    if (key >= 0)
        return key_ref(g, e, (uint32_t)key, out);
    if (e->kind == GN_E_COLUMN) {
        *out = e;
        if (e->column & (GN_AGGREGATE_REF | GN_WINDOW_REF))
            return GN_OK;
        if (!g->key_is_grouped || (e->column & GN_APPENDED))
            return not_grouped(g, e);
        gn_code code = add_key(g, e);
        return code == GN_OK ? key_ref(g, e, g->q->n_keys - 1, out) : code;
    }
    if (e->n_args == 0) {
        *out = e;
        return GN_OK;
    }
    gn_code code = gn_bind_node(g->b, e->kind, e->type, e->position, e->n_args, out);
    if (code != GN_OK)
        return code;
    gn_expr **args = (*out)->args;
    **out = *e;
    (*out)->args = args;
    for (uint32_t i = 0; i < e->n_args && code == GN_OK; i++)
        code = rewrite(g, e->args[i], &args[i]);
    return code;
}

static gn_code rewrite_in_window(void *ctx, gn_expr *e, gn_expr **out)
{
    return rewrite(ctx, e, out);
}

gn_code gn_bind_grouping(gn_binder *b, gn_query *q)
{
    regroup g = {.b = b, .q = q, .key_is_grouped = primary_key_is_grouped(q)};
    gn_expr **targets = gn_arena_calloc(b->arena, q->n_targets + 1, sizeof *targets);
    q->calls = gn_arena_calloc(b->arena, b->n_aggregates + 1, sizeof *q->calls);
    q->call_names = gn_arena_calloc(b->arena, b->n_aggregates + 1, sizeof *q->call_names);
    if (!targets || !q->calls || !q->call_names)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < q->n_targets && code == GN_OK; i++) {
        code = rewrite(&g, q->targets[i], &targets[i]);
        for (uint32_t k = 0; k < q->n_sort && code == GN_OK; k++)
            if (q->sort[k].expr == q->targets[i])
                q->sort[k].expr = targets[i];
    }
    if (code == GN_OK && q->having)
        code = rewrite(&g, q->having, &q->having);
    for (uint32_t i = 0; i < q->n_windows && code == GN_OK; i++)
        code = gn_window_map(&q->windows[i], rewrite_in_window, &g);
    if (code != GN_OK)
        return code;
    q->targets = targets;
    for (uint32_t i = 0; i < b->n_aggregate_refs; i++)
        b->aggregate_refs[i]->column = q->n_keys + (b->aggregate_refs[i]->column & ~(uint32_t)GN_AGGREGATE_REF);
    for (uint32_t i = 0; i < b->n_aggregates; i++) {
        q->calls[i] = b->aggregates[i].call;
        q->call_names[i] = b->aggregates[i].name;
    }
    q->n_calls = b->n_aggregates;
    return GN_OK;
}
