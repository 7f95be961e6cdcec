/* Builders of names, types, literals and expressions. */
#include "base/limits.h"
#include "coord/parser_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

_Static_assert(sizeof(gn_ast_expr) <= GN_SPARE_NODE && sizeof(gn_ast_query) <= GN_SPARE_NODE &&
                   sizeof(gn_ast_insert) <= GN_SPARE_NODE && sizeof(gn_ast_from) <= GN_SPARE_NODE,
               "the spare node serves for all");

void *gn_mk(gn_parser *p, size_t size)
{
    void *node = gn_arena_alloc(p->arena, size);
    if (!node) {
        gn_parser_fail(p, GN_OUT_OF_MEMORY, 0, "out of memory");
        node = p->spare;
    }
    memset(node, 0, size);
    return node;
}

void *gn_list_room(gn_parser *p, void *items, uint32_t n, uint32_t *capacity, size_t item_size)
{
    if (n < *capacity)
        return items;
    uint32_t wanted = *capacity ? *capacity * 2 : 4;
    void *bigger = gn_arena_alloc(p->arena, wanted * item_size);
    if (!bigger) {
        gn_parser_fail(p, GN_OUT_OF_MEMORY, 0, "out of memory");
        return NULL;
    }
    if (n)
        memcpy(bigger, items, n * item_size);
    *capacity = wanted;
    return bigger;
}

uint16_t gn_mk_depth(gn_parser *p, uint16_t below, int position)
{
    if (below >= GN_MAX_NESTING) {
        gn_parser_fail(p, GN_STATEMENT_TOO_COMPLEX, position, "statement is nested too deeply");
        return GN_MAX_NESTING;
    }
    return (uint16_t)(below + 1);
}

/* ---- names and types ---- */

gn_ast_name gn_mk_name(gn_parser *p, const gn_token *schema, const gn_token *name)
{
    (void)p;
    return (gn_ast_name){.schema = schema ? schema->text : NULL,
                         .name = name->text,
                         .position = schema ? schema->position : name->position};
}

gn_token gn_mk_word(const char *word, const gn_token *at)
{
    gn_token t = *at;
    t.text = word;
    t.len = (uint32_t)strlen(word);
    return t;
}

gn_token gn_mk_dotted(gn_parser *p, const gn_token *a, const gn_token *b)
{
    const char *text = gn_arena_printf(p->arena, "%s.%s", a->text, b->text);
    if (!text)
        gn_parser_fail(p, GN_OUT_OF_MEMORY, 0, "out of memory");
    return gn_mk_word(text ? text : "", a);
}

gn_ast_type *gn_mk_type(gn_parser *p, const gn_token *schema, const gn_token *name, gn_ast_exprs modifiers)
{
    gn_ast_type *type = gn_mk(p, sizeof *type);
    type->name = gn_mk_name(p, schema, name);
    type->position = type->name.position;
    type->n_modifiers = modifiers.n;
    for (uint32_t i = 0; i < modifiers.n && i < 2; i++) {
        const gn_ast_expr *m = modifiers.items[i];
        if (m->kind != GN_A_INTEGER || m->integer < INT32_MIN || m->integer > INT32_MAX)
            gn_parser_fail(p, GN_SYNTAX, m->position, "type modifiers must be simple constants or identifiers");
        else
            type->modifiers[i] = (int32_t)m->integer;
    }
    return type;
}

gn_ast_type *gn_mk_type_named(gn_parser *p, const char *name, const gn_token *at, int modifier)
{
    gn_token word = gn_mk_word(name, at);
    gn_ast_type *type = gn_mk_type(p, NULL, &word, (gn_ast_exprs){0});
    if (modifier >= 0) {
        type->n_modifiers = 1;
        type->modifiers[0] = modifier;
    }
    return type;
}

int gn_mk_int(gn_parser *p, const gn_token *integer)
{
    gn_ast_expr *e = gn_mk_number(p, integer, false);
    if (e->kind == GN_A_INTEGER && e->integer <= INT32_MAX)
        return (int)e->integer;
    gn_parser_fail(p, GN_SYNTAX, integer->position, "syntax error at or near \"%.*s\"",
                   (int)(integer->source_len < 64 ? integer->source_len : 64), p->lexer.sql + integer->position - 1);
    return 0;
}

