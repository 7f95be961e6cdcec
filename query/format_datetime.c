/* to_char, to_date and to_timestamp over templates ("YYYY-MM-DD HH24:MI:SS"), by PostgreSQL's documentation, 9.8. One
 * table of patterns serves both directions. */
#include "query/format_private.h"

#include <stdio.h>

typedef enum pattern {
    P_AM,
    P_AM_DOTS,
    P_BC,
    P_BC_DOTS,
    P_CC,
    P_DAY,
    P_DDD,
    P_DD,
    P_DY,
    P_D,
    P_HH24,
    P_HH12,
    P_IDDD,
    P_ID,
    P_IW,
    P_IYYY,
    P_IYY,
    P_IY,
    P_I,
    P_J,
    P_MI,
    P_MM,
    P_MONTH,
    P_MON,
    P_MS,
    P_OF,
    P_Q,
    P_RM,
    P_SSSS,
    P_SS,
    P_TZH,
    P_TZM,
    P_TZ,
    P_US,
    P_FF,
    P_WW,
    P_W,
    P_Y_YYY,
    P_YYYY,
    P_YYY,
    P_YY,
    P_Y,
} pattern;

/* How letters of a pattern choose the case of words. */
typedef enum word_case { UPPER, CAPITAL, LOWER, NO_WORD } word_case;

typedef struct keyword {
    const char *text;
    pattern pattern;
    word_case words;
    uint8_t digits; /* at most, when parsing; FF: of the fraction */
} keyword;

/* Longer ones before their prefixes. Matching is by exact case for words, by any case for numbers (NO_WORD). */
static const keyword keywords[] = {
    {"A.D.", P_BC_DOTS, UPPER, 0},  {"a.d.", P_BC_DOTS, LOWER, 0}, {"A.M.", P_AM_DOTS, UPPER, 0},
    {"a.m.", P_AM_DOTS, LOWER, 0},  {"AD", P_BC, UPPER, 0},        {"ad", P_BC, LOWER, 0},
    {"AM", P_AM, UPPER, 0},         {"am", P_AM, LOWER, 0},        {"B.C.", P_BC_DOTS, UPPER, 0},
    {"b.c.", P_BC_DOTS, LOWER, 0},  {"BC", P_BC, UPPER, 0},        {"bc", P_BC, LOWER, 0},
    {"CC", P_CC, NO_WORD, 2},       {"DAY", P_DAY, UPPER, 0},      {"Day", P_DAY, CAPITAL, 0},
    {"day", P_DAY, LOWER, 0},       {"DDD", P_DDD, NO_WORD, 3},    {"DD", P_DD, NO_WORD, 2},
    {"DY", P_DY, UPPER, 0},         {"Dy", P_DY, CAPITAL, 0},      {"dy", P_DY, LOWER, 0},
    {"D", P_D, NO_WORD, 1},         {"FF1", P_FF, NO_WORD, 1},     {"FF2", P_FF, NO_WORD, 2},
    {"FF3", P_FF, NO_WORD, 3},      {"FF4", P_FF, NO_WORD, 4},     {"FF5", P_FF, NO_WORD, 5},
    {"FF6", P_FF, NO_WORD, 6},      {"HH24", P_HH24, NO_WORD, 2},  {"HH12", P_HH12, NO_WORD, 2},
    {"HH", P_HH12, NO_WORD, 2},     {"IDDD", P_IDDD, NO_WORD, 3},  {"ID", P_ID, NO_WORD, 1},
    {"IW", P_IW, NO_WORD, 2},       {"IYYY", P_IYYY, NO_WORD, 4},  {"IYY", P_IYY, NO_WORD, 3},
    {"IY", P_IY, NO_WORD, 2},       {"I", P_I, NO_WORD, 1},        {"J", P_J, NO_WORD, 7},
    {"MI", P_MI, NO_WORD, 2},       {"MM", P_MM, NO_WORD, 2},      {"MONTH", P_MONTH, UPPER, 0},
    {"Month", P_MONTH, CAPITAL, 0}, {"month", P_MONTH, LOWER, 0},  {"MON", P_MON, UPPER, 0},
    {"Mon", P_MON, CAPITAL, 0},     {"mon", P_MON, LOWER, 0},      {"MS", P_MS, NO_WORD, 3},
    {"OF", P_OF, NO_WORD, 0},       {"P.M.", P_AM_DOTS, UPPER, 0}, {"p.m.", P_AM_DOTS, LOWER, 0},
    {"PM", P_AM, UPPER, 0},         {"pm", P_AM, LOWER, 0},        {"Q", P_Q, NO_WORD, 1},
    {"RM", P_RM, UPPER, 0},         {"rm", P_RM, LOWER, 0},        {"SSSSS", P_SSSS, NO_WORD, 5},
    {"SSSS", P_SSSS, NO_WORD, 5},   {"SS", P_SS, NO_WORD, 2},      {"TZH", P_TZH, NO_WORD, 2},
    {"TZM", P_TZM, NO_WORD, 2},     {"TZ", P_TZ, UPPER, 0},        {"tz", P_TZ, LOWER, 0},
    {"US", P_US, NO_WORD, 6},       {"WW", P_WW, NO_WORD, 2},      {"W", P_W, NO_WORD, 1},
    {"Y,YYY", P_Y_YYY, NO_WORD, 7}, {"YYYY", P_YYYY, NO_WORD, 4},  {"YYY", P_YYY, NO_WORD, 3},
    {"YY", P_YY, NO_WORD, 2},       {"Y", P_Y, NO_WORD, 1},
};

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char *const roman[] = {"I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"};

