/* Text made from any values: concat, format, quoting; and the codings of bytea. */
#include "base/limits.h"
#include "query/text_private.h"

#include <stdio.h>

/* ---- concat ---- */

static gn_code concat(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    for (uint32_t i = 0; i < call->n_args; i++)
        if (!args[i].is_null)
            gn_text_output(call->eval, &args[i], &buf);
    return gn_text_take(call->eval, &buf, out);
}

static gn_code concat_ws(const gn_call *call, const gn_value *args, gn_value *out)
{
    if (args[0].is_null) {
        out->is_null = true;
        return GN_OK;
    }
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    bool first = true;
    for (uint32_t i = 1; i < call->n_args; i++) {
        if (args[i].is_null)
            continue;
        if (!first)
            gn_buf_append_bytes(&buf, args[0].as.bytes);
        first = false;
        gn_text_output(call->eval, &args[i], &buf);
    }
    return gn_text_take(call->eval, &buf, out);
}

/* ---- quoting ---- */

/* PostgreSQL's keywords that cannot stand for a column name without quotes everywhere (all that are not unreserved),
 * sorted. */
static const char *const keywords[] = {
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
};

static bool is_keyword(gn_bytes name)
{
    size_t lo = 0, hi = sizeof keywords / sizeof *keywords;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = gn_bytes_cmp(gn_bytes_str(keywords[mid]), name);
        if (c == 0)
            return true;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

static bool plain_identifier(gn_bytes name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || c == '_', digit = c >= '0' && c <= '9';
        if (!letter && !(digit && i > 0))
            return false;
    }
    return name.len > 0 && !is_keyword(name);
}

static void put_doubling(gn_buf *buf, gn_bytes text, const char *doubled)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr(doubled, text.data[i]))
            gn_buf_append_u8(buf, text.data[i]);
        gn_buf_append_u8(buf, text.data[i]);
    }
}

static void put_identifier(gn_buf *buf, gn_bytes name)
{
    if (plain_identifier(name)) {
        gn_buf_append_bytes(buf, name);
        return;
    }
    gn_buf_append_u8(buf, '"');
    put_doubling(buf, name, "\"");
    gn_buf_append_u8(buf, '"');
}

static void put_literal(gn_buf *buf, gn_bytes text)
{
    if (text.len && memchr(text.data, '\\', text.len))
        gn_buf_append_u8(buf, 'E');
    gn_buf_append_u8(buf, '\'');
    put_doubling(buf, text, "'\\");
    gn_buf_append_u8(buf, '\'');
}

static gn_code quote_ident(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    put_identifier(&buf, args[0].as.bytes);
    return gn_text_take(call->eval, &buf, out);
}

/* The value's cast to text, quoted. */
static gn_code quote_literal(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_value text = args[0];
    gn_code code = GN_OK;
    if (args[0].is_null)
        return gn_eval_copy(call->eval, gn_bytes_str("NULL"), out); /* quote_nullable alone sees NULL */
    if (!gn_type_is(args[0].type, GN_T_TEXT))
        code = gn_value_cast(&args[0], gn_type_of(GN_T_TEXT), GN_CAST_EXPLICIT, call->eval->format, call->eval->arena,
                             &text, call->eval->err);
    if (code)
        return code;
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    put_literal(&buf, text.as.bytes);
    return gn_text_take(call->eval, &buf, out);
}

/* ---- format ---- */

typedef struct format_spec {
    uint32_t argument; /* 1-based; 0 = the next */
    int64_t width;     /* negative: left-aligned */
    uint32_t width_argument;
    bool width_from_argument; /* width_argument 0 = the next */
    bool left;
    char type;
} format_spec;

static gn_code format_error(const gn_call *call, gn_code code, const char *message)
{
    gn_error_set(call->eval->err, code, "%s", message);
    if (strstr(message, "specifier"))
        gn_error_hint(call->eval->err, "For a single \"%%\" use \"%%%%\".");
    return code;
}

