/* to_char over numbers ("FM999,990.00"), by PostgreSQL's documentation, 9.8.
 *
 * The template is read into a list of places; the number, rounded to as many decimals as the template has, is laid into
 * the digit places from the point outwards. EEEE, RN and V change what a number is and are refused, but for V, which
 * only shifts it. */
#include "query/numeric.h"
#include "query/text_private.h"

#include <stdio.h>

enum { MAX_PLACES = 256 };

typedef enum place_kind { NINE, ZERO, POINT, GROUP, SIGN, MINUS, PLUS, PLUS_MINUS, ORDINAL, LITERAL } place_kind;

typedef struct place {
    place_kind kind;
    uint8_t len; /* of a literal */
    bool upper;  /* TH */
    const uint8_t *text;
} place;

typedef struct layout {
    place places[MAX_PLACES];
    uint32_t n;
    int32_t before, after; /* digit places on both sides of the point */
    int32_t shift;         /* V: digits behind it */
    int32_t first_zero;    /* of the places before the point: from here on zeros are shown; `before` if none */
    int32_t last_zero;     /* of those behind it, counted from 1: up to here FM shows zeros; 0 if none */
    bool fill, brackets, has_point;
    bool sign_before, sign_after, own_sign; /* S in front, S behind, MI or SG somewhere */
} layout;

static gn_code template_error(const gn_call *call, gn_code code, const char *what)
{
    return gn_error_set(call->eval->err, code, "%s", what);
}

static bool starts(gn_bytes text, size_t at, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i < len; i++)
        if (at + i >= text.len || gn_upper_character(text.data[at + i]) != (uint8_t)word[i])
            return false;
    return true;
}

static gn_code add_digit(const gn_call *call, layout *l, place_kind kind)
{
    if (l->brackets)
        return template_error(call, GN_SYNTAX, "\"9\" must be ahead of \"PR\"");
    if (l->has_point) {
        l->after++;
        if (kind == ZERO)
            l->last_zero = l->after;
    } else {
        if (kind == ZERO && l->first_zero < 0)
            l->first_zero = l->before;
        l->before++;
    }
    return GN_OK;
}

static gn_code add_sign(const gn_call *call, layout *l)
{
    if (l->sign_before || l->sign_after)
        return template_error(call, GN_SYNTAX, "cannot use \"S\" twice");
    if (l->own_sign || l->brackets)
        return template_error(call, GN_SYNTAX, "cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together");
    if (l->before + l->after == 0)
        l->sign_before = true;
    else
        l->sign_after = true;
    return GN_OK;
}

static const struct {
    const char *word;
    place_kind kind;
} words[] = {{"SG", PLUS_MINUS}, {"MI", MINUS}, {"PL", PLUS}, {"TH", ORDINAL}, {"S", SIGN}, {"9", NINE},
             {"0", ZERO},        {".", POINT},  {"D", POINT}, {",", GROUP},    {"G", GROUP}};

/* One word of the template at *at. False: none is there. */
static bool take_word(const gn_call *call, layout *l, gn_bytes template, size_t *at, gn_code *code)
{
    if (starts(template, *at, "FM")) {
        l->fill = true;
        *at += 2;
        return true;
    }
    if (starts(template, *at, "PR")) {
        l->brackets = true;
        *at += 2;
        return true;
    }
    if (starts(template, *at, "V")) {
        l->shift = -1;
        *at += 1;
        return true;
    }
    if (starts(template, *at, "EEEE") || starts(template, *at, "RN")) {
        *code = template_error(call, GN_FEATURE, "\"EEEE\" and \"RN\" are not supported");
        return true;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!starts(template, *at, words[i].word))
            continue;
        place_kind kind = words[i].kind;
        place *p = &l->places[l->n++];
        *p = (place){.kind = kind, .upper = template.data[*at] == 'T'};
        *at += strlen(words[i].word);
        if (kind == NINE || kind == ZERO)
            *code = add_digit(call, l, kind);
        else if (kind == SIGN)
            *code = add_sign(call, l);
        else if (kind == MINUS || kind == PLUS_MINUS)
            l->own_sign = true;
        else if (kind == POINT && l->has_point)
            *code = template_error(call, GN_SYNTAX, "multiple decimal points");
        l->has_point |= kind == POINT;
        if (l->shift && (kind == NINE || kind == ZERO))
            l->shift--;
        return true;
    }
    return false;
}

