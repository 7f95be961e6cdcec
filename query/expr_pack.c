#include "query/expr_pack.h"

#include "base/limits.h"
#include "query/array.h"
#include "query/function_private.h"

enum { TYPE_ARRAY = 1, VALUE_NULL = 2, FLAGS = 3, NODE_MIN_BYTES = 15, MAX_NAME = 63 };

/* ---- is a node, whose arguments are, such as the evaluator takes for granted? ---- */

static bool is_bool(gn_type t)
{
    return gn_type_is(t, GN_T_BOOL);
}

static bool is_value_type(gn_type t)
{
    return t.id > GN_T_NONE && t.id < GN_T_COUNT && t.id != GN_T_UNKNOWN;
}

static bool all_of(const gn_expr *e, uint32_t from, uint32_t step, gn_type type)
{
    for (uint32_t i = from; i < e->n_args; i += step)
        if (!gn_type_same(e->args[i]->type, type))
            return false;
    return true;
}

static gn_type element_of(gn_type array)
{
    return gn_type_of((gn_type_id)array.id);
}

static bool may_travel(const gn_function *f)
{
    const gn_function_list *session = &gn_functions_session;
    bool about_session = f >= session->functions && f < session->functions + session->n;
    return !about_session && !gn_function_returns_set(f) && gn_function_volatility(f) != GN_VOLATILE;
}

/* The function that its name and these types lead to, if it takes them as they are. */
static const gn_function *find_function(gn_bytes name, const gn_type *args, uint32_t n, gn_type *result)
{
    const gn_function *f;
    gn_type wanted[GN_CALL_ARGS];
    gn_error ignored = {0};
    if (n > GN_CALL_ARGS || gn_function_resolve(name, false, args, n, &f, wanted, result, &ignored) != GN_OK)
        return NULL;
    for (uint32_t i = 0; i < n; i++)
        if (!gn_type_same(wanted[i], args[i]))
            return NULL;
    return may_travel(f) ? f : NULL;
}

/* What a node calls with arguments of these types: for ANY and ALL, elements of the second. */
static const gn_function *function_of(const gn_expr *e, gn_bytes name, gn_type *result)
{
    gn_type types[GN_CALL_ARGS] = {0};
    if (e->n_args > GN_CALL_ARGS)
        return NULL;
    for (uint32_t i = 0; i < e->n_args; i++)
        types[i] = e->args[i]->type;
    if (e->kind != GN_E_CALL) {
        if (e->n_args != 2 || !types[1].is_array)
            return NULL;
        types[1] = element_of(types[1]);
    }
    return find_function(name, types, e->n_args, result);
}

static bool is_sound_slice(const gn_expr *e)
{
    return e->n_args >= 3 && e->n_args % 2 == 1 && e->n_args <= 1 + 2 * GN_ARRAY_DIMENSIONS &&
           e->args[0]->type.is_array && gn_type_same(e->type, e->args[0]->type) &&
           all_of(e, 1, 1, gn_type_of(GN_T_INT4));
}

static bool is_sound_array(const gn_expr *e)
{
    if (!e->type.is_array)
        return false;
    bool nested = e->n_args > 0 && e->args[0]->type.is_array;
    return all_of(e, 0, 1, nested ? e->type : element_of(e->type));
}

static bool is_sound_case(const gn_expr *e)
{
    for (uint32_t i = 0; i + 1 < e->n_args; i += 2)
        if (!is_bool(e->args[i]->type) || !gn_type_same(e->args[i + 1]->type, e->type))
            return false;
    return e->n_args % 2 == 1 && gn_type_same(e->args[e->n_args - 1]->type, e->type);
}

/* The function was found by its arguments; leaves are looked at where they are read. */
static bool is_sound(const gn_expr *e)
{
    uint32_t n = e->n_args;
    switch (e->kind) {
    case GN_E_CONST:
    case GN_E_COLUMN:
        return n == 0;
    case GN_E_CALL:
        return e->function != NULL;
    case GN_E_ANY:
    case GN_E_ALL:
        return e->function != NULL && is_bool(e->type);
    case GN_E_CAST:
        return n == 1 && gn_cast_allowed(e->args[0]->type, e->type, e->cast_context);
    case GN_E_AND:
    case GN_E_OR:
        return n >= 2 && is_bool(e->type) && all_of(e, 0, 1, e->type);
    case GN_E_NOT:
    case GN_E_IS_TRUE:
    case GN_E_IS_FALSE:
        return n == 1 && is_bool(e->type) && is_bool(e->args[0]->type);
    case GN_E_IS_NULL:
    case GN_E_IS_NOT_NULL:
        return n == 1 && is_bool(e->type);
    case GN_E_IS_DISTINCT:
        return n == 2 && is_bool(e->type) && gn_type_same(e->args[0]->type, e->args[1]->type);
    case GN_E_IN:
        return n >= 2 && is_bool(e->type) && all_of(e, 1, 1, e->args[0]->type);
    case GN_E_NULLIF:
        return n == 2 && all_of(e, 0, 1, e->type);
    case GN_E_COALESCE:
    case GN_E_GREATEST:
    case GN_E_LEAST:
        return n >= 1 && all_of(e, 0, 1, e->type);
    case GN_E_CASE:
        return is_sound_case(e);
    case GN_E_ARRAY:
        return is_sound_array(e);
    case GN_E_SUBSCRIPT:
        return n >= 2 && n <= 1 + GN_ARRAY_DIMENSIONS && e->args[0]->type.is_array &&
               gn_type_same(e->type, element_of(e->args[0]->type)) && all_of(e, 1, 1, gn_type_of(GN_T_INT4));
    case GN_E_SLICE:
        return is_sound_slice(e);
    case GN_E_PARAM:
        return false;
    }
    return false;
}

