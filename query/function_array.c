/* Functions over arrays. */
#include "query/array.h"
#include "query/pattern_private.h"

#include <stdio.h>

/* ---- shape ---- */

enum { LENGTH, LOWER, UPPER };

static gn_code dimension(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_array_iter it = gn_array_open(&args[0]);
    int64_t d = (int64_t)args[1].as.i32 - 1;
    out->is_null = d < 0 || d >= it.n_dimensions;
    if (out->is_null)
        return GN_OK;
    int32_t lower = it.lower_bounds[d], length = it.lengths[d];
    out->as.i32 = call->function->op == LENGTH ? length : call->function->op == LOWER ? lower : lower + length - 1;
    return GN_OK;
}

static gn_code cardinality(const gn_call *call, const gn_value *args, gn_value *out)
{
    (void)call;
    out->as.i32 = (int32_t)gn_array_open(&args[0]).n_items;
    return GN_OK;
}

static gn_code n_dimensions(const gn_call *call, const gn_value *args, gn_value *out)
{
    (void)call;
    out->as.i32 = (int32_t)gn_array_open(&args[0]).n_dimensions;
    out->is_null = out->as.i32 == 0;
    return GN_OK;
}

static gn_code array_dims(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_array_iter it = gn_array_open(&args[0]);
    char text[200];
    int at = 0;
    out->is_null = it.n_dimensions == 0;
    for (uint32_t d = 0; d < it.n_dimensions; d++)
        at += snprintf(text + at, sizeof text - (size_t)at, "[%d:%d]", it.lower_bounds[d],
                       it.lower_bounds[d] + it.lengths[d] - 1);
    return out->is_null ? GN_OK : gn_eval_copy(call->eval, gn_bytes_of(text, (size_t)at), out);
}

/* ---- putting together ---- */

static gn_array_builder begin_like(const gn_call *call, const gn_array_iter *shape)
{
    gn_array_builder b;
    gn_array_begin(&b, gn_type_of((gn_type_id)call->result.id), call->eval->arena);
    b.n_dimensions = shape->n_dimensions;
    memcpy(b.lengths, shape->lengths, sizeof b.lengths);
    memcpy(b.lower_bounds, shape->lower_bounds, sizeof b.lower_bounds);
    return b;
}

static gn_code add_all(const gn_call *call, gn_array_builder *b, const gn_value *array)
{
    gn_array_iter it = gn_array_open(array);
    gn_code code = GN_OK;
    for (gn_value item; !code && gn_array_next(&it, &item);)
        code = gn_array_add(b, &item, call->eval->err);
    return code;
}

static gn_value empty_array(const gn_call *call, gn_code *code)
{
    gn_array_builder b;
    gn_value out = {.type = call->result};
    gn_array_begin(&b, gn_type_of((gn_type_id)call->result.id), call->eval->arena);
    *code = gn_array_end(&b, &out, call->eval->err);
    return out;
}

enum { APPEND, PREPEND };

/* array || element, element || array. A NULL array is an empty one. */
static gn_code add_element(const gn_call *call, const gn_value *args, gn_value *out)
{
    bool prepend = call->function->op == PREPEND;
    gn_value array = args[prepend];
    gn_code code = GN_OK;
    if (array.is_null)
        array = empty_array(call, &code);
    if (code)
        return code;
    gn_array_iter it = gn_array_open(&array);
    if (it.n_dimensions > 1)
        return gn_error_set(call->eval->err, GN_BAD_VECTOR, "argument must be empty or one-dimensional array");
    gn_array_builder b = begin_like(call, &it);
    if (it.n_dimensions == 0) {
        b.n_dimensions = 1;
        b.lower_bounds[0] = 1;
    }
    b.lengths[0] = (int32_t)it.n_items + 1;
    if (prepend)
        code = gn_array_add(&b, &args[0], call->eval->err);
    if (!code)
        code = add_all(call, &b, &array);
    if (!code && !prepend)
        code = gn_array_add(&b, &args[1], call->eval->err);
    return code ? code : gn_array_end(&b, out, call->eval->err);
}

