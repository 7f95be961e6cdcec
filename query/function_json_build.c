/* Making json and jsonb: from values, and from other documents. Everything is first written as text; a jsonb is then
 * brought into its canonical form by its type's own input function. */
#include "base/limits.h"
#include "query/array.h"
#include "query/json_walk.h"

/* ---- values as JSON ---- */

/* ISO 8601: a T between date and time, minutes in the zone. */
static void put_timestamp(gn_buf *buf, gn_bytes text, bool zone)
{
    gn_buf_append_u8(buf, '"');
    for (size_t i = 0; i < text.len; i++)
        gn_buf_append_u8(buf, text.data[i] == ' ' && i < 12 ? 'T' : text.data[i]);
    bool short_zone = zone && text.len > 3 && (text.data[text.len - 3] == '+' || text.data[text.len - 3] == '-');
    gn_buf_append_str(buf, short_zone ? ":00\"" : "\"");
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_number_text(gn_bytes text)
{
    return text.len && (is_digit(text.data[0]) || (text.data[0] == '-' && text.len > 1 && is_digit(text.data[1])));
}

static void put_scalar(const gn_eval *eval, const gn_value *v, gn_buf *buf)
{
    if (v->type.id == GN_T_JSON || v->type.id == GN_T_JSONB) {
        gn_buf_append_bytes(buf, v->as.bytes);
        return;
    }
    if (v->type.id == GN_T_BOOL) {
        gn_buf_append_str(buf, v->as.boolean ? "true" : "false");
        return;
    }
    gn_buf text;
    gn_text_begin(eval, &text);
    gn_text_output(eval, v, &text);
    buf->failed |= text.failed;
    gn_bytes bytes = gn_buf_bytes(&text);
    if (gn_type_category(v->type) == 'N' && is_number_text(bytes))
        gn_buf_append_bytes(buf, bytes);
    else if (v->type.id == GN_T_TIMESTAMP || v->type.id == GN_T_TIMESTAMPTZ)
        put_timestamp(buf, bytes, v->type.id == GN_T_TIMESTAMPTZ);
    else
        gn_json_quote(bytes, buf);
    gn_buf_close(&text);
}

/* The elements of one dimension; those of the last are values. */
static gn_code put_dimension(const gn_eval *eval, gn_array_iter *it, uint32_t dimension, const char *separator,
                             gn_buf *buf)
{
    gn_code code = GN_OK;
    gn_buf_append_u8(buf, '[');
    for (int32_t i = 0; i < it->lengths[dimension] && !code; i++) {
        gn_value item;
        if (i)
            gn_buf_append_str(buf, separator);
        if (dimension + 1 < it->n_dimensions)
            code = put_dimension(eval, it, dimension + 1, ",", buf);
        else if (gn_array_next(it, &item))
            code = gn_json_put(eval, &item, buf);
    }
    gn_buf_append_u8(buf, ']');
    return code;
}

gn_code gn_json_put(const gn_eval *eval, const gn_value *v, gn_buf *buf)
{
    if (v->is_null) {
        gn_buf_append_str(buf, "null");
        return GN_OK;
    }
    if (!v->type.is_array) {
        put_scalar(eval, v, buf);
        return GN_OK;
    }
    gn_array_iter it = gn_array_open(v);
    if (it.n_dimensions > 0)
        return put_dimension(eval, &it, 0, ",", buf);
    gn_buf_append_str(buf, "[]");
    return GN_OK;
}

/* Ends a document: as it stands for json, canonical for jsonb. */
static gn_code take(const gn_call *call, gn_code code, gn_buf *buf, gn_value *out)
{
    gn_value text = {.type = gn_type_of(GN_T_TEXT)};
    if (code) {
        gn_buf_close(buf);
        return code;
    }
    code = gn_text_take(call->eval, buf, &text);
    if (code || call->result.id == GN_T_JSON) {
        out->as.bytes = text.as.bytes;
        return code;
    }
    return gn_value_parse(text.as.bytes, call->result, call->eval->format, call->eval->arena, out, call->eval->err);
}

static gn_code to_json(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    return take(call, gn_json_put(call->eval, &args[0], &buf), &buf, out);
}

/* array_to_json(array, line feeds between the outermost items?) */
static gn_code array_to_json(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_array_iter it = gn_array_open(&args[0]);
    if (it.n_dimensions == 0 || !args[1].as.boolean)
        return to_json(call, args, out);
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    return take(call, put_dimension(call->eval, &it, 0, ",\n ", &buf), &buf, out);
}

static gn_code build_array(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_buf buf;
    gn_code code = GN_OK;
    gn_text_begin(call->eval, &buf);
    gn_buf_append_u8(&buf, '[');
    for (uint32_t i = 0; i < call->n_args && !code; i++) {
        gn_buf_append_str(&buf, i ? ", " : "");
        code = gn_json_put(call->eval, &args[i], &buf);
    }
    gn_buf_append_u8(&buf, ']');
    return take(call, code, &buf, out);
}

void gn_json_put_key(const gn_eval *eval, const gn_value *key, gn_buf *buf)
{
    gn_buf text;
    gn_text_begin(eval, &text);
    if (key->type.id == GN_T_BOOL)
        gn_buf_append_str(&text, key->as.boolean ? "true" : "false");
    else
        gn_text_output(eval, key, &text);
    buf->failed |= text.failed;
    gn_json_quote(gn_buf_bytes(&text), buf);
    gn_buf_close(&text);
}

/* A key is the text of any value that is neither NULL nor an array nor JSON. */
static gn_code put_key(const gn_call *call, const gn_value *key, uint32_t number, gn_buf *buf)
{
    bool jsonb = call->result.id == GN_T_JSONB;
    if (key->is_null && jsonb)
        return gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "argument %u: key must not be null", number);
    if (key->is_null) {
        gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "argument %u cannot be null", number);
        gn_error_hint(call->eval->err, "Object keys should be text.");
        return GN_INVALID_PARAMETER;
    }
    if (key->type.is_array || key->type.id == GN_T_JSON || key->type.id == GN_T_JSONB)
        return gn_error_set(call->eval->err, GN_INVALID_PARAMETER,
                            "key value must be scalar, not array, composite, or json");
    gn_json_put_key(call->eval, key, buf);
    return GN_OK;
}

