/* The calendar: proleptic Gregorian, as PostgreSQL's; time zones from the system's TZif files (RFC 8536). Any thread.
 *
 * Dates are days since 2000-01-01, timestamps microseconds since 2000-01-01 00:00 (UTC for timestamptz); the least and
 * greatest values of each are -infinity and infinity. */
#ifndef GN_QUERY_DATETIME_H
#define GN_QUERY_DATETIME_H

#include "query/value.h"

#define GN_US_PER_SECOND INT64_C(1000000)
#define GN_US_PER_DAY INT64_C(86400000000)
enum { GN_UNIX_TO_2000_DAYS = 10957 };

/* PostgreSQL's ranges: 4714-11-24 BC to 5874897-12-31 (dates), to 294276-12-31 (timestamps). */
bool gn_date_in_range(int64_t days);
bool gn_timestamp_in_range(int64_t us);

typedef struct gn_civil {
    int64_t year;                             /* astronomical: 0 is 1 BC */
    int month, day, hour, minute, second, us; /* month, day from 1 */
} gn_civil;

int64_t gn_days_from_civil(int64_t year, int month, int day);
void gn_civil_from_days(int64_t days, gn_civil *out); /* the date's fields alone */
void gn_civil_from_timestamp(int64_t us, gn_civil *out);
int64_t gn_timestamp_from_civil(const gn_civil *civil); /* no check of the range */
int gn_days_in_month(int64_t year, int month);

/* Rounds to `digits` (0..6) fractional digits; infinities stay. */
int64_t gn_timestamp_round(int64_t us, int32_t digits);

typedef struct gn_interval {
    int32_t months, days;
    int64_t us;
} gn_interval;
gn_interval gn_interval_load(gn_bytes bytes);
gn_code gn_interval_store(gn_interval v, gn_arena *arena, gn_bytes *out, gn_error *err);
/* Microseconds with months of 30 days, for comparing. */
__int128 gn_interval_span(gn_interval v);
/* Months first (the day is cut to the month's length), then days, then microseconds. GN_DATETIME_RANGE. */
gn_code gn_timestamp_add(int64_t us, gn_interval v, int64_t *out, gn_error *err);

/* Seconds east of UTC in the session's zone. _at_utc: at an instant; _at_local: at a wall clock's time (in a gap or a
 * double hour: the offset before the change). */
int32_t gn_zone_at_utc(const gn_format *format, int64_t us);
int32_t gn_zone_at_local(const gn_format *format, int64_t us);
/* An IANA name, "UTC", "Z" or an offset like +02:00 (east, as ISO; without the POSIX inversion)? */
bool gn_zone_exists(gn_bytes name);
/* A format whose zone is that one; name is copied into the arena. GN_INVALID_PARAMETER. */
gn_code gn_zone_format(gn_bytes name, gn_arena *arena, gn_format *out, gn_error *err);

#endif
