/* Does the condition of a partial index follow from what a query asks for? The questions are those of PostgreSQL's
 * predtest.c, answered another way: what the query holds to one value is put into the condition, which is then
 * computed; what is left are comparisons of one expression with two constants, and IS NOT NULL. "No" is always a right
 * answer, so nothing tries hard. Conditions are taken for true, so a NULL among them does not occur. */
#include "coord/plan_private.h"

enum { MOST_KNOWN = 32, MOST_VALUES = 100 };

/* Expressions that are held to a value. */
typedef struct known {
    const gn_expr *expr;
    const gn_expr *value;
} known;

typedef struct prover {
    gn_expr *const *conditions;
    uint32_t n;
    known known[MOST_KNOWN + 1];
    uint32_t n_known;
    const gn_format *format;
    gn_arena *arena;
} prover;

static bool is_call(const gn_expr *e, const char *name)
{
    return e->kind == GN_E_CALL && e->n_args == 2 && strcmp(gn_function_name(e->function), name) == 0;
}

static bool is_value(const gn_expr *e)
{
    return e->kind == GN_E_CONST && !e->value.is_null;
}

/* ---- values put in ---- */

/* Types of which equal values are the same for every function: numeric 1.0 and 1.00 are not. */
static bool is_exact(gn_type t)
{
    switch (t.is_array ? GN_T_NONE : (gn_type_id)t.id) {
    case GN_T_BOOL:
    case GN_T_INT2:
    case GN_T_INT4:
    case GN_T_INT8:
    case GN_T_TEXT:
    case GN_T_VARCHAR:
    case GN_T_BYTEA:
    case GN_T_DATE:
    case GN_T_TIMESTAMP:
    case GN_T_TIMESTAMPTZ:
    case GN_T_UUID:
        return true;
    default:
        return false;
    }
}

static void know(prover *p, const gn_expr *expr, const gn_expr *value)
{
    if (p->n_known < MOST_KNOWN && is_value(value) && !is_value(expr) && is_exact(expr->type) &&
        gn_type_same(expr->type, value->type))
        p->known[p->n_known++] = (known){expr, value};
}

static const gn_expr *truth(bool v)
{
    static const gn_expr values[2] = {{.kind = GN_E_CONST,
                                       .type = {.id = GN_T_BOOL, .typmod = -1},
                                       .value = {.type = {.id = GN_T_BOOL, .typmod = -1}}},
                                      {.kind = GN_E_CONST,
                                       .type = {.id = GN_T_BOOL, .typmod = -1},
                                       .value = {.type = {.id = GN_T_BOOL, .typmod = -1}, .as.boolean = true}}};
    return &values[v];
}

static void learn(prover *p, const gn_expr *c)
{
    if (is_call(c, "=")) {
        know(p, c->args[0], c->args[1]);
        know(p, c->args[1], c->args[0]);
    } else if (c->kind == GN_E_NOT || c->kind == GN_E_IS_FALSE) {
        know(p, c->args[0], truth(false));
    } else if (c->kind == GN_E_IS_TRUE) {
        know(p, c->args[0], truth(true));
    } else if (c->kind == GN_E_AND) {
        for (uint32_t i = 0; i < c->n_args; i++)
            learn(p, c->args[i]);
    }
    know(p, c, truth(true));
}

/* A copy in which what is known stands for itself. NULL: no memory. */
static gn_expr *put_in(const prover *p, const gn_expr *e)
{
    for (uint32_t i = 0; i < p->n_known; i++)
        if (gn_expr_equal(p->known[i].expr, e))
            return gn_arena_memdup(p->arena, p->known[i].value, sizeof *e);
    gn_expr *copy = gn_arena_memdup(p->arena, e, sizeof *e);
    gn_expr **args = gn_arena_calloc(p->arena, e->n_args + 1, sizeof *args);
    if (!copy || !args)
        return NULL;
    copy->args = args;
    for (uint32_t i = 0; i < e->n_args; i++)
        if (!(args[i] = put_in(p, e->args[i])))
            return NULL;
    return copy;
}

static bool becomes_true(const prover *p, const gn_expr *e)
{
    gn_expr *copy = put_in(p, e);
    if (!copy)
        return false;
    copy = gn_expr_fold(copy, p->format, p->arena);
    return is_value(copy) && gn_type_is(copy->type, GN_T_BOOL) && copy->value.as.boolean;
}

/* x IN (a, b): if it follows of each. */
static bool becomes_true_for_each(prover *p, const gn_expr *in, const gn_expr *e)
{
    if (in->kind != GN_E_IN || in->n_args < 2 || in->n_args > MOST_VALUES)
        return false;
    uint32_t before = p->n_known;
    bool all = true;
    for (uint32_t i = 1; i < in->n_args && all; i++) {
        know(p, in->args[0], in->args[i]);
        all = p->n_known > before && becomes_true(p, e);
        p->n_known = before;
    }
    return all;
}

/* ---- comparisons with two constants ---- */

enum comparison { NONE, EQ, NE, LT, LE, GT, GE };

