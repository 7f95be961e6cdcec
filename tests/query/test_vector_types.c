/* halfvec, sparsevec and bit strings: binary forms, damaged bytes, keys, order and hash, and halves themselves. Text
 * and functions are in tests/coord/sql/vector_types.sql. */
#include "base/versions.h"
#include "query/row.h"
#include "query/vector.h"
#include "tests/query/values.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define T(id) gn_type_of(GN_T_##id)

static gn_bytes wire_of(gn_arena *arena, const gn_value *v)
{
    gn_buf buf;
    gn_buf_init(&buf, NULL, 1 << 20);
    assert_true(gn_value_send(v, &buf));
    void *copy = gn_arena_memdup(arena, buf.data, buf.len);
    gn_bytes bytes = gn_bytes_of(copy, buf.len);
    gn_buf_close(&buf);
    return bytes;
}

static void check_round_trip(gn_type type, const char *text, const char *hex)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_value v = parsed(arena, type, text), back;
    gn_bytes wire = wire_of(arena, &v);
    char got[200] = "";
    for (size_t i = 0; i < wire.len && i < 60; i++)
        snprintf(got + 2 * i, 3, "%02x", wire.data[i]);
    assert_string_equal(got, hex);
    assert_int_equal(gn_value_recv(wire, type, arena, &back, NULL), GN_OK);
    assert_int_equal(gn_value_compare(&v, &back), 0);
    assert_int_equal(gn_value_hash(&v), gn_value_hash(&back));
    assert_true(gn_value_bytes_sound(type, back.as.bytes));
    for (size_t len = 0; len < wire.len; len++) /* no prefix of it is one */
        assert_int_not_equal(gn_value_recv(gn_bytes_of(wire.data, len), type, arena, &back, NULL), GN_OK);
    gn_arena_destroy(arena);
}

static void binary_forms_are_those_of_pgvector_and_postgresql(void **state)
{
    (void)state;
    check_round_trip(T(HALFVEC), "[1,-2,0.5]", "000300003c00c0003800");
    check_round_trip(T(SPARSEVEC), "{1:1,5:-2}/9",
                     "000000090000000200000000"
                     "0000000000000004"
                     "3f800000c0000000");
    check_round_trip(T(SPARSEVEC), "{}/3", "000000030000000000000000");
    check_round_trip(T(BIT), "1010000011", "0000000aa0c0");
    check_round_trip(T(VARBIT), "", "00000000");
    check_round_trip(T(VARBIT), "10000000", "0000000880");
}

static void check_bad_wire(gn_type type, const char *hex, const char *message)
{
    uint8_t bytes[64];
    size_t n = strlen(hex) / 2;
    gn_arena *arena = gn_arena_create(NULL);
    gn_error err = {0};
    gn_value v;
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    assert_int_not_equal(gn_value_recv(gn_bytes_of(bytes, n), type, arena, &v, &err), GN_OK);
    assert_string_equal(err.message, message);
    gn_arena_destroy(arena);
}

/* The largest exponent that there is, and the sign, at each place of what is taken in pairs. */
static void binary_vectors_are_taken_whatever_their_elements(void **state)
{
    static const uint8_t bytes[] = {0,    5, 0, 0, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff,
                                    0x80, 0, 0, 0, 0,    0,    0,    1,    0xff, 0x7f, 0xff, 0xff};
    const float wanted[] = {FLT_MAX, -FLT_MAX, -0.0f, FLT_TRUE_MIN, -FLT_MAX};
    gn_arena *arena = gn_arena_create(NULL);
    gn_value v;
    (void)state;
    assert_int_equal(gn_value_recv(gn_bytes_of(bytes, sizeof bytes), T(VECTOR), arena, &v, NULL), GN_OK);
    assert_int_equal(v.as.bytes.len, sizeof wanted);
    assert_memory_equal(v.as.bytes.data, wanted, sizeof wanted);
    gn_arena_destroy(arena);
}

