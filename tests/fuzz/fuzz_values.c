/* Text and binary forms of arrays, json and jsonb from outside: an error, or a value that is sound, comes back the same
 * from its own text, wire form and key, and equals itself. Input: a byte for the element type, one for the form, then
 * the value. */
#include "base/assert.h"
#include "base/limits.h"
#include "query/array.h"
#include "query/row.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const gn_type_id elements[] = {
    GN_T_BOOL,    GN_T_INT2,   GN_T_INT4,    GN_T_INT8,      GN_T_FLOAT4,      GN_T_FLOAT8,   GN_T_NUMERIC, GN_T_TEXT,
    GN_T_VARCHAR, GN_T_BYTEA,  GN_T_DATE,    GN_T_TIMESTAMP, GN_T_TIMESTAMPTZ, GN_T_INTERVAL, GN_T_UUID,    GN_T_JSON,
    GN_T_JSONB,   GN_T_VECTOR, GN_T_HALFVEC, GN_T_SPARSEVEC, GN_T_BIT,         GN_T_VARBIT};
enum { N_ELEMENTS = sizeof elements / sizeof *elements };

static const gn_format format = {.extra_float_digits = 1};

static void same(const gn_value *a, const gn_value *b)
{
    bool is_float = a->type.id == GN_T_FLOAT4 || a->type.id == GN_T_FLOAT8; /* there are many NaNs */
    GN_ASSERT(is_float || gn_bytes_eq(a->as.bytes, b->as.bytes));
    GN_ASSERT(gn_value_compare(a, b) == 0 && gn_value_hash(a) == gn_value_hash(b));
}

static void through_text(const gn_value *v, gn_arena *arena)
{
    gn_buf text;
    gn_value back;
    gn_buf_init(&text, NULL, GN_MAX_FIELD);
    bool ok = gn_value_print(v, &format, &text);
    GN_ASSERT(ok);
    gn_code code = gn_value_parse(gn_buf_bytes(&text), v->type, &format, arena, &back, NULL);
    GN_ASSERT(code == GN_OK);
    same(v, &back);
    gn_buf_close(&text);
}

static void through_wire(const gn_value *v, gn_arena *arena)
{
    gn_buf wire;
    gn_value back;
    gn_buf_init(&wire, NULL, GN_MAX_FIELD);
    bool ok = gn_value_send(v, &wire);
    GN_ASSERT(ok);
    gn_code code = gn_value_recv(gn_buf_bytes(&wire), v->type, arena, &back, NULL);
    GN_ASSERT(code == GN_OK);
    same(v, &back);
    gn_buf_close(&wire);
}

static void through_key(const gn_value *v, gn_arena *arena)
{
    gn_buf key;
    gn_value back;
    gn_buf_init(&key, NULL, 4 * GN_MAX_KEY);
    if (gn_key_append(&key, v, false, false, NULL) == GN_OK) {
        gn_bytes rest = gn_buf_bytes(&key);
        gn_code code = gn_key_read(&rest, v->type, false, false, arena, &back, NULL);
        GN_ASSERT(code == GN_OK && rest.len == 0 && gn_value_compare(v, &back) == 0);
    }
    gn_buf_close(&key);
}

static void check(const gn_value *v, gn_arena *arena)
{
    gn_type element = gn_type_of((gn_type_id)v->type.id);
    GN_ASSERT(!v->type.is_array || gn_array_is_valid(v->as.bytes, element));
    through_text(v, arena);
    through_wire(v, arena);
    through_key(v, arena);
}

/* Bytes as they might lie in storage, and as they might lie in an index. */
static void damaged(gn_bytes bytes, gn_type type, gn_arena *arena)
{
    gn_value v = {.type = type, .as.bytes = bytes}, item;
    if (gn_array_is_valid(bytes, gn_type_of((gn_type_id)type.id)))
        for (gn_array_iter it = gn_array_open(&v); gn_array_next(&it, &item);)
            ;
    gn_bytes rest = bytes;
    (void)gn_key_read(&rest, type, false, false, arena, &v, NULL);
    rest = bytes;
    (void)gn_key_skip(&rest, type, false, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 20000)
        return 0;
    gn_arena *arena = gn_arena_create(NULL);
    gn_type type = gn_type_array_of(elements[data[0] % N_ELEMENTS]);
    gn_bytes bytes = gn_bytes_of(data + 2, size - 2);
    gn_value v;
    gn_error err = {.code = GN_OK};
    gn_code code = GN_CORRUPT;
    switch (data[1] % 5) {
    case 0:
        code = gn_value_parse(bytes, type, &format, arena, &v, &err);
        break;
    case 1:
        code = gn_value_recv(bytes, type, arena, &v, &err);
        break;
    case 2:
        code = gn_value_parse(bytes, gn_type_of(GN_T_JSONB), &format, arena, &v, &err);
        break;
    case 3:
        code = gn_value_parse(bytes, gn_type_of(GN_T_JSON), &format, arena, &v, &err);
        break;
    default:
        damaged(bytes, type, arena);
    }
    if (code == GN_OK)
        check(&v, arena);
    gn_arena_destroy(arena);
    return 0;
}
