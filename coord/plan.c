/* Plans: made, checked, freed. */
#include "coord/table_info_private.h"

#include <stdlib.h>

static gn_code bind(gn_binder *b, const gn_plan_context *context, const gn_ast_statement *s, gn_plan *plan)
{
    gn_code code;
    switch (s->kind) {
    case GN_S_QUERY:
        plan->kind = GN_PLAN_QUERY;
        code = gn_bind_query(b, context, s->query, &plan->query);
        if (code != GN_OK)
            return code;
        static gn_result_column no_columns[1]; /* rows without columns are rows all the same */
        plan->columns = plan->query->columns ? plan->query->columns : no_columns;
        plan->n_columns = plan->query->n_visible;
        if (plan->query->path.table)
            plan->table = gn_table_desc_retain(plan->query->path.table);
        return GN_OK;
    case GN_S_INSERT:
        return gn_bind_insert(b, context, s->insert, plan);
    case GN_S_UPDATE:
        return gn_bind_update(b, context, s->update, plan);
    case GN_S_DELETE:
        return gn_bind_delete(b, context, s->delete_, plan);
    default:
        return gn_bind_fail(b, s->position, GN_INTERNAL, "this statement has no plan");
    }
}

static gn_code keep_tables(const gn_binder *b, gn_plan *plan)
{
    plan->tables = gn_arena_alloc(plan->arena, (b->n_tables + 1) * sizeof *plan->tables);
    if (!plan->tables)
        return gn_error_oom(b->err, gn_arena_account(plan->arena));
    for (uint32_t i = 0; i < b->n_tables; i++)
        plan->tables[plan->n_tables++] = gn_table_desc_retain(b->tables[i]);
    return GN_OK;
}

gn_code gn_plan_create(const gn_plan_context *context, const gn_ast_statement *statement, const gn_type *types,
                       uint32_t n_types, gn_plan **out, gn_error *err)
{
    gn_binder b;
    gn_arena *arena = gn_arena_create(context->account);
    gn_plan *plan = gn_arena_calloc(arena, 1, sizeof *plan);
    gn_code code = plan ? GN_OK : gn_error_oom(err, context->account);
    if (code != GN_OK) {
        gn_arena_destroy(arena);
        return code;
    }
    plan->arena = arena;
    plan->refs = 1;
    plan->plan_epoch = context->plan_epoch;
    plan->provisional = gn_dtxn_defines(context->txn);
    gn_plan_context here = *context;
    here.by_values = &plan->by_values;
    code = gn_binder_init(&b, arena, context->format, statement->n_params, types, n_types, err);
    if (code == GN_OK)
        code = bind(&b, &here, statement, plan);
    if (code == GN_OK)
        code = gn_binder_finish(&b);
    if (code == GN_OK)
        code = keep_tables(&b, plan);
    if (code != GN_OK) {
        gn_plan_release(plan);
        return code;
    }
    plan->params = b.params;
    plan->n_params = b.n_params;
    plan->n_slots = b.n_slots;
    *out = plan;
    return GN_OK;
}

gn_plan *gn_plan_retain(gn_plan *plan)
{
    plan->refs++;
    return plan;
}

void gn_plan_release(gn_plan *plan)
{
    if (!plan || --plan->refs > 0)
        return;
    for (uint32_t i = 0; i < plan->n_tables; i++)
        gn_table_desc_release(plan->tables[i]);
    gn_table_desc_release(plan->table);
    gn_table_info_release(plan->info);
    gn_arena_destroy(plan->arena);
}

static bool is_still(const gn_plan *plan, gn_dtxn *txn, const gn_table_desc *table)
{
    const gn_table_desc *now = gn_dtxn_table(txn, table->id);
    return now == table || (now && now->version == table->version && !plan->provisional && !gn_dtxn_defines(txn));
}

bool gn_plan_valid(const gn_plan *plan, gn_dtxn *txn, uint32_t plan_epoch)
{
    if (plan->plan_epoch != plan_epoch || (plan->table && !is_still(plan, txn, plan->table)))
        return false;
    for (uint32_t i = 0; i < plan->n_tables; i++)
        if (plan->tables[i] != plan->table && !is_still(plan, txn, plan->tables[i]))
            return false;
    return true;
}
