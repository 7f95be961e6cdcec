/* Values: dispatch to the operations of each type, and what all types have in common. */
#include "query/value.h"

#include "base/limits.h"
#include "query/array.h"
#include "query/numeric.h"
#include "query/value_private.h"
#include "query/vector.h"

#include <strings.h>
#include <xxhash.h>

static const gn_type_ops *const scalar_ops[GN_T_COUNT] = {
    [GN_T_JSON] = &gn_json_ops,         [GN_T_JSONB] = &gn_jsonb_ops,         [GN_T_UUID] = &gn_uuid_ops,
    [GN_T_BOOL] = &gn_bool_ops,         [GN_T_BYTEA] = &gn_bytea_ops,         [GN_T_INT8] = &gn_int8_ops,
    [GN_T_INT2] = &gn_int2_ops,         [GN_T_INT4] = &gn_int4_ops,           [GN_T_TEXT] = &gn_text_ops,
    [GN_T_FLOAT4] = &gn_float4_ops,     [GN_T_FLOAT8] = &gn_float8_ops,       [GN_T_UNKNOWN] = &gn_text_ops,
    [GN_T_VARCHAR] = &gn_varchar_ops,   [GN_T_VECTOR] = &gn_vector_ops,       [GN_T_NUMERIC] = &gn_numeric_ops,
    [GN_T_DATE] = &gn_date_ops,         [GN_T_TIMESTAMP] = &gn_timestamp_ops, [GN_T_TIMESTAMPTZ] = &gn_timestamptz_ops,
    [GN_T_INTERVAL] = &gn_interval_ops, [GN_T_HALFVEC] = &gn_vector_ops,      [GN_T_SPARSEVEC] = &gn_sparsevec_ops,
    [GN_T_BIT] = &gn_bit_ops,           [GN_T_VARBIT] = &gn_bit_ops,
};

const gn_type_ops *gn_type_ops_of(gn_type type)
{
    if (type.id >= GN_T_COUNT)
        return NULL;
    if (type.is_array)
        return scalar_ops[type.id] && type.id != GN_T_UNKNOWN ? &gn_array_ops : NULL;
    return scalar_ops[type.id];
}

bool gn_value_bytes_sound(gn_type type, gn_bytes bytes)
{
    size_t len = bytes.len;
    if (type.is_array)
        return gn_array_is_valid(bytes, gn_type_of((gn_type_id)type.id));
    if (type.id == GN_T_UUID || type.id == GN_T_INTERVAL)
        return len == 16;
    if (type.id == GN_T_VECTOR || type.id == GN_T_HALFVEC) {
        size_t size = gn_dense_size((gn_type_id)type.id);
        return len > 0 && len % size == 0 && len / size <= GN_MAX_DIMENSIONS;
    }
    if (type.id == GN_T_SPARSEVEC)
        return gn_sparse_is_valid(bytes);
    if (type.id == GN_T_BIT || type.id == GN_T_VARBIT)
        return gn_bits_is_valid(bytes);
    if (type.id == GN_T_NUMERIC)
        return gn_numeric_is_valid(bytes);
    return true;
}

static gn_code unsupported(gn_type type, gn_error *err)
{
    char name[64];
    return gn_error_set(err, GN_FEATURE, "type %s is not supported here", gn_type_format(type, name, sizeof(name)));
}

gn_code gn_value_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                       gn_error *err)
{
    const gn_type_ops *ops = gn_type_ops_of(type);
    return ops ? ops->parse(text, type, format, arena, out, err) : unsupported(type, err);
}

bool gn_value_print(const gn_value *value, const gn_format *format, gn_buf *out)
{
    const gn_type_ops *ops = gn_type_ops_of(value->type);
    GN_ASSERT(ops && !value->is_null);
    return ops->print(value, format, out);
}

gn_code gn_value_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    const gn_type_ops *ops = gn_type_ops_of(type);
    return ops ? ops->recv(wire, type, arena, out, err) : unsupported(type, err);
}

bool gn_value_send(const gn_value *value, gn_buf *out)
{
    const gn_type_ops *ops = gn_type_ops_of(value->type);
    GN_ASSERT(ops && !value->is_null);
    return ops->send(value, out);
}

int gn_value_compare(const gn_value *a, const gn_value *b)
{
    const gn_type_ops *ops = gn_type_ops_of(a->type);
    GN_ASSERT(ops && gn_type_same(a->type, b->type) && !a->is_null && !b->is_null);
    return ops->compare(a, b);
}

uint64_t gn_value_hash(const gn_value *value)
{
    if (value->is_null)
        return 0x9e3779b97f4a7c15u;
    const gn_type_ops *ops = gn_type_ops_of(value->type);
    GN_ASSERT(ops);
    return ops->hash(value);
}

gn_code gn_value_copy(const gn_value *value, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_value copy = *value;
    if (!value->is_null && gn_type_physical(value->type) == GN_P_BYTES) {
        void *data = gn_arena_memdup(arena, value->as.bytes.data, value->as.bytes.len);
        if (!data)
            return gn_error_oom(err, gn_arena_account(arena));
        copy.as.bytes.data = data;
    }
    *out = copy;
    return GN_OK;
}

/* ---- shared by the types ---- */

gn_bytes gn_trim_space(gn_bytes text)
{
    while (text.len && gn_is_space(text.data[0]))
        text = gn_bytes_of(text.data + 1, text.len - 1);
    while (text.len && gn_is_space(text.data[text.len - 1]))
        text.len--;
    return text;
}

bool gn_same_word(gn_bytes text, const char *word)
{
    return text.len == strlen(word) && strncasecmp((const char *)text.data, word, text.len) == 0;
}

uint64_t gn_hash_bytes(gn_bytes bytes)
{
    return XXH3_64bits(bytes.data, bytes.len);
}

uint64_t gn_hash_u64(uint64_t v)
{
    return XXH3_64bits(&v, sizeof(v));
}

int gn_quotable(gn_bytes text)
{
    enum { MOST = 200 };
    if (text.len <= MOST)
        return (int)text.len;
    size_t n = MOST;
    while (n && (text.data[n] & 0xc0) == 0x80)
        n--;
    return (int)n;
}

gn_code gn_bad_text(gn_bytes text, gn_type type, gn_error *err)
{
    size_t bad;
    if (!gn_utf8_valid(text, &bad))
        return gn_bad_utf8(text, bad, err);
    char name[64];
    gn_type plain = {.id = type.id, .is_array = type.is_array, .typmod = -1};
    return gn_error_set(err, GN_BAD_TEXT, "invalid input syntax for type %s: \"%.*s\"",
                        gn_type_format(plain, name, sizeof(name)), gn_quotable(text), (const char *)text.data);
}

gn_code gn_out_of_range(gn_bytes text, gn_type type, gn_error *err)
{
    char name[64];
    gn_type plain = {.id = type.id, .is_array = type.is_array, .typmod = -1};
    return gn_error_set(err, GN_NUMERIC_RANGE, "value \"%.*s\" is out of range for type %s", gn_quotable(text),
                        (const char *)text.data, gn_type_format(plain, name, sizeof(name)));
}

gn_code gn_bad_wire(gn_type type, gn_error *err)
{
    char name[64];
    gn_type plain = {.id = type.id, .is_array = type.is_array, .typmod = -1};
    return gn_error_set(err, GN_BAD_BINARY, "incorrect binary data format for type %s",
                        gn_type_format(plain, name, sizeof(name)));
}
