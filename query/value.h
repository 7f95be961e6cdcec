/* Values: one scalar of any type, its text and binary forms, comparison, hashing, casts.
 *
 * Encodings of GN_P_BYTES types in memory and in rows:
 *   text, varchar, json   UTF-8, valid, no NUL bytes
 *   jsonb                 canonical text as PostgreSQL prints it: keys ordered by length then bytes, duplicates gone
 *   bytea                 the bytes
 *   uuid                  16 bytes
 *   interval              months i32, days i32, microseconds i64, host order
 *   numeric               see query/numeric.h: canonical, so that equal values of equal scale have equal bytes
 *   vector                dimensions x float32, host order (the length gives the dimensions)
 *   halfvec, sparsevec, bit   see query/vector.h
 *   arrays                see query/array.h
 * date: days since 2000-01-01. timestamp(tz): microseconds since 2000-01-01 00:00 (UTC for tz). As PostgreSQL;
 * INT32/INT64 MIN and MAX are -infinity and infinity. */
#ifndef GN_QUERY_VALUE_H
#define GN_QUERY_VALUE_H

#include "base/buf.h"
#include "query/type.h"

typedef struct gn_value {
    gn_type type;
    bool is_null;
    union {
        bool boolean;
        int16_t i16;
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
        gn_bytes bytes; /* borrowed */
    } as;
} gn_value;

static inline gn_value gn_value_null(gn_type type)
{
    return (gn_value){.type = type, .is_null = true};
}

/* What formatting and parsing depend on (SET TimeZone, DateStyle is ISO always, extra_float_digits, bytea_output). */
typedef struct gn_format {
    int32_t tz_offset_s;    /* used when tz_name is NULL */
    const char *tz_name;    /* IANA name or NULL */
    int extra_float_digits; /* default 1: shortest exact */
    bool bytea_escape;      /* false: hex */
    int64_t now_us;         /* the transaction's time, for 'now', 'today'; microseconds since 2000-01-01 UTC */
} gn_format;

/* Text form, as PostgreSQL's type output and input functions. parse applies the typmod (length, precision, dimensions)
 * as an assignment does. Memory of the result comes from the arena or points into the input. Errors: GN_BAD_TEXT,
 * GN_NUMERIC_RANGE, GN_BAD_VECTOR, GN_STRING_TOO_LONG, GN_BAD_DATETIME, ... with PostgreSQL's message texts' sense. */
gn_code gn_value_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                       gn_error *err);
bool gn_value_print(const gn_value *value, const gn_format *format, gn_buf *out); /* false: buffer failed */

/* Binary form, as PostgreSQL's send and recv functions (vector: pgvector's: i16 dim, i16 0, float4s). */
gn_code gn_value_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err);
bool gn_value_send(const gn_value *value, gn_buf *out);

/* Total order within one type, PostgreSQL's: NaN is greatest and equal to itself; text by bytes ("C" collation).
 * Both of the same type and not NULL. */
int gn_value_compare(const gn_value *a, const gn_value *b);
uint64_t gn_value_hash(const gn_value *value); /* equal values (1.0 and 1.00 too) hash equally; NULL has its own */

/* Cast kinds as PostgreSQL's pg_cast: may a value of `from` become `to` by itself, in an assignment, or only by CAST?
 */
typedef enum gn_cast_context { GN_CAST_IMPLICIT, GN_CAST_ASSIGNMENT, GN_CAST_EXPLICIT } gn_cast_context;
bool gn_cast_allowed(gn_type from, gn_type to, gn_cast_context context);
/* Casts the value and applies to.typmod (explicit: cuts text silently as SQL wants; otherwise an error). */
gn_code gn_value_cast(const gn_value *value, gn_type to, gn_cast_context context, const gn_format *format,
                      gn_arena *arena, gn_value *out, gn_error *err);
/* Deep copy into the arena. */
gn_code gn_value_copy(const gn_value *value, gn_arena *arena, gn_value *out, gn_error *err);

/* Can bytes from storage or another node be taken for a value of this GN_P_BYTES type? Whoever reads the value later
 * does not look at sizes again. */
bool gn_value_bytes_sound(gn_type type, gn_bytes bytes);

/* UTF-8 without NUL? On failure *bad is the byte offset. */
bool gn_utf8_valid(gn_bytes text, size_t *bad);

#endif
