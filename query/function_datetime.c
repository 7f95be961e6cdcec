/* Arithmetic of dates, timestamps and intervals, and the functions that make and cut them. Words and results are
 * PostgreSQL's; a timestamptz is computed with in the session's time zone. */
#include "query/format_private.h"

#include <math.h>
#include <stdio.h>

#define UNUSED(x) (void)(x)

/* ---- shared ---- */

static bool date_finite(int32_t d)
{
    return d != INT32_MIN && d != INT32_MAX;
}

static bool finite_us(int64_t us)
{
    return us != INT64_MIN && us != INT64_MAX;
}

static gn_code range_error(const gn_call *call, const char *what)
{
    return gn_error_set(call->eval->err, GN_DATETIME_RANGE, "%s out of range", what);
}

static gn_code give_date(const gn_call *call, int64_t days, gn_value *out)
{
    if (!gn_date_in_range(days))
        return range_error(call, "date");
    out->as.i32 = (int32_t)days;
    return GN_OK;
}

static gn_code give_timestamp(const gn_call *call, __int128 us, gn_value *out)
{
    if (us <= INT64_MIN || us >= INT64_MAX || !gn_timestamp_in_range((int64_t)us))
        return range_error(call, "timestamp");
    out->as.i64 = (int64_t)us;
    return GN_OK;
}

static gn_code give_interval(const gn_call *call, gn_interval v, gn_value *out)
{
    return gn_interval_store(v, call->eval->arena, &out->as.bytes, call->eval->err);
}

static gn_code date_to_timestamp(const gn_call *call, int32_t days, int64_t *us)
{
    *us = days == INT32_MIN ? INT64_MIN : INT64_MAX;
    if (!date_finite(days))
        return GN_OK;
    *us = days * GN_US_PER_DAY;
    if (days > 300 * 366 * 1000 || !gn_timestamp_in_range(*us))
        return range_error(call, "date out of range for timestamp: value");
    return GN_OK;
}

/* A timestamptz as the local time of the session's zone, and back. */
static int64_t to_local(const gn_call *call, int64_t us)
{
    return us + gn_zone_at_utc(call->eval->format, us) * GN_US_PER_SECOND;
}

static int64_t from_local(const gn_call *call, int64_t us)
{
    return us - gn_zone_at_local(call->eval->format, us) * GN_US_PER_SECOND;
}

/* ---- dates ---- */

static gn_code date_add_days(const gn_call *call, const gn_value *args, gn_value *out)
{
    bool minus = call->function->op == '-', swapped = gn_type_is(args[0].type, GN_T_INT4);
    int32_t date = args[swapped].as.i32, days = args[!swapped].as.i32;
    if (!date_finite(date)) {
        out->as.i32 = date;
        return GN_OK;
    }
    return give_date(call, (int64_t)date + (minus ? -(int64_t)days : days), out);
}

static gn_code date_difference(const gn_call *call, const gn_value *args, gn_value *out)
{
    if (!date_finite(args[0].as.i32) || !date_finite(args[1].as.i32))
        return gn_error_set(call->eval->err, GN_DATETIME_RANGE, "cannot subtract infinite dates");
    out->as.i32 = args[0].as.i32 - args[1].as.i32;
    return GN_OK;
}

/* ---- timestamps and intervals ---- */

static gn_code negate(const gn_call *call, gn_interval *v)
{
    if (v->months == INT32_MIN || v->days == INT32_MIN || v->us == INT64_MIN)
        return range_error(call, "interval");
    *v = (gn_interval){.months = -v->months, .days = -v->days, .us = -v->us};
    return GN_OK;
}

/* timestamptz: months and days on the local calendar, hours and below in absolute time. */
static gn_code add_in_zone(const gn_call *call, int64_t us, gn_interval v, int64_t *out)
{
    gn_interval calendar = {.months = v.months, .days = v.days}, rest = {.us = v.us};
    gn_code code = GN_OK;
    if (finite_us(us) && (v.months || v.days)) {
        int64_t local;
        code = gn_timestamp_add(to_local(call, us), calendar, &local, call->eval->err);
        us = code ? us : from_local(call, local);
    }
    return code ? code : gn_timestamp_add(us, rest, out, call->eval->err);
}