static void add_literal(layout *l, const uint8_t *text, size_t len)
{
    l->places[l->n++] = (place){.kind = LITERAL, .len = (uint8_t)len, .text = text};
}

static gn_code read_template(const gn_call *call, gn_bytes template, layout *l)
{
    *l = (layout){.first_zero = -1};
    gn_code code = GN_OK;
    bool quoted = false;
    for (size_t at = 0; at < template.len && !code;) {
        if (l->n + 1 >= MAX_PLACES)
            return gn_error_set(call->eval->err, GN_LIMIT, "a number's template has at most %d places",
                                (int)MAX_PLACES - 1);
        if (template.data[at] == '"') {
            quoted = !quoted;
            at++;
        } else if (quoted || !take_word(call, l, template, &at, &code)) {
            at += template.data[at] == '\\' && at + 1 < template.len;
            size_t len = gn_utf8_len(template.data[at]);
            add_literal(l, template.data + at, len);
            at += len;
        }
    }
    if (l->first_zero < 0)
        l->first_zero = l->before;
    l->shift = l->shift < 0 ? -l->shift - 1 : 0;
    return code;
}

/* ---- laying the number in ---- */

typedef struct writer {
    const layout *l;
    gn_buf *out;
    const char *digits; /* before the point, without leading zeros */
    int32_t n_digits;
    const char *decimals; /* l->after of them, or NULL for none */
    bool negative, overflow, sign_done;
    int32_t place; /* of the digits before the point */
    int32_t first; /* the first of them that shows something */
    int32_t after; /* of those behind it */
    int32_t last;  /* the last of those that shows something */
} writer;

/* The sign that belongs to the number itself: before its first digit. */
static void put_own_sign(writer *w)
{
    const layout *l = w->l;
    if (w->sign_done)
        return;
    w->sign_done = true;
    if (l->own_sign || l->sign_after)
        return;
    if (l->brackets) {
        if (w->negative || !l->fill)
            gn_buf_append_u8(w->out, w->negative ? '<' : ' ');
    } else if (w->negative) {
        gn_buf_append_u8(w->out, '-');
    } else if (l->sign_before) {
        gn_buf_append_u8(w->out, '+');
    } else if (!l->fill) {
        gn_buf_append_u8(w->out, ' ');
    }
}

static void put_blank(writer *w)
{
    if (!w->l->fill)
        gn_buf_append_u8(w->out, ' ');
}

static void put_digit(writer *w)
{
    if (w->after > 0 || w->place == w->l->before) { /* behind the point */
        put_own_sign(w);
        if (w->after++ < w->last)
            gn_buf_append_u8(w->out, w->overflow ? '#' : (uint8_t)w->decimals[w->after - 1]);
        return;
    }
    int32_t index = w->place++, at = index - (w->l->before - w->n_digits);
    if (index < w->first && !w->overflow) {
        put_blank(w);
        return;
    }
    put_own_sign(w);
    gn_buf_append_u8(w->out, w->overflow ? '#' : at < 0 ? '0' : (uint8_t)w->digits[at]);
}

static const char *ending(const writer *w)
{
    static const char *const endings[] = {"th", "st", "nd", "rd"};
    int32_t n = w->n_digits;
    char last = n > 0 ? w->digits[n - 1] : '0', tens = n > 1 ? w->digits[n - 2] : '0';
    return tens == '1' || last > '3' ? "th" : endings[last - '0'];
}

static void put_place(writer *w, const place *p)
{
    switch (p->kind) {
    case NINE:
    case ZERO:
        put_digit(w);
        break;
    case POINT:
        put_own_sign(w);
        if (!w->l->fill || w->last > 0 || w->l->after > 0)
            gn_buf_append_u8(w->out, '.');
        break;
    case GROUP:
        if (w->place > w->first || w->overflow)
            gn_buf_append_u8(w->out, ',');
        else
            put_blank(w);
        break;
    case SIGN:
        if (w->l->sign_after)
            gn_buf_append_u8(w->out, w->negative ? '-' : '+');
        break;
    case MINUS:
        if (w->negative)
            gn_buf_append_u8(w->out, '-');
        else
            put_blank(w);
        break;
    case PLUS:
        if (!w->negative)
            gn_buf_append_u8(w->out, '+');
        else
            put_blank(w);
        break;
    case PLUS_MINUS:
        gn_buf_append_u8(w->out, w->negative ? '-' : '+');
        break;
    case ORDINAL:
        if (!w->negative && w->l->after == 0)
            for (const char *e = ending(w); *e; e++)
                gn_buf_append_u8(w->out, (uint8_t)(p->upper ? *e - 32 : *e));
        break;
    case LITERAL:
        gn_buf_append(w->out, p->text, p->len);
    }
}

