/* What indexes are over that is not a column: expressions, and the conditions of partial indexes, become computed
 * columns (query/computed.h) of the table, which nobody sees. */
#include "base/limits.h"
#include "coord/ddl_private.h"
#include "query/computed.h"
#include "query/expr_pack.h"

/* ---- binding ---- */

static void forget_positions(gn_expr *e)
{
    e->position = 0;
    for (uint32_t i = 0; i < e->n_args; i++)
        forget_positions(e->args[i]);
}

gn_code gn_bind_computed(const gn_table_desc *table, const gn_ast_expr *ast, bool predicate, const gn_format *format,
                         gn_arena *arena, gn_expr **out, gn_error *err)
{
    gn_binder b;
    gn_expr *e;
    const char *what = predicate ? "predicate" : "expression";
    gn_code code = gn_binder_init(&b, arena, format, 0, NULL, 0, err);
    if (code != GN_OK)
        return code;
    gn_bind_relation(&b.relations[0], table, NULL);
    b.n_relations = 1;
    b.clause = predicate ? GN_IN_INDEX_PREDICATE : GN_IN_INDEX_EXPRESSION;
    code = predicate ? gn_bind_boolean(&b, ast, "WHERE", &e) : gn_bind_known(&b, ast, &e);
    if (code == GN_OK)
        code = gn_binder_finish(&b);
    if (code != GN_OK)
        return code;
    if (gn_expr_volatility(e) != GN_IMMUTABLE)
        return gn_bind_fail(&b, 0, GN_OBJECT_DEFINITION, "functions in index %s must be marked IMMUTABLE", what);
    const gn_eval eval = {.format = format, .arena = arena, .err = err};
    code = gn_expr_settle(e, &eval, out);
    if (code == GN_OK && !*out)
        return gn_bind_fail(&b, gn_expr_start(e), GN_FEATURE, "this expression is not supported in an index");
    if (code == GN_OK)
        forget_positions(*out);
    return code;
}

/* ---- columns of a draft ---- */

int gn_computed_like(const gn_table_desc *t, const gn_expr *e)
{
    for (uint32_t i = 0; i < t->n_columns; i++)
        if (t->columns[i].computed && gn_expr_equal(t->columns[i].computed->expr, e))
            return (int)i;
    return -1;
}

gn_code gn_ddl_computed_column(gn_draft *d, const gn_ast_expr *ast, bool predicate, uint32_t *column_id)
{
    gn_expr *e;
    gn_column_desc *c;
    const char *name = "expr";
    gn_code code = gn_bind_computed(&d->desc, ast, predicate, &d->s->format, d->arena, &e, d->err);
    if (code != GN_OK)
        return code;
    int at = gn_computed_like(&d->desc, e);
    if (at >= 0) {
        *column_id = d->desc.columns[at].id;
        return GN_OK;
    }
    gn_buf packed;
    gn_buf_init(&packed, &d->s->account, GN_MAX_STATEMENT);
    if (!gn_computed_pack(e, &packed))
        code = gn_error_set(d->err, GN_LIMIT, "an expression of an index is too large");
    if (code == GN_OK)
        code = gn_draft_add_column(d, &c);
    if (code == GN_OK) {
        gn_figure_name(ast, &name);
        gn_ddl_copy_name(c->name, name);
        c->type = e->type;
        c->packed = gn_bytes_of(gn_arena_memdup(d->arena, packed.data, packed.len), packed.len);
        code = c->packed.data
                   ? gn_computed_open(&d->desc, (uint32_t)(c - d->desc.columns), d->arena, &c->computed, d->err)
                   : gn_error_oom(d->err, gn_arena_account(d->arena));
        *column_id = c->id;
    }
    gn_buf_close(&packed);
    return code;
}

static bool is_wanted(const gn_table_desc *t, uint32_t column_id)
{
    for (uint32_t i = 0; i < t->n_indexes; i++) {
        const gn_index_desc *x = &t->indexes[i];
        bool wanted = x->predicate == column_id;
        for (uint32_t k = 0; k < x->n_columns; k++)
            wanted |= x->columns[k] == column_id;
        if (wanted)
            return true;
    }
    return false;
}

/* A place in the middle stays, as others go by ordinals; no row has anything there. */
void gn_draft_drop_computed(gn_draft *d)
{
    gn_table_desc *t = &d->desc;
    for (uint32_t i = t->n_columns; i-- > 0;) {
        gn_column_desc *c = &t->columns[i];
        if (!c->computed || is_wanted(t, c->id))
            continue;
        c->computed = NULL;
        c->packed = gn_bytes_of(NULL, 0);
        c->dropped = true;
        if (i + 1 == t->n_columns)
            memset(&t->columns[--t->n_columns], 0, sizeof *c);
    }
}

/* ---- rows that are there ---- */

typedef struct trial {
    const gn_index_desc *index;
    gn_value *values; /* of the draft's columns */
    gn_arena *scratch;
} trial;

static gn_code try_row(void *ctx, gn_row_reader *r, gn_bytes key)
{
    const trial *t = ctx;
    (void)key;
    gn_arena_reset(t->scratch);
    memcpy(t->values, r->row, r->table->n_columns * sizeof *t->values);
    return gn_index_compute(&r->d->desc, t->index, t->values, t->scratch, r->d->err);
}

static bool is_computed(const gn_table_desc *t, const gn_index_desc *index)
{
    bool any = index->predicate != 0;
    for (uint32_t i = 0; i < index->n_columns; i++)
        any |= t->columns[gn_table_column_by_id(t, index->columns[i])].computed != NULL;
    return any;
}

/* Outside of a block the rows are read in a transaction of its own: in this one they would be part of what its commit
 * depends on, and it would fail wherever rows are written all the time. */
gn_code gn_ddl_check_computed(gn_draft *d, const gn_table_desc *now, const gn_index_desc *index)
{
    gn_session *s = d->s;
    gn_dtxn *aside = NULL;
    gn_code code = GN_OK;
    trial t = {.index = index};
    if (!is_computed(&d->desc, index))
        return GN_OK;
    t.values = gn_arena_calloc(d->arena, d->desc.n_columns + now->n_columns, sizeof *t.values);
    if (!t.values)
        return gn_error_oom(d->err, gn_arena_account(d->arena));
    if (s->block == GN_BLOCK_NONE) {
        const gn_dtxn_options options = {.read_only = true, .account = &s->account, .cancel = &s->cancel};
        code = gn_dtxn_begin(s->db->cluster, &options, &aside, d->err);
        const gn_table_desc *same = code == GN_OK ? gn_dtxn_table(aside, d->desc.id) : NULL;
        if (!same || same->version != now->version) { /* it is just being changed: what the draft is of decides */
            gn_dtxn_abort(aside);
            aside = NULL;
        } else {
            now = same;
        }
    }
    t.scratch = gn_arena_create(&s->account);
    if (code == GN_OK)
        code = gn_ddl_each_row(d, aside ? aside : s->txn, now, try_row, &t);
    gn_arena_destroy(t.scratch);
    gn_dtxn_abort(aside);
    return code;
}
