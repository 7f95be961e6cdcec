/* Looking into json and jsonb: members, paths, lengths, containment. */
#include "query/array.h"
#include "query/json_walk.h"

#define UNUSED(x) (void)(x)

/* ---- members ---- */

enum { AS_JSON, AS_TEXT };

/* A part of a document as the result: itself, or its text (a string without quotes; null is NULL). */
static gn_code give(const gn_call *call, gn_bytes part, gn_value *out)
{
    if (call->function->op == AS_JSON) {
        out->as.bytes = part;
        return GN_OK;
    }
    switch (gn_json_kind_of(part)) {
    case GN_JSON_STRING:
        return gn_json_unescape(part, call->eval, &out->as.bytes);
    case GN_JSON_NULL:
        out->is_null = true;
        return GN_OK;
    default:
        out->as.bytes = part;
        return GN_OK;
    }
}

static gn_code member(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes json = args[0].as.bytes, part;
    gn_code code = GN_OK;
    bool found =
        gn_json_kind_of(json) == GN_JSON_OBJECT && gn_json_member(json, args[1].as.bytes, call->eval, &part, &code);
    out->is_null = !found;
    return code || !found ? code : give(call, part, out);
}

static gn_code element(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes json = args[0].as.bytes, part = json;
    gn_json_kind kind = gn_json_kind_of(json);
    bool found = kind == GN_JSON_ARRAY && gn_json_element(json, args[1].as.i32, &part);
    if (kind != GN_JSON_ARRAY && kind != GN_JSON_OBJECT && args[0].type.id == GN_T_JSONB)
        found = args[1].as.i32 == 0 || args[1].as.i32 == -1; /* a scalar jsonb is an array of itself, to PostgreSQL */
    out->is_null = !found;
    return found ? give(call, part, out) : GN_OK;
}

static bool path_index(gn_bytes step, int64_t *index)
{
    bool negative = step.len > 0 && step.data[0] == '-';
    size_t i = negative;
    *index = 0;
    if (i == step.len || step.len - i > 10)
        return false;
    for (; i < step.len; i++) {
        if (step.data[i] < '0' || step.data[i] > '9')
            return false;
        *index = *index * 10 + (step.data[i] - '0');
    }
    *index = negative ? -*index : *index;
    return *index >= INT32_MIN && *index <= INT32_MAX;
}

/* One step of a path down from *part. */
static bool descend(const gn_call *call, gn_bytes *part, gn_bytes step, gn_code *code)
{
    int64_t index;
    switch (gn_json_kind_of(*part)) {
    case GN_JSON_OBJECT:
        return gn_json_member(*part, step, call->eval, part, code);
    case GN_JSON_ARRAY:
        return path_index(step, &index) && gn_json_element(*part, index, part);
    default:
        return false;
    }
}

static gn_code path(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes part = gn_json_trim(args[0].as.bytes);
    gn_array_iter it = gn_array_open(&args[1]);
    gn_value step;
    gn_code code = GN_OK;
    while (gn_array_next(&it, &step))
        if (step.is_null || !descend(call, &part, step.as.bytes, &code)) {
            out->is_null = true;
            return code;
        }
    return give(call, part, out);
}

/* json_extract_path(json, VARIADIC text) */
static gn_code extract_path(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes part = gn_json_trim(args[0].as.bytes);
    gn_code code = GN_OK;
    for (uint32_t i = 1; i < call->n_args; i++)
        if (!descend(call, &part, args[i].as.bytes, &code)) {
            out->is_null = true;
            return code;
        }
    return give(call, part, out);
}

/* ---- questions ---- */

static gn_code type_of(const gn_call *call, const gn_value *args, gn_value *out)
{
    static const char *const names[] = {"object", "array", "string", "number", "boolean", "null"};
    UNUSED(call);
    out->as.bytes = gn_bytes_str(names[gn_json_kind_of(args[0].as.bytes)]);
    return GN_OK;
}