static gn_code build_object(const gn_call *call, const gn_value *args, gn_value *out)
{
    if (call->n_args % 2) {
        gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "argument list must have even number of elements");
        gn_error_hint(call->eval->err, "The arguments of %s() must consist of alternating keys and values.",
                      call->function->name);
        return GN_INVALID_PARAMETER;
    }
    gn_buf buf;
    gn_code code = GN_OK;
    gn_text_begin(call->eval, &buf);
    gn_buf_append_u8(&buf, '{');
    for (uint32_t i = 0; i + 1 < call->n_args && !code; i += 2) {
        gn_buf_append_str(&buf, i ? ", " : "");
        code = put_key(call, &args[i], i + 1, &buf);
        gn_buf_append_str(&buf, " : ");
        if (!code)
            code = gn_json_put(call->eval, &args[i + 1], &buf);
    }
    gn_buf_append_u8(&buf, '}');
    return take(call, code, &buf, out);
}

/* json_object(text[]): keys and values in turn, or in rows of two; json_object(keys, values). */
static gn_code check_pairs(const gn_call *call, const gn_array_iter *it, const gn_array_iter *values)
{
    gn_error *err = call->eval->err;
    if (values)
        return it->n_dimensions > 1 || it->n_dimensions != values->n_dimensions
                   ? gn_error_set(err, GN_ARRAY_SUBSCRIPT, "wrong number of array subscripts")
               : it->n_items != values->n_items ? gn_error_set(err, GN_ARRAY_SUBSCRIPT, "mismatched array dimensions")
                                                : GN_OK;
    switch (it->n_dimensions) {
    case 0:
        return GN_OK;
    case 1:
        return it->n_items % 2 ? gn_error_set(err, GN_ARRAY_SUBSCRIPT, "array must have even number of elements")
                               : GN_OK;
    case 2:
        return it->lengths[1] == 2 ? GN_OK : gn_error_set(err, GN_ARRAY_SUBSCRIPT, "array must have two columns");
    default:
        return gn_error_set(err, GN_ARRAY_SUBSCRIPT, "wrong number of array subscripts");
    }
}