/* date, timestamp or timestamptz plus or minus an interval, on either side of the plus. */
static gn_code add_interval(const gn_call *call, const gn_value *args, gn_value *out)
{
    bool swapped = gn_type_is(args[0].type, GN_T_INTERVAL);
    const gn_value *moment = &args[swapped];
    gn_interval v = gn_interval_load(args[!swapped].as.bytes);
    int64_t us = moment->as.i64;
    gn_code code = call->function->op == '-' ? negate(call, &v) : GN_OK;
    if (!code && gn_type_is(moment->type, GN_T_DATE))
        code = date_to_timestamp(call, moment->as.i32, &us);
    if (code)
        return code;
    return gn_type_is(moment->type, GN_T_TIMESTAMPTZ) ? add_in_zone(call, us, v, &out->as.i64)
                                                      : gn_timestamp_add(us, v, &out->as.i64, call->eval->err);
}

static gn_code timestamp_difference(const gn_call *call, const gn_value *args, gn_value *out)
{
    int64_t a = args[0].as.i64, b = args[1].as.i64, us;
    if (!finite_us(a) || !finite_us(b))
        return gn_error_set(call->eval->err, GN_DATETIME_RANGE, "cannot subtract infinite timestamps");
    if (__builtin_sub_overflow(a, b, &us))
        return range_error(call, "interval");
    gn_interval v = {.days = (int32_t)(us / GN_US_PER_DAY), .us = us % GN_US_PER_DAY};
    return give_interval(call, v, out);
}

static gn_code interval_sum(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_interval a = gn_interval_load(args[0].as.bytes), b = gn_interval_load(args[1].as.bytes), v;
    bool minus = call->function->op == '-';
    bool bad = minus ? __builtin_sub_overflow(a.months, b.months, &v.months)
                     : __builtin_add_overflow(a.months, b.months, &v.months);
    bad |= minus ? __builtin_sub_overflow(a.days, b.days, &v.days) : __builtin_add_overflow(a.days, b.days, &v.days);
    bad |= minus ? __builtin_sub_overflow(a.us, b.us, &v.us) : __builtin_add_overflow(a.us, b.us, &v.us);
    return bad ? range_error(call, "interval") : give_interval(call, v, out);
}

static gn_code interval_negate(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_interval v = gn_interval_load(args[0].as.bytes);
    gn_code code = negate(call, &v);
    return code ? code : give_interval(call, v, out);
}

static double to_microseconds(double seconds)
{
    return rint(seconds * 1e6) / 1e6;
}

/* months, days and seconds each times (or by) the factor; what is left over of months goes to days (of which a month
 * has 30), what is left over of days to the time. */
gn_code gn_interval_scale(gn_interval v, double factor, bool divide, gn_interval *out, gn_error *err)
{
    double months = divide ? v.months / factor : v.months * factor, days = divide ? v.days / factor : v.days * factor;
    double us = divide ? (double)v.us / factor : (double)v.us * factor;
    bool bad = !(fabs(months) <= INT32_MAX) || !(fabs(days) <= INT32_MAX);
    if (!bad) {
        out->months = (int32_t)months;
        out->days = (int32_t)days;
        double rest_days = to_microseconds((months - out->months) * 30);
        double rest = to_microseconds((days - out->days + rest_days - (int)rest_days) * 86400);
        if (fabs(rest) >= 86400) {
            out->days += (int)(rest / 86400);
            rest -= (int)(rest / 86400) * 86400;
        }
        bad = __builtin_add_overflow(out->days, (int32_t)rest_days, &out->days);
        us = rint(us + rest * 1e6);
        bad |= !(us >= -0x1p63 && us < 0x1p63);
    }
    if (bad)
        return gn_error_set(err, GN_DATETIME_RANGE, "interval out of range");
    out->us = (int64_t)us;
    return GN_OK;
}

