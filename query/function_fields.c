/* extract, date_part and date_trunc: one field of a moment or an interval, and cutting off all smaller ones. */
#include "query/format_private.h"
#include "query/numeric.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum unit {
    MICROSECONDS,
    MILLISECONDS,
    SECOND,
    MINUTE,
    HOUR,
    DAY,
    WEEK,
    MONTH,
    QUARTER,
    YEAR,
    DECADE,
    CENTURY,
    MILLENNIUM,
    DOW,
    ISODOW,
    DOY,
    ISOYEAR,
    JULIAN,
    EPOCH,
    TIMEZONE,
    TIMEZONE_HOUR,
    TIMEZONE_MINUTE,
} unit;

static const struct {
    const char *name;
    unit unit;
} units[] = {
    {"c", CENTURY},
    {"cent", CENTURY},
    {"centuries", CENTURY},
    {"century", CENTURY},
    {"d", DAY},
    {"day", DAY},
    {"days", DAY},
    {"dec", DECADE},
    {"decade", DECADE},
    {"decades", DECADE},
    {"decs", DECADE},
    {"dow", DOW},
    {"doy", DOY},
    {"epoch", EPOCH},
    {"h", HOUR},
    {"hour", HOUR},
    {"hours", HOUR},
    {"hr", HOUR},
    {"hrs", HOUR},
    {"isodow", ISODOW},
    {"isoyear", ISOYEAR},
    {"j", JULIAN},
    {"jd", JULIAN},
    {"julian", JULIAN},
    {"m", MINUTE},
    {"microsecond", MICROSECONDS},
    {"microseconds", MICROSECONDS},
    {"microsecon", MICROSECONDS},
    {"mil", MILLENNIUM},
    {"millennia", MILLENNIUM},
    {"millennium", MILLENNIUM},
    {"millisecond", MILLISECONDS},
    {"milliseconds", MILLISECONDS},
    {"mils", MILLENNIUM},
    {"min", MINUTE},
    {"mins", MINUTE},
    {"minute", MINUTE},
    {"minutes", MINUTE},
    {"mon", MONTH},
    {"mons", MONTH},
    {"month", MONTH},
    {"months", MONTH},
    {"ms", MILLISECONDS},
    {"msec", MILLISECONDS},
    {"mseconds", MILLISECONDS},
    {"msecs", MILLISECONDS},
    {"qtr", QUARTER},
    {"quarter", QUARTER},
    {"s", SECOND},
    {"sec", SECOND},
    {"second", SECOND},
    {"seconds", SECOND},
    {"secs", SECOND},
    {"timezone", TIMEZONE},
    {"timezone_hour", TIMEZONE_HOUR},
    {"timezone_m", TIMEZONE_MINUTE},
    {"timezone_h", TIMEZONE_HOUR},
    {"timezone_minute", TIMEZONE_MINUTE},
    {"us", MICROSECONDS},
    {"usec", MICROSECONDS},
    {"useconds", MICROSECONDS},
    {"usecs", MICROSECONDS},
    {"w", WEEK},
    {"week", WEEK},
    {"weeks", WEEK},
    {"y", YEAR},
    {"year", YEAR},
    {"years", YEAR},
    {"yr", YEAR},
    {"yrs", YEAR},
};

static gn_code no_unit(const gn_call *call, gn_bytes name, gn_type type, bool known)
{
    char type_name[40];
    type.typmod = -1;
    return gn_error_set(call->eval->err, known ? GN_FEATURE : GN_INVALID_PARAMETER,
                        known ? "unit \"%.*s\" not supported for type %s" : "unit \"%.*s\" not recognized for type %s",
                        (int)(name.len > 63 ? 63 : name.len), (const char *)name.data,
                        gn_type_format(type, type_name, sizeof type_name));
}

