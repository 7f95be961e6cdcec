/* Runs seeds of the simulated cluster and prints those that fail, with the command that repeats them. */
#include "base/log.h"
#include "base/metrics.h"
#include "tests/sim/cluster/trial.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct arguments {
    uint64_t first, seeds, seconds;
    canary canary;
    bool verbose, until, disaster;
} arguments;

typedef struct totals {
    counts counts;
    uint64_t steps, failed, nodes;
} totals;

static const char usage[] =
    "usage: gn_sim_cluster [--seeds N] [--first S] [--seconds V] [--disaster] [--canary NAME [--until-found]]\n"
    "                      [--verbose]\n"
    "  Runs N seeds of a simulated cluster under faults for V virtual seconds each, lets everything heal, and checks\n"
    "  what clients were told against what is stored. GN_SEEDS=n and GN_SEED=s stand for --seeds and --first.\n"
    "  --disaster: then a majority is lost for ever, the others go on, and so do the faults, for a second.\n"
    "  Exit status: 0 all is well; 1 a check failed; 2 wrong usage.\n"
    "  --verbose prints the trace; --canary plants a bug that must be found; --until-found stops at the first.\n";

static void add_counts(totals *sum, trial *t)
{
    unsigned long *to = (unsigned long *)&sum->counts;
    const unsigned long *from = (const unsigned long *)&t->counts;
    for (size_t i = 0; i < t->n_history; i++) {
        const event *e = t->history[i];
        if (e->read_only)
            t->counts.reads += e->outcome == COMMITTED;
        else if (e->outcome == COMMITTED)
            t->counts.committed++;
        else if (e->outcome == REFUSED)
            t->counts.refused++;
        else
            t->counts.unknown++;
    }
    for (size_t i = 0; i < sizeof sum->counts / sizeof *to; i++)
        to[i] += from[i];
    sum->steps += gn_sim_steps(t->sim);
}

/* ---- how to repeat a run ---- */

static char again[200];

static void remember(const arguments *a, uint64_t seed)
{
    int n = snprintf(again, sizeof again, "  again: gn_sim_cluster --first %" PRIu64 " --seeds 1 --seconds %" PRIu64,
                     seed, a->seconds);
    if (a->disaster)
        n += snprintf(again + n, sizeof again - (size_t)n, " --disaster");
    if (a->canary)
        n += snprintf(again + n, sizeof again - (size_t)n, " --canary %s", canary_names[a->canary]);
    snprintf(again + n, sizeof again - (size_t)n, " --verbose\n");
}

/* A broken invariant of the code under test ends the process; its seed must not be lost with it. */
static void on_abort(int signal)
{
    (void)signal;
    ssize_t n = write(STDOUT_FILENO, again, strlen(again));
    _exit(n > 0 ? 1 : 3);
}

static bool run_seed(const arguments *a, uint64_t seed, totals *sum)
{
    remember(a, seed);
    gn_metric *raised = gn_counter("gnomon_shard_scns_raised_total", NULL, "");
    trial *t = trial_start(seed, a->canary, a->disaster, a->verbose ? stdout : NULL);
    uint64_t before = gn_counter_value(raised);
    if (!t->problems)
        faults_run(t, a->seconds * SECOND);
    if (!t->problems && a->disaster)
        disaster(t);
    if (!t->problems && a->disaster)
        faults_run(t, SECOND);
    if (!t->problems)
        trial_heal(t);
    if (!t->problems)
        last_look(t);
    if (!t->problems && !settles(t, 60 * SECOND)) /* what the look has moved */
        problem(t, "after the last look: %s", why_unsettled(t));
    if (!t->problems && gn_counter_value(raised) != before)
        problem(t, "SCNs do not ascend in the log");
    if (!t->problems) {
        check_replicas(t);
        check_clock(t);
        check_history(t);
    }
    bool ok = t->problems == 0;
    sum->failed += !ok;
    if (!ok)
        printf("seed %" PRIu64 " at %.6f s, step %" PRIu64 ": %s\n%s", seed, (double)gn_sim_now_ns(t->sim) * 1e-9,
               gn_sim_steps(t->sim), t->problem, again);
    if (a->verbose)
        printf("trace hash %016" PRIx64 "\n", gn_sim_trace_hash(t->sim));
    fflush(stdout);
    add_counts(sum, t);
    trial_stop(t);
    return ok;
}

