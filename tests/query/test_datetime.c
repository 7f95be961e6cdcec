/* Dates, timestamps, intervals and casts. The expected texts are PostgreSQL 15's with DateStyle ISO. */
#include "query/datetime.h"
#include "tests/query/values.h"

static const gn_type date = {.id = GN_T_DATE, .typmod = -1}, timestamp = {.id = GN_T_TIMESTAMP, .typmod = -1},
                     timestamptz = {.id = GN_T_TIMESTAMPTZ, .typmod = -1},
                     interval = {.id = GN_T_INTERVAL, .typmod = -1};

static void dates_read_and_print(void **state)
{
    (void)state;
    check_text(date, "2024-02-29", "2024-02-29");
    check_text(date, "20240229", "2024-02-29");
    check_text(date, "January 8, 1999", "1999-01-08");
    check_text(date, "8 Jan 1999", "1999-01-08");
    check_text(date, "1999-Jan-08", "1999-01-08");
    check_text(date, "0044-03-15 BC", "0044-03-15 BC");
    check_text(date, "infinity", "infinity");
    check_text(date, "epoch", "1970-01-01");
    check_bad(date, "2023-02-29", "22008", "date/time field value out of range: \"2023-02-29\"");
    check_bad(date, "yesterdayish", "22007", "invalid input syntax for type date: \"yesterdayish\"");
}

static void every_day_comes_back(void **state)
{
    (void)state;
    gn_civil c;
    for (int64_t day = -800000; day < 800000; day += 13) {
        gn_civil_from_days(day, &c);
        assert_int_equal(gn_days_from_civil(c.year, c.month, c.day), day);
        assert_true(c.day >= 1 && c.day <= gn_days_in_month(c.year, c.month));
    }
}

static void timestamps_read_and_print(void **state)
{
    (void)state;
    check_text(timestamp, "2024-01-02 03:04:05.678", "2024-01-02 03:04:05.678");
    check_text(timestamp, "2024-01-02T03:04", "2024-01-02 03:04:00");
    check_text(timestamp, "2024-01-02", "2024-01-02 00:00:00");
    check_text(timestamp, "2024-01-02 24:00:00", "2024-01-03 00:00:00");
    check_text(timestamp, "1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999");
    check_text(with_typmod(GN_T_TIMESTAMP, 0), "2024-01-02 03:04:05.5", "2024-01-02 03:04:06");
    check_text(timestamptz, "2024-01-02 03:04:05Z", "2024-01-02 03:04:05+00");
    check_text(timestamptz, "2024-01-02 03:04:05+02:30", "2024-01-02 00:34:05+00");
    check_text(timestamptz, "2024-01-02 03:04:05-0800", "2024-01-02 11:04:05+00");
    check_bad(timestamp, "2024-01-02 25:00", "22008", "date/time field value out of range: \"2024-01-02 25:00\"");
    check_bad(timestamptz, "nonsense", "22007", "invalid input syntax for type timestamp with time zone: \"nonsense\"");
}

static void named_zones_have_their_summer(void **state)
{
    (void)state;
    if (!gn_zone_exists(gn_bytes_str("Europe/Berlin")))
        skip();
    gn_arena *arena = gn_arena_create(NULL);
    gn_format berlin;
    gn_value v;
    assert_int_equal(gn_zone_format(gn_bytes_str("Europe/Berlin"), arena, &berlin, NULL), GN_OK);
    assert_int_equal(gn_value_parse(gn_bytes_str("2024-07-01 12:00"), timestamptz, &berlin, arena, &v, NULL), GN_OK);
    assert_string_equal(printed(arena, &v, &berlin), "2024-07-01 12:00:00+02");
    assert_string_equal(printed(arena, &v, NULL), "2024-07-01 10:00:00+00");
    v = parsed(arena, timestamptz, "2024-01-01 12:00 America/New_York");
    assert_string_equal(printed(arena, &v, NULL), "2024-01-01 17:00:00+00");
    assert_false(gn_zone_exists(gn_bytes_str("Europe/Nowhere")));
    assert_false(gn_zone_exists(gn_bytes_str("../../etc/passwd")));
    gn_arena_destroy(arena);
}

static void intervals_read_and_print(void **state)
{
    (void)state;
    check_text(interval, "1 year 2 months 3 days 04:05:06.789", "1 year 2 mons 3 days 04:05:06.789");
    check_text(interval, "90 minutes", "01:30:00");
    check_text(interval, "1.5 days", "1 day 12:00:00");
    check_text(interval, "-1 day", "-1 days");
    check_text(interval, "1 mon -1 day", "1 mon -1 days");
    check_text(interval, "-1 mon 1 day", "-1 mons +1 day");
    check_text(interval, "2 hours ago", "-02:00:00");
    check_text(interval, "P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06");
    check_text(interval, "0", "00:00:00");
    check_bad(interval, "1 fortnight", "22007", "invalid input syntax for type interval: \"1 fortnight\"");
}

