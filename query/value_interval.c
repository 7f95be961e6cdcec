/* interval: text as PostgreSQL's "postgres" style writes it, read in that style and as ISO 8601 durations. */
#include "query/datetime.h"
#include "query/value_private.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { MAX_TEXT = 200 };

/* Sums in wide numbers; what does not fit shows at the end. */
typedef struct sum {
    double months, days, us;
    bool any;
} sum;

typedef struct unit {
    const char *name;
    double months, days, us;
} unit;

static const unit units[] = {
    {"us", 0, 0, 1},
    {"usec", 0, 0, 1},
    {"usecs", 0, 0, 1},
    {"microsecond", 0, 0, 1},
    {"microseconds", 0, 0, 1},
    {"ms", 0, 0, 1e3},
    {"msec", 0, 0, 1e3},
    {"msecs", 0, 0, 1e3},
    {"millisecond", 0, 0, 1e3},
    {"milliseconds", 0, 0, 1e3},
    {"s", 0, 0, 1e6},
    {"sec", 0, 0, 1e6},
    {"secs", 0, 0, 1e6},
    {"second", 0, 0, 1e6},
    {"seconds", 0, 0, 1e6},
    {"m", 0, 0, 6e7},
    {"min", 0, 0, 6e7},
    {"mins", 0, 0, 6e7},
    {"minute", 0, 0, 6e7},
    {"minutes", 0, 0, 6e7},
    {"h", 0, 0, 3.6e9},
    {"hr", 0, 0, 3.6e9},
    {"hrs", 0, 0, 3.6e9},
    {"hour", 0, 0, 3.6e9},
    {"hours", 0, 0, 3.6e9},
    {"d", 0, 1, 0},
    {"day", 0, 1, 0},
    {"days", 0, 1, 0},
    {"w", 0, 7, 0},
    {"week", 0, 7, 0},
    {"weeks", 0, 7, 0},
    {"mon", 1, 0, 0},
    {"mons", 1, 0, 0},
    {"month", 1, 0, 0},
    {"months", 1, 0, 0},
    {"y", 12, 0, 0},
    {"yr", 12, 0, 0},
    {"yrs", 12, 0, 0},
    {"year", 12, 0, 0},
    {"years", 12, 0, 0},
    {"decade", 120, 0, 0},
    {"decades", 120, 0, 0},
    {"century", 1200, 0, 0},
    {"centuries", 1200, 0, 0},
    {"millennium", 12000, 0, 0},
    {"millennia", 12000, 0, 0},
};

static const unit *find_unit(const char *word, size_t len)
{
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strlen(units[i].name) == len && strncasecmp(units[i].name, word, len) == 0)
            return &units[i];
    return NULL;
}

/* A fraction of a unit goes down: of years to months, of months to days (30), of days to time. */
static void add(sum *s, double n, const unit *u)
{
    double months = n * u->months, whole_months = trunc(months);
    double days = n * u->days + (u->months == 1 ? (months - whole_months) * 30 : 0), whole_days = trunc(days);
    s->months += u->months > 1 ? rint(months) : whole_months;
    s->days += whole_days;
    s->us += n * u->us + (days - whole_days) * (double)GN_US_PER_DAY;
    s->any = true;
}

/* [+-]HH:MM[:SS[.f]] */
static bool take_clock(const char **p, sum *s)
{
    bool negative = **p == '-';
    char *end;
    if (**p == '-' || **p == '+')
        (*p)++;
    double hours = strtod(*p, &end), minutes, seconds = 0;
    if (*end != ':')
        return false;
    minutes = strtod(end + 1, &end);
    if (*end == ':')
        seconds = strtod(end + 1, &end);
    if (minutes >= 60 || seconds >= 61 || minutes < 0 || seconds < 0)
        return false;
    double us = hours * 3.6e9 + minutes * 6e7 + rint(seconds * 1e6);
    s->us += negative ? -us : us;
    s->any = true;
    *p = end;
    return true;
}

static bool scan_postgres(const char *p, sum *s)
{
    bool ago = false;
    if (*p == '@')
        p++;
    while (*p) {
        if (isspace((unsigned char)*p)) {
            p++;
            continue;
        }
        if (strncasecmp(p, "ago", 3) == 0 && s->any) {
            ago = true;
            p += 3;
            continue;
        }
        size_t number = strspn(p, "+-0123456789.");
        if (number == 0)
            return false;
        if (p[number] == ':') {
            if (!take_clock(&p, s))
                return false;
            continue;
        }
        char *end;
        double n = strtod(p, &end);
        if (end == p)
            return false;
        while (isspace((unsigned char)*end))
            end++;
        size_t len = 0;
        while (isalpha((unsigned char)end[len]))
            len++;
        const unit *u = len ? find_unit(end, len) : !*end ? find_unit("s", 1) : NULL;
        if (!u)
            return false;
        add(s, n, u);
        p = end + len;
    }
    if (ago)
        *s = (sum){-s->months, -s->days, -s->us, true};
    return s->any;
}