/* ---- literals ---- */

gn_ast_expr *gn_mk_expr(gn_parser *p, gn_ast_expr_kind kind, int position)
{
    gn_ast_expr *e = gn_mk(p, sizeof *e);
    e->kind = (uint8_t)kind;
    e->depth = 1;
    e->position = position;
    return e;
}

gn_ast_expr *gn_mk_string(gn_parser *p, const gn_token *text)
{
    gn_ast_expr *e = gn_mk_expr(p, GN_A_STRING, text->position);
    e->text = gn_bytes_of(text->text, text->len);
    return e;
}

gn_ast_expr *gn_mk_word_expr(gn_parser *p, const char *word, const gn_token *at)
{
    gn_token t = gn_mk_word(word, at);
    return gn_mk_string(p, &t);
}

/* INTERVAL '5' DAY is INTERVAL '5 day'. A text that names its own units says all there is to say. */
gn_ast_expr *gn_mk_interval_text(gn_parser *p, const gn_token *text, const char *unit)
{
    gn_ast_expr *e = gn_mk_string(p, text);
    bool plain = unit && text->len > 0;
    for (uint32_t i = 0; plain && i < text->len; i++)
        plain = strchr("0123456789.+-", text->text[i]) != NULL && text->text[i];
    if (!plain)
        return e;
    const char *whole = gn_arena_printf(p->arena, "%.*s %s", (int)text->len, text->text, unit);
    if (whole)
        e->text = gn_bytes_str(whole);
    else
        gn_parser_fail(p, GN_OUT_OF_MEMORY, 0, "out of memory");
    return e;
}

gn_ast_expr *gn_mk_integer(gn_parser *p, int64_t value, int position)
{
    gn_ast_expr *e = gn_mk_expr(p, GN_A_INTEGER, position);
    e->integer = value;
    return e;
}

static bool parse_magnitude(const char *digits, uint32_t len, uint64_t *out)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9' || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(digits[i] - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

/* An integer where bigint can hold it, a numeric otherwise. */
static void set_number(gn_parser *p, gn_ast_expr *e, const char *digits, uint32_t len, bool negative)
{
    uint64_t magnitude;
    if (parse_magnitude(digits, len, &magnitude) && magnitude <= (uint64_t)INT64_MAX + negative) {
        e->kind = GN_A_INTEGER;
        e->integer = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
        return;
    }
    e->kind = GN_A_NUMERIC;
    e->text = gn_bytes_of(digits, len);
    if (!negative)
        return;
    char *text = gn_arena_alloc(p->arena, (size_t)len + 1);
    if (!text) {
        gn_parser_fail(p, GN_OUT_OF_MEMORY, 0, "out of memory");
        return;
    }
    text[0] = '-';
    memcpy(text + 1, digits, len);
    e->text = gn_bytes_of(text, (size_t)len + 1);
}

gn_ast_expr *gn_mk_number(gn_parser *p, const gn_token *digits, bool negative)
{
    gn_ast_expr *e = gn_mk_expr(p, GN_A_INTEGER, digits->position);
    set_number(p, e, digits->text, digits->len, negative);
    return e;
}

gn_ast_expr *gn_mk_boolean(gn_parser *p, bool value, int position)
{
    gn_ast_expr *e = gn_mk_expr(p, GN_A_BOOLEAN, position);
    e->boolean = value;
    return e;
}

gn_ast_expr *gn_mk_param(gn_parser *p, const gn_token *param)
{
    gn_ast_expr *e = gn_mk_expr(p, GN_A_PARAM, param->position);
    e->parameter = param->len;
    return e;
}

gn_ast_expr *gn_mk_column(gn_parser *p, const gn_token *schema, const gn_token *table, const gn_token *name)
{
    const gn_token *first = schema ? schema : table ? table : name;
    gn_ast_expr *e = gn_mk_expr(p, GN_A_COLUMN, first->position);
    e->column.schema = schema ? schema->text : NULL;
    e->column.table = table ? table->text : NULL;
    e->column.name = name->text;
    return e;
}