static gn_code object_of_texts(const gn_call *call, const gn_value *args, gn_value *out)
{
    bool two = call->n_args == 2;
    gn_array_iter keys = gn_array_open(&args[0]), values = gn_array_open(&args[two]);
    gn_array_iter *from = two ? &values : &keys;
    gn_buf buf;
    gn_value key, value;
    gn_code code = check_pairs(call, &keys, two ? &values : NULL);
    if (code)
        return code;
    gn_text_begin(call->eval, &buf);
    gn_buf_append_u8(&buf, '{');
    for (bool first = true; !code && gn_array_next(&keys, &key) && gn_array_next(from, &value); first = false) {
        if (key.is_null) {
            code = gn_error_set(call->eval->err, GN_NULL_NOT_ALLOWED, "null value not allowed for object key");
            break;
        }
        gn_buf_append_str(&buf, first ? "" : ", ");
        gn_json_quote(key.as.bytes, &buf);
        gn_buf_append_str(&buf, " : ");
        if (value.is_null)
            gn_buf_append_str(&buf, "null");
        else
            gn_json_quote(value.as.bytes, &buf);
    }
    gn_buf_append_u8(&buf, '}');
    return take(call, code, &buf, out);
}

/* ---- changing documents ---- */

static void put_members(gn_bytes container, bool *first, gn_buf *buf)
{
    for (gn_json_iter it = gn_json_open(container); gn_json_next(&it); *first = false) {
        gn_buf_append_str(buf, *first ? "" : ",");
        if (it.object) {
            gn_buf_append_bytes(buf, it.key);
            gn_buf_append_u8(buf, ':');
        }
        gn_buf_append_bytes(buf, it.value);
    }
}

/* jsonb || jsonb: objects merge (the right one wins), anything else becomes or joins an array. */
static gn_code concat(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_json_kind kinds[2] = {gn_json_kind_of(args[0].as.bytes), gn_json_kind_of(args[1].as.bytes)};
    bool objects = kinds[0] == GN_JSON_OBJECT && kinds[1] == GN_JSON_OBJECT, first = true;
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    gn_buf_append_u8(&buf, objects ? '{' : '[');
    for (int i = 0; i < 2; i++) {
        if (objects || kinds[i] == GN_JSON_ARRAY) {
            put_members(args[i].as.bytes, &first, &buf);
            continue;
        }
        gn_buf_append_str(&buf, first ? "" : ",");
        gn_buf_append_bytes(&buf, args[i].as.bytes);
        first = false;
    }
    gn_buf_append_u8(&buf, objects ? '}' : ']');
    return take(call, GN_OK, &buf, out);
}

static bool among(gn_bytes name, const gn_value *names)
{
    if (!names->type.is_array)
        return gn_bytes_eq(name, names->as.bytes);
    gn_array_iter it = gn_array_open(names);
    for (gn_value item; gn_array_next(&it, &item);)
        if (!item.is_null && gn_bytes_eq(name, item.as.bytes))
            return true;
    return false;
}

static gn_code cannot_delete(const gn_call *call, const char *from, bool by_index)
{
    return gn_error_set(call->eval->err, GN_INVALID_PARAMETER,
                        by_index ? "cannot delete from %s using integer index" : "cannot delete from %s", from);
}

