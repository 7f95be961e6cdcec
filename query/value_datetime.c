/* date, timestamp, timestamptz: PostgreSQL's text forms (output always ISO), wire forms, casts. */
#include "query/datetime.h"
#include "query/value_private.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

/* ---- reading ---- */

enum { MAX_TEXT = 128 };

typedef enum special { NOT_SPECIAL, MINUS_INFINITY, PLUS_INFINITY, EPOCH, NOW, TODAY, TOMORROW, YESTERDAY } special;

typedef struct parsed {
    special special;
    gn_civil civil;
    bool has_date, has_time, has_zone;
    int32_t zone_s; /* east */
    bool range;     /* a field was out of its range, rather than unreadable */
    int numbers[3]; /* of a date with a month's name: day and year, in order */
    int n_numbers;
    int number_digits[3];
    int named_month;
    bool bc;
    char zone_name[64];
} parsed;

static special special_word(gn_bytes text)
{
    static const struct {
        const char *word;
        special special;
    } words[] = {{"infinity", PLUS_INFINITY},
                 {"+infinity", PLUS_INFINITY},
                 {"-infinity", MINUS_INFINITY},
                 {"epoch", EPOCH},
                 {"now", NOW},
                 {"today", TODAY},
                 {"tomorrow", TOMORROW},
                 {"yesterday", YESTERDAY}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (gn_same_word(text, words[i].word))
            return words[i].special;
    return NOT_SPECIAL;
}

static int take_digits(const char **p, int *value, int most)
{
    int n = 0;
    for (*value = 0; isdigit((unsigned char)**p) && n < most; n++)
        *value = *value * 10 + (*(*p)++ - '0');
    return n;
}

static bool take_fraction(const char **p, int *us)
{
    int scale = 100000, digit, extra = 0, seen = 0;
    *us = 0;
    for ((*p)++; isdigit((unsigned char)**p); (*p)++, seen++) {
        digit = **p - '0';
        if (scale > 0)
            *us += digit * scale;
        else if (extra++ == 0 && digit >= 5)
            (*us)++;
        scale /= 10;
    }
    return seen > 0 || true; /* "12:00:00." is what PostgreSQL takes, too */
}

/* HH:MM[:SS[.f]] */
static bool take_time(const char **p, parsed *out)
{
    gn_civil *c = &out->civil;
    if (take_digits(p, &c->hour, 2) == 0 || **p != ':')
        return false;
    (*p)++;
    if (take_digits(p, &c->minute, 2) == 0)
        return false;
    if (**p == ':') {
        (*p)++;
        if (take_digits(p, &c->second, 2) == 0)
            return false;
        if (**p == '.')
            take_fraction(p, &c->us);
    }
    if (c->hour > 24 || c->minute > 59 || c->second > 60 || (c->hour == 24 && (c->minute || c->second || c->us)))
        out->range = true;
    out->has_time = true;
    return true;
}

/* +HH[:MM[:SS]], -HHMM */
static bool take_offset(const char **p, parsed *out)
{
    int sign = *(*p)++ == '-' ? -1 : 1, hour = 0, minute = 0, second = 0;
    int digits = take_digits(p, &hour, 4);
    if (digits > 2) {
        minute = hour % 100;
        hour /= 100;
    } else if (digits > 0 && **p == ':') {
        (*p)++;
        if (take_digits(p, &minute, 2) == 0)
            return false;
        if (**p == ':') {
            (*p)++;
            if (take_digits(p, &second, 2) == 0)
                return false;
        }
    }
    if (digits == 0)
        return false;
    out->range |= hour > 15 || minute > 59 || second > 59;
    out->zone_s = sign * (hour * 3600 + minute * 60 + second);
    out->has_zone = true;
    return true;
}

/* Y-M-D with one separator throughout, or YYYYMMDD. */
static bool take_date(const char **p, parsed *out)
{
    int year, month = 0, day = 0;
    int digits = take_digits(p, &year, 8);
    char separator = **p;
    if (digits == 8 && separator != '-' && separator != '/') {
        month = year / 100 % 100;
        day = year % 100;
        year /= 10000;
    } else {
        if (digits < 3 || (separator != '-' && separator != '/' && separator != '.'))
            return false;
        (*p)++;
        if (take_digits(p, &month, 2) == 0 || **p != separator)
            return false;
        (*p)++;
        if (take_digits(p, &day, 2) == 0)
            return false;
    }
    out->civil.year = year;
    out->civil.month = month;
    out->civil.day = day;
    out->has_date = true;
    return true;
}

static int month_of(const char *word, size_t len)
{
    static const char *const names[] = {"january", "february", "march",     "april",   "may",      "june",
                                        "july",    "august",   "september", "october", "november", "december"};
    for (int i = 0; i < 12; i++)
        if (len >= 3 && len <= strlen(names[i]) && strncasecmp(word, names[i], len) == 0)
            return i + 1;
    return 0;
}

static bool is_weekday(const char *word, size_t len)
{
    static const char *const names[] = {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"};
    for (int i = 0; i < 7; i++)
        if (len >= 3 && len <= strlen(names[i]) && strncasecmp(word, names[i], len) == 0)
            return true;
    return false;
}

static bool take_word(const char **p, parsed *out)
{
    const char *start = *p;
    while (isalpha((unsigned char)**p) || (*p > start && (**p == '/' || **p == '_')))
        (*p)++;
    size_t len = (size_t)(*p - start);
    gn_bytes word = gn_bytes_of(start, len);
    int month = month_of(start, len);
    if (month && !out->named_month) {
        out->named_month = month;
        if (**p == '-')
            (*p)++;
        return true;
    }
    if (gn_same_word(word, "t") || is_weekday(start, len) || gn_same_word(word, "ad"))
        return true;
    if (gn_same_word(word, "bc")) {
        out->bc = true;
        return true;
    }
    if (gn_same_word(word, "am") || gn_same_word(word, "pm")) {
        out->range |= out->civil.hour > 12;
        out->civil.hour = out->civil.hour % 12 + ((start[0] | 0x20) == 'p' ? 12 : 0);
        return out->has_time;
    }
    if (len == 0 || len >= sizeof out->zone_name || out->has_zone)
        return false;
    memcpy(out->zone_name, start, len);
    out->zone_name[len] = '\0';
    out->has_zone = true;
    return true;
}

/* What begins with a digit: a time if a colon follows one or two digits, else a date or a part of one. */
static bool take_number(const char **p, parsed *out)
{
    size_t digits = strspn(*p, "0123456789");
    char next = (*p)[digits];
    if (digits <= 2 && next == ':')
        return take_time(p, out);
    if (!out->has_date && (digits == 8 || (digits >= 3 && (next == '-' || next == '/' || next == '.'))) &&
        !(next == '-' && isalpha((unsigned char)(*p)[digits + 1])))
        return take_date(p, out);
    if (out->n_numbers == 3 || digits > 6)
        return false;
    out->number_digits[out->n_numbers] = (int)digits;
    take_digits(p, &out->numbers[out->n_numbers++], 6);
    if (**p == '-' || **p == ',')
        (*p)++;
    return true;
}

/* "8 Jan 1999", "January 8, 1999", "1999-Jan-08" */
static bool settle_named_month(parsed *out)
{
    if (!out->named_month)
        return out->n_numbers == 0;
    if (out->n_numbers != 2 || out->has_date)
        return false;
    int year_at = out->number_digits[0] > 2 ? 0 : 1;
    out->civil.year = out->numbers[year_at];
    out->civil.month = out->named_month;
    out->civil.day = out->numbers[1 - year_at];
    out->has_date = true;
    return true;
}

static bool scan(const char *p, parsed *out)
{
    while (*p) {
        if (isspace((unsigned char)*p) || *p == ',') {
            p++;
        } else if ((*p == '+' || *p == '-') && out->has_time && !out->has_zone) {
            if (!take_offset(&p, out))
                return false;
        } else if (isdigit((unsigned char)*p)) {
            if (!take_number(&p, out))
                return false;
        } else if (isalpha((unsigned char)*p)) {
            if (!take_word(&p, out))
                return false;
        } else {
            return false;
        }
    }
    return settle_named_month(out);
}

static gn_code bad_datetime(gn_bytes text, const char *type, gn_error *err)
{
    size_t bad;
    if (!gn_utf8_valid(text, &bad))
        return gn_bad_utf8(text, bad, err);
    return gn_error_set(err, GN_BAD_DATETIME, "invalid input syntax for type %s: \"%.*s\"", type, gn_quotable(text),
                        (const char *)text.data);
}

static gn_code parse_text(gn_bytes text, const char *type, parsed *out, gn_error *err)
{
    char copy[MAX_TEXT];
    gn_bytes trimmed = gn_trim_space(text);
    *out = (parsed){.special = special_word(trimmed)};
    if (out->special != NOT_SPECIAL)
        return GN_OK;
    if (trimmed.len == 0 || trimmed.len >= sizeof copy || memchr(trimmed.data, 0, trimmed.len))
        return bad_datetime(text, type, err);
    memcpy(copy, trimmed.data, trimmed.len);
    copy[trimmed.len] = '\0';
    if (!scan(copy, out) || !out->has_date)
        return bad_datetime(text, type, err);
    gn_civil *c = &out->civil;
    if (out->bc)
        c->year = 1 - c->year;
    if (out->range || c->month < 1 || c->month > 12 || c->day < 1 || c->day > gn_days_in_month(c->year, c->month) ||
        (c->year == 0 && !out->bc))
        return gn_error_set(err, GN_DATETIME_RANGE, "date/time field value out of range: \"%.*s\"", gn_quotable(text),
                            (const char *)text.data);
    return GN_OK;
}

static int64_t local_now(const gn_format *format)
{
    int64_t now = format ? format->now_us : 0;
    return now + gn_zone_at_utc(format, now) * GN_US_PER_SECOND;
}

static int64_t day_of(int64_t us)
{
    return us / GN_US_PER_DAY - (us % GN_US_PER_DAY < 0);
}

/* The wall clock's time of a special word, in the session's zone. */
static int64_t special_local(special s, const gn_format *format)
{
    int64_t now = local_now(format), midnight = day_of(now) * GN_US_PER_DAY;
    switch (s) {
    case NOW:
        return now;
    case TOMORROW:
        return midnight + GN_US_PER_DAY;
    case YESTERDAY:
        return midnight - GN_US_PER_DAY;
    default:
        return midnight;
    }
}

static gn_code out_of_range(const char *what, gn_bytes text, gn_error *err)
{
    return gn_error_set(err, GN_DATETIME_RANGE, "%s out of range: \"%.*s\"", what, gn_quotable(text),
                        (const char *)text.data);
}

static gn_code date_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                          gn_error *err)
{
    parsed p;
    int64_t days;
    (void)arena;
    gn_code code = parse_text(text, "date", &p, err);
    if (code != GN_OK)
        return code;
    if (p.special == MINUS_INFINITY || p.special == PLUS_INFINITY)
        days = p.special == PLUS_INFINITY ? INT32_MAX : INT32_MIN;
    else if (p.special == EPOCH)
        days = -GN_UNIX_TO_2000_DAYS;
    else if (p.special)
        days = day_of(special_local(p.special, format));
    else
        days = gn_days_from_civil(p.civil.year, p.civil.month, p.civil.day);
    if (p.special == NOT_SPECIAL && !gn_date_in_range(days))
        return out_of_range("date", text, err);
    *out = (gn_value){.type = type, .as.i32 = (int32_t)days};
    return GN_OK;
}

/* The written zone's offset at that local time; the session's when none is written. */
static gn_code zone_offset(const parsed *p, int64_t local, const gn_format *format, int32_t *out, gn_error *err)
{
    *out = p->zone_s;
    if (!p->has_zone) {
        *out = gn_zone_at_local(format, local);
        return GN_OK;
    }
    if (!p->zone_name[0])
        return GN_OK;
    gn_arena *arena = gn_arena_create(NULL);
    gn_format zone;
    gn_code code = gn_zone_format(gn_bytes_str(p->zone_name), arena, &zone, err);
    if (code == GN_OK)
        *out = gn_zone_at_local(&zone, local);
    gn_arena_destroy(arena);
    return code;
}

static gn_code timestamp_parse_as(gn_bytes text, gn_type type, bool with_zone, const gn_format *format, gn_value *out,
                                  gn_error *err)
{
    parsed p;
    int64_t us;
    int32_t offset = 0;
    gn_code code = parse_text(text, with_zone ? "timestamp with time zone" : "timestamp", &p, err);
    if (code != GN_OK)
        return code;
    *out = (gn_value){.type = type};
    if (p.special == MINUS_INFINITY || p.special == PLUS_INFINITY) {
        out->as.i64 = p.special == PLUS_INFINITY ? INT64_MAX : INT64_MIN;
        return GN_OK;
    }
    enum { FIRST_YEAR = -4713, LAST_YEAR = 294277 }; /* beyond them microseconds would not fit */
    if (!p.special && (p.civil.year < FIRST_YEAR || p.civil.year > LAST_YEAR))
        return out_of_range("timestamp", text, err);
    us = p.special == EPOCH ? -(int64_t)GN_UNIX_TO_2000_DAYS * GN_US_PER_DAY
         : p.special        ? special_local(p.special, format)
                            : gn_timestamp_from_civil(&p.civil);
    if (with_zone && p.special != EPOCH) {
        code = zone_offset(&p, us, format, &offset, err);
        if (code != GN_OK)
            return code;
        us -= offset * GN_US_PER_SECOND;
    }
    us = gn_timestamp_round(us, type.typmod);
    if (!gn_timestamp_in_range(us))
        return out_of_range("timestamp", text, err);
    out->as.i64 = us;
    return GN_OK;
}

static gn_code timestamp_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                               gn_error *err)
{
    (void)arena;
    return timestamp_parse_as(text, type, false, format, out, err);
}

