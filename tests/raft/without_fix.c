/* Linked with libraft without fix GN_WITHOUT_FIX: that fix's scenario must go wrong, by what it finds or by an
 * assertion or a sanitizer's report in the core. Shows that the scenario can fail, and that the fix is still needed. */
#include "tests/raft/core_scenarios.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int run_child(const core_scenario *scenario)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    const char *wrong = scenario->run();
    if (wrong)
        printf("as it must: %s\n", wrong);
    fflush(stdout);
    return wrong != NULL;
}

int main(void)
{
    const core_scenario *scenario = &core_scenarios[GN_WITHOUT_FIX - 1];
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(run_child(scenario));
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 2;
    if (WIFSIGNALED(status))
        printf("as it must: ended by signal %d\n", WTERMSIG(status));
    bool wrong = WIFSIGNALED(status) || WEXITSTATUS(status) != 0;
    if (!wrong)
        printf("%s goes well without fix %d\n", scenario->name, GN_WITHOUT_FIX);
    return wrong ? 0 : 1;
}