static gn_code incompatible(const gn_call *call, const char *detail)
{
    gn_error_set(call->eval->err, GN_ARRAY_SUBSCRIPT, "cannot concatenate incompatible arrays");
    gn_error_detail(call->eval->err, "%s", detail);
    return GN_ARRAY_SUBSCRIPT;
}

/* The shape of a || b: both of one number of dimensions, or one a row of the other. */
static gn_code joined_shape(const gn_call *call, const gn_array_iter *a, const gn_array_iter *b, gn_array_iter *shape)
{
    const gn_array_iter *outer = a->n_dimensions >= b->n_dimensions ? a : b, *other = outer == a ? b : a;
    uint32_t apart = outer->n_dimensions - other->n_dimensions;
    if (apart > 1)
        return incompatible(call, "Arrays of differing dimensions are not compatible for concatenation.");
    for (uint32_t d = 1; d < outer->n_dimensions; d++)
        if (outer->lengths[d] != other->lengths[d - apart] || outer->lower_bounds[d] != other->lower_bounds[d - apart])
            return incompatible(call, apart ? "Arrays with differing dimensions are not compatible for concatenation."
                                            : "Arrays with differing element dimensions are not compatible for "
                                              "concatenation.");
    *shape = *outer;
    shape->lower_bounds[0] = outer == a ? a->lower_bounds[0] : outer->lower_bounds[0];
    shape->lengths[0] = outer->lengths[0] + (apart ? 1 : other->lengths[0]);
    return GN_OK;
}

static gn_code array_cat(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_array_iter a, b, shape;
    if (args[0].is_null || args[1].is_null) {
        *out = args[args[0].is_null];
        out->type = call->result;
        return GN_OK;
    }
    a = gn_array_open(&args[0]);
    b = gn_array_open(&args[1]);
    if (a.n_dimensions == 0 || b.n_dimensions == 0) {
        out->as = args[a.n_dimensions == 0].as;
        return GN_OK;
    }
    gn_code code = joined_shape(call, &a, &b, &shape);
    if (code)
        return code;
    gn_array_builder builder = begin_like(call, &shape);
    code = add_all(call, &builder, &args[0]);
    if (!code)
        code = add_all(call, &builder, &args[1]);
    return code ? code : gn_array_end(&builder, out, call->eval->err);
}

static gn_code fill_shape(const gn_call *call, const gn_value *args, gn_array_builder *b)
{
    gn_array_iter lengths = gn_array_open(&args[1]), bounds = {.n_items = 0};
    bool bounded = call->n_args > 2;
    gn_error *err = call->eval->err;
    if (bounded)
        bounds = gn_array_open(&args[2]);
    for (const gn_array_iter *it = &lengths;; it = &bounds) {
        if (it->n_dimensions > 1) {
            gn_error_set(err, GN_ARRAY_SUBSCRIPT, "wrong number of array subscripts");
            gn_error_detail(err, "Dimension array must be one dimensional.");
            return GN_ARRAY_SUBSCRIPT;
        }
        if (it->nulls)
            return gn_error_set(err, GN_NULL_NOT_ALLOWED, "dimension values cannot be null");
        if (it == &bounds || !bounded)
            break;
    }
    if (lengths.n_items > GN_ARRAY_DIMENSIONS)
        return gn_error_set(err, GN_LIMIT, "number of array dimensions (%u) exceeds the maximum allowed (%d)",
                            (unsigned)lengths.n_items, (int)GN_ARRAY_DIMENSIONS);
    if (bounded && bounds.n_items != lengths.n_items) {
        gn_error_set(err, GN_ARRAY_SUBSCRIPT, "wrong number of array subscripts");
        gn_error_detail(err, "Low bound array has different size than dimensions array.");
        return GN_ARRAY_SUBSCRIPT;
    }
    for (gn_value length, bound; gn_array_next(&lengths, &length); b->n_dimensions++) {
        b->lengths[b->n_dimensions] = length.as.i32;
        if (bounded && gn_array_next(&bounds, &bound))
            b->lower_bounds[b->n_dimensions] = bound.as.i32;
    }
    return GN_OK;
}

