#include "bench/bench_report.h"

#include <stdio.h>
#include <time.h>

double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void report(const char *bench, const char *engine, const char *dataset, const char *metric, double value,
            const char *unit)
{
    printf("{\"bench\": \"%s\", \"engine\": \"%s\", \"dataset\": \"%s\", \"metric\": \"%s\", \"value\": %.6g, "
           "\"unit\": \"%s\"}\n",
           bench, engine, dataset, metric, value, unit);
    fflush(stdout);
}
