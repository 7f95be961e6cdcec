#include "base/metrics.h"
#include "tests/base/cmocka_all.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

static gn_buf out;

static const char *scrape(void)
{
    gn_buf_clear(&out);
    gn_metrics_write(&out);
    gn_buf_append_u8(&out, 0);
    assert_false(out.failed);
    return (const char *)out.data;
}

static void the_same_name_and_labels_are_the_same_metric(void **state)
{
    (void)state;
    gn_metric *a = gn_counter("gnomon_a_total", "x=\"1\"", "help");
    assert_ptr_equal(a, gn_counter("gnomon_a_total", "x=\"1\"", "other help"));
    assert_ptr_not_equal(a, gn_counter("gnomon_a_total", "x=\"2\"", "help"));
}

static void lines_of_a_name_stay_together_under_one_help(void **state)
{
    (void)state;
    gn_counter_add(gn_counter("gnomon_t_total", "k=\"b\"", "back\\slash\nline"), 2);
    gn_gauge_set(gn_gauge("gnomon_u_bytes", NULL, "u"), -1.5);
    gn_counter_add(gn_counter("gnomon_t_total", "k=\"a\"", "back\\slash\nline"), 1);
    assert_non_null(strstr(scrape(), "# HELP gnomon_t_total back\\\\slash\\nline\n# TYPE gnomon_t_total counter\n"
                                     "gnomon_t_total{k=\"a\"} 1\ngnomon_t_total{k=\"b\"} 2\n"
                                     "# HELP gnomon_u_bytes u\n# TYPE gnomon_u_bytes gauge\ngnomon_u_bytes -1.5\n"));
}

static void histogram_buckets_are_cumulative_and_exact_at_their_bounds(void **state)
{
    (void)state;
    gn_metric *h = gn_histogram("gnomon_wait_seconds", "q=\"x\"", "h");
    const double seen[] = {0, 1e-9, ldexp(1, -20), ldexp(1.5, -20), 0.5, 0.500001, 64, 65, INFINITY};
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++)
        gn_histogram_observe(h, seen[i]);
    gn_histogram_observe(h, NAN); /* says nothing */
    const char *text = scrape();
    assert_non_null(strstr(text, "gnomon_wait_seconds_bucket{q=\"x\",le=\"9.536743164e-07\"} 3\n"));
    assert_non_null(strstr(text, "gnomon_wait_seconds_bucket{q=\"x\",le=\"1.907348633e-06\"} 4\n"));
    assert_non_null(strstr(text, "gnomon_wait_seconds_bucket{q=\"x\",le=\"0.5\"} 5\n"));
    assert_non_null(strstr(text, "gnomon_wait_seconds_bucket{q=\"x\",le=\"1\"} 6\n"));
    assert_non_null(strstr(text, "gnomon_wait_seconds_bucket{q=\"x\",le=\"64\"} 7\n"));
    assert_non_null(strstr(text, "gnomon_wait_seconds_bucket{q=\"x\",le=\"+Inf\"} 9\n"));
    assert_non_null(strstr(text, "gnomon_wait_seconds_count{q=\"x\"} 9\n"));
    gn_metric *sizes = gn_histogram("gnomon_batch_bytes", NULL, "h");
    gn_histogram_observe(sizes, 256);
    gn_histogram_observe(sizes, 257);
    text = scrape();
    assert_non_null(strstr(text, "gnomon_batch_bytes_bucket{le=\"64\"} 0\n"));
    assert_non_null(strstr(text, "gnomon_batch_bytes_bucket{le=\"256\"} 1\n"));
    assert_non_null(strstr(text, "gnomon_batch_bytes_bucket{le=\"1024\"} 2\n"));
    assert_non_null(strstr(text, "gnomon_batch_bytes_sum 513\ngnomon_batch_bytes_count 2\n"));
}

static void *count_up(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10000; i++) {
        gn_counter_add(gn_counter("gnomon_threads_total", NULL, "h"), 1);
        gn_gauge_add(gn_gauge("gnomon_threads", NULL, "h"), 1);
    }
    return NULL;
}

static void updates_from_threads_are_all_counted(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(gn_counter_value(gn_counter("gnomon_threads_total", NULL, "h")), 40000);
    assert_true(gn_gauge_value(gn_gauge("gnomon_threads", NULL, "h")) == 40000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_name_and_labels_are_the_same_metric),
        cmocka_unit_test(lines_of_a_name_stay_together_under_one_help),
        cmocka_unit_test(histogram_buckets_are_cumulative_and_exact_at_their_bounds),
        cmocka_unit_test(updates_from_threads_are_all_counted),
    };
    gn_buf_init(&out, NULL, 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    gn_buf_close(&out);
    return failed;
}