/* array_fill(item, lengths [, lower bounds]) */
static gn_code array_fill(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_array_builder b;
    uint64_t n_items = 0;
    if (args[1].is_null || (call->n_args > 2 && args[2].is_null))
        return gn_error_set(call->eval->err, GN_NULL_NOT_ALLOWED, "dimension array or low bound array cannot be null");
    gn_array_begin(&b, gn_type_of((gn_type_id)call->result.id), call->eval->arena);
    gn_code code = fill_shape(call, args, &b);
    if (!code)
        code = gn_array_count(b.lengths, b.lower_bounds, b.n_dimensions, &n_items, call->eval->err);
    while (!code && b.n_items < n_items)
        code = gn_array_add(&b, &args[0], call->eval->err);
    return code ? code : gn_array_end(&b, out, call->eval->err);
}

/* ---- searching and changing ---- */

static bool same(const gn_value *a, const gn_value *b) /* IS NOT DISTINCT FROM */
{
    if (a->is_null || b->is_null)
        return a->is_null && b->is_null;
    return gn_value_compare(a, b) == 0;
}

static gn_code array_position(const gn_call *call, const gn_value *args, gn_value *out)
{
    out->is_null = true;
    if (args[0].is_null)
        return GN_OK;
    if (call->n_args == 3 && args[2].is_null)
        return gn_error_set(call->eval->err, GN_NULL_NOT_ALLOWED, "initial position must not be null");
    gn_code code = gn_check_comparable(call->eval, args[0].type, true);
    if (code)
        return code;
    gn_array_iter it = gn_array_open(&args[0]);
    if (it.n_dimensions > 1)
        return gn_error_set(call->eval->err, GN_FEATURE,
                            "searching for elements in multidimensional arrays is not supported");
    int32_t at = it.n_dimensions ? it.lower_bounds[0] : 1, from = call->n_args == 3 ? args[2].as.i32 : at;
    for (gn_value item; gn_array_next(&it, &item); at++)
        if (at >= from && same(&item, &args[1])) {
            out->is_null = false;
            out->as.i32 = at;
            break;
        }
    return GN_OK;
}

static gn_code array_positions(const gn_call *call, const gn_value *args, gn_value *out)
{
    if (args[0].is_null) {
        out->is_null = true;
        return GN_OK;
    }
    gn_code code = gn_check_comparable(call->eval, args[0].type, true);
    if (code)
        return code;
    gn_array_iter it = gn_array_open(&args[0]);
    if (it.n_dimensions > 1)
        return gn_error_set(call->eval->err, GN_FEATURE,
                            "searching for elements in multidimensional arrays is not supported");
    gn_array_builder b;
    gn_array_begin(&b, gn_type_of(GN_T_INT4), call->eval->arena);
    int32_t at = it.n_dimensions ? it.lower_bounds[0] : 1;
    for (gn_value item; !code && gn_array_next(&it, &item); at++) {
        gn_value number = {.type = gn_type_of(GN_T_INT4), .as.i32 = at};
        if (same(&item, &args[1]))
            code = gn_array_add(&b, &number, call->eval->err);
    }
    return code ? code : gn_array_end(&b, out, call->eval->err);
}

/* array_remove (two arguments) and array_replace (three). */
static gn_code replace_elements(const gn_call *call, const gn_value *args, gn_value *out)
{
    if (args[0].is_null) {
        out->is_null = true;
        return GN_OK;
    }
    gn_code code = gn_check_comparable(call->eval, args[0].type, true);
    if (code)
        return code;
    gn_array_iter it = gn_array_open(&args[0]);
    bool removes = call->n_args == 2;
    if (removes && it.n_dimensions > 1)
        return gn_error_set(call->eval->err, GN_FEATURE,
                            "removing elements from multidimensional arrays is not supported");
    gn_array_builder b = begin_like(call, &it);
    int32_t kept = 0;
    for (gn_value item; !code && gn_array_next(&it, &item);) {
        bool hit = same(&item, &args[1]);
        if (hit && removes)
            continue;
        code = gn_array_add(&b, hit ? &args[2] : &item, call->eval->err);
        kept++;
    }
    if (removes) {
        b.lengths[0] = kept;
        b.n_dimensions = kept ? it.n_dimensions : 0;
    }
    return code ? code : gn_array_end(&b, out, call->eval->err);
}