static gn_code array_length(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_json_kind kind = gn_json_kind_of(args[0].as.bytes);
    if (kind != GN_JSON_ARRAY)
        return gn_error_set(call->eval->err, GN_INVALID_PARAMETER,
                            kind == GN_JSON_OBJECT ? "cannot get array length of a non-array"
                                                   : "cannot get array length of a scalar");
    out->as.i32 = (int32_t)gn_json_count(args[0].as.bytes);
    return GN_OK;
}

/* Is the text a key, or an element that is this string? */
static bool has_key(const gn_call *call, gn_bytes json, gn_bytes key, gn_code *code)
{
    gn_bytes part;
    gn_json_kind kind = gn_json_kind_of(json);
    if (kind == GN_JSON_OBJECT)
        return gn_json_member(json, key, call->eval, &part, code);
    gn_json_iter it = kind == GN_JSON_ARRAY ? gn_json_open(json) : (gn_json_iter){.value = json};
    bool more = kind == GN_JSON_ARRAY ? gn_json_next(&it) : true;
    for (; more; more = kind == GN_JSON_ARRAY && gn_json_next(&it)) {
        if (gn_json_kind_of(it.value) != GN_JSON_STRING)
            continue;
        *code = gn_json_unescape(it.value, call->eval, &part);
        if (*code || gn_bytes_eq(part, key))
            return !*code;
    }
    return false;
}

static gn_code exists(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_code code = GN_OK;
    out->as.boolean = has_key(call, args[0].as.bytes, args[1].as.bytes, &code);
    return code;
}

enum { ANY, ALL };

static gn_code exists_array(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_array_iter it = gn_array_open(&args[1]);
    bool all = call->function->op == ALL;
    gn_value key;
    gn_code code = GN_OK;
    out->as.boolean = all;
    while (!code && gn_array_next(&it, &key)) {
        if (key.is_null)
            continue;
        bool has = has_key(call, args[0].as.bytes, key.as.bytes, &code);
        if (has != all) {
            out->as.boolean = has;
            break;
        }
        if (!code)
            code = gn_eval_cancelled(call->eval);
    }
    return code;
}

/* ---- containment ---- */

static bool scalars_equal(gn_bytes a, gn_bytes b)
{
    gn_value x = {.type = gn_type_of(GN_T_JSONB), .as.bytes = a}, y = {.type = gn_type_of(GN_T_JSONB), .as.bytes = b};
    return gn_value_compare(&x, &y) == 0;
}

static bool is_container(gn_json_kind kind)
{
    return kind == GN_JSON_OBJECT || kind == GN_JSON_ARRAY;
}

/* One question: *code tells that it was cut short. */
typedef struct containment {
    const gn_eval *eval;
    gn_code code;
} containment;

static bool contains(containment *c, gn_bytes whole, gn_bytes part);

static bool array_has(containment *c, gn_bytes array, gn_bytes wanted)
{
    bool container = is_container(gn_json_kind_of(wanted));
    c->code = gn_eval_cancelled(c->eval);
    for (gn_json_iter it = gn_json_open(array); !c->code && gn_json_next(&it);) {
        bool same = container ? contains(c, it.value, wanted)
                              : !is_container(gn_json_kind_of(it.value)) && scalars_equal(it.value, wanted);
        if (same)
            return true;
    }
    return false;
}

/* Both in jsonb's canonical form: equal keys have equal bytes and come in one order, so that one walk over each will
 * do. */
static bool object_contains(containment *c, gn_bytes whole, gn_bytes part)
{
    gn_json_iter it = gn_json_open(whole);
    for (gn_json_iter want = gn_json_open(part); gn_json_next(&want);) {
        bool found = false;
        while (!found && gn_json_next(&it))
            found = gn_bytes_eq(it.key, want.key);
        if (!found || !contains(c, it.value, want.value))
            return false;
    }
    return true;
}

/* Depth is bounded by the parser of jsonb. */
static bool contains(containment *c, gn_bytes whole, gn_bytes part)
{
    gn_json_kind kind = gn_json_kind_of(whole);
    if (kind != gn_json_kind_of(part))
        return false;
    if (kind == GN_JSON_OBJECT)
        return object_contains(c, whole, part);
    if (kind != GN_JSON_ARRAY)
        return scalars_equal(whole, part);
    for (gn_json_iter want = gn_json_open(part); gn_json_next(&want);)
        if (!array_has(c, whole, want.value))
            return false;
    return true;
}