static void binary_forms_that_cannot_be_are_refused(void **state)
{
    (void)state;
    check_bad_wire(T(VECTOR), "000300007fc000003f8000003f800000", "NaN not allowed in vector");
    check_bad_wire(T(VECTOR), "000300003f800000ffc000003f800000", "NaN not allowed in vector");
    check_bad_wire(T(VECTOR), "000300003f8000003f8000007f800000", "infinite value not allowed in vector");
    check_bad_wire(T(VECTOR), "00020000ff8000003f800000", "infinite value not allowed in vector");
    check_bad_wire(T(HALFVEC), "000100007e00", "NaN not allowed in halfvec");
    check_bad_wire(T(HALFVEC), "00010000fc00", "infinite value not allowed in halfvec");
    check_bad_wire(T(HALFVEC), "00000000", "halfvec must have at least 1 dimension");
    check_bad_wire(T(HALFVEC), "ffff0000", "halfvec must have at least 1 dimension");
    check_bad_wire(T(HALFVEC), "000100013c00", "expected unused to be 0, not 1");
    check_bad_wire(with_typmod(GN_T_HALFVEC, 2), "000100003c00", "expected 2 dimensions, not 1");
    check_bad_wire(T(SPARSEVEC),
                   "000000030000000100000000"
                   "00000003"
                   "3f800000",
                   "sparsevec index out of bounds");
    check_bad_wire(T(SPARSEVEC),
                   "000000030000000100000000"
                   "ffffffff"
                   "3f800000",
                   "sparsevec index out of bounds");
    check_bad_wire(T(SPARSEVEC),
                   "000000030000000100000000"
                   "00000001"
                   "00000000",
                   "binary representation of sparsevec cannot contain zero values");
    check_bad_wire(T(SPARSEVEC),
                   "000000030000000100000000"
                   "00000001"
                   "7fc00000",
                   "NaN not allowed in sparsevec");
    check_bad_wire(T(SPARSEVEC),
                   "000000030000000200000000"
                   "0000000100000000"
                   "3f8000003f800000",
                   "sparsevec indices must be in ascending order");
    check_bad_wire(T(SPARSEVEC),
                   "000000030000000200000000"
                   "0000000100000001"
                   "3f8000003f800000",
                   "sparsevec indices must not contain duplicates");
    check_bad_wire(T(SPARSEVEC), "0000000300003e8100000000", "sparsevec cannot have more than 16000 non-zero elements");
    check_bad_wire(T(SPARSEVEC), "00000003ffffffff00000000", "sparsevec cannot have more than 16000 non-zero elements");
    check_bad_wire(T(SPARSEVEC), "800000000000000000000000", "sparsevec must have at least 1 dimension");
    check_bad_wire(T(BIT), "ffffffff", "invalid length in external bit string");
    check_bad_wire(T(BIT), "7fffffff", "invalid length in external bit string");
    check_bad_wire(with_typmod(GN_T_BIT, 3), "00000002c0", "bit string length 2 does not match type bit(3)");
}

/* Bytes from another node: whatever they are, they are refused or can be printed. */
static void damaged_bytes_are_refused_or_harmless(void **state)
{
    static const gn_type_id types[] = {GN_T_HALFVEC, GN_T_SPARSEVEC, GN_T_BIT, GN_T_VARBIT};
    static const char *const texts[] = {"[1,2,3]", "{2:1,7:3,9:4}/12", "101010101", "1"};
    (void)state;
    rng r = {.state = 77};
    for (uint32_t round = 0; round < 4000; round++) {
        gn_arena *arena = gn_arena_create(NULL);
        uint32_t t = round % 4;
        gn_value v = parsed(arena, gn_type_of(types[t]), texts[t]);
        uint8_t *copy = gn_arena_memdup(arena, v.as.bytes.data, v.as.bytes.len);
        copy[draw_below(&r, v.as.bytes.len)] ^= (uint8_t)(1u << draw_below(&r, 8));
        v.as.bytes = gn_bytes_of(copy, v.as.bytes.len - draw_below(&r, 2) * draw_below(&r, v.as.bytes.len));
        if (gn_value_bytes_sound(v.type, v.as.bytes))
            printed(arena, &v, NULL);
        gn_arena_destroy(arena);
    }
}

static gn_value random_bits(rng *r, gn_arena *arena)
{
    gn_value v = {.type = T(VARBIT)};
    uint64_t n = draw_below(r, 20);
    uint8_t *bits = gn_bits_create(arena, n, &v.as.bytes);
    for (uint64_t i = 0; i < n; i++)
        bits[i / 8] |= (uint8_t)((draw_below(r, 4) == 0) << (7 - i % 8));
    return v;
}

static void keys_of_bit_strings_have_their_order(void **state)
{
    (void)state;
    rng r = {.state = 5};
    for (int round = 0; round < 3000; round++) {
        gn_arena *arena = gn_arena_create(NULL);
        gn_value a = random_bits(&r, arena), b = random_bits(&r, arena), back;
        bool down = round % 2;
        gn_buf x, y;
        gn_buf_init(&x, NULL, 1000);
        gn_buf_init(&y, NULL, 1000);
        assert_int_equal(gn_key_append(&x, &a, down, false, NULL), GN_OK);
        assert_int_equal(gn_key_append(&y, &b, down, false, NULL), GN_OK);
        int by_key = gn_bytes_cmp(gn_buf_bytes(&x), gn_buf_bytes(&y)), by_value = gn_value_compare(&a, &b);
        by_key = (by_key > 0) - (by_key < 0);
        by_value = (by_value > 0) - (by_value < 0);
        assert_int_equal(down ? -by_key : by_key, by_value);
        gn_bytes key = gn_buf_bytes(&x), skipped = key;
        assert_int_equal(gn_key_read(&key, a.type, down, false, arena, &back, NULL), GN_OK);
        assert_int_equal(gn_key_skip(&skipped, a.type, down, NULL), GN_OK);
        assert_int_equal(key.len, 0);
        assert_int_equal(skipped.len, 0);
        assert_int_equal(gn_value_compare(&a, &back), 0);
        gn_buf_close(&x);
        gn_buf_close(&y);
        gn_arena_destroy(arena);
    }
}