static gn_code trim_array(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_array_iter it = gn_array_open(&args[0]);
    int32_t length = it.n_dimensions ? it.lengths[0] : 0, n = args[1].as.i32;
    if (n < 0 || n > length)
        return gn_error_set(call->eval->err, GN_ARRAY_SUBSCRIPT, "number of elements to trim must be between 0 and %d",
                            length);
    gn_array_builder b = begin_like(call, &it);
    uint64_t left = length ? it.n_items / (uint64_t)length * (uint64_t)(length - n) : 0;
    b.lengths[0] = length - n;
    b.n_dimensions = left ? it.n_dimensions : 0;
    gn_code code = GN_OK;
    for (gn_value item; !code && left > 0 && gn_array_next(&it, &item); left--)
        code = gn_array_add(&b, &item, call->eval->err);
    return code ? code : gn_array_end(&b, out, call->eval->err);
}

/* ---- sets: && @> <@ ---- */

static bool has_item(const gn_value *array, const gn_value *wanted)
{
    gn_array_iter it = gn_array_open(array);
    for (gn_value item; gn_array_next(&it, &item);)
        if (!item.is_null && gn_value_compare(&item, wanted) == 0)
            return true;
    return false;
}

enum { OVERLAPS, CONTAINS, CONTAINED };

/* NULLs are equal to nothing. */
static gn_code compare_sets(const gn_call *call, const gn_value *args, gn_value *out)
{
    uint8_t op = call->function->op;
    const gn_value *whole = &args[op == CONTAINED], *part = &args[op != CONTAINED];
    gn_array_iter it = gn_array_open(part);
    gn_code code = gn_check_comparable(call->eval, part->type, true);
    out->as.boolean = op != OVERLAPS;
    for (gn_value item; !code && gn_array_next(&it, &item); code = gn_eval_cancelled(call->eval)) {
        bool has = !item.is_null && has_item(whole, &item);
        if (has == (op == OVERLAPS)) {
            out->as.boolean = has;
            break;
        }
    }
    return code;
}

/* ---- texts ---- */

static gn_code array_to_string(const gn_call *call, const gn_value *args, gn_value *out)
{
    if (args[0].is_null || args[1].is_null) {
        out->is_null = true;
        return GN_OK;
    }
    const gn_value *for_null = call->n_args == 3 && !args[2].is_null ? &args[2] : NULL;
    gn_array_iter it = gn_array_open(&args[0]);
    bool first = true;
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    for (gn_value item; gn_array_next(&it, &item);) {
        if (item.is_null && !for_null)
            continue;
        if (!first)
            gn_buf_append_bytes(&buf, args[1].as.bytes);
        first = false;
        gn_text_output(call->eval, item.is_null ? for_null : &item, &buf);
    }
    return gn_text_take(call->eval, &buf, out);
}

typedef struct splitter {
    const gn_call *call;
    gn_array_builder builder;
    const gn_value *null_text;
} splitter;

static gn_code add_piece(splitter *s, gn_bytes piece)
{
    gn_value v = {.type = gn_type_of(GN_T_TEXT), .as.bytes = piece};
    v.is_null = s->null_text && gn_bytes_eq(piece, s->null_text->as.bytes);
    return gn_array_add(&s->builder, &v, s->call->eval->err);
}

/* A NULL separator splits into characters, an empty one not at all. */
static gn_code string_to_array(const gn_call *call, const gn_value *args, gn_value *out)
{
    if (args[0].is_null) {
        out->is_null = true;
        return GN_OK;
    }
    gn_bytes text = args[0].as.bytes;
    splitter s = {.call = call, .null_text = call->n_args == 3 && !args[2].is_null ? &args[2] : NULL};
    gn_array_begin(&s.builder, gn_type_of(GN_T_TEXT), call->eval->arena);
    gn_code code = GN_OK;
    if (args[1].is_null) {
        for (size_t i = 0, len; i < text.len && !code; i += len) {
            len = gn_utf8_len(text.data[i]);
            code = add_piece(&s, gn_bytes_of(text.data + i, len));
        }
    } else if (text.len > 0) {
        gn_bytes separator = args[1].as.bytes;
        size_t from = 0, to;
        while (separator.len && !code && (to = gn_text_find(text, separator, from)) != SIZE_MAX) {
            code = add_piece(&s, gn_bytes_of(text.data + from, to - from));
            from = to + separator.len;
        }
        if (!code)
            code = add_piece(&s, gn_bytes_of(text.data + from, text.len - from));
    }
    return code ? code : gn_array_end(&s.builder, out, call->eval->err);
}