static void put_number(const layout *l, const char *text, gn_buf *out)
{
    writer w = {.l = l, .out = out, .negative = *text == '-'};
    w.digits = text + w.negative;
    w.n_digits = (int32_t)strcspn(w.digits, ".");
    w.decimals = w.digits[w.n_digits] ? w.digits + w.n_digits + 1 : "";
    bool zero = w.n_digits == 1 && *w.digits == '0';
    if (zero && (l->after > 0 || l->before == 0))
        w.n_digits = 0; /* .5 */
    w.overflow = w.n_digits > l->before;
    w.first = l->before - w.n_digits < l->first_zero ? l->before - w.n_digits : l->first_zero;
    w.last = l->after;
    while (l->fill && w.last > l->last_zero && w.decimals[w.last - 1] == '0')
        w.last--;
    for (uint32_t i = 0; i < l->n; i++)
        put_place(&w, &l->places[i]);
    if (l->brackets && (w.negative || !l->fill))
        gn_buf_append_u8(out, w.negative ? '>' : ' ');
}

static gn_code as_numeric(const gn_call *call, const gn_value *v, gn_bytes *out)
{
    gn_arena *arena = call->eval->arena;
    switch (v->type.id) {
    case GN_T_INT4:
        return gn_numeric_from_i64(v->as.i32, arena, out, call->eval->err);
    case GN_T_INT8:
        return gn_numeric_from_i64(v->as.i64, arena, out, call->eval->err);
    case GN_T_FLOAT4:
        return gn_numeric_from_f32(v->as.f32, arena, out, call->eval->err);
    case GN_T_FLOAT8:
        return gn_numeric_from_f64(v->as.f64, arena, out, call->eval->err);
    default:
        *out = v->as.bytes;
        return GN_OK;
    }
}

static gn_code to_char_number(const gn_call *call, const gn_value *args, gn_value *out)
{
    layout l;
    gn_bytes number, ten, shift, power;
    gn_arena *arena = call->eval->arena;
    gn_error *err = call->eval->err;
    gn_code code = read_template(call, args[1].as.bytes, &l);
    if (!code)
        code = as_numeric(call, &args[0], &number);
    if (code)
        return code;
    if (gn_numeric_is_nan(number) || gn_numeric_is_infinite(number))
        return gn_error_set(err, GN_FEATURE, "to_char of NaN and infinity is not supported");
    if (l.shift) {
        code = gn_numeric_from_i64(10, arena, &ten, err);
        if (!code)
            code = gn_numeric_from_i64(l.shift, arena, &shift, err);
        if (!code)
            code = gn_numeric_power(ten, shift, arena, &power, err);
        if (!code)
            code = gn_numeric_mul(number, power, arena, &number, err);
    }
    if (!code)
        code = gn_numeric_round(number, l.after, arena, &number, err);
    if (code)
        return code;
    gn_buf text, buf;
    gn_text_begin(call->eval, &text);
    gn_text_begin(call->eval, &buf);
    gn_numeric_print(number, &text);
    gn_buf_append_u8(&text, 0);
    if (text.failed)
        buf.failed = true;
    else
        put_number(&l, (const char *)text.data, &buf);
    gn_buf_close(&text);
    return gn_text_take(call->eval, &buf, out);
}

/* clang-format off */
#define TO_CHAR(type) {"to_char", GN_TY(TEXT), 2, GN_STABLE, 0, 0, {GN_TY(type), GN_TY(TEXT)}, .row = to_char_number},

static const gn_function functions[] = {
    TO_CHAR(INT4) TO_CHAR(INT8) TO_CHAR(FLOAT4) TO_CHAR(FLOAT8) TO_CHAR(NUMERIC)
};
/* clang-format on */

const gn_function_list gn_functions_format_number = {functions, sizeof functions / sizeof *functions};