static gn_code timestamptz_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                                 gn_error *err)
{
    (void)arena;
    return timestamp_parse_as(text, type, true, format, out, err);
}

/* ---- writing ---- */

static void put_date(gn_buf *out, const gn_civil *c)
{
    long long year = c->year > 0 ? c->year : 1 - c->year;
    gn_buf_printf(out, "%04lld-%02d-%02d", year, c->month, c->day);
}

static void put_time(gn_buf *out, const gn_civil *c)
{
    gn_buf_printf(out, " %02d:%02d:%02d", c->hour, c->minute, c->second);
    if (c->us == 0)
        return;
    char digits[8];
    int n = snprintf(digits, sizeof digits, "%06d", c->us % 1000000);
    while (n > 0 && digits[n - 1] == '0')
        n--;
    gn_buf_printf(out, ".%.*s", n, digits);
}

static bool put_era(gn_buf *out, const gn_civil *c)
{
    if (c->year <= 0)
        gn_buf_append_str(out, " BC");
    return !out->failed;
}

static bool date_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    gn_civil c;
    (void)format;
    if (v->as.i32 == INT32_MIN || v->as.i32 == INT32_MAX)
        return gn_buf_append_str(out, v->as.i32 < 0 ? "-infinity" : "infinity");
    gn_civil_from_days(v->as.i32, &c);
    put_date(out, &c);
    return put_era(out, &c);
}

