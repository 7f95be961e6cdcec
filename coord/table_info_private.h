/* What a table's descriptor says in SQL text, bound once for each of its versions: defaults and checks. */
#ifndef GN_COORD_TABLE_INFO_PRIVATE_H
#define GN_COORD_TABLE_INFO_PRIVATE_H

#include "coord/plan_private.h"

struct gn_table_info {
    gn_table_info *next; /* of the session's cache */
    uint32_t refs;
    uint32_t plan_epoch;
    gn_arena *arena;
    const gn_table_desc *table; /* retained */
    gn_expr **defaults;         /* one per column, of its type; NULL: none */
    gn_expr **checks;           /* over parameters: the row's values, one per column */
    uint32_t *check_order;      /* by name, as PostgreSQL checks them */
    uint32_t n_checks;
};

/* Infos of one session. Bounded: the oldest that no plan holds goes first. */
typedef struct gn_table_infos {
    gn_table_info *first;
    uint32_t n;
} gn_table_infos;

/* A reference that gn_table_info_release gives back. */
gn_code gn_table_info_get(gn_table_infos *infos, const gn_plan_context *context, const gn_table_desc *table,
                          gn_table_info **out, gn_error *err);
void gn_table_info_release(gn_table_info *info); /* NULL is fine */
void gn_table_infos_clear(gn_table_infos *infos);

/* DEFAULT and CHECK texts as CREATE and ALTER TABLE test them. columns: of a CHECK. */
gn_code gn_bind_stored_default(gn_arena *arena, const gn_format *format, const gn_ast_expr *ast, gn_bytes sql,
                               const char *column, gn_type type, gn_expr **out, gn_error *err);
gn_code gn_bind_stored_check(gn_arena *arena, const gn_format *format, const gn_ast_expr *ast, gn_bytes sql,
                             const gn_table_desc *table, gn_expr **out, gn_error *err);

#endif