/* jsonb - text, jsonb - text[]: keys of an object, equal strings of an array. */
static gn_code delete_names(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes json = args[0].as.bytes, name;
    gn_json_kind kind = gn_json_kind_of(json);
    if (kind != GN_JSON_OBJECT && kind != GN_JSON_ARRAY)
        return cannot_delete(call, "scalar", false);
    gn_buf buf;
    gn_code code = GN_OK;
    bool first = true;
    gn_text_begin(call->eval, &buf);
    gn_buf_append_u8(&buf, kind == GN_JSON_OBJECT ? '{' : '[');
    for (gn_json_iter it = gn_json_open(json); !code && gn_json_next(&it);) {
        gn_bytes raw = it.object ? it.key : it.value;
        bool string = it.object || gn_json_kind_of(raw) == GN_JSON_STRING;
        code = gn_eval_cancelled(call->eval);
        if (!code && string)
            code = gn_json_unescape(raw, call->eval, &name);
        if (code || (string && among(name, &args[1])))
            continue;
        gn_buf_append_str(&buf, first ? "" : ", ");
        first = false;
        if (it.object) {
            gn_buf_append_bytes(&buf, it.key);
            gn_buf_append_str(&buf, ": ");
        }
        gn_buf_append_bytes(&buf, it.value);
    }
    gn_buf_append_u8(&buf, kind == GN_JSON_OBJECT ? '}' : ']');
    return take(call, code, &buf, out);
}

static gn_code delete_element(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes json = args[0].as.bytes;
    gn_json_kind kind = gn_json_kind_of(json);
    if (kind != GN_JSON_ARRAY)
        return kind == GN_JSON_OBJECT ? cannot_delete(call, "object", true) : cannot_delete(call, "scalar", false);
    int64_t index = args[1].as.i32, at = 0;
    if (index < 0)
        index += gn_json_count(json);
    gn_buf buf;
    bool first = true;
    gn_text_begin(call->eval, &buf);
    gn_buf_append_u8(&buf, '[');
    for (gn_json_iter it = gn_json_open(json); gn_json_next(&it); at++) {
        if (at == index)
            continue;
        gn_buf_append_str(&buf, first ? "" : ", ");
        first = false;
        gn_buf_append_bytes(&buf, it.value);
    }
    gn_buf_append_u8(&buf, ']');
    return take(call, GN_OK, &buf, out);
}

/* ---- changing at a path ---- */

enum { SET, INSERT, DELETE };

typedef struct change {
    const gn_call *call;
    gn_value *steps;
    uint32_t n_steps;
    gn_bytes value;
    uint8_t what;
    bool option; /* SET: create what is missing; INSERT: behind the place */
    gn_buf *buf;
} change;

static gn_code copy_changed(const change *c, gn_bytes json, uint32_t step);

static void put_separator(const change *c, bool *first)
{
    gn_buf_append_str(c->buf, *first ? "" : ", ");
    *first = false;
}

/* The element or member at the last step of the path. */
static gn_code put_target(const change *c, const gn_json_iter *it, bool *first)
{
    if (c->what == DELETE)
        return GN_OK;
    if (c->what == INSERT && it->object) {
        gn_error_set(c->call->eval->err, GN_INVALID_PARAMETER, "cannot replace existing key");
        gn_error_hint(c->call->eval->err, "Try using the function jsonb_set to replace key value.");
        return GN_INVALID_PARAMETER;
    }
    put_separator(c, first);
    if (it->object) {
        gn_buf_append_bytes(c->buf, it->key);
        gn_buf_append_str(c->buf, ": ");
    }
    if (c->what == INSERT && c->option) {
        gn_buf_append_bytes(c->buf, it->value);
        put_separator(c, first);
    }
    gn_buf_append_bytes(c->buf, c->value);
    if (c->what == INSERT && !c->option) {
        put_separator(c, first);
        gn_buf_append_bytes(c->buf, it->value);
    }
    return GN_OK;
}