static gn_code interval_scale(const gn_call *call, const gn_value *args, gn_value *out)
{
    bool swapped = gn_type_is(args[0].type, GN_T_FLOAT8), divide = call->function->op == '/';
    gn_interval v = gn_interval_load(args[swapped].as.bytes);
    double factor = args[!swapped].as.f64;
    if (divide && factor == 0)
        return gn_error_set(call->eval->err, GN_DIVISION_BY_ZERO, "division by zero");
    gn_code code = gn_interval_scale(v, factor, divide, &v, call->eval->err);
    return code ? code : give_interval(call, v, out);
}

enum { JUSTIFY_HOURS = 1, JUSTIFY_DAYS = 2, JUSTIFY_ALL = 3 };

static gn_code justify(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_interval v = gn_interval_load(args[0].as.bytes);
    bool bad = false;
    if (call->function->op & JUSTIFY_HOURS) {
        bad |= __builtin_add_overflow(v.days, (int32_t)(v.us / GN_US_PER_DAY), &v.days);
        v.us %= GN_US_PER_DAY;
    }
    if (call->function->op & JUSTIFY_DAYS) {
        bad |= __builtin_add_overflow(v.months, v.days / 30, &v.months);
        v.days %= 30;
    }
    if (bad)
        return range_error(call, "interval");
    /* one sign from top to bottom */
    if (call->function->op & JUSTIFY_DAYS) {
        bool down = v.months > 0 && (v.days < 0 || (call->function->op == JUSTIFY_ALL && v.days == 0 && v.us < 0));
        bool up = v.months < 0 && (v.days > 0 || (call->function->op == JUSTIFY_ALL && v.days == 0 && v.us > 0));
        v.months += up - down;
        v.days += 30 * (down - up);
    }
    if (call->function->op & JUSTIFY_HOURS) {
        bool down = v.days > 0 && v.us < 0, up = v.days < 0 && v.us > 0;
        v.days += up - down;
        v.us += GN_US_PER_DAY * (down - up);
    }
    return give_interval(call, v, out);
}

/* ---- age ---- */

static void borrow(int *field, int *above, int range)
{
    while (*field < 0) {
        *field += range;
        --*above;
    }
}

/* The difference in years, months, days and time, counted on the calendar. */
static gn_interval symbolic_difference(int64_t a, int64_t b)
{
    gn_civil x, y;
    bool negative = a < b;
    gn_civil_from_timestamp(a, &x);
    gn_civil_from_timestamp(b, &y);
    int sign = negative ? -1 : 1;
    int years = sign * (int)(x.year - y.year), months = sign * (x.month - y.month), days = sign * (x.day - y.day);
    int hours = sign * (x.hour - y.hour), minutes = sign * (x.minute - y.minute),
        seconds = sign * (x.second - y.second);
    int us = sign * (x.us - y.us);
    const gn_civil *earlier = negative ? &x : &y;
    borrow(&us, &seconds, 1000000);
    borrow(&seconds, &minutes, 60);
    borrow(&minutes, &hours, 60);
    borrow(&hours, &days, 24);
    borrow(&days, &months, gn_days_in_month(earlier->year, earlier->month));
    borrow(&months, &years, 12);
    int64_t time = (((int64_t)hours * 60 + minutes) * 60 + seconds) * GN_US_PER_SECOND + us;
    return (gn_interval){.months = sign * (years * 12 + months), .days = sign * days, .us = sign * time};
}

