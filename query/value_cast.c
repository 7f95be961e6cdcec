/* Casts: PostgreSQL's pg_cast for our types, and the conversions. What has no conversion of its own goes through text,
 * as PostgreSQL's I/O conversion casts do. */
#include "base/assert.h"
#include "query/array_private.h"
#include "query/datetime.h"
#include "query/json_walk.h"
#include "query/numeric.h"
#include "query/value.h"
#include "query/value_private.h"
#include "query/vector.h"

#include <math.h>

/* ---- what is allowed ---- */

typedef struct cast_rule {
    uint8_t from, to;
    uint8_t context; /* the least demanding that has it */
} cast_rule;

#define I GN_CAST_IMPLICIT
#define A GN_CAST_ASSIGNMENT
#define E GN_CAST_EXPLICIT
static const cast_rule rules[] = {
    {GN_T_INT2, GN_T_INT4, I},        {GN_T_INT2, GN_T_INT8, I},
    {GN_T_INT2, GN_T_FLOAT4, I},      {GN_T_INT2, GN_T_FLOAT8, I},
    {GN_T_INT2, GN_T_NUMERIC, I},     {GN_T_INT4, GN_T_INT2, A},
    {GN_T_INT4, GN_T_INT8, I},        {GN_T_INT4, GN_T_FLOAT4, I},
    {GN_T_INT4, GN_T_FLOAT8, I},      {GN_T_INT4, GN_T_NUMERIC, I},
    {GN_T_INT4, GN_T_BOOL, E},        {GN_T_BOOL, GN_T_INT4, E},
    {GN_T_INT8, GN_T_INT2, A},        {GN_T_INT8, GN_T_INT4, A},
    {GN_T_INT8, GN_T_FLOAT4, I},      {GN_T_INT8, GN_T_FLOAT8, I},
    {GN_T_INT8, GN_T_NUMERIC, I},     {GN_T_FLOAT4, GN_T_FLOAT8, I},
    {GN_T_FLOAT4, GN_T_INT2, A},      {GN_T_FLOAT4, GN_T_INT4, A},
    {GN_T_FLOAT4, GN_T_INT8, A},      {GN_T_FLOAT4, GN_T_NUMERIC, A},
    {GN_T_FLOAT8, GN_T_FLOAT4, A},    {GN_T_FLOAT8, GN_T_INT2, A},
    {GN_T_FLOAT8, GN_T_INT4, A},      {GN_T_FLOAT8, GN_T_INT8, A},
    {GN_T_FLOAT8, GN_T_NUMERIC, A},   {GN_T_NUMERIC, GN_T_INT2, A},
    {GN_T_NUMERIC, GN_T_INT4, A},     {GN_T_NUMERIC, GN_T_INT8, A},
    {GN_T_NUMERIC, GN_T_FLOAT4, I},   {GN_T_NUMERIC, GN_T_FLOAT8, I},
    {GN_T_TEXT, GN_T_VARCHAR, I},     {GN_T_VARCHAR, GN_T_TEXT, I},
    {GN_T_DATE, GN_T_TIMESTAMP, I},   {GN_T_DATE, GN_T_TIMESTAMPTZ, I},
    {GN_T_TIMESTAMP, GN_T_DATE, A},   {GN_T_TIMESTAMP, GN_T_TIMESTAMPTZ, I},
    {GN_T_TIMESTAMPTZ, GN_T_DATE, A}, {GN_T_TIMESTAMPTZ, GN_T_TIMESTAMP, A},
    {GN_T_JSON, GN_T_JSONB, A},       {GN_T_JSONB, GN_T_JSON, A},
    {GN_T_JSONB, GN_T_BOOL, E},       {GN_T_JSONB, GN_T_NUMERIC, E},
    {GN_T_JSONB, GN_T_INT2, E},       {GN_T_JSONB, GN_T_INT4, E},
    {GN_T_JSONB, GN_T_INT8, E},       {GN_T_JSONB, GN_T_FLOAT4, E},
    {GN_T_JSONB, GN_T_FLOAT8, E},     {GN_T_BIT, GN_T_VARBIT, I},
    {GN_T_VARBIT, GN_T_BIT, I},       {GN_T_INT4, GN_T_BIT, E},
    {GN_T_INT8, GN_T_BIT, E},         {GN_T_BIT, GN_T_INT4, E},
    {GN_T_BIT, GN_T_INT8, E},
};
#undef I
#undef A
#undef E

