/* Which sanitizer this file is compiled under, for gcc and clang alike. */
#ifndef GN_BASE_SANITIZER_PRIVATE_H
#define GN_BASE_SANITIZER_PRIVATE_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GN_UNDER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define GN_UNDER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define GN_UNDER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define GN_UNDER_TSAN 1
#endif

#ifdef GN_UNDER_ASAN
#include <sanitizer/asan_interface.h>
#define GN_POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define GN_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define GN_POISON(p, n) ((void)(p), (void)(n))
#define GN_UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#endif