static gn_code age(const gn_call *call, const gn_value *args, gn_value *out)
{
    bool zone = gn_type_is(args[0].type, GN_T_TIMESTAMPTZ);
    int64_t a, b = args[call->n_args - 1].as.i64;
    if (call->n_args == 2) {
        a = args[0].as.i64;
    } else { /* to the midnight that began today */
        a = to_local(call, call->eval->format->now_us);
        a -= ((a % GN_US_PER_DAY) + GN_US_PER_DAY) % GN_US_PER_DAY;
        a = zone ? from_local(call, a) : a;
    }
    if (!finite_us(a) || !finite_us(b))
        return range_error(call, "timestamp");
    if (zone) {
        a = to_local(call, a);
        b = to_local(call, b);
    }
    return give_interval(call, symbolic_difference(a, b), out);
}

/* ---- making ---- */

static gn_code field_error(const gn_call *call, const char *what, const gn_value *args)
{
    return gn_error_set(call->eval->err, GN_DATETIME_RANGE, "%s field value out of range: %d-%02d-%02d", what,
                        args[0].as.i32, args[1].as.i32, args[2].as.i32);
}

/* year, month, day; a negative year is BC. */
static gn_code days_from_args(const gn_call *call, const gn_value *args, int64_t *days)
{
    int32_t year = args[0].as.i32, month = args[1].as.i32, day = args[2].as.i32;
    if (year < 0)
        year = year == INT32_MIN ? INT32_MIN : year + 1;
    else if (year == 0)
        return field_error(call, "date", args);
    if (month < 1 || month > 12 || day < 1 || year < -4713 || year > 5874897 || day > gn_days_in_month(year, month))
        return field_error(call, "date", args);
    *days = gn_days_from_civil(year, month, day);
    return gn_date_in_range(*days) ? GN_OK : field_error(call, "date", args);
}

static gn_code make_date(const gn_call *call, const gn_value *args, gn_value *out)
{
    int64_t days = 0;
    gn_code code = days_from_args(call, args, &days);
    out->as.i32 = (int32_t)days;
    return code;
}

static gn_code make_timestamp(const gn_call *call, const gn_value *args, gn_value *out)
{
    int64_t days = 0;
    gn_format zoned;
    int32_t hour = args[3].as.i32, minute = args[4].as.i32;
    double seconds = args[5].as.f64;
    gn_code code = days_from_args(call, args, &days);
    if (code)
        return code;
    bool midnight = hour == 24 && minute == 0 && seconds == 0;
    if (((hour < 0 || hour > 23) && !midnight) || minute < 0 || minute > 59 || !(seconds >= 0 && seconds <= 60))
        return gn_error_set(call->eval->err, GN_DATETIME_RANGE, "time field value out of range: %d:%02d:%02g", hour,
                            minute, seconds);
    __int128 us = (__int128)days * GN_US_PER_DAY + ((int64_t)hour * 60 + minute) * 60 * GN_US_PER_SECOND +
                  (int64_t)rint(seconds * 1e6);
    code = give_timestamp(call, us, out);
    if (code || call->result.id == GN_T_TIMESTAMP)
        return code;
    const gn_format *format = call->eval->format;
    if (call->n_args == 7) {
        zoned = *format;
        code = gn_zone_format(args[6].as.bytes, call->eval->arena, &zoned, call->eval->err);
        format = &zoned;
    }
    return code ? code
                : give_timestamp(call, out->as.i64 - (__int128)gn_zone_at_local(format, out->as.i64) * GN_US_PER_SECOND,
                                 out);
}

static gn_code timestamp_of_epoch(const gn_call *call, const gn_value *args, gn_value *out)
{
    double seconds = args[0].as.f64;
    if (isnan(seconds))
        return gn_error_set(call->eval->err, GN_DATETIME_RANGE, "timestamp cannot be NaN");
    if (isinf(seconds)) {
        out->as.i64 = seconds > 0 ? INT64_MAX : INT64_MIN;
        return GN_OK;
    }
    double us = rint((seconds - 946684800.0) * 1e6);
    if (!(fabs(us) < 0x1p63) || !gn_timestamp_in_range((int64_t)us)) {
        char text[40];
        snprintf(text, sizeof text, "%.15g", seconds);
        return gn_error_set(call->eval->err, GN_DATETIME_RANGE, "timestamp out of range: \"%s\"", text);
    }
    out->as.i64 = (int64_t)us;
    return GN_OK;
}