static bool is_string(gn_type t)
{
    return !t.is_array && (t.id == GN_T_TEXT || t.id == GN_T_VARCHAR);
}

static bool scalar_allowed(uint8_t from, uint8_t to, gn_cast_context context)
{
    if (from == to)
        return true;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].from == from && rules[i].to == to)
            return context >= rules[i].context;
    return false;
}

bool gn_cast_allowed(gn_type from, gn_type to, gn_cast_context context)
{
    if (gn_type_same(from, to) || gn_type_is(from, GN_T_UNKNOWN))
        return true;
    if (from.is_array && to.is_array) /* as their elements */
        return gn_cast_allowed(gn_type_of((gn_type_id)from.id), gn_type_of((gn_type_id)to.id), context);
    if ((gn_is_vector_type(from) || gn_is_vector_type(to)) && gn_cast_vector_allowed(from, to, context))
        return true;
    if (!from.is_array && !to.is_array && scalar_allowed(from.id, to.id, context))
        return true;
    if (is_string(to)) /* I/O conversion: to text in an assignment, from text only when asked for */
        return context >= GN_CAST_ASSIGNMENT;
    return is_string(from) && context == GN_CAST_EXPLICIT;
}

/* ---- numbers ---- */

static gn_code int_range(int64_t v, gn_type to, gn_value *out, gn_error *err)
{
    if (to.id == GN_T_INT2 && (v < INT16_MIN || v > INT16_MAX))
        return gn_error_set(err, GN_NUMERIC_RANGE, "smallint out of range");
    if (to.id == GN_T_INT4 && (v < INT32_MIN || v > INT32_MAX))
        return gn_error_set(err, GN_NUMERIC_RANGE, "integer out of range");
    if (to.id == GN_T_INT2)
        out->as.i16 = (int16_t)v;
    else if (to.id == GN_T_INT4)
        out->as.i32 = (int32_t)v;
    else
        out->as.i64 = v;
    return GN_OK;
}

static gn_code float_to_float4(double v, gn_value *out, gn_error *err)
{
    float f = (float)v;
    if (isinf(f) && !isinf(v))
        return gn_error_set(err, GN_NUMERIC_RANGE, "value out of range: overflow");
    if (f == 0 && v != 0)
        return gn_error_set(err, GN_NUMERIC_RANGE, "value out of range: underflow");
    out->as.f32 = f;
    return GN_OK;
}

static gn_code from_int(int64_t v, gn_type to, gn_arena *arena, gn_value *out, gn_error *err)
{
    switch (to.id) {
    case GN_T_FLOAT4:
        out->as.f32 = (float)v;
        return GN_OK;
    case GN_T_FLOAT8:
        out->as.f64 = (double)v;
        return GN_OK;
    case GN_T_NUMERIC:
        return gn_numeric_from_i64(v, arena, &out->as.bytes, err);
    case GN_T_BOOL:
        out->as.boolean = v != 0;
        return GN_OK;
    default:
        return int_range(v, to, out, err);
    }
}

static gn_code from_float(double v, bool is_float4, gn_type to, gn_arena *arena, gn_value *out, gn_error *err)
{
    if (to.id == GN_T_FLOAT8) {
        out->as.f64 = v;
        return GN_OK;
    }
    if (to.id == GN_T_FLOAT4)
        return float_to_float4(v, out, err);
    if (to.id == GN_T_NUMERIC)
        return is_float4 ? gn_numeric_from_f32((float)v, arena, &out->as.bytes, err)
                         : gn_numeric_from_f64(v, arena, &out->as.bytes, err);
    /* -2^63 and 2^63 are doubles exactly; what lies between them fits */
    double rounded = rint(v);
    if (!(rounded >= -9223372036854775808.0 && rounded < 9223372036854775808.0))
        return gn_error_set(err, GN_NUMERIC_RANGE, "%s out of range",
                            to.id == GN_T_INT2   ? "smallint"
                            : to.id == GN_T_INT4 ? "integer"
                                                 : "bigint");
    return int_range((int64_t)rounded, to, out, err);
}

