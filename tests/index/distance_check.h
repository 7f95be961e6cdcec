/* A kernel set against sums in double precision; without a test framework, so that it also runs where there is none. */
#ifndef GN_TESTS_INDEX_DISTANCE_CHECK_H
#define GN_TESTS_INDEX_DISTANCE_CHECK_H

#include "index/distance.h"

#include <stdbool.h>

/* Dimensions 1..130 and some large ones, at all alignments of a float. False, with a message, at the first difference.
 */
bool check_kernels(const gn_kernels *kernels, char message[200]);

#endif
