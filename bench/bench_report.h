/* What the benchmark programs print: one JSON object a line. */
#ifndef GN_BENCH_REPORT_H
#define GN_BENCH_REPORT_H

#include <stdint.h>

double now_seconds(void);
void report(const char *bench, const char *engine, const char *dataset, const char *metric, double value,
            const char *unit);

#endif