static enum comparison comparison_of(const gn_expr *e, const gn_expr **x, const gn_expr **value)
{
    static const struct {
        const char *name;
        enum comparison kind, turned;
    } names[] = {{"=", EQ, EQ}, {"<>", NE, NE}, {"<", LT, GT}, {"<=", LE, GE}, {">", GT, LT}, {">=", GE, LE}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!is_call(e, names[i].name))
            continue;
        bool turned = is_value(e->args[0]);
        *x = e->args[turned];
        *value = e->args[!turned];
        return is_value(*value) ? (turned ? names[i].turned : names[i].kind) : NONE;
    }
    return NONE;
}

static bool holds(const prover *p, const char *op, const gn_expr *a, const gn_expr *b)
{
    gn_type types[2] = {a->type, b->type}, wanted[2], result;
    gn_error ignored = {0};
    gn_value v;
    gn_expr *args[2] = {(gn_expr *)a, (gn_expr *)b};
    gn_expr e = {.kind = GN_E_CALL, .n_args = 2, .args = args};
    const gn_eval eval = {.format = p->format, .arena = p->arena, .err = &ignored};
    if (gn_function_resolve(gn_bytes_str(op), true, types, 2, &e.function, wanted, &result, &ignored) != GN_OK ||
        !gn_type_same(wanted[0], a->type) || !gn_type_same(wanted[1], b->type))
        return false;
    e.type = result;
    return gn_expr_eval_one(&e, &eval, &v) == GN_OK && !v.is_null && v.as.boolean;
}

/* x `c` a, so x `q` b? */
static bool bounds(const prover *p, enum comparison c, const gn_expr *a, enum comparison q, const gn_expr *b)
{
    static const char *const names[] = {[EQ] = "=", [NE] = "<>", [LT] = "<", [LE] = "<=", [GT] = ">", [GE] = ">="};
    bool below = c == LT || c == LE, strict = c == LT || c == GT;
    if (c == EQ)
        return holds(p, names[q], a, b);
    if (c == NE)
        return q == NE && holds(p, "=", a, b);
    if (q != NE && q != (below ? LT : GT) && q != (below ? LE : GE))
        return false;
    bool touches = strict || q == LE || q == GE; /* at a = b as well */
    return holds(p, below ? (touches ? "<=" : "<") : (touches ? ">=" : ">"), a, b);
}

/* ---- IS NOT NULL ---- */

static bool is_operator(const gn_expr *e)
{
    char first = e->function ? gn_function_name(e->function)[0] : 'a';
    return !((first >= 'a' && first <= 'z') || first == '_');
}

/* Is c NULL where x is? Operators of a boolean result and casts are strict. What is asked whether it IS something never
 * is NULL, nor is ANY of no items. */
static bool is_strict(const gn_expr *c, const gn_expr *x)
{
    if (gn_expr_equal(c, x))
        return true;
    switch (c->kind) {
    case GN_E_NOT:
    case GN_E_CAST:
    case GN_E_IN:
        return is_strict(c->args[0], x);
    case GN_E_CALL:
        for (uint32_t i = 0; i < c->n_args && is_operator(c) && gn_type_is(c->type, GN_T_BOOL); i++)
            if (is_strict(c->args[i], x))
                return true;
        return false;
    default:
        return false;
    }
}

/* Is c never true where x is NULL? */
static bool needs(const gn_expr *c, const gn_expr *x)
{
    switch (c->kind) {
    case GN_E_IS_TRUE:
        return needs(c->args[0], x);
    case GN_E_IS_FALSE:
    case GN_E_IS_NOT_NULL:
        return is_strict(c->args[0], x);
    case GN_E_ANY:
        return is_operator(c) && is_strict(c->args[0], x);
    default:
        return is_strict(c, x);
    }
}

/* ---- the whole ---- */

static bool follows_from(prover *p, const gn_expr *c, const gn_expr *q)
{
    const gn_expr *x, *y, *a, *b;
    uint32_t before = p->n_known;
    learn(p, c);
    bool is_so = becomes_true(p, q);
    p->n_known = before;
    if (is_so || becomes_true_for_each(p, c, q))
        return true;
    if (c->kind == GN_E_OR || c->kind == GN_E_AND) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < c->n_args; i++)
            n += follows_from(p, c->args[i], q);
        return c->kind == GN_E_OR ? n == c->n_args : n > 0;
    }
    if (q->kind == GN_E_IS_NOT_NULL)
        return needs(c, q->args[0]);
    enum comparison from = comparison_of(c, &x, &a), to = comparison_of(q, &y, &b);
    return from != NONE && to != NONE && gn_expr_equal(x, y) && bounds(p, from, a, to, b);
}

static bool follows(prover *p, const gn_expr *q)
{
    if (becomes_true(p, q))
        return true;
    if (q->kind == GN_E_AND || q->kind == GN_E_OR) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < q->n_args; i++)
            n += follows(p, q->args[i]);
        return q->kind == GN_E_AND ? n == q->n_args : n > 0;
    }
    for (uint32_t i = 0; i < p->n; i++)
        if (follows_from(p, p->conditions[i], q))
            return true;
    return false;
}

bool gn_conditions_imply(gn_expr *const *conditions, uint32_t n, const gn_expr *predicate, const gn_format *format,
                         gn_arena *arena)
{
    prover p = {.conditions = conditions, .n = n, .format = format, .arena = arena};
    for (uint32_t i = 0; i < n; i++)
        learn(&p, conditions[i]);
    return follows(&p, predicate);
}