/* On the top level an array also contains a bare scalar. */
static gn_code contains_jsonb(const gn_call *call, const gn_value *args, gn_value *out)
{
    bool swapped = call->function->op;
    gn_bytes whole = args[swapped].as.bytes, part = args[!swapped].as.bytes;
    containment c = {.eval = call->eval};
    bool scalar = gn_json_kind_of(whole) == GN_JSON_ARRAY && !is_container(gn_json_kind_of(part));
    out->as.boolean = scalar ? array_has(&c, whole, part) : contains(&c, whole, part);
    return c.code;
}

/* clang-format off */
#define ACCESS(type, name_a, name_b) \
    {"->", GN_TY(type), 2, GN_IMMUTABLE, 0, AS_JSON, {GN_TY(type), GN_TY(TEXT)}, .row = member}, \
    {"->", GN_TY(type), 2, GN_IMMUTABLE, 0, AS_JSON, {GN_TY(type), GN_TY(INT4)}, .row = element}, \
    {"->>", GN_TY(TEXT), 2, GN_IMMUTABLE, 0, AS_TEXT, {GN_TY(type), GN_TY(TEXT)}, .row = member}, \
    {"->>", GN_TY(TEXT), 2, GN_IMMUTABLE, 0, AS_TEXT, {GN_TY(type), GN_TY(INT4)}, .row = element}, \
    {"#>", GN_TY(type), 2, GN_IMMUTABLE, 0, AS_JSON, {GN_TY(type), GN_AR(TEXT)}, .row = path}, \
    {"#>>", GN_TY(TEXT), 2, GN_IMMUTABLE, 0, AS_TEXT, {GN_TY(type), GN_AR(TEXT)}, .row = path}, \
    {name_a, GN_TY(type), 2, GN_IMMUTABLE, GN_F_VARIADIC, AS_JSON, {GN_TY(type), GN_TY(TEXT)}, .row = extract_path}, \
    {name_b, GN_TY(TEXT), 2, GN_IMMUTABLE, GN_F_VARIADIC, AS_TEXT, {GN_TY(type), GN_TY(TEXT)}, .row = extract_path},

static const gn_function functions[] = {
    ACCESS(JSON, "json_extract_path", "json_extract_path_text")
    ACCESS(JSONB, "jsonb_extract_path", "jsonb_extract_path_text")
    {"json_typeof", GN_TY(TEXT), 1, GN_IMMUTABLE, 0, 0, {GN_TY(JSON)}, .row = type_of},
    {"jsonb_typeof", GN_TY(TEXT), 1, GN_IMMUTABLE, 0, 0, {GN_TY(JSONB)}, .row = type_of},
    {"json_array_length", GN_TY(INT4), 1, GN_IMMUTABLE, 0, 0, {GN_TY(JSON)}, .row = array_length},
    {"jsonb_array_length", GN_TY(INT4), 1, GN_IMMUTABLE, 0, 0, {GN_TY(JSONB)}, .row = array_length},
    {"?", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, 0, {GN_TY(JSONB), GN_TY(TEXT)}, .row = exists},
    {"?|", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, ANY, {GN_TY(JSONB), GN_AR(TEXT)}, .row = exists_array},
    {"?&", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, ALL, {GN_TY(JSONB), GN_AR(TEXT)}, .row = exists_array},
    {"jsonb_exists", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, 0, {GN_TY(JSONB), GN_TY(TEXT)}, .row = exists},
    {"jsonb_exists_any", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, ANY, {GN_TY(JSONB), GN_AR(TEXT)}, .row = exists_array},
    {"jsonb_exists_all", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, ALL, {GN_TY(JSONB), GN_AR(TEXT)}, .row = exists_array},
    {"@>", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, 0, {GN_TY(JSONB), GN_TY(JSONB)}, .row = contains_jsonb},
    {"<@", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, 1, {GN_TY(JSONB), GN_TY(JSONB)}, .row = contains_jsonb},
};
/* clang-format on */

const gn_function_list gn_functions_json = {functions, sizeof functions / sizeof *functions};