gn_ast_expr *gn_mk_star(gn_parser *p, const gn_token *schema, const gn_token *table, int position)
{
    gn_ast_expr *e = gn_mk_expr(p, GN_A_STAR, position);
    e->column.schema = schema ? schema->text : NULL;
    e->column.table = table ? table->text : NULL;
    return e;
}

/* ---- operators ---- */

static void adopt(gn_parser *p, gn_ast_expr *e, uint16_t child_depth)
{
    uint16_t depth = gn_mk_depth(p, child_depth, e->position);
    if (depth > e->depth)
        e->depth = depth;
}

static void add_arg(gn_parser *p, gn_ast_expr *e, gn_ast_expr *arg)
{
    GN_LIST_PUSH(p, e->args, arg);
    adopt(p, e, arg->depth);
}

/* Exactly these arguments; NULL ones are left out. */
static gn_ast_expr *mk_args(gn_parser *p, gn_ast_expr_kind kind, int position, gn_ast_expr *a, gn_ast_expr *b,
                            gn_ast_expr *c)
{
    gn_ast_expr *e = gn_mk_expr(p, kind, position);
    gn_ast_expr *const all[] = {a, b, c};
    uint32_t n = 0;
    for (uint32_t i = 0; i < 3; i++)
        n += all[i] != NULL;
    e->args.items = gn_arena_alloc(p->arena, n * sizeof *e->args.items);
    if (!e->args.items) {
        gn_parser_fail(p, GN_OUT_OF_MEMORY, 0, "out of memory");
        return e;
    }
    e->args.capacity = n;
    for (uint32_t i = 0; i < 3; i++) {
        if (all[i]) {
            e->args.items[e->args.n++] = all[i];
            adopt(p, e, all[i]->depth);
        }
    }
    return e;
}

gn_ast_expr *gn_mk_op(gn_parser *p, const gn_token *op, gn_ast_expr *left, gn_ast_expr *right)
{
    gn_ast_expr *e = mk_args(p, GN_A_OPERATOR, op->position, left, right, NULL);
    e->op = op->text;
    return e;
}

/* PostgreSQL's doNegate: a minus before a number is part of it, so that -9223372036854775808 is a bigint. */
gn_ast_expr *gn_mk_minus(gn_parser *p, gn_ast_expr *arg, int position)
{
    if (arg->kind == GN_A_INTEGER && arg->integer > 0) {
        arg->integer = -arg->integer;
        arg->position = position;
        return arg;
    }
    if (arg->kind == GN_A_NUMERIC && arg->text.len > 0 && arg->text.data[0] != '-') {
        set_number(p, arg, (const char *)arg->text.data, (uint32_t)arg->text.len, true);
        arg->position = position;
        return arg;
    }
    gn_ast_expr *e = mk_args(p, GN_A_OPERATOR, position, arg, NULL, NULL);
    e->op = "-";
    return e;
}

gn_ast_expr *gn_mk_logic(gn_parser *p, gn_ast_expr_kind kind, gn_ast_expr *left, gn_ast_expr *right, int position)
{
    if (left->kind != kind)
        return mk_args(p, kind, position, left, right, NULL);
    left->parenthesized = false;
    add_arg(p, left, right);
    return left;
}

gn_ast_expr *gn_mk_unary(gn_parser *p, int kind, bool negated, gn_ast_expr *arg, int position)
{
    gn_ast_expr *e = mk_args(p, (gn_ast_expr_kind)kind, position, arg, NULL, NULL);
    e->negated = negated;
    return e;
}

gn_token gn_mk_like_token(const gn_token *like, bool negated)
{
    bool insensitive = like->text[0] == 'i';
    return gn_mk_word(insensitive ? (negated ? "!~~*" : "~~*") : (negated ? "!~~" : "~~"), like);
}

gn_ast_expr *gn_mk_like(gn_parser *p, const gn_token *like, bool negated, gn_ast_expr *left, gn_ast_expr *right,
                        gn_ast_expr *escape)
{
    gn_token op = gn_mk_like_token(like, negated);
    if (escape)
        right = gn_mk_call2(p, "like_escape", like->position, right, escape);
    return gn_mk_op(p, &op, left, right);
}