static gn_code from_numeric(gn_bytes v, gn_type to, gn_value *out, gn_error *err)
{
    double d = 0;
    int64_t i = 0;
    gn_code code;
    switch (to.id) {
    case GN_T_FLOAT8:
        return gn_numeric_to_f64(v, &out->as.f64, err);
    case GN_T_FLOAT4:
        code = gn_numeric_to_f64(v, &d, err);
        return code != GN_OK ? code : float_to_float4(d, out, err);
    default:
        code = gn_numeric_to_i64(v, (gn_type_id)to.id, &i, err);
        return code != GN_OK ? code : int_range(i, to, out, err);
    }
}

/* False: not a cast between numbers. */
static bool cast_number(const gn_value *v, gn_type to, gn_arena *arena, gn_value *out, gn_code *code, gn_error *err)
{
    if (v->type.is_array || to.is_array)
        return false;
    bool to_number = gn_type_category(to) == 'N';
    switch (v->type.id) {
    case GN_T_BOOL:
        if (to.id != GN_T_INT4)
            return false;
        out->as.i32 = v->as.boolean;
        *code = GN_OK;
        return true;
    case GN_T_INT2:
    case GN_T_INT4:
    case GN_T_INT8: {
        int64_t i = v->type.id == GN_T_INT2 ? v->as.i16 : v->type.id == GN_T_INT4 ? v->as.i32 : v->as.i64;
        if (!to_number && to.id != GN_T_BOOL)
            return false;
        *code = from_int(i, to, arena, out, err);
        return true;
    }
    case GN_T_FLOAT4:
    case GN_T_FLOAT8:
        if (!to_number)
            return false;
        *code = from_float(v->type.id == GN_T_FLOAT4 ? (double)v->as.f32 : v->as.f64, v->type.id == GN_T_FLOAT4, to,
                           arena, out, err);
        return true;
    case GN_T_NUMERIC:
        if (!to_number || to.id == GN_T_NUMERIC)
            return false;
        *code = from_numeric(v->as.bytes, to, out, err);
        return true;
    default:
        return false;
    }
}

/* ---- through text ---- */

/* A jsonb boolean or number is cast, anything else refused: in words, since its text might be a number's. */
static gn_code check_jsonb(const gn_value *v, gn_type to, gn_error *err)
{
    static const char *const names[] = {
        [GN_JSON_OBJECT] = "object",  [GN_JSON_ARRAY] = "array",     [GN_JSON_STRING] = "string",
        [GN_JSON_NUMBER] = "numeric", [GN_JSON_BOOLEAN] = "boolean", [GN_JSON_NULL] = "null"};
    gn_json_kind kind = gn_json_kind_of(v->as.bytes);
    char name[64];
    if (to.is_array || (to.id != GN_T_BOOL && gn_type_category(to) != 'N'))
        return GN_OK;
    if (kind == (to.id == GN_T_BOOL ? GN_JSON_BOOLEAN : GN_JSON_NUMBER))
        return GN_OK;
    return gn_error_set(err, GN_INVALID_PARAMETER, "cannot cast jsonb %s to type %s", names[kind],
                        gn_type_format(gn_type_of((gn_type_id)to.id), name, sizeof name));
}

/* jsonb to a number: by way of numeric, whose casts round and check the range. */
static gn_code cast_jsonb_number(const gn_value *v, gn_type to, gn_cast_context context, const gn_format *format,
                                 gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_value number = {.type = gn_type_of(GN_T_NUMERIC)};
    gn_code code = check_jsonb(v, to, err);
    if (code == GN_OK)
        code = gn_numeric_parse(v->as.bytes, arena, &number.as.bytes, err);
    return code == GN_OK ? gn_value_cast(&number, to, context, format, arena, out, err) : code;
}

