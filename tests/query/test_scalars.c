/* Text and binary forms of boolean, integers, floats, text, varchar, bytea and vector, beside PostgreSQL's. */
#include "values.h"

#include <math.h>
#include <stdlib.h>

#define T(id) gn_type_of(GN_T_##id)

static void boolean_takes_prefixes_of_its_words(void **state)
{
    (void)state;
    const char *yes[] = {"t", "tr", "TRUE", " true ", "y", "yes", "on", "1"};
    const char *no[] = {"f", "fals", "n", "No", "of", "off", "0\t"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        check_text(T(BOOL), yes[i], "t");
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        check_text(T(BOOL), no[i], "f");
    check_bad(T(BOOL), "o", "22P02", "invalid input syntax for type boolean: \"o\"");
    check_bad(T(BOOL), "truex", "22P02", "invalid input syntax for type boolean: \"truex\"");
    check_bad(T(BOOL), "", "22P02", "invalid input syntax for type boolean: \"\"");
}

static void integers_keep_their_ranges(void **state)
{
    (void)state;
    check_text(T(INT2), "-32768", "-32768");
    check_text(T(INT4), " +2147483647 ", "2147483647");
    check_text(T(INT8), "-9223372036854775808", "-9223372036854775808");
    check_text(T(INT8), "9223372036854775807", "9223372036854775807");
    check_text(T(INT4), "000000000000000000000000012", "12");
    check_bad(T(INT2), "32768", "22003", "value \"32768\" is out of range for type smallint");
    check_bad(T(INT4), "-2147483649", "22003", "value \"-2147483649\" is out of range for type integer");
    check_bad(T(INT8), "9223372036854775808", "22003", "value \"9223372036854775808\" is out of range for type bigint");
    check_bad(T(INT8), "99999999999999999999999", "22003",
              "value \"99999999999999999999999\" is out of range for type bigint");
    check_bad(T(INT4), "1.5", "22P02", "invalid input syntax for type integer: \"1.5\"");
    check_bad(T(INT4), "-", "22P02", "invalid input syntax for type integer: \"-\"");
    check_bad(T(INT4), "", "22P02", "invalid input syntax for type integer: \"\"");
    check_bad(T(INT4), "\xff", "22021", "invalid byte sequence for encoding \"UTF8\": 0xff");
}

static void floats_print_shortest(void **state)
{
    (void)state;
    static const char *const same[] = {"0",
                                       "-0",
                                       "1",
                                       "0.1",
                                       "-2.5",
                                       "1e+15",
                                       "1e-05",
                                       "0.0001",
                                       "NaN",
                                       "Infinity",
                                       "5e-324",
                                       "1.7976931348623157e+308",
                                       "123456789012345",
                                       "0.30000000000000004",
                                       "9007199254740993e+20"};
    for (size_t i = 0; i + 1 < sizeof(same) / sizeof(same[0]); i++)
        check_text(T(FLOAT8), same[i], same[i]);
    check_text(T(FLOAT8), "1e23", "9.999999999999999e+22"); /* an end of the interval is not inside it */
    check_text(T(FLOAT8), "100000000000000", "100000000000000");
    check_text(T(FLOAT8), "1000000000000000", "1e+15");
    check_text(T(FLOAT8), " -inf ", "-Infinity");
    check_text(T(FLOAT8), "0x1.8p1", "3");
    check_text(T(FLOAT4), "0.1", "0.1");
    check_text(T(FLOAT4), "123456", "123456");
    check_text(T(FLOAT4), "1234567", "1.234567e+06");
    check_text(T(FLOAT4), "16777217", "1.6777216e+07");
    check_text(T(FLOAT4), "1e-45", "1e-45");
    check_text(T(FLOAT4), "3.4028235e38", "3.4028235e+38");
}

static void floats_report_what_does_not_fit(void **state)
{
    (void)state;
    check_bad(T(FLOAT8), "1e400", "22003", "\"1e400\" is out of range for type double precision");
    check_bad(T(FLOAT8), "1e-400", "22003", "\"1e-400\" is out of range for type double precision");
    check_bad(T(FLOAT4), "1e40", "22003", "\"1e40\" is out of range for type real");
    check_bad(T(FLOAT8), "", "22P02", "invalid input syntax for type double precision: \"\"");
    check_bad(T(FLOAT8), ".", "22P02", "invalid input syntax for type double precision: \".\"");
    check_bad(T(FLOAT8), "1e", "22P02", "invalid input syntax for type double precision: \"1e\"");
    check_bad(T(FLOAT8), "1 2", "22P02", "invalid input syntax for type double precision: \"1 2\"");
    check_bad(T(FLOAT4), "abc", "22P02", "invalid input syntax for type real: \"abc\"");
}

static double f64_of(gn_arena *arena, const char *text)
{
    return parsed(arena, T(FLOAT8), text).as.f64;
}

/* Random bits through text and back; and decimals of random length against the C library's exact reading. */
static void floats_round_trip(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    rng r = {.state = 42};
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = draw(&r);
        double d;
        memcpy(&d, &bits, 8);
        if (i % 3 == 0)
            d = (double)(int64_t)bits / 1e6;
        if (isfinite(d)) {
            gn_value v = {.type = T(FLOAT8), .as.f64 = d};
            const char *text = printed(arena, &v, NULL);
            double back = f64_of(arena, text);
            assert_memory_equal(&d, &back, 8);
            char shorter[64]; /* one digit fewer would not do (it may be an end of the interval, only for large d) */
            int digits = 0;
            for (const char *p = text; *p && *p != 'e'; p++)
                digits += *p >= '0' && *p <= '9' && (digits || *p != '0');
            if (digits == 17 && fabs(d) < 1e15) {
                snprintf(shorter, sizeof(shorter), "%.16g", d);
                if (strtod(shorter, NULL) == d)
                    fail_msg("%s could be %s", text, shorter);
            }
        }
        uint32_t bits32 = (uint32_t)bits;
        float f;
        memcpy(&f, &bits32, 4);
        if (isfinite(f)) {
            gn_value v = {.type = T(FLOAT4), .as.f32 = f};
            float back = parsed(arena, T(FLOAT4), printed(arena, &v, NULL)).as.f32;
            assert_memory_equal(&f, &back, 4);
        }
        gn_arena_reset(arena);
    }
    for (int i = 0; i < 100000; i++) {
        char text[80];
        int n = 0, len = 1 + (int)draw_below(&r, 30), point = (int)draw_below(&r, 30);
        for (int j = 0; j < len; j++) {
            if (j == point)
                text[n++] = '.';
            text[n++] = (char)('0' + draw_below(&r, 10));
        }
        snprintf(text + n, 10, "e%d", (int)draw_below(&r, 37) - 30);
        float f = strtof(text, NULL), g = parsed(arena, T(FLOAT4), text).as.f32;
        double d = strtod(text, NULL), e = f64_of(arena, text);
        assert_memory_equal(&d, &e, 8);
        assert_memory_equal(&f, &g, 4);
        gn_arena_reset(arena);
    }
    gn_arena_destroy(arena);
}