static void months_are_added_by_the_calendar(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    gn_value t = parsed(arena, timestamp, "2024-01-31 10:00");
    assert_int_equal(gn_timestamp_add(t.as.i64, (gn_interval){.months = 1}, &t.as.i64, NULL), GN_OK);
    assert_string_equal(printed(arena, &t, NULL), "2024-02-29 10:00:00");
    gn_error err = {0};
    assert_int_equal(gn_timestamp_add(t.as.i64, (gn_interval){.months = INT32_MAX}, &t.as.i64, &err),
                     GN_DATETIME_RANGE);
    gn_arena_destroy(arena);
}

static void check_cast(gn_type from, const char *in, gn_type to, const char *expected)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_value v = parsed(arena, from, in), out;
    gn_error err = {0};
    if (gn_value_cast(&v, to, GN_CAST_EXPLICIT, &default_format, arena, &out, &err) != GN_OK) {
        if (strcmp(err.message, expected) != 0)
            fail_msg("'%s': %s", in, err.message);
    } else if (strcmp(printed(arena, &out, NULL), expected) != 0) {
        fail_msg("'%s' became '%s', not '%s'", in, printed(arena, &out, NULL), expected);
    }
    gn_arena_destroy(arena);
}

static void values_are_cast(void **state)
{
    (void)state;
    gn_type int4 = gn_type_of(GN_T_INT4), float8 = gn_type_of(GN_T_FLOAT8), text = gn_type_of(GN_T_TEXT);
    check_cast(float8, "2.5", int4, "2");
    check_cast(float8, "3.5", int4, "4");
    check_cast(gn_type_of(GN_T_NUMERIC), "2.5", int4, "3");
    check_cast(float8, "1e10", int4, "integer out of range");
    check_cast(float8, "NaN", gn_type_of(GN_T_INT8), "bigint out of range");
    check_cast(int4, "70000", gn_type_of(GN_T_INT2), "smallint out of range");
    check_cast(float8, "1e300", gn_type_of(GN_T_FLOAT4), "value out of range: overflow");
    check_cast(float8, "0.1", gn_type_of(GN_T_NUMERIC), "0.1");
    check_cast(int4, "7", with_typmod(GN_T_NUMERIC, 4 << 16 | 2), "7.00");
    check_cast(text, "12", int4, "12");
    check_cast(text, "x", int4, "invalid input syntax for type integer: \"x\"");
    check_cast(text, "abcdef", with_typmod(GN_T_VARCHAR, 3), "abc");
    check_cast(gn_type_of(GN_T_BOOL), "true", int4, "1");
    check_cast(date, "2024-01-02", timestamp, "2024-01-02 00:00:00");
    check_cast(timestamp, "2024-01-02 23:59", date, "2024-01-02");
    check_cast(gn_type_of(GN_T_VECTOR), "[1,2]", with_typmod(GN_T_VECTOR, 3), "expected 3 dimensions, not 2");
}

static void casts_are_allowed_as_in_pg_cast(void **state)
{
    (void)state;
    gn_type int4 = gn_type_of(GN_T_INT4), int8 = gn_type_of(GN_T_INT8), text = gn_type_of(GN_T_TEXT);
    assert_true(gn_cast_allowed(int4, int8, GN_CAST_IMPLICIT));
    assert_false(gn_cast_allowed(int8, int4, GN_CAST_IMPLICIT));
    assert_true(gn_cast_allowed(int8, int4, GN_CAST_ASSIGNMENT));
    assert_true(gn_cast_allowed(int4, text, GN_CAST_ASSIGNMENT));
    assert_false(gn_cast_allowed(text, int4, GN_CAST_ASSIGNMENT));
    assert_true(gn_cast_allowed(text, int4, GN_CAST_EXPLICIT));
    assert_false(gn_cast_allowed(int4, date, GN_CAST_EXPLICIT));
    assert_true(gn_cast_allowed(gn_type_of(GN_T_UNKNOWN), date, GN_CAST_IMPLICIT));
    assert_true(gn_cast_allowed(gn_type_array_of(GN_T_FLOAT4), gn_type_of(GN_T_VECTOR), GN_CAST_ASSIGNMENT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_read_and_print),      cmocka_unit_test(every_day_comes_back),
        cmocka_unit_test(timestamps_read_and_print), cmocka_unit_test(named_zones_have_their_summer),
        cmocka_unit_test(intervals_read_and_print),  cmocka_unit_test(months_are_added_by_the_calendar),
        cmocka_unit_test(values_are_cast),           cmocka_unit_test(casts_are_allowed_as_in_pg_cast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
