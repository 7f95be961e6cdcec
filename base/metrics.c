/* Registration takes a lock and keeps the registry sorted by (name, labels), because the text format wants all lines of
 * a name together; updates are single relaxed atomic operations on the metric itself. */
#include "base/metrics.h"

#include "base/assert.h"
#include "base/memory.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

typedef enum metric_kind { COUNTER, GAUGE, HISTOGRAM } metric_kind;

#define N_SECONDS_BUCKETS 27 /* 2^-20 s (0.95 us) ... 2^6 s */
#define N_SIZE_BUCKETS 16    /* 4^3 ... 4^18 */
#define MAX_BUCKETS 27

struct gn_metric {
    struct gn_metric *next;
    char *name, *labels, *help;
    metric_kind kind;
    bool seconds;
    _Atomic uint64_t count;                /* counter: its value; histogram: observations beyond the last bucket */
    _Atomic double value;                  /* gauge: its value; histogram: the sum */
    _Atomic uint64_t buckets[MAX_BUCKETS]; /* not cumulative */
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static gn_metric *registry;

static gn_metric *metric_register(metric_kind kind, const char *name, const char *labels, const char *help)
{
    labels = labels ? labels : "";
    pthread_mutex_lock(&registry_lock);
    gn_metric **at = &registry;
    int order = 1;
    for (; *at; at = &(*at)->next) {
        order = strcmp((*at)->name, name);
        if (order == 0)
            order = strcmp((*at)->labels, labels);
        if (order >= 0)
            break;
    }
    gn_metric *m = *at;
    if (!m || order != 0) {
        m = gn_xcalloc(1, sizeof *m);
        m->name = gn_xstrdup(name);
        m->labels = gn_xstrdup(labels);
        m->help = gn_xstrdup(help);
        m->kind = kind;
        size_t len = strlen(name);
        m->seconds = len > 8 && strcmp(name + len - 8, "_seconds") == 0;
        m->next = *at;
        *at = m;
    }
    pthread_mutex_unlock(&registry_lock);
    GN_ASSERT(m->kind == kind);
    return m;
}

gn_metric *gn_counter(const char *name, const char *labels, const char *help)
{
    return metric_register(COUNTER, name, labels, help);
}

gn_metric *gn_gauge(const char *name, const char *labels, const char *help)
{
    return metric_register(GAUGE, name, labels, help);
}

gn_metric *gn_histogram(const char *name, const char *labels, const char *help)
{
    return metric_register(HISTOGRAM, name, labels, help);
}

void gn_counter_add(gn_metric *m, uint64_t n)
{
    GN_ASSERT(m->kind == COUNTER);
    atomic_fetch_add_explicit(&m->count, n, memory_order_relaxed);
}

uint64_t gn_counter_value(const gn_metric *m)
{
    GN_ASSERT(m->kind == COUNTER);
    return atomic_load_explicit(&m->count, memory_order_relaxed);
}

static void add_double(_Atomic double *to, double v)
{
    double old = atomic_load_explicit(to, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(to, &old, old + v, memory_order_relaxed, memory_order_relaxed))
        continue;
}

void gn_gauge_set(gn_metric *m, double v)
{
    GN_ASSERT(m->kind == GAUGE);
    atomic_store_explicit(&m->value, v, memory_order_relaxed);
}

void gn_gauge_add(gn_metric *m, double v)
{
    GN_ASSERT(m->kind == GAUGE);
    add_double(&m->value, v);
}

double gn_gauge_value(const gn_metric *m)
{
    GN_ASSERT(m->kind == GAUGE);
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

static int bucket_count(const gn_metric *m)
{
    return m->seconds ? N_SECONDS_BUCKETS : N_SIZE_BUCKETS;
}

static double bucket_bound(const gn_metric *m, int i)
{
    return m->seconds ? ldexp(1, i - 20) : ldexp(1, 2 * (i + 3));
}

/* The first bucket whose bound is at or above v; bucket_count() when there is none. */
static int bucket_of(const gn_metric *m, double v)
{
    if (!(v > bucket_bound(m, 0)))
        return 0;
    if (isinf(v))
        return bucket_count(m);
    int e;
    double f = frexp(v, &e); /* v = f * 2^e, 0.5 <= f < 1: so 2^e >= v, tight unless v is 2^(e-1) */
    if (f == 0.5)
        e--;
    int i = m->seconds ? e + 20 : (e + 1) / 2 - 3;
    return i < bucket_count(m) ? i : bucket_count(m);
}

void gn_histogram_observe(gn_metric *m, double v)
{
    GN_ASSERT(m->kind == HISTOGRAM);
    if (isnan(v))
        return;
    int i = bucket_of(m, v);
    atomic_fetch_add_explicit(i == bucket_count(m) ? &m->count : &m->buckets[i], 1, memory_order_relaxed);
    add_double(&m->value, v);
}

static void write_help(gn_buf *out, const gn_metric *m)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    gn_buf_printf(out, "# HELP %s ", m->name);
    for (const char *p = m->help; *p; p++) {
        if (*p == '\\' || *p == '\n')
            gn_buf_append_str(out, *p == '\n' ? "\\n" : "\\\\");
        else
            gn_buf_append_u8(out, (uint8_t)*p);
    }
    gn_buf_printf(out, "\n# TYPE %s %s\n", m->name, kinds[m->kind]);
}

static void write_histogram(gn_buf *out, const gn_metric *m)
{
    const char *comma = *m->labels ? "," : "";
    uint64_t total = 0;
    for (int i = 0; i < bucket_count(m); i++) {
        total += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        gn_buf_printf(out, "%s_bucket{%s%sle=\"%.10g\"} %llu\n", m->name, m->labels, comma, bucket_bound(m, i),
                      (unsigned long long)total);
    }
    total += atomic_load_explicit(&m->count, memory_order_relaxed);
    gn_buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", m->name, m->labels, comma, (unsigned long long)total);
    const char *open = *m->labels ? "{" : "", *close = *m->labels ? "}" : "";
    gn_buf_printf(out, "%s_sum%s%s%s %.17g\n", m->name, open, m->labels, close,
                  atomic_load_explicit(&m->value, memory_order_relaxed));
    gn_buf_printf(out, "%s_count%s%s%s %llu\n", m->name, open, m->labels, close, (unsigned long long)total);
}

static void write_value(gn_buf *out, const gn_metric *m)
{
    gn_buf_append_str(out, m->name);
    if (*m->labels)
        gn_buf_printf(out, "{%s}", m->labels);
    if (m->kind == COUNTER)
        gn_buf_printf(out, " %llu\n", (unsigned long long)gn_counter_value(m));
    else
        gn_buf_printf(out, " %.17g\n", gn_gauge_value(m));
}

void gn_metrics_write(gn_buf *out)
{
    pthread_mutex_lock(&registry_lock);
    const char *previous = "";
    for (const gn_metric *m = registry; m; m = m->next) {
        if (strcmp(previous, m->name) != 0)
            write_help(out, m);
        previous = m->name;
        if (m->kind == HISTOGRAM)
            write_histogram(out, m);
        else
            write_value(out, m);
    }
    pthread_mutex_unlock(&registry_lock);
}