/* ---- the calendar ---- */

static int64_t day_number(const gn_moment *m)
{
    return gn_days_from_civil(m->year, m->month, m->day);
}

int32_t gn_day_of_year(const gn_moment *m)
{
    return (int32_t)(day_number(m) - gn_days_from_civil(m->year, 1, 1)) + 1;
}

int32_t gn_day_of_week(const gn_moment *m)
{
    int64_t d = (day_number(m) + 6) % 7; /* 2000-01-01 was a Saturday */
    return (int32_t)(d < 0 ? d + 7 : d);
}

/* The first day of the ISO year: the Monday of the week with 4 January. */
int64_t gn_iso_year_start(int32_t year)
{
    gn_moment fourth = {.year = year, .month = 1, .day = 4};
    return day_number(&fourth) - (gn_day_of_week(&fourth) + 6) % 7;
}

void gn_iso_week(const gn_moment *m, int32_t *year, int32_t *week)
{
    int64_t day = day_number(m);
    *year = m->year + 1;
    while (day < gn_iso_year_start(*year))
        --*year;
    *week = (int32_t)((day - gn_iso_year_start(*year)) / 7) + 1;
}

/* ---- writing ---- */

typedef struct modifiers {
    bool fill; /* FM: no padding */
    bool ordinal, ordinal_upper;
} modifiers;

static void put_number(gn_buf *out, int64_t value, int width, modifiers mods)
{
    static const char *const endings[] = {"th", "st", "nd", "rd"};
    if (mods.fill)
        gn_buf_printf(out, "%lld", (long long)value);
    else
        gn_buf_printf(out, "%0*lld", value < 0 ? width + 1 : width, (long long)value);
    if (!mods.ordinal)
        return;
    int64_t last = (value < 0 ? -value : value) % 100;
    const char *ending = last >= 11 && last <= 13 ? "th" : last % 10 <= 3 ? endings[last % 10] : "th";
    for (; *ending; ending++)
        gn_buf_append_u8(out, (uint8_t)(mods.ordinal_upper ? *ending - 32 : *ending));
}

static void put_word(gn_buf *out, const char *word, size_t max, size_t pad_to, word_case words, modifiers mods)
{
    size_t len = strlen(word);
    len = len > max ? max : len;
    for (size_t i = 0; i < len; i++) {
        uint32_t c = (uint8_t)word[i];
        bool up = words == UPPER || (words == CAPITAL && i == 0);
        gn_buf_append_u8(out, (uint8_t)(up ? gn_upper_character(c) : gn_lower_character(c)));
    }
    for (; !mods.fill && len < pad_to; len++)
        gn_buf_append_u8(out, ' ');
}

static int32_t shown_year(const gn_moment *m) /* BC years count from 1 */
{
    return m->is_interval || m->year > 0 ? m->year : 1 - m->year;
}

static int32_t hour12(const gn_moment *m)
{
    return m->hour % 12 == 0 ? 12 : m->hour % 12;
}

