/* The scenarios of core_scenarios.h with libraft as we use it. */
#include "tests/base/cmocka_all.h"
#include "tests/raft/core_scenarios.h"

static void goes_well(void **state)
{
    const core_scenario *scenario = *state;
    const char *wrong = scenario->run();
    assert_string_equal(wrong ? wrong : "", "");
}

int main(void)
{
    struct CMUnitTest tests[CORE_SCENARIOS];
    for (int i = 0; i < CORE_SCENARIOS; i++)
        tests[i] = (struct CMUnitTest){.name = core_scenarios[i].name,
                                       .test_func = goes_well,
                                       .initial_state = (void *)(uintptr_t)&core_scenarios[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
