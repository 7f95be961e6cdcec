/* The calendar's arithmetic: days and civil dates by eras of 400 years, which all have 146097 days. */
#include "query/datetime.h"

#include "base/assert.h"

enum { DATE_MIN_DAYS = -2451545, DATE_MAX_DAYS = 2145031948 };
static const int64_t TIMESTAMP_MIN = INT64_C(-211813488000000000), TIMESTAMP_END = INT64_C(9223371331200000000);

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

bool gn_date_in_range(int64_t days)
{
    return days >= DATE_MIN_DAYS && days <= DATE_MAX_DAYS;
}

bool gn_timestamp_in_range(int64_t us)
{
    return us >= TIMESTAMP_MIN && us < TIMESTAMP_END;
}

int64_t gn_days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2; /* years that begin in March end with the leap day */
    int64_t era = floor_div(year, 400), year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468 - GN_UNIX_TO_2000_DAYS;
}

void gn_civil_from_days(int64_t days, gn_civil *out)
{
    days += 719468 + GN_UNIX_TO_2000_DAYS;
    int64_t era = floor_div(days, 146097), day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * day_of_year + 2) / 153;
    *out = (gn_civil){0};
    out->day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1);
    out->month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
    out->year = year_of_era + era * 400 + (out->month <= 2);
}

void gn_civil_from_timestamp(int64_t us, gn_civil *out)
{
    int64_t days = floor_div(us, GN_US_PER_DAY), rest = us - days * GN_US_PER_DAY;
    gn_civil_from_days(days, out);
    out->us = (int)(rest % GN_US_PER_SECOND);
    rest /= GN_US_PER_SECOND;
    out->second = (int)(rest % 60);
    out->minute = (int)(rest / 60 % 60);
    out->hour = (int)(rest / 3600);
}

int64_t gn_timestamp_from_civil(const gn_civil *c)
{
    int64_t days = gn_days_from_civil(c->year, c->month, c->day);
    int64_t seconds = (int64_t)c->hour * 3600 + c->minute * 60 + c->second;
    return days * GN_US_PER_DAY + seconds * GN_US_PER_SECOND + c->us;
}

int gn_days_in_month(int64_t year, int month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    GN_ASSERT(month >= 1 && month <= 12);
    return days[month - 1] + (month == 2 && leap);
}

int64_t gn_timestamp_round(int64_t us, int32_t digits)
{
    int64_t unit = 1;
    if (us == INT64_MIN || us == INT64_MAX || digits < 0 || digits >= 6)
        return us;
    for (int32_t i = digits; i < 6; i++)
        unit *= 10;
    int64_t half = us < 0 ? -unit / 2 : unit / 2;
    return (us + half) / unit * unit;
}

gn_interval gn_interval_load(gn_bytes bytes)
{
    gn_interval v;
    GN_ASSERT(bytes.len == 16);
    memcpy(&v.months, bytes.data, 4);
    memcpy(&v.days, bytes.data + 4, 4);
    memcpy(&v.us, bytes.data + 8, 8);
    return v;
}

gn_code gn_interval_store(gn_interval v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    uint8_t *to = gn_arena_alloc(arena, 16);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    memcpy(to, &v.months, 4);
    memcpy(to + 4, &v.days, 4);
    memcpy(to + 8, &v.us, 8);
    *out = gn_bytes_of(to, 16);
    return GN_OK;
}

__int128 gn_interval_span(gn_interval v)
{
    return ((__int128)v.months * 30 + v.days) * GN_US_PER_DAY + v.us;
}

gn_code gn_timestamp_add(int64_t us, gn_interval v, int64_t *out, gn_error *err)
{
    if (us == INT64_MIN || us == INT64_MAX) {
        *out = us;
        return GN_OK;
    }
    if (v.months) {
        gn_civil c;
        gn_civil_from_timestamp(us, &c);
        int64_t month = c.year * 12 + c.month - 1 + v.months;
        c.year = floor_div(month, 12);
        c.month = (int)(month - c.year * 12) + 1;
        int last = gn_days_in_month(c.year, c.month);
        c.day = c.day > last ? last : c.day;
        if (c.year < -4800 || c.year > 300000)
            return gn_error_set(err, GN_DATETIME_RANGE, "timestamp out of range");
        us = gn_timestamp_from_civil(&c);
    }
    __int128 sum = (__int128)us + (__int128)v.days * GN_US_PER_DAY + v.us;
    if (sum < TIMESTAMP_MIN || sum >= TIMESTAMP_END)
        return gn_error_set(err, GN_DATETIME_RANGE, "timestamp out of range");
    *out = (int64_t)sum;
    return GN_OK;
}