/* Sparse vectors are ordered as dense ones, and equal ones hash alike. */
static void sparse_order_is_that_of_dense_vectors(void **state)
{
    (void)state;
    rng r = {.state = 9};
    for (int round = 0; round < 3000; round++) {
        gn_arena *arena = gn_arena_create(NULL);
        float numbers[2][6] = {{0}};
        size_t n[2];
        gn_value dense[2], sparse[2];
        for (int k = 0; k < 2; k++) {
            n[k] = 3 + draw_below(&r, 3);
            for (size_t i = 0; i < n[k]; i++)
                numbers[k][i] = (float)draw_below(&r, 3) - 1;
            assert_int_equal(gn_vector_of_floats(numbers[k], n[k], T(VECTOR), arena, &dense[k], NULL), GN_OK);
            assert_int_equal(
                gn_value_cast(&dense[k], T(SPARSEVEC), GN_CAST_IMPLICIT, &default_format, arena, &sparse[k], NULL),
                GN_OK);
        }
        assert_int_equal(gn_value_compare(&dense[0], &dense[1]), gn_value_compare(&sparse[0], &sparse[1]));
        if (gn_value_compare(&sparse[0], &sparse[1]) == 0)
            assert_int_equal(gn_value_hash(&sparse[0]), gn_value_hash(&sparse[1]));
        gn_arena_destroy(arena);
    }
}

static void halves_go_to_floats_and_back(void **state)
{
    (void)state;
    enum { ALL = 65536 };
    uint16_t *halves = malloc(ALL * sizeof *halves);
    float *floats = malloc(ALL * sizeof *floats);
    for (uint32_t i = 0; i < ALL; i++)
        halves[i] = (uint16_t)i;
    gn_floats_of_f16((const uint8_t *)halves, floats, ALL - 3); /* not a multiple of what is done at once */
    gn_floats_of_f16((const uint8_t *)(halves + ALL - 3), floats + ALL - 3, 3);
    for (uint32_t i = 0; i < ALL; i++) {
        if (!isfinite(floats[i]))
            continue;
        assert_true(floats[i] == gn_float_of_f16((uint16_t)i));
        assert_int_equal(gn_f16_of_float(floats[i]), i);
    }
    assert_int_equal(gn_f16_of_float(nextafterf(GN_F16_OVERFLOW, 0)), 0x7bff);
    free(halves);
    free(floats);
}

/* What release 0.1 does not know may stand in no table before every node's program does. */
static void new_types_wait_for_a_cluster_version(void **state)
{
    (void)state;
    assert_int_equal(gn_type_since(T(VECTOR)), 0);
    assert_int_equal(gn_type_since(T(INT4)), 0);
    assert_int_equal(gn_type_since(T(HALFVEC)), GN_SINCE_VECTOR_TYPES);
    assert_int_equal(gn_type_since(gn_type_array_of(GN_T_BIT)), GN_SINCE_VECTOR_TYPES);
    assert_int_equal(gn_type_oid(T(BIT)), 1560);
    assert_int_equal(gn_type_oid(gn_type_array_of(GN_T_VARBIT)), 1563);
}

static void casts_are_allowed_as_in_pgvector(void **state)
{
    (void)state;
    const gn_cast_context i = GN_CAST_IMPLICIT, a = GN_CAST_ASSIGNMENT;
    assert_true(gn_cast_allowed(T(VECTOR), T(HALFVEC), i));
    assert_true(gn_cast_allowed(T(VECTOR), T(SPARSEVEC), i));
    assert_true(gn_cast_allowed(T(HALFVEC), T(SPARSEVEC), i));
    assert_false(gn_cast_allowed(T(HALFVEC), T(VECTOR), i));
    assert_true(gn_cast_allowed(T(HALFVEC), T(VECTOR), a));
    assert_false(gn_cast_allowed(T(SPARSEVEC), T(VECTOR), i));
    assert_true(gn_cast_allowed(T(SPARSEVEC), T(HALFVEC), a));
    assert_true(gn_cast_allowed(gn_type_array_of(GN_T_INT4), T(SPARSEVEC), a));
    assert_false(gn_cast_allowed(gn_type_array_of(GN_T_INT8), T(HALFVEC), a));
    assert_true(gn_cast_allowed(T(HALFVEC), gn_type_array_of(GN_T_FLOAT4), a));
    assert_false(gn_cast_allowed(T(HALFVEC), gn_type_array_of(GN_T_FLOAT4), i));
    assert_true(gn_cast_allowed(T(BIT), T(VARBIT), i));
    assert_false(gn_cast_allowed(T(INT4), T(BIT), a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binary_forms_are_those_of_pgvector_and_postgresql),
        cmocka_unit_test(binary_vectors_are_taken_whatever_their_elements),
        cmocka_unit_test(binary_forms_that_cannot_be_are_refused),
        cmocka_unit_test(damaged_bytes_are_refused_or_harmless),
        cmocka_unit_test(keys_of_bit_strings_have_their_order),
        cmocka_unit_test(sparse_order_is_that_of_dense_vectors),
        cmocka_unit_test(halves_go_to_floats_and_back),
        cmocka_unit_test(new_types_wait_for_a_cluster_version),
        cmocka_unit_test(casts_are_allowed_as_in_pgvector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