static gn_code copy_object(const change *c, gn_bytes json, uint32_t step)
{
    const gn_value *key = &c->steps[step];
    bool last = step + 1 == c->n_steps, found = false, first = true;
    gn_code code = GN_OK;
    gn_buf_append_u8(c->buf, '{');
    for (gn_json_iter it = gn_json_open(json); !code && gn_json_next(&it);) {
        gn_bytes name;
        code = gn_json_unescape(it.key, c->call->eval, &name);
        if (code)
            break;
        bool here = gn_bytes_eq(name, key->as.bytes);
        found |= here;
        if (here && last) {
            code = put_target(c, &it, &first);
            continue;
        }
        put_separator(c, &first);
        gn_buf_append_bytes(c->buf, it.key);
        gn_buf_append_str(c->buf, ": ");
        if (here)
            code = copy_changed(c, it.value, step + 1);
        else
            gn_buf_append_bytes(c->buf, it.value);
    }
    if (!found && last && (c->what == INSERT || (c->what == SET && c->option))) {
        put_separator(c, &first);
        gn_json_quote(key->as.bytes, c->buf);
        gn_buf_append_str(c->buf, ": ");
        gn_buf_append_bytes(c->buf, c->value);
    }
    gn_buf_append_u8(c->buf, '}');
    return code;
}

static gn_code path_index(const change *c, uint32_t step, int64_t *index)
{
    gn_bytes text = c->steps[step].as.bytes;
    gn_value number;
    gn_code code =
        gn_value_parse(text, gn_type_of(GN_T_INT4), c->call->eval->format, c->call->eval->arena, &number, NULL);
    if (code)
        return gn_error_set(c->call->eval->err, GN_BAD_TEXT, "path element at position %u is not an integer: \"%.*s\"",
                            step + 1, (int)(text.len > 60 ? 60 : text.len), (const char *)text.data);
    *index = number.as.i32;
    return GN_OK;
}

static gn_code copy_array(const change *c, gn_bytes json, uint32_t step)
{
    bool last = step + 1 == c->n_steps, first = true, creates = c->what == INSERT || (c->what == SET && c->option);
    int64_t index = 0, at = 0, count = gn_json_count(json);
    gn_code code = path_index(c, step, &index);
    if (code)
        return code;
    if (index < 0)
        index = index + count < 0 ? -1 : index + count;
    gn_buf_append_u8(c->buf, '[');
    if (index < 0 && last && creates) { /* before the first */
        put_separator(c, &first);
        gn_buf_append_bytes(c->buf, c->value);
    }
    for (gn_json_iter it = gn_json_open(json); !code && gn_json_next(&it); at++) {
        if (at == index && last) {
            code = put_target(c, &it, &first);
            continue;
        }
        put_separator(c, &first);
        if (at == index)
            code = copy_changed(c, it.value, step + 1);
        else
            gn_buf_append_bytes(c->buf, it.value);
    }
    if (index >= count && last && creates) {
        put_separator(c, &first);
        gn_buf_append_bytes(c->buf, c->value);
    }
    gn_buf_append_u8(c->buf, ']');
    return code;
}

static gn_code copy_changed(const change *c, gn_bytes json, uint32_t step)
{
    if (c->steps[step].is_null)
        return gn_error_set(c->call->eval->err, GN_NULL_NOT_ALLOWED, "path element at position %u is null", step + 1);
    switch (gn_json_kind_of(json)) {
    case GN_JSON_OBJECT:
        return copy_object(c, json, step);
    case GN_JSON_ARRAY:
        return copy_array(c, json, step);
    default:
        gn_buf_append_bytes(c->buf, json);
        return GN_OK;
    }
}