static bool timestamp_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    gn_civil c;
    bool with_zone = gn_type_is(v->type, GN_T_TIMESTAMPTZ);
    if (v->as.i64 == INT64_MIN || v->as.i64 == INT64_MAX)
        return gn_buf_append_str(out, v->as.i64 < 0 ? "-infinity" : "infinity");
    int32_t offset = with_zone ? gn_zone_at_utc(format, v->as.i64) : 0;
    gn_civil_from_timestamp(v->as.i64 + offset * GN_US_PER_SECOND, &c);
    put_date(out, &c);
    put_time(out, &c);
    if (with_zone) {
        int32_t s = offset < 0 ? -offset : offset;
        gn_buf_printf(out, "%c%02d", offset < 0 ? '-' : '+', s / 3600);
        if (s % 3600)
            gn_buf_printf(out, ":%02d", s / 60 % 60);
        if (s % 60)
            gn_buf_printf(out, ":%02d", s % 60);
    }
    return put_era(out, &c);
}

/* ---- wire, order ---- */

static gn_code date_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_reader r = gn_reader_of(wire);
    int32_t days = (int32_t)gn_read_be32(&r);
    (void)arena;
    if (r.failed || gn_reader_left(&r))
        return gn_bad_wire(type, err);
    if (days != INT32_MIN && days != INT32_MAX && !gn_date_in_range(days))
        return gn_error_set(err, GN_DATETIME_RANGE, "date out of range");
    *out = (gn_value){.type = type, .as.i32 = days};
    return GN_OK;
}

