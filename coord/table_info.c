/* See table_info_private.h. Stored texts are bound without positions: those would point into a text that the user does
 * not see. When DDL binds the text that the user has just written, it passes the tree itself, with positions. */
#include "coord/parser.h"
#include "coord/table_info_private.h"

#include <stdlib.h>

enum { MAX_INFOS = 64 };

static void binder_for(gn_binder *b, gn_arena *arena, const gn_format *format, bool stored, gn_clause clause,
                       gn_error *err)
{
    *b = (gn_binder){.arena = arena, .format = format, .err = err, .stored = stored, .clause = clause};
}

gn_code gn_bind_stored_default(gn_arena *arena, const gn_format *format, const gn_ast_expr *ast, gn_bytes sql,
                               const char *column, gn_type type, gn_expr **out, gn_error *err)
{
    gn_binder b;
    gn_ast_expr *parsed = (gn_ast_expr *)ast;
    gn_expr *e;
    binder_for(&b, arena, format, ast == NULL, GN_IN_DEFAULT, err);
    gn_code code = ast ? GN_OK : gn_parse_expr(arena, sql, &parsed, err);
    if (code == GN_OK)
        code = gn_bind_expr(&b, parsed, &e);
    if (code != GN_OK)
        return code;
    if (!gn_can_coerce(e, type, GN_CAST_ASSIGNMENT)) {
        gn_error_set(err, GN_TYPE_MISMATCH, "column \"%s\" is of type %s but default expression is of type %s", column,
                     gn_type_text(type), gn_type_text(e->type));
        gn_error_hint(err, "You will need to rewrite or cast the expression.");
        return GN_TYPE_MISMATCH;
    }
    code = gn_coerce(&b, e, type, GN_CAST_ASSIGNMENT, &e);
    if (code == GN_OK)
        *out = gn_expr_fold(e, format, arena);
    return code;
}

gn_code gn_bind_stored_check(gn_arena *arena, const gn_format *format, const gn_ast_expr *ast, gn_bytes sql,
                             const gn_table_desc *table, gn_expr **out, gn_error *err)
{
    gn_binder b;
    gn_ast_expr *parsed = (gn_ast_expr *)ast;
    binder_for(&b, arena, format, ast == NULL, GN_IN_CHECK, err);
    gn_bind_relation(&b.relations[0], table, NULL);
    b.relations[0].as_params = true;
    b.n_relations = 1;
    gn_code code = ast ? GN_OK : gn_parse_expr(arena, sql, &parsed, err);
    if (code == GN_OK)
        code = gn_bind_boolean(&b, parsed, "CHECK", out);
    if (code == GN_OK)
        *out = gn_expr_fold(*out, format, arena);
    return code;
}

static gn_code bind_info(gn_table_info *info, const gn_format *format, gn_error *err)
{
    const gn_table_desc *t = info->table;
    info->defaults = gn_arena_calloc(info->arena, t->n_columns + 1, sizeof *info->defaults);
    info->checks = gn_arena_calloc(info->arena, t->n_checks + 1, sizeof *info->checks);
    info->check_order = gn_arena_calloc(info->arena, t->n_checks + 1, sizeof *info->check_order);
    if (!info->defaults || !info->checks || !info->check_order)
        return gn_error_oom(err, gn_arena_account(info->arena));
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < t->n_columns && code == GN_OK; i++) {
        const gn_column_desc *c = &t->columns[i];
        if (!c->dropped && c->default_sql)
            code = gn_bind_stored_default(info->arena, format, NULL, gn_bytes_str(c->default_sql), c->name, c->type,
                                          &info->defaults[i], err);
    }
    for (uint32_t i = 0; i < t->n_checks && code == GN_OK; i++)
        code =
            gn_bind_stored_check(info->arena, format, NULL, gn_bytes_str(t->checks[i].sql), t, &info->checks[i], err);
    info->n_checks = t->n_checks;
    for (uint32_t i = 0; i < t->n_checks; i++) {
        uint32_t at = i;
        for (; at > 0 && strcmp(t->checks[info->check_order[at - 1]].name, t->checks[i].name) > 0; at--)
            info->check_order[at] = info->check_order[at - 1];
        info->check_order[at] = i;
    }
    return code;
}

void gn_table_info_release(gn_table_info *info)
{
    if (!info || --info->refs > 0)
        return;
    gn_table_desc_release(info->table);
    gn_arena_destroy(info->arena);
    free(info);
}

static void drop_oldest(gn_table_infos *infos)
{
    gn_table_info **last = &infos->first;
    while ((*last)->next)
        last = &(*last)->next;
    gn_table_info *oldest = *last;
    *last = NULL;
    infos->n--;
    gn_table_info_release(oldest);
}

gn_code gn_table_info_get(gn_table_infos *infos, const gn_plan_context *context, const gn_table_desc *table,
                          gn_table_info **out, gn_error *err)
{
    for (gn_table_info *i = infos->first; i; i = i->next) {
        if (i->table == table && i->plan_epoch == context->plan_epoch) {
            i->refs++;
            *out = i;
            return GN_OK;
        }
    }
    gn_table_info *info = gn_xcalloc(1, sizeof *info);
    *info = (gn_table_info){.refs = 1,
                            .plan_epoch = context->plan_epoch,
                            .arena = gn_arena_create(context->account),
                            .table = gn_table_desc_retain(table)};
    gn_code code = bind_info(info, context->format, err);
    if (code != GN_OK) {
        gn_table_info_release(info);
        return code;
    }
    info->refs++;
    info->next = infos->first;
    infos->first = info;
    if (++infos->n > MAX_INFOS)
        drop_oldest(infos);
    *out = info;
    return GN_OK;
}

void gn_table_infos_clear(gn_table_infos *infos)
{
    while (infos->first) {
        gn_table_info *info = infos->first;
        infos->first = info->next;
        gn_table_info_release(info);
    }
    infos->n = 0;
}
