/* Expressions as SQL text, near PostgreSQL's deparsed form: operators in parentheses, casts as ::type. */
#include "query/expr.h"

typedef struct printer {
    const char *const *names;
    uint32_t n_names;
    gn_buf *out;
} printer;

static void print(const printer *p, const gn_expr *e);

static void put(const printer *p, const char *s)
{
    gn_buf_append_str(p->out, s);
}

static void print_list(const printer *p, const gn_expr *e, uint32_t first, const char *separator)
{
    for (uint32_t i = first; i < e->n_args; i++) {
        if (i > first)
            put(p, separator);
        print(p, e->args[i]);
    }
}

static void print_type(const printer *p, gn_type type)
{
    char name[80];
    put(p, gn_type_format(type, name, sizeof name));
}

static bool bare_constant(gn_type t, gn_bytes text)
{
    if (t.is_array)
        return false;
    bool number = t.id == GN_T_INT4 || t.id == GN_T_NUMERIC;
    return t.id == GN_T_BOOL ||
           (number && text.len && text.data[0] != '-' && text.data[0] != 'N' && text.data[0] != 'I');
}

static void print_constant(const printer *p, const gn_expr *e)
{
    static const gn_format plain = {.extra_float_digits = 1};
    if (e->value.is_null) {
        put(p, "NULL");
        if (!gn_type_is(e->type, GN_T_UNKNOWN)) {
            put(p, "::");
            print_type(p, e->type);
        }
        return;
    }
    gn_buf text;
    gn_buf_init(&text, NULL, p->out->max);
    if (!gn_value_print(&e->value, &plain, &text)) {
        p->out->failed = true;
        gn_buf_close(&text);
        return;
    }
    if (gn_type_is(e->type, GN_T_BOOL)) {
        put(p, e->value.as.boolean ? "true" : "false");
    } else if (bare_constant(e->type, gn_buf_bytes(&text))) {
        gn_buf_append_bytes(p->out, gn_buf_bytes(&text));
    } else {
        put(p, "'");
        for (size_t i = 0; i < text.len; i++) {
            if (text.data[i] == '\'')
                put(p, "'");
            gn_buf_append_u8(p->out, text.data[i]);
        }
        put(p, "'");
        if (!gn_type_is(e->type, GN_T_UNKNOWN)) {
            put(p, "::");
            print_type(p, e->type);
        }
    }
    gn_buf_close(&text);
}

static bool is_symbol(const char *name)
{
    return strchr("+-*/<>=~!@#%^&|`?", name[0]) != NULL;
}

static void print_call(const printer *p, const gn_expr *e)
{
    const char *name = gn_function_name(e->function);
    if (is_symbol(name) && e->n_args == 2) {
        put(p, "(");
        print(p, e->args[0]);
        gn_buf_printf(p->out, " %s ", name);
        print(p, e->args[1]);
        put(p, ")");
    } else if (is_symbol(name) && e->n_args == 1) {
        gn_buf_printf(p->out, "(%s ", name);
        print(p, e->args[0]);
        put(p, ")");
    } else {
        gn_buf_printf(p->out, "%s(", name);
        print_list(p, e, 0, ", ");
        put(p, ")");
    }
}

static void print_case(const printer *p, const gn_expr *e)
{
    put(p, "CASE");
    for (uint32_t i = 0; i + 1 < e->n_args; i += 2) {
        put(p, " WHEN ");
        print(p, e->args[i]);
        put(p, " THEN ");
        print(p, e->args[i + 1]);
    }
    put(p, " ELSE ");
    print(p, e->args[e->n_args - 1]);
    put(p, " END");
}

static void print_wrapped(const printer *p, const gn_expr *e, const char *before, const char *separator,
                          const char *after)
{
    put(p, before);
    print_list(p, e, 0, separator);
    put(p, after);
}

static void print_any_all(const printer *p, const gn_expr *e)
{
    put(p, "(");
    print(p, e->args[0]);
    gn_buf_printf(p->out, " %s %s (", gn_function_name(e->function), e->kind == GN_E_ANY ? "ANY" : "ALL");
    print(p, e->args[1]);
    put(p, "))");
}

static void print_slice(const printer *p, const gn_expr *e)
{
    put(p, "(");
    print(p, e->args[0]);
    put(p, ")");
    for (uint32_t i = 1; i < e->n_args; i++) {
        put(p, i % 2 ? "[" : ":");
        if (!(e->column >> (i - 1) & 1))
            print(p, e->args[i]);
        put(p, i % 2 ? "" : "]");
    }
}

static void print_column(const printer *p, const gn_expr *e)
{
    if (e->column < p->n_names && p->names && p->names[e->column])
        put(p, p->names[e->column]);
    else
        gn_buf_printf(p->out, "column%u", e->column + 1);
}

static void print(const printer *p, const gn_expr *e)
{
    switch (e->kind) {
    case GN_E_CONST:
        print_constant(p, e);
        break;
    case GN_E_COLUMN:
        print_column(p, e);
        break;
    case GN_E_PARAM:
        gn_buf_printf(p->out, "$%u", e->column + 1);
        break;
    case GN_E_CALL:
        print_call(p, e);
        break;
    case GN_E_CAST:
        print_wrapped(p, e, "(", "", ")::");
        print_type(p, e->type);
        break;
    case GN_E_AND:
        print_wrapped(p, e, "(", " AND ", ")");
        break;
    case GN_E_OR:
        print_wrapped(p, e, "(", " OR ", ")");
        break;
    case GN_E_NOT:
        print_wrapped(p, e, "(NOT ", "", ")");
        break;
    case GN_E_IS_NULL:
        print_wrapped(p, e, "(", "", " IS NULL)");
        break;
    case GN_E_IS_NOT_NULL:
        print_wrapped(p, e, "(", "", " IS NOT NULL)");
        break;
    case GN_E_IS_TRUE:
        print_wrapped(p, e, "(", "", " IS TRUE)");
        break;
    case GN_E_IS_FALSE:
        print_wrapped(p, e, "(", "", " IS FALSE)");
        break;
    case GN_E_IS_DISTINCT:
        print_wrapped(p, e, "(", " IS DISTINCT FROM ", ")");
        break;
    case GN_E_CASE:
        print_case(p, e);
        break;
    case GN_E_COALESCE:
        print_wrapped(p, e, "COALESCE(", ", ", ")");
        break;
    case GN_E_NULLIF:
        print_wrapped(p, e, "NULLIF(", ", ", ")");
        break;
    case GN_E_IN:
        put(p, "(");
        print(p, e->args[0]);
        put(p, " IN (");
        print_list(p, e, 1, ", ");
        put(p, "))");
        break;
    case GN_E_ANY:
    case GN_E_ALL:
        print_any_all(p, e);
        break;
    case GN_E_ARRAY:
        print_wrapped(p, e, "ARRAY[", ", ", "]");
        break;
    case GN_E_SUBSCRIPT:
        put(p, "(");
        print(p, e->args[0]);
        put(p, ")[");
        print_list(p, e, 1, "][");
        put(p, "]");
        break;
    case GN_E_SLICE:
        print_slice(p, e);
        break;
    case GN_E_GREATEST:
        print_wrapped(p, e, "GREATEST(", ", ", ")");
        break;
    case GN_E_LEAST:
        print_wrapped(p, e, "LEAST(", ", ", ")");
        break;
    }
}

bool gn_expr_print(const gn_expr *expr, const char *const *names, uint32_t n_names, gn_buf *out)
{
    printer p = {.names = names, .n_names = n_names, .out = out};
    print(&p, expr);
    return !out->failed;
}