static bool number_at(gn_bytes text, size_t *at, int64_t *number)
{
    size_t start = *at;
    int64_t n = 0;
    for (; *at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9'; ++*at)
        n = n > INT32_MAX ? n : n * 10 + (text.data[*at] - '0');
    *number = n;
    return *at > start;
}

/* Reads a specifier behind its '%'. */
static gn_code read_spec(const gn_call *call, gn_bytes text, size_t *at, format_spec *spec)
{
    int64_t number = 0;
    *spec = (format_spec){.width = 0};
    bool has_number = number_at(text, at, &number);
    if (has_number && *at < text.len && text.data[*at] == '$') {
        if (number == 0 || number > INT32_MAX)
            return format_error(call, GN_INVALID_PARAMETER,
                                number ? "number is out of range"
                                       : "format specifies argument 0, but arguments are numbered from 1");
        spec->argument = (uint32_t)number;
        ++*at;
        has_number = false;
    }
    for (; !has_number && *at < text.len && text.data[*at] == '-'; ++*at)
        spec->left = true;
    if (has_number) {
        spec->width = number;
    } else if (*at < text.len && text.data[*at] == '*') {
        ++*at;
        spec->width_from_argument = true;
        if (number_at(text, at, &number)) {
            if (*at >= text.len || text.data[*at] != '$')
                return format_error(call, GN_INVALID_PARAMETER, "width argument position must be ended by \"$\"");
            ++*at;
            spec->width_argument = (uint32_t)number;
        }
    } else if (number_at(text, at, &number)) {
        spec->width = number;
    }
    if (number > INT32_MAX)
        return format_error(call, GN_NUMERIC_RANGE, "number is out of range");
    if (*at >= text.len)
        return format_error(call, GN_INVALID_PARAMETER, "unterminated format() type specifier");
    spec->type = (char)text.data[(*at)++];
    return GN_OK;
}

static gn_code take_argument(const gn_call *call, const gn_value *args, uint32_t wanted, uint32_t *last,
                             const gn_value **out)
{
    *last = wanted ? wanted : *last + 1;
    if (*last >= call->n_args)
        return format_error(call, GN_INVALID_PARAMETER, "too few arguments for format()");
    *out = &args[*last];
    return GN_OK;
}

static gn_code put_padded(const gn_call *call, gn_buf *buf, gn_bytes text, int64_t width, bool left)
{
    int64_t missing = (width < 0 ? -width : width) - (int64_t)gn_utf8_count(text);
    left |= width < 0;
    if (missing > (int64_t)GN_MAX_FIELD)
        return gn_error_set(call->eval->err, GN_LIMIT, "requested length too large: a value has at most %u bytes",
                            (unsigned)GN_MAX_FIELD);
    if (left)
        gn_buf_append_bytes(buf, text);
    if (missing > 0 && gn_buf_reserve(buf, (size_t)missing)) {
        memset(buf->data + buf->len, ' ', (size_t)missing);
        buf->len += (size_t)missing;
    }
    if (!left)
        gn_buf_append_bytes(buf, text);
    return GN_OK;
}

static gn_code put_spec(const gn_call *call, const gn_value *args, format_spec *spec, uint32_t *last, gn_buf *buf)
{
    const gn_value *value;
    gn_buf raw, quoted;
    gn_code code = GN_OK;
    if (spec->width_from_argument) {
        code = take_argument(call, args, spec->width_argument, last, &value);
        if (code)
            return code;
        if (!value->is_null && value->type.id != GN_T_INT4)
            return format_error(call, GN_INVALID_PARAMETER, "a width argument of format() must be of type integer");
        spec->width = value->is_null ? 0 : value->as.i32;
    }
    if (!strchr("sIL", spec->type)) {
        gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "unrecognized format() type specifier \"%c\"", spec->type);
        gn_error_hint(call->eval->err, "For a single \"%%\" use \"%%%%\".");
        return GN_INVALID_PARAMETER;
    }
    code = take_argument(call, args, spec->argument, last, &value);
    if (code)
        return code;
    if (value->is_null && spec->type == 'I')
        return format_error(call, GN_NULL_NOT_ALLOWED, "null values cannot be formatted as an SQL identifier");
    gn_text_begin(call->eval, &raw);
    gn_text_begin(call->eval, &quoted);
    if (!value->is_null)
        gn_text_output(call->eval, value, &raw);
    if (spec->type == 'I')
        put_identifier(&quoted, gn_buf_bytes(&raw));
    else if (spec->type == 'L' && value->is_null)
        gn_buf_append_str(&quoted, "NULL");
    else if (spec->type == 'L')
        put_literal(&quoted, gn_buf_bytes(&raw));
    buf->failed |= raw.failed || quoted.failed;
    code = put_padded(call, buf, gn_buf_bytes(spec->type == 's' ? &raw : &quoted), spec->width, spec->left);
    gn_buf_close(&raw);
    gn_buf_close(&quoted);
    return code;
}

static gn_code format(const gn_call *call, const gn_value *args, gn_value *out)
{
    if (args[0].is_null) {
        out->is_null = true;
        return GN_OK;
    }
    gn_bytes text = args[0].as.bytes;
    uint32_t last = 0;
    gn_code code = GN_OK;
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    for (size_t at = 0; at < text.len && !code;) {
        uint8_t c = text.data[at++];
        if (c != '%') {
            gn_buf_append_u8(&buf, c);
        } else if (at < text.len && text.data[at] == '%') {
            gn_buf_append_u8(&buf, '%');
            at++;
        } else {
            format_spec spec;
            code = read_spec(call, text, &at, &spec);
            if (!code)
                code = put_spec(call, args, &spec, &last, &buf);
        }
    }
    if (!code)
        return gn_text_take(call->eval, &buf, out);
    gn_buf_close(&buf);
    return code;
}

