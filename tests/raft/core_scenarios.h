/* Scenarios for libraft's core alone, one for each fix of raft/libraft/: a script of events, and a look at what the
 * core then says. The same code is linked with the library as we use it (test_fixes.c: all go well) and, once per fix,
 * with the library without that fix (without_fix.c: its scenario goes wrong). */
#ifndef GN_TESTS_RAFT_CORE_SCENARIOS_H
#define GN_TESTS_RAFT_CORE_SCENARIOS_H

enum { CORE_SCENARIOS = 12 };

typedef struct core_scenario {
    const char *name;
    const char *(*run)(void); /* NULL: all is well; else what went wrong. May also end in an assertion of the core. */
} core_scenario;

extern const core_scenario core_scenarios[CORE_SCENARIOS]; /* fix 1 first */

#endif