static void put_offset(gn_buf *out, const gn_moment *m, modifiers mods)
{
    int32_t s = m->offset_s < 0 ? -m->offset_s : m->offset_s;
    gn_buf_append_u8(out, m->offset_s < 0 ? '-' : '+');
    put_number(out, s / 3600, 2, mods);
    if (s % 3600)
        gn_buf_printf(out, ":%02d", s / 60 % 60);
}

static int32_t century(const gn_moment *m)
{
    int32_t y = m->year;
    if (m->is_interval)
        return y / 100;
    return y > 0 ? (y - 1) / 100 + 1 : y / 100 - 1;
}

static void put_year_part(const gn_moment *m, const keyword *k, modifiers mods, gn_buf *out)
{
    static const int32_t scales[] = {10, 100, 1000};
    int32_t year = shown_year(m), week = 0, iso = 0;
    bool by_week = k->pattern >= P_IYYY && k->pattern <= P_I;
    if (by_week) {
        gn_iso_week(m, &iso, &week);
        year = iso > 0 ? iso : 1 - iso;
    }
    switch (k->pattern) {
    case P_YYYY:
    case P_IYYY:
        put_number(out, year, 4, mods);
        break;
    case P_Y_YYY:
        gn_buf_printf(out, "%d,%03d", year / 1000, year % 1000);
        break;
    default:
        put_number(out, year % scales[k->digits - 1], k->digits, mods);
    }
}

static void put_calendar_part(const gn_moment *m, const keyword *k, modifiers mods, gn_buf *out)
{
    int32_t year, week;
    switch (k->pattern) {
    case P_DDD:
        put_number(out, m->is_interval ? m->day : gn_day_of_year(m), 3, mods);
        break;
    case P_DD:
        put_number(out, m->day, 2, mods);
        break;
    case P_D:
        put_number(out, gn_day_of_week(m) + 1, 1, mods);
        break;
    case P_ID:
        put_number(out, gn_day_of_week(m) == 0 ? 7 : gn_day_of_week(m), 1, mods);
        break;
    case P_IDDD:
        gn_iso_week(m, &year, &week);
        put_number(out, day_number(m) - gn_iso_year_start(year) + 1, 3, mods);
        break;
    case P_IW:
        gn_iso_week(m, &year, &week);
        put_number(out, week, 2, mods);
        break;
    case P_WW:
        put_number(out, (gn_day_of_year(m) - 1) / 7 + 1, 2, mods);
        break;
    case P_W:
        put_number(out, (m->day - 1) / 7 + 1, 1, mods);
        break;
    case P_Q:
        put_number(out, (m->month - 1) / 3 + 1, 1, mods);
        break;
    case P_J:
        put_number(out, day_number(m) + 2451545, 1, mods);
        break;
    case P_CC:
        put_number(out, century(m), 2, mods);
        break;
    default:
        put_number(out, m->month, 2, mods);
    }
}

static void put_time_part(const gn_moment *m, const keyword *k, modifiers mods, gn_buf *out)
{
    static const int32_t scales[] = {100000, 10000, 1000, 100, 10, 1};
    switch (k->pattern) {
    case P_HH24:
        put_number(out, m->hour, 2, mods);
        break;
    case P_HH12:
        put_number(out, hour12(m), 2, mods);
        break;
    case P_MI:
        put_number(out, m->minute, 2, mods);
        break;
    case P_SS:
        put_number(out, m->second, 2, mods);
        break;
    case P_MS:
        put_number(out, m->microsecond / 1000, 3, mods);
        break;
    case P_US:
        put_number(out, m->microsecond, 6, mods);
        break;
    case P_FF:
        put_number(out, m->microsecond / scales[k->digits - 1], k->digits, mods);
        break;
    case P_SSSS:
        put_number(out, (int64_t)m->hour * 3600 + m->minute * 60 + m->second, 1, mods);
        break;
    case P_OF:
        put_offset(out, m, mods);
        break;
    case P_TZH:
        gn_buf_append_u8(out, m->offset_s < 0 ? '-' : '+');
        put_number(out, (m->offset_s < 0 ? -m->offset_s : m->offset_s) / 3600, 2, mods);
        break;
    default: /* TZM */
        put_number(out, (m->offset_s < 0 ? -m->offset_s : m->offset_s) / 60 % 60, 2, mods);
    }
}

