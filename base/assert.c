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
/* RocksDB and NNG come from Debian without instrumentation, so what they do under their own atomics looks like a race:
 * of RocksDB also where its threads are inside the C++ library and the stack does not lead back to it; of NNG in one
 * place: a dialer's mutex is destroyed when the last of two counted references goes, and who let go first has just
 * unlocked it (nni_posix_tcp_dialer_rele). NNG calls our code, so its name cannot be what is left alone. */
const char *__tsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void)
{
    return "race:librocksdb\n"
           "called_from_lib:libstdc++.so\n"
           "race_top:pthread_mutex_destroy\n";
}
#endif
