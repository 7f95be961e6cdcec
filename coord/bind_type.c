/* Type names, and the casts that the binder puts into trees. */
#include "base/limits.h"
#include "coord/bind_private.h"
#include "query/vector.h"

#include <stdio.h>

const char *gn_type_text(gn_type t)
{
    static _Thread_local char buffers[4][80];
    static _Thread_local unsigned next;
    char *buf = buffers[next++ & 3];
    t.typmod = -1;
    return gn_type_format(t, buf, sizeof buffers[0]);
}

/* ---- type names ---- */

static gn_code modifiers_of(const gn_ast_type *ast, gn_type *t, gn_error *err)
{
    int32_t m = ast->modifiers[0];
    gn_code code = GN_OK;
    switch (t->id) {
    case GN_T_VARCHAR:
        if (m < 1)
            code = gn_error_set(err, GN_INVALID_PARAMETER, "length for type varchar must be at least 1");
        else if (m > 10485760)
            code = gn_error_set(err, GN_INVALID_PARAMETER, "length for type varchar cannot exceed 10485760");
        t->typmod = m;
        break;
    case GN_T_NUMERIC: {
        int32_t scale = ast->n_modifiers > 1 ? ast->modifiers[1] : 0;
        if (m < 1 || m > 1000)
            code = gn_error_set(err, GN_INVALID_PARAMETER, "NUMERIC precision %d must be between 1 and 1000", m);
        else if (scale < 0 || scale > 1000)
            code = gn_error_set(err, GN_INVALID_PARAMETER, "NUMERIC scale %d must be between 0 and 1000", scale);
        t->typmod = (int32_t)((uint32_t)m << 16 | ((uint32_t)scale & 0xffff));
        break;
    }
    case GN_T_VECTOR:
    case GN_T_HALFVEC:
    case GN_T_SPARSEVEC: {
        int32_t most = t->id == GN_T_SPARSEVEC ? GN_MAX_SPARSE_DIMENSIONS : (int32_t)GN_MAX_DIMENSIONS;
        if (m < 1)
            code =
                gn_error_set(err, GN_INVALID_PARAMETER, "dimensions for type %s must be at least 1", gn_type_text(*t));
        else if (m > most)
            code = gn_error_set(err, GN_INVALID_PARAMETER, "dimensions for type %s cannot exceed %d", gn_type_text(*t),
                                most);
        t->typmod = m;
        break;
    }
    case GN_T_BIT:
    case GN_T_VARBIT:
        if (m < 1)
            code = gn_error_set(err, GN_INVALID_PARAMETER, "length for type %s must be at least 1", ast->name.name);
        else if (m > GN_MAX_BITS)
            code = gn_error_set(err, GN_INVALID_PARAMETER, "length for type %s cannot exceed %d", ast->name.name,
                                GN_MAX_BITS);
        t->typmod = m;
        break;
    case GN_T_TIMESTAMP:
    case GN_T_TIMESTAMPTZ:
        if (m < 0)
            code = gn_error_set(err, GN_INVALID_PARAMETER, "TIMESTAMP(%d) precision must not be negative", m);
        t->typmod = m > 6 ? 6 : m;
        break;
    default:
        code = gn_error_set(err, GN_SYNTAX, "type modifier is not allowed for type \"%s\"", ast->name.name);
    }
    if (code == GN_OK && ast->n_modifiers > 1 && t->id != GN_T_NUMERIC)
        code = gn_error_set(err, GN_INVALID_PARAMETER, "invalid %s type modifier", ast->name.name);
    return code;
}