static bool date_send(const gn_value *v, gn_buf *out)
{
    return gn_buf_append_be32(out, (uint32_t)v->as.i32);
}

static gn_code timestamp_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_reader r = gn_reader_of(wire);
    int64_t us = (int64_t)gn_read_be64(&r);
    (void)arena;
    if (r.failed || gn_reader_left(&r))
        return gn_bad_wire(type, err);
    if (us != INT64_MIN && us != INT64_MAX && !gn_timestamp_in_range(us))
        return gn_error_set(err, GN_DATETIME_RANGE, "timestamp out of range");
    *out = (gn_value){.type = type, .as.i64 = gn_timestamp_round(us, type.typmod)};
    return GN_OK;
}

static bool timestamp_send(const gn_value *v, gn_buf *out)
{
    return gn_buf_append_be64(out, (uint64_t)v->as.i64);
}

static int date_compare(const gn_value *a, const gn_value *b)
{
    return (a->as.i32 > b->as.i32) - (a->as.i32 < b->as.i32);
}

static uint64_t date_hash(const gn_value *v)
{
    return gn_hash_u64((uint64_t)v->as.i32);
}

static int timestamp_compare(const gn_value *a, const gn_value *b)
{
    return (a->as.i64 > b->as.i64) - (a->as.i64 < b->as.i64);
}

