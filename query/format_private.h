/* Dates and times beyond the calendar: fields, scaling of intervals, to_char's templates. */
#ifndef GN_QUERY_FORMAT_PRIVATE_H
#define GN_QUERY_FORMAT_PRIVATE_H

#include "query/datetime.h"
#include "query/text_private.h"

/* A moment taken apart, as local time. */
typedef struct gn_moment {
    int32_t year; /* 0 is 1 BC */
    int32_t month, day, hour, minute, second, microsecond;
    int32_t offset_s; /* east of UTC */
    const char *zone; /* abbreviation, "" if none */
    bool is_interval; /* of an interval: no weekdays, any number of hours */
} gn_moment;

int32_t gn_day_of_year(const gn_moment *m); /* 1 .. 366 */
int32_t gn_day_of_week(const gn_moment *m); /* 0 = Sunday */
void gn_iso_week(const gn_moment *m, int32_t *year, int32_t *week);
int64_t gn_iso_year_start(int32_t year); /* days since 2000-01-01 of the first Monday */

/* v times (or by) the factor, as PostgreSQL cascades what is left over. GN_DATETIME_RANGE. */
gn_code gn_interval_scale(gn_interval v, double factor, bool divide, gn_interval *out, gn_error *err);

/* Appends the moment by the template. */
gn_code gn_moment_format(const gn_call *call, const gn_moment *m, gn_bytes template, gn_buf *out);
/* Reads text by the template; what the template does not name is 1 January of year 1 BC, midnight, offset 0.
 * *has_zone: TZH or OF was read. */
gn_code gn_moment_parse(const gn_call *call, gn_bytes text, gn_bytes template, gn_moment *m, bool *has_zone);

#endif
