/* Counters, gauges and histograms with Prometheus text output. One registry a process; a metric is registered once,
 * usually in a static at a module's start, and lives as long as the process. All operations are thread-safe. */
#ifndef GN_BASE_METRICS_H
#define GN_BASE_METRICS_H

#include "base/buf.h"

#include <stdint.h>

typedef struct gn_metric gn_metric;

/* name: gnomon_<noun>_<unit>[_total]; labels: `key="value",...` or NULL. The same name and labels give the same metric
 * again (so that two components may share one). The strings are copied. */
gn_metric *gn_counter(const char *name, const char *labels, const char *help);
gn_metric *gn_gauge(const char *name, const char *labels, const char *help);
/* Buckets are fixed: powers of two from 1 us to 64 s for `_seconds` histograms, powers of 4 from 64 up otherwise. */
gn_metric *gn_histogram(const char *name, const char *labels, const char *help);

void gn_counter_add(gn_metric *m, uint64_t n);
void gn_gauge_set(gn_metric *m, double v);
void gn_gauge_add(gn_metric *m, double v);
void gn_histogram_observe(gn_metric *m, double v);
uint64_t gn_counter_value(const gn_metric *m);
double gn_gauge_value(const gn_metric *m);

/* Prometheus text format 0.0.4. */
void gn_metrics_write(gn_buf *out);

#endif
