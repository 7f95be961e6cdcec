#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void gn_assert_fail(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, condition);
    fflush(stderr);
    abort();
}