gn_ast_expr *gn_mk_distinct(gn_parser *p, bool negated, gn_ast_expr *left, gn_ast_expr *right, int position)
{
    gn_ast_expr *e = mk_args(p, GN_A_IS_DISTINCT, position, left, right, NULL);
    e->negated = negated;
    return e;
}

gn_ast_expr *gn_mk_between(gn_parser *p, bool negated, bool symmetric, gn_ast_expr *arg, gn_ast_expr *low,
                           gn_ast_expr *high, int position)
{
    gn_ast_expr *e = mk_args(p, GN_A_BETWEEN, position, arg, low, high);
    e->negated = negated;
    e->symmetric = symmetric;
    return e;
}

gn_ast_expr *gn_mk_in(gn_parser *p, bool negated, gn_ast_expr *arg, gn_ast_exprs list, int position)
{
    gn_ast_expr *e = gn_mk_expr(p, GN_A_IN, position);
    e->negated = negated;
    e->args.items = gn_arena_alloc(p->arena, ((size_t)list.n + 1) * sizeof *e->args.items);
    if (!e->args.items) {
        gn_parser_fail(p, GN_OUT_OF_MEMORY, 0, "out of memory");
        return e;
    }
    e->args.capacity = list.n + 1;
    add_arg(p, e, arg);
    for (uint32_t i = 0; i < list.n; i++)
        add_arg(p, e, list.items[i]);
    return e;
}

gn_ast_expr *gn_mk_sub(gn_parser *p, gn_ast_expr_kind kind, bool negated, const gn_token *op, gn_ast_expr *arg,
                       gn_ast_query *query, int position)
{
    gn_ast_expr *e = gn_mk_expr(p, kind, position);
    e->negated = negated;
    e->sub.query = query;
    e->sub.op = op ? op->text : NULL;
    if (arg)
        add_arg(p, e, arg);
    adopt(p, e, query->depth);
    return e;
}

gn_ast_expr *gn_mk_quantified(gn_parser *p, int kind, const gn_token *op, gn_ast_expr *left, gn_ast_expr *right)
{
    gn_ast_expr *e = gn_mk_op(p, op, left, right);
    e->kind = (uint8_t)kind;
    return e;
}

/* ---- the others ---- */

gn_ast_expr *gn_mk_cast(gn_parser *p, gn_ast_expr *arg, gn_ast_type *type, int position)
{
    gn_ast_expr *e = mk_args(p, GN_A_CAST, position, arg, NULL, NULL);
    e->type = type;
    return e;
}

gn_ast_expr *gn_mk_collate(gn_parser *p, gn_ast_expr *arg, const gn_ast_name *collation, int position)
{
    gn_ast_expr *e = mk_args(p, GN_A_COLLATE, position, arg, NULL, NULL);
    e->collation = gn_mk(p, sizeof *e->collation);
    *e->collation = *collation;
    return e;
}

gn_ast_expr *gn_mk_subscript(gn_parser *p, gn_ast_expr *base, gn_ast_expr *index)
{
    if (base->kind != GN_A_SUBSCRIPT || base->parenthesized)
        return mk_args(p, GN_A_SUBSCRIPT, base->position, base, index, NULL);
    add_arg(p, base, index);
    return base;
}

gn_ast_expr *gn_mk_slice(gn_parser *p, gn_ast_expr *lower, gn_ast_expr *upper, int position)
{
    gn_ast_expr *e = gn_mk_expr(p, GN_A_SLICE, position);
    e->slice.lower = lower;
    e->slice.upper = upper;
    if (lower)
        adopt(p, e, lower->depth);
    if (upper)
        adopt(p, e, upper->depth);
    return e;
}

gn_ast_expr *gn_mk_list(gn_parser *p, gn_ast_expr_kind kind, gn_ast_exprs args, int position)
{
    gn_ast_expr *e = gn_mk_expr(p, kind, position);
    e->args = args;
    for (uint32_t i = 0; i < args.n; i++)
        adopt(p, e, args.items[i]->depth);
    return e;
}

