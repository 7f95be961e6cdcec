/* Runs seeds of the simulated Raft cluster and prints those that fail, with the command that repeats them. */
#include "base/log.h"
#include "tests/sim/fleet.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef struct arguments {
    uint64_t first, seeds, seconds;
    unsigned nodes; /* 0 = drawn */
    canary canary;
    bool verbose;
} arguments;

typedef struct totals {
    fleet_counts fleet;
    check_counts check;
    uint64_t steps, failed;
} totals;

static const char usage[] =
    "usage: gn_sim_raft [--seeds N] [--first S] [--nodes 1|3|5] [--seconds V] [--canary NAME] [--verbose]\n"
    "  Runs N seeds of a simulated cluster of Raft hosts for V virtual seconds each, under faults drawn from the "
    "seed.\n"
    "  Exit status: 0 all is well; 1 a checker found a violation; 2 wrong usage.\n"
    "  --verbose prints the trace of the run; --canary plants a bug that the checkers must find (see --help).\n";

static fleet_options options_of(const arguments *a, uint64_t seed)
{
    static const struct {
        unsigned nodes, voters;
    } shapes[] = {{1, 1}, {3, 3}, {3, 3}, {5, 5}, {5, 5}, {5, 3}};
    unsigned i = (unsigned)(seed % 6);
    fleet_options o = {.seed = seed, .canary = a->canary, .trace = a->verbose ? stdout : NULL};
    o.n_nodes = a->nodes ? a->nodes : shapes[i].nodes;
    o.n_voters = a->nodes ? a->nodes : shapes[i].voters;
    o.n_groups = 1 + (unsigned)(seed / 6 % FLEET_GROUPS);
    o.snapshot_threshold_bytes = (uint64_t)2048 << seed / 18 % 4;
    o.log_keep_bytes = seed / 72 % 2 ? 512 : 4096;
    return o;
}

static void add_counts(totals *t, fleet *f)
{
    unsigned long *to = (unsigned long *)&t->fleet;
    const unsigned long *from = (const unsigned long *)&f->counts;
    for (size_t i = 0; i < sizeof t->fleet / sizeof *to; i++)
        to[i] += from[i];
    for (unsigned g = 0; g < f->options.n_groups; g++) {
        check_counts c = check_count(f->checks[g]);
        t->check.elections += c.elections;
        t->check.committed += c.committed;
        t->check.overwritten += c.overwritten;
        t->check.majority_overwritten += c.majority_overwritten;
    }
    t->steps += gn_sim_steps(f->sim);
}

/* ---- how to repeat a run ---- */

static char again[200];

static void remember(const arguments *a, uint64_t seed)
{
    int n = snprintf(again, sizeof again, "  again: gn_sim_raft --first %" PRIu64 " --seeds 1 --seconds %" PRIu64, seed,
                     a->seconds);
    if (a->nodes)
        n += snprintf(again + n, sizeof again - (size_t)n, " --nodes %u", a->nodes);
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

static void run_seed(const arguments *a, uint64_t seed, totals *t)
{
    fleet_options options = options_of(a, seed);
    remember(a, seed);
    fleet *f = fleet_create(&options);
    nemesis_run(f, a->seconds * SECOND);
    if (!fleet_violation(f))
        fleet_heal(f);
    const char *violation = fleet_violation(f);
    if (violation) {
        t->failed++;
        printf("seed %" PRIu64 " at %.6f s, step %" PRIu64 ": %s\n", seed, (double)gn_sim_now_ns(f->sim) * 1e-9,
               gn_sim_steps(f->sim), violation);
        fputs(again, stdout);
        fflush(stdout);
    }
    add_counts(t, f);
    fleet_destroy(f);
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
        {"seeds", required_argument, NULL, 's'},  {"first", required_argument, NULL, 'f'},
        {"nodes", required_argument, NULL, 'n'},  {"seconds", required_argument, NULL, 't'},
        {"canary", required_argument, NULL, 'c'}, {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    uint64_t nodes = 0;
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        bool good = c == 's'   ? parse_number(optarg, &a->seeds)
                    : c == 'f' ? parse_number(optarg, &a->first)
                    : c == 'n' ? parse_number(optarg, &nodes) && nodes >= 1 && nodes <= FLEET_NODES
                    : c == 't' ? parse_number(optarg, &a->seconds)
                    : c == 'c' ? parse_canary(optarg, &a->canary)
                               : c == 'v';
        a->verbose |= c == 'v';
        if (!good)
            return false;
    }
    a->nodes = (unsigned)nodes;
    return optind == argc;
}

int main(int argc, char **argv)
{
    arguments a = {.first = 1, .seeds = 300, .seconds = 20};
    totals t = {0};
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
    clock_t start = clock();
    for (uint64_t seed = a.first; seed < a.first + a.seeds; seed++)
        run_seed(&a, seed, &t);
    printf("%" PRIu64 " seeds, %" PRIu64 " failed; %" PRIu64 " steps in %.1f s of processor time\n", a.seeds, t.failed,
           t.steps, (double)(clock() - start) / CLOCKS_PER_SEC);
    printf("acknowledged %lu, unknown %lu, refused %lu, reads %lu, operations %lu, transfers asked %lu\n",
           t.fleet.acknowledged, t.fleet.unknown, t.fleet.refused, t.fleet.reads, t.fleet.admin, t.fleet.transfers);
    printf("terms %lu, entries committed %lu, overwritten %lu, of these on a majority %lu\n", t.check.elections,
           t.check.committed, t.check.overwritten, t.check.majority_overwritten);
    printf("crashes %lu, fail-stops %lu, lost nodes %lu, snapshots taken %lu, installed %lu\n", t.fleet.crashes,
           t.fleet.fail_stops, t.fleet.lost_nodes, t.fleet.snapshots, t.fleet.installs);
    return t.failed != 0;
}