static void put_word_part(const gn_moment *m, const keyword *k, modifiers mods, gn_buf *out)
{
    bool afternoon = m->hour % 24 >= 12, before_christ = m->year <= 0 && !m->is_interval;
    int32_t month = m->month >= 1 && m->month <= 12 ? m->month - 1 : 0;
    switch (k->pattern) {
    case P_AM:
        put_word(out, afternoon ? "PM" : "AM", 2, 0, k->words, mods);
        break;
    case P_AM_DOTS:
        put_word(out, afternoon ? "P.M." : "A.M.", 4, 0, k->words, mods);
        break;
    case P_BC:
        put_word(out, before_christ ? "BC" : "AD", 2, 0, k->words, mods);
        break;
    case P_BC_DOTS:
        put_word(out, before_christ ? "B.C." : "A.D.", 4, 0, k->words, mods);
        break;
    case P_DAY:
        put_word(out, days[gn_day_of_week(m)], 99, 9, k->words, mods);
        break;
    case P_DY:
        put_word(out, days[gn_day_of_week(m)], 3, 0, k->words, mods);
        break;
    case P_MONTH:
        put_word(out, months[month], 99, 9, k->words, mods);
        break;
    case P_MON:
        put_word(out, months[month], 3, 0, k->words, mods);
        break;
    case P_RM:
        put_word(out, roman[month], 4, 4, k->words, mods);
        break;
    default: /* TZ */
        put_word(out, m->zone, 63, 0, k->words, mods);
    }
}

static void put_part(const gn_moment *m, const keyword *k, modifiers mods, gn_buf *out)
{
    if (k->words != NO_WORD) {
        put_word_part(m, k, mods, out);
        return;
    }
    switch (k->pattern) {
    case P_Y_YYY:
    case P_YYYY:
    case P_YYY:
    case P_YY:
    case P_Y:
    case P_IYYY:
    case P_IYY:
    case P_IY:
    case P_I:
        put_year_part(m, k, mods, out);
        break;
    case P_HH24:
    case P_HH12:
    case P_MI:
    case P_SS:
    case P_MS:
    case P_US:
    case P_FF:
    case P_SSSS:
    case P_OF:
    case P_TZH:
    case P_TZM:
        put_time_part(m, k, mods, out);
        break;
    default:
        put_calendar_part(m, k, mods, out);
    }
}

/* ---- templates ---- */

static bool same_letters(const uint8_t *p, const char *text, size_t len, bool any_case)
{
    for (size_t i = 0; i < len; i++) {
        uint32_t a = p[i], b = (uint8_t)text[i];
        if (a != b && !(any_case && gn_upper_character(a) == b))
            return false;
    }
    return true;
}

static const keyword *keyword_at(gn_bytes template, size_t at)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        size_t len = strlen(keywords[i].text);
        if (template.len - at >= len &&
            same_letters(template.data + at, keywords[i].text, len, keywords[i].words == NO_WORD))
            return &keywords[i];
    }
    return NULL;
}

/* FM and TM in front of a pattern, TH behind it. */
static modifiers prefix_at(gn_bytes template, size_t *at)
{
    modifiers mods = {.fill = false};
    for (;;) {
        gn_bytes rest = gn_bytes_of(template.data + *at, template.len - *at);
        bool fill = rest.len >= 2 && same_letters(rest.data, "FM", 2, true);
        bool other =
            rest.len >= 2 && (same_letters(rest.data, "TM", 2, true) || same_letters(rest.data, "FX", 2, true));
        if (!fill && !other)
            return mods;
        mods.fill |= fill;
        *at += 2;
    }
}

static void suffix_at(gn_bytes template, size_t *at, modifiers *mods)
{
    if (template.len - *at < 2 || !same_letters(template.data + *at, "TH", 2, true))
        return;
    mods->ordinal = true;
    mods->ordinal_upper = template.data[*at] == 'T';
    *at += 2;
}

/* A quoted piece of the template at *at (its opening quote): calls nothing, moves behind it, tells its inside. */
static gn_bytes quoted_at(gn_bytes template, size_t *at)
{
    size_t start = ++*at;
    while (*at < template.len && template.data[*at] != '"')
        *at += template.data[*at] == '\\' && *at + 1 < template.len ? 2 : 1;
    gn_bytes inside = gn_bytes_of(template.data + start, *at - start);
    *at += *at < template.len;
    return inside;
}

