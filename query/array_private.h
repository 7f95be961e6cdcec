/* The parts of the operations of array types that lie in files of their own. */
#ifndef GN_QUERY_ARRAY_PRIVATE_H
#define GN_QUERY_ARRAY_PRIVATE_H

#include "query/array.h"

int gn_array_compare(const gn_value *a, const gn_value *b);
uint64_t gn_array_hash(const gn_value *array);

/* False: not a cast from or to an array but one that goes through text. array_cast.c */
bool gn_cast_array(const gn_value *v, gn_type to, gn_cast_context context, const gn_format *format, gn_arena *arena,
                   gn_value *out, gn_code *code, gn_error *err);

#endif
