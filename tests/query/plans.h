/* Short ways to build expressions and operators, and to show what comes out of them. Everything lives in one arena. */
#ifndef GN_TESTS_QUERY_PLANS_H
#define GN_TESTS_QUERY_PLANS_H

#include "query/operator.h"
#include "tests/query/values.h"

static gn_arena *plan_arena;
static gn_account plan_account;
static gn_error plan_error;
static gn_eval plan_eval;

static inline int plan_setup(void **state)
{
    (void)state;
    plan_arena = gn_arena_create(NULL);
    gn_account_init(&plan_account, NULL, "test", 64u << 20);
    plan_error = (gn_error){.code = GN_OK};
    plan_eval = (gn_eval){.format = &default_format, .arena = plan_arena, .err = &plan_error};
    return 0;
}

static inline int plan_teardown(void **state)
{
    (void)state;
    gn_account_close(&plan_account);
    gn_arena_destroy(plan_arena);
    return 0;
}

static inline gn_expr *node(gn_expr_kind kind, gn_type type, uint32_t n_args, ...)
{
    gn_expr *e = gn_arena_calloc(plan_arena, 1, sizeof *e);
    e->kind = kind;
    e->type = type;
    e->n_args = n_args;
    e->args = gn_arena_calloc(plan_arena, n_args + 1, sizeof *e->args);
    va_list args;
    va_start(args, n_args);
    for (uint32_t i = 0; i < n_args; i++)
        e->args[i] = va_arg(args, gn_expr *);
    va_end(args);
    return e;
}

static inline gn_type type_named(const char *name)
{
    gn_type type;
    size_t len = strlen(name);
    bool array = len > 2 && strcmp(name + len - 2, "[]") == 0;
    if (strcmp(name, "unknown") == 0)
        return gn_type_of(GN_T_UNKNOWN);
    if (!gn_type_from_name(gn_bytes_of(name, array ? len - 2 : len), &type))
        fail_msg("no type %s", name);
    type.is_array = array;
    return type;
}

/* A constant from its text; NULL text: NULL. */
static inline gn_expr *constant(const char *type_name, const char *text)
{
    gn_type type = type_named(type_name);
    gn_expr *e = node(GN_E_CONST, type, 0);
    if (!text)
        e->value = gn_value_null(type);
    else if (gn_type_is(type, GN_T_UNKNOWN))
        e->value = (gn_value){.type = type, .as.bytes = gn_bytes_str(text)};
    else
        e->value = parsed(plan_arena, type, text);
    return e;
}

static inline gn_expr *column(const char *type_name, uint32_t ordinal)
{
    gn_expr *e = node(GN_E_COLUMN, type_named(type_name), 0);
    e->column = ordinal;
    return e;
}

/* What a binder does: a literal is read as the wanted type, anything else is cast. NULL and plan_error on failure. */
static inline gn_expr *cast_to(gn_expr *e, gn_type type)
{
    if (gn_type_same(e->type, type))
        return e;
    if (e->kind == GN_E_CONST && gn_type_is(e->type, GN_T_UNKNOWN)) {
        gn_expr *c = node(GN_E_CONST, type, 0);
        c->value = gn_value_null(type);
        if (!e->value.is_null &&
            gn_value_parse(e->value.as.bytes, type, &default_format, plan_arena, &c->value, &plan_error))
            return NULL;
        return c;
    }
    return node(GN_E_CAST, type, 1, e);
}

static inline gn_expr *call_args(const char *name, bool is_operator, gn_expr **args, uint32_t n)
{
    gn_type types[100] = {0}, wanted[100], result;
    const gn_function *f;
    for (uint32_t i = 0; i < n; i++)
        types[i] = args[i]->type;
    if (gn_function_resolve(gn_bytes_str(name), is_operator, types, n, &f, wanted, &result, &plan_error))
        return NULL;
    gn_expr *e = node(GN_E_CALL, result, 0);
    e->function = f;
    e->n_args = n;
    e->args = gn_arena_calloc(plan_arena, n + 1, sizeof *e->args);
    for (uint32_t i = 0; i < n; i++) {
        e->args[i] = cast_to(args[i], wanted[i]);
        if (!e->args[i])
            return NULL;
    }
    return e;
}

static inline gn_expr *call1(const char *name, gn_expr *a)
{
    return call_args(name, strchr("-+~@|", name[0]) != NULL, &a, 1);
}

static inline gn_expr *call2(const char *name, gn_expr *a, gn_expr *b)
{
    gn_expr *args[] = {a, b};
    return call_args(name, strpbrk(name, "+-*/<>=~!@#%^&|?") != NULL, args, 2);
}

static inline const char *shown(const gn_value *v)
{
    return v->is_null ? "NULL" : printed(plan_arena, v, NULL);
}

/* The value as text, or "SQLSTATE message". */
static inline const char *evaluated(gn_expr *e)
{
    gn_value v;
    if (!e || gn_expr_eval_one(e, &plan_eval, &v)) {
        const char *s = gn_arena_printf(plan_arena, "%s %s", gn_code_sqlstate(plan_error.code), plan_error.message);
        plan_error = (gn_error){.code = GN_OK};
        return s;
    }
    return shown(&v);
}

/* A table for tests: each row a string of fields separated by '|', an empty one NULL. */
static inline gn_operator *table(uint32_t n_columns, const char *const *type_names, uint32_t n_rows,
                                 const char *const *texts)
{
    gn_expr ***rows = gn_arena_calloc(plan_arena, n_rows + 1, sizeof *rows);
    gn_type *types = gn_arena_calloc(plan_arena, n_columns + 1, sizeof *types);
    for (uint32_t c = 0; c < n_columns; c++)
        types[c] = type_named(type_names[c]);
    for (uint32_t r = 0; r < n_rows; r++) {
        rows[r] = gn_arena_calloc(plan_arena, n_columns + 1, sizeof **rows);
        const char *at = texts[r];
        for (uint32_t c = 0; c < n_columns; c++) {
            size_t len = strcspn(at, "|");
            rows[r][c] = constant(type_names[c], len ? gn_arena_strndup(plan_arena, at, len) : NULL);
            at += len + (at[len] == '|');
        }
    }
    return gn_op_values(&plan_eval, &plan_account, rows, n_rows, types, n_columns);
}

/* All rows, fields by '|', rows by newline; or "SQLSTATE message". Closes the operator. */
static inline const char *drained(gn_operator *op)
{
    gn_buf out;
    gn_buf_init(&out, NULL, 1 << 26);
    gn_code code;
    for (;;) {
        gn_batch *batch;
        code = gn_operator_next(op, &batch, &plan_error);
        if (code || !batch || batch->n_rows == 0)
            break;
        for (uint32_t r = 0; r < batch->n_rows; r++) {
            for (uint32_t c = 0; c < batch->n_columns; c++) {
                gn_value v = gn_column_get(&batch->columns[c], r);
                gn_buf_append_str(&out, c ? "|" : "");
                gn_buf_append_str(&out, v.is_null ? "" : printed(plan_arena, &v, NULL));
            }
            gn_buf_append_str(&out, "\n");
        }
    }
    gn_operator_close(op);
    const char *s = code ? gn_arena_printf(plan_arena, "%s %s", gn_code_sqlstate(code), plan_error.message)
                         : gn_arena_strndup(plan_arena, (const char *)out.data, out.len);
    gn_buf_close(&out);
    return s;
}

#endif
