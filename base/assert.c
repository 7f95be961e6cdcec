#include "base/assert.h"

#include "base/sanitizer_private.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void gn_assert_fail(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, condition);
    fflush(stderr);
    abort();
}

#ifdef GN_UNDER_TSAN
/* RocksDB comes from Debian without instrumentation, so what it does under its own atomics looks like a race; also
 * where its threads are inside the C++ library and the stack does not lead back to it. */
const char *__tsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void)
{
    return "race:librocksdb\n"
           "called_from_lib:libstdc++.so\n";
}
#endif