gn_ast_expr *gn_mk_case(gn_parser *p, gn_ast_expr *operand, gn_ast_exprs whens, gn_ast_expr *otherwise, int position)
{
    gn_ast_expr *e = gn_mk_list(p, GN_A_CASE, whens, position);
    e->cases.operand = operand;
    e->cases.otherwise = otherwise;
    if (operand)
        adopt(p, e, operand->depth);
    if (otherwise)
        adopt(p, e, otherwise->depth);
    return e;
}

gn_ast_expr *gn_mk_call(gn_parser *p, const gn_ast_name *name, gn_ast_exprs args)
{
    gn_ast_expr *e = gn_mk_list(p, GN_A_CALL, args, name->position);
    e->call.schema = name->schema;
    e->call.name = name->name;
    return e;
}

gn_ast_expr *gn_mk_call_list(gn_parser *p, const char *name, int position, gn_ast_exprs args)
{
    gn_ast_name n = {.name = name, .position = position};
    return gn_mk_call(p, &n, args);
}

gn_ast_expr *gn_mk_call0(gn_parser *p, const gn_token *word)
{
    return gn_mk_call_list(p, word->text, word->position, (gn_ast_exprs){0});
}

gn_ast_expr *gn_mk_call1(gn_parser *p, const char *name, int position, gn_ast_expr *a)
{
    return gn_mk_call4(p, name, position, a, NULL, NULL, NULL);
}

gn_ast_expr *gn_mk_call2(gn_parser *p, const char *name, int position, gn_ast_expr *a, gn_ast_expr *b)
{
    return gn_mk_call4(p, name, position, a, b, NULL, NULL);
}

gn_ast_expr *gn_mk_call3(gn_parser *p, const char *name, int position, gn_ast_expr *a, gn_ast_expr *b, gn_ast_expr *c)
{
    return gn_mk_call4(p, name, position, a, b, c, NULL);
}

gn_ast_expr *gn_mk_call4(gn_parser *p, const char *name, int position, gn_ast_expr *a, gn_ast_expr *b, gn_ast_expr *c,
                         gn_ast_expr *d)
{
    gn_ast_expr *const all[] = {a, b, c, d};
    gn_ast_exprs args = {0};
    for (size_t i = 0; i < 4 && all[i]; i++)
        GN_LIST_PUSH(p, args, all[i]);
    return gn_mk_call_list(p, name, position, args);
}

gn_ast_call_extra *gn_mk_call_extra(gn_parser *p, gn_ast_expr *call)
{
    if (!call->call.extra)
        call->call.extra = gn_mk(p, sizeof *call->call.extra);
    return call->call.extra;
}

void gn_mk_call_order(gn_parser *p, gn_ast_expr *call, gn_ast_orders order)
{
    if (order.n == 0)
        return;
    gn_mk_call_extra(p, call)->order_by = order;
    for (uint32_t i = 0; i < order.n; i++)
        adopt(p, call, order.items[i].expr->depth);
}

void gn_mk_call_over(gn_parser *p, gn_ast_expr *call, gn_ast_exprs partition, gn_ast_orders order)
{
    gn_ast_call_extra *extra = gn_mk_call_extra(p, call);
    extra->over = true;
    extra->partition = partition;
    extra->window_order = order;
    for (uint32_t i = 0; i < partition.n; i++)
        adopt(p, call, partition.items[i]->depth);
    for (uint32_t i = 0; i < order.n; i++)
        adopt(p, call, order.items[i].expr->depth);
}

void gn_mk_filter(gn_parser *p, gn_ast_expr *call, gn_ast_expr *condition)
{
    gn_mk_call_extra(p, call)->filter = condition;
    adopt(p, call, condition->depth);
}

gn_ast_order gn_mk_order(gn_ast_expr *expr, bool descending, int nulls_first)
{
    return (gn_ast_order){.expr = expr,
                          .descending = descending,
                          .nulls_given = nulls_first >= 0,
                          .nulls_first = nulls_first >= 0 ? nulls_first : descending};
}
