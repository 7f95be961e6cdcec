/* Rows to be written: defaults, NOT NULL, CHECK, and the details that their errors give. */
#include "coord/exec_private.h"
#include "query/computed.h"

#include <stdio.h>

enum { MAX_DETAIL_VALUE = 64 };

void gn_error_object(gn_error *err, const char *table, const char *column, const char *constraint)
{
    if (!err)
        return;
    const char *parts[4] = {"public", table, column, constraint};
    for (int i = 0; i < 4; i++)
        snprintf(err->object[i], sizeof err->object[i], "%s", parts[i] ? parts[i] : "");
}

/* "Failing row contains (1, null, abc)."; each value is cut as PostgreSQL does. */
void gn_row_detail(const gn_table_desc *table, const gn_value *values, const gn_format *format, gn_error *err)
{
    gn_buf text, one;
    gn_buf_init(&text, NULL, sizeof((gn_error *)0)->detail * 4);
    bool first = true;
    for (uint32_t i = 0; i < table->n_columns; i++) {
        if (!gn_column_is_shown(&table->columns[i]))
            continue;
        gn_buf_append_str(&text, first ? "" : ", ");
        first = false;
        if (values[i].is_null) {
            gn_buf_append_str(&text, "null");
            continue;
        }
        gn_buf_init(&one, NULL, 1u << 20);
        gn_value_print(&values[i], format, &one);
        size_t len = one.len;
        if (len > MAX_DETAIL_VALUE) {
            len = MAX_DETAIL_VALUE;
            while (len > 0 && (one.data[len] & 0xc0) == 0x80)
                len--;
        }
        gn_buf_append(&text, one.data, len);
        gn_buf_append_str(&text, len < one.len ? "..." : "");
        gn_buf_close(&one);
    }
    gn_error_detail(err, "Failing row contains (%.*s).", (int)text.len, text.data ? (const char *)text.data : "");
    gn_buf_close(&text);
}

static gn_code not_null_failed(const gn_table_info *info, uint32_t ordinal, const gn_value *values,
                               const gn_format *format, gn_error *err)
{
    const gn_table_desc *t = info->table;
    gn_error_set(err, GN_NOT_NULL, "null value in column \"%s\" of relation \"%s\" violates not-null constraint",
                 t->columns[ordinal].name, t->name);
    gn_row_detail(t, values, format, err);
    gn_error_object(err, t->name, t->columns[ordinal].name, NULL);
    return GN_NOT_NULL;
}

static gn_code check_failed(const gn_table_info *info, uint32_t check, const gn_value *values, const gn_format *format,
                            gn_error *err)
{
    const gn_table_desc *t = info->table;
    gn_error_set(err, GN_CHECK, "new row for relation \"%s\" violates check constraint \"%s\"", t->name,
                 t->checks[check].name);
    gn_row_detail(t, values, format, err);
    gn_error_object(err, t->name, NULL, t->checks[check].name);
    return GN_CHECK;
}

/* As every replica does when it reads the row; here what fails is the statement's error. */
static gn_code compute_columns(const gn_table_desc *t, gn_value *values, gn_arena *arena, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < t->n_columns; i++)
        if (t->columns[i].computed)
            values[i] = gn_value_null(t->columns[i].type);
    for (uint32_t i = 0; i < t->n_indexes && code == GN_OK; i++)
        code = gn_index_compute(t, &t->indexes[i], values, arena, err);
    return code;
}

gn_code gn_row_finish(const gn_table_info *info, gn_value *values, const gn_eval *eval, gn_error *err)
{
    const gn_table_desc *t = info->table;
    for (uint32_t i = 0; i < t->n_columns; i++)
        if (values[i].is_null && t->columns[i].not_null && !t->columns[i].dropped)
            return not_null_failed(info, i, values, eval->format, err);
    gn_eval row = *eval;
    row.params = values;
    row.n_params = t->n_columns;
    row.err = err;
    for (uint32_t k = 0; k < info->n_checks; k++) {
        uint32_t i = info->check_order[k];
        gn_value result;
        gn_code code = gn_expr_eval_one(info->checks[i], &row, &result);
        if (code != GN_OK)
            return code;
        if (!result.is_null && !result.as.boolean)
            return check_failed(info, i, values, eval->format, err);
    }
    return compute_columns(t, values, eval->arena, err);
}

static gn_code next_identity(gn_cluster *cluster, const gn_table_desc *t, uint32_t ordinal, gn_value *out,
                             gn_error *err)
{
    const gn_column_desc *c = &t->columns[ordinal];
    int64_t next, max = c->type.id == GN_T_INT2 ? INT16_MAX : c->type.id == GN_T_INT4 ? INT32_MAX : INT64_MAX;
    gn_code code = gn_cluster_sequence_next(cluster, c->sequence_id, 1, 1, &next, err);
    if (code != GN_OK)
        return code;
    if (next > max)
        return gn_error_set(err, GN_NUMERIC_RANGE, "nextval: reached maximum value of sequence \"%s_%s_seq\" (%lld)",
                            t->name, c->name, (long long)max);
    *out = (gn_value){.type = c->type};
    if (c->type.id == GN_T_INT2)
        out->as.i16 = (int16_t)next;
    else if (c->type.id == GN_T_INT4)
        out->as.i32 = (int32_t)next;
    else
        out->as.i64 = next;
    return GN_OK;
}

gn_code gn_row_default(gn_cluster *cluster, const gn_table_info *info, uint32_t ordinal, const gn_eval *eval,
                       gn_value *out, gn_error *err)
{
    const gn_column_desc *c = &info->table->columns[ordinal];
    if (c->identity && !c->dropped)
        return next_identity(cluster, info->table, ordinal, out, err);
    const gn_expr *e = info->defaults[ordinal];
    if (!e) {
        *out = gn_value_null(c->type);
        return GN_OK;
    }
    if (e->kind == GN_E_CONST) {
        *out = e->value;
        return GN_OK;
    }
    gn_eval here = *eval;
    here.err = err;
    return gn_expr_eval_one(e, &here, out);
}
