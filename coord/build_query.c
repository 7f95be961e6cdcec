/* Builders of queries and FROM items. Depth is that of the deepest tree inside, counted once more for each query. */
#include "base/limits.h"
#include "coord/parser_private.h"

static void deepen(uint16_t *depth, uint16_t inner)
{
    if (inner > *depth)
        *depth = inner;
}

static void deepen_expr(uint16_t *depth, const gn_ast_expr *e)
{
    if (e)
        deepen(depth, e->depth);
}

static void deepen_exprs(uint16_t *depth, gn_ast_exprs list)
{
    for (uint32_t i = 0; i < list.n; i++)
        deepen(depth, list.items[i]->depth);
}

static gn_ast_query *mk_query(gn_parser *p, gn_ast_query_kind kind, int position)
{
    gn_ast_query *q = gn_mk(p, sizeof *q);
    q->kind = kind;
    q->position = position;
    return q;
}

gn_ast_query *gn_mk_select(gn_parser *p, int position, gn_ast_targets targets, gn_ast_froms from, gn_ast_expr *where,
                           gn_ast_exprs group_by, gn_ast_expr *having)
{
    gn_ast_query *q = mk_query(p, GN_Q_SELECT, position);
    q->targets = targets;
    q->from = from;
    q->where = where;
    q->group_by = group_by;
    q->having = having;
    return q;
}

gn_ast_query *gn_mk_values(gn_parser *p, int position, gn_ast_rows rows)
{
    gn_ast_query *q = mk_query(p, GN_Q_VALUES, position);
    q->rows = rows;
    return q;
}

gn_ast_query *gn_mk_table_query(gn_parser *p, const gn_ast_name *table, int position)
{
    gn_ast_query *q = mk_query(p, GN_Q_SELECT, position);
    GN_LIST_PUSH(p, q->targets, ((gn_ast_target){.expr = gn_mk_star(p, NULL, NULL, position)}));
    GN_LIST_PUSH(p, q->from, gn_mk_from_table(p, table, NULL));
    return q;
}

gn_ast_query *gn_mk_set_operation(gn_parser *p, gn_ast_query_kind kind, bool all, gn_ast_query *left,
                                  gn_ast_query *right, int position)
{
    gn_ast_query *q = mk_query(p, kind, position);
    q->all = all;
    q->left = left;
    q->right = right;
    return q;
}

gn_ast_query *gn_mk_query_seal(gn_parser *p, gn_ast_query *q)
{
    uint16_t depth = 0;
    deepen_exprs(&depth, q->distinct_on);
    for (uint32_t i = 0; i < q->targets.n; i++)
        deepen_expr(&depth, q->targets.items[i].expr);
    for (uint32_t i = 0; i < q->from.n; i++)
        deepen(&depth, q->from.items[i]->depth);
    deepen_expr(&depth, q->where);
    deepen_exprs(&depth, q->group_by);
    deepen_expr(&depth, q->having);
    for (uint32_t i = 0; i < q->rows.n; i++)
        deepen_exprs(&depth, q->rows.items[i]);
    if (q->left)
        deepen(&depth, q->left->depth);
    if (q->right)
        deepen(&depth, q->right->depth);
    q->depth = gn_mk_depth(p, depth, q->position);
    return q;
}

gn_ast_query *gn_mk_query_tail(gn_parser *p, gn_ast_query *q, const gn_query_tail *tail)
{
    bool twice = (tail->order_by.n && q->order_by.n) || (tail->limit && q->limit) || (tail->offset && q->offset);
    if (twice || (q->with.n && q->order_by.n)) {
        /* (SELECT ... LIMIT 1) LIMIT 2: the inner one is a query of its own */
        gn_ast_query *outer = mk_query(p, GN_Q_SELECT, q->position);
        gn_from_alias alias = {.name = "?query?"};
        GN_LIST_PUSH(p, outer->targets, ((gn_ast_target){.expr = gn_mk_star(p, NULL, NULL, q->position)}));
        GN_LIST_PUSH(p, outer->from, gn_mk_from_alias(gn_mk_from_query(p, q), &alias));
        q = gn_mk_query_seal(p, outer);
    }
    uint16_t depth = (uint16_t)(q->depth - 1);
    if (tail->order_by.n)
        q->order_by = tail->order_by;
    if (tail->limit)
        q->limit = tail->limit;
    if (tail->offset)
        q->offset = tail->offset;
    if (tail->locking)
        q->locking = tail->locking;
    for (uint32_t i = 0; i < q->order_by.n; i++)
        deepen_expr(&depth, q->order_by.items[i].expr);
    deepen_expr(&depth, q->limit);
    deepen_expr(&depth, q->offset);
    q->depth = gn_mk_depth(p, depth, q->position);
    return q;
}