static uint64_t timestamp_hash(const gn_value *v)
{
    return gn_hash_u64((uint64_t)v->as.i64);
}

const gn_type_ops gn_date_ops = {date_parse, date_print, date_recv, date_send, date_compare, date_hash};
const gn_type_ops gn_timestamp_ops = {timestamp_parse, timestamp_print,   timestamp_recv,
                                      timestamp_send,  timestamp_compare, timestamp_hash};
const gn_type_ops gn_timestamptz_ops = {timestamptz_parse, timestamp_print,   timestamp_recv,
                                        timestamp_send,    timestamp_compare, timestamp_hash};

/* ---- casts ---- */

static gn_code cast_date(int32_t days, gn_type to, const gn_format *format, gn_value *out, gn_error *err)
{
    if (days == INT32_MIN || days == INT32_MAX) {
        out->as.i64 = days < 0 ? INT64_MIN : INT64_MAX;
        return GN_OK;
    }
    if (days > INT64_C(106751983)) /* beyond the year 294276 */
        return gn_error_set(err, GN_DATETIME_RANGE, "date out of range for timestamp");
    int64_t us = days * GN_US_PER_DAY;
    if (to.id == GN_T_TIMESTAMPTZ)
        us -= gn_zone_at_local(format, us) * GN_US_PER_SECOND;
    if (!gn_timestamp_in_range(us))
        return gn_error_set(err, GN_DATETIME_RANGE, "date out of range for timestamp");
    out->as.i64 = us;
    return GN_OK;
}

static void cast_timestamp(const gn_value *v, gn_type to, const gn_format *format, gn_value *out)
{
    int64_t us = v->as.i64;
    bool infinite = us == INT64_MIN || us == INT64_MAX;
    if (!infinite && v->type.id == GN_T_TIMESTAMPTZ)
        us += gn_zone_at_utc(format, us) * GN_US_PER_SECOND;
    if (to.id == GN_T_DATE)
        out->as.i32 = infinite ? (us < 0 ? INT32_MIN : INT32_MAX) : (int32_t)day_of(us);
    else if (!infinite && to.id == GN_T_TIMESTAMPTZ)
        out->as.i64 = us - gn_zone_at_local(format, us) * GN_US_PER_SECOND;
    else
        out->as.i64 = us;
}

bool gn_cast_datetime(const gn_value *v, gn_type to, const gn_format *format, gn_value *out, gn_code *code,
                      gn_error *err)
{
    bool from_date = gn_type_is(v->type, GN_T_DATE);
    bool from_timestamp = gn_type_is(v->type, GN_T_TIMESTAMP) || gn_type_is(v->type, GN_T_TIMESTAMPTZ);
    bool to_timestamp = gn_type_is(to, GN_T_TIMESTAMP) || gn_type_is(to, GN_T_TIMESTAMPTZ);
    *code = GN_OK;
    if (from_date && to_timestamp)
        *code = cast_date(v->as.i32, to, format, out, err);
    else if (from_timestamp && (to_timestamp || gn_type_is(to, GN_T_DATE)))
        cast_timestamp(v, to, format, out);
    else
        return false;
    return true;
}
