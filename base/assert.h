/* Invariants. GN_ASSERT stays on in release builds: a database that goes on with a broken invariant corrupts in
 * silence. The condition must have no side effect. User input is never asserted; it gets an error (base/error.h). */
#ifndef GN_BASE_ASSERT_H
#define GN_BASE_ASSERT_H

/* Prints the condition and its place to stderr and aborts. Never returns. */
_Noreturn void gn_assert_fail(const char *condition, const char *file, int line);

#define GN_ASSERT(condition) ((condition) ? (void)0 : gn_assert_fail(#condition, __FILE__, __LINE__))

#endif