static gn_code match_groups(const gn_call *call, const gn_pattern *p, gn_bytes text, gn_value *out)
{
    gn_regex_span spans[GN_REGEX_GROUPS];
    uint32_t groups = gn_regex_groups(p->regex);
    bool found = false;
    gn_code code = gn_pattern_search(call, p, text, 0, spans, &found);
    out->is_null = !found;
    if (code || !found)
        return code;
    gn_array_builder b;
    gn_array_begin(&b, gn_type_of(GN_T_TEXT), call->eval->arena);
    for (uint32_t g = groups ? 1 : 0; g <= groups && !code; g++) {
        gn_value v = {.type = gn_type_of(GN_T_TEXT), .is_null = spans[g].from == SIZE_MAX};
        if (!v.is_null)
            v.as.bytes = gn_bytes_of(text.data + spans[g].from, spans[g].to - spans[g].from);
        code = gn_array_add(&b, &v, call->eval->err);
    }
    return code ? code : gn_array_end(&b, out, call->eval->err);
}

static gn_code split(const gn_call *call, const gn_pattern *p, gn_bytes text, gn_value *out)
{
    splitter s = {.call = call};
    gn_array_begin(&s.builder, gn_type_of(GN_T_TEXT), call->eval->arena);
    gn_code code = GN_OK;
    gn_regex_span span;
    size_t done = 0;
    for (size_t from = 0; !code && from <= text.len; from = gn_pattern_next(text, &span)) {
        bool found = false;
        code = gn_pattern_search(call, p, text, from, &span, &found);
        if (code || !found)
            break;
        if (span.from == span.to && (span.from == done || span.from == text.len))
            continue; /* an empty match at either end of a piece splits nothing */
        code = add_piece(&s, gn_bytes_of(text.data + done, span.from - done));
        done = span.to;
    }
    if (!code)
        code = add_piece(&s, gn_bytes_of(text.data + done, text.len - done));
    return code ? code : gn_array_end(&s.builder, out, call->eval->err);
}

enum { MATCH, SPLIT };

/* regexp_match: the groups of the first match, or the match if there are none. regexp_split_to_array. */
static gn_code regexp_pieces(const gn_call *call, gn_column *out)
{
    gn_pattern p = {.regex = NULL};
    bool matches = call->function->op == MATCH;
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t i = call->rows ? call->rows[k] : k;
        gn_bytes text = gn_bytes_placed(call->args[0].bytes[i]);
        gn_value v = {.type = call->result};
        unsigned flags;
        gn_code code = gn_pattern_flags_of_row(call, 2, i, &flags);
        if (!code)
            code = gn_pattern_compile(call, &p, gn_bytes_placed(call->args[1].bytes[i]), flags,
                                      matches ? GN_REGEX_GROUPS : 1);
        if (!code)
            code = matches ? match_groups(call, &p, text, &v) : split(call, &p, text, &v);
        if (code)
            return code;
        if (v.is_null)
            gn_column_set_null(out, i);
        else
            gn_column_set(out, i, &v);
    }
    return GN_OK;
}

/* clang-format off */
#define AA GN_TY(ANYARRAY)
#define CA GN_TY(ANYCOMPATIBLEARRAY)
#define CE GN_TY(ANYCOMPATIBLE)
#define TX GN_TY(TEXT)
#define I4 GN_TY(INT4)

