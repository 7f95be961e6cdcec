/* Changes of tables: a draft of a descriptor, altered and then put into the transaction. */
#ifndef GN_COORD_DDL_PRIVATE_H
#define GN_COORD_DDL_PRIVATE_H

#include "coord/session_private.h"

typedef struct gn_draft {
    gn_session *s;
    gn_arena *arena;
    gn_error *err;
    gn_table_desc desc; /* arrays are the arena's */
    uint32_t cap_columns, cap_indexes, cap_checks;
} gn_draft;

/* from NULL: an empty table of a new id. The arena is made here; close frees it. */
gn_code gn_draft_init(gn_draft *d, gn_session *s, const gn_table_desc *from, gn_error *err);
void gn_draft_close(gn_draft *d);
/* Raises the version and hands the draft to the transaction. */
gn_code gn_draft_put(gn_draft *d);

/* Room for one more, zeroed, at the end. */
gn_code gn_draft_add_column(gn_draft *d, gn_column_desc **out);
gn_code gn_draft_add_index(gn_draft *d, gn_index_desc **out);
gn_code gn_draft_add_check(gn_draft *d, gn_check_desc **out);
void gn_draft_drop_index(gn_draft *d, uint32_t i);
void gn_draft_drop_check(gn_draft *d, uint32_t i);

/* ---- ddl_rows.c ---- */

typedef struct gn_row_reader {
    gn_draft *d;
    const gn_table_desc *table;
    gn_dscan *scan;
    gn_batch batch;
    gn_arena *bytes;
    gn_bytes *keys;
    gn_value *row; /* by ordinal; NULL for what SQL does not see */
    uint32_t *ordinals;
    uint32_t n, at;
    gn_scan_spec spec;
} gn_row_reader;

/* Calls fn for every row that the transaction sees, until it fails. */
gn_code gn_ddl_each_row(gn_draft *d, gn_dtxn *txn, const gn_table_desc *table,
                        gn_code (*fn)(void *ctx, gn_row_reader *r, gn_bytes key), void *ctx);

/* ---- ddl_computed.c ---- */

/* The id of a computed column for an expression that an index is over, or for a partial index's condition (predicate):
 * one that is there, or a new one. GN_OBJECT_DEFINITION if it is not immutable. */
gn_code gn_ddl_computed_column(gn_draft *d, const gn_ast_expr *ast, bool predicate, uint32_t *column_id);
/* Computed columns that no index uses go. */
void gn_draft_drop_computed(gn_draft *d);
/* Can what the draft's index needs be computed of every row there is? now: the table before. */
gn_code gn_ddl_check_computed(gn_draft *d, const gn_table_desc *now, const gn_index_desc *index);

/* ---- all ---- */

/* The table that DDL names. GN_NO_TABLE as `table "x" does not exist` or, for ALTER, `relation ...`. */
gn_code gn_ddl_table(gn_session *s, const gn_ast_name *name, bool missing_ok, const gn_table_desc **out, gn_error *err);
gn_code gn_ddl_check_schema(const gn_ast_name *name, gn_error *err);
/* Tables and indexes share one space of names. */
bool gn_ddl_name_taken(gn_session *s, const gn_draft *d, const char *name);
/* PostgreSQL's makeObjectName and ChooseRelationName: "t_a_key", cut to 63 bytes, with a number if taken. */
void gn_ddl_choose_name(gn_session *s, const gn_draft *d, const char *table, const char *columns, const char *label,
                        bool relation, char out[64]);
/* "a_b" of an index's columns. */
void gn_ddl_columns_name(const gn_draft *d, const gn_index_desc *index, char out[64]);
void gn_ddl_copy_name(char out[64], const char *name);

/* Column and table constraints; used by CREATE TABLE and ALTER TABLE. */
gn_code gn_ddl_define_column(gn_draft *d, const gn_ast_column_def *def, gn_column_desc *c);
gn_code gn_ddl_add_constraint(gn_draft *d, const gn_ast_constraint *constraint);
/* May columns of this type be part of a key? GN_NO_OBJECT, as PostgreSQL words it. */
gn_code gn_ddl_check_key_type(gn_type type, gn_error *err);
/* The value of an option of WITH (...). GN_INVALID_PARAMETER. */
gn_code gn_ddl_integer_option(const gn_ast_option *o, uint32_t least, uint32_t most, uint32_t *out, gn_error *err);
gn_code gn_ddl_new_id(gn_session *s, uint64_t *id, gn_error *err);

#endif