static gn_code change_path(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_json_kind kind = gn_json_kind_of(args[0].as.bytes);
    uint8_t what = call->function->op;
    if (kind != GN_JSON_OBJECT && kind != GN_JSON_ARRAY)
        return gn_error_set(call->eval->err, GN_INVALID_PARAMETER,
                            what == DELETE ? "cannot delete path in scalar" : "cannot set path in scalar");
    bool creates = call->n_args > 3 ? args[3].as.boolean : what == SET;
    if ((what == DELETE || (what == SET && !creates)) && gn_json_count(args[0].as.bytes) == 0) {
        out->as.bytes = args[0].as.bytes; /* nothing there to change, whatever the path */
        return GN_OK;
    }
    gn_buf buf;
    change c = {.call = call, .what = what, .buf = &buf};
    c.option = creates;
    c.value = what == DELETE ? (gn_bytes){NULL, 0} : args[2].as.bytes;
    gn_array_iter it = gn_array_open(&args[1]);
    c.steps = gn_eval_alloc(call->eval, ((size_t)it.n_items + 1) * sizeof *c.steps);
    if (!c.steps)
        return GN_OUT_OF_MEMORY;
    while (gn_array_next(&it, &c.steps[c.n_steps]))
        c.n_steps++;
    if (c.n_steps == 0) {
        out->as.bytes = args[0].as.bytes;
        return GN_OK;
    }
    gn_text_begin(call->eval, &buf);
    return take(call, copy_changed(&c, args[0].as.bytes, 0), &buf, out);
}

/* ---- stripping and showing ---- Depth is bounded by the parsers of both types. */

/* A json string is written anew: with no more escapes than it needs. */
static gn_code put_string(const gn_eval *eval, gn_bytes raw, gn_buf *buf)
{
    gn_bytes text;
    gn_code code = gn_json_unescape(raw, eval, &text);
    if (!code)
        gn_json_quote(text, buf);
    return code;
}

static gn_code put_stripped(const gn_eval *eval, gn_bytes json, gn_buf *buf)
{
    gn_json_kind kind = gn_json_kind_of(json);
    bool first = true;
    gn_code code = GN_OK;
    if (kind == GN_JSON_STRING)
        return put_string(eval, gn_json_trim(json), buf);
    if (kind != GN_JSON_OBJECT && kind != GN_JSON_ARRAY) {
        gn_buf_append_bytes(buf, gn_json_trim(json));
        return GN_OK;
    }
    gn_buf_append_u8(buf, kind == GN_JSON_OBJECT ? '{' : '[');
    for (gn_json_iter it = gn_json_open(json); !code && gn_json_next(&it);) {
        if (it.object && gn_json_kind_of(it.value) == GN_JSON_NULL)
            continue;
        gn_buf_append_str(buf, first ? "" : ",");
        first = false;
        if (it.object) {
            code = put_string(eval, it.key, buf);
            gn_buf_append_u8(buf, ':');
        }
        if (!code)
            code = put_stripped(eval, it.value, buf);
    }
    gn_buf_append_u8(buf, kind == GN_JSON_OBJECT ? '}' : ']');
    return code;
}

static gn_code strip_nulls(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    return take(call, put_stripped(call->eval, args[0].as.bytes, &buf), &buf, out);
}

static void put_line(gn_buf *buf, uint32_t depth)
{
    gn_buf_append_u8(buf, '\n');
    for (uint32_t i = 0; i < depth; i++)
        gn_buf_append_str(buf, "    ");
}

static void put_pretty(gn_bytes json, uint32_t depth, gn_buf *buf)
{
    gn_json_kind kind = gn_json_kind_of(json);
    bool first = true;
    if (kind != GN_JSON_OBJECT && kind != GN_JSON_ARRAY) {
        gn_buf_append_bytes(buf, json);
        return;
    }
    gn_buf_append_u8(buf, kind == GN_JSON_OBJECT ? '{' : '[');
    for (gn_json_iter it = gn_json_open(json); gn_json_next(&it);) {
        gn_buf_append_str(buf, first ? "" : ",");
        first = false;
        put_line(buf, depth + 1);
        if (it.object) {
            gn_buf_append_bytes(buf, it.key);
            gn_buf_append_str(buf, ": ");
        }
        put_pretty(it.value, depth + 1, buf);
    }
    put_line(buf, depth);
    gn_buf_append_u8(buf, kind == GN_JSON_OBJECT ? '}' : ']');
}