gn_code gn_moment_format(const gn_call *call, const gn_moment *m, gn_bytes template, gn_buf *out)
{
    (void)call;
    for (size_t at = 0; at < template.len && !out->failed;) {
        size_t start = at;
        modifiers mods = prefix_at(template, &at);
        const keyword *k = at < template.len ? keyword_at(template, at) : NULL;
        if (k) {
            at += strlen(k->text);
            suffix_at(template, &at, &mods);
            put_part(m, k, mods, out);
            continue;
        }
        if (at > start && at >= template.len)
            break;
        if (template.data[at] == '"') {
            gn_bytes inside = quoted_at(template, &at);
            for (size_t i = 0; i < inside.len; i++) {
                i += inside.data[i] == '\\' && i + 1 < inside.len;
                gn_buf_append_u8(out, inside.data[i]);
            }
            continue;
        }
        if (template.data[at] == '\\' && at + 1 < template.len && template.data[at + 1] == '"')
            at++;
        gn_buf_append_u8(out, template.data[at++]);
    }
    return GN_OK;
}

/* ---- reading ---- */

typedef struct parsed {
    gn_code code;
    gn_bytes text;
    size_t at;
    int32_t year, hour12, day_of_year, week, iso_year, iso_day;
    int64_t julian, seconds;
    bool has_year, has_hour12, afternoon, has_half, before_christ, has_offset, negative_offset;
} parsed;