static void fewer_float_digits_on_request(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    gn_format format = {.extra_float_digits = 0};
    gn_value v = parsed(arena, T(FLOAT8), "0.30000000000000004");
    assert_string_equal(printed(arena, &v, &format), "0.3");
    v = parsed(arena, T(FLOAT4), "0.1234567");
    assert_string_equal(printed(arena, &v, &format), "0.123457");
    gn_arena_destroy(arena);
}

static void text_must_be_utf8(void **state)
{
    (void)state;
    check_text(T(TEXT), "gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x98\x80", "gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x98\x80");
    static const struct {
        const char *text, *bytes;
    } bad[] = {{"abcdefghijkl\xc3(", "0xc3 0x28"},
               {"\x80", "0x80"},
               {"\xc0\xaf", "0xc0 0xaf"},
               {"\xed\xa0\x80", "0xed 0xa0 0x80"},
               {"\xf4\x90\x80\x80", "0xf4 0x90 0x80 0x80"},
               {"\xe2\x82", "0xe2 0x82"},
               {"\xe0\x80\x80", "0xe0 0x80 0x80"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char message[100];
        snprintf(message, sizeof(message), "invalid byte sequence for encoding \"UTF8\": %s", bad[i].bytes);
        check_bad(T(TEXT), bad[i].text, "22021", message);
    }
    gn_value v;
    gn_error err = {0};
    assert_int_equal(gn_value_recv(gn_bytes_of("a\0b", 3), T(TEXT), NULL, &v, &err), GN_INVALID_ENCODING);
    assert_string_equal(err.message, "invalid byte sequence for encoding \"UTF8\": 0x00");
}

static void varchar_counts_characters(void **state)
{
    (void)state;
    gn_type three = with_typmod(GN_T_VARCHAR, 3);
    check_text(three, "\xc3\xa4\xc3\xb6\xc3\xbc", "\xc3\xa4\xc3\xb6\xc3\xbc");
    check_text(three, "abc   ", "abc");
    check_bad(three, "abcd", "22001", "value too long for type character varying(3)");
}

static void bytea_reads_hex_and_escape(void **state)
{
    (void)state;
    check_text(T(BYTEA), "\\x00fFaB 01", "\\x00ffab01");
    check_text(T(BYTEA), "a\\\\b\\001\\377", "\\x615c6201ff");
    check_text(T(BYTEA), "", "\\x");
    check_bad(T(BYTEA), "\\x0", "22023", "invalid hexadecimal data: odd number of digits");
    check_bad(T(BYTEA), "\\x0g", "22023", "invalid hexadecimal digit: \"g\"");
    check_bad(T(BYTEA), "\\9", "22P02", "invalid input syntax for type bytea");
    gn_arena *arena = gn_arena_create(NULL);
    gn_format format = {.bytea_escape = true};
    gn_value v = parsed(arena, T(BYTEA), "\\x615c01ff");
    assert_string_equal(printed(arena, &v, &format), "a\\\\\\001\\377");
    gn_arena_destroy(arena);
}

static void vectors_read_and_print_as_pgvector(void **state)
{
    (void)state;
    check_text(T(VECTOR), "[1,2,3]", "[1,2,3]");
    check_text(T(VECTOR), " [ 1.5 , -2e3 ,0.1 ] ", "[1.5,-2000,0.1]");
    check_text(T(VECTOR), "[1e-50]", "[0]");
    gn_type three = with_typmod(GN_T_VECTOR, 3);
    check_bad(three, "[1,2]", "22000", "expected 3 dimensions, not 2");
    check_bad(three, "[1,2,3,4,5]", "22000", "expected 3 dimensions, not 5");
    check_bad(T(VECTOR), "[]", "22000", "vector must have at least 1 dimension");
    check_bad(T(VECTOR), "[NaN]", "22000", "NaN not allowed in vector");
    check_bad(T(VECTOR), "[1,Infinity]", "22000", "infinite value not allowed in vector");
    check_bad(T(VECTOR), "[4e38]", "22003", "\"4e38\" is out of range for type vector");
    check_bad(T(VECTOR), "1,2", "22P02", "invalid input syntax for type vector: \"1,2\"");
    check_bad(T(VECTOR), "[1,2", "22P02", "invalid input syntax for type vector: \"[1,2\"");
    check_bad(T(VECTOR), "[1,]", "22P02", "invalid input syntax for type vector: \"[1,]\"");
    check_bad(T(VECTOR), "[1]x", "22P02", "invalid input syntax for type vector: \"[1]x\"");
    char *text = malloc(2 * 16001 + 2);
    text[0] = '[';
    for (int i = 0; i < 16001; i++)
        memcpy(text + 1 + 2 * i, "1,", 2);
    memcpy(text + 2 * 16001, "]", 2);
    check_bad(T(VECTOR), text, "54000", "vector cannot have more than 16000 dimensions");
    free(text);
}

static void binary_forms_round_trip_and_refuse_other_sizes(void **state)
{
    (void)state;
    static const struct {
        gn_type_id id;
        const char *text;
    } cases[] = {{GN_T_BOOL, "t"},   {GN_T_INT2, "-2"},       {GN_T_INT4, "70000"},
                 {GN_T_INT8, "-1"},  {GN_T_FLOAT4, "1.5"},    {GN_T_FLOAT8, "-2.25"},
                 {GN_T_TEXT, "abc"}, {GN_T_BYTEA, "\\x0001"}, {GN_T_VECTOR, "[1,-2.5,3e-05]"}};
    gn_arena *arena = gn_arena_create(NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gn_type type = gn_type_of(cases[i].id);
        gn_value v = parsed(arena, type, cases[i].text), back;
        gn_buf wire;
        gn_buf_init(&wire, NULL, 1000);
        assert_true(gn_value_send(&v, &wire));
        assert_int_equal(gn_value_recv(gn_buf_bytes(&wire), type, arena, &back, NULL), GN_OK);
        assert_string_equal(printed(arena, &back, NULL), cases[i].text);
        assert_int_equal(gn_value_compare(&v, &back), 0);
        assert_true(gn_value_hash(&v) == gn_value_hash(&back));
        if (cases[i].id != GN_T_TEXT && cases[i].id != GN_T_BYTEA) {
            gn_bytes shorter = gn_bytes_of(wire.data, wire.len - 1);
            assert_int_equal(gn_value_recv(shorter, type, arena, &back, NULL), GN_BAD_BINARY);
        }
        gn_buf_close(&wire);
    }
    gn_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boolean_takes_prefixes_of_its_words),
        cmocka_unit_test(integers_keep_their_ranges),
        cmocka_unit_test(floats_print_shortest),
        cmocka_unit_test(floats_report_what_does_not_fit),
        cmocka_unit_test(floats_round_trip),
        cmocka_unit_test(fewer_float_digits_on_request),
        cmocka_unit_test(text_must_be_utf8),
        cmocka_unit_test(varchar_counts_characters),
        cmocka_unit_test(bytea_reads_hex_and_escape),
        cmocka_unit_test(vectors_read_and_print_as_pgvector),
        cmocka_unit_test(binary_forms_round_trip_and_refuse_other_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