/* P1Y2M3W4DT5H6M7.8S */
static bool scan_iso(const char *p, sum *s)
{
    bool time = false;
    for (p++; *p;) {
        if (*p == 'T' && !time) {
            time = true;
            p++;
            continue;
        }
        char *end;
        double n = strtod(p, &end);
        if (end == p)
            return false;
        const char *name = *end == 'Y'   ? "y"
                           : *end == 'W' ? "w"
                           : *end == 'D' ? "d"
                           : *end == 'H' ? "h"
                           : *end == 'S' ? "s"
                                         : NULL;
        if (*end == 'M')
            name = time ? "m" : "mon";
        if (!name)
            return false;
        add(s, n, find_unit(name, strlen(name)));
        p = end + 1;
    }
    return s->any;
}

static gn_code interval_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                              gn_error *err)
{
    char copy[MAX_TEXT];
    sum s = {0};
    gn_bytes trimmed = gn_trim_space(text);
    size_t bad;
    (void)format;
    if (!gn_utf8_valid(text, &bad))
        return gn_bad_utf8(text, bad, err);
    bool readable = trimmed.len > 0 && trimmed.len < sizeof copy;
    if (readable) {
        memcpy(copy, trimmed.data, trimmed.len);
        copy[trimmed.len] = '\0';
        readable = copy[0] == 'P' ? scan_iso(copy, &s) : scan_postgres(copy, &s);
    }
    if (!readable)
        return gn_error_set(err, GN_BAD_DATETIME, "invalid input syntax for type interval: \"%.*s\"", gn_quotable(text),
                            (const char *)text.data);
    if (fabs(s.months) > INT32_MAX || fabs(s.days) > INT32_MAX || !(fabs(s.us) < 9.2e18))
        return gn_error_set(err, GN_DATETIME_RANGE, "interval field value out of range: \"%.*s\"", gn_quotable(text),
                            (const char *)text.data);
    gn_value v = {.type = type};
    gn_code code = gn_interval_store((gn_interval){(int32_t)s.months, (int32_t)s.days, (int64_t)rint(s.us)}, arena,
                                     &v.as.bytes, err);
    if (code == GN_OK)
        *out = v;
    return code;
}

static bool put_part(gn_buf *out, int64_t n, const char *name, bool *any, bool *negative)
{
    if (n == 0)
        return true;
    gn_buf_printf(out, "%s%s%lld %s%s", *any ? " " : "", *negative && n > 0 ? "+" : "", (long long)n, name,
                  n == 1 ? "" : "s");
    *any = true;
    *negative = n < 0;
    return !out->failed;
}

static bool interval_print(const gn_value *value, const gn_format *format, gn_buf *out)
{
    gn_interval v = gn_interval_load(value->as.bytes);
    bool any = false, negative = false;
    (void)format;
    put_part(out, v.months / 12, "year", &any, &negative);
    put_part(out, v.months % 12, "mon", &any, &negative);
    put_part(out, v.days, "day", &any, &negative);
    if (v.us == 0 && any)
        return !out->failed;
    uint64_t us = v.us < 0 ? 0 - (uint64_t)v.us : (uint64_t)v.us;
    const char *sign = v.us < 0 ? "-" : negative ? "+" : "";
    gn_buf_printf(out, "%s%s%02llu:%02llu:%02llu", any ? " " : "", sign, (unsigned long long)(us / 3600000000u),
                  (unsigned long long)(us / 60000000u % 60), (unsigned long long)(us / 1000000u % 60));
    if (us % 1000000u) {
        char digits[8];
        int n = snprintf(digits, sizeof digits, "%06u", (unsigned)(us % 1000000u));
        while (n > 0 && digits[n - 1] == '0')
            n--;
        gn_buf_printf(out, ".%.*s", n, digits);
    }
    return !out->failed;
}

static gn_code interval_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_reader r = gn_reader_of(wire);
    gn_interval v = {0};
    v.us = (int64_t)gn_read_be64(&r);
    v.days = (int32_t)gn_read_be32(&r);
    v.months = (int32_t)gn_read_be32(&r);
    if (r.failed || gn_reader_left(&r))
        return gn_bad_wire(type, err);
    *out = (gn_value){.type = type};
    return gn_interval_store(v, arena, &out->as.bytes, err);
}

static bool interval_send(const gn_value *value, gn_buf *out)
{
    gn_interval v = gn_interval_load(value->as.bytes);
    gn_buf_append_be64(out, (uint64_t)v.us);
    gn_buf_append_be32(out, (uint32_t)v.days);
    return gn_buf_append_be32(out, (uint32_t)v.months);
}

static int interval_compare(const gn_value *a, const gn_value *b)
{
    __int128 x = gn_interval_span(gn_interval_load(a->as.bytes)), y = gn_interval_span(gn_interval_load(b->as.bytes));
    return (x > y) - (x < y);
}

static uint64_t interval_hash(const gn_value *v)
{
    __int128 span = gn_interval_span(gn_interval_load(v->as.bytes));
    return gn_hash_bytes(gn_bytes_of(&span, sizeof span));
}

const gn_type_ops gn_interval_ops = {interval_parse, interval_print,   interval_recv,
                                     interval_send,  interval_compare, interval_hash};