static bool is_letter(uint8_t c)
{
    return (uint32_t)(c | 32) - 'a' < 26u;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static void bad_value(const gn_call *call, parsed *p, const keyword *k)
{
    size_t len = p->text.len - p->at < 10 ? p->text.len - p->at : 10;
    if (p->code)
        return;
    p->code = gn_error_set(call->eval->err, GN_BAD_DATETIME, "invalid value \"%.*s\" for \"%s\"", (int)len,
                           (const char *)p->text.data + p->at, k->text);
    gn_error_detail(call->eval->err, "Value must be an integer.");
}

/* A number of at most `digits` digits; with fill (or where a non-digit follows in the template) any number of them. */
static int64_t take_number(const gn_call *call, parsed *p, const keyword *k, size_t digits, size_t *taken)
{
    int64_t n = 0;
    while (p->at < p->text.len && p->text.data[p->at] == ' ')
        p->at++;
    bool negative = p->at < p->text.len && p->text.data[p->at] == '-' && k->pattern == P_YYYY;
    p->at += negative;
    size_t start = p->at;
    for (; p->at < p->text.len && is_digit(p->text.data[p->at]) && p->at - start < digits && p->at - start < 10;
         p->at++)
        n = n * 10 + (p->text.data[p->at] - '0');
    *taken = p->at - start;
    if (*taken == 0)
        bad_value(call, p, k);
    if (n > INT32_MAX && !p->code)
        p->code = gn_error_set(call->eval->err, GN_DATETIME_RANGE, "value for \"%s\" in source string is out of range",
                               k->text);
    return p->code ? 0 : negative ? -n : n;
}

static int32_t take_word(const gn_call *call, parsed *p, const keyword *k, const char *const *words, int32_t n,
                         size_t length)
{
    for (int32_t i = 0; i < n; i++) {
        size_t len = strlen(words[i]) < length ? strlen(words[i]) : length, same = 0;
        while (same < len && p->at + same < p->text.len &&
               gn_lower_character(p->text.data[p->at + same]) == gn_lower_character((uint8_t)words[i][same]))
            same++;
        if (same == len) {
            p->at += len;
            return i;
        }
    }
    if (!p->code) {
        size_t len = p->text.len - p->at < 10 ? p->text.len - p->at : 10;
        p->code = gn_error_set(call->eval->err, GN_BAD_DATETIME, "invalid value \"%.*s\" for \"%s\"", (int)len,
                               (const char *)p->text.data + p->at, k->text);
        gn_error_detail(call->eval->err, "The given value did not match any of the allowed values for this field.");
    }
    return 0;
}

static int32_t complete_year(int64_t n, size_t digits) /* of two or three digits: nearest to 2020 */
{
    if (digits <= 2)
        return (int32_t)(n < 70 ? n + 2000 : n + 1900);
    return (int32_t)(digits == 3 ? (n < 520 ? n + 2000 : n + 1000) : n);
}

static int32_t fraction(int64_t n, size_t digits)
{
    for (; digits < 6; digits++)
        n *= 10;
    return (int32_t)n;
}

static void take_words(const gn_call *call, parsed *p, const keyword *k, gn_moment *m)
{
    static const char *const halves[] = {"AM", "PM", "A.M.", "P.M."}, *const eras[] = {"AD", "BC", "A.D.", "B.C."};
    switch (k->pattern) {
    case P_AM:
    case P_AM_DOTS:
        p->afternoon = take_word(call, p, k, halves, 4, 4) % 2;
        p->has_half = true;
        break;
    case P_BC:
    case P_BC_DOTS:
        p->before_christ = take_word(call, p, k, eras, 4, 4) % 2;
        break;
    case P_MONTH:
        m->month = take_word(call, p, k, months, 12, 99) + 1;
        break;
    case P_MON:
        m->month = take_word(call, p, k, months, 12, 3) + 1;
        break;
    case P_DAY:
        (void)take_word(call, p, k, days, 7, 99);
        break;
    case P_DY:
        (void)take_word(call, p, k, days, 7, 3);
        break;
    default:
        if (!p->code)
            p->code = gn_error_set(call->eval->err, GN_FEATURE, "formatting field \"%s\" is only supported in to_char",
                                   k->text);
    }
}

static void take_offset(const gn_call *call, parsed *p, const keyword *k, gn_moment *m)
{
    size_t taken;
    bool hours = k->pattern != P_TZM;
    if (hours && p->at < p->text.len && (p->text.data[p->at] == '+' || p->text.data[p->at] == '-'))
        p->negative_offset = p->text.data[p->at++] == '-';
    int32_t n = (int32_t)take_number(call, p, k, 2, &taken) * (hours ? 3600 : 60);
    m->offset_s += p->negative_offset ? -n : n;
    p->has_offset = true;
    if (k->pattern == P_OF && p->at < p->text.len && p->text.data[p->at] == ':') {
        p->at++;
        n = (int32_t)take_number(call, p, k, 2, &taken) * 60;
        m->offset_s += p->negative_offset ? -n : n;
    }
}

static void take_part(const gn_call *call, parsed *p, const keyword *k, size_t digits, gn_moment *m)
{
    size_t taken;
    if (k->words != NO_WORD) {
        take_words(call, p, k, m);
        return;
    }
    if (k->pattern == P_OF || k->pattern == P_TZH || k->pattern == P_TZM) {
        take_offset(call, p, k, m);
        return;
    }
    int64_t n = take_number(call, p, k, digits, &taken);
    switch (k->pattern) {
    case P_YYYY:
    case P_YYY:
    case P_YY:
    case P_Y:
        p->year = k->pattern == P_YYYY && taken > 2 ? (int32_t)n : complete_year(n, taken);
        p->year = k->pattern == P_YYYY ? (int32_t)n : p->year;
        p->has_year = true;
        break;
    case P_MM:
        m->month = (int32_t)n;
        break;
    case P_DD:
        m->day = (int32_t)n;
        break;
    case P_DDD:
        p->day_of_year = (int32_t)n;
        break;
    case P_J:
        p->julian = n;
        break;
    case P_IYYY:
        p->iso_year = (int32_t)n;
        break;
    case P_IW:
        p->week = (int32_t)n;
        break;
    case P_ID:
        p->iso_day = (int32_t)n;
        break;
    case P_HH24:
        m->hour = (int32_t)n;
        break;
    case P_HH12:
        m->hour = (int32_t)n;
        p->has_hour12 = true;
        break;
    case P_MI:
        m->minute = (int32_t)n;
        break;
    case P_SS:
        m->second = (int32_t)n;
        break;
    case P_SSSS:
        p->seconds = n;
        break;
    case P_MS:
    case P_US:
    case P_FF:
        m->microsecond = fraction(n, taken);
        break;
    default: /* D, WW, W, Q, CC, the shorter ISO years: read and not used, as PostgreSQL does with most of them */
        break;
    }
}

static gn_code out_of_range(const gn_call *call, gn_bytes text)
{
    return gn_error_set(call->eval->err, GN_DATETIME_RANGE, "date/time field value out of range: \"%.*s\"",
                        (int)(text.len > 100 ? 100 : text.len), (const char *)text.data);
}

/* Joins what was read: AM and PM, BC, the day of the year, ISO weeks, the Julian day. */
static gn_code settle(const gn_call *call, parsed *p, gn_moment *m)
{
    if (p->has_hour12 || p->has_half) {
        if (m->hour < 1 || m->hour > 12) {
            gn_error_set(call->eval->err, GN_BAD_DATETIME, "hour \"%d\" is invalid for the 12-hour clock", m->hour);
            gn_error_hint(call->eval->err, "Use the 24-hour clock, or give an hour between 1 and 12.");
            return GN_BAD_DATETIME;
        }
        m->hour = m->hour % 12 + (p->afternoon ? 12 : 0);
    }
    if (p->seconds >= 0) {
        m->hour = (int32_t)(p->seconds / 3600);
        m->minute = (int32_t)(p->seconds / 60 % 60);
        m->second = (int32_t)(p->seconds % 60);
    }
    if (p->has_year)
        m->year = p->before_christ ? 1 - p->year : p->year;
    if (m->month < 1 || m->month > 12 || m->hour > 23 || m->minute > 59 || m->second > 59 || m->year > 294276 ||
        m->year < -4712 || m->offset_s > 16 * 3600 || m->offset_s < -16 * 3600)
        return out_of_range(call, p->text);
    int64_t day = 0;
    bool by_days = true;
    if (p->julian >= 0)
        day = p->julian - 2451545 - gn_days_from_civil(m->year, 1, 1) + 1;
    else if (p->iso_year && p->week)
        day = gn_iso_year_start(p->iso_year) + 7 * ((int64_t)p->week - 1) + (p->iso_day ? p->iso_day - 1 : 0) -
              gn_days_from_civil(m->year, 1, 1) + 1;
    else if (p->day_of_year)
        day = p->day_of_year;
    else
        by_days = false;
    if (by_days && (day < INT32_MIN || day > INT32_MAX))
        return out_of_range(call, p->text);
    if (by_days) { /* the caller counts on from 1 January */
        m->month = 1;
        m->day = (int32_t)day;
        return GN_OK;
    }
    return m->day < 1 || m->day > gn_days_in_month(m->year, m->month) ? out_of_range(call, p->text) : GN_OK;
}

gn_code gn_moment_parse(const gn_call *call, gn_bytes text, gn_bytes template, gn_moment *m, bool *has_zone)
{
    parsed p = {.text = text, .julian = -1, .seconds = -1};
    *m = (gn_moment){.year = 0, .month = 1, .day = 1, .zone = ""};
    while (p.at < text.len && text.data[p.at] == ' ')
        p.at++;
    for (size_t at = 0; at < template.len && !p.code && p.at < text.len;) {
        modifiers mods = prefix_at(template, &at);
        const keyword *k = at < template.len ? keyword_at(template, at) : NULL;
        if (k) {
            at += strlen(k->text);
            bool number_follows = at < template.len && keyword_at(template, at) && keyword_at(template, at)->digits > 0;
            take_part(call, &p, k, mods.fill || !number_follows ? 10 : k->digits, m);
            modifiers ordinal = {.fill = false};
            suffix_at(template, &at, &ordinal);
            p.at += ordinal.ordinal && text.len - p.at >= 2 ? 2 : 0;
            continue;
        }
        if (at >= template.len)
            break;
        if (template.data[at] == '"') { /* as many characters of the input are skipped */
            gn_bytes inside = quoted_at(template, &at);
            p.at += gn_utf8_skip(gn_bytes_of(text.data + p.at, text.len - p.at), gn_utf8_count(inside));
            continue;
        }
        uint8_t c = template.data[at++], here = text.data[p.at];
        bool separator = !is_digit(c) && !is_letter(c) && c < 0x80;
        if (!separator || (!is_digit(here) && !is_letter(here) && here != '-' && here != '+') || c == here)
            p.at += gn_utf8_len(here);
        while (separator && p.at < text.len && text.data[p.at] == ' ')
            p.at++;
    }
    *has_zone = p.has_offset;
    return p.code ? p.code : settle(call, &p, m);
}
