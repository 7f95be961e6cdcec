/* The kernel sets that this build has; each is in a file of its own because of its compiler flags. */
#ifndef GN_INDEX_DISTANCE_PRIVATE_H
#define GN_INDEX_DISTANCE_PRIVATE_H

#include "index/distance.h"

extern const gn_kernels gn_kernels_scalar;
#ifdef GN_HAVE_X86_KERNELS
extern const gn_kernels gn_kernels_avx2;
extern const gn_kernels gn_kernels_avx512;
#endif
#ifdef GN_HAVE_NEON_KERNELS
extern const gn_kernels gn_kernels_neon;
#endif

#endif