static gn_code cast_by_text(const gn_value *v, gn_type to, gn_cast_context context, const gn_format *format,
                            gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_buf text;
    gn_code code = gn_type_is(v->type, GN_T_JSONB) ? check_jsonb(v, to, err) : GN_OK;
    if (code != GN_OK)
        return code;
    gn_buf_init(&text, gn_arena_account(arena), GN_MAX_FIELD);
    bool printed = gn_type_is(v->type, GN_T_BOOL) /* the cast has words where the output function has letters */
                       ? gn_buf_append_str(&text, v->as.boolean ? "true" : "false")
                       : gn_value_print(v, format, &text);
    if (!printed) {
        code = text.len + 1 >= GN_MAX_FIELD ? gn_error_set(err, GN_LIMIT, "the text of a value is too long")
                                            : gn_error_oom(err, gn_arena_account(arena));
        goto out;
    }
    gn_bytes bytes = gn_buf_bytes(&text);
    if (gn_type_is(to, GN_T_VARCHAR) && context == GN_CAST_EXPLICIT)
        gn_varchar_limit(&bytes, to, true, NULL);
    void *copy = gn_arena_memdup(arena, bytes.data, bytes.len);
    code = copy ? gn_value_parse(gn_bytes_of(copy, bytes.len), to, format, arena, out, err)
                : gn_error_oom(err, gn_arena_account(arena));
out:
    gn_buf_close(&text);
    return code;
}

/* ---- the same type with another modifier ---- */

static gn_code apply_typmod(const gn_value *v, gn_type to, gn_cast_context context, gn_arena *arena, gn_value *out,
                            gn_error *err)
{
    *out = *v;
    out->type = to;
    if (to.typmod < 0)
        return GN_OK;
    switch (to.id) {
    case GN_T_VARCHAR:
        return gn_varchar_limit(&out->as.bytes, to, context == GN_CAST_EXPLICIT, err);
    case GN_T_NUMERIC:
        return gn_numeric_apply_typmod(v->as.bytes, to.typmod, arena, &out->as.bytes, err);
    case GN_T_TIMESTAMP:
    case GN_T_TIMESTAMPTZ:
        out->as.i64 = gn_timestamp_round(v->as.i64, to.typmod);
        return GN_OK;
    case GN_T_VECTOR:
    case GN_T_HALFVEC:
        return gn_vector_check_dimensions(gn_dense_dimensions((gn_type_id)to.id, v->as.bytes), to, err);
    case GN_T_SPARSEVEC:
        return gn_vector_check_dimensions(gn_sparse_of(v->as.bytes).dimensions, to, err);
    case GN_T_BIT:
    case GN_T_VARBIT:
        return gn_bits_apply_typmod(v->as.bytes, to, context, arena, &out->as.bytes, err);
    default:
        return GN_OK;
    }
}

gn_code gn_value_cast(const gn_value *value, gn_type to, gn_cast_context context, const gn_format *format,
                      gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_type from = value->type, plain = {.id = to.id, .is_array = to.is_array, .typmod = -1};
    gn_value v = {.type = plain};
    gn_code code = GN_OK;
    if (value->is_null) {
        *out = gn_value_null(to);
        return GN_OK;
    }
    if (is_string(from) && is_string(to)) {
        v.as = value->as;
    } else if (gn_cast_vector(value, to, format, arena, out, &code, err)) {
        return code;
    } else if (gn_cast_bits(value, to, arena, &v, &code, err)) {
        /* below */
    } else if (gn_type_is(from, GN_T_JSONB) && !to.is_array && gn_type_category(to) == 'N') {
        return cast_jsonb_number(value, to, context, format, arena, out, err);
    } else if (gn_cast_array(value, to, context, format, arena, out, &code, err)) {
        return code;
    } else if (gn_type_same(from, to)) {
        v.as = value->as;
    } else if (gn_type_is(from, GN_T_UNKNOWN) || is_string(from)) {
        if (is_string(to))
            v.as = value->as;
        else
            return gn_value_parse(value->as.bytes, to, format, arena, out, err);
    } else if (!cast_number(value, plain, arena, &v, &code, err) &&
               !gn_cast_datetime(value, plain, format, &v, &code, err)) {
        return cast_by_text(value, to, context, format, arena, out, err);
    }
    if (code != GN_OK)
        return code;
    return apply_typmod(&v, to, context, arena, out, err);
}