/* ---- settling ---- */

static gn_code settle(const gn_expr *e, const gn_eval *eval, uint32_t depth, gn_expr **out);

static gn_code settle_value(const gn_expr *e, const gn_value *v, const gn_eval *eval, gn_expr *to)
{
    *to = (gn_expr){.kind = GN_E_CONST, .type = e->type, .position = e->position};
    gn_code code = gn_value_copy(v, eval->arena, &to->value, eval->err);
    to->value.type = e->type;
    return code;
}

/* False: it has no value before the rows are there, or computing it fails. */
static bool value_of(const gn_expr *e, const gn_eval *eval, gn_value *out)
{
    gn_error ignored = {0};
    gn_eval quiet = *eval;
    quiet.err = &ignored;
    return gn_expr_is_constant(e) && gn_expr_eval_one(e, &quiet, out) == GN_OK;
}

static gn_code settle_args(const gn_expr *e, const gn_eval *eval, uint32_t depth, gn_expr *to, bool *all)
{
    *all = true;
    to->args = gn_eval_alloc(eval, (e->n_args + 1) * sizeof *to->args);
    if (!to->args)
        return GN_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < e->n_args && *all; i++) {
        gn_code code = settle(e->args[i], eval, depth + 1, &to->args[i]);
        if (code)
            return code;
        *all = to->args[i] != NULL;
    }
    return GN_OK;
}

static gn_code settle(const gn_expr *e, const gn_eval *eval, uint32_t depth, gn_expr **out)
{
    gn_value v;
    *out = NULL;
    if (depth > GN_MAX_NESTING || !is_value_type(e->type))
        return GN_OK;
    gn_expr *to = gn_eval_alloc(eval, sizeof *to);
    if (!to)
        return GN_OUT_OF_MEMORY;
    if (value_of(e, eval, &v)) {
        gn_code code = settle_value(e, &v, eval, to);
        *out = code ? NULL : to;
        return code;
    }
    if (eval->cancel && *eval->cancel)
        return gn_eval_cancelled(eval);
    *to = *e;
    bool all;
    gn_code code = settle_args(e, eval, depth, to, &all);
    if (code || !all)
        return code;
    gn_type result;
    if (e->function) {
        const gn_function *f = function_of(to, gn_bytes_str(gn_function_name(e->function)), &result);
        if (f != e->function || !gn_type_same(result, e->type))
            return GN_OK;
    }
    *out = is_sound(to) ? to : NULL;
    return GN_OK;
}

gn_code gn_expr_settle(const gn_expr *expr, const gn_eval *eval, gn_expr **out)
{
    return settle(expr, eval, 0, out);
}

/* ---- writing ---- */

static void pack_value(const gn_value *v, gn_buf *out)
{
    uint64_t bits = 0;
    gn_physical physical = gn_type_physical(v->type);
    if (v->is_null)
        return;
    if (physical == GN_P_BYTES) {
        gn_buf_append_be32(out, (uint32_t)v->as.bytes.len);
        gn_buf_append_bytes(out, v->as.bytes);
        return;
    }
    memcpy(&bits, &v->as, gn_physical_size(physical));
    gn_buf_append_be64(out, bits);
}

void gn_expr_pack(const gn_expr *e, gn_buf *out)
{
    bool null = e->kind == GN_E_CONST && e->value.is_null;
    gn_buf_append_u8(out, (uint8_t)e->kind);
    gn_buf_append_u8(out, e->type.id);
    gn_buf_append_u8(out, (uint8_t)((e->type.is_array ? TYPE_ARRAY : 0) | (null ? VALUE_NULL : 0)));
    gn_buf_append_be32(out, (uint32_t)e->type.typmod);
    gn_buf_append_be32(out, (uint32_t)e->position);
    switch (e->kind) {
    case GN_E_CONST:
        pack_value(&e->value, out);
        break;
    case GN_E_COLUMN:
    case GN_E_SLICE:
        gn_buf_append_be32(out, e->column);
        break;
    case GN_E_CAST:
        gn_buf_append_u8(out, (uint8_t)e->cast_context);
        break;
    case GN_E_CALL:
    case GN_E_ANY:
    case GN_E_ALL: {
        gn_bytes name = gn_bytes_str(gn_function_name(e->function));
        gn_buf_append_u8(out, (uint8_t)name.len);
        gn_buf_append_bytes(out, name);
        break;
    }
    default:
        break;
    }
    gn_buf_append_be32(out, e->n_args);
    for (uint32_t i = 0; i < e->n_args; i++)
        gn_expr_pack(e->args[i], out);
}