static bool parse_number(const char *text, uint64_t *out)
{
    char *end;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0';
}

static bool parse_canary(const char *text, canary *out)
{
    for (unsigned i = 0; i < N_CANARIES; i++) {
        if (strcmp(text, canary_names[i]) == 0) {
            *out = (canary)i;
            return true;
        }
    }
    return false;
}

static bool parse(int argc, char **argv, arguments *a)
{
    static const struct option names[] = {
        {"seeds", required_argument, NULL, 's'},   {"first", required_argument, NULL, 'f'},
        {"seconds", required_argument, NULL, 't'}, {"canary", required_argument, NULL, 'c'},
        {"until-found", no_argument, NULL, 'u'},   {"disaster", no_argument, NULL, 'd'},
        {"verbose", no_argument, NULL, 'v'},       {0},
    };
    const char *seed = getenv("GN_SEED"), *seeds = getenv("GN_SEEDS");
    bool good = (!seed || parse_number(seed, &a->first)) && (!seeds || parse_number(seeds, &a->seeds));
    if (seed && !seeds)
        a->seeds = 1;
    for (int c; good && (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        good = c == 's'   ? seed || seeds || parse_number(optarg, &a->seeds)
               : c == 'f' ? seed || parse_number(optarg, &a->first)
               : c == 't' ? parse_number(optarg, &a->seconds)
               : c == 'c' ? parse_canary(optarg, &a->canary)
                          : c == 'v' || c == 'u' || c == 'd';
        a->verbose |= c == 'v';
        a->until |= c == 'u';
        a->disaster |= c == 'd';
    }
    return good && optind == argc;
}

static void print_totals(const arguments *a, const totals *sum, double seconds)
{
    const counts *c = &sum->counts;
    printf("%" PRIu64 " seeds, %" PRIu64 " failed; %" PRIu64 " steps in %.1f s of processor time\n", a->seeds,
           sum->failed, sum->steps, seconds);
    printf("committed %lu (%lu definitions), refused %lu, unknown %lu, reads %lu\n", c->committed, c->definitions,
           c->refused, c->unknown, c->reads);
    printf("crashes %lu, clean stops %lu, failed disks %lu, partitions %lu, pauses %lu, clock jumps %lu, transfers of "
           "leadership %lu, joined %lu, lost disks %lu, splits %lu, merges %lu, hedges %lu, disasters %lu (%lu "
           "transactions torn)\n",
           c->crashes, c->stops, c->disk_failures, c->partitions, c->pauses, c->jumps, c->transfers, c->joins,
           c->losses, c->splits, c->merges, gn_counter_value(gn_counter("gnomon_hedges_total", NULL, "")), c->disasters,
           c->torn);
}

int main(int argc, char **argv)
{
    arguments a = {.first = 1, .seeds = 100, .seconds = 3};
    totals sum = {0};
    if (!parse(argc, argv, &a)) {
        fputs(usage, stderr);
        fputs("  canaries:", stderr);
        for (unsigned i = 1; i < N_CANARIES; i++)
            fprintf(stderr, " %s", canary_names[i]);
        fputs("\n", stderr);
        return 2;
    }
    gn_log_configure(a.verbose ? GN_LOG_DEBUG : GN_LOG_OFF, false, 1);
    setvbuf(stdout, NULL, _IOLBF, 0); /* the log goes to the same place by itself */
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    clock_t start = clock();
    for (uint64_t seed = a.first; seed < a.first + a.seeds; seed++)
        if (!run_seed(&a, seed, &sum) && a.until)
            break;
    print_totals(&a, &sum, (double)(clock() - start) / CLOCKS_PER_SEC);
    return sum.failed != 0;
}