static gn_code find_unit(const gn_call *call, const gn_value *args, unit *out)
{
    gn_bytes name = args[0].as.bytes;
    char folded[32];
    size_t n = name.len < sizeof folded - 1 ? name.len : sizeof folded - 1;
    for (size_t i = 0; i < n; i++)
        folded[i] = (char)((uint32_t)name.data[i] - 'A' < 26u ? name.data[i] + 32 : name.data[i]);
    folded[n] = 0;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(units[i].name, folded) == 0) {
            *out = units[i].unit;
            return GN_OK;
        }
    return no_unit(call, name, args[1].type, false);
}

/* ---- fields ---- A value as an integer and its number of decimals. */

typedef struct field {
    __int128 value;
    int decimals;
    int infinite; /* -1, 1 */
    bool null, unsupported;
} field;

static int32_t divided_year(int64_t year, int32_t span) /* which century or millennium; 0 is 1 BC */
{
    return (int32_t)(year > 0 ? (year + span - 1) / span : -((span - 1 - (year - 1)) / span));
}

static field time_field(unit u, int64_t second, int64_t us)
{
    switch (u) {
    case MICROSECONDS:
        return (field){.value = second * 1000000 + us};
    case MILLISECONDS:
        return (field){.value = second * 1000000 + us, .decimals = 3};
    default:
        return (field){.value = second * 1000000 + us, .decimals = 6};
    }
}