/* ---- reading ---- */

static gn_code corrupt(const gn_expr_source *s)
{
    return gn_error_set(s->err, GN_CORRUPT, "an expression from another node cannot be read");
}

static gn_code no_memory(const gn_expr_source *s)
{
    return gn_error_oom(s->err, gn_arena_account(s->arena));
}

static gn_code unpack_value(gn_expr_source *s, gn_expr *e)
{
    gn_value *v = &e->value;
    gn_physical physical = gn_type_physical(e->type);
    v->type = e->type;
    if (v->is_null)
        return GN_OK;
    if (physical != GN_P_BYTES) {
        uint64_t bits = gn_read_be64(&s->in);
        if (s->in.failed || (physical == GN_P_BOOL && bits > 1))
            return corrupt(s);
        memcpy(&v->as, &bits, gn_physical_size(physical));
        return GN_OK;
    }
    uint32_t len = gn_read_be32(&s->in);
    gn_bytes bytes = gn_read_bytes(&s->in, len);
    if (s->in.failed)
        return corrupt(s);
    const uint8_t *copy = gn_arena_memdup(s->arena, bytes.len ? bytes.data : (const void *)"", bytes.len); /* aligned */
    if (!copy)
        return no_memory(s);
    v->as.bytes = gn_bytes_of(copy, bytes.len);
    return gn_value_bytes_sound(e->type, v->as.bytes) ? GN_OK : corrupt(s);
}

/* What stands before the arguments. */
static gn_code unpack_head(gn_expr_source *s, gn_expr *e, gn_bytes *name)
{
    uint8_t kind = gn_read_u8(&s->in), type = gn_read_u8(&s->in), flags = gn_read_u8(&s->in);
    *e = (gn_expr){.kind = (gn_expr_kind)kind, .type = {.id = type, .is_array = flags & TYPE_ARRAY}};
    e->type.typmod = (int32_t)gn_read_be32(&s->in);
    e->position = (int)(gn_read_be32(&s->in) & INT32_MAX);
    e->value.is_null = flags & VALUE_NULL;
    if (s->in.failed || kind > GN_E_LEAST || flags > FLAGS || !is_value_type(e->type) ||
        (e->value.is_null && kind != GN_E_CONST))
        return corrupt(s);
    switch (e->kind) {
    case GN_E_CONST:
        return unpack_value(s, e);
    case GN_E_COLUMN:
        e->column = gn_read_be32(&s->in);
        if (s->in.failed || e->column >= s->n_columns || !gn_type_same(e->type, s->columns[e->column]))
            return corrupt(s);
        e->type = s->columns[e->column];
        return GN_OK;
    case GN_E_SLICE:
        e->column = gn_read_be32(&s->in);
        return GN_OK;
    case GN_E_CAST:
        e->cast_context = (gn_cast_context)gn_read_u8(&s->in);
        return e->cast_context <= GN_CAST_EXPLICIT ? GN_OK : corrupt(s);
    case GN_E_CALL:
    case GN_E_ANY:
    case GN_E_ALL:
        *name = gn_read_bytes(&s->in, gn_read_u8(&s->in));
        return s->in.failed || name->len > MAX_NAME ? corrupt(s) : GN_OK;
    default:
        return GN_OK;
    }
}

static gn_code unpack(gn_expr_source *s, uint32_t depth, gn_expr **out)
{
    gn_bytes name = {0};
    if (depth > GN_MAX_NESTING || ++s->n_nodes > GN_PACKED_NODES)
        return gn_error_set(s->err, GN_LIMIT, "an expression from another node is too large");
    gn_expr *e = gn_arena_calloc(s->arena, 1, sizeof *e);
    gn_code code = e ? unpack_head(s, e, &name) : no_memory(s);
    if (code)
        return code;
    e->n_args = gn_read_be32(&s->in);
    if (s->in.failed || e->n_args > gn_reader_left(&s->in) / NODE_MIN_BYTES)
        return corrupt(s);
    if (!(e->args = gn_arena_calloc(s->arena, e->n_args + 1, sizeof *e->args)))
        return no_memory(s);
    for (uint32_t i = 0; i < e->n_args && !code; i++)
        code = unpack(s, depth + 1, &e->args[i]);
    if (code)
        return code;
    gn_type result = e->type;
    if (name.data)
        e->function = function_of(e, name, &result);
    *out = e;
    return is_sound(e) && gn_type_same(result, e->type) ? GN_OK : corrupt(s);
}

gn_code gn_expr_unpack(gn_expr_source *source, gn_expr **out)
{
    return unpack(source, 0, out);
}