/* ---- codings ---- */

static gn_code md5(const gn_call *call, const gn_value *args, gn_value *out)
{
    char hex[33];
    gn_md5_hex(args[0].as.bytes, hex);
    return gn_eval_copy(call->eval, gn_bytes_of(hex, 32), out);
}

static gn_code to_hex(const gn_call *call, const gn_value *args, gn_value *out)
{
    char hex[20];
    if (args[0].type.id == GN_T_INT8)
        snprintf(hex, sizeof hex, "%llx", (unsigned long long)args[0].as.i64);
    else
        snprintf(hex, sizeof hex, "%x", (unsigned)args[0].as.i32);
    return gn_eval_copy(call->eval, gn_bytes_str(hex), out);
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_base64(gn_buf *buf, gn_bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        if (i && i % 57 == 0) /* 76 characters a line */
            gn_buf_append_u8(buf, '\n');
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t word = (uint32_t)bytes.data[i] << 16;
        word |= n > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        word |= n > 2 ? bytes.data[i + 2] : 0;
        char four[4] = {base64_digits[word >> 18], base64_digits[word >> 12 & 63],
                        n > 1 ? base64_digits[word >> 6 & 63] : '=', n > 2 ? base64_digits[word & 63] : '='};
        gn_buf_append(buf, four, 4);
    }
}

static void put_escape(gn_buf *buf, gn_bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = bytes.data[i];
        if (c == '\\')
            gn_buf_append_str(buf, "\\\\");
        else if (c == 0 || c >= 0x80)
            gn_buf_printf(buf, "\\%03o", c);
        else
            gn_buf_append_u8(buf, c);
    }
}

static gn_code unknown_encoding(const gn_call *call, gn_bytes name)
{
    return gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "unrecognized encoding: \"%.*s\"",
                        (int)(name.len > 60 ? 60 : name.len), (const char *)name.data);
}

static gn_code encode(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes bytes = args[0].as.bytes, name = args[1].as.bytes;
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    if (gn_bytes_eq(name, gn_bytes_str("hex"))) {
        for (size_t i = 0; i < bytes.len; i++)
            gn_buf_printf(&buf, "%02x", bytes.data[i]);
    } else if (gn_bytes_eq(name, gn_bytes_str("base64"))) {
        put_base64(&buf, bytes);
    } else if (gn_bytes_eq(name, gn_bytes_str("escape"))) {
        put_escape(&buf, bytes);
    } else {
        gn_buf_close(&buf);
        return unknown_encoding(call, name);
    }
    return gn_text_take(call->eval, &buf, out);
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static gn_code get_hex(const gn_call *call, gn_bytes text, gn_buf *buf)
{
    int high = -1;
    for (size_t i = 0; i < text.len; i++) {
        if (is_space(text.data[i]))
            continue;
        int digit = hex_digit(text.data[i]);
        if (digit < 0)
            return gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "invalid hexadecimal digit: \"%.*s\"",
                                (int)gn_utf8_len(text.data[i]), (const char *)text.data + i);
        if (high < 0) {
            high = digit;
        } else {
            gn_buf_append_u8(buf, (uint8_t)(high << 4 | digit));
            high = -1;
        }
    }
    if (high >= 0)
        return gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "invalid hexadecimal data: odd number of digits");
    return GN_OK;
}

static gn_code get_base64(const gn_call *call, gn_bytes text, gn_buf *buf)
{
    uint32_t word = 0;
    int digits = 0, ends = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (is_space(c))
            continue;
        const char *digit = c && c != '=' ? strchr(base64_digits, c) : NULL;
        if (c == '=' ? ends == 2 || digits + ends < 2 : !digit || ends)
            return gn_error_set(call->eval->err, GN_INVALID_PARAMETER,
                                c == '=' || digit ? "unexpected \"%.*s\" while decoding base64 sequence"
                                                  : "invalid symbol \"%.*s\" found while decoding base64 sequence",
                                (int)gn_utf8_len(c), (const char *)text.data + i);
        if (digit) {
            word = word << 6 | (uint32_t)(digit - base64_digits);
            digits++;
        } else {
            word <<= 6;
            ends++;
        }
        if (digits + ends < 4)
            continue;
        uint8_t three[3] = {(uint8_t)(word >> 16), (uint8_t)(word >> 8), (uint8_t)word};
        gn_buf_append(buf, three, (size_t)(3 - ends));
        word = 0;
        digits = 0;
    }
    if (digits && digits + ends != 4) {
        gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "invalid base64 end sequence");
        gn_error_hint(call->eval->err, "Input data is missing padding, is truncated, or is otherwise corrupted.");
        return GN_INVALID_PARAMETER;
    }
    return GN_OK;
}