gn_code gn_bind_type(gn_arena *arena, const gn_ast_type *ast, gn_type *out, gn_error *err)
{
    (void)arena;
    gn_type t;
    const char *schema = ast->name.schema;
    bool known = (!schema || strcmp(schema, "pg_catalog") == 0 || strcmp(schema, "public") == 0) &&
                 gn_type_from_name(gn_bytes_str(ast->name.name), &t);
    if (!known) {
        gn_error_set(err, GN_NO_OBJECT, "type \"%s%s%s%s\" does not exist", schema ? schema : "", schema ? "." : "",
                     ast->name.name, ast->array_dimensions ? "[]" : "");
        gn_error_at(err, ast->position);
        return GN_NO_OBJECT;
    }
    if (ast->n_modifiers) {
        gn_code code = modifiers_of(ast, &t, err);
        if (code != GN_OK) {
            gn_error_at(err, ast->position);
            return code;
        }
    }
    t.is_array = t.is_array || ast->array_dimensions > 0;
    *out = t;
    return GN_OK;
}

/* ---- casts ---- */

static bool is_unknown(gn_type t)
{
    return gn_type_is(t, GN_T_UNKNOWN);
}

bool gn_can_coerce(const gn_expr *e, gn_type to, gn_cast_context context)
{
    return is_unknown(e->type) || gn_type_same(e->type, to) || gn_cast_allowed(e->type, to, context);
}

/* An untyped literal is read as what it shall be. The modifier is applied after reading, as the cast that it is: an
 * explicit one cuts text to length, and its error has no position. */
static gn_code coerce_literal(gn_binder *b, gn_expr *e, gn_type to, gn_cast_context context, gn_expr **out)
{
    gn_value v = gn_value_null(to);
    if (!e->value.is_null) {
        gn_type read = to;
        read.typmod = -1;
        gn_code code = gn_value_parse(e->value.as.bytes, read, b->format, b->arena, &v, b->err);
        if (code != GN_OK) {
            if (b->err && !b->err->position)
                gn_error_at(b->err, e->position);
            return code;
        }
        if (read.typmod != to.typmod) {
            gn_value whole = v;
            code = gn_value_cast(&whole, to, context, b->format, b->arena, &v, b->err);
            if (code != GN_OK)
                return code;
        }
        v.type = to;
    }
    return gn_bind_const(b, &v, e->position, out);
}

static gn_code settle_param(gn_binder *b, gn_expr *e, gn_type to)
{
    gn_type bare = to;
    bare.typmod = -1;
    gn_type *known = &b->params[e->column];
    if (is_unknown(*known)) {
        *known = bare;
    } else if (!gn_type_same(*known, bare)) {
        gn_bind_fail(b, e->position, GN_AMBIGUOUS_PARAMETER, "inconsistent types deduced for parameter $%u",
                     e->column + 1);
        gn_error_detail(b->err, "%s versus %s", gn_type_text(*known), gn_type_text(bare));
        return GN_AMBIGUOUS_PARAMETER;
    }
    e->type = bare;
    return GN_OK;
}

gn_code gn_coerce(gn_binder *b, gn_expr *e, gn_type to, gn_cast_context context, gn_expr **out)
{
    if (is_unknown(to)) {
        *out = e;
        return GN_OK;
    }
    if (is_unknown(e->type) && e->kind == GN_E_CONST)
        return coerce_literal(b, e, to, context, out);
    if (is_unknown(e->type) && e->kind == GN_E_PARAM) {
        gn_code code = settle_param(b, e, to);
        if (code != GN_OK)
            return code;
    }
    if (gn_type_same(e->type, to) && (to.typmod < 0 || to.typmod == e->type.typmod)) {
        *out = e;
        return GN_OK;
    }
    if (!gn_type_same(e->type, to) && !gn_cast_allowed(e->type, to, context))
        return gn_bind_fail(b, e->position, GN_CANNOT_COERCE, "cannot cast type %s to %s", gn_type_text(e->type),
                            gn_type_text(to));
    gn_expr *cast;
    gn_code code = gn_bind_node(b, GN_E_CAST, to, e->position, 1, &cast);
    if (code != GN_OK)
        return code;
    cast->args[0] = e;
    cast->cast_context = context;
    *out = cast;
    return GN_OK;
}

gn_code gn_coerce_unknown_to_text(gn_binder *b, gn_expr **e)
{
    if (!is_unknown((*e)->type))
        return GN_OK;
    return gn_coerce(b, *e, gn_type_of(GN_T_TEXT), GN_CAST_IMPLICIT, e);
}