static gn_code current_date(const gn_call *call, const gn_value *args, gn_value *out)
{
    int64_t local = to_local(call, call->eval->format->now_us);
    UNUSED(args);
    out->as.i32 = (int32_t)(local / GN_US_PER_DAY - (local % GN_US_PER_DAY < 0));
    return GN_OK;
}

static gn_code local_timestamp(const gn_call *call, const gn_value *args, gn_value *out)
{
    UNUSED(args);
    out->as.i64 = to_local(call, call->eval->format->now_us);
    return GN_OK;
}

static gn_code is_finite(const gn_call *call, const gn_value *args, gn_value *out)
{
    UNUSED(call);
    bool date = gn_type_is(args[0].type, GN_T_DATE), interval = gn_type_is(args[0].type, GN_T_INTERVAL);
    out->as.boolean = interval || (date ? date_finite(args[0].as.i32) : finite_us(args[0].as.i64));
    return GN_OK;
}

/* AT TIME ZONE: a moment as the wall clock of a zone, and a wall clock's time as a moment. */
static gn_code at_time_zone(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_format zone = *call->eval->format;
    int64_t us = args[1].as.i64;
    gn_code code = gn_zone_format(args[0].as.bytes, call->eval->arena, &zone, call->eval->err);
    out->as.i64 = us;
    if (code || !finite_us(us))
        return code;
    bool to_wall = gn_type_is(args[1].type, GN_T_TIMESTAMPTZ);
    __int128 offset = (__int128)GN_US_PER_SECOND * (to_wall ? gn_zone_at_utc(&zone, us) : -gn_zone_at_local(&zone, us));
    return give_timestamp(call, us + offset, out);
}

/* ---- date_bin ---- */

static gn_code date_bin(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_interval stride = gn_interval_load(args[0].as.bytes);
    int64_t us = args[1].as.i64, origin = args[2].as.i64;
    if (!finite_us(us)) {
        out->as.i64 = us;
        return GN_OK;
    }
    if (!finite_us(origin))
        return gn_error_set(call->eval->err, GN_DATETIME_RANGE, "origin out of range");
    if (stride.months)
        return gn_error_set(call->eval->err, GN_FEATURE,
                            "timestamps cannot be binned into intervals containing months or years");
    __int128 step = (__int128)stride.days * GN_US_PER_DAY + stride.us, distance = (__int128)us - origin;
    if (step <= 0)
        return gn_error_set(call->eval->err, GN_DATETIME_RANGE, "stride must be greater than zero");
    __int128 bins = distance / step - (distance % step < 0);
    return give_timestamp(call, origin + bins * step, out);
}

/* ---- templates ---- */

static void set_zone(const gn_call *call, gn_moment *m, char name[16])
{
    const char *zone = call->eval->format->tz_name;
    int32_t s = m->offset_s < 0 ? -m->offset_s : m->offset_s;
    if (s == 0 || (zone && strchr(zone, '/') == NULL && strlen(zone) < 6))
        snprintf(name, 16, "%s", s == 0 || !zone ? "UTC" : zone);
    else if (s % 3600 == 0)
        snprintf(name, 16, "%c%02d", m->offset_s < 0 ? '-' : '+', s / 3600 % 100);
    else
        snprintf(name, 16, "%c%02d:%02d", m->offset_s < 0 ? '-' : '+', s / 3600 % 100, s / 60 % 60);
    m->zone = name;
}

static gn_moment moment_of(int64_t us)
{
    gn_civil c;
    gn_civil_from_timestamp(us, &c);
    return (gn_moment){.year = (int32_t)c.year,
                       .month = c.month,
                       .day = c.day,
                       .hour = c.hour,
                       .minute = c.minute,
                       .second = c.second,
                       .microsecond = c.us,
                       .zone = ""};
}