static gn_code pretty(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    put_pretty(args[0].as.bytes, 0, &buf);
    return gn_text_take(call->eval, &buf, out);
}

/* clang-format off */
#define BUILD(name, type, kernel) \
    {name, GN_TY(type), 0, GN_STABLE, GN_F_NULLS, 0, {}, .row = kernel}, \
    {name, GN_TY(type), 1, GN_STABLE, GN_F_NULLS | GN_F_VARIADIC, 0, {GN_TY(ANY)}, .row = kernel},
#define J GN_TY(JSONB)

static const gn_function functions[] = {
    {"to_json", GN_TY(JSON), 1, GN_STABLE, 0, 0, {GN_TY(ANYELEMENT)}, .row = to_json},
    {"to_jsonb", J, 1, GN_STABLE, 0, 0, {GN_TY(ANYELEMENT)}, .row = to_json},
    {"array_to_json", GN_TY(JSON), 1, GN_STABLE, 0, 0, {GN_TY(ANYARRAY)}, .row = to_json},
    {"array_to_json", GN_TY(JSON), 2, GN_STABLE, 0, 0, {GN_TY(ANYARRAY), GN_TY(BOOL)}, .row = array_to_json},
    {"json_object", GN_TY(JSON), 1, GN_IMMUTABLE, 0, 0, {GN_AR(TEXT)}, .row = object_of_texts},
    {"json_object", GN_TY(JSON), 2, GN_IMMUTABLE, 0, 0, {GN_AR(TEXT), GN_AR(TEXT)}, .row = object_of_texts},
    {"jsonb_object", J, 1, GN_IMMUTABLE, 0, 0, {GN_AR(TEXT)}, .row = object_of_texts},
    {"jsonb_object", J, 2, GN_IMMUTABLE, 0, 0, {GN_AR(TEXT), GN_AR(TEXT)}, .row = object_of_texts},
    BUILD("json_build_array", JSON, build_array) BUILD("jsonb_build_array", JSONB, build_array)
    BUILD("json_build_object", JSON, build_object) BUILD("jsonb_build_object", JSONB, build_object)
    {"||", J, 2, GN_IMMUTABLE, 0, 0, {J, J}, .row = concat},
    {"-", J, 2, GN_IMMUTABLE, 0, 0, {J, GN_TY(TEXT)}, .row = delete_names},
    {"-", J, 2, GN_IMMUTABLE, 0, 0, {J, GN_AR(TEXT)}, .row = delete_names},
    {"-", J, 2, GN_IMMUTABLE, 0, 0, {J, GN_TY(INT4)}, .row = delete_element},
    {"#-", J, 2, GN_IMMUTABLE, 0, DELETE, {J, GN_AR(TEXT)}, .row = change_path},
    {"jsonb_set", J, 3, GN_IMMUTABLE, 0, SET, {J, GN_AR(TEXT), J}, .row = change_path},
    {"jsonb_set", J, 4, GN_IMMUTABLE, 0, SET, {J, GN_AR(TEXT), J, GN_TY(BOOL)}, .row = change_path},
    {"jsonb_insert", J, 3, GN_IMMUTABLE, 0, INSERT, {J, GN_AR(TEXT), J}, .row = change_path},
    {"jsonb_insert", J, 4, GN_IMMUTABLE, 0, INSERT, {J, GN_AR(TEXT), J, GN_TY(BOOL)}, .row = change_path},
    {"json_strip_nulls", GN_TY(JSON), 1, GN_IMMUTABLE, 0, 0, {GN_TY(JSON)}, .row = strip_nulls},
    {"jsonb_strip_nulls", J, 1, GN_IMMUTABLE, 0, 0, {J}, .row = strip_nulls},
    {"jsonb_pretty", GN_TY(TEXT), 1, GN_IMMUTABLE, 0, 0, {J}, .row = pretty},
};
/* clang-format on */

const gn_function_list gn_functions_json_build = {functions, sizeof functions / sizeof *functions};