gn_ast_query *gn_mk_query_with(gn_parser *p, gn_ast_query *q, const gn_ast_query *with)
{
    if (q->with.n)
        gn_parser_feature(p, with->position, "WITH before a query that has its own WITH is not supported");
    q->with = with->with;
    q->recursive = with->recursive;
    uint16_t depth = (uint16_t)(q->depth - 1);
    deepen(&depth, with->depth);
    q->depth = gn_mk_depth(p, depth, q->position);
    return q;
}

gn_ast_query *gn_mk_with(gn_parser *p, gn_ast_ctes ctes, bool recursive, int position)
{
    gn_ast_query *q = mk_query(p, GN_Q_SELECT, position);
    q->with = ctes;
    q->recursive = recursive;
    for (uint32_t i = 0; i < ctes.n; i++)
        if (ctes.items[i].statement->kind == GN_S_QUERY)
            deepen(&q->depth, ctes.items[i].statement->query->depth);
    return q;
}

gn_ast_cte gn_mk_cte(gn_parser *p, const gn_token *name, gn_ast_names columns, gn_ast_statement *statement)
{
    if (statement->kind != GN_S_QUERY)
        gn_parser_feature(p, statement->position, "INSERT, UPDATE or DELETE in WITH is not supported");
    return (gn_ast_cte){.name = name->text, .columns = columns, .statement = statement, .position = name->position};
}

static gn_ast_from *mk_from(gn_parser *p, gn_ast_from_kind kind, int position, const gn_from_alias *alias)
{
    gn_ast_from *f = gn_mk(p, sizeof *f);
    f->kind = kind;
    f->position = position;
    f->depth = 1;
    return gn_mk_from_alias(f, alias);
}

gn_ast_from *gn_mk_from_table(gn_parser *p, const gn_ast_name *name, const gn_from_alias *alias)
{
    gn_ast_from *f = mk_from(p, GN_FROM_TABLE, name->position, alias);
    f->name = *name;
    return f;
}

gn_ast_from *gn_mk_from_function(gn_parser *p, gn_ast_expr *call, bool ordinality)
{
    gn_ast_from *f = mk_from(p, GN_FROM_FUNCTION, call->position, NULL);
    f->call = call;
    f->ordinality = ordinality;
    f->depth = call->depth;
    return f;
}

gn_ast_from *gn_mk_from_query(gn_parser *p, gn_ast_query *query)
{
    gn_ast_from *f = mk_from(p, GN_FROM_QUERY, query->position, NULL);
    f->query = query;
    f->depth = query->depth;
    return f;
}

void gn_mk_from_nameless(gn_parser *p, const gn_ast_from *from)
{
    if (p->code != GN_OK)
        return;
    gn_parser_fail(p, GN_SYNTAX, from->position, "subquery in FROM must have an alias");
    gn_error_hint(p->err, "For example, FROM (SELECT ...) [AS] foo.");
}

gn_ast_from *gn_mk_from_alias(gn_ast_from *from, const gn_from_alias *alias)
{
    if (alias) {
        from->alias = alias->name;
        from->columns = alias->columns;
    }
    return from;
}

gn_ast_from *gn_mk_join(gn_parser *p, gn_ast_join kind, gn_ast_from *left, gn_ast_from *right, int position)
{
    gn_ast_from *f = mk_from(p, GN_FROM_JOIN, position, NULL);
    f->join = kind;
    f->left = left;
    f->right = right;
    uint16_t depth = left->depth;
    deepen(&depth, right->depth);
    f->depth = gn_mk_depth(p, depth, position);
    return f;
}

void gn_mk_join_on(gn_parser *p, gn_ast_from *join, gn_ast_expr *on)
{
    join->on = on;
    deepen(&join->depth, gn_mk_depth(p, on->depth, on->position));
}