static gn_moment moment_of_interval(gn_interval v)
{
    return (gn_moment){.year = v.months / 12,
                       .month = v.months % 12,
                       .day = v.days,
                       .hour = (int32_t)(v.us / (3600 * GN_US_PER_SECOND)),
                       .minute = (int32_t)(v.us / (60 * GN_US_PER_SECOND) % 60),
                       .second = (int32_t)(v.us / GN_US_PER_SECOND % 60),
                       .microsecond = (int32_t)(v.us % GN_US_PER_SECOND),
                       .zone = "",
                       .is_interval = true};
}

static gn_code to_char(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes template = args[1].as.bytes;
    char zone[16];
    gn_moment m;
    if (template.len == 0) {
        out->is_null = true;
        return GN_OK;
    }
    if (gn_type_is(args[0].type, GN_T_INTERVAL)) {
        m = moment_of_interval(gn_interval_load(args[0].as.bytes));
    } else {
        int64_t us = args[0].as.i64;
        if (!finite_us(us)) {
            out->is_null = true;
            return GN_OK;
        }
        bool zoned = gn_type_is(args[0].type, GN_T_TIMESTAMPTZ);
        m = moment_of(zoned ? to_local(call, us) : us);
        if (zoned) {
            m.offset_s = gn_zone_at_utc(call->eval->format, us);
            set_zone(call, &m, zone);
        }
    }
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    gn_code code = gn_moment_format(call, &m, template, &buf);
    if (!code)
        return gn_text_take(call->eval, &buf, out);
    gn_buf_close(&buf);
    return code;
}

static gn_code to_date(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_moment m;
    bool has_zone;
    gn_code code = gn_moment_parse(call, args[0].as.bytes, args[1].as.bytes, &m, &has_zone);
    return code ? code : give_date(call, gn_days_from_civil(m.year, m.month, 1) + m.day - 1, out);
}

static gn_code to_timestamp(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_moment m;
    bool has_zone = false;
    gn_code code = gn_moment_parse(call, args[0].as.bytes, args[1].as.bytes, &m, &has_zone);
    if (code)
        return code;
    int64_t days = gn_days_from_civil(m.year, m.month, 1) + m.day - 1;
    if (days < INT32_MIN / 20 || days > INT32_MAX / 20) /* whose microseconds 64 bits have room for */
        return range_error(call, "timestamp");
    int64_t us =
        days * GN_US_PER_DAY + (((int64_t)m.hour * 60 + m.minute) * 60 + m.second) * GN_US_PER_SECOND + m.microsecond;
    us = has_zone ? us - m.offset_s * GN_US_PER_SECOND : from_local(call, us);
    return give_timestamp(call, us, out);
}

/* SQLite's strftime, over a timestamp. */
static gn_code strftime_sqlite(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes format = args[0].as.bytes;
    int64_t us = args[1].as.i64;
    if (!finite_us(us)) {
        out->is_null = true;
        return GN_OK;
    }
    gn_moment m = moment_of(us);
    int64_t unix_s = us / GN_US_PER_SECOND - (us % GN_US_PER_SECOND < 0) + 946684800;
    int32_t monday = (gn_day_of_week(&m) + 6) % 7;
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    for (size_t i = 0; i < format.len; i++) {
        if (format.data[i] != '%' || i + 1 == format.len) {
            gn_buf_append_u8(&buf, format.data[i]);
            continue;
        }
        switch (format.data[++i]) {
        case 'Y':
            gn_buf_printf(&buf, "%04d", m.year);
            break;
        case 'm':
            gn_buf_printf(&buf, "%02d", m.month);
            break;
        case 'd':
            gn_buf_printf(&buf, "%02d", m.day);
            break;
        case 'H':
            gn_buf_printf(&buf, "%02d", m.hour);
            break;
        case 'M':
            gn_buf_printf(&buf, "%02d", m.minute);
            break;
        case 'S':
            gn_buf_printf(&buf, "%02d", m.second);
            break;
        case 'f':
            gn_buf_printf(&buf, "%02d.%03d", m.second, m.microsecond / 1000);
            break;
        case 's':
            gn_buf_printf(&buf, "%lld", (long long)unix_s);
            break;
        case 'j':
            gn_buf_printf(&buf, "%03d", gn_day_of_year(&m));
            break;
        case 'w':
            gn_buf_printf(&buf, "%d", gn_day_of_week(&m));
            break;
        case 'W':
            gn_buf_printf(&buf, "%02d", (gn_day_of_year(&m) + 6 - monday) / 7);
            break;
        case '%':
            gn_buf_append_u8(&buf, '%');
            break;
        default: /* SQLite gives NULL */
            out->is_null = true;
        }
    }
    if (!out->is_null)
        return gn_text_take(call->eval, &buf, out);
    gn_buf_close(&buf);
    return GN_OK;
}

