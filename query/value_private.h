/* What the files of the value layer share: one table of operations per type, error wordings, number scanning. */
#ifndef GN_QUERY_VALUE_PRIVATE_H
#define GN_QUERY_VALUE_PRIVATE_H

#include "base/assert.h"
#include "base/limits.h"
#include "query/value.h"

typedef struct gn_type_ops {
    gn_code (*parse)(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                     gn_error *err);
    bool (*print)(const gn_value *value, const gn_format *format, gn_buf *out);
    gn_code (*recv)(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err);
    bool (*send)(const gn_value *value, gn_buf *out);
    int (*compare)(const gn_value *a, const gn_value *b);
    uint64_t (*hash)(const gn_value *value);
} gn_type_ops;

extern const gn_type_ops gn_bool_ops, gn_int2_ops, gn_int4_ops, gn_int8_ops, gn_float4_ops, gn_float8_ops;
extern const gn_type_ops gn_text_ops, gn_varchar_ops, gn_bytea_ops, gn_vector_ops, gn_numeric_ops;
extern const gn_type_ops gn_sparsevec_ops, gn_bit_ops; /* gn_vector_ops: of halfvec, too */
extern const gn_type_ops gn_date_ops, gn_timestamp_ops, gn_timestamptz_ops, gn_interval_ops;
extern const gn_type_ops gn_json_ops, gn_jsonb_ops, gn_uuid_ops, gn_array_ops;

const gn_type_ops *gn_type_ops_of(gn_type type);

/* `invalid input syntax for type integer: "abc"`; text that is not UTF-8 is reported as such instead. */
gn_code gn_bad_text(gn_bytes text, gn_type type, gn_error *err);
/* `value "9999" is out of range for type smallint` */
gn_code gn_out_of_range(gn_bytes text, gn_type type, gn_error *err);
/* The part of `text` that a message quotes: whole characters, not too many. For "%.*s". */
int gn_quotable(gn_bytes text);
/* `invalid byte sequence for encoding "UTF8": 0xc3 0x28`, bytes from text[bad] on */
gn_code gn_bad_utf8(gn_bytes text, size_t bad, gn_error *err);
gn_code gn_bad_wire(gn_type type, gn_error *err); /* a binary value of the wrong size */

gn_bytes gn_trim_space(gn_bytes text); /* C's isspace, both ends */
static inline bool gn_is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}
static inline bool gn_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}
bool gn_same_word(gn_bytes text, const char *word); /* ASCII, case-insensitive */

/* Bytes of the first `characters` characters. */
size_t gn_utf8_prefix(gn_bytes text, size_t characters);
gn_code gn_varchar_limit(gn_bytes *text, gn_type type, bool explicit_cast, gn_error *err);

/* False: not a cast between dates and timestamps. value_datetime.c */
bool gn_cast_datetime(const gn_value *v, gn_type to, const gn_format *format, gn_value *out, gn_code *code,
                      gn_error *err);

uint64_t gn_hash_bytes(gn_bytes bytes);
uint64_t gn_hash_u64(uint64_t v);

/* ---- floats ---- */

typedef enum gn_scan_result { GN_SCAN_OK, GN_SCAN_SYNTAX, GN_SCAN_RANGE } gn_scan_result;

/* Reads a decimal number, NaN or Infinity at *p and advances *p behind it (also for GN_SCAN_RANGE). No white space. */
gn_scan_result gn_scan_f32(const uint8_t **p, const uint8_t *end, float *out);
gn_scan_result gn_scan_f64(const uint8_t **p, const uint8_t *end, double *out);

enum { GN_FLOAT_TEXT = 40 }; /* room for any float's text; not NUL-terminated */
/* extra_float_digits >= 1: the shortest text that reads back the same; else %.*g as PostgreSQL does. */
size_t gn_print_f32(float v, int extra_float_digits, char *out);
size_t gn_print_f64(double v, int extra_float_digits, char *out);
size_t gn_print_i64(int64_t v, char *out); /* at most 20 bytes */

int gn_compare_f64(double a, double b); /* NaN greatest and equal to itself; -0 = 0 */

#endif