static gn_code get_escape(const gn_call *call, gn_bytes text, gn_buf *buf)
{
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t *p = text.data + i;
        if (*p != '\\') {
            gn_buf_append_u8(buf, *p);
        } else if (i + 1 < text.len && p[1] == '\\') {
            gn_buf_append_u8(buf, '\\');
            i++;
        } else if (i + 3 < text.len && p[1] >= '0' && p[1] <= '3' && (p[2] & 0xf8) == '0' && (p[3] & 0xf8) == '0') {
            gn_buf_append_u8(buf, (uint8_t)((p[1] & 3) << 6 | (p[2] & 7) << 3 | (p[3] & 7)));
            i += 3;
        } else {
            return gn_error_set(call->eval->err, GN_BAD_TEXT, "invalid input syntax for type bytea");
        }
    }
    return GN_OK;
}

static gn_code decode(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes, name = args[1].as.bytes;
    gn_code code;
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    if (gn_bytes_eq(name, gn_bytes_str("hex")))
        code = get_hex(call, text, &buf);
    else if (gn_bytes_eq(name, gn_bytes_str("base64")))
        code = get_base64(call, text, &buf);
    else if (gn_bytes_eq(name, gn_bytes_str("escape")))
        code = get_escape(call, text, &buf);
    else
        code = unknown_encoding(call, name);
    if (!code)
        return gn_text_take(call->eval, &buf, out);
    gn_buf_close(&buf);
    return code;
}

/* clang-format off */
static const gn_function functions[] = {
    {"concat", GN_TY(TEXT), 1, GN_STABLE, GN_F_NULLS | GN_F_VARIADIC, 0, {GN_TY(ANY)}, .row = concat},
    {"concat_ws", GN_TY(TEXT), 2, GN_STABLE, GN_F_NULLS | GN_F_VARIADIC, 0, {GN_TY(TEXT), GN_TY(ANY)}, .row = concat_ws},
    {"format", GN_TY(TEXT), 1, GN_STABLE, GN_F_NULLS, 0, {GN_TY(TEXT)}, .row = format},
    {"format", GN_TY(TEXT), 2, GN_STABLE, GN_F_NULLS | GN_F_VARIADIC, 0, {GN_TY(TEXT), GN_TY(ANY)}, .row = format},
    {"quote_ident", GN_TY(TEXT), 1, GN_IMMUTABLE, 0, 0, {GN_TY(TEXT)}, .row = quote_ident},
    {"quote_literal", GN_TY(TEXT), 1, GN_IMMUTABLE, 0, 0, {GN_TY(TEXT)}, .row = quote_literal},
    {"quote_literal", GN_TY(TEXT), 1, GN_STABLE, 0, 0, {GN_TY(ANYELEMENT)}, .row = quote_literal},
    {"quote_nullable", GN_TY(TEXT), 1, GN_IMMUTABLE, GN_F_NULLS, 0, {GN_TY(TEXT)}, .row = quote_literal},
    {"quote_nullable", GN_TY(TEXT), 1, GN_STABLE, GN_F_NULLS, 0, {GN_TY(ANYELEMENT)}, .row = quote_literal},
    {"md5", GN_TY(TEXT), 1, GN_IMMUTABLE, 0, 0, {GN_TY(TEXT)}, .row = md5},
    {"md5", GN_TY(TEXT), 1, GN_IMMUTABLE, 0, 0, {GN_TY(BYTEA)}, .row = md5},
    {"to_hex", GN_TY(TEXT), 1, GN_IMMUTABLE, 0, 0, {GN_TY(INT4)}, .row = to_hex},
    {"to_hex", GN_TY(TEXT), 1, GN_IMMUTABLE, 0, 0, {GN_TY(INT8)}, .row = to_hex},
    {"encode", GN_TY(TEXT), 2, GN_IMMUTABLE, 0, 0, {GN_TY(BYTEA), GN_TY(TEXT)}, .row = encode},
    {"decode", GN_TY(BYTEA), 2, GN_IMMUTABLE, 0, 0, {GN_TY(TEXT), GN_TY(TEXT)}, .row = decode},
};
/* clang-format on */

const gn_function_list gn_functions_format = {functions, sizeof functions / sizeof *functions};
