/* Short ways to make and show values in the tests of types. */
#ifndef GN_TESTS_QUERY_VALUES_H
#define GN_TESTS_QUERY_VALUES_H

/* cmocka.h needs the four before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
/* clang-format on */
#include "query/value.h"

#include <stdio.h>

static const gn_format default_format = {.extra_float_digits = 1};

static inline gn_type with_typmod(gn_type_id id, int32_t typmod)
{
    return (gn_type){.id = (uint8_t)id, .typmod = typmod};
}

static inline gn_value parsed(gn_arena *arena, gn_type type, const char *text)
{
    gn_value v;
    gn_error err = {0};
    gn_code code = gn_value_parse(gn_bytes_str(text), type, &default_format, arena, &v, &err);
    if (code != GN_OK)
        fail_msg("'%s': %s", text, err.message);
    return v;
}

/* The text form, in the arena. */
static inline const char *printed(gn_arena *arena, const gn_value *v, const gn_format *format)
{
    gn_buf buf;
    gn_buf_init(&buf, NULL, 1 << 26);
    assert_true(gn_value_print(v, format ? format : &default_format, &buf));
    const char *s = gn_arena_strndup(arena, (const char *)buf.data, buf.len);
    gn_buf_close(&buf);
    return s;
}

static inline void check_text(gn_type type, const char *in, const char *expected)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_value v = parsed(arena, type, in);
    const char *out = printed(arena, &v, NULL);
    if (strcmp(out, expected) != 0)
        fail_msg("'%s' printed as '%s', not '%s'", in, out, expected);
    gn_arena_destroy(arena);
}

static inline void check_bad(gn_type type, const char *in, const char *sqlstate, const char *message)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_value v;
    gn_error err = {0};
    gn_code code = gn_value_parse(gn_bytes_str(in), type, &default_format, arena, &v, &err);
    if (code == GN_OK)
        fail_msg("'%s' was accepted", in);
    assert_string_equal(gn_code_sqlstate(code), sqlstate);
    assert_string_equal(err.message, message);
    gn_arena_destroy(arena);
}

/* A small generator with a fixed seed (xorshift64*). */
typedef struct rng {
    uint64_t state;
} rng;

static inline uint64_t draw(rng *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545f4914f6cdd1du;
}

static inline uint64_t draw_below(rng *r, uint64_t n)
{
    return draw(r) % n;
}

#endif