static field date_field(unit u, const gn_moment *m)
{
    int32_t year, week;
    switch (u) {
    case DAY:
        return (field){.value = m->day};
    case WEEK:
        gn_iso_week(m, &year, &week);
        return (field){.value = week};
    case MONTH:
        return (field){.value = m->month};
    case QUARTER:
        return (field){.value = (m->month - 1) / 3 + 1};
    case YEAR:
        return (field){.value = m->year > 0 ? m->year : m->year - 1};
    case DECADE:
        return (field){.value = m->year >= 0 ? m->year / 10 : -((8 - (m->year - 1)) / 10)};
    case CENTURY:
        return (field){.value = divided_year(m->year, 100)};
    case MILLENNIUM:
        return (field){.value = divided_year(m->year, 1000)};
    case DOW:
        return (field){.value = gn_day_of_week(m)};
    case ISODOW:
        return (field){.value = gn_day_of_week(m) == 0 ? 7 : gn_day_of_week(m)};
    case DOY:
        return (field){.value = gn_day_of_year(m)};
    case ISOYEAR:
        gn_iso_week(m, &year, &week);
        return (field){.value = year > 0 ? year : year - 1};
    case JULIAN:
        return (field){.value = gn_days_from_civil(m->year, m->month, m->day) + 2451545};
    default:
        return (field){.unsupported = true};
    }
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

/* Of -infinity and infinity: fields that grow without end are infinite, the others unknown. */
static field infinite_field(unit u, bool positive, bool zoned, bool date)
{
    switch (u) {
    case YEAR:
    case DECADE:
    case CENTURY:
    case MILLENNIUM:
    case ISOYEAR:
    case JULIAN:
    case EPOCH:
        return (field){.infinite = positive ? 1 : -1};
    case TIMEZONE:
    case TIMEZONE_HOUR:
    case TIMEZONE_MINUTE:
        return (field){.null = zoned, .unsupported = !zoned};
    default:
        return (field){.null = true, .unsupported = date && u <= HOUR};
    }
}

static field timestamp_field(const gn_call *call, unit u, int64_t us, bool zoned)
{
    if (us == INT64_MIN || us == INT64_MAX)
        return infinite_field(u, us > 0, zoned, false);
    int32_t offset = zoned ? gn_zone_at_utc(call->eval->format, us) : 0;
    gn_moment m = moment_of(us + offset * GN_US_PER_SECOND);
    switch (u) {
    case MICROSECONDS:
    case MILLISECONDS:
    case SECOND:
        return time_field(u, m.second, m.microsecond);
    case MINUTE:
        return (field){.value = m.minute};
    case HOUR:
        return (field){.value = m.hour};
    case EPOCH:
        return (field){.value = (__int128)us + 946684800 * (__int128)GN_US_PER_SECOND, .decimals = 6};
    case TIMEZONE:
        return (field){.value = offset, .unsupported = !zoned};
    case TIMEZONE_HOUR:
        return (field){.value = offset / 3600, .unsupported = !zoned};
    case TIMEZONE_MINUTE:
        return (field){.value = offset / 60 % 60, .unsupported = !zoned};
    default:
        return date_field(u, &m);
    }
}

static field field_of_date(unit u, int32_t days)
{
    if (days == INT32_MIN || days == INT32_MAX)
        return infinite_field(u, days > 0, false, true);
    gn_moment m = moment_of(0);
    gn_civil c;
    gn_civil_from_days(days, &c);
    m.year = (int32_t)c.year;
    m.month = c.month;
    m.day = c.day;
    if (u == EPOCH)
        return (field){.value = ((__int128)days + GN_UNIX_TO_2000_DAYS) * 86400};
    return date_field(u, &m);
}

/* A year has 365.25 days here, a month 30. */
static __int128 interval_epoch(gn_interval v)
{
    __int128 quarter_days = (__int128)(v.months / 12) * 1461 + (__int128)(v.months % 12) * 120 + (__int128)v.days * 4;
    return quarter_days * 21600 * GN_US_PER_SECOND + v.us;
}

static field interval_field(unit u, gn_interval v)
{
    int32_t years = v.months / 12;
    switch (u) {
    case MICROSECONDS:
    case MILLISECONDS:
    case SECOND:
        return time_field(u, v.us / GN_US_PER_SECOND % 60, v.us % GN_US_PER_SECOND);
    case MINUTE:
        return (field){.value = v.us / (60 * GN_US_PER_SECOND) % 60};
    case HOUR:
        return (field){.value = v.us / (3600 * GN_US_PER_SECOND)};
    case DAY:
        return (field){.value = v.days};
    case MONTH:
        return (field){.value = v.months % 12};
    case QUARTER:
        return (field){.value = v.months % 12 / 3 + 1};
    case YEAR:
        return (field){.value = years};
    case DECADE:
        return (field){.value = years / 10};
    case CENTURY:
        return (field){.value = years / 100};
    case MILLENNIUM:
        return (field){.value = years / 1000};
    case EPOCH:
        return (field){.value = interval_epoch(v), .decimals = 6};
    default:
        return (field){.unsupported = true};
    }
}

static void print_decimal(__int128 value, int decimals, char text[64])
{
    char digits[48];
    int n = 0, at = 0;
    unsigned __int128 rest = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    while (rest || n <= decimals) {
        digits[n++] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    }
    if (value < 0)
        text[at++] = '-';
    while (n > 0) {
        text[at++] = digits[--n];
        if (n == decimals && n > 0)
            text[at++] = '.';
    }
    text[at] = 0;
}

/* A Julian day with the time as its fraction. */
static gn_code julian_of_timestamp(const gn_call *call, int64_t us, gn_bytes *out)
{
    gn_arena *arena = call->eval->arena;
    gn_error *err = call->eval->err;
    int64_t days = us / GN_US_PER_DAY - (us % GN_US_PER_DAY < 0);
    gn_bytes day, time, whole;
    gn_code code = gn_numeric_from_i64(days + 2451545, arena, &day, err);
    if (!code)
        code = gn_numeric_from_i64(us - days * GN_US_PER_DAY, arena, &time, err);
    if (!code)
        code = gn_numeric_from_i64(GN_US_PER_DAY, arena, &whole, err);
    if (!code)
        code = gn_numeric_div(time, whole, arena, &time, err);
    return code ? code : gn_numeric_add(day, time, arena, out, err);
}

static gn_code give_field(const gn_call *call, field f, gn_value *out)
{
    char text[64];
    if (f.null) {
        out->is_null = true;
        return GN_OK;
    }
    if (f.infinite)
        snprintf(text, sizeof text, "%s", f.infinite > 0 ? "Infinity" : "-Infinity");
    else
        print_decimal(f.value, f.decimals, text);
    if (call->result.id == GN_T_NUMERIC)
        return gn_numeric_parse(gn_bytes_str(text), call->eval->arena, &out->as.bytes, call->eval->err);
    out->as.f64 = strtod(text, NULL);
    return GN_OK;
}

static gn_code extract(const gn_call *call, const gn_value *args, gn_value *out)
{
    unit u;
    field f;
    gn_code code = find_unit(call, args, &u);
    if (code)
        return code;
    bool zoned = args[1].type.id == GN_T_TIMESTAMPTZ, stamp = zoned || args[1].type.id == GN_T_TIMESTAMP;
    if (args[1].type.id == GN_T_INTERVAL)
        f = interval_field(u, gn_interval_load(args[1].as.bytes));
    else if (args[1].type.id == GN_T_DATE)
        f = field_of_date(u, args[1].as.i32);
    else
        f = timestamp_field(call, u, args[1].as.i64, zoned);
    if (f.unsupported)
        return no_unit(call, args[0].as.bytes, args[1].type, true);
    if (!stamp || u != JULIAN || f.infinite)
        return give_field(call, f, out);
    gn_bytes julian;
    int64_t us = args[1].as.i64;
    code =
        julian_of_timestamp(call, zoned ? us + gn_zone_at_utc(call->eval->format, us) * GN_US_PER_SECOND : us, &julian);
    if (!code && call->result.id == GN_T_NUMERIC)
        out->as.bytes = julian;
    else if (!code)
        code = gn_numeric_to_f64(julian, &out->as.f64, call->eval->err);
    return code;
}

/* ---- date_trunc ---- */

static int64_t first_year(int64_t year, int32_t span) /* of its century or millennium */
{
    return year > 0 ? (year + span - 1) / span * span - (span - 1) : -((span - 1 - (year - 1)) / span * span) + 1;
}

/* Cuts what is below the unit; false: there is no such unit to cut to. */
static bool truncate_civil(unit u, gn_civil *c)
{
    gn_moment m = {.year = (int32_t)c->year, .month = c->month, .day = c->day};
    switch (u) {
    case MILLENNIUM:
        c->year = first_year(c->year, 1000);
        break;
    case CENTURY:
        c->year = first_year(c->year, 100);
        break;
    case DECADE:
        c->year = c->year > 0 ? c->year / 10 * 10 : -((8 - (c->year - 1)) / 10 * 10);
        break;
    case YEAR:
    case QUARTER:
    case MONTH:
    case WEEK:
    case DAY:
    case HOUR:
    case MINUTE:
    case SECOND:
        break;
    case MILLISECONDS:
        c->us = c->us / 1000 * 1000;
        return true;
    case MICROSECONDS:
        return true;
    default:
        return false;
    }
    c->us = 0;
    c->second = u > SECOND ? 0 : c->second;
    c->minute = u > MINUTE ? 0 : c->minute;
    c->hour = u > HOUR ? 0 : c->hour;
    if (u == WEEK) {
        int64_t days = gn_days_from_civil(c->year, c->month, c->day);
        gn_civil_from_days(days - (gn_day_of_week(&m) + 6) % 7, c);
    }
    c->day = u > WEEK ? 1 : c->day;
    c->month = u >= YEAR ? 1 : u == QUARTER ? (c->month - 1) / 3 * 3 + 1 : c->month;
    return true;
}

static gn_code trunc_timestamp(const gn_call *call, const gn_value *args, gn_value *out)
{
    unit u;
    int64_t us = args[1].as.i64;
    bool zoned = args[1].type.id == GN_T_TIMESTAMPTZ;
    gn_format zone = *call->eval->format;
    gn_code code = find_unit(call, args, &u);
    if (!code && call->n_args == 3)
        code = gn_zone_format(args[2].as.bytes, call->eval->arena, &zone, call->eval->err);
    if (code)
        return code;
    gn_civil c = {.year = 2000, .month = 1, .day = 1};
    bool finite = us != INT64_MIN && us != INT64_MAX;
    int32_t offset = zoned && finite ? gn_zone_at_utc(&zone, us) : 0;
    if (finite)
        gn_civil_from_timestamp(us + offset * GN_US_PER_SECOND, &c);
    if (!truncate_civil(u, &c))
        return no_unit(call, args[0].as.bytes, args[1].type, u >= TIMEZONE);
    out->as.i64 = us;
    if (!finite)
        return GN_OK;
    int64_t local = gn_timestamp_from_civil(&c);
    if (zoned && u >= DAY) /* the zone's offset may be another by then */
        offset = gn_zone_at_local(&zone, local);
    out->as.i64 = local - offset * GN_US_PER_SECOND;
    return gn_timestamp_in_range(out->as.i64)
               ? GN_OK
               : gn_error_set(call->eval->err, GN_DATETIME_RANGE, "timestamp out of range");
}

static gn_code trunc_interval(const gn_call *call, const gn_value *args, gn_value *out)
{
    static const int64_t time_units[] = {1, 1000, 1000000, 60000000, INT64_C(3600000000)};
    static const int32_t month_units[] = {
        [MONTH] = 1, [QUARTER] = 3, [YEAR] = 12, [DECADE] = 120, [CENTURY] = 1200, [MILLENNIUM] = 12000};
    unit u;
    gn_interval v = gn_interval_load(args[1].as.bytes);
    gn_code code = find_unit(call, args, &u);
    if (code)
        return code;
    if (u > MILLENNIUM || u == WEEK) {
        no_unit(call, args[0].as.bytes, args[1].type, true);
        if (u == WEEK)
            gn_error_detail(call->eval->err, "Months usually have fractional weeks.");
        return GN_FEATURE;
    }
    if (u <= HOUR) {
        v.us -= v.us % time_units[u];
    } else {
        v.us = 0;
        v.days = u > DAY ? 0 : v.days;
        v.months -= u > DAY ? v.months % month_units[u] : 0;
    }
    return gn_interval_store(v, call->eval->arena, &out->as.bytes, call->eval->err);
}

/* clang-format off */
#define FIELDS(type, volatility) \
    {"extract", GN_TY(NUMERIC), 2, volatility, 0, 0, {GN_TY(TEXT), GN_TY(type)}, .row = extract}, \
    {"date_part", GN_TY(FLOAT8), 2, volatility, 0, 0, {GN_TY(TEXT), GN_TY(type)}, .row = extract},

static const gn_function functions[] = {
    FIELDS(DATE, GN_IMMUTABLE) FIELDS(TIMESTAMP, GN_IMMUTABLE) FIELDS(TIMESTAMPTZ, GN_STABLE)
    FIELDS(INTERVAL, GN_IMMUTABLE)
    {"date_trunc", GN_TY(TIMESTAMP), 2, GN_IMMUTABLE, 0, 0, {GN_TY(TEXT), GN_TY(TIMESTAMP)}, .row = trunc_timestamp},
    {"date_trunc", GN_TY(TIMESTAMPTZ), 2, GN_STABLE, 0, 0, {GN_TY(TEXT), GN_TY(TIMESTAMPTZ)}, .row = trunc_timestamp},
    {"date_trunc", GN_TY(TIMESTAMPTZ), 3, GN_STABLE, 0, 0, {GN_TY(TEXT), GN_TY(TIMESTAMPTZ), GN_TY(TEXT)}, .row = trunc_timestamp},
    {"date_trunc", GN_TY(INTERVAL), 2, GN_IMMUTABLE, 0, 0, {GN_TY(TEXT), GN_TY(INTERVAL)}, .row = trunc_interval},
};
/* clang-format on */

const gn_function_list gn_functions_fields = {functions, sizeof functions / sizeof *functions};