/* clang-format off */
#define DT GN_TY(DATE)
#define TS GN_TY(TIMESTAMP)
#define TZ GN_TY(TIMESTAMPTZ)
#define IV GN_TY(INTERVAL)
#define I4 GN_TY(INT4)
#define F8 GN_TY(FLOAT8)
#define TX GN_TY(TEXT)

#define DATE_ARGS GN_TY(INT4), GN_TY(INT4), GN_TY(INT4)
#define TIME_ARGS GN_TY(INT4), GN_TY(INT4), GN_TY(FLOAT8)

static const gn_function functions[] = {
    {"+", GN_TY(DATE), 2, GN_IMMUTABLE, 0, '+', {DT, I4}, .row = date_add_days},
    {"+", GN_TY(DATE), 2, GN_IMMUTABLE, 0, '+', {I4, DT}, .row = date_add_days},
    {"-", GN_TY(DATE), 2, GN_IMMUTABLE, 0, '-', {DT, I4}, .row = date_add_days},
    {"-", GN_TY(INT4), 2, GN_IMMUTABLE, 0, '-', {DT, DT}, .row = date_difference},
    {"+", TS, 2, GN_IMMUTABLE, 0, '+', {DT, IV}, .row = add_interval},
    {"+", TS, 2, GN_IMMUTABLE, 0, '+', {IV, DT}, .row = add_interval},
    {"-", TS, 2, GN_IMMUTABLE, 0, '-', {DT, IV}, .row = add_interval},
    {"+", TS, 2, GN_IMMUTABLE, 0, '+', {TS, IV}, .row = add_interval},
    {"+", TS, 2, GN_IMMUTABLE, 0, '+', {IV, TS}, .row = add_interval},
    {"-", TS, 2, GN_IMMUTABLE, 0, '-', {TS, IV}, .row = add_interval},
    {"+", TZ, 2, GN_STABLE, 0, '+', {TZ, IV}, .row = add_interval},
    {"+", TZ, 2, GN_STABLE, 0, '+', {IV, TZ}, .row = add_interval},
    {"-", TZ, 2, GN_STABLE, 0, '-', {TZ, IV}, .row = add_interval},
    {"-", IV, 2, GN_IMMUTABLE, 0, '-', {TS, TS}, .row = timestamp_difference},
    {"-", IV, 2, GN_IMMUTABLE, 0, '-', {TZ, TZ}, .row = timestamp_difference},
    {"+", IV, 2, GN_IMMUTABLE, 0, '+', {IV, IV}, .row = interval_sum},
    {"-", IV, 2, GN_IMMUTABLE, 0, '-', {IV, IV}, .row = interval_sum},
    {"-", IV, 1, GN_IMMUTABLE, 0, '-', {IV}, .row = interval_negate},
    {"*", IV, 2, GN_IMMUTABLE, 0, '*', {IV, F8}, .row = interval_scale},
    {"*", IV, 2, GN_IMMUTABLE, 0, '*', {F8, IV}, .row = interval_scale},
    {"/", IV, 2, GN_IMMUTABLE, 0, '/', {IV, F8}, .row = interval_scale},
    {"justify_hours", IV, 1, GN_IMMUTABLE, 0, JUSTIFY_HOURS, {IV}, .row = justify},
    {"justify_days", IV, 1, GN_IMMUTABLE, 0, JUSTIFY_DAYS, {IV}, .row = justify},
    {"justify_interval", IV, 1, GN_IMMUTABLE, 0, JUSTIFY_ALL, {IV}, .row = justify},
    {"age", IV, 2, GN_IMMUTABLE, 0, 0, {TS, TS}, .row = age},
    {"age", IV, 2, GN_STABLE, 0, 0, {TZ, TZ}, .row = age},
    {"age", IV, 1, GN_STABLE, 0, 0, {TS}, .row = age},
    {"age", IV, 1, GN_STABLE, 0, 0, {TZ}, .row = age},
    {"make_date", GN_TY(DATE), 3, GN_IMMUTABLE, 0, 0, {DATE_ARGS}, .row = make_date},
    {"make_timestamp", TS, 6, GN_IMMUTABLE, 0, 0, {DATE_ARGS, TIME_ARGS}, .row = make_timestamp},
    {"make_timestamptz", TZ, 6, GN_STABLE, 0, 0, {DATE_ARGS, TIME_ARGS}, .row = make_timestamp},
    {"make_timestamptz", TZ, 7, GN_STABLE, 0, 0, {DATE_ARGS, TIME_ARGS, TX}, .row = make_timestamp},
    {"to_timestamp", TZ, 1, GN_IMMUTABLE, 0, 0, {F8}, .row = timestamp_of_epoch},
    {"to_timestamp", TZ, 2, GN_STABLE, 0, 0, {TX, TX}, .row = to_timestamp},
    {"to_date", GN_TY(DATE), 2, GN_STABLE, 0, 0, {TX, TX}, .row = to_date},
    {"to_char", TX, 2, GN_STABLE, 0, 0, {TS, TX}, .row = to_char},
    {"to_char", TX, 2, GN_STABLE, 0, 0, {TZ, TX}, .row = to_char},
    {"to_char", TX, 2, GN_STABLE, 0, 0, {IV, TX}, .row = to_char},
    {"current_date", GN_TY(DATE), 0, GN_STABLE, 0, 0, {}, .row = current_date},
    {"localtimestamp", TS, 0, GN_STABLE, 0, 0, {}, .row = local_timestamp},
    {"isfinite", GN_TY(BOOL), 1, GN_IMMUTABLE, 0, 0, {DT}, .row = is_finite},
    {"isfinite", GN_TY(BOOL), 1, GN_IMMUTABLE, 0, 0, {TS}, .row = is_finite},
    {"isfinite", GN_TY(BOOL), 1, GN_IMMUTABLE, 0, 0, {TZ}, .row = is_finite},
    {"isfinite", GN_TY(BOOL), 1, GN_IMMUTABLE, 0, 0, {IV}, .row = is_finite},
    {"timezone", TS, 2, GN_IMMUTABLE, 0, 0, {TX, TZ}, .row = at_time_zone},
    {"timezone", TZ, 2, GN_IMMUTABLE, 0, 0, {TX, TS}, .row = at_time_zone},
    {"date_bin", TS, 3, GN_IMMUTABLE, 0, 0, {IV, TS, TS}, .row = date_bin},
    {"date_bin", TZ, 3, GN_IMMUTABLE, 0, 0, {IV, TZ, TZ}, .row = date_bin},
    {"strftime", TX, 2, GN_IMMUTABLE, 0, 0, {TX, TS}, .row = strftime_sqlite},
};
/* clang-format on */

const gn_function_list gn_functions_datetime = {functions, sizeof functions / sizeof *functions};