static const gn_function functions[] = {
    {"array_length", I4, 2, GN_IMMUTABLE, 0, LENGTH, {AA, I4}, .row = dimension},
    {"array_lower", I4, 2, GN_IMMUTABLE, 0, LOWER, {AA, I4}, .row = dimension},
    {"array_upper", I4, 2, GN_IMMUTABLE, 0, UPPER, {AA, I4}, .row = dimension},
    {"cardinality", I4, 1, GN_IMMUTABLE, 0, 0, {AA}, .row = cardinality},
    {"array_ndims", I4, 1, GN_IMMUTABLE, 0, 0, {AA}, .row = n_dimensions},
    {"array_dims", TX, 1, GN_IMMUTABLE, 0, 0, {AA}, .row = array_dims},
    {"array_append", CA, 2, GN_IMMUTABLE, GN_F_NULLS, APPEND, {CA, CE}, .row = add_element},
    {"array_prepend", CA, 2, GN_IMMUTABLE, GN_F_NULLS, PREPEND, {CE, CA}, .row = add_element},
    {"array_cat", CA, 2, GN_IMMUTABLE, GN_F_NULLS, 0, {CA, CA}, .row = array_cat},
    {"||", CA, 2, GN_IMMUTABLE, GN_F_NULLS, APPEND, {CA, CE}, .row = add_element},
    {"||", CA, 2, GN_IMMUTABLE, GN_F_NULLS, PREPEND, {CE, CA}, .row = add_element},
    {"||", CA, 2, GN_IMMUTABLE, GN_F_NULLS, 0, {CA, CA}, .row = array_cat},
    {"array_position", I4, 2, GN_IMMUTABLE, GN_F_NULLS, 0, {CA, CE}, .row = array_position},
    {"array_position", I4, 3, GN_IMMUTABLE, GN_F_NULLS, 0, {CA, CE, I4}, .row = array_position},
    {"array_positions", GN_AR(INT4), 2, GN_IMMUTABLE, GN_F_NULLS, 0, {CA, CE}, .row = array_positions},
    {"array_remove", CA, 2, GN_IMMUTABLE, GN_F_NULLS, 0, {CA, CE}, .row = replace_elements},
    {"array_replace", CA, 3, GN_IMMUTABLE, GN_F_NULLS, 0, {CA, CE, CE}, .row = replace_elements},
    {"array_fill", AA, 2, GN_IMMUTABLE, GN_F_NULLS, 0, {GN_TY(ANYNONARRAY), GN_AR(INT4)}, .row = array_fill},
    {"array_fill", AA, 3, GN_IMMUTABLE, GN_F_NULLS, 0, {GN_TY(ANYNONARRAY), GN_AR(INT4), GN_AR(INT4)}, .row = array_fill},
    {"trim_array", AA, 2, GN_IMMUTABLE, 0, 0, {AA, I4}, .row = trim_array},
    {"&&", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, OVERLAPS, {AA, AA}, .row = compare_sets},
    {"@>", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, CONTAINS, {AA, AA}, .row = compare_sets},
    {"<@", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, CONTAINED, {AA, AA}, .row = compare_sets},
    {"array_to_string", TX, 2, GN_STABLE, 0, 0, {AA, TX}, .row = array_to_string},
    {"array_to_string", TX, 3, GN_STABLE, GN_F_NULLS, 0, {AA, TX, TX}, .row = array_to_string},
    {"string_to_array", GN_AR(TEXT), 2, GN_IMMUTABLE, GN_F_NULLS, 0, {TX, TX}, .row = string_to_array},
    {"string_to_array", GN_AR(TEXT), 3, GN_IMMUTABLE, GN_F_NULLS, 0, {TX, TX, TX}, .row = string_to_array},
    {"regexp_match", GN_AR(TEXT), 2, GN_IMMUTABLE, 0, MATCH, {TX, TX}, .batch = regexp_pieces},
    {"regexp_match", GN_AR(TEXT), 3, GN_IMMUTABLE, 0, MATCH, {TX, TX, TX}, .batch = regexp_pieces},
    {"regexp_split_to_array", GN_AR(TEXT), 2, GN_IMMUTABLE, 0, SPLIT, {TX, TX}, .batch = regexp_pieces},
    {"regexp_split_to_array", GN_AR(TEXT), 3, GN_IMMUTABLE, 0, SPLIT, {TX, TX, TX}, .batch = regexp_pieces},
};
/* clang-format on */

const gn_function_list gn_functions_array = {functions, sizeof functions / sizeof *functions};
